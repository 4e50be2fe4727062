//! Benchmarks from elsewhere into the archive: tars that `runner export` made, and result folders of another system.
//!
//! Nothing is believed: a tar must verify against its manifest, and figures of other systems are computed anew.

mod other_system;
mod tarball;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use archive::{Archive, BenchmarkId};

use crate::benchmark::under_way;

pub use other_system::{import as import_folder, is_one as is_folder_of_another_system};
pub use tarball::import as import_tar;

/// What an import did.
#[derive(Debug)]
pub enum Imported {
    /// Sealed under this id.
    New(BenchmarkId),
    /// Sealed under this id, because another benchmark has the one it came with.
    Renamed { id: BenchmarkId, was: BenchmarkId },
    /// The same benchmark is in the archive already.
    Present(BenchmarkId),
}

/// A folder for unpacking, on the archive's file system, that goes with this value.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new(archive: &Archive) -> Result<Self> {
        let folder = archive.work_folder()?.join("import").join(std::process::id().to_string());
        // Of a process of the same number that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An id that was taken may belong to a benchmark whose plan is not written yet; not after this long.
const PLANNING: Duration = Duration::from_secs(3600);

/// Takes the id that a benchmark comes with. `false` when somebody has it here: a sealed benchmark, or one that is under way.
fn take(archive: &Archive, id: BenchmarkId) -> Result<bool> {
    if archive.folder().join(id.to_string()).exists() {
        return Ok(false);
    }
    if let Some(since) = archive.reserve(id)? {
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        let measured = under_way(archive)?.iter().any(|found| found.benchmarks.contains(&id));
        return Ok(age > PLANNING && !measured);
    }
    Ok(true)
}
