//! The knee of a sweep: the load at which throughput stops following, or latency starts to rise.
//!
//! Two straight lines that meet at the knee are compared with curves that have none, on the raw scale, so that the
//! spacing of the loads does not matter. No answer is given where the curves without a knee explain the data as
//! well. Each method has a version, which changes when the same data can give another answer.

mod fit;
mod model;

use crate::random::Random;
use model::{Curve, Shape};

/// Name and version of the method, to be shown beside every answer.
pub const METHOD: &str = "two-segment fit, version 1";

/// Different loads that a knee needs at least.
const MIN_LOADS: usize = 4;

/// Difference of the information criterion from which the better model is taken for the right one.
const CLEAR: f64 = 4.0;

/// Resamples behind an interval.
const RESAMPLES: usize = 400;

/// What was measured over the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Follows the load in proportion, then stops following.
    Throughput,
    /// Stays about level, then rises.
    Latency,
}

/// What a sweep says of its knee.
#[derive(Clone, Debug, PartialEq)]
pub struct Knee {
    pub answer: Answer,
    /// One sentence with the numbers that the answer rests on.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// The load of the knee with its 95 % interval, and the fitted value there.
    At { load: f64, low: f64, high: f64, value: f64 },
    /// A curve without a knee explains the data: if there is one, it lies outside the range swept.
    NotInRange,
    /// Too few loads, or too much noise, to say.
    CannotTell,
}

impl Answer {
    pub fn load(&self) -> Option<f64> {
        match self {
            Answer::At { load, .. } => Some(*load),
            _ => None,
        }
    }
}

/// Looks for the knee in `points` of (load, value), in any order; repetitions of a load are several points.
/// Points that are not finite, and loads that are not above zero, are left out.
pub fn knee(points: &[(f64, f64)], quantity: Quantity) -> Knee {
    let said = |answer, reason: String| Knee { answer, reason };
    let mut curve = Curve::new(points);
    let loads = curve.loads.len();
    if loads < MIN_LOADS {
        let reason = format!("a knee needs {MIN_LOADS} different loads or more, here are {loads}");
        return said(Answer::CannotTell, reason);
    }
    let (first, last) = (curve.loads[0], curve.loads[loads - 1]);
    let levels_off = (quantity == Quantity::Latency).then(|| curve.drop_plateau()).flatten();

    let plain = model::best_without_knee(&curve);
    let advice = match (quantity, plain.grows()) {
        (Quantity::Throughput, false) => format!("it does not grow from {} on", number(first)),
        _ => format!("sweep beyond {}", number(last)),
    };
    let Some(bent) = model::best_with_knee(&curve, quantity) else {
        let what = match quantity {
            Quantity::Throughput => "followed by less than half the growth before it",
            Quantity::Latency => "followed by a clearly steeper rise",
        };
        let (from, to) = (number(first), number(last));
        return said(
            Answer::NotInRange,
            format!("no break from {from} to {to} is {what}, {} fits: {advice}", plain.name()),
        );
    };
    if !bent.criterion.is_finite() {
        let reason = format!("{} points are too few to tell two lines from one: {advice}", curve.points());
        return said(Answer::CannotTell, reason);
    }
    let advantage = plain.criterion - bent.criterion;
    if advantage < CLEAR {
        let (answer, compared) = match advantage <= 0.0 {
            true => (Answer::NotInRange, "better than"),
            false => (Answer::CannotTell, "nearly as well as"),
        };
        let (name, knee) = (plain.name(), number(bent.knee()));
        return said(answer, format!("{name} explains the data {compared} a break at {knee}: {advice}"));
    }

    let (low, high) = interval(&curve, &bent);
    let (load, value) = (bent.knee(), bent.at(bent.knee()));
    let (low, high) = (low.min(load), high.max(load));
    let capped = levels_off
        .map(|from| format!("; values from {} on, where latency levels off, are left out", number(from)))
        .unwrap_or_default();
    let reason = format!(
        "{} (AICc better by {advantage:.0} than {}){capped}",
        match quantity {
            Quantity::Throughput => "growth falls to less than half there",
            Quantity::Latency => "latency rises clearly faster from there on",
        },
        plain.name()
    );
    said(Answer::At { load, low, high, value }, reason)
}

/// The 95 % percentile-bootstrap interval of the knee: deviations of loads from the lines, and of repetitions from their
/// load, are drawn anew. The first hold what the two lines miss, so that an exact repetition does not make a narrow
/// interval around a curve that is not quite two lines.
fn interval(curve: &Curve, bent: &Shape) -> (f64, f64) {
    let mut random = Random::new(0x6b6e_6565);
    let noise = curve.noise(bent);
    let mut draw = |deviations: &[f64]| deviations[random.below(deviations.len())];
    let mut knees: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let levels: Vec<f64> = noise.fitted.iter().map(|fit| fit * (1.0 + draw(&noise.of_loads))).collect();
            let values = curve.x().iter().map(|x| levels[curve.place(*x)] * (1.0 + draw(&noise.of_repetitions)));
            bent.refit(&curve.with_values(values.collect())).map(|shape| shape.knee())
        })
        .collect();
    if knees.is_empty() {
        return (bent.knee(), bent.knee());
    }
    knees.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| knees[((knees.len() - 1) as f64 * share).round() as usize];
    let (low, mut high) = (at(0.025), at(0.975));
    // One load beyond the break fixes neither the second line nor where it starts.
    let beyond: Vec<f64> = curve.loads.iter().copied().filter(|load| *load > bent.knee()).collect();
    if beyond.len() == 1 && !bent.is_level_after() {
        high = high.max(beyond[0]);
    }
    (low, high)
}

/// Three significant digits, without trailing zeros.
fn number(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests;
