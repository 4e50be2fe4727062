//! MinIO: the server, and its client `minio_stress`, which speaks to any S3 object store.

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, SecretSetting, ServiceType, http};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod client;
mod ledger;
mod objects;
mod plan;
mod signed;
mod stress;
#[cfg(test)]
mod tests;

pub struct Minio;

/// `service.settings` of `minio`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = { "use_https": super::NO_TLS }))]
pub struct MinioSettings {
    /// Port to listen on; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Port of the console; closed when not given.
    #[schemars(range(min = 1, max = 65535))]
    pub console_port: Option<u16>,
    /// Folder for the data; a scratch folder that is removed afterwards when not given.
    pub data_dir: Option<String>,
    /// Access key; one is drawn for every start when not given.
    #[schemars(length(min = 3))]
    pub root_user: Option<String>,
    /// Secret key; one is drawn for every start when not given.
    #[schemars(length(min = 8))]
    pub root_password: Option<String>,
    /// Region that requests are signed for.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,63}$"))]
    pub region: String,
}

impl Default for MinioSettings {
    fn default() -> Self {
        Self {
            port: None,
            console_port: None,
            data_dir: None,
            root_user: None,
            root_password: None,
            region: "us-east-1".into(),
        }
    }
}

impl ServiceType for Minio {
    fn name(&self) -> &'static str {
        "minio"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("minio/minio:RELEASE.2025-04-22T22-12-26Z")
    }

    fn default_port(&self) -> Option<u16> {
        Some(9000)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(MinioSettings)
    }

    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[
            SecretSetting { setting: "root_user", variable: "MINIO_ROOT_USER" },
            SecretSetting { setting: "root_password", variable: "MINIO_ROOT_PASSWORD" },
        ]
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&MinioStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = MinioSettings::deserialize(request.settings)?;
        let at = |port: u16| Endpoint { host: request.host.to_owned(), port }.to_string();
        let data = settings.data_dir.unwrap_or_else(|| request.scratch.join("data").display().to_string());
        let mut args = vec!["server".to_owned(), data, "--address".to_owned(), at(request.port)];
        if let Some(port) = settings.console_port {
            args.extend(["--console-address".to_owned(), at(port)]);
        }
        let browser = if settings.console_port.is_some() { "on" } else { "off" };
        let variables = [
            ("MINIO_ROOT_USER", settings.root_user),
            ("MINIO_ROOT_PASSWORD", settings.root_password),
            ("MINIO_REGION", Some(settings.region)),
            ("MINIO_BROWSER", Some(browser.to_owned())),
            // Asks a server elsewhere for news otherwise.
            ("MINIO_UPDATE", Some("off".to_owned())),
        ];
        let env = variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok(Launch { program: "minio".into(), args, env, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(async move { probe(endpoint, settings).await.unwrap_or_else(Probe::NotYet) })
    }
}

/// An error is a reason to try again. Only MinIO has a path that says whether it is ready; that keys and signatures are
/// right, a listing of a bucket that is not there tells of every S3 store.
async fn probe(endpoint: &Endpoint, settings: &Value) -> Result<Probe, String> {
    match http::get(endpoint, "/minio/health/ready").await {
        Ok((status @ (429 | 503), _)) => return Err(format!("/minio/health/ready: status {status}")),
        // Another store: to it this is an object that is not there.
        Ok(_) => {}
        Err(err) if err.starts_with("wrong answer") => {
            return Ok(Probe::Wrong(format!("{endpoint} is no object store: {err}")));
        }
        Err(err) => return Err(err),
    }
    let settings = MinioSettings::deserialize(settings).map_err(|err| err.to_string())?;
    let signer = match signed::Signer::new(endpoint, &settings, "a-bucket-that-is-not-there") {
        Ok(signer) => signer,
        Err(reason) => return Ok(Probe::Wrong(reason)),
    };
    let (status, body) = signed::ask(endpoint, &signer, &signer.list("", None), b"").await?;
    let code = signed::between(&body, "<Code>", "</Code>");
    match (status, code.as_deref()) {
        (403, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch")) | (401, _) => {
            Ok(Probe::Wrong(format!("{endpoint} refuses the access key: {}", signed::message(&body))))
        }
        (429 | 500.., _) => Err(format!("status {status}: {}", signed::message(&body))),
        (200, _) | (_, Some(_)) => Ok(Probe::Ready { version: None }),
        _ => {
            let reason = format!("it answers a listing with status {status}: {}", signed::message(&body));
            Ok(Probe::Wrong(format!("{endpoint} is no object store: {reason}")))
        }
    }
}

struct MinioStress;

/// What all requests of one phase do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Put,
    Get,
    List,
    Delete,
}

/// `client.settings` of `minio_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MinioStressSettings {
    /// Objects of each client; without `operation_mix`, so many requests in each phase.
    #[schemars(range(min = 1, max = 1000000000))]
    pub num_objects: u64,
    /// Length of an object.
    #[schemars(range(min = 1, max = 1073741824))]
    pub object_size_bytes: u64,
    /// Put objects in parts of this length; in one piece when not given.
    #[schemars(range(min = 5242880, max = 1073741824))]
    pub multipart_part_size_bytes: Option<u64>,
    /// What each client does with its objects, one after the other: `put` first, `delete` last.
    #[schemars(length(min = 1))]
    pub phases: Vec<Operation>,
    /// Shares of PUT and GET, for example `50:50`; with two more, of LIST and DELETE too.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(:[0-9]{1,6}){1,3}$"))]
    pub operation_mix: Option<String>,
    /// Name of the bucket; what tells this run apart is appended.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9.-]{1,52}$"))]
    pub bucket: String,
    /// Create the bucket and remove it; `false` uses one that is there, below a prefix of this run's own.
    pub create_bucket: bool,
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

impl Default for MinioStressSettings {
    fn default() -> Self {
        Self {
            num_objects: 100,
            object_size_bytes: 1 << 20,
            multipart_part_size_bytes: None,
            phases: vec![Operation::Put, Operation::Get],
            operation_mix: None,
            bucket: "benchmark".into(),
            create_bucket: true,
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
        }
    }
}

impl ClientType for MinioStress {
    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::FirstByte]
    }

    fn name(&self) -> &'static str {
        "minio_stress"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(MinioStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = MinioStressSettings::deserialize(settings)?;
        plan::check(&settings)?;
        let phases = if settings.operation_mix.is_some() { 1 } else { settings.phases.len() as u64 };
        Ok(LoadDefaults {
            requests_per_client: phases * settings.num_objects,
            concurrency_per_client: settings.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = MinioStressSettings::deserialize(&job.settings)?;
        load::drive(stress::ObjectLoad::new(job, &settings)?, job, control)
    }
}
