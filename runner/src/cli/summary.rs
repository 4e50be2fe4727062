//! `runner summary ID`: one benchmark on one page.

use std::process::ExitCode;

use anyhow::Result;
use archive::{Archive, Distribution, Severity};
use clap::Args;

use super::{Global, table};
use crate::{benchmark::status_word, console, units};

#[derive(Debug, Args)]
pub struct Summary {
    /// Full id, unique suffix (`-007`) or `latest`.
    id: String,
}

impl Summary {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet))?;
        let benchmark = archive.open(archive.find(&self.id)?)?;
        let (run, summary) = (benchmark.run()?, benchmark.summary()?);
        if global.json {
            println!("{}", serde_json::to_string_pretty(&serde_json::json!({"run": run, "summary": summary}))?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("{} · {} · {}", run.benchmark_id, run.campaign.name, console::label(&run.campaign.swept));
        let status = match &run.failure {
            Some(failure) => format!("{} while {}: {}", status_word(run.status), failure.stage, failure.reason),
            None => status_word(run.status).to_owned(),
        };
        println!("{status}; repetition {} of {}", run.campaign.repetition, run.campaign.repetitions);
        let version = run.service.version.as_deref().unwrap_or("version unknown");
        println!("service  {} ({}), {version}, {}", run.service.name, run.service.kind, run.service.started_as);
        println!(
            "client   {} ({}), {} clients, {} threads",
            run.client.name, run.client.kind, run.client.num_clients, run.client.threads
        );
        println!("created  {}", run.created_at.to_human());
        println!("folder   {}", benchmark.folder.display());
        if let Some(summary) = summary {
            print_figures(&summary);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_figures(summary: &archive::Summary) {
    let rate = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::figure);
    println!(
        "\n{} requests in {}, {} failed, {} warm-up; {} req/s",
        units::grouped(summary.total_requests as i64),
        units::seconds(summary.test_duration_s),
        units::grouped(summary.failed_requests as i64),
        units::grouped(summary.warmup_requests as i64),
        rate(summary.requests_per_second),
    );
    if let Some(tokens) = summary.tokens_per_second {
        println!("{} output tokens/s", units::figure(tokens));
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
    add("TTFT", summary.ttft_s.as_ref());
    add("TPOT", summary.tpot_s.as_ref());
    add("ITL", summary.itl_s.as_ref());
    println!("{rows}");
    for outcome in &summary.slo {
        let word = match outcome.met {
            Some(true) => "met",
            Some(false) => "NOT met",
            None => "not known",
        };
        println!("SLO {} ≤ {}: {word}", outcome.metric, units::figure(outcome.limit));
    }
    for (error, count) in &summary.error_summary {
        println!("{} × {error}", units::grouped(*count as i64));
    }
    for finding in &summary.findings {
        let word = match finding.severity {
            Severity::Invalid => "INVALID",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        println!("{word}: {}", finding.message);
    }
}
