//! Raw services and clients: a shell command of the recipe's own.

use anyhow::{Context, Result};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{BoxFuture, Calibrated, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, ServiceType};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod runs;

/// A service of which only the command is known: ready when its port, if it has one (0: none), accepts connections.
pub struct RawService;

/// `service.settings` beside a raw `command`: there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct NoSettings {}

impl ServiceType for RawService {
    fn name(&self) -> &'static str {
        "command"
    }

    fn default_image(&self) -> Option<&'static str> {
        None
    }

    fn default_port(&self) -> Option<u16> {
        None
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(NoSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        let command = request.command.context("a service without a type needs a `service.command`")?;
        Ok(Launch::shell(command))
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, _settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(async move {
            if endpoint.port == 0 {
                return Probe::Ready { version: None };
            }
            match TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await {
                Ok(_) => Probe::Ready { version: None },
                Err(err) => Probe::NotYet(format!("cannot connect to {endpoint}: {err}")),
            }
        })
    }
}

/// A client that runs a shell command; one run of the command is one request.
pub struct RawClient;

/// `client.settings` beside a raw `command`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawClientSettings {
    /// Runs of the command by each client.
    #[schemars(range(min = 1))]
    num_requests: u64,
    /// Quiet seconds between readiness and the first run.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    warmup_delay: f64,
}

impl Default for RawClientSettings {
    fn default() -> Self {
        Self { num_requests: 1, warmup_delay: 0.0 }
    }
}

impl ClientType for RawClient {
    fn name(&self) -> &'static str {
        "command"
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(RawClientSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = RawClientSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_requests,
            concurrency_per_client: 1,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: None,
        })
    }

    /// Each run is a process of its own, beside which the driver's error is nothing.
    fn calibrated(&self) -> Calibrated {
        Calibrated::Never
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        load::drive(runs::CommandLoad::new(job)?, job, control)
    }
}
