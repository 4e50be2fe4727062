//! Feeds of regressions and improvements, badges and drawings to embed, and the list of pages for search engines.
//!
//! A site knows its own address only when it is told: links are absolute then, else relative to the file.

pub mod embeds;

use std::fmt::Write;

use anyhow::Result;
use serde_json::json;

use crate::{
    api::sentence,
    model::{
        Campaign, Model,
        diff::{Change, State},
        metric::Metric,
    },
    pages::{diffs, plural},
    plot::{
        BAD, BLUE, INK,
        canvas::{Across, Canvas, Text, Up, fitted, one_line},
    },
    relink::Places,
    render::File,
    text::{self, escaped, visible},
    units,
};

/// Entries of a feed, at most: the newest.
const MOST_ENTRIES: usize = 50;

/// Files of a version that others embed or read, those of single configurations aside. `address` is that of the version's
/// folder, with a slash at its end; empty when nobody knows it.
pub fn files(model: &Model<'_>, version: &str, address: &str, places: &Places) -> Vec<File> {
    let mut files = vec![
        ("feed.xml".to_owned(), atom(model, version, address, places).into_bytes()),
        ("feed.json".to_owned(), format!("{}\n", text::json(&json_feed(model, version, address, places))).into_bytes()),
    ];
    for campaign in &model.campaigns {
        files.push((format!("badges/{}.svg", campaign.slug), badge(model, campaign).into_bytes()));
        files.extend(
            sparkline(campaign).map(|svg| (format!("badges/{}-sparkline.svg", campaign.slug), svg.into_bytes())),
        );
    }
    files
}

/// The picture that links to the site are shown with: what is in it, and what is open.
pub fn card(model: &Model<'_>) -> Result<Vec<u8>> {
    const WIDTH: f64 = 1200.0;
    const HEIGHT: f64 = 630.0;
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let text =
        |size: f64, bold: bool, color| Text { size, bold, color, across: Across::Left, up: Up::Top, turned: false };
    let open = model.changes().iter().filter(|one| one.is_regression() && one.state == State::Stands).count();
    let lines = [
        format!(
            "{} of {}",
            plural(model.contents.benchmarks.len(), "benchmark"),
            plural(model.campaigns.len(), "campaign")
        ),
        match open {
            0 => "no regression open".to_owned(),
            open => format!("{} open", plural(open, "regression")),
        },
        model.campaigns.first().map_or_else(String::new, |campaign| format!("newest: {}", campaign.title())),
    ];
    canvas.rectangle((0.0, 0.0), (16.0, HEIGHT), BLUE);
    canvas.text("Benchmarks", (80.0, 90.0), text(84.0, true, INK));
    for (place, line) in lines.iter().enumerate() {
        let size = 44.0;
        let line = fitted(&one_line(line), WIDTH - 160.0, size, false);
        let color = if place == 1 && open > 0 { BAD } else { INK };
        canvas.text(&line, (80.0, 250.0 + 76.0 * place as f64), text(size, false, color));
    }
    canvas.png()
}

/// The changes, by the time of the execution that shows them, newest first.
fn newest<'m, 'a>(model: &'m Model<'a>) -> Vec<Change<'m, 'a>> {
    let mut all = model.changes();
    all.sort_by_key(|change| {
        std::cmp::Reverse(model.campaigns[change.diff.campaign].executions[change.diff.candidate].ended())
    });
    all.truncate(MOST_ENTRIES);
    all
}

fn word(change: &Change<'_, '_>) -> &'static str {
    if change.is_regression() { "regressed" } else { "improved" }
}

/// Name that stays the same in every version.
fn id(model: &Model<'_>, change: &Change<'_, '_>) -> String {
    let campaign = &model.campaigns[change.diff.campaign];
    let text = format!(
        "{} {} {} {}",
        campaign.name,
        campaign.executions[change.diff.candidate].key(),
        change.label,
        change.metric.metric.name()
    );
    format!("urn:sha256:{}", archive::sha256_hex(text.as_bytes()))
}

fn atom(model: &Model<'_>, version: &str, address: &str, places: &Places) -> String {
    let site = site_of(address, version);
    let address = escaped(address);
    let changes = newest(model);
    let updated = model.contents.benchmarks.iter().map(|benchmark| benchmark.run.ended_at).max();
    let updated = updated.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), |time| time.to_string());
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n\
         <title>Regressions and improvements</title>\n<id>urn:sha256:{}</id>\n<updated>{updated}</updated>\n\
         <author><name>sitegen</name></author>\n<subtitle>version {}</subtitle>\n\
         <link rel=\"alternate\" type=\"text/html\" href=\"{address}regressions/index.html\"/>\n\
         <link rel=\"self\" type=\"application/atom+xml\" href=\"{address}feed.xml\"/>\n",
        archive::sha256_hex(b"regressions and improvements"),
        escaped(version)
    );
    for change in &changes {
        let campaign = &model.campaigns[change.diff.campaign];
        let candidate = &campaign.executions[change.diff.candidate];
        // Writing to a String cannot fail.
        _ = write!(
            out,
            "<entry>\n<title>{}: {} {}</title>\n<id>{}</id>\n<updated>{}</updated>\n\
             <link rel=\"alternate\" type=\"text/html\" href=\"{}\"/>\n<summary>{}</summary>\n</entry>\n",
            escaped(campaign.title()),
            escaped(&sentence(change)),
            word(change),
            id(model, change),
            candidate.ended(),
            escaped(&diff_at(model, change, places, site)),
            escaped(&change.metric.reason),
        );
    }
    out.push_str("</feed>\n");
    out
}

fn json_feed(model: &Model<'_>, version: &str, address: &str, places: &Places) -> serde_json::Value {
    let changes = newest(model);
    let site = site_of(address, version);
    let items = changes.iter().map(|change| {
        let campaign = &model.campaigns[change.diff.campaign];
        let candidate = &campaign.executions[change.diff.candidate];
        json!({
            "id": id(model, change),
            "url": diff_at(model, change, places, site),
            "title": visible(&format!("{}: {} {}", campaign.title(), sentence(change), word(change))),
            "content_text": visible(&change.metric.reason),
            "date_published": candidate.ended(),
            "tags": [word(change), &visible(campaign.name)],
        })
    });
    json!({
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Regressions and improvements",
        "description": format!("version {version}"),
        "home_page_url": format!("{address}index.html"),
        "feed_url": format!("{address}feed.json"),
        "items": items.collect::<Vec<_>>(),
    })
}

/// The address of the folder of all versions, from that of one of them; else the way there from a file of the version.
fn site_of<'a>(address: &'a str, version: &str) -> &'a str {
    address.strip_suffix('/').and_then(|address| address.strip_suffix(version)).unwrap_or("../")
}

/// The page that a change stands on.
fn diff_at(model: &Model<'_>, change: &Change<'_, '_>, places: &Places, site: &str) -> String {
    let campaign = &model.campaigns[change.diff.campaign];
    let path = diffs::path(campaign, &campaign.executions[change.diff.candidate]);
    format!("{site}{}", places.get(&path).map_or("", String::as_str))
}

/// The pages of a site, by their paths from the folder of all versions; `address` is that folder's, with a slash at its
/// end: a list for search engines holds whole addresses.
pub fn sitemap<'p>(pages: impl Iterator<Item = &'p str>, address: &str) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n",
    );
    for page in pages {
        _ = writeln!(out, "<url><loc>{}{}</loc></url>", escaped(address), escaped(page));
    }
    out.push_str("</urlset>\n");
    out
}

/// What the newest execution is against the one before: `redis-scaling | regressed`.
fn badge(model: &Model<'_>, campaign: &Campaign<'_>) -> String {
    let diff = model.diff_of(campaign.newest());
    drawn_badge(campaign.name, diff.map(diffs::verdict_class))
}

/// `class` is that of a verdict; `None` when there is nothing to compare with.
fn drawn_badge(name: &str, class: Option<&str>) -> String {
    let (word, color) = match class {
        Some("regressed") => ("regressed", "#b3261e"),
        Some("improved") => ("improved", "#1a6b3c"),
        Some("same") => ("same", "#1a6b3c"),
        Some(_) => ("cannot tell", "#5c6268"),
        None => ("first run", "#5c6268"),
    };
    let name: String = visible(name).chars().take(40).collect();
    let width = |text: &str| 12.0 + 6.6 * text.chars().count() as f64;
    let (left, right) = (width(&name), width(word));
    let all = left + right;
    let name = escaped(&name);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all:.0}\" height=\"20\" viewBox=\"0 0 {all:.1} 20\" role=\"img\" \
         aria-label=\"{name}: {word}\" font-family=\"'DejaVu Sans',Verdana,sans-serif\" font-size=\"11\">\n\
         <title>{name}: {word}</title>\n<rect width=\"{all:.1}\" height=\"20\" rx=\"3\" fill=\"#1a1c1e\"/>\n\
         <path d=\"M{left:.1} 0H{edge:.1}a3 3 0 0 1 3 3V17a3 3 0 0 1-3 3H{left:.1}z\" fill=\"{color}\"/>\n\
         <text x=\"6\" y=\"14\" fill=\"#fff\" textLength=\"{name_width:.1}\" lengthAdjust=\"spacingAndGlyphs\">{name}</text>\n\
         <text x=\"{word_x:.1}\" y=\"14\" fill=\"#fff\" textLength=\"{word_width:.1}\" lengthAdjust=\"spacingAndGlyphs\">{word}</text>\n</svg>\n",
        edge = all - 3.0,
        name_width = left - 12.0,
        word_x = left + 6.0,
        word_width = right - 12.0,
    )
}

/// The most throughput of each execution, oldest first; `None` with fewer than two.
fn sparkline(campaign: &Campaign<'_>) -> Option<String> {
    let most = campaign.executions.iter().rev().filter_map(|execution| {
        let points = execution.sweep.series.iter().flat_map(|series| &series.points);
        points.filter_map(|point| point.median(Metric::Throughput)).reduce(f64::max)
    });
    drawn_sparkline(&format!("{}: most throughput", campaign.name), &most.collect::<Vec<f64>>())
}

/// Rates, the oldest first; `None` with fewer than two.
fn drawn_sparkline(what: &str, values: &[f64]) -> Option<String> {
    let highest = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 || highest <= 0.0 {
        return None;
    }
    let step = 112.0 / (values.len() - 1) as f64;
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(i, value)| format!("{:.1} {:.1}", 4.0 + step * i as f64, 26.0 - 22.0 * value / highest))
        .collect();
    let label =
        format!("{what} over {} executions, now {} requests/s", values.len(), units::number(values[values.len() - 1]));
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"120\" height=\"30\" viewBox=\"0 0 120 30\" role=\"img\">\n\
         <title>{}</title>\n<path d=\"M{}\" fill=\"none\" stroke=\"#0072b2\" stroke-width=\"1.75\" stroke-linejoin=\"round\"/>\n</svg>\n",
        escaped(&label),
        points.join("L")
    ))
}
