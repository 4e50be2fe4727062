//! A reader of the tags in HTML, enough to check pages: elements, attributes, raw text of scripts.
//!
//! It follows the tokeniser of the HTML standard where a mistake would hide something: quotes, comments, and the end of
//! scripts. It builds no tree.

/// One opening tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tag {
    /// Lower case.
    pub name: String,
    /// Names in lower case; values with their character references resolved.
    pub attributes: Vec<(String, String)>,
    /// What stands between `<script>` and `</script>`, or `<style>` and `</style>`.
    pub raw_text: String,
}

impl Tag {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All opening tags of a document, in order.
pub fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(place) = rest.find('<') {
        rest = &rest[place + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            continue;
        }
        let (mut tag, after) = read_tag(rest);
        rest = after;
        if matches!(tag.name.as_str(), "script" | "style" | "title" | "textarea") {
            let end = find_end(rest, &tag.name);
            tag.raw_text = rest[..end].to_owned();
            rest = &rest[end..];
        }
        tags.push(tag);
    }
    tags
}

/// Where the end tag of an element with raw text begins.
fn find_end(text: &str, name: &str) -> usize {
    let lower = text.to_ascii_lowercase();
    let end = format!("</{name}");
    let mut from = 0;
    while let Some(place) = lower[from..].find(&end).map(|place| place + from) {
        let after = lower.as_bytes().get(place + end.len());
        if after.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/')) {
            return place;
        }
        from = place + end.len();
    }
    text.len()
}

fn read_tag(text: &str) -> (Tag, &str) {
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').unwrap_or(text.len());
    let mut tag = Tag { name: text[..end].to_ascii_lowercase(), ..Tag::default() };
    let mut rest = &text[end..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return (tag, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (tag, after);
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(rest.len());
        // A stray `=` begins a name.
        let end = if end == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { end };
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let (found, remaining) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let end = after[1..].find(quote).map_or(after.len() - 1, |end| end);
                    (&after[1..1 + end], after.get(end + 2..).unwrap_or(""))
                }
                _ => {
                    let end = after.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(after.len());
                    (&after[..end], &after[end..])
                }
            };
            (value, rest) = (found, remaining);
        }
        tag.attributes.push((name, unescape(value)));
    }
}

/// Resolves the character references that our templates write.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    let references = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#x2F;", "/"),
        ("&amp;", "&"),
    ];
    for (reference, character) in references {
        plain = plain.replace(reference, character);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_browser_reads() {
        let html = r#"<!doctype html><!-- <a href="no"> --><A HREF='x"y' data-n=1 hidden>1 < 2</a>
            <script type="application/json">{"a": "<b>"}</script foo><img src="a&amp;b"/><p title="a>b">"#;
        let found = tags(html);
        let names: Vec<_> = found.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["a", "script", "img", "p"]);
        assert_eq!(found[0].attribute("href"), Some("x\"y"));
        assert_eq!((found[0].attribute("data-n"), found[0].attribute("hidden")), (Some("1"), Some("")));
        assert_eq!(found[1].raw_text, "{\"a\": \"<b>\"}");
        assert_eq!(found[2].attribute("src"), Some("a&b"));
        assert_eq!(found[3].attribute("title"), Some("a>b"));
    }

    #[test]
    fn ends_on_anything() {
        for html in ["<", "<a", "<a href", "<a href=", "<a href=\"", "<!--", "<script>x", "<a =x>", "</"] {
            tags(html);
        }
    }
}
