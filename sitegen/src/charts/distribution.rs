//! The distribution of a benchmark's durations, on an axis of percentiles.

use analysis::percentile_curve;
use archive::{Distribution, Summary};

use super::{Chart, Kind, Panel, XAxis, YScale, color, height, line, plot};
use crate::{
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 260;

/// Percentile curves of latency and, where they were measured, its parts; `None` when nothing succeeded.
pub fn chart(summary: &Summary) -> Option<Chart> {
    let named: [(&str, Option<&Distribution>); 6] = [
        ("latency", Some(&summary.latency_s)),
        ("service time", summary.service_time_s.as_ref()),
        ("send lag", summary.send_lag_s.as_ref()),
        ("TTFT", summary.ttft_s.as_ref()),
        ("TPOT", summary.tpot_s.as_ref()),
        ("ITL", summary.itl_s.as_ref()),
    ];
    let curves: Vec<_> = named
        .into_iter()
        .filter_map(|(name, distribution)| Some((name, percentile_curve(distribution?.histogram.as_ref()?)?)))
        .collect();
    let seconds: Vec<f64> = curves.iter().flat_map(|(_, curve)| curve).map(|point| point.seconds).collect();
    let largest = seconds.iter().copied().fold(0.0, f64::max);
    let last = curves.iter().filter_map(|(_, curve)| curve.last()).map(|point| point.one_in).fold(2.0, f64::max);
    let (_, latency) = curves.first()?;

    let unit = TimeUnit::for_largest(largest);
    let values: Vec<f64> = seconds.iter().map(|seconds| unit.of(*seconds)).filter(|value| *value > 0.0).collect();
    let scale = YScale::of_durations(&values, &[]);
    let series = curves.iter().enumerate().map(|(i, (name, curve))| {
        let above_zero = |y: &f64| scale == YScale::Linear || *y > 0.0;
        let points = curve.iter().map(|point| (point.one_in, Some(unit.of(point.seconds)).filter(above_zero)));
        line(name, &color(i), points, false)
    });
    let panel =
        Panel { y_name: format!("duration, {}", unit.name), scale, series: series.collect(), ..Panel::default() };
    let x = XAxis {
        name: "percentile".to_owned(),
        kind: Kind::Log { base: 10.0 },
        min: Some(1.0),
        max: Some(last),
        labels: "@percentile",
    };

    let figures = &summary.latency_s.figures;
    let end = latency.last()?;
    let finding = format!(
        "Half of the requests took {} or less; the latency curve ends at p{}, the last percentile with ten requests \
         beyond it.",
        figures.p50.map_or_else(|| "–".to_owned(), units::duration),
        percentile_name(end.one_in),
    );
    Some(Chart {
        id: "distribution".to_owned(),
        title: "Distribution".to_owned(),
        finding,
        option: plot(&x, vec![panel], PANEL_PX),
        height_px: height(1, PANEL_PX),
        group: None,
        still: None,
        table: table(&curves, unit),
    })
}

/// 1000 → `99.9`.
fn percentile_name(one_in: f64) -> String {
    let percentile = 100.0 - 100.0 / one_in;
    let decimals = (one_in.log10().ceil() as usize).saturating_sub(2).clamp(0, 6);
    let text = format!("{percentile:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Every point of every curve; those that people ask for have a table of their own on the page.
fn table(curves: &[(&str, Vec<analysis::CurvePoint>)], unit: TimeUnit) -> Table {
    let columns = vec![
        Column::text("figure"),
        Column::text("percentile"),
        Column::number("one request in", ""),
        Column::number("takes more than", unit.name),
    ];
    let rows = curves.iter().flat_map(|(name, curve)| {
        curve.iter().map(move |point| {
            vec![
                Cell::text(name),
                Cell::sorted(&format!("p{}", percentile_name(point.one_in)), point.one_in),
                Cell::number(point.one_in),
                Cell::sorted(&units::number(unit.of(point.seconds)), point.seconds),
            ]
        })
    });
    Table::new(columns, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_named_as_people_do() {
        for (one_in, name) in [(1.0, "0"), (2.0, "50"), (10.0, "90"), (20.0, "95"), (100.0, "99"), (1000.0, "99.9")] {
            assert_eq!(percentile_name(one_in), name);
        }
    }
}
