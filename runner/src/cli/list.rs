//! `runner list`: the benchmarks of the archive, newest first.

use std::process::ExitCode;

use anyhow::Result;
use archive::{Archive, Status};
use clap::{Args, ValueEnum};

use super::{Global, table};
use crate::{benchmark::status_word, console, units};

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
}

impl List {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let mut rows = table::new_table();
        rows.set_header(["benchmark", "campaign", "point", "rep", "service", "status", "req/s", "p99", "created"]);
        for id in archive.ids()?.into_iter().rev() {
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

    fn wants(&self, run: &archive::Run) -> bool {
        let status = self.status.map(|status| match status {
            StatusName::Completed => Status::Completed,
            StatusName::Failed => Status::Failed,
            StatusName::Cancelled => Status::Cancelled,
        });
        self.campaign.as_ref().is_none_or(|name| *name == run.campaign.name)
            && self.service.as_ref().is_none_or(|name| *name == run.service.kind)
            && status.is_none_or(|status| status == run.status)
    }
}
