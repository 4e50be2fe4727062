//! `runner list`: the benchmarks of the archive, newest first; before them those that run.

use std::process::ExitCode;

use anyhow::Result;
use archive::{Archive, BenchmarkId, Status};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Global, table};
use crate::{
    agent::Layout,
    benchmark::{self, State, Unfinished, status_word},
    console,
    load::Progress,
    target::slurm::Jobs,
    units,
};

#[derive(Debug, Args)]
pub struct List {
    /// Only benchmarks of this campaign.
    #[arg(long)]
    campaign: Option<String>,
    /// Only benchmarks that ended so.
    #[arg(long)]
    status: Option<StatusName>,
    /// Only benchmarks of this service type.
    #[arg(long)]
    service: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusName {
    Completed,
    Failed,
    Cancelled,
    // Not in the archive yet.
    Running,
}

impl List {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let mut rows = table::new_table();
        rows.set_header(["benchmark", "campaign", "point", "rep", "service", "status", "req/s", "p99", "created"]);
        let known = archive.ids()?;
        for found in benchmark::under_way(&archive)?.into_iter().rev() {
            self.add_running(&found, &known, &mut rows, global)?;
        }
        for id in known.into_iter().rev() {
            let benchmark = archive.open(id)?;
            let (run, summary) = (benchmark.run()?, benchmark.summary()?);
            if !self.wants(&run) {
                continue;
            }
            if global.json {
                super::print(&format!("{}\n", table::as_json(&run, summary.as_ref(), None)))?;
                continue;
            }
            let figures = summary.as_ref();
            rows.add_row([
                id.to_string(),
                run.campaign.name.clone(),
                console::label(&run.campaign.swept),
                run.campaign.repetition.to_string(),
                run.service.kind.clone(),
                status_word(run.status).to_owned(),
                figures.and_then(|s| s.throughput()).map_or_else(|| "–".to_owned(), units::figure),
                figures.and_then(|s| s.latency_s.figures.p99).map_or_else(|| "–".to_owned(), units::seconds),
                run.created_at.to_human(),
            ]);
        }
        table::align_right(&mut rows, [3, 6, 7]);
        if !global.json {
            if rows.row_count() == 0 {
                super::print(&format!("no benchmarks in {}\n", global.results.display()))?;
            } else {
                super::print(&format!("{rows}\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A row for every benchmark of a deployment that is not in the archive yet.
    fn add_running(
        &self,
        found: &Unfinished,
        known: &[BenchmarkId],
        rows: &mut comfy_table::Table,
        global: &Global,
    ) -> Result<()> {
        let layout = Layout::new(&found.folder);
        // It may have been finished just now.
        let Ok(plan) = layout.plan() else { return Ok(()) };
        let fits = self.status.is_none_or(|status| matches!(status, StatusName::Running))
            && self.campaign.as_ref().is_none_or(|name| *name == found.campaign)
            && self.service.as_ref().is_none_or(|name| *name == plan.service.kind);
        if !fits {
            return Ok(());
        }
        let jobs = Jobs::read(&found.folder);
        for point in plan.points.iter().rev().filter(|point| !known.contains(&point.benchmark_id)) {
            let live = Progress::read(&layout.point(point.benchmark_id));
            // The deployment is loading, but this benchmark may still have to wait.
            let state = match (&live, found.state) {
                (None, State::Loading) => State::Ready.to_string(),
                (_, state) => state.to_string(),
            };
            if global.json {
                let fields = json!({
                    "benchmark_id": point.benchmark_id, "status": "running", "state": state, "target": found.target,
                    "campaign": found.campaign, "service": plan.service.kind, "swept": point.campaign.swept,
                    "repetition": point.campaign.repetition, "created_at": plan.facts.created_at, "progress": live,
                    "jobs": jobs,
                });
                super::print(&format!("{fields}\n"))?;
                continue;
            }
            rows.add_row([
                point.benchmark_id.to_string(),
                found.campaign.clone(),
                console::label(&point.campaign.swept),
                point.campaign.repetition.to_string(),
                plan.service.kind.clone(),
                format!("{state} on {}", found.target),
                live.as_ref().map_or_else(|| "–".to_owned(), |live| units::figure(live.requests_per_second)),
                live.and_then(|live| live.latency_p99_s).map_or_else(|| "–".to_owned(), units::seconds),
                plan.facts.created_at.to_human(),
            ]);
        }
        Ok(())
    }

    fn wants(&self, run: &archive::Run) -> bool {
        let status = self.status.map(|status| match status {
            StatusName::Completed => Some(Status::Completed),
            StatusName::Failed => Some(Status::Failed),
            StatusName::Cancelled => Some(Status::Cancelled),
            StatusName::Running => None,
        });
        self.campaign.as_ref().is_none_or(|name| *name == run.campaign.name)
            && self.service.as_ref().is_none_or(|name| *name == run.service.kind)
            && status.is_none_or(|status| status == Some(run.status))
    }
}
