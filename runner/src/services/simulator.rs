//! The simulator as a service: the built-in server of known truth, which speaks OpenAI's and Ollama's APIs.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, ClientType, Launch, LaunchRequest, Probe, ServiceType, ollama, vllm};
use crate::load::Endpoint;

pub struct Simulator;

/// `service.settings` of `simulator`. With `s = prefill_base_s + prefill_per_token_s · input tokens +
/// decode_per_token_s · output tokens`, the ceiling is `slots / s` requests a second and the knee of a closed
/// sweep lies at `slots` clients.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// Name of the model it pretends to serve.
    pub model: String,
    /// Requests served at the same time; others wait, first come first served.
    #[schemars(range(min = 1, max = 65536))]
    pub slots: u32,
    /// Prefill time of a request with no input.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub prefill_base_s: f64,
    /// Prefill time added by every input token.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub prefill_per_token_s: f64,
    /// Time between output tokens.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub decode_per_token_s: f64,
    /// How the time between output tokens is drawn.
    pub decode_distribution: Decode,
    /// Tokens (input and output) that all running requests may hold together; 0 for no limit.
    #[schemars(range(min = 0))]
    pub kv_limit_tokens: u64,
    /// Time that the model takes to be loaded, which begins with the first request: all wait for it.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub load_s: Option<f64>,
    /// Share of requests answered with status 500.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub failure_rate: f64,
    /// Put the server's own times into every chunk, in nanoseconds since the Unix epoch: when it was sent (`sent_ns`),
    /// and when the request was read (`received_ns`).
    pub send_stamps: bool,
    /// Seed of drawn decode times and failures; one of its own for every start when not given, so that
    /// repetitions differ as those of a real server do.
    #[schemars(range(min = 0, max = 9007199254740991_u64))]
    pub seed: Option<u64>,
    /// Port to listen on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Always `decode_per_token_s`.
    Fixed,
    /// Exponential with that mean.
    Exponential,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            model: "simulator".into(),
            slots: 8,
            prefill_base_s: 0.010,
            prefill_per_token_s: 0.0001,
            decode_per_token_s: 0.005,
            decode_distribution: Decode::Fixed,
            kv_limit_tokens: 0,
            load_s: None,
            failure_rate: 0.0,
            send_stamps: false,
            seed: None,
            port: None,
        }
    }
}

impl ServiceType for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn default_image(&self) -> Option<&'static str> {
        None
    }

    fn default_port(&self) -> Option<u16> {
        Some(8000)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(SimulatorSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&vllm::VllmSmoke, &vllm::VllmStress, &ollama::OllamaSmoke, &ollama::OllamaStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        // Read and written, so that every setting stands in the command as it is used.
        let settings = SimulatorSettings::deserialize(request.settings)?;
        let port = request.port.to_string();
        let settings = serde_json::to_string(&settings)?;
        let args = ["agent", "simulate", "--host", request.host, "--port", &port, "--settings", &settings];
        Ok(Launch {
            program: crate::node::OWN_PROGRAM.to_owned(),
            args: args.map(str::to_owned).to_vec(),
            ..Launch::default()
        })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(vllm::probe(endpoint, settings))
    }

    fn figures<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, BTreeMap<String, f64>> {
        Box::pin(vllm::figures(endpoint))
    }
}
