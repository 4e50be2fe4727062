//! What a campaign comes down to: the benchmarks to run, in order. Pure; nothing is started here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{load::LoadSpec, recipe::Recipe};

/// Everything that will run, and what it was made from.
#[derive(Clone, Debug)]
pub struct Plan {
    pub campaign: Campaign,
    pub points: Vec<Point>,
    /// In order of execution.
    pub benchmarks: Vec<PlannedBenchmark>,
    /// Runs of consecutive `benchmarks` (indices) that share one start of the service.
    pub deployments: Vec<Vec<usize>>,
    /// Values of the `${NAME}`s in the recipe. Never printed, stored or passed as an argument.
    pub secrets: BTreeMap<String, String>,
    /// Things a person should know before the start, such as keys that the target leaves out.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Campaign {
    pub name: String,
    pub title: Option<String>,
    pub target: String,
    pub seed: u64,
    pub repetitions: u32,
    /// The file as named on the command line, and its text.
    pub file: String,
    pub text: String,
    /// What the command line changed, as typed.
    pub overrides: Vec<String>,
}

/// One combination of the sweep.
#[derive(Clone, Debug)]
pub struct Point {
    /// Dotted path → value on every axis, in the order of the file.
    pub swept: Map<String, Value>,
    pub recipe: Recipe,
    /// The recipe file's text, when the campaign refers to one.
    pub recipe_text: Option<String>,
    /// `recipe` with every default filled in, also those of the types' settings. `${NAME}` stays as it is.
    pub resolved: Value,
    /// sha256 over `resolved` with sorted keys.
    pub recipe_hash: String,
    /// With the seed of the campaign; each benchmark has its own.
    pub load: LoadSpec,
    /// Quiet seconds between readiness and the first request.
    pub warmup_delay_s: f64,
    /// Stored metric name → limit in its unit: `latency_p99_s`, `ttft_p95_s`, `tpot_avg_s`, `success_rate`.
    pub slo: BTreeMap<String, f64>,
    /// Seconds from start to end, as far as it can be told.
    pub estimated_s: Option<f64>,
}

/// One execution of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBenchmark {
    pub point: usize,
    /// From 1.
    pub repetition: u32,
    pub seed: u64,
}
