//! Where a benchmark comes from: its life, its provenance, its machines, its files.

use serde::Serialize;

use crate::{
    load::Loaded,
    pages::{
        Link,
        table::{Cell, Column, Table},
    },
    units,
};

/// A part of the benchmark's life, in hundredths of a drawing's width.
#[derive(Serialize)]
pub struct Span {
    name: String,
    from: f64,
    width: f64,
    /// Which of the drawing's colours.
    class: usize,
    says: String,
}

pub fn events(benchmark: &Loaded) -> Table {
    let run = &benchmark.run;
    let start = run.events.iter().map(|event| event.time).min().unwrap_or(run.created_at);
    let columns = vec![
        Column::number("after", "s"),
        Column::text("event"),
        Column::text("node"),
        Column::text("detail"),
        Column::text("time (UTC)"),
    ];
    let rows = run.events.iter().map(|event| {
        let after = event.time.seconds_since(start);
        vec![
            Cell::sorted(&format!("{after:.3}"), after),
            Cell::text(&event.event),
            Cell::text(event.node.as_deref().unwrap_or("")),
            Cell::text(event.detail.as_deref().unwrap_or("")),
            Cell::text(&event.time.to_string()),
        ]
    });
    Table::new(columns, rows.collect())
}

/// The life of the benchmark between the events that part it.
pub fn lifecycle(benchmark: &Loaded) -> Vec<Span> {
    let run = &benchmark.run;
    let named = |event: &str| match event {
        "started" => Some("starting"),
        "ready" => Some("ready, waiting for load"),
        "point_begun" => Some("warm-up"),
        "warmup_ended" => Some("measured"),
        "point_ended" => Some("ended, collecting"),
        _ => None,
    };
    // Of a deployment that serves a whole sweep, only what concerns this benchmark.
    let own = |event: &&archive::Event| event.benchmark_id.is_none_or(|id| id == benchmark.id);
    let mut events: Vec<_> = run.events.iter().filter(own).collect();
    events.sort_by_key(|event| event.time);
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Vec::new() };
    let whole = last.time.seconds_since(first.time);
    if whole <= 0.0 {
        return Vec::new();
    }
    let at = |event: &archive::Event| event.time.seconds_since(first.time);
    let parts: Vec<_> = events.iter().filter_map(|event| Some((at(event), named(&event.event)?))).collect();
    let ends = parts.iter().skip(1).map(|(start, _)| *start).chain([whole]);
    let spans = parts.iter().zip(ends).enumerate().map(|(class, ((from, name), to))| Span {
        name: (*name).to_owned(),
        from: 100.0 * from / whole,
        width: 100.0 * (to - from) / whole,
        class: class % 5 + 1,
        says: format!("{name}: {} to {} s", units::number(*from), units::number(to)),
    });
    spans.collect()
}

pub fn downloads(benchmark: &Loaded) -> Vec<Link> {
    let id = benchmark.id;
    let mut links = vec![Link { text: "run.json".to_owned(), href: format!("../../api/benchmarks/{id}/run.json") }];
    if benchmark.summary.is_some() {
        links.push(Link { text: "summary.json".to_owned(), href: format!("../../api/benchmarks/{id}/summary.json") });
        links.push(Link { text: "timeline.csv".to_owned(), href: format!("../../api/benchmarks/{id}/timeline.csv") });
    }
    links
}

/// Path of the request records within the archive, unless they are kept outside git.
pub fn raw_file(benchmark: &Loaded) -> Option<String> {
    let in_git = benchmark.requests_bytes.is_some() && !benchmark.requests_external;
    in_git.then(|| format!("{}/requests.jsonl.zst", benchmark.id))
}

/// Where the raw records are; a site does not hold them.
pub fn raw(benchmark: &Loaded) -> String {
    let id = benchmark.id;
    match benchmark.requests_bytes {
        None => "There are no request records.".to_owned(),
        Some(size) if benchmark.requests_external => format!(
            "Request records: {} compressed, kept outside git below results/.raw; `results/{id}/manifest.json` names them.",
            units::bytes(size as f64)
        ),
        Some(size) => format!(
            "Request records: results/{id}/requests.jsonl.zst of the archive, {} compressed.",
            units::bytes(size as f64)
        ),
    }
}

pub fn provenance(benchmark: &Loaded) -> Vec<(String, String)> {
    let run = &benchmark.run;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push((name.to_owned(), value));
        }
    };
    add("Digest of the benchmark", Some(benchmark.digest.clone()));
    add("Tool", Some(format!("{} {}", run.tool.name, run.tool.version)));
    add("sha256 of its executable", run.tool.binary_sha256.clone());
    add("Git commit of the archive", run.git_commit.clone());
    add("Git commit of the recipe", run.recipe.git_commit.clone());
    add("sha256 of uncommitted changes beside the recipe", run.recipe.changes_sha256.clone());
    add("Git commit of the tool", run.tool.git_commit.clone());
    add("sha256 of changes that the tool was built with", run.tool.changes_sha256.clone());
    add("Recipe digest", Some(run.recipe_hash.clone()));
    add("Campaign execution", Some(run.campaign.execution.clone()));
    add("Rerun of", run.rerun_of.map(|id| id.to_string()));
    add("Target", Some(format!("{} ({})", run.target.name, run.target.kind)));
    add(
        "Service",
        Some(match &run.service.version {
            Some(version) => format!("{} ({} {version})", run.service.name, run.service.kind),
            None => format!("{} ({})", run.service.name, run.service.kind),
        }),
    );
    add("Started as", Some(run.service.started_as.clone()));
    add("Image", run.service.image.as_ref().map(|image| image.reference.clone()));
    add("Image digest", run.service.image.as_ref().and_then(|image| image.digest.clone()));
    add("sha256 of the image's file", run.service.image.as_ref().and_then(|image| image.sif_sha256.clone()));
    add("Digest of the model", run.service.model_digest.clone());
    for data in &run.data {
        add(&format!("Data of the {}: {}", data.role, data.path), Some(about(data)));
    }
    add("Command", Some(run.service.command.join(" ")));
    add("sha256 of the program", run.service.program_sha256.clone());
    add("Ready after", run.service.ready_after_s.map(units::duration));
    add("Exit", run.service.exit.clone());
    add(
        "Client",
        Some(format!(
            "{} ({}), {} clients on {} threads",
            run.client.name, run.client.kind, run.client.num_clients, run.client.threads
        )),
    );
    add("Load", Some(serde_json::to_string(&run.client.load).unwrap_or_default()));
    add("Digest of the request sequence", run.client.sequence_digest.clone());
    add("Seeds", Some(format!("campaign {}, benchmark {}", run.seeds.campaign, run.seeds.benchmark)));
    let records = benchmark.requests_bytes.map(|size| {
        let place = if benchmark.requests_external { "outside git, in results/.raw" } else { "in the archive" };
        format!("{} compressed, {place}", units::bytes(size as f64))
    });
    add("Request records", records);
    facts
}

/// What is known of data that a benchmark rested on.
fn about(data: &archive::DataFacts) -> String {
    let size = format!("{} files, {}", data.files, units::bytes(data.size_bytes as f64));
    match (&data.content_sha256, &data.listing_sha256, &data.unknown) {
        (Some(digest), ..) => format!("{size}, sha256 {digest}"),
        (_, Some(digest), _) => format!("{size}, sha256 of names, sizes and times {digest}"),
        (.., Some(why)) => format!("unknown: {why}"),
        _ => size,
    }
}

pub fn nodes(benchmark: &Loaded) -> Option<Table> {
    let nodes = &benchmark.run.nodes;
    if nodes.is_empty() {
        return None;
    }
    let columns = ["node", "roles", "CPU", "CPUs", "memory", "kernel", "governor", "SMT", "virtualisation"];
    let columns = columns.iter().map(|name| Column::text(name)).collect();
    let text = |value: &Option<String>| Cell::text(value.as_deref().unwrap_or("–"));
    let rows = nodes.iter().map(|node| {
        vec![
            Cell::text(&node.hostname),
            Cell::text(&node.roles.join(", ")),
            text(&node.cpu_model),
            node.cpus.map_or_else(Cell::none, |cpus| Cell::count(u64::from(cpus))),
            node.memory_total_bytes.map_or_else(Cell::none, |bytes| Cell::text(&units::bytes(bytes as f64))),
            text(&node.kernel),
            text(&node.cpu_governor),
            Cell::text(match node.smt {
                Some(true) => "on",
                Some(false) => "off",
                None => "–",
            }),
            text(&node.virtualization),
        ]
    });
    Some(Table::new(columns, rows.collect()))
}
