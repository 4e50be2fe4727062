//! One benchmark: whether its figures can be trusted, the figures, their course, and where they come from.

use std::collections::BTreeSet;

use analysis::bottleneck::attribute;
use archive::{Distribution, Severity, Summary};
use serde::Serialize;
use serde_json::Value;

use super::{
    Link, Page, benchmarks,
    bottleneck::{self, Limit, LogSummary},
    execution_path,
    table::{Cell, Column, Table},
};
use crate::{
    charts::{self, Chart},
    load::Loaded,
    model::{
        Model, Standing,
        metric::{limit_in_words, value_in_words},
    },
    units::{self, TimeUnit},
};

#[derive(Serialize)]
struct Context {
    title: String,
    subtitle: String,
    campaign: Option<Link>,
    validity: String,
    /// The validity in one word: a class of the style sheet.
    standing: &'static str,
    findings: Vec<Remark>,
    figures: Vec<Figure>,
    percentiles: Option<Table>,
    unsupported: Option<String>,
    charts: Vec<Chart>,
    operations: Option<Table>,
    clients: Option<Table>,
    slo: Option<Table>,
    errors: Option<Table>,
    limit: Limit,
    events: Table,
    log_summary: Option<LogSummary>,
    logs: Vec<LogExcerpt>,
    recipe_file: String,
    recipe_text: String,
    recipe_reference: Option<String>,
    overrides: Vec<String>,
    resolved: String,
    provenance: Vec<(String, String)>,
    nodes: Option<Table>,
    rerun: String,
    report: String,
    gates: Option<Table>,
    /// Where its files are: in the site, and in the archive.
    downloads: Vec<Link>,
    raw: String,
    compare: String,
    lifecycle: Vec<Span>,
}

/// A part of the benchmark's life, in hundredths of a drawing's width.
#[derive(Serialize)]
struct Span {
    name: String,
    from: f64,
    width: f64,
    /// Which of the drawing's colours.
    class: usize,
    says: String,
}

#[derive(Serialize)]
struct Remark {
    severity: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: String,
    unit: String,
    /// What the value is compared with, or made of.
    note: String,
}

#[derive(Serialize)]
struct LogExcerpt {
    name: String,
    text: String,
    note: Option<String>,
}

/// `report_files` are those that stand in the folder of its report.
pub fn page(model: &Model<'_>, benchmark: &Loaded, report_files: &BTreeSet<String>) -> Page {
    let run = &benchmark.run;
    let summary = benchmark.summary.as_ref();
    let charts: Vec<Chart> = summary.map_or_else(Vec::new, |summary| {
        let spread = charts::density::charts(summary);
        let course = [charts::timeline::requests(summary), charts::timeline::resources(summary, &benchmark.resources)];
        let heat = benchmark.records.as_ref().and_then(|records| charts::heat::chart(summary, &records.heat));
        let over_time = course.into_iter().flatten().chain(heat);
        charts::distribution::chart(summary).into_iter().chain(over_time).chain(spread).collect()
    });
    let charts: Vec<Chart> = charts
        .into_iter()
        .map(|chart| {
            // The report draws the same figures.
            let still = match chart.id.as_str() {
                "distribution" => "latency_percentiles",
                "course" => "throughput_timeline",
                "resources" => "resources",
                "histogram" => "latency_histogram",
                "ecdf" => "latency_ecdf",
                _ => "",
            };
            let still = format!("plots/{still}.svg");
            let id = benchmark.id;
            let has = report_files.contains(&still);
            Chart { still: has.then(|| format!("reports/{id}/{still}")), ..chart }
        })
        .collect();
    let id = benchmark.id.to_string();
    let campaign = model.place_of(benchmark).map(|(campaign, execution)| Link {
        text: campaign.title().to_owned(),
        href: format!("../../{}", execution_path(campaign, execution)),
    });
    let point = benchmarks::point(benchmark);
    let subtitle = [
        run.service.kind.clone(),
        point,
        format!("repetition {} of {}", run.campaign.repetition, run.campaign.repetitions),
        format!("ended {}", run.ended_at.to_human()),
    ];
    let standing = benchmark.standing();
    let findings = summary.map_or_else(Vec::new, findings);
    let context = Context {
        title: id.clone(),
        subtitle: subtitle.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        campaign,
        validity: validity(benchmark, &standing),
        standing: match findings.iter().any(|finding| finding.severity == "warning") {
            true if standing == Standing::Valid => "reserved",
            _ => standing.word(),
        },
        findings,
        figures: summary.map_or_else(Vec::new, figures),
        percentiles: summary.and_then(percentiles),
        unsupported: summary.and_then(unsupported),
        operations: summary.and_then(operations),
        clients: clients(benchmark),
        slo: summary.and_then(slo),
        errors: summary.and_then(errors),
        limit: bottleneck::limit("", &attribute(&benchmark.observation()), "../../"),
        events: events(benchmark),
        log_summary: bottleneck::logs(&benchmark.log_report),
        logs: benchmark.logs.iter().map(log_excerpt).collect(),
        recipe_file: run.recipe.file.clone(),
        recipe_text: run.recipe.text.clone(),
        recipe_reference: run.recipe.recipe_text.clone(),
        overrides: run.recipe.overrides.clone(),
        resolved: pretty(&run.recipe.resolved),
        provenance: provenance(benchmark),
        nodes: nodes(benchmark),
        rerun: format!("runner rerun {id}"),
        report: format!("../../reports/{id}/index.html"),
        gates: summary.and_then(gates),
        downloads: downloads(benchmark),
        raw: raw(benchmark),
        compare: format!("../../compare/index.html#?a={id}"),
        lifecycle: lifecycle(benchmark),
        charts,
    };
    Page::with_charts(format!("benchmarks/{id}/index.html"), "benchmark.html", &context.charts, &context)
}

/// The first line: can the figures be trusted?
fn validity(benchmark: &Loaded, standing: &Standing) -> String {
    let requests = benchmark.summary.as_ref().map(|summary| {
        let figures = &summary.latency_s.figures;
        let unsupported = match figures.unsupported.first() {
            Some(first) => format!(" · {first} and beyond not supported by the sample"),
            None => String::new(),
        };
        let failed = match summary.failed_requests {
            0 => String::new(),
            failed => format!(" · {} failed", units::count(failed)),
        };
        let reservations = summary.findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
        let reservations = match reservations {
            0 => String::new(),
            count => format!(" · {}", super::plural(count, "reservation")),
        };
        format!("{} requests{failed}{unsupported}{reservations}", units::count(summary.total_requests))
    });
    let requests = requests.unwrap_or_else(|| "nothing was measured".to_owned());
    match standing {
        Standing::Valid => format!("Valid · {requests}"),
        Standing::Invalid(reason) => {
            format!("Invalid, not to be used as a measurement of the service: {reason} · {requests}")
        }
        Standing::Failed(reason) => format!("Failed {reason} · {requests}"),
        Standing::Cancelled(reason) => format!("Cancelled {reason} · {requests}"),
    }
}

fn findings(summary: &Summary) -> Vec<Remark> {
    let remark = |finding: &archive::Finding| Remark {
        severity: match finding.severity {
            Severity::Invalid => "invalid",
            Severity::Warning => "warning",
            Severity::Note => "note",
        },
        message: finding.message.clone(),
    };
    summary.findings.iter().map(remark).collect()
}

fn figures(summary: &Summary) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name, value: Option<f64>, unit: &str, note: String| {
        if let Some(value) = value {
            figures.push(Figure { name, value: units::number(value), unit: unit.to_owned(), note });
        }
    };
    let requested = summary.requested_rate.map(|rate| format!("{}/s requested", units::number(rate)));
    add("Throughput", summary.throughput(), "requests/s", requested.unwrap_or_default());
    add("Output tokens", summary.tokens_per_second, "tokens/s", average_tokens(summary));
    if let Some(goodput) = &summary.goodput {
        let share = goodput.ratio.map(|ratio| format!("{} % within the SLO", units::number(ratio * 100.0)));
        add("Goodput", goodput.requests_per_second, "requests/s", share.unwrap_or_default());
    }
    for (name, distribution) in [("Latency", Some(&summary.latency_s)), ("TTFT", summary.ttft_s.as_ref())] {
        let Some(latency) = distribution.map(|distribution| &distribution.figures) else { continue };
        let unit = TimeUnit::for_largest(latency.p99.unwrap_or(0.0));
        let p99 = latency.p99.map(|p99| format!("p99 {}", units::duration(p99))).unwrap_or_default();
        add(
            if name == "TTFT" { "TTFT, median" } else { "Latency, median" },
            latency.p50.map(|p50| unit.of(p50)),
            unit.name,
            p99,
        );
    }
    if let Some(recall) = &summary.recall {
        let low = format!("p10 {}, p1 {}", units::number(recall.p10), units::number(recall.p1));
        add("Recall", Some(recall.avg), "of 1", low);
    }
    let counts = format!("{} of {}", units::count(summary.successful_requests), units::count(summary.total_requests));
    add("Success rate", summary.success_rate, "%", counts);
    add(
        "Window",
        Some(summary.test_duration_s),
        "s",
        format!("{} warm-up requests before it", units::count(summary.warmup_requests)),
    );
    if let Some(received) = summary.bytes_received_per_second.filter(|bytes| *bytes > 0.0) {
        let text = units::bytes(received);
        let (value, unit) = text.split_once(' ').unwrap_or((&text, ""));
        let sent = format!("{}/s sent", units::bytes(summary.bytes_sent_per_second.unwrap_or(0.0)));
        figures.push(Figure { name: "Received", value: value.to_owned(), unit: format!("{unit}/s"), note: sent });
    }
    figures
}

fn average_tokens(summary: &Summary) -> String {
    let part = |value: Option<f64>, what: &str| value.map(|value| format!("{} {what}", units::number(value)));
    let parts = [part(summary.avg_input_tokens, "in"), part(summary.avg_output_tokens, "out")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{} a request", parts.join(", ")) }
}

/// Every sample with its figures; percentiles without ten values beyond them are marked.
fn percentiles(summary: &Summary) -> Option<Table> {
    let samples: [(&str, Option<&Distribution>); 8] = [
        ("latency", Some(&summary.latency_s)),
        ("service time", summary.service_time_s.as_ref()),
        ("send lag", summary.send_lag_s.as_ref()),
        ("first byte", summary.ttfb_s.as_ref()),
        ("TTFT", summary.ttft_s.as_ref()),
        ("TTFT, first chunk of any kind", summary.ttft_first_chunk_s.as_ref()),
        ("TPOT", summary.tpot_s.as_ref()),
        ("ITL", summary.itl_s.as_ref()),
    ];
    let server: Vec<_> = summary.server_s.iter().map(|(name, figures)| (format!("server: {name}"), figures)).collect();
    let samples: Vec<_> = samples
        .into_iter()
        .filter_map(|(name, sample)| Some((name, &sample?.figures)))
        .chain(summary.steps_s.iter().map(|(name, figures)| (name.as_str(), figures)))
        .chain(server.iter().map(|(name, figures)| (name.as_str(), *figures)))
        .filter(|(_, figures)| figures.count > 0)
        .collect();
    let largest = samples.iter().filter_map(|(_, figures)| figures.p99).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let mut columns = vec![Column::text("quantity")];
    let names = ["min", "mean", "std", "p50", "p90", "p95", "p99", "p99.9", "max"];
    columns.extend(names.map(|name| Column::number(name, unit.name)));
    columns.push(Column::number("count", ""));
    let rows: Vec<Vec<Cell>> = samples
        .iter()
        .map(|(name, f)| {
            let values = [f.min, f.avg, f.std, f.p50, f.p90, f.p95, f.p99, f.p999, f.max];
            let cells = names.iter().zip(values).map(|(name, value)| {
                let cell = match value {
                    Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
                    None => Cell::none(),
                };
                let supported = !f.unsupported.iter().any(|unsupported| unsupported == name);
                if supported { cell } else { cell.with_class("unsupported") }
            });
            std::iter::once(Cell::text(name)).chain(cells).chain([Cell::count(f.count)]).collect()
        })
        .collect();
    (!rows.is_empty()).then(|| Table::new(columns, rows))
}

fn unsupported(summary: &Summary) -> Option<String> {
    let first = summary.latency_s.figures.unsupported.first()?;
    Some(format!(
        "Grey: fewer than ten values lie beyond the percentile ({first} and further for latency), so it is not to be relied upon."
    ))
}

fn operations(summary: &Summary) -> Option<Table> {
    if summary.operations.is_empty() {
        return None;
    }
    let unit = TimeUnit::for_largest(summary.latency_s.figures.p99.unwrap_or(0.0));
    let mut columns = vec![
        Column::text("operation"),
        Column::number("requests", ""),
        Column::number("failed", ""),
        Column::number("throughput", "/s"),
    ];
    columns.extend(["p50", "p95", "p99", "max"].map(|name| Column::number(name, unit.name)));
    let time = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let rows = summary.operations.iter().map(|(name, operation)| {
        let latency = &operation.latency_s;
        vec![
            Cell::text(name),
            Cell::count(operation.count),
            Cell::count(operation.failed),
            Cell::optional(operation.throughput),
            time(latency.p50),
            time(latency.p95),
            time(latency.p99),
            time(latency.max),
        ]
    });
    Some(Table::new(columns, rows.collect()))
}

/// Clients in the table, at most.
const MOST_CLIENTS: usize = 64;

/// How clients differ: those with the longest tails first. `None` with one client, or without records.
fn clients(benchmark: &Loaded) -> Option<Table> {
    let clients = &benchmark.records.as_ref()?.clients;
    if clients.len() < 2 {
        return None;
    }
    let mut clients: Vec<_> = clients.iter().collect();
    clients.sort_by(|a, b| b.1.p99_s.unwrap_or(0.0).total_cmp(&a.1.p99_s.unwrap_or(0.0)).then(a.0.cmp(b.0)));
    let left_out = clients.len().saturating_sub(MOST_CLIENTS);
    let largest = clients.iter().filter_map(|(_, figures)| figures.p99_s).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let time = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let columns = vec![
        Column::number("client", ""),
        Column::number("requests", ""),
        Column::number("failed", ""),
        Column::number("p50", unit.name),
        Column::number("p99", unit.name),
    ];
    let few = clients.iter().any(|(_, figures)| figures.requests < 1000);
    let rows = clients.iter().take(MOST_CLIENTS).map(|(number, figures)| {
        let p99 = time(figures.p99_s);
        vec![
            Cell::count(u64::from(**number)),
            Cell::count(figures.requests),
            Cell::count(figures.failed),
            time(figures.p50_s),
            // Ten requests must lie beyond it.
            if figures.requests - figures.failed < 1000 { p99.with_class("unsupported") } else { p99 },
        ]
    });
    let mut note = Vec::new();
    if few {
        note.push("Grey: fewer than ten requests of the client lie beyond its p99.".to_owned());
    }
    if left_out > 0 {
        note.push(format!("{} more clients have shorter tails.", units::count(left_out as u64)));
    }
    let table = Table::new(columns, rows.collect());
    Some(table.with_note((!note.is_empty()).then(|| note.join(" "))))
}

fn slo(summary: &Summary) -> Option<Table> {
    if summary.slo.is_empty() {
        return None;
    }
    let columns = vec![Column::text("limit"), Column::text("measured"), Column::text("kept")];
    let rows = summary.slo.iter().map(|outcome| {
        let measured = match outcome.value {
            Some(value) => value_in_words(&outcome.metric, value),
            None => "not measured".to_owned(),
        };
        let kept = match outcome.met {
            Some(true) => Cell::text("✓ kept").with_class("good"),
            Some(false) => Cell::text("✗ broken").with_class("bad"),
            None => Cell::text("cannot be told").with_class("muted"),
        };
        vec![Cell::text(&limit_in_words(&outcome.metric, outcome.limit)), Cell::text(&measured), kept]
    });
    Some(Table::new(columns, rows.collect()))
}

fn errors(summary: &Summary) -> Option<Table> {
    if summary.error_summary.is_empty() {
        return None;
    }
    let mut errors: Vec<_> = summary.error_summary.iter().collect();
    errors.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let left_out = errors.len().saturating_sub(100);
    let rows = errors.iter().take(100).map(|(text, count)| vec![Cell::text(text), Cell::count(**count)]).collect();
    let table = Table::new(vec![Column::text("error"), Column::number("requests", "")], rows);
    Some(table.with_note((left_out > 0).then(|| format!("{left_out} rarer errors are in summary.json."))))
}

fn events(benchmark: &Loaded) -> Table {
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
fn lifecycle(benchmark: &Loaded) -> Vec<Span> {
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

/// Every validity gate, passed or not.
fn gates(summary: &Summary) -> Option<Table> {
    let columns = ["gate", "outcome", "detail"].map(Column::text);
    let rows = summary.gates.iter().map(|gate| {
        let outcome = match gate.outcome {
            archive::GateOutcome::Passed => Cell::text("✓ passed").with_class("good"),
            archive::GateOutcome::Failed => Cell::text("✗ failed").with_class("bad"),
            archive::GateOutcome::NotApplicable => Cell::text("does not apply").with_class("muted"),
        };
        vec![Cell::text(&gate.code), outcome, Cell::text(&gate.detail)]
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| Table::new(columns.into(), rows))
}

fn downloads(benchmark: &Loaded) -> Vec<Link> {
    let id = benchmark.id;
    let mut links = vec![Link { text: "run.json".to_owned(), href: format!("../../api/benchmarks/{id}/run.json") }];
    if benchmark.summary.is_some() {
        links.push(Link { text: "summary.json".to_owned(), href: format!("../../api/benchmarks/{id}/summary.json") });
        links.push(Link { text: "timeline.csv".to_owned(), href: format!("../../api/benchmarks/{id}/timeline.csv") });
    }
    links
}

/// Where the raw records are; a site does not hold them.
fn raw(benchmark: &Loaded) -> String {
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

fn log_excerpt(log: &crate::load::Log) -> LogExcerpt {
    let note = (log.left_out > 0).then(|| {
        format!("The first {} are left out; the archive has the whole file.", units::bytes(log.left_out as f64))
    });
    LogExcerpt { name: log.name.clone(), text: log.text.clone(), note }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn provenance(benchmark: &Loaded) -> Vec<(String, String)> {
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

fn nodes(benchmark: &Loaded) -> Option<Table> {
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
