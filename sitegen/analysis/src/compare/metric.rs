//! The figures that can be compared: their names, which way is worse, and where a summary has them.

use std::collections::BTreeMap;

use archive::{Distribution, Summary};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A figure of a benchmark. Stored names are those of `summary.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `latency_p99_s`: a sample and one of its figures.
    Time { sample: &'static str, figure: &'static str },
    /// `requests_per_second`
    Throughput,
    /// `tokens_per_second`
    Tokens,
    /// `goodput`: good requests per second
    Goodput,
    /// `success_rate`, in percent; its changes are in percentage points
    SuccessRate,
    /// `failed_requests`, a repetition
    Failures,
}

const SAMPLES: [&str; 5] = ["latency", "service_time", "ttft", "tpot", "itl"];
const FIGURES: [&str; 6] = ["avg", "p50", "p90", "p95", "p99", "p99.9"];

impl Metric {
    /// Reads a name: a stored one, or as people write it: `p99`, `ttft_p95`, `throughput`, `errors`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "throughput" | "requests_per_second" => return Some(Self::Throughput),
            "tokens_per_second" => return Some(Self::Tokens),
            "goodput" => return Some(Self::Goodput),
            "success_rate" => return Some(Self::SuccessRate),
            "errors" | "failed_requests" => return Some(Self::Failures),
            _ => {}
        }
        let text = text.strip_suffix("_s").unwrap_or(text);
        let (sample, figure) = text.rsplit_once('_').unwrap_or(("latency", text));
        let known = |names: &[&'static str], name: &str| names.iter().copied().find(|known| *known == name);
        Some(Self::Time { sample: known(&SAMPLES, sample)?, figure: known(&FIGURES, figure)? })
    }

    /// Every one that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let times = SAMPLES.into_iter().flat_map(|sample| FIGURES.map(|figure| Self::Time { sample, figure }));
        times.chain([Self::Throughput, Self::Tokens, Self::Goodput, Self::SuccessRate, Self::Failures])
    }

    /// Every name that `parse` reads, in words.
    pub const EXPECTED: &str = "throughput, success_rate, errors, goodput, tokens_per_second, or avg, p50, p90, p95, \
                                p99, p99.9 of latency, service_time, ttft, tpot or itl (`p99`, `ttft_p95`)";

    /// The stored name.
    pub fn name(self) -> String {
        match self {
            Self::Time { sample, figure } => format!("{sample}_{figure}_s"),
            Self::Throughput => "requests_per_second".to_owned(),
            Self::Tokens => "tokens_per_second".to_owned(),
            Self::Goodput => "goodput".to_owned(),
            Self::SuccessRate => "success_rate".to_owned(),
            Self::Failures => "failed_requests".to_owned(),
        }
    }

    /// Whether more of it is worse.
    pub fn more_is_worse(self) -> bool {
        matches!(self, Self::Time { .. } | Self::Failures)
    }

    /// Whether it counts successes and failures, which have a statistic of their own.
    pub fn is_proportion(self) -> bool {
        matches!(self, Self::SuccessRate | Self::Failures)
    }

    /// The value in a summary; `None` where the benchmark does not have it.
    pub fn of(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::Time { figure, .. } => {
                let figures = &self.sample_of(summary)?.figures;
                match figure {
                    "avg" => figures.avg,
                    "p50" => figures.p50,
                    "p90" => figures.p90,
                    "p95" => figures.p95,
                    "p99" => figures.p99,
                    _ => figures.p999,
                }
            }
            Self::Throughput => summary.throughput(),
            Self::Tokens => summary.tokens_per_second,
            Self::Goodput => summary.goodput.as_ref()?.requests_per_second,
            Self::SuccessRate => summary.success_rate,
            Self::Failures => Some(summary.failed_requests as f64),
        }
    }

    /// The sample that a time is a figure of.
    pub fn sample_of(self, summary: &Summary) -> Option<&Distribution> {
        match self {
            Self::Time { sample: "latency", .. } => Some(&summary.latency_s),
            Self::Time { sample: "service_time", .. } => summary.service_time_s.as_ref(),
            Self::Time { sample: "ttft", .. } => summary.ttft_s.as_ref(),
            Self::Time { sample: "tpot", .. } => summary.tpot_s.as_ref(),
            Self::Time { sample: "itl", .. } => summary.itl_s.as_ref(),
            _ => None,
        }
    }

    /// The percentile that it is, 0–1.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::Time { figure, .. } => Some(figure.strip_prefix('p')?.parse::<f64>().ok()? / 100.0),
            _ => None,
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| D::Error::custom(format!("unknown metric `{name}`")))
    }
}

/// How much worse each figure may become: percent; percentage points of `success_rate`; requests of
/// `failed_requests`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thresholds(BTreeMap<Metric, f64>);

impl Default for Thresholds {
    /// p99 +10 %, throughput −10 %, success −1 point, and no more errors than before.
    fn default() -> Self {
        Self(BTreeMap::from([
            (Metric::Time { sample: "latency", figure: "p99" }, 10.0),
            (Metric::Throughput, 10.0),
            (Metric::SuccessRate, 1.0),
            (Metric::Failures, 0.0),
        ]))
    }
}

impl Thresholds {
    /// Sets one by the metric's name. The error says what was expected.
    pub fn set(&mut self, name: &str, threshold: f64) -> Result<(), String> {
        let metric =
            Metric::parse(name).ok_or_else(|| format!("unknown metric `{name}`; expected {}", Metric::EXPECTED))?;
        let (most, unit) = match metric {
            Metric::SuccessRate => (100.0, "percentage points"),
            Metric::Failures => (f64::MAX, "requests"),
            _ if metric.more_is_worse() => (10_000.0, "percent"),
            _ => (99.0, "percent"),
        };
        let least_allowed = if metric == Metric::Failures { threshold >= 0.0 } else { threshold > 0.0 };
        if !threshold.is_finite() || !least_allowed || threshold > most {
            let bound = if most == f64::MAX { String::new() } else { format!(" and at most {most}") };
            let above = if metric == Metric::Failures { "at least 0" } else { "above 0" };
            return Err(format!("the threshold of `{name}` is a number of {unit} {above}{bound}, found {threshold}"));
        }
        self.0.insert(metric, threshold);
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> {
        self.0.iter().map(|(metric, threshold)| (*metric, *threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_written_and_as_stored() {
        for (text, stored) in [
            ("p99", Some("latency_p99_s")),
            ("latency_p99_s", Some("latency_p99_s")),
            ("avg", Some("latency_avg_s")),
            ("ttft_p99.9", Some("ttft_p99.9_s")),
            ("service_time_p50", Some("service_time_p50_s")),
            ("throughput", Some("requests_per_second")),
            ("errors", Some("failed_requests")),
            ("p42", None),
            ("speed_p99", None),
            ("", None),
        ] {
            assert_eq!(Metric::parse(text).map(Metric::name).as_deref(), stored, "{text}");
        }
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for (name, value, right) in [
            ("p99", 5.0, true),
            ("p99", 0.0, false),
            ("throughput", 100.0, false),
            ("success_rate", 0.5, true),
            ("errors", 0.0, true),
            ("errors", -1.0, false),
            ("p99", f64::NAN, false),
            ("nonsense", 5.0, false),
        ] {
            assert_eq!(Thresholds::default().set(name, value).is_ok(), right, "{name} {value}");
        }
    }
}
