//! A map of latencies over time: what a line of percentiles hides, such as two kinds of answers or a pause.

use archive::Summary;
use serde_json::{Value, json};

use super::{Chart, Kind, Panel, XAxis, YScale, height, plot};
use crate::{
    load::records::Heat,
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 220;

/// `None` when nothing succeeded.
pub fn chart(summary: &Summary, heat: &Heat) -> Option<Chart> {
    let lowest = Heat::range_s(heat.cells.keys().map(|(_, row)| *row).min()?).0;
    let highest = Heat::range_s(heat.cells.keys().map(|(_, row)| *row).max()?).1;
    let unit = TimeUnit::for_largest(highest);
    let most = *heat.cells.values().max()? as f64;
    let cells = heat.cells.iter().map(|((column, row), count)| {
        let (low, high) = Heat::range_s(*row);
        let from = *column as f64 * heat.width_s;
        // The square root: cells with few requests must be seen beside those with many.
        let shade = (*count as f64 / most).sqrt();
        json!([from, from + heat.width_s, unit.of(low), unit.of(high), count, shade])
    });
    let drawn: Value = json!({
        "type": "custom", "name": "requests", "renderItem": "@cells", "clip": true,
        "itemStyle": { "color": "$c1" },
        "encode": { "x": [0, 1], "y": [2, 3], "tooltip": [4] },
        "dimensions": ["from", "to", "low", "high", "requests", "shade"],
        "data": cells.collect::<Vec<_>>(),
    });
    let end = summary.timeline.start_s.last().map_or(summary.window_s[1], |start| start + summary.timeline.bucket_s);
    let x = XAxis {
        name: "seconds from the start of the load".to_owned(),
        kind: Kind::Linear,
        min: Some(0.0),
        max: Some(end.max(summary.window_s[1]).ceil().max(1.0)),
        labels: "@number",
    };
    let panel = Panel {
        y_name: format!("latency, {}", unit.name),
        scale: YScale::Log { min: unit.of(lowest), max: unit.of(highest) },
        series: vec![drawn],
        ..Panel::default()
    };
    let columns = vec![
        Column::number("from", "s"),
        Column::number("to", "s"),
        Column::number("latency from", unit.name),
        Column::number("to", unit.name),
        Column::number("requests", ""),
    ];
    let rows = heat.cells.iter().map(|((column, row), count)| {
        let (low, high) = Heat::range_s(*row);
        let from = *column as f64 * heat.width_s;
        vec![
            Cell::number(from),
            Cell::number(from + heat.width_s),
            Cell::number(unit.of(low)),
            Cell::number(unit.of(high)),
            Cell::count(*count),
        ]
    });
    let total: u64 = heat.cells.values().sum();
    Some(Chart {
        id: "heat".to_owned(),
        title: "Latencies over time".to_owned(),
        finding: format!(
            "{} successful requests, warm-up included, by when they ended and how long they took; the darkest cell has {}.",
            units::count(total),
            units::count(most as u64)
        ),
        table: Table::new(columns, rows.collect()),
        option: plot(&x, vec![panel], PANEL_PX),
        height_px: height(1, PANEL_PX),
        group: Some("time"),
        still: None,
    })
}
