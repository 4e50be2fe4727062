//! What an earlier `verify` of this build found to be sound, so that it needs not be found again.
//!
//! Only what bytes decide that are still read: that figures are those of the records (by the benchmark's digest, which is
//! compared every time), and that history is sound up to a commit (whose id is a digest of all before it). The note is no
//! part of the archive; who can change it can change the repository too, and a clone has none.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use archive::{Archive, Audited};
use serde::{Deserialize, Serialize};

use crate::node;

/// What is known.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// sha256 of the build that found it: another may look at more.
    build: Option<String>,
    pub history: Option<Audited>,
    /// Digests of benchmarks whose contents are sound.
    pub contents: BTreeSet<String>,
}

impl Known {
    /// Nothing yet.
    pub fn nothing() -> Self {
        Self { build: node::tool().binary_sha256, ..Self::default() }
    }

    /// What this build knows of an archive; nothing where it keeps no work folder.
    pub fn read(archive: &Archive) -> Self {
        let Self { build, .. } = Self::nothing();
        let known = fs::read(note(archive)).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        known.filter(|known| build.is_some() && known.build == build).unwrap_or(Self { build, ..Self::default() })
    }

    /// Keeps it for the next time, where there is a work folder to keep it in. What cannot be written is found again.
    pub fn write(&self, archive: &Archive) {
        let place = note(archive);
        let part = place.with_extension(format!("part-{}", std::process::id()));
        let write = |part: &Path| {
            fs::write(part, serde_json::to_vec(self)?)?;
            fs::rename(part, &place)
        };
        if place.parent().is_some_and(Path::is_dir) && write(&part).is_err() {
            let _ = fs::remove_file(part);
        }
    }
}

fn note(archive: &Archive) -> PathBuf {
    archive.folder().join(".work/verified.json")
}
