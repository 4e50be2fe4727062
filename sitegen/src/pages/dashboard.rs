//! The dashboard: what is new, what is wrong, and what each campaign says.

use serde::Serialize;

use super::{Link, Page, benchmarks, execution_path, plural, table::Table};
use crate::{
    load::Loaded,
    model::{Campaign, Execution, Model, Standing, metric::Metric},
};

/// Benchmarks in the list of the newest.
const RECENT: usize = 12;

/// Troubles that are listed one by one.
const MOST_TROUBLES: usize = 20;

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    troubles: Vec<Trouble>,
    more_troubles: usize,
    campaigns: Vec<Entry>,
    recent: Table,
    empty: bool,
}

/// A benchmark of a newest execution that has no valid figures.
#[derive(Serialize)]
struct Trouble {
    benchmark: Link,
    word: &'static str,
    campaign: String,
    point: String,
    reason: String,
}

#[derive(Serialize)]
struct Entry {
    campaign: Link,
    name: String,
    service: String,
    ended: String,
    completed: String,
    /// One sentence a series.
    says: Vec<String>,
    sparkline: Option<String>,
}

pub fn page(model: &Model<'_>) -> Page {
    let newest: Vec<(&Campaign<'_>, &Execution<'_>)> =
        model.campaigns.iter().map(|campaign| (campaign, campaign.newest())).collect();
    let mut troubles: Vec<Trouble> = newest
        .iter()
        .flat_map(|(campaign, execution)| {
            execution.benchmarks.iter().filter_map(|benchmark| trouble(campaign, benchmark))
        })
        .collect();
    let more_troubles = troubles.len().saturating_sub(MOST_TROUBLES);
    troubles.truncate(MOST_TROUBLES);
    let recent: Vec<&Loaded> = model.contents.benchmarks.iter().rev().take(RECENT).collect();
    let context = Context {
        title: "Dashboard".to_owned(),
        lead: lead(&newest),
        troubles,
        more_troubles,
        campaigns: newest.iter().map(|(campaign, execution)| entry(campaign, execution)).collect(),
        recent: benchmarks::table(model, &recent, ""),
        empty: newest.is_empty(),
    };
    Page::new("index.html".to_owned(), "dashboard.html", false, context)
}

/// What is wrong, and what is new.
fn lead(newest: &[(&Campaign<'_>, &Execution<'_>)]) -> String {
    let count = |word: &str| newest.iter().map(|(_, execution)| execution.count_of(word)).sum::<usize>();
    let wrong: Vec<String> =
        [("failed", count("failed")), ("invalid", count("invalid")), ("cancelled", count("cancelled"))]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
    let wrong = match wrong.is_empty() {
        true => "No benchmark of the newest executions failed or is invalid.".to_owned(),
        false => format!("In the newest executions: {}.", wrong.join(", ")),
    };
    match newest.first() {
        Some((campaign, execution)) => {
            let ended = benchmarks::minute(execution.ended());
            let done = plural(execution.benchmarks.len(), "benchmark");
            format!("Newest: {}, {done}, ended {ended} UTC. {wrong}", campaign.title())
        }
        None => "The archive is empty.".to_owned(),
    }
}

fn trouble(campaign: &Campaign<'_>, benchmark: &Loaded) -> Option<Trouble> {
    let standing = benchmark.standing();
    if standing == Standing::Valid {
        return None;
    }
    let id = benchmark.id.to_string();
    Some(Trouble {
        benchmark: Link { href: format!("benchmarks/{id}/index.html"), text: id },
        word: standing.word(),
        campaign: campaign.title().to_owned(),
        point: benchmarks::point(benchmark),
        reason: standing.reason().unwrap_or_default().to_owned(),
    })
}

fn entry(campaign: &Campaign<'_>, execution: &Execution<'_>) -> Entry {
    let service = &execution.first().run.service;
    let version = service.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let valid = execution.count_of("valid");
    Entry {
        campaign: Link { text: campaign.title().to_owned(), href: execution_path(campaign, execution) },
        name: campaign.name.to_owned(),
        service: format!("{}{version} on {}", service.kind, execution.first().run.target.name),
        ended: benchmarks::minute(execution.ended()),
        completed: format!("{valid} of {} valid", plural(execution.planned(), "benchmark")),
        says: super::campaign::says(execution),
        sparkline: sparkline(execution),
    }
}

/// The median throughput of the first series over its points, as the path of a small drawing of 120 × 28.
fn sparkline(execution: &Execution<'_>) -> Option<String> {
    let series = execution.sweep.series.first()?;
    let values: Vec<f64> = series.points.iter().filter_map(|point| point.median(Metric::Throughput)).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 || highest <= 0.0 {
        return None;
    }
    let step = 116.0 / (values.len() - 1) as f64;
    let points = values.iter().enumerate().map(|(i, value)| {
        format!("{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, 2.0 + step * i as f64, 26.0 - 24.0 * value / highest)
    });
    Some(points.collect())
}
