//! The Universal Scalability Law: throughput = λx / (1 + σ(x − 1) + κx(x − 1)) over the load x.
//!
//! Unweighted least squares on throughput (Gunther, *Guerrilla Capacity Planning*, 2007; the model with λ free as in the
//! R package `usl`). λ is what one client gets alone, σ the contention, κ the cost of keeping coherent. Only fits whose
//! denominator is above zero over the whole range measured are looked at: a pole between two loads explains nothing.

mod search;

use search::{Data, Free};
use serde::Serialize;

/// Name and version of the method, to be shown beside every answer.
pub const METHOD: &str = "USL least squares, version 1";

/// κ up to which throughput counts as never falling.
const NO_KAPPA: f64 = 1e-9;

/// |σ| up to which contention counts as none.
const NO_SIGMA: f64 = 1e-9;

/// Different loads that fix three parameters.
const MIN_LOADS: usize = 3;

/// Both fits of one sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Usl {
    /// Without bounds: σ and κ may be negative, which tells of growth faster than the model allows.
    pub free: Fit,
    /// λ > 0, 0 ≤ σ ≤ 1, κ ≥ 0: what the law means.
    pub bounded: Fit,
    pub support: Support,
    /// One sentence with the numbers that `support` rests on.
    pub reason: String,
}

/// One fit. Loads are in the unit of x, throughputs in that of y.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    pub lambda: f64,
    pub sigma: f64,
    pub kappa: f64,
    /// Sum of squared residuals.
    pub rss: f64,
    /// √(rss / (n − 3)); `None` with three points.
    pub residual_se: Option<f64>,
    /// 1 − rss / Σ(y − ȳ)²; `None` when y does not vary.
    pub r2: Option<f64>,
    /// Standard errors, from the covariance; `None` with three points, and for a parameter that lies on its bound.
    pub lambda_se: Option<f64>,
    pub sigma_se: Option<f64>,
    pub kappa_se: Option<f64>,
    /// Load of the most throughput, √((1 − σ)/κ); `None` where the fitted curve never falls.
    pub n_max: Option<f64>,
    /// Standard error of `n_max`, by the delta method.
    pub n_max_se: Option<f64>,
    /// Whether κ is above two of its standard errors. Three points leave no error to compare with.
    pub n_max_reliable: bool,
    /// Throughput at `n_max`.
    pub x_max: Option<f64>,
    /// λ/σ: what throughput would tend to with κ = 0.
    pub x_limit_amdahl: Option<f64>,
    /// 1/|σ|.
    pub n_opt: Option<f64>,
}

/// How far the data carry the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Throughput has a maximum, and it lies within the loads measured.
    Peak,
    /// κ is clear, but the maximum lies beyond the last load.
    Extrapolated,
    /// Contention is clear, a maximum is not: throughput levels off.
    Contention,
    /// Growth in proportion, or faster, or noise: nothing limits throughput yet.
    None,
    /// Too few points to compare anything with an error.
    CannotTell,
}

/// Why there is no fit.
#[derive(Clone, Debug, PartialEq)]
pub enum UslError {
    TooFewLoads(usize),
    BadPoint {
        load: f64,
        throughput: f64,
    },
    /// No throughput above zero anywhere.
    NoThroughput,
}

impl std::fmt::Display for UslError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFewLoads(count) => {
                write!(f, "a USL fit needs {MIN_LOADS} different loads or more, here are {count}")
            }
            Self::BadPoint { load, throughput } => {
                write!(f, "load {load} with throughput {throughput}: both must be finite, and the load above zero")
            }
            Self::NoThroughput => f.write_str("no throughput is above zero"),
        }
    }
}

impl std::error::Error for UslError {}

impl Fit {
    /// Throughput that the fit gives at a load.
    pub fn at(&self, load: f64) -> f64 {
        self.lambda * load / (1.0 + self.sigma * (load - 1.0) + self.kappa * load * (load - 1.0))
    }

    /// at(load) / (λ · load): the share of perfect scaling that is left.
    pub fn efficiency(&self, load: f64) -> f64 {
        self.at(load) / (self.lambda * load)
    }
}

/// Fits points of (load, throughput), in any order; repetitions of a load are several points.
pub fn usl(points: &[(f64, f64)]) -> Result<Usl, UslError> {
    let bad = |(x, y): &&(f64, f64)| !x.is_finite() || !y.is_finite() || *x <= 0.0;
    if let Some(&(load, throughput)) = points.iter().find(bad) {
        return Err(UslError::BadPoint { load, throughput });
    }
    let mut loads: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
    loads.sort_unstable_by(f64::total_cmp);
    loads.dedup();
    if loads.len() < MIN_LOADS {
        return Err(UslError::TooFewLoads(loads.len()));
    }
    if points.iter().all(|(_, y)| *y <= 0.0) {
        return Err(UslError::NoThroughput);
    }
    let data = Data::new(points);
    let start = data.best_starts();
    let free = data.descend_from(&start, Free { sigma: true, kappa: true }, |_, _| true);
    let bounded = bounded(&data, &start, free);
    let free = fit(&data, free, Free { sigma: true, kappa: true });
    let bounded = fit(&data, bounded, Free { sigma: bounded[1] > 0.0 && bounded[1] < 1.0, kappa: bounded[2] > 0.0 });
    let last = loads[loads.len() - 1];
    let (support, reason) = support(&free, &bounded, points.len(), last);
    Ok(Usl { free, bounded, support, reason })
}

/// The best of every face of the box, so that a parameter on its bound is on it exactly.
fn bounded(data: &Data, starts: &[[f64; 2]], free: [f64; 3]) -> [f64; 3] {
    let inside = |sigma: f64, kappa: f64| (0.0..=1.0).contains(&sigma) && kappa >= 0.0;
    if free[0] > 0.0 && inside(free[1], free[2]) {
        return free;
    }
    let with = |sigma: Option<f64>, kappa: Option<f64>| {
        let mask = Free { sigma: sigma.is_none(), kappa: kappa.is_none() };
        let mut starts: Vec<[f64; 2]> =
            starts.iter().map(|s| [sigma.unwrap_or(s[0].clamp(0.0, 1.0)), kappa.unwrap_or(s[1].max(0.0))]).collect();
        starts.extend(data.grid().map(|s| [sigma.unwrap_or(s[0]), kappa.unwrap_or(s[1])]));
        data.descend_from(&data.best_of(starts), mask, inside)
    };
    let faces = [
        with(None, None),
        with(None, Some(0.0)),
        with(Some(0.0), None),
        with(Some(1.0), None),
        with(Some(0.0), Some(0.0)),
        with(Some(1.0), Some(0.0)),
    ];
    let rss = |fit: &[f64; 3]| data.rss(fit);
    faces.into_iter().min_by(|a, b| rss(a).total_cmp(&rss(b))).unwrap_or(free)
}

fn fit(data: &Data, parameters: [f64; 3], free: Free) -> Fit {
    let [lambda, sigma, kappa] = parameters;
    let rss = data.rss(&parameters);
    let spare = data.len() as f64 - 3.0;
    let residual_se = (spare > 0.0).then(|| (rss / spare).sqrt());
    let covariance = residual_se.and_then(|se| Some((se, data.covariance(&parameters, free)?)));
    let se = |i: usize| covariance.and_then(|(se, c)| c[i][i].map(|unit| se * unit.sqrt()));
    let n_max = (kappa > NO_KAPPA && sigma < 1.0).then(|| ((1.0 - sigma) / kappa).sqrt());
    // ∂ ln n_max = −∂σ / 2(1 − σ) − ∂κ / 2κ
    let n_max_se = n_max.zip(covariance).and_then(|(n_max, (se, c))| {
        let (by_sigma, by_kappa) = (-0.5 / (1.0 - sigma), -0.5 / kappa);
        let variance =
            by_sigma * by_sigma * c[1][1]? + 2.0 * by_sigma * by_kappa * c[1][2]? + by_kappa * by_kappa * c[2][2]?;
        Some(n_max * se * variance.max(0.0).sqrt())
    });
    let kappa_se = se(2);
    let mut fit = Fit {
        lambda,
        sigma,
        kappa,
        rss,
        residual_se,
        r2: (data.total() > 0.0).then(|| 1.0 - rss / data.total()),
        lambda_se: se(0),
        sigma_se: se(1),
        kappa_se,
        n_max,
        n_max_se,
        n_max_reliable: n_max.is_some() && kappa_se.is_some_and(|se| kappa > 2.0 * se),
        x_max: None,
        x_limit_amdahl: (sigma > NO_SIGMA).then(|| lambda / sigma),
        n_opt: (sigma.abs() > NO_SIGMA).then(|| 1.0 / sigma.abs()),
    };
    fit.x_max = n_max.map(|load| fit.at(load));
    fit
}

fn support(free: &Fit, bounded: &Fit, points: usize, last: f64) -> (Support, String) {
    let (Some(sigma_se), Some(kappa_se)) = (free.sigma_se, free.kappa_se) else {
        let why =
            if points <= 3 { "three points leave no error to judge by" } else { "the data do not fix the parameters" };
        return (Support::CannotTell, why.to_owned());
    };
    let (sigma, kappa) = (free.sigma, free.kappa);
    let kappa_text = format!("κ = {kappa:.2e} ± {kappa_se:.1e}");
    match free.n_max.filter(|_| free.n_max_reliable) {
        Some(n_max) if n_max <= last => {
            (Support::Peak, format!("{kappa_text}, and the maximum is within the loads measured"))
        }
        Some(n_max) => (
            Support::Extrapolated,
            format!("{kappa_text}, but the maximum, {n_max:.0}, lies beyond the last load measured, {last}"),
        ),
        None if bounded.sigma > NO_SIGMA && sigma > 2.0 * sigma_se => (
            Support::Contention,
            format!("σ = {sigma:.4} ± {sigma_se:.1e} is clear, {kappa_text} is not: no maximum can be told"),
        ),
        None => (Support::None, format!("neither σ = {sigma:.2e} ± {sigma_se:.1e} nor {kappa_text} is clear of zero")),
    }
}

#[cfg(test)]
mod tests;
