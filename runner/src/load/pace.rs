//! When a client sends: closed loop and open loop, warm-up, stopping, and what happens to a lost connection.
//!
//! The same for every kind of service; a workload only sends what it is given. Nothing is sent twice.

use std::{
    borrow::Cow,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Arrival, Client, Connection, Exchange, Outcome, Place, Workload, event_loop::EventLoop, profile, schedule::Due,
    writer::Attempt,
};

/// Pause after a lost connection: the first, doubled up to the longest, until an answer comes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a client that waits for the others looks for them.
const MEETING_PAUSE: Duration = Duration::from_millis(1);
/// Longest time for one connection, however long a request may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The error texts of requests that the driver itself ended. Stored; other programs look for them.
pub const TIMEOUT: &str = "timeout";
pub const NOT_SENT: &str = "not sent";
pub const INTERRUPTED: &str = "interrupted";

/// One client at work.
pub struct PacedClient<W: Workload> {
    event_loop: Rc<EventLoop>,
    workload: Rc<W>,
    /// From 0, over all threads.
    number: u32,
    /// Its place in the event loop's watch.
    watch: usize,
    client: Option<W::Client>,
    pause: Duration,
    /// Since when no connection could be made.
    unreachable_since: Option<Instant>,
    batch: Vec<Exchange>,
    timeout: Duration,
}

impl<W: Workload> PacedClient<W> {
    pub fn new(event_loop: Rc<EventLoop>, workload: Rc<W>, number: u32, watch: usize, client: W::Client) -> Self {
        let timeout = Duration::from_secs_f64(event_loop.shared.spec.timeout_s);
        Self {
            event_loop,
            workload,
            number,
            watch,
            client: Some(client),
            pause: FIRST_PAUSE,
            unreachable_since: None,
            batch: Vec::new(),
            timeout,
        }
    }

    /// Sends until the stopping rule or somebody says stop.
    pub async fn run(mut self) {
        let stagger = Duration::from_secs_f64(self.event_loop.shared.spec.stagger_s * f64::from(self.number));
        self.event_loop.timer.sleep_until(self.event_loop.origin + stagger).await;
        let Arrival::Closed { think_time_s } = self.event_loop.shared.spec.arrival else { return self.open().await };
        let think = Duration::from_secs_f64(think_time_s);
        let steps = &self.event_loop.shared.spec.steps;
        if steps.is_empty() {
            self.warm_up(think).await;
            return self.closed(think).await;
        }
        let spans = profile::spans(steps, self.number);
        if spans.first().is_some_and(|span| span[0] == 0.0) {
            self.warm_up(think).await;
        }
        self.stepped(think, &spans).await;
    }

    /// Closed loop: requests until both the count and the time of the warm-up are reached, then waits for the
    /// clients that still have counted requests to send.
    async fn warm_up(&mut self, think: Duration) {
        let shared = self.event_loop.shared.clone();
        let warmup = &shared.spec.warmup;
        let end = self.event_loop.origin + Duration::from_secs_f64(warmup.duration_s);
        let mut index = 0;
        while !self.event_loop.is_stopping() && (index < warmup.requests || Instant::now() < end) {
            let left = if index < warmup.requests { warmup.requests - index } else { u64::MAX };
            let count = u64::from(shared.spec.pipeline).min(left);
            self.exchange(Place { sequence: self.number, index, warmup: true }, count, None).await;
            index += count;
            self.think(think).await;
        }
        if warmup.requests > 0 {
            self.event_loop.warmed_up();
            while !self.event_loop.is_stopping() && self.event_loop.window_start().is_none() {
                self.event_loop.timer.sleep_until(Instant::now() + Duration::from_millis(5)).await;
            }
            if let Some(start) = self.event_loop.window_start() {
                self.event_loop.timer.sleep_until(start).await;
            }
        }
    }

    async fn closed(&mut self, think: Duration) {
        let shared = self.event_loop.shared.clone();
        let limit = shared.spec.stop.requests.unwrap_or(u64::MAX);
        let mut meeting = self.workload.meeting();
        let mut index = 0;
        let mut by_time = false;
        while index < limit && !self.event_loop.is_stopping() {
            if meeting.is_some_and(|meeting| index >= meeting) {
                meeting = None;
                self.meet().await;
            }
            if self.event_loop.window_end().is_some_and(|end| Instant::now() >= end) {
                by_time = true;
                shared.ended_by_time.store(true, Ordering::Relaxed);
                break;
            }
            self.event_loop.enter_window();
            let count = u64::from(shared.spec.pipeline).min(limit - index);
            self.exchange(Place { sequence: self.number, index, warmup: false }, count, None).await;
            index += count;
            if index < limit {
                self.think(think).await;
            }
        }
        self.event_loop.leave_window(by_time);
    }

    /// Waits until every client has come here, or the load ends before.
    async fn meet(&self) {
        self.event_loop.arrive();
        let missing = &self.event_loop.shared.missing;
        while missing.load(Ordering::Acquire) > 0 && !self.event_loop.is_stopping() {
            let now = Instant::now();
            if self.event_loop.window_end().is_some_and(|end| now >= end) {
                return;
            }
            self.event_loop.timer.sleep_until(now + MEETING_PAUSE).await;
        }
    }

    /// Closed loop with steps: requests while the level holds this client.
    async fn stepped(&mut self, think: Duration, spans: &[[f64; 2]]) {
        let event_loop = self.event_loop.clone();
        let shared = event_loop.shared.clone();
        let at = |offset_s: f64| {
            event_loop.at(shared.window_start_ns.load(Ordering::Relaxed)) + Duration::from_secs_f64(offset_s)
        };
        let ended = || event_loop.is_stopping() || event_loop.window_end().is_some_and(|end| Instant::now() >= end);
        let mut index = 0;
        for &[start, end] in spans {
            event_loop.timer.sleep_until(at(start)).await;
            while !ended() && Instant::now() < at(end) {
                event_loop.enter_window();
                let count = u64::from(shared.spec.pipeline);
                self.exchange(Place { sequence: self.number, index, warmup: false }, count, None).await;
                index += count;
                self.think(think).await;
            }
        }
        if let Some(end) = event_loop.window_end() {
            event_loop.timer.sleep_until(end).await;
        }
        if !event_loop.is_stopping() {
            shared.ended_by_time.store(true, Ordering::Relaxed);
        }
        event_loop.leave_window(true);
    }

    async fn think(&self, think: Duration) {
        if !think.is_zero() {
            self.event_loop.timer.sleep_until(Instant::now() + think).await;
        }
    }

    /// Open loop: takes the next arrival of the thread's schedule, waits until it is due, sends it.
    async fn open(&mut self) {
        let event_loop = self.event_loop.clone();
        let shared = event_loop.shared.clone();
        let Some(bounds) = shared.bounds else { return };
        loop {
            let due = event_loop.schedule.borrow_mut().as_mut().and_then(Iterator::next);
            let Some(Due { index, at_ns }) = due else { break };
            let intended = event_loop.at(at_ns);
            let place = Place { sequence: 0, index, warmup: index < bounds.first_measured };
            if let Some(client) = &mut self.client {
                client.get_ready(place);
            }
            event_loop.timer.sleep_until(intended).await;
            let now = Instant::now();
            // Precision ended the window before this arrival.
            if at_ns >= shared.end_ns.load(Ordering::Relaxed) {
                break;
            }
            if event_loop.is_stopping() {
                if now < intended {
                    break;
                }
                self.record_unsent(place, intended, now);
                continue;
            }
            if !place.warmup {
                event_loop.enter_window();
            }
            // Arrivals that no client could take by then are given up; by count, all are sent.
            if event_loop.window_end().is_some_and(|end| now >= end + self.timeout) {
                self.record_unsent(place, intended, now);
                continue;
            }
            self.exchange(place, 1, Some(intended)).await;
        }
        let end = event_loop.window_end();
        let by_time = end.is_some();
        if let Some(end) = end
            && !event_loop.is_stopping()
        {
            // The window lasts to its end, though the last arrival may come long before.
            event_loop.timer.sleep_until(end).await;
            shared.ended_by_time.store(true, Ordering::Relaxed);
        }
        event_loop.leave_window(by_time);
    }

    /// Sends `count` requests from `place` on in one batch, and records them.
    async fn exchange(&mut self, place: Place, count: u64, intended: Option<Instant>) {
        self.batch.resize_with(count as usize, Exchange::default);
        for (offset, exchange) in self.batch.iter_mut().enumerate() {
            let place = Place { index: place.index + offset as u64, ..place };
            exchange.reset(place, self.workload.operation(place));
        }
        let given = Instant::now();
        if self.client.is_none()
            && let Err(reason) = self.connect().await
        {
            let now = Instant::now();
            let reason: Cow<'static, str> = format!("cannot connect: {reason}").into();
            self.batch.iter_mut().for_each(|exchange| exchange.fail(now, reason.clone()));
            self.record(given, intended);
            self.pause().await;
            return;
        }
        let Some(client) = &mut self.client else { return };
        let deadline = Instant::now() + self.timeout;
        let connection = match self.event_loop.bounded(self.watch, deadline, client.send(&mut self.batch)).await {
            Some(connection) => connection,
            None => Connection::Broken,
        };
        let now = Instant::now();
        // Whatever has no outcome was cut off here: `send` gives one to everything.
        let reason = if now < deadline { INTERRUPTED } else { TIMEOUT };
        self.batch.iter_mut().for_each(|exchange| exchange.fail(now, reason));
        let answered = self.batch.iter().any(|exchange| exchange.outcome == Outcome::Ok);
        self.record(given, intended);
        if answered {
            self.pause = FIRST_PAUSE;
        }
        if connection == Connection::Broken {
            self.client = None;
            self.reconnect(answered).await;
        }
    }

    fn record(&mut self, given: Instant, intended: Option<Instant>) {
        let event_loop = &self.event_loop;
        let (mut recorder, mut digest) = (event_loop.recorder.borrow_mut(), event_loop.digest.borrow_mut());
        let attempt = Attempt { client: self.number, intended, given };
        for exchange in &mut self.batch {
            if let Some(content) = exchange.content {
                digest.add(exchange.place, content);
            }
            let end_ns = recorder.push(exchange, attempt, event_loop.origin);
            if !exchange.place.warmup {
                event_loop.last_end_ns.set(event_loop.last_end_ns.get().max(end_ns));
            }
        }
    }

    fn record_unsent(&mut self, place: Place, intended: Instant, now: Instant) {
        self.batch.resize_with(1, Exchange::default);
        self.batch[0].reset(place, self.workload.operation(place));
        self.batch[0].fail(now, NOT_SENT);
        self.record(now, Some(intended));
    }

    /// In no request's time: closed loop, between two requests; open loop, it shows as send lag. A server that
    /// closes after an answer is reached again at once, one that gave none after a pause.
    async fn reconnect(&mut self, answered: bool) {
        if !answered {
            self.pause().await;
        }
        if !self.event_loop.is_stopping() {
            // When it fails, the next request tries again and fails with the reason.
            let _ = self.connect().await;
        }
    }

    async fn connect(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        let deadline = begin + CONNECT_TIMEOUT.min(self.timeout.max(Duration::from_secs(1)));
        let connecting = self.workload.connect(self.number);
        let result = match self.event_loop.bounded(self.watch, deadline, connecting).await {
            Some(result) => result,
            None => Err("no answer in time".into()),
        };
        match result {
            Ok(client) => {
                self.client = Some(client);
                self.unreachable_since = None;
                Ok(())
            }
            Err(reason) => {
                let since = *self.unreachable_since.get_or_insert(begin);
                // Longer than any request may take: the service is gone, and so is the sense of the load.
                if since.elapsed() >= self.timeout.max(Duration::from_secs(1)) && !self.event_loop.is_stopping() {
                    self.event_loop.give_up(format!(
                        "client {} could not reach the service for {:.0} s: {reason}",
                        self.number,
                        since.elapsed().as_secs_f64()
                    ));
                }
                Err(reason)
            }
        }
    }

    async fn pause(&mut self) {
        self.event_loop.timer.sleep_until(Instant::now() + self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
