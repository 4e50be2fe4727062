//! What is wrong with a recipe or campaign, where, and the cure.
//!
//! Findings are gathered, never thrown: a person sees all of them at once, in the order of the text. A text
//! is a file, or an option of the command line.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use serde_json::{Value, json};

/// Longest piece of a source line that is shown under a finding, in characters.
const SHOWN_CHARACTERS: usize = 120;

/// A place in one of the texts: `line` and `column` count from 1, `column` and `width` in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub source: usize,
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be run.
    Error,
    /// It can, but a person should know.
    Note,
}

/// One thing that is wrong. Ordered by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub span: Span,
    pub severity: Severity,
    /// Dotted path of the field, for example `service.settings.maxmemory`; empty for the text as a whole.
    pub path: String,
    /// What is wrong, what was expected, and the cure.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

/// A text that findings point into.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file as named by whoever named it, or the option as typed.
    pub name: String,
    pub text: Arc<str>,
    /// An option has no lines worth showing.
    pub option: bool,
}

/// All findings of one reading, and the texts they point into.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    sources: Vec<Source>,
    found: BTreeSet<Finding>,
}

impl Findings {
    /// Adds a text; its number goes into [`Span::source`].
    pub fn add_source(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>, option: bool) -> usize {
        self.sources.push(Source { name: name.into(), text: text.into(), option });
        self.sources.len() - 1
    }

    pub fn source(&self, number: usize) -> &Source {
        &self.sources[number]
    }

    pub fn error(&mut self, span: Span, path: impl Into<String>, message: impl Into<String>) {
        self.add(Finding {
            span,
            severity: Severity::Error,
            path: path.into(),
            message: message.into(),
            suggestion: None,
        });
    }

    pub fn note(&mut self, span: Span, path: impl Into<String>, message: impl Into<String>) {
        self.add(Finding {
            span,
            severity: Severity::Note,
            path: path.into(),
            message: message.into(),
            suggestion: None,
        });
    }

    /// Adds a finding; one that is there already (another point of the sweep has it too) is not repeated.
    pub fn add(&mut self, finding: Finding) {
        self.found.insert(finding);
    }

    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// The number of findings that are errors.
    pub fn errors(&self) -> usize {
        self.found.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// Leaves the errors. Notes are for what can run.
    pub fn drop_notes(&mut self) {
        self.found.retain(|finding| finding.severity == Severity::Error);
    }

    /// In order of the texts, then of lines and columns.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter()
    }

    /// One JSON object a finding: `file`, `line`, `column`, `severity`, `path`, `message`, `suggestion`.
    pub fn to_json(&self, finding: &Finding) -> Value {
        json!({
            "file": self.source(finding.span.source).name,
            "line": finding.span.line,
            "column": finding.span.column,
            "severity": match finding.severity { Severity::Error => "error", Severity::Note => "note" },
            "path": finding.path,
            "message": finding.message,
            "suggestion": finding.suggestion,
        })
    }

    /// The finding for people: `file:line:column: path: message`, the line, and a caret under the place.
    pub fn render(&self, finding: &Finding) -> String {
        let source = self.source(finding.span.source);
        let Span { line, column, width, .. } = finding.span;
        let mut out = printable(&source.name);
        if !source.option {
            let _ = write!(out, ":{line}:{column}");
        }
        if finding.severity == Severity::Note {
            out.push_str(": note");
        }
        if !finding.path.is_empty() {
            let _ = write!(out, ": {}", printable(&finding.path));
        }
        let _ = writeln!(out, ": {}", printable(&finding.message));
        if let (false, Some(text)) = (source.option, source.text.lines().nth(line.saturating_sub(1)))
            && !text.trim().is_empty()
        {
            let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let at = column.saturating_sub(1).min(characters.len());
            // A long line is shown from a little before the place on.
            let from = if characters.len() > SHOWN_CHARACTERS { at.saturating_sub(SHOWN_CHARACTERS / 3) } else { 0 };
            let shown: String = characters[from..].iter().take(SHOWN_CHARACTERS).collect();
            let room = characters.len().min(from + SHOWN_CHARACTERS).saturating_sub(at).max(1);
            let number = line.to_string();
            let carets = "^".repeat(width.clamp(1, room));
            let _ = writeln!(out, "  {number} | {shown}");
            let _ = writeln!(out, "  {:1$} | {2:3$}{carets}", "", number.len(), "", at - from);
        }
        out
    }

    /// All findings for people.
    pub fn render_all(&self) -> String {
        self.iter().map(|finding| self.render(finding)).collect()
    }
}

/// Text as it may be sent to a terminal: control characters become visible escapes.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The one of `known` that `word` was probably meant to be. Case and `-` for `_` count little.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| match word.chars().count() >= 3 && candidate.starts_with(&word) {
        // A beginning of the word is as good as one slip.
        true => 1,
        false => strsim::damerau_levenshtein(&word, candidate),
    };
    known
        .into_iter()
        .map(|candidate| (distance(&plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b`, `c` ``
pub fn quoted_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["partition", "num_clients", "type", "env"];
        for (word, expect) in [
            ("partiton", Some("partition")),
            ("num-clients", Some("num_clients")),
            ("Num_Clients", Some("num_clients")),
            ("typ", Some("type")),
            ("part", Some("partition")),
            ("en", Some("env")),
            ("endpoint", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, keys), expect, "{word}");
        }
    }

    #[test]
    fn a_long_line_and_control_characters_are_shown_safely() {
        let mut findings = Findings::default();
        let text = format!("key: {}\u{1b}[31m{}", "a".repeat(300), "b".repeat(300));
        let source = findings.add_source("x.yaml", text, false);
        findings.error(Span { source, line: 1, column: 306, width: 3 }, "key", "bad \u{7} value");
        let shown = findings.render_all();
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find('^').expect("caret");
        assert_eq!(lines[1].chars().nth(caret), Some(' '), "{shown}");
    }
}
