//! `runner import FILE…`: benchmarks from elsewhere into the archive.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use archive::{Archive, BenchmarkId};
use clap::Args;
use serde_json::json;

use super::{
    Global,
    place::{self, Place},
};
use crate::{
    benchmark,
    console::Console,
    import::{Imported, import_folder, import_tar, is_folder_of_another_system},
};

/// Put benchmarks from elsewhere into the archive: tars of `runner export`, and result folders (`run.json`,
/// `requests.jsonl`) of the system that this one replaces.
#[derive(Debug, Args)]
pub struct Import {
    #[arg(required = true, value_name = "FILE")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Seal without committing to git.
    #[arg(long, conflicts_with = "push")]
    no_commit: bool,
}

impl Import {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let console = Console::new(global.quiet);
        let destination = self.place.prepare(global, false, &console)?;
        super::finish_leftovers(&archive, &console);
        for from in &self.from {
            let imported = match from.is_dir() {
                true if is_folder_of_another_system(from) => import_folder(&archive, from)?,
                true => bail!(
                    "{} is no result folder: expected `run.json` and `requests.jsonl`, or a tar of `runner export`",
                    from.display()
                ),
                false => import_tar(&archive, from)?,
            };
            let (id, text) = match imported {
                Imported::New(id) => (id, format!("{id} from {}", from.display())),
                Imported::Renamed { id, was } => {
                    (id, format!("{id} from {}: {was} is another benchmark here, or under way", from.display()))
                }
                Imported::Present(id) => {
                    self.tell(global, id, &format!("{} is in the archive already, as {id}", from.display()), None)?;
                    continue;
                }
            };
            let done = benchmark::commit_imported(&archive, id, !self.no_commit)?;
            if let Some(reason) = &done.not_committed {
                console.warn(&format!("{id} is not committed: {reason}"));
            }
            self.tell(global, id, &text, done.commit.as_deref())?;
        }
        if let Some(destination) = &destination {
            place::push(&archive, destination, None, &console)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, global: &Global, id: BenchmarkId, text: &str, commit: Option<&str>) -> Result<()> {
        match global.json {
            true => super::print(&format!("{}\n", json!({ "benchmark_id": id, "said": text, "commit": commit }))),
            false => super::print(&format!("{text}\n")),
        }
    }
}
