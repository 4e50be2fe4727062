//! What a campaign comes down to: the benchmarks to run, in order. Pure; nothing is started here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use archive::BenchmarkId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    load::{LoadSpec, Trace},
    recipe::{
        LoadModel, Recipe,
        campaign::{self, Draft, Overrides, Reading},
        finding::{Findings, Span},
        rules,
        secrets::Environment,
        target_file::{self, SlurmTarget},
    },
    services::FileSetting,
};

mod order;
mod repeat;
mod resolve;
pub mod scripts;
mod search;
mod workload;

pub use order::benchmark_seed;
pub use repeat::repeat;
pub use resolve::canonical;
pub use search::{PlannedSearch, resolved_point};

/// Everything that will run, and what it was made from.
#[derive(Clone, Debug)]
pub struct Plan {
    pub campaign: Campaign,
    pub points: Vec<Point>,
    /// In order of execution.
    pub benchmarks: Vec<PlannedBenchmark>,
    /// Runs of consecutive `benchmarks` (indices) that share one start of the service.
    pub deployments: Vec<Vec<usize>>,
    /// Values of the `${NAME}`s in the recipe. Never printed, stored or passed as an argument.
    pub secrets: BTreeMap<String, String>,
    /// The load that is searched: `points` and `benchmarks` are then only its first steps.
    pub search: Option<PlannedSearch>,
    /// Things a person should know before the start, such as keys that the target leaves out.
    pub notes: Vec<String>,
    /// The cluster that the target is; `None` for this machine.
    pub site: Option<SlurmTarget>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Campaign {
    pub name: String,
    pub title: Option<String>,
    pub target: String,
    pub seed: u64,
    pub repetitions: u32,
    /// Metric → how much worse it may become, for `runner compare`.
    pub thresholds: BTreeMap<String, f64>,
    /// The file as named on the command line, and its text.
    pub file: String,
    pub text: String,
    /// What the command line changed, as typed.
    pub overrides: Vec<String>,
    /// Where the file stands in git; filled in by whoever runs the plan.
    #[serde(default)]
    pub source: Source,
}

/// The state of the repository that holds a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// HEAD.
    pub git_commit: Option<String>,
    /// sha256 over what is changed and not committed.
    pub changes_sha256: Option<String>,
}

/// One combination of the sweep.
#[derive(Clone, Debug)]
pub struct Point {
    /// Dotted path → value on every axis, in the order of the file.
    pub swept: Map<String, Value>,
    /// With every default filled in, see `resolved`.
    pub recipe: Recipe,
    /// The recipe file's text, when the campaign refers to one.
    pub recipe_text: Option<String>,
    /// `recipe` as JSON: every default is filled in, also those of the types' settings. `${NAME}` stays as it is.
    pub resolved: Value,
    /// sha256 over `resolved` with sorted keys.
    pub recipe_hash: String,
    /// With the seed of the campaign; each benchmark has its own.
    pub load: LoadSpec,
    /// Quiet seconds between readiness and the first request.
    pub warmup_delay_s: f64,
    /// Stored metric name → limit in its unit: `latency_p99_s`, `ttft_p95_s`, `tpot_avg_s`, `success_rate`.
    pub slo: BTreeMap<String, f64>,
    /// Seconds from start to end, as far as it can be told.
    pub estimated_s: Option<f64>,
    /// The recorded arrivals that `load` replays.
    pub trace: Option<Arc<Trace>>,
    /// Files that the client's settings name.
    pub files: Vec<InputFile>,
    /// The image by its digest, in place of what the recipe says: of a benchmark that is repeated.
    pub pinned_image: Option<String>,
}

/// The sha256 of a file that a recipe names, and its text.
pub type InputFile = (String, Arc<str>);

/// One execution of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBenchmark {
    pub point: usize,
    /// From 1.
    pub repetition: u32,
    pub seed: u64,
    /// Where this is an archived benchmark once more.
    pub repeated: Option<Repeated>,
}

/// The archived benchmark that is repeated, and its place in its campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    pub id: BenchmarkId,
    pub point: usize,
    pub points: usize,
    pub repetitions: u32,
}

/// What making a plan came to.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that is wrong, or worth knowing.
    pub findings: Findings,
    /// Without errors among the findings.
    pub plan: Option<Plan>,
}

/// The machine that plans, as far as a plan depends on it.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// CPUs that the load generator may use.
    pub cores: u32,
    pub environment: Environment<'a>,
}

/// Reads a recipe or campaign file and plans it. Without `needs_target`, a recipe that names no target is
/// planned all the same. Errs only when the file cannot be read.
pub fn make(file: &Path, overrides: &Overrides, machine: Machine<'_>, needs_target: bool) -> Result<Outcome> {
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(from_reading(campaign::read(file, overrides)?, overrides, folder, machine, needs_target))
}

/// [`make`] from a text that need not be a file; `name` is what findings call it, and `folder` where the paths in it
/// count from.
pub fn from_text(name: &str, text: &str, folder: &Path, machine: Machine<'_>) -> Outcome {
    let overrides = Overrides::default();
    let reading = campaign::read_bytes(Path::new(name), text.as_bytes().to_vec(), &overrides);
    from_reading(reading, &overrides, folder, machine, true)
}

fn from_reading(
    mut reading: Reading,
    overrides: &Overrides,
    folder: &Path,
    machine: Machine<'_>,
    needs_target: bool,
) -> Outcome {
    let mut secrets = BTreeMap::new();
    let site = if needs_target { site(&mut reading.findings, &reading.drafts, folder) } else { None };
    // Threads are those of where the load runs.
    let machine = Machine { cores: site.as_ref().map_or(machine.cores, |site| site.client_cpus), ..machine };
    let points = points(&mut reading, folder, machine, &mut secrets);
    let target = target(&mut reading.findings, &reading.drafts, needs_target);
    let Reading { mut findings, file, text, campaign, searched, .. } = reading;
    let search = match searched {
        Some(searched) if !findings.has_errors() => {
            search::planned(&mut findings, searched, &points, campaign.redeploy)
        }
        _ => None,
    };
    if findings.has_errors() {
        findings.drop_notes();
        return Outcome { findings, plan: None };
    }
    let benchmarks = order::benchmarks(points.len(), campaign.repetitions, campaign.order, campaign.seed);
    // The nodes of the clients are those of one job.
    let jobs: Vec<(&Value, Option<u32>)> =
        points.iter().map(|point| (&point.resolved["service"], point.recipe.client.resources.nodes)).collect();
    let deployments = order::deployments(&benchmarks, campaign.redeploy, |point| jobs[point]);
    let plan = Plan {
        campaign: Campaign {
            name: campaign.name.unwrap_or_else(|| name_of(&file)),
            title: campaign.title,
            target,
            seed: campaign.seed,
            repetitions: campaign.repetitions,
            thresholds: campaign
                .thresholds
                .iter()
                .filter_map(|(metric, number)| Some((metric.clone(), number.as_f64()?)))
                .collect(),
            file,
            text,
            overrides: overrides.as_typed(),
            source: Source::default(),
        },
        deployments,
        points,
        benchmarks,
        secrets,
        notes: rules::notes(&findings).into_iter().chain(search.as_ref().map(PlannedSearch::note)).collect(),
        search,
        site,
    };
    Outcome { findings, plan: Some(plan) }
}

/// Resolves and checks every draft; one that cannot become a point is left out and reported.
fn points(
    reading: &mut Reading,
    folder: &Path,
    machine: Machine<'_>,
    secrets: &mut BTreeMap<String, String>,
) -> Vec<Point> {
    let Reading { findings, drafts, campaign, .. } = reading;
    let mut traces = Traces { folder, read: BTreeMap::new(), texts: BTreeMap::new() };
    drafts.iter().filter_map(|draft| point(findings, draft, campaign, &mut traces, machine, secrets)).collect()
}

/// The trace files, each read once.
struct Traces<'a> {
    folder: &'a Path,
    read: BTreeMap<PathBuf, Result<Arc<Trace>, String>>,
    /// Other files that a recipe names.
    texts: BTreeMap<PathBuf, Result<Arc<str>, String>>,
}

impl Traces<'_> {
    /// The trace of a recipe that replays one and can; errs with the field and what is wrong.
    fn of(&mut self, recipe: &Recipe) -> Result<Option<Arc<Trace>>, (&'static str, String)> {
        let load = &recipe.benchmarks.load;
        let (LoadModel::Trace, Some(file)) = (load.model, &load.file) else { return Ok(None) };
        let path = self.folder.join(file);
        let read = self.read.entry(path).or_insert_with_key(|path| Trace::read(path).map_err(|err| format!("{err:#}")));
        let trace = read.clone().map_err(|message| ("benchmarks.load.file", message))?;
        match &load.sha256 {
            Some(wanted) if *wanted != trace.sha256 => {
                let message = format!("{file} has the sha256 {}: it is not the file that was meant", trace.sha256);
                Err(("benchmarks.load.sha256", message))
            }
            _ => Ok(Some(trace)),
        }
    }

    /// The file that a setting of the client names: its sha256 and text; errs with the setting and what is wrong.
    fn named_by(
        &mut self,
        file: &FileSetting,
        settings: &Map<String, Value>,
    ) -> Result<Option<InputFile>, (&'static str, String)> {
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let Some(name) = text(file.setting) else { return Ok(None) };
        let path = self.folder.join(name);
        let read = self.texts.entry(path).or_insert_with_key(|path| {
            let read = std::fs::read_to_string(path).map(Arc::from);
            read.map_err(|err| format!("cannot read {}: {err}", path.display()))
        });
        let content = read.clone().map_err(|message| (file.setting, message))?;
        let sha256 = archive::sha256_hex(content.as_bytes());
        if text(file.digest).is_some_and(|wanted| wanted != sha256) {
            let message = format!("{name} has the sha256 {sha256}: it is not the file that was meant");
            return Err((file.digest, message));
        }
        let all = Value::Object(settings.clone());
        (file.check)(&content, &all).map_err(|reason| (file.setting, format!("{name}: {reason}")))?;
        Ok(Some((sha256, content)))
    }
}

fn point(
    findings: &mut Findings,
    draft: &Draft,
    campaign: &crate::recipe::CampaignFile,
    traces: &mut Traces<'_>,
    machine: Machine<'_>,
    secrets: &mut BTreeMap<String, String>,
) -> Option<Point> {
    let at = draft.tree.span;
    let mut written = draft.recipe.clone();
    let trace = match traces.of(&written) {
        Ok(trace) => trace,
        Err((path, message)) => {
            let at = draft.tree.find(path).map_or(at, |entry| entry.node.span);
            findings.error(at, path, message);
            None
        }
    };
    if let Some(trace) = &trace {
        written.benchmarks.load.sha256 = Some(trace.sha256.clone());
    }
    let mut files = Vec::new();
    for file in draft.types.client.map(|client| client.file_settings()).unwrap_or_default() {
        match traces.named_by(file, &written.client.settings) {
            Ok(None) => {}
            Ok(Some((sha256, text))) => {
                written.client.settings.insert(file.digest.to_owned(), sha256.clone().into());
                files.push((sha256, text));
            }
            Err((setting, message)) => {
                let path = format!("client.settings.{setting}");
                let at = draft.tree.find(&path).map_or(at, |entry| entry.node.span);
                findings.error(at, path, message);
            }
        }
    }
    let resolved = match resolve::resolve(&written, draft.types, &campaign.slo) {
        Ok(resolved) => resolved,
        Err(error) => {
            findings.error(at, "", format!("cannot be resolved: {error}"));
            return None;
        }
    };
    let recipe = resolved.recipe;
    rules::check(findings, draft, &recipe, machine.environment, secrets);
    if rules::is_local(&recipe) {
        for (path, files) in [("service.data", &recipe.service.data), ("client.data", &recipe.client.data)] {
            for file in files.iter().filter(|file| !Path::new(file).exists()) {
                let at = draft.tree.find(path).map_or(at, |entry| entry.key_span);
                findings.error(at, path, format!("{file} is not here"));
            }
        }
    }
    let client = draft.types.client?;
    let client = if recipe.client.command.is_some() { crate::services::RAW_CLIENT } else { client };
    let defaults = match client.load_defaults(&Value::Object(recipe.client.settings.clone())) {
        Ok(defaults) => defaults,
        Err(error) => {
            let at = draft.tree.find("client.settings").map_or(at, |entry| entry.key_span);
            findings.error(at, "client.settings", format!("{error:#}"));
            return None;
        }
    };
    if let Some(trace) = &trace
        && let Some(line) = trace.arrivals.iter().position(|arrived| arrived.input_tokens.is_some())
        && let Err(reason) = client.recorded_lengths(&Value::Object(recipe.client.settings.clone()))
    {
        let at = draft.tree.find("benchmarks.load.file").map_or(at, |entry| entry.node.span);
        let message = format!("`input_tokens` (first of request {}) would have no effect: {reason}", line + 1);
        match client.details().contains(&analysis::slo::Detail::Tokens) {
            true => findings.error(at, "benchmarks.load.file", message),
            false => findings.note(at, "benchmarks.load.file", message),
        }
    }
    let own = recipe.client.resources.cpus_per_task.filter(|_| !rules::is_local(&recipe));
    let cores = own.unwrap_or(machine.cores);
    let load = match workload::load_spec(&recipe, &defaults, trace.as_deref(), campaign.seed, cores) {
        Ok(load) => load,
        Err((path, message)) => {
            let at = draft.tree.find(path).map_or(at, |entry| entry.node.span);
            findings.error(at, path, message);
            return None;
        }
    };
    Some(Point {
        swept: draft.swept.clone(),
        recipe_text: draft.recipe_text.clone(),
        slo: workload::limits(&recipe),
        estimated_s: workload::estimate(&load, defaults.warmup_delay_s),
        warmup_delay_s: defaults.warmup_delay_s,
        load,
        trace,
        files,
        recipe,
        resolved: resolved.value,
        recipe_hash: resolved.hash,
        pinned_image: None,
    })
}

/// The description of the target, when that is a cluster.
fn site(findings: &mut Findings, drafts: &[Draft], folder: &Path) -> Option<SlurmTarget> {
    const PATH: &str = "configuration.target";
    let draft = drafts.iter().find(|draft| draft.recipe.configuration.target.is_some())?;
    let name = draft.recipe.configuration.target.as_deref().filter(|name| *name != rules::LOCAL)?;
    let at = draft.tree.find(PATH).map_or(draft.tree.span, |entry| entry.node.span);
    let path = match target_file::locate(name, folder) {
        Ok(path) => path,
        Err(err) => {
            // The rest of the plan is worth reading all the same; running it is another matter.
            findings.note(at, PATH, format!("{err:#}"));
            return None;
        }
    };
    target_file::read(&path).inspect_err(|err| findings.error(at, PATH, format!("{err:#}"))).ok()
}

/// The one target of all points.
fn target(findings: &mut Findings, drafts: &[Draft], needed: bool) -> String {
    const PATH: &str = "configuration.target";
    let mut target: Option<&str> = None;
    for draft in drafts {
        match (&draft.recipe.configuration.target, target) {
            (Some(own), Some(other)) if own != other => {
                let at = draft.tree.find(PATH).map_or(draft.tree.span, |entry| entry.node.span);
                let message = format!("the recipes name two targets, also `{other}`: choose one with `--target`");
                findings.error(at, PATH, message);
            }
            (Some(own), _) => target = Some(own),
            (None, _) if draft.tree.find(PATH).is_none() => {
                let at = Span { line: 1, column: 1, width: 1, ..draft.tree.span };
                if needed {
                    findings.error(at, PATH, "there is no target to run on: give `--target local`, or set it here");
                } else {
                    findings.note(at, PATH, "there is no target: to run, give `--target local`, or set it here");
                }
            }
            (None, _) => {}
        }
    }
    target.unwrap_or_default().to_owned()
}

/// The name of a campaign without one: its file's, as far as it may be a folder's name.
fn name_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(63).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "campaign".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn planned(text: &str, overrides: &Overrides) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a campaign.yaml");
        std::fs::write(&file, text).expect("written");
        let machine = Machine { cores: 4, environment: &|name| (name == "SET").then(|| "value".to_owned()) };
        make(&file, overrides, machine, true).expect("read")
    }

    fn plan(text: &str) -> Plan {
        let outcome = planned(text, &Overrides::default());
        outcome.plan.unwrap_or_else(|| panic!("{}", outcome.findings.render_all()))
    }

    const CAMPAIGN: &str = "\
recipe:
  configuration: {target: local}
  service: {type: redis, env: {A: '1'}}
  client: {type: redis_stress, settings: {key_size_bytes: 40, operation_mix: '${MIX}'}}
  benchmarks: {duration: 2s, slo: {p99: 20ms}}
sweep:
  service.env.A: [x, y]
  benchmarks.warmup: [1s, 500ms]
slo: {latency_p99: 1s, success_rate: 99}
";

    fn campaign() -> String {
        CAMPAIGN.replace("${MIX}", "80:20")
    }

    #[test]
    fn points_are_crossed_in_the_order_of_the_file() {
        let plan = plan(&campaign());
        let swept: Vec<Value> = plan.points.iter().map(|point| Value::Object(point.swept.clone())).collect();
        assert_eq!(
            swept,
            [("x", 1.0), ("x", 0.5), ("y", 1.0), ("y", 0.5)]
                .map(|(a, warmup)| json!({ "service.env.A": a, "benchmarks.warmup": warmup }))
        );
        let keys: Vec<&String> = plan.points[0].swept.keys().collect();
        assert_eq!(keys, ["service.env.A", "benchmarks.warmup"]);
        assert_eq!(plan.campaign.name, "a-campaign");
        let hashes: std::collections::BTreeSet<&String> = plan.points.iter().map(|point| &point.recipe_hash).collect();
        assert_eq!(hashes.len(), 4);
    }

    #[test]
    fn limits_of_the_recipe_win_over_the_campaigns() {
        let point = &plan(&campaign()).points[0];
        assert_eq!(point.slo, BTreeMap::from([("latency_p99_s".into(), 0.02), ("success_rate".into(), 99.0)]));
        assert_eq!(point.resolved["benchmarks"]["slo"], json!({ "latency_p99_s": 0.02, "success_rate": 99.0 }));
    }

    #[test]
    fn limits_of_the_command_line_take_the_place_of_all_others() {
        let asked = |slo: &str| Overrides { slo: Some(slo.to_owned()), ..Overrides::default() };
        let plan = planned(&campaign(), &asked("p95<=5ms, throughput>=100")).plan.expect("a plan");
        assert_eq!(plan.campaign.overrides, ["--slo p95<=5ms, throughput>=100"]);
        for point in &plan.points {
            let limits = json!({ "latency_p95_s": 0.005, "requests_per_second": 100.0 });
            assert_eq!(point.resolved["benchmarks"]["slo"], limits);
            assert_eq!(point.slo.len(), 2);
        }
        // As if the recipe said so: the same hash.
        let written = campaign()
            .replace("slo: {p99: 20ms}", "slo: {p95: 5ms, throughput: 100}")
            .replace("slo: {latency_p99: 1s, success_rate: 99}\n", "");
        let hashes = |plan: &Plan| plan.points.iter().map(|point| point.recipe_hash.clone()).collect::<Vec<_>>();
        assert_eq!(hashes(&plan), hashes(&self::plan(&written)));
        for (slo, message) in [("p99", "is no limit"), ("ttft_p99=1s", "TTFT"), ("speed=3", "unknown limit `speed`")] {
            let outcome = planned(&campaign(), &asked(slo));
            let findings = outcome.findings.render_all();
            assert!(outcome.plan.is_none() && findings.contains(message) && findings.contains("--slo"), "{findings}");
        }
        let swept = campaign().replace("  benchmarks.warmup: [1s, 500ms]", "  benchmarks.slo: [{p99: 1s}, {p99: 2s}]");
        assert!(planned(&swept, &asked("p99=1s")).findings.render_all().contains("change the sweep"));
    }

    #[test]
    fn every_default_is_filled_in() {
        let point = &plan(&campaign()).points[0];
        for (pointer, value) in [
            ("/service/name", json!("redis")),
            ("/service/image", json!("redis:7.4.1")),
            ("/service/settings/maxmemory_policy", json!("noeviction")),
            ("/client/name", json!("client-redis")),
            ("/client/settings/value_size_bytes", json!(256)),
            ("/benchmarks/timeout", json!(60.0)),
            ("/benchmarks/load/model", json!("closed")),
        ] {
            assert_eq!(point.resolved.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(
            serde_json::to_value(&point.recipe).ok().map(|recipe| recipe["client"]["name"].clone()),
            Some(json!("client-redis"))
        );
    }

    #[test]
    fn timed_load_without_a_mix_reads_and_writes_by_halves() {
        let text = campaign().replace(", operation_mix: '80:20'", "");
        assert_eq!(plan(&text).points[0].resolved["client"]["settings"]["operation_mix"], "50:50");
    }

    #[test]
    fn secrets_are_gathered_and_nowhere_else() {
        let text = campaign().replace("A: '1'", "A: '1', TOKEN: '${SET}'");
        let plan = plan(&text);
        assert_eq!(plan.secrets, BTreeMap::from([("SET".into(), "value".into())]));
        assert_eq!(plan.points[0].recipe.service.env["TOKEN"], "${SET}");
        assert!(!format!("{:?}", plan.points).contains("value\""));
    }

    #[test]
    fn several_recipe_files_are_an_axis_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, value) in [("a.yaml", 64), ("b.yaml", 128)] {
            let text = format!(
                "configuration: {{target: local}}\nservice: {{type: redis}}\n\
                 client: {{type: redis_stress, settings: {{value_size_bytes: {value}}}}}\n"
            );
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let file = folder.path().join("both.yaml");
        std::fs::write(&file, "recipes: [a.yaml, b.yaml]\nsweep: {benchmarks.num_clients: [1, 2]}\n").expect("written");
        let machine = Machine { cores: 4, environment: &|_| None };
        let plan = make(&file, &Overrides::default(), machine, true).expect("read").plan.expect("a plan");
        assert_eq!(plan.points.len(), 4);
        assert_eq!(
            Value::Object(plan.points[2].swept.clone()),
            json!({ "recipe": "b.yaml", "benchmarks.num_clients": 1 })
        );
        assert!(plan.points[2].recipe_text.as_ref().is_some_and(|text| text.contains("128")));
    }

    #[test]
    fn a_target_is_needed_to_run_and_may_come_from_the_command_line() {
        let text = campaign().replace("  configuration: {target: local}\n", "");
        let outcome = planned(&text, &Overrides::default());
        assert!(outcome.plan.is_none() && outcome.findings.render_all().contains("there is no target to run on"));
        let overrides = Overrides { target: Some("local".into()), ..Overrides::default() };
        assert_eq!(planned(&text, &overrides).plan.expect("a plan").campaign.target, "local");
    }

    #[test]
    fn what_the_local_target_leaves_out_is_noted_once() {
        let text = campaign().replace("type: redis,", "type: redis, partition: gpu, num_gpus: 1,");
        let notes = plan(&text).notes;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("`service.partition`, `service.num_gpus`"), "{notes:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whatever is cut out of a campaign or put into it: a plan, or a reason with a place.
        #[test]
        fn a_damaged_campaign_gives_a_plan_or_a_reason(
            at in 0..CAMPAIGN.len(),
            length in 0_usize..12,
            put in "[-a:&*!|>'\"%@#,{}\\[\\]? \n~.0-9]{0,4}",
        ) {
            let mut text = campaign();
            let end = (at + length).min(text.len());
            text.replace_range(at.min(text.len())..end.max(at.min(text.len())), &put);
            let outcome = planned(&text, &Overrides::default());
            prop_assert_eq!(outcome.plan.is_none(), outcome.findings.has_errors());
            for finding in outcome.findings.iter() {
                prop_assert!(finding.span.line >= 1 && finding.span.column >= 1);
                prop_assert!(!outcome.findings.render(finding).is_empty());
            }
            if let Some(plan) = outcome.plan {
                prop_assert!(!plan.points.is_empty() && plan.benchmarks.len() == plan.points.len());
            }
        }

        /// As many points as there are combinations, each different.
        #[test]
        fn a_crossed_sweep_has_every_combination(clients in 1_usize..5, sizes in 1_usize..5, warmups in 1_usize..4) {
            let list = |count: usize| (1..=count).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
            let text = format!(
                "recipe: {{configuration: {{target: local}}, service: {{type: redis}}, client: {{type: redis_stress}}}}\n\
                 sweep: {{benchmarks.num_clients: [{}], client.settings.value_size_bytes: [{}], benchmarks.warmup: [{}]}}\n",
                list(clients), list(sizes), list(warmups)
            );
            let points = plan(&text).points;
            let different: std::collections::BTreeSet<String> =
                points.iter().map(|point| Value::Object(point.swept.clone()).to_string()).collect();
            prop_assert_eq!(points.len(), clients * sizes * warmups);
            prop_assert_eq!(different.len(), points.len());
        }
    }
}
