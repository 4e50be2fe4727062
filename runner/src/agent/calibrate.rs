//! The calibration before a benchmark: the same load generator, threads and number of clients against a server of
//! known truth on this machine, at several event rates.
//!
//! A rung in which the load generator or the server had no time left says so: its errors are waits for a core. Beside a
//! rung of the timed endpoint one plain blocking connection asks the same, for what the machine itself takes. What is found
//! is cached for the same (machine, client type and settings, threads, clients, rate or think time, pipeline) within one execution
//! of a campaign. A calibration that fails is a remark, never the benchmark's failure.

use std::{
    collections::HashMap,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use archive::{Calibration, CalibrationKind, CalibrationRung, ErrorFigures};
use procfs::process::Process;
use serde_json::{Value, json};

use super::{
    PointPlan,
    deployment::{read_json, write_json},
};
use crate::{
    load::{self, Arrival, Control, Endpoint, LoadJob, LoadReport, LoadSpec, Stop, Warmup, truth::Truth},
    node,
    services::{Calibrated, ClientType},
    simulator::timed::{self, TimedLoad},
};

/// Service times of the timed endpoint in closed loop that are asked first: rare events, and as many as there can be …
const SERVICE_S: [f64; 2] = [0.010, 0.0];
/// … and then what leads to these shares of as many as there can be.
const SHARES_OF_MOST: [f64; 2] = [0.3, 0.6];
/// A service time as a share of its rung, at most.
const SERVICE_SHARE: f64 = 0.1;
/// Of a rung's time, what the plain connection has, before and after each.
const LOOPBACK_SHARE: f64 = 0.15;
/// The plain connection asks at least so often: a longer pause would leave too few answers.
const LOOPBACK_PACE_S: f64 = 0.001;
/// Time between two chunks of a stream.
const CHUNK_S: [f64; 2] = [0.020, 0.005];
/// A simulated stream lasts about so long.
const STREAM_S: f64 = 0.1;
/// Time of each rung before it is measured, as a share of its whole.
const WARMUP_SHARE: f64 = 0.2;
/// A think time as a share of its rung, at most: a longer one would leave too few events.
const THINK_SHARE: f64 = 0.05;
/// A thread that worked or waited for a core for more of its time than this had none left.
const NO_TIME_LEFT: f64 = 0.9;
/// Requests that wait for each thread of both sides, on average: with more, it always has one to do.
const MANY: f64 = 4.0;
/// Longest wait for the server to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calibrates for one point; `None` where the client type cannot be calibrated or the recipe says no.
pub fn calibrate(
    point: &PointPlan,
    settings: &Value,
    client: &dyn ClientType,
    folder: &Path,
    control: &Control,
) -> Result<Option<Calibration>> {
    let kind = match client.calibrated() {
        _ if point.calibration_s <= 0.0 => return Ok(None),
        Calibrated::Never => return Ok(None),
        Calibrated::Timed => CalibrationKind::Timed,
        Calibrated::Streaming => CalibrationKind::Streaming,
    };
    let key = format!(
        "{} {} {} {:?} {:?} {} {} {} {settings}",
        node::hostname(),
        point.client_kind,
        point.load.threads,
        point.load.requested_rate(),
        think_time_s(&point.load),
        point.load.clients,
        point.load.pipeline,
        point.calibration_s
    );
    let cache = point.calibration_cache.as_ref().map(|folder| cache_file(folder, &key));
    if let Some(known) = cache.as_ref().and_then(|path| read_json::<Calibration>(path).ok()) {
        return Ok(Some(Calibration { cached: true, ..known }));
    }
    let work = folder.join("calibration");
    fs::create_dir_all(&work)?;
    let rungs = match kind {
        CalibrationKind::Timed => timed(point, &work, control),
        CalibrationKind::Streaming => streaming(point, settings, client, &work, control),
    };
    let _ = fs::remove_dir_all(&work);
    let calibration = Calibration {
        kind,
        at: archive::Timestamp::now(),
        clients: point.load.clients,
        threads: point.load.threads.min(point.load.clients),
        cached: false,
        rungs: rungs?,
    };
    if let Some(path) = cache {
        let kept = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(Into::into);
        if let Err(err) = kept.and_then(|()| write_json(&path, &calibration)) {
            tracing::warn!("cannot keep the calibration: {err:#}");
        }
    }
    Ok(Some(calibration))
}

fn cache_file(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{}.json", &archive::sha256_hex(key.as_bytes())[..16]))
}

fn think_time_s(load: &LoadSpec) -> Option<f64> {
    match load.arrival {
        Arrival::Closed { think_time_s } => Some(think_time_s),
        _ => None,
    }
}

/// The load of one rung: as the point's, but for what it sends and when it ends.
fn spec(point: &PointPlan, rung_s: f64) -> LoadSpec {
    let arrival = match (think_time_s(&point.load), point.load.requested_rate()) {
        (None, Some(rate)) => Arrival::Poisson { rate },
        (think, _) => Arrival::Closed { think_time_s: think.unwrap_or(0.0).min(rung_s * THINK_SHARE) },
    };
    LoadSpec {
        arrival,
        stop: Stop { requests: None, duration_s: Some(rung_s * (1.0 - WARMUP_SHARE)) },
        warmup: Warmup { duration_s: rung_s * WARMUP_SHARE, requests: 0 },
        stagger_s: 0.0,
        timeout_s: 10.0,
        steps: Vec::new(),
        precision: None,
        ..point.load.clone()
    }
}

fn job(spec: LoadSpec, settings: Value, service_settings: Value, endpoint: &Endpoint, folder: &Path) -> LoadJob {
    LoadJob {
        spec,
        settings,
        service_settings,
        endpoint: endpoint.clone(),
        folder: folder.to_owned(),
        env: Default::default(),
        command: None,
        files: Default::default(),
        trace: None,
        truth: None,
        share: None,
    }
}

fn timed(point: &PointPlan, folder: &Path, control: &Control) -> Result<Vec<CalibrationRung>> {
    let server = Server::start(&["agent", "simulate", "--timed"])?;
    let mut rungs = Vec::new();
    let Some(rate) = point.load.requested_rate() else {
        let rung_s = point.calibration_s / (SERVICE_S.len() + SHARES_OF_MOST.len()) as f64;
        for service_s in SERVICE_S {
            rungs.push(timed_rung(&server, point, [rung_s, service_s], folder, control)?);
        }
        let most = rungs.last().map_or(0.0, |rung| rung.event_rate);
        for share in SHARES_OF_MOST {
            let service_s =
                slower(point.load.clients, most / f64::from(point.load.pipeline), share).min(rung_s * SERVICE_SHARE);
            rungs.push(timed_rung(&server, point, [rung_s, service_s], folder, control)?);
        }
        return Ok(rungs);
    };
    let service_s = (1.0 / rate).min(LOOPBACK_PACE_S);
    rungs.push(timed_rung(&server, point, [point.calibration_s, service_s], folder, control)?);
    Ok(rungs)
}

/// The service time at which a closed loop comes to a share of its most batches per second: all clients go round in
/// clients / (share · most), of which a batch takes 1 / most when it is answered at once and alone.
fn slower(clients: u32, most: f64, share: f64) -> f64 {
    if most > 0.0 { (f64::from(clients) / share - 1.0) / most } else { 0.0 }
}

/// One rung, and the plain connection before and after it.
fn timed_rung(
    server: &Server,
    point: &PointPlan,
    [rung_s, service_s]: [f64; 2],
    folder: &Path,
    control: &Control,
) -> Result<CalibrationRung> {
    let truth = Truth::new();
    let workload =
        TimedLoad { endpoint: server.endpoint.clone(), service_ns: (service_s * 1e9) as u64, truth: truth.clone() };
    let spec = spec(point, rung_s * (1.0 - 2.0 * LOOPBACK_SHARE));
    let job = job(spec, Value::Null, Value::Null, &server.endpoint, folder);
    let pace_s = (service_s / f64::from(point.load.clients)).min(LOOPBACK_PACE_S);
    let plain = || timed::ask_plainly(&server.endpoint, pace_s, rung_s * LOOPBACK_SHARE);
    let before = plain()?;
    let (report, saturated) = server.watched(|| load::drive(workload, &job, control))?;
    let after = plain()?;
    let mut rung = rung(&report, &truth, saturated)?;
    let slower = |of: fn(&ErrorFigures) -> f64| {
        [&before, &after].map(|half| figures(half.clone()).map_or(0.0, |half| of(&half)))
    };
    let p50 = slower(|half| half.p50).into_iter().fold(0.0, f64::max);
    rung.loopback_s = figures([before.clone(), after.clone()].concat()).map(|both| ErrorFigures { p50, ..both });
    Ok(rung)
}

fn streaming(
    point: &PointPlan,
    settings: &Value,
    client: &dyn ClientType,
    folder: &Path,
    control: &Control,
) -> Result<Vec<CalibrationRung>> {
    let mut rungs = Vec::new();
    for chunk_s in CHUNK_S {
        let simulated = json!({
            "slots": point.load.clients.clamp(1, 65536), "prefill_base_s": chunk_s, "prefill_per_token_s": 0.0,
            "decode_per_token_s": chunk_s, "send_stamps": true, "seed": 1,
        });
        let server = Server::start(&["agent", "simulate", "--settings", &simulated.to_string()])?;
        let truth = Truth::new();
        let mut own = settings.clone();
        if let Some(own) = own.as_object_mut() {
            own.insert("model".into(), json!("simulator"));
            own.insert("max_tokens".into(), json!((STREAM_S / chunk_s).ceil() as u64));
        }
        let spec = spec(point, point.calibration_s / CHUNK_S.len() as f64);
        let job = job(spec, own, json!({ "model": "simulator" }), &server.endpoint, folder);
        let job = LoadJob { truth: Some(truth.clone()), ..job };
        let (report, saturated) = server.watched(|| client.run(&job, control))?;
        rungs.push(rung(&report, &truth, saturated)?);
    }
    Ok(rungs)
}

/// Whether so many requests waited on both sides, on average over the window, that a thread there always had one to do. By
/// Little's law these are the sum of the waits over the window. That holds also where another process takes the core,
/// which the load threads' CPU time does not show.
fn has_a_queue(waits_ns: &[u64], window_s: f64, threads: u32) -> bool {
    let waiting = waits_ns.iter().map(|wait| *wait as f64 / 1e9).sum::<f64>() / window_s;
    waiting > MANY * f64::from(threads + 1)
}

fn rung(report: &LoadReport, truth: &Truth, saturated: bool) -> Result<CalibrationRung> {
    ensure!(!report.interrupted, "the calibration was ended early");
    let errors = truth.errors();
    let events = errors.latency.len() + errors.first.len() + errors.gap.len();
    ensure!(events > 0, "nothing was measured");
    let [start, end] = report.window_s;
    Ok(CalibrationRung {
        event_rate: events as f64 / (end - start),
        saturated: saturated || has_a_queue(&errors.latency, end - start, report.threads),
        latency_s: figures(errors.latency),
        ttft_s: figures(errors.first),
        itl_s: figures(errors.gap),
        loopback_s: None,
    })
}

fn figures(mut errors_ns: Vec<u64>) -> Option<ErrorFigures> {
    errors_ns.sort_unstable();
    let at = |share: f64| {
        let rank = (errors_ns.len() - 1) as f64 * share;
        let (below, above) = (errors_ns[rank as usize] as f64, errors_ns[rank.ceil() as usize] as f64);
        (below + (above - below) * rank.fract()) / 1e9
    };
    (!errors_ns.is_empty()).then(|| ErrorFigures { count: errors_ns.len() as u64, p50: at(0.5), p99: at(0.99) })
}

/// A server of known truth in a process of its own, which ends with this value.
struct Server {
    child: Child,
    endpoint: Endpoint,
}

impl Server {
    fn start(args: &[&str]) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let endpoint = Endpoint { host: "127.0.0.1".into(), port };
        // It dies with this process, however that ends.
        let parent = std::process::id().to_string();
        let child = Command::new(node::OWN_PROGRAM)
            .args(["agent", "exec", &parent, node::OWN_PROGRAM])
            .args(args)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the server of the calibration")?;
        let mut server = Self { child, endpoint };
        let patience = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server of the calibration ended: {status}");
            }
            ensure!(Instant::now() < patience, "the server of the calibration does not come up");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Drives a load; whether load generator or server had no time left then.
    fn watched(&self, drive: impl FnOnce() -> Result<LoadReport>) -> Result<(LoadReport, bool)> {
        let (begun, before) = (Instant::now(), self.busy());
        let report = drive()?;
        let (length_s, after) = (begun.elapsed().as_secs_f64(), self.busy());
        let since = |(thread, total): (&i32, &u64)| total.saturating_sub(before.get(thread).copied().unwrap_or(0));
        let server = after.iter().map(since).max().unwrap_or(0) as f64 / 1e9 / length_s;
        let [start, end] = report.window_s;
        let generator = (report.cpu_s + report.wait_s) / (end - start) / f64::from(report.threads);
        Ok((report, server.max(generator) > NO_TIME_LEFT))
    }

    /// Thread of the server → nanoseconds that it ran, or was ready to and waited for a core.
    fn busy(&self) -> HashMap<i32, u64> {
        let tasks = Process::new(self.child.id() as i32).and_then(|process| process.tasks());
        let tasks = tasks.into_iter().flatten().flatten();
        tasks
            .filter_map(|task| Some((task.tid, task.schedstat().ok()?)))
            .map(|(tid, stat)| (tid, stat.sum_exec_runtime + stat.run_delay))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_most_answers_has_its_service_time() {
        // One client that is answered after 100 µs of its own at once: half as many take another 100 µs.
        for (clients, most, expect) in [(1, 10_000.0, 1e-4), (64, 40_000.0, 127.0 / 40_000.0), (64, 0.0, 0.0)] {
            let found = slower(clients, most, 0.5);
            assert!((found - expect).abs() < 1e-12, "{found} is not {expect}");
        }
    }

    #[test]
    fn a_queue_is_many_requests_that_wait_for_each_thread() {
        // So many answers in a second, each with such a wait in microseconds.
        for (answers, wait_us, threads, expect) in [
            (40_000, 30, 1, false),
            (6000, 200, 1, false),
            // 64 clients that are answered at once, and after 1 ms.
            (47_000, 1360, 1, true),
            (45_000, 420, 1, true),
            (45_000, 420, 4, false),
        ] {
            assert_eq!(has_a_queue(&vec![wait_us * 1000; answers], 1.0, threads), expect, "{answers} {wait_us}");
        }
    }
}
