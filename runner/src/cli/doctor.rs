//! `runner doctor [TARGET]`: is everything there?

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Global, print};
use crate::{
    agent::find_program,
    target::{self, slurm::doctor::Check},
};

/// Say what a target has of what campaigns need; exit code 1 when something is missing. Without TARGET: this machine.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The name of a file in campaigns/targets.
    target: Option<String>,
}

impl Doctor {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let checks = match &self.target {
            Some(name) if name != "local" => {
                let mut cluster = target::slurm::Cluster::new(name, target::site(name)?)?;
                // A person waits for the answer.
                cluster.ssh.set_patience(Duration::from_secs(5));
                target::slurm::doctor::examine(&mut cluster)
            }
            _ => here(global),
        };
        let fine = checks.iter().all(|check| check.fine != Some(false));
        if global.json {
            let checks: Vec<_> = checks
                .iter()
                .map(|check| json!({"what": check.what, "fine": check.fine, "says": check.says}))
                .collect();
            print(&format!("{}\n", json!({"fine": fine, "checks": checks})))?;
        } else {
            for check in &checks {
                let mark = match check.fine {
                    Some(true) => "ok",
                    Some(false) => "MISSING",
                    None => "note",
                };
                print(&format!("{mark:<8} {:<10} {}\n", check.what, check.says))?;
            }
        }
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// What this machine needs for any target.
fn here(global: &Global) -> Vec<Check> {
    let program = |what, needed: bool, why: &str| match find_program(what, &[]) {
        Some(path) => Check { what, fine: Some(true), says: path.display().to_string() },
        None => Check { what, fine: needed.then_some(false), says: format!("not on PATH; {why}") },
    };
    let writable = nix::unistd::access(existing(&global.results), nix::unistd::AccessFlags::W_OK).is_ok();
    let archive = Check { what: "archive", fine: Some(writable), says: global.results.display().to_string() };
    vec![
        archive,
        program("git", false, "results are committed without it; needed to push them"),
        program("podman", false, "services run as programs of this machine only"),
        program("ssh", false, "needed for clusters"),
        program("tar", false, "needed for clusters"),
    ]
}

fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}
