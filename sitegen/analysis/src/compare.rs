//! Whether a candidate got slower than its base: effects with intervals, thresholds, and verdicts that rest on
//! evidence.
//!
//! Reads figures of repetitions, never single requests. The model, and how often it errs, stand in
//! `docs/methodology.md`.

use serde::Serialize;

mod correct;
pub mod differences;
pub(crate) mod distribution;
pub mod facts;
mod failures;
pub mod history;
mod joint;
pub mod metric;
mod noise;
pub mod past;
pub mod repetition;
pub mod reproduction;
mod verdict;

use self::{
    failures::Counts,
    joint::Own,
    metric::{Metric, Thresholds},
    noise::Variance,
    repetition::Repetition,
};

/// Stands with every verdict, with the version of this method.
pub const METHOD: &str = "moderated t tests of log means, closed over the figures of a point, Holm's correction over points, \
                          equivalence within the threshold";
pub const VERSION: u32 = 3;

/// What corrected p values are held against. At most 1 % of the campaigns without any change may have a wrong verdict; the
/// rest is for what the noise model only approximates.
pub const SIGNIFICANCE: f64 = 0.009;

/// Share of that error that changes for the worse may take: a comparison is there to find these. Corrected p values are
/// multiplied accordingly, so that one bound holds for both.
pub const FOR_WORSE: f64 = 0.9;

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

impl Verdict {
    pub fn is_change(self) -> bool {
        matches!(self, Self::Regressed | Self::Improved)
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
    /// All times and rates with a threshold together; `None` when there are fewer than two, or nothing is repeated.
    pub joint: Option<JointComparison>,
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

/// The times and rates of one point taken together: the mean of their changes, each in units of its own threshold and
/// positive for the worse, so that 1 is as much worse as all thresholds allow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JointComparison {
    pub metrics: Vec<Metric>,
    pub change: f64,
    /// 95 % interval of the change.
    pub interval: [f64; 2],
    pub noise_df: f64,
    pub p_value: f64,
    /// The same, corrected for all tests of the comparison.
    pub p_corrected: Option<f64>,
    pub verdict: Verdict,
    pub reason: String,
}

/// Compares all points at once: they share what is known of the noise, and the correction for many tests.
/// `neighbours`: repetitions of other points of the same executions, each point's apart; they add to what is known of
/// the noise, and nothing else.
pub fn compare(pairs: &[Pair], neighbours: &[Vec<Repetition>], thresholds: &Thresholds) -> Comparison {
    let figures: Vec<_> = thresholds.iter().filter(|(metric, _)| !metric.is_proportion()).collect();
    let logs: Vec<Vec<Option<Logs>>> =
        pairs.iter().map(|pair| figures.iter().map(|(metric, _)| Logs::of(pair, *metric)).collect()).collect();
    let owns: Vec<Vec<Own<'_>>> = logs.iter().map(|point| own(point, &figures)).collect();
    let beside: Vec<Vec<Vec<f64>>> =
        neighbours.iter().map(|point| figures.iter().map(|(metric, _)| logs_of(point, *metric)).collect()).collect();
    let alone = |values: &[f64]| noise::of_difference(values, &[], &[]);

    let mut tests: Vec<Tests> = pairs.iter().map(|_| Tests::default()).collect();
    for (place, (metric, threshold)) in figures.iter().enumerate() {
        let variance_at = |point: &Vec<Own<'_>>| point.iter().find(|own| own.metric == *metric)?.variance;
        let variances: Vec<Option<Variance>> = owns.iter().map(variance_at).collect();
        let beside: Vec<Variance> = beside.iter().filter_map(|point| alone(&point[place])).collect();
        for (index, point) in owns.iter().enumerate() {
            if let Some(own) = point.iter().find(|own| own.metric == *metric) {
                let of_points = noise::borrowed(own.variance, &others(&variances, index, &beside));
                let of_figures = joint::lent_to_figure(&owns, index, *metric);
                let variance = noise::moderated(own.variance, &[of_points, of_figures], own.logs.floor);
                tests[index].figures.push(verdict::of_figure(*metric, *threshold, own.logs, variance));
            }
        }
    }
    let means: Vec<_> = owns.iter().map(|point| joint::mean(point)).collect();
    let variances: Vec<Option<Variance>> =
        means.iter().map(|mean| mean.as_ref().and_then(|(logs, _)| logs.variance())).collect();
    for (index, mean) in means.iter().enumerate() {
        if let Some((logs, metrics)) = mean {
            let same = means.iter().zip(&variances).map(|(other, variance)| {
                // Means of other figures are other things.
                variance.filter(|_| other.as_ref().is_some_and(|(_, of)| of == metrics))
            });
            let of_points = noise::borrowed(variances[index], &others(&same.collect::<Vec<_>>(), index, &[]));
            let of_figures = joint::lent_to_mean(&owns[index]);
            let variance = noise::moderated(variances[index], &[of_points, of_figures], logs.floor);
            tests[index].joint = variance.map(|variance| verdict::of_mean(metrics.clone(), logs, variance));
        }
    }
    for (tests, pair) in tests.iter_mut().zip(pairs) {
        tests.failures = verdict::of_failures(thresholds, &counts(&pair.base), &counts(&pair.candidate));
    }
    correct::correct(&mut tests);
    let points: Vec<_> = pairs.iter().zip(tests).map(|(pair, tests)| point(pair, tests, thresholds)).collect();
    Comparison {
        method: METHOD,
        version: VERSION,
        significance: SIGNIFICANCE,
        verdict: Verdict::of_all(points.iter().map(|point| point.verdict)),
        within_thresholds: points.iter().all(|point| point.within_thresholds),
        points,
    }
}

/// The figures that both sides of a point have.
fn own<'l>(point: &'l [Option<Logs>], figures: &[(Metric, f64)]) -> Vec<Own<'l>> {
    let known = point.iter().zip(figures).filter_map(|(logs, figure)| Some((logs.as_ref()?, figure)));
    known.map(|(logs, (metric, threshold))| Own::new(*metric, *threshold, logs)).collect()
}

/// The variances of all points but one, and those beside the comparison.
fn others(variances: &[Option<Variance>], except: usize, beside: &[Variance]) -> Vec<Variance> {
    let others = variances.iter().enumerate().filter(|(other, _)| *other != except);
    others.filter_map(|(_, variance)| *variance).chain(beside.iter().copied()).collect()
}

fn point(pair: &Pair, tests: Tests, thresholds: &Thresholds) -> PointComparison {
    let has = |side: &[Repetition], metric: Metric| side.iter().any(|repetition| log(repetition, metric).is_some());
    let one_sided = |(metric, _): (Metric, f64)| match (has(&pair.base, metric), has(&pair.candidate, metric)) {
        (true, false) => Some(OneSided { metric, only: "base" }),
        (false, true) => Some(OneSided { metric, only: "candidate" }),
        _ => None,
    };
    let one_sided: Vec<_> =
        thresholds.iter().filter(|(metric, _)| !metric.is_proportion()).filter_map(one_sided).collect();
    let ids = |side: &[Repetition]| side.iter().map(|repetition| repetition.id.to_string()).collect();
    let metrics: Vec<_> = tests.figures.into_iter().chain(tests.failures).map(|effect| effect.row).collect();
    let joint = tests.joint.map(|effect| effect.row);
    // What the figures say together adds to what each says; it takes nothing away from it.
    let together = joint.iter().map(|joint| joint.verdict).filter(|verdict| verdict.is_change());
    PointComparison {
        verdict: Verdict::of_all(
            metrics
                .iter()
                .map(|metric| metric.verdict)
                .chain(together)
                .chain(one_sided.iter().map(|_| Verdict::CannotTell)),
        ),
        within_thresholds: metrics.iter().all(|metric| metric.within_threshold)
            // What is no longer there is within nothing.
            && one_sided.iter().all(|figure| figure.only != "base"),
        base: ids(&pair.base),
        candidate: ids(&pair.candidate),
        earlier_executions: pair.history.len(),
        metrics,
        joint,
        one_sided,
    }
}

fn counts(side: &[Repetition]) -> Vec<Counts> {
    side.iter().map(|repetition| Counts { attempts: repetition.attempts, failed: repetition.failed }).collect()
}

fn logs_of(point: &[Repetition], metric: Metric) -> Vec<f64> {
    point.iter().filter_map(|repetition| log(repetition, metric)).collect()
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

/// The tests of one point: the correction for many needs all of them.
#[derive(Default)]
struct Tests {
    figures: Vec<Effect<MetricComparison>>,
    joint: Option<Effect<JointComparison>>,
    failures: Vec<Effect<MetricComparison>>,
}

/// A row in the making.
struct Effect<Row> {
    row: Row,
    /// Whether the change found is one for the worse.
    worse: bool,
    /// What the row is when its test is not significant, and when it is.
    otherwise: Verdict,
    if_significant: Option<(Verdict, String)>,
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
