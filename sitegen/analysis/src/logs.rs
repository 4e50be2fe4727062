//! What logs say: issues by class, with counts, first and last time, and samples.
//!
//! Works on lines, one pass, constant memory. The classes are those of common service logs (HTTP servers,
//! databases, model servers, Slurm). A number is an HTTP status only where the line says so: a port, a duration, a
//! count of bytes is none. A line may belong to several classes.

mod class;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

pub use class::{LogClass, LogSeverity};

/// Raised when the same lines may give other counts.
pub const LOG_METHOD: &str = "log classes, version 1";

const SAMPLES_A_FILE: usize = 3;
const SAMPLES_A_CLASS: usize = 5;
const SAMPLE_CHARS: usize = 200;
/// What is looked at of a line: a line without end must not fill the memory.
const LINE_BYTES: usize = 16 << 10;

/// What the logs of one benchmark say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogReport {
    pub method: String,
    pub lines: u64,
    /// Lines of a class that is an error, the general class apart: it would count most of them twice.
    pub errors: u64,
    /// Lines of a class that is a warning and of none that is an error, the general class apart.
    pub warnings: u64,
    /// Classes that occurred: errors first, then warnings, the general ones after the others, each by count.
    pub issues: Vec<LogIssue>,
}

/// One class of line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogIssue {
    pub class: LogClass,
    pub severity: LogSeverity,
    /// Lines.
    pub count: u64,
    /// The first and the last time that such a line bears: `2026-03-01T12:00:05.123Z`, or without `Z` where the log
    /// does not tell its time zone. `None` where no such line has a time that is understood.
    pub first: Option<String>,
    pub last: Option<String>,
    pub samples: Vec<LogSample>,
}

/// A line as it stands in a log, cut to 200 characters, without control characters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogSample {
    pub file: String,
    /// From 1.
    pub line: u64,
    pub text: String,
}

impl LogReport {
    /// Errors and warnings, without the general classes and without good news.
    pub fn specific(&self) -> impl Iterator<Item = &LogIssue> {
        self.issues.iter().filter(|issue| issue.severity != LogSeverity::Info && !issue.class.is_general())
    }
}

/// Reads lines, file by file.
#[derive(Clone, Debug)]
pub struct LogReader {
    year: i16,
    file: String,
    line: u64,
    lines: u64,
    errors: u64,
    warnings: u64,
    issues: BTreeMap<LogClass, Tally>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    count: u64,
    first: Option<time::LogTime>,
    last: Option<time::LogTime>,
    samples: Vec<LogSample>,
    samples_of_file: usize,
}

impl LogReader {
    /// `near` is when the logs were written: some forms leave out the year.
    pub fn new(near: archive::Timestamp) -> Self {
        let year = near.date_digits().get(..4).and_then(|year| year.parse().ok()).unwrap_or(1970);
        Self { year, file: String::new(), line: 0, lines: 0, errors: 0, warnings: 0, issues: BTreeMap::new() }
    }

    /// The lines that follow belong to this file.
    pub fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.line = 0;
        self.issues.values_mut().for_each(|tally| tally.samples_of_file = 0);
    }

    /// One line, with or without its line feed.
    pub fn line(&mut self, line: &str) {
        self.line += 1;
        self.lines += 1;
        let end = (0..=LINE_BYTES.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        let line = plain(&line[..end]);
        let classes = class::classify(&line);
        if classes.is_empty() {
            return;
        }
        let severity =
            |wanted: LogSeverity| classes.iter().any(|class| !class.is_general() && class.severity() == wanted);
        if severity(LogSeverity::Error) {
            self.errors += 1;
        } else if severity(LogSeverity::Warning) {
            self.warnings += 1;
        }
        let time = time::find(&line, self.year);
        for class in classes {
            let tally = self.issues.entry(class).or_default();
            tally.count += 1;
            if let Some(time) = time {
                tally.first = Some(tally.first.map_or(time, |first| first.min(time)));
                tally.last = Some(tally.last.map_or(time, |last| last.max(time)));
            }
            if tally.samples.len() < SAMPLES_A_CLASS && tally.samples_of_file < SAMPLES_A_FILE {
                tally.samples_of_file += 1;
                let text = line.trim().chars().take(SAMPLE_CHARS).collect();
                tally.samples.push(LogSample { file: self.file.clone(), line: self.line, text });
            }
        }
    }

    pub fn finish(self) -> LogReport {
        let issue = |(class, tally): (LogClass, Tally)| LogIssue {
            class,
            severity: class.severity(),
            count: tally.count,
            first: tally.first.map(|time| time.to_string()),
            last: tally.last.map(|time| time.to_string()),
            samples: tally.samples,
        };
        let mut issues: Vec<LogIssue> = self.issues.into_iter().map(issue).collect();
        issues.sort_by_key(|issue| {
            (issue.severity, issue.class.is_general(), std::cmp::Reverse(issue.count), issue.class)
        });
        LogReport {
            method: LOG_METHOD.to_owned(),
            lines: self.lines,
            errors: self.errors,
            warnings: self.warnings,
            issues,
        }
    }
}

/// Reads whole texts, each with its file's name.
pub fn read_logs<'a>(near: archive::Timestamp, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> LogReport {
    let mut reader = LogReader::new(near);
    for (file, text) in files {
        reader.begin(file);
        text.lines().for_each(|line| reader.line(line));
    }
    reader.finish()
}

/// The line without colours and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                // A control sequence ends with its first letter.
                if letters.as_str().starts_with('[') {
                    letters.by_ref().find(|letter| letter.is_ascii_alphabetic());
                }
            }
            '\t' => text.push(' '),
            _ if letter.is_control() => {}
            _ => text.push(letter),
        }
    }
    text
}
