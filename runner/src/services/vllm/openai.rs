//! OpenAI's completions and chat: how a request is written and what an event says.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Api, sse};
use crate::{
    load::Endpoint,
    services::{
        http,
        llm::{
            error_text, message,
            prompts::{Ask, Conversation, Wire},
            stream::{Chunk, Dialect},
        },
    },
};

/// What every request of a load has in common.
#[derive(Clone, Debug)]
pub struct OpenAi {
    pub api: Api,
    pub ignore_eos: bool,
    pub min_tokens: Option<u32>,
    pub temperature: f64,
    /// Header lines.
    pub headers: String,
}

/// The header line that shows the key, if there is one.
pub fn key_header(service_settings: &Value) -> String {
    let key = service_settings.get("api_key").and_then(Value::as_str);
    key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"))
}

impl Dialect for OpenAi {
    type Framing = sse::Reader;

    fn operation(&self) -> &'static [&'static str] {
        match self.api {
            Api::Completions => &["completion"],
            Api::Chat => &["chat"],
        }
    }

    fn server_times(&self) -> &'static [&'static str] {
        &["ttft"]
    }

    fn path(&self) -> &'static str {
        match self.api {
            Api::Completions => "/v1/completions",
            Api::Chat => "/v1/chat/completions",
        }
    }

    fn headers(&self) -> &str {
        &self.headers
    }

    fn write_body(
        &self,
        model: &str,
        ask: &Ask<'_>,
        max_tokens: Option<u32>,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let exact = max_tokens.filter(|_| self.ignore_eos);
        let least = self.min_tokens.map(|least| max_tokens.map_or(least, |most| least.min(most)));
        let is_chat = self.api == Api::Chat;
        let body = Body {
            model,
            temperature: self.temperature,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            prompt: (!is_chat).then(|| ask.wire()),
            messages: is_chat.then(|| ask.conversation()),
            max_tokens,
            ignore_eos: self.ignore_eos,
            min_tokens: least.or(exact),
        };
        serde_json::to_writer(out, &body)
    }

    /// What was started, if it is among what is served; else the first.
    async fn served_model(&self, endpoint: &Endpoint, service_settings: &Value) -> Result<String, String> {
        let models = served_models(endpoint, &self.headers).await?;
        let started = served_name(service_settings);
        let found = models.iter().find(|model| Some(model.as_str()) == started).or(models.first());
        found.cloned().ok_or_else(|| "the server serves no model".into())
    }

    fn read(&self, data: &[u8]) -> Result<Chunk, String> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Chunk { finished: true, ..Chunk::default() });
        }
        let event: Event =
            serde_json::from_slice(data).map_err(|err| format!("wrong answer: an event that is no chunk: {err}"))?;
        if let Some(error) = event.error {
            return Err(format!("error in the stream: {}", error_text(&error)));
        }
        let choices = event.choices.unwrap_or_default();
        let usage = event.usage.unwrap_or_default();
        Ok(Chunk {
            part: !choices.is_empty(),
            content: choices.iter().any(Choice::has_content),
            finished: choices.iter().any(|choice| choice.finish_reason.is_some()),
            input_tokens: usage.prompt_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
            output_tokens: usage.completion_tokens,
            sent_ns: event.sent_ns,
            received_ns: event.received_ns,
            server_ns: Vec::new(),
        })
    }

    fn unended(&self) -> &'static str {
        "stream ended before [DONE]"
    }
}

/// The name under which a service with these settings serves its model.
pub fn served_name(service_settings: &Value) -> Option<&str> {
    let text = |key: &str| service_settings.get(key).and_then(Value::as_str);
    text("served_model_name").or(text("model"))
}

/// The names that `/v1/models` lists.
pub async fn served_models(endpoint: &Endpoint, headers: &str) -> Result<Vec<String>, String> {
    let (status, body) = http::get_with(endpoint, "/v1/models", headers).await?;
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

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    temperature: f64,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Wire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Conversation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_eos: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
    /// The simulator's own stamps.
    sent_ns: Option<u64>,
    received_ns: Option<u64>,
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
    /// Models that think stream their thoughts first; these are output tokens too. Servers name them in two ways.
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
}

impl Choice<'_> {
    fn has_content(&self) -> bool {
        let some = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| !text.is_empty());
        let in_delta =
            |delta: &Delta<'_>| some(&delta.content) || some(&delta.reasoning_content) || some(&delta.reasoning);
        some(&self.text) || self.delta.as_ref().is_some_and(in_delta)
    }
}

#[derive(Default, Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}
