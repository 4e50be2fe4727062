//! What was sampled beside the load, and where; what to watch a run with, to download.

use archive::ResourceSample;
use rust_embed::Embed;
use serde::Serialize;

use super::{
    Link, Page, plural,
    table::{Cell, Column, Table},
};
use crate::{model::Model, render::File};

/// Prometheus' configuration and dashboards for Grafana.
#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/monitoring"]
struct Downloads;

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
    table: Table,
    downloads: Vec<Link>,
}

/// What each of the files is, in the order of the page.
const FILES: [(&str, &str); 7] = [
    ("prometheus.yml", "what Prometheus asks, and how often"),
    ("node.json", "dashboard of a machine and its processes"),
    ("redis.json", "dashboard of Redis"),
    ("postgres.json", "dashboard of PostgreSQL"),
    ("vllm.json", "dashboard of vLLM, and of the built-in simulator"),
    ("grafana-source.yml", "tells Grafana where Prometheus is"),
    ("grafana-dashboards.yml", "tells Grafana where the dashboards are"),
];

/// The files that the page offers, beside it.
pub fn files() -> Vec<File> {
    let file = |name: &str| Some((format!("monitoring/{name}"), Downloads::get(name)?.data.into_owned()));
    FILES.iter().filter_map(|(name, _)| file(name)).collect()
}

/// Whether a sample has a quantity.
type Has = fn(&ResourceSample) -> bool;

/// What is sampled, and in what unit.
const QUANTITIES: [(&str, &str, Has); 12] = [
    ("CPU of the service and of the load generator", "% of a core", |s| s.process_cpu_percent.is_some()),
    ("busiest core of the node", "%", |s| s.node_cpu_max_core_percent.is_some()),
    ("resident memory", "bytes", |s| s.process_rss_bytes.is_some()),
    ("memory of the node", "bytes", |s| s.node_memory_used_bytes.is_some()),
    ("CPU pressure (PSI)", "%", |s| s.node_cpu_pressure_percent.is_some()),
    ("memory pressure (PSI)", "%", |s| s.node_memory_pressure_percent.is_some()),
    ("throttling by the control group", "%", |s| s.cgroup_cpu_throttled_percent.is_some()),
    ("TCP retransmissions", "count", |s| s.tcp_retransmits.is_some()),
    ("network interfaces", "bytes/s", |s| !s.interfaces.is_empty()),
    ("disks", "bytes/s, % busy", |s| !s.disks.is_empty()),
    ("GPUs: utilisation, memory, power, clock", "%, bytes, W, MHz", |s| !s.gpus.is_empty()),
    ("what the service says of itself", "its own", |s| !s.service_figures.is_empty()),
];

/// Samples that tell what was sampled: of each quantity the first that has it.
pub fn telling(samples: &[ResourceSample]) -> Vec<ResourceSample> {
    let firsts = QUANTITIES.iter().filter_map(|(_, _, has)| samples.iter().position(has));
    let mut places: Vec<usize> = firsts.chain((!samples.is_empty()).then_some(0)).collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|place| samples[place].clone()).collect()
}

/// One row a quantity that some benchmark has samples of.
pub fn page(model: &Model<'_>) -> Page {
    let benchmarks = &model.contents.benchmarks;
    let sampled = benchmarks.iter().filter(|benchmark| !benchmark.resources.is_empty()).count();
    let rows = QUANTITIES.iter().map(|(name, unit, has)| {
        let with = benchmarks.iter().filter(|benchmark| benchmark.resources.iter().any(has)).count();
        vec![Cell::text(name), Cell::text(unit), Cell::count(with as u64), Cell::text(&sampled.to_string())]
    });
    let columns = vec![
        Column::text("quantity"),
        Column::text("unit"),
        Column::number("benchmarks that have it", ""),
        Column::text("of those with samples"),
    ];
    let lead = format!(
        "{} with samples of what machines and processes did, one a second, on the clock of the requests.",
        plural(sampled, "benchmark")
    );
    let context = Context {
        title: "Monitoring".to_owned(),
        lead,
        table: Table::new(columns, rows.collect()),
        downloads: FILES.map(|(name, what)| Link { text: what.to_owned(), href: name.to_owned() }).into(),
    };
    Page::new("monitoring/index.html".to_owned(), "monitoring.html", false, context)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_offered() {
        let offered: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(offered, Downloads::iter().map(String::from).collect());
        assert_eq!(files().len(), FILES.len());
    }
}
