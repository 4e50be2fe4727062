//! `ollama_smoke` and `ollama_stress`: streamed answers of an Ollama server.

use anyhow::{Result, anyhow};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{OllamaApi, Path};
use crate::{
    load::{self, Control, LoadJob, LoadReport},
    services::{
        Calibrated, ClientType, FileSetting, LoadDefaults,
        llm::{
            self,
            prompts::{self, Form, Lengths, Prompts},
            stream::{Question, StreamLoad},
        },
    },
};

pub struct OllamaSmoke;
pub struct OllamaStress;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    Generate,
    Chat,
}

impl From<Api> for Path {
    fn from(api: Api) -> Self {
        match api {
            Api::Generate => Self::Generate,
            Api::Chat => Self::Chat,
        }
    }
}

/// `client.settings` of `ollama_smoke`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OllamaSmokeSettings {
    /// Model to ask for; the service's own when not given.
    pub model: Option<String>,
    /// The prompt; the same one for every request.
    #[schemars(length(min = 1))]
    pub prompt: String,
    /// Most output tokens of a request; as many as the model likes when not given.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u32>,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// How often to ask again, once a second, whether the server answers, before the first request.
    #[schemars(range(min = 0, max = 100000))]
    pub max_retries: Option<u32>,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// `generate` or `chat`.
    pub api: Api,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

/// `client.settings` of `ollama_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OllamaStressSettings {
    /// Model to ask for; the service's own when not given.
    pub model: Option<String>,
    /// The prompt of every request; without it each request gets a prompt of its own, different from the
    /// first token on, so that no prompt cache answers.
    #[schemars(length(min = 1))]
    pub prompt: Option<String>,
    /// A JSONL file of prompts, dealt out in turn: an object a line with `prompt` or `messages`, and perhaps
    /// `max_tokens`. Its path counts from the folder of the file that is run.
    #[schemars(length(min = 1))]
    pub prompt_file: Option<String>,
    /// What the file must have; found out when not given.
    #[schemars(length(min = 64, max = 64))]
    pub prompt_file_sha256: Option<String>,
    /// Input length of generated prompts, in words: about as many tokens, as the API takes none.
    #[schemars(range(min = 1, max = 1000000))]
    pub prompt_length: u32,
    /// Input lengths that differ from request to request, in place of `prompt_length`.
    pub prompt_lengths: Option<Lengths>,
    /// Words that all generated prompts begin with, before those of their own: what a prompt cache can keep.
    #[schemars(range(min = 1, max = 1000000))]
    pub shared_prefix_length: Option<u32>,
    /// Most output tokens of a request (`num_predict`).
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Output lengths that differ from request to request, in place of `max_tokens`.
    pub output_lengths: Option<Lengths>,
    /// Randomness of the answer; 0, always the likeliest token, when not given.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// Longest context in tokens (`num_ctx`). Another one than the model is loaded with makes the server load it anew.
    #[schemars(range(min = 1))]
    pub num_ctx: Option<u32>,
    /// How long the model stays in memory after a request, for example `10m`; `0` unloads it each time.
    pub keep_alive: Option<String>,
    /// Whether a model that can think does so; its thoughts are output tokens too.
    pub think: Option<bool>,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Another name of `num_requests`.
    #[schemars(range(min = 1))]
    pub transactions: Option<u64>,
    /// Requests each client keeps in flight.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrent_requests: u32,
    /// How often to ask again, once a second, whether the server answers, before the first request.
    #[schemars(range(min = 0, max = 100000))]
    pub max_retries: Option<u32>,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// `generate` or `chat`.
    pub api: Api,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

impl Default for OllamaSmokeSettings {
    fn default() -> Self {
        Self {
            model: None,
            prompt: "What is artificial intelligence?".into(),
            max_tokens: None,
            num_requests: 5,
            max_retries: None,
            warmup_delay: 0.0,
            api: Api::Generate,
            threads: None,
        }
    }
}

impl Default for OllamaStressSettings {
    fn default() -> Self {
        Self {
            model: None,
            prompt: None,
            prompt_file: None,
            prompt_file_sha256: None,
            prompt_length: 32,
            prompt_lengths: None,
            shared_prefix_length: None,
            max_tokens: 50,
            output_lengths: None,
            temperature: None,
            num_ctx: None,
            keep_alive: None,
            think: None,
            num_requests: 20,
            transactions: None,
            concurrent_requests: 1,
            max_retries: None,
            warmup_delay: 0.0,
            api: Api::Generate,
            threads: None,
        }
    }
}

impl ClientType for OllamaSmoke {
    fn name(&self) -> &'static str {
        "ollama_smoke"
    }

    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Tokens]
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(OllamaSmokeSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = OllamaSmokeSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_requests,
            concurrency_per_client: 1,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn calibrated(&self) -> Calibrated {
        Calibrated::Streaming
    }

    fn recorded_lengths(&self, _settings: &Value) -> Result<(), String> {
        Err("`ollama_smoke` has one prompt for all requests: take `ollama_stress`".into())
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = OllamaSmokeSettings::deserialize(&job.settings)?;
        let dialect = OllamaApi {
            path: settings.api.into(),
            options: json!({ "temperature": 0 }),
            keep_alive: None,
            think: None,
            max_retries: settings.max_retries,
        };
        let question = Question {
            model: settings.model,
            prompts: Prompts::Fixed(settings.prompt),
            max_tokens: settings.max_tokens,
            output_lengths: None,
        };
        load::drive(StreamLoad::new(job, dialect, question), job, control)
    }
}

impl ClientType for OllamaStress {
    fn name(&self) -> &'static str {
        "ollama_stress"
    }

    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Tokens]
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(OllamaStressSettings)
    }

    fn file_settings(&self) -> &'static [FileSetting] {
        &[FileSetting {
            setting: "prompt_file",
            digest: "prompt_file_sha256",
            check: |text, settings| {
                let settings = OllamaStressSettings::deserialize(settings).map_err(|err| err.to_string())?;
                prompts::parse(text, settings.api == Api::Chat).map(drop)
            },
        }]
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = OllamaStressSettings::deserialize(settings)?;
        llm::check_lengths(&settings.prompt_lengths, &settings.output_lengths)?;
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

    fn recorded_lengths(&self, settings: &Value) -> Result<(), String> {
        llm::recorded_lengths(settings)
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = OllamaStressSettings::deserialize(&job.settings)?;
        let asked = llm::Asked {
            prompt: settings.prompt,
            prompt_length: settings.prompt_length,
            prompt_lengths: settings.prompt_lengths,
            shared_prefix_length: settings.shared_prefix_length,
            form: Form::Text,
            chat: settings.api == Api::Chat,
        };
        let question = Question {
            model: settings.model,
            prompts: asked.prompts(job).map_err(|err| anyhow!(err))?,
            max_tokens: Some(settings.max_tokens),
            output_lengths: settings.output_lengths,
        };
        let mut options = json!({ "temperature": settings.temperature.unwrap_or(0.0) });
        if let Some(num_ctx) = settings.num_ctx {
            options["num_ctx"] = json!(num_ctx);
        }
        let dialect = OllamaApi {
            path: settings.api.into(),
            options,
            keep_alive: settings.keep_alive,
            think: settings.think,
            max_retries: settings.max_retries,
        };
        load::drive(StreamLoad::new(job, dialect, question), job, control)
    }
}
