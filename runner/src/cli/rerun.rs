//! `runner rerun ID`: an archived benchmark again: its resolved recipe, its seed, linked to the original.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use archive::Archive;
use clap::Args;

use super::{
    Global,
    plan::or_report,
    run::{Keeping, execute_plans},
    this_machine,
};
use crate::{benchmark::Options, plan};

#[derive(Debug, Args)]
pub struct Rerun {
    /// Full id, unique suffix (`-007`) or `latest`.
    #[arg(allow_hyphen_values = true)]
    id: String,
    #[command(flatten)]
    keeping: Keeping,
}

impl Rerun {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let id = archive.find(&self.id)?;
        let original = archive.open(id)?.run()?;
        let recipe = serde_json::to_string_pretty(&original.recipe.resolved)?;
        let name = format!("the recipe of {id}");
        // Where the original's paths counted from.
        let folder = Path::new(&original.recipe.file).parent().unwrap_or(Path::new(""));
        let mut plan = or_report(plan::from_text(&name, &recipe, folder, this_machine()), &name)?;

        // It is the same point of the same campaign once more, with the same requests.
        plan.campaign.name.clone_from(&original.campaign.name);
        plan.campaign.title.clone_from(&original.campaign.title);
        plan.campaign.seed = original.seeds.campaign;
        plan.campaign.thresholds.clone_from(&original.campaign.thresholds);
        plan.campaign.file.clone_from(&original.recipe.file);
        plan.campaign.text.clone_from(&original.recipe.text);
        plan.campaign.overrides.clone_from(&original.recipe.overrides);
        for point in &mut plan.points {
            point.swept.clone_from(&original.campaign.swept);
            point.recipe_text.clone_from(&original.recipe.recipe_text);
            point.slo.clone_from(&original.campaign.slo);
        }
        for benchmark in &mut plan.benchmarks {
            benchmark.seed = original.seeds.benchmark;
        }
        let options = Options { rerun_of: Some(id), ..self.keeping.options() };
        execute_plans(&[plan], &options, self.keeping.strict, global)
    }
}
