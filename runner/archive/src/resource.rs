//! One line of `resources.jsonl.zst`: what one node and one process group used over one second.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Timestamp;

/// Whose process group a sample describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The system under test.
    Service,
    /// The load generator.
    Client,
}

/// Figures over the time since the sample before (rates, events) or at the time of the sample (levels).
/// A figure that could not be read is absent, never zero. Percentages of a core may exceed 100 when several
/// cores were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceSample {
    pub time: Timestamp,
    /// Seconds from the benchmark's start; set when the sample is put into the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_s: Option<f64>,
    /// Seconds since the sample before, which the rates are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<f64>,
    pub node: String,
    pub role: Role,
    /// Share of all the node's cores that were busy, 0–100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu_percent: Option<f64>,
    /// The busiest core, 0–100: one saturated thread does not show in the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu_max_core_percent: Option<f64>,
    /// Every core, 0–100, in whole percent, by its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_cpu_cores_percent: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory_used_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory_total_bytes: Option<u64>,
    /// Processes ready to run or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_run_queue: Option<u64>,
    /// The load average over one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_load_1m: Option<f64>,
    /// Share of the time in which some task waited for CPU, memory or disk (pressure stall information).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu_pressure_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory_pressure_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_io_pressure_percent: Option<f64>,
    /// Processes that the kernel killed for want of memory, on the whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_oom_kills: Option<u64>,
    /// TCP segments sent again, of the network namespace of `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_retransmits: Option<u64>,
    /// Cores that the control group of `role` may use; absent without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_cpu_limit_cores: Option<f64>,
    /// Share of the quota's periods in which the group was stopped for having used its quota, 0–100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_cpu_throttled_percent: Option<f64>,
    /// Memory of the control group that cannot be dropped: without inactive file pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_memory_used_bytes: Option<u64>,
    /// The tightest limit on it, of the group or one above it; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_memory_limit_bytes: Option<u64>,
    /// Processes of the control group that the kernel killed for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_oom_kills: Option<u64>,
    /// CPU of the processes of `role`; 100 is one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_cpu_percent: Option<f64>,
    /// Time that threads of `role` were ready and waited for a core, summed; 100 is one thread waiting all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_wait_percent: Option<f64>,
    /// Cores that the process of the busiest thread may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_cpus_allowed: Option<u32>,
    /// The thread of `role` that ran and waited longest: its name, its CPU, its wait for a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_thread: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_thread_cpu_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_thread_wait_percent: Option<f64>,
    /// Resident memory of the processes of `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_rss_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_thread_count: Option<u64>,
    /// Page faults that had to read from disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_major_faults_per_second: Option<f64>,
    /// What the processes of `role` caused to be read from and written to storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_read_bytes_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_written_bytes_per_second: Option<f64>,
    /// TCP connections between clients and service, seen from `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_count: Option<u64>,
    /// Of these, connections with bytes that `role` has written and the network has not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_sending_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_unsent_bytes: Option<u64>,
    /// Bytes that have arrived and `role` has not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_unread_bytes: Option<u64>,
    /// Times that the service was begun anew since the sample before: the sockets that listen at its port are all other ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_restarts: Option<u64>,
    /// Network interfaces that carried anything, the loopback among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceSample>,
    /// Disks that did anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSample>,
    /// GPUs of the node; empty without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSample>,
    /// What the service says of itself, by the names of `docs/metrics.md`: `requests_waiting`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_figures: BTreeMap<String, f64>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceSample {
    pub name: String,
    pub received_bytes_per_second: f64,
    pub sent_bytes_per_second: f64,
    /// Packets dropped in both directions.
    pub dropped_packets: u64,
    /// What its hardware can carry in one direction; absent for a virtual interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes_per_second: Option<f64>,
    /// Waiting to leave at the time of the sample; absent for an interface without a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_bytes: Option<u64>,
    /// Packets that its queue has dropped since it was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_dropped_packets: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiskSample {
    pub name: String,
    pub read_bytes_per_second: f64,
    pub written_bytes_per_second: f64,
    /// Share of the time in which something was asked of it, 0–100.
    pub busy_percent: f64,
}

/// One GPU, as its driver tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuSample {
    pub index: u32,
    pub name: String,
    /// Share of the time in which some kernel ran, 0–100: not how much of the GPU it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_max_mhz: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
}

impl ResourceSample {
    /// A sample without any figure.
    pub fn new(time: Timestamp, node: &str, role: Role) -> Self {
        Self {
            time,
            node: node.to_owned(),
            role,
            offset_s: None,
            interval_s: None,
            node_cpu_percent: None,
            node_cpu_max_core_percent: None,
            node_cpu_cores_percent: Vec::new(),
            node_memory_used_bytes: None,
            node_memory_total_bytes: None,
            node_run_queue: None,
            node_load_1m: None,
            node_cpu_pressure_percent: None,
            node_memory_pressure_percent: None,
            node_io_pressure_percent: None,
            node_oom_kills: None,
            tcp_retransmits: None,
            cgroup_cpu_limit_cores: None,
            cgroup_cpu_throttled_percent: None,
            cgroup_memory_used_bytes: None,
            cgroup_memory_limit_bytes: None,
            cgroup_oom_kills: None,
            process_cpu_percent: None,
            process_wait_percent: None,
            process_cpus_allowed: None,
            busiest_thread: None,
            busiest_thread_cpu_percent: None,
            busiest_thread_wait_percent: None,
            process_rss_bytes: None,
            process_count: None,
            process_thread_count: None,
            process_major_faults_per_second: None,
            process_read_bytes_per_second: None,
            process_written_bytes_per_second: None,
            socket_count: None,
            socket_sending_count: None,
            socket_unsent_bytes: None,
            socket_unread_bytes: None,
            service_restarts: None,
            interfaces: Vec::new(),
            disks: Vec::new(),
            gpus: Vec::new(),
            service_figures: BTreeMap::new(),
            other: Map::new(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_an_older_build_and_of_a_newer_one_read() {
        let old = r#"{"time":"2026-03-01T12:00:00.000000Z","node":"n","role":"service","node_cpu_percent":12.5}"#;
        let sample: ResourceSample = serde_json::from_str(old).expect("reads");
        assert_eq!((sample.node_cpu_percent, sample.process_cpu_percent), (Some(12.5), None));
        assert_eq!(serde_json::to_string(&sample).expect("writes"), old);
        let newer = old.replace("12.5}", r#"12.5,"node_fans_rpm":[1,2]}"#);
        let sample: ResourceSample = serde_json::from_str(&newer).expect("reads");
        assert_eq!(serde_json::to_string(&sample).expect("writes"), newer);
    }
}
