//! How much a further change of level would explain: the statistic that is permuted.

use super::SHORTEST_LEVEL;

/// Blocks are looked for up to this length; a longer one is found as two steps.
const LONGEST_BLOCK: usize = 64;

/// Distance from the running median, in standard deviations, from which a value is drawn in.
const OUTLYING: f64 = 3.5;

/// Values that fix how much noise follows itself.
const ENOUGH_FOR_CORRELATION: usize = 24;

/// −ln of the chance under normal noise, search over all places included, about.
pub type Evidence = f64;

/// One or two changes that a level would be split at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    Step(usize),
    Block(usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Best {
    pub addition: Addition,
    pub evidence: Evidence,
}

impl Addition {
    pub fn indices(self) -> Vec<usize> {
        match self {
            Self::Step(index) => vec![index],
            Self::Block(from, to) => vec![from, to],
        }
    }
}

/// Evidence for additions to the same levels, of one history after another.
pub struct Histories<'a> {
    bounds: &'a [usize],
    within: Option<[usize; 2]>,
    sums: Vec<f64>,
}

impl<'a> Histories<'a> {
    /// `bounds` are 0, the changes known and the length; additions are looked for `within` a stretch only, if given.
    pub fn new(bounds: &'a [usize], within: Option<[usize; 2]>) -> Self {
        Self { bounds, within, sums: Vec::new() }
    }

    /// The addition to the levels with the most evidence; `None` when there is no room for one, or nothing to explain.
    pub fn best_addition(&mut self, values: &[f64]) -> Option<Best> {
        let values = cleaned(values);
        self.sums.clear();
        self.sums.push(0.0);
        let mut sum = 0.0;
        self.sums.extend(values.iter().map(|value| {
            sum += value;
            sum
        }));
        let sums = &self.sums;
        // Squared sum over length: what a level of its own explains of a stretch.
        let explained = |from: usize, to: usize| (sums[to] - sums[from]).powi(2) / (to - from) as f64;
        let mut step: Option<(f64, usize)> = None;
        let mut block: Option<(f64, usize, usize)> = None;
        let mut left_over: f64 = values.iter().map(|value| value * value).sum();
        for at in self.bounds.windows(2) {
            let (first, last) = (at[0], at[1]);
            let before = explained(first, last);
            left_over -= before;
            if self.within.is_some_and(|within| within != [first, last]) || last - first < 2 * SHORTEST_LEVEL {
                continue;
            }
            for i in first + SHORTEST_LEVEL..=last - SHORTEST_LEVEL {
                let gain = explained(first, i) + explained(i, last) - before;
                if step.is_none_or(|(most, _)| gain > most) {
                    step = Some((gain, i));
                }
                let left = explained(first, i);
                for j in i + SHORTEST_LEVEL..=(last - SHORTEST_LEVEL).min(i + LONGEST_BLOCK) {
                    let gain = left + explained(i, j) + explained(j, last) - before;
                    if block.is_none_or(|(most, ..)| gain > most) {
                        block = Some((gain, i, j));
                    }
                }
            }
        }
        let places = values.len() as f64;
        let levels = self.bounds.len() - 1;
        let share = independent_share(&values);
        // d/(d + q·F), the share of the variance that stays unexplained, with F lowered for noise that follows itself.
        let unexplained = |gain: f64, levels: usize| {
            let freedom = values.len().saturating_sub(levels).max(1) as f64;
            // Exact data have no noise to compare with; the figures themselves are not truer than this.
            let after = (left_over - gain).max(1e-12 * left_over).max(1e-22 * places);
            (1.0 / (1.0 + gain / after * share), freedom / 2.0)
        };
        let rated_step = step.map(|(gain, i)| {
            let (x, half) = unexplained(gain, levels + 1);
            // The chance of an F with one degree of freedom, to the leading term of its tail.
            let tail = half * x.ln() - 0.5 * (half * std::f64::consts::PI).ln() - 0.5 * (1.0 - x).max(1e-12).ln();
            Best { addition: Addition::Step(i), evidence: -tail - places.ln() }
        });
        let rated_block = block.map(|(gain, i, j)| {
            let (x, half) = unexplained(gain, levels + 2);
            let searched = places * places.min(2.0 * LONGEST_BLOCK as f64) / 2.0;
            Best { addition: Addition::Block(i, j), evidence: -half * x.ln() - searched.ln() }
        });
        let best = [rated_step, rated_block].into_iter().flatten();
        best.max_by(|a, b| a.evidence.total_cmp(&b.evidence)).filter(|_| left_over > 1e-20 * places)
    }
}

/// Variance of the noise over its long-run variance, (1 − φ)/(1 + φ), when it follows itself (φ > 0).
///
/// Differences of neighbours and of next but one have variances in the ratio 1 to 1 + φ. A change of level touches
/// only one and two of them, which are left out as too large.
fn independent_share(values: &[f64]) -> f64 {
    if values.len() < ENOUGH_FOR_CORRELATION {
        return 1.0;
    }
    let spread = |lag: usize| {
        let mut squares: Vec<f64> = values.iter().zip(&values[lag..]).map(|(a, b)| (b - a).powi(2)).collect();
        let middle = squares.len() / 2;
        let (_, typical, _) = squares.select_nth_unstable_by(middle, f64::total_cmp);
        // Of squared normal values the median is 0.455 of the mean.
        let most = OUTLYING * OUTLYING * *typical / 0.455;
        let kept = squares.iter().filter(|square| **square <= most);
        kept.clone().sum::<f64>() / kept.count() as f64
    };
    let (near, far) = (spread(1), spread(2));
    let phi = far / near - 1.0;
    // Within chance it counts as none; so it does where nothing differs from its neighbour.
    match phi > 2.0 / (values.len() as f64).sqrt() {
        true => (1.0 - phi.min(0.95)) / (1.0 + phi.min(0.95)),
        false => 1.0,
    }
}

/// Values with outliers drawn in to the median of five around them, give or take what noise can do.
pub fn cleaned(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let running: Vec<f64> = (0..n)
        .map(|i| {
            let reach = 2.min(i).min(n - 1 - i).max(1);
            let (from, to) = (i.saturating_sub(reach).min(n.saturating_sub(3)), (i + reach + 1).max(3).min(n));
            let mut near = [0.0; 5];
            let near = &mut near[..to - from];
            near.copy_from_slice(&values[from..to]);
            near.sort_unstable_by(f64::total_cmp);
            near[near.len() / 2]
        })
        .collect();
    let mut distances: Vec<f64> = values.iter().zip(&running).map(|(value, median)| (value - median).abs()).collect();
    let middle = n / 2;
    let (_, typical, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    // The running median takes some of the noise with it: for normal noise the middle distance is 0.53 of σ. Where
    // most values are their own median, the mean distance must do.
    let typical = if *typical > 0.0 { *typical / 0.53 } else { distances.iter().sum::<f64>() / n as f64 };
    let most = OUTLYING * typical;
    values.iter().zip(running).map(|(value, median)| value.clamp(median - most, median + most)).collect()
}

/// What two levels explain beyond one.
pub fn gain(values: &[f64], first: usize, at: usize, last: usize) -> f64 {
    let explained = |stretch: &[f64]| stretch.iter().sum::<f64>().powi(2) / stretch.len() as f64;
    explained(&values[first..at]) + explained(&values[at..last]) - explained(&values[first..last])
}

/// Where two levels fit a stretch best.
pub fn best_split(values: &[f64], first: usize, last: usize) -> Option<usize> {
    let places = first + SHORTEST_LEVEL..(last + 1).saturating_sub(SHORTEST_LEVEL);
    places.max_by(|a, b| gain(values, first, *a, last).total_cmp(&gain(values, first, *b, last)))
}
