//! One request and what became of it; what a workload is to the driver.
//!
//! A workload knows what a request is and how to send it; when it is sent, how long it may take and where it
//! is recorded is the driver's business.

use std::{borrow::Cow, time::Instant};

/// Which request this is. Its content is a function of the seed and of this, and of nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Closed loop: the client whose sequence this is. Open loop: 0, all clients share one sequence.
    pub sequence: u32,
    /// Place in the sequence, from 0. In closed loop, warm-up has a sequence of its own, so that the measured
    /// one is the same whatever the warm-up; in open loop it is the head of the one sequence.
    pub index: u64,
    pub warmup: bool,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// No answer yet. The driver makes a timeout of it when time is up.
    #[default]
    Pending,
    /// A complete and right answer.
    Ok,
    /// Anything else, and why; `wrong answer: …` when it was complete and not right.
    Failed(Cow<'static, str>),
}

/// What is known of a streamed answer besides its times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streamed {
    /// When the first chunk of any kind was read.
    pub first_chunk: Option<Instant>,
    /// When the first chunk with content was read.
    pub first: Option<Instant>,
    /// Between consecutive chunks with content, in microseconds.
    pub gaps_us: Vec<u32>,
    pub input_tokens: Option<u64>,
    /// What a drawn prompt was meant to have of them.
    pub asked_tokens: Option<u64>,
    /// Of these, what the server had in its prompt cache.
    pub cached_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    /// The server gave no usage: `output_tokens` is the number of chunks with content.
    pub tokens_by_chunk: bool,
}

/// One request on its way. The driver fills in the first two, the client everything else.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub place: Place,
    /// Index into [`Workload::operations`].
    pub operation: u8,
    /// Just before the first byte was written. A client stamps it before it writes.
    pub start: Option<Instant>,
    /// When the last byte was read, stamped on the read and before parsing.
    pub end: Option<Instant>,
    pub outcome: Outcome,
    pub http_status: Option<u16>,
    /// Payload bytes, in the service's own sense; no protocol overhead.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// [`super::content_mix`] over what was sent; absent when nothing was.
    pub content: Option<u64>,
    /// When the first byte of the answer's body was read, where that is told apart from its end.
    pub first_byte: Option<Instant>,
    /// In nanoseconds, the times of [`Workload::steps`] as far as it came, one after the other from `start` on.
    pub steps_ns: Vec<u64>,
    /// In nanoseconds, the times of [`Workload::server_times`] that the server reports.
    pub server_ns: Vec<Option<u64>>,
    /// Only for searches whose right answer is known.
    pub recall: Option<Recall>,
    /// Only of uploads of vectors: how many.
    pub vectors: u64,
    /// Only for streamed answers.
    pub streamed: Option<Streamed>,
}

/// How many of the true nearest neighbours a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recall {
    pub found: u32,
    /// Not zero.
    pub of: u32,
}

impl Exchange {
    /// A clean exchange for the next request; keeps the allocations of the one before.
    pub fn reset(&mut self, place: Place, operation: u8) {
        let gaps_us = match self.streamed.take() {
            Some(mut streamed) => {
                streamed.gaps_us.clear();
                streamed.gaps_us
            }
            None => Vec::new(),
        };
        let streamed = (gaps_us.capacity() > 0).then(|| Streamed { gaps_us, ..Streamed::default() });
        let mut steps_ns = std::mem::take(&mut self.steps_ns);
        steps_ns.clear();
        let mut server_ns = std::mem::take(&mut self.server_ns);
        server_ns.clear();
        *self = Self { place, operation, streamed, steps_ns, server_ns, ..Self::default() };
    }

    /// Marks an exchange that has no outcome yet as failed, and one that has no end as ended at `end`.
    pub fn fail(&mut self, end: Instant, reason: impl Into<Cow<'static, str>>) {
        self.end.get_or_insert(end);
        if self.outcome == Outcome::Pending {
            self.outcome = Outcome::Failed(reason.into());
        }
    }
}

/// Why the service's data are not known to be what the load wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// They were looked at, and are something else.
    Wrong(String),
    /// They could not be looked at.
    Unknown(String),
}

impl From<String> for Doubt {
    fn from(reason: String) -> Self {
        Self::Unknown(reason)
    }
}

/// What a connection is good for after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Connection {
    Reusable,
    /// Closed, or in an unknown state: the driver connects anew before the next request.
    Broken,
}

/// A kind of request sequence, and how to reach what it is sent to. One clone a thread.
#[allow(async_fn_in_trait)] // every future stays on the thread that made it
pub trait Workload: Clone + Send + 'static {
    type Client: Client;

    /// Names of the operations, in the service's words.
    fn operations(&self) -> &'static [&'static str];

    /// Names of the steps, where each request is several round trips.
    fn steps(&self) -> &'static [&'static str] {
        &[]
    }

    /// Names of the times that the server itself reports with an answer.
    fn server_times(&self) -> &'static [&'static str] {
        &[]
    }

    /// Which operation a request is. Pure.
    fn operation(&self, place: Place) -> u8;

    /// Closed loop: the measured index before which every client waits until all have come so far; for phases
    /// of which the second needs all of the first.
    fn meeting(&self) -> Option<u64> {
        None
    }

    /// Once, before any client connects: what the load needs to find in the service. Each step within
    /// [`super::patience`].
    async fn prepare(&mut self) -> Result<(), String>;

    /// In place of that, once the first node has prepared the service, on every other node that drives a part of the load.
    async fn join(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// A client, ready to send. `client` counts from 0. Dropping the future or the client closes the connection.
    async fn connect(&self, client: u32) -> Result<Self::Client, String>;

    /// Once, after the last client is gone: whether the service holds what the load wrote to it. No request shows it
    /// when it does not, so the benchmark as a whole has failed. Each step within [`super::patience`].
    async fn verify(&self) -> Result<(), Doubt> {
        Ok(())
    }

    /// Once, after that and after a failed [`Workload::prepare`]: removes from the service what the load put there, or may
    /// have put there. Each step within [`super::patience`]; an error says what may be left.
    async fn clean_up(&self) -> Result<(), String>;
}

/// Sends the requests of a batch one after the other. An error of `ask` fails its request and ends the connection.
pub async fn one_by_one(
    batch: &mut [Exchange],
    mut ask: impl AsyncFnMut(&mut Exchange) -> Result<Connection, String>,
) -> Connection {
    let mut connection = Connection::Reusable;
    for exchange in batch {
        connection = match ask(exchange).await {
            Ok(connection) => connection,
            Err(reason) => {
                exchange.fail(Instant::now(), reason);
                return Connection::Broken;
            }
        };
    }
    connection
}

/// One client with its connection.
#[allow(async_fn_in_trait)] // as above
pub trait Client {
    /// Sends the requests of the batch, all before the first answer is awaited, and fills the exchanges in.
    /// Every exchange has an outcome at the end. The driver drops the future when time is up: exchanges that
    /// are complete by then count as such.
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection;

    /// Open loop: a request that is sent next, told when there may be time left until it is due.
    fn get_ready(&mut self, _place: Place) {}
}
