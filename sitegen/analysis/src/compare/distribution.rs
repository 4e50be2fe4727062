//! Student's t, F, and the derivatives of ln Γ: what the comparison's tests and its noise model need.
//!
//! Degrees of freedom may be fractions. Accuracy: about 1e-10 for probabilities, 1e-8 for quantiles.

use std::f64::consts::PI;

pub use statrs::function::gamma::digamma;
use statrs::function::{beta::beta_reg, gamma::ln_gamma};

/// Two-sided p-value of a t statistic.
pub fn t_two_sided(t: f64, df: f64) -> f64 {
    beta_reg(df / 2.0, 0.5, (df / (df + t * t)).clamp(0.0, 1.0))
}

/// The t that is exceeded in absolute value with probability `p`: Newton's method on the logarithms of both, between
/// which the curve is concave, so that it converges from anywhere.
pub fn t_critical(p: f64, df: f64) -> f64 {
    let half = (df + 1.0) / 2.0;
    let ln_height = ln_gamma(half) - ln_gamma(df / 2.0) - (df * PI).ln() / 2.0;
    let mut t: f64 = 1.0;
    for _ in 0..60 {
        let found = t_two_sided(t, df);
        let density = (ln_height - half * (t * t / df).ln_1p()).exp();
        let step = (found / p).ln() * found / (2.0 * t * density);
        t = (t.ln() + step).min(60.0).exp();
        if step.abs() < 1e-11 {
            break;
        }
    }
    t
}

/// Probability that F exceeds `f`.
pub fn f_above(f: f64, df_above: f64, df_below: f64) -> f64 {
    beta_reg(df_below / 2.0, df_above / 2.0, (df_below / (df_below + df_above * f)).clamp(0.0, 1.0))
}

/// The second derivative of ln Γ.
pub fn trigamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 8.0 {
        shift += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    shift + 1.0 / x + y / 2.0 + y / x * (1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y / 30.0)))
}

/// The x with trigamma(x) = `value`, for a positive value; trigamma falls strictly.
pub fn trigamma_inverse(value: f64) -> f64 {
    let (mut low, mut high) = (1e-8_f64, 1e8_f64);
    for _ in 0..120 {
        let middle = (low * high).sqrt();
        match trigamma(middle) > value {
            true => low = middle,
            false => high = middle,
        }
    }
    (low * high).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, relative: f64) {
        assert!((found - expected).abs() <= relative * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn the_tables_of_t_and_f() {
        for (p, df, t) in [
            (0.05, 1.0, 12.706_204_736),
            (0.05, 4.0, 2.776_445_105),
            (0.01, 4.0, 4.604_094_871),
            (0.001, 10.0, 4.586_893_859),
            (0.05, 1e4, 1.960_201_24),
        ] {
            near(t_critical(p, df), t, 1e-7);
            near(t_two_sided(t, df), p, 1e-7);
        }
        near(f_above(5.317_655_072, 1.0, 8.0), 0.05, 1e-7);
        near(f_above(6.388_232_909, 4.0, 4.0), 0.05, 1e-7);
        assert_eq!(t_two_sided(0.0, 3.0), 1.0);
    }

    #[test]
    fn derivatives_of_ln_gamma() {
        near(digamma(1.0), -0.577_215_664_901_532_9, 1e-10);
        near(trigamma(1.0), PI * PI / 6.0, 1e-10);
        near(trigamma(0.5), PI * PI / 2.0, 1e-10);
        for x in [0.3, 2.0, 40.0] {
            near(trigamma_inverse(trigamma(x)), x, 1e-8);
        }
    }
}
