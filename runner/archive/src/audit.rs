//! The archive against its git history: nothing that was ever committed may have changed or gone.
//!
//! Every commit that HEAD descends from is compared with its parents, by the object ids of the benchmarks' folders: no file
//! is read. The disk is compared with HEAD by the ids that git would give its folders. A shallow or partial clone is audited as
//! far as it has what is needed, which the answer says; nothing is fetched. That objects are what their ids say is for git to
//! tell (`git fsck`), which compares those that are read here.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    str::FromStr,
};

use git2::{Commit, ErrorCode, Oid, Repository};
use serde::{Deserialize, Serialize};

use crate::{
    BenchmarkId, Damage, DamageKind,
    commit::slashed,
    sha256_hex,
    verify::{MANIFEST, SIGNATURE},
};

pub(crate) mod trees;
mod walk;

/// What is asked of the history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// A commit that HEAD and the disk must hold everything of, also when HEAD does not descend from it.
    pub base: Option<&'a str>,
    /// Only what is about these benchmarks is said.
    pub only: Option<&'a [BenchmarkId]>,
    /// What the disk holds of benchmarks that were read already; others are read.
    pub read: Option<&'a HashMap<BenchmarkId, OnDisk>>,
    /// What is known of the history up to some commit: nothing of it can have changed.
    pub known: Option<&'a Audited>,
}

/// What a benchmark's folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// What was sealed; the id that git has for such a folder.
    Sealed(Option<String>),
    /// Something else: that was said, so that only the manifest and its signature are compared.
    Damaged,
}

/// A history that is sound up to a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    pub head: String,
    /// The archive's folder in the repository.
    pub folder: String,
    pub commits: u64,
}

/// What the history says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub damages: Vec<Damage>,
    /// Benchmarks, and the commits that brought them; of what was not known before.
    #[serde(skip)]
    pub brought: Vec<(BenchmarkId, String)>,
    /// Commits that were looked at, now or before.
    pub commits: u64,
    /// Of these, before.
    pub known_commits: u64,
    /// Sealed benchmarks on disk that HEAD does not hold.
    pub uncommitted: Vec<BenchmarkId>,
    /// The clone has no commits before some of those looked at.
    pub is_shallow: bool,
    /// Commits whose folders this clone does not have, and which were not looked at.
    pub unread_commits: u64,
    /// What may be taken for known the next time; absent where something is wrong, or could not be read.
    #[serde(skip)]
    pub audited: Option<Audited>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{0} is in no git repository: there is no history to verify")]
    NoRepository(String),
    #[error("`{0}` is no commit of this repository: fetch it, or give another")]
    UnknownBase(String),
    #[error("cannot read the history: {0}")]
    Git(#[from] git2::Error),
}

/// Folders of benchmarks in one commit's archive.
type Folders = BTreeMap<BenchmarkId, Oid>;

/// Compares the archive on disk with HEAD, and HEAD with all that came before it.
pub fn audit(results: &Path, asked: &Asked<'_>) -> Result<Audit, AuditError> {
    let outside = || AuditError::NoRepository(results.display().to_string());
    let results = results.canonicalize().map_err(|_| outside())?;
    let repository = Repository::discover(&results).map_err(|err| match err.code() {
        ErrorCode::NotFound => outside(),
        _ => AuditError::Git(err),
    })?;
    let root = repository.workdir().and_then(|root| root.canonicalize().ok()).ok_or_else(outside)?;
    let relative = slashed(results.strip_prefix(&root).map_err(|_| outside())?);
    let mut audit = Audit { is_shallow: repository.is_shallow(), ..Audit::default() };

    let head = match repository.head() {
        Ok(head) => head.peel_to_commit()?,
        Err(err) if err.code() == ErrorCode::UnbornBranch => {
            audit.uncommitted = on_disk(&results);
            return Ok(audit);
        }
        Err(err) => return Err(err.into()),
    };
    let committed = folders(&repository, &head, &relative)?;
    compare_disk(&repository, &results, &committed, asked, &mut audit)?;
    if let Some(base) = asked.base {
        let commit = repository.revparse_single(base).and_then(|object| object.peel_to_commit());
        let commit = commit.map_err(|_| AuditError::UnknownBase(base.to_owned()))?;
        let before = folders(&repository, &commit, &relative)?;
        audit.damages.extend(lost(&repository, &before, &committed, &format!("since {base}")));
    }

    let known = asked.known.filter(|known| known.folder == relative && !audit.is_shallow);
    let known = known.and_then(|known| Some((Oid::from_str(&known.head).ok()?, known.commits)));
    let known = known.filter(|(commit, _)| repository.find_commit(*commit).is_ok());
    let walked = walk::walk(&repository, &relative, head.id(), known.map(|(commit, _)| commit))?;
    let is_sound = walked.damages.is_empty() && walked.unread == 0 && !audit.is_shallow;
    audit.known_commits = known.map_or(0, |(_, commits)| commits);
    audit.commits = walked.commits + audit.known_commits;
    audit.unread_commits = walked.unread;
    audit.audited = is_sound.then(|| Audited { head: head.id().to_string(), folder: relative, commits: audit.commits });
    audit.brought = walked.brought;
    audit.damages.extend(walked.damages);
    if let Some(only) = asked.only {
        audit.damages.retain(|damage| only.contains(&damage.benchmark_id));
        audit.uncommitted.retain(|id| only.contains(id));
        audit.brought.retain(|(id, _)| only.contains(id));
    }
    audit.damages.sort_by(|a, b| (a.benchmark_id, &a.file).cmp(&(b.benchmark_id, &b.file)));
    audit.damages.dedup();
    Ok(audit)
}

/// The archive's tree in a commit: `None` where it has none. Step by step: a folder that a partial clone lacks is not one
/// that is not there.
fn tree_at(repository: &Repository, commit: &Commit<'_>, relative: &str) -> Result<Option<Oid>, git2::Error> {
    let mut tree = commit.tree_id();
    for name in relative.split('/').filter(|name| !name.is_empty()) {
        match repository.find_tree(tree)?.get_name(name) {
            Some(entry) => tree = entry.id(),
            None => return Ok(None),
        }
    }
    Ok(Some(tree))
}

fn folders(repository: &Repository, commit: &Commit<'_>, relative: &str) -> Result<Folders, git2::Error> {
    let Some(tree) = tree_at(repository, commit, relative)? else { return Ok(Folders::new()) };
    let tree = repository.find_tree(tree)?;
    let benchmarks = tree.iter().filter_map(|entry| {
        let id = BenchmarkId::from_str(entry.name().ok()?).ok()?;
        Some((id, entry.id()))
    });
    Ok(benchmarks.collect())
}

/// What `after` lacks of `before`, or holds differently.
fn lost(repository: &Repository, before: &Folders, after: &Folders, by: &str) -> Vec<Damage> {
    let differing = before.iter().filter(|(id, folder)| after.get(id) != Some(folder));
    differing.flat_map(|(id, folder)| changed(repository, *id, *folder, after.get(id).copied(), by)).collect()
}

/// A benchmark whose folder is another, or none.
fn changed(repository: &Repository, id: BenchmarkId, before: Oid, after: Option<Oid>, by: &str) -> Vec<Damage> {
    let Some(after) = after else { return vec![damage(id, None, format!("was removed {by}"))] };
    match changed_files(repository, before, after) {
        Ok(files) => files.into_iter().map(|(file, what)| damage(id, Some(file), format!("{what} {by}"))).collect(),
        Err(err) => vec![damage(id, None, format!("was changed {by} ({err})"))],
    }
}

fn damage(benchmark_id: BenchmarkId, file: Option<String>, detail: String) -> Damage {
    Damage { benchmark_id, file, kind: DamageKind::History, detail }
}

/// File → `was changed`, `was removed` or `was added`.
fn changed_files(repository: &Repository, before: Oid, after: Oid) -> Result<Vec<(String, &'static str)>, git2::Error> {
    let (before, after) = (repository.find_tree(before)?, repository.find_tree(after)?);
    let diff = repository.diff_tree_to_tree(Some(&before), Some(&after), None)?;
    let files = diff.deltas().map(|delta| {
        let path = delta.new_file().path().or(delta.old_file().path()).unwrap_or(Path::new("?"));
        let what = match delta.status() {
            git2::Delta::Added => "was added",
            git2::Delta::Deleted => "was removed",
            _ => "was changed",
        };
        (slashed(path), what)
    });
    Ok(files.collect())
}

/// The commit that brought a benchmark names its digest: says when it is that of other bytes.
fn contradiction(repository: &Repository, id: BenchmarkId, folder: Oid, commit: &Commit<'_>) -> Option<Damage> {
    let message = commit.message().ok()?;
    // A commit of several benchmarks, as after a squash, says nothing about each.
    let of = message.lines().find_map(|line| line.strip_prefix("Benchmark: "))?;
    let named = message.lines().find_map(|line| line.strip_prefix("Digest: sha256:"))?;
    if of.trim() != id.to_string() {
        return None;
    }
    let manifest = repository.find_tree(folder).ok()?.get_name(MANIFEST)?.id();
    // Of a partial clone; what is on disk was compared with its id.
    let manifest = repository.find_blob(manifest).ok()?;
    let digest = sha256_hex(manifest.content());
    (digest != named.trim()).then(|| {
        let commit = &commit.id().to_string()[..12];
        let detail = format!("commit {commit} brought other bytes than its message says: sha256 {digest}, not {named}");
        damage(id, Some(MANIFEST.to_owned()), detail)
    })
}

fn on_disk(results: &Path) -> Vec<BenchmarkId> {
    let entries = fs::read_dir(results).into_iter().flatten().flatten();
    let mut ids: Vec<_> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort();
    ids
}

/// Every benchmark of HEAD is on disk, with the bytes that HEAD has.
fn compare_disk(
    repository: &Repository,
    results: &Path,
    committed: &Folders,
    asked: &Asked<'_>,
    audit: &mut Audit,
) -> Result<(), git2::Error> {
    for (id, folder) in committed.iter().filter(|(id, _)| asked.only.is_none_or(|only| only.contains(id))) {
        let place = results.join(id.to_string());
        if !place.exists() {
            audit.damages.push(damage(*id, None, "is in HEAD and not on disk".into()));
            continue;
        }
        let read = asked.read.and_then(|read| read.get(id));
        let here = match read {
            Some(OnDisk::Sealed(tree)) if tree.as_deref() == Some(folder.to_string().as_str()) => continue,
            Some(OnDisk::Damaged) => [MANIFEST, SIGNATURE]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), trees::blob_of_file(&place.join(name))?)))
                .collect(),
            _ => match trees::blobs_on_disk(&place) {
                Ok(here) => here,
                Err(err) => {
                    audit.damages.push(damage(*id, None, format!("its folder cannot be read: {err}")));
                    continue;
                }
            },
        };
        if trees::tree_of(&here) == Some(*folder) {
            continue;
        }
        let mut sealed = trees::Blobs::new();
        repository.find_tree(*folder)?.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
            if let (Ok(name), Some(git2::ObjectType::Blob)) = (entry.name(), entry.kind()) {
                sealed.insert(format!("{above}{name}"), entry.id());
            }
            git2::TreeWalkResult::Ok
        })?;
        if read == Some(&OnDisk::Damaged) {
            sealed.retain(|name, _| [MANIFEST, SIGNATURE].contains(&name.as_str()));
        }
        let names: std::collections::BTreeSet<&String> = sealed.keys().chain(here.keys()).collect();
        for name in names {
            let detail = match (sealed.get(name), here.get(name)) {
                (sealed, now) if sealed == now => continue,
                (Some(_), Some(_)) => "is not the one that was committed",
                (Some(_), None) => "was committed and is not there",
                (None, _) => "is there and was not committed",
            };
            audit.damages.push(damage(*id, Some(name.clone()), detail.into()));
        }
    }
    audit.uncommitted = on_disk(results).into_iter().filter(|id| !committed.contains_key(id)).collect();
    Ok(())
}

#[cfg(test)]
mod tests;
