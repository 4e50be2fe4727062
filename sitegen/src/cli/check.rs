//! `sitegen check`: is every link of a built site good?

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{check::megabytes, objects};

/// Checks a built site: dead links, missing anchors, assets and versions that are not as they were published, its size.
#[derive(Debug, Args)]
pub struct Check {
    /// The folder of all versions.
    #[arg(long, value_name = "DIR", default_value = "site")]
    out: PathBuf,
}

impl Check {
    pub fn execute(self) -> Result<ExitCode> {
        let report = crate::check::check(&self.out)?;
        for finding in &report.findings {
            println!("{finding}");
        }
        for size in &report.sizes {
            eprintln!("{}: {} and shows {}", size.version, megabytes(size.own), megabytes(size.shared));
        }
        if !report.unused.is_empty() {
            let all = report.unused.iter().map(|(_, size)| size).sum();
            eprintln!("no version shows these, {} in all; they can be removed:", megabytes(all));
        }
        for (object, size) in &report.unused {
            eprintln!("  {}/{object} {}", objects::FOLDER, megabytes(*size));
        }
        eprintln!(
            "{} pages, {} links, {} in all, {} findings",
            report.pages,
            report.links,
            megabytes(report.bytes),
            report.findings.len()
        );
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
