//! The `chroma_healthcheck` workload: GET the server's heartbeat, and see that it beats.

use std::time::Instant;

use crate::{
    load::{Client, Connection, Endpoint, Exchange, LoadJob, Outcome, Place, Workload, content_mix, one_by_one},
    services::{http::Http, vectors::message},
};

pub const PATH: &str = "/api/v2/heartbeat";
/// Longest body that is looked at.
const LONGEST: usize = 64 << 10;

/// Whether the body is that of a heartbeat.
pub fn is_heartbeat(body: &[u8]) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body["nanosecond heartbeat"].as_u64().is_some_and(|beat| beat > 0))
}

#[derive(Clone)]
pub struct Heartbeats {
    endpoint: Endpoint,
}

impl Heartbeats {
    pub fn new(job: &LoadJob) -> Self {
        Self { endpoint: job.endpoint.clone() }
    }
}

impl Workload for Heartbeats {
    type Client = HeartbeatClient;

    fn operations(&self) -> &'static [&'static str] {
        &["heartbeat"]
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<HeartbeatClient, String> {
        let http = Http::connect(&self.endpoint).await?;
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\n\r\n", self.endpoint);
        Ok(HeartbeatClient { endpoint: self.endpoint.clone(), http, request, body: Vec::new() })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct HeartbeatClient {
    endpoint: Endpoint,
    http: Http,
    request: String,
    body: Vec<u8>,
}

impl Client for HeartbeatClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        one_by_one(batch, async |exchange| self.ask(exchange).await).await
    }
}

impl HeartbeatClient {
    async fn ask(&mut self, exchange: &mut Exchange) -> Result<Connection, String> {
        self.http.revive(&self.endpoint).await?;
        // Every request is the same; its place makes the sequence.
        exchange.content = Some(content_mix(PATH.as_bytes(), 0));
        exchange.start = Some(Instant::now());
        self.http.send(self.request.as_bytes()).await?;
        let head = self.http.head().await?;
        exchange.http_status = Some(head.status);
        self.body.clear();
        let at = loop {
            let arrived = self.http.body(&mut self.body).await?;
            if arrived.done {
                break arrived.at;
            }
            if self.body.len() > LONGEST {
                return Err(format!("wrong answer: more than {LONGEST} bytes"));
            }
        };
        exchange.bytes_received = self.body.len() as u64;
        exchange.end = Some(at);
        exchange.outcome = match head.status {
            200 if is_heartbeat(&self.body) => Outcome::Ok,
            200 => Outcome::Failed("wrong answer: no heartbeat".into()),
            status => Outcome::Failed(format!("status {status}: {}", message(&self.body)).into()),
        };
        Ok(if head.close { Connection::Broken } else { Connection::Reusable })
    }
}
