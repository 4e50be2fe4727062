//! Where to measure next, so that a knee or the limit of an SLO is known well enough with few requests.
//!
//! Pure: what was measured so far in, the next load or the reason to end out, so that a search that was cut off goes on
//! from its archived steps. Loads go up by factors of four until the answer is passed; from then on each benchmark goes
//! where it narrows the interval most for its cost. The answer itself is always that of [`crate::saturation`].

mod archived;
mod knee;
mod limit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::archived::{measured, searched};
use crate::knee::number;

/// Name and version of the method.
pub const ADAPTIVE_METHOD: &str = "factors of four, then the largest narrowing for its cost, version 1";

/// Factor between two loads while the answer is looked for.
const RUNG: f64 = 4.0;

/// Cost of a benchmark beside its requests, as a share of the requests of the most expensive one: starting, warming up
/// and archiving take time as well.
const FIXED_COST: f64 = 0.1;

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Where throughput stops following the load.
    #[default]
    Knee,
    /// The largest load that keeps every limit of the SLO.
    Slo,
}

/// What is looked for, how well, and for how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    pub goal: Goal,
    /// Stored metric name → limit, for [`Goal::Slo`].
    #[serde(default)]
    pub slo: BTreeMap<String, f64>,
    pub min: f64,
    pub max: f64,
    /// Loads are whole numbers.
    pub whole: bool,
    /// Half the width of the 95 % interval over the answer at which the search ends.
    pub precision: f64,
    /// Benchmarks of each step.
    pub step_repetitions: u32,
    pub most_steps: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_requests: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_time_s: Option<f64>,
}

/// One benchmark of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub load: f64,
    pub says: Says,
    /// All that were sent, warm-up included.
    pub requests: u64,
    pub time_s: f64,
}

/// What a benchmark says of the service at its load.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    Figures {
        /// Successful requests per second.
        throughput: Option<f64>,
        /// Stored metric name → figure.
        metrics: BTreeMap<String, f64>,
    },
    /// The service itself failed.
    Failure(String),
    /// Nothing of the service, and why: badly measured, limited by the load generator, cancelled.
    Nothing(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Measure { load: f64, reason: String },
    End { end: End, reason: String },
}

/// Why a search ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer is as precise as was asked.
    Found,
    /// The budget is spent before that.
    Budget,
    /// The answer lies outside the range.
    OutOfRange,
    /// A benchmark says nothing of the service, so that nothing above it would either.
    NotTheService,
}

/// An answer so far: load and 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub load: f64,
    /// Absent without repetitions.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// Half the width of the interval over the answer.
    pub fn half_width(&self) -> Option<f64> {
        self.interval.map(|[low, high]| (high - low) / 2.0 / self.load)
    }

    fn words(&self) -> String {
        let interval =
            self.interval.map_or_else(String::new, |[low, high]| format!(" [{}–{}]", number(low), number(high)));
        number(self.load) + &interval
    }
}

/// Whether the answer was about the same before the last benchmark: whoever looks after every step would else end at the
/// first interval that is narrow by chance. The first look of all is no choice among several.
fn held(search: &Search, history: &[Measured], now: Estimate) -> bool {
    let first_look = match search.goal {
        Goal::Knee => history.len() == knee::LEAST,
        Goal::Slo => limit::freedom(history) == limit::LEAST_FREEDOM,
    };
    if first_look {
        return true;
    }
    let before = history.split_last().and_then(|(_, before)| estimate(search, before));
    before.is_some_and(|before| {
        let narrow = before.half_width().is_some_and(|half| half <= 1.5 * search.precision);
        narrow && (before.load / now.load - 1.0).abs() <= search.precision
    })
}

/// The next step after `history`, in the order of measuring.
pub fn next_step(search: &Search, history: &[Measured]) -> Step {
    let end = |end, reason| Step::End { end, reason };
    if let Some((load, reason)) = history.iter().find_map(|one| match &one.says {
        Says::Nothing(reason) => Some((one.load, reason)),
        _ => None,
    }) {
        return end(End::NotTheService, format!("at {} nothing is said of the service: {reason}", number(load)));
    }
    let estimate = estimate(search, history);
    if let Some(estimate) = estimate
        && estimate.half_width().is_some_and(|half| half <= search.precision)
        && held(search, history, estimate)
    {
        return end(End::Found, format!("{} is within ±{}", estimate.words(), percent(search.precision)));
    }
    let next = match history.is_empty() {
        true => Next::Measure { load: search.min, reason: "the smallest load of the range".to_owned() },
        false => match search.goal {
            Goal::Knee => knee::next(search, history, estimate),
            Goal::Slo => limit::next(search, history, estimate),
        },
    };
    let (load, reason) = match next {
        Next::Measure { load, reason } => (load, reason),
        Next::End(why, reason) => return end(why, reason),
    };
    if let Some(reason) = spent(search, history) {
        let so_far =
            estimate.map_or_else(|| "without an answer".to_owned(), |estimate| format!("at {}", estimate.words()));
        return end(End::Budget, format!("{reason}, {so_far}"));
    }
    Step::Measure { load: rounded(search, load), reason }
}

/// The answer so far, if there is one.
pub fn estimate(search: &Search, history: &[Measured]) -> Option<Estimate> {
    match search.goal {
        Goal::Knee => knee::estimate(history),
        Goal::Slo => limit::estimate(search, history),
    }
}

enum Next {
    Measure { load: f64, reason: String },
    End(End, String),
}

fn spent(search: &Search, history: &[Measured]) -> Option<String> {
    let requests: u64 = history.iter().map(|one| one.requests).sum();
    let time: f64 = history.iter().map(|one| one.time_s).sum();
    if history.len() >= search.most_steps as usize * search.step_repetitions as usize {
        return Some(format!("the budget of {} steps is spent", search.most_steps));
    }
    if let Some(most) = search.most_requests.filter(|most| requests >= *most) {
        return Some(format!("the budget of {most} requests is spent: {requests} were sent"));
    }
    let most = search.most_time_s.filter(|most| time >= *most)?;
    Some(format!("the budget of {most} s is spent: the benchmarks took {time:.0} s"))
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

fn rounded(search: &Search, load: f64) -> f64 {
    let load = match search.whole {
        true => load.round(),
        // Three significant digits are enough for any rate.
        false => {
            let unit = 10_f64.powf(load.abs().max(1e-9).log10().floor() - 2.0);
            // Through the decimal notation, so that no digits of the division are left.
            format!("{:.6}", (load / unit).round() * unit).parse().unwrap_or(load)
        }
    };
    load.clamp(search.min, search.max)
}

/// The largest load so far, and the factor of four above it.
fn rung(search: &Search, history: &[Measured]) -> f64 {
    let top = history.iter().map(|one| one.load).fold(search.min, f64::max);
    // A last rung just below the end of the range would say the same as the end.
    let next = top * RUNG;
    if next * 1.3 >= search.max { search.max } else { next }
}

/// Expected cost of a benchmark at a load: its requests, by those of the loads around it, and a share for the rest.
fn cost(history: &[Measured], load: f64) -> f64 {
    let requests: Vec<(f64, f64)> = history.iter().map(|one| (one.load, one.requests as f64)).collect();
    let most = requests.iter().map(|(_, requests)| *requests).fold(1.0, f64::max);
    interpolated(&requests, load) / most + FIXED_COST
}

/// Linear between the means of neighbouring loads, level beyond the ends.
fn interpolated(points: &[(f64, f64)], load: f64) -> f64 {
    let at = |x: f64| {
        let (sum, count) = points
            .iter()
            .filter(|(known, _)| *known == x)
            .fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let below = points.iter().map(|(x, _)| *x).filter(|x| *x <= load).fold(f64::NEG_INFINITY, f64::max);
    let above = points.iter().map(|(x, _)| *x).filter(|x| *x >= load).fold(f64::INFINITY, f64::min);
    match (below.is_finite(), above.is_finite()) {
        (true, true) if above > below => at(below) + (load - below) / (above - below) * (at(above) - at(below)),
        (true, _) => at(below),
        (false, true) => at(above),
        _ => 0.0,
    }
}

/// Benchmarks at exactly that load.
fn count(history: &[Measured], load: f64) -> usize {
    history.iter().filter(|one| one.load == load).count()
}

#[cfg(test)]
mod tests;
