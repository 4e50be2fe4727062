//! Drives one load from the first connection to the last record.
//!
//! One OS thread an event loop, each with its clients; nothing is shared on the request path. All clients of
//! all threads are connected before offset 0.

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use archive::Timestamp;
use futures_util::{StreamExt, stream};
use tokio::task::LocalSet;

use super::{
    Arrival, Control, Doubt, LoadJob, LoadReport, LoadSpec, PrecisionFacts, Timer, Workload,
    digest::{Coverage, SequenceDigest},
    event_loop::{EventLoop, Shared},
    pace::{CONNECT_TIMEOUT, PacedClient},
    profile,
    schedule::{self, Bounds, ThreadSchedule},
    share::{clients_of, loops_of},
    writer::{self, Recorder, WriterState},
};

/// Connections that one thread opens at the same time.
const CONNECTING: usize = 32;
/// From the last connection to offset 0, so that every thread is ready for it.
const START_NOTICE: Duration = Duration::from_millis(20);

/// Offset 0, on both clocks.
#[derive(Clone, Copy)]
struct Start {
    origin: Instant,
    wall: Timestamp,
}

/// What one event loop says at its end.
struct LoopEnd {
    recorded: u64,
    digest: SequenceDigest,
    last_end_ns: u64,
    cpu: Duration,
    waited: Duration,
    longest_stall: Duration,
}

/// Drives `workload` as the job says. Blocks. Records are in the job's folder afterwards, also when the load was
/// interrupted; an error means that there was no load, or that its records could not be kept.
pub fn drive<W: Workload>(workload: W, job: &LoadJob, control: &Control) -> Result<LoadReport> {
    check(job)?;
    let mut workload = workload;
    let name = job.endpoint.to_string();
    let others = job.share.as_ref();
    let first = others.is_none_or(|share| share.number == 0);
    let await_first = || others.filter(|_| !first).map_or(Ok(()), |share| share.gather("prepared", control));
    let prepared = await_first().and_then(|()| {
        block_on(async {
            let prepared = match first {
                true => stoppable(control, workload.prepare()).await?,
                false => stoppable(control, workload.join()).await?,
            };
            prepared.map_err(|err| anyhow!("cannot prepare {name} for the load: {err}"))
        })
    });
    let tell_others = |()| others.filter(|_| first).map_or(Ok(()), |share| share.gather("prepared", control));
    let mut report = prepared.and_then(tell_others).and_then(|()| drive_prepared(&workload, job, control));
    if let Some(share) = others {
        match &report {
            Ok(report) if !report.interrupted => {}
            Ok(report) => share.meeting.give_up(report.interruption.as_deref().unwrap_or("ended early")),
            Err(err) => share.meeting.give_up(&format!("{err:#}")),
        }
        // What one takes away, another may still ask for.
        if let Err(err) = share.gather("driven", &Control::default()) {
            tracing::info!("not all parts of the load came to their end: {err:#}");
        }
    }
    if let Ok(report) = &mut report
        && report.interruption.is_none()
    {
        match block_on(async { Ok(workload.verify().await) })? {
            Ok(()) => {}
            Err(Doubt::Wrong(reason)) => report.wrong_data = Some(reason),
            Err(Doubt::Unknown(reason)) => report.unchecked_data = Some(reason),
        }
    }
    // Also after a failure: what was put into the service is not the next benchmark's to find.
    let Err(left) = block_on(async { Ok(workload.clean_up().await) })? else { return report };
    tracing::warn!("cannot remove the load's data from {name}: {left}");
    match &mut report {
        Ok(report) => report.left_behind = Some(left),
        Err(err) => {
            let text = format!("{err:#}");
            // The same reason twice is that of a service that never let the load in.
            if !text.rsplit(": ").next().is_some_and(|reason| left.ends_with(reason)) {
                return Err(anyhow!("{text}; what may be left of it: {left}"));
            }
        }
    }
    report
}

fn check(job: &LoadJob) -> Result<()> {
    let spec = &job.spec;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    ensure!(spec.clients > 0 && spec.threads > 0 && spec.pipeline > 0, "a load needs clients, threads and a pipeline");
    ensure!(
        spec.stop.requests.is_some() || spec.stop.duration_s.is_some(),
        "a load needs a number of requests or a duration"
    );
    ensure!(spec.stop.requests != Some(0), "a load has at least one request");
    ensure!(spec.stop.duration_s.is_none_or(positive), "a load's duration must be above zero");
    ensure!(positive(spec.timeout_s), "a request's timeout must be above zero");
    let inside = |share: f64| share > 0.0 && share < 1.0;
    ensure!(spec.precision.as_ref().is_none_or(|wanted| inside(wanted.share)), "a percentile lies between 0 and 100");
    let level = |value: f64| value.is_finite() && value >= 0.0;
    ensure!(
        spec.steps.iter().all(|step| level(step.from) && level(step.to) && positive(step.duration_s)),
        "a step needs levels of at least zero and a duration above it"
    );
    match spec.arrival {
        Arrival::Closed { think_time_s } => ensure!(think_time_s >= 0.0, "a think time cannot be negative"),
        Arrival::Constant { rate } | Arrival::Poisson { rate } | Arrival::Gamma { rate, .. } => {
            ensure!(positive(rate), "a request rate must be above zero");
        }
        Arrival::Trace { speed, .. } => {
            ensure!(positive(speed), "the speed of a trace must be above zero");
            ensure!(job.trace.is_some(), "there is no trace to replay");
            ensure!(spec.steps.is_empty(), "a trace has its own rate over time, so it takes no steps");
        }
    }
    if let Arrival::Gamma { shape, .. } = spec.arrival {
        ensure!(positive(shape), "the shape of gamma arrivals must be above zero");
    }
    ensure!(
        spec.pipeline == 1 || spec.arrival.is_closed(),
        "pipelining is for the closed loop: in an open loop every request has its own time"
    );
    Ok(())
}

fn drive_prepared<W: Workload>(workload: &W, job: &LoadJob, control: &Control) -> Result<LoadReport> {
    let spec = &schedule::reached_first(&job.spec, job.trace.as_ref());
    let (part, parts) = job.share.as_ref().map_or((0, 1), |share| (share.number, share.of));
    ensure!(spec.clients >= parts, "a load of {} clients cannot be spread over {parts} nodes", spec.clients);
    ensure!(parts == 1 || spec.precision.is_none(), "a load that precision ends is driven by one node");
    let threads = loops_of(spec, parts);
    let clients = clients_of(spec, part, parts);
    let bounds = Bounds::new(spec, job.trace.as_ref());
    ensure!(bounds.is_some() || spec.arrival.is_closed(), "the schedule ends within the warm-up");
    let counted_warmup = bounds.is_none() && spec.warmup.requests > 0;
    let window_start_ns = match bounds {
        Some(bounds) => bounds.window_start_ns,
        None if counted_warmup => u64::MAX,
        None => Duration::from_secs_f64(spec.warmup.duration_s).as_nanos() as u64,
    };
    let shared = Arc::new(Shared {
        spec: spec.clone(),
        bounds,
        trace: job.trace.clone(),
        end_ns: Arc::new(AtomicU64::new(u64::MAX)),
        control: control.clone(),
        window_start_ns: Arc::new(AtomicU64::new(window_start_ns)),
        warming: AtomicU32::new(clients),
        // The clients of all other nodes count as one.
        missing: Arc::new(AtomicU32::new(clients + u32::from(parts > 1))),
        share: job.share.clone(),
        start: OnceLock::new(),
        failed: Arc::new(AtomicBool::new(false)),
        gave_up: Mutex::new(None),
        ended_by_time: AtomicBool::new(false),
        stopped_ns: AtomicU64::new(u64::MAX),
    });
    let state = WriterState {
        window_start_ns: shared.window_start_ns.clone(),
        failed: shared.failed.clone(),
        precision: spec.precision.clone(),
        end_ns: shared.end_ns.clone(),
    };
    let (writer, recorders) = writer::open(&job.folder, threads as usize, state)?;

    std::thread::scope(|scope| {
        let (ready, connected) = mpsc::channel();
        let mut starts = Vec::new();
        let mut loops = Vec::new();
        for (thread, recorder) in (0..threads).zip(recorders) {
            let (start, started) = mpsc::channel();
            starts.push(start);
            let (shared, workload, ready) = (shared.clone(), workload.clone(), ready.clone());
            let places = [part + thread * parts, threads * parts];
            let body = move || run_loop(workload, shared, places, recorder, ready, started);
            let builder = std::thread::Builder::new().name(format!("load-{thread}"));
            loops.push(builder.spawn_scoped(scope, body).context("cannot start a thread")?);
        }
        drop(ready);
        // An error here drops `starts`, and with it every thread ends.
        for _ in 0..threads {
            connected
                .recv()
                .map_err(|_| anyhow!("a load thread ended before the start"))?
                .map_err(|err| anyhow!("cannot connect to {}: {err}", job.endpoint))?;
        }
        ensure!(!control.is_stopped(), "stopped before the load began");
        let start = match &job.share {
            Some(share) => {
                let moment = share.start(control)?;
                let _ = shared.start.set(moment);
                Start { origin: moment.instant, wall: moment.wall() }
            }
            None => {
                let wall = Timestamp::now().plus_seconds(START_NOTICE.as_secs_f64());
                Start { origin: Instant::now() + START_NOTICE, wall }
            }
        };
        for thread in &starts {
            let _ = thread.send(start);
        }
        drop(starts);
        let writing = std::thread::Builder::new()
            .name("load-writer".into())
            .spawn_scoped(scope, move || writer.run(start.origin))
            .context("cannot start a thread")?;
        let ends: Vec<Option<LoopEnd>> = loops
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a load thread panicked"))?)
            .collect::<Result<_>>()?;
        let precision = writing.join().map_err(|_| anyhow!("the writer of the records panicked"))??;
        let ends: Vec<LoopEnd> = ends.into_iter().flatten().collect();
        Ok(report(&shared, start, threads, &ends, precision))
    })
}

fn report(
    shared: &Shared,
    start: Start,
    threads: u32,
    ends: &[LoopEnd],
    precision: Option<PrecisionFacts>,
) -> LoadReport {
    let mut digest = SequenceDigest::new(Coverage::new(&shared.spec, shared.bounds));
    ends.iter().for_each(|end| digest.merge(&end.digest));
    let last_end_ns = ends.iter().map(|end| end.last_end_ns).max().unwrap_or(0);
    let stopped_ns = shared.stopped_ns.load(Ordering::Relaxed);
    let interrupted = stopped_ns != u64::MAX;
    // Stopped in warm-up there is no window: it is empty, where it would have begun.
    let window_start_ns =
        shared.window_start_ns.load(Ordering::Relaxed).min(last_end_ns.max(stopped_ns.min(u64::MAX - 1)));
    let window_end_ns = if interrupted {
        stopped_ns
    } else if shared.ended_by_time.load(Ordering::Relaxed) {
        let planned = shared.spec.stop.duration_s.map(|duration| window_start_ns + (duration * 1e9) as u64);
        planned.unwrap_or(u64::MAX).min(shared.end_ns.load(Ordering::Relaxed))
    } else {
        // The window is half open, and the last request ended in it.
        last_end_ns + 1
    };
    let window_s = [window_start_ns, window_end_ns.max(window_start_ns)].map(|ns| ns as f64 / 1e9);
    let interruption = shared.gave_up.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    LoadReport {
        started_at: start.wall,
        window_s,
        recorded: ends.iter().map(|end| end.recorded).sum(),
        sequence_digest: digest.finish(),
        digest_sums: shared.share.is_some().then(|| digest.sums()),
        interrupted,
        interruption,
        wrong_data: None,
        unchecked_data: None,
        left_behind: None,
        threads,
        cpu_s: ends.iter().map(|end| end.cpu.as_secs_f64()).sum(),
        wait_s: ends.iter().map(|end| end.waited.as_secs_f64()).sum(),
        longest_stall_s: ends.iter().map(|end| end.longest_stall.as_secs_f64()).fold(0.0, f64::max),
        steps: profile::bounds(&shared.spec.steps, window_s),
        precision,
        nodes: Vec::new(),
    }
}

/// The life of one load thread, which has that place among all of the whole load. `None` when the load never began.
fn run_loop<W: Workload>(
    workload: W,
    shared: Arc<Shared>,
    [place, places]: [u32; 2],
    mut recorder: Recorder,
    ready: mpsc::Sender<Result<(), String>>,
    started: mpsc::Receiver<Start>,
) -> Result<Option<LoopEnd>> {
    block_on(async {
        let spec = &shared.spec;
        let connecting = stream::iter((place..spec.clients).step_by(places as usize)).map(|number| {
            let (workload, control) = (&workload, &shared.control);
            async move {
                let connecting = tokio::time::timeout(CONNECT_TIMEOUT, workload.connect(number));
                match stoppable(control, connecting).await {
                    Ok(Ok(Ok(client))) => Ok((number, client)),
                    Ok(Ok(Err(err))) => Err(format!("client {number}: {err}")),
                    Ok(Err(_)) => Err(format!("client {number}: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
                    Err(err) => Err(err.to_string()),
                }
            }
        });
        let mut clients = Vec::new();
        let mut connecting = connecting.buffered(CONNECTING);
        while let Some(client) = connecting.next().await {
            match client {
                Ok(client) => clients.push(client),
                Err(err) => {
                    let _ = ready.send(Err(err));
                    return Ok(None);
                }
            }
        }
        let timer = Timer::start(spins(spec, loops_of(spec, shared.share.as_ref().map_or(1, |share| share.of))))
            .context("cannot make a timer")?;
        let _ = ready.send(Ok(()));
        // Nothing else happens on this thread before the start, so it may block.
        let Ok(start) = started.recv() else { return Ok(None) };
        let names = [workload.operations(), workload.steps(), workload.server_times()];
        recorder.begin(start.wall.unix_us().max(0) as u64, names);
        let event_loop = Rc::new(EventLoop::new(
            shared.clone(),
            timer,
            start.origin,
            recorder,
            SequenceDigest::new(Coverage::new(spec, shared.bounds)),
            ThreadSchedule::new(spec, shared.trace.as_ref(), shared.bounds, place, places),
            clients.len(),
        ));
        let workload = Rc::new(workload.clone());
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(watch, (number, client))| {
                let client = PacedClient::new(event_loop.clone(), workload.clone(), number, watch, client);
                tokio::task::spawn_local(client.run())
            })
            .collect();
        let all = async {
            for task in tasks {
                task.await.map_err(|err| anyhow!("a client panicked: {err}"))?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = all => ended?,
            () = event_loop.tick() => bail!("the tick ended"),
        }
        Ok(Some(LoopEnd {
            recorded: event_loop.recorder.borrow().recorded,
            digest: *event_loop.digest.borrow(),
            last_end_ns: event_loop.last_end_ns.get(),
            cpu: event_loop.window_cpu(),
            waited: event_loop.window_wait(),
            longest_stall: event_loop.longest_stall(),
        }))
    })
}

/// `future`, unless the load is stopped first.
async fn stoppable<F: Future>(control: &Control, future: F) -> Result<F::Output> {
    let stopped = async {
        while !control.is_stopped() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = stopped => Err(anyhow!("stopped before the load began")),
    }
}

/// Whether the loops may wait with open eyes for what is due: in open loop, and where that takes no core from the service:
/// there are more cores than loops, or somebody has set cores apart for this process.
fn spins(spec: &LoadSpec, threads: u32) -> bool {
    let own = std::thread::available_parallelism().map_or(1, |cores| cores.get() as i64);
    let all = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(own);
    !spec.arrival.is_closed() && (own > i64::from(threads) || (own < all && own >= i64::from(threads)))
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(LocalSet::new().run_until(future))
}
