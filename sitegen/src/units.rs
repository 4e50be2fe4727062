//! Numbers as people read them: few digits, a unit that suits, decimals under each other.

/// Fills the place of a digit or of the decimal point in a column of numbers, which is set in a monospaced font.
const NO_BREAK_SPACE: char = '\u{a0}';

/// Three significant digits, never an exponent, thousands set apart: `1,840`, `12.3`, `0.00512`.
pub fn number(value: f64) -> String {
    significant(value, 3)
}

/// A percentage with as many digits as tell it from 0 and from 100: `99.95`, `12.3`, `100`.
pub fn percent(value: f64) -> String {
    if value == 0.0 || value == 100.0 {
        return format!("{value:.0}");
    }
    let distance = value.abs().min((100.0 - value).abs());
    let decimals = (1 - distance.log10().floor() as i32).clamp(0, 4) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A load as it was swept: whole numbers whole, others with three digits.
pub fn load(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { thousands(&format!("{value:.0}")) } else { significant(value, 3) }
}

/// A whole count, thousands set apart.
pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = (digits - 1 - magnitude).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    // Rounding up may have added a digit: 9.996 → 10.00, where 10.0 is meant.
    let significant = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let text = match significant > digits as usize && decimals > 0 {
        true => format!("{value:.*}", decimals - 1),
        false => text,
    };
    thousands(&text)
}

fn thousands(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::from(sign);
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A unit of time for a whole column or axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeUnit {
    pub name: &'static str,
    pub per_second: f64,
}

impl TimeUnit {
    /// The unit in which `largest_s` has one to four digits before the point.
    pub fn for_largest(largest_s: f64) -> Self {
        match largest_s {
            s if s >= 10.0 => Self { name: "s", per_second: 1.0 },
            s if s >= 0.001 => Self { name: "ms", per_second: 1e3 },
            _ => Self { name: "µs", per_second: 1e6 },
        }
    }

    pub fn of(self, seconds: f64) -> f64 {
        seconds * self.per_second
    }
}

/// A duration with its unit: `12.3 ms`, `1.20 s`, `4 min 05 s`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "–".to_owned(),
        0.0 => "0 s".to_owned(),
        s if s >= 3600.0 => format!("{} h {:02} min", (s / 3600.0) as u64, (s / 60.0) as u64 % 60),
        s if s >= 120.0 => format!("{} min {:02} s", (s / 60.0) as u64, s as u64 % 60),
        s if s >= 0.9995 => format!("{} s", number(s)),
        s if s >= 0.000_999_5 => format!("{} ms", number(s * 1e3)),
        s => format!("{} µs", number(s * 1e6)),
    }
}

/// Bytes with a binary unit: `1.50 MiB`.
pub fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB", number(value))
}

/// Pads numbers on the right so that their decimal points stand under each other when aligned right.
pub fn align(numbers: &mut [&mut String]) {
    let decimals = |text: &str| text.rsplit_once('.').map_or(0, |(_, decimals)| decimals.chars().count());
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "-.,".contains(c));
    let most = numbers.iter().filter(|text| is_number(text)).map(|text| decimals(text)).max().unwrap_or(0);
    for text in numbers.iter_mut().filter(|text| is_number(text)) {
        let missing = most - decimals(text);
        let point = usize::from(missing > 0 && missing == most);
        text.extend(std::iter::repeat_n(NO_BREAK_SPACE, missing + point));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.005_123, "0.00512"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (12.345, "12.3"),
            (999.6, "1,000"),
            (1840.2, "1,840"),
            (1_234_567.0, "1,234,567"),
            (-2500.0, "-2,500"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
        for (value, text) in
            [(99.0, "99"), (99.5, "99.5"), (99.996, "99.996"), (12.34, "12"), (100.0, "100"), (0.012, "0.012")]
        {
            assert_eq!(percent(value), text, "{value}");
        }
        assert_eq!((load(8.0), load(2.5), count(12_000)), ("8".into(), "2.50".into(), "12,000".into()));
    }

    #[test]
    fn durations_and_bytes_have_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.000_012_34, "12.3 µs"),
            (0.001, "1.00 ms"),
            (0.9996, "1.00 s"),
            (75.0, "75.0 s"),
            (245.4, "4 min 05 s"),
            (7_260.0, "2 h 01 min"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        assert_eq!((bytes(512.0), bytes(1_572_864.0)), ("512 B".into(), "1.50 MiB".into()));
    }

    #[test]
    fn decimal_points_stand_under_each_other() {
        let mut texts = ["1.25", "10.0", "100", "–"].map(str::to_owned);
        let [a, b, c, d] = &mut texts;
        align(&mut [a, b, c, d]);
        assert_eq!(texts, ["1.25", "10.0\u{a0}", "100\u{a0}\u{a0}\u{a0}", "–"]);
    }
}
