//! Success rates of two runs compared.
//!
//! Requests of one benchmark fail together more often than independent ones: these figures are as sure as that
//! assumption.

use serde::Serialize;
use statrs::function::erf::erfc;

/// Two-sided 5 % of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// Chances that differ by less than this are equal but for rounding.
const EQUAL: f64 = 1e-9;

/// How the success rates of two runs differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proportions {
    /// Candidate minus base, in percentage points, as is the interval.
    pub diff_pp: f64,
    /// Fisher's exact test (1935), by the tables that are no more likely than the one seen.
    pub fisher_p_two_sided: f64,
    /// One-sided: the candidate succeeds less often.
    pub fisher_p_less: f64,
    /// Newcombe's hybrid score interval of the difference (1998, method 10).
    pub newcombe_ci95_pp: [f64; 2],
    /// Score test with pooled variance, no correction; `None` when nothing failed, or nothing succeeded.
    pub score_z: Option<f64>,
    pub score_p: Option<f64>,
    /// Wilson's interval (1927) of the base and of the candidate, 0–1.
    pub wilson_ci95: [[f64; 2]; 2],
}

/// Successes of so many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub ok: u64,
    pub n: u64,
}

/// Why two success rates cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareError {
    NoAttempts(&'static str),
    MoreThanAttempts(&'static str, Share),
}

impl std::fmt::Display for ShareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAttempts(side) => write!(f, "the {side} has no attempts"),
            Self::MoreThanAttempts(side, share) => {
                write!(f, "the {side} has {} successes of {} attempts", share.ok, share.n)
            }
        }
    }
}

impl std::error::Error for ShareError {}

impl Share {
    fn rate(self) -> f64 {
        self.ok as f64 / self.n as f64
    }

    /// Wilson's score interval.
    pub fn wilson_ci95(self) -> [f64; 2] {
        let (n, rate) = (self.n as f64, self.rate());
        let z2 = Z95 * Z95;
        let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
        [
            if self.ok == 0 { 0.0 } else { (centre - half).max(0.0) },
            if self.ok == self.n { 1.0 } else { (centre + half).min(1.0) },
        ]
    }
}

pub fn proportions(base: Share, candidate: Share) -> Result<Proportions, ShareError> {
    for (side, share) in [("base", base), ("candidate", candidate)] {
        if share.n == 0 {
            return Err(ShareError::NoAttempts(side));
        }
        if share.ok > share.n {
            return Err(ShareError::MoreThanAttempts(side, share));
        }
    }
    let (b, c) = (base.rate(), candidate.rate());
    let difference = c - b;
    let (of_base, of_candidate) = (base.wilson_ci95(), candidate.wilson_ci95());
    let newcombe = [
        difference - (c - of_candidate[0]).hypot(of_base[1] - b),
        difference + (of_candidate[1] - c).hypot(b - of_base[0]),
    ];
    let (ok, n) = (base.ok as f64 + candidate.ok as f64, base.n as f64 + candidate.n as f64);
    let pooled = ok / n * (1.0 - ok / n);
    let varies = ok > 0.0 && ok < n;
    let score_z = varies.then(|| difference / (pooled * (1.0 / base.n as f64 + 1.0 / candidate.n as f64)).sqrt());
    let (fisher_p_two_sided, fisher_p_less) = fisher(base, candidate);
    Ok(Proportions {
        diff_pp: difference * 100.0,
        fisher_p_two_sided,
        fisher_p_less,
        newcombe_ci95_pp: newcombe.map(|bound| bound * 100.0),
        score_z,
        score_p: score_z.map(|z| erfc(z.abs() / std::f64::consts::SQRT_2)),
        wilson_ci95: [of_base, of_candidate],
    })
}

/// p two-sided, and that of the candidate having so few successes or fewer, given all successes together.
fn fisher(base: Share, candidate: Share) -> (f64, f64) {
    let (n, m) = (base.n as f64, candidate.n as f64);
    let successes = base.ok as f64 + candidate.ok as f64;
    let seen = candidate.ok as f64;
    let (first, last) = ((successes - n).max(0.0), successes.min(m));
    let mode = ((successes + 1.0) * (m + 1.0) / (n + m + 2.0)).floor().clamp(first, last);
    // Chances relative to the likeliest table; walking away from it, they only fall, until they vanish.
    let up = |k: f64| (successes - k) * (m - k) / ((k + 1.0) * (n - successes + k + 1.0));
    let walk = |visit: &mut dyn FnMut(f64, f64)| {
        let (mut k, mut chance) = (mode, 1.0);
        while chance > 0.0 {
            visit(k, chance);
            if k >= last {
                break;
            }
            chance *= up(k);
            k += 1.0;
        }
        (k, chance) = (mode, 1.0);
        while k > first && chance > 0.0 {
            k -= 1.0;
            chance /= up(k);
            visit(k, chance);
        }
    };
    let mut of_seen = 0.0;
    walk(&mut |k, chance| {
        if k == seen {
            of_seen = chance;
        }
    });
    let (mut all, mut unlikely, mut fewer) = (0.0, 0.0, 0.0);
    walk(&mut |k, chance| {
        all += chance;
        unlikely += if chance <= of_seen * (1.0 + EQUAL) { chance } else { 0.0 };
        fewer += if k <= seen { chance } else { 0.0 };
    });
    ((unlikely / all).min(1.0), (fewer / all).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(base: (u64, u64), candidate: (u64, u64)) -> Proportions {
        proportions(Share { ok: base.0, n: base.1 }, Share { ok: candidate.0, n: candidate.1 }).expect("defined")
    }

    #[test]
    fn the_lady_tasting_tea() {
        // Fisher, The Design of Experiments: 3 of 4 right; 17 of 70 as good or better by chance.
        let tea = of((3, 4), (1, 4));
        assert!((tea.fisher_p_less - 17.0 / 70.0).abs() < 1e-12);
        assert!((tea.fisher_p_two_sided - 34.0 / 70.0).abs() < 1e-12);
    }

    #[test]
    fn published_intervals() {
        // Newcombe 1998, table II, method 10: 56/70 − 48/80 gives 0.0524 to 0.3339.
        let [low, high] = of((48, 80), (56, 70)).newcombe_ci95_pp;
        assert!((low - 5.24).abs() < 0.005 && (high - 33.39).abs() < 0.005, "{low} {high}");
        // Newcombe 1998 (single proportion), 81/263: 0.2553 to 0.3662.
        let [low, high] = Share { ok: 81, n: 263 }.wilson_ci95();
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
    }

    /// Figures of scipy and statsmodels, made by `scripts/reference-figures.py`.
    #[test]
    fn as_scipy_has_it() {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../tests/proportions.json")).expect("JSON");
        for case in cases["cases"].as_array().expect("cases") {
            let pair = |key: &str| serde_json::from_value::<(u64, u64)>(case[key].clone()).expect("two counts");
            let ours = serde_json::to_value(of(pair("base"), pair("candidate"))).expect("JSON");
            for (name, expected) in case["result"].as_object().expect("figures") {
                let pairs = numbers(&ours[name]).into_iter().zip(numbers(expected));
                for (value, expected) in pairs {
                    let near = (value - expected).abs() <= (1e-8 * expected.abs()).max(1e-12);
                    assert!(near || value.is_nan() && expected.is_nan(), "{case}: {name} {value}");
                }
            }
        }
    }

    /// All numbers in a value, in order; null is NaN.
    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        match value {
            serde_json::Value::Array(items) => items.iter().flat_map(numbers).collect(),
            other => vec![other.as_f64().unwrap_or(f64::NAN)],
        }
    }

    #[test]
    fn edges() {
        let same = of((10, 10), (10, 10));
        assert_eq!((same.score_z, same.score_p, same.fisher_p_two_sided), (None, None, 1.0));
        assert_eq!(same.wilson_ci95[0][1], 1.0);
        let tiny = of((50_000_000, 50_000_000), (0, 50_000_000));
        assert_eq!((tiny.fisher_p_two_sided, tiny.fisher_p_less), (0.0, 0.0));
        let none = Share { ok: 0, n: 0 };
        assert_eq!(proportions(none, Share { ok: 1, n: 1 }), Err(ShareError::NoAttempts("base")));
        let wrong = Share { ok: 2, n: 1 };
        assert_eq!(proportions(Share { ok: 1, n: 1 }, wrong), Err(ShareError::MoreThanAttempts("candidate", wrong)));
    }

    proptest! {
        #[test]
        fn mirror_images_agree(a in 0_u64..60, b in 0_u64..60, n in 60_u64..90, m in 60_u64..90) {
            let (one, other) = (of((a, n), (b, m)), of((b, m), (a, n)));
            prop_assert!((one.fisher_p_two_sided - other.fisher_p_two_sided).abs() < 1e-12);
            prop_assert!((one.newcombe_ci95_pp[0] + other.newcombe_ci95_pp[1]).abs() < 1e-9);
            prop_assert!(one.newcombe_ci95_pp[0] <= one.diff_pp && one.diff_pp <= one.newcombe_ci95_pp[1]);
            let failures = of((n - a, n), (m - b, m));
            prop_assert!((failures.fisher_p_two_sided - one.fisher_p_two_sided).abs() < 1e-9);
        }

        #[test]
        fn any_counts_are_answered(base in (0..u64::MAX, 0..u64::MAX), candidate in (0..u64::MAX, 0_u64..3)) {
            let share = |(ok, n)| Share { ok, n };
            if let Ok(answer) = proportions(share(base), share(candidate)) {
                prop_assert!((0.0..=1.0).contains(&answer.fisher_p_two_sided));
            }
        }
    }
}
