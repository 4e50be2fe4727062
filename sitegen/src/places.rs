//! Where the pages of a version are, in lists that versions share: a new page changes one list of some hundred entries.
//!
//! A version names its lists; a list is an asset, named after its content. Scripts look places up the same way.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    relink::Places,
    render::{File, script_json},
};

/// Entries of a list, about.
const ENTRIES: usize = 256;

/// The version's file that names its pages and lists.
pub const FILE: &str = "data/pages.js";

/// What the file holds.
#[derive(Serialize, Deserialize)]
pub struct Pages {
    /// That the version holds itself, by path.
    pub pages: Vec<String>,
    /// Names of assets. The entry of a path is in the list of the path's hash.
    pub places: Vec<String>,
}

/// The lists, as assets, in the order that the version names them in.
pub fn lists(places: &Places) -> Vec<File> {
    let count = places.len().div_ceil(ENTRIES).next_power_of_two();
    let mut lists = vec![Vec::new(); count];
    for entry in places {
        lists[hash(entry.0) as usize % count].push(entry);
    }
    let file = |list: &Vec<(&String, &String)>| {
        let script = format!("sitePlaces({});\n", script_json(&json!(list)));
        (format!("{}.js", archive::sha256_hex(script.as_bytes())), script.into_bytes())
    };
    lists.iter().map(file).collect()
}

/// FNV-1a, 32 bits.
fn hash(path: &str) -> u32 {
    path.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Pages {
    pub fn script(&self) -> Result<Vec<u8>> {
        Ok(format!("sitePages({});\n", script_json(&serde_json::to_value(self)?)).into_bytes())
    }

    /// Of a published version.
    pub fn read(site: &Path, version: &str) -> Result<Self> {
        read_script(&site.join(version).join(FILE), "sitePages(")
    }

    /// Where the version's pages are that stand in objects.
    pub fn places_in(&self, site: &Path) -> Result<Places> {
        let mut places = Places::new();
        for name in &self.places {
            let list: Vec<(String, String)> = read_script(&site.join("assets").join(name), "sitePlaces(")?;
            places.extend(list);
        }
        Ok(places)
    }
}

fn read_script<T: serde::de::DeserializeOwned>(path: &Path, call: &str) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let data = text.strip_prefix(call).and_then(|text| text.trim_end().strip_suffix(");"));
    serde_json::from_str(data.unwrap_or_default())
        .with_context(|| format!("{} is not as it was written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_page_changes_one_list() {
        let mut places: Places =
            (0..2000).map(|n| (format!("benchmarks/B{n}/index.html"), format!("o/B{n}.x/index.html"))).collect();
        let before = lists(&places);
        assert_eq!(before.len(), 8);
        places.insert("benchmarks/new/index.html".to_owned(), "o/new.x/index.html".to_owned());
        let after = lists(&places);
        assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(lists(&Places::new()).len(), 1);
    }
}
