//! Going on with deployments on clusters that another command began, and may have left at any point.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use archive::{Archive, BenchmarkId};

use super::{
    Deployment, RunFolder, Until, drive,
    drive::Driven,
    journal::{Journal, State},
    lock_work,
};
use crate::{
    agent::Layout,
    console::Console,
    interrupt::Interrupt,
    target::{Gone, Targets, Unreachable, is_on_cluster},
};

/// What to do with the deployments that are found.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// Only those that these benchmarks are of; empty: all.
    pub only: Vec<BenchmarkId>,
    /// Ask for their early end first.
    pub stop: bool,
    pub wait: bool,
    pub keep: bool,
}

/// An unfinished deployment.
#[derive(Debug)]
pub struct Unfinished {
    pub folder: PathBuf,
    pub target: String,
    pub campaign: String,
    pub state: State,
    pub benchmarks: Vec<BenchmarkId>,
}

/// Every unfinished deployment on a cluster, whether or not a command watches it.
pub fn unfinished(archive: &Archive) -> Result<Vec<Unfinished>> {
    let mut found = under_way(archive)?;
    found.retain(|found| is_on_cluster(&found.folder));
    Ok(found)
}

/// Every deployment that has a run folder: those on clusters, and those that a command here works on.
pub fn under_way(archive: &Archive) -> Result<Vec<Unfinished>> {
    let mut found = Vec::new();
    if !archive.folder().join(".work").exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(archive.work_folder()?.join("run")).into_iter().flatten() {
        let folder = entry?.path();
        let Some(state) = Journal::last(&folder) else { continue };
        // It may have been finished just now.
        let Ok(plan) = Layout::new(&folder).plan() else { continue };
        let campaign = plan.points.first().map(|point| point.campaign.name.clone()).unwrap_or_default();
        let benchmarks = plan.points.iter().map(|point| point.benchmark_id).collect();
        found.push(Unfinished { folder, target: plan.facts.target.name, campaign, state, benchmarks });
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

/// Goes on with every such deployment that no living command has.
pub fn resume(
    archive: &Archive,
    resumption: &Resumption,
    targets: &mut Targets,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Driven> {
    let wanted = |benchmarks: &[BenchmarkId]| {
        resumption.only.is_empty() || benchmarks.iter().any(|id| resumption.only.contains(id))
    };
    let mut adopted: Vec<Result<Deployment>> = Vec::new();
    let mut count = 0;
    let mut before = Driven::default();
    for found in unfinished(archive)?.into_iter().filter(|found| wanted(&found.benchmarks)) {
        match take_up(archive, found, resumption, targets, console) {
            Ok(Some(deployment)) => {
                count += deployment.plan.points.len();
                adopted.push(Ok(deployment));
            }
            Ok(None) => {}
            Err(err) => {
                before.fail(&err);
                if err.is::<Unreachable>() {
                    break;
                }
            }
        }
    }
    if adopted.is_empty() {
        return Ok(before);
    }
    if resumption.stop {
        // All are known to their clusters by now: what they do is asked once for all.
        for deployment in adopted.iter_mut().flatten() {
            if let Err(err) = deployment.cancel() {
                before.fail(&err);
            }
        }
    }
    console.begin("unfinished", count);
    let until = if resumption.wait { Until::Archived } else { Until::Seen };
    let driven = drive(adopted.into_iter(), until, None, archive, resumption.keep, console, interrupt);
    console.finish();
    before.add(driven?);
    Ok(before)
}

/// Takes over what was found, and stops it if that is asked for; `None` where there is nothing to go on with.
fn take_up(
    archive: &Archive,
    found: Unfinished,
    resumption: &Resumption,
    targets: &mut Targets,
    console: &Console,
) -> Result<Option<Deployment>> {
    let run = {
        let _search = lock_work(&archive.work_folder()?)?;
        // Another command may have finished it in the meantime.
        if !found.folder.exists() {
            return Ok(None);
        }
        RunFolder::adopt(found.folder.clone())?
    };
    let Some(run) = run else {
        console.warn(&format!("{} is watched by another command", found.benchmarks[0]));
        return Ok(None);
    };
    // What the journal said before the lock may be old.
    let state = Journal::last(run.layout.folder()).context("the journal is empty")?;
    let plan = run.layout.plan()?;
    let Some(target) = targets.of_folder(run.layout.folder())? else { return Ok(None) };
    let journal = Journal::open(run.layout.folder())?;
    let mut deployment = Deployment::new(run, plan, target, journal, state);
    if resumption.stop {
        match deployment.take_up() {
            Ok(true) => {}
            Ok(false) => {
                deployment.withdraw(archive)?;
                return Ok(None);
            }
            // Its end is found out, and archived, when it is driven.
            Err(err) if err.is::<Gone>() => {}
            Err(err) => return Err(err),
        }
    }
    Ok(Some(deployment))
}
