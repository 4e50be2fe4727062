//! From a run folder to the archive: what happened to each benchmark, its files, its seal.
//!
//! Needs nothing but the run folder, so a later command can do it for a runner that died.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, bail};
use archive::{
    Archive, BenchmarkId, ClientFacts, DataFacts, Event, Failure, NodeFacts, RequestReader, RequestWriter,
    ResourceSample, Run, SCHEMA, SealOptions, ServiceFacts, Stage, Status, Summary, Timestamp,
};
use serde::Serialize;

use super::{
    Journal, State,
    anonymous::Names,
    commit::{Commission, commit, mark_uncommitted},
    logs,
};
use crate::{
    agent::{self, DeploymentPlan, Layout, PointPlan, SealFacts, Secrets},
    load::{self, Arrival, LoadReport},
    target::{is_on_cluster, slurm::Jobs},
};

/// In a run folder whose records were lost: why.
const LOSS: &str = "loss.json";

/// A benchmark that is in the archive.
#[derive(Clone, Debug)]
pub struct Done {
    pub id: BenchmarkId,
    pub run: Run,
    pub summary: Option<Summary>,
    /// Hash of the commit that holds it; `None` when it was not committed.
    pub commit: Option<String>,
    /// Why it was not committed although it should have been.
    pub not_committed: Option<String>,
}

/// Seals and commits every benchmark of an ended deployment that came to anything.
///
/// `remark` says what was wrong with the agents, if anything. A benchmark that never began is left out.
/// The secrets stay, and are masked in what is archived: [`finish`] removes them.
pub fn deployment(
    archive: &Archive,
    layout: &Layout,
    plan: &DeploymentPlan,
    remark: Option<&str>,
) -> Result<Vec<Done>> {
    // On a cluster the jobs were all there was, and its process numbers mean nothing here.
    let stray = if is_on_cluster(layout.folder()) { 0 } else { end_strays(layout) };
    if stray > 0 {
        tracing::info!("ended {stray} processes that were left of {}", layout.folder().display());
    }
    let events = agent::read_all(layout);
    let loss: Option<String> = agent::read_json(&layout.folder().join(LOSS)).ok();
    let mut done = Vec::new();
    for point in &plan.points {
        let outcome = outcome(&events, point, remark).map(|outcome| without_loss(outcome, loss.as_deref()));
        done.extend(benchmark(archive, layout, plan, point, &events, outcome)?);
    }
    Ok(done)
}

/// Notes that everything of a deployment is archived, and removes its secrets.
pub fn finish(layout: &Layout, journal: &mut Journal) -> Result<()> {
    layout.remove_secrets();
    journal.write(State::Sealed)
}

/// Notes that what the agents wrote last could not be fetched, and why.
pub fn note_loss(layout: &Layout, reason: &str) -> Result<()> {
    agent::write_json(&layout.folder().join(LOSS), &reason)
}

/// What is complete by its events is not, when its records were lost.
fn without_loss(outcome: (Status, Option<Failure>), loss: Option<&str>) -> (Status, Option<Failure>) {
    match (outcome, loss) {
        ((Status::Completed, _), Some(reason)) => {
            (Status::Failed, Some(Failure { stage: Stage::Loading, reason: reason.to_owned() }))
        }
        (outcome, _) => outcome,
    }
}

/// Seals and commits one benchmark of a deployment that goes on, if it has ended.
pub fn ended(archive: &Archive, layout: &Layout, plan: &DeploymentPlan, point: &PointPlan) -> Result<Option<Done>> {
    let events = agent::read_all(layout);
    let ends = ["point_ended", "point_failed"];
    let is_end = |event: &Event| event.benchmark_id == Some(point.benchmark_id) && ends.contains(&event.event.as_str());
    match events.iter().any(is_end) {
        true => {
            let outcome = outcome(&events, point, None);
            benchmark(archive, layout, plan, point, &events, outcome)
        }
        false => Ok(None),
    }
}

/// Seals one benchmark, if it came to anything and is not sealed yet, and commits it.
fn benchmark(
    archive: &Archive,
    layout: &Layout,
    plan: &DeploymentPlan,
    point: &PointPlan,
    events: &[Event],
    outcome: Option<(Status, Option<Failure>)>,
) -> Result<Option<Done>> {
    let id = point.benchmark_id;
    if !archive.folder().join(id.to_string()).exists() {
        let Some((status, failure)) = outcome else { return Ok(None) };
        seal(archive, layout, plan, point, events, status, failure).with_context(|| {
            format!("{id} is measured but not sealed; its files are in {}", layout.folder().display())
        })?;
    } else if archive.open(id)?.run()?.campaign.execution != point.campaign.execution {
        // Fetched by git while this one was under way.
        bail!(
            "{id} is measured but not sealed: another benchmark of that id has come to {}; its files stay in {}",
            archive.folder().display(),
            layout.folder().display()
        );
    }
    commit(archive, id).map(Some)
}

/// Ends what is left of a deployment whose agents have ended; returns the number of processes.
pub fn end_strays(layout: &Layout) -> usize {
    agent::kill_marked(layout.folder(), layout.service_state().and_then(|state| state.process))
}

/// The benchmarks of the deployment that came to nothing.
pub fn not_begun<'a>(plan: &'a DeploymentPlan, done: &'a [Done]) -> impl Iterator<Item = BenchmarkId> + 'a {
    let ids = plan.points.iter().map(|point| point.benchmark_id);
    ids.filter(|id| done.iter().all(|done| done.id != *id))
}

/// How a benchmark ended, by its events; `None` when it never began and nothing failed.
fn outcome(events: &[Event], point: &PointPlan, remark: Option<&str>) -> Option<(Status, Option<Failure>)> {
    let of_point =
        |name: &str| events.iter().find(|event| event.event == name && event.benchmark_id == Some(point.benchmark_id));
    let of_service = |name: &str| events.iter().find(|event| event.event == name && event.benchmark_id.is_none());
    let reason = |event: &Event| event.detail.clone().unwrap_or_else(|| event.event.clone());
    let failed = |stage, reason| Some((Status::Failed, Some(Failure { stage, reason })));
    let stage = match (of_point("warmup_ended"), of_point("load_begun")) {
        (Some(_), _) => Stage::Loading,
        (None, Some(_)) => Stage::Warmup,
        (None, None) => Stage::Ready,
    };

    if of_point("point_ended").is_some() {
        return Some((Status::Completed, None));
    }
    if let Some(event) = of_point("point_failed") {
        // The agent saw what happened to it; the remark may say what happened to the other.
        let reason = reason(event);
        return failed(stage, remark.map_or(reason.clone(), |remark| format!("{reason}; {remark}")));
    }
    if of_point("point_cancelled").is_some() {
        if let Some(remark) = remark {
            return failed(stage, remark.to_owned());
        }
        return Some((
            Status::Cancelled,
            Some(Failure { stage, reason: "ended early by the person or by the death of the runner".into() }),
        ));
    }
    if of_point("point_begun").is_some() {
        if let Some(reason) = of_service("failed").map(reason).or_else(|| remark.map(str::to_owned)) {
            return failed(Stage::Loading, reason);
        }
        // Nobody is left who could say more: the whole machine may have gone down.
        let reason = "the runner died, and the load agent with it or after it".to_owned();
        return Some((Status::Cancelled, Some(Failure { stage: Stage::Loading, reason })));
    }
    if let Some(event) = of_service("failed") {
        let stage = if of_service("ready").is_some() { Stage::Ready } else { Stage::Starting };
        return failed(stage, reason(event));
    }
    // Agents that ended before they could say why.
    remark.map(|remark| (Status::Failed, Some(Failure { stage: Stage::Submitted, reason: remark.to_owned() })))
}

/// When the load was, as far as it is known.
struct Measured {
    started_at: Option<Timestamp>,
    /// In seconds from `started_at`.
    window_s: [f64; 2],
}

/// Puts the benchmark's files together and seals them.
fn seal(
    archive: &Archive,
    layout: &Layout,
    plan: &DeploymentPlan,
    point: &PointPlan,
    events: &[Event],
    status: Status,
    failure: Option<Failure>,
) -> Result<()> {
    let id = point.benchmark_id;
    let secrets = layout.secrets()?;
    let work = archive.work_folder()?;
    let staged = work.join("staging").join(id.to_string());
    if staged.exists() {
        // Of an attempt that was cut off; its sources are all still in the run folder.
        fs::remove_dir_all(&staged)?;
    }
    // Without a folder for logs that there may be none of: git does not keep it, and leaves it behind in other checkouts.
    fs::create_dir_all(&staged)?;

    let folder = layout.point(id);
    let report: Option<LoadReport> = agent::read_json(&folder.join("load.json")).ok();
    let requests = folder.join("requests.jsonl.zst");
    let measured = match &report {
        Some(report) => Measured { started_at: Some(report.started_at), window_s: report.window_s },
        // The load could not say what it did: its spools do.
        None => {
            let spooled = load::spool::to_requests(&folder, &requests)?;
            let end = spooled.last_end_s.unwrap_or_default();
            Measured { started_at: spooled.started_at, window_s: [spooled.window_start_s.unwrap_or(end).min(end), end] }
        }
    };
    // Where there are records there was a load, even if nobody could say so any more.
    let failure = failure.map(|failure| match (failure.stage, measured.started_at, measured.window_s) {
        (Stage::Ready, Some(_), [start, end]) if end > start => Failure { stage: Stage::Loading, ..failure },
        (Stage::Ready, Some(_), _) => Failure { stage: Stage::Warmup, ..failure },
        _ => failure,
    });
    let points_events: Vec<Event> =
        events.iter().filter(|event| event.benchmark_id.is_none_or(|of| of == id)).cloned().collect();
    let span = span_of(&points_events, id);
    let mut run = run_facts(layout, plan, point, points_events, &measured, report.as_ref(), (status, failure), span.1);
    let names = if plan.facts.anonymous { Names::of(&run) } else { Names::default() };
    // A copy: the seal makes its file read-only and may move it, and the source must survive a second attempt.
    let archived_requests = staged.join("requests.jsonl.zst");
    if secrets.is_empty() && !plan.facts.anonymous {
        fs::copy(&requests, &archived_requests)?;
    } else {
        copy_requests(&requests, &secrets, &names, &archived_requests)?;
    }

    let resources = staged.join("resources.jsonl.zst");
    let restarts = write_resources(layout, &folder, measured.started_at.unwrap_or(span.0), span, &names, &resources)?;
    logs::copy(layout, &folder, &secrets, &names, &staged.join("logs"))?;

    let calibration: Option<archive::Calibration> = agent::read_json(&folder.join("calibration.json")).ok();
    let mut facts = summary_facts(plan, point, &measured, report.as_ref(), status);
    facts.calibration.clone_from(&calibration);
    facts.service_restarts = restarts;
    let summary = analysis::summarise(&facts, || RequestReader::open(&archived_requests))?;
    write_pretty(&staged.join("summary.json"), &summary)?;

    if let Some(calibration) = &calibration {
        run.client.other.insert("calibration".into(), serde_json::to_value(calibration)?);
    }
    mask_run(&mut run, &secrets);
    if plan.facts.anonymous {
        names.mask_run(&mut run)?;
    }
    write_pretty(&staged.join("run.json"), &run)?;

    let SealFacts { raw_limit_bytes, sign, anonymous, commit, .. } = &plan.facts;
    let commission = Commission { sign: sign.clone(), anonymous: *anonymous };
    mark_uncommitted(&work, id, commit.then_some(&commission))?;
    let options = SealOptions { raw_limit_bytes: *raw_limit_bytes, sign: sign.clone() };
    archive::seal(archive.folder(), id, &staged, &options)?;
    Ok(())
}

/// First and last time of what happened to a benchmark.
fn span_of(events: &[Event], id: BenchmarkId) -> (Timestamp, Timestamp) {
    let own = events.iter().filter(|event| event.benchmark_id == Some(id)).map(|event| event.time);
    let all = events.iter().map(|event| event.time);
    let first = own.clone().min().or_else(|| all.clone().min()).unwrap_or_else(Timestamp::now);
    let last = own.max().or_else(|| all.max()).unwrap_or_else(Timestamp::now);
    (first, last)
}

fn summary_facts(
    plan: &DeploymentPlan,
    point: &PointPlan,
    measured: &Measured,
    report: Option<&LoadReport>,
    status: Status,
) -> analysis::Facts {
    analysis::Facts {
        service_type: plan.service.kind.clone(),
        status,
        started_at: measured.started_at,
        window_s: measured.window_s,
        arrival: match point.load.requested_rate() {
            None => analysis::Arrival::Closed,
            Some(requested_rate) => analysis::Arrival::Open { requested_rate },
        },
        timed_clients: match (&point.load.arrival, point.load.stop.duration_s) {
            (Arrival::Closed { .. }, Some(_)) => Some(point.load.clients),
            _ => None,
        },
        most_in_flight: (!point.load.arrival.is_closed()).then_some(point.load.clients),
        slo: point.campaign.slo.clone(),
        generator: report.map(generator),
        calibration: None,
        clocks: report.and_then(clocks),
        service_restarts: None,
        repeats_prompts: analysis::repeats_prompts(&point.recipe.resolved["client"]["settings"]),
    }
}

/// What the load generator used; of several nodes the busiest one, for idle others do not make up for it.
fn generator(report: &LoadReport) -> analysis::Generator {
    let share = |part: &load::NodePart| (part.cpu_s + part.wait_s) / f64::from(part.threads.max(1));
    let busiest = report.nodes.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
    let whole = (report.cpu_s, report.wait_s, report.threads);
    let (cpu_s, wait_s, threads) = busiest.map_or(whole, |part| (part.cpu_s, part.wait_s, part.threads));
    analysis::Generator { cpu_s, wait_s, threads, longest_stall_s: report.longest_stall_s }
}

/// How well the clocks of several client nodes are known; of one node nobody need know it.
fn clocks(report: &LoadReport) -> Option<Vec<analysis::NodeClock>> {
    let known = |part: &load::NodePart| {
        Some(analysis::NodeClock { offset_s: part.clock_offset_s?, error_s: part.clock_error_s? })
    };
    (report.nodes.len() > 1).then(|| report.nodes.iter().filter_map(known).collect())
}

#[expect(clippy::too_many_arguments, reason = "everything that goes into one file")]
fn run_facts(
    layout: &Layout,
    plan: &DeploymentPlan,
    point: &PointPlan,
    events: Vec<Event>,
    measured: &Measured,
    report: Option<&LoadReport>,
    (status, failure): (Status, Option<Failure>),
    ended_at: Timestamp,
) -> Run {
    let state = layout.service_state();
    let detail = |name: &str| {
        events
            .iter()
            .find(|event| event.event == name && event.benchmark_id.is_none())
            .and_then(|event| event.detail.clone())
    };
    let exit = detail("stopped").or_else(|| detail("failed"));
    let service = ServiceFacts {
        name: plan.service.name.clone(),
        kind: plan.service.kind.clone(),
        version: state.as_ref().and_then(|state| state.version.clone()),
        image: state.as_ref().and_then(|state| state.image.clone()),
        command: state.as_ref().map(|state| state.command.clone()).unwrap_or_default(),
        program_sha256: state.as_ref().and_then(|state| state.program_sha256.clone()),
        started_as: state.as_ref().map_or_else(|| "not started".to_owned(), |state| state.started_as.clone()),
        hostname: state.as_ref().and_then(|state| Some(state.endpoint.as_ref()?.host.clone())),
        port: state.as_ref().and_then(|state| Some(state.endpoint.as_ref()?.port)),
        ready_after_s: state.as_ref().and_then(|state| state.ready_after_s),
        model_digest: state.as_ref().and_then(|state| state.model_digest.clone()),
        exit,
        other: serde_json::Map::new(),
    };
    let mut data = state.as_ref().map(|state| state.data.clone()).unwrap_or_default();
    let of_client: Option<Vec<DataFacts>> = agent::read_json(&layout.point(point.benchmark_id).join("data.json")).ok();
    data.extend(of_client.into_iter().flatten());
    let client = ClientFacts {
        name: point.client_name.clone(),
        kind: point.client_kind.clone(),
        num_clients: point.num_clients,
        threads: report.map_or(point.load.threads, |report| report.threads),
        load: serde_json::to_value(&point.load).unwrap_or_default(),
        sequence_digest: report.and_then(|report| report.sequence_digest.clone()),
        other: load_facts(report),
    };
    Run {
        schema: SCHEMA,
        benchmark_id: point.benchmark_id,
        status,
        failure,
        created_at: plan.facts.created_at,
        started_at: measured.started_at,
        ended_at,
        campaign: point.campaign.clone(),
        target: target_facts(layout, plan),
        tool: tool_facts(layout, plan),
        git_commit: plan.facts.git_commit.clone(),
        recipe_hash: point.recipe_hash.clone(),
        recipe: point.recipe.clone(),
        service,
        client,
        nodes: nodes(state.map(|state| state.node), layout.client_nodes()),
        data,
        seeds: point.seeds.clone(),
        events,
        rerun_of: point.rerun_of,
        other: serde_json::Map::new(),
    }
}

/// The program that drove the load. On a cluster that is a build of its own, beside the one that planned it.
fn tool_facts(layout: &Layout, plan: &DeploymentPlan) -> archive::ToolFacts {
    let planned = &plan.facts.tool;
    if !is_on_cluster(layout.folder()) {
        return planned.clone();
    }
    let unknown = archive::ToolFacts { binary_sha256: None, ..planned.clone() };
    let mut facts = layout.load_tool().unwrap_or(unknown);
    facts.other.insert(
        "planned_by".into(),
        serde_json::json!({"version": planned.version, "binary_sha256": planned.binary_sha256}),
    );
    facts
}

/// The target, with the jobs that the deployment was.
fn target_facts(layout: &Layout, plan: &DeploymentPlan) -> archive::TargetFacts {
    let mut facts = plan.facts.target.clone();
    if let Some(jobs) = Jobs::read(layout.folder()) {
        facts.other.insert("jobs".into(), serde_json::to_value(&jobs).unwrap_or_default());
    }
    facts
}

/// What the load driver says of itself, and of steps and precision where there were any.
fn load_facts(report: Option<&LoadReport>) -> serde_json::Map<String, serde_json::Value> {
    let mut facts = serde_json::Map::new();
    let Some(report) = report else { return facts };
    let generator = serde_json::json!({
        "cpu_s": report.cpu_s, "wait_s": report.wait_s, "threads": report.threads,
        "longest_stall_s": report.longest_stall_s,
    });
    facts.insert("generator".into(), generator);
    if !report.steps.is_empty() {
        facts.insert("steps".into(), serde_json::to_value(&report.steps).unwrap_or_default());
    }
    if !report.nodes.is_empty() {
        facts.insert("nodes".into(), serde_json::to_value(&report.nodes).unwrap_or_default());
    }
    if let Some(precision) = &report.precision {
        facts.insert("precision".into(), serde_json::to_value(precision).unwrap_or_default());
    }
    facts
}

/// One entry a machine, with every role it had.
fn nodes(service: Option<NodeFacts>, clients: Vec<NodeFacts>) -> Vec<NodeFacts> {
    let mut nodes: Vec<NodeFacts> = Vec::new();
    for node in service.into_iter().chain(clients) {
        match nodes.iter_mut().find(|known| known.hostname == node.hostname) {
            Some(known) => known.roles.extend(node.roles),
            None => nodes.push(node),
        }
    }
    nodes
}

/// Merges the samples of both agents that fall into the benchmark's time; returns how often the service was begun anew in
/// it, where that could be seen.
fn write_resources(
    layout: &Layout,
    folder: &Path,
    started_at: Timestamp,
    span: (Timestamp, Timestamp),
    names: &Names,
    out: &Path,
) -> Result<Option<u64>> {
    let mut samples = Vec::new();
    let folders = [layout.service(), folder.to_owned()];
    for folder in folders.into_iter().chain(load::spool::part_folders(folder)?) {
        let text = fs::read_to_string(folder.join("resources.jsonl")).unwrap_or_default();
        // The last line of a killed agent may be cut off.
        samples.extend(text.lines().filter_map(|line| serde_json::from_str::<ResourceSample>(line).ok()));
    }
    // A sample describes the second before it.
    samples.retain(|sample| sample.time >= span.0 && sample.time.seconds_since(span.1) <= 1.0);
    samples.sort_by_key(|sample| sample.time);
    let restarts = samples.iter().filter_map(|sample| sample.service_restarts).reduce(|all, more| all + more);
    let mut encoder = zstd::Encoder::new(fs::File::create(out)?, 9)?;
    for mut sample in samples {
        sample.offset_s = Some(sample.time.seconds_since(started_at));
        sample.node = names.mask(&sample.node);
        serde_json::to_writer(&mut encoder, &sample)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()?.sync_all()?;
    Ok(restarts)
}

/// Masks what people and services wrote; digests, times and the words of the format stay.
fn mask_run(run: &mut Run, secrets: &Secrets) {
    let recipe = &mut run.recipe;
    secrets.mask_value(&mut recipe.resolved);
    run.campaign.swept.values_mut().for_each(|value| secrets.mask_value(value));
    let service = &mut run.service;
    let texts = [&mut recipe.text]
        .into_iter()
        .chain(&mut recipe.recipe_text)
        .chain(&mut recipe.overrides)
        .chain(&mut run.campaign.title)
        .chain([&mut service.name])
        .chain(&mut service.version)
        .chain(service.image.as_mut().map(|image| &mut image.reference))
        .chain(&mut service.command)
        .chain(&mut service.exit)
        .chain([&mut run.client.name])
        .chain(run.data.iter_mut().map(|data| &mut data.path))
        .chain(run.failure.as_mut().map(|failure| &mut failure.reason))
        .chain(run.events.iter_mut().filter_map(|event| event.detail.as_mut()));
    texts.for_each(|text| secrets.mask_text(text));
}

/// Copies request records; the service may have repeated a secret in an error.
fn copy_requests(from: &Path, secrets: &Secrets, names: &Names, to: &Path) -> Result<()> {
    let mut writer = RequestWriter::create(to)?;
    for request in RequestReader::open(from)? {
        let mut request = request?;
        if let Some(error) = &mut request.error {
            secrets.mask_text(error);
            *error = names.mask(error);
        }
        writer.write(&request)?;
    }
    writer.finish()?;
    Ok(())
}

fn write_pretty<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The status as people read it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a benchmark ended after these events (`name` of the deployment, `+name` of the benchmark) and this remark.
    fn ended(names: &[&str], remark: Option<&str>) -> Option<(Status, String)> {
        let text = r#"{"benchmark_id": "BM-20260301-001", "client_name": "", "client_kind": "command", "settings": {},
            "env": {}, "warmup_delay_s": 0, "recipe_hash": "", "num_clients": 1,
            "load": {"arrival": {"model": "closed", "think_time_s": 0}, "clients": 1, "threads": 1,
                "stop": {"requests": 1}, "warmup": {"duration_s": 0, "requests": 0}, "stagger_s": 0, "timeout_s": 1,
                "pipeline": 1, "seed": 1},
            "campaign": {"name": "", "execution": "", "point": 0, "points": 1, "repetition": 1, "repetitions": 1,
                "swept": {}},
            "recipe": {"file": "", "text": "", "resolved": {}}, "seeds": {"campaign": 1, "benchmark": 1}}"#;
        let point: PointPlan = serde_json::from_str(text).expect("a point");
        let event = |name: &&str| Event {
            time: Timestamp::now(),
            event: name.trim_start_matches('+').to_owned(),
            node: None,
            detail: Some(format!("said {name}")),
            benchmark_id: name.starts_with('+').then_some(point.benchmark_id),
        };
        let events: Vec<Event> = names.iter().map(event).collect();
        let (status, failure) = outcome(&events, &point, remark)?;
        let text = failure.map(|failure| format!("{}: {}", failure.stage, failure.reason)).unwrap_or_default();
        Some((status, text))
    }

    #[test]
    fn what_lost_its_records_is_not_completed() {
        let failed =
            |reason: &str| (Status::Failed, Some(Failure { stage: Stage::Loading, reason: reason.to_owned() }));
        assert_eq!(without_loss((Status::Completed, None), Some("gone")), failed("gone"));
        assert_eq!(without_loss((Status::Completed, None), None), (Status::Completed, None));
        assert_eq!(without_loss(failed("first"), Some("gone")), failed("first"));
    }

    #[test]
    fn the_reason_is_the_one_that_somebody_gave() {
        use Status::{Cancelled, Completed, Failed};
        let early = "ready: ended early by the person or by the death of the runner";
        let died = "loading: the runner died, and the load agent with it or after it";
        for (names, remark, expected) in [
            (&["started"][..], None, None),
            (&["started", "stopped"], None, None),
            (&[], Some("it died"), Some((Failed, "submitted: it died"))),
            (&["started", "failed"], None, Some((Failed, "starting: said failed"))),
            (&["ready", "failed"], None, Some((Failed, "ready: said failed"))),
            (&["ready", "+point_begun"], None, Some((Cancelled, died))),
            (&["ready", "+point_begun"], Some("it died"), Some((Failed, "loading: it died"))),
            // The records could not be written.
            (&["ready", "+point_begun", "failed"], None, Some((Failed, "loading: said failed"))),
            (&["ready", "+point_begun", "+point_ended", "failed"], Some("it died"), Some((Completed, ""))),
            (&["+point_begun", "+point_cancelled"], None, Some((Cancelled, early))),
            // The load was ended because the service's agent had died.
            (&["+point_begun", "+point_cancelled"], Some("it died"), Some((Failed, "ready: it died"))),
            (&["+point_begun", "+load_begun", "+point_failed"], None, Some((Failed, "warm-up: said +point_failed"))),
            (
                &["+point_begun", "+load_begun", "+warmup_ended", "+point_failed"],
                None,
                Some((Failed, "loading: said +point_failed")),
            ),
        ] {
            let expected = expected.map(|(status, text)| (status, text.to_owned()));
            assert_eq!(ended(names, remark), expected, "{names:?} {remark:?}");
        }
    }
}
