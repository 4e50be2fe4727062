//! The project's documentation as pages: Markdown without anything active in it.
//!
//! Raw HTML stands as text. Links lead to other pages of the documentation or to the web; others become plain text.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};
use rust_embed::Embed;
use serde::Serialize;

use super::{Link, Page};
use crate::render::File;

#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../docs"]
struct Docs;

/// Pages that stand outside `docs/` as well, since people look for them there.
const ALSO: [(&str, &str); 2] = [("metrics.md", "metrics"), ("cli.md", "cli")];

#[derive(Serialize)]
struct Context {
    title: String,
    text: String,
    /// All pages, this one without a link.
    pages: Vec<Link>,
    sections: Vec<Link>,
}

/// A document, read once.
struct Document {
    name: String,
    title: String,
    markdown: String,
}

pub fn pages() -> (Vec<Page>, Vec<File>) {
    let documents: Vec<Document> =
        Docs::iter().filter(|name| name.ends_with(".md")).filter_map(|name| read(&name)).collect();
    let names: BTreeMap<&str, &str> =
        documents.iter().map(|document| (document.name.as_str(), document.title.as_str())).collect();
    let mut pages = Vec::new();
    for document in &documents {
        let stem = document.name.trim_end_matches(".md");
        pages.push(page(document, &format!("docs/{stem}/index.html"), &names));
        for (_, folder) in ALSO.iter().filter(|(name, _)| *name == document.name) {
            pages.push(page(document, &format!("{folder}/index.html"), &names));
        }
    }
    let list = Document {
        name: String::new(),
        title: "Documentation".to_owned(),
        markdown: names
            .iter()
            .fold("# Documentation\n\n".to_owned(), |list, (name, title)| format!("{list}- [{title}]({name})\n")),
    };
    pages.push(page(&list, "docs/index.html", &names));
    let pictures = Docs::iter().filter(|name| name.ends_with(".svg"));
    let pictures = pictures.filter_map(|name| Some((format!("docs/{name}"), Docs::get(&name)?.data.into_owned())));
    (pages, pictures.collect())
}

/// The JSON Schema of recipes and campaigns, as `runner schema` prints it.
pub fn schema() -> Option<serde_json::Value> {
    serde_json::from_slice(&Docs::get("schema.json")?.data).ok()
}

fn read(name: &str) -> Option<Document> {
    let markdown = String::from_utf8(Docs::get(name)?.data.into_owned()).ok()?;
    let title = markdown.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(name).to_owned();
    Some(Document { name: name.to_owned(), title, markdown })
}

fn page(document: &Document, path: &str, names: &BTreeMap<&str, &str>) -> Page {
    let to_version = "../".repeat(path.matches('/').count());
    let (text, sections) = html(&document.markdown, &to_version, names);
    let all = names.iter().map(|(name, title)| Link {
        text: (*title).to_owned(),
        href: match *name == document.name {
            true => String::new(),
            false => format!("{to_version}docs/{}/index.html", name.trim_end_matches(".md")),
        },
    });
    let context = Context { title: document.title.clone(), text, pages: all.collect(), sections };
    Page::new(path.to_owned(), "doc.html", false, context)
}

/// HTML, and its sections of the second level.
fn html(markdown: &str, to_version: &str, names: &BTreeMap<&str, &str>) -> (String, Vec<Link>) {
    let mut events: Vec<Event<'_>> = Vec::new();
    let mut sections = Vec::new();
    let raw = |text: &str| Event::Html(CowStr::from(text.to_owned()));
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    // Where a heading begins, and its text.
    let mut heading: Option<(usize, HeadingLevel, String)> = None;
    let mut links: Vec<bool> = Vec::new();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for event in Parser::new_ext(markdown, options) {
        if let (Some((.., text)), Event::Text(part) | Event::Code(part)) = (&mut heading, &event) {
            text.push_str(part);
        }
        match event {
            Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
            Event::Start(Tag::Heading { level, .. }) => heading = Some((events.len(), level, String::new())),
            Event::End(TagEnd::Heading(level)) => {
                let Some((place, _, text)) = heading.take() else { continue };
                let id = anchor(&text);
                let count = ids.entry(id.clone()).and_modify(|count| *count += 1).or_insert(0);
                let id = if *count == 0 { id } else { format!("{id}-{count}") };
                events.insert(place, raw(&format!("<{level} id=\"{id}\">")));
                events.push(raw(&format!("</{level}>\n")));
                if level == HeadingLevel::H2 {
                    sections.push(Link { text, href: format!("#{id}") });
                }
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let href = target(&dest_url, to_version, names);
                links.push(href.is_some());
                events.extend(href.map(|href| raw(&format!("<a href=\"{}\">", escaped(&href)))));
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    events.push(raw("</a>"));
                }
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let plain = !dest_url.contains([':', '/', '\\']) && dest_url.ends_with(".svg");
                let source = if plain { escaped(&format!("{to_version}docs/{dest_url}")) } else { String::new() };
                events.push(raw(&format!("<figure><img src=\"{source}\" alt=\"\" loading=\"lazy\"><figcaption>")));
            }
            Event::End(TagEnd::Image) => events.push(raw("</figcaption></figure>")),
            Event::Start(Tag::Table(_)) => {
                events.push(raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">"));
                events.push(event);
            }
            Event::End(TagEnd::Table) => {
                events.push(event);
                events.push(raw("</div>"));
            }
            Event::Start(Tag::CodeBlock(_)) => events.push(raw("<pre tabindex=\"0\"><code>")),
            Event::End(TagEnd::CodeBlock) => events.push(raw("</code></pre>")),
            event => events.push(event),
        }
    }
    let mut out = String::with_capacity(markdown.len() * 2);
    push_html(&mut out, events.into_iter());
    // The content security policy allows no style in an element; an empty heading is no heading.
    let out =
        out.replace(" style=\"text-align: right\"", " class=\"number\"").replace(" style=\"text-align: center\"", "");
    let out = out.replace(" style=\"text-align: left\"", "").replace("<th></th>", "<td></td>");
    (out, sections)
}

/// Where a link of the documentation leads from a page; `None` for files that the site does not have.
fn target(link: &str, to_version: &str, names: &BTreeMap<&str, &str>) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').map_or((link, String::new()), |(file, id)| (file, format!("#{id}")));
    let file = file.strip_prefix("docs/").unwrap_or(file);
    names.contains_key(file).then(|| format!("{to_version}docs/{}/index.html{anchor}", file.trim_end_matches(".md")))
}

/// As GitHub makes them: lower case, spaces to hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect::<String>();
    if kept.is_empty() { "section".to_owned() } else { kept }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_inert_pages_with_anchors() {
        let names = BTreeMap::from([("slo.md", "Limits")]);
        let markdown = "# A `b`\n\n## A, b?\n\n## A b\n\n[x](slo.md#y) [z](../secret) [j](javascript:alert(1)) \
                        [w](https://example.org/?a&b) <script>alert(1)</script>\n";
        let (text, sections) = html(markdown, "../../", &names);
        for part in [
            "<h1 id=\"a-b\">",
            "<h2 id=\"a-b-1\">",
            "<h2 id=\"a-b-2\">",
            "<a href=\"../../docs/slo/index.html#y\">x</a>",
            " z ",
            " j ",
            "<a href=\"https://example.org/?a&amp;b\">",
            "&lt;script&gt;",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(sections.len(), 2);
        assert!(!text.contains("<script") && !text.contains("javascript"), "{text}");
    }
}
