//! `postgres_stress`: single-row inserts and four kinds of selects on one table of this run.

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::Login;
use crate::{
    load::{self, Control, LoadJob, LoadReport},
    services::{ClientType, LoadDefaults},
};

mod rows;
mod workload;

use workload::StressLoad;

pub struct PostgresStress;

/// `client.settings` of `postgres_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = { "sslmode": crate::services::NO_TLS }))]
pub struct PostgresStressSettings {
    /// Inserts of each client. With `operation_mix`: rows for each client that are there before the load.
    #[schemars(range(min = 1, max = 100000000))]
    pub num_inserts: u64,
    /// Selects of each client, after its inserts.
    #[schemars(range(min = 1, max = 100000000))]
    pub num_selects: u64,
    /// Shares of INSERT and SELECT, for example `20:80`; each request is drawn.
    #[schemars(regex(pattern = r"^[0-9]{1,6}:[0-9]{1,6}$"))]
    pub operation_mix: Option<String>,
    /// Name of the table; it stands in a schema of this run.
    #[schemars(regex(pattern = r"^[a-z_][a-z0-9_]{0,62}$"))]
    pub table_name: String,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// Connections of each client, each with one request in flight.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrent_requests: u32,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
    /// Database; the service's own when not given.
    pub db_name: Option<String>,
    /// User; the service's own when not given.
    pub user: Option<String>,
    /// Password; the service's own when not given.
    pub password: Option<String>,
}

impl Default for PostgresStressSettings {
    fn default() -> Self {
        Self {
            num_inserts: 10_000,
            num_selects: 5000,
            operation_mix: None,
            table_name: "stress_test".into(),
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
            db_name: None,
            user: None,
            password: None,
        }
    }
}

impl ClientType for PostgresStress {
    fn name(&self) -> &'static str {
        "postgres_stress"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(PostgresStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = PostgresStressSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_inserts + settings.num_selects,
            concurrency_per_client: settings.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = PostgresStressSettings::deserialize(&job.settings)?;
        let login = Login::from_settings(&job.endpoint, &job.settings, &job.service_settings);
        load::drive(StressLoad::new(job, login, &settings)?, job, control)
    }
}
