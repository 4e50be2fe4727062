//! Samples what a node and a tree of processes use, for one line a second.
//!
//! Reads `/proc` only. A figure that cannot be read is absent.

use std::time::Instant;

use archive::{ResourceSample, Role, Timestamp};
use procfs::{CpuTime, Current, CurrentSI, KernelStats, Meminfo, ticks_per_second};

use super::process;

/// Turns counters into rates between one sample and the next.
pub struct Sampler {
    role: Role,
    node: String,
    /// The process whose tree is sampled.
    root: Option<i32>,
    before: Option<Counters>,
}

struct Counters {
    at: Instant,
    /// Busy and total ticks: of all cores, then of each.
    node: Vec<(u64, u64)>,
    process_ticks: Option<u64>,
}

impl Sampler {
    pub fn new(role: Role, node: &str, root: Option<i32>) -> Self {
        let mut sampler = Self { role, node: node.to_owned(), root, before: None };
        sampler.sample();
        sampler
    }

    /// The figures since the call before.
    pub fn sample(&mut self) -> ResourceSample {
        let now = Instant::now();
        let kernel = KernelStats::current().ok();
        let node: Vec<_> = kernel
            .iter()
            .flat_map(|stats| std::iter::once(&stats.total).chain(&stats.cpu_time))
            .map(busy_and_total)
            .collect();
        let processes = self.root.map(process::tree);
        let stats: Option<Vec<_>> =
            processes.as_ref().map(|list| list.iter().filter_map(|process| process.stat().ok()).collect());
        let process_ticks = stats.as_ref().map(|stats| stats.iter().map(|stat| stat.utime + stat.stime).sum::<u64>());
        let memory = Meminfo::current().ok();

        let busy = |index: usize| -> Option<f64> {
            let before = self.before.as_ref()?.node.get(index)?;
            let after = node.get(index)?;
            let total = after.1.checked_sub(before.1).filter(|total| *total > 0)?;
            Some(after.0.saturating_sub(before.0) as f64 / total as f64 * 100.0)
        };
        let process_cpu_percent = self.before.as_ref().and_then(|before| {
            let seconds = now.duration_since(before.at).as_secs_f64();
            // A process that ended takes its ticks with it; a negative rate is no figure.
            let ticks = process_ticks?.checked_sub(before.process_ticks?)?;
            (seconds > 0.0).then(|| ticks as f64 / ticks_per_second() as f64 / seconds * 100.0)
        });
        let max_core = (1..node.len()).filter_map(busy).max_by(f64::total_cmp);
        let sample = ResourceSample {
            time: Timestamp::now(),
            offset_s: None,
            node: self.node.clone(),
            role: self.role,
            node_cpu_percent: busy(0).map(tenth),
            node_cpu_max_core_percent: max_core.map(tenth),
            node_memory_used_bytes: memory
                .as_ref()
                .and_then(|memory| Some(memory.mem_total.saturating_sub(memory.mem_available?))),
            node_memory_total_bytes: memory.as_ref().map(|memory| memory.mem_total),
            node_run_queue: kernel.as_ref().and_then(|stats| stats.procs_running).map(u64::from),
            process_cpu_percent: process_cpu_percent.map(tenth),
            process_rss_bytes: stats
                .as_ref()
                .map(|stats| stats.iter().map(|stat| stat.rss * procfs::page_size()).sum()),
            process_count: stats.as_ref().map(|stats| stats.len() as u64),
        };
        self.before = Some(Counters { at: now, node, process_ticks });
        sample
    }
}

/// Ticks spent on anything but idling and waiting for disks, and all ticks.
fn busy_and_total(cpu: &CpuTime) -> (u64, u64) {
    let idle = cpu.idle + cpu.iowait.unwrap_or(0);
    let busy =
        cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0) + cpu.steal.unwrap_or(0);
    (busy, busy + idle)
}

/// The kernel counts in hundredths of a second: more digits than a tenth of a percent mean nothing.
fn tenth(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen() {
        let mut sampler = Sampler::new(Role::Client, "here", Some(std::process::id() as i32));
        let begun = Instant::now();
        let mut turns = 0u64;
        while begun.elapsed().as_millis() < 300 {
            turns = std::hint::black_box(turns + 1);
        }
        let sample = sampler.sample();
        assert!(sample.process_cpu_percent.expect("read") > 10.0, "{sample:?}");
        assert!(sample.process_rss_bytes.expect("read") > 100_000);
        assert!(sample.node_cpu_percent.expect("read") <= 100.0);
        assert!(sample.node_memory_used_bytes < sample.node_memory_total_bytes);
    }
}
