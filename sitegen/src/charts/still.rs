//! An option as a still picture, for readers without scripts and for embedding: lines, dots, bands and marks.

use serde_json::Value;

use super::Chart;
use crate::plot::{
    BAD, BLUE, Bar, Figure, INK, KNEE, Layer, MUTED, Mark, Panel, SERIES,
    canvas::{Color, faint},
    scale::{Axis, Scale},
};

/// Points of a line in a still picture; longer ones show every n-th.
const MOST_POINTS: usize = 400;

/// `None` when nothing can be drawn.
pub fn figure(chart: &Chart) -> Option<Figure> {
    let option = &chart.option;
    // One of a kind stands without a list around it.
    let list = |name: &str| match &option[name] {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let grids = list("grid");
    let (x_axes, y_axes, all) = (list("xAxis"), list("yAxis"), list("series"));
    let xs = all.iter().flat_map(points).map(|(x, _)| x);
    let x = axis(x_axes.last()?, xs)?;
    let mut panels = Vec::new();
    for (index, y_axis) in y_axes.iter().enumerate() {
        let own: Vec<&Value> = all.iter().filter(|series| series["yAxisIndex"] == index).collect();
        let ys = own.iter().flat_map(|series| {
            // The first of a bar's values is where it ends.
            let item = &series["renderItem"];
            let skipped = usize::from(item == "@bars" || item == "@cells");
            let kept = if item == "@cells" { 2 } else { usize::MAX };
            points(series).into_iter().flat_map(move |(_, ys)| ys.into_iter().skip(skipped).take(kept))
        });
        let height = grids.get(index).and_then(|grid| grid["height"].as_f64()).unwrap_or(200.0);
        let layers: Vec<Layer> = own.iter().flat_map(|series| layers(series)).collect();
        if !layers.is_empty() {
            let marks = own.iter().flat_map(|series| marks(series)).collect();
            panels.push(Panel { y: axis(y_axis, ys)?, height, layers, marks });
        }
    }
    (!panels.is_empty()).then(|| Figure {
        title: chart.title.clone(),
        subtitle: String::new(),
        caption: chart.finding.clone(),
        x,
        panels,
    })
}

fn axis(axis: &Value, values: impl Iterator<Item = f64>) -> Option<Axis> {
    let name = axis["name"].as_str().unwrap_or_default().to_owned();
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let lowest = values.iter().copied().reduce(f64::min)?;
    let highest = values.iter().copied().reduce(f64::max)?;
    let (min, max) = (axis["min"].as_f64(), axis["max"].as_f64());
    let scale = match axis["type"].as_str() {
        Some("log") => {
            let base = axis["logBase"].as_f64().unwrap_or(10.0);
            let (min, max) = (min.unwrap_or(lowest).max(f64::MIN_POSITIVE), max.unwrap_or(highest));
            let ticks = match base == 2.0 {
                true => (0..64).map(|power| 2_f64.powi(power)).filter(|tick| (min..=max).contains(tick)).collect(),
                false => Vec::new(),
            };
            Scale::Log { min, max: if max > min { max } else { min * base }, ticks }
        }
        Some("category") => Scale::Linear { min: -0.5, max: axis["data"].as_array()?.len() as f64 - 0.5 },
        _ => match (min, max) {
            (Some(min), Some(max)) if max > min => Scale::Linear { min, max },
            _ => Scale::from_zero([highest]),
        },
    };
    Some(Axis { name, scale })
}

/// x and all y values of every item of a series.
fn points(series: &Value) -> Vec<(f64, Vec<f64>)> {
    let items = series["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let point = |item: &Value| {
        let values = if item.is_object() { &item["value"] } else { item };
        let values = values.as_array()?;
        let ys = values.get(1..)?.iter().filter_map(Value::as_f64).collect();
        Some((values.first()?.as_f64()?, ys))
    };
    items.iter().filter_map(point).collect()
}

fn layers(series: &Value) -> Vec<Layer> {
    if series["renderItem"] != "@cells" {
        return layer(series).into_iter().collect();
    }
    // From, to, low, high, count, shade.
    let cell = |(from, ys): (f64, Vec<f64>)| {
        let [to, low, high, _, shade] = ys[..] else { return None };
        Some(Layer::Band {
            name: String::new(),
            color: faint(BLUE, shade),
            points: vec![(from, low, high), (to, low, high)],
        })
    };
    points(series).into_iter().filter_map(cell).collect()
}

fn layer(series: &Value) -> Option<Layer> {
    let points = points(series);
    if points.is_empty() {
        return None;
    }
    let name = series["name"].as_str().unwrap_or_default().to_owned();
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let color_of = |style: &str| series[style]["color"].as_str().map(color);
    match series["type"].as_str()? {
        "line" => Some(Layer::Line {
            name,
            color: color_of("lineStyle").unwrap_or(INK),
            points: points.iter().step_by(step).map(|(x, ys)| (*x, ys.first().copied())).collect(),
            markers: series["symbol"] != "none" && points.len() < 60,
            dashed: series["lineStyle"]["type"] == "dashed",
        }),
        "scatter" => {
            let hollow = series["itemStyle"]["color"] == "transparent";
            let color = color_of("itemStyle").filter(|_| !hollow);
            let color = color.or(series["itemStyle"]["borderColor"].as_str().map(self::color)).unwrap_or(INK);
            let points = points.iter().filter_map(|(x, ys)| Some((*x, *ys.first()?)));
            Some(Layer::Dots { name, color, points: points.collect(), hollow })
        }
        "custom" if series["renderItem"] == "@band" => Some(Layer::Band {
            name,
            color: color_of("itemStyle").unwrap_or(INK),
            points: points.iter().filter_map(|(x, ys)| Some((*x, *ys.first()?, *ys.get(1)?))).collect(),
        }),
        "custom" if series["renderItem"] == "@bars" => Some(Layer::Bars {
            name,
            color: color_of("itemStyle").unwrap_or(INK),
            bars: points
                .iter()
                .filter_map(|(from, ys)| {
                    Some(Bar { from: *from, to: *ys.first()?, height: *ys.get(1)?, ..Bar::default() })
                })
                .collect(),
        }),
        _ => None,
    }
}

fn marks(series: &Value) -> Vec<Mark> {
    let list = |name: &str| series[name]["data"].as_array().cloned().unwrap_or_default();
    let label = |item: &Value| item["label"]["formatter"].as_str().unwrap_or_default().to_owned();
    let mut marks = Vec::new();
    for item in list("markArea") {
        let (Some(from), Some(to)) = (item[0]["xAxis"].as_f64(), item[1]["xAxis"].as_f64()) else { continue };
        let color = color(item[0]["itemStyle"]["color"].as_str().unwrap_or_default());
        marks.push(Mark::Range { from, to, label: label(&item[0]), color });
    }
    for item in list("markLine") {
        let color = color(item["lineStyle"]["color"].as_str().unwrap_or_default());
        if let Some(x) = item["xAxis"].as_f64() {
            marks.push(Mark::Vertical { x, label: label(&item), color });
        } else if let Some(y) = item["yAxis"].as_f64() {
            marks.push(Mark::Horizontal { y, label: label(&item), color });
        }
    }
    marks
}

fn color(name: &str) -> Color {
    match name {
        "$knee" => KNEE,
        "$bad" | "$limit" => BAD,
        "$muted" | "$shade" => MUTED,
        name => {
            let number = name.strip_prefix("$c").and_then(|number| number.parse::<usize>().ok());
            number.and_then(|number| SERIES.get(number.checked_sub(1)?)).copied().unwrap_or(BLUE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        charts::{Kind, Marks, Panel as Drawn, XAxis, band, line, plot},
        pages::table::Table,
    };

    #[test]
    fn a_still_has_the_lines_bands_and_marks_of_its_chart() {
        let x = XAxis {
            name: "clients".into(),
            kind: Kind::Log { base: 2.0 },
            min: Some(1.0),
            max: Some(8.0),
            labels: "@load",
        };
        let points = [(1.0, Some(2.0)), (2.0, None), (8.0, Some(9.0))];
        let panel = |series: Vec<Value>| Drawn {
            y_name: "requests/s".into(),
            series,
            marks: Marks { vertical: vec![(4.0, "knee".into(), "$knee".into())], ..Marks::default() },
            ..Drawn::default()
        };
        let series = || vec![line("median", "$c2", points, true), band("$c2", [(1.0, 1.0, 3.0)]).expect("a band")];
        for panels in [1, 2] {
            let chart = Chart {
                id: "c".into(),
                title: "Title".into(),
                finding: "Finding.".into(),
                option: plot(&x, (0..panels).map(|_| panel(series())).collect(), 200),
                height_px: 300,
                group: None,
                table: Table::new(Vec::new(), Vec::new()),
                still: None,
            };
            let figure = figure(&chart).expect("drawn");
            assert_eq!(figure.panels.len(), panels);
            let one = &figure.panels[0];
            assert!(matches!(&one.layers[0], Layer::Line { points: drawn, .. } if *drawn == points), "{one:?}");
            assert!(matches!(&one.layers[1], Layer::Band { points, .. } if *points == [(1.0, 1.0, 3.0)]), "{one:?}");
            assert!(
                matches!(&one.marks[0], Mark::Vertical { x, label, .. } if *x == 4.0 && label == "knee"),
                "{one:?}"
            );
            assert!(figure.svg().contains("Finding."));
        }
    }
}
