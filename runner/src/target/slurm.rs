//! A Slurm cluster: the agents are two jobs on a folder that all nodes see. This process only submits, asks and collects.
//!
//! Everything that is sent may be sent again: a folder is put in place by one rename, and a job is submitted by a
//! script on the login node that looks first whether a job of that name exists. So a runner that was killed, or lost
//! its connection, repeats its last step without knowing whether it had happened. All deployments of a process
//! share one connection and one question to Slurm per interval.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use archive::TargetFacts;
use serde_json::json;

use super::{AgentStatus, Target, ssh::Ssh};
use crate::{
    agent::{Agent, Layout, find},
    recipe::{Recipe, Resources, target_file::SlurmTarget},
};

mod copy;
pub mod doctor;
mod jobs;
mod login;
pub mod output;
mod refusal;
pub mod script;
pub mod state;
mod submit;

pub use jobs::Jobs;
pub use login::Place;

use self::{
    jobs::{Accounts, Followed},
    output::JobRecord,
    refusal::TIMED_OUT,
    script::{Job, Role, quoted},
    state::Phase,
    submit::{NODES_UNKNOWN, submit, untaken},
};

/// How long a lost connection is tried again before this process gives up; the jobs go on all the same.
const PATIENCE: Duration = Duration::from_secs(900);

/// A cluster as this process uses it.
#[derive(Debug)]
pub struct Cluster {
    pub name: String,
    pub site: SlurmTarget,
    pub ssh: Ssh,
    place: Option<Place>,
    /// The agents' program, on the cluster.
    program: Option<String>,
    followed: BTreeMap<String, Followed>,
    asked: Option<Instant>,
    /// Scripts that Slurm would take, without the names of their deployments.
    taken: BTreeSet<String>,
    /// Questions to Slurm about jobs.
    pub questions: u64,
}

impl Cluster {
    pub fn new(name: &str, site: SlurmTarget) -> Result<Self> {
        let ssh = Ssh::new(&site, PATIENCE)?;
        Ok(Self {
            name: name.to_owned(),
            site,
            ssh,
            place: None,
            program: None,
            followed: BTreeMap::new(),
            asked: None,
            taken: BTreeSet::new(),
            questions: 0,
        })
    }

    /// The login node and what is there; asked once.
    pub fn place(&mut self) -> Result<Place> {
        if self.place.is_none() {
            self.place = Some(login::ask(&mut self.ssh, &self.site)?);
        }
        self.place.clone().context("it was just asked")
    }

    /// Where a deployment's folder is, there.
    fn folder(&mut self, name: &str) -> Result<String> {
        Ok(format!("{}/run/{name}", self.place()?.folder))
    }

    /// Asks Slurm about all jobs, unless it was asked within the interval.
    fn refresh(&mut self) -> Result<()> {
        if self.asked.is_some_and(|asked| asked.elapsed().as_secs_f64() < self.site.poll) || self.followed.is_empty() {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        self.questions += 1;
        let runs = format!("{}/run", self.place()?.folder);
        let names: Vec<&String> = self.followed.keys().collect();
        let files: String = names
            .iter()
            .map(|name| {
                format!(
                    " {name}/events/*.jsonl {name}/points/*/progress.json {name}/points/*/*/progress.json {name}/*.log"
                )
            })
            .collect();
        let open: Vec<&str> = self.followed.values().flat_map(|followed| followed.jobs.open()).collect();
        let script = question(&open, &files, &quoted(&runs)?);
        let answer = self.ssh.run(&script, b"")?;
        let (said, rest) = split_at_mark(&answer.stdout, QUEUE_END);
        let (accounts, files) = split_at_mark(rest, ACCOUNTS_END);
        let Some(said) = said else {
            tracing::info!("Slurm on {} does not answer: {}", self.name, answer.stderr.trim());
            return Ok(());
        };
        if let Some(folder) = self.followed.values().next().and_then(|followed| followed.folder.parent()) {
            copy::unpack(folder, files)?;
        }
        let found: BTreeMap<String, JobRecord> =
            output::queue(&said).into_iter().map(|job| (job.id.clone(), job)).collect();
        let accounts = match accounts {
            Some(text) => Accounts::Said(output::accounting(&text)),
            None if output::has_no_accounts(&answer.stderr) => Accounts::Absent,
            None => Accounts::Silent,
        };
        if accounts == Accounts::Silent && !answer.stderr.trim().is_empty() {
            tracing::info!("the accounts of {} do not answer: {}", self.name, answer.stderr.trim());
        }
        for followed in self.followed.values_mut() {
            let layout = Layout::new(&followed.folder);
            let said = |agent, names: &[&str]| {
                let event = names.iter().find_map(|name| find(&layout, agent, name))?;
                Some(event.time.unix_us() / 1_000_000)
            };
            let last_words = [said(Agent::Serve, &["stopped", "failed"]), said(Agent::Load, &["finished"])];
            followed.hear(&found, &accounts, last_words);
            followed.jobs.write(&followed.folder)?;
        }
        Ok(())
    }

    /// Sends `scancel` with these options.
    fn cancel(&mut self, options: &str, ids: &[&str]) -> Result<()> {
        let answer = self.ssh.run(&format!("timeout 60 scancel {options} {} 2>&1", ids.join(" ")), b"")?;
        // A job that is over already is what is wanted.
        if answer.code != 0 {
            tracing::info!("scancel: {}", answer.text().trim());
        }
        Ok(())
    }
}

/// Behind what the queue, and then the accounts, say; with the status of the command that asked.
const QUEUE_END: &str = "--end of the queue:";
const ACCOUNTS_END: &str = "--end of the accounts:";

/// The one question about all jobs: the queue, the accounts where a job of `open` is no longer in it or is over, and the
/// files that tell how far the agents are.
fn question(open: &[&str], files: &str, runs: &str) -> String {
    format!(
        "export SLURM_TIME_FORMAT=%s\n\
         queue=$(timeout 60 squeue --noheader --states=all --user=\"$(id -un)\" --format='{queue}'); code=$?\n\
         printf '%s\\n' \"$queue\"; echo \"{QUEUE_END} $code\"\n\
         ids=; code=none; queue=\"\n$queue\"\n\
         for id in {open}; do case $queue in\n\
           *\"\n$id|PENDING|\"* | *\"\n$id|CONFIGURING|\"* | *\"\n$id|RUNNING|\"* | *\"\n$id|COMPLETING|\"*) ;;\n\
           *) ids=$ids,$id ;; esac; done\n\
         if [ -n \"$ids\" ]; then\n\
           timeout 60 sacct --allocations --noheader --parsable2 --jobs=${{ids#,}} --format={accounting}; code=$?; fi\n\
         echo \"{ACCOUNTS_END} $code\"\n\
         cd {runs} && ls -d{files} 2>/dev/null | tar -cf - -T - 2>/dev/null\nexit 0",
        queue = output::QUEUE_FORMAT,
        accounting = output::ACCOUNTING_FORMAT,
        open = open.join(" "),
    )
}

/// What a command said, if it answered, and the bytes behind its mark.
fn split_at_mark<'a>(bytes: &'a [u8], mark: &str) -> (Option<String>, &'a [u8]) {
    let mark = mark.as_bytes();
    let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) else { return (None, &[]) };
    let rest = &bytes[at + mark.len()..];
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let answered = rest[..line].trim_ascii() == b"0";
    let said = answered.then(|| String::from_utf8_lossy(&bytes[..at]).into_owned());
    (said, rest.get(line + 1..).unwrap_or_default())
}

/// One deployment on a cluster.
#[derive(Debug)]
pub struct Slurm {
    cluster: Rc<RefCell<Cluster>>,
    /// The run folder here, and its name, which is also that of the folder there.
    run: Option<(PathBuf, String)>,
}

impl Slurm {
    pub fn new(cluster: Rc<RefCell<Cluster>>) -> Self {
        Self { cluster, run: None }
    }

    fn run(&self) -> Result<(&Path, &str)> {
        let (folder, name) = self.run.as_ref().context("the deployment has not been prepared")?;
        Ok((folder, name))
    }

    fn own(&mut self, folder: &Path) -> Result<String> {
        let name = folder.file_name().and_then(|name| name.to_str()).context("a run folder has a name")?.to_owned();
        self.run = Some((folder.to_owned(), name.clone()));
        Ok(name)
    }
}

/// What the scripts of a deployment need to know of its recipe.
fn planned_resources(folder: &Path) -> Result<[Resources; 2]> {
    let plan = Layout::new(folder).plan()?;
    let point = plan.points.first().context("a deployment has a point")?;
    let recipe: Recipe =
        serde_json::from_value(point.recipe.resolved.clone()).context("the plan's recipe cannot be read")?;
    Ok(resources(&recipe))
}

/// What both jobs are asked for, in the order of [`Role::BOTH`].
pub fn resources(recipe: &Recipe) -> [Resources; 2] {
    let mut client = recipe.client.resources.clone();
    // One client job drives all points, so it may live as long as the service does.
    client.time_limit.clone_from(&recipe.service.resources.time_limit);
    [recipe.service.resources.clone(), client]
}

/// The two scripts of a deployment, in the order of [`Role::BOTH`].
pub fn scripts(
    deployment: &str,
    resources: &[Resources; 2],
    site: &SlurmTarget,
    folder: &str,
    program: &str,
) -> Result<Vec<(Role, String)>> {
    let client_nodes = resources[1].nodes.unwrap_or(1);
    let write = |(role, resources)| {
        Ok((role, script::script(&Job { role, deployment, resources, client_nodes, site, folder, program })?))
    };
    Role::BOTH.into_iter().zip(resources).map(write).collect()
}

impl Target for Slurm {
    fn facts(&self) -> TargetFacts {
        let cluster = self.cluster.borrow();
        let mut other = serde_json::Map::new();
        other.insert("host".into(), json!(cluster.site.host));
        if let Some(place) = &cluster.place {
            other.insert("slurm".into(), json!(place.slurm));
            other.insert("login".into(), json!(place.hostname));
            other.insert("clock_offset_s".into(), json!(place.clock_offset_s));
        }
        TargetFacts { name: cluster.name.clone(), kind: "slurm".to_owned(), other }
    }

    fn connect(&mut self) -> Result<()> {
        self.cluster.borrow_mut().place().map(drop)
    }

    fn outlives_runner(&self) -> bool {
        true
    }

    fn at_once(&self) -> usize {
        (self.cluster.borrow().site.max_jobs / 2).max(1) as usize
    }

    fn again(&self) -> Duration {
        Duration::from_secs_f64(self.cluster.borrow().site.poll)
    }

    fn check(&mut self, folder: &Path) -> Result<()> {
        let name = self.own(folder)?;
        let resources = planned_resources(folder)?;
        let mut cluster = self.cluster.borrow_mut();
        let place = cluster.place()?;
        let there = cluster.folder(&name)?;
        let program = login::put_program(&mut cluster, &place)?;
        for (role, text) in scripts(&name, &resources, &cluster.site, &there, &program)? {
            let anonymous = text.replace(&name, "DEPLOYMENT");
            if !cluster.taken.contains(&anonymous) {
                let asked = format!(
                    "timeout 60 sbatch --test-only 2>&1 && exit 0; code=$?; {NODES_UNKNOWN} || exit $code; exit {TIMED_OUT}"
                );
                let answer = cluster.ssh.run(&asked, text.as_bytes())?;
                if answer.code != 0 {
                    return Err(untaken(&format!("the {}'s job", role.name()), answer.code, &answer.text()));
                }
                cluster.taken.insert(anonymous);
            }
            fs::write(folder.join(format!("{}.sh", role.agent())), text)?;
        }
        cluster.program = Some(program);
        Ok(())
    }

    fn prepare(&mut self, folder: &Path) -> Result<()> {
        let name = self.own(folder)?;
        let mut cluster = self.cluster.borrow_mut();
        let runs = format!("{}/run", cluster.place()?.folder);
        copy::put(&mut cluster.ssh, folder, &runs, &name)
    }

    fn launch(&mut self, folder: &Path) -> Result<()> {
        let name = self.own(folder)?;
        if Jobs::read(folder).is_none() {
            let mut cluster = self.cluster.borrow_mut();
            let there = cluster.folder(&name)?;
            submit(&mut cluster.ssh, &there, &name)?.write(folder)?;
        }
        self.follow()
    }

    fn was_launched(&mut self, folder: &Path) -> Result<bool> {
        let name = self.own(folder)?;
        if Jobs::read(folder).is_some() {
            return Ok(true);
        }
        let mut cluster = self.cluster.borrow_mut();
        let there = cluster.folder(&name)?;
        let found = submit::find(&mut cluster.ssh, &there, &name)?;
        found.as_ref().map_or(Ok(()), |jobs| jobs.write(folder))?;
        Ok(found.is_some())
    }

    fn status(&mut self) -> Result<AgentStatus> {
        self.follow()?;
        let mut cluster = self.cluster.borrow_mut();
        let (_, name) = self.run()?;
        if !cluster.followed.get(name).is_some_and(Followed::is_settled) {
            cluster.refresh()?;
        }
        let Some(followed) = cluster.followed.get_mut(name) else { bail!("nobody follows {name}") };
        if followed.is_settled() {
            let remark = followed.jobs.remark();
            cluster.followed.remove(name);
            return Ok(AgentStatus::Ended { remark });
        }
        if followed.jobs.are_over() {
            return Ok(AgentStatus::Settling);
        }
        let end = followed.jobs.now_ending();
        let end = followed.newly_ended(end);
        let (jobs, folder) = (followed.jobs.clone(), followed.folder.clone());
        if !end.is_empty() {
            jobs.write(&folder)?;
            let ids: Vec<&str> = end.iter().map(String::as_str).collect();
            cluster.cancel("", &ids)?;
        }
        let waiting = [&jobs.service, &jobs.client].into_iter().find(|job| job.phase() == Phase::Waiting);
        Ok(match waiting {
            Some(job) => AgentStatus::Waiting(format!("job {} waits: {}", job.id, job.reason_in_words())),
            None => AgentStatus::Running,
        })
    }

    fn cancel(&mut self) -> Result<()> {
        self.follow()?;
        let mut cluster = self.cluster.borrow_mut();
        let (folder, name) = self.run()?;
        // How to stop depends on what runs now; one question tells it of all that are stopped together.
        if !cluster.followed.get(name).is_some_and(|followed| followed.heard) {
            cluster.asked = None;
        }
        cluster.refresh()?;
        let Some(followed) = cluster.followed.get_mut(name) else { return Ok(()) };
        if followed.jobs.are_over() {
            // Whatever ended them, it was not this.
            return Ok(());
        }
        followed.jobs.stopped = true;
        let jobs = followed.jobs.clone();
        jobs.write(folder)?;
        match jobs.client.phase() {
            // It ends in order, keeps what it measured, and its service ends after it.
            Phase::Running => cluster.cancel("--batch --signal=TERM", &[&jobs.client.id]),
            _ => cluster.cancel("", &[&jobs.client.id, &jobs.service.id]),
        }
    }

    fn fetch(&mut self) -> Result<()> {
        let mut cluster = self.cluster.borrow_mut();
        let (folder, name) = self.run()?;
        let there = cluster.folder(name)?;
        copy::get(&mut cluster.ssh, &there, folder)
    }

    fn logs(&mut self, read: &mut BTreeMap<String, u64>, most: u64) -> Result<Vec<(String, Vec<u8>)>> {
        let mut cluster = self.cluster.borrow_mut();
        let (_, name) = self.run()?;
        let there = cluster.folder(name)?;
        copy::logs(&mut cluster.ssh, &there, read, most)
    }

    fn remove_secrets(&mut self) -> Result<()> {
        let mut cluster = self.cluster.borrow_mut();
        let (_, name) = self.run()?;
        let secrets = quoted(&format!("{}/secrets.env", cluster.folder(name)?))?;
        cluster.ssh.run(&format!("rm -f {secrets}"), b"")?.ok("cannot remove the secrets on the cluster")?;
        Ok(())
    }

    fn clean(&mut self) -> Result<()> {
        let mut cluster = self.cluster.borrow_mut();
        let (_, name) = self.run()?;
        let there = cluster.folder(name)?;
        cluster
            .ssh
            .run(&format!("rm -rf {}", quoted(&there)?), b"")?
            .ok("cannot remove the run folder on the cluster")?;
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Target>> {
        Some(Box::new(Self::new(Rc::clone(&self.cluster))))
    }

    fn adopt(&mut self, folder: &Path) -> Result<()> {
        self.own(folder).map(drop)
    }
}

impl Slurm {
    /// Sees to it that the cluster asks for this deployment's jobs too.
    fn follow(&mut self) -> Result<()> {
        let mut cluster = self.cluster.borrow_mut();
        let (folder, name) = self.run()?;
        if !cluster.followed.contains_key(name) {
            let jobs = Jobs::read(folder).context("the jobs of the deployment are not known")?;
            cluster.followed.insert(name.to_owned(), Followed::new(folder.to_owned(), jobs));
        }
        Ok(())
    }
}

impl JobRecord {
    fn reason_in_words(&self) -> &str {
        match self.reason.as_str() {
            "" => "no reason given yet",
            reason => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_behind_the_queue_and_the_accounts() {
        let whole =
            [b"1|x\n".as_slice(), QUEUE_END.as_bytes(), b" 0\n", ACCOUNTS_END.as_bytes(), b" none\n\x00tar"].concat();
        let (said, rest) = split_at_mark(&whole, QUEUE_END);
        assert_eq!(
            (said.as_deref(), split_at_mark(rest, ACCOUNTS_END)),
            (Some("1|x\n"), (None, b"\x00tar".as_slice()))
        );
        let failed = [QUEUE_END.as_bytes(), b" 124\n"].concat();
        assert_eq!(split_at_mark(&failed, QUEUE_END), (None, b"".as_slice()));
        assert_eq!(split_at_mark(b"nothing", QUEUE_END), (None, b"".as_slice()));
    }

    /// A real shell, with a Slurm that has a queue and accounts of one line each.
    #[test]
    fn the_accounts_are_asked_only_for_what_is_over() {
        let asked = |queue: &str, open: &[&str]| {
            let slurm = format!(
                "timeout() {{ shift; \"$@\"; }}\nsqueue() {{ printf '%s' '{queue}'; }}\nsacct() {{ echo \"accounts $4\"; }}\n{}",
                question(open, " none", "/")
            );
            let output = std::process::Command::new("sh").args(["-c", &slurm]).output().expect("sh runs").stdout;
            split_at_mark(split_at_mark(&output, QUEUE_END).1, ACCOUNTS_END).0
        };
        let queue = "7|RUNNING|x\n17|PENDING|x\n8|COMPLETED|x";
        assert_eq!(asked(queue, &["7", "17"]), None);
        assert_eq!(asked(queue, &["7", "8", "9"]).as_deref(), Some("accounts --jobs=8,9\n"));
        assert_eq!(asked("", &["1"]).as_deref(), Some("accounts --jobs=1\n"));
    }
}
