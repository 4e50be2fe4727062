//! The figures of a benchmark that sweeps and tables show, each with its name and unit.

use analysis::slo;
use archive::{Distribution, Percentiles, Summary};

use crate::units;

/// A quantity that is a sample of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    Latency,
    Ttft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    P50,
    P95,
    P99,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Throughput,
    TokensPerSecond,
    Time(Timed, Percentile),
}

impl Percentile {
    pub const ALL: [Self; 3] = [Self::P50, Self::P95, Self::P99];

    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    pub fn of(self, figures: &Percentiles) -> Option<f64> {
        match self {
            Self::P50 => figures.p50,
            Self::P95 => figures.p95,
            Self::P99 => figures.p99,
        }
    }
}

impl Timed {
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Ttft => "TTFT",
        }
    }

    pub fn of(self, summary: &Summary) -> Option<&Distribution> {
        match self {
            Self::Latency => Some(&summary.latency_s),
            Self::Ttft => summary.ttft_s.as_ref(),
        }
    }
}

impl Metric {
    /// The figure: per second, or in seconds.
    pub fn of(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::Throughput => summary.throughput(),
            Self::TokensPerSecond => summary.tokens_per_second,
            Self::Time(timed, percentile) => percentile.of(&timed.of(summary)?.figures),
        }
    }
}

/// A stored limit in words: `p99 latency ≤ 50.0 ms`, `success rate ≥ 99 %`.
pub fn limit_in_words(metric: &str, limit: f64) -> String {
    let operator = match slo::sense(metric) {
        slo::Sense::AtMost => "≤",
        slo::Sense::AtLeast => "≥",
    };
    format!("{} {operator} {}", slo::metric_in_words(metric), value_in_words(metric, limit))
}

/// A value of a limit's metric with its unit: `50.0 ms`, `99 %`, `120 requests/s`.
pub fn value_in_words(metric: &str, value: f64) -> String {
    match metric {
        "success_rate" | "error_rate" => format!("{} %", units::percent(value)),
        "requests_per_second" => format!("{} requests/s", units::number(value)),
        "tokens_per_second" => format!("{} tokens/s", units::number(value)),
        _ if metric.ends_with("_s") => units::duration(value),
        _ => units::number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_words() {
        for (metric, limit, words) in [
            ("latency_p99_s", 0.05, "p99 latency ≤ 50.0 ms"),
            ("tpot_avg_s", 0.02, "mean TPOT ≤ 20.0 ms"),
            ("service_time_p95_s", 2.0, "p95 service time ≤ 2.00 s"),
            ("success_rate", 99.5, "success rate ≥ 99.5 %"),
            ("requests_per_second", 120.0, "throughput ≥ 120 requests/s"),
            ("something", 1.0, "something ≤ 1.00"),
        ] {
            assert_eq!(limit_in_words(metric, limit), words);
        }
    }
}
