//! Lines across a panel, and their labels, which keep out of each other's way.

use super::{
    Frame, Mark, SMALL,
    canvas::{Across, Canvas, Color, Text, Up, faint, fitted, rgb, width_of},
};

const HEIGHT: f64 = 15.0;
const WHITE: Color = rgb(0xffffff);

/// The boxes of the labels that stand: left, top, right, bottom.
#[derive(Default)]
pub struct Labels(Vec<[f64; 4]>);

impl Labels {
    /// The first of the places where nothing stands yet; the last when all are taken.
    fn choose(&mut self, places: &[[f64; 4]]) -> [f64; 4] {
        let free = |place: &[f64; 4]| {
            self.0.iter().all(|taken| {
                place[2] <= taken[0] || place[0] >= taken[2] || place[3] <= taken[1] || place[1] >= taken[3]
            })
        };
        let chosen = places.iter().copied().find(free).or(places.last().copied()).unwrap_or_default();
        self.0.push(chosen);
        chosen
    }
}

pub fn draw_line(canvas: &mut Canvas, mark: &Mark, frame: Frame<'_>) {
    match mark {
        Mark::Vertical { x, color, .. } => {
            let x = frame.x(*x);
            canvas.line(&[(x, frame.top), (x, frame.bottom)], *color, 1.6);
        }
        Mark::Horizontal { y, color, .. } => {
            let y = frame.y(*y);
            canvas.dashed((frame.left, y), (frame.right, y), *color, 1.6);
        }
        Mark::Range { .. } => {}
    }
}

pub fn draw_label(canvas: &mut Canvas, labels: &mut Labels, mark: &Mark, frame: Frame<'_>) {
    let (label, color) = match mark {
        Mark::Vertical { label, color, .. }
        | Mark::Horizontal { label, color, .. }
        | Mark::Range { label, color, .. } => (label, *color),
    };
    let label = fitted(label, (frame.right - frame.left) * 0.6, SMALL, false);
    if label.is_empty() {
        return;
    }
    let width = width_of(&label, SMALL, false) + 6.0;
    let places: Vec<[f64; 4]> = match mark {
        Mark::Vertical { x, .. } => {
            let x = frame.x(*x);
            let rows = ((frame.bottom - frame.top) / HEIGHT) as usize;
            let beside = |row: usize| {
                let top = frame.top + 2.0 + row as f64 * HEIGHT;
                let right = [x + 3.0, top, x + 3.0 + width, top + HEIGHT];
                let left = [x - 3.0 - width, top, x - 3.0, top + HEIGHT];
                [right, left].into_iter().filter(|place| place[0] >= frame.left && place[2] <= frame.right)
            };
            (0..rows.max(1)).flat_map(beside).collect()
        }
        Mark::Horizontal { y, .. } => {
            let y = frame.y(*y);
            let above = (y - HEIGHT - 1.0, y - 1.0);
            let below = (y + 2.0, y + HEIGHT + 2.0);
            let heights = if above.0 >= frame.top { [above, below] } else { [below, above] };
            let at = |left: f64| heights.map(|(top, bottom)| [left, top, left + width, bottom]);
            let middle = (frame.left + frame.right - width) / 2.0;
            [frame.left + 4.0, frame.right - 4.0 - width, middle].into_iter().flat_map(at).collect()
        }
        Mark::Range { from, to, .. } => {
            let (from, to) = (frame.x(*from), frame.x(*to));
            if to - from < width {
                return;
            }
            let left = (from + to - width) / 2.0;
            vec![[left, frame.bottom - HEIGHT - 2.0, left + width, frame.bottom - 2.0]]
        }
    };
    let [left, top, right, bottom] = labels.choose(&places);
    let style = Text { size: SMALL, bold: false, color, across: Across::Left, up: Up::Middle, turned: false };
    if !matches!(mark, Mark::Range { .. }) {
        canvas.rectangle((left, top), (right, bottom), faint(WHITE, 0.82));
    }
    canvas.text(&label, (left + 3.0, (top + bottom) / 2.0), style);
}
