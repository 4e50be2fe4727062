//! vLLM: the server, and the clients that stream completions from any OpenAI-compatible server.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BoxFuture, Calibrated, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, ServiceType,
    exposition::{self, Figure},
    http,
};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod sse;
mod stream;
#[cfg(test)]
mod tests;

pub const DEFAULT_MODEL: &str = "facebook/opt-125m";

pub struct Vllm;

/// `service.settings` of `vllm`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VllmSettings {
    /// Model to serve, by its name on the hub or a path.
    #[schemars(length(min = 1))]
    pub model: String,
    /// GPUs that share one copy of the model.
    #[schemars(range(min = 1, max = 1024))]
    pub tensor_parallel_size: u32,
    /// Longest context in tokens; the model's own when not given.
    #[schemars(range(min = 1))]
    pub max_model_len: Option<u64>,
    /// Share of the GPU's memory that vLLM may use.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub gpu_memory_utilization: Option<f64>,
    /// Number format of the weights, for example `bfloat16`.
    pub dtype: Option<String>,
    /// Quantisation method, for example `awq`.
    pub quantization: Option<String>,
    /// Port to listen on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

impl Default for VllmSettings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.into(),
            tensor_parallel_size: 1,
            max_model_len: None,
            gpu_memory_utilization: None,
            dtype: None,
            quantization: None,
            port: None,
        }
    }
}

impl ServiceType for Vllm {
    fn name(&self) -> &'static str {
        "vllm"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("vllm/vllm-openai:v0.6.6")
    }

    fn default_port(&self) -> Option<u16> {
        Some(8000)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(VllmSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        CLIENTS
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = VllmSettings::deserialize(request.settings)?;
        let mut args = vec!["serve".to_owned(), settings.model];
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([name.to_owned(), value]);
            }
        };
        flag("--host", Some(request.host.to_owned()));
        flag("--port", Some(request.port.to_string()));
        let parallel = settings.tensor_parallel_size;
        flag("--tensor-parallel-size", (parallel > 1).then(|| parallel.to_string()));
        flag("--max-model-len", settings.max_model_len.map(|length| length.to_string()));
        flag("--gpu-memory-utilization", settings.gpu_memory_utilization.map(|share| share.to_string()));
        flag("--dtype", settings.dtype);
        flag("--quantization", settings.quantization);
        Ok(Launch { program: "vllm".into(), args, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint, settings.get("model").and_then(Value::as_str)))
    }

    fn figures<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, BTreeMap<String, f64>> {
        Box::pin(figures(endpoint))
    }
}

/// Name in the archive, vLLM's names for it from new to old, and what to multiply with.
const FIGURES: &[Figure] = &[
    ("requests_running", &["vllm:num_requests_running"], 1.0),
    ("requests_waiting", &["vllm:num_requests_waiting"], 1.0),
    ("kv_cache_used_percent", &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"], 100.0),
    ("preemptions_total", &["vllm:num_preemptions_total", "vllm:num_preemptions"], 1.0),
];

/// The queue and the KV cache, from the `/metrics` of vLLM or of what looks like it.
pub async fn figures(endpoint: &Endpoint) -> BTreeMap<String, f64> {
    match http::get(endpoint, "/metrics").await {
        Ok((200, body)) => exposition::pick(&String::from_utf8_lossy(&body), FIGURES),
        _ => BTreeMap::new(),
    }
}

/// Whether an OpenAI-compatible server with vLLM's `/health` serves `model`, if one is named.
pub async fn probe(endpoint: &Endpoint, model: Option<&str>) -> Probe {
    match http::get(endpoint, "/health").await {
        Ok((200, _)) => {}
        Ok((status @ 500.., body)) => {
            return Probe::NotYet(format!("/health: status {status}: {}", stream::message(&body)));
        }
        Ok((status, _)) => {
            return Probe::Wrong(format!("{endpoint} is no vLLM: its /health answers with status {status}"));
        }
        Err(err) if err.starts_with("wrong answer") => return Probe::Wrong(format!("{endpoint} is no vLLM: {err}")),
        Err(err) => return Probe::NotYet(err),
    }
    match (stream::served_models(endpoint).await, model) {
        (Err(err), _) => return Probe::NotYet(err),
        (Ok(served), Some(model)) if !served.iter().any(|name| name == model) => {
            return Probe::Wrong(format!("{endpoint} serves {}, not {model}", served.join(", ")));
        }
        _ => {}
    }
    let version = match http::get(endpoint, "/version").await {
        Ok((200, body)) => serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|answer| answer.get("version").and_then(Value::as_str).map(str::to_owned)),
        _ => None,
    };
    Probe::Ready { version }
}

/// The clients of every OpenAI-compatible service.
pub static CLIENTS: &[&dyn ClientType] = &[&VllmClient { smoke: true }, &VllmClient { smoke: false }];

/// `vllm_smoke` (one request by default) and `vllm_stress`.
struct VllmClient {
    smoke: bool,
}

/// `client.settings` of `vllm_smoke`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VllmSmokeSettings {
    /// Model to ask for; the service's own when not given.
    pub model: Option<String>,
    /// The prompt; the same one for every request.
    pub prompt: String,
    /// Most output tokens of a request.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// `completions` or `chat`.
    pub api: Api,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

/// `client.settings` of `vllm_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VllmStressSettings {
    /// Model to ask for; the service's own when not given.
    pub model: Option<String>,
    /// The prompt of every request; without it each request gets a prompt of its own, different from the
    /// first token on, so that no prefix cache answers.
    pub prompt: Option<String>,
    /// Input length of generated prompts, in words (about as many tokens).
    #[schemars(range(min = 1, max = 1000000))]
    pub prompt_length: u32,
    /// Most output tokens of a request.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Ask for exactly `max_tokens` tokens (`ignore_eos`), so that every request is the same work.
    pub ignore_eos: bool,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Another name of `num_requests`.
    #[schemars(range(min = 1))]
    pub transactions: Option<u64>,
    /// Requests each client keeps in flight.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrent_requests: u32,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// `completions` or `chat`.
    pub api: Api,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    Completions,
    Chat,
}

impl Default for VllmSmokeSettings {
    fn default() -> Self {
        Self {
            model: None,
            prompt: "Hello".into(),
            max_tokens: 50,
            num_requests: 1,
            warmup_delay: 0.0,
            api: Api::Completions,
            threads: None,
        }
    }
}

impl Default for VllmStressSettings {
    fn default() -> Self {
        Self {
            model: None,
            prompt: None,
            prompt_length: 32,
            max_tokens: 64,
            ignore_eos: true,
            num_requests: 50,
            transactions: None,
            concurrent_requests: 1,
            warmup_delay: 0.0,
            api: Api::Completions,
            threads: None,
        }
    }
}

impl ClientType for VllmClient {
    fn name(&self) -> &'static str {
        if self.smoke { "vllm_smoke" } else { "vllm_stress" }
    }

    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Tokens]
    }

    fn settings_schema(&self) -> Schema {
        if self.smoke { schema_for!(VllmSmokeSettings) } else { schema_for!(VllmStressSettings) }
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        if self.smoke {
            let settings = VllmSmokeSettings::deserialize(settings)?;
            return Ok(LoadDefaults {
                requests_per_client: settings.num_requests,
                concurrency_per_client: 1,
                pipeline: 1,
                warmup_delay_s: settings.warmup_delay,
                threads: settings.threads,
            });
        }
        let settings = VllmStressSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.transactions.unwrap_or(settings.num_requests),
            concurrency_per_client: settings.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn calibrated(&self) -> Calibrated {
        Calibrated::Streaming
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let question = if self.smoke {
            let settings = VllmSmokeSettings::deserialize(&job.settings)?;
            stream::Question {
                model: settings.model,
                prompt: stream::Prompt::Fixed(settings.prompt),
                max_tokens: settings.max_tokens,
                ignore_eos: false,
                api: settings.api,
            }
        } else {
            let settings = VllmStressSettings::deserialize(&job.settings)?;
            let words = settings.prompt_length;
            stream::Question {
                model: settings.model,
                prompt: settings.prompt.map_or(stream::Prompt::Drawn { words }, stream::Prompt::Fixed),
                max_tokens: settings.max_tokens,
                ignore_eos: settings.ignore_eos,
                api: settings.api,
            }
        };
        load::drive(stream::StreamLoad::new(job, question), job, control)
    }
}
