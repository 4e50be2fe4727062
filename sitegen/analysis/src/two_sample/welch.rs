//! Welch's t test: means of samples with unequal variances.

use serde::Serialize;
use statrs::function::beta::beta_reg;

use super::{TwoSamples, least, mean, variance};

/// Two-sided test and interval of the difference of means (Welch 1947).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Welch {
    pub t: f64,
    /// Degrees of freedom (Satterthwaite).
    pub df: f64,
    pub p: f64,
    /// Candidate minus base.
    pub ci95_diff: [f64; 2],
}

impl TwoSamples {
    /// `None` below two values on a side, and where neither side varies.
    pub fn welch(&self) -> Option<Welch> {
        let (n, m) = (self.base.len() as f64, self.candidate.len() as f64);
        let (of_base, of_candidate) = (variance(&self.base)? / n, variance(&self.candidate)? / m);
        let both = of_base + of_candidate;
        if both <= 0.0 || !both.is_finite() {
            return None;
        }
        // Shares instead of squares: squares of small variances vanish.
        let (base_share, candidate_share) = (of_base / both, of_candidate / both);
        let df = 1.0 / (base_share.powi(2) / (n - 1.0) + candidate_share.powi(2) / (m - 1.0));
        let difference = mean(&self.candidate) - mean(&self.base);
        let t = difference / both.sqrt();
        let half = critical_t(df) * both.sqrt();
        Some(Welch { t, df, p: two_sided_p(t, df), ci95_diff: [difference - half, difference + half] })
    }
}

/// Chance of a t as far from 0, or further.
fn two_sided_p(t: f64, df: f64) -> f64 {
    let x = df / (df + t * t);
    match x {
        x if x >= 1.0 => 1.0,
        x if x > 0.0 => beta_reg(df / 2.0, 0.5, x),
        _ => 0.0,
    }
}

/// The t that 5 % lie beyond, on both sides together.
fn critical_t(df: f64) -> f64 {
    least(|t| t > 0.0 && two_sided_p(t, df) <= 0.05)
}
