//! Results in a repository or on a branch of their own, and clones that push to one repository.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use archive::BenchmarkId;
use serde_json::Value;

use crate::project::Project;

const QUICK: &str = "\
configuration: {target: local}
service: {command: 'exec sleep 1000'}
client: {command: 'true'}
";

/// A bare repository, and two clones of it that begin with the same commit.
fn clones() -> (tempfile::TempDir, PathBuf, [Project; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    let status = Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&origin).status();
    assert!(status.expect("git runs").success());
    let first = Project::new();
    first.write("quick.yaml", QUICK);
    first.git(&["add", "quick.yaml"]);
    first.git(&["commit", "-q", "-m", "a recipe"]);
    first.git(&["remote", "add", "origin", origin.to_str().expect("text")]);
    first.git(&["push", "-q", "-u", "origin", "main"]);
    let second = Project::clone_of(&origin);
    (folder, origin, [first, second])
}

/// What anybody gets who clones it now.
fn everything(origin: &Path, branch: &str) -> Project {
    let fresh = Project::clone_of(origin);
    fresh.git(&["checkout", "-q", branch]);
    assert_eq!(fresh.git(&["fsck", "--strict", "--no-dangling"]), "");
    fresh
}

fn ids(text: &str) -> Vec<BenchmarkId> {
    let values = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    values.map(|value| value["benchmark_id"].as_str().expect("an id").parse().expect("an id")).collect()
}

#[test]
fn clones_that_push_at_once_lose_nothing() {
    let (_folder, origin, clones) = clones();
    let rounds: usize = std::env::var("RUNNER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut told = BTreeSet::new();
    for _ in 0..rounds {
        let both = clones.each_ref().map(|clone| clone.start(&["run", "quick.yaml", "--push", "--json"]));
        for running in both {
            let finished = running.finish();
            let ids = ids(&finished.code(0).stdout());
            assert_eq!(ids.len(), 1);
            told.extend(ids);
        }
    }
    assert_eq!(told.len(), 2 * rounds, "every benchmark was told with the id that it has");
    let fresh = everything(&origin, "main");
    assert_eq!(fresh.ids().into_iter().collect::<BTreeSet<_>>(), told);
    fresh.runner(&["verify"]).code(0);
    let executions: BTreeSet<String> = fresh.ids().into_iter().map(|id| fresh.run(id).campaign.execution).collect();
    assert_eq!(executions.len(), 2 * rounds);
    let renamed = fresh.ids().into_iter().filter(|id| fresh.run(*id).other.contains_key("renamed")).count();
    assert!(renamed >= 1, "both clones began with the same id");
    for clone in &clones {
        clone.wait_for_silence();
        clone.runner(&["archive", "publish"]).code(0);
        clone.runner(&["verify", "--append-only", "origin/main"]).code(0);
        clone.assert_in_order();
    }
}

#[test]
fn a_push_that_is_refused_loses_nothing_and_says_what_to_do() {
    let (_folder, origin, [clone, _]) = clones();
    // Before anything starts.
    let unknown = clone.runner(&["run", "quick.yaml", "--push", "--remote", "elsewhere"]);
    assert!(unknown.code(2).stderr().contains("remote add elsewhere URL"), "{}", unknown.stderr());
    assert_eq!(clone.ids(), []);
    clone.runner(&["run", "quick.yaml", "--push", "--no-commit"]).code(2);

    let hook = origin.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().expect("a folder")).expect("created");
    fs::write(&hook, "#!/bin/sh\necho 'nobody may push today' >&2\nexit 1\n").expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
    let refused = clone.runner(&["run", "quick.yaml", "--push"]);
    let said = refused.code(2).stderr();
    for part in ["nobody may push today", "nothing is lost", "`runner archive publish`"] {
        assert!(said.contains(part), "{said}");
    }
    let id = clone.ids()[0];
    assert!(refused.stdout().contains(&id.to_string()), "what was measured is told: {}", refused.stdout());
    clone.runner(&["verify"]).code(0);
    clone.wait_for_silence();
    clone.assert_in_order();
    clone.runner(&["archive", "publish"]).code(2);

    fs::remove_file(&hook).expect("removed");
    let published = clone.runner(&["archive", "publish", "--json"]);
    let value: Value = serde_json::from_str(&published.code(0).stdout()).expect("JSON");
    assert_eq!(value["pushed_to"], "origin/main");
    assert_eq!(everything(&origin, "main").ids(), [id]);
    // A repository that is gone.
    fs::rename(&origin, origin.with_extension("away")).expect("moved");
    let gone = clone.runner(&["run", "quick.yaml", "--push"]);
    assert!(gone.code(2).stderr().contains("nothing is lost"), "{}", gone.stderr());
    assert_eq!(clone.ids().len(), 2);
}

#[test]
fn a_branch_of_its_own_leaves_the_current_one_alone() {
    let (_folder, origin, clones) = clones();
    let before = clones[0].git(&["rev-parse", "HEAD"]);
    for clone in &clones {
        clone.write("README", "changed\n");
        clone.write("new", "x\n");
        clone.git(&["add", "new"]);
        let status = clone.git(&["status", "--porcelain"]);
        // Each begins the branch for itself, and gives the same id.
        clone.runner(&["run", "quick.yaml", "--branch", "results", "--push"]).code(0);
        assert_eq!(clone.git(&["status", "--porcelain"]), status);
        assert_eq!(clone.git(&["rev-parse", "HEAD"]), before);
        assert_eq!(clone.git(&["branch", "--show-current"]), "main\n");
        clone.runner(&["verify"]).code(0);
    }
    let wrong = clones[0].runner(&["run", "quick.yaml", "--branch", "other"]);
    assert!(wrong.code(2).stderr().contains("not on branch other but on results"), "{}", wrong.stderr());
    let fresh = everything(&origin, "results");
    let tree = fresh.git(&["ls-tree", "--name-only", "HEAD"]);
    let ids = clones[1].ids();
    assert_eq!(tree, format!(".gitattributes\n{}\n{}\n", ids[0], ids[1]));
    fresh.runner(&["verify", "--results", "."]).code(0);
    // Who comes later goes on with the branch that is there.
    let later = Project::clone_of(&origin);
    later.runner(&["run", "quick.yaml", "--branch", "results"]).code(0);
    assert_eq!(later.ids().len(), 3);
    assert_eq!(later.git(&["rev-list", "--count", "refs/heads/results"]), "4\n");
}

#[test]
fn a_repository_of_its_own_is_made_and_read() {
    let project = Project::new();
    project.write("quick.yaml", QUICK);
    let place = tempfile::tempdir().expect("a folder");
    let own = place.path().join("of/results");
    let own = own.to_str().expect("text");
    let commits = project.git(&["rev-list", "--count", "HEAD"]);
    project.runner(&["--repo", own, "run", "quick.yaml"]).code(0);
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]), commits);
    assert!(!project.root().join("results").exists());
    let verified = project.runner(&["verify", "--repo", own]);
    assert!(verified.code(0).stdout().contains("1 benchmark and"), "{}", verified.stdout());
    let listed = project.runner(&["list", "--repo", own, "--json"]);
    assert_eq!(ids(&listed.code(0).stdout()).len(), 1);
    project.runner(&["rerun", "latest", "--repo", own]);
    let archive = archive::Archive::new(Path::new(own).join("results"));
    let rerun = archive.open(archive.ids().expect("read")[1]).expect("sealed").run().expect("readable");
    assert_eq!(rerun.rerun_of, archive.ids().expect("read").first().copied());
    project.runner(&["list", "--repo", own, "--results", "x"]).code(2);
    let occupied = project.runner(&["run", "quick.yaml", "--repo", place.path().to_str().expect("text")]);
    assert!(occupied.code(2).stderr().contains("no git repository"), "{}", occupied.stderr());
}

#[test]
fn what_is_signed_and_gets_another_id_is_signed_anew() {
    let (_folder, origin, [one, two]) = clones();
    let key = two.root().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen runs").success());
    let public = fs::read_to_string(key.with_extension("pub")).expect("written");
    two.write("signers", &format!("tester@localhost {public}"));
    one.runner(&["run", "quick.yaml", "--push"]).code(0);
    two.runner(&["run", "quick.yaml", "--sign", "key"]).code(0);
    let refused = two.runner(&["archive", "publish"]);
    assert!(refused.code(2).stderr().contains("give the key with `--sign`"), "{}", refused.stderr());
    two.wait_for_silence();
    two.assert_in_order();
    two.runner(&["archive", "publish", "--sign", "key"]).code(0);
    let ids = two.ids();
    assert_eq!(ids.len(), 2);
    two.runner(&["verify", &ids[1].to_string(), "--signers", "signers"]).code(0);
    assert_eq!(everything(&origin, "main").ids(), ids);
}
