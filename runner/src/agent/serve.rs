//! `runner agent serve`: the life of one service, from its start to its end.
//!
//! The service ends when the load is done, when it dies, when no load comes in time, at its time limit, at a
//! signal or at the end of the lifeline; then nothing of it is left. Its end is part of the result, so it is
//! an event, not an error of this program.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom, Write},
    net::{TcpListener, ToSocketAddrs},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use archive::{ResourceSample, Role};
use nix::sys::{prctl, signal::Signal};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Agent, EventLog, JobArgs, Layout, ProcessHandle, Secrets, ServicePlan, ServiceState,
    account::Account,
    container::{Image, Runtime},
    data,
    events::{self, find},
    partner::{Beat, Partner},
    process,
    program::Program,
    rendezvous,
    sample::Sampler,
};
use crate::{
    load::Endpoint,
    node,
    services::{self, BoxFuture, Launch, LaunchRequest, Probe, ServiceType, Step, content::Content},
};

/// A probe without an answer after this long counts as "not yet".
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// Between two lines on how far a fetch is.
const FETCH_PROGRESS: Duration = Duration::from_secs(5);
/// How long a service may take to end after being asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a ready service waits for its load.
const CLIENT_PATIENCE: Duration = Duration::from_secs(300);
/// How long the load may take to write down its last records once the runner is gone.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);

/// The reason to end that nobody asked for.
const TIME_LIMIT: &str = "the job's time limit is near";

/// A longer last line of a log is no reason that anybody reads.
const LAST_WORDS_BYTES: u64 = 4 << 10;

/// Runs the service of the run folder `folder` to its end.
pub fn run(folder: &Path, lifeline: bool, job: &JobArgs) -> Result<()> {
    // Orphans of the service become children of this process, so that they can be found and ended.
    prctl::set_child_subreaper(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let layout = Layout::new(folder);
        let plan = layout.plan()?;
        if let Some(reason) = job.hindrance() {
            return EventLog::open(&layout, Agent::Serve, &node::hostname())?.write("failed", Some(reason), None);
        }
        let mut serving = Serving {
            secrets: layout.secrets()?,
            log: EventLog::open(&layout, Agent::Serve, &node::hostname())?,
            kind: services::of_recipe(&plan.service.kind)?,
            layout,
            plan: plan.service,
            job: job.job.then(|| job.clone()),
        };
        let mut ends = Ends::new(lifeline)?;
        let beat = job.job.then(|| Beat::start(folder, Agent::Serve)).transpose()?;
        if job.job {
            rendezvous::open(&serving.layout, &own_address()?, job.nodes, services::token::secret()?)?;
        }
        let result = serving.life(&mut ends).await;
        if let Err(err) = &result {
            serving.log.write("failed", Some(format!("{err:#}")), None)?;
        }
        drop(beat);
        if job.job {
            // Both jobs have read them, and the folder may lie here for days.
            serving.layout.remove_secrets();
        }
        // The failure is recorded; for the runner this agent has done its work.
        Ok(())
    })
}

struct Serving {
    layout: Layout,
    plan: ServicePlan,
    secrets: Secrets,
    log: EventLog,
    kind: &'static dyn ServiceType,
    /// When this agent is a job on a cluster.
    job: Option<JobArgs>,
}

/// A service process and what is known of it.
struct Running {
    child: Child,
    handle: Option<ProcessHandle>,
    started: Instant,
}

/// Reasons to end that come from outside.
struct Ends {
    lifeline: Arc<Notify>,
    terminate: tokio::signal::unix::Signal,
    /// Slurm's warning that the job's time is nearly over.
    warned: tokio::signal::unix::Signal,
}

impl Ends {
    fn new(lifeline: bool) -> Result<Self> {
        let ended = Arc::new(Notify::new());
        if lifeline {
            let ended = Arc::clone(&ended);
            // A thread, not a task: a runtime cannot end while one of its tasks blocks in a read.
            std::thread::spawn(move || {
                while matches!(std::io::stdin().read(&mut [0]), Ok(1..)) {}
                ended.notify_one();
            });
        }
        let (terminate, warned) = (signal(SignalKind::terminate())?, signal(SignalKind::user_defined1())?);
        Ok(Self { lifeline: ended, terminate, warned })
    }

    /// Returns when the service is to end.
    async fn reached(&mut self) -> &'static str {
        tokio::select! {
            () = self.lifeline.notified() => "the runner ended",
            _ = self.terminate.recv() => "terminated by a signal",
            _ = self.warned.recv() => TIME_LIMIT,
        }
    }
}

impl Serving {
    async fn life(&mut self, ends: &mut Ends) -> Result<()> {
        match self.plan.endpoint.clone() {
            Some(endpoint) => self.external(&endpoint, ends).await,
            None => {
                let scratch = self.layout.scratch();
                let result = self.own(ends).await;
                process::kill_descendants();
                if scratch.exists() {
                    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
                }
                result
            }
        }
    }

    /// A service that somebody else runs: it is looked at and left alone.
    async fn external(&mut self, endpoint: &Endpoint, ends: &mut Ends) -> Result<()> {
        let begun = Instant::now();
        let mut state = self.state("external", Vec::new());
        let deadline = begun + Duration::from_secs_f64(self.plan.ready_timeout_s);
        let version = tokio::select! {
            ready = self.wait_ready(endpoint, deadline) => ready?,
            reason = ends.reached() => return self.stopped_early(reason),
        };
        state.version = version;
        state.endpoint = Some(endpoint.clone());
        state.model_digest = self.model_digest(endpoint).await;
        state.data = data::looked(data::of_service(&self.plan, self.kind, "external")).await;
        self.layout.write_service_state(&state)?;
        self.log.write("ready", Some(endpoint.to_string()), None)?;
        let mut sampler = Sampler::new(Role::Service, &node::hostname(), None, Some(endpoint.port));
        let reason = self.watch(None, &mut sampler, ends, begun).await?;
        self.stopped(&reason)
    }

    /// A service of our own.
    async fn own(&mut self, ends: &mut Ends) -> Result<()> {
        let scratch = self.layout.scratch();
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        let scratch = scratch.canonicalize()?;
        let endpoint = self.choose_endpoint()?;
        let (mut running, mut state) = tokio::select! {
            started = self.start(&scratch, endpoint.as_ref()) => started?,
            reason = ends.reached() => return self.stopped_early(reason),
        };
        let deadline = running.started + Duration::from_secs_f64(self.plan.ready_timeout_s);
        let version = match &endpoint {
            None => None,
            Some(endpoint) => {
                let waited = tokio::select! {
                    ready = self.wait_ready(endpoint, deadline) => ready,
                    status = running.child.wait() => Err(self.died("the service", status?, "before it was ready")),
                    reason = ends.reached() => {
                        self.stop(&mut running).await?;
                        return self.stopped_early(reason);
                    }
                };
                match waited {
                    Ok(version) => version,
                    Err(err) => {
                        self.stop(&mut running).await?;
                        return Err(err);
                    }
                }
            }
        };
        state.version = version;
        state.endpoint.clone_from(&endpoint);
        state.ready_after_s = Some(running.started.elapsed().as_secs_f64());
        if let Some(endpoint) = &endpoint {
            state.model_digest = self.model_digest(endpoint).await;
        }
        self.layout.write_service_state(&state)?;
        self.log.write("ready", endpoint.as_ref().map(Endpoint::to_string), None)?;

        let port = endpoint.as_ref().map(|endpoint| endpoint.port);
        let root = running.handle.map(|handle| handle.pid);
        let mut sampler = Sampler::new(Role::Service, &node::hostname(), root, port);
        let started = running.started;
        let watched = self.watch(Some(&mut running.child), &mut sampler, ends, started).await;
        let exit = self.stop(&mut running).await?;
        self.stopped(&format!("{}; {exit}", watched?))
    }

    /// Address and port to listen on; none for a raw command without a port.
    fn choose_endpoint(&self) -> Result<Option<Endpoint>> {
        let host = if self.job.is_some() { own_address()? } else { "127.0.0.1".to_owned() };
        let asked = self.plan.port.or_else(|| {
            self.plan.settings.get("port").and_then(serde_json::Value::as_u64).and_then(|port| port.try_into().ok())
        });
        let port = match asked {
            Some(port) => {
                // A stranger that answers on the port would be measured in place of the service.
                TcpListener::bind((host.as_str(), port)).with_context(|| {
                    format!("port {port} is taken: choose another `service.port`, or leave it out for a free one")
                })?;
                port
            }
            None if self.kind.default_port().is_some() => TcpListener::bind((host.as_str(), 0))?.local_addr()?.port(),
            None => return Ok(None),
        };
        Ok(Some(Endpoint { host, port }))
    }

    async fn start(&mut self, scratch: &Path, endpoint: Option<&Endpoint>) -> Result<(Running, ServiceState)> {
        let request = LaunchRequest {
            settings: &self.plan.settings,
            host: endpoint.map_or("127.0.0.1", |endpoint| endpoint.host.as_str()),
            port: endpoint.map_or(0, |endpoint| endpoint.port),
            scratch,
            command: self.plan.command.as_deref(),
        };
        let launch = match &self.plan.command {
            Some(command) => Launch::shell(command),
            None => self.kind.launch(&request)?,
        };
        // A shell command finds a secret in its environment; an argument would show it to the whole machine.
        let mut arguments = launch.args.iter().chain(launch.before.iter().flat_map(|step| &step.args));
        if let (None, Some(name)) = (&self.plan.command, arguments.find_map(|argument| self.secrets.named_in(argument)))
        {
            bail!("the secret ${{{name}}} would stand on the service's command line: give it through `service.env`");
        }
        let account = if launch.refuses_root { Account::in_place_of_root()? } else { None };
        let container = self.image().await?;
        let locate = |launch: &Launch| match &container {
            Some((runtime, image)) => Program::in_image(launch, &self.plan, scratch, runtime, image),
            None => Program::locate(launch, &self.plan, scratch, account),
        };
        let found = locate(&launch)?;
        self.write_files(&launch)?;
        if let Some(account) = account {
            account.take(scratch)?;
        }
        self.before_start(scratch).await?;
        let data = data::looked(data::of_service(&self.plan, self.kind, found.started_as)).await;
        for step in &launch.before {
            let launch = Launch { program: step.program.clone(), args: step.args.clone(), ..launch.clone() };
            let program = locate(&launch)?;
            let mut command = self.command(&program, &launch, scratch, account)?;
            self.run_step(&mut command, step).await?;
        }

        let mut command = self.command(&found, &launch, scratch, account)?;
        command.stdin(Stdio::null());
        if let Some(endpoint) = endpoint {
            command.env("SERVICE_PORT", endpoint.port.to_string());
        }
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", found.path.display()))?;
        let handle = child.id().and_then(|pid| ProcessHandle::of(pid as i32));

        let mut state = self.state(found.started_as, found.without_places(scratch));
        state.process = handle;
        state.image = found.image;
        state.data = data;
        state.program_sha256 = found.sha256;
        self.layout.write_service_state(&state)?;
        self.log.write("started", Some(state.command.join(" ")), None)?;
        Ok((Running { child, handle, started }, state))
    }

    /// The service's image, when this is a job that runs images.
    async fn image(&self) -> Result<Option<(Runtime, Image)>> {
        let runtime = self.job.as_ref().and_then(|job| job.runtime(self.layout.folder()));
        let (Some(runtime), Some(reference)) = (runtime, &self.plan.image) else { return Ok(None) };
        let image = runtime.image(reference).await?;
        Ok(Some((runtime, image)))
    }

    fn write_files(&self, launch: &Launch) -> Result<()> {
        for (path, text) in &launch.files {
            let mut options = fs::OpenOptions::new();
            // Whatever secret is in it, others on this machine must not read it.
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(self.secrets.fill(text).as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        for (path, size) in &launch.static_files {
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            folder
                .and_then(|()| Content::new(*size).write(&mut fs::File::create(path)?))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// A program of the service, ready to be started; it dies with this process and logs to the service's log.
    fn command(&self, program: &Program, launch: &Launch, scratch: &Path, account: Option<Account>) -> Result<Command> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.layout.service_log())?;
        let mut command = Command::new(node::OWN_PROGRAM);
        command.arg0("runner").args(["agent", "exec"]);
        // Whoever starts a container stays root; the container does not.
        if let Some(account) = account.filter(|_| program.started_as == "child") {
            command.args(["--account", &account.to_string()]);
        }
        command.args([&std::process::id().to_string(), "--"]).arg(&program.path).args(&program.args);
        command.envs(launch.env.iter().map(|(name, value)| (name, self.secrets.fill(value)))).current_dir(scratch);
        self.set_environment(&mut command);
        if matches!(program.started_as, "apptainer" | "singularity") {
            for (name, value) in launch.env.iter().chain(&self.plan.env) {
                command.env(Runtime::variable(program.started_as, name), self.secrets.fill(value));
            }
        }
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(command)
    }

    /// Runs a step to its end; dropped before that, it is killed.
    async fn run_step(&self, command: &mut Command, step: &Step) -> Result<()> {
        let context = || format!("cannot run {}", step.program);
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().with_context(context)?;
        let input = child.stdin.take();
        let whole = async {
            if let Some(mut input) = input {
                // A program that ends without reading says why by its status.
                let _ = input.write_all(step.input.as_bytes()).await;
            }
            child.wait().await
        };
        let patience = Duration::from_secs_f64(self.plan.ready_timeout_s);
        let status = timeout(patience, whole).await.map_err(|_| {
            anyhow!("{} did not end within {} s (`service.ready_timeout`)", step.program, self.plan.ready_timeout_s)
        })?;
        match status.with_context(context)? {
            status if status.success() => Ok(()),
            status => Err(self.died(&step.program, status, "while preparing the service")),
        }
    }

    /// The recipe's `env`, and the secrets under their own names for shell commands.
    fn set_environment(&self, command: &mut Command) {
        if self.plan.command.is_some() || !self.plan.pre_run_commands.is_empty() {
            command.envs(self.secrets.iter());
        }
        command.envs(self.plan.env.iter().map(|(name, value)| (name, self.secrets.fill(value))));
        command.env("SERVICE_NAME", &self.plan.name);
    }

    async fn before_start(&self, scratch: &Path) -> Result<()> {
        for line in &self.plan.pre_run_commands {
            let log = fs::OpenOptions::new().create(true).append(true).open(self.layout.service_log())?;
            let mut command = Command::new("sh");
            command.args(["-c", line]).current_dir(scratch).stdin(Stdio::null());
            command.stdout(log.try_clone()?).stderr(log);
            self.set_environment(&mut command);
            let status = command.status().await?;
            if !status.success() {
                bail!("pre-run command `{line}` failed: {}", in_words(status));
            }
        }
        Ok(())
    }

    fn state(&self, started_as: &str, command: Vec<String>) -> ServiceState {
        ServiceState {
            endpoint: None,
            version: None,
            command,
            program_sha256: None,
            started_as: started_as.to_owned(),
            image: None,
            data: Vec::new(),
            model_digest: None,
            node: node::facts("service"),
            process: None,
            ready_after_s: None,
        }
    }

    /// Asks by protocol until the service is ready; returns the version it reports.
    async fn wait_ready(&mut self, endpoint: &Endpoint, deadline: Instant) -> Result<Option<String>> {
        let mut pause = Duration::from_millis(10);
        let mut fetched = false;
        let settings = self.secrets.fill_value(&self.plan.settings);
        loop {
            let last = match timeout(PROBE_PATIENCE, self.kind.probe(endpoint, &settings)).await {
                Ok(Probe::Ready { version }) => return Ok(version),
                Ok(Probe::Wrong(what)) => bail!("{endpoint} is not the service that was asked for: {what}"),
                Ok(Probe::NotYet(why)) => why,
                Ok(Probe::Missing(what)) if self.plan.endpoint.is_some() => {
                    bail!("{endpoint} does not have {what}: it runs already and is left alone, so get it there")
                }
                Ok(Probe::Missing(what)) if fetched => bail!("{what} is still missing after it was fetched"),
                Ok(Probe::Missing(what)) => {
                    self.fetch(endpoint, &settings, &what, deadline).await?;
                    fetched = true;
                    continue;
                }
                Err(_) => format!("no answer within {} s", PROBE_PATIENCE.as_secs()),
            };
            if Instant::now() + pause > deadline {
                bail!("not ready within {} s (`service.ready_timeout`): {last}", self.plan.ready_timeout_s);
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(1));
        }
    }

    /// What the service says of the model it serves.
    async fn model_digest(&self, endpoint: &Endpoint) -> Option<String> {
        let settings = self.secrets.fill_value(&self.plan.settings);
        timeout(PROBE_PATIENCE, self.kind.model_digest(endpoint, &settings)).await.ok().flatten()
    }

    /// Has the service get what it lacks, and writes down how far it is.
    async fn fetch(
        &mut self,
        endpoint: &Endpoint,
        settings: &serde_json::Value,
        what: &str,
        deadline: Instant,
    ) -> Result<()> {
        self.log.write("fetching", Some(what.to_owned()), None)?;
        let (kind, log, limit_s) = (self.kind, &mut self.log, self.plan.ready_timeout_s);
        let (mut last, mut written) = (String::new(), Instant::now());
        let fetched = {
            let mut progress = |text: String| {
                if written.elapsed() >= FETCH_PROGRESS {
                    written = Instant::now();
                    if let Err(err) = log.write("fetching", Some(format!("{what}: {text}")), None) {
                        tracing::warn!("cannot write down how far {what} is: {err:#}");
                    }
                }
                last = text;
            };
            timeout(deadline.saturating_duration_since(Instant::now()), kind.fetch(endpoint, settings, &mut progress))
                .await
        };
        match fetched {
            Ok(Ok(())) => self.log.write("fetched", Some(what.to_owned()), None),
            Ok(Err(reason)) => bail!("cannot fetch {what}: {reason}"),
            Err(_) => bail!("not ready within {limit_s} s (`service.ready_timeout`): still fetching {what}: {last}"),
        }
    }

    /// Samples once a second until there is a reason to end; the death of the service is an error.
    async fn watch(
        &mut self,
        mut child: Option<&mut Child>,
        sampler: &mut Sampler,
        ends: &mut Ends,
        started: Instant,
    ) -> Result<String> {
        let ready = Instant::now();
        let limit = self.plan.time_limit_s.map(|limit| started + Duration::from_secs_f64(limit));
        let resources = self.layout.service().join("resources.jsonl");
        let out = fs::OpenOptions::new().create(true).append(true).open(resources)?;
        // A copy, so that the question of the service and the watch over it do not borrow from each other.
        let asked = self.layout.service_state().and_then(|state| state.endpoint);
        let kind = self.kind;
        // The last sample, until the service has said what it adds to it or the next one is due.
        let mut unwritten: Option<(ResourceSample, BoxFuture<'_, BTreeMap<String, f64>>)> = None;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.tick().await;
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let mut begun = false;
        let mut partner = self.job.as_ref().map(|job| Partner::new(self.layout.folder(), Agent::Load, job.silence()));
        let client_patience = self.job.as_ref().map_or(CLIENT_PATIENCE, JobArgs::client_patience);
        loop {
            let died = async {
                match &mut child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            };
            let said = async {
                match &mut unwritten {
                    Some((_, figures)) => figures.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = died => {
                    if let Some((sample, _)) = unwritten.take() {
                        write_sample(&out, &sample)?;
                    }
                    // What the kernel counted at its end, a kill for want of memory above all.
                    write_sample(&out, &sampler.sample())?;
                    return Err(self.died("the service", status?, "under load"));
                }
                figures = said => {
                    if let Some((mut sample, _)) = unwritten.take() {
                        sample.service_figures = figures;
                        write_sample(&out, &sample)?;
                    }
                }
                reason = ends.reached() => {
                    if self.job.is_some() {
                        // The load is another job, which was told nothing.
                        self.log.write("ending", Some(reason.to_owned()), None)?;
                    }
                    self.let_load_finish().await;
                    return Ok(reason.to_owned());
                }
                _ = ticks.tick() => {
                    if let Some((sample, _)) = unwritten.take() {
                        write_sample(&out, &sample)?;
                    }
                    let figures: BoxFuture<'_, _> = match &asked {
                        Some(endpoint) => kind.figures(endpoint),
                        None => Box::pin(async { BTreeMap::new() }),
                    };
                    unwritten = Some((sampler.sample(), figures));
                }
                _ = looks.tick() => {
                    if find(&self.layout, Agent::Load, "finished").is_some() {
                        return Ok("the load is done".to_owned());
                    }
                    begun = begun || !events::read(&self.layout, Agent::Load).is_empty();
                    if !begun && ready.elapsed() > client_patience {
                        bail!("no client came within {} s", client_patience.as_secs());
                    }
                    if begun && partner.as_mut().is_some_and(Partner::is_silent) {
                        return Ok("the client's job gave no more sign of life".to_owned());
                    }
                    if limit.is_some_and(|limit| Instant::now() > limit) {
                        bail!("`service.time_limit` of {} s is over", self.plan.time_limit_s.unwrap_or_default());
                    }
                }
            }
        }
    }

    /// The load notices the same end at the same time; its last requests must not fail for ours.
    async fn let_load_finish(&self) {
        let deadline = Instant::now() + LOAD_PATIENCE;
        let began = !events::read(&self.layout, Agent::Load).is_empty();
        while began && find(&self.layout, Agent::Load, "finished").is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the service to end, insists after a while, and says how it ended.
    async fn stop(&self, running: &mut Running) -> Result<String> {
        if let Some(status) = running.child.try_wait()? {
            return Ok(in_words(status));
        }
        let Some(handle) = running.handle else {
            running.child.kill().await?;
            return Ok("killed".to_owned());
        };
        handle.signal_group(Signal::SIGTERM)?;
        match timeout(STOP_PATIENCE, running.child.wait()).await {
            Ok(status) => Ok(in_words(status?)),
            Err(_) => {
                handle.signal_group(Signal::SIGKILL)?;
                running.child.wait().await?;
                Ok(format!("killed after {} s", STOP_PATIENCE.as_secs()))
            }
        }
    }

    fn stopped(&mut self, reason: &str) -> Result<()> {
        self.log.write("stopped", Some(reason.to_owned()), None)
    }

    /// The end of a service that was not ready yet.
    fn stopped_early(&mut self, reason: &str) -> Result<()> {
        asked_for_before_ready(reason)?;
        self.stopped(reason)
    }

    fn died(&self, what: &str, status: ExitStatus, when: &str) -> anyhow::Error {
        let last = self.last_words().map_or_else(String::new, |line| format!("; its last words: {line}"));
        anyhow!("{what} ended {when} ({}){last}", in_words(status))
    }

    /// The last line of the service's log that says anything, as long as it is short enough to be read.
    fn last_words(&self) -> Option<String> {
        let mut log = fs::File::open(self.layout.service_log()).ok()?;
        let length = log.metadata().ok()?.len();
        let mut end = Vec::new();
        log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES))).ok()?;
        log.read_to_end(&mut end).ok()?;
        let mut text = String::from_utf8_lossy(&end).into_owned();
        if length > LAST_WORDS_BYTES {
            // The rest of a line, maybe with the rest of a secret.
            text = text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        self.secrets.mask_text(&mut text);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }
}

/// Errs when the service was ended before it was ready although nobody wanted that.
fn asked_for_before_ready(reason: &str) -> Result<()> {
    if reason == TIME_LIMIT {
        bail!("not ready before the job's time limit (`service.time_limit`, or the target's)");
    }
    Ok(())
}

/// The address by which other nodes know this one.
fn own_address() -> Result<String> {
    let name = node::hostname();
    let addresses =
        (name.as_str(), 0).to_socket_addrs().with_context(|| format!("cannot look up the own name {name}"))?;
    let mut others = addresses.map(|address| address.ip()).filter(|address| !address.is_loopback());
    let found = others.clone().find(std::net::IpAddr::is_ipv4).or_else(|| others.next());
    let address =
        found.with_context(|| format!("the node's name {name} leads to itself alone: no client could reach it"))?;
    Ok(address.to_string())
}

fn write_sample(mut out: &fs::File, sample: &ResourceSample) -> Result<()> {
    let mut line = serde_json::to_vec(sample)?;
    line.push(b'\n');
    Ok(out.write_all(&line)?)
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_reaches_the_time_limit_has_failed() {
        assert!(asked_for_before_ready(TIME_LIMIT).is_err());
        for reason in ["the runner ended", "terminated by a signal"] {
            assert!(asked_for_before_ready(reason).is_ok(), "{reason}");
        }
    }
}
