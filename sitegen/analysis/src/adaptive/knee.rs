//! Where to measure for a knee.
//!
//! Two lines through few loads: the slope before the knee is known from small loads at little cost, the height after it
//! from loads beyond. A benchmark is chosen by how much it narrows the knee of that model for its cost, once every
//! stretch that the analysis needs to tell two lines from another curve has been measured.

use super::{End, Estimate, Measured, Next, Says, Search, cost, count, percent, rounded, rung};
use crate::{
    Answer, Quantity,
    knee::{knee, number, student},
};

/// Throughput for each unit of load, over the best, below which the service is past its knee.
const PAST: f64 = 0.7;

/// Multiples of the knee within which something must be measured before anything is repeated, and where to.
const STRETCHES: [(f64, f64, f64); 4] =
    [(0.0, 0.5, 0.2), (0.55, 1.05, 0.8), (1.1, 1.9, 1.4), (1.7, f64::INFINITY, 3.0)];

/// Share of the knee up to which a load lies before it without doubt.
const WELL_BELOW: f64 = 0.8;

/// Multiples of the knee at which a benchmark may tell something.
const CANDIDATES: [f64; 9] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.1, 1.5, 2.2, 3.5];

/// Loads closer than this factor are one: measured again rather than beside each other.
const SAME: f64 = 1.15;

/// Benchmarks before a fit is trusted.
pub const LEAST: usize = 7;

/// What is expected beforehand, as a standard deviation: the slope after the knee over that before it, how far a round
/// corner stays below two lines at the knee, and the spread of a figure.
const SLOPE_AFTER: f64 = 0.2;
const ROUNDNESS: f64 = 0.1;
const SPREAD: f64 = 0.04;

pub fn estimate(history: &[Measured]) -> Option<Estimate> {
    if history.len() < LEAST {
        return None;
    }
    match knee(&throughputs(history), Quantity::Throughput).answer {
        Answer::At { load, low, high, .. } => Some(Estimate { load, interval: Some([low, high]) }),
        _ => None,
    }
}

fn throughputs(history: &[Measured]) -> Vec<(f64, f64)> {
    history
        .iter()
        .filter_map(|one| match one.says {
            Says::Figures { throughput, .. } => Some((one.load, throughput?)),
            _ => None,
        })
        .collect()
}

pub fn next(search: &Search, history: &[Measured], estimate: Option<Estimate>) -> Next {
    let points = throughputs(history);
    // A service that fails is past its knee; nothing is to be had above.
    let failing = history.iter().filter(|one| matches!(one.says, Says::Failure(_))).map(|one| one.load);
    let failing = failing.fold(f64::INFINITY, f64::min);
    if failing <= search.min || points.is_empty() {
        return Next::End(End::OutOfRange, format!("the service fails already at {}", number(failing.min(search.min))));
    }
    let top = points.iter().map(|(load, _)| *load).fold(0.0, f64::max);
    let efficiency = |load: f64| mean_at(&points, load) / load;
    let best = points.iter().map(|(load, _)| efficiency(*load)).fold(0.0, f64::max);
    if best <= 0.0 {
        return Next::End(End::OutOfRange, "no request succeeded".to_owned());
    }
    let passed = efficiency(top) < PAST * best;
    if !passed && failing.is_infinite() && top < search.max {
        let load = rung(search, history);
        return Next::Measure { load, reason: format!("{} still follows the load: go up", number(top)) };
    }
    if !passed && history.len() >= LEAST && estimate.is_none() {
        let reason = match failing.is_finite() {
            true => format!("no knee up to {}, from where on the service fails", number(failing)),
            false => format!("no knee within the range: extend beyond {}", number(search.max)),
        };
        return Next::End(End::OutOfRange, reason);
    }
    let rough = rough(&points, best);
    if passed && history.len() >= LEAST && estimate.is_none() && rough < 1.25 * search.min {
        return Next::End(
            End::OutOfRange,
            format!("already {} is at the knee or past it: begin lower", number(search.min)),
        );
    }
    let centre = estimate.map_or(rough, |estimate| estimate.load).clamp(search.min, search.max);
    let limit = if failing.is_finite() { (top * failing).sqrt().max(top) } else { search.max };
    let within = |load: f64| rounded(search, load.clamp(search.min, limit));
    if let Some(load) = unmeasured(history, centre, within) {
        return Next::Measure { load, reason: format!("nothing is known yet around {}", number(load)) };
    }
    let load = most_for_its_cost(history, centre, within);
    let reason = match estimate {
        Some(estimate) => {
            let half = estimate.half_width().map_or_else(String::new, |half| format!(", ±{}", percent(half)));
            format!("narrows {}{half}", estimate.words())
        }
        None => format!("the knee is near {}, not yet told from a curve without one", number(centre)),
    };
    Next::Measure { load, reason }
}

/// Where the line of the best efficiency meets the throughput beyond it. The means of several loads, so that a single
/// figure does not set the place.
fn rough(points: &[(f64, f64)], best: f64) -> f64 {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let slope = mean(points.iter().map(|(load, value)| value / load).filter(|each| *each > 0.8 * best).collect());
    let height = mean(points.iter().map(|(_, value)| *value).filter(|value| *value > 0.8 * most).collect());
    height / slope
}

fn mean_at(points: &[(f64, f64)], load: f64) -> f64 {
    super::interpolated(points, load)
}

/// A load for a stretch around the knee without any, the smallest first.
fn unmeasured(history: &[Measured], centre: f64, within: impl Fn(f64) -> f64) -> Option<f64> {
    let new = |load: f64| count(history, load) == 0;
    // A break up to the second load leaves the line before it without a slope of its own.
    let mut below: Vec<f64> = history.iter().map(|one| one.load).filter(|load| *load < WELL_BELOW * centre).collect();
    below.sort_unstable_by(f64::total_cmp);
    below.dedup();
    let second = within(centre / 2.0);
    if below.len() < 2 && new(second) && second < WELL_BELOW * centre {
        return Some(second);
    }
    STRETCHES.iter().find_map(|(from, to, at)| {
        let inside = |load: f64| (from * centre..to * centre).contains(&load);
        let load = within(at * centre);
        let known = history.iter().any(|one| inside(one.load)) || !new(load);
        (!known && inside(load)).then_some(load)
    })
}

/// The load whose benchmark narrows the knee of two lines most for its cost.
fn most_for_its_cost(history: &[Measured], centre: f64, within: impl Fn(f64) -> f64) -> f64 {
    let mut information: Matrix = [[0.0; 4]; 4];
    // Hardly anything is known of height and place beforehand.
    let before = [1e-6, 1e-6, (SPREAD / SLOPE_AFTER).powi(2), (SPREAD / ROUNDNESS).powi(2)];
    for (place, known) in before.into_iter().enumerate() {
        information[place][place] = known;
    }
    for one in history.iter().filter(|one| matches!(one.says, Says::Figures { .. })) {
        add(&mut information, one.load / centre);
    }
    let now = variance(&information);
    let near = |load: f64| {
        let apart = |known: f64| (known / load).ln().abs();
        let known = history.iter().map(|one| one.load).filter(|known| apart(*known) < SAME.ln());
        known.min_by(|a, b| apart(*a).total_cmp(&apart(*b))).unwrap_or(load)
    };
    let candidates = CANDIDATES.iter().map(|factor| near(within(factor * centre)));
    // Half the width of the interval is t · spread · √variance.
    let freedom = history.len().saturating_sub(3).max(1) as f64;
    let surer = 2.0 * (student(freedom) / student(freedom + 1.0)).ln();
    let gain = |load: f64| {
        let mut more = information;
        add(&mut more, load / centre);
        (surer + (now / variance(&more)).ln()) / cost(history, load)
    };
    candidates.map(|load| (gain(load), load)).max_by(|a, b| a.0.total_cmp(&b.0)).map_or(centre, |(_, load)| load)
}

/// Information on log slope, log knee, slope after over slope before, and roundness.
type Matrix = [[f64; 4]; 4];

/// Adds what a benchmark at `x` knees tells.
fn add(information: &mut Matrix, x: f64) {
    let round = x.min(1.0 / x);
    let tells = if x <= 1.0 { [1.0, 0.0, 0.0, round] } else { [1.0, 1.0, x - 1.0, round] };
    for (row, own) in information.iter_mut().zip(tells) {
        for (cell, other) in row.iter_mut().zip(tells) {
            *cell += own * other;
        }
    }
}

/// Variance of the log knee: the cell of the inverse, by elimination of everything else.
fn variance(information: &Matrix) -> f64 {
    let mut matrix = *information;
    for pivot in [0, 2, 3] {
        for row in 0..4 {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            if row != pivot {
                let above = matrix[pivot];
                for (cell, above) in matrix[row].iter_mut().zip(above) {
                    *cell -= factor * above;
                }
            }
        }
    }
    1.0 / matrix[1][1].max(1e-300)
}
