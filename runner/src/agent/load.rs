//! `runner agent load`: drives the load of every point of a run folder, one after the other.
//!
//! Waits for the service to be ready, and ends early when the service dies, at a signal, at its time limit or
//! at the end of the lifeline. Whatever was measured up to then is kept.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use archive::Role;

use super::{
    Agent, EventLog, JobArgs, Layout, PointPlan, Secrets, calibrate,
    deployment::{DeploymentPlan, ServiceState, write_json},
    events::find,
    partner::{Beat, Partner},
    sample::Sampler,
};
use crate::{
    load::{self, Control, LoadJob},
    node, services,
};

/// Drives all points of the run folder `folder`.
pub fn run(folder: &Path, lifeline: bool, job: &JobArgs) -> Result<()> {
    let layout = Layout::new(folder);
    let plan = layout.plan()?;
    let secrets = layout.secrets()?;
    let mut log = EventLog::open(&layout, Agent::Load, &node::hostname())?;
    layout.write_client_node(&node::facts("client"))?;
    let partner = job.job.then(|| Partner::new(folder, Agent::Serve, job.silence()));
    let _beat = job.job.then(|| Beat::start(folder, Agent::Load)).transpose()?;
    let ends = Ends::watch(lifeline, partner)?;
    let outcome = wait_ready(&layout, &ends).and_then(|state| {
        let Some(state) = state else { return Ok(()) };
        let mut driven = 0;
        while let Some(point) = following(&layout, &plan, driven, &ends)? {
            driven += 1;
            drive(&layout, &point, &plan.service.settings, &plan.service.name, &state, &secrets, &ends, &mut log)?;
        }
        Ok(())
    });
    if let Err(err) = &outcome {
        log.write("failed", Some(format!("{err:#}")), None)?;
    }
    log.write("finished", None, None)
}

/// The point after so many, for which an open deployment is waited for; `None` after the last one, or when it is time to
/// end.
fn following(layout: &Layout, plan: &DeploymentPlan, driven: usize, ends: &Ends) -> Result<Option<PointPlan>> {
    let mut point = plan.points.get(driven).cloned();
    let mut open = plan.open;
    loop {
        // Whoever answers in place of a service that has ended must not be measured.
        if ends.reached() || service_ended(layout).is_some() {
            return Ok(None);
        }
        if point.is_some() || !open {
            return Ok(point);
        }
        let now = layout.plan()?;
        (point, open) = (now.points.get(driven).cloned(), now.open);
        if point.is_none() && open {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Reasons to end that come from outside.
struct Ends {
    flag: Arc<AtomicBool>,
    /// Slurm's warning that the job's time is nearly over.
    warned: Arc<AtomicBool>,
    /// The service's job, where it is another.
    partner: Option<Mutex<Partner>>,
}

impl Ends {
    fn watch(lifeline: bool, partner: Option<Partner>) -> Result<Self> {
        let (flag, warned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&flag))?;
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&warned))?;
        if lifeline {
            let flag = Arc::clone(&flag);
            thread::spawn(move || {
                let mut byte = [0];
                while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
                flag.store(true, Ordering::Relaxed);
            });
        }
        Ok(Self { flag, warned, partner: partner.map(Mutex::new) })
    }

    fn reached(&self) -> bool {
        self.flag.load(Ordering::Relaxed) || self.failure().is_some()
    }

    /// Why the load must end although nobody asked for it.
    fn failure(&self) -> Option<String> {
        if self.warned.load(Ordering::Relaxed) {
            return Some("the job's time limit (`service.time_limit`) was near".to_owned());
        }
        let silent = self.partner.as_ref()?.lock().is_ok_and(|mut partner| partner.is_silent());
        silent.then(|| "the service's job gave no more sign of life".to_owned())
    }
}

/// Why a load was ended before its time.
enum Why {
    Cancelled,
    Failed(String),
}

/// What the service says of itself once it is ready; `None` when there will be no load: the service ended and
/// says itself why, or somebody asked for the end.
fn wait_ready(layout: &Layout, ends: &Ends) -> Result<Option<ServiceState>> {
    loop {
        if find(layout, Agent::Serve, "ready").is_some() {
            let state = layout.service_state();
            return state.map(Some).context("the service is ready but its state file cannot be read");
        }
        if let Some(reason) = ends.failure() {
            bail!(reason);
        }
        if ends.reached() || service_ended(layout).is_some() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Why the service has ended, if it has.
fn service_ended(layout: &Layout) -> Option<String> {
    let event = ["failed", "stopped", "ending"].into_iter().find_map(|name| find(layout, Agent::Serve, name))?;
    Some(event.detail.unwrap_or(event.event))
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would only rename the list")]
fn drive(
    layout: &Layout,
    point: &PointPlan,
    service_settings: &serde_json::Value,
    service_name: &str,
    state: &ServiceState,
    secrets: &Secrets,
    ends: &Ends,
    log: &mut EventLog,
) -> Result<()> {
    let id = Some(point.benchmark_id);
    log.write("point_begun", None, id)?;
    calibrate(layout, point, secrets, ends, log)?;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < point.warmup_delay_s && !ends.reached() {
        thread::sleep(Duration::from_millis(20));
    }
    let folder = layout.point(point.benchmark_id);
    let mut env = variables(point, service_name, state, &folder);
    if point.command.is_some() {
        env.extend(secrets.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    env.extend(point.env.iter().map(|(name, value)| (name.clone(), secrets.fill(value))));
    let client = services::client_of_recipe(&point.client_kind)?;
    let job = LoadJob {
        spec: point.load.clone(),
        settings: secrets.fill_value(&point.settings),
        service_settings: secrets.fill_value(service_settings),
        endpoint: state.endpoint.clone().unwrap_or(load::Endpoint { host: state.node.hostname.clone(), port: 0 }),
        folder: folder.clone(),
        env,
        command: point.command.clone(),
        files: layout.input_files(client, &point.settings)?,
        trace: layout.trace(&point.load)?,
        truth: None,
    };
    let control = Control::default();
    let mut why_stopped = None;
    let result = thread::scope(|scope| {
        let running = scope.spawn(|| client.run(&job, &control));
        let mut sampler = Sampler::new(
            Role::Client,
            &node::hostname(),
            Some(std::process::id() as i32),
            state.endpoint.as_ref().map(|endpoint| endpoint.port),
        );
        let mut samples = fs::OpenOptions::new().create(true).append(true).open(folder.join("resources.jsonl"))?;
        let mut next_sample = Instant::now() + Duration::from_secs(1);
        while !running.is_finished() {
            thread::sleep(Duration::from_millis(20));
            if Instant::now() >= next_sample {
                next_sample += Duration::from_secs(1);
                let mut line = serde_json::to_vec(&sampler.sample())?;
                line.push(b'\n');
                samples.write_all(&line)?;
            }
            if why_stopped.is_none() {
                let over = point.time_limit_s.filter(|limit| begun.elapsed().as_secs_f64() > *limit);
                why_stopped = match (ends.reached(), over) {
                    (true, _) => Some(ends.failure().map_or(Why::Cancelled, Why::Failed)),
                    (_, Some(limit)) => Some(Why::Failed(format!("`client.time_limit` of {limit} s is over"))),
                    _ => service_ended(layout).map(Why::Failed),
                };
                if why_stopped.is_some() {
                    control.stop();
                }
            }
        }
        running.join().unwrap_or_else(|_| bail!("the load driver panicked; its log tells where"))
    });

    match result {
        Ok(report) => {
            load::spool::to_requests(&folder, &folder.join("requests.jsonl.zst"))?;
            write_json(&folder.join("load.json"), &report)?;
            load::spool::remove(&folder)?;
            let wall = |offset| report.started_at.plus_seconds(offset);
            log.write_at(wall(0.0), "load_begun", None, id)?;
            // A load that was ended in its warm-up has an empty window.
            let [start, end] = report.window_s;
            if end > start {
                log.write_at(wall(start), "warmup_ended", None, id)?;
                log.write_at(wall(end), "window_ended", None, id)?;
            }
            // A load that reached its end by itself has its result, whatever was asked at the last moment.
            if report.left_behind.is_some() {
                log.write("left_behind", report.left_behind, id)?;
            }
            // Data that a dead service no longer shows are no wrong data.
            let ended_otherwise = report.interrupted && why_stopped.is_some();
            let doubt = match (report.wrong_data, report.unchecked_data) {
                (Some(wrong), _) => Some(format!("the service's data are wrong: {wrong}")),
                (None, Some(reason)) => Some(format!("the service's data could not be checked: {reason}")),
                (None, None) => None,
            };
            if let Some(doubt) = doubt.filter(|_| !ended_otherwise) {
                return log.write("point_failed", Some(doubt), id);
            }
            match why_stopped {
                _ if !report.interrupted => log.write("point_ended", None, id),
                Some(Why::Cancelled) => log.write("point_cancelled", None, id),
                Some(Why::Failed(reason)) => log.write("point_failed", Some(reason), id),
                None => log.write("point_failed", report.interruption, id),
            }
        }
        Err(err) => {
            // Records of clients that did start are worth keeping.
            match load::spool::to_requests(&folder, &folder.join("requests.jsonl.zst")) {
                Ok(spooled) => {
                    if let Some(started_at) = spooled.started_at {
                        log.write_at(started_at, "load_begun", None, id)?;
                        if let Some(start) = spooled.window_start_s {
                            log.write_at(started_at.plus_seconds(start), "warmup_ended", None, id)?;
                        }
                    }
                }
                Err(err) => tracing::warn!("no request records of {}: {err:#}", point.benchmark_id),
            }
            log.write("point_failed", Some(format!("{err:#}")), id)
        }
    }
}

/// Measures the load generator's own error, as far as that is asked for. What goes wrong is a remark.
fn calibrate(layout: &Layout, point: &PointPlan, secrets: &Secrets, ends: &Ends, log: &mut EventLog) -> Result<()> {
    let id = Some(point.benchmark_id);
    let folder = layout.point(point.benchmark_id);
    let client = services::client_of_recipe(&point.client_kind)?;
    let settings = secrets.fill_value(&point.settings);
    let control = Control::default();
    let outcome = thread::scope(|scope| {
        let running = scope.spawn(|| calibrate::calibrate(point, &settings, client, &folder, &control));
        while !running.is_finished() {
            thread::sleep(Duration::from_millis(10));
            if ends.reached() || service_ended(layout).is_some() {
                control.stop();
            }
        }
        running.join().unwrap_or_else(|_| bail!("it panicked"))
    });
    match outcome {
        Ok(None) => Ok(()),
        Ok(Some(calibration)) => {
            write_json(&folder.join("calibration.json"), &calibration)?;
            log.write("calibrated", calibration.cached.then(|| "earlier in this execution".to_owned()), id)
        }
        Err(err) => log.write("not_calibrated", Some(format!("{err:#}")), id),
    }
}

/// What the reference gives every client.
fn variables(
    point: &PointPlan,
    service_name: &str,
    state: &ServiceState,
    folder: &Path,
) -> std::collections::BTreeMap<String, String> {
    let port = state.endpoint.as_ref().map(|endpoint| endpoint.port.to_string()).unwrap_or_default();
    let host = state.endpoint.as_ref().map_or_else(|| state.node.hostname.clone(), |endpoint| endpoint.host.clone());
    let url = state.endpoint.as_ref().map(|endpoint| format!("http://{endpoint}")).unwrap_or_default();
    let output = folder.join("logs");
    [
        ("SERVICE_NAME", service_name.to_owned()),
        ("SERVICE_HOSTNAME", host),
        ("SERVICE_PORT", port),
        ("SERVICE_URL", url),
        ("BENCHMARK_ID", point.benchmark_id.to_string()),
        ("BENCHMARK_OUTPUT_DIR", output.canonicalize().unwrap_or(output).display().to_string()),
        ("CLIENT_NAME", point.client_name.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
