//! How the latencies of a benchmark are spread: a histogram, and the share of requests that took at most so long.

use analysis::{Ordered, ordered};
use archive::Summary;
use serde_json::{Value, json};

use super::{Chart, Kind, Panel, XAxis, YScale, color, height, line, plot};
use crate::{
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 200;

/// Bars of the histogram.
const BARS: usize = 48;

/// Points of the ECDF.
const MOST_POINTS: usize = 300;

/// Histogram and ECDF; none when nothing succeeded.
pub fn charts(summary: &Summary) -> Vec<Chart> {
    let Some(latency) = summary.latency_s.histogram.as_ref().and_then(ordered) else { return Vec::new() };
    let (Some(first), Some(last)) = (latency.buckets().first(), latency.buckets().last()) else { return Vec::new() };
    let unit = TimeUnit::for_largest(last.2);
    // A value of zero has no place on a logarithmic axis.
    let is_log = first.1 > 0.0 && last.2 > 8.0 * first.1;
    let (low, high) = (unit.of(first.1), unit.of(last.2));
    let x = || XAxis {
        name: format!("latency, {}", unit.name),
        kind: if is_log { Kind::Log { base: 10.0 } } else { Kind::Linear },
        min: Some(low),
        max: Some(if high > low { high } else { low + 1.0 }),
        labels: "@number",
    };
    vec![histogram(&latency, unit, is_log, x()), ecdf(summary, &latency, unit, x())]
}

/// From, to and number of requests of each bar.
fn bars(latency: &Ordered, unit: TimeUnit, is_log: bool, (low, high): (f64, f64)) -> Vec<(f64, f64, u64)> {
    let edge = |i: usize| {
        let share = i as f64 / BARS as f64;
        if is_log { low * (high / low).powf(share) } else { low + (high - low) * share }
    };
    let mut bars: Vec<(f64, f64, u64)> = (0..BARS).map(|i| (edge(i), edge(i + 1), 0)).collect();
    let mut before = 0;
    for (until, from, to) in latency.buckets() {
        // A stored bucket is narrower than a bar: all of it goes to the bar that its middle is in.
        let middle = unit.of((from + to) / 2.0);
        let place = bars.partition_point(|(_, end, _)| *end < middle).min(BARS - 1);
        bars[place].2 += until - before;
        before = *until;
    }
    bars
}

fn histogram(latency: &Ordered, unit: TimeUnit, is_log: bool, x: XAxis) -> Chart {
    let range = (x.min.unwrap_or(0.0), x.max.unwrap_or(1.0));
    let bars = bars(latency, unit, is_log, range);
    let all = latency.count() as f64;
    let share = |count: u64| 100.0 * count as f64 / all;
    let drawn: Value = json!({
        "type": "custom", "name": "requests", "renderItem": "@bars", "clip": true,
        "itemStyle": { "color": color(0) },
        "encode": { "x": [0, 1], "y": 2, "tooltip": [2] }, "dimensions": ["from", "to", "share"],
        "data": bars.iter().map(|(from, to, count)| json!([from, to, share(*count)])).collect::<Vec<_>>(),
    });
    let highest = bars.iter().max_by_key(|bar| bar.2).copied().unwrap_or_default();
    let columns = vec![
        Column::number("from", unit.name),
        Column::number("to", unit.name),
        Column::number("requests", ""),
        Column::number("share", "%"),
    ];
    let rows = bars.iter().map(|(from, to, count)| {
        vec![Cell::number(*from), Cell::number(*to), Cell::count(*count), Cell::number(share(*count))]
    });
    Chart {
        id: "histogram".to_owned(),
        title: "Histogram".to_owned(),
        finding: format!(
            "{} of {} successful requests took between {} and {} {}, the most frequent of {BARS} ranges.",
            units::count(highest.2),
            units::count(latency.count()),
            units::number(highest.0),
            units::number(highest.1),
            unit.name
        ),
        table: Table::new(columns, rows.collect()),
        option: plot(
            &x,
            vec![Panel { y_name: "share of requests, %".into(), series: vec![drawn], ..Panel::default() }],
            PANEL_PX,
        ),
        height_px: height(1, PANEL_PX),
        group: None,
        still: None,
    }
}

/// Percent, with three digits of its distance from 0 and from 100: tails are what such a table is read for.
fn exact_share(share: f64) -> String {
    let distance = share.min(100.0 - share);
    let decimals = if distance > 0.0 { (2 - distance.log10().floor() as i32).clamp(0, 9) as usize } else { 0 };
    format!("{share:.decimals$}")
}

fn ecdf(summary: &Summary, latency: &Ordered, unit: TimeUnit, x: XAxis) -> Chart {
    let all = latency.count() as f64;
    let step = latency.buckets().len().div_ceil(MOST_POINTS).max(1);
    let last = latency.buckets().len().saturating_sub(1);
    let shown = latency.buckets().iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
    let points: Vec<(f64, f64)> =
        shown.map(|(_, (until, _, to))| (unit.of(*to), 100.0 * *until as f64 / all)).collect();
    let columns = vec![Column::number("at most", unit.name), Column::number("of the requests", "%")];
    let rows =
        points.iter().map(|(value, share)| vec![Cell::number(*value), Cell::sorted(&exact_share(*share), *share)]);
    let finding = match summary.latency_s.figures.p90 {
        Some(p90) => format!(
            "Nine of ten of {} successful requests took {} or less.",
            units::count(latency.count()),
            units::duration(p90)
        ),
        None => format!("Over {} successful requests.", units::count(latency.count())),
    };
    let drawn = line("latency", &color(0), points.iter().map(|(x, y)| (*x, Some(*y))), false);
    Chart {
        id: "ecdf".to_owned(),
        title: "Share of requests that took at most so long (ECDF)".to_owned(),
        finding,
        table: Table::new(columns, rows.collect()),
        option: plot(
            &x,
            vec![Panel {
                y_name: "of the requests, %".into(),
                series: vec![drawn],
                scale: YScale::LinearTo(100.0),
                ..Panel::default()
            }],
            PANEL_PX,
        ),
        height_px: height(1, PANEL_PX),
        group: None,
        still: None,
    }
}
