//! The load of every vector database: uploads in batches and searches, each answer checked.
//!
//! Without an `operation_mix`, a closed loop that a count ends has two phases: every client uploads its vectors, and
//! when all have, every client searches. Otherwise the collection is filled before the load, and each request is drawn.

use std::sync::{Arc, OnceLock, atomic::AtomicU64};

use anyhow::{Result, bail, ensure};

use super::{
    Database, VectorSettings,
    client::VectorClient,
    exact::{self, Truth},
    generate::Vectors,
    rest::Rest,
};
use crate::load::{Arrival, Draw, Endpoint, LoadJob, PATIENCE, Place, Workload, patience, within};

const UPLOAD: u8 = 0;
pub const SEARCH: u8 = 1;

/// Different vectors that are searched for, at most: the truth about each has to be found first.
const MOST_QUERIES: u64 = 1000;
/// Vectors in one request while the collection is filled before the load.
const FILL: u64 = 256;
/// Stored vectors for the searches of a warm-up in front of phases.
pub const WARMUP_VECTORS: u64 = 256;

const DRAW_OPERATION: u64 = 0x6f70_6572;

/// Ids of vectors that are no part of the truth: this, whose sequence they are of, and a number in it. All ids are
/// exact in a JSON number.
const LATER: u64 = 1 << 52;
const LATER_WARMUP: u64 = 1 << 51;
const LATER_NUMBER: u64 = (1 << 32) - 1;
const MOST_SEQUENCES: u32 = 1 << 19;

/// Vectors that even a slow server brings into its index in a second.
const SLOW: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// So many uploads by every connection, then searches.
    Phases { uploads: u64 },
    /// A search with this share, else an upload; the collection is filled before.
    Mix { search_share: f64 },
}

#[derive(Clone)]
pub struct VectorLoad<D> {
    pub endpoint: Endpoint,
    pub settings: VectorSettings,
    seed: u64,
    pub mode: Mode,
    /// Warm-up in front of phases has a collection of its own.
    own_warmup: bool,
    /// Sequences of requests there are: connections in closed loop, one in open loop.
    sequences: u32,
    /// Vectors that each connection uploads in the first phase.
    share: u64,
    /// Vectors that the truth is about: ids below this.
    pub stored: u64,
    queries: u64,
    pub vectors: Vectors,
    pub database: D,
    pub truth: Option<Arc<Truth>>,
    /// Vectors that the server said it had taken in the first phase.
    pub taken: Arc<AtomicU64>,
    /// What is wrong with the server's count after the first phase, once somebody has asked.
    pub counted: Arc<OnceLock<Option<String>>>,
}

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `count` vectors of consecutive ids.
    Upload {
        first: u64,
        count: u64,
    },
    Search {
        query: u64,
    },
}

impl<D: Database> VectorLoad<D> {
    pub fn new(job: &LoadJob, settings: VectorSettings, database: D) -> Result<Self> {
        let spec = &job.spec;
        let (uploads, searches) = settings.per_connection()?;
        let closed = matches!(spec.arrival, Arrival::Closed { .. });
        let mode = match (&settings.operation_mix, spec.stop.duration_s) {
            (Some(mix), _) => Mode::Mix { search_share: search_share(mix)? },
            (None, None) if closed => Mode::Phases { uploads },
            // Searches of a schedule would not wait for the uploads before them, and time would cut the phases anywhere.
            (None, _) => Mode::Mix { search_share: 1.0 },
        };
        let share = settings.num_vectors / u64::from(settings.concurrent_requests.max(1));
        let is_upload_only = mode == Mode::Mix { search_share: 0.0 };
        let stored = if is_upload_only { 0 } else { share * u64::from(spec.clients) };
        ensure!(stored < LATER, "{stored} vectors are more than their ids can tell apart");
        let sequences = if closed { spec.clients } else { 1 };
        if sequences > MOST_SEQUENCES {
            bail!("{sequences} connections are more than the {MOST_SEQUENCES} whose uploads can be told apart");
        }
        let most = match (mode, spec.stop.requests) {
            (Mode::Phases { .. }, _) => searches.saturating_mul(u64::from(spec.clients)),
            (_, Some(requests)) => requests.saturating_mul(u64::from(sequences)),
            _ => u64::MAX,
        };
        Ok(Self {
            endpoint: job.endpoint.clone(),
            seed: spec.seed,
            own_warmup: matches!(mode, Mode::Phases { .. })
                && (spec.warmup.requests > 0 || spec.warmup.duration_s > 0.0),
            mode,
            sequences,
            share,
            stored,
            queries: most.clamp(1, MOST_QUERIES),
            vectors: Vectors::new(spec.seed, settings.dim as usize, settings.distribution),
            database,
            settings,
            truth: None,
            taken: Arc::default(),
            counted: Arc::default(),
        })
    }

    /// What a request is: a function of the seed and its place.
    pub fn plan(&self, place: Place) -> Request {
        let Place { sequence, index, warmup } = place;
        let mut draw = Draw::new(&[self.seed, DRAW_OPERATION, u64::from(sequence), index, u64::from(warmup)]);
        let batch = u64::from(self.settings.batch_size);
        let is_search = match self.mode {
            Mode::Phases { .. } if warmup => index % 2 == 1,
            Mode::Phases { uploads } => index >= uploads,
            Mode::Mix { search_share } => draw.uniform() < search_share,
        };
        if is_search {
            return Request::Search { query: draw.below(self.queries) };
        }
        if matches!(self.mode, Mode::Phases { .. }) && !warmup {
            let first = index * batch;
            let count = batch.min(self.share - first);
            return Request::Upload { first: u64::from(sequence) * self.share + first, count };
        }
        let number = index.wrapping_mul(batch) & LATER_NUMBER;
        let number = number.min(LATER_NUMBER + 1 - batch);
        let first = LATER | if warmup { LATER_WARMUP } else { 0 } | u64::from(sequence) << 32 | number;
        Request::Upload { first, count: batch }
    }

    /// Whether an id that is no part of the truth may be in the collection.
    pub fn may_be_sent(&self, id: u64) -> bool {
        id & LATER != 0 && id < 2 * LATER && (id & (LATER_WARMUP - 1)) >> 32 < u64::from(self.sequences)
    }

    pub fn in_warmup_collection(&self, place: Place) -> bool {
        self.own_warmup && place.warmup
    }

    /// Appends the body of an upload.
    pub fn write_upload(&self, first: u64, count: u64, scratch: &mut Vec<i16>, out: &mut Vec<u8>) {
        let ids: Vec<u64> = (first..first + count).collect();
        scratch.resize(ids.len() * self.vectors.dim, 0);
        for (id, vector) in ids.iter().zip(scratch.chunks_mut(self.vectors.dim)) {
            self.vectors.stored(*id, vector);
        }
        self.database.write_upload(&ids, scratch, self.vectors.dim, out);
    }

    async fn fill(&self, rest: &mut Rest, count: u64, warmup: bool) -> Result<(), String> {
        let (mut body, mut scratch) = (Vec::new(), Vec::new());
        for first in (0..count).step_by(FILL as usize) {
            body.clear();
            self.write_upload(first, FILL.min(count - first), &mut scratch, &mut body);
            let answer = rest.ask(&self.database.upload_target(warmup), &body).await?;
            self.database.read_upload(&answer)?;
        }
        Ok(())
    }

    async fn rest(&self) -> Result<Rest, String> {
        within(PATIENCE, "connecting", Rest::connect(&self.endpoint, self.database.headers())).await
    }
}

fn search_share(mix: &str) -> Result<f64> {
    let shares = mix.split_once(':').and_then(|(a, b)| Some((a.parse::<f64>().ok()?, b.parse::<f64>().ok()?)));
    match shares {
        Some((search, upload)) if search >= 0.0 && upload >= 0.0 && search + upload > 0.0 => {
            Ok(search / (search + upload))
        }
        _ => {
            bail!("operation_mix must be the shares of search and upload, such as `90:10`, not `{mix}`")
        }
    }
}

impl<D: Database> Workload for VectorLoad<D> {
    type Client = VectorClient<D>;

    fn operations(&self) -> &'static [&'static str] {
        &["upload", "search"]
    }

    fn operation(&self, place: Place) -> u8 {
        match self.plan(place) {
            Request::Upload { .. } => UPLOAD,
            Request::Search { .. } => SEARCH,
        }
    }

    fn meeting(&self) -> Option<u64> {
        match self.mode {
            Mode::Phases { uploads } => Some(uploads),
            Mode::Mix { .. } => None,
        }
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let mut rest = self.rest().await?;
        let (dim, distance) = (self.vectors.dim, self.settings.distance);
        self.database.create(&mut rest, dim, distance, false).await?;
        if self.own_warmup {
            self.database.create(&mut rest, dim, distance, true).await?;
            self.fill(&mut rest, WARMUP_VECTORS.max(u64::from(self.settings.top_k)), true).await?;
        }
        if matches!(self.mode, Mode::Mix { .. }) && self.stored > 0 {
            self.fill(&mut rest, self.stored, false).await?;
            let count = self.database.count(&mut rest).await?;
            if count != self.stored {
                return Err(format!("{} vectors were uploaded, and the server counts {count}", self.stored));
            }
            let limit = patience(self.stored, SLOW);
            within(limit, "waiting for the index", self.database.settle(&mut rest)).await?;
        }
        if self.stored > 0 {
            let top_k = self.settings.top_k as usize;
            let truth = exact::search(&self.vectors, distance, self.stored, self.queries, top_k).await;
            self.truth = Some(Arc::new(truth));
        }
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<VectorClient<D>, String> {
        Ok(VectorClient::new(self.clone(), self.rest().await?))
    }

    async fn clean_up(&self) -> Result<(), String> {
        let removed = async { self.database.remove(&mut self.rest().await?, self.own_warmup).await };
        removed.await.map_err(|reason| format!("the collection {}: {reason}", self.database.name(false)))
    }
}
