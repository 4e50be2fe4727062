//! Which benchmarks of an archive tell about one of them: its point, earlier executions of the same thing, and others
//! that are as noisy. Knows runs only; figures are the caller's.

use std::collections::{BTreeSet, HashMap};

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
    /// By configuration: completed runs, executions by first appearance, oldest first.
    of_configuration: HashMap<String, Executions<'r>>,
    /// By service type, client type and machines: repeated points, oldest first.
    repeated: HashMap<Alike<'r>, Vec<Vec<&'r Run>>>,
}

/// Service type, client type, machines.
type Alike<'r> = (&'r str, &'r str, String);

impl<'r> Past<'r> {
    /// `runs`: oldest first.
    pub fn new(runs: impl IntoIterator<Item = &'r Run>) -> Self {
        let mut of_configuration = HashMap::<String, Groups<'r>>::new();
        let mut groups = HashMap::<Alike<'r>, Groups<'r>>::new();
        for run in runs.into_iter().filter(|run| run.status == Status::Completed) {
            of_configuration.entry(configuration(run)).or_default().add(run, run.campaign.execution.clone());
            let point = format!("{} {}", run.campaign.execution, run.campaign.point);
            groups.entry(alike(run)).or_default().add(run, point);
        }
        let repeated = groups.into_iter().map(|(key, groups)| {
            let groups = groups.found.into_iter().map(|(_, runs)| runs).filter(|runs| runs.len() > 1);
            (key, groups.collect())
        });
        let of_configuration = of_configuration.into_iter().map(|(key, groups)| (key, groups.found));
        Self { of_configuration: of_configuration.collect(), repeated: repeated.collect() }
    }

    /// Executions of what `run` is an execution of, oldest first; without those in `except`, and without what was made
    /// after `before`. At most 20, the newest.
    pub fn earlier(&self, run: &Run, except: &[String], before: &Run) -> Executions<'r> {
        let known = self.of_configuration.get(&configuration(run)).into_iter().flatten().rev();
        let others = known.filter(|(execution, _)| !except.contains(execution));
        let fitting = others.filter_map(|(execution, runs)| {
            let runs = made_before(runs, before);
            (!runs.is_empty()).then(|| (execution.clone(), runs))
        });
        let mut newest: Executions<'r> = fitting.take(MOST_EARLIER).collect();
        newest.reverse();
        newest
    }

    /// All executions of what `run` is an execution of, oldest first.
    pub fn all(&self, run: &Run) -> Executions<'r> {
        self.of_configuration.get(&configuration(run)).cloned().unwrap_or_default()
    }

    /// Repeated points of the same service and client types on the same machines, of other recipes than `recipes`: they
    /// tell how noisy such benchmarks are. Nothing that was made after `before` is among them, so that what is added to
    /// the archive later changes no verdict on what was there.
    pub fn neighbours(&self, run: &Run, recipes: &BTreeSet<&str>, before: &Run) -> Vec<Vec<&'r Run>> {
        let others = self.repeated.get(&alike(run)).into_iter().flatten().rev().filter_map(|group| {
            let mut runs = made_before(group, before);
            runs.retain(|run| !recipes.contains(run.recipe_hash.as_str()));
            (runs.len() > 1).then_some(runs)
        });
        let mut newest: Vec<Vec<&Run>> = others.take(MOST_NEIGHBOURS).collect();
        newest.reverse();
        newest
    }
}

fn alike(run: &Run) -> Alike<'_> {
    (&run.service.kind, &run.client.kind, machines(run))
}

fn made_before<'r>(runs: &[&'r Run], before: &Run) -> Vec<&'r Run> {
    runs.iter().copied().filter(|run| run.created_at < before.created_at).collect()
}

/// Runs by key, in order of first appearance.
#[derive(Default)]
struct Groups<'r> {
    found: Executions<'r>,
    places: HashMap<String, usize>,
}

impl<'r> Groups<'r> {
    fn add(&mut self, run: &'r Run, key: String) {
        match self.places.get(&key) {
            Some(place) => self.found[*place].1.push(run),
            None => {
                self.places.insert(key.clone(), self.found.len());
                self.found.push((key, vec![run]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two repetitions of a point, run on a day.
    fn repeated(recipe: &str, day: u32) -> Vec<Run> {
        let run = |repetition: u32| -> Run {
            serde_json::from_value(json!({
                "schema": 1, "benchmark_id": format!("BM-202603{day:02}-{repetition:03}"), "status": "completed",
                "created_at": format!("2026-03-{day:02}T12:00:00Z"), "ended_at": format!("2026-03-{day:02}T12:01:00Z"),
                "campaign": { "name": recipe, "execution": format!("{recipe}-{day}"), "point": 0, "points": 1,
                              "repetition": repetition, "repetitions": 2, "swept": {} },
                "target": { "name": "local", "kind": "local" },
                "tool": { "name": "runner", "version": "0", "binary_sha256": null },
                "git_commit": null, "recipe_hash": recipe, "recipe": { "file": "f", "text": "", "resolved": {} },
                "service": { "name": "redis", "type": "redis", "version": "7.0", "image": null, "command": [],
                             "program_sha256": null, "started_as": "child", "hostname": null, "port": null,
                             "ready_after_s": null, "exit": null },
                "client": { "name": "c", "type": "redis_stress", "num_clients": 1, "threads": 1, "load": {},
                            "sequence_digest": null },
                "nodes": [], "seeds": { "campaign": 1, "benchmark": 1 }, "events": [],
            }))
            .expect("a run")
        };
        (1..=2).map(run).collect()
    }

    #[test]
    fn what_is_made_later_tells_nothing_of_what_was_there() {
        let mut runs: Vec<Run> = (1..=9).flat_map(|day| repeated(if day % 2 == 0 { "a" } else { "b" }, day)).collect();
        let told = |runs: &[Run]| {
            let past = Past::new(runs);
            // The fourth day against the second.
            let (base, candidate) = (&runs[2], &runs[6]);
            let except = [base, candidate].map(|run| run.campaign.execution.clone());
            let earlier = past.earlier(base, &except, candidate).into_iter().map(|(name, _)| name);
            let neighbours = past.neighbours(base, &BTreeSet::from(["a"]), candidate);
            let names = |runs: Vec<&Run>| runs.iter().map(|run| run.benchmark_id.to_string()).collect::<Vec<_>>();
            (earlier.collect::<Vec<_>>(), neighbours.into_iter().map(names).collect::<Vec<_>>())
        };
        let before = told(&runs[..8]);
        assert_eq!(before.1, [1, 3].map(|day| [1, 2].map(|one| format!("BM-202603{day:02}-{one:03}")).to_vec()));
        assert_eq!(told(&runs), before);
        runs.extend((0..60).flat_map(|_| repeated("c", 9)));
        assert_eq!(told(&runs), before);
    }

    #[test]
    fn of_many_executions_the_newest_are_looked_at() {
        let runs: Vec<Run> = (1..=28).flat_map(|day| repeated("a", day)).collect();
        let past = Past::new(&runs);
        let earlier = past.earlier(&runs[0], &["a-26".to_owned()], &runs[2 * 26]);
        let names: Vec<String> = earlier.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, (6..=25).map(|day| format!("a-{day}")).collect::<Vec<_>>());
        assert_eq!(past.all(&runs[0]).len(), 28);
    }
}
