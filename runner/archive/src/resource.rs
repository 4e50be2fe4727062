//! One line of `resources.jsonl.zst`: what one node and one process group used over one second.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Whose process group a sample describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The system under test.
    Service,
    /// The load generator.
    Client,
}

/// Figures over the time since the sample before (rates) or at the time of the sample (levels).
/// A figure that could not be read is absent, never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceSample {
    pub time: Timestamp,
    /// Seconds from the benchmark's start; set when the sample is put into the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_s: Option<f64>,
    pub node: String,
    pub role: Role,
    /// Share of all the node's cores that were busy, 0–100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu_percent: Option<f64>,
    /// The busiest core, 0–100: one saturated thread does not show in the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu_max_core_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory_used_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory_total_bytes: Option<u64>,
    /// Processes ready to run or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_run_queue: Option<u64>,
    /// CPU of the processes of `role`; 100 is one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_cpu_percent: Option<f64>,
    /// Resident memory of the processes of `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_rss_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_count: Option<u64>,
}

/// Reads the lines of a `resources.jsonl.zst`.
pub struct ResourceReader {
    lines: std::io::Lines<BufReader<zstd::Decoder<'static, BufReader<File>>>>,
    name: String,
}

impl ResourceReader {
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        Ok(Self { lines: BufReader::new(zstd::Decoder::new(file)?).lines(), name })
    }
}

impl Iterator for ResourceReader {
    type Item = Result<ResourceSample>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(
            line.map_err(anyhow::Error::from)
                .and_then(|line| Ok(serde_json::from_str(&line)?))
                .with_context(|| format!("cannot read {}", self.name)),
        )
    }
}
