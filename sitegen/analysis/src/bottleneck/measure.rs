//! Measures: how much of a resource is used in one benchmark, and from where on it counts as exhausted.
//!
//! Rates count by their median over the measurement window, so that a stray second does not decide; events by their
//! sum over the load.

use archive::{GateOutcome, ResourceSample, Role, Severity, Status, Summary};

use super::{Bottleneck, Evidence, Looked, Observation, number};
use crate::median;

/// A thread that ran or waited for a core this much of the time, in percent, was never idle.
const BUSY: f64 = 90.0;
/// A quota that stopped the group in this share of its periods, in percent, is what it runs into.
const THROTTLED: f64 = 25.0;
/// A thread that waited for a core this much of the time, in percent, was kept from its work by others.
const STARVED: f64 = 30.0;
/// The same, from where on latencies are not the service's alone.
const CONTENDED: f64 = 20.0;
/// A GPU that ran something this much of the time, in percent.
const GPU_BUSY: f64 = 90.0;
/// Share of a memory limit in use, in percent, at which nothing is left.
const MEMORY_FULL: f64 = 95.0;
/// Share of the time, in percent, in which something waited for memory or disk, that cannot be overlooked.
const PRESSURE: f64 = 10.0;
/// Major page faults in a second that show memory being read back from disk.
const MAJOR_FAULTS: f64 = 50.0;
/// Share of failed requests, in percent, that blame memory.
const MEMORY_ERRORS: f64 = 1.0;
const KV_FULL: f64 = 95.0;
/// Share of the requests in the service that wait, in percent.
const WAITING: f64 = 10.0;
/// Share of the mean latency, in percent, that bytes spend waiting to be sent.
const UNSENT: f64 = 20.0;
/// Less than this many unsent bytes is a packet on its way.
const UNSENT_BYTES: f64 = 8192.0;
/// Share of what an interface can carry, and of the time in which a disk is asked for something, in percent.
const LINK_FULL: f64 = 90.0;
const DISK_BUSY: f64 = 90.0;
const DISK_BYTES: f64 = 1e6;

/// How full something is.
#[derive(Clone, Debug)]
pub struct Measure {
    /// The same in every benchmark.
    pub key: &'static str,
    pub class: Bottleneck,
    pub series: &'static str,
    /// In `unit`.
    pub value: f64,
    pub unit: &'static str,
    /// From where on it counts as exhausted, in `unit`, if nothing else is asked of it.
    pub limit: f64,
    pub exhausted: bool,
    /// An event that leaves no other explanation.
    pub decisive: bool,
    /// In words, with the figures.
    pub says: String,
}

impl Measure {
    /// 1 at the limit.
    pub fn share(&self) -> f64 {
        if self.limit > 0.0 { self.value / self.limit } else { 0.0 }
    }

    pub fn figure(&self) -> String {
        format!("{} {}", number(self.value), self.unit).trim().to_owned()
    }

    pub fn evidence(&self, looked: &Looked) -> Evidence {
        Evidence {
            class: self.class,
            series: self.series.to_owned(),
            benchmark: Some(looked.benchmark.clone()),
            load: looked.load,
            window_s: looked.window_s,
            value: self.value,
            unit: self.unit.to_owned(),
            limit: Some(self.limit),
            exhausted: self.exhausted,
            says: self.says.clone(),
        }
    }
}

/// The samples of both roles within the measurement window.
pub struct Window<'a> {
    pub bounds_s: [f64; 2],
    pub service: Vec<&'a ResourceSample>,
    pub client: Vec<&'a ResourceSample>,
    /// From the first request on, to the last sample.
    all_service: Vec<&'a ResourceSample>,
}

impl<'a> Window<'a> {
    pub fn of(observation: &Observation<'a>) -> Self {
        let last = observation.resources.iter().filter_map(|sample| sample.offset_s).fold(0.0, f64::max);
        let window = observation.summary.map(|summary| summary.window_s).filter(|[start, end]| end > start);
        let bounds_s = match (window, observation.run.status) {
            (Some(window), Status::Completed | Status::Cancelled) => window,
            // What ended the service came after the last answer.
            (Some([start, end]), Status::Failed) => [start, end.max(last)],
            (None, _) => [0.0, last],
        };
        let [start, end] = bounds_s;
        // A sample describes the time before it: its middle tells where that belongs.
        let within = |sample: &&ResourceSample| {
            let interval = sample.interval_s.unwrap_or(1.0);
            sample.offset_s.is_some_and(|offset| (start..=end).contains(&(offset - interval / 2.0)))
        };
        let of_role = |role: Role| observation.resources.iter().filter(move |sample| sample.role == role);
        Self {
            bounds_s,
            service: of_role(Role::Service).filter(within).collect(),
            client: of_role(Role::Client).filter(within).collect(),
            all_service: of_role(Role::Service).filter(|sample| sample.offset_s >= Some(0.0)).collect(),
        }
    }

    pub fn knows_service(&self) -> bool {
        self.service.iter().any(|sample| {
            sample.process_cpu_percent.is_some() || !sample.gpus.is_empty() || !sample.service_figures.is_empty()
        })
    }

    pub fn knows_client(&self) -> bool {
        self.client.iter().any(|sample| sample.process_cpu_percent.is_some())
    }
}

/// The median of a figure over samples that have it.
fn middle(samples: &[&ResourceSample], of: impl Fn(&ResourceSample) -> Option<f64>) -> Option<f64> {
    median(samples.iter().filter_map(|sample| of(sample)).collect())
}

/// Every measure that the data allow, exhausted or not.
pub fn all(observation: &Observation<'_>, window: &Window<'_>) -> Vec<Measure> {
    let summary = observation.summary;
    let found = [
        client_thread(window, summary),
        client_throttled(window),
        client_finding(summary),
        cpu_thread(window),
        cpu_tree(window),
        cpu_wait(window),
        cpu_throttled(window),
        gpu(window),
        oom_kills(observation, window),
        memory_limit(window),
        memory_errors(summary),
        kv_cache(window),
        waiting(window),
        unsent(window, summary),
        queued(window, summary),
        link(window),
        disk(window),
    ];
    found.into_iter().flatten().collect()
}

fn thread_wanted(sample: &ResourceSample) -> Option<f64> {
    Some(sample.busiest_thread_cpu_percent? + sample.busiest_thread_wait_percent.unwrap_or(0.0))
}

fn client_thread(window: &Window<'_>, summary: Option<&Summary>) -> Option<Measure> {
    let samples = &window.client;
    let value = middle(samples, thread_wanted)?;
    let ran = middle(samples, |sample| sample.busiest_thread_cpu_percent)?;
    let waited = middle(samples, |sample| sample.busiest_thread_wait_percent).unwrap_or(0.0);
    let others = foreign_cpu(samples, &window.service);
    // In an open loop it waits for the next arrival awake: busy alone is no sign, being late is.
    let awake = summary.is_some_and(|summary| summary.send_lag_s.is_some());
    let late = summary.is_some_and(|summary| {
        let of_client = |code: &str| matches!(code, "send_lag" | "rate" | "client_cpu");
        summary.findings.iter().any(|finding| of_client(&finding.code) && finding.severity != Severity::Note)
    });
    let others = if waited >= STARVED { others } else { String::new() };
    Some(Measure {
        key: "client_thread",
        class: Bottleneck::Client,
        series: "busiest_thread_cpu_percent + busiest_thread_wait_percent (client)",
        value,
        unit: "%",
        limit: BUSY,
        exhausted: value >= BUSY && (!awake || late),
        decisive: false,
        says: format!(
            "the load generator's busiest thread ran {} % of the time and waited {} % for a core{others}",
            number(ran),
            number(waited)
        ),
    })
}

fn client_throttled(window: &Window<'_>) -> Option<Measure> {
    let value = middle(&window.client, |sample| sample.cgroup_cpu_throttled_percent)?;
    let cores = middle(&window.client, |sample| sample.cgroup_cpu_limit_cores)?;
    Some(Measure {
        key: "client_throttled",
        class: Bottleneck::Client,
        series: "cgroup_cpu_throttled_percent (client)",
        value,
        unit: "% of periods",
        limit: THROTTLED,
        exhausted: value >= THROTTLED,
        decisive: false,
        says: format!(
            "a CPU quota of {} cores stopped the load generator in {} % of its periods",
            number(cores),
            number(value)
        ),
    })
}

/// What the load generator says of its own CPU, also where nothing was sampled: full or not. A calibration that failed is
/// none of this: it tells how exact the latencies are, not what limits the throughput.
fn client_finding(summary: Option<&Summary>) -> Option<Measure> {
    let summary = summary?;
    let finding =
        summary.findings.iter().find(|finding| finding.code == "client_cpu" && finding.severity != Severity::Note);
    let passed = summary.gates.iter().find(|gate| gate.code == "client_cpu" && gate.outcome == GateOutcome::Passed);
    let says = match (finding, passed) {
        (Some(finding), _) => finding.message.clone(),
        (None, Some(gate)) => format!("the load generator had CPU time left: {}", gate.detail),
        (None, None) => return None,
    };
    Some(Measure {
        key: "client_finding",
        class: Bottleneck::Client,
        series: "findings (summary.json)",
        value: if finding.is_some() { 1.0 } else { 0.0 },
        unit: "",
        limit: 1.0,
        exhausted: finding.is_some(),
        decisive: false,
        says,
    })
}

fn cpu_thread(window: &Window<'_>) -> Option<Measure> {
    let samples = &window.service;
    let value = middle(samples, |sample| sample.busiest_thread_cpu_percent)?;
    let waited = middle(samples, |sample| sample.busiest_thread_wait_percent).unwrap_or(0.0);
    let name = samples.iter().rev().find_map(|sample| sample.busiest_thread.as_deref()).unwrap_or("?");
    let node = middle(samples, |sample| sample.node_cpu_percent)
        .map(|node| format!(", while the node's cores were {} % busy on average", number(node)))
        .unwrap_or_default();
    let wanted = value + waited;
    Some(Measure {
        key: "cpu_thread",
        class: Bottleneck::Cpu,
        series: "busiest_thread_cpu_percent + busiest_thread_wait_percent (service)",
        value: wanted,
        unit: "%",
        limit: BUSY,
        // Mostly waiting is another matter: see `cpu_wait`.
        exhausted: wanted >= BUSY && value >= waited,
        decisive: false,
        says: format!(
            "the service's busiest thread, `{name}`, ran {} % of the time and waited {} % for a core{node}",
            number(value),
            number(waited)
        ),
    })
}

fn cpu_tree(window: &Window<'_>) -> Option<Measure> {
    let samples = &window.service;
    let cores = |sample: &ResourceSample| {
        let allowed = sample.process_cpus_allowed.map(f64::from);
        let quota = sample.cgroup_cpu_limit_cores;
        allowed.into_iter().chain(quota).reduce(f64::min)
    };
    let value = middle(samples, |sample| Some(sample.process_cpu_percent? / cores(sample)?))?;
    let cores = middle(samples, cores)?;
    Some(Measure {
        key: "cpu_tree",
        class: Bottleneck::Cpu,
        series: "process_cpu_percent / min(process_cpus_allowed, cgroup_cpu_limit_cores) (service)",
        value,
        unit: "%",
        limit: BUSY,
        exhausted: value >= BUSY,
        decisive: false,
        says: format!("the service used {} % of the {} cores that it may use", number(value), number(cores)),
    })
}

fn cpu_wait(window: &Window<'_>) -> Option<Measure> {
    let samples = &window.service;
    let value = middle(samples, |sample| sample.busiest_thread_wait_percent)?;
    let ran = middle(samples, |sample| sample.busiest_thread_cpu_percent)?;
    let queue = middle(samples, |sample| sample.node_run_queue.map(|queue| queue as f64));
    let queue = queue.map(|queue| format!(", run queue {}", number(queue))).unwrap_or_default();
    Some(Measure {
        key: "cpu_wait",
        class: Bottleneck::Cpu,
        series: "busiest_thread_wait_percent (service)",
        value,
        unit: "%",
        limit: STARVED,
        exhausted: value >= STARVED && value + ran >= BUSY && value > ran,
        decisive: false,
        says: format!(
            "the service's busiest thread was ready and waited {} % of the time for a core{}{queue}",
            number(value),
            foreign_cpu(samples, &window.client)
        ),
    })
}

/// A remark on an idle benchmark whose threads waited for cores all the same: its latencies contain those waits.
pub fn contention(window: &Window<'_>) -> Option<String> {
    let waited = |samples: &[&ResourceSample]| middle(samples, |sample| sample.busiest_thread_wait_percent);
    let (service, client) = (waited(&window.service).unwrap_or(0.0), waited(&window.client).unwrap_or(0.0));
    let foreign = foreign_cpu(&window.service, &window.client);
    (service.max(client) >= CONTENDED).then(|| {
        format!(
            "latencies contain waits for a core ({} % of the time in the service's busiest thread, {} % in the load \
             generator's){foreign}",
            number(service),
            number(client)
        )
    })
}

/// How many cores processes use that belong neither to this role nor to the other on the same node.
fn foreign_cpu(own: &[&ResourceSample], other: &[&ResourceSample]) -> String {
    let percent = |samples: &[&ResourceSample]| middle(samples, |sample| sample.process_cpu_percent);
    let node = |samples: &[&ResourceSample]| samples.first().map(|sample| sample.node.clone());
    let total = middle(own, |sample| Some(sample.node_cpu_percent? * sample.node_cpu_cores_percent.len() as f64));
    let (Some(total), Some(mine)) = (total.filter(|total| *total > 0.0), percent(own)) else { return String::new() };
    let theirs = if node(own) == node(other) { percent(other).unwrap_or(0.0) } else { 0.0 };
    let foreign = (total - mine - theirs).max(0.0) / 100.0;
    format!("; processes that are no part of the benchmark used {} cores", number(foreign))
}

fn cpu_throttled(window: &Window<'_>) -> Option<Measure> {
    let value = middle(&window.service, |sample| sample.cgroup_cpu_throttled_percent)?;
    let cores = middle(&window.service, |sample| sample.cgroup_cpu_limit_cores)?;
    Some(Measure {
        key: "cpu_throttled",
        class: Bottleneck::Cpu,
        series: "cgroup_cpu_throttled_percent (service)",
        value,
        unit: "% of periods",
        limit: THROTTLED,
        exhausted: value >= THROTTLED,
        decisive: false,
        says: format!(
            "a CPU quota of {} cores stopped the service in {} % of its periods",
            number(cores),
            number(value)
        ),
    })
}

fn gpu(window: &Window<'_>) -> Option<Measure> {
    let busiest =
        |sample: &ResourceSample| sample.gpus.iter().filter_map(|gpu| gpu.utilization_percent).max_by(f64::total_cmp);
    let value = middle(&window.service, busiest)?;
    let power = middle(&window.service, |sample| {
        let shares = sample.gpus.iter().filter_map(|gpu| Some(gpu.power_w? / gpu.power_limit_w? * 100.0));
        shares.max_by(f64::total_cmp)
    });
    let power = power.map(|power| format!(", at {} % of its power limit", number(power))).unwrap_or_default();
    Some(Measure {
        key: "gpu",
        class: Bottleneck::Gpu,
        series: "gpus[].utilization_percent",
        value,
        unit: "%",
        limit: GPU_BUSY,
        exhausted: value >= GPU_BUSY,
        decisive: false,
        says: format!("the busiest GPU ran something {} % of the time{power}", number(value)),
    })
}

fn oom_kills(observation: &Observation<'_>, window: &Window<'_>) -> Option<Measure> {
    let sum = |of: fn(&ResourceSample) -> Option<u64>| {
        window.all_service.iter().filter_map(|sample| of(sample)).reduce(|sum, kills| sum + kills)
    };
    let of_group = sum(|sample| sample.cgroup_oom_kills);
    // Anything on the node may have been killed; it was the service's when the service was killed.
    let killed = observation.run.service.exit.as_deref().is_some_and(|exit| exit.contains("SIGKILL"))
        || observation.run.failure.as_ref().is_some_and(|failure| failure.reason.contains("SIGKILL"));
    let of_node = sum(|sample| sample.node_oom_kills).filter(|_| killed);
    let kills = of_group.filter(|kills| *kills > 0).or(of_node).or(of_group)?;
    let limit = window.all_service.iter().rev().find_map(|sample| sample.cgroup_memory_limit_bytes);
    let full = limit.map(|limit| format!(", at its limit of {}", bytes(limit))).unwrap_or_default();
    Some(Measure {
        key: "oom_kills",
        class: Bottleneck::Memory,
        series: "cgroup_oom_kills, node_oom_kills (service)",
        value: kills as f64,
        unit: "kills",
        limit: 1.0,
        exhausted: kills > 0,
        decisive: kills > 0,
        says: match kills {
            0 => "nothing was killed for want of memory".to_owned(),
            1 => format!("the kernel killed a process of the service for want of memory{full}"),
            kills => format!("the kernel killed {kills} processes of the service for want of memory{full}"),
        },
    })
}

fn memory_limit(window: &Window<'_>) -> Option<Measure> {
    let samples = &window.service;
    let of_limit = |sample: &ResourceSample| {
        Some(sample.cgroup_memory_used_bytes? as f64 / sample.cgroup_memory_limit_bytes? as f64 * 100.0)
    };
    let of_node = |sample: &ResourceSample| {
        Some(sample.node_memory_used_bytes? as f64 / sample.node_memory_total_bytes? as f64 * 100.0)
    };
    let (value, whose) = match middle(samples, of_limit) {
        Some(value) => (value, "its limit"),
        None => (middle(samples, of_node)?, "the node's memory, all processes together"),
    };
    let faults = middle(samples, |sample| sample.process_major_faults_per_second);
    let pressure = middle(samples, |sample| sample.node_memory_pressure_percent);
    let suffers =
        faults.is_some_and(|faults| faults >= MAJOR_FAULTS) || pressure.is_some_and(|pressure| pressure >= PRESSURE);
    let mut says = format!("the service has filled {} % of {whose}", number(value));
    if whose != "its limit" {
        says = format!("{} % of {whose}, are in use", number(value));
    }
    if let Some(faults) = faults {
        says += &format!(", with {} major page faults a second", number(faults));
    }
    Some(Measure {
        key: "memory_limit",
        class: Bottleneck::Memory,
        series: "cgroup_memory_used_bytes / cgroup_memory_limit_bytes (service)",
        value,
        unit: "%",
        limit: MEMORY_FULL,
        // Caches fill memory by design: full alone is no limit.
        exhausted: value >= MEMORY_FULL && suffers,
        decisive: false,
        says,
    })
}

fn memory_errors(summary: Option<&Summary>) -> Option<Measure> {
    let summary = summary.filter(|summary| summary.total_requests > 0)?;
    let blames = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ["oom command not allowed", "out of memory", "cannot allocate memory"].iter().any(|words| lower.contains(words))
    };
    let count: u64 = summary.error_summary.iter().filter(|(text, _)| blames(text)).map(|(_, count)| count).sum();
    let value = count as f64 / summary.total_requests as f64 * 100.0;
    Some(Measure {
        key: "memory_errors",
        class: Bottleneck::Memory,
        series: "error_summary (summary.json)",
        value,
        unit: "% of requests",
        limit: MEMORY_ERRORS,
        exhausted: value >= MEMORY_ERRORS,
        decisive: false,
        says: format!("{} % of the requests failed because the service had no memory left", number(value)),
    })
}

fn figure<'a>(name: &'a str) -> impl Fn(&ResourceSample) -> Option<f64> + 'a {
    move |sample| sample.service_figures.get(name).copied()
}

fn kv_cache(window: &Window<'_>) -> Option<Measure> {
    let value = middle(&window.service, figure("kv_cache_used_percent"))?;
    let waiting = middle(&window.service, figure("requests_waiting")).unwrap_or(0.0);
    Some(Measure {
        key: "kv_cache",
        class: Bottleneck::Memory,
        series: "service_figures.kv_cache_used_percent",
        value,
        unit: "%",
        limit: KV_FULL,
        exhausted: value >= KV_FULL && waiting >= 1.0,
        decisive: false,
        says: format!("{} % of the KV cache is in use, and {} requests wait", number(value), number(waiting)),
    })
}

fn waiting(window: &Window<'_>) -> Option<Measure> {
    let waiting = middle(&window.service, figure("requests_waiting"))?;
    let running = middle(&window.service, figure("requests_running")).unwrap_or(0.0);
    let all = waiting + running;
    let value = if all > 0.0 { waiting / all * 100.0 } else { 0.0 };
    Some(Measure {
        key: "waiting",
        class: Bottleneck::Queueing,
        series: "service_figures.requests_waiting, requests_running",
        value,
        unit: "% of requests",
        limit: WAITING,
        exhausted: waiting >= 1.0 && value >= WAITING,
        decisive: false,
        says: format!("{} requests run in the service and {} wait for their turn", number(running), number(waiting)),
    })
}

/// Little's law for the bytes that wait to be sent: how long they wait is how many there are over their rate.
fn unsent(window: &Window<'_>, summary: Option<&Summary>) -> Option<Measure> {
    let summary = summary?;
    let latency = summary.latency_s.figures.avg.filter(|latency| *latency > 0.0)?;
    let side = |sender: &[&ResourceSample], receiver: &[&ResourceSample], rate: Option<f64>, whose: &str| {
        let unsent = middle(sender, |sample| sample.socket_unsent_bytes.map(|bytes| bytes as f64))?;
        let unread = middle(receiver, |sample| sample.socket_unread_bytes.map(|bytes| bytes as f64));
        let rate = rate.filter(|rate| *rate > 0.0)?;
        let value = unsent / rate / latency * 100.0;
        // What the other side leaves unread fills the network up to here: then the reader is the cause.
        let read = unread.is_some_and(|unread| unread < unsent);
        let exhausted = value >= UNSENT && unsent >= UNSENT_BYTES && read;
        let says = format!(
            "{} wait in the {whose} sockets to be sent, which is {} % of the latency at {}/s; {} have arrived and \
             are not read",
            bytes(unsent as u64),
            number(value),
            bytes(rate as u64),
            unread.map_or_else(|| "an unknown number".to_owned(), |unread| bytes(unread as u64)),
        );
        Some((exhausted, value, says))
    };
    let sides = [
        side(&window.service, &window.client, summary.bytes_received_per_second, "service's"),
        side(&window.client, &window.service, summary.bytes_sent_per_second, "load generator's"),
    ];
    let (exhausted, value, says) =
        sides.into_iter().flatten().max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))?;
    Some(Measure {
        key: "unsent",
        class: Bottleneck::Network,
        series: "socket_unsent_bytes / bytes per second / latency_s.avg",
        value,
        unit: "% of the latency",
        limit: UNSENT,
        exhausted,
        decisive: false,
        says,
    })
}

/// The same for the bytes that wait in front of a network interface.
fn queued(window: &Window<'_>, summary: Option<&Summary>) -> Option<Measure> {
    let latency = summary?.latency_s.figures.avg.filter(|latency| *latency > 0.0)?;
    let both: Vec<&ResourceSample> = window.service.iter().chain(&window.client).copied().collect();
    let mut names: Vec<&str> =
        both.iter().flat_map(|sample| &sample.interfaces).map(|interface| interface.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: &str| {
        let middle = |of: fn(&archive::InterfaceSample) -> Option<f64>| {
            middle(&both, |sample| of(sample.interfaces.iter().find(|interface| interface.name == name)?))
        };
        let waiting = middle(|interface| interface.queued_bytes.map(|bytes| bytes as f64))?;
        let rate = middle(|interface| Some(interface.sent_bytes_per_second)).filter(|rate| *rate > 0.0)?;
        Some((waiting / rate / latency * 100.0, waiting, rate, name.to_owned()))
    };
    let (value, waiting, rate, name) = names.iter().filter_map(|name| of(name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Measure {
        key: "queued",
        class: Bottleneck::Network,
        series: "interfaces[].queued_bytes / sent_bytes_per_second / latency_s.avg",
        value,
        unit: "% of the latency",
        limit: UNSENT,
        exhausted: value >= UNSENT && waiting >= UNSENT_BYTES,
        decisive: false,
        says: format!(
            "{} wait to leave by the interface {name}, which sends {}/s: that is {} % of the latency",
            bytes(waiting as u64),
            bytes(rate as u64),
            number(value)
        ),
    })
}

fn link(window: &Window<'_>) -> Option<Measure> {
    let fullest = |sample: &ResourceSample| {
        let shares = sample.interfaces.iter().filter_map(|interface| {
            let rate = interface.received_bytes_per_second.max(interface.sent_bytes_per_second);
            Some(rate / interface.capacity_bytes_per_second? * 100.0)
        });
        shares.max_by(f64::total_cmp)
    };
    let both: Vec<&ResourceSample> = window.service.iter().chain(&window.client).copied().collect();
    let value = middle(&both, fullest)?;
    Some(Measure {
        key: "link",
        class: Bottleneck::Network,
        series: "interfaces[].received_bytes_per_second, sent_bytes_per_second",
        value,
        unit: "%",
        limit: LINK_FULL,
        exhausted: value >= LINK_FULL,
        decisive: false,
        says: format!("the busiest network interface carried {} % of what it can", number(value)),
    })
}

fn disk(window: &Window<'_>) -> Option<Measure> {
    let samples = &window.service;
    let busiest = |sample: &ResourceSample| {
        // Idle disks are not listed; no disk at all is not known.
        sample.interval_s?;
        Some(sample.disks.iter().map(|disk| disk.busy_percent).fold(0.0, f64::max))
    };
    let value = middle(samples, busiest)?;
    let own = middle(samples, |sample| {
        Some(sample.process_read_bytes_per_second? + sample.process_written_bytes_per_second?)
    })?;
    Some(Measure {
        key: "disk",
        class: Bottleneck::Network,
        series: "disks[].busy_percent, process_read_bytes_per_second, process_written_bytes_per_second",
        value,
        unit: "%",
        limit: DISK_BUSY,
        // A disk that others keep busy is no matter of a service that does not use it.
        exhausted: value >= DISK_BUSY && own >= DISK_BYTES,
        decisive: false,
        says: format!(
            "the busiest disk was in use {} % of the time, and the service moved {}/s",
            number(value),
            bytes(own as u64)
        ),
    })
}

fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            return format!("{} {unit}", number(size));
        }
        size /= 1024.0;
    }
    format!("{} GiB", number(size))
}
