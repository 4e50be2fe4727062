//! Objects: pages that stay as they are when something is added to the archive. Each is a folder that is written once, is
//! named after its content, and is shared by all versions that show it.
//!
//! What was made from which facts is kept beside, for the next build; without it every object is made anew, and the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    pages::Page,
    relink::{Links, Places},
    render::{File, Renderer},
    theme::files_below,
};

/// Folder of all objects, within the site.
pub const FOLDER: &str = "o";

/// File of what was made from which facts, within the site; it is not for publishing.
pub const MADE: &str = ".cache/made.json";

/// Letters of an object's digest in its name: 96 bits.
const DIGEST_CHARS: usize = 24;

/// Letters of a name, at most.
const NAME_CHARS: usize = 60;

/// Pages and files that belong together.
pub struct Bundle {
    /// Of what it is: the folder's name begins with it.
    pub name: String,
    /// sha256 of what the pages tell of, for their foot.
    pub source: String,
    /// Begins of paths within a version, and what they become in the object's folder.
    pub layout: Vec<(String, String)>,
    pub pages: Vec<Page>,
    pub files: Vec<File>,
}

/// An object, and what of it pages outside it link to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    folder: String,
    /// Path within a version, and name in the folder.
    places: Vec<(String, String)>,
}

/// Begins of the paths of what is asked for by name beside pages: data of comparisons, and charts that others embed.
const OTHERS: [&str; 2] = ["data/compare/", "data/trends-"];

pub struct Store<'a> {
    folder: PathBuf,
    file: PathBuf,
    renderer: &'a Renderer,
    /// sha256 of this program and of what it was told: another one may make other pages.
    made_by: String,
    known: BTreeMap<String, Made>,
    used: Mutex<BTreeMap<String, Made>>,
    /// Folders that there are.
    there: BTreeSet<String>,
    parts: AtomicU64,
}

impl<'a> Store<'a> {
    pub fn open(site: &Path, renderer: &'a Renderer) -> Result<Self> {
        let made_by = archive::sha256_hex(format!("{} {}", program()?, renderer.digest()).as_bytes());
        let folder = site.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            there.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        let file = site.join(MADE);
        // What cannot be read is made anew.
        let known = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { folder, file, renderer, made_by, known, used: Mutex::default(), there, parts: AtomicU64::new(0) })
    }

    /// The object that is made from these facts, and from `places` for its links; found when it was made before. Returns
    /// where its pages are.
    pub fn object(&self, facts: &[&str], places: &Places, make: impl FnOnce() -> Result<Bundle>) -> Result<Places> {
        // A list in JSON: no two lists of texts read the same.
        let key = archive::sha256_hex(serde_json::json!([self.made_by, facts]).to_string().as_bytes());
        let made = match self.known.get(&key).filter(|made| self.there.contains(&made.folder)) {
            Some(made) => made.clone(),
            None => self.write(make()?, places)?,
        };
        let found = made.places.iter().map(|(path, name)| (path.clone(), format!("{FOLDER}/{}/{name}", made.folder)));
        let found = found.collect();
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made);
        Ok(found)
    }

    /// Keeps what was made for the next build.
    pub fn keep(self) -> Result<()> {
        let used = self.used.into_inner().unwrap_or_else(PoisonError::into_inner);
        if used == self.known {
            return Ok(());
        }
        let part = self.file.with_extension(format!("part-{}", std::process::id()));
        crate::write::write(&part, &serde_json::to_vec(&used)?)?;
        fs::rename(&part, &self.file).with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn write(&self, bundle: Bundle, places: &Places) -> Result<Made> {
        let links = Links { places, layout: Some(&bundle.layout) };
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut named = Vec::new();
        let mut add = |(path, bytes): File| -> Result<()> {
            let name = links.name_in_object(&path).with_context(|| format!("{path} has no place in an object"))?;
            if path.ends_with(".html") || OTHERS.iter().any(|start| path.starts_with(start)) {
                named.push((path, name.clone()));
            }
            files.insert(name, bytes);
            Ok(())
        };
        for page in &bundle.pages {
            self.renderer.render(page, links, Some(&bundle.source))?.into_iter().try_for_each(&mut add)?;
        }
        bundle.files.into_iter().try_for_each(&mut add)?;
        named.sort();
        let name = shortened(&bundle.name);
        let digests: Vec<(&str, String)> =
            files.iter().map(|(name, bytes)| (name.as_str(), archive::sha256_hex(bytes))).collect();
        let folder = named_after(&name, &digests);
        let target = self.folder.join(&folder);
        if !target.exists() {
            let number = self.parts.fetch_add(1, Ordering::Relaxed);
            let part = self.folder.join(format!(".part-{}-{number}", std::process::id()));
            for (name, bytes) in &files {
                crate::write::write(&part.join(name), bytes)?;
            }
            if let Err(err) = fs::rename(&part, &target) {
                _ = fs::remove_dir_all(&part);
                // Another build may have made the same meanwhile.
                if !target.exists() {
                    return Err(err).with_context(|| format!("cannot create {}", target.display()));
                }
            }
        }
        Ok(Made { folder, places: named })
    }
}

/// sha256 of this program.
pub fn program() -> Result<&'static str> {
    static DIGEST: OnceLock<String> = OnceLock::new();
    if DIGEST.get().is_none() {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        _ = DIGEST.set(archive::sha256_hex(&bytes));
    }
    DIGEST.get().map(String::as_str).context("cannot tell which program this is")
}

/// A name without its middle, where it is too long: the beginning says of what, the end says what it is.
fn shortened(name: &str) -> String {
    let letters = name.chars().count();
    let left_out = NAME_CHARS / 2..NAME_CHARS / 2 + letters.saturating_sub(NAME_CHARS);
    name.chars().enumerate().filter(|(place, _)| !left_out.contains(place)).map(|(_, letter)| letter).collect()
}

/// The name of an object with these files: name and sha256, in the order of the names.
fn named_after(name: &str, files: &[(&str, String)]) -> String {
    let lines: String = files.iter().map(|(name, digest)| format!("{digest} {name}\n")).collect();
    format!("{name}.{}", &archive::sha256_hex(lines.as_bytes())[..DIGEST_CHARS])
}

/// Whether the folder of an object holds what its name says.
pub fn is_as_named(folder: &Path) -> Result<bool> {
    let full = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((name, _)) = full.rsplit_once('.') else { return Ok(false) };
    let files = files_below(folder)?;
    let digests = files.iter().map(|(name, path)| {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((name.as_str(), archive::sha256_hex(&bytes)))
    });
    Ok(named_after(name, &digests.collect::<Result<Vec<_>>>()?) == full)
}

/// The object's folder of a place in it.
pub fn folder_of(place: &str) -> Option<&str> {
    place.strip_prefix(FOLDER)?.strip_prefix('/')?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        let long = format!("{}.2026-03-01T0900-ab12.diff", "a".repeat(100));
        let short = shortened(&long);
        assert_eq!(short.chars().count(), NAME_CHARS);
        assert!(short.starts_with("aaa") && short.ends_with(".2026-03-01T0900-ab12.diff"), "{short}");
        assert_eq!(shortened("BM-20260301-001"), "BM-20260301-001");
    }
}
