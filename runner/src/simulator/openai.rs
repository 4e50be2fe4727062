//! The simulator's HTTP side: OpenAI's completions and chat, streamed or whole, and vLLM's health and metrics.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header::CONTENT_TYPE,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::engine::{Engine, Passage, Step};

/// Longest request body.
const LONGEST_BODY: usize = 16 << 20;
/// Output tokens of a request that does not say.
const DEFAULT_MAX_TOKENS: u64 = 16;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Completions,
    Chat,
}

/// What a completion request says, as far as it matters here.
#[derive(Deserialize)]
struct Question {
    model: Option<String>,
    prompt: Option<Value>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Question {
    /// Words of the input; a number in a list counts as one token.
    fn input_tokens(&self) -> u64 {
        let of_messages = self.messages.iter().flatten().filter_map(|message| message.content.as_ref());
        self.prompt.iter().chain(of_messages).map(words).sum()
    }
}

fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(parts) => parts.iter().map(words).sum(),
        // A part of a message: `{"type": "text", "text": "…"}`.
        Value::Object(part) => part.get("text").map_or(0, words),
        Value::Number(_) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

/// Answers one request.
pub async fn answer(engine: Rc<Engine>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/completions") => complete(engine, request, Api::Completions).await,
        (&Method::POST, "/v1/chat/completions") => complete(engine, request, Api::Chat).await,
        (&Method::GET, "/health") => whole(StatusCode::OK, "text/plain", String::new()),
        (&Method::GET, "/version") => whole_json(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") })),
        (&Method::GET, "/metrics") => whole(StatusCode::OK, "text/plain; version=0.0.4", metrics(&engine)),
        (&Method::GET, "/v1/models") => {
            let model = json!({ "id": engine.settings.model, "object": "model", "owned_by": "simulator" });
            whole_json(StatusCode::OK, &json!({ "object": "list", "data": [model] }))
        }
        _ => error(StatusCode::NOT_FOUND, "there is no such path"),
    })
}

async fn complete(engine: Rc<Engine>, request: Request<Incoming>, api: Api) -> Response<Answer> {
    let Ok(body) = Limited::new(request.into_body(), LONGEST_BODY).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the request cannot be read");
    };
    let question: Question = match serde_json::from_slice(&body.to_bytes()) {
        Ok(question) => question,
        Err(err) => return error(StatusCode::BAD_REQUEST, &format!("the request is not what was expected: {err}")),
    };
    let model = &engine.settings.model;
    if question.model.as_ref().is_some_and(|asked| asked != model) {
        return error(StatusCode::NOT_FOUND, &format!("the model is {model}"));
    }
    if matches!(api, Api::Completions) && question.prompt.is_none()
        || matches!(api, Api::Chat) && question.messages.is_none()
    {
        return error(StatusCode::BAD_REQUEST, "the request has no prompt");
    }
    let input = question.input_tokens();
    let output = question.max_completion_tokens.or(question.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    if output == 0 {
        return error(StatusCode::BAD_REQUEST, "max_tokens must be at least 1");
    }
    if !engine.fits(input.saturating_add(output)) {
        return error(StatusCode::BAD_REQUEST, "the request is longer than the KV limit");
    }
    let number = engine.arrive();
    if engine.fails(number) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "simulated failure");
    }
    let passage = Passage::new(engine.clone(), number, input, output);
    let include_usage = question.stream_options.is_some_and(|options| options.include_usage);
    let mut stream = TokenStream {
        engine,
        passage,
        api,
        number,
        usage: json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output }),
        include_usage,
        ended: false,
    };
    if question.stream {
        let body = Answer::Stream(Box::new(stream));
        return response(StatusCode::OK, "text/event-stream", body);
    }
    let mut text = String::new();
    while let Some(step) = stream.passage.next().await {
        if let Step::Token { number, .. } = step {
            text.push_str(&token(number));
        }
    }
    let mut choice = json!({ "index": 0, "finish_reason": "length" });
    match api {
        Api::Completions => choice["text"] = json!(text),
        Api::Chat => choice["message"] = json!({ "role": "assistant", "content": text }),
    }
    let mut answer = stream.envelope(vec![choice], false);
    answer["usage"] = stream.usage.clone();
    whole_json(StatusCode::OK, &answer)
}

/// Token `number` as text.
fn token(number: u64) -> String {
    format!(" t{number}")
}

/// The events of one streamed answer.
pub struct TokenStream {
    engine: Rc<Engine>,
    passage: Passage,
    api: Api,
    number: u64,
    usage: Value,
    include_usage: bool,
    ended: bool,
}

impl TokenStream {
    /// One frame an event that has its own time: a token, or the role at the end of prefill (chat only). What
    /// follows the last token comes with it.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.ended {
            let step = std::task::ready!(self.passage.poll_next(context));
            let mut events = String::new();
            match step {
                None => self.ended = true,
                Some(Step::Prefilled) if self.api == Api::Completions => continue,
                Some(Step::Prefilled) => {
                    let delta = json!({ "role": "assistant", "content": "" });
                    let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
                    event(&mut events, &self.envelope(vec![choice], true));
                }
                Some(Step::Token { number, last }) => {
                    let reason = if last { json!("length") } else { Value::Null };
                    let mut choice = json!({ "index": 0, "finish_reason": reason });
                    match self.api {
                        Api::Completions => choice["text"] = json!(token(number)),
                        Api::Chat => choice["delta"] = json!({ "content": token(number) }),
                    }
                    event(&mut events, &self.envelope(vec![choice], true));
                    if last {
                        self.ended = true;
                        if self.include_usage {
                            let mut chunk = self.envelope(Vec::new(), true);
                            chunk["usage"] = self.usage.clone();
                            event(&mut events, &chunk);
                        }
                        events.push_str("data: [DONE]\n\n");
                    }
                }
            }
            return Poll::Ready(Some(events.into()));
        }
        Poll::Ready(None)
    }

    fn envelope(&self, choices: Vec<Value>, chunk: bool) -> Value {
        let (prefix, object) = match (self.api, chunk) {
            (Api::Completions, _) => ("cmpl", "text_completion"),
            (Api::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Api::Chat, false) => ("chatcmpl", "chat.completion"),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut answer = json!({
            "id": format!("{prefix}-{}", self.number),
            "object": object,
            "created": now.as_secs(),
            "model": self.engine.settings.model,
            "choices": choices,
        });
        if self.engine.settings.send_stamps {
            answer["sent_ns"] = json!(now.as_nanos() as u64);
        }
        answer
    }
}

fn event(out: &mut String, data: &Value) {
    // Writing to a string cannot fail.
    let _ = write!(out, "data: {data}\n\n");
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
        let _ = write!(text, "# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name=\"{model}\"}} {value}\n");
    }
    text
}

fn error(status: StatusCode, message: &str) -> Response<Answer> {
    whole_json(
        status,
        &json!({ "error": { "message": message, "type": status.canonical_reason(), "code": status.as_u16() } }),
    )
}

fn whole_json(status: StatusCode, value: &Value) -> Response<Answer> {
    whole(status, "application/json", value.to_string())
}

fn whole(status: StatusCode, content_type: &'static str, body: String) -> Response<Answer> {
    response(status, content_type, Answer::Whole(Some(body.into())))
}

fn response(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
