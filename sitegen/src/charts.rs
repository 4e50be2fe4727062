//! Figures → ECharts options. A chart is an option, what it shows in one sentence, and the same as a table.
//!
//! Colours are names (`$c1`, `$knee`) and functions are names (`@number`) that the theme's script resolves, so that an
//! option is plain data: nothing from the archive can become code.

pub mod density;
pub mod devices;
pub mod distribution;
pub mod heat;
pub mod overlay;
pub mod pareto;
pub mod still;
pub mod sweep;
pub mod timeline;
pub mod trend;

use charming::{
    Chart as Option_,
    component::{Axis, Grid, Legend},
    element::{
        AxisLabel, AxisPointer, AxisPointerType, AxisType, Color, Formatter, ItemStyle, LineStyle, LineStyleType,
        NameLocation, Symbol, Tooltip, Trigger,
    },
    series::{Line, Scatter},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::pages::table::Table;

/// One figure of a page.
#[derive(Serialize)]
pub struct Chart {
    /// Unique on its page.
    pub id: String,
    pub title: String,
    /// What it shows, in one sentence.
    pub finding: String,
    pub option: Value,
    pub height_px: u32,
    /// Charts of one group share their cursor.
    pub group: Option<&'static str>,
    pub table: Table,
    /// A picture of it that the version has anyway: its path within the version. Else one is drawn.
    #[serde(skip)]
    pub still: Option<String>,
}

/// The x axis, shared by all panels of a chart.
pub struct XAxis {
    pub name: String,
    pub kind: Kind,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// Name of the function that writes its labels.
    pub labels: &'static str,
}

pub enum Kind {
    Linear,
    Log { base: f64 },
    Category(Vec<String>),
}

/// One coordinate system of a chart; panels stand below each other.
#[derive(Default)]
pub struct Panel {
    pub y_name: String,
    pub scale: YScale,
    pub series: Vec<Value>,
    pub marks: Marks,
}

/// The y axis of a panel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum YScale {
    /// From zero.
    #[default]
    Linear,
    /// From zero to a value that is not in the data, such as a limit.
    LinearTo(f64),
    Log {
        min: f64,
        max: f64,
    },
}

impl YScale {
    /// Logarithmic where the values span more than a factor of 20. `beside` are limits that are drawn too: those far
    /// above the data are left outside.
    pub fn of_durations(values: &[f64], beside: &[f64]) -> Self {
        let (low, high) = values.iter().fold((f64::MAX, 0.0_f64), |(low, high), y| (low.min(*y), high.max(*y)));
        let near: Vec<f64> = beside.iter().copied().filter(|limit| *limit > 0.0 && *limit <= 3.0 * high).collect();
        let (low, top) = near.iter().fold((low, high), |(low, high), y| (low.min(*y), high.max(*y)));
        if low > 0.0 && high > 20.0 * low {
            Self::Log { min: round_number(low, false), max: round_number(top, true) }
        } else if top > high {
            Self::LinearTo(round_number(top * 1.05, true))
        } else {
            Self::Linear
        }
    }
}

impl YScale {
    /// From zero to a value and a little more.
    pub fn to(value: f64) -> Self {
        Self::LinearTo(round_number(value * 1.05, true))
    }
}

/// The next of 1, 2, 5 times a power of ten, up or down.
fn round_number(value: f64, up: bool) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let fits = |step: &&f64| if up { **step >= value } else { **step <= value };
    let found = if up { steps.iter().find(fits) } else { steps.iter().rev().find(fits) };
    found.copied().unwrap_or(value)
}

/// What is drawn across a panel.
#[derive(Default)]
pub struct Marks {
    /// Vertical lines: place, label, colour.
    pub vertical: Vec<(f64, String, String)>,
    /// Horizontal lines: value, label, colour.
    pub horizontal: Vec<(f64, String, String)>,
    /// Shaded ranges on x: from, to, label, colour.
    pub ranges: Vec<(f64, f64, String, String)>,
}

/// Names of the colours of entities, in their order.
pub fn color(index: usize) -> String {
    format!("$c{}", index % 7 + 1)
}

/// A shape for each colour, so that nobody needs to tell colours apart.
fn symbol(color: &str) -> Symbol {
    match color {
        "$c2" => Symbol::Triangle,
        "$c3" => Symbol::Rect,
        "$c4" => Symbol::Diamond,
        "$c5" => Symbol::RoundRect,
        "$c6" => Symbol::Pin,
        "$c7" => Symbol::Arrow,
        _ => Symbol::Circle,
    }
}

const PANEL_GAP: u32 = 28;
const TOP: u32 = 44;
const BOTTOM: u32 = 52;

/// Height of a chart whose panels are `panel_px` high.
pub fn height(panels: usize, panel_px: u32) -> u32 {
    TOP + BOTTOM + panels as u32 * panel_px + (panels as u32 - 1) * PANEL_GAP
}

/// Puts panels below each other on one x axis.
pub fn plot(x: &XAxis, panels: Vec<Panel>, panel_px: u32) -> Value {
    let last = panels.len() - 1;
    let mut chart =
        Option_::new().animation(false).legend(Legend::new().top(4).left(56).item_width(18).item_height(8)).tooltip(
            Tooltip::new()
                .trigger(Trigger::Axis)
                .formatter(Formatter::String("@tooltip".into()))
                .axis_pointer(AxisPointer::new().type_(AxisPointerType::Line)),
        );
    let mut series = Vec::new();
    for (index, panel) in panels.into_iter().enumerate() {
        let top = TOP + index as u32 * (panel_px + PANEL_GAP);
        chart = chart
            .grid(Grid::new().left(76).right(28).top(f64::from(top)).height(f64::from(panel_px)))
            .x_axis(x_axis(x, index, index == last))
            .y_axis(y_axis(&panel, index));
        series.extend(panel.series.into_iter().chain(panel.marks.series()).map(|mut series| {
            series["xAxisIndex"] = json!(index);
            series["yAxisIndex"] = json!(index);
            series
        }));
    }
    // Plain data throughout: serialising an option of numbers and texts cannot fail.
    let mut option = serde_json::to_value(&chart).unwrap_or_default();
    let names: Vec<Value> = series.iter().filter_map(|series| series.get("name").cloned()).collect();
    let mut unique: Vec<Value> = Vec::new();
    names.into_iter().filter(|name| name != "").for_each(|name| {
        if !unique.contains(&name) {
            unique.push(name);
        }
    });
    option["legend"]["data"] = Value::Array(unique);
    option["legend"]["type"] = json!("scroll");
    option["tooltip"]["renderMode"] = json!("richText");
    option["tooltip"]["confine"] = json!(true);
    option["axisPointer"] = json!({ "link": [{ "xAxisIndex": "all" }] });
    option["series"] = Value::Array(series);
    option
}

fn x_axis(x: &XAxis, index: usize, named: bool) -> Axis {
    let labels = AxisLabel::new().show(named).formatter(Formatter::String(x.labels.into()));
    let mut axis = Axis::new().grid_index(index as f64).axis_label(labels);
    axis = match &x.kind {
        Kind::Linear => axis.type_(AxisType::Value),
        Kind::Log { base } => axis.type_(AxisType::Log).log_base(*base),
        Kind::Category(names) => {
            // Category labels are written as they are: a function's name would take their place.
            axis.type_(AxisType::Category).data(names.clone()).axis_label(AxisLabel::new().show(named))
        }
    };
    if let Some(min) = x.min {
        axis = axis.min(min);
    }
    if let Some(max) = x.max {
        axis = axis.max(max);
    }
    match named {
        true => axis.name(x.name.clone()).name_location(NameLocation::Middle).name_gap(30),
        false => axis,
    }
}

fn y_axis(panel: &Panel, index: usize) -> Axis {
    let labels = AxisLabel::new().formatter(Formatter::String("@number".into()));
    let axis = Axis::new()
        .grid_index(index as f64)
        .name(panel.y_name.clone())
        .name_location(NameLocation::Middle)
        .name_gap(58)
        .split_number(4)
        .axis_label(labels);
    match panel.scale {
        YScale::Linear => axis.type_(AxisType::Value).min(0),
        YScale::LinearTo(max) => axis.type_(AxisType::Value).min(0).max(max),
        YScale::Log { min, max } => axis.type_(AxisType::Log).log_base(10).min(min).max(max),
    }
}

fn value(series: impl Serialize) -> Value {
    // Plain data, as above.
    serde_json::to_value(series).unwrap_or_default()
}

/// A line through points of (x, y); a missing y is a gap.
pub fn line(name: &str, color: &str, points: impl IntoIterator<Item = (f64, Option<f64>)>, markers: bool) -> Value {
    let data: Vec<_> = points.into_iter().map(|(x, y)| vec![Some(x), y]).collect();
    value(
        Line::new()
            .name(name)
            .symbol(if markers { symbol(color) } else { Symbol::None })
            .symbol_size(6.0)
            .line_style(LineStyle::new().width(2).color(Color::Value(color.into())))
            .item_style(ItemStyle::new().color(Color::Value(color.into())))
            .data(data),
    )
}

/// Gives each item of a line what its tooltip says beside the value: `n = 3, 1,780 to 1,850`.
pub fn noted(mut line: Value, notes: impl IntoIterator<Item = String>) -> Value {
    if let Some(data) = line["data"].as_array_mut() {
        for (item, note) in data.iter_mut().zip(notes) {
            *item = json!({ "value": item.take(), "note": note });
        }
    }
    line
}

/// The same, dashed: what is a limit or a part of another line.
pub fn dashed(mut line: Value) -> Value {
    line["lineStyle"]["type"] = value(LineStyleType::Dashed);
    line["lineStyle"]["width"] = json!(1.5);
    line
}

/// A dot, and what it leads to.
pub struct Dot {
    pub x: f64,
    pub y: f64,
    pub name: String,
    pub href: String,
}

/// One dot a repetition; hollow ones stand for what is left out of every line.
pub fn dots(name: &str, color: &str, dots: impl IntoIterator<Item = Dot>, hollow: bool) -> Value {
    let mut series = value(Scatter::new().name(name).symbol(symbol(color)).symbol_size(if hollow { 9.0 } else { 6.0 }));
    series["itemStyle"] = match hollow {
        true => json!({ "color": "transparent", "borderColor": color, "borderWidth": 1.5 }),
        false => json!({ "color": color, "opacity": 0.5 }),
    };
    let data = dots.into_iter().map(|dot| json!({ "value": [dot.x, dot.y], "name": dot.name, "href": dot.href }));
    series["data"] = Value::Array(data.collect());
    series
}

/// A filled band between two lines: points of (x, low, high).
pub fn band(color: &str, points: impl IntoIterator<Item = (f64, f64, f64)>) -> Option<Value> {
    let points: Vec<_> = points.into_iter().map(|(x, low, high)| json!([x, low, high])).collect();
    (!points.is_empty()).then(|| {
        json!({
            "type": "custom", "name": "", "renderItem": "@band", "silent": true, "z": 1, "clip": true,
            "itemStyle": { "color": color, "opacity": 0.16 },
            "encode": { "x": 0, "y": [1, 2] }, "dimensions": ["x", "low", "high"],
            "tooltip": { "show": false }, "data": points,
        })
    })
}

impl Marks {
    /// A line without points that carries the marks of its panel.
    fn series(self) -> Option<Value> {
        if self.vertical.is_empty() && self.horizontal.is_empty() && self.ranges.is_empty() {
            return None;
        }
        let style = |color: &str, dashed: bool| json!({ "color": color, "width": 1.5, "type": if dashed { "dashed" } else { "solid" } });
        let label = |text: &str, color: &str, position: &str| json!({ "show": !text.is_empty(), "formatter": text.replace(['{', '}'], ""), "color": color, "position": position });
        let vertical = self.vertical.iter().map(|(x, text, color)| {
            json!({ "xAxis": x, "lineStyle": style(color, false), "label": label(text, color, "end") })
        });
        let horizontal = self.horizontal.iter().map(|(y, text, color)| {
            json!({ "yAxis": y, "lineStyle": style(color, true), "label": label(text, color, "insideStartTop") })
        });
        let ranges = self.ranges.iter().map(|(from, to, text, color)| {
            let mut label = label(text, color, "insideTop");
            label["color"] = json!("$muted");
            json!([{ "xAxis": from, "itemStyle": { "color": color, "opacity": 0.13 }, "label": label }, { "xAxis": to }])
        });
        Some(json!({
            "type": "line", "name": "", "data": [], "silent": true, "symbol": "none",
            "markLine": { "silent": true, "symbol": ["none", "none"], "data": vertical.chain(horizontal).collect::<Vec<_>>() },
            "markArea": { "silent": true, "data": ranges.collect::<Vec<_>>() },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(items) => items.iter().for_each(|item| all_texts(item, texts)),
            Value::Object(fields) => fields.values().for_each(|field| all_texts(field, texts)),
            _ => {}
        }
    }

    #[test]
    fn the_scale_of_durations_fits_the_data_and_near_limits() {
        for (values, limits, scale) in [
            (&[10.0, 40.0][..], &[][..], YScale::Linear),
            (&[10.0, 40.0], &[50.0], YScale::LinearTo(100.0)),
            (&[10.0, 40.0], &[500.0], YScale::Linear),
            (&[12.0, 400.0], &[], YScale::Log { min: 10.0, max: 500.0 }),
            (&[12.0, 400.0], &[8.0, 1000.0], YScale::Log { min: 5.0, max: 1000.0 }),
            (&[0.0, 400.0], &[], YScale::Linear),
        ] {
            assert_eq!(YScale::of_durations(values, limits), scale, "{values:?} {limits:?}");
        }
    }

    #[test]
    fn an_option_is_plain_data_with_an_axis_pair_for_each_panel() {
        let x =
            XAxis { name: "clients".into(), kind: Kind::Log { base: 2.0 }, min: Some(1.0), max: None, labels: "@load" };
        let panel = |name: &str| Panel {
            y_name: name.into(),
            series: vec![line("median", "$c1", [(1.0, Some(2.0)), (2.0, None)], true)],
            marks: Marks { vertical: vec![(8.0, "{knee}".into(), "$knee".into())], ..Marks::default() },
            ..Panel::default()
        };
        let option = plot(&x, vec![panel("requests/s"), panel("latency, ms")], 200);
        assert_eq!(option["series"].as_array().expect("series").len(), 4);
        assert_eq!(option["series"][2]["yAxisIndex"], 1);
        assert_eq!(option["series"][0]["data"], json!([[1.0, 2.0], [2.0, null]]));
        assert_eq!(option["legend"]["data"], json!(["median"]));
        assert_eq!(option["series"][1]["markLine"]["data"][0]["label"]["formatter"], "knee");
        let mut texts = Vec::new();
        all_texts(&option, &mut texts);
        assert!(texts.iter().all(|text| !text.contains("function")), "{texts:?}");
    }
}
