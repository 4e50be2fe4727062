//! Real servers and jobs for the tests of clients; servers that misbehave on purpose, over real sockets.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Barrier, Mutex},
    time::{Duration, Instant},
};

use archive::{Request, RequestReader};
use serde_json::Value;

mod service;

pub use service::StartedService;

use super::{ClientType, Probe, ServiceType};
use crate::load::{
    self, Arrival, Control, Endpoint, LoadJob, LoadReport, LoadSpec, Meeting, Moment, Share, Stop, Warmup, spool,
};

pub mod servers;

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

pub fn local(port: u16) -> Endpoint {
    Endpoint { host: "127.0.0.1".into(), port }
}

/// A closed loop of one client, one thread and so many requests.
pub fn spec(requests: u64) -> LoadSpec {
    LoadSpec {
        arrival: Arrival::Closed { think_time_s: 0.0 },
        clients: 1,
        threads: 1,
        stop: Stop { requests: Some(requests), duration_s: None },
        warmup: Warmup::default(),
        stagger_s: 0.0,
        timeout_s: 10.0,
        pipeline: 1,
        seed: 7,
        steps: Vec::new(),
        precision: None,
    }
}

/// What a load left behind.
pub struct Driven {
    pub report: LoadReport,
    pub requests: Vec<Request>,
    pub folder: tempfile::TempDir,
}

impl Driven {
    /// The distinct errors, in order of appearance.
    pub fn errors(&self) -> Vec<&str> {
        let mut errors: Vec<&str> = self.requests.iter().filter_map(|request| request.error.as_deref()).collect();
        errors.dedup();
        errors
    }
}

/// Drives a load to its end and reads its records back.
pub fn drive(client: &dyn ClientType, endpoint: Endpoint, spec: LoadSpec, settings: Value) -> anyhow::Result<Driven> {
    drive_until(client, endpoint, spec, settings, &Control::default())
}

pub fn drive_until(
    client: &dyn ClientType,
    endpoint: Endpoint,
    spec: LoadSpec,
    settings: Value,
    control: &Control,
) -> anyhow::Result<Driven> {
    drive_service(client, (endpoint, Value::Object(Default::default())), spec, settings, control)
}

/// The same, of a service with settings.
pub fn drive_service(
    client: &dyn ClientType,
    (endpoint, service_settings): (Endpoint, Value),
    spec: LoadSpec,
    settings: Value,
    control: &Control,
) -> anyhow::Result<Driven> {
    let mut job = LoadJob { service_settings, ..job(endpoint, spec, settings, Path::new("")) };
    if let Some(command) = job.settings.as_object_mut().and_then(|settings| settings.remove("command")) {
        job.command = command.as_str().map(str::to_owned);
    }
    drive_job_until(client, job, control)
}

/// Drives a load against a service with settings of its own, such as a key.
pub fn drive_with(
    client: &dyn ClientType,
    server: &servers::Server,
    spec: LoadSpec,
    settings: Value,
) -> anyhow::Result<Driven> {
    let job = job(server.endpoint.clone(), spec, settings, Path::new(""));
    drive_job(client, LoadJob { service_settings: server.settings.clone(), ..job })
}

/// The same for a job that says everything but its folder.
pub fn drive_job(client: &dyn ClientType, job: LoadJob) -> anyhow::Result<Driven> {
    drive_job_until(client, job, &Control::default())
}

fn drive_job_until(client: &dyn ClientType, job: LoadJob, control: &Control) -> anyhow::Result<Driven> {
    let folder = tempfile::tempdir().expect("a folder");
    let job = LoadJob { folder: folder.path().to_owned(), ..job };
    let report = client.run(&job, control)?;
    let out = folder.path().join("requests.jsonl.zst");
    let spooled = spool::to_requests(folder.path(), &out)?;
    assert!(!spooled.truncated);
    assert_eq!((spooled.recorded, spooled.started_at), (report.recorded, Some(report.started_at)));
    let requests = RequestReader::open(&out)?.collect::<anyhow::Result<Vec<_>>>()?;
    assert_eq!(requests.len() as u64, report.recorded);
    Ok(Driven { report, requests, folder })
}

/// Where the parts of a load meet that are threads of one process.
#[derive(Debug)]
struct Threads {
    all: Barrier,
    moment: Mutex<Option<Moment>>,
}

impl Meeting for Threads {
    fn meet(&self, _place: &str, notice: Duration, _control: &Control) -> anyhow::Result<Moment> {
        if self.all.wait().is_leader() {
            let moment =
                Moment { instant: Instant::now() + notice, shared_ns: archive::Timestamp::now().unix_us() * 1000 };
            *self.moment.lock().expect("no panic") = Some(moment);
        }
        self.all.wait();
        Ok(self.moment.lock().expect("no panic").expect("it was just set"))
    }

    fn give_up(&self, reason: &str) {
        panic!("{reason}");
    }
}

/// Drives a load in so many parts, as nodes would, and puts them together.
pub fn drive_parts(client: &dyn ClientType, job: &LoadJob, of: u32) -> anyhow::Result<Driven> {
    let folder = tempfile::tempdir().expect("a folder");
    let meeting = Arc::new(Threads { all: Barrier::new(of as usize), moment: Mutex::new(None) });
    let reports: Vec<LoadReport> = std::thread::scope(|scope| {
        let part = |number| {
            let part = spool::part_folder(folder.path(), number);
            std::fs::create_dir_all(&part).expect("made");
            let share = Share { number, of, meeting: meeting.clone(), token: "together".into() };
            let job = LoadJob { folder: part, share: Some(share), ..job.clone() };
            scope.spawn(move || client.run(&job, &Control::default()))
        };
        let parts: Vec<_> = (0..of).map(part).collect();
        parts.into_iter().map(|part| part.join().expect("no panic")).collect::<anyhow::Result<_>>()
    })?;
    let report = load::merged(&job.spec, job.trace.as_ref(), &reports)?;
    let out = folder.path().join("requests.jsonl.zst");
    assert_eq!(spool::to_requests(folder.path(), &out)?.recorded, report.recorded);
    let requests = RequestReader::open(&out)?.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Driven { report, requests, folder })
}

fn job(endpoint: Endpoint, spec: LoadSpec, settings: Value, folder: &Path) -> LoadJob {
    LoadJob {
        spec,
        settings,
        service_settings: Value::Object(Default::default()),
        endpoint,
        folder: folder.to_owned(),
        env: [("CLIENT_NAME".to_owned(), "client-test".to_owned())].into(),
        command: None,
        files: Default::default(),
        trace: None,
        truth: None,
        share: None,
    }
}

/// Asks until the service is ready, or something else is certain.
pub fn probe(service: &dyn ServiceType, endpoint: &Endpoint, settings: &Value) -> Probe {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(service.probe(endpoint, settings))
}

/// What `/metrics` of a vLLM or of the simulator says of itself, by name.
pub fn metric(endpoint: &Endpoint, name: &str) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_, body) = runtime.block_on(super::http::get(endpoint, "/metrics")).expect("answered");
    let text = String::from_utf8_lossy(&body);
    let line = text.lines().find(|line| line.starts_with(&format!("vllm:{name}{{"))).expect(name);
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

/// A service as its type starts it, with its default settings.
pub struct Running {
    pub endpoint: Endpoint,
    pub settings: Value,
    _server: Option<Box<dyn std::any::Any>>,
}

impl Running {
    pub fn start(service: &dyn ServiceType) -> Self {
        let server = match service.name() {
            "chroma" => Some(servers::chroma()),
            "minio" => Some(servers::s3()),
            "qdrant" => Some(servers::qdrant(serde_json::json!({ "api_key": "drawn" }))),
            _ => None,
        };
        if let Some(server) = server {
            let (endpoint, settings) = (server.endpoint.clone(), server.settings.clone());
            return Self { endpoint, settings, _server: Some(Box::new(server)) };
        }
        let mut settings = crate::recipe::schema::default_settings(service.settings_schema());
        for secret in service.secret_settings() {
            settings.insert(secret.setting.to_owned(), "drawn".into());
        }
        let settings: Value = settings.into();
        if service.name() == "simulator" {
            // Its program is this one, which is a test here.
            let simulated = serde_json::from_value(settings.clone()).expect("settings");
            let endpoint = crate::simulator::tests::start(simulated);
            return Self { endpoint, settings, _server: None };
        }
        let server = StartedService::start(service.name(), settings);
        Self { endpoint: server.endpoint.clone(), settings: server.settings.clone(), _server: Some(Box::new(server)) }
    }

    /// A service that runs already, without settings.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, settings: Value::Object(Default::default()), _server: None }
    }

    pub fn job(&self, spec: LoadSpec, settings: &Value) -> LoadJob {
        let job = job(self.endpoint.clone(), spec, settings.clone(), Path::new(""));
        LoadJob { service_settings: self.settings.clone(), ..job }
    }

    pub fn drive(&self, client: &dyn ClientType, spec: LoadSpec, settings: &Value) -> anyhow::Result<Driven> {
        drive_job(client, self.job(spec, settings))
    }
}

/// A `redis-server` with its default settings.
pub struct RedisServer {
    pub endpoint: Endpoint,
    server: StartedService,
}

impl RedisServer {
    pub fn start() -> Self {
        let server = StartedService::start("redis", serde_json::json!({}));
        Self { endpoint: server.endpoint.clone(), server }
    }

    /// Commands that the server has answered.
    pub fn commands(&self) -> u64 {
        let stats = self.answer("INFO stats");
        stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:")?.parse().ok()).unwrap_or(0)
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let process = nix::unistd::Pid::from_raw(self.server.process() as i32);
        nix::sys::signal::kill(process, signal).expect("its own child");
    }

    /// Waits until the server has answered so many commands: then the load is under way.
    pub fn wait_for_commands(&self, count: u64) {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            if self.commands() >= count {
                return;
            }
            assert!(Instant::now() < patience, "no load arrives");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends an inline command; the first line of the answer.
    pub fn ask(&self, command: &str) -> String {
        self.answer(command).lines().next().unwrap_or_default().to_owned()
    }

    fn answer(&self, command: &str) -> String {
        let mut stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).expect("connected");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).expect("answered");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    pub fn kill(&mut self) {
        self.server.kill();
    }
}

/// What a server that misbehaves does with each request, after it has read it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers so.
    Answer(Vec<u8>),
    /// Answers so and closes.
    AnswerAndClose(Vec<u8>),
    /// Answers so and resets the connection: what is not read by then is lost.
    AnswerAndReset(Vec<u8>),
    /// Answers a byte every 50 ms.
    Drip(Vec<u8>),
    /// Answers in parts with a pause before each, and closes behind the last if so asked.
    Parts { parts: Vec<Vec<u8>>, pause: Duration, close: bool },
    /// Never answers.
    Stall,
}

/// What to do with a request, by what was read of it.
type Decide = dyn Fn(&[u8]) -> Fault + Send + Sync;

/// A server that does the same to every request.
pub fn faulty(fault: Fault) -> Endpoint {
    faulty_by(Arc::new(move |_: &[u8]| fault.clone()))
}

/// A server that looks at what it has read before it decides. One read is taken for one request.
pub fn faulty_by(decide: Arc<Decide>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = local(listener.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let decide = decide.clone();
            std::thread::spawn(move || misbehave(stream, &*decide));
        }
    });
    endpoint
}

fn misbehave(mut stream: TcpStream, decide: &Decide) {
    let mut input = vec![0; 1 << 16];
    while let Ok(count @ 1..) = stream.read(&mut input) {
        let (answer, end) = match decide(&input[..count]) {
            Fault::Stall => continue,
            Fault::Drip(answer) => {
                for byte in answer {
                    std::thread::sleep(Duration::from_millis(50));
                    if stream.write_all(&[byte]).is_err() {
                        return;
                    }
                }
                continue;
            }
            Fault::Answer(answer) => (answer, false),
            Fault::AnswerAndClose(answer) => (answer, true),
            Fault::Parts { parts, pause, close } => {
                for part in parts {
                    std::thread::sleep(pause);
                    if stream.write_all(&part).is_err() {
                        return;
                    }
                }
                (Vec::new(), close)
            }
            Fault::AnswerAndReset(answer) => {
                let _ = stream.write_all(&answer);
                // Time to read the answer; then closing with unread input makes the kernel send a reset.
                std::thread::sleep(Duration::from_millis(50));
                reset(stream);
                return;
            }
        };
        if stream.write_all(&answer).is_err() || end {
            return;
        }
    }
}

/// Closes so that the peer sees a reset.
fn reset(stream: TcpStream) {
    stream.set_nonblocking(true).expect("non-blocking");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
    stream.set_zero_linger().expect("lingers not");
}
