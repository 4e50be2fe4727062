//! The streaming workload of `vllm_smoke` and `vllm_stress`: one completion a request, each chunk stamped.
//!
//! Speaks to any OpenAI-compatible server. Text is looked at only to see whether there is some.

use std::{borrow::Cow, sync::Arc, time::Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, sse};
use crate::{
    load::{
        Client, Connection, Draw, Endpoint, Exchange, LoadJob, Outcome, Place, Streamed, Trace, Workload, content_mix,
        trace::Arrived,
        truth::{Tape, Truth},
    },
    services::http::{self, Http},
};

/// Stream of draws for prompts.
const DRAW_PROMPT: u64 = 0x7072_6f6d_7074;
/// Bytes of an error's body that are looked at.
const ERROR_BODY: usize = 64 << 10;
/// Characters of a server's message that are kept.
const MESSAGE: usize = 200;

/// Words of generated prompts; each is one token to most models.
const WORDS: [&str; 64] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub model: Option<String>,
    pub prompt: Prompt,
    pub max_tokens: u32,
    pub ignore_eos: bool,
    pub api: Api,
}

#[derive(Clone, Debug)]
pub enum Prompt {
    /// The same for every request.
    Fixed(String),
    /// Of so many words, drawn for each request; the first word occurs in no other request.
    Drawn { words: u32 },
}

#[derive(Clone)]
pub struct StreamLoad {
    endpoint: Endpoint,
    seed: u64,
    question: Question,
    /// Lengths of the requests, where they were recorded.
    trace: Option<Arc<Trace>>,
    /// In a calibration.
    truth: Option<Arc<Truth>>,
}

impl StreamLoad {
    pub fn new(job: &LoadJob, mut question: Question) -> Self {
        let served = || job.service_settings.get("model").and_then(Value::as_str).map(str::to_owned);
        question.model = question.model.or_else(served);
        Self {
            endpoint: job.endpoint.clone(),
            seed: job.spec.seed,
            question,
            trace: job.trace.clone(),
            truth: job.truth.clone(),
        }
    }

    fn path(&self) -> &'static str {
        match self.question.api {
            Api::Completions => "/v1/completions",
            Api::Chat => "/v1/chat/completions",
        }
    }

    /// What a trace says of a request: replayed, its place is the line's.
    fn recorded(&self, place: Place) -> Option<&Arrived> {
        self.trace.as_ref()?.arrivals.get(usize::try_from(place.index).ok()?)
    }

    fn prompt(&self, place: Place) -> Cow<'_, str> {
        let words = match &self.question.prompt {
            Prompt::Fixed(prompt) => return prompt.into(),
            Prompt::Drawn { words } => {
                self.recorded(place).and_then(|recorded| recorded.input_tokens).unwrap_or(*words)
            }
        };
        let parts = [self.seed, DRAW_PROMPT, u64::from(place.sequence), place.index, u64::from(place.warmup)];
        let mut draw = Draw::new(&parts);
        let mut prompt = format!("{:x}", draw.next_u64());
        for _ in 1..words {
            prompt.push(' ');
            prompt.push_str(WORDS[draw.below(WORDS.len() as u64) as usize]);
        }
        prompt.into()
    }

    fn body(&self, place: Place) -> String {
        let prompt = self.prompt(place);
        let recorded = self.recorded(place).and_then(|recorded| recorded.output_tokens);
        let max_tokens = recorded.unwrap_or(self.question.max_tokens);
        let mut body = json!({
            "model": self.question.model,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        match self.question.api {
            Api::Completions => body["prompt"] = json!(prompt),
            Api::Chat => body["messages"] = json!([{ "role": "user", "content": prompt }]),
        }
        if self.question.ignore_eos {
            body["ignore_eos"] = json!(true);
            body["min_tokens"] = json!(max_tokens);
        }
        body.to_string()
    }
}

impl Workload for StreamLoad {
    type Client = StreamClient;

    fn operations(&self) -> &'static [&'static str] {
        match self.question.api {
            Api::Completions => &["completion"],
            Api::Chat => &["chat"],
        }
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    /// Asks the server for its model when nobody named one.
    async fn prepare(&mut self) -> Result<(), String> {
        if self.question.model.is_none() {
            let models = served_models(&self.endpoint).await?;
            self.question.model = Some(models.into_iter().next().ok_or("the server serves no model")?);
        }
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<StreamClient, String> {
        let http = Http::connect(&self.endpoint).await?;
        let tape = self.truth.as_ref().map(Truth::tape);
        Ok(StreamClient { load: self.clone(), http, request: Vec::new(), body: Vec::new(), tape })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The names that `/v1/models` lists.
pub async fn served_models(endpoint: &Endpoint) -> Result<Vec<String>, String> {
    let (status, body) = http::get(endpoint, "/v1/models").await?;
    if status != 200 {
        return Err(format!("GET /v1/models: status {status}: {}", message(&body)));
    }
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let models: Models = serde_json::from_slice(&body).map_err(|err| format!("GET /v1/models: {err}"))?;
    Ok(models.data.into_iter().map(|model| model.id).collect())
}

pub struct StreamClient {
    load: StreamLoad,
    http: Http,
    request: Vec<u8>,
    body: Vec<u8>,
    tape: Option<Tape>,
}

impl Client for StreamClient {
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

impl StreamClient {
    async fn ask(&mut self, exchange: &mut Exchange) -> Connection {
        let body = self.load.body(exchange.place);
        exchange.content = Some(content_mix(body.as_bytes(), 0));
        exchange.bytes_sent = body.len() as u64;
        let (path, endpoint) = (self.load.path(), &self.load.endpoint);
        self.request.clear();
        self.request.extend_from_slice(
            format!(
                "POST {path} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: application/json\r\n\
                 Accept: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
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
        match self.answer(exchange).await {
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
        let mut progress = Progress::new(exchange, tape);
        let mut events = sse::Reader::default();
        loop {
            self.body.clear();
            let arrived = self.http.body(&mut self.body).await?;
            exchange.bytes_received += self.body.len() as u64;
            let streamed = exchange.streamed.get_or_insert_default();
            events.feed(&self.body, |data| progress.event(data, arrived.at, streamed))?;
            if arrived.done {
                events.finish(|data| progress.event(data, arrived.at, streamed));
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
#[derive(Default)]
struct Progress<'a> {
    tape: Option<&'a mut Tape>,
    last_content: Option<Instant>,
    content_chunks: u64,
    usage: bool,
    finished: bool,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
    /// The simulator's own stamp.
    sent_ns: Option<u64>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    /// Models that think stream their thoughts first; these are output tokens too.
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
}

impl Choice<'_> {
    fn has_content(&self) -> bool {
        let some = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| !text.is_empty());
        let delta = self.delta.as_ref();
        some(&self.text) || delta.is_some_and(|delta| some(&delta.content) || some(&delta.reasoning_content))
    }
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl<'a> Progress<'a> {
    fn new(exchange: &mut Exchange, mut tape: Option<&'a mut Tape>) -> Self {
        exchange.streamed.get_or_insert_default();
        if let Some(tape) = &mut tape {
            tape.begin();
        }
        Self { tape, ..Self::default() }
    }

    fn event(&mut self, data: &[u8], at: Instant, streamed: &mut Streamed) {
        if self.failure.is_some() {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.finished = true;
            return;
        }
        let chunk: Chunk = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            Err(err) => {
                self.failure = Some(format!("wrong answer: an event that is no chunk: {err}"));
                return;
            }
        };
        if let Some(error) = chunk.error {
            self.failure = Some(format!("error in the stream: {}", error_text(&error)));
            return;
        }
        if let Some(usage) = chunk.usage {
            streamed.input_tokens = usage.prompt_tokens.or(streamed.input_tokens);
            if usage.completion_tokens.is_some() {
                // Some servers send a running count with every chunk: the last one stands.
                streamed.output_tokens = usage.completion_tokens;
                self.usage = true;
            }
        }
        let choices = chunk.choices.unwrap_or_default();
        if choices.is_empty() {
            return;
        }
        streamed.first_chunk.get_or_insert(at);
        self.finished |= choices.iter().any(|choice| choice.finish_reason.is_some());
        if choices.iter().any(Choice::has_content) {
            self.content_chunks += 1;
            streamed.first.get_or_insert(at);
            if let (Some(tape), Some(sent_ns)) = (&mut self.tape, chunk.sent_ns) {
                tape.chunk(at, sent_ns);
            }
            if let Some(last) = self.last_content.replace(at) {
                let gap = at.saturating_duration_since(last).as_micros();
                streamed.gaps_us.push(u32::try_from(gap).unwrap_or(u32::MAX));
            }
        }
    }

    /// At the end of the body.
    fn outcome(&mut self, streamed: &mut Streamed) -> Outcome {
        if let Some(failure) = self.failure.take() {
            return Outcome::Failed(failure.into());
        }
        if !self.finished {
            return Outcome::Failed("stream ended before [DONE]".into());
        }
        if !self.usage {
            streamed.output_tokens = Some(self.content_chunks);
            streamed.tokens_by_chunk = true;
        }
        Outcome::Ok
    }
}

/// What a server says of an error, in one short line.
pub fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => error_text(value.get("error").unwrap_or(&value)),
        Err(_) => short(&String::from_utf8_lossy(body)),
    }
}

fn error_text(error: &Value) -> String {
    let text = error.get("message").or(error.get("detail")).unwrap_or(error);
    short(text.as_str().unwrap_or(&text.to_string()))
}

fn short(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}
