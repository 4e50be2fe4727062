//! A figure of two executions over each other, point by point.

use analysis::saturation::{Center, intervals};

use super::{Chart, Dot, Kind, Panel, XAxis, YScale, band, dots, height, line};
use crate::{
    load::Loaded,
    model::{
        diff::{Diff, DiffPoint},
        metric::{Metric, Percentile, Timed},
    },
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 220;

/// Throughput and p99 latency of both; `None` without two points, since a line needs them.
pub fn charts(diff: &Diff<'_>, to_version: &str) -> Vec<Chart> {
    if diff.points.len() < 2 {
        return Vec::new();
    }
    let p99 = Metric::Time(Timed::Latency, Percentile::P99);
    [("throughput", "Throughput", Metric::Throughput), ("latency-p99", "Latency, p99", p99)]
        .into_iter()
        .filter_map(|(id, title, metric)| chart(diff, id, title, metric, to_version))
        .collect()
}

fn chart(diff: &Diff<'_>, id: &str, title: &str, metric: Metric, to_version: &str) -> Option<Chart> {
    let of = |benchmarks: &[&Loaded]| -> Vec<f64> {
        benchmarks.iter().filter_map(|benchmark| metric.of(benchmark.summary.as_ref()?)).collect()
    };
    let all: Vec<f64> =
        diff.points.iter().flat_map(|point| [of(&point.base), of(&point.candidate)]).flatten().collect();
    let largest = all.iter().copied().reduce(f64::max)?;
    let is_duration = matches!(metric, Metric::Time(..));
    let unit = TimeUnit::for_largest(largest);
    let scaled = |value: f64| if is_duration { unit.of(value) } else { value };
    let y_name = if is_duration { format!("p99 latency, {}", unit.name) } else { "requests/s".to_owned() };
    let values: Vec<f64> = all.iter().map(|value| scaled(*value)).collect();
    let scale = if is_duration { YScale::of_durations(&values, &[]) } else { YScale::Linear };

    type Side<'s> = for<'p, 'a> fn(&'p DiffPoint<'a>) -> &'p [&'a Loaded];
    let sides: [(&str, &str, Side<'_>); 2] =
        [("before", "$c7", |point| &point.base), ("after", "$c1", |point| &point.candidate)];
    let mut series = Vec::new();
    for (name, color, side) in sides {
        let figures: Vec<Vec<f64>> = diff.points.iter().map(|point| of(side(point))).collect();
        let values: Vec<(f64, f64)> = figures
            .iter()
            .enumerate()
            .flat_map(|(x, values)| values.iter().map(move |value| (x as f64, *value)))
            .collect();
        let floor = if let YScale::Log { min, .. } = scale { min } else { 0.0 };
        let spans = intervals(&values, Center::Median);
        let spreads = spans.into_iter().map(|(x, low, high)| (x, scaled(low).max(floor), scaled(high)));
        series.extend(band(color, spreads));
        let medians =
            figures.iter().enumerate().map(|(x, values)| (x as f64, analysis::median(values.clone()).map(scaled)));
        series.push(line(name, color, medians, true));
        let own = diff.points.iter().enumerate().flat_map(|(x, point)| {
            side(point).iter().filter_map(move |benchmark| {
                let y = scaled(metric.of(benchmark.summary.as_ref()?)?);
                let id = benchmark.id.to_string();
                let href = format!("{to_version}benchmarks/{id}/index.html");
                Some(Dot { x: x as f64, y, name: id, href })
            })
        });
        series.push(dots("repetitions", color, own, false));
    }
    let x = XAxis {
        name: "point".to_owned(),
        kind: Kind::Category(diff.points.iter().map(|point| point.label.clone()).collect()),
        min: None,
        max: None,
        labels: "@load",
    };
    let column = if is_duration { unit.name } else { "/s" };
    let mut columns = vec![Column::text("point")];
    for (name, ..) in sides {
        columns.push(Column::number(&format!("{name}, median"), column));
        columns.push(Column::number("95 % from", column));
        columns.push(Column::number("to", column));
        columns.push(Column { unit: column.to_owned(), ..Column::text("repetitions") });
    }
    let spans = sides.map(|(_, _, side)| {
        let values =
            diff.points.iter().enumerate().flat_map(|(x, point)| {
                of(side(point)).into_iter().map(move |value| (x as f64, value)).collect::<Vec<_>>()
            });
        intervals(&values.collect::<Vec<_>>(), Center::Median)
    });
    let rows = diff.points.iter().enumerate().map(|(x, point)| {
        let mut row = vec![Cell::text(&point.label)];
        for ((.., side), spans) in sides.iter().zip(&spans) {
            let values = of(side(point));
            let span = spans.iter().find(|(place, ..)| *place == x as f64);
            row.push(Cell::optional(analysis::median(values.clone()).map(scaled)));
            row.push(Cell::optional(span.map(|(_, low, _)| scaled(*low))));
            row.push(Cell::optional(span.map(|(.., high)| scaled(*high))));
            let values: Vec<String> = values.into_iter().map(|value| units::number(scaled(value))).collect();
            row.push(Cell::text(&values.join(" · ")));
        }
        row
    });
    let most = diff.points.iter().map(|point| point.base.len().min(point.candidate.len())).max().unwrap_or(0);
    Some(Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        finding: match most {
            0 | 1 => "n = 1: one repetition each, so no spread is known.".to_owned(),
            most => format!(
                "Dots are repetitions (up to {most} a side), lines their medians, bands the 95 % intervals of these."
            ),
        },
        table: Table::new(columns, rows.collect()),
        option: super::plot(&x, vec![Panel { y_name, scale, series, ..Panel::default() }], PANEL_PX),
        height_px: height(1, PANEL_PX),
        group: Some("points"),
        still: None,
    })
}
