//! The events that agents tell each other and the runner, one JSON line each.
//!
//! Each agent appends to a file of its own: two nodes that append to one file of a shared file system would
//! overwrite each other's lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use archive::{BenchmarkId, Event, Timestamp};

use super::Layout;

/// Whose events they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    Serve,
    Load,
}

impl Agent {
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Load => "load",
        }
    }
}

/// Room for the last events of an agent on a full disk.
const RESERVE: usize = 32 << 10;

impl Drop for EventLog {
    fn drop(&mut self) {
        // What is not there need not go.
        let _ = fs::remove_file(&self.reserve);
    }
}

/// Appends the events of one agent.
pub struct EventLog {
    /// None for an agent that leaves the telling to another.
    file: Option<File>,
    /// Takes up room that is given free when there is none left to say why.
    reserve: PathBuf,
    node: String,
}

impl EventLog {
    pub fn open(layout: &Layout, agent: Agent, node: &str) -> Result<Self> {
        let path = path(layout.folder(), agent);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let reserve = path.with_extension("reserve");
        // Without it the events are written all the same, while there is room.
        let _ = fs::write(&reserve, [b'.'; RESERVE]);
        Ok(Self { file: Some(file), reserve, node: node.to_owned() })
    }

    /// Events that nobody asks for.
    pub fn silent() -> Self {
        Self { file: None, reserve: PathBuf::new(), node: String::new() }
    }

    /// Records that `event` happened now.
    pub fn write(&mut self, event: &str, detail: Option<String>, benchmark_id: Option<BenchmarkId>) -> Result<()> {
        self.write_at(Timestamp::now(), event, detail, benchmark_id)
    }

    pub fn write_at(
        &mut self,
        time: Timestamp,
        event: &str,
        detail: Option<String>,
        benchmark_id: Option<BenchmarkId>,
    ) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let event = Event { time, event: event.to_owned(), node: Some(self.node.clone()), detail, benchmark_id };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        let written = file.write_all(&line);
        if written.as_ref().is_err_and(|err| matches!(err.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            fs::remove_file(&self.reserve)?;
            // What there was room for is no whole line.
            file.write_all(b"\n")?;
            file.write_all(&line)?;
        } else {
            written?;
        }
        file.sync_data()?;
        Ok(())
    }
}

/// The events of one agent so far; a line that is still being written is left out.
pub fn read(layout: &Layout, agent: Agent) -> Vec<Event> {
    let text = fs::read_to_string(path(layout.folder(), agent)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The first event of that name. Asked often while the load runs, so only the lines that can be it are parsed.
pub fn find(layout: &Layout, agent: Agent, name: &str) -> Option<Event> {
    let text = fs::read_to_string(path(layout.folder(), agent)).unwrap_or_default();
    let mut events = text.lines().filter(|line| line.contains(name)).filter_map(|line| serde_json::from_str(line).ok());
    events.find(|event: &Event| event.event == name)
}

/// The events of both agents, in order of time.
pub fn read_all(layout: &Layout) -> Vec<Event> {
    let mut events = read(layout, Agent::Serve);
    events.extend(read(layout, Agent::Load));
    events.sort_by_key(|event| event.time);
    events
}

fn path(folder: &Path, agent: Agent) -> PathBuf {
    folder.join("events").join(format!("{}.jsonl", agent.name()))
}
