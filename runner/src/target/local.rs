//! This machine: the agents are child processes in process groups of their own.
//!
//! The other end of each agent's standard input is held here and nowhere else, so the kernel closes it when
//! this process dies, however it dies, and the agents end by themselves.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};
use archive::TargetFacts;

use super::{AgentStatus, Target};
use crate::{
    agent::{MARK, ProcessHandle, mark},
    node::OWN_PROGRAM,
};

/// The agents of one deployment on this machine.
#[derive(Default)]
pub struct Local {
    serve: Option<AgentProcess>,
    load: Option<AgentProcess>,
    remark: Option<String>,
}

struct AgentProcess {
    child: Child,
    /// Dropped to ask the agent to end.
    lifeline: Option<ChildStdin>,
}

impl Target for Local {
    fn facts(&self) -> TargetFacts {
        TargetFacts { name: "local".to_owned(), kind: "local".to_owned(), other: serde_json::Map::new() }
    }

    fn launch(&mut self, folder: &Path) -> Result<()> {
        let serve = start("serve", folder)?;
        let load = start("load", folder)?;
        // For whoever has to clean up should this process not be able to.
        let handles: Vec<_> =
            [&serve, &load].iter().filter_map(|agent| ProcessHandle::of(agent.child.id() as i32)).collect();
        crate::agent::write_json(&folder.join("agents.json"), &handles)?;
        (self.serve, self.load) = (Some(serve), Some(load));
        Ok(())
    }

    fn status(&mut self) -> Result<AgentStatus> {
        if let Some(load) = &mut self.load
            && let Some(status) = load.child.try_wait()?
        {
            if !status.success() {
                self.remark = Some(format!("the load agent ended with {status}"));
            }
            self.load = None;
            // However the load ended, the service has nothing more to do. An agent that saw it finish is
            // ending already.
            if let Some(serve) = &mut self.serve {
                serve.lifeline = None;
            }
        }
        if let Some(serve) = &mut self.serve
            && let Some(status) = serve.child.try_wait()?
        {
            if !status.success() {
                self.remark = Some(format!("the service agent ended with {status}"));
                // Nobody will tell the load that its service is gone.
                if let Some(load) = &mut self.load {
                    load.lifeline = None;
                }
            }
            self.serve = None;
        }
        Ok(match (&self.serve, &self.load) {
            (None, None) => AgentStatus::Ended { remark: self.remark.take() },
            _ => AgentStatus::Running,
        })
    }

    fn cancel(&mut self) -> Result<()> {
        // The service outlives the load, so that the last requests are answered.
        match &mut self.load {
            Some(load) => load.lifeline = None,
            None => {
                if let Some(serve) = &mut self.serve {
                    serve.lifeline = None;
                }
            }
        }
        Ok(())
    }
}

/// Starts one agent. A group of its own keeps the terminal's Ctrl-C from it: the runner decides.
fn start(agent: &str, folder: &Path) -> Result<AgentProcess> {
    let log = File::create(folder.join(format!("{agent}.log")))?;
    let mut child = Command::new(OWN_PROGRAM)
        .args(["agent", agent, "--lifeline"])
        .arg(folder)
        .arg0("runner")
        .env(MARK, mark(folder))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the {agent} agent"))?;
    let lifeline = child.stdin.take();
    Ok(AgentProcess { child, lifeline })
}
