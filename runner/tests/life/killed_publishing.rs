//! SIGKILL at every step of `runner archive publish`: of the runner itself, and of the `git` that it starts. Nothing is half,
//! nothing is lost, here or there, and the next attempt finishes it.
//!
//! The steps are the system calls that change files or start programs; `strace` kills at the first of each, then at the
//! second, and so on until there is none; unless `RUNNER_TEST_ROUNDS` is set, at every ninth. Needs `strace`, and a machine
//! that lets processes be traced.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::project::Project;

const QUICK: &str = "\
configuration: {target: local}
service: {command: 'exec sleep 1000'}
client: {command: 'true'}
";

const STEPS: [&str; 11] = [
    "rename",
    "link",
    "unlink",
    "mkdir",
    "chmod",
    "fsync",
    "ftruncate",
    "pwrite64",
    "write",
    "flock",
    "vfork,clone,clone3",
];

/// A clone whose benchmark has an id that others pushed meanwhile, beside the repository that both push to.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder") };
        scene.git("", &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        let first = Project::new();
        first.write("quick.yaml", QUICK);
        first.git(&["add", "quick.yaml"]);
        first.git(&["commit", "-q", "-m", "a recipe"]);
        first.git(&["remote", "add", "origin", scene.path("origin.git").to_str().expect("text")]);
        first.git(&["push", "-q", "origin", "main"]);
        scene.git("", &["clone", "-q", "origin.git", "clone"]);
        for (name, value) in [("user.name", "Tester"), ("user.email", "tester@localhost")] {
            scene.git("clone", &["config", name, value]);
        }
        first.runner(&["run", "quick.yaml", "--push"]).code(0);
        let measured = scene.runner(&["run", "quick.yaml", "--repetitions", "2"]).output().expect("it runs");
        assert!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stderr));
        scene
    }

    /// As it is now, in another place.
    fn copy(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().expect("a folder") };
        let copied = Command::new("cp").arg("-a").arg(self.folder.path().join(".")).arg(copy.folder.path()).status();
        assert!(copied.expect("cp runs").success());
        copy.git("clone", &["remote", "set-url", "origin", copy.path("origin.git").to_str().expect("text")]);
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("there").join(name)
    }

    fn git(&self, place: &str, args: &[&str]) -> String {
        let output = Command::new("git").current_dir(self.path(place)).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn runner(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command.args(args).current_dir(self.path("clone"));
        command
    }

    /// Publishes until the `count`-th call of `step` kills; `false` when nothing was killed.
    fn killed_at(&self, step: &str, count: u32, with_git: bool) -> bool {
        let log = self.path("strace.log");
        let mut command = Command::new("strace");
        if with_git {
            command.arg("-f");
        }
        command.arg("-o").arg(&log).args(["-e", &format!("trace={step}")]);
        command.args(["-e", &format!("inject={step}:signal=SIGKILL:when={count}")]);
        command.arg(env!("CARGO_BIN_EXE_runner")).args(["archive", "publish"]).current_dir(self.path("clone"));
        let output = command.output().expect("this test needs `strace`");
        let log = fs::read_to_string(&log).expect("strace can trace here");
        let killed = log.contains("+++ killed by SIGKILL +++");
        assert!(killed || output.status.success(), "{step} {count}: {}", String::from_utf8_lossy(&output.stderr));
        killed
    }

    /// What is there is whole, and both repositories are sound.
    fn assert_sound(&self, place: &str) {
        let archive = archive::Archive::new(self.path("clone/results"));
        for id in archive.ids().expect("readable") {
            assert_eq!(archive.verify(id).damages, [], "{place}");
        }
        for repository in ["clone", "origin.git"] {
            self.git(repository, &["fsck", "--strict", "--no-dangling"]);
        }
    }

    /// Publishes. Of git's own locks that a killed git left it says what to do, which is done.
    fn finish(&self, place: &str) {
        for _ in 0..10 {
            let output = self.runner(&["archive", "publish"]).output().expect("it runs");
            if output.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("nothing is lost"), "{place}: {said}");
            let named = |lock: &PathBuf| said.contains(lock.to_str().expect("text"));
            let locks: Vec<PathBuf> = locks_below(self.folder.path()).into_iter().filter(named).collect();
            assert!(!locks.is_empty(), "{place}: {said}");
            locks.into_iter().for_each(|lock| fs::remove_file(lock).expect("it is there"));
        }
        panic!("{place}: never finished");
    }

    fn executions(&self) -> BTreeSet<String> {
        let archive = archive::Archive::new(self.path("clone/results"));
        let execution = |id| archive.open(id).expect("sealed").run().expect("readable").campaign.execution;
        archive.ids().expect("readable").into_iter().map(execution).collect()
    }
}

fn locks_below(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.canonicalize().expect("there");
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    archive::files_below(&folder).expect("readable").into_iter().filter(is_lock).collect()
}

#[test]
fn at_every_step_of_publishing_nothing_is_half_and_nothing_is_lost() {
    let template = Scene::new();
    let stride = if std::env::var_os("RUNNER_TEST_ROUNDS").is_some() { 1 } else { 9 };
    let mut kills = [0, 0];
    for with_git in [false, true] {
        for step in STEPS {
            for count in (1..).step_by(stride) {
                let scene = template.copy();
                if !scene.killed_at(step, count, with_git) {
                    break;
                }
                kills[usize::from(with_git)] += 1;
                let place =
                    format!("{step} number {count}, {}", if with_git { "also of git" } else { "of the runner" });
                scene.assert_sound(&place);
                scene.finish(&place);
                scene.assert_sound(&place);
                assert_eq!(scene.executions().len(), 2, "{place}");
                assert_eq!(
                    scene.git("clone", &["ls-tree", "--name-only", "HEAD", "results/"]).lines().count(),
                    4,
                    "{place}"
                );
                assert_eq!(scene.git("clone", &["status", "--porcelain"]), "", "{place}");
                assert_eq!(
                    scene.git("clone", &["rev-parse", "HEAD"]),
                    scene.git("origin.git", &["rev-parse", "main"]),
                    "{place}"
                );
                let verified = scene.runner(&["verify", "--append-only", "origin/main"]).output().expect("it runs");
                assert!(verified.status.success(), "{place}: {}", String::from_utf8_lossy(&verified.stdout));
            }
        }
    }
    eprintln!("killed {} times, with git {}", kills[0], kills[1]);
    let enough = kills.iter().all(|kills| kills * stride > 60);
    assert!(enough, "{kills:?} steps only: a call that matters has another name here");
}
