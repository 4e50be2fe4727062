//! An archive in which every text is an attack: the site must show it and nothing more.

#[path = "synthetic/hostile.rs"]
mod hostile;
#[path = "../src/html.rs"]
mod html;
#[path = "synthetic/archive.rs"]
mod synthetic;

use std::{collections::BTreeSet, fs, path::Path};

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

    let mut pages = 0;
    let (mut seen, mut drawings) = (0, 0);
    visit(&folder.path().join("site"), &mut |path, text| {
        if path.extension().is_some_and(|extension| extension == "html") {
            pages += 1;
            seen += text.matches("alert(").count();
            tags(text).iter().for_each(|tag| assert_inert(path, tag));
        } else if path.extension().is_some_and(|extension| extension == "xml") {
            assert!(!text.to_lowercase().contains("<script") && !text.contains('\u{1b}'), "{}: {text}", path.display());
        } else if path.extension().is_some_and(|extension| extension == "svg") {
            // The documentation's pictures are ours.
            if path.parent().is_some_and(|folder| folder.ends_with("docs")) {
                return;
            }
            drawings += 1;
            for tag in tags(text) {
                assert!(SHAPES.contains(&tag.name.as_str()), "{}: {tag:?}", path.display());
                let active = |name: &str| name.starts_with("on") || ["href", "xlink:href", "style"].contains(&name);
                assert!(!tag.attributes.iter().any(|(name, _)| active(name)), "{}: {tag:?}", path.display());
            }
        } else if path.extension().is_some_and(|extension| extension == "js") {
            assert!(!text.contains('<'), "{}: {text}", path.display());
        }
    });
    assert!(drawings > 50, "{drawings} drawings");
    assert!(
        pages > 10 && seen > 100,
        "{pages} pages, {seen} attacks: the texts must reach the pages for this to count"
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
