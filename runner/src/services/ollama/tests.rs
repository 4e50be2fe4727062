//! The clients against the simulator's Ollama API, and against servers that misbehave.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    load::{Arrival, LoadSpec, Stop},
    services::{
        SimulatorSettings,
        fixtures::{Driven, Fault, drive, faulty, free_port, local, metric, probe, spec},
    },
    simulator::tests::{Mortal, start as simulator},
};

const STRESS: &OllamaStress = &OllamaStress;
const SMOKE: &OllamaSmoke = &OllamaSmoke;

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

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn get(endpoint: &Endpoint, path: &str) -> Value {
    let (status, body) = block_on(http::get(endpoint, path)).expect("answered");
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).expect("JSON")
}

fn closed_form(driven: &Driven, prefill: f64, decode: f64, tokens: u64) {
    assert_eq!(driven.errors(), [""; 0]);
    for request in &driven.requests {
        let server = |name: &str| request.server_s[name];
        let service = prefill + decode * tokens as f64;
        assert_eq!((request.output_tokens, request.tokens_by_chunk), (Some(tokens), false));
        assert_eq!(request.content_chunks, None, "a token a chunk");
        assert!(request.service_time() >= service, "{request:?}");
        // What the server says is its schedule, to the nanosecond.
        assert!(
            (server("prompt_eval") - prefill).abs() < 1e-7 && (server("eval") - decode * tokens as f64).abs() < 1e-7
        );
        assert!(server("total") >= service && server("total") <= request.service_time() + 1e-3, "{request:?}");
    }
}

#[test]
fn both_apis_keep_the_closed_form_and_the_servers_own_times() {
    for (api, operation) in [("generate", "generate"), ("chat", "chat")] {
        let endpoint = simulator(settings(2));
        let asked = json!({ "model": "simulator", "prompt_length": 40, "max_tokens": 8, "api": api });
        let driven = drive(STRESS, endpoint, LoadSpec { clients: 4, threads: 2, ..spec(3) }, asked).expect("driven");
        closed_form(&driven, 0.006, 0.001, 8);
        assert!(
            driven.requests.iter().all(|request| request.operation == operation && request.input_tokens == Some(40))
        );
        assert!(driven.requests.iter().all(|request| request.server_s["load"] == 0.0));
    }
}

#[test]
fn thoughts_are_output_and_a_cold_model_shows_in_its_load() {
    let endpoint = simulator(SimulatorSettings { load_s: Some(0.15), ..settings(4) });
    assert_eq!(get(&endpoint, "/api/ps")["models"], json!([]));
    let asked = json!({ "model": "simulator:latest", "prompt_length": 40, "max_tokens": 8, "think": true });
    let driven = drive(STRESS, endpoint.clone(), spec(4), asked).expect("driven");
    closed_form(&driven, 0.006, 0.001, 8);
    let loads: Vec<f64> = driven.requests.iter().map(|request| request.server_s["load"]).collect();
    assert!(loads[0] >= 0.149 && loads[1..] == [0.0; 3], "{loads:?}");
    assert!(driven.requests[0].ttft_s.expect("a token") >= 0.15);
    assert_eq!(get(&endpoint, "/api/ps")["models"][0]["name"], "simulator:latest");
}

#[test]
fn an_open_loop_streams_too_and_the_model_is_the_servers() {
    let stop = Stop { requests: None, duration_s: Some(0.4) };
    let spec = LoadSpec { arrival: Arrival::Poisson { rate: 100.0 }, clients: 32, threads: 2, stop, ..spec(1) };
    let driven = drive(STRESS, simulator(settings(16)), spec.clone(), json!({ "max_tokens": 3 })).expect("driven");
    assert_eq!((driven.errors(), driven.report.window_s), (vec![], [0.0, 0.4]));
    let other = drive(
        SMOKE,
        simulator(settings(1)),
        LoadSpec { arrival: Arrival::Closed { think_time_s: 0.0 }, ..spec },
        json!({ "model": "other" }),
    );
    assert_eq!(other.expect("driven").errors(), ["status 404: model 'other' not found"]);
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n")
}

/// A whole answer with this status and body.
fn answer(status: &str, body: &str) -> Fault {
    Fault::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn whole(body: &str) -> Fault {
    Fault::Answer((head(body.len()) + body).into_bytes())
}

const TOKEN: &str = "{\"model\":\"m\",\"response\":\" a\",\"done\":false}\n";
const DONE: &str = "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\",\"total_duration\":9000000,\
    \"load_duration\":1000000,\"prompt_eval_duration\":2000000,\"eval_count\":5,\"eval_duration\":6000000}\n";

#[test]
fn every_fault_is_a_counted_failure() {
    let half = head(1000) + TOKEN + &TOKEN[..20];
    for (fault, expect) in [
        (
            answer("503 Busy", "{\"error\":\"server busy, please try again. maximum pending requests exceeded\"}"),
            "status 503: server busy, please try again. maximum pending requests exceeded",
        ),
        (answer("429 Slow", "slow down"), "status 429: slow down"),
        (
            whole(&format!("{TOKEN}{{\"error\":\"an error was encountered while running the model\"}}\n")),
            "error in the stream: an error was encountered while running the model",
        ),
        (whole(TOKEN), "stream ended before its last line (`done`)"),
        (whole(""), "stream ended before its last line (`done`)"),
        // Half a line, and then the end of the body, of the connection, or of everything.
        (
            whole(&format!("{TOKEN}{}", &TOKEN[..20])),
            "wrong answer: a line that is no answer: EOF while parsing a string at line 1 column 20",
        ),
        (Fault::AnswerAndClose(half.clone().into_bytes()), "connection closed within the answer"),
        (
            Fault::AnswerAndReset(half.clone().into_bytes()),
            "connection lost within the answer: Connection reset by peer (os error 104)",
        ),
        (Fault::Answer(half.into_bytes()), "timeout"),
        (whole("data: {}\n"), "wrong answer: a line that is no answer: expected value at line 1 column 1"),
        (Fault::Stall, "timeout"),
        (
            Fault::Parts {
                parts: (head(1000) + &TOKEN.repeat(4)).bytes().map(|byte| vec![byte]).collect(),
                pause: Duration::from_millis(20),
                close: false,
            },
            "timeout",
        ),
        (whole("{\"done\":true}"), "wrong answer: no output"),
    ] {
        let name = format!("{fault:?} {expect}");
        let spec = LoadSpec { timeout_s: 0.5, ..spec(2) };
        let driven = drive(SMOKE, faulty(fault), spec, json!({ "model": "any" })).expect(&name);
        assert_eq!((driven.errors(), driven.requests.len()), (vec![expect], 2), "{name}");
        assert!(!driven.report.interrupted && driven.requests.iter().all(|request| !request.success), "{name}");
    }
}

#[test]
fn odd_but_right_streams_are_successes() {
    let thought = "{\"response\":\"\",\"thinking\":\"hm\",\"done\":false}\n";
    let chat = "{\"message\":{\"role\":\"assistant\",\"content\":\" a\"},\"done\":false}\n";
    let bare = "{\"done\":true}";
    for (body, tokens, by_chunk, chunks) in [
        // The server counts, and several of its tokens came in one line.
        (format!("{TOKEN}{TOKEN}{DONE}"), 5, false, Some(2)),
        (format!("{thought}{chat}\r\n{bare}"), 2, true, None),
        (format!("{TOKEN}{bare}\n\n"), 1, true, None),
    ] {
        let driven = drive(SMOKE, faulty(whole(&body)), spec(2), json!({ "model": "any" })).expect("driven");
        assert_eq!(driven.errors(), [""; 0], "{body}");
        for request in &driven.requests {
            assert_eq!((request.output_tokens, request.tokens_by_chunk), (Some(tokens), by_chunk), "{body}");
            assert_eq!((request.content_chunks, request.ttft_s.is_some()), (chunks, tokens > 0), "{body}");
            assert!(request.ttft_first_chunk_s.is_none() || tokens > 0, "the last line alone is no part of an answer");
            assert_eq!(request.server_s.contains_key("load"), body.contains("load_duration"));
        }
    }
    let parts = vec![
        (head(TOKEN.len() + DONE.len()) + &TOKEN[..9]).into_bytes(),
        format!("{}{DONE}", &TOKEN[9..]).into_bytes(),
    ];
    let fault = Fault::Parts { parts, pause: Duration::from_millis(30), close: false };
    let driven = drive(SMOKE, faulty(fault), spec(2), json!({ "model": "any" })).expect("driven");
    assert_eq!(driven.errors(), [""; 0]);
    // The first token is there when its line is whole.
    assert!(driven.requests.iter().all(|request| request.ttft_s.is_some_and(|ttft| ttft >= 0.06)));
}

#[test]
fn a_server_killed_under_load_is_counted_failures_and_an_end() {
    let server = Mortal::start(settings(64));
    let endpoint = server.endpoint.clone();
    let stop = Stop { requests: None, duration_s: Some(60.0) };
    let spec = LoadSpec { clients: 4, timeout_s: 1.0, stop, ..spec(1) };
    let driven = std::thread::scope(|scope| {
        let asked = endpoint.clone();
        let settings = json!({ "model": "simulator", "max_tokens": 100000 });
        let load = scope.spawn(move || drive(STRESS, asked, spec, settings));
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while metric(&endpoint, "num_requests_running") < 4.0 {
            assert!(std::time::Instant::now() < patience, "no load arrives");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.kill();
        load.join().expect("no panic").expect("driven")
    });
    assert!(driven.report.interruption.is_some_and(|reason| reason.contains("could not reach the service")));
    assert!(!driven.requests.is_empty() && driven.requests.iter().all(|request| request.error.is_some()));
}

#[test]
fn a_probe_tells_ready_from_missing_from_wrong() {
    let endpoint = simulator(settings(1));
    let ready = Probe::Ready { version: Some(env!("CARGO_PKG_VERSION").into()) };
    for model in ["simulator", "simulator:latest"] {
        assert_eq!(probe(&Ollama, &endpoint, &json!({ "model": model })), ready);
    }
    let digest = |endpoint: &Endpoint, model: &str| block_on(Ollama.model_digest(endpoint, &json!({ "model": model })));
    let said = digest(&endpoint, "simulator").expect("it has one");
    assert_eq!((said.len(), digest(&endpoint, "llama2")), (64, None));
    assert_ne!(digest(&simulator(settings(2)), "simulator"), Some(said), "another model");
    let missing = probe(&Ollama, &endpoint, &json!({ "model": "llama2" }));
    assert_eq!(missing, Probe::Missing("the model `llama2`".into()));
    assert!(matches!(probe(&Ollama, &local(free_port()), &json!({})), Probe::NotYet(_)));
    let other = faulty(Fault::AnswerAndClose(b"HTTP/1.1 404 No\r\n\r\n".to_vec()));
    assert!(matches!(probe(&Ollama, &other, &json!({})), Probe::Wrong(reason) if reason.contains("is no Ollama")));
}

#[test]
fn a_pull_tells_how_far_it_is_and_ends_well_or_says_why_not() {
    let pull = |endpoint: &Endpoint, model: &str| {
        let mut seen = Vec::new();
        let settings = json!({ "model": model });
        let mut progress = |text: String| seen.push(text);
        let result = block_on(Ollama.fetch(endpoint, &settings, &mut progress));
        (result, seen)
    };
    let endpoint = simulator(settings(1));
    assert_eq!(pull(&endpoint, "simulator"), (Ok(()), vec!["pulling manifest".into(), "success".into()]));
    assert_eq!(pull(&endpoint, "other").0, Err("pull model manifest: file does not exist".into()));
    let lines = "{\"status\":\"pulling 1\",\"digest\":\"sha256:1\",\"total\":4000000,\"completed\":1000000}\n{\"status\":\"success\"}\n";
    let (result, seen) = pull(&faulty(whole(lines)), "any");
    assert_eq!(result, Ok(()));
    assert!(seen[0].starts_with("pulling 1: 25 % of "), "{seen:?}");
    let cut = pull(&faulty(whole("{\"status\":\"pulling manifest\"}\n")), "any").0;
    assert_eq!(cut, Err("the pull ended after `pulling manifest`, without success".into()));
    let refused = faulty(Fault::AnswerAndClose(b"HTTP/1.1 500 No\r\n\r\n{\"error\":\"disk full\"}".to_vec()));
    assert_eq!(pull(&refused, "any").0, Err("status 500: disk full".into()));
}

#[test]
fn the_load_waits_for_the_server_as_often_as_it_is_told_to() {
    let ask = |retries: u32, timeout_s: f64, endpoint: Endpoint| {
        let spec = LoadSpec { timeout_s, ..spec(1) };
        drive(SMOKE, endpoint, spec, json!({ "model": "simulator", "max_retries": retries, "max_tokens": 1 }))
    };
    let err = ask(0, 0.2, faulty(Fault::Stall)).map(|_| ()).expect_err("no server");
    assert!(format!("{err:#}").contains("no answer to /api/tags after 0 retries (`max_retries`)"), "{err:#}");
    let port = free_port();
    let driven = std::thread::scope(|scope| {
        let load = scope.spawn(move || ask(100, 5.0, local(port)));
        std::thread::sleep(Duration::from_millis(100));
        crate::simulator::tests::start_on(port, settings(1));
        load.join().expect("no panic")
    });
    assert_eq!(driven.expect("driven").errors(), [""; 0]);
}

#[test]
fn settings_become_variables() {
    let settings = json!({
        "model": "gemma2:2b", "num_parallel": 4, "max_queue": 9, "max_loaded_models": 1, "keep_alive": "30m",
        "context_length": 8192, "flash_attention": true, "kv_cache_type": "q8_0", "models_dir": "/models",
    });
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 7, scratch: "/tmp".as_ref(), command: None };
    let launch = Ollama.launch(&request).expect("a launch");
    assert_eq!((launch.program.as_str(), launch.args.join(" ")), ("ollama", "serve".to_owned()));
    let expect = [
        ("OLLAMA_CONTEXT_LENGTH", "8192"),
        ("OLLAMA_FLASH_ATTENTION", "1"),
        ("OLLAMA_HOST", "127.0.0.1:7"),
        ("OLLAMA_KEEP_ALIVE", "30m"),
        ("OLLAMA_KV_CACHE_TYPE", "q8_0"),
        ("OLLAMA_MAX_LOADED_MODELS", "1"),
        ("OLLAMA_MAX_QUEUE", "9"),
        ("OLLAMA_MODELS", "/models"),
        ("OLLAMA_NUM_PARALLEL", "4"),
    ];
    assert_eq!(launch.env, expect.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let plain = LaunchRequest { settings: &json!({}), ..request };
    assert_eq!(Ollama.launch(&plain).expect("a launch").env.len(), 1, "nothing but what was asked for");
}

#[test]
fn names_without_a_tag_mean_the_latest() {
    for (one, other, same) in [
        ("llama2", "llama2:latest", true),
        ("llama2", "llama2", true),
        ("llama2:13b", "llama2", false),
        ("host:5000/a/llama2", "host:5000/a/llama2:latest", true),
    ] {
        assert_eq!(same_model(one, other), same, "{one} {other}");
    }
}
