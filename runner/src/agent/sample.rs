//! Samples what a node and a tree of processes use, for one line a second.
//!
//! Reads `/proc`, `/sys/fs/cgroup` and the GPU driver. A figure that cannot be read is absent.

use std::time::Instant;

use archive::{ResourceSample, Role, Timestamp};
use procfs::{
    CpuPressure, CpuTime, Current, CurrentSI, IoPressure, KernelStats, LoadAverage, Meminfo, MemoryPressure,
    process::Process,
};

mod cgroup;
mod gpu;
mod netlink;
mod processes;
mod queues;
mod sockets;
mod traffic;

use self::{cgroup::Cgroups, gpu::Gpus, processes::Tree, traffic::Traffic};

/// Turns counters into rates between one sample and the next.
pub struct Sampler {
    role: Role,
    node: String,
    /// The process whose tree is sampled.
    root: Option<i32>,
    /// Where the service listens.
    port: Option<u16>,
    at: Instant,
    cores: Vec<(u64, u64)>,
    pressure: [Option<u64>; 3],
    node_oom_kills: Option<u64>,
    tree: Tree,
    cgroups: Cgroups,
    traffic: Traffic,
    gpus: Gpus,
}

impl Sampler {
    /// Samples the tree of `root`, if there is one here; connections to `port` are those of the benchmark. GPUs
    /// are asked for the service only: both roles on one node would tell the same twice.
    pub fn new(role: Role, node: &str, root: Option<i32>, port: Option<u16>) -> Self {
        let mut sampler = Self {
            role,
            node: node.to_owned(),
            root,
            port: port.filter(|port| *port > 0),
            at: Instant::now(),
            cores: Vec::new(),
            pressure: [None; 3],
            node_oom_kills: None,
            tree: Tree::default(),
            cgroups: Cgroups::default(),
            traffic: Traffic::default(),
            gpus: if role == Role::Service { Gpus::find() } else { Gpus::none() },
        };
        sampler.sample();
        sampler
    }

    /// The figures since the call before.
    pub fn sample(&mut self) -> ResourceSample {
        let now = Instant::now();
        let seconds = now.duration_since(self.at).as_secs_f64().max(1e-6);
        self.at = now;
        let mut sample = ResourceSample::new(Timestamp::now(), &self.node, self.role);
        sample.interval_s = Some((seconds * 1e4).round() / 1e4);
        self.node_figures(&mut sample, seconds);
        if let Some(root) = self.root {
            self.tree.fill(root, &mut sample, seconds);
            self.cgroups.fill(self.tree.busiest_process().unwrap_or(root), &mut sample);
        }
        let own = self.root.and_then(|root| Process::new(root).ok());
        self.traffic.fill(own.as_ref(), self.port, &mut sample, seconds);
        sample.gpus = self.gpus.samples();
        sample
    }

    fn node_figures(&mut self, sample: &mut ResourceSample, seconds: f64) {
        if let Ok(kernel) = KernelStats::current() {
            let cores: Vec<_> = std::iter::once(&kernel.total).chain(&kernel.cpu_time).map(busy_and_total).collect();
            // A core that went off line moves the others' places.
            if cores.len() == self.cores.len() {
                let busy = |index: usize| -> Option<f64> {
                    let (before, after): ((u64, u64), (u64, u64)) = (self.cores[index], cores[index]);
                    let total = after.1.checked_sub(before.1).filter(|total| *total > 0)?;
                    Some((after.0.saturating_sub(before.0) as f64 / total as f64 * 100.0).min(100.0))
                };
                let each: Vec<Option<f64>> = (1..cores.len()).map(busy).collect();
                sample.node_cpu_percent = busy(0).map(tenth);
                sample.node_cpu_max_core_percent = each.iter().flatten().copied().max_by(f64::total_cmp).map(tenth);
                if each.iter().all(Option::is_some) {
                    sample.node_cpu_cores_percent = each.iter().flatten().map(|busy| busy.round() as u8).collect();
                }
            }
            self.cores = cores;
            // This thread runs while it looks, and is none of those that are meant.
            sample.node_run_queue = kernel.procs_running.map(|running| u64::from(running.saturating_sub(1)));
        }
        if let Ok(memory) = Meminfo::current() {
            sample.node_memory_used_bytes =
                memory.mem_available.map(|available| memory.mem_total.saturating_sub(available));
            sample.node_memory_total_bytes = Some(memory.mem_total);
        }
        sample.node_load_1m = LoadAverage::current().ok().map(|load| f64::from((load.one * 100.0).round()) / 100.0);
        let totals = [
            CpuPressure::current().ok().map(|pressure| pressure.some.total),
            MemoryPressure::current().ok().map(|pressure| pressure.some.total),
            IoPressure::current().ok().map(|pressure| pressure.some.total),
        ];
        let figures = [
            &mut sample.node_cpu_pressure_percent,
            &mut sample.node_memory_pressure_percent,
            &mut sample.node_io_pressure_percent,
        ];
        for ((figure, total), before) in figures.into_iter().zip(totals).zip(&mut self.pressure) {
            *figure = since(before, total).map(|us| tenth((us as f64 / 1e4 / seconds).min(100.0)));
        }
        let kills = procfs::vmstat().ok().and_then(|all| all.get("oom_kill").map(|count| *count as u64));
        sample.node_oom_kills = since(&mut self.node_oom_kills, kills);
    }
}

/// What a counter has grown since it was looked at last; nothing at the first look or after it fell.
fn since(before: &mut Option<u64>, now: Option<u64>) -> Option<u64> {
    let grown = now.zip(*before).and_then(|(now, before)| now.checked_sub(before));
    *before = now;
    grown
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
    use std::{io::Read, net::TcpListener};

    use super::*;

    #[test]
    fn a_busy_thread_is_seen() {
        let mut sampler = Sampler::new(Role::Client, "here", Some(std::process::id() as i32), None);
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
        // Running or waiting for a core: this thread was never idle.
        let wanted =
            sample.busiest_thread_cpu_percent.expect("read") + sample.busiest_thread_wait_percent.expect("read");
        assert!((80.0..125.0).contains(&wanted), "{sample:?}");
        assert!(!sample.node_cpu_cores_percent.is_empty() && sample.process_cpus_allowed >= Some(1));
        assert!(sample.interval_s.expect("known") >= 0.3);
    }

    #[test]
    fn children_that_came_and_went_are_counted() {
        let mut sampler = Sampler::new(Role::Client, "here", Some(std::process::id() as i32), None);
        let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", burn]).status().expect("started").success());
        let sample = sampler.sample();
        let used_s = sample.process_cpu_percent.expect("read") / 100.0 * sample.interval_s.expect("known");
        assert!(used_s > 0.02, "{sample:?}");
    }

    #[test]
    fn a_socket_that_listens_in_place_of_another_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let own = Some(std::process::id() as i32);
        let mut sampler = Sampler::new(Role::Service, "here", own, Some(at.port()));
        assert_eq!(sampler.sample().service_restarts, Some(0));
        drop(listener);
        let _other = TcpListener::bind(at).expect("the same port");
        assert_eq!(sampler.sample().service_restarts, Some(1));
        assert_eq!(sampler.sample().service_restarts, Some(0));
    }

    #[test]
    fn bytes_that_nobody_reads_are_seen_on_both_sides() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let (mut service, _) = listener.accept().expect("accepted");
        client.set_nonblocking(true).expect("set");
        // Until neither side's buffer takes any more.
        let chunk = vec![7; 1 << 16];
        let mut quiet = 0;
        while quiet < 20 {
            match std::io::Write::write(&mut client, &chunk) {
                Ok(_) => quiet = 0,
                Err(_) => quiet += 1,
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let own = Some(std::process::id() as i32);
        let at_service = Sampler::new(Role::Service, "here", own, Some(port)).sample();
        let at_client = Sampler::new(Role::Client, "here", own, Some(port)).sample();
        assert_eq!((at_service.socket_count, at_client.socket_count), (Some(1), Some(1)));
        assert!(at_service.socket_unread_bytes > Some(10_000), "{at_service:?}");
        assert_eq!(at_service.socket_sending_count, Some(0));
        assert_eq!(at_client.socket_sending_count, Some(1), "{at_client:?}");
        assert!(at_client.socket_unsent_bytes > Some(10_000));
        _ = service.read(&mut [0]);
    }
}
