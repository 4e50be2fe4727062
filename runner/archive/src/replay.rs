//! Benchmarks that were committed here, put on top of what others committed meanwhile: a rebase that changes no file on disk
//! but those that are new here.
//!
//! Ids are given out by every clone for itself, so two may have given the same. Of the two benchmarks the one that nobody
//! else has seen yet gets another id: its `run.json` says which it had, and with which digest. Nothing else of it changes.
//! Only benchmarks are moved; a commit of something else is its author's to rebase. Local only: what others committed was
//! fetched before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

use git2::{
    Commit, Delta, DiffDelta, ErrorCode, FileMode, ObjectType, Oid, Repository, Sort, Tree,
    build::{CheckoutBuilder, TreeUpdateBuilder},
};
use serde_json::{Value, json};

use crate::{
    Archive, BenchmarkId, Manifest, ManifestEntry, SigningKey,
    commit::{ATTRIBUTES, IndexUpdate, PATIENCE, entry, move_head, signed, slashed, under_way, unsigned},
    sha256_hex,
    verify::{MANIFEST, SIGNATURE},
};

mod folders;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{0} is in no git repository")]
    NoRepository(PathBuf),
    #[error("the repository is in the middle of a {0}: finish or abort it")]
    Busy(&'static str),
    #[error(
        "commit {commit} (“{subject}”) is no benchmark's, and only those are put on top of what others pushed: rebase it \
         yourself (`git pull --rebase`)"
    )]
    OwnCommit { commit: String, subject: String },
    #[error("{0} is being measured here, and another benchmark of that id was pushed: wait until it has ended")]
    Measured(BenchmarkId),
    #[error(
        "{0} is not committed here, and another benchmark of that id was pushed: `runner export {0} --format tar`, remove its \
         folder, and `runner import` the tar afterwards, which gives it another id"
    )]
    Uncommitted(BenchmarkId),
    #[error("{0} is signed and would have to be signed anew: give the key with `--sign`")]
    Signed(String),
    #[error(
        "files here are not as they were committed, and others changed the same: commit them or put them back: {0}"
    )]
    Changed(git2::Error),
    #[error("cannot read {0} of {1}: {2}")]
    Format(&'static str, BenchmarkId, serde_json::Error),
    #[error("cannot work in the archive: {0}")]
    Archive(anyhow::Error),
    #[error("cannot sign: {0}")]
    Sign(#[from] crate::SignError),
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    #[error(transparent)]
    Git(#[from] git2::Error),
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Benchmarks that got another id: the one they had, and the one they have.
    pub renamed: Vec<(BenchmarkId, BenchmarkId)>,
}

type Folders = BTreeMap<BenchmarkId, Oid>;

/// A commit that brought benchmarks.
struct Brought<'r> {
    commit: Commit<'r>,
    folders: Folders,
    /// The archive's `.gitattributes`, if it brought that too.
    attributes: Option<Oid>,
}

/// Puts the commits of HEAD that the reference `onto` lacks on top of it, moves the branch there, and brings files and index
/// up to date. `None` when HEAD has all of `onto` already.
///
/// `measured` are ids of benchmarks that are under way here and not sealed yet. Signed commits and manifests that change are
/// signed anew with `sign`.
pub fn replay(
    archive: &Archive,
    onto: &str,
    measured: &BTreeSet<BenchmarkId>,
    sign: Option<&SigningKey>,
) -> Result<Option<Replayed>, ReplayError> {
    let outside = || ReplayError::NoRepository(archive.folder().to_owned());
    let results = archive.folder().canonicalize().map_err(|_| outside())?;
    let repository = Repository::discover(&results).map_err(|_| outside())?;
    let root = repository.workdir().and_then(|root| root.canonicalize().ok()).ok_or_else(outside)?;
    let relative = slashed(results.strip_prefix(&root).map_err(|_| outside())?);
    if let Some(work) = under_way(&repository) {
        return Err(ReplayError::Busy(work));
    }
    // While it is held, no other runner and no git command commits here.
    let index = IndexUpdate::begin(&repository, Instant::now() + PATIENCE)?;
    let local = repository.head()?.peel_to_commit()?;
    let remote = repository.find_reference(onto)?.peel_to_commit()?;
    if local.id() == remote.id() || repository.graph_descendant_of(local.id(), remote.id())? {
        return Ok(None);
    }
    let place = Place { repository: &repository, relative };
    let there = place.folders(&remote.tree()?)?;
    let here = place.folders(&local.tree()?)?;
    for id in there.keys().filter(|id| !here.contains_key(id)) {
        place.may_come(*id, there[id], &results, measured)?;
    }

    let brought = place.brought(&local, &remote)?;
    let mut names: BTreeMap<BenchmarkId, BenchmarkId> = BTreeMap::new();
    let taken: BTreeSet<BenchmarkId> =
        here.keys().chain(there.keys()).copied().chain(archive.ids().map_err(ReplayError::Archive)?).collect();
    for (id, folder) in brought.iter().flat_map(|brought| &brought.folders) {
        if there.get(id).is_some_and(|other| other != folder) {
            let before = place.given_before(archive, &here, &place.digest(*folder)?);
            let beside = || archive.allocate_beside(id.date(), taken.iter().chain(names.values()).copied());
            let new = before.map_or_else(beside, Ok).map_err(ReplayError::Archive)?;
            names.insert(*id, new);
        }
    }
    let mut tip = remote;
    for one in &brought {
        tip = place.put_on(tip, one, &there, &names, sign)?;
    }
    let work = archive.work_folder().map_err(ReplayError::Archive)?;
    place.check_out(&local.tree()?, &tip.tree()?, &root, &work, &index)?;
    // The index first: one that lacks what HEAD holds makes the user's next commit remove it, and nobody would come back to it.
    // While HEAD is where it was, the next attempt does all of this again.
    index.put()?;
    if let Err(err) = move_head(&repository, tip.id(), Some(local.id()), "put on top of what others pushed") {
        index.put_back()?;
        return Err(err.into());
    }
    Ok(Some(Replayed { renamed: names.into_iter().collect() }))
}

/// An archive in a repository.
struct Place<'r> {
    repository: &'r Repository,
    /// The results folder, from the root; empty when it is the root.
    relative: String,
}

impl<'r> Place<'r> {
    fn path(&self, name: &str) -> String {
        match self.relative.as_str() {
            "" => name.to_owned(),
            relative => format!("{relative}/{name}"),
        }
    }

    /// The benchmarks of a commit's tree.
    fn folders(&self, tree: &Tree<'_>) -> Result<Folders, git2::Error> {
        let found;
        let tree = match self.relative.as_str() {
            "" => tree,
            relative => match tree.get_path(Path::new(relative)) {
                Ok(entry) => {
                    found = self.repository.find_tree(entry.id())?;
                    &found
                }
                Err(err) if err.code() == ErrorCode::NotFound => return Ok(Folders::new()),
                Err(err) => return Err(err),
            },
        };
        Ok(tree
            .iter()
            .filter_map(|entry| Some((BenchmarkId::from_str(entry.name().ok()?).ok()?, entry.id())))
            .collect())
    }

    /// The benchmark that a path below the root belongs to.
    fn benchmark_of(&self, path: &Path) -> Option<BenchmarkId> {
        let path = slashed(path);
        let below = match self.relative.as_str() {
            "" => &path,
            relative => path.strip_prefix(relative)?.strip_prefix('/')?,
        };
        below.split_once('/')?.0.parse().ok()
    }

    /// Errs when the folder of a benchmark of others cannot be put where it belongs.
    fn may_come(
        &self,
        id: BenchmarkId,
        folder: Oid,
        results: &Path,
        measured: &BTreeSet<BenchmarkId>,
    ) -> Result<(), ReplayError> {
        let sealed = results.join(id.to_string());
        if sealed.exists() {
            // What an attempt that was cut off brought is the same.
            let manifest = self.repository.find_tree(folder)?.get_name(MANIFEST).map(|entry| entry.id());
            let here = fs::read(sealed.join(MANIFEST)).ok();
            let here = here.map(|bytes| Oid::hash_object(ObjectType::Blob, &bytes)).transpose()?;
            return if here == manifest { Ok(()) } else { Err(ReplayError::Uncommitted(id)) };
        }
        if measured.contains(&id) { Err(ReplayError::Measured(id)) } else { Ok(()) }
    }

    /// The id that an attempt which was cut off gave to the benchmark with this digest: its files are on disk already.
    fn given_before(&self, archive: &Archive, committed: &Folders, digest: &str) -> Option<BenchmarkId> {
        let renamed = |id: &BenchmarkId| {
            let run = fs::read(archive.folder().join(id.to_string()).join("run.json")).ok()?;
            let run: Value = serde_json::from_slice(&run).ok()?;
            (run.get("renamed")?["digest"].as_str()? == digest).then_some(*id)
        };
        let mut ids = archive.ids().unwrap_or_default().into_iter().filter(|id| !committed.contains_key(id));
        ids.find_map(|id| renamed(&id))
    }

    /// The commits that `local` has and `remote` lacks, oldest first, with the benchmarks that each brought.
    fn brought(&self, local: &Commit<'r>, remote: &Commit<'_>) -> Result<Vec<Brought<'r>>, ReplayError> {
        let theirs = remote.tree()?;
        let mut walk = self.repository.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
        walk.push(local.id())?;
        walk.hide(remote.id())?;
        let mut all = Vec::new();
        for id in walk {
            let commit = self.repository.find_commit(id?)?;
            let own = || ReplayError::OwnCommit {
                commit: commit.id().to_string()[..12].to_owned(),
                subject: commit.summary().ok().flatten().unwrap_or_default().to_owned(),
            };
            if commit.parent_count() > 1 {
                return Err(own());
            }
            let before = commit.parent(0).ok().map(|parent| parent.tree()).transpose()?;
            let (tree, mut folders, mut attributes) = (commit.tree()?, Folders::new(), None);
            let (old, new) =
                (before.as_ref().map(|tree| self.folders(tree)).transpose()?.unwrap_or_default(), self.folders(&tree)?);
            for delta in self.repository.diff_tree_to_tree(before.as_ref(), Some(&tree), None)?.deltas() {
                let path = path_of(&delta);
                match self.benchmark_of(path) {
                    Some(id) if delta.status() == Delta::Added && !old.contains_key(&id) => {
                        folders.insert(id, new[&id]);
                    }
                    Some(_) => return Err(own()),
                    // Of a first benchmark. The others may have had a first one too.
                    None if delta.status() == Delta::Added && slashed(path) == self.path(ATTRIBUTES.0) => {
                        attributes = Some(delta.new_file().id());
                    }
                    // What the others have as well needs not be brought.
                    None => {
                        let there = theirs.get_path(path).ok().map(|entry| entry.id());
                        let here = (delta.status() != Delta::Deleted).then(|| delta.new_file().id());
                        if there != here {
                            return Err(own());
                        }
                    }
                }
            }
            all.push(Brought { commit, folders, attributes });
        }
        Ok(all)
    }

    /// A commit like `one` on top of `tip`, which is returned itself where it has all of it.
    fn put_on(
        &self,
        tip: Commit<'r>,
        one: &Brought<'r>,
        there: &Folders,
        names: &BTreeMap<BenchmarkId, BenchmarkId>,
        sign: Option<&SigningKey>,
    ) -> Result<Commit<'r>, ReplayError> {
        let mut update = TreeUpdateBuilder::new();
        let mut message = one.commit.message()?.to_owned();
        let mut is_new = false;
        for (id, folder) in one.folders.iter().filter(|(id, folder)| there.get(id) != Some(folder)) {
            let new = names.get(id).copied().unwrap_or(*id);
            let folder = match self.renamed(*folder, *id, new, names, sign)? {
                Some(renamed) => {
                    message = message.replace(&id.to_string(), &new.to_string());
                    message = message.replace(&self.digest(*folder)?, &self.digest(renamed)?);
                    renamed
                }
                None => *folder,
            };
            update.upsert(self.path(&new.to_string()), folder, FileMode::Tree);
            is_new = true;
        }
        if !is_new {
            return Ok(tip);
        }
        if let Some(attributes) = one.attributes
            && tip.tree()?.get_path(Path::new(&self.path(ATTRIBUTES.0))).is_err()
        {
            update.upsert(self.path(ATTRIBUTES.0), attributes, FileMode::Blob);
        }
        let tree = self.repository.find_tree(update.create_updated(self.repository, &tip.tree()?)?)?;
        let (author, committer) = (one.commit.author(), one.commit.committer());
        let content = self.repository.commit_create_buffer(&author, &committer, &message, &tree, &[&tip])?;
        let commit = match (self.repository.extract_signature(&one.commit.id(), None), sign) {
            (Err(_), _) => unsigned(self.repository, content.as_str()?)?,
            (Ok(_), Some(key)) => signed(self.repository, content.as_str()?, key)?,
            (Ok(_), None) => return Err(ReplayError::Signed(format!("commit {}", &one.commit.id().to_string()[..12]))),
        };
        Ok(self.repository.find_commit(commit)?)
    }

    /// sha256 of the manifest of a benchmark's folder.
    fn digest(&self, folder: Oid) -> Result<String, git2::Error> {
        let tree = self.repository.find_tree(folder)?;
        let manifest = tree.get_name(MANIFEST).ok_or_else(|| git2::Error::from_str("a benchmark has no manifest"))?;
        Ok(sha256_hex(self.repository.find_blob(manifest.id())?.content()))
    }

    /// The folder of a benchmark with another id, and with the other ids of those that it names; `None` when it stays as it is.
    fn renamed(
        &self,
        folder: Oid,
        id: BenchmarkId,
        new: BenchmarkId,
        names: &BTreeMap<BenchmarkId, BenchmarkId>,
        sign: Option<&SigningKey>,
    ) -> Result<Option<Oid>, ReplayError> {
        let tree = self.repository.find_tree(folder)?;
        let blob = |name: &str| -> Result<Vec<u8>, git2::Error> {
            let entry = tree.get_name(name).ok_or_else(|| git2::Error::from_str(&format!("{id} has no {name}")))?;
            Ok(self.repository.find_blob(entry.id())?.content().to_owned())
        };
        let before = blob("run.json")?;
        let mut run: Value = serde_json::from_slice(&before).map_err(|err| ReplayError::Format("run.json", id, err))?;
        if !rename(&mut run, new, names) {
            return Ok(None);
        }
        let digest = self.digest(folder)?;
        if run.get("renamed").is_none() {
            run["renamed"] = json!({ "benchmark_id": id, "digest": digest });
        }
        let run = format!("{run:#}\n").into_bytes();
        let manifest = blob(MANIFEST)?;
        let mut manifest: Manifest =
            serde_json::from_slice(&manifest).map_err(|err| ReplayError::Format(MANIFEST, id, err))?;
        manifest.benchmark_id = new;
        let facts = ManifestEntry { size_bytes: run.len() as u64, sha256: sha256_hex(&run), external: false };
        manifest.files.insert("run.json".into(), facts);
        let mut manifest =
            serde_json::to_vec_pretty(&manifest).map_err(|err| ReplayError::Format(MANIFEST, id, err))?;
        manifest.push(b'\n');

        let mut builder = self.repository.treebuilder(Some(&tree))?;
        let mut put = |name: &str, bytes: &[u8]| -> Result<(), git2::Error> {
            builder.insert(name, self.repository.blob(bytes)?, FileMode::Blob.into()).map(drop)
        };
        put("run.json", &run)?;
        put(MANIFEST, &manifest)?;
        if tree.get_name(SIGNATURE).is_some() {
            let key = sign.ok_or_else(|| ReplayError::Signed(id.to_string()))?;
            put(SIGNATURE, key.sign_manifest(&manifest)?.as_bytes())?;
        }
        Ok(Some(builder.write()?))
    }

    /// Brings the files on disk, and the index, from one tree to another. Files that are equal in both are not touched, and
    /// nothing is when a file that differs is not as it was committed.
    fn check_out(
        &self,
        from: &Tree<'_>,
        to: &Tree<'_>,
        root: &Path,
        work: &Path,
        index: &IndexUpdate,
    ) -> Result<(), ReplayError> {
        let diff = self.repository.diff_tree_to_tree(Some(from), Some(to), None)?;
        let results = root.join(&self.relative);
        let changes = folders::changes(self.repository, &results, &self.folders(from)?, &self.folders(to)?)?;
        // The user's own files as git does it, also to their line ends; sealed bytes go to disk as they are.
        let mut options = CheckoutBuilder::new();
        options.safe().update_index(false).disable_pathspec_match(true);
        let mut is_empty = true;
        for delta in diff.deltas().filter(|delta| self.benchmark_of(path_of(delta)).is_none()) {
            let path = path_of(&delta);
            // What an attempt that was cut off brought needs not be brought again.
            if Oid::hash_file(ObjectType::Blob, root.join(path)).is_ok_and(|here| here == delta.new_file().id()) {
                continue;
            }
            options.path(path);
            is_empty = false;
        }
        // Without a path it would be all of them.
        if !is_empty {
            self.repository.checkout_tree(to.as_object(), Some(&mut options)).map_err(|err| match err.code() {
                ErrorCode::Conflict => ReplayError::Changed(err),
                _ => err.into(),
            })?;
        }
        folders::apply(self.repository, &results, work, &changes)?;
        let mut draft = index.draft()?;
        for delta in diff.deltas() {
            let path = path_of(&delta);
            if delta.status() == Delta::Deleted {
                draft.remove(path, 0)?;
            } else {
                let facts = fs::metadata(root.join(path)).ok();
                let mut entry = entry(&slashed(path), delta.new_file().id(), facts);
                entry.mode = delta.new_file().mode().into();
                draft.add(&entry)?;
            }
        }
        Ok(draft.write()?)
    }
}

fn path_of<'d>(delta: &DiffDelta<'d>) -> &'d Path {
    delta.new_file().path().or(delta.old_file().path()).unwrap_or(Path::new(""))
}

/// Gives `run.json` its id, and those of others that it names; says whether anything changed.
fn rename(run: &mut Value, new: BenchmarkId, names: &BTreeMap<BenchmarkId, BenchmarkId>) -> bool {
    let mut changed = false;
    let mut give = |place: Option<&mut Value>, only: Option<BenchmarkId>| {
        let Some(place) = place else { return };
        let was = place.as_str().and_then(|text| text.parse::<BenchmarkId>().ok());
        let now = only.or_else(|| names.get(&was?).copied());
        if let (Some(was), Some(now)) = (was, now)
            && was != now
        {
            *place = json!(now);
            changed = true;
        }
    };
    give(run.get_mut("benchmark_id"), Some(new));
    give(run.get_mut("rerun_of"), None);
    give(run.get_mut("campaign").and_then(|campaign| campaign.get_mut("retry_of")), None);
    for event in run.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten() {
        give(event.get_mut("benchmark_id"), None);
    }
    changed
}

#[cfg(test)]
mod tests;
