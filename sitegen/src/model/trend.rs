//! One configuration over the executions of its campaign: the figures of each, and where their level changed. Pure.

use std::collections::{BTreeMap, HashMap};

use analysis::compare::{
    differences::conditions,
    history::{History, history},
    metric::{Metric, Thresholds},
    past::points,
};
use archive::BenchmarkId;

use super::{Campaign, diff::label};
use crate::load::Loaded;

/// A point of a campaign under one set of conditions: service and client types, load, machines.
pub struct Trend<'a> {
    pub label: String,
    /// Oldest first; at least two.
    pub executions: Vec<TrendExecution<'a>>,
    pub figures: Vec<TrendFigure>,
}

/// The valid benchmarks of one execution at this point.
pub struct TrendExecution<'a> {
    /// Place among the campaign's executions, the newest first.
    pub place: usize,
    /// Never empty.
    pub benchmarks: Vec<&'a Loaded>,
}

pub struct TrendFigure {
    pub metric: Metric,
    /// Geometric mean of the repetitions of each execution.
    pub values: Vec<f64>,
    /// Absent where a value is not positive.
    pub history: Option<History>,
}

/// Executions with fewer than that cannot show a change of level.
pub const LEAST_FOR_CHANGE: usize = 6;

/// The trends of a campaign, in the order of its newest sweep.
pub fn trends<'a>(campaign: &Campaign<'a>) -> Vec<Trend<'a>> {
    if campaign.executions.len() < 2 {
        return Vec::new();
    }
    let mut found: Vec<Trend<'a>> = Vec::new();
    // By name and conditions.
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut thresholds = Thresholds::default();
    for (name, number) in &campaign.newest().first().run.campaign.thresholds {
        _ = thresholds.set(name, *number);
    }
    for (place, execution) in campaign.executions.iter().enumerate() {
        let by_id: BTreeMap<BenchmarkId, &'a Loaded> =
            execution.benchmarks.iter().map(|benchmark| (benchmark.id, *benchmark)).collect();
        for point in points(execution.benchmarks.iter().map(|benchmark| &benchmark.run).collect()) {
            let benchmarks: Vec<&Loaded> = point
                .runs
                .iter()
                .map(|run| by_id[&run.benchmark_id])
                .filter(|benchmark| benchmark.is_valid())
                .collect();
            if benchmarks.is_empty() {
                continue;
            }
            let key = (label(&point.swept), conditions(point.runs[0]));
            let member = TrendExecution { place, benchmarks };
            match places.get(&key) {
                // A second configuration of the same name in one execution is not this one's past.
                Some(known) if found[*known].executions.last().is_some_and(|last| last.place == place) => {}
                Some(known) => found[*known].executions.push(member),
                None => {
                    found.push(Trend { label: key.0.clone(), executions: vec![member], figures: Vec::new() });
                    places.insert(key, found.len() - 1);
                }
            }
        }
    }
    let mut trends = found;
    trends.retain(|trend| trend.executions.len() > 1);
    for trend in &mut trends {
        trend.executions.reverse();
        for (metric, threshold) in thresholds.iter().filter(|(metric, _)| !metric.is_proportion()) {
            let values: Option<Vec<f64>> =
                trend.executions.iter().map(|execution| geometric_mean(&execution.benchmarks, metric)).collect();
            let Some(values) = values else { continue };
            let history = history(metric, threshold, &values);
            trend.figures.push(TrendFigure { metric, values, history });
        }
    }
    trends
}

/// `None` unless every repetition has a positive value.
fn geometric_mean(benchmarks: &[&Loaded], metric: Metric) -> Option<f64> {
    let logs = benchmarks.iter().map(|benchmark| Some(metric.of(benchmark.summary.as_ref()?)?.ln()));
    let sum: f64 = logs.sum::<Option<f64>>()?;
    Some((sum / benchmarks.len() as f64).exp()).filter(|mean| mean.is_finite() && *mean > 0.0)
}
