//! Which benchmarks of an archive tell about one of them: its point, earlier executions of the same thing, and others
//! that are as noisy. Knows runs only; figures are the caller's.

use std::collections::{BTreeMap, BTreeSet};

use archive::{Run, Status};
use serde_json::{Map, Value};

use super::differences::{configuration, machines};
use crate::series::{Along, load_path, series};

/// Points beside those compared that the noise is learnt from, at most: the newest.
const MOST_NEIGHBOURS: usize = 50;

/// Earlier executions of the same configuration that are looked at, at most: the newest.
const MOST_EARLIER: usize = 20;

/// Executions by name, each with its runs, oldest first.
pub type Executions<'r> = Vec<(String, Vec<&'r Run>)>;

/// The benchmarks of one point: one configuration under one load.
#[derive(Clone, Debug)]
pub struct Point<'r> {
    /// The swept values, and the load where it was not swept.
    pub swept: Map<String, Value>,
    pub runs: Vec<&'r Run>,
}

/// The points of some benchmarks, in the order of the sweep.
pub fn points(mut runs: Vec<&Run>) -> Vec<Point<'_>> {
    runs.sort_by_key(|run| (run.campaign.point, run.benchmark_id));
    let series = series(&runs, Along::Load);
    let points = series.iter().flat_map(|one| one.points.iter().map(|point| (one.unit, point)));
    let mut points: Vec<(usize, Point<'_>)> = points
        .map(|(unit, point)| {
            let runs: Vec<&Run> = point.members.iter().map(|member| runs[*member]).collect();
            let mut swept = runs[0].campaign.swept.clone();
            let load = match point.load.fract() == 0.0 && point.load.abs() < 1e15 {
                true => Value::from(point.load as i64),
                false => Value::from(point.load),
            };
            swept.insert(load_path(unit).to_owned(), load);
            (point.members[0], Point { swept, runs })
        })
        .collect();
    points.sort_by_key(|(first, _)| *first);
    points.into_iter().map(|(_, point)| point).collect()
}

/// The runs of an archive, to be asked again and again.
pub struct Past<'r> {
    /// By recipe: completed runs, oldest first.
    of_recipe: BTreeMap<&'r str, Vec<&'r Run>>,
    /// By service type, client type and machines: repeated points, oldest first.
    repeated: BTreeMap<(&'r str, &'r str, String), Vec<Vec<&'r Run>>>,
}

impl<'r> Past<'r> {
    /// `runs`: oldest first.
    pub fn new(runs: impl IntoIterator<Item = &'r Run>) -> Self {
        let mut of_recipe: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        let mut groups: BTreeMap<_, Executions<'r>> = BTreeMap::new();
        for run in runs.into_iter().filter(|run| run.status == Status::Completed) {
            of_recipe.entry(&run.recipe_hash).or_default().push(run);
            let key = (run.service.kind.as_str(), run.client.kind.as_str(), machines(run));
            add(groups.entry(key).or_default(), run, format!("{} {}", run.campaign.execution, run.campaign.point));
        }
        let repeated = groups.into_iter().map(|(key, groups)| {
            let groups = groups.into_iter().map(|(_, runs)| runs).filter(|runs| runs.len() > 1);
            (key, groups.collect())
        });
        Self { of_recipe, repeated: repeated.collect() }
    }

    /// Executions of what `run` is an execution of, oldest first; without those in `except`, and without what was made
    /// after `before`.
    pub fn earlier(&self, run: &Run, except: &[String], before: &Run) -> Executions<'r> {
        let earlier = |other: &Run| other.created_at < before.created_at && !except.contains(&other.campaign.execution);
        self.executions_of(run, earlier, MOST_EARLIER)
    }

    /// All executions of what `run` is an execution of, oldest first.
    pub fn all(&self, run: &Run) -> Executions<'r> {
        self.executions_of(run, |_| true, usize::MAX)
    }

    /// The newest `most` executions of the configuration of `run`, of the benchmarks that completed and fit.
    fn executions_of(&self, run: &Run, fits: impl Fn(&Run) -> bool, most: usize) -> Executions<'r> {
        let configuration_of_run = configuration(run);
        let mut executions = Vec::new();
        for other in self.of_recipe.get(run.recipe_hash.as_str()).into_iter().flatten() {
            if fits(other) && configuration(other) == configuration_of_run {
                add(&mut executions, other, other.campaign.execution.clone());
            }
        }
        executions.drain(..executions.len().saturating_sub(most));
        executions
    }

    /// Repeated points of the same service and client types on the same machines, of other recipes than `recipes`: they
    /// tell how noisy such benchmarks are.
    pub fn neighbours(&self, run: &Run, recipes: &BTreeSet<&str>) -> Vec<Vec<&'r Run>> {
        let key = (run.service.kind.as_str(), run.client.kind.as_str(), machines(run));
        let alike = self.repeated.get(&key).into_iter().flatten();
        let is_other = |run: &&&Run| !recipes.contains(run.recipe_hash.as_str());
        let others = alike.map(|group| group.iter().filter(is_other).copied().collect::<Vec<_>>());
        let mut groups: Vec<Vec<&Run>> = others.filter(|runs| runs.len() > 1).collect();
        groups.drain(..groups.len().saturating_sub(MOST_NEIGHBOURS));
        groups
    }
}

/// By key, in order of first appearance.
fn add<'r>(groups: &mut Executions<'r>, run: &'r Run, key: String) {
    // The newest group first: runs of one execution follow each other.
    match groups.iter_mut().rev().find(|(known, _)| *known == key) {
        Some((_, runs)) => runs.push(run),
        None => groups.push((key, vec![run])),
    }
}
