//! What limits, on the page of a benchmark and of a campaign: the class, the evidence, what was rejected; and what
//! the logs say.

use analysis::{
    bottleneck::Attribution,
    logs::{LogReport, LogSeverity},
};
use serde::Serialize;

use super::{
    plural,
    table::{Cell, Column, Table},
};
use crate::units;

/// An answer as a template shows it.
#[derive(Serialize)]
pub struct Limit {
    /// The series of a sweep that it is about; empty when there is one.
    of: String,
    /// `CPU`; `client, also CPU` when the situation is mixed.
    class: String,
    confidence: &'static str,
    summary: String,
    evidence: Option<Table>,
    rejected: Option<Table>,
    recommendations: Vec<String>,
    method: String,
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
    says: String,
    table: Option<Table>,
}

/// `None` without logs.
pub fn logs(report: &LogReport) -> Option<LogSummary> {
    if report.lines == 0 {
        return None;
    }
    let columns = ["class", "", "lines", "first", "last", "example", "where"];
    let columns = columns.map(|name| if name == "lines" { Column::number(name, "") } else { Column::text(name) });
    let issues = report.issues.iter().filter(|issue| issue.severity != LogSeverity::Info).take(10);
    let rows: Vec<_> = issues
        .map(|issue| {
            let (word, class) = match issue.severity {
                LogSeverity::Error => ("error", "bad"),
                _ => ("warning", ""),
            };
            let sample = issue.samples.first();
            vec![
                Cell::text(issue.class.name()),
                Cell::text(word).with_class(class),
                Cell::count(issue.count),
                Cell::text(issue.first.as_deref().unwrap_or("–")),
                Cell::text(issue.last.as_deref().unwrap_or("–")),
                Cell::text(sample.map_or("", |sample| &sample.text)),
                Cell::text(&sample.map_or_else(String::new, |sample| format!("{}:{}", sample.file, sample.line))),
            ]
        })
        .collect();
    let says = format!(
        "{}: {} with a known error, {} with a known warning.",
        plural(usize::try_from(report.lines).unwrap_or(usize::MAX), "line"),
        units::count(report.errors),
        units::count(report.warnings)
    );
    Some(LogSummary { says, table: (!rows.is_empty()).then(|| Table::new(columns.into(), rows)) })
}
