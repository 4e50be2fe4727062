//! One repetition as the comparison sees it: its figures, and how uncertain its requests alone make each.

use std::collections::BTreeMap;

use archive::{BenchmarkId, Summary};
use serde::{Deserialize, Serialize};

use super::metric::{Metric, Thresholds};
use crate::histogram;

/// The figures of one benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    pub id: BenchmarkId,
    pub figures: BTreeMap<Metric, Figure>,
    /// Requests of the window, and how many of them failed.
    pub attempts: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub value: f64,
    /// Variance of the value's logarithm that comes of the finite number of requests; 0 where it cannot be told.
    pub within: f64,
    /// Whether enough requests lie beyond a percentile to rely upon it.
    pub supported: bool,
}

impl Repetition {
    /// The figures that have a threshold, as far as the summary has them.
    pub fn new(id: BenchmarkId, summary: &Summary, thresholds: &Thresholds) -> Self {
        Self::of(id, summary, thresholds.iter().map(|(metric, _)| metric))
    }

    /// Every figure that the summary has.
    pub fn whole(id: BenchmarkId, summary: &Summary) -> Self {
        Self::of(id, summary, Metric::all())
    }

    /// Without the figures that have no threshold.
    pub fn with_thresholds(&self, thresholds: &Thresholds) -> Self {
        let figure = |(metric, _): (Metric, f64)| Some((metric, *self.figures.get(&metric)?));
        Self { figures: thresholds.iter().filter_map(figure).collect(), ..*self }
    }

    fn of(id: BenchmarkId, summary: &Summary, metrics: impl Iterator<Item = Metric>) -> Self {
        let figure = |metric: Metric| Some((metric, figure(metric, summary)?));
        Self {
            id,
            figures: metrics.filter_map(figure).collect(),
            attempts: summary.total_requests,
            failed: summary.failed_requests,
        }
    }
}

fn figure(metric: Metric, summary: &Summary) -> Option<Figure> {
    let value = metric.of(summary)?;
    let within = match (metric, metric.quantile()) {
        (Metric::Time { .. }, Some(quantile)) => of_percentile(metric, summary, quantile),
        (Metric::Time { .. }, None) => of_average(metric, summary),
        (Metric::Throughput | Metric::Tokens | Metric::Goodput, _) => Some(of_rate(summary)),
        (Metric::SuccessRate | Metric::Failures, _) => None,
    };
    let supported = match metric {
        Metric::Time { figure, .. } => {
            let unsupported = &metric.sample_of(summary)?.figures.unsupported;
            !unsupported.iter().any(|name| name == figure)
        }
        _ => true,
    };
    Some(Figure { value, within: within.unwrap_or(0.0), supported })
}

/// The ranks one standard error of a binomial count to either side of the percentile's: half of what lies between
/// their values is the standard error of the percentile, whatever the distribution.
fn of_percentile(metric: Metric, summary: &Summary, quantile: f64) -> Option<f64> {
    let values = histogram::ordered(metric.sample_of(summary)?.histogram.as_ref()?)?;
    let count = values.count() as f64;
    let error = (quantile * (1.0 - quantile) / count).sqrt();
    let at = |quantile: f64| values.at((quantile.clamp(0.0, 1.0) * count).ceil() as u64);
    let (low, high) = (at(quantile - error).1, at(quantile + error).1);
    (low > 0.0).then(|| ((high / low).ln() / 2.0).powi(2))
}

fn of_average(metric: Metric, summary: &Summary) -> Option<f64> {
    let figures = &metric.sample_of(summary)?.figures;
    let (average, deviation) = (figures.avg?, figures.std?);
    (average > 0.0).then(|| (deviation / average).powi(2) / figures.count as f64)
}

/// From the whole seconds of the window; at least the step that one request makes.
fn of_rate(summary: &Summary) -> f64 {
    let timeline = &summary.timeline;
    let inside = |start: f64| start >= summary.window_s[0] && start + timeline.bucket_s <= summary.window_s[1];
    let columns = timeline.start_s.iter().zip(&timeline.completed).zip(&timeline.failed);
    let counts: Vec<f64> = columns
        .filter(|((start, _), _)| inside(**start))
        .map(|((_, completed), failed)| completed.saturating_sub(*failed) as f64)
        .collect();
    let step = match summary.successful_requests {
        0 => 0.0,
        requests => (requests as f64).powi(-2) / 6.0,
    };
    // Fewer seconds than that do not show how they vary.
    if counts.len() < 5 {
        return step;
    }
    let size = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / size;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (size - 1.0);
    if mean > 0.0 { step.max(variance / size / mean.powi(2)) } else { step }
}

#[cfg(test)]
mod tests {
    use archive::{Histogram, Percentiles, Timeline};
    use base64::{Engine, prelude::BASE64_STANDARD};
    use hdrhistogram::serialization::{Serializer, V2Serializer};

    use super::*;

    fn summary() -> Summary {
        let mut histogram = hdrhistogram::Histogram::<u64>::new(3).expect("three digits");
        (1..=10_000_u64).for_each(|value| histogram.record(value * 100_000).expect("in range"));
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).expect("written");
        let mut summary = Summary {
            total_requests: 10_100,
            failed_requests: 100,
            successful_requests: 10_000,
            requests_per_second: Some(1000.0),
            window_s: [0.5, 10.5],
            timeline: Timeline {
                bucket_s: 1.0,
                start_s: (0..11).map(f64::from).collect(),
                completed: vec![5, 1000, 1010, 990, 1005, 995, 1000, 1000, 1010, 990, 400],
                failed: vec![0; 11],
                ..Timeline::default()
            },
            ..Summary::default()
        };
        summary.latency_s.figures =
            Percentiles { count: 10_000, avg: Some(0.5), std: Some(0.29), p99: Some(0.99), ..Percentiles::default() };
        summary.latency_s.histogram = Some(Histogram { unit_s: 1e-9, hdr_v2_base64: BASE64_STANDARD.encode(bytes) });
        summary
    }

    #[test]
    fn requests_within_a_repetition_make_its_figures_uncertain() {
        let id = BenchmarkId::new(20_260_301, 1);
        let mut thresholds = Thresholds::default();
        thresholds.set("avg", 10.0).expect("a metric");
        thresholds.set("p95", 10.0).expect("a metric");
        let repetition = Repetition::new(id, &summary(), &thresholds);
        let error = |name: &str| repetition.figures[&Metric::parse(name).expect("a metric")].within.sqrt();
        // Uniform on 0–1 s: the 99th percentile of 10,000 has a standard error of sqrt(.99 · .01 / 10,000).
        assert!((error("p99") - 0.000_995 / 0.99).abs() < 2e-4, "{}", error("p99"));
        assert!((error("avg") - 0.29 / 0.5 / 100.0).abs() < 1e-9);
        // Nine whole seconds with a standard deviation of 7.5.
        assert!((error("throughput") - 0.0075 / 3.0).abs() < 2e-4, "{}", error("throughput"));
        assert_eq!((repetition.attempts, repetition.failed), (10_100, 100));
        assert_eq!(Repetition::whole(id, &summary()).with_thresholds(&thresholds), repetition);
        assert!(!repetition.figures.contains_key(&Metric::parse("p95").expect("a metric")), "the summary has none");
    }
}
