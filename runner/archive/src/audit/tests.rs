use std::{path::PathBuf, process::Command};

use super::*;
use crate::{SealOptions, commit, seal};

struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().expect("temporary folder") };
        project.git(&["init", "-q", "-b", "main"]);
        project.git(&["config", "user.name", "Tester"]);
        project.git(&["config", "user.email", "tester@localhost"]);
        project
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(self.folder.path()).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn place(&self, sequence: u32) -> PathBuf {
        self.results().join(id(sequence).to_string())
    }

    /// Seals a benchmark and commits it as `runner` does.
    fn archive(&self, sequence: u32) {
        let digest = self.seal(sequence);
        let id = id(sequence);
        let message = format!("Archive {id}\n\nBenchmark: {id}\nDigest: sha256:{digest}\n");
        commit(&self.results(), id, &message).expect("committed");
    }

    fn seal(&self, sequence: u32) -> String {
        let staged = self.results().join(".work/staging");
        fs::create_dir_all(&staged).expect("created");
        fs::write(self.results().join(".work/.gitignore"), "*\n").expect("written");
        fs::write(staged.join("run.json"), format!("{{\"run\": {sequence}}}")).expect("written");
        seal(&self.results(), id(sequence), &staged, &SealOptions::default()).expect("sealed").digest
    }

    fn said(&self) -> Vec<String> {
        let audit = audit(&self.results(), &Asked::default()).expect("audited");
        audit.damages.iter().map(ToString::to_string).collect()
    }

    /// Replaces a sealed file and its entry in the manifest.
    fn forge(&self, sequence: u32) {
        let place = self.place(sequence);
        fs::remove_dir_all(&place).expect("removed");
        let staged = self.results().join(".work/staging");
        fs::create_dir_all(&staged).expect("created");
        fs::write(staged.join("run.json"), "{\"run\": \"forged\"}").expect("written");
        seal(&self.results(), id(sequence), &staged, &SealOptions::default()).expect("sealed");
    }
}

fn id(sequence: u32) -> BenchmarkId {
    BenchmarkId::new(20260301, sequence)
}

fn holds(said: &[String], part: &str) -> bool {
    said.iter().any(|line| line.contains(part))
}

#[test]
fn a_history_that_only_grew_is_sound() {
    let project = Project::new();
    assert!(matches!(audit(&project.results(), &Asked::default()), Err(AuditError::NoRepository(_))));
    for sequence in 1..=3 {
        project.archive(sequence);
    }
    fs::write(project.folder.path().join("notes"), "x").expect("written");
    project.git(&["add", "notes"]);
    project.git(&["commit", "-q", "-m", "something else"]);
    project.seal(4);
    let audit = audit(&project.results(), &Asked { base: Some("HEAD~2"), ..Asked::default() }).expect("audited");
    assert_eq!((audit.damages, audit.commits, audit.uncommitted), (vec![], 4, vec![id(4)]));
}

#[test]
fn a_forged_manifest_is_found_on_disk_and_in_history() {
    let project = Project::new();
    project.archive(1);
    project.archive(2);
    project.forge(1);
    assert_eq!(
        project.said(),
        ["manifest.json", "run.json"].map(|file| format!("BM-20260301-001/{file}: is not the one that was committed"))
    );
    project.git(&["commit", "-q", "-a", "-m", "nothing to see"]);
    let said = project.said();
    assert!(holds(&said, "BM-20260301-001/manifest.json: was changed by commit"), "{said:?}");
    assert!(holds(&said, "BM-20260301-001/run.json: was changed by commit"), "{said:?}");
}

#[test]
fn what_was_removed_stays_known() {
    let project = Project::new();
    project.archive(1);
    project.archive(2);
    fs::remove_dir_all(project.place(1)).expect("removed");
    assert_eq!(project.said(), ["BM-20260301-001: is in HEAD and not on disk"]);
    project.git(&["commit", "-q", "-a", "-m", "tidy up"]);
    assert!(holds(&project.said(), "BM-20260301-001: was removed by commit"));
    // Also when it is brought back later.
    project.git(&["revert", "--no-edit", "HEAD"]);
    assert!(holds(&project.said(), "BM-20260301-001: was removed by commit"));
}

#[test]
fn a_rewritten_commit_contradicts_its_message() {
    let project = Project::new();
    project.archive(1);
    project.forge(1);
    project.git(&["commit", "-q", "-a", "--amend", "--no-edit"]);
    let said = project.said();
    assert!(said.len() == 1 && holds(&said, "brought other bytes than its message says"), "{said:?}");
}

#[test]
fn a_base_sees_what_a_new_history_hides() {
    let project = Project::new();
    project.archive(1);
    project.archive(2);
    project.git(&["branch", "published"]);
    project.git(&["checkout", "-q", "--orphan", "clean"]);
    project.forge(2);
    project.git(&["add", "-A", "results"]);
    project.git(&["rm", "-q", "-r", "-f", "results/BM-20260301-001"]);
    project.git(&["commit", "-q", "-m", "start anew"]);
    assert_eq!(project.said(), [""; 0]);
    let audit = |base: &str| audit(&project.results(), &Asked { base: Some(base), ..Asked::default() });
    let said: Vec<String> = audit("published").expect("audited").damages.iter().map(ToString::to_string).collect();
    assert!(holds(&said, "BM-20260301-001: was removed since published"), "{said:?}");
    assert!(holds(&said, "BM-20260301-002/run.json: was changed since published"), "{said:?}");
    assert!(matches!(audit("nowhere"), Err(AuditError::UnknownBase(_))));
}

#[test]
fn merges_bring_benchmarks_and_may_not_drop_them() {
    let project = Project::new();
    project.archive(1);
    project.git(&["checkout", "-q", "-b", "side"]);
    project.archive(2);
    project.git(&["checkout", "-q", "main"]);
    project.archive(3);
    project.git(&["merge", "-q", "--no-edit", "side"]);
    assert_eq!(project.said(), [""; 0]);
    project.git(&["reset", "-q", "--hard", "HEAD~1"]);
    project.git(&["merge", "-q", "-s", "ours", "--no-edit", "side"]);
    assert!(holds(&project.said(), "BM-20260301-002: was removed by commit"));
}

#[test]
fn a_shallow_clone_is_audited_as_far_as_it_goes() {
    let project = Project::new();
    for sequence in 1..=3 {
        project.archive(sequence);
    }
    let clone = tempfile::tempdir().expect("temporary folder");
    let origin = format!("file://{}", project.folder.path().display());
    let output = Command::new("git").args(["clone", "-q", "--depth", "1", &origin]).arg(clone.path()).output();
    assert!(output.expect("git runs").status.success());
    let audit = audit(&clone.path().join("results"), &Asked::default()).expect("audited");
    assert_eq!((audit.damages, audit.commits, audit.is_shallow), (vec![], 1, true));
}

#[test]
fn the_disk_is_compared_with_head_file_by_file() {
    let project = Project::new();
    project.archive(1);
    project.archive(2);
    // HEAD holds other bytes than the manifest that it holds as well, and the disk those of the manifest.
    let sealed = fs::read(project.place(1).join("run.json")).expect("read");
    fs::set_permissions(project.place(1).join("run.json"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("writable");
    fs::write(project.place(1).join("run.json"), "{\"run\": 7}").expect("written");
    project.git(&["commit", "-q", "-a", "--amend", "-m", "nothing to see"]);
    fs::write(project.place(1).join("run.json"), sealed).expect("written");
    assert!(holds(&project.said(), "BM-20260301-001/run.json: is not the one that was committed"));
    // By what was read before, too; of what is damaged on disk only the manifest is compared, since the rest was told.
    let tree = trees::tree_of(&trees::blobs_on_disk(&project.place(1)).expect("read")).map(|tree| tree.to_string());
    for (read, expected) in [(OnDisk::Sealed(tree), true), (OnDisk::Damaged, false)] {
        let read = HashMap::from([(id(1), read)]);
        let only = [id(1)];
        let asked = Asked { read: Some(&read), only: Some(&only), ..Asked::default() };
        let said: Vec<String> =
            audit(&project.results(), &asked).expect("audited").damages.iter().map(ToString::to_string).collect();
        assert_eq!(holds(&said, "run.json: is not the one that was committed"), expected, "{said:?}");
    }
}

#[test]
fn what_is_known_of_a_history_is_not_looked_at_again() {
    let project = Project::new();
    for sequence in 1..=3 {
        project.archive(sequence);
    }
    let audited =
        |known: Option<&Audited>| audit(&project.results(), &Asked { known, ..Asked::default() }).expect("audited");
    let first = audited(None);
    assert_eq!((first.commits, first.known_commits, first.brought.len()), (3, 0, 3));
    let known = first.audited.expect("sound");
    project.archive(4);
    let second = audited(Some(&known));
    assert_eq!((second.commits, second.known_commits, second.brought.len()), (4, 3, 1));
    // A history that was rewritten does not descend from what is known, and is looked at from where both part.
    project.git(&["checkout", "-q", "--orphan", "clean"]);
    project.git(&["commit", "-q", "-m", "start anew"]);
    project.forge(2);
    project.git(&["commit", "-q", "-a", "-m", "nothing to see"]);
    let rewritten = audited(Some(&known));
    let said: Vec<String> = rewritten.damages.iter().map(ToString::to_string).collect();
    assert!(holds(&said, "BM-20260301-002/run.json: was changed by commit"), "{said:?}");
    assert_eq!(rewritten.audited, None);
    // What is known of another repository is known of nothing here.
    let nowhere = Audited { head: "0123456789012345678901234567890123456789".into(), ..known };
    assert_eq!(audited(Some(&nowhere)).known_commits, 0);
}
