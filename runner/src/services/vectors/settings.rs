//! What the settings of all vector clients have in common.

use anyhow::{Result, ensure};

use super::{Distance, Distribution};
use crate::services::LoadDefaults;

/// What the settings of all vector clients have in common.
#[derive(Clone, Debug)]
pub struct VectorSettings {
    pub num_vectors: u64,
    pub num_queries: u64,
    pub dim: u32,
    pub batch_size: u32,
    pub top_k: u32,
    pub distance: Distance,
    pub distribution: Distribution,
    pub min_recall: f64,
    pub operation_mix: Option<String>,
    pub concurrent_requests: u32,
    pub warmup_delay: f64,
    pub threads: Option<u32>,
}

impl VectorSettings {
    /// Uploads and searches of one connection.
    pub fn per_connection(&self) -> Result<(u64, u64)> {
        let connections = u64::from(self.concurrent_requests.max(1));
        for (name, count) in [("num_vectors", self.num_vectors), ("num_queries", self.num_queries)] {
            ensure!(
                count.is_multiple_of(connections),
                "{connections} connections cannot share the {count} of `{name}` evenly: make it a multiple of \
                 {connections}"
            );
        }
        ensure!(
            u64::from(self.top_k) <= self.num_vectors,
            "`top_k` is {}, and there are only {} vectors to find: give fewer, or more `num_vectors`",
            self.top_k,
            self.num_vectors
        );
        let uploads = (self.num_vectors / connections).div_ceil(u64::from(self.batch_size));
        Ok((uploads, self.num_queries / connections))
    }

    pub fn load_defaults(&self) -> Result<LoadDefaults> {
        let (uploads, searches) = self.per_connection()?;
        let requests = if self.operation_mix.is_some() { searches } else { uploads + searches };
        Ok(LoadDefaults {
            requests_per_client: requests * u64::from(self.concurrent_requests.max(1)),
            concurrency_per_client: self.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: self.warmup_delay,
            threads: self.threads,
        })
    }
}
