//! Benchmarks in the formats of others, and from elsewhere: what comes out says the same, and what comes in is looked at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use archive::BenchmarkId;
use serde_json::Value;

use crate::project::Project;

const SMALL: &str = "\
name: small
recipe:
  configuration: {target: local}
  service: {type: simulator, settings: {prefill_base_s: 1ms, decode_per_token_s: 0}}
  client: {type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}
  benchmarks: {num_requests: 20, num_clients: 2, calibration: 0}
";

/// Looks at every entity of a crate: `crate.zip`.
const READ_CRATE: &str = r#"
import json, sys, zipfile, hashlib
crate = zipfile.ZipFile(sys.argv[1])
assert crate.testzip() is None
graph = json.loads(crate.read('ro-crate-metadata.json'))['@graph']
files = {e['@id']: e for e in graph if e['@type'] == 'File'}
assert set(files) | {'ro-crate-metadata.json'} == set(crate.namelist()), crate.namelist()
for name, entity in files.items():
    bytes = crate.read(name)
    assert int(entity['contentSize']) == len(bytes)
    assert entity.get('sha256', hashlib.sha256(bytes).hexdigest()) == hashlib.sha256(bytes).hexdigest()
"#;

/// Holds documents, by the names of their schemas on stdin, against the schemas in a folder.
const VALIDATE: &str = r#"
import json, sys, jsonschema
folder, documents = sys.argv[1], json.load(sys.stdin)
for name, each in documents.items():
    schema = json.load(open(f'{folder}/{name}.schema.json'))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for document in each:
        for error in validator.iter_errors(document):
            sys.exit(f'{name}: {error.json_path}: {error.message[:300]}')
    wrong = dict(each[0] if each else {}, **{next(iter(schema['required'])): {}})
    assert list(validator.iter_errors(wrong)), f'{name}: anything fits'
"#;

fn measured() -> (Project, BenchmarkId) {
    let project = Project::new();
    project.write("small.yaml", SMALL);
    project.runner(&["run", "small.yaml"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    (project, id)
}

fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers/bin").join(name)
}

#[test]
fn records_and_percentiles_come_out_as_they_are() {
    let (project, id) = measured();
    let (requests, summary) = (project.requests(id), project.summary(id));
    assert_eq!(requests.len(), 40);
    let export = |args: &[&str]| {
        let finished = project.runner(&[&["export", "latest"], args].concat());
        finished.code(0);
        finished.stdout()
    };
    let csv = export(&["--format", "csv"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|cell| *cell == name).expect("a column");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let latencies: Vec<f64> = rows[1..].iter().map(|row| row[column("latency_s")].parse().expect("a number")).collect();
    assert_eq!(latencies, requests.iter().map(|request| request.latency_s).collect::<Vec<_>>());
    let lines = export(&["--format", "jsonl"]);
    let read: Vec<archive::Request> = lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    assert_eq!(read, requests);

    let hgrm = export(&["--format", "hgrm"]);
    let total = format!("Total count    = {:12}]", summary.latency_s.figures.count);
    assert!(hgrm.trim_start().starts_with("Value") && hgrm.contains(&total), "{hgrm}");
    let largest: f64 = hgrm
        .lines()
        .rev()
        .find(|line| !line.starts_with('#'))
        .and_then(|line| line.split_whitespace().next())
        .expect("a row")
        .parse()
        .expect("a number");
    let max_ms = summary.latency_s.figures.max.expect("measured") * 1e3;
    assert!((largest - max_ms).abs() / max_ms < 0.002, "{largest} {max_ms}");
    assert!(!export(&["--format", "hgrm", "--sample", "ttft"]).is_empty());
    for (args, message) in [
        (&["--format", "hgrm", "--sample", "speed"][..], "is no sample"),
        (&["--format", "csv", "--out", "small.yaml"], "is there already"),
    ] {
        let finished = project.runner(&[&["export", "latest"], args].concat());
        assert!(finished.code(2).stderr().contains(message), "{}", finished.stderr());
    }
}

#[test]
fn a_research_object_crate_is_valid() {
    let (project, id) = measured();
    project
        .runner(&["export", "latest", "--format", "ro-crate", "--license", "https://spdx.org/licenses/CC-BY-4.0"])
        .code(0);
    let zip = project.root().join(format!("{id}.crate.zip"));
    let python = Command::new(installed("python")).args(["-c", READ_CRATE]).arg(&zip).output().expect("python runs");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));

    let crate_folder = project.root().join("crate");
    let unpacked =
        Command::new(installed("python")).args(["-m", "zipfile", "-e"]).arg(&zip).arg(&crate_folder).status();
    assert!(unpacked.expect("python runs").success());
    let validate = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crate/validate.py");
        let output = Command::new(installed("python")).arg(script).arg(&crate_folder).output().expect("python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = validate();
    assert_eq!(code, Some(0), "{said}");
    // It would say so if it were not.
    let metadata = crate_folder.join("ro-crate-metadata.json");
    let text = fs::read_to_string(&metadata).expect("read");
    fs::write(&metadata, text.replace("\"datePublished\"", "\"dateUnheardOf\"")).expect("written");
    let (code, said) = validate();
    assert!(code == Some(1) && said.contains("datePublished"), "{said}");
}

#[test]
fn a_tar_brings_a_benchmark_to_another_archive() {
    let (project, id) = measured();
    project.runner(&["run", "small.yaml", "--raw-limit", "100"]).code(0);
    project.wait_for_silence();
    let second = project.ids()[1];
    for id in [id, second] {
        project.runner(&["archive", "export", &id.to_string()]).code(0);
    }
    let tar = |id: BenchmarkId| project.root().join(format!("{id}.tar")).display().to_string();
    let digest =
        |project: &Project, id: BenchmarkId| project.archive().open(id).expect("sealed").digest().expect("read");

    let other = Project::new();
    other.runner(&["import", &tar(id), &tar(second)]).code(0);
    assert_eq!(other.ids(), [id, second]);
    assert_eq!(digest(&other, second), digest(&project, second));
    assert_eq!(other.requests(second), project.requests(second), "also what is kept outside git");
    other.runner(&["verify"]).code(0);
    assert!(other.runner(&["import", &tar(id)]).code(0).stdout().contains("already"));
    other.assert_in_order();

    // An id that another benchmark has is told apart; everything else stays.
    let third = Project::new();
    third.write("small.yaml", SMALL);
    third.runner(&["run", "small.yaml"]).code(0);
    third.wait_for_silence();
    let said = third.runner(&["import", &tar(id)]);
    assert!(said.code(0).stdout().contains(&format!("{id} is another benchmark here")), "{}", said.stdout());
    let renamed = third.ids()[1];
    let run = third.run(renamed);
    assert_eq!(run.other["imported"]["benchmark_id"], id.to_string());
    assert_eq!(run.other["imported"]["digest"], digest(&project, id));
    assert_eq!(run.recipe_hash, project.run(id).recipe_hash);
    assert_eq!(third.requests(renamed), project.requests(id));
    third.runner(&["verify"]).code(0);
    assert!(third.runner(&["import", &tar(id)]).code(0).stdout().contains("already"));
    third.assert_in_order();

    // So is one that a benchmark under way has.
    let fourth = Project::new();
    fourth.write("slow.yaml", &SMALL.replace("num_requests: 20", "duration: 60s"));
    let slow = fourth.start(&["run", "slow.yaml"]);
    fourth.wait_for("progress.json", "loading");
    fourth.runner(&["import", &tar(id)]).code(0);
    assert_eq!(fourth.ids().iter().map(|id| id.sequence()).collect::<Vec<_>>(), [2]);
    slow.signal(nix::sys::signal::Signal::SIGINT);
    slow.finish().code(2);
    assert_eq!(fourth.ids().iter().map(|id| id.sequence()).collect::<Vec<_>>(), [1, 2]);
    fourth.assert_in_order();

    // A tar that somebody changed is no benchmark.
    let bytes = fs::read(tar(id)).expect("read");
    let place = bytes.windows(11).position(|part| part == b"\"completed\"").expect("run.json");
    let mut forged = bytes.clone();
    forged[place + 1] = b'C';
    fs::write(other.root().join("forged.tar"), forged).expect("written");
    fs::write(other.root().join("cut.tar"), &bytes[..bytes.len() / 3]).expect("written");
    for (file, message) in
        [("forged.tar", "is not what was sealed"), ("cut.tar", "cut off"), ("README", "cannot be imported")]
    {
        let refused = other.runner(&["import", file]);
        assert!(refused.code(2).stderr().contains(message), "{file}: {}", refused.stderr());
    }
    assert_eq!(other.ids().len(), 2);
    other.assert_in_order();
}

/// Objects whose names are no fields of the format: those of metrics, limits, errors and axes, and a person's own.
const NAMES: [&str; 9] =
    ["resolved", "swept", "slo", "thresholds", "limits", "steps_s", "server_s", "error_summary", "service_figures"];

/// Puts a field that nobody knows into every object, at any depth.
fn with_unknown(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut().filter(|(name, _)| !NAMES.contains(&name.as_str())) {
                match (name.as_str(), value) {
                    ("operations", Value::Object(all)) => all.values_mut().for_each(with_unknown),
                    (_, value) => with_unknown(value),
                }
            }
            fields.insert("of_a_newer_build".into(), serde_json::json!({ "deep": [1, null, "x"] }));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown),
        _ => {}
    }
}

#[test]
fn fields_of_newer_builds_survive_whatever_writes_a_benchmark_anew() {
    let (project, id) = measured();
    // The same benchmark as a newer build might have made it.
    let newer = project.archive().allocate().expect("an id");
    let results = project.root().join("results");
    let (from, staged) = (results.join(id.to_string()), results.join(".work/newer"));
    for path in archive::files_below(&from).expect("readable") {
        let name = path.strip_prefix(&from).expect("below").to_str().expect("text").to_owned();
        let mut bytes = fs::read(&path).expect("read");
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        match name.as_str() {
            "run.json" | "summary.json" => {
                let text = String::from_utf8(bytes).expect("text").replace(&id.to_string(), &newer.to_string());
                let mut value = parse(&text);
                with_unknown(&mut value);
                bytes = format!("{value:#}\n").into_bytes();
            }
            "requests.jsonl.zst" | "resources.jsonl.zst" => {
                let text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("compressed")).expect("text");
                let mut lines = String::new();
                for line in text.lines() {
                    let mut value = parse(line);
                    with_unknown(&mut value);
                    lines += &format!("{value}\n");
                }
                bytes = zstd::encode_all(lines.as_bytes(), 3).expect("compressed");
            }
            name if name.starts_with("manifest") => continue,
            _ => {}
        }
        let place = staged.join(name);
        fs::create_dir_all(place.parent().expect("a folder")).expect("created");
        fs::write(place, bytes).expect("written");
    }
    archive::seal(&results, newer, &staged, &archive::SealOptions::default()).expect("sealed");
    // Every command reads it.
    for command in [&["verify"][..], &["list"], &["summary", "latest"], &["metrics", "latest"], &["logs", "latest"]] {
        project.runner(command).code(0);
    }
    let jsonl = project.runner(&["export", "latest", "--format", "jsonl"]).code(0).stdout();
    assert_eq!(jsonl.matches("of_a_newer_build").count(), 40);

    // Where its id is taken it is sealed anew, with another one and no other change.
    project.runner(&["archive", "export", "latest"]).code(0);
    let tar = project.root().join(format!("{newer}.tar"));
    let other = Project::new();
    other.write("small.yaml", SMALL);
    other.runner(&["run", "small.yaml", "--repetitions", "2"]).code(0);
    other.wait_for_silence();
    other.runner(&["import", tar.to_str().expect("text")]).code(0);
    let renamed = other.ids()[2];
    let read = |project: &Project, id: BenchmarkId, name: &str| {
        fs::read(project.root().join("results").join(id.to_string()).join(name)).expect("read")
    };
    for name in ["summary.json", "requests.jsonl.zst", "resources.jsonl.zst"] {
        assert_eq!(read(&other, renamed, name), read(&project, newer, name), "{name}");
    }
    let sealed = String::from_utf8(read(&project, newer, "run.json")).expect("text");
    let mut expected: Value =
        serde_json::from_str(&sealed.replace(&newer.to_string(), &renamed.to_string())).expect("JSON");
    let found: Value = serde_json::from_slice(&read(&other, renamed, "run.json")).expect("JSON");
    expected["imported"] = found["imported"].clone();
    assert_eq!(found, expected);
    other.runner(&["verify"]).code(0);
    other.assert_in_order();
}

#[test]
fn a_results_folder_of_the_other_system_is_marked_and_computed_anew() {
    let project = Project::new();
    let folder = project.root().join("old/BM-20260108-003");
    fs::create_dir_all(folder.join("logs")).expect("created");
    let run = r#"{"benchmark_id": "BM-20260108-003", "created_at": "2026-01-08T10:00:00Z", "ended_at": null, "git_commit": null,
        "target": "cluster", "recipe_hash": "aa", "recipe": {"configuration": {"target": "cluster"},
        "service": {"type": "redis"}, "client": {"type": "redis_stress"}, "raw_data": {"x": 1}},
        "service": {"name": "redis", "type": "redis", "job_id": "7", "hostname": "node1", "image": "redis:7", "port": 6379,
        "command": "redis-server"}, "clients": [{"name": "client-redis"}, {"name": "client-redis-2"}],
        "environment": {"framework_version": "1.0"}}"#;
    fs::write(folder.join("run.json"), run).expect("written");
    fs::write(folder.join("summary.json"), r#"{"total_requests": 4}"#).expect("written");
    // The second name cannot be told from the first everywhere, and the third is none on Windows.
    for name in ["redis_service.out", "Redis_Service.out", "a:b"] {
        fs::write(folder.join("logs").join(name), "ready\n").expect("written");
    }
    let mut lines = String::from(
        "{\"benchmark_id\": \"x\", \"service_type\": \"redis\", \"test_start\": \"2026-01-08T10:01:00\"}\n",
    );
    for (number, latency) in [0.1, 0.2, 0.3].into_iter().enumerate() {
        lines += &format!(
            "{{\"request_id\": {number}, \"operation\": \"SET\", \"timestamp_start\": {}, \"timestamp_end\": {}, \
             \"latency_s\": {latency}, \"success\": true, \"service_type\": \"redis\"}}\n",
            1_767_866_460 + number,
            1_767_866_461 + number
        );
    }
    lines += "{\"request_id\": 3, \"operation\": \"GET\", \"timestamp_start\": 1767866463, \"timestamp_end\": 1767866463, \
              \"latency_s\": 0, \"success\": false, \"error\": \"get_failed\"}\n";
    fs::write(folder.join("requests.jsonl"), lines).expect("written");

    project.runner(&["import", "old/BM-20260108-003"]).code(0);
    let id = project.ids()[0];
    assert_eq!(id.to_string(), "BM-20260108-003");
    let (run, summary) = (project.run(id), project.summary(id));
    assert_eq!(run.other["imported"]["from"], "results folder");
    assert_eq!((run.client.num_clients, run.service.kind.as_str()), (2, "redis"));
    assert!(run.recipe.resolved.get("raw_data").is_none());
    assert_eq!((summary.total_requests, summary.failed_requests), (4, 1));
    assert_eq!(summary.latency_s.figures.p50, Some(0.2));
    assert_eq!(summary.error_summary["get_failed"], 1);
    assert!(summary.findings.iter().any(|finding| finding.code == "imported"));
    let logs: Vec<String> = project.archive().open(id).expect("sealed").logs().into_iter().map(str::to_owned).collect();
    let portable =
        ["Redis_Service.out", "a_b", "client/redis_service.out", "imported/run.json", "imported/summary.json"];
    assert_eq!(logs, portable);
    project.runner(&["verify"]).code(0);
    project.runner(&["list"]).code(0);
    project.runner(&["summary", "latest"]).code(0);
    assert!(project.runner(&["import", "old/BM-20260108-003"]).code(0).stdout().contains("already"));
    let rerun = project.runner(&["rerun", "latest"]);
    assert!(rerun.code(2).stderr().contains("it was imported"), "{}", rerun.stderr());
    project.assert_in_order();
}

#[test]
fn what_is_too_large_for_git_goes_to_a_store_and_back() {
    let (project, _) = measured();
    project.runner(&["run", "small.yaml", "--raw-limit", "100"]).code(0);
    project.wait_for_silence();
    let run = |args: &[&str], code: i32| {
        let finished = project.runner(&[&["archive"], args, &["--json"]].concat());
        finished.code(code);
        serde_json::from_str::<Value>(&finished.stdout()).expect("JSON")
    };
    let stat = run(&["stat"], 0);
    let raw = stat["raw_here"].as_u64().expect("a number");
    assert!(raw >= 1 && stat["benchmarks"] == 2 && stat["git_bytes"].as_u64() > Some(0), "{stat:#}");
    run(&["stat", "--budget", "1k"], 1);
    assert_eq!(run(&["push", "--store", "store"], 0)["files"], raw);
    assert_eq!(
        run(&["gc", "--pushed", "store", "--dry-run"], 0)["garbage"]["files"].as_array().map(Vec::len),
        Some(raw as usize)
    );
    run(&["gc", "--pushed", "store", "--pack"], 0);
    assert_eq!(run(&["stat"], 0)["raw_elsewhere"], raw);
    let elsewhere = project.runner(&["export", "latest", "--format", "csv"]);
    assert!(elsewhere.code(2).stderr().contains("runner archive fetch"), "{}", elsewhere.stderr());
    project.runner(&["verify"]).code(0);
    assert_eq!(run(&["fetch", "latest", "--store", "store"], 0)["files"], raw);
    project.runner(&["export", "latest", "--format", "csv"]).code(0);
    project.runner(&["verify"]).code(0);
    project.assert_in_order();
}

/// Asks the JSON Schema validator of the tests about every file of an archive's benchmarks.
fn assert_fits_schemas(archive: &archive::Archive) {
    let mut documents: std::collections::BTreeMap<&str, Vec<Value>> = Default::default();
    for id in archive.ids().expect("readable") {
        let folder = archive.folder().join(id.to_string());
        for name in ["run.json", "summary.json", "manifest.json"] {
            let value = serde_json::from_slice(&fs::read(folder.join(name)).expect("read")).expect("JSON");
            documents.entry(name).or_default().push(value);
        }
        for name in ["requests.jsonl", "resources.jsonl"] {
            let bytes = fs::read(folder.join(format!("{name}.zst"))).expect("read");
            let text = zstd::decode_all(&bytes[..]).expect("compressed");
            let lines = String::from_utf8(text).expect("text");
            let values = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
            documents.entry(name).or_default().extend(values);
        }
    }
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/v1");
    let mut python = Command::new(installed("python"));
    python.args(["-c", VALIDATE]).arg(schemas).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = python.spawn().expect("python runs");
    serde_json::to_writer(child.stdin.take().expect("piped"), &documents).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_sealed_fits_the_published_schemas() {
    let (project, _) = measured();
    assert_fits_schemas(&project.archive());
    assert_fits_schemas(&archive::Archive::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("archive/tests/v1")));
}

#[test]
fn an_archive_of_an_earlier_build_verifies_with_its_figures() {
    let project = Project::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("archive/tests/v1");
    let copied = Command::new("cp").arg("-r").arg(from).arg(project.root().join("results")).status();
    assert!(copied.expect("cp runs").success());
    let verified = project.runner(&["verify"]);
    verified.code(0);
    assert!(verified.stdout().contains("3 benchmarks"), "{}", verified.stdout());
    for command in [&["list"][..], &["summary", "-003"], &["metrics", "-002"], &["diff", "-002", "-003"]] {
        project.runner(command).code(0);
    }
}
