//! The Hodges-Lehmann shift and its intervals, by order statistics of all differences.
//!
//! The differences are never held: an order statistic is found by counting how many lie below a number.

use serde::Serialize;

use super::{TwoSamples, least, median, rank::UDistribution};

/// Median of all differences candidate minus base (Hodges, Lehmann 1963), in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HodgesLehmann {
    pub shift: f64,
    /// By the exact distribution of U without ties; `None` with very many values.
    pub ci95_exact_order: Option<[f64; 2]>,
    /// What that interval really covers: below 0.95 where the sizes allow no better.
    pub exact_confidence: Option<f64>,
    /// By the normal approximation of that distribution.
    pub ci95_normal_order: [f64; 2],
    /// shift / median of the base; `None` when that is 0.
    pub relative_to_base_median: Option<f64>,
}

impl HodgesLehmann {
    /// The exact interval where it could be counted, else the normal one.
    pub fn ci95(&self) -> [f64; 2] {
        self.ci95_exact_order.unwrap_or(self.ci95_normal_order)
    }
}

impl TwoSamples {
    pub fn hodges_lehmann(&self) -> HodgesLehmann {
        let (n, m) = (self.base.len(), self.candidate.len());
        let pairs = n as u64 * m as u64;
        let shift = match pairs % 2 {
            1 => self.difference(pairs / 2 + 1),
            _ => (self.difference(pairs / 2) + self.difference(pairs / 2 + 1)) / 2.0,
        };
        let interval = |rank: u64| [self.difference(rank), self.difference(pairs + 1 - rank)];
        let exact = UDistribution::count(n, m).map(|distribution| {
            let rank = distribution.quantile(0.025).max(1);
            (interval(rank as u64), (1.0 - 2.0 * distribution.at_most(rank - 1)).max(0.0))
        });
        let (n, m) = (n as f64, m as f64);
        let normal = (n * m / 2.0 - 1.96 * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor().max(1.0);
        let base = median(&self.base);
        HodgesLehmann {
            shift,
            ci95_exact_order: exact.map(|(interval, _)| interval),
            exact_confidence: exact.map(|(_, confidence)| confidence),
            ci95_normal_order: interval(normal as u64),
            relative_to_base_median: (base != 0.0).then(|| shift / base),
        }
    }

    /// The difference of this rank among all, from 1.
    fn difference(&self, rank: u64) -> f64 {
        least(|bound| {
            let mut above = 0;
            let count = |candidate: &f64| {
                above += self.base[above..].iter().take_while(|base| candidate - *base > bound).count();
                (self.base.len() - above) as u64
            };
            self.candidate.iter().map(count).sum::<u64>() >= rank
        })
    }
}
