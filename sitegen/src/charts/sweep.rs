//! Figures over the swept axis: throughput, latency and TTFT on the same x, one chart each.

mod marks;

use analysis::{
    saturation::{Center, intervals},
    slo,
};

use super::{Chart, Dot, Kind, Panel, XAxis, YScale, band, color, dots, height, line, noted, plot};
use crate::{
    load::Loaded,
    model::{
        metric::{Metric, Percentile, Timed, limit_in_words},
        sweep::{Axis, Point, Scale, Series, Sweep},
    },
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 260;

/// What a chart over the sweep shows: some figures of each series, in one unit.
struct Subject<'s, 'a> {
    id: &'static str,
    title: &'static str,
    y_name: String,
    per_unit: f64,
    /// Name, colour, series and figure of each line.
    lines: Vec<(String, String, &'s Series<'a>, Metric)>,
    limits: Vec<DrawnLimit>,
    is_duration: bool,
}

/// A limit of the SLO on a figure of the chart.
struct DrawnLimit {
    metric: String,
    /// In the chart's unit.
    value: f64,
    words: String,
}

/// The charts of an execution, from top to bottom. `to_version` leads from the page to the folder of the version.
pub fn charts(sweep: &Sweep<'_>, to_version: &str) -> Vec<Chart> {
    let Some(axis) = &sweep.axis else { return Vec::new() };
    let mut subjects = vec![throughput(sweep)];
    if sweep.series.iter().any(|series| !series.values(Metric::TokensPerSecond).is_empty()) {
        subjects.push(tokens(sweep));
    }
    for timed in [Timed::Latency, Timed::Ttft] {
        subjects.extend(times(sweep, timed));
    }
    let charts = subjects.into_iter().filter_map(|subject| chart(sweep, axis, subject, to_version));
    charts.chain(super::pareto::chart(sweep)).collect()
}

fn one_metric<'s, 'a>(sweep: &'s Sweep<'a>, metric: Metric) -> Vec<(String, String, &'s Series<'a>, Metric)> {
    let name = |series: &Series<'_>| if series.label.is_empty() { "median".to_owned() } else { series.label.clone() };
    sweep.series.iter().enumerate().map(|(i, series)| (name(series), color(i), series, metric)).collect()
}

fn throughput<'s, 'a>(sweep: &'s Sweep<'a>) -> Subject<'s, 'a> {
    Subject {
        id: "throughput",
        title: "Throughput",
        y_name: "requests/s".to_owned(),
        per_unit: 1.0,
        lines: one_metric(sweep, Metric::Throughput),
        limits: limits(sweep, 1.0, &|metric| metric == "requests_per_second"),
        is_duration: false,
    }
}

/// The limits of the campaign on figures that a chart shows.
fn limits(sweep: &Sweep<'_>, per_unit: f64, ours: &dyn Fn(&str) -> bool) -> Vec<DrawnLimit> {
    let Some(series) = sweep.series.first() else { return Vec::new() };
    let outcomes = series.saturation().slo_limits.iter().filter(|outcome| ours(&outcome.metric));
    let drawn = outcomes.map(|outcome| DrawnLimit {
        metric: outcome.metric.clone(),
        value: outcome.limit * per_unit,
        words: format!("SLO {}", limit_in_words(&outcome.metric, outcome.limit)),
    });
    drawn.collect()
}

fn tokens<'s, 'a>(sweep: &'s Sweep<'a>) -> Subject<'s, 'a> {
    Subject {
        id: "tokens",
        title: "Output tokens",
        y_name: "tokens/s".to_owned(),
        lines: one_metric(sweep, Metric::TokensPerSecond),
        limits: limits(sweep, 1.0, &|metric| metric == "tokens_per_second"),
        ..throughput(sweep)
    }
}

/// One chart of three percentiles for one series; one chart a percentile for several.
fn times<'s, 'a>(sweep: &'s Sweep<'a>, timed: Timed) -> Vec<Subject<'s, 'a>> {
    let largest = sweep.series.iter().flat_map(|series| series.values(Metric::Time(timed, Percentile::P99)));
    let largest = largest.map(|(_, value)| value).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let limits = |percentiles: &[Percentile]| {
        limits(sweep, unit.per_second, &|metric| {
            let words = slo::metric_in_words(metric);
            percentiles.iter().any(|percentile| words == format!("{} {}", percentile.name(), timed.name()))
        })
    };
    let subject = |id, title, lines, limits| Subject {
        id,
        title,
        y_name: format!("{}, {}", timed.name(), unit.name),
        per_unit: unit.per_second,
        lines,
        limits,
        is_duration: true,
    };
    let (id, title) = match timed {
        Timed::Latency => ("latency", "Latency"),
        Timed::Ttft => ("ttft", "Time to first token (TTFT)"),
    };
    match &sweep.series[..] {
        [series] => {
            let line = |(i, percentile): (usize, Percentile)| {
                (percentile.name().to_owned(), color(i), series, Metric::Time(timed, percentile))
            };
            let lines = Percentile::ALL.into_iter().enumerate().map(line).collect();
            vec![subject(id, title, lines, limits(&Percentile::ALL))]
        }
        _ => {
            let names: [(&str, &str, Percentile); 2] = match timed {
                Timed::Latency => [
                    ("latency-p50", "Latency, median", Percentile::P50),
                    ("latency-p99", "Latency, p99", Percentile::P99),
                ],
                Timed::Ttft => [
                    ("ttft-p50", "Time to first token, median", Percentile::P50),
                    ("ttft-p99", "Time to first token, p99", Percentile::P99),
                ],
            };
            names
                .into_iter()
                .map(|(id, title, percentile)| {
                    subject(id, title, one_metric(sweep, Metric::Time(timed, percentile)), limits(&[percentile]))
                })
                .collect()
        }
    }
}

fn chart(sweep: &Sweep<'_>, axis: &Axis, subject: Subject<'_, '_>, to_version: &str) -> Option<Chart> {
    let scaled = |value: f64| value * subject.per_unit;
    let medians = |series: &Series<'_>, metric| -> Vec<(f64, Option<f64>)> {
        series.points.iter().map(|point| (point.x, point.median(metric).map(scaled))).collect()
    };
    let lines: Vec<_> =
        subject.lines.iter().map(|(name, color, series, metric)| (name, color, medians(series, *metric))).collect();
    if lines.iter().flat_map(|(.., points)| points).all(|(_, y)| y.is_none()) {
        return None;
    }
    let all = subject.lines.iter().flat_map(|(_, _, series, metric)| series.values(*metric));
    let all: Vec<f64> = all.map(|(_, y)| scaled(y)).collect();
    let limits: Vec<f64> = subject.limits.iter().map(|limit| limit.value).collect();
    let spans: Vec<Vec<(f64, f64, f64)>> =
        subject.lines.iter().map(|(_, _, series, metric)| spans(series, *metric, subject.per_unit)).collect();
    let all: Vec<f64> = all.into_iter().chain(spans.iter().flatten().map(|(.., high)| *high)).collect();
    let mut panel = Panel {
        y_name: subject.y_name.clone(),
        scale: match (subject.is_duration, limits.iter().copied().reduce(f64::max)) {
            (true, _) => YScale::of_durations(&all, &limits),
            // A rate that nothing comes near is told in words only.
            (false, Some(limit)) if all.iter().any(|value| 2.0 * value >= limit) => {
                YScale::to(all.iter().copied().fold(limit, f64::max))
            }
            (false, _) => YScale::Linear,
        },
        ..Panel::default()
    };
    let is_log = matches!(panel.scale, YScale::Log { .. });
    let floor = match panel.scale {
        YScale::Log { min, .. } => min,
        _ => 0.0,
    };
    for ((_, color, ..), spans) in subject.lines.iter().zip(&spans) {
        panel.series.extend(band(color, spans.iter().map(|(x, low, high)| (*x, low.max(floor), *high))));
    }
    for (((name, color, points), (_, _, series, metric)), spans) in lines.into_iter().zip(&subject.lines).zip(&spans) {
        let notes = series.points.iter().map(|point| note(point, *metric, spans));
        panel.series.push(noted(line(name, color, points, true), notes));
    }
    panel.series.extend(marks::models(sweep, axis, &subject));
    let dot = |point: &Point<'_>, benchmark: &Loaded, metric: Metric| {
        let y = scaled(metric.of(benchmark.summary.as_ref()?)?);
        let name = benchmark.id.to_string();
        (!is_log || y > 0.0).then(|| Dot { x: point.x, y, href: href(to_version, benchmark), name })
    };
    let mut repetitions = Vec::new();
    let mut left_out = Vec::new();
    for (_, color, series, metric) in &subject.lines {
        let mut own = Vec::new();
        for (point, benchmark) in
            series.points.iter().flat_map(|point| point.repetitions.iter().map(move |b| (point, *b)))
        {
            match benchmark.is_valid() {
                true => own.extend(dot(point, benchmark, *metric)),
                false => left_out.extend(dot(point, benchmark, *metric)),
            }
        }
        repetitions.push(dots("repetitions", color, own, false));
    }
    panel.series.extend(repetitions);
    if !left_out.is_empty() {
        panel.series.push(dots("invalid, failed or cancelled", "$bad", left_out, true));
    }
    panel.series.extend(marks::signs(sweep, axis, &subject));
    panel.marks = marks::across(sweep, axis, &subject);

    let points: Vec<f64> = sweep.series.iter().flat_map(|series| &series.points).map(|point| point.x).collect();
    let (first, last) = points.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
    let x = XAxis {
        name: axis.name.clone(),
        kind: match axis.scale {
            Scale::Log2 => Kind::Log { base: 2.0 },
            Scale::Linear => Kind::Linear,
            Scale::Category => Kind::Category(categories(sweep)),
        },
        min: (axis.scale != Scale::Category).then_some(first),
        max: (axis.scale != Scale::Category && last > first).then_some(last),
        labels: "@load",
    };
    Some(Chart {
        id: subject.id.to_owned(),
        title: subject.title.to_owned(),
        finding: finding(sweep, axis, &subject),
        table: table(axis, &subject),
        option: plot(&x, vec![panel], PANEL_PX),
        height_px: height(1, PANEL_PX),
        group: Some("sweep"),
        still: None,
    })
}

/// The 95 % interval of the median at each point with several repetitions, in the chart's unit.
fn spans(series: &Series<'_>, metric: Metric, per_unit: f64) -> Vec<(f64, f64, f64)> {
    let spans = intervals(&series.values(metric), Center::Median);
    spans.into_iter().map(|(x, low, high)| (x, low * per_unit, high * per_unit)).collect()
}

fn span_at(spans: &[(f64, f64, f64)], x: f64) -> Option<(f64, f64)> {
    spans.iter().find(|(place, ..)| *place == x).map(|(_, low, high)| (*low, *high))
}

/// What a tooltip says of a median: how many repetitions, and its interval.
fn note(point: &Point<'_>, metric: Metric, spans: &[(f64, f64, f64)]) -> String {
    let count = point.values(metric).len();
    match span_at(spans, point.x) {
        Some((low, high)) => format!("n = {count}, 95 % {} to {}", units::number(low), units::number(high)),
        None => format!("n = {count}"),
    }
}

fn categories(sweep: &Sweep<'_>) -> Vec<String> {
    let mut points: Vec<&Point<'_>> = sweep.series.iter().flat_map(|series| &series.points).collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    points.dedup_by(|a, b| a.x == b.x);
    points.into_iter().map(|point| point.label.clone()).collect()
}

fn href(to_version: &str, benchmark: &Loaded) -> String {
    format!("{to_version}benchmarks/{}/index.html", benchmark.id)
}

/// What the first and the last point say, by the chart's last line: the p99 where there are percentiles.
fn finding(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> String {
    let repetitions = sweep.series.iter().flat_map(|series| &series.points).map(|point| point.valid().count()).max();
    let drawn = match repetitions {
        Some(0 | 1) | None => "n = 1: one repetition each, so no spread is known.".to_owned(),
        Some(most) => {
            format!("Dots are repetitions (up to {most}), the line is their median, the band its 95 % interval.")
        }
    };
    let [.., (name, _, series, metric)] = &subject.lines[..] else { return drawn };
    let medians: Vec<_> =
        series.points.iter().filter_map(|point| Some((&point.label, point.median(*metric)?))).collect();
    let ([(first, from), ..], [.., (last, to)]) = (&medians[..], &medians[..]) else { return drawn };
    if medians.len() < 2 {
        return drawn;
    }
    let figure = |value: f64| match metric {
        Metric::Time(..) => units::duration(value),
        Metric::Throughput => format!("{} requests/s", units::number(value)),
        Metric::TokensPerSecond => format!("{} tokens/s", units::number(value)),
    };
    let mut what = match metric {
        Metric::Time(timed, percentile) => format!("{} {}", percentile.name(), timed.name()),
        Metric::Throughput => "throughput".to_owned(),
        Metric::TokensPerSecond => "the rate of output tokens".to_owned(),
    };
    if !series.label.is_empty() {
        what = format!("{what} of {name}");
    }
    let sentence =
        format!("From {first} to {last} {}, {what} goes from {} to {}.", axis.name, figure(*from), figure(*to));
    format!("{sentence} {drawn}")
}

/// Every value that is drawn, those that are in no line in brackets.
fn repetitions(point: &Point<'_>, metric: Metric, per_unit: f64) -> String {
    let value = |benchmark: &&Loaded| {
        let text = units::number(metric.of(benchmark.summary.as_ref()?)? * per_unit);
        Some(if benchmark.is_valid() { text } else { format!("({text})") })
    };
    point.repetitions.iter().filter_map(value).collect::<Vec<_>>().join(" · ")
}

fn table(axis: &Axis, subject: &Subject<'_, '_>) -> Table {
    let has_series = subject.lines.iter().any(|(_, _, series, _)| !series.label.is_empty());
    let has_percentiles = !has_series && subject.lines.len() > 1;
    let unit = subject.y_name.rsplit(", ").next().unwrap_or_default();
    let mut columns = vec![Column::number(&axis.name, "")];
    if has_series {
        columns.insert(0, Column::text("series"));
    }
    if has_percentiles {
        columns.push(Column::text("percentile"));
    }
    columns.extend(["median", "95 % from", "to"].map(|name| Column::number(name, unit)));
    columns.push(Column::number("n", ""));
    columns.push(Column { unit: unit.to_owned(), ..Column::text("repetitions") });
    let figure = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(value * subject.per_unit), value),
        None => Cell::none(),
    };
    let mut rows = Vec::new();
    for (name, _, series, metric) in &subject.lines {
        let spans = spans(series, *metric, subject.per_unit);
        for point in &series.points {
            let mut row = vec![Cell::sorted(&point.label, point.x)];
            if has_series {
                row.insert(0, Cell::text(&series.label));
            }
            if has_percentiles {
                row.push(Cell::text(name));
            }
            let span = span_at(&spans, point.x);
            row.push(figure(point.median(*metric)));
            row.push(Cell::optional(span.map(|(low, _)| low)));
            row.push(Cell::optional(span.map(|(_, high)| high)));
            row.push(Cell::count(point.values(*metric).len() as u64));
            row.push(Cell::text(&repetitions(point, *metric, subject.per_unit)));
            rows.push(row);
        }
    }
    Table::new(columns, rows)
}
