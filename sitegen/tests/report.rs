//! `sitegen report` as a person runs it: on the committed archive, on made-up ones, and on one in which every text is an attack.

#[path = "synthetic/hostile.rs"]
mod hostile;
#[path = "../src/html.rs"]
#[allow(dead_code)]
mod html;
#[path = "synthetic/archive.rs"]
mod synthetic;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use archive::Archive;
use assert_cmd::{assert::Assert, cargo::cargo_bin_cmd};
use serde_json::Value;

fn sitegen(folder: &Path, args: &[&str]) -> Assert {
    cargo_bin_cmd!("sitegen").current_dir(folder).args(args).assert()
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results")
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("below").to_owned();
                    found.insert(name, fs::read(&path).expect("read"));
                }
            }
        }
    }
    found
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).expect("written")).expect("JSON")
}

/// A picture with more than its background in it.
fn assert_drawn(bytes: &[u8], name: &str) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels).expect("whole");
    let inked = pixels.chunks_exact(3).filter(|pixel| *pixel != [255, 255, 255]).count();
    assert!(inked * 100 > pixels.len() / 3, "{name} is all but empty");
    let is_coloured = |pixel: &[u8]| {
        let (low, high) =
            pixel.iter().fold((255, 0), |(low, high): (u8, u8), channel| (low.min(*channel), high.max(*channel)));
        high - low > 60
    };
    let coloured = pixels.chunks_exact(3).filter(|pixel| is_coloured(pixel));
    assert!(coloured.count() > 100, "{name} shows no data");
}

/// What the pictures of a report are called; every one is drawn, listed and linked.
fn assert_whole(folder: &Path) -> Vec<String> {
    let markdown = fs::read_to_string(folder.join("report.md")).expect("written");
    let report = json(folder);
    let mut names = Vec::new();
    for plot in report["plots"].as_array().expect("a list") {
        let file = plot["file"].as_str().expect("a name");
        assert_drawn(&fs::read(folder.join(file)).expect("drawn"), file);
        assert!(markdown.contains(&format!("]({file})")), "{file} is not in report.md");
        names.push(file.trim_start_matches("plots/").trim_end_matches(".png").to_owned());
    }
    assert_eq!(fs::read_dir(folder.join("plots")).expect("a folder").count(), names.len());
    names
}

#[test]
fn a_benchmark_of_the_committed_archive() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = committed();
    let results = results.to_str().expect("text");
    let before = files(&committed().join("BM-20261123-004"));
    let args = ["report", "--results", results, "--out", "reports"];
    sitegen(folder.path(), &[&args[..], &["20261123-004"]].concat()).success();
    let report = folder.path().join("reports/BM-20261123-004");
    let names = assert_whole(&report);
    for name in [
        "latency_percentiles",
        "throughput_timeline",
        "latency_histogram",
        "latency_ecdf",
        "success_rate",
        "service_metrics",
        "resources",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is missing");
    }

    // The figures are those of the archive, to the last digit.
    let benchmark = Archive::new(committed()).open("BM-20261123-004".parse().expect("an id")).expect("sealed");
    let summary = benchmark.summary().expect("readable").expect("there is one");
    assert_eq!(json(&report)["summary"], serde_json::to_value(&summary).expect("JSON"));
    assert_eq!(json(&report)["run_metadata"]["benchmark_id"], "BM-20261123-004");
    let p90 = json(&report)["assessment"]["percentiles"]
        .as_array()
        .and_then(|all| all.iter().find(|p| p["quantity"] == "latency" && p["figure"] == "p90").cloned())
        .expect("p90 of the latency");
    assert_eq!(p90["value"].as_f64(), summary.latency_s.figures.p90);
    let markdown = fs::read_to_string(report.join("report.md")).expect("written");
    assert!(markdown.contains("**CANNOT TELL**"), "317 requests do not bound p99");
    assert!(markdown.contains("runner rerun BM-20261123-004"));

    // Again: the same bytes; and the archive is as it was.
    let first = files(&report);
    sitegen(folder.path(), &[&args[..], &["BM-20261123-004"]].concat()).success();
    assert!(files(&report) == first, "the same archive gives the same report");
    assert!(files(&committed().join("BM-20261123-004")) == before);
}

#[test]
fn limits_on_the_command_line_decide_the_exit_code() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = committed();
    let report = |slo: &[&str], code: i32| {
        let args = ["report", "--results", results.to_str().expect("text"), "20261123-045"];
        sitegen(folder.path(), &[&args[..], slo].concat()).code(code);
        json(&folder.path().join("reports/BM-20261123-045"))["assessment"].clone()
    };
    let met = report(&["--slo", "p99=1s, success_rate>=99"], 0);
    assert_eq!((&met["verdict"]["word"], &met["slo_source"]), (&"pass".into(), &"asked".into()));
    let violated = report(&["--slo", "p50=1us"], 1);
    assert_eq!(violated["verdict"]["word"], "fail");
    let default = report(&[], 0);
    assert_eq!((&default["slo_source"], default["slo"].as_array().map(Vec::len)), (&"default".into(), Some(2)));
    let refused = sitegen(folder.path(), &["report", "-1", "--slo", "p99=fast"]).code(2);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(message.contains("--slo") && message.contains("expected a duration above 0"), "{message}");
}

#[test]
fn sweeps_of_campaigns_and_of_named_benchmarks() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = committed();
    let results = results.to_str().expect("text");
    sitegen(folder.path(), &["report", "--results", results, "quickstart"]).success();
    let sweep = folder.path().join("reports/quickstart-20261123T144159-ddf276");
    let names = assert_whole(&sweep);
    assert!(
        ["sweep_throughput", "sweep_latency", "sweep_success"].iter().all(|name| names.contains(&(*name).to_owned()))
    );
    let report = json(&sweep);
    assert_eq!(report["benchmark_ids"].as_array().map(Vec::len), Some(21));
    let knee = &report["sweep_results"][0]["saturation"]["throughput_saturation"];
    assert!((6.0..10.0).contains(&knee["load"].as_f64().expect("a knee")), "{knee}");
    assert_eq!(report["sweep_results"][0]["points"].as_array().map(Vec::len), Some(7));

    // Commas and spaces; one point is enough for figures.
    let out = sitegen(folder.path(), &["report", "--results", results, "20261123-022,20261123-031", "-040"]).success();
    let written = String::from_utf8_lossy(&out.get_output().stdout).trim().to_owned();
    let path = folder.path().join(written.trim_end_matches("report.md"));
    assert_whole(&path);
    assert_eq!(json(&path)["benchmark_ids"].as_array().map(Vec::len), Some(3));
    sitegen(folder.path(), &["report", "--results", results, "no-such-campaign"]).code(2);
}

#[test]
fn failed_and_cancelled_benchmarks_have_a_report_that_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    for made in synthetic::made().iter().filter(|made| made.status != archive::Status::Completed) {
        sitegen(folder.path(), &["report", &made.id.to_string()]).success();
        let report = folder.path().join("reports").join(made.id.to_string());
        let expected = if made.status == archive::Status::Failed { "fail" } else { "cancelled" };
        assert_eq!(json(&report)["assessment"]["verdict"]["word"], expected);
        let markdown = fs::read_to_string(report.join("report.md")).expect("written");
        assert!(markdown.contains("| **Can you trust it?** | No, "), "{markdown}");
    }
    // Two swept axes, an axis of its own for each series.
    sitegen(folder.path(), &["report", "02_pipeline"]).success();
}

/// A benchmark of the synthetic archive as one would name it by hand: nothing was swept.
fn unswept(results: &Path, made: &synthetic::Made, execution: &str) {
    synthetic::write_benchmark(results, made, |run, _| {
        run.campaign.swept.clear();
        run.campaign.point = 0;
        run.campaign.points = 1;
        run.campaign.execution = execution.to_owned();
    });
}

#[test]
fn loads_that_were_not_swept_are_points_and_no_repetitions() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    let made = synthetic::made();
    let picked: Vec<&synthetic::Made> = made[..7].iter().filter(|made| [4, 64].contains(&made.clients)).collect();
    for (made, execution) in picked.iter().zip(["low", "high"]) {
        unswept(&results, made, execution);
    }
    let ids: Vec<String> = picked.iter().map(|made| made.id.to_string()).collect();
    let out = sitegen(folder.path(), &["report", "--json", &ids.join(" ")]).success();
    let report: Value = serde_json::from_slice(&out.get_output().stdout).expect("JSON");
    assert_eq!(report["report"]["axis"]["is_load"], true);
    let points = report["report"]["sweep_results"][0]["points"].as_array().expect("points").clone();
    assert_eq!(points.iter().map(|point| point["x"].as_f64()).collect::<Vec<_>>(), [Some(4.0), Some(64.0)]);
    assert!(points.iter().all(|point| point["benchmark_ids"].as_array().map(Vec::len) == Some(1)));
}

#[test]
fn without_a_swept_load_every_benchmark_is_held_to_the_limits() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    let made = synthetic::made();
    let same: Vec<&synthetic::Made> = made[..21].iter().filter(|made| made.clients == 4).collect();
    assert_eq!(same.len(), 3);
    same.iter().for_each(|made| unswept(&results, made, "steady"));
    for (slo, code, word) in [("p50<=5s", 0, "3 of 3 benchmarks PASS"), ("p50<=1us", 1, "3 of 3 benchmarks FAIL")] {
        sitegen(folder.path(), &["report", "quickstart", "--slo", slo]).code(code);
        let folder = folder.path().join("reports/quickstart-steady");
        assert_eq!(json(&folder)["assessments"].as_array().map(Vec::len), Some(3));
        let markdown = fs::read_to_string(folder.join("report.md")).expect("written");
        assert!(markdown.contains(word), "{markdown}");
    }
    // A sweep in which nothing could be measured keeps no limit either.
    let failed = made.iter().find(|made| made.status == archive::Status::Failed).expect("one");
    let other = synthetic::Made { execution: (9, 0), campaign: "broken", ..failed.clone() };
    synthetic::write_benchmark(&results, &other, |run, _| run.status = archive::Status::Cancelled);
    sitegen(folder.path(), &["report", "broken", "--slo", "p99=1s"]).code(1);
}

#[test]
fn what_limits_it_the_logs_and_the_services_own_figures_are_in_the_report() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    let made = synthetic::made();
    made[..21].iter().for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let busy = made[..7].iter().find(|made| made.clients == 64).expect("one");
    sitegen(folder.path(), &["report", &busy.id.to_string()]).success();
    let report = folder.path().join("reports").join(busy.id.to_string());
    assert!(assert_whole(&report).contains(&"service_figures".to_owned()));
    assert!(json(&report)["bottleneck"]["class"].is_string() && json(&report)["logs"]["lines"] == 3);
    let waiting = json(&report)["service_figures"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "requests waiting").and_then(|one| one["mean"].as_f64()));
    assert!(waiting.is_some_and(|mean| (mean - 56.0).abs() < 4.0), "{waiting:?}");
    let markdown = fs::read_to_string(report.join("report.md")).expect("written");
    for part in ["| **What limits it** |", "## What limits it", "## Logs", "requests waiting"] {
        assert!(markdown.contains(part), "{part} is not in {markdown}");
    }

    sitegen(folder.path(), &["report", "quickstart"]).success();
    let report = fs::read_dir(folder.path().join("reports"))
        .expect("written")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("quickstart")))
        .expect("written");
    let bottleneck = &json(&report)["sweep_results"][0]["bottleneck"];
    // Where throughput stops is where the knee is, and not the first load near the peak.
    let knee = &json(&report)["sweep_results"][0]["saturation"]["throughput_saturation"]["load"];
    assert!(knee.is_f64() && bottleneck["stops_at"] == *knee, "{bottleneck:#} {knee}");
    let markdown = fs::read_to_string(report.join("report.md")).expect("written");
    assert!(markdown.contains("## What limits it") && markdown.contains("## Logs"), "{markdown}");
}

#[test]
fn hostile_texts_stay_texts() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    hostile::write(&results);
    let ids = Archive::new(&results).ids().expect("readable");
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    sitegen(folder.path(), &["report", &names[4]]).success();
    sitegen(folder.path(), &["report", &names.join(",")]).success();
    for entry in fs::read_dir(folder.path().join("reports")).expect("written") {
        let path = entry.expect("an entry").path();
        assert_whole(&path);
        let markdown = fs::read_to_string(path.join("report.md")).expect("written");
        let mut options = pulldown_cmark::Options::empty();
        options.insert(pulldown_cmark::Options::ENABLE_TABLES);
        let mut rendered = String::new();
        pulldown_cmark::html::push_html(&mut rendered, pulldown_cmark::Parser::new_ext(&markdown, options));
        let ours = [
            "h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong", "em", "img",
            "pre", "code",
        ];
        for tag in html::tags(&rendered) {
            assert!(ours.contains(&tag.name.as_str()), "<{}> in {}", tag.name, path.display());
            let source = tag.attribute("src").unwrap_or("plots/");
            assert!(source.starts_with("plots/"), "{source}");
        }
        // Every row of a table has as many cells as its head.
        let mut cells = None;
        for line in markdown.lines() {
            let count = line.replace("\\|", "").matches('|').count();
            match (line.starts_with('|'), cells) {
                (true, Some(expected)) => assert_eq!(count, expected, "{line}"),
                (true, None) => cells = Some(count),
                (false, _) => cells = None,
            }
        }
    }
}
