//! The command line: one file a command.

mod build;
mod check;
mod rebuild;
pub mod report;
mod serve;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Turns the archive of benchmark results into a static site that opens from any folder.
#[derive(Debug, Parser)]
#[command(name = "sitegen", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Build),
    Check(check::Check),
    Rebuild(rebuild::Rebuild),
    Report(report::ReportArgs),
    Serve(serve::Serve),
}

impl Cli {
    pub fn execute(self) -> Result<ExitCode> {
        match self.command {
            Command::Build(build) => build.execute(),
            Command::Check(check) => check.execute(),
            Command::Rebuild(rebuild) => rebuild.execute(),
            Command::Report(report) => report.execute(),
            Command::Serve(serve) => serve.execute(),
        }
    }
}
