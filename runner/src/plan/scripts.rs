//! The commands a plan comes to on its target, for reading: nothing is run from here.
//!
//! Ports and folders that are chosen at the start stand as `PORT` and `RUN`.

use std::path::Path;

use anyhow::Result;

use super::Plan;
use crate::{
    node::OWN_PROGRAM,
    recipe::{Recipe, target_file::SlurmTarget},
    services::{LaunchRequest, RAW_SERVICE, service_type},
    target::slurm,
};

/// The commands of all deployments that start the same service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Whose commands these are: indices of points.
    pub points: Vec<usize>,
    /// Shell lines; those that begin with `#` say what cannot be shown.
    pub commands: Vec<String>,
}

/// One script for every different service of the plan.
pub fn scripts(plan: &Plan) -> Vec<Script> {
    let mut scripts: Vec<(&serde_json::Value, Script)> = Vec::new();
    for (index, point) in plan.points.iter().enumerate() {
        let service = &point.resolved["service"];
        match scripts.iter_mut().find(|(other, _)| *other == service) {
            Some((_, script)) => script.points.push(index),
            None => scripts.push((service, Script { points: vec![index], commands: commands(plan, index) })),
        }
    }
    scripts.into_iter().map(|(_, script)| script).collect()
}

fn commands(plan: &Plan, point: usize) -> Vec<String> {
    let recipe = &plan.points[point].recipe;
    if let Some(site) = &plan.site {
        return job_scripts(recipe, site);
    }
    let mut commands = vec!["runner agent serve RUN".to_owned()];
    match &recipe.service.endpoint {
        Some(endpoint) => commands.push(format!("#   {endpoint} runs already")),
        None => commands.push(service_command(recipe)),
    }
    commands.push("runner agent load RUN".to_owned());
    if let Some(command) = &recipe.client.command {
        commands.extend(command.trim_end().lines().map(|line| format!("#   each request: {line}")));
    }
    commands
}

/// Errs with what of the plan cannot be asked of its cluster; nothing of it would start.
pub fn check(plan: &Plan) -> Result<()> {
    let Some(site) = &plan.site else { return Ok(()) };
    plan.points.iter().try_for_each(|point| job_texts(&point.recipe, site).map(drop))
}

fn job_texts(recipe: &Recipe, site: &SlurmTarget) -> Result<Vec<String>> {
    let scripts = slurm::scripts("EXECUTION", &slurm::resources(recipe), site, "/RUN", "/runner")?;
    Ok(scripts.into_iter().map(|(_, text)| text).collect())
}

/// The scripts of both jobs, and what the service's starts.
fn job_scripts(recipe: &Recipe, site: &SlurmTarget) -> Vec<String> {
    let texts = match job_texts(recipe, site) {
        Ok(texts) => texts,
        Err(error) => return vec![format!("# {error:#}")],
    };
    let mut lines: Vec<String> =
        texts.iter().flat_map(|text| text.lines().map(str::to_owned).chain([String::new()])).collect();
    lines.push(match &recipe.service.endpoint {
        Some(endpoint) => format!("#   {endpoint} runs already"),
        None => service_command(recipe),
    });
    lines
}

/// The command line that `agent serve` starts, as a comment below it.
fn service_command(recipe: &Recipe) -> String {
    let service = &recipe.service;
    let kind = service.kind.as_deref().and_then(service_type).unwrap_or(RAW_SERVICE);
    let settings = serde_json::Value::Object(service.settings.clone());
    let port = service.port.or(kind.default_port()).unwrap_or(0);
    let launch = kind.launch(&LaunchRequest {
        settings: &settings,
        host: "127.0.0.1",
        port,
        scratch: Path::new("RUN/scratch"),
        command: service.command.as_deref(),
    });
    match launch {
        Ok(launch) => {
            let is_free = service.port.is_none();
            let program = if launch.program == OWN_PROGRAM { "runner".to_owned() } else { launch.program };
            let words = std::iter::once(&program)
                .chain(&launch.args)
                .map(|word| if is_free && *word == port.to_string() { "PORT".to_owned() } else { quoted(word) });
            format!("#   starts: {}", words.collect::<Vec<_>>().join(" "))
        }
        Err(error) => format!("#   starts the service `{}`, whose command is made then: {error:#}", kind.name()),
    }
}

/// A word as a POSIX shell reads it; a line break is shown as `\n`, so that it stays on its line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let word = word.replace('\'', "'\\''").replace('\n', "\\n");
    format!("'{word}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expect) in
            [("--port", "--port"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$HOME;", "'$HOME;'")]
        {
            assert_eq!(quoted(word), expect);
        }
    }
}
