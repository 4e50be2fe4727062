//! What runs beside the service and the clients: the agents.
//!
//! Two agents share one run folder and nothing else: `serve` starts the service, tells when it is ready,
//! samples resources and ends it; `load` drives the load of every point. They meet only in files, so the same
//! agents run as child processes here and as jobs on two nodes of a cluster, and any step can be run by hand.
//! An agent started with `--lifeline` ends when its standard input does: that is how it notices that the
//! runner has died, however it died.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

mod account;
mod calibrate;
mod deployment;
mod events;
mod exec;
mod load;
mod process;
mod program;
mod sample;
mod serve;

pub use deployment::{DeploymentPlan, Layout, PointPlan, SealFacts, Secrets, ServicePlan, ServiceState};
pub use deployment::{read_json, write_json};
pub use events::{Agent, EventLog, find, read_all};
pub use process::{MARK, ProcessHandle, kill_marked, mark};
#[cfg(test)]
pub use program::find as find_program;

/// The hidden `runner agent` commands.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Starts the service of a run folder and ends it when the load is done.
    Serve {
        folder: PathBuf,
        /// End when standard input ends.
        #[arg(long)]
        lifeline: bool,
    },
    /// Drives the load of every point of a run folder.
    Load {
        folder: PathBuf,
        /// End when standard input ends.
        #[arg(long)]
        lifeline: bool,
    },
    /// Becomes PROGRAM, which dies when process PARENT does.
    Exec {
        /// The account to run it under, as UID:GID.
        #[arg(long)]
        account: Option<account::Account>,
        parent: i32,
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Serves the built-in simulator.
    Simulate {
        #[arg(long)]
        host: String,
        #[arg(long)]
        port: u16,
        /// The simulator's settings, as JSON.
        #[arg(long, required_unless_present = "timed")]
        settings: Option<String>,
        /// Serve the timed endpoint in place of the OpenAI-compatible one.
        #[arg(long)]
        timed: bool,
    },
}

impl AgentCommand {
    pub fn execute(self) -> Result<()> {
        match self {
            Self::Serve { folder, lifeline } => serve::run(&folder, lifeline),
            Self::Load { folder, lifeline } => load::run(&folder, lifeline),
            Self::Exec { account, parent, program, args } => exec::run(parent, account, &program, &args),
            Self::Simulate { host, port, timed: true, .. } => crate::simulator::timed::serve(&host, port),
            Self::Simulate { host, port, settings, .. } => {
                crate::simulator::serve(serde_json::from_str(&settings.unwrap_or_default())?, &host, port)
            }
        }
    }
}
