//! `qdrant_stress` against a server that validates every request by Qdrant's API description.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop, Warmup},
    services::fixtures::{Fault, drive, drive_with, faulty, faulty_by, free_port, local, probe, servers, spec},
};

fn collections(server: &servers::Server) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut rest = Rest::connect(&server.endpoint, &key_header(&server.settings)).await.expect("connected");
        rest.json("GET /collections", &Value::Null).await.expect("answered")["result"]["collections"].clone()
    })
}

#[test]
fn uploads_then_searches_whatever_the_threads() {
    let server = servers::qdrant(json!({ "api_key": "a-secret-key" }));
    for distance in ["cosine", "euclidean", "dot"] {
        let mut digests = BTreeSet::new();
        for threads in [1, 2, 4] {
            let warmup = Warmup { duration_s: 0.0, requests: 3 };
            let spec = LoadSpec { clients: 4, threads, warmup, ..spec(5 + 10) };
            let settings = json!({
                "num_points": 50, "num_queries": 10, "dim": 12, "batch_size": 11, "top_k": 5, "distance": distance,
                "hnsw_m": 8, "hnsw_ef_construction": 50, "hnsw_ef_search": 40, "exact": true, "min_recall": 1.0,
            });
            let driven = drive_with(&QdrantStress, &server, spec, settings).expect("driven");
            assert_eq!(servers::failures(&driven.requests), [].into());
            assert_eq!(driven.requests.len(), 4 * (3 + 15));
            let searches = || driven.requests.iter().filter(|r| !r.warmup && r.operation == "search");
            assert_eq!(searches().filter(|search| search.recall == Some(1.0)).count(), 40);
            digests.insert(driven.report.sequence_digest.expect("a digest"));
        }
        assert_eq!(digests.len(), 1, "{distance}");
    }
    assert_eq!(collections(&server), json!([]));
}

#[test]
fn searches_while_uploading_are_right() {
    let server = servers::qdrant(json!({ "api_key": "a-secret-key" }));
    let stop = Stop { requests: None, duration_s: Some(0.8) };
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 40.0 }] {
        let warmup = Warmup { duration_s: 0.2, requests: 0 };
        let spec = LoadSpec { clients: 3, threads: 2, arrival, stop: stop.clone(), warmup, ..spec(1) };
        let settings = json!({
            "num_points": 100, "dim": 8, "batch_size": 5, "operation_mix": "60:40", "distribution": "clustered",
            "min_recall": 1.0, "distance": "euclidean",
        });
        let driven = drive_with(&QdrantStress, &server, spec, settings).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [].into());
        let operations: BTreeSet<&str> = driven.requests.iter().map(|request| request.operation.as_str()).collect();
        assert_eq!(operations, ["search", "upload"].into());
        assert!(driven.requests.iter().any(|request| request.recall == Some(1.0)));
    }
    assert_eq!(collections(&server), json!([]));
}

#[test]
fn two_loads_on_one_server_do_not_meet() {
    let server = servers::qdrant(json!({ "api_key": "a-secret-key" }));
    let settings = || json!({ "num_points": 60, "num_queries": 30, "dim": 8, "batch_size": 5, "top_k": 3, "exact": true, "min_recall": 1.0 });
    let drive =
        || drive_with(&QdrantStress, &server, LoadSpec { clients: 3, ..spec(4 + 10) }, settings()).expect("driven");
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
    assert_eq!(collections(&server), json!([]));
}

#[test]
fn a_wrong_key_ends_before_the_load() {
    let mut server = servers::qdrant(json!({ "api_key": "a-secret-key" }));
    server.settings = json!({ "api_key": "another" });
    assert!(matches!(
        probe(&Qdrant, &server.endpoint, &server.settings),
        Probe::Wrong(reason) if reason.contains("status 401: Must provide an API key")
    ));
    let err = drive_with(&QdrantStress, &server, spec(1), json!({})).err().expect("refused");
    assert!(format!("{err:#}").contains("status 401"), "{err:#}");
}

#[test]
fn every_fault_is_a_counted_failure() {
    let answer = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let refused = r#"{"status":{"error":"busy"},"time":0.1}"#;
    for (fault, expect) in [
        (Fault::Answer(answer("429 Too Many Requests", refused)), "status 429: busy"),
        (Fault::Answer(answer("503 Service Unavailable", refused)), "status 503: busy"),
        (Fault::Answer(answer("200 OK", "{}")), "wrong answer: no results: missing field `result` at line 1 column 2"),
        (
            Fault::AnswerAndReset(answer("200 OK", refused)[..50].to_vec()),
            "connection lost within the answer: Connection reset by peer (os error 104)",
        ),
        (Fault::AnswerAndClose(answer("200 OK", refused)[..50].to_vec()), "connection closed within the answer"),
        (Fault::Drip(answer("200 OK", &" ".repeat(100))), "timeout"),
        (Fault::Stall, "timeout"),
    ] {
        let name = format!("{fault:?}");
        let server = faulty_by(std::sync::Arc::new(move |request: &[u8]| {
            let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
            if line.contains("/query ") {
                return fault.clone();
            }
            let result = match () {
                () if line.contains("/count ") => json!({ "count": 4 }),
                () if line.contains("/points?") => json!({ "status": "completed" }),
                () => json!(true),
            };
            Fault::Answer(answer("200 OK", &json!({ "result": result }).to_string()))
        }));
        let settings = json!({ "num_points": 4, "batch_size": 2, "dim": 2, "top_k": 2 });
        let spec = LoadSpec { timeout_s: 0.5, ..spec(4) };
        let driven = drive(&QdrantStress, server, spec, settings).expect(&name);
        assert_eq!(servers::failures(&driven.requests), [(expect, 2)].into(), "{name}");
        assert_eq!(driven.requests.iter().filter(|r| r.success && r.operation == "upload").count(), 2, "{name}");
    }
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    let mut server = servers::qdrant(json!({}));
    let copy = servers::Server::external(server.endpoint.clone(), server.settings.clone());
    let stop = Stop { requests: None, duration_s: Some(600.0) };
    let spec = LoadSpec { clients: 2, timeout_s: 1.0, stop, ..spec(1) };
    let driven = std::thread::scope(|scope| {
        let settings = json!({ "num_points": 20, "dim": 4, "operation_mix": "90:10" });
        let load = scope.spawn(|| drive_with(&QdrantStress, &copy, spec, settings));
        while collections(&copy).as_array().is_none_or(Vec::is_empty) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
        server.kill();
        load.join().expect("ended").expect("driven")
    });
    assert!(driven.report.interruption.as_deref().is_some_and(|reason| reason.contains("could not reach")));
    assert!(driven.requests.iter().any(|request| request.success));
    assert!(driven.report.left_behind.is_some_and(|left| left.starts_with("the collection benchmark-")));
}

#[test]
fn the_test_server_refuses_what_the_api_does_not_know() {
    let server = servers::qdrant(json!({}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut rest = Rest::connect(&server.endpoint, "").await.expect("connected");
        for (target, body, status) in [
            ("PUT /collections/a", json!({ "vectors": { "size": 2, "distance": "Cosine" } }), 200),
            ("PUT /collections/b", json!({ "vectors": { "size": 0, "distance": "Cosine" } }), 400),
            ("PUT /collections/b", json!({ "vectors": { "size": 2, "distance": "Cosine", "ef": 1 } }), 400),
            ("PUT /collections/a/points?wait=true", json!({ "points": [{ "id": 1, "vector": [1.0, 2.0] }] }), 200),
            ("PUT /collections/a/points?wait=true", json!({ "points": [{ "id": -1, "vector": [1.0, 2.0] }] }), 400),
            ("PUT /collections/a/points?wait=true", json!({ "points": [{ "id": 1, "vector": [1.0] }] }), 400),
            ("PUT /collections/a/points?sync=true", json!({ "points": [{ "id": 1, "vector": [1.0, 2.0] }] }), 400),
            ("POST /collections/a/points/query", json!({ "query": [1.0, 2.0], "limit": 0 }), 400),
            ("POST /collections/a/points/query", json!({ "query": [1.0, 2.0], "hnsw_ef": 3 }), 400),
            ("POST /collections/c/points/query", json!({ "query": [1.0, 2.0] }), 404),
            ("POST /collections/a/points/find", json!({}), 404),
        ] {
            let answered = rest.json(target, &body).await;
            let expect = format!("status {status}");
            assert_eq!(answered.is_ok(), status == 200, "{target} {body}: {answered:?}");
            assert!(
                answered.is_ok() || answered.as_ref().is_err_and(|reason| reason.contains(&expect)),
                "{answered:?}"
            );
        }
    });
}

#[test]
fn a_probe_tells_ready_from_not_yet_from_wrong() {
    let server = servers::qdrant(json!({}));
    let ready = Probe::Ready { version: Some("0.0.0-test".into()) };
    assert_eq!(probe(&Qdrant, &server.endpoint, &json!({})), ready);
    assert!(matches!(probe(&Qdrant, &local(free_port()), &json!({})), Probe::NotYet(_)));
    let answer = |status: &str| faulty(Fault::AnswerAndClose(format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()));
    assert!(matches!(probe(&Qdrant, &answer("503 Busy"), &json!({})), Probe::NotYet(_)));
    let other = probe(&Qdrant, &answer("404 Not Found"), &json!({}));
    assert!(matches!(other, Probe::Wrong(reason) if reason.contains("no Qdrant")));
}

#[test]
fn settings_become_a_configuration_without_the_key() {
    let settings = json!({ "grpc_port": 6334, "storage_path": "/data", "api_key": "${QDRANT__SERVICE__API_KEY}" });
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 6400, scratch: "/tmp/x".as_ref(), command: None };
    let launch = Qdrant.launch(&request).expect("a launch");
    assert_eq!(launch.args, ["--config-path", "/tmp/x/config.yaml", "--disable-telemetry"]);
    assert_eq!(launch.env["QDRANT__SERVICE__API_KEY"], "${QDRANT__SERVICE__API_KEY}");
    let config: Value = serde_json::from_str(&launch.files[0].1).expect("JSON");
    assert_eq!(config["service"], json!({ "host": "127.0.0.1", "http_port": 6400, "grpc_port": 6334 }));
    assert_eq!(config["storage"]["storage_path"], "/data");
    let closed = LaunchRequest { settings: &json!({}), ..request };
    let config: Value = serde_json::from_str(&Qdrant.launch(&closed).expect("a launch").files[0].1).expect("JSON");
    assert_eq!(config["service"]["grpc_port"], Value::Null);
}
