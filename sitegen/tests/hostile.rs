//! An archive in which every text is an attack: the site must show it and nothing more.

#[path = "synthetic/hostile.rs"]
mod hostile;
#[path = "../src/html.rs"]
mod html;
#[path = "synthetic/archive.rs"]
mod synthetic;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use assert_cmd::cargo::cargo_bin_cmd;
use html::{Tag, tags};

/// Elements that our templates write, and no others.
const ELEMENTS: [&str; 60] = [
    "a",
    "article",
    "body",
    "br",
    "button",
    "code",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "datalist",
    "em",
    "form",
    "h4",
    "noscript",
    "rect",
    "hr",
    "del",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "img",
    "input",
    "label",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "ol",
    "option",
    "output",
    "p",
    "path",
    "pre",
    "script",
    "section",
    "select",
    "small",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
    "b",
];

/// Elements of our drawings.
const SHAPES: [&str; 6] = ["svg", "title", "rect", "path", "circle", "text"];

#[test]
fn every_text_of_the_archive_is_inert() {
    let folder = tempfile::tempdir().expect("temporary folder");
    hostile::write(&folder.path().join("results"));
    let mut build = cargo_bin_cmd!("sitegen");
    build.current_dir(folder.path()).args(["build", "--version", "v"]).assert().success();
    cargo_bin_cmd!("sitegen").current_dir(folder.path()).arg("check").assert().success();

    let payloads = hostile::payloads::payloads();
    assert!(payloads.len() >= 60);
    // A piece of each that stands in a page as it is, to be sure that it came that far.
    let mut unseen: BTreeSet<String> = payloads.iter().map(|text| mark_of(text)).collect();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut drawings = 0;
    let site = folder.path().join("site");
    visit(&site, &mut |path, text| {
        let name = path.strip_prefix(&site).expect("below the site").display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        // The sealed bytes, and a report for programs, are what was archived.
        let is_exact = ["run.json", "summary.json", "report.json"].iter().any(|end| name.ends_with(end));
        assert!(is_exact || !text.chars().any(is_hidden), "{name}: {:?}", text.chars().find(|c| is_hidden(*c)));
        match extension {
            "html" => {
                *kinds.entry(kind_of(&name)).or_insert(0) += 1;
                assert_policy(&name, text);
                tags(text).iter().for_each(|tag| assert_inert(path, tag));
                unseen.retain(|mark| !text.contains(mark.as_str()));
            }
            "xml" => assert!(!text.to_lowercase().contains("<script"), "{name}: {text}"),
            // The documentation's pictures are ours.
            "svg" if path.parent().is_some_and(|folder| folder.ends_with("docs")) => {}
            "svg" => {
                drawings += 1;
                for tag in tags(text) {
                    assert!(SHAPES.contains(&tag.name.as_str()), "{name}: {tag:?}");
                    let active = |name: &str| name.starts_with("on") || ["href", "xlink:href", "style"].contains(&name);
                    assert!(!tag.attributes.iter().any(|(name, _)| active(name)), "{name}: {tag:?}");
                }
            }
            "json" => {
                serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|err| panic!("{name}: {err}"));
            }
            "js" => assert!(!text.contains('<'), "{name}: {text}"),
            _ => {}
        }
    });
    assert_eq!(unseen, BTreeSet::new(), "attacks that no page shows");
    assert!(drawings > 200, "{drawings} drawings");
    for (kind, least) in [
        ("benchmark index.html", 100),
        ("benchmark report.html", 100),
        ("execution index.html", 17),
        ("execution report.html", 17),
        ("diff index.html", 8),
        ("campaign index.html", 9),
        ("campaign trend.html", 8),
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= least), "{kind}: {kinds:?}");
    }
}

/// Letters and figures of an attack that no escaping changes.
fn mark_of(payload: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '(' | ')' | '.');
    let parts = payload.split(|c: char| !plain(c));
    parts.max_by_key(|part| part.len().min(400)).unwrap_or_default().to_owned()
}

/// Characters that act on a terminal or on the direction of reading; ours is written out, line ends aside.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What the object of a page is, and which of its pages: `benchmark index.html`.
fn kind_of(name: &str) -> String {
    let Some((object, page)) = name.strip_prefix("o/").and_then(|rest| rest.split_once('/')) else {
        return "version".to_owned();
    };
    let object = match object {
        _ if object.starts_with("BM-") => "benchmark",
        _ if object.contains(".diff.") => "diff",
        _ if object.contains(".campaign.") => "campaign",
        _ if object.starts_with("docs.") || object.starts_with("run.") => "docs",
        _ => "execution",
    };
    format!("{object} {page}")
}

/// The policy stands before anything that it has to judge, and allows nothing but files of the site.
fn assert_policy(name: &str, text: &str) {
    let all = tags(text);
    let place = all.iter().position(|tag| tag.attribute("http-equiv") == Some("Content-Security-Policy"));
    let place = place.unwrap_or_else(|| panic!("{name} has no policy"));
    let before: Vec<&str> = all[..place].iter().map(|tag| tag.name.as_str()).collect();
    assert!(before.iter().all(|tag| ["html", "head", "meta"].contains(tag)), "{name}: {before:?}");
    let policy = all[place].attribute("content").expect("a policy");
    let expected = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'";
    assert!(policy == expected || policy == "default-src 'none'", "{name}: {policy}");
    assert_eq!(
        all.iter().filter(|tag| tag.attribute("http-equiv").is_some()).count(),
        if policy == expected { 1 } else { 2 },
        "{name}"
    );
}

fn assert_inert(path: &Path, tag: &Tag) {
    let place = format!("{}: {tag:?}", path.display());
    assert!(ELEMENTS.contains(&tag.name.as_str()), "{place}");
    let names: BTreeSet<&str> = tag.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.iter().any(|name| name.starts_with("on") || *name == "style" || *name == "srcdoc"), "{place}");
    if tag.name == "img" {
        let source = tag.attribute("src").expect("a source").trim_start_matches("../");
        let is_beside = !source.contains('/') || ["plots/", "data/", "docs/"].iter().any(|f| source.starts_with(f));
        assert!(is_beside && source.ends_with(".svg"), "{place}");
    }
    for attribute in ["href", "src", "data-src", "content"] {
        let Some(value) = tag.attribute(attribute) else { continue };
        // What a page is called for those who link to it is a text; the rest of what a `meta` says may be acted on.
        if attribute == "content" && matches!(tag.attribute("property"), Some("og:title" | "og:description")) {
            continue;
        }
        // The documentation, which is ours, leads to the web.
        let of_docs =
            ["docs", "cli", "metrics"].iter().any(|name| path.ancestors().any(|folder| folder.ends_with(name)));
        assert!(!value.contains("javascript:") && (of_docs || !value.contains("://")), "{place}");
    }
    if tag.name == "script" {
        match tag.attribute("type") {
            Some("application/json") => {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&tag.raw_text);
                assert!(parsed.is_ok(), "{place}");
            }
            _ => assert!(tag.raw_text.is_empty() && tag.attribute("src").is_some(), "{place}"),
        }
    }
}

fn visit(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            // What builds keep for themselves is not read by anybody.
            true if path.ends_with(".cache") => {}
            true => visit(&path, look),
            false if path.parent().is_some_and(|folder| folder.ends_with("assets")) => {}
            false if path.extension().is_some_and(|extension| extension == "png") => {}
            false => look(&path, &fs::read_to_string(&path).expect("text")),
        }
    }
}
