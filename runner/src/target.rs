//! Where a deployment runs. A target starts the agents on a run folder and moves files; it knows no service.

use std::path::Path;

use anyhow::{Result, bail};
use archive::TargetFacts;

mod local;

/// What a target can do with a run folder. One value of it serves one deployment.
pub trait Target {
    fn facts(&self) -> TargetFacts;
    /// Starts both agents on the folder, which is complete.
    fn launch(&mut self, folder: &Path) -> Result<()>;
    /// What the agents are doing, without waiting.
    fn status(&mut self) -> Result<AgentStatus>;
    /// Asks the load to end early, keeping what was measured; the service ends after it.
    fn cancel(&mut self) -> Result<()>;
}

/// Whether the agents still run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    Running,
    /// Both have ended; a remark if one of them did not end as it should.
    Ended {
        remark: Option<String>,
    },
}

/// The target of that name.
pub fn of_name(name: &str) -> Result<Box<dyn Target>> {
    match name {
        "local" => Ok(Box::new(local::Local::default())),
        other => bail!("this build runs on target `local` only, not on `{other}`: give `--target local`"),
    }
}
