//! `chroma_stress` and `chroma_healthcheck` against a real Chroma, and against servers that misbehave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop, Warmup},
    services::{
        fixtures::{Fault, drive, faulty, faulty_by, free_port, local, probe, servers, spec},
        vectors::Rest,
    },
};

fn collections(endpoint: &Endpoint) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let path = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let (status, body) = runtime.block_on(http::get(endpoint, path)).expect("answered");
    assert_eq!(status, 200);
    serde_json::from_slice(&body).expect("JSON")
}

#[test]
fn uploads_then_searches_whatever_the_threads() {
    let server = servers::chroma();
    for distance in ["cosine", "euclidean", "dot"] {
        let mut digests = BTreeSet::new();
        for threads in [1, 2, 4] {
            let warmup = Warmup { duration_s: 0.0, requests: 3 };
            let spec = LoadSpec { clients: 4, threads, warmup, ..spec(5 + 10) };
            let settings = json!({
                "num_vectors": 50, "num_queries": 10, "dim": 16, "batch_size": 11, "top_k": 5, "distance": distance,
            });
            let driven = drive(&ChromaStress, server.endpoint.clone(), spec, settings).expect("driven");
            assert_eq!(servers::failures(&driven.requests), [].into());
            assert_eq!(driven.requests.len(), 4 * (3 + 15));
            let measured = |operation| driven.requests.iter().filter(move |r| !r.warmup && r.operation == operation);
            assert_eq!((measured("upload").count(), measured("search").count()), (20, 40));
            // Two hundred vectors are few enough for the index to find every neighbour.
            assert!(measured("search").all(|search| search.recall == Some(1.0)), "{distance}");
            assert!(measured("upload").all(|upload| upload.recall.is_none() && upload.http_status == Some(201)));
            let last_upload = measured("upload").map(|upload| upload.end()).fold(0.0, f64::max);
            assert!(measured("search").all(|search| search.start_s > last_upload), "a search before the last upload");
            digests.insert(driven.report.sequence_digest.expect("a digest"));
        }
        assert_eq!(digests.len(), 1, "{distance}");
    }
    assert_eq!(collections(&server.endpoint), json!([]));
}

#[test]
fn two_loads_on_one_server_do_not_meet() {
    let server = servers::chroma();
    let settings = || json!({ "num_vectors": 60, "num_queries": 30, "dim": 8, "batch_size": 5, "top_k": 3 });
    let drive = || {
        drive(&ChromaStress, server.endpoint.clone(), LoadSpec { clients: 3, ..spec(4 + 10) }, settings())
            .expect("driven")
    };
    let runs = std::thread::scope(|scope| {
        let runs = [scope.spawn(drive), scope.spawn(drive)];
        runs.map(|run| run.join().expect("ended"))
    });
    // The same seed, and so the same requests: only what each load calls its own keeps them apart.
    assert_eq!(runs[0].report.sequence_digest, runs[1].report.sequence_digest);
    for driven in &runs {
        assert_eq!(servers::failures(&driven.requests), [].into());
        assert_eq!((&driven.report.wrong_data, &driven.report.left_behind), (&None, &None));
    }
    assert_eq!(collections(&server.endpoint), json!([]));
}

#[test]
fn searches_while_uploading_are_right() {
    let server = servers::chroma();
    let stop = Stop { requests: None, duration_s: Some(1.0) };
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 50.0 }] {
        let warmup = Warmup { duration_s: 0.2, requests: 0 };
        let spec = LoadSpec { clients: 3, threads: 2, arrival, stop: stop.clone(), warmup, ..spec(1) };
        let settings = json!({
            "num_vectors": 300, "dim": 8, "batch_size": 5, "operation_mix": "60:40", "distribution": "clustered",
            // Chroma's names have three characters at least; what tells the run apart makes up for it.
            "min_recall": 0.5, "hnsw_ef_search": 400, "hnsw_m": 32, "collection": "a",
        });
        let driven = drive(&ChromaStress, server.endpoint.clone(), spec, settings).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [].into());
        let operations: BTreeSet<&str> = driven.requests.iter().map(|request| request.operation.as_str()).collect();
        assert_eq!(operations, ["search", "upload"].into());
        let recalls: Vec<f64> = driven.requests.iter().filter_map(|request| request.recall).collect();
        let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
        assert!(mean > 0.9, "{mean}");
    }
    assert_eq!(collections(&server.endpoint), json!([]));
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_the_load() {
    let server = servers::chroma();
    let settings = json!({ "num_vectors": 20000, "dim": 2, "batch_size": 20000 });
    let err = drive(&ChromaStress, server.endpoint.clone(), spec(2), settings).err().expect("refused");
    assert!(format!("{err:#}").contains("`batch_size` is 20000"), "{err:#}");
    assert_eq!(collections(&server.endpoint), json!([]));
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    let mut server = servers::chroma();
    let endpoint = server.endpoint.clone();
    let stop = Stop { requests: None, duration_s: Some(600.0) };
    let spec = LoadSpec { clients: 2, threads: 2, timeout_s: 1.0, stop, ..spec(1) };
    let driven = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let settings = json!({ "num_vectors": 20, "dim": 4, "operation_mix": "90:10" });
            drive(&ChromaStress, endpoint.clone(), spec, settings)
        });
        while collections(&endpoint).as_array().is_none_or(Vec::is_empty) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(1000));
        server.kill();
        load.join().expect("ended").expect("driven")
    });
    assert!(driven.report.interruption.as_deref().is_some_and(|reason| reason.contains("could not reach")));
    assert!(driven.requests.iter().any(|request| request.success));
    assert!(driven.requests.iter().any(|request| !request.success));
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A server that does everything right but this, to every search.
fn right_but_for_search(count: u64, fault: Fault) -> Endpoint {
    faulty_by(Arc::new(move |request: &[u8]| {
        let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
        let right = |status: &str, body: &str| Fault::Answer(answer(status, body));
        if line.contains("pre-flight") {
            right("200 OK", r#"{"max_batch_size":1000}"#)
        } else if line.contains("/add ") {
            right("201 Created", "{}")
        } else if line.contains("/count ") {
            right("200 OK", &count.to_string())
        } else if line.contains("/query ") {
            fault.clone()
        } else {
            right("200 OK", r#"{"id":"7"}"#)
        }
    }))
}

#[test]
fn every_fault_is_a_counted_failure() {
    let ok = |body: &str| Fault::Answer(answer("200 OK", body));
    for (count, fault, expect) in [
        (4, ok(r#"{"ids":[["0"]],"distances":[[0.5]]}"#), "wrong answer: another number of results than was asked for"),
        (4, ok(r#"{"ids":[["0","9"]],"distances":[[0.5,0.6]]}"#), "wrong answer: a distance that is not the vector's"),
        (4, ok(r#"{"ids":[["x","1"]],"distances":[[0.5,0.6]]}"#), "wrong answer: an id that was never uploaded"),
        (4, ok(r#"{"ids":[["99","1"]],"distances":[[0.5,0.6]]}"#), "wrong answer: an id that was never uploaded"),
        (4, ok(r#"{"ids":[],"distances":[]}"#), "wrong answer: not the results of one search"),
        (4, ok(r#"{"ids":[["0","1"]],"distances":null}"#), "wrong answer: not the results of one search"),
        (4, ok(r#"{"ids":[["0","1"]],"distances":[[0.5]]}"#), "wrong answer: not a distance for every id"),
        (4, ok("<html>"), "wrong answer: no results: expected value at line 1 column 1"),
        (
            4,
            Fault::Answer(answer("400 Bad Request", r#"{"error":"E","message":"dimension of 3, got 2"}"#)),
            "status 400: dimension of 3, got 2",
        ),
        (4, Fault::Answer(answer("503 Unavailable", "busy\n")), "status 503: busy"),
        (
            4,
            Fault::Answer(answer("422 Unprocessable Entity", r#"{"error":"E","message":"missing field"}"#)),
            "status 422: missing field",
        ),
        (
            4,
            Fault::Answer(answer("404 Not Found", r#"{"error":"E","message":"Collection [x] does not exist."}"#)),
            "status 404: Collection [x] does not exist.",
        ),
        (
            4,
            Fault::AnswerAndClose(answer("200 OK", r#"{"ids":[["0","1"]]}"#)[..50].to_vec()),
            "connection closed within the answer",
        ),
        (
            4,
            Fault::AnswerAndReset(answer("200 OK", r#"{"ids":[["0","1"]]}"#)[..50].to_vec()),
            "connection lost within the answer: Connection reset by peer (os error 104)",
        ),
        (4, Fault::AnswerAndClose(Vec::new()), "connection closed before the answer"),
        (4, Fault::Answer(answer("429 Too Many Requests", r#"{"message":"slow down"}"#)), "status 429: slow down"),
        (4, Fault::Drip(answer("200 OK", &" ".repeat(100))), "timeout"),
        (4, Fault::Stall, "timeout"),
    ] {
        let name = format!("{fault:?}");
        let settings = json!({ "num_vectors": 4, "batch_size": 2, "dim": 2, "top_k": 2 });
        let spec = LoadSpec { timeout_s: 0.5, ..spec(4) };
        let driven = drive(&ChromaStress, right_but_for_search(count, fault), spec, settings).expect(&name);
        assert_eq!(servers::failures(&driven.requests), [(expect, 2)].into(), "{name}");
        assert_eq!(driven.requests.iter().filter(|r| r.success && r.operation == "upload").count(), 2, "{name}");
    }
}

#[test]
fn a_real_chroma_refuses_what_is_there_incomplete_or_gone() {
    let server = servers::chroma();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let collections = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    runtime.block_on(async {
        let mut rest = Rest::connect(&server.endpoint, "").await.expect("connected");
        let post = format!("POST {collections}");
        rest.json(&post, &json!({ "name": "twice" })).await.expect("created");
        for (target, body, expect) in [
            (post.clone(), json!({ "name": "twice" }), "status 409"),
            (post.clone(), json!({}), "status 422"),
            (format!("GET {collections}/never"), Value::Null, "status 404"),
        ] {
            let reason = rest.json(&target, &body).await.expect_err(expect);
            assert!(reason.contains(expect), "{target}: {reason}");
        }
        rest.json(&format!("DELETE {collections}/twice"), &Value::Null).await.expect("deleted");
        let gone = rest.json(&format!("GET {collections}/twice"), &Value::Null).await.expect_err("it is gone");
        assert!(gone.contains("status 404"), "{gone}");
    });
}

#[test]
fn a_collection_whose_creation_was_not_answered_is_removed() {
    let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let server = faulty_by({
        let seen = seen.clone();
        Arc::new(move |request: &[u8]| {
            let text = String::from_utf8_lossy(request).into_owned();
            let line = text.lines().next().unwrap_or_default();
            let create = line.starts_with("POST") && line.contains("/collections ");
            if create || line.starts_with("DELETE") {
                seen.lock().expect("free").push(text.clone());
            }
            match create {
                true => Fault::AnswerAndClose(Vec::new()),
                false => Fault::Answer(answer("200 OK", r#"{"max_batch_size":1000}"#)),
            }
        })
    });
    let err = drive(&ChromaStress, server, spec(2), json!({ "num_vectors": 10 })).err().expect("no load");
    assert!(format!("{err:#}").ends_with("connection closed before the answer"), "{err:#}");
    let seen = seen.lock().expect("free");
    let [create, delete] = &seen[..] else { panic!("{seen:?}") };
    let name = delete.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).expect("a name");
    assert!(name.starts_with("benchmark-") && create.contains(name), "{create}\n{delete}");
}

#[test]
fn a_wrong_count_makes_every_search_wrong() {
    let settings = json!({ "num_vectors": 4, "batch_size": 2, "dim": 2, "top_k": 2 });
    let server = right_but_for_search(3, Fault::Answer(answer("200 OK", r#"{"ids":[[]],"distances":[[]]}"#)));
    let driven = drive(&ChromaStress, server, spec(4), settings).expect("driven");
    let expect = "wrong answer: another number of results than was asked for";
    assert_eq!(servers::failures(&driven.requests), [(expect, 2)].into());
    // A right search on a collection that counts wrong.
    let real = servers::chroma();
    let lying = miscounting(real.endpoint.clone());
    let settings = json!({ "num_vectors": 20, "dim": 4, "top_k": 2 });
    let driven = drive(&ChromaStress, lying, spec(3), settings).expect("driven");
    let expect = "wrong answer: the server counts 0 vectors and has taken 20";
    assert_eq!(servers::failures(&driven.requests), [(expect, 2)].into());
}

/// Hands everything on to a real server, but says that it counts nothing.
fn miscounting(real: Endpoint) -> Endpoint {
    faulty_by(Arc::new(move |request: &[u8]| {
        if String::from_utf8_lossy(request).lines().next().is_some_and(|line| line.contains("/count ")) {
            return Fault::Answer(answer("200 OK", "0"));
        }
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect((real.host.as_str(), real.port)).expect("connected");
        stream.write_all(request).expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        let (mut whole, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut part) {
            whole.extend_from_slice(&part[..count]);
        }
        Fault::Answer(whole)
    }))
}

#[test]
fn healthchecks_count_what_beats() {
    let server = servers::chroma();
    let driven = drive(&ChromaHealthcheck, server.endpoint.clone(), LoadSpec { clients: 2, ..spec(5) }, json!({}))
        .expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![], 10));
    assert!(driven.report.sequence_digest.is_some());
    for (fault, expect) in [
        (Fault::Answer(answer("200 OK", "{}")), "wrong answer: no heartbeat"),
        (Fault::Answer(answer("410 Gone", r#"{"message":"v1 is gone"}"#)), "status 410: v1 is gone"),
        (Fault::Stall, "timeout"),
    ] {
        let spec = LoadSpec { timeout_s: 0.3, ..spec(2) };
        let driven = drive(&ChromaHealthcheck, faulty(fault), spec, json!({})).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [(expect, 2)].into());
    }
}

#[test]
fn a_probe_tells_ready_from_not_yet_from_wrong() {
    let server = servers::chroma();
    assert_eq!(probe(&Chroma, &server.endpoint, &json!({})), Probe::Ready { version: None });
    assert!(
        matches!(probe(&Chroma, &local(free_port()), &json!({})), Probe::NotYet(reason) if reason.contains("refused"))
    );
    let starting = faulty(Fault::AnswerAndClose(answer("503 Busy", "")));
    assert!(matches!(probe(&Chroma, &starting, &json!({})), Probe::NotYet(_)));
    for other in [answer("404 Not Found", ""), answer("200 OK", "{}"), b"+OK\r\n".to_vec()] {
        let other = faulty(Fault::AnswerAndClose(other));
        assert!(matches!(probe(&Chroma, &other, &json!({})), Probe::Wrong(reason) if reason.contains("no Chroma")));
    }
}

#[test]
fn settings_become_arguments_and_impossible_ones_are_refused() {
    let settings = json!({ "data_dir": "/data" });
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 8001, scratch: "/tmp/x".as_ref(), command: None };
    let launch = Chroma.launch(&request).expect("a launch");
    assert_eq!(launch.args.join(" "), "run --host 127.0.0.1 --port 8001 --path /data");
    for (settings, expect) in [
        (json!({ "num_vectors": 10, "concurrent_requests": 3 }), "3 connections cannot share the 10 of `num_vectors`"),
        (json!({ "num_vectors": 5, "top_k": 6 }), "`top_k` is 6, and there are only 5 vectors"),
    ] {
        let err = ChromaStress.load_defaults(&settings).expect_err("refused");
        assert!(format!("{err:#}").contains(expect), "{err:#}");
    }
    let defaults = ChromaStress.load_defaults(&json!({ "concurrent_requests": 2 })).expect("fine");
    assert_eq!((defaults.requests_per_client, defaults.concurrency_per_client), (110, 2));
}
