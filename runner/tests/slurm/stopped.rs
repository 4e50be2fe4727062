//! Campaigns that are left to themselves, stopped, or cut off from their cluster.

use std::fs;

use archive::Status;
use nix::sys::signal::Signal;

use crate::{
    cluster::{Cluster, redis},
    project::Project,
};

#[test]
fn what_is_detached_ends_without_us_and_is_collected_later() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 0.5));
    let finished = project.runner(&["run", "--detach", "redis.yaml"]);
    finished.code(0);
    assert!(project.ids().is_empty() && finished.stderr().contains("runner resume"), "{}", finished.stderr());
    let execution = execution(&project);
    project.wait_until("the end of both jobs", || cluster.queued(&execution) == 0);
    project.runner(&["collect", "--poll", "1"]).code(0);
    project.assert_in_order();
    assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
    assert_eq!(cluster.run_folders(&execution), 0);
}

#[test]
fn a_folder_that_is_gone_is_archived_as_lost_and_hinders_no_other() {
    let cluster = Cluster::shared();
    let project = cluster.project("max_jobs: 4\n");
    project.write("redis.yaml", &redis("1, 2", 0.5).replace("redeploy: false", "redeploy: true"));
    project.runner(&["run", "--detach", "redis.yaml"]).code(0);
    let execution = execution(&project);
    project.wait_until("the end of all jobs", || cluster.queued(&execution) == 0);
    cluster.lose_run_folder(&format!("{execution}-0001"));
    project.runner(&["collect", "--poll", "1"]).code(1);
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    assert_eq!(runs.iter().map(|run| run.status).collect::<Vec<_>>(), [Status::Failed, Status::Completed]);
    let reason = &runs[0].failure.as_ref().expect("a reason").reason;
    assert!(reason.contains("gone from the cluster"), "{reason}");
    project.assert_in_order();
    assert_eq!(cluster.run_folders(&execution), 0);
}

#[test]
fn collecting_submits_nothing() {
    let cluster = Cluster::shared();
    let project = cluster.project("max_jobs: 2\n");
    project.write("redis.yaml", &redis("1, 2", 300.0).replace("redeploy: false", "redeploy: true"));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    running.signal(Signal::SIGINT);
    running.finish().code(2);
    let execution = execution(&project);
    let finished = project.runner(&["collect", "--poll", "1"]);
    finished.code(0);
    assert!(finished.stderr().contains("2 deployments go on"), "{}", finished.stderr());
    project.runner(&["stop", "--poll", "1"]).code(0);
    project.assert_in_order();
    assert_eq!((cluster.jobs_of(&execution).len(), cluster.run_folders(&execution)), (2, 0));
}

#[test]
fn a_stopped_benchmark_keeps_what_it_measured() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1, 2", 300.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    // Ctrl-C leaves the jobs to themselves.
    running.signal(Signal::SIGINT);
    running.finish().code(2);
    let execution = execution(&project);
    assert_eq!(cluster.queued(&execution), 2);
    project.runner(&["stop", "--poll", "1"]).code(0);
    project.assert_in_order();
    let ids = project.ids();
    assert_eq!(ids.len(), 1, "the second point never began");
    assert_eq!(project.run(ids[0]).status, Status::Cancelled);
    assert!(!project.requests(ids[0]).is_empty());
    assert_eq!((cluster.queued(&execution), cluster.run_folders(&execution)), (0, 0));
}

#[test]
fn a_campaign_survives_the_loss_of_its_connection() {
    let cluster = Cluster::alone();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 3.0));
    let running = project.start(&["-v", "run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    cluster.testbed(&["kill-logins"]);
    cluster.testbed(&["stop", "sshd"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    cluster.testbed(&["start", "sshd"]);
    running.finish().code(0);
    project.assert_in_order();
    assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
}

#[test]
fn a_folder_stays_on_the_cluster_until_its_benchmarks_are_committed() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 3.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    // Somebody else's git is at work.
    project.write(".git/index.lock", "");
    let finished = running.finish();
    assert!(finished.stderr().contains("until its benchmarks are committed"), "{}", finished.stderr());
    let execution = project.run(project.ids()[0]).campaign.execution;
    assert_eq!(cluster.run_folders(&execution), 1);
    fs::remove_file(project.root().join(".git/index.lock")).expect("it was there");
    project.runner(&["resume", "--poll", "1"]).code(0);
    project.assert_in_order();
    assert_eq!((cluster.run_folders(&execution), cluster.jobs_of(&execution).len()), (0, 2));
}

#[test]
fn all_that_is_stopped_is_asked_about_at_once() {
    let cluster = Cluster::shared();
    let project = cluster.project("max_jobs: 6\n");
    project.write("redis.yaml", &redis("1, 2, 3", 300.0).replace("redeploy: false", "redeploy: true"));
    project.runner(&["run", "--detach", "redis.yaml"]).code(0);
    let execution = execution(&project);
    let stopping = project.start(&["-v", "stop", "--poll", "60"]);
    project.wait_until("the end of all jobs", || cluster.queued(&execution) == 0);
    // Before it asks again.
    stopping.signal(Signal::SIGINT);
    let stopped = stopping.finish();
    assert!(stopped.stderr().contains("of them 1 questions about jobs"), "{}", stopped.stderr());
    project.runner(&["collect", "--poll", "1"]);
    project.assert_in_order();
    assert_eq!((cluster.jobs_of(&execution).len(), cluster.run_folders(&execution)), (6, 0));
}

/// The execution that has a run folder here.
pub fn execution(project: &Project) -> String {
    execution_of(project).expect("there are runs")
}

/// The same, if there is one.
pub fn execution_of(project: &Project) -> Option<String> {
    let runs = fs::read_dir(project.root().join("results/.work/run")).ok()?;
    let name = runs.flatten().next()?.file_name().to_string_lossy().into_owned();
    Some(name.rsplit_once('-')?.0.to_owned())
}
