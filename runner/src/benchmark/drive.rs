//! Deployments under way: launched as many at once as their target bears, watched, and collected as each ends.
//!
//! A deployment that another process began is taken up where its journal ends.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Error, Result};
use archive::{Archive, BenchmarkId, Status};

use super::{
    Done, RunFolder, collect, commit,
    journal::{Journal, State},
    retry,
};
use crate::{
    agent::{self, Agent, DeploymentPlan, PointPlan},
    console::Console,
    interrupt::Interrupt,
    load::Progress,
    target::{AgentStatus, Gone, NotNow, Refused, Target, Unreachable},
};

/// How long a target that does not answer is asked again; what waits for others to end waits as long as they take.
const PATIENCE: Duration = Duration::from_secs(900);

/// A run folder, what is in it, and where it runs.
pub struct Deployment {
    pub run: RunFolder,
    pub plan: DeploymentPlan,
    pub target: Box<dyn Target>,
    pub journal: Journal,
    /// The last that the journal says.
    pub state: State,
    /// Its end was asked for.
    cancelled: bool,
    /// By this process, or found launched.
    launched: bool,
    postponed: Option<Postponed>,
    /// Benchmarks that were archived while it went on.
    told: Vec<BenchmarkId>,
}

/// A launch that its target did not take.
struct Postponed {
    why: String,
    since: Instant,
    next: Instant,
}

/// What is seen of a deployment.
enum Look {
    UnderWay,
    /// Its agents have ended; how, is known soon.
    Settling,
    /// With what was wrong with its agents.
    Ended(Option<String>),
}

/// Gives the next benchmark of an open deployment after each, as long as there is one.
pub type Following<'a> = &'a mut dyn FnMut(&Done, &mut Console) -> Result<Option<PointPlan>>;

/// How far to go with deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of them are archived.
    Archived,
    /// All of them are launched; those that go on without this process are left to themselves.
    Launched,
    /// Each that was launched has been looked at once, and is archived if it had ended. Nothing is launched.
    Seen,
}

/// What came of deployments.
#[derive(Debug, Default)]
pub struct Driven {
    pub done: Vec<Done>,
    /// Deployments that are still under way, without this process.
    pub left: usize,
    /// Benchmarks of ended deployments that came to nothing.
    pub not_begun: usize,
    /// Benchmarks that were begun anew after their jobs had ended; what counts is the later one.
    pub retried: BTreeSet<BenchmarkId>,
    /// What became of deployments that could not be brought to their end; they hinder no others.
    pub errors: Vec<String>,
}

impl Driven {
    /// Adds what another campaign came to.
    pub fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.left += other.left;
        self.not_begun += other.not_begun;
        self.retried.extend(other.retried);
        other.errors.into_iter().for_each(|text| self.say(text));
    }

    /// Gives benchmarks the ids that they have now.
    pub fn rename(&mut self, names: &[(BenchmarkId, BenchmarkId)]) {
        for (was, now) in names {
            for done in self.done.iter_mut().filter(|done| done.id == *was) {
                done.id = *now;
                done.run.benchmark_id = *now;
            }
            if self.retried.remove(was) {
                self.retried.insert(*now);
            }
        }
    }

    /// Keeps an error; all deployments of a campaign may have the same.
    pub fn fail(&mut self, err: &Error) {
        self.say(format!("{err:#}"));
    }

    fn say(&mut self, text: String) {
        if !self.errors.contains(&text) {
            tracing::info!("{text}");
            self.errors.push(text);
        }
    }

    /// Whether every benchmark was begun and completed.
    pub fn is_fine(&self) -> bool {
        let fine = |done: &Done| done.run.status == Status::Completed || self.retried.contains(&done.id);
        self.not_begun == 0 && self.done.iter().all(fine)
    }
}

impl Deployment {
    pub fn new(run: RunFolder, plan: DeploymentPlan, target: Box<dyn Target>, journal: Journal, state: State) -> Self {
        let told = Vec::new();
        Self { run, plan, target, journal, state, cancelled: false, launched: false, postponed: None, told }
    }

    fn folder(&self) -> &Path {
        self.run.layout.folder()
    }

    fn enter(&mut self, state: State) -> Result<()> {
        if state > self.state {
            self.journal.write(state)?;
            self.state = state;
        }
        Ok(())
    }

    /// Launches it, unless the target puts it off: then it is to be tried again.
    fn try_launch(&mut self) -> Result<()> {
        if self.postponed.as_ref().is_some_and(|postponed| Instant::now() < postponed.next) {
            return Ok(());
        }
        match self.launch() {
            Ok(()) => self.launched = true,
            Err(err) => {
                let since = self.postponed.as_ref().map_or_else(Instant::now, |postponed| postponed.since);
                match err.downcast_ref::<NotNow>() {
                    Some(not_now) if not_now.limit || since.elapsed() < PATIENCE => {
                        let why = not_now.why.clone();
                        let again = self.target.again();
                        tracing::info!("{why}: again in {} s", again.as_secs());
                        self.postponed = Some(Postponed { why, since, next: Instant::now() + again });
                    }
                    _ => return Err(err),
                }
            }
        }
        Ok(())
    }

    /// Brings it to where its agents run, whatever of the way it has come before.
    fn launch(&mut self) -> Result<()> {
        if self.state >= State::Ended {
            return Ok(());
        }
        let folder = self.folder().to_owned();
        if self.state < State::Uploaded {
            self.target.check(&folder)?;
            self.target.prepare(&folder)?;
            self.enter(State::Uploaded)?;
        }
        self.target.launch(&folder)?;
        self.enter(State::Submitted)?;
        self.enter(State::Starting)
    }

    /// Takes up one that another process began, without launching it; `false` when it had not been launched.
    pub fn take_up(&mut self) -> Result<bool> {
        let folder = self.folder().to_owned();
        if self.state == State::Planned || self.state == State::Uploaded && !self.target.was_launched(&folder)? {
            return Ok(false);
        }
        self.launch()?;
        Ok(true)
    }

    /// Asks for its early end; what was measured is kept.
    pub fn cancel(&mut self) -> Result<()> {
        if self.state < State::Ended && !self.cancelled {
            self.target.cancel()?;
            self.cancelled = true;
        }
        Ok(())
    }

    /// Looks at it once.
    fn look(&mut self, console: &Console) -> Result<Look> {
        if self.state >= State::Collected {
            return Ok(Look::Ended(None));
        }
        let waiting = match self.target.status()? {
            AgentStatus::Ended { remark } => return Ok(Look::Ended(remark)),
            AgentStatus::Settling => return Ok(Look::Settling),
            AgentStatus::Waiting(why) => Some(why),
            AgentStatus::Running => None,
        };
        let layout = &self.run.layout;
        let ready = agent::find(layout, Agent::Serve, "ready").is_some();
        let points = self.plan.points.iter().rev();
        let current =
            points.clone().find_map(|point| Some((point, Progress::read(&layout.point(point.benchmark_id))?)));
        let state = match (&current, ready) {
            (Some(_), _) => State::Loading,
            (None, true) => State::Ready,
            (None, false) => self.state,
        };
        match (current, waiting) {
            (Some((point, live)), _) => console.live(point, &live),
            (None, Some(why)) => console.waiting(&self.plan.points, &why),
            (None, None) => {
                console.waiting(&self.plan.points, if ready { "connecting" } else { "starting the service" });
            }
        }
        if ready && self.state < State::Ready {
            tracing::info!("the service is ready");
        }
        self.enter(state)?;
        Ok(Look::UnderWay)
    }

    /// Archives the last benchmark of an open deployment if it has ended, and plans what follows it.
    fn follow(&mut self, following: Following<'_>, archive: &Archive, console: &mut Console) -> Result<()> {
        let layout = &self.run.layout;
        let Some(last) = self.plan.points.last() else { return Ok(()) };
        let Some(done) = collect::ended(archive, layout, &self.plan, last)? else { return Ok(()) };
        console.done(&done);
        self.told.push(done.id);
        match following(&done, console)? {
            Some(point) => layout.add(&mut self.plan, point),
            None => layout.close(&mut self.plan),
        }
    }

    /// From the end of its agents to the archive; with the deployment that tries again what failed, if it is to be.
    fn finish(
        mut self,
        mut remark: Option<String>,
        archive: &Archive,
        keep: bool,
        console: &mut Console,
        driven: &mut Driven,
    ) -> Result<Option<Self>> {
        let mut gone = None;
        if self.state < State::Collected {
            self.enter(State::Ended)?;
            match self.target.fetch() {
                Ok(()) => {}
                // There is nothing that a later command could fetch.
                Err(err) if err.is::<Gone>() => {
                    let texts = remark.into_iter().chain([err.to_string()]);
                    remark = Some(texts.collect::<Vec<_>>().join("; "));
                    gone.clone_from(&remark);
                }
                Err(err) => return Err(err),
            }
        }
        // Whoever takes it up from here no longer asks where it ran.
        let kept = self.folder().join("remark.json");
        if self.state < State::Collected {
            if let Some(gone) = &gone {
                collect::note_loss(&self.run.layout, gone)?;
            }
            agent::write_json(&kept, &remark)?;
            self.enter(State::Collected)?;
        }
        let remark: Option<String> = agent::read_json(&kept)?;
        let collected = collect::deployment(archive, &self.run.layout, &self.plan, remark.as_deref())?;
        for id in collect::not_begun(&self.plan, &collected) {
            driven.not_begun += 1;
            let why = remark.as_ref().map(|remark| format!(": {remark}")).unwrap_or_default();
            console.warn(&format!("{id} was not begun{why}"));
        }
        for benchmark in collected.iter().filter(|benchmark| !self.told.contains(&benchmark.id)) {
            console.done(benchmark);
        }
        let next = self.next_attempt(archive, &collected, console, driven)?;
        collect::finish(&self.run.layout, &mut self.journal)?;
        let withheld = commit::is_pending(archive, &collected)?;
        driven.done.extend(collected);
        if withheld && self.target.outlives_runner() {
            console.warn(&format!(
                "{} stays on {} until its benchmarks are committed: `runner resume` tries again",
                self.folder().file_name().unwrap_or_default().to_string_lossy(),
                self.plan.facts.target.name
            ));
            return Ok(next);
        }
        if keep {
            self.target.remove_secrets()?;
        } else {
            self.target.clean()?;
        }
        self.run.retire(archive, keep)?;
        Ok(next)
    }

    /// Begins anew what a cluster ended through no fault of its own, where the campaign wants that.
    fn next_attempt(
        &self,
        archive: &Archive,
        done: &[Done],
        console: &Console,
        driven: &mut Driven,
    ) -> Result<Option<Self>> {
        let Some(target) = self.target.another().filter(|_| !self.plan.facts.retry.is_empty()) else { return Ok(None) };
        let retry::Attempt { ended, begun } = retry::next_attempt(archive, &self.run.layout, &self.plan, done)?;
        if !ended.is_empty() {
            let ids: Vec<String> = ended.iter().map(BenchmarkId::to_string).collect();
            console.say(&format!("begun anew, as their jobs were ended: {}", ids.join(", ")));
        }
        driven.retried.extend(ended);
        let Some((run, plan)) = begun else { return Ok(None) };
        let journal = Journal::open(run.layout.folder())?;
        Ok(Some(Self::new(run, plan, target, journal, State::Planned)))
    }

    /// Asks its target whether it would take it, without launching it.
    pub fn check(&mut self) -> Result<()> {
        let folder = self.folder().to_owned();
        self.target.check(&folder)
    }

    /// Takes back one that its target will never take.
    pub fn withdraw(mut self, archive: &Archive) -> Result<()> {
        self.target.adopt(self.run.layout.folder())?;
        self.target.clean()?;
        self.run.retire(archive, false)
    }
}

/// Goes on with the deployments, in order, until `until` holds or the person interrupts. What outlives this process
/// is then left to itself; everything else is ended in order and archived. Of deployments that outlive this process,
/// one that fails hinders no other. `following` plans what open deployments do next.
pub fn drive(
    mut deployments: impl Iterator<Item = Result<Deployment>>,
    until: Until,
    mut following: Option<Following<'_>>,
    archive: &Archive,
    keep: bool,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Driven> {
    let mut exhausted = false;
    let mut under_way: Vec<Deployment> = Vec::new();
    let mut driven = Driven::default();
    // Each would be tried for as long again.
    let mut unreachable = BTreeSet::new();
    loop {
        // Asked for one by one: taking the next is what makes it, where it is made late.
        while !exhausted
            && !interrupt.is_raised()
            && (until == Until::Seen || under_way.first().is_none_or(|first| under_way.len() < first.target.at_once()))
        {
            let Some(next) = deployments.next() else {
                exhausted = true;
                break;
            };
            let next = next?;
            if until == Until::Seen && next.state < State::Submitted {
                driven.left += 1;
                continue;
            }
            tracing::info!("deployment in {}", next.folder().display());
            under_way.push(next);
        }
        // All of them before the first question, which is then one about all.
        for mut deployment in std::mem::take(&mut under_way) {
            let outlives = deployment.target.outlives_runner();
            let name = deployment.plan.facts.target.name.clone();
            if unreachable.contains(&name) {
                driven.left += 1;
                continue;
            }
            if deployment.launched || outlives && interrupt.is_raised() {
                under_way.push(deployment);
                continue;
            }
            match deployment.try_launch() {
                Ok(()) => under_way.push(deployment),
                Err(err) if !outlives => return Err(err),
                Err(err) if err.is::<Refused>() => {
                    driven.fail(&err);
                    if let Err(err) = deployment.withdraw(archive) {
                        driven.fail(&err);
                    }
                }
                Err(err) if err.is::<Gone>() => match deployment.finish(None, archive, keep, console, &mut driven) {
                    Ok(next) => under_way.extend(next),
                    Err(err) => driven.fail(&err),
                },
                Err(err) => {
                    if err.is::<Unreachable>() {
                        unreachable.insert(name);
                    }
                    driven.fail(&err);
                }
            }
        }
        let interrupted = interrupt.is_raised();
        for mut deployment in std::mem::take(&mut under_way) {
            let outlives = deployment.target.outlives_runner();
            let name = deployment.plan.facts.target.name.clone();
            if outlives
                && (interrupted || unreachable.contains(&name) || until == Until::Launched && deployment.launched)
            {
                driven.left += 1;
                continue;
            }
            if let (false, Some(postponed)) = (deployment.launched, &deployment.postponed) {
                console.waiting(&deployment.plan.points, &postponed.why);
                under_way.push(deployment);
                continue;
            }
            if interrupted && !deployment.cancelled {
                console
                    .say("interrupted: ending the load; what was measured is kept (interrupt again to leave at once)");
                deployment.cancel()?;
            }
            if let (Some(following), true, false) = (&mut following, deployment.plan.open, deployment.cancelled) {
                deployment.follow(*following, archive, console)?;
            }
            let looked = match deployment.look(console) {
                Ok(Look::UnderWay) if until == Until::Seen => {
                    driven.left += 1;
                    Ok(())
                }
                Ok(Look::UnderWay | Look::Settling) => {
                    under_way.push(deployment);
                    Ok(())
                }
                Ok(Look::Ended(remark)) => match deployment.finish(remark, archive, keep, console, &mut driven) {
                    // The command that waits for it launches it.
                    Ok(Some(_)) if until == Until::Seen => {
                        driven.left += 1;
                        Ok(())
                    }
                    Ok(next) => {
                        under_way.extend(next);
                        Ok(())
                    }
                    Err(err) => Err(err),
                },
                Err(err) => Err(err),
            };
            match looked {
                Err(err) if outlives => {
                    if err.is::<Unreachable>() {
                        unreachable.insert(name);
                    }
                    driven.fail(&err);
                }
                looked => looked?,
            }
        }
        if under_way.is_empty() && (exhausted || interrupt.is_raised()) {
            // Of a cluster, the next command submits them.
            driven.left += deployments.size_hint().0;
            return Ok(driven);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
