//! The `minio_stress` workload: PUT, GET, LIST and DELETE of objects, every answer checked.
//!
//! A key is a token of this run, a slash, and the name of the object ([`super::plan`]).

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Error, Result};
use rusty_s3::actions::ListObjectsV2;
use serde::Deserialize;

use super::{
    MinioSettings, MinioStressSettings,
    client::ObjectClient,
    ledger::{Found, Ledger},
    objects::Contents,
    plan::{Object, Plan, Request},
    signed::{self, Signer},
};
use crate::{
    load::{Connection, Doubt, Endpoint, Exchange, LoadJob, Outcome, PATIENCE, Place, Workload, patience, within},
    services::{http::Http, token::token},
};

const OPERATIONS: &[&str] = &["PUT", "GET", "LIST", "DELETE"];
/// Bytes that even a slow store takes in a second.
const SLOW: u64 = 1_000_000;

#[derive(Clone)]
pub struct ObjectLoad {
    pub endpoint: Endpoint,
    pub plan: Plan,
    pub contents: Contents,
    pub signer: Signer,
    bucket: String,
    create_bucket: bool,
    /// What every key begins with.
    pub folder: String,
    /// Multipart uploads that were begun and, as far as is known, not completed: key and upload id.
    pub unfinished: Arc<Mutex<Vec<(String, String)>>>,
    pub ledger: Ledger,
}

impl ObjectLoad {
    pub fn new(job: &LoadJob, settings: &MinioStressSettings) -> Result<Self> {
        let plan = Plan::new(job, settings)?;
        let service = MinioSettings::deserialize(&job.service_settings)?;
        let token = token();
        let bucket =
            if settings.create_bucket { format!("{}-{token}", settings.bucket) } else { settings.bucket.clone() };
        Ok(Self {
            endpoint: job.endpoint.clone(),
            plan,
            contents: Contents::new(job.spec.seed, settings.object_size_bytes, settings.multipart_part_size_bytes),
            signer: Signer::new(&job.endpoint, &service, &bucket).map_err(Error::msg)?,
            bucket,
            create_bucket: settings.create_bucket,
            folder: format!("{token}/"),
            unfinished: Arc::default(),
            ledger: Ledger::default(),
        })
    }

    pub fn key(&self, object: Object) -> String {
        format!("{}{}", self.folder, object.name())
    }

    async fn ask(&self, target: &str, headers: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        match signed::ask_with(&self.endpoint, &self.signer, target, headers, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => Err(format!("status {status}: {}", signed::message(&answer))),
        }
    }

    /// All objects of the run, as the store lists them.
    async fn listed(&self) -> Result<Found, Doubt> {
        let (mut found, mut last) = (Found::default(), None);
        loop {
            let page = self.ask(&self.signer.list(&self.folder, last.as_deref()), "", b"").await?;
            let page = ListObjectsV2::parse_response(&page).map_err(|err| format!("a listing that is none: {err}"))?;
            if page.contents.is_empty() {
                return Ok(found);
            }
            for listed in page.contents {
                if last.as_ref().is_some_and(|last| listed.key <= *last) {
                    return Err(Doubt::Wrong(format!("{} is listed out of order", listed.key)));
                }
                let object = listed.key.strip_prefix(&self.folder).and_then(Object::of_name);
                match object {
                    None => return Err(Doubt::Wrong(format!("{} is listed, and was never put", listed.key))),
                    Some(_) if listed.size != self.contents.size() as u64 => {
                        return Err(Doubt::Wrong(format!("{} is listed with {} bytes", listed.key, listed.size)));
                    }
                    Some(object) if object.is_pooled() => found.pooled += 1,
                    Some(object) if object.is_phased() => found.phased += 1,
                    Some(object) => _ = found.again.insert(object),
                }
                last = Some(listed.key);
            }
        }
    }

    async fn remove_objects(&self) -> Result<(), String> {
        let unfinished = std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, upload) in unfinished {
            // One that was completed after all, or never begun, is not there. A store that does not answer ends this.
            let abort = self.signer.abort_multipart(&key, &upload);
            signed::ask(&self.endpoint, &self.signer, &abort, b"").await?;
        }
        let mut first = String::new();
        loop {
            let page = match self.ask(&self.signer.list(&self.folder, None), "", b"").await {
                Err(reason) if self.create_bucket && reason.contains("NoSuchBucket") => return Ok(()),
                page => page?,
            };
            let page = ListObjectsV2::parse_response(&page).map_err(|err| format!("a listing that is none: {err}"))?;
            let Some(found) = page.contents.first() else { return Ok(()) };
            if found.key == first {
                return Err(format!("{first} is still there after it was deleted"));
            }
            first = found.key.clone();
            let keys = page.contents.into_iter().map(|object| object.key).collect();
            let (target, headers, body) = self.signer.delete_all(keys);
            let answer = self.ask(&target, &headers, body.as_bytes()).await?;
            if let Some(code) = signed::between(&answer, "<Code>", "</Code>") {
                return Err(format!("objects cannot be deleted: {code}"));
            }
        }
    }
}

impl Workload for ObjectLoad {
    type Client = ObjectClient;

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn operation(&self, place: Place) -> u8 {
        self.plan.request(place).operation() as u8
    }

    /// Creates the bucket and writes the pooled objects.
    async fn prepare(&mut self) -> Result<(), String> {
        if self.create_bucket {
            self.ask(&self.signer.create_bucket(), "", b"").await?;
        }
        let limit = patience(self.contents.size() as u64, SLOW);
        let mut client = None;
        for object in self.plan.pooled() {
            let mut connected = match client.take() {
                Some(client) => client,
                None => within(PATIENCE, "connecting", self.connect(0)).await?,
            };
            let mut exchange = Exchange::default();
            let connection =
                within(limit, "putting an object", connected.ask(&mut exchange, Request::Put(object))).await?;
            if let Outcome::Failed(reason) = exchange.outcome {
                return Err(reason.into_owned());
            }
            client = (connection == Connection::Reusable).then_some(connected);
        }
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<ObjectClient, String> {
        let http = Http::connect(&self.endpoint).await?;
        Ok(ObjectClient::new(self.clone(), http))
    }

    /// Lists what is there, and compares that with what the answers to the writes say.
    async fn verify(&self) -> Result<(), Doubt> {
        let found = self.listed().await?;
        self.ledger.check(self.plan.pooled().count() as u64, &found).map_err(Doubt::Wrong)
    }

    async fn clean_up(&self) -> Result<(), String> {
        let (folder, bucket) = (&self.folder, &self.bucket);
        self.remove_objects()
            .await
            .map_err(|reason| format!("objects below {folder} in the bucket {bucket}: {reason}"))?;
        if self.create_bucket {
            match self.ask(&self.signer.delete_bucket(), "", b"").await {
                Err(reason) if !reason.contains("NoSuchBucket") => {
                    return Err(format!("the bucket {bucket}: {reason}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
