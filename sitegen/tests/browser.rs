//! The site in a real browser, opened from files: charts are drawn, nothing is logged, nothing is loaded from elsewhere.
//!
//! Needs Chromium and its driver: on Debian the packages `chromium` and `chromium-driver`.

#[path = "browser/driver.rs"]
mod driver;
#[path = "synthetic/hostile.rs"]
mod hostile;
#[path = "synthetic/archive.rs"]
mod synthetic;

use std::path::{Path, PathBuf};

use archive::Timeline;
use assert_cmd::cargo::cargo_bin_cmd;
use driver::Browser;
use serde_json::{Value, json};

fn build(root: &Path) -> PathBuf {
    cargo_bin_cmd!("sitegen").current_dir(root).args(["build", "--version", "v"]).assert().success();
    root.join("site")
}

/// Scrolls through the page until every chart is drawn; gives for each its id and the number of coloured pixels.
const DRAWN: &str = r#"
    const done = arguments[arguments.length - 1];
    const boxes = Array.from(document.querySelectorAll('figure.chart .canvas'));
    let rounds = 0;
    (function look() {
        const waiting = boxes.find(box => box.dataset.drawn !== 'yes');
        if (waiting && rounds++ < 200) { waiting.scrollIntoView(); return setTimeout(look, 25); }
        // As a pointer over the first point of every line would.
        boxes.forEach(box => {
            const view = echarts.getInstanceByDom(box);
            (view.getOption().series || []).forEach((series, seriesIndex) => {
                if (series.name) view.dispatchAction({ type: 'showTip', seriesIndex, dataIndex: 0 });
            });
        });
        requestAnimationFrame(() => requestAnimationFrame(() => done(boxes.map(box => {
            const canvas = box.querySelector('canvas');
            if (!canvas) return [box.parentElement.id, 0];
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let coloured = 0;
            for (let i = 0; i < data.length; i += 4) {
                const [r, g, b, a] = data.slice(i, i + 4);
                if (a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++;
            }
            return [box.parentElement.id, coloured];
        }))));
    })();
"#;

fn drawn(browser: &mut Browser) -> Vec<(String, u64)> {
    let charts = browser.wait_for(DRAWN);
    let chart = |chart: &Value| (chart[0].as_str().expect("an id").to_owned(), chart[1].as_u64().expect("a count"));
    charts.as_array().expect("a list").iter().map(chart).collect()
}

#[test]
fn pages_draw_their_charts_and_load_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    for made in synthetic::made() {
        synthetic::write_benchmark(&results, &made, |_, summary| {
            // One long benchmark, whose timeline is too large to stand in the page.
            if let (22, Some(summary)) = (made.id.sequence(), summary) {
                summary.timeline = long_timeline();
            }
        });
    }
    let site = build(folder.path());
    let mut browser = Browser::start();
    let page = |path: &str| site.join("v").join(path).join("index.html");
    let sweep = ["throughput", "tokens", "latency", "ttft"];
    let single = ["distribution", "course", "resources"];
    for (path, charts) in [
        ("", &[][..]),
        ("benchmarks", &[]),
        ("campaigns/quickstart", &sweep[..]),
        ("campaigns/quickstart/2026-03-01T0900-ab12", &sweep),
        ("campaigns/02_pipeline", &["throughput", "latency-p50", "latency-p99"]),
        ("benchmarks/BM-20260302-022", &single),
        ("benchmarks/BM-20260303-058", &single),
        ("benchmarks/BM-20260302-042", &[]),
    ] {
        browser.open(&page(path));
        let drawn = drawn(&mut browser);
        let ids: Vec<&str> = drawn.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, charts, "{path}");
        for (id, coloured) in &drawn {
            // Nine samples on an axis of an hour are a short stroke beside the legend.
            let least = if path.ends_with("022") && id == "resources" { 100 } else { 300 };
            assert!(*coloured > least, "{path}: {id} has {coloured} coloured pixels");
        }
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
    }
    assert!(site.join("v/data/benchmarks-BM-20260302-022-course.js").exists(), "the long timeline is a script beside");

    browser.open(&site.join("index.html"));
    let led_to = browser.wait_for(
        "const done = arguments[0]; (function look() { location.href.includes('/v/') ? done(location.href) : setTimeout(look, 20) })()",
    );
    assert!(led_to.as_str().is_some_and(|url| url.ends_with("/site/v/index.html")), "{led_to}");
}

#[test]
fn tables_sort_and_filter_and_the_theme_changes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&site.join("v/benchmarks/index.html"));
    let column = |number: usize| {
        format!(
            "return Array.from(document.querySelectorAll('tbody tr:not([hidden]) td:nth-child({number})')).map(td => Number(td.dataset.sort))"
        )
    };
    let throughput =
        |browser: &mut Browser| -> Vec<f64> { serde_json::from_value(browser.run(&column(7))).expect("numbers") };
    let before = throughput(&mut browser);
    browser.run("document.querySelectorAll('th')[6].click()");
    let mut sorted = before.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(throughput(&mut browser), sorted);
    browser.run("document.querySelectorAll('th')[6].click()");
    sorted.reverse();
    assert_eq!(throughput(&mut browser), sorted);

    browser.run("const f = document.getElementById('filter'); f.value = 'quickstart 20260301-00'; f.dispatchEvent(new Event('input'))");
    assert_eq!(throughput(&mut browser).len(), 9);
    assert_eq!(browser.run("return document.getElementById('filtered').textContent"), json!("9 of 21"));

    let paper = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(paper);
    browser.run("document.getElementById('theme').click()");
    assert_ne!(browser.run(paper), light);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_narrow_page_does_not_scroll_sideways() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.resize(390, 844);
    for path in ["", "benchmarks", "campaigns/quickstart", "benchmarks/BM-20260301-004"] {
        browser.open(&site.join("v").join(path).join("index.html"));
        drawn(&mut browser);
        let widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(widths[0], widths[1], "{path}");
    }
}

#[test]
fn attacks_in_the_archive_do_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    hostile::write(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    let mut charts = 0;
    let mut pages = vec![site.join("v/index.html"), site.join("v/benchmarks/index.html")];
    pages.push(site.join("v/benchmarks/BM-20260302-025/index.html"));
    for entry in std::fs::read_dir(site.join("v/campaigns")).expect("campaigns") {
        pages.push(entry.expect("an entry").path().join("index.html"));
    }
    for page in pages {
        browser.open(&page);
        charts += drawn(&mut browser).len();
        // An alert would have made the driver refuse each of these commands.
        assert_eq!(browser.run("return document.querySelectorAll('img, svg [onload], [onclick]').length"), json!(0));
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", page.display());
    }
    assert!(charts >= 6, "{charts}");
}

fn long_timeline() -> Timeline {
    let seconds: u32 = 3600;
    Timeline {
        bucket_s: 1.0,
        start_s: (0..seconds).map(f64::from).collect(),
        completed: (0..seconds).map(|i| 150 + u64::from(i % 7)).collect(),
        failed: vec![0; 3600],
        latency_p50_s: (0..seconds).map(|i| Some(0.05 + f64::from(i % 11) * 1e-4)).collect(),
        latency_p99_s: (0..seconds).map(|i| Some(0.09 + f64::from(i % 13) * 1e-3)).collect(),
        output_tokens: Vec::new(),
    }
}
