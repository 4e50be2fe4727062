//! The list of regressions and improvements, each with what came of it.

use serde::Serialize;

use super::{
    Page, benchmarks, diffs, plural,
    table::{Cell, Column, Table},
};
use crate::model::{
    Model,
    diff::{Change, State, change_in_words, metric_in_words},
};

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    regressions: Table,
    improvements: Table,
    compared: String,
}

pub fn page(model: &Model<'_>) -> Page {
    let all = model.changes();
    let (regressions, improvements): (Vec<_>, Vec<_>) = all.iter().partition(|change| change.is_regression());
    let open = regressions.iter().filter(|change| change.state == State::Stands).count();
    let lead = match regressions.len() {
        0 => "No execution regressed against the one before it.".to_owned(),
        count => format!("{open} open of {}.", plural(count, "regression")),
    };
    let comparable = model.diffs.iter().filter(|diff| diff.comparison.is_some()).count();
    let context = Context {
        title: "Regressions".to_owned(),
        lead,
        regressions: table(model, &regressions),
        improvements: table(model, &improvements),
        compared: format!(
            "{} of executions with the one before; {} of them not comparable.",
            plural(model.diffs.len(), "comparison"),
            model.diffs.len() - comparable
        ),
    };
    Page::new("regressions/index.html".to_owned(), "regressions.html", false, context)
}

fn table(model: &Model<'_>, changes: &[&Change<'_, '_>]) -> Table {
    let columns = vec![
        Column::text("campaign"),
        Column::text("point"),
        Column::text("figure"),
        Column::text("change [95 %]"),
        Column::text("from → to"),
        Column::text("since (UTC)"),
        Column::text("with"),
        Column::text("state"),
    ];
    let mut changes = changes.to_vec();
    let ended =
        |change: &Change<'_, '_>| model.campaigns[change.diff.campaign].executions[change.diff.candidate].ended();
    changes.sort_by_key(|change| std::cmp::Reverse(ended(change)));
    let rows = changes.iter().map(|change| {
        let campaign = &model.campaigns[change.diff.campaign];
        let candidate = &campaign.executions[change.diff.candidate];
        let metric = change.metric;
        let figure = |value| diffs::figure(metric.metric, value);
        let state = match change.state {
            State::Stands if change.is_regression() => Cell::text("open").with_class("bad"),
            State::Stands => Cell::text("stands"),
            State::Reversed(place) => {
                let by = benchmarks::minute(campaign.executions[place].ended());
                let word = if change.is_regression() { "improved again" } else { "regressed again" };
                Cell::text(&format!("{word} {by}")).with_class("muted")
            }
        };
        let is_regression = change.is_regression();
        vec![
            Cell::link(campaign.name, format!("../{}", diffs::path(campaign, candidate))),
            Cell::text(change.label),
            Cell::text(&metric_in_words(metric.metric)),
            Cell::sorted(&change_in_words(metric), metric.change).with_class(if is_regression {
                "bad"
            } else {
                "good"
            }),
            Cell::text(&format!("{} → {}", figure(metric.base), figure(metric.candidate))),
            Cell::sorted(&benchmarks::minute(candidate.ended()), candidate.ended().unix_us() as f64),
            Cell::text(&with(change)),
            state,
        ]
    });
    Table::new(columns, rows.collect())
}

/// What else differs between the two executions: the first two facts that are not names of machines.
pub fn with(change: &Change<'_, '_>) -> String {
    let telling = change.diff.differences.iter().filter(|one| !one.what.ends_with(".hostname"));
    let mut parts: Vec<String> =
        telling.clone().take(2).map(|one| format!("{} {} → {}", one.what, one.base, one.candidate)).collect();
    match telling.count() {
        0 => return "nothing else known to differ".to_owned(),
        count if count > 2 => parts.push(format!("{} more", count - 2)),
        _ => {}
    }
    parts.join("; ")
}
