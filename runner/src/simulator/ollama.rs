//! Ollama's API, as the simulator answers it: generate and chat, its one model, and pulling that.

use std::{rc::Rc, time::Duration};

use archive::Timestamp;
use hyper::{Request, Response, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{
        Answer, DEFAULT_MAX_TOKENS, TokenStream, Wording, body_of, response, stamps, streamed_token, token, whole,
        whole_json, words,
    },
    engine::{Engine, Passage, Step},
};
use crate::load::truth::unix_ns;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Generate,
    Chat,
}

/// What a request says, as far as it matters here.
#[derive(Deserialize)]
struct Question {
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(default = "streams")]
    stream: bool,
    #[serde(default)]
    think: bool,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Options {
    num_predict: Option<i64>,
}

/// Ollama streams unless told otherwise.
fn streams() -> bool {
    true
}

/// The model's name as Ollama gives it, with a tag.
fn tagged(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

fn model_facts(engine: &Engine) -> Value {
    let name = tagged(&engine.settings.model);
    // What it answers follows from its settings alone.
    let digest = archive::sha256_hex(&serde_json::to_vec(&engine.settings).unwrap_or_default());
    json!({ "name": name, "model": name, "size": 0, "digest": digest, "details": { "family": "simulator" } })
}

/// Every model that is there.
pub fn tags(engine: &Engine) -> Value {
    json!({ "models": [model_facts(engine)] })
}

/// Every model that is in memory.
pub fn loaded(engine: &Engine) -> Value {
    let models: Vec<Value> = engine.is_loaded().then(|| model_facts(engine)).into_iter().collect();
    json!({ "models": models })
}

/// Pulls the one model, which is there already.
pub async fn pull(engine: &Engine, request: Request<Incoming>) -> Response<Answer> {
    #[derive(Deserialize)]
    struct Pull {
        #[serde(alias = "name")]
        model: String,
        #[serde(default = "streams")]
        stream: bool,
    }
    let Some(Ok(pull)) = body_of(request).await.map(|body| serde_json::from_slice::<Pull>(&body)) else {
        return error(StatusCode::BAD_REQUEST, "model is required");
    };
    let mut lines = vec![json!({ "status": "pulling manifest" })];
    match tagged(&pull.model) == tagged(&engine.settings.model) {
        true => lines.push(json!({ "status": "success" })),
        false => lines.push(json!({ "error": "pull model manifest: file does not exist" })),
    }
    if !pull.stream {
        lines.remove(0);
    }
    let body = lines.iter().map(|line| format!("{line}\n")).collect();
    whole(StatusCode::OK, "application/x-ndjson", body)
}

/// Answers a request for an answer of the model.
pub async fn generate(engine: Rc<Engine>, request: Request<Incoming>, api: Api) -> Response<Answer> {
    let Some(body) = body_of(request).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the request cannot be read");
    };
    let received_ns = unix_ns();
    let question: Question = match serde_json::from_slice(&body) {
        Ok(question) => question,
        Err(err) => return error(StatusCode::BAD_REQUEST, &err.to_string()),
    };
    if tagged(&question.model) != tagged(&engine.settings.model) {
        return error(StatusCode::NOT_FOUND, &format!("model '{}' not found", question.model));
    }
    let of_messages = question.messages.iter().flatten().filter_map(|message| message.content.as_ref()).map(words);
    let of_prompt = question.prompt.iter().map(|prompt| prompt.split_whitespace().count() as u64);
    let input: u64 = of_messages.chain(of_prompt).sum();
    // Below zero, it is the model that decides when it has said enough.
    let asked = question.options.num_predict.and_then(|most| u64::try_from(most).ok());
    let output = asked.unwrap_or(DEFAULT_MAX_TOKENS).max(1);
    if !engine.fits(input.saturating_add(output)) {
        return error(StatusCode::BAD_REQUEST, "the request is longer than the KV limit");
    }
    let number = engine.arrive();
    if engine.fails(number) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "simulated failure");
    }
    let mut passage = Passage::new(engine.clone(), number, input, output);
    let thoughts = if question.think { output / 2 } else { 0 };
    let mut wording = Lines { engine, api, model: question.model, thoughts, input, output, received_ns };
    if question.stream {
        let body = Answer::Stream(Box::new(TokenStream { passage, wording: Box::new(wording), ended: false }));
        return response(StatusCode::OK, "application/x-ndjson", body);
    }
    let (mut text, mut thinking) = (String::new(), String::new());
    while let Some(step) = passage.next().await {
        if let Step::Token { number, .. } = step {
            if number <= thoughts { &mut thinking } else { &mut text }.push_str(&token(number));
        }
    }
    let line = wording.last_line(&text, &thinking, &passage);
    whole(StatusCode::OK, "application/json", line)
}

/// Lines of JSON.
struct Lines {
    engine: Rc<Engine>,
    api: Api,
    model: String,
    /// The first so many tokens are thoughts.
    thoughts: u64,
    input: u64,
    output: u64,
    received_ns: u64,
}

impl Lines {
    /// An object with what was said, and `rest` behind it.
    fn line(&self, text: &str, thinking: &str, rest: &str) -> String {
        let (model, now) = (json!(self.model), Timestamp::now());
        let thoughts = match thinking {
            "" => String::new(),
            thinking => format!(",\"thinking\":\"{thinking}\""),
        };
        let said = match self.api {
            Api::Generate => format!("\"response\":\"{text}\"{thoughts}"),
            Api::Chat => format!("\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"{thoughts}}}"),
        };
        let stamps = stamps(&self.engine, self.received_ns);
        format!("{{\"model\":{model},\"created_at\":\"{now}\",{said},{rest}{stamps}}}\n")
    }

    /// The line that ends an answer, with what the server knows of it.
    fn last_line(&mut self, text: &str, thinking: &str, passage: &Passage) -> String {
        let times = passage.times();
        let ns = |time: Duration| time.as_nanos();
        let rest = format!(
            "\"done\":true,\"done_reason\":\"length\",\"total_duration\":{},\"load_duration\":{},\"prompt_eval_count\":{},\
             \"prompt_eval_duration\":{},\"eval_count\":{},\"eval_duration\":{}",
            ns(times.arrived.elapsed()),
            ns(times.load),
            self.input,
            ns(times.prefill),
            self.output,
            ns(times.decode)
        );
        self.line(text, thinking, &rest)
    }
}

impl Wording for Lines {
    fn prefilled(&mut self) -> Option<String> {
        None
    }

    fn token(&mut self, number: u64, last: bool, passage: &Passage) -> String {
        let word = streamed_token(&self.engine, number, self.received_ns);
        let (text, thinking) = if number <= self.thoughts { ("", word.as_str()) } else { (word.as_str(), "") };
        let mut lines = self.line(text, thinking, "\"done\":false");
        if last {
            lines.push_str(&self.last_line("", "", passage));
        }
        lines
    }
}

pub fn error(status: StatusCode, message: &str) -> Response<Answer> {
    whole_json(status, &json!({ "error": message }))
}
