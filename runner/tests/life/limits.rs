//! Seven situations made on purpose, with real servers: what limits is named right, with evidence.
//!
//! Control groups and network namespaces are made and removed again, which needs root. Where that cannot be done these
//! tests fail and say what they lack. What they assert is the class, which neighbours on the machine do not change.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::project::Project;

/// What `runner metrics` says of a benchmark: `latest` or an id.
fn answer(project: &Project, id: &str, of: &str) -> Value {
    let finished = project.runner(&["metrics", id, "--json"]);
    finished.code(0);
    let mut value: Value = serde_json::from_str(&finished.stdout()).expect("JSON");
    value[of].take()
}

/// Runs a recipe and asserts what limits it; returns the whole answer.
#[track_caller]
fn assert_limit(project: &Project, class: &str) -> Value {
    let answer = answer(project, "latest", "bottleneck");
    assert_eq!(answer["class"], class, "{answer:#}");
    assert!(!answer["method"].as_str().expect("named").is_empty());
    answer
}

/// Whether some evidence of that class is from a series whose name contains `series`.
#[track_caller]
fn assert_evidence(answer: &Value, class: &str, series: &str) {
    let evidence = answer["evidence"].as_array().expect("a list");
    let found = evidence.iter().any(|evidence| {
        evidence["class"] == class && evidence["series"].as_str().is_some_and(|name| name.contains(series))
    });
    assert!(found, "no evidence of {class} from {series}: {answer:#}");
}

/// Whether a rival explanation was looked at and rejected.
#[track_caller]
fn assert_rejected(answer: &Value, class: &str) {
    let rejected = answer["rejected"].as_array().expect("a list");
    assert!(rejected.iter().any(|rejected| rejected["class"] == class), "{class} is not rejected: {answer:#}");
}

fn last_core() -> usize {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("known");
    (0..nix::sched::CpuSet::count()).rev().find(|core| allowed.is_set(*core).unwrap_or(false)).expect("a core")
}

/// A control group of its own, removed at the end. Version 1 or 2, whichever has the controller.
struct Group {
    folder: PathBuf,
    version: u8,
    /// Where this test's own processes are.
    home: PathBuf,
}

impl Group {
    fn new(controller: &str, name: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let memberships = fs::read_to_string("/proc/self/cgroup").expect("control groups");
        let own = |wanted: &str| {
            let of_controller = memberships.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                controllers.split(',').any(|name| name == wanted).then(|| path.to_owned())
            });
            of_controller.unwrap_or_else(|| "/".to_owned())
        };
        let name = format!("runner-test-{name}-{}", std::process::id());
        let (mount, version) = match root.join(controller).is_dir() {
            true => (root.join(controller), 1),
            false => (root.to_owned(), 2),
        };
        let home = mount.join(own(if version == 1 { controller } else { "" }).trim_start_matches('/'));
        if version == 2 {
            // The controller must be handed down to the groups below the root.
            let handed = fs::write(mount.join("cgroup.subtree_control"), format!("+{controller}"));
            handed.unwrap_or_else(|err| panic!("this test needs root and the {controller} controller: {err}"));
        }
        let folder = mount.join(name);
        fs::create_dir(&folder).unwrap_or_else(|err| {
            panic!("this test needs root, to make the control group {}: {err}", folder.display())
        });
        Self { folder, version, home }
    }

    fn write(&self, name: &str, value: &str) {
        let path = self.folder.join(name);
        fs::write(&path, value).unwrap_or_else(|err| panic!("cannot write {}: {err}", path.display()));
    }

    fn limit_memory(&self, bytes: u64) {
        match self.version {
            1 => {
                self.write("memory.limit_in_bytes", &bytes.to_string());
                self.write("memory.swappiness", "0");
            }
            _ => {
                self.write("memory.max", &bytes.to_string());
                // Without swap the file is not there.
                _ = fs::write(self.folder.join("memory.swap.max"), "0");
            }
        }
    }

    /// Microseconds of CPU in every tenth of a second; `None` lifts the quota.
    fn limit_cpu(&self, quota_us: Option<u32>) {
        match (self.version, quota_us) {
            (1, Some(quota)) => self.write("cpu.cfs_quota_us", &quota.to_string()),
            (1, None) => self.write("cpu.cfs_quota_us", "-1"),
            (_, Some(quota)) => self.write("cpu.max", &format!("{quota} 100000")),
            (_, None) => self.write("cpu.max", "max 100000"),
        }
    }

    /// What a shell says to enter it.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.folder.display())
    }

    fn leave(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.home.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn system(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.unwrap_or_else(|err| panic!("this test needs `{}`: {err}", command[0]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this test needs root and a kernel that can `{}`: {said}", command.join(" "));
}

/// A network namespace whose loopback lets only so much through.
struct NarrowNetwork(String);

impl NarrowNetwork {
    fn new(rate: &str) -> Self {
        let name = format!("runner-test-{}", std::process::id());
        system(&["ip", "netns", "add", &name]);
        let network = Self(name);
        let name = network.0.as_str();
        system(&["ip", "-n", name, "link", "set", "lo", "up"]);
        // Packets larger than the bucket would never pass.
        system(&["ip", "-n", name, "link", "set", "lo", "mtu", "1500"]);
        let shape = ["root", "tbf", "rate", rate, "burst", "32kb", "latency", "2s"];
        system(&[&["tc", "-n", name, "qdisc", "add", "dev", "lo"], shape.as_slice()].concat());
        network
    }
}

impl Drop for NarrowNetwork {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A redis-server of nobody's benchmark.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Self { child, port }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

const REDIS: &str = "exec redis-server --port $SERVICE_PORT --save \"\"";

#[test]
fn a_service_pinned_to_one_busy_core_is_cpu_bound() {
    let project = Project::new();
    let script = "redis-cli -h $SERVICE_HOSTNAME -p $SERVICE_PORT EVAL \
                  'local n = 0; for i = 1, 4000000 do n = n + i end; return n' 0";
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service:\n  type: redis\n  command: 'exec taskset -c {} redis-server --port $SERVICE_PORT --save \"\"'\n\
             client:\n  command: |\n    {script}\n\
             benchmarks: {{num_clients: 4, duration: 6s}}\n",
            last_core()
        ),
    );
    project.runner(&["run", "recipe.yaml"]).code(0);
    let answer = assert_limit(&project, "cpu");
    assert_evidence(&answer, "cpu", "busiest_thread_cpu_percent");
    assert_rejected(&answer, "client");
    assert_rejected(&answer, "memory");
    project.wait_for_silence();
}

#[test]
fn a_service_that_outgrows_its_memory_is_memory_bound() {
    let project = Project::new();
    let group = Group::new("memory", "memory");
    group.limit_memory(32 << 20);
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service:\n  type: redis\n  command: '{}; {REDIS}'\n\
             client: {{type: redis_stress, settings: {{value_size_bytes: 65536, operation_mix: '100:0', num_keys: 100000}}}}\n\
             benchmarks: {{num_clients: 2, duration: 20s}}\n",
            group.enter()
        ),
    );
    project.runner(&["run", "recipe.yaml"]).code(1);
    let answer = assert_limit(&project, "memory");
    assert_evidence(&answer, "memory", "oom_kills");
    assert_rejected(&answer, "network");
    project.wait_for_silence();
}

/// Runs a recipe with the runner in `group`, to which the quota applies while the load runs.
fn run_throttled(project: &Project, group: &Group, quota_us: u32) {
    let runner = env!("CARGO_BIN_EXE_runner");
    let line = format!("{}; exec '{runner}' \"$@\"", group.enter());
    let running = project.start_program(Path::new("sh"), &["-c", &line, "sh", "run", "recipe.yaml"]);
    // Whether it succeeded or not: the load comes next.
    project.wait_for("events/load.jsonl", "calibrated");
    group.limit_cpu(Some(quota_us));
    thread::sleep(Duration::from_secs(6));
    group.limit_cpu(None);
    running.finish().code(0);
}

#[test]
fn a_starved_client_is_told_from_a_slow_service() {
    let project = Project::new();
    let group = Group::new("cpu", "client");
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service:\n  type: redis\n  command: '{}; {REDIS}'\n\
             client: {{type: redis_stress, settings: {{value_size_bytes: 64, operation_mix: '50:50', num_keys: 100}}}}\n\
             benchmarks: {{num_clients: 4, duration: 5s}}\n",
            group.leave()
        ),
    );
    run_throttled(&project, &group, 3000);
    let answer = assert_limit(&project, "client");
    assert_evidence(&answer, "client", "cgroup_cpu_throttled_percent");
    assert_rejected(&answer, "memory");
    project.wait_for_silence();
}

#[test]
fn client_and_service_in_one_quota_are_a_mixed_situation() {
    let project = Project::new();
    let group = Group::new("cpu", "mixed");
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service:\n  type: redis\n  command: '{REDIS}'\n\
             client: {{type: redis_stress, settings: {{value_size_bytes: 64, operation_mix: '50:50', num_keys: 100}}}}\n\
             benchmarks: {{num_clients: 4, duration: 5s}}\n"
        ),
    );
    run_throttled(&project, &group, 5000);
    let answer = assert_limit(&project, "client");
    assert_eq!(answer["also"], serde_json::json!(["cpu"]), "{answer:#}");
    assert_eq!(answer["confidence"], "low");
    assert_evidence(&answer, "client", "cgroup_cpu_throttled_percent");
    assert_evidence(&answer, "cpu", "cgroup_cpu_throttled_percent");
    project.wait_for_silence();
}

#[test]
fn a_narrow_network_is_told() {
    let project = Project::new();
    let network = NarrowNetwork::new("16mbit");
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service:\n  type: redis\n  command: '{REDIS}'\n\
             client: {{type: redis_stress, settings: {{value_size_bytes: 100000, operation_mix: '0:100', num_keys: 10}}}}\n\
             benchmarks: {{num_clients: 4, duration: 6s}}\n"
        ),
    );
    let runner = env!("CARGO_BIN_EXE_runner");
    let running = project.start_program(Path::new("ip"), &["netns", "exec", &network.0, runner, "run", "recipe.yaml"]);
    running.finish().code(0);
    let answer = assert_limit(&project, "network");
    assert_evidence(&answer, "network", "queued_bytes");
    assert_rejected(&answer, "cpu");
    project.wait_for_silence();
}

#[test]
fn full_slots_are_a_queue() {
    let project = Project::new();
    project.write(
        "campaign.yaml",
        "name: slots\nredeploy: false\nrecipe:\n\
         \x20 configuration: {target: local}\n\
         \x20 service: {type: simulator, settings: {slots: 2, prefill_base_s: 20ms, prefill_per_token_s: 0, decode_per_token_s: 10ms}}\n\
         \x20 client: {type: vllm_stress, settings: {max_tokens: 10, prompt_length: 4}}\n\
         \x20 benchmarks: {duration: 4s, warmup: 1s}\n\
         sweep: {benchmarks.num_clients: [1, 4, 12]}\n",
    );
    project.runner(&["run", "campaign.yaml"]).code(0);
    let swept = answer(&project, "latest", "bottleneck_over_sweep");
    assert_eq!(swept["class"], "queueing", "{swept:#}");
    assert_eq!(swept["stops_at"], 4.0, "{swept:#}");
    assert_evidence(&swept, "queueing", "requests_waiting");
    assert_evidence(&swept, "queueing", "requests_per_second");
    for class in ["client", "cpu", "memory", "network"] {
        assert_rejected(&swept, class);
    }
    let full = project.ids().into_iter().find(|id| project.run(*id).client.num_clients == 12).expect("there");
    let alone = answer(&project, &full.to_string(), "bottleneck");
    assert_eq!(alone["class"], "queueing", "{alone:#}");
    assert_ne!(alone["confidence"], "high", "one benchmark alone is less sure");
    project.wait_for_silence();
}

#[test]
fn an_idle_service_has_no_limit() {
    let project = Project::new();
    project.write(
        "recipe.yaml",
        "configuration: {target: local}\n\
         service: {type: redis}\n\
         client: {type: redis_stress, settings: {value_size_bytes: 64, operation_mix: '50:50', num_keys: 100}}\n\
         benchmarks: {num_clients: 4, duration: 4s, load: {model: constant, rate: 20}}\n",
    );
    project.runner(&["run", "recipe.yaml"]).code(0);
    let answer = assert_limit(&project, "none");
    for class in ["client", "cpu", "memory", "network", "gpu", "queueing"] {
        assert_rejected(&answer, class);
    }
    let shown = project.runner(&["--metrics", "latest"]);
    shown.code(0);
    assert!(shown.stdout().contains("busiest thread") && shown.stdout().contains('▁'), "{}", shown.stdout());
    let summary = project.runner(&["summary", "latest"]);
    assert!(summary.stdout().contains("bottleneck: none"), "{}", summary.stdout());
    project.wait_for_silence();
}

#[test]
fn of_a_service_that_is_not_sampled_nothing_is_claimed() {
    let project = Project::new();
    let redis = Redis::start(&project.root());
    project.write(
        "recipe.yaml",
        &format!(
            "configuration: {{target: local}}\n\
             service: {{type: redis, endpoint: '127.0.0.1:{}'}}\n\
             client: {{type: redis_stress, settings: {{value_size_bytes: 64, operation_mix: '50:50', num_keys: 100}}}}\n\
             benchmarks: {{num_clients: 2, duration: 3s, load: {{model: constant, rate: 20}}}}\n",
            redis.port
        ),
    );
    project.runner(&["run", "recipe.yaml"]).code(0);
    let answer = assert_limit(&project, "unknown");
    assert_eq!(answer["confidence"], "low");
    drop(redis);
    project.wait_for_silence();
}
