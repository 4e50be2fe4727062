//! The archive of attacks in a real browser: nothing of it runs, leads away, loads anything or looks like what it is not.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    build, drawn,
    driver::Browser,
    hostile::{self, payloads::payloads},
    page, until,
};

/// What no page of the site has: an element that only an attack can have brought, or a link out of it.
const FOREIGN: &str = "
    const wrong = [];
    document.querySelectorAll('iframe, object, embed, base, style, video, source, math, template, textarea, foreignObject, [style*=fixed], [srcdoc], [onerror], [onload], [onclick], [onfocus], [ontoggle], [onmouseover], svg script, svg image')
        .forEach(one => wrong.push(one.outerHTML.slice(0, 200)));
    if (document.querySelectorAll('link[rel=stylesheet], style').length !== 1) wrong.push('style sheets');
    document.querySelectorAll('script').forEach(one => {
        const inline = !one.src && one.type !== 'application/json';
        if (inline || (one.src && new URL(one.src).protocol !== 'file:')) wrong.push(one.outerHTML.slice(0, 200));
    });
    document.querySelectorAll('img').forEach(one => { if (!/^(still|picture)$/.test(one.className)) wrong.push(one.outerHTML.slice(0, 200)); });
    document.querySelectorAll('a[href]:not(#save), area[href], form[action]').forEach(one => {
        if (!/^(file:|https:)$/.test(new URL(one.href || one.action).protocol) || (one.protocol === 'https:' && !one.closest('.doc'))) wrong.push(one.outerHTML.slice(0, 200));
    });
    const text = document.body.textContent;
    if (/[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff]/.test(text)) wrong.push('a character that hides or turns');
    return wrong;
";

/// All pages in objects, by their paths.
fn pages_in(site: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(site.join("o"))
        .expect("objects")
        .flat_map(|entry| std::fs::read_dir(entry.expect("an entry").path()).expect("an object"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
        .collect();
    found.sort();
    found
}

#[test]
fn attacks_in_the_archive_do_nothing_on_any_kind_of_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    hostile::write(&folder.path().join("results"));
    let site = build(folder.path());
    let mut browser = Browser::start();
    let mut pages: Vec<PathBuf> = [
        "",
        "campaigns",
        "benchmarks",
        "compare",
        "trends",
        "regressions",
        "services",
        "reports",
        "run",
        "monitoring",
        "docs",
        "metrics",
        "cli",
    ]
    .iter()
    .map(|name| page(&site, name))
    .collect();
    let (of_benchmarks, others): (Vec<PathBuf>, Vec<PathBuf>) =
        pages_in(&site).into_iter().partition(|path| path.to_string_lossy().contains("/o/BM-"));
    // Campaigns, executions, diffs, trends and their reports.
    pages.extend(others);
    // A page a benchmark shows the same fields: of every third, each field is some twenty of the attacks.
    pages.extend(of_benchmarks.into_iter().step_by(3));
    assert!(pages.len() > 100, "{}", pages.len());

    let mut charts = 0;
    for page in &pages {
        browser.open(page);
        charts += drawn(&mut browser).len();
        browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })");
        // An alert would have made the driver refuse each of these commands.
        assert_eq!(browser.run(FOREIGN), json!([]), "{}", page.display());
        let here = browser.run("return location.href.split('#')[0]");
        assert_eq!(here, json!(format!("file://{}", page.display())), "the page was left");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", page.display());
    }
    assert!(charts > 200, "{charts}");
    compare_and_addresses(&mut browser, &site);
    xml_is_well_formed(&mut browser, &site);
}

/// What the scripts make of data and of the address.
fn compare_and_addresses(browser: &mut Browser, site: &Path) {
    browser.open(&page(site, "compare"));
    until(browser, "return window.siteIndex ? true : null");
    let listed = browser
        .run("return [window.siteIndex.rows.map(row => row[0]), window.siteIndex.executions.map(one => one[4])]");
    let [benchmarks, executions]: [Vec<String>; 2] = serde_json::from_value(listed).expect("names");
    for pair in benchmarks.chunks_exact(2).step_by(6).chain(executions.chunks_exact(2)) {
        browser.open(&page(site, ""));
        let address = page(site, "compare");
        browser.go(&format!("file://{}#?a={}&b={}", address.display(), pair[0], pair[1]));
        let compared = until(browser, "return document.documentElement.dataset.compared || null");
        assert_eq!(compared, json!(format!("{} {}", pair[0], pair[1])));
        assert_eq!(browser.run(FOREIGN), json!([]), "{pair:?}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{pair:?}");
    }
    for name in ["benchmarks", "compare", "campaigns", "run"] {
        browser.open(&page(site, name));
        for text in payloads().iter().filter(|text| text.len() < 1_000) {
            let state = json!(text).to_string();
            browser.run(&format!(
                "const text = {state}, all = new URLSearchParams();
                 for (const name of ['q', 'sort', 'f1', 'a', 'b', 'log', 'zoom.throughput', 'hide.throughput']) all.append(name, text);
                 location.hash = '#?' + all;"
            ));
            browser.wait_for("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))");
        }
        assert_eq!(browser.run(FOREIGN), json!([]), "{name}");
        // A plain name in the address may be that of a benchmark: the site is asked for it, and has none.
        let asked = |one: &String| one.ends_with("net::ERR_FILE_NOT_FOUND");
        let complaints: Vec<String> = browser.complaints().into_iter().filter(|one| !asked(one)).collect();
        assert_eq!(complaints, Vec::<String>::new(), "{name}");
    }
}

fn xml_is_well_formed(browser: &mut Browser, site: &Path) {
    browser.open(&page(site, ""));
    let mut files = vec![site.join("v/feed.xml")];
    let mut folders = vec![site.join("v/badges"), site.join("o")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "svg") => files.push(path),
                false => {}
            }
        }
    }
    let texts: Vec<Value> = files
        .iter()
        .map(|path| json!([path.display().to_string(), std::fs::read_to_string(path).expect("text")]))
        .collect();
    assert!(texts.len() > 50, "{}", texts.len());
    for some in texts.chunks(40) {
        let broken = browser.run(&format!(
            "return {}.filter(one => new DOMParser().parseFromString(one[1], 'application/xml').querySelector('parsererror')).map(one => one[0])",
            json!(some)
        ));
        assert_eq!(broken, json!([]));
    }
}

#[test]
fn the_policy_of_a_page_from_a_disk_stops_what_got_into_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    hostile::write_some(&folder.path().join("results"), 1);
    let site = build(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, ""));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // As if an escape had been forgotten.
    browser.run(
        "const script = document.createElement('script');
         script.textContent = 'document.documentElement.dataset.ran = \"inline\"';
         document.body.append(script);
         const box = document.createElement('div');
         box.innerHTML = '<img src=\"x\" onerror=\"document.documentElement.dataset.ran = 1\"><img src=\"https://example.org/x.png\"><iframe src=\"https://example.org/\"></iframe><p style=\"position: fixed\" id=\"styled\">x</p>';
         document.body.append(box);",
    );
    let ran = browser.wait_for("setTimeout(() => arguments[0]([document.documentElement.dataset.ran || null, getComputedStyle(document.getElementById('styled')).position]), 200)");
    assert_eq!(ran, json!([null, "static"]));
    let complaints = browser.complaints();
    for what in ["inline script", "inline event handler", "example.org/x.png", "example.org/", "inline style"] {
        assert!(complaints.iter().any(|one| one.contains(what)), "{what}: {complaints:#?}");
    }
}
