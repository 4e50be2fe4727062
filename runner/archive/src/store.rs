//! The content-addressed store: files above the raw limit, named by their sha256, outside git.
//!
//! Here they lie in `.raw`; [`Archive::push`] and [`Archive::fetch`] bring them to and from a folder that many share, which
//! may be another archive's `.raw`. A name can never hold other bytes, so copies need no order and no lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use git2::{ErrorCode, Repository};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    Archive, BenchmarkId, Manifest,
    commit::slashed,
    files_below,
    manifest::digest_file,
    seal::{ignore_in_git, sync_folder},
    verify::MANIFEST,
};

/// A file without a manifest that names it may belong to a benchmark that is being sealed; not after this long.
const SEALING: Duration = Duration::from_secs(24 * 3600);

/// One file of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RawFile {
    pub size_bytes: u64,
    /// Whether it is on this machine.
    pub is_here: bool,
    /// The benchmarks that it belongs to, and its name in each.
    pub of: Vec<(BenchmarkId, String)>,
}

/// What a copy to or from another store did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub files: u64,
    pub bytes: u64,
    /// Files that were there already.
    pub present: u64,
    /// Files that neither side has, by sha256.
    pub missing: Vec<String>,
}

/// How large the archive is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stat {
    pub benchmarks: u64,
    /// Files in the benchmarks' folders, which git holds.
    pub files: u64,
    pub bytes: u64,
    /// Bytes of the same by what they are: `requests`, `resources`, `logs`, `facts`.
    pub bytes_by_kind: BTreeMap<&'static str, u64>,
    pub largest: Option<(BenchmarkId, u64)>,
    /// Files kept outside git: on this machine, and elsewhere.
    pub raw_here: u64,
    pub raw_here_bytes: u64,
    pub raw_elsewhere: u64,
    pub raw_elsewhere_bytes: u64,
    /// Bytes of git's object store, packed or not; `None` outside git.
    pub git_bytes: Option<u64>,
}

/// Files that nothing needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Garbage {
    pub files: Vec<PathBuf>,
    pub bytes: u64,
}

impl Archive {
    fn raw_folder(&self) -> PathBuf {
        self.folder().join(".raw")
    }

    /// The files outside git of these benchmarks, by sha256.
    pub fn raw_files(&self, ids: &[BenchmarkId]) -> Result<BTreeMap<String, RawFile>> {
        let store = self.raw_folder();
        let mut files: BTreeMap<String, RawFile> = BTreeMap::new();
        for id in ids {
            for (name, entry) in self.open(*id)?.manifest.files {
                if !entry.external {
                    continue;
                }
                ensure!(is_digest(&entry.sha256), "{id} names `{}`, which is no sha256", entry.sha256.escape_debug());
                let is_here = store.join(&entry.sha256).is_file();
                let file = files.entry(entry.sha256);
                file.or_insert(RawFile { size_bytes: entry.size_bytes, is_here, of: Vec::new() }).of.push((*id, name));
            }
        }
        Ok(files)
    }

    /// Copies what these benchmarks keep outside git to the folder `store`.
    pub fn push(&self, ids: &[BenchmarkId], store: &Path) -> Result<Moved> {
        self.copy(ids, &self.raw_folder(), store)
    }

    /// Copies what these benchmarks keep outside git, and is not here, from the folder `store`.
    pub fn fetch(&self, ids: &[BenchmarkId], store: &Path) -> Result<Moved> {
        if !store.is_dir() {
            bail!("there is no folder {}: nothing was ever pushed there, or it is not mounted", store.display());
        }
        let raw = self.raw_folder();
        let moved = self.copy(ids, store, &raw)?;
        if raw.is_dir() {
            ignore_in_git(&raw)?;
        }
        Ok(moved)
    }

    fn copy(&self, ids: &[BenchmarkId], from: &Path, to: &Path) -> Result<Moved> {
        let mut moved = Moved::default();
        for (sha256, file) in self.raw_files(ids)? {
            let target = to.join(&sha256);
            // One that holds other bytes is replaced.
            if digest_file(&target).is_ok_and(|there| there == (file.size_bytes, sha256.clone())) {
                moved.present += 1;
                continue;
            }
            match copy_checked(&from.join(&sha256), &target, &sha256) {
                Ok(bytes) => {
                    moved.files += 1;
                    moved.bytes += bytes;
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound && !from.join(&sha256).exists() => {
                    moved.missing.push(sha256);
                }
                Err(err) => {
                    return Err(err).with_context(|| format!("cannot copy {sha256} to {}", to.display()));
                }
            }
        }
        Ok(moved)
    }

    /// Bytes of the benchmarks' folders, which git holds or will hold.
    pub fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for id in self.ids()? {
            let folder = self.folder().join(id.to_string());
            for path in files_below(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                bytes += fs::metadata(&path)?.len();
            }
        }
        Ok(bytes)
    }

    /// Sizes, from the folders and manifests alone.
    pub fn stat(&self) -> Result<Stat> {
        let ids = self.ids()?;
        let mut stat = Stat { benchmarks: ids.len() as u64, ..Stat::default() };
        for id in &ids {
            let folder = self.folder().join(id.to_string());
            let mut own = 0;
            for path in files_below(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                let size = fs::metadata(&path)?.len();
                let name = slashed(path.strip_prefix(&folder).unwrap_or(&path));
                let kind = match name.as_str() {
                    "requests.jsonl.zst" => "requests",
                    "resources.jsonl.zst" => "resources",
                    name if name.starts_with("logs/") => "logs",
                    _ => "facts",
                };
                *stat.bytes_by_kind.entry(kind).or_default() += size;
                stat.files += 1;
                own += size;
            }
            stat.bytes += own;
            if stat.largest.is_none_or(|(_, largest)| own > largest) {
                stat.largest = Some((*id, own));
            }
        }
        for file in self.raw_files(&ids)?.values() {
            let (files, bytes) = match file.is_here {
                true => (&mut stat.raw_here, &mut stat.raw_here_bytes),
                false => (&mut stat.raw_elsewhere, &mut stat.raw_elsewhere_bytes),
            };
            *files += 1;
            *bytes += file.size_bytes;
        }
        stat.git_bytes = match Repository::discover(self.folder()) {
            Ok(repository) => {
                let objects = repository.commondir().join("objects");
                Some(
                    files_below(&objects)?
                        .iter()
                        .filter_map(|path| fs::metadata(path).ok())
                        .map(|file| file.len())
                        .sum(),
                )
            }
            Err(_) => None,
        };
        Ok(stat)
    }

    /// Files of the store here that no benchmark names: on disk, or in the newest commit of any branch or tag.
    pub fn garbage(&self) -> Result<Garbage> {
        let ids = self.ids()?;
        let mut named: BTreeSet<String> = self.raw_files(&ids)?.into_keys().collect();
        named.extend(self.named_in_git().context("cannot read the branches")?);
        let mut garbage = Garbage::default();
        for entry in fs::read_dir(self.raw_folder()).into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_part =
                name.split_once('.').is_some_and(|(digest, rest)| is_digest(digest) && rest.starts_with("part-"));
            if !(is_digest(&name) && !named.contains(&name) || is_part) {
                continue;
            }
            let facts = entry.metadata()?;
            let age = SystemTime::now().duration_since(facts.modified()?).unwrap_or_default();
            if age > SEALING {
                garbage.bytes += facts.len();
                garbage.files.push(entry.path());
            }
        }
        garbage.files.sort();
        Ok(garbage)
    }

    /// Files here that the folder `store` holds too, byte for byte.
    pub fn pushed(&self, store: &Path) -> Result<Garbage> {
        let mut pushed = Garbage::default();
        for (sha256, file) in self.raw_files(&self.ids()?)? {
            let is_there = || digest_file(&store.join(&sha256)).is_ok_and(|(_, found)| found == sha256);
            if file.is_here && is_there() {
                pushed.bytes += file.size_bytes;
                pushed.files.push(self.raw_folder().join(sha256));
            }
        }
        Ok(pushed)
    }

    /// Digests of files outside git that manifests of some branch or tag name.
    fn named_in_git(&self) -> Result<BTreeSet<String>, git2::Error> {
        let mut named = BTreeSet::new();
        let repository = match Repository::discover(self.folder()) {
            Ok(repository) => repository,
            Err(err) if err.code() == ErrorCode::NotFound => return Ok(named),
            Err(err) => return Err(err),
        };
        let root = repository.workdir().and_then(|root| root.canonicalize().ok());
        let folder = self.folder().canonicalize().ok();
        let (Some(root), Some(folder)) = (root, folder) else { return Ok(named) };
        let Ok(relative) = folder.strip_prefix(&root).map(slashed) else { return Ok(named) };
        let mut seen = BTreeSet::new();
        let head = repository.head().ok();
        for reference in repository.references()?.chain(head.map(Ok)) {
            let Ok(commit) = reference?.peel_to_commit() else { continue };
            let tree = commit.tree()?;
            let archive = match relative.as_str() {
                "" => tree,
                relative => match tree.get_path(Path::new(relative)).and_then(|entry| repository.find_tree(entry.id()))
                {
                    Ok(tree) => tree,
                    Err(_) => continue,
                },
            };
            for benchmark in archive.iter().filter(|entry| seen.insert(entry.id())) {
                let Ok(tree) = repository.find_tree(benchmark.id()) else { continue };
                let Some(manifest) = tree.get_name(MANIFEST) else { continue };
                // Of a partial clone it may not be here: then nothing that it names was ever fetched.
                let Ok(blob) = repository.find_blob(manifest.id()) else { continue };
                let Ok(manifest) = serde_json::from_slice::<Manifest>(blob.content()) else { continue };
                named.extend(manifest.files.into_values().filter(|entry| entry.external).map(|entry| entry.sha256));
            }
        }
        Ok(named)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Copies a file that must have the digest; a reader sees it whole or not at all.
fn copy_checked(from: &Path, to: &Path, sha256: &str) -> io::Result<u64> {
    let mut source = File::open(from)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = folder.join(format!("{sha256}.part-{}", std::process::id()));
    let copied = (|| {
        let mut target = File::create(&part)?;
        let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; 1 << 17], 0);
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    target.write_all(&buffer[..read])?;
                    size += read as u64;
                }
            }
        }
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found != sha256 {
            return Err(io::Error::other(format!("{} holds other bytes: sha256 {found}", from.display())));
        }
        target.sync_all()?;
        fs::set_permissions(&part, Permissions::from_mode(0o444))?;
        fs::rename(&part, to)?;
        sync_folder(folder)?;
        Ok(size)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{SealOptions, seal};

    fn sealed(results: &Path, sequence: u32, bytes: &[u8]) -> BenchmarkId {
        let staged = results.join(".work/staging");
        fs::create_dir_all(&staged).expect("created");
        fs::write(staged.join("run.json"), "{}").expect("written");
        fs::write(staged.join("requests.jsonl.zst"), bytes).expect("written");
        let id = BenchmarkId::new(20_260_301, sequence);
        let options = SealOptions { raw_limit_bytes: 99, ..SealOptions::default() };
        seal(results, id, &staged, &options).expect("sealed");
        id
    }

    fn age(path: &Path) {
        let days = SystemTime::now() - 2 * SEALING;
        File::open(path).and_then(|file| file.set_modified(days)).expect("aged");
    }

    #[test]
    fn files_go_to_a_store_and_come_back() {
        let (here, store) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let archive = Archive::new(here.path());
        let first = sealed(here.path(), 1, &[1; 200]);
        let ids = [first, sealed(here.path(), 2, &[2; 300]), sealed(here.path(), 3, &[3; 10])];
        let far = store.path().join("raw");
        assert!(archive.fetch(&ids, &far).expect_err("none").to_string().contains("there is no folder"));
        let pushed = archive.push(&ids, &far).expect("pushed");
        assert_eq!((pushed.files, pushed.bytes, pushed.present), (2, 500, 0));
        assert_eq!(archive.push(&ids, &far).expect("pushed").present, 2);
        let stat = archive.stat().expect("known");
        assert_eq!(archive.bytes().expect("known"), stat.bytes);
        assert_eq!((stat.benchmarks, stat.raw_here_bytes, stat.bytes_by_kind["requests"]), (3, 500, 10));
        assert_eq!(archive.pushed(&far).expect("compared").files.len(), 2);

        fs::remove_dir_all(here.path().join(".raw")).expect("removed");
        assert_eq!(archive.stat().expect("known").raw_elsewhere, 2);
        assert_eq!(archive.verify(first).absent.len(), 1);
        assert_eq!(archive.fetch(&[first], &far).expect("fetched").files, 1);
        assert_eq!((archive.verify(first).damages, archive.verify(first).absent.len()), (vec![], 0));
        assert!(here.path().join(".raw/.gitignore").exists());

        // What the store holds is compared before it is believed.
        let damaged = far.join(archive.raw_files(&[ids[1]]).expect("known").into_keys().next().expect("one"));
        fs::set_permissions(&damaged, Permissions::from_mode(0o644)).expect("writable");
        fs::write(&damaged, [9; 300]).expect("written");
        let refused = archive.fetch(&ids, &far).expect_err("other bytes");
        assert!(format!("{refused:#}").contains("holds other bytes"), "{refused:#}");
        assert_eq!(archive.pushed(&far).expect("compared").files.len(), 1);
        fs::remove_file(&damaged).expect("removed");
        assert_eq!(archive.fetch(&ids, &far).expect("looked").missing.len(), 1);
    }

    #[test]
    fn a_copy_of_the_right_size_and_other_bytes_is_replaced() {
        let (here, store) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let archive = Archive::new(here.path());
        let ids = [sealed(here.path(), 1, &[1; 200])];
        archive.push(&ids, store.path()).expect("pushed");
        let name = archive.raw_files(&ids).expect("known").into_keys().next().expect("one");
        for (folder, other) in [(store.path().to_owned(), true), (here.path().join(".raw"), false)] {
            let file = folder.join(&name);
            fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("writable");
            fs::write(&file, [9; 200]).expect("written");
            let moved = if other { archive.push(&ids, store.path()) } else { archive.fetch(&ids, store.path()) };
            assert_eq!(moved.map(|moved| (moved.files, moved.present)).expect("copied"), (1, 0));
            assert_eq!(fs::read(&file).expect("read"), [1; 200]);
        }
    }

    #[test]
    fn garbage_is_what_no_branch_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let git = |args: &[&str]| {
            let output = Command::new("git").arg("-C").arg(folder.path()).args(args).output().expect("git runs");
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["config", "user.name", "Tester"]);
        git(&["config", "user.email", "tester@localhost"]);
        git(&["commit", "-q", "--allow-empty", "-m", "start"]);
        let results = folder.path().join("results");
        git(&["checkout", "-q", "-b", "side"]);
        sealed(&results, 1, &[1; 200]);
        git(&["add", "results"]);
        git(&["commit", "-q", "-m", "one"]);
        git(&["checkout", "-q", "main"]);
        let archive = Archive::new(&results);
        assert_eq!(archive.ids().expect("read"), []);
        let stray = results.join(".raw").join("ab".repeat(32));
        fs::write(&stray, "stray").expect("written");
        assert_eq!(archive.garbage().expect("looked"), Garbage::default(), "it may be about to be sealed");
        for entry in fs::read_dir(results.join(".raw")).expect("there") {
            age(&entry.expect("read").path());
        }
        assert_eq!(archive.garbage().expect("looked"), Garbage { files: vec![stray], bytes: 5 });
    }
}
