//! `runner summary ID`: one benchmark on one page.

use std::{fmt::Write, process::ExitCode};

use anyhow::Result;
use archive::{Archive, Distribution, Severity};
use clap::Args;

use super::{Global, metrics, table};
use crate::{benchmark::status_word, console, units};

#[derive(Debug, Args)]
pub struct Summary {
    /// Full id, unique suffix (`-007`) or `latest`.
    #[arg(allow_hyphen_values = true)]
    id: String,
}

impl Summary {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let benchmark = archive.open(archive.find(&self.id)?)?;
        let (run, summary) = (benchmark.run()?, benchmark.summary()?);
        let (bottleneck, logs) = (metrics::attribution(&benchmark)?, metrics::read_logs(&benchmark, &run)?);
        if global.json {
            let value = serde_json::json!({"run": run, "summary": summary, "bottleneck": bottleneck, "logs": logs});
            super::print(&format!("{value:#}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        // Writing to a String cannot fail.
        let mut out = String::new();
        _ = writeln!(out, "{} · {} · {}", run.benchmark_id, run.campaign.name, console::label(&run.campaign.swept));
        let status = match &run.failure {
            Some(failure) => format!("{} while {}: {}", status_word(run.status), failure.stage, failure.reason),
            None => status_word(run.status).to_owned(),
        };
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
        if let Some(summary) = summary {
            figures(&mut out, &summary);
        }
        let (class, confidence) = (bottleneck.class.name(), bottleneck.confidence.name());
        _ = writeln!(out, "\nbottleneck: {class} (confidence {confidence}): {}", bottleneck.summary);
        metrics::log_issues(&mut out, &logs);
        super::print(&out)?;
        Ok(ExitCode::SUCCESS)
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
        rate(summary.requests_per_second),
    );
    if let Some(tokens) = summary.tokens_per_second {
        _ = writeln!(out, "{} output tokens/s", units::figure(tokens));
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
    _ = writeln!(out, "{rows}");
    if summary.operations.len() > 1 {
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
    for outcome in &summary.slo {
        let word = match outcome.met {
            Some(true) => "met",
            Some(false) => "NOT met",
            None => "not known",
        };
        let limit =
            if outcome.metric.ends_with("_s") { units::seconds(outcome.limit) } else { units::figure(outcome.limit) };
        _ = writeln!(out, "SLO {} ≤ {}: {word}", outcome.metric, limit);
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
    for finding in &summary.findings {
        let word = match finding.severity {
            Severity::Invalid => "INVALID",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        _ = writeln!(out, "{word}: {}", finding.message);
    }
}

/// Each kind of operation, over the time in which it was driven.
fn operations(summary: &archive::Summary) -> comfy_table::Table {
    let mut rows = table::new_table();
    rows.set_header(["operation", "n", "failed", "per second", "p50", "p99", "max"]);
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::seconds);
    for (name, operation) in &summary.operations {
        rows.add_row([
            name.clone(),
            units::grouped(operation.count as i64),
            units::grouped(operation.failed as i64),
            operation.throughput.map_or_else(|| "–".to_owned(), units::figure),
            time(operation.latency_s.p50),
            time(operation.latency_s.p99),
            time(operation.latency_s.max),
        ]);
    }
    rows
}
