//! Both ways to the login node, on the testbed's real sshd: what is carried, what is asked for, what is refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use archive::Status;

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution,
    project::Project,
};

const TRANSPORTS: [&str; 2] = ["native", "system"];

/// A project whose target has these lines of an SSH configuration as its own, in place of `replaced`.
fn project(cluster: &Cluster, transport: &str, replaced: &str, by: &str) -> Project {
    let config = cluster.ssh_config();
    let line = config.lines().find(|line| line.trim_start().starts_with(replaced)).expect("such a line");
    let config = config.replace(line, by);
    let project = cluster.project("");
    let path = project.root().join("ssh_config");
    fs::write(&path, config).expect("written");
    describe(&project, &format!("host: testbed\ntransport: {transport}\nssh_config: {}\n", path.display()));
    project
}

/// Puts the first lines of the target's description in place of those of the same keys, for `run` and for `doctor`.
fn describe(project: &Project, lines: &str) {
    let path = project.root().join("targets/testbed.yaml");
    let usual = fs::read_to_string(&path).expect("there is one");
    let rest =
        usual.lines().filter(|line| !["host:", "transport:", "ssh_config:"].iter().any(|key| line.starts_with(key)));
    let text: String = lines.lines().chain(rest).map(|line| format!("{line}\n")).collect();
    fs::write(&path, &text).expect("written");
    fs::create_dir_all(project.root().join("campaigns/targets")).expect("made");
    project.write("campaigns/targets/testbed.yaml", &text);
}

/// Runs `doctor` with sockets of its own, so that nobody else's connection is taken.
fn doctor(project: &Project, variables: &[(&str, &str)]) -> crate::project::Finished {
    let sockets = project.root().join("run");
    fs::create_dir_all(&sockets).expect("made");
    let own = [("XDG_RUNTIME_DIR", sockets.to_str().expect("text")), ("SSH_AUTH_SOCK", "")];
    project.runner_with(&[&own[..], variables].concat(), &["doctor", "testbed"])
}

#[test]
fn both_transports_carry_a_campaign() {
    let cluster = Cluster::shared();
    for transport in TRANSPORTS {
        let project = cluster.project(&format!("transport: {transport}\n"));
        project.write("redis.yaml", &redis("1, 2", 0.5));
        project.runner(&["run", "redis.yaml"]).code(0);
        project.assert_in_order();
        let ids = project.ids();
        assert_eq!(ids.len(), 2, "{transport}");
        let run = project.run(ids[0]);
        assert_eq!(run.status, Status::Completed, "{transport}");
        let execution = &run.campaign.execution;
        assert_eq!((cluster.jobs_of(execution).len(), cluster.run_folders(execution)), (2, 0), "{transport}");
    }
}

/// The file of that name in a run folder here, once it has so many bytes.
fn arrived(project: &Project, name: &str, bytes: u64) -> bool {
    fn find(folder: &Path, name: &str) -> Option<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).find_map(|path| {
            match path.is_dir() {
                true => find(&path, name),
                false => path.ends_with(name).then_some(path),
            }
        })
    }
    let found = find(&project.root().join("results/.work/run"), name);
    found.and_then(|path| path.metadata().ok()).is_some_and(|facts| facts.len() >= bytes)
}

#[test]
fn a_collection_that_broke_off_goes_on_where_it_stopped() {
    const BYTES: u64 = 400 << 20;
    let cluster = Cluster::alone();
    for transport in TRANSPORTS {
        let project = cluster.project(&format!("transport: {transport}\n"));
        let recipe = format!(
            "configuration: {{target: testbed}}\nservice: {{command: exec sleep 1000}}\n\
             client: {{command: head -c {BYTES} /dev/urandom >\"$BENCHMARK_OUTPUT_DIR/large.bin\"}}\nbenchmarks: {{timeout: 5m}}\n"
        );
        project.write("large.yaml", &recipe);
        project.runner(&["run", "--detach", "large.yaml"]).code(0);
        let execution = execution(&project);
        project.wait_until("the end of both jobs", || cluster.queued(&execution) == 0);
        let collecting = project.start(&["-v", "collect", "--poll", "1"]);
        project.wait_until("a part of the file", || arrived(&project, "large.bin", 8 << 20));
        cluster.testbed(&["kill-logins"]);
        cluster.testbed(&["stop", "sshd"]);
        assert!(!arrived(&project, "large.bin", BYTES), "it came too soon for this test");
        cluster.testbed(&["start", "sshd"]);
        let finished = collecting.finish();
        finished.code(0);
        project.assert_in_order();
        assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
        let said = finished.stderr();
        let (_, rest) = said.split_once("large.bin goes on at byte ").unwrap_or_else(|| panic!("{transport}: {said}"));
        let offset: u64 = rest.split(' ').next().and_then(|word| word.parse().ok()).expect("an offset");
        assert!(((8 << 20)..BYTES).contains(&offset), "{transport}: {offset}");
        assert!(!said.contains("came wrong"), "{transport}: {said}");
        assert_eq!(cluster.run_folders(&execution), 0);
    }
}

#[test]
fn an_upload_that_broke_off_goes_on_where_it_stopped_and_is_done_once() {
    let cluster = Cluster::alone();
    for transport in TRANSPORTS {
        let name = format!("upload-{transport}-{}", std::process::id());
        let project = cluster.project(&format!("transport: {transport}\nfolder: {name}\n"));
        project.write("redis.yaml", &redis("1", 0.5));
        let running = project.start(&["-v", "run", "redis.yaml"]);
        let bin = cluster.home().join(&name).join("bin");
        project.wait_until("a part of the program", || {
            let folders = fs::read_dir(&bin).into_iter().flatten().flatten();
            let parts = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
            parts.filter_map(|part| part.metadata().ok()).any(|facts| facts.len() >= 1 << 20)
        });
        cluster.testbed(&["kill-logins"]);
        let finished = running.finish();
        finished.code(0);
        let said = finished.stderr();
        assert!(
            said.contains("goes on at byte ") && said.contains("uploading the agents' program"),
            "{transport}: {said}"
        );
        project.assert_in_order();
        let again = project.runner(&["-v", "run", "redis.yaml"]);
        again.code(0);
        assert!(!again.stderr().contains("uploading the agents' program"), "{transport}: {}", again.stderr());
        cluster.login(&format!("rm -rf {name}"));
    }
}

#[test]
fn a_host_without_sftp_is_named_so() {
    let cluster = Cluster::alone();
    cluster.without_sftp(|| {
        for transport in TRANSPORTS {
            let project = cluster.project(&format!("folder: no-sftp-{}\n", std::process::id()));
            let path = project.root().join("ssh_config");
            fs::write(&path, cluster.ssh_config()).expect("written");
            describe(&project, &format!("host: testbed\ntransport: {transport}\nssh_config: {}\n", path.display()));
            let finished = doctor(&project, &[]);
            finished.code(1);
            assert!(finished.stdout().contains("files go by SFTP"), "{transport}: {}", finished.stdout());
        }
    });
    cluster.login(&format!("rm -rf no-sftp-{}", std::process::id()));
}

#[test]
fn a_host_that_is_not_known_by_its_key_is_refused_with_the_cure() {
    let cluster = Cluster::shared();
    for transport in TRANSPORTS {
        let project = project(&cluster, transport, "UserKnownHostsFile", "    UserKnownHostsFile known_hosts");
        let port = cluster.ssh_config().lines().find_map(|line| line.trim().strip_prefix("Port ").map(str::to_owned));
        let other = project.root().join("other");
        let mut keygen = Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status().expect("it runs").success());
        let key = fs::read_to_string(other.with_extension("pub")).expect("there is one");
        let wrong = format!("[127.0.0.1]:{} {key}", port.expect("a port"));
        let known = project.root().join("known_hosts");
        let config = fs::read_to_string(project.root().join("ssh_config")).expect("readable");
        project.write("ssh_config", &config.replace(" known_hosts", &format!(" {}", known.display())));
        for (text, cure) in [("", "connect once by hand"), (wrong.as_str(), "ssh-keygen -R")] {
            fs::write(&known, text).expect("written");
            let finished = doctor(&project, &[]);
            finished.code(1);
            let said = finished.stdout() + &finished.stderr();
            assert!(said.contains(cure), "{transport}: {said}");
        }
    }
}

/// A program that answers for a person, and counts.
fn askpass(project: &Project, answer: &str) -> String {
    let path = project.root().join("askpass");
    fs::write(&path, format!("#!/bin/sh\necho \"$1\" >>'{0}.asked'\necho '{answer}'\n", path.display()))
        .expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path.display().to_string()
}

fn asked(project: &Project) -> usize {
    fs::read_to_string(project.root().join("askpass.asked")).unwrap_or_default().lines().count()
}

#[test]
fn a_locked_key_is_asked_for_once() {
    let cluster = Cluster::alone();
    for transport in TRANSPORTS {
        let project = project(&cluster, transport, "IdentityFile", "    IdentityFile KEY");
        let key = cluster.new_key(&project, "locked", "a secret");
        let config = fs::read_to_string(project.root().join("ssh_config")).expect("readable");
        project.write("ssh_config", &config.replace("KEY", &key.display().to_string()));
        let refused = doctor(&project, &[]);
        refused.code(1);
        let said = refused.stdout() + &refused.stderr();
        assert!(said.contains("takes none of your keys"), "{transport}: {said}");
        project.write("redis.yaml", &redis("1", 3.0));
        let program = askpass(&project, "a secret");
        let sockets = project.root().join("run");
        let lose = match transport {
            // The connection is lost in between, and made again without a question.
            "native" => format!(
                "while ! grep -qs loading results/.work/run/*/points/*/progress.json; do sleep 0.1; done; {} kill-logins;",
                Cluster::SCRIPT
            ),
            _ => String::new(),
        };
        let finished = project.shell(
            &[
                ("SSH_ASKPASS", &program),
                ("SSH_ASKPASS_REQUIRE", "force"),
                ("SSH_AUTH_SOCK", ""),
                ("XDG_RUNTIME_DIR", sockets.to_str().expect("text")),
            ],
            &format!("\"$RUNNER\" -v run redis.yaml & {lose} wait $!"),
        );
        finished.code(0);
        project.assert_in_order();
        assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
        let said = finished.stderr();
        assert_eq!(asked(&project), 1, "{transport}: {said}");
        assert!(transport == "system" || said.matches("connected to testbed").count() > 1, "{said}");
    }
}

/// An agent, as long as this value lives.
struct Agent(Child);

impl Agent {
    fn new(socket: &Path) -> Self {
        let agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(socket).stdout(Stdio::null()).spawn();
        Self(agent.expect("ssh-agent starts"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_answers_for_its_keys() {
    let cluster = Cluster::shared();
    for transport in TRANSPORTS {
        let project = project(&cluster, transport, "IdentityFile", "    IdentityFile KEY");
        let key = cluster.new_key(&project, "held", "");
        let config = fs::read_to_string(project.root().join("ssh_config")).expect("readable");
        project.write("ssh_config", &config.replace("KEY", &key.display().to_string()));
        let socket = project.root().join("agent");
        let _agent = Agent::new(&socket);
        project.wait_until("the agent", || socket.exists());
        let socket = socket.to_str().expect("text");
        let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", socket).status();
        assert!(added.expect("ssh-add runs").success());
        // Only its public half stays.
        fs::remove_file(&key).expect("removed");
        doctor(&project, &[]).code(1);
        doctor(&project, &[("SSH_AUTH_SOCK", socket)]).code(0);
    }
}

#[test]
fn a_configuration_for_clusters_alone_is_taken_from_the_home() {
    let cluster = Cluster::shared();
    for transport in TRANSPORTS {
        let project = cluster.project("");
        describe(&project, &format!("host: testbed\ntransport: {transport}\n"));
        let home = project.root();
        let variables = [("HOME", home.to_str().expect("text"))];
        doctor(&project, &variables).code(1);
        project.write(".melussh", &cluster.ssh_config());
        let finished = doctor(&project, &variables);
        finished.code(0);
        assert!(finished.stdout().contains("bench@127.0.0.1"), "{transport}: {}", finished.stdout());
    }
}

#[test]
fn a_host_behind_another_is_reached_through_it() {
    let cluster = Cluster::shared();
    for transport in TRANSPORTS {
        let project = cluster.project("");
        let config = cluster.ssh_config();
        let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).expect("a port");
        // A name that only the host on the way has to know, and a key that is known under another name.
        let behind = config.replace("Host testbed", "Host behind").replace("HostName 127.0.0.1", "HostName localhost")
            + &format!("    ProxyJump testbed\n    HostKeyAlias [127.0.0.1]:{port}\n");
        project.write("ssh_config", &format!("{config}\n{behind}"));
        let path = project.root().join("ssh_config");
        describe(&project, &format!("host: behind\ntransport: {transport}\nssh_config: {}\n", path.display()));
        let finished = doctor(&project, &[]);
        finished.code(0);
        assert!(finished.stdout().contains("through testbed"), "{transport}: {}", finished.stdout());
    }
}
