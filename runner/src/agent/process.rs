//! Processes by an identity that outlives their number: pid and start time.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// A process that leads its own group, as it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessHandle {
    pub pid: i32,
    /// In clock ticks since boot: tells a reused pid from the process that was meant.
    pub start_ticks: u64,
}

impl ProcessHandle {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        Some(Self { pid, start_ticks: stat.starttime })
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(self) -> bool {
        let stat = Process::new(self.pid).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.starttime == self.start_ticks && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Signals its whole process group; a group that is gone is fine.
    pub fn signal_group(self, signal: Signal) -> nix::Result<()> {
        match killpg(Pid::from_raw(self.pid), signal) {
            Err(Errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Waits until it has ended, at most `patience`; `false` if it still runs.
    pub fn wait_gone(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Every process below `root`, and `root` itself, that runs now.
pub fn tree(root: i32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut pids = vec![root];
    while let Some(pid) = pids.pop() {
        let Ok(process) = Process::new(pid) else { continue };
        // Children belong to the thread that forked them.
        for task in process.tasks().into_iter().flatten().flatten() {
            pids.extend(task.children().unwrap_or_default().into_iter().map(|child| child as i32));
        }
        found.push(process);
    }
    found
}

/// Names the run folder in the environment of its agents. Everything that they start inherits it, also what has
/// left its process group or outlived its agent.
pub const MARK: &str = "RUNNER_RUN_FOLDER";

/// The value of [`MARK`].
pub fn mark(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Kills every process that was started for the run folder, its agents too; returns how many. Some programs
/// write over their environment: of those, what is left in the `service`'s group is found.
pub fn kill_marked(folder: &Path, service: Option<ProcessHandle>) -> usize {
    let mark = mark(folder);
    let marked = |process: &Process| {
        process.environ().is_ok_and(|env| env.get(OsStr::new(MARK)).is_some_and(|value| *value == mark))
    };
    let in_group = |process: &Process| {
        let Some(service) = service else { return false };
        // The number of a group is not given again while it has members; a leader of another age has a new group.
        let same = ProcessHandle::of(service.pid).is_none_or(|leader| leader == service);
        same && process.stat().is_ok_and(|stat| stat.pgrp == service.pid && stat.starttime >= service.start_ticks)
    };
    kill_all(|| {
        let all = procfs::process::all_processes().into_iter().flatten().flatten();
        let others = all.filter(|process| process.pid != std::process::id() as i32);
        others.filter(|process| marked(process) || in_group(process)).collect()
    })
}

/// Kills every process below this one. For a child subreaper: what left its group is found here too.
pub fn kill_descendants() {
    let own = std::process::id() as i32;
    kill_all(|| tree(own).into_iter().filter(|process| process.pid != own).collect());
}

/// Kills what `find` finds until it finds nothing that lives; returns how many there were at first.
fn kill_all(find: impl Fn() -> Vec<Process>) -> usize {
    let mut first = None;
    for _ in 0..100 {
        let mut found = find();
        found.retain(|process| process.stat().is_ok_and(|stat| stat.state != 'Z'));
        first.get_or_insert(found.len());
        if found.is_empty() {
            break;
        }
        for process in found {
            // Gone in the meantime is what is wanted.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(10));
    }
    first.unwrap_or_default()
}
