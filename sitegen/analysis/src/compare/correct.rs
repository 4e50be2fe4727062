//! What many tests at once make of each: corrected p values, and the verdicts that follow.
//!
//! Over the points Holm's step-down. Within a point the tests of its figures are closed (Marcus, Peritz and Gabriel 1976):
//! a figure has changed when its own test says so and every set of figures it is in is shown not to be unchanged as a
//! whole. Of the set of all figures that is tested by their mean and by Hochberg's step-up (1988), of smaller sets by the
//! latter. Failed requests are a test beside the figures.

use super::{Effect, FOR_WORSE, JointComparison, MetricComparison, SIGNIFICANCE, Tests, Verdict, verdict::Planning};

/// Share of the error of all figures that the test of their mean takes; the rest is for a change of few of them.
const FOR_MEAN: f64 = 0.9;

/// Corrected p values of one point before Holm's correction.
struct Within {
    figures: Vec<Option<f64>>,
    joint: Option<f64>,
    failures: Option<f64>,
}

impl Within {
    fn of(tests: &Tests) -> Self {
        let raw: Vec<Option<f64>> =
            tests.figures.iter().map(|effect| Some(directed(effect.row.p_value?, effect.worse))).collect();
        let known: Vec<f64> = raw.iter().copied().flatten().collect();
        let mean = tests.joint.as_ref().map(|effect| directed(effect.row.p_value, effect.worse));
        let (all, closed) = closed(&known, mean);
        let joint = mean.map(|mean| (mean / FOR_MEAN).min(1.0));
        let failures = tests.failures.first().and_then(|effect| Some(directed(effect.row.p_value?, effect.worse)));
        // Hochberg's correction of two: the figures, and the failures.
        let beside = |own: f64, other: Option<f64>| match other {
            Some(other) if own < other => (2.0 * own).min(other),
            _ => own,
        };
        let mut closed = closed.into_iter().map(|p_value| beside(p_value, failures));
        Self {
            figures: raw.iter().map(|p_value| p_value.and_then(|_| closed.next())).collect(),
            joint: joint.map(|p_value| beside(p_value, failures)),
            failures: failures.map(|p_value| beside(p_value, (!known.is_empty()).then_some(all))),
        }
    }

    fn least(&self) -> Option<f64> {
        let all = self.figures.iter().chain([&self.joint, &self.failures]).flatten();
        all.copied().min_by(f64::total_cmp)
    }
}

/// A two-sided p value as its direction is weighed: the error is not shared evenly between worse and better.
fn directed(p_value: f64, worse: bool) -> f64 {
    let share = if worse { FOR_WORSE } else { 1.0 - FOR_WORSE };
    (p_value / (2.0 * share)).min(1.0)
}

/// p of all figures being unchanged, and that of each when all sets of figures are tested.
fn closed(figures: &[f64], mean: Option<f64>) -> (f64, Vec<f64>) {
    let mut order: Vec<usize> = (0..figures.len()).collect();
    order.sort_by(|a, b| figures[*b].total_cmp(&figures[*a]));
    let mut stepped_up = vec![1.0; figures.len()];
    let mut smallest: f64 = 1.0;
    for (rank, place) in order.iter().enumerate() {
        smallest = smallest.min(figures[*place] * (rank + 1) as f64);
        stepped_up[*place] = smallest;
    }
    let Some(mean) = mean else { return (smallest, stepped_up) };
    let all = (mean / FOR_MEAN).min(smallest / (1.0 - FOR_MEAN)).min(1.0);
    for (rank, place) in order.iter().enumerate() {
        // Sets smaller than all have one figure less at most.
        let smaller_sets = (rank + 1).min(figures.len().saturating_sub(1)).max(1);
        stepped_up[*place] = stepped_up[*place].min(figures[*place] * smaller_sets as f64).max(all);
    }
    (all, stepped_up)
}

/// Corrects for all tests of the comparison, and gives the verdicts that follow.
pub fn correct(points: &mut [Tests]) {
    let within: Vec<Within> = points.iter().map(Within::of).collect();
    let mut tested: Vec<(usize, f64)> =
        within.iter().enumerate().filter_map(|(index, within)| Some((index, within.least()?))).collect();
    tested.sort_by(|a, b| a.1.total_cmp(&b.1));
    let count = tested.len();
    let level = SIGNIFICANCE / count.max(1) as f64;
    let mut factors = vec![(1.0, 0.0); points.len()];
    // A point's correction is at least that of the point before it.
    let mut largest: f64 = 0.0;
    for (rank, (index, least)) in tested.iter().enumerate() {
        let factor = (count - rank) as f64;
        factors[*index] = (factor, largest);
        largest = (least * factor).min(1.0).max(largest);
    }
    for ((tests, within), (factor, least)) in points.iter_mut().zip(within).zip(factors) {
        let over_points = |p_value: f64| (p_value * factor).min(1.0).max(least);
        for (effect, p_value) in tests.figures.iter_mut().zip(within.figures) {
            effect.row.p_corrected = p_value.map(over_points);
            conclude(effect, level);
        }
        for effect in &mut tests.failures {
            effect.row.p_corrected = within.failures.map(over_points);
            conclude(effect, level);
        }
        if let Some(effect) = &mut tests.joint {
            effect.row.p_corrected = within.joint.map(over_points);
            conclude(effect, level);
        }
    }
}

/// A row that gets a verdict.
trait Row {
    fn p_corrected(&self) -> Option<f64>;
    fn says(&mut self) -> (&mut Verdict, &mut String);
    fn needs(&mut self, repetitions: Option<u32>);
}

impl Row for MetricComparison {
    fn p_corrected(&self) -> Option<f64> {
        self.p_corrected
    }

    fn says(&mut self) -> (&mut Verdict, &mut String) {
        (&mut self.verdict, &mut self.reason)
    }

    fn needs(&mut self, repetitions: Option<u32>) {
        self.repetitions_needed = repetitions;
    }
}

impl Row for JointComparison {
    fn p_corrected(&self) -> Option<f64> {
        self.p_corrected
    }

    fn says(&mut self) -> (&mut Verdict, &mut String) {
        (&mut self.verdict, &mut self.reason)
    }

    fn needs(&mut self, _: Option<u32>) {}
}

fn conclude<R: Row>(effect: &mut Effect<R>, level: f64) {
    let significant = effect.row.p_corrected().is_some_and(|p_value| p_value <= SIGNIFICANCE);
    let found = effect.if_significant.take().filter(|_| significant);
    let (verdict, reason) = effect.row.says();
    *verdict = effect.otherwise;
    if let Some((change, why)) = found {
        (*verdict, *reason) = (change, why);
    }
    if *verdict == Verdict::CannotTell {
        let own_level = 2.0 * level * if effect.worse { FOR_WORSE } else { 1.0 - FOR_WORSE };
        let needed = effect.needed.as_ref().and_then(|planning: &Planning| planning.repetitions(own_level));
        effect.row.needs(needed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sets_of_figures_are_tested() {
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        // Without a mean it is Hochberg's correction.
        let (all, figures) = closed(&[0.01, 0.04, 0.03], None);
        near(all, 0.03);
        near(figures[0], 0.03);
        near(figures[2], 0.04);
        // The mean decides of all, each figure's own test of itself.
        let (all, figures) = closed(&[0.02, 0.5], Some(0.0009));
        near(all, 0.001);
        near(figures[0], 0.02);
        near(figures[1], 0.5);
        // A mean that shows nothing leaves one figure with what Hochberg's test of all has.
        let (all, figures) = closed(&[1e-6, 0.9], Some(0.9));
        near(all, 2e-5);
        near(figures[0], 2e-5);
        near(figures[1], 0.9);
        let (_, figures) = closed(&[0.001, 0.002, 0.003], Some(1e-9));
        near(figures[0], 0.002);
        near(figures[2], 0.003);
    }

    #[test]
    fn of_the_error_most_is_for_changes_for_the_worse() {
        let both = directed(0.01, true).recip() + directed(0.01, false).recip();
        assert!((both - 200.0).abs() < 1e-9, "{both}");
        assert!(directed(0.01, true) < 0.01 && directed(0.5, false) == 1.0);
    }
}
