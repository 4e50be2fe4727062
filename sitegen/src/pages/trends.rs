//! Each campaign over time: the figures of its configurations, with the changes of level marked.

use serde::Serialize;

use super::{
    Link, Page, benchmarks, diffs, execution_path, plural,
    table::{Cell, Column, Table},
};
use crate::{
    charts::{self, Chart},
    model::{
        Campaign, Model,
        diff::{metric_in_words, signed},
        trend::Trend,
    },
};

#[derive(Serialize)]
struct List {
    title: String,
    lead: String,
    table: Table,
}

#[derive(Serialize)]
struct Context {
    title: String,
    campaign: Link,
    lead: String,
    changes: Option<Table>,
    charts: Vec<Chart>,
    executions: Table,
    method: &'static str,
}

/// The list of all campaigns; `trends` are theirs.
pub fn list(model: &Model<'_>, trends: &[Vec<Trend<'_>>]) -> Page {
    let mut rows = Vec::new();
    for (campaign, trends) in model.campaigns.iter().zip(trends) {
        let several = campaign.executions.len() > 1;
        let name = match several {
            false => Cell::text(campaign.title()),
            true => Cell::link(campaign.title(), format!("{}/index.html", campaign.slug)),
        };
        let changes = changes(trends);
        let newest = changes.iter().max_by_key(|(trend, index, _)| std::cmp::Reverse(trend.executions[*index].place));
        let newest = newest.map(|change| in_words(campaign, change));
        rows.push(vec![
            name,
            Cell::text(campaign.name),
            Cell::count(campaign.executions.len() as u64),
            Cell::count(trends.len() as u64),
            Cell::count(changes.len() as u64),
            Cell::text(newest.as_deref().unwrap_or("–")),
        ]);
    }
    let columns = vec![
        Column::text("campaign"),
        Column::text("name"),
        Column::number("executions", ""),
        Column::number("configurations measured again", ""),
        Column::number("changes of level", ""),
        Column::text("newest change"),
    ];
    let lead = match model.campaigns.iter().filter(|campaign| campaign.executions.len() > 1).count() {
        0 => "No campaign was run more than once, so there is nothing to follow over time.".to_owned(),
        count => format!("{} with several executions.", plural(count, "campaign")),
    };
    let list = List { title: "Trends".to_owned(), lead, table: Table::new(columns, rows) };
    Page::new("trends/index.html".to_owned(), "benchmarks.html", false, list)
}

type Found<'t, 'a> =
    (&'t Trend<'a>, usize, (analysis::compare::metric::Metric, f64, Option<analysis::compare::Verdict>));

/// Changes of level: the trend, the place of the first execution of the new level within it, and how much.
fn changes<'t, 'a>(trends: &'t [Trend<'a>]) -> Vec<Found<'t, 'a>> {
    let mut found = Vec::new();
    for trend in trends {
        for history in trend.figures.iter().filter_map(|figure| figure.history.as_ref()) {
            for level in history.levels.iter().skip(1) {
                found.push((trend, level.first, (history.metric, level.change.unwrap_or(0.0), level.verdict)));
            }
        }
    }
    found
}

fn in_words(campaign: &Campaign<'_>, (trend, index, (metric, change, _)): &Found<'_, '_>) -> String {
    let execution = &campaign.executions[trend.executions[*index].place];
    let when = benchmarks::minute(execution.ended());
    format!("{} {} % at {} from {when}", metric_in_words(*metric), signed(*change), trend.label)
}

/// The page of a campaign with several executions.
pub fn page(campaign: &Campaign<'_>, trends: &[Trend<'_>]) -> Page {
    let names: Vec<String> =
        campaign.executions.iter().map(|execution| benchmarks::minute(execution.ended())).collect();
    let found = changes(trends);
    let columns = vec![
        Column::text("configuration"),
        Column::text("figure"),
        Column::text("from execution (UTC)"),
        Column::number("change of level", "%"),
        Column::text("verdict"),
        Column::text("service"),
        Column::text("against the one before"),
    ];
    let rows = found.iter().map(|(trend, index, (metric, change, verdict))| {
        let execution = &campaign.executions[trend.executions[*index].place];
        vec![
            Cell::text(&trend.label),
            Cell::text(&metric_in_words(*metric)),
            Cell::link(
                &benchmarks::minute(execution.ended()),
                format!("../../{}", execution_path(campaign, execution)),
            ),
            Cell::sorted(&signed(*change), *change),
            verdict.map_or_else(Cell::none, diffs::verdict),
            Cell::text(execution.first().run.service.version.as_deref().unwrap_or("version unknown")),
            Cell::link("diff", format!("../../{}", diffs::path(campaign, execution))),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let table_of_changes = (!rows.is_empty()).then(|| Table::new(columns, rows));
    let charts = charts::trend::charts(trends, &names);
    let context = Context {
        title: format!("Trends: {}", campaign.title()),
        campaign: Link {
            text: campaign.title().to_owned(),
            href: format!("../../campaigns/{}/index.html", campaign.slug),
        },
        lead: match found.iter().max_by_key(|(trend, index, _)| std::cmp::Reverse(trend.executions[*index].place)) {
            Some(change) => format!("Newest change of level: {}.", in_words(campaign, change)),
            None => format!("No change of level over {}.", plural(campaign.executions.len(), "execution")),
        },
        changes: table_of_changes,
        executions: executions(campaign),
        method: analysis::CHANGE_POINT_METHOD,
        charts,
    };
    Page::with_charts(format!("trends/{}/index.html", campaign.slug), "trend.html", &context.charts, &context)
}

/// The newest first, each with what it ran and its diff.
fn executions(campaign: &Campaign<'_>) -> Table {
    let columns = ["ended (UTC)", "service", "git commit", "valid", "against the one before"].map(Column::text);
    let rows = campaign.executions.iter().enumerate().map(|(place, execution)| {
        let run = &execution.first().run;
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        let commit = run.git_commit.as_deref().and_then(|commit| commit.get(..12)).unwrap_or("unknown");
        vec![
            Cell::link(
                &benchmarks::minute(execution.ended()),
                format!("../../{}", execution_path(campaign, execution)),
            ),
            Cell::text(&format!("{} {version}", run.service.kind)),
            Cell::text(commit),
            Cell::text(&format!("{} of {}", execution.count_of("valid"), execution.benchmarks.len())),
            match place + 1 < campaign.executions.len() {
                true => Cell::link("diff", format!("../../{}", diffs::path(campaign, execution))),
                false => Cell::text(""),
            },
        ]
    });
    Table::new(columns.into(), rows.collect())
}
