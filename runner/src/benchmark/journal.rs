//! The journal of one deployment: its states, appended and made durable before anything depends on them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use archive::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a deployment has come. In order; never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Planned,
    /// The folder is where the agents will be.
    Uploaded,
    Submitted,
    Starting,
    Ready,
    Loading,
    Ended,
    /// What the agents wrote is here.
    Collected,
    Sealed,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = serde_json::to_value(self).map_err(|_| std::fmt::Error)?;
        f.write_str(word.as_str().unwrap_or_default())
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    time: Timestamp,
    state: State,
}

/// Appends to `journal.jsonl` in a run folder.
pub struct Journal {
    file: File,
}

impl Journal {
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new().append(true).create(true).open(&path);
        Ok(Self { file: file.with_context(|| format!("cannot open {}", path.display()))? })
    }

    pub fn write(&mut self, state: State) -> Result<()> {
        let mut line = serde_json::to_vec(&Entry { time: Timestamp::now(), state })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        Ok(())
    }

    /// The last state that was written; `None` for a folder that was never completed.
    pub fn last(folder: &Path) -> Option<State> {
        let text = fs::read_to_string(folder.join("journal.jsonl")).ok()?;
        text.lines().rev().find_map(|line| serde_json::from_str::<Entry>(line).ok()).map(|entry| entry.state)
    }
}
