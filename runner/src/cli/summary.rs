//! `runner summary ID`: one benchmark, or one execution of a campaign, on one page.

mod campaign;
mod draw;

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use analysis::{
    Assessment, LimitVerdict,
    assessment::{SloSource, assess},
    slo,
};
use anyhow::{Context, Result};
use archive::{Archive, Distribution};
use clap::Args;

use super::{Global, metrics, table};
use crate::{benchmark::status_word, console, units};

/// Shows what was measured, whether it can be trusted, the figures with their 95 % intervals, and whether limits were kept.
///
/// With --slo, the exit code is 1 when a limit is violated, or when there is no valid measurement to hold to it.
#[derive(Debug, Args)]
pub struct Summary {
    /// Full id, unique suffix (`-007`) or `latest`; or a campaign (its newest execution) or an execution.
    #[arg(allow_hyphen_values = true, value_name = "ID|CAMPAIGN")]
    id: String,
    /// Limits in place of those of the recipe, such as `p99=50ms, success_rate>=99`.
    #[arg(long, value_name = "LIMITS")]
    slo: Vec<String>,
}

impl Summary {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let slo = limits(&self.slo)?;
        let id = match archive.find(&self.id) {
            Ok(id) => id,
            Err(err) => {
                return match campaign::find(&archive, &self.id)? {
                    Some(execution) => campaign::show(&execution, slo.as_ref(), global),
                    None => Err(err),
                };
            }
        };
        let benchmark = archive.open(id)?;
        let (run, summary) = (benchmark.run()?, benchmark.summary()?);
        let (bottleneck, logs) = (metrics::attribution(&benchmark)?, metrics::read_logs(&benchmark, &run)?);
        let assessment = assess(&run, summary.as_ref(), slo.as_ref());
        let violated = assessment.is_bad();
        let code = ExitCode::from(u8::from(slo.is_some() && violated));
        if global.json {
            let value = serde_json::json!({"run": run, "summary": summary, "assessment": assessment, "bottleneck": bottleneck, "logs": logs});
            super::print(&format!("{value:#}\n"))?;
            return Ok(code);
        }
        // Writing to a String cannot fail.
        let mut out = String::new();
        _ = writeln!(out, "{} · {} · {}", run.benchmark_id, run.campaign.name, console::label(&run.campaign.swept));
        let status = match &run.failure {
            Some(failure) => format!("{} while {}: {}", status_word(run.status), failure.stage, failure.reason),
            None => status_word(run.status).to_owned(),
        };
        _ = writeln!(out, "{}", verdict(&assessment));
        _ = writeln!(out, "{status}; repetition {} of {}", run.campaign.repetition, run.campaign.repetitions);
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        _ = writeln!(
            out,
            "service  {} ({}), {version}, {}",
            run.service.name, run.service.kind, run.service.started_as
        );
        _ = writeln!(
            out,
            "client   {} ({}), {} clients, {} threads",
            run.client.name, run.client.kind, run.client.num_clients, run.client.threads
        );
        _ = writeln!(out, "created  {}", run.created_at.to_human());
        _ = writeln!(out, "folder   {}", benchmark.folder.display());
        if let Some(left) = console::left_behind(&run) {
            _ = writeln!(out, "left on the service: {left}");
        }
        if let Some(summary) = &summary {
            figures(&mut out, summary);
            draw::plots(&mut out, summary, &assessment);
        }
        let (class, confidence) = (bottleneck.class.name(), bottleneck.confidence.name());
        _ = writeln!(out, "\nbottleneck: {class} (confidence {confidence}): {}", bottleneck.summary);
        metrics::log_issues(&mut out, &logs);
        conclusions(&mut out, &assessment);
        super::show(&out)?;
        Ok(code)
    }
}

/// The limits of `--slo`, given once or often; `None` when it is not given.
pub fn limits(given: &[String]) -> Result<Option<BTreeMap<String, f64>>> {
    match given {
        [] => Ok(None),
        given => slo::parse(&given.join(" ")).context("--slo").map(Some),
    }
}

/// `PASS: met: …`, in one line.
fn verdict(assessment: &Assessment) -> String {
    format!("{}: {}", assessment.verdict.word.in_words(), assessment.verdict.reason)
}

/// Limits, findings and what to do, with words for people.
fn conclusions(out: &mut String, assessment: &Assessment) {
    if !assessment.slo.is_empty() {
        let source = match assessment.slo_source {
            SloSource::Asked => "as asked for",
            SloSource::Recipe => "of the recipe",
            SloSource::Default | SloSource::None => "default of the service type: the recipe gives none",
        };
        _ = writeln!(out, "\nlimits ({source})");
        let mut rows = table::new_table();
        for check in &assessment.slo {
            let value = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |v| in_unit(&check.metric, v));
            let interval =
                check.interval.map(|interval| format!("[{}, {}]", value(interval.low), value(interval.high)));
            let word = match check.verdict {
                LimitVerdict::Met => "met",
                LimitVerdict::Violated => "VIOLATED",
                LimitVerdict::CannotTell => "cannot tell",
            };
            let interval = interval.unwrap_or_default();
            rows.add_row([format!("  {}", check.notation), value(check.value), interval, word.to_owned()]);
        }
        _ = writeln!(out, "{rows}");
        for check in assessment.slo.iter().filter(|check| check.verdict == LimitVerdict::CannotTell) {
            _ = writeln!(out, "  {}: {}", check.notation, check.reason);
        }
    }
    if !assessment.findings.is_empty() {
        _ = writeln!(out);
    }
    for remark in &assessment.findings {
        _ = writeln!(out, "{}: {}: {}", remark.kind, remark.title, remark.description);
    }
    for advice in &assessment.recommendations {
        _ = writeln!(out, "→ {advice}");
    }
}

/// A value of a limit's metric with its unit.
fn in_unit(metric: &str, value: f64) -> String {
    match metric {
        "success_rate" | "error_rate" => format!("{value:.2} %"),
        "requests_per_second" | "tokens_per_second" => format!("{}/s", units::figure(value)),
        "recall" => format!("{value:.4}"),
        _ => units::seconds(value),
    }
}

fn figures(out: &mut String, summary: &archive::Summary) {
    let rate = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::figure);
    _ = writeln!(
        out,
        "\n{} requests in {}, {} failed, {} warm-up; {} req/s",
        units::grouped(summary.total_requests as i64),
        units::seconds(summary.test_duration_s),
        units::grouped(summary.failed_requests as i64),
        units::grouped(summary.warmup_requests as i64),
        rate(summary.throughput()),
    );
    if let Some(tokens) = summary.tokens_per_second {
        _ = writeln!(out, "{} output tokens/s", units::figure(tokens));
    }
    if let Some(tokens) = summary.tokens_per_chunk.filter(|tokens| (tokens - 1.0).abs() > 0.1) {
        _ = writeln!(
            out,
            "{tokens:.2} output tokens in a chunk: ITL is the gap between chunks, TPOT that between tokens"
        );
    }
    if summary.counted_by_chunk > 0 {
        let requests = units::grouped(summary.counted_by_chunk as i64);
        _ = writeln!(out, "tokens of {requests} requests were counted by chunk: the server gave no count");
    }
    if let Some(cached) = summary.avg_cached_tokens.filter(|cached| *cached > 0.0) {
        _ = writeln!(out, "{cached:.1} input tokens a request came from the server's prompt cache");
    }
    let mut rows = table::new_table();
    rows.set_header(["", "n", "avg", "p50", "p90", "p95", "p99", "p99.9", "max"]);
    let mut add = |name: &str, distribution: Option<&Distribution>| {
        let Some(figures) = distribution.map(|distribution| &distribution.figures) else { return };
        let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::seconds);
        // A percentile that rests on fewer than ten requests is bracketed.
        let percentile = |name: &str, value| {
            if figures.unsupported.iter().any(|unsupported| unsupported == name) {
                format!("({})", time(value))
            } else {
                time(value)
            }
        };
        rows.add_row([
            name.to_owned(),
            units::grouped(figures.count as i64),
            time(figures.avg),
            percentile("p50", figures.p50),
            percentile("p90", figures.p90),
            percentile("p95", figures.p95),
            percentile("p99", figures.p99),
            percentile("p99.9", figures.p999),
            time(figures.max),
        ]);
    };
    add("latency", Some(&summary.latency_s));
    add("service time", summary.service_time_s.as_ref());
    add("send lag", summary.send_lag_s.as_ref());
    add("first byte", summary.ttfb_s.as_ref());
    add("TTFT", summary.ttft_s.as_ref());
    add("TPOT", summary.tpot_s.as_ref());
    add("ITL", summary.itl_s.as_ref());
    for (name, figures) in &summary.steps_s {
        add(name, Some(&Distribution { figures: figures.clone(), histogram: None }));
    }
    for (name, figures) in &summary.server_s {
        add(&format!("server: {name}"), Some(&Distribution { figures: figures.clone(), histogram: None }));
    }
    _ = writeln!(out, "{}", table::fitted(rows));
    let has_vectors = summary.operations.values().any(|operation| operation.vectors_per_second.is_some());
    if summary.operations.len() > 1 || has_vectors {
        _ = writeln!(out, "{}", operations(summary));
    }
    if let Some(recall) = &summary.recall {
        _ = writeln!(
            out,
            "recall {:.4} on average; p10 {:.4}, p1 {:.4}, least {:.4}, of {} searches",
            recall.avg,
            recall.p10,
            recall.p1,
            recall.min,
            units::grouped(recall.count as i64),
        );
    }
    for (error, count) in &summary.error_summary {
        _ = writeln!(out, "{} × {error}", units::grouped(*count as i64));
    }
    if let Some(error) = &summary.calibration {
        let figures = [("latency", error.latency_s), ("TTFT", error.ttft_s), ("ITL", error.itl_s)];
        for (name, figures) in figures.iter().filter_map(|(name, figures)| Some((name, (*figures)?))) {
            let (p50, p99) = (units::seconds(figures.p50), units::seconds(figures.p99));
            _ = writeln!(out, "calibrated: own error of the {name} p50 {p50}, p99 {p99}");
        }
    }
}

/// Each kind of operation, over the time in which it was driven.
fn operations(summary: &archive::Summary) -> comfy_table::Table {
    let mut rows = table::new_table();
    let vectors = summary.operations.values().any(|operation| operation.vectors_per_second.is_some());
    let mut header = vec!["operation", "n", "failed", "driven", "per second", "sent", "received"];
    header.extend(vectors.then_some("vectors/s"));
    rows.set_header(header.into_iter().chain(["p50", "p99", "max"]));
    let rate = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::figure);
    let bytes = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{}/s", units::bytes(value.round() as u64)))
    };
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::seconds);
    for (name, operation) in &summary.operations {
        let mut row = vec![
            name.clone(),
            units::grouped(operation.count as i64),
            units::grouped(operation.failed as i64),
            time(operation.driven_s),
            rate(operation.throughput),
            bytes(operation.bytes_sent_per_second),
            bytes(operation.bytes_received_per_second),
        ];
        row.extend(vectors.then(|| rate(operation.vectors_per_second)));
        row.extend([operation.latency_s.p50, operation.latency_s.p99, operation.latency_s.max].map(time));
        rows.add_row(row);
    }
    rows
}
