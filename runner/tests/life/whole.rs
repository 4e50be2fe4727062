//! Campaigns that run to their end.

use std::net::TcpListener;

use archive::{RequestReader, Status};

use crate::project::Project;

const SIMULATOR: &str = "\
name: small
seed: 7
repetitions: 2
slo: {p99: 2s}
recipe:
  configuration: {target: local}
  service:
    type: simulator
    settings: {slots: 4, prefill_base_s: 5ms, prefill_per_token_s: 0, decode_per_token_s: 1ms}
  client:
    type: vllm_stress
    settings: {max_tokens: 5, prompt_length: 4}
  benchmarks: {num_requests: 20, warmup_requests: 2}
sweep:
  benchmarks.num_clients: [1, 4]
";

const REDIS: &str = "\
configuration: {target: local}
service: {type: redis}
client:
  type: redis_stress
  settings: {num_requests: 500, value_size_bytes: 64}
benchmarks: {num_clients: 3, metrics: [throughput, latency, errors]}
";

#[test]
fn a_sweep_is_sealed_and_committed_and_changes_nothing_else() {
    let project = Project::new();
    project.write("campaign.yaml", SIMULATOR);
    project.write("README", "changed\n");
    project.write("staged", "staged\n");
    project.git(&["add", "staged"]);
    let before = (project.git(&["status", "--porcelain"]), project.git(&["diff", "--cached"]));

    let finished = project.runner(&["run", "campaign.yaml"]);
    finished.code(0);
    project.wait_for_silence();

    assert_eq!((project.git(&["status", "--porcelain"]), project.git(&["diff", "--cached"])), before);
    let ids = project.ids();
    assert_eq!(ids.len(), 4);
    let subjects = project.git(&["log", "--reverse", "--format=%s"]);
    let archived: Vec<_> = subjects.lines().skip(1).collect();
    assert_eq!(archived.len(), 4, "{subjects}");
    for (id, subject) in ids.iter().zip(archived) {
        assert!(subject.starts_with(&format!("Archive {id}: small, benchmarks.num_clients=")), "{subject}");
        let run = project.run(*id);
        assert_eq!(run.status, Status::Completed);
        let names: Vec<_> = run.events.iter().map(|event| event.event.as_str()).collect();
        let expected = [
            "started",
            "ready",
            "point_begun",
            "calibrated",
            "load_begun",
            "warmup_ended",
            "window_ended",
            "point_ended",
            "finished",
            "stopped",
        ];
        assert_eq!(names, expected);
        assert!(run.events.is_sorted_by_key(|event| event.time));
        let clients = run.campaign.swept["benchmarks.num_clients"].as_u64().expect("a number");
        let summary = project.summary(*id);
        assert_eq!(summary.total_requests, 20 * clients);
        assert_eq!(summary.warmup_requests, 2 * clients);
        assert_eq!(summary.failed_requests, 0, "{:?}", summary.error_summary);
        // 5 ms of prefill and 4 gaps of 1 ms are the least a request can take.
        assert!(summary.latency_s.figures.min.expect("measured") >= 0.009);
        assert_eq!(summary.avg_output_tokens, Some(5.0));
        assert_eq!(summary.slo.len(), 1);
    }
    // Two repetitions of a point differ in their seed and so in their requests; nothing else of the recipe does.
    let (first, third) = (project.run(ids[0]), project.run(ids[2]));
    assert_eq!(first.campaign.point, third.campaign.point);
    assert_eq!(first.recipe_hash, third.recipe_hash);
    assert_ne!(first.seeds.benchmark, third.seeds.benchmark);
    assert_eq!(first.recipe.text, SIMULATOR);
    project.assert_in_order();
}

#[test]
fn a_real_redis_is_measured_with_all_its_files() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.runner(&["run", "redis.yaml", "--clients", "1,3"]).code(0);
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 2);
    for (id, clients) in ids.into_iter().zip([1, 3]) {
        let benchmark = project.archive().open(id).expect("sealed");
        let names: Vec<_> = benchmark.manifest.files.keys().map(String::as_str).collect();
        for name in ["run.json", "summary.json", "requests.jsonl.zst", "resources.jsonl.zst", "logs/service.log"] {
            assert!(names.contains(&name), "{name} is missing: {names:?}");
        }
        let run = project.run(id);
        let version = run.service.version.expect("asked for");
        assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{version}");
        assert!(run.service.program_sha256.is_some() && run.client.sequence_digest.is_some());
        let requests = project.requests(id);
        // So many SETs and as many GETs by each client, all right.
        assert_eq!(requests.len(), 1000 * clients);
        assert!(requests.iter().all(|request| request.success));
        assert_eq!(requests.iter().filter(|request| request.operation == "GET").count(), 500 * clients);
        assert!(requests.is_sorted_by(|a, b| a.end() <= b.end() + 1e-9));
        assert_eq!(project.summary(id).operations["SET"].count, 500 * clients as u64);
    }
    project.assert_in_order();
}

#[test]
fn a_service_that_runs_already_is_left_alone() {
    let project = Project::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let folder = project.root();
    let mut redis = std::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--logfile", "redis.log"])
        .current_dir(&folder)
        .spawn()
        .expect("redis-server is installed (Debian package redis-server)");
    project.write(
        "external.yaml",
        &format!(
            "configuration: {{target: local}}\nservice: {{type: redis, endpoint: '127.0.0.1:{port}'}}\n\
             client: {{type: redis_stress, settings: {{num_requests: 50}}}}\n"
        ),
    );
    project.runner(&["run", "external.yaml"]).code(0);
    assert!(redis.try_wait().expect("asked").is_none(), "the service was ended");
    let id = project.ids()[0];
    assert_eq!(project.run(id).service.started_as, "external");
    assert_eq!(project.summary(id).successful_requests, 100);
    redis.kill().expect("ended");
    redis.wait().expect("ended");
    project.assert_in_order();
}

#[test]
fn raw_commands_get_the_documented_environment() {
    let project = Project::new();
    project.write(
        "raw.yaml",
        "configuration: {target: local}\n\
         service: {name: sleeper, command: 'echo started; exec sleep 1000'}\n\
         client: {name: caller, command: 'echo \"$CLIENT_NAME $SERVICE_NAME $BENCHMARK_ID $EXTRA\"; test \"$CLIENT_NAME\" != caller-2', env: {EXTRA: 'it''s $HOME'}}\n\
         benchmarks: {num_clients: 2}\n",
    );
    project.runner(&["run", "raw.yaml"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let requests = project.requests(id);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests.iter().filter(|request| request.success).count(), 1, "exit 1 is a failed request");
    let folder = project.archive().open(id).expect("sealed").folder;
    let logs: String = project
        .archive()
        .open(id)
        .expect("sealed")
        .logs()
        .iter()
        .map(|name| std::fs::read_to_string(folder.join("logs").join(name)).expect("readable"))
        .collect();
    assert!(logs.contains(&format!("caller-1 sleeper {id} it's $HOME")), "{logs}");
    assert!(logs.contains("caller-2 sleeper"), "{logs}");
    project.assert_in_order();
}

#[test]
fn all_that_a_client_writes_is_kept() {
    let project = Project::new();
    project.write(
        "files.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\n\
         client: {command: 'cd \"$BENCHMARK_OUTPUT_DIR\"; mkdir deep; echo 1 >deep/a.json; echo 2 >load.log; echo 3 >b.zst; \
         mkfifo pipe; head -c 100000 /dev/zero >big'}\n",
    );
    project.runner(&["run", "files.yaml"]).code(0);
    let benchmark = project.archive().open(project.ids()[0]).expect("sealed");
    let read = |name: &str| -> Vec<u8> {
        let path =
            benchmark.path_of(&format!("logs/{name}")).unwrap_or_else(|| panic!("{name}: {:?}", benchmark.logs()));
        let bytes = std::fs::read(path).expect("readable");
        if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).expect("compressed") } else { bytes }
    };
    assert_eq!((&read("deep/a.json")[..], &read("client/load.log")[..]), (&b"1\n"[..], &b"2\n"[..]));
    assert_eq!((&read("b.zst.zst")[..], read("big.zst").len()), (&b"3\n"[..], 100_000));
    project.assert_in_order();
}

#[test]
fn without_the_program_its_image_runs_in_podman() {
    // Containers cannot be started everywhere tests run, so a script stands in for podman: it knows the same
    // words and runs the command of the "image" here. The image's program has a name that is not on PATH.
    let project = Project::new();
    let folder = project.root().join("bin");
    std::fs::create_dir(&folder).expect("created");
    let podman = folder.join("podman");
    let script = "#!/bin/sh\n\
        if [ \"$1 $2\" = 'image inspect' ]; then [ -e \"$PULLED\" ] && echo sha256:0123; exit; fi\n\
        if [ \"$1\" = pull ]; then [ -z \"$GONE\" ] || exit 125; : >\"$PULLED\"; exit; fi\n\
        if [ \"$1\" = --version ]; then echo podman version 0.0; exit; fi\n\
        [ \"$1\" = run ] || exit 125\n\
        shift\n\
        while [ \"${1#--}\" != \"$1\" ]; do\n\
          case $1 in --env|--volume) shift;; --entrypoint=*) entry=${1#*=};; --volume=*) [ -d \"${1##*:}\" ] || exit 126;; esac\n\
          shift\n\
        done\n\
        [ \"$1\" = \"$IMAGE\" ] && [ \"$entry\" = redis-server ] || exit 126\n\
        shift\n\
        exec \"$REDIS\" \"$@\"\n";
    std::fs::write(&podman, script).expect("written");
    std::fs::set_permissions(&podman, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let redis = std::env::split_paths(&std::env::var_os("PATH").expect("set"))
        .map(|folder| folder.join("redis-server"))
        .find(|path| path.exists())
        .expect("redis-server is installed (Debian package redis-server)");
    // Only what the script needs, so that redis-server itself is not found.
    for tool in ["sh", "echo"] {
        std::os::unix::fs::symlink(format!("/bin/{tool}"), folder.join(tool)).expect("linked");
    }
    // What is bound into it is part of what it rests on.
    for (name, text) in [("model", "weights"), ("cache", "")] {
        std::fs::create_dir(project.root().join(name)).expect("created");
        std::fs::write(project.root().join(name).join("file"), text).expect("written");
    }
    let root = project.root().display().to_string();
    let volumes =
        format!("{{type: redis, volumes: ['{root}/model:/model:ro', '{root}/cache:/cache', 'engine:/kept']}}");
    project.write("redis.yaml", &REDIS.replace("{type: redis}", &volumes));
    let path = folder.to_string_lossy().into_owned();
    let pulled = project.root().join("pulled").display().to_string();
    let with = |image: &'static str| {
        [
            ("PATH", path.as_str()),
            ("REDIS", redis.to_str().expect("text")),
            ("PULLED", pulled.as_str()),
            ("IMAGE", image),
        ]
    };
    project.runner_with(&with("redis:7.4.1"), &["run", "redis.yaml"]).code(0);
    project.wait_for_silence();
    let run = project.run(project.ids()[0]);
    assert_eq!(run.service.started_as, "podman");
    let image = run.service.image.expect("recorded");
    assert_eq!(image.runtime.as_deref(), Some("podman version 0.0"));
    assert_eq!((image.reference.as_str(), image.digest.as_deref()), ("redis:7.4.1", Some("sha256:0123")));
    let data: Vec<_> = run.data.iter().map(|data| (data.path.as_str(), data.writable, data.size_bytes)).collect();
    assert_eq!(data, [(format!("{root}/model").as_str(), false, 7), (format!("{root}/cache").as_str(), true, 0)]);
    assert!(run.data.iter().all(|data| data.named_by == "volumes" && data.content_sha256.is_some()));

    // Repeated by its digest, also the rerun of a rerun, and also where the program itself is installed by now.
    let pinned = with("redis@sha256:0123");
    for (number, path) in [(1, path.clone()), (2, format!("{path}:{}", std::env::var("PATH").expect("set")))] {
        let variables = [&pinned[1..], &[("PATH", path.as_str())]].concat();
        project.runner_with(&variables, &["rerun", "latest"]);
        project.wait_for_silence();
        let again = project.run(project.ids()[number]);
        let image = again.service.image.expect("recorded");
        assert_eq!((again.status, again.rerun_of), (Status::Completed, Some(project.ids()[number - 1])));
        assert_eq!((image.reference.as_str(), image.digest.as_deref()), ("redis@sha256:0123", Some("sha256:0123")));
    }
    // Refused before anything starts where it cannot be had any more.
    std::fs::remove_file(&pulled).expect("it was pulled");
    let refused = project.runner_with(&[&pinned[..], &[("GONE", "1")]].concat(), &["rerun", "latest"]);
    let said = refused.code(2).stderr();
    assert!(said.contains("cannot be repeated as it was: cannot pull the image redis@sha256:0123"), "{said}");
    assert_eq!(project.ids().len(), 3);
    project.assert_in_order();
}

#[test]
fn the_seed_recipe_of_vllm_runs_unchanged() {
    // vLLM needs a GPU and 4 GB of packages; the simulator answers in its place, by the same protocol.
    let project = Project::new();
    let folder = project.root().join("bin");
    std::fs::create_dir(&folder).expect("created");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = serve ] || exit 64\nmodel=$2\nshift 2\n\
         while [ $# -gt 0 ]; do case $1 in --host) host=$2;; --port) port=$2;; esac; shift; done\n\
         exec '{}' agent simulate --host \"$host\" --port \"$port\" --settings \"{{\\\"model\\\": \\\"$model\\\"}}\"\n",
        env!("CARGO_BIN_EXE_runner")
    );
    std::fs::write(folder.join("vllm"), script).expect("written");
    std::fs::set_permissions(folder.join("vllm"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../campaigns/vllm_smoke.yaml");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("set"));
    project
        .runner_with(
            &[("PATH", &path)],
            &["run", recipe, "--target", "local", "--set", "client.settings.warmup_delay=0"],
        )
        .code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let run = project.run(id);
    assert_eq!((run.service.kind.as_str(), run.client.kind.as_str()), ("vllm", "vllm_smoke"));
    let requests = project.requests(id);
    assert!(requests.iter().all(|request| request.success && request.output_tokens == Some(50)), "{requests:?}");
    assert!(requests.iter().all(|request| request.ttft_s.is_some_and(|ttft| ttft > 0.0)));
    project.assert_in_order();
}

#[test]
fn one_deployment_can_serve_a_whole_sweep() {
    let project = Project::new();
    project.write(
        "shared.yaml",
        "redeploy: false\nrecipe:\n  configuration: {target: local}\n  service: {type: redis}\n  \
         client: {type: redis_stress, settings: {num_requests: 50}}\nsweep: {benchmarks.num_clients: [1, 2, 3]}\n",
    );
    project.runner(&["run", "shared.yaml"]).code(0);
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run.service.port == runs[0].service.port));
    assert_eq!(runs.iter().filter(|run| run.events[0].time == runs[0].events[0].time).count(), 3);
    project.assert_in_order();
}

#[test]
fn a_rerun_sends_the_same_requests_and_knows_its_original() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.runner(&["run", "redis.yaml", "--clients", "2"]).code(0);
    project.runner(&["rerun", "latest"]).code(0);
    let shown = project.runner(&["summary", "-002"]);
    assert!(shown.code(0).stdout().contains("2,000 requests"), "{}", shown.stdout());
    let [original, rerun] = project.ids()[..] else { panic!("two benchmarks") };
    let (first, second) = (project.run(original), project.run(rerun));
    assert_eq!(second.rerun_of, Some(original));
    assert_eq!(first.recipe_hash, second.recipe_hash);
    assert_eq!(first.recipe, second.recipe);
    assert_eq!(first.seeds, second.seeds);
    assert_eq!(first.campaign.swept, second.campaign.swept);
    assert!(first.client.sequence_digest.is_some());
    assert_eq!(first.client.sequence_digest, second.client.sequence_digest);
    project.assert_in_order();
}

#[test]
fn two_runners_on_one_archive_do_not_meet() {
    let project = Project::new();
    project.write("campaign.yaml", SIMULATOR);
    let first = project.start(&["run", "campaign.yaml"]);
    let second = project.start(&["run", "campaign.yaml"]);
    first.finish().code(0);
    second.finish().code(0);
    assert_eq!(project.ids().len(), 8);
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "9");
    project.assert_in_order();
}

#[test]
fn an_id_is_not_given_again_on_another_branch() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.runner(&["run", "redis.yaml"]).code(0);
    project.git(&["checkout", "-q", "-b", "other", "HEAD~1"]);
    assert_eq!(project.ids(), []);
    project.runner(&["run", "redis.yaml"]).code(0);
    assert_eq!(project.ids()[0].sequence(), 2);
    project.assert_in_order();
}

#[test]
fn readers_do_not_disturb_a_runner_at_work() {
    let project = Project::new();
    project.write(
        "short.yaml",
        "repetitions: 12\nrecipe:\n  configuration: {target: local}\n  service: {command: 'exec sleep 1000'}\n  \
         client: {command: 'true'}\n",
    );
    let running = project.start(&["run", "short.yaml"]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while project.ids().len() < 12 {
                    let listed = project.runner(&["list"]);
                    assert!(!listed.code(0).stderr().contains("recover"), "{}", listed.stderr());
                }
            });
        }
    });
    running.finish().code(0);
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "13");
    project.assert_in_order();
}

#[test]
fn a_campaign_survives_a_new_build_of_the_runner() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    let program = project.root().join("runner");
    std::fs::copy(env!("CARGO_BIN_EXE_runner"), &program).expect("copied");
    let running = project.start_program(&program, &["run", "redis.yaml", "--repetitions", "3"]);
    project.wait_for("progress.json", "phase");
    std::fs::remove_file(&program).expect("removed");
    running.finish().code(0);
    assert_eq!(project.ids().len(), 3);
    project.assert_in_order();
}

#[test]
fn large_records_stay_outside_git() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.runner(&["run", "redis.yaml", "--raw-limit", "1k"]).code(0);
    let id = project.ids()[0];
    let benchmark = project.archive().open(id).expect("sealed");
    assert!(benchmark.manifest.files["requests.jsonl.zst"].external);
    assert_eq!(
        RequestReader::open(&benchmark.path_of("requests.jsonl.zst").expect("stored")).expect("opens").count(),
        3000
    );
    assert!(!project.git(&["ls-files"]).contains("requests"));
    project.assert_in_order();
}

#[test]
fn without_a_repository_results_are_sealed_and_it_is_said() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    std::fs::remove_dir_all(project.root().join(".git")).expect("removed");
    let finished = project.runner(&["run", "redis.yaml"]);
    assert!(finished.code(0).stderr().contains("is in no git repository"), "{}", finished.stderr());
    assert_eq!(project.ids().len(), 1);
}
