//! The notations inside texts: durations, Slurm's times and memory sizes, endpoints.
//!
//! Pure text → value. Every error is a fragment that says what was expected.

pub use analysis::parse_duration;

use crate::load::Endpoint;

/// Seconds as people write them: the largest units that need no fraction, `1h30m`, `2.5s`, `80ms`.
pub fn format_duration(seconds: f64) -> String {
    if seconds < 1.0 && seconds > 0.0 {
        let milliseconds = seconds * 1e3;
        return if milliseconds >= 1.0 {
            format!("{}ms", round(milliseconds))
        } else {
            format!("{}us", round(seconds * 1e6))
        };
    }
    let whole = seconds.floor();
    if !(60.0..=1e9).contains(&whole) {
        return format!("{}s", round(seconds));
    }
    let (hours, minutes, rest) = (whole as u64 / 3600, whole as u64 / 60 % 60, whole as u64 % 60);
    let mut out = String::new();
    for (number, unit) in [(hours, "h"), (minutes, "m"), (rest, "s")] {
        if number > 0 {
            out.push_str(&format!("{number}{unit}"));
        }
    }
    out
}

fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Seconds of a time in one of Slurm's six notations.
pub fn parse_slurm_time(text: &str) -> Result<u64, String> {
    let error = || {
        "expected a Slurm time: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, \
         `days-hours:minutes` or `days-hours:minutes:seconds`"
            .to_owned()
    };
    let number = |part: &str| {
        let fits = (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if fits { part.parse::<u64>().map_err(|_| error()) } else { Err(error()) }
    };
    let below = |part: &str, limit: u64, unit: &str| {
        let value = number(part)?;
        if value < limit { Ok(value) } else { Err(format!("{value} {unit} in a Slurm time: at most {}", limit - 1)) }
    };
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(number(days)?), clock),
        None => (None, text),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let seconds = match (days, parts.as_slice()) {
        (None, [minutes]) => number(minutes)? * 60,
        (None, [minutes, seconds]) => number(minutes)? * 60 + below(seconds, 60, "seconds")?,
        (None, [hours, minutes, seconds]) => {
            number(hours)? * 3600 + below(minutes, 60, "minutes")? * 60 + below(seconds, 60, "seconds")?
        }
        (Some(days), [hours]) => days * 86_400 + below(hours, 24, "hours")? * 3600,
        (Some(days), [hours, minutes]) => {
            days * 86_400 + below(hours, 24, "hours")? * 3600 + below(minutes, 60, "minutes")? * 60
        }
        (Some(days), [hours, minutes, seconds]) => {
            days * 86_400
                + below(hours, 24, "hours")? * 3600
                + below(minutes, 60, "minutes")? * 60
                + below(seconds, 60, "seconds")?
        }
        _ => return Err(error()),
    };
    if seconds == 0 { Err("a time of zero would end the job at once".into()) } else { Ok(seconds) }
}

/// A memory size as Slurm reads it: a whole number with K, M, G or T, or without for megabytes.
pub fn check_slurm_memory(text: &str) -> Result<(), String> {
    let digits = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    if (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
    {
        Ok(())
    } else {
        Err("expected a memory size in Slurm's notation, a whole number with `K`, `M`, `G` or `T`, for example `64G`"
            .into())
    }
}

/// A name that may stand in file and job names.
pub fn check_name(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 63 && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err("expected a name of at most 63 letters, digits, `.`, `_` and `-`, with a letter or digit first".into())
    }
}

/// A folder to bind: `host`, `host:container` or `host:container:options`.
pub fn check_volume(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let options =
        parts.get(2).is_none_or(|options| options.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b','));
    if parts.iter().take(2).any(|part| part.contains(',')) {
        // The runtimes take what stands behind it for another bind.
        Err("a folder that is bound cannot have a comma in its name: expected `host:container` or `host:container:ro`"
            .into())
    } else if parts.len() <= 3 && parts.iter().all(|part| !part.is_empty()) && options {
        Ok(())
    } else {
        Err("expected `host:container` or `host:container:ro`".into())
    }
}

/// `host:port`, with an IPv6 address in brackets: `[::1]:6379`. The brackets are not part of the host.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let error = || "expected `host:port`, for example `127.0.0.1:6379` or `[::1]:6379`".to_owned();
    if text.starts_with("https://") {
        return Err(format!("{}: TLS is not spoken; let a proxy that ends it listen beside the runner", error()));
    }
    if text.contains("://") {
        return Err(format!("{}, without a scheme such as `http://`", error()));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(error()),
        None if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
            return Err(error());
        }
        None => host,
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Endpoint { host: host.to_owned(), port }),
        _ => Err(format!("port {port} is not one from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0.0),
            ("30", 30.0),
            ("0.05", 0.05),
            ("50ms", 0.05),
            ("500us", 0.0005),
            ("30s", 30.0),
            ("1.5s", 1.5),
            ("2m", 120.0),
            ("1h30m", 5400.0),
            ("1h0m10s500ms", 3610.5),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "s", "30x", "-1", "-1s", "1m1h", "1s1s", "1 s", "1e3", "01s", "1.s", ".5s", "1:30", "1h30", "inf"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (seconds, text) in [(0.0, "0s"), (0.05, "50ms"), (2.5, "2.5s"), (5400.0, "1h30m"), (0.0002, "200us")] {
            assert_eq!(format_duration(seconds), text);
        }
    }

    #[test]
    fn slurm_times() {
        for (text, seconds) in [
            ("30", 1800),
            ("90:00", 5400),
            ("02:00:00", 7200),
            ("1:30:00", 5400),
            ("100:00:00", 360_000),
            ("1-12", 129_600),
            ("1-12:30", 131_400),
            ("2-00:00:01", 172_801),
        ] {
            assert_eq!(parse_slurm_time(text), Ok(seconds), "{text}");
        }
        for text in ["", "0", "00:00:00", "1h", "1:60", "1:60:00", "1-24", "1-", "-1", "1:2:3:4", "1-1:1:1:1", "１"] {
            assert!(parse_slurm_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        for (text, host, port) in [
            ("127.0.0.1:6379", "127.0.0.1", 6379),
            ("[::1]:80", "::1", 80),
            ("mel2001.lxp-prod:65535", "mel2001.lxp-prod", 65535),
        ] {
            assert_eq!(parse_endpoint(text), Ok(Endpoint { host: host.into(), port }), "{text}");
        }
        for text in
            ["", "host", ":80", "host:", "host:0", "host:65536", "host:+80", "::1:80", "[::1]", "http://h:80", "a b:1"]
        {
            assert!(parse_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_sizes() {
        for text in ["64G", "512", "100M", "1T"] {
            assert_eq!(check_slurm_memory(text), Ok(()), "{text}");
        }
        for text in ["", "64GB", "64g", "1.5G", "0", "G", "-1G", "64 G"] {
            assert!(check_slurm_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_volumes() {
        for (text, name, volume) in [
            ("redis-1.b_c", true, true),
            ("/a:/b", false, true),
            ("/a:/b:ro", false, true),
            ("/a:/b:ro:x", false, false),
            ("/a,/etc:/b", false, false),
            ("/a:/b,/etc:/c", false, false),
            ("/a:/b:ro,z", false, true),
            ("/a:", false, false),
            ("/a:/b:R", false, false),
            ("", false, false),
            ("-rf", false, true),
            ("../etc", false, true),
            ("é", false, true),
        ] {
            assert_eq!((check_name(text).is_ok(), check_volume(text).is_ok()), (name, volume), "{text}");
        }
        assert!(check_name(&"a".repeat(63)).is_ok() && check_name(&"a".repeat(64)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,20}") {
            let _ = (parse_duration(&text), parse_slurm_time(&text), check_slurm_memory(&text));
            let _ = parse_endpoint(&text);
        }

        #[test]
        fn durations_written_in_units_are_read_exactly(h in 0u32..1000, m in 0u32..60, s in 0u32..60, ms in 0u32..1000) {
            let read = parse_duration(&format!("{h}h{m}m{s}s{ms}ms")).expect("a duration");
            prop_assert_eq!(read, f64::from(h) * 3600.0 + f64::from(m) * 60.0 + f64::from(s) + f64::from(ms) / 1e3);
        }

        #[test]
        fn a_printed_duration_is_read_as_the_same_whole_seconds(seconds in 1u32..10_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(f64::from(seconds))), Ok(f64::from(seconds)));
        }

        #[test]
        fn slurm_times_are_read_exactly(d in 0u64..1000, h in 0u64..24, m in 0u64..60, s in 1u64..60) {
            prop_assert_eq!(parse_slurm_time(&format!("{d}-{h:02}:{m:02}:{s:02}")), Ok(d * 86_400 + h * 3600 + m * 60 + s));
        }
    }
}
