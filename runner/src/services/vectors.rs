//! What the clients of all vector databases share: reproducible vectors, exact search, and the load itself.
//!
//! A database adds how its HTTP API spells creating, uploading and searching ([`Database`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod exact;
mod generate;
mod load;
mod verify;

pub use self::{
    generate::{floats, write_decimals},
    load::{Database, Rest, VectorLoad, VectorSettings, message, token},
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
