//! `minio_stress` against a store that checks every signature, and against servers that misbehave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop, Warmup},
    services::fixtures::{Fault, drive_with, faulty_by, free_port, local, probe, servers, spec},
};

/// Names of the buckets, as the test server lists them.
fn buckets(server: &servers::Server) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (status, body) = runtime.block_on(http::get(&server.endpoint, "/test/buckets")).expect("answered");
    assert_eq!(status, 200);
    serde_json::from_slice(&body).expect("JSON")
}

fn sign(server: &servers::Server, bucket: &str, target: impl Fn(&signed::Signer) -> String) -> (u16, Vec<u8>) {
    let settings = MinioSettings::deserialize(&server.settings).expect("settings");
    let signer = signed::Signer::new(&server.endpoint, &settings, bucket).expect("a signer");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(signed::ask(&server.endpoint, &signer, &target(&signer), b"")).expect("answered")
}

#[test]
fn phases_are_right_whatever_the_threads_and_leave_nothing_behind() {
    let server = servers::s3();
    let mut digests = BTreeSet::new();
    for threads in [1, 2, 4] {
        let warmup = Warmup { duration_s: 0.0, requests: 2 };
        let spec = LoadSpec { clients: 4, threads, warmup, ..spec(4 * 3) };
        let settings = json!({
            "num_objects": 3, "object_size_bytes": 100_001, "phases": ["put", "get", "list", "delete"],
        });
        let driven = drive_with(&MinioStress, &server, spec, settings).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [].into());
        assert_eq!(driven.requests.len(), 4 * (2 + 12));
        assert_eq!((&driven.report.wrong_data, &driven.report.unchecked_data), (&None, &None));
        for (operation, sent, received) in
            [("PUT", 100_001, Some(0)), ("GET", 0, Some(100_001)), ("LIST", 0, None), ("DELETE", 0, Some(0))]
        {
            let of: Vec<_> = driven.requests.iter().filter(|r| !r.warmup && r.operation == operation).collect();
            assert_eq!(of.len(), 12, "{operation}");
            for request in of {
                assert_eq!(request.bytes_sent, sent, "{request:?}");
                match received {
                    Some(received) => assert_eq!(request.bytes_received, received, "{request:?}"),
                    // A document, however the server writes it.
                    None => assert!(request.bytes_received > 0, "{request:?}"),
                }
                assert_eq!(request.ttfb_s.is_some(), operation == "GET");
                assert!(request.ttfb_s.is_none_or(|first| first <= request.service_time()));
            }
        }
        digests.insert(driven.report.sequence_digest.expect("a digest"));
    }
    assert_eq!(digests.len(), 1);
    assert_eq!(buckets(&server), [""; 0]);
}

#[test]
fn two_loads_on_one_server_do_not_meet() {
    let server = servers::s3();
    let settings =
        || json!({ "num_objects": 4, "object_size_bytes": 1000, "phases": ["put", "get", "list", "delete"] });
    let drive =
        || drive_with(&MinioStress, &server, LoadSpec { clients: 3, ..spec(4 * 4) }, settings()).expect("driven");
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
    assert_eq!(buckets(&server), [""; 0]);
}

#[test]
fn parts_make_an_object() {
    let server = servers::s3();
    let part = 5 << 20;
    // Two whole parts and a rest that is shorter than an object's own end.
    let settings = json!({
        "num_objects": 2, "object_size_bytes": 2 * part + 10, "multipart_part_size_bytes": part,
        "phases": ["put", "get", "list"],
    });
    let spec = LoadSpec { timeout_s: 300.0, ..spec(6) };
    let driven = drive_with(&MinioStress, &server, spec, settings).expect("driven");
    assert_eq!(servers::failures(&driven.requests), [].into());
    let received: Vec<u64> =
        driven.requests.iter().filter(|r| r.operation == "GET").map(|request| request.bytes_received).collect();
    assert_eq!(received, [2 * part + 10; 2]);
    assert_eq!(buckets(&server), [""; 0]);
}

#[test]
fn a_mix_is_drawn_and_right_in_both_loops() {
    let server = servers::s3();
    let stop = Stop { requests: None, duration_s: Some(1.0) };
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 60.0 }] {
        let warmup = Warmup { duration_s: 0.2, requests: 0 };
        let spec = LoadSpec { clients: 3, threads: 2, arrival, stop: stop.clone(), warmup, ..spec(1) };
        let settings = json!({ "num_objects": 5, "object_size_bytes": 20, "operation_mix": "30:30:20:20" });
        let driven = drive_with(&MinioStress, &server, spec, settings).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [].into());
        let operations: BTreeSet<&str> = driven.requests.iter().map(|request| request.operation.as_str()).collect();
        assert_eq!(operations, ["DELETE", "GET", "LIST", "PUT"].into());
        assert_eq!((driven.report.wrong_data, driven.report.unchecked_data), (None, None));
    }
    assert_eq!(buckets(&server), [""; 0]);
}

#[test]
fn a_bucket_that_is_there_is_left_as_it_was() {
    let server = servers::s3();
    assert_eq!(sign(&server, "theirs", signed::Signer::create_bucket).0, 200);
    assert_eq!(sign(&server, "theirs", |signer| signer.put("precious")).0, 200);
    let settings = json!({ "num_objects": 2, "object_size_bytes": 10, "bucket": "theirs", "create_bucket": false });
    let driven = drive_with(&MinioStress, &server, spec(4), settings).expect("driven");
    assert_eq!(servers::failures(&driven.requests), [].into());
    let (_, listing) = sign(&server, "theirs", |signer| signer.list("", None));
    let listing = rusty_s3::actions::ListObjectsV2::parse_response(&listing).expect("a listing");
    assert_eq!(listing.contents.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["precious"]);
}

#[test]
fn wrong_keys_are_told_by_probe_and_load() {
    let mut server = servers::s3();
    let right = server.settings.clone();
    for (key, expect) in [("root_user", "InvalidAccessKeyId"), ("root_password", "SignatureDoesNotMatch")] {
        server.settings = right.clone();
        server.settings[key] = json!("something-else");
        let found = probe(&Minio, &server.endpoint, &server.settings);
        assert!(matches!(&found, Probe::Wrong(reason) if reason.contains(expect)), "{found:?}");
        let err = drive_with(&MinioStress, &server, spec(2), json!({})).err().expect("refused");
        assert!(format!("{err:#}").contains(&format!("status 403: {expect}")), "{err:#}");
    }
    server.settings = json!({});
    assert!(
        matches!(probe(&Minio, &server.endpoint, &json!({})), Probe::Wrong(reason) if reason.contains("root_user"))
    );
    assert_eq!(probe(&Minio, &server.endpoint, &right), Probe::Ready { version: None });
    assert!(matches!(probe(&Minio, &local(free_port()), &right), Probe::NotYet(_)));
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    let server = servers::s3();
    let spec =
        LoadSpec { clients: 2, timeout_s: 1.0, stop: Stop { requests: None, duration_s: Some(600.0) }, ..spec(1) };
    let server = std::sync::Mutex::new(server);
    let copy = {
        let server = server.lock().expect("free");
        servers::Server::external(server.endpoint.clone(), server.settings.clone())
    };
    let driven = std::thread::scope(|scope| {
        let settings = json!({ "num_objects": 2, "object_size_bytes": 1000, "operation_mix": "50:50" });
        let load = scope.spawn(|| drive_with(&MinioStress, &copy, spec, settings));
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        while buckets(&copy).is_empty() {
            assert!(std::time::Instant::now() < patience, "no load arrives");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(1000));
        server.lock().expect("free").kill();
        load.join().expect("ended").expect("driven")
    });
    assert!(driven.report.interruption.as_deref().is_some_and(|reason| reason.contains("could not reach")));
    assert!(driven.requests.iter().any(|request| request.success));
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn every_fault_is_a_counted_failure() {
    let slow = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>";
    let long = answer("200 OK", "", &"x".repeat(64));
    for (operation, fault, expect) in [
        (
            "PUT",
            Fault::Answer(answer("503 Slow Down", "", slow)),
            "status 503: SlowDown: Please reduce your request rate",
        ),
        (
            "PUT",
            Fault::Answer(answer("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>")),
            "status 403: AccessDenied",
        ),
        ("PUT", Fault::Answer(answer("200 OK", "", "")), "wrong answer: no ETag"),
        (
            "PUT",
            Fault::Answer(answer("200 OK", "ETag: \"00000000000000000000000000000000\"\r\n", "")),
            "wrong answer: the ETag of another content",
        ),
        ("GET", Fault::Answer(long.clone()), "wrong answer: another content than was put"),
        ("GET", Fault::Answer(answer("200 OK", "", "")), "wrong answer: an object of another length"),
        ("GET", Fault::Answer(answer("204 No Content", "", "")), "wrong answer: a success that is no object"),
        (
            "GET",
            Fault::Answer(answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>")),
            "status 404: NoSuchKey",
        ),
        ("GET", Fault::AnswerAndClose(long[..80].to_vec()), "connection closed within the answer"),
        (
            "GET",
            Fault::AnswerAndReset(long[..80].to_vec()),
            "connection lost within the answer: Connection reset by peer (os error 104)",
        ),
        ("GET", Fault::AnswerAndClose(Vec::new()), "connection closed before the answer"),
        ("GET", Fault::Drip(long.clone()), "timeout"),
        ("GET", Fault::Stall, "timeout"),
        (
            "GET",
            Fault::Answer(answer("429 Too Many Requests", "", "<Error><Code>SlowDown</Code></Error>")),
            "status 429: SlowDown",
        ),
        ("LIST", Fault::Answer(answer("200 OK", "", "<html>")), "wrong answer: no listing"),
        (
            "LIST",
            Fault::Answer(answer("200 OK", "", "<ListBucketResult><MaxKeys>1000</MaxKeys></ListBucketResult>")),
            "wrong answer: a listing of another number of objects",
        ),
        ("DELETE", Fault::Answer(answer("500 Oops", "", "it broke")), "status 500: it broke"),
    ] {
        let name = format!("{operation} {fault:?}");
        let server = servers::Server::external(
            right_but_for(operation, fault),
            json!({ "root_user": "someone", "root_password": "something" }),
        );
        let settings = json!({
            "num_objects": 2, "object_size_bytes": 64, "phases": ["put", "get", "list", "delete"],
        });
        let driven = drive_with(&MinioStress, &server, LoadSpec { timeout_s: 0.5, ..spec(8) }, settings).expect(&name);
        let failed: Vec<_> =
            driven.requests.iter().filter(|request| request.operation == operation && !request.success).collect();
        assert_eq!(failed.len(), 2, "{name}");
        for request in failed {
            assert!(request.error.as_deref().is_some_and(|error| error.starts_with(expect)), "{name}: {request:?}");
        }
        assert_eq!(driven.requests.len(), 8);
    }
}

#[test]
fn a_fault_in_one_of_many_parts_is_a_counted_failure() {
    let begun = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u7</UploadId>\
                 </InitiateMultipartUploadResult>";
    let failed = "<Error><Code>InternalError</Code><Message>try again</Message></Error>";
    let slow = "<Error><Code>SlowDown</Code></Error>";
    let done = "<CompleteMultipartUploadResult><ETag>\"none-of-md5\"</ETag></CompleteMultipartUploadResult>";
    let ok = |body: &str| Fault::Answer(answer("200 OK", "ETag: \"none-of-md5\"\r\n", body));
    let broken = |status: &str, body: &str| Fault::Answer(answer(status, "", body));
    for (begin, part, complete, aborts, expect) in [
        (broken("503 Slow Down", slow), ok(""), ok(done), 0, Some("status 503: SlowDown")),
        (ok("<html>"), ok(""), ok(done), 0, Some("wrong answer: not that of a begun upload")),
        (ok(begun), broken("503 Slow Down", slow), ok(done), 2, Some("status 503: SlowDown")),
        (ok(begun), broken("200 OK", ""), ok(done), 2, Some("wrong answer: no ETag")),
        (ok(begun), Fault::AnswerAndClose(Vec::new()), ok(done), 2, Some("connection closed before the answer")),
        (ok(begun), Fault::Stall, ok(done), 2, Some("timeout")),
        // S3 begins a long answer with 200, and may find only then that it fails.
        (ok(begun), ok(""), ok(failed), 2, Some("wrong answer: InternalError: try again")),
        (ok(begun), ok(""), ok(""), 2, Some("wrong answer: ")),
        (ok(begun), ok(""), broken("503 Slow Down", slow), 2, Some("status 503: SlowDown")),
        (ok(begun), ok(""), Fault::Stall, 2, Some("timeout")),
        (ok(begun), ok(""), ok(done), 0, None),
    ] {
        let name = format!("{begin:?} {part:?} {complete:?}");
        let aborted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = aborted.clone();
        let endpoint = faulty_by(Arc::new(move |request: &[u8]| {
            let text = String::from_utf8_lossy(request);
            let line = text.lines().next().unwrap_or_default();
            let method = line.split(' ').next().unwrap_or_default();
            match (method, line.contains("uploadId="), line.contains("partNumber=")) {
                ("PUT", _, true) if line.contains("partNumber=2") => part.clone(),
                ("POST", true, _) => complete.clone(),
                ("POST", ..) if line.contains("uploads") => begin.clone(),
                ("DELETE", true, _) => {
                    seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    ok("")
                }
                (_, _, true) => ok(""),
                _ => ok("<ListBucketResult><MaxKeys>1000</MaxKeys></ListBucketResult>"),
            }
        }));
        let keys = json!({ "root_user": "someone", "root_password": "something" });
        let server = servers::Server::external(endpoint, keys);
        let settings = json!({
            "num_objects": 2, "object_size_bytes": 250, "multipart_part_size_bytes": 100, "phases": ["put"],
        });
        let spec = LoadSpec { timeout_s: 0.5, ..spec(2) };
        let driven = drive_with(&MinioStress, &server, spec, settings).expect(&name);
        assert_eq!(driven.requests.len(), 2, "{name}");
        for request in &driven.requests {
            match expect {
                None => assert!(request.success, "{name}: {request:?}"),
                Some(expect) => {
                    let error = request.error.as_deref().unwrap_or_default();
                    assert!(!request.success && error.starts_with(expect), "{name}: {request:?}");
                }
            }
        }
        assert_eq!(aborted.load(std::sync::atomic::Ordering::Relaxed), aborts, "{name}");
    }
}

#[test]
fn a_store_that_forgets_what_it_was_told_is_found_out() {
    for (forgets, requests, operations, expect) in [
        (
            "DELETE",
            8,
            json!({ "phases": ["put", "delete"] }),
            Some("4 objects are listed, after 4 were put and 4 deleted"),
        ),
        ("PUT", 4, json!({ "phases": ["put"] }), Some("0 objects are listed, after 4 were put and 0 deleted")),
        ("DELETE", 60, json!({ "operation_mix": "60:0:0:40" }), Some("was deleted, and is still listed")),
        ("nothing", 8, json!({ "phases": ["put", "delete"] }), None),
        ("nothing", 60, json!({ "operation_mix": "60:0:0:40" }), None),
    ] {
        let keys = std::sync::Mutex::new(BTreeSet::<String>::new());
        let endpoint = faulty_by(Arc::new(move |request: &[u8]| {
            let text = String::from_utf8_lossy(request);
            let mut words = text.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let key = path.splitn(3, '/').nth(2).unwrap_or_default().to_owned();
            let mut keys = keys.lock().expect("one at a time");
            let is_object = key.contains('-');
            match method {
                "PUT" if is_object && (forgets != "PUT" || key.contains("/p")) => _ = keys.insert(key),
                "DELETE" if is_object && forgets != "DELETE" => _ = keys.remove(&key),
                // What cleans up afterwards.
                "POST" => keys.clear(),
                _ => {}
            }
            let after = query.split('&').find_map(|pair| pair.strip_prefix("start-after=")).unwrap_or_default();
            let after = after.replace("%2F", "/");
            let listed = keys.iter().filter(|key| **key > after).map(|key| {
                format!(
                    "<Contents><Key>{key}</Key><ETag>x</ETag><Size>10</Size>\
                     <LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
                )
            });
            let body =
                format!("<ListBucketResult><MaxKeys>1000</MaxKeys>{}</ListBucketResult>", listed.collect::<String>());
            Fault::Answer(answer("200 OK", "ETag: \"not-an-md5\"\r\n", &body))
        }));
        let server =
            servers::Server::external(endpoint, json!({ "root_user": "someone", "root_password": "something" }));
        let mut settings = json!({ "num_objects": 4, "object_size_bytes": 10 });
        settings.as_object_mut().expect("an object").extend(operations.as_object().expect("an object").clone());
        let driven = drive_with(&MinioStress, &server, spec(requests), settings).expect("driven");
        assert_eq!(servers::failures(&driven.requests), [].into(), "{operations}");
        assert_eq!(driven.report.unchecked_data, None);
        match (&driven.report.wrong_data, expect) {
            (None, None) => {}
            (Some(wrong), Some(expect)) => assert!(wrong.contains(expect), "{wrong}"),
            (found, _) => panic!("{operations}, forgetting {forgets}: {found:?}"),
        }
    }
}

#[test]
fn what_cannot_be_removed_is_named() {
    let refused = "<Error><Code>AccessDenied</Code></Error>";
    let one = "<ListBucketResult><MaxKeys>1000</MaxKeys><Contents><Key>left</Key><ETag>x</ETag><Size>1</Size>\
               <LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>";
    for (answer_to_delete, expect) in
        [(answer("403 Forbidden", "", refused), "AccessDenied"), (answer("200 OK", "", ""), "left is still there")]
    {
        let endpoint = faulty_by(Arc::new(move |request: &[u8]| {
            let text = String::from_utf8_lossy(request);
            let line = text.lines().next().unwrap_or_default();
            Fault::Answer(match (line.contains("delete"), line.contains("list-type=2")) {
                (true, _) => answer_to_delete.clone(),
                (_, true) => answer("200 OK", "", one),
                _ => answer("200 OK", "ETag: \"not-an-md5\"\r\n", ""),
            })
        }));
        let keys = json!({ "root_user": "someone", "root_password": "something" });
        let server = servers::Server::external(endpoint, keys);
        let settings = json!({ "num_objects": 1, "object_size_bytes": 10, "phases": ["put"], "create_bucket": false });
        let driven = drive_with(&MinioStress, &server, spec(1), settings).expect("driven");
        let left = driven.report.left_behind.expect("something is left");
        assert!(left.contains("in the bucket benchmark") && left.contains(expect), "{left}");
    }
}

/// A server that answers well, if not rightly, to everything but the requests of one operation.
fn right_but_for(operation: &'static str, fault: Fault) -> Endpoint {
    faulty_by(Arc::new(move |request: &[u8]| {
        let text = String::from_utf8_lossy(request);
        let line = text.lines().next().unwrap_or_default();
        let is_list = line.contains("list-type=2");
        let is_object = line.split('?').next().is_some_and(|path| path.matches('/').count() >= 3);
        let kind = match (line.split(' ').next().unwrap_or_default(), is_list) {
            (_, true) => "LIST",
            ("PUT", _) if is_object => "PUT",
            ("GET", _) => "GET",
            ("DELETE", _) if is_object => "DELETE",
            _ => "",
        };
        let of_the_load = kind != "LIST" || line.contains("prefix=") && line.contains("s00000");
        match kind == operation && of_the_load {
            true => fault.clone(),
            false => Fault::Answer(answer(
                "200 OK",
                "ETag: \"not-an-md5\"\r\n",
                "<ListBucketResult><MaxKeys>1000</MaxKeys></ListBucketResult>",
            )),
        }
    }))
}

#[test]
fn a_refusal_before_the_body_is_read_is_heard() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = local(listener.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut input = [0; 1024];
            let count = stream.read(&mut input).unwrap_or(0);
            let is_object =
                input[..count].starts_with(b"PUT") && input[..count].windows(5).any(|part| part == b"/s000");
            let status = if is_object { "503 Slow Down" } else { "200 OK" };
            let body = if is_object {
                "<Error><Code>SlowDown</Code></Error>"
            } else {
                "<ListBucketResult><MaxKeys>1</MaxKeys></ListBucketResult>"
            };
            let _ = stream.write_all(&answer(status, "Connection: close\r\n", body));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let server = servers::Server::external(endpoint, json!({ "root_user": "someone", "root_password": "something" }));
    let settings = json!({ "num_objects": 1, "object_size_bytes": 50_000_000, "phases": ["put"] });
    let driven = drive_with(&MinioStress, &server, LoadSpec { timeout_s: 5.0, ..spec(1) }, settings).expect("driven");
    assert_eq!(servers::failures(&driven.requests), [("status 503: SlowDown", 1)].into());
}

#[test]
fn settings_become_arguments_and_impossible_ones_are_refused() {
    let settings = json!({ "console_port": 9001, "root_password": "${MINIO_ROOT_PASSWORD}" });
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 9000, scratch: "/tmp/x".as_ref(), command: None };
    let launch = Minio.launch(&request).expect("a launch");
    assert_eq!(launch.args.join(" "), "server /tmp/x/data --address 127.0.0.1:9000 --console-address 127.0.0.1:9001");
    assert_eq!(launch.env["MINIO_ROOT_PASSWORD"], "${MINIO_ROOT_PASSWORD}");
    for (settings, expect) in [
        (json!({ "phases": ["get"] }), "must be `put`"),
        (json!({ "phases": ["put", "delete", "get"] }), "`delete` must be the last"),
        (json!({ "num_objects": 3, "concurrent_requests": 2 }), "2 connections cannot share the 3"),
        (json!({ "operation_mix": "1:2:3:4" }), "more DELETEs than PUTs"),
        (json!({ "operation_mix": "0:0" }), "must be the shares"),
        (json!({ "object_size_bytes": 60_000_000_000u64, "multipart_part_size_bytes": 5_242_880 }), "10000 parts"),
    ] {
        let err = MinioStress.load_defaults(&settings).expect_err("refused");
        assert!(format!("{err:#}").contains(expect), "{err:#}");
    }
}
