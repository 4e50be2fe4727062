//! The list of all reports, and the page of each: what `runner report` writes, made from the same archive.

use serde::Serialize;

use super::{
    Link, Page, benchmarks, campaign, execution_path,
    table::{Cell, Column, Table},
};
use crate::{
    load::Loaded,
    model::{Campaign, Execution, Model},
    render::File,
    report::{self, Report, folder_of, sweep::Subject},
    units,
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
    /// The page with the charts that one can look into.
    page: Link,
    /// HTML without anything active.
    text: String,
}

/// All reports, the newest first.
pub fn page(model: &Model<'_>) -> Page {
    let executions =
        || model.campaigns.iter().flat_map(|campaign| campaign.executions.iter().map(move |e| (campaign, e)));
    let of_execution = |(campaign, execution): (&Campaign<'_>, &Execution<'_>)| {
        let folder = folder_of(campaign.name, execution.key());
        let valid = format!("{} valid of {}", execution.count_of("valid"), execution.benchmarks.len());
        let row = vec![
            Cell::link(&folder, format!("{folder}/index.html")),
            Cell::text("campaign"),
            Cell::text(campaign.name),
            Cell::text(&execution.first().run.service.kind),
            Cell::text(""),
            Cell::text(&valid),
            Cell::text(&answer(execution)),
            ended(execution.ended()),
        ];
        (execution.ended(), row)
    };
    let of_benchmark = |benchmark: &Loaded| {
        let id = benchmark.id.to_string();
        let row = vec![
            Cell::link(&id, format!("{id}/index.html")),
            Cell::text("benchmark"),
            Cell::text(&benchmark.run.campaign.name),
            Cell::text(&benchmark.run.service.kind),
            Cell::text(&benchmarks::point(benchmark)),
            benchmarks::standing(&benchmark.standing()),
            Cell::text(&benchmark.summary.as_ref().map_or_else(String::new, report::benchmark::answer)),
            ended(benchmark.run.ended_at),
        ];
        (benchmark.run.ended_at, row)
    };
    let mut rows: Vec<_> = executions().map(of_execution).collect();
    let campaigns = rows.len();
    rows.extend(model.contents.benchmarks.iter().map(of_benchmark));
    // Of one time, the campaign stands before its last benchmark.
    rows.sort_by_key(|(ended, _)| std::cmp::Reverse(*ended));
    let columns = ["report", "of", "campaign", "service", "point", "standing", "answer", "ended (UTC)"];
    let lead = format!(
        "{} of campaigns, {} of benchmarks. Each is a text for print, with its data and pictures to download.",
        units::count(campaigns as u64),
        units::count(model.contents.benchmarks.len() as u64)
    );
    let table = Table::new(columns.map(Column::text).into(), rows.into_iter().map(|(_, row)| row).collect());
    let context = List { title: "Reports".to_owned(), lead, table };
    Page::new("reports/index.html".to_owned(), "benchmarks.html", false, context)
}

/// What the first series says, and how many there are more.
fn answer(execution: &Execution<'_>) -> String {
    let first = campaign::says(execution).into_iter().next().unwrap_or_default();
    match execution.sweep.series.len() {
        0 | 1 => first,
        count => format!("{first}; and {} more series", units::count(count as u64 - 1)),
    }
}

fn ended(time: archive::Timestamp) -> Cell {
    Cell::sorted(&benchmarks::minute(time), time.unix_us() as f64)
}

/// The page of a benchmark's report, and the files beside it.
pub fn of_benchmark(benchmark: &Loaded) -> (Page, Vec<File>) {
    let id = benchmark.id.to_string();
    let page = Link { href: format!("../../benchmarks/{id}/index.html"), text: "Page of the benchmark".to_owned() };
    of(&report::benchmark::report(benchmark, None), page, format!("Report on {id}"))
}

/// The same of an execution.
pub fn of_execution(campaign: &Campaign<'_>, execution: &Execution<'_>) -> (Page, Vec<File>) {
    let report = report::sweep::report(&Subject {
        folder: folder_of(campaign.name, execution.key()),
        title: execution.title().to_owned(),
        execution,
        slo: None,
    });
    let href = format!("../../{}", execution_path(campaign, execution));
    of(&report, Link { href, text: "Page of the campaign".to_owned() }, format!("Report: {}", execution.title()))
}

fn of(report: &Report, page: Link, title: String) -> (Page, Vec<File>) {
    let folder = format!("reports/{}", report.folder);
    let files = report.files().into_iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes)).collect();
    let context = Context { title, page, text: report.html() };
    (Page::new(format!("{folder}/index.html"), "report.html", false, context), files)
}
