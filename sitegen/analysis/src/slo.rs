//! Service level objectives: the one language in which recipes and command lines write limits.
//!
//! A limit is `metric operator value`: `p99=50ms`, `ttft_p95<=200ms`, `throughput>=100`, `success_rate>=99`. It is stored
//! as metric name → number in the metric's unit; on which side of the number a metric must stay follows from its name.

mod check;
mod defaults;

use std::collections::BTreeMap;

pub use self::{
    check::{LimitCheck, Verdict, check, value},
    defaults::{DefaultSlo, default_slo},
};
use crate::{duration::parse_duration, summary::limits::Limit};

/// What a limit's name may be, for editors: [`metric`] accepts these and no others.
pub const METRIC_PATTERN: &str = r"^(success_rate|error_rate|throughput|requests_per_second|tokens|tokens_per_second|recall|((latency|service_time|ttft|tpot|itl|ttfb)_)?(p[0-9]{1,2}(\.[0-9])?|avg|min|max)(_s)?)$";

/// On which side of its limit a metric keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    AtMost,
    AtLeast,
}

/// What only some clients tell apart within an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Tokens as they come: TTFT, TPOT, ITL, tokens per second.
    Tokens,
    /// The first byte of the answer's body: TTFB.
    FirstByte,
    /// Whether the answer is the right one, by degrees: recall.
    Recall,
}

/// Which part of a limit is wrong, and how to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloError {
    Metric(String),
    Value(String),
}

impl std::fmt::Display for SloError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Metric(message) | Self::Value(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for SloError {}

/// Reads limits that are set apart by commas or white space: `p99=50ms, success_rate>=99`.
pub fn parse(text: &str) -> Result<BTreeMap<String, f64>, SloError> {
    let mut slo = BTreeMap::new();
    for (metric, limit) in each(text)? {
        if slo.insert(metric.clone(), limit).is_some() {
            return Err(SloError::Metric(format!("the limit of `{metric}` is given twice: remove one")));
        }
    }
    match slo.is_empty() {
        true => Err(SloError::Metric("no limit is given: expected limits such as `p99=50ms`".to_owned())),
        false => Ok(slo),
    }
}

fn each(text: &str) -> Result<Vec<(String, f64)>, SloError> {
    let is_gap = |c: char| c == ',' || c.is_whitespace();
    // A gap beside an operator is within a limit: `p99 <= 50 ms` has none between limits.
    let mut limits: Vec<String> = Vec::new();
    for word in text.split(is_gap).filter(|word| !word.is_empty()) {
        let continues = word.starts_with(is_operator)
            || limits.last().is_some_and(|last| last.ends_with(is_operator))
            || UNITS.contains(&word);
        match limits.last_mut() {
            Some(last) if continues => last.push_str(word),
            _ => limits.push(word.to_owned()),
        }
    }
    limits.iter().map(|limit| one(limit)).collect()
}

/// What may stand apart from its number.
const UNITS: [&str; 8] = ["us", "µs", "ms", "s", "m", "h", "%", "/s"];

fn is_operator(c: char) -> bool {
    matches!(c, '=' | '<' | '>' | '≤' | '≥')
}

fn one(text: &str) -> Result<(String, f64), SloError> {
    let Some(place) = text.find(is_operator) else {
        return Err(SloError::Metric(format!("`{text}` is no limit: expected `metric=value`, such as `p99=50ms`")));
    };
    let (key, value) = text.split_at(place);
    let name = metric(key)?;
    let limit = value_of(&name, value)?;
    Ok((name, limit))
}

/// Whether a stored metric keeps its limit by staying below it.
pub fn is_at_most(metric: &str) -> bool {
    Limit::parse(metric).is_none_or(|kind| kind.sense() == Sense::AtMost)
}

/// The stored name of a metric as people write it: `p99` and `latency_p99` are `latency_p99_s`.
pub fn metric(key: &str) -> Result<String, SloError> {
    let known = match key {
        "success_rate" | "error_rate" | "requests_per_second" | "tokens_per_second" | "recall" => Some(key.to_owned()),
        "throughput" => Some("requests_per_second".to_owned()),
        "tokens" => Some("tokens_per_second".to_owned()),
        _ => {
            let bare = key.strip_suffix("_s").unwrap_or(key);
            let full = if bare.contains('_') { format!("{bare}_s") } else { format!("latency_{bare}_s") };
            Limit::parse(&full).map(|_| full)
        }
    };
    known.ok_or_else(|| {
        SloError::Metric(format!(
            "unknown limit `{key}`; expected `success_rate`, `error_rate`, `throughput`, `tokens` or `recall`, or \
             `latency`, `service_time`, `ttft`, `tpot`, `itl` or `ttfb` with a figure: `_p99` (any percentile from p0.1 to p99.9), `_avg`, \
             `_min` or `_max`"
        ))
    })
}

/// The limit on the metric of a stored name, from a value with or without an operator: `50ms`, `<=50ms`, `>= 99.5 %`.
pub fn value_of(metric: &str, text: &str) -> Result<f64, SloError> {
    let limit = Limit::parse(metric).ok_or_else(|| SloError::Metric(format!("unknown limit `{metric}`")))?;
    let number = text.trim_start_matches(is_operator).trim();
    let operator = text[..text.len() - text.trim_start_matches(is_operator).len()].trim();
    let (sense, wrong) = match operator {
        "" | "=" | "==" => (limit.sense(), false),
        "<" | "<=" | "≤" | "=<" => (Sense::AtMost, false),
        ">" | ">=" | "≥" | "=>" => (Sense::AtLeast, false),
        _ => (limit.sense(), true),
    };
    let fail = |expected: &str| {
        let mut found: String = text.trim().chars().take(60).collect();
        if found.len() < text.trim().len() {
            found.push('…');
        }
        Err(SloError::Value(format!("expected {expected}, found `{found}`")))
    };
    if wrong {
        return fail("one of `=`, `<=` and `>=` before the limit");
    }
    if sense != limit.sense() {
        let (side, cure) = match limit.sense() {
            Sense::AtMost => ("at most", "<="),
            Sense::AtLeast => ("at least", ">="),
        };
        let message = format!("a limit on `{metric}` says how much it must be {side}: write `{cure}` or `=`");
        return Err(SloError::Value(message));
    }
    let plain = |unit: &str| {
        let bare = number.strip_suffix(unit).unwrap_or(number).trim_end();
        bare.parse::<f64>().ok().filter(|_| bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    match limit {
        Limit::Time { .. } => match parse_duration(&number.replace(' ', "").replace('µ', "u")) {
            Ok(seconds) if seconds > 0.0 => Ok(seconds),
            _ => fail("a duration above 0, for example `50ms`"),
        },
        Limit::SuccessRate | Limit::ErrorRate => match plain("%") {
            Some(percent) if percent <= 100.0 => Ok(percent),
            _ => fail("a percentage from 0 to 100, for example `99.5`"),
        },
        Limit::Recall => match plain("") {
            Some(share) if share <= 1.0 => Ok(share),
            _ => fail("a share from 0 to 1, for example `0.95`"),
        },
        Limit::Throughput | Limit::TokensPerSecond => match plain("/s") {
            Some(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
            _ => fail("a number per second above 0, for example `100`"),
        },
    }
}

/// On which side of its limit the metric of a stored name keeps it; `AtMost` for a name that means nothing here.
pub fn sense(metric: &str) -> Sense {
    Limit::parse(metric).map_or(Sense::AtMost, Limit::sense)
}

/// What a client must tell apart to measure the metric of a stored name; `None`: every client measures it.
pub fn needs(metric: &str) -> Option<Detail> {
    Limit::parse(metric)?.needs()
}

/// `latency_p99_s` → `p99 latency`, `requests_per_second` → `throughput`; a name that means nothing here as it is.
pub fn metric_in_words(metric: &str) -> String {
    let text = match metric {
        "success_rate" => "success rate",
        "error_rate" => "error rate",
        "requests_per_second" => "throughput",
        "tokens_per_second" => "output tokens",
        "recall" => "mean recall",
        _ => "",
    };
    if !text.is_empty() {
        return text.to_owned();
    }
    let parts = metric.strip_suffix("_s").and_then(|name| name.rsplit_once('_'));
    let Some((quantity, figure)) = parts.filter(|_| Limit::parse(metric).is_some()) else { return metric.to_owned() };
    let quantity = match quantity {
        "latency" => "latency",
        "service_time" => "service time",
        "ttft" => "TTFT",
        "tpot" => "TPOT",
        "itl" => "ITL",
        _ => "TTFB",
    };
    format!("{} {quantity}", if figure == "avg" { "mean" } else { figure })
}

/// A limit as the language writes it: `latency_p99<=50ms`; reading it again gives the same.
pub fn in_notation(metric: &str, limit: f64) -> String {
    let operator = match sense(metric) {
        Sense::AtMost => "<=",
        Sense::AtLeast => ">=",
    };
    match Limit::parse(metric) {
        Some(Limit::Time { .. }) => {
            let name = metric.strip_suffix("_s").unwrap_or(metric);
            // The unit in which the number stays exact and short.
            let (scaled, unit) = match limit {
                s if s >= 1.0 => (s, "s"),
                s if s >= 1e-3 => (s * 1e3, "ms"),
                s => (s * 1e6, "us"),
            };
            let rounded = (scaled * 1e9).round() / 1e9;
            format!("{name}{operator}{rounded}{unit}")
        }
        _ => format!("{metric}{operator}{limit}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_in_every_spelling() {
        for (text, expected) in [
            ("p99=50ms", &[("latency_p99_s", 0.05)][..]),
            ("p99<=50ms", &[("latency_p99_s", 0.05)]),
            ("p99 <= 50 ms", &[("latency_p99_s", 0.05)]),
            ("p99≤50ms", &[("latency_p99_s", 0.05)]),
            ("latency_p99_s<0.05", &[("latency_p99_s", 0.05)]),
            ("ttft_p95=200ms,tpot_avg=20ms", &[("tpot_avg_s", 0.02), ("ttft_p95_s", 0.2)]),
            ("throughput>=100 success_rate>=99.5%", &[("requests_per_second", 100.0), ("success_rate", 99.5)]),
            ("service_time_p97.5=1m30s", &[("service_time_p97.5_s", 90.0)]),
            ("recall>=0.95,ttfb_p50=1ms", &[("recall", 0.95), ("ttfb_p50_s", 0.001)]),
            ("error_rate<=1 tokens=2000/s", &[("error_rate", 1.0), ("tokens_per_second", 2000.0)]),
            ("itl_max = 500 µs , p50=1s", &[("itl_max_s", 0.0005), ("latency_p50_s", 1.0)]),
        ] {
            let expected: BTreeMap<_, _> =
                expected.iter().map(|(metric, limit)| ((*metric).to_owned(), *limit)).collect();
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_says_how_to_write_one() {
        for (text, part) in [
            ("", "no limit is given"),
            ("p99", "expected `metric=value`"),
            ("50ms", "expected `metric=value`"),
            ("p100=1s", "unknown limit `p100`"),
            ("p0=1s", "unknown limit `p0`"),
            ("p99.99=1s", "unknown limit"),
            ("speed_p99=1s", "unknown limit"),
            ("p99=", "expected a duration above 0"),
            ("p99=fast", "found `=fast`"),
            ("p99=0", "expected a duration above 0"),
            ("p99=-5ms", "expected a duration above 0"),
            ("p99>=50ms", "must be at most: write `<=` or `=`"),
            ("throughput<=100", "must be at least: write `>=` or `=`"),
            ("throughput=0", "a number per second above 0"),
            ("throughput=1e3", "a number per second above 0"),
            ("success_rate=101", "a percentage"),
            ("recall=95", "a share from 0 to 1"),
            ("success_rate=nan", "a percentage"),
            ("p99==<50ms", "one of `=`"),
            ("p99=50ms latency_p99=60ms", "given twice"),
            ("p99=50ms,,junk", "`junk` is no limit"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn the_pattern_and_the_parser_agree() {
        let key = proptest::string::string_regex(
            "(success_rate|throughput|tokens|p|latency_|ttft_|tpot_|service_time_|x_)?(p|avg|max|min)?[0-9]{0,3}(\\.[0-9]{0,2})?(_s)?",
        );
        let pattern = METRIC_PATTERN.trim_start_matches('^').trim_end_matches('$');
        let pattern = proptest::string::string_regex(pattern).expect("a pattern");
        let zero = |key: &str| key.trim_end_matches("_s").rsplit('p').next().is_some_and(|p| p.parse() == Ok(0.0));
        proptest!(|(key in pattern)| { prop_assert!(metric(&key).is_ok() != zero(&key), "{}", key); });
        proptest!(|(key in key.expect("a pattern"))| {
            if let Ok(stored) = metric(&key) {
                prop_assert_eq!(metric(&stored), Ok(stored));
            }
        });
    }

    #[test]
    fn names_in_words() {
        for (metric, words) in [
            ("latency_p99_s", "p99 latency"),
            ("tpot_avg_s", "mean TPOT"),
            ("service_time_p95_s", "p95 service time"),
            ("requests_per_second", "throughput"),
            ("something_else", "something_else"),
        ] {
            assert_eq!(metric_in_words(metric), words);
        }
    }

    proptest! {
        #[test]
        fn a_limit_written_is_read_as_the_same(us in 1u32..100_000_000, rate in 1u32..1_000_000) {
            for (metric, limit) in [
                ("latency_p99_s", f64::from(us) / 1e6),
                ("ttft_avg_s", f64::from(us)),
                ("requests_per_second", f64::from(rate) / 10.0),
            ] {
                let read = parse(&in_notation(metric, limit)).expect("a limit");
                let found = read[metric];
                prop_assert!((found / limit - 1.0).abs() < 1e-12, "{} {}", found, limit);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,30}", operator in "[=<>≤≥]{0,3}") {
            let _ = parse(&text);
            let _ = parse(&format!("p99{operator}{text}"));
            let _ = value_of("latency_p99_s", &text);
        }
    }
}
