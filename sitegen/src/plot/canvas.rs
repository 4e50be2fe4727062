//! Shapes and texts on paper, and the paper as a PNG.
//!
//! Places are in points from the upper left corner; a point is two pixels of the picture. Everything is drawn at twice the
//! resolution of the picture and averaged, which smooths every edge. `svg` makes a vector graphic of the same shapes.

use std::{cell::RefCell, collections::HashMap, sync::Once};

use anyhow::{Context, Result, anyhow, bail};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        Color as _, FontTransform, RGBAColor, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Pixels of the picture for each point.
const PIXELS: u32 = 2;
/// Drawn pixels for each pixel of the picture.
const SAMPLES: u32 = 2;
const ZOOM: f64 = (PIXELS * SAMPLES) as f64;
/// 200 pixels an inch: a picture of 760 points is 19 cm wide.
const PIXELS_PER_METRE: u32 = 7874;

const REGULAR: &[u8] = include_bytes!("../../fonts/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("../../fonts/DejaVuSans-Bold.ttf");

pub type Color = RGBAColor;

pub const fn rgb(hex: u32) -> Color {
    RGBAColor((hex >> 16) as u8, (hex >> 8) as u8, hex as u8, 1.0)
}

/// The same colour, let through by so much.
pub fn faint(color: Color, opacity: f64) -> Color {
    RGBAColor(color.0, color.1, color.2, opacity)
}

/// How a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Text {
    pub size: f64,
    pub bold: bool,
    pub color: Color,
    pub across: Across,
    pub up: Up,
    /// From bottom to top.
    pub turned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Across {
    Left,
    Centre,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Up {
    Top,
    Middle,
    Bottom,
}

/// Lengths in a dashed line.
pub const DASH: f64 = 5.0;
pub const GAP: f64 = 3.5;

/// What is drawn, in points.
#[derive(Clone, Debug)]
pub enum Shape {
    Line {
        points: Vec<(f64, f64)>,
        color: Color,
        width: f64,
    },
    /// A straight line of [`DASH`]es.
    Dashed {
        from: (f64, f64),
        to: (f64, f64),
        color: Color,
        width: f64,
    },
    Polygon {
        points: Vec<(f64, f64)>,
        color: Color,
    },
    Rectangle {
        from: (f64, f64),
        to: (f64, f64),
        color: Color,
    },
    Dot {
        at: (f64, f64),
        radius: f64,
        color: Color,
        hollow: bool,
    },
    Text {
        text: String,
        at: (f64, f64),
        style: Text,
    },
}

/// Shapes on white paper, to be had as pixels or as a vector graphic.
pub struct Canvas {
    pub width: u32,
    pub height: u32,
    pub shapes: Vec<Shape>,
}

impl Canvas {
    /// A white canvas; sizes in points.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width: width.ceil() as u32, height: height.ceil() as u32, shapes: Vec::new() }
    }

    pub fn line(&mut self, points: &[(f64, f64)], color: Color, width: f64) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line { points: points.to_vec(), color, width });
        }
    }

    /// A straight line of dashes.
    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Color, width: f64) {
        if from != to {
            self.shapes.push(Shape::Dashed { from, to, color, width });
        }
    }

    pub fn polygon(&mut self, points: &[(f64, f64)], color: Color) {
        if points.len() > 2 {
            self.shapes.push(Shape::Polygon { points: points.to_vec(), color });
        }
    }

    pub fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), color: Color) {
        self.shapes.push(Shape::Rectangle { from, to, color });
    }

    pub fn dot(&mut self, at: (f64, f64), radius: f64, color: Color, hollow: bool) {
        self.shapes.push(Shape::Dot { at, radius, color, hollow });
    }

    pub fn text(&mut self, text: &str, at: (f64, f64), style: Text) {
        if !text.is_empty() {
            self.shapes.push(Shape::Text { text: text.to_owned(), at, style });
        }
    }

    /// The picture: 8-bit RGB, the same bytes on every machine.
    pub fn png(&self) -> Result<Vec<u8>> {
        register_fonts()?;
        let bytes = (self.width * self.height) as usize * (ZOOM * ZOOM) as usize * 3;
        let mut raster = vec![255; bytes];
        let size = (self.width * ZOOM as u32, self.height * ZOOM as u32);
        let area = BitMapBackend::with_buffer(&mut raster, size).into_drawing_area();
        for shape in &self.shapes {
            draw(&area, shape).map_err(|message| anyhow!("cannot draw: {message}"))?;
        }
        drop(area);
        let (width, height) = ((self.width * PIXELS) as usize, (self.height * PIXELS) as usize);
        let samples = SAMPLES as usize;
        let row = width * samples * 3;
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let rows = &raster[y * samples * row..];
            for x in 0..width {
                for channel in 0..3 {
                    let mut sum = 0;
                    for dy in 0..samples {
                        for dx in 0..samples {
                            sum += u32::from(rows[dy * row + (x * samples + dx) * 3 + channel]);
                        }
                    }
                    pixels.push((sum / (SAMPLES * SAMPLES)) as u8);
                }
            }
        }
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: PIXELS_PER_METRE,
            yppu: PIXELS_PER_METRE,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header().context("cannot write a PNG")?;
        writer.write_image_data(&pixels).context("cannot write a PNG")?;
        writer.finish().context("cannot write a PNG")?;
        Ok(bytes)
    }
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn draw(area: &Area<'_>, shape: &Shape) -> std::result::Result<(), String> {
    let pixels = |points: &[(f64, f64)]| points.iter().map(|point| pixel(*point)).collect::<Vec<_>>();
    let drawn = match shape {
        Shape::Line { points, color, width } => {
            let style = color.stroke_width((width * ZOOM).round().max(1.0) as u32);
            area.draw(&PathElement::new(pixels(points), style))
        }
        Shape::Dashed { from, to, color, width } => {
            let style = color.stroke_width((width * ZOOM).round().max(1.0) as u32);
            let dashes = dashes(*from, *to);
            dashes.into_iter().try_for_each(|ends| area.draw(&PathElement::new(pixels(&ends), style)))
        }
        Shape::Polygon { points, color } => area.draw(&Polygon::new(pixels(points), color.filled())),
        Shape::Rectangle { from, to, color } => {
            let (a, b) = (pixel(*from), pixel(*to));
            let corners = [(a.0.min(b.0), a.1.min(b.1)), (a.0.max(b.0), a.1.max(b.1))];
            area.draw(&Rectangle::new(corners, color.filled()))
        }
        Shape::Dot { at, radius, color, hollow } => {
            let style = if *hollow { color.stroke_width((1.4 * ZOOM) as u32) } else { color.filled() };
            area.draw(&Circle::new(pixel(*at), (radius * ZOOM) as i32, style))
        }
        Shape::Text { text, at, style } => draw_text(area, text, *at, *style),
    };
    drawn.map_err(|err| err.to_string())
}

fn dashes(from: (f64, f64), to: (f64, f64)) -> Vec<[(f64, f64); 2]> {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let at = |share: f64| (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
    let count = (length / (DASH + GAP)).ceil() as u32;
    let dash = |number: u32| {
        let start = f64::from(number) * (DASH + GAP);
        [at(start / length), at(((start + DASH) / length).min(1.0))]
    };
    (0..count).map(dash).collect()
}

fn draw_text(
    area: &Area<'_>,
    text: &str,
    at: (f64, f64),
    style: Text,
) -> std::result::Result<(), DrawingAreaErrorKind<<BitMapBackend<'static> as DrawingBackend>::ErrorType>> {
    let across = match style.across {
        Across::Left => HPos::Left,
        Across::Centre => HPos::Center,
        Across::Right => HPos::Right,
    };
    // The library measures from the ascent, which letters do not reach.
    let (up, lower) = match style.up {
        Up::Top => (VPos::Top, 0.18),
        Up::Middle => (VPos::Center, 0.2),
        Up::Bottom => (VPos::Bottom, 0.0),
    };
    let lower = if style.turned { 0.0 } else { lower * style.size };
    let at = (at.0, at.1 + lower);
    let mut font = font(style.size, style.bold);
    if style.turned {
        font = font.transform(FontTransform::Rotate270);
    }
    let style = TextStyle::from(font).color(&style.color).pos(Pos::new(across, up));
    area.draw_text(text, &style, pixel(at))
}

fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    ((x * ZOOM).round() as i32, (y * ZOOM).round() as i32)
}

fn font(size: f64, bold: bool) -> FontDesc<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    // The library's size is that of ascent and descent together.
    FontDesc::new(FontFamily::SansSerif, size * 1.164 * ZOOM, style)
}

/// Width of a text in points.
pub fn width_of(text: &str, size: f64, bold: bool) -> f64 {
    thread_local! {
        /// Texts are measured letter by letter when they are cut: the library reads the font anew for each.
        static KNOWN: RefCell<HashMap<(char, u32, bool), f64>> = RefCell::default();
    }
    let measured = |text: &str| {
        font(size, bold).layout_box(text).map_or(0.0, |((left, _), (right, _))| f64::from(right - left) / ZOOM)
    };
    if text.is_empty() || register_fonts().is_err() {
        return 0.0;
    }
    let of = |known: &mut HashMap<_, _>, c: char| {
        *known.entry((c, size.to_bits() as u32 ^ (size.to_bits() >> 32) as u32, bold)).or_insert_with(|| {
            // A letter by itself is as wide as its ink: how much it moves the next one shows between two others.
            let mut three = [0; 8];
            three[0] = b'|';
            let end = 1 + c.encode_utf8(&mut three[1..]).len();
            three[end] = b'|';
            let with = std::str::from_utf8(&three[..=end]).map_or(0.0, measured);
            with - measured("||")
        })
    };
    KNOWN.with_borrow_mut(|known| text.chars().map(|c| of(known, c)).sum())
}

/// The embedded fonts, once for the whole program.
fn register_fonts() -> Result<()> {
    static ONCE: Once = Once::new();
    static FAILED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    ONCE.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            if register_font("sans-serif", style, bytes).is_err() {
                FAILED.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    match FAILED.load(std::sync::atomic::Ordering::Relaxed) {
        true => bail!("the embedded font cannot be read"),
        false => Ok(()),
    }
}

/// A text of the archive as one line that can be drawn: no control or direction characters, no run of white space.
pub fn one_line(text: &str) -> String {
    // Joiners too: no font here draws what they join.
    let hidden = |c: char| {
        (crate::text::is_hidden(c) && !c.is_whitespace())
            || matches!(c, '\u{200c}' | '\u{200d}')
            || (c.is_control() && !c.is_whitespace())
    };
    let shown: String = text.chars().filter(|c| !hidden(*c)).collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `one_line`, cut with an ellipsis where it is wider than `width` points.
pub fn fitted(text: &str, width: f64, size: f64, bold: bool) -> String {
    // Far more than any figure has room for; measuring takes time.
    let text: String = one_line(text).chars().take(400).collect();
    if width_of(&text, size, bold) <= width {
        return text;
    }
    let letters: Vec<char> = text.chars().collect();
    let (mut low, mut high) = (0, letters.len());
    let cut = |count: usize| format!("{}…", letters[..count].iter().collect::<String>().trim_end());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if width_of(&cut(middle), size, bold) <= width { low = middle } else { high = middle - 1 }
    }
    cut(low)
}

/// The text in lines of at most `width` points; the last of `most` lines ends with an ellipsis when more would follow.
pub fn wrapped(text: &str, width: f64, size: f64, bold: bool, most: usize) -> Vec<String> {
    let text = one_line(text);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width_of(&longer, size, bold) <= width {
            line = longer;
            continue;
        }
        if lines.len() + 1 == most {
            let rest: Vec<&str> = words.collect();
            line = fitted(&format!("{longer} {}", rest.join(" ")), width, size, bold);
            break;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line = fitted(word, width, size, bold);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_are_those_that_their_note_names() {
        let note = include_str!("../../fonts/README.md");
        for font in [REGULAR, BOLD] {
            let digest = archive::sha256_hex(font);
            assert!(note.contains(&digest), "{digest} is not in fonts/README.md");
        }
    }

    #[test]
    fn hostile_texts_become_one_line_that_fits() {
        for text in [
            "",
            "a\nb\tc",
            "\u{202e}evil\u{0}\u{7}",
            &"long ".repeat(500),
            &"M".repeat(5000),
            "日本語 العربية עברית",
            "🦀",
        ] {
            let line = one_line(text);
            assert!(!line.contains(['\n', '\t', '\u{202e}', '\u{0}']), "{line:?}");
            assert!(width_of(&fitted(text, 120.0, 12.0, false), 12.0, false) <= 120.0, "{text:?}");
            let lines = wrapped(text, 120.0, 12.0, true, 2);
            assert!(lines.len() <= 2 && lines.iter().all(|line| width_of(line, 12.0, true) <= 120.0), "{lines:?}");
        }
        assert_eq!(one_line(" a \n\n b "), "a b");
    }
}
