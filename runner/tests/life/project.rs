//! A temporary repository with an archive in it, and the runner at work there.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use archive::{Archive, BenchmarkId, Request, Run, Summary};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// A repository with one commit.
    pub fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        project.git(&["init", "-q", "-b", "main"]);
        project.git(&["config", "user.name", "Tester"]);
        project.git(&["config", "user.email", "tester@localhost"]);
        project.write("README", "a project\n");
        project.git(&["add", "."]);
        project.git(&["commit", "-q", "-m", "start"]);
        project
    }

    /// An empty folder.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A clone of another repository.
    pub fn clone_of(origin: &Path) -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        project.git(&["clone", "-q", origin.to_str().expect("text"), "."]);
        project.git(&["config", "user.name", "Tester"]);
        project.git(&["config", "user.email", "tester@localhost"]);
        project
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("it exists")
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.root().join(name), text).expect("written");
    }

    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(self.root()).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_runner")), args)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).stdin(Stdio::null());
        command
    }

    /// Runs the runner to its end.
    pub fn runner(&self, args: &[&str]) -> Finished {
        Finished(self.command(args).output().expect("the runner starts"))
    }

    /// The same with variables of its own.
    pub fn runner_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Finished {
        Finished(self.command(args).envs(variables.iter().copied()).output().expect("the runner starts"))
    }

    /// Runs a script in the project's folder, in which `$RUNNER` is the runner.
    pub fn shell(&self, variables: &[(&str, &str)], script: &str) -> Finished {
        let mut command = self.command_of(Path::new("sh"), &["-c", script]);
        command.env("RUNNER", env!("CARGO_BIN_EXE_runner")).envs(variables.iter().copied());
        Finished(command.output().expect("a shell starts"))
    }

    /// Starts the runner and leaves it running.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_program(Path::new(env!("CARGO_BIN_EXE_runner")), args)
    }

    /// The same with another copy of it.
    pub fn start_program(&self, program: &Path, args: &[&str]) -> Running {
        let mut command = self.command_of(program, args);
        Running { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts") }
    }

    pub fn archive(&self) -> Archive {
        Archive::new(self.root().join("results"))
    }

    pub fn ids(&self) -> Vec<BenchmarkId> {
        self.archive().ids().expect("readable")
    }

    pub fn run(&self, id: BenchmarkId) -> Run {
        self.archive().open(id).expect("sealed").run().expect("readable")
    }

    pub fn summary(&self, id: BenchmarkId) -> Summary {
        self.archive().open(id).expect("sealed").summary().expect("readable").expect("there is one")
    }

    pub fn requests(&self, id: BenchmarkId) -> Vec<Request> {
        let requests = self.archive().open(id).expect("sealed").requests().expect("readable").expect("there are some");
        requests.map(|request| request.expect("readable")).collect()
    }

    /// Waits until some file that fits `pattern` (a path below `results/.work/run/<deployment>`) contains `text`.
    pub fn wait_for(&self, file: &str, text: &str) {
        self.wait_until(&format!("{file} with {text}"), || {
            let runs = fs::read_dir(self.root().join("results/.work/run")).into_iter().flatten().flatten();
            runs.map(|run| run.path()).any(|run| {
                let mut candidates = vec![run.join(file)];
                let points = fs::read_dir(run.join("points")).into_iter().flatten().flatten();
                candidates.extend(points.map(|point| point.path().join(file)));
                candidates.iter().any(|path| fs::read_to_string(path).is_ok_and(|content| content.contains(text)))
            })
        });
    }

    pub fn wait_until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached() {
            assert!(Instant::now() < deadline, "never saw: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until no process works in this project or was started for it.
    pub fn wait_for_silence(&self) {
        let root = self.root().to_string_lossy().into_owned();
        self.wait_until("the end of every process of this project", || processes_of(&root).is_empty());
    }

    /// What must hold after any end: every sealed folder is whole, nothing unsealed is left, git is clean.
    pub fn assert_in_order(&self) {
        for id in self.ids() {
            let benchmark = self.archive().open(id).expect("a sealed benchmark opens");
            for (name, entry) in &benchmark.manifest.files {
                let bytes = fs::read(benchmark.path_of(name).expect("every file is there")).expect("readable");
                assert_eq!(archive::sha256_hex(&bytes), entry.sha256, "{id}/{name}");
            }
        }
        let left = |folder: &str| {
            let entries = fs::read_dir(self.root().join("results/.work").join(folder)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        for folder in ["run", "staging", "uncommitted"] {
            assert_eq!(left(folder), Vec::<PathBuf>::new(), "left in .work/{folder}");
        }
        assert_eq!(self.git(&["status", "--porcelain", "--", "results"]), "");
    }
}

/// Processes that work below `root` or name it on their command line.
fn processes_of(root: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    let all = fs::read_dir("/proc").expect("there is a /proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let folder = Path::new("/proc").join(pid.to_string());
            let works_there =
                fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd.to_string_lossy().starts_with(root));
            let named =
                fs::read(folder.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(root));
            works_there || named
        })
        .collect()
}

/// A runner that has ended.
pub struct Finished(Output);

impl Finished {
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.0.status.code(), Some(expected), "stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        self
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[allow(dead_code, reason = "of the tests of clusters")]
    pub fn exit_code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn was_killed(&self) -> bool {
        self.0.status.signal().is_some()
    }
}

/// A runner at work.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it still runs");
    }

    /// Whether it has ended, without waiting.
    #[allow(dead_code, reason = "of the tests of clusters")]
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked for").is_some()
    }

    /// Nobody reads its stderr any more.
    pub fn close_stderr(&mut self) {
        self.child.stderr = None;
    }

    pub fn finish(self) -> Finished {
        Finished(self.child.wait_with_output().expect("it ends"))
    }
}
