//! What limits, on the page of a benchmark and of a campaign and in reports: the class, the evidence, what was rejected;
//! and what the logs say.

use analysis::{
    bottleneck::Attribution,
    logs::{LogIssue, LogReport, LogSeverity},
};
use serde::Serialize;

use super::{
    plural,
    table::{Cell, Column, Table},
};
use crate::{load::Loaded, units};

/// An answer as a template shows it.
#[derive(Serialize)]
pub struct Limit {
    /// The series of a sweep that it is about; empty when there is one.
    pub of: String,
    /// `CPU`; `client, also CPU` when the situation is mixed.
    pub class: String,
    pub confidence: &'static str,
    pub summary: String,
    pub evidence: Option<Table>,
    pub rejected: Option<Table>,
    pub recommendations: Vec<String>,
    pub method: String,
}

/// `to_version` leads to the folder of the version; evidence of a sweep links to its benchmarks.
pub fn limit(of: &str, answer: &Attribution, to_version: &str) -> Limit {
    let of_sweep = answer.evidence.iter().any(|evidence| evidence.load.is_some());
    let mut columns = vec![
        Column::text("resource"),
        Column::number("value", ""),
        Column::text("exhausted from"),
        Column::text("evidence"),
        Column::text("series"),
        Column::text("window"),
    ];
    if of_sweep {
        columns.insert(1, Column::number("load", ""));
        columns.push(Column::text("benchmark"));
    }
    let rows = answer.evidence.iter().map(|evidence| {
        let [start, end] = evidence.window_s;
        let value = Cell::sorted(&format!("{} {}", units::number(evidence.value), evidence.unit), evidence.value);
        let limit = evidence.limit.map(|limit| format!("{} {}", units::number(limit), evidence.unit));
        let mut row = vec![
            Cell::text(evidence.class.name()),
            if evidence.exhausted { value.with_class("bad") } else { value },
            Cell::text(limit.as_deref().unwrap_or("")),
            Cell::text(&evidence.says),
            Cell::text(&evidence.series),
            Cell::text(&format!("{} to {} s", units::number(start), units::number(end))),
        ];
        if of_sweep {
            row.insert(1, evidence.load.map_or_else(Cell::none, Cell::number));
            row.push(match &evidence.benchmark {
                Some(id) => Cell::link(id, format!("{to_version}benchmarks/{id}/index.html")),
                None => Cell::none(),
            });
        }
        row
    });
    let evidence: Vec<_> = rows.collect();
    let rejected: Vec<_> = answer
        .rejected
        .iter()
        .map(|rejected| vec![Cell::text(rejected.class.name()), Cell::text(&rejected.reason)])
        .collect();
    let table = |columns: Vec<Column>, rows: Vec<Vec<Cell>>| (!rows.is_empty()).then(|| Table::new(columns, rows));
    Limit {
        of: of.to_owned(),
        class: match answer.also.is_empty() {
            true => answer.class.name().to_owned(),
            false => {
                let also: Vec<&str> = answer.also.iter().map(|class| class.name()).collect();
                format!("{}, also {}", answer.class.name(), also.join(", "))
            }
        },
        confidence: answer.confidence.name(),
        summary: answer.summary.clone(),
        evidence: table(columns, evidence),
        rejected: table(vec![Column::text("not"), Column::text("because")], rejected),
        recommendations: answer.recommendations.clone(),
        method: answer.method.clone(),
    }
}

/// What stands above the logs.
#[derive(Serialize)]
pub struct LogSummary {
    pub says: String,
    pub table: Option<Table>,
}

/// `None` without logs.
pub fn logs(report: &LogReport) -> Option<LogSummary> {
    if report.lines == 0 {
        return None;
    }
    let columns = ["class", "severity", "lines", "first", "last", "example", "where"];
    let columns = columns.map(|name| if name == "lines" { Column::number(name, "") } else { Column::text(name) });
    let issues = report.issues.iter().filter(|issue| issue.severity != LogSeverity::Info).take(10);
    let rows: Vec<_> = issues
        .map(|issue| {
            let sample = issue.samples.first();
            vec![
                Cell::text(issue.class.name()),
                severity(issue.severity),
                Cell::count(issue.count),
                Cell::text(issue.first.as_deref().unwrap_or("–")),
                Cell::text(issue.last.as_deref().unwrap_or("–")),
                Cell::text(sample.map_or("", |sample| &sample.text)),
                Cell::text(&sample.map_or_else(String::new, |sample| format!("{}:{}", sample.file, sample.line))),
            ]
        })
        .collect();
    let says = says(report.lines, report.errors, report.warnings);
    Some(LogSummary { says, table: (!rows.is_empty()).then(|| Table::new(columns.into(), rows)) })
}

/// The same over all benchmarks of an execution: each class with how many benchmarks have it.
pub fn logs_of_all(benchmarks: &[&Loaded]) -> Option<LogSummary> {
    let lines: u64 = benchmarks.iter().map(|benchmark| benchmark.log_report.lines).sum();
    if lines == 0 {
        return None;
    }
    /// Lines, benchmarks, and the first benchmark with its first example.
    struct Tally<'a> {
        issue: &'a LogIssue,
        first: &'a Loaded,
        lines: u64,
        benchmarks: u64,
    }
    let mut tallies: Vec<Tally<'_>> = Vec::new();
    for benchmark in benchmarks {
        let issues = &benchmark.log_report.issues;
        for issue in issues.iter().filter(|issue| issue.severity != LogSeverity::Info) {
            match tallies.iter_mut().find(|tally| tally.issue.class == issue.class) {
                Some(tally) => {
                    tally.lines += issue.count;
                    tally.benchmarks += 1;
                }
                None => tallies.push(Tally { issue, first: benchmark, lines: issue.count, benchmarks: 1 }),
            }
        }
    }
    let rank = |tally: &Tally<'_>| (tally.issue.class.is_general(), tally.issue.severity != LogSeverity::Error);
    tallies.sort_by_key(|tally| (rank(tally), std::cmp::Reverse(tally.lines)));
    let rows: Vec<_> =
        tallies
            .iter()
            .take(10)
            .map(|tally| {
                let sample = tally.issue.samples.first();
                vec![
                    Cell::text(tally.issue.class.name()),
                    severity(tally.issue.severity),
                    Cell::count(tally.lines),
                    Cell::count(tally.benchmarks),
                    Cell::text(sample.map_or("", |sample| &sample.text)),
                    Cell::text(&sample.map_or_else(String::new, |sample| {
                        format!("{}: {}:{}", tally.first.id, sample.file, sample.line)
                    })),
                ]
            })
            .collect();
    let columns = ["class", "severity", "lines", "benchmarks", "example", "where"];
    let columns = columns.map(|name| match name {
        "lines" | "benchmarks" => Column::number(name, ""),
        _ => Column::text(name),
    });
    let sum = |of: fn(&LogReport) -> u64| benchmarks.iter().map(|benchmark| of(&benchmark.log_report)).sum();
    let says = says(lines, sum(|report| report.errors), sum(|report| report.warnings));
    Some(LogSummary { says, table: (!rows.is_empty()).then(|| Table::new(columns.into(), rows)) })
}

fn severity(severity: LogSeverity) -> Cell {
    match severity {
        LogSeverity::Error => Cell::text("error").with_class("bad"),
        _ => Cell::text("warning"),
    }
}

fn says(lines: u64, errors: u64, warnings: u64) -> String {
    format!(
        "{}: {} with a known error, {} with a known warning.",
        plural(usize::try_from(lines).unwrap_or(usize::MAX), "line"),
        units::count(errors),
        units::count(warnings)
    )
}
