//! The streaming workload: one answer of a language model a request, each chunk stamped on the read that brought it.
//!
//! Text is looked at only to see whether there is some.

use std::{
    borrow::Cow,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    message,
    prompts::{Ask, Lengths, Prompts, Scratch},
};
use crate::{
    load::{
        Client, Connection, Draw, Endpoint, Exchange, LoadJob, Outcome, Place, Streamed, Trace, Workload, content_mix,
        trace::Arrived,
        truth::{Tape, Truth},
    },
    services::http::Http,
};

/// Stream of draws for output lengths.
const DRAW_OUTPUT: u64 = 0x6f75_7470_7574;
/// Bytes of an error's body that are looked at.
const ERROR_BODY: usize = 64 << 10;

/// The API of a kind of server.
#[allow(async_fn_in_trait)] // every future stays on the thread that made it
pub trait Dialect: Clone + Send + 'static {
    /// How an answer's body falls into pieces.
    type Framing: Framing;
    /// Of the one operation.
    fn operation(&self) -> &'static [&'static str];
    /// Names of the times that a server reports of itself: what [`Chunk::server_ns`] holds, and behind them `ttft`.
    fn server_times(&self) -> &'static [&'static str];
    fn path(&self) -> &'static str;
    /// Header lines beside those of every request.
    fn headers(&self) -> &str;
    /// Appends the body of a request.
    fn write_body(
        &self,
        model: &str,
        ask: &Ask<'_>,
        max_tokens: Option<u32>,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()>;
    /// Before the load: until the server answers, as far as the settings want that.
    async fn await_server(&self, _endpoint: &Endpoint, _timeout: Duration) -> Result<(), String> {
        Ok(())
    }
    /// The model to ask for when nobody names one; `service_settings` say what was started.
    async fn served_model(&self, endpoint: &Endpoint, service_settings: &Value) -> Result<String, String>;
    /// What a piece says; an error ends the request.
    fn read(&self, piece: &[u8]) -> Result<Chunk, String>;
    /// How an answer is cut off that ends before it says so.
    fn unended(&self) -> &'static str;
}

/// Cuts a stream of bytes into pieces.
pub trait Framing: Default {
    /// Hands every piece that `input` completes to `take`, in order.
    fn feed(&mut self, input: &[u8], take: impl FnMut(&[u8])) -> Result<(), String>;
    /// The body has ended: hands on a last piece that is whole.
    fn finish(&mut self, take: impl FnMut(&[u8]));
}

/// What one piece of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// It is a part of the answer, if an empty one.
    pub part: bool,
    /// It has text, or another output of the model.
    pub content: bool,
    /// The answer is complete.
    pub finished: bool,
    pub input_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    /// The simulator's stamps, in nanoseconds since the Unix epoch: when this was sent, when the request was read.
    pub sent_ns: Option<u64>,
    pub received_ns: Option<u64>,
    /// Times that the server reports, by the places of their names.
    pub server_ns: Vec<Option<u64>>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub model: Option<String>,
    pub prompts: Prompts,
    /// Most output tokens; the server's own limit when not given.
    pub max_tokens: Option<u32>,
    /// Drawn for each request, in place of `max_tokens`.
    pub output_lengths: Option<Lengths>,
}

#[derive(Clone)]
pub struct StreamLoad<D> {
    dialect: D,
    endpoint: Endpoint,
    seed: u64,
    timeout: Duration,
    service_settings: Arc<Value>,
    model: Arc<str>,
    question: Question,
    /// Lengths of the requests, where they were recorded.
    trace: Option<Arc<Trace>>,
    /// In a calibration.
    truth: Option<Arc<Truth>>,
}

impl<D: Dialect> StreamLoad<D> {
    pub fn new(job: &LoadJob, dialect: D, mut question: Question) -> Self {
        if job.truth.is_some() {
            // A calibration asks for as many tokens as it says.
            question.output_lengths = None;
        }
        Self {
            dialect,
            endpoint: job.endpoint.clone(),
            seed: job.spec.seed,
            timeout: Duration::from_secs_f64(job.spec.timeout_s),
            service_settings: Arc::new(job.service_settings.clone()),
            model: question.model.as_deref().unwrap_or_default().into(),
            question,
            trace: job.trace.clone(),
            truth: job.truth.clone(),
        }
    }

    /// What a trace says of a request: replayed, its place is the line's.
    fn recorded(&self, place: Place) -> Option<&Arrived> {
        self.trace.as_ref()?.arrivals.get(usize::try_from(place.index).ok()?)
    }

    /// Appends the body of a request; returns how many tokens its prompt was meant to have.
    fn write_body(&self, place: Place, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<Option<u32>, String> {
        let recorded = self.recorded(place);
        let length = recorded.and_then(|recorded| recorded.input_tokens);
        let ask = self.question.prompts.of(self.seed, place, length, scratch);
        let drawn = || {
            let lengths = self.question.output_lengths.as_ref()?;
            let parts = [self.seed, DRAW_OUTPUT, u64::from(place.sequence), place.index, u64::from(place.warmup)];
            Some(lengths.draw(&mut Draw::new(&parts)))
        };
        let max_tokens = recorded.and_then(|recorded| recorded.output_tokens).or(ask.max_tokens).or_else(drawn);
        let max_tokens = max_tokens.or(self.question.max_tokens);
        self.dialect.write_body(&self.model, &ask, max_tokens, out).map_err(|err| err.to_string())?;
        Ok(ask.tokens)
    }
}

impl<D: Dialect> Workload for StreamLoad<D> {
    type Client = StreamClient<D>;

    fn operations(&self) -> &'static [&'static str] {
        self.dialect.operation()
    }

    fn server_times(&self) -> &'static [&'static str] {
        self.dialect.server_times()
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    /// Asks the server for its model when nobody named one.
    async fn prepare(&mut self) -> Result<(), String> {
        self.dialect.await_server(&self.endpoint, self.timeout).await?;
        if self.question.model.is_none() {
            let asking = self.dialect.served_model(&self.endpoint, &self.service_settings);
            let found = tokio::time::timeout(self.timeout, asking).await;
            let found = found.map_err(|_| {
                format!("it does not name its model within {} s (`benchmarks.timeout`)", self.timeout.as_secs_f64())
            })?;
            self.model = found?.into();
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<(), String> {
        self.prepare().await
    }

    async fn connect(&self, _client: u32) -> Result<StreamClient<D>, String> {
        let http = Http::connect(&self.endpoint).await?;
        let tape = self.truth.as_ref().map(Truth::tape);
        Ok(StreamClient {
            load: self.clone(),
            http,
            request: Vec::new(),
            ready: None,
            body: Vec::new(),
            scratch: Scratch::default(),
            tape,
        })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct StreamClient<D> {
    load: StreamLoad<D>,
    http: Http,
    /// What is sent next, or was sent last.
    request: Vec<u8>,
    /// Of a request that stands there and was not sent.
    ready: Option<Ready>,
    body: Vec<u8>,
    scratch: Scratch,
    tape: Option<Tape>,
}

/// What is known of a request before it is sent.
#[derive(Clone, Copy)]
struct Ready {
    place: Place,
    content: u64,
    bytes: u64,
    asked_tokens: Option<u32>,
}

impl<D: Dialect> Client for StreamClient<D> {
    /// A long prompt takes longer to write than a request may be late.
    fn get_ready(&mut self, place: Place) {
        self.ready = self.write(place).ok();
    }

    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        let mut connection = Connection::Reusable;
        for exchange in batch {
            connection = self.ask(exchange).await;
            if connection == Connection::Broken {
                break;
            }
        }
        connection
    }
}

impl<D: Dialect> StreamClient<D> {
    /// Writes a request, without sending it.
    fn write(&mut self, place: Place) -> Result<Ready, String> {
        self.body.clear();
        let asked_tokens = self.load.write_body(place, &mut self.scratch, &mut self.body)?;
        let (path, headers, endpoint) = (self.load.dialect.path(), self.load.dialect.headers(), &self.load.endpoint);
        self.request.clear();
        let written = write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            self.body.len()
        );
        written.map_err(|err| err.to_string())?;
        self.request.extend_from_slice(&self.body);
        Ok(Ready { place, content: content_mix(&self.body, 0), bytes: self.body.len() as u64, asked_tokens })
    }

    async fn ask(&mut self, exchange: &mut Exchange) -> Connection {
        let ready = match self.ready.take().filter(|ready| ready.place == exchange.place) {
            Some(ready) => Ok(ready),
            None => self.write(exchange.place),
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                exchange.fail(Instant::now(), reason);
                return Connection::Reusable;
            }
        };
        exchange.content = Some(ready.content);
        exchange.bytes_sent = ready.bytes;
        if !self.http.is_idle() {
            // Closed by the server between two requests. Nothing was sent, so this is no retry.
            match Http::connect(&self.load.endpoint).await {
                Ok(http) => self.http = http,
                Err(err) => {
                    exchange.content = None;
                    exchange.fail(Instant::now(), format!("cannot connect: {err}"));
                    return Connection::Broken;
                }
            }
        }
        exchange.start = Some(Instant::now());
        let answered = self.answer(exchange).await;
        if let Some(streamed) = &mut exchange.streamed {
            streamed.asked_tokens = ready.asked_tokens.map(u64::from);
        }
        match answered {
            Ok(connection) => connection,
            Err(reason) => {
                exchange.fail(Instant::now(), reason);
                Connection::Broken
            }
        }
    }

    async fn answer(&mut self, exchange: &mut Exchange) -> Result<Connection, String> {
        self.http.send(&self.request).await?;
        let head = self.http.head().await?;
        exchange.http_status = Some(head.status);
        let after = if head.close { Connection::Broken } else { Connection::Reusable };
        if head.status != 200 {
            self.body.clear();
            loop {
                let arrived = self.http.body(&mut self.body).await?;
                if arrived.done {
                    exchange.bytes_received = self.body.len() as u64;
                    exchange.fail(arrived.at, format!("status {}: {}", head.status, message(&self.body)));
                    return Ok(after);
                }
                if self.body.len() > ERROR_BODY {
                    return Err(format!("status {}: {}", head.status, message(&self.body)));
                }
            }
        }
        let tape = self.tape.as_mut().filter(|_| !exchange.place.warmup);
        let mut progress = Progress::new(&self.load.dialect, exchange, tape);
        let mut framing = D::Framing::default();
        loop {
            self.body.clear();
            let arrived = self.http.body(&mut self.body).await?;
            exchange.bytes_received += self.body.len() as u64;
            let streamed = exchange.streamed.get_or_insert_default();
            let server_ns = &mut exchange.server_ns;
            framing.feed(&self.body, |piece| progress.piece(piece, arrived.at, streamed, server_ns))?;
            if arrived.done {
                framing.finish(|piece| progress.piece(piece, arrived.at, streamed, server_ns));
                exchange.outcome = progress.outcome(streamed);
                exchange.end = Some(arrived.at);
                return Ok(after);
            }
            if let Some(failure) = progress.failure.take() {
                return Err(failure);
            }
        }
    }
}

/// What has been seen of one stream.
struct Progress<'a, D> {
    dialect: &'a D,
    tape: Option<&'a mut Tape>,
    last_content: Option<Instant>,
    content_chunks: u64,
    counted: bool,
    finished: bool,
    failure: Option<String>,
}

impl<'a, D: Dialect> Progress<'a, D> {
    fn new(dialect: &'a D, exchange: &mut Exchange, mut tape: Option<&'a mut Tape>) -> Self {
        exchange.streamed.get_or_insert_default();
        if let Some(tape) = &mut tape {
            tape.begin();
        }
        Self { dialect, tape, last_content: None, content_chunks: 0, counted: false, finished: false, failure: None }
    }

    fn piece(&mut self, piece: &[u8], at: Instant, streamed: &mut Streamed, server_ns: &mut Vec<Option<u64>>) {
        if self.failure.is_some() {
            return;
        }
        let chunk = match self.dialect.read(piece) {
            Ok(chunk) => chunk,
            Err(failure) => return self.failure = Some(failure),
        };
        streamed.input_tokens = chunk.input_tokens.or(streamed.input_tokens);
        streamed.cached_tokens = chunk.cached_tokens.or(streamed.cached_tokens);
        if chunk.output_tokens.is_some() {
            // Some servers send a running count with every chunk: the last one stands.
            streamed.output_tokens = chunk.output_tokens;
            self.counted = true;
        }
        self.finished |= chunk.finished;
        let own = self.dialect.server_times().len() - 1;
        if !chunk.server_ns.is_empty() {
            server_ns.resize(own + 1, None);
            server_ns[..own].copy_from_slice(&chunk.server_ns);
        }
        if chunk.part {
            streamed.first_chunk.get_or_insert(at);
        }
        if !chunk.content {
            return;
        }
        self.content_chunks += 1;
        streamed.first.get_or_insert(at);
        if let Some(sent_ns) = chunk.sent_ns {
            if let (1, Some(received_ns)) = (self.content_chunks, chunk.received_ns) {
                server_ns.resize(own + 1, None);
                server_ns[own] = Some(sent_ns.saturating_sub(received_ns));
            }
            if let Some(tape) = &mut self.tape {
                tape.chunk(at, sent_ns);
            }
        }
        if let Some(last) = self.last_content.replace(at) {
            let gap = at.saturating_duration_since(last).as_micros();
            streamed.gaps_us.push(u32::try_from(gap).unwrap_or(u32::MAX));
        }
    }

    /// At the end of the body.
    fn outcome(&mut self, streamed: &mut Streamed) -> Outcome {
        if let Some(failure) = self.failure.take() {
            return Outcome::Failed(failure.into());
        }
        if !self.finished {
            return Outcome::Failed(Cow::Borrowed(self.dialect.unended()));
        }
        if !self.counted {
            streamed.output_tokens = Some(self.content_chunks);
            streamed.tokens_by_chunk = true;
        }
        // It would be the fastest answer of all. An end of sequence alone is counted by the server.
        if self.content_chunks == 0 && streamed.output_tokens == Some(0) {
            return Outcome::Failed(Cow::Borrowed("wrong answer: no output"));
        }
        Outcome::Ok
    }
}
