//! Tables of benchmarks for people, and the same as JSON lines for programs.

use anyhow::Result;
use archive::Summary;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::Global;
use crate::{
    benchmark::{Done, status_word},
    console,
    plan::Plan,
    recipe::Metric,
    units,
};

/// Prints finished benchmarks, with the figures that their campaigns ask for.
pub fn print_benchmarks(done: &[Done], plans: &[Plan], global: &Global) -> Result<()> {
    if global.json {
        for benchmark in done {
            super::print(&format!(
                "{}\n",
                as_json(&benchmark.run, benchmark.summary.as_ref(), benchmark.commit.as_deref())
            ))?;
        }
        return Ok(());
    }
    if done.is_empty() {
        return Ok(());
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for point in plans.iter().flat_map(|plan| &plan.points) {
        for metric in &point.recipe.benchmarks.metrics {
            if !metrics.contains(metric) {
                metrics.push(*metric);
            }
        }
    }
    if metrics.is_empty() {
        metrics = vec![Metric::Throughput, Metric::Latency, Metric::Errors];
    }
    let columns: Vec<Column> = metrics.iter().flat_map(|metric| columns(*metric)).collect();
    let mut table = new_table();
    let names = ["benchmark", "point", "rep", "status"].into_iter().chain(columns.iter().map(|column| column.name));
    table.set_header(names.collect::<Vec<_>>());
    for benchmark in done {
        let campaign = &benchmark.run.campaign;
        let mut row = vec![
            benchmark.id.to_string(),
            console::label(&campaign.swept),
            campaign.repetition.to_string(),
            status_word(benchmark.run.status).to_owned(),
        ];
        row.extend(
            columns
                .iter()
                .map(|column| benchmark.summary.as_ref().and_then(column.figure).unwrap_or_else(|| "–".to_owned())),
        );
        table.add_row(row);
    }
    align_right(&mut table, (2..3).chain(4..4 + columns.len()));
    super::print(&format!("{table}\n"))
}

/// Sets the columns of numbers against the right; columns that the table does not have are passed over.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The table with less room between its columns where the terminal is narrower than it.
pub fn fitted(mut table: Table) -> Table {
    let Some(width) = table.width().map(usize::from) else { return table };
    if table.lines().any(|line| line.trim_end().chars().count() > width) {
        table.column_iter_mut().for_each(|column| _ = column.set_padding((0, 1)));
    }
    table
}

pub fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

struct Column {
    name: &'static str,
    figure: fn(&Summary) -> Option<String>,
}

fn columns(metric: Metric) -> Vec<Column> {
    let column = |name, figure| Column { name, figure };
    match metric {
        Metric::Throughput => vec![column("req/s", |s| s.throughput().map(units::figure))],
        Metric::Tps => vec![column("TPS", |s| s.throughput().map(units::figure))],
        Metric::Latency => vec![
            column("p50", |s| s.latency_s.figures.p50.map(units::seconds)),
            column("p95", |s| s.latency_s.figures.p95.map(units::seconds)),
            column("p99", |s| s.latency_s.figures.p99.map(units::seconds)),
        ],
        Metric::Ttft => vec![
            column("TTFT p50", |s| s.ttft_s.as_ref()?.figures.p50.map(units::seconds)),
            column("TTFT p99", |s| s.ttft_s.as_ref()?.figures.p99.map(units::seconds)),
        ],
        Metric::Tpot => vec![column("TPOT p50", |s| s.tpot_s.as_ref()?.figures.p50.map(units::seconds))],
        Metric::Itl => vec![column("ITL p99", |s| s.itl_s.as_ref()?.figures.p99.map(units::seconds))],
        Metric::Tokens => vec![column("tokens/s", |s| s.tokens_per_second.map(units::figure))],
        Metric::Bytes => vec![
            column("sent/s", |s| s.bytes_sent_per_second.map(|rate| units::bytes(rate as u64))),
            column("received/s", |s| s.bytes_received_per_second.map(|rate| units::bytes(rate as u64))),
        ],
        Metric::Errors => vec![
            column("failed", |s| Some(units::grouped(s.failed_requests as i64))),
            column("success %", |s| s.success_rate.map(|rate| format!("{rate:.2}"))),
        ],
        Metric::Resources => vec![column("requests", |s| Some(units::grouped(s.total_requests as i64)))],
    }
}

/// One benchmark as a JSON object of one line.
pub fn as_json(run: &archive::Run, summary: Option<&Summary>, commit: Option<&str>) -> serde_json::Value {
    json!({
        "benchmark_id": run.benchmark_id,
        "campaign": run.campaign.name,
        "execution": run.campaign.execution,
        "swept": run.campaign.swept,
        "repetition": run.campaign.repetition,
        "service_type": run.service.kind,
        "client_type": run.client.kind,
        "num_clients": run.client.num_clients,
        "status": run.status,
        "failure": run.failure,
        "created_at": run.created_at,
        "valid": summary.map(Summary::is_valid),
        "total_requests": summary.map(|summary| summary.total_requests),
        "success_rate": summary.map(|summary| summary.success_rate),
        "requests_per_second": summary.map(|summary| summary.requests_per_second),
        "latency_s": summary.map(|summary| &summary.latency_s.figures),
        "commit": commit,
    })
}
