//! A tree of processes: CPU, waits for a core, memory, page faults and disk traffic, and its busiest thread.

use std::collections::HashMap;

use archive::ResourceSample;
use procfs::{process::Process, ticks_per_second};

use super::{super::process, since, tenth};

/// Threads beyond this are not looked at one by one: that would cost more than it tells.
const MOST_THREADS: u64 = 1024;

/// What was read last.
#[derive(Default)]
pub struct Tree {
    ticks: Option<u64>,
    major_faults: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    /// Thread → nanoseconds run and waited.
    threads: HashMap<i32, (u64, u64)>,
    busiest: Option<i32>,
}

/// One thread since the sample before.
struct ThreadShare {
    process: usize,
    thread: i32,
    ran_ns: u64,
    waited_ns: u64,
}

impl Tree {
    /// The process that the busiest thread belonged to.
    pub fn busiest_process(&self) -> Option<i32> {
        self.busiest
    }

    pub fn fill(&mut self, root: i32, sample: &mut ResourceSample, seconds: f64) {
        let processes = process::tree(root);
        if processes.is_empty() {
            return;
        }
        let stats: Vec<_> = processes.iter().filter_map(|process| process.stat().ok()).collect();
        // Children that ended are in the counts of the parent that waited for them, so the sum never falls for them.
        let ticks = stats.iter().map(|stat| stat.utime + stat.stime + (stat.cutime + stat.cstime).max(0) as u64).sum();
        let faults = stats.iter().map(|stat| stat.majflt + stat.cmajflt).sum();
        sample.process_cpu_percent = since(&mut self.ticks, Some(ticks))
            .map(|ticks| tenth(ticks as f64 / ticks_per_second() as f64 / seconds * 100.0));
        sample.process_major_faults_per_second =
            since(&mut self.major_faults, Some(faults)).map(|faults| tenth(faults as f64 / seconds));
        sample.process_rss_bytes = Some(stats.iter().map(|stat| stat.rss * procfs::page_size()).sum());
        sample.process_count = Some(stats.len() as u64);
        let threads = stats.iter().map(|stat| stat.num_threads.max(0) as u64).sum();
        sample.process_thread_count = Some(threads);

        // Not every process lets itself be looked at; part of a sum is no figure.
        let io: Option<Vec<_>> = processes.iter().map(|process| process.io().ok()).collect();
        let sum = |of: fn(&procfs::process::Io) -> u64| io.as_ref().map(|io| io.iter().map(of).sum::<u64>());
        let rate = |bytes: u64| (bytes as f64 / seconds).round();
        sample.process_read_bytes_per_second = since(&mut self.read_bytes, sum(|io| io.read_bytes)).map(rate);
        sample.process_written_bytes_per_second = since(&mut self.written_bytes, sum(|io| io.write_bytes)).map(rate);

        if threads <= MOST_THREADS {
            self.fill_threads(&processes, sample, seconds);
        } else {
            self.threads.clear();
        }
    }

    fn fill_threads(&mut self, processes: &[Process], sample: &mut ResourceSample, seconds: f64) {
        let mut now = HashMap::new();
        let mut shares = Vec::new();
        for (index, process) in processes.iter().enumerate() {
            for task in process.tasks().into_iter().flatten().flatten() {
                let Ok(stat) = task.schedstat() else { continue };
                let total = (stat.sum_exec_runtime, stat.run_delay);
                now.insert(task.tid, total);
                // A thread that is new has done all of it since; at the first look nothing is known.
                let before = self.threads.get(&task.tid).copied().unwrap_or_default();
                if let (Some(ran_ns), Some(waited_ns)) = (total.0.checked_sub(before.0), total.1.checked_sub(before.1))
                {
                    shares.push(ThreadShare { process: index, thread: task.tid, ran_ns, waited_ns });
                }
            }
        }
        let first = self.threads.is_empty();
        self.threads = now;
        let busiest = shares.iter().max_by_key(|share| share.ran_ns + share.waited_ns);
        let Some(busiest) = busiest.filter(|_| !first) else { return };
        let percent = |ns: u64| tenth(ns as f64 / 1e9 / seconds * 100.0);
        sample.process_wait_percent = Some(percent(shares.iter().map(|share| share.waited_ns).sum()));
        sample.busiest_thread_cpu_percent = Some(percent(busiest.ran_ns));
        sample.busiest_thread_wait_percent = Some(percent(busiest.waited_ns));
        let process = &processes[busiest.process];
        self.busiest = Some(process.pid);
        if let Ok(status) = process.task_from_tid(busiest.thread).and_then(|task| task.status()) {
            sample.busiest_thread = Some(status.name);
            let ranges = status.cpus_allowed_list.unwrap_or_default();
            let allowed: u32 = ranges.iter().map(|(first, last)| last.saturating_sub(*first) + 1).sum();
            let present = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
            // The list names cores that the machine could have; affinity of this process narrows what is seen.
            let cores = sample.node_cpu_cores_percent.len() as u32;
            sample.process_cpus_allowed = (allowed > 0).then_some(allowed.min(cores.max(present)));
        }
    }
}
