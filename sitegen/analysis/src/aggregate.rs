//! Figures of a set of requests in one reading: as a whole, by operation, by client and by phase.
//!
//! Reads JSON lines, of the archive (`latency_s`, `success`) or of anybody (`latency_ms`, `ok`), as bytes: blocks of whole
//! lines may be scanned by several aggregators at once, which are merged. Exact percentiles need the values: eight bytes
//! a request are held, and nothing else grows. `summarise`, which reads twice, holds none.

mod figures;
mod line;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde::Serialize;

pub use figures::{LE_EDGES_MS, LatencyFigures};
pub use line::LineError;
use line::{Keys, Line};

/// Phase of requests that say none.
const MEASURED: &str = "measured";
const WARMUP: &str = "warmup";

/// Different operations, phases and error texts that are told apart.
const MOST_NAMES: usize = 1000;
const OTHERS: &str = "other";

/// Clients below this number are kept in a list.
const FIRST_CLIENTS: usize = 1 << 16;

/// What a set of requests comes to. Times are in the unit that the name ends in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Aggregate {
    /// Requests that were measured, as all figures up to `phases`: warm-up is in that table only.
    #[serde(flatten)]
    pub whole: Part,
    /// Error text → requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub error_summary: BTreeMap<String, u64>,
    /// Output tokens of good requests per second; `None` without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, Part>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<u64, ClientPart>,
    /// Only where there is more than one phase.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<String, Part>,
}

/// Figures of some of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    pub count: u64,
    pub ok: u64,
    pub failures: u64,
    /// ok / count, 0–1; `None` without requests.
    pub success_rate: Option<f64>,
    /// Latest end minus earliest start, over good and failed requests; 0 without any.
    pub duration_s: f64,
    /// `None` when the duration is 0.
    pub throughput_ok_per_s: Option<f64>,
    pub throughput_all_per_s: Option<f64>,
    pub latency_ok_ms: LatencyFigures,
    pub latency_all_ms: LatencyFigures,
}

/// The share of one client: what tells whether all were served alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClientPart {
    pub count: u64,
    pub failures: u64,
    /// Of good requests; `None` without any.
    pub latency_mean_ms: Option<f64>,
    pub latency_max_ms: Option<f64>,
}

/// Takes lines, and gives the figures at the end.
#[derive(Debug, Default)]
pub struct Aggregator {
    groups: Vec<Group>,
    places: HashMap<(String, String), usize>,
    /// The first clients, which mostly are all, without hashing; the others by number.
    first_clients: Vec<ClientTally>,
    clients: HashMap<u64, ClientTally>,
    errors: BTreeMap<String, u64>,
    output_tokens: Option<u64>,
    keys: Keys,
}

/// Requests of one phase and operation.
#[derive(Debug)]
struct Group {
    phase: String,
    operation: String,
    /// Milliseconds as bits, which are ordered as numbers that are not negative are; a list a scanning aggregator.
    ok: Vec<Vec<u64>>,
    failed: Vec<Vec<u64>>,
    span: Span,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first_start_s: f64,
    last_end_s: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct ClientTally {
    count: u64,
    failures: u64,
    sum_ms: f64,
    max_ms: f64,
}

impl Aggregator {
    /// Takes a block of whole lines; empty ones are passed over.
    pub fn scan(&mut self, block: &[u8]) -> Result<(), LineError> {
        let mut rest = block;
        while !rest.is_empty() {
            let (line, after) = Line::first_of(rest, &mut self.keys)?;
            rest = after;
            if let Some(line) = line {
                self.add(&line);
            }
        }
        Ok(())
    }

    fn add(&mut self, line: &Line) {
        let phase = match &line.phase {
            _ if line.warmup => WARMUP,
            Some(phase) => phase,
            None => MEASURED,
        };
        let place = self.place(phase, &line.operation);
        let group = &mut self.groups[place];
        let end_s = line.intended_s.unwrap_or(line.start_s) + line.latency_ms / 1000.0;
        group.span.include(line.start_s, end_s);
        let values = if line.ok { &mut group.ok } else { &mut group.failed };
        values[0].push((line.latency_ms + 0.0).to_bits());
        if self.groups[place].phase == WARMUP {
            return;
        }
        if let Some(client) = line.client {
            let client = self.client(client);
            client.count += 1;
            match line.ok {
                true => {
                    client.sum_ms += line.latency_ms;
                    client.max_ms = client.max_ms.max(line.latency_ms);
                }
                false => client.failures += 1,
            }
        }
        if line.ok
            && let Some(tokens) = line.output_tokens
        {
            *self.output_tokens.get_or_insert(0) += tokens;
        }
        if !line.ok
            && let Some(error) = &line.error
        {
            count_error(&mut self.errors, error, 1);
        }
    }

    fn client(&mut self, number: u64) -> &mut ClientTally {
        match usize::try_from(number) {
            Ok(place) if place < FIRST_CLIENTS => {
                if self.first_clients.len() <= place {
                    self.first_clients.resize(place + 1, ClientTally::default());
                }
                &mut self.first_clients[place]
            }
            _ => self.clients.entry(number).or_default(),
        }
    }

    /// Every client of whom there are requests.
    fn tallies(&self) -> impl Iterator<Item = (u64, &ClientTally)> {
        let first = (0..).zip(&self.first_clients).filter(|(_, tally)| tally.count > 0);
        first.chain(self.clients.iter().map(|(client, tally)| (*client, tally)))
    }

    fn place(&mut self, phase: &str, operation: &str) -> usize {
        // A benchmark has a handful of operations: comparing names beats hashing them.
        let near = self.groups.iter().take(8).position(|group| group.operation == operation && group.phase == phase);
        if let Some(place) = near {
            return place;
        }
        let key = (phase.to_owned(), operation.to_owned());
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        if self.groups.len() >= MOST_NAMES && operation != OTHERS {
            return self.place(if phase == WARMUP { WARMUP } else { MEASURED }, OTHERS);
        }
        let (phase, operation) = key.clone();
        let (ok, failed) = (vec![Vec::new()], vec![Vec::new()]);
        self.groups.push(Group { phase, operation, ok, failed, span: Span::NONE });
        self.places.insert(key, self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Adds what another aggregator has seen.
    pub fn merge(&mut self, mut other: Aggregator) {
        for group in std::mem::take(&mut other.groups) {
            let place = self.place(&group.phase, &group.operation);
            let own = &mut self.groups[place];
            own.span.include(group.span.first_start_s, group.span.last_end_s);
            own.ok.extend(group.ok);
            own.failed.extend(group.failed);
        }
        for (client, tally) in other.tallies() {
            let own = self.client(client);
            own.count += tally.count;
            own.failures += tally.failures;
            own.sum_ms += tally.sum_ms;
            own.max_ms = own.max_ms.max(tally.max_ms);
        }
        for (error, count) in other.errors {
            count_error(&mut self.errors, &error, count);
        }
        if let Some(tokens) = other.output_tokens {
            *self.output_tokens.get_or_insert(0) += tokens;
        }
    }

    /// The figures; `le_edges_ms` are what `cumulative_le` counts up to.
    pub fn finish(self, le_edges_ms: &[f64]) -> Aggregate {
        let measured = |group: &&Group| group.phase != WARMUP;
        let names =
            |of: &dyn Fn(&Group) -> &String| -> BTreeSet<String> { self.groups.iter().map(of).cloned().collect() };
        let operations: Vec<String> =
            names(&|group| &group.operation).into_iter().filter(|name| !name.is_empty()).collect();
        let phases = Some(names(&|group| &group.phase)).filter(|phases| phases.len() > 1).unwrap_or_default();
        let mut kept: Vec<Vec<&Group>> = vec![self.groups.iter().filter(measured).collect()];
        kept.extend(operations.iter().map(|name| {
            self.groups.iter().filter(measured).filter(|group| group.operation == *name).collect::<Vec<_>>()
        }));
        kept.extend(phases.iter().map(|name| self.groups.iter().filter(|group| group.phase == *name).collect()));
        let mut parts = parts(&kept, le_edges_ms).into_iter();
        let Some(whole) = parts.next() else { unreachable!("there is always a whole") };
        let operations = operations.into_iter().zip(parts.by_ref()).collect::<Vec<_>>().into_iter();
        let phases = phases.into_iter().zip(parts);
        let per_second = |count: u64| (whole.duration_s > 0.0).then(|| count as f64 / whole.duration_s);
        Aggregate {
            tokens_per_second: self.output_tokens.and_then(per_second),
            operations: operations.filter(|(_, figures)| figures.count > 0).collect(),
            phases: phases.collect(),
            clients: self.tallies().map(|(client, tally)| (client, tally.part())).collect(),
            error_summary: self.errors.clone(),
            whole,
        }
    }
}

/// Figures of each list of groups, on every core.
fn parts(kept: &[Vec<&Group>], le_edges_ms: &[f64]) -> Vec<Part> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(groups) = kept.get(place) else { return done };
            done.push((place, part(groups, le_edges_ms)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(kept.len());
    let mut all: Vec<(usize, Part)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let theirs =
            others.into_iter().flat_map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        own.into_iter().chain(theirs).collect()
    });
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, part)| part).collect()
}

/// Figures of groups taken together.
fn part(groups: &[&Group], le_edges_ms: &[f64]) -> Part {
    let slices = |of: fn(&Group) -> &Vec<Vec<u64>>| -> Vec<&[u64]> {
        groups.iter().flat_map(|group| of(group)).map(Vec::as_slice).collect()
    };
    let (good, failed) = (slices(|group| &group.ok), slices(|group| &group.failed));
    let latency_ok_ms = LatencyFigures::of(&good, le_edges_ms);
    let latency_all_ms = match failed.iter().all(|values| values.is_empty()) {
        true => latency_ok_ms.clone(),
        false => LatencyFigures::of(&[good, failed].concat(), le_edges_ms),
    };
    let (count, ok) = (latency_all_ms.count, latency_ok_ms.count);
    let mut span = Span::NONE;
    groups.iter().for_each(|group| span.include(group.span.first_start_s, group.span.last_end_s));
    let duration_s = span.seconds();
    let per_second = |count: u64| (duration_s > 0.0).then(|| count as f64 / duration_s);
    Part {
        count,
        ok,
        failures: count - ok,
        success_rate: (count > 0).then(|| ok as f64 / count as f64),
        duration_s,
        throughput_ok_per_s: per_second(ok),
        throughput_all_per_s: per_second(count),
        latency_ok_ms,
        latency_all_ms,
    }
}

fn count_error(errors: &mut BTreeMap<String, u64>, text: &str, count: u64) {
    let known = errors.len() < MOST_NAMES || errors.contains_key(text);
    match errors.get_mut(if known { text } else { OTHERS }) {
        Some(so_far) => *so_far += count,
        None => _ = errors.insert(if known { text } else { OTHERS }.to_owned(), count),
    }
}

impl Span {
    const NONE: Self = Self { first_start_s: f64::INFINITY, last_end_s: f64::NEG_INFINITY };

    fn include(&mut self, start_s: f64, end_s: f64) {
        self.first_start_s = self.first_start_s.min(start_s);
        self.last_end_s = self.last_end_s.max(end_s);
    }

    fn seconds(self) -> f64 {
        (self.last_end_s - self.first_start_s).max(0.0)
    }
}

impl ClientTally {
    fn part(self) -> ClientPart {
        let ok = self.count - self.failures;
        ClientPart {
            count: self.count,
            failures: self.failures,
            latency_mean_ms: (ok > 0).then(|| self.sum_ms / ok as f64),
            latency_max_ms: (ok > 0).then_some(self.max_ms),
        }
    }
}

#[cfg(test)]
mod tests;
