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
use archive::{Calibration, Role};

use super::{
    Agent, EventLog, JobArgs, Layout, PointPlan, Secrets, ServicePlan, calibrate,
    crew::{self, Crew, PartEnd, Why},
    data,
    deployment::{DeploymentPlan, ServiceState, write_json},
    events::find,
    partner::{Beat, Partner},
    sample::Sampler,
};
use crate::{
    load::{self, Control, LoadJob, LoadReport, Trace},
    node, services,
};

/// Drives all points of the run folder `folder`; of a job of several nodes, this node's part of each.
pub fn run(folder: &Path, lifeline: bool, job: &JobArgs) -> Result<()> {
    let layout = Layout::new(folder);
    let plan = layout.plan()?;
    let secrets = layout.secrets()?;
    let mut crew = Crew::of_job(job)?;
    let mut log = match crew.is_first() {
        true => EventLog::open(&layout, Agent::Load, &node::hostname())?,
        false => EventLog::silent(),
    };
    if let Some(reason) = job.hindrance() {
        log.write("failed", Some(reason), None)?;
        return log.write("finished", None, None);
    }
    layout.write_client_node(crew.number(), &node::facts("client"))?;
    if job.job && crew.is_first() {
        layout.write_load_tool(&node::tool())?;
    }
    let partner = job.job.then(|| Partner::new(folder, Agent::Serve, job.silence()));
    let _beat = (job.job && crew.is_first()).then(|| Beat::start(folder, Agent::Load)).transpose()?;
    let ends = Ends::watch(lifeline, partner)?;
    let outcome = wait_ready(&layout, &ends).and_then(|state| {
        let Some(state) = state else { return Ok(()) };
        if job.job {
            crew.call(&layout)?;
        }
        let mut driven = 0;
        while let Some(point) = following(&layout, &plan, driven, &ends)? {
            driven += 1;
            let part = Part { layout: &layout, point: &point, crew: &crew, secrets: &secrets, ends: &ends };
            part.drive(&plan.service, &state, &mut log)?;
        }
        Ok(())
    });
    match &outcome {
        // The first tells of it, who learns it by the others' leaving.
        Err(_) if !crew.is_first() => return outcome,
        Err(err) => log.write("failed", Some(format!("{err:#}")), None)?,
        Ok(()) => crew.leave(),
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

/// A point, as far as this node drives it.
struct Part<'a> {
    layout: &'a Layout,
    point: &'a PointPlan,
    crew: &'a Crew,
    secrets: &'a Secrets,
    ends: &'a Ends,
}

impl Part<'_> {
    fn drive(&self, service: &ServicePlan, state: &ServiceState, log: &mut EventLog) -> Result<()> {
        let (layout, point) = (self.layout, self.point);
        let id = point.benchmark_id;
        if self.crew.is_first() && !point.data.is_empty() {
            write_json(&layout.point(id).join("data.json"), &data::look(data::of_client(&point.data)))?;
        }
        log.write("point_begun", None, Some(id))?;
        let folder = crew::make_folder(self.crew, layout, id)?;
        let (calibration, calibration_error) = self.calibrate(&folder, log)?;
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < point.warmup_delay_s && !self.ends.reached() {
            thread::sleep(Duration::from_millis(20));
        }
        let trace = layout.trace(&point.load)?;
        let mut why_stopped = None;
        let result = self.load(service, state, &folder, trace.clone(), &mut why_stopped);
        let (report, error) = match result {
            Ok(report) => (Some(report), None),
            Err(err) => (None, Some(format!("{err:#}"))),
        };
        let end = PartEnd { report, error, why_stopped, calibration, calibration_error };
        match self.crew.put_together(layout, id, end)? {
            Some(ends) => self.tell(crew::whole(point, trace.as_ref(), ends), log),
            None => Ok(()),
        }
    }

    /// Drives this node's clients; also says why it ended them before their time.
    fn load(
        &self,
        service: &ServicePlan,
        state: &ServiceState,
        folder: &Path,
        trace: Option<Arc<Trace>>,
        why_stopped: &mut Option<Why>,
    ) -> Result<LoadReport> {
        let (point, secrets) = (self.point, self.secrets);
        let (share, mut node_part) = self.crew.begin(point)?;
        let mut env = variables(point, &service.name, state, folder);
        if point.command.is_some() {
            env.extend(secrets.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        env.extend(point.env.iter().map(|(name, value)| (name.clone(), secrets.fill(value))));
        let client = services::client_of_recipe(&point.client_kind)?;
        let job = LoadJob {
            spec: point.load.clone(),
            settings: secrets.fill_value(&point.settings),
            service_settings: secrets.fill_value(&service.settings),
            endpoint: state.endpoint.clone().unwrap_or(load::Endpoint { host: state.node.hostname.clone(), port: 0 }),
            folder: folder.to_owned(),
            env,
            command: point.command.clone(),
            files: self.layout.input_files(client, &point.settings)?,
            trace,
            truth: None,
            share,
        };
        let control = Control::default();
        let begun = Instant::now();
        let mut samples = fs::OpenOptions::new().create(true).append(true).open(folder.join("resources.jsonl"))?;
        let mut report = thread::scope(|scope| {
            let running = scope.spawn(|| client.run(&job, &control));
            let mut sampler = Sampler::new(
                Role::Client,
                &node::hostname(),
                Some(std::process::id() as i32),
                state.endpoint.as_ref().map(|endpoint| endpoint.port),
            );
            let mut next_sample = Instant::now() + Duration::from_secs(1);
            while !running.is_finished() {
                thread::sleep(Duration::from_millis(20));
                if Instant::now() >= next_sample {
                    next_sample += Duration::from_secs(1);
                    let mut line = serde_json::to_vec(&sampler.sample())?;
                    line.push(b'\n');
                    if let (Err(err), None) = (samples.write_all(&line), &why_stopped) {
                        *why_stopped = Some(Why::Failed(format!("cannot write down samples: {err}")));
                        control.stop();
                    }
                }
                if why_stopped.is_none() {
                    *why_stopped = self.why_stop(begun);
                    if why_stopped.is_some() {
                        control.stop();
                    }
                }
            }
            running.join().unwrap_or_else(|_| bail!("the load driver panicked; its log tells where"))
        })?;
        if self.crew.is_called() {
            node_part.threads = report.threads;
            node_part.recorded = report.recorded;
            node_part.cpu_s = report.cpu_s;
            node_part.wait_s = report.wait_s;
            node_part.longest_stall_s = report.longest_stall_s;
            report.nodes = vec![node_part];
        }
        Ok(report)
    }

    /// Why the load must end now, if it must.
    fn why_stop(&self, begun: Instant) -> Option<Why> {
        let over = self.point.time_limit_s.filter(|limit| begun.elapsed().as_secs_f64() > *limit);
        match (self.ends.reached(), over) {
            (true, _) => Some(self.ends.failure().map_or(Why::Cancelled, Why::Failed)),
            (_, Some(limit)) => Some(Why::Failed(format!("`client.time_limit` of {limit} s is over"))),
            _ => service_ended(self.layout).or_else(|| self.crew.stopped(self.point.benchmark_id)).map(Why::Failed),
        }
    }

    /// Writes down what the load came to.
    fn tell(&self, end: PartEnd, log: &mut EventLog) -> Result<()> {
        let folder = self.layout.point(self.point.benchmark_id);
        let id = Some(self.point.benchmark_id);
        if let Some(calibration) = &end.calibration {
            write_json(&folder.join("calibration.json"), calibration)?;
        }
        if let (None, Some(reason)) = (&end.calibration, end.calibration_error) {
            log.write("not_calibrated", Some(reason), id)?;
        }
        let Some(report) = end.report else {
            // Records of clients that did start are worth keeping.
            match load::spool::to_requests(&folder, &folder.join("requests.jsonl.zst")) {
                Ok(_) => load::spool::remove(&folder)?,
                Err(err) => tracing::warn!("no request records of {}: {err:#}", self.point.benchmark_id),
            }
            return log.write("point_failed", end.error, id);
        };
        self.crew.merge_requests(self.layout, self.point.benchmark_id, &report)?;
        write_json(&folder.join("load.json"), &report)?;
        let wall = |offset| report.started_at.plus_seconds(offset);
        log.write_at(wall(0.0), "load_begun", None, id)?;
        // A load that was ended in its warm-up has an empty window.
        let [start, window_end] = report.window_s;
        if window_end > start {
            log.write_at(wall(start), "warmup_ended", None, id)?;
            log.write_at(wall(window_end), "window_ended", None, id)?;
        }
        if report.left_behind.is_some() {
            log.write("left_behind", report.left_behind, id)?;
        }
        // Data that a dead service no longer shows are no wrong data.
        let ended_otherwise = report.interrupted && end.why_stopped.is_some();
        let doubt = match (report.wrong_data, report.unchecked_data) {
            (Some(wrong), _) => Some(format!("the service's data are wrong: {wrong}")),
            (None, Some(reason)) => Some(format!("the service's data could not be checked: {reason}")),
            (None, None) => None,
        };
        if let Some(doubt) = doubt.filter(|_| !ended_otherwise) {
            return log.write("point_failed", Some(doubt), id);
        }
        match end.why_stopped {
            // A load that reached its end by itself has its result, whatever was asked at the last moment.
            _ if !report.interrupted => log.write("point_ended", None, id),
            Some(Why::Cancelled) => log.write("point_cancelled", None, id),
            Some(Why::Failed(reason)) => log.write("point_failed", Some(reason), id),
            None => log.write("point_failed", report.interruption, id),
        }
    }

    /// Measures the load generator's own error, as far as that is asked for. What goes wrong is a remark.
    fn calibrate(&self, folder: &Path, log: &mut EventLog) -> Result<(Option<Calibration>, Option<String>)> {
        let id = Some(self.point.benchmark_id);
        let client = services::client_of_recipe(&self.point.client_kind)?;
        let settings = self.secrets.fill_value(&self.point.settings);
        let (control, own) = (Control::default(), self.crew.own(self.point));
        let outcome = thread::scope(|scope| {
            let running = scope.spawn(|| calibrate::calibrate(&own, &settings, client, folder, &control));
            while !running.is_finished() {
                thread::sleep(Duration::from_millis(10));
                if self.ends.reached() || service_ended(self.layout).is_some() {
                    control.stop();
                }
            }
            running.join().unwrap_or_else(|_| bail!("it panicked"))
        });
        match outcome {
            Ok(None) => Ok((None, None)),
            Ok(Some(calibration)) => {
                let cached = calibration.cached.then(|| "earlier in this execution".to_owned());
                log.write("calibrated", cached, id)?;
                Ok((Some(calibration), None))
            }
            Err(err) => Ok((None, Some(format!("{err:#}")))),
        }
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
