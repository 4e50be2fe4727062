//! `vllm_smoke` and `vllm_stress`: streamed answers of any OpenAI-compatible server.

use anyhow::{Result, anyhow, ensure};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::openai::{OpenAi, key_header};
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

pub struct VllmSmoke;
pub struct VllmStress;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    Completions,
    Chat,
}

/// `client.settings` of `vllm_smoke`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VllmSmokeSettings {
    /// Model to ask for; the service's own when not given.
    pub model: Option<String>,
    /// The prompt; the same one for every request.
    #[schemars(length(min = 1))]
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
    #[schemars(length(min = 1))]
    pub prompt: Option<String>,
    /// A JSONL file of prompts, dealt out in turn: an object a line with `prompt` or `messages`, and perhaps
    /// `max_tokens`. Its path counts from the folder of the file that is run.
    #[schemars(length(min = 1))]
    pub prompt_file: Option<String>,
    /// What the file must have; found out when not given.
    #[schemars(length(min = 64, max = 64))]
    pub prompt_file_sha256: Option<String>,
    /// What generated prompts are made of: `ids` (token ids; the length is exact; not for `chat`) or `text` (words, each about a
    /// token). Without it `ids` for completions.
    pub prompt_as: Option<Form>,
    /// Input length of generated prompts, in tokens.
    #[schemars(range(min = 1, max = 1000000))]
    pub prompt_length: u32,
    /// Input lengths that differ from request to request, in place of `prompt_length`.
    pub prompt_lengths: Option<Lengths>,
    /// Tokens that all generated prompts begin with, before those of their own: what a prefix cache can keep.
    #[schemars(range(min = 1, max = 1000000))]
    pub shared_prefix_length: Option<u32>,
    /// Most output tokens of a request.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Output lengths that differ from request to request, in place of `max_tokens`.
    pub output_lengths: Option<Lengths>,
    /// Ask for exactly as many tokens (`ignore_eos`), so that every request is the work that was meant.
    pub ignore_eos: bool,
    /// Least output tokens of a request; with `ignore_eos` as many as the most.
    #[schemars(range(min = 1))]
    pub min_tokens: Option<u32>,
    /// Randomness of the answer; 0, always the likeliest token, when not given.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
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
            prompt_file: None,
            prompt_file_sha256: None,
            prompt_as: None,
            prompt_length: 32,
            prompt_lengths: None,
            shared_prefix_length: None,
            max_tokens: 64,
            output_lengths: None,
            ignore_eos: true,
            min_tokens: None,
            temperature: None,
            num_requests: 50,
            transactions: None,
            concurrent_requests: 1,
            warmup_delay: 0.0,
            api: Api::Completions,
            threads: None,
        }
    }
}

impl ClientType for VllmSmoke {
    fn name(&self) -> &'static str {
        "vllm_smoke"
    }

    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Tokens]
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(VllmSmokeSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = VllmSmokeSettings::deserialize(settings)?;
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
        Err("`vllm_smoke` has one prompt for all requests: take `vllm_stress`".into())
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = VllmSmokeSettings::deserialize(&job.settings)?;
        let dialect = OpenAi {
            api: settings.api,
            ignore_eos: false,
            min_tokens: None,
            temperature: 0.0,
            headers: key_header(&job.service_settings),
        };
        let question = Question {
            model: settings.model,
            prompts: Prompts::Fixed(settings.prompt),
            max_tokens: Some(settings.max_tokens),
            output_lengths: None,
        };
        load::drive(StreamLoad::new(job, dialect, question), job, control)
    }
}

impl ClientType for VllmStress {
    fn name(&self) -> &'static str {
        "vllm_stress"
    }

    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Tokens]
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(VllmStressSettings)
    }

    fn file_settings(&self) -> &'static [FileSetting] {
        &[FileSetting {
            setting: "prompt_file",
            digest: "prompt_file_sha256",
            check: |text, settings| {
                let settings = VllmStressSettings::deserialize(settings).map_err(|err| err.to_string())?;
                prompts::parse(text, settings.api == Api::Chat).map(drop)
            },
        }]
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = VllmStressSettings::deserialize(settings)?;
        llm::check_lengths(&settings.prompt_lengths, &settings.output_lengths)?;
        ensure!(
            settings.prompt_as != Some(Form::Ids) || settings.api == Api::Completions,
            "`prompt_as`: a conversation is text; use `api: completions`, or remove it"
        );
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
        let settings = VllmStressSettings::deserialize(&job.settings)?;
        let asked = llm::Asked {
            prompt: settings.prompt,
            prompt_length: settings.prompt_length,
            prompt_lengths: settings.prompt_lengths,
            shared_prefix_length: settings.shared_prefix_length,
            form: settings.prompt_as.unwrap_or(match settings.api {
                Api::Completions => Form::Ids,
                Api::Chat => Form::Text,
            }),
            chat: settings.api == Api::Chat,
        };
        let question = Question {
            model: settings.model,
            prompts: asked.prompts(job).map_err(|err| anyhow!(err))?,
            max_tokens: Some(settings.max_tokens),
            output_lengths: settings.output_lengths,
        };
        let dialect = OpenAi {
            api: settings.api,
            ignore_eos: settings.ignore_eos,
            min_tokens: settings.min_tokens,
            temperature: settings.temperature.unwrap_or(0.0),
            headers: key_header(&job.service_settings),
        };
        load::drive(StreamLoad::new(job, dialect, question), job, control)
    }
}
