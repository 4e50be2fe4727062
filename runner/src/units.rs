//! Figures as people read them: three significant digits and a unit.

/// A time given in seconds, in the unit that keeps it between 1 and 1000.
pub fn seconds(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0 s".to_owned()
    } else if size < 999.5e-9 {
        format!("{} ns", figure(value * 1e9))
    } else if size < 999.5e-6 {
        format!("{} µs", figure(value * 1e6))
    } else if size < 0.9995 {
        format!("{} ms", figure(value * 1e3))
    } else {
        format!("{} s", figure(value))
    }
}

/// A number with three significant digits and thousands set apart.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if size >= 999.5 {
        grouped(value.round() as i64)
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.9995 {
        format!("{value:.2}")
    } else if size == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.3}")
    }
}

/// An integer with a comma between thousands.
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// A number of bytes, in powers of 1024.
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 || unit == "TiB" {
            return if unit == "B" { format!("{value} B") } else { format!("{} {unit}", figure(size)) };
        }
        size /= 1024.0;
    }
    unreachable!("the last unit returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let cases = [
            (0.0, "0 s"),
            (12.3e-9, "12.3 ns"),
            (999.4e-9, "999 ns"),
            (999.6e-9, "1.00 µs"),
            (0.012_34, "12.3 ms"),
            (1.0, "1.00 s"),
            (61.25, "61.2 s"),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected);
        }
        for (value, expected) in
            [(0.5, "0.500"), (9.999, "10.0"), (99.96, "100"), (123_456.7, "123,457"), (-1234.0, "-1,234")]
        {
            assert_eq!(figure(value), expected);
        }
        assert_eq!(
            (bytes(999).as_str(), bytes(1536).as_str(), bytes(1 << 31).as_str()),
            ("999 B", "1.50 KiB", "2.00 GiB")
        );
    }
}
