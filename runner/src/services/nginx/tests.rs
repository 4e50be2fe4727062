//! The HTTP clients against a real nginx, and against servers that misbehave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop, Warmup},
    services::fixtures::{Fault, StartedService, drive, faulty, faulty_by, free_port, local, probe as ask_probe, spec},
};

fn server() -> StartedService {
    StartedService::start("nginx", json!({ "file_sizes": [0, 1024, 3_000_000], "keepalive_requests": 50 }))
}

#[test]
fn every_byte_is_compared_whatever_the_threads() {
    let server = server();
    let mut digests = BTreeSet::new();
    for (threads, keep_alive) in [(1, true), (2, true), (4, false)] {
        for size in [0, 1024, 3_000_000] {
            let warmup = Warmup { duration_s: 0.0, requests: 2 };
            let spec = LoadSpec { clients: 4, threads, warmup, ..spec(60) };
            let settings = json!({ "size_bytes": size, "keep_alive": keep_alive });
            let driven = drive(&HttpStress, server.endpoint.clone(), spec, settings).expect("driven");
            assert_eq!((driven.errors(), driven.requests.len()), (vec![""; 0], 4 * 62), "{size}");
            assert!(driven.requests.iter().all(|r| r.http_status == Some(200) && r.bytes_received == size));
            assert!(driven.requests.iter().all(|r| r.operation == "GET"));
            // A body without bytes has no first one.
            assert!(driven.requests.iter().all(|r| r.ttfb_s.is_some() == (size > 0)), "{size}");
            assert!(driven.requests.iter().all(|r| r.ttfb_s.is_none_or(|first| first <= r.service_time() + 1e-9)));
            digests.insert((size, keep_alive, driven.report.sequence_digest.expect("a digest")));
        }
    }
    assert_eq!(digests.len(), 6, "one sequence a request, whatever the threads");
}

#[test]
fn what_is_known_of_a_body_is_asked_of_it() {
    let server = server();
    let mut body = Vec::new();
    super::super::content::Content::new(1024).write(&mut body).expect("memory");
    let digest = archive::sha256_hex(&body);
    let status = |status: u16| json!({ "path": "/absent", "status": status });
    for (settings, expect) in [
        (json!({ "path": "/1024.bin", "size_bytes": 1024, "sha256": digest }), None),
        (json!({ "path": "/1024.bin", "sha256": "0".repeat(64) }), Some("wrong answer: another body")),
        (json!({ "path": "/1024.bin", "size_bytes": 7 }), Some("wrong answer: a body of 1024 bytes, not 7")),
        (json!({ "path": "/1024.bin", "method": "HEAD" }), None),
        (json!({ "path": "/1024.bin", "headers": { "Range": "bytes=0-9" }, "status": 206, "size_bytes": 10 }), None),
        (json!({ "method": "POST", "body_size_bytes": 5000, "status": 405 }), None),
        (status(404), None),
        (status(200), Some("status 404: <html>")),
    ] {
        let driven = drive(&HttpStress, server.endpoint.clone(), spec(3), settings.clone()).expect("driven");
        let errors = driven.errors();
        match expect {
            None => assert_eq!(errors, [""; 0], "{settings}"),
            Some(expect) => assert!(errors.len() == 1 && errors[0].starts_with(expect), "{settings}: {errors:?}"),
        }
        assert_eq!(driven.requests.len(), 3);
    }
    let driven = drive(&Healthcheck, server.endpoint.clone(), spec(1), json!({})).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![""; 0], 1));
}

#[test]
fn an_open_loop_sends_its_schedule() {
    let server = server();
    let spec = LoadSpec { arrival: Arrival::Poisson { rate: 2000.0 }, clients: 8, threads: 2, ..spec(1000) };
    let driven = drive(&HttpStress, server.endpoint.clone(), spec, json!({})).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![""; 0], 1000));
}

/// An answer with that head and body.
fn answer(status: &str, head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{head}\r\n{body}", body.len()).into_bytes()
}

#[test]
fn every_fault_is_a_counted_failure() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\nhalf".to_vec();
    for (fault, expect) in [
        (Fault::Answer(answer("429 Too Many Requests", "Retry-After: 1\r\n", "slow down")), "status 429: slow down"),
        (Fault::Answer(answer("503 Service Unavailable", "", "")), "status 503: no words"),
        (Fault::AnswerAndClose(answer("503 No", "Connection: close\r\n", "busy")), "status 503: busy"),
        (Fault::Answer(answer("200 OK", "", "short")), "wrong answer: a body of 5 bytes, not 1024"),
        (Fault::Answer(answer("200 OK", "", &"x".repeat(1024))), "wrong answer: another body"),
        (Fault::AnswerAndClose(cut.clone()), "connection closed within the answer"),
        (Fault::AnswerAndReset(cut), "connection lost within the answer: Connection reset by peer (os error 104)"),
        (Fault::AnswerAndClose(Vec::new()), "connection closed before the answer"),
        (Fault::Answer(b"+PONG\r\n".to_vec()), "wrong answer: not HTTP: invalid HTTP version"),
        (Fault::Stall, "timeout"),
    ] {
        for keep_alive in [true, false] {
            let name = format!("{fault:?}, {keep_alive}");
            let spec = LoadSpec { timeout_s: 0.5, ..spec(2) };
            let settings = json!({ "keep_alive": keep_alive });
            let driven = drive(&HttpStress, faulty(fault.clone()), spec, settings).expect(&name);
            assert_eq!((driven.errors(), driven.requests.len()), (vec![expect], 2), "{name}");
            assert!(!driven.report.interrupted, "{name}");
        }
    }
}

#[test]
fn a_server_that_drips_runs_into_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = local(listener.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                use std::io::Write;
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n".iter().chain(&[b'x'; 1024]) {
                    std::thread::sleep(Duration::from_millis(10));
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    // Within the head, and within the body.
    for timeout_s in [0.2, 0.7] {
        let spec = LoadSpec { clients: 3, timeout_s, ..spec(2) };
        let driven = drive(&HttpStress, endpoint.clone(), spec, json!({})).expect("driven");
        assert_eq!((driven.errors(), driven.requests.len()), (vec!["timeout"], 6));
        assert!(driven.requests.iter().all(|request| request.latency_s >= timeout_s));
    }
}

#[test]
fn an_idle_connection_that_the_server_closed_costs_no_request() {
    let server = faulty_by(Arc::new(|_: &[u8]| Fault::AnswerAndClose(answer("200 OK", "", "hello"))));
    let arrival = Arrival::Closed { think_time_s: 0.05 };
    let settings = json!({ "path": "/", "size_bytes": 5 });
    let driven = drive(&HttpStress, server, LoadSpec { arrival, ..spec(5) }, settings).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![""; 0], 5));
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    for keep_alive in [true, false] {
        let mut server = server();
        let endpoint = server.endpoint.clone();
        let stop = Stop { requests: None, duration_s: Some(600.0) };
        let spec = LoadSpec { stop, threads: 2, clients: 4, timeout_s: 1.0, ..spec(1) };
        let driven = std::thread::scope(|scope| {
            let load = scope.spawn(|| drive(&HttpStress, endpoint, spec, json!({ "keep_alive": keep_alive })));
            std::thread::sleep(Duration::from_millis(500));
            server.kill();
            load.join().expect("ended").expect("driven")
        });
        let reason = driven.report.interruption.as_deref().expect("a reason");
        assert!(driven.report.interrupted && reason.contains("could not reach the service"), "{reason}");
        assert!(driven.requests.iter().any(|request| request.success));
        assert!(driven.errors().iter().all(|error| error.contains("connect")), "{:?}", driven.errors());
    }
}

#[test]
fn without_a_server_there_is_no_load() {
    let port = free_port();
    for client in [&HttpStress as &dyn ClientType, &Healthcheck] {
        let err = drive(client, local(port), spec(1), json!({})).err().expect("refused");
        assert_eq!(
            format!("{err:#}"),
            format!("cannot connect to 127.0.0.1:{port}: client 0: Connection refused (os error 111)")
        );
    }
    for (settings, expect) in [
        (json!({ "headers": { "Host": "x" } }), "the header `Host` is the client's own: remove it"),
        (
            json!({ "sha256": "0".repeat(64) }),
            "`sha256` is for a `path`: a file of nginx' own is compared byte for byte; remove it, or give the `path`",
        ),
        (json!({ "headers": { "A": "b\r\nC: d" } }), "the header `A` has a line break"),
        (json!({ "body_size_bytes": 1 }), "`body_size_bytes` needs `method: POST` or `PUT`"),
        (
            json!({ "method": "HEAD", "size_bytes": 1 }),
            "an answer to HEAD has no body: remove `size_bytes` and `sha256`",
        ),
    ] {
        assert_eq!(HttpStress.load_defaults(&settings).expect_err("refused").to_string(), expect);
    }
}

#[test]
fn a_probe_tells_ready_from_not_yet_from_wrong() {
    let ask = |endpoint: &Endpoint| ask_probe(&Nginx, endpoint, &json!({}));
    let server = server();
    assert!(matches!(ask(&server.endpoint), Probe::Ready { version: Some(version) } if version.starts_with("1.")));
    let other = faulty(Fault::Answer(answer("404 Not Found", "", "nothing here")));
    assert_eq!(ask(&other), Probe::Ready { version: None });
    let starting = faulty(Fault::Answer(answer("503 Service Unavailable", "", "")));
    assert!(matches!(ask(&starting), Probe::NotYet(_)) && matches!(ask(&local(free_port())), Probe::NotYet(_)));
    assert!(matches!(ask(&faulty(Fault::Answer(b"-ERR\r\n".to_vec()))), Probe::Wrong(_)));
}

#[test]
fn settings_become_a_configuration() {
    let settings = json!({ "file_sizes": [7, 7, 1], "worker_processes": 2, "keepalive_requests": 9 });
    let scratch = std::path::Path::new("/a \"b");
    let request = LaunchRequest { settings: &settings, host: "::1", port: 7000, scratch, command: None };
    let launch = Nginx.launch(&request).expect("a launch");
    let files: Vec<_> = launch.static_files.iter().map(|(path, size)| (path.display().to_string(), *size)).collect();
    assert_eq!(files, [("/a \"b/files/1.bin".to_owned(), 1), ("/a \"b/files/7.bin".to_owned(), 7)]);
    let text = &launch.files[0].1;
    for line in ["listen [::1]:7000 ", "worker_processes 2;", "keepalive_requests 9;", "pid \"/a \\\"b/nginx.pid\";"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let dollar = LaunchRequest { scratch: "/a$b".as_ref(), ..request };
    assert!(Nginx.launch(&dollar).is_err());
}
