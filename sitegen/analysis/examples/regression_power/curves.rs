//! Power curves as an SVG: panels side by side, a curve a row of points, each named in the legend.

use std::fmt::Write;

#[derive(Clone)]
pub struct Curve {
    pub name: String,
    /// (percent slower, percent found)
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
}

/// Okabe and Ito's colours, which people with any colour vision tell apart; dashes tell them apart in print.
const COLOURS: [(&str, &str); 4] = [("#0072b2", ""), ("#d55e00", "7 3"), ("#009e73", "2 3"), ("#000000", "9 3 2 3")];

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 44.0;

pub fn svg(panels: &[Panel]) -> String {
    let most = panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let most = most.map(|point| point.0).fold(1.0, f64::max);
    let (whole, high) = (LEFT + panels.len() as f64 * (WIDTH + 40.0), TOP + HEIGHT + 60.0);
    // Writing to a String cannot fail.
    let mut out = String::new();
    _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {high}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"{whole}\" height=\"{high}\" fill=\"#fff\"/>"
    );
    for (index, panel) in panels.iter().enumerate() {
        let left = LEFT + index as f64 * (WIDTH + 40.0);
        let x = |slower: f64| left + slower / most * WIDTH;
        let y = |found: f64| TOP + HEIGHT - found / 100.0 * HEIGHT;
        _ = writeln!(out, "<text x=\"{left}\" y=\"16\" font-weight=\"bold\">{}</text>", panel.title);
        for found in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
            _ = writeln!(out, "<path d=\"M{left} {0}h{WIDTH}\" stroke=\"#ddd\"/>", y(found));
            if index == 0 {
                let (at, below) = (left - 8.0, y(found) + 4.0);
                _ = writeln!(out, "<text x=\"{at}\" y=\"{below}\" text-anchor=\"end\">{found} %</text>");
            }
        }
        for tick in (0..=most as u32).step_by(5) {
            let (at, below) = (x(f64::from(tick)), TOP + HEIGHT + 18.0);
            _ = writeln!(out, "<text x=\"{at}\" y=\"{below}\" text-anchor=\"middle\">{tick} %</text>");
        }
        let (middle, below) = (left + WIDTH / 2.0, TOP + HEIGHT + 40.0);
        _ = writeln!(out, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">slower by</text>");
        for (place, (curve, (colour, dashes))) in panel.curves.iter().zip(COLOURS).enumerate() {
            let mut path = String::new();
            for (place, (slower, found)) in curve.points.iter().enumerate() {
                _ = write!(path, "{}{:.1} {:.1}", if place == 0 { 'M' } else { 'L' }, x(*slower), y(*found));
            }
            let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"");
            _ = writeln!(out, "<path d=\"{path}\" {stroke}/>");
            let (at, line) = (left + 84.0 * place as f64, TOP - 8.0);
            _ = writeln!(out, "<path d=\"M{} {}h26\" {stroke}/>", at + 2.0, line - 4.0);
            _ = writeln!(out, "<text x=\"{}\" y=\"{line}\">{}</text>", at + 34.0, curve.name);
        }
    }
    out.push_str("</svg>\n");
    out
}
