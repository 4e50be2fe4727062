//! The simulator's HTTP side: which path asks for what, and how an answer is sent, whole or token by token.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header::CONTENT_TYPE,
};
use serde_json::{Value, json};

use super::{
    engine::{Engine, Passage, Step},
    ollama, openai,
};
use crate::load::truth::unix_ns;

/// Longest request body.
const LONGEST_BODY: usize = 16 << 20;
/// Output tokens of a request that does not say.
pub const DEFAULT_MAX_TOKENS: u64 = 16;

/// An answer: all at once, or token by token.
pub enum Answer {
    Whole(Option<Bytes>),
    Stream(Box<TokenStream>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll_event(context).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Answers one request.
pub async fn answer(engine: Rc<Engine>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/completions") => openai::complete(engine, request, openai::Api::Completions).await,
        (&Method::POST, "/v1/chat/completions") => openai::complete(engine, request, openai::Api::Chat).await,
        (&Method::POST, "/api/generate") => ollama::generate(engine, request, ollama::Api::Generate).await,
        (&Method::POST, "/api/chat") => ollama::generate(engine, request, ollama::Api::Chat).await,
        (&Method::POST, "/api/pull") => ollama::pull(&engine, request).await,
        (&Method::GET, "/api/tags") => whole_json(StatusCode::OK, &ollama::tags(&engine)),
        (&Method::GET, "/api/ps") => whole_json(StatusCode::OK, &ollama::loaded(&engine)),
        (&Method::GET, "/version" | "/api/version") => {
            whole_json(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") }))
        }
        (&Method::GET, "/health") => whole(StatusCode::OK, "text/plain", String::new()),
        (&Method::GET, "/metrics") => whole(StatusCode::OK, "text/plain; version=0.0.4", metrics(&engine)),
        (&Method::GET, "/v1/models") => {
            let model = json!({ "id": engine.settings.model, "object": "model", "owned_by": "simulator" });
            whole_json(StatusCode::OK, &json!({ "object": "list", "data": [model] }))
        }
        (_, path) if path.starts_with("/api/") => ollama::error(StatusCode::NOT_FOUND, "there is no such path"),
        _ => openai::error(StatusCode::NOT_FOUND, "there is no such path"),
    })
}

/// The body of a request; `None` when it cannot be read.
pub async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect().await.ok()?;
    Some(body.to_bytes())
}

/// How an API puts into words what happens to a request.
pub trait Wording {
    /// The input has been read.
    fn prefilled(&mut self) -> Option<String>;
    /// A token has been made; what follows the last one comes with it.
    fn token(&mut self, number: u64, last: bool, passage: &Passage) -> String;
}

/// The events of one streamed answer, each at its own time.
pub struct TokenStream {
    pub passage: Passage,
    pub wording: Box<dyn Wording>,
    pub ended: bool,
}

impl TokenStream {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.ended {
            let words = match std::task::ready!(self.passage.poll_next(context)) {
                None => {
                    self.ended = true;
                    None
                }
                Some(Step::Prefilled) => self.wording.prefilled(),
                Some(Step::Token { number, last }) => {
                    self.ended = last;
                    Some(self.wording.token(number, last, &self.passage))
                }
            };
            if let Some(words) = words {
                return Poll::Ready(Some(words.into()));
            }
        }
        Poll::Ready(None)
    }
}

/// The stamps of a chunk as members of its object, if the settings want them; `received_ns` is when the request was read.
pub fn stamps(engine: &Engine, received_ns: u64) -> String {
    match engine.settings.send_stamps {
        true => format!(",\"sent_ns\":{},\"received_ns\":{received_ns}", unix_ns()),
        false => String::new(),
    }
}

/// Token `number` as text.
pub fn token(number: u64) -> String {
    format!(" t{number}")
}

/// Token `number` of a streamed answer. With stamps, the first one has them in its text too, ` t1@sent@received`, for clients
/// that keep nothing of an answer but its text.
pub fn streamed_token(engine: &Engine, number: u64, received_ns: u64) -> String {
    match engine.settings.send_stamps && number == 1 {
        true => format!(" t1@{}@{received_ns}", unix_ns()),
        false => token(number),
    }
}

/// Words of an input; a number in a list counts as one token.
pub fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(parts) => parts.iter().map(words).sum(),
        // A part of a message: `{"type": "text", "text": "…"}`.
        Value::Object(part) => part.get("text").map_or(0, words),
        Value::Number(_) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

fn metrics(engine: &Engine) -> String {
    let occupancy = engine.occupancy();
    let counters = &engine.counters;
    let mut text = String::new();
    for (name, kind, value) in [
        ("num_requests_running", "gauge", f64::from(occupancy.running)),
        ("num_requests_waiting", "gauge", occupancy.waiting as f64),
        ("kv_cache_usage_perc", "gauge", occupancy.kv_share),
        ("prompt_tokens_total", "counter", counters.prompt_tokens.get() as f64),
        ("generation_tokens_total", "counter", counters.generation_tokens.get() as f64),
        ("request_success_total", "counter", counters.succeeded.get() as f64),
    ] {
        let model = engine.settings.model.escape_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name=\"{model}\"}} {value}\n");
    }
    text
}

pub fn whole_json(status: StatusCode, value: &Value) -> Response<Answer> {
    whole(status, "application/json", value.to_string())
}

pub fn whole(status: StatusCode, content_type: &'static str, body: String) -> Response<Answer> {
    response(status, content_type, Answer::Whole(Some(body.into())))
}

pub fn response(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
