//! Each campaign over time: the figures of its configurations, with the changes of level marked.

use serde::Serialize;

use super::{
    Link, Page, benchmarks, diffs, execution_path, plural,
    table::{Cell, Column, Table},
};
use crate::{
    charts::{self, Chart},
    feeds::embeds::{self, Embeds},
    model::{
        Campaign, Execution, Model,
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
    embeds: Option<Table>,
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
pub fn page(model: &Model<'_>, campaign: &Campaign<'_>, trends: &[Trend<'_>]) -> Page {
    let names = names(campaign);
    let found = changes(trends);
    let columns = vec![
        Column::text("configuration"),
        Column::text("figure"),
        Column::text("from execution (UTC)"),
        Column::number("change of level", "%"),
        Column::text("verdict"),
        Column::text("service"),
        Column::text("git commit"),
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
            commit(model, execution),
            Cell::link("diff", format!("../../{}", diffs::path(campaign, execution))),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let table_of_changes = (!rows.is_empty()).then(|| Table::new(columns, rows));
    let charts = charts::trend::charts(trends, &names);
    let (embeds, files) = embeds::embeds(model, campaign, trends, &names);
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
        executions: executions(model, campaign),
        embeds: table_of(trends, &embeds),
        method: analysis::CHANGE_POINT_METHOD,
        charts,
    };
    let path = format!("trends/{}/index.html", campaign.slug);
    let mut page = Page::with_charts(path, "trend.html", &context.charts, &context);
    page.scripts.extend(files);
    page
}

/// What others embed of each configuration.
fn table_of(trends: &[Trend<'_>], embeds: &[Embeds]) -> Option<Table> {
    let columns = ["configuration", "newest verdict", "sparkline", "throughput", "p99 latency"].map(Column::text);
    let link = |text: &str, path: &str| Cell::link(text, format!("../../{path}"));
    let rows = trends.iter().zip(embeds).map(|(trend, embeds)| {
        let chart = |end: &str| match embeds.charts.iter().find(|(_, path)| path.ends_with(end)) {
            Some((_, path)) => link("chart", path),
            None => Cell::none(),
        };
        vec![
            Cell::text(&trend.label),
            link("badge", &embeds.badge),
            embeds.sparkline.as_ref().map_or_else(Cell::none, |path| link("sparkline", path)),
            chart("-requests-per-second.svg"),
            chart("-latency-p99-s.svg"),
        ]
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| Table::new(columns.into(), rows))
}

/// When each execution ended and, where not all are of one commit, of which it is; the newest first.
fn names(campaign: &Campaign<'_>) -> Vec<String> {
    let commit = |execution: &Execution<'_>| execution.first().run.git_commit.clone();
    let several = campaign.executions.iter().any(|execution| commit(execution) != commit(campaign.newest()));
    let name = |execution: &Execution<'_>| {
        let ended = benchmarks::minute(execution.ended());
        match commit(execution).as_deref().and_then(|commit| commit.get(..7)) {
            Some(commit) if several => format!("{ended}, {commit}"),
            _ => ended,
        }
    };
    campaign.executions.iter().map(name).collect()
}

/// The commit of the archive's repository that the execution was run at, and its page.
fn commit(model: &Model<'_>, execution: &Execution<'_>) -> Cell {
    let Some(commit) = execution.first().run.git_commit.as_deref() else { return Cell::none() };
    let text: String = commit.chars().take(12).collect();
    match model.contents.repository.as_ref().and_then(|repository| repository.commit(commit)) {
        Some(page) => Cell::link(&text, page),
        None => Cell::text(&text),
    }
}

/// The newest first, each with what it ran and its diff.
fn executions(model: &Model<'_>, campaign: &Campaign<'_>) -> Table {
    let columns = ["ended (UTC)", "service", "git commit", "valid", "against the one before"].map(Column::text);
    let rows = campaign.executions.iter().enumerate().map(|(place, execution)| {
        let run = &execution.first().run;
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        vec![
            Cell::link(
                &benchmarks::minute(execution.ended()),
                format!("../../{}", execution_path(campaign, execution)),
            ),
            Cell::text(&format!("{} {version}", run.service.kind)),
            commit(model, execution),
            Cell::text(&format!("{} of {}", execution.count_of("valid"), execution.benchmarks.len())),
            match place + 1 < campaign.executions.len() {
                true => Cell::link("diff", format!("../../{}", diffs::path(campaign, execution))),
                false => Cell::text(""),
            },
        ]
    });
    Table::new(columns.into(), rows.collect())
}
