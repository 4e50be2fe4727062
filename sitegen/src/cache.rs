//! What was made of a benchmark, kept by the digest of everything that it was made from: a build makes only what is new.
//!
//! An entry is used by the same program only, and holds what does not depend on the version or the theme. Entries that a
//! build does not use are removed. A cache can be removed at any time.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{pages::Page, render::File, theme::files_below};

/// Folder within the site; it is not for publishing.
pub const FOLDER: &str = ".cache";

/// Made anew takes longer than reading it back; stronger compression would not.
const LEVEL: i32 = 1;

/// Pages and files of one benchmark.
#[derive(Serialize, Deserialize)]
pub struct Made {
    pub pages: Vec<Page>,
    /// Path and text: everything that is made of a benchmark is text.
    pub files: Vec<(String, String)>,
}

impl Made {
    /// `None` when a file is no text, which is then made each time.
    pub fn new(pages: Vec<Page>, files: &[File]) -> Option<Self> {
        let text = |(path, bytes): &File| Some((path.clone(), String::from_utf8(bytes.clone()).ok()?));
        Some(Self { pages, files: files.iter().map(text).collect::<Option<_>>()? })
    }

    pub fn into_files(self) -> (Vec<Page>, Vec<File>) {
        (self.pages, self.files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect())
    }
}

pub struct Cache {
    folder: PathBuf,
    /// sha256 of this program: another one makes other pages.
    program: String,
    used: Mutex<BTreeSet<String>>,
}

impl Cache {
    pub fn open(site: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        Ok(Self { folder: site.join(FOLDER), program: archive::sha256_hex(&bytes), used: Mutex::default() })
    }

    /// The name of what is made from these facts.
    pub fn key(&self, facts: &[&str]) -> String {
        // A list in JSON: no two lists of texts read the same.
        let facts = serde_json::json!([self.program, facts]);
        archive::sha256_hex(facts.to_string().as_bytes())
    }

    /// What was kept; what cannot be read is made anew.
    pub fn find(&self, key: &str) -> Option<Made> {
        let packed = fs::read(self.path(key)).ok()?;
        let made = serde_json::from_slice(&zstd::decode_all(&packed[..]).ok()?).ok()?;
        self.use_of(key);
        Some(made)
    }

    pub fn keep(&self, key: &str, made: &Made) -> Result<()> {
        let path = self.path(key);
        let packed = zstd::encode_all(&serde_json::to_vec(made)?[..], LEVEL)?;
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        // Whole or not at all, whoever builds beside.
        let part = path.with_extension(format!("part-{}", std::process::id()));
        fs::write(&part, packed).with_context(|| format!("cannot write {}", part.display()))?;
        fs::rename(&part, &path).with_context(|| format!("cannot write {}", path.display()))?;
        self.use_of(key);
        Ok(())
    }

    /// Removes what this build had no use for.
    pub fn prune(self) -> Result<()> {
        let used = self.used.into_inner().unwrap_or_default();
        if !self.folder.is_dir() {
            return Ok(());
        }
        for (name, path) in files_below(&self.folder)? {
            if !used.contains(&name) {
                // Another build may have removed it.
                _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn use_of(&self, key: &str) {
        if let Ok(mut used) = self.used.lock() {
            used.insert(key.to_owned());
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_until_it_is_of_no_use() {
        let site = tempfile::tempdir().expect("temporary folder");
        let open = || Cache::open(site.path()).expect("opened");
        let cache = open();
        let keys = [cache.key(&["a", "b"]), cache.key(&["ab", ""])];
        assert_ne!(keys[0], keys[1]);
        for key in &keys {
            assert!(cache.find(key).is_none());
            let made = Made::new(Vec::new(), &[("x.svg".to_owned(), key.clone().into_bytes())]).expect("text");
            cache.keep(key, &made).expect("kept");
        }
        cache.prune().expect("pruned");
        let cache = open();
        assert_eq!(
            cache.find(&keys[0]).expect("found").into_files().1,
            [("x.svg".to_owned(), keys[0].clone().into_bytes())]
        );
        cache.prune().expect("pruned");
        let cache = open();
        assert!(cache.find(&keys[0]).is_some() && cache.find(&keys[1]).is_none());
        fs::write(site.path().join(FOLDER).join(&keys[0]), "rubbish").expect("written");
        assert!(cache.find(&keys[0]).is_none());
        assert!(Made::new(Vec::new(), &[("x.png".to_owned(), vec![0xff])]).is_none());
    }
}
