//! Archived benchmarks that are run again: what stays the same, and whether they were reproduced.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use archive::Archive;
use serde_json::Value;

use crate::project::Project;

/// Requests take 500 ms, so the median feels little of what a busy machine adds; the other figures have thresholds that
/// no machine breaks. The service reads what it does from a file, so that it can be slowed behind the recipe's back.
const STEADY: &str = "\
name: steady
seed: 3
repetitions: 3
redeploy: false
thresholds: {p50: 15, p99: 900, throughput: 80, success_rate: 40}
recipe:
  configuration: {target: local}
  service:
    type: simulator
    command: exec RUNNER agent simulate --host 127.0.0.1 --port $SERVICE_PORT --settings \"$(cat ROOT/settings.json)\"
  client: {type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}
  benchmarks: {num_requests: 4, warmup_requests: 1, calibration: 0}
sweep:
  benchmarks.num_clients: [1, 2]
";

/// Figures of a busy machine's Redis vary by factors; that they are equal within their thresholds says that the machinery is right.
const REDIS: &str = "\
name: redis
repetitions: 4
thresholds: {p50: 10000, p99: 10000, throughput: 99, success_rate: 40}
recipe:
  configuration: {target: local}
  service: {type: redis}
  client: {type: redis_stress, settings: {num_requests: 4000}}
  benchmarks: {num_clients: 2, calibration: 0}
";

fn settings(project: &Project, prefill: f64) {
    let settings = format!(
        "{{\"slots\": 4, \"prefill_base_s\": {prefill}, \"prefill_per_token_s\": 0, \"decode_per_token_s\": 0}}"
    );
    project.write("settings.json", &settings);
}

/// The verdicts, and the benchmarks that stand before them.
fn rerun(project: &Project, args: &[&str], code: i32) -> Vec<Value> {
    let finished = project.runner(&[&["rerun", "--json"], args].concat());
    finished.code(code);
    let lines = finished.stdout();
    let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    values.filter(|value| value.get("outcome").is_some()).collect()
}

#[test]
fn a_steady_service_is_reproduced_and_a_slowed_one_is_not() {
    let project = Project::new();
    let root = project.root().display().to_string();
    project.write("steady.yaml", &STEADY.replace("RUNNER", env!("CARGO_BIN_EXE_runner")).replace("ROOT", &root));
    settings(&project, 0.5);
    project.runner(&["run", "steady.yaml"]).code(0);
    let originals = project.ids();
    assert_eq!(originals.len(), 6);
    // Archives of their own, in which no other rerun is part of the noise.
    for copy in ["alone", "slowed"] {
        let copied =
            Command::new("cp").arg("-a").arg(project.root().join("results")).arg(project.root().join(copy)).status();
        assert!(copied.expect("cp runs").success());
    }

    // The whole campaign, with everybody in his place.
    let again = rerun(&project, &["steady"], 0);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["outcome"], "reproduced", "{:#}", again[0]);
    assert_eq!(again[0]["recipe_digest_equal"], true);
    assert_eq!(again[0]["requests_equal"], true);
    assert_eq!(again[0]["differences"], serde_json::json!({"recipe": [], "environment": []}));
    assert!(again[0]["method"].as_str().is_some_and(|method| !method.is_empty()) && again[0]["version"] == 2);
    let ids = project.ids();
    assert_eq!(ids.len(), 12);
    let mut executions = std::collections::BTreeSet::new();
    for (original, rerun) in originals.iter().zip(&ids[6..]) {
        let (original, rerun) = (project.run(*original), project.run(*rerun));
        assert_eq!(rerun.rerun_of, Some(original.benchmark_id));
        assert_eq!((&rerun.recipe_hash, &rerun.seeds), (&original.recipe_hash, &original.seeds));
        executions.insert(rerun.campaign.execution.clone());
        let mut campaign = rerun.campaign;
        campaign.execution.clone_from(&original.campaign.execution);
        assert_eq!(campaign, original.campaign);
        assert_eq!(rerun.client.sequence_digest, original.client.sequence_digest);
    }
    assert_eq!(executions.len(), 1);
    // Three repetitions shared a start, and do again.
    let starts = |ids: &[archive::BenchmarkId]| {
        let started =
            |id: &archive::BenchmarkId| project.run(*id).events.into_iter().find(|event| event.event == "started");
        ids.iter().map(|id| started(id).expect("it was").time).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(starts(&ids[..6]), starts(&ids[6..]));

    // One benchmark alone, against the repetitions of its original.
    let one = rerun(&project, &["-004", "--results", "alone"], 0);
    assert_eq!(one[0]["outcome"], "reproduced", "{:#}", one[0]);
    assert_eq!(one[0]["originals"].as_array().map(Vec::len), Some(3));
    let alone = Archive::new(project.root().join("alone"));
    let last = alone.open(*alone.ids().expect("readable").last().expect("a rerun"));
    let run = last.and_then(|last| last.run()).expect("readable");
    assert_eq!((run.campaign.point, run.campaign.points, run.campaign.repetitions), (1, 2, 3));

    // The service behind the same recipe becomes a fifth slower.
    settings(&project, 0.6);
    let slower = rerun(&project, &["-001", "--point", "--results", "slowed"], 1);
    assert_eq!(slower[0]["outcome"], "not_reproduced", "{:#}", slower[0]);
    assert_eq!(slower[0]["recipe_digest_equal"], true);
    assert!(slower[0]["reason"].as_str().is_some_and(|reason| reason.contains("p50")));
    let figures = &slower[0]["comparison"]["points"][0]["metrics"][0];
    assert!(figures["noise_band"][1].as_f64().is_some_and(|band| band > 0.0), "{figures:#}");
    // Later, from the archive alone.
    let told = project.runner(&["rerun", "--verdict", "latest", "--results", "slowed"]);
    told.code(1);
    assert!(told.stdout().contains("NOT REPRODUCED") && told.stdout().contains("version 2"), "{}", told.stdout());
    let none = project.runner(&["rerun", "--verdict", "-001"]);
    assert!(none.code(2).stderr().contains("is no rerun"), "{}", none.stderr());
    project.wait_for_silence();
    project.assert_in_order();
}

#[test]
fn a_redis_is_reproduced_and_a_lone_noisy_one_cannot_be_told() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.runner(&["run", "redis.yaml"]).code(0);
    let again = rerun(&project, &["redis"], 0);
    assert_eq!(again[0]["outcome"], "reproduced", "{:#}", again[0]);
    assert_eq!(again[0]["recipe_digest_equal"], true);
    assert_eq!(again[0]["requests_equal"], true);

    // Another recipe, once: nothing says how much it varies.
    project.write(
        "lone.yaml",
        &REDIS.replace("repetitions: 4", "repetitions: 1").replace("type: redis}", "type: redis, name: lone}"),
    );
    let alone = tempfile::tempdir().expect("a folder");
    let results = alone.path().join("results").display().to_string();
    project.runner(&["run", "lone.yaml", "--results", &results]).code(0);
    let untold = rerun(&project, &["latest", "--results", &results], 0);
    assert_eq!(untold[0]["outcome"], "cannot_tell", "{:#}", untold[0]);
    assert!(untold[0]["reason"].as_str().is_some_and(|reason| reason.contains("p99")), "{:#}", untold[0]);
    project.runner(&["rerun", "--verdict", "latest", "--strict", "--results", &results]).code(1);

    // What differs, in words and as data.
    let ids = project.ids();
    let (first, last) = (ids[0].to_string(), ids[ids.len() - 1].to_string());
    let same = project.runner(&["diff", &first, &last]);
    same.code(0);
    assert!(same.stdout().contains("environment: no difference known"), "{}", same.stdout());
    project
        .runner(&["run", "redis.yaml", "--set", "client.settings.value_size_bytes=64", "--repetitions", "1"])
        .code(0);
    let differs = project.runner(&["diff", &first, "latest", "--json"]);
    let differs: Value = serde_json::from_str(&differs.code(0).stdout()).expect("JSON");
    assert_eq!(differs["recipe_digest_equal"], false);
    assert_eq!(
        differs["recipe"],
        serde_json::json!([{"what": "client.settings.value_size_bytes", "a": "256", "b": "64"}])
    );
    project.wait_for_silence();
    project.assert_in_order();
}

#[test]
fn what_cannot_be_had_is_refused_with_a_cure() {
    let project = Project::new();
    project
        .write("redis.yaml", &REDIS.replace("type: redis}\n  client", "type: redis, env: {KEY: '${KEY}'}}\n  client"));
    project.runner_with(&[("KEY", "a value")], &["run", "redis.yaml", "--repetitions", "1"]).code(0);
    let refused = project.runner(&["rerun", "latest"]);
    assert!(refused.code(2).stderr().contains("export KEY"), "{}", refused.stderr());
    let exact = project.runner_with(&[("KEY", "a value")], &["rerun", "latest", "--exact"]);
    assert!(exact.code(2).stderr().contains("does not say which commit"), "{}", exact.stderr());
    let nothing = project.runner(&["rerun", "elsewhere"]);
    assert!(nothing.code(2).stderr().contains("no benchmark `elsewhere`"), "{}", nothing.stderr());
    // Of another build it says so; it is this one with a byte more.
    let other = project.root().join("other-build");
    let bytes = [&fs::read(env!("CARGO_BIN_EXE_runner")).expect("read")[..], b"x"].concat();
    fs::write(&other, &bytes).expect("written");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("executable");
    let warned = project.start_program(&other, &["rerun", "latest"]).finish();
    let digest = archive::sha256_hex(&bytes);
    let said = warned.code(2).stderr();
    assert!(said.contains("this is another build than the one that made") && said.contains(&digest[..12]), "{said}");
    assert_eq!(project.ids().len(), 1);

    // What the recipe rests on: a trace, the program, the target.
    project.write("arrivals.csv", "offset_s\n0\n0.01\n0.02\n");
    project.write(
        "trace.yaml",
        &REDIS
            .replace("name: redis", "name: traced")
            .replace("{num_clients: 2, calibration: 0}", "{load: {model: trace, file: arrivals.csv}, calibration: 0}")
            .replace("repetitions: 4", "repetitions: 1"),
    );
    project.runner(&["run", "trace.yaml"]).code(0);
    let all = std::env::var_os("PATH").expect("set");
    let path = std::env::split_paths(&all)
        .filter(|folder| !folder.join("redis-server").exists() && !folder.join("podman").exists());
    let without_redis = std::env::join_paths(path).expect("a path").into_string().expect("text");
    let refused = project.runner_with(&[("PATH", &without_redis)], &["rerun", "latest"]);
    let said = refused.code(2).stderr();
    assert!(said.contains("cannot be repeated as it was: `redis-server` is not on PATH"), "{said}");
    project.write("arrivals.csv", "offset_s\n0\n0.01\n0.03\n");
    let refused = project.runner(&["rerun", "latest"]);
    assert!(refused.code(2).stderr().contains("sha256"), "{}", refused.stderr());
    fs::remove_file(project.root().join("arrivals.csv")).expect("removed");
    let refused = project.runner(&["rerun", "latest"]);
    assert!(refused.code(2).stderr().contains("arrivals.csv"), "{}", refused.stderr());
    assert_eq!(project.ids().len(), 2);
    assert_eq!(fs::read_dir(project.root().join("results/.work/run")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_target_that_is_gone_is_refused() {
    let project = Project::new();
    project.write(
        "quick.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    project.runner(&["run", "quick.yaml"]).code(0);
    // As if it had been run elsewhere: the recipe names a target that nobody here describes.
    let id = project.ids()[0];
    let results = project.root().join("results");
    let (from, next) = (results.join(id.to_string()), project.archive().allocate().expect("an id"));
    let staged = results.join(".work/made");
    fs::create_dir_all(&staged).expect("created");
    let text = fs::read_to_string(from.join("run.json")).expect("read");
    let mut run: Value = serde_json::from_str(&text.replace(&id.to_string(), &next.to_string())).expect("JSON");
    run["recipe"]["resolved"]["configuration"]["target"] = "dismantled".into();
    run["target"] = serde_json::json!({ "name": "dismantled", "kind": "slurm" });
    fs::write(staged.join("run.json"), run.to_string()).expect("written");
    archive::seal(&results, next, &staged, &archive::SealOptions::default()).expect("sealed");
    // Its digest is that of another target; what is asked here is whether there is one.
    let refused = project.runner(&["rerun", &next.to_string(), "--force"]);
    let said = refused.code(2).stderr();
    assert!(said.contains("dismantled"), "{said}");
    assert_eq!(project.ids().len(), 2);
}
