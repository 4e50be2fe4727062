//! Times in log lines, in the forms that services of this field write.

use std::fmt;

use jiff::{Span, civil::DateTime};

/// A time as a line says it; in UTC when the line says its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogTime {
    time: DateTime,
    utc: bool,
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = if self.utc { "Z" } else { "" };
        match self.time.subsec_nanosecond() {
            0 => write!(f, "{}{zone}", self.time.strftime("%Y-%m-%dT%H:%M:%S")),
            _ => write!(f, "{}{zone}", self.time.strftime("%Y-%m-%dT%H:%M:%S%.3f")),
        }
    }
}

/// How far into a line a time is looked for.
const WITHIN: usize = 256;

/// The first time of a line. Forms without a year are of `year`.
pub fn find(line: &str, year: i16) -> Option<LogTime> {
    let end = (0..=WITHIN.min(line.len())).rev().find(|end| line.is_char_boundary(*end))?;
    let head = &line[..end];
    let bytes = head.as_bytes();
    let mut inside_number = false;
    for at in 0..bytes.len() {
        let starts = bytes[at].is_ascii_alphanumeric() && !inside_number;
        inside_number = bytes[at].is_ascii_alphanumeric();
        if !starts {
            continue;
        }
        let text = &head[at..];
        let found = year_first(text)
            .or_else(|| day_first(text))
            .or_else(|| month_name_first(text, year))
            .or_else(|| month_and_day(text, year))
            .or_else(|| epoch(head, at));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Reads fixed-width numbers and marks from the start of a text.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn number(&mut self, width: usize) -> Option<i16> {
        let digits = self.0.get(..width).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        self.0 = &self.0[width..];
        digits.parse().ok()
    }

    fn mark(&mut self, marks: &[char]) -> Option<char> {
        let mark = self.0.chars().next().filter(|mark| marks.contains(mark))?;
        self.0 = &self.0[mark.len_utf8()..];
        Some(mark)
    }

    /// `12:00:05`, with or without parts of a second.
    fn clock(&mut self) -> Option<[i32; 4]> {
        let hour = self.number(2)?;
        self.mark(&[':'])?;
        let minute = self.number(2)?;
        self.mark(&[':'])?;
        let second = self.number(2)?;
        let mut nanoseconds = 0;
        let fraction = self.0.strip_prefix(['.', ',']).unwrap_or("");
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let padded = format!("{:0<9.9}", &fraction[..digits]);
            nanoseconds = padded.parse().ok()?;
            self.0 = &fraction[digits..];
        }
        Some([hour.into(), minute.into(), second.into(), nanoseconds])
    }

    /// Seconds east of UTC: `Z`, `+01:00`, `+0100`, ` UTC`.
    fn zone(&mut self) -> Option<i64> {
        let text = self.0.strip_prefix(' ').unwrap_or(self.0);
        if text.starts_with('Z') || text.starts_with("UTC") || text.starts_with("GMT") {
            return Some(0);
        }
        let mut cursor = Cursor(text);
        let sign = if cursor.mark(&['+', '-'])? == '-' { -1 } else { 1 };
        let hours = cursor.number(2)?;
        _ = cursor.mark(&[':']);
        let minutes = cursor.number(2)?;
        let ended = !cursor.0.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        (ended && hours < 15 && minutes < 60).then(|| sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
    }
}

fn build(year: i16, month: i16, day: i16, clock: [i32; 4], zone: Option<i64>) -> Option<LogTime> {
    let [hour, minute, second, nanosecond] = clock;
    // A leap second is shown as the second before.
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let small = |value: i32| i8::try_from(value).ok();
    let time =
        DateTime::new(year, month, day, small(hour)?, small(minute)?, small(second.min(59))?, nanosecond).ok()?;
    match zone {
        Some(east) => Some(LogTime { time: time.checked_sub(Span::new().seconds(east)).ok()?, utc: true }),
        None => Some(LogTime { time, utc: false }),
    }
}

/// ISO 8601 and RFC 3339, Python's logging, PostgreSQL, nginx' error log (with slashes), zap.
fn year_first(text: &str) -> Option<LogTime> {
    let mut cursor = Cursor(text);
    let year = cursor.number(4)?;
    let mark = cursor.mark(&['-', '/'])?;
    let month = cursor.number(2)?;
    cursor.mark(&[mark])?;
    let day = cursor.number(2)?;
    cursor.mark(&['T', ' ', 't'])?;
    let clock = cursor.clock()?;
    build(year, month, day, clock, cursor.zone())
}

/// Redis: `01 Mar 2026 12:00:05.123`; access logs: `01/Mar/2026:12:00:05 +0000`.
fn day_first(text: &str) -> Option<LogTime> {
    let mut cursor = Cursor(text);
    let day = cursor.number(2)?;
    let mark = cursor.mark(&[' ', '/'])?;
    let month = month_of(&mut cursor)?;
    cursor.mark(&[mark])?;
    let year = cursor.number(4)?;
    cursor.mark(&[' ', ':'])?;
    let clock = cursor.clock()?;
    build(year, month, day, clock, cursor.zone())
}

/// Syslog: `Mar  1 12:00:05`.
fn month_name_first(text: &str, year: i16) -> Option<LogTime> {
    let mut cursor = Cursor(text);
    let month = month_of(&mut cursor)?;
    cursor.mark(&[' '])?;
    let day = if cursor.mark(&[' ']).is_some() { cursor.number(1)? } else { cursor.number(2)? };
    cursor.mark(&[' '])?;
    build(year, month, day, cursor.clock()?, None)
}

/// vLLM: `INFO 03-01 12:00:05`; glog: `E0301 12:00:05.123456`.
fn month_and_day(text: &str, year: i16) -> Option<LogTime> {
    let glog = text.starts_with(['I', 'W', 'E', 'F']);
    let mut cursor = Cursor(if glog { &text[1..] } else { text });
    let month = cursor.number(2)?;
    if !glog {
        cursor.mark(&['-'])?;
    }
    let day = cursor.number(2)?;
    cursor.mark(&[' '])?;
    build(year, month, day, cursor.clock()?, None)
}

/// zap and others in JSON: `"ts":1772366405.123`, in seconds or milliseconds.
fn epoch(head: &str, at: usize) -> Option<LogTime> {
    let before = head[..at].trim_end_matches([' ', ':']);
    if !["\"ts\"", "\"time\"", "\"timestamp\""].iter().any(|key| before.ends_with(key)) {
        return None;
    }
    let number = head[at..].split(|letter: char| !letter.is_ascii_digit() && letter != '.').next()?;
    let value: f64 = number.parse().ok()?;
    let seconds = if value > 1e11 { value / 1e3 } else { value };
    let time = archive::Timestamp::from_unix_us((seconds * 1e6) as i64)?.to_string();
    year_first(&time)
}

fn month_of(cursor: &mut Cursor<'_>) -> Option<i16> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = cursor.0.get(..3)?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    cursor.0 = &cursor.0[3..];
    i16::try_from(month + 1).ok()
}
