//! Every load model against real services, and every client type under every kind of load.

use std::{collections::BTreeSet, path::Path, time::Duration};

use archive::Request;
use serde_json::{Value, json};

use super::{
    ClientType, SERVICES, ServiceType, SimulatorSettings,
    fixtures::{Driven, RedisServer, Running, drive, drive_job, drive_parts, drive_service, free_port, local, spec},
    redis::RedisStress,
};
use crate::{
    load::{Arrival, Control, LoadJob, LoadSpec, Precision, Quantity, Step, Stop, Trace, Warmup, trace::Arrived},
    plan,
};

/// Services that no machine of the tests can start, and whose clients are tested with another one that stands
/// beside.
const ELSEWHERE: [(&str, &str); 2] = [("ollama", "simulator"), ("vllm", "simulator")];

/// Settings, in closed and in open loop, of clients whose servers are too slow for their default amount of data. In closed
/// loop, databases and stores have phases; in open loop each kind of request is drawn.
fn less_data(client: &str) -> [Value; 2] {
    let vectors = json!({ "num_vectors": 20, "num_queries": 4, "dim": 8, "batch_size": 10, "top_k": 3 });
    let (less, mix) = match client {
        "chroma_stress" => (vectors, "60:40"),
        "qdrant_stress" => {
            let mut points = vectors;
            let moved = points.as_object_mut().and_then(|settings| settings.remove("num_vectors"));
            points["num_points"] = moved.expect("given");
            (points, "60:40")
        }
        "minio_stress" => (json!({ "num_objects": 3, "object_size_bytes": 1000 }), "40:30:15:15"),
        llm if llm.starts_with("vllm_") || llm.starts_with("ollama_") => {
            return [json!({ "max_tokens": 4 }), json!({ "max_tokens": 4 })];
        }
        _ => return [json!({}), json!({})],
    };
    let mut mixed = less.clone();
    mixed["operation_mix"] = mix.into();
    [less, mixed]
}

/// The load and the settings that a recipe comes to.
fn planned(
    service: &dyn ServiceType,
    client: &dyn ClientType,
    benchmarks: &Value,
    settings: &Value,
) -> (LoadSpec, Value) {
    let recipe = json!({
        "configuration": { "target": "local" },
        "service": { "type": service.name() },
        "client": { "type": client.name(), "settings": settings },
        "benchmarks": benchmarks,
    });
    let machine = plan::Machine { cores: 2, environment: &|_| None };
    let outcome = plan::from_text("a test", &recipe.to_string(), Path::new(""), machine);
    let plan = outcome.plan.unwrap_or_else(|| panic!("{}", outcome.findings.render_all()));
    let point = &plan.points[0];
    (point.load.clone(), point.recipe.client.settings.clone().into())
}

#[test]
fn every_client_sends_the_same_requests_over_any_number_of_threads() {
    for service in SERVICES {
        if let Some((_, other)) = ELSEWHERE.iter().find(|(name, _)| *name == service.name()) {
            let other = super::service_type(other).expect("another service");
            let names = |of: &dyn ServiceType| of.clients().iter().map(|client| client.name()).collect::<BTreeSet<_>>();
            assert!(names(*service).is_subset(&names(other)), "the clients of {} meet no server", service.name());
            continue;
        }
        let running = Running::start(*service);
        for client in service.clients() {
            let loads = [
                json!({ "num_clients": 4, "num_requests": 6 }),
                json!({ "num_clients": 4, "num_requests": 24, "load": { "model": "gamma", "rate": 400, "shape": 0.5 } }),
            ];
            for (benchmarks, less) in loads.into_iter().zip(less_data(client.name())) {
                let (spec, settings) = planned(*service, *client, &benchmarks, &less);
                let name = format!("{} under {benchmarks}", client.name());
                let digest = |threads: u32, seed: u64| {
                    let spec = LoadSpec { threads, seed, ..spec.clone() };
                    let driven = running.drive(*client, spec, &settings);
                    let driven = driven.unwrap_or_else(|err| panic!("{name}: {err:#}"));
                    assert_eq!(driven.errors(), [""; 0], "{name}");
                    driven.report.sequence_digest.unwrap_or_else(|| panic!("{name}: no digest"))
                };
                let mut digests: BTreeSet<String> = [1, 2, 4].map(|threads| digest(threads, 7)).into();
                if client.on_several_nodes() {
                    let job = running.job(LoadSpec { threads: 2, seed: 7, ..spec.clone() }, &settings);
                    let driven = drive_parts(*client, &job, 3).unwrap_or_else(|err| panic!("{name}: {err:#}"));
                    assert_eq!(driven.errors(), [""; 0], "{name}");
                    digests.insert(driven.report.sequence_digest.unwrap_or_else(|| panic!("{name}: no digest")));
                }
                assert_eq!(digests.len(), 1, "{name}");
            }
        }
    }
}

/// Load models in the words of recipes, short; with each, how many requests are measured where a count says that.
fn models() -> Vec<(Value, Option<usize>)> {
    let step = |key: &str, from: u32, to: u32| json!({ key: from, "to": to, "duration": "150ms" });
    vec![
        (json!({ "num_requests": 6, "warmup_requests": 2 }), Some(24)),
        (json!({ "duration": "300ms", "warmup": "100ms" }), None),
        (json!({ "load": { "steps": [step("clients", 1, 1), step("clients", 1, 4)] } }), None),
        (json!({ "num_requests": 12, "warmup_requests": 4, "load": { "model": "constant", "rate": 100 } }), Some(12)),
        (json!({ "duration": "300ms", "warmup": "100ms", "load": { "model": "poisson", "rate": 100 } }), None),
        (json!({ "load": { "model": "poisson", "steps": [step("rate", 40, 40), step("rate", 40, 200)] } }), None),
        (json!({ "duration": "300ms", "precision": { "metric": "latency_p50", "width": 1 } }), None),
        // Its arrivals are the test's own.
        (json!({ "num_requests": 12, "load": { "model": "constant", "rate": 1 } }), Some(12)),
    ]
}

#[test]
fn every_client_follows_every_load_model() {
    let offsets = (0..12).map(|i| Arrived { offset_s: f64::from(i) * 0.01, input_tokens: None, output_tokens: None });
    let trace = Trace::of(offsets.collect());
    for service in SERVICES.iter().filter(|service| ELSEWHERE.iter().all(|(name, _)| *name != service.name())) {
        let running = Running::start(*service);
        for client in service.clients() {
            for (mut benchmarks, count) in models() {
                let stepped = benchmarks["load"]["steps"].is_array();
                if !stepped || benchmarks["load"]["model"] == "poisson" {
                    benchmarks["num_clients"] = 4.into();
                }
                let name = format!("{} under {benchmarks}", client.name());
                let [closed, open] = less_data(client.name());
                let less =
                    if benchmarks.get("load").is_some_and(|load| load["model"].is_string()) { open } else { closed };
                let (mut spec, settings) = planned(*service, *client, &benchmarks, &less);
                let replays = benchmarks["load"]["rate"] == 1;
                if replays {
                    let sha256 = trace.sha256.clone();
                    spec.arrival = Arrival::Trace { sha256, speed: 1.0, requests: 12, rate: trace.rate() };
                }
                let warms = spec.warmup != Warmup::default();
                let (steps, precision, timed) = (spec.steps.len(), spec.precision.is_some(), spec.stop.duration_s);
                let open = !spec.arrival.is_closed();
                let job = LoadJob { trace: replays.then(|| trace.clone()), ..running.job(spec, &settings) };
                let driven = drive_job(*client, job).unwrap_or_else(|err| panic!("{name}: {err:#}"));
                assert_eq!(driven.errors(), [""; 0], "{name}");
                let report = &driven.report;
                let doubts = [&report.interruption, &report.wrong_data, &report.unchecked_data, &report.left_behind];
                assert_eq!((report.interrupted, doubts), (false, [&None; 4]), "{name}");
                let [start, end] = report.window_s;
                assert!(measured(&driven).count() > 0, "{name}");
                assert!(count.is_none_or(|count| count == measured(&driven).count()), "{name}");
                assert!(timed.is_none_or(|length| precision || (end - start - length).abs() < 1e-6), "{name}");
                assert!(
                    !open || measured(&driven).all(|r| r.intended() > start - 1e-6 && r.intended() < end + 1e-6),
                    "{name}"
                );
                assert_eq!(driven.requests.iter().any(|request| request.warmup), warms, "{name}");
                assert_eq!((report.steps.len(), report.precision.is_some()), (steps, precision), "{name}");
            }
        }
    }
}

#[test]
fn without_a_server_no_client_begins() {
    let endpoint = local(free_port());
    for service in SERVICES {
        let mut settings = crate::recipe::schema::default_settings(service.settings_schema());
        for secret in service.secret_settings() {
            settings.insert(secret.setting.to_owned(), "drawn-secret".into());
        }
        for client in service.clients() {
            let benchmarks = json!({ "num_clients": 2, "num_requests": 6 });
            let (spec, own) = planned(*service, *client, &benchmarks, &less_data(client.name())[0]);
            let target = (endpoint.clone(), Value::from(settings.clone()));
            let driven = drive_service(*client, target, spec, own, &Control::default());
            let err = format!("{:#}", driven.err().expect("no load"));
            assert!(err.contains(&endpoint.to_string()) && err.contains("refused"), "{}: {err}", client.name());
            assert_eq!(err.matches("refused").count(), 1, "{}: {err}", client.name());
        }
    }
}

fn redis(server: &RedisServer, spec: LoadSpec) -> Driven {
    let driven = drive(&RedisStress, server.endpoint.clone(), spec, json!({ "operation_mix": "1:1", "num_keys": 10 }));
    let driven = driven.expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    driven
}

fn timed(arrival: Arrival, clients: u32, duration_s: f64) -> LoadSpec {
    LoadSpec { arrival, clients, stop: Stop { requests: None, duration_s: Some(duration_s) }, ..spec(1) }
}

fn measured(driven: &Driven) -> impl Iterator<Item = &Request> {
    driven.requests.iter().filter(|request| !request.warmup)
}

#[test]
fn recorded_arrivals_follow_their_law() {
    let server = RedisServer::start();
    let rate = 2000.0;
    let driven = redis(&server, LoadSpec { threads: 2, ..timed(Arrival::Poisson { rate }, 32, 1.5) });
    let mut times: Vec<f64> = driven.requests.iter().map(Request::intended).collect();
    times.sort_by(f64::total_cmp);
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let distance = gaps.iter().enumerate().fold(0.0f64, |worst, (i, gap)| {
        let law = 1.0 - (-rate * gap).exp();
        worst.max((law - i as f64 / n).abs()).max(((i + 1) as f64 / n - law).abs())
    });
    // Kolmogorov-Smirnov, 0.1 % point; the seed is fixed, so the check cannot flake.
    assert!(n > 2500.0 && distance < 1.95 / n.sqrt(), "{n} gaps, distance {distance}");
}

#[test]
fn steps_of_a_closed_loop_hold_their_clients() {
    let server = RedisServer::start();
    let step = |from, to| Step { from, to, duration_s: 0.6 };
    let spec = LoadSpec {
        steps: vec![step(1.0, 1.0), step(1.0, 5.0), step(2.0, 2.0)],
        threads: 2,
        warmup: Warmup { duration_s: 0.2, requests: 0 },
        ..timed(Arrival::Closed { think_time_s: 0.001 }, 5, 1.8)
    };
    let driven = redis(&server, spec);
    let steps = &driven.report.steps;
    assert_eq!(steps.iter().map(|step| step.to).collect::<Vec<_>>(), [1.0, 5.0, 2.0]);
    assert_eq!([steps[0].start_s, steps[2].end_s], driven.report.window_s);
    // A client looks at the clock and then stamps, on a busy machine a little later.
    let slack = 0.05;
    let clients = |from: f64, to: f64| {
        let within = measured(&driven).filter(|request| request.start_s > from && request.start_s < to);
        within.map(|request| request.client).collect::<BTreeSet<_>>()
    };
    assert_eq!(clients(steps[0].start_s + slack, steps[0].end_s).len(), 1);
    assert_eq!(clients(steps[1].start_s, steps[1].end_s).len(), 5);
    assert_eq!(clients(steps[2].start_s + slack, steps[2].end_s).len(), 2);
    assert!(driven.requests.iter().filter(|request| request.warmup).all(|request| request.client == 0));
}

#[test]
fn a_ramp_of_an_open_loop_sends_what_its_area_says() {
    let server = RedisServer::start();
    let steps =
        vec![Step { from: 200.0, to: 1000.0, duration_s: 1.0 }, Step { from: 100.0, to: 100.0, duration_s: 1.0 }];
    let spec = LoadSpec { steps, ..timed(Arrival::Constant { rate: 1.0 }, 16, 2.0) };
    let driven = redis(&server, spec);
    let due = |from: f64, to: f64| {
        driven.requests.iter().filter(|request| request.intended() >= from && request.intended() < to).count() as i64
    };
    // 200 t + 400 t² of the ramp: exact to the one arrival that may fall on either side.
    for (from, to, expect) in [(0.0, 0.5, 200), (0.5, 1.0, 400), (1.0, 2.0, 100)] {
        assert!((due(from, to) - expect).abs() <= 1, "{from}–{to}: {}", due(from, to));
    }
}

#[test]
fn a_trace_sends_its_requests_when_and_as_they_were() {
    let arrivals: Vec<Arrived> = (0..200)
        .map(|i| Arrived {
            offset_s: f64::from(i) * f64::from(i % 3) * 0.002,
            input_tokens: Some(3 + i % 5),
            output_tokens: Some(1 + i % 4),
        })
        .scan(0.0f64, |last, arrived| {
            *last = last.max(arrived.offset_s);
            Some(Arrived { offset_s: *last, ..arrived })
        })
        .collect();
    let trace = Trace::of(arrivals.clone());
    let arrival = Arrival::Trace { sha256: trace.sha256.clone(), speed: 2.0, requests: 200, rate: 1.0 };
    let spec = LoadSpec { arrival, clients: 64, threads: 2, ..spec(200) };
    let simulator = Running::start(super::service_type("simulator").expect("the simulator"));
    let client = super::client_type("vllm_stress").expect("vllm_stress");
    let settings = super::super::recipe::schema::default_settings(client.settings_schema());
    let job = simulator.job(spec, &settings.into());
    let driven = drive_job(client, LoadJob { trace: Some(trace), ..job }).expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    assert_eq!(driven.requests.len(), 200);
    for request in &driven.requests {
        let recorded = arrivals[request.request_id as usize];
        assert!((request.intended() - recorded.offset_s / 2.0).abs() < 1e-6);
        assert_eq!(request.output_tokens, recorded.output_tokens.map(u64::from));
        assert_eq!(request.input_tokens, recorded.input_tokens.map(u64::from));
    }
}

#[test]
fn precision_ends_a_load_and_says_what_it_knows() {
    // Answers take a known time that is long beside what a busy machine adds.
    let settings = SimulatorSettings { slots: 64, prefill_base_s: 0.02, ..SimulatorSettings::default() };
    let endpoint = crate::simulator::tests::start(settings);
    let client = super::client_type("vllm_stress").expect("vllm_stress");
    let run = |width: f64, spec: LoadSpec| {
        let precision = Some(Precision { quantity: Quantity::Ttft, share: 0.5, width });
        let settings = json!({ "max_tokens": 1, "prompt_length": 1 });
        drive(client, endpoint.clone(), LoadSpec { precision, ..spec }, settings).expect("driven")
    };
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 400.0 }] {
        let driven = run(1.0, timed(arrival.clone(), 32, 120.0));
        let facts = driven.report.precision.clone().expect("facts");
        let [start, end] = driven.report.window_s;
        assert!(facts.reached && !driven.report.interrupted && end - start < 120.0, "{facts:?}");
        let [low, high] = facts.interval_s.expect("an interval");
        assert!(low >= 0.02 && low <= high && facts.samples >= 1000, "{facts:?}");
        let late = measured(&driven).filter(|request| request.intended() >= end).count();
        // In closed loop a client looks at the clock and then stamps.
        assert!(late <= 32 && measured(&driven).all(|request| request.intended() >= start), "{late}");
    }
    let driven = run(0.002, timed(Arrival::Poisson { rate: 100.0 }, 8, 0.5));
    assert!(!driven.report.precision.expect("facts").reached);
    assert_eq!(driven.report.window_s, [0.0, 0.5]);
}

#[test]
fn a_stalled_server_shows_the_p99_of_the_closed_form() {
    // The whole server stands still for D of T seconds while requests come evenly. Those due in the pause wait for
    // what is left of it, so a share (D − x) / T of all waits longer than x, and the p99 is D − T / 100.
    let server = RedisServer::start();
    let (rate, length) = (500.0, 4.0);
    let arrival = Arrival::Constant { rate };
    // With a client for every request of the pause, requests are sent on time and the wait is the server's.
    for clients in [1000, 4] {
        let (driven, pause) = std::thread::scope(|scope| {
            let load = scope.spawn(|| redis(&server, timed(arrival.clone(), clients, length)));
            // After the keys are written.
            server.wait_for_commands(server.commands() + 10 * u64::from(clients) + 300);
            let stopped = std::time::Instant::now();
            server.signal(nix::sys::signal::Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(500));
            server.signal(nix::sys::signal::Signal::SIGCONT);
            let pause = stopped.elapsed().as_secs_f64();
            (load.join().expect("driven"), pause)
        });
        let mut responses: Vec<f64> = driven.requests.iter().map(|request| request.latency_s).collect();
        responses.sort_by(f64::total_cmp);
        assert_eq!(responses.len(), (rate * length) as usize);
        let p99 = responses[((responses.len() - 1) as f64 * 0.99) as usize];
        let expect = pause - length / 100.0;
        // Above: what a busy machine takes to catch up. Below: nothing, but for the stop's own delay.
        assert!(p99 > expect - 0.03 && p99 < expect + 0.5, "{clients} clients: p99 {p99}, not {expect}");
    }
}
