//! What goes wrong around jobs: memory, time, preemption, requeues, the controller, the connection, full disks.
//!
//! Each has one outcome: what was measured is archived with its reason, nothing stays in the queue.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use archive::{Stage, Status};

use crate::{
    cluster::{Cluster, redis},
    on_slurm_endings::{failure, under_load},
    on_slurm_stopped::execution,
    project::Project,
};

#[test]
fn a_service_that_takes_too_much_memory_is_named() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let recipe = redis("1", 60.0).replace("type: redis,", "type: redis, memory: 64M,");
    let greedy = "settings: {value_size_bytes: 1048576, num_keys: 300, ";
    project.write("redis.yaml", &recipe.replace("settings: {", greedy));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_until("a run folder", || project.root().join("results/.work/run").exists());
    running.finish().code(1);
    let (_, reason) = failure(&project);
    assert!(reason.contains("used more memory than it had asked for"), "{reason}");
}

#[test]
fn a_time_limit_ends_both_jobs_in_order() {
    let cluster = Cluster::shared();
    let (stage, reason) = under_load(&cluster, &redis("1", 300.0), |_, execution| {
        // The warning comes a minute before the end, at Slurm's next look.
        let job = cluster.job(execution, "load");
        cluster.slurm("scontrol", &["update", &format!("JobId={job}"), "EndTime=now+65"]);
    });
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("time limit"), "{reason}");
}

#[test]
fn a_preempted_service_is_named_and_begun_anew() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    // Long enough for a busy controller to preempt it in time.
    let recipe = redis("1", 30.0).replace(
        "type: redis, exclude_nodes: 'mel0002,mel0003'",
        "type: redis, partition: gpu, exclude_nodes: mel2001, qos: preemptible",
    );
    project.write("redis.yaml", &recipe);
    let running = project.start(&["run", "--retry", "preempted,node_fail", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    let urgent =
        "sbatch --parsable -A p200000 --qos=urgent -p gpu -w mel2002 --exclusive -t 5 --output=/dev/null --wrap true";
    cluster.login(urgent);
    running.finish().code(0);
    project.assert_in_order();
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    assert_eq!(runs.iter().map(|run| run.status).collect::<Vec<_>>(), [Status::Failed, Status::Completed]);
    let failure = runs[0].failure.as_ref().expect("a reason");
    assert!(failure.stage == Stage::Loading && failure.reason.contains("was preempted"), "{}", failure.reason);
    assert_eq!(runs[1].campaign.other["retry_of"], runs[0].benchmark_id.to_string());
    let execution = &runs[0].campaign.execution;
    assert_eq!((cluster.queued(execution), cluster.run_folders(execution)), (0, 0));
}

#[test]
fn a_job_that_is_put_back_into_the_queue_measures_nothing_twice() {
    let cluster = Cluster::shared();
    let (stage, reason) = under_load(&cluster, &redis("1", 300.0), |_, execution| {
        let job = cluster.job(execution, "serve");
        cluster.slurm("scontrol", &["update", &format!("JobId={job}"), "Requeue=1"]);
        cluster.slurm("scontrol", &["requeue", &job]);
    });
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("back into the queue"), "{reason}");
}

/// Entries of a journal once the load has begun, and once the jobs have ended.
const LOADING: usize = 6;
const ENDED: usize = 7;

/// How often a campaign's journal has been written to.
fn entries(project: &Project) -> usize {
    let runs = fs::read_dir(project.root().join("results/.work/run")).into_iter().flatten().flatten();
    let journals = runs.filter_map(|run| fs::read_to_string(run.path().join("journal.jsonl")).ok());
    journals.map(|text| text.lines().count()).max().unwrap_or(0)
}

#[test]
fn a_campaign_survives_what_happens_between_here_and_its_jobs() {
    let cluster = Cluster::alone();
    let project = cluster.project("keepalive: 1s\n");
    project.write("redis.yaml", &redis("1", 15.0));
    // The controller comes back while the jobs are being submitted.
    cluster.testbed(&["stop", "slurmctld"]);
    let running = project.start(&["-v", "run", "redis.yaml"]);
    thread::sleep(Duration::from_secs(3));
    cluster.testbed(&["start", "slurmctld"]);
    // Every phase loses its connection once: up to the load, and from its end to the removal of the folder there.
    let mut lost = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(150);
    while lost.is_empty() || entries(&project) > 0 {
        assert!(Instant::now() < deadline, "stuck after {lost:?} entries");
        let now = entries(&project);
        if now > lost.last().copied().unwrap_or(0) {
            lost.push(now);
            cluster.testbed(&["kill-logins"]);
            cluster.testbed(&["stop", "sshd"]);
            thread::sleep(Duration::from_millis(500));
            cluster.testbed(&["start", "sshd"]);
            if now == LOADING {
                // A controller that is away under load.
                cluster.testbed(&["stop", "slurmctld"]);
                thread::sleep(Duration::from_secs(2));
                cluster.testbed(&["start", "slurmctld"]);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    // While it was fetched, and while it was cleaned up or just before.
    assert!([1, LOADING, ENDED].iter().all(|entry| lost.contains(entry)) && lost.last() > Some(&ENDED), "{lost:?}");
    let finished = running.finish();
    finished.code(0);
    assert!(finished.stderr().contains("the connection to testbed is gone"), "{}", finished.stderr());
    project.assert_in_order();
    let run = project.run(project.ids()[0]);
    assert_eq!(run.status, Status::Completed);
    let execution = &run.campaign.execution;
    assert_eq!((cluster.jobs_of(execution).len(), cluster.run_folders(execution)), (2, 0));
}

/// Writes to a file until the file system is full, but for so many bytes.
fn fill(folder: &Path, but: u64) -> PathBuf {
    let path = folder.join("filler");
    let mut file = fs::File::create(&path).expect("made");
    let block = vec![b'x'; 1 << 20];
    while file.write_all(&block).is_ok() {}
    while file.write_all(b"0123456789abcdef").is_ok() {}
    let length = file.metadata().expect("there").len();
    file.set_len(length.saturating_sub(but)).expect("shorter");
    path
}

#[test]
fn a_disk_that_is_full_on_the_cluster_ends_the_load_with_that_reason() {
    let cluster = Cluster::shared();
    let project = cluster.project(&format!("folder: {}\n", cluster.small().join("runner").display()));
    project.write("redis.yaml", &redis("2", 300.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    let execution = execution(&project);
    let filler = fill(&cluster.small(), 0);
    project.wait_until("the end of both jobs", || cluster.queued(&execution) == 0);
    fs::remove_file(filler).expect("removed");
    running.finish().code(1);
    let (stage, reason) = failure(&project);
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("No space left"), "{reason}");
    assert!(!project.requests(project.ids()[0]).is_empty());
}

/// A small file system of its own, as long as this value lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).expect("made");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&folder).status();
        assert!(status.expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_here_loses_nothing() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let results = Mounted::new(project.root().join("results"));
    project.write("redis.yaml", &redis("2", 5.0));
    let running = project.start(&["run", "redis.yaml"]);
    project.wait_for("progress.json", "loading");
    let filler = fill(&results.0, 0);
    let finished = running.finish();
    finished.code(2);
    let said = finished.stderr();
    assert!(said.contains("No space left") || said.contains("no room left"), "{said}");
    assert!(project.ids().is_empty());
    fs::remove_file(filler).expect("removed");
    project.runner(&["resume", "--poll", "1"]).code(0);
    project.assert_in_order();
    assert_eq!(project.run(project.ids()[0]).status, Status::Completed);
}
