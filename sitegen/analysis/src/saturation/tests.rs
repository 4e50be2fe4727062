//! Sweeps whose answers follow by hand.

use super::*;

fn sweep(curve: impl Fn(f64) -> (f64, f64)) -> Vec<Observation> {
    let one = |load: f64, factor: f64| {
        let (throughput, latency) = curve(load);
        Observation {
            load,
            throughput: Some(throughput * factor),
            latency_p99_s: Some(latency / factor),
            success_rate: Some(100.0),
        }
    };
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
        .into_iter()
        .flat_map(|load| [0.99, 1.0, 1.01].map(|factor| one(load, factor)))
        .collect()
}

/// Twelve slots of 50 ms each.
fn slots(load: f64) -> (f64, f64) {
    (load.min(12.0) / 0.05, 0.05 * (load / 12.0).max(1.0))
}

fn p99(observations: &[Observation], limit: f64) -> LimitCurve {
    LimitCurve {
        metric: "latency_p99_s".to_owned(),
        limit,
        at_most: true,
        points: observations.iter().map(|one| (one.load, one.latency_p99_s)).collect(),
    }
}

#[test]
fn every_answer_of_a_plain_sweep() {
    let observations = sweep(slots);
    let answer = saturation(&observations, &[p99(&observations, 0.1)]);
    for found in [&answer.latency_knee, &answer.throughput_saturation] {
        let (load, [low, high]) = (found.load.expect("found"), found.interval.expect("found"));
        assert!((load - 12.0).abs() < 0.5 && low <= 12.0 && 12.0 <= high && high - low < 2.0, "{found:?}");
    }
    assert!((answer.efficiency_at_saturation.expect("found") - 20.0).abs() < 0.5);
    let peak = answer.peak.as_ref().expect("there is one");
    assert!((peak.throughput - 240.0).abs() < 1e-9 && peak.alike == [16.0, 128.0], "{peak:?}");
    let [low, high] = peak.interval.expect("repeated");
    assert!(low < 240.0 && 240.0 < high && high - low < 10.0);
    let limit = &answer.slo_limits[0];
    // 66.7 ms at 16, 133.3 ms at 32.
    assert!((limit.load.expect("kept") - 24.0).abs() < 1e-9, "{limit:?}");
    let [low, high] = limit.interval.expect("repeated");
    assert!(low < 24.0 && 24.0 < high && high - low < 2.0, "{limit:?}");
    assert!((limit.headroom_percent.expect("kept") - 100.0 / 3.0).abs() < 1e-9);
    assert_eq!(answer.recommendation.basis, Basis::SloLimit);
    assert!((answer.efficiency[7].relative - 12.0 / 128.0).abs() < 1e-9);
    assert_eq!(answer.concurrency_range, Some([1.0, 128.0]));
}

#[test]
fn without_an_slo_the_smaller_knee_is_recommended() {
    let answer = saturation(&sweep(|load| (load.min(24.0), 0.05 * (load / 12.0).max(1.0))), &[]);
    assert_eq!(answer.recommendation.basis, Basis::LatencyKnee, "{answer:?}");
    let answer = saturation(&sweep(|load| (load, 0.05)), &[]);
    assert_eq!((answer.recommendation.load, answer.recommendation.basis), (None, Basis::InsufficientData));
    assert!(answer.recommendation.reason.contains("sweep beyond 128"), "{answer:?}");
}

#[test]
fn limits_that_hold_nowhere_everywhere_or_up_to_a_failure() {
    let observations = sweep(slots);
    for (limit, verdict, load) in [
        (0.01, LimitVerdict::Never, None),
        (9.0, LimitVerdict::Throughout, Some(128.0)),
        (0.1, LimitVerdict::UpTo, Some(24.0)),
    ] {
        let found = slo_limit(&p99(&observations, limit)).expect("points");
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert_eq!(found.load.map(|load| (load * 1e6).round() / 1e6), load, "{found:?}");
    }
    let mut failing = p99(&observations, 9.0);
    failing.points.iter_mut().filter(|(load, _)| *load >= 32.0).for_each(|(_, value)| *value = None);
    let found = slo_limit(&failing).expect("points");
    assert_eq!((found.verdict, found.load, found.broken_at), (LimitVerdict::UpTo, Some(16.0), Some(32.0)));
    assert_eq!(slo_limit(&LimitCurve { points: Vec::new(), ..failing }), None);
}

#[test]
fn a_limit_on_a_rate_holds_from_the_load_that_reaches_it() {
    let observations = sweep(slots);
    let rate = |limit: f64, points: Vec<(f64, Option<f64>)>| LimitCurve {
        metric: "requests_per_second".to_owned(),
        limit,
        at_most: false,
        points,
    };
    let points: Vec<_> = observations.iter().map(|one| (one.load, one.throughput)).collect();
    // 160/s at 8 clients, 240/s from 16 on.
    let found = slo_limit(&rate(200.0, points.clone())).expect("points");
    assert_eq!((found.verdict, found.from, found.load), (LimitVerdict::From, Some(12.0), Some(128.0)), "{found:?}");
    assert!(found.reason.contains("16 reaches it and 8 does not"), "{found:?}");
    let found = slo_limit(&rate(10.0, points.clone())).expect("points");
    assert_eq!((found.verdict, found.from), (LimitVerdict::Throughout, None), "{found:?}");
    let found = slo_limit(&rate(250.0, points.clone())).expect("points");
    assert_eq!((found.verdict, found.load), (LimitVerdict::Never, None), "{found:?}");
    assert!(found.reason.contains("no load swept reaches it: at most 240"), "{found:?}");
    let falling: Vec<_> = points.into_iter().map(|(x, y)| (x, y.map(|y| if x > 64.0 { y / 2.0 } else { y }))).collect();
    let found = slo_limit(&rate(200.0, falling)).expect("points");
    assert_eq!((found.verdict, found.from), (LimitVerdict::Between, Some(12.0)), "{found:?}");
    assert!(found.load.is_some_and(|load| 64.0 < load && load < 128.0), "{found:?}");

    // The smallest load that reaches the rate is beyond the largest that keeps the latency: nothing is left.
    let points: Vec<_> = observations.iter().map(|one| (one.load, one.throughput)).collect();
    let answer = saturation(&observations, &[p99(&observations, 0.051), rate(239.0, points)]);
    assert_eq!((answer.recommendation.load, answer.recommendation.basis), (None, Basis::SloLimit), "{answer:?}");
    assert!(answer.recommendation.reason.starts_with("no load keeps every limit"), "{answer:?}");
}

#[test]
fn a_usl_answer_does_not_mix_two_fits() {
    // Faster than proportional at first: σ is negative without bounds.
    let curve = |load: f64| (100.0 * load / (1.0 - 0.05 * (load - 1.0) + 0.004 * load * (load - 1.0)), 0.01);
    let usl = saturation(&sweep(curve), &[]).usl.expect("a fit");
    assert!((0.0..=1.0).contains(&usl.sigma) && usl.reason.contains("without bounds σ = -0.0"), "{usl:?}");
    let curve = |load: f64| (100.0 * load / (1.0 + 0.05 * (load - 1.0) + 0.004 * load * (load - 1.0)), 0.01);
    let usl = saturation(&sweep(curve), &[]).usl.expect("a fit");
    assert!(!usl.reason.contains("without bounds"), "{usl:?}");
}

#[test]
fn a_law_that_the_points_do_not_follow_is_not_carried() {
    let usl = saturation(&sweep(slots), &[]).usl.expect("a fit");
    assert!(!usl.supported && usl.reason.contains("do not follow the law"), "{usl:?}");
    let curve = |load: f64| (100.0 * load / (1.0 + 0.05 * (load - 1.0) + 0.001 * load * (load - 1.0)), 0.01);
    let usl = saturation(&sweep(curve), &[]).usl.expect("a fit");
    assert!(usl.supported, "{usl:?}");
}

#[test]
fn few_points_say_little() {
    for count in 0..3 {
        let answer = saturation(&sweep(slots)[..count], &[]);
        assert_eq!(answer.recommendation.basis, Basis::InsufficientData);
        assert_eq!(answer.throughput_saturation.verdict, Verdict::CannotTell);
    }
}

/// 1,000 requests a second for each of λ, σ = 0.05, κ = 0.001, three repetitions 1 % apart.
#[test]
fn parameters_of_the_law_and_efficiency_have_intervals() {
    let law = |x: f64| 1000.0 * x / (1.0 + 0.05 * (x - 1.0) + 0.001 * x * (x - 1.0));
    let answer = saturation(&sweep(|load| (law(load), 0.05)), &[]);
    let usl = answer.usl.expect("fitted");
    for (interval, truth) in [
        (usl.lambda_interval, 1000.0),
        (usl.sigma_interval, 0.05),
        (usl.kappa_interval, 1e-3),
        (usl.n_max_interval, 950_f64.sqrt()),
    ] {
        let [low, high] = interval.expect("repeated");
        assert!(low < truth && truth < high && high - low < truth, "{low} {high} {truth}");
    }
    for at in &answer.efficiency {
        let [low, high] = at.interval.expect("repeated");
        assert!(low < at.per_load && at.per_load < high && high < 1.1 * at.per_load, "{at:?}");
    }
}
