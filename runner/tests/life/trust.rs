//! What a benchmark says of its own validity: calibration, gates, and `--strict`.

use archive::{Calibration, CalibrationKind, GateOutcome};

use crate::project::Project;

fn calibration(run: &archive::Run) -> Calibration {
    serde_json::from_value(run.client.other["calibration"].clone()).expect("a calibration")
}

#[test]
fn every_benchmark_is_calibrated_and_equal_ones_share_it() {
    let project = Project::new();
    let redis = "service: {type: redis}\n  client: {type: redis_stress, settings: {num_requests: 400}}";
    let simulator = "service: {type: simulator, settings: {prefill_base_s: 1ms, decode_per_token_s: 1ms}}\n  \
                     client: {type: vllm_stress, settings: {max_tokens: 4, num_requests: 10}}";
    for (name, types, kind) in
        [("redis", redis, CalibrationKind::Timed), ("simulator", simulator, CalibrationKind::Streaming)]
    {
        let text = format!(
            "repetitions: 2\nrecipe:\n  configuration: {{target: local}}\n  {types}\n  \
             benchmarks: {{num_clients: 2, calibration: 600ms}}\n"
        );
        project.write(&format!("{name}.yaml"), &text);
        let before = project.ids().len();
        project.runner(&["run", &format!("{name}.yaml")]).code(0);
        let ids = project.ids().split_off(before);
        let found: Vec<Calibration> = ids.iter().map(|id| calibration(&project.run(*id))).collect();
        assert_eq!(found.iter().map(|calibration| calibration.cached).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found[0].rungs, found[1].rungs);
        let Calibration { clients, rungs, .. } = &found[0];
        assert_eq!((found[0].kind, *clients), (kind, 2));
        for rung in rungs {
            let errors = [rung.latency_s, rung.ttft_s, rung.itl_s];
            let expect = match kind {
                CalibrationKind::Timed => [true, false, false],
                CalibrationKind::Streaming => [false, true, true],
            };
            assert_eq!(errors.map(|figures| figures.is_some()), expect);
            assert_eq!(rung.loopback_s.is_some(), kind == CalibrationKind::Timed);
            for figures in errors.into_iter().chain([rung.loopback_s]).flatten() {
                assert!(figures.count > 0 && figures.p50 >= 0.0 && figures.p50 <= figures.p99, "{figures:?}");
            }
        }
        for id in ids {
            let summary = project.summary(id);
            let told = summary.calibration.as_ref().expect("calibrated");
            assert!(told.event_rate > 0.0 && told.judged_share.is_some_and(|judged| judged <= told.share), "{told:?}");
            let gate = |code: &str| summary.gates.iter().find(|gate| gate.code == code).map(|gate| gate.outcome);
            assert_eq!(gate("clock_offset"), Some(GateOutcome::NotApplicable));
            assert_eq!(gate("send_lag"), Some(GateOutcome::NotApplicable), "a closed loop");
            // It cannot be told of a rate that only a saturated rung had.
            let is_told = gate("calibration") != Some(GateOutcome::NotApplicable);
            assert!(is_told || rungs.iter().any(|rung| rung.saturated), "{rungs:?}");
            assert_eq!(gate("failures"), Some(GateOutcome::Passed));
        }
    }
    let work = project.root().join("results/.work/calibrations");
    assert_eq!(std::fs::read_dir(work).map_or(0, Iterator::count), 0, "what was kept is gone with its execution");
}

#[test]
fn strict_tells_an_invalid_benchmark_by_its_exit_code() {
    let project = Project::new();
    // Every request fails, so every figure is invalid; the load itself comes to its end.
    project.write(
        "failing.yaml",
        "configuration: {target: local}\n\
         service: {type: simulator, settings: {failure_rate: 1}}\n\
         client: {type: vllm_smoke}\n\
         benchmarks: {calibration: 0}\n",
    );
    let lenient = project.runner(&["run", "failing.yaml"]);
    lenient.code(0);
    assert!(lenient.stderr().contains("all 1 requests failed"), "{}", lenient.stderr());
    let strict = project.runner(&["run", "failing.yaml", "--strict"]);
    strict.code(1);
    assert!(strict.stderr().contains("all 1 requests failed"), "{}", strict.stderr());
    project.runner(&["rerun", "latest", "--strict"]).code(1);
    for id in project.ids() {
        assert!(!project.run(id).client.other.contains_key("calibration"));
        let gates = project.summary(id).gates;
        let calibration = gates.iter().find(|gate| gate.code == "calibration").expect("every gate is listed");
        assert_eq!(calibration.outcome, GateOutcome::NotApplicable);
    }
}

#[test]
fn strict_tells_a_client_bound_benchmark_by_its_exit_code() {
    let project = Project::new();
    // Four processes send what the kernel has, and one thread takes in and compares 128 MiB: there is always some of it to do, with a core
    // or waiting for one.
    project.write(
        "bound.yaml",
        "configuration: {target: local}\n\
         service: {type: nginx, settings: {worker_processes: 4}}\n\
         client: {type: http_stress, settings: {size_bytes: 1048576, threads: 1}}\n\
         benchmarks: {num_clients: 128, warmup: 200ms, duration: 2s, calibration: 0}\n",
    );
    let strict = project.runner(&["run", "bound.yaml", "--strict"]);
    strict.code(1);
    assert!(strict.stderr().contains("client-bound: the load generator used"), "{}", strict.stderr());
    let id = project.ids()[0];
    let summary = project.summary(id);
    assert_eq!((project.run(id).status, summary.failed_requests), (archive::Status::Completed, 0));
    let gate = summary.gates.iter().find(|gate| gate.code == "client_cpu").expect("every gate is listed");
    assert_eq!(gate.outcome, GateOutcome::Failed);
    assert!(summary.is_valid(), "{:?}", summary.findings);
}

#[test]
fn a_service_that_is_begun_anew_is_seen() {
    let project = Project::new();
    let recipe = |command: &str| {
        format!(
            "configuration: {{target: local}}\nservice: {{type: redis, command: '{command}'}}\n\
             client: {{type: redis_stress}}\n\
             benchmarks: {{num_clients: 2, load: {{model: constant, rate: 50}}, duration: 5s, calibration: 0}}\n"
        )
    };
    let server = "redis-server --port $SERVICE_PORT --save \"\"";
    project.write("once.yaml", &recipe(&format!("exec {server}")));
    project.write("twice.yaml", &recipe(&format!("{server} & sleep 3; kill -9 $!; wait $!; exec {server}")));
    for (name, outcome, code) in [("once.yaml", GateOutcome::Passed, 0), ("twice.yaml", GateOutcome::Failed, 1)] {
        let finished = project.runner(&["run", name, "--strict"]);
        let summary = project.summary(*project.ids().last().expect("a benchmark"));
        let gate = summary.gates.iter().find(|gate| gate.code == "restarted").expect("every gate is listed");
        assert_eq!(gate.outcome, outcome, "{}", gate.detail);
        if code == 1 {
            finished.code(code);
            assert!(finished.stderr().contains("the service restarted: 1 time"), "{}", finished.stderr());
        }
    }
}

#[test]
fn steps_a_trace_and_precision_are_archived() {
    let project = Project::new();
    project.write("arrivals.csv", "offset_s,input_tokens,output_tokens\n0,3,2\n0.05,4,3\n0.05,5,1\n0.2,6,2\n");
    let recipe = |name: &str, types: &str, benchmarks: &str| {
        let text = format!("configuration: {{target: local}}\n{types}\nbenchmarks: {{calibration: 0, {benchmarks}}}\n");
        project.write(name, &text);
        project.runner(&["run", name]).code(0);
        let id = *project.ids().last().expect("a benchmark");
        (id, project.run(id), project.summary(id))
    };
    let redis = "service: {type: redis}\nclient: {type: redis_stress}";
    let steps = "load: {model: poisson, steps: [{rate: 100, duration: 500ms}, {rate: 100, to: 300, duration: 500ms}]}";
    let (_, run, summary) = recipe("steps.yaml", redis, &format!("num_clients: 8, {steps}"));
    let bounds = run.client.other["steps"].as_array().expect("steps");
    assert_eq!(bounds.iter().map(|step| step["to"].as_f64()).collect::<Vec<_>>(), [Some(100.0), Some(300.0)]);
    assert_eq!(bounds[1]["end_s"].as_f64(), Some(summary.window_s[1]));
    assert_eq!(summary.requested_rate, Some(150.0));

    let simulator = "service: {type: simulator}\nclient: {type: vllm_stress}";
    let (id, run, _) = recipe("trace.yaml", simulator, "num_clients: 8, load: {model: trace, file: arrivals.csv}");
    let sha256 = &run.recipe.resolved["benchmarks"]["load"]["sha256"];
    assert_eq!(sha256, &run.client.load["arrival"]["sha256"]);
    let mut tokens: Vec<_> =
        project.requests(id).iter().map(|request| (request.request_id, request.output_tokens)).collect();
    tokens.sort();
    assert_eq!(tokens, [(0, Some(2)), (1, Some(3)), (2, Some(1)), (3, Some(2))]);
    let digest = run.client.sequence_digest;
    assert!(digest.is_some());
    project.runner(&["rerun", "latest"]).code(0);
    assert_eq!(project.run(*project.ids().last().expect("a rerun")).client.sequence_digest, digest);
    // The same name for other arrivals is not the same benchmark.
    project.write("arrivals.csv", "offset_s\n0\n0.3\n");
    assert!(project.runner(&["rerun", "latest"]).stderr().contains("not the file that was meant"));

    let prompts = "{\"prompt\": \"one\"}\n{\"prompt\": \"two\"}\n";
    project.write("prompts.jsonl", prompts);
    let asked = "service: {type: simulator}\nclient: {type: vllm_stress, settings: {prompt_file: prompts.jsonl, max_tokens: 1}}";
    let (_, run, _) = recipe("prompts.yaml", asked, "num_requests: 2");
    let sha256 = &run.recipe.resolved["client"]["settings"]["prompt_file_sha256"];
    assert_eq!(sha256, &archive::sha256_hex(prompts.as_bytes()));

    let precision = "num_clients: 4, duration: 2s, precision: {metric: latency_p50, width: 1}";
    let (_, run, summary) = recipe("precision.yaml", redis, precision);
    let facts = &run.client.other["precision"];
    assert_eq!(facts["asked"]["share"].as_f64(), Some(0.5));
    // Whether it is reached in so short a time is up to the machine; if it is not, the load lasts to its end.
    assert!(facts["reached"] == true || summary.test_duration_s == 2.0, "{facts}");
}
