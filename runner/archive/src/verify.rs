//! Whether a sealed benchmark is still what was sealed: its files against its manifest.
//!
//! Every byte of the folder is read once. A damage names the file and what differs, and tells a renamed or swapped file
//! from a changed one. What somebody changed together with the manifest is found by [`audit`](crate::audit) only.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    path::Path,
};

use git2::Oid;
use serde::Serialize;

use crate::{
    Archive, BenchmarkId, Manifest, ManifestEntry, OnDisk, SCHEMA, audit::trees, manifest::digest_file, sha256_hex,
};

/// The signature of the manifest, which it cannot list itself.
pub const SIGNATURE: &str = "manifest.json.sig";
pub(crate) const MANIFEST: &str = "manifest.json";

/// One thing that is not as it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub benchmark_id: BenchmarkId,
    /// Inside the benchmark's folder; `None` when it is about all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub kind: DamageKind,
    /// In words, with both values.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// Other bytes than those sealed.
    Changed,
    /// Sealed, and not there.
    Missing,
    /// There, and not sealed.
    Added,
    /// A link or a device where a file was sealed, or a file that cannot be read.
    Unreadable,
    /// The manifest itself cannot be, or belongs to another benchmark.
    Manifest,
    /// The bytes are those sealed, and do not say what the format says.
    Format,
    /// The summary is not what the requests come to.
    Summary,
    /// git holds, or once held, something else.
    History,
    /// The signature is missing, or not by anybody who may sign.
    Signature,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.benchmark_id)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What was read of one benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub damages: Vec<Damage>,
    pub files: u64,
    pub bytes: u64,
    /// Files of the raw store that are not on this machine, which is no damage.
    pub absent: Vec<String>,
    /// sha256 of the manifest; `None` when there is none to read.
    pub digest: Option<String>,
    /// The id that git has for a folder of these bytes; `None` where something is damaged.
    pub tree: Option<String>,
}

impl Verified {
    /// What [`audit`](crate::audit()) needs to know of it; `None` where no manifest told what belongs there.
    pub fn on_disk(&self) -> Option<OnDisk> {
        self.digest.as_ref()?;
        Some(match self.damages.is_empty() {
            true => OnDisk::Sealed(self.tree.clone()),
            false => OnDisk::Damaged,
        })
    }
}

impl Archive {
    /// Reads every file of a benchmark, and compares it with the manifest.
    pub fn verify(&self, id: BenchmarkId) -> Verified {
        let mut verified = Verified::default();
        let folder = self.folder().join(id.to_string());
        let mut damage = |file: Option<&str>, kind, detail: String| {
            verified.damages.push(Damage { benchmark_id: id, file: file.map(str::to_owned), kind, detail });
        };
        let found = match entries_below(&folder) {
            Ok(found) => found,
            Err(err) => {
                let kind =
                    if err.kind() == io::ErrorKind::NotFound { DamageKind::Missing } else { DamageKind::Unreadable };
                damage(None, kind, format!("its folder cannot be read: {err}"));
                return verified;
            }
        };
        let bytes = match fs::read(folder.join(MANIFEST)) {
            Ok(bytes) if found.get(MANIFEST) == Some(&Kind::File) => bytes,
            Ok(_) => {
                damage(Some(MANIFEST), DamageKind::Unreadable, "is a link and no file".into());
                return verified;
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                damage(Some(MANIFEST), DamageKind::Missing, "is missing: nothing says what was sealed".into());
                return verified;
            }
            Err(err) => {
                damage(Some(MANIFEST), DamageKind::Unreadable, format!("cannot be read: {err}"));
                return verified;
            }
        };
        let manifest = match parse_manifest(&bytes, id) {
            Ok(manifest) => manifest,
            Err(why) => {
                damage(Some(MANIFEST), DamageKind::Manifest, why);
                return verified;
            }
        };

        // What the files hold now, by digest: where the bytes of a missing or changed file went.
        let mut holds: BTreeMap<&str, String> = BTreeMap::new();
        let (mut missing, mut changed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let (mut files, mut read_bytes, mut absent) = (1, bytes.len() as u64, Vec::new());
        let mut blobs = trees::Blobs::new();
        blobs.extend(trees::blob_of(&bytes).map(|blob| (MANIFEST.to_owned(), blob)));
        for (name, kind) in &found {
            if name == MANIFEST {
                continue;
            }
            if name == SIGNATURE && *kind == Kind::File {
                blobs.extend(trees::blob_of_file(&folder.join(name)).map(|blob| (name.clone(), blob)));
                continue;
            }
            let sealed = manifest.files.get(name).filter(|entry| !entry.external);
            match (kind, sealed) {
                (Kind::File, sealed) => match digests_of(&folder.join(name)) {
                    Ok((size, sha256, blob)) => {
                        blobs.extend(blob.map(|blob| (name.clone(), blob)));
                        files += 1;
                        read_bytes += size;
                        match sealed {
                            Some(entry) if entry.size_bytes == size && entry.sha256 == sha256 => {}
                            Some(entry) => changed.push((name.as_str(), entry, size)),
                            None => added.push(name.as_str()),
                        }
                        holds.insert(name, sha256);
                    }
                    Err(err) => damage(Some(name), DamageKind::Unreadable, format!("cannot be read: {err}")),
                },
                (Kind::Other, Some(_)) => {
                    damage(Some(name), DamageKind::Unreadable, "is a link or a device, and a file was sealed".into());
                }
                (Kind::Other, None) => added.push(name),
            }
        }
        for (name, entry) in &manifest.files {
            if entry.external {
                let stored = self.folder().join(".raw").join(&entry.sha256);
                match digest_file(&stored) {
                    Ok((size, sha256)) if size == entry.size_bytes && sha256 == entry.sha256 => {
                        files += 1;
                        read_bytes += size;
                    }
                    Ok((size, sha256)) => {
                        let now = format!("{size} bytes, sha256 {sha256}");
                        damage(Some(name), DamageKind::Changed, format!("{} holds {now}", stored.display()));
                    }
                    Err(err) if err.kind() == io::ErrorKind::NotFound => absent.push(name.clone()),
                    Err(err) => damage(Some(name), DamageKind::Unreadable, format!("{}: {err}", stored.display())),
                }
            } else if !found.contains_key(name) {
                missing.push((name.as_str(), entry));
            }
        }

        let mut holders: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, sha256) in &holds {
            holders.entry(sha256).or_default().push(name);
        }
        let elsewhere = |entry: &ManifestEntry, own: &str| {
            let names = holders.get(entry.sha256.as_str())?;
            names.iter().find(|name| **name != own).copied()
        };
        for (name, entry, size) in &changed {
            let is_of = manifest.files.iter().find(|(_, other)| Some(&other.sha256) == holds.get(name));
            let detail = match (is_of, elsewhere(entry, name)) {
                (Some((other, _)), _) => format!("holds the bytes sealed as {other}"),
                (None, Some(other)) => format!("its sealed bytes are in {other} now, and it holds others"),
                (None, None) => differs(entry, *size, &holds[name]),
            };
            damage(Some(name), DamageKind::Changed, detail);
        }
        for (name, entry) in missing {
            let detail = match elsewhere(entry, name) {
                Some(other) => format!("is missing: its bytes are in {other} now"),
                None => format!("is missing ({} bytes were sealed)", entry.size_bytes),
            };
            damage(Some(name), DamageKind::Missing, detail);
        }
        for name in added {
            let what = if found[name] == Kind::File { "a file" } else { "a link or a device" };
            damage(Some(name), DamageKind::Added, format!("{what} that was not sealed"));
        }
        verified.damages.sort_by(|a, b| a.file.cmp(&b.file));
        let tree = trees::tree_of(&blobs).filter(|_| verified.damages.is_empty()).map(|tree| tree.to_string());
        Verified { files, bytes: read_bytes, absent, digest: Some(sha256_hex(&bytes)), tree, ..verified }
    }
}

/// A larger file is read in pieces, once for either digest.
const READ_WHOLE: u64 = 4 << 20;

/// Size, sha256, and the id that git has for a file of these bytes.
fn digests_of(path: &Path) -> io::Result<(u64, String, Option<Oid>)> {
    if fs::metadata(path)?.len() > READ_WHOLE {
        let (size, sha256) = digest_file(path)?;
        return Ok((size, sha256, trees::blob_of_file(path)));
    }
    let bytes = fs::read(path)?;
    Ok((bytes.len() as u64, sha256_hex(&bytes), trees::blob_of(&bytes)))
}

fn differs(entry: &ManifestEntry, size: u64, sha256: &str) -> String {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    match size == entry.size_bytes {
        true => format!("holds other bytes: sha256 {}… was sealed, it is {}…", short(&entry.sha256), short(sha256)),
        false => format!("has {size} bytes, {} were sealed", entry.size_bytes),
    }
}

fn parse_manifest(bytes: &[u8], id: BenchmarkId) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|err| format!("is no manifest: {err}"))?;
    if !(1..=SCHEMA).contains(&manifest.schema) {
        return Err(format!("has schema {}, this build reads 1 to {SCHEMA}", manifest.schema));
    }
    if manifest.benchmark_id != id {
        return Err(format!("is the manifest of {}", manifest.benchmark_id));
    }
    // What was sealed is written in one way only, so a field that nobody reads is seen too.
    let mut canonical = serde_json::to_vec_pretty(&manifest).map_err(|err| err.to_string())?;
    canonical.push(b'\n');
    if canonical != bytes {
        return Err("is not as a manifest is written: something was added or set differently".into());
    }
    for (name, entry) in &manifest.files {
        let plain = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let digest = entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !plain || name == MANIFEST || !digest {
            return Err(format!("has an impossible entry `{}`", name.escape_debug()));
        }
    }
    Ok(manifest)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Other,
}

/// Everything below a folder but folders, by its path in it, without following links.
fn entries_below(folder: &Path) -> io::Result<BTreeMap<String, Kind>> {
    // Before reading it: a link to another benchmark's folder reads like that one.
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Err(io::Error::other("it is a link or a file"));
    }
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = folders.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.insert(name, if kind.is_file() { Kind::File } else { Kind::Other });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
