//! The report of a sweep: an execution of a campaign, or benchmarks that someone named.

use std::collections::BTreeMap;

use analysis::{Answer, Compliance, slo};
use serde_json::{Value, json};

use super::{
    Report, Slo,
    markdown::{Document, escaped},
    sweep_figures,
};
use crate::{
    load::Loaded,
    model::{
        Execution,
        metric::{Metric, Percentile, Timed, limit_in_words},
        sweep::{Point, Series},
    },
    pages::{self, plural},
    units,
};

/// What is reported on.
pub struct Subject<'a> {
    pub folder: String,
    pub title: String,
    pub execution: &'a Execution<'a>,
    /// In place of the limits of the campaign.
    pub slo: Option<&'a Slo>,
}

impl Subject<'_> {
    /// The limits that hold for the sweep: those asked for, those of the campaign, or the default.
    fn limits(&self) -> (analysis::assessment::SloSource, Slo) {
        analysis::assessment::limits(&self.execution.first().run, self.slo)
    }
}

pub fn report(subject: &Subject<'_>) -> Report {
    let plots = sweep_figures::all(subject.execution, &subject.title, &subject.limits().1);
    let verdicts = verdicts(subject);
    Report {
        folder: subject.folder.clone(),
        markdown: markdown(subject, &verdicts, &plots),
        json: json(subject, &verdicts, &plots),
        violated: verdicts.iter().any(|verdict| verdict.holds_nowhere),
        plots,
    }
}

/// How far one limit holds along one series.
pub struct HeldTo {
    pub series: String,
    pub metric: String,
    pub limit: f64,
    pub words: String,
    /// The largest load that keeps it, interpolated.
    pub load: Option<f64>,
    pub holds_nowhere: bool,
}

fn verdicts(subject: &Subject<'_>) -> Vec<HeldTo> {
    let sweep = &subject.execution.sweep;
    let Some(axis) = sweep.axis.as_ref().filter(|axis| axis.is_load) else { return Vec::new() };
    let (_, limits) = subject.limits();
    let of = |series: &Series<'_>| -> Vec<HeldTo> {
        let outcomes = series.limits_of(&limits);
        outcomes
            .into_iter()
            .map(|outcome| {
                let (words, load, holds_nowhere) = match outcome.compliance {
                    Compliance::Never { first } => {
                        (format!("holds at no load, not even {} {}", units::load(first), axis.name), None, true)
                    }
                    Compliance::UpTo { load, broken_at } => (
                        format!("holds to {} {}, broken at {}", units::number(load), axis.name, units::load(broken_at)),
                        Some(load),
                        false,
                    ),
                    Compliance::Throughout { last } => (
                        format!("holds to the end of the sweep, {} {}", units::load(last), axis.name),
                        Some(last),
                        false,
                    ),
                };
                HeldTo {
                    series: series.label.clone(),
                    metric: outcome.metric,
                    limit: outcome.limit,
                    words,
                    load,
                    holds_nowhere,
                }
            })
            .collect()
    };
    sweep.series.iter().flat_map(of).collect()
}

/// What to do with the answer: the largest load under every limit, else the knee.
fn recommendation(subject: &Subject<'_>, series: &Series<'_>, verdicts: &[HeldTo]) -> String {
    let Some(axis) = subject.execution.sweep.axis.as_ref().filter(|axis| axis.is_load) else {
        return "No load was swept, so nothing can be said of how far the service scales.".to_owned();
    };
    let own: Vec<&HeldTo> = verdicts.iter().filter(|verdict| verdict.series == series.label).collect();
    if own.iter().any(|verdict| verdict.holds_nowhere) {
        return "A limit holds at no load that was swept: sweep lower, or give the service more resources.".to_owned();
    }
    let least =
        own.iter().filter_map(|verdict| verdict.load.map(|load| (load, verdict))).min_by(|a, b| a.0.total_cmp(&b.0));
    let knee = match series.knee().answer {
        Answer::At { load, low, high, .. } => Some((load, low, high)),
        _ => None,
    };
    match (least, knee) {
        (Some((load, verdict)), _) => format!(
            "Run at most {} {}: that far {}.",
            units::number(load),
            axis.name,
            limit_in_words(&verdict.metric, verdict.limit)
        ),
        (None, Some((load, ..))) => format!(
            "Run at about {} {}: beyond the knee more load buys waiting in place of throughput.",
            units::number(load),
            axis.name
        ),
        (None, None) => format!(
            "The data show no point beyond which load stops paying: extend the sweep ({}).",
            series.knee().reason
        ),
    }
}

fn time(percentile: Percentile) -> Metric {
    Metric::Time(Timed::Latency, percentile)
}

fn json(subject: &Subject<'_>, verdicts: &[HeldTo], plots: &[super::Plot]) -> Value {
    let execution = subject.execution;
    let sweep = &execution.sweep;
    let is_load = sweep.is_load();
    let series: Vec<Value> = sweep
        .series
        .iter()
        .map(|series| {
            let knee = series.knee();
            let answer = match knee.answer {
                Answer::At { load, low, high, .. } => json!({ "at": load, "low": low, "high": high }),
                Answer::NotInRange => json!("not_in_range"),
                Answer::CannotTell => json!("cannot_tell"),
            };
            let knee =
                is_load.then(|| json!({ "answer": answer, "reason": knee.reason, "method": analysis::KNEE_METHOD }));
            let peak = series.peak().map(|peak| json!({ "load": peak.load, "requests_per_second": peak.value }));
            let own: Vec<&HeldTo> = verdicts.iter().filter(|verdict| verdict.series == series.label).collect();
            json!({
                "series": series.label,
                "throughput_knee": knee,
                "peak": peak,
                "limits": own.iter().map(|verdict| json!({
                    "metric": verdict.metric, "limit": verdict.limit,
                    "notation": slo::in_notation(&verdict.metric, verdict.limit),
                    "holds_to": verdict.load, "words": verdict.words,
                })).collect::<Vec<_>>(),
                "recommendation": recommendation(subject, series, verdicts),
                "points": series.points.iter().map(point_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "schema": 1,
        "kind": "sweep",
        "campaign": execution.first().run.campaign.name,
        "execution": execution.key(),
        "benchmark_ids": execution.benchmarks.iter().map(|benchmark| benchmark.id).collect::<Vec<_>>(),
        "tool": super::tool(),
        "axis": sweep.axis.as_ref().map(|axis| json!({ "path": axis.path, "name": axis.name, "is_load": axis.is_load })),
        "sweep_results": series,
        "plots": super::listed(plots),
    })
}

fn point_json(point: &Point<'_>) -> Value {
    let figure = |metric: Metric| {
        json!({
            "median": point.median(metric),
            "low": point.spread(metric).map(|(low, _)| low),
            "high": point.spread(metric).map(|(_, high)| high),
        })
    };
    json!({
        "x": point.x,
        "label": point.label,
        "benchmark_ids": point.repetitions.iter().map(|benchmark| benchmark.id).collect::<Vec<_>>(),
        "valid": point.valid().count(),
        "requests_per_second": figure(Metric::Throughput),
        "latency_p50_s": figure(time(Percentile::P50)),
        "latency_p95_s": figure(time(Percentile::P95)),
        "latency_p99_s": figure(time(Percentile::P99)),
        "success_rate": analysis::median(point.valid().filter_map(|benchmark| benchmark.summary.as_ref()?.success_rate).collect()),
    })
}

fn markdown(subject: &Subject<'_>, verdicts: &[HeldTo], plots: &[super::Plot]) -> String {
    let execution = subject.execution;
    let sweep = &execution.sweep;
    let mut out = Document::default();
    out.heading(1, &escaped(&subject.title));
    out.heading(2, "Summary");
    out.table(&[("", false), ("", false)], &one_page(subject, verdicts));

    let left_out: Vec<String> = execution
        .benchmarks
        .iter()
        .filter(|benchmark| !benchmark.is_valid())
        .map(|benchmark| {
            let standing = benchmark.standing();
            let reason = standing.reason().unwrap_or_default();
            format!("{} ({}): {}", benchmark.id, standing.word(), escaped(reason))
        })
        .collect();
    if !left_out.is_empty() {
        out.heading(2, "Left out of every line and figure");
        out.list(left_out);
    }
    for series in &sweep.series {
        match series.label.is_empty() {
            true => out.heading(2, "Points"),
            false => out.heading(2, &format!("Points: {}", escaped(&series.label))),
        }
        let axis = sweep.axis.as_ref().map_or("point", |axis| axis.name.as_str());
        let axis = escaped(axis);
        let columns = [axis.as_str(), "benchmarks", "throughput /s", "p50", "p95", "p99", "success %"];
        let rows: Vec<Vec<String>> = series.points.iter().map(point_row).collect();
        out.table(&columns.map(|name| (name, name != "benchmarks")), &rows);
    }
    out.block("Medians over the valid repetitions of each point; in brackets their range.");
    super::plots_section(&mut out, plots);

    out.heading(2, "Method");
    let rows: Vec<Vec<String>> =
        pages::campaign::facts(execution).into_iter().map(|(name, value)| vec![name, escaped(&value)]).collect();
    out.table(&[("", false), ("", false)], &rows);
    if sweep.is_load() {
        out.block(&format!("Knee: {}, with a 95 % bootstrap interval.", escaped(analysis::KNEE_METHOD)));
    }
    out.block(&format!("    runner rerun {}", execution.first().id));
    out.block(&format!(
        "Definitions: docs/metrics.md; limits: docs/slo.md. Made by {}; the same archive gives the same report.",
        super::tool()
    ));
    out.finish()
}

fn point_row(point: &Point<'_>) -> Vec<String> {
    let with_range = |metric: Metric, show: fn(f64) -> String| match (point.median(metric), point.spread(metric)) {
        (Some(median), Some((low, high))) => format!("{} \\[{}, {}\\]", show(median), show(low), show(high)),
        (Some(median), None) => show(median),
        (None, _) => "–".to_owned(),
    };
    let success = analysis::median(point.valid().filter_map(|b| b.summary.as_ref()?.success_rate).collect());
    let ids: Vec<String> = point.repetitions.iter().map(|benchmark| benchmark.id.to_string()).collect();
    vec![
        escaped(&point.label),
        ids.join(", "),
        with_range(Metric::Throughput, units::number),
        with_range(time(Percentile::P50), units::duration),
        with_range(time(Percentile::P95), units::duration),
        with_range(time(Percentile::P99), units::duration),
        success.map_or_else(|| "–".to_owned(), units::percent),
    ]
}

fn one_page(subject: &Subject<'_>, verdicts: &[HeldTo]) -> Vec<Vec<String>> {
    let execution = subject.execution;
    let sweep = &execution.sweep;
    let facts: BTreeMap<String, String> = pages::campaign::facts(execution).into_iter().collect();
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    let row = |name: &str, text: &str| vec![format!("**{name}**"), escaped(text)];
    let valid = execution.count_of("valid");
    let planned = execution.planned();
    let warned =
        execution.benchmarks.iter().filter(|benchmark| benchmark.is_valid()).filter(|benchmark| has_warning(benchmark));
    let mut trust = format!("{valid} of {} are valid", plural(planned, "benchmark"));
    let reserved = warned.count();
    if reserved > 0 {
        trust += &format!(", {reserved} of them with a reservation");
    }
    if let Some(fewest) = sweep.series.iter().flat_map(|series| &series.points).map(|point| point.valid().count()).min()
    {
        trust += &match fewest {
            0 => "; some point has no valid repetition".to_owned(),
            1 => "; one repetition a point, so that nothing is known of the spread between runs".to_owned(),
            more => format!("; at least {more} repetitions a point"),
        };
    }
    let mut rows = vec![
        row(
            "What was measured",
            &format!("{} under {} on {}; {}", fact("Service"), fact("Load"), fact("Target"), fact("Sweep")),
        ),
        row("Can you trust it?", &trust),
    ];
    let many = sweep.series.len() > 1;
    let named = |series: &Series<'_>, text: String| if many { format!("{}: {text}", series.label) } else { text };
    for (i, sentence) in pages::campaign::says(execution).iter().enumerate() {
        rows.push(row(if i == 0 { "The answer" } else { "" }, sentence));
    }
    for (i, verdict) in verdicts.iter().enumerate() {
        let name = if many { format!("{}: ", verdict.series) } else { String::new() };
        let text = format!("{name}{} {}", limit_in_words(&verdict.metric, verdict.limit), verdict.words);
        rows.push(row(if i == 0 { "Verdict" } else { "" }, &text));
    }
    if verdicts.is_empty() {
        rows.push(row("Verdict", "no limit applies to this sweep"));
    }
    for (i, series) in sweep.series.iter().enumerate() {
        rows.push(row(
            if i == 0 { "Recommendation" } else { "" },
            &named(series, recommendation(subject, series, verdicts)),
        ));
    }
    for row in &mut rows {
        if row[0] == "****" {
            row[0].clear();
        }
    }
    rows
}

fn has_warning(benchmark: &Loaded) -> bool {
    let findings = benchmark.summary.iter().flat_map(|summary| &summary.findings);
    findings.into_iter().any(|finding| finding.severity == archive::Severity::Warning)
}
