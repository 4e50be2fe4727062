//! `runner report`: hands the archive's figures to `sitegen report`, which writes and draws.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use archive::Archive;
use clap::Args;

use super::{Global, quickstart::beside_us, summary};
use crate::console::Console;

/// Writes reports/<id>/: report.md with the answer on its first page, report.json, and plots/*.png.
///
/// Derived from the archive and never part of it: the same archive gives the same bytes. With --slo, the exit code is 1
/// when a limit is violated.
#[derive(Debug, Args)]
pub struct Report {
    /// A benchmark (full id, unique suffix or `latest`), several by space or comma, or a campaign or its execution.
    #[arg(required = true, allow_negative_numbers = true, value_name = "ID|CAMPAIGN")]
    ids: Vec<String>,
    /// Limits in place of those of the recipe, such as `p99=50ms, success_rate>=99`.
    #[arg(long, value_name = "LIMITS")]
    slo: Vec<String>,
    /// The folder of all reports.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
}

impl Report {
    pub fn execute(&self, global: &Global) -> Result<ExitCode> {
        summary::limits(&self.slo)?;
        let sitegen = beside_us("sitegen")?;
        super::finish_leftovers(&Archive::new(&global.results), &Console::new(global.quiet));
        let mut command = Command::new(&sitegen);
        command.arg("report").arg("--results").arg(&global.results).arg("--out").arg(&self.out);
        for limits in &self.slo {
            command.arg("--slo").arg(limits);
        }
        if global.json {
            command.arg("--json");
        }
        let status = command
            .arg("--")
            .args(&self.ids)
            .status()
            .with_context(|| format!("cannot start {}", sitegen.display()))?;
        match status.code() {
            Some(code @ (0 | 1)) => Ok(ExitCode::from(code as u8)),
            _ => bail!("the report was not written"),
        }
    }
}
