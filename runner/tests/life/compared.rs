//! Executions that are compared: the same twice, a service made slower on purpose, and what cannot be compared.

use crate::project::Project;

/// Two points, three repetitions each. Requests take 500 ms, and their median feels little of what a busy machine
/// adds. The other figures have thresholds that no machine breaks.
const STEADY: &str = "\
name: steady
seed: 3
repetitions: 3
redeploy: false
thresholds: {p50: 10, p99: 900, throughput: 80, success_rate: 40}
recipe:
  configuration: {target: local}
  service:
    type: simulator
    settings: {slots: 4, prefill_base_s: 500ms, prefill_per_token_s: 0, decode_per_token_s: 0}
  client:
    type: vllm_stress
    settings: {max_tokens: 2, prompt_length: 4}
  benchmarks: {num_requests: 4, warmup_requests: 1}
sweep:
  benchmarks.num_clients: [1, 4]
";

fn compare(project: &Project, args: &[&str], code: i32) -> serde_json::Value {
    let args = [&["compare", "--json"], args].concat();
    let finished = project.runner(&args);
    finished.code(code);
    serde_json::from_str(&finished.stdout()).expect("JSON")
}

#[test]
fn executions_are_compared_by_evidence() {
    let project = Project::new();
    project.write("steady.yaml", STEADY);
    let slower = ["--set", "service.settings.prefill_base_s=600ms"];
    project.runner(&["run", "steady.yaml"]).code(0);
    project.runner(&[&["run", "steady.yaml"][..], &slower].concat()).code(0);
    project.runner(&["run", "steady.yaml"]).code(0);
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 18);

    // The same again is no regression.
    let same = compare(&project, &["steady~2", "steady"], 0);
    let verdict = &same["comparison"]["verdict"];
    assert!(verdict == "same" || verdict == "cannot_tell" || verdict == "improved", "{same:#}");
    assert_eq!(same["comparison"]["points"].as_array().map(Vec::len), Some(2));
    assert_eq!(same["differences"], serde_json::json!([]));
    assert_eq!(same["thresholds"]["latency_p99_s"], 900.0, "the campaign's own");
    assert_eq!(same["swept"][1]["benchmarks.num_clients"], 4);

    // A fifth slower is one, and the setting that did it is named.
    let slowed = compare(&project, &["steady~2", "steady~1"], 1);
    assert_eq!(slowed["comparison"]["verdict"], "regressed", "{slowed:#}");
    assert_eq!(slowed["comparison"]["within_thresholds"], false);
    assert_eq!(slowed["differences"][0]["what"], "service.settings.prefill_base_s");
    assert_eq!(slowed["differences"][0]["bars"], false);
    let median = &slowed["comparison"]["points"][0]["metrics"][0];
    assert_eq!(median["metric"], "latency_p50_s");
    assert_eq!(median["verdict"], "regressed");
    let [low, high] = [0, 1].map(|side| median["interval"][side].as_f64().expect("an interval"));
    assert!(low > 0.0 && low < 20.0 && high > 15.0, "{median:#}");

    // An id stands for all repetitions of its point, unless it is wanted alone.
    let (first, last) = (ids[0].to_string(), ids[6].to_string());
    let point = compare(&project, &[&first, &last], 1);
    assert_eq!(point["comparison"]["points"][0]["base"].as_array().map(Vec::len), Some(3));
    let alone = project.runner(&["compare", &first, &last, "--only", "--gate", "threshold"]);
    alone.code(1);
    assert!(alone.stdout().contains("alone") && alone.stdout().contains("by threshold: FAIL"), "{}", alone.stdout());

    // Another load is no comparison, unless it is forced.
    let other = ids[1].to_string();
    let refused = project.runner(&["compare", &ids[0].to_string(), &other]);
    refused.code(2);
    assert!(refused.stderr().contains("benchmarks.num_clients: 1 → 4"), "{}", refused.stderr());
    compare(&project, &[&ids[0].to_string(), &other, "--force", "--gate", "threshold"], 0);

    for (args, message) in [
        (&["steady", "steady"][..], "is on both sides"),
        (&["steady~9", "steady"], "3 executions"),
        (&["steady~1", "steady", "--threshold", "p99"], "expected METRIC=NUMBER"),
        (&["steady~1", "steady", "--threshold", "speed=5"], "unknown metric `speed`"),
        (&["steady~1", "steady", "--threshold", "throughput=150"], "at most 99"),
        (&["steady"], "CANDIDATE"),
    ] {
        let finished = project.runner(&[&["compare"], args].concat());
        finished.code(2);
        assert!(finished.stderr().contains(message), "{args:?}: {}", finished.stderr());
    }

    // Two executions are too few to have levels; the slow one is of another recipe.
    let history = project.runner(&["compare", "--history", "steady"]);
    history.code(0);
    assert!(history.stdout().contains("fewer than six executions"), "{}", history.stdout());
    project.assert_in_order();
}
