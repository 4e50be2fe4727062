//! Folders of benchmarks on disk, brought to what a commit holds: each of them whole or not at all, whenever this is killed.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use git2::{ObjectType, Oid, Repository};

use super::{Folders, ReplayError};
use crate::{
    BenchmarkId,
    seal::{files_below, sync_folder, write_durably},
};

/// A folder that is not as it is to be.
pub(super) struct Change {
    id: BenchmarkId,
    /// What is to be there.
    to: Option<Oid>,
}

/// What differs on disk from `to`. Errs when something would be lost: a folder that is neither as it was committed nor as it
/// is to be.
pub(super) fn changes(
    repository: &Repository,
    results: &Path,
    from: &Folders,
    to: &Folders,
) -> Result<Vec<Change>, ReplayError> {
    let mut changes = Vec::new();
    let ids: BTreeSet<&BenchmarkId> = from.keys().chain(to.keys()).collect();
    for id in ids.into_iter().filter(|id| from.get(*id) != to.get(*id)) {
        let place = results.join(id.to_string());
        let is = |folder: Option<&Oid>| match folder {
            Some(folder) => holds(repository, &place, *folder),
            None => Ok(!place.exists()),
        };
        // What an attempt that was cut off brought needs not be brought again; what it took away is in git.
        if is(to.get(id))? {
            continue;
        }
        if place.exists() && !is(from.get(id))? {
            return Err(ReplayError::Changed(git2::Error::from_str(&id.to_string())));
        }
        changes.push(Change { id: *id, to: to.get(id).copied() });
    }
    // First those that replace nothing: what gets another id is there before what takes its place.
    changes.sort_by_key(|change| results.join(change.id.to_string()).exists());
    Ok(changes)
}

/// Does it.
pub(super) fn apply(
    repository: &Repository,
    results: &Path,
    work: &Path,
    changes: &[Change],
) -> Result<(), ReplayError> {
    for Change { id, to } in changes {
        let place = results.join(id.to_string());
        let (staged, away) = (work.join("incoming").join(id.to_string()), work.join("removed").join(id.to_string()));
        for folder in [&staged, &away] {
            clear(folder)?;
            fs::create_dir_all(folder.parent().unwrap_or(work)).map_err(at(folder))?;
        }
        if let Some(to) = to {
            write(repository, *to, &staged)?;
        }
        if place.exists() {
            fs::rename(&place, &away).map_err(at(&place))?;
        }
        if to.is_some() {
            fs::rename(&staged, &place).map_err(at(&place))?;
        }
        sync_folder(results).map_err(at(results))?;
        clear(&away)?;
    }
    Ok(())
}

/// Whether a folder holds exactly the files of a tree.
fn holds(repository: &Repository, place: &Path, folder: Oid) -> Result<bool, ReplayError> {
    let mut wanted = Vec::new();
    files_of(repository, folder, Path::new(""), &mut wanted)?;
    let Ok(here) = files_below(place) else { return Ok(false) };
    let same = |(name, blob): &(PathBuf, Oid)| {
        Oid::hash_file(ObjectType::Blob, place.join(name)).is_ok_and(|here| here == *blob)
    };
    Ok(here.len() == wanted.len() && wanted.iter().all(same))
}

/// The files of a tree, by their paths in it.
fn files_of(
    repository: &Repository,
    tree: Oid,
    below: &Path,
    files: &mut Vec<(PathBuf, Oid)>,
) -> Result<(), ReplayError> {
    for entry in repository.find_tree(tree)?.iter() {
        let name = Path::new(entry.name().unwrap_or_default());
        // What others pushed may be anything.
        if !matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(git2::Error::from_str(&format!("{tree} has an entry that is no name of a file")).into());
        }
        let path = below.join(name);
        match entry.kind() {
            Some(ObjectType::Tree) => files_of(repository, entry.id(), &path, files)?,
            _ => files.push((path, entry.id())),
        }
    }
    Ok(())
}

fn write(repository: &Repository, tree: Oid, folder: &Path) -> Result<(), ReplayError> {
    let mut files = Vec::new();
    files_of(repository, tree, Path::new(""), &mut files)?;
    let mut folders = BTreeSet::from([folder.to_owned()]);
    for (name, blob) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(at(parent))?;
        folders.insert(parent.to_owned());
        write_durably(&path, repository.find_blob(blob)?.content()).map_err(at(&path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(at(&path))?;
    }
    folders.iter().try_for_each(|folder| sync_folder(folder).map_err(at(folder)))
}

fn clear(folder: &Path) -> Result<(), ReplayError> {
    match fs::remove_dir_all(folder) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(at(folder)(err)),
        _ => Ok(()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ReplayError {
    let path = path.to_owned();
    move |err| ReplayError::Io(path, err)
}
