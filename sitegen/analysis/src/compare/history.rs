//! A figure over the executions of one configuration: the levels it had, and whether each is worse than the one before.

use serde::Serialize;

use super::{Verdict, metric::Metric, verdict::band};
use crate::{CHANGE_POINT_METHOD, change_points};

/// One figure's past, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    pub method: &'static str,
    pub metric: Metric,
    pub threshold: f64,
    pub executions: usize,
    pub levels: Vec<Level>,
}

/// Executions in a row between which the figure did not change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// Places of the first and the last execution, from 0.
    pub first: usize,
    pub last: usize,
    /// Geometric mean.
    pub value: f64,
    /// Percent of the level before; the first has none, nor a p.
    pub change: Option<f64>,
    pub p_value: Option<f64>,
    /// `same` for a change that is within the threshold.
    pub verdict: Option<Verdict>,
}

impl History {
    /// Whether the newest change was for the worse.
    pub fn regressed(&self) -> bool {
        self.levels.last().is_some_and(|level| level.verdict == Some(Verdict::Regressed))
    }
}

/// `values`: one positive figure an execution, the geometric mean of its repetitions. `None` when one is not positive and
/// finite, or there are none.
pub fn history(metric: Metric, threshold: f64, values: &[f64]) -> Option<History> {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let changes = change_points(&logs).filter(|_| !values.is_empty())?;
    let band = band(metric, threshold);
    let starts: Vec<usize> = std::iter::once(0).chain(changes.iter().map(|change| change.index)).collect();
    let ends = starts[1..].iter().copied().chain([values.len()]);
    let mut levels: Vec<Level> = Vec::new();
    let mut before = None;
    for (index, (first, end)) in starts.iter().copied().zip(ends).enumerate() {
        let mean = super::noise::mean(&logs[first..end]);
        let verdict = |before: f64| {
            let change = mean - before;
            match change {
                change if change >= band[0] && change <= band[1] => Verdict::Same,
                change if (change > 0.0) == metric.more_is_worse() => Verdict::Regressed,
                _ => Verdict::Improved,
            }
        };
        levels.push(Level {
            first,
            last: end - 1,
            value: mean.exp(),
            change: before.map(|before: f64| (mean - before).exp_m1() * 100.0),
            p_value: index.checked_sub(1).map(|change| changes[change].p),
            verdict: before.map(verdict),
        });
        before = Some(mean);
    }
    Some(History { method: CHANGE_POINT_METHOD, metric, threshold, executions: values.len(), levels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(metric: &str, levels: &[(usize, f64)]) -> Vec<Option<Verdict>> {
        // A ripple of 1 % that no level hides.
        let values: Vec<f64> = levels
            .iter()
            .flat_map(|(count, value)| (0..*count).map(move |_| *value))
            .enumerate()
            .map(|(place, value)| value * (1.0 + 0.01 * ((place * 7 % 5) as f64 - 2.0) / 2.0))
            .collect();
        let history = history(Metric::parse(metric).expect("a metric"), 10.0, &values).expect("a history");
        assert_eq!(history.regressed(), history.levels.last().expect("levels").verdict == Some(Verdict::Regressed));
        history.levels.iter().map(|level| level.verdict).collect()
    }

    #[test]
    fn a_level_is_judged_by_the_one_before() {
        use Verdict::*;
        assert_eq!(verdicts("p99", &[(20, 1.0)]), [None]);
        assert_eq!(verdicts("p99", &[(10, 1.0), (10, 1.5)]), [None, Some(Regressed)]);
        assert_eq!(verdicts("throughput", &[(10, 1.0), (10, 1.5)]), [None, Some(Improved)]);
        assert_eq!(verdicts("throughput", &[(10, 1.0), (10, 0.8), (10, 1.0)]), [None, Some(Regressed), Some(Improved)]);
        assert_eq!(verdicts("p99", &[(15, 1.0), (15, 1.05)]), [None, Some(Same)]);
        let metric = Metric::parse("p99").expect("a metric");
        assert_eq!(history(metric, 10.0, &[]), None);
        assert_eq!(history(metric, 10.0, &[1.0, 0.0]), None);
    }
}
