//! SIGKILL of the runner at every stage: nothing is left running, nothing measured is lost.

use std::fs;

use archive::{Stage, Status};
use nix::sys::signal::Signal;

use crate::project::Project;

/// A Redis under load for longer than any test waits.
const LONG: &str = "\
configuration: {target: local}
service: {type: redis}
client:
  type: redis_stress
  settings: {operation_mix: '50:50', num_keys: 10}
benchmarks: {num_clients: 2, warmup: 3s, duration: 100s, calibration: 0}
";

#[test]
fn while_the_service_starts() {
    let project = Project::new();
    project.write(
        "slow.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000', port: 49321}\nclient: {command: 'true'}\n",
    );
    let running = project.start(&["run", "slow.yaml"]);
    project.wait_for("events/serve.jsonl", "\"started\"");
    running.signal(Signal::SIGKILL);
    assert!(running.finish().was_killed());
    project.wait_for_silence();

    let listed = project.runner(&["list"]);
    assert!(listed.code(0).stderr().contains("was not begun when its runner died"), "{}", listed.stderr());
    assert_eq!(project.ids(), [], "nothing was measured");
    project.assert_in_order();
    // Its id is not given again.
    project.write(
        "quick.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    project.runner(&["run", "quick.yaml"]).code(0);
    assert_eq!(project.ids()[0].sequence(), 2);
}

#[test]
fn during_warm_up() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let running = project.start(&["run", "long.yaml"]);
    project.wait_for("progress.json", "warmup");
    running.signal(Signal::SIGKILL);
    running.finish();
    project.wait_for_silence();
    project.runner(&["list"]).code(0);
    let id = project.ids()[0];
    let run = project.run(id);
    assert_eq!((run.status, run.failure.expect("said").stage), (Status::Cancelled, Stage::Warmup));
    let summary = project.summary(id);
    assert_eq!(summary.total_requests, 0);
    assert!(summary.warmup_requests > 0);
    project.assert_in_order();
}

#[test]
fn under_load() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let running = project.start(&["run", "long.yaml", "--set", "benchmarks.warmup=0"]);
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGKILL);
    running.finish();
    project.wait_for_silence();

    let listed = project.runner(&["list"]);
    listed.code(0);
    let id = project.ids()[0];
    assert!(listed.stderr().contains(&format!("recovered {id}: cancelled while loading")), "{}", listed.stderr());
    assert!(listed.stdout().contains("cancelled"), "{}", listed.stdout());
    let summary = project.summary(id);
    assert_eq!(summary.total_requests as usize, project.requests(id).len());
    assert!(summary.successful_requests > 100, "{}", summary.successful_requests);
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "2");
    project.assert_in_order();
}

#[test]
fn while_sealing() {
    // Killed as soon as the staging folder, and in later rounds as soon as the sealed folder, can be seen.
    for (round, sign) in ["results/.work/staging", "results/.work/uncommitted"].into_iter().enumerate() {
        let project = Project::new();
        project.write("quick.yaml", LONG);
        let running =
            project.start(&["run", "quick.yaml", "--set", "benchmarks.warmup=0", "--set", "benchmarks.duration=1s"]);
        let folder = project.root().join(sign);
        project.wait_until(sign, || fs::read_dir(&folder).is_ok_and(|entries| entries.count() > 0));
        running.signal(Signal::SIGKILL);
        running.finish();
        project.wait_for_silence();
        for id in project.ids() {
            project.archive().open(id).expect("what stands in its place is whole");
        }
        project.runner(&["list"]).code(0);
        let ids = project.ids();
        assert_eq!(ids.len(), 1, "round {round}");
        assert_eq!(project.run(ids[0]).status, Status::Completed);
        assert!(project.summary(ids[0]).successful_requests > 100);
        assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "2");
        project.assert_in_order();
    }
}

/// Kills one of the agents of the deployment that runs.
fn kill_agent(project: &Project, number: usize) {
    let run =
        fs::read_dir(project.root().join("results/.work/run")).expect("there").next().expect("one").expect("read");
    let agents = fs::read_to_string(run.path().join("agents.json")).expect("written");
    let agents: Vec<serde_json::Value> = serde_json::from_str(&agents).expect("JSON");
    let pid = agents[number]["pid"].as_i64().expect("a pid") as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
}

#[test]
fn an_agent_that_is_killed_takes_the_service_with_it() {
    for service in ["type: redis", "type: redis, command: 'redis-server --port $SERVICE_PORT --save \"\" & wait'"] {
        let project = Project::new();
        project.write("long.yaml", &LONG.replace("type: redis}", &format!("{service}}}")));
        let running = project.start(&["run", "long.yaml", "--set", "benchmarks.warmup=0"]);
        project.wait_for("progress.json", "loading");
        kill_agent(&project, 0);
        running.finish().code(1);
        project.wait_for_silence();
        let id = project.ids()[0];
        assert_eq!(project.run(id).status, Status::Failed);
        assert!(project.summary(id).successful_requests > 0, "what was measured is kept");
        project.assert_in_order();
    }
}

#[test]
fn a_load_agent_that_is_killed_takes_its_commands_with_it() {
    let project = Project::new();
    project.write(
        "long.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'sleep 1000; true'}\n",
    );
    let running = project.start(&["run", "long.yaml"]);
    project.wait_for("progress.json", "loading");
    kill_agent(&project, 1);
    running.finish().code(1);
    project.wait_for_silence();
    let failure = project.run(project.ids()[0]).failure.expect("said");
    assert!(failure.reason.contains("SIGKILL"), "{}", failure.reason);
    project.assert_in_order();
}

#[test]
fn with_all_its_agents() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let running = project.start(&["run", "long.yaml", "--set", "benchmarks.warmup=0"]);
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGKILL);
    kill_agent(&project, 1);
    kill_agent(&project, 0);
    running.finish();
    project.runner(&["list"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    assert_eq!(project.run(id).status, Status::Cancelled);
    assert!(project.summary(id).successful_requests > 0, "what was measured is kept");
    project.assert_in_order();
}

#[test]
fn while_the_run_folder_is_removed() {
    let project = Project::new();
    project.write(
        "quick.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    project.runner(&["run", "quick.yaml", "--keep"]).code(0);
    let work = project.root().join("results/.work");
    let kept = fs::read_dir(work.join("kept")).expect("there").next().expect("one").expect("read").path();
    // Kept folders are nobody's leftovers.
    let listed = project.runner(&["list"]);
    assert!(!listed.code(0).stderr().contains("recover"), "{}", listed.stderr());
    // What a kill leaves of a folder that was being removed.
    fs::remove_file(kept.join("plan.json")).expect("removed");
    fs::create_dir_all(work.join("removed")).expect("created");
    fs::rename(&kept, work.join("removed/half")).expect("moved");
    let listed = project.runner(&["list"]);
    assert!(!listed.code(0).stderr().contains("recover"), "{}", listed.stderr());
    assert_eq!(fs::read_dir(work.join("removed")).expect("there").count(), 0);
    project.assert_in_order();
}

#[test]
fn a_folder_that_cannot_be_finished_hinders_nobody() {
    let project = Project::new();
    let broken = project.root().join("results/.work/run/20260301T120000-abcdef-0001");
    fs::create_dir_all(&broken).expect("created");
    fs::write(broken.join("journal.jsonl"), "{\"time\": \"2026-03-01T12:00:00Z\", \"state\": \"loading\"}\n")
        .expect("written");
    fs::write(broken.join("plan.json"), "{\"made\": \"by a newer build\"}").expect("written");
    for (command, code) in [("list", 0), ("resume", 2)] {
        let finished = project.runner(&[command]);
        assert!(finished.code(code).stderr().contains("cannot finish"), "{}", finished.stderr());
        assert!(broken.exists());
    }
}
