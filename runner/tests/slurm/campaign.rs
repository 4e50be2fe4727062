//! Whole campaigns: what is archived of them, and what they cost the cluster.

use archive::Status;

use crate::cluster::{Cluster, redis};

#[test]
fn a_sweep_on_two_nodes_shares_one_deployment() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    project.write("redis.yaml", &redis("1, 2, 3, 4, 5", 0.5));
    let finished = project.runner(&["-v", "run", "redis.yaml"]);
    finished.code(0);
    project.assert_in_order();
    assert_eq!(project.ids().len(), 5, "{}", finished.stdout());
    let mut jobs = Vec::new();
    for id in project.ids() {
        let run = project.run(id);
        assert_eq!((run.status, run.target.kind.as_str()), (Status::Completed, "slurm"));
        for (role, node) in [("service", "mel0001"), ("client", "mel000")] {
            let job = &run.target.other["jobs"][role];
            assert_eq!(job["state"], "COMPLETED", "{job}");
            assert!(job["nodes"].as_str().is_some_and(|nodes| nodes.starts_with(node)), "{job}");
            let time = |key: &str| job[key].as_i64().unwrap_or_else(|| panic!("{key} of {job}"));
            assert!(
                time("submitted_unix_s") <= time("started_unix_s") && time("started_unix_s") <= time("ended_unix_s")
            );
            jobs.push(job["id"].as_str().expect("a number").to_owned());
        }
        let hosts: Vec<&str> = run.nodes.iter().map(|node| node.hostname.as_str()).collect();
        assert!(hosts.len() == 2 && hosts[0] == "mel0001" && hosts[1] != "mel0001", "{hosts:?}");
        assert_eq!(run.service.hostname.as_deref(), Some("10.77.7.11"));
        assert!(project.requests(id).iter().all(|request| request.error.is_none()));
        assert!(!project.requests(id).is_empty());
    }
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 2, "one deployment is two jobs");
    let execution = project.run(project.ids()[0]).campaign.execution;
    assert_eq!((cluster.jobs_of(&execution).len(), cluster.run_folders(&execution)), (2, 0));
    assert!(finished.stderr().contains("questions about jobs"), "{}", finished.stderr());
}

#[test]
fn an_image_is_pulled_once_and_what_a_recipe_says_arrives_as_it_is() {
    let cluster = Cluster::shared();
    let project = cluster.project("container: apptainer\n");
    let hostile = r#"a 'b' "c" $(touch /tmp/owned) `id`; | & > x \ é -n --"#;
    project.write(
        "redis.yaml",
        &format!(
            "configuration: {{target: testbed}}\n\
             service:\n  type: redis\n  image: redis:7.4.1\n  env:\n    HOSTILE: {}\n  command: >-\n    \
             printf '%s' \"$HOSTILE\" >&2; exec redis-server --port $SERVICE_PORT --bind 0.0.0.0 --protected-mode no --save ''\n\
             client: {{type: redis_stress, settings: {{operation_mix: '50:50'}}}}\n\
             benchmarks: {{duration: 500ms, calibration: 0}}\n",
            serde_json::to_string(hostile).expect("text")
        ),
    );
    project.runner(&["run", "redis.yaml"]).code(0);
    project.runner(&["run", "redis.yaml"]).code(0);
    project.assert_in_order();
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    for run in &runs {
        assert_eq!(run.service.started_as, "apptainer");
        let log = project.archive().folder().join(format!("{}/logs/service.log", run.benchmark_id));
        let log = std::fs::read_to_string(log).expect("a log");
        assert!(log.starts_with(hostile), "{log}");
    }
    let image = |run: &archive::Run| run.service.image.clone().expect("an image").sif_sha256.expect("a digest");
    assert_eq!(image(&runs[0]), image(&runs[1]));
}
