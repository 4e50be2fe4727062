//! Ctrl-C once, and twice.

use archive::Status;
use nix::sys::signal::Signal;

use crate::project::Project;

const LONG: &str = "\
repetitions: 3
recipe:
  configuration: {target: local}
  service: {type: redis}
  client: {type: redis_stress, settings: {operation_mix: '50:50', num_keys: 10}}
  benchmarks: {num_clients: 2, duration: 100s, calibration: 0}
";

#[test]
fn once_ends_in_order_and_keeps_what_was_measured() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let running = project.start(&["run", "long.yaml"]);
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGINT);
    let finished = running.finish();
    finished.code(2);
    assert!(finished.stderr().contains("what was measured is kept"), "{}", finished.stderr());
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 1, "the other repetitions were not begun");
    assert_eq!(project.run(ids[0]).status, Status::Cancelled);
    let summary = project.summary(ids[0]);
    assert!(summary.successful_requests > 0);
    assert_eq!(summary.failed_requests, 0, "{:?}", summary.error_summary);
    project.assert_in_order();
}

#[test]
fn twice_leaves_at_once_and_the_next_command_cleans_up() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let running = project.start(&["run", "long.yaml"]);
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGTERM);
    running.finish().code(2);
    project.wait_for_silence();
    project.runner(&["list"]).code(0);
    assert_eq!(project.ids().len(), 1);
    assert_eq!(project.run(project.ids()[0]).status, Status::Cancelled);
    project.assert_in_order();
}

#[test]
fn a_closed_terminal_ends_in_order_too() {
    let project = Project::new();
    project.write("long.yaml", LONG);
    let mut running = project.start(&["run", "long.yaml", "--verbose"]);
    running.close_stderr();
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGHUP);
    running.finish().code(2);
    project.wait_for_silence();
    assert_eq!(project.run(project.ids()[0]).status, Status::Cancelled);
    project.assert_in_order();
}

#[test]
fn a_command_before_the_start_is_ended() {
    let project = Project::new();
    project.write(
        "slow.yaml",
        "configuration: {target: local}\n\
         service: {command: 'exec sleep 1000', pre_run_commands: ['echo waiting; sleep 1000; true']}\n\
         client: {command: 'true'}\n",
    );
    let running = project.start(&["run", "slow.yaml"]);
    project.wait_for("service/service.log", "waiting");
    running.signal(Signal::SIGINT);
    let finished = running.finish();
    finished.code(2);
    assert!(finished.stderr().contains("was not begun"), "{}", finished.stderr());
    project.wait_for_silence();
    assert_eq!(project.ids(), []);
    project.assert_in_order();
}
