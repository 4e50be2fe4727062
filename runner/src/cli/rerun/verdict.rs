//! The verdict on reruns in the archive: figures against the original's, and what differs beside them.

use std::{collections::BTreeSet, fmt::Write};

use analysis::compare::{
    self, Comparison, MetricComparison, Pair,
    facts::FactDifferences,
    metric::{Metric, Thresholds},
    reproduction::{METHOD, Reproduction, VERSION},
};
use anyhow::{Context, Result, anyhow};
use archive::{BenchmarkId, Run};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    cli::{
        compare::{
            show::{short, signed, value},
            sides::Runs,
        },
        diff, table,
    },
    console,
};

/// The reruns of one execution against the one that they repeat.
#[derive(Debug, Serialize)]
pub struct RerunVerdict<'r> {
    pub schema: u32,
    pub outcome: Reproduction,
    /// In words.
    pub reason: String,
    pub method: &'static str,
    pub version: u32,
    pub campaign: &'r str,
    /// The execution that was repeated, and the benchmarks of it that the verdict rests on.
    pub original_execution: &'r str,
    pub originals: Vec<BenchmarkId>,
    pub execution: &'r str,
    pub reruns: Vec<BenchmarkId>,
    /// Whether every rerun has the recipe digest of its original.
    pub recipe_digest_equal: bool,
    /// Whether the same requests were sent; unknown where time decided how many.
    pub requests_equal: Option<bool>,
    pub differences: FactDifferences,
    /// Benchmarks that say nothing, and why.
    pub remarks: Vec<String>,
    pub thresholds: Thresholds,
    /// One a point of `comparison`.
    pub swept: Vec<&'r Map<String, Value>>,
    /// `None` when no point has a usable benchmark on both sides.
    pub comparison: Option<Comparison>,
}

/// One verdict for every execution of reruns, and every one that they repeat.
pub fn of<'r>(runs: &'r Runs<'_>, reruns: &[BenchmarkId], given: &[(String, f64)]) -> Result<Vec<RerunVerdict<'r>>> {
    let find = |id: BenchmarkId| runs.all().iter().find(|run| run.benchmark_id == id);
    let mut groups: Vec<Vec<(&Run, &Run)>> = Vec::new();
    for id in reruns {
        let rerun = find(*id).with_context(|| format!("{id} cannot be read"))?;
        let original = rerun.rerun_of.with_context(|| format!("{id} is no rerun"))?;
        let original =
            find(original).with_context(|| format!("{id} repeats {original}, which is not in this archive"))?;
        let key = |pair: &(&'r Run, &'r Run)| (&pair.0.campaign.execution, &pair.1.campaign.execution);
        match groups
            .iter_mut()
            .find(|group| key(&group[0]) == (&rerun.campaign.execution, &original.campaign.execution))
        {
            Some(group) => group.push((rerun, original)),
            None => groups.push(vec![(rerun, original)]),
        }
    }
    groups.into_iter().map(|group| of_group(runs, &group, given)).collect()
}

fn of_group<'r>(runs: &'r Runs<'_>, group: &[(&'r Run, &'r Run)], given: &[(String, f64)]) -> Result<RerunVerdict<'r>> {
    let (first, first_original) = group[0];
    let mut thresholds = Thresholds::default();
    let own = first_original.campaign.thresholds.iter().map(|(name, number)| (name.as_str(), *number));
    for (name, number) in own.chain(given.iter().map(|(name, number)| (name.as_str(), *number))) {
        thresholds.set(name, number).map_err(|message| anyhow!(message))?;
    }
    // Each point's reruns, against all repetitions that its original has: they show how much it varies by itself.
    let mut points: Vec<(&Run, Vec<&Run>, Vec<&Run>)> = Vec::new();
    for (rerun, original) in group {
        match points.iter_mut().find(|(known, ..)| same_point(known, original)) {
            Some((_, _, reruns)) => reruns.push(rerun),
            None => {
                let originals = runs.all().iter().filter(|run| same_point(run, original)).collect();
                points.push((original, originals, vec![rerun]));
            }
        }
    }
    let past = runs.past();
    let recipes: BTreeSet<&str> = group.iter().map(|(_, original)| original.recipe_hash.as_str()).collect();
    let (mut pairs, mut swept, mut remarks, mut outcomes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (original, originals, reruns) in &points {
        let (base, unusable) = runs.repetitions(originals, &thresholds)?;
        remarks.extend(unusable);
        let (candidate, unusable) = runs.repetitions(reruns, &thresholds)?;
        // A rerun that came to nothing leaves its point untold.
        outcomes.extend(unusable.iter().map(|_| Reproduction::CannotTell));
        remarks.extend(unusable);
        if base.is_empty() || candidate.is_empty() {
            outcomes.push(Reproduction::CannotTell);
            continue;
        }
        let except = [original.campaign.execution.clone(), first.campaign.execution.clone()];
        let mut history = Vec::new();
        for (_, execution) in past.earlier(original, &except, first) {
            history.push(runs.repetitions(&execution, &thresholds)?.0);
        }
        history.retain(|execution| !execution.is_empty());
        for side in [originals, reruns] {
            remarks.extend(runs.client_bound(side)?);
        }
        pairs.push(Pair { base, candidate, history });
        swept.push(&original.campaign.swept);
    }
    let mut neighbours = Vec::new();
    for point in past.neighbours(first_original, &recipes, first) {
        neighbours.push(runs.repetitions(&point, &thresholds)?.0);
    }
    let comparison = (!pairs.is_empty()).then(|| compare::compare(&pairs, &neighbours, &thresholds));
    outcomes.extend(comparison.iter().map(Reproduction::of));
    let recipe_digest_equal = group.iter().all(|(rerun, original)| rerun.recipe_hash == original.recipe_hash);
    if !recipe_digest_equal {
        outcomes.retain(|outcome| *outcome != Reproduction::Reproduced);
    }
    let outcome = Reproduction::of_all(outcomes);
    let requests = group.iter().map(|(rerun, original)| {
        Some(rerun.client.sequence_digest.as_ref()? == original.client.sequence_digest.as_ref()?)
    });
    let (originals, again): (Vec<&Run>, Vec<&Run>) = group.iter().map(|(rerun, original)| (*original, *rerun)).unzip();
    Ok(RerunVerdict {
        schema: archive::SCHEMA,
        outcome,
        reason: reason(outcome, recipe_digest_equal, comparison.as_ref(), &remarks),
        method: METHOD,
        version: VERSION,
        campaign: &first.campaign.name,
        original_execution: &first_original.campaign.execution,
        originals: points.iter().flat_map(|(_, originals, _)| originals).map(|run| run.benchmark_id).collect(),
        execution: &first.campaign.execution,
        reruns: again.iter().map(|run| run.benchmark_id).collect(),
        recipe_digest_equal,
        requests_equal: requests.collect::<Option<Vec<bool>>>().map(|equal| equal.into_iter().all(|equal| equal)),
        differences: FactDifferences::between(&originals, &again),
        remarks,
        thresholds,
        swept,
        comparison,
    })
}

/// Repetitions of one point of one execution, by one recipe.
fn same_point(a: &Run, b: &Run) -> bool {
    a.campaign.execution == b.campaign.execution
        && a.campaign.point == b.campaign.point
        && a.recipe_hash == b.recipe_hash
}

fn reason(outcome: Reproduction, recipe_equal: bool, comparison: Option<&Comparison>, remarks: &[String]) -> String {
    let rows = || comparison.iter().flat_map(|comparison| &comparison.points).flat_map(|point| &point.metrics);
    let named = |wanted: fn(&MetricComparison) -> bool| {
        let names: BTreeSet<String> = rows().filter(|row| wanted(row)).map(|row| short(row.metric)).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    use compare::Verdict;
    match outcome {
        Reproduction::Reproduced => "every figure is shown to be within its threshold of the original's".to_owned(),
        Reproduction::NotReproduced => {
            let changed = named(|row| matches!(row.verdict, Verdict::Regressed | Verdict::Improved));
            format!("{changed} changed beyond chance, and not shown to be within the threshold")
        }
        Reproduction::CannotTell if !recipe_equal => "the rerun's recipe is another".to_owned(),
        Reproduction::CannotTell => {
            let untold = named(|row| row.verdict == Verdict::CannotTell);
            let needed = rows().filter_map(|row| row.repetitions_needed).max();
            match (untold.is_empty(), needed) {
                (true, _) if remarks.is_empty() => "there is nothing to compare".to_owned(),
                (true, _) => remarks.join("; "),
                (false, Some(needed)) => {
                    format!("{untold}: the noise hides it; {needed} repetitions a side probably tell")
                }
                (false, None) => format!("{untold}: nothing tells how much it varies by itself, or too little"),
            }
        }
    }
}

/// For people.
pub fn text(verdict: &RerunVerdict<'_>) -> String {
    // Writing to a String cannot fail.
    let mut out = String::new();
    let ids = |ids: &[BenchmarkId]| match ids {
        [first, .., last] if ids.len() > 4 => format!("{} benchmarks from {first} to {last}", ids.len()),
        few => few.iter().map(BenchmarkId::to_string).collect::<Vec<_>>().join(", "),
    };
    _ = writeln!(
        out,
        "original       {} ({}, execution {})",
        ids(&verdict.originals),
        verdict.campaign,
        verdict.original_execution
    );
    _ = writeln!(out, "rerun          {} (execution {})", ids(&verdict.reruns), verdict.execution);
    _ = writeln!(out, "recipe digest  {}", if verdict.recipe_digest_equal { "equal" } else { "different" });
    let requests = match verdict.requests_equal {
        Some(true) => "equal",
        Some(false) => "different",
        None => "not known: time decided how many were sent",
    };
    _ = writeln!(out, "requests       {requests}");
    if !verdict.differences.recipe.is_empty() {
        diff::section(&mut out, "recipe", &verdict.differences.recipe);
    }
    diff::section(&mut out, "environment", &verdict.differences.environment);
    for remark in &verdict.remarks {
        _ = writeln!(out, "note: {remark}");
    }
    if let Some(comparison) = &verdict.comparison {
        let mut rows = table::new_table();
        rows.set_header(["point", "figure", "original", "rerun", "change", "noise band", "threshold", "verdict"]);
        for (point, swept) in comparison.points.iter().zip(&verdict.swept) {
            for (index, metric) in point.metrics.iter().enumerate() {
                let mut cells = row(metric);
                cells.insert(0, if index == 0 { console::label(swept) } else { String::new() });
                rows.add_row(cells);
            }
        }
        table::align_right(&mut rows, 2..7);
        _ = writeln!(out, "\n{}", table::fitted(rows));
    }
    _ = writeln!(out, "\n{}: {}", verdict.outcome.to_string().to_uppercase(), verdict.reason);
    _ = writeln!(out, "method: {}, version {}", verdict.method, verdict.version);
    out
}

fn row(metric: &MetricComparison) -> Vec<String> {
    let unit = match metric.metric {
        Metric::SuccessRate => " pt",
        Metric::Failures => "",
        _ => " %",
    };
    let band = match metric.noise_band {
        Some([low, high]) => format!("{} to {}{unit}", signed(low), signed(high)),
        None => "–".to_owned(),
    };
    let verdict = match metric.verdict {
        compare::Verdict::Same => "same",
        compare::Verdict::Regressed => "worse",
        compare::Verdict::Improved => "better",
        compare::Verdict::CannotTell => "cannot tell",
    };
    vec![
        short(metric.metric),
        value(metric.metric, metric.base),
        value(metric.metric, metric.candidate),
        format!("{}{unit}", signed(metric.change)),
        band,
        format!("±{}{unit}", metric.threshold),
        verdict.to_owned(),
    ]
}
