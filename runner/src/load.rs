//! The load driver: how requests are scheduled, sent, stamped and recorded. It knows no service.
//!
//! A client type ([`crate::services`]) only knows how to send one request; pacing, stopping, warm-up and
//! recording are written once, here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod digest;
mod draw;
mod driver;
mod event_loop;
mod exchange;
mod pace;
mod patience;
mod profile;
mod schedule;
mod share;
mod timer;
mod writer;

pub mod spool;
pub mod trace;
pub mod truth;

pub use analysis::precision::{Precision, PrecisionFacts, Quantity};

pub use self::{
    draw::{Draw, Zipf, content_mix, mix},
    driver::drive,
    exchange::{Client, Connection, Doubt, Exchange, Outcome, Place, Recall, Streamed, Workload, one_by_one},
    patience::{PATIENCE, patience, within},
    profile::{Step, StepBounds, mean_level, total_s},
    share::{Meeting, Moment, NodePart, Share, clients_of, loops_of, merged},
    timer::{Sleep, Timer},
    trace::Trace,
    writer::{Phase, Progress},
};

/// Everything that fixes the load of one benchmark; together with the client's settings it fixes the request
/// sequence, whatever the number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadSpec {
    pub arrival: Arrival,
    /// Closed loop: requests in flight. Open loop: the most that may be in flight, each with its connection.
    pub clients: u32,
    /// Event loops, one OS thread each.
    pub threads: u32,
    pub stop: Stop,
    pub warmup: Warmup,
    /// Client `i` starts `i · stagger_s` after the first.
    pub stagger_s: f64,
    /// A request without a complete answer after this long is a failure of kind timeout.
    pub timeout_s: f64,
    /// Commands written before the first answer is read; closed loop only.
    pub pipeline: u32,
    pub seed: u64,
    /// The level over time, from the start of the measurement window; empty: it stays the same. The unit is
    /// requests per second in open loop, and `clients` of these in closed loop. Warm-up has the first level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Ends the load before `stop` does, once a percentile is known well enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl LoadSpec {
    /// The requests per second that an open loop asks for, on average over the measurement window.
    pub fn requested_rate(&self) -> Option<f64> {
        let rate = match self.arrival {
            Arrival::Closed { .. } => return None,
            Arrival::Constant { rate } | Arrival::Poisson { rate } | Arrival::Gamma { rate, .. } => rate,
            Arrival::Trace { rate, .. } => rate,
        };
        Some(mean_level(&self.steps).unwrap_or(rate))
    }
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Arrival {
    /// Each client sends its next request `think_time_s` after the answer to the one before.
    Closed { think_time_s: f64 },
    /// One request every `1 / rate` seconds, whatever the answers do.
    Constant { rate: f64 },
    /// Exponential gaps of mean `1 / rate`, whatever the answers do.
    Poisson { rate: f64 },
    /// Gamma gaps of mean `1 / rate`: a shape of 1 is Poisson, below 1 arrivals come in bursts, above 1 they are
    /// more even. The gaps' coefficient of variation is `1 / √shape`.
    Gamma { rate: f64, shape: f64 },
    /// Arrivals at the recorded times of [`LoadJob::trace`], divided by `speed`.
    Trace {
        /// Of the file.
        sha256: String,
        speed: f64,
        /// Lines of the file.
        requests: u64,
        /// Mean over the trace at that speed.
        rate: f64,
    },
}

impl Arrival {
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// The same with so many times the rate; in closed loop there is none.
    pub fn scaled(&self, by: f64) -> Self {
        let mut scaled = self.clone();
        match &mut scaled {
            Self::Closed { .. } => {}
            Self::Constant { rate } | Self::Poisson { rate } | Self::Gamma { rate, .. } | Self::Trace { rate, .. } => {
                *rate *= by;
            }
        }
        scaled
    }
}

/// When the load ends: at the first that is reached. At least one is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Measured requests: of each client (closed loop) or in all (open loop).
    pub requests: Option<u64>,
    /// Length of the measurement window.
    pub duration_s: Option<f64>,
}

/// Load before the measurement window: recorded and marked, in no figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    pub duration_s: f64,
    /// Requests of each client (closed loop) or in all (open loop).
    pub requests: u64,
}

/// One benchmark's load, as handed to a client type.
#[derive(Clone, Debug)]
pub struct LoadJob {
    pub spec: LoadSpec,
    /// The resolved `client.settings`.
    pub settings: serde_json::Value,
    /// The resolved `service.settings`.
    pub service_settings: serde_json::Value,
    pub endpoint: Endpoint,
    /// Folder of the point in the run folder: spool, progress and client logs go there.
    pub folder: PathBuf,
    /// Environment of raw commands.
    pub env: std::collections::BTreeMap<String, String>,
    /// The raw `client.command`, if there is one.
    pub command: Option<String>,
    /// Texts of the files that settings name, by the setting.
    pub files: std::collections::BTreeMap<String, String>,
    /// The recorded arrivals, when these are what is replayed.
    pub trace: Option<std::sync::Arc<Trace>>,
    /// In a calibration: where the client says how late it read what the server had sent.
    pub truth: Option<std::sync::Arc<truth::Truth>>,
    /// Which part of the load this is, when several nodes drive it.
    pub share: Option<Share>,
}

/// Where the service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An IPv6 address needs its brackets back, or its end cannot be told from the port.
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How whoever started the load can end it early, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Control {
    /// Ends the load soon: no further request is sent, those in flight are given a short time.
    pub fn stop(&self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What the driver says of a load that has ended, beside the records in the job's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Wall clock at offset 0 of the records.
    pub started_at: archive::Timestamp,
    /// Measurement window, in seconds from `started_at`; half open.
    pub window_s: [f64; 2],
    /// Records written, warm-up included.
    pub recorded: u64,
    /// sha256 over the requests as they were sent; see `docs/metrics.md`.
    pub sequence_digest: Option<String>,
    /// What the digest is made of, in the report of a part of a load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_sums: Option<[u64; 3]>,
    /// Ended before its stopping rule said so.
    pub interrupted: bool,
    /// Why it was interrupted, when nobody asked for it: the service could not be reached any more.
    #[serde(default)]
    pub interruption: Option<String>,
    /// Why the service's data are not what the load wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_data: Option<String>,
    /// Why it is not known whether they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked_data: Option<String>,
    /// Why what the load put into the service may still be there, in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<String>,
    pub threads: u32,
    /// CPU seconds of the load generator over the window, all threads.
    pub cpu_s: f64,
    /// Seconds in which load threads were ready to run and waited for a core, over the window, all threads.
    #[serde(default)]
    pub wait_s: f64,
    /// The longest time an event loop did not come round, over all loops.
    pub longest_stall_s: f64,
    /// When each of the spec's steps was, in seconds from `started_at`; the last may have been cut short.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepBounds>,
    /// What the rule that ends the load by precision came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionFacts>,
    /// What each node had of it, where the load ran on a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodePart>,
}
