//! `run.json`: what was run, where, with what, and how it ended.
//!
//! Fields that a newer minor build adds are kept in `other` on a round trip. No secret is ever a value here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{BenchmarkId, Timestamp};

/// How a benchmark ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All its load was driven and recorded; single requests may have failed.
    Completed,
    /// The measured thing failed: see `failure`.
    Failed,
    /// A person or the death of the runner ended it early; what was measured is kept.
    Cancelled,
}

/// The life of a benchmark, in order; a failure names the stage it happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Planned,
    Submitted,
    Starting,
    Ready,
    Warmup,
    Loading,
    Ended,
    Collected,
    Sealed,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Stage::Planned => "planned",
            Stage::Submitted => "submitted",
            Stage::Starting => "starting",
            Stage::Ready => "ready",
            Stage::Warmup => "warm-up",
            Stage::Loading => "loading",
            Stage::Ended => "ended",
            Stage::Collected => "collected",
            Stage::Sealed => "sealed",
        })
    }
}

/// Where and why a benchmark did not complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    pub stage: Stage,
    pub reason: String,
}

/// One step in the life of a benchmark or of its service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub time: Timestamp,
    /// `started`, `ready`, `point_begun`, `warmup_ended`, `point_ended`, `stopped`, `failed`, …
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The benchmark it belongs to, when it does not belong to the whole deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark_id: Option<BenchmarkId>,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    pub schema: u32,
    pub benchmark_id: BenchmarkId,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub created_at: Timestamp,
    /// The wall clock at offset 0 of the requests; absent when no load was driven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    pub ended_at: Timestamp,
    pub campaign: CampaignFacts,
    pub target: TargetFacts,
    pub tool: ToolFacts,
    /// HEAD of the repository that holds the archive, when it was run. The recipe's own is `recipe.git_commit`, the build's
    /// `tool.git_commit`.
    pub git_commit: Option<String>,
    /// sha256 over the resolved recipe with sorted keys: the same for every rerun.
    pub recipe_hash: String,
    pub recipe: RecipeFacts,
    pub service: ServiceFacts,
    pub client: ClientFacts,
    pub nodes: Vec<NodeFacts>,
    /// Files that it rested on and that are no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataFacts>,
    pub seeds: Seeds,
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<BenchmarkId>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The place of this benchmark in its campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignFacts {
    /// Short name, usable as a folder name.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// One execution of a campaign: its start time and a random part, the same in all its benchmarks.
    pub execution: String,
    /// Which combination of the sweep, from 0.
    pub point: usize,
    pub points: usize,
    /// Which repetition of the point, from 1.
    pub repetition: u32,
    pub repetitions: u32,
    /// Dotted path → value of every swept axis at this point, in the order of the campaign file.
    pub swept: Map<String, Value>,
    /// Metric → limit, in the metric's unit: `{"latency_p99_s": 0.05}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slo: BTreeMap<String, f64>,
    /// Metric → how much worse it may become before `runner compare` calls it a regression, in percent or points.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f64>,
    /// Where the load was not listed but searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchFacts>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Why a load was measured that a search chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchFacts {
    /// Dotted path of the load.
    pub path: String,
    /// From 1, in the order of measuring.
    pub step: usize,
    /// Why this load, in words.
    pub reason: String,
    /// Name and version of what chose it.
    pub method: String,
    /// Goal, range, precision and budget: with the archived steps, all that the next step follows from.
    pub wanted: Map<String, Value>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetFacts {
    /// `local` or the name of a file in `campaigns/targets`.
    pub name: String,
    /// `local` or `slurm`.
    pub kind: String,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolFacts {
    pub name: String,
    pub version: String,
    /// sha256 of the executable that drove the load.
    pub binary_sha256: Option<String>,
    /// The commit it was built from; absent in debug builds, and of builds outside git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// sha256 over the changes to that commit which it was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_sha256: Option<String>,
    /// Cargo's profile: `release`, `dist`, `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The recipe, twice: as written, and with everything resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecipeFacts {
    /// The name of the file as given on the command line.
    pub file: String,
    /// The file's text, byte for byte.
    pub text: String,
    /// The text of the recipe file that a campaign file refers to, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_text: Option<String>,
    /// What the command line changed: `--set`, `--clients`, `--target`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// HEAD of the repository that holds the file, when it was run; absent outside git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// sha256 over that repository's tracked changes to `git_commit`, without the archive, as `git diff` writes them;
    /// absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_sha256: Option<String>,
    /// The recipe of this point with every default filled in; secrets stand as `${NAME}`.
    pub resolved: Value,
}

/// A file or folder that a benchmark rested on and that is no part of the archive: a model, a data set, a volume. Looked at
/// before the service started, or the load began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataFacts {
    /// As the recipe names it, on the node of the role.
    pub path: String,
    /// `service` or `client`.
    pub role: String,
    /// What names it: `data`, `volumes`, or a setting.
    pub named_by: String,
    /// The service may write to it, so that it may differ from run to run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable: bool,
    /// Regular files, links to such among them.
    #[serde(default)]
    pub files: u64,
    #[serde(default)]
    pub size_bytes: u64,
    /// Of a file its sha256; of a folder that of the lines that `sha256sum` writes for its files, in the order of their
    /// names' bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_sha256: Option<String>,
    /// In place of that where the content is too large to be read: sha256 over a line for each file with its size, the time
    /// of its last change, and its name. A copy has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing_sha256: Option<String>,
    /// Why there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageFacts {
    /// As in the recipe; of a rerun by the digest that the original had.
    pub reference: String,
    /// The OCI manifest digest, where it could be asked for.
    pub digest: Option<String>,
    /// sha256 of the file that Apptainer made of the image: two pulls of one image may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sif_sha256: Option<String>,
    /// Name and version of what ran it, by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFacts {
    pub name: String,
    /// A service type, or `command`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the service itself says its version is.
    pub version: Option<String>,
    /// The image, when it ran in a container.
    pub image: Option<ImageFacts>,
    /// Program and arguments as started; secrets never stand here.
    pub command: Vec<String>,
    /// sha256 of the program, when it was started as a child.
    pub program_sha256: Option<String>,
    /// `child`, `podman`, `external`, …
    pub started_as: String,
    pub hostname: Option<String>,
    pub port: Option<u16>,
    /// Seconds from the start of the process to the first right answer.
    pub ready_after_s: Option<f64>,
    /// Digest of the model it serves, by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    /// Exit code or signal, in words.
    pub exit: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientFacts {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of clients: closed loop, so many requests are in flight; open loop, so many may be.
    pub num_clients: u32,
    /// OS threads of the load generator, one event loop each.
    pub threads: u32,
    /// The load model in full.
    pub load: Value,
    /// sha256 over the requests as they were sent, the same for every number of threads; absent where time
    /// decided how many were sent before the digest was complete.
    pub sequence_digest: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a machine is. A fact that could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeFacts {
    pub hostname: String,
    /// `service`, `client`.
    pub roles: Vec<String>,
    pub kernel: Option<String>,
    pub os: Option<String>,
    pub cpu_model: Option<String>,
    /// Logical CPUs this process may use.
    pub cpus: Option<u32>,
    pub memory_total_bytes: Option<u64>,
    pub numa_nodes: Option<u32>,
    pub cpu_governor: Option<String>,
    pub smt: Option<bool>,
    pub virtualization: Option<String>,
    /// As their driver tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuFacts>,
    /// Soft limits of a process: `open_files`, `processes`, `locked_memory_bytes`, `stack_bytes`; `null` for none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Option<u64>>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFacts {
    pub index: u32,
    pub name: String,
    pub driver: Option<String>,
    pub memory_total_bytes: Option<u64>,
    pub power_limit_w: Option<f64>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seeds {
    pub campaign: u64,
    /// Derived from the campaign's seed, the point and the repetition.
    pub benchmark: u64,
}
