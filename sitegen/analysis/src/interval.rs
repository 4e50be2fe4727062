//! 95 % intervals of the figures of one benchmark: of a percentile, a proportion and a mean.
//!
//! They say how far the figure of a longer run under the same conditions may lie from this one. Requests are taken as
//! independent of each other, and nothing is said about another day or another node: that takes repetitions.

use archive::Histogram;
use serde::Serialize;

use crate::{
    histogram::{Ordered, ordered},
    proportions::Share,
};

/// The confidence of every interval here.
pub const CONFIDENCE: f64 = 0.95;

/// Probability on each side of an interval.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// Where a figure lies with 95 % confidence; a side is absent where the sample does not bound it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The interval of a percentile from a stored sample, in seconds: two order statistics, chosen by the binomial
/// distribution of the number of values below the percentile (Hahn and Meeker, *Statistical Intervals*, §5.2), widened
/// to the edges of their buckets. `permille` is the percentile in 1/1000. `None` when it is no histogram, or empty.
pub fn percentile_interval(histogram: &Histogram, permille: u32) -> Option<Interval> {
    let values = ordered(histogram)?;
    let (low, high) = ranks(values.count(), f64::from(permille) / 1000.0);
    Some(Interval { low: low.map(|rank| values.at(rank).0), high: high.map(|rank| values.at(rank).1) })
}

/// The smallest sample that bounds a percentile from above.
pub fn least_sample(share: f64) -> u64 {
    (TAIL.ln() / share.ln()).ceil() as u64
}

/// Counts above it are answered by the normal distribution: the binomial sums would take minutes, and differ from it in
/// less than a thousandth of an interval's width.
const MOST_SUMMED: u64 = 1 << 27;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Ranks, from 1, of the order statistics between which the quantile `share` lies.
pub fn ranks(count: u64, share: f64) -> (Option<u64>, Option<u64>) {
    if count > MOST_SUMMED {
        let n = count as f64;
        let (middle, half) = (n * share, Z * (n * share * (1.0 - share)).sqrt());
        let rank = |place: f64| (place >= 1.0 && place <= n).then_some(place as u64);
        return (rank((middle - half).floor()), rank((middle + half).ceil() + 1.0));
    }
    let mut below = 0.0;
    let (mut low, mut high) = (None, None);
    // Before `k` values are counted, `below` is the probability that fewer than k + 1 of them lie below the quantile.
    for (k, probability) in Masses::new(count, share) {
        below += probability;
        if below <= TAIL {
            low = Some(k + 1);
        }
        if below >= 1.0 - TAIL {
            high = Some(k + 1).filter(|rank| *rank <= count);
            break;
        }
    }
    (low.filter(|rank| *rank <= count), high)
}

/// The interval of a proportion of `count` trials of which `hits` hit (Clopper and Pearson 1934); 0–1. Above 2²⁷ trials
/// it is Wilson's score interval, which is then the same to a thousandth of its width unless only a few hit or miss.
pub fn proportion_interval(hits: u64, count: u64) -> Interval {
    if count == 0 {
        return Interval { low: None, high: None };
    }
    if count > MOST_SUMMED {
        let [low, high] = Share { ok: hits.min(count), n: count }.wilson_ci95();
        return Interval { low: Some(low), high: Some(high) };
    }
    let solve = |reached: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if reached(middle) { high = middle } else { low = middle }
        }
        (low + high) / 2.0
    };
    // P(at least `hits`) grows with the proportion, P(at most `hits`) falls.
    let low = if hits == 0 { 0.0 } else { solve(&|share| 1.0 - at_most(hits - 1, count, share) >= TAIL) };
    let high = if hits == count { 1.0 } else { solve(&|share| at_most(hits, count, share) <= TAIL) };
    Interval { low: Some(low), high: Some(high) }
}

/// The interval of a mean, by Student's t. `None` for fewer than `least` values.
pub fn mean_interval(mean: f64, std: f64, count: u64, least: u64) -> Option<Interval> {
    if count < least.max(2) {
        return None;
    }
    let half = student(count - 1) * std / (count as f64).sqrt();
    Some(Interval { low: Some(mean - half), high: Some(mean + half) })
}

/// The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5): within 0.3 % from 6 degrees of freedom on.
fn student(freedom: u64) -> f64 {
    let (z, f) = (Z, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / f + second / f.powi(2) + third / f.powi(3)
}

/// P(at most `hits` of `count`), each with probability `share`.
fn at_most(hits: u64, count: u64, share: f64) -> f64 {
    Masses::new(count, share).take_while(|(k, _)| *k <= hits).map(|(_, mass)| mass).sum::<f64>().min(1.0)
}

/// The binomial distribution, one number of hits after the other, where it is above 1e-15.
struct Masses {
    next: u64,
    last: u64,
    count: u64,
    odds: f64,
    mass: f64,
}

impl Masses {
    fn new(count: u64, share: f64) -> Self {
        let n = count as f64;
        if share <= 0.0 || share >= 1.0 {
            let only = if share <= 0.0 { 0 } else { count };
            return Self { next: only, last: only, count, odds: 0.0, mass: 1.0 };
        }
        let (mean, spread) = (n * share, (n * share * (1.0 - share)).sqrt());
        let next = (mean - 9.0 * spread - 20.0).max(0.0).floor();
        let last = (mean + 9.0 * spread + 20.0).min(n).ceil();
        let ln_mass = ln_gamma(n + 1.0) - ln_gamma(next + 1.0) - ln_gamma(n - next + 1.0)
            + next * share.ln()
            + (n - next) * (-share).ln_1p();
        Self { next: next as u64, last: last as u64, count, odds: share / (1.0 - share), mass: ln_mass.exp() }
    }
}

impl Iterator for Masses {
    type Item = (u64, f64);

    fn next(&mut self) -> Option<(u64, f64)> {
        if self.next > self.last {
            return None;
        }
        let item = (self.next, self.mass);
        self.mass *= (self.count - self.next) as f64 / (self.next + 1) as f64 * self.odds;
        self.next += 1;
        Some(item)
    }
}

/// ln Γ(x) for x ≥ 1, by Stirling's series from 10 on: to 14 digits.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5)) - 1.0 / (1680.0 * x.powi(7));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

/// The quantile of a stored sample by linear interpolation between order statistics at rank (n − 1)·share, in seconds;
/// to the three digits of the histogram. `None` when it holds nothing.
pub fn quantile(histogram: &Histogram, share: f64) -> Option<f64> {
    let values: Ordered = ordered(histogram)?;
    let rank = (values.count() - 1) as f64 * share;
    let middle = |rank: f64| {
        let (low, high) = values.at(rank as u64 + 1);
        (low + high) / 2.0
    };
    Some(middle(rank.floor()) + (middle(rank.ceil()) - middle(rank.floor())) * rank.fract())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_of_order_statistics() {
        // Tables of Hahn and Meeker, and exact sums.
        for (count, share, low, high) in [
            (10, 0.5, Some(2), Some(9)),
            (100, 0.5, Some(40), Some(61)),
            (100, 0.9, Some(84), Some(96)),
            (317, 0.99, Some(310), None),
            (367, 0.99, Some(359), None),
            (368, 0.99, Some(360), Some(368)),
            (5, 0.5, None, None),
            (1, 0.5, None, None),
            (0, 0.5, None, None),
        ] {
            assert_eq!(ranks(count, share), (low, high), "{count} {share}");
        }
        assert_eq!((least_sample(0.99), least_sample(0.5)), (368, 6));
        let (low, high) = ranks(10_000_000, 0.99);
        let spread = (10_000_000.0_f64 * 0.99 * 0.01).sqrt() * 1.959_964;
        assert!((low.expect("bounded") as f64 - (9_900_000.0 - spread)).abs() < 2.0);
        assert!((high.expect("bounded") as f64 - (9_900_000.0 + spread)).abs() < 2.0);
    }

    #[test]
    fn proportions() {
        // Exact sums of the binomial distribution, solved for the proportion.
        for (hits, count, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (10, 10, 0.691_502_9, 1.0),
            (8, 10, 0.443_904_5, 0.974_789_3),
            (990, 1000, 0.981_686_8, 0.995_194_5),
            (1_000_000, 1_000_000, 0.999_996_3, 1.0),
        ] {
            let found = proportion_interval(hits, count);
            let near = |found: Option<f64>, expected: f64| (found.expect("bounded") - expected).abs() < 2e-7;
            assert!(near(found.low, low) && near(found.high, high), "{hits}/{count}: {found:?}");
        }
        assert_eq!(proportion_interval(0, 0), Interval { low: None, high: None });
    }

    #[test]
    fn counts_that_nobody_has_are_answered_at_once() {
        for count in [MOST_SUMMED + 1, 1_000_000_000_000_000_000, u64::MAX] {
            for hits in [0, 1, count / 2, count - 1, count] {
                let Interval { low: Some(low), high: Some(high) } = proportion_interval(hits, count) else {
                    panic!("{hits} of {count}")
                };
                let share = hits as f64 / count as f64;
                assert!((0.0..=share).contains(&low) && (share..=1.0).contains(&high), "{hits} of {count}");
            }
            let (low, high) = ranks(count, 0.5);
            assert!(low.is_some_and(|low| low < count / 2) && high.is_some_and(|high| high > count / 2), "{count}");
        }
        // Where the two forms meet, they agree.
        let [below, above] = [MOST_SUMMED, MOST_SUMMED + 1].map(|count| proportion_interval(count / 100, count));
        let width = below.high.expect("bounded") - below.low.expect("bounded");
        for (a, b) in [(below.low, above.low), (below.high, above.high)] {
            assert!((a.expect("bounded") - b.expect("bounded")).abs() < 1e-3 * width, "{below:?} {above:?}");
        }
        let [below, above] = [MOST_SUMMED, MOST_SUMMED + 1].map(|count| ranks(count, 0.99));
        let width = (below.1.expect("bounded") - below.0.expect("bounded")) as f64;
        for (a, b) in [(below.0, above.0), (below.1, above.1)] {
            assert!(
                (a.expect("bounded") as f64 - b.expect("bounded") as f64).abs() < 1e-2 * width,
                "{below:?} {above:?}"
            );
        }
    }

    #[test]
    fn quantiles_of_student() {
        for (freedom, expected) in [(6, 2.446_912), (10, 2.228_139), (30, 2.042_272), (1000, 1.962_339)] {
            assert!((student(freedom) / expected - 1.0).abs() < 3e-3, "{freedom}: {}", student(freedom));
        }
        assert_eq!(mean_interval(1.0, 0.1, 5, 8), None);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_figure(count in 1u64..5000, hits in 0u64..5000, permille in 1u32..1000) {
            let hits = hits.min(count);
            let found = proportion_interval(hits, count);
            let share = hits as f64 / count as f64;
            prop_assert!(found.low.is_some_and(|low| low <= share + 1e-9));
            prop_assert!(found.high.is_some_and(|high| high >= share - 1e-9));
            let (low, high) = ranks(count, f64::from(permille) / 1000.0);
            let rank = (count - 1) as f64 * f64::from(permille) / 1000.0 + 1.0;
            prop_assert!(low.is_none_or(|low| (low as f64) <= rank.ceil()), "{:?} {}", low, rank);
            prop_assert!(high.is_none_or(|high| high as f64 >= rank.floor() && high <= count), "{:?} {}", high, rank);
        }

        #[test]
        fn the_distribution_sums_to_one(count in 0u64..200_000, share in 0.0..1.0f64) {
            let sum: f64 = Masses::new(count, share).map(|(_, mass)| mass).sum();
            prop_assert!((sum - 1.0).abs() < 1e-7, "{}", sum);
        }
    }
}
