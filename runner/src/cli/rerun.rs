//! `runner rerun WHAT`: archived benchmarks again, linked to the originals, and whether they were reproduced.

use std::{path::PathBuf, process::ExitCode};

use analysis::compare::reproduction::Reproduction;
use anyhow::{Result, bail};
use archive::{Archive, BenchmarkId, Run, ToolFacts};
use clap::Args;

use super::{
    Global,
    compare::sides::Runs,
    run::{Keeping, run_plans},
    this_machine,
};
use crate::{benchmark, console::Console, node, plan};

mod exact;
mod verdict;

/// Repeat archived benchmarks: same recipe, image and requests; tell whether they were reproduced.
///
/// Exit code 1 when a benchmark failed, or was not reproduced.
#[derive(Debug, Args)]
pub struct Rerun {
    /// What to repeat: an id (full, unique suffix `-007`, `latest`), ids with commas, a campaign (`NAME`: its newest
    /// execution, `NAME~1`: the one before), or an execution.
    #[arg(allow_hyphen_values = true)]
    what: String,
    /// Repeat all repetitions of the benchmark's point: one alone often cannot tell.
    #[arg(long)]
    point: bool,
    /// Check the commit out that the original's build was made from, build it, and run with that.
    #[arg(long, conflicts_with = "verdict")]
    exact: bool,
    /// Where that commit is: a clone of the project; the archive's own repository unless given.
    #[arg(long, value_name = "DIR", requires = "exact")]
    source: Option<PathBuf>,
    /// Run although this build resolves the recipe to another digest.
    #[arg(long)]
    force: bool,
    /// Run nothing: tell of archived reruns whether they reproduced their originals.
    #[arg(long, conflicts_with = "point")]
    verdict: bool,
    /// How much a figure may differ, in place of the campaign's: `p99=5` (percent), `success_rate=0.5` (points). May be
    /// given often.
    #[arg(long, value_name = "METRIC=NUMBER", value_parser = super::compare::threshold)]
    threshold: Vec<(String, f64)>,
    #[command(flatten)]
    keeping: Keeping,
}

impl Rerun {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let console = Console::new(global.quiet);
        if self.verdict {
            super::finish_leftovers(&archive, &console);
            let runs = Runs::read(&archive)?;
            let reruns: Vec<BenchmarkId> = self.named(&runs)?.iter().map(|run| run.benchmark_id).collect();
            return self.tell(&archive, &reruns, ExitCode::SUCCESS, global);
        }
        let runs = Runs::read(&archive)?;
        let mut originals: Vec<&Run> = self.named(&runs)?;
        originals.sort_by_key(|run| run.benchmark_id);
        if self.exact {
            return exact::rerun(&archive, self.source.as_deref(), &originals, &console);
        }
        warn_of_another_build(&originals, &console);
        let mut executions: Vec<Vec<Run>> = Vec::new();
        for run in originals {
            match executions.iter_mut().find(|runs| runs[0].campaign.execution == run.campaign.execution) {
                Some(runs) => runs.push(run.clone()),
                None => executions.push(vec![run.clone()]),
            }
        }
        // All of them before the first is run: what cannot be had is told before anything starts.
        let plans: Vec<plan::Plan> = executions
            .iter()
            .map(|originals| plan::repeat(originals, this_machine(), self.force))
            .collect::<Result<_>>()?;
        plans.iter().try_for_each(benchmark::obtain)?;
        drop(runs);
        let (driven, code) = run_plans(&plans, &self.keeping, global)?;
        let reruns: Vec<BenchmarkId> = driven.done.iter().map(|done| done.id).collect();
        if reruns.is_empty() {
            if self.keeping.detach {
                console.say("`runner rerun --verdict ID` tells whether it was reproduced, once it is collected");
            }
            return Ok(code);
        }
        self.tell(&archive, &reruns, code, global)
    }

    /// The runs that were asked for.
    fn named<'r>(&self, runs: &'r Runs<'_>) -> Result<Vec<&'r Run>> {
        let side = runs.side(&self.what, !self.point)?;
        let ids: Vec<BenchmarkId> =
            side.points.iter().flat_map(|point| &point.runs).map(|run| run.benchmark_id).collect();
        let named = |run: &&Run| ids.contains(&run.benchmark_id) && (!self.verdict || run.rerun_of.is_some());
        let named: Vec<&Run> = runs.all().iter().filter(named).collect();
        if named.is_empty() {
            bail!("`{}` is no rerun: `runner rerun {}` makes one, and tells", self.what, self.what);
        }
        Ok(named)
    }

    /// Prints the verdict, which may make the exit code 1.
    fn tell(&self, archive: &Archive, reruns: &[BenchmarkId], code: ExitCode, global: &Global) -> Result<ExitCode> {
        let runs = Runs::read(archive)?;
        let verdicts = verdict::of(&runs, reruns, &self.threshold)?;
        for one in &verdicts {
            match global.json {
                true => super::print(&format!("{}\n", serde_json::to_value(one)?))?,
                false => super::show(&format!("\n{}", verdict::text(one)))?,
            }
        }
        let outcome = Reproduction::of_all(verdicts.iter().map(|one| one.outcome));
        let bad = outcome == Reproduction::NotReproduced || self.keeping.strict && outcome == Reproduction::CannotTell;
        Ok(if code == ExitCode::SUCCESS && bad { ExitCode::from(1) } else { code })
    }
}

/// Says so when the originals were not made by this very program.
fn warn_of_another_build(originals: &[&Run], console: &Console) {
    let own = node::tool();
    let other = originals.iter().find(|run| run.tool.binary_sha256 != own.binary_sha256);
    if let Some(original) = other {
        console.warn(&format!(
            "this is another build than the one that made {}: {} here, {} there; `--exact` runs that one",
            original.benchmark_id,
            build(&own),
            build(&original.tool)
        ));
    }
}

/// A build in words.
fn build(tool: &ToolFacts) -> String {
    let short = |text: &str| text.chars().take(12).collect::<String>();
    let binary =
        tool.binary_sha256.as_deref().map_or_else(|| "unknown".to_owned(), |digest| format!("{}…", short(digest)));
    let commit = tool.git_commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
    format!("{} {} (sha256 {binary}{commit})", tool.name, tool.version)
}
