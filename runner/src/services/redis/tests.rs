//! `redis_stress` against a real Redis, and against servers that misbehave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop, Warmup},
    services::fixtures::{
        Fault, RedisServer, drive, drive_service, drive_until, faulty, faulty_by, free_port, local, probe, spec,
    },
};

fn open(arrival: Arrival, clients: u32, requests: Option<u64>, duration_s: Option<f64>) -> LoadSpec {
    LoadSpec { arrival, clients, stop: Stop { requests, duration_s }, ..spec(1) }
}

/// A server that does everything right but this, to every GET.
fn right_but_for_get(fault: Fault) -> Endpoint {
    faulty_by(Arc::new(move |request: &[u8]| {
        let count = |name: &[u8]| request.windows(name.len()).filter(|part| *part == name).count();
        match count(b"GET\r\n") {
            0 => Fault::Answer(
                ["+OK\r\n".repeat(count(b"SET\r\n")), ":1\r\n".repeat(count(b"UNLINK\r\n"))].concat().into(),
            ),
            _ => fault.clone(),
        }
    }))
}

#[test]
fn phases_are_recorded_whole_and_leave_nothing_behind() {
    let server = RedisServer::start();
    let mut digests = BTreeSet::new();
    for (threads, pipeline, key_size) in [(1, 1, 32), (2, 1, 32), (4, 7, 32), (2, 100, 32)] {
        let spec =
            LoadSpec { clients: 4, threads, pipeline, warmup: Warmup { duration_s: 0.0, requests: 5 }, ..spec(100) };
        let settings = json!({ "key_size_bytes": key_size, "value_size_bytes": 1000, "pipeline": pipeline });
        let driven = drive(&RedisStress, server.endpoint.clone(), spec, settings).expect("driven");
        assert_eq!(driven.errors(), [""; 0]);
        assert_eq!((driven.requests.len(), driven.report.threads), (4 * 105, threads));
        for client in 0..4 {
            let of = |warmup: bool| driven.requests.iter().filter(move |r| r.client == client && r.warmup == warmup);
            let mut ids: Vec<_> = of(false).map(|request| request.request_id).collect();
            ids.sort_unstable();
            assert_eq!(ids, (0..100).collect::<Vec<_>>());
            assert_eq!(of(true).count(), 5);
            for request in of(false) {
                let (operation, sent) = if request.request_id < 50 { ("SET", 1000) } else { ("GET", 0) };
                assert_eq!(
                    (request.operation.as_str(), request.bytes_sent, request.bytes_received),
                    (operation, sent, 1000 - sent)
                );
            }
        }
        let [start, end] = driven.report.window_s;
        let measured = || driven.requests.iter().filter(|request| !request.warmup);
        assert!(measured().all(|request| request.start_s >= start && request.end() < end));
        assert!(driven.requests.iter().filter(|request| request.warmup).all(|request| request.end() <= start));
        let last = measured().map(|request| request.end()).fold(0.0, f64::max);
        assert!(end - last < 2e-9, "the window ends with the last answer");
        digests.insert(driven.report.sequence_digest.expect("a digest"));
        assert_eq!(server.ask("DBSIZE"), ":0");
    }
    assert_eq!(digests.len(), 1, "one sequence whatever the threads and the pipeline");
}

#[test]
fn two_loads_on_one_server_do_not_meet() {
    let server = RedisServer::start();
    let drive = || {
        let settings = json!({ "value_size_bytes": 100, "num_keys": 20, "operation_mix": "50:50" });
        drive(&RedisStress, server.endpoint.clone(), LoadSpec { clients: 3, ..spec(400) }, settings).expect("driven")
    };
    let runs = std::thread::scope(|scope| {
        let runs = [scope.spawn(drive), scope.spawn(drive)];
        runs.map(|run| run.join().expect("ended"))
    });
    // The same seed, and so the same requests: only what each load calls its own keeps them apart.
    assert_eq!(runs[0].report.sequence_digest, runs[1].report.sequence_digest);
    for driven in &runs {
        assert_eq!((driven.errors(), &driven.report.wrong_data), (vec![""; 0], &None));
    }
    assert_eq!(server.ask("DBSIZE"), ":0");
}

#[test]
fn an_open_loop_sends_its_schedule_whatever_the_threads() {
    let server = RedisServer::start();
    let mut seen = BTreeSet::new();
    for threads in [1, 2, 4] {
        let spec = LoadSpec {
            threads,
            warmup: Warmup { duration_s: 0.1, requests: 0 },
            ..open(Arrival::Poisson { rate: 2000.0 }, 8, Some(1000), None)
        };
        let settings = json!({ "operation_mix": "80:20", "num_keys": 10 });
        let driven = drive(&RedisStress, server.endpoint.clone(), spec, settings).expect("driven");
        assert_eq!(driven.errors(), [""; 0]);
        let mut schedule: Vec<_> = driven
            .requests
            .iter()
            .map(|r| (r.request_id, (r.intended() * 1e9).round() as u64, r.warmup, r.operation.clone()))
            .collect();
        schedule.sort();
        assert!(schedule.iter().enumerate().all(|(i, arrival)| arrival.0 == i as u64));
        assert_eq!(schedule.iter().filter(|arrival| !arrival.2).count(), 1000);
        assert!(schedule.iter().all(|arrival| arrival.2 == (arrival.1 < 100_000_000)));
        assert!(driven.requests.iter().all(|request| request.start_s >= request.intended()));
        let gets = schedule.iter().filter(|arrival| arrival.3 == "GET").count() as f64 / schedule.len() as f64;
        // Five standard deviations.
        assert!((gets - 0.8).abs() < 5.0 * (0.16 / schedule.len() as f64).sqrt(), "{gets}");
        seen.insert((driven.report.sequence_digest.expect("a digest"), schedule));
        assert_eq!(server.ask("DBSIZE"), ":0");
    }
    assert_eq!(seen.len(), 1);
}

#[test]
fn an_open_loop_without_a_mix_finds_what_it_reads_whatever_its_warm_up() {
    let server = RedisServer::start();
    for warmup in [Warmup { duration_s: 0.0, requests: 30 }, Warmup { duration_s: 0.05, requests: 0 }] {
        let spec = LoadSpec { warmup, ..open(Arrival::Poisson { rate: 1000.0 }, 4, Some(100), None) };
        let driven = drive(&RedisStress, server.endpoint.clone(), spec, json!({ "num_keys": 10 })).expect("driven");
        assert_eq!(driven.errors(), [""; 0]);
        assert_eq!(driven.requests.iter().filter(|request| !request.warmup).count(), 100);
        assert!(["GET", "SET"].iter().all(|name| driven.requests.iter().any(|request| request.operation == *name)));
        assert_eq!(server.ask("DBSIZE"), ":0");
    }
}

#[test]
fn time_ends_a_load_and_its_warm_up() {
    let server = RedisServer::start();
    let stop = Stop { requests: None, duration_s: Some(1.0) };
    let spec = LoadSpec { clients: 3, threads: 2, stop, warmup: Warmup { duration_s: 0.2, requests: 0 }, ..spec(1) };
    let driven = drive(&RedisStress, server.endpoint.clone(), spec, json!({ "num_keys": 20 })).expect("driven");
    let [start, end] = driven.report.window_s;
    assert_eq!((start, end), (0.2, 1.2));
    assert_eq!(driven.errors(), [""; 0]);
    assert!(driven.requests.iter().all(|request| request.warmup || request.start_s >= start));
    // A client looks at the clock, then stamps: the last of each phase may be stamped late, never more.
    let late = |warmup: bool, limit: f64| {
        driven.requests.iter().filter(|request| request.warmup == warmup && request.start_s >= limit).count()
    };
    assert!(late(true, start) <= 3 && late(false, end) <= 3);
    assert!(driven.requests.iter().any(|request| request.warmup));
    let digest = driven.report.sequence_digest.expect("each client sends more than its first 100");
    assert_eq!(digest.len(), 64);
}

#[test]
fn a_stall_shows_in_response_times_and_not_in_service_times() {
    let server = RedisServer::start();
    let clients = 4;
    let spec = open(Arrival::Constant { rate: 1000.0 }, clients, Some(1200), None);
    let settings = json!({ "operation_mix": "1:1", "num_keys": 10 });
    let driven = std::thread::scope(|scope| {
        let load = scope.spawn(|| drive(&RedisStress, server.endpoint.clone(), spec, settings));
        server.wait_for_commands(200);
        assert_eq!(server.ask("CLIENT PAUSE 500 ALL"), "+OK");
        load.join().expect("ended").expect("driven")
    });
    assert_eq!(driven.errors(), [""; 0]);
    // One request of each client hangs through the stall; all others wait for a client before they are sent.
    let mut by_service_time: Vec<_> = driven.requests.iter().collect();
    by_service_time.sort_by(|a, b| b.service_time().total_cmp(&a.service_time()));
    let (hanging, others) = by_service_time.split_at(clients as usize);
    assert_eq!(hanging.iter().map(|request| request.client).collect::<BTreeSet<_>>().len(), clients as usize);
    let begin = hanging.iter().map(|request| request.start_s).fold(0.0, f64::max);
    let end = hanging.iter().map(|request| request.end()).fold(f64::MAX, f64::min);
    assert!(end > begin);
    assert!(others[others.len() / 2].service_time() < 0.1);
    let due: Vec<_> = others.iter().filter(|r| r.intended() > begin && r.intended() < end).collect();
    // A thousand a second were due, and each of them knows how long it waited.
    assert!((due.len() as f64 - (end - begin) * 1000.0).abs() <= 2.0, "{}", due.len());
    for request in due {
        assert!(request.latency_s >= end - request.intended() && request.send_lag() >= end - request.intended());
    }
}

#[test]
fn every_fault_is_a_counted_failure() {
    let value = |bytes: &str| Fault::Answer(format!("${}\r\n{bytes}\r\n", bytes.len()).into_bytes());
    let answer = |text: &str| Fault::Answer(text.as_bytes().to_vec());
    for (fault, expect) in [
        (value("short"), "wrong answer: a value of another length"),
        (value(&"x".repeat(16)), "wrong answer: another value than was written"),
        (answer("$-1\r\n"), "wrong answer: no value"),
        (answer("+PONG\r\n"), "wrong answer: `PONG`"),
        (answer("-OOM command not allowed\r\n"), "OOM command not allowed"),
        (answer("HTTP/1.1 200 OK\r\n\r\n"), "wrong answer: not an answer of Redis: `HTTP/1.1 200 OK\\r\\n`"),
        (Fault::AnswerAndClose(b"$16\r\n".to_vec()), "connection closed before the answer"),
        (Fault::AnswerAndClose(Vec::new()), "connection closed before the answer"),
        (
            Fault::AnswerAndReset(b"$16\r\n".to_vec()),
            "connection lost before the answer: Connection reset by peer (os error 104)",
        ),
        (answer("-NOAUTH Authentication required.\r\n"), "NOAUTH Authentication required."),
        (Fault::Drip([b"+".as_slice(), &[b'x'; 100]].concat()), "timeout"),
        (Fault::Stall, "timeout"),
    ] {
        let name = format!("{fault:?}");
        let server = right_but_for_get(fault);
        let spec = LoadSpec { timeout_s: 0.5, ..spec(6) };
        let driven = drive(&RedisStress, server, spec, json!({ "value_size_bytes": 16 })).expect(&name);
        assert_eq!(driven.errors(), [expect], "{name}");
        let of = |operation| driven.requests.iter().filter(move |request| request.operation == operation);
        assert_eq!(
            (of("SET").filter(|r| r.success).count(), of("GET").filter(|r| !r.success).count()),
            (3, 3),
            "{name}"
        );
        assert!(of("GET").all(|request| expect != "timeout" || request.latency_s >= 0.5));
        assert!(!driven.report.interrupted, "{name}");
    }
}

#[test]
fn a_server_that_only_closes_is_not_hammered() {
    let server = faulty(Fault::AnswerAndClose(Vec::new()));
    // Phases, so that there is nothing to prepare.
    let driven = drive(&RedisStress, server, spec(8), json!({})).expect("driven");
    assert_eq!(driven.errors(), ["connection closed before the answer"]);
    // Pauses of 1, 2, 4, … 64 ms lie between eight failures.
    let [start, end] = driven.report.window_s;
    assert!(end - start >= 0.127, "{} s", end - start);
}

#[test]
fn without_a_server_there_is_no_load() {
    let port = free_port();
    for (settings, expect) in [
        (json!({}), "cannot connect to ENDPOINT: client 0: Connection refused (os error 111)"),
        (json!({ "operation_mix": "1:1" }), "cannot prepare ENDPOINT for the load: Connection refused (os error 111)"),
        (
            json!({ "operation_mix": "0:0" }),
            "operation_mix must be the shares of GET and SET, such as `80:20`, with one above zero, not `0:0`",
        ),
    ] {
        let err = drive(&RedisStress, local(port), spec(1), settings).err().expect("refused");
        assert_eq!(format!("{err:#}"), expect.replace("ENDPOINT", &format!("127.0.0.1:{port}")));
    }
}

#[test]
fn an_impossible_load_is_refused() {
    let fine = || open(Arrival::Poisson { rate: 1.0 }, 1, Some(1), None);
    for (spec, expect) in [
        (LoadSpec { pipeline: 2, ..fine() }, "pipelining is for the closed loop"),
        (LoadSpec { arrival: Arrival::Constant { rate: 0.0 }, ..fine() }, "a request rate must be above zero"),
        (LoadSpec { stop: Stop { requests: None, duration_s: None }, ..fine() }, "a number of requests or a duration"),
        (LoadSpec { stop: Stop { requests: Some(0), duration_s: None }, ..fine() }, "at least one request"),
        (LoadSpec { timeout_s: f64::NAN, ..fine() }, "a request's timeout must be above zero"),
        (LoadSpec { clients: 0, ..fine() }, "a load needs clients"),
    ] {
        let err = drive(&RedisStress, local(1), spec, json!({})).err().expect("refused");
        assert!(format!("{err:#}").contains(expect), "{err:#}");
    }
}

#[test]
fn clients_start_one_after_another_and_think_between_requests() {
    let server = RedisServer::start();
    let arrival = Arrival::Closed { think_time_s: 0.02 };
    let spec = LoadSpec { stagger_s: 0.05, threads: 2, ..open(arrival, 3, Some(4), None) };
    let driven = drive(&RedisStress, server.endpoint.clone(), spec, json!({})).expect("driven");
    for client in 0..3 {
        let mut own: Vec<_> = driven.requests.iter().filter(|request| request.client == client).collect();
        own.sort_by_key(|request| request.request_id);
        assert!(own.len() == 4 && own[0].start_s >= 0.05 * f64::from(client), "{}", own[0].start_s);
        assert!(own.windows(2).all(|pair| pair[1].start_s - pair[0].end() >= 0.02));
    }
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 500.0 }] {
        let mut server = RedisServer::start();
        let endpoint = server.endpoint.clone();
        let spec = LoadSpec { threads: 2, timeout_s: 1.0, ..open(arrival, 4, None, Some(600.0)) };
        let driven = std::thread::scope(|scope| {
            let load = scope.spawn(|| drive(&RedisStress, endpoint, spec, json!({ "num_keys": 5 })));
            server.wait_for_commands(200);
            server.kill();
            load.join().expect("ended").expect("driven")
        });
        let reason = driven.report.interruption.as_deref().expect("a reason");
        assert!(driven.report.interrupted && reason.contains("could not reach the service"), "{reason}");
        assert!(driven.requests.iter().any(|request| request.success));
        let failed = driven.requests.iter().filter(|r| !r.success && r.error.as_deref() != Some("not sent")).count();
        // One request in flight a client, then one try after each ever longer pause.
        assert!((4..=4 * 20).contains(&failed), "{failed}");
    }
}

#[test]
fn a_stop_ends_soon_and_keeps_the_records() {
    let server = RedisServer::start();
    let stalled = right_but_for_get(Fault::Stall);
    for (endpoint, last) in [(server.endpoint.clone(), None), (stalled, Some("interrupted"))] {
        let control = Control::default();
        let spec =
            LoadSpec { timeout_s: 600.0, stop: Stop { requests: Some(2_000_000_000), duration_s: None }, ..spec(1) };
        // The stalled server answers the first half.
        let spec = if last.is_some() {
            LoadSpec { stop: Stop { requests: Some(20), duration_s: None }, ..spec }
        } else {
            spec
        };
        let driven = std::thread::scope(|scope| {
            let load = scope.spawn(|| drive_until(&RedisStress, endpoint, spec, json!({}), &control));
            server.wait_for_commands(1000);
            std::thread::sleep(Duration::from_millis(if last.is_some() { 1000 } else { 0 }));
            control.stop();
            load.join().expect("ended").expect("driven")
        });
        assert!(driven.report.interrupted && driven.report.interruption.is_none());
        assert!(driven.report.sequence_digest.is_none());
        assert!(driven.requests.iter().any(|request| request.success));
        assert_eq!(driven.requests.last().expect("some").error.as_deref(), last);
    }
    assert_eq!(server.ask("DBSIZE"), ":0");
}

#[test]
fn an_overloaded_open_loop_sends_late_and_says_so() {
    let stalled = || right_but_for_get(Fault::Stall);
    let settings = json!({ "operation_mix": "1:0", "num_keys": 1 });
    // By count, everything is sent, however late: two clients with 0.1 s a request.
    let spec = LoadSpec { timeout_s: 0.1, ..open(Arrival::Constant { rate: 1000.0 }, 2, Some(20), None) };
    let driven = drive(&RedisStress, stalled(), spec, settings.clone()).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec!["timeout"], 20));
    for request in &driven.requests {
        assert!(request.send_lag() >= 0.1 * (request.request_id / 2) as f64 - request.intended(), "{request:?}");
    }
    // By time, what no client could take by the window's end and one timeout is given up.
    let spec = LoadSpec { timeout_s: 0.1, ..open(Arrival::Constant { rate: 100.0 }, 2, None, Some(0.5)) };
    let driven = drive(&RedisStress, stalled(), spec, settings).expect("driven");
    assert_eq!((driven.report.window_s, driven.requests.len()), ([0.0, 0.5], 50));
    let with = |error: &str| driven.requests.iter().filter(|r| r.error.as_deref() == Some(error)).count();
    assert_eq!(with("timeout") + with("not sent"), 50);
    assert!((2..=14).contains(&with("timeout")), "{}", with("timeout"));
}

#[test]
fn a_probe_tells_ready_from_not_yet_from_wrong() {
    let server = RedisServer::start();
    let settings = json!({});
    let ask = |endpoint: &Endpoint| probe(&Redis, endpoint, &settings);
    assert!(matches!(ask(&server.endpoint), Probe::Ready { version: Some(_) }));
    assert_eq!(server.ask("CONFIG SET requirepass secret"), "+OK");
    let driven = drive(&RedisStress, server.endpoint.clone(), spec(4), json!({})).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec!["NOAUTH Authentication required."], 4));
    assert!(driven.report.left_behind.is_some_and(|left| left.starts_with("keys that begin with")));
    assert!(matches!(ask(&server.endpoint), Probe::Wrong(reason) if reason.contains("NOAUTH")));
    let with = |password: &str| json!({ "password": password });
    assert!(matches!(probe(&Redis, &server.endpoint, &with("secret")), Probe::Ready { version: Some(_) }));
    let refused = probe(&Redis, &server.endpoint, &with("guess"));
    assert!(matches!(refused, Probe::Wrong(reason) if reason.contains("refuses the password: WRONGPASS")));
    let service = (server.endpoint.clone(), with("secret"));
    let driven = drive_service(&RedisStress, service, spec(4), json!({}), &Control::default()).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![], 4));
    assert!(matches!(ask(&local(free_port())), Probe::NotYet(reason) if reason.contains("cannot connect")));
    let loading = faulty(Fault::Answer(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()));
    assert!(matches!(ask(&loading), Probe::NotYet(reason) if reason.contains("LOADING")));
    let other = faulty(Fault::AnswerAndClose(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    assert!(matches!(ask(&other), Probe::Wrong(reason) if reason.contains("no Redis")));
}

#[test]
fn settings_become_arguments() {
    let settings =
        json!({ "save": "900 1", "maxmemory": "4gb", "maxmemory_policy": "allkeys-lru", "appendonly": true });
    let request =
        LaunchRequest { settings: &settings, host: "0.0.0.0", port: 7000, scratch: "/tmp/x".as_ref(), command: None };
    let launch = Redis.launch(&request).expect("a launch");
    assert_eq!(
        launch.args.join(" "),
        "/tmp/x/redis.conf --port 7000 --bind 0.0.0.0 --daemonize no --dir /tmp/x --appendonly yes --save 900 1 \
         --maxmemory 4gb --maxmemory-policy allkeys-lru --protected-mode no"
    );
    assert_eq!(launch.files, [("/tmp/x/redis.conf".into(), String::new())]);
    let settings = json!({ "password": "${REDIS_PASSWORD}" });
    let launch = Redis.launch(&LaunchRequest { settings: &settings, ..request.clone() }).expect("a launch");
    assert_eq!(launch.files[0].1, "requirepass \"${REDIS_PASSWORD}\"\n");
    let own = LaunchRequest { command: Some("exec redis-server my.conf"), ..request };
    assert_eq!(Redis.launch(&own).expect("a launch"), Launch::shell("exec redis-server my.conf"));
}
