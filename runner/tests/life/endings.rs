//! Services and loads that fail: each is an archived result with its stage and reason.

use archive::{Stage, Status};

use crate::project::Project;

/// Runs a recipe that fails; returns the stage, the reason and the number of requests kept.
fn failure(recipe: &str) -> (Stage, String, usize) {
    failure_with(&[], recipe)
}

fn failure_with(variables: &[(&str, &str)], recipe: &str) -> (Stage, String, usize) {
    let project = Project::new();
    project.write("recipe.yaml", recipe);
    project.runner_with(variables, &["run", "recipe.yaml"]).code(1);
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 1, "a failure is a result");
    let run = project.run(ids[0]);
    assert_eq!(run.status, Status::Failed);
    let failure = run.failure.expect("said");
    let requests = project.requests(ids[0]).len();
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "2");
    project.assert_in_order();
    (failure.stage, failure.reason, requests)
}

#[test]
fn a_service_that_ends_at_once() {
    let (stage, reason, _) = failure(
        "configuration: {target: local}\nservice: {command: 'echo the disk is full >&2; exit 3', port: 49322}\nclient: {command: 'true'}\n",
    );
    assert_eq!(stage, Stage::Starting);
    assert!(reason.contains("exit code 3") && reason.contains("the disk is full"), "{reason}");
}

#[test]
fn a_service_that_never_becomes_ready() {
    let (stage, reason, _) = failure(
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000', port: 49323, ready_timeout: 1s}\nclient: {command: 'true'}\n",
    );
    assert_eq!(stage, Stage::Starting);
    assert!(reason.contains("not ready within 1 s"), "{reason}");
}

#[test]
fn a_program_that_is_not_here() {
    // Neither is podman, which would fetch the image.
    let (stage, reason, _) = failure_with(
        &[("PATH", "/nonexistent")],
        "configuration: {target: local}\nservice: {type: vllm}\nclient: {type: vllm_smoke}\n",
    );
    assert_eq!(stage, Stage::Starting);
    assert!(reason.contains("neither `vllm` nor `podman` is on PATH"), "{reason}");
}

#[test]
fn a_port_that_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (stage, reason, _) = failure(&format!(
        "configuration: {{target: local}}\nservice: {{type: redis, port: {port}}}\nclient: {{type: redis_stress}}\n"
    ));
    assert_eq!(stage, Stage::Starting);
    assert!(reason.contains(&format!("port {port} is taken")), "{reason}");
}

#[test]
fn a_service_that_dies_under_load() {
    let (stage, reason, requests) = failure(
        "configuration: {target: local}\n\
         service: {type: redis, command: 'redis-server --port $SERVICE_PORT --save \"\" & sleep 1.5; kill -9 $!; wait $!; exit 9'}\n\
         client: {type: redis_stress, settings: {operation_mix: '50:50', num_keys: 10}}\n\
         benchmarks: {num_clients: 2, duration: 60s, calibration: 0}\n",
    );
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("under load"), "{reason}");
    assert!(requests > 100, "what was measured before is kept");
}

#[test]
fn a_service_that_dies_has_no_further_points() {
    let project = Project::new();
    project.write(
        "shared.yaml",
        "redeploy: false\nrecipe:\n  configuration: {target: local}\n  \
         service: {type: redis, command: 'redis-server --port $SERVICE_PORT --save \"\" & sleep 1.5; kill -9 $!; wait $!; exit 9'}\n  \
         client: {type: redis_stress, settings: {operation_mix: '50:50', num_keys: 10}}\n  \
         benchmarks: {duration: 60s, calibration: 0}\nsweep: {benchmarks.num_clients: [1, 2, 3]}\n",
    );
    project.runner(&["run", "shared.yaml"]).code(1);
    let failures: Vec<_> = project.ids().into_iter().filter_map(|id| project.run(id).failure).collect();
    assert_eq!(
        failures.iter().map(|failure| failure.stage).collect::<Vec<_>>(),
        [Stage::Loading, Stage::Ready, Stage::Ready]
    );
    assert!(failures.iter().all(|failure| failure.reason.contains("the service ended under load")), "{failures:?}");
    project.assert_in_order();
}

#[test]
fn a_time_limit_is_kept() {
    let (stage, reason, requests) = failure(
        "configuration: {target: local}\nservice: {type: redis}\n\
         client: {type: redis_stress, settings: {num_requests: 1000000000}, time_limit: '0:02'}\n",
    );
    assert_eq!(stage, Stage::Loading);
    assert!(reason.contains("client.time_limit"), "{reason}");
    assert!(requests > 100);
}

#[test]
fn a_failed_command_before_the_start() {
    let (stage, reason, _) = failure(
        "configuration: {target: local}\nservice: {type: redis, pre_run_commands: ['true', 'exit 4']}\nclient: {type: redis_stress}\n",
    );
    assert_eq!(stage, Stage::Starting);
    assert!(reason.contains("`exit 4` failed: exit code 4"), "{reason}");
}

#[test]
fn a_secret_reaches_the_service_and_nothing_else() {
    let project = Project::new();
    project.write(
        "secret.yaml",
        "configuration: {target: local}\n\
         service: {command: 'echo \"token is $TOKEN\"; exec sleep 1000', env: {TOKEN: '${LIFE_TEST_TOKEN}'}}\n\
         client: {command: 'test ${#TOKEN} = 14', env: {TOKEN: '${LIFE_TEST_TOKEN}'}}\n",
    );
    project.runner_with(&[("LIFE_TEST_TOKEN", "hush-hush-4711")], &["run", "secret.yaml", "--keep"]).code(0);
    let id = project.ids()[0];
    assert_eq!(project.summary(id).success_rate, Some(100.0), "the client got it");
    let service_log = project.archive().open(id).expect("sealed").folder.join("logs/service.log");
    assert_eq!(std::fs::read_to_string(service_log).expect("there"), "token is ${LIFE_TEST_TOKEN}\n");
    let found = std::process::Command::new("grep")
        .args(["-rl", "hush-hush-4711", "results", "--exclude-dir=.work"])
        .current_dir(project.root())
        .output()
        .expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn masking_a_secret_changes_no_figure() {
    let project = Project::new();
    project.write(
        "secret.yaml",
        "configuration: {target: local}\nservice: {type: redis, env: {PIN: '${PIN}'}}\n\
         client: {type: redis_stress, settings: {num_requests: 5000}}\n",
    );
    project.runner_with(&[("PIN", "10000")], &["run", "secret.yaml"]).code(0);
    assert_eq!(project.summary(project.ids()[0]).total_requests, 10_000);
    project.assert_in_order();
}

#[test]
fn a_secret_is_masked_where_json_escapes_it() {
    let project = Project::new();
    project.write(
        "secret.yaml",
        "configuration: {target: local}\n\
         service: {command: 'echo \"refused: $TOKEN\"; exit 3', port: 49324, env: {TOKEN: '${LIFE_TEST_TOKEN}'}}\n\
         client: {command: 'true'}\n",
    );
    let recipe = std::fs::read_to_string(project.root().join("secret.yaml")).expect("there");
    // Somebody wrote it down as well.
    project.write("secret.yaml", &format!("# hush\"hush-4711\n{recipe}"));
    project.runner_with(&[("LIFE_TEST_TOKEN", "hush\"hush-4711")], &["run", "secret.yaml"]).code(1);
    let run = project.run(project.ids()[0]);
    assert!(run.failure.expect("said").reason.ends_with("refused: ${LIFE_TEST_TOKEN}"));
    assert!(run.recipe.text.starts_with("# ${LIFE_TEST_TOKEN}\n"), "{}", run.recipe.text);
}

#[test]
fn what_a_client_leaves_running_is_ended() {
    let project = Project::new();
    project.write(
        "fork.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\n\
         client: {command: 'sleep 1000 & setsid sleep 1000 & exit 0'}\n",
    );
    project.runner(&["run", "fork.yaml"]).code(0);
    project.wait_for_silence();
    assert_eq!(project.summary(project.ids()[0]).successful_requests, 1);
    project.assert_in_order();
}
