//! What a sweep says, against curves whose truth is known.
//!
//! Small here; `CURVES=20000 cargo test --release -p analysis --test saturation -- --nocapture` runs the same tests on
//! more curves and prints the tables of `docs/methodology.md`; `SEED` makes other ones.

mod adaptive;
mod families;

use std::collections::BTreeMap;

use analysis::{
    Answer, knee,
    saturation::{LimitCurve, Observation, saturation, slo_limit},
};
use families::{Draw, Family};

const NOISE: [f64; 4] = [0.0, 0.03, 0.05, 0.1];

/// Seeds start here: another `SEED` makes curves that no method was looked at with.
fn first_seed() -> u64 {
    std::env::var("SEED").map_or(0, |text| text.parse().expect("SEED is a number"))
}

/// How many curves a test draws.
fn curves(small: u64) -> u64 {
    std::env::var("CURVES").map_or(small, |text| text.parse().expect("CURVES is a number"))
}

/// Name of the family → curves, and those with a right answer. Noise, repetitions and outliers vary.
fn score(count: u64, make: fn(&mut Draw) -> Family) -> (usize, usize) {
    let mut scores: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for seed in first_seed()..first_seed() + count {
        let mut draw = Draw::new(seed);
        let family = make(&mut draw);
        let cv = NOISE[draw.below(NOISE.len())];
        let repetitions = [1, 3][draw.below(2)];
        let outliers = usize::from(draw.unit() < 0.2 && cv > 0.0);
        let mut points = family.points(&mut draw, cv, repetitions, outliers);
        if draw.unit() < 0.1 {
            points.reverse();
        }
        let answer = knee(&points, family.quantity).answer.load();
        let score = scores.entry(family.name).or_default();
        score.0 += 1;
        score.1 += usize::from(family.accepts(answer, cv));
    }
    for (name, (count, right)) in &scores {
        println!("| {name} | {count} | {:.1} % |", *right as f64 / *count as f64 * 100.0);
    }
    scores.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

#[test]
fn the_knee_is_right_on_curves_of_many_kinds() {
    let (count, right) = score(curves(600), families::with_knee);
    println!("| all with a knee | {count} | {:.2} % |", right as f64 / count as f64 * 100.0);
    assert!(right as f64 >= 0.95 * count as f64, "{right} of {count}");
}

#[test]
fn curves_without_a_knee_have_none() {
    let (count, right) = score(curves(1000), families::without_knee);
    println!("| all without a knee | {count} | {:.2} % |", right as f64 / count as f64 * 100.0);
    assert!(right as f64 >= 0.99 * count as f64, "{right} of {count}");
}

/// The knee's interval holds the truth as often as it says, at every noise, on both kinds of grid.
#[test]
fn the_interval_of_the_knee_holds_the_truth() {
    type Make = fn(&mut Draw, Vec<f64>, f64) -> Family;
    let makes: [Make; 3] = [families::two_lines, families::two_lines_latency, families::usl_family];
    let count = curves(1080) / 18;
    let mut all = (0, 0);
    for make in makes {
        for grid in ["geometric", "arithmetic"] {
            for cv in [0.03, 0.05, 0.1] {
                let (mut name, mut answers, mut covered) = ("", 0, 0);
                let (mut widths, mut errors) = (Vec::new(), Vec::new());
                for seed in first_seed()..first_seed() + count {
                    let mut draw = Draw::new(seed);
                    let loads = match grid {
                        "geometric" => families::doubling(9),
                        _ => (1..=12).map(|i| f64::from(i) * 8.0).collect(),
                    };
                    let family = make(&mut draw, loads, 100.0);
                    let points = family.points(&mut draw, cv, 3, 0);
                    let truth = family.knee.expect("these have one");
                    name = family.name;
                    if let Answer::At { load, low, high, .. } = knee(&points, family.quantity).answer {
                        answers += 1;
                        covered += usize::from((low..=high).contains(&truth));
                        widths.push((high - low) / truth);
                        errors.push((load / truth - 1.0).abs());
                    }
                }
                let median = |values: &mut Vec<f64>| {
                    values.sort_by(f64::total_cmp);
                    values[values.len() / 2] * 100.0
                };
                println!(
                    "| {name} | {grid} | {:.0} % | {answers} of {count} | {:.1} % | {:.0} % | {:.1} % |",
                    cv * 100.0,
                    covered as f64 / answers as f64 * 100.0,
                    median(&mut widths),
                    median(&mut errors)
                );
                // Four standard deviations of a count beside the band of 90 to 98 %, which the full run is held to.
                let slack = 4.0 * (0.05 * 0.95 / answers as f64).sqrt();
                let share = covered as f64 / answers as f64;
                assert!(answers as f64 >= 0.9 * count as f64, "{name}, {grid}, {cv}: {answers} answers of {count}");
                assert!((0.92 - slack..=0.97 + slack).contains(&share), "{name}, {grid}, {cv}: {share} covered");
                all = (all.0 + answers, all.1 + covered);
            }
        }
    }
    let share = all.1 as f64 / all.0 as f64;
    assert!((0.92..=0.98).contains(&share), "{share} of {} covered", all.0);
}

/// The interval of the SLO limit, over curves with their limit between two loads.
#[test]
fn the_interval_of_the_slo_limit_holds_the_truth() {
    let count = curves(400);
    for cv in [0.03, 0.05, 0.1] {
        let (mut covered, mut answers, mut widths) = (0, 0, Vec::new());
        for seed in first_seed()..first_seed() + count {
            let mut draw = Draw::new(seed);
            let (loads, knee) = (families::doubling(9), draw.scale(4.0, 32.0));
            let truth = knee * draw.between(1.3, 4.0);
            let latency = |load: f64| 0.05 * (load / knee).max(1.0);
            let points = loads.iter().flat_map(|load| [*load; 3]);
            let points = points.map(|load| (load, Some(latency(load) * draw.noise(cv)))).collect();
            let curve = LimitCurve { metric: "latency_p99_s".into(), limit: latency(truth), at_most: true, points };
            let Some([low, high]) = slo_limit(&curve).expect("points").interval else { continue };
            answers += 1;
            covered += usize::from((low..=high).contains(&truth));
            widths.push((high - low) / truth);
        }
        widths.sort_by(f64::total_cmp);
        let share = covered as f64 / answers as f64;
        println!(
            "| SLO limit | {:.0} % | {answers} of {count} | {:.1} % | {:.0} % |",
            cv * 100.0,
            share * 100.0,
            widths[widths.len() / 2] * 100.0
        );
        let slack = 4.0 * (0.05 * 0.95 / answers as f64).sqrt();
        assert!((0.92 - slack..=0.97 + slack).contains(&share), "{cv}: {share} covered");
    }
}

/// The interval of the peak, over curves whose largest true value among the loads swept is known.
#[test]
fn the_interval_of_the_peak_holds_the_truth() {
    type Make = fn(&mut Draw, Vec<f64>, f64) -> Family;
    let count = curves(400);
    for make in [families::two_lines as Make, families::usl_family] {
        for cv in [0.03, 0.05, 0.1] {
            let (mut name, mut covered, mut alike, mut widths) = ("", 0, 0, Vec::new());
            for seed in first_seed()..first_seed() + count {
                let mut draw = Draw::new(seed);
                let family = make(&mut draw, families::doubling(9), 100.0);
                name = family.name;
                let top = family.loads.iter().copied().max_by(|a, b| (family.curve)(*a).total_cmp(&(family.curve)(*b)));
                let top = top.expect("loads");
                let truth = (family.curve)(top);
                let observe =
                    |(load, throughput)| Observation { load, throughput: Some(throughput), ..Default::default() };
                let observed: Vec<Observation> = family.points(&mut draw, cv, 3, 0).into_iter().map(observe).collect();
                let peak = saturation(&observed, &[]).peak.expect("points");
                let [low, high] = peak.interval.expect("repetitions");
                covered += usize::from((low..=high).contains(&truth));
                alike += usize::from((peak.alike[0]..=peak.alike[1]).contains(&top));
                widths.push((high - low) / truth);
            }
            widths.sort_by(f64::total_cmp);
            let share = covered as f64 / count as f64;
            let slack = 4.0 * (0.05 * 0.95 / count as f64).sqrt();
            assert!((0.92 - slack..=0.98 + slack).contains(&share), "{name}, {cv}: {share} covered");
            println!(
                "| peak, {name} | {:.0} % | {:.1} % | {:.1} % | {:.0} % |",
                cv * 100.0,
                share * 100.0,
                alike as f64 / count as f64 * 100.0,
                widths[widths.len() / 2] * 100.0
            );
        }
    }
}
