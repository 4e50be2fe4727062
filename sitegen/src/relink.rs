//! Links as pages are written with → links as they are stored: pages link as if a version held every page; most of them
//! stand once for all versions, in objects.
//!
//! Only attributes of tags, and the field `href` of data in scripts, are links. Texts of the archive stand in neither:
//! they are escaped.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::render::script_json;

/// Stands for the folder of the page's own version, or of its own object.
const OWN: &str = "@";

/// Path within a version → where it is, from the folder of all versions.
pub type Places = BTreeMap<String, String>;

/// Attributes that hold paths.
const ATTRIBUTES: [&str; 6] = ["href", "src", "data-src", "data-rows", "data-to", "data-to-site"];

/// What the links of a page go by.
#[derive(Clone, Copy)]
pub struct Links<'a> {
    /// What stands in objects.
    pub places: &'a Places,
    /// Of a page in an object: begins of paths within a version, and what they become in the object's folder; the first
    /// that fits. Links from objects to pages of versions lead to the latest.
    pub layout: Option<&'a [(String, String)]>,
}

impl Links<'_> {
    /// The name within the object of what a version would hold at `path`.
    pub fn name_in_object(&self, path: &str) -> Option<String> {
        let (start, name) = self.layout?.iter().find(|(start, _)| path.starts_with(start))?;
        Some(format!("{name}{}", &path[start.len()..]))
    }

    /// From the folder of all versions.
    fn place(&self, path: &str) -> String {
        if let Some(name) = self.name_in_object(path) {
            return format!("{}/{OWN}/{name}", crate::objects::FOLDER);
        }
        match (self.places.get(path), self.layout) {
            (Some(place), _) => place.clone(),
            (None, Some(_)) => format!("latest/{path}"),
            (None, None) => format!("{OWN}/{path}"),
        }
    }

    /// A page with its links as they are stored. `path` is the page's within a version.
    pub fn html(&self, html: &str, path: &str) -> String {
        let mut out = String::with_capacity(html.len() + html.len() / 16);
        let mut rest = html;
        while let Some(start) = rest.find('<') {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = end_of_tag(rest);
            let tag = &rest[..end];
            rest = &rest[end..];
            self.tag(tag, path, &mut out);
            if tag.starts_with("<script") {
                let end = rest.find("</script").unwrap_or(rest.len());
                out.push_str(&self.data(&rest[..end], path));
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        out
    }

    /// The same of a script with data of the page.
    pub fn data(&self, script: &str, path: &str) -> String {
        const FIELD: &str = "\"href\":\"";
        if let Some(rows) = self.rows(script, path) {
            return rows;
        }
        let mut out = String::with_capacity(script.len());
        let mut rest = script;
        while let Some(start) = rest.find(FIELD).map(|start| start + FIELD.len()) {
            let end = rest[start..].find('"').map_or(rest.len(), |length| start + length);
            out.push_str(&rest[..start]);
            out.push_str(&self.link(&rest[start..end], path));
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    /// The rows of a long table: of a cell its text, or a list of text, link, and more.
    fn rows(&self, script: &str, path: &str) -> Option<String> {
        let start = script.strip_prefix("siteRows(").and_then(|_| script.find(", ["))? + 2;
        let end = script.rfind(");")?;
        let mut rows: Vec<Vec<Value>> = serde_json::from_str(&script[start..end]).ok()?;
        for link in rows.iter_mut().flatten().filter_map(|cell| cell.get_mut(1)) {
            if let Some(there) = link.as_str().map(|link| self.link(link, path)) {
                *link = there.into();
            }
        }
        Some(format!("{}{}{}", &script[..start], script_json(&json!(rows)), &script[end..]))
    }

    fn tag(&self, tag: &str, path: &str, out: &mut String) {
        let is_card = tag.contains("\"og:image\"");
        let mut rest = tag;
        while let Some(quote) = rest.find("=\"") {
            let name = rest[..quote].rsplit([' ', '\n']).next().unwrap_or_default();
            let start = quote + 2;
            let end = rest[start..].find('"').map_or(rest.len(), |length| start + length);
            out.push_str(&rest[..start]);
            match ATTRIBUTES.contains(&name) || (is_card && name == "content") {
                true => out.push_str(&self.link(&rest[start..end], path)),
                false => out.push_str(&rest[start..end]),
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
    }

    fn link(&self, link: &str, path: &str) -> String {
        let plain = link.replace("&#x2F;", "/");
        let (target, state) = plain.split_at(plain.find(['#', '?']).unwrap_or(plain.len()));
        let has_scheme = target.split('/').next().is_some_and(|first| first.contains(':'));
        if target.is_empty() || has_scheme || target.starts_with('/') {
            return link.to_owned();
        }
        let Some(resolved) = resolve(&format!("{OWN}/{path}"), target) else { return link.to_owned() };
        let place = match resolved.strip_prefix(OWN).and_then(|within| within.strip_prefix('/')) {
            Some(within) => self.place(within),
            None => resolved,
        };
        format!("{}{state}", relative(&self.place(path), &place))
    }
}

/// Behind the tag that the text begins with.
fn end_of_tag(text: &str) -> usize {
    let mut quoted = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'>' if !quoted => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// The target of a relative link, from the folder that `page` is named from; `None` when it leads above it.
pub fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The link that leads from one file to another, both named from the same folder.
fn relative(from: &str, to: &str) -> String {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    let folders = from.len() - 1;
    let shared = from[..folders].iter().zip(&to[..to.len() - 1]).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; folders - shared];
    parts.extend(&to[shared..]);
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_long_tables_keep_their_links() {
        let places = Places::from([("benchmarks/B/index.html".to_owned(), "o/B.1/index.html".to_owned())]);
        let script = "siteRows(\"a\", 1, [[[\"1\",null,1.0,\"\"],[\"../x\",\"../benchmarks/B/index.html\",null,\"bad\"],\"../x\"]]);\n";
        let links = Links { places: &places, layout: None };
        let expected = script.replace("../benchmarks/B", "../../o/B.1");
        assert_eq!(links.data(script, "c/index.html"), expected);
    }

    #[test]
    fn links_lead_to_where_things_are_stored() {
        let places = Places::from([("benchmarks/B/index.html".to_owned(), "o/B.1/index.html".to_owned())]);
        let layout = [("diffs/c/e/", ""), ("data/diffs-c-e-", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let version = Links { places: &places, layout: None };
        let object = Links { places: &places, layout: Some(&layout) };
        for (links, page, link, expected) in [
            (version, "index.html", "benchmarks/B/index.html", "../o/B.1/index.html"),
            (version, "a/index.html", "../benchmarks/B/index.html#?x=1", "../../o/B.1/index.html#?x=1"),
            (version, "a/index.html", "../index.html", "../index.html"),
            (version, "a/index.html", "#there", "#there"),
            (version, "a/index.html", "https://example.org/../x", "https://example.org/../x"),
            (version, "a/index.html", "..&#x2F;b&#x2F;index.html", "../b/index.html"),
            (version, "a/index.html", "../../../out", "../../../out"),
            (object, "diffs/c/e/index.html", "../../../benchmarks/B/index.html", "../B.1/index.html"),
            (object, "diffs/c/e/index.html", "../../../data/diffs-c-e-x.svg", "x.svg"),
            (object, "diffs/c/e/index.html", "../../../index.html", "../../latest/index.html"),
            (object, "diffs/c/e/index.html", "../../../../assets/x.css", "../../assets/x.css"),
            (object, "diffs/c/e/index.html", "../../../../", "../../"),
        ] {
            let html = format!("<p title=\"{link}\">href=\"{link}\"<a\nclass=\"x\" href=\"{link}\">");
            let expected_html = format!("<p title=\"{link}\">href=\"{link}\"<a\nclass=\"x\" href=\"{expected}\">");
            assert_eq!(links.html(&html, page), expected_html);
            let data = format!("[\"{link}\",{{\"href\":\"{link}\",\"x\":\"\\\"href\\\":\\\"../y\\\"\"}}]");
            let html = links.html(&format!("<script type=\"a\">{data}</script><p>"), page);
            assert_eq!(
                html,
                format!(
                    "<script type=\"a\">{}</script><p>",
                    data.replace(&format!("\"href\":\"{link}\""), &format!("\"href\":\"{expected}\""))
                )
            );
        }
    }
}
