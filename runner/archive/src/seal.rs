//! Sealing: a finished folder of files becomes a benchmark of the archive, all at once or not at all.
//!
//! Files are made durable, listed in a manifest and set read-only inside a staging folder on the same file
//! system; one rename puts it in place. A reader sees nothing or everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    BenchmarkId, Manifest, ManifestEntry, SCHEMA, SIGNATURE, SignError, SigningKey,
    manifest::{digest_file, sha256_hex},
};

/// What may differ from one call of [`seal`] to the next.
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// The most that the benchmark may have in git: as long as it has more, the largest of `requests.jsonl.zst` and the logs is
    /// kept in `<results>/.raw`, outside git. Facts, figures and samples always stay.
    pub raw_limit_bytes: u64,
    /// Signs the manifest.
    pub sign: Option<SigningKey>,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self { raw_limit_bytes: 16 << 20, sign: None }
    }
}

/// A benchmark in its place.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub folder: PathBuf,
    /// sha256 of `manifest.json`.
    pub digest: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("{id} is sealed already in {folder}: nothing sealed is ever rewritten")]
    Exists { id: BenchmarkId, folder: PathBuf },
    #[error("cannot seal {id}: {path}: {source}")]
    Io { id: BenchmarkId, path: PathBuf, source: io::Error },
    #[error("cannot seal {id}: {source}")]
    Sign { id: BenchmarkId, source: SignError },
}

/// Moves the `staged` folder (same file system as `results`) into the archive as `id`.
///
/// `staged` holds `run.json`, `summary.json`, the record files and `logs/`; the manifest is written here.
pub fn seal(results: &Path, id: BenchmarkId, staged: &Path, options: &SealOptions) -> Result<Sealed, SealError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SealError::Io { id, path, source }
    };
    let folder = results.join(id.to_string());
    if folder.exists() {
        return Err(SealError::Exists { id, folder });
    }

    let mut files = BTreeMap::new();
    let mut folders = BTreeSet::from([staged.to_owned()]);
    for path in files_below(staged).map_err(failed(staged))? {
        folders.extend(path.parent().map(Path::to_owned));
        let name = path.strip_prefix(staged).unwrap_or(&path).to_string_lossy().into_owned();
        if name == "manifest.json" || name == SIGNATURE {
            continue; // of an attempt that was cut off
        }
        let (size_bytes, sha256) = digest_file(&path).map_err(failed(&path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(failed(&path))?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed(&path))?;
        files.insert(name, ManifestEntry { size_bytes, sha256, external: false });
    }
    for name in beyond(options.raw_limit_bytes, &files) {
        let path = staged.join(&name);
        let Some(entry) = files.get_mut(&name) else { continue };
        move_to_raw_store(results, &path, &entry.sha256).map_err(failed(&path))?;
        entry.external = true;
    }
    let manifest = Manifest { schema: SCHEMA, benchmark_id: id, files };
    let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from).map_err(failed(staged))?;
    bytes.push(b'\n');
    let manifest_path = staged.join("manifest.json");
    // Of an attempt that was cut off it is read-only.
    let _ = fs::remove_file(&manifest_path);
    write_durably(&manifest_path, &bytes).map_err(failed(&manifest_path))?;
    fs::set_permissions(&manifest_path, Permissions::from_mode(0o444)).map_err(failed(&manifest_path))?;
    let signature = staged.join(SIGNATURE);
    let _ = fs::remove_file(&signature);
    if let Some(key) = &options.sign {
        let text = key.sign_manifest(&bytes).map_err(|source| SealError::Sign { id, source })?;
        write_durably(&signature, text.as_bytes()).map_err(failed(&signature))?;
        fs::set_permissions(&signature, Permissions::from_mode(0o444)).map_err(failed(&signature))?;
    }
    for folder in &folders {
        sync_folder(folder).map_err(failed(folder))?;
    }

    // Renaming onto an existing non-empty folder fails, so two sealers of one id cannot both succeed.
    fs::rename(staged, &folder).map_err(failed(&folder))?;
    sync_folder(results).map_err(failed(results))?;
    Ok(Sealed { folder, digest: sha256_hex(&bytes) })
}

/// The files that are kept outside git so that the others have no more than `limit` bytes together, as far as that can be.
fn beyond(limit: u64, files: &BTreeMap<String, ManifestEntry>) -> Vec<String> {
    let mut within: u64 = files.values().map(|entry| entry.size_bytes).sum();
    let may_go = |name: &str| name == "requests.jsonl.zst" || name.starts_with("logs/");
    let mut raw: Vec<_> = files.iter().filter(|(name, _)| may_go(name)).collect();
    raw.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.size_bytes));
    let mut outside = Vec::new();
    for (name, entry) in raw.into_iter().take_while(|(_, entry)| entry.size_bytes > 0) {
        if within <= limit {
            break;
        }
        within -= entry.size_bytes;
        outside.push(name.clone());
    }
    outside
}

/// The raw store is content-addressed: an equal file is stored once, and a name can never hold other bytes.
fn move_to_raw_store(results: &Path, path: &Path, sha256: &str) -> io::Result<()> {
    let store = results.join(".raw");
    fs::create_dir_all(&store)?;
    ignore_in_git(&store)?;
    fs::rename(path, store.join(sha256))?;
    sync_folder(&store)
}

/// Makes git ignore everything in `folder`, whatever repository it is in.
pub fn ignore_in_git(folder: &Path) -> io::Result<()> {
    let rule = folder.join(".gitignore");
    // An empty one was left by a process that was killed.
    if fs::metadata(&rule).is_ok_and(|facts| facts.len() > 0) {
        return Ok(());
    }
    // A name of its own: several threads and processes may find none at once.
    let mut part = tempfile::Builder::new().prefix(".gitignore.part-").tempfile_in(folder)?;
    part.write_all(b"*\n")?;
    part.as_file().set_permissions(Permissions::from_mode(0o644))?;
    part.persist(rule)?;
    Ok(())
}

pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    File::open(path)?.sync_all()
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Every regular file below `folder`, sorted.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(results: &Path) -> PathBuf {
        let folder = results.join(".work/staging/x");
        fs::create_dir_all(folder.join("logs")).expect("created");
        fs::write(folder.join("run.json"), "{}").expect("written");
        fs::write(folder.join("logs/service.log"), "hello").expect("written");
        fs::write(folder.join("requests.jsonl.zst"), vec![7; 1000]).expect("written");
        folder
    }

    #[test]
    fn a_sealed_folder_is_complete_and_read_only_and_never_replaced() {
        let results = tempfile::tempdir().expect("temporary folder");
        let results = results.path();
        let id = BenchmarkId::new(20260301, 1);
        let sealed = seal(results, id, &staged(results), &SealOptions::default()).expect("sealed");
        let bytes = fs::read(sealed.folder.join("manifest.json")).expect("manifest");
        assert_eq!(sha256_hex(&bytes), sealed.digest);
        let manifest: Manifest = serde_json::from_slice(&bytes).expect("parses");
        let names: Vec<_> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["logs/service.log", "requests.jsonl.zst", "run.json"]);
        let mode = fs::metadata(sealed.folder.join("run.json")).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert!(matches!(seal(results, id, &staged(results), &SealOptions::default()), Err(SealError::Exists { .. })));
    }

    #[test]
    fn large_files_that_no_page_needs_go_to_the_raw_store() {
        let results = tempfile::tempdir().expect("temporary folder");
        let results = results.path();
        let options = SealOptions { raw_limit_bytes: 999, ..SealOptions::default() };
        let staged = staged(results);
        fs::write(staged.join("summary.json"), vec![b' '; 1000]).expect("written");
        fs::write(staged.join("logs/service.log"), vec![b'x'; 1000]).expect("written");
        let sealed = seal(results, BenchmarkId::new(20260301, 1), &staged, &options).expect("sealed");
        let manifest: Manifest =
            serde_json::from_slice(&fs::read(sealed.folder.join("manifest.json")).expect("manifest")).expect("parses");
        let external = manifest.files.iter().filter(|(_, entry)| entry.external).map(|(name, _)| name.as_str());
        assert_eq!(external.collect::<Vec<_>>(), ["logs/service.log", "requests.jsonl.zst"]);
        let entry = &manifest.files["requests.jsonl.zst"];
        assert!(entry.external && !sealed.folder.join("requests.jsonl.zst").exists());
        assert_eq!(fs::read(results.join(".raw").join(&entry.sha256)).expect("stored"), vec![7; 1000]);
    }

    #[test]
    fn many_small_logs_have_a_limit_together() {
        let entry = |size_bytes| ManifestEntry { size_bytes, sha256: String::new(), external: false };
        let files: BTreeMap<String, ManifestEntry> = [
            ("logs/a", 40),
            ("logs/b", 30),
            ("logs/empty", 0),
            ("requests.jsonl.zst", 60),
            ("resources.jsonl.zst", 500),
            ("summary.json", 20),
        ]
        .map(|(name, size)| (name.to_owned(), entry(size)))
        .into();
        for (limit, expected) in [
            (650, &[][..]),
            (649, &["requests.jsonl.zst"]),
            (589, &["requests.jsonl.zst", "logs/a"]),
            (0, &["requests.jsonl.zst", "logs/a", "logs/b"]),
        ] {
            assert_eq!(beyond(limit, &files), expected, "{limit}");
        }
    }
}
