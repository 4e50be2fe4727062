//! What limits it, what the logs say and what the service says of itself: the tables of the pages, in Markdown.

use analysis::{ResourceSeries, SeriesUnit, resource_series};

use super::markdown::{Document, escaped};
use crate::{
    load::Loaded,
    pages::{
        bottleneck::{Limit, LogSummary},
        table::Table,
    },
    units,
};

impl Document {
    /// A table of a page.
    pub fn page_table(&mut self, table: &Table) {
        let named = |column: &crate::pages::table::Column| match column.unit.is_empty() {
            true => escaped(&column.name),
            false => escaped(&format!("{}, {}", column.name, column.unit)),
        };
        let names: Vec<(String, bool)> = table.columns.iter().map(|column| (named(column), column.numeric)).collect();
        let columns: Vec<(&str, bool)> = names.iter().map(|(name, numeric)| (name.as_str(), *numeric)).collect();
        // Numbers are padded for columns of one width, which Markdown has none of.
        let cell = |text: &str| escaped(text.trim_end_matches('\u{a0}'));
        let rows: Vec<Vec<String>> =
            table.rows.iter().map(|row| row.iter().map(|of| cell(&of.text)).collect()).collect();
        self.table(&columns, &rows);
        if let Some(note) = &table.note {
            self.block(&escaped(note));
        }
    }
}

/// What limits a benchmark, or each series of a sweep.
pub fn limits(out: &mut Document, limits: &[Limit]) {
    if limits.is_empty() {
        return;
    }
    out.heading(2, "What limits it");
    for limit in limits {
        if !limit.of.is_empty() {
            out.heading(3, &escaped(&limit.of));
        }
        let (class, summary) = (escaped(&limit.class), escaped(&limit.summary));
        out.block(&format!("**{class}** (confidence {}): {summary}.", limit.confidence));
        out.list(limit.recommendations.iter().map(|text| escaped(text)));
        if let Some(evidence) = &limit.evidence {
            out.page_table(evidence);
        }
        if let Some(rejected) = &limit.rejected {
            out.block("Other explanations, and why they are not given:");
            out.page_table(rejected);
        }
        out.block(&format!("Method: {}.", escaped(&limit.method)));
    }
}

/// Nothing without logs.
pub fn logs(out: &mut Document, logs: Option<&LogSummary>) {
    let Some(logs) = logs else { return };
    out.heading(2, "Logs");
    out.block(&escaped(&logs.says));
    if let Some(table) = &logs.table {
        out.page_table(table);
    }
}

/// The figures that the service gave of itself while it was measured: `requests waiting`, `kv cache used`.
pub fn service_figures(benchmark: &Loaded) -> Vec<ResourceSeries> {
    const SAYS: &str = "says: ";
    let window = benchmark.summary.as_ref().map_or([0.0, f64::INFINITY], |summary| summary.window_s);
    let mut series = resource_series(&benchmark.resources, window);
    series.retain(|one| one.name.starts_with(SAYS));
    for one in &mut series {
        let name = one.name.trim_start_matches(SAYS);
        one.name = name.strip_suffix(" percent").filter(|_| one.unit == SeriesUnit::Percent).unwrap_or(name).to_owned();
    }
    series
}

/// Nothing where the service says nothing.
pub fn service(out: &mut Document, series: &[ResourceSeries]) {
    if series.is_empty() {
        return;
    }
    out.heading(3, "What the service says of itself");
    let value = |value: Option<f64>, unit: SeriesUnit| match (value, unit) {
        (Some(value), SeriesUnit::Percent) => format!("{} %", units::number(value)),
        (Some(value), _) => units::number(value),
        (None, _) => "–".to_owned(),
    };
    let row = |one: &ResourceSeries| {
        vec![
            escaped(&one.name),
            value(one.mean, one.unit),
            value(one.max, one.unit),
            units::count(one.points.len() as u64),
        ]
    };
    let rows: Vec<Vec<String>> = series.iter().map(row).collect();
    out.table(&[("figure", false), ("mean", true), ("largest", true), ("samples", true)], &rows);
    out.block("Mean and largest value within the measurement window.");
}
