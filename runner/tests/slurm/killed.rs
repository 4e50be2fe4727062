//! The runner is killed after every entry of its journal: nothing is submitted twice, lost or left behind.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use archive::Status;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, redis};

/// Planned, uploaded, submitted, starting, ready, loading, ended, collected, sealed.
const ENTRIES: usize = 9;

#[test]
fn a_campaign_survives_the_runner_whenever_it_dies() {
    let cluster = Cluster::shared();
    thread::scope(|scope| {
        // A few at a time: what is tested is the order of steps, not how many jobs two cores can bear.
        for share in 0..3 {
            let cluster = &cluster;
            scope.spawn(move || {
                (1..=ENTRIES).filter(|entry| entry % 3 == share).for_each(|entry| killed_after(cluster, entry))
            });
        }
    });
}

fn killed_after(cluster: &Cluster, entry: usize) {
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1, 2", 1.0));
    let running = project.start(&["run", "redis.yaml"]);
    let runs = project.root().join("results/.work/run");
    let written = || {
        let journals = fs::read_dir(&runs).into_iter().flatten().flatten();
        journals
            .filter_map(|run| fs::read_to_string(run.path().join("journal.jsonl")).ok())
            .map(|text| text.lines().count())
            .max()
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    // One that was quicker is killed at a later entry, or has retired its folder: then nothing is left to resume.
    let mut begun = false;
    loop {
        let now = written();
        begun |= now.is_some();
        if now.is_some_and(|lines| lines >= entry) || begun && now.is_none() {
            break;
        }
        assert!(Instant::now() < deadline, "entry {entry} was never written: {now:?}");
        thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::SIGKILL);
    assert!(running.finish().was_killed() || entry == ENTRIES);
    let resumed = project.runner(&["-v", "resume", "--poll", "1"]);
    resumed.code(0);
    project.assert_in_order();
    let ids = project.ids();
    assert_eq!(ids.len(), 2, "killed after entry {entry}: {}", resumed.stderr());
    for id in &ids {
        assert_eq!(project.run(*id).status, Status::Completed, "killed after entry {entry}");
    }
    let execution = project.run(ids[0]).campaign.execution;
    assert_eq!(cluster.jobs_of(&execution).len(), 2, "killed after entry {entry}");
    assert_eq!((cluster.queued(&execution), cluster.run_folders(&execution)), (0, 0), "killed after entry {entry}");
    project.runner(&["resume"]).code(0);
    assert_eq!(project.ids().len(), 2);
}
