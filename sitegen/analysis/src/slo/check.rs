//! Whether a benchmark kept limits, said after the fact from its summary, with the interval that decides it.

use std::collections::BTreeMap;

use archive::{Distribution, Summary};
use serde::Serialize;

use super::{Sense, in_notation};
use crate::{
    histogram::ordered,
    interval::{self, Interval},
    summary::limits::{Figure, Limit, Quantity},
};

/// Whole seconds of a window that an interval of a rate needs.
const LEAST_SECONDS: u64 = 8;

/// Values that an interval of a mean needs: durations are skewed.
const LEAST_VALUES: u64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    CannotTell,
    Violated,
}

/// One limit against one benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitCheck {
    /// Stored name: `latency_p99_s`, `success_rate`.
    pub metric: String,
    /// In the metric's unit.
    pub limit: f64,
    /// As one writes it: `latency_p99<=50ms`.
    pub notation: String,
    /// What was measured; `null` where nothing was.
    pub value: Option<f64>,
    /// Of `value`, with 95 % confidence; `null` where none can be given.
    pub interval: Option<Interval>,
    /// Values that the figure rests on.
    pub samples: u64,
    pub verdict: Verdict,
    /// Why the verdict is what it is.
    pub reason: String,
}

/// Checks every limit, in the order of their names. A name that means nothing gets the verdict *cannot tell*.
///
/// A limit is met when the whole interval keeps it, and violated when none of the interval does. A failed request kept no limit
/// on its duration: it counts as slower than any.
pub fn check(slo: &BTreeMap<String, f64>, summary: &Summary) -> Vec<LimitCheck> {
    slo.iter().map(|(metric, limit)| check_one(metric, *limit, summary)).collect()
}

/// The figure that a limit's name speaks of; `None` where nothing was measured, or the name means nothing.
pub fn value(metric: &str, summary: &Summary) -> Option<f64> {
    check_one(metric, 0.0, summary).value
}

fn check_one(metric: &str, limit: f64, summary: &Summary) -> LimitCheck {
    let found = match Limit::parse(metric) {
        None => Found::nothing("the metric is not known here"),
        Some(Limit::Time { quantity, figure }) => time(quantity, figure, metric, limit, summary),
        Some(Limit::SuccessRate) => share(summary, limit, Sense::AtLeast),
        Some(Limit::ErrorRate) => share(summary, limit, Sense::AtMost),
        Some(kind @ Limit::Throughput) => {
            let counts = seconds(summary, |i| {
                let timeline = &summary.timeline;
                timeline.completed[i].saturating_sub(timeline.failed.get(i).copied().unwrap_or(0))
            });
            rate(summary.throughput(), &counts, kind, limit)
        }
        Some(kind @ Limit::Recall) => match &summary.recall {
            Some(recall) => Found::as_measured(
                recall.avg,
                recall.count,
                kind.keeps(recall.avg, limit),
                "the spread of recall is not archived",
            ),
            None => Found::nothing("no search has a known answer"),
        },
        Some(kind @ Limit::TokensPerSecond) => {
            let counts = seconds(summary, |i| summary.timeline.output_tokens.get(i).copied().unwrap_or(0));
            rate(summary.tokens_per_second, &counts, kind, limit)
        }
    };
    let Found { value, interval, samples, verdict, reason } = found;
    let notation = in_notation(metric, limit);
    LimitCheck { metric: metric.to_owned(), limit, notation, value, interval, samples, verdict, reason }
}

struct Found {
    value: Option<f64>,
    interval: Option<Interval>,
    samples: u64,
    verdict: Verdict,
    reason: String,
}

impl Found {
    fn nothing(reason: &str) -> Self {
        Self { value: None, interval: None, samples: 0, verdict: Verdict::CannotTell, reason: reason.to_owned() }
    }

    fn as_measured(value: f64, samples: u64, keeps: bool, why: &str) -> Self {
        let verdict = if keeps { Verdict::Met } else { Verdict::Violated };
        Self { value: Some(value), interval: None, samples, verdict, reason: format!("as measured: {why}") }
    }

    fn by_interval(value: f64, interval: Interval, samples: u64, limit: f64, sense: Sense) -> Self {
        let (near, far) = match sense {
            Sense::AtMost => (interval.low, interval.high),
            Sense::AtLeast => (interval.high, interval.low),
        };
        let keeps = |bound: Option<f64>| {
            bound.map(|bound| match sense {
                Sense::AtMost => bound <= limit,
                Sense::AtLeast => bound >= limit,
            })
        };
        let (verdict, reason) = match (keeps(near), keeps(far)) {
            (_, Some(true)) => (Verdict::Met, "the whole 95 % interval keeps the limit"),
            (Some(false), _) => (Verdict::Violated, "the whole 95 % interval lies beyond the limit"),
            _ => (Verdict::CannotTell, "the limit lies within the 95 % interval: more requests would tell"),
        };
        Self { value: Some(value), interval: Some(interval), samples, verdict, reason: reason.to_owned() }
    }
}

fn distribution(summary: &Summary, quantity: Quantity) -> Option<&Distribution> {
    match quantity {
        Quantity::Latency => Some(&summary.latency_s),
        // Absent in closed loop, where it is the latency.
        Quantity::ServiceTime => Some(summary.service_time_s.as_ref().unwrap_or(&summary.latency_s)),
        Quantity::Ttft => summary.ttft_s.as_ref(),
        Quantity::Tpot => summary.tpot_s.as_ref(),
        Quantity::Itl => summary.itl_s.as_ref(),
        Quantity::Ttfb => summary.ttfb_s.as_ref(),
    }
    .filter(|distribution| distribution.figures.count > 0)
}

fn time(quantity: Quantity, figure: Figure, metric: &str, limit: f64, summary: &Summary) -> Found {
    let Some(distribution) = distribution(summary, quantity) else {
        return match summary.failed_requests {
            0 => Found::nothing("no request has this figure"),
            _ if summary.successful_requests == 0 => {
                Found { verdict: Verdict::Violated, ..Found::nothing("no request succeeded") }
            }
            _ => Found::nothing("no successful request has this figure"),
        };
    };
    let figures = &distribution.figures;
    let sample = |value: Option<f64>, why: &str| match value {
        Some(value) => Found::as_measured(value, figures.count, value <= limit, why),
        None => Found::nothing("no request has this figure"),
    };
    match figure {
        Figure::Minimum => sample(figures.min, "the smallest value of the sample"),
        Figure::Maximum => sample(figures.max, "the largest value of the sample"),
        Figure::Average => {
            let (Some(mean), Some(std)) = (figures.avg, figures.std) else { return sample(None, "") };
            match interval::mean_interval(mean, std, figures.count, LEAST_VALUES) {
                Some(interval) => Found::by_interval(mean, interval, figures.count, limit, Sense::AtMost),
                None => Found {
                    verdict: Verdict::CannotTell,
                    reason: format!("{} values are too few for the interval of a mean", figures.count),
                    ..sample(Some(mean), "")
                },
            }
        }
        Figure::Percentile { permille } => {
            let failed = if quantity == Quantity::Itl { 0 } else { summary.failed_requests };
            percentile(distribution, permille, metric, limit, summary, failed)
        }
    }
}

fn percentile(
    distribution: &Distribution,
    permille: u32,
    metric: &str,
    limit: f64,
    summary: &Summary,
    failed: u64,
) -> Found {
    let figures = &distribution.figures;
    let Some(values) = distribution.histogram.as_ref().and_then(ordered) else {
        return Found::nothing("the sample's histogram is not in the summary");
    };
    let share = f64::from(permille) / 1000.0;
    let exact = match permille {
        500 => figures.p50,
        900 => figures.p90,
        950 => figures.p95,
        990 => figures.p99,
        999 => figures.p999,
        _ => summary.slo.iter().find(|outcome| outcome.metric == metric).and_then(|outcome| outcome.value),
    };
    let histogram = distribution.histogram.as_ref();
    let value = exact.or_else(|| interval::quantile(histogram?, share));
    let at = |rank: Option<u64>| rank.filter(|rank| *rank <= values.count()).map(|rank| values.at(rank));
    let (low, high) = interval::ranks(values.count(), share);
    let interval = Interval { low: at(low).map(|bounds| bounds.0), high: at(high).map(|bounds| bounds.1) };

    // The verdict is on all attempts: those that failed stand behind the slowest.
    let attempts = values.count() + failed;
    let (low, high) = interval::ranks(attempts, share);
    let keeps = |rank: u64| at(Some(rank)).is_some_and(|(_, upper)| upper <= limit);
    let breaks = |rank: u64| at(Some(rank)).is_none_or(|(lower, _)| lower > limit);
    let name = format!("p{}", f64::from(permille) / 10.0);
    let (verdict, reason) = match (low, high) {
        (_, Some(high)) if keeps(high) => (Verdict::Met, "the whole 95 % interval keeps the limit".to_owned()),
        (Some(low), _) if breaks(low) && at(Some(low)).is_none() => {
            (Verdict::Violated, format!("{failed} of {attempts} requests failed, which is no answer within any limit"))
        }
        (Some(low), _) if breaks(low) => {
            (Verdict::Violated, "the whole 95 % interval lies beyond the limit".to_owned())
        }
        (_, None) => {
            let needed = interval::least_sample(share);
            (
                Verdict::CannotTell,
                format!("{attempts} requests do not bound {name} from above: it takes {needed} or more"),
            )
        }
        (_, Some(high)) if at(Some(high)).is_none() && failed > 0 => (
            Verdict::CannotTell,
            format!("{failed} of {attempts} requests failed: counted as too slow, they leave {name} open"),
        ),
        _ => (Verdict::CannotTell, "the limit lies within the 95 % interval: more requests would tell".to_owned()),
    };
    Found { value, interval: Some(interval), samples: figures.count, verdict, reason }
}

fn share(summary: &Summary, limit: f64, sense: Sense) -> Found {
    let total = summary.total_requests;
    let hits = if sense == Sense::AtLeast { summary.successful_requests } else { summary.failed_requests };
    if total == 0 {
        return Found::nothing("no request was measured");
    }
    let value = hits as f64 / total as f64 * 100.0;
    // What no sample can show of the service is asked of the sample.
    if limit == 100.0 && sense == Sense::AtLeast || limit == 0.0 && sense == Sense::AtMost {
        return Found::as_measured(value, total, value == limit, "every request of the sample counts");
    }
    let Interval { low, high } = interval::proportion_interval(hits, total);
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    Found::by_interval(value, Interval { low: percent(low), high: percent(high) }, total, limit, sense)
}

/// What was counted in each bucket of the timeline that lies within the window, per second.
fn seconds(summary: &Summary, count: impl Fn(usize) -> u64) -> Vec<f64> {
    let timeline = &summary.timeline;
    let [start, end] = summary.window_s;
    let within = |i: &usize| timeline.start_s[*i] >= start && timeline.start_s[*i] + timeline.bucket_s <= end + 1e-9;
    let buckets = 0..timeline.completed.len().min(timeline.start_s.len());
    buckets.filter(within).map(|i| count(i) as f64 / timeline.bucket_s.max(1e-9)).collect()
}

fn rate(value: Option<f64>, seconds: &[f64], kind: Limit, limit: f64) -> Found {
    let Some(value) = value else { return Found::nothing("it was not measured") };
    let count = seconds.len() as u64;
    let mean = seconds.iter().sum::<f64>() / count.max(1) as f64;
    let squares: f64 = seconds.iter().map(|rate| (rate - mean).powi(2)).sum();
    let std = (squares / count.saturating_sub(1).max(1) as f64).sqrt();
    match interval::mean_interval(value, std, count, LEAST_SECONDS) {
        Some(interval) => Found::by_interval(value, interval, count, limit, kind.sense()),
        None => Found::as_measured(
            value,
            count,
            kind.keeps(value, limit),
            "the window has too few whole seconds for an interval",
        ),
    }
}

#[cfg(test)]
mod tests;
