//! `runner summary`, `metrics`, `report`, `sweep-report` and `compare` as a person runs them, on a made-up archive: texts,
//! JSON, exit codes, ways to name benchmarks, and texts that attack.
//!
//! Needs `sitegen` beside `runner`, as an installation has it: `scripts/test.sh` builds both.

#[path = "../../sitegen/tests/synthetic/hostile.rs"]
mod hostile;
#[path = "../../sitegen/tests/synthetic/archive.rs"]
mod synthetic;

use std::{fs, path::Path};

use archive::{Archive, Status};
use serde_json::Value;
use synthetic::{Made, made, write_benchmark};

struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|err| panic!("{err}: {}{}", self.out, self.err))
    }
}

#[track_caller]
fn runner(folder: &Path, args: &[&str], code: i32) -> Answer {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_runner")).current_dir(folder).args(args).output();
    let output = output.expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let answer =
        Answer { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
    assert_eq!(answer.code, code, "{args:?}\n{}\n{}", answer.out, answer.err);
    answer
}

/// The first execution of a sweep of 7 loads and 3 repetitions, and the second with one failed and one cancelled.
fn quickstart() -> Vec<Made> {
    made().into_iter().filter(|made| made.campaign == "quickstart").collect()
}

fn archive_of(benchmarks: &[Made]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    benchmarks.iter().for_each(|made| write_benchmark(&folder.path().join("results"), made, |_, _| {}));
    folder
}

#[test]
fn a_benchmark_by_id_suffix_and_alias() {
    let all = quickstart();
    let folder = archive_of(&all[..7]);
    let root = folder.path();
    let busy = all[..7].iter().find(|made| made.clients == 64).expect("one").id.to_string();
    let text = runner(root, &["summary", &busy], 0).out;
    for part in [busy.as_str(), "latency", "TTFT", "bottleneck: ", "limits (of the recipe)"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let suffix = &busy[busy.len() - 4..];
    assert_eq!(runner(root, &["summary", suffix], 0).out, text);
    assert_eq!(runner(root, &["--summary", &busy], 0).out, text);

    let value = runner(root, &["summary", &busy, "--json"], 0).json();
    assert_eq!(value["run"]["benchmark_id"], *busy);
    let archived = Archive::new(root.join("results")).open(busy.parse().expect("an id")).expect("sealed");
    let summary = archived.summary().expect("readable").expect("there is one");
    assert_eq!(value["summary"], serde_json::to_value(&summary).expect("JSON"));
    for (slo, code, word) in [("p50<=10s", 0, "pass"), ("p50<=1us", 1, "fail"), ("throughput>=1000000000", 1, "fail")] {
        let judged = runner(root, &["summary", &busy, "--json", "--slo", slo], code).json();
        assert_eq!(judged["assessment"]["verdict"]["word"], word, "{slo}");
    }
    assert!(runner(root, &["summary", &busy, "--slo", "p99=fast"], 2).err.contains("expected a duration above 0"));

    let value = runner(root, &["metrics", &busy, "--json"], 0).json();
    for key in ["bottleneck", "bottleneck_over_sweep", "accounting", "series", "logs"] {
        assert!(!value[key].is_null(), "{key} is missing");
    }
    let text = runner(root, &["metrics", &busy], 0).out;
    assert!(text.contains("over the sweep: ") && text.contains("says: requests waiting"), "{text}");
    // The bottleneck is looked for where throughput stops.
    let sweep = runner(root, &["sweep-report", "quickstart", "--json"], 0).json();
    let knee = &sweep["series"][0]["analysis"]["throughput_saturation"]["load"];
    assert!(knee.is_f64() && value["bottleneck_over_sweep"]["stops_at"] == *knee, "{knee} {value:#}");
}

#[test]
fn names_that_nothing_has_name_what_is_near() {
    let folder = archive_of(&quickstart()[..3]);
    for command in ["summary", "metrics", "report", "sweep-report"] {
        let err = runner(folder.path(), &[command, "quikstart"], 2).err;
        assert!(err.contains("no benchmark `quikstart`") && err.contains("`quickstart`"), "{command}: {err}");
        let err = runner(folder.path(), &[command, "BM-20260301-009"], 2).err;
        assert!(err.contains("`BM-20260301-00"), "{command}: {err}");
    }
    let err = runner(folder.path(), &["summary", "zzz"], 2).err;
    assert!(!err.contains("nearest") && err.contains("`runner list`"), "{err}");
}

#[test]
fn campaigns_have_summaries_and_reports() {
    let folder = archive_of(&quickstart());
    let root = folder.path();
    let value = runner(root, &["summary", "quickstart", "--json"], 0).json();
    assert_eq!((&value["benchmarks"], value["points"].as_array().map(Vec::len)), (&21.into(), Some(7)));
    let pooled = &value["points"][3]["pooled_latency_s"];
    assert!(pooled["count"].as_u64() > Some(0) && pooled["p50"].is_f64(), "{pooled}");
    let text = runner(root, &["summary", "quickstart"], 0).out;
    assert!(text.contains("19 valid; 7 points") && text.contains("cancelled: "), "{text}");
    runner(root, &["summary", "quickstart", "--slo", "p99<=1us"], 1);

    let written = runner(root, &["report", "quickstart"], 0).out;
    assert!(root.join(written.trim()).is_file(), "{written}");
    let report = runner(root, &["report", "quickstart", "--json", "--slo", "p99<=1us"], 1).json();
    assert_eq!(report["report"]["sweep_results"][0]["saturation"]["slo_limits"][0]["verdict"], "never");
    // A rate that takes some load to reach is no limit that never holds.
    let rate = runner(root, &["report", "quickstart", "--json", "--slo", "throughput>=100"], 0).json();
    let limit = &rate["report"]["sweep_results"][0]["saturation"]["slo_limits"][0];
    assert_eq!(limit["verdict"], "from", "{limit:#}");
    assert!(limit["from"].as_f64().is_some_and(|load| 4.0 < load && load < 8.0), "{limit:#}");

    // By space or comma, in any order; one folder for the same benchmarks.
    let ids: Vec<String> = quickstart()[..3].iter().map(|made| made.id.to_string()).collect();
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    let one = runner(root, &["report", a, b, c], 0).out;
    assert_eq!(runner(root, &["report", &format!("{c},{a}"), b], 0).out, one);
    assert_eq!(runner(root, &["report", &ids.join(" ")], 0).out, one);
    let folder = root.join(one.trim());
    let report = fs::read_to_string(folder.with_file_name("report.json")).expect("written");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["benchmark_ids"], serde_json::json!(ids));
    for plot in report["plots"].as_array().expect("a list") {
        assert!(folder.with_file_name(plot["file"].as_str().expect("a name")).is_file());
    }
}

/// Benchmarks of recipes that were run one by one, under different loads.
fn apart(root: &Path, benchmarks: &[Made], execution: impl Fn(&Made) -> String) {
    for made in benchmarks {
        write_benchmark(&root.join("results"), made, |run, _| {
            run.campaign.swept.clear();
            run.campaign.point = 0;
            run.campaign.execution = execution(made);
        });
    }
}

#[test]
fn loads_that_were_not_swept_are_never_repetitions_of_each_other() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let all: Vec<Made> =
        quickstart().into_iter().filter(|made| made.execution.0 == 1 && [4, 64].contains(&made.clients)).collect();
    assert_eq!(all.len(), 6);
    apart(root, &all, |made| format!("load-{}", made.clients));
    let ids: Vec<String> = all.iter().map(|made| made.id.to_string()).collect();

    let report = runner(root, &["report", "--json", &ids.join(",")], 0).json();
    let points = report["report"]["sweep_results"][0]["points"].as_array().expect("points").clone();
    assert_eq!(points.iter().map(|point| point["x"].as_f64()).collect::<Vec<_>>(), [Some(4.0), Some(64.0)]);

    let sweep = runner(root, &["sweep-report", "--json", &ids.join(",")], 0).json();
    assert_eq!(sweep["series"].as_array().map(Vec::len), Some(1), "{sweep:#}");
    assert_eq!(sweep["series"][0]["analysis"]["concurrency_range"], serde_json::json!([4.0, 64.0]));

    // Each side has both loads: they are compared with their like.
    let side = |repetition: u32| {
        let of = all.iter().filter(|made| made.repetition == repetition).map(|made| made.id.to_string());
        of.collect::<Vec<_>>().join(",")
    };
    let answer = runner(root, &["compare", "--json", "--gate", "threshold", &side(1), &side(2)], 0).json();
    let swept = |index: usize| answer["swept"][index]["benchmarks.num_clients"].clone();
    assert_eq!([swept(0), swept(1)], [Value::from(4), Value::from(64)], "{answer:#}");
    let points = answer["comparison"]["points"].as_array().expect("points").clone();
    assert!(points.iter().all(|point| point["base"].as_array().map(Vec::len) == Some(1)), "{answer:#}");
}

#[test]
fn a_figure_that_one_side_lacks_is_said() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let all: Vec<Made> = quickstart().into_iter().filter(|made| made.clients == 4).collect();
    for made in &all {
        write_benchmark(&root.join("results"), made, |_, summary| {
            if made.execution.0 == 2
                && let Some(summary) = summary
            {
                summary.ttft_s = None;
            }
        });
    }
    let threshold = ["--threshold", "ttft_p99=10"];
    let text = runner(root, &[&["compare", "quickstart~1", "quickstart"], &threshold[..]].concat(), 0).out;
    assert!(text.contains("ttft_p99 cannot be told: only the base has it") && text.contains("UNDECIDED"), "{text}");
    let json = runner(root, &[&["compare", "--json", "quickstart~1", "quickstart"], &threshold[..]].concat(), 0).json();
    assert_eq!(json["comparison"]["points"][0]["one_sided"][0]["only"], "base", "{json:#}");
    let history = runner(root, &[&["compare", "--history", "quickstart"], &threshold[..]].concat(), 0).out;
    assert!(history.contains("ttft_p99_s is left out: 1 of 2 executions"), "{history}");
}

/// Eight executions of one configuration, the last three a third slower; then only those before.
#[test]
fn a_history_shows_its_levels_and_fails_while_the_newest_is_worse() {
    for (until, levels, code) in [(12, 2, 1), (9, 1, 0)] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        for made in synthetic::history().iter().filter(|made| made.execution.0 < until) {
            write_benchmark(&root.join("results"), made, |_, _| {});
        }
        let answer = runner(root, &["compare", "--history", "03_history", "--json"], code).json();
        let histories = answer["histories"].as_array().expect("a list");
        let throughput: Vec<&Value> = histories
            .iter()
            .map(|one| &one["history"])
            .filter(|history| history["metric"] == "requests_per_second")
            .collect();
        assert_eq!(throughput.len(), 2, "one a load: {answer:#}");
        for history in throughput {
            assert_eq!(history["levels"].as_array().map(Vec::len), Some(levels), "{history:#}");
            assert!(history["method"].as_str().is_some_and(|method| method.contains("version")), "{history:#}");
            if levels == 2 {
                assert_eq!(
                    (&history["executions"], &history["levels"][1]["first"]),
                    (&Value::from(8), &Value::from(5))
                );
                assert_eq!(history["levels"][1]["verdict"], "regressed", "{history:#}");
            }
        }
        let text = runner(root, &["compare", "--history", "03_history"], code).out;
        assert_eq!(text.contains("regressed"), levels == 2, "{text}");
    }
}

#[test]
fn texts_that_attack_reach_neither_the_terminal_nor_the_report() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let results = root.join("results");
    hostile::write(&results);
    let made = Made { execution: (8, 0), status: Status::Completed, ..quickstart()[0].clone() };
    let made = Made { id: archive::BenchmarkId::new(20_260_308, 1), ..made };
    write_benchmark(&results, &made, |run, summary| {
        run.service.name = "\u{1b}[2J\u{1b}]0;owned\u{7}redis\r\n# heading".to_owned();
        run.campaign.title = Some("x](javascript:alert(1)) | a | b |\n\n---\n<b>\u{202e}".to_owned());
        if let Some(summary) = summary {
            summary.error_summary.insert("\u{1b}[31mred\u{0}".to_owned(), 3);
        }
    });
    let ids = Archive::new(&results).ids().expect("readable");
    for id in [ids[0], *ids.last().expect("some")] {
        let id = id.to_string();
        for command in ["summary", "metrics"] {
            let answer = runner(root, &[command, &id], 0);
            let hostile = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(!answer.out.contains(hostile) && !answer.err.contains(hostile), "{command}: {:?}", answer.out);
        }
        runner(root, &["report", &id], 0);
        let markdown = fs::read_to_string(root.join("reports").join(&id).join("report.md")).expect("written");
        assert!(!markdown.contains(|c: char| c.is_control() && c != '\n'), "{markdown:?}");
        // What could begin an element, a link or a cell is escaped, wherever it came from.
        let bare = |mark: char| markdown.char_indices().any(|(at, c)| c == mark && !markdown[..at].ends_with('\\'));
        let ours = markdown.replace("![", "");
        assert!(!bare('<') && !markdown.contains("\n# heading"), "{markdown}");
        let link = ours.char_indices().any(|(at, c)| c == '[' && !ours[..at].ends_with('\\'));
        assert!(!link, "{markdown}");
    }
}
