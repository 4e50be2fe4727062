//! The folder of all versions: a version is put in place whole, and never changed after.

mod latest;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow};
use archive::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::latest::Latest;
use crate::{
    relink::Places,
    render::{File, Renderer, script_json},
    repository::Repository,
    theme::files_below,
};

/// One entry of `versions.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionEntry {
    pub version: String,
    pub title: String,
    /// When the newest benchmark ended.
    pub date: Option<Timestamp>,
    pub commit: Option<String>,
    /// sha256 over the ids and digests of all benchmarks.
    pub digest: String,
    /// sha256 over the paths and contents of all files of the version; tells whether one was edited since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_by: Option<String>,
    /// Where the folder of all versions is published, when the build was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// `latest`.
    pub aliases: Vec<String>,
    /// Its folder was removed; it can be rebuilt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What publishing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// The version was there already, with the same bytes.
    Unchanged,
}

/// What is published beside the version's own files.
pub struct Published<'a> {
    pub places: &'a Places,
    /// That the version holds itself, by path.
    pub pages: &'a [String],
    /// Assets that the version names.
    pub lists: Vec<File>,
    /// A version of the name is put away, if there is one.
    pub replaces: bool,
}

/// The folder that holds all versions.
pub struct Site {
    root: PathBuf,
    /// The latest first.
    versions: Vec<VersionEntry>,
}

/// A version that is being written, out of sight. Removed when it is not published.
pub struct Staged {
    folder: PathBuf,
    /// sha256 of what was written, by path.
    written: Mutex<BTreeMap<String, String>>,
}

impl Staged {
    /// Writes files by their paths within the version; from any thread.
    pub fn write_all(&self, files: Vec<File>) -> Result<()> {
        for (path, bytes) in files {
            write(&self.folder.join(&path), &bytes)?;
            let digest = archive::sha256_hex(&bytes);
            self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(path, digest);
        }
        Ok(())
    }

    /// Of everything that was written so far, as [`digest_of`] its folder.
    pub fn digest(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        digest(written.iter().map(|(name, digest)| (name.as_str(), digest.as_str())))
    }

    /// The pages that were written so far, by path.
    pub fn pages(&self) -> Vec<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.keys().filter(|path| path.ends_with(".html")).cloned().collect()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already when it was published; else nobody needs it.
        _ = fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let path = root.join("versions.json");
        let versions = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no list of versions: restore it or remove it", path.display()))?,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(err) => return Err(err).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { root: root.to_owned(), versions })
    }

    /// The entry of a version that was published.
    pub fn entry(&self, version: &str) -> Option<&VersionEntry> {
        self.versions.iter().find(|entry| entry.version == version)
    }

    /// Refuses a version that is there and was made from another archive, before anything is made.
    pub fn refuse_other(&self, version: &str, digest: &str) -> Result<()> {
        let folder = self.root.join(version);
        match self.entry(version).is_some_and(|entry| entry.digest != digest) && folder.exists() {
            true => Err(taken(&folder)),
            false => Ok(()),
        }
    }

    pub fn stage(&self, version: &str) -> Result<Staged> {
        let folder = self.root.join(format!(".staged-{version}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Staged { folder, written: Mutex::default() })
    }

    /// Puts the version in its place, makes it the latest, and writes what all versions share.
    pub fn publish(
        &mut self,
        staged: Staged,
        entry: VersionEntry,
        with: &Published<'_>,
        renderer: &Renderer,
    ) -> Result<Outcome> {
        let name = entry.version.clone();
        let folder = self.root.join(&name);
        let outcome = match folder.exists() {
            true if is_same(&staged.folder, &folder)? => Outcome::Unchanged,
            true if with.replaces => {
                let old = self.root.join(format!(".old-{name}-{}", std::process::id()));
                fs::rename(&folder, &old).with_context(|| format!("cannot put away {}", folder.display()))?;
                fs::rename(&staged.folder, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
                fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
                Outcome::Written
            }
            true => return Err(taken(&folder)),
            false => {
                fs::rename(&staged.folder, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
                Outcome::Written
            }
        };
        let lists = with.lists.iter().map(|(name, bytes)| (name, bytes));
        for (file, bytes) in renderer.assets().iter().chain(lists) {
            write_if_changed(&self.root.join("assets").join(file), bytes)?;
        }
        self.versions.retain(|version| version.version != name);
        self.versions.iter_mut().for_each(|version| version.aliases.clear());
        self.versions.insert(0, VersionEntry { aliases: vec!["latest".to_owned()], ..entry });
        self.write_lists()?;
        Latest { root: &self.root, version: &name, renderer }.write(with)?;
        if let Some(url) = &self.versions[0].base_url {
            let own = with.pages.iter().map(|path| format!("{name}/{path}"));
            let own: Vec<String> = own.collect();
            let shared = with.places.values().filter(|place| place.ends_with(".html"));
            let pages = own.iter().chain(shared).map(String::as_str);
            let sitemap = crate::feeds::sitemap(pages, &format!("{url}/"));
            write_if_changed(&self.root.join("sitemap.xml"), sitemap.as_bytes())?;
        }
        write_if_changed(&self.root.join("index.html"), &renderer.redirect(&format!("{name}/index.html"))?)?;
        Ok(outcome)
    }

    /// `versions.json` with all versions; the script that pages read has those that are there.
    pub fn write_lists(&mut self) -> Result<()> {
        for version in &mut self.versions {
            version.removed = !self.root.join(&version.version).is_dir();
        }
        let mut json = serde_json::to_string_pretty(&self.versions)?;
        json.push('\n');
        write_if_changed(&self.root.join("versions.json"), json.as_bytes())?;
        // The same for pages that are opened as files, where a script may not read JSON.
        let there: Vec<&VersionEntry> = self.versions.iter().filter(|version| !version.removed).collect();
        let script = format!("siteVersions({});\n", script_json(&serde_json::to_value(there)?));
        write_if_changed(&self.root.join("versions.js"), script.as_bytes())
    }
}

/// sha256 over path and content of every file below a folder, in the order of the paths.
pub fn digest_of(folder: &Path) -> Result<String> {
    let files: Vec<_> = files_below(folder)?.into_iter().collect();
    let lines = files.par_iter().map(|(name, path)| {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((name.as_str(), archive::sha256_hex(&bytes)))
    });
    let files: Vec<(&str, String)> = lines.collect::<Result<_>>()?;
    Ok(digest(files.iter().map(|(name, digest)| (*name, digest.as_str()))))
}

/// `files`: path and sha256, in the order of the paths.
fn digest<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines: String = files.map(|(name, digest)| format!("{digest} {name}\n")).collect();
    archive::sha256_hex(lines.as_bytes())
}

fn taken(folder: &Path) -> anyhow::Error {
    anyhow!(
        "{} exists with other content, and a version is never changed: give this one a name with --version",
        folder.display()
    )
}

fn is_same(a: &Path, b: &Path) -> Result<bool> {
    let (files_a, files_b) = (files_below(a)?, files_below(b)?);
    if !files_a.keys().eq(files_b.keys()) {
        return Ok(false);
    }
    for (a, b) in files_a.values().zip(files_b.values()) {
        if fs::metadata(a)?.len() != fs::metadata(b)?.len() || fs::read(a)? != fs::read(b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a file, and the folders above it where there are none.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut written = fs::write(path, bytes);
    if written.as_ref().is_err_and(|err| err.kind() == std::io::ErrorKind::NotFound)
        && let Some(folder) = path.parent()
    {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        written = fs::write(path, bytes);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    match fs::read(path) {
        Ok(known) if known == bytes => Ok(()),
        _ => write(path, bytes),
    }
}
