//! Reports: a benchmark or a sweep as Markdown, JSON and pictures to hand on. Derived from the archive; never written into it.
//!
//! Figures, intervals and verdicts come from the functions that the pages and `runner summary` ask too.

pub mod benchmark;
mod evidence;
mod figures;
mod html;
pub mod markdown;
pub mod sweep;
mod sweep_figures;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde_json::{Value, json};

use self::markdown::{Document, escaped};
use crate::{model::slug::slug, plot::Figure};

/// Stored metric name → limit.
pub type Slo = BTreeMap<String, f64>;

/// Everything of one report.
pub struct Report {
    /// Name of its folder.
    pub folder: String,
    pub markdown: String,
    pub json: Value,
    pub plots: Vec<Plot>,
    /// Whether a limit is violated.
    pub violated: bool,
}

/// A figure and the name of its file, without `.png`.
pub struct Plot {
    pub name: &'static str,
    pub figure: Figure,
}

impl Report {
    /// Writes `report.md`, `report.json` and `plots/*.png` into a folder of its own below `out`; pictures of an earlier report
    /// that this one does not have are removed. Returns the folder.
    pub fn write(&self, out: &Path) -> Result<PathBuf> {
        let folder = out.join(&self.folder);
        let plots = folder.join("plots");
        fs::create_dir_all(&plots).with_context(|| format!("cannot create {}", plots.display()))?;
        self.plots.par_iter().try_for_each(|plot| -> Result<()> {
            let bytes = plot.figure.png().with_context(|| format!("cannot draw {}", plot.name))?;
            write(&plots.join(format!("{}.png", plot.name)), &bytes)
        })?;
        let known = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            self.plots.iter().any(|plot| Some(plot.name) == stem)
        };
        for entry in fs::read_dir(&plots)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "png") && !known(&path) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        write(&folder.join("report.json"), self.json_text().as_bytes())?;
        write(&folder.join("report.md"), self.markdown.as_bytes())?;
        Ok(folder)
    }

    pub fn json_text(&self) -> String {
        format!("{:#}\n", self.json)
    }

    /// The text of its page.
    pub fn html(&self) -> String {
        html::html(&self.for_pages().0)
    }

    /// Files for a site, within the report's folder: the report with vector graphics in place of its pictures.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let (markdown, json) = self.for_pages();
        let plots = self.plots.iter().map(|plot| (format!("plots/{}.svg", plot.name), plot.figure.svg().into_bytes()));
        let texts = [("report.md", markdown), ("report.json", format!("{json:#}\n"))];
        plots.chain(texts.map(|(name, text)| (name.to_owned(), text.into_bytes()))).collect()
    }

    fn for_pages(&self) -> (String, Value) {
        let (mut markdown, mut json) = (self.markdown.clone(), self.json.clone());
        for (index, plot) in self.plots.iter().enumerate() {
            let file = format!("plots/{}.svg", plot.name);
            markdown = markdown.replace(&format!("](plots/{}.png)", plot.name), &format!("]({file})"));
            json["plots"][index]["file"] = file.into();
        }
        (markdown, json)
    }
}

/// The folder of the report of an execution.
pub fn folder_of(campaign: &str, execution: &str) -> String {
    format!("{}-{}", slug(campaign), slug(execution))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Name and version of this program.
pub fn tool() -> String {
    format!("sitegen {}", env!("CARGO_PKG_VERSION"))
}

fn listed(plots: &[Plot]) -> Vec<Value> {
    let entry = |plot: &Plot| {
        json!({
            "file": format!("plots/{}.png", plot.name),
            "title": crate::plot::canvas::one_line(&plot.figure.title),
            "caption": crate::plot::canvas::one_line(&plot.figure.caption),
        })
    };
    plots.iter().map(entry).collect()
}

fn plots_section(out: &mut Document, plots: &[Plot]) {
    if plots.is_empty() {
        return;
    }
    out.heading(2, "Figures");
    for plot in plots {
        out.block(&format!("![{}](plots/{}.png)", escaped(&plot.figure.title), plot.name));
    }
}
