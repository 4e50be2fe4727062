//! The sweep of an execution: which axis is the load, and the points along it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use analysis::{
    bottleneck::{Attribution, LoadPoint, attribute_sweep},
    median,
    saturation::{Archived, LOAD_AXES, LimitVerdict, Saturation, Verdict, of_archived},
};
use serde_json::{Map, Value};

use super::metric::Metric;
use crate::{load::Loaded, units};

/// The points of one execution, as series along one axis.
pub struct Sweep<'a> {
    /// `None` when nothing was swept.
    pub axis: Option<Axis>,
    /// In the order of the campaign; never empty.
    pub series: Vec<Series<'a>>,
}

/// The axis that is drawn as x.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// As people write it: `benchmarks.num_clients`.
    pub path: String,
    /// What it counts, for an axis title: `clients`.
    pub name: String,
    pub scale: Scale,
    /// Whether it is a load, so that a knee and a limit mean something.
    pub is_load: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Log2,
    Linear,
    /// The values are no numbers, or not all of them.
    Category,
}

/// The points that differ in the axis only.
pub struct Series<'a> {
    /// The values of the other axes: `model=opt-125m`; empty when there is one series.
    pub label: String,
    /// Ascending on the axis.
    pub points: Vec<Point<'a>>,
    saturation: OnceLock<Saturation>,
}

/// One combination of the sweep, with its repetitions.
pub struct Point<'a> {
    /// Place on the axis: the value, or its index on an axis of categories.
    pub x: f64,
    /// The value as people read it.
    pub label: String,
    /// By number of the repetition.
    pub repetitions: Vec<&'a Loaded>,
}

impl<'a> Sweep<'a> {
    /// `benchmarks` of one execution; at least one.
    pub fn new(benchmarks: &[&'a Loaded]) -> Self {
        // By the number of the point, so that everything stands in the campaign's order.
        let mut ordered = benchmarks.to_vec();
        ordered
            .sort_by_key(|benchmark| (benchmark.run.campaign.point, benchmark.run.campaign.repetition, benchmark.id));
        let mut values: Vec<(&str, Vec<&Value>)> = Vec::new();
        for (path, value) in ordered.iter().flat_map(|benchmark| &benchmark.run.campaign.swept) {
            match values.iter_mut().find(|(known, _)| known == path) {
                Some((_, known)) if known.contains(&value) => {}
                Some((_, known)) => known.push(value),
                None => values.push((path, vec![value])),
            }
        }
        let axis = choose_axis(&values);
        let path = axis.as_ref().map(|axis| axis.path.as_str());
        let categories: &[&Value] =
            values.iter().find(|(known, _)| Some(*known) == path).map_or(&[], |(_, values)| values);
        let place = |benchmark: &Loaded| -> (f64, String) {
            let Some(value) = path.and_then(|path| benchmark.run.campaign.swept.get(path)) else {
                return (0.0, "–".to_owned());
            };
            match (axis.as_ref().map(|axis| axis.scale), value.as_f64()) {
                (Some(Scale::Log2 | Scale::Linear), Some(number)) => (number, units::load(number)),
                _ => {
                    let index = categories.iter().position(|known| *known == value).unwrap_or(categories.len());
                    (index as f64, in_words(value))
                }
            }
        };

        let services: BTreeSet<&str> = ordered.iter().map(|benchmark| benchmark.run.service.name.as_str()).collect();
        let mut series: Vec<Series<'a>> = Vec::new();
        for benchmark in ordered {
            let mut label = label_of(&benchmark.run.campaign.swept, path, &values);
            if services.len() > 1 {
                // Several recipes in one campaign: what they measure is not the same.
                label = [benchmark.run.service.name.as_str(), &label].map(str::trim).join(" ").trim().to_owned();
            }
            let (x, text) = place(benchmark);
            add(&mut series, label, x, text, benchmark);
        }
        for series in &mut series {
            series.points.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
        Self { axis, series }
    }

    pub fn is_load(&self) -> bool {
        self.axis.as_ref().is_some_and(|axis| axis.is_load)
    }
}

/// Puts a benchmark where it belongs. Benchmarks of two points are never repetitions of each other, even where nothing
/// that is shown tells the points apart: the second goes to a series of its own.
fn add<'a>(series: &mut Vec<Series<'a>>, label: String, x: f64, text: String, benchmark: &'a Loaded) {
    for number in 1.. {
        let label = if number == 1 { label.clone() } else { format!("{label} ({number})").trim().to_owned() };
        let place = series.iter().position(|series| series.label == label).unwrap_or_else(|| {
            series.push(Series { label, points: Vec::new(), saturation: OnceLock::new() });
            series.len() - 1
        });
        let points = &mut series[place].points;
        match points.iter_mut().find(|point| point.x == x) {
            None => return points.push(Point { x, label: text, repetitions: vec![benchmark] }),
            Some(point) if point.repetitions[0].run.campaign.point == benchmark.run.campaign.point => {
                return point.repetitions.push(benchmark);
            }
            Some(_) => {}
        }
    }
}

/// The load, if it was swept over numbers; else the axis of numbers with the most values; else the longest.
fn choose_axis(values: &[(&str, Vec<&Value>)]) -> Option<Axis> {
    let numbers = |values: &[&Value]| values.iter().map(|value| value.as_f64()).collect::<Option<Vec<f64>>>();
    let load = LOAD_AXES.iter().find_map(|(path, name)| {
        let (_, values) = values.iter().find(|(known, values)| known == path && numbers(values).is_some())?;
        Some((*path, (*name).to_owned(), values, true))
    });
    let longest = || {
        let longest = values.iter().rev().max_by_key(|(_, values)| (numbers(values).is_some(), values.len()))?;
        let name = longest.0.rsplit('.').next().unwrap_or(longest.0);
        Some((longest.0, name.replace('_', " "), &longest.1, false))
    };
    let (path, name, values, is_load) = load.or_else(longest)?;
    let scale = match numbers(values) {
        Some(numbers) => {
            let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
            if low > 0.0 && high / low >= 8.0 { Scale::Log2 } else { Scale::Linear }
        }
        None => Scale::Category,
    };
    Some(Axis { path: path.to_owned(), name, scale, is_load })
}

/// The values of the axes other than `path` that take more than one value.
fn label_of(swept: &Map<String, Value>, path: Option<&str>, values: &[(&str, Vec<&Value>)]) -> String {
    let varies = |path: &str| values.iter().any(|(known, values)| *known == path && values.len() > 1);
    let parts = swept
        .iter()
        .filter(|(key, _)| Some(key.as_str()) != path && varies(key))
        .map(|(key, value)| format!("{} = {}", key.rsplit('.').next().unwrap_or(key), in_words(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A value as people write it.
pub fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), units::load),
        other => other.to_string(),
    }
}

impl<'a> Point<'a> {
    pub fn valid(&self) -> impl Iterator<Item = &'a Loaded> + '_ {
        self.repetitions.iter().copied().filter(|benchmark| benchmark.is_valid())
    }

    /// The values of its valid repetitions.
    pub fn values(&self, metric: Metric) -> Vec<f64> {
        self.valid().filter_map(|benchmark| metric.of(benchmark.summary.as_ref()?)).collect()
    }

    pub fn median(&self, metric: Metric) -> Option<f64> {
        median(self.values(metric))
    }

    /// Smallest and largest value of its valid repetitions, when there are several.
    pub fn spread(&self, metric: Metric) -> Option<(f64, f64)> {
        let values = self.values(metric);
        (values.len() > 1).then(|| values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x))))
    }
}

impl<'a> Series<'a> {
    /// Place on the axis and value of every valid repetition.
    pub fn values(&self, metric: Metric) -> Vec<(f64, f64)> {
        self.points.iter().flat_map(|point| point.values(metric).into_iter().map(|y| (point.x, y))).collect()
    }

    /// What limits it. Invalid benchmarks count too: a load generator at its limit is an answer.
    pub fn bottleneck(&self) -> Attribution {
        let points: Vec<LoadPoint<'_>> = self
            .points
            .iter()
            .map(|point| LoadPoint {
                load: point.x,
                repetitions: point.repetitions.iter().map(|benchmark| benchmark.observation()).collect(),
            })
            .collect();
        attribute_sweep(&points, None)
    }

    /// What it says of its load; means something on an axis that is one.
    pub fn saturation(&self) -> &Saturation {
        self.saturation.get_or_init(|| self.saturation_under(&BTreeMap::new()))
    }

    /// The same under limits in place of the campaign's, where there are any.
    pub fn saturation_under(&self, slo: &BTreeMap<String, f64>) -> Saturation {
        let benchmarks = self.points.iter().flat_map(|point| {
            point.repetitions.iter().map(|benchmark| Archived {
                load: point.x,
                run: &benchmark.run,
                summary: benchmark.summary.as_ref(),
            })
        });
        of_archived(&benchmarks.collect::<Vec<_>>(), slo)
    }

    /// What the sweep says in words, without the series' name: `knee at 8.1 clients [7.4–9.0]; peak …`.
    pub fn in_words(&self, axis: &Axis) -> String {
        let mut parts = Vec::new();
        let saturation = self.saturation();
        let interval = |interval: Option<[f64; 2]>| match interval {
            Some([low, high]) => format!(" [{}–{}]", units::number(low), units::number(high)),
            None => String::new(),
        };
        if axis.is_load {
            let knee = &saturation.throughput_saturation;
            parts.push(match (knee.load, knee.verdict) {
                (Some(load), _) => format!("knee at {} {}{}", units::number(load), axis.name, interval(knee.interval)),
                (None, Verdict::CannotTell) => format!("knee cannot be told ({})", knee.reason),
                (None, _) => format!("no knee in the range swept ({})", knee.reason),
            });
            let rises = &saturation.latency_knee;
            parts.extend(rises.load.map(|load| {
                format!("p99 latency rises from {} {}{}", units::number(load), axis.name, interval(rises.interval))
            }));
        }
        if let Some(peak) = &saturation.peak {
            let label = self.points.iter().find(|point| point.x == peak.load).map_or("", |point| point.label.as_str());
            let place = match axis.scale {
                Scale::Category => format!("{} = {label}", axis.name),
                _ => format!("{label} {}", axis.name),
            };
            parts.push(format!("peak {} requests/s at {place}", units::number(peak.throughput)));
        }
        if axis.is_load {
            parts.extend(saturation.slo_limits.iter().map(|outcome| {
                let limit = format!("SLO {}", super::metric::limit_in_words(&outcome.metric, outcome.limit));
                let load = outcome.load.map(units::number).unwrap_or_default();
                match outcome.verdict {
                    LimitVerdict::Never => format!("{limit} holds at no load, {}", outcome.reason),
                    LimitVerdict::UpTo => {
                        format!("{limit} holds to {load} {}{}", axis.name, interval(outcome.interval))
                    }
                    LimitVerdict::Throughout => format!("{limit} holds to the end of the sweep, {load}"),
                }
            }));
        }
        match parts.is_empty() {
            true => "nothing valid was measured".to_owned(),
            false => parts.join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_load_is_the_axis_else_the_longest_axis_of_numbers() {
        let clients = "benchmarks.num_clients";
        for (swept, expected) in [
            (
                json!({ "client.settings.size": [1, 2, 4, 1024], (clients): [1, 64] }),
                Some((clients, Scale::Log2, true)),
            ),
            (json!({ "benchmarks.load.rate": [100, 150, 200] }), Some(("benchmarks.load.rate", Scale::Linear, true))),
            (json!({ "a.model": ["x", "y", "z"], "a.size": [0, 64] }), Some(("a.size", Scale::Linear, false))),
            (json!({ "a.model": ["x", "y", "z"], "a.kind": ["p", "q"] }), Some(("a.model", Scale::Category, false))),
            (json!({ (clients): [1, "many"] }), Some((clients, Scale::Category, false))),
            (json!({}), None),
        ] {
            let swept = swept.as_object().expect("an object").clone();
            let values: Vec<(&str, Vec<&Value>)> = swept
                .iter()
                .map(|(path, values)| (path.as_str(), values.as_array().expect("a list").iter().collect()))
                .collect();
            let found = choose_axis(&values);
            let found = found.as_ref().map(|axis| (axis.path.as_str(), axis.scale, axis.is_load));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_series_is_named_by_what_varies_beside_the_axis() {
        let (sizes, models, pipelines) = ([json!(1), json!(2)], [json!("a"), json!("b")], [json!(4)]);
        let values = vec![
            ("x.size", sizes.iter().collect()),
            ("x.model", models.iter().collect()),
            ("x.pipeline", pipelines.iter().collect()),
        ];
        let swept = json!({ "x.size": 1, "x.model": "b", "x.pipeline": 4 });
        let label = label_of(swept.as_object().expect("an object"), Some("x.size"), &values);
        assert_eq!(label, "model = b");
    }
}
