//! The rule that ends a load once a percentile is known well enough: sequential, and sound for correlated samples.
//!
//! The interval is that of order statistics, with the variance of the share of values below the percentile taken from
//! batch means, as successive response times are not independent (Heidelberger, Lewis: Quantile estimation in
//! dependent sequences, Operations Research 32, 1984; the factor is never below that of independent values). Batches
//! that are still short beside the memory of the process are correlated themselves: then the variance is raised by
//! the factor of a first-order autoregressive sequence, `(1 + r) / (1 − r)`, and from `r` = 0.5 on the rule does not
//! stop. It
//! looks at fixed sample sizes only, and look `k` has the error probability `0.05 / (k·(k + 1))`: these sum up to 5 %
//! however many looks there are, so that the interval it stops with still holds with at least 95 %. Memory is constant:
//! when there are twice as many batches as at the start, neighbours are merged.

use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};

/// Batches after a merge, and before the next one.
const BATCHES: usize = 32;
const MOST_BATCHES: usize = 2 * BATCHES;
/// Batches between two looks.
const LOOK_EVERY: usize = 8;
/// Correlation of successive batches above which nothing is concluded.
const MOST_CORRELATED: f64 = 0.5;
/// Values beyond the percentile, on its thinner side, before the first look.
const BEYOND: f64 = 100.0;
/// Error probability of all looks together.
const ALPHA: f64 = 0.05;

/// What must be known, and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    pub quantity: Quantity,
    /// Share of values below, in (0, 1): 0.99 for the p99.
    pub share: f64,
    /// Length of the 95 % interval over the estimate.
    pub width: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Response time.
    Latency,
    Ttft,
}

/// What the rule came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionFacts {
    /// As in the spec: what was asked.
    pub asked: Precision,
    /// Whether the interval became narrow enough; otherwise another rule ended the load.
    pub reached: bool,
    /// Successful requests of the window that the last look was at.
    pub samples: u64,
    pub looks: u32,
    pub estimate_s: Option<f64>,
    /// The interval that holds the true percentile with at least 95 %, whatever the number of looks.
    pub interval_s: Option<[f64; 2]>,
    /// How many times larger the variance is than with independent values.
    pub variance_factor: Option<f64>,
}

/// The rule at work, on values in nanoseconds.
pub struct PrecisionRule {
    asked: Precision,
    batch_size: u64,
    batches: Vec<Histogram<u64>>,
    /// All values of complete batches, finer.
    all: Histogram<u64>,
    /// The batch being filled, by both measures.
    filling: Histogram<u64>,
    looks: u32,
    last: Option<Look>,
    samples: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    estimate_ns: u64,
    interval_ns: [u64; 2],
    factor: f64,
}

impl PrecisionRule {
    /// `asked.share` within (0, 1).
    pub fn new(asked: &Precision) -> Result<Self, CreationError> {
        let thinner = asked.share.min(1.0 - asked.share).max(f64::EPSILON);
        let batch_size = ((BEYOND / thinner).max(1000.0) / BATCHES as f64).ceil() as u64;
        let coarse = Histogram::new_with_bounds(1, 3_600_000_000_000, 2)?;
        Ok(Self {
            asked: asked.clone(),
            batch_size,
            batches: Vec::new(),
            all: Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?,
            filling: coarse,
            looks: 0,
            last: None,
            samples: 0,
        })
    }

    pub fn quantity(&self) -> Quantity {
        self.asked.quantity
    }

    /// Takes a value in. True when the interval has just become narrow enough.
    pub fn add(&mut self, value_ns: u64) -> bool {
        self.filling.saturating_record(value_ns.max(1));
        self.all.saturating_record(value_ns.max(1));
        if self.filling.len() < self.batch_size {
            return false;
        }
        let empty = Histogram::new_from(&self.filling);
        self.batches.push(std::mem::replace(&mut self.filling, empty));
        if self.batches.len() < BATCHES || !self.batches.len().is_multiple_of(LOOK_EVERY) {
            return false;
        }
        let narrow = self.look();
        if self.batches.len() == MOST_BATCHES {
            self.merge();
        }
        narrow
    }

    fn merge(&mut self) {
        let mut old = std::mem::take(&mut self.batches).into_iter();
        while let (Some(mut first), Some(second)) = (old.next(), old.next()) {
            // Of the same bounds, so adding cannot fail.
            let _ = first.add(&second);
            self.batches.push(first);
        }
        self.batch_size *= 2;
    }

    fn look(&mut self) -> bool {
        self.looks += 1;
        self.samples = self.all.len();
        let share = self.asked.share;
        let (count, batches) = (self.all.len() as f64, self.batches.len() as f64);
        let estimate_ns = self.all.value_at_quantile(share);
        // The share of each batch below a threshold near the percentile: what matters is how much it varies.
        let shares: Vec<f64> =
            self.batches.iter().map(|batch| batch.count_between(0, estimate_ns) as f64 / batch.len() as f64).collect();
        let mean = shares.iter().sum::<f64>() / batches;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (batches - 1.0);
        let independent = mean * (1.0 - mean) / self.batch_size as f64;
        let factor = if independent > 0.0 { (variance / independent).max(1.0) } else { 1.0 };
        let products = shares.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        let correlation = if variance > 0.0 { products / (variance * (batches - 1.0)) } else { 0.0 };
        let raised = correlation.clamp(0.0, 0.9);
        let factor = factor * (1.0 + raised) / (1.0 - raised);
        let looks = f64::from(self.looks);
        let quantile = student_quantile(1.0 - ALPHA / (looks * (looks + 1.0)) / 2.0, batches - 1.0);
        let reach = quantile * (share * (1.0 - share) * factor / count).sqrt();
        // One rank further out on both sides, so that the interval is not too short by rounding.
        let [low, high] = [share - reach - 1.0 / count, share + reach + 1.0 / count];
        if low <= 0.0 || high >= 1.0 {
            self.last = None;
            return false;
        }
        let low_ns = self.all.lowest_equivalent(self.all.value_at_quantile(low));
        let interval_ns = [low_ns, self.all.value_at_quantile(high)];
        self.last = Some(Look { estimate_ns, interval_ns, factor });
        correlation < MOST_CORRELATED
            && (interval_ns[1] - interval_ns[0]) as f64 <= self.asked.width * estimate_ns as f64
    }

    pub fn facts(&self, reached: bool) -> PrecisionFacts {
        let seconds = |ns: u64| ns as f64 / 1e9;
        PrecisionFacts {
            asked: self.asked.clone(),
            reached,
            samples: self.samples,
            looks: self.looks,
            estimate_s: self.last.map(|look| seconds(look.estimate_ns)),
            interval_s: self.last.map(|look| look.interval_ns.map(seconds)),
            variance_factor: self.last.map(|look| look.factor),
        }
    }
}

/// Quantile of the standard normal distribution, for `p` above one half (Abramowitz, Stegun: Handbook of Mathematical
/// Functions, 26.2.23; error below 4.5e-4), improved by one step of Newton's method on the tail's continued fraction.
fn normal_quantile(p: f64) -> f64 {
    let tail = 1.0 - p;
    let t = (-2.0 * tail.ln()).sqrt();
    let first = t
        - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
            / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    first + (upper_tail(first) - tail) / density(first)
}

fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Share of the standard normal distribution above `z` > 0: the continued fraction (ibid., 26.2.14), from the back.
fn upper_tail(z: f64) -> f64 {
    let fraction = (1..=200).rev().fold(z, |below, k| z + f64::from(k) / below);
    density(z) / fraction
}

/// Quantile of Student's distribution with at least 30 degrees of freedom, by its expansion about the normal one
/// (ibid., 26.7.5).
fn student_quantile(p: f64, freedom: f64) -> f64 {
    let z = normal_quantile(p);
    z + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn exponential(random: &mut Random, mean: f64) -> f64 {
        -(1.0 - random.below(1 << 53) as f64 / (1u64 << 53) as f64).ln() * mean
    }

    fn asked(share: f64, width: f64) -> Precision {
        Precision { quantity: Quantity::Latency, share, width }
    }

    /// Values from `next` until the rule stops or `most` have been taken in.
    fn run(asked: &Precision, most: u64, mut next: impl FnMut() -> f64) -> PrecisionFacts {
        let mut rule = PrecisionRule::new(asked).expect("a rule");
        for _ in 0..most {
            if rule.add((next() * 1e9) as u64) {
                return rule.facts(true);
            }
        }
        rule.facts(false)
    }

    #[test]
    fn student_quantiles_are_those_of_the_tables() {
        for (p, freedom, expect) in
            [(0.975, 31.0, 2.0395), (0.995, 31.0, 2.7440), (0.975, 60.0, 2.0003), (0.9995, 40.0, 3.5510)]
        {
            let quantile = student_quantile(p, freedom);
            assert!((quantile - expect).abs() < 5e-4, "{p} {freedom}: {quantile}, not {expect}");
        }
    }

    #[test]
    fn intervals_at_the_stop_hold_the_truth() {
        // Exponential values, and those of a queue whose waits are strongly correlated: M/M/1 at 80 % load, whose
        // response time is exponential with mean 1 / (1 − 0.8) = 5.
        for (name, queue, mean, width) in [("independent", false, 1.0f64, 0.10), ("queue", true, 5.0, 0.5)] {
            for share in [0.5f64, 0.99] {
                let truth = -mean * (1.0 - share).ln() * 1e-3;
                let (runs, mut held, mut reached) = (40, 0, 0);
                for seed in 0..runs {
                    let mut random = Random::new(seed << 32);
                    let mut response = mean * exponential(&mut random, 1.0);
                    let facts = run(&asked(share, width), 3_000_000, || {
                        let value = if queue {
                            response =
                                (response - exponential(&mut random, 1.25)).max(0.0) + exponential(&mut random, 1.0);
                            response
                        } else {
                            exponential(&mut random, 1.0)
                        };
                        value * 1e-3
                    });
                    let [low, high] = facts.interval_s.expect("a look");
                    reached += u32::from(facts.reached);
                    held += u32::from(low <= truth && truth <= high);
                    assert!(!facts.reached || (high - low) <= width * facts.estimate_s.expect("a look") * 1.001);
                }
                assert_eq!(reached, runs as u32, "{name} p{share}");
                // The seeds are fixed, so the check cannot flake; 95 % is promised.
                assert!(held * 100 >= 95 * runs as u32, "{name} p{share}: {held} of {runs}");
            }
        }
    }

    #[test]
    fn a_width_out_of_reach_never_stops() {
        let mut random = Random::new(5);
        let facts = run(&asked(0.99, 0.001), 200_000, || exponential(&mut random, 1e-3));
        assert!(!facts.reached && facts.looks > 3 && facts.samples > 100_000, "{facts:?}");
        let few = run(&asked(0.99, 0.5), 9_000, || 1e-3);
        assert_eq!((few.looks, few.samples, few.interval_s), (0, 0, None));
    }
}
