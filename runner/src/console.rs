//! What a person sees while a campaign runs: one living line on a terminal, one line a finished benchmark.
//!
//! Everything here goes to stderr. Where stderr is no terminal the living line is left out.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use archive::{Status, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use crate::{
    agent::PointPlan,
    benchmark::Done,
    load::{Phase, Progress},
    units,
};

pub struct Console {
    bar: ProgressBar,
    quiet: bool,
    total: usize,
    finished: usize,
    begun: Instant,
}

impl Console {
    /// `quiet`: only what went wrong.
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar, quiet, total: 0, finished: 0, begun: Instant::now() }
    }

    pub fn begin(&mut self, campaign: &str, benchmarks: usize) {
        self.total = benchmarks;
        self.begun = Instant::now();
        let plural = if benchmarks == 1 { "" } else { "s" };
        self.say(&format!("campaign {campaign}: {benchmarks} benchmark{plural}"));
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        self.bar.suspend(|| tell(line));
    }

    /// A line that stays even when quiet.
    pub fn warn(&self, line: &str) {
        self.bar.suspend(|| tell(line));
    }

    pub fn waiting(&self, points: &[PointPlan], what: &str) {
        let name = points.first().map(|point| label(&point.campaign.swept)).unwrap_or_default();
        self.bar.set_message(format!("{} {name} · {what}", self.place()));
    }

    pub fn live(&self, point: &PointPlan, live: &Progress) {
        let p99 = live.latency_p99_s.map_or_else(|| "–".to_owned(), units::seconds);
        let failed = if live.failures > 0 { format!(" · {} failed", live.failures) } else { String::new() };
        let (phase, elapsed_s) = match live.phase {
            Phase::Warmup => ("warm-up", live.elapsed_s),
            Phase::Loading => ("load", live.measured_s),
            Phase::Ended => ("collecting after", live.elapsed_s),
        };
        self.bar.set_message(format!(
            "{} {} · {} {:.1} s · {} req/s · p99 {p99}{failed}",
            self.place(),
            label(&point.campaign.swept),
            phase,
            elapsed_s,
            units::figure(live.requests_per_second),
        ));
    }

    pub fn done(&mut self, done: &Done) {
        self.finished += 1;
        let line = format!(
            "[{}/{}] {} {} · {}",
            self.finished,
            self.total,
            done.id,
            label(&done.run.campaign.swept),
            outcome(done.run.status, done.run.failure.as_ref(), done.summary.as_ref()),
        );
        match done.run.status {
            Status::Completed => self.say(&line),
            Status::Failed | Status::Cancelled => self.warn(&line),
        }
        if let Some(reason) = &done.not_committed {
            self.warn(&format!("  not committed: {reason}"));
        }
        if let Some(left) = left_behind(&done.run) {
            self.warn(&format!("  left on the service: {left}"));
        }
    }

    /// It comes to another number of benchmarks than was thought at the beginning.
    pub fn expect(&mut self, benchmarks: usize) {
        self.total = benchmarks;
    }

    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
        self.say(&format!(
            "{} of {} benchmarks in {:.0} s",
            self.finished,
            self.total,
            self.begun.elapsed().as_secs_f64()
        ));
    }

    fn place(&self) -> String {
        format!("[{}/{}]", self.finished + 1, self.total)
    }
}

/// Writes a line to stderr. The terminal may be closed by now, and the benchmarks are to end in order all the same.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What the load put into the service and could not remove, and why.
pub fn left_behind(run: &archive::Run) -> Option<&str> {
    run.events.iter().find(|event| event.event == "left_behind")?.detail.as_deref()
}

/// Lines of more than `width` letters broken between words. What follows stands below where the line's text began: behind
/// the gap after a label, else two letters further in.
pub fn folded(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        let letters: Vec<char> = line.chars().collect();
        let indent = text_begins(&letters).min(width / 2);
        let (mut rest, mut used) = (&letters[..], 0);
        loop {
            let room = width - used;
            let end = match rest.len() <= room {
                true => rest.len(),
                false => {
                    let between_words = rest[..=room].iter().rposition(|c| *c == ' ');
                    between_words.filter(|place| *place + used > indent).unwrap_or(room)
                }
            };
            out.extend(&rest[..end]);
            out.push('\n');
            let spaces = rest[end..].iter().take_while(|c| **c == ' ').count();
            rest = &rest[end + spaces..];
            if rest.is_empty() {
                break;
            }
            used = indent;
            out.extend(std::iter::repeat_n(' ', indent));
        }
    }
    out
}

/// Labels are at most so long.
const LABEL: usize = 26;

fn text_begins(line: &[char]) -> usize {
    let start = line.iter().take_while(|c| **c == ' ').count();
    let gap = line[start..].windows(2).take(LABEL).position(|pair| pair == [' ', ' ']);
    match gap {
        Some(gap) => start + gap + line[start + gap..].iter().take_while(|c| **c == ' ').count(),
        None => start + 2,
    }
}

/// The swept values of a point in a few words: `num_clients=4`.
pub fn label(swept: &Map<String, Value>) -> String {
    if swept.is_empty() {
        return "one point".to_owned();
    }
    let part = |(path, value): (&String, &Value)| {
        let name = path.rsplit('.').next().unwrap_or(path);
        match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        }
    };
    swept.iter().map(part).collect::<Vec<_>>().join(" ")
}

/// How a benchmark ended, and its first figures.
pub fn outcome(status: Status, failure: Option<&archive::Failure>, summary: Option<&Summary>) -> String {
    if let Some(failure) = failure {
        let word = if status == Status::Cancelled { "cancelled" } else { "FAILED" };
        return format!("{word} while {}: {}", failure.stage, failure.reason);
    }
    let Some(summary) = summary else { return "no figures".to_owned() };
    let invalid = if summary.is_valid() { "" } else { "INVALID · " };
    let failed = match summary.failed_requests {
        0 => String::new(),
        failed => format!(" · {failed} failed"),
    };
    format!(
        "{invalid}{} req/s · p50 {} · p99 {}{failed}",
        summary.throughput().map_or_else(|| "–".to_owned(), units::figure),
        summary.latency_s.figures.p50.map_or_else(|| "–".to_owned(), units::seconds),
        summary.latency_s.figures.p99.map_or_else(|| "–".to_owned(), units::seconds),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        for (text, width, expected) in [
            ("short\n", 11, "short\n"),
            ("a sentence of some words\n\nend\n", 11, "a sentence\n  of some\n  words\n\nend\n"),
            ("abcdefghijklmno\n", 11, "abcdefghijk\n  lmno\n"),
            ("knee    at eight clients, no less\n", 20, "knee    at eight\n        clients, no\n        less\n"),
        ] {
            assert_eq!(folded(text, width), expected);
        }
    }
}
