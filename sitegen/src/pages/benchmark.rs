//! One benchmark: whether its figures can be trusted, the figures, their course, and where they come from.

mod jobs;
mod origin;
mod tables;

use std::collections::BTreeSet;

use analysis::bottleneck::attribute;
use archive::{Severity, Summary};
use serde::Serialize;
use serde_json::Value;

use self::origin::Span;
use super::{
    Link, Page, benchmarks,
    bottleneck::{self, Limit, LogSummary},
    execution_path_of,
    table::Table,
};
use crate::{
    charts::{self, Chart},
    load::{Loaded, Own},
    model::Standing,
    text::script_json,
    units::{self, TimeUnit},
};

#[derive(Serialize)]
struct Context {
    title: String,
    subtitle: String,
    campaign: Link,
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
    jobs: Option<Table>,
    nodes: Option<Table>,
    rerun: String,
    report: String,
    gates: Option<Table>,
    /// Where its files are: in the site, and in the archive.
    downloads: Vec<Link>,
    raw: String,
    /// The request records within the archive, where git has them.
    raw_file: Option<String>,
    compare: String,
    lifecycle: Vec<Span>,
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
    /// Its end, or the end of that.
    text: String,
    note: Option<String>,
    /// Of a longer one, the script with all that the site has of it.
    src: Option<String>,
    key: Option<String>,
}

/// What of all logs, and of one of its recipe's texts, stands in the page itself.
const LOGS_BYTES: usize = 16 << 10;
const TEXT_BYTES: usize = 16 << 10;

/// `report_files` are those that stand in the folder of its report.
pub fn page(benchmark: &Loaded, own: &Own, report_files: &BTreeSet<String>) -> Page {
    let run = &benchmark.run;
    let summary = benchmark.summary.as_ref();
    let charts: Vec<Chart> = summary.map_or_else(Vec::new, |summary| {
        let spread = charts::density::charts(summary);
        let course = [charts::timeline::requests(summary), charts::timeline::resources(summary, &benchmark.resources)];
        let heat = own.records.as_ref().and_then(|records| charts::heat::chart(summary, &records.heat));
        let devices = charts::devices::charts(summary, &benchmark.resources);
        let over_time = course.into_iter().flatten().chain(devices).chain(heat);
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
    let campaign = Link {
        text: run.campaign.title.as_deref().unwrap_or(&run.campaign.name).to_owned(),
        href: format!("../../{}", execution_path_of(run)),
    };
    let point = benchmarks::point(benchmark);
    let subtitle = [
        run.service.kind.clone(),
        point,
        format!("repetition {} of {}", run.campaign.repetition, run.campaign.repetitions),
        format!("ended {}", run.ended_at.to_human()),
    ];
    let standing = benchmark.standing();
    let findings = summary.map_or_else(Vec::new, findings);
    let (logs, scripts) = logs(&id, &own.logs);
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
        percentiles: summary.and_then(tables::percentiles),
        unsupported: summary.and_then(tables::unsupported),
        operations: summary.and_then(tables::operations),
        clients: tables::clients(own),
        slo: summary.and_then(tables::slo),
        errors: summary.and_then(tables::errors),
        limit: bottleneck::limit("", &attribute(&benchmark.observation()), "../../"),
        events: origin::events(benchmark),
        log_summary: bottleneck::logs(&benchmark.log_report),
        logs,
        recipe_file: run.recipe.file.clone(),
        recipe_text: shortened(run.recipe.text.clone()),
        recipe_reference: run.recipe.recipe_text.clone().map(shortened),
        overrides: run.recipe.overrides.clone(),
        resolved: shortened(pretty(&run.recipe.resolved)),
        provenance: origin::provenance(benchmark),
        jobs: jobs::jobs(benchmark),
        nodes: origin::nodes(benchmark),
        rerun: format!("runner rerun {id}"),
        report: format!("../../reports/{id}/index.html"),
        gates: summary.and_then(tables::gates),
        downloads: origin::downloads(benchmark),
        raw: origin::raw(benchmark),
        raw_file: origin::raw_file(benchmark),
        compare: format!("../../compare/index.html#?a={id}"),
        lifecycle: origin::lifecycle(benchmark),
        charts,
    };
    let mut page =
        Page::with_charts(format!("benchmarks/{id}/index.html"), "benchmark.html", &context.charts, &context);
    page.scripts.extend(scripts);
    page
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

/// The logs of a benchmark, and the scripts with those that are too long for its page.
fn logs(id: &str, logs: &[crate::load::Log]) -> (Vec<LogExcerpt>, Vec<(String, String)>) {
    let share = LOGS_BYTES / logs.len().max(1);
    let mut scripts = Vec::new();
    let excerpt = |(number, log): (usize, &crate::load::Log)| {
        let note = (log.left_out > 0).then(|| {
            format!("The first {} are left out; the archive has the whole file.", units::bytes(log.left_out as f64))
        });
        let mut excerpt = LogExcerpt { name: log.name.clone(), text: log.text.clone(), note, src: None, key: None };
        if log.text.len() > share {
            let key = format!("{id}-{number}");
            let text = [&key, &log.text].map(|text| script_json(&Value::from(text.as_str()))).join(", ");
            scripts.push((format!("data/logs/{key}.js"), format!("siteLog({text});\n")));
            excerpt.text = end_of(&log.text, share).to_owned();
            excerpt.src = Some(format!("../../data/logs/{key}.js"));
            excerpt.key = Some(key);
        }
        excerpt
    };
    (logs.iter().enumerate().map(excerpt).collect(), scripts)
}

/// The last lines of a text, at most so many bytes.
fn end_of(text: &str, most: usize) -> &str {
    let first = (text.len().saturating_sub(most)..text.len()).find(|place| text.is_char_boundary(*place));
    let first = first.unwrap_or(text.len());
    let end = &text[first..];
    end.find('\n').map_or(end, |line_end| &end[line_end + 1..])
}

fn shortened(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        let last = (0..=TEXT_BYTES).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
        text.truncate(last);
        text.push_str("…\n\n(The rest is in run.json, above.)");
    }
    text
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
