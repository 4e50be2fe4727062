//! The jobs that a benchmark on a cluster was: what its archive has of them, as Slurm named it.
//!
//! Jobs of other targets' kinds are not drawn; a field that an archive lacks is a dash.

use archive::Timestamp;
use serde_json::Value;

use crate::{
    load::Loaded,
    pages::table::{Cell, Column, Table},
};

/// One row a job; `None` where the benchmark had none.
pub fn jobs(benchmark: &Loaded) -> Option<Table> {
    let jobs = benchmark.run.target.other.get("jobs")?;
    let jobs: Vec<(&str, &Value)> = ["service", "client"]
        .into_iter()
        .filter_map(|role| Some((role, jobs.get(role).filter(|job| job.is_object())?)))
        .collect();
    if jobs.is_empty() {
        return None;
    }
    let mut columns: Vec<Column> =
        ["job of the", "number", "state", "exit code", "nodes", "partition", "QOS", "account", "submitted (UTC)"]
            .map(Column::text)
            .into();
    columns.extend([Column::number("waited", "s"), Column::number("ran", "s")]);
    let rows = jobs.into_iter().map(|(role, job)| {
        let text = |key: &str| match job[key].as_str() {
            Some(text) if !text.is_empty() => Cell::text(text),
            _ => Cell::text("–"),
        };
        let time = |key: &str| job[key].as_i64();
        let between = |from: Option<i64>, to: Option<i64>| match (from, to) {
            // Whole seconds, as Slurm has them.
            (Some(from), Some(to)) => u64::try_from(to - from).map_or_else(|_| Cell::none(), Cell::count),
            _ => Cell::none(),
        };
        let [submitted, started, ended] = ["submitted_unix_s", "started_unix_s", "ended_unix_s"].map(time);
        let submitted_at = submitted.and_then(|second| Timestamp::from_unix_us(second.checked_mul(1_000_000)?));
        let submitted_at = submitted_at.map(|time| time.to_human());
        let mut row = vec![Cell::text(role)];
        row.extend(["id", "state", "exit_code", "nodes", "partition", "qos", "account"].map(text));
        row.push(Cell::text(submitted_at.as_deref().unwrap_or("–")));
        row.extend([between(submitted, started), between(started, ended)]);
        row
    });
    Some(Table::new(columns, rows.collect()))
}
