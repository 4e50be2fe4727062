//! `postgres_smoke`: one query in words, as often as asked.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    connection::{Connection as Session, Login},
    wire,
};
use crate::{
    load::{self, Client, Connection, Control, Exchange, LoadJob, LoadReport, Outcome, Place, Workload, content_mix},
    services::{ClientType, LoadDefaults},
};

pub struct PostgresSmoke;

/// `client.settings` of `postgres_smoke`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = { "sslmode": crate::services::NO_TLS }))]
pub struct PostgresSmokeSettings {
    /// What is asked.
    pub query: String,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// Database; the service's own when not given.
    pub db_name: Option<String>,
    /// User; the service's own when not given.
    pub user: Option<String>,
    /// Password; the service's own when not given.
    pub password: Option<String>,
}

impl Default for PostgresSmokeSettings {
    fn default() -> Self {
        Self {
            query: "SELECT version();".into(),
            num_requests: 1,
            warmup_delay: 0.0,
            db_name: None,
            user: None,
            password: None,
        }
    }
}

impl ClientType for PostgresSmoke {
    fn name(&self) -> &'static str {
        "postgres_smoke"
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(PostgresSmokeSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = PostgresSmokeSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_requests,
            concurrency_per_client: 1,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: Some(1),
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = PostgresSmokeSettings::deserialize(&job.settings)?;
        let login = Login::from_settings(&job.endpoint, &job.settings, &job.service_settings);
        load::drive(SmokeLoad { login, query: settings.query.into() }, job, control)
    }
}

#[derive(Clone)]
struct SmokeLoad {
    login: Login,
    query: Arc<str>,
}

impl Workload for SmokeLoad {
    type Client = SmokeClient;

    fn operations(&self) -> &'static [&'static str] {
        &["select"]
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<SmokeClient, String> {
        Ok(SmokeClient { session: Session::open(&self.login).await?, query: self.query.clone() })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

struct SmokeClient {
    session: Session,
    query: Arc<str>,
}

impl Client for SmokeClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        for exchange in batch {
            exchange.content = Some(content_mix(self.query.as_bytes(), 0));
            exchange.bytes_sent = self.query.len() as u64;
            wire::query(&mut self.session.out, &self.query);
            exchange.start = Some(Instant::now());
            let mut received = 0;
            if let Err(reason) = self.session.exchange(|row| received += wire::payload(row)).await {
                exchange.fail(Instant::now(), reason);
                return Connection::Broken;
            }
            exchange.bytes_received = received;
            exchange.end = self.session.reply.end;
            exchange.outcome = match self.session.reply.error.take() {
                Some(error) => Outcome::Failed(error.into()),
                None => Outcome::Ok,
            };
        }
        Connection::Reusable
    }
}
