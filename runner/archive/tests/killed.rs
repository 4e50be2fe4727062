//! SIGKILL at every step of sealing and committing: nothing half, nothing lost, and the next attempt finishes it.
//!
//! The steps are the system calls that change or open files; `strace` kills at the first of each, then at the second, and so
//! on until there is none. Needs `strace`, `git`, and a machine that lets processes be traced.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use archive::{Archive, BenchmarkId, CommitError, SealOptions, commit, seal};

/// Names the project's folder to the child.
const CHILD: &str = "KILLED_WHILE_SEALING";

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
fn killed_at(root: &Path, step: &str, count: u32) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={step}")])
        .args(["-e", &format!("inject={step}:signal=SIGKILL:when={count}")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_child", "--test-threads=1", "--quiet"])
        .env(CHILD, root)
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
            if !killed_at(root, step, count) {
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
