//! `runner check`: is everything that was written right? Runs nothing, and needs no target.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use super::{Global, OverrideArgs, print, this_machine};
use crate::plan;

#[derive(Debug, clap::Args)]
pub struct Check {
    /// Recipes or campaigns.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl Check {
    /// Prints all findings: for people, or as one JSON object a line. Exit code 1 when one is an error.
    pub fn execute(&self, global: &Global) -> Result<ExitCode> {
        let overrides = self.overrides.to_overrides();
        let mut bad = false;
        for file in &self.files {
            let outcome = plan::make(file, &overrides, this_machine(), false)?;
            bad |= outcome.plan.is_none();
            if global.json {
                for finding in outcome.findings.iter() {
                    print(&format!("{}\n", outcome.findings.to_json(finding)))?;
                }
                continue;
            }
            print(&outcome.findings.render_all())?;
            let file = file.display();
            match outcome.plan {
                Some(plan) if !global.quiet => {
                    let (points, benchmarks) = (plan.points.len(), plan.benchmarks.len());
                    let counted = match &plan.search {
                        Some(search) => format!("searched, at most {} benchmarks", search.most_benchmarks()),
                        None => counted(points, benchmarks),
                    };
                    print(&format!("{file}: fine ({counted})\n"))?;
                }
                Some(_) => {}
                None => print(&format!("{file}: not fine, {}\n", errors(outcome.findings.errors())))?,
            }
        }
        Ok(ExitCode::from(u8::from(bad)))
    }
}

fn errors(count: usize) -> String {
    if count == 1 { "1 error".into() } else { format!("{count} errors") }
}

/// `7 points, 21 benchmarks`
pub fn counted(points: usize, benchmarks: usize) -> String {
    let one = |count: usize, name: &str| if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") };
    format!("{}, {}", one(points, "point"), one(benchmarks, "benchmark"))
}
