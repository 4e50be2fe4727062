//! Pixels: shapes and texts in a raster, and the raster as a PNG.
//!
//! Places are in points from the upper left corner; a point is two pixels of the picture. Everything is drawn at twice the
//! resolution of the picture and averaged, which smooths every edge.

use std::sync::Once;

use anyhow::{Context, Result, bail};
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

pub struct Canvas {
    width: u32,
    height: u32,
    raster: Vec<u8>,
    failed: Option<String>,
}

impl Canvas {
    /// A white canvas; sizes in points.
    pub fn new(width: f64, height: f64) -> Result<Self> {
        register_fonts()?;
        let (width, height) = (width.ceil() as u32, height.ceil() as u32);
        let bytes = (width * height) as usize * (ZOOM * ZOOM) as usize * 3;
        Ok(Self { width, height, raster: vec![255; bytes], failed: None })
    }

    fn draw(&mut self, act: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> std::result::Result<(), String>) {
        let size = (self.width * ZOOM as u32, self.height * ZOOM as u32);
        let area = BitMapBackend::with_buffer(&mut self.raster, size).into_drawing_area();
        let outcome = act(&area);
        drop(area);
        if let Err(message) = outcome {
            self.failed.get_or_insert(message);
        }
    }

    pub fn line(&mut self, points: &[(f64, f64)], color: Color, width: f64) {
        if points.len() < 2 {
            return;
        }
        let style = color.stroke_width((width * ZOOM).round().max(1.0) as u32);
        let points: Vec<_> = points.iter().map(|point| pixel(*point)).collect();
        self.draw(|area| area.draw(&PathElement::new(points, style)).map_err(|err| err.to_string()));
    }

    /// A straight line of dashes.
    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Color, width: f64) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let (dash, gap) = (5.0, 3.5);
        let at = |share: f64| (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
        let mut done = 0.0;
        while done < length {
            self.line(&[at(done / length), at(((done + dash) / length).min(1.0))], color, width);
            done += dash + gap;
        }
    }

    pub fn polygon(&mut self, points: &[(f64, f64)], color: Color) {
        if points.len() < 3 {
            return;
        }
        let points: Vec<_> = points.iter().map(|point| pixel(*point)).collect();
        self.draw(|area| area.draw(&Polygon::new(points, color.filled())).map_err(|err| err.to_string()));
    }

    pub fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), color: Color) {
        let (a, b) = (pixel(from), pixel(to));
        let corners = [(a.0.min(b.0), a.1.min(b.1)), (a.0.max(b.0), a.1.max(b.1))];
        self.draw(|area| area.draw(&Rectangle::new(corners, color.filled())).map_err(|err| err.to_string()));
    }

    pub fn dot(&mut self, at: (f64, f64), radius: f64, color: Color, hollow: bool) {
        let radius = (radius * ZOOM) as i32;
        let style = if hollow { color.stroke_width((1.4 * ZOOM) as u32) } else { color.filled() };
        self.draw(|area| area.draw(&Circle::new(pixel(at), radius, style)).map_err(|err| err.to_string()));
    }

    pub fn text(&mut self, text: &str, at: (f64, f64), style: Text) {
        if text.is_empty() {
            return;
        }
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
        self.draw(|area| area.draw_text(text, &style, pixel(at)).map_err(|err| err.to_string()));
    }

    /// The picture: 8-bit RGB, the same bytes on every machine.
    pub fn png(self) -> Result<Vec<u8>> {
        if let Some(message) = self.failed {
            bail!("cannot draw: {message}");
        }
        let (width, height) = ((self.width * PIXELS) as usize, (self.height * PIXELS) as usize);
        let samples = SAMPLES as usize;
        let row = width * samples * 3;
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let rows = &self.raster[y * samples * row..];
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
    if text.is_empty() || register_fonts().is_err() {
        return 0.0;
    }
    font(size, bold).layout_box(text).map_or(0.0, |((left, _), (right, _))| f64::from(right - left) / ZOOM)
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
    let hidden = |c: char| {
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
