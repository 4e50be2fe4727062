//! Situations made of figures, one a resource, alone and over a sweep.

use archive::{Distribution, GpuSample, Percentiles, ResourceSample, Role, Run, Status, Summary};
use serde_json::json;

use super::*;

/// A benchmark whose figures a test chooses.
struct Made {
    load: f64,
    run: Run,
    summary: Summary,
    resources: Vec<ResourceSample>,
}

fn run() -> Run {
    serde_json::from_value(json!({
        "schema": 1, "benchmark_id": "BM-20260301-001", "status": "completed",
        "created_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:01:00Z",
        "campaign": {"name": "c", "execution": "e", "point": 0, "points": 1, "repetition": 1, "repetitions": 1, "swept": {}},
        "target": {"name": "local", "kind": "local"},
        "tool": {"name": "runner", "version": "0", "binary_sha256": null},
        "git_commit": null, "recipe_hash": "", "recipe": {"file": "f", "text": "", "resolved": {}},
        "service": {"name": "s", "type": "redis", "version": null, "image": null, "command": [], "program_sha256": null,
            "started_as": "child", "hostname": null, "port": null, "ready_after_s": null, "exit": null},
        "client": {"name": "c", "type": "t", "num_clients": 1, "threads": 1, "load": {}, "sequence_digest": null},
        "nodes": [], "seeds": {"campaign": 1, "benchmark": 1}, "events": []
    }))
    .expect("a run")
}

/// Ten seconds in which service and client are nearly idle on four cores.
fn made(load: f64, rate: f64) -> Made {
    let mut summary = Summary {
        window_s: [0.0, 10.0],
        total_requests: 1000,
        success_rate: Some(100.0),
        requests_per_second: Some(rate),
        bytes_received_per_second: Some(1e6),
        bytes_sent_per_second: Some(1e4),
        ..Summary::default()
    };
    let latency = load / rate;
    let figures = Percentiles { avg: Some(latency), p50: Some(latency), p99: Some(latency), ..Percentiles::default() };
    summary.latency_s = Distribution { figures, histogram: None };
    let start: archive::Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
    let sample = |second: u32, role: Role| {
        let mut sample = ResourceSample::new(start.plus_seconds(f64::from(second)), "n", role);
        sample.offset_s = Some(f64::from(second));
        sample.interval_s = Some(1.0);
        sample.node_cpu_percent = Some(20.0);
        sample.node_cpu_cores_percent = vec![20; 4];
        sample.node_memory_used_bytes = Some(1 << 30);
        sample.node_memory_total_bytes = Some(8 << 30);
        sample.process_cpu_percent = Some(20.0);
        sample.process_cpus_allowed = Some(4);
        sample.busiest_thread = Some("worker".to_owned());
        sample.busiest_thread_cpu_percent = Some(20.0);
        sample.busiest_thread_wait_percent = Some(2.0);
        sample.process_read_bytes_per_second = Some(0.0);
        sample.process_written_bytes_per_second = Some(0.0);
        sample.socket_unsent_bytes = Some(0);
        sample.socket_unread_bytes = Some(0);
        sample
    };
    let resources = (1..=10).flat_map(|second| [sample(second, Role::Service), sample(second, Role::Client)]).collect();
    Made { load, run: run(), summary, resources }
}

impl Made {
    fn with(mut self, role: Role, change: impl Fn(&mut ResourceSample)) -> Self {
        self.resources.iter_mut().filter(|sample| sample.role == role).for_each(change);
        self
    }

    fn observation(&self) -> Observation<'_> {
        Observation { run: &self.run, summary: Some(&self.summary), resources: &self.resources }
    }
}

fn sweep(made: &[Made]) -> Attribution {
    let points: Vec<LoadPoint<'_>> =
        made.iter().map(|made| LoadPoint { load: made.load, repetitions: vec![made.observation()] }).collect();
    attribute_sweep(&points, None)
}

fn busy(sample: &mut ResourceSample, ran: f64, waited: f64) {
    sample.process_cpu_percent = Some(ran);
    sample.busiest_thread_cpu_percent = Some(ran);
    sample.busiest_thread_wait_percent = Some(waited);
}

type Change = fn(&mut ResourceSample);

/// Name, role, what is exhausted, the class.
const SITUATIONS: &[(&str, Role, Change, Bottleneck)] = &[
    ("one thread of four cores", Role::Service, |s| busy(s, 97.0, 2.0), Bottleneck::Cpu),
    ("all cores", Role::Service, |s| s.process_cpu_percent = Some(385.0), Bottleneck::Cpu),
    (
        "two of two allowed",
        Role::Service,
        |s| {
            s.process_cpu_percent = Some(190.0);
            s.process_cpus_allowed = Some(2)
        },
        Bottleneck::Cpu,
    ),
    ("others use the core", Role::Service, |s| busy(s, 35.0, 64.0), Bottleneck::Cpu),
    (
        "a quota",
        Role::Service,
        |s| {
            s.cgroup_cpu_throttled_percent = Some(80.0);
            s.cgroup_cpu_limit_cores = Some(0.5)
        },
        Bottleneck::Cpu,
    ),
    ("a busy load generator", Role::Client, |s| busy(s, 98.0, 1.0), Bottleneck::Client),
    ("a starved load generator", Role::Client, |s| busy(s, 40.0, 59.0), Bottleneck::Client),
    (
        "a load generator with a quota",
        Role::Client,
        |s| {
            s.cgroup_cpu_throttled_percent = Some(90.0);
            s.cgroup_cpu_limit_cores = Some(0.1)
        },
        Bottleneck::Client,
    ),
    (
        "a GPU",
        Role::Service,
        |s| s.gpus = vec![GpuSample { utilization_percent: Some(99.0), ..GpuSample::default() }],
        Bottleneck::Gpu,
    ),
    (
        "a GPU and the thread that feeds it",
        Role::Service,
        |s| {
            busy(s, 99.0, 0.0);
            s.gpus = vec![GpuSample { utilization_percent: Some(99.0), ..GpuSample::default() }];
        },
        Bottleneck::Gpu,
    ),
    (
        "memory that comes back from disk",
        Role::Service,
        |s| {
            s.cgroup_memory_used_bytes = Some(99);
            s.cgroup_memory_limit_bytes = Some(100);
            s.process_major_faults_per_second = Some(400.0);
        },
        Bottleneck::Memory,
    ),
    (
        "a KV cache",
        Role::Service,
        |s| {
            s.service_figures = [("kv_cache_used_percent", 99.0), ("requests_waiting", 9.0), ("requests_running", 8.0)]
                .map(|(k, v)| (k.to_owned(), v))
                .into();
        },
        Bottleneck::Memory,
    ),
    (
        "slots",
        Role::Service,
        |s| {
            s.service_figures = [("kv_cache_used_percent", 40.0), ("requests_waiting", 9.0), ("requests_running", 8.0)]
                .map(|(k, v)| (k.to_owned(), v))
                .into();
        },
        Bottleneck::Queueing,
    ),
    ("a narrow network", Role::Service, |s| s.socket_unsent_bytes = Some(200_000), Bottleneck::Network),
    (
        "a shaped interface",
        Role::Client,
        |s| {
            s.interfaces = vec![archive::InterfaceSample {
                name: "eth0".into(),
                received_bytes_per_second: 1e4,
                sent_bytes_per_second: 1e6,
                dropped_packets: 0,
                capacity_bytes_per_second: None,
                queued_bytes: Some(50_000),
                queue_dropped_packets: Some(0),
            }];
        },
        Bottleneck::Network,
    ),
    (
        "a disk",
        Role::Service,
        |s| {
            s.disks = vec![archive::DiskSample {
                name: "sda".into(),
                read_bytes_per_second: 0.0,
                written_bytes_per_second: 5e7,
                busy_percent: 99.0,
            }];
            s.process_written_bytes_per_second = Some(5e7);
        },
        Bottleneck::Network,
    ),
    ("nothing", Role::Service, |_| (), Bottleneck::None),
    // What looks like a limit and is none.
    (
        "caches that fill the memory",
        Role::Service,
        |s| {
            s.cgroup_memory_used_bytes = Some(99);
            s.cgroup_memory_limit_bytes = Some(100)
        },
        Bottleneck::None,
    ),
    (
        "a disk that others use",
        Role::Service,
        |s| {
            s.disks = vec![archive::DiskSample {
                name: "sda".into(),
                read_bytes_per_second: 0.0,
                written_bytes_per_second: 5e7,
                busy_percent: 99.0,
            }];
        },
        Bottleneck::None,
    ),
    ("a packet on its way", Role::Service, |s| s.socket_unsent_bytes = Some(4000), Bottleneck::None),
    (
        "GPU memory in use",
        Role::Service,
        |s| {
            s.gpus = vec![GpuSample {
                utilization_percent: Some(30.0),
                memory_used_bytes: Some(95),
                memory_total_bytes: Some(100),
                ..GpuSample::default()
            }]
        },
        Bottleneck::None,
    ),
];

#[test]
fn every_situation_alone() {
    for (name, role, change, expected) in SITUATIONS {
        let made = made(8.0, 100.0).with(*role, change);
        let answer = attribute(&made.observation());
        assert_eq!(answer.class, *expected, "{name}: {answer:#?}");
        assert!(answer.confidence < Confidence::High, "{name}: one benchmark is not sure");
        assert!(!answer.evidence.is_empty() && !answer.recommendations.is_empty(), "{name}");
        // Whoever is not named is rejected, with a reason.
        let named = 1 + answer.also.len() - usize::from(*expected == Bottleneck::None);
        assert_eq!(answer.rejected.len() + named, Bottleneck::RESOURCES.len(), "{name}: {answer:#?}");
        assert!(answer.rejected.iter().all(|rejected| !rejected.reason.is_empty()), "{name}");
    }
}

#[test]
fn every_situation_over_a_sweep() {
    for (name, role, change, expected) in SITUATIONS {
        let answer = sweep(&[
            made(1.0, 50.0),
            made(2.0, 98.0).with(*role, change),
            made(4.0, 100.0).with(*role, change),
            made(8.0, 101.0).with(*role, change),
        ]);
        // Throughput stops for no reason that was sampled: requests wait for each other.
        let expected = if *expected == Bottleneck::None { Bottleneck::Queueing } else { *expected };
        assert_eq!((answer.class, answer.stops_at), (expected, Some(2.0)), "{name}: {answer:#?}");
        let inferred = !answer.evidence.iter().any(|evidence| evidence.limit.is_some());
        let sure = answer.also.is_empty() && !inferred;
        assert_eq!(answer.confidence == Confidence::High, sure, "{name}: {answer:#?}");
    }
}

#[test]
fn what_was_as_busy_before_throughput_stopped_explains_nothing() {
    // A thread that polls; the slots are the limit.
    let polling = |load, rate, waiting: f64| {
        made(load, rate).with(Role::Service, |sample| {
            busy(sample, 99.0, 0.0);
            sample.service_figures =
                [("requests_running".to_owned(), load.min(4.0)), ("requests_waiting".to_owned(), waiting)].into();
        })
    };
    let answer = sweep(&[
        polling(1.0, 25.0, 0.0),
        polling(4.0, 100.0, 1.0),
        polling(8.0, 100.0, 4.0),
        polling(16.0, 101.0, 12.0),
    ]);
    assert_eq!(answer.class, Bottleneck::Queueing, "{answer:#?}");
    let cpu = answer.rejected.iter().find(|rejected| rejected.class == Bottleneck::Cpu).expect("rejected");
    assert!(cpu.reason.contains("as full at the smallest load"), "{cpu:?}");
}

#[test]
fn a_kill_for_want_of_memory_decides() {
    let mut dead = made(8.0, 10.0);
    dead.run.status = Status::Failed;
    dead.resources[18].cgroup_oom_kills = Some(1);
    dead.resources[18].cgroup_memory_used_bytes = Some(99 << 20);
    dead.resources[18].cgroup_memory_limit_bytes = Some(100 << 20);
    let dead = dead.with(Role::Service, |sample| busy(sample, 99.0, 0.0));
    let answer = attribute(&dead.observation());
    assert_eq!((answer.class, answer.also.as_slice()), (Bottleneck::Memory, &[Bottleneck::Cpu][..]), "{answer:#?}");
    assert!(answer.summary.contains("killed a process"), "{}", answer.summary);
    let answer = sweep(&[made(1.0, 50.0), made(4.0, 190.0), dead]);
    assert_eq!((answer.class, answer.stops_at), (Bottleneck::Memory, Some(8.0)), "{answer:#?}");
}

#[test]
fn a_kill_beyond_where_throughput_stopped_does_not_explain_the_stop() {
    let full = |load, rate| made(load, rate).with(Role::Service, |sample| busy(sample, 99.0, 0.0));
    let mut dead = full(64.0, 1.0);
    dead.run.status = Status::Failed;
    dead.resources[18].cgroup_oom_kills = Some(1);
    dead.resources[18].cgroup_memory_used_bytes = Some(99 << 20);
    dead.resources[18].cgroup_memory_limit_bytes = Some(100 << 20);
    let answer = sweep(&[made(1.0, 50.0), full(4.0, 100.0), full(8.0, 100.0), full(16.0, 100.0), dead]);
    assert_eq!((answer.class, answer.stops_at), (Bottleneck::Cpu, Some(4.0)), "{answer:#?}");
    let memory = answer.rejected.iter().find(|rejected| rejected.class == Bottleneck::Memory).expect("said");
    assert!(memory.reason.contains("at a load of 64: throughput had stopped before"), "{}", memory.reason);
}

#[test]
fn a_service_past_its_capacity_with_nothing_exhausted_has_a_queue() {
    let mut past = made(8.0, 100.0);
    past.summary.findings.push(archive::Finding {
        code: "saturated".to_owned(),
        severity: archive::Severity::Warning,
        message: String::new(),
    });
    let answer = attribute(&past.observation());
    assert_eq!((answer.class, answer.confidence), (Bottleneck::Queueing, Confidence::Low), "{answer:#?}");
}

#[test]
fn one_repetition_that_the_load_generator_limited_is_not_the_sweep() {
    let gate = |made: &mut Made, bound: bool| {
        let outcome = if bound { archive::GateOutcome::Failed } else { archive::GateOutcome::Passed };
        let detail = "CPU".to_owned();
        made.summary.gates.push(archive::Gate { code: "client_cpu".to_owned(), outcome, detail });
        if bound {
            made.summary.findings.push(archive::Finding {
                code: "client_cpu".to_owned(),
                severity: archive::Severity::Warning,
                message: "at its own limit".to_owned(),
            });
        }
    };
    for (bound, expected) in [(1, Bottleneck::Cpu), (4, Bottleneck::Client)] {
        let mut all = vec![made(1.0, 50.0)];
        all.extend([2.0, 4.0, 8.0, 16.0].map(|load| {
            let full = made(load, 100.0);
            let service = expected == Bottleneck::Cpu;
            if service { full.with(Role::Service, |sample| busy(sample, 99.0, 0.0)) } else { full }
        }));
        all.iter_mut().enumerate().for_each(|(place, made)| gate(made, (1..=bound).contains(&place)));
        let answer = sweep(&all);
        assert_eq!((answer.class, answer.stops_at), (expected, Some(2.0)), "{bound}: {answer:#?}");
    }
}

#[test]
fn a_mixed_situation_names_both() {
    let both = |load, rate| {
        made(load, rate)
            .with(Role::Client, |sample| busy(sample, 50.0, 49.0))
            .with(Role::Service, |sample| busy(sample, 51.0, 48.0))
    };
    let single = attribute(&both(8.0, 100.0).observation());
    let swept = sweep(&[made(1.0, 50.0), both(4.0, 100.0), both(8.0, 100.0)]);
    for answer in [single, swept] {
        assert_eq!((answer.class, answer.also.as_slice()), (Bottleneck::Client, &[Bottleneck::Cpu][..]), "{answer:#?}");
        assert!(answer.confidence < Confidence::High);
        assert!(answer.summary.contains("also exhausted: CPU"), "{}", answer.summary);
    }
}

#[test]
fn an_open_loop_that_waits_awake_is_no_limit_until_it_is_late() {
    let mut awake = made(8.0, 100.0).with(Role::Client, |sample| busy(sample, 99.0, 0.0));
    awake.summary.send_lag_s = Some(Distribution::default());
    assert_eq!(attribute(&awake.observation()).class, Bottleneck::None);
    let (severity, code) = (archive::Severity::Warning, "send_lag".to_owned());
    awake.summary.findings = vec![archive::Finding { severity, code, message: "requests were sent late".to_owned() }];
    assert_eq!(attribute(&awake.observation()).class, Bottleneck::Client);
    // How exact the latencies are is another question than what limits.
    awake.summary.findings[0].code = "calibration".to_owned();
    assert_eq!(attribute(&awake.observation()).class, Bottleneck::None);
}

#[test]
fn without_data_nothing_is_claimed() {
    let mut nothing = made(8.0, 100.0);
    nothing.resources.clear();
    let answer = attribute(&nothing.observation());
    assert_eq!((answer.class, answer.confidence), (Bottleneck::Unknown, Confidence::Low));
    let mut elsewhere = made(8.0, 100.0);
    elsewhere.resources.retain(|sample| sample.role == Role::Client);
    assert_eq!(attribute(&elsewhere.observation()).class, Bottleneck::Unknown);
    let mut short = made(8.0, 100.0);
    short.summary.window_s = [3.0, 3.2];
    let answer = attribute(&short.observation());
    assert_eq!(answer.class, Bottleneck::Unknown);
    assert!(answer.summary.contains("0.2 s"), "{}", answer.summary);
    let mut failing = made(8.0, 100.0);
    failing.summary.success_rate = Some(50.0);
    assert_eq!(attribute(&failing.observation()).class, Bottleneck::Unknown);
    let mut without: Vec<Made> = [(1.0, 50.0), (4.0, 100.0), (8.0, 100.0)].map(|(load, rate)| made(load, rate)).into();
    without.iter_mut().for_each(|made| made.resources.clear());
    let answer = sweep(&without);
    assert_eq!((answer.class, answer.stops_at), (Bottleneck::Unknown, Some(4.0)), "{answer:#?}");
    assert_eq!(attribute_sweep(&[], None).class, Bottleneck::Unknown);
}

#[test]
fn throughput_that_still_grows_has_not_stopped() {
    let answer = sweep(&[made(1.0, 50.0), made(2.0, 100.0), made(4.0, 200.0), made(8.0, 395.0)]);
    assert_eq!((answer.class, answer.stops_at, answer.confidence), (Bottleneck::None, None, Confidence::High));
}
