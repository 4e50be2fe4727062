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

/// Settings of services with a second name, by which images of theirs know them: the second name, and the first.
pub const OTHER_NAMES: [(&str, &str); 3] =
    [("POSTGRES_USER", "user"), ("POSTGRES_PASSWORD", "password"), ("POSTGRES_DB", "db_name")];

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
    rules.nodes();
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
        for (other, name) in OTHER_NAMES {
            let (other, name) = (format!("service.settings.{other}"), format!("service.settings.{name}"));
            if self.has(&other) && self.has(&name) {
                self.findings.error(self.key_span(&other), &other, format!("another name of `{name}`: remove one"));
            }
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
        for key in ["num_keys", "key_distribution", "zipf_exponent"] {
            if self.has(&setting(key)) && !has_mix {
                self.error(
                    &setting(key),
                    "no effect without `operation_mix`, `benchmarks.duration` or an open loop: each request then has a key of its own",
                );
            }
        }
        let zipf = self.recipe.client.settings.get("key_distribution").is_some_and(|law| law == "zipf");
        if self.has(&setting("zipf_exponent")) && !zipf && has_mix {
            self.error(&setting("zipf_exponent"), "no effect without `key_distribution: zipf`");
        }
        for (key, other) in [
            ("prompt_length", "prompt"),
            ("prompt_length", "prompt_file"),
            ("prompt_length", "prompt_lengths"),
            ("prompt_lengths", "prompt"),
            ("prompt_lengths", "prompt_file"),
            ("shared_prefix_length", "prompt"),
            ("shared_prefix_length", "prompt_file"),
            ("prompt_file", "prompt"),
            ("max_tokens", "output_lengths"),
        ] {
            if self.has(&setting(key)) && self.has(&setting(other)) {
                self.error(&setting(key), format!("no effect beside `{other}`: remove one"));
            }
        }
        if self.has(&setting("phases")) && has_mix {
            let cause = match self.has(&setting("operation_mix")) {
                true => "beside `operation_mix`, by which each request is drawn: remove one",
                false => {
                    "where time, steps or a schedule end the load, so that each request is drawn: give `operation_mix`, or requests to count in a closed loop"
                }
            };
            self.error(&setting("phases"), format!("no effect {cause}"));
        }
        let number = |key: &str| self.recipe.client.settings.get(key).and_then(|value| value.as_u64());
        if let (Some(least), Some(most)) = (number("min_tokens"), number("max_tokens"))
            && least > most
        {
            let message = format!("more than the {most} of `max_tokens`: no answer could be so long");
            self.error(&setting("min_tokens"), message);
        }
        if self.has(&setting("prompt_file_sha256")) && !self.has(&setting("prompt_file")) {
            self.error(&setting("prompt_file_sha256"), "no effect without `prompt_file`");
        }
        if let (Some(sizes), Some(size)) = (
            self.recipe.service.settings.get("file_sizes").and_then(|sizes| sizes.as_array()),
            self.recipe.client.settings.get("size_bytes"),
        ) && self.recipe.service.endpoint.is_none()
            && !self.has(&setting("path"))
            && !sizes.contains(size)
        {
            let message = format!("the service has no file of {size} bytes: add it to `service.settings.file_sizes`");
            self.error(&setting("size_bytes"), message);
        }
        let model = |settings: &serde_json::Map<String, serde_json::Value>| {
            let name = ["served_model_name", "model"].into_iter().find_map(|name| settings.get(name));
            name.and_then(|model| model.as_str()).map(str::to_owned)
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
        if written.is_some_and(|model| model != load.model.name()) {
            return;
        }
        let model = load.model.name();
        let closed = load.model == LoadModel::Closed;
        let steps = self.has("benchmarks.load.steps");
        let mut wrong = Vec::new();
        for (key, allowed, message) in [
            ("rate", !closed, "no effect in a closed loop, where answers set the pace: remove it, or give `model: constant` or `poisson`".to_owned()),
            ("rate", load.model != LoadModel::Trace, "no effect with `model: trace`, which has its own times: `speed` makes it faster".to_owned()),
            ("rate", !steps, "no effect beside `steps`, which say the rate: remove one".to_owned()),
            ("think_time", closed, format!("no effect with `model: {model}`, where clients do not wait for answers: remove it")),
            ("shape", load.model == LoadModel::Gamma, format!("no effect with `model: {model}`: remove it, or give `model: gamma`")),
            ("file", load.model == LoadModel::Trace, format!("no effect with `model: {model}`: remove it, or give `model: trace`")),
            ("sha256", load.model == LoadModel::Trace, format!("no effect with `model: {model}`: remove it, or give `model: trace`")),
            ("speed", load.model == LoadModel::Trace, format!("no effect with `model: {model}`: remove it, or give `model: trace`")),
            ("steps", load.model != LoadModel::Trace, "no effect with `model: trace`, which has its own rate over time: remove one".to_owned()),
        ] {
            let path = format!("benchmarks.load.{key}");
            // The default of a resolved recipe is no remark of a person.
            let is_default = key == "think_time" && load.think_time == 0.0;
            if !allowed && !is_default && self.has(&path) && !wrong.contains(&key) {
                self.error(&path, message);
                wrong.push(key);
            }
        }
        match load.model {
            LoadModel::Constant | LoadModel::Poisson | LoadModel::Gamma
                if !steps && !self.has("benchmarks.load.rate") =>
            {
                let message = format!("`model: {model}` needs `rate`, in requests per second");
                self.error("benchmarks.load.rate", message);
            }
            LoadModel::Trace if !self.has("benchmarks.load.file") => {
                self.error("benchmarks.load.file", "`model: trace` needs the `file` to replay");
            }
            _ => {}
        }
        if load.model == LoadModel::Gamma && !self.has("benchmarks.load.shape") {
            let message = "`model: gamma` needs `shape`: below 1 in bursts, 1 is `poisson`, above 1 more even";
            self.error("benchmarks.load.shape", message);
        }
        self.steps(&load, closed);
        self.precision();
        let pipeline = self.recipe.client.settings.get("pipeline").and_then(|pipeline| pipeline.as_u64());
        if pipeline.is_some_and(|pipeline| pipeline > 1) && !closed {
            let message =
                format!("batches are for the closed loop: with `model: {model}`, each request has a time of its own");
            self.error("client.settings.pipeline", message);
        }
    }

    /// Steps say the level and the end of the load, and nothing else may.
    fn steps(&mut self, load: &super::Load, closed: bool) {
        if load.steps.is_empty() || load.model == LoadModel::Trace {
            return;
        }
        for (key, message) in [
            ("duration", "no effect beside `load.steps`, which say how long the load lasts: remove one"),
            ("num_requests", "a number of requests would cut `load.steps` anywhere: remove one"),
            ("warmup_requests", "with `load.steps`, the warm-up is a time: give `warmup`"),
            ("client_delay", "no effect beside `load.steps`, which say when clients begin: remove one"),
        ] {
            let path = format!("benchmarks.{key}");
            let given = self
                .tree
                .find(&path)
                .and_then(|entry| entry.node.text())
                .is_some_and(|text| text != "0" && text != "0.0");
            if given {
                self.error(&path, message);
            }
        }
        let (needed, other) = if closed { ("clients", "rate") } else { ("rate", "clients") };
        let model = load.model.name();
        let mut any = false;
        let items: Vec<Span> = self
            .tree
            .find("benchmarks.load.steps")
            .into_iter()
            .flat_map(|entry| entry.node.items())
            .map(|item| item.span)
            .collect();
        // One that is no step at all has a finding of its own, and the rest cannot be told apart.
        if items.len() != load.steps.len() {
            return;
        }
        for ((index, step), span) in load.steps.iter().enumerate().zip(items) {
            let at = format!("benchmarks.load.steps[{index}]");
            let mut error = |message: String| self.findings.error(span, &at, message);
            let (has, wrong) = match closed {
                true => (step.clients.is_some(), step.rate.is_some()),
                false => (step.rate.is_some(), step.clients.is_some()),
            };
            if wrong {
                error(format!("with `model: {model}`, a step has `{needed}`, not `{other}`"));
            } else if !has {
                error(format!("a step needs `{needed}`"));
            }
            if step.duration.is_none() {
                error("a step needs `duration`".into());
            }
            if closed && step.to.is_some_and(|to| to.fract() != 0.0 || to > 1e6) {
                error("`to` is a number of clients, so a whole one up to 1000000".into());
            }
            any |= step.rate.is_some_and(|rate| rate > 0.0) || step.clients.is_some_and(|clients| clients > 0);
            any |= step.to.is_some_and(|to| to > 0.0);
        }
        if !any {
            self.error("benchmarks.load.steps", "every level is zero, so no request would be sent");
        }
        let most = load.most_clients();
        if let Some(written) =
            self.tree.find("benchmarks.num_clients").and_then(|entry| entry.node.text()?.parse::<u32>().ok())
            && let Some(most) = most
            && written != most
        {
            self.error(
                "benchmarks.num_clients",
                format!("no effect beside `load.steps`, whose most clients are {most}: remove one"),
            );
        }
    }

    /// A load that precision ends has another end too, should it never be reached.
    fn precision(&mut self) {
        if self.recipe.benchmarks.precision.is_none() {
            return;
        }
        if !self.recipe.benchmarks.load.steps.is_empty() {
            return self.error(
                "benchmarks.precision",
                "with `load.steps` the level changes, so there is no one percentile to know: remove one",
            );
        }
        if !self.has("benchmarks.duration") && !self.has("benchmarks.num_requests") {
            self.error("benchmarks.precision", "give `duration` or `num_requests` too: the most it may take");
        }
    }

    /// Limits of the jobs against the load they must hold.
    fn jobs(&mut self) {
        let benchmarks = &self.recipe.benchmarks;
        let delay = self.recipe.client.settings.get("warmup_delay").and_then(|delay| delay.as_f64()).unwrap_or(0.0);
        let stagger = benchmarks.client_delay * f64::from(benchmarks.num_clients.saturating_sub(1));
        let stepped: f64 = benchmarks.load.steps.iter().filter_map(|step| step.duration).sum();
        let needed = delay + stagger.max(benchmarks.warmup) + benchmarks.duration.unwrap_or(stepped);
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

    /// What several client nodes can do.
    fn nodes(&mut self) {
        let nodes = self.recipe.client.resources.nodes.unwrap_or(1);
        if nodes < 2 || self.recipe.configuration.target.as_deref() == Some(LOCAL) {
            return;
        }
        if let Some(client) = self.types.client.filter(|client| !client.on_several_nodes()) {
            let message = format!("`{}` drives its load from one node: leave `nodes` out", client.name());
            self.error("client.nodes", message);
        }
        let benchmarks = &self.recipe.benchmarks;
        if benchmarks.load.steps.is_empty() && benchmarks.num_clients < nodes {
            let message = format!(
                "{nodes} nodes are more than the clients ({}): ask for fewer, or for more clients",
                benchmarks.num_clients
            );
            self.error("client.nodes", message);
        }
        if benchmarks.precision.is_some() {
            self.error(
                "benchmarks.precision",
                "the clients of several nodes cannot end together when enough is known: remove it, or `client.nodes`",
            );
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

/// Whether a recipe runs on this machine, as far as it says.
pub fn is_local(recipe: &Recipe) -> bool {
    recipe.configuration.target.as_deref().is_none_or(|target| target == LOCAL)
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
