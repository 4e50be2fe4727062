//! The list of all campaigns, each with the answer of its newest execution.

use serde::Serialize;

use super::{
    Page, benchmarks, campaign, campaign_path, diffs, plural,
    table::{Cell, Column, Table},
};
use crate::model::Model;

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    table: Table,
}

pub fn page(model: &Model<'_>) -> Page {
    let columns = vec![
        Column::text("campaign"),
        Column::text("name"),
        Column::text("service"),
        Column::text("target"),
        Column::text("newest answer"),
        Column::number("executions", ""),
        Column::text("valid"),
        Column::text("against the one before"),
        Column::text("ended (UTC)"),
    ];
    let rows = model.campaigns.iter().map(|one| {
        let newest = one.newest();
        let run = &newest.first().run;
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        let diff = model.diff_of(newest);
        let mut says = campaign::says(newest).into_iter();
        let more = match newest.sweep.series.len() {
            0 | 1 => String::new(),
            count => format!("; and {} more", plural(count - 1, "configuration")),
        };
        vec![
            Cell::link(one.title(), format!("../{}", campaign_path(one))),
            Cell::text(one.name),
            Cell::text(&format!("{} {version}", run.service.kind)),
            Cell::text(&run.target.name),
            Cell::text(&format!("{}{more}", says.next().unwrap_or_default())),
            Cell::count(one.executions.len() as u64),
            Cell::text(&format!("{} of {}", newest.count_of("valid"), newest.planned())),
            match diff {
                Some(diff) => {
                    let word = diffs::verdict_word(diff);
                    Cell::link(word.text, format!("../{}", diffs::path(one, newest))).with_class(word.class)
                }
                None => Cell::text("first execution").with_class("muted"),
            },
            Cell::sorted(&benchmarks::minute(newest.ended()), newest.ended().unix_us() as f64),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let lead = match rows.len() {
        0 => "No campaign has been run yet.".to_owned(),
        count => format!("{}, the newest first.", plural(count, "campaign")),
    };
    let context = Context { title: "Campaigns".to_owned(), lead, table: Table::new(columns, rows) };
    Page::new("campaigns/index.html".to_owned(), "benchmarks.html", false, context)
}
