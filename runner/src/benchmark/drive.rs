//! Deployments under way: launched as many at once as their target bears, watched, and collected as each ends.
//!
//! A deployment that another process began is taken up where its journal ends.

use std::{collections::VecDeque, path::Path, thread, time::Duration};

use anyhow::{Error, Result};
use archive::Archive;

use super::{
    Done, RunFolder, collect,
    journal::{Journal, State},
};
use crate::{
    agent::{self, Agent, DeploymentPlan},
    console::Console,
    interrupt::Interrupt,
    load::Progress,
    target::{AgentStatus, Refused, Target},
};

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
}

/// How far to go with deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of them are archived.
    Archived,
    /// All of them are launched; those that go on without this process are left to themselves.
    Launched,
    /// Each has been looked at once, and is archived if it had ended.
    Seen,
}

/// What came of deployments.
#[derive(Debug, Default)]
pub struct Driven {
    pub done: Vec<Done>,
    /// Deployments that are still under way, without this process.
    pub left: usize,
}

impl Deployment {
    pub fn new(run: RunFolder, plan: DeploymentPlan, target: Box<dyn Target>, journal: Journal, state: State) -> Self {
        Self { run, plan, target, journal, state, cancelled: false }
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

    /// Takes up one that another process began, and asks for its early end.
    pub fn stop(&mut self) -> Result<()> {
        if self.state < State::Ended {
            self.launch()?;
        }
        self.cancel()
    }

    /// Asks for its early end; what was measured is kept.
    pub fn cancel(&mut self) -> Result<()> {
        if self.state < State::Ended && !self.cancelled {
            self.cancelled = true;
            self.target.cancel()?;
        }
        Ok(())
    }

    /// Looks at it once; `Some` when its agents have ended, with what was wrong with them.
    fn look(&mut self, console: &Console) -> Result<Option<Option<String>>> {
        if self.state >= State::Collected {
            return Ok(Some(None));
        }
        let waiting = match self.target.status()? {
            AgentStatus::Ended { remark } => return Ok(Some(remark)),
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
        Ok(None)
    }

    /// From the end of its agents to the archive.
    fn finish(
        mut self,
        remark: Option<&str>,
        archive: &Archive,
        keep: bool,
        console: &mut Console,
    ) -> Result<Vec<Done>> {
        if self.state < State::Collected {
            self.enter(State::Ended)?;
            self.target.fetch()?;
        }
        // Whoever takes it up from here no longer asks where it ran.
        let kept = self.folder().join("remark.json");
        if self.state < State::Collected {
            agent::write_json(&kept, &remark)?;
            self.enter(State::Collected)?;
        }
        let remark: Option<String> = agent::read_json(&kept)?;
        let collected =
            collect::deployment(archive, &self.run.layout, &self.plan, remark.as_deref(), &mut self.journal)?;
        for id in collect::not_begun(&self.plan, &collected) {
            let why = remark.as_ref().map(|remark| format!(": {remark}")).unwrap_or_default();
            console.warn(&format!("{id} was not begun{why}"));
        }
        for benchmark in &collected {
            console.done(benchmark);
        }
        if !keep {
            self.target.clean()?;
        }
        self.run.retire(archive, keep)?;
        Ok(collected)
    }

    /// Takes back one that its target will never take.
    pub fn withdraw(mut self, archive: &Archive) -> Result<()> {
        self.target.adopt(self.run.layout.folder())?;
        self.target.clean()?;
        self.run.retire(archive, false)
    }
}

/// Goes on with the deployments, in order, until `until` holds or the person interrupts. What outlives this process
/// is then left to itself; everything else is ended in order and archived.
pub fn drive(
    mut deployments: impl Iterator<Item = Result<Deployment>>,
    until: Until,
    archive: &Archive,
    keep: bool,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Driven> {
    let mut exhausted = false;
    let mut under_way: VecDeque<Deployment> = VecDeque::new();
    let mut driven = Driven::default();
    loop {
        // Asked for one by one: taking the next is what makes it, where it is made late.
        while !exhausted
            && !interrupt.is_raised()
            && under_way.front().is_none_or(|first| under_way.len() < first.target.at_once())
        {
            let Some(next) = deployments.next() else {
                exhausted = true;
                break;
            };
            let mut next = next?;
            tracing::info!("deployment in {}", next.folder().display());
            match next.launch() {
                Ok(()) => under_way.push_back(next),
                Err(err) if err.is::<Refused>() => {
                    next.withdraw(archive)?;
                    return Err(withdraw_rest(err, deployments, archive));
                }
                Err(err) => return Err(err),
            }
        }
        let interrupted = interrupt.is_raised();
        let mut still = VecDeque::new();
        for mut deployment in std::mem::take(&mut under_way) {
            let leave = deployment.target.outlives_runner() && (interrupted || until == Until::Launched);
            if interrupted && !leave && !deployment.cancelled {
                console
                    .say("interrupted: ending the load; what was measured is kept (interrupt again to leave at once)");
                deployment.cancel()?;
            }
            if leave {
                driven.left += 1;
                continue;
            }
            match deployment.look(console)? {
                Some(remark) => {
                    driven.done.extend(deployment.finish(remark.as_deref(), archive, keep, console)?);
                }
                None if until == Until::Seen => driven.left += 1,
                None => still.push_back(deployment),
            }
        }
        under_way = still;
        if under_way.is_empty() && (exhausted || interrupt.is_raised()) {
            // Of a cluster, the next command submits them.
            driven.left += deployments.size_hint().0;
            return Ok(driven);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What was refused once is refused again: the others like it are not left behind to be tried by a later command.
fn withdraw_rest(err: Error, rest: impl Iterator<Item = Result<Deployment>>, archive: &Archive) -> Error {
    for deployment in rest.flatten().filter(|deployment| deployment.state == State::Planned) {
        if let Err(err) = deployment.withdraw(archive) {
            tracing::warn!("cannot take back a deployment: {err:#}");
        }
    }
    err
}
