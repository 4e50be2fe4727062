//! Each execution of a campaign against its predecessor: figures, verdicts, and what else differs. Pure.
//!
//! The same functions as `runner compare`, over the same benchmarks, so that both say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use analysis::compare::{
    Comparison, MetricComparison, Pair, Verdict, compare,
    differences::{Difference, differences},
    metric::{Metric, Thresholds},
    past::{Past, Point, points},
    repetition::Repetition,
};
use archive::{BenchmarkId, Run};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{Campaign, Execution, sweep::in_words};
use crate::load::Loaded;

/// Executions that cannot be compared and are passed over in search of one that can, at most.
const MOST_PASSED_OVER: usize = 8;

/// An execution and its predecessor, by their places in the model.
pub struct Diff<'a> {
    pub campaign: usize,
    /// Places in the campaign's executions, the newest first.
    pub base: usize,
    pub candidate: usize,
    /// One a point of the comparison.
    pub points: Vec<DiffPoint<'a>>,
    /// `None` when the two cannot be compared: then a difference bars, or a remark says why.
    pub comparison: Option<Comparison>,
    pub differences: Vec<Difference>,
    pub remarks: Vec<String>,
}

/// One point on both sides: usable benchmarks only.
pub struct DiffPoint<'a> {
    /// `num_clients = 8`.
    pub label: String,
    pub base: Vec<&'a Loaded>,
    pub candidate: Vec<&'a Loaded>,
}

/// A figure that regressed or improved.
pub struct Change<'m, 'a> {
    pub diff: &'m Diff<'a>,
    pub label: &'m str,
    pub metric: &'m MetricComparison,
    pub state: State,
}

/// What came after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No later execution changed the figure again beyond chance.
    Stands,
    /// A later execution changed it the other way: its place among the executions.
    Reversed(usize),
}

impl Diff<'_> {
    /// The same with these benchmarks, which it was made of, in place of its own.
    pub fn with<'b>(&self, benchmarks: &'b [Loaded]) -> Diff<'b> {
        let by_id: HashMap<BenchmarkId, &'b Loaded> = benchmarks.iter().map(|one| (one.id, one)).collect();
        let same = |side: &[&Loaded]| side.iter().filter_map(|one| by_id.get(&one.id).copied()).collect();
        let point = |point: &DiffPoint<'_>| DiffPoint {
            label: point.label.clone(),
            base: same(&point.base),
            candidate: same(&point.candidate),
        };
        Diff {
            campaign: self.campaign,
            base: self.base,
            candidate: self.candidate,
            points: self.points.iter().map(point).collect(),
            comparison: self.comparison.clone(),
            differences: self.differences.clone(),
            remarks: self.remarks.clone(),
        }
    }
}

impl Change<'_, '_> {
    pub fn is_regression(&self) -> bool {
        self.metric.verdict == Verdict::Regressed
    }
}

/// The diffs of all campaigns, the newest candidate first within each campaign.
pub fn diffs<'a>(campaigns: &[Campaign<'a>], benchmarks: &'a [Loaded]) -> Vec<Diff<'a>> {
    if campaigns.iter().all(|campaign| campaign.executions.len() < 2) {
        return Vec::new();
    }
    let past = Past::new(benchmarks.iter().map(|benchmark| &benchmark.run));
    let by_id: BTreeMap<BenchmarkId, &Loaded> = benchmarks.iter().map(|benchmark| (benchmark.id, benchmark)).collect();
    let of_campaign = |(index, campaign): (usize, &Campaign<'a>)| {
        let last = campaign.executions.len().saturating_sub(1);
        (0..last).map(|candidate| against_earlier(index, campaign, candidate, &past, &by_id)).collect::<Vec<_>>()
    };
    let found: Vec<Vec<Diff<'a>>> = campaigns.par_iter().enumerate().map(of_campaign).collect();
    found.into_iter().flatten().collect()
}

/// Against the newest earlier execution that it can be compared with: a campaign may be run on two machines in turn. Where
/// there is none, against the one before it, to say why not.
fn against_earlier<'a>(
    index: usize,
    campaign: &Campaign<'a>,
    candidate: usize,
    past: &Past<'a>,
    by_id: &BTreeMap<BenchmarkId, &'a Loaded>,
) -> Diff<'a> {
    let against =
        |base: usize| diff(index, campaign, &campaign.executions[base], &campaign.executions[candidate], past, by_id);
    let before = against(candidate + 1);
    if before.comparison.is_some() {
        return before;
    }
    let earlier = (candidate + 2..campaign.executions.len()).take(MOST_PASSED_OVER);
    earlier.map(against).find(|diff| diff.comparison.is_some()).unwrap_or(before)
}

fn diff<'a>(
    campaign: usize,
    of_campaign: &Campaign<'a>,
    base: &Execution<'a>,
    candidate: &Execution<'a>,
    past: &Past<'a>,
    by_id: &BTreeMap<BenchmarkId, &'a Loaded>,
) -> Diff<'a> {
    let place = |of: &Execution<'_>| of_campaign.executions.iter().position(|other| other.key() == of.key());
    let mut diff = Diff {
        campaign,
        base: place(base).unwrap_or_default(),
        candidate: place(candidate).unwrap_or_default(),
        points: Vec::new(),
        comparison: None,
        differences: Vec::new(),
        remarks: Vec::new(),
    };
    let runs = |of: &Execution<'a>| of.benchmarks.iter().map(|benchmark| &benchmark.run).collect::<Vec<&'a Run>>();
    let matched = matched(points(runs(base)), points(runs(candidate)), &mut diff.remarks);
    let Some((_, first)) = matched.first() else {
        diff.remarks.push("the two executions have no point in common".to_owned());
        return diff;
    };
    let mut thresholds = Thresholds::default();
    for (name, number) in &first.runs[0].campaign.thresholds {
        // What no metric is called was refused when the campaign was read; an archive may say anything.
        _ = thresholds.set(name, *number);
    }
    for (base, candidate) in &matched {
        for difference in differences(&base.runs, &candidate.runs) {
            if !diff.differences.contains(&difference) {
                diff.differences.push(difference);
            }
        }
    }
    diff.differences.sort_by_key(|difference| !difference.bars);
    if diff.differences.iter().any(|difference| difference.bars) {
        return diff;
    }

    let usable = |runs: &[&Run]| -> Vec<&'a Loaded> {
        let loaded = runs.iter().filter_map(|run| by_id.get(&run.benchmark_id).copied());
        loaded.filter(|benchmark| is_usable(benchmark)).collect()
    };
    let figures = |benchmarks: &[&Loaded]| -> Vec<Repetition> {
        let one = |benchmark: &&Loaded| Some(benchmark.figures.as_ref()?.with_thresholds(&thresholds));
        benchmarks.iter().filter_map(one).collect()
    };
    let mut pairs = Vec::new();
    for (base, candidate) in &matched {
        let label = label(&base.swept);
        let (of_base, of_candidate) = (usable(&base.runs), usable(&candidate.runs));
        let left_out = base.runs.len() + candidate.runs.len() - of_base.len() - of_candidate.len();
        if left_out > 0 {
            diff.remarks.push(format!("{label}: {left_out} left out that did not complete or are invalid"));
        }
        if of_base.is_empty() || of_candidate.is_empty() {
            diff.remarks.push(format!("{label}: no usable benchmark on one side"));
            continue;
        }
        for benchmark in of_base.iter().chain(&of_candidate) {
            // Valid, and all the same the load generator may have set the figures.
            let reservations = benchmark.summary.iter().flat_map(|summary| summary.reservations());
            diff.remarks.extend(reservations.map(|finding| format!("{}: {}", benchmark.id, finding.message)));
        }
        let all = base.runs.iter().chain(&candidate.runs);
        let except: Vec<String> = all.map(|run| run.campaign.execution.clone()).collect();
        let earlier = past.earlier(base.runs[0], &except, candidate.runs[0]);
        let mut history: Vec<Vec<Repetition>> = earlier.iter().map(|(_, runs)| figures(&usable(runs))).collect();
        history.retain(|execution| !execution.is_empty());
        pairs.push(Pair { base: figures(&of_base), candidate: figures(&of_candidate), history });
        diff.points.push(DiffPoint { label, base: of_base, candidate: of_candidate });
    }
    if pairs.is_empty() {
        return diff;
    }
    let recipes: BTreeSet<&str> = matched
        .iter()
        .flat_map(|(base, candidate)| base.runs.iter().chain(&candidate.runs))
        .map(|run| run.recipe_hash.as_str())
        .collect();
    let neighbours = past.neighbours(matched[0].0.runs[0], &recipes, first.runs[0]);
    let neighbours: Vec<_> = neighbours.iter().map(|runs| figures(&usable(runs))).collect();
    diff.comparison = Some(compare(&pairs, &neighbours, &thresholds));
    diff
}

fn is_usable(benchmark: &Loaded) -> bool {
    benchmark.run.failure.is_none() && benchmark.summary.as_ref().is_some_and(|summary| summary.is_valid())
}

/// The points of both sides with equal swept values and load, unless one side has several of them.
fn matched<'a>(
    base: Vec<Point<'a>>,
    candidate: Vec<Point<'a>>,
    remarks: &mut Vec<String>,
) -> Vec<(Point<'a>, Point<'a>)> {
    let by_swept = |side: &[Point<'a>]| {
        let mut places: HashMap<String, (usize, usize)> = HashMap::new();
        for (place, point) in side.iter().enumerate() {
            places.entry(swept_key(point)).or_insert((place, 0)).1 += 1;
        }
        places
    };
    let (of_base, of_candidate) = (by_swept(&base), by_swept(&candidate));
    let mut matched = Vec::new();
    for point in &base {
        let key = swept_key(point);
        match (of_base[&key].1, of_candidate.get(&key)) {
            (1, Some((place, 1))) => matched.push((point.clone(), candidate[*place].clone())),
            (_, None) => remarks.push(format!("only the earlier execution has {}", label(&point.swept))),
            _ => remarks.push(format!("{} stands for several configurations: not compared", label(&point.swept))),
        }
    }
    for point in candidate.iter().filter(|point| !of_base.contains_key(&swept_key(point))) {
        remarks.push(format!("only the later execution has {}", label(&point.swept)));
    }
    remarks.dedup();
    matched
}

fn swept_key(point: &Point<'_>) -> String {
    Value::Object(point.swept.clone()).to_string()
}

/// `num_clients = 8, pipeline = 4`.
pub fn label(swept: &Map<String, Value>) -> String {
    let parts = swept.iter();
    let parts = parts.map(|(path, value)| format!("{} = {}", path.rsplit('.').next().unwrap_or(path), in_words(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A figure that regressed or improved, by its places.
pub struct Changed {
    pub diff: usize,
    /// Among the points of the diff.
    pub point: usize,
    /// Among the figures compared at the point.
    pub metric: usize,
    pub state: State,
}

/// All figures that regressed or improved, in the order of the diffs.
pub fn changed(diffs: &[Diff<'_>]) -> Vec<Changed> {
    let mut changes = Vec::new();
    // What happened to a figure of a point of a campaign: the candidate's place, and which way.
    type Happened<'m> = HashMap<(usize, &'m str, Metric), Vec<(usize, Verdict)>>;
    let mut happened = Happened::new();
    for (place, diff) in diffs.iter().enumerate() {
        let Some(comparison) = &diff.comparison else { continue };
        for (point, (of_diff, compared)) in diff.points.iter().zip(&comparison.points).enumerate() {
            for (metric, figure) in compared.metrics.iter().enumerate() {
                if matches!(figure.verdict, Verdict::Regressed | Verdict::Improved) {
                    let key = (diff.campaign, of_diff.label.as_str(), figure.metric);
                    happened.entry(key).or_default().push((diff.candidate, figure.verdict));
                    changes.push((key, figure.verdict, Changed { diff: place, point, metric, state: State::Stands }));
                }
            }
        }
    }
    let with_state = |((campaign, label, metric), verdict, mut change): (_, Verdict, Changed)| {
        let candidate = diffs[change.diff].candidate;
        let known = happened.get(&(campaign, label, metric)).into_iter().flatten();
        let reversed = known.filter(|(later, other)| *later < candidate && *other != verdict);
        // The first of the later ones.
        change.state = reversed.map(|(later, _)| *later).max().map_or(State::Stands, State::Reversed);
        change
    };
    changes.into_iter().map(with_state).collect()
}

/// `+14 % [+9, +20]`, in the metric's unit.
pub fn change_in_words(metric: &MetricComparison) -> String {
    let unit = match metric.metric {
        Metric::SuccessRate => " points",
        Metric::Failures => " requests",
        _ => " %",
    };
    let interval = match metric.interval {
        Some([low, high]) => format!(" [{}, {}]", signed(low), signed(high)),
        None => String::new(),
    };
    format!("{}{unit}{interval}", signed(metric.change))
}

/// Two or three digits, with the sign.
pub fn signed(value: f64) -> String {
    let digits = match value.abs() {
        size if size < 9.95 => 1,
        _ => 0,
    };
    let text = format!("{:.digits$}", value.abs());
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (zero, value < 0.0) {
        (true, _) => "0".to_owned(),
        (false, true) => format!("−{text}"),
        (false, false) => format!("+{text}"),
    }
}

/// `p99 latency`, `throughput`, `success rate`, `failed requests`.
pub fn metric_in_words(metric: Metric) -> String {
    match metric {
        Metric::Throughput => "throughput".to_owned(),
        Metric::Failures => "failed requests".to_owned(),
        Metric::Goodput => "goodput".to_owned(),
        other => analysis::slo::metric_in_words(&other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_written_with_their_sign() {
        for (value, text) in [(0.04, "0"), (-0.04, "0"), (9.96, "+10"), (-3.25, "−3.2"), (14.4, "+14"), (0.5, "+0.5")]
        {
            assert_eq!(signed(value), text);
        }
    }
}
