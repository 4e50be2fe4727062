//! What the clients of all vector databases share: reproducible vectors, exact search, and the load itself.
//!
//! A database adds how its HTTP API spells creating, uploading and searching ([`Database`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod client;
mod exact;
mod generate;
mod load;
mod rest;
mod settings;
mod verify;

pub use self::{
    generate::{floats, write_decimals},
    load::VectorLoad,
    rest::{Rest, message},
    settings::VectorSettings,
    verify::Hit,
};

/// How near two vectors are to each other; the smaller the nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// 1 − a·b / (|a|·|b|).
    Cosine,
    /// |a − b|².
    Euclidean,
    /// 1 − a·b.
    Dot,
}

/// How the components of vectors are drawn, all between −1.4 and 1.4 with four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Each uniform in [−1, 1].
    Uniform,
    /// One of 64 centres, itself uniform, and uniform noise of at most 0.4 around it.
    Clustered,
}

/// How a database's HTTP API says what every vector database can do.
#[allow(async_fn_in_trait)] // every future stays on the thread that made it
pub trait Database: Clone + Send + Sync + 'static {
    /// Header lines of every request, each with its line end.
    fn headers(&self) -> &str;
    /// Creates the collection, or the one for warm-up.
    async fn create(&mut self, rest: &mut Rest, dim: usize, distance: Distance, warmup: bool) -> Result<(), String>;
    /// Waits until searches use what was uploaded.
    async fn settle(&self, rest: &mut Rest) -> Result<(), String>;
    /// Vectors in the collection, as the server counts them.
    async fn count(&self, rest: &mut Rest) -> Result<u64, String>;
    /// The name of the collection, or of the one for warm-up.
    fn name(&self, warmup: bool) -> String;
    /// Removes the collection and the one for warm-up, if there may be one, as far as they are there.
    async fn remove(&self, rest: &mut Rest, warmup: bool) -> Result<(), String>;
    /// Method and path of an upload, and of a search.
    fn upload_target(&self, warmup: bool) -> String;
    fn search_target(&self, warmup: bool) -> String;
    /// Appends the body of an upload: as many ids as vectors, which stand in one row.
    fn write_upload(&self, ids: &[u64], vectors: &[i16], dim: usize, out: &mut Vec<u8>);
    fn write_search(&self, query: &[i16], top_k: u32, out: &mut Vec<u8>);
    /// Whether the body of a successful status is that of a done upload.
    fn read_upload(&self, body: &[u8]) -> Result<(), String>;
    /// Appends the results in their order.
    fn read_search(&self, body: &[u8], distance: Distance, hits: &mut Vec<Hit>) -> Result<(), String>;
}
