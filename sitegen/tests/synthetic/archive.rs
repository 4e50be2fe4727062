//! An archive of made-up benchmarks with known truth: closed loops on c slots, so that throughput is
//! min(N, c) / s and the knee is at c. Everything follows from formulas; nothing is drawn from the clock.

use std::{fs, path::Path};

use analysis::{Arrival, Facts, Generator, summarise};
use archive::{
    BenchmarkId, CampaignFacts, ClientFacts, DiskSample, Event, Failure, GpuSample, InterfaceSample, NodeFacts,
    RecipeFacts, Request, RequestWriter, ResourceSample, Role, Run, SCHEMA, SealOptions, Seeds, ServiceFacts, Stage,
    Status, Summary, TargetFacts, Timestamp, ToolFacts, seal,
};
use serde_json::{Map, Value, json};

/// Seconds of the measurement window, after one of warm-up.
const WINDOW_S: f64 = 8.0;

/// One benchmark to make.
#[derive(Clone)]
pub struct Made {
    pub id: BenchmarkId,
    pub campaign: &'static str,
    pub title: &'static str,
    /// Day and minute of the execution.
    pub execution: (u32, u32),
    pub point: usize,
    pub points: usize,
    pub repetition: u32,
    pub clients: u32,
    /// A second axis beside the clients.
    pub other: Option<(&'static str, Value)>,
    pub slots: f64,
    pub service_s: f64,
    pub tokens: bool,
    /// Whether the devices of its node were sampled.
    pub devices: bool,
    pub status: Status,
}

/// A sweep of a token server with 8 slots, run twice; a two-axis sweep of a key-value store; a failed and a cancelled
/// benchmark among them. Each is written by [`write_benchmark`].
#[allow(dead_code, reason = "not every program needs all")]
pub fn made() -> Vec<Made> {
    let mut all = Vec::new();
    let mut sequence = 0;
    let mut add = |made: Made| {
        sequence += 1;
        all.push(Made { id: BenchmarkId::new(20_260_300 + made.execution.0, sequence), ..made });
    };
    let sweep = Made {
        id: BenchmarkId::new(0, 0),
        campaign: "quickstart",
        title: "Simulator with 8 slots, 1 to 64 clients",
        execution: (1, 0),
        point: 0,
        points: 7,
        repetition: 1,
        clients: 1,
        other: None,
        slots: 8.0,
        service_s: 0.05,
        tokens: true,
        devices: false,
        status: Status::Completed,
    };
    for execution in [(1, 0), (2, 30)] {
        for repetition in 1..=3 {
            for (point, clients) in [1, 2, 4, 8, 16, 32, 64].into_iter().enumerate() {
                let status = match (execution.0, clients, repetition) {
                    (2, 64, 3) => Status::Failed,
                    (2, 32, 3) => Status::Cancelled,
                    _ => Status::Completed,
                };
                add(Made { execution, repetition, point, clients, status, ..sweep.clone() });
            }
        }
    }
    for (series, pipeline) in [1, 4].into_iter().enumerate() {
        for (point, clients) in [1, 4, 16, 64].into_iter().enumerate() {
            for repetition in 1..=2 {
                add(Made {
                    campaign: "02_pipeline",
                    title: "Redis, pipelined or not",
                    execution: (3, 0),
                    point: series * 4 + point,
                    points: 8,
                    repetition,
                    clients,
                    other: Some(("client.settings.pipeline", json!(pipeline))),
                    slots: 4.0 * f64::from(pipeline),
                    service_s: 0.02,
                    tokens: false,
                    devices: clients == 64,
                    ..sweep.clone()
                });
            }
        }
    }
    all
}

/// Eight executions of a sweep of two loads on a key-value store that is a third slower from the sixth on: written with
/// [`versioned`].
#[allow(dead_code, reason = "not every test needs a past")]
pub fn history() -> Vec<Made> {
    let mut all = Vec::new();
    for day in 4..12 {
        for repetition in 1..=3 {
            for (point, clients) in [4, 16].into_iter().enumerate() {
                all.push(Made {
                    id: BenchmarkId::new(20_260_300 + day, 101 + all.len() as u32),
                    campaign: "03_history",
                    title: "Redis, night after night",
                    execution: (day, 0),
                    point,
                    points: 2,
                    repetition,
                    clients,
                    other: None,
                    slots: 8.0,
                    service_s: if day >= 9 { 0.027 } else { 0.02 },
                    tokens: false,
                    devices: false,
                    status: Status::Completed,
                });
            }
        }
    }
    all
}

/// The version that a benchmark of [`history`] says it ran.
#[allow(dead_code, reason = "not every test needs a past")]
pub fn versioned(made: &Made, run: &mut Run) {
    run.service.version = Some(if made.execution.0 >= 9 { "7.2.0" } else { "7.0.15" }.into());
}

/// Everything of a benchmark that is sealed beside its request records.
pub struct Parts {
    pub run: Run,
    pub summary: Option<Summary>,
    pub resources: Vec<ResourceSample>,
    /// The log of its service.
    pub log: Vec<u8>,
}

/// Writes and seals one benchmark. `change` may alter its metadata and its summary before.
#[allow(dead_code, reason = "not every program changes as little")]
pub fn write_benchmark(results: &Path, made: &Made, change: impl FnOnce(&mut Run, &mut Option<Summary>)) {
    write_changed(results, made, |parts| change(&mut parts.run, &mut parts.summary));
}

/// The same, where anything may be altered.
pub fn write_changed(results: &Path, made: &Made, change: impl FnOnce(&mut Parts)) {
    let staged = results.join(".work").join(made.id.to_string());
    fs::create_dir_all(staged.join("logs")).expect("staging folder");
    let requests = requests(made);
    let path = staged.join("requests.jsonl.zst");
    let mut writer = RequestWriter::create(&path).expect("created");
    requests.iter().for_each(|request| writer.write(request).expect("written"));
    writer.finish().expect("finished");

    let run = run(made);
    let mut summary = Some(summarise_made(made, &run, &requests));
    if made.status == Status::Failed {
        summary = None;
        fs::remove_file(&path).expect("removed");
    }
    let resources = resources(made, &run);
    let log = b"listening on 127.0.0.1:8000\n<script>alert(0)</script>\nbye\n".to_vec();
    let mut parts = Parts { run, summary, resources, log };
    change(&mut parts);
    fs::write(staged.join("run.json"), json(&parts.run)).expect("written");
    if let Some(summary) = &parts.summary {
        fs::write(staged.join("summary.json"), json(summary)).expect("written");
    }
    let lines: Vec<u8> = parts
        .resources
        .iter()
        .flat_map(|sample| {
            let mut line = serde_json::to_vec(sample).expect("serialised");
            line.push(b'\n');
            line
        })
        .collect();
    fs::write(staged.join("resources.jsonl.zst"), zstd::encode_all(&lines[..], 3).expect("packed")).expect("written");
    fs::write(staged.join("logs/service.log"), &parts.log).expect("written");
    seal(results, made.id, &staged, &SealOptions::default()).expect("sealed");
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("serialised")
}

/// A number from −0.5 to 0.5 that depends on its arguments only.
fn scatter(a: u64, b: u64) -> f64 {
    let mixed = (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
        .wrapping_mul(0x1656_67b1_9e37_79f9);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
}

fn requests(made: &Made) -> Vec<Request> {
    let seed = u64::from(made.id.sequence());
    let end = if made.status == Status::Cancelled { 4.0 } else { 1.0 + WINDOW_S };
    // Repetitions differ by a few percent as a whole, requests by a fifth.
    let response = made.service_s * (f64::from(made.clients) / made.slots).max(1.0) * (1.0 + 0.04 * scatter(seed, 7));
    let mut requests = Vec::new();
    for client in 0..made.clients {
        let mut start = response * f64::from(client) / f64::from(made.clients);
        let mut number = 0;
        while start < end {
            let luck = scatter(seed * 1_000 + u64::from(client), number);
            let latency = response * (1.0 + 0.4 * luck + if luck > 0.48 { 1.5 } else { 0.0 });
            let failed = made.clients >= 64 && number % 97 == 13;
            let tokens = made.tokens && !failed;
            requests.push(Request {
                request_id: number,
                client,
                operation: if made.tokens {
                    "completion"
                } else if number % 10 == 0 {
                    "SET"
                } else {
                    "GET"
                }
                .into(),
                warmup: start < 1.0,
                start_s: (start * 1e9).round() / 1e9,
                latency_s: (latency * 1e9).round() / 1e9,
                success: !failed,
                error: failed.then(|| "connection reset by peer".to_owned()),
                bytes_received: 1024,
                bytes_sent: 256,
                ttft_s: tokens.then_some(latency * 0.3),
                chunk_gaps_us: if tokens { vec![(latency * 0.7 / 15.0 * 1e6) as u32; 15] } else { Vec::new() },
                input_tokens: tokens.then_some(64),
                output_tokens: tokens.then_some(16),
                ..Request::default()
            });
            start += latency;
            number += 1;
        }
    }
    requests.sort_by(|a, b| a.end().total_cmp(&b.end()));
    requests
}

fn summarise_made(made: &Made, run: &Run, requests: &[Request]) -> Summary {
    let end = if made.status == Status::Cancelled { 4.0 } else { 1.0 + WINDOW_S };
    let facts = Facts {
        service_type: run.service.kind.clone(),
        started_at: run.started_at,
        window_s: [1.0, end],
        arrival: Arrival::Closed,
        timed_clients: None,
        most_in_flight: None,
        slo: run.campaign.slo.clone(),
        clocks: None,
        service_restarts: None,
        calibration: None,
        generator: Some(Generator { cpu_s: 0.8, wait_s: 0.0, threads: 2, longest_stall_s: 0.004 }),
        repeats_prompts: false,
        status: made.status,
    };
    summarise(&facts, || Ok::<_, anyhow::Error>(requests.iter().cloned().map(Ok))).expect("sound records")
}

fn run(made: &Made) -> Run {
    let (day, minute) = made.execution;
    let midnight: Timestamp = format!("2026-03-{day:02}T09:{minute:02}:00Z").parse().expect("a time");
    let created_at = midnight.plus_seconds(f64::from(made.id.sequence()) * 15.0);
    let at = |seconds: f64| created_at.plus_seconds(seconds);
    let event = |seconds: f64, event: &str, detail: Option<&str>| Event {
        time: at(seconds),
        event: event.to_owned(),
        node: Some("node-1".to_owned()),
        detail: detail.map(str::to_owned),
        benchmark_id: None,
    };
    let mut swept = Map::new();
    swept.insert("benchmarks.num_clients".to_owned(), json!(made.clients));
    if let Some((path, value)) = &made.other {
        swept.insert((*path).to_owned(), value.clone());
    }
    let kind = if made.tokens { "simulator" } else { "redis" };
    let mut resolved = json!({
        "benchmarks": { "num_clients": made.clients }, "service": { "type": kind }, "title": made.campaign,
    });
    if let Some((path, value)) = &made.other {
        path.split('.').fold(&mut resolved, |place, name| &mut place[name]).clone_from(value);
    }
    resolved.sort_all_objects();
    let slo = if made.tokens {
        vec![("latency_p99_s", 0.3), ("success_rate", 99.0), ("ttft_p95_s", 0.05)]
    } else {
        Vec::new()
    };
    Run {
        schema: SCHEMA,
        benchmark_id: made.id,
        status: made.status,
        failure: match made.status {
            Status::Completed => None,
            Status::Failed => Some(Failure {
                stage: Stage::Loading,
                reason: "the service ended with exit code 137 while it was loaded".to_owned(),
            }),
            Status::Cancelled => Some(Failure { stage: Stage::Loading, reason: "interrupted".to_owned() }),
        },
        created_at,
        started_at: Some(at(1.5)),
        ended_at: at(11.0),
        campaign: CampaignFacts {
            name: made.campaign.to_owned(),
            title: Some(made.title.to_owned()),
            execution: format!("2026-03-{day:02}T09{minute:02}-ab12"),
            point: made.point,
            points: made.points,
            repetition: made.repetition,
            repetitions: 3,
            swept,
            slo: slo.into_iter().map(|(name, limit)| (name.to_owned(), limit)).collect(),
            thresholds: Default::default(),
            search: None,
            other: Map::new(),
        },
        target: TargetFacts { name: "local".into(), kind: "local".into(), other: Map::new() },
        tool: ToolFacts {
            name: "runner".into(),
            version: "0.1.0".into(),
            git_commit: None,
            changes_sha256: None,
            profile: None,
            binary_sha256: Some("5e".repeat(32)),
            other: Map::new(),
        },
        git_commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        recipe_hash: archive::sha256_hex(resolved.to_string().as_bytes()),
        recipe: RecipeFacts {
            file: format!("campaigns/{}.yaml", made.campaign),
            text: format!(
                "name: {}\nrecipe:\n  service: {{type: {kind}}}\nsweep:\n  benchmarks.num_clients: [1, 2, 4, 8, 16, 32, 64]\n",
                made.campaign
            ),
            recipe_text: None,
            overrides: Vec::new(),
            git_commit: None,
            changes_sha256: None,
            resolved,
        },
        service: ServiceFacts {
            name: kind.into(),
            kind: kind.into(),
            version: Some("7.0.15".into()),
            image: None,
            command: vec![kind.into(), "--port".into(), "8000".into()],
            program_sha256: Some("cd".repeat(32)),
            started_as: "child".into(),
            hostname: Some("node-1".into()),
            port: Some(8000),
            ready_after_s: Some(0.42),
            model_digest: None,
            exit: Some("exit code 0".into()),
            other: Map::new(),
        },
        client: ClientFacts {
            name: "client".into(),
            kind: format!("{kind}_stress"),
            num_clients: made.clients,
            threads: 2,
            load: json!({ "arrival": { "model": "closed", "think_time_s": 0.0 }, "stop": { "duration_s": WINDOW_S } }),
            sequence_digest: Some("ef".repeat(32)),
            other: Map::new(),
        },
        nodes: vec![NodeFacts {
            hostname: "node-1".into(),
            roles: vec!["service".into(), "client".into()],
            kernel: Some("6.1.0".into()),
            cpu_model: Some("Example CPU @ 2.40GHz".into()),
            cpus: Some(4),
            memory_total_bytes: Some(16 << 30),
            ..NodeFacts::default()
        }],
        data: Vec::new(),
        seeds: Seeds { campaign: 1, benchmark: u64::from(made.id.sequence()) },
        events: vec![
            event(0.0, "started", None),
            event(0.42, "ready", Some("answered after 3 tries")),
            event(1.5, "point_begun", None),
            event(2.5, "warmup_ended", None),
            event(10.5, "point_ended", None),
            event(11.0, "stopped", None),
        ],
        rerun_of: None,
        other: Map::new(),
    }
}

fn resources(made: &Made, run: &Run) -> Vec<ResourceSample> {
    let load = (f64::from(made.clients) / made.slots).min(1.0);
    let start = run.started_at.expect("load was driven");
    let sample = |second: u32, role: Role| {
        let offset = f64::from(second);
        let jitter = 1.0 + 0.1 * scatter(u64::from(made.id.sequence()), u64::from(second));
        let (cpu, rss) = match role {
            Role::Service => (95.0 * load * jitter, 80 << 20),
            Role::Client => (40.0 * load * jitter, 30 << 20),
        };
        let mut sample = ResourceSample::new(start.plus_seconds(offset), "node-1", role);
        sample.offset_s = Some(offset);
        sample.node_cpu_percent = Some(cpu / 3.0);
        sample.node_cpu_max_core_percent = Some((cpu * 1.02).min(100.0));
        sample.node_memory_used_bytes = Some(3 << 30);
        sample.node_memory_total_bytes = Some(16 << 30);
        sample.node_run_queue = Some(2);
        sample.process_cpu_percent = Some(cpu);
        sample.busiest_thread_cpu_percent = Some(cpu.min(100.0));
        sample.busiest_thread_wait_percent = Some(1.0);
        sample.process_cpus_allowed = Some(3);
        sample.process_rss_bytes = Some(rss);
        sample.process_count = Some(1);
        if made.devices && role == Role::Service {
            let gpu = |index: u32| GpuSample {
                index,
                name: "Example GPU".into(),
                utilization_percent: Some((40.0 * load * jitter).round()),
                memory_used_bytes: Some(u64::from(6 + index) << 30),
                memory_total_bytes: Some(24 << 30),
                power_w: Some((120.0 * jitter).round()),
                power_limit_w: Some(300.0),
                sm_clock_mhz: Some(1_410),
                ..GpuSample::default()
            };
            sample.gpus = vec![gpu(0), gpu(1)];
            sample.interfaces = vec![InterfaceSample {
                name: "eth0".into(),
                received_bytes_per_second: (2e5 * load * jitter).round(),
                sent_bytes_per_second: (8e5 * load * jitter).round(),
                dropped_packets: 0,
                capacity_bytes_per_second: Some(1.25e9),
                queued_bytes: Some(0),
                queue_dropped_packets: Some(0),
            }];
            // Idle in every third second, and not listed then.
            if !second.is_multiple_of(3) {
                sample.disks = vec![DiskSample {
                    name: "nvme0n1".into(),
                    read_bytes_per_second: 0.0,
                    written_bytes_per_second: (3e6 * jitter).round(),
                    busy_percent: 4.0,
                }];
            }
        }
        if made.tokens && role == Role::Service {
            let running = f64::from(made.clients).min(made.slots);
            let waiting = (f64::from(made.clients) - made.slots).max(0.0);
            sample.service_figures = [
                ("kv_cache_used_percent".to_owned(), 60.0 * load * jitter),
                ("requests_running".to_owned(), running),
                ("requests_waiting".to_owned(), (waiting * jitter).round()),
            ]
            .into();
        }
        sample
    };
    (1..=9).flat_map(|second| [sample(second, Role::Service), sample(second, Role::Client)]).collect()
}
