//! The life of benchmarks: planned → submitted → starting → ready → loading → ended → collected → sealed.
//!
//! Written once over every target. A run folder holds all that is needed to go on from any point; its owner
//! holds a lock on it, so that what a dead owner left can be told from what a living one works on.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Error, Result, bail};
use archive::{Archive, CampaignFacts, RecipeFacts, Repository, Seeds, SigningKey, Timestamp, ToolFacts};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, DeploymentPlan, Layout, PointPlan, SealFacts, Secrets, ServicePlan},
    console::Console,
    interrupt::Interrupt,
    node,
    plan::{Machine, Plan, PlannedBenchmark, Point, scripts},
    recipe::{
        self,
        formats::{parse_endpoint, parse_slurm_time},
        rules::LOCAL,
    },
    services::{self, RAW_CLIENT, RAW_SERVICE},
    target::{Refused, Targets},
};

mod anonymous;
mod collect;
mod commit;
mod drive;
mod journal;
mod logs;
mod publish;
mod recover;
mod resume;
mod retry;
mod search;
mod source;

pub use collect::{Done, status_word};
pub use commit::{commit_imported, is_withheld};
pub use drive::Driven;
use drive::{Deployment, Until, drive};
use journal::Journal;
pub use journal::State;
pub use logs::LogNames;
pub use publish::{Destination, publish};
pub use recover::{Recovered, recover};
pub use resume::{Resumption, Unfinished, resume, under_way, unfinished};
pub use retry::retried_end;
pub use search::{give_up as give_up_searches, resume as resume_searches};
pub use source::source_of;

/// What the person who starts a campaign decides about the archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    pub commit: bool,
    /// Keep run folders, in `.work/kept`.
    pub keep: bool,
    pub raw_limit_bytes: u64,
    /// The most that all benchmarks may have in git together, before those that are new keep their raw files outside it.
    #[serde(default)]
    pub budget_bytes: Option<u64>,
    /// Signs manifests and commits.
    #[serde(default)]
    pub sign: Option<SigningKey>,
    /// Leave out the names of people, accounts and hosts.
    #[serde(default)]
    pub anonymous: bool,
    /// Seconds between two questions to a cluster, in place of its own.
    pub poll_s: Option<f64>,
    /// Leave what was submitted to a cluster to itself.
    pub detach: bool,
    /// Slurm's words for ends of jobs after which benchmarks are begun anew, such as `PREEMPTED`.
    #[serde(default)]
    pub retry: Vec<String>,
}

/// Runs every benchmark of the plan; returns what came of them, those that were archived in order.
///
/// A benchmark that fails is a result; an error is returned only when this program cannot go on. Ends early,
/// keeping what was measured, when `interrupt` is raised.
pub fn execute(
    plan: &Plan,
    machine: Machine<'_>,
    archive: &Archive,
    options: &Options,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Driven> {
    let session = Session::new(execution_name(Timestamp::now()), archive, options, interrupt);
    if let Some(search) = &plan.search {
        return search::execute(plan, search, machine, &session, console);
    }
    let mut targets = Targets::new(options.poll_s);
    let on_cluster = plan.campaign.target != LOCAL;
    if on_cluster {
        let mut target = targets.of_name(&plan.campaign.target, campaign_folder(plan))?;
        scripts::check(plan)?;
        if options.detach && plan.deployments.len() > target.at_once() {
            bail!(
                "{} deployments are more than the target's `max_jobs` allows at once ({}), and nobody would be there to \
                 submit the rest: raise it, share deployments (`redeploy: false`), or leave out `--detach`",
                plan.deployments.len(),
                target.at_once()
            );
        }
        target.connect()?;
    }
    console.begin(&plan.campaign.name, plan.benchmarks.len());
    let mut create = |(number, members): (usize, &Vec<usize>)| {
        tracing::info!("deployment {} of {}", number + 1, plan.deployments.len());
        let points = members.iter().map(|member| session.point(plan, &plan.benchmarks[*member]));
        let opening = Opening {
            points: points.collect::<Result<_>>()?,
            needs: members.iter().map(|member| &plan.points[plan.benchmarks[*member].point]).collect(),
            open: false,
            number: number + 1,
        };
        session.create(plan, opening, &mut targets)
    };
    let until = if options.detach { Until::Launched } else { Until::Archived };
    let all = plan.deployments.iter().enumerate();
    let driven = if on_cluster {
        // All of them first: a campaign that is submitted is finished, by whichever command.
        let mut created: Vec<Result<Deployment>> = all.map(&mut create).collect();
        if let Some(refused) = refused(&mut created) {
            console.finish();
            created.into_iter().flatten().try_for_each(|deployment| deployment.withdraw(archive))?;
            return Err(refused);
        }
        drive(created.into_iter(), until, None, archive, options.keep, console, interrupt)
    } else {
        drive(all.map(&mut create), until, None, archive, options.keep, console, interrupt)
    };
    console.finish();
    targets.account().iter().for_each(|line| tracing::info!("{line}"));
    let driven = driven?;
    if driven.left > 0 && on_cluster {
        console.say(&format!(
            "{} on {}, without this command: `runner resume` collects, `runner stop` ends them",
            if driven.left == 1 {
                "1 deployment goes on".to_owned()
            } else {
                format!("{} deployments go on", driven.left)
            },
            plan.campaign.target
        ));
    }
    session.forget_calibrations()?;
    Ok(driven)
}

/// Asks Slurm whether it would take the jobs of all deployments before the first is submitted; returns why it never will.
/// What it cannot say now is found out when they are submitted.
fn refused(created: &mut [Result<Deployment>]) -> Option<Error> {
    for deployment in created.iter_mut().flatten() {
        match deployment.check() {
            Ok(()) => {}
            Err(err) if err.is::<Refused>() => return Some(err),
            Err(_) => return None,
        }
    }
    None
}

/// Where the paths in a campaign count from.
fn campaign_folder(plan: &Plan) -> &Path {
    Path::new(&plan.campaign.file).parent().unwrap_or(Path::new(""))
}

/// What all deployments of an execution share.
struct Session<'a> {
    execution: String,
    tool: ToolFacts,
    git_commit: Option<String>,
    archive: &'a Archive,
    options: &'a Options,
    interrupt: &'a Interrupt,
}

/// What a deployment begins with.
struct Opening<'a> {
    points: Vec<PointPlan>,
    /// The points whose files it needs; the service is that of the first.
    needs: Vec<&'a Point>,
    /// Further points may follow.
    open: bool,
    /// From 1.
    number: usize,
}

impl<'a> Session<'a> {
    fn new(execution: String, archive: &'a Archive, options: &'a Options, interrupt: &'a Interrupt) -> Self {
        let git_commit = Repository::around(existing_parent(archive.folder())).and_then(|repository| repository.head);
        Self { execution, tool: node::tool(), git_commit, archive, options, interrupt }
    }

    /// Plans one benchmark, which gets its id.
    fn point(&self, plan: &Plan, planned: &PlannedBenchmark) -> Result<PointPlan> {
        point_plan(plan, planned, &self.execution, self.archive)
    }

    /// What a benchmark of the next deployment may have in git.
    fn raw_limit_bytes(&self) -> Result<u64> {
        match self.options.budget_bytes {
            Some(budget) if self.archive.bytes()? >= budget => {
                tracing::info!("the archive has its budget of {budget} bytes in git: raw files stay outside");
                Ok(0)
            }
            _ => Ok(self.options.raw_limit_bytes),
        }
    }

    /// Makes the run folder of a deployment.
    fn create(&self, plan: &Plan, opening: Opening<'_>, targets: &mut Targets) -> Result<Deployment> {
        let target = targets.of_name(&plan.campaign.target, campaign_folder(plan))?;
        let facts = SealFacts {
            created_at: Timestamp::now(),
            target: target.facts(),
            tool: self.tool.clone(),
            git_commit: self.git_commit.clone(),
            raw_limit_bytes: self.raw_limit_bytes()?,
            commit: self.options.commit,
            sign: self.options.sign.clone(),
            anonymous: self.options.anonymous,
            // A search begins a step anew itself.
            retry: if plan.search.is_some() { Vec::new() } else { self.options.retry.clone() },
        };
        let Opening { points, needs, open, number } = opening;
        let first = needs.first().context("a deployment has a point")?;
        let mut deployment = DeploymentPlan { service: service_plan(first)?, points, open, facts };
        let mut secrets = plan.secrets.clone();
        draw_secrets(&mut deployment.service, &mut secrets)?;
        let run = RunFolder::create(self.archive, &self.deployment_name(number))?;
        run.layout.create(&deployment, &Secrets::new(secrets))?;
        for point in needs {
            if let Some(trace) = &point.trace {
                run.layout.write_trace(trace)?;
            }
            for (sha256, text) in &point.files {
                run.layout.write_input(sha256, text)?;
            }
        }
        targets.describe(&plan.campaign.target, run.layout.folder())?;
        let mut journal = Journal::open(run.layout.folder())?;
        journal.write(State::Planned)?;
        Ok(Deployment::new(run, deployment, target, journal, State::Planned))
    }

    fn deployment_name(&self, number: usize) -> String {
        format!("{}-{number:04}", self.execution)
    }

    /// Whether a deployment has a run folder still: it is not archived.
    fn has_deployment(&self, number: usize) -> Result<bool> {
        Ok(self.archive.work_folder()?.join("run").join(self.deployment_name(number)).exists())
    }

    fn forget_calibrations(&self) -> Result<()> {
        if let Err(err) = fs::remove_dir_all(calibrations(self.archive, &self.execution)?)
            && err.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the kept calibrations: {err}");
        }
        Ok(())
    }
}

/// Where the calibrations of one execution are kept for its later benchmarks.
fn calibrations(archive: &Archive, execution: &str) -> Result<PathBuf> {
    Ok(std::path::absolute(archive.work_folder()?)?.join("calibrations").join(execution))
}

/// The plan of one benchmark, with an id taken for it.
fn point_plan(plan: &Plan, planned: &PlannedBenchmark, execution: &str, archive: &Archive) -> Result<PointPlan> {
    let point = &plan.points[planned.point];
    let client = &point.recipe.client;
    let mut load = point.load.clone();
    load.seed = planned.seed;
    let repeated = planned.repeated.as_ref();
    Ok(PointPlan {
        benchmark_id: archive.allocate()?,
        client_name: client.name.clone().unwrap_or_default(),
        // A command wins over the type.
        client_kind: match (&client.command, &client.kind) {
            (None, Some(kind)) => kind.clone(),
            _ => RAW_CLIENT.name().to_owned(),
        },
        settings: client.settings.clone().into(),
        command: client.command.clone(),
        env: client.env.clone(),
        data: client.data.clone(),
        load,
        warmup_delay_s: point.warmup_delay_s,
        time_limit_s: time_limit_s(&client.resources)?,
        campaign: CampaignFacts {
            name: plan.campaign.name.clone(),
            title: plan.campaign.title.clone(),
            execution: execution.to_owned(),
            point: repeated.map_or(planned.point, |repeated| repeated.point),
            points: repeated.map_or(plan.points.len(), |repeated| repeated.points),
            repetition: planned.repetition,
            repetitions: repeated.map_or(plan.campaign.repetitions, |repeated| repeated.repetitions),
            swept: point.swept.clone(),
            slo: point.slo.clone(),
            thresholds: plan.campaign.thresholds.clone(),
            search: None,
            other: serde_json::Map::new(),
        },
        recipe: RecipeFacts {
            file: plan.campaign.file.clone(),
            text: plan.campaign.text.clone(),
            recipe_text: point.recipe_text.clone(),
            overrides: plan.campaign.overrides.clone(),
            git_commit: plan.campaign.source.git_commit.clone(),
            changes_sha256: plan.campaign.source.changes_sha256.clone(),
            resolved: point.resolved.clone(),
        },
        rerun_of: repeated.map(|repeated| repeated.id),
        recipe_hash: point.recipe_hash.clone(),
        seeds: Seeds { campaign: plan.campaign.seed, benchmark: planned.seed },
        num_clients: point.recipe.benchmarks.num_clients,
        calibration_s: point.recipe.benchmarks.calibration,
        // Of a cluster's nodes each is calibrated for itself.
        calibration_cache: match plan.campaign.target == LOCAL {
            true => Some(calibrations(archive, execution)?),
            false => None,
        },
    })
}

/// Errs when a service of the plan cannot be started on this machine, before anything is. What other targets have is known
/// there only.
pub fn obtain(plan: &Plan) -> Result<()> {
    if plan.campaign.target != LOCAL {
        return Ok(());
    }
    for planned in &plan.benchmarks {
        let point = &plan.points[planned.point];
        let what = || match &planned.repeated {
            Some(original) => format!("{} cannot be repeated as it was", original.id),
            None => "the service cannot be started".to_owned(),
        };
        agent::obtain(&service_plan(point)?).with_context(what)?;
    }
    Ok(())
}

fn service_plan(point: &Point) -> Result<ServicePlan> {
    let service = &point.recipe.service;
    Ok(ServicePlan {
        name: service.name.clone().unwrap_or_default(),
        // With a command of its own, a type still tells how readiness is asked for.
        kind: service.kind.clone().unwrap_or_else(|| RAW_SERVICE.name().to_owned()),
        settings: service.settings.clone().into(),
        command: service.command.clone(),
        image: point.pinned_image.clone().or_else(|| service.image.clone()),
        only_in_image: point.pinned_image.is_some(),
        endpoint: service.endpoint.as_deref().map(parse_endpoint).transpose().map_err(Error::msg)?,
        port: service.port,
        env: service.env.clone(),
        pre_run_commands: service.pre_run_commands.clone(),
        volumes: service.resources.volumes.clone(),
        data: service.data.clone(),
        ready_timeout_s: service.ready_timeout,
        time_limit_s: time_limit_s(&service.resources)?,
    })
}

/// Gives the service a value of its own for every secret setting that the recipe leaves out. A service that
/// runs already, or starts by a command of the recipe, has its secrets.
fn draw_secrets(service: &mut ServicePlan, secrets: &mut BTreeMap<String, String>) -> Result<()> {
    let starts = service.endpoint.is_none() && service.command.is_none();
    let Some(settings) = service.settings.as_object_mut().filter(|_| starts) else { return Ok(()) };
    for secret in services::of_recipe(&service.kind)?.secret_settings() {
        if let Some(given) = settings.get(secret.setting) {
            // It goes into configuration files and tables of accounts as it is.
            let text = given.as_str().unwrap_or_default();
            let used = secrets.iter().filter(|(name, _)| text.contains(&format!("${{{name}}}")));
            for (name, value) in used {
                if value.contains(|letter: char| matches!(letter, '"' | '\\') || letter.is_control()) {
                    bail!("${{{name}}} holds a quotation mark, a backslash or a control character: choose another");
                }
            }
            continue;
        }
        settings.insert(secret.setting.to_owned(), format!("${{{}}}", secret.variable).into());
        if let Entry::Vacant(vacant) = secrets.entry(secret.variable.to_owned()) {
            vacant.insert(services::token::secret()?);
        }
    }
    Ok(())
}

fn time_limit_s(resources: &recipe::Resources) -> Result<Option<f64>> {
    let limit = resources.time_limit.as_deref().map(parse_slurm_time).transpose().map_err(Error::msg)?;
    Ok(limit.map(|seconds| seconds as f64))
}

/// A run folder and the lock that says that its owner lives.
struct RunFolder {
    layout: Layout,
    _lock: File,
}

impl RunFolder {
    fn create(archive: &Archive, name: &str) -> Result<Self> {
        let work = archive.work_folder()?;
        let folder = work.join("run").join(name);
        // Whoever looks for leftovers must not find the folder before its lock.
        let _creation = lock_work(&work)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        Ok(Self { layout: Layout::new(folder), _lock: lock })
    }

    /// Takes over the folder if its owner has died.
    fn adopt(folder: PathBuf) -> Result<Option<Self>> {
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { layout: Layout::new(folder), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(err.into()),
        }
    }

    /// Takes the folder away from those that still have to be finished: to `kept`, or altogether.
    fn retire(self, archive: &Archive, keep: bool) -> Result<()> {
        let work = archive.work_folder()?;
        let folder = self.layout.folder();
        let name = folder.file_name().context("a run folder has a name")?;
        let place = work.join(if keep { "kept" } else { "removed" });
        fs::create_dir_all(&place)?;
        let retired = place.join(name);
        {
            // Whoever looks for leftovers must not find half a folder, or one without its lock.
            let _search = lock_work(&work)?;
            fs::rename(folder, &retired).with_context(|| format!("cannot move {}", folder.display()))?;
        }
        if !keep {
            remove_retired(&retired);
        }
        Ok(())
    }
}

/// What cannot be removed now is removed by a later command.
fn remove_retired(folder: &Path) {
    if let Err(err) = fs::remove_dir_all(folder)
        && err.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {err}", folder.display());
    }
}

/// Held while run folders are created, searched or taken away.
fn lock_work(work: &Path) -> Result<File> {
    let path = work.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

/// One execution of a campaign: its time, and a part that tells two of the same second apart.
fn execution_name(started: Timestamp) -> String {
    let unique = format!("{} {} {:?}", started.unix_us(), std::process::id(), Instant::now());
    let time: String = started.to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    format!("{time}-{}", &archive::sha256_hex(unique.as_bytes())[..6])
}

/// The nearest folder on the way up that exists: a results folder may not exist yet.
fn existing_parent(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}
