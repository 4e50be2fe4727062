//! What runs beside the service and the clients: the agents.
//!
//! Two agents share one run folder and nothing else: `serve` starts the service, tells when it is ready,
//! samples resources and ends it; `load` drives the load of every point. They meet only in files, so the same
//! agents run as child processes here and as jobs on two nodes of a cluster, and any step can be run by hand.
//! An agent started with `--lifeline` ends when its standard input does: that is how it notices that the
//! runner has died, however it died.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use clap::{Args, Subcommand};

mod account;
mod calibrate;
mod container;
mod crew;
mod data;
mod deployment;
mod events;
mod exec;
mod load;
mod partner;
mod process;
mod program;
mod rendezvous;
mod sample;
mod serve;

pub use deployment::{DeploymentPlan, Layout, PointPlan, SealFacts, Secrets, ServicePlan, ServiceState};
pub use deployment::{read_json, write_json};
pub use events::{Agent, EventLog, find, read_all};
pub use process::{MARK, ProcessHandle, kill_marked, mark};
pub use program::{find as find_program, obtain};

/// The hidden `runner agent` commands.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Starts the service of a run folder and ends it when the load is done.
    Serve {
        folder: PathBuf,
        /// End when standard input ends.
        #[arg(long)]
        lifeline: bool,
        #[command(flatten)]
        job: JobArgs,
    },
    /// Drives the load of every point of a run folder.
    Load {
        folder: PathBuf,
        /// End when standard input ends.
        #[arg(long)]
        lifeline: bool,
        #[command(flatten)]
        job: JobArgs,
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

/// How an agent behaves that is a job of its own on a cluster.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// The other agent is another job: listen where its node reaches this one, and end when it is gone.
    #[arg(long)]
    job: bool,
    /// Nodes that drive the load together, each by an agent that is a task of the job's step.
    #[arg(long, requires = "job", default_value_t = 1)]
    nodes: u32,
    /// Seconds to do without a sign of life from the other job.
    #[arg(long, requires = "job", default_value_t = 120.0)]
    silence: f64,
    /// Seconds that a ready service waits for its client.
    #[arg(long, requires = "job", default_value_t = 300.0)]
    client_patience: f64,
    /// What runs images: `apptainer`, `singularity` or `podman`.
    #[arg(long, requires = "job")]
    container: Option<String>,
    /// A folder that every container sees, as HOST:CONTAINER.
    #[arg(long, requires = "job")]
    volume: Vec<String>,
    /// A module of the job's that could not be loaded: nothing is to be started without it.
    #[arg(long, requires = "job", value_name = "NAME")]
    without_module: Option<String>,
}

impl JobArgs {
    /// What keeps this job from beginning, if anything.
    fn hindrance(&self) -> Option<String> {
        let missing = self.without_module.as_ref();
        let missing = missing.map(|name| {
            format!("the module `{name}` cannot be loaded on {}; the job's log says why", crate::node::hostname())
        });
        missing.or_else(|| self.begun_again())
    }

    /// What to say when Slurm begins this job again, which must not go on top of what it measured before.
    fn begun_again(&self) -> Option<String> {
        let restarts = std::env::var("SLURM_RESTART_COUNT").ok().filter(|_| self.job)?;
        (restarts != "0").then(|| "Slurm put the job back into the queue and began it again".to_owned())
    }

    fn silence(&self) -> Duration {
        Duration::from_secs_f64(self.silence.clamp(1.0, 1e6))
    }

    fn client_patience(&self) -> Duration {
        Duration::from_secs_f64(self.client_patience.clamp(1.0, 1e6))
    }

    /// Images are kept beside the run folders; those of podman, in its own storage.
    fn runtime(&self, folder: &Path) -> Option<container::Runtime> {
        let images = folder.ancestors().nth(2).unwrap_or(folder).join("images");
        let program = self.container.clone()?;
        Some(container::Runtime { program, volumes: self.volume.clone(), images })
    }
}

impl AgentCommand {
    pub fn execute(self) -> Result<()> {
        match self {
            Self::Serve { folder, lifeline, job } => serve::run(&folder, lifeline, &job),
            Self::Load { folder, lifeline, job } => load::run(&folder, lifeline, &job),
            Self::Exec { account, parent, program, args } => exec::run(parent, account, &program, &args),
            Self::Simulate { host, port, timed: true, .. } => crate::simulator::timed::serve(&host, port),
            Self::Simulate { host, port, settings, .. } => {
                crate::simulator::serve(serde_json::from_str(&settings.unwrap_or_default())?, &host, port)
            }
        }
    }
}
