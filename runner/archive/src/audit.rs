//! The archive against its git history: nothing that was ever committed may have changed or gone.
//!
//! Every commit that HEAD descends from is compared with its parents, by the object ids of the benchmarks' folders: no file
//! is read. A shallow or partial clone is audited as far as it has what is needed, which the answer says; nothing is fetched.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    rc::Rc,
    str::FromStr,
};

use git2::{Commit, ErrorCode, ObjectType, Oid, Repository, Sort, Tree};
use serde::Serialize;

use crate::{
    BenchmarkId, Damage, DamageKind,
    commit::slashed,
    sha256_hex,
    verify::{MANIFEST, SIGNATURE},
};

/// What the history says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub damages: Vec<Damage>,
    /// Benchmarks, and the commits that brought them.
    #[serde(skip)]
    pub brought: Vec<(BenchmarkId, String)>,
    /// Commits that were looked at.
    pub commits: u64,
    /// Sealed benchmarks on disk that HEAD does not hold.
    pub uncommitted: Vec<BenchmarkId>,
    /// The clone has no commits before some of those looked at.
    pub is_shallow: bool,
    /// Commits whose folders this clone does not have, and which were not looked at.
    pub unread_commits: u64,
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
///
/// `base` names a commit that HEAD and the disk must hold everything of, also when HEAD does not descend from it.
/// `only` restricts what is said to these benchmarks.
pub fn audit(results: &Path, base: Option<&str>, only: Option<&[BenchmarkId]>) -> Result<Audit, AuditError> {
    let outside = || AuditError::NoRepository(results.display().to_string());
    let results = results.canonicalize().map_err(|_| outside())?;
    let repository = Repository::discover(&results).map_err(|err| match err.code() {
        ErrorCode::NotFound => outside(),
        _ => AuditError::Git(err),
    })?;
    let root = repository.workdir().and_then(|root| root.canonicalize().ok()).ok_or_else(outside)?;
    let relative = slashed(results.strip_prefix(&root).map_err(|_| outside())?);
    let mut history = Reader { repository: &repository, relative, known: HashMap::new() };
    let mut audit = Audit { is_shallow: repository.is_shallow(), ..Audit::default() };

    let head = match repository.head() {
        Ok(head) => head.peel_to_commit()?,
        Err(err) if err.code() == ErrorCode::UnbornBranch => {
            audit.uncommitted = on_disk(&results);
            return Ok(audit);
        }
        Err(err) => return Err(err.into()),
    };
    let committed = history.folders(&head)?;
    compare_disk(&repository, &results, &committed, &mut audit)?;
    if let Some(base) = base {
        let commit = repository.revparse_single(base).and_then(|object| object.peel_to_commit());
        let commit = commit.map_err(|_| AuditError::UnknownBase(base.to_owned()))?;
        let before = history.folders(&commit)?;
        audit.damages.extend(lost(&repository, &before, &committed, &format!("since {base}")));
    }

    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL)?;
    walk.push(head.id())?;
    for id in walk {
        let commit = repository.find_commit(id?)?;
        let Some(now) = known(history.folders(&commit))? else {
            audit.unread_commits += 1;
            continue;
        };
        let mut inherited: HashSet<BenchmarkId> = HashSet::new();
        let mut has_parents = commit.parent_count() == 0;
        for parent in commit.parents() {
            // Of a partial clone: as if it ended here.
            let Some(before) = known(history.folders(&parent))? else { continue };
            has_parents = true;
            if Rc::ptr_eq(&before, &now) {
                inherited.extend(now.keys());
                continue;
            }
            let by = format!("by commit {}", &commit.id().to_string()[..12]);
            audit.damages.extend(lost(&repository, &before, &now, &by));
            inherited.extend(before.keys());
        }
        audit.commits += 1;
        // At the edge of a shallow clone everything looks new.
        if has_parents {
            for (id, folder) in now.iter().filter(|(id, _)| !inherited.contains(id)) {
                audit.brought.push((*id, commit.id().to_string()));
                audit.damages.extend(contradiction(&repository, *id, *folder, &commit));
            }
        }
    }
    if let Some(only) = only {
        audit.damages.retain(|damage| only.contains(&damage.benchmark_id));
        audit.uncommitted.retain(|id| only.contains(id));
        audit.brought.retain(|(id, _)| only.contains(id));
    }
    audit.damages.sort_by(|a, b| (a.benchmark_id, &a.file).cmp(&(b.benchmark_id, &b.file)));
    audit.damages.dedup();
    Ok(audit)
}

/// What could be read; `None` for what a partial clone does not have.
fn known<T>(read: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match read {
        Err(err) if err.code() == ErrorCode::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Reads the archive's tree of commits; equal trees are read once.
struct Reader<'a> {
    repository: &'a Repository,
    relative: String,
    known: HashMap<Oid, Rc<Folders>>,
}

/// Trees of the archive that are kept; a commit's parent is mostly the next to be read.
const KEPT_TREES: usize = 64;

impl Reader<'_> {
    fn folders(&mut self, commit: &Commit<'_>) -> Result<Rc<Folders>, git2::Error> {
        let mut tree = commit.tree_id();
        // Step by step: a folder that a partial clone lacks is not one that is not there.
        for name in self.relative.split('/').filter(|name| !name.is_empty()) {
            match self.repository.find_tree(tree)?.get_name(name) {
                Some(entry) => tree = entry.id(),
                None => return Ok(Rc::default()),
            }
        }
        if let Some(folders) = self.known.get(&tree) {
            return Ok(folders.clone());
        }
        let tree: Tree<'_> = self.repository.find_tree(tree)?;
        let benchmarks = tree.iter().filter_map(|entry| {
            let id = BenchmarkId::from_str(entry.name().ok()?).ok()?;
            Some((id, entry.id()))
        });
        let folders: Rc<Folders> = Rc::new(benchmarks.collect());
        if self.known.len() >= KEPT_TREES {
            self.known.clear();
        }
        self.known.insert(tree.id(), folders.clone());
        Ok(folders)
    }
}

/// What `after` lacks of `before`, or holds differently.
fn lost(repository: &Repository, before: &Folders, after: &Folders, by: &str) -> Vec<Damage> {
    let mut damages = Vec::new();
    for (id, folder) in before {
        match after.get(id) {
            Some(now) if now == folder => {}
            Some(now) => match changed_files(repository, *folder, *now) {
                Ok(files) => damages
                    .extend(files.into_iter().map(|(file, what)| damage(*id, Some(file), format!("{what} {by}")))),
                Err(err) => damages.push(damage(*id, None, format!("was changed {by} ({err})"))),
            },
            None => damages.push(damage(*id, None, format!("was removed {by}"))),
        }
    }
    damages
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

/// The manifests and signatures on disk are those of HEAD, and every benchmark of HEAD is there.
fn compare_disk(
    repository: &Repository,
    results: &Path,
    committed: &Folders,
    audit: &mut Audit,
) -> Result<(), git2::Error> {
    for (id, folder) in committed {
        let place = results.join(id.to_string());
        if !place.exists() {
            audit.damages.push(damage(*id, None, "is in HEAD and not on disk".into()));
            continue;
        }
        let tree = repository.find_tree(*folder)?;
        for name in [MANIFEST, SIGNATURE] {
            let sealed = tree.get_name(name).map(|entry| entry.id());
            let now = fs::read(place.join(name)).ok();
            // The id of a blob is a digest: it needs not be there.
            let now = now.map(|bytes| Oid::hash_object(ObjectType::Blob, &bytes)).transpose()?;
            let detail = match (sealed, now) {
                (sealed, now) if sealed == now => continue,
                (Some(_), Some(_)) => "is not the one that was committed",
                (Some(_), None) => "was committed and is not there",
                (None, _) => "is there and was not committed",
            };
            audit.damages.push(damage(*id, Some(name.to_owned()), detail.into()));
        }
    }
    audit.uncommitted = on_disk(results).into_iter().filter(|id| !committed.contains_key(id)).collect();
    Ok(())
}

#[cfg(test)]
mod tests;
