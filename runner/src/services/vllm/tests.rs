//! The streaming clients against the simulator, and against servers that misbehave.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, Control, LoadJob, LoadSpec, Stop, Warmup},
    services::{
        Decode, SimulatorSettings,
        fixtures::{
            Driven, Fault, RedisServer, drive, drive_job, drive_service, faulty, faulty_by, free_port, local, metric,
            probe, spec,
        },
        http,
    },
    simulator::tests::{Mortal, start as simulator},
};

const STRESS: &VllmStress = &VllmStress;
const SMOKE: &VllmSmoke = &VllmSmoke;

/// 2 ms + 0.1 ms a word of input + 1 ms a token: 14 ms for 40 words and 8 tokens.
fn settings(slots: u32) -> SimulatorSettings {
    SimulatorSettings {
        slots,
        prefill_base_s: 0.002,
        prefill_per_token_s: 0.0001,
        decode_per_token_s: 0.001,
        ..SimulatorSettings::default()
    }
}

fn stress() -> Value {
    json!({ "prompt_length": 40, "max_tokens": 8 })
}

fn get(endpoint: &Endpoint, path: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (status, body) = runtime.block_on(http::get(endpoint, path)).expect("answered");
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn the_simulator_keeps_its_closed_form() {
    for (api, clients, slots) in [("completions", 1, 1), ("completions", 8, 2), ("chat", 6, 3)] {
        let endpoint = simulator(settings(slots));
        let spec = LoadSpec { clients, threads: 2, ..spec(5) };
        let mut asked = stress();
        asked["api"] = json!(api);
        let driven = drive(STRESS, endpoint.clone(), spec, asked).expect("driven");
        assert_eq!(driven.errors(), [""; 0]);
        let total = u64::from(clients) * 5;
        assert_eq!(driven.requests.len() as u64, total);
        let (prefill, decode) = (0.002 + 40.0 * 0.0001, 0.001);
        let service = prefill + 8.0 * decode;
        for request in &driven.requests {
            assert_eq!(
                (request.input_tokens, request.output_tokens, request.tokens_by_chunk),
                (Some(40), Some(8), false)
            );
            assert_eq!((request.chunk_gaps_us.len(), request.http_status), (7, Some(200)));
            let (ttft, first_chunk) = (request.ttft_s.expect("a token"), request.ttft_first_chunk_s.expect("a chunk"));
            assert!(request.service_time() >= service && ttft >= prefill + decode, "{request:?}");
            // A chat begins with the role, one decode time before the first token.
            if api == "chat" {
                assert!(first_chunk <= ttft)
            } else {
                assert_eq!(first_chunk, ttft)
            }
            let gaps: f64 = request.chunk_gaps_us.iter().map(|gap| f64::from(*gap) / 1e6).sum();
            assert!(ttft + gaps <= request.service_time() + 1e-9);
        }
        // Nobody serves more than `slots` at a time: the ceiling is slots / service time.
        let [start, end] = driven.report.window_s;
        assert!(end - start >= total as f64 * service / f64::from(slots), "{}", end - start);
        assert_eq!(metric(&endpoint, "num_requests_running") + metric(&endpoint, "num_requests_waiting"), 0.0);
        assert_eq!(metric(&endpoint, "generation_tokens_total"), 8.0 * total as f64);
        assert_eq!(metric(&endpoint, "request_success_total"), total as f64);
    }
}

#[test]
fn requests_that_wait_for_a_slot_start_when_it_is_free() {
    // All at once for one slot, first come first served: the k-th leaves after k service times, or later.
    let endpoint = simulator(settings(1));
    let spec = LoadSpec { clients: 6, ..spec(1) };
    let driven = drive(STRESS, endpoint, spec, stress()).expect("driven");
    let begin = driven.requests.iter().map(|request| request.start_s).fold(f64::MAX, f64::min);
    for (place, request) in driven.requests.iter().enumerate() {
        assert!(request.end() - begin >= 0.014 * (place + 1) as f64, "{place}: {}", request.end() - begin);
    }
}

#[test]
fn a_kv_limit_holds_requests_back() {
    // Room for two requests of 48 tokens, though there are slots for all.
    let endpoint = simulator(SimulatorSettings { kv_limit_tokens: 100, ..settings(64) });
    let driven = drive(STRESS, endpoint.clone(), LoadSpec { clients: 8, ..spec(2) }, stress()).expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    let [start, end] = driven.report.window_s;
    assert!(end - start >= 16.0 * 0.014 / 2.0);
    let too_long = drive(STRESS, endpoint, spec(1), json!({ "prompt_length": 200 })).expect("driven");
    assert_eq!(too_long.errors(), ["status 400: the request is longer than the KV limit"]);
}

#[test]
fn sequences_do_not_depend_on_threads_and_prompts_are_all_different() {
    let endpoint = simulator(SimulatorSettings { decode_per_token_s: 0.0, ..settings(64) });
    let digest = |threads, seed, api: &str| {
        let warmup = Warmup { duration_s: 0.0, requests: 2 };
        let spec = LoadSpec { clients: 4, threads, seed, warmup, ..spec(3) };
        let driven = drive(STRESS, endpoint.clone(), spec, json!({ "max_tokens": 1, "api": api })).expect("driven");
        assert_eq!(driven.requests.iter().filter(|request| request.warmup).count(), 8);
        driven.report.sequence_digest.expect("a digest")
    };
    let one = digest(1, 7, "completions");
    assert_eq!((&one, &one), (&digest(2, 7, "completions"), &digest(4, 7, "completions")));
    assert_ne!(one, digest(1, 8, "completions"));
    assert_ne!(one, digest(1, 7, "chat"));
}

#[test]
fn failures_of_the_server_are_failures() {
    let endpoint = simulator(SimulatorSettings { failure_rate: 1.0, ..settings(4) });
    let driven = drive(SMOKE, endpoint, spec(3), json!({})).expect("driven");
    assert_eq!(driven.errors(), ["status 500: simulated failure"]);
    assert!(driven.requests.iter().all(|request| request.http_status == Some(500) && request.ttft_s.is_none()));
    let endpoint = simulator(SimulatorSettings { failure_rate: 0.5, ..settings(4) });
    let failed = |driven: Driven| driven.requests.iter().filter(|request| !request.success).count();
    let half = failed(drive(SMOKE, endpoint, spec(100), json!({ "max_tokens": 1 })).expect("driven"));
    // The draws are seeded: this is one number, somewhere near the middle.
    assert!((30..=70).contains(&half), "{half}");
}

#[test]
fn a_client_that_goes_away_frees_its_slot() {
    let slow = SimulatorSettings { decode_per_token_s: 3600.0, ..settings(1) };
    let endpoint = simulator(slow);
    let driven = drive(STRESS, endpoint.clone(), LoadSpec { clients: 3, timeout_s: 0.2, ..spec(1) }, stress());
    assert_eq!(driven.expect("driven").errors(), ["timeout"]);
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    while metric(&endpoint, "num_requests_running") + metric(&endpoint, "num_requests_waiting") > 0.0 {
        assert!(std::time::Instant::now() < patience, "a slot is held for nobody");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_open_loop_streams_too() {
    let endpoint = simulator(SimulatorSettings { decode_distribution: Decode::Exponential, ..settings(16) });
    let stop = Stop { requests: None, duration_s: Some(0.5) };
    let spec = LoadSpec { arrival: Arrival::Poisson { rate: 200.0 }, clients: 32, threads: 2, stop, ..spec(1) };
    let driven = drive(STRESS, endpoint, spec, stress()).expect("driven");
    assert_eq!((driven.errors(), driven.report.window_s), (vec![], [0.0, 0.5]));
    assert!(driven.requests.iter().all(|request| request.send_lag() >= 0.0 && request.intended() < 0.5));
}

/// A whole answer with this status and body.
fn answer(status: &str, body: &str) -> Fault {
    Fault::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// An answer of 200 with this body in one chunk, its end left open.
fn stream(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    )
    .into_bytes()
}

fn ended(body: &str) -> Vec<u8> {
    [stream(body), b"0\r\n\r\n".to_vec()].concat()
}

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\" hello\",\"finish_reason\":null}]}\n\n";

#[test]
fn every_fault_is_a_counted_failure() {
    for (fault, expect) in [
        (Fault::Answer(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 38\r\n\r\n{\"error\":{\"message\":\"slow down, you\"}} ".to_vec()), "status 429: slow down, you"),
        (Fault::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nit broke\n".to_vec()), "status 500: it broke"),
        (Fault::AnswerAndClose(b"HTTP/1.1 503 No\r\n\r\n".to_vec()), "status 503: "),
        (Fault::Answer(ended(&format!("{TOKEN}data: {{\"error\":{{\"message\":\"out of memory\"}}}}\n\n"))), "error in the stream: out of memory"),
        (Fault::Answer(ended(TOKEN)), "stream ended before [DONE]"),
        (Fault::Answer(ended(&TOKEN[..30])), "stream ended before [DONE]"),
        (Fault::Answer(ended("data: what?\n\n")), "wrong answer: an event that is no chunk: expected value at line 1 column 1"),
        (Fault::Answer(ended("")[..3].to_vec()), "timeout"),
        (Fault::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()), "stream ended before [DONE]"),
        (Fault::AnswerAndClose(stream(&TOKEN[..30])), "connection closed within the answer"),
        (Fault::AnswerAndClose(stream(TOKEN)), "connection closed within the answer"),
        (Fault::AnswerAndReset(stream(TOKEN)), "connection lost within the answer: Connection reset by peer (os error 104)"),
        (Fault::AnswerAndClose(Vec::new()), "connection closed before the answer"),
        (Fault::AnswerAndClose(b"+OK\r\n".to_vec()), "wrong answer: not HTTP: invalid HTTP version"),
        (Fault::Stall, "timeout"),
        (Fault::Answer(stream(TOKEN)), "timeout"),
        // Slow loris: something arrives all the time, and never an answer.
        (slowly(&stream(&TOKEN.repeat(9)), Duration::from_millis(20)), "timeout"),
        (answer("503 Busy", "{\"detail\": \"come back later\"}"), "status 503: come back later"),
        // Half an event, and then the end.
        (Fault::Parts { parts: vec![stream(TOKEN), chunk(&TOKEN[..30])], pause: PAUSE, close: true }, "connection closed within the answer"),
        // An error before any token.
        (Fault::Answer(ended("data: {\"error\":{\"message\":\"no such adapter\",\"code\":404}}\n\ndata: [DONE]\n\n")), "error in the stream: no such adapter"),
    ] {
        let name = format!("{fault:?} {expect}");
        let spec = LoadSpec { timeout_s: 0.5, ..spec(2) };
        let driven = drive(SMOKE, faulty(fault), spec, json!({ "model": "any" })).expect(&name);
        assert_eq!((driven.errors(), driven.requests.len()), (vec![expect], 2), "{name}");
        assert!(!driven.report.interrupted && driven.requests.iter().all(|request| !request.success), "{name}");
    }
}

/// Long enough for a read to return before what comes next.
const PAUSE: Duration = Duration::from_millis(20);

/// A further chunk of a body.
fn chunk(body: &str) -> Vec<u8> {
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

/// Byte after byte.
fn slowly(bytes: &[u8], pause: Duration) -> Fault {
    Fault::Parts { parts: bytes.iter().map(|byte| vec![*byte]).collect(), pause, close: false }
}

#[test]
fn streams_may_be_cut_anywhere() {
    let body = format!("{TOKEN}{TOKEN}data: [DONE]\n\n");
    let two_events_and_a_half = TOKEN.repeat(2) + &TOKEN[..30];
    let rest = format!("{}data: [DONE]\n\n", &TOKEN[30..]);
    let halves = vec![stream(&two_events_and_a_half), [chunk(&rest), b"0\r\n\r\n".to_vec()].concat()];
    for (fault, tokens) in [
        (slowly(&ended(&body), Duration::ZERO), 2),
        (Fault::Parts { parts: halves, pause: PAUSE, close: false }, 3),
        (Fault::Answer(ended(&body.replace('\n', "\r\n"))), 2),
    ] {
        let name = format!("{fault:?}");
        let driven = drive(SMOKE, faulty(fault), spec(2), json!({ "model": "any" })).expect(&name);
        assert_eq!(driven.errors(), [""; 0], "{name}");
        assert!(driven.requests.iter().all(|request| request.output_tokens == Some(tokens)), "{name}");
    }
}

#[test]
fn a_token_is_stamped_when_its_own_bytes_come() {
    // The role at once, the first token a pause later, and two more in one chunk another pause later.
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\" a\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":3,\
        \"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\ndata: [DONE]\n\n";
    let parts = vec![stream(role), chunk(text), [chunk(&format!("{text}{usage}")), b"0\r\n\r\n".to_vec()].concat()];
    let pause = Duration::from_millis(40);
    let endpoint = faulty(Fault::Parts { parts, pause, close: false });
    let driven = drive(SMOKE, endpoint, spec(3), json!({ "model": "any", "api": "chat" })).expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    for request in &driven.requests {
        let (ttft, first) = (request.ttft_s.expect("a token"), request.ttft_first_chunk_s.expect("a chunk"));
        assert!(first >= 0.040 && ttft >= 0.080 && ttft >= first, "{first} {ttft}");
        assert_eq!((request.output_tokens, request.content_chunks, request.cached_tokens), (Some(3), Some(2), Some(2)));
        // One gap between chunks; three tokens have two gaps, and the time to share is the rest.
        assert_eq!(request.chunk_gaps_us.len(), 1);
        let tpot = request.tpot().expect("several tokens");
        assert!((tpot - (request.service_time() - ttft) / 2.0).abs() < 1e-9, "{tpot}");
    }
}

#[test]
fn the_key_is_shown_and_a_wrong_one_is_a_failure() {
    let right = Arc::new(|request: &[u8]| {
        let shown = String::from_utf8_lossy(request).contains("\r\nAuthorization: Bearer right\r\n");
        match shown {
            true => Fault::Answer(ended(&format!("{TOKEN}data: [DONE]\n\n"))),
            false => answer("401 Unauthorized", "{\"error\":\"Unauthorized\"}"),
        }
    });
    let endpoint = faulty_by(right);
    for (settings, expect) in [
        (json!({ "api_key": "right" }), vec![]),
        (json!({ "api_key": "wrong" }), vec!["status 401: Unauthorized"]),
        (json!({}), vec!["status 401: Unauthorized"]),
    ] {
        let service = (endpoint.clone(), settings);
        let driven = drive_service(SMOKE, service, spec(2), json!({ "model": "any" }), &Control::default());
        let driven = driven.expect("driven");
        assert_eq!((driven.errors(), driven.requests.len()), (expect, 2));
    }
}

#[test]
fn a_server_that_never_names_its_model_does_not_hold_the_load() {
    for (client, settings) in [(SMOKE as &dyn ClientType, json!({})), (STRESS, json!({}))] {
        let spec = LoadSpec { timeout_s: 0.3, ..spec(1) };
        let err = drive(client, faulty(Fault::Stall), spec, settings).map(|_| ()).expect_err("no model");
        assert!(format!("{err:#}").contains("it does not name its model within 0.3 s"), "{err:#}");
    }
}

#[test]
fn a_server_killed_under_load_is_counted_failures_and_an_end() {
    let server = Mortal::start(settings(64));
    let endpoint = server.endpoint.clone();
    let stop = Stop { requests: None, duration_s: Some(60.0) };
    let spec = LoadSpec { clients: 8, threads: 2, timeout_s: 1.0, stop, ..spec(1) };
    let driven = std::thread::scope(|scope| {
        let asked = endpoint.clone();
        let load = scope.spawn(move || drive(STRESS, asked, spec, json!({ "max_tokens": 500 })));
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while metric(&endpoint, "generation_tokens_total") < 100.0 {
            assert!(std::time::Instant::now() < patience, "no load arrives");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.kill();
        load.join().expect("no panic").expect("driven")
    });
    assert!(driven.report.interrupted && driven.report.window_s[1] < 60.0);
    let reason = driven.report.interruption.as_deref().unwrap_or_default();
    assert!(reason.contains("could not reach the service"), "{reason}");
    let errors = driven.errors().join("\n");
    assert!(errors.contains("within the answer") && errors.contains("cannot connect: Connection refused"), "{errors}");
    assert!(driven.requests.iter().all(|request| request.success || request.error.is_some()));
}

#[test]
fn stamps_of_the_server_tell_its_own_time_to_the_first_token() {
    let endpoint = simulator(SimulatorSettings { send_stamps: true, ..settings(4) });
    let driven = drive(STRESS, endpoint, spec(5), stress()).expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    for request in &driven.requests {
        // Prefill of 40 words and one decode time, by the server's clock; what the client saw is more.
        let server = request.server_s["ttft"];
        assert!(server >= 0.007 && request.ttft_s.expect("a token") >= server - 1e-4, "{request:?}");
    }
    let without = drive(STRESS, simulator(settings(4)), spec(1), stress()).expect("driven");
    assert!(without.requests[0].server_s.is_empty());
}

#[test]
fn a_file_of_prompts_and_drawn_lengths_are_what_is_asked() {
    let endpoint = simulator(SimulatorSettings { decode_per_token_s: 0.0, ..settings(64) });
    let text = "{\"prompt\": \"one two three\"}\n{\"prompt\": \"one\", \"max_tokens\": 2}\n";
    let file = |job: LoadJob| LoadJob { files: [("prompt_file".to_owned(), text.to_owned())].into(), ..job };
    let running = crate::services::fixtures::Running::at(endpoint.clone());
    let driven = drive_job(STRESS, file(running.job(spec(4), &json!({ "max_tokens": 3 })))).expect("driven");
    let asked: Vec<_> = driven.requests.iter().map(|request| (request.input_tokens, request.output_tokens)).collect();
    assert_eq!(asked, [(Some(3), Some(3)), (Some(1), Some(2)), (Some(3), Some(3)), (Some(1), Some(2))]);

    let lengths = json!({
        "prompt_lengths": { "distribution": "uniform", "min": 2, "max": 9 },
        "output_lengths": { "distribution": "normal", "mean": 5, "stddev": 2, "min": 1, "max": 9 },
        "shared_prefix_length": 10,
    });
    let drawn = |threads| {
        let spec = LoadSpec { clients: 8, threads, ..spec(20) };
        let driven = drive(STRESS, endpoint.clone(), spec, lengths.clone()).expect("driven");
        assert_eq!(driven.errors(), [""; 0]);
        let mut asked: Vec<_> = driven
            .requests
            .iter()
            .map(|request| (request.client, request.request_id, request.input_tokens, request.output_tokens))
            .collect();
        asked.sort_unstable();
        asked
    };
    let one = drawn(1);
    assert_eq!(one, drawn(4));
    let different = |lengths: Vec<Option<u64>>, from: u64, to: u64| {
        let all: std::collections::BTreeSet<u64> = lengths.into_iter().flatten().collect();
        assert!(all.len() > 4 && all.iter().all(|length| (from..=to).contains(length)), "{all:?}");
    };
    different(one.iter().map(|asked| asked.2).collect(), 12, 19);
    different(one.iter().map(|asked| asked.3).collect(), 1, 9);
}

#[test]
fn requests_say_how_long_the_answer_is_to_be_and_ask_for_usage() {
    let own = |settings: Value| (STRESS as &dyn ClientType, settings);
    for ((client, settings), expect) in [
        (own(json!({ "max_tokens": 7 })), json!({ "max_tokens": 7, "min_tokens": 7, "ignore_eos": true })),
        (own(json!({ "max_tokens": 7, "ignore_eos": false })), json!({ "max_tokens": 7 })),
        (
            own(json!({ "max_tokens": 7, "ignore_eos": false, "min_tokens": 3 })),
            json!({ "max_tokens": 7, "min_tokens": 3 }),
        ),
        (
            own(json!({ "max_tokens": 7, "min_tokens": 3 })),
            json!({ "max_tokens": 7, "min_tokens": 3, "ignore_eos": true }),
        ),
        (own(json!({ "api": "chat" })), json!({ "max_tokens": 64, "min_tokens": 64, "ignore_eos": true })),
        ((SMOKE as &dyn ClientType, json!({ "max_tokens": 5 })), json!({ "max_tokens": 5 })),
    ] {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = seen.clone();
        let endpoint = faulty_by(Arc::new(move |request: &[u8]| {
            let text = String::from_utf8_lossy(request).into_owned();
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
            sink.lock().expect("one at a time").push(serde_json::from_str::<Value>(&body).expect("JSON"));
            Fault::Answer(ended(&format!("{TOKEN}data: [DONE]\n\n")))
        }));
        let mut settings = settings;
        settings["model"] = "any".into();
        let name = settings.to_string();
        assert_eq!(drive(client, endpoint, spec(2), settings).expect("driven").errors(), [""; 0], "{name}");
        let seen = seen.lock().expect("done");
        assert_eq!(seen.len(), 2, "{name}");
        for body in seen.iter() {
            assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({ "include_usage": true })));
            for key in ["max_tokens", "min_tokens", "ignore_eos"] {
                assert_eq!(body.get(key), expect.get(key), "{key} of {name}");
            }
        }
    }
}

#[test]
fn odd_but_right_streams_are_successes() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\r\n\r\n";
    let thought = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";
    let stopped = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
    let at_the_end = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}],\
                      \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";
    for (body, tokens, by_chunk, gaps) in [
        // No usage: chunks are counted, and only those with content.
        (format!(": hi\n\n{role}{TOKEN}{TOKEN}data: [DONE]\n\n"), 2, true, 1),
        // Usage in the chunk that ends the answer, as completions may have it, or behind it.
        (format!("{TOKEN}{TOKEN}{at_the_end}data: [DONE]\n\n"), 9, false, 1),
        (format!("{TOKEN}{TOKEN}{at_the_end}"), 9, false, 1),
        (format!("{TOKEN}{stopped}{usage}data: [DONE]\n\n"), 9, false, 0),
        // Several tokens a chunk: usage counts.
        (format!("{role}{TOKEN}{usage}data: [DONE]\n\n"), 9, false, 0),
        (format!("{thought}{TOKEN}{stopped}"), 2, true, 1),
        // The last event without its empty line.
        (format!("{TOKEN}data: [DONE]\n"), 1, true, 0),
    ] {
        let driven =
            drive(SMOKE, faulty(Fault::Answer(ended(&body))), spec(2), json!({ "model": "any" })).expect("driven");
        assert_eq!(driven.errors(), [""; 0], "{body}");
        for request in &driven.requests {
            assert_eq!((request.output_tokens, request.tokens_by_chunk), (Some(tokens), by_chunk), "{body}");
            assert_eq!(request.chunk_gaps_us.len(), gaps, "{body}");
            assert!(request.ttft_s >= request.ttft_first_chunk_s);
        }
    }
}

#[test]
fn a_server_that_closes_after_each_answer_is_reached_again() {
    let body = format!("{TOKEN}data: [DONE]\n\n");
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let driven =
        drive(SMOKE, faulty(Fault::AnswerAndClose(answer.into())), spec(5), json!({ "model": "any" })).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![], 5));
}

#[test]
fn the_model_is_the_clients_or_the_servers() {
    let endpoint = simulator(SimulatorSettings { model: "org/some-model".into(), ..settings(4) });
    let ask = |settings: Value| drive(SMOKE, endpoint.clone(), spec(1), settings).expect("driven");
    assert_eq!(ask(json!({})).errors(), [""; 0]);
    assert_eq!(ask(json!({ "model": "org/other" })).errors(), ["status 404: the model is org/some-model"]);
}

#[test]
fn the_simulator_answers_whole_too_and_refuses_what_it_cannot_do() {
    let endpoint = simulator(SimulatorSettings { send_stamps: true, ..settings(1) });
    let ask = |path: &str, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut http = http::Http::connect(&endpoint).await.expect("connected");
            http.send(format!("{head}{body}").as_bytes()).await.expect("sent");
            let (head, mut answer) = (http.head().await.expect("answered"), Vec::new());
            while !http.body(&mut answer).await.expect("a body").done {}
            (head.status, serde_json::from_slice::<Value>(&answer).expect("JSON"))
        })
    };
    let (status, answer) = ask("/v1/completions", r#"{"prompt": "one two three", "max_tokens": 2}"#);
    assert_eq!((status, &answer["choices"][0]["text"]), (200, &json!(" t1 t2")));
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 }));
    assert!(answer["sent_ns"].as_u64().is_some_and(|stamp| stamp > 1_700_000_000_000_000_000));
    let chat = r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a b"}]}], "max_tokens": 1}"#;
    let (_, answer) = ask("/v1/chat/completions", chat);
    assert_eq!(answer["choices"][0]["message"]["content"], json!(" t1"));
    assert_eq!(answer["usage"]["prompt_tokens"], json!(2));
    for (path, body, expect) in [
        ("/v1/completions", "{", 400),
        ("/v1/completions", "{}", 400),
        ("/v1/completions", r#"{"prompt": "a", "max_tokens": 0}"#, 400),
        ("/v1/chat/completions", r#"{"prompt": "a"}"#, 400),
        ("/v1/completions", r#"{"prompt": "a", "model": "other"}"#, 404),
        ("/v1/embeddings", "{}", 404),
    ] {
        assert_eq!(ask(path, body).0, expect, "{path} {body}");
    }
    assert_eq!((get(&endpoint, "/health").0, get(&endpoint, "/nothing").0), (200, 404));
}

#[test]
fn a_probe_tells_ready_from_not_yet_from_wrong() {
    let endpoint = simulator(settings(1));
    let ready = Probe::Ready { version: Some(env!("CARGO_PKG_VERSION").into()) };
    assert_eq!(probe(&crate::services::simulator::Simulator, &endpoint, &json!({ "model": "simulator" })), ready);
    let ask = |endpoint: &Endpoint| probe(&Vllm, endpoint, &json!({ "model": "facebook/opt-125m" }));
    let other_model = format!("{endpoint} serves simulator, not facebook/opt-125m");
    assert_eq!(ask(&endpoint), Probe::Wrong(other_model));
    assert!(matches!(ask(&local(free_port())), Probe::NotYet(reason) if reason.contains("Connection refused")));
    assert!(matches!(ask(&RedisServer::start().endpoint), Probe::Wrong(_) | Probe::NotYet(_)));
    let loading = faulty(Fault::AnswerAndClose(b"HTTP/1.1 503 Busy\r\n\r\nloading".to_vec()));
    assert_eq!(ask(&loading), Probe::NotYet("/health: status 503: loading".into()));
    let other = faulty(Fault::AnswerAndClose(b"HTTP/1.1 404 No\r\n\r\n".to_vec()));
    assert!(matches!(ask(&other), Probe::Wrong(reason) if reason.contains("no vLLM")));
}

#[test]
fn settings_become_arguments() {
    let settings = json!({ "model": "m", "tensor_parallel_size": 4, "max_model_len": 4096, "dtype": "bfloat16" });
    let request =
        LaunchRequest { settings: &settings, host: "0.0.0.0", port: 8000, scratch: "/tmp".as_ref(), command: None };
    assert_eq!(
        Vllm.launch(&request).expect("a launch").args.join(" "),
        "serve m --host 0.0.0.0 --port 8000 --tensor-parallel-size 4 --max-model-len 4096 --dtype bfloat16 \
         --enable-prompt-tokens-details"
    );
    let settings = json!({
        "model": "m", "served_model_name": "n", "pipeline_parallel_size": 2, "gpu_memory_utilization": 0.9,
        "quantization": "awq", "kv_cache_dtype": "fp8", "max_num_seqs": 64, "max_num_batched_tokens": 8192,
        "enable_prefix_caching": false, "hf_home": "/hub", "hf_token": "${HF_TOKEN}", "api_key": "${VLLM_API_KEY}",
        "extra_args": ["--swap-space", "4"],
    });
    let all = Vllm.launch(&LaunchRequest { settings: &settings, ..request.clone() }).expect("a launch");
    assert_eq!(
        all.args.join(" "),
        "serve m --host 0.0.0.0 --port 8000 --gpu-memory-utilization 0.9 --quantization awq --served-model-name n \
         --pipeline-parallel-size 2 --kv-cache-dtype fp8 --max-num-seqs 64 --max-num-batched-tokens 8192 \
         --no-enable-prefix-caching --enable-prompt-tokens-details --swap-space 4"
    );
    let env = [("HF_HOME", "/hub"), ("HF_TOKEN", "${HF_TOKEN}"), ("VLLM_API_KEY", "${VLLM_API_KEY}")];
    assert_eq!(all.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let simulated = json!({ "slots": 3 });
    let request = LaunchRequest { settings: &simulated, host: "127.0.0.1", ..request };
    let args = crate::services::simulator::Simulator.launch(&request).expect("a launch").args;
    assert_eq!(args[..7], ["agent", "simulate", "--host", "127.0.0.1", "--port", "8000", "--settings"]);
    let read: SimulatorSettings = serde_json::from_str(&args[7]).expect("settings");
    assert_eq!((read.slots, read.model.as_str()), (3, "simulator"));
}
