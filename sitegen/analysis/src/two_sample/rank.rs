//! The Mann-Whitney U test, exact where that can be counted.

use serde::Serialize;
use statrs::function::erf::erfc;

use super::TwoSamples;

/// Pairs up to which the distribution of U is counted: 100 against 100 values.
const MOST_PAIRS: usize = 10_000;

/// Additions that counting the splits of tied ranks may take.
const MOST_ADDITIONS: usize = 200_000_000;

/// U of the candidate and its p values (Mann, Whitney 1947). Two-sided unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MannWhitney {
    /// Pairs where the candidate is larger; equal pairs count half.
    pub u_candidate: f64,
    /// Normal, corrected for ties, with continuity correction.
    pub p_asymptotic_cc: Option<f64>,
    /// The same without; `None` when all values are equal.
    pub p_asymptotic_nocc: Option<f64>,
    /// `None` with ties, and with very many values.
    pub p_exact: Option<f64>,
    /// One-sided: the candidate is larger.
    pub p_exact_greater: Option<f64>,
    /// Over all splits of the tied ranks; only with ties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_permutation_exact: Option<f64>,
}

impl MannWhitney {
    /// The best of the two-sided p values.
    pub fn p(&self) -> f64 {
        self.p_exact.or(self.p_permutation_exact).or(self.p_asymptotic_cc).unwrap_or(1.0)
    }
}

impl TwoSamples {
    pub fn mann_whitney(&self) -> MannWhitney {
        let (n, m) = (self.base.len(), self.candidate.len());
        let all_pairs = n as u128 * m as u128;
        let pairs = self.pairs();
        let doubled_u = all_pairs + pairs.greater - pairs.smaller;
        let u = doubled_u as f64 / 2.0;
        let centre = all_pairs as f64 / 2.0;
        let distance = (u - centre).abs();

        let ranks = self.tied_ranks();
        let total = (n + m) as f64;
        let tied: f64 = ranks.iter().map(|(_, count)| (*count as f64).powi(3) - *count as f64).sum();
        let spread = (all_pairs as f64 / 12.0 * ((total + 1.0) - tied / (total * (total - 1.0)))).max(0.0).sqrt();
        let two_sided = |distance: f64| erfc(distance / spread / std::f64::consts::SQRT_2).min(1.0);
        let without_spread = ranks.len() == 1;

        let ties = ranks.iter().any(|(_, count)| *count > 1);
        let exact = (!ties).then(|| UDistribution::count(n, m)).flatten().map(|distribution| {
            let u = u as usize;
            let extreme = u.min(n * m - u);
            ((2.0 * distribution.at_most(extreme)).min(1.0), distribution.at_most(n * m - u))
        });
        MannWhitney {
            u_candidate: u,
            p_asymptotic_cc: Some(if without_spread { 1.0 } else { two_sided(distance - 0.5) }),
            p_asymptotic_nocc: (!without_spread).then(|| two_sided(distance)),
            p_exact: exact.map(|(two_sided, _)| two_sided),
            p_exact_greater: exact.map(|(_, greater)| greater),
            p_permutation_exact: ties.then(|| permutation_p(&ranks, n, m, doubled_u)).flatten(),
        }
    }

    /// Doubled mid-rank and size of each group of equal values, ascending.
    fn tied_ranks(&self) -> Vec<(usize, usize)> {
        let mut all = [&self.base[..], &self.candidate[..]].concat();
        all.sort_unstable_by(f64::total_cmp);
        let mut before = 0;
        let groups = all.chunk_by(|a, b| a == b).map(|group| {
            let doubled_rank = 2 * before + group.len() + 1;
            before += group.len();
            (doubled_rank, group.len())
        });
        groups.collect()
    }
}

/// Share of all splits of the ranks whose rank sum lies as far from its mean as the one seen, or further.
fn permutation_p(ranks: &[(usize, usize)], n: usize, m: usize, doubled_u: u128) -> Option<f64> {
    // The rank sums of the two sides are equally far from their means: the smaller side is counted.
    let (taken, total) = (n.min(m), n + m);
    let largest_sum = total * (total + 1);
    if total.checked_mul(taken)?.checked_mul(largest_sum)? > MOST_ADDITIONS {
        return None;
    }
    // ways[k][s]: the share of choices of k ranks that have the doubled sum s. Chances, not counts: those overflow.
    let mut ways = vec![vec![0.0_f64; largest_sum + 1]; taken + 1];
    ways[0][0] = 1.0;
    for (seen, rank) in ranks.iter().flat_map(|(rank, count)| std::iter::repeat_n(*rank, *count)).enumerate() {
        for k in (0..taken.min(seen + 1)).rev() {
            // Sequential sampling: the next rank is taken with the chance that is left for it.
            let chance = (taken - k) as f64 / (total - seen) as f64;
            let (lower, upper) = ways.split_at_mut(k + 1);
            let (from, to) = (&mut lower[k], &mut upper[0]);
            for sum in (0..=largest_sum - rank.min(largest_sum)).rev() {
                to[sum + rank] += from[sum] * chance;
            }
            from.iter_mut().for_each(|share| *share *= 1.0 - chance);
        }
    }
    let (n, m) = (n as i128, m as i128);
    let distance = (doubled_u as i128 - n * m).abs();
    let mean = taken as i128 * (total as i128 + 1);
    let shares = (0..).zip(&ways[taken]);
    Some(shares.filter(|(sum, _)| (sum - mean).abs() >= distance).map(|(_, share)| share).sum::<f64>().min(1.0))
}

/// The distribution of U without ties, counted.
pub struct UDistribution {
    /// P(U ≤ u) for u up to half of all pairs.
    cumulative: Vec<f64>,
    pairs: usize,
}

impl UDistribution {
    /// `None` when there are more than [`MOST_PAIRS`] pairs.
    pub fn count(n: usize, m: usize) -> Option<Self> {
        let pairs = n.checked_mul(m).filter(|pairs| *pairs <= MOST_PAIRS)?;
        let half = pairs / 2;
        // P(n, m, u) = n/(n+m) P(n−1, m, u−m) + m/(n+m) P(n, m−1, u), by who has the largest value.
        let zero = || [1.0].into_iter().chain(std::iter::repeat_n(0.0, half)).collect::<Vec<f64>>();
        let mut column: Vec<Vec<f64>> = (0..=m).map(|_| zero()).collect();
        for i in 1..=n {
            column[0] = zero();
            for j in 1..=m {
                let (before, from) = column.split_at_mut(j);
                let (fewer, current) = (&before[j - 1], &mut from[0]);
                let share = i as f64 / (i + j) as f64;
                for u in (0..=half).rev() {
                    let shifted = if u >= j { current[u - j] } else { 0.0 };
                    current[u] = share * shifted + (1.0 - share) * fewer[u];
                }
            }
        }
        let mut sum = 0.0;
        let cumulative = column.swap_remove(m).into_iter().map(|chance| {
            sum += chance;
            sum
        });
        Some(Self { cumulative: cumulative.collect(), pairs })
    }

    pub fn at_most(&self, u: usize) -> f64 {
        match self.cumulative.get(u) {
            Some(chance) => *chance,
            None if u >= self.pairs => 1.0,
            None => 1.0 - self.cumulative[self.pairs - u - 1],
        }
    }

    /// The smallest u with P(U ≤ u) ≥ `chance`, which is below one half.
    pub fn quantile(&self, chance: f64) -> usize {
        self.cumulative.partition_point(|cumulative| *cumulative < chance * (1.0 - 1e-12))
    }
}
