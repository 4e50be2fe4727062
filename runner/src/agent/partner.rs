//! Signs of life between the two jobs of a deployment, which share nothing but a folder.
//!
//! Here a runner watches both agents; on a cluster there may be none, and neither job may wait for a dead one. Clocks of
//! nodes differ, so what counts is that a file changes, by the reader's own clock.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::Agent;

/// Between two signs of life; polite to a file system that thousands share.
const INTERVAL: Duration = Duration::from_secs(3);

/// Gives signs of life until it is dropped.
pub struct Beat {
    over: Arc<AtomicBool>,
}

impl Beat {
    pub fn start(folder: &Path, agent: Agent) -> Result<Self> {
        let path = path(folder, agent);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, "0").with_context(|| format!("cannot write {}", path.display()))?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        thread::spawn(move || {
            for count in 1_u64.. {
                thread::sleep(INTERVAL);
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A full disk may have room again later.
                let _ = fs::write(&path, count.to_string());
            }
        });
        Ok(Self { over })
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Watches the other agent's signs of life.
pub struct Partner {
    path: PathBuf,
    last: Option<Vec<u8>>,
    changed: Instant,
    looked: Instant,
    patience: Duration,
}

impl Partner {
    pub fn new(folder: &Path, agent: Agent, patience: Duration) -> Self {
        let now = Instant::now();
        Self { path: path(folder, agent), last: None, changed: now, looked: now, patience }
    }

    /// Whether it has given none for too long. One that has not begun is waited for as long.
    pub fn is_silent(&mut self) -> bool {
        if self.looked.elapsed() >= INTERVAL / 3 || self.last.is_none() {
            self.looked = Instant::now();
            let now = fs::read(&self.path).ok().filter(|content| !content.is_empty());
            if now.is_some() && now != self.last {
                self.last = now;
                self.changed = self.looked;
            }
        }
        self.changed.elapsed() > self.patience
    }
}

fn path(folder: &Path, agent: Agent) -> PathBuf {
    folder.join("alive").join(agent.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut partner = Partner::new(folder.path(), Agent::Serve, Duration::ZERO);
        assert!(partner.is_silent(), "it never began");
        let beat = Beat::start(folder.path(), Agent::Serve).expect("started");
        let mut partner = Partner::new(folder.path(), Agent::Serve, Duration::from_secs(3600));
        assert!(!partner.is_silent() && partner.last.is_some());
        drop(beat);
        partner.patience = Duration::ZERO;
        partner.looked = Instant::now();
        assert!(partner.is_silent(), "it no longer changes");
    }
}
