//! Where to measure for the limit of an SLO.
//!
//! The two loads that the limit lies between are brought together, then the benchmark is chosen that narrows the
//! interval most for its cost: at one of the two, or at a small load, which tells at little cost how much figures spread.

use super::{End, Estimate, Measured, Next, Says, Search, cost, count, percent, rounded, rung};
use crate::{
    knee::{number, student},
    saturation::{LimitCurve, LimitVerdict, SloLimit, grows_with_load, slo_limit},
    slo,
};

/// Repetitions, all loads together, from which the spread of figures is trusted.
pub const LEAST_FREEDOM: usize = 3;

/// Most benchmarks at a load below the two, where they only tell how much figures spread.
const MOST_BELOW: usize = 3;

pub fn estimate(search: &Search, history: &[Measured]) -> Option<Estimate> {
    let found = tightest(search, history)?;
    matches!(found.verdict, LimitVerdict::UpTo | LimitVerdict::Between).then_some(())?;
    let interval = found.interval.filter(|_| freedom(history) >= LEAST_FREEDOM);
    Some(Estimate { load: found.load?, interval })
}

/// Repetitions beyond the first at each load.
pub fn freedom(history: &[Measured]) -> usize {
    let mut loads: Vec<f64> =
        history.iter().filter(|one| matches!(one.says, Says::Figures { .. })).map(|one| one.load).collect();
    let all = loads.len();
    loads.sort_unstable_by(f64::total_cmp);
    loads.dedup();
    all - loads.len()
}

/// The limit that holds least far.
fn tightest(search: &Search, history: &[Measured]) -> Option<SloLimit> {
    let curve = |(metric, limit): (&String, &f64)| LimitCurve {
        metric: metric.clone(),
        limit: *limit,
        at_most: slo::is_at_most(metric),
        points: history
            .iter()
            .filter_map(|one| match &one.says {
                Says::Figures { metrics, .. } => Some((one.load, Some(*metrics.get(metric)?))),
                Says::Failure(_) => Some((one.load, None)),
                Says::Nothing(_) => None,
            })
            .collect(),
    };
    let limits = search.slo.iter().map(curve).filter_map(|curve| slo_limit(&curve));
    let reach = |limit: &SloLimit| match limit.verdict {
        LimitVerdict::Throughout | LimitVerdict::From => f64::INFINITY,
        _ => limit.load.unwrap_or(0.0),
    };
    limits.min_by(|a, b| reach(a).total_cmp(&reach(b)))
}

pub fn next(search: &Search, history: &[Measured], estimate: Option<Estimate>) -> Next {
    let Some(found) = tightest(search, history) else {
        let metrics = search.slo.keys().cloned().collect::<Vec<_>>().join(", ");
        return Next::End(End::OutOfRange, format!("the benchmarks have no figure for {metrics}"));
    };
    let words = slo::in_notation(&found.metric, found.limit);
    match (found.verdict, found.kept_at, found.broken_at) {
        // Little load asks for little: a rate may be reached further up.
        (LimitVerdict::Never, ..) if grows_with_load(&found.metric) => {
            let top = history.iter().map(|one| one.load).fold(search.min, f64::max);
            match top < search.max {
                true => Next::Measure { load: rung(search, history), reason: format!("{words} is not reached yet") },
                false => Next::End(End::OutOfRange, format!("{words}: {}", found.reason)),
            }
        }
        (LimitVerdict::Never, ..) => {
            // One figure more: chance alone may have put the first beyond the limit.
            match count(history, search.min) < 3 {
                true => Next::Measure { load: search.min, reason: format!("{words} seems broken from the start") },
                false => {
                    Next::End(End::OutOfRange, format!("already {} breaks {words}: begin lower", number(search.min)))
                }
            }
        }
        (LimitVerdict::Throughout | LimitVerdict::From, kept, _) => match kept.is_none_or(|kept| kept < search.max) {
            true => {
                let top = history.iter().map(|one| one.load).fold(search.min, f64::max);
                Next::Measure {
                    load: rung(search, history),
                    reason: format!("{words} holds at {}: go up", number(top)),
                }
            }
            false => Next::End(
                End::OutOfRange,
                format!("{words} holds throughout the range: extend beyond {}", number(search.max)),
            ),
        },
        (LimitVerdict::UpTo | LimitVerdict::Between, Some(kept), Some(broken)) => {
            between(search, history, &found, estimate, [kept, broken])
        }
        (LimitVerdict::UpTo | LimitVerdict::Between, ..) => Next::End(End::OutOfRange, found.reason),
    }
}

fn between(
    search: &Search,
    history: &[Measured],
    found: &SloLimit,
    estimate: Option<Estimate>,
    [kept, broken]: [f64; 2],
) -> Next {
    let centre = found.load.unwrap_or(kept);
    let neighbours = search.whole && broken - kept <= 1.0;
    if broken / kept > 1.0 + 3.0 * search.precision && !neighbours {
        // A straight line between loads far apart is only a guess; its ends are known already.
        let share = (centre / kept).ln() / (broken / kept).ln();
        let load = rounded(search, kept * (broken / kept).powf(share.clamp(0.25, 0.75)));
        if load > kept && load < broken {
            let words = slo::in_notation(&found.metric, found.limit);
            let reason = format!("{words} holds at {} and is broken at {}", number(kept), number(broken));
            return Next::Measure { load, reason };
        }
    }
    let half = estimate.and_then(|estimate| estimate.half_width());
    if neighbours && half.is_some_and(|half| half * centre <= 0.5) {
        return Next::End(
            End::Found,
            format!(
                "the limit lies between {} and {}: loads are whole numbers, it cannot be known better",
                number(kept),
                number(broken)
            ),
        );
    }
    let load = most_for_its_cost(history, centre, [kept, broken]);
    let reason = match (estimate, half) {
        (Some(estimate), Some(half)) => format!("narrows {}, ±{}", estimate.words(), percent(half)),
        _ => "tells how much figures spread".to_owned(),
    };
    Next::Measure { load, reason }
}

/// The width of the interval is t · spread · √Σ(weight² / n) of the two loads around the answer, with t from all
/// repetitions: what narrows that most for its cost.
fn most_for_its_cost(history: &[Measured], centre: f64, [kept, broken]: [f64; 2]) -> f64 {
    let share = (centre - kept) / (broken - kept);
    let figures = || history.iter().filter(|one| matches!(one.says, Says::Figures { .. }));
    let mut loads: Vec<f64> = figures().map(|one| one.load).collect();
    loads.sort_unstable_by(f64::total_cmp);
    loads.dedup();
    let freedom = freedom(history);
    let width = |more: Option<f64>| {
        let more_of = |load: f64| usize::from(more == Some(load));
        let n = |load: f64| (count(history, load) + more_of(load)).max(1) as f64;
        let known = (freedom + usize::from(more.is_some())) as f64;
        // Without any repetition nothing is known of the spread.
        let t = if known < 1.0 { 40.0 } else { student(known) };
        t * ((1.0 - share).powi(2) / n(kept) + share.powi(2) / n(broken)).sqrt()
    };
    let now = width(None);
    let gain = |load: f64| (now / width(Some(load))).ln() / cost(history, load);
    let useful = |load: &f64| *load == kept || *load == broken || (*load < kept && count(history, *load) < MOST_BELOW);
    let candidates = loads.iter().copied().filter(useful).map(|load| (gain(load), load));
    candidates.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(kept, |(_, load)| load)
}
