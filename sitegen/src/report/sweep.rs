//! The report of a sweep: an execution of a campaign, or benchmarks that someone named.

use std::collections::BTreeMap;

use analysis::{
    Assessment, assess,
    assessment::{SloSource, Word},
    bottleneck::Attribution,
    saturation::{LimitVerdict, Saturation},
};
use serde_json::{Value, json};

use super::{
    Report, Slo, evidence,
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
    fn limits(&self) -> (SloSource, Slo) {
        analysis::assessment::limits(&self.execution.first().run, self.slo)
    }
}

pub fn report(subject: &Subject<'_>) -> Report {
    let plots = sweep_figures::all(subject.execution, &subject.title, &subject.limits().1);
    let answers = answers(subject);
    let checks = checks(subject);
    Report {
        folder: subject.folder.clone(),
        markdown: markdown(subject, &answers, &checks, &plots),
        json: json(subject, &answers, &checks, &plots),
        violated: holds_nowhere(subject, &answers) || checks.iter().any(|(_, assessment)| assessment.is_bad()),
        plots,
    }
}

/// A benchmark held to the limits by itself.
type Check<'a> = (&'a Loaded, Assessment);

/// Where no load was swept, a limit holds for a benchmark or does not. Empty where one was.
fn checks<'a>(subject: &Subject<'a>) -> Vec<Check<'a>> {
    if subject.execution.sweep.is_load() {
        return Vec::new();
    }
    let assessed =
        |benchmark: &&'a Loaded| (*benchmark, assess(&benchmark.run, benchmark.summary.as_ref(), subject.slo));
    subject.execution.benchmarks.iter().map(assessed).collect()
}

/// What one series says under the limits of the report.
struct Answer<'a> {
    series: &'a Series<'a>,
    saturation: Saturation,
}

/// Empty where no load was swept.
fn answers<'a>(subject: &Subject<'a>) -> Vec<Answer<'a>> {
    // As the site and `runner sweep-report`: limits asked for, else the campaign's.
    let limits = subject.slo.cloned().unwrap_or_default();
    let sweep = &subject.execution.sweep;
    if !sweep.is_load() {
        return Vec::new();
    }
    sweep.series.iter().map(|series| Answer { series, saturation: series.saturation_under(&limits) }).collect()
}

/// Whether a limit holds at no load of some series, or nothing was measured that it could hold for.
fn holds_nowhere(subject: &Subject<'_>, answers: &[Answer<'_>]) -> bool {
    let asked = subject.slo.map_or(0, Slo::len);
    answers.iter().any(|answer| {
        let limits = &answer.saturation.slo_limits;
        limits.len() < asked || limits.iter().any(|limit| limit.verdict == LimitVerdict::Never)
    })
}

fn time(percentile: Percentile) -> Metric {
    Metric::Time(Timed::Latency, percentile)
}

fn json(subject: &Subject<'_>, answers: &[Answer<'_>], checks: &[Check<'_>], plots: &[super::Plot]) -> Value {
    let execution = subject.execution;
    let sweep = &execution.sweep;
    let of = |series: &Series<'_>| {
        let saturation = answers.iter().find(|answer| answer.series.label == series.label).map(|one| &one.saturation);
        json!({
            "series": series.label,
            "saturation": saturation,
            "bottleneck": limited(subject.execution, series),
            "points": series.points.iter().map(point_json).collect::<Vec<_>>(),
        })
    };
    let series: Vec<Value> = sweep.series.iter().map(of).collect();
    let check = |(benchmark, assessment): &Check<'_>| json!({ "benchmark_id": benchmark.id, "verdict": assessment.verdict, "slo_source": assessment.slo_source, "slo": assessment.slo });
    let logs = |benchmark: &&Loaded| json!({ "benchmark_id": benchmark.id, "logs": benchmark.log_report });
    json!({
        "schema": 1,
        "kind": "sweep",
        "campaign": execution.first().run.campaign.name,
        "execution": execution.key(),
        "benchmark_ids": execution.benchmarks.iter().map(|benchmark| benchmark.id).collect::<Vec<_>>(),
        "tool": super::tool(),
        "axis": sweep.axis.as_ref().map(|axis| json!({ "path": axis.path, "name": axis.name, "is_load": axis.is_load })),
        "sweep_results": series,
        "assessments": checks.iter().map(check).collect::<Vec<_>>(),
        "logs": execution.benchmarks.iter().map(logs).collect::<Vec<_>>(),
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

/// What limits a series of a sweep over the load.
fn limited<'s>(execution: &Execution<'_>, series: &'s Series<'_>) -> Option<&'s Attribution> {
    (execution.sweep.is_load() && series.points.len() > 1).then(|| series.bottleneck())
}

/// A row for each limit of each benchmark.
fn check_rows(checks: &[Check<'_>]) -> Vec<Vec<String>> {
    let rows = checks.iter().flat_map(|(benchmark, assessment)| {
        let point = pages::benchmarks::point(benchmark);
        assessment.slo.iter().map(move |check| {
            let cells = super::benchmark::limit_row(check).map(|cell| escaped(&cell));
            [vec![benchmark.id.to_string(), escaped(&point)], cells.into()].concat()
        })
    });
    rows.collect()
}

fn markdown(subject: &Subject<'_>, answers: &[Answer<'_>], checks: &[Check<'_>], plots: &[super::Plot]) -> String {
    let execution = subject.execution;
    let sweep = &execution.sweep;
    let mut out = Document::default();
    out.heading(1, &escaped(&subject.title));
    out.heading(2, "Summary");
    out.table(&[("", false), ("", false)], &one_page(subject, answers, checks));

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
        let columns = [axis.as_str(), "throughput /s", "p50", "p95", "p99", "success %", "benchmarks"];
        let rows: Vec<Vec<String>> = series.points.iter().map(point_row).collect();
        out.table(&columns.map(|name| (name, name != "benchmarks")), &rows);
    }
    out.block("Medians over the valid repetitions of each point; in brackets their range.");
    for answer in answers {
        scaling(&mut out, answer, sweep.axis.as_ref().map_or("load", |axis| axis.name.as_str()));
    }
    let rows = check_rows(checks);
    if !rows.is_empty() {
        out.heading(2, "Limits");
        out.block("No load was swept: every benchmark is held to the limits by itself.");
        let columns = ["benchmark", "point", "limit", "measured", "95 % interval", "verdict", "why"];
        out.table(&columns.map(|name| (name, false)), &rows);
    }
    evidence::limits(&mut out, &pages::campaign::limits(execution, ""));
    evidence::logs(&mut out, pages::bottleneck::logs_of_all(&execution.benchmarks).as_ref());
    super::plots_section(&mut out, plots);

    out.heading(2, "Method");
    let rows: Vec<Vec<String>> =
        pages::campaign::facts(execution).into_iter().map(|(name, value)| vec![name, escaped(&value)]).collect();
    out.table(&[("", false), ("", false)], &rows);
    if sweep.is_load() {
        out.block(&format!("Knee: {}, with a 95 % interval.", escaped(analysis::KNEE_METHOD)));
    }
    out.block(&format!("    runner rerun {}", execution.key()));
    out.block(&format!(
        "Definitions: docs/metrics.md; limits: docs/slo.md. Made by {}; the same archive gives the same report.",
        super::tool()
    ));
    out.finish()
}

/// Peak, law of scalability and what each unit of load brings.
fn scaling(out: &mut Document, answer: &Answer<'_>, axis: &str) {
    let Answer { series, saturation } = answer;
    match series.label.is_empty() {
        true => out.heading(2, "Scaling"),
        false => out.heading(2, &format!("Scaling: {}", escaped(&series.label))),
    }
    let range = |[low, high]: [f64; 2]| format!(" \\[{}–{}\\]", units::number(low), units::number(high));
    let mut lines = Vec::new();
    if let Some(peak) = &saturation.peak {
        let interval = peak.interval.map(range).unwrap_or_default();
        let (throughput, load) = (units::number(peak.throughput), units::number(peak.load));
        let alike = range(peak.alike);
        lines.push(format!(
            "Peak: {throughput}{interval} requests/s at {load}; alike:{alike}. {}.",
            escaped(&peak.reason)
        ));
    }
    if let Some(usl) = &saturation.usl {
        let with_error = |value: f64, error: Option<f64>| match error {
            Some(error) => format!("{value:.3e} ± {error:.1e}"),
            None => format!("{value:.3e}"),
        };
        lines.push(match usl.supported {
            true => format!(
                "Universal Scalability Law: σ = {}, κ = {} (± standard error). {}.",
                with_error(usl.sigma, usl.sigma_se),
                with_error(usl.kappa, usl.kappa_se),
                escaped(&usl.reason)
            ),
            false => format!("Universal Scalability Law: not supported by the data. {}.", escaped(&usl.reason)),
        });
    }
    out.list(lines);
    let rows: Vec<Vec<String>> = saturation
        .efficiency
        .iter()
        .map(|one| [one.load, one.per_load, one.relative * 100.0].map(units::number).into())
        .collect();
    let columns = [escaped(axis), "requests/s per unit of load".to_owned(), "% of the smallest load's".to_owned()];
    out.table(&[0, 1, 2].map(|i| (columns[i].as_str(), true)), &rows);
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
        with_range(Metric::Throughput, units::number),
        with_range(time(Percentile::P50), units::duration),
        with_range(time(Percentile::P95), units::duration),
        with_range(time(Percentile::P99), units::duration),
        success.map_or_else(|| "–".to_owned(), units::percent),
        ids.join(", "),
    ]
}

fn one_page(subject: &Subject<'_>, answers: &[Answer<'_>], checks: &[Check<'_>]) -> Vec<Vec<String>> {
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
    let limits: Vec<String> = answers
        .iter()
        .flat_map(|answer| answer.saturation.slo_limits.iter().map(move |limit| (answer.series, limit)))
        .map(|(series, limit)| {
            named(series, format!("{}: {}", limit_in_words(&limit.metric, limit.limit), limit.reason))
        })
        .collect();
    for (i, text) in limits.iter().enumerate() {
        rows.push(row(if i == 0 { "Verdict" } else { "" }, text));
    }
    if limits.is_empty() {
        rows.push(row("Verdict", &verdict_of_each(checks)));
    }
    for (i, limit) in pages::campaign::limits(execution, "").iter().enumerate() {
        let of = if many { format!("{}: ", limit.of) } else { String::new() };
        let text = format!("{of}{} (confidence {}): {}", limit.class, limit.confidence, limit.summary);
        rows.push(row(if i == 0 { "What limits it" } else { "" }, &text));
    }
    for (i, answer) in answers.iter().enumerate() {
        let advice = &answer.saturation.recommendation;
        let unit = sweep.axis.as_ref().map_or("", |axis| axis.name.as_str());
        let load = advice.load.map(|load| format!("{} {unit}: ", units::number(load))).unwrap_or_default();
        let text = named(answer.series, format!("{load}{}", advice.reason));
        rows.push(row(if i == 0 { "Recommendation" } else { "" }, &text));
    }
    if answers.is_empty() {
        rows.push(row("Recommendation", "no load was swept, so nothing can be said of how far the service scales"));
    }
    for row in &mut rows {
        if row[0] == "****" {
            row[0].clear();
        }
    }
    rows
}

/// How many benchmarks came to which verdict, the worst first.
fn verdict_of_each(checks: &[Check<'_>]) -> String {
    let held: Vec<&Assessment> = checks
        .iter()
        .map(|(_, assessment)| assessment)
        .filter(|assessment| assessment.slo_source != SloSource::None)
        .collect();
    if held.is_empty() {
        return "no limit applies to this sweep".to_owned();
    }
    let words = [Word::Fail, Word::Invalid, Word::Cancelled, Word::CannotTell, Word::Pass];
    let count = |word: Word| held.iter().filter(|assessment| assessment.verdict.word == word).count();
    let counts: Vec<String> = words
        .into_iter()
        .filter(|word| count(*word) > 0)
        .map(|word| format!("{} of {} {}", count(word), plural(held.len(), "benchmark"), word.in_words()))
        .collect();
    let example =
        held.iter().find(|assessment| assessment.is_bad()).map(|assessment| assessment.verdict.reason.clone());
    format!("{}{}", counts.join(", "), example.map(|reason| format!("; {reason}")).unwrap_or_default())
}

fn has_warning(benchmark: &Loaded) -> bool {
    let findings = benchmark.summary.iter().flat_map(|summary| &summary.findings);
    findings.into_iter().any(|finding| finding.severity == archive::Severity::Warning)
}
