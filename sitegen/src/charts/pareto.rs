//! Latency against throughput: what a service can give at once, and which points are worth running at.

use serde_json::{Value, json};

use super::{Chart, Dot, Kind, Panel, XAxis, YScale, color, dashed, dots, height, line, round_number};
use crate::{
    model::{
        metric::{Metric, Percentile, Timed},
        sweep::Sweep,
    },
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 300;

/// A point of the sweep: its series, label, medians, and whether another point has both more throughput and less latency.
struct Place<'s> {
    series: usize,
    label: &'s str,
    count: usize,
    throughput: f64,
    latency_s: f64,
    is_on_front: bool,
}

/// `None` with fewer than three points.
pub fn chart(sweep: &Sweep<'_>) -> Option<Chart> {
    let axis = sweep.axis.as_ref()?;
    let p99 = Metric::Time(Timed::Latency, Percentile::P99);
    let mut places = Vec::new();
    for (series, of_series) in sweep.series.iter().enumerate() {
        for point in &of_series.points {
            let (Some(throughput), Some(latency_s)) = (point.median(Metric::Throughput), point.median(p99)) else {
                continue;
            };
            let count = point.valid().count();
            places.push(Place { series, label: &point.label, count, throughput, latency_s, is_on_front: false });
        }
    }
    if places.len() < 3 {
        return None;
    }
    let figures: Vec<(f64, f64)> = places.iter().map(|place| (place.throughput, place.latency_s)).collect();
    for place in &mut places {
        place.is_on_front = !figures.iter().any(|(throughput, latency_s)| {
            *throughput >= place.throughput
                && *latency_s <= place.latency_s
                && (*throughput > place.throughput || *latency_s < place.latency_s)
        });
    }

    let unit = TimeUnit::for_largest(places.iter().map(|place| place.latency_s).fold(0.0, f64::max));
    let latencies: Vec<f64> = places.iter().map(|place| unit.of(place.latency_s)).collect();
    let scale = YScale::of_durations(&latencies, &[]);
    let several = sweep.series.len() > 1;
    let load = |place: &Place<'_>| match (place.label, axis.name.as_str()) {
        ("1", "clients") => "1 client".to_owned(),
        (label, name) => format!("{label} {name}"),
    };
    let name = |place: &Place<'_>| match several {
        true => format!("{}, {}", sweep.series[place.series].label, load(place)),
        false => load(place),
    };
    let mut front: Vec<&Place<'_>> = places.iter().filter(|place| place.is_on_front).collect();
    front.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
    let edge = front.iter().map(|place| (place.throughput, Some(unit.of(place.latency_s))));
    let mut series: Vec<Value> = vec![dashed(line("not bettered in both", "$muted", edge, false))];
    let named = several && sweep.series.len() <= 7;
    for index in 0..sweep.series.len() {
        let own: Vec<&Place<'_>> = places.iter().filter(|place| place.series == index).collect();
        let color = if named || !several { color(index) } else { "$c1".to_owned() };
        let label = if named { sweep.series[index].label.clone() } else { "points".to_owned() };
        for bettered in [false, true] {
            let own = own.iter().filter(|place| place.is_on_front != bettered);
            let own: Vec<Dot> = own
                .map(|place| Dot {
                    x: place.throughput,
                    y: unit.of(place.latency_s),
                    name: name(place),
                    href: String::new(),
                })
                .collect();
            if own.is_empty() {
                continue;
            }
            let shown = if bettered { format!("{label}, bettered") } else { label.clone() };
            let mut drawn = dots(&shown, &color, own, bettered);
            drawn["symbolSize"] = json!(9);
            if !several {
                drawn["labelLayout"] = json!({ "hideOverlap": true });
                drawn["label"] = json!({ "show": true, "formatter": "@name", "position": "top", "color": "$muted" });
            }
            if !bettered {
                drawn["itemStyle"]["opacity"] = json!(1);
            }
            series.push(drawn);
        }
    }
    let most = places.iter().map(|place| place.throughput).fold(0.0, f64::max);
    let x = XAxis {
        name: "throughput, requests/s (median)".to_owned(),
        kind: Kind::Linear,
        min: Some(0.0),
        max: Some(round_number(most * 1.02, true)),
        labels: "@number",
    };
    let mut columns = vec![
        Column::number(&axis.name, ""),
        Column::number("throughput", "/s"),
        Column::number("p99 latency", unit.name),
        Column::number("n", ""),
        Column::text("bettered in both by another"),
    ];
    if several {
        columns.insert(0, Column::text("series"));
    }
    let rows = places.iter().map(|place| {
        let mut row = vec![
            Cell::text(place.label),
            Cell::number(place.throughput),
            Cell::sorted(&units::number(unit.of(place.latency_s)), place.latency_s),
            Cell::count(place.count as u64),
            Cell::text(if place.is_on_front { "no" } else { "yes" }),
        ];
        if several {
            row.insert(0, Cell::text(&sweep.series[place.series].label));
        }
        row
    });
    let best = front.last().map(|place| name(place)).unwrap_or_default();
    Some(Chart {
        id: "pareto".to_owned(),
        title: "Latency against throughput".to_owned(),
        finding: format!(
            "{} of {} points are not bettered in both figures at once; {best} has the most throughput. Medians over \
             valid repetitions; which of two near points is better is not tested.",
            front.len(),
            places.len()
        ),
        table: Table::new(columns, rows.collect()),
        option: super::plot(
            &x,
            vec![Panel { y_name: format!("p99 latency, {}", unit.name), scale, series, ..Panel::default() }],
            PANEL_PX,
        ),
        height_px: height(1, PANEL_PX),
        group: None,
        still: None,
    })
}
