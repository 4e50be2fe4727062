//! Ollama's generate and chat: how a request is written and what a line says.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{models, ndjson, same_model};
use crate::{
    load::Endpoint,
    services::llm::{
        error_text,
        prompts::{Ask, Conversation},
        stream::{Chunk, Dialect},
    },
};

/// Between two questions whether the server is there.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Generate,
    Chat,
}

/// What every request of a load has in common.
#[derive(Clone, Debug)]
pub struct OllamaApi {
    pub path: Path,
    /// `options` of every request, beside the length of its answer.
    pub options: Value,
    pub keep_alive: Option<String>,
    pub think: Option<bool>,
    /// How often to ask again whether the server answers, before the first request.
    pub max_retries: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    options: Options<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Conversation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<KeepAlive<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<bool>,
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(flatten)]
    given: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KeepAlive<'a> {
    Seconds(i64),
    Text(&'a str),
}

impl Dialect for OllamaApi {
    type Framing = ndjson::Reader;

    fn operation(&self) -> &'static [&'static str] {
        match self.path {
            Path::Generate => &["generate"],
            Path::Chat => &["chat"],
        }
    }

    fn server_times(&self) -> &'static [&'static str] {
        &["total", "load", "prompt_eval", "eval", "ttft"]
    }

    fn path(&self) -> &'static str {
        match self.path {
            Path::Generate => "/api/generate",
            Path::Chat => "/api/chat",
        }
    }

    fn headers(&self) -> &str {
        ""
    }

    fn write_body(
        &self,
        model: &str,
        ask: &Ask<'_>,
        max_tokens: Option<u32>,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let is_chat = self.path == Path::Chat;
        let body = Body {
            model,
            stream: true,
            options: Options { given: &self.options, num_predict: max_tokens },
            prompt: (!is_chat).then_some(ask.text),
            messages: is_chat.then(|| ask.conversation()),
            // A number of seconds is a number in the API, a duration a text.
            keep_alive: self.keep_alive.as_deref().map(|text| match text.parse() {
                Ok(seconds) => KeepAlive::Seconds(seconds),
                Err(_) => KeepAlive::Text(text),
            }),
            think: self.think,
        };
        serde_json::to_writer(out, &body)
    }

    async fn served_model(&self, endpoint: &Endpoint, service_settings: &Value) -> Result<String, String> {
        let models = models(endpoint).await?;
        let started = service_settings.get("model").and_then(Value::as_str);
        let found = models.iter().find(|name| started.is_some_and(|model| same_model(name, model)));
        found.or(models.first()).cloned().ok_or_else(|| "the server has no model".into())
    }

    async fn await_server(&self, endpoint: &Endpoint, timeout: Duration) -> Result<(), String> {
        let Some(retries) = self.max_retries else { return Ok(()) };
        let mut left = retries;
        loop {
            let reason = match tokio::time::timeout(timeout, models(endpoint)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(reason)) => reason,
                Err(_) => "no answer in time".into(),
            };
            if left == 0 {
                return Err(format!("no answer to /api/tags after {retries} retries (`max_retries`): {reason}"));
            }
            left -= 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn read(&self, line: &[u8]) -> Result<Chunk, String> {
        let line: Line =
            serde_json::from_slice(line).map_err(|err| format!("wrong answer: a line that is no answer: {err}"))?;
        if let Some(error) = line.error {
            return Err(format!("error in the stream: {}", error_text(&error)));
        }
        let some = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| !text.is_empty());
        let in_message = |message: &Message<'_>| some(&message.content) || some(&message.thinking);
        let content = some(&line.response) || some(&line.thinking) || line.message.as_ref().is_some_and(in_message);
        let mut chunk = Chunk {
            part: !line.done || content,
            content,
            finished: line.done,
            sent_ns: line.sent_ns,
            received_ns: line.received_ns,
            ..Chunk::default()
        };
        if line.done {
            chunk.input_tokens = line.prompt_eval_count;
            chunk.output_tokens = line.eval_count;
            let times = [line.total_duration, line.load_duration, line.prompt_eval_duration, line.eval_duration];
            if times.iter().any(Option::is_some) {
                chunk.server_ns = times.to_vec();
            }
        }
        Ok(chunk)
    }

    fn unended(&self) -> &'static str {
        "stream ended before its last line (`done`)"
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    response: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(default)]
    done: bool,
    error: Option<Value>,
    total_duration: Option<u64>,
    load_duration: Option<u64>,
    prompt_eval_count: Option<u64>,
    prompt_eval_duration: Option<u64>,
    eval_count: Option<u64>,
    eval_duration: Option<u64>,
    /// The simulator's own stamps.
    sent_ns: Option<u64>,
    received_ns: Option<u64>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
}
