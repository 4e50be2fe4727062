//! `runner resume`: what other commands left unfinished, here and on clusters, comes to its end.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use archive::{Archive, BenchmarkId};
use clap::Args;

use serde_json::json;

use super::{Global, print, table};
use crate::{
    benchmark::{self, Driven, Resumption},
    console::Console,
    interrupt::Interrupt,
    target::{Targets, slurm::Jobs},
};

/// Archive what runners that died had measured, end what they left running here, and go on with what runs on clusters.
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    which: Which,
    /// Only say what is unfinished on clusters.
    #[arg(long, conflicts_with = "no_wait")]
    list: bool,
    /// Look once, archive what has ended, and leave the rest to itself.
    #[arg(long)]
    no_wait: bool,
}

/// End benchmarks on clusters early; what they measured is kept.
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    which: Which,
}

/// Archive what has ended on clusters; leave the rest to itself.
#[derive(Debug, Args)]
pub struct Collect {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// Benchmarks whose deployments are meant: full ids or unique suffixes (`-007`). All, when none is given.
    #[arg(allow_hyphen_values = true)]
    ids: Vec<String>,
    /// Seconds between two questions to a cluster, in place of the target's `poll`.
    #[arg(long, value_name = "SECONDS", value_parser = super::poll_seconds)]
    poll: Option<f64>,
    /// Keep the run folders, here under RESULTS/.work/kept and on the cluster.
    #[arg(long)]
    keep: bool,
}

impl Resume {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        if self.list {
            return list(global);
        }
        self.which.go_on(!self.no_wait, false, global)
    }
}

impl Stop {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        self.which.go_on(true, true, global)
    }
}

impl Collect {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        self.which.go_on(false, false, global)
    }
}

/// Prints one line a deployment; asks no cluster.
fn list(global: &Global) -> Result<ExitCode> {
    for found in benchmark::unfinished(&Archive::new(&global.results))? {
        let benchmarks: Vec<String> = found.benchmarks.iter().map(BenchmarkId::to_string).collect();
        let jobs = Jobs::read(&found.folder);
        let line = if global.json {
            let fields = json!({"target": found.target, "campaign": found.campaign, "state": found.state, "benchmarks": benchmarks, "jobs": jobs});
            fields.to_string()
        } else {
            let jobs = jobs.map(|jobs| {
                format!(
                    ", jobs {} {} and {} {}",
                    jobs.service.id, jobs.service.state, jobs.client.id, jobs.client.state
                )
            });
            let last = benchmarks
                .last()
                .filter(|_| benchmarks.len() > 1)
                .map(|last| format!(" to {last}"))
                .unwrap_or_default();
            format!(
                "{}{last}  {} on {}: {}{}",
                benchmarks[0],
                found.campaign,
                found.target,
                found.state,
                jobs.unwrap_or_default()
            )
        };
        print(&format!("{line}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn go_on(self, wait: bool, stop: bool, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let mut console = Console::new(global.quiet);
        let only = self.resolved(&archive)?;
        let recovered = if only.is_empty() && !stop {
            super::finish_leftovers(&archive, &console)
        } else {
            benchmark::Recovered::default()
        };
        let interrupt = Interrupt::listen()?;
        let mut targets = Targets::new(self.poll);
        let resumption = Resumption { only, stop, wait, keep: self.keep };
        let driven = benchmark::resume(&archive, &resumption, &mut targets, &mut console, &interrupt);
        targets.account().iter().for_each(|line| tracing::info!("{line}"));
        let driven = driven?;
        if !recovered.errors.is_empty() {
            bail!("{} of what was left unfinished could not be finished", recovered.errors.len());
        }
        if !driven.done.is_empty() {
            table::print_benchmarks(&driven.done, &[], global)?;
        }
        if !driven.errors.is_empty() {
            bail!(driven.errors.join("\n"));
        }
        // A search goes on from what is archived, once all of it is.
        let going_on = wait && !stop && self.ids.is_empty();
        let searches = match going_on {
            true => benchmark::resume_searches(&archive, super::this_machine(), &mut console, &interrupt)?,
            false => Vec::new(),
        };
        let (plans, searched): (Vec<_>, Vec<_>) = searches.into_iter().unzip();
        let mut all = Driven::default();
        searched.into_iter().for_each(|searched| all.add(searched));
        if !all.done.is_empty() {
            table::print_benchmarks(&all.done, &plans, global)?;
        }
        if !all.errors.is_empty() {
            bail!(all.errors.join("\n"));
        }
        if stop && self.ids.is_empty() {
            for name in benchmark::give_up_searches(&archive)? {
                console.say(&format!("the search of {name} is given up"));
            }
        }
        match driven.left {
            0 if !plans.is_empty() => {}
            0 if driven.done.is_empty() && recovered.benchmarks.is_empty() && recovered.remarks.is_empty() => {
                console.say("nothing was left unfinished");
            }
            0 => {}
            1 => console.say("1 deployment goes on"),
            left => console.say(&format!("{left} deployments go on")),
        }
        if interrupt.is_raised() {
            return Ok(ExitCode::from(2));
        }
        let fine = stop || (driven.is_fine() && all.is_fine());
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// The benchmarks that are meant, among those that are unfinished.
    fn resolved(&self, archive: &Archive) -> Result<Vec<BenchmarkId>> {
        let unfinished: Vec<BenchmarkId> =
            benchmark::unfinished(archive)?.into_iter().flat_map(|found| found.benchmarks).collect();
        let find = |text: &String| {
            let fits = |id: &&BenchmarkId| {
                id.to_string() == *text || text.starts_with('-') && id.to_string().ends_with(text.as_str())
            };
            let mut found = unfinished.iter().filter(fits);
            let id = found.next().with_context(|| format!("no unfinished benchmark on a cluster is called {text}"))?;
            if found.next().is_some() {
                bail!("several unfinished benchmarks end in {text}: give more of the id");
            }
            Ok(*id)
        };
        self.ids.iter().map(find).collect()
    }
}
