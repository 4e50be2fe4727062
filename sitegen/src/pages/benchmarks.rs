//! The list of all benchmarks, and the rows that other pages show of it.

use serde::Serialize;

use super::{
    Page, execution_path, plural,
    table::{Cell, Column, Table},
};
use crate::{
    load::Loaded,
    model::{Model, Standing, metric::Metric, sweep::in_words},
    units::{self, TimeUnit},
};

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    table: Table,
    /// The script with all rows, where the page does not have them all.
    source: Option<&'static str>,
}

/// A longer list is read from a data script; the page itself has its newest rows.
const MOST_ROWS: usize = 500;
const FIRST_ROWS: usize = 60;

pub fn page(model: &Model<'_>) -> Page {
    let benchmarks: Vec<&Loaded> = model.contents.benchmarks.iter().rev().collect();
    let count = |word: &str| benchmarks.iter().filter(|benchmark| benchmark.standing().word() == word).count();
    let lead = format!(
        "{}: {} valid, {} invalid, {} failed, {} cancelled.",
        plural(benchmarks.len(), "benchmark"),
        count("valid"),
        count("invalid"),
        count("failed"),
        count("cancelled")
    );
    let shown = match benchmarks.len() > MOST_ROWS {
        true => &benchmarks[..FIRST_ROWS],
        false => &benchmarks,
    };
    let left_out = benchmarks.len() - shown.len();
    let note = (left_out > 0).then(|| {
        format!(
            "Without JavaScript, the newest {FIRST_ROWS}; {} more are in api/benchmarks.json.",
            units::count(left_out as u64)
        )
    });
    let table = table_in(time_unit(&benchmarks), model, shown, "../").with_note(note);
    let source = (left_out > 0).then_some("../data/benchmarks.js");
    let context = Context { title: "Benchmarks".to_owned(), lead, table, source };
    Page::new("benchmarks/index.html".to_owned(), "benchmarks.html", false, context)
}

/// The unit of latencies in a table of these benchmarks.
pub fn time_unit(benchmarks: &[&Loaded]) -> TimeUnit {
    let p99 = Metric::Time(crate::model::metric::Timed::Latency, crate::model::metric::Percentile::P99);
    let values = benchmarks.iter().filter_map(|benchmark| p99.of(benchmark.summary.as_ref()?));
    TimeUnit::for_largest(values.fold(0.0, f64::max))
}

/// One row a benchmark, in the order given. `to_version` leads from the page to the folder of the version.
pub fn table(model: &Model<'_>, benchmarks: &[&Loaded], to_version: &str) -> Table {
    table_in(time_unit(benchmarks), model, benchmarks, to_version)
}

fn table_in(unit: TimeUnit, model: &Model<'_>, benchmarks: &[&Loaded], to_version: &str) -> Table {
    let figure = |benchmark: &Loaded, metric: Metric| metric.of(benchmark.summary.as_ref()?);
    let p50 = Metric::Time(crate::model::metric::Timed::Latency, crate::model::metric::Percentile::P50);
    let p99 = Metric::Time(crate::model::metric::Timed::Latency, crate::model::metric::Percentile::P99);
    let columns = vec![
        Column::text("id"),
        Column::text("campaign"),
        Column::text("service"),
        Column::text("point"),
        Column::number("rep.", ""),
        Column::text("standing"),
        Column::number("throughput", "/s"),
        Column::number("p50", unit.name),
        Column::number("p99", unit.name),
        Column::text("ended (UTC)"),
    ];
    let time = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let rows = benchmarks.iter().map(|benchmark| {
        let run = &benchmark.run;
        let campaign = match model.place_of(benchmark) {
            Some((campaign, execution)) => {
                Cell::link(&run.campaign.name, format!("{to_version}{}", execution_path(campaign, execution)))
            }
            None => Cell::text(&run.campaign.name),
        };
        let id = benchmark.id.to_string();
        vec![
            Cell::link(&id, format!("{to_version}benchmarks/{id}/index.html")),
            campaign,
            Cell::text(&run.service.kind),
            Cell::text(&point(benchmark)),
            Cell::count(u64::from(run.campaign.repetition)),
            standing(&benchmark.standing()),
            Cell::optional(figure(benchmark, Metric::Throughput)),
            time(figure(benchmark, p50)),
            time(figure(benchmark, p99)),
            Cell::sorted(&minute(run.ended_at), run.ended_at.unix_us() as f64),
        ]
    });
    Table::new(columns, rows.collect())
}

pub fn standing(standing: &Standing) -> Cell {
    let class = match standing {
        Standing::Valid => "",
        Standing::Cancelled(_) => "muted",
        Standing::Invalid(_) | Standing::Failed(_) => "bad",
    };
    Cell::text(standing.word()).with_class(class)
}

/// The swept values of a benchmark, with the last part of each path.
pub fn point(benchmark: &Loaded) -> String {
    let parts = benchmark.run.campaign.swept.iter();
    let parts = parts.map(|(path, value)| format!("{} = {}", path.rsplit('.').next().unwrap_or(path), in_words(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// `2026-03-01 12:00`.
pub fn minute(time: archive::Timestamp) -> String {
    time.to_human().get(..16).unwrap_or_default().to_owned()
}
