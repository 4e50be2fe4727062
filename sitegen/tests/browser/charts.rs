//! Charts in a real browser: what they draw is what their tables say, in patterns as well as colours, and can be taken along.

use std::path::Path;

use serde_json::json;

use crate::{build, drawn, driver::Browser, page, synthetic, until, write_history};

fn site(folder: &Path) -> std::path::PathBuf {
    let results = folder.join("results");
    synthetic::made().iter().for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    write_history(&results);
    build(folder)
}

/// For every chart of the page: its id, how many values it draws, and those that its table does not have.
const TWINS: &str = r"
    const done = arguments[arguments.length - 1];
    const figures = Array.from(document.querySelectorAll('figure.chart')), all = [];
    function numbers(text) {
        return text.split(' · ').map(part => Number(part.replace(/[,()\s]/g, '').replace('−', '-'))).filter(number => !isNaN(number));
    }
    // Three digits are shown, so half of the last one may be missing.
    function near(shown, drawn) { return Math.abs(shown - drawn) <= 0.0051 * Math.abs(drawn) + 1e-12; }
    (function next(i) {
        if (i === figures.length) return done(all);
        const view = echarts.getInstanceByDom(figures[i].querySelector('.canvas')), option = view.getOption();
        window.site.texts(figures[i].querySelector('table'), rows => {
            const parsed = rows.slice(1).map(row => ({ texts: row, numbers: [].concat(...row.map(numbers)) }));
            const missing = [];
            let count = 0;
            option.series.filter(series => !series.sign && series.data && series.data.length).forEach(series => {
                series.data.forEach(item => {
                    const values = Array.isArray(item) ? item : item.value;
                    const axis = option.xAxis[series.xAxisIndex || 0];
                    // The last value of a cell of a map is its shade.
                    const kept = values.length === 6 ? values.slice(0, 5) : values;
                    if (kept.slice(1).every(value => value === null)) return;
                    count++;
                    const found = parsed.some(row => kept.every((value, place) => {
                        if (value === null) return true;
                        if (place === 0 && axis.type === 'category') return row.texts.includes(String(axis.data[value]).trim());
                        const has = wanted => row.numbers.some(shown => near(shown, wanted));
                        // A second is drawn in its middle, and named by its beginning.
                        return has(value) || (place === 0 && value > 0 && has(value - 0.5)) || (value === 0.5 && has(0));
                    }));
                    if (!found && missing.length < 5) missing.push([series.name, series.type, kept]);
                });
            });
            all.push([figures[i].id, count, rows.length - 1, missing]);
            next(i + 1);
        });
    })(0);
";

#[test]
fn a_table_has_every_value_that_its_chart_draws() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    let mut charts = 0;
    for path in [
        "campaigns/quickstart",
        "campaigns/quickstart/2026-03-01T0900-ab12",
        "campaigns/02_pipeline",
        "benchmarks/BM-20260302-022",
        "benchmarks/BM-20260303-058",
        "trends/03_history",
        "diffs/quickstart/2026-03-02T0930-ab12",
        "diffs/03_history/2026-03-09T0900-ab12",
    ] {
        browser.open(&page(&site, path));
        drawn(&mut browser);
        let twins = browser.wait_for(TWINS);
        for twin in twins.as_array().expect("a list") {
            charts += 1;
            assert!(twin[1].as_u64() > Some(1) && twin[2].as_u64() > Some(1), "{path}: {twin}");
            assert_eq!(twin[3], json!([]), "{path}: {twin}");
        }
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
    }
    assert!(charts >= 30, "{charts}");
}

#[test]
fn bands_of_several_series_have_patterns_that_are_painted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    // Patterns of areas that are on the canvas, and how many pixels of each are painted.
    let patterns = "
        const view = echarts.getInstanceByDom(document.querySelector('#throughput .canvas'));
        return view.getZr().storage.getDisplayList(true)
            .filter(one => one.style && one.style.fill && one.style.fill.image)
            .map(one => {
                const image = one.style.fill.image, data = image.getContext('2d').getImageData(0, 0, image.width, image.height).data;
                let painted = 0;
                for (let i = 3; i < data.length; i += 4) if (data[i] > 0) painted++;
                return painted > 0 && painted < data.length / 4;
            })";
    browser.open(&page(&site, "campaigns/02_pipeline"));
    drawn(&mut browser);
    assert_eq!(browser.run(patterns), json!([true, true]));
    browser.open(&page(&site, "campaigns/quickstart"));
    drawn(&mut browser);
    assert_eq!(browser.run(patterns), json!([]), "one band needs no pattern");
}

#[test]
fn what_is_not_valid_is_hollow_and_in_no_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/quickstart"));
    drawn(&mut browser);
    let found = browser.run(
        "const option = echarts.getInstanceByDom(document.querySelector('#throughput .canvas')).getOption();
         const hollow = option.series.filter(one => one.name === 'invalid, failed or cancelled')[0];
         const line = option.series.filter(one => one.name === 'median')[0];
         const of = x => line.data.filter(item => item.value[0] === x)[0].note;
         return [hollow.itemStyle.color, hollow.data.map(item => item.value[0]), of(32).split(',')[0], of(16).split(',')[0], option.legend[0].data.includes(hollow.name)]",
    );
    // The third repetition at 32 clients was cancelled; that at 64 failed without a figure.
    assert_eq!(found, json!(["transparent", [32], "n = 2", "n = 3", true]));
}

#[test]
fn several_series_have_their_signs_on_their_own_lines() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/02_pipeline"));
    drawn(&mut browser);
    let signs = browser.run(
        "const option = echarts.getInstanceByDom(document.querySelector('#throughput .canvas')).getOption();
         return option.series.filter(one => one.sign && one.type === 'scatter').map(one => [one.name, one.data[0].name, one.data[0].value[0]])",
    );
    // Slots: four, and four times as many with a pipeline of four.
    let signs = signs.as_array().expect("a list").clone();
    assert!(!signs.is_empty(), "a knee is found in each series by construction");
    for sign in &signs {
        let (name, says) = (sign[0].as_str().expect("a name"), sign[1].as_str().expect("words"));
        assert!(says.starts_with(name) && says.contains("knee") && says.contains('['), "{sign}");
        let truth = if name.contains("= 1") || name.ends_with('1') { 4.0 } else { 16.0 };
        assert!((sign[2].as_f64().expect("a load") / truth - 1.0).abs() < 0.5, "{sign}");
    }
    // Off with its line.
    let visible = "
        const view = echarts.getInstanceByDom(document.querySelector('#throughput .canvas'));
        return view.getZr().storage.getDisplayList(true).filter(one => one.type === 'diamond' || (one.shape && one.shape.symbolType === 'diamond')).length";
    let before = browser.run(visible).as_u64().expect("a count");
    assert!(before >= signs.len() as u64, "{before}");
    let name = &signs[0][0];
    browser.run(&format!("echarts.getInstanceByDom(document.querySelector('#throughput .canvas')).dispatchAction({{ type: 'legendUnSelect', name: {name} }})"));
    assert!(browser.run(visible).as_u64() < Some(before));
}

/// The texts on the canvas of a chart, those of its tooltip among them.
fn texts(browser: &mut Browser, id: &str) -> String {
    let found = browser.wait_for(&format!(
        "const done = arguments[0];
         requestAnimationFrame(() => requestAnimationFrame(() => {{
             const view = echarts.getInstanceByDom(document.querySelector('#{id} .canvas'));
             done(view.getZr().storage.getDisplayList(true).filter(one => !one.ignore && !one.invisible && one.style && one.style.text).map(one => one.style.text).join('\\n'));
         }}))"
    ));
    found.as_str().expect("text").to_owned()
}

#[test]
fn a_tooltip_says_how_many_and_how_sure_and_cursors_are_linked() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/quickstart/2026-03-01T0900-ab12"));
    drawn(&mut browser);
    browser.run(
        "const view = echarts.getInstanceByDom(document.querySelector('#throughput .canvas'));
         const seriesIndex = view.getOption().series.findIndex(one => one.name === 'median');
         view.dispatchAction({ type: 'showTip', seriesIndex, dataIndex: 3 })",
    );
    let tip = texts(&mut browser, "throughput");
    assert!(tip.contains("n = 3") && tip.contains("95 %"), "{tip}");
    // The chart below stands at the same load.
    let below = texts(&mut browser, "latency");
    assert!(below.contains("n = 3"), "{below}");
}

#[test]
fn charts_are_saved_as_picture_drawing_and_table() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let site = site(folder.path());
    let mut browser = Browser::start();
    browser.open(&page(&site, "campaigns/02_pipeline"));
    drawn(&mut browser);
    browser.run(
        "window.saved = {};
         HTMLAnchorElement.prototype.click = function () { window.saved[this.download] = this.href; };
         document.querySelectorAll('#throughput .chart-tools button').forEach(button => button.click())",
    );
    until(&mut browser, "return Object.keys(window.saved).length === 3 || null");
    let names = browser.run("return Object.keys(window.saved).sort()");
    assert_eq!(names, json!(["throughput.csv", "throughput.png", "throughput.svg"]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let csv = browser.run("return decodeURIComponent(window.saved['throughput.csv'].split(',').slice(1).join(','))");
    let csv = csv.as_str().expect("text");
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 9, "{csv}");
    assert!(rows[0].starts_with("series,clients,median"), "{csv}");
    for row in &rows[1..] {
        let median: f64 = row.split(',').nth(2).expect("a median").parse().unwrap_or_else(|err| panic!("{row}: {err}"));
        assert!(median > 10.0, "{row}");
    }
    let svg = browser.run(
        "const text = decodeURIComponent(window.saved['throughput.svg'].split(',').slice(1).join(','));
         const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
         return [!parsed.querySelector('parsererror'), parsed.querySelectorAll('path').length > 10, parsed.querySelectorAll('script, [onload], foreignObject').length, text.includes('requests/s')]",
    );
    assert_eq!(svg, json!([true, true, 0, true]));
    let png = browser.wait_for(
        "const done = arguments[0], image = new Image(), box = document.querySelector('#throughput .canvas');
         image.onload = () => done([image.width / box.clientWidth, image.height / box.clientHeight]);
         image.onerror = () => done('broken');
         image.src = window.saved['throughput.png'];",
    );
    assert_eq!(png, json!([2, 2]));
}
