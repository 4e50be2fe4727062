//! What a sweep over a load says: knees, peak, SLO limits, efficiency, USL, and the load to run at.
//!
//! Every answer carries its interval, its method and a reason; "not in the range swept" and "cannot tell" are answers.
//! A load is a number of clients or an offered rate; figures are those of whole benchmarks, one a repetition.

mod archived;
mod band;
mod limit;

use serde::{Deserialize, Serialize};

pub(crate) use self::limit::grows_with_load;
pub use self::{
    archived::{Archived, LOAD_AXES, limit_curves, load_of, of_archived},
    band::{BAND_METHOD, Center, intervals},
    limit::{LIMIT_METHOD, LimitCurve, LimitVerdict, SloLimit, slo_limit},
};
use crate::{
    Answer, KNEE_METHOD, Quantity, USL_METHOD, Usl, UslFit, UslSupport,
    compare::distribution::f_above,
    knee::{knee, student},
    method::Method,
    sweep::median,
    usl,
};

/// Name and version of the peak's method.
pub const PEAK_METHOD: &str = "median of repetitions with Student's t, version 1";

/// Root mean square from which on points lie visibly off a curve, as a share of the peak.
const SEEN: f64 = 0.04;
/// Chance below which it is none.
const NOT_BY_CHANCE: f64 = 0.01;

/// One benchmark of a sweep. A figure is absent where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub load: f64,
    /// Successful requests per second.
    pub throughput: Option<f64>,
    /// p99 of the response time, in seconds.
    pub latency_p99_s: Option<f64>,
    /// Percent.
    pub success_rate: Option<f64>,
}

/// Everything that a sweep says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    pub concurrency_range: Option<[f64; 2]>,
    pub throughput_range: Option<[f64; 2]>,
    pub latency_p99_range_s: Option<[f64; 2]>,
    /// Where the p99 of the response time starts to rise.
    pub latency_knee: Found,
    /// Where throughput stops following the load.
    pub throughput_saturation: Found,
    /// Throughput for each unit of load at the throughput saturation.
    pub efficiency_at_saturation: Option<f64>,
    pub peak: Option<Peak>,
    pub slo_limits: Vec<SloLimit>,
    pub efficiency: Vec<Efficiency>,
    pub usl: Option<UslAnswer>,
    pub recommendation: Recommendation,
}

/// Whether there is an answer, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Found,
    NotInRange,
    CannotTell,
}

/// A load that was looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub verdict: Verdict,
    pub load: Option<f64>,
    /// 95 %.
    pub interval: Option<[f64; 2]>,
    /// The fitted figure at that load: requests per second, or seconds.
    pub value: Option<f64>,
    pub reason: String,
    #[serde(deserialize_with = "crate::method::read")]
    pub method: Method,
}

/// The most that was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    pub load: f64,
    /// Median of the repetitions there, requests per second.
    pub throughput: f64,
    /// 95 %; absent without repetitions.
    pub interval: Option<[f64; 2]>,
    /// Smallest and largest load whose throughput the data do not tell from the peak.
    pub alike: [f64; 2],
    pub reason: String,
    #[serde(deserialize_with = "crate::method::read")]
    pub method: Method,
}

/// What each unit of load brings at one load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    pub load: f64,
    /// Median throughput over the load.
    pub per_load: f64,
    /// 95 %, with the spread that all loads share; absent without repetitions.
    pub interval: Option<[f64; 2]>,
    /// `per_load` over the same at the smallest load.
    pub relative: f64,
}

/// The USL fit within its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UslAnswer {
    pub lambda: f64,
    pub lambda_se: Option<f64>,
    /// 95 % of Student's t with n − 3 degrees of freedom, as the intervals below; absent where there is no standard error.
    pub lambda_interval: Option<[f64; 2]>,
    pub sigma: f64,
    pub sigma_se: Option<f64>,
    pub sigma_interval: Option<[f64; 2]>,
    pub kappa: f64,
    pub kappa_se: Option<f64>,
    pub kappa_interval: Option<[f64; 2]>,
    /// Load and height of the modelled peak, where the curve has one.
    pub n_max: Option<f64>,
    pub n_max_se: Option<f64>,
    pub n_max_interval: Option<[f64; 2]>,
    pub x_max: Option<f64>,
    /// Whether the data carry the model; else these figures describe nothing.
    pub supported: bool,
    pub reason: String,
    #[serde(deserialize_with = "crate::method::read")]
    pub method: Method,
}

/// The load to run at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    pub load: Option<f64>,
    /// 95 %, of the answer that it rests on.
    pub interval: Option<[f64; 2]>,
    pub basis: Basis,
    pub reason: String,
    /// That answer's; `None` without one.
    #[serde(deserialize_with = "crate::method::read_some")]
    pub method: Option<Method>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    SloLimit,
    LatencyKnee,
    ThroughputSaturation,
    InsufficientData,
}

/// Analyses a sweep; `limits` are those of the SLO with the same benchmarks' figures.
pub fn saturation(observations: &[Observation], limits: &[LimitCurve]) -> Saturation {
    let values = |of: fn(&Observation) -> Option<f64>| -> Vec<(f64, f64)> {
        observations.iter().filter_map(|one| Some((one.load, of(one)?))).collect()
    };
    let (throughput, latency) = (values(|one| one.throughput), values(|one| one.latency_p99_s));
    let throughput_saturation = found(&throughput, Quantity::Throughput);
    let latency_knee = found(&latency, Quantity::Latency);
    let slo_limits: Vec<SloLimit> = limits.iter().filter_map(slo_limit).collect();
    let loads: Vec<f64> = observations.iter().map(|one| one.load).collect();
    Saturation {
        concurrency_range: range(loads.iter().copied()),
        throughput_range: range(throughput.iter().map(|(_, y)| *y)),
        latency_p99_range_s: range(latency.iter().map(|(_, y)| *y)),
        efficiency_at_saturation: throughput_saturation.load.zip(throughput_saturation.value).map(|(load, y)| y / load),
        recommendation: recommendation(&slo_limits, &latency_knee, &throughput_saturation),
        peak: peak(&throughput),
        efficiency: efficiency(&throughput),
        usl: usl_answer(&throughput),
        latency_knee,
        throughput_saturation,
        slo_limits,
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |range, value| match range {
        None => Some([value; 2]),
        Some([low, high]) => Some([low.min(value), high.max(value)]),
    })
}

fn found(points: &[(f64, f64)], quantity: Quantity) -> Found {
    let knee = knee(points, quantity);
    let (verdict, load, interval, value) = match knee.answer {
        Answer::At { load, low, high, value } => (Verdict::Found, Some(load), Some([low, high]), Some(value)),
        Answer::NotInRange => (Verdict::NotInRange, None, None, None),
        Answer::CannotTell => (Verdict::CannotTell, None, None, None),
    };
    Found { verdict, load, interval, value, reason: knee.reason, method: KNEE_METHOD }
}

/// Repetitions of each load, ascending, and the spread that they share: relative, with its degrees of freedom.
struct Groups {
    loads: Vec<(f64, Vec<f64>)>,
    spread: f64,
    freedom: f64,
}

impl Groups {
    fn new(points: &[(f64, f64)]) -> Self {
        let mut points: Vec<_> = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).copied().collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut loads: Vec<(f64, Vec<f64>)> = Vec::new();
        for (load, value) in points {
            match loads.last_mut() {
                Some((known, values)) if *known == load => values.push(value),
                _ => loads.push((load, vec![value])),
            }
        }
        let (mut squares, mut freedom) = (0.0, 0.0);
        for (_, values) in &loads {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            if mean != 0.0 {
                squares += values.iter().map(|value| (value / mean - 1.0).powi(2)).sum::<f64>();
                freedom += values.len() as f64 - 1.0;
            }
        }
        Self { loads, spread: if freedom > 0.0 { (squares / freedom).sqrt() } else { f64::NAN }, freedom }
    }

    /// Median of each load.
    fn medians(&self) -> impl Iterator<Item = (f64, f64)> {
        self.loads.iter().filter_map(|(load, values)| Some((*load, median(values.clone())?)))
    }

    /// Half the width of the relative 95 % interval of a load's median; `None` without repetitions.
    fn half_width(&self, repetitions: usize) -> Option<f64> {
        (self.freedom > 0.0).then(|| student(self.freedom) * self.spread * median_error(repetitions))
    }

    /// The same at one of the loads.
    fn half_width_at(&self, load: f64) -> Option<f64> {
        self.half_width(self.repetitions(load))
    }

    fn repetitions(&self, load: f64) -> usize {
        self.loads.iter().find(|(known, _)| *known == load).map_or(1, |(_, values)| values.len())
    }
}

/// Standard error of the median of `n` normal values over their standard deviation: that of the mean for one and two,
/// 0.670 for three (David, Nagaraja, *Order Statistics*, 2003, §3), and √(π/2n) in the limit.
fn median_error(n: usize) -> f64 {
    match n {
        0..=2 => 1.0 / (n.max(1) as f64).sqrt(),
        3 => 0.670,
        _ => (std::f64::consts::FRAC_PI_2 / n as f64).sqrt(),
    }
}

fn peak(points: &[(f64, f64)]) -> Option<Peak> {
    let groups = Groups::new(points);
    let best = groups.medians().reduce(|best, one| if one.1 > best.1 { one } else { best })?;
    let half = groups.half_width_at(best.0);
    let alike = groups.medians().filter(|(load, value)| {
        let apart = (best.1 - value) / best.1;
        // Of two medians with errors of their own, the difference has both.
        let error = half.unwrap_or(0.0).hypot(groups.half_width_at(*load).unwrap_or(0.0));
        apart <= error
    });
    let alike = range(alike.map(|(load, _)| load)).unwrap_or([best.0; 2]);
    let interval = half.map(|half| [best.1 * (1.0 - half), best.1 * (1.0 + half)]);
    let count = groups.repetitions(best.0);
    let reason = match (count, alike[0] == alike[1]) {
        (1, _) => "the largest of single benchmarks: without repetitions its noise is not known".to_owned(),
        (_, true) => format!("the largest median, of {count} repetitions; every other load is told from it"),
        (_, false) => format!("the largest median, of {count} repetitions; loads alike are not told from it"),
    };
    Some(Peak { load: best.0, throughput: best.1, interval, alike, reason, method: PEAK_METHOD })
}

fn efficiency(points: &[(f64, f64)]) -> Vec<Efficiency> {
    let groups = Groups::new(points);
    let medians: Vec<(f64, f64)> = groups.medians().filter(|(load, _)| *load > 0.0).collect();
    let Some(first) = medians.first().map(|(load, value)| value / load) else { return Vec::new() };
    let at = |(load, value): &(f64, f64)| Efficiency {
        load: *load,
        per_load: value / load,
        interval: groups.half_width_at(*load).map(|half| [1.0 - half, 1.0 + half].map(|share| share * value / load)),
        relative: if first == 0.0 { f64::NAN } else { value / load / first },
    };
    medians.iter().map(at).collect()
}

fn usl_answer(points: &[(f64, f64)]) -> Option<UslAnswer> {
    let Usl { free, bounded, support, reason } = usl(points).ok()?;
    // The reason is of the fit without bounds: where the two differ, so do its σ and κ from those beside it.
    let alike = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let reason = match alike(free.sigma, bounded.sigma) && alike(free.kappa, bounded.kappa) {
        true => reason,
        false => format!(
            "these are within the bounds of the law; without bounds σ = {:.4}, κ = {:.2e}, of which: {reason}",
            free.sigma, free.kappa
        ),
    };
    let misses = lack_of_fit(points, &bounded);
    let reason = match &misses {
        Some(misses) => format!("{misses}; {reason}"),
        None => reason,
    };
    let carried = matches!(support, UslSupport::Peak | UslSupport::Extrapolated | UslSupport::Contention);
    let freedom = points.len() as f64 - 3.0;
    let interval = |value: f64, error: Option<f64>| {
        let half = student(freedom) * error.filter(|_| freedom > 0.0)?;
        Some([value - half, value + half])
    };
    Some(UslAnswer {
        lambda: bounded.lambda,
        lambda_se: bounded.lambda_se,
        lambda_interval: interval(bounded.lambda, bounded.lambda_se),
        sigma: bounded.sigma,
        sigma_se: bounded.sigma_se,
        sigma_interval: interval(bounded.sigma, bounded.sigma_se),
        kappa: bounded.kappa,
        kappa_se: bounded.kappa_se,
        kappa_interval: interval(bounded.kappa, bounded.kappa_se),
        n_max: bounded.n_max,
        n_max_se: bounded.n_max_se,
        n_max_interval: bounded.n_max.and_then(|n_max| interval(n_max, bounded.n_max_se)),
        x_max: bounded.x_max,
        supported: carried && misses.is_none(),
        reason,
        method: USL_METHOD,
    })
}

/// Why a curve that was fitted is not that of the data: means that lie off it by more than repetitions scatter (F test of lack
/// of fit, Draper and Smith 1998, §2.1), and by a figure that one sees. `None` where they do not, or nothing was repeated.
fn lack_of_fit(points: &[(f64, f64)], fit: &UslFit) -> Option<String> {
    const FREE: f64 = 3.0;
    let groups = Groups::new(points);
    let (mut off, mut scatter, mut largest) = (0.0, 0.0, 0.0f64);
    for (load, values) in &groups.loads {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        off += values.len() as f64 * (mean - fit.at(*load)).powi(2);
        scatter += values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        largest = largest.max(mean);
    }
    let (df_off, df_scatter) = (groups.loads.len() as f64 - FREE, groups.freedom);
    if df_off <= 0.0 || df_scatter <= 0.0 || largest <= 0.0 {
        return None;
    }
    let apart = (off / points.len() as f64).sqrt() / largest;
    let by_chance = f_above(off / df_off / (scatter / df_scatter).max(f64::MIN_POSITIVE), df_off, df_scatter);
    (apart > SEEN && by_chance < NOT_BY_CHANCE).then(|| {
        format!(
            "the points do not follow the law: they lie off its curve by {:.0} % of the peak, far more than repetitions scatter",
            apart * 100.0
        )
    })
}

/// The load up to which the SLO holds if there is one; else the smaller of the two knees.
fn recommendation(limits: &[SloLimit], latency: &Found, throughput: &Found) -> Recommendation {
    if let Some(tightest) = limits.iter().min_by(|a, b| a.load_or_zero().total_cmp(&b.load_or_zero())) {
        let latest = limits.iter().filter(|limit| limit.from > tightest.load && tightest.load.is_some());
        if let Some(later) = latest.max_by(|a, b| a.from.partial_cmp(&b.from).unwrap_or(std::cmp::Ordering::Equal)) {
            let reason = format!(
                "no load keeps every limit: {} holds from {} on ({}), {} up to {} ({})",
                later.metric,
                crate::knee::number(later.from.unwrap_or(f64::NAN)),
                later.reason,
                tightest.metric,
                crate::knee::number(tightest.load.unwrap_or(f64::NAN)),
                tightest.reason
            );
            let method = Some(tightest.method);
            return Recommendation { load: None, interval: None, basis: Basis::SloLimit, reason, method };
        }
        let reason = match tightest.verdict {
            LimitVerdict::Never => format!("no load that was swept keeps {}: {}", tightest.metric, tightest.reason),
            _ => format!(
                "the largest load that keeps every limit; {} is the tightest: {}",
                tightest.metric, tightest.reason
            ),
        };
        let method = Some(tightest.method);
        return Recommendation {
            load: tightest.load,
            interval: tightest.interval,
            basis: Basis::SloLimit,
            reason,
            method,
        };
    }
    let knees = [(Basis::LatencyKnee, latency), (Basis::ThroughputSaturation, throughput)];
    let knees = knees.into_iter().filter_map(|(basis, found)| Some((basis, found.load?, found)));
    match knees.min_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((basis, load, found)) => {
            let name = if basis == Basis::LatencyKnee { "latency knee" } else { "throughput saturation" };
            let reason = format!("the {name}: {}", found.reason);
            Recommendation { load: Some(load), interval: found.interval, basis, reason, method: Some(found.method) }
        }
        None => Recommendation {
            load: None,
            interval: None,
            basis: Basis::InsufficientData,
            reason: format!("insufficient data: {}", throughput.reason),
            method: None,
        },
    }
}

#[cfg(test)]
mod tests;
