//! What the recipe says about the load → the load driver's terms, and how long it will take.

use serde_json::Value;

use crate::{
    load::{Arrival, LoadSpec, Precision, Quantity, Step, Stop, Trace, Warmup, mean_level, total_s},
    recipe::{Benchmarks, Load, LoadModel, LoadStep, PrecisionWanted, Recipe},
    services::LoadDefaults,
};

/// The load of a resolved recipe. `cores` is what the load generator may use.
///
/// Each of `num_clients` clients keeps `concurrent_requests` in flight, each on a connection of its own: the
/// driver's clients are those connections, and share their client's requests and its start delay evenly.
/// Errs with the dotted path of the field and a message.
pub fn load_spec(
    recipe: &Recipe,
    defaults: &LoadDefaults,
    trace: Option<&Trace>,
    seed: u64,
    cores: u32,
) -> Result<LoadSpec, (&'static str, String)> {
    let benchmarks = &recipe.benchmarks;
    let connections = defaults.concurrency_per_client.max(1);
    let Some(clients) = benchmarks.num_clients.checked_mul(connections).filter(|clients| *clients <= MAX_CONNECTIONS)
    else {
        let message = format!(
            "{} clients with {connections} connections each are more than {MAX_CONNECTIONS} connections",
            benchmarks.num_clients
        );
        return Err(("benchmarks.num_clients", message));
    };
    let closed = benchmarks.load.model == LoadModel::Closed;
    let scale = if closed { f64::from(connections) } else { 1.0 };
    let steps: Vec<Step> = benchmarks.load.steps.iter().map(|step| level(step, scale)).collect();
    let mut arrival = arrival(&benchmarks.load, &steps, trace);
    let duration_s = benchmarks.duration.or_else(|| total_s(&steps));
    let requests = match (benchmarks.num_requests, duration_s) {
        (Some(requests), _) if !closed => Some(requests),
        (Some(requests), _) => Some(share(requests, connections, "benchmarks.num_requests")?),
        (None, Some(_)) => None,
        // What is left of the trace after its warm-up.
        (None, None) if matches!(arrival, Arrival::Trace { .. }) => Some(replayed(benchmarks, trace)?),
        (None, None) if !closed => Some(defaults.requests_per_client.saturating_mul(u64::from(benchmarks.num_clients))),
        (None, None) => Some(share(defaults.requests_per_client, connections, "client.settings.concurrent_requests")?),
    };
    if let (Arrival::Trace { speed, rate, .. }, Some(trace)) = (&mut arrival, trace) {
        *rate = measured_rate(benchmarks, trace, *speed, requests, duration_s);
    }
    let warmup_requests =
        if closed { benchmarks.warmup_requests.div_ceil(u64::from(connections)) } else { benchmarks.warmup_requests };
    let threads = defaults.threads.unwrap_or(cores.saturating_sub(1)).clamp(1, clients);
    Ok(LoadSpec {
        arrival,
        clients,
        threads,
        stop: Stop { requests, duration_s },
        warmup: Warmup { duration_s: benchmarks.warmup, requests: warmup_requests },
        stagger_s: benchmarks.client_delay / f64::from(connections),
        timeout_s: benchmarks.timeout,
        pipeline: defaults.pipeline,
        seed,
        steps,
        precision: benchmarks.precision.as_ref().and_then(precision),
    })
}

fn arrival(load: &Load, steps: &[Step], trace: Option<&Trace>) -> Arrival {
    // A load without any rate has a finding of its own.
    let rate = mean_level(steps).or(load.rate).unwrap_or(1.0);
    match (load.model, trace) {
        (LoadModel::Closed, _) => Arrival::Closed { think_time_s: load.think_time },
        (LoadModel::Poisson, _) => Arrival::Poisson { rate },
        (LoadModel::Gamma, _) => Arrival::Gamma { rate, shape: load.shape.unwrap_or(1.0) },
        (LoadModel::Trace, Some(trace)) => {
            let speed = load.speed.unwrap_or(1.0);
            let (sha256, requests) = (trace.sha256.clone(), trace.arrivals.len() as u64);
            Arrival::Trace { sha256, speed, requests, rate: trace.rate() * speed }
        }
        // A trace that cannot be read has a finding of its own.
        (LoadModel::Constant | LoadModel::Trace, _) => Arrival::Constant { rate },
    }
}

fn level(step: &LoadStep, scale: f64) -> Step {
    let from = step.rate.or(step.clients.map(f64::from)).unwrap_or(0.0);
    Step { from: from * scale, to: step.to.unwrap_or(from) * scale, duration_s: step.duration.unwrap_or(0.0) }
}

/// Requests of the trace that are measured; the warm-up is its head.
fn replayed(benchmarks: &Benchmarks, trace: Option<&Trace>) -> Result<u64, (&'static str, String)> {
    let speed = benchmarks.load.speed.unwrap_or(1.0);
    let arrivals = trace.map(|trace| trace.arrivals.as_slice()).unwrap_or_default();
    let timed = arrivals.iter().take_while(|arrived| arrived.offset_s / speed < benchmarks.warmup).count() as u64;
    let measured = (arrivals.len() as u64).saturating_sub(timed.max(benchmarks.warmup_requests));
    match measured {
        0 if trace.is_some() => Err(("benchmarks.warmup", "the warm-up takes the whole trace: make it shorter".into())),
        measured => Ok(measured),
    }
}

/// Mean arrivals per second of the part of a trace that is measured, as the trace's own [`Trace::rate`].
fn measured_rate(
    benchmarks: &Benchmarks,
    trace: &Trace,
    speed: f64,
    requests: Option<u64>,
    duration_s: Option<f64>,
) -> f64 {
    let times: Vec<f64> = trace.arrivals.iter().map(|arrived| arrived.offset_s / speed).collect();
    let first = times.partition_point(|at| *at < benchmarks.warmup).max(benchmarks.warmup_requests as usize);
    // The window begins when the warm-up is over, counted warm-up with its first request.
    let by_count = benchmarks.warmup_requests > 0 && first as u64 == benchmarks.warmup_requests;
    let start = if by_count { times.get(first).copied().unwrap_or(0.0) } else { benchmarks.warmup };
    let by_time = duration_s.map_or(times.len(), |length| times.partition_point(|at| *at < start + length));
    let by_count = requests.map_or(times.len(), |count| first.saturating_add(count as usize));
    let measured = times.get(first..by_time.min(by_count).min(times.len())).unwrap_or_default();
    let gaps = measured.len().saturating_sub(1) as f64;
    match (measured.first(), measured.last()) {
        (Some(first), Some(last)) if last > first => gaps / (last - first),
        // All at once, or nothing: no rate can be told.
        _ => trace.rate() * speed,
    }
}

fn precision(wanted: &PrecisionWanted) -> Option<Precision> {
    let (quantity, percentile) = wanted.metric.split_once("_p")?;
    let quantity = if quantity == "ttft" { Quantity::Ttft } else { Quantity::Latency };
    Some(Precision { quantity, share: percentile.parse::<f64>().ok()? / 100.0, width: wanted.width })
}

/// Most connections of one load generator.
const MAX_CONNECTIONS: u32 = 1_000_000;

fn share(requests: u64, connections: u32, path: &'static str) -> Result<u64, (&'static str, String)> {
    let connections = u64::from(connections);
    if requests.is_multiple_of(connections) {
        return Ok(requests / connections);
    }
    let message = format!(
        "{connections} connections cannot share the {requests} requests of a client evenly: make the number of \
         requests a multiple of {connections}, or give `benchmarks.duration`"
    );
    Err((path, message))
}

/// Seconds from readiness to the last answer, where time or rate decides it; without start and stop of the
/// service.
pub fn estimate(spec: &LoadSpec, warmup_delay_s: f64) -> Option<f64> {
    let rate = spec.requested_rate();
    let by_count = |requests: u64| rate.map(|rate| requests as f64 / rate);
    let warmup = match spec.warmup.requests {
        0 => spec.warmup.duration_s,
        requests => by_count(requests)?.max(spec.warmup.duration_s),
    };
    let window = match (spec.stop.duration_s, spec.stop.requests.and_then(by_count)) {
        (Some(duration), Some(counted)) => duration.min(counted),
        (Some(duration), None) => duration,
        (None, counted) => counted?,
    };
    let last_start = if rate.is_none() { spec.stagger_s * f64::from(spec.clients - 1) } else { 0.0 };
    Some(warmup_delay_s + last_start.max(warmup) + window)
}

/// The limits of a resolved recipe: stored metric name → limit.
pub fn limits(recipe: &Recipe) -> std::collections::BTreeMap<String, f64> {
    let limit = |(metric, value): (&String, &Value)| Some((metric.clone(), value.as_f64()?));
    recipe.benchmarks.slo.iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::trace::Arrived;

    fn defaults(requests: u64, connections: u32) -> LoadDefaults {
        LoadDefaults {
            requests_per_client: requests,
            concurrency_per_client: connections,
            pipeline: 1,
            warmup_delay_s: 0.0,
            threads: None,
        }
    }

    fn recipe(benchmarks: Benchmarks) -> Recipe {
        Recipe { benchmarks, ..Recipe::default() }
    }

    #[test]
    fn a_clients_requests_are_shared_by_its_connections() {
        let written = recipe(Benchmarks { num_clients: 3, client_delay: 1.0, ..Benchmarks::default() });
        let spec = load_spec(&written, &defaults(100, 4), None, 7, 8).expect("a load");
        assert_eq!((spec.clients, spec.threads, spec.stop.requests), (12, 7, Some(25)));
        assert_eq!(spec.stagger_s, 0.25);
        assert!(load_spec(&written, &defaults(50, 4), None, 7, 8).is_err());
        let timed = recipe(Benchmarks { duration: Some(2.0), ..written.benchmarks });
        assert_eq!(load_spec(&timed, &defaults(50, 4), None, 7, 8).expect("a load").stop.requests, None);
    }

    #[test]
    fn threads_are_one_fewer_than_the_cores_and_never_more_than_the_clients() {
        for (clients, cores, threads) in [(1, 8, 1), (4, 1, 1), (4, 2, 1), (4, 3, 2), (4, 64, 4)] {
            let written = recipe(Benchmarks { num_clients: clients, ..Benchmarks::default() });
            assert_eq!(load_spec(&written, &defaults(1, 1), None, 7, cores).expect("a load").threads, threads);
        }
    }

    #[test]
    fn open_loop_counts_all_clients_together() {
        let load = Load { model: LoadModel::Poisson, rate: Some(50.0), ..Load::default() };
        let written = recipe(Benchmarks { num_clients: 4, load, warmup: 2.0, ..Benchmarks::default() });
        let spec = load_spec(&written, &defaults(100, 2), None, 7, 2).expect("a load");
        assert_eq!((spec.clients, spec.stop.requests), (8, Some(400)));
        assert_eq!(estimate(&spec, 1.0), Some(1.0 + 2.0 + 8.0));
    }

    #[test]
    fn steps_end_the_load_and_count_connections_in_closed_loop() {
        let step = |rate, clients, to| LoadStep { rate, clients, to, duration: Some(2.0) };
        let load = |model, steps| {
            recipe(Benchmarks { load: Load { model, steps, ..Load::default() }, ..Benchmarks::default() })
        };
        let closed = load(LoadModel::Closed, vec![step(None, Some(2), None), step(None, Some(2), Some(4.0))]);
        let spec = load_spec(&closed, &defaults(7, 3), None, 1, 2).expect("a load");
        assert_eq!(spec.stop, Stop { requests: None, duration_s: Some(4.0) });
        assert_eq!(spec.steps[1], Step { from: 6.0, to: 12.0, duration_s: 2.0 });
        let open = load(LoadModel::Gamma, vec![step(Some(100.0), None, Some(300.0))]);
        let spec = load_spec(&open, &defaults(7, 3), None, 1, 2).expect("a load");
        assert_eq!((spec.requested_rate(), estimate(&spec, 0.0)), (Some(200.0), Some(2.0)));
        assert_eq!(spec.arrival, Arrival::Gamma { rate: 200.0, shape: 1.0 }, "what is archived is the real mean");
    }

    #[test]
    fn a_trace_ends_where_its_warm_up_leaves_it() {
        let arrivals =
            [0.0, 1.0, 2.0, 4.0].map(|offset_s| Arrived { offset_s, input_tokens: None, output_tokens: None });
        let trace = Trace::of(arrivals.to_vec());
        let load = Load { model: LoadModel::Trace, speed: Some(2.0), ..Load::default() };
        let replay = |warmup| recipe(Benchmarks { load: load.clone(), warmup, ..Benchmarks::default() });
        let spec = load_spec(&replay(0.6), &defaults(7, 1), Some(&trace), 1, 2).expect("a load");
        // The rate is that of what is measured, here from 1 s to 2 s, not of the whole file.
        assert_eq!((spec.stop.requests, spec.requested_rate()), (Some(2), Some(1.0)));
        let cut = recipe(Benchmarks { num_requests: Some(3), ..replay(0.0).benchmarks });
        assert_eq!(load_spec(&cut, &defaults(7, 1), Some(&trace), 1, 2).expect("a load").requested_rate(), Some(2.0));
        let timed = recipe(Benchmarks { duration: Some(0.9), ..replay(0.0).benchmarks });
        assert_eq!(load_spec(&timed, &defaults(7, 1), Some(&trace), 1, 2).expect("a load").requested_rate(), Some(2.0));
        assert!(load_spec(&replay(3.0), &defaults(7, 1), Some(&trace), 1, 2).is_err());
    }

    #[test]
    fn a_closed_loop_that_ends_by_count_has_no_known_length() {
        let counted = recipe(Benchmarks::default());
        assert_eq!(estimate(&load_spec(&counted, &defaults(9, 1), None, 7, 2).expect("a load"), 0.0), None);
        let timed = recipe(Benchmarks { duration: Some(2.0), warmup: 0.5, ..Benchmarks::default() });
        assert_eq!(estimate(&load_spec(&timed, &defaults(9, 1), None, 7, 2).expect("a load"), 0.0), Some(2.5));
    }
}
