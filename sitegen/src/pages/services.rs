//! The services that were measured: each version, where, and its newest figures.

use serde::Serialize;

use super::{
    Page, benchmarks, execution_path, plural,
    table::{Cell, Column, Table},
};
use crate::{
    model::{Campaign, Execution, Model, metric::Metric},
    units,
};

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    table: Table,
}

pub fn page(model: &Model<'_>) -> Page {
    let table = table(model, "../");
    let lead = match table.rows.len() {
        0 => "Nothing has been measured yet.".to_owned(),
        count => format!("{} measured, each with its newest execution.", plural(count, "service")),
    };
    let context = Context { title: "Services".to_owned(), lead, table };
    Page::new("services/index.html".to_owned(), "benchmarks.html", false, context)
}

/// One row a service type, version and target; the last measured first.
pub fn table(model: &Model<'_>, to_version: &str) -> Table {
    struct Measured<'m, 'a> {
        campaign: &'m Campaign<'a>,
        newest: &'m Execution<'a>,
        benchmarks: usize,
        valid: usize,
    }
    let mut found: Vec<((&str, &str, &str), Measured<'_, '_>)> = Vec::new();
    for campaign in &model.campaigns {
        for execution in &campaign.executions {
            let run = &execution.first().run;
            let version = run.service.version.as_deref().unwrap_or("version unknown");
            let key = (run.service.kind.as_str(), version, run.target.name.as_str());
            let (benchmarks, valid) = (execution.benchmarks.len(), execution.count_of("valid"));
            match found.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => {
                    known.benchmarks += benchmarks;
                    known.valid += valid;
                    if execution.ended() > known.newest.ended() {
                        (known.campaign, known.newest) = (campaign, execution);
                    }
                }
                None => found.push((key, Measured { campaign, newest: execution, benchmarks, valid })),
            }
        }
    }
    found.sort_by_key(|(_, measured)| std::cmp::Reverse(measured.newest.ended()));
    let columns = vec![
        Column::text("service"),
        Column::text("version"),
        Column::text("target"),
        Column::number("benchmarks", ""),
        Column::number("valid", ""),
        Column::text("newest campaign"),
        Column::number("most throughput there", "/s"),
        Column::text("ended (UTC)"),
    ];
    let rows = found.into_iter().map(|((kind, version, target), measured)| {
        let points = measured.newest.sweep.series.iter().flat_map(|series| &series.points);
        let most = points.filter_map(|point| Some((point.median(Metric::Throughput)?, point.valid().count())));
        let most = most.max_by(|a, b| a.0.total_cmp(&b.0));
        let ended = measured.newest.ended();
        vec![
            Cell::text(kind),
            Cell::text(version),
            Cell::text(target),
            Cell::count(measured.benchmarks as u64),
            Cell::count(measured.valid as u64),
            Cell::link(
                measured.campaign.title(),
                format!("{to_version}{}", execution_path(measured.campaign, measured.newest)),
            ),
            match most {
                Some((most, 1)) => Cell::sorted(&format!("{} (n = 1)", units::number(most)), most),
                Some((most, _)) => Cell::sorted(&units::number(most), most),
                None => Cell::none(),
            },
            Cell::sorted(&benchmarks::minute(ended), ended.unix_us() as f64),
        ]
    });
    Table::new(columns, rows.collect())
        .with_note(Some("Throughput: the median of the repetitions at the best point.".to_owned()))
}
