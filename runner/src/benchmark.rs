//! The life of benchmarks: planned → submitted → starting → ready → loading → ended → collected → sealed.
//!
//! Written once over every target. A run folder holds all that is needed to go on from any point; its owner
//! holds a lock on it, so that what a dead owner left can be told from what a living one works on.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Error, Result, bail};
use archive::{Archive, BenchmarkId, CampaignFacts, RecipeFacts, Repository, Seeds, Timestamp, ToolFacts};

use crate::{
    agent::{DeploymentPlan, Layout, PointPlan, SealFacts, Secrets, ServicePlan},
    console::Console,
    interrupt::Interrupt,
    node,
    plan::{Plan, PlannedBenchmark, Point, scripts},
    recipe::{
        self,
        formats::{parse_endpoint, parse_slurm_time},
        rules::LOCAL,
    },
    services::{self, RAW_CLIENT, RAW_SERVICE},
    target::Targets,
};

mod collect;
mod commit;
mod drive;
mod journal;
mod recover;
mod resume;

pub use collect::{Done, status_word};
pub use drive::Driven;
use drive::{Deployment, Until, drive};
use journal::{Journal, State};
pub use recover::{Recovered, recover};
pub use resume::{Resumption, resume, unfinished};

/// What the person who starts a campaign decides about the archive.
#[derive(Clone, Debug)]
pub struct Options {
    pub commit: bool,
    /// Keep run folders, in `.work/kept`.
    pub keep: bool,
    pub raw_limit_bytes: u64,
    pub rerun_of: Option<BenchmarkId>,
    /// Seconds between two questions to a cluster, in place of its own.
    pub poll_s: Option<f64>,
    /// Leave what was submitted to a cluster to itself.
    pub detach: bool,
}

/// Runs every benchmark of the plan; returns what came of them, those that were archived in order.
///
/// A benchmark that fails is a result; an error is returned only when this program cannot go on. Ends early,
/// keeping what was measured, when `interrupt` is raised.
pub fn execute(
    plan: &Plan,
    archive: &Archive,
    options: &Options,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Driven> {
    let started = Timestamp::now();
    let execution = execution_name(started);
    let tool = tool_facts();
    let git_commit = Repository::around(existing_parent(archive.folder())).and_then(|repository| repository.head);
    let mut targets = Targets::new(options.poll_s);
    let campaign_folder = Path::new(&plan.campaign.file).parent().unwrap_or(Path::new("")).to_owned();
    let on_cluster = plan.campaign.target != LOCAL;
    if on_cluster {
        let mut target = targets.of_name(&plan.campaign.target, &campaign_folder)?;
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
        let target = targets.of_name(&plan.campaign.target, &campaign_folder)?;
        let facts = SealFacts {
            created_at: Timestamp::now(),
            target: target.facts(),
            tool: tool.clone(),
            git_commit: git_commit.clone(),
            rerun_of: options.rerun_of,
            raw_limit_bytes: options.raw_limit_bytes,
            commit: options.commit,
        };
        let mut deployment = deployment_plan(plan, members, &execution, archive, facts)?;
        let mut secrets = plan.secrets.clone();
        draw_secrets(&mut deployment.service, &mut secrets)?;
        let run = RunFolder::create(archive, &format!("{execution}-{:04}", number + 1))?;
        run.layout.create(&deployment, &Secrets::new(secrets))?;
        for member in members {
            if let Some(trace) = &plan.points[plan.benchmarks[*member].point].trace {
                run.layout.write_trace(trace)?;
            }
            for (sha256, text) in &plan.points[plan.benchmarks[*member].point].files {
                run.layout.write_input(sha256, text)?;
            }
        }
        targets.describe(&plan.campaign.target, run.layout.folder())?;
        let mut journal = Journal::open(run.layout.folder())?;
        journal.write(State::Planned)?;
        tracing::info!("deployment {} of {}", number + 1, plan.deployments.len());
        Ok(Deployment::new(run, deployment, target, journal, State::Planned))
    };
    let until = if options.detach { Until::Launched } else { Until::Archived };
    let all = plan.deployments.iter().enumerate();
    let driven = if on_cluster {
        // All of them first: a campaign that is submitted is finished, by whichever command.
        let created: Vec<Result<Deployment>> = all.map(&mut create).collect();
        drive(created.into_iter(), until, archive, options.keep, console, interrupt)
    } else {
        drive(all.map(&mut create), until, archive, options.keep, console, interrupt)
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
    if let Err(err) = fs::remove_dir_all(calibrations(archive, &execution)?)
        && err.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove the kept calibrations: {err}");
    }
    Ok(driven)
}

/// Where the calibrations of one execution are kept for its later benchmarks.
fn calibrations(archive: &Archive, execution: &str) -> Result<PathBuf> {
    Ok(std::path::absolute(archive.work_folder()?)?.join("calibrations").join(execution))
}

/// The plan of one deployment, with ids taken for its benchmarks.
fn deployment_plan(
    plan: &Plan,
    members: &[usize],
    execution: &str,
    archive: &Archive,
    facts: SealFacts,
) -> Result<DeploymentPlan> {
    let mut points = Vec::new();
    let calibrations = calibrations(archive, execution)?;
    for &member in members {
        let planned = &plan.benchmarks[member];
        points.push(point_plan(plan, planned, &plan.points[planned.point], execution, archive.allocate()?)?);
        if let Some(point) = points.last_mut() {
            // Of a cluster's nodes each is calibrated for itself.
            point.calibration_cache = (plan.campaign.target == LOCAL).then(|| calibrations.clone());
        }
    }
    let recipe = &plan.points[plan.benchmarks[members[0]].point].recipe;
    Ok(DeploymentPlan { service: service_plan(recipe)?, points, facts })
}

fn point_plan(
    plan: &Plan,
    planned: &PlannedBenchmark,
    point: &Point,
    execution: &str,
    benchmark_id: BenchmarkId,
) -> Result<PointPlan> {
    let client = &point.recipe.client;
    let mut load = point.load.clone();
    load.seed = planned.seed;
    Ok(PointPlan {
        benchmark_id,
        client_name: client.name.clone().unwrap_or_default(),
        // A command wins over the type.
        client_kind: match (&client.command, &client.kind) {
            (None, Some(kind)) => kind.clone(),
            _ => RAW_CLIENT.name().to_owned(),
        },
        settings: client.settings.clone().into(),
        command: client.command.clone(),
        env: client.env.clone(),
        load,
        warmup_delay_s: point.warmup_delay_s,
        time_limit_s: time_limit_s(&client.resources)?,
        campaign: CampaignFacts {
            name: plan.campaign.name.clone(),
            title: plan.campaign.title.clone(),
            execution: execution.to_owned(),
            point: planned.point,
            points: plan.points.len(),
            repetition: planned.repetition,
            repetitions: plan.campaign.repetitions,
            swept: point.swept.clone(),
            slo: point.slo.clone(),
            thresholds: plan.campaign.thresholds.clone(),
            other: serde_json::Map::new(),
        },
        recipe: RecipeFacts {
            file: plan.campaign.file.clone(),
            text: plan.campaign.text.clone(),
            recipe_text: point.recipe_text.clone(),
            overrides: plan.campaign.overrides.clone(),
            resolved: point.resolved.clone(),
        },
        recipe_hash: point.recipe_hash.clone(),
        seeds: Seeds { campaign: plan.campaign.seed, benchmark: planned.seed },
        num_clients: point.recipe.benchmarks.num_clients,
        calibration_s: point.recipe.benchmarks.calibration,
        calibration_cache: None,
    })
}

fn service_plan(recipe: &recipe::Recipe) -> Result<ServicePlan> {
    let service = &recipe.service;
    Ok(ServicePlan {
        name: service.name.clone().unwrap_or_default(),
        // With a command of its own, a type still tells how readiness is asked for.
        kind: service.kind.clone().unwrap_or_else(|| RAW_SERVICE.name().to_owned()),
        settings: service.settings.clone().into(),
        command: service.command.clone(),
        image: service.image.clone(),
        endpoint: service.endpoint.as_deref().map(parse_endpoint).transpose().map_err(Error::msg)?,
        port: service.port,
        env: service.env.clone(),
        pre_run_commands: service.pre_run_commands.clone(),
        volumes: service.resources.volumes.clone(),
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
        if settings.contains_key(secret.setting) {
            // It goes into configuration files and tables of accounts as it is.
            if secrets
                .get(secret.variable)
                .is_some_and(|value| value.contains(['"', '\\']) || value.contains(char::is_control))
            {
                bail!(
                    "${{{}}} holds a quotation mark, a backslash or a control character: choose another",
                    secret.variable
                );
            }
            continue;
        }
        settings.insert(secret.setting.to_owned(), format!("${{{}}}", secret.variable).into());
        if let Entry::Vacant(vacant) = secrets.entry(secret.variable.to_owned()) {
            vacant.insert(random_text()?);
        }
    }
    Ok(())
}

/// 128 bits of the kernel's random numbers in hexadecimal.
fn random_text() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
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

fn tool_facts() -> ToolFacts {
    let binary = fs::read(node::OWN_PROGRAM).ok();
    ToolFacts {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        binary_sha256: binary.map(|bytes| archive::sha256_hex(&bytes)),
        other: serde_json::Map::new(),
    }
}

/// The nearest folder on the way up that exists: a results folder may not exist yet.
fn existing_parent(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}
