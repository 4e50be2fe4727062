//! The knee of a sweep: the load at which throughput stops following, or latency starts to rise.
//!
//! Curves with a knee (two straight lines; for throughput also the USL) are compared with curves that have none, on the
//! raw scale, so that the spacing of the loads does not matter. No answer is given where a curve without a knee
//! explains the data as well. The method has a version, which changes when the same data can give another answer.

mod fit;
mod model;
mod profile;

use model::{Curve, Kind, MOST_GROWTH_LEFT, Shape};
pub(crate) use profile::student;
use profile::{Cleaned, Profile};

/// Name and version of the method, to be shown beside every answer.
pub const METHOD: &str = "two lines or USL by profile likelihood, version 3";

/// Different loads that a knee needs at least.
const MIN_LOADS: usize = 4;

/// Difference of the information criterion from which the better model is taken for the right one.
const CLEAR: f64 = 5.0;

/// The same where one side of the break has one load, or two values, only.
const CLEAR_AT_AN_END: f64 = 12.0;

/// Relative deviation up to which values are free of noise.
const FREE_OF_NOISE: f64 = 1e-3;

/// Difference of the criterion up to which two models are taken for equally good.
const ALIKE: f64 = 2.0;

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
    let cleaned = Cleaned::new(&curve, &bent);
    // The general kind gives the interval: that a line is level is what the data may suggest, and no fact.
    let (Some(lines), Some(general)) = (cleaned.profile(bent.kind()), cleaned.profile(bent.kind().general())) else {
        return said(Answer::CannotTell, format!("the loads do not fix two lines: {advice}"));
    };
    let usl = (quantity == Quantity::Throughput).then(|| cleaned.profile(Kind::Usl)).flatten();
    let mut criterion = bent.criterion;
    let better = usl.filter(|usl| usl.criterion < lines.criterion.min(general.criterion));
    if let Some(usl) = &better {
        let smooth = cleaned.robust_criterion(usl);
        if usl.knee > last || usl.growth_left > MOST_GROWTH_LEFT {
            let reason =
                format!("a smooth curve that is still growing at {} explains the data best: {advice}", number(last));
            return said(Answer::NotInRange, reason);
        }
        criterion = criterion.min(smooth);
    }
    let name = plain.name();
    let advantage = plain.criterion - criterion;
    if advantage < CLEAR {
        let (answer, compared) = match advantage <= 0.0 {
            true => (Answer::NotInRange, "better than"),
            false => (Answer::CannotTell, "nearly as well as"),
        };
        let knee = number(lines.knee);
        return said(answer, format!("{name} explains the data {compared} a break at {knee}: {advice}"));
    }

    if better.is_none()
        && let Some(why) = rests_on_an_end(&curve, quantity, &bent, lines.knee, advantage)
    {
        return said(Answer::CannotTell, format!("{why}: {advice}"));
    }

    let (what, at) = match (&better, quantity) {
        (Some(usl), _) => ("the line of low loads meets the peak of the USL curve there", *usl),
        (None, Quantity::Throughput) => ("growth falls to less than half there", lines),
        (None, Quantity::Latency) => ("latency rises clearly faster from there on", lines),
    };
    // Where lines and curve explain the data alike, the knee of either may be the true one.
    let near = |other: &Profile| other.criterion < at.criterion + ALIKE;
    let around =
        [usl, Some(general)].into_iter().flatten().filter(|other| other.kind == at.kind.general() || near(other));
    let (low, high) = around.fold((at.knee, at.knee), |(low, high), other| (low.min(other.low), high.max(other.high)));
    let capped = levels_off
        .map(|from| format!("; values from {} on, where latency levels off, are left out", number(from)))
        .unwrap_or_default();
    let reason = format!("{what} (AICc better by {advantage:.0} than {name}){capped}");
    said(Answer::At { load: at.knee, low, high: high.min(last), value: at.value }, reason)
}

/// Why a break of two lines rests on too little, if it does. A single wild value at either end of a sweep looks like a
/// break, so one side's only value shows one where nothing else is noisy, and few values must show it the more clearly.
/// Latencies rise ever faster in truth: of them only a first value is doubted.
fn rests_on_an_end(curve: &Curve, quantity: Quantity, bent: &Shape, knee: f64, advantage: f64) -> Option<String> {
    let below: Vec<f64> = curve.x.iter().copied().filter(|x| *x < knee * (1.0 - 1e-9)).collect();
    let beyond: Vec<f64> = curve.x.iter().copied().filter(|x| *x > knee * (1.0 + 1e-9)).collect();
    let side = if quantity == Quantity::Latency || below.len() <= beyond.len() { below } else { beyond };
    let (from, to) = (*side.first()?, *side.last()?);
    let relative = |i: usize| ((curve.y[i] - bent.at(curve.x[i])) / curve.scale[i]).abs();
    let noise = model::median((0..curve.points()).map(relative).collect());
    if side.len() == 1 && noise > FREE_OF_NOISE {
        return Some(format!("a break at {} rests on the one value at {}, repeat it", number(knee), number(from)));
    }
    let is_thin = quantity == Quantity::Throughput && (from == to || side.len() == 2);
    let clear = format!("AICc better by {advantage:.0}, {CLEAR_AT_AN_END} is clear there");
    (is_thin && advantage < CLEAR_AT_AN_END).then(|| {
        format!("a break at {} rests on few values from {} to {} ({clear})", number(knee), number(from), number(to))
    })
}

/// Three significant digits, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests;
