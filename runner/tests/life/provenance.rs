//! Where a benchmark comes from: everything in `run.json` that somebody would need to repeat it, against what other programs say.

use std::{fs, process::Command};

use serde_json::Value;

use crate::project::Project;

const REDIS: &str = "\
configuration: {target: local}
service: {type: redis}
client: {type: redis_stress, settings: {num_requests: 50}}
benchmarks: {num_clients: 2}
";

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|err| panic!("{program}: {err}"));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn sha256_of(path: &str) -> String {
    archive::sha256_hex(&fs::read(path).expect("readable"))
}

#[test]
fn a_local_run_is_described_in_full() {
    let project = Project::new();
    project.write("redis.yaml", REDIS);
    project.git(&["add", "redis.yaml"]);
    project.git(&["commit", "-q", "-m", "a recipe"]);
    let head = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    project.runner(&["run", "redis.yaml"]).code(0);
    let run = project.run(project.ids()[0]);

    let own = sha256_of(env!("CARGO_BIN_EXE_runner"));
    assert_eq!((run.tool.name.as_str(), run.tool.binary_sha256.as_ref()), ("runner", Some(&own)));
    assert_eq!(run.tool.profile.as_deref(), Some("debug"));
    assert_eq!((run.git_commit.as_ref(), run.recipe.git_commit.as_ref()), (Some(&head), Some(&head)));
    assert_eq!(run.recipe.changes_sha256, None);
    assert_eq!((run.recipe.file.as_str(), run.recipe.text.as_str()), ("redis.yaml", REDIS));
    assert_eq!(run.recipe_hash.len(), 64);

    let server = said("sh", &["-c", "command -v redis-server"]);
    let version = run.service.version.expect("asked for");
    assert!(said(&server, &["--version"]).contains(&format!("v={version} ")), "{version}");
    assert_eq!(run.service.program_sha256, Some(sha256_of(&server)));
    assert_eq!((run.service.started_as.as_str(), &run.service.image), ("child", &None));
    assert!(run.service.command.iter().any(|word| word == "--port") || run.service.command.len() > 1);
    assert!(run.service.ready_after_s.is_some() && run.service.exit.is_some() && run.service.port.is_some());

    let [node] = &run.nodes[..] else { panic!("one machine: {:?}", run.nodes) };
    assert_eq!(node.roles, ["service", "client"]);
    assert_eq!(node.kernel, Some(said("uname", &["-r"])));
    assert_eq!(node.cpus.map(|cpus| cpus.to_string()), Some(said("nproc", &[])));
    let kibibytes: u64 =
        said("sh", &["-c", "sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"]).parse().expect("a number");
    assert_eq!(node.memory_total_bytes, Some(kibibytes * 1024));
    let model = said("sh", &["-c", "sed -n 's/^model name\\t: //p' /proc/cpuinfo | head -1"]);
    assert_eq!(node.cpu_model.clone().unwrap_or_default(), model);
    assert!(node.os.is_some());
    let limit = said("sh", &["-c", "ulimit -S -n"]);
    assert_eq!(node.limits["open_files"].map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()), limit);
    assert_eq!(node.limits.len(), 4, "{:?}", node.limits);
    // What this machine does not tell is absent, and nothing else is.
    for (fact, path) in [
        (node.cpu_governor.is_some(), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        (node.smt.is_some(), "/sys/devices/system/cpu/smt/active"),
        (node.numa_nodes.is_some(), "/sys/devices/system/node/node0"),
    ] {
        assert_eq!(fact, fs::exists(path).expect("known"), "{path}");
    }

    assert_ne!(run.seeds.campaign, run.seeds.benchmark);
    assert!(run.client.other.contains_key("calibration") && run.client.other.contains_key("generator"));
    assert!(run.client.sequence_digest.is_some() && run.client.load["seed"].is_number());
    let known: Vec<&str> = run.events.iter().map(|event| event.event.as_str()).collect();
    for event in
        ["started", "ready", "point_begun", "calibrated", "load_begun", "window_ended", "point_ended", "stopped"]
    {
        assert!(known.contains(&event), "{event}: {known:?}");
    }
    assert!(run.created_at <= run.started_at.expect("there was a load") && run.started_at < Some(run.ended_at));
}

#[test]
fn the_recipes_repository_is_told_from_the_archives() {
    let project = Project::new();
    project.write(
        "quick.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "a recipe"]);
    let head = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let place = tempfile::tempdir().expect("a folder");
    let own = place.path().join("own").display().to_string();
    project.write("README", "changed\n");
    let diff = project.git(&["diff", "--binary", "--full-index", "HEAD"]);
    project.runner(&["--repo", &own, "run", "quick.yaml"]).code(0);
    let archive = archive::Archive::new(place.path().join("own/results"));
    let run =
        |index: usize| archive.open(archive.ids().expect("read")[index]).expect("sealed").run().expect("readable");
    let first = run(0);
    assert_eq!(first.recipe.git_commit, Some(head));
    assert_eq!(first.recipe.changes_sha256, Some(archive::sha256_hex(diff.as_bytes())));
    let before = Command::new("git").args(["-C", &own, "rev-parse", "HEAD~1"]).output().expect("git runs").stdout;
    assert_eq!(first.git_commit, Some(String::from_utf8(before).expect("text").trim().to_owned()));
    // A rerun is of the recipe as it was, wherever the repository has come to.
    project.git(&["commit", "-q", "-am", "later"]);
    project.runner(&["--repo", &own, "rerun", "latest"]);
    let again = run(1);
    assert_eq!(
        (again.recipe.git_commit, again.recipe.changes_sha256),
        (first.recipe.git_commit, first.recipe.changes_sha256)
    );
}

#[test]
fn data_that_changed_is_found_by_diff_and_rerun() {
    let project = Project::new();
    let data = project.root().join("data");
    fs::create_dir_all(data.join("model")).expect("created");
    fs::write(data.join("model/weights"), "1").expect("written");
    fs::write(data.join("prompts"), "a\n").expect("written");
    let recipe = format!(
        "configuration: {{target: local}}\nservice: {{command: 'exec sleep 1000', data: ['{0}/model']}}\n\
         client: {{command: 'true', data: ['{0}/prompts']}}\nbenchmarks: {{num_clients: 2}}\n",
        data.display()
    );
    project.write("data.yaml", &recipe);
    project.runner(&["run", "data.yaml"]).code(0);
    let first = project.run(project.ids()[0]);
    let facts: Vec<_> =
        first.data.iter().map(|data| (data.role.as_str(), data.named_by.as_str(), data.files)).collect();
    assert_eq!(facts, [("service", "data", 1), ("client", "data", 1)]);
    let line = format!("{}  weights\n", archive::sha256_hex(b"1"));
    assert_eq!(first.data[0].content_sha256, Some(archive::sha256_hex(line.as_bytes())));
    assert_eq!(first.data[1].content_sha256, Some(archive::sha256_hex(b"a\n")));

    let again = project.runner(&["rerun", "latest", "--json"]);
    let told = |finished: &crate::project::Finished| -> Value {
        let text = finished.stdout();
        let line = text.lines().find(|line| line.contains("\"differences\"")).unwrap_or_else(|| panic!("{text}"));
        serde_json::from_str(line).expect("JSON")
    };
    assert_eq!(told(&again)["differences"]["environment"], serde_json::json!([]));
    fs::write(data.join("model/weights"), "2").expect("written");
    let other = told(&project.runner(&["rerun", "latest", "--json"]));
    let what = format!("data[{}/model].content_sha256", data.display());
    assert_eq!(other["differences"]["environment"][0]["what"], what, "{other:#}");
    let ids = project.ids();
    let diff = project.runner(&["diff", &ids[0].to_string(), &ids[2].to_string()]);
    assert!(diff.code(0).stdout().contains(&what), "{}", diff.stdout());

    fs::remove_dir_all(data.join("model")).expect("removed");
    let gone = project.runner(&["rerun", "latest"]);
    assert!(gone.code(2).stderr().contains("data/model is not here"), "{}", gone.stderr());
    project.write("relative.yaml", &recipe.replace(&format!("{}/", data.display()), "data/"));
    let relative = project.runner(&["check", "relative.yaml"]);
    let said = relative.code(1).stdout() + &relative.stderr();
    assert!(said.contains("service.data"), "{said}");
    assert_eq!(project.ids().len(), 3);
}
