//! Where an archive lives, when not beside what is measured: in a repository of its own, or on a branch of its own.
//!
//! A branch of its own is checked out in the results folder, as a work tree of the same repository (`git worktree`): so the
//! user's work tree, index and current branch stay as they are, and whoever reads the folder needs to know nothing. Local only.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use git2::{ErrorCode, FileMode, Oid, Repository, RepositoryInitOptions, WorktreeAddOptions, build::CheckoutBuilder};

use crate::commit::{ATTRIBUTES, author, move_head, slashed, unsigned};

#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{0} is in no git repository: run `git init` there, or give `--repo DIR`")]
    NoRepository(PathBuf),
    #[error("{0} is there and no git repository: run `git init {0}`, or name a folder that is not there yet")]
    NotARepository(PathBuf),
    #[error("`{0}` is no name of a branch")]
    BadName(String),
    #[error("{folder} is not on branch {wanted} but on {found}: give another folder with `--results`")]
    OtherBranch { folder: PathBuf, wanted: String, found: String },
    #[error(
        "{folder} is there already and not a checkout of branch {branch}: give a folder that is not there yet with `--results`"
    )]
    Occupied { folder: PathBuf, branch: String },
    #[error("cannot prepare {path}: {source}")]
    Git { path: PathBuf, source: git2::Error },
    #[error(
        "cannot prepare {path} yet: {source}; when no git command runs in this repository, a killed one left that file: remove it"
    )]
    Locked { path: PathBuf, source: git2::Error },
    #[error("cannot prepare {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// What git says about a place, with the cure where there is one.
fn refused(path: &Path) -> impl Fn(git2::Error) -> PlaceError + Copy {
    move |source| match source.code() {
        ErrorCode::Locked => PlaceError::Locked { path: path.to_owned(), source },
        _ => PlaceError::Git { path: path.to_owned(), source },
    }
}

/// Makes `folder` a git repository, unless it is one. True when it was made.
pub fn begin_repository(folder: &Path, anonymous: bool) -> Result<bool, PlaceError> {
    if Repository::open(folder).is_ok() {
        return Ok(false);
    }
    let git = refused(folder);
    let io = |source| PlaceError::Io { path: folder.to_owned(), source };
    if folder.exists() {
        if !has_only(folder, None).map_err(io)? {
            return Err(PlaceError::NotARepository(folder.to_owned()));
        }
        begin_in(folder, anonymous).map_err(git)?;
        return Ok(true);
    }
    // Beside it, and moved when it is whole: nobody finds half of it.
    let absolute = std::path::absolute(folder).map_err(io)?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io)?;
    let part = tempfile::Builder::new().prefix(".runner-repository-").tempdir_in(parent).map_err(io)?;
    // One below, with the rights that a folder has here.
    let made = part.path().join("repository");
    fs::create_dir(&made).map_err(io)?;
    begin_in(&made, anonymous).map_err(git)?;
    fs::rename(&made, &absolute).map_err(io)?;
    Ok(true)
}

/// A repository with its first commit in an empty folder.
fn begin_in(folder: &Path, anonymous: bool) -> Result<(), git2::Error> {
    let branch = git2::Config::open_default().and_then(|config| config.get_string("init.defaultBranch"));
    let mut options = RepositoryInitOptions::new();
    options.initial_head(branch.as_deref().unwrap_or("main"));
    let repository = Repository::init_opts(folder, &options)?;
    let first = first_commit(&repository, anonymous)?;
    move_head(&repository, first, None, "Begin the archive")?;
    repository.checkout_head(Some(CheckoutBuilder::new().force()))
}

/// Checks `branch` out in the folder `results`, unless it is, and begins the branch, unless there is one here or at `remote`.
/// True when anything was done.
pub fn check_out_branch(results: &Path, branch: &str, remote: &str, anonymous: bool) -> Result<bool, PlaceError> {
    let git = refused(results);
    let io = |source| PlaceError::Io { path: results.to_owned(), source };
    let name = format!("refs/heads/{branch}");
    if !git2::Reference::is_valid_name(&name) || branch.starts_with('-') {
        return Err(PlaceError::BadName(branch.to_owned()));
    }
    let results = std::path::absolute(results).map_err(io)?;
    let link = results.join(".git");
    if link.is_file() && Repository::open(&results).is_err() && has_only(&results, Some(".git")).map_err(io)? {
        // Of an attempt that was cut off.
        fs::remove_file(&link).map_err(io)?;
    }
    let existing = results.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let repository = Repository::discover(existing).map_err(|err| match err.code() {
        ErrorCode::NotFound => PlaceError::NoRepository(existing.to_owned()),
        _ => git(err),
    })?;
    let root = repository.workdir().ok_or_else(|| PlaceError::NoRepository(existing.to_owned()))?;
    let root = root.canonicalize().map_err(io)?;
    let on = |repository: &Repository| -> Result<String, git2::Error> {
        Ok(repository.find_reference("HEAD")?.symbolic_target()?.unwrap_or("no branch").to_owned())
    };
    let found = on(&repository).map_err(git)?;
    if found == name {
        finish_checkout(&repository).map_err(git)?;
        return Ok(false);
    }
    if results.exists() && !has_only(&results, None).map_err(io)? {
        // A checkout of its own says which branch; a folder of the user's own says that it is in the way.
        return Err(match results.canonicalize().map_err(io)? == root {
            true => {
                let found = found.trim_start_matches("refs/heads/").to_owned();
                PlaceError::OtherBranch { folder: results, wanted: branch.to_owned(), found }
            }
            false => PlaceError::Occupied { folder: results, branch: branch.to_owned() },
        });
    }
    let _ = fs::remove_dir(&results);
    let parent = results.parent().unwrap_or(&root).to_owned();
    fs::create_dir_all(&parent).map_err(io)?;
    let results = parent.canonicalize().map_err(io)?.join(results.file_name().unwrap_or_default());

    if repository.find_reference(&name).is_err() {
        let there = repository.find_reference(&format!("refs/remotes/{remote}/{branch}"));
        let begin = match there.and_then(|reference| reference.peel_to_commit()) {
            Ok(commit) => commit.id(),
            Err(_) => first_commit(&repository, anonymous).map_err(git)?,
        };
        repository.reference(&name, begin, false, "begin the archive").map_err(git)?;
    }
    // The user's `git status` needs not tell of it, from the first. Anchored: the results folder's own checkout has no such path.
    if let Ok(relative) = results.strip_prefix(&root)
        && !repository.is_path_ignored(relative).map_err(git)?
    {
        let info = repository.commondir().join("info");
        fs::create_dir_all(&info).map_err(io)?;
        let exclude = fs::File::options().create(true).append(true).open(info.join("exclude"));
        // All at once: half a line would spoil the next.
        let line = format!("/{}/\n", slashed(relative));
        exclude.and_then(|mut file| file.write_all(line.as_bytes())).map_err(io)?;
    }
    let reference = repository.find_reference(&name).map_err(git)?;
    let mut options = WorktreeAddOptions::new();
    options.reference(Some(&reference));
    let label = format!("{}-{}", branch.replace('/', "-"), &crate::sha256_hex(slashed(&results).as_bytes())[..6]);
    let notes = repository.commondir().join("worktrees").join(&label);
    match repository.find_worktree(&label) {
        // Of a folder that was removed by hand; its commits are all there.
        Ok(stale) if stale.validate().is_err() => stale.prune(None).map_err(git)?,
        Ok(_) => {}
        // Of an attempt that was cut off: git's notes on a checkout that never was.
        Err(_) if notes.is_dir() => fs::remove_dir_all(&notes).map_err(io)?,
        Err(_) => {}
    }
    repository.worktree(&label, &results, Some(&options)).map_err(git)?;
    Ok(true)
}

/// Whether there is nothing in a folder but what has this name.
fn has_only(folder: &Path, name: Option<&str>) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name().to_str().is_none_or(|found| Some(found) != name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts the files of a checkout that was cut off in their place, also one that was cut off itself. git writes the index when
/// all of them are there.
fn finish_checkout(repository: &Repository) -> Result<(), git2::Error> {
    if repository.is_worktree() && !repository.path().join("index").exists() {
        let lock = repository.path().join("index.lock");
        return repository.checkout_head(Some(CheckoutBuilder::new().force())).map_err(|err| match err.code() {
            ErrorCode::Locked if lock.exists() => {
                git2::Error::new(err.code(), err.class(), format!("{} is there", lock.display()))
            }
            _ => err,
        });
    }
    Ok(())
}

/// A commit without a parent, of [`ATTRIBUTES`] alone; no reference is moved.
fn first_commit(repository: &Repository, anonymous: bool) -> Result<Oid, git2::Error> {
    let (name, text) = ATTRIBUTES;
    let mut tree = repository.treebuilder(None)?;
    tree.insert(name, repository.blob(text.as_bytes())?, FileMode::Blob.into())?;
    let tree = repository.find_tree(tree.write()?)?;
    let author = author(repository, anonymous)?;
    unsigned(
        repository,
        repository.commit_create_buffer(&author, &author, "Begin the archive\n", &tree, &[])?.as_str()?,
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(root: &Path, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    #[test]
    fn a_branch_of_its_own_leaves_the_users_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let results = root.join("deep/results");
        assert!(matches!(check_out_branch(&results, "runs", "origin", true), Err(PlaceError::NoRepository(_))));
        git(root, &["init", "-q", "-b", "main"]);
        git(root, &["-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-q", "--allow-empty", "-m", "x"]);
        let before = git(root, &["rev-parse", "HEAD"]);
        for name in ["", "-x", "a..b", "a b", "x.lock"] {
            assert!(matches!(check_out_branch(&results, name, "origin", true), Err(PlaceError::BadName(_))), "{name}");
        }
        assert!(check_out_branch(&results, "runs", "origin", true).expect("made"));
        assert!(!check_out_branch(&results, "runs", "origin", true).expect("it is there"));
        assert_eq!(git(&results, &["branch", "--show-current"]), "runs");
        assert_eq!(git(&results, &["log", "--format=%an %s"]), "runner Begin the archive");
        assert_eq!(git(&results, &["status", "--porcelain"]), "");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
        assert_eq!(
            (git(root, &["branch", "--show-current"]), git(root, &["rev-parse", "HEAD"])),
            ("main".into(), before)
        );

        let other = check_out_branch(&results, "others", "origin", true).expect_err("another").to_string();
        assert!(other.contains("not on branch others but on runs"), "{other}");
        fs::create_dir(root.join("mine")).expect("created");
        fs::write(root.join("mine/file"), "x").expect("written");
        let refused = check_out_branch(&root.join("mine"), "runs", "origin", true);
        assert!(matches!(refused, Err(PlaceError::Occupied { .. })));
        fs::remove_dir_all(&results).expect("removed");
        assert!(check_out_branch(&results, "runs", "origin", true).expect("checked out anew"));
        assert_eq!(git(&results, &["log", "--format=%s"]), "Begin the archive");
        assert_eq!(git(root, &["status", "--porcelain"]), "?? mine/");
        // Whoever is on that branch needs no other checkout.
        assert!(!check_out_branch(&root.join("here"), "main", "origin", true).expect("fine"));
    }

    #[test]
    fn a_repository_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("a/b");
        assert!(begin_repository(&own, true).expect("made"));
        assert!(!begin_repository(&own, true).expect("it is there"));
        assert_eq!(git(&own, &["status", "--porcelain"]), "");
        assert_eq!(git(&own, &["log", "--format=%s"]), "Begin the archive");
        assert_eq!(
            git(&own, &["check-attr", "text", "results/BM-20260301-001/run.json"]).rsplit(' ').next(),
            Some("unset")
        );
        let refused = begin_repository(&folder.path().join("a"), true);
        assert!(matches!(refused, Err(PlaceError::NotARepository(_))));
    }
}
