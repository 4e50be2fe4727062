//! Whole campaigns: what is archived of them, and what they cost the cluster.

use archive::Status;

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution_of,
};

#[test]
fn a_sweep_on_two_nodes_shares_one_deployment() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1, 2, 3, 4, 5", 0.5));
    let finished = project.runner(&["-v", "run", "redis.yaml"]);
    finished.code(0);
    project.assert_in_order();
    assert_eq!(project.ids().len(), 5, "{}", finished.stdout());
    let mut jobs = Vec::new();
    for id in project.ids() {
        let run = project.run(id);
        assert_eq!((run.status, run.target.kind.as_str()), (Status::Completed, "slurm"));
        for (role, node) in [("service", "mel0001"), ("client", "mel000")] {
            let job = &run.target.other["jobs"][role];
            assert_eq!(job["state"], "COMPLETED", "{job}");
            assert!(job["nodes"].as_str().is_some_and(|nodes| nodes.starts_with(node)), "{job}");
            let time = |key: &str| job[key].as_i64().unwrap_or_else(|| panic!("{key} of {job}"));
            assert!(
                time("submitted_unix_s") <= time("started_unix_s") && time("started_unix_s") <= time("ended_unix_s")
            );
            jobs.push(job["id"].as_str().expect("a number").to_owned());
        }
        let hosts: Vec<&str> = run.nodes.iter().map(|node| node.hostname.as_str()).collect();
        assert!(hosts.len() == 2 && hosts[0] == "mel0001" && hosts[1] != "mel0001", "{hosts:?}");
        assert_eq!(run.service.hostname.as_deref(), Some("10.77.7.11"));
        assert!(project.requests(id).iter().all(|request| request.error.is_none()));
        assert!(!project.requests(id).is_empty());
    }
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 2, "one deployment is two jobs");
    let execution = project.run(project.ids()[0]).campaign.execution;
    assert_eq!((cluster.jobs_of(&execution).len(), cluster.run_folders(&execution)), (2, 0));
    assert!(finished.stderr().contains("questions about jobs"), "{}", finished.stderr());
    // Pages as of a benchmark of this machine, and its jobs on them.
    let sitegen = std::path::Path::new(env!("CARGO_BIN_EXE_runner")).with_file_name("sitegen");
    for command in [&["build", "--version", "v"][..], &["check"]] {
        let output = std::process::Command::new(&sitegen).args(command).current_dir(project.root()).output();
        let output = output.expect("`sitegen` is built beside `runner`: cargo build --workspace --bins");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let objects: Vec<_> = std::fs::read_dir(project.root().join("site/o")).expect("objects").flatten().collect();
    for id in project.ids() {
        let begin = format!("{id}.");
        let object = objects.iter().find(|object| object.file_name().to_string_lossy().starts_with(&begin));
        let page = std::fs::read_to_string(object.expect("an object").path().join("index.html")).expect("a page");
        for text in [jobs[0].as_str(), jobs[1].as_str(), "mel0001", "p200000", "COMPLETED"] {
            assert!(page.contains(text), "{text} is not on the page of {id}");
        }
    }
}

#[test]
fn two_nodes_drive_one_load_together() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let on_nodes = |nodes: u32| {
        // So many requests of each client: then the digest is over all of them.
        redis("2, 3, 4, 6, 8", 1.0)
            .replace("duration: 1s", "num_requests: 400, warmup_requests: 20")
            .replace("client: {", &format!("client: {{nodes: {nodes}, "))
    };
    project.write("two.yaml", &on_nodes(2));
    project.runner(&["run", "two.yaml"]).code(0);
    project.assert_in_order();
    let ids = project.ids();
    assert_eq!(ids.len(), 5);
    let runs: Vec<_> = ids.iter().map(|id| project.run(*id)).collect();
    let execution = &runs[0].campaign.execution;
    assert_eq!((cluster.jobs_of(execution).len(), cluster.run_folders(execution)), (2, 0));
    for run in &runs {
        let (id, clients) = (run.benchmark_id, u64::from(run.client.num_clients));
        assert_eq!(run.status, Status::Completed, "{:?}", run.failure);
        assert_eq!(run.target.other["jobs"]["client"]["nodes"], "mel[0002-0003]");
        let hosts: Vec<&str> = run.nodes.iter().map(|node| node.hostname.as_str()).collect();
        assert_eq!(hosts, ["mel0001", "mel0002", "mel0003"]);
        let parts = run.client.other["nodes"].as_array().expect("what each node had");
        let of = |key: &str| parts.iter().map(|part| part[key].as_u64().expect("a number")).sum::<u64>();
        assert_eq!((parts.len(), of("clients"), of("recorded")), (2, clients, clients * 420));
        for part in parts {
            // All nodes of the testbed have one clock.
            let [offset, error] = ["clock_offset_s", "clock_error_s"].map(|key| part[key].as_f64().expect("a number"));
            assert!(offset.abs() <= error + 1e-6 && error < 5.0, "{part}");
        }
        let gates = project.summary(id).gates;
        let clocks = gates.iter().find(|gate| gate.code == "clock_offset").expect("every gate is listed");
        assert_ne!(clocks.outcome, archive::GateOutcome::NotApplicable, "{}", clocks.detail);
        let requests = project.requests(id);
        assert_eq!(requests.len() as u64, clients * 420);
        let each = |client: u32| requests.iter().filter(|request| request.client == client && !request.warmup).count();
        assert!((0..run.client.num_clients).all(|client| each(client) == 400));
        assert!(requests.iter().all(|request| request.error.is_none()));
        assert!(requests.windows(2).all(|pair| pair[0].end() <= pair[1].end()));
        // The window opens once the warm-up of both nodes is over.
        let measured = requests.iter().filter(|request| !request.warmup).map(|request| request.start_s);
        let warm = requests.iter().filter(|request| request.warmup).map(|request| request.end());
        assert!(warm.fold(0.0, f64::max) <= measured.fold(f64::MAX, f64::min));
    }
    // The same requests as one node would have sent.
    project.write("one.yaml", &on_nodes(1));
    project.runner(&["run", "one.yaml"]).code(0);
    let digest = |id| project.run(id).client.sequence_digest.expect("a digest");
    let all = project.ids();
    for (two, one) in ids.iter().zip(&all[5..]) {
        assert_eq!(digest(*two), digest(*one));
    }
}

#[test]
fn an_image_is_pulled_once_and_what_a_recipe_says_arrives_as_it_is() {
    let cluster = Cluster::shared();
    let project = cluster.project("container: apptainer\n");
    let hostile = r#"a 'b' "c" $(touch /tmp/owned) `id`; | & > x \ é -n --"#;
    project.write(
        "redis.yaml",
        &format!(
            "configuration: {{target: testbed}}\n\
             service:\n  type: redis\n  image: redis:7.4.1\n  data: [/usr/bin/env]\n  env:\n    HOSTILE: {}\n  command: >-\n    \
             printf '%s' \"$HOSTILE\" >&2; exec redis-server --port $SERVICE_PORT --bind 0.0.0.0 --protected-mode no --save ''\n\
             client: {{type: redis_stress, data: [/not/there], settings: {{operation_mix: '50:50'}}}}\n\
             benchmarks: {{duration: 500ms, calibration: 0}}\n",
            serde_json::to_string(hostile).expect("text")
        ),
    );
    project.runner(&["run", "redis.yaml"]).code(0);
    project.runner(&["run", "redis.yaml"]).code(0);
    project.assert_in_order();
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    for run in &runs {
        assert_eq!(run.service.started_as, "apptainer");
        let log = project.archive().folder().join(format!("{}/logs/service.log", run.benchmark_id));
        let log = std::fs::read_to_string(log).expect("a log");
        assert!(log.starts_with(hostile), "{log}");
    }
    let env = archive::sha256_hex(&std::fs::read("/usr/bin/env").expect("readable"));
    for run in &runs {
        let [served, missing] = &run.data[..] else { panic!("{:?}", run.data) };
        assert_eq!((served.role.as_str(), served.content_sha256.as_ref()), ("service", Some(&env)));
        assert!(missing.unknown.as_ref().is_some_and(|why| why.contains("No such file")), "{missing:?}");
        let runtime = run.service.image.as_ref().and_then(|image| image.runtime.as_deref());
        assert_eq!(runtime, Some("apptainer version 1.3.4-testbed"));
        assert!(run.target.other["slurm"].as_str().is_some_and(|slurm| slurm.starts_with("slurm")));
        assert!(run.service.version.is_some() && run.recipe.git_commit.is_some());
        for node in &run.nodes {
            assert!(node.kernel.is_some() && node.cpus.is_some() && node.memory_total_bytes.is_some(), "{node:?}");
            assert_eq!(node.limits.len(), 4, "{node:?}");
        }
        for role in ["service", "client"] {
            let job = &run.target.other["jobs"][role];
            for fact in [
                "id",
                "name",
                "state",
                "partition",
                "nodes",
                "submitted_unix_s",
                "started_unix_s",
                "ended_unix_s",
                "exit_code",
            ] {
                assert!(!job[fact].is_null(), "{role}: {fact}: {job:#}");
            }
        }
    }
    let image = |run: &archive::Run| run.service.image.clone().expect("an image").sif_sha256.expect("a digest");
    assert_eq!(image(&runs[0]), image(&runs[1]));
}

#[test]
fn a_language_model_is_served_on_a_node_with_gpus() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let recipe = "name: llm\nrecipe:\n  configuration: {target: testbed}\n  \
        service: {type: simulator, num_gpus: 2, exclude_nodes: mel2002, settings: {slots: 4}}\n  \
        client: {type: vllm_stress, exclude_nodes: mel0001, settings: {max_tokens: 8}}\n  \
        benchmarks: {num_requests: 5, calibration: 0}\nsweep: {benchmarks.num_clients: [1, 2]}\nredeploy: false\n";
    project.write("llm.yaml", recipe);
    project.runner(&["run", "llm.yaml"]).code(0);
    project.assert_in_order();
    let ids = project.ids();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let run = project.run(id);
        assert_eq!(run.status, Status::Completed, "{:?}", run.failure);
        let [service, client] = ["service", "client"].map(|role| &run.target.other["jobs"][role]);
        assert_eq!((&service["partition"], &service["nodes"]), (&"gpu".into(), &"mel2001".into()));
        assert_eq!(client["partition"], "cpu");
        assert!(
            project.requests(id).iter().all(|request| request.ttft_s.is_some() && request.output_tokens == Some(8))
        );
        // What drove the load is what was uploaded, told by itself.
        let program = std::fs::read(env!("CARGO_BIN_EXE_runner")).expect("readable");
        assert_eq!(run.tool.binary_sha256, Some(archive::sha256_hex(&program)));
        assert!(run.tool.other.contains_key("planned_by"));
    }
}

#[test]
fn forty_jobs_cost_one_question_an_interval_and_never_crowd_the_queue() {
    let cluster = Cluster::shared();
    let project = cluster.project("max_jobs: 12\npoll: 2s\n");
    let clients: Vec<String> = (1..=20).map(|clients| clients.to_string()).collect();
    let recipe = redis(&clients.join(", "), 0.3).replace("redeploy: false", "redeploy: true");
    project.write("redis.yaml", &recipe);
    let begun = std::time::Instant::now();
    let mut running = project.start(&["-v", "run", "redis.yaml"]);
    project.wait_until("a run folder", || project.root().join("results/.work/run").exists());
    let mut peak = 0;
    let mut execution = None;
    while !running.has_ended() {
        execution = execution.or_else(|| execution_of(&project));
        peak = peak.max(execution.as_ref().map_or(0, |execution| cluster.queued(execution)));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let finished = running.finish();
    let seconds = begun.elapsed().as_secs_f64();
    finished.code(0);
    project.assert_in_order();
    assert_eq!(project.ids().len(), 20);
    // As many as are allowed, and never one more.
    assert_eq!(peak, 12);
    let execution = project.run(project.ids()[0]).campaign.execution;
    assert_eq!((cluster.jobs_of(&execution).len(), cluster.queued(&execution)), (40, 0));
    let said = finished.stderr();
    let account = said.lines().find(|line| line.contains("questions about jobs")).expect("an account");
    println!("40 jobs in {seconds:.0} s: {account}");
    let numbers: Vec<f64> = account.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [commands, questions] = numbers[..] else { panic!("{account}") };
    assert!(questions >= 1.0 && questions <= seconds / 2.0 + 1.0, "{account}");
    // Of each deployment: its upload begun and put in place, submitted, sizes and digests of what it left, secrets and folder
    // removed. Their scripts differ in nothing that Slurm is asked about.
    assert!(commands <= 20.0 * 7.0 + questions + 10.0, "{account}");
}

#[test]
fn logs_and_the_list_know_what_runs() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1, 2", 300.0));
    let running = project.start(&["run", "redis.yaml"]);
    // The newest comes first: the second of two points waits until the first has been under load.
    let mut rows: Vec<serde_json::Value> = Vec::new();
    project.wait_until("a listed benchmark under load", || {
        let listed = project.runner(&["list", "--json"]);
        listed.code(0);
        rows = listed.stdout().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        rows.iter().any(|row| row["state"] == "loading")
    });
    assert_eq!(rows.iter().map(|row| row["state"].as_str()).collect::<Vec<_>>(), [Some("ready"), Some("loading")]);
    assert!(rows.iter().all(|row| row["status"] == "running" && row["jobs"]["service"]["state"] == "RUNNING"));
    let id = rows[1]["benchmark_id"].as_str().expect("an id").to_owned();
    let logs = project.runner(&["logs", &id, "--search", "Ready to accept"]);
    logs.code(0);
    assert!(logs.stdout().starts_with("==> service/service.log <=="), "{}", logs.stdout());
    let following = project.start(&["logs", &id, "--follow", "--poll", "1", "--log", "service.log"]);
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.finish().code(2);
    project.runner(&["stop", "--poll", "1"]).code(0);
    let followed = following.finish();
    followed.code(0);
    assert!(followed.stdout().contains("Ready to accept"), "{}", followed.stdout());
    project.assert_in_order();
    let (all, last) = (project.runner(&["--logs", &id]), project.runner(&["logs", &id, "--tail", "1", "--json"]));
    assert!(all.stdout().contains("==> service.log <==") && last.stdout().contains("\"text\""), "{}", all.stdout());
    project.runner(&["--download-logs", &id]).code(0);
    assert!(project.root().join("logs").join(&id).join("service.log").exists());
}

#[test]
fn a_load_is_searched_and_goes_on_after_the_runners_death() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    // Clients that pause leave the load's core time: a search ends where the load generator may be the limit.
    let text = redis("1", 0.5)
        .replace("[1]", "{range: [1, 9], goal: slo, step_repetitions: 2, budget: {steps: 4}}")
        .replace("calibration: 0", "calibration: 0, load: {think_time: 2ms}")
        + "slo: {p99: 5s}\n";
    project.write("redis.yaml", &text);
    let refused = project.runner(&["run", "--detach", "redis.yaml"]);
    assert!(refused.code(2).stderr().contains("leave out `--detach`"), "{}", refused.stderr());
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_until("a step", || !project.ids().is_empty());
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(running.finish().was_killed());
    let resumed = project.runner(&["resume", "--poll", "1"]);
    resumed.code(0);
    assert!(resumed.stderr().contains("holds throughout the range: extend beyond 9"), "{}", resumed.stderr());
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    let loads: Vec<_> = runs.iter().map(|run| run.campaign.swept["benchmarks.num_clients"].clone()).collect();
    assert_eq!(loads, [1, 1, 4, 4, 9, 9]);
    let execution = &runs[0].campaign.execution;
    assert!(runs.iter().all(|run| run.status == Status::Completed && run.campaign.execution == *execution));
    // The repetitions of a step share their jobs.
    assert_eq!(
        (cluster.jobs_of(execution).len(), cluster.queued(execution), cluster.run_folders(execution)),
        (6, 0, 0)
    );

    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("journal.jsonl", "submitted");
    running.signal(nix::sys::signal::Signal::SIGINT);
    let interrupted = running.finish();
    assert!(interrupted.code(2).stderr().contains("the search has not ended"), "{}", interrupted.stderr());
    let stopped = project.runner(&["stop", "--poll", "1"]);
    assert!(stopped.code(0).stderr().contains("the search of redis is given up"), "{}", stopped.stderr());
    let nothing = project.runner(&["resume"]);
    assert!(nothing.code(0).stderr().contains("nothing was left unfinished"), "{}", nothing.stderr());
    project.assert_in_order();
}
