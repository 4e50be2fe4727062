//! PostgreSQL and nginx as services that the runner starts itself.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use archive::Status;

use crate::project::Project;

const PGBENCH: &str = "\
configuration: {target: local}
service: {type: postgres, settings: {tuning: {fsync: false}}}
client: {type: pgbench, settings: {transactions: 20}}
benchmarks: {num_clients: 3, warmup_requests: 2}
";

/// Whether some file below `folder` holds `text`.
fn is_found_below(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).any(|path| {
        let is_here = || fs::read(&path).expect("readable").windows(text.len()).any(|part| part == text.as_bytes());
        if path.is_dir() { is_found_below(&path, text) } else { is_here() }
    })
}

/// A project that every user can enter, as PostgreSQL needs when these tests run as root.
fn open_project() -> Project {
    let project = Project::new();
    fs::set_permissions(project.root(), fs::Permissions::from_mode(0o755)).expect("set");
    project
}

#[test]
fn a_real_postgresql_is_measured_and_its_password_stays_out() {
    const PASSWORD: &str = "correct horse battery staple";
    let project = open_project();
    project.write("pgbench.yaml", PGBENCH);
    project.write("own.yaml", &PGBENCH.replace("settings: {tuning", "settings: {POSTGRES_PASSWORD: '${PW}', tuning"));
    project.runner(&["run", "pgbench.yaml", "--keep"]).code(0);
    project.runner_with(&[("PW", PASSWORD)], &["run", "own.yaml", "--keep"]).code(0);
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let run = project.run(id);
        assert_eq!(run.status, Status::Completed, "{:?}", run.failure);
        let version = run.service.version.expect("asked for");
        assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{version}");
        let summary = project.summary(id);
        assert_eq!((summary.total_requests, summary.failed_requests), (60, 0), "{:?}", summary.error_summary);
        assert_eq!(summary.operations["tpcb-like"].count, 60);
        assert_eq!(summary.steps_s.len(), 7);
        assert!(summary.steps_s.values().all(|figures| figures.count == 60));
        let steps: f64 = summary.steps_s.values().filter_map(|figures| figures.avg).sum();
        assert!((steps - summary.latency_s.figures.avg.expect("measured")).abs() < 1e-6);
    }
    let results = project.root().join("results");
    assert!(!is_found_below(&results, PASSWORD));
    // The run folders are kept: their plans name the password and do not have it.
    let kept = results.join(".work/kept");
    assert!(is_found_below(&kept, "${POSTGRES_PASSWORD}") && is_found_below(&kept, "${PW}"));
    project.assert_in_order();
}

#[test]
fn where_nobody_can_enter_postgresql_does_not_start_as_root() {
    let project = Project::new();
    fs::set_permissions(project.root(), fs::Permissions::from_mode(0o700)).expect("set");
    project.write("pgbench.yaml", PGBENCH);
    let is_root = nix::unistd::geteuid().is_root();
    project.runner(&["run", "pgbench.yaml"]).code(i32::from(is_root));
    project.wait_for_silence();
    let run = project.run(project.ids()[0]);
    assert_eq!(run.status, if is_root { Status::Failed } else { Status::Completed });
    let reason = run.failure.map_or(String::new(), |failure| failure.reason);
    assert_eq!(reason.contains("refuses to run as root, and as user `nobody` it cannot enter"), is_root, "{reason}");
    project.assert_in_order();
}

#[test]
fn a_real_nginx_is_measured() {
    let project = Project::new();
    let recipe = "configuration: {target: local}\nservice: {type: nginx}\nclient: {type: http_stress, settings: \
                  {size_bytes: 65536}}\nbenchmarks: {num_clients: 2, num_requests: 50}\n";
    project.write("nginx.yaml", recipe);
    project.runner(&["run", "nginx.yaml"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let run = project.run(id);
    assert!(run.service.version.expect("asked for").starts_with("1."));
    let summary = project.summary(id);
    assert_eq!((summary.total_requests, summary.failed_requests), (100, 0), "{:?}", summary.error_summary);
    assert!(project.requests(id).iter().all(|request| request.bytes_received == 65_536));
    // A size that no file has is an error before anything starts.
    let wrong = project.runner(&["run", "nginx.yaml", "--set", "client.settings.size_bytes=5"]);
    assert!(wrong.code(2).stderr().contains("the service has no file of 5 bytes"), "{}", wrong.stderr());
    project.assert_in_order();
}
