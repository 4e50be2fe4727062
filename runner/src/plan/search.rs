//! A load that is searched: what is looked for at each combination of the other axes, and the point at any load.

use std::path::Path;

use analysis::{Goal, Search};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Campaign, Machine, Plan, Point, from_text};
use crate::recipe::{
    campaign::{MAX_BENCHMARKS, Searched},
    document,
    finding::Findings,
    formats::format_duration,
};

/// What is searched in place of swept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedSearch {
    /// Dotted path of the load.
    pub path: String,
    /// One for each combination of the other axes, as the points of the plan, which have the smallest load.
    pub searches: Vec<Search>,
    /// A new start of the service for every benchmark.
    pub redeploy: bool,
}

/// The searches of all combinations; reports what cannot be searched.
pub fn planned(findings: &mut Findings, searched: Searched, points: &[Point], redeploy: bool) -> Option<PlannedSearch> {
    let (goal, whole) = (searched.keys.goal(), searched.whole());
    let path = document::join("sweep", &searched.path);
    let Searched { path: load, min, max, keys, span } = searched;
    let most = points.len().saturating_mul((keys.budget.steps * keys.step_repetitions) as usize);
    if most > MAX_BENCHMARKS {
        let message = format!(
            "{} searches of up to {} benchmarks are more than {MAX_BENCHMARKS}: give a smaller budget",
            points.len(),
            most / points.len()
        );
        findings.error(span, path.clone(), message);
        return None;
    }
    if goal == Goal::Slo && points.iter().any(|point| point.slo.is_empty()) {
        findings.error(span, path, "the goal `slo` needs a limit to search for: give `slo: {p99: 50ms}`");
        return None;
    }
    let search = |point: &Point| Search {
        goal,
        slo: if goal == Goal::Slo { point.slo.clone() } else { Default::default() },
        min,
        max,
        whole,
        precision: keys.precision,
        step_repetitions: keys.step_repetitions,
        most_steps: keys.budget.steps,
        most_requests: keys.budget.requests,
        most_time_s: keys.budget.time,
    };
    Some(PlannedSearch { path: load, searches: points.iter().map(search).collect(), redeploy })
}

impl PlannedSearch {
    /// Most benchmarks of all searches together.
    pub fn most_benchmarks(&self) -> usize {
        self.searches.iter().map(|search| (search.most_steps * search.step_repetitions) as usize).sum()
    }

    /// What will be done and its bounds, for people.
    pub fn note(&self) -> String {
        let Some(search) = self.searches.first() else { return String::new() };
        let goal = match search.goal {
            Goal::Knee => "the knee of the throughput".to_owned(),
            Goal::Slo => {
                let limits = search.slo.iter().map(|(metric, limit)| analysis::slo::in_notation(metric, *limit));
                format!("the largest load that keeps {}", limits.collect::<Vec<_>>().join(" and "))
            }
        };
        let mut budget = vec![format!("{} steps", search.most_steps)];
        budget.extend(search.most_requests.map(|requests| format!("{requests} requests")));
        budget.extend(search.most_time_s.map(format_duration));
        let each = match (self.searches.len(), search.step_repetitions) {
            (1, 1) => String::new(),
            (1, times) => format!(", each step {times} times"),
            (several, 1) => format!(", {several} times, once for each other point"),
            (several, times) => format!(", each step {times} times; {several} searches, one for each other point"),
        };
        format!(
            "`{}` is searched from {} to {} for {goal}: by factors of four until it is passed, then where a benchmark \
             narrows the answer most, until that is known to ±{} % or {} are spent{each}",
            self.path,
            search.min,
            search.max,
            (search.precision * 1000.0).round() / 10.0,
            budget.join(" or ")
        )
    }
}

impl Plan {
    /// A point of the plan with another load on the path that is searched. It is made of the resolved recipe alone, so
    /// that it comes out the same whatever happened to the files.
    pub fn at_load(&self, base: &Point, path: &str, load: f64, whole: bool, machine: Machine<'_>) -> Result<Point> {
        let value = if whole { Value::from(load as u64) } else { Value::from(load) };
        let mut swept = base.swept.clone();
        swept.insert(path.to_owned(), value.clone());
        let mut resolved = base.resolved.clone();
        let pointer = format!("/{}", path.replace('.', "/"));
        let Some(place) = resolved.pointer_mut(&pointer) else { bail!("the recipe has no `{path}`") };
        *place = value;
        let point = resolved_point(&self.campaign, &resolved, machine)?.0;
        Ok(Point { swept, recipe_text: base.recipe_text.clone(), slo: base.slo.clone(), ..point })
    }
}

/// The one point of a resolved recipe, with the values of its secrets.
pub fn resolved_point(
    campaign: &Campaign,
    resolved: &Value,
    machine: Machine<'_>,
) -> Result<(Point, std::collections::BTreeMap<String, String>)> {
    let folder = Path::new(&campaign.file).parent().unwrap_or(Path::new(""));
    let outcome = from_text("a step of the search", &serde_json::to_string_pretty(resolved)?, folder, machine);
    match outcome.plan {
        Some(mut plan) if !plan.points.is_empty() => Ok((plan.points.swap_remove(0), plan.secrets)),
        _ => bail!("a step of the search cannot be run: {}", outcome.findings.render_all()),
    }
}
