//! Every way a job can end, and what is archived of it.

use archive::{Stage, Status};

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution,
    project::Project,
};

/// The reason why the only benchmark failed.
pub fn failure(project: &Project) -> (Stage, String) {
    project.assert_in_order();
    let ids = project.ids();
    assert_eq!(ids.len(), 1);
    let run = project.run(ids[0]);
    assert_eq!(run.status, Status::Failed);
    let failure = run.failure.expect("a reason");
    (failure.stage, failure.reason)
}

/// A load of minutes, during which `happens`.
pub fn under_load(cluster: &Cluster, recipe: &str, happens: impl FnOnce(&Project, &str)) -> (Stage, String) {
    let project = cluster.project("");
    project.write("redis.yaml", recipe);
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    let execution = execution(&project);
    happens(&project, &execution);
    running.finish().code(1);
    assert_eq!((cluster.queued(&execution), cluster.run_folders(&execution)), (0, 0));
    failure(&project)
}

#[test]
fn what_slurm_refuses_is_said_and_leaves_nothing() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 1.0).replace("type: redis,", "type: redis, qos: nobody,"));
    let finished = project.runner(&["run", "redis.yaml"]);
    finished.code(2);
    assert!(finished.stderr().contains("Invalid qos"), "{}", finished.stderr());
    assert!(project.ids().is_empty());
    project.assert_in_order();
}

#[test]
fn a_job_that_would_wait_for_ever_is_ended_with_its_reason() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    // More than the QOS allows: Slurm takes the job and never starts it.
    project.write("redis.yaml", &redis("1", 1.0).replace("type: redis,", "type: redis, time_limit: '02:00:00',"));
    project.runner(&["run", "redis.yaml"]).code(1);
    let (stage, reason) = failure(&project);
    assert_eq!(stage, Stage::Submitted);
    assert!(reason.contains("MaxWallDurationPerJob") && reason.contains("time limit"), "{reason}");
}

#[test]
fn a_cancelled_service_ends_its_client() {
    let cluster = Cluster::shared();
    let (_, reason) = under_load(&cluster, &redis("1", 300.0), |_, execution| {
        cluster.slurm("scancel", &["--name", &format!("{execution}-0001.serve")]);
    });
    assert!(reason.contains("service's job") && reason.contains("was cancelled"), "{reason}");
    // It said so itself: nobody had to wait for its silence.
    assert!(!reason.contains("sign of life"), "{reason}");
}

#[test]
fn a_client_that_dies_ends_its_service() {
    let cluster = Cluster::shared();
    let (stage, reason) = under_load(&cluster, &redis("1", 300.0), |_, execution| {
        cluster.slurm("scancel", &["--signal=KILL", "--full", "--name", &format!("{execution}-0001.load")]);
    });
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("client's job"), "{reason}");
}

#[test]
fn a_lost_node_is_named() {
    let cluster = Cluster::alone();
    let (stage, reason) = under_load(&cluster, &redis("1", 300.0), |_, _| {
        cluster.slurm("scontrol", &["update", "nodename=mel0001", "state=down", "reason=test"]);
    });
    cluster.slurm("scontrol", &["update", "nodename=mel0001", "state=resume"]);
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("lost its node on mel0001"), "{reason}");
}
