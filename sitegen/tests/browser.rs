//! The site in a real browser, opened from files: charts are drawn, nothing is logged, nothing is loaded from elsewhere.
//!
//! Needs Chromium and its driver: on Debian the packages `chromium` and `chromium-driver`.

#[path = "browser/attacks.rs"]
mod attacks;
#[path = "browser/charts.rs"]
mod charts;
#[path = "browser/driver.rs"]
mod driver;
#[path = "synthetic/hostile.rs"]
mod hostile;
#[path = "browser/reading.rs"]
mod reading;
#[path = "browser/serve.rs"]
mod serve;
#[path = "synthetic/archive.rs"]
mod synthetic;
#[path = "synthetic/place.rs"]
mod where_pages_are;

use std::path::{Path, PathBuf};
use where_pages_are::place;

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
    let page = |path: &str| page(&site, path);
    let sweep = ["throughput", "tokens", "latency", "ttft", "pareto"];
    let single = ["distribution", "course", "resources", "heat", "histogram", "ecdf"];
    let devices = ["distribution", "course", "resources", "gpus", "network", "disks", "heat", "histogram", "ecdf"];
    for (path, charts) in [
        ("", &[][..]),
        ("benchmarks", &[]),
        ("campaigns/quickstart", &sweep[..]),
        ("campaigns/quickstart/2026-03-01T0900-ab12", &sweep),
        ("campaigns/02_pipeline", &["throughput", "latency-p50", "latency-p99", "pareto"]),
        ("benchmarks/BM-20260302-022", &single),
        ("benchmarks/BM-20260303-058", &devices),
        ("benchmarks/BM-20260302-042", &[]),
        ("regressions", &[]),
        ("services", &[]),
        ("trends", &[]),
        ("trends/quickstart", &["requests-per-second", "latency-p99-s"]),
        ("diffs/quickstart/2026-03-02T0930-ab12", &["throughput", "latency-p99"]),
        ("compare", &[]),
        ("campaigns", &[]),
        ("run", &[]),
        ("monitoring", &[]),
        ("docs/metrics", &[]),
        ("cli", &[]),
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
    assert!(place(&site, "v", "benchmarks/BM-20260302-022/course.js").exists(), "the long timeline is a script beside");

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

fn write_history(results: &Path) {
    for made in synthetic::history() {
        synthetic::write_benchmark(results, &made, |run, _| synthetic::versioned(&made, run));
    }
}

/// Waits until a script gives something else than `null`.
fn until(browser: &mut Browser, script: &str) -> Value {
    browser.wait_for(&format!(
        "const done = arguments[arguments.length - 1]; let rounds = 0;
         (function look() {{
             const found = (function () {{ {script} }})();
             if (found !== null && found !== undefined) return done(found);
             rounds++ < 400 ? setTimeout(look, 25) : done(null);
         }})();"
    ))
}

#[test]
fn a_list_keeps_its_search_filter_and_order_in_the_address() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    write_history(&results);
    let site = build(folder.path());
    let mut browser = Browser::start();
    let page = site.join("v/benchmarks/index.html");
    browser.open(&page);
    let ids = "return Array.from(document.querySelectorAll('#all tbody tr')).map(row => row.cells[0].textContent)";
    assert_eq!(browser.run(ids).as_array().map(Vec::len), Some(69));
    browser.run(
        "const select = Array.from(document.querySelectorAll('#filters select')).find(one => one.parentElement.textContent.startsWith('campaign'));
         select.value = '03_history'; select.dispatchEvent(new Event('change'));
         const f = document.getElementById('filter'); f.value = '= 16'; f.dispatchEvent(new Event('input'));
         document.querySelectorAll('#all th')[6].click();",
    );
    let filtered = browser.run(ids);
    assert_eq!(filtered.as_array().map(Vec::len), Some(24), "{filtered}");
    let address = browser.run("return location.href");
    browser.open(&site.join("v/index.html"));
    browser.go(address.as_str().expect("an address"));
    assert_eq!(browser.run(ids), filtered);
    assert_eq!(browser.run("return document.getElementById('filtered').textContent"), json!("24 of 69"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_long_list_reads_its_rows_from_a_script() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    // Few requests each: the list is what counts.
    let first = synthetic::Made { service_s: 0.5, ..synthetic::history().remove(0) };
    for number in 1..=510 {
        let made = synthetic::Made { id: archive::BenchmarkId::new(20_260_401, number), ..first.clone() };
        synthetic::write_benchmark(&results, &made, |run, summary| {
            run.campaign.execution = format!("2026-04-01T{number:04}");
            // The records tell nothing new; only the figures are shown.
            if let Some(summary) = summary {
                summary.latency_s.histogram = None;
            }
        });
    }
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&site.join("v/benchmarks/index.html"));
    let found = until(
        &mut browser,
        "const more = document.querySelector('[data-list] > button'); return more && more.textContent.includes('510') ? more.textContent : null",
    );
    assert_eq!(found, json!("Show more of 510"));
    browser.run(
        "const f = document.getElementById('filter'); f.value = '20260401-003'; f.dispatchEvent(new Event('input'))",
    );
    let row = browser.run("const row = document.querySelector('#all tbody tr'); return [row.cells[0].textContent, row.cells[0].firstChild.getAttribute('href').replace(/\\.[0-9a-f]{24}/, ''), Number(row.cells[6].textContent) > 0]");
    assert_eq!(row, json!(["BM-20260401-003", "../../o/BM-20260401-003/index.html", true]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn zoom_and_hidden_series_are_restored_from_the_address() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/quickstart"));
    drawn(&mut browser);
    let view = "const view = echarts.getInstanceByDom(document.querySelector('#latency .canvas'));";
    browser.run(&format!(
        "{view} view.dispatchAction({{type: 'dataZoom', dataZoomIndex: 0, start: 20, end: 60}});
         view.dispatchAction({{type: 'legendToggleSelect', name: 'p95'}});"
    ));
    let shown = format!(
        "{view} const o = view.getOption(); return [Math.round(o.dataZoom[0].start), Math.round(o.dataZoom[0].end), o.legend[0].selected.p95]"
    );
    let address = browser.run("return location.href");
    assert!(
        address.as_str().is_some_and(|address| address.contains("#?") && address.contains("hide.latency=p95")),
        "{address}"
    );
    browser.open(&site.join("v/index.html"));
    browser.go(address.as_str().expect("an address"));
    drawn(&mut browser);
    assert_eq!(browser.run(&shown), json!([20, 60, false]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn two_benchmarks_and_two_executions_are_compared_with_the_keyboard_and_by_address() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_history(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    let page = site.join("v/compare/index.html");
    browser.open(&page);
    // Tab to the first field, type, tab, type, Enter: no pointer.
    browser.run("document.querySelector('#compare input').focus()");
    browser.keys("BM-20260304-101\u{e004}BM-20260311-143\u{e007}");
    let compared = "return document.documentElement.dataset.compared || null";
    assert_eq!(until(&mut browser, compared), json!("BM-20260304-101 BM-20260311-143"));
    let answer = browser.run("return document.getElementById('answer').textContent");
    let answer = answer.as_str().expect("text");
    assert!(
        answer.contains("n = 1 on each side") && answer.contains("runner compare BM-20260304-101 BM-20260311-143"),
        "{answer}"
    );
    // A third slower, by construction.
    assert!(answer.contains(" worse") && answer.contains("service.version") && answer.contains("7.2.0"), "{answer}");
    let address = browser.run("return location.href");
    browser.open(&site.join("v/index.html"));
    browser.go(address.as_str().expect("an address"));
    assert_eq!(until(&mut browser, compared), json!("BM-20260304-101 BM-20260311-143"));
    let twin = browser.run(
        "const view = echarts.getInstanceByDom(document.querySelector('#distribution .canvas'));
         const points = view.getOption().series.reduce((sum, one) => sum + one.data.length, 0);
         return [points, document.querySelectorAll('#distribution table tbody tr').length]",
    );
    assert_eq!(twin[0], twin[1]);

    let base =
        format!("file://{}#?a=03_history--2026-03-08T0900-ab12&b=03_history--2026-03-09T0900-ab12", page.display());
    browser.open(&site.join("v/index.html"));
    browser.go(&base);
    until(&mut browser, compared);
    let answer = browser.run("return document.getElementById('answer').textContent");
    let answer = answer.as_str().expect("text");
    assert!(answer.contains("Largest difference of medians") && answer.contains("regression diff"), "{answer}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn another_version_shows_the_same_page_and_state_and_an_old_one_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let site = build(folder.path());
    write_history(&results);
    cargo_bin_cmd!("sitegen").current_dir(folder.path()).args(["build", "--version", "w"]).assert().success();
    let mut browser = Browser::start();
    browser.go(&format!("file://{}#?q=0301", site.join("w/benchmarks/index.html").display()));
    assert_eq!(browser.run("return document.getElementById('old').hidden"), json!(true));
    let switch = |browser: &mut Browser, version: &str| {
        browser.run(&format!(
            "const select = document.getElementById('versions'); select.value = '{version}'; select.dispatchEvent(new Event('change'))"
        ));
        let arrived = format!(
            "return location.href.includes('/{version}/') && document.readyState === 'complete' ? location.href : null"
        );
        until(browser, &arrived).as_str().expect("an address").to_owned()
    };
    assert!(switch(&mut browser, "v").ends_with("/v/benchmarks/index.html#?q=0301"));
    assert_eq!(browser.run("return document.getElementById('filter').value"), json!("0301"));
    assert_eq!(browser.run("return document.getElementById('old').hidden"), json!(false));
    assert!(switch(&mut browser, "w").ends_with("/w/benchmarks/index.html#?q=0301"));
    // A page that both show stands once: the address says in which version it is looked at, and its links lead there.
    browser.open(&place(&site, "w", "benchmarks/BM-20260301-004/index.html"));
    let looked_at =
        "return location.href.includes('#?v=v') && document.readyState === 'complete' ? location.href : null";
    browser.run(
        "const select = document.getElementById('versions'); select.value = 'v'; select.dispatchEvent(new Event('change'))",
    );
    until(&mut browser, looked_at);
    let old = "return document.getElementById('old').hidden ? null : document.getElementById('shown').textContent";
    browser.run("location.reload()");
    assert_eq!(until(&mut browser, old), json!("v"));
    browser.run("document.querySelector('nav a').click()");
    until(&mut browser, "return location.href.endsWith('/v/index.html') || null");
    browser.run("document.querySelector('#content a[href*=\"/BM-\"]').click()");
    until(&mut browser, looked_at);
    // What the other version does not have leads to its dashboard.
    browser.open(&place(&site, "w", "benchmarks/BM-20260311-143/index.html"));
    assert!(switch(&mut browser, "v").ends_with("/v/index.html"));
}

#[test]
fn a_campaign_file_is_built_from_the_form() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_history(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "run"));
    until(&mut browser, "return document.getElementById('field-service.type')");
    browser.run(
        "const set = (id, value) => { const field = document.getElementById('field-' + id); field.value = value; field.dispatchEvent(new Event('input')); };
         set('name', 'redis-mix'); set('service.type', 'redis'); set('client.type', 'redis_stress');
         set('client.settings.operation_mix', '80:20'); set('benchmarks.num_clients', '1, 4, 16'); set('benchmarks.duration', '5x');",
    );
    assert_eq!(browser.run("return document.getElementById('valid').textContent"), json!("1 value is not right."));
    browser.run("const d = document.getElementById('field-benchmarks.duration'); d.value = '5s'; d.dispatchEvent(new Event('input'))");
    assert_eq!(
        browser.run("return document.getElementById('valid').textContent"),
        json!("Every value fits the schema.")
    );
    let yaml = browser.run("return document.getElementById('yaml').textContent");
    let expected = "name: redis-mix\nrecipe:\n  configuration:\n    target: local\n  service:\n    type: redis\n  client:\n    type: redis_stress\n    settings:\n      operation_mix: \"80:20\"\n  benchmarks:\n    duration: 5s\nsweep:\n  benchmarks.num_clients: [1, 4, 16]\nrepetitions: 3\n";
    assert_eq!(yaml, json!(expected));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn without_scripts_a_page_has_its_pictures_and_tables() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_history(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.without_scripts();
    for path in [
        "campaigns/03_history",
        "benchmarks/BM-20260304-101",
        "trends/03_history",
        "diffs/03_history/2026-03-09T0900-ab12",
    ] {
        browser.open(&page(&site, path));
        let charts = browser.count("figure.chart");
        assert!(charts > 0, "{path}");
        assert_eq!(browser.count("figure.chart img.still"), charts, "{path}");
        assert_eq!(browser.count("figure.chart details[open] table"), charts, "{path}");
    }
}

/// The page that version `v` shows at a path.
fn page(site: &Path, path: &str) -> PathBuf {
    place(site, "v", &format!("{path}/index.html")[usize::from(path.is_empty())..])
}

/// axe-core finds nothing on any kind of page, in both themes.
#[test]
fn no_page_has_a_barrier_that_axe_finds() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|err| panic!("{}: {err}: scripts/test.sh installs it", axe.display()));
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    // The second execution has a failed and a cancelled benchmark.
    synthetic::made().iter().take(42).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    write_history(&results);
    let site = build(folder.path());
    let mut browser = Browser::start();
    let mut found = Vec::new();
    for path in [
        "",
        "campaigns",
        "campaigns/quickstart",
        "benchmarks",
        "benchmarks/BM-20260301-004",
        "benchmarks/BM-20260302-042",
        "compare",
        "trends",
        "trends/03_history",
        "regressions",
        "diffs/03_history/2026-03-09T0900-ab12",
        "services",
        "reports",
        "reports/BM-20260301-004",
        "run",
        "monitoring",
        "docs",
        "docs/metrics",
        "cli",
    ] {
        browser.open(&page(&site, path));
        drawn(&mut browser);
        if path == "compare" {
            browser.run("location.hash = '#?a=BM-20260304-101&b=BM-20260311-143'");
            until(&mut browser, "return document.documentElement.dataset.compared || null");
        }
        for theme in ["light", "dark"] {
            browser.run(&format!("document.documentElement.dataset.theme = '{theme}'"));
            let violations = browser.wait_for(&format!(
                "const done = arguments[arguments.length - 1]; {axe};
                 window.axe.run(document, {{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }})
                     .then(result => done(result.violations.map(one => one.id + ': ' + one.nodes.slice(0, 2).map(node => node.html.slice(0, 160)).join(' | '))))"
            ));
            let violations = violations.as_array().expect("a list").iter();
            found.extend(violations.map(|one| format!("{path} {theme}: {}", one.as_str().unwrap_or_default())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
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
