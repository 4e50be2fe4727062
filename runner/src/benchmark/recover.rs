//! Finishing what a runner that died began: nothing measured is lost, nothing is left running.

use std::{fs, time::Duration};

use anyhow::{Context, Error, Result};
use archive::Archive;
use nix::sys::signal::Signal;

use super::{Journal, RunFolder, collect, collect::Done, commit, lock_work, remove_retired};
use crate::{
    agent::{self, Layout, ProcessHandle},
    target::is_on_cluster,
};

/// Agents end by themselves when their runner dies; this is how long a service may take to end in order.
const AGENT_PATIENCE: Duration = Duration::from_secs(20);

/// What was found and done.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Benchmarks of dead runners that are in the archive now.
    pub benchmarks: Vec<Done>,
    /// What else was done, for people.
    pub remarks: Vec<String>,
    /// What could not be done; a later command tries again.
    pub errors: Vec<Error>,
    /// Deployments on clusters that nobody watches.
    pub on_clusters: usize,
}

/// Looks for run folders without a living owner, ends what is left of them, and archives what they hold. A
/// folder that cannot be finished stays as it is and hinders nothing else.
pub fn recover(archive: &Archive) -> Recovered {
    let mut recovered = Recovered::default();
    if archive.folder().join(".work").exists()
        && let Err(err) = recover_all(archive, &mut recovered)
    {
        recovered.errors.push(err);
    }
    recovered
}

fn recover_all(archive: &Archive, recovered: &mut Recovered) -> Result<()> {
    let work = archive.work_folder()?;
    let mut adopted = Vec::new();
    {
        let _search = lock_work(&work)?;
        for entry in fs::read_dir(work.join("run")).into_iter().flatten() {
            let folder = entry?.path();
            if let Some(run) =
                RunFolder::adopt(folder.clone()).with_context(|| format!("cannot look at {}", folder.display()))?
            {
                adopted.push(run);
            }
        }
    }
    adopted.sort_by(|a, b| a.layout.folder().cmp(b.layout.folder()));
    for run in adopted {
        let folder = run.layout.folder().to_owned();
        // Its jobs go on by themselves.
        if is_on_cluster(&folder) && Journal::last(&folder).is_some() {
            recovered.on_clusters += 1;
            continue;
        }
        if let Err(err) = finish(archive, run, recovered) {
            recovered.errors.push(err.context(format!("cannot finish {}", folder.display())));
        }
    }
    for entry in fs::read_dir(work.join("removed")).into_iter().flatten() {
        remove_retired(&entry?.path());
    }
    for done in commit::commit_pending(archive)? {
        if done.commit.is_some() {
            recovered.remarks.push(format!("committed {}, which was sealed before", done.id));
        }
        if let Some(reason) = &done.not_committed {
            recovered.remarks.push(format!("{} is still not committed: {reason}", done.id));
        }
    }
    Ok(())
}

/// Archives what one folder of a dead runner holds.
fn finish(archive: &Archive, run: RunFolder, recovered: &mut Recovered) -> Result<()> {
    end_processes(&run.layout, &mut recovered.remarks);
    if Journal::last(run.layout.folder()).is_none() {
        // Never completed: its plan was being written when its runner died.
        let name = run.layout.folder().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        recovered.remarks.push(format!("removed {name}: its runner died before anything was started"));
        return run.retire(archive, false);
    }
    let plan = run.layout.plan()?;
    let mut journal = Journal::open(run.layout.folder())?;
    let benchmarks = collect::deployment(archive, &run.layout, &plan, None)?;
    collect::finish(&run.layout, &mut journal)?;
    for id in collect::not_begun(&plan, &benchmarks) {
        recovered.remarks.push(format!("{id} was not begun when its runner died"));
    }
    recovered.benchmarks.extend(benchmarks);
    run.retire(archive, false)
}

/// Waits for the agents, then ends them and the service if they are still there.
fn end_processes(layout: &Layout, remarks: &mut Vec<String>) {
    let agents: Vec<ProcessHandle> = agent::read_json(&layout.folder().join("agents.json")).unwrap_or_default();
    for agent in agents {
        if !agent.wait_gone(AGENT_PATIENCE) {
            remarks.push(format!("killed agent {} of a dead runner", agent.pid));
            // Its own group, which it leads.
            let _ = agent.signal_group(Signal::SIGKILL);
            agent.wait_gone(Duration::from_secs(5));
        }
    }
    let stray = collect::end_strays(layout);
    if stray > 0 {
        remarks.push(format!("ended {stray} processes that a dead runner had started"));
    }
}
