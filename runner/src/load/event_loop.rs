//! One event loop of the load: what its clients share, and the tick that watches over them.
//!
//! Everything here belongs to one thread; what threads share is in [`Shared`], and is looked at once a tick or
//! once a request, never waited for.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{
    Control, LoadSpec, Moment, Share, Timer, Trace,
    digest::SequenceDigest,
    schedule::{Bounds, ThreadSchedule},
    writer::{self, Recorder},
};

/// Timeouts, an end asked for and the end of counted warm-up are noticed within this.
const TICK: Duration = Duration::from_millis(10);
/// What requests in flight are given when the load is stopped.
const GRACE: Duration = Duration::from_secs(1);
/// From the end of counted warm-up to the start of the window, so that all loops have noticed.
const WINDOW_NOTICE: Duration = Duration::from_millis(20);

/// What all threads of a load share.
#[derive(Debug)]
pub struct Shared {
    pub spec: LoadSpec,
    pub bounds: Option<Bounds>,
    pub trace: Option<Arc<Trace>>,
    /// Where the window ends before its time, in nanoseconds from offset 0; `u64::MAX` while nothing says so.
    pub end_ns: Arc<AtomicU64>,
    pub control: Control,
    /// Start of the measurement window, in nanoseconds from offset 0; `u64::MAX` while it is not known.
    pub window_start_ns: Arc<AtomicU64>,
    /// Clients of this node that have not sent all their counted warm-up requests.
    pub warming: AtomicU32,
    /// Clients that have not come to the workload's meeting; those of all other nodes count as one.
    pub missing: Arc<AtomicU32>,
    /// The part of the load that this is, when several nodes drive it …
    pub share: Option<Share>,
    /// … and when all of them began.
    pub start: OnceLock<Moment>,
    /// The load cannot go on: the writer failed, or the service is gone.
    pub failed: Arc<AtomicBool>,
    /// Why the service counts as gone.
    pub gave_up: Mutex<Option<String>>,
    /// A closed-loop client or the schedule reached the end of the window.
    pub ended_by_time: AtomicBool,
    /// When an end before the stopping rule was noticed, in nanoseconds from offset 0.
    pub stopped_ns: AtomicU64,
}

/// A client's place in the tick's watch.
#[derive(Default)]
pub struct Watch {
    deadline: Cell<Option<Instant>>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One event loop; see the module.
pub struct EventLoop {
    pub shared: Arc<Shared>,
    pub timer: Timer,
    /// Offset 0.
    pub origin: Instant,
    pub recorder: RefCell<Recorder>,
    pub digest: RefCell<SequenceDigest>,
    /// Open loop: the arrivals that no client has taken.
    pub schedule: RefCell<Option<ThreadSchedule>>,
    /// End of the last measured request, in nanoseconds from offset 0.
    pub last_end_ns: Cell<u64>,
    stopping: Cell<bool>,
    watches: Vec<Watch>,
    longest_stall: Cell<Duration>,
    used_at_start: Cell<Option<Used>>,
    used_at_end: Cell<Option<Used>>,
}

/// What the calling thread has had, and wanted, of the cores.
#[derive(Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    /// Ready to run, while others had the core.
    waited: Duration,
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Zero where the kernel does not count it.
fn thread_wait() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0))
}

impl EventLoop {
    pub fn new(
        shared: Arc<Shared>,
        timer: Timer,
        origin: Instant,
        recorder: Recorder,
        digest: SequenceDigest,
        schedule: Option<ThreadSchedule>,
        clients: usize,
    ) -> Self {
        Self {
            shared,
            timer,
            origin,
            recorder: RefCell::new(recorder),
            digest: RefCell::new(digest),
            schedule: RefCell::new(schedule),
            last_end_ns: Cell::new(0),
            stopping: Cell::new(false),
            watches: (0..clients).map(|_| Watch::default()).collect(),
            longest_stall: Cell::new(Duration::ZERO),
            used_at_start: Cell::new(None),
            used_at_end: Cell::new(None),
        }
    }

    pub fn at(&self, offset_ns: u64) -> Instant {
        self.origin + Duration::from_nanos(offset_ns)
    }

    /// Whether the load is to end before its stopping rule says so.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Start of the measurement window, once it is known.
    pub fn window_start(&self) -> Option<Instant> {
        let start = self.shared.window_start_ns.load(Ordering::Relaxed);
        (start != u64::MAX).then(|| self.at(start))
    }

    /// End of the measurement window, if time ends it and its start is known.
    pub fn window_end(&self) -> Option<Instant> {
        let planned = || Some(self.window_start()? + Duration::from_secs_f64(self.shared.spec.stop.duration_s?));
        match (planned(), self.early_end()) {
            (Some(planned), Some(early)) => Some(planned.min(early)),
            (planned, early) => planned.or(early),
        }
    }

    /// Where the window ends before its time, if it does.
    fn early_end(&self) -> Option<Instant> {
        let end = self.shared.end_ns.load(Ordering::Relaxed);
        (end != u64::MAX).then(|| self.at(end))
    }

    /// A client sends its first measured request.
    pub fn enter_window(&self) {
        if self.used_at_start.get().is_none() {
            self.used_at_start.set(Some(self.used()));
        }
    }

    /// A client will send no more measured request. By time the window ends for all at once, by count with the
    /// last client.
    pub fn leave_window(&self, by_time: bool) {
        if !by_time || self.used_at_end.get().is_none() {
            self.used_at_end.set(Some(self.used()));
        }
    }

    /// CPU time without waiting with open eyes.
    fn used(&self) -> Used {
        Used { cpu: thread_cpu().saturating_sub(self.timer.spun()), waited: thread_wait() }
    }

    /// Of this thread over the window.
    fn window_use(&self) -> [Used; 2] {
        match (self.used_at_start.get(), self.used_at_end.get()) {
            (Some(start), end) => [start, end.unwrap_or_else(|| self.used())],
            (None, _) => [Used::default(); 2],
        }
    }

    /// CPU time of this thread over the window.
    pub fn window_cpu(&self) -> Duration {
        let [start, end] = self.window_use();
        end.cpu.saturating_sub(start.cpu)
    }

    /// How long this thread waited for a core over the window.
    pub fn window_wait(&self) -> Duration {
        let [start, end] = self.window_use();
        end.waited.saturating_sub(start.waited)
    }

    pub fn longest_stall(&self) -> Duration {
        self.longest_stall.get()
    }

    /// One client has sent its counted warm-up requests. The last of all clients opens the window.
    pub fn warmed_up(&self) {
        if self.shared.warming.fetch_sub(1, Ordering::AcqRel) == 1 {
            if let (Some(share), Some(start)) = (&self.shared.share, self.shared.start.get()) {
                let earliest_ns = (self.shared.spec.warmup.duration_s * 1e9) as u64;
                let window = self.shared.window_start_ns.clone();
                return share.open_window(*start, earliest_ns, window, self.shared.control.clone());
            }
            let after_time = self.origin + Duration::from_secs_f64(self.shared.spec.warmup.duration_s);
            let start = after_time.max(Instant::now() + WINDOW_NOTICE);
            let start_ns = (start - self.origin).as_nanos() as u64;
            self.shared.window_start_ns.store(start_ns, Ordering::Release);
        }
    }

    /// One client has come to the workload's meeting.
    pub fn arrive(&self) {
        let left = self.shared.missing.fetch_sub(1, Ordering::AcqRel) - 1;
        if let (1, Some(share)) = (left, &self.shared.share) {
            share.meet_all(self.shared.missing.clone(), self.shared.control.clone());
        }
    }

    /// The service is gone: the load ends, as if it had been stopped.
    pub fn give_up(&self, reason: String) {
        let mut gave_up = self.shared.gave_up.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        gave_up.get_or_insert(reason);
        self.shared.failed.store(true, Ordering::Relaxed);
    }

    /// `future`, or `None` when it is not done by `deadline`, or not soon after the load was stopped. A future
    /// that is ready at once costs no more than its poll.
    pub async fn bounded<F: Future>(&self, watch: usize, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let watch = &self.watches[watch];
        watch.expired.set(false);
        let deadline = if self.stopping.get() { deadline.min(Instant::now() + GRACE) } else { deadline };
        watch.deadline.set(Some(deadline));
        let result = std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if watch.expired.get() {
                return Poll::Ready(None);
            }
            let mut waker = watch.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        watch.deadline.set(None);
        result
    }

    /// Ticks until it is dropped: expires deadlines, notices an end asked for, hands over old buffers, and
    /// measures how late it comes round itself.
    pub async fn tick(&self) {
        let mut due = self.origin;
        let mut window_noted = false;
        loop {
            due += TICK;
            let was_stopping = self.stopping.get();
            self.sleep_until_even_if_stopping(due).await;
            let now = Instant::now();
            let late = now.saturating_duration_since(due);
            let in_window =
                self.window_start().is_some_and(|start| start <= due) && self.window_end().is_none_or(|end| due < end);
            if in_window && !was_stopping {
                self.longest_stall.set(self.longest_stall.get().max(late));
            }
            // Ticks that were missed are one stall, not many.
            due += Duration::from_nanos((late.as_nanos() / TICK.as_nanos() * TICK.as_nanos()) as u64);

            let window_start_ns = self.shared.window_start_ns.load(Ordering::Acquire);
            if !window_noted && window_start_ns != u64::MAX {
                window_noted = true;
                self.recorder.borrow_mut().window(window_start_ns);
            }
            if !was_stopping && (self.shared.control.is_stopped() || self.shared.failed.load(Ordering::Relaxed)) {
                self.begin_stop(now);
            }
            for watch in &self.watches {
                if watch.deadline.get().is_some_and(|deadline| deadline <= now) {
                    watch.expired.set(true);
                    if let Some(waker) = &*watch.waker.borrow() {
                        waker.wake_by_ref();
                    }
                }
            }
            self.recorder.borrow_mut().flush_old(now);
        }
    }

    async fn sleep_until_even_if_stopping(&self, due: Instant) {
        if self.stopping.get() {
            // The precise timer lets nobody sleep any more.
            tokio::time::sleep_until(due.into()).await;
        } else {
            self.timer.sleep_until(due).await;
        }
    }

    fn begin_stop(&self, now: Instant) {
        self.stopping.set(true);
        let offset = now.saturating_duration_since(self.origin).as_nanos() as u64;
        self.shared.stopped_ns.fetch_min(offset, Ordering::Relaxed);
        for watch in &self.watches {
            watch.deadline.set(watch.deadline.get().map(|deadline| deadline.min(now + GRACE)));
        }
        self.timer.release();
    }
}

// A buffer is looked at every tick, so that it is never much older than it may be.
const _: () = assert!(TICK.as_millis() < writer::OLDEST.as_millis());
