//! Where the archive stands in git: which commit the benchmarks on disk date from.

use std::{fs, path::Path};

use git2::{Oid, Repository};

use crate::{BenchmarkId, commit::slashed};

/// The newest commit that changed the results folder, if HEAD holds each of `ids` exactly as it is on disk.
/// `None` outside git, before the first commit, and while a benchmark is not committed. Follows first parents.
pub fn commit_of(results: &Path, ids: &[BenchmarkId]) -> Option<String> {
    let results = results.canonicalize().ok()?;
    let repository = Repository::discover(&results).ok()?;
    let root = repository.workdir()?.canonicalize().ok()?;
    let relative = slashed(results.strip_prefix(&root).ok()?);
    let tree_of = |commit: &git2::Commit<'_>| -> Option<Oid> {
        match relative.as_str() {
            // A branch or repository for results alone.
            "" => Some(commit.tree_id()),
            relative => Some(commit.tree().ok()?.get_path(Path::new(relative)).ok()?.id()),
        }
    };

    let mut commit = repository.head().ok()?.peel_to_commit().ok()?;
    let archived = tree_of(&commit)?;
    let tree = repository.find_tree(archived).ok()?;
    for id in ids {
        // The manifest holds the digest of every other file.
        let committed = tree.get_path(Path::new(&format!("{id}/manifest.json"))).ok()?;
        let blob = repository.find_blob(committed.id()).ok()?;
        if fs::read(results.join(id.to_string()).join("manifest.json")).ok()? != blob.content() {
            return None;
        }
    }
    while let Ok(parent) = commit.parent(0) {
        if tree_of(&parent) != Some(archived) {
            break;
        }
        commit = parent;
    }
    Some(commit.id().to_string())
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
    fn names_the_commit_that_changed_the_archive_last() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let results = root.join("results");
        let ids = [BenchmarkId::new(20260301, 1), BenchmarkId::new(20260301, 2)];
        for id in ids {
            fs::create_dir_all(results.join(id.to_string())).expect("created");
            fs::write(results.join(id.to_string()).join("manifest.json"), id.to_string()).expect("written");
        }
        assert_eq!(commit_of(&results, &ids), None, "no repository");
        git(root, &["init", "-q", "-b", "main"]);
        git(root, &["config", "user.name", "Tester"]);
        git(root, &["config", "user.email", "tester@localhost"]);
        assert_eq!(commit_of(&results, &ids), None, "no commit");
        git(root, &["add", "results/BM-20260301-001"]);
        git(root, &["commit", "-q", "-m", "one"]);
        assert_eq!(commit_of(&results, &ids), None, "the second is not committed");
        git(root, &["add", "results"]);
        git(root, &["commit", "-q", "-m", "two"]);
        let expected = git(root, &["rev-parse", "HEAD"]);
        fs::write(root.join("other"), "x").expect("written");
        git(root, &["add", "other"]);
        git(root, &["commit", "-q", "-m", "something else"]);
        assert_eq!(commit_of(&results, &ids), Some(expected));
        crate::check_out_branch(&root.join("own"), "runs", "origin", true).expect("made");
        for id in ids {
            let folder = root.join("own").join(id.to_string());
            fs::create_dir_all(&folder).expect("created");
            fs::write(folder.join("manifest.json"), id.to_string()).expect("written");
        }
        git(&root.join("own"), &["add", "."]);
        git(&root.join("own"), &["commit", "-q", "-m", "on a branch of its own"]);
        assert_eq!(commit_of(&root.join("own"), &ids), Some(git(root, &["rev-parse", "runs"])));
        fs::write(results.join("BM-20260301-001/manifest.json"), "changed").expect("written");
        assert_eq!(commit_of(&results, &ids), None, "changed on disk");
    }
}
