//! What limits a service: from measured series, with the evidence and with the explanations that were rejected.
//!
//! Not a sum of thresholds. Every resource has *measures*, shares of what there is (`measure`). Over a sweep, the
//! limit is what is exhausted from the load on at which throughput stops and was not before; what was as busy while
//! throughput still grew explains nothing. The client is looked at first: a load generator at its own limit says
//! nothing about the service. One benchmark alone cannot show the contrast: it gets an answer with less confidence.
//! Where nothing was sampled, nothing is claimed.

mod advice;
mod measure;

#[cfg(test)]
mod tests;

use archive::{ResourceSample, Run, Status, Summary};
use serde::Serialize;

use self::measure::Measure;
use crate::{
    median, peak,
    series::{Along, Point, Series, series},
};

/// Raised when the same data may give another answer.
pub const BOTTLENECK_METHOD: &str = "exhausted where throughput stops, version 3";

/// A load from which on throughput is within this share of its peak is one at which it has stopped.
const PLATEAU: f64 = 0.9;
/// More load than this beyond it must have been tried to say that throughput stopped.
const BEYOND: f64 = 1.5;
/// A measure that was, at the smallest load, below this share of what it is at the limit has grown with the load.
const GROWN: f64 = 0.85;
/// More failures than this, in percent, and nothing is called healthy.
const HEALTHY_SUCCESS: f64 = 95.0;

/// What limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// The load generator or its node.
    Client,
    Memory,
    Gpu,
    /// Network or disk.
    Network,
    Cpu,
    /// Requests wait in the service for something that is no sampled resource: slots, locks, a pool.
    Queueing,
    /// Nothing: the service can do more.
    None,
    /// The data do not tell.
    Unknown,
}

impl Bottleneck {
    /// Those that something measured can speak for.
    pub const RESOURCES: [Self; 6] = [Self::Client, Self::Memory, Self::Gpu, Self::Network, Self::Cpu, Self::Queueing];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Memory => "memory",
            Self::Gpu => "GPU",
            Self::Network => "network or disk",
            Self::Cpu => "CPU",
            Self::Queueing => "queueing",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The answer for a benchmark or a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attribution {
    pub class: Bottleneck,
    /// What is exhausted beside it: the situation is mixed, and removing one limit may show the other.
    pub also: Vec<Bottleneck>,
    pub confidence: Confidence,
    /// One sentence.
    pub summary: String,
    /// The load from which on throughput does not grow; `None` for a benchmark, or when it grew throughout.
    pub stops_at: Option<f64>,
    pub evidence: Vec<Evidence>,
    pub rejected: Vec<Rejected>,
    pub recommendations: Vec<String>,
    pub method: String,
}

/// One measured fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub class: Bottleneck,
    /// Field or fields of `resources.jsonl.zst` or `summary.json`.
    pub series: String,
    /// The benchmark, and the load it was measured at, in a sweep.
    pub benchmark: Option<String>,
    pub load: Option<f64>,
    /// In seconds from the benchmark's start.
    pub window_s: [f64; 2],
    /// In `unit`; a median over the window unless `says` tells otherwise.
    pub value: f64,
    pub unit: String,
    /// From where on the resource counts as exhausted.
    pub limit: Option<f64>,
    /// Beyond the limit, and whatever else is asked of it holds too.
    pub exhausted: bool,
    pub says: String,
}

/// An explanation that the data do not support.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rejected {
    pub class: Bottleneck,
    pub reason: String,
}

/// A benchmark, as far as this question goes.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    pub run: &'a Run,
    pub summary: Option<&'a Summary>,
    pub resources: &'a [ResourceSample],
}

/// All that was measured at one load of a sweep.
#[derive(Clone, Debug)]
pub struct LoadPoint<'a> {
    pub load: f64,
    pub repetitions: Vec<Observation<'a>>,
}

/// The sweep over the load that a benchmark belongs to: those of `others`, of the same execution, that differ from it
/// in the load only, by load. Less than two loads are no sweep.
pub fn sweep_of<'a>(run: &Run, others: &[Observation<'a>]) -> Option<Vec<LoadPoint<'a>>> {
    let same = |other: &&Observation<'a>| {
        (&other.run.campaign.name, &other.run.campaign.execution) == (&run.campaign.name, &run.campaign.execution)
    };
    let others: Vec<Observation<'a>> = others.iter().filter(same).copied().collect();
    let runs: Vec<&Run> = others.iter().map(|other| other.run).collect();
    let has_it = |series: &Series| {
        let members = series.points.iter().flat_map(|point| &point.members);
        members.into_iter().any(|member| runs[*member].benchmark_id == run.benchmark_id)
    };
    let series = series(&runs, Along::Load).into_iter().find(has_it)?;
    let point = |point: Point| LoadPoint {
        load: point.load,
        repetitions: point.members.into_iter().map(|member| others[member]).collect(),
    };
    let mut points: Vec<LoadPoint<'a>> = series.points.into_iter().map(point).collect();
    points.sort_by(|a, b| a.load.total_cmp(&b.load));
    (points.len() > 1).then_some(points)
}

/// What limits the service in one benchmark.
pub fn attribute(observation: &Observation<'_>) -> Attribution {
    let measures = Looked::at(observation, None);
    let candidates: Vec<Bottleneck> = candidates(measures.measures.iter().filter(|measure| measure.exhausted));
    let alone = "one benchmark shows no contrast: a sweep over the load would tell more surely";
    let chosen = choose(&candidates);
    let (class, confidence, summary) = match chosen {
        Some(class) => {
            let decisive = measures.best(class).is_some_and(|measure| measure.decisive);
            let sure = candidates.len() == 1 && (decisive || measures.samples >= 3 && measures.client_known);
            let confidence = if sure { Confidence::Medium } else { Confidence::Low };
            (class, confidence, format!("{}; {alone}", limited_by(class, &measures)))
        }
        None => idle(observation, &measures),
    };
    finish(class, &candidates, confidence, summary, None, &[measures], &[])
}

/// What limits the service over a sweep. `stops_at` is the load from which on throughput does not grow, where a
/// better estimate is known than the largest throughputs give. Cancelled benchmarks are left out. One load gives the answer of its benchmarks.
pub fn attribute_sweep(points: &[LoadPoint<'_>], stops_at: Option<f64>) -> Attribution {
    // What was cancelled says nothing of its end.
    let tells = |one: &&Observation<'_>| one.run.status != Status::Cancelled;
    let told: Vec<LoadPoint<'_>> = points
        .iter()
        .map(|point| LoadPoint {
            load: point.load,
            repetitions: point.repetitions.iter().filter(tells).copied().collect(),
        })
        .collect();
    let mut points: Vec<&LoadPoint<'_>> = told.iter().filter(|point| !point.repetitions.is_empty()).collect();
    points.sort_by(|a, b| a.load.total_cmp(&b.load));
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return finish(Bottleneck::Unknown, &[], Confidence::Low, "nothing was measured".to_owned(), None, &[], &[]);
    };
    if first.load == last.load {
        return attribute(&last.repetitions[0]);
    }
    let looked: Vec<Looked> = points
        .iter()
        .flat_map(|point| point.repetitions.iter().map(|observation| Looked::at(observation, Some(point.load))))
        .collect();
    let Some(stop) = stops_at.or_else(|| where_throughput_stops(&points)) else {
        return grew_throughout(points[points.len() - 1], &looked);
    };
    let at_limit: Vec<&Looked> = looked.iter().filter(|looked| looked.load >= Some(stop)).collect();
    let before: Vec<&Looked> =
        looked.iter().filter(|looked| looked.load == Some(first.load) && first.load < stop).collect();
    let (explaining, busy_before) = explain(&at_limit, &before);
    let mut candidates = candidates(explaining.iter().copied());
    let mut confidence = match (candidates.len(), before.is_empty()) {
        // What was not looked at may be the cause behind the one that was.
        (1, _) if at_limit.iter().all(|looked| looked.best(Bottleneck::Cpu).is_none()) => Confidence::Low,
        (1, false) if at_limit.iter().all(|looked| looked.client_known) => Confidence::High,
        (1, _) => Confidence::Medium,
        _ => Confidence::Low,
    };
    let service_known = at_limit.iter().any(|looked| looked.service_known);
    let class = match choose(&candidates) {
        Some(class) => class,
        None if service_known && waits_longer(&points, stop) => {
            candidates.push(Bottleneck::Queueing);
            confidence = Confidence::Low;
            Bottleneck::Queueing
        }
        None => Bottleneck::Unknown,
    };
    // Of the largest load, and one in which that shows.
    let shows = |looked: &Looked| looked.best(class).is_some_and(|measure| measure.exhausted);
    let example = at_limit
        .iter()
        .max_by(|a, b| (shows(a), a.load).partial_cmp(&(shows(b), b.load)).unwrap_or(std::cmp::Ordering::Equal));
    let place = format!("throughput stops at a load of {}", number(stop));
    let summary = match (class, example) {
        (Bottleneck::Unknown, _) if !service_known => {
            format!("{place}, and nothing is known of the service's resources there")
        }
        (Bottleneck::Unknown, _) => format!("{place}, and nothing that was sampled is exhausted there"),
        (Bottleneck::Queueing, _) if confidence == Confidence::Low && candidates.len() == 1 => {
            format!(
                "{place}; no sampled resource is exhausted, and more load only waits longer: slots, a lock or a pool"
            )
        }
        (class, Some(example)) => format!("{place}: {}", limited_by(class, example)),
        (class, None) => format!("{place}: {}", class.name()),
    };
    let shown: Vec<Looked> = before.first().into_iter().chain(example).map(|looked| (*looked).clone()).collect();
    let mut answer = finish(class, &candidates, confidence, summary, Some(stop), &shown, &busy_before);
    answer.evidence.splice(0..0, course(&points, stop, class));
    answer
}

/// Throughput, and latency for a queue, where it stops and at the largest load.
fn course(points: &[&LoadPoint<'_>], stop: f64, class: Bottleneck) -> Vec<Evidence> {
    let at_stop = points.iter().find(|point| point.load >= stop);
    let (Some(at_stop), Some(last)) = (at_stop, points.last()) else { return Vec::new() };
    let mut evidence = Vec::new();
    let mut add = |series: &str, unit: &str, factor: f64, of: fn(&Summary) -> Option<f64>| {
        let value =
            |point: &LoadPoint<'_>| median(point.repetitions.iter().filter_map(|one| of(one.summary?)).collect());
        let (Some(before), Some(after)) = (value(at_stop), value(last)) else { return };
        let window_s = last.repetitions[0].summary.map_or([0.0, 0.0], |summary| summary.window_s);
        evidence.push(Evidence {
            class,
            series: series.to_owned(),
            benchmark: Some(last.repetitions[0].run.benchmark_id.to_string()),
            load: Some(last.load),
            window_s,
            value: after * factor,
            unit: unit.to_owned(),
            limit: None,
            exhausted: false,
            says: format!(
                "{} {unit} at a load of {}, {} at {}",
                number(before * factor),
                number(at_stop.load),
                number(after * factor),
                number(last.load)
            ),
        });
    };
    add("requests_per_second (summary.json)", "requests/s", 1.0, Summary::throughput);
    if class == Bottleneck::Queueing {
        add("latency_s.p50 (summary.json)", "ms", 1e3, |summary| summary.latency_s.figures.p50);
    }
    evidence
}

/// The smallest load with at least nine tenths of the largest throughput, or at which the service failed, when
/// markedly more load was tried. `points` ascend.
fn where_throughput_stops(points: &[&LoadPoint<'_>]) -> Option<f64> {
    let dead = |observation: &Observation<'_>| observation.run.status == Status::Failed;
    let failed = points.iter().find(|point| point.repetitions.iter().all(dead)).map(|point| point.load);
    let rates: Vec<(f64, f64)> = points
        .iter()
        .flat_map(|point| point.repetitions.iter().map(move |observation| (point.load, observation)))
        .filter(|(_, observation)| observation.run.status == Status::Completed)
        .filter_map(|(load, observation)| Some((load, observation.summary?.throughput()?)))
        .collect();
    let last = rates.iter().map(|rate| rate.0).fold(0.0, f64::max);
    let best = peak(&rates).map(|peak| peak.value);
    let of = |load: f64| median(rates.iter().filter(|rate| rate.0 == load).map(|rate| rate.1).collect());
    let plateau = best.and_then(|best| {
        points.iter().map(|point| point.load).find(|load| of(*load).is_some_and(|rate| rate >= PLATEAU * best))
    });
    let plateau = plateau.filter(|load| last >= BEYOND * load);
    match (plateau, failed) {
        (Some(plateau), Some(failed)) => Some(plateau.min(failed)),
        (plateau, failed) => plateau.or(failed),
    }
}

/// Whether latency grows with the load beyond the stop as it must when requests only wait for each other.
fn waits_longer(points: &[&LoadPoint<'_>], stop: f64) -> bool {
    let latency = |load: f64| {
        let at = points.iter().find(|point| point.load == load)?;
        median(at.repetitions.iter().filter_map(|one| one.summary?.latency_s.figures.p50).collect())
    };
    let stop = points.iter().map(|point| point.load).find(|load| *load >= stop).unwrap_or(stop);
    let last = points.last().map_or(stop, |point| point.load);
    match (latency(stop), latency(last)) {
        (Some(before), Some(after)) if last > stop => after / before >= 0.5 * (last / stop),
        _ => false,
    }
}

/// What was seen in one benchmark.
#[derive(Clone, Debug)]
struct Looked {
    benchmark: String,
    load: Option<f64>,
    window_s: [f64; 2],
    /// Samples of the better sampled role in the window.
    samples: usize,
    sampled: bool,
    service_known: bool,
    client_known: bool,
    measures: Vec<Measure>,
    /// Waits for cores that are no limit but stand in the latencies.
    contention: Option<String>,
}

impl Looked {
    fn at(observation: &Observation<'_>, load: Option<f64>) -> Self {
        let window = measure::Window::of(observation);
        Self {
            benchmark: observation.run.benchmark_id.to_string(),
            load,
            window_s: window.bounds_s,
            samples: window.service.len().max(window.client.len()),
            sampled: !observation.resources.is_empty(),
            service_known: window.knows_service(),
            client_known: window.knows_client(),
            measures: measure::all(observation, &window),
            contention: measure::contention(&window),
        }
    }

    /// The fullest measure of a class, exhausted ones first.
    fn best(&self, class: Bottleneck) -> Option<&Measure> {
        let of_class = self.measures.iter().filter(|measure| measure.class == class);
        of_class.max_by(|a, b| {
            (a.exhausted, a.share()).partial_cmp(&(b.exhausted, b.share())).unwrap_or(std::cmp::Ordering::Equal)
        })
    }
}

/// Measures that are exhausted in at least half of what was measured at the limit and have grown up to it; and those
/// that were as full at the smallest load, with what they were.
fn explain<'a>(at_limit: &[&'a Looked], before: &[&Looked]) -> (Vec<&'a Measure>, Vec<(Bottleneck, String)>) {
    let mut keys: Vec<&'static str> =
        at_limit.iter().flat_map(|looked| &looked.measures).map(|measure| measure.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let (mut explaining, mut busy_before) = (Vec::new(), Vec::new());
    let stop = at_limit.iter().filter_map(|looked| looked.load).fold(f64::INFINITY, f64::min);
    for key in keys {
        let of = |looked: &'a Looked| looked.measures.iter().find(|measure| measure.key == key);
        let seen: Vec<&Measure> = at_limit.iter().filter_map(|looked| of(looked)).collect();
        let full: Vec<&Measure> = seen.iter().copied().filter(|measure| measure.exhausted).collect();
        let Some(example) = full.iter().copied().max_by(|a, b| a.share().total_cmp(&b.share())) else { continue };
        // An event that ends the service happens once. At a load beyond the one where throughput stopped it is not why.
        if example.decisive {
            let there = at_limit.iter().filter(|looked| of(looked).is_some_and(|measure| measure.exhausted));
            let first = there.filter_map(|looked| looked.load).fold(f64::INFINITY, f64::min);
            if first > stop {
                let reason = format!("{}, at a load of {}: throughput had stopped before", example.says, number(first));
                busy_before.push((example.class, reason));
                continue;
            }
        } else if full.len() * 2 < seen.len() {
            continue;
        }
        let first: Vec<&Measure> =
            before.iter().flat_map(|looked| &looked.measures).filter(|measure| measure.key == key).collect();
        let was = median(first.iter().map(|measure| measure.share()).collect());
        let is = median(full.iter().map(|measure| measure.share()).collect()).unwrap_or(1.0);
        let was_full = first.iter().any(|measure| measure.exhausted);
        match was {
            Some(was) if was_full && was >= GROWN * is && !example.decisive => {
                let reason = format!(
                    "{}: it was as full at the smallest load ({}), where throughput still grew with the load",
                    example.says,
                    first.first().map_or_else(|| number(was), |measure| measure.figure())
                );
                busy_before.push((example.class, reason));
            }
            _ => explaining.push(example),
        }
    }
    (explaining, busy_before)
}

/// The classes of measures, each once. A queue behind an exhausted resource is its consequence, no second limit.
fn candidates<'a>(measures: impl IntoIterator<Item = &'a Measure>) -> Vec<Bottleneck> {
    let mut measures: Vec<&Measure> = measures.into_iter().collect();
    // A process that was killed for want of memory says more than any share.
    measures.sort_by_key(|measure| !measure.decisive);
    let decisive = measures.first().filter(|measure| measure.decisive).map(|measure| measure.class);
    let mut classes: Vec<Bottleneck> = measures.iter().map(|measure| measure.class).collect();
    classes.sort_by_key(|class| (Some(*class) != decisive, *class));
    classes.dedup();
    if classes.len() > 1 {
        classes.retain(|class| *class != Bottleneck::Queueing);
    }
    classes
}

/// The first in the order of the classes, which is the order of causes: what is behind the client or behind an
/// exhausted resource queues there, and a thread that feeds a full GPU may look busy.
fn choose(candidates: &[Bottleneck]) -> Option<Bottleneck> {
    candidates.first().copied()
}

fn limited_by(class: Bottleneck, looked: &Looked) -> String {
    let fact = looked.best(class).map(|measure| format!(": {}", measure.says)).unwrap_or_default();
    match class {
        Bottleneck::Client => format!("the load generator is the limit, not the service{fact}"),
        class => format!("{} is the limit{fact}", class.name()),
    }
}

/// One benchmark without anything exhausted.
fn idle(observation: &Observation<'_>, looked: &Looked) -> (Bottleneck, Confidence, String) {
    let unknown = |text: String| (Bottleneck::Unknown, Confidence::Low, text);
    if !looked.sampled {
        return unknown("no resources were sampled".to_owned());
    }
    if looked.samples == 0 {
        let [start, end] = looked.window_s;
        return unknown(format!("no sample of a second lies within the window of {} s", number(end - start)));
    }
    if !looked.service_known {
        return unknown("nothing was sampled of the service: it is not a process of this run".to_owned());
    }
    if looked.best(Bottleneck::Cpu).is_none() {
        let text = "nothing that was sampled is exhausted, and the service's CPU was not sampled by thread: it cannot be excluded";
        return unknown(text.to_owned());
    }
    let success = observation.summary.and_then(|summary| summary.success_rate);
    if observation.run.status == Status::Failed || success.is_none_or(|success| success < HEALTHY_SUCCESS) {
        return unknown("requests failed, and nothing that was sampled is exhausted".to_owned());
    }
    let past_capacity = |summary: &Summary| summary.findings.iter().any(|finding| finding.code == "saturated");
    if observation.summary.is_some_and(past_capacity) {
        let text = "the service is past its capacity and nothing that was sampled is exhausted: requests wait for slots, a \
                    lock or a pool";
        return (Bottleneck::Queueing, Confidence::Low, text.to_owned());
    }
    let sure = looked.client_known && looked.samples >= 3 && looked.contention.is_none();
    let mut text =
        "nothing that was sampled is exhausted: more load would be served; what waits inside the service is \
                    seen by a sweep over the load only"
            .to_owned();
    if let Some(contention) = &looked.contention {
        text += &format!("; {contention}");
    }
    (Bottleneck::None, if sure { Confidence::Medium } else { Confidence::Low }, text)
}

/// A sweep whose throughput never stopped.
fn grew_throughout(last: &LoadPoint<'_>, looked: &[Looked]) -> Attribution {
    let mut answer = attribute(&last.repetitions[0]);
    let place = format!("throughput grew up to the largest load, {}", number(last.load));
    let shown: Vec<Looked> = looked.iter().filter(|looked| looked.load == Some(last.load)).take(1).cloned().collect();
    let candidates: Vec<Bottleneck> = std::iter::once(answer.class).chain(answer.also.clone()).collect();
    let (class, confidence, summary) = match answer.class {
        Bottleneck::None => (Bottleneck::None, Confidence::High, format!("{place}, and nothing is exhausted there")),
        Bottleneck::Unknown => (Bottleneck::Unknown, Confidence::Low, format!("{place}; {}", answer.summary)),
        class => {
            let fact = shown.first().map(|looked| limited_by(class, looked)).unwrap_or_default();
            (class, Confidence::Low, format!("{place}, and a limit is near: {fact}"))
        }
    };
    answer = finish(class, &candidates, confidence, summary, None, &shown, &[]);
    answer
}

/// Puts the answer together. `shown` is where evidence is taken from, the decisive place last.
fn finish(
    class: Bottleneck,
    candidates: &[Bottleneck],
    confidence: Confidence,
    summary: String,
    stops_at: Option<f64>,
    shown: &[Looked],
    busy_before: &[(Bottleneck, String)],
) -> Attribution {
    let also: Vec<Bottleneck> =
        candidates.iter().copied().filter(|other| *other != class && Bottleneck::RESOURCES.contains(other)).collect();
    let named = |other: Bottleneck| other == class || also.contains(&other);
    let mut evidence: Vec<Evidence> = Vec::new();
    for looked in shown.iter().rev() {
        let mut measures: Vec<&Measure> =
            looked.measures.iter().filter(|measure| named(measure.class) || class == Bottleneck::None).collect();
        measures.sort_by(|a, b| {
            (a.class != class, !a.exhausted, b.share())
                .partial_cmp(&(b.class != class, !b.exhausted, a.share()))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        evidence.extend(measures.into_iter().map(|measure| measure.evidence(looked)));
    }
    let decisive = shown.last();
    let rejected: Vec<Rejected> = Bottleneck::RESOURCES
        .into_iter()
        .filter(|other| !named(*other))
        .map(|other| Rejected {
            class: other,
            reason: match busy_before.iter().find(|(class, _)| *class == other) {
                Some((_, reason)) => reason.clone(),
                None => why_not(other, class, decisive),
            },
        })
        .collect();
    let mut advised: Vec<String> = Vec::new();
    for class in std::iter::once(class).chain(also.iter().copied()) {
        let key = decisive.and_then(|looked| looked.best(class)).map_or("", |measure| measure.key);
        advised.extend(advice::of(class, key).iter().map(|text| (*text).to_owned()));
    }
    advised.truncate(5);
    Attribution {
        class,
        confidence: if also.is_empty() { confidence } else { confidence.min(Confidence::Medium) },
        summary: match also.is_empty() {
            true => summary,
            false => {
                let others: Vec<&str> = also.iter().map(|other| other.name()).collect();
                format!("{summary}; also exhausted: {}", others.join(", "))
            }
        },
        rejected,
        also,
        stops_at,
        recommendations: advised,
        evidence,
        method: BOTTLENECK_METHOD.to_owned(),
    }
}

/// Why an explanation does not hold.
fn why_not(other: Bottleneck, class: Bottleneck, decisive: Option<&Looked>) -> String {
    let Some(looked) = decisive else { return "nothing was measured".to_owned() };
    match looked.best(other) {
        Some(measure) if measure.exhausted && other == Bottleneck::Queueing => {
            format!("{}, but behind the {}: a consequence of it", measure.says, class.name())
        }
        Some(measure) if measure.exhausted => {
            format!("{}, but in less than half of what was measured at the limit", measure.says)
        }
        Some(measure) => measure.says.clone(),
        None => match other {
            Bottleneck::Client => {
                "cannot be excluded: what would tell of the load generator was not sampled".to_owned()
            }
            Bottleneck::Gpu => "no GPU was seen".to_owned(),
            Bottleneck::Queueing => "the service says nothing of a queue".to_owned(),
            _ => "cannot be excluded: what would tell was not sampled".to_owned(),
        },
    }
}

/// Three digits, without trailing zeros.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
