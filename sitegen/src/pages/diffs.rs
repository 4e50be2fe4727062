//! An execution against the one before it: the verdict, the figures with their intervals, and what else differs.

use analysis::compare::{self, Comparison, MetricComparison, Verdict, metric::Metric};
use serde::Serialize;

use super::{
    Link, Page, benchmarks, execution_path,
    table::{Cell, Column, Table},
};
use crate::{
    charts::{self, Chart},
    model::{
        Campaign, Execution, Model,
        diff::{Diff, change_in_words, metric_in_words},
    },
    units,
};

#[derive(Serialize)]
struct Context {
    title: String,
    campaign: Link,
    verdict: &'static str,
    /// What the verdict rests on, the worst first.
    says: Vec<String>,
    base: Link,
    candidate: Link,
    figures: Option<Table>,
    charts: Vec<Chart>,
    differences: Option<Table>,
    remarks: Vec<String>,
    method: String,
    command: String,
}

/// Where the page of a diff is.
pub fn path(campaign: &Campaign<'_>, candidate: &Execution<'_>) -> String {
    format!("diffs/{}/{}/index.html", campaign.slug, candidate.slug)
}

pub fn page(model: &Model<'_>, diff: &Diff<'_>) -> Page {
    let campaign = &model.campaigns[diff.campaign];
    let [base, candidate] = [diff.base, diff.candidate].map(|place| &campaign.executions[place]);
    let to_version = "../../../";
    let link = |execution: &Execution<'_>| Link {
        text: format!("{} UTC", benchmarks::minute(execution.ended())),
        href: format!("{to_version}{}", execution_path(campaign, execution)),
    };
    let charts = charts::overlay::charts(diff, to_version);
    let context = Context {
        title: format!("{}: {} against {}", candidate.title(), ended(candidate), ended(base)),
        campaign: Link {
            text: candidate.title().to_owned(),
            href: format!("{to_version}campaigns/{}/index.html", campaign.slug),
        },
        verdict: verdict_class(diff),
        says: says(diff),
        base: link(base),
        candidate: link(candidate),
        figures: figures(diff),
        differences: differences(diff),
        remarks: diff.remarks.iter().cloned().chain(earlier(diff)).collect(),
        method: format!("{}, version {}", compare::METHOD, compare::VERSION),
        command: format!("runner compare {} {}", base.key(), candidate.key()),
        charts,
    };
    Page::with_charts(path(campaign, candidate), "diff.html", &context.charts, &context)
}

fn ended(execution: &Execution<'_>) -> String {
    benchmarks::minute(execution.ended())
}

pub fn verdict_class(diff: &Diff<'_>) -> &'static str {
    match diff.comparison.as_ref().map(|comparison| comparison.verdict) {
        Some(Verdict::Regressed) => "regressed",
        Some(Verdict::Improved) => "improved",
        Some(Verdict::Same) => "same",
        Some(Verdict::CannotTell) | None => "untold",
    }
}

/// The verdict as a word with its sign.
pub struct Word {
    pub text: &'static str,
    pub class: &'static str,
}

pub fn verdict_word(diff: &Diff<'_>) -> Word {
    let (text, class) = match diff.comparison.as_ref().map(|comparison| comparison.verdict) {
        Some(Verdict::Regressed) => ("▼ regressed", "bad"),
        Some(Verdict::Improved) => ("▲ improved", "good"),
        Some(Verdict::Same) => ("= same", ""),
        Some(Verdict::CannotTell) => ("? cannot tell", "muted"),
        None => ("not comparable", "muted"),
    };
    Word { text, class }
}

/// The answer in words: what regressed and improved; else that nothing did, or why it cannot be told.
pub fn says(diff: &Diff<'_>) -> Vec<String> {
    let Some(comparison) = &diff.comparison else {
        let barred = diff.differences.iter().filter(|difference| difference.bars);
        let reasons: Vec<String> = barred
            .map(|one| format!("{} {} → {}", one.what, one.base, one.candidate))
            .chain(diff.remarks.clone())
            .collect();
        return vec![format!("Not comparable: {}.", reasons.join("; "))];
    };
    let mut says = Vec::new();
    for (verdict, word) in [(Verdict::Regressed, "regressed"), (Verdict::Improved, "improved")] {
        let points = diff.points.iter().zip(&comparison.points);
        let mut found: Vec<(&str, &MetricComparison)> = points
            .flat_map(|(point, compared)| compared.metrics.iter().map(|metric| (point.label.as_str(), metric)))
            .filter(|(_, metric)| metric.verdict == verdict)
            .collect();
        found.sort_by(|a, b| b.1.change.abs().total_cmp(&a.1.change.abs()));
        if let Some((label, metric)) = found.first() {
            let more = match found.len() - 1 {
                0 => String::new(),
                count => format!(", and {count} more"),
            };
            let figure = metric_in_words(metric.metric);
            says.push(format!("{figure} {} at {label}: {word}{more}.", change_in_words(metric)));
        }
    }
    if says.is_empty() {
        says.extend(together(diff, comparison));
    }
    if says.is_empty() {
        let all: Vec<&MetricComparison> = comparison.points.iter().flat_map(|point| &point.metrics).collect();
        let untold = all.iter().filter(|metric| metric.verdict == Verdict::CannotTell).count();
        says.push(match untold {
            0 => format!("Nothing changed: all {} figures are the same within their thresholds.", all.len()),
            untold => format!(
                "No change beyond chance; {untold} of {} figures cannot be told to be the same either.",
                all.len()
            ),
        });
    }
    says
}

/// Points whose figures changed as a whole, without any of them being sure by itself.
fn together(diff: &Diff<'_>, comparison: &Comparison) -> Vec<String> {
    let points = diff.points.iter().zip(&comparison.points);
    let changed = points.filter_map(|(point, compared)| {
        let joint = compared.joint.as_ref().filter(|joint| joint.verdict.is_change())?;
        Some(format!(
            "The figures at {} {} together beyond chance; which of them cannot be told.",
            point.label, joint.verdict
        ))
    });
    changed.collect()
}

/// How much executions differ by themselves is part of the evidence, if there is any.
fn earlier(diff: &Diff<'_>) -> Option<String> {
    let earlier = diff.comparison.as_ref()?.points.iter().map(|point| point.earlier_executions).min()?;
    (earlier < 2).then(|| {
        let word = if earlier == 0 { "no earlier execution" } else { "one earlier execution" };
        format!(
            "{word} of the same configuration in the archive: how much executions differ by themselves is not known"
        )
    })
}

fn figures(diff: &Diff<'_>) -> Option<Table> {
    let comparison = diff.comparison.as_ref()?;
    let columns = vec![
        Column::text("point"),
        Column::text("figure"),
        Column::number("before", ""),
        Column::number("after", ""),
        Column::text("change [95 %]"),
        Column::text("threshold"),
        Column::number("p, corrected", ""),
        Column::text("n"),
        Column::text("verdict"),
        Column::text("why"),
    ];
    let mut rows = Vec::new();
    for (point, compared) in diff.points.iter().zip(&comparison.points) {
        for metric in &compared.metrics {
            let shown = |value: f64| {
                let text = figure(metric.metric, value);
                Cell::sorted(&if metric.unsupported { format!("({text})") } else { text }, value)
            };
            let unit = unit(metric.metric);
            let sign = if metric.metric.more_is_worse() { "+" } else { "−" };
            let needed = metric.repetitions_needed.filter(|_| metric.verdict == Verdict::CannotTell);
            let needed =
                needed.map_or_else(String::new, |count| format!("; {count} repetitions a side would probably tell"));
            rows.push(vec![
                Cell::text(&point.label),
                Cell::text(&metric_in_words(metric.metric)),
                shown(metric.base),
                shown(metric.candidate),
                Cell::sorted(&change_in_words(metric), metric.change),
                Cell::text(&format!("{sign}{}{unit}", metric.threshold)),
                metric.p_corrected.map_or_else(Cell::none, p_value),
                Cell::text(&format!("{} / {}", compared.base.len(), compared.candidate.len())),
                verdict(metric.verdict),
                Cell::text(&format!("{}{needed}", metric.reason)),
            ]);
        }
        for figure in &compared.one_sided {
            let mut row = vec![Cell::text(&point.label), Cell::text(&metric_in_words(figure.metric))];
            row.extend((0..6).map(|_| Cell::none()));
            let side = if figure.only == "base" { "before" } else { "after" };
            row.extend([verdict(Verdict::CannotTell), Cell::text(&format!("only measured {side}"))]);
            rows.push(row);
        }
    }
    let note = rows.iter().flatten().any(|cell| cell.text.trim().starts_with('('));
    let note = note.then(|| "In brackets: percentiles that fewer than ten requests lie beyond.".to_owned());
    Some(Table::new(columns, rows).with_note(note))
}

fn p_value(p: f64) -> Cell {
    Cell::sorted(&if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }, p)
}

pub fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::SuccessRate => " points",
        Metric::Failures => "",
        _ => " %",
    }
}

/// A value with its unit.
pub fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Time { .. } => units::duration(value),
        Metric::SuccessRate => format!("{} %", units::percent(value)),
        Metric::Failures => units::number(value),
        _ => format!("{}/s", units::number(value)),
    }
}

/// A word and a sign, never colour alone.
pub fn verdict(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Regressed => Cell::text("▼ regressed").with_class("bad"),
        Verdict::Improved => Cell::text("▲ improved").with_class("good"),
        Verdict::Same => Cell::text("= same"),
        Verdict::CannotTell => Cell::text("? cannot tell").with_class("muted"),
    }
}

fn differences(diff: &Diff<'_>) -> Option<Table> {
    let columns = ["what", "before", "after", "remark"].map(Column::text);
    let rows: Vec<Vec<Cell>> = diff
        .differences
        .iter()
        .map(|difference| {
            vec![
                Cell::text(&difference.what),
                Cell::text(&difference.base),
                Cell::text(&difference.candidate),
                if difference.bars { Cell::text("bars a comparison").with_class("bad") } else { Cell::text("") },
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| Table::new(columns.into(), rows))
}
