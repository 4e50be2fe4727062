//! `runner analyze` from the outside: answers, errors and exit codes.

use std::{fs, path::Path, process::Output};

use assert_cmd::Command;
use serde_json::{Value, json};

fn analyze(kind: &str, folder: &Path, cases: &Value) -> Output {
    let file = folder.join("cases.json");
    fs::write(&file, cases.to_string()).expect("written");
    Command::cargo_bin("runner").expect("the binary").args(["analyze", kind]).arg(file).output().expect("started")
}

fn answers(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// One sound case of each kind, and what its answer must hold.
#[test]
fn every_kind_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |i: u32| format!("{{\"start_s\":{i},\"latency_ms\":{i},\"ok\":true}}\n");
    fs::write(folder.path().join("three.jsonl"), (1..=3).map(line).collect::<String>()).expect("written");
    let loads = [1, 2, 4, 8, 16, 32, 64];
    let rates = loads.map(|x| f64::from(x.min(12)) * 10.0);
    let law = loads.map(|x| 100.0 * f64::from(x) / (1.0 + 0.02 * f64::from(x - 1) + 1e-3 * f64::from(x * (x - 1))));
    let history: Vec<i32> =
        [[100; 12], [120; 12]].concat().into_iter().zip([0, 1, -1].into_iter().cycle()).map(|(a, b)| a + b).collect();
    for (kind, case, pointer, expected) in [
        ("knee", json!({"x": loads, "y": rates, "kind": "throughput"}), "/knee", 12.0),
        ("usl", json!({"x": loads, "y": law}), "/sigma", 0.02),
        ("usl", json!({"x": loads, "y": law}), "/fit_bounded/kappa", 1e-3),
        ("compare", json!({"base": [1, 2, 3], "candidate": [4, 5, 6]}), "/mann_whitney/p_exact", 0.1),
        ("compare", json!({"base": [1, 2, 3], "candidate": [4, 5, 6]}), "/hodges_lehmann/shift", 3.0),
        (
            "proportions",
            json!({"base_ok": 3, "base_n": 4, "candidate_ok": 1, "candidate_n": 4}),
            "/fisher_p_less",
            17.0 / 70.0,
        ),
        ("change-points", json!({"y": history}), "/index/0", 12.0),
        ("aggregate", json!({"file": "three.jsonl"}), "/latency_ok_ms/p50", 2.0),
    ] {
        let mut case = case;
        case["id"] = json!("a");
        let output = analyze(kind, folder.path(), &json!({"cases": [case]}));
        assert_eq!(output.status.code(), Some(0), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        let answers = answers(&output);
        assert_eq!(answers["cases"][0]["id"], "a");
        let value = answers["cases"][0]["answer"].pointer(pointer).and_then(Value::as_f64).expect("a number");
        assert!((value - expected).abs() <= 0.01 * expected, "{kind} {pointer}: {value} is not {expected}");
    }
}

/// What programs read, name by name: other tools' figures of the same data are named so too (docs/analyze.md).
#[test]
fn the_names_of_answers_stay() {
    const SAMPLE: [&str; 11] =
        ["count", "mean", "sd", "min", "max", "p50", "p90", "p95", "p99", "p99.9", "cumulative_le"];
    let fit = [
        "lambda",
        "sigma",
        "kappa",
        "lambda_se",
        "sigma_se",
        "kappa_se",
        "rss",
        "residual_se",
        "r2",
        "n_max",
        "n_max_reliable",
        "x_max",
        "x_limit_amdahl",
        "n_opt",
    ];
    let under = |place: &str, names: &[&str]| names.iter().map(|name| format!("{place}/{name}")).collect::<Vec<_>>();
    let folder = tempfile::tempdir().expect("a folder");
    let line = |i: u32| format!("{{\"id\":{i},\"start_s\":{i},\"latency_ms\":{i},\"ok\":{}}}\n", i != 2);
    fs::write(folder.path().join("three.jsonl"), (1..=3).map(line).collect::<String>()).expect("written");
    let loads = [1, 2, 4, 8, 16, 32, 64];
    let rates = loads.map(|x| f64::from(x.min(12)) * 10.0);
    let law = loads.map(|x| 100.0 * f64::from(x) / (1.0 + 0.02 * f64::from(x - 1) + 1e-3 * f64::from(x * (x - 1))));
    let shares = json!({"base_ok": 98, "base_n": 100, "candidate_ok": 90, "candidate_n": 100});
    let steps: Vec<i32> = (0..24).map(|i| if i < 12 { 100 } else { 120 } + i * 7 % 3).collect();
    let cases = [
        (
            "knee",
            json!({"x": loads, "y": rates, "kind": "throughput"}),
            under("", &["knee", "interval", "verdict", "reason", "method", "left_out"]),
        ),
        (
            "usl",
            json!({"x": loads, "y": law}),
            [
                under("", &fit),
                under("/fit_free", &fit),
                under("/fit_bounded", &fit),
                under("", &["support", "reason", "method", "left_out"]),
            ]
            .concat(),
        ),
        (
            "compare",
            json!({"base": [1, 2, 3, 4], "candidate": [2, 5, 6, 7]}),
            [
                under("", &["ties", "mean/1", "median/1", "sd/1", "cliffs_delta", "method", "left_out"]),
                under(
                    "/mann_whitney",
                    &[
                        "u_candidate",
                        "p_exact",
                        "p_asymptotic_cc",
                        "p_asymptotic_nocc",
                        "p_exact_greater",
                        "p_permutation_exact",
                    ],
                ),
                under("/welch", &["t", "df", "p", "ci95_diff/1"]),
                under(
                    "/hodges_lehmann",
                    &[
                        "shift",
                        "ci95_exact_order/1",
                        "exact_confidence",
                        "ci95_normal_order/1",
                        "relative_to_base_median",
                    ],
                ),
                under("/bootstrap_ratio_of_medians", &["ratio_of_medians", "ci95/1"]),
            ]
            .concat(),
        ),
        (
            "proportions",
            shares,
            under(
                "",
                &[
                    "diff_pp",
                    "fisher_p_two_sided",
                    "fisher_p_less",
                    "newcombe_ci95_pp/1",
                    "score_z",
                    "score_p",
                    "wilson_ci95/1/1",
                ],
            ),
        ),
        (
            "change-points",
            json!({ "y": steps }),
            [
                under("", &["index/0", "alpha", "method", "left_out"]),
                under("/changes/0", &["index", "p", "mean_before", "mean_after", "relative_change"]),
            ]
            .concat(),
        ),
        (
            "aggregate",
            json!({"file": "three.jsonl"}),
            [
                under(
                    "",
                    &[
                        "count",
                        "ok",
                        "failures",
                        "success_rate",
                        "duration_s",
                        "throughput_ok_per_s",
                        "throughput_all_per_s",
                        "le_edges_ms/0",
                    ],
                ),
                under("/latency_ok_ms", &SAMPLE),
                under("/latency_all_ms", &SAMPLE),
            ]
            .concat(),
        ),
    ];
    for (kind, mut case, names) in cases {
        case["id"] = json!("a");
        let output = analyze(kind, folder.path(), &json!({"cases": [case]}));
        let answers = answers(&output);
        let answer = &answers["cases"][0]["answer"];
        for name in names {
            assert!(answer.pointer(&name).is_some(), "{kind}: no {name} in {answer:#}");
        }
    }
}

#[test]
fn a_bad_case_does_not_take_the_others_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = json!({"cases": [
        {"id": "short", "x": [1, 2], "y": [1]},
        {"id": "words", "x": ["one"], "y": [1]},
        {"id": "sound", "x": [1, 8, 64], "y": [10, 60, 200]},
        {},
    ]});
    let output = analyze("usl", folder.path(), &cases);
    assert_eq!(output.status.code(), Some(1));
    let answers = answers(&output);
    assert_eq!(answers["cases"][0]["error"], "x has 2 values and y has 1");
    assert!(answers["cases"][1]["error"].as_str().is_some_and(|text| text.starts_with("x must be a list of numbers")));
    assert!(answers["cases"][2]["answer"]["lambda"].is_number());
    assert_eq!(answers["cases"][3]["id"], Value::Null);
    assert!(answers["cases"][3]["error"].is_string());
    let output = analyze("aggregate", folder.path(), &json!({"cases": [{"id": "none", "file": "nowhere"}]}));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for cases in [json!({}), json!([]), json!({"cases": 1})] {
        let output = analyze("knee", folder.path(), &cases);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("expected {\"cases\""));
    }
    let runner = || Command::cargo_bin("runner").expect("the binary");
    let missing = runner().args(["analyze", "knee", "nowhere.json"]).output().expect("started");
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read nowhere.json"));
    let piped = runner().args(["analyze", "usl", "-"]).write_stdin("{\"cases\":[]}").output().expect("started");
    assert_eq!((piped.status.code(), answers(&piped)), (Some(0), json!({"cases": []})));
}
