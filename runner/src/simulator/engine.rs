//! The service model of the simulator: slots, a queue, and a schedule of tokens.
//!
//! With `s = prefill_base_s + prefill_per_token_s · input + decode_per_token_s · output`, a request that gets a slot at
//! `t` has its tokens at `t + prefill + k · decode` (k from 1) and leaves the slot at `t + s`. When others wait, the
//! next one's `t` is that very moment, however late the thread came round, so lateness does not add up. With `load_s`, nobody's
//! `t` is before the first arrival and that time: until then the model is being loaded.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    load::{Draw, Timer},
    services::{Decode, SimulatorSettings},
};

/// Streams of draws, apart from each other.
const DRAW_FAILURE: u64 = 1;
const DRAW_DECODE: u64 = 2;

pub struct Engine {
    pub settings: SimulatorSettings,
    seed: u64,
    pub timer: Timer,
    state: RefCell<State>,
    arrived: Cell<u64>,
    /// When the model is in memory; unknown before the first request.
    loaded: Cell<Option<Instant>>,
    pub counters: Counters,
}

/// Running totals.
#[derive(Default)]
pub struct Counters {
    pub prompt_tokens: Cell<u64>,
    pub generation_tokens: Cell<u64>,
    pub succeeded: Cell<u64>,
}

#[derive(Default)]
struct State {
    running: u32,
    kv_tokens: u64,
    waiting: VecDeque<Rc<Waiter>>,
}

struct Waiter {
    arrived: Instant,
    tokens: u64,
    /// When it got its slot.
    started: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
    gone: Cell<bool>,
}

/// Figures of the moment.
pub struct Occupancy {
    pub running: u32,
    pub waiting: usize,
    /// Share of the KV limit in use; 0 without a limit.
    pub kv_share: f64,
}

impl Engine {
    pub fn new(settings: SimulatorSettings, timer: Timer) -> Self {
        let (state, arrived, counters) = (RefCell::default(), Cell::new(0), Counters::default());
        let seed = settings.seed.unwrap_or_else(|| {
            std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64) ^ u64::from(std::process::id())
        });
        Self { settings, seed, timer, state, arrived, loaded: Cell::new(None), counters }
    }

    /// Whether the model is in memory, or on its way there.
    pub fn is_loaded(&self) -> bool {
        self.settings.load_s.is_none() || self.loaded.get().is_some()
    }

    /// When the model is in memory, for a request that arrives at `at`.
    fn loaded(&self, at: Instant) -> Instant {
        let Some(load_s) = self.settings.load_s else { return at };
        let loaded = self.loaded.get().unwrap_or_else(|| at + Duration::from_secs_f64(load_s));
        self.loaded.set(Some(loaded));
        loaded
    }

    /// A number for a request that has just arrived, from 0; whatever is drawn for it depends on the seed and this.
    pub fn arrive(&self) -> u64 {
        self.arrived.replace(self.arrived.get() + 1)
    }

    /// Whether this request is one of those that fail.
    pub fn fails(&self, number: u64) -> bool {
        Draw::new(&[self.seed, DRAW_FAILURE, number]).uniform() < self.settings.failure_rate
    }

    /// Whether a request of so many tokens can ever run.
    pub fn fits(&self, tokens: u64) -> bool {
        self.settings.kv_limit_tokens == 0 || tokens <= self.settings.kv_limit_tokens
    }

    pub fn occupancy(&self) -> Occupancy {
        let state = self.state.borrow();
        let kv_share = match self.settings.kv_limit_tokens {
            0 => 0.0,
            limit => state.kv_tokens as f64 / limit as f64,
        };
        let waiting = state.waiting.iter().filter(|waiter| !waiter.gone.get()).count();
        Occupancy { running: state.running, waiting, kv_share }
    }

    /// Gives slots, first come first served, as far as slots and KV tokens go. `at` is when something became free.
    fn admit(&self, at: Instant) {
        let mut state = self.state.borrow_mut();
        while let Some(waiter) = state.waiting.front().cloned() {
            if waiter.gone.get() {
                state.waiting.pop_front();
                continue;
            }
            let limit = self.settings.kv_limit_tokens;
            let kv_free = limit == 0 || state.kv_tokens + waiter.tokens <= limit;
            if state.running >= self.settings.slots || !kv_free {
                return;
            }
            state.waiting.pop_front();
            state.running += 1;
            state.kv_tokens += waiter.tokens;
            waiter.started.set(Some(at.max(waiter.arrived)));
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }

    fn release(&self, tokens: u64, at: Instant) {
        let mut state = self.state.borrow_mut();
        state.running -= 1;
        state.kv_tokens -= tokens;
        drop(state);
        self.admit(at);
    }
}

/// One request's passage through the engine: [`Passage::next`] completes at each of its tokens.
pub struct Passage {
    engine: Rc<Engine>,
    waiter: Rc<Waiter>,
    prefill: Duration,
    /// When the model is in memory.
    loaded: Instant,
    /// What it waited for that, with its slot.
    load: Duration,
    /// Decode times so far.
    decoded: Duration,
    output: u64,
    /// Tokens that have left.
    sent: u64,
    /// When the next step is due; `None` while it waits for a slot.
    due: Option<Instant>,
    prefilled: bool,
    decode: Draw,
    released: bool,
    sleep: Option<Pin<Box<crate::load::Sleep>>>,
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub arrived: Instant,
    pub load: Duration,
    pub prefill: Duration,
    /// Up to the next token, or the last one.
    pub decode: Duration,
}

/// What happens next to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The input has been read; the first token comes one decode time later.
    Prefilled,
    /// Token `number`, from 1; the last one gives the slot back.
    Token { number: u64, last: bool },
}

impl Passage {
    /// Queues a request. `output` is at least 1.
    pub fn new(engine: Rc<Engine>, number: u64, input: u64, output: u64) -> Self {
        let settings = &engine.settings;
        let prefill = settings.prefill_base_s + settings.prefill_per_token_s * input as f64;
        let waiter = Rc::new(Waiter {
            arrived: Instant::now(),
            tokens: input + output,
            started: Cell::new(None),
            waker: RefCell::new(None),
            gone: Cell::new(false),
        });
        let loaded = engine.loaded(waiter.arrived);
        let decode = Draw::new(&[engine.seed, DRAW_DECODE, number]);
        engine.state.borrow_mut().waiting.push_back(waiter.clone());
        engine.admit(waiter.arrived);
        engine.counters.prompt_tokens.set(engine.counters.prompt_tokens.get() + input);
        Self {
            engine,
            waiter,
            prefill: Duration::from_secs_f64(prefill),
            loaded,
            load: Duration::ZERO,
            decoded: Duration::ZERO,
            output,
            sent: 0,
            due: None,
            prefilled: false,
            decode,
            released: false,
            sleep: None,
        }
    }

    fn decode_time(&mut self) -> Duration {
        let mean = self.engine.settings.decode_per_token_s;
        let time = Duration::from_secs_f64(match self.engine.settings.decode_distribution {
            Decode::Fixed => mean,
            Decode::Exponential => self.decode.exponential(mean),
        });
        self.decoded += time;
        time
    }

    /// What it has taken so far, by the schedule.
    pub fn times(&self) -> Times {
        Times { arrived: self.waiter.arrived, load: self.load, prefill: self.prefill, decode: self.decoded }
    }

    /// The next step, at its time; `None` after the last token.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Step>> {
        if self.sent == self.output {
            return Poll::Ready(None);
        }
        let due = match (self.due, self.waiter.started.get()) {
            (Some(due), _) => due,
            (None, Some(started)) => {
                self.load = self.loaded.saturating_duration_since(started);
                *self.due.insert(started + self.load + self.prefill)
            }
            (None, None) => {
                *self.waiter.waker.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(self.engine.timer.sleep_until(due)));
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.sleep = None;
        if !std::mem::replace(&mut self.prefilled, true) {
            self.due = Some(due + self.decode_time());
            return Poll::Ready(Some(Step::Prefilled));
        }
        self.sent += 1;
        let counters = &self.engine.counters;
        counters.generation_tokens.set(counters.generation_tokens.get() + 1);
        let last = self.sent == self.output;
        if last {
            self.released = true;
            counters.succeeded.set(counters.succeeded.get() + 1);
            self.engine.release(self.waiter.tokens, due);
        } else {
            self.due = Some(due + self.decode_time());
        }
        Poll::Ready(Some(Step::Token { number: self.sent, last }))
    }

    pub async fn next(&mut self) -> Option<Step> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

impl Drop for Passage {
    /// The client went away: the slot, or the place in the queue, is free.
    fn drop(&mut self) {
        if self.waiter.started.get().is_none() {
            self.waiter.gone.set(true);
            // It may have been the one that did not fit.
            self.engine.admit(Instant::now());
        } else if !self.released {
            self.engine.release(self.waiter.tokens, Instant::now());
        }
    }
}
