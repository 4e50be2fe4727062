//! The workload of a raw client: one run of a shell command is one request, right when it exits with 0.
//!
//! Each run is a process group of its own, which is killed as a whole when it takes too long. What a command
//! prints goes to the client's log and is not looked at.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::Command;

use crate::load::{Client, Connection, Exchange, LoadJob, Outcome, Place, Workload, content_mix};

#[derive(Clone)]
pub struct CommandLoad {
    command: String,
    env: BTreeMap<String, String>,
    /// Base of the clients' names.
    name: String,
    logs: PathBuf,
}

impl CommandLoad {
    /// The clients are named after `CLIENT_NAME` in the job's environment, with a number from 1.
    pub fn new(job: &LoadJob) -> Result<Self> {
        let command = job.command.clone().context("a client without a type needs a `client.command`")?;
        let name = job.env.get("CLIENT_NAME").cloned().unwrap_or_else(|| "client".into());
        Ok(Self { command, env: job.env.clone(), name, logs: job.folder.join("logs") })
    }
}

impl Workload for CommandLoad {
    type Client = CommandClient;

    fn operations(&self) -> &'static [&'static str] {
        &["command"]
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        std::fs::create_dir_all(&self.logs).map_err(|err| format!("cannot create {}: {err}", self.logs.display()))
    }

    async fn connect(&self, client: u32) -> Result<CommandClient, String> {
        let number = client + 1;
        let path = self.logs.join(format!("client-{number}.log"));
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|err| format!("cannot open {}: {err}", path.display()))?;
        let mut env = self.env.clone();
        env.insert("CLIENT_NAME".into(), format!("{}-{number}", self.name));
        Ok(CommandClient { command: self.command.clone(), env, log })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct CommandClient {
    command: String,
    env: BTreeMap<String, String>,
    log: File,
}

impl Client for CommandClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        for exchange in batch {
            exchange.content = Some(content_mix(self.command.as_bytes(), 0));
            exchange.start = Some(Instant::now());
            let outcome = match self.run().await {
                Ok(status) if status.success() => Outcome::Ok,
                Ok(status) => Outcome::Failed(in_words(status).into()),
                Err(reason) => Outcome::Failed(reason.into()),
            };
            exchange.end = Some(Instant::now());
            exchange.outcome = outcome;
        }
        Connection::Reusable
    }
}

impl CommandClient {
    async fn run(&self) -> Result<ExitStatus, String> {
        let log = || self.log.try_clone().map_err(|err| format!("cannot write the log: {err}"));
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|err| format!("cannot start sh: {err}"))?;
        let mut group = Group(child.id());
        let status = child.wait().await.map_err(|err| format!("lost the command: {err}"))?;
        group.0 = None;
        Ok(status)
    }
}

/// Kills the process group of a run that is given up.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|leader| i32::try_from(leader).ok()) {
            // The leader is not reaped yet, so the number is still its own.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}
