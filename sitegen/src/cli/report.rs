//! `sitegen report`: a benchmark, an execution of a campaign, or several benchmarks as a folder to hand on.

use std::{path::PathBuf, process::ExitCode};

use analysis::slo;
use anyhow::{Context, Result, bail};
use archive::{Archive, BenchmarkId};
use clap::Args;
use serde_json::json;

use crate::{
    load,
    model::{Execution, Model, sweep::Sweep},
    report::{Report, benchmark, folder_of, sweep},
};

/// Writes reports/<id>/: report.md with the answer on its first page, report.json, and plots/*.png.
///
/// Derived from the archive and never part of it: the same archive gives the same bytes. With --slo, the exit code is 1
/// when a limit is violated.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A benchmark (full id, unique suffix or `latest`), several by space or comma, or a campaign or its execution.
    #[arg(required = true, allow_negative_numbers = true, value_name = "ID|CAMPAIGN")]
    ids: Vec<String>,
    /// Limits in place of those of the recipe, such as `p99=50ms, success_rate>=99`.
    #[arg(long, value_name = "LIMITS")]
    slo: Vec<String>,
    /// The archive to read.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// The folder of all reports.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Print what was written, and the report, as JSON.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    pub fn execute(self) -> Result<ExitCode> {
        let slo = match self.slo.is_empty() {
            true => None,
            false => Some(slo::parse(&self.slo.join(" ")).context("--slo")?),
        };
        let report = self.make(slo.as_ref())?;
        let folder = report.write(&self.out)?;
        if self.json {
            println!("{:#}", json!({ "folder": folder, "report": report.json }));
        } else {
            println!("{}", folder.join("report.md").display());
        }
        Ok(ExitCode::from(u8::from(slo.is_some() && report.violated)))
    }

    fn make(&self, slo: Option<&crate::report::Slo>) -> Result<Report> {
        let archive = Archive::new(&self.results);
        let names: Vec<&str> =
            self.ids.iter().flat_map(|id| id.split([',', ' '])).filter(|name| !name.is_empty()).collect();
        let found: Vec<Result<BenchmarkId>> = names.iter().map(|name| archive.find(name)).collect();
        if let ([name], [Err(_)]) = (&names[..], &found[..])
            && let Some(report) = self.of_campaign(name, slo)?
        {
            return Ok(report);
        }
        let mut ids = found.into_iter().collect::<Result<Vec<_>>>()?;
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            bail!("no benchmark is named");
        }
        let contents = load::load_some(&self.results, &ids)?;
        if let [one] = &contents.benchmarks[..] {
            return Ok(benchmark::report(one, slo));
        }
        let benchmarks: Vec<_> = contents.benchmarks.iter().collect();
        let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let execution = Execution { slug: String::new(), sweep: Sweep::new(&benchmarks), benchmarks };
        Ok(sweep::report(&sweep::Subject {
            folder: format!("sweep-{}", &archive::sha256_hex(all.join(" ").as_bytes())[..12]),
            title: format!("{} benchmarks, {} to {}", ids.len(), all[0], all[all.len() - 1]),
            execution: &execution,
            slo,
        }))
    }

    /// The newest execution of a campaign, or the execution of that name.
    fn of_campaign(&self, name: &str, slo: Option<&crate::report::Slo>) -> Result<Option<Report>> {
        let archive = Archive::new(&self.results);
        let mut ids = Vec::new();
        for id in archive.ids()? {
            let campaign = archive.open(id)?.run()?.campaign;
            if campaign.name == name || campaign.execution == name {
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let contents = load::load_some(&self.results, &ids)?;
        let model = Model::new(&contents);
        let Some(campaign) = model.campaigns.first() else { return Ok(None) };
        let execution = campaign.newest();
        Ok(Some(sweep::report(&sweep::Subject {
            folder: folder_of(campaign.name, execution.key()),
            title: campaign.title().to_owned(),
            execution,
            slo,
        })))
    }
}
