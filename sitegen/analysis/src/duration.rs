//! Durations as people write them: `50ms`, `1h30m`, or a number of seconds.

/// Seconds of a duration: a plain number of seconds, or numbers with units from large to small, each unit at
/// most once: `500us`, `500ms`, `30s`, `2m`, `1h30m`, `1.5s`.
pub fn parse_duration(text: &str) -> Result<f64, String> {
    let error = || "expected a duration such as `500ms`, `30s`, `1h30m`, or a number of seconds".to_owned();
    if let Some(seconds) = parse_decimal(text) {
        return Ok(seconds);
    }
    let mut rest = text;
    let mut total = 0.0;
    let mut smallest = f64::INFINITY;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number = parse_decimal(&rest[..digits]).ok_or_else(error)?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        // Small units divide: 50 / 1000 is the nearest number to 0.05, 50 × 0.001 is not always.
        let (rank, seconds) = match &rest[..letters] {
            "h" => (5.0, number * 3600.0),
            "m" => (4.0, number * 60.0),
            "s" => (3.0, number),
            "ms" => (2.0, number / 1e3),
            "us" => (1.0, number / 1e6),
            _ => return Err(error()),
        };
        if rank >= smallest {
            return Err(error());
        }
        smallest = rank;
        total += seconds;
        rest = &rest[letters..];
    }
    if smallest.is_finite() && f64::is_finite(total) { Ok(total) } else { Err(error()) }
}

/// Digits with at most one point between them; no sign, no exponent, no leading zero before another digit.
fn parse_decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}
