//! How far a limit of the SLO holds: from the smallest load on without a gap, interpolated between loads.
//!
//! The interval holds the loads at which the interpolated figure, with its error, cannot be told from the limit. A limit
//! on a rate is one that little load cannot reach: it holds from the first load on that does.

use serde::{Deserialize, Serialize};

use super::{Groups, median_error};
use crate::{Limit, knee::student, method::Method, sweep::median};

/// Name and version of the method.
pub const LIMIT_METHOD: &str = "contiguous compliance, linear between medians, version 3";

/// Places between two neighbouring loads that are looked at.
const STEPS: usize = 200;

/// One limit with the figures of every benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitCurve {
    /// Stored name: `latency_p99_s`.
    pub metric: String,
    pub limit: f64,
    pub at_most: bool,
    /// Load and figure; `None` where the service failed, which keeps no limit.
    pub points: Vec<(f64, Option<f64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitVerdict {
    /// Holds up to `load`, and no further.
    UpTo,
    /// Holds from `from` on, to the end of the sweep.
    From,
    /// Holds from `from` up to `load`.
    Between,
    /// Already the smallest load breaks it; of a limit on a rate, every load does.
    Never,
    /// Holds at every load swept.
    Throughout,
}

/// How far a limit holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloLimit {
    pub metric: String,
    pub limit: f64,
    pub verdict: LimitVerdict,
    /// The smallest load that keeps a limit on a rate, interpolated, where smaller ones were swept that do not.
    pub from: Option<f64>,
    /// The largest load that keeps the limit, interpolated; absent where none does.
    pub load: Option<f64>,
    /// 95 %; absent without repetitions. Its end is the last load where the limit may hold beyond it.
    pub interval: Option<[f64; 2]>,
    /// The largest load that was swept and keeps the limit, and the median there.
    pub kept_at: Option<f64>,
    pub kept_value: Option<f64>,
    /// (limit − figure) / limit at `kept_at`, in percent.
    pub headroom_percent: Option<f64>,
    /// The smallest load that breaks the limit.
    pub broken_at: Option<f64>,
    pub reason: String,
    #[serde(deserialize_with = "crate::method::read")]
    pub method: Method,
}

impl SloLimit {
    pub(super) fn load_or_zero(&self) -> f64 {
        self.load.unwrap_or(0.0)
    }
}

/// Whether more load gives more of the metric, so that little load says nothing against the service.
pub(crate) fn grows_with_load(metric: &str) -> bool {
    matches!(Limit::parse(metric), Some(Limit::Throughput | Limit::TokensPerSecond))
}

/// `None` when there are no points.
pub fn slo_limit(curve: &LimitCurve) -> Option<SloLimit> {
    let all = nodes(&curve.points);
    // Above zero: the limit is broken.
    let excess = |value: f64| if curve.at_most { value - curve.limit } else { curve.limit - value };
    let breaks = |node: &Node| node.value.is_none_or(|value| excess(value) > 0.0);
    let first = all.first()?;
    let last = all.last()?;
    let crossing_of = |a: &Node, b: &Node| match (a.value, b.value) {
        (Some(y), Some(z)) => Some(a.load + (curve.limit - y) / (z - y) * (b.load - a.load)),
        _ => None,
    };
    let begins = match grows_with_load(&curve.metric) {
        true => all.iter().position(|node| !breaks(node)).unwrap_or(0),
        false => 0,
    };
    let from = begins.checked_sub(1).map(|before| {
        let (before, kept) = (&all[before], &all[begins]);
        crossing_of(before, kept).unwrap_or(kept.load)
    });
    let nodes = &all[begins..];
    let broken = nodes.iter().position(breaks);
    let kept = broken.unwrap_or(nodes.len()).checked_sub(1).map(|place| &nodes[place]);
    let verdict = match (broken, kept, from) {
        (_, None, _) => LimitVerdict::Never,
        (None, _, None) => LimitVerdict::Throughout,
        (None, _, Some(_)) => LimitVerdict::From,
        (Some(_), _, None) => LimitVerdict::UpTo,
        (Some(_), _, Some(_)) => LimitVerdict::Between,
    };
    let load = match (kept, broken.map(|place| &nodes[place])) {
        (Some(kept), Some(broken)) => Some(crossing_of(kept, broken).unwrap_or(kept.load)),
        (Some(kept), None) => Some(kept.load),
        (None, _) => None,
    };
    let interval = errors(curve, nodes).map(|errors| {
        let low = crossing(nodes, &errors, |value, error| excess(value) + error > 0.0);
        let high = crossing(nodes, &errors, |value, error| excess(value) - error > 0.0);
        [low.unwrap_or(last.load), high.unwrap_or(last.load)]
    });
    let kept_value = kept.and_then(|kept| kept.value);
    let headroom = kept_value.map(|value| 0.0 - excess(value) / curve.limit.abs().max(f64::MIN_POSITIVE) * 100.0);
    let broken_at = broken.map(|place| nodes[place].load);
    let number = crate::knee::number;
    let begin = match from {
        Some(_) => format!("{} reaches it and {} does not; ", number(nodes[0].load), number(all[begins - 1].load)),
        None => String::new(),
    };
    let most = || all.iter().filter_map(|node| node.value).fold(f64::NEG_INFINITY, f64::max);
    let reason = match (verdict, kept, broken.map(|place| &nodes[place])) {
        (LimitVerdict::Never, ..) if grows_with_load(&curve.metric) && most().is_finite() => {
            format!("no load swept reaches it: at most {} was measured", number(most()))
        }
        (LimitVerdict::Never, ..) => format!("already the smallest load, {}, breaks it", number(first.load)),
        (LimitVerdict::Throughout, ..) => {
            format!("it holds at every load swept: sweep beyond {}", number(last.load))
        }
        (LimitVerdict::From, ..) => format!("{begin}it holds to the end of the sweep, {}", number(last.load)),
        (_, Some(kept), Some(Node { load, value: Some(_), .. })) => {
            format!("{begin}it holds at {} and is broken at {}; linear in between", number(kept.load), number(*load))
        }
        (_, kept, broken) => format!(
            "{begin}it holds at {}; at {} the service failed",
            number(kept.map_or(f64::NAN, |kept| kept.load)),
            number(broken.map_or(f64::NAN, |broken| broken.load))
        ),
    };
    Some(SloLimit {
        metric: curve.metric.clone(),
        limit: curve.limit,
        verdict,
        from,
        load,
        interval,
        kept_at: kept.map(|kept| kept.load),
        kept_value,
        headroom_percent: headroom,
        broken_at,
        reason,
        method: LIMIT_METHOD,
    })
}

/// One load: its median, `None` where half or more of its benchmarks failed.
struct Node {
    load: f64,
    value: Option<f64>,
    repetitions: usize,
}

fn nodes(points: &[(f64, Option<f64>)]) -> Vec<Node> {
    let mut loads: Vec<f64> = points.iter().map(|(load, _)| *load).filter(|load| load.is_finite()).collect();
    loads.sort_unstable_by(f64::total_cmp);
    loads.dedup();
    let node = |load: &f64| {
        let all = points.iter().filter(|(known, _)| known == load).count();
        let values: Vec<f64> =
            points.iter().filter(|(known, _)| known == load).filter_map(|(_, y)| y.filter(|y| y.is_finite())).collect();
        let repetitions = values.len();
        Node { load: *load, value: (repetitions * 2 > all).then(|| median(values)).flatten(), repetitions }
    };
    loads.iter().map(node).collect()
}

/// Half the width of the 95 % interval of each load's median; `None` without repetitions. Times spread in proportion to
/// themselves, shares (`at_most` is false) alike everywhere.
fn errors(curve: &LimitCurve, nodes: &[Node]) -> Option<Vec<f64>> {
    let points: Vec<(f64, f64)> = curve.points.iter().filter_map(|(load, value)| Some((*load, (*value)?))).collect();
    let groups = Groups::new(&points);
    if groups.freedom <= 0.0 {
        return None;
    }
    let t = student(groups.freedom);
    let level = |node: &Node| if curve.at_most { node.value.unwrap_or(0.0).abs() } else { curve.limit.abs() };
    Some(nodes.iter().map(|node| t * groups.spread * level(node) * median_error(node.repetitions)).collect())
}

/// The first load at which `broken(value, error)`, with values between loads linear and errors of two independent
/// medians.
fn crossing(nodes: &[Node], errors: &[f64], broken: impl Fn(f64, f64) -> bool) -> Option<f64> {
    if nodes[0].value.is_none_or(|value| broken(value, errors[0])) {
        return Some(nodes[0].load);
    }
    for (pair, error) in nodes.windows(2).zip(errors.windows(2)) {
        let [from, to] = [&pair[0], &pair[1]];
        let (Some(a), Some(b)) = (from.value, to.value) else { return Some(from.load) };
        for step in 1..=STEPS {
            let share = step as f64 / STEPS as f64;
            let value = a + share * (b - a);
            if broken(value, ((1.0 - share) * error[0]).hypot(share * error[1])) {
                return Some(from.load + (share - 0.5 / STEPS as f64) * (to.load - from.load));
            }
        }
    }
    None
}
