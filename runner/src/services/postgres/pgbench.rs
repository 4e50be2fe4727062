//! `pgbench`: the transactions of PostgreSQL's own benchmark, on persistent connections.
//!
//! A request is a whole transaction; its statements go one after the other, each with its own round trip, as
//! pgbench sends them. Tables and statements are those of the manual's page on pgbench, section "What is the
//! 'Transaction' Actually Performed in pgbench?".

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::Login;
use crate::{
    load::{self, Control, LoadJob, LoadReport},
    services::{ClientType, LoadDefaults},
};

mod script;
mod transaction;

use transaction::PgbenchLoad;

pub struct Pgbench;

/// `client.settings` of `pgbench`, by its own names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = { "sslmode": crate::services::NO_TLS }))]
pub struct PgbenchSettings {
    /// Size of the tables: so many branches, 10 tellers and 100,000 accounts for each.
    #[schemars(range(min = 1, max = 21474))]
    pub scale: u32,
    /// What a transaction does.
    pub script: ScriptName,
    /// How statements are sent.
    pub protocol: Protocol,
    /// What transactions see of each other.
    pub isolation: Isolation,
    /// Connections of each client; with `benchmarks.num_clients` 1, pgbench's `--client`.
    #[schemars(range(min = 1, max = 65536))]
    pub clients: u32,
    /// Transactions of each connection.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Another name of `num_requests`.
    #[schemars(range(min = 1))]
    pub transactions: Option<u64>,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptName {
    TpcbLike,
    SimpleUpdate,
    SelectOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Each statement in words, with its values.
    Simple,
    /// Parsed anew each time, values apart.
    Extended,
    /// Parsed once a connection.
    Prepared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Default for PgbenchSettings {
    fn default() -> Self {
        Self {
            scale: 1,
            script: ScriptName::TpcbLike,
            protocol: Protocol::Prepared,
            isolation: Isolation::ReadCommitted,
            clients: 1,
            num_requests: 1000,
            transactions: None,
            warmup_delay: 0.0,
            threads: None,
            db_name: None,
            user: None,
            password: None,
        }
    }
}

impl ClientType for Pgbench {
    fn name(&self) -> &'static str {
        "pgbench"
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(PgbenchSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = PgbenchSettings::deserialize(settings)?;
        let transactions = settings.transactions.unwrap_or(settings.num_requests);
        Ok(LoadDefaults {
            requests_per_client: transactions.saturating_mul(u64::from(settings.clients)),
            concurrency_per_client: settings.clients,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = PgbenchSettings::deserialize(&job.settings)?;
        let login = Login::from_settings(&job.endpoint, &job.settings, &job.service_settings);
        load::drive(PgbenchLoad::new(job.spec.seed, login, &settings), job, control)
    }
}
