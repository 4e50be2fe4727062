//! Histories of known changes, and of none. The table of `docs/methodology.md`:
//! `cargo test --release -p analysis false_alarms_in_full -- --ignored --nocapture`.

use proptest::prelude::*;

use super::*;

fn indices(values: &[f64]) -> Vec<usize> {
    change_points(values).expect("finite values").into_iter().map(|change| change.index).collect()
}

/// Draws one value.
type Noise = fn(&mut Random) -> f64;

/// Noise of a history; every kind has independent values and no change.
const NOISE: [(&str, Noise); 7] = [
    ("normal", normal),
    ("lognormal, cv 0.2", |random| (0.2 * normal(random)).exp()),
    ("lognormal, cv 1.3", |random| normal(random).exp()),
    ("t, 3 degrees", |random| {
        let squares: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
        normal(random) / (squares / 3.0).sqrt()
    }),
    ("Cauchy", |random| normal(random) / normal(random)),
    ("whole numbers", |random| (20.0 + normal(random)).round()),
    ("two modes", |random| if random.below(2) == 0 { 100.0 } else { 120.0 } + normal(random)),
];

fn uniform(random: &mut Random) -> f64 {
    (random.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30)
}

fn normal(random: &mut Random) -> f64 {
    (-2.0 * uniform(random).ln()).sqrt() * (std::f64::consts::TAU * uniform(random)).cos()
}

fn history(length: usize, noise: Noise, levels: &[(usize, f64)], random: &mut Random) -> Vec<f64> {
    let level = |i: usize| levels.iter().rev().find(|(from, _)| *from <= i).map_or(0.0, |(_, level)| *level);
    (0..length).map(|i| level(i) + noise(random)).collect()
}

/// Share of histories without a change that get an answer.
fn false_alarms(length: usize, noise: Noise, histories: usize) -> f64 {
    let mut random = Random::new(length as u64);
    let alarm = |_: usize| !indices(&history(length, noise, &[], &mut random)).is_empty();
    (0..histories).map(alarm).filter(|alarm| *alarm).count() as f64 / histories as f64
}

/// Share of histories whose one step is found within one place or 5 % of the length, and share with no other answer.
fn power(length: usize, at: usize, shift: f64, noise: Noise, histories: usize) -> [f64; 2] {
    let mut random = Random::new(length as u64 + 1);
    let near = (length / 20).max(1);
    let mut counts = [0, 0];
    for _ in 0..histories {
        let found = indices(&history(length, noise, &[(at, shift)], &mut random));
        counts[0] += usize::from(found.iter().any(|index| index.abs_diff(at) <= near));
        counts[1] += usize::from(found.len() == 1 && found[0].abs_diff(at) <= near);
    }
    counts.map(|count| count as f64 / histories as f64)
}

#[test]
fn noise_has_no_change() {
    for length in [8, 13, 30] {
        // The shortest histories cannot tell two modes from two levels.
        for (name, noise) in NOISE.into_iter().filter(|(name, _)| length > SHORTEST || *name != "two modes") {
            let share = false_alarms(length, noise, 100);
            // 1 % is nominal; six or more of a hundred would come by chance once in 2000 times.
            assert!(share <= 0.05, "{name}, {length} values: {share}");
        }
    }
}

#[test]
fn a_step_is_found() {
    for (length, at, shift, least) in [
        (8, 4, 12.0, 0.7),
        (11, 6, 20.0, 0.9),
        (13, 8, 20.0, 0.9),
        (12, 6, 6.0, 0.85),
        (20, 14, 4.0, 0.8),
        (60, 30, 2.0, 0.9),
    ] {
        let [found, alone] = power(length, at, shift, normal, 25);
        assert!(found >= least && alone >= least - 0.1, "{length} values, step of {shift}: {found}, {alone}");
    }
}

/// Noise that follows itself, each value `phi` of the one before and the rest its own.
fn following(length: usize, phi: f64, random: &mut Random) -> Vec<f64> {
    let mut value = normal(random);
    let fresh = (1.0 - phi * phi).sqrt();
    let mut next = || {
        value = phi * value + fresh * normal(random);
        value
    };
    (0..length).map(|_| next()).collect()
}

/// The table of `docs/methodology.md`.
#[test]
#[ignore = "takes minutes; prints what docs/methodology.md shows"]
fn false_alarms_in_full() {
    const HISTORIES: usize = 500;
    const OTHERS: [&str; 3] = ["φ = 0.3", "φ = 0.6", "spread × 5 half-way"];
    let names: Vec<&str> = NOISE.iter().map(|(name, _)| *name).chain(OTHERS).collect();
    println!("| values | {} |\n|---{}|", names.join(" | "), "|---".repeat(names.len()));
    for length in [8, 12, 14, 20, 30, 50, 100, 200] {
        let mut random = Random::new(length as u64);
        let mut other = |kind: &str| match kind {
            "φ = 0.3" => following(length, 0.3, &mut random),
            "φ = 0.6" => following(length, 0.6, &mut random),
            _ => (0..length).map(|i| normal(&mut random) * if i < length / 2 { 1.0 } else { 5.0 }).collect(),
        };
        let mut share = |kind: &str| {
            let alarms = (0..HISTORIES).filter(|_| !indices(&other(kind)).is_empty()).count();
            alarms as f64 / HISTORIES as f64
        };
        let shares: Vec<String> = NOISE
            .iter()
            .map(|(_, noise)| false_alarms(length, *noise, HISTORIES))
            .chain(OTHERS.map(&mut share))
            .map(|share| format!("{:.1} %", share * 100.0))
            .collect();
        println!("| {length} | {} |", shares.join(" | "));
    }
}

#[test]
fn exact_levels() {
    let repeated = |levels: &[(f64, usize)]| -> Vec<f64> {
        levels.iter().flat_map(|(level, count)| std::iter::repeat_n(*level, *count)).collect()
    };
    for (levels, expected) in [
        (&[(5.0, 3), (6.0, 3), (7.0, 3)][..], &[3, 6][..]),
        (&[(100.0, 20), (101.0, 20)], &[20]),
        (&[(1e9, 15), (1e9 + 1.0, 15)], &[15]),
        (&[(-1.0, 12), (0.0, 12), (-1.0, 12)], &[12, 24]),
        (&[(3.0, 20), (30.0, 1), (3.0, 20)], &[]),
        (&[(3.0, 20), (30.0, 2), (3.0, 20)], &[]),
        (&[(3.0, 40)], &[]),
        (&[(3.0, 3), (4.0, 2)], &[]),
        (&[], &[]),
    ] {
        assert_eq!(indices(&repeated(levels)), expected, "{levels:?}");
    }
}

#[test]
fn outliers_and_spread_are_no_level() {
    let mut random = Random::new(11);
    let mut values = history(80, normal, &[(0, 100.0), (40, 110.0)], &mut random);
    (values[10], values[11], values[60]) = (300.0, 280.0, -50.0);
    assert_eq!(indices(&values), [40]);
    let mut answered = 0;
    for _ in 0..40 {
        let mut values = history(90, normal, &[], &mut random);
        values[45..].iter_mut().for_each(|value| *value *= 4.0);
        answered += usize::from(!indices(&values).is_empty());
    }
    assert!(answered <= 3, "{answered} of 40");
}

#[test]
fn what_is_told_of_a_change() {
    let mut random = Random::new(2);
    let values = history(60, normal, &[(0, 100.0), (20, 120.0), (23, 100.0)], &mut random);
    let changes = change_points(&values).expect("finite values");
    assert_eq!(changes.iter().map(|change| change.index).collect::<Vec<_>>(), [20, 23]);
    let up = changes[0];
    assert!((up.mean_before - 100.0).abs() < 1.0 && (up.mean_after - 120.0).abs() < 2.0 && up.p <= ALPHA, "{up:?}");
    assert!((up.relative_change.expect("defined") - 0.2).abs() < 0.03);
    // The unit of the values does not matter, nor does the direction.
    for factor in [1e-200, -1.0, 1e200] {
        assert_eq!(indices(&values.iter().map(|value| value * factor).collect::<Vec<_>>()), [20, 23]);
    }
    assert_eq!(change_points(&[1.0, f64::NAN]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_finite_history_is_answered(
        values in proptest::collection::vec(prop_oneof![-1e308..1e308_f64, (-9..9_i32).prop_map(f64::from), Just(0.0), Just(5e-324)], 0..60),
    ) {
        let found = indices(&values);
        prop_assert!(found.windows(2).all(|pair| pair[0] + SHORTEST_LEVEL <= pair[1]));
        prop_assert!(found.iter().all(|index| *index >= SHORTEST_LEVEL && index + SHORTEST_LEVEL <= values.len()));
    }
}
