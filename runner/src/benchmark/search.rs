//! A load that is searched: each benchmark is planned from what those before it measured.
//!
//! Where to measure next is decided by `analysis::next_step` alone, from the archived steps; so a search that was cut off
//! goes on from the archive. What it searches stands in `.work/searches` until it has ended. Here the service stays up
//! between two steps; on a cluster, where jobs are submitted whole, each step is a deployment of its own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use analysis::{Measured, Search, SearchEnd, Step, measured, next_step, saturation::Archived};
use anyhow::{Context, Result, bail};
use archive::{Archive, BenchmarkId, Run, SearchFacts, Summary};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Done, Driven, Opening, Options, Session, Until, campaign_folder, drive,
    retry::{ATTEMPTS, ended_so},
};
use crate::{
    agent::{self, PointPlan},
    console::{Console, label},
    interrupt::Interrupt,
    plan::{Campaign, Machine, Plan, PlannedBenchmark, PlannedSearch, benchmark_seed, resolved_point, scripts},
    recipe::rules::LOCAL,
    target::Targets,
};

/// What is searched, so that a later command can go on with it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    execution: String,
    campaign: Campaign,
    search: PlannedSearch,
    /// The other axes' combinations.
    bases: Vec<Base>,
    options: Options,
}

/// A combination of the other axes.
#[derive(Debug, Serialize, Deserialize)]
struct Base {
    swept: Map<String, Value>,
    resolved: Value,
    recipe_text: Option<String>,
    slo: std::collections::BTreeMap<String, f64>,
}

/// The file of a search that has not ended, with the lock that says whose it is.
struct KeptFile {
    path: PathBuf,
    _lock: File,
}

fn folder(archive: &Archive) -> Result<PathBuf> {
    Ok(archive.work_folder()?.join("searches"))
}

impl KeptFile {
    fn create(archive: &Archive, kept: &Kept) -> Result<Self> {
        let folder = folder(archive)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = File::create(folder.join(format!("{}.lock", kept.execution)))?;
        lock.lock()?;
        let path = folder.join(format!("{}.json", kept.execution));
        agent::write_json(&path, kept)?;
        Ok(Self { path, _lock: lock })
    }

    /// The search in that file, if nobody works on it.
    fn adopt(path: &Path) -> Result<Option<(Self, Kept)>> {
        let lock = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
        if lock.try_lock().is_err() || !path.exists() {
            return Ok(None);
        }
        Ok(Some((Self { path: path.to_owned(), _lock: lock }, agent::read_json(path)?)))
    }

    fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        // Of no meaning without the other.
        let _ = fs::remove_file(self.path.with_extension("lock"));
        Ok(())
    }
}

/// Searches every combination of the plan.
pub fn execute(
    plan: &Plan,
    planned: &PlannedSearch,
    machine: Machine<'_>,
    session: &Session<'_>,
    console: &mut Console,
) -> Result<Driven> {
    if session.options.detach {
        bail!(
            "a search chooses each load by what was measured before, and nobody would be there: leave out `--detach`"
        );
    }
    let mut walk = Walk::new(plan.clone(), planned, machine, session);
    walk.reach()?;
    console.begin(&plan.campaign.name, planned.most_benchmarks());
    let base = |point: &crate::plan::Point| Base {
        swept: point.swept.clone(),
        resolved: point.resolved.clone(),
        recipe_text: point.recipe_text.clone(),
        slo: point.slo.clone(),
    };
    let kept = Kept {
        execution: session.execution.clone(),
        campaign: plan.campaign.clone(),
        search: planned.clone(),
        bases: plan.points.iter().map(base).collect(),
        options: session.options.clone(),
    };
    let file = KeptFile::create(session.archive, &kept)?;
    go_on(walk, file, console)
}

/// Gives up every search that nobody works on; the names of their campaigns.
pub fn give_up(archive: &Archive) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in files(archive)? {
        if let Some((file, kept)) = KeptFile::adopt(&path)? {
            file.remove()?;
            names.push(kept.campaign.name);
        }
    }
    Ok(names)
}

/// What is kept of searches that have not ended.
fn files(archive: &Archive) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder(archive)?).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

/// Goes on with every search that was cut off and that nobody works on; returns what came of each beside its plan.
pub fn resume(
    archive: &Archive,
    machine: Machine<'_>,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Vec<(Plan, Driven)>> {
    let mut resumed = Vec::new();
    for path in files(archive)? {
        let Some((file, kept)) = KeptFile::adopt(&path)? else { continue };
        let plan = plan_of(&kept, machine)?;
        let session = Session::new(kept.execution.clone(), archive, &kept.options, interrupt);
        let mut walk = Walk::new(plan.clone(), &kept.search, machine, &session);
        walk.reach()?;
        for id in archive.ids()? {
            let benchmark = archive.open(id)?;
            let run = benchmark.run()?;
            if run.campaign.execution == kept.execution && run.rerun_of.is_none() {
                walk.restore(id, &run, benchmark.summary()?.as_ref())?;
            }
        }
        console.begin(&plan.campaign.name, kept.search.most_benchmarks());
        console.say(&format!("going on with its search after {} benchmarks", walk.known.len()));
        resumed.push((plan, go_on(walk, file, console)?));
        if interrupt.is_raised() {
            break;
        }
    }
    Ok(resumed)
}

fn plan_of(kept: &Kept, machine: Machine<'_>) -> Result<Plan> {
    let mut plan = Plan {
        campaign: kept.campaign.clone(),
        points: Vec::new(),
        benchmarks: Vec::new(),
        deployments: Vec::new(),
        secrets: Default::default(),
        search: Some(kept.search.clone()),
        notes: Vec::new(),
        site: None,
    };
    for base in &kept.bases {
        let (mut point, secrets) = resolved_point(&kept.campaign, &base.resolved, machine)?;
        point.swept.clone_from(&base.swept);
        point.recipe_text.clone_from(&base.recipe_text);
        point.slo.clone_from(&base.slo);
        plan.points.push(point);
        plan.secrets.extend(secrets);
    }
    Ok(plan)
}

fn go_on(mut walk: Walk<'_>, file: KeptFile, console: &mut Console) -> Result<Driven> {
    let mut driven = Driven::default();
    let mut whole = true;
    for combination in 0..walk.searches.len() {
        if walk.searches.len() > 1 {
            let mut others = walk.plan.points[combination].swept.clone();
            others.remove(&walk.planned.path);
            console.say(&format!("search {} of {}: {}", combination + 1, walk.searches.len(), label(&others)));
        }
        whole = walk.search(combination, console, &mut driven)?;
        if !whole {
            break;
        }
    }
    console.expect(driven.done.len());
    console.finish();
    walk.targets.account().iter().for_each(|line| tracing::info!("{line}"));
    walk.session.forget_calibrations()?;
    match whole {
        true => file.remove()?,
        false => console.say("the search has not ended: `runner resume` goes on with it, `runner stop` gives it up"),
    }
    Ok(driven)
}

/// One combination's search, as far as it has come.
struct Progress {
    search: Search,
    history: Vec<Measured>,
    /// Steps taken.
    step: usize,
    /// The load of the last step, why it was chosen, and how many of its benchmarks are still to come.
    current: (f64, String, u32),
    ended: bool,
}

/// All searches of an execution.
struct Walk<'a> {
    /// Its points are those of the combinations, then one for every further load.
    plan: Plan,
    planned: &'a PlannedSearch,
    machine: Machine<'a>,
    session: &'a Session<'a>,
    searches: Vec<Progress>,
    /// Archived steps.
    known: BTreeSet<BenchmarkId>,
    deployments: usize,
    targets: Targets,
}

impl<'a> Walk<'a> {
    fn new(plan: Plan, planned: &'a PlannedSearch, machine: Machine<'a>, session: &'a Session<'a>) -> Self {
        let progress = |search: &Search| Progress {
            search: search.clone(),
            history: Vec::new(),
            step: 0,
            current: (0.0, String::new(), 0),
            ended: false,
        };
        let searches = planned.searches.iter().map(progress).collect();
        let plan = Plan { benchmarks: Vec::new(), deployments: Vec::new(), ..plan };
        let targets = Targets::new(session.options.poll_s);
        Self { plan, planned, machine, session, searches, known: BTreeSet::new(), deployments: 0, targets }
    }

    fn on_cluster(&self) -> bool {
        self.plan.campaign.target != LOCAL
    }

    /// Reaches the target before anything is begun on it.
    fn reach(&mut self) -> Result<()> {
        if self.on_cluster() {
            scripts::check(&self.plan)?;
            self.targets.of_name(&self.plan.campaign.target, campaign_folder(&self.plan))?.connect()?;
        }
        Ok(())
    }

    /// Takes an archived step into account that an earlier command measured.
    fn restore(&mut self, id: BenchmarkId, run: &Run, summary: Option<&Summary>) -> Result<()> {
        let swept = &run.campaign.swept;
        let others = |of: &Map<String, Value>| {
            let mut others = of.clone();
            others.remove(&self.planned.path);
            others
        };
        let bases = &self.plan.points[..self.searches.len()];
        let combination = bases.iter().position(|base| others(&base.swept) == others(swept));
        let (Some(combination), Some(load)) = (combination, swept.get(&self.planned.path).and_then(Value::as_f64))
        else {
            return Ok(());
        };
        let point = self.point(combination, load)?;
        self.plan.benchmarks.push(PlannedBenchmark {
            point,
            repetition: run.campaign.repetition,
            seed: run.seeds.benchmark,
            repeated: None,
        });
        self.deployments += 1;
        let progress = &mut self.searches[combination];
        progress.step = progress.step.max(run.campaign.search.as_ref().map_or(0, |facts| facts.step));
        self.record(combination, id, run, summary);
        Ok(())
    }

    fn record(&mut self, combination: usize, id: BenchmarkId, run: &Run, summary: Option<&Summary>) {
        let progress = &mut self.searches[combination];
        let load = run.campaign.swept.get(&self.planned.path).and_then(Value::as_f64);
        // Of the load, an end that is to be retried says nothing.
        let counts = self.known.insert(id) && !ended_so(run, &self.session.options.retry);
        if let (true, Some(load)) = (counts, load) {
            progress.history.extend(measured(&Archived { load, run, summary }, &progress.search));
        }
    }

    /// The place of the point with that load in the plan, which gets it if it has none.
    fn point(&mut self, combination: usize, load: f64) -> Result<usize> {
        let base = &self.plan.points[combination];
        let whole = self.searches[combination].search.whole;
        let path = &self.planned.path;
        let of_load = |point: &crate::plan::Point| point.swept.get(path).and_then(Value::as_f64) == Some(load);
        let same = |point: &crate::plan::Point| {
            of_load(point)
                && point.swept.iter().all(|(axis, value)| axis == path || base.swept.get(axis) == Some(value))
        };
        if let Some(place) = self.plan.points.iter().position(same) {
            return Ok(place);
        }
        let point = self.plan.at_load(base, path, load, whole, self.machine)?;
        self.plan.points.push(point);
        Ok(self.plan.points.len() - 1)
    }

    /// The next benchmark of a combination; `None` when its search has ended.
    fn next(&mut self, combination: usize, console: &Console) -> Result<Option<PointPlan>> {
        let progress = &mut self.searches[combination];
        if progress.ended || self.session.interrupt.is_raised() {
            return Ok(None);
        }
        if progress.current.2 == 0 {
            match next_step(&progress.search, &progress.history) {
                Step::Measure { load, reason } => {
                    progress.step += 1;
                    console.say(&format!("step {}: {} = {load}: {reason}", progress.step, self.planned.path));
                    progress.current = (load, reason, progress.search.step_repetitions);
                }
                Step::End { end, reason } => {
                    progress.ended = true;
                    match end {
                        SearchEnd::Found => console.say(&format!("the search ends, found: {reason}")),
                        _ => console.warn(&format!("the search ends, not found: {reason}")),
                    }
                    return Ok(None);
                }
            }
        }
        progress.current.2 -= 1;
        let (load, reason, _) = progress.current.clone();
        let facts = SearchFacts {
            path: self.planned.path.clone(),
            step: progress.step,
            reason,
            method: analysis::ADAPTIVE_METHOD.to_owned(),
            wanted: match serde_json::to_value(&progress.search)? {
                Value::Object(wanted) => wanted,
                _ => Map::new(),
            },
            other: Map::new(),
        };
        let point = self.point(combination, load)?;
        let earlier = self.plan.benchmarks.iter().filter(|benchmark| benchmark.point == point).count();
        let repetition = u32::try_from(earlier + 1)?;
        self.plan.campaign.repetitions = self.plan.campaign.repetitions.max(repetition);
        let planned = PlannedBenchmark {
            point,
            repetition,
            seed: benchmark_seed(self.plan.campaign.seed, point, repetition),
            repeated: None,
        };
        let mut planned_point = self.session.point(&self.plan, &planned)?;
        self.plan.benchmarks.push(planned);
        planned_point.campaign.search = Some(facts);
        Ok(Some(planned_point))
    }

    /// Searches one combination; whether it came to its end.
    fn search(&mut self, combination: usize, console: &mut Console, driven: &mut Driven) -> Result<bool> {
        let (session, redeploy) = (self.session, self.planned.redeploy);
        let open = !redeploy && !self.on_cluster();
        let mut cut_off_by_jobs = 0;
        while let Some(first) = self.next(combination, console)? {
            let mut points = vec![first];
            // The repetitions of a step are known beforehand, and a cluster starts their service once.
            while !redeploy && !open && self.searches[combination].current.2 > 0 {
                let Some(repetition) = self.next(combination, console)? else { break };
                points.push(repetition);
            }
            self.deployments += 1;
            let number = self.deployments;
            let opening = Opening { points, needs: vec![&self.plan.points[combination]], open, number };
            let deployment = session.create(&self.plan, opening, &mut self.targets);
            let mut following = |done: &Done, console: &mut Console| {
                self.record(combination, done.id, &done.run, done.summary.as_ref());
                self.next(combination, console)
            };
            let deployments = std::iter::once(deployment);
            let (keep, interrupt) = (session.options.keep, session.interrupt);
            let step =
                drive(deployments, Until::Archived, Some(&mut following), session.archive, keep, console, interrupt);
            let mut step = step?;
            for one in &step.done {
                self.record(combination, one.id, &one.run, one.summary.as_ref());
            }
            let retried = step.done.iter().filter(|one| ended_so(&one.run, &session.options.retry));
            step.retried.extend(retried.map(|one| one.id));
            cut_off_by_jobs = if step.retried.is_empty() { 0 } else { cut_off_by_jobs + 1 };
            let (nothing, retried) = (step.done.is_empty(), cut_off_by_jobs > ATTEMPTS);
            driven.add(step);
            if nothing && session.has_deployment(number)? {
                return Ok(false);
            }
            if nothing || retried {
                self.searches[combination].ended = true;
                let why = if nothing { "was not begun" } else { "was cut off again and again" };
                console.warn(&format!("the search ends: its benchmark {why}"));
            }
        }
        Ok(!session.interrupt.is_raised())
    }
}
