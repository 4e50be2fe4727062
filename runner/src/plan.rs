//! What a campaign comes down to: the benchmarks to run, in order. Pure; nothing is started here.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use serde_json::{Map, Value};

use crate::{
    load::LoadSpec,
    recipe::{
        Recipe,
        campaign::{self, Draft, Overrides, Reading},
        finding::{Findings, Span},
        rules,
        secrets::Environment,
    },
};

mod order;
mod resolve;
pub mod scripts;
mod workload;

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
    /// With every default filled in, see `resolved`.
    pub recipe: Recipe,
    /// The recipe file's text, when the campaign refers to one.
    pub recipe_text: Option<String>,
    /// `recipe` as JSON: every default is filled in, also those of the types' settings. `${NAME}` stays as it is.
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

/// What making a plan came to.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that is wrong, or worth knowing.
    pub findings: Findings,
    /// Without errors among the findings.
    pub plan: Option<Plan>,
}

/// The machine that plans, as far as a plan depends on it.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// CPUs that the load generator may use.
    pub cores: u32,
    pub environment: Environment<'a>,
}

/// Reads a recipe or campaign file and plans it. Without `needs_target`, a recipe that names no target is
/// planned all the same. Errs only when the file cannot be read.
pub fn make(file: &Path, overrides: &Overrides, machine: Machine<'_>, needs_target: bool) -> Result<Outcome> {
    Ok(from_reading(campaign::read(file, overrides)?, overrides, machine, needs_target))
}

/// [`make`] from a text that need not be a file; `name` is what findings call it.
pub fn from_text(name: &str, text: &str, machine: Machine<'_>) -> Outcome {
    let overrides = Overrides::default();
    let reading = campaign::read_bytes(Path::new(name), text.as_bytes().to_vec(), &overrides);
    from_reading(reading, &overrides, machine, true)
}

fn from_reading(mut reading: Reading, overrides: &Overrides, machine: Machine<'_>, needs_target: bool) -> Outcome {
    let mut secrets = BTreeMap::new();
    let points = points(&mut reading, machine, &mut secrets);
    let target = target(&mut reading.findings, &reading.drafts, needs_target);
    let Reading { mut findings, file, text, campaign, .. } = reading;
    if findings.has_errors() {
        findings.drop_notes();
        return Outcome { findings, plan: None };
    }
    let benchmarks = order::benchmarks(points.len(), campaign.repetitions, campaign.order, campaign.seed);
    let services: Vec<&Value> = points.iter().map(|point| &point.resolved["service"]).collect();
    let deployments = order::deployments(&benchmarks, campaign.redeploy, |point| services[point]);
    let plan = Plan {
        campaign: Campaign {
            name: campaign.name.unwrap_or_else(|| name_of(&file)),
            title: campaign.title,
            target,
            seed: campaign.seed,
            repetitions: campaign.repetitions,
            file,
            text,
            overrides: overrides.as_typed(),
        },
        deployments,
        points,
        benchmarks,
        secrets,
        notes: rules::notes(&findings),
    };
    Outcome { findings, plan: Some(plan) }
}

/// Resolves and checks every draft; one that cannot become a point is left out and reported.
fn points(reading: &mut Reading, machine: Machine<'_>, secrets: &mut BTreeMap<String, String>) -> Vec<Point> {
    let Reading { findings, drafts, campaign, .. } = reading;
    drafts.iter().filter_map(|draft| point(findings, draft, campaign, machine, secrets)).collect()
}

fn point(
    findings: &mut Findings,
    draft: &Draft,
    campaign: &crate::recipe::CampaignFile,
    machine: Machine<'_>,
    secrets: &mut BTreeMap<String, String>,
) -> Option<Point> {
    let at = draft.tree.span;
    let resolved = match resolve::resolve(&draft.recipe, draft.types, &campaign.slo) {
        Ok(resolved) => resolved,
        Err(error) => {
            findings.error(at, "", format!("cannot be resolved: {error}"));
            return None;
        }
    };
    let recipe = resolved.recipe;
    rules::check(findings, draft, &recipe, machine.environment, secrets);
    let client = draft.types.client?;
    let client = if recipe.client.command.is_some() { crate::services::RAW_CLIENT } else { client };
    let defaults = match client.load_defaults(&Value::Object(recipe.client.settings.clone())) {
        Ok(defaults) => defaults,
        Err(error) => {
            let at = draft.tree.find("client.settings").map_or(at, |entry| entry.key_span);
            findings.error(at, "client.settings", format!("{error:#}"));
            return None;
        }
    };
    let load = match workload::load_spec(&recipe, &defaults, campaign.seed, machine.cores) {
        Ok(load) => load,
        Err((path, message)) => {
            let at = draft.tree.find(path).map_or(at, |entry| entry.node.span);
            findings.error(at, path, message);
            return None;
        }
    };
    Some(Point {
        swept: draft.swept.clone(),
        recipe_text: draft.recipe_text.clone(),
        slo: workload::limits(&recipe),
        estimated_s: workload::estimate(&load, defaults.warmup_delay_s),
        warmup_delay_s: defaults.warmup_delay_s,
        load,
        recipe,
        resolved: resolved.value,
        recipe_hash: resolved.hash,
    })
}

/// The one target of all points.
fn target(findings: &mut Findings, drafts: &[Draft], needed: bool) -> String {
    const PATH: &str = "configuration.target";
    let mut target: Option<&str> = None;
    for draft in drafts {
        match (&draft.recipe.configuration.target, target) {
            (Some(own), Some(other)) if own != other => {
                let at = draft.tree.find(PATH).map_or(draft.tree.span, |entry| entry.node.span);
                let message = format!("the recipes name two targets, also `{other}`: choose one with `--target`");
                findings.error(at, PATH, message);
            }
            (Some(own), _) => target = Some(own),
            (None, _) if draft.tree.find(PATH).is_none() => {
                let at = Span { line: 1, column: 1, width: 1, ..draft.tree.span };
                if needed {
                    findings.error(at, PATH, "there is no target to run on: give `--target local`, or set it here");
                } else {
                    findings.note(at, PATH, "there is no target: to run, give `--target local`, or set it here");
                }
            }
            (None, _) => {}
        }
    }
    target.unwrap_or_default().to_owned()
}

/// The name of a campaign without one: its file's, as far as it may be a folder's name.
fn name_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(63).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "campaign".into() } else { name.to_owned() }
}
