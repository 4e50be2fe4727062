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
fn a_module_that_is_not_there_is_named_and_nothing_is_started() {
    let cluster = Cluster::shared();
    // There is no `module` on the testbed at all.
    let project = cluster.project("modules: [env/none-of-that]\n");
    project.write("redis.yaml", &redis("1", 1.0));
    project.runner(&["run", "redis.yaml"]).code(1);
    let (_, reason) = failure(&project);
    assert!(reason.contains("the module `env/none-of-that` cannot be loaded"), "{reason}");
}

#[test]
fn a_client_that_never_starts_ends_its_service() {
    let cluster = Cluster::shared();
    let project = cluster.project("client_patience: 3s\n");
    // Its node is there and taken: it waits without a reason that blocks for ever.
    let recipe = redis("1", 1.0).replace("exclude_nodes: mel0001,", "exclude_nodes: 'mel0001,mel0003', memory: 479G,");
    let taker = cluster.login("sbatch --parsable -A p200000 --qos=short -p cpu -w mel0002 --mem=470G -t 5 --output=/dev/null --wrap 'sleep 200'");
    project.write("redis.yaml", &recipe);
    project.runner(&["run", "redis.yaml"]).code(1);
    cluster.slurm("scancel", &[taker.trim()]);
    let (_, reason) = failure(&project);
    assert!(reason.contains("no client came within 3 s"), "{reason}");
}

#[test]
fn a_job_that_is_suspended_goes_on_when_it_is_let() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 6.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    let execution = execution(&project);
    let job = cluster.job(&execution, "load");
    cluster.slurm("scontrol", &["suspend", &job]);
    project.wait_until("a suspended job", || {
        let listed = project.runner(&["resume", "--list"]);
        listed.stdout().contains("SUSPENDED")
    });
    cluster.slurm("scontrol", &["resume", &job]);
    running.finish().code(0);
    project.assert_in_order();
    assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
}
