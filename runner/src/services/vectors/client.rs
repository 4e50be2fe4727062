//! One connection of a vector client: an upload or a search, and whether the answer is right.
//!
//! Bodies are written before, and answers checked after, the time that counts.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    Database, Hit,
    load::{Mode, Request, SEARCH, VectorLoad, WARMUP_VECTORS},
    rest::{Rest, message},
    verify::{self, Expected},
};
use crate::load::{Client, Connection, Exchange, Outcome, content_mix, one_by_one};

pub struct VectorClient<D> {
    load: VectorLoad<D>,
    rest: Rest,
    body: Vec<u8>,
    batch: Vec<i16>,
    query: Vec<i16>,
    vector: Vec<i16>,
    hits: Vec<Hit>,
}

impl<D: Database> Client for VectorClient<D> {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        one_by_one(batch, async |exchange| self.ask(exchange).await).await
    }
}

impl<D: Database> VectorClient<D> {
    pub fn new(load: VectorLoad<D>, rest: Rest) -> Self {
        let dim = load.vectors.dim;
        let (query, vector) = (vec![0; dim], vec![0; dim]);
        Self { load, rest, body: Vec::new(), batch: Vec::new(), query, vector, hits: Vec::new() }
    }

    async fn ask(&mut self, exchange: &mut Exchange) -> Result<Connection, String> {
        let load = &self.load;
        let warmup = load.in_warmup_collection(exchange.place);
        let request = load.plan(exchange.place);
        self.body.clear();
        let target = match request {
            Request::Upload { first, count } => {
                load.write_upload(first, count, &mut self.batch, &mut self.body);
                exchange.vectors = count;
                load.database.upload_target(warmup)
            }
            Request::Search { query } => {
                load.vectors.query(query, &mut self.query);
                load.database.write_search(&self.query, load.settings.top_k, &mut self.body);
                load.database.search_target(warmup)
            }
        };
        if exchange.operation == SEARCH && !exchange.place.warmup && matches!(load.mode, Mode::Phases { .. }) {
            self.count_once().await?;
        }
        let load = &self.load;
        self.rest.write(&target, &self.body);
        self.rest.revive(&load.endpoint).await?;
        exchange.content = Some(content_mix(&self.body, u64::from(exchange.operation)));
        exchange.bytes_sent = self.body.len() as u64;
        exchange.start = Some(Instant::now());
        let (status, close, at) = self.rest.exchange().await?;
        exchange.http_status = Some(status);
        exchange.bytes_received = self.rest.answer.len() as u64;
        exchange.end = Some(at);
        exchange.outcome = match self.judge(exchange, request, status) {
            Ok(()) => Outcome::Ok,
            Err(reason) => Outcome::Failed(reason.into()),
        };
        Ok(if close { Connection::Broken } else { Connection::Reusable })
    }

    fn judge(&mut self, exchange: &mut Exchange, request: Request, status: u16) -> Result<(), String> {
        let load = &self.load;
        let answer = &self.rest.answer;
        if !(200..300).contains(&status) {
            return Err(format!("status {status}: {}", message(answer)));
        }
        if let Request::Upload { count, .. } = request {
            load.database.read_upload(answer)?;
            if !exchange.place.warmup {
                load.taken.fetch_add(count, Ordering::Relaxed);
            }
            return Ok(());
        }
        let Request::Search { query } = request else { return Ok(()) };
        self.hits.clear();
        load.database.read_search(answer, load.settings.distance, &mut self.hits)?;
        let in_warmup = load.in_warmup_collection(exchange.place);
        let top_k = load.settings.top_k;
        let expected = Expected {
            vectors: &load.vectors,
            distance: load.settings.distance,
            results: top_k as usize,
            stored: if in_warmup { WARMUP_VECTORS.max(u64::from(top_k)) } else { load.stored },
            truth: load.truth.as_deref().filter(|_| !in_warmup).map(|truth| (truth, query)),
            min_recall: load.settings.min_recall,
        };
        let may_be_sent = |id| load.may_be_sent(id);
        let (recall, verdict) = verify::verify(&expected, &self.query, &self.hits, may_be_sent, &mut self.vector);
        exchange.recall = recall;
        verdict?;
        match load.counted.get() {
            Some(Some(wrong)) if !exchange.place.warmup => Err(wrong.clone()),
            _ => Ok(()),
        }
    }

    /// Between the phases: whether the server has what it said it had taken, and no more than it was sent.
    async fn count_once(&mut self) -> Result<(), String> {
        if self.load.counted.get().is_some() {
            return Ok(());
        }
        self.rest.revive(&self.load.endpoint).await?;
        let count = self.load.database.count(&mut self.rest).await?;
        let (taken, sent) = (self.load.taken.load(Ordering::Relaxed), self.load.stored);
        let wrong = (count < taken || count > sent)
            .then(|| format!("wrong answer: the server counts {count} vectors and has taken {taken}"));
        self.load.counted.get_or_init(|| wrong);
        Ok(())
    }
}
