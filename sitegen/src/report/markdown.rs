//! Markdown: texts of the archive escaped so that they stand as they are, and tables. CommonMark with GitHub's tables.

use std::fmt::Write;

use crate::{plot::canvas::one_line, text::visible};

/// Characters that mean something to Markdown, or to an extension of it, wherever they stand.
const SPECIAL: &str = "\\`*_[]<>|~&$";

/// Characters that mean something at the beginning of a line.
const LEADING: &str = "#+-=:";

/// A text of the archive as a piece of one line.
pub fn escaped(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len() + 8);
    let mut only_digits = true;
    for (place, c) in text.char_indices() {
        let rest = &text[place + c.len_utf8()..];
        // `1. ` would begin a list, `://` and `www.` a link.
        let begins_list = only_digits && matches!(c, '.' | ')') && (rest.is_empty() || rest.starts_with(' '));
        let begins_link =
            c == ':' && rest.starts_with("//") || c == '.' && text[..place].to_ascii_lowercase().ends_with("www");
        if SPECIAL.contains(c) || (place == 0 && LEADING.contains(c)) || begins_list || begins_link {
            out.push('\\');
        }
        only_digits &= c.is_ascii_digit();
        out.push(c);
    }
    out
}

/// A document that grows by blocks.
#[derive(Default)]
pub struct Document(String);

impl Document {
    /// `text` is Markdown.
    pub fn heading(&mut self, level: usize, text: &str) {
        self.block(&format!("{} {text}", "#".repeat(level)));
    }

    /// `text` is Markdown.
    pub fn block(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    /// Items are Markdown of one line.
    pub fn list(&mut self, items: impl IntoIterator<Item = String>) {
        let items: String = items.into_iter().map(|item| format!("- {item}\n")).collect();
        if !items.is_empty() {
            self.block(&items);
        }
    }

    /// Cells are Markdown of one line; numbers stand right. Nothing for no rows.
    pub fn table(&mut self, columns: &[(&str, bool)], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        _ = writeln!(out, "| {} |", names.join(" | "));
        let rule: Vec<&str> = columns.iter().map(|(_, numeric)| if *numeric { "---:" } else { "---" }).collect();
        _ = writeln!(out, "| {} |", rule.join(" | "));
        for row in rows {
            _ = writeln!(out, "| {} |", row.join(" | "));
        }
        self.block(&out);
    }

    /// Also what stands in blocks of code is for eyes, not for a terminal to act on.
    pub fn finish(self) -> String {
        visible(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_archive_mean_nothing() {
        for (text, expected) in [
            ("plain text, 12 %", "plain text, 12 %"),
            ("a|b\n# c", "a\\|b # c"),
            ("# c", "\\# c"),
            ("99.3 ms", "99.3 ms"),
            ("see http://x.org, WWW.x.org", "see http\\://x.org, WWW\\.x.org"),
            ("<img src=x>", "\\<img src=x\\>"),
            ("1. item", "1\\. item"),
            ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
