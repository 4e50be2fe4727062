//! Ways of reading the site: by keyboard alone, on screens of every width, on paper, with more contrast, in its logs.

use serde_json::{Value, json};

use crate::{build, drawn, driver::Browser, page, synthetic, until, write_history};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Presses Tab until a selector matches what has the focus; says after how many. Each stop has to be seen.
fn tab_to(browser: &mut Browser, selector: &str) -> usize {
    for count in 1..=60 {
        browser.keys(TAB);
        let stop = browser.run(&format!(
            "const one = document.activeElement, box = one.getBoundingClientRect();
             return [one.matches('{selector}'), box.width > 0 && box.height > 0 && one !== document.body, getComputedStyle(one).outlineStyle !== 'none', one.outerHTML.slice(0, 120)]"
        ));
        assert_eq!((&stop[1], &stop[2]), (&json!(true), &json!(true)), "the focus is not seen: {stop}");
        if stop[0] == json!(true) {
            return count;
        }
    }
    panic!("no Tab leads to {selector}");
}

#[test]
fn two_benchmarks_are_compared_without_a_pointer_from_the_top_of_the_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_history(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "compare"));
    until(&mut browser, "return window.siteIndex ? true : null");
    assert_eq!(tab_to(&mut browser, "a.skip"), 1, "the way past the header comes first");
    tab_to(&mut browser, "header nav a");
    tab_to(&mut browser, "#theme");
    let field = tab_to(&mut browser, "#compare input[name=a]");
    assert_eq!(field, 1, "the form follows the header");
    browser.keys("BM-20260304-101");
    assert_eq!(tab_to(&mut browser, "#compare input[name=b]"), 1);
    browser.keys("BM-20260311-143");
    assert_eq!(tab_to(&mut browser, "#compare button[type=submit]"), 1);
    browser.keys(ENTER);
    let compared = |browser: &mut Browser| until(browser, "return document.documentElement.dataset.compared || null");
    assert_eq!(compared(&mut browser), json!("BM-20260304-101 BM-20260311-143"));
    assert_eq!(tab_to(&mut browser, "#swap"), 1);
    browser.run("delete document.documentElement.dataset.compared");
    browser.keys(" ");
    assert_eq!(compared(&mut browser), json!("BM-20260311-143 BM-20260304-101"));
    tab_to(&mut browser, "#answer a");
    browser.keys(ENTER);
    let arrived = until(&mut browser, "return location.href.includes('/o/BM-20260311-143') || null");
    assert_eq!(arrived, json!(true));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn lines_of_logs_are_found_and_the_search_stays_in_the_address() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    for made in synthetic::made().iter().take(7) {
        synthetic::write_changed(&results, made, |parts| {
            parts.log = (0..3_000)
                .map(|i| format!("line {i} of a log, {}\n", if i % 500 == 7 { "Odd" } else { "even" }))
                .collect::<String>()
                .into_bytes();
        });
    }
    let site = build(folder.path());
    let mut browser = Browser::start();
    let log_page = page(&site, "benchmarks/BM-20260301-003");
    browser.open(&log_page);
    let text = std::fs::read_to_string(&log_page).expect("a page");
    assert!(text.contains("line 2999 of a log") && !text.contains("line 2007 of a log"), "the page has the end only");
    browser.run(
        "const s = document.getElementById('log-search'); s.value = 'odd LINE'; s.dispatchEvent(new Event('input'))",
    );
    let found = "return document.getElementById('log-found').textContent || null";
    // What the site has of a log is its last 48 KiB.
    let count = until(&mut browser, found);
    assert_eq!(count, json!("3 lines"));
    assert_eq!(browser.run("return document.querySelector('pre.log').parentElement.open"), json!(true));
    assert_eq!(
        browser.run(
            "return document.querySelector('pre.log').textContent.split('\\n').every(line => line.includes('Odd'))"
        ),
        json!(true)
    );
    let address = browser.run("return location.href");
    assert!(address.as_str().is_some_and(|address| address.contains("log=odd+LINE")), "{address}");
    browser.open(&page(&site, ""));
    browser.go(address.as_str().expect("an address"));
    assert_eq!(until(&mut browser, found), count);
    browser.run(
        "const s = document.getElementById('log-search'); s.value = 'nowhere'; s.dispatchEvent(new Event('input'))",
    );
    assert_eq!(until(&mut browser, found), json!("0 lines"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Red, green, blue of a colour that the browser computed.
fn brightness(color: &Value) -> f64 {
    let numbers = color.as_str().expect("a colour").trim_matches(|c: char| !c.is_ascii_digit()).split(", ");
    let numbers: Vec<f64> = numbers.map(|number| number.parse().expect("a number")).collect();
    numbers[..3].iter().sum::<f64>() / 3.0
}

#[test]
fn paper_is_white_and_more_contrast_is_more() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().take(21).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/quickstart"));
    drawn(&mut browser);
    let look = "const of = (selector, what) => getComputedStyle(document.querySelector(selector))[what];
        return [of('body', 'color'), of('body', 'backgroundColor'), of('.note', 'color'), of('header.top', 'display'), of('.chart-tools', 'display')]";
    for theme in ["light", "dark"] {
        browser.run(&format!("document.documentElement.dataset.theme = '{theme}'"));
        browser.media(json!({ "media": "print" }));
        let paper = browser.run(look);
        assert!(brightness(&paper[0]) < 60.0 && brightness(&paper[1]) > 250.0, "{theme}: {paper}");
        assert_eq!((&paper[3], &paper[4]), (&json!("none"), &json!("none")), "{theme}");
        browser.media(json!({ "media": "" }));
        let plain = browser.run(look);
        browser.media(json!({ "features": [{ "name": "prefers-contrast", "value": "more" }] }));
        let more = browser.run(look);
        browser.media(json!({ "features": [] }));
        let distance = |look: &Value| (brightness(&look[2]) - brightness(&look[1])).abs();
        assert!(distance(&more) > distance(&plain) + 10.0, "{theme}: {plain} {more}");
    }
    // The canvas too: what is dark on the screen is drawn anew for paper.
    let ink = "const box = document.querySelector('#throughput .canvas'); return echarts.getInstanceByDom(box).getOption().textStyle.color";
    browser.run("document.documentElement.dataset.theme = 'dark'; dispatchEvent(new Event('beforeprint'))");
    assert_eq!(browser.run(ink), json!("#1a1c1e"));
    browser.run("dispatchEvent(new Event('afterprint'))");
    assert_eq!(browser.run("return document.documentElement.dataset.theme"), json!("dark"));
    assert_eq!(browser.run(ink), json!("#e4e6e8"));
}

#[test]
fn no_page_scrolls_sideways_on_a_phone_or_on_a_wall() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    synthetic::made().iter().for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    write_history(&results);
    let site = build(folder.path());
    let mut browser = Browser::start();
    for (width, height) in [(390, 844), (1280, 900), (2560, 1440), (3840, 2160)] {
        browser.resize(width, height);
        for path in [
            "",
            "benchmarks",
            "campaigns",
            "campaigns/quickstart",
            "campaigns/02_pipeline",
            "benchmarks/BM-20260303-058",
            "benchmarks/BM-20260302-042",
            "compare",
            "regressions",
            "diffs/03_history/2026-03-09T0900-ab12",
            "services",
            "trends",
            "trends/03_history",
            "reports",
            "reports/BM-20260301-004",
            "run",
            "monitoring",
            "docs",
            "docs/recipes",
            "cli",
        ] {
            browser.open(&page(&site, path));
            drawn(&mut browser);
            let seen = browser.run(
                "const box = document.querySelector('main').getBoundingClientRect();
                 return [document.documentElement.scrollWidth, innerWidth, box.width, parseFloat(getComputedStyle(document.body).fontSize)]",
            );
            assert_eq!(seen[0], seen[1], "{path} at {width}");
            let (main, font) = (seen[2].as_f64().expect("a width"), seen[3].as_f64().expect("a size"));
            // A wide screen is used, and read from further away.
            let least = match width {
                390 => 380.0,
                1280 => 1_180.0,
                2560 => 1_450.0,
                _ => 1_800.0,
            };
            assert!(main >= least && font >= 14.0, "{path} at {width}: {main} wide, letters of {font}");
        }
    }
}
