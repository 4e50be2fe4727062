//! The figures of one benchmark, from its request records.
//!
//! Memory does not grow with the number of records: they are read in passes, and each pass keeps counts only.
//! The records must come in the same order each time, and in order of completion for the timeline.

mod calibration;
mod findings;
mod gates;
pub mod limits;
mod recall;
mod recomputed;
mod sample;
mod timeline;

pub use self::recomputed::{differences, repeats_prompts};
use std::collections::BTreeMap;

use archive::{Calibration, Goodput, OperationSummary, Request, SCHEMA, Status, Summary, Timestamp};

use self::{
    limits::{Limit, Limits},
    recall::RecallCounts,
    sample::{Sample, nanoseconds},
    timeline::TimelineBuilder,
};

/// Percentiles that every sample has, in 1/1000 of the sample.
const PERMILLES: [u32; 5] = [500, 900, 950, 990, 999];

/// Different error texts that are told apart; a service that puts an id in each must not fill the memory.
const MAX_ERROR_TEXTS: usize = 1000;

/// An answer that comes this long after the window is a broken record, and would make a timeline without end.
const LONGEST_DRAIN_S: f64 = 86_400.0;

/// What is known of a benchmark beside its records.
#[derive(Clone, Debug)]
pub struct Facts {
    pub service_type: String,
    /// Wall clock at offset 0 of the records.
    pub started_at: Option<Timestamp>,
    /// Start and end of the measurement window, in seconds from the benchmark's start.
    pub window_s: [f64; 2],
    pub arrival: Arrival,
    /// Closed loop with a window that time ends: its clients.
    pub timed_clients: Option<u32>,
    /// Open loop: how many requests may be in flight.
    pub most_in_flight: Option<u32>,
    /// Stored metric name → limit in its unit; see [`Limit`] for the names.
    pub slo: BTreeMap<String, f64>,
    /// `None` when the load generator says nothing about itself.
    pub generator: Option<Generator>,
    /// `None` when the load generator was not calibrated.
    pub calibration: Option<Calibration>,
    /// The clocks of the nodes that drove the load, where there were several.
    pub clocks: Option<Vec<NodeClock>>,
    /// How often the service was begun anew while the benchmark lasted; `None` where nobody could see it.
    pub service_restarts: Option<u64>,
    /// The recipe makes prompts begin alike, so that a prompt cache has its part in the answers.
    pub repeats_prompts: bool,
    pub status: Status,
}

/// Who decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// The client, when the answer before has come: response time and service time are the same.
    Closed,
    /// A schedule of so many requests per second.
    Open { requested_rate: f64 },
}

/// What the load generator used over the measurement window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generator {
    /// CPU seconds, all threads.
    pub cpu_s: f64,
    /// Seconds in which its threads were ready to run and waited for a core, added up.
    pub wait_s: f64,
    /// Event loops, one OS thread each.
    pub threads: u32,
    /// The longest time an event loop did not come round.
    pub longest_stall_s: f64,
}

/// The clock of a client node, as it was compared with that of the service's node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeClock {
    /// The service's clock − the node's, in seconds: corrected for.
    pub offset_s: f64,
    /// The offset is right within this, in seconds.
    pub error_s: f64,
}

/// A record that cannot be: the figures would be wrong without anyone seeing it.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordError {
    /// A time is negative or not a number.
    BadTime { client: u32, request_id: u64, field: &'static str, value: f64 },
    /// The second reading gave other records than the first.
    Changed,
    /// A limit's name is not one of those that [`Limit`] knows.
    UnknownLimit(String),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadTime { client, request_id, field, value } => {
                write!(f, "request {request_id} of client {client} has an impossible {field}: {value}")
            }
            Self::Changed => f.write_str("the request records changed while they were read: read them again"),
            Self::UnknownLimit(name) => write!(
                f,
                "`{name}` is no limit: expected success_rate, error_rate, requests_per_second, tokens_per_second or \
                 recall, or latency, service_time, ttft, tpot, itl or ttfb with a figure, such as latency_p99_s"
            ),
        }
    }
}

impl std::error::Error for RecordError {}

/// Computes the summary of a benchmark. `requests` opens the records anew for each pass: two, and a third when
/// very many requests took nearly the same long time.
///
/// A benchmark without records has a summary too: counts of zero and figures of `null`.
pub fn summarise<I, E>(facts: &Facts, requests: impl Fn() -> Result<I, E>) -> Result<Summary, E>
where
    I: Iterator<Item = Result<Request, E>>,
    E: From<RecordError>,
{
    let limits = Limits::parse(&facts.slo)?;
    let mut tally = Tally::default();
    let mut samples = Samples::new(facts, &limits);
    let mut timeline = TimelineBuilder::new(facts.window_s[1]);
    for request in requests()? {
        let request = request?;
        check(&request, facts.window_s[1])?;
        timeline.add(&request);
        tally.add(&request, &limits, facts.window_s);
        samples.visit(&request, Sample::record);
    }

    samples.each(|sample| sample.start_search());
    while samples.any(|sample| sample.is_searching()) {
        for request in requests()? {
            samples.visit(&request?, Sample::seek);
        }
        let mut found = Ok(());
        samples.each(|sample| {
            if let Err(err) = sample.narrow() {
                found = Err(err);
            }
        });
        found?;
    }
    Ok(assemble(facts, &limits, tally, samples, timeline))
}

fn check(request: &Request, window_end_s: f64) -> Result<(), RecordError> {
    let times = [
        ("start_s", Some(request.start_s)),
        ("intended_s", request.intended_s),
        ("latency_s", Some(request.latency_s)),
        ("ttfb_s", request.ttfb_s),
        ("recall", request.recall),
        ("ttft_s", request.ttft_s),
        ("ttft_first_chunk_s", request.ttft_first_chunk_s),
    ];
    let Request { client, request_id, .. } = *request;
    let steps = request.steps_s.values().map(|value| ("steps_s", Some(*value)));
    let server = request.server_s.values().map(|value| ("server_s", Some(*value)));
    for (field, value) in times.into_iter().chain(steps).chain(server) {
        if let Some(value) = value
            && (!value.is_finite() || value < 0.0)
        {
            return Err(RecordError::BadTime { client, request_id, field, value });
        }
    }
    match request.end() > window_end_s + LONGEST_DRAIN_S {
        true => Err(RecordError::BadTime { client, request_id, field: "end", value: request.end() }),
        false => Ok(()),
    }
}

/// Counts and sums over the requests of the window.
#[derive(Default)]
struct Tally {
    warmup: u64,
    total: u64,
    successful: u64,
    good: u64,
    errors: BTreeMap<String, u64>,
    bytes_sent: u64,
    bytes_received: u64,
    output_tokens: TokenSum,
    input_tokens: TokenSum,
    cached_tokens: TokenSum,
    /// What drawn prompts were meant to have, and what the server says they had.
    asked_tokens: [TokenSum; 2],
    /// Tokens of the requests whose server counts them, and these requests' chunks.
    chunked: [u64; 2],
    counted_by_chunk: u64,
    recall: RecallCounts,
    operations: BTreeMap<String, OperationTally>,
    schedule: Option<Schedule>,
    /// Seconds that requests of the window were in flight within it, all together.
    in_flight_s: f64,
    answered: Answered,
}

/// Successful answers that came within the window, also those to warm-up requests.
#[derive(Default)]
struct Answered {
    requests: u64,
    /// Of these, those that kept every limit.
    good: u64,
    tokens: u64,
    operations: BTreeMap<String, Amount>,
}

/// What successful requests of one operation came to.
#[derive(Clone, Copy, Default)]
struct Amount {
    requests: u64,
    bytes_sent: u64,
    bytes_received: u64,
    vectors: u64,
}

impl Amount {
    fn add(&mut self, request: &Request) {
        self.requests += 1;
        self.bytes_sent += request.bytes_sent;
        self.bytes_received += request.bytes_received;
        self.vectors += request.vectors;
    }
}

impl Answered {
    fn add(&mut self, request: &Request, limits: &Limits) {
        self.requests += 1;
        self.good += u64::from(limits.met_by(request));
        self.tokens += request.output_tokens.unwrap_or(0);
        match self.operations.get_mut(&request.operation) {
            Some(amount) => amount.add(request),
            None => self.operations.entry(request.operation.clone()).or_default().add(request),
        }
    }
}

#[derive(Default)]
struct TokenSum {
    tokens: u64,
    requests: u64,
}

impl TokenSum {
    fn add(&mut self, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            self.tokens += tokens;
            self.requests += 1;
        }
    }

    fn average(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.tokens as f64 / self.requests as f64)
    }
}

struct OperationTally {
    count: u64,
    failed: u64,
    succeeded: Amount,
    /// First start and last end, in seconds from the benchmark's start.
    driven_s: [f64; 2],
}

/// First and last time that the schedule wanted, and that came of it.
#[derive(Clone, Copy)]
struct Schedule {
    intended_s: [f64; 2],
    start_s: [f64; 2],
}

impl Schedule {
    /// The time that sending should have taken over the time it took: 1 when the rate was kept. Unlike a count
    /// over a window this does not depend on the chance in a Poisson schedule, nor on the last answers.
    fn kept(&self) -> Option<f64> {
        let [intended, took] = [self.intended_s, self.start_s].map(|[first, last]| last - first);
        (intended > 0.0 && took > 0.0).then(|| (intended / took).min(1.0))
    }
}

impl Tally {
    fn add(&mut self, request: &Request, limits: &Limits, window_s: [f64; 2]) {
        let [from, to] = window_s;
        self.in_flight_s += (request.end().min(to) - request.start_s.max(from)).max(0.0);
        if request.success && (from..to).contains(&request.end()) {
            self.answered.add(request, limits);
        }
        if request.warmup {
            self.warmup += 1;
            return;
        }
        self.total += 1;
        let (start, end) = (request.start_s, request.end());
        let operation = match self.operations.get_mut(&request.operation) {
            Some(operation) => operation,
            None => self.operations.entry(request.operation.clone()).or_insert(OperationTally {
                count: 0,
                failed: 0,
                succeeded: Amount::default(),
                driven_s: [start, end],
            }),
        };
        operation.count += 1;
        operation.driven_s = [operation.driven_s[0].min(start), operation.driven_s[1].max(end)];
        if let Some(intended) = request.intended_s {
            let span = self.schedule.get_or_insert(Schedule { intended_s: [intended; 2], start_s: [start; 2] });
            span.intended_s = [span.intended_s[0].min(intended), span.intended_s[1].max(intended)];
            span.start_s = [span.start_s[0].min(start), span.start_s[1].max(start)];
        }
        if !request.success {
            operation.failed += 1;
            let text = request.error.as_deref().unwrap_or("no reason recorded");
            let known = self.errors.len() < MAX_ERROR_TEXTS || self.errors.contains_key(text);
            let text = if known { text } else { "other errors" };
            match self.errors.get_mut(text) {
                Some(count) => *count += 1,
                None => _ = self.errors.insert(text.to_owned(), 1),
            }
            return;
        }
        operation.succeeded.add(request);
        self.successful += 1;
        self.good += u64::from(limits.met_by(request));
        self.bytes_sent += request.bytes_sent;
        self.bytes_received += request.bytes_received;
        self.output_tokens.add(request.output_tokens);
        self.input_tokens.add(request.input_tokens);
        self.cached_tokens.add(request.cached_tokens);
        if let (Some(_), Some(had)) = (request.asked_input_tokens, request.input_tokens) {
            self.asked_tokens[0].add(request.asked_input_tokens);
            self.asked_tokens[1].add(Some(had));
        }
        self.counted_by_chunk += u64::from(request.tokens_by_chunk);
        if let (Some(tokens), Some(_), false) = (request.output_tokens, request.ttft_s, request.tokens_by_chunk) {
            self.chunked[0] += tokens;
            self.chunked[1] += request.content_chunks.unwrap_or(tokens);
        }
        self.recall.add(request.recall);
    }
}

/// Every sample of a benchmark. Which request belongs to which is said once, in `visit`.
struct Samples {
    open: bool,
    permilles: Vec<u32>,
    latency: Sample,
    service_time: Sample,
    send_lag: Sample,
    ttfb: Sample,
    ttft: Sample,
    ttft_first_chunk: Sample,
    tpot: Sample,
    itl: Sample,
    operations: BTreeMap<String, Sample>,
    steps: BTreeMap<String, Sample>,
    server: BTreeMap<String, Sample>,
}

impl Samples {
    fn new(facts: &Facts, limits: &Limits) -> Self {
        let mut permilles = PERMILLES.to_vec();
        permilles.extend(limits.permilles());
        permilles.sort_unstable();
        permilles.dedup();
        let sample = || Sample::new(&permilles);
        Self {
            open: facts.arrival != Arrival::Closed,
            latency: sample(),
            service_time: sample(),
            send_lag: sample(),
            ttfb: sample(),
            ttft: sample(),
            ttft_first_chunk: sample(),
            tpot: sample(),
            itl: sample(),
            operations: BTreeMap::new(),
            steps: BTreeMap::new(),
            server: BTreeMap::new(),
            permilles,
        }
    }

    fn visit(&mut self, request: &Request, act: impl Fn(&mut Sample, u64)) {
        if request.warmup {
            return;
        }
        if self.open {
            act(&mut self.send_lag, nanoseconds(request.send_lag()));
        }
        if !request.success {
            return;
        }
        let latency = nanoseconds(request.latency_s);
        act(&mut self.latency, latency);
        let act_on = |samples: &mut BTreeMap<String, Sample>, name: &String, value: u64| match samples.get_mut(name) {
            Some(sample) => act(sample, value),
            None => {
                let mut sample = Sample::new(&self.permilles);
                act(&mut sample, value);
                samples.insert(name.clone(), sample);
            }
        };
        act_on(&mut self.operations, &request.operation, latency);
        for (name, time) in &request.steps_s {
            act_on(&mut self.steps, name, nanoseconds(*time));
        }
        for (name, time) in &request.server_s {
            act_on(&mut self.server, name, nanoseconds(*time));
        }
        if self.open {
            act(&mut self.service_time, nanoseconds(request.service_time()));
        }
        let optional = [
            (&mut self.ttfb, request.ttfb_s),
            (&mut self.ttft, request.ttft_s),
            (&mut self.ttft_first_chunk, request.ttft_first_chunk_s),
            (&mut self.tpot, request.tpot()),
        ];
        for (sample, value) in optional {
            if let Some(value) = value {
                act(sample, nanoseconds(value));
            }
        }
        for gap in &request.chunk_gaps_us {
            act(&mut self.itl, u64::from(*gap) * 1000);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Sample> {
        let named = [
            &self.latency,
            &self.service_time,
            &self.send_lag,
            &self.ttfb,
            &self.ttft,
            &self.ttft_first_chunk,
            &self.tpot,
            &self.itl,
        ];
        named.into_iter().chain(self.operations.values()).chain(self.steps.values()).chain(self.server.values())
    }

    fn any(&self, ask: impl Fn(&Sample) -> bool) -> bool {
        self.all().any(ask)
    }

    fn each(&mut self, mut act: impl FnMut(&mut Sample)) {
        let named = [
            &mut self.latency,
            &mut self.service_time,
            &mut self.send_lag,
            &mut self.ttfb,
            &mut self.ttft,
            &mut self.ttft_first_chunk,
            &mut self.tpot,
            &mut self.itl,
        ];
        let others = self.operations.values_mut().chain(self.steps.values_mut()).chain(self.server.values_mut());
        named.into_iter().chain(others).for_each(&mut act);
    }

    /// The sample that a limit speaks of.
    fn of(&self, quantity: limits::Quantity) -> &Sample {
        use limits::Quantity::*;
        match quantity {
            Latency => &self.latency,
            ServiceTime if self.open => &self.service_time,
            ServiceTime => &self.latency,
            Ttft => &self.ttft,
            Tpot => &self.tpot,
            Itl => &self.itl,
            Ttfb => &self.ttfb,
        }
    }
}

fn assemble(facts: &Facts, limits: &Limits, tally: Tally, samples: Samples, timeline: TimelineBuilder) -> Summary {
    let window = facts.window_s[1] - facts.window_s[0];
    let per_second = |count: u64| (window > 0.0).then(|| count as f64 / window);
    let share = |part: u64| (tally.total > 0).then(|| part as f64 / tally.total as f64);
    let success_rate = share(tally.successful).map(|share| share * 100.0);
    let has_tokens = tally.output_tokens.requests > 0;
    let tokens_per_second = has_tokens.then(|| per_second(tally.output_tokens.tokens)).flatten();
    let only_one_operation = tally.operations.len() == 1;
    // Each operation, should the service turn out to be past its capacity.
    let mut past_capacity: BTreeMap<String, OperationSummary> = BTreeMap::new();
    let operations = tally.operations.iter().map(|(name, operation)| {
        // With one operation the whole window was its own; with several, each may have had its turn.
        let driven = match only_one_operation {
            true => window,
            false => operation.driven_s[1].min(facts.window_s[1]) - operation.driven_s[0].max(facts.window_s[0]),
        };
        let rate = |count: u64| (driven > 0.0).then(|| count as f64 / driven);
        let if_any = |count: u64| if count > 0 { rate(count) } else { None };
        let summary = |amount: &Amount| OperationSummary {
            count: operation.count,
            failed: operation.failed,
            driven_s: Some(driven.max(0.0)),
            throughput: rate(amount.requests),
            bytes_sent_per_second: if_any(amount.bytes_sent),
            bytes_received_per_second: if_any(amount.bytes_received),
            vectors_per_second: if_any(amount.vectors),
            latency_s: samples.operations.get(name).map(Sample::percentiles).unwrap_or_default(),
        };
        let answered = tally.answered.operations.get(name).copied().unwrap_or_default();
        past_capacity.insert(name.clone(), summary(&answered));
        (name.clone(), summary(&operation.succeeded))
    });
    let operations: BTreeMap<String, OperationSummary> = operations.collect();
    // A limit on a figure that no request has says nothing about any request.
    let goodput_defined = limits.quantities().all(|quantity| tally.successful == 0 || !samples.of(quantity).is_empty());
    let goodput = (limits.quantities().next().is_some() && goodput_defined).then(|| Goodput {
        good_requests: tally.good,
        requests_per_second: per_second(tally.good),
        ratio: share(tally.good),
    });
    let recall = tally.recall.figures();
    let at = |offset: f64| facts.started_at.map(|time| time.plus_seconds(offset));

    let mut summary = Summary {
        schema: SCHEMA,
        service_type: facts.service_type.clone(),
        total_requests: tally.total,
        successful_requests: tally.successful,
        failed_requests: tally.total - tally.successful,
        warmup_requests: tally.warmup,
        success_rate,
        requests_per_second: per_second(tally.successful),
        test_duration_s: window,
        window_s: facts.window_s,
        test_start_time: at(facts.window_s[0]),
        test_end_time: at(facts.window_s[1]),
        latency_s: samples.latency.distribution(),
        service_time_s: samples.service_time.distribution_if_any(),
        send_lag_s: samples.send_lag.distribution_if_any(),
        ttfb_s: samples.ttfb.distribution_if_any(),
        recall,
        ttft_s: samples.ttft.distribution_if_any(),
        ttft_first_chunk_s: samples.ttft_first_chunk.distribution_if_any(),
        tpot_s: samples.tpot.distribution_if_any(),
        itl_s: samples.itl.distribution_if_any(),
        tokens_per_second,
        avg_output_tokens: tally.output_tokens.average(),
        avg_input_tokens: tally.input_tokens.average(),
        avg_asked_input_tokens: match [0, 1].map(|place| tally.asked_tokens[place].average()) {
            [Some(asked), Some(had)] => Some([asked, had]),
            _ => None,
        },
        avg_cached_tokens: tally.cached_tokens.average(),
        counted_by_chunk: tally.counted_by_chunk,
        tokens_per_chunk: (tally.chunked[1] > 0).then(|| tally.chunked[0] as f64 / tally.chunked[1] as f64),
        bytes_sent_per_second: per_second(tally.bytes_sent),
        bytes_received_per_second: per_second(tally.bytes_received),
        requested_rate: match facts.arrival {
            Arrival::Closed => None,
            Arrival::Open { requested_rate } => Some(requested_rate),
        },
        operations,
        steps_s: samples.steps.iter().map(|(name, sample)| (name.clone(), sample.percentiles())).collect(),
        server_s: samples.server.iter().map(|(name, sample)| (name.clone(), sample.percentiles())).collect(),
        goodput,
        timeline: timeline.finish(),
        answered_per_second: match facts.arrival {
            Arrival::Closed => None,
            Arrival::Open { .. } => per_second(tally.answered.requests),
        },
        error_summary: tally.errors,
        ..Summary::default()
    };
    summary.calibration = facts.calibration.as_ref().and_then(|known| calibration::at_the_rate_of(known, &summary));
    summary.findings = findings::find(
        facts,
        &summary,
        tally.schedule.and_then(|schedule| schedule.kept()),
        (window > 0.0).then(|| tally.in_flight_s / window),
    );
    // Past capacity the answers to a window's requests come long after it: what came within it is what the service does.
    if summary.findings.iter().any(|finding| finding.code == "saturated") {
        summary.tokens_per_second = has_tokens.then(|| per_second(tally.answered.tokens)).flatten();
        summary.operations = past_capacity;
        if let Some(goodput) = &mut summary.goodput {
            goodput.requests_per_second = per_second(tally.answered.good);
        }
    }
    let outcomes = limits.outcomes(|limit| match limit {
        Limit::SuccessRate => success_rate,
        Limit::ErrorRate => success_rate.map(|rate| 100.0 - rate),
        Limit::Throughput => summary.throughput(),
        Limit::TokensPerSecond => summary.tokens_per_second,
        Limit::Recall => summary.recall.as_ref().map(|recall| recall.avg),
        Limit::Time { quantity, figure } => samples.of(quantity).figure(figure),
    });
    summary.slo = outcomes;
    summary.gates = gates::list(facts, &summary, &summary.findings);
    summary
}

#[cfg(test)]
mod tests;
