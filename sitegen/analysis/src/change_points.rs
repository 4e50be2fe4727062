//! Change points of a history: where the level of a figure moved for good, or for at least three runs.
//!
//! Binary segmentation with a step and with a block as alternatives (circular binary segmentation, Olshen et al. 2004),
//! each test by permutation of what the levels found so far leave over (Freedman, Lane 1983). On a history without a
//! change the first test is the only one, and permutation makes its error exact for any independent noise. A single wild
//! value, or two in a row, is no level; a change of spread alone is none either. Noise that follows itself lowers
//! the evidence in proportion to its long-run variance.

mod evidence;

use evidence::{Addition, Evidence, Histories};
use serde::Serialize;

use crate::random::Random;

/// Name and version of the method, to be shown beside every answer.
pub const METHOD: &str = "permutation segmentation, version 2";

/// Chance of any answer on a history that has no change.
pub const ALPHA: f64 = 0.01;

/// Values that a level has at least: fewer may be outliers.
pub const SHORTEST_LEVEL: usize = 3;

/// Permutations behind each p value, for histories up to and above [`SHORT`] values.
const PERMUTATIONS: [usize; 2] = [1999, 499];
const SHORT: usize = 64;

/// Up to so many values there are too few permutations for even the plainest step to be significant. There, what normal
/// theory holds for far beyond chance, search over all places included, counts too when permutations do not refute it.
const VERY_SHORT: usize = 14;
const FAR_BEYOND_CHANCE: f64 = 1e-3;
const NOT_REFUTED: f64 = 0.05;

/// Up to so many values a step at the edge has no more than one permutation in twenty against it; above, so much is asked
/// of permutations that noise with two modes is seldom taken for two levels.
const SHORTEST: usize = 10;
const NOT_REFUTED_ABOVE: f64 = 0.02;

/// Values on each side of a change that tell how noisy it is there, at least, if there are as many; and how many values
/// in all it takes for permutations of them to be able to tell.
const NEARBY: usize = 15;

/// One change of level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChangePoint {
    /// Place of the first value of the new level, from 0.
    pub index: usize,
    /// Chance of as much evidence for it, or more, if there were only the other changes.
    pub p: f64,
    /// Means of the levels before and after, outliers drawn in to the values around them.
    pub mean_before: f64,
    pub mean_after: f64,
    /// (after − before) / |before|; `None` when before is 0.
    pub relative_change: Option<f64>,
}

/// Finds the changes of level in values in the order of their runs. Values that are not finite make it `None`.
pub fn change_points(values: &[f64]) -> Option<Vec<ChangePoint>> {
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    if values.len() < 2 * SHORTEST_LEVEL {
        return Some(Vec::new());
    }
    let history = History::scaled(values);
    let mut bounds = vec![0, values.len()];
    // Each round adds one or two changes, so there is an end; a history that needs more levels is none.
    while let Some((_, addition)) = history.significant_addition(&bounds, None) {
        bounds.extend(addition.indices());
        bounds.sort_unstable();
        history.settle(&mut bounds);
    }
    let p = history.prune(&mut bounds);
    let cleaned = evidence::cleaned(&history.values);
    let level = |from: usize, to: usize| mean(&cleaned[from..to]) * history.scale + history.centre;
    let changes = bounds.windows(3).zip(p).map(|(at, p)| {
        let (before, after) = (level(at[0], at[1]), level(at[1], at[2]));
        let relative_change = Some((after - before) / before.abs()).filter(|change| change.is_finite());
        ChangePoint { index: at[1], p, mean_before: before, mean_after: after, relative_change }
    });
    Some(changes.collect())
}

/// Values around 0 and of a range of about 1, so that squares of them neither vanish nor overflow.
struct History {
    values: Vec<f64>,
    centre: f64,
    scale: f64,
}

impl History {
    fn scaled(values: &[f64]) -> Self {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        let (centre, half) = (low / 2.0 + high / 2.0, high / 2.0 - low / 2.0);
        let scale = if half > 0.0 { half } else { 1.0 };
        Self { values: values.iter().map(|value| (value - centre) / scale).collect(), centre, scale }
    }

    /// What is left of the values when each level's mean is taken away.
    fn residuals(&self, bounds: &[usize]) -> Vec<f64> {
        let cleaned = evidence::cleaned(&self.values);
        let levels = bounds.windows(2).flat_map(|at| {
            let level = mean(&cleaned[at[0]..at[1]]);
            self.values[at[0]..at[1]].iter().map(move |value| value - level)
        });
        levels.collect()
    }

    /// The best addition to the levels, within the stretch given, when chance does not explain it; with its p value.
    fn significant_addition(&self, bounds: &[usize], within: Option<[usize; 2]>) -> Option<(f64, Addition)> {
        let residuals = self.residuals(bounds);
        let mut histories = Histories::new(bounds, within);
        let best = histories.best_addition(&residuals)?;
        let p = permutation_p(&residuals, best.evidence, &mut histories);
        let refuted_from = if residuals.len() <= SHORTEST { NOT_REFUTED } else { NOT_REFUTED_ABOVE };
        let plain = residuals.len() <= VERY_SHORT && p <= refuted_from && best.evidence >= -FAR_BEYOND_CHANCE.ln();
        (p <= ALPHA || plain).then_some((p, best.addition))
    }

    /// Moves every change to where the levels beside it fit best.
    fn settle(&self, bounds: &mut [usize]) {
        let cleaned = evidence::cleaned(&self.values);
        for _ in 0..4 {
            let before = bounds.to_vec();
            for i in 1..bounds.len() - 1 {
                if let Some(index) = evidence::best_split(&cleaned, bounds[i - 1], bounds[i + 1]) {
                    bounds[i] = index;
                }
            }
            if *bounds == before[..] {
                break;
            }
        }
    }

    /// Takes away changes that the others do not leave significant, the weakest first. Gives the p values of the rest.
    fn prune(&self, bounds: &mut Vec<usize>) -> Vec<f64> {
        'again: loop {
            let cleaned = evidence::cleaned(&self.values);
            let mut order: Vec<usize> = (1..bounds.len() - 1).collect();
            let gain = |i: &usize| evidence::gain(&cleaned, bounds[i - 1], bounds[*i], bounds[i + 1]);
            order.sort_by(|a, b| gain(a).total_cmp(&gain(b)));
            let mut p = vec![1.0; bounds.len()];
            for i in order {
                let stretch = [bounds[i - 1], bounds[i + 1]];
                let mut without = bounds.clone();
                without.remove(i);
                let found = self.significant_addition(&without, Some(stretch));
                match found.filter(|_| self.stands_out_nearby(stretch, bounds[i])) {
                    Some((value, _)) => p[i] = value,
                    None => {
                        *bounds = without;
                        self.settle(bounds);
                        continue 'again;
                    }
                }
            }
            return p[1..p.len() - 1].to_vec();
        }
    }

    /// Whether the two levels of a stretch differ against the noise around their change alone, as far as there are
    /// values enough to tell: elsewhere the history may be quieter.
    fn stands_out_nearby(&self, [from, to]: [usize; 2], at: usize) -> bool {
        let reach = |other_side: usize| other_side.max(NEARBY);
        let (from, to) = (from.max(at.saturating_sub(reach(to - at))), to.min(at + reach(at - from)));
        let near = &self.values[from..to];
        if near.len() < NEARBY {
            return true;
        }
        let alone = [0, near.len()];
        let mut histories = Histories::new(&alone, None);
        let Some(best) = histories.best_addition(near) else { return false };
        permutation_p(near, best.evidence, &mut histories) <= ALPHA
    }
}

/// Share of permutations with as much evidence, or more; above [`NOT_REFUTED`] it is only a lower bound.
fn permutation_p(residuals: &[f64], seen: Evidence, histories: &mut Histories) -> f64 {
    let permutations = PERMUTATIONS[usize::from(residuals.len() > SHORT)];
    let hopeless = (NOT_REFUTED * (permutations + 1) as f64) as usize;
    let mut random = Random::new(0x6368_616e_6765);
    let mut shuffled = residuals.to_vec();
    let mut as_much = 0;
    for _ in 0..permutations {
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, random.below(i + 1));
        }
        // Rounding must not tell the same arrangement from itself.
        let evidence = histories.best_addition(&shuffled).map_or(0.0, |best| best.evidence);
        as_much += usize::from(evidence >= seen - 1e-9 * seen.abs());
        if as_much > hopeless {
            break;
        }
    }
    (as_much + 1) as f64 / (permutations + 1) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests;
