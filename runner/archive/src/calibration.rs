//! How wrong the load generator itself was, measured right before a benchmark against a server of known truth.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A calibration: the errors of the load generator at several event rates. Stands in `run.json` as
/// `client.calibration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    pub kind: CalibrationKind,
    pub at: Timestamp,
    /// Clients and event loops, as in the benchmark.
    pub clients: u32,
    pub threads: u32,
    /// Taken from an earlier benchmark of the same execution, with the same clients, threads and rate.
    pub cached: bool,
    /// In the order in which they were measured.
    pub rungs: Vec<CalibrationRung>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationKind {
    /// The driver against an endpoint that says how long it had each request.
    Timed,
    /// The client type itself against the simulator, which stamps every chunk as it sends it.
    Streaming,
}

/// The errors at one event rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationRung {
    /// Answers (timed) or chunks (streaming) per second that the load generator took in.
    pub event_rate: f64,
    /// The load generator or the server of the calibration had no time left, so that the errors are waits for a core,
    /// as long as the number of clients makes them: no measure of the load generator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saturated: bool,
    /// Measured service time − what the server took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_s: Option<ErrorFigures>,
    /// When the first chunk with content was read − when it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<ErrorFigures>,
    /// |measured gap between chunks − the gap between their sending|.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_s: Option<ErrorFigures>,
    /// Timed only: the same question asked by one plain blocking connection, right before and after; what the way over
    /// loopback and the waking up of both sides take without the load generator. The slower of both at p50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback_s: Option<ErrorFigures>,
}

/// Percentiles of an error, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorFigures {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
}

/// The calibration brought to the event rate of the benchmark. Stands in `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationError {
    /// Events per second of the measurement window.
    pub event_rate: f64,
    /// Rungs left out because load generator or server were saturated in them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// Whether that was within the rates calibrated; otherwise the errors are those of the nearest.
    pub within: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_s: Option<ErrorFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<ErrorFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_s: Option<ErrorFigures>,
    /// What of `latency_s` the way over loopback takes without the load generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback_s: Option<ErrorFigures>,
    /// The largest error, less what the way over loopback takes, as a share of the same percentile of what was measured.
    pub share: f64,
    /// The same of those errors only that are large enough to be told from none: what the gate goes by. Absent in archives
    /// that have it as `share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_share: Option<f64>,
}

impl CalibrationError {
    /// What the gate goes by.
    pub fn judged(&self) -> f64 {
        self.judged_share.unwrap_or(self.share)
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
