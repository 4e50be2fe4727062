//! Sleeping to an absolute time more precisely than the millisecond of tokio's timers.
//!
//! One kernel timer (`timerfd`) and one queue of sleepers an event loop. Only for tasks of that event loop;
//! Linux only.

use std::{
    cell::{Cell, RefCell},
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    future::Future,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

/// The timer of one event loop. Clones are the same timer.
#[derive(Clone)]
pub struct Timer(Rc<Inner>);

struct Inner {
    descriptor: AsyncFd<Descriptor>,
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
    /// What the kernel timer is set to.
    armed: Cell<Option<Instant>>,
    released: Cell<bool>,
    /// Whether the last stretch before a wake-up is waited for with open eyes.
    spins: bool,
    /// The task is awake and looks at the clock itself: the kernel timer need not be set.
    spinning: Cell<bool>,
    /// Time spent looking at the clock with nothing else to do.
    spun: Cell<Duration>,
}

/// The last stretch before a wake-up that is waited for with open eyes. A sleeping thread comes back 30–100 µs after its
/// time on a virtual machine, and now and then some hundred: more than a request may be late.
const SPIN: Duration = Duration::from_micros(200);
/// A look at the clock and at the sockets takes less than this when there was nothing to do.
const IDLE_LOOK: Duration = Duration::from_micros(10);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Sleeper {
    due: Instant,
    waker: Rc<RefCell<Waker>>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

impl Timer {
    /// Must be called inside a tokio runtime and a `LocalSet`, on which it spawns its task. The task ends with
    /// the `LocalSet`. With `spins` it never sleeps through the last moments before a wake-up, which takes up to a whole
    /// core.
    pub fn start(spins: bool) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        // Deprecated for types whose descriptor may change or close; this one owns its own to the end. The function
        // that replaces it is unsafe.
        #[expect(deprecated)]
        let descriptor = AsyncFd::new(Descriptor(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))?;
        let timer = Self(Rc::new(Inner {
            descriptor,
            sleepers: RefCell::default(),
            armed: Cell::new(None),
            released: Cell::new(false),
            spins,
            spinning: Cell::new(false),
            spun: Cell::default(),
        }));
        tokio::task::spawn_local(timer.clone().run());
        Ok(timer)
    }

    /// Completes at `due`, never before; at once if that has passed or [`Timer::release`] was called.
    pub fn sleep_until(&self, due: Instant) -> Sleep {
        Sleep { timer: self.clone(), due, waker: None }
    }

    /// Wakes every sleeper now, and lets nobody sleep any more.
    pub fn release(&self) {
        self.0.released.set(true);
        self.0.sleepers.borrow_mut().drain().for_each(|Reverse(sleeper)| sleeper.waker.borrow().wake_by_ref());
    }

    async fn run(self) {
        // The expirations are not read: every new one is an edge of its own, and setting the timer resets it.
        while let Ok(mut ready) = self.0.descriptor.readable().await {
            ready.clear_ready();
            self.0.armed.set(None);
            self.wake_due();
            if self.0.spins {
                self.spin().await;
            }
        }
    }

    /// While the next wake-up is near, lets all other tasks and the sockets have their turn and looks at the clock.
    async fn spin(&self) {
        self.0.spinning.set(true);
        while let Some(due) = self.next_due() {
            let begun = Instant::now();
            if due > begun + SPIN {
                break;
            }
            tokio::task::yield_now().await;
            let took = begun.elapsed();
            if took < IDLE_LOOK {
                self.0.spun.set(self.0.spun.get() + took);
            }
            self.wake_due();
        }
        self.0.spinning.set(false);
        if let Some(due) = self.next_due() {
            self.arm(due);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.sleepers.borrow().peek().map(|Reverse(sleeper)| sleeper.due)
    }

    /// Time spent looking at the clock with nothing else to do: CPU time that is no work.
    pub fn spun(&self) -> Duration {
        self.0.spun.get()
    }

    fn wake_due(&self) {
        let now = Instant::now();
        let mut sleepers = self.0.sleepers.borrow_mut();
        while let Some(Reverse(next)) = sleepers.peek() {
            if next.due > now {
                self.arm(next.due);
                return;
            }
            next.waker.borrow().wake_by_ref();
            sleepers.pop();
        }
    }

    fn arm(&self, due: Instant) {
        if self.0.spinning.get() || self.0.armed.get().is_some_and(|armed| armed <= due) {
            return;
        }
        let early = if self.0.spins { SPIN } else { Duration::ZERO };
        // A relative time of zero would disarm the timer.
        let left = due.saturating_duration_since(Instant::now() + early).max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        if self.0.descriptor.get_ref().0.set(once, TimerSetTimeFlags::empty()).is_ok() {
            self.0.armed.set(Some(due));
        }
    }
}

/// See [`Timer::sleep_until`].
pub struct Sleep {
    timer: Timer,
    due: Instant,
    waker: Option<Rc<RefCell<Waker>>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let inner = &self.timer.0;
        if inner.released.get() || Instant::now() >= self.due {
            return Poll::Ready(());
        }
        match &self.waker {
            Some(waker) => waker.borrow_mut().clone_from(context.waker()),
            None => {
                let waker = Rc::new(RefCell::new(context.waker().clone()));
                let sleeper = Sleeper { due: self.due, waker: waker.clone() };
                inner.sleepers.borrow_mut().push(Reverse(sleeper));
                self.timer.arm(self.due);
                self.waker = Some(waker);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(LocalSet::new().run_until(future))
    }

    #[test]
    fn wakes_in_order_and_never_early() {
        for spins in [false, true] {
            wakes_in_order(spins);
        }
    }

    fn wakes_in_order(spins: bool) {
        block_on(async {
            let timer = Timer::start(spins).expect("a timer");
            let begin = Instant::now();
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [7u64, 1, 4, 0, 4]
                .into_iter()
                .map(|ms| {
                    let (timer, order) = (timer.clone(), order.clone());
                    spawn_local(async move {
                        let due = begin + Duration::from_millis(ms);
                        timer.sleep_until(due).await;
                        assert!(Instant::now() >= due);
                        order.borrow_mut().push(ms);
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("ended");
            }
            assert_eq!(*order.borrow(), [0, 1, 4, 4, 7]);
        });
    }

    #[test]
    fn release_wakes_all_now_and_later() {
        let spins = true;
        block_on(async {
            let timer = Timer::start(spins).expect("a timer");
            let far = Instant::now() + Duration::from_secs(3600);
            let sleeping = spawn_local(timer.sleep_until(far));
            tokio::task::yield_now().await;
            timer.release();
            sleeping.await.expect("woken");
            timer.sleep_until(far).await;
        });
    }

    #[test]
    fn a_dropped_sleep_does_not_stop_the_others() {
        let spins = true;
        block_on(async {
            let timer = Timer::start(spins).expect("a timer");
            let soon = Instant::now() + Duration::from_millis(2);
            {
                let mut dropped = Box::pin(timer.sleep_until(soon));
                std::future::poll_fn(|context| {
                    assert!(dropped.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            timer.sleep_until(soon + Duration::from_millis(1)).await;
        });
    }
}
