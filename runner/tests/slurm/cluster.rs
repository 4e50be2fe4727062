//! The testbed as tests use it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Output},
};

use crate::project::Project;

/// The cluster, which nobody takes down while this value lives.
pub struct Cluster {
    folder: PathBuf,
    _lock: File,
}

impl Cluster {
    /// Together with other tests.
    pub fn shared() -> Self {
        Self::up(|lock| lock.lock_shared())
    }

    /// For a test that breaks things.
    pub fn alone() -> Self {
        Self::up(File::lock)
    }

    fn up(lock: impl Fn(&File) -> std::io::Result<()>) -> Self {
        let folder = PathBuf::from(std::env::var_os("TESTBED").unwrap_or_else(|| "/tmp/runner-testbed".into()));
        let users = File::options().create(true).truncate(false).write(true).open(folder.with_extension("users"));
        let users = users.expect("the lock of the testbed can be opened");
        lock(&users).expect("locked");
        let cluster = Self { folder, _lock: users };
        cluster.testbed(&["up"]);
        cluster
    }

    pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slurm/testbed/testbed");

    pub fn testbed(&self, args: &[&str]) {
        let output = Command::new(Self::SCRIPT).args(args).output().expect("the testbed's script starts");
        assert!(output.status.success(), "testbed {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command of Slurm's, run by root on the login node.
    pub fn slurm(&self, program: &str, args: &[&str]) -> Output {
        Command::new(program)
            .args(args)
            .env("SLURM_CONF", self.folder.join("etc/slurm.conf"))
            .output()
            .expect("it starts")
    }

    /// A command of the user's on the login node.
    pub fn login(&self, script: &str) -> String {
        let mut ssh = Command::new("ssh");
        let output = ssh.arg("-F").arg(self.folder.join("ssh_config")).args(["testbed", script]).output();
        let output = output.expect("ssh starts");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The number of an execution's first job in that role.
    pub fn job(&self, execution: &str, role: &str) -> String {
        let queue = self.slurm("squeue", &["-h", "-o", "%i|%j"]);
        let text = String::from_utf8(queue.stdout).expect("text");
        let name = format!("{execution}-0001.{role}");
        let found = text.lines().filter_map(|line| line.split_once('|')).find(|(_, job)| *job == name);
        found.unwrap_or_else(|| panic!("no job {name} in\n{text}")).0.to_owned()
    }

    /// The digest of an image in the testbed's registry.
    pub fn image_digest(&self, name: &str) -> String {
        let file = fs::read(self.folder.join(format!("registry/{name}.squashfs"))).expect("an image");
        format!("sha256:{}", archive::sha256_hex(&file))
    }

    /// A small file system that all nodes see.
    pub fn small(&self) -> PathBuf {
        self.folder.join("small")
    }

    /// A repository with a description of the cluster; `more` lines go into it.
    pub fn project(&self, more: &str) -> Project {
        let project = Project::new();
        fs::create_dir(project.root().join("targets")).expect("made");
        let config = self.folder.join("ssh_config");
        let transport = std::env::var("TESTBED_TRANSPORT").unwrap_or_else(|_| "native".to_owned());
        let usual = format!(
            "host: testbed\ntransport: {transport}\nssh_config: {}\naccount: p200000\nqos: test\npartition: cpu\ngpu_partition: gpu\n\
             time_limit: 10\nexclusive: false\nclient_cpus: 2\npoll: 1s\nsilence: 20s\nclient_patience: 60s\n",
            config.display()
        );
        let key = |line: &str| line.split(':').next().map(str::to_owned);
        let own: Vec<_> = more.lines().map(key).collect();
        let lines: String =
            usual.lines().filter(|line| !own.contains(&key(line))).map(|line| format!("{line}\n")).collect();
        project.write("targets/testbed.yaml", &(lines + more));
        project
    }

    /// What an SSH configuration says of the host `testbed`.
    pub fn ssh_config(&self) -> String {
        fs::read_to_string(self.folder.join("ssh_config")).expect("readable")
    }

    /// The home of the user there.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home/bench")
    }

    /// Does something while the login node offers no SFTP.
    pub fn without_sftp(&self, work: impl FnOnce() + std::panic::UnwindSafe) {
        let path = self.folder.join("etc/sshd_config");
        let usual = fs::read_to_string(&path).expect("readable");
        let restart = |config: String| {
            fs::write(&path, config).expect("written");
            self.testbed(&["stop", "sshd"]);
            self.testbed(&["start", "sshd"]);
            // Until it takes a login.
            self.testbed(&["up"]);
        };
        restart(usual.lines().filter(|line| !line.starts_with("Subsystem")).map(|line| format!("{line}\n")).collect());
        let result = std::panic::catch_unwind(work);
        restart(usual);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }

    /// Makes a key that the login node takes, in a file of that name in the project.
    pub fn new_key(&self, project: &Project, name: &str, passphrase: &str) -> PathBuf {
        let path = project.root().join(name);
        let mut keygen = Command::new("ssh-keygen");
        let made = keygen.args(["-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-f"]).arg(&path).status();
        assert!(made.expect("ssh-keygen runs").success());
        let public = fs::read(path.with_extension("pub")).expect("there is one");
        let taken = self.folder.join("home/bench/.ssh/authorized_keys");
        let mut taken = File::options().append(true).open(taken).expect("there are some");
        std::io::Write::write_all(&mut taken, &public).expect("written");
        path
    }

    /// The numbers of all jobs, over or not, whose names begin with an execution's. The accounts hear of a job seconds
    /// later; the controller knows the jobs of the last minutes at once.
    pub fn jobs_of(&self, execution: &str) -> BTreeSet<String> {
        let accounts = self.slurm("sacct", &["-X", "-n", "-P", "-a", "-S", "now-1days", "-o", "JobIDRaw,JobName"]);
        let controller = self.slurm("squeue", &["-h", "-t", "all", "-o", "%i|%j"]);
        let text = [accounts, controller].map(|output| String::from_utf8(output.stdout).expect("text")).concat();
        let jobs = text.lines().filter_map(|line| line.split_once('|'));
        jobs.filter(|(_, name)| name.starts_with(execution)).map(|(id, _)| id.to_owned()).collect()
    }

    /// How many jobs of an execution are in the queue.
    pub fn queued(&self, execution: &str) -> usize {
        let output = self.slurm("squeue", &["-h", "-o", "%j"]);
        String::from_utf8(output.stdout).expect("text").lines().filter(|name| name.starts_with(execution)).count()
    }

    /// Takes a deployment's folder away, as a site that cleans up does.
    pub fn lose_run_folder(&self, deployment: &str) {
        fs::remove_dir_all(self.folder.join("home/bench/runner/run").join(deployment)).expect("it was there");
    }

    /// Run folders on the cluster.
    pub fn run_folders(&self, execution: &str) -> usize {
        let runs = fs::read_dir(self.folder.join("home/bench/runner/run")).into_iter().flatten().flatten();
        runs.filter(|run| run.file_name().to_string_lossy().starts_with(execution)).count()
    }
}

/// A campaign of Redis with these numbers of clients, on one deployment; the load of each lasts `seconds`.
pub fn redis(clients: &str, seconds: f64) -> String {
    format!(
        "name: redis\nrecipe:\n  configuration: {{target: testbed}}\n  service: {{type: redis, exclude_nodes: 'mel0002,mel0003'}}\n  \
         client: {{type: redis_stress, exclude_nodes: mel0001, settings: {{operation_mix: '50:50'}}}}\n  \
         benchmarks: {{duration: {seconds}s, calibration: 0}}\n\
         sweep: {{benchmarks.num_clients: [{clients}]}}\nredeploy: false\n"
    )
}
