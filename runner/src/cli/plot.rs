//! Small plots in the terminal, of braille dots: two columns and four rows of them in each character.

use std::fmt::Write;

const WIDTH: usize = 56;
const HEIGHT: usize = 8;

/// Points of (x, y), with a mark below the x axis; y from zero, x by powers of two where the values span eight times
/// or more. Empty when fewer than two different x are given.
pub fn scatter(title: &str, x_name: &str, points: &[(f64, f64)], mark: Option<f64>, show: fn(f64) -> String) -> String {
    let points: Vec<(f64, f64)> =
        points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite() && *y >= 0.0).collect();
    let extreme = |of: fn(f64, f64) -> f64, start: f64| points.iter().map(|(x, _)| *x).fold(start, of);
    let (low, high) = (extreme(f64::min, f64::INFINITY), extreme(f64::max, f64::NEG_INFINITY));
    let top = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    if points.is_empty() || low >= high || top <= 0.0 {
        return String::new();
    }
    let logarithmic = low > 0.0 && high / low >= 8.0;
    let place = |x: f64| match logarithmic {
        true => (x / low).ln() / (high / low).ln(),
        false => (x - low) / (high - low),
    };
    let (columns, rows) = (WIDTH * 2, HEIGHT * 4);
    let mut dots = vec![[0_u8; WIDTH]; HEIGHT];
    for (x, y) in &points {
        let column = (place(*x) * (columns - 1) as f64).round() as usize;
        let row = ((1.0 - y / top) * (rows - 1) as f64).round() as usize;
        dots[row / 4][column / 2] |= BITS[row % 4][column % 2];
    }
    let top = show(top);
    let margin = top.chars().count().max(1);
    // Writing to a String cannot fail.
    let mut out = String::new();
    _ = writeln!(out, "{title}");
    for (number, row) in dots.iter().enumerate() {
        let label = match number {
            0 => top.as_str(),
            n if n + 1 == HEIGHT => "0",
            _ => "",
        };
        let line: String = row.iter().map(|bits| char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ')).collect();
        _ = writeln!(out, "{label:>margin$} ┤{}", line.trim_end_matches('\u{2800}'));
    }
    let mut axis = vec!['─'; WIDTH];
    let mark = mark.filter(|mark| (low..=high).contains(mark));
    if let Some(mark) = mark {
        axis[(place(mark) * (WIDTH - 1) as f64).round() as usize] = '▲';
    }
    _ = writeln!(out, "{:>margin$} └{}", "", axis.into_iter().collect::<String>());
    let (from, to) = (number(low), number(high));
    let middle = mark.map_or_else(|| x_name.to_owned(), |mark| format!("{x_name}, ▲ {}", number(mark)));
    let space = WIDTH.saturating_sub(from.chars().count() + to.chars().count());
    _ = writeln!(out, "{:>margin$}  {from}{middle:^space$}{to}\n", "");
    out
}

/// Bit of each dot of a braille character (Unicode, U+2800): by row and column.
const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

fn number(value: f64) -> String {
    if value.fract() == 0.0 && value < 1e15 { crate::units::grouped(value as i64) } else { crate::units::figure(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_they_belong() {
        let drawn = scatter("t", "clients", &[(1.0, 0.0), (64.0, 10.0)], Some(8.0), crate::units::figure);
        let lines: Vec<&str> = drawn.lines().collect();
        // A title, the rows, the axis, its labels, and an empty line.
        assert_eq!(lines.len(), HEIGHT + 4, "{drawn}");
        assert!(lines[1].ends_with('⠈') && lines[1].starts_with("10.0 ┤"), "{drawn}");
        assert!(lines[HEIGHT].ends_with("0 ┤⡀"), "{drawn}");
        // 8 is in the middle of 1 to 64 on a logarithmic scale.
        assert_eq!(lines[HEIGHT + 1].chars().position(|c| c == '▲'), Some(6 + WIDTH / 2), "{drawn}");
        assert!(lines[HEIGHT + 2].contains("clients, ▲ 8"), "{drawn}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        for points in [&[][..], &[(1.0, 1.0)], &[(1.0, 0.0), (2.0, 0.0)], &[(f64::NAN, 1.0), (1.0, 2.0)]] {
            assert_eq!(scatter("t", "x", points, None, crate::units::figure), "");
        }
    }
}
