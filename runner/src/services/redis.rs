//! Redis: the server, and the `redis_stress` client.

use anyhow::{Result, bail};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, ServiceType};
use crate::load::{Control, Endpoint, LoadJob, LoadReport};

pub struct Redis;

/// `service.settings` of `redis`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Port to listen on; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Write every change to an append-only file.
    pub appendonly: bool,
    /// Memory limit in Redis' notation, for example `4gb`; empty for none.
    #[schemars(regex(pattern = r"^([0-9]+([kKmMgG][bB]?|[bB])?)?$"))]
    pub maxmemory: String,
    /// What happens at the limit.
    pub maxmemory_policy: MaxmemoryPolicy,
    /// Snapshot rule in Redis' notation, for example `900 1`; empty for no snapshots.
    pub save: String,
    /// Folder for the data; a scratch folder that is removed afterwards when not given.
    pub data_dir: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MaxmemoryPolicy {
    Noeviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            port: None,
            appendonly: false,
            maxmemory: String::new(),
            maxmemory_policy: MaxmemoryPolicy::Noeviction,
            save: String::new(),
            data_dir: None,
        }
    }
}

impl ServiceType for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("redis:7.4.1")
    }

    fn default_port(&self) -> Option<u16> {
        Some(6379)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(RedisSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&RedisStress]
    }

    fn launch(&self, _request: &LaunchRequest<'_>) -> Result<Launch> {
        bail!("not written yet")
    }

    fn probe<'a>(&'a self, _endpoint: &'a Endpoint, _settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(async { Probe::NotYet("not written yet".into()) })
    }
}

struct RedisStress;

/// `client.settings` of `redis_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisStressSettings {
    /// Requests of each client. Without `operation_mix`: so many SETs, then so many GETs of the same keys.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Another name of `num_requests`.
    #[schemars(range(min = 1))]
    pub transactions: Option<u64>,
    /// Length of a key.
    #[schemars(range(min = 24, max = 65536))]
    pub key_size_bytes: u32,
    /// Length of a value.
    #[schemars(range(min = 1, max = 536870912))]
    pub value_size_bytes: u32,
    /// Shares of GET and SET, for example `80:20`; each request is drawn.
    #[schemars(regex(pattern = r"^[0-9]{1,6}:[0-9]{1,6}$"))]
    pub operation_mix: Option<String>,
    /// Different keys of each client, written before the load, when there is an `operation_mix`.
    #[schemars(range(min = 1, max = 100000000))]
    pub num_keys: u64,
    /// Commands written before the first answer is read.
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline: u32,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// Connections of each client, each with one request in flight.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrent_requests: u32,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

impl Default for RedisStressSettings {
    fn default() -> Self {
        Self {
            num_requests: 10_000,
            transactions: None,
            key_size_bytes: 32,
            value_size_bytes: 256,
            operation_mix: None,
            num_keys: 1000,
            pipeline: 1,
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
        }
    }
}

impl ClientType for RedisStress {
    fn name(&self) -> &'static str {
        "redis_stress"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(RedisStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = RedisStressSettings::deserialize(settings)?;
        let phases = if settings.operation_mix.is_none() { 2 } else { 1 };
        Ok(LoadDefaults {
            requests_per_client: phases * settings.transactions.unwrap_or(settings.num_requests),
            concurrency_per_client: settings.concurrent_requests,
            pipeline: settings.pipeline,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, _job: &LoadJob, _control: &Control) -> Result<LoadReport> {
        bail!("not written yet")
    }
}
