//! Whether a candidate got slower than its base: effects with intervals, thresholds, and verdicts that rest on
//! evidence.
//!
//! Reads figures of repetitions, never single requests. The model, and how often it errs, stand in
//! `docs/methodology.md`.

use serde::Serialize;

pub mod differences;
pub(crate) mod distribution;
pub mod facts;
mod failures;
pub mod history;
pub mod metric;
mod noise;
pub mod past;
pub mod repetition;
pub mod reproduction;
mod verdict;

use self::{
    failures::Counts,
    metric::{Metric, Thresholds},
    noise::Variance,
    repetition::Repetition,
};

/// Stands with every verdict, with the version of this method.
pub const METHOD: &str = "moderated t test of log means, Holm's correction, equivalence within the threshold";
pub const VERSION: u32 = 2;

/// What corrected p values are held against. At most 1 % of the campaigns without any change may have a wrong verdict; the
/// rest is for what the noise model only approximates.
pub const SIGNIFICANCE: f64 = 0.007;

/// Of the intervals: 95 %.
const OUTSIDE: f64 = 0.05;

/// What is compared: one point of the sweep on both sides.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    pub base: Vec<Repetition>,
    pub candidate: Vec<Repetition>,
    /// Earlier executions of exactly what `base` is an execution of, each with its repetitions.
    pub history: Vec<Vec<Repetition>>,
}

/// What the evidence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Regressed,
    Improved,
    Same,
    CannotTell,
}

impl Verdict {
    /// Of several: one regression makes a regression, and without it one that cannot be told leaves all untold.
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<_> = verdicts.into_iter().collect();
        let ranked = [Self::Regressed, Self::CannotTell, Self::Improved, Self::Same];
        ranked.into_iter().find(|verdict| all.contains(verdict)).unwrap_or(Self::CannotTell)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::Same => "same",
            Self::CannotTell => "cannot tell",
        })
    }
}

/// A campaign, or one point, compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub method: &'static str,
    pub version: u32,
    pub significance: f64,
    pub verdict: Verdict,
    /// Whether every figure is within its threshold, noise or not: the rule of the reference system.
    pub within_thresholds: bool,
    /// One a pair, in their order.
    pub points: Vec<PointComparison>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PointComparison {
    pub verdict: Verdict,
    pub within_thresholds: bool,
    pub base: Vec<String>,
    pub candidate: Vec<String>,
    /// Earlier executions that the noise was learnt from.
    pub earlier_executions: usize,
    pub metrics: Vec<MetricComparison>,
    /// Figures with a threshold that only one side has: they cannot be compared, so that the point cannot be told.
    pub one_sided: Vec<OneSided>,
}

/// A figure that one side has and the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OneSided {
    pub metric: Metric,
    /// `base` or `candidate`.
    pub only: &'static str,
}

/// One figure at one point. Changes are percent of the base; of `success_rate` percentage points, of
/// `failed_requests` requests a repetition.
#[derive(Clone, Debug, Serialize)]
pub struct MetricComparison {
    pub metric: Metric,
    /// Geometric means over the repetitions; of `success_rate` and `failed_requests` the pooled share and the mean.
    pub base: f64,
    pub candidate: f64,
    pub change: f64,
    /// 95 % interval of the change.
    pub interval: Option<[f64; 2]>,
    pub threshold: f64,
    pub within_threshold: bool,
    /// Standard deviation of one repetition in percent, and the degrees of freedom it is known with.
    pub noise: Option<f64>,
    pub noise_df: Option<f64>,
    /// Changes between executions of this size, without any cause, that 95 % lie within.
    pub noise_band: Option<[f64; 2]>,
    pub p_value: Option<f64>,
    /// The same, corrected for all tests of the comparison.
    pub p_corrected: Option<f64>,
    /// Median of all ratios of a candidate's repetition to one of the base, as a change; without any model.
    pub hodges_lehmann: Option<f64>,
    /// p of the rank test of the repetitions; with 3 and 3 it cannot be below 0.1.
    pub mann_whitney_p: Option<f64>,
    pub verdict: Verdict,
    pub reason: String,
    /// Where it cannot be told: repetitions of each side that probably would.
    pub repetitions_needed: Option<u32>,
    /// Fewer than ten requests a repetition lie beyond this percentile.
    pub unsupported: bool,
}

/// Compares all points at once: they share what is known of the noise, and the correction for many tests.
/// `neighbours`: repetitions of other points of the same executions, each point's apart; they add to what is known of
/// the noise, and nothing else.
pub fn compare(pairs: &[Pair], neighbours: &[Vec<Repetition>], thresholds: &Thresholds) -> Comparison {
    let mut effects: Vec<Vec<Effect>> = pairs.iter().map(|_| Vec::new()).collect();
    for (metric, threshold) in thresholds.iter().filter(|(metric, _)| !metric.is_proportion()) {
        let own: Vec<_> = pairs.iter().map(|pair| Logs::of(pair, metric)).collect();
        let variances: Vec<_> = own.iter().map(|logs| logs.as_ref().and_then(Logs::variance)).collect();
        let beside: Vec<Variance> = neighbours
            .iter()
            .filter_map(|point| {
                let values: Vec<f64> = point.iter().filter_map(|repetition| log(repetition, metric)).collect();
                noise::of_difference(&values, &[], &[])
            })
            .collect();
        for (index, logs) in own.iter().enumerate() {
            if let Some(logs) = logs {
                let others = variances.iter().enumerate().filter(|(other, _)| *other != index);
                let others: Vec<_> =
                    others.filter_map(|(_, variance)| *variance).chain(beside.iter().copied()).collect();
                let borrowed = noise::borrowed(variances[index], &others);
                let variance = noise::moderated(variances[index], borrowed, logs.floor);
                effects[index].push(verdict::of_figure(metric, threshold, logs, variance));
            }
        }
    }
    for (effects, pair) in effects.iter_mut().zip(pairs) {
        effects.extend(verdict::of_failures(thresholds, &counts(&pair.base), &counts(&pair.candidate)));
    }
    verdict::correct(&mut effects);
    let points: Vec<_> = pairs.iter().zip(effects).map(|(pair, effects)| point(pair, effects, thresholds)).collect();
    Comparison {
        method: METHOD,
        version: VERSION,
        significance: SIGNIFICANCE,
        verdict: Verdict::of_all(points.iter().map(|point| point.verdict)),
        within_thresholds: points.iter().all(|point| point.within_thresholds),
        points,
    }
}

fn point(pair: &Pair, effects: Vec<Effect>, thresholds: &Thresholds) -> PointComparison {
    let has = |side: &[Repetition], metric: Metric| side.iter().any(|repetition| log(repetition, metric).is_some());
    let one_sided = |(metric, _): (Metric, f64)| match (has(&pair.base, metric), has(&pair.candidate, metric)) {
        (true, false) => Some(OneSided { metric, only: "base" }),
        (false, true) => Some(OneSided { metric, only: "candidate" }),
        _ => None,
    };
    let one_sided: Vec<_> =
        thresholds.iter().filter(|(metric, _)| !metric.is_proportion()).filter_map(one_sided).collect();
    let ids = |side: &[Repetition]| side.iter().map(|repetition| repetition.id.to_string()).collect();
    let metrics: Vec<_> = effects.into_iter().map(|effect| effect.row).collect();
    PointComparison {
        verdict: Verdict::of_all(
            metrics.iter().map(|metric| metric.verdict).chain(one_sided.iter().map(|_| Verdict::CannotTell)),
        ),
        within_thresholds: metrics.iter().all(|metric| metric.within_threshold)
            // What is no longer there is within nothing.
            && one_sided.iter().all(|figure| figure.only != "base"),
        base: ids(&pair.base),
        candidate: ids(&pair.candidate),
        earlier_executions: pair.history.len(),
        metrics,
        one_sided,
    }
}

fn counts(side: &[Repetition]) -> Vec<Counts> {
    side.iter().map(|repetition| Counts { attempts: repetition.attempts, failed: repetition.failed }).collect()
}

fn log(repetition: &Repetition, metric: Metric) -> Option<f64> {
    repetition.figures.get(&metric).map(|figure| figure.value.ln()).filter(|log| log.is_finite())
}

/// One figure of one point, as logarithms.
struct Logs {
    base: Vec<f64>,
    candidate: Vec<f64>,
    history: Vec<Vec<f64>>,
    /// Mean variance that the requests within a repetition account for.
    floor: f64,
    /// Some repetition does not have the figure: those that have it are not all.
    incomplete: bool,
    unsupported: bool,
}

impl Logs {
    /// `None` when a side has no value at all.
    fn of(pair: &Pair, metric: Metric) -> Option<Self> {
        let logs = |side: &[Repetition]| side.iter().filter_map(|one| log(one, metric)).collect::<Vec<_>>();
        let (base, candidate) = (logs(&pair.base), logs(&pair.candidate));
        if base.is_empty() || candidate.is_empty() {
            return None;
        }
        let figures: Vec<_> =
            pair.base.iter().chain(&pair.candidate).filter_map(|one| one.figures.get(&metric)).collect();
        Some(Self {
            incomplete: base.len() < pair.base.len() || candidate.len() < pair.candidate.len(),
            base,
            candidate,
            history: pair.history.iter().map(|execution| logs(execution)).collect(),
            floor: figures.iter().map(|figure| figure.within).sum::<f64>() / figures.len() as f64,
            unsupported: figures.iter().any(|figure| !figure.supported),
        })
    }

    fn variance(&self) -> Option<Variance> {
        let history: Vec<&[f64]> = self.history.iter().map(Vec::as_slice).collect();
        noise::of_difference(&self.base, &self.candidate, &history)
    }
}

/// A row in the making: the correction for many tests needs all of them.
struct Effect {
    row: MetricComparison,
    /// What the row is when its test is not significant, and when it is.
    otherwise: Verdict,
    if_significant: Option<(Verdict, String)>,
    /// Shares its test with the row before it.
    shares_test: bool,
    needed: Option<verdict::Planning>,
}

#[cfg(test)]
mod tests {
    use super::{repetition::Figure, *};

    fn side(first: u32, figures: &[(&str, f64)]) -> Vec<Repetition> {
        let figure = |(name, value): &(&str, f64)| {
            let metric = Metric::parse(name).expect("a metric");
            (metric, Figure { value: *value, within: 1e-6, supported: true })
        };
        let one = |number: u32| Repetition {
            id: archive::BenchmarkId::new(20_260_301, first + number),
            figures: figures.iter().map(figure).collect(),
            attempts: 1000,
            failed: 0,
        };
        (0..3).map(one).collect()
    }

    #[test]
    fn a_figure_that_one_side_has_is_named_and_decides_nothing() {
        let mut thresholds = Thresholds::default();
        thresholds.set("ttft_p99", 10.0).expect("a metric");
        let both = [("p99", 0.01), ("throughput", 100.0)];
        let more = [("p99", 0.01), ("throughput", 100.0), ("ttft_p99", 0.005)];
        for (base, candidate, only, within) in [
            (&more[..], &both[..], Some("base"), false),
            (&both, &more, Some("candidate"), true),
            (&both, &both, None, true),
        ] {
            let pair = Pair { base: side(1, base), candidate: side(11, candidate), history: Vec::new() };
            let answer = compare(&[pair], &[], &thresholds);
            let point = &answer.points[0];
            assert_eq!(point.one_sided.iter().map(|figure| figure.only).next(), only);
            assert_eq!(answer.within_thresholds, within, "{point:?}");
            assert_eq!(answer.verdict == Verdict::CannotTell, only.is_some(), "{point:?}");
        }
    }

    /// Twenty more failures a repetition are a regression unless so many are allowed.
    #[test]
    fn allowed_failures_are_no_regression() {
        let with = |first, failed| {
            side(first, &[("p99", 0.01), ("throughput", 100.0)])
                .into_iter()
                .map(move |one| Repetition { failed, ..one })
        };
        for (allowed, verdict) in [(0.0, Verdict::Regressed), (100.0, Verdict::Same)] {
            let mut thresholds = Thresholds::default();
            thresholds.set("errors", allowed).expect("a metric");
            thresholds.set("success_rate", 50.0).expect("a metric");
            let pair = Pair { base: with(1, 0).collect(), candidate: with(11, 20).collect(), history: Vec::new() };
            let answer = compare(&[pair], &[], &thresholds);
            let errors = answer.points[0].metrics.iter().find(|row| row.metric == Metric::Failures).expect("compared");
            assert_eq!(errors.verdict, verdict, "{errors:?}");
        }
    }

    #[test]
    fn more_repetitions_are_no_advice_where_executions_differ() {
        let at = |first: u32, level: f64| {
            let mut side = side(first, &[("p99", level), ("throughput", 100.0)]);
            for (place, one) in side.iter_mut().enumerate() {
                let p99 = one.figures.get_mut(&Metric::parse("p99").expect("a metric")).expect("set");
                p99.value *= 1.0 + 0.001 * place as f64;
            }
            side
        };
        let history = [0.8, 1.25, 0.9, 1.1].iter().zip(3..).map(|(level, place)| at(place * 10, *level)).collect();
        let pair = Pair { base: at(1, 1.0), candidate: at(11, 1.08), history };
        let answer = compare(&[pair], &[], &Thresholds::default());
        let p99 = answer.points[0].metrics.iter().find(|row| row.metric.name() == "latency_p99_s").expect("compared");
        assert_eq!((p99.verdict, p99.repetitions_needed), (Verdict::CannotTell, None), "{p99:?}");
        assert!(p99.reason.contains("on other occasions"), "{}", p99.reason);
    }
}
