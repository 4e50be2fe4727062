//! `runner list-recipes`: the recipes and campaigns in a folder, with their titles.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Global, check::counted, print, this_machine};
use crate::{
    plan::{self, Machine},
    recipe::campaign::Overrides,
};

#[derive(Debug, clap::Args)]
pub struct ListRecipes {
    /// The folder; not its subfolders.
    #[arg(value_name = "DIR", default_value = "campaigns")]
    folder: PathBuf,
}

impl ListRecipes {
    /// One line a file, by name: title, file, points; or the number of errors. With `--json`, an array.
    pub fn execute(&self, global: &Global) -> Result<ExitCode> {
        let folder = self.folder.display();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| format!("cannot read the folder {folder}"))? {
            let path = entry.with_context(|| format!("cannot read the folder {folder}"))?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
        files.sort();
        let mut listed = Vec::new();
        for file in &files {
            // Listing tells what there is, also where secrets are not set.
            let machine = Machine { environment: &|_| Some(String::new()), ..this_machine() };
            let outcome = plan::make(file, &Overrides::default(), machine, false)?;
            let (title, about) = match &outcome.plan {
                Some(plan) => {
                    let title = plan.campaign.title.clone().unwrap_or_else(|| plan.campaign.name.clone());
                    (title, counted(plan.points.len(), plan.benchmarks.len()))
                }
                None => ("-".to_owned(), format!("not fine: see `runner check {}`", file.display())),
            };
            if global.json {
                let (points, benchmarks) =
                    outcome.plan.as_ref().map(|plan| (plan.points.len(), plan.benchmarks.len())).unzip();
                listed.push(json!({
                    "file": file.display().to_string(),
                    "name": outcome.plan.as_ref().map(|plan| plan.campaign.name.clone()),
                    "title": outcome.plan.as_ref().and_then(|plan| plan.campaign.title.clone()),
                    "points": points,
                    "benchmarks": benchmarks,
                    "errors": outcome.findings.errors(),
                }));
            } else {
                print(&format!("{title} ({}): {about}\n", file.display()))?;
            }
        }
        if global.json {
            print(&format!("{:#}\n", json!(listed)))?;
        } else if files.is_empty() && !global.quiet {
            print(&format!("no recipes in {folder}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
