use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use super::*;
use crate::{CommitOptions, SealOptions, audit, commit_with, seal};

const THEIRS: &str = "refs/remotes/origin/main";

struct Clone {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Clone {
    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(&self.root).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn archive(&self) -> Archive {
        Archive::new(self.root.join("results"))
    }

    /// Seals a benchmark that holds `what`, and commits it.
    fn measure(&self, sequence: u32, what: &str, rerun_of: Option<u32>) -> BenchmarkId {
        let id = self.seal(sequence, what, rerun_of);
        let digest = self.archive().open(id).expect("sealed").digest().expect("read");
        let message = format!("Archive {id}: {what}\n\nBenchmark: {id}\nDigest: sha256:{digest}\n");
        commit_with(&self.root.join("results"), id, &message, &CommitOptions::default()).expect("committed");
        id
    }

    fn seal(&self, sequence: u32, what: &str, rerun_of: Option<u32>) -> BenchmarkId {
        let id = BenchmarkId::new(20_260_301, sequence);
        let results = self.root.join("results");
        let staged = results.join(".work/staging");
        fs::create_dir_all(staged.join("logs")).expect("created");
        let rerun_of = rerun_of.map(|number| BenchmarkId::new(20_260_301, number));
        let run = json!({
            "schema": 1, "benchmark_id": id, "what": what, "float": 0.1, "rerun_of": rerun_of,
            "events": [{"event": "begun", "benchmark_id": id, "of_a_newer_build": {"deep": [1, null]}}],
            "service": {"of_a_newer_build": {"deep": [1, null]}},
        });
        fs::write(staged.join("run.json"), format!("{run:#}\n")).expect("written");
        fs::write(staged.join("logs/out"), format!("{what}\r\n")).expect("written");
        seal(&results, id, &staged, &SealOptions::default()).expect("sealed");
        id
    }

    fn replay(&self) -> Result<Option<Replayed>, ReplayError> {
        self.git(&["fetch", "-q", "origin"]);
        replay(&self.archive(), THEIRS, &BTreeSet::new(), None)
    }

    fn run(&self, id: BenchmarkId) -> Value {
        serde_json::from_slice(&fs::read(self.root.join(format!("results/{id}/run.json"))).expect("there"))
            .expect("JSON")
    }

    /// Files, history and git's own view are in order.
    fn assert_in_order(&self, benchmarks: usize) {
        let ids = self.archive().ids().expect("read");
        assert_eq!(ids.len(), benchmarks);
        for id in ids {
            assert_eq!(self.archive().verify(id).damages, [], "{id}");
            assert_eq!(self.run(id)["benchmark_id"], json!(id));
        }
        assert_eq!(audit(&self.root.join("results"), &crate::Asked::default()).expect("read").damages, []);
        assert_eq!(self.git(&["fsck", "--strict", "--no-dangling"]), "");
        assert_eq!(self.git(&["status", "--porcelain", "--", "results"]), "");
    }
}

/// Two clones of one repository, and the bare one.
fn clones() -> (tempfile::TempDir, [Clone; 2]) {
    let bare = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str]| assert!(Command::new("git").args(args).status().expect("git runs").success());
    let origin = bare.path().to_str().expect("text");
    git(&["init", "-q", "--bare", "-b", "main", origin]);
    let clones = [1, 2].map(|number| {
        let folder = tempfile::tempdir().expect("a folder");
        let clone = Clone { root: folder.path().canonicalize().expect("there"), _folder: folder };
        git(&["clone", "-q", origin, clone.root.to_str().expect("text")]);
        clone.git(&["config", "user.name", "Tester"]);
        clone.git(&["config", "user.email", "tester@localhost"]);
        if number == 1 {
            clone.git(&["checkout", "-q", "-b", "main"]);
            fs::write(clone.root.join("code"), "one\n").expect("written");
            fs::write(clone.root.join("notes"), "one\n").expect("written");
            clone.git(&["add", "."]);
            clone.git(&["commit", "-q", "-m", "start"]);
            clone.git(&["push", "-q", "-u", "origin", "main"]);
        }
        clone
    });
    (bare, clones)
}

#[test]
fn ids_that_two_clones_gave_are_told_apart() {
    let (_bare, [one, two]) = clones();
    one.measure(1, "of one", None);
    one.measure(2, "second of one", None);
    fs::write(one.root.join("code"), "two\n").expect("written");
    one.git(&["commit", "-q", "-am", "code"]);
    one.git(&["push", "-q", "origin", "main"]);

    let taken = two.measure(1, "of two", None);
    let rerun = two.measure(3, "again", Some(1));
    let free = two.measure(7, "alone", None);
    let old = two.archive().open(taken).expect("there").digest().expect("read");
    let kept = two.archive().open(free).expect("there").digest().expect("read");
    // What a person works on stays as it is.
    fs::write(two.root.join("notes"), "changed\n").expect("written");
    fs::write(two.root.join("staged"), "new\n").expect("written");
    two.git(&["add", "staged"]);
    let replayed = two.replay().expect("put on top").expect("there was something");
    let renamed = BenchmarkId::new(20_260_301, 8);
    assert_eq!(replayed.renamed, [(taken, renamed)]);
    assert_eq!(two.git(&["status", "--porcelain"]), "M notes\nA  staged");
    assert_eq!(fs::read_to_string(two.root.join("code")).expect("there"), "two\n");

    two.assert_in_order(5);
    assert_eq!(two.run(taken)["what"], "of one");
    let run = two.run(renamed);
    assert_eq!((run["what"].as_str(), run["float"].as_f64()), (Some("of two"), Some(0.1)));
    assert_eq!(run["renamed"], json!({ "benchmark_id": taken, "digest": old }));
    assert_eq!(run["events"][0]["benchmark_id"], json!(renamed));
    for object in [&run["events"][0], &run["service"]] {
        assert_eq!(object["of_a_newer_build"], json!({ "deep": [1, null] }), "what nobody knows stays");
    }
    assert_eq!(two.run(rerun)["rerun_of"], json!(renamed), "a rerun names the one it repeated");
    assert_eq!(two.archive().open(free).expect("there").digest().expect("read"), kept, "others keep every byte");
    let log = two.root.join(format!("results/{renamed}/logs/out"));
    assert_eq!(fs::read(&log).expect("there"), b"of two\r\n");
    assert_eq!(fs::metadata(&log).expect("there").permissions().mode() & 0o777, 0o444);
    let subjects = two.git(&["log", "--format=%s", "-3"]);
    assert_eq!(subjects, format!("Archive {free}: alone\nArchive {rerun}: again\nArchive {renamed}: of two"));
    two.git(&["push", "-q", "origin", "main"]);
    // The other is only behind.
    assert_eq!(one.replay().expect("fast-forward"), Some(Replayed::default()));
    one.assert_in_order(5);
    assert_eq!(one.replay().expect("nothing"), None);
}

#[test]
fn the_rule_against_changed_line_ends_comes_along() {
    let (_bare, [one, two]) = clones();
    one.measure(1, "of one", None);
    // As a build committed that had no such rule.
    one.git(&["rm", "-q", "results/.gitattributes"]);
    one.git(&["commit", "-q", "--amend", "--no-edit"]);
    one.git(&["push", "-q", "origin", "main"]);
    two.measure(1, "of two", None);
    two.measure(2, "second of two", None);
    two.replay().expect("put on top").expect("there was something");
    two.assert_in_order(3);
    assert_eq!(two.git(&["show", "HEAD:results/.gitattributes"]), "* -text");
    two.git(&["push", "-q", "origin", "main"]);
    one.measure(9, "third", None);
    one.replay().expect("put on top").expect("both have the rule");
    one.assert_in_order(4);
    assert_eq!(one.git(&["show", "HEAD:results/.gitattributes"]), "* -text");
}

#[test]
fn an_attempt_that_was_cut_off_is_no_hindrance() {
    let (_bare, [one, two]) = clones();
    one.measure(1, "of one", None);
    one.git(&["push", "-q", "origin", "main"]);
    two.measure(2, "of two", None);
    // The files came, the branch did not move.
    two.git(&["fetch", "-q", "origin"]);
    two.git(&["checkout", "-q", "origin/main", "--", "results"]);
    two.git(&["rm", "-q", "-r", "--cached", "results/BM-20260301-001"]);
    assert_eq!(two.replay().expect("put on top"), Some(Replayed::default()));
    two.assert_in_order(2);

    // The same where a benchmark gets another id.
    two.git(&["push", "-q", "origin", "main"]);
    let (renamed, last) = (one.measure(2, "of one", None), one.git(&["rev-parse", "HEAD"]));
    let first = one.replay().expect("put on top").expect("there was something");
    assert_eq!(first.renamed.len(), 1);
    one.git(&["update-ref", "HEAD", &last]);
    one.git(&["read-tree", &last]);
    assert_eq!(one.replay().expect("put on top"), Some(first));
    one.assert_in_order(3);
    assert_eq!(one.run(renamed)["what"], "of two");
}

#[test]
fn what_would_lose_something_is_refused() {
    let (_bare, [one, two]) = clones();
    let id = one.measure(1, "of one", None);
    one.git(&["push", "-q", "origin", "main"]);
    let before = two.git(&["rev-parse", "HEAD"]);

    two.git(&["fetch", "-q", "origin"]);
    let measured = replay(&two.archive(), THEIRS, &BTreeSet::from([id]), None);
    assert!(matches!(measured, Err(ReplayError::NoRepository(_))), "there is no folder yet");
    fs::create_dir_all(two.root.join("results")).expect("created");
    let measured = replay(&two.archive(), THEIRS, &BTreeSet::from([id]), None);
    assert!(matches!(measured, Err(ReplayError::Measured(found)) if found == id));

    two.seal(1, "not committed", None);
    assert!(matches!(two.replay(), Err(ReplayError::Uncommitted(found)) if found == id));
    assert_eq!(two.run(id)["what"], "not committed");
    let folder = two.root.join(format!("results/{id}"));
    for path in crate::files_below(&folder).expect("read") {
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("writable");
    }
    fs::remove_dir_all(folder).expect("removed");

    two.git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    fs::write(two.root.join("mine"), "x").expect("written");
    two.git(&["add", "mine"]);
    two.git(&["commit", "-q", "-m", "code of mine"]);
    let refused = two.replay().expect_err("not a benchmark's").to_string();
    assert!(refused.contains("code of mine") && refused.contains("git pull --rebase"), "{refused}");
    two.git(&["reset", "-q", "--hard", &before]);

    fs::write(one.root.join("notes"), "theirs\n").expect("written");
    one.git(&["commit", "-q", "-am", "notes"]);
    one.git(&["push", "-q", "origin", "main"]);
    fs::write(two.root.join("notes"), "mine\n").expect("written");
    assert!(matches!(two.replay(), Err(ReplayError::Changed(_))));
    assert_eq!(fs::read_to_string(two.root.join("notes")).expect("there"), "mine\n");
    assert_eq!(two.git(&["rev-parse", "HEAD"]), before);
    two.git(&["checkout", "-q", "notes"]);
    two.replay().expect("put on top").expect("there was something");
    two.assert_in_order(1);
}
