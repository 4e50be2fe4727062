//! Nodes that die and a connection that swallows everything, at once: all of it takes Slurm its time to notice.

use std::{thread, time::Duration};

use archive::{Stage, Status};
use nix::sys::signal::Signal;

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution,
    project::Project,
};

/// Longer than any network that is mended by itself.
const SILENCE: Duration = Duration::from_secs(60);

/// A campaign whose service is on one node and whose client on another.
fn on_nodes(service: &str, client: &str, seconds: f64) -> String {
    let others = |node: &str| {
        let nodes = ["mel0001", "mel0002", "mel0003"];
        nodes.into_iter().filter(|other| *other != node).collect::<Vec<_>>().join(",")
    };
    redis("1", seconds)
        .replace("exclude_nodes: 'mel0002,mel0003'", &format!("exclude_nodes: '{}'", others(service)))
        .replace("exclude_nodes: mel0001,", &format!("exclude_nodes: '{}',", others(client)))
}

#[test]
fn dead_nodes_are_told_retried_and_never_measured_twice_behind_a_dead_connection() {
    let cluster = Cluster::alone();
    let started = |recipe: &str, more: &[&str]| {
        let project = cluster.project("keepalive: 1s\n");
        project.write("redis.yaml", recipe);
        let args = [&["-v", "run"], more, &["redis.yaml"]].concat();
        let running = project.start(&args);
        (project, running)
    };
    let loading = |project: &Project| {
        project.wait_for("progress.json", "loading");
        execution(project)
    };
    let retry = ["--retry", "preempted,node_fail"];
    // One is tried again by the command that watches it, one by another after that has died, one is put back into the queue
    // by Slurm, and one has nothing but the connection to bear.
    let (retried, watching) = started(&on_nodes("mel0001", "mel0002", 50.0), &retry);
    let (left, dying) = started(&on_nodes("mel0001", "mel0002", 50.0), &retry);
    let (requeued, requeueing) = started(&on_nodes("mel0003", "mel0002", 300.0), &[]);
    let [first, second, third] = [&retried, &left, &requeued].map(loading);
    let (spared, bearing) = started(&on_nodes("mel0002", "mel0002", 20.0), &[]);
    let fourth = loading(&spared);
    let job = cluster.job(&third, "serve");
    cluster.slurm("scontrol", &["update", &format!("JobId={job}"), "Requeue=1"]);
    dying.signal(Signal::SIGKILL);
    assert!(dying.finish().was_killed());
    // slurmd and all that runs on its node; and at the same time, the connection.
    cluster.testbed(&["kill-node", "mel0001"]);
    cluster.testbed(&["kill-node", "mel0003"]);
    cluster.testbed(&["freeze"]);
    thread::sleep(SILENCE);
    // Nobody was answered all the time: none of them has ended, though one had had its load.
    assert!(spared.ids().is_empty());
    cluster.testbed(&["thaw"]);
    cluster.testbed(&["start", "slurmd.mel0001"]);
    cluster.testbed(&["start", "slurmd.mel0003"]);

    let resumed = left.start(&["resume", "--poll", "1"]);
    bearing.finish().code(0);
    assert_eq!(spared.run(spared.ids()[0]).status, Status::Completed);

    requeueing.finish().code(1);
    let failure = requeued.run(requeued.ids()[0]).failure.expect("a reason");
    assert!(failure.stage == Stage::Loading && failure.reason.contains("back into the queue"), "{}", failure.reason);

    watching.finish().code(0);
    resumed.finish().code(0);
    let tried_again = |project: &Project| {
        let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
        assert_eq!(runs.iter().map(|run| run.status).collect::<Vec<_>>(), [Status::Failed, Status::Completed]);
        let reason = &runs[0].failure.as_ref().expect("a reason").reason;
        assert!(reason.contains("lost its node on mel0001"), "{reason}");
        assert_eq!(runs[1].campaign.other["retry_of"], runs[0].benchmark_id.to_string());
        assert_eq!(runs[1].seeds.benchmark, runs[0].seeds.benchmark);
    };
    [&retried, &left].into_iter().for_each(tried_again);
    for (project, execution, jobs) in
        [(&retried, &first, 4), (&left, &second, 4), (&requeued, &third, 2), (&spared, &fourth, 2)]
    {
        project.assert_in_order();
        let there = (cluster.jobs_of(execution).len(), cluster.queued(execution), cluster.run_folders(execution));
        assert_eq!(there, (jobs, 0, 0), "{execution}");
    }
}
