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

    async fn join(&mut self) -> Result<(), String> {
        self.prepare().await
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use nix::sys::signal::kill;
    use serde_json::json;

    use super::*;
    use crate::{
        load::LoadSpec,
        services::{
            LaunchRequest, Probe, RAW_CLIENT, RAW_SERVICE,
            fixtures::{Driven, drive, free_port, local, probe, spec},
        },
    };

    fn run(spec: LoadSpec, command: &str) -> Driven {
        drive(RAW_CLIENT, local(0), spec, json!({ "command": command })).expect("driven")
    }

    #[test]
    fn exit_codes_are_outcomes_and_output_goes_to_the_log() {
        for (command, expect) in [
            ("echo I am $CLIENT_NAME; echo oops >&2", None),
            ("exit 3", Some("exit code 3")),
            ("kill -9 $$", Some("killed by signal 9")),
            ("no-such-program", Some("exit code 127")),
        ] {
            let driven = run(LoadSpec { clients: 2, ..spec(3) }, command);
            assert_eq!((driven.errors(), driven.requests.len()), (expect.into_iter().collect(), 6), "{command}");
            let log = |client| std::fs::read_to_string(driven.folder.path().join(format!("logs/client-{client}.log")));
            if expect.is_none() {
                assert_eq!(log(1).expect("a log"), "I am client-test-1\noops\n".repeat(3));
                assert_eq!(log(2).expect("a log"), "I am client-test-2\noops\n".repeat(3));
            }
        }
    }

    #[test]
    fn a_run_that_takes_too_long_is_killed_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("pids");
        let command = format!("sleep 1000 & echo $! >> {0}; echo $$ >> {0}; wait", note.display());
        let driven = run(LoadSpec { timeout_s: 0.5, ..spec(2) }, &command);
        assert_eq!((driven.errors(), driven.requests.len()), (vec!["timeout"], 2));
        let pids = std::fs::read_to_string(&note).expect("noted");
        let patience = Instant::now() + Duration::from_secs(30);
        for pid in pids.lines().map(|pid| pid.parse().expect("a number")) {
            while is_running(pid) {
                assert!(Instant::now() < patience, "{pid} lives on");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert_eq!(pids.lines().count(), 4);
    }

    /// Dead processes that nobody has reaped do not count.
    fn is_running(pid: i32) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        kill(Pid::from_raw(pid), None).is_ok() && !state.contains(") Z ")
    }

    #[test]
    fn a_raw_service_is_ready_when_its_port_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let settings = json!({});
        let ask = |port| probe(RAW_SERVICE, &local(port), &settings);
        let ready = Probe::Ready { version: None };
        assert_eq!((ask(listener.local_addr().expect("bound").port()), ask(0)), (ready.clone(), ready));
        assert!(matches!(ask(free_port()), Probe::NotYet(_)));
        let request = LaunchRequest { settings: &settings, host: "", port: 0, scratch: "/tmp".as_ref(), command: None };
        assert!(RAW_SERVICE.launch(&request).is_err());
        let launch = RAW_SERVICE.launch(&LaunchRequest { command: Some("sleep 1"), ..request }).expect("a launch");
        assert_eq!((launch.program.as_str(), launch.args.join(" ").as_str()), ("sh", "-c sleep 1"));
    }
}
