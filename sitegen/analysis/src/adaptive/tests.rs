//! Searches whose steps and ends follow by hand; `tests/saturation/adaptive.rs` counts how often they are right.

use proptest::prelude::*;

use super::*;

fn search(goal: Goal) -> Search {
    Search {
        goal,
        slo: BTreeMap::from([("latency_p99_s".to_owned(), 0.1)]),
        min: 1.0,
        max: 512.0,
        whole: true,
        precision: 0.1,
        step_repetitions: 1,
        most_steps: 40,
        most_requests: None,
        most_time_s: None,
    }
}

/// Measures until the end, which is given with all that was measured.
fn run(search: &Search, says: impl Fn(f64, usize) -> Says) -> (Vec<Measured>, End, String) {
    let mut history: Vec<Measured> = Vec::new();
    loop {
        match next_step(search, &history) {
            Step::Measure { load, reason } => {
                assert!(!reason.is_empty() && load >= search.min && load <= search.max, "{load}: {reason}");
                assert!(!search.whole || load.fract() == 0.0, "{load}");
                assert!(history.len() < search.most_steps as usize, "{reason}");
                let says = says(load, history.len());
                history.push(Measured { load, says, requests: 10 * load as u64, time_s: 1.0 });
            }
            Step::End { end, reason } => return (history, end, reason),
        }
    }
}

fn figures(throughput: f64, latency: f64) -> Says {
    let metrics = BTreeMap::from([("latency_p99_s".to_owned(), latency)]);
    Says::Figures { throughput: Some(throughput), metrics }
}

/// Forty slots of 50 ms, with a spread of 1.4 %.
fn slots(load: f64, place: usize) -> Says {
    let wobble = 1.0 + 0.01 * ((place * 7 % 5) as f64 - 2.0);
    figures(load.min(40.0) / 0.05 * wobble, 0.05 * (load / 40.0).max(1.0) / wobble)
}

#[test]
fn the_knee_and_the_limit_of_forty_slots_are_found_with_few_steps() {
    for (goal, truth) in [(Goal::Knee, 40.0), (Goal::Slo, 80.0)] {
        let search = search(goal);
        let (history, end, reason) = run(&search, slots);
        let loads: Vec<f64> = history.iter().map(|one| one.load).collect();
        assert_eq!(end, End::Found, "{reason}: {loads:?}");
        assert_eq!(loads[..4], [1.0, 4.0, 16.0, 64.0]);
        let found = estimate(&search, &history).expect("found");
        assert!((found.load / truth - 1.0).abs() < 0.1, "{found:?} of {truth}, {loads:?}");
        assert!(found.half_width().is_some_and(|half| half <= 0.1) && loads.len() <= 12, "{loads:?}");
    }
}

/// The knee lies on a load of the first steps, of which only one is smaller.
#[test]
fn a_small_knee_is_told_from_the_start_of_the_range() {
    for knee in [3.0, 4.0, 5.0, 6.0] {
        let (history, end, reason) = run(&search(Goal::Knee), |load, place| slots(load * 40.0 / knee, place));
        let loads: Vec<f64> = history.iter().map(|one| one.load).collect();
        assert!(end == End::Found && loads.len() <= 14, "{knee}, {reason}: {loads:?}");
    }
}

#[test]
fn a_rate_is_searched_with_three_digits() {
    let search = Search { whole: false, min: 12.5, max: 3000.0, ..search(Goal::Knee) };
    let (history, end, reason) = run(&search, |load, place| match slots(load / 10.0, place) {
        Says::Figures { throughput, metrics } => {
            Says::Figures { throughput: throughput.map(|each| each / 2.0), metrics }
        }
        other => other,
    });
    assert_eq!(end, End::Found, "{reason}");
    assert!(history.iter().all(|one| one.load.to_string().len() <= 5), "{history:?}");
}

#[test]
fn the_search_ends_and_says_why() {
    let straight = |load: f64, _| figures(10.0 * load, 0.01);
    let level = |load: f64, place: usize| figures(10.0 + 0.01 * (place % 3) as f64, 0.2 * load);
    let dead = |_, _| Says::Failure("connection refused".into());
    let weak = |load: f64, place| if load > 60.0 { Says::Failure("it is gone".into()) } else { straight(load, place) };
    let client = |load: f64, place: usize| match load > 10.0 {
        true => Says::Nothing("client-bound: busy".into()),
        false => slots(load, place),
    };
    type Service<'a> = &'a dyn Fn(f64, usize) -> Says;
    let cases: [(Goal, Service, End, &str); 9] = [
        (Goal::Knee, &straight, End::OutOfRange, "no knee within the range: extend beyond 512"),
        (Goal::Slo, &straight, End::OutOfRange, "p99<=0.1 holds throughout the range: extend beyond 512"),
        (Goal::Knee, &level, End::OutOfRange, "already 1 is at the knee or past it: begin lower"),
        (Goal::Slo, &level, End::OutOfRange, "already 1 breaks"),
        (Goal::Knee, &dead, End::OutOfRange, "the service fails already at 1"),
        (Goal::Slo, &dead, End::OutOfRange, "already 1 breaks"),
        (Goal::Knee, &weak, End::OutOfRange, "from where on the service fails"),
        (Goal::Knee, &client, End::NotTheService, "at 16 nothing is said of the service: client-bound: busy"),
        (Goal::Slo, &client, End::NotTheService, "client-bound"),
    ];
    for (goal, service, expected, said) in cases {
        let (history, end, reason) = run(&search(goal), service);
        let said = said.replace("p99<=0.1", &crate::slo::in_notation("latency_p99_s", 0.1));
        assert!(end == expected && reason.contains(&said), "{end:?}, {reason}, expected {said}");
        assert!(history.len() <= 20, "{}: {reason}", history.len());
    }
}

#[test]
fn the_budget_ends_a_search_with_what_is_known() {
    let precise = || Search { precision: 1e-5, ..search(Goal::Knee) };
    for (search, said) in [
        (Search { most_requests: Some(3000), ..precise() }, "budget of 3000 requests is spent"),
        (Search { most_time_s: Some(9.0), ..precise() }, "budget of 9 s is spent: the benchmarks took 9 s"),
        (Search { most_steps: 3, ..precise() }, "budget of 3 steps is spent, without an answer"),
    ] {
        let (_, end, reason) = run(&search, slots);
        assert!(end == End::Budget && reason.contains(said), "{reason}");
    }
}

#[test]
fn the_tightest_of_several_limits_counts() {
    let mut search = search(Goal::Slo);
    search.slo.insert("latency_p50_s".to_owned(), 0.06);
    let (history, _, _) = run(&search, |load, place| match slots(load, place) {
        Says::Figures { throughput, mut metrics } => {
            metrics.insert("latency_p50_s".to_owned(), metrics["latency_p99_s"]);
            Says::Figures { throughput, metrics }
        }
        other => other,
    });
    // 60 ms at 48 clients.
    let found = estimate(&search, &history).expect("found");
    assert!((found.load / 48.0 - 1.0).abs() < 0.1, "{found:?}");
}

proptest! {
    /// Whatever a service answers, the search ends, within its range and budget.
    #[test]
    fn a_search_of_anything_ends(
        values in prop::collection::vec((prop::option::of(0.0..1e6), 0.0..10.0, 0..8), 40),
        slo in any::<bool>(),
        max in 9.0..5000.0_f64,
    ) {
        let goal = if slo { Goal::Slo } else { Goal::Knee };
        let search = Search { max: max.round(), ..search(goal) };
        let (history, _, reason) = run(&search, |_, place| match values[place] {
            (_, _, 0) => Says::Failure("it failed".into()),
            (throughput, latency, _) => {
                Says::Figures { throughput, metrics: BTreeMap::from([("latency_p99_s".to_owned(), latency)]) }
            }
        });
        prop_assert!(!reason.is_empty() && history.len() <= 40);
    }
}
