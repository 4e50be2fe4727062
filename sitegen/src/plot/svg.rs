//! The shapes of a canvas as a vector graphic, for pages: small, sharp at every size, without anything active in it.
//!
//! Letters come from the reader's font; every text is set to the width that it was laid out with.

use std::fmt::Write;

use super::canvas::{Across, Canvas, Color, DASH, GAP, Shape, Text, Up, width_of};

impl Canvas {
    /// The same bytes on every machine. `title` is what is read aloud.
    pub fn svg(&self, title: &str) -> String {
        let (width, height) = (self.width, self.height);
        // Writing to a String cannot fail.
        let mut out = String::new();
        _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" font-family=\"'DejaVu Sans',Verdana,sans-serif\">\n<title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>",
            crate::text::escaped(title)
        );
        self.shapes.iter().for_each(|shape| write_shape(&mut out, shape));
        out.push_str("</svg>\n");
        out
    }
}

fn write_shape(out: &mut String, shape: &Shape) {
    _ = match shape {
        Shape::Line { points, color, width } => writeln!(
            out,
            "<path d=\"{}\" fill=\"none\" stroke-width=\"{}\" stroke-linejoin=\"round\"{}/>",
            path(points),
            short(*width),
            paint("stroke", *color)
        ),
        Shape::Dashed { from, to, color, width } => writeln!(
            out,
            "<path d=\"{}\" stroke-width=\"{}\" stroke-dasharray=\"{DASH} {GAP}\"{}/>",
            path(&[*from, *to]),
            short(*width),
            paint("stroke", *color)
        ),
        Shape::Polygon { points, color } => writeln!(out, "<path d=\"{}Z\"{}/>", path(points), paint("fill", *color)),
        Shape::Rectangle { from, to, color } => writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}/>",
            short(from.0.min(to.0)),
            short(from.1.min(to.1)),
            short((from.0 - to.0).abs()),
            short((from.1 - to.1).abs()),
            paint("fill", *color)
        ),
        Shape::Dot { at, radius, color, hollow } => {
            let paint = match hollow {
                true => format!(" fill=\"none\" stroke-width=\"1.4\"{}", paint("stroke", *color)),
                false => paint("fill", *color),
            };
            writeln!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{paint}/>", short(at.0), short(at.1), short(*radius))
        }
        Shape::Text { text, at, style } => write_text(out, text, *at, *style),
    };
}

fn write_text(out: &mut String, text: &str, (x, y): (f64, f64), style: Text) -> std::fmt::Result {
    let anchor = match style.across {
        Across::Left => "start",
        Across::Centre => "middle",
        Across::Right => "end",
    };
    // Where the base line is, in shares of the size: capitals are 0.73 high, tails 0.24 deep.
    let down = style.size
        * match style.up {
            Up::Top => 0.93,
            Up::Middle => 0.37,
            Up::Bottom => -0.24,
        };
    let place = match style.turned {
        // Turned about its place, so that down is right.
        true => format!("transform=\"translate({} {}) rotate(-90)\"", short(x + down), short(y)),
        false => format!("x=\"{}\" y=\"{}\"", short(x), short(y + down)),
    };
    let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
    writeln!(
        out,
        "<text {place} font-size=\"{}\"{weight} text-anchor=\"{anchor}\" textLength=\"{}\" \
         lengthAdjust=\"spacingAndGlyphs\"{}>{}</text>",
        short(style.size),
        short(width_of(text, style.size, style.bold).max(0.1)),
        paint("fill", style.color),
        escaped(text)
    )
}

fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::with_capacity(points.len() * 12);
    for (index, (x, y)) in points.iter().enumerate() {
        _ = write!(out, "{}{} {}", if index == 0 { 'M' } else { 'L' }, short(*x), short(*y));
    }
    out
}

fn paint(what: &str, color: Color) -> String {
    let opacity = if color.3 < 1.0 { format!(" {what}-opacity=\"{}\"", short(color.3)) } else { String::new() };
    format!(" {what}=\"#{:02x}{:02x}{:02x}\"{opacity}", color.0, color.1, color.2)
}

/// Two decimals, without zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// No markup, and no character that XML does not allow.
fn escaped(text: &str) -> String {
    let allowed = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(allowed) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::rgb;

    #[test]
    fn texts_are_no_markup() {
        let mut canvas = Canvas::new(100.0, 50.0);
        let style =
            Text { size: 12.0, bold: false, color: rgb(0x123456), across: Across::Left, up: Up::Top, turned: true };
        canvas.text("<script>alert(\"1\")</script>&\u{7}", (1.0, 2.0), style);
        canvas.dot((1.0, 2.0), 3.0, rgb(0), true);
        let svg = canvas.svg("</title><script>");
        let tags = crate::html::tags(&svg);
        let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["svg", "title", "rect", "text", "circle"]);
        assert!(svg.contains("#123456") && !svg.contains('\u{7}'), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(1.0, "1"), (0.126, "0.13"), (-0.001, "0"), (12.50, "12.5")] {
            assert_eq!(short(value), text);
        }
    }
}
