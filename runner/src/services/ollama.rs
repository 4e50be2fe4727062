//! Ollama: the server, the fetching of its model, and the clients that stream its answers.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    BoxFuture, ClientType, Launch, LaunchRequest, Probe, ServiceType,
    http::{self, Http},
    llm::{message, stream::Framing},
};
use crate::{load::Endpoint, units};

mod api;
mod clients;
mod ndjson;
#[cfg(test)]
mod tests;

pub use clients::{OllamaSmoke, OllamaStress};

pub struct Ollama;

/// `service.settings` of `ollama`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OllamaSettings {
    /// Model to serve, by its name in Ollama's library; pulled when the server does not have it.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Pause between the server's first answer and the pull of a model that it does not have.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_seconds: Option<f64>,
    /// Requests that one model answers at the same time (`OLLAMA_NUM_PARALLEL`).
    #[schemars(range(min = 1))]
    pub num_parallel: Option<u32>,
    /// Requests that may wait (`OLLAMA_MAX_QUEUE`); more are refused with status 503.
    #[schemars(range(min = 1))]
    pub max_queue: Option<u32>,
    /// Models in memory at the same time (`OLLAMA_MAX_LOADED_MODELS`).
    #[schemars(range(min = 1))]
    pub max_loaded_models: Option<u32>,
    /// How long an idle model stays in memory (`OLLAMA_KEEP_ALIVE`), for example `30m`; `-1` for ever.
    pub keep_alive: Option<String>,
    /// Longest context in tokens (`OLLAMA_CONTEXT_LENGTH`).
    #[schemars(range(min = 1))]
    pub context_length: Option<u32>,
    /// Flash attention (`OLLAMA_FLASH_ATTENTION`).
    pub flash_attention: Option<bool>,
    /// Number format of the KV cache (`OLLAMA_KV_CACHE_TYPE`), for example `q8_0`.
    pub kv_cache_type: Option<String>,
    /// Folder of the models (`OLLAMA_MODELS`); where Ollama keeps them when not given.
    pub models_dir: Option<String>,
    /// Port to listen on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

impl Default for OllamaSettings {
    fn default() -> Self {
        Self {
            model: "llama2".into(),
            warmup_seconds: None,
            num_parallel: None,
            max_queue: None,
            max_loaded_models: None,
            keep_alive: None,
            context_length: None,
            flash_attention: None,
            kv_cache_type: None,
            models_dir: None,
            port: None,
        }
    }
}

impl ServiceType for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("ollama/ollama:0.12.6")
    }

    fn default_port(&self) -> Option<u16> {
        Some(11434)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(OllamaSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&OllamaSmoke, &OllamaStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = OllamaSettings::deserialize(request.settings)?;
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let endpoint = Endpoint { host: request.host.to_owned(), port: request.port };
        let env = [
            ("OLLAMA_HOST", Some(endpoint.to_string())),
            ("OLLAMA_NUM_PARALLEL", number(settings.num_parallel)),
            ("OLLAMA_MAX_QUEUE", number(settings.max_queue)),
            ("OLLAMA_MAX_LOADED_MODELS", number(settings.max_loaded_models)),
            ("OLLAMA_KEEP_ALIVE", settings.keep_alive),
            ("OLLAMA_CONTEXT_LENGTH", number(settings.context_length)),
            ("OLLAMA_FLASH_ATTENTION", settings.flash_attention.map(|on| u8::from(on).to_string())),
            ("OLLAMA_KV_CACHE_TYPE", settings.kv_cache_type),
            ("OLLAMA_MODELS", settings.models_dir),
        ];
        let env: BTreeMap<String, String> =
            env.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok(Launch { program: "ollama".into(), args: vec!["serve".into()], env, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint, settings.get("model").and_then(Value::as_str)))
    }

    fn model_digest<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move { digest(endpoint, settings.get("model")?.as_str()?).await })
    }

    fn fetch<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        settings: &'a Value,
        progress: &'a mut dyn FnMut(String),
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let settings = OllamaSettings::deserialize(settings).map_err(|err| err.to_string())?;
            tokio::time::sleep(Duration::from_secs_f64(settings.warmup_seconds.unwrap_or(0.0))).await;
            pull(endpoint, &settings.model, progress).await
        })
    }
}

/// What the server says is the digest of `model`.
async fn digest(endpoint: &Endpoint, model: &str) -> Option<String> {
    let listed = listed(endpoint).await.ok()?;
    listed.into_iter().find(|known| same_model(&known.name, model))?.digest.filter(|digest| !digest.is_empty())
}

/// Whether two names mean one model: without a tag, `latest` is meant.
fn same_model(one: &str, other: &str) -> bool {
    let whole = |name: &str| match name.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        true => name.to_owned(),
        false => format!("{name}:latest"),
    };
    whole(one) == whole(other)
}

/// The names that `/api/tags` lists.
async fn models(endpoint: &Endpoint) -> Result<Vec<String>, String> {
    Ok(listed(endpoint).await?.into_iter().map(|model| model.name).collect())
}

/// A model that the server has.
#[derive(Deserialize)]
struct Listed {
    name: String,
    digest: Option<String>,
}

async fn listed(endpoint: &Endpoint) -> Result<Vec<Listed>, String> {
    let (status, body) = http::get(endpoint, "/api/tags").await?;
    if status != 200 {
        return Err(format!("GET /api/tags: status {status}: {}", message(&body)));
    }
    #[derive(Deserialize)]
    struct Tags {
        models: Option<Vec<Listed>>,
    }
    let tags: Tags = serde_json::from_slice(&body).map_err(|err| format!("wrong answer: GET /api/tags: {err}"))?;
    Ok(tags.models.unwrap_or_default())
}

/// Whether an Ollama server has `model`, if one is named.
async fn probe(endpoint: &Endpoint, model: Option<&str>) -> Probe {
    let models = match models(endpoint).await {
        Ok(models) => models,
        Err(err) if err.contains("wrong answer") || err.contains("status 404") => {
            return Probe::Wrong(format!("{endpoint} is no Ollama: {err}"));
        }
        Err(err) => return Probe::NotYet(err),
    };
    if let Some(model) = model
        && !models.iter().any(|name| same_model(name, model))
    {
        return Probe::Missing(format!("the model `{model}`"));
    }
    let version = match http::get(endpoint, "/api/version").await {
        Ok((200, body)) => serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|answer| answer.get("version").and_then(Value::as_str).map(str::to_owned)),
        _ => None,
    };
    Probe::Ready { version }
}

/// Has the server pull a model, and hands on what it says of it.
async fn pull(endpoint: &Endpoint, model: &str, progress: &mut dyn FnMut(String)) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Line {
        status: Option<String>,
        total: Option<u64>,
        completed: Option<u64>,
        error: Option<Value>,
    }
    let body = json!({ "model": model, "stream": true }).to_string();
    let mut http = Http::connect(endpoint).await?;
    let request = format!(
        "POST /api/pull HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http.send(request.as_bytes()).await?;
    let head = http.head().await?;
    let (mut lines, mut last, mut refused) = (ndjson::Reader::default(), String::new(), Vec::new());
    let mut failure = None;
    loop {
        let mut arrived = Vec::new();
        let done = http.body(&mut arrived).await?.done;
        if head.status != 200 {
            refused.extend_from_slice(&arrived);
            if done || refused.len() > 64 << 10 {
                return Err(format!("status {}: {}", head.status, message(&refused)));
            }
            continue;
        }
        let mut take = |line: &[u8]| match serde_json::from_slice::<Line>(line) {
            Err(err) => failure = Some(format!("wrong answer: a line that is no progress: {err}")),
            Ok(Line { error: Some(error), .. }) => failure = Some(super::llm::error_text(&error)),
            Ok(Line { status, total, completed, .. }) => {
                last = status.unwrap_or_default();
                progress(match total.filter(|total| *total > 0) {
                    Some(total) => {
                        let percent = completed.unwrap_or(0) as f64 / total as f64 * 100.0;
                        format!("{last}: {percent:.0} % of {}", units::bytes(total))
                    }
                    None => last.clone(),
                });
            }
        };
        lines.feed(&arrived, &mut take)?;
        if done {
            lines.finish(&mut take);
        }
        match failure {
            Some(failure) => return Err(failure),
            None if done && last == "success" => return Ok(()),
            None if done => return Err(format!("the pull ended after `{last}`, without success")),
            None => {}
        }
    }
}
