//! Figures for print: data → a PNG with title, axes, legend, marks and a caption that says what it rests on.
//!
//! Light background, colours that colour-blind people tell apart (Okabe and Ito 2008). Knows no benchmark.

pub mod canvas;
mod marks;
pub mod scale;
mod svg;

use anyhow::Result;

use self::{
    canvas::{Across, Canvas, Color, Text, Up, faint, fitted, rgb, width_of, wrapped},
    marks::Labels,
    scale::{Axis, Scale},
};

pub const BLUE: Color = rgb(0x0072b2);
pub const ORANGE: Color = rgb(0xd55e00);
pub const GREEN: Color = rgb(0x009e73);
pub const PURPLE: Color = rgb(0xa8568a);
pub const YELLOW: Color = rgb(0xb58900);
pub const SKY: Color = rgb(0x2e9bd6);
pub const INK: Color = rgb(0x1a1c1e);
pub const MUTED: Color = rgb(0x5c6268);
pub const GRID: Color = rgb(0xe3e5e3);
pub const BAD: Color = rgb(0xb3261e);
pub const KNEE: Color = rgb(0x6b3fa0);

/// Colours of series, in their order.
pub const SERIES: [Color; 7] = [BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, MUTED];

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 18.0;
const TITLE: f64 = 16.0;
const TEXT: f64 = 12.0;
const SMALL: f64 = 11.0;
const LINE: f64 = 16.0;
const PANEL_GAP: f64 = 22.0;

/// One picture.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// Of what.
    pub subtitle: String,
    /// What it rests on: n, intervals, method.
    pub caption: String,
    /// Shared by all panels, which stand below each other.
    pub x: Axis,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Debug)]
pub struct Panel {
    /// Categories stand from top to bottom.
    pub y: Axis,
    /// In points.
    pub height: f64,
    pub layers: Vec<Layer>,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Debug)]
pub enum Layer {
    /// A line through points; a missing y is a gap.
    Line {
        name: String,
        color: Color,
        points: Vec<(f64, Option<f64>)>,
        markers: bool,
        dashed: bool,
    },
    /// Filled between two lines: x, low, high.
    Band {
        name: String,
        color: Color,
        points: Vec<(f64, f64, f64)>,
    },
    Bars {
        name: String,
        color: Color,
        bars: Vec<Bar>,
    },
    Dots {
        name: String,
        color: Color,
        points: Vec<(f64, f64)>,
        hollow: bool,
    },
    /// Bars from the left, on an axis of categories.
    Rows {
        name: String,
        color: Color,
        rows: Vec<Row>,
    },
}

/// A bar from zero, on x from `from` to `to`, with its interval and label.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    pub from: f64,
    pub to: f64,
    pub height: f64,
    /// Ends of the interval; an absent upper end is drawn as open.
    pub interval: Option<(f64, Option<f64>)>,
    pub label: String,
    /// Not to be relied upon.
    pub faded: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Row {
    pub category: f64,
    pub value: f64,
    pub interval: Option<(f64, f64)>,
    pub label: String,
    /// A dot in place of a bar, for axes that do not begin at zero.
    pub dot: bool,
}

/// What is drawn across a panel.
#[derive(Clone, Debug)]
pub enum Mark {
    Vertical { x: f64, label: String, color: Color },
    Horizontal { y: f64, label: String, color: Color },
    Range { from: f64, to: f64, label: String, color: Color },
}

/// A panel's place on the canvas.
#[derive(Clone, Copy)]
struct Frame<'a> {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: &'a Scale,
    y: &'a Scale,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        let place = self.y.place(value);
        match self.y {
            Scale::Category(_) => self.top + (self.bottom - self.top) * place,
            _ => self.bottom - (self.bottom - self.top) * place,
        }
    }
}

impl Figure {
    /// For print.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.canvas().png()
    }

    /// For pages.
    pub fn svg(&self) -> String {
        self.canvas().svg(&self.title)
    }

    fn canvas(&self) -> Canvas {
        let inner = WIDTH - 2.0 * MARGIN;
        let title = wrapped(&self.title, inner, TITLE, true, 2);
        let caption = wrapped(&self.caption, inner, SMALL, false, 5);
        let legend = self.legend();
        let legend_rows = legend.iter().map(|(row, ..)| row + 1).max().unwrap_or(0);
        let head = MARGIN + title.len() as f64 * 21.0 + 18.0 + legend_rows as f64 * 18.0 + 10.0;
        let panels: f64 = self.panels.iter().map(|panel| panel.height).sum();
        let gaps = self.panels.len().saturating_sub(1) as f64 * PANEL_GAP;
        let foot = 20.0 + 22.0 + 12.0 + caption.len() as f64 * LINE + 10.0;
        let mut canvas = Canvas::new(WIDTH, head + panels + gaps + foot);

        let plain = |size: f64, color: Color| Text {
            size,
            bold: false,
            color,
            across: Across::Left,
            up: Up::Top,
            turned: false,
        };
        let mut y = MARGIN;
        for line in &title {
            canvas.text(line, (MARGIN, y), Text { bold: true, ..plain(TITLE, INK) });
            y += 21.0;
        }
        canvas.text(&fitted(&self.subtitle, inner, SMALL, false), (MARGIN, y), plain(SMALL, MUTED));
        y += 20.0;
        for (row, x, name, layer) in &legend {
            let at = (*x, y + *row as f64 * 18.0);
            draw_key(&mut canvas, layer, at);
            canvas.text(name, (at.0 + 24.0, at.1 + 1.0), plain(SMALL, INK));
        }

        let left = MARGIN + 22.0 + self.label_width();
        let right = WIDTH - MARGIN - 8.0;
        let mut top = head;
        for (index, panel) in self.panels.iter().enumerate() {
            let frame = Frame { left, right, top, bottom: top + panel.height, x: &self.x.scale, y: &panel.y.scale };
            let is_last = index + 1 == self.panels.len();
            self.draw_panel(&mut canvas, panel, frame, is_last);
            top += panel.height + PANEL_GAP;
        }
        let mut y = top - PANEL_GAP + 20.0;
        let name = fitted(&self.x.name, right - left, TEXT, false);
        canvas.text(&name, ((left + right) / 2.0, y + 2.0), Text { across: Across::Centre, ..plain(TEXT, INK) });
        y += 34.0;
        for line in &caption {
            canvas.text(line, (MARGIN, y), plain(SMALL, MUTED));
            y += LINE;
        }
        canvas
    }

    /// Room for the labels left of the panels.
    fn label_width(&self) -> f64 {
        let widest = |panel: &Panel| {
            let labels = panel.y.scale.ticks();
            labels.iter().map(|(_, label)| width_of(&canvas::one_line(label), TEXT, false)).fold(0.0, f64::max)
        };
        self.panels.iter().map(widest).fold(24.0, f64::max).min(WIDTH * 0.36) + 8.0
    }

    /// Row, place, name and layer of each key.
    fn legend(&self) -> Vec<(usize, f64, String, &Layer)> {
        let mut keys: Vec<(usize, f64, String, &Layer)> = Vec::new();
        let (mut row, mut x) = (0, MARGIN);
        for layer in self.panels.iter().flat_map(|panel| &panel.layers) {
            let name = fitted(layer.name(), 260.0, SMALL, false);
            if name.is_empty() || keys.iter().any(|(_, _, known, _)| *known == name) {
                continue;
            }
            let width = 24.0 + width_of(&name, SMALL, false) + 20.0;
            if x + width > WIDTH - MARGIN && x > MARGIN {
                row += 1;
                x = MARGIN;
            }
            keys.push((row, x, name, layer));
            x += width;
        }
        // One key says nothing that the axis does not say.
        let needed = keys.len() > 1 || self.panels.len() > 1;
        keys.retain(|_| needed);
        keys
    }

    fn draw_panel(&self, canvas: &mut Canvas, panel: &Panel, frame: Frame<'_>, is_last: bool) {
        let label =
            Text { size: TEXT, bold: false, color: MUTED, across: Across::Right, up: Up::Middle, turned: false };
        let mut last = f64::INFINITY;
        let is_category = matches!(panel.y.scale, Scale::Category(_));
        for (value, text) in panel.y.scale.ticks() {
            let y = frame.y(value);
            if !is_category {
                canvas.line(&[(frame.left, y), (frame.right, y)], GRID, 0.8);
            }
            if (last - y).abs() < 13.0 {
                continue;
            }
            last = y;
            let text = fitted(&text, frame.left - MARGIN - 22.0, TEXT, false);
            canvas.text(&text, (frame.left - 7.0, y), label);
        }
        for mark in &panel.marks {
            if let Mark::Range { from, to, color, .. } = mark {
                let (from, to) = ((frame.x(*from), frame.top), (frame.x(*to), frame.bottom));
                canvas.rectangle(from, to, faint(*color, 0.13));
            }
        }
        canvas.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], MUTED, 1.0);
        self.draw_x_ticks(canvas, frame, is_last);
        let name = fitted(&panel.y.name, panel.height + 8.0, TEXT, false);
        let middle = (MARGIN + 2.0, (frame.top + frame.bottom) / 2.0);
        canvas.text(&name, middle, Text { color: INK, across: Across::Centre, up: Up::Top, turned: true, ..label });

        panel.layers.iter().for_each(|layer| layer.draw_guides(canvas, frame));
        for layer in &panel.layers {
            layer.draw(canvas, frame);
        }
        let mut labels = Labels::default();
        for mark in &panel.marks {
            marks::draw_line(canvas, mark, frame);
        }
        for mark in &panel.marks {
            marks::draw_label(canvas, &mut labels, mark, frame);
        }
    }

    fn draw_x_ticks(&self, canvas: &mut Canvas, frame: Frame<'_>, labelled: bool) {
        let style = Text { size: TEXT, bold: false, color: MUTED, across: Across::Centre, up: Up::Top, turned: false };
        let ticks = self.x.scale.ticks();
        let pitch = (frame.right - frame.left) / ticks.len().max(1) as f64;
        let (step, room) = match &self.x.scale {
            // Long names are cut; where even that leaves no room, every n-th is named.
            Scale::Category(_) => {
                let step = (48.0 / pitch).ceil().max(1.0);
                (step as usize, pitch * step - 8.0)
            }
            _ => (1, f64::INFINITY),
        };
        let mut end = f64::NEG_INFINITY;
        for (value, text) in ticks.iter().step_by(step) {
            let x = frame.x(*value);
            let text = if room.is_finite() { fitted(text, room, TEXT, false) } else { text.clone() };
            let half = width_of(&text, TEXT, false) / 2.0;
            canvas.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], MUTED, 1.0);
            if !labelled || x - half < end + 7.0 {
                continue;
            }
            end = x + half;
            canvas.text(&text, (x, frame.bottom + 6.0), style);
        }
    }
}

/// A sample of a layer for the legend.
fn draw_key(canvas: &mut Canvas, layer: &Layer, (x, y): (f64, f64)) {
    let middle = y + 7.0;
    match layer {
        Layer::Line { color, dashed: true, .. } => canvas.dashed((x, middle), (x + 18.0, middle), *color, 1.6),
        Layer::Line { color, .. } => canvas.line(&[(x, middle), (x + 18.0, middle)], *color, 2.2),
        Layer::Band { color, .. } => canvas.rectangle((x, y + 2.0), (x + 18.0, y + 12.0), faint(*color, 0.2)),
        Layer::Bars { color, .. } | Layer::Rows { color, .. } => {
            canvas.rectangle((x + 4.0, y + 2.0), (x + 14.0, y + 12.0), *color);
        }
        Layer::Dots { color, hollow, .. } => canvas.dot((x + 9.0, middle), 3.6, *color, *hollow),
    }
}

impl Layer {
    fn name(&self) -> &str {
        match self {
            Self::Line { name, .. }
            | Self::Band { name, .. }
            | Self::Bars { name, .. }
            | Self::Dots { name, .. }
            | Self::Rows { name, .. } => name,
        }
    }

    fn draw(&self, canvas: &mut Canvas, frame: Frame<'_>) {
        match self {
            Self::Line { color, points, markers, dashed, .. } => {
                for run in points.split(|(_, y)| y.is_none_or(|y| !y.is_finite())) {
                    let run: Vec<_> = run.iter().map(|(x, y)| (frame.x(*x), frame.y(y.unwrap_or(0.0)))).collect();
                    if *dashed {
                        run.windows(2).for_each(|pair| canvas.dashed(pair[0], pair[1], *color, 1.6));
                    } else {
                        canvas.line(&run, *color, 2.0);
                    }
                    if *markers || run.len() == 1 {
                        run.iter().for_each(|point| canvas.dot(*point, 3.0, *color, false));
                    }
                }
            }
            Self::Band { color, points, .. } => {
                let high = points.iter().map(|(x, _, high)| (frame.x(*x), frame.y(*high)));
                let low = points.iter().rev().map(|(x, low, _)| (frame.x(*x), frame.y(*low)));
                canvas.polygon(&high.chain(low).collect::<Vec<_>>(), faint(*color, 0.2));
            }
            Self::Bars { color, bars, .. } => {
                bars.iter().for_each(|bar| draw_bar(canvas, bar, *color, frame));
            }
            Self::Dots { color, points, hollow, .. } => {
                let color = if *hollow { *color } else { faint(*color, 0.55) };
                points.iter().for_each(|(x, y)| canvas.dot((frame.x(*x), frame.y(*y)), 3.4, color, *hollow));
            }
            Self::Rows { color, rows, .. } => {
                rows.iter().for_each(|row| draw_row(canvas, row, *color, frame));
            }
        }
    }

    /// Lines that lead from a category to its dot, below everything.
    fn draw_guides(&self, canvas: &mut Canvas, frame: Frame<'_>) {
        let Self::Rows { rows, .. } = self else { return };
        for row in rows.iter().filter(|row| row.dot) {
            let y = frame.y(row.category);
            canvas.line(&[(frame.left, y), (frame.right, y)], GRID, 0.8);
        }
    }
}

fn draw_bar(canvas: &mut Canvas, bar: &Bar, color: Color, frame: Frame<'_>) {
    let (left, right, top) = (frame.x(bar.from), frame.x(bar.to), frame.y(bar.height));
    if right - left < 1.2 {
        // A bar of a fine histogram: without it a single value would not be seen.
        canvas.rectangle((left, top), (left + 1.2, frame.bottom), color);
    } else {
        canvas.rectangle((left, top), (right, frame.bottom), if bar.faded { faint(color, 0.35) } else { color });
    }
    let middle = (left + right) / 2.0;
    let mut above = top;
    if let Some((low, high)) = bar.interval {
        let open_end = (top - 30.0).max(frame.top);
        let (low, end) = (frame.y(low), high.map_or(open_end, |high| frame.y(high)));
        match high {
            Some(_) => canvas.line(&[(middle, low), (middle, end)], INK, 1.3),
            None => {
                canvas.dashed((middle, low), (middle, end), INK, 1.3);
                canvas.line(&[(middle - 4.0, end + 6.0), (middle, end), (middle + 4.0, end + 6.0)], INK, 1.3);
            }
        }
        let caps = if high.is_some() { vec![low, end] } else { vec![low] };
        caps.into_iter().for_each(|y| canvas.line(&[(middle - 5.0, y), (middle + 5.0, y)], INK, 1.3));
        above = if high.is_some() { above.min(end) } else { above };
    }
    let style = Text { size: TEXT, bold: true, color: INK, across: Across::Centre, up: Up::Bottom, turned: false };
    if bar.interval.is_some_and(|(_, high)| high.is_none()) {
        // Beside the open interval.
        let style = Text { across: Across::Left, ..style };
        canvas.text(&bar.label, (middle + 8.0, (above - 4.0).max(frame.top + 14.0)), style);
    } else {
        canvas.text(&bar.label, (middle, above - 4.0), style);
    }
}

fn draw_row(canvas: &mut Canvas, row: &Row, color: Color, frame: Frame<'_>) {
    let middle = frame.y(row.category);
    let rows = if let Scale::Category(names) = frame.y { names.len().max(1) } else { 1 };
    let half = ((frame.bottom - frame.top) / rows as f64 * 0.34).min(11.0);
    let end = frame.x(row.value);
    if !row.dot {
        canvas.rectangle((frame.left, middle - half), (end.max(frame.left + 1.0), middle + half), color);
    }
    let (mut left, mut right) = (end, end);
    if let Some((low, high)) = row.interval {
        (left, right) = (frame.x(low).min(end), frame.x(high).max(end));
        canvas.line(&[(left, middle), (right, middle)], if row.dot { color } else { INK }, 1.5);
        for x in [left, right] {
            canvas.line(&[(x, middle - 4.0), (x, middle + 4.0)], if row.dot { color } else { INK }, 1.5);
        }
    }
    if row.dot {
        canvas.dot((end, middle), 4.0, color, false);
    }
    let style = Text { size: TEXT, bold: false, color: INK, across: Across::Left, up: Up::Middle, turned: false };
    let width = width_of(&row.label, TEXT, false);
    let (at, style) = if right + 7.0 + width <= frame.right {
        (right + 7.0, style)
    } else if row.dot {
        (left - 7.0, Text { across: Across::Right, ..style })
    } else {
        (frame.right - 5.0, Text { across: Across::Right, color: rgb(0xffffff), ..style })
    };
    canvas.text(&row.label, (at, middle), style);
}

#[cfg(test)]
mod tests;
