//! The percentile bootstrap of the ratio of medians, without drawing: every resample counts with its chance.
//!
//! The median of a resample is one of the values, or the mean of two, and how likely each is follows from the binomial
//! distribution (Efron 1979 for odd sizes). The answer is what a drawn bootstrap tends to with ever more resamples.

use serde::Serialize;
use statrs::function::{beta::beta_reg, gamma::ln_gamma};

use super::{TwoSamples, least, median};

/// A median less likely than this in a resample is left out.
const NEGLIGIBLE: f64 = 1e-13;

/// median(candidate) / median(base), both sides resampled independently.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatioOfMedians {
    pub ratio_of_medians: f64,
    /// 2.5 % and 97.5 % quantiles of the ratio over all resamples.
    pub ci95: [f64; 2],
}

impl TwoSamples {
    /// `None` below two values on a side, with a zero in the base, or where a resample's base median can be zero.
    pub fn ratio_of_medians(&self) -> Option<RatioOfMedians> {
        if self.base.len() < 2 || self.candidate.len() < 2 || self.base.contains(&0.0) {
            return None;
        }
        let (base, candidate) = (medians(&self.base), medians(&self.candidate));
        if base.iter().any(|(value, _)| *value == 0.0) {
            return None;
        }
        let mut sum = 0.0;
        let mut up_to = vec![0.0];
        up_to.extend(candidate.iter().map(|(_, chance)| {
            sum += chance;
            sum
        }));
        let chance_at_most = |bound: f64| -> f64 {
            let of_base = |(divisor, chance): &(f64, f64)| {
                let share = match *divisor > 0.0 {
                    true => up_to[candidate.partition_point(|(value, _)| value / divisor <= bound)],
                    false => 1.0 - up_to[candidate.partition_point(|(value, _)| value / divisor > bound)],
                };
                chance * share
            };
            base.iter().map(of_base).sum()
        };
        let ratio = median(&self.candidate) / median(&self.base);
        let quantile = |chance: f64| least(|bound| chance_at_most(bound) >= chance);
        Some(RatioOfMedians { ratio_of_medians: ratio, ci95: [quantile(0.025), quantile(0.975)] })
    }
}

/// Every median that a resample of sorted values can have, ascending, with its chance.
fn medians(sorted: &[f64]) -> Vec<(f64, f64)> {
    let n = sorted.len();
    let half = n / 2;
    // P(the k-th smallest of a resample is among the i smallest values) = P(Bin(n, i/n) ≥ k)
    let within = |k: usize, i: usize| match i {
        0 => 0.0,
        i if i == n => 1.0,
        i => beta_reg(k as f64, (n - k + 1) as f64, i as f64 / n as f64),
    };
    let is = |k: usize, i: usize| (within(k, i + 1) - within(k, i)).max(0.0);
    let mut medians: Vec<(f64, f64)> = Vec::new();
    if n % 2 == 1 {
        medians.extend((0..n).map(|i| (sorted[i], is(half + 1, i))));
    } else {
        let log_ways = ln_gamma(n as f64 + 1.0) - 2.0 * ln_gamma(half as f64 + 1.0);
        // ln of (i/n)^half, and of the chance that the largest of `half` values is the i-th of all, from 0.
        let power = |i: usize| half as f64 * (i as f64 / n as f64).ln();
        let largest_is = |i: usize| power(i + 1) + (-(power(i) - power(i + 1)).exp()).ln_1p();
        for i in 0..n {
            // The lower middle value is i; the upper one is as far from the top as the lower of the mirror image.
            let lower_is = is(half, i);
            if lower_is < NEGLIGIBLE {
                continue;
            }
            let mut apart = 0.0;
            for j in i + 1..n {
                let chance = (log_ways + largest_is(i) + largest_is(n - 1 - j)).exp();
                if chance >= NEGLIGIBLE {
                    medians.push(((sorted[i] + sorted[j]) / 2.0, chance));
                }
                apart += chance;
                if chance < NEGLIGIBLE * 1e-3 {
                    break;
                }
            }
            medians.push((sorted[i], (lower_is - apart).max(0.0)));
        }
    }
    medians.retain(|(_, chance)| *chance >= NEGLIGIBLE);
    medians.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = medians.iter().map(|(_, chance)| chance).sum();
    medians.iter_mut().for_each(|(_, chance)| *chance /= total);
    medians
}
