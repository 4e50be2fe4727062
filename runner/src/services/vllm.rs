//! vLLM: the server, and the clients that stream completions from any OpenAI-compatible server.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BoxFuture, ClientType, Launch, LaunchRequest, Probe, SecretSetting, ServiceType,
    exposition::{self, Figure},
    http, llm,
};
use crate::load::Endpoint;

mod clients;
mod openai;
mod sse;
#[cfg(test)]
mod tests;

pub use clients::{Api, VllmSmoke, VllmStress};

pub const DEFAULT_MODEL: &str = "facebook/opt-125m";

pub struct Vllm;

/// `service.settings` of `vllm`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VllmSettings {
    /// Model to serve, by its name on the hub or a path.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Name that clients ask for, when it is not the model's own.
    pub served_model_name: Option<String>,
    /// GPUs that share one copy of the model.
    #[schemars(range(min = 1, max = 1024))]
    pub tensor_parallel_size: u32,
    /// Stages that the model's layers are cut into, each on other GPUs.
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline_parallel_size: Option<u32>,
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
    /// Number format of the KV cache, for example `fp8`.
    pub kv_cache_dtype: Option<String>,
    /// Most requests that run at the same time.
    #[schemars(range(min = 1))]
    pub max_num_seqs: Option<u32>,
    /// Most tokens in one step of the scheduler.
    #[schemars(range(min = 1))]
    pub max_num_batched_tokens: Option<u32>,
    /// Whether prompts that begin alike share their KV cache; vLLM's default when not given.
    pub enable_prefix_caching: Option<bool>,
    /// Folder of the hub's cache (`HF_HOME`), where models are looked for and kept.
    pub hf_home: Option<String>,
    /// Access token of the hub (`HF_TOKEN`), for models that need one.
    pub hf_token: Option<String>,
    /// Key that every request must show; one is drawn for every start when not given.
    pub api_key: Option<String>,
    /// Further arguments of `vllm serve`, as they are.
    pub extra_args: Option<Vec<String>>,
    /// Port to listen on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

impl Default for VllmSettings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.into(),
            served_model_name: None,
            tensor_parallel_size: 1,
            pipeline_parallel_size: None,
            max_model_len: None,
            gpu_memory_utilization: None,
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            enable_prefix_caching: None,
            hf_home: None,
            hf_token: None,
            api_key: None,
            extra_args: None,
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

    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[SecretSetting { setting: "api_key", variable: "VLLM_API_KEY" }]
    }

    fn data_settings(&self) -> &'static [&'static str] {
        &["model"]
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&VllmSmoke, &VllmStress]
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
        flag("--served-model-name", settings.served_model_name);
        flag("--pipeline-parallel-size", settings.pipeline_parallel_size.map(|stages| stages.to_string()));
        flag("--kv-cache-dtype", settings.kv_cache_dtype);
        flag("--max-num-seqs", settings.max_num_seqs.map(|most| most.to_string()));
        flag("--max-num-batched-tokens", settings.max_num_batched_tokens.map(|most| most.to_string()));
        args.extend(settings.enable_prefix_caching.map(|shared| {
            let name = if shared { "--enable-prefix-caching" } else { "--no-enable-prefix-caching" };
            name.to_owned()
        }));
        // Without it the answer says nothing of what came from the prompt cache.
        args.push("--enable-prompt-tokens-details".to_owned());
        args.extend(settings.extra_args.unwrap_or_default());
        let env = [("HF_HOME", settings.hf_home), ("HF_TOKEN", settings.hf_token), ("VLLM_API_KEY", settings.api_key)];
        let env = env.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok(Launch { program: "vllm".into(), args, env, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint, settings))
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

/// Whether an OpenAI-compatible server with vLLM's `/health` serves what the settings of the service name.
pub async fn probe(endpoint: &Endpoint, settings: &Value) -> Probe {
    match http::get(endpoint, "/health").await {
        Ok((200, _)) => {}
        Ok((status @ 500.., body)) => {
            return Probe::NotYet(format!("/health: status {status}: {}", llm::message(&body)));
        }
        Ok((status, _)) => {
            return Probe::Wrong(format!("{endpoint} is no vLLM: its /health answers with status {status}"));
        }
        Err(err) if err.starts_with("wrong answer") => return Probe::Wrong(format!("{endpoint} is no vLLM: {err}")),
        Err(err) => return Probe::NotYet(err),
    }
    let served = openai::served_models(endpoint, &openai::key_header(settings)).await;
    match (served, openai::served_name(settings)) {
        // It will not take the key later either.
        (Err(err), _) if err.contains("status 401") || err.contains("status 403") => {
            return Probe::Wrong(format!("{endpoint} refuses the key (`service.settings.api_key`): {err}"));
        }
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
