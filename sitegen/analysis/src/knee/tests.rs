//! Curves whose knee is known, or that have none.

use super::*;
use crate::random::Random;

fn sweep(loads: &[f64], curve: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    loads.iter().map(|load| (*load, curve(*load))).collect()
}

fn doubling(count: u32) -> Vec<f64> {
    (0..count).map(|i| f64::from(1 << i)).collect()
}

/// Three repetitions of each point with multiplicative noise of about `spread`, from a fixed seed.
fn noisy(points: &[(f64, f64)], spread: f64, seed: u64) -> Vec<(f64, f64)> {
    let mut random = Random::new(seed);
    let mut uniform = || random.below(1_000_000) as f64 / 1e6 - 0.5;
    let repeated = points.iter().flat_map(|point| [*point; 3]);
    // Twelve uniform numbers have variance 1.
    repeated.map(|(x, y)| (x, y * (1.0 + spread * (0..12).map(|_| uniform()).sum::<f64>()))).collect()
}

/// Throughput of c servers, each with service time s, under N clients without think time.
fn servers(slots: f64, service_s: f64) -> impl Fn(f64) -> f64 {
    move |clients| clients.min(slots) / service_s
}

#[track_caller]
fn found(points: &[(f64, f64)], quantity: Quantity) -> (f64, f64, f64) {
    match knee(points, quantity) {
        Knee { answer: Answer::At { load, low, high, .. }, .. } => (load, low, high),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_grid_does_not_matter() {
    let arithmetic: Vec<f64> = (1..=32).map(f64::from).collect();
    for loads in [doubling(8), arithmetic, vec![1.0, 3.0, 5.0, 10.0, 15.0, 40.0, 41.0, 60.0]] {
        let (load, low, high) = found(&sweep(&loads, servers(12.0, 0.05)), Quantity::Throughput);
        assert!((load - 12.0).abs() < 0.1 && low <= load && load <= high, "{loads:?}: {load} [{low}, {high}]");
    }
}

#[test]
fn latency_rises_from_its_knee() {
    let latency = |clients: f64| 0.05 * (clients / 12.0).max(1.0);
    let (load, ..) = found(&sweep(&doubling(9), latency), Quantity::Latency);
    assert!((load - 12.0).abs() < 0.3, "{load}");
    // Capped by a timeout: the level end is no part of the rise.
    let capped = |clients: f64| (0.05 * (clients / 12.0).max(1.0)).min(0.3);
    let answer = knee(&sweep(&doubling(9), capped), Quantity::Latency);
    assert!((answer.answer.load().expect("a knee") - 12.0).abs() < 0.3, "{answer:?}");
    assert!(answer.reason.contains("128 on, where latency levels off"), "{answer:?}");
}

#[test]
fn no_knee_where_there_is_none() {
    let loads = doubling(9);
    type Curve = (&'static str, fn(f64) -> f64, Quantity);
    let curves: [Curve; 7] = [
        ("proportional", |x| 10.0 * x, Quantity::Throughput),
        ("a line with an offset", |x| 50.0 + 3.0 * x, Quantity::Throughput),
        ("level", |_| 700.0, Quantity::Throughput),
        ("a power law", |x| 100.0 * x.powf(0.7), Quantity::Throughput),
        ("falling", |x| 900.0 - 2.0 * x, Quantity::Throughput),
        ("level latency", |_| 0.02, Quantity::Latency),
        ("proportional latency", |x| 0.01 + 0.02 * x, Quantity::Latency),
    ];
    for (name, curve, quantity) in curves {
        let answer = knee(&sweep(&loads, curve), quantity);
        assert_eq!(answer.answer, Answer::NotInRange, "{name}: {}", answer.reason);
    }
}

#[test]
fn noise_makes_no_knee() {
    let mut wrong = Vec::new();
    for seed in 0..60 {
        for (name, curve) in [("line", (|x| 10.0 * x) as fn(f64) -> f64), ("level", |_| 700.0), ("power", |x| x.sqrt())]
        {
            let points = noisy(&sweep(&doubling(8), curve), 0.05, seed);
            if let Answer::At { load, .. } = knee(&points, Quantity::Throughput).answer {
                wrong.push((name, seed, load));
            }
        }
    }
    assert!(wrong.len() <= 3, "{wrong:?}");
}

#[test]
fn the_interval_holds_the_knee_about_as_often_as_it_says() {
    let inside = (0..60)
        .filter(|seed| {
            let points = noisy(&sweep(&doubling(9), servers(24.0, 0.1)), 0.05, *seed);
            let (_, low, high) = found(&points, Quantity::Throughput);
            (low..=high).contains(&24.0)
        })
        .count();
    assert!((53..=60).contains(&inside), "{inside} of 60");
}

#[test]
fn exact_repetitions_of_a_smooth_curve_leave_the_knee_uncertain() {
    // Saturates gradually: the low-load line and the ceiling cross at 12.
    let smooth = |clients: f64| 20.0 * clients / (1.0 + (clients / 12.0).powi(3)).cbrt();
    let points: Vec<_> = sweep(&doubling(8), smooth).into_iter().flat_map(|point| [point; 3]).collect();
    let (load, low, high) = found(&points, Quantity::Throughput);
    assert!((8.0..16.0).contains(&load) && high - low > 0.05 * load, "{load} [{low}, {high}]");
}

#[test]
fn too_little_to_tell() {
    for loads in [&[][..], &[8.0], &[1.0, 2.0], &[1.0, 10.0, 20.0], &[1.0, 4.0, 16.0, 64.0]] {
        let answer = knee(&sweep(loads, servers(10.0, 1.0)), Quantity::Throughput);
        assert_eq!(answer.answer, Answer::CannotTell, "{loads:?}: {}", answer.reason);
    }
    let broken = [(f64::NAN, 1.0), (0.0, 1.0), (1.0, f64::INFINITY), (2.0, 2.0)];
    assert_eq!(knee(&broken, Quantity::Throughput).answer, Answer::CannotTell);
}

#[test]
fn the_same_data_in_any_order_give_the_same_answer() {
    let mut points = noisy(&sweep(&doubling(9), servers(24.0, 0.1)), 0.05, 7);
    let before = knee(&points, Quantity::Throughput);
    points.reverse();
    assert_eq!(knee(&points, Quantity::Throughput), before);
}
