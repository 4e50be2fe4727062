//! Redis: the server, and the `redis_stress` client.

use std::net::IpAddr;

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, SecretSetting, ServiceType};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod resp;
mod stress;
#[cfg(test)]
mod tests;

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
    /// What every client must show, best as `${NAME}`; drawn anew for every start when not given.
    pub password: Option<String>,
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
            password: None,
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

    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[SecretSetting { setting: "password", variable: "REDIS_PASSWORD" }]
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&RedisStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = RedisSettings::deserialize(request.settings)?;
        let port = request.port.to_string();
        let scratch = request.scratch.display().to_string();
        let file = request.scratch.join("redis.conf");
        let config = file.display().to_string();
        let mut args: Vec<&str> = vec![&config, "--port", &port, "--bind", request.host, "--daemonize", "no"];
        args.extend(["--dir", settings.data_dir.as_deref().unwrap_or(&scratch)]);
        args.extend(["--appendonly", if settings.appendonly { "yes" } else { "no" }]);
        // No words at all would be no value; one empty word switches snapshots off.
        args.push("--save");
        match settings.save.trim() {
            "" => args.push(""),
            rule => args.extend(rule.split_whitespace()),
        }
        let policy = serde_json::to_value(settings.maxmemory_policy)?;
        if !settings.maxmemory.is_empty() {
            args.extend(["--maxmemory", &settings.maxmemory]);
            args.extend(["--maxmemory-policy", policy.as_str().unwrap_or_default()]);
        }
        // Redis answers nobody but its own machine when it has no password and this is on.
        let loopback = request.host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        args.extend(["--protected-mode", if loopback { "yes" } else { "no" }]);
        let args = args.into_iter().map(str::to_owned).collect();
        // Arguments are everybody's to read.
        let password = settings.password.map(|password| format!("requirepass {}\n", quoted(&password)));
        let files = vec![(file, password.unwrap_or_default())];
        Ok(Launch { program: "redis-server".into(), args, files, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(async move { probe(endpoint, password_of(settings)).await.unwrap_or_else(Probe::NotYet) })
    }
}

/// A word of a configuration file, whatever is in it.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

fn password_of(service_settings: &Value) -> Option<&str> {
    service_settings.get("password").and_then(Value::as_str)
}

/// Shows the password, if there is one. An error is what the server says of it.
async fn log_in(stream: &mut TcpStream, password: Option<&str>) -> Result<(), String> {
    let Some(password) = password else { return Ok(()) };
    match ask(stream, &[b"AUTH", password.as_bytes()]).await? {
        Answer::Text(text) if text == "OK" => Ok(()),
        Answer::Text(text) | Answer::Error(text) | Answer::Other(text) => Err(text),
    }
}

/// An error is a reason to try again.
async fn probe(endpoint: &Endpoint, password: Option<&str>) -> Result<Probe, String> {
    let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let mut stream = connecting.await.map_err(|err| format!("cannot connect to {endpoint}: {err}"))?;
    match log_in(&mut stream, password).await {
        Err(text) if text.starts_with("WRONGPASS") || text.starts_with("ERR") => {
            return Ok(Probe::Wrong(format!("the Redis on {endpoint} refuses the password: {text}")));
        }
        outcome => outcome?,
    }
    match ask(&mut stream, &[b"PING"]).await? {
        Answer::Text(text) if text == "PONG" => {}
        Answer::Error(text) if text.starts_with("LOADING") || text.starts_with("MASTERDOWN") => return Err(text),
        Answer::Error(text) if text.starts_with("NOAUTH") => {
            return Ok(Probe::Wrong(format!(
                "the Redis on {endpoint} asks for a password: {text}; give `service.settings.password`"
            )));
        }
        Answer::Text(text) | Answer::Error(text) | Answer::Other(text) => {
            return Ok(Probe::Wrong(format!(
                "{endpoint} is no Redis that can be used: it answered PING with `{text}`"
            )));
        }
    }
    let version = match ask(&mut stream, &[b"INFO", b"server"]).await? {
        Answer::Text(info) => info.lines().find_map(|line| line.strip_prefix("redis_version:").map(str::to_owned)),
        _ => None,
    };
    Ok(Probe::Ready { version })
}

enum Answer {
    Text(String),
    Error(String),
    /// Something that is none of Redis' protocol.
    Other(String),
}

/// Sends a command and reads its answer.
async fn ask(stream: &mut TcpStream, words: &[&[u8]]) -> Result<Answer, String> {
    let mut command = Vec::new();
    resp::command(&mut command, words);
    stream.write_all(&command).await.map_err(|err| format!("connection lost: {err}"))?;
    let (mut reader, mut value, mut answer) = (resp::Reader::default(), Vec::new(), None);
    let mut input = [0; 4096];
    while answer.is_none() {
        let count = stream.read(&mut input).await.map_err(|err| format!("connection lost: {err}"))?;
        if count == 0 {
            return Err("connection closed without an answer".into());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let read = reader.feed(&input[..count], |piece| match piece {
            resp::Piece::Status(status) => answer = Some(Answer::Text(text(status))),
            resp::Piece::Error(error) => answer = Some(Answer::Error(text(error))),
            resp::Piece::Value { bytes, .. } => value.extend_from_slice(bytes),
            resp::Piece::ValueEnd { .. } => answer = Some(Answer::Text(text(&value))),
            other => answer = Some(Answer::Other(format!("{other:?}"))),
        });
        if let Err(reason) = read {
            answer = Some(Answer::Other(reason));
        }
    }
    answer.ok_or_else(|| "no answer".into())
}

pub struct RedisStress;

/// `client.settings` of `redis_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = {
    "concurrent_clients": "give `benchmarks.num_clients`, or `concurrent_requests` for connections of one client",
}))]
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
    /// How the key of a request is drawn, when there is an `operation_mix`.
    pub key_distribution: KeyDistribution,
    /// Exponent of the Zipf law: the larger, the more requests go to few keys.
    #[schemars(range(min = 0.01, max = 10.0))]
    pub zipf_exponent: Option<f64>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyDistribution {
    Uniform,
    /// Key `k` (from 1) with a probability proportional to `k^-zipf_exponent`.
    Zipf,
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
            key_distribution: KeyDistribution::Uniform,
            zipf_exponent: None,
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

    fn on_several_nodes(&self) -> bool {
        true
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

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = RedisStressSettings::deserialize(&job.settings)?;
        load::drive(stress::RedisLoad::new(job, &settings)?, job, control)
    }
}
