//! Clones that do not have everything: shallow ones, and partial ones without the files of older commits. Every command works
//! in them, and `verify` says what it could not look at.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::project::Project;

const QUICK: &str = "\
configuration: {target: local}
service: {command: 'exec sleep 1000'}
client: {command: 'true'}
benchmarks: {num_clients: 2}
";

/// A bare repository with three benchmarks, of which one keeps its records outside git.
fn origin() -> (tempfile::TempDir, PathBuf, Project) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    let git = |args: &[&str]| {
        let status = Command::new("git").args(args).status().expect("git runs");
        assert!(status.success(), "git {args:?}");
    };
    let place = origin.to_str().expect("text");
    git(&["init", "-q", "--bare", "-b", "main", place]);
    git(&["-C", place, "config", "uploadpack.allowFilter", "true"]);
    git(&["-C", place, "config", "uploadpack.allowAnySHA1InWant", "true"]);
    let project = Project::new();
    project.write("quick.yaml", QUICK);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "a recipe"]);
    project.git(&["remote", "add", "origin", place]);
    project.runner(&["run", "quick.yaml", "--repetitions", "2"]).code(0);
    project.runner(&["run", "quick.yaml", "--raw-limit", "1", "--push"]).code(0);
    // What only history holds.
    project.write("README", "changed\n");
    project.git(&["commit", "-q", "-am", "later"]);
    project.git(&["push", "-q", "origin", "main"]);
    (folder, origin, project)
}

#[test]
fn every_command_works_in_a_clone_that_lacks_history_or_files() {
    for (how, filter, is_shallow) in [
        ("shallow", "--depth=1", true),
        ("partial", "--filter=blob:none", false),
        ("treeless", "--filter=tree:0", false),
    ] {
        let (_folder, origin, whole) = origin();
        let url = format!("file://{}", origin.display());
        let clone = Project::empty();
        clone.git(&["clone", "-q", filter, &url, "."]);
        clone.git(&["config", "user.name", "Tester"]);
        clone.git(&["config", "user.email", "tester@localhost"]);
        let verified = clone.runner(&["verify", "--json"]);
        let value: Value =
            serde_json::from_str(&verified.code(0).stdout()).unwrap_or_else(|err| panic!("{how}: {err}"));
        assert_eq!(value["history"]["is_shallow"], is_shallow, "{how}: {value:#}");
        let words = clone.runner(&["verify"]);
        assert!(words.code(0).stdout().contains("outside git"), "{how}: {}", words.stdout());
        assert_eq!(words.stdout().contains("shallow"), is_shallow, "{how}: {}", words.stdout());
        assert_eq!(words.stdout().contains("partial clone"), how == "treeless", "{how}: {}", words.stdout());
        assert_eq!(clone.runner(&["list", "--json"]).code(0).stdout().lines().count(), 3, "{how}");
        clone.runner(&["summary", "-001"]).code(0);
        clone.runner(&["diff", "-001", "-002"]).code(0);
        clone.runner(&["rerun", "-001"]);
        clone.runner(&["archive", "stat"]).code(0);
        assert_eq!(clone.ids().len(), 4, "{how}");
        clone.wait_for_silence();
        assert_eq!(clone.git(&["status", "--porcelain"]), "", "{how}");
        clone.runner(&["verify"]).code(0);

        // The others are faster, and the one here gets another id.
        whole.git(&["pull", "-q", "--no-rebase", "origin", "main"]);
        whole.runner(&["run", "quick.yaml", "--push"]).code(0);
        clone.runner(&["archive", "publish"]).code(0);
        clone.runner(&["verify", "--append-only", "origin/main"]).code(0);
        whole.git(&["pull", "-q", "--no-rebase", "origin", "main"]);
        whole.runner(&["verify"]).code(0);
        // A branch without them leaves nothing of them behind.
        whole.git(&["checkout", "-q", "HEAD~4"]);
        assert_eq!(whole.runner(&["list", "--json"]).code(0).stdout().lines().count(), 2, "{how}");
        whole.runner(&["verify"]).code(0);
    }
}
