//! Qdrant: the server, and its client `qdrant_stress`, over its REST API.

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, SecretSetting, ServiceType, http,
    vectors::{self, Distance, Distribution, Rest, VectorLoad, VectorSettings},
};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod collection;
#[cfg(test)]
mod tests;

pub struct Qdrant;

/// `service.settings` of `qdrant`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QdrantSettings {
    /// Port of the REST API; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Port of the gRPC API; closed when not given.
    #[schemars(range(min = 1, max = 65535))]
    pub grpc_port: Option<u16>,
    /// Folder for the data; a scratch folder that is removed afterwards when not given.
    pub storage_path: Option<String>,
    /// Key that every request must show; one is drawn for every start when not given.
    pub api_key: Option<String>,
}

impl ServiceType for Qdrant {
    fn name(&self) -> &'static str {
        "qdrant"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("qdrant/qdrant:v1.15.4")
    }

    fn default_port(&self) -> Option<u16> {
        Some(6333)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(QdrantSettings)
    }

    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[SecretSetting { setting: "api_key", variable: "QDRANT__SERVICE__API_KEY" }]
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&QdrantStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = QdrantSettings::deserialize(request.settings)?;
        let inside = |name: &str| request.scratch.join(name).display().to_string();
        // JSON is YAML. A port of null is a closed one; leaving it out would open Qdrant's default.
        let config = json!({
            "service": { "host": request.host, "http_port": request.port, "grpc_port": settings.grpc_port },
            "storage": {
                "storage_path": settings.storage_path.unwrap_or_else(|| inside("storage")),
                "snapshots_path": inside("snapshots"),
            },
            "telemetry_disabled": true,
        });
        let file = request.scratch.join("config.yaml");
        let args = vec!["--config-path".to_owned(), file.display().to_string(), "--disable-telemetry".to_owned()];
        let key = settings.api_key.map(|key| ("QDRANT__SERVICE__API_KEY".to_owned(), key));
        Ok(Launch {
            program: "qdrant".into(),
            program_in_image: Some("/qdrant/qdrant"),
            args,
            env: key.into_iter().collect(),
            files: vec![(file, format!("{config:#}\n"))],
            ..Launch::default()
        })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(async move { probe(endpoint, settings).await.unwrap_or_else(Probe::NotYet) })
    }
}

/// An error is a reason to try again.
async fn probe(endpoint: &Endpoint, settings: &Value) -> Result<Probe, String> {
    let no_qdrant = |reason: String| Ok(Probe::Wrong(format!("{endpoint} is no Qdrant: {reason}")));
    match http::get(endpoint, "/readyz").await {
        Ok((200, _)) => {}
        Ok((429 | 500.., body)) => return Err(format!("/readyz: {}", vectors::message(&body))),
        Ok((status, _)) => return no_qdrant(format!("its /readyz answers with status {status}")),
        Err(err) if err.starts_with("wrong answer") => return no_qdrant(err),
        Err(err) => return Err(err),
    }
    let mut rest = Rest::connect(endpoint, &key_header(settings)).await?;
    let root = match rest.json("GET /", &Value::Null).await {
        Ok(root) => root,
        Err(reason) => return no_qdrant(reason),
    };
    let title = root["title"].as_str().unwrap_or_default();
    if !title.contains("qdrant") {
        return no_qdrant(format!("it calls itself `{title}`"));
    }
    if let Err(reason) = rest.json("GET /collections", &Value::Null).await {
        return Ok(Probe::Wrong(format!("the Qdrant on {endpoint} refuses its collections: {reason}")));
    }
    Ok(Probe::Ready { version: root["version"].as_str().map(str::to_owned) })
}

/// The header line that shows the key, if there is one.
fn key_header(service_settings: &Value) -> String {
    let key = service_settings.get("api_key").and_then(Value::as_str);
    key.map_or_else(String::new, |key| format!("api-key: {key}\r\n"))
}

struct QdrantStress;

/// `client.settings` of `qdrant_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QdrantStressSettings {
    /// Points that each client brings into the one collection of the run.
    #[schemars(range(min = 1, max = 100000000))]
    pub num_points: u64,
    /// Searches of each client.
    #[schemars(range(min = 1))]
    pub num_queries: u64,
    /// Components of a vector.
    #[schemars(range(min = 2, max = 65536))]
    pub dim: u32,
    /// Points in one upload.
    #[schemars(range(min = 1, max = 100000))]
    pub batch_size: u32,
    /// Results of a search.
    #[schemars(range(min = 1, max = 10000))]
    pub top_k: u32,
    /// What near means.
    pub distance: Distance,
    /// How the vectors are drawn.
    pub distribution: Distribution,
    /// Neighbours of a point in the HNSW index; Qdrant's when not given.
    #[schemars(range(min = 0, max = 512))]
    pub hnsw_m: Option<u32>,
    /// Candidates while the index is built; Qdrant's when not given.
    #[schemars(range(min = 4, max = 10000))]
    pub hnsw_ef_construction: Option<u32>,
    /// Candidates during a search; Qdrant's when not given.
    #[schemars(range(min = 1, max = 10000))]
    pub hnsw_ef_search: Option<u32>,
    /// Search without the index.
    pub exact: bool,
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

impl Default for QdrantStressSettings {
    fn default() -> Self {
        Self {
            num_points: 10_000,
            num_queries: 1000,
            dim: 128,
            batch_size: 256,
            top_k: 10,
            distance: Distance::Cosine,
            distribution: Distribution::Uniform,
            hnsw_m: None,
            hnsw_ef_construction: None,
            hnsw_ef_search: None,
            exact: false,
            min_recall: 0.0,
            operation_mix: None,
            collection: "benchmark".into(),
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
        }
    }
}

impl QdrantStressSettings {
    fn common(&self) -> VectorSettings {
        VectorSettings {
            num_vectors: self.num_points,
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

impl ClientType for QdrantStress {
    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::Recall]
    }

    fn name(&self) -> &'static str {
        "qdrant_stress"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(QdrantStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        QdrantStressSettings::deserialize(settings)?.common().load_defaults()
    }

    fn default_mix(&self) -> &'static str {
        "100:0"
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = QdrantStressSettings::deserialize(&job.settings)?;
        let collection = collection::Collection::new(&settings, key_header(&job.service_settings));
        load::drive(VectorLoad::new(job, settings.common(), collection)?, job, control)
    }
}
