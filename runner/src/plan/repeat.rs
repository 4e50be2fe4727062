//! Archived benchmarks → the plan that runs them again: same recipes, requests, order, places and starts of the service.
//!
//! Reads what the recipes name (traces, prompts, the target), and nothing of the archive.

use std::path::Path;

use anyhow::{Context, Result, bail};
use archive::{BenchmarkId, Run, Timestamp};

use super::{Machine, Plan, PlannedBenchmark, Point, Repeated, Source, from_text};
use crate::recipe::rules::LOCAL;

/// The plan that repeats benchmarks of one execution, oldest first. Refuses what cannot be had any more; with `force`, a
/// recipe that this build resolves to another digest is run all the same.
pub fn repeat(originals: &[Run], machine: Machine<'_>, force: bool) -> Result<Plan> {
    let first = originals.first().context("there is nothing to repeat")?;
    let mut plan: Option<Plan> = None;
    let mut points: Vec<((usize, &str), Point)> = Vec::new();
    let mut benchmarks = Vec::new();
    let mut deployments: Vec<(Option<Timestamp>, Vec<usize>)> = Vec::new();
    for original in originals {
        let key = (original.campaign.point, original.recipe_hash.as_str());
        let place = match points.iter().position(|(known, _)| *known == key) {
            Some(place) => place,
            None => {
                let (of_point, point) = resolved(original, machine, force)?;
                match &mut plan {
                    None => plan = Some(of_point),
                    Some(plan) => {
                        plan.secrets.extend(of_point.secrets);
                        plan.notes.extend(of_point.notes);
                    }
                }
                points.push((key, point));
                points.len() - 1
            }
        };
        benchmarks.push(PlannedBenchmark {
            point: place,
            repetition: original.campaign.repetition,
            seed: original.seeds.benchmark,
            repeated: Some(Repeated {
                id: original.benchmark_id,
                point: original.campaign.point,
                points: original.campaign.points,
                repetitions: original.campaign.repetitions,
            }),
        });
        // What shared a start of the service has the time of it in common.
        let started = started(original);
        match deployments.last_mut() {
            Some((known, members)) if started.is_some() && *known == started => members.push(benchmarks.len() - 1),
            _ => deployments.push((started, vec![benchmarks.len() - 1])),
        }
    }
    let mut plan = plan.context("there is nothing to repeat")?;
    plan.campaign.name.clone_from(&first.campaign.name);
    plan.campaign.title.clone_from(&first.campaign.title);
    plan.campaign.seed = first.seeds.campaign;
    plan.campaign.repetitions = first.campaign.repetitions;
    plan.campaign.thresholds.clone_from(&first.campaign.thresholds);
    plan.campaign.file.clone_from(&first.recipe.file);
    plan.campaign.text.clone_from(&first.recipe.text);
    plan.campaign.overrides.clone_from(&first.recipe.overrides);
    // Where the recipe stood when it was written down, which is what is run.
    plan.campaign.source =
        Source { git_commit: first.recipe.git_commit.clone(), changes_sha256: first.recipe.changes_sha256.clone() };
    plan.points = points.into_iter().map(|(_, point)| point).collect();
    plan.benchmarks = benchmarks;
    plan.deployments = deployments.into_iter().map(|(_, members)| members).collect();
    Ok(plan)
}

/// The one point of an archived benchmark's resolved recipe, in a plan of its own.
fn resolved(original: &Run, machine: Machine<'_>, force: bool) -> Result<(Plan, Point)> {
    let id = original.benchmark_id;
    if original.tool.name != env!("CARGO_PKG_NAME") || !original.recipe.resolved.is_object() {
        bail!("{id} cannot be repeated: it was imported, and its recipe is not one that `runner` runs");
    }
    let name = format!("the recipe of {id}");
    // Where the original's paths counted from.
    let folder = Path::new(&original.recipe.file).parent().unwrap_or(Path::new(""));
    let text = serde_json::to_string_pretty(&original.recipe.resolved)?;
    let outcome = from_text(&name, &text, folder, machine);
    let Some(mut plan) = outcome.plan else {
        bail!("{id} cannot be repeated as it was:\n{}", outcome.findings.render_all().trim_end());
    };
    let mut point = plan.points.swap_remove(0);
    if point.recipe_hash != original.recipe_hash && !force {
        bail!("{}", of_another_build(id, original, &point));
    }
    point.swept.clone_from(&original.campaign.swept);
    point.recipe_text.clone_from(&original.recipe.recipe_text);
    point.slo.clone_from(&original.campaign.slo);
    if let Some(image) = &original.service.image {
        point.pinned_image = by_digest(image.digest.as_deref().unwrap_or_default(), &image.reference);
        if point.pinned_image.is_none() {
            let reference = &image.reference;
            plan.notes.push(format!(
                "{id} does not say which digest its image {reference} had: what the tag means today is run, which may be another"
            ));
        }
    }
    // A program that ran as it was installed is not replaced by that of an image.
    if original.target.kind == LOCAL && original.service.started_as == "child" {
        point.recipe.service.image = None;
    }
    Ok((plan, point))
}

fn of_another_build(id: BenchmarkId, original: &Run, point: &Point) -> String {
    let leaves = |value: &serde_json::Value| {
        let mut leaves = Vec::new();
        paths(value, String::new(), &mut leaves);
        leaves
    };
    let (before, now) = (leaves(&original.recipe.resolved), leaves(&point.resolved));
    let changed: Vec<&str> = now
        .iter()
        .filter(|leaf| !before.contains(leaf))
        .chain(before.iter().filter(|leaf| !now.contains(leaf)))
        .map(|(path, _)| path.as_str())
        .take(5)
        .collect();
    format!(
        "{id} would be another benchmark: this build resolves its recipe to the digest {}…, the original has {}… ({}); \
         `--exact` runs it with the build that made it, `--force` with this one",
        &point.recipe_hash[..12.min(point.recipe_hash.len())],
        original.recipe_hash.chars().take(12).collect::<String>(),
        if changed.is_empty() { "the values are equal".to_owned() } else { changed.join(", ") }
    )
}

fn paths(value: &serde_json::Value, path: String, leaves: &mut Vec<(String, String)>) {
    match value.as_object() {
        Some(fields) => fields.iter().for_each(|(name, value)| {
            paths(value, if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, leaves);
        }),
        None => leaves.push((path, value.to_string())),
    }
}

/// When the service of a benchmark was started.
fn started(run: &Run) -> Option<Timestamp> {
    run.events.iter().find(|event| event.event == "started" && event.benchmark_id.is_none()).map(|event| event.time)
}

/// `name@sha256:…` of an image, whose tag may be another image tomorrow. One that was named so stays so: a rerun is repeated by
/// the digest that it was started by.
fn by_digest(digest: &str, reference: &str) -> Option<String> {
    if reference.contains('@') {
        return Some(reference.to_owned());
    }
    if !digest.starts_with("sha256:") {
        return None;
    }
    // A colon before a slash is a registry's port.
    let tag = reference.rfind(':').filter(|colon| !reference[*colon..].contains('/'));
    Some(format!("{}@{digest}", &reference[..tag.unwrap_or(reference.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_their_digests() {
        for (reference, expected) in [
            ("redis:7.4.1", Some("redis@sha256:ab")),
            ("localhost:5000/redis", Some("localhost:5000/redis@sha256:ab")),
            ("localhost:5000/redis:7", Some("localhost:5000/redis@sha256:ab")),
            ("redis@sha256:cd", Some("redis@sha256:cd")),
        ] {
            assert_eq!(by_digest("sha256:ab", reference).as_deref(), expected, "{reference}");
        }
        assert_eq!(by_digest("", "redis"), None);
    }
}
