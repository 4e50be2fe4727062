//! git's index, changed by git's own rules beside other git commands and other runners.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use git2::{IndexEntry, IndexTime, Oid};

/// The user's index with some paths changed and all its other entries as they are, ready to be put in place.
///
/// By git's own rules: whoever holds `index.lock` may read the index, and replace it.
/// libgit2 alone takes the lock only to write, and would undo what others did since it read.
pub(crate) struct IndexUpdate {
    index: PathBuf,
    /// What becomes the index.
    draft: PathBuf,
    /// What it is now; `None` where there is none yet.
    before: Option<Vec<u8>>,
    _lock: IndexLock,
}

impl IndexUpdate {
    /// Waits for the lock until `deadline`.
    pub(crate) fn begin(repository: &git2::Repository, deadline: Instant) -> Result<Self, git2::Error> {
        let path = repository.index()?.path().map_or_else(|| repository.path().join("index"), Path::to_owned);
        let lock = IndexLock::take(&path, deadline).map_err(index_failed)?;
        // Nobody else's while the lock is ours: what is there was left by one that was killed.
        let draft = path.with_extension("runner");
        for leftover in [draft.with_extension("runner.lock"), draft.clone()] {
            let _ = fs::remove_file(leftover);
        }
        let before = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            // A repository without an index yet. An empty file is no index, an absent one is.
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => return Err(index_failed(err)),
        };
        if let Some(bytes) = &before {
            fs::write(&draft, bytes).map_err(index_failed)?;
        }
        Ok(Self { index: path, draft, before, _lock: lock })
    }

    /// What becomes the index; whoever changes it writes it.
    pub(crate) fn draft(&self) -> Result<git2::Index, git2::Error> {
        git2::Index::open(&self.draft)
    }

    /// Adds files below `root`, by the names of their blobs.
    pub(crate) fn add(&self, root: &Path, entries: &[(String, Oid)]) -> Result<(), git2::Error> {
        let mut index = self.draft()?;
        for (name, blob) in entries {
            index.add(&entry(name, *blob, fs::metadata(root.join(name)).ok()))?;
        }
        index.write()
    }

    /// Puts it in place.
    pub(crate) fn finish(self) -> Result<(), git2::Error> {
        self.put()
    }

    /// Puts it in place and keeps the lock.
    pub(crate) fn put(&self) -> Result<(), git2::Error> {
        fs::rename(&self.draft, &self.index).map_err(index_failed)
    }

    /// Puts what was before [`Self::put`] back.
    pub(crate) fn put_back(&self) -> Result<(), git2::Error> {
        match &self.before {
            Some(bytes) => fs::write(&self.draft, bytes).and_then(|()| fs::rename(&self.draft, &self.index)),
            None => fs::remove_file(&self.index),
        }
        .map_err(index_failed)
    }
}

fn index_failed(err: io::Error) -> git2::Error {
    git2::Error::from_str(&format!("cannot update the index: {err}"))
}

/// What our `index.lock` begins with; git's is an index, or empty.
const MARK: &str = "held by runner, process ";

/// git's `index.lock`, removed again.
///
/// It says that it is ours, and is locked while its process lives: so one that a killed process left is told from
/// everybody else's, and removed.
struct IndexLock {
    path: PathBuf,
    _file: File,
}

impl IndexLock {
    fn take(index: &Path, deadline: Instant) -> io::Result<Self> {
        let path = index.with_extension("lock");
        loop {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    // Before the mark: who reads the mark must find it locked. A file system without locks has none.
                    let _ = file.lock();
                    let held = Self { path, _file: file.try_clone()? };
                    writeln!(file, "{MARK}{}", std::process::id())?;
                    return Ok(held);
                }
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists && remove_if_dead(&path) => {}
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                    let path = path.display();
                    let why = "is there: another git command works, or one that was killed left it: when none runs here, remove it";
                    return Err(io::Error::new(err.kind(), format!("{path} {why} (rm {path})")));
                }
                Err(err) => return Err(io::Error::new(err.kind(), format!("{}: {err}", path.display()))),
            }
        }
    }
}

/// Removes a lock of ours whose process was killed. Nobody else's is touched.
fn remove_if_dead(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let mut text = String::new();
    let is_ours = Read::by_ref(&mut file).take(64).read_to_string(&mut text).is_ok() && text.starts_with(MARK);
    if !is_ours || file.try_lock().is_err() {
        return false;
    }
    // While it is locked nobody else removes it, so what is there now is still this file or was never it.
    let is_same =
        |now: fs::Metadata| file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (now.dev(), now.ino()));
    fs::symlink_metadata(path).is_ok_and(is_same) && fs::remove_file(path).is_ok()
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// An entry of an index; with the facts of a file that is unchanged, git needs not read it again.
pub(crate) fn entry(name: &str, blob: Oid, file: Option<fs::Metadata>) -> IndexEntry {
    let (mtime, ctime, size, ino, dev, uid, gid) = match file {
        Some(file) => (
            IndexTime::new(file.mtime() as i32, file.mtime_nsec() as u32),
            IndexTime::new(file.ctime() as i32, file.ctime_nsec() as u32),
            file.size() as u32,
            file.ino() as u32,
            file.dev() as u32,
            file.uid(),
            file.gid(),
        ),
        None => (IndexTime::new(0, 0), IndexTime::new(0, 0), 0, 0, 0, 0, 0),
    };
    IndexEntry {
        ctime,
        mtime,
        dev,
        ino,
        mode: 0o100_644,
        uid,
        gid,
        file_size: size,
        id: blob,
        flags: 0,
        flags_extended: 0,
        path: name.as_bytes().to_vec(),
    }
}
