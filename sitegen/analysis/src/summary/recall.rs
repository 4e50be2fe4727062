//! Recall over many searches: exact figures in bounded memory.
//!
//! A recall is a ratio of two small whole numbers, so there are few different ones, and counting each is exact.

use std::collections::BTreeMap;

use archive::Recall;

/// Different values that are told apart; beyond it, values are rounded to this part of 1.
const MOST_VALUES: usize = 100_000;

#[derive(Default)]
pub struct RecallCounts {
    /// Bits of the value → searches. For numbers that are not negative, the order of bits is that of values.
    counts: BTreeMap<u64, u64>,
}

impl RecallCounts {
    pub fn add(&mut self, recall: Option<f64>) {
        let Some(mut recall) = recall else { return };
        // Minus zero would sort last.
        recall += 0.0;
        if self.counts.len() >= MOST_VALUES && !self.counts.contains_key(&recall.to_bits()) {
            recall = (recall * MOST_VALUES as f64).round() / MOST_VALUES as f64;
        }
        *self.counts.entry(recall.to_bits()).or_default() += 1;
    }

    /// `None` without a single value.
    pub fn figures(&self) -> Option<Recall> {
        let count: u64 = self.counts.values().sum();
        let (least, _) = self.counts.first_key_value()?;
        let sum: f64 = self.counts.iter().map(|(bits, count)| f64::from_bits(*bits) * *count as f64).sum();
        Some(Recall {
            count,
            avg: sum / count as f64,
            min: f64::from_bits(*least),
            p1: self.percentile(count, 1.0),
            p5: self.percentile(count, 5.0),
            p10: self.percentile(count, 10.0),
            p50: self.percentile(count, 50.0),
        })
    }

    /// Linear interpolation between order statistics at rank (n − 1)·p/100.
    fn percentile(&self, count: u64, percent: f64) -> f64 {
        let rank = (count - 1) as f64 * percent / 100.0;
        let (below, above) = (self.at(rank.floor() as u64), self.at(rank.ceil() as u64));
        below + (above - below) * rank.fract()
    }

    /// The order statistic of that rank, from 0.
    fn at(&self, rank: u64) -> f64 {
        let mut passed = 0;
        for (bits, count) in &self.counts {
            passed += count;
            if rank < passed {
                return f64::from_bits(*bits);
            }
        }
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn figures_are_those_of_the_sorted_values(found in vec(0..=20u32, 1..300)) {
            let mut counts = RecallCounts::default();
            counts.add(None);
            let mut values: Vec<f64> = found.iter().map(|found| f64::from(*found) / 20.0).collect();
            values.iter().for_each(|value| counts.add(Some(*value)));
            values.sort_by(f64::total_cmp);
            let figures = counts.figures().expect("values");
            let expect = |percent: f64| {
                let rank = (values.len() - 1) as f64 * percent / 100.0;
                let [below, above] = [rank.floor(), rank.ceil()].map(|rank| values[rank as usize]);
                below + (above - below) * rank.fract()
            };
            prop_assert_eq!((figures.count, figures.min), (values.len() as u64, values[0]));
            prop_assert!((figures.avg - values.iter().sum::<f64>() / values.len() as f64).abs() < 1e-12);
            let percentiles = [figures.p1, figures.p5, figures.p10, figures.p50];
            for (figure, percent) in percentiles.into_iter().zip([1.0, 5.0, 10.0, 50.0]) {
                prop_assert!((figure - expect(percent)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(RecallCounts::default().figures(), None);
    }
}
