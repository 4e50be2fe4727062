//! What no single field can tell: pairs that cannot work together, and keys that would have no effect.
//!
//! Runs on every point of a campaign. Whether a key is given is asked of the tree; what it comes to, of the
//! resolved recipe. Knows no service by name: rules on settings go by the names of the settings.

use std::collections::BTreeMap;

use analysis::slo;

use super::{
    LoadModel, Recipe,
    campaign::{Draft, Types},
    document::{Content, Node, join},
    finding::{Findings, Span, did_you_mean, quoted_list},
    formats::{self, format_duration},
    schema,
    secrets::{self, Environment},
};
use crate::services::{RAW_CLIENT, RAW_SERVICE};

/// The name of the target that is this machine.
pub const LOCAL: &str = "local";

/// Keys of a job that mean nothing to the local target.
const JOB_KEYS: [&str; 11] = [
    "partition",
    "account",
    "qos",
    "num_gpus",
    "gpus_per_node",
    "cpus_per_task",
    "memory",
    "constraints",
    "exclude_nodes",
    "volumes",
    "modules",
];

/// Keys of `service` that a service which runs already has no use for.
const START_KEYS: [&str; 8] =
    ["command", "image", "port", "env", "environment", "pre_run_commands", "nodes", "time_limit"];

/// Checks one point. `resolved` is its recipe with every default; values of `${NAME}`s go into `secrets`.
pub fn check(
    findings: &mut Findings,
    draft: &Draft,
    resolved: &Recipe,
    environment: Environment<'_>,
    secrets: &mut BTreeMap<String, String>,
) {
    secrets::collect(findings, &draft.tree, environment, secrets);
    let mut rules = Rules { findings, tree: &draft.tree, recipe: resolved, types: draft.types, secrets };
    rules.kinds();
    rules.environments();
    rules.service();
    rules.client_settings();
    rules.load();
    rules.slo();
    rules.jobs();
    rules.target();
}

struct Rules<'a> {
    findings: &'a mut Findings,
    tree: &'a Node,
    recipe: &'a Recipe,
    types: Types,
    secrets: &'a BTreeMap<String, String>,
}

impl Rules<'_> {
    /// Given, and more than an empty section or list.
    fn has(&self, path: &str) -> bool {
        self.tree.find(path).is_some_and(|entry| {
            entry.node.text().is_some() || !entry.node.entries().is_empty() || !entry.node.items().is_empty()
        })
    }

    /// Where the value at `path` stands; where it is missing, the key of the section that lacks it.
    fn span(&self, path: &str) -> Span {
        if let Some(entry) = self.tree.find(path) {
            return if entry.node.text().is_some() { entry.node.span } else { entry.key_span };
        }
        let mut section = path;
        while let Some((above, _)) = section.rsplit_once('.') {
            if let Some(entry) = self.tree.find(above) {
                return entry.key_span;
            }
            section = above;
        }
        self.tree.span
    }

    fn key_span(&self, path: &str) -> Span {
        self.tree.find(path).map_or_else(|| self.span(path), |entry| entry.key_span)
    }

    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.findings.error(self.span(path), path, message);
    }

    fn note(&mut self, path: &str, message: impl Into<String>) {
        self.findings.note(self.span(path), path, message);
    }

    /// Service and client are there, and fit each other.
    fn kinds(&mut self) {
        // A section that is empty, no section or misspelt has a finding of its own.
        let sections = |section: &str| match self.tree.get(section) {
            Some(entry) => matches!(entry.node.content, Content::Mapping(_)),
            None => !self.tree.entries().iter().any(|entry| did_you_mean(&entry.key, [section]).is_some()),
        };
        let (service, client) = (sections("service"), sections("client"));
        if service && !self.has("service.type") && !self.has("service.command") {
            let message =
                format!("there is no service: give `type` ({}) or `command`", quoted_list(schema::service_names()));
            self.error("service", message);
        }
        if client && !self.has("client.type") && !self.has("client.command") {
            let able = self.types.service.map(|service| service.clients()).unwrap_or_default();
            let mut names: Vec<&str> = able.iter().map(|client| client.name()).collect();
            names.sort_unstable();
            let types = if names.is_empty() { String::new() } else { format!(" ({})", quoted_list(names)) };
            self.error("client", format!("there is no client: give `type`{types} or `command`"));
        }
        let (Some(service), Some(client)) = (self.types.service, self.types.client) else { return };
        if client.name() == RAW_CLIENT.name() || service.clients().iter().any(|able| able.name() == client.name()) {
            return;
        }
        if service.name() == RAW_SERVICE.name() {
            let message = format!(
                "the client `{}` needs a service of a known type: give `service.type` too (`command` still wins over \
                 the type's own)",
                client.name()
            );
            return self.error("client.type", message);
        }
        let mut names: Vec<&str> = service.clients().iter().map(|client| client.name()).collect();
        names.sort_unstable();
        let message = format!(
            "the client `{}` cannot drive the service `{}`: expected {}, or a `command`",
            client.name(),
            service.name(),
            quoted_list(names)
        );
        self.error("client.type", message);
    }

    /// `env` and its other name may both be given, but not with two values for one variable.
    fn environments(&mut self) {
        for section in ["service", "client"] {
            let Some(other) = self.tree.find(&format!("{section}.environment")) else { continue };
            for entry in other.node.entries() {
                let first = self.tree.find(&format!("{section}.env")).and_then(|env| env.node.get(&entry.key));
                if first.is_some_and(|first| first.node.text() != entry.node.text()) {
                    let path = format!("{section}.environment.{}", entry.key);
                    self.findings.error(
                        entry.node.span,
                        path,
                        format!("`{}` has another value in `{section}.env`: remove one", entry.key),
                    );
                }
            }
        }
    }

    fn service(&mut self) {
        let service = &self.recipe.service;
        if let Some(endpoint) = service.endpoint.clone() {
            let filled = secrets::fill(&endpoint, self.secrets);
            if endpoint.contains("${")
                && secrets::names(&filled).is_empty()
                && formats::parse_endpoint(&filled).is_err()
            {
                self.error("service.endpoint", "with its values filled in, this is not `host:port`");
            }
            for key in START_KEYS
                .iter()
                .chain(&JOB_KEYS)
                .map(|key| format!("service.{key}"))
                .chain(["service.settings.port".to_owned()])
            {
                if self.has(&key) {
                    let message =
                        "no effect beside `endpoint`: that service runs already and is left alone; remove one";
                    self.findings.error(self.key_span(&key), key, message);
                }
            }
        }
        if let (Some(port), Some(other)) = (self.tree.find("service.port"), self.tree.find("service.settings.port"))
            && port.node.text() != other.node.text()
        {
            let message = format!("`service.port` is {}: remove one of the two", port.node.describe());
            self.error("service.settings.port", message);
        }
        if let Some(image) = &service.image
            && self.has("service.image")
            && has_no_version(image)
        {
            let message =
                format!("{image} names no version, so a later run may measure another one: give a tag or a digest");
            self.note("service.image", message);
        }
        if self.has("service.command") && self.has("service.type") && self.has("service.settings") {
            self.note(
                "service.settings",
                "`command` wins over the type's own: of these, it gets only what it asks for itself",
            );
        }
    }

    /// Limits on what the client cannot measure: they would never be told to be kept or broken.
    fn slo(&mut self) {
        let Some(client) = self.types.client else { return };
        let client = if self.recipe.client.command.is_some() { RAW_CLIENT } else { client };
        let recipe = self.recipe;
        for metric in recipe.benchmarks.slo.keys() {
            if slo::needs(metric).is_none_or(|detail| client.details().contains(&detail)) {
                continue;
            }
            let message = format!(
                "the client `{}` does not measure {}: remove this limit",
                client.name(),
                slo::metric_in_words(metric)
            );
            let written = self.tree.find("benchmarks.slo").and_then(|entry| {
                let keys = entry.node.entries().iter();
                keys.map(|limit| (limit.key_span, &limit.key)).find(|(_, key)| slo::metric(key).as_ref() == Ok(metric))
            });
            match written {
                Some((span, key)) => {
                    let path = format!("benchmarks.slo.{key}");
                    self.findings.error(span, path, message);
                }
                // It is a limit of the whole campaign.
                None => self.error("client", format!("{message} from the campaign's `slo`")),
            }
        }
    }

    /// Settings that exclude each other, by name: every type that has them means the same.
    fn client_settings(&mut self) {
        let setting = |key: &str| format!("client.settings.{key}");
        if self.has(&setting("num_requests")) && self.has(&setting("transactions")) {
            self.error(&setting("transactions"), "another name of `num_requests`, which is given too: remove one");
        }
        if let Some(mix) = self.recipe.client.settings.get("operation_mix").and_then(|mix| mix.as_str())
            && mix.split(':').all(|share| share.bytes().all(|digit| digit == b'0'))
        {
            self.error(&setting("operation_mix"), "both shares are zero: give at least one operation a share");
        }
        let has_mix = self.has(&setting("operation_mix")) || self.recipe.client.settings.contains_key("operation_mix");
        if self.has(&setting("num_keys")) && !has_mix {
            self.error(
                &setting("num_keys"),
                "no effect without `operation_mix` (or `benchmarks.duration`): each request then has a key of its own",
            );
        }
        if self.has(&setting("prompt")) && self.has(&setting("prompt_length")) {
            self.error(&setting("prompt_length"), "no effect beside `prompt`: remove one");
        }
        let model = |settings: &serde_json::Map<String, serde_json::Value>| {
            settings.get("model").and_then(|model| model.as_str()).map(str::to_owned)
        };
        if let (Some(served), Some(asked)) = (model(&self.recipe.service.settings), model(&self.recipe.client.settings))
            && served != asked
        {
            let message =
                format!("the service serves `{served}`, not `{asked}`: leave it out to ask for what is served");
            self.error(&setting("model"), message);
        }
        if self.has("client.command") && self.has("client.type") {
            for entry in self.tree.find("client.settings").map(|entry| entry.node.entries()).unwrap_or_default() {
                let raw = ["num_requests", "transactions", "warmup_delay"].contains(&entry.key.as_str());
                if !raw {
                    let message = "no effect: `client.command` wins over the type's own load";
                    self.findings.note(entry.key_span, setting(&entry.key), message);
                }
            }
        }
        for (key, winner) in [
            ("num_requests", "num_requests"),
            ("transactions", "num_requests"),
            ("num_requests", "duration"),
            ("transactions", "duration"),
        ] {
            if self.has(&setting(key)) && self.has(&format!("benchmarks.{winner}")) {
                self.note(&setting(key), format!("no effect: `benchmarks.{winner}` wins over it"));
                break;
            }
        }
    }

    fn load(&mut self) {
        let load = self.recipe.benchmarks.load.clone();
        let written = self.tree.find("benchmarks.load.model").and_then(|entry| entry.node.text());
        if written.is_some_and(|model| !["closed", "constant", "poisson"].contains(&model)) {
            return;
        }
        if load.model == LoadModel::Closed {
            if self.has("benchmarks.load.rate") {
                self.error(
                    "benchmarks.load.rate",
                    "no effect in a closed loop, where answers set the pace: remove it, or give `model: constant` or \
                     `poisson`",
                );
            }
            return;
        }
        let model = if load.model == LoadModel::Constant { "constant" } else { "poisson" };
        if !self.has("benchmarks.load.rate") {
            let message = format!("`model: {model}` needs `rate`, in requests per second");
            self.error("benchmarks.load.rate", message);
        }
        if load.think_time > 0.0 {
            let message = format!("no effect with `model: {model}`, where clients do not wait for answers: remove it");
            self.error("benchmarks.load.think_time", message);
        }
        let pipeline = self.recipe.client.settings.get("pipeline").and_then(|pipeline| pipeline.as_u64());
        if pipeline.is_some_and(|pipeline| pipeline > 1) {
            let message =
                format!("batches are for the closed loop: with `model: {model}`, each request has a time of its own");
            self.error("client.settings.pipeline", message);
        }
    }

    /// Limits of the jobs against the load they must hold.
    fn jobs(&mut self) {
        let benchmarks = &self.recipe.benchmarks;
        let delay = self.recipe.client.settings.get("warmup_delay").and_then(|delay| delay.as_f64()).unwrap_or(0.0);
        let stagger = benchmarks.client_delay * f64::from(benchmarks.num_clients.saturating_sub(1));
        let needed = delay + stagger.max(benchmarks.warmup) + benchmarks.duration.unwrap_or(0.0);
        for section in ["service", "client"] {
            let resources =
                if section == "service" { &self.recipe.service.resources } else { &self.recipe.client.resources };
            let limit = resources.time_limit.as_deref().and_then(|limit| formats::parse_slurm_time(limit).ok());
            if let Some(limit) = limit
                && needed > limit as f64
            {
                let message = format!(
                    "{} is shorter than the load, which takes {} with its warm-up",
                    format_duration(limit as f64),
                    format_duration(needed)
                );
                self.error(&format!("{section}.time_limit"), message);
            }
            if self.has(&format!("{section}.num_gpus")) && self.has(&format!("{section}.gpus_per_node")) {
                let path = format!("{section}.gpus_per_node");
                self.error(&path, "`num_gpus` counts the same GPUs for the whole job: remove one");
            }
        }
    }

    fn target(&mut self) {
        let Some(target) = self.recipe.configuration.target.clone() else { return };
        if target.contains("${") {
            self.error("configuration.target", "a target's name is stored and shown, so it cannot be a `${NAME}`");
        }
        if target != LOCAL {
            return;
        }
        for section in ["service", "client"] {
            let resources =
                if section == "service" { &self.recipe.service.resources } else { &self.recipe.client.resources };
            if resources.nodes.is_some_and(|nodes| nodes > 1) {
                let message = "the target `local` is one machine: leave `nodes` out, or choose a cluster as target";
                self.error(&format!("{section}.nodes"), message);
            }
        }
        if self.has("service.image") && self.recipe.service.endpoint.is_none() {
            let message =
                "used only where the service runs in a container: a program of this machine has the version it has";
            self.note("service.image", message);
        }
        let jobs = ["service", "client"].iter().flat_map(|section| JOB_KEYS.iter().map(|key| join(section, key)));
        if self.has("service.volumes") {
            let message = "used only where the service runs in a container: a program of this machine sees all folders";
            self.note("service.volumes", message);
        }
        let left_out: Vec<String> = jobs.filter(|path| self.has(path) && path != "service.volumes").collect();
        if let (Some(first), None) = (left_out.first(), &self.recipe.service.endpoint) {
            let message = format!(
                "the target `local` is this machine and leaves out {}",
                quoted_list(left_out.iter().map(String::as_str))
            );
            self.findings.note(self.key_span(first), "configuration.target", message);
        }
    }
}

/// Whether an image reference has neither a digest nor a tag that names a version.
fn has_no_version(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    // A colon before a slash belongs to the registry's port.
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest" || tag.is_empty())
}

/// The findings without errors, for the plan: each once, without its place.
pub fn notes(findings: &Findings) -> Vec<String> {
    let mut notes = Vec::new();
    for finding in findings.iter() {
        let note = format!("{}: {}", finding.path, finding.message);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_version() {
        for (image, expect) in [
            ("redis", true),
            ("redis:latest", true),
            ("redis:", true),
            ("registry:5000/redis", true),
            ("redis:7.4.1", false),
            ("registry:5000/redis:7", false),
            ("redis@sha256:0123", false),
        ] {
            assert_eq!(has_no_version(image), expect, "{image}");
        }
    }
}
