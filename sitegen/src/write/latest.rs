//! `latest/`: a page for every page that was ever published, which leads to where the latest version has it.
//!
//! Links from elsewhere lead here, and links from objects to what only versions hold.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use super::{Published, write, write_if_changed};
use crate::{render::Renderer, theme::files_below};

/// What others read or embed: whole here too, since no redirect leads them.
const COPIED: [&str; 4] = ["feed.xml", "feed.json", "card.png", "api/index.json"];

/// Where the pages of the last build lead, within the site; not for publishing.
pub const LED: &str = ".cache/latest.json";

/// The latest version, to be pointed at.
pub struct Latest<'a> {
    pub root: &'a Path,
    pub version: &'a str,
    pub renderer: &'a Renderer,
}

impl Latest<'_> {
    pub fn write(&self, of: &Published<'_>) -> Result<()> {
        let latest = self.root.join("latest");
        let file = self.root.join(LED);
        let mut targets: BTreeMap<String, String> = of.places.clone();
        targets.extend(of.pages.iter().map(|path| (path.clone(), format!("{}/{path}", self.version))));
        targets.retain(|path, _| path.ends_with(".html") || path.ends_with(".svg"));
        let known: Option<BTreeMap<String, String>> =
            fs::read(&file).ok().filter(|_| latest.is_dir()).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // Older versions and the web link to what this version may not have any more.
        let before = match &known {
            Some(known) => known.keys().cloned().collect(),
            None if latest.is_dir() => files_below(&latest)?.into_keys().collect::<Vec<_>>(),
            None => Vec::new(),
        };
        for path in before.into_iter().filter(|path| path.ends_with(".html")) {
            targets.entry(path).or_insert_with(|| format!("{}/index.html", self.version));
        }
        let is_new =
            |path: &str, target: &str| known.as_ref().is_none_or(|known| known.get(path).is_none_or(|to| to != target));
        for (path, target) in targets.iter().filter(|(path, target)| is_new(path, target)) {
            if path.ends_with(".svg") {
                self.copy(target, path)?;
                continue;
            }
            let up = "../".repeat(path.matches('/').count() + 1);
            write_if_changed(&latest.join(path), &self.renderer.redirect(&format!("{up}{target}"))?)?;
        }
        for path in COPIED {
            self.copy(&format!("{}/{path}", self.version), path)?;
        }
        write(&file, &serde_json::to_vec(&targets)?)
    }

    fn copy(&self, from: &str, path: &str) -> Result<()> {
        let from = self.root.join(from);
        let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        write_if_changed(&self.root.join("latest").join(path), &bytes)
    }
}
