//! `runner quickstart`: the first campaign and its site, with nothing else installed.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    Global,
    plan::or_report,
    run::{Keeping, execute_plans},
    this_machine,
};
use crate::plan;

/// The campaign of this command, for when it is run outside a checkout.
const CAMPAIGN: &str = include_str!("../../../campaigns/quickstart.yaml");
const FILE: &str = "campaigns/quickstart.yaml";

#[derive(Debug, Args)]
pub struct Quickstart {
    #[command(flatten)]
    keeping: Keeping,
    /// Where the site is written.
    #[arg(long, default_value = "site")]
    out: std::path::PathBuf,
}

impl Quickstart {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let sitegen = beside_us("sitegen")?;
        let text = std::fs::read_to_string(FILE).unwrap_or_else(|_| CAMPAIGN.to_owned());
        let plan = or_report(plan::from_text(FILE, &text, Path::new(""), this_machine()), FILE)?;
        let code = execute_plans(&[plan], &self.keeping, global)?;
        if code == ExitCode::from(2) {
            return Ok(code);
        }
        let status = Command::new(&sitegen)
            .arg("build")
            .arg("--results")
            .arg(&global.results)
            .arg("--out")
            .arg(&self.out)
            .status()
            .with_context(|| format!("cannot start {}", sitegen.display()))?;
        if !status.success() {
            bail!("the results are archived in {}, but the site was not built", global.results.display());
        }
        Ok(code)
    }
}

/// The other program of this project, which is installed in the same folder.
pub fn beside_us(name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    if !path.exists() {
        bail!("`{name}` is not beside {}: build both with `cargo build --release`", own.display());
    }
    Ok(path)
}
