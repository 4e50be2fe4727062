//! Curves of known parameters, bounds, and what no input may do.

use proptest::prelude::*;

use super::*;
use crate::random::Random;

fn curve(lambda: f64, sigma: f64, kappa: f64, loads: &[f64]) -> Vec<(f64, f64)> {
    loads.iter().map(|x| (*x, lambda * x / (1.0 + sigma * (x - 1.0) + kappa * x * (x - 1.0)))).collect()
}

const DOUBLING: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[track_caller]
fn assert_near(value: f64, expected: f64, relative: f64) {
    assert!((value - expected).abs() <= relative * expected.abs().max(1e-8), "{value} is not {expected}");
}

#[test]
fn exact_curves_give_back_their_parameters() {
    for (lambda, sigma, kappa) in
        [(1000.0, 0.02, 5e-4), (500.0, 0.1, 0.02), (1e-3, 0.5, 1e-5), (1e9, 0.0, 1e-4), (40.0, 0.9, 0.3)]
    {
        for loads in [&DOUBLING[..], &DOUBLING[3..], &[1.0, 7.0, 100.0]] {
            let fitted = usl(&curve(lambda, sigma, kappa, loads)).expect("a fit");
            for fit in [fitted.free, fitted.bounded] {
                assert_near(fit.lambda, lambda, 1e-5);
                assert!((fit.sigma - sigma).abs() < 1e-6 && (fit.kappa / kappa - 1.0).abs() < 1e-4, "{fit:?}");
                assert_near(fit.n_max.expect("falls"), ((1.0 - sigma) / kappa).sqrt(), 1e-4);
                // Three points leave no error to hold κ against.
                assert_eq!(fit.n_max_reliable, loads.len() > 3, "{fit:?}");
            }
        }
    }
}

/// Fits of scipy, made by `scripts/reference-figures.py`.
#[test]
fn as_scipy_fits() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("../../tests/usl.json")).expect("JSON");
    for case in cases["cases"].as_array().expect("cases") {
        let values = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).expect("numbers");
        let points: Vec<_> = values("x").into_iter().zip(values("y")).collect();
        let (fit, expected) =
            (usl(&points).expect("a fit").free, |name: &str| case["result"][name].as_f64().expect("a number"));
        assert!(fit.rss <= expected("rss") * (1.0 + 1e-9), "{}: {}", case["id"], fit.rss);
        for (value, name) in [(fit.lambda, "lambda"), (fit.sigma, "sigma"), (fit.kappa, "kappa")] {
            let se = expected(&format!("{name}_se"));
            assert!((value - expected(name)).abs() <= 1e-3 * se, "{}: {name} {value}", case["id"]);
        }
        assert_near(fit.kappa_se.expect("defined"), expected("kappa_se"), 1e-3);
    }
}

#[test]
fn bounds_are_met_exactly() {
    let faster = usl(&curve(100.0, -0.005, 2e-4, &DOUBLING[..7])).expect("a fit");
    assert!((faster.free.sigma + 0.005).abs() < 1e-6);
    assert_eq!((faster.bounded.sigma, faster.bounded.sigma_se, faster.bounded.n_opt), (0.0, None, None));
    assert!(faster.bounded.rss > faster.free.rss && faster.bounded.kappa > 0.0);
    let upward = usl(&curve(100.0, 0.08, -1e-5, &DOUBLING)).expect("a fit");
    assert_eq!((upward.bounded.kappa, upward.bounded.n_max), (0.0, None));
    let convex: Vec<_> = DOUBLING.iter().map(|x| (*x, x * x)).collect();
    let bounded = usl(&convex).expect("a fit").bounded;
    assert_eq!((bounded.sigma, bounded.kappa), (0.0, 0.0));
}

#[test]
fn what_the_data_support() {
    let noisy = |points: Vec<(f64, f64)>, spread: f64| {
        let mut random = Random::new(5);
        points.into_iter().map(|(x, y)| (x, y * (1.0 + spread * (random.below(1000) as f64 / 500.0 - 1.0)))).collect()
    };
    let of = |points: Vec<(f64, f64)>| usl(&points).expect("a fit").support;
    assert_eq!(of(noisy(curve(1000.0, 0.02, 5e-4, &DOUBLING), 0.05)), Support::Peak);
    assert_eq!(of(noisy(curve(1000.0, 0.02, 5e-4, &DOUBLING[..6]), 0.002)), Support::Extrapolated);
    assert_eq!(of(noisy(curve(1000.0, 0.1, 0.0, &DOUBLING), 0.02)), Support::Contention);
    assert_eq!(of(noisy(curve(1000.0, 0.0, 0.0, &DOUBLING), 0.02)), Support::None);
    assert_eq!(of(curve(1000.0, 0.02, 5e-4, &[1.0, 8.0, 64.0])), Support::CannotTell);
}

#[test]
fn no_fit_without_data() {
    for (points, expected) in [
        (vec![], UslError::TooFewLoads(0)),
        (vec![(1.0, 2.0), (1.0, 3.0), (2.0, 4.0)], UslError::TooFewLoads(2)),
        (vec![(1.0, 0.0), (2.0, 0.0), (3.0, 0.0)], UslError::NoThroughput),
        (vec![(0.0, 1.0), (2.0, 1.0), (3.0, 2.0)], UslError::BadPoint { load: 0.0, throughput: 1.0 }),
    ] {
        assert_eq!(usl(&points), Err(expected));
    }
}

/// A grid so fine that its best point is near the best there is.
fn by_brute_force(points: &[(f64, f64)]) -> f64 {
    let largest = points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let data = Data::new(points);
    let kappas: Vec<f64> =
        std::iter::once(0.0).chain((0..240).map(|k| 10_f64.powf(f64::from(k) / 30.0 - 6.0) / largest)).collect();
    let rss =
        |sigma: f64, kappa: f64| data.descend_from(&[[sigma, kappa]], Free { sigma: false, kappa: false }, |_, _| true);
    let all = (0..=100).flat_map(|s| kappas.iter().map(move |kappa| (f64::from(s) / 100.0, *kappa)));
    all.map(|(sigma, kappa)| data.rss(&rss(sigma, kappa))).fold(f64::INFINITY, f64::min)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_beats_the_fit(values in proptest::collection::vec((1_u32..200, 0.1..1000.0_f64), 4..12)) {
        let points: Vec<_> = values.iter().map(|(x, y)| (f64::from(*x), *y)).collect();
        let Ok(fitted) = usl(&points) else { return Ok(()) };
        let best = by_brute_force(&points);
        prop_assert!(fitted.bounded.rss <= best * (1.0 + 1e-6), "{} against {best}", fitted.bounded.rss);
        prop_assert!(fitted.free.rss <= fitted.bounded.rss * (1.0 + 1e-9));
    }

    #[test]
    fn any_finite_input_is_answered(points in proptest::collection::vec((-1e3..1e12_f64, prop_oneof![-1e300..1e300_f64, -1.0..1.0_f64]), 0..9)) {
        if let Ok(fitted) = usl(&points) {
            prop_assert!(fitted.bounded.sigma >= 0.0 && fitted.bounded.sigma <= 1.0 && fitted.bounded.kappa >= 0.0);
        }
    }
}
