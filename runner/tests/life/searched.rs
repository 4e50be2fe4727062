//! A load that is searched.

use archive::Status;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::project::Project;

/// Four slots of 40 ms: 100 requests a second, the knee at four clients.
const SEARCHED: &str = "\
name: searched
seed: 3
recipe:
  configuration: {target: local}
  service:
    type: simulator
    settings: {slots: 4, prefill_base_s: 40ms, prefill_per_token_s: 0, decode_per_token_s: 0}
  client:
    type: vllm_stress
    settings: {max_tokens: 1, prompt_length: 4}
  benchmarks: {num_requests: 20, warmup_requests: 1, calibration: 0}
sweep:
  benchmarks.num_clients: {range: [1, 64], precision: 0.2, budget: {steps: 14}}
redeploy: false
";

fn load(run: &archive::Run) -> u64 {
    run.campaign.swept["benchmarks.num_clients"].as_u64().expect("whole")
}

fn step(run: &archive::Run) -> usize {
    run.campaign.search.as_ref().expect("it was searched").step
}

#[test]
fn the_knee_of_the_simulator_is_searched_and_every_step_is_archived() {
    let project = Project::new();
    project.write("campaign.yaml", SEARCHED);
    let planned = project.runner(&["plan", "campaign.yaml"]);
    planned.code(0);
    assert!(planned.stdout().contains("is searched from 1 to 64"), "{}", planned.stdout());

    let finished = project.runner(&["run", "campaign.yaml"]);
    finished.code(0);
    project.wait_for_silence();
    let said = finished.stderr();
    assert!(said.contains("the search ends, "), "{said}");

    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    assert!((7..=14).contains(&runs.len()), "{said}");
    let loads: Vec<u64> = runs.iter().map(load).collect();
    assert_eq!(loads[..3], [1, 4, 16]);
    for (place, run) in runs.iter().enumerate() {
        assert_eq!((run.status, &run.campaign.execution), (Status::Completed, &runs[0].campaign.execution));
        assert_eq!((run.recipe.text.as_str(), step(run)), (SEARCHED, place + 1));
        // One start of the service for all of them.
        assert_eq!(run.service.port, runs[0].service.port);
        assert_eq!(u64::from(run.client.num_clients), load(run));
        // A load that comes again is a repetition of its point, with other requests.
        for earlier in &runs[..place] {
            assert_eq!(earlier.campaign.point == run.campaign.point, load(earlier) == load(run));
            assert_ne!(earlier.seeds.benchmark, run.seeds.benchmark);
        }
        assert!(said.contains(&run.campaign.search.as_ref().expect("searched").reason), "{said}");
    }
    let report = project.runner(&["sweep-report", "searched", "--json"]);
    let report: Value = serde_json::from_str(&report.stdout()).expect("JSON");
    let series = &report["series"][0];
    // On a machine that stood still for a moment the budget may be spent before the answer is as precise as was wanted.
    match said.contains("the search ends, found") {
        true => {
            let knee = series["analysis"]["throughput_saturation"]["load"].as_f64().expect("found");
            assert!((3.0..=5.5).contains(&knee), "{series}");
            assert_eq!(series["search"]["end"], "found", "{series}");
        }
        false => {
            assert_eq!(runs.len(), 14, "{said}");
            assert_ne!(series["search"]["end"], "found", "{series}");
        }
    }

    // One step again, as any benchmark.
    let again = project.runner(&["rerun", &project.ids()[2].to_string()]);
    again.code(0);
    let again = project.run(*project.ids().last().expect("archived"));
    assert_eq!((again.rerun_of, &again.recipe_hash), (Some(project.ids()[2]), &runs[2].recipe_hash));
    assert_eq!(again.campaign.search, None);
    project.assert_in_order();
}

/// Twenty slots of 40 ms: the knee lies at twenty clients. Ten listed loads take so many requests whatever they find, and one
/// repetition is the least that any sweep of them takes.
#[test]
fn the_known_knee_is_found_within_a_tenth_for_half_of_the_requests_of_ten_listed_loads() {
    let listed: u64 = (0..10).map(|power| 1 << power).sum();
    let text = SEARCHED
        .replace("slots: 4,", "slots: 20,")
        .replace("num_requests: 20, warmup_requests: 1", "num_requests: 25, warmup_requests: 1")
        .replace(
            "{range: [1, 64], precision: 0.2, budget: {steps: 14}}",
            "{range: [1, 512], precision: 0.1, budget: {steps: 24}}",
        );
    let project = Project::new();
    project.write("campaign.yaml", &text);
    let finished = project.runner(&["run", "campaign.yaml"]);
    finished.code(0);
    let said = finished.stderr();
    let ids = project.ids();
    let requests: u64 =
        ids.iter().map(|id| project.summary(*id)).map(|one| one.total_requests + one.warmup_requests).sum();
    let report = project.runner(&["sweep-report", "searched", "--json"]);
    let report: Value = serde_json::from_str(&report.stdout()).expect("JSON");
    let found = &report["series"][0]["analysis"]["throughput_saturation"];
    // On a machine that stood still for a moment the answer may take more steps than there are; it must not be another.
    match said.contains("the search ends, found") {
        true => {
            let knee = found["load"].as_f64().expect("found");
            assert!((knee / 20.0 - 1.0).abs() <= 0.1, "{found}");
            assert!(2 * requests <= 26 * listed, "{requests} requests of {}: {said}", 26 * listed);
        }
        false => assert_eq!(ids.len(), 24, "{said}"),
    }
    project.assert_in_order();
}

#[test]
fn a_search_that_was_cut_off_goes_on_from_its_archived_steps() {
    let project = Project::new();
    project.write("campaign.yaml", SEARCHED);
    let running = project.start(&["run", "campaign.yaml"]);
    project.wait_until("two steps", || project.ids().len() >= 2);
    running.signal(Signal::SIGKILL);
    assert!(running.finish().was_killed());

    let resumed = project.runner(&["resume"]);
    resumed.code(0);
    project.wait_for_silence();
    assert!(resumed.stderr().contains("the search ends, "), "{}", resumed.stderr());
    let mut runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    assert!(runs.iter().all(|run| run.campaign.execution == runs[0].campaign.execution));
    // What the death of the runner cut short is measured again.
    runs.retain(|run| run.status == Status::Completed);
    let loads: Vec<u64> = runs.iter().map(load).collect();
    assert_eq!(loads[..3], [1, 4, 16]);
    assert!(runs.windows(2).all(|pair| step(&pair[0]) < step(&pair[1])));
    let nothing = project.runner(&["resume"]);
    nothing.code(0);
    assert!(nothing.stderr().contains("nothing was left unfinished"), "{}", nothing.stderr());
    project.assert_in_order();
}

#[test]
fn every_other_axis_has_a_search_of_its_own_and_a_service_without_a_knee_says_so() {
    let project = Project::new();
    let text = SEARCHED
        .replace(
            "{range: [1, 64], precision: 0.2, budget: {steps: 14}}",
            "{range: [1, 9], goal: slo, budget: {steps: 4}}",
        )
        .replace("redeploy: false", "slo: {p99: 5s}")
        .replace("sweep:\n", "sweep:\n  service.settings.slots: [40, 50]\n")
        .replace("num_requests: 20", "num_requests: 3");
    project.write("campaign.yaml", &text);
    let finished = project.runner(&["run", "campaign.yaml"]);
    finished.code(0);
    project.wait_for_silence();
    let said = finished.stderr();
    assert_eq!(said.matches("holds throughout the range: extend beyond 9").count(), 2, "{said}");
    let runs: Vec<_> = project.ids().into_iter().map(|id| project.run(id)).collect();
    let slots: Vec<u64> =
        runs.iter().map(|run| run.campaign.swept["service.settings.slots"].as_u64().expect("a number")).collect();
    assert_eq!(slots, [40, 40, 40, 50, 50, 50]);
    assert_eq!(runs.iter().map(load).collect::<Vec<_>>(), [1, 4, 9, 1, 4, 9]);
    project.assert_in_order();
}
