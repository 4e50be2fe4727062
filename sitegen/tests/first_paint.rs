//! What a browser has to read before a page can be seen: little, however much the archive holds.

#[path = "../src/html.rs"]
#[allow(dead_code)]
mod html;
#[path = "synthetic/archive.rs"]
mod synthetic;
#[path = "synthetic/place.rs"]
mod where_pages_are;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use archive::{BenchmarkId, Summary};
use assert_cmd::cargo::cargo_bin_cmd;
use html::tags;
use serde_json::json;

/// Bytes of a page with its style sheet and its scripts, ECharts aside.
const MOST_BYTES: u64 = 300_000;

/// A campaign of that many points, and one of that many executions.
const MANY: usize = 505;

fn write(results: &Path) {
    // Few requests: the number of benchmarks is what counts.
    let first = synthetic::Made { service_s: 2.0, clients: 1, ..synthetic::history().remove(0) };
    let mut summary: Option<Summary> = None;
    let mut write = |made: synthetic::Made, campaign: &str, execution: String| {
        synthetic::write_changed(results, &made, |parts| {
            parts.run.campaign.name = campaign.to_owned();
            parts.run.campaign.execution = execution;
            parts.resources.truncate(4);
            if made.id.sequence() == MANY as u32 {
                parts.log = "a line of a long log that nobody reads at once\n".repeat(20_000).into_bytes();
                parts.run.recipe.text = "# a recipe of a machine\n".repeat(20_000);
                parts.run.recipe.resolved = json!({ "many": vec!["value"; 20_000] });
                parts.run.events = vec![parts.run.events[0].clone(); 3_000];
                let summary = parts.summary.as_mut().expect("measured");
                summary.error_summary = (0..3_000).map(|i| (format!("error {i} of the service"), i)).collect();
                let seconds = 0..3_000_u32;
                summary.timeline = archive::Timeline {
                    bucket_s: 1.0,
                    start_s: seconds.clone().map(f64::from).collect(),
                    completed: vec![7; 3_000],
                    failed: vec![0; 3_000],
                    latency_p50_s: seconds.clone().map(|i| Some(0.05 + f64::from(i % 11) * 1e-4)).collect(),
                    latency_p99_s: seconds.map(|i| Some(0.09 + f64::from(i % 13) * 1e-3)).collect(),
                    output_tokens: Vec::new(),
                };
            }
            summary = parts.summary.clone();
        });
    };
    for number in 1..=MANY as u32 {
        let id = |day| BenchmarkId::new(day, number);
        let point = synthetic::Made {
            id: id(20_260_401),
            other: Some(("client.settings.size", json!(number))),
            point: number as usize,
            ..first.clone()
        };
        write(point, "points", "2026-04-01T0900-ab12".to_owned());
        let execution = synthetic::Made { id: id(20_260_402), ..first.clone() };
        write(execution, "executions", format!("2026-04-02T{number:04}-ab12"));
        if number <= 12 {
            // Series of two loads each.
            for (place, clients) in [1, 4].into_iter().enumerate() {
                let series = synthetic::Made {
                    id: BenchmarkId::new(20_260_403, 2 * number + place as u32),
                    other: Some(("client.settings.size", json!(number))),
                    clients,
                    point: 2 * number as usize + place,
                    ..first.clone()
                };
                write(series, "series", "2026-04-03T0900-ab12".to_owned());
            }
        }
    }
}

/// What the object of a page is, and which of its pages; a page of the version by its path.
fn kind_of(page: &str) -> String {
    let Some((object, file)) = page.strip_prefix("o/").and_then(|rest| rest.split_once('/')) else {
        return page.to_owned();
    };
    let name = match object {
        _ if object.starts_with("BM-") => "BM",
        _ if object.contains(".diff.") => "diff",
        _ => object.split('.').next().unwrap_or_default(),
    };
    let of_campaign = if object.contains(".campaign.") { " campaign" } else { "" };
    format!("{name}{of_campaign} {file}")
}

#[test]
fn every_kind_of_page_is_small_at_first_and_has_all_rows_after() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(&folder.path().join("results"));
    cargo_bin_cmd!("sitegen").current_dir(folder.path()).args(["build", "--version", "v"]).assert().success();
    let site = folder.path().join("site");
    let mut largest: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut pages = Vec::new();
    pages_below(&site.join("v"), &mut pages);
    pages_below(&site.join("o"), &mut pages);
    for page in &pages {
        let name = page.strip_prefix(&site).expect("below").display().to_string();
        let text = fs::read_to_string(page).expect("text");
        let mut bytes = text.len() as u64;
        for tag in tags(&text) {
            let loaded = match tag.name.as_str() {
                "script" => tag.attribute("src"),
                "link" if tag.attribute("rel") == Some("stylesheet") => tag.attribute("href"),
                _ => None,
            };
            let Some(file) = loaded.map(|file| page.parent().expect("a folder").join(file)) else { continue };
            let size = fs::metadata(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display())).len();
            // ECharts, and nothing else, is that large.
            bytes += if size > 500_000 { 0 } else { size };
        }
        let seen = largest.entry(kind_of(&name)).or_default();
        *seen = (bytes, name).max(seen.clone());
    }
    let over: Vec<_> = largest.iter().filter(|(_, (bytes, _))| *bytes > MOST_BYTES).collect();
    assert!(over.is_empty(), "{over:#?}");
    for kind in [
        "points campaign index.html",
        "points report.html",
        "executions campaign index.html",
        "executions campaign trend.html",
        "executions index.html",
        "series campaign index.html",
        "BM index.html",
        "BM report.html",
        "diff index.html",
        "v/index.html",
        "v/benchmarks/index.html",
        "v/reports/index.html",
        "v/regressions/index.html",
        "v/services/index.html",
    ] {
        assert!(largest.contains_key(kind), "{kind}: {:?}", largest.keys());
    }

    // All rows of a divided table are in its scripts, in the order that it says.
    let rows_of = |page: &str, id: &str| {
        let page = where_pages_are::place(&site, "v", page);
        let text = fs::read_to_string(&page).expect("text");
        let table = tags(&text).into_iter().filter(|tag| tag.attribute("data-rows").is_some());
        let table = table.map(|tag| (tag.attribute("data-key").expect("a key").to_owned(), tag));
        let mut found = Vec::new();
        for (key, tag) in table {
            let number = |name: &str| tag.attribute(name).expect("a number").parse::<usize>().expect("a number");
            let mut rows = Vec::new();
            for piece in 0..number("data-pieces") {
                let script = fs::read_to_string(
                    page.with_file_name(format!("{}-{piece}.js", tag.attribute("data-rows").expect("a place"))),
                )
                .expect("a script");
                let head = format!("siteRows(\"{key}\", {piece}, ");
                let list = script.strip_prefix(&head).and_then(|rest| rest.strip_suffix(");\n")).expect("a call");
                rows.extend(serde_json::from_str::<Vec<serde_json::Value>>(list).expect("rows"));
            }
            assert_eq!(rows.len(), number("data-count"), "{} {key}", page.display());
            found.extend(rows);
        }
        found.into_iter().filter(|row| row.to_string().contains(id)).count()
    };
    assert_eq!(rows_of("reports/index.html", "BM-20260401-"), MANY);
    assert_eq!(rows_of("reports/index.html", "executions-2026-04-02T"), MANY);
    assert!(rows_of("campaigns/points/index.html", "BM-20260401-") >= 2 * MANY, "points and benchmarks");
    assert_eq!(rows_of("trends/executions/index.html", ".diff."), MANY - 1);
    let events = rows_of(&format!("benchmarks/BM-20260401-{MANY}/index.html"), "\"started\"");
    assert_eq!(events, 3_000);
    let page = where_pages_are::place(&site, "v", &format!("benchmarks/BM-20260401-{MANY}/index.html"));
    let log =
        tags(&fs::read_to_string(&page).expect("text")).into_iter().find(|tag| tag.attribute("class") == Some("log"));
    let log = log.as_ref().and_then(|tag| tag.attribute("data-src")).expect("a script").to_owned();
    let log = fs::read_to_string(page.with_file_name(log)).expect("a script");
    assert!(log.len() > 40_000);
}

fn pages_below(folder: &Path, pages: &mut Vec<PathBuf>) {
    let entries: BTreeSet<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    for path in entries {
        match path.is_dir() {
            true => pages_below(&path, pages),
            false if path.extension().is_some_and(|extension| extension == "html") => pages.push(path),
            false => {}
        }
    }
}
