use archive::Request;

use super::*;
use crate::{Arrival, Facts, RecordError, summarise};

/// `fast` requests of 10 ms, `slow` of 100 ms and `failed` ones, evenly over ten seconds.
fn summary(fast: usize, slow: usize, failed: usize) -> Summary {
    let total = fast + slow + failed;
    let request = |i: usize| Request {
        operation: "GET".into(),
        start_s: 10.0 * i as f64 / total as f64,
        latency_s: if i < fast { 0.01 } else { 0.1 },
        success: i < fast + slow,
        ..Request::default()
    };
    let facts = Facts {
        service_type: "redis".into(),
        started_at: None,
        window_s: [0.0, 10.0],
        arrival: Arrival::Closed,
        timed_clients: None,
        most_in_flight: None,
        slo: BTreeMap::new(),
        clocks: None,
        service_restarts: None,
        calibration: None,
        generator: None,
        repeats_prompts: false,
        status: archive::Status::Completed,
    };
    let requests: Vec<_> = (0..total).map(request).collect();
    summarise(&facts, || Ok::<_, RecordError>(requests.iter().cloned().map(Ok))).expect("a summary")
}

fn one(metric: &str, limit: f64, summary: &Summary) -> LimitCheck {
    check_one(metric, limit, summary)
}

#[test]
fn a_percentile_is_judged_by_its_interval() {
    use Verdict::{CannotTell, Met, Violated};
    for (fast, slow, failed, metric, limit, verdict, reason) in [
        (1000, 0, 0, "latency_p99_s", 0.05, Met, "whole 95 % interval keeps"),
        (1000, 0, 0, "latency_p99_s", 0.005, Violated, "lies beyond"),
        (1000, 5, 0, "latency_p99_s", 0.05, CannotTell, "within the 95 % interval"),
        (1000, 3, 0, "latency_p99_s", 0.05, Met, "keeps"),
        (1000, 30, 0, "latency_p99_s", 0.05, Violated, "lies beyond"),
        // Too few for the upper bound, yet enough to see that it is broken.
        (300, 0, 0, "latency_p99_s", 0.05, CannotTell, "300 requests do not bound p99 from above: it takes 368"),
        (200, 100, 0, "latency_p99_s", 0.05, Violated, "lies beyond"),
        // Fast answers beside many failures are no good service.
        (1000, 0, 100, "latency_p99_s", 0.05, Violated, "100 of 1100 requests failed"),
        (1000, 0, 8, "latency_p99_s", 0.05, CannotTell, "8 of 1008 requests failed"),
        (1000, 0, 100, "latency_p50_s", 0.05, Met, "keeps"),
        (1000, 0, 0, "latency_p97.5_s", 0.05, Met, "keeps"),
        (1000, 0, 0, "service_time_p99_s", 0.05, Met, "keeps"),
        (1000, 0, 0, "ttft_p99_s", 0.05, CannotTell, "no request has this figure"),
        (0, 0, 20, "latency_p99_s", 0.05, Violated, "no request succeeded"),
        (1000, 0, 0, "speed_p99_s", 0.05, CannotTell, "not known"),
    ] {
        let found = one(metric, limit, &summary(fast, slow, failed));
        assert_eq!(found.verdict, verdict, "{fast} {slow} {failed} {metric} {limit}: {found:?}");
        assert!(found.reason.contains(reason), "{found:?}");
    }
}

#[test]
fn the_value_and_the_interval_are_those_of_the_sample() {
    let summary = summary(900, 100, 0);
    let found = one("latency_p90_s", 1.0, &summary);
    assert_eq!(found.value, summary.latency_s.figures.p90);
    let Interval { low: Some(low), high: Some(high) } = found.interval.expect("an interval") else {
        panic!("{found:?}")
    };
    assert!((low / 0.01 - 1.0).abs() < 1e-3 && (high / 0.1 - 1.0).abs() < 1e-3, "{low} {high}");
    let other = one("latency_p97.5_s", 1.0, &summary).value.expect("from the histogram");
    assert!((other / 0.1 - 1.0).abs() < 1e-3, "{other}");
}

#[test]
fn shares_means_and_rates() {
    use Verdict::{CannotTell, Met, Violated};
    for (fast, slow, failed, metric, limit, verdict) in [
        (1000, 0, 0, "success_rate", 99.0, Met),
        (200, 0, 0, "success_rate", 99.0, CannotTell),
        (200, 0, 0, "success_rate", 100.0, Met),
        (200, 0, 1, "success_rate", 100.0, Violated),
        (900, 0, 100, "success_rate", 99.0, Violated),
        (900, 0, 100, "error_rate", 5.0, Violated),
        (1000, 0, 0, "error_rate", 1.0, Met),
        (1000, 0, 0, "latency_avg_s", 0.02, Met),
        (500, 500, 0, "latency_avg_s", 0.02, Violated),
        (20, 0, 0, "latency_avg_s", 0.02, CannotTell),
        (1000, 1, 0, "latency_max_s", 0.02, Violated),
        (1000, 1, 0, "latency_min_s", 0.02, Met),
        (1000, 0, 0, "requests_per_second", 90.0, Met),
        (1000, 0, 0, "requests_per_second", 120.0, Violated),
        (1000, 0, 0, "tokens_per_second", 120.0, CannotTell),
        (0, 0, 0, "success_rate", 99.0, CannotTell),
    ] {
        let found = one(metric, limit, &summary(fast, slow, failed));
        assert_eq!(found.verdict, verdict, "{fast} {slow} {failed} {metric} {limit}: {found:?}");
    }
}

/// The interval of p90 covers the truth of an exponential distribution as often as it says.
#[test]
fn intervals_cover() {
    let mut random = crate::random::Random::new(7);
    let mut draw = || random.below(1 << 52) as f64 / (1u64 << 52) as f64;
    let truth = -0.1_f64.ln();
    let (mut covered, runs) = (0, 1000);
    for _ in 0..runs {
        let mut values: Vec<f64> = (0..200).map(|_| -(1.0 - draw()).ln()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = interval::ranks(200, 0.9);
        let (low, high) = (low.expect("bounded") as usize, high.expect("bounded") as usize);
        covered += usize::from(values[low - 1] <= truth && truth <= values[high - 1]);
    }
    assert!((940..=985).contains(&covered), "{covered} of {runs}");
}
