//! SIGKILL, and a disk that is full, at every step of sealing and committing; SIGKILL at those of making a repository or branch
//! for results: nothing half, nothing lost, and the next attempt finishes it.
//!
//! The steps are the system calls that change or open files; `strace` kills at the first of each, then at the second, and so
//! on until there is none, or makes the call fail for want of space. Needs `strace`, `git`, and a machine that lets processes be traced.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use archive::{
    Archive, BenchmarkId, CommitError, PlaceError, SealOptions, begin_repository, check_out_branch, commit, seal,
};

/// Names the project's folder to the child.
const CHILD: &str = "KILLED_WHILE_SEALING";
/// The same, and whether it is a branch (or a repository) that is made.
const PREPARING: &str = "KILLED_WHILE_PREPARING";

const STEPS: [&str; 15] = [
    "rename",
    "renameat2",
    "link",
    "unlink",
    "mkdir",
    "chmod",
    "fsync",
    "fdatasync",
    "ftruncate",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "flock",
    "write",
    "openat",
];

fn id() -> BenchmarkId {
    BenchmarkId::new(20_260_301, 1)
}

/// What `runner` does with a benchmark that has ended, as often as it takes.
#[test]
fn the_child() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    finish(&root).expect("sealed and committed");
}

fn finish(root: &Path) -> Result<(), CommitError> {
    let results = root.join("results");
    if !results.join(id().to_string()).exists() {
        let staged = results.join(".work/staging").join(id().to_string());
        let _ = fs::remove_dir_all(&staged);
        fs::create_dir_all(staged.join("logs")).expect("created");
        for (name, bytes) in source() {
            fs::write(staged.join(name), bytes).expect("written");
        }
        let options = SealOptions { raw_limit_bytes: 5000, ..SealOptions::default() };
        seal(&results, id(), &staged, &options).expect("sealed");
    }
    commit(&results, id(), "Archive it\n").map(drop)
}

fn source() -> [(&'static str, Vec<u8>); 3] {
    [
        ("run.json", b"{\"schema\": 1}\n".to_vec()),
        ("requests.jsonl.zst", vec![7; 6000]),
        ("logs/service.log", b"started\n".to_vec()),
    ]
}

fn git(root: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn project(root: &Path) {
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["config", "user.name", "Tester"]);
    git(root, &["config", "user.email", "tester@localhost"]);
    fs::write(root.join("README"), "a project\n").expect("written");
    git(root, &["add", "README"]);
    git(root, &["commit", "-q", "-m", "start"]);
    fs::create_dir_all(root.join("results/.work")).expect("created");
    fs::write(root.join("results/.work/.gitignore"), "*\n").expect("written");
}

/// Runs the child until the `count`-th call of `step` kills it; `false` when it came to its end.
fn killed_at(root: &Path, child: &str, variables: &[(&str, &str)], step: &str, count: u32) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={step}")])
        .args(["-e", &format!("inject={step}:signal=SIGKILL:when={count}")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", child, "--test-threads=1", "--quiet"])
        .env(CHILD, root)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("this test needs `strace`");
    let killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    assert!(killed || status.success(), "strace cannot trace here, or the child failed: {status}");
    killed
}

#[test]
fn at_every_step_nothing_is_half_and_nothing_is_lost() {
    let mut kills = 0;
    let mut told = 0;
    let template = tempfile::tempdir().expect("a folder");
    project(template.path());
    for step in STEPS {
        for count in 1.. {
            let folder = tempfile::tempdir().expect("a folder");
            let copied = Command::new("cp").arg("-a").arg(template.path().join(".")).arg(folder.path()).status();
            assert!(copied.expect("cp runs").success());
            let root = folder.path();
            if !killed_at(root, "the_child", &[], step, count) {
                break;
            }
            kills += 1;
            let place = format!("{step} number {count}");
            let archive = Archive::new(root.join("results"));
            // What is in its place is whole, and git is sound.
            for id in archive.ids().expect("readable") {
                assert_eq!(archive.verify(id).damages, [], "{place}");
            }
            git(root, &["fsck", "--strict", "--no-dangling"]);
            let commits = git(root, &["rev-list", "--count", "HEAD"]);
            assert!(["1", "2"].contains(&commits.trim()), "{place}");
            // The next attempt finishes it, but for a lock that cannot be told from somebody else's: it says what to do.
            while let Err(err) = finish(root) {
                told += 1;
                assert!(told < 100, "{place}: {err}");
                let said = err.to_string();
                let lock = [".git/index.lock", ".git/refs/heads/main.lock", ".git/HEAD.lock"]
                    .into_iter()
                    .find(|lock| said.contains(lock) && said.contains("remove it"));
                let lock = lock.unwrap_or_else(|| panic!("{place}: {said}"));
                fs::remove_file(root.join(lock)).expect("it is there");
            }
            assert_eq!(archive.verify(id()).damages, [], "{place}");
            assert_eq!(archive.verify(id()).absent, [""; 0], "{place}");
            assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "2", "{place}");
            assert_eq!(git(root, &["status", "--porcelain"]), "", "{place}");
            assert_eq!(git(root, &["fsck", "--strict", "--no-dangling"]), "", "{place}");
            assert!(!root.join(".git/index.lock").exists(), "{place}");
        }
    }
    assert!(kills > 60, "{kills} steps only: a call that matters has another name here");
}

/// Runs the child with a disk on which the `count`-th call of `step` finds no space, and with `stays` every later one too.
/// `None` when there was no such call, else whether it said that all is well.
fn full_at(root: &Path, step: &str, count: u32, stays: bool) -> Option<bool> {
    let log = root.join("strace.log");
    let when = format!("{count}{}", if stays { "+" } else { "" });
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", &format!("trace={step}"), "-e", &format!("inject={step}:error=ENOSPC:when={when}")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_child", "--test-threads=1", "--quiet"])
        .env(CHILD, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("this test needs `strace`");
    let injected = fs::read_to_string(&log).expect("strace can trace here").contains("(INJECTED)");
    fs::remove_file(log).expect("it is there");
    assert!(injected || status.success(), "the child failed without a reason: {status}");
    injected.then_some(status.success())
}

/// Calls that need space on the disk. `openat` makes files too; here it fails for those that are only read as well.
const NEED_SPACE: [&str; 11] = [
    "rename",
    "link",
    "mkdir",
    "fsync",
    "fdatasync",
    "ftruncate",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "write",
    "openat",
];

#[test]
fn on_a_full_disk_nothing_is_half_and_nothing_is_lost() {
    let (mut failures, mut lucky) = (0, 0);
    let template = tempfile::tempdir().expect("a folder");
    project(template.path());
    let cases = NEED_SPACE.into_iter().flat_map(|step| [(step, false), (step, true)]);
    // Without a file to be opened from some moment on, a program does not even start.
    for (step, stays) in cases.filter(|case| *case != ("openat", true)) {
        for count in 1.. {
            let folder = tempfile::tempdir().expect("a folder");
            let copied = Command::new("cp").arg("-a").arg(template.path().join(".")).arg(folder.path()).status();
            assert!(copied.expect("cp runs").success());
            let root = folder.path();
            let Some(well) = full_at(root, step, count, stays) else { break };
            failures += 1;
            let place = format!("{step} number {count}{}", if stays { " and later" } else { "" });
            let archive = Archive::new(root.join("results"));
            for id in archive.ids().expect("readable") {
                assert_eq!(archive.verify(id).damages, [], "{place}");
            }
            git(root, &["fsck", "--strict", "--no-dangling"]);
            if well {
                // It could do without: then all is there.
                lucky += 1;
                assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "2", "{place}");
            }
            // Nothing was killed, so no lock is left in anybody's way once there is space again.
            finish(root).unwrap_or_else(|err| panic!("{place}: {err}"));
            assert_eq!((archive.verify(id()).damages, archive.verify(id()).absent), (vec![], vec![]), "{place}");
            assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "2", "{place}");
            assert_eq!(git(root, &["status", "--porcelain"]), "", "{place}");
            assert_eq!(git(root, &["fsck", "--strict", "--no-dangling"]), "", "{place}");
        }
    }
    assert!(failures > 60 && lucky < failures / 2, "{failures} failures, {lucky} of them without effect");
}

/// Where results go, made as often as it takes.
#[test]
fn the_child_that_prepares() {
    let (Some(root), Some(kind)) = (std::env::var_os(CHILD), std::env::var_os(PREPARING)) else { return };
    prepare(Path::new(&root), kind == "branch").expect("prepared");
}

fn prepare(root: &Path, branch: bool) -> Result<(), PlaceError> {
    match branch {
        true => check_out_branch(&root.join("runs"), "runs", "origin", true).map(drop),
        false => begin_repository(&root.join("own"), true).map(drop),
    }
}

#[test]
fn a_place_for_results_is_made_whenever_the_first_attempt_died() {
    let template = tempfile::tempdir().expect("a folder");
    project(template.path());
    for (kind, place, most_commits) in [("branch", "runs", 2), ("repository", "own/results", 2)] {
        let mut kills = 0;
        for step in STEPS {
            for count in 1.. {
                let folder = tempfile::tempdir().expect("a folder");
                let copied = Command::new("cp").arg("-a").arg(template.path().join(".")).arg(folder.path()).status();
                assert!(copied.expect("cp runs").success());
                let root = folder.path();
                if !killed_at(root, "the_child_that_prepares", &[(PREPARING, kind)], step, count) {
                    break;
                }
                kills += 1;
                let at = format!("{kind}: {step} number {count}");
                assert_eq!(git(root, &["rev-list", "--count", "main"]).trim(), "1", "{at}");
                while let Err(err) = prepare(root, kind == "branch") {
                    remove_named(root, &err.to_string(), &at);
                }
                let results = root.join(place);
                let staged = results.join(".work/staging");
                fs::create_dir_all(&staged).expect("created");
                fs::write(results.join(".work/.gitignore"), "*\n").expect("written");
                fs::write(staged.join("run.json"), "{\"schema\": 1}\n").expect("written");
                seal(&results, id(), &staged, &SealOptions::default()).expect("sealed");
                while let Err(err) = commit(&results, id(), "Archive it\n") {
                    remove_named(root, &err.to_string(), &at);
                }
                let commits = git(&results, &["rev-list", "--count", "HEAD"]);
                assert!(commits.trim().parse::<u32>().is_ok_and(|count| count <= most_commits), "{at}: {commits}");
                let attribute = git(&results, &["check-attr", "text", "BM-20260301-001/run.json"]);
                assert!(attribute.trim().ends_with("text: unset"), "{at}: {attribute}");
                for repository in [root, &results] {
                    assert_eq!(git(repository, &["fsck", "--strict", "--no-dangling"]), "", "{at}");
                }
                assert_eq!(git(&results, &["status", "--porcelain", "."]), "", "{at}");
                assert_eq!(git(root, &["branch", "--show-current"]).trim(), "main", "{at}");
                if kind == "branch" {
                    assert_eq!(git(root, &["status", "--porcelain", "--", ":!results"]), "", "{at}");
                }
            }
        }
        assert!(kills > 20, "{kills} steps only: a call that matters has another name here");
    }
}

/// Does what is said about a lock that a killed process left; anything else that is said is a failure.
fn remove_named(root: &Path, said: &str, at: &str) {
    let root = root.canonicalize().expect("there");
    let found = archive::files_below(&root).expect("readable");
    let lock = found.iter().find(|path| {
        path.extension().is_some_and(|extension| extension == "lock") && said.contains(path.to_str().expect("text"))
    });
    let lock = lock.filter(|_| said.contains("remove it")).unwrap_or_else(|| panic!("{at}: {said}"));
    fs::remove_file(lock).expect("it is there");
}
