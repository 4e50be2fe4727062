//! The runner is killed after every entry of its journal: nothing is submitted twice, lost or left behind.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use archive::Status;
use nix::sys::signal::Signal;

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution,
};

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

#[test]
fn a_submission_whose_receipt_got_lost_is_found_again() {
    let cluster = Cluster::shared();
    for lost in [&["serve.job"][..], &["load.job"], &["serve.job", "load.job"]] {
        let project = cluster.project("");
        project.write("redis.yaml", &redis("1", 1.0));
        let running = project.start(&["run", "redis.yaml"]);
        let runs = project.root().join("results/.work/run");
        project.wait_until("a run folder", || fs::read_dir(&runs).is_ok_and(|mut runs| runs.next().is_some()));
        let execution = execution(&project);
        let there = cluster.home().join(format!("runner/run/{execution}-0001"));
        project.wait_until("a submission", || there.join("serve.intent").exists());
        running.signal(Signal::SIGKILL);
        assert!(running.finish().was_killed());
        // The script on the login node goes on without its runner; then it is as if it had died before it kept the numbers.
        project.wait_until("the end of the submission", || there.join("load.job").exists());
        lost.iter().for_each(|name| fs::remove_file(there.join(name)).expect("it was there"));
        let _ = fs::remove_file(project.root().join(format!("results/.work/run/{execution}-0001/jobs.json")));
        project.runner(&["resume", "--poll", "1"]).code(0);
        project.assert_in_order();
        assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
        assert_eq!((cluster.jobs_of(&execution).len(), cluster.run_folders(&execution)), (2, 0), "{lost:?}");
    }
}

#[test]
fn what_was_uploaded_only_is_stopped_without_being_submitted() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 300.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("journal.jsonl", "uploaded");
    running.signal(Signal::SIGKILL);
    assert!(running.finish().was_killed());
    let execution = execution(&project);
    // As it was before `sbatch`: what has been submitted since is taken back, and its intent forgotten.
    let there = cluster.home().join(format!("runner/run/{execution}-0001"));
    cluster.login(&format!("cd {} && exec 9>submit.lock && flock 9 && scancel --name={execution}-0001.serve && scancel --name={execution}-0001.load; rm -f *.job *.intent", there.display()));
    let journal = project.root().join(format!("results/.work/run/{execution}-0001"));
    let entries = fs::read_to_string(journal.join("journal.jsonl")).expect("a journal");
    let kept: String = entries.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(journal.join("journal.jsonl"), kept).expect("written");
    let _ = fs::remove_file(journal.join("jobs.json"));
    let before = cluster.jobs_of(&execution);
    project.runner(&["stop", "--poll", "1"]).code(0);
    project.assert_in_order();
    assert!(project.ids().is_empty());
    assert_eq!((cluster.jobs_of(&execution), cluster.run_folders(&execution)), (before, 0));
}

#[test]
fn two_commands_never_work_on_one_deployment() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1", 8.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    for command in [&["watch", "--poll", "1"][..], &["collect", "--poll", "1"], &["stop", "--poll", "1"]] {
        let other = project.runner(command);
        assert!(other.code(0).stderr().contains("is watched by another command"), "{}", other.stderr());
    }
    let execution = execution(&project);
    running.finish().code(0);
    project.assert_in_order();
    assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
    assert_eq!(cluster.jobs_of(&execution).len(), 2);
}
