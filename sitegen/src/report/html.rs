//! A report's Markdown as HTML for its page: the same text, with the theme's tables and vector graphics.
//!
//! Nothing in it is active: raw HTML stands as text, links are left out, pictures come from `plots/` only.

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use crate::text::visible;

/// Rows of a table on the page, and letters of all of it; the report itself has all of them.
const MOST_ROWS: usize = 60;
const MOST_LETTERS: usize = 80_000;

/// `markdown` is a report's.
pub fn html(markdown: &str) -> String {
    let mut options = Options::empty();
    options.insert(Options::ENABLE_TABLES);
    let mut events: Vec<Event<'_>> = Vec::new();
    let raw = |text: &str| Event::Html(CowStr::from(text.to_owned()));
    let mut alignments: Vec<Alignment> = Vec::new();
    let mut column = 0;
    // Where the head of the table began, and whether a cell of it says anything.
    let mut head: Option<(usize, bool)> = None;
    // The words of a picture are an attribute.
    let mut picture: Option<(String, String)> = None;
    let mut rows = 0;
    let (mut letters, mut depth) = (0, 0);
    for event in Parser::new_ext(markdown, options) {
        let event = match event {
            Event::Text(text) => Event::Text(visible(&text).into_owned().into()),
            Event::Code(text) => Event::Code(visible(&text).into_owned().into()),
            event => event,
        };
        match &event {
            Event::Start(_) if depth == 0 && letters > MOST_LETTERS => {
                events.push(raw("<p class=\"note\">The rest is in report.md.</p>\n"));
                break;
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(text) | Event::Code(text) if rows <= MOST_ROWS => letters += text.len() + 20,
            _ => {}
        }
        match &event {
            Event::Start(Tag::Table(_)) => rows = 0,
            Event::Start(Tag::TableRow) => rows += 1,
            Event::End(TagEnd::Table) if rows > MOST_ROWS => {
                let more = rows - MOST_ROWS;
                rows = 0;
                events.push(raw(&format!(
                    "</tbody></table></div>\n<p class=\"note\">{more} more rows are in report.md.</p>\n"
                )));
                continue;
            }
            _ => {}
        }
        if rows > MOST_ROWS {
            continue;
        }
        if let Some((_, alt)) = &mut picture {
            match &event {
                Event::Text(text) | Event::Code(text) | Event::InlineHtml(text) => alt.push_str(text),
                Event::End(TagEnd::Image) => {}
                _ => continue,
            }
        }
        if let (Some((_, says)), Event::Text(_) | Event::Code(_)) = (&mut head, &event) {
            *says = true;
        }
        match event {
            Event::Text(_) | Event::Code(_) | Event::InlineHtml(_) if picture.is_some() => {}
            Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => {}
            Event::Start(Tag::Image { dest_url, .. }) => picture = Some((dest_url.to_string(), String::new())),
            Event::End(TagEnd::Image) => {
                if let Some((source, alt)) = picture.take().filter(|(source, _)| source.starts_with("plots/")) {
                    let (source, alt) = (escaped(&source), escaped(&alt));
                    events
                        .push(raw(&format!("<img class=\"picture\" src=\"{source}\" alt=\"{alt}\" loading=\"lazy\">")));
                }
            }
            Event::Start(Tag::Table(of)) => {
                alignments = of;
                events.push(raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>\n"));
            }
            Event::End(TagEnd::Table) => events.push(raw("</tbody></table></div>\n")),
            Event::Start(Tag::TableHead) => {
                column = 0;
                head = Some((events.len(), false));
                events.push(raw("<thead><tr>"));
            }
            Event::End(TagEnd::TableHead) => {
                events.push(raw("</tr></thead>"));
                if let Some((start, false)) = head.take() {
                    events.truncate(start);
                }
                events.push(raw("<tbody>\n"));
            }
            Event::Start(Tag::TableRow) => {
                column = 0;
                events.push(raw("<tr>"));
            }
            Event::End(TagEnd::TableRow) => events.push(raw("</tr>\n")),
            Event::Start(Tag::TableCell) => {
                let is_number = alignments.get(column) == Some(&Alignment::Right);
                let class = if is_number { " class=\"number\"" } else { "" };
                events.push(raw(&match head.is_some() {
                    true => format!("<th scope=\"col\"{class}>"),
                    false => format!("<td{class}>"),
                }));
            }
            Event::End(TagEnd::TableCell) => {
                column += 1;
                events.push(raw(if head.is_some() { "</th>" } else { "</td>" }));
            }
            event => events.push(event),
        }
    }
    let mut out = String::with_capacity(markdown.len() * 2);
    push_html(&mut out, events.into_iter());
    // An empty heading is no heading.
    out.replace("<th scope=\"col\"></th>", "<td></td>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_pictures_and_nothing_active() {
        let markdown = "# t\n\n|  |  |\n| --- | ---: |\n| a | 1 |\n\n| h |\n| --- |\n| b |\n\n![\"x\" <y>](plots/a.svg)\n\n\
                        ![x](https://example.org/a.png)\n\n[x](javascript:alert\\(1\\)) <script>alert(1)</script>\n";
        let out = html(markdown);
        assert!(out.contains("<table>\n<tbody>\n<tr><td>a</td><td class=\"number\">1</td></tr>"), "{out}");
        assert!(out.contains("<thead><tr><th scope=\"col\">h</th></tr></thead><tbody>"), "{out}");
        assert!(out.contains("src=\"plots/a.svg\" alt=\"&quot;x&quot; &lt;y&gt;\""), "{out}");
        let names: Vec<String> = crate::html::tags(&out).into_iter().map(|tag| tag.name).collect();
        assert!(!names.iter().any(|name| name == "script" || name == "a"), "{out}");
        assert!(!out.contains("example.org") && !out.contains("javascript"), "{out}");
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let rows: String = (0..110).map(|i| format!("| {i} | x |\n")).collect();
        let out = html(&format!("| n | t |\n| ---: | --- |\n{rows}\nafter\n\n| a |\n| --- |\n| b |\n"));
        assert_eq!(out.matches("<tr>").count(), 1 + 60 + 2, "{out}");
        assert!(out.contains("<td class=\"number\">59</td>") && !out.contains(">60<"), "{out}");
        assert!(out.contains("50 more rows are in report.md.") && out.contains("<p>after</p>"), "{out}");
    }

    #[test]
    fn a_long_report_ends_with_where_the_rest_is() {
        let out = html(&format!("{}# last\n", format!("{}\n\n", "x".repeat(10_000)).repeat(20)));
        assert_eq!(out.matches("<p>").count(), 8, "{}", out.len());
        assert!(out.ends_with("<p class=\"note\">The rest is in report.md.</p>\n") && !out.contains("last"));
        assert!(html("a\u{202e}b `\u{1b}[2J`").contains("a⟨U+202E⟩b <code>␛[2J</code>"));
    }
}
