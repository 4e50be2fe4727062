//! Against figures of other programs, against brute force, and on any finite input.

use proptest::prelude::*;

use super::*;
use crate::random::Random;

fn of(base: &[f64], candidate: &[f64]) -> Comparison {
    TwoSamples::new(base, candidate).expect("finite values").compare()
}

/// Figures of scipy, made by `scripts/reference-figures.py`.
#[test]
fn as_scipy_has_it() {
    let text = include_str!("../../tests/two-sample.json");
    let cases: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let cases = cases["cases"].as_array().expect("cases");
    assert!(cases.len() >= 12);
    for case in cases {
        let values = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).expect("numbers");
        let ours = serde_json::to_value(of(&values("base"), &values("candidate"))).expect("JSON");
        assert_matches(&ours, &case["result"], &case["id"].to_string());
    }
}

/// Every figure of the expected, to a relative 1e-9 or an absolute 1e-12.
fn assert_matches(ours: &serde_json::Value, expected: &serde_json::Value, at: &str) {
    match expected {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                assert_matches(&ours[name], field, &format!("{at}.{name}"));
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| assert_matches(&ours[i], item, &format!("{at}[{i}]")));
        }
        serde_json::Value::Number(number) => {
            let (value, expected) = (ours.as_f64().unwrap_or(f64::NAN), number.as_f64().expect("a number"));
            assert!((value - expected).abs() <= (1e-9 * expected.abs()).max(1e-12), "{at}: {value} is not {expected}");
        }
        other => assert_eq!(ours, other, "{at}"),
    }
}

#[test]
fn one_value_each() {
    let one = of(&[100.0], &[110.0]);
    assert_eq!((one.welch, one.bootstrap_ratio_of_medians, one.sd), (None, None, [None, None]));
    assert_eq!((one.mann_whitney.p_exact, one.mann_whitney.p_exact_greater), (Some(1.0), Some(0.5)));
    assert_eq!(
        (one.hodges_lehmann.ci95_exact_order, one.hodges_lehmann.exact_confidence),
        (Some([10.0; 2]), Some(0.0))
    );
}

#[test]
fn no_spread() {
    let equal = of(&[50.0; 5], &[50.0; 5]);
    assert_eq!((equal.mann_whitney.p_asymptotic_nocc, equal.mann_whitney.p()), (None, 1.0));
    assert_eq!((equal.welch, equal.cliffs_delta), (None, 0.0));
    let apart = of(&[50.0; 5], &[60.0; 5]);
    assert!((apart.mann_whitney.p() - 2.0 / 252.0).abs() < 1e-15);
    assert_eq!(apart.bootstrap_ratio_of_medians.expect("defined").ci95, [1.2, 1.2]);
    assert_eq!(of(&[0.0, 0.0, 1.0], &[1.0, 2.0, 3.0]).bootstrap_ratio_of_medians, None);
    assert_eq!(of(&[0.0; 3], &[1.0; 3]).hodges_lehmann.relative_to_base_median, None);
    assert_eq!(of(&[-0.0], &[0.0]).cliffs_delta, 0.0);
}

#[test]
fn what_is_no_sample() {
    assert_eq!(TwoSamples::new(&[], &[1.0]).err(), Some(SampleError::Empty("base")));
    let nan = TwoSamples::new(&[1.0], &[f64::NAN]).err();
    assert!(matches!(nan, Some(SampleError::NotFinite("candidate", _))), "{nan:?}");
}

#[test]
fn the_bootstrap_is_what_drawing_tends_to() {
    let mut random = Random::new(3);
    for (n, m) in [(2, 3), (4, 4), (7, 10), (30, 31)] {
        let mut values = |count: usize| -> Vec<f64> { (0..count).map(|_| 50.0 + random.below(1000) as f64).collect() };
        let (base, candidate) = (values(n), values(m));
        let exact = TwoSamples::new(&base, &candidate).expect("finite").ratio_of_medians().expect("defined").ci95;
        let mut draw = |values: &[f64]| {
            let mut drawn: Vec<f64> = values.iter().map(|_| values[random.below(values.len())]).collect();
            drawn.sort_unstable_by(f64::total_cmp);
            median(&drawn)
        };
        let mut ratios: Vec<f64> = (0..40_000).map(|_| draw(&candidate) / draw(&base)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| ratios[(share * 39_999.0) as usize];
        assert!((at(0.0225)..=at(0.0275)).contains(&exact[0]), "{n} {m}: {exact:?}");
        assert!((at(0.9725)..=at(0.9775)).contains(&exact[1]), "{n} {m}: {exact:?}");
    }
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(prop_oneof![(-9..9_i32).prop_map(f64::from), -1e3..1e3_f64], 1..8)
}

/// All ways to choose `count` of the places.
fn choices(places: usize, count: usize) -> impl Iterator<Item = u32> {
    (0_u32..1 << places).filter(move |mask| mask.count_ones() as usize == count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ranks_and_differences_by_brute_force(base in values(), candidate in values()) {
        let ours = of(&base, &candidate);
        let mut differences: Vec<f64> = candidate.iter().flat_map(|c| base.iter().map(move |b| c - b)).collect();
        differences.sort_unstable_by(f64::total_cmp);
        prop_assert!((ours.hodges_lehmann.shift - median(&differences)).abs() < 1e-12);
        let [low, high] = ours.hodges_lehmann.ci95_normal_order;
        prop_assert!(differences.contains(&low) && differences.contains(&high));
        let u = |candidate: &[f64], base: &[f64]| -> f64 {
            let count = |c: &f64, b: &f64| if c > b { 1.0 } else if c == b { 0.5 } else { 0.0 };
            candidate.iter().map(|c| base.iter().map(|b| count(c, b)).sum::<f64>()).sum()
        };
        let seen = u(&candidate, &base);
        prop_assert_eq!(ours.mann_whitney.u_candidate, seen);
        let all = [&base[..], &candidate[..]].concat();
        let centre = base.len() as f64 * candidate.len() as f64 / 2.0;
        let (mut splits, mut as_far, mut greater) = (0.0, 0.0, 0.0);
        for mask in choices(all.len(), candidate.len()) {
            let side = |wanted: u32| -> Vec<f64> {
                all.iter().enumerate().filter(|(i, _)| mask >> i & 1 == wanted).map(|(_, value)| *value).collect()
            };
            let split = u(&side(1), &side(0));
            splits += 1.0;
            as_far += f64::from(u8::from((split - centre).abs() >= (seen - centre).abs() - 1e-9));
            greater += f64::from(u8::from(split >= seen));
        }
        prop_assert!((ours.mann_whitney.p() - as_far / splits).abs() < 1e-9);
        if let Some(p) = ours.mann_whitney.p_exact_greater {
            prop_assert!((p - greater / splits).abs() < 1e-9);
        }
    }

    #[test]
    fn any_finite_input_is_answered(
        base in proptest::collection::vec(prop_oneof![-1e308..1e308_f64, -1.0..1.0_f64, Just(0.0), Just(5e-324)], 1..9),
        candidate in proptest::collection::vec(prop_oneof![-1e308..1e308_f64, -1.0..1.0_f64, Just(-0.0)], 1..9),
    ) {
        let ours = of(&base, &candidate);
        prop_assert!((0.0..=1.0).contains(&ours.mann_whitney.p()));
        prop_assert!(ours.cliffs_delta.abs() <= 1.0);
    }
}

#[test]
fn large_samples_need_no_table() {
    let base: Vec<f64> = (0..3000).map(|i| f64::from(i * 7919 % 3001) + 1.0).collect();
    let candidate: Vec<f64> = base.iter().map(|value| value + 100.5).collect();
    let ours = of(&base, &candidate);
    assert_eq!((ours.mann_whitney.p_exact, ours.hodges_lehmann.ci95_exact_order), (None, None));
    assert!((ours.hodges_lehmann.shift - 100.5).abs() < 1e-9 && ours.mann_whitney.p() < 1e-4);
    let [low, high] = ours.bootstrap_ratio_of_medians.expect("defined").ci95;
    assert!(low < 1.067 && high > 1.067 && high - low < 0.3, "{low} {high}");
}
