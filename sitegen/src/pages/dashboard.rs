//! The dashboard: what is new, what is wrong, and what each campaign says.

use serde::Serialize;

use super::{Link, Page, benchmarks, campaign_path, diffs, plural, regressions, services, table::Table};
use crate::{
    load::Loaded,
    model::{
        Campaign, Execution, Model, Standing,
        diff::{self, State},
        metric::Metric,
    },
};

/// Benchmarks in the list of the newest.
const RECENT: usize = 12;

/// Troubles that are listed one by one.
const MOST_TROUBLES: usize = 20;

/// Campaigns shown as new, and with their answers; a list has all.
const MOST_NEW: usize = 5;
const MOST_CAMPAIGNS: usize = 24;

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    /// Regressions that are open, and what the newest executions improved; the newest first.
    regressions: Vec<Change>,
    improvements: Vec<Change>,
    more_changes: usize,
    /// Campaigns that were run once.
    new: Vec<New>,
    troubles: Vec<Trouble>,
    more_troubles: usize,
    services: Table,
    campaigns: Vec<Entry>,
    more_campaigns: usize,
    recent: Table,
    empty: bool,
}

/// The change of one figure, the largest of its kind, and how many more there are of it.
#[derive(Serialize)]
struct Change {
    href: String,
    campaign: String,
    says: String,
    with: String,
    since: String,
}

#[derive(Serialize)]
struct New {
    campaign: Link,
    ended: String,
    says: Vec<String>,
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
    let failed = troubles.len();
    let more_troubles = troubles.len().saturating_sub(MOST_TROUBLES);
    troubles.truncate(MOST_TROUBLES);
    // What is open, whenever it began; and what the newest executions improved.
    let all = model.changes();
    let shown = |change: &&diff::Change<'_, '_>| match change.is_regression() {
        true => change.state == State::Stands,
        false => change.diff.candidate == 0,
    };
    let mut all: Vec<_> = all.iter().filter(shown).collect();
    let ended =
        |change: &diff::Change<'_, '_>| model.campaigns[change.diff.campaign].executions[change.diff.candidate].ended();
    all.sort_by_key(|change| std::cmp::Reverse(ended(change)));
    let mut regressions = of_kind(model, &all, true);
    let mut improvements = of_kind(model, &all, false);
    let more_changes =
        regressions.len().saturating_sub(MOST_TROUBLES) + improvements.len().saturating_sub(MOST_TROUBLES);
    let lead = lead(model, &all, failed);
    regressions.truncate(MOST_TROUBLES);
    improvements.truncate(MOST_TROUBLES);
    let once = newest.iter().filter(|(campaign, _)| campaign.executions.len() == 1);
    let new = once.take(MOST_NEW).map(|(campaign, execution)| New {
        campaign: Link { text: campaign.title().to_owned(), href: campaign_path(campaign) },
        ended: benchmarks::minute(execution.ended()),
        says: super::campaign::says(execution).into_iter().take(1).collect(),
    });
    let recent: Vec<&Loaded> = model.contents.benchmarks.iter().rev().take(RECENT).collect();
    let context = Context {
        title: "Dashboard".to_owned(),
        lead,
        regressions,
        improvements,
        more_changes,
        new: new.collect(),
        troubles,
        more_troubles,
        services: services::table(model, ""),
        campaigns: newest.iter().take(MOST_CAMPAIGNS).map(|(campaign, execution)| entry(campaign, execution)).collect(),
        more_campaigns: newest.len().saturating_sub(MOST_CAMPAIGNS),
        recent: benchmarks::table(model, &recent, ""),
        empty: newest.is_empty(),
    };
    Page::new("index.html".to_owned(), "dashboard.html", false, context)
}

/// One entry a campaign and figure: the largest change among its points.
fn of_kind(model: &Model<'_>, changes: &[&diff::Change<'_, '_>], regressions: bool) -> Vec<Change> {
    let mut groups: Vec<Vec<&diff::Change<'_, '_>>> = Vec::new();
    for change in changes.iter().filter(|change| change.is_regression() == regressions) {
        let same = |group: &Vec<&diff::Change<'_, '_>>| {
            group[0].diff.campaign == change.diff.campaign
                && group[0].diff.candidate == change.diff.candidate
                && group[0].metric.metric == change.metric.metric
        };
        match groups.iter_mut().find(|group| same(group)) {
            Some(group) => group.push(change),
            None => groups.push(vec![change]),
        }
    }
    let entry = |group: Vec<&diff::Change<'_, '_>>| {
        let largest = group.iter().max_by(|a, b| a.metric.change.abs().total_cmp(&b.metric.change.abs()))?;
        let campaign = &model.campaigns[largest.diff.campaign];
        let candidate = &campaign.executions[largest.diff.candidate];
        let more = match group.len() - 1 {
            0 => String::new(),
            count => format!(" and at {count} more of its points"),
        };
        let figure = diff::metric_in_words(largest.metric.metric);
        Some(Change {
            href: diffs::path(campaign, candidate),
            campaign: campaign.title().to_owned(),
            says: format!("{figure} {} at {}{more}", diff::change_in_words(largest.metric), largest.label),
            with: regressions::with(largest),
            since: benchmarks::minute(candidate.ended()),
        })
    };
    groups.into_iter().filter_map(entry).collect()
}

/// `2 regressions, 1 improvement, 1 not valid in the newest executions`, and which was the newest of all.
fn lead(model: &Model<'_>, changes: &[&diff::Change<'_, '_>], failed: usize) -> String {
    let Some(campaign) = model.campaigns.first() else { return "The archive is empty.".to_owned() };
    let count = |regressions: bool, newest: bool| {
        changes
            .iter()
            .filter(|change| change.is_regression() == regressions && (change.diff.candidate == 0) == newest)
            .count()
    };
    let mut parts = Vec::new();
    let mut add = |count: usize, noun: &str, rest: &str| {
        if count > 0 {
            parts.push(format!("{}{rest}", plural(count, noun)));
        }
    };
    add(count(true, true), "regression", "");
    add(count(false, true), "improvement", "");
    add(failed, "benchmark", " without valid figures");
    let compared = model.diffs.iter().any(|diff| diff.candidate == 0 && diff.comparison.is_some());
    let mut what = match (parts.is_empty(), compared) {
        (false, _) => format!("{} in the newest executions", parts.join(", ")),
        (true, true) => "Nothing regressed, improved or failed in the newest executions".to_owned(),
        (true, false) => "Nothing failed; no campaign has an earlier execution to compare its newest with".to_owned(),
    };
    if count(true, false) > 0 {
        what = format!("{what}; {} open from before", plural(count(true, false), "regression"));
    }
    let ended = benchmarks::minute(campaign.newest().ended());
    format!("{what}. The newest of all: {}, ended {ended} UTC.", campaign.title())
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
        campaign: Link { text: campaign.title().to_owned(), href: campaign_path(campaign) },
        name: campaign.name.to_owned(),
        service: format!("{}{version} on {}", service.kind, execution.first().run.target.name),
        ended: benchmarks::minute(execution.ended()),
        completed: format!("{valid} of {} valid", plural(execution.planned(), "benchmark")),
        says: super::campaign::says_in_short(execution),
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
