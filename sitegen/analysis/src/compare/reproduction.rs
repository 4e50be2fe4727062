//! Whether a rerun reproduced its original: the verdicts of a comparison, asked the other way round.
//!
//! Reproduced is what is *shown* to be the same, not what could not be told apart: a noisy benchmark run once reproduces
//! nothing. The reasons stand in `docs/methodology.md`.

use serde::Serialize;

use super::{Comparison, PointComparison, Verdict};

/// Stands with every verdict, with the version of this method.
pub const METHOD: &str = "every figure's 95 % interval of the change lies within its threshold";
pub const VERSION: u32 = 2;

/// What became of a rerun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reproduction {
    /// Every figure is shown to be within its threshold.
    Reproduced,
    /// Some figure changed beyond chance, for the worse or the better.
    NotReproduced,
    /// Neither.
    CannotTell,
}

impl Reproduction {
    /// Of several: one that was not reproduced decides, and without it one that cannot be told. Of nothing, nothing can
    /// be told.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<_> = all.into_iter().collect();
        let ranked = [Self::NotReproduced, Self::CannotTell, Self::Reproduced];
        ranked.into_iter().find(|outcome| all.contains(outcome)).unwrap_or(Self::CannotTell)
    }

    /// Of one point: base is the original, candidate the rerun.
    pub fn of_point(point: &PointComparison) -> Self {
        let figures = point.metrics.iter().map(|metric| match metric.verdict {
            Verdict::Same => Self::Reproduced,
            Verdict::Regressed | Verdict::Improved => Self::NotReproduced,
            Verdict::CannotTell => Self::CannotTell,
        });
        let together = point.joint.iter().filter(|joint| joint.verdict.is_change()).map(|_| Self::NotReproduced);
        Self::of_all(figures.chain(together).chain(point.one_sided.iter().map(|_| Self::CannotTell)))
    }

    pub fn of(comparison: &Comparison) -> Self {
        Self::of_all(comparison.points.iter().map(Self::of_point))
    }
}

impl std::fmt::Display for Reproduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::CannotTell => "cannot tell",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use archive::BenchmarkId;

    use super::*;
    use crate::compare::{
        Pair, compare,
        metric::{Metric, Thresholds},
        repetition::{Figure, Repetition},
    };

    fn side(first: u32, p99: &[f64]) -> Vec<Repetition> {
        let metric = Metric::parse("p99").expect("a metric");
        let one = |(number, value): (usize, &f64)| Repetition {
            id: BenchmarkId::new(20_260_301, first + number as u32),
            figures: BTreeMap::from([(metric, Figure { value: *value, within: 1e-6, supported: true })]),
            attempts: 1000,
            failed: 0,
        };
        p99.iter().enumerate().map(one).collect()
    }

    #[test]
    fn only_what_is_shown_to_be_the_same_is_reproduced() {
        use Reproduction::{CannotTell, NotReproduced, Reproduced};
        let steady = [1.0, 1.005, 0.995];
        let noisy = [1.0, 1.6, 0.7];
        for (original, rerun, expected) in [
            (&steady[..], &[1.001, 0.999, 1.002][..], Reproduced),
            (&steady, &[1.003], Reproduced),
            (&steady, &[1.2, 1.205, 1.195], NotReproduced),
            // A better result is another result.
            (&steady, &[0.8, 0.805, 0.795], NotReproduced),
            (&noisy, &[1.1], CannotTell),
            (&[1.0], &[1.0], CannotTell),
        ] {
            let pair = Pair { base: side(1, original), candidate: side(50, rerun), history: Vec::new() };
            let comparison = compare(&[pair], &[], &Thresholds::default());
            assert_eq!(Reproduction::of(&comparison), expected, "{original:?} {rerun:?}: {comparison:#?}");
        }
        assert_eq!(Reproduction::of_all([]), CannotTell);
        assert_eq!(Reproduction::of_all([Reproduced, CannotTell]), CannotTell);
        assert_eq!(Reproduction::of_all([CannotTell, NotReproduced]), NotReproduced);
    }
}
