//! Figures over the swept axis: throughput, latency and TTFT on the same x, one chart each.

use analysis::{saturation::LimitVerdict, slo};

use super::{Chart, Dot, Kind, Marks, Panel, XAxis, YScale, band, color, dashed, dots, height, line, noted, plot};
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

/// Series whose knee is marked; more lines than that hide each other.
const MOST_KNEES: usize = 3;

/// What a chart over the sweep shows: some figures of each series, in one unit.
struct Subject<'s, 'a> {
    id: &'static str,
    title: &'static str,
    y_name: String,
    per_unit: f64,
    /// Name, colour, series and figure of each line.
    lines: Vec<(String, String, &'s Series<'a>, Metric)>,
    /// Limits to draw: value in the chart's unit, and in words.
    limits: Vec<(f64, String)>,
    is_duration: bool,
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
        limits: Vec::new(),
        is_duration: false,
    }
}

fn tokens<'s, 'a>(sweep: &'s Sweep<'a>) -> Subject<'s, 'a> {
    Subject {
        id: "tokens",
        title: "Output tokens",
        y_name: "tokens/s".to_owned(),
        lines: one_metric(sweep, Metric::TokensPerSecond),
        ..throughput(sweep)
    }
}

/// One chart of three percentiles for one series; one chart a percentile for several.
fn times<'s, 'a>(sweep: &'s Sweep<'a>, timed: Timed) -> Vec<Subject<'s, 'a>> {
    let largest = sweep.series.iter().flat_map(|series| series.values(Metric::Time(timed, Percentile::P99)));
    let largest = largest.map(|(_, value)| value).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let limits = |percentiles: &[Percentile]| {
        let slo = sweep.series.first().map(|series| series.saturation().slo_limits.clone()).unwrap_or_default();
        let shown = slo.into_iter().filter_map(|outcome| {
            let words = slo::metric_in_words(&outcome.metric);
            let ours = percentiles.iter().any(|percentile| words == format!("{} {}", percentile.name(), timed.name()));
            ours.then(|| (unit.of(outcome.limit), format!("SLO {}", limit_in_words(&outcome.metric, outcome.limit))))
        });
        shown.collect()
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
    let limits: Vec<f64> = subject.limits.iter().map(|(value, _)| *value).collect();
    let mut panel = Panel {
        y_name: subject.y_name.clone(),
        scale: if subject.is_duration { YScale::of_durations(&all, &limits) } else { YScale::Linear },
        ..Panel::default()
    };
    let is_log = matches!(panel.scale, YScale::Log { .. });
    for (_, color, series, metric) in &subject.lines {
        let spreads = series.points.iter().filter_map(|point| {
            let (low, high) = point.spread(*metric)?;
            Some((point.x, scaled(low), scaled(high)))
        });
        panel.series.extend(band(color, spreads));
    }
    for ((name, color, points), (_, _, series, metric)) in lines.into_iter().zip(&subject.lines) {
        let notes = series.points.iter().map(|point| note(point, *metric, &scaled));
        panel.series.push(noted(line(name, color, points, true), notes));
    }
    panel.series.extend(model_curve(sweep, axis, &subject));
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
    panel.marks = marks(sweep, axis, &subject);

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

/// What a tooltip says of a median: how many repetitions, and their range.
fn note(point: &Point<'_>, metric: Metric, scaled: &dyn Fn(f64) -> f64) -> String {
    let count = point.values(metric).len();
    match point.spread(metric) {
        Some((low, high)) => {
            format!("n = {count}, {} to {}", units::number(scaled(low)), units::number(scaled(high)))
        }
        None => format!("n = {count}"),
    }
}

/// The USL through the throughput of a sweep with one series, where the data carry it.
fn model_curve(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Option<serde_json::Value> {
    let [(_, _, series, Metric::Throughput)] = &subject.lines[..] else { return None };
    if !axis.is_load || sweep.series.len() > 1 {
        return None;
    }
    let usl = series.saturation().usl.as_ref().filter(|usl| usl.supported)?;
    let (first, last) = (series.points.first()?.x, series.points.last()?.x);
    const STEPS: i32 = 60;
    let at = |step: i32| {
        let x = first * (last / first).powf(f64::from(step) / f64::from(STEPS));
        let y = usl.lambda * x / (1.0 + usl.sigma * (x - 1.0) + usl.kappa * x * (x - 1.0));
        (x, Some(y * subject.per_unit))
    };
    (first > 0.0 && last > first).then(|| dashed(line("USL fit", "$c7", (0..=STEPS).map(at), false)))
}

/// The knee of the latency in its charts, that of the throughput in all others, and the limits of the chart's own figures.
fn marks(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Marks {
    let mut marks = Marks::default();
    if axis.is_load && sweep.series.len() <= MOST_KNEES {
        let of_latency = subject.id.starts_with("latency");
        let name = if of_latency { "latency's knee" } else { "throughput's knee" };
        for (i, series) in sweep.series.iter().enumerate() {
            let saturation = series.saturation();
            let knee = if of_latency { &saturation.latency_knee } else { &saturation.throughput_saturation };
            let (Some(load), Some([low, high])) = (knee.load, knee.interval) else { continue };
            let color = if sweep.series.len() == 1 { "$knee".to_owned() } else { color(i) };
            marks.vertical.push((load, format!("{name} {}", units::number(load)), color.clone()));
            marks.ranges.push((low, high, String::new(), color));
        }
    }
    if let (true, [series]) = (axis.is_load && subject.is_duration, &sweep.series[..]) {
        let own = series.saturation().slo_limits.iter().filter(|outcome| {
            let value = outcome.limit * subject.per_unit;
            subject.limits.iter().any(|(limit, _)| *limit == value)
        });
        for outcome in own {
            let (Some(load), LimitVerdict::UpTo) = (outcome.load, outcome.verdict) else { continue };
            marks.vertical.push((load, format!("SLO to {}", units::number(load)), "$limit".to_owned()));
            marks.ranges.extend(outcome.interval.map(|[low, high]| (low, high, String::new(), "$limit".to_owned())));
        }
    }
    marks.horizontal =
        subject.limits.iter().map(|(value, words)| (*value, words.clone(), "$limit".to_owned())).collect();
    marks
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
        Some(most) => format!("Dots are repetitions (up to {most}), the line is their median, the band their range."),
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
    columns.extend(["median", "lowest", "highest"].map(|name| Column::number(name, unit)));
    columns.push(Column::number("n", ""));
    let figure = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(value * subject.per_unit), value),
        None => Cell::none(),
    };
    let mut rows = Vec::new();
    for (name, _, series, metric) in &subject.lines {
        for point in &series.points {
            let mut row = vec![Cell::sorted(&point.label, point.x)];
            if has_series {
                row.insert(0, Cell::text(&series.label));
            }
            if has_percentiles {
                row.push(Cell::text(name));
            }
            let spread = point.spread(*metric);
            row.push(figure(point.median(*metric)));
            row.push(figure(spread.map(|(low, _)| low)));
            row.push(figure(spread.map(|(_, high)| high)));
            row.push(Cell::count(point.values(*metric).len() as u64));
            rows.push(row);
        }
    }
    Table::new(columns, rows)
}
