//! The summary of one execution of a campaign: its points, how many of its benchmarks can be used, and their limits.

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use analysis::{Assessment, LimitVerdict, Standing, assessment::assess, median, slo, standing};
use anyhow::Result;
use archive::{Archive, Run, Summary};
use serde_json::{Value, json};

use crate::{
    cli::{Global, print, table},
    console, units,
};

/// One execution, its benchmarks by id.
pub struct Execution(Vec<(Run, Option<Summary>)>);

/// One combination of the sweep.
struct Point<'a> {
    label: String,
    repetitions: Vec<&'a (Run, Option<Summary>)>,
}

/// The newest execution of the campaign `name`, or the execution of that name.
pub fn find(archive: &Archive, name: &str) -> Result<Option<Execution>> {
    let mut executions: BTreeMap<String, Vec<(Run, Option<Summary>)>> = BTreeMap::new();
    for id in archive.ids()? {
        let benchmark = archive.open(id)?;
        let run = benchmark.run()?;
        if run.campaign.name == name || run.campaign.execution == name {
            let summary = benchmark.summary()?;
            executions.entry(run.campaign.execution.clone()).or_default().push((run, summary));
        }
    }
    let newest =
        executions.into_values().max_by_key(|benchmarks| benchmarks.iter().map(|(run, _)| run.created_at).min());
    Ok(newest.map(Execution))
}

pub fn show(execution: &Execution, slo: Option<&BTreeMap<String, f64>>, global: &Global) -> Result<ExitCode> {
    let points = execution.points();
    let assessments: Vec<Vec<Assessment>> = points
        .iter()
        .map(|point| point.repetitions.iter().map(|(run, summary)| assess(run, summary.as_ref(), slo)).collect())
        .collect();
    let violated = assessments.iter().flatten().any(Assessment::is_bad);
    let code = ExitCode::from(u8::from(slo.is_some() && violated));
    let text = match global.json {
        true => format!("{:#}\n", execution.to_json(&points, &assessments)),
        false => execution.to_text(&points, &assessments),
    };
    print(&text)?;
    Ok(code)
}

impl Execution {
    fn points(&self) -> Vec<Point<'_>> {
        let mut points: BTreeMap<usize, Point<'_>> = BTreeMap::new();
        for benchmark in &self.0 {
            let label = console::label(&benchmark.0.campaign.swept);
            let point =
                points.entry(benchmark.0.campaign.point).or_insert_with(|| Point { label, repetitions: Vec::new() });
            point.repetitions.push(benchmark);
        }
        points.into_values().collect()
    }

    fn to_json(&self, points: &[Point<'_>], assessments: &[Vec<Assessment>]) -> Value {
        let run = &self.0[0].0;
        let point = |(point, assessments): (&Point<'_>, &Vec<Assessment>)| {
            json!({
                "swept": point.repetitions[0].0.campaign.swept,
                "benchmark_ids": point.repetitions.iter().map(|(run, _)| run.benchmark_id).collect::<Vec<_>>(),
                "valid": point.valid().count(),
                "requests_per_second": point.median(Summary::throughput),
                "latency_p50_s": point.median(|summary| summary.latency_s.figures.p50),
                "latency_p99_s": point.median(|summary| summary.latency_s.figures.p99),
                "pooled_latency_s": point.pooled(),
                "success_rate": point.median(|summary| summary.success_rate),
                "verdicts": assessments.iter().map(|assessment| &assessment.verdict).collect::<Vec<_>>(),
                "slo": assessments.iter().map(|assessment| &assessment.slo).collect::<Vec<_>>(),
            })
        };
        json!({
            "campaign": run.campaign.name,
            "title": run.campaign.title,
            "execution": run.campaign.execution,
            "service_type": run.service.kind,
            "client_type": run.client.kind,
            "benchmarks": self.0.len(),
            "points": points.iter().zip(assessments).map(point).collect::<Vec<_>>(),
        })
    }

    fn to_text(&self, points: &[Point<'_>], assessments: &[Vec<Assessment>]) -> String {
        let run = &self.0[0].0;
        let campaign = &run.campaign;
        // Writing to a String cannot fail.
        let mut out = String::new();
        _ = writeln!(out, "{} · {}", campaign.name, campaign.title.as_deref().unwrap_or("no title"));
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        _ = writeln!(out, "service  {} ({}), {version}, on {}", run.service.name, run.service.kind, run.target.name);
        _ = writeln!(out, "client   {} ({})", run.client.name, run.client.kind);
        _ = writeln!(out, "run      {}, execution {}", run.created_at.to_human(), campaign.execution);
        let valid: usize = points.iter().map(|point| point.valid().count()).sum();
        let (count, several) = (self.0.len(), points.len());
        _ = match &campaign.search {
            // A search decides as it goes how many there are.
            Some(_) => writeln!(out, "benchmarks  {count}, searched: {valid} valid; {several} points"),
            None => writeln!(
                out,
                "benchmarks  {count} of {}: {valid} valid; {several} points, {} repetitions each",
                campaign.points.saturating_mul(campaign.repetitions as usize).max(count),
                campaign.repetitions,
            ),
        };

        let mut limits: Vec<&str> = assessments
            .iter()
            .flatten()
            .flat_map(|assessment| assessment.slo.iter().map(|check| check.notation.as_str()))
            .collect();
        limits.sort_unstable();
        limits.dedup();
        let mut rows = table::new_table();
        let names = ["point", "valid", "req/s", "p50", "p99", "success %"].map(str::to_owned);
        rows.set_header(names.into_iter().chain(limits.iter().map(|limit| (*limit).to_owned())));
        for (point, assessments) in points.iter().zip(assessments) {
            let show = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), show);
            let mut row = vec![
                point.label.clone(),
                format!("{}/{}", point.valid().count(), point.repetitions.len()),
                show(point.median(Summary::throughput), units::figure),
                show(point.median(|summary| summary.latency_s.figures.p50), units::seconds),
                show(point.median(|summary| summary.latency_s.figures.p99), units::seconds),
                show(point.median(|summary| summary.success_rate), |rate| format!("{rate:.2}")),
            ];
            row.extend(limits.iter().map(|limit| verdicts(assessments, limit)));
            rows.add_row(row);
        }
        table::align_right(&mut rows, [1, 2, 3, 4, 5]);
        _ = writeln!(out, "\n{rows}\nmedians over the valid repetitions of each point");
        for (run, summary) in &self.0 {
            let standing = standing(run, summary.as_ref());
            if standing != Standing::Valid {
                let reason = standing.reason().unwrap_or_default();
                _ = writeln!(out, "{} {}: {reason}", run.benchmark_id, standing.word());
            }
        }
        _ = writeln!(out, "→ `runner report {}` writes it up", campaign.name);
        out
    }
}

/// What the repetitions of a point say of one limit: `met`, or how many say what.
fn verdicts(assessments: &[Assessment], notation: &str) -> String {
    let checks = assessments.iter().flat_map(|assessment| &assessment.slo).filter(|check| check.notation == notation);
    let mut counts: BTreeMap<slo::Verdict, usize> = BTreeMap::new();
    checks.for_each(|check| *counts.entry(check.verdict).or_default() += 1);
    let word = |verdict: slo::Verdict| match verdict {
        LimitVerdict::Met => "met",
        LimitVerdict::CannotTell => "cannot tell",
        LimitVerdict::Violated => "VIOLATED",
    };
    match counts.len() {
        1 => counts.into_keys().map(word).collect(),
        _ => counts
            .into_iter()
            .map(|(verdict, count)| format!("{count} {}", word(verdict)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl<'a> Point<'a> {
    fn valid(&self) -> impl Iterator<Item = &'a Summary> + '_ {
        let valid = self.repetitions.iter().filter(|(run, summary)| standing(run, summary.as_ref()) == Standing::Valid);
        valid.filter_map(|(_, summary)| summary.as_ref())
    }

    fn median(&self, of: impl Fn(&Summary) -> Option<f64>) -> Option<f64> {
        median(self.valid().filter_map(of).collect())
    }

    /// Percentiles of the requests of all valid repetitions together, as far as they are supported.
    fn pooled(&self) -> Value {
        let histograms: Option<Vec<_>> = self.valid().map(|summary| summary.latency_s.histogram.as_ref()).collect();
        let Some(all) = histograms.and_then(analysis::pooled) else { return Value::Null };
        let shares = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
        let figures = shares.map(|(name, share)| (name.to_owned(), json!(all.percentile(share))));
        let count = ("count".to_owned(), json!(all.count()));
        Value::Object([count].into_iter().chain(figures).collect())
    }
}
