//! A Slurm cluster: the agents are two jobs on a folder that all nodes see. This process only submits, asks and collects.
//!
//! Everything that is sent may be sent again: a folder is put in place by one rename, and a job is submitted by a
//! script on the login node that looks first whether a job of that name exists. So a runner that was killed, or lost
//! its connection, repeats its last step without knowing whether it had happened. All deployments of a process
//! share one connection and one question to Slurm per interval.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use archive::TargetFacts;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AgentStatus, Gone, NotNow, Refused, Target, ssh::Ssh};
use crate::{
    agent::{self, Layout},
    recipe::{Recipe, Resources, target_file::SlurmTarget},
};

mod copy;
pub mod doctor;
mod login;
pub mod output;
mod refusal;
pub mod script;
pub mod state;

pub use login::Place;

use self::{
    output::JobRecord,
    refusal::{Refusal, TIMED_OUT},
    script::{Job, Role, job_name, quoted},
    state::{Phase, blocked_for_ever},
};

/// How long a lost connection is tried again before this process gives up; the jobs go on all the same.
const PATIENCE: Duration = Duration::from_secs(900);
/// So many questions in a row must not know a job before it counts as forgotten.
const UNKNOWN_TIMES: u32 = 3;

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
    /// Questions to Slurm about jobs.
    pub questions: u64,
}

/// A deployment whose jobs are asked for.
#[derive(Debug)]
struct Followed {
    folder: PathBuf,
    jobs: Jobs,
    unknown: u32,
    /// The jobs whose end was asked for since Slurm was asked last.
    ending: Vec<String>,
}

impl Followed {
    /// Takes what the accounts say of the jobs `ids`; `None` when they did not answer, which says nothing of any job.
    fn hear(
        &mut self,
        ids: &[String],
        accounts: Option<&BTreeMap<String, JobRecord>>,
        queue: &BTreeMap<String, JobRecord>,
    ) {
        let Some(accounts) = accounts else { return };
        let mut unknown = false;
        for job in self.jobs.each() {
            if !ids.contains(&job.id) {
                continue;
            }
            match (accounts.get(&job.id), queue.contains_key(&job.id)) {
                // The accounts are written a little later than the queue.
                (Some(known), in_queue) if known.phase().is_over() || !in_queue => *job = job.with(known),
                (None, false) => {
                    unknown = true;
                    if self.unknown + 1 >= UNKNOWN_TIMES {
                        job.state = state::FORGOTTEN.to_owned();
                    }
                }
                _ => {}
            }
        }
        self.unknown = if unknown { self.unknown + 1 } else { 0 };
    }

    /// Those of `ids` whose end was not asked for yet since Slurm was asked last.
    fn newly_ended(&mut self, ids: Vec<String>) -> Vec<String> {
        let new: Vec<String> = ids.into_iter().filter(|id| !self.ending.contains(id)).collect();
        self.ending.extend(new.iter().cloned());
        new
    }
}

/// `jobs.json`: the jobs of a deployment, as far as Slurm has spoken of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    pub service: JobRecord,
    pub client: JobRecord,
    /// Somebody asked for their end.
    #[serde(default)]
    pub stopped: bool,
    /// Why they were ended before their time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Slurm put one of them back into the queue after it had run, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeued: Option<String>,
}

impl Jobs {
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("jobs.json")
    }

    pub fn read(folder: &Path) -> Option<Self> {
        agent::read_json(&Self::path(folder)).ok()
    }

    fn each(&mut self) -> [&mut JobRecord; 2] {
        [&mut self.service, &mut self.client]
    }

    /// The jobs of which Slurm has not said all yet.
    fn open(&self) -> impl Iterator<Item = &str> {
        let known = |job: &&JobRecord| job.phase().is_over() && job.ended_unix_s.is_some();
        [&self.service, &self.client].into_iter().filter(move |job| !known(job)).map(|job| job.id.as_str())
    }

    fn are_over(&self) -> bool {
        self.service.phase().is_over() && self.client.phase().is_over()
    }

    /// What was wrong with their end, unless it was asked for.
    fn remark(&self) -> Option<String> {
        if self.stopped {
            return None;
        }
        let complaint = |role: Role, job: &JobRecord| Some(format!("the {}'s {}", role.name(), job.complaint()?));
        let service = complaint(Role::Service, &self.service);
        // A client that never began only says that its service ended.
        let client =
            complaint(Role::Client, &self.client).filter(|_| service.is_none() || self.client.started_unix_s.is_some());
        let requeued = self.requeued.as_ref().map(|id| format!("Slurm put job {id} back into the queue"));
        let all: Vec<String> = self.blocked.clone().into_iter().chain(requeued).chain(service).chain(client).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
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
        let mut ask_account = Vec::new();
        for followed in self.followed.values_mut() {
            followed.ending.clear();
            let mut requeued = None;
            for job in followed.jobs.each() {
                match found.get(&job.id) {
                    Some(known) if job.phase() == Phase::Running && known.phase() == Phase::Waiting => {
                        requeued = Some(job.id.clone());
                        *job = known.clone();
                    }
                    Some(known) => *job = job.with(known),
                    None if !job.phase().is_over() => ask_account.push(job.id.clone()),
                    None => {}
                }
                // Its end and its exit code are in the accounts only.
                if job.phase().is_over() && job.ended_unix_s.is_none() {
                    ask_account.push(job.id.clone());
                }
            }
            followed.jobs.requeued = requeued.or(followed.jobs.requeued.take());
        }
        if !ask_account.is_empty() && accounts.is_none() {
            tracing::info!("the accounts of {} do not answer: {}", self.name, answer.stderr.trim());
        }
        let accounts = accounts.map(|text| output::accounting(&text));
        for followed in self.followed.values_mut() {
            followed.hear(&ask_account, accounts.as_ref(), &found);
        }
        for followed in self.followed.values() {
            agent::write_json(&Jobs::path(&followed.folder), &followed.jobs)?;
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

/// For a shell: whether a controller that has just begun does not know all of its nodes yet, and refuses what it would take
/// a moment later.
const NODES_UNKNOWN: &str = "timeout 60 sinfo --noheader --format=%t 2>/dev/null | grep -q '^unk'";

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
            let asked = format!(
                "timeout 60 sbatch --test-only 2>&1 && exit 0; code=$?; {NODES_UNKNOWN} || exit $code; exit {TIMED_OUT}"
            );
            let answer = cluster.ssh.run(&asked, text.as_bytes())?;
            if answer.code != 0 {
                return Err(untaken(&format!("the {}'s job", role.name()), answer.code, &answer.text()));
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
            let jobs = submit(&mut cluster.ssh, &there, &name)?;
            agent::write_json(&Jobs::path(folder), &jobs)?;
        }
        self.follow()
    }

    fn status(&mut self) -> Result<AgentStatus> {
        self.follow()?;
        let mut cluster = self.cluster.borrow_mut();
        let (_, name) = self.run()?;
        if !cluster.followed.get(name).is_some_and(|followed| followed.jobs.are_over()) {
            cluster.refresh()?;
        }
        let Some(followed) = cluster.followed.get(name) else { bail!("nobody follows {name}") };
        let mut jobs = followed.jobs.clone();
        let folder = followed.folder.clone();
        let (service, client) = (jobs.service.phase(), jobs.client.phase());
        if jobs.are_over() {
            cluster.followed.remove(name);
            return Ok(AgentStatus::Ended { remark: jobs.remark() });
        }
        let waits_in_vain = [(Role::Service, &jobs.service), (Role::Client, &jobs.client)]
            .into_iter()
            .filter(|(_, job)| job.phase() == Phase::Waiting)
            .find_map(|(role, job)| Some((role, job.clone(), blocked_for_ever(&job.reason)?)));
        let mut end = Vec::new();
        match (service, client) {
            // It must not be measured on top of what was. The other one notices its silence.
            (Phase::Waiting, _) if jobs.requeued.as_ref() == Some(&jobs.service.id) => {
                end.push(jobs.service.id.clone())
            }
            (_, Phase::Waiting) if jobs.requeued.as_ref() == Some(&jobs.client.id) => end.push(jobs.client.id.clone()),
            // One without the other has nothing to do.
            (Phase::Over(_), Phase::Waiting) => end.push(jobs.client.id.clone()),
            (Phase::Over(_), Phase::Running) | (Phase::Running, Phase::Over(_)) => {}
            (Phase::Waiting, Phase::Over(_)) => end.push(jobs.service.id.clone()),
            _ => {}
        }
        if let (Some((role, job, why)), None) = (waits_in_vain, &jobs.blocked)
            && end.is_empty()
        {
            jobs.blocked =
                Some(format!("the {}'s job {} would wait for ever ({}): {why}", role.name(), job.id, job.reason));
            end = [&jobs.service, &jobs.client].map(|job| job.id.clone()).to_vec();
        }
        let end = cluster.followed.get_mut(name).map(|followed| followed.newly_ended(end)).unwrap_or_default();
        if !end.is_empty() {
            let ids: Vec<&str> = end.iter().map(String::as_str).collect();
            cluster.cancel("", &ids)?;
            agent::write_json(&Jobs::path(&folder), &jobs)?;
            if let Some(followed) = cluster.followed.get_mut(name) {
                followed.jobs = jobs.clone();
            }
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
        // How to stop depends on what runs now.
        cluster.asked = None;
        cluster.refresh()?;
        let Some(followed) = cluster.followed.get_mut(name) else { return Ok(()) };
        if followed.jobs.are_over() {
            // Whatever ended them, it was not this.
            return Ok(());
        }
        followed.jobs.stopped = true;
        let jobs = followed.jobs.clone();
        agent::write_json(&Jobs::path(folder), &jobs)?;
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
            let followed = Followed { folder: folder.to_owned(), jobs, unknown: 0, ending: Vec::new() };
            cluster.followed.insert(name.to_owned(), followed);
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

/// The error for a job that `sbatch` did not take.
fn untaken(what: &str, code: i32, said: &str) -> anyhow::Error {
    let reason = said.trim().lines().last().unwrap_or("no answer");
    match Refusal::of(code, said) {
        Refusal::Lasting => Refused(format!("Slurm refuses {what}: {reason}")).into(),
        Refusal::Limit => NotNow { why: format!("Slurm takes no more jobs now: {reason}"), limit: true }.into(),
        Refusal::Again => NotNow { why: format!("Slurm did not take {what}: {reason}"), limit: false }.into(),
    }
}

/// Submits both jobs of a folder that is in place there; submits nothing twice, however often it is called.
fn submit(ssh: &mut Ssh, there: &str, name: &str) -> Result<Jobs> {
    let names = Role::BOTH.map(|role| quoted(&job_name(name, role)));
    let [service, client] = names;
    // `.intent`: a submission may have happened. `.job`: the number of one that has.
    let script = format!(
        "{enter}\n\
         exec 9>submit.lock; flock -w 100 9 || exit 4\n\
         job() {{\n\
           [ ! -s $1.job ] || return 0\n\
           if [ -e $1.intent ]; then\n\
             id=$(timeout 60 squeue --noheader --states=all --user=\"$(id -un)\" --name=\"$2\" --format=%i) || exit 5\n\
             [ -n \"$id\" ] || id=$(timeout 60 sacct --allocations --noheader --parsable2 --starttime=now-30days --name=\"$2\" --format=JobIDRaw 2>/dev/null | tail -n 1)\n\
             if [ -n \"$id\" ]; then echo \"$id\" >$1.number; mv $1.number $1.job; return 0; fi\n\
           fi\n\
           : >$1.intent\n\
           timeout 90 sbatch --parsable $3 $1.sh >$1.number 2>$1.refused; code=$?\n\
           if [ $code -ne 0 ]; then\n\
             cat $1.refused >&2; [ $code -ne {TIMED_OUT} ] || exit 5; ! {NODES_UNKNOWN} || exit 5; return 6\n\
           fi\n\
           mv $1.number $1.job\n\
         }}\n\
         job serve {service} '' || exit 6\n\
         id=$(cut -d';' -f1 serve.job)\n\
         job load {client} \"--dependency=after:$id --kill-on-invalid-dep=yes\" || exit 6\n\
         cat serve.job load.job\n",
        enter = copy::enter(there)?,
        service = service?,
        client = client?,
    );
    let answer = ssh.run(&script, b"")?;
    match answer.code {
        0 => {}
        3 => return Err(Gone(there.to_owned()).into()),
        6 => {
            let err = untaken("the job", 1, &answer.stderr);
            if err.is::<Refused>() {
                // The service would wait for a client that never comes. What may be taken later leaves it in the queue.
                let script = format!(
                    "{}; [ ! -s serve.job ] || {{ timeout 60 scancel $(cut -d';' -f1 serve.job) && rm -f serve.job serve.intent; }}",
                    copy::enter(there)?
                );
                ssh.run(&script, b"")?.ok("cannot cancel the service of a client that Slurm refuses")?;
            }
            return Err(err);
        }
        _ => return Err(untaken("the job", TIMED_OUT, &answer.stderr)),
    }
    let text = answer.text();
    let ids: Vec<String> = text.lines().filter_map(output::submitted).collect();
    let [service, client] = ids.as_slice() else { bail!("cannot make sense of sbatch's answer: {:?}", text.trim()) };
    let record = |id: &String, role| JobRecord {
        id: id.clone(),
        name: job_name(name, role),
        state: "PENDING".to_owned(),
        ..JobRecord::default()
    };
    Ok(Jobs { service: record(service, Role::Service), client: record(client, Role::Client), ..Jobs::default() })
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

    #[test]
    fn what_is_told_of_jobs_is_what_caused_the_end() {
        let job = |id: &str, state: &str, started| JobRecord {
            id: id.into(),
            state: state.into(),
            started_unix_s: started,
            ..JobRecord::default()
        };
        let jobs = |service, client| Jobs { service, client, ..Jobs::default() };
        let fine = jobs(job("1", "COMPLETED", Some(1)), job("2", "COMPLETED", Some(1)));
        assert_eq!((fine.are_over(), fine.remark()), (true, None));
        let lost = jobs(job("1", "NODE_FAIL", Some(1)), job("2", "CANCELLED", None));
        assert_eq!(lost.remark().expect("one"), "the service's job 1 lost its node (Slurm: NODE_FAIL)");
        let forgotten = jobs(job("1", "COMPLETED", Some(1)), job("2", "FORGOTTEN", None));
        assert!(forgotten.are_over() && forgotten.remark().expect("one").contains("no longer known"));
        let stopped = Jobs { stopped: true, ..lost };
        assert_eq!(stopped.remark(), None);
    }

    #[test]
    fn only_an_answer_of_the_accounts_makes_a_job_forgotten() {
        let running = |id: &str| JobRecord { id: id.into(), state: "RUNNING".into(), ..JobRecord::default() };
        let jobs = Jobs { service: running("1"), client: running("2"), ..Jobs::default() };
        let mut followed = Followed { folder: PathBuf::new(), jobs, unknown: 0, ending: Vec::new() };
        let (ids, none) = (["1".to_owned(), "2".to_owned()], BTreeMap::new());
        for _ in 0..2 * UNKNOWN_TIMES {
            followed.hear(&ids, None, &none);
        }
        assert!(!followed.jobs.are_over());
        for _ in 1..UNKNOWN_TIMES {
            followed.hear(&ids, Some(&none), &none);
            followed.hear(&ids, None, &none);
            assert!(!followed.jobs.are_over());
        }
        followed.hear(&ids, Some(&none), &none);
        assert!(followed.jobs.are_over());
    }

    #[test]
    fn the_end_of_a_job_is_asked_for_once_a_question() {
        let mut followed = Followed { folder: PathBuf::new(), jobs: Jobs::default(), unknown: 0, ending: Vec::new() };
        assert_eq!(followed.newly_ended(vec!["1".to_owned()]), ["1"]);
        assert_eq!(followed.newly_ended(vec!["1".to_owned(), "2".to_owned()]), ["2"]);
        assert!(followed.newly_ended(vec!["1".to_owned()]).is_empty());
    }

    #[test]
    fn what_was_not_taken_is_refused_only_for_good() {
        assert!(untaken("the job", 1, "failed: Invalid qos specification").is::<Refused>());
        for (code, said, limit) in [(TIMED_OUT, "", false), (1, "AssocMaxSubmitJobLimit", true)] {
            let err = untaken("the job", code, said);
            assert_eq!(err.downcast_ref::<NotNow>().expect("not now").limit, limit);
        }
    }
}
