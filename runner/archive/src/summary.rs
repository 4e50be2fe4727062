//! `summary.json`: the figures of one benchmark, computed by the `analysis` crate from its requests.
//!
//! Only requests of the measurement window count; definitions stand in `docs/metrics.md`. A figure that the
//! data do not define is `null`, never zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CalibrationError, Timestamp};

/// The content of `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    pub schema: u32,
    pub service_type: String,
    /// Requests that started in the measurement window, successful or not.
    pub total_requests: u64,
    pub successful_requests: u64,
    pub failed_requests: u64,
    /// Requests sent during warm-up: in no other figure.
    pub warmup_requests: u64,
    /// successful / total, in percent.
    pub success_rate: Option<f64>,
    /// Successful requests per second of the window.
    pub requests_per_second: Option<f64>,
    /// Open loop: successful answers that came within the window over its length, whenever they were asked for. Past
    /// capacity this is what the service does, while the requests of the window are answered until long after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_per_second: Option<f64>,
    /// Length of the measurement window.
    pub test_duration_s: f64,
    /// Start and end of the window, in seconds from the benchmark's start.
    pub window_s: [f64; 2],
    pub test_start_time: Option<Timestamp>,
    pub test_end_time: Option<Timestamp>,
    /// Response time of successful requests: end − intended.
    pub latency_s: Distribution,
    /// end − start of successful requests; absent in closed loop, where it equals `latency_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_time_s: Option<Distribution>,
    /// start − intended of all requests: the load generator's own delay; absent in closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_lag_s: Option<Distribution>,
    /// Time to the first byte of the answer's body, of successful requests that tell it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttfb_s: Option<Distribution>,
    /// Share of the true nearest neighbours found, of searches whose right answer is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Recall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<Distribution>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_first_chunk_s: Option<Distribution>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_s: Option<Distribution>,
    /// Gaps between content chunks, pooled over requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_s: Option<Distribution>,
    /// Output tokens of successful requests per second of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_output_tokens: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_input_tokens: Option<f64>,
    /// Input tokens that drawn prompts were meant to have, on average over the requests of which the server says how many it had;
    /// their own average beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_asked_input_tokens: Option<[f64; 2]>,
    /// Input tokens that the server had in its prompt cache, on average over the requests that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_cached_tokens: Option<f64>,
    /// Successful requests whose output tokens were counted by content chunk, for want of a count of the server's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub counted_by_chunk: u64,
    /// Output tokens in a content chunk, of requests whose server counts tokens: above 1, the ITL is the gap between several tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_chunk: Option<f64>,
    /// Payload bytes per second of the window, of successful requests.
    pub bytes_sent_per_second: Option<f64>,
    pub bytes_received_per_second: Option<f64>,
    /// The requests per second that the schedule wanted; open loop only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_rate: Option<f64>,
    pub operations: BTreeMap<String, OperationSummary>,
    /// Times of the steps of successful requests, where a request has several round trips.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps_s: BTreeMap<String, Percentiles>,
    /// Times that the server itself reports with its answers, of successful requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_s: BTreeMap<String, Percentiles>,
    /// Error text → number of failed requests in the window.
    pub error_summary: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// One entry a limit of the recipe's SLO.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slo: Vec<SloOutcome>,
    /// The load generator's own error at this benchmark's event rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationError>,
    /// Every validity gate, passed or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    pub timeline: Timeline,
    /// Validity and other remarks, worst first.
    pub findings: Vec<Finding>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Figures of one sample. All but `count` are `null` for an empty sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    pub count: u64,
    pub avg: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// Sample standard deviation (n − 1); 0 for one value.
    pub std: Option<f64>,
    /// Exact: linear interpolation between order statistics at rank (n − 1)·p/100.
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    #[serde(rename = "p99.9")]
    pub p999: Option<f64>,
    /// Percentiles with fewer than ten values beyond them: shown, but not to be relied upon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsupported: Vec<String>,
}

/// Figures of recall@k over the searches of a benchmark, each between 0 and 1. The low percentiles are the bad ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recall {
    /// Successful searches whose right answer is known.
    pub count: u64,
    pub avg: f64,
    pub min: f64,
    /// By the rule of [`Percentiles`].
    pub p1: f64,
    pub p5: f64,
    pub p10: f64,
    pub p50: f64,
}

/// A sample's figures and its whole shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    #[serde(flatten)]
    pub figures: Percentiles,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
}

/// An HDR histogram: three significant digits, mergeable with any other of the same unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// Seconds in one unit of the histogram's values: 1e-9.
    pub unit_s: f64,
    /// The V2 encoding of HdrHistogram, in base64.
    pub hdr_v2_base64: String,
}

/// Figures of one kind of operation within a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationSummary {
    /// Requests in the window, successful or not.
    pub count: u64,
    pub failed: u64,
    /// The time in which this operation was driven, within the window: from its first start to its last end. Of the only one, the
    /// whole window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driven_s: Option<f64>,
    /// Successful operations per second, over the time in which this operation was driven.
    pub throughput: Option<f64>,
    /// Payload bytes and vectors of successful operations per second, over the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_sent_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_received_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors_per_second: Option<f64>,
    pub latency_s: Percentiles,
}

/// Requests that succeeded and met every limit, per second and as a share of attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Goodput {
    pub good_requests: u64,
    pub requests_per_second: Option<f64>,
    /// good / attempts, 0–1.
    pub ratio: Option<f64>,
}

/// Whether one limit of the SLO was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloOutcome {
    /// `latency_p99_s`, `ttft_p95_s`, `success_rate`, …
    pub metric: String,
    pub limit: f64,
    pub value: Option<f64>,
    /// `null` when the figure is not defined by the data.
    pub met: Option<bool>,
}

/// Columns over time; every column has one value a bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Width of a bucket.
    pub bucket_s: f64,
    /// Start of each bucket, in seconds from the benchmark's start; warm-up included.
    pub start_s: Vec<f64>,
    /// Requests completed in the bucket, failed ones included.
    pub completed: Vec<u64>,
    pub failed: Vec<u64>,
    /// Response time of the successful requests completed in the bucket.
    pub latency_p50_s: Vec<Option<f64>>,
    pub latency_p99_s: Vec<Option<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_tokens: Vec<u64>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The figures must not be used as a measurement of the service.
    Invalid,
    /// The figures stand, with this reservation.
    Warning,
    Note,
}

/// One remark about a benchmark, in words, with the number it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub severity: Severity,
    /// A stable short name: `send_lag`, `client_cpu`, `failures`, …
    pub code: String,
    pub message: String,
}

/// A validity gate and what it came to; `docs/metrics.md` has the limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// The code of the finding that the gate leads to: `send_lag`, `rate`, …
    pub code: String,
    pub outcome: GateOutcome,
    /// In words, with the number it rests on or why it does not apply.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    Passed,
    /// The finding says how severe it is.
    Failed,
    NotApplicable,
}

/// Findings that say that the load generator, not the service, may have set the figures.
const CLIENT_BOUND: [&str; 2] = ["client_cpu", "calibration"];

impl Summary {
    /// What the service does, in successful requests per second: of the window's requests, or, past capacity, the answers
    /// that came within the window. Everything that speaks of a service's throughput uses this.
    pub fn throughput(&self) -> Option<f64> {
        let saturated = self.findings.iter().any(|finding| finding.code == "saturated");
        self.answered_per_second.filter(|_| saturated).or(self.requests_per_second)
    }

    /// The findings for which nobody should take the figures as the service's: invalid, or client-bound.
    pub fn reservations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| {
            finding.severity == Severity::Invalid
                || (finding.severity == Severity::Warning && CLIENT_BOUND.contains(&finding.code.as_str()))
        })
    }

    /// Whether no finding says that the figures must not be used.
    pub fn is_valid(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_what_is_invalid_and_what_is_client_bound() {
        let all = [
            (Severity::Invalid, "failures", true),
            (Severity::Invalid, "send_lag", true),
            (Severity::Warning, "client_cpu", true),
            (Severity::Warning, "calibration", true),
            (Severity::Note, "client_cpu", false),
            (Severity::Note, "calibration", false),
            (Severity::Warning, "send_lag", false),
            (Severity::Warning, "saturated", false),
            (Severity::Warning, "cold_start", false),
            (Severity::Note, "samples", false),
        ];
        for (severity, code, expect) in all {
            let finding = Finding { severity, code: code.to_owned(), message: String::new() };
            let summary = Summary { findings: vec![finding.clone()], ..Summary::default() };
            assert_eq!(summary.reservations().collect::<Vec<_>>(), [&finding][..usize::from(expect)], "{finding:?}");
            assert_eq!(summary.is_valid(), severity != Severity::Invalid, "{finding:?}");
        }
    }
}
