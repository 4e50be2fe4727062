//! What a sweep says, drawn into its charts: knees, limits and models.
//!
//! With one series these are lines across the chart; of several, each has its signs on its own line, in its colour, so that
//! they do not hide each other and go with the line when it is switched off.

use analysis::saturation::{Found, LimitVerdict, SloLimit};
use serde_json::{Value, json};

use super::{Subject, line};
use crate::{
    charts::{Marks, dashed},
    model::{
        metric::Metric,
        sweep::{Axis, Series, Sweep},
    },
    units,
};

/// Series whose model is drawn beside them.
const MOST_MODELS: usize = 3;

/// Lines and ranges across the panel.
pub fn across(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Marks {
    let mut marks = Marks::default();
    if let (true, [series]) = (axis.is_load, &sweep.series[..]) {
        let (name, knee) = knee(subject, series);
        if let (Some(load), Some([low, high])) = (knee.load, knee.interval) {
            marks.vertical.push((load, format!("{name} {}", units::number(load)), "$knee".to_owned()));
            marks.ranges.push((low, high, String::new(), "$knee".to_owned()));
        }
        for outcome in own_limits(subject, series) {
            for (load, words) in ends(outcome) {
                marks.vertical.push((load, words, "$limit".to_owned()));
            }
            let ended = matches!(outcome.verdict, LimitVerdict::UpTo | LimitVerdict::Between);
            marks.ranges.extend(
                outcome.interval.filter(|_| ended).map(|[low, high]| (low, high, String::new(), "$limit".to_owned())),
            );
        }
    }
    let limits = subject.limits.iter().map(|limit| (limit.value, limit.words.clone(), "$limit".to_owned()));
    marks.horizontal.extend(limits);
    marks.horizontal.extend(ceiling(sweep, axis, subject));
    marks
}

/// The signs of several series.
pub fn signs(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Vec<Value> {
    let mut drawn = Vec::new();
    if !axis.is_load || sweep.series.len() < 2 {
        return drawn;
    }
    for (name, color, series, metric) in &subject.lines {
        let (word, knee) = knee(subject, series);
        if let (Some(load), Some(y)) = (knee.load, knee.load.and_then(|load| height_at(series, *metric, load))) {
            let says = format!("{name}, {word} {}", in_words(load, knee.interval));
            drawn.extend(sign(name, color, "diamond", (load, y * subject.per_unit), knee.interval, &says));
        }
        for outcome in own_limits(subject, series) {
            for (load, words) in ends(outcome) {
                let interval = outcome.interval.filter(|_| Some(load) == outcome.load);
                let y = outcome.limit * subject.per_unit;
                let says = format!("{name}, {words}{}", in_brackets(interval));
                drawn.extend(sign(name, color, "triangle", (load, y), interval, &says));
            }
        }
    }
    drawn
}

/// The models of the throughput that the data carry.
pub fn models(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Vec<Value> {
    if !axis.is_load || sweep.series.len() > MOST_MODELS {
        return Vec::new();
    }
    let curve = |(name, color, series, metric): &(String, String, &Series<'_>, Metric)| {
        let usl = series.saturation().usl.as_ref().filter(|usl| usl.supported && *metric == Metric::Throughput)?;
        let (first, last) = (series.points.first()?.x, series.points.last()?.x);
        const STEPS: i32 = 60;
        let at = |step: i32| {
            let x = first * (last / first).powf(f64::from(step) / f64::from(STEPS));
            let y = usl.lambda * x / (1.0 + usl.sigma * (x - 1.0) + usl.kappa * x * (x - 1.0));
            (x, Some(y * subject.per_unit))
        };
        let (name, color) = match sweep.series.len() {
            1 => ("USL fit".to_owned(), "$c7".to_owned()),
            _ => (format!("{name}, USL fit"), color.clone()),
        };
        let mut drawn = dashed(line(&name, &color, (0..=STEPS).map(at), false));
        // A curve of a formula: its table is that of its parameters, below the charts.
        drawn["sign"] = true.into();
        (first > 0.0 && last > first).then_some(drawn)
    };
    subject.lines.iter().filter_map(curve).collect()
}

/// What the model of the only series cannot exceed.
fn ceiling(sweep: &Sweep<'_>, axis: &Axis, subject: &Subject<'_, '_>) -> Option<(f64, String, String)> {
    let ([(_, _, series, Metric::Throughput)], [_], true) = (&subject.lines[..], &sweep.series[..], axis.is_load)
    else {
        return None;
    };
    let usl = series.saturation().usl.as_ref().filter(|usl| usl.supported)?;
    let measured = series.values(Metric::Throughput).into_iter().map(|(_, y)| y).fold(0.0, f64::max);
    let (value, word) = match usl.x_max {
        Some(peak) => (peak, "USL peak"),
        // Without a cost of coherence it rises towards λ/σ for ever.
        None => ((usl.sigma > 0.0).then(|| usl.lambda / usl.sigma)?, "USL asymptote"),
    };
    // One far above all that was measured would only flatten the chart.
    (value <= 1.5 * measured)
        .then(|| (value * subject.per_unit, format!("{word} {}", units::number(value)), "$c7".to_owned()))
}

fn knee<'s>(subject: &Subject<'_, '_>, series: &'s Series<'_>) -> (&'static str, &'s Found) {
    let saturation = series.saturation();
    match subject.id.starts_with("latency") {
        true => ("latency's knee", &saturation.latency_knee),
        false => ("throughput's knee", &saturation.throughput_saturation),
    }
}

/// What the limits of the chart come to in a series.
fn own_limits<'s>(subject: &Subject<'_, '_>, series: &'s Series<'_>) -> Vec<&'s SloLimit> {
    let ours = |outcome: &&SloLimit| subject.limits.iter().any(|limit| limit.metric == outcome.metric);
    series.saturation().slo_limits.iter().filter(ours).collect()
}

/// The loads at which a limit begins and ceases to hold.
fn ends(outcome: &SloLimit) -> Vec<(f64, String)> {
    let from = outcome.from.map(|load| (load, format!("SLO from {}", units::number(load))));
    let to = outcome.load.map(|load| (load, format!("SLO to {}", units::number(load))));
    let ends = match outcome.verdict {
        LimitVerdict::UpTo => [None, to],
        LimitVerdict::From => [from, None],
        LimitVerdict::Between => [from, to],
        LimitVerdict::Never | LimitVerdict::Throughout => [None, None],
    };
    ends.into_iter().flatten().collect()
}

fn in_words(load: f64, interval: Option<[f64; 2]>) -> String {
    format!("{}{}", units::number(load), in_brackets(interval))
}

fn in_brackets(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(String::new, |[low, high]| format!(" [{}–{}]", units::number(low), units::number(high)))
}

/// A symbol and its interval along x. It has the name of its series, so that both go together.
fn sign(name: &str, color: &str, symbol: &str, at: (f64, f64), interval: Option<[f64; 2]>, says: &str) -> Vec<Value> {
    let mut drawn = Vec::new();
    if let Some([low, high]) = interval {
        let mut bar = line(name, color, [(low, Some(at.1)), (high, Some(at.1))], false);
        bar["lineStyle"]["width"] = json!(4);
        bar["lineStyle"]["opacity"] = json!(0.45);
        bar["silent"] = json!(true);
        bar["tooltip"] = json!({ "show": false });
        drawn.push(bar);
    }
    drawn.push(json!({
        "type": "scatter", "name": name, "symbol": symbol, "symbolSize": 12, "z": 5,
        "itemStyle": { "color": "$surface", "borderColor": color, "borderWidth": 2 },
        "data": [{ "value": [at.0, at.1], "name": says }],
    }));
    for one in &mut drawn {
        one["sign"] = json!(true);
    }
    drawn
}

/// The median figure of a series at a load between its points, as the line between them goes on an axis of logarithms.
fn height_at(series: &Series<'_>, metric: Metric, load: f64) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        series.points.iter().filter_map(|point| Some((point.x, point.median(metric)?))).collect();
    let after = points.iter().position(|(x, _)| *x >= load)?;
    let (right, y) = points[after];
    let Some((left, before)) = after.checked_sub(1).map(|place| points[place]) else {
        return (right == load).then_some(y);
    };
    let share = match left > 0.0 {
        true => (load / left).ln() / (right / left).ln(),
        false => (load - left) / (right - left),
    };
    Some(before + (y - before) * share)
}
