//! The load of every vector database: uploads in batches and searches, each answer checked.
//!
//! Without an `operation_mix`, a closed loop that a count ends has two phases: every client uploads its vectors, and
//! when all have, every client searches. Otherwise the collection is filled before the load, and each request is drawn.
//! Bodies are written before, and answers checked after, the time that counts.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::{
    Distance, Distribution, Hit,
    exact::{self, Truth},
    generate::Vectors,
    verify::{self, Expected},
};
use crate::{
    load::{
        Arrival, Client, Connection, Draw, Endpoint, Exchange, LoadJob, Outcome, Place, Workload, content_mix, mix,
    },
    services::{LoadDefaults, http::Http},
};

const UPLOAD: u8 = 0;
const SEARCH: u8 = 1;

/// Different vectors that are searched for, at most: the truth about each has to be found first.
const MOST_QUERIES: u64 = 1000;
/// Vectors in one request while the collection is filled before the load.
const FILL: u64 = 256;
/// Stored vectors for the searches of a warm-up in front of phases.
const WARMUP_VECTORS: u64 = 256;

const DRAW_OPERATION: u64 = 0x6f70_6572;

/// Ids of vectors that are no part of the truth: this, whose sequence they are of, and a number in it. All ids are
/// exact in a JSON number.
const LATER: u64 = 1 << 52;
const LATER_WARMUP: u64 = 1 << 51;
const LATER_NUMBER: u64 = (1 << 32) - 1;
const MOST_SEQUENCES: u32 = 1 << 19;

/// Longest body of an answer that is read.
const LONGEST_ANSWER: usize = 64 << 20;
/// Longest wait for one answer outside the load.
const PATIENCE: Duration = Duration::from_secs(60);
/// Characters of a server's message that are kept.
const MESSAGE: usize = 200;

/// What the settings of all vector clients have in common.
#[derive(Clone, Debug)]
pub struct VectorSettings {
    pub num_vectors: u64,
    pub num_queries: u64,
    pub dim: u32,
    pub batch_size: u32,
    pub top_k: u32,
    pub distance: Distance,
    pub distribution: Distribution,
    pub min_recall: f64,
    pub operation_mix: Option<String>,
    pub concurrent_requests: u32,
    pub warmup_delay: f64,
    pub threads: Option<u32>,
}

impl VectorSettings {
    /// Uploads and searches of one connection.
    fn per_connection(&self) -> Result<(u64, u64)> {
        let connections = u64::from(self.concurrent_requests.max(1));
        for (name, count) in [("num_vectors", self.num_vectors), ("num_queries", self.num_queries)] {
            ensure!(
                count.is_multiple_of(connections),
                "{connections} connections cannot share the {count} of `{name}` evenly: make it a multiple of \
                 {connections}"
            );
        }
        ensure!(
            u64::from(self.top_k) <= self.num_vectors,
            "`top_k` is {}, and there are only {} vectors to find: give fewer, or more `num_vectors`",
            self.top_k,
            self.num_vectors
        );
        let uploads = (self.num_vectors / connections).div_ceil(u64::from(self.batch_size));
        Ok((uploads, self.num_queries / connections))
    }

    pub fn load_defaults(&self) -> Result<LoadDefaults> {
        let (uploads, searches) = self.per_connection()?;
        let requests = if self.operation_mix.is_some() { searches } else { uploads + searches };
        Ok(LoadDefaults {
            requests_per_client: requests * u64::from(self.concurrent_requests.max(1)),
            concurrency_per_client: self.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: self.warmup_delay,
            threads: self.threads,
        })
    }
}

/// How a database's HTTP API says what every vector database can do.
#[allow(async_fn_in_trait)] // every future stays on the thread that made it
pub trait Database: Clone + Send + Sync + 'static {
    /// Header lines of every request, each with its line end.
    fn headers(&self) -> &str;
    /// Creates the collection, or the one for warm-up.
    async fn create(&mut self, rest: &mut Rest, dim: usize, distance: Distance, warmup: bool) -> Result<(), String>;
    /// Waits until searches use what was uploaded.
    async fn settle(&self, rest: &mut Rest) -> Result<(), String>;
    /// Vectors in the collection, as the server counts them.
    async fn count(&self, rest: &mut Rest) -> Result<u64, String>;
    /// Removes both collections, as far as they are there.
    async fn remove(&self, rest: &mut Rest) -> Result<(), String>;
    /// Method and path of an upload, and of a search.
    fn upload_target(&self, warmup: bool) -> String;
    fn search_target(&self, warmup: bool) -> String;
    /// Appends the body of an upload: as many ids as vectors, which stand in one row.
    fn write_upload(&self, ids: &[u64], vectors: &[i16], dim: usize, out: &mut Vec<u8>);
    fn write_search(&self, query: &[i16], top_k: u32, out: &mut Vec<u8>);
    /// Whether the body of a successful status is that of a done upload.
    fn read_upload(&self, body: &[u8]) -> Result<(), String>;
    /// Appends the results in their order.
    fn read_search(&self, body: &[u8], distance: Distance, hits: &mut Vec<Hit>) -> Result<(), String>;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// So many uploads by every connection, then searches.
    Phases { uploads: u64 },
    /// A search with this share, else an upload; the collection is filled before.
    Mix { search_share: f64 },
}

#[derive(Clone)]
pub struct VectorLoad<D> {
    endpoint: Endpoint,
    settings: VectorSettings,
    seed: u64,
    mode: Mode,
    /// Warm-up in front of phases has a collection of its own.
    own_warmup: bool,
    /// Sequences of requests there are: connections in closed loop, one in open loop.
    sequences: u32,
    /// Vectors that each connection uploads in the first phase.
    share: u64,
    /// Vectors that the truth is about: ids below this.
    stored: u64,
    queries: u64,
    vectors: Vectors,
    database: D,
    truth: Option<Arc<Truth>>,
    /// Vectors that the server said it had taken in the first phase.
    taken: Arc<AtomicU64>,
    /// What is wrong with the server's count after the first phase, once somebody has asked.
    counted: Arc<OnceLock<Option<String>>>,
}

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// `count` vectors of consecutive ids.
    Upload {
        first: u64,
        count: u64,
    },
    Search {
        query: u64,
    },
}

impl<D: Database> VectorLoad<D> {
    pub fn new(job: &LoadJob, settings: VectorSettings, database: D) -> Result<Self> {
        let spec = &job.spec;
        let (uploads, searches) = settings.per_connection()?;
        let closed = matches!(spec.arrival, Arrival::Closed { .. });
        let mode = match (&settings.operation_mix, spec.stop.duration_s) {
            (Some(mix), _) => Mode::Mix { search_share: search_share(mix)? },
            (None, None) if closed => Mode::Phases { uploads },
            // Searches of a schedule would not wait for the uploads before them, and time would cut the phases anywhere.
            (None, _) => Mode::Mix { search_share: 1.0 },
        };
        let share = settings.num_vectors / u64::from(settings.concurrent_requests.max(1));
        let is_upload_only = mode == Mode::Mix { search_share: 0.0 };
        let stored = if is_upload_only { 0 } else { share * u64::from(spec.clients) };
        ensure!(stored < LATER, "{stored} vectors are more than their ids can tell apart");
        let sequences = if closed { spec.clients } else { 1 };
        if sequences > MOST_SEQUENCES {
            bail!("{sequences} connections are more than the {MOST_SEQUENCES} whose uploads can be told apart");
        }
        let most = match (mode, spec.stop.requests) {
            (Mode::Phases { .. }, _) => searches.saturating_mul(u64::from(spec.clients)),
            (_, Some(requests)) => requests.saturating_mul(u64::from(sequences)),
            _ => u64::MAX,
        };
        Ok(Self {
            endpoint: job.endpoint.clone(),
            seed: spec.seed,
            own_warmup: matches!(mode, Mode::Phases { .. })
                && (spec.warmup.requests > 0 || spec.warmup.duration_s > 0.0),
            mode,
            sequences,
            share,
            stored,
            queries: most.clamp(1, MOST_QUERIES),
            vectors: Vectors::new(spec.seed, settings.dim as usize, settings.distribution),
            database,
            settings,
            truth: None,
            taken: Arc::default(),
            counted: Arc::default(),
        })
    }

    /// What a request is: a function of the seed and its place.
    fn plan(&self, place: Place) -> Request {
        let Place { sequence, index, warmup } = place;
        let mut draw = Draw::new(&[self.seed, DRAW_OPERATION, u64::from(sequence), index, u64::from(warmup)]);
        let batch = u64::from(self.settings.batch_size);
        let is_search = match self.mode {
            Mode::Phases { .. } if warmup => index % 2 == 1,
            Mode::Phases { uploads } => index >= uploads,
            Mode::Mix { search_share } => draw.uniform() < search_share,
        };
        if is_search {
            return Request::Search { query: draw.below(self.queries) };
        }
        if matches!(self.mode, Mode::Phases { .. }) && !warmup {
            let first = index * batch;
            let count = batch.min(self.share - first);
            return Request::Upload { first: u64::from(sequence) * self.share + first, count };
        }
        let number = index.wrapping_mul(batch) & LATER_NUMBER;
        let number = number.min(LATER_NUMBER + 1 - batch);
        let first = LATER | if warmup { LATER_WARMUP } else { 0 } | u64::from(sequence) << 32 | number;
        Request::Upload { first, count: batch }
    }

    /// Whether an id that is no part of the truth may be in the collection.
    fn may_be_sent(&self, id: u64) -> bool {
        id & LATER != 0 && id < 2 * LATER && (id & (LATER_WARMUP - 1)) >> 32 < u64::from(self.sequences)
    }

    fn in_warmup_collection(&self, place: Place) -> bool {
        self.own_warmup && place.warmup
    }

    /// Appends the body of an upload.
    fn write_upload(&self, first: u64, count: u64, scratch: &mut Vec<i16>, out: &mut Vec<u8>) {
        let ids: Vec<u64> = (first..first + count).collect();
        scratch.resize(ids.len() * self.vectors.dim, 0);
        for (id, vector) in ids.iter().zip(scratch.chunks_mut(self.vectors.dim)) {
            self.vectors.stored(*id, vector);
        }
        self.database.write_upload(&ids, scratch, self.vectors.dim, out);
    }

    async fn fill(&self, rest: &mut Rest, count: u64, warmup: bool) -> Result<(), String> {
        let (mut body, mut scratch) = (Vec::new(), Vec::new());
        for first in (0..count).step_by(FILL as usize) {
            body.clear();
            self.write_upload(first, FILL.min(count - first), &mut scratch, &mut body);
            let answer = rest.ask(&self.database.upload_target(warmup), &body).await?;
            self.database.read_upload(&answer)?;
        }
        Ok(())
    }

    async fn rest(&self) -> Result<Rest, String> {
        Rest::connect(&self.endpoint, self.database.headers()).await
    }
}

fn search_share(mix: &str) -> Result<f64> {
    let shares = mix.split_once(':').and_then(|(a, b)| Some((a.parse::<f64>().ok()?, b.parse::<f64>().ok()?)));
    match shares {
        Some((search, upload)) if search >= 0.0 && upload >= 0.0 && search + upload > 0.0 => {
            Ok(search / (search + upload))
        }
        _ => {
            bail!("operation_mix must be the shares of search and upload, such as `90:10`, not `{mix}`")
        }
    }
}

/// Eight characters of its own for this run, for names.
pub fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let unique = mix(now ^ mix(u64::from(std::process::id())));
    (0..8).map(|i| char::from(b"0123456789abcdefghijklmnopqrstuv"[(unique >> (5 * i)) as usize & 31])).collect()
}

impl<D: Database> Workload for VectorLoad<D> {
    type Client = VectorClient<D>;

    fn operations(&self) -> &'static [&'static str] {
        &["upload", "search"]
    }

    fn operation(&self, place: Place) -> u8 {
        match self.plan(place) {
            Request::Upload { .. } => UPLOAD,
            Request::Search { .. } => SEARCH,
        }
    }

    fn meeting(&self) -> Option<u64> {
        match self.mode {
            Mode::Phases { uploads } => Some(uploads),
            Mode::Mix { .. } => None,
        }
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let mut rest = self.rest().await?;
        let (dim, distance) = (self.vectors.dim, self.settings.distance);
        self.database.create(&mut rest, dim, distance, false).await?;
        if self.own_warmup {
            self.database.create(&mut rest, dim, distance, true).await?;
            self.fill(&mut rest, WARMUP_VECTORS.max(u64::from(self.settings.top_k)), true).await?;
        }
        if matches!(self.mode, Mode::Mix { .. }) && self.stored > 0 {
            self.fill(&mut rest, self.stored, false).await?;
            let count = self.database.count(&mut rest).await?;
            if count != self.stored {
                return Err(format!("{} vectors were uploaded, and the server counts {count}", self.stored));
            }
            self.database.settle(&mut rest).await?;
        }
        if self.stored > 0 {
            let top_k = self.settings.top_k as usize;
            let truth = exact::search(&self.vectors, distance, self.stored, self.queries, top_k).await;
            self.truth = Some(Arc::new(truth));
        }
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<VectorClient<D>, String> {
        let rest = self.rest().await?;
        let dim = self.vectors.dim;
        let (query, vector) = (vec![0; dim], vec![0; dim]);
        Ok(VectorClient { load: self.clone(), rest, body: Vec::new(), batch: Vec::new(), query, vector, hits: vec![] })
    }

    async fn clean_up(&self) -> Result<(), String> {
        let mut rest = self.rest().await?;
        self.database.remove(&mut rest).await
    }
}

pub struct VectorClient<D> {
    load: VectorLoad<D>,
    rest: Rest,
    body: Vec<u8>,
    batch: Vec<i16>,
    query: Vec<i16>,
    vector: Vec<i16>,
    hits: Vec<Hit>,
}

impl<D: Database> Client for VectorClient<D> {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        let mut connection = Connection::Reusable;
        for exchange in batch {
            connection = match self.ask(exchange).await {
                Ok(connection) => connection,
                Err(reason) => {
                    exchange.fail(Instant::now(), reason);
                    return Connection::Broken;
                }
            };
        }
        connection
    }
}

impl<D: Database> VectorClient<D> {
    async fn ask(&mut self, exchange: &mut Exchange) -> Result<Connection, String> {
        let load = &self.load;
        let warmup = load.in_warmup_collection(exchange.place);
        let request = load.plan(exchange.place);
        self.body.clear();
        let target = match request {
            Request::Upload { first, count } => {
                load.write_upload(first, count, &mut self.batch, &mut self.body);
                load.database.upload_target(warmup)
            }
            Request::Search { query } => {
                load.vectors.query(query, &mut self.query);
                load.database.write_search(&self.query, load.settings.top_k, &mut self.body);
                load.database.search_target(warmup)
            }
        };
        if exchange.operation == SEARCH && !exchange.place.warmup && matches!(load.mode, Mode::Phases { .. }) {
            self.count_once().await?;
        }
        let load = &self.load;
        self.rest.write(&target, &self.body);
        self.rest.revive(&load.endpoint).await?;
        exchange.content = Some(content_mix(&self.body, u64::from(exchange.operation)));
        exchange.bytes_sent = self.body.len() as u64;
        exchange.start = Some(Instant::now());
        let (status, close, at) = self.rest.exchange().await?;
        exchange.http_status = Some(status);
        exchange.bytes_received = self.rest.answer.len() as u64;
        exchange.end = Some(at);
        exchange.outcome = match self.judge(exchange, request, status) {
            Ok(()) => Outcome::Ok,
            Err(reason) => Outcome::Failed(reason.into()),
        };
        Ok(if close { Connection::Broken } else { Connection::Reusable })
    }

    fn judge(&mut self, exchange: &mut Exchange, request: Request, status: u16) -> Result<(), String> {
        let load = &self.load;
        let answer = &self.rest.answer;
        if !(200..300).contains(&status) {
            return Err(format!("status {status}: {}", message(answer)));
        }
        if let Request::Upload { count, .. } = request {
            load.database.read_upload(answer)?;
            if !exchange.place.warmup {
                load.taken.fetch_add(count, Ordering::Relaxed);
            }
            return Ok(());
        }
        let Request::Search { query } = request else { return Ok(()) };
        self.hits.clear();
        load.database.read_search(answer, load.settings.distance, &mut self.hits)?;
        let in_warmup = load.in_warmup_collection(exchange.place);
        let top_k = load.settings.top_k;
        let expected = Expected {
            vectors: &load.vectors,
            distance: load.settings.distance,
            results: top_k as usize,
            stored: if in_warmup { WARMUP_VECTORS.max(u64::from(top_k)) } else { load.stored },
            truth: load.truth.as_deref().filter(|_| !in_warmup).map(|truth| (truth, query)),
            min_recall: load.settings.min_recall,
        };
        let may_be_sent = |id| load.may_be_sent(id);
        let (recall, verdict) = verify::verify(&expected, &self.query, &self.hits, may_be_sent, &mut self.vector);
        exchange.recall = recall;
        verdict?;
        match load.counted.get() {
            Some(Some(wrong)) if !exchange.place.warmup => Err(wrong.clone()),
            _ => Ok(()),
        }
    }

    /// Between the phases: whether the server has what it said it had taken, and no more than it was sent.
    async fn count_once(&mut self) -> Result<(), String> {
        if self.load.counted.get().is_some() {
            return Ok(());
        }
        self.rest.revive(&self.load.endpoint).await?;
        let count = self.load.database.count(&mut self.rest).await?;
        let (taken, sent) = (self.load.taken.load(Ordering::Relaxed), self.load.stored);
        let wrong = (count < taken || count > sent)
            .then(|| format!("wrong answer: the server counts {count} vectors and has taken {taken}"));
        self.load.counted.get_or_init(|| wrong);
        Ok(())
    }
}

/// A connection that speaks JSON.
pub struct Rest {
    http: Http,
    host: String,
    headers: String,
    request: Vec<u8>,
    /// The body of the last answer.
    pub answer: Vec<u8>,
}

impl Rest {
    /// `headers` are whole lines.
    pub async fn connect(endpoint: &Endpoint, headers: &str) -> Result<Self, String> {
        Ok(Self {
            http: Http::connect(endpoint).await?,
            host: endpoint.to_string(),
            headers: headers.to_owned(),
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// Connects anew when the server has closed the idle connection. Nothing was sent, so this is no retry.
    async fn revive(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        if !self.http.is_idle() {
            self.http = Http::connect(endpoint).await.map_err(|err| format!("cannot connect: {err}"))?;
        }
        Ok(())
    }

    /// Makes the request ready; `target` is method and path.
    fn write(&mut self, target: &str, body: &[u8]) {
        let (host, headers, length) = (&self.host, &self.headers, body.len());
        let head = format!(
            "{target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
    }

    /// Sends what is ready and reads the answer: status, whether the connection ends, and when the last byte came.
    async fn exchange(&mut self) -> Result<(u16, bool, Instant), String> {
        self.answer.clear();
        self.http.send(&self.request).await?;
        let head = self.http.head().await?;
        loop {
            let arrived = self.http.body(&mut self.answer).await?;
            if arrived.done {
                return Ok((head.status, head.close, arrived.at));
            }
            if self.answer.len() > LONGEST_ANSWER {
                return Err(format!("wrong answer: more than {LONGEST_ANSWER} bytes"));
            }
        }
    }

    /// A request outside the load: the body of an answer with a successful status.
    pub async fn ask(&mut self, target: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        self.write(target, body);
        let answered = tokio::time::timeout(PATIENCE, self.exchange()).await;
        match answered.map_err(|_| format!("{target}: no answer within {} s", PATIENCE.as_secs()))?? {
            (200..=299, ..) => Ok(std::mem::take(&mut self.answer)),
            (status, ..) => Err(format!("{target}: status {status}: {}", message(&self.answer))),
        }
    }

    /// [`Rest::ask`], with JSON both ways.
    pub async fn json(&mut self, target: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.ask(target, &body).await?;
        serde_json::from_slice(&answer).map_err(|err| format!("{target}: an answer that is no JSON: {err}"))
    }
}

/// What a server says of an error, in one short line.
pub fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            let places = ["/status/error", "/message", "/detail", "/error"];
            let said = places.iter().find_map(|place| value.pointer(place)?.as_str().map(str::to_owned));
            said.unwrap_or_else(|| value.to_string())
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}
