//! Chroma: the server, and its clients `chroma_healthcheck` and `chroma_stress`, over version 2 of its HTTP API.

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, ServiceType, http,
    vectors::{self, Distance, Distribution, VectorLoad, VectorSettings},
};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod collection;
mod healthcheck;
#[cfg(test)]
mod tests;

pub struct Chroma;

/// `service.settings` of `chroma`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChromaSettings {
    /// Address to listen on; what its clients need when not given. Chroma asks nobody for a password.
    pub host: Option<String>,
    /// Port to listen on; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Folder for the data; a scratch folder that is removed afterwards when not given.
    pub data_dir: Option<String>,
}

impl ServiceType for Chroma {
    fn name(&self) -> &'static str {
        "chroma"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("chromadb/chroma:1.5.9")
    }

    fn default_port(&self) -> Option<u16> {
        Some(8000)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(ChromaSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&ChromaHealthcheck, &ChromaStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = ChromaSettings::deserialize(request.settings)?;
        let port = request.port.to_string();
        let scratch = request.scratch.join("chroma").display().to_string();
        let host = settings.host.as_deref().unwrap_or(request.host);
        let path = settings.data_dir.as_deref().unwrap_or(&scratch);
        let args = ["run", "--host", host, "--port", &port, "--path", path].map(str::to_owned).to_vec();
        let env = [("ANONYMIZED_TELEMETRY".to_owned(), "False".to_owned())].into();
        Ok(Launch { program: "chroma".into(), args, env, ..Launch::default() })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, _settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint))
    }
}

async fn probe(endpoint: &Endpoint) -> Probe {
    match http::get(endpoint, healthcheck::PATH).await {
        Ok((200, body)) if healthcheck::is_heartbeat(&body) => {}
        Ok((status @ (429 | 500..), body)) => {
            return Probe::NotYet(format!("{}: status {status}: {}", healthcheck::PATH, vectors::message(&body)));
        }
        Ok((status, _)) => {
            let reason = format!("it answers GET {} with status {status} and no heartbeat", healthcheck::PATH);
            return Probe::Wrong(format!("{endpoint} is no Chroma with version 2 of the API: {reason}"));
        }
        Err(err) if err.starts_with("wrong answer") => return Probe::Wrong(format!("{endpoint} is no Chroma: {err}")),
        Err(err) => return Probe::NotYet(err),
    }
    // `/api/v2/version` tells the version of its API, which many versions of the program share.
    Probe::Ready { version: None }
}

struct ChromaHealthcheck;

/// `client.settings` of `chroma_healthcheck`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChromaHealthcheckSettings {
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

impl Default for ChromaHealthcheckSettings {
    fn default() -> Self {
        Self { num_requests: 1, warmup_delay: 0.0, threads: None }
    }
}

impl ClientType for ChromaHealthcheck {
    fn name(&self) -> &'static str {
        "chroma_healthcheck"
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(ChromaHealthcheckSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = ChromaHealthcheckSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_requests,
            concurrency_per_client: 1,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        load::drive(healthcheck::Heartbeats::new(job), job, control)
    }
}

struct ChromaStress;

/// `client.settings` of `chroma_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChromaStressSettings {
    /// Vectors that each client brings into the one collection of the run.
    #[schemars(range(min = 1, max = 100000000))]
    pub num_vectors: u64,
    /// Searches of each client.
    #[schemars(range(min = 1))]
    pub num_queries: u64,
    /// Components of a vector.
    #[schemars(range(min = 2, max = 65536))]
    pub dim: u32,
    /// Vectors in one upload.
    #[schemars(range(min = 1, max = 100000))]
    pub batch_size: u32,
    /// Results of a search.
    #[schemars(range(min = 1, max = 10000))]
    pub top_k: u32,
    /// What near means.
    pub distance: Distance,
    /// How the vectors are drawn.
    pub distribution: Distribution,
    /// Neighbours of a vector in the HNSW index; Chroma's when not given.
    #[schemars(range(min = 2, max = 512))]
    pub hnsw_m: Option<u32>,
    /// Candidates while the index is built; Chroma's when not given.
    #[schemars(range(min = 2, max = 10000))]
    pub hnsw_ef_construction: Option<u32>,
    /// Candidates during a search; Chroma's when not given.
    #[schemars(range(min = 2, max = 10000))]
    pub hnsw_ef_search: Option<u32>,
    /// A search with a smaller recall has failed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_recall: f64,
    /// Shares of search and upload, for example `90:10`, on a collection that is filled before the load.
    #[schemars(regex(pattern = r"^[0-9]{1,6}:[0-9]{1,6}$"))]
    pub operation_mix: Option<String>,
    /// Name of the collection; what tells this run apart is appended.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub collection: String,
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

impl Default for ChromaStressSettings {
    fn default() -> Self {
        Self {
            num_vectors: 1000,
            num_queries: 100,
            dim: 128,
            batch_size: 100,
            top_k: 10,
            distance: Distance::Cosine,
            distribution: Distribution::Uniform,
            hnsw_m: None,
            hnsw_ef_construction: None,
            hnsw_ef_search: None,
            min_recall: 0.0,
            operation_mix: None,
            collection: "benchmark".into(),
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
        }
    }
}

impl ChromaStressSettings {
    fn common(&self) -> VectorSettings {
        VectorSettings {
            num_vectors: self.num_vectors,
            num_queries: self.num_queries,
            dim: self.dim,
            batch_size: self.batch_size,
            top_k: self.top_k,
            distance: self.distance,
            distribution: self.distribution,
            min_recall: self.min_recall,
            operation_mix: self.operation_mix.clone(),
            concurrent_requests: self.concurrent_requests,
            warmup_delay: self.warmup_delay,
            threads: self.threads,
        }
    }
}

impl ClientType for ChromaStress {
    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Recall]
    }

    fn name(&self) -> &'static str {
        "chroma_stress"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(ChromaStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        ChromaStressSettings::deserialize(settings)?.common().load_defaults()
    }

    fn default_mix(&self) -> &'static str {
        "100:0"
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = ChromaStressSettings::deserialize(&job.settings)?;
        let collection = collection::Collection::new(&settings);
        load::drive(VectorLoad::new(job, settings.common(), collection)?, job, control)
    }
}
