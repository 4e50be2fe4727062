//! What people write: recipes and campaigns.
//!
//! These types are the one description of the format: their JSON Schema is what `runner schema` prints and
//! what every file is checked against. Durations are stored in seconds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub mod campaign;
pub mod check;
pub mod document;
pub mod finding;
pub mod formats;
pub mod rules;
pub mod schema;
pub mod secrets;
pub mod target_file;

/// One service, the load on it, and where both run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub configuration: Configuration,
    pub service: Service,
    pub client: Client,
    pub benchmarks: Benchmarks,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// `local`, or the name of a file in `campaigns/targets`.
    #[schemars(length(min = 1))]
    pub target: Option<String>,
}

/// The system under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Used in job and file names; the type's name when not given.
    #[schemars(extend("format" = "name"))]
    pub name: Option<String>,
    /// A service type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Container image, `name:tag` or `name@sha256:…`.
    #[schemars(length(min = 1), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"))]
    pub image: Option<String>,
    /// Shell command that starts the service in the foreground; wins over the type's own.
    #[schemars(length(min = 1))]
    pub command: Option<String>,
    /// Settings of the service type.
    pub settings: Map<String, Value>,
    /// `host:port` of a service that runs already: it is measured and left alone.
    #[schemars(extend("format" = "endpoint"))]
    pub endpoint: Option<String>,
    /// Port to listen on; a free one is chosen when not given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Environment of the service.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub env: BTreeMap<String, String>,
    /// Another name of `env`.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub environment: BTreeMap<String, String>,
    /// How long the service may take from its start to the first right answer.
    #[schemars(range(min = 1), extend("format" = "duration"))]
    pub ready_timeout: f64,
    /// Commands of the batch script before the service starts.
    pub pre_run_commands: Vec<String>,
    /// Files and folders that it rests on: their digests are archived. Absolute, as its node sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^/")))]
    pub data: Vec<String>,
    #[serde(flatten)]
    #[schemars(flatten)]
    pub resources: Resources,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: None,
            kind: None,
            image: None,
            command: None,
            settings: Map::new(),
            endpoint: None,
            port: None,
            env: BTreeMap::new(),
            environment: BTreeMap::new(),
            ready_timeout: 300.0,
            pre_run_commands: Vec::new(),
            data: Vec::new(),
            resources: Resources::default(),
        }
    }
}

/// The load generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// Prefix of the clients' names; `client-<service>` when not given.
    #[schemars(extend("format" = "name"))]
    pub name: Option<String>,
    /// A client type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Shell command that is the load; one run is one request.
    #[schemars(length(min = 1))]
    pub command: Option<String>,
    /// Settings of the client type.
    pub settings: Map<String, Value>,
    /// Environment of the client.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub env: BTreeMap<String, String>,
    /// Another name of `env`.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub environment: BTreeMap<String, String>,
    /// Files and folders that the load rests on: their digests are archived. Absolute, as its node sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^/")))]
    pub data: Vec<String>,
    #[serde(flatten)]
    #[schemars(flatten)]
    pub resources: Resources,
}

/// What a job asks of Slurm. Of these the local target knows `time_limit`; it says which others it leaves out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    #[schemars(length(min = 1))]
    pub partition: Option<String>,
    #[schemars(length(min = 1))]
    pub account: Option<String>,
    #[schemars(length(min = 1))]
    pub qos: Option<String>,
    /// Nodes of the job.
    #[schemars(range(min = 1))]
    pub nodes: Option<u32>,
    #[schemars(range(min = 0))]
    pub num_gpus: Option<u32>,
    #[schemars(range(min = 0))]
    pub gpus_per_node: Option<u32>,
    #[schemars(range(min = 1))]
    pub cpus_per_task: Option<u32>,
    /// In Slurm's notation, for example `64G`.
    #[schemars(extend("format" = "slurm-memory"))]
    pub memory: Option<String>,
    /// In Slurm's notation: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, …
    #[schemars(extend("format" = "slurm-time"))]
    pub time_limit: Option<String>,
    /// Node features.
    #[schemars(length(min = 1))]
    pub constraints: Option<String>,
    #[schemars(length(min = 1))]
    pub exclude_nodes: Option<String>,
    /// Folders to bind into the container, `host:container[:ro]`.
    #[schemars(extend("items" = { "type": "string", "format": "volume" }))]
    pub volumes: Vec<String>,
    /// Environment modules to load.
    pub modules: Vec<String>,
}

/// How the service is loaded, and when the result is good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Benchmarks {
    /// Clients that load the service at the same time.
    #[schemars(range(min = 1, max = 1000000))]
    pub num_clients: u32,
    /// Figures that the printed table shows.
    pub metrics: Vec<Metric>,
    /// Each client starts so long after the one before.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub client_delay: f64,
    /// Length of the measurement window; wins over the number of requests in the client's settings.
    #[schemars(range(min = 0.001), extend("format" = "duration"))]
    pub duration: Option<f64>,
    /// Measured requests of each client (open loop: in all); wins over the client's settings.
    #[schemars(range(min = 1))]
    pub num_requests: Option<u64>,
    /// Load before the measurement window, in no figure.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup: f64,
    /// The same as a number of requests of each client (open loop: in all).
    pub warmup_requests: u64,
    /// A request without an answer after this long has failed.
    #[schemars(range(min = 0.001), extend("format" = "duration"))]
    pub timeout: f64,
    pub load: Load,
    /// Ends the load before `duration` or `num_requests` do, once a percentile is known so well.
    pub precision: Option<PrecisionWanted>,
    /// Length of the calibration before the load, against a server of known truth; 0 for none.
    #[schemars(range(min = 0, max = 600), extend("format" = "duration"))]
    pub calibration: f64,
    /// Limits that a good result keeps.
    #[schemars(extend("format" = "slo"))]
    pub slo: Map<String, Value>,
}

impl Default for Benchmarks {
    fn default() -> Self {
        Self {
            num_clients: 1,
            metrics: Vec::new(),
            client_delay: 0.0,
            duration: None,
            num_requests: None,
            warmup: 0.0,
            warmup_requests: 0,
            timeout: 60.0,
            load: Load::default(),
            precision: None,
            calibration: 1.2,
            slo: Map::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Throughput,
    Latency,
    Tps,
    Ttft,
    Tpot,
    Itl,
    Tokens,
    Bytes,
    Errors,
    Resources,
}

/// When requests are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// `closed`: each client waits for its answer. Otherwise requests come whatever the answers do, and
    /// `num_clients` is how many may be in flight: at `rate` (`constant`, `poisson`, `gamma`), or as they were
    /// recorded (`trace`).
    pub model: LoadModel,
    /// Requests per second; open loop only.
    #[schemars(range(min = 0.000001, max = 100000000.0))]
    pub rate: Option<f64>,
    /// Shape of gamma arrivals: below 1 they come in bursts, 1 is `poisson`, above 1 they are more even.
    #[schemars(range(min = 0.01, max = 10000.0))]
    pub shape: Option<f64>,
    /// Pause of a client between an answer and its next request; closed loop only.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub think_time: f64,
    /// Rate (open loop) or clients (closed loop) over time, from the start of the measurement window, which ends
    /// with the last step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<LoadStep>,
    /// Recorded arrivals, `.csv` or `.jsonl`; the path counts from the folder of the file that is run.
    #[schemars(length(min = 1))]
    pub file: Option<String>,
    /// What the file must have as its sha256; found out and recorded when not given.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// How many times faster than it was recorded a trace is replayed.
    #[schemars(range(min = 0.000001, max = 1000000.0))]
    pub speed: Option<f64>,
}

impl Load {
    /// Most clients at once, where steps say how many there are: closed loop.
    pub fn most_clients(&self) -> Option<u32> {
        let levels = |step: &LoadStep| [step.clients.unwrap_or(0), step.to.unwrap_or(0.0) as u32].into_iter().max();
        if self.model == LoadModel::Closed { self.steps.iter().filter_map(levels).max() } else { None }
    }
}

/// A stretch of time at one level, or going evenly from one to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadStep {
    /// Requests per second at its start; open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000000.0))]
    pub rate: Option<f64>,
    /// Clients at its start; closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000000))]
    pub clients: Option<u32>,
    /// The same at its end, reached evenly; when not given, it stays as it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000000.0))]
    pub to: Option<f64>,
    #[schemars(range(min = 0.001), extend("format" = "duration"))]
    pub duration: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    #[default]
    Closed,
    Constant,
    Poisson,
    Gamma,
    Trace,
}

impl LoadModel {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Gamma => "gamma",
            Self::Trace => "trace",
        }
    }
}

/// The percentile that must be known, and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrecisionWanted {
    /// `latency` or `ttft` with `_p50`, `_p90`, `_p95`, `_p99` or `_p99.9`.
    #[schemars(regex(pattern = r"^(latency|ttft)_p(50|90|95|99|99\.9)$"))]
    pub metric: String,
    /// Length of its 95 % confidence interval, as a share of the percentile.
    #[schemars(range(min = 0.002, max = 1.0))]
    pub width: f64,
}

impl Default for PrecisionWanted {
    fn default() -> Self {
        Self { metric: "latency_p99".into(), width: 0.05 }
    }
}

/// A recipe or several, swept and repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CampaignFile {
    /// Short name, usable as a folder name; the file's name when not given.
    #[schemars(extend("format" = "name"))]
    pub name: Option<String>,
    /// One line for people.
    #[schemars(length(min = 1))]
    pub title: Option<String>,
    /// The recipe, written here.
    pub recipe: Option<Recipe>,
    /// Recipe files, by paths relative to this file.
    pub recipes: Vec<String>,
    /// Dotted path into the recipe → the values it takes; the last axis changes fastest.
    #[schemars(extend("additionalProperties" = { "type": "array", "items": true, "minItems": 1 }))]
    pub sweep: Map<String, Value>,
    /// How the axes combine: every value with every other, or the first with the first.
    pub combine: Combine,
    /// Times every point is run.
    #[schemars(range(min = 1, max = 10000))]
    pub repetitions: u32,
    pub order: Order,
    /// Fixes the request sequences and the shuffled order. Every reader of JSON keeps 53 bits exactly.
    #[schemars(range(min = 0, max = 9007199254740991_u64))]
    pub seed: u64,
    /// Start the service anew for every benchmark; otherwise consecutive benchmarks of equal service share one.
    pub redeploy: bool,
    /// Limits that a good result keeps, for every recipe of the campaign.
    #[schemars(extend("format" = "slo"))]
    pub slo: Map<String, Value>,
    /// How much worse each figure may become before `runner compare` calls it a regression.
    #[schemars(extend("format" = "thresholds"))]
    pub thresholds: Map<String, Value>,
}

impl Default for CampaignFile {
    fn default() -> Self {
        Self {
            name: None,
            title: None,
            recipe: None,
            recipes: Vec::new(),
            sweep: Map::new(),
            combine: Combine::default(),
            repetitions: 1,
            order: Order::default(),
            seed: 1,
            redeploy: true,
            slo: Map::new(),
            thresholds: Map::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    #[default]
    Cross,
    Zip,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// All points once, then all again: slow drifts of the machine spread over the points.
    #[default]
    Interleaved,
    /// All repetitions of a point before the next point.
    Sequential,
    /// Within each repetition, an order drawn from the seed.
    Shuffled,
}
