//! The sweep of an execution: which axis is the load, and the points along it.

use std::{collections::BTreeMap, sync::OnceLock};

use analysis::{
    bottleneck::{Attribution, LoadPoint, attribute_sweep},
    median,
    saturation::{Archived, LOAD_AXES, LimitVerdict, Saturation, Verdict, load_of, of_archived},
    series::Along,
};
use archive::Run;
use serde_json::Value;

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
    bottleneck: OnceLock<Attribution>,
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
        let loads: Vec<(f64, &str)> = ordered.iter().map(|benchmark| load_of(&benchmark.run)).collect();
        let mut axis = choose_axis(&values, &loads);
        if let Some(axis) = axis.as_mut().filter(|axis| !axis.is_load)
            && ordered.iter().any(|benchmark| !benchmark.run.campaign.swept.contains_key(&axis.path))
        {
            // A benchmark without a number has no place among numbers.
            axis.scale = Scale::Category;
        }
        let in_words_of = |benchmark: &Loaded| {
            let (load, unit) = load_of(&benchmark.run);
            format!("{} {unit}", units::load(load))
        };
        let mut categories: Vec<String> = Vec::new();
        let mut place = |benchmark: &Loaded| -> (f64, String) {
            let Some(axis) = &axis else { return (0.0, "–".to_owned()) };
            let value = benchmark.run.campaign.swept.get(&axis.path);
            let text = match value {
                _ if axis.is_load => {
                    let (load, _) = load_of(&benchmark.run);
                    return (load, units::load(load));
                }
                _ if axis.path == MIXED_LOADS => in_words_of(benchmark),
                Some(value) => match (axis.scale, value.as_f64()) {
                    (Scale::Log2 | Scale::Linear, Some(number)) => return (number, units::load(number)),
                    _ => in_words(value),
                },
                None => "–".to_owned(),
            };
            let known = categories.iter().position(|known| *known == text).unwrap_or_else(|| {
                categories.push(text.clone());
                categories.len() - 1
            });
            (known as f64, text)
        };

        let along = match &axis {
            Some(axis) if !axis.is_load && axis.path != MIXED_LOADS => Along::Swept(&axis.path),
            _ => Along::Load,
        };
        let runs: Vec<&Run> = ordered.iter().map(|benchmark| &benchmark.run).collect();
        let mut found = Vec::new();
        for one in analysis::series::series(&runs, along) {
            let mut points = Vec::new();
            for point in one.points {
                let repetitions: Vec<&'a Loaded> = point.members.iter().map(|member| ordered[*member]).collect();
                let (x, label) = place(repetitions[0]);
                points.push(Point { x, label, repetitions });
            }
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            found.push(Series { label: one.label, points, saturation: OnceLock::new(), bottleneck: OnceLock::new() });
        }
        Self { axis, series: found }
    }

    pub fn is_load(&self) -> bool {
        self.axis.as_ref().is_some_and(|axis| axis.is_load)
    }
}

/// Stands for the path of an axis of loads that cannot be compared: clients beside requests per second.
const MIXED_LOADS: &str = "load";

/// The load, if it differs, swept or not; else the axis of numbers with the most values; else the longest. `loads` are
/// those of all benchmarks.
fn choose_axis(values: &[(&str, Vec<&Value>)], loads: &[(f64, &str)]) -> Option<Axis> {
    let numbers = |values: &[&Value]| values.iter().map(|value| value.as_f64()).collect::<Option<Vec<f64>>>();
    let swept = |path: &str| values.iter().any(|(known, _)| *known == path);
    let is_numeric = |path: &str| values.iter().all(|(known, values)| *known != path || numbers(values).is_some());
    let mixed = loads.iter().any(|(_, unit)| *unit != loads[0].1);
    let differs = loads.iter().any(|(load, _)| *load != loads[0].0);
    if mixed {
        let (path, name) = (MIXED_LOADS.to_owned(), MIXED_LOADS.to_owned());
        return Some(Axis { path, name, scale: Scale::Category, is_load: false });
    }
    if let Some((path, name)) = loads.first().and_then(|(_, unit)| LOAD_AXES.iter().find(|(_, name)| name == unit))
        && (differs || swept(path))
        && is_numeric(path)
    {
        let scale = scale_of(&loads.iter().map(|(load, _)| *load).collect::<Vec<_>>());
        return Some(Axis { path: (*path).to_owned(), name: (*name).to_owned(), scale, is_load: true });
    }
    let longest = || {
        let longest = values.iter().rev().max_by_key(|(_, values)| (numbers(values).is_some(), values.len()))?;
        let name = longest.0.rsplit('.').next().unwrap_or(longest.0);
        Some((longest.0, name.replace('_', " "), &longest.1, false))
    };
    let (path, name, values, is_load) = longest()?;
    let scale = numbers(values).map_or(Scale::Category, |numbers| scale_of(&numbers));
    Some(Axis { path: path.to_owned(), name, scale, is_load })
}

fn scale_of(numbers: &[f64]) -> Scale {
    let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
    if low > 0.0 && high / low >= 8.0 { Scale::Log2 } else { Scale::Linear }
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
    pub fn bottleneck(&self) -> &Attribution {
        let point = |point: &Point<'a>| LoadPoint {
            load: point.x,
            repetitions: point.repetitions.iter().map(|benchmark| benchmark.observation()).collect(),
        };
        self.bottleneck.get_or_init(|| {
            let points: Vec<LoadPoint<'_>> = self.points.iter().map(point).collect();
            attribute_sweep(&points, self.saturation().throughput_saturation.load)
        })
    }

    /// Spares asking again what the same series said, if it was asked.
    pub fn take_saturation(&self, of: &Series<'_>) {
        of.saturation.get().cloned().into_iter().for_each(|known| self.set_saturation(known));
    }

    /// The same, where it is known from before.
    pub fn set_saturation(&self, known: Saturation) {
        self.saturation.get_or_init(|| known);
    }

    /// What it says of its load; means something on an axis that is one.
    pub fn saturation(&self) -> &Saturation {
        self.saturation.get_or_init(|| self.saturation_under(&BTreeMap::new()))
    }

    /// The same under limits in place of the campaign's, where there are any.
    pub fn saturation_under(&self, slo: &BTreeMap<String, f64>) -> Saturation {
        debug_assert!(
            self.points
                .iter()
                .flat_map(|point| &point.repetitions)
                .all(|benchmark| { benchmark.is_whole || slo.is_empty() && benchmark.run.campaign.slo.is_empty() }),
            "limits are asked of benchmarks without their samples"
        );
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
                    LimitVerdict::From | LimitVerdict::Between => {
                        let from = outcome.from.map(units::number).unwrap_or_default();
                        format!("{limit} holds from {from} to {load} {}", axis.name)
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
        let one = (1.0, "clients");
        for (swept, loads, expected) in [
            (
                json!({ "client.settings.size": [1, 2, 4, 1024], (clients): [1, 64] }),
                vec![one, (64.0, "clients")],
                Some((clients, Scale::Log2, true)),
            ),
            (
                json!({ "benchmarks.load.rate": [100, 150, 200] }),
                [100.0, 150.0, 200.0].map(|rate| (rate, "requests/s offered")).to_vec(),
                Some(("benchmarks.load.rate", Scale::Linear, true)),
            ),
            (
                json!({ "a.model": ["x", "y", "z"], "a.size": [0, 64] }),
                vec![one],
                Some(("a.size", Scale::Linear, false)),
            ),
            (
                json!({ "a.model": ["x", "y", "z"], "a.kind": ["p", "q"] }),
                vec![one],
                Some(("a.model", Scale::Category, false)),
            ),
            (json!({ (clients): [1, "many"] }), vec![one, (9.0, "clients")], Some((clients, Scale::Category, false))),
            (json!({ (clients): [4] }), vec![(4.0, "clients")], Some((clients, Scale::Linear, true))),
            (json!({}), vec![one, one], None),
            // Not swept, and all the same the load differs.
            (json!({}), vec![one, (4.0, "clients")], Some((clients, Scale::Linear, true))),
            (json!({ "recipe": ["a", "b"] }), vec![one, (64.0, "clients")], Some((clients, Scale::Log2, true))),
            (json!({}), vec![one, (4.0, "requests/s offered")], Some((MIXED_LOADS, Scale::Category, false))),
        ] {
            let swept = swept.as_object().expect("an object").clone();
            let values: Vec<(&str, Vec<&Value>)> = swept
                .iter()
                .map(|(path, values)| (path.as_str(), values.as_array().expect("a list").iter().collect()))
                .collect();
            let found = choose_axis(&values, &loads);
            let found = found.as_ref().map(|axis| (axis.path.as_str(), axis.scale, axis.is_load));
            assert_eq!(found, expected, "{swept:?}");
        }
    }
}
