//! Lines as real servers write them, and lines that look like what they are not.

use archive::Timestamp;
use proptest::prelude::*;

use super::{LogClass::*, *};

fn near() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

#[test]
fn lines_of_real_servers() {
    let cases: &[(&str, &[LogClass])] = &[
        // Redis
        ("18:M 01 Mar 2026 12:00:05.123 * Ready to accept connections tcp", &[Success]),
        ("18:C 01 Mar 2026 12:00:05.123 * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo", &[]),
        (
            "18:M 01 Mar 2026 12:00:05.123 # WARNING Memory overcommit must be enabled! Without it, a background save or replication may fail under low memory condition. Being disabled, it can can also cause failures without low memory condition, see https://github.com/jemalloc/jemalloc/issues/1328. To fix this issue add 'vm.overcommit_memory = 1' to /etc/sysctl.conf",
            &[MemoryWarning, GeneralWarning],
        ),
        ("(error) OOM command not allowed when used memory > 'maxmemory'.", &[OutOfMemory, GeneralError]),
        ("18:M 01 Mar 2026 12:00:05.123 # Out Of Memory allocating 1048576 bytes!", &[OutOfMemory]),
        ("18:M 01 Mar 2026 12:00:05.123 # Can't save in background: fork: Cannot allocate memory", &[OutOfMemory]),
        ("Could not connect to Redis at 127.0.0.1:6379: Connection refused", &[ConnectionRefused]),
        // PostgreSQL
        (
            "2026-03-01 12:00:05.123 UTC [77] ERROR:  relation \"orders\" does not exist at character 15",
            &[QueryError, GeneralError],
        ),
        (
            "2026-03-01 12:00:05.123 UTC [77] ERROR:  syntax error at or near \"SELEC\" at character 1",
            &[QueryError, GeneralError],
        ),
        (
            "2026-03-01 12:00:05.123 UTC [77] FATAL:  sorry, too many clients already",
            &[DbConnectionError, GeneralError],
        ),
        ("2026-03-01 12:00:05.123 UTC [77] LOG:  database system is ready to accept connections", &[Success]),
        (
            "2026-03-01 12:00:05.123 UTC [77] ERROR:  canceling statement due to statement timeout",
            &[QueryError, Timeout, GeneralError],
        ),
        (
            "psql: error: connection to server at \"10.0.0.1\", port 5432 failed: Connection refused",
            &[DbConnectionError, ConnectionRefused, GeneralError],
        ),
        (
            "2026-03-01 12:00:05.123 UTC [77] LOG:  could not receive data from client: Connection reset by peer",
            &[ConnectionReset],
        ),
        (
            "2026-03-01 12:00:05.123 UTC [77] LOG:  checkpoint complete: wrote 503 buffers (3.1%); 0 WAL file(s) added",
            &[],
        ),
        // nginx
        (
            "2026/03/01 12:00:05 [error] 31#31: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: , request: \"GET / HTTP/1.1\", upstream: \"http://127.0.0.1:5000/\"",
            &[ConnectionRefused, GeneralError],
        ),
        (
            "2026/03/01 12:00:05 [error] 31#31: *1 upstream timed out (110: Connection timed out) while reading response header from upstream",
            &[Timeout, GeneralError],
        ),
        (
            "10.0.0.9 - - [01/Mar/2026:12:00:05 +0000] \"GET /error/500?timeout=1 HTTP/1.1\" 200 503 \"-\" \"curl/8\"",
            &[],
        ),
        (
            "10.0.0.9 - - [01/Mar/2026:12:00:05 +0000] \"GET / HTTP/1.1\" 503 197 \"-\" \"failed-bot/500\"",
            &[Http502503],
        ),
        ("10.0.0.9 - - [01/Mar/2026:12:00:05 +0000] \"GET /x HTTP/2.0\" 404 0", &[Http4xx]),
        // Python, uvicorn, vLLM
        ("INFO:     127.0.0.1:50000 - \"POST /v1/completions HTTP/1.1\" 500 Internal Server Error", &[Http500]),
        ("INFO:     127.0.0.1:50404 - \"POST /v1/completions HTTP/1.1\" 200 OK", &[]),
        ("INFO:     Application startup complete.", &[Success]),
        ("INFO 03-01 12:00:05 api_server.py:592] Starting vLLM API server on http://0.0.0.0:8000", &[]),
        (
            "INFO 03-01 12:00:05 metrics.py:345] Avg prompt throughput: 404.0 tokens/s, Running: 8 reqs, Swapped: 0 reqs, Pending: 0 reqs, GPU KV cache usage: 50.0%",
            &[],
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB",
            &[OutOfMemory],
        ),
        ("RuntimeError: CUDA error: device-side assert triggered", &[CudaError, GeneralError]),
        (
            "RuntimeError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1970, unhandled system error",
            &[CudaError, GeneralError],
        ),
        (
            "OSError: facebook/opt is not a local folder and is not a valid model identifier listed on the hub",
            &[ModelLoadError],
        ),
        ("2026-03-01 12:00:05,123 - app - ERROR - Failed to load model weights", &[ModelLoadError, GeneralError]),
        (
            "2026-03-01 12:00:05,123 WARNING httpx: HTTP Request failed with status 429",
            &[Http4xx, GeneralError, GeneralWarning],
        ),
        (
            "requests.exceptions.ReadTimeout: HTTPConnectionPool(host='n', port=5000): Read timed out. (read timeout=30)",
            &[Timeout],
        ),
        ("asyncio.exceptions.TimeoutError", &[Timeout]),
        ("BrokenPipeError: [Errno 32] Broken pipe", &[ConnectionReset]),
        // Slurm
        (
            "slurmstepd: error: *** JOB 4711 ON mel2101 CANCELLED AT 2026-03-01T12:00:05 DUE TO TIME LIMIT ***",
            &[SlurmError, GeneralError],
        ),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.batch. Some of the step tasks have been OOM Killed.",
            &[OutOfMemory, SlurmError, GeneralError],
        ),
        ("srun: error: mel2101: task 0: Exited with exit code 1", &[SlurmError, GeneralError]),
        ("srun: job 4711 queued and waiting for resources", &[]),
        // Go, glog, kernel
        ("{\"level\":\"error\",\"ts\":1772366405.123,\"msg\":\"context deadline exceeded\"}", &[Timeout, GeneralError]),
        ("2026-03-01T12:00:05.123+0100\tWARN\tgrpc/server.go:12\tclient sent 503 bytes", &[GeneralWarning]),
        ("E0301 12:00:05.123456    42 main.cc:7] cannot open the port 5000", &[GeneralError]),
        (
            "Memory cgroup out of memory: Killed process 4242 (redis-server) total-vm:1000kB, anon-rss:900kB",
            &[OutOfMemory],
        ),
        ("NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.", &[CudaError]),
        ("\u{1b}[31mERROR\u{1b}[0m something", &[GeneralError]),
        ("HTTP/1.1 502 Bad Gateway", &[Http502503]),
        ("upstream returned 503 Service Unavailable", &[Http502503]),
        ("Error 404: Not Found", &[Http4xx, GeneralError]),
        ("{\"status\":503,\"path\":\"/x\"}", &[Http502503]),
        ("request failed with status 503 for /x", &[Http502503, GeneralError]),
        ("[GIN] 2026/03/01 - 12:00:05 | 500 |  1.2ms |  127.0.0.1 | POST     \"/api/generate\"", &[Http500]),
        ("[GIN] 2026/03/01 - 12:00:05 | 200 |  500ms |  127.0.0.1 | POST     \"/api/generate\"", &[]),
    ];
    let mut wrong = Vec::new();
    for (line, expected) in cases {
        let mut found = class::classify(&plain(line));
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{line}\n  found {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_and_denials_are_no_issue() {
    for line in [
        "listening on port 5000",
        "Server listening, HTTP: 443",
        "http: 500 connections open",
        "status 500 workers idle",
        "response code 500 lookup table",
        "listening on 0.0.0.0:8000 (pid 404)",
        "request took 404 ms",
        "took 500ms, 503 bytes, 404 rows",
        "processed 500 requests",
        "loaded 503 of 503 shards",
        "0 errors, 0 warnings",
        "error_count=0",
        "errors: 0",
        "error: 0",
        "errors=0 timeouts=0 failed=0",
        "\"errors\": 0",
        "error rate: 0.00%",
        "error rate 0.0 %",
        "no failures",
        "use this to avoid errors",
        "no error",
        "finished without errors",
        "failed: 0",
        "0 failed",
        "error=none",
        "err=<nil> error=<nil>",
        "timeout=30",
        "timeout: 60s",
        "keepalive_timeout 65;",
        "using a timeout of 30 seconds".strip_suffix(" of 30 seconds").map_or("", |_| "client_body_timeout 60"),
        "access_log /var/log/nginx/access.log; error_log /var/log/nginx/error.log",
        "GET /errors.html",
        "oom_score_adj is 0",
        "oom_kill_disable 0",
        "swap space: 4 GiB",
        "memory usage: 12 %",
        "gpu_memory_utilization=0.90",
        "status: 200",
        "version 5.0.3, build 404",
        "10.4.0.4 joined",
        "id=4f-500-a 500-a",
        "HTTP/1.1 200 OK",
    ] {
        let found = class::classify(line);
        assert!(found.iter().all(|class| *class == Success), "{line}: {found:?}");
    }
    for line in ["service is not ready", "unhealthy", "success: 0"] {
        assert_eq!(class::classify(line), [], "{line}");
    }
}

#[test]
fn times_of_all_forms() {
    for (line, expected) in [
        ("18:M 01 Mar 2026 12:00:05.123 * x", Some("2026-03-01T12:00:05.123")),
        ("2026-03-01 12:00:05.123 UTC [77] x", Some("2026-03-01T12:00:05.123Z")),
        ("2026/03/01 12:00:05 [error] x", Some("2026-03-01T12:00:05")),
        ("10.0.0.9 - - [01/Mar/2026:12:00:05 +0100] \"GET", Some("2026-03-01T11:00:05Z")),
        ("2026-03-01 12:00:05,123 - app - ERROR", Some("2026-03-01T12:00:05.123")),
        ("INFO 03-01 12:00:05 api_server.py:1] x", Some("2026-03-01T12:00:05")),
        ("E0301 12:00:05.123456    42 main.cc:7] x", Some("2026-03-01T12:00:05.123")),
        ("2026-03-01T12:00:05.123+0100\tINFO", Some("2026-03-01T11:00:05.123Z")),
        ("2026-03-01T12:00:05Z x", Some("2026-03-01T12:00:05Z")),
        ("{\"level\":\"info\",\"ts\":1772366405.123}", Some("2026-03-01T12:00:05.123Z")),
        ("*** JOB 1 ON n CANCELLED AT 2026-03-01T12:00:05 DUE TO", Some("2026-03-01T12:00:05")),
        ("Mar  1 12:00:05 host kernel: x", Some("2026-03-01T12:00:05")),
        ("12:00:05 x", None),
        ("2026-13-45 12:00:05", None),
        ("id 120260301 12:00:05", None),
        ("", None),
    ] {
        assert_eq!(time::find(line, 2026).map(|time| time.to_string()).as_deref(), expected, "{line}");
    }
}

#[test]
fn counts_times_and_samples() {
    let refused: String = (10..30)
        .map(|second| format!("2026/03/01 12:00:{second} [error] connect() failed (111: Connection refused)\n"))
        .collect();
    let long = format!("ERROR {}\n", "ü".repeat(1000));
    let report = read_logs(near(), [("a.log", refused.as_str()), ("b.log", refused.as_str()), ("c.log", &long)]);
    let issue = &report.issues[0];
    assert_eq!((issue.class, issue.count), (ConnectionRefused, 40));
    assert_eq!(issue.first.as_deref(), Some("2026-03-01T12:00:10"));
    assert_eq!(issue.last.as_deref(), Some("2026-03-01T12:00:29"));
    let places: Vec<_> = issue.samples.iter().map(|sample| (sample.file.as_str(), sample.line)).collect();
    assert_eq!(places, [("a.log", 1), ("a.log", 2), ("a.log", 3), ("b.log", 1), ("b.log", 2)]);
    assert_eq!((report.lines, report.errors, report.warnings), (41, 40, 0), "the general class is in no total");
    let general = report.issues.iter().find(|issue| issue.class == GeneralError).expect("there");
    assert_eq!(general.count, 41);
    assert!(general.samples.iter().all(|sample| sample.text.chars().count() <= 200));
    assert_eq!(report.specific().count(), 1);
}

proptest! {
    #[test]
    fn any_line_is_read(lines in proptest::collection::vec("\\PC{0,300}|[ -~\\x00-\\x1f]{0,200}", 0..8)) {
        let mut reader = LogReader::new(near());
        reader.begin("x");
        for line in &lines {
            reader.line(line);
        }
        let report = reader.finish();
        prop_assert_eq!(report.lines, lines.len() as u64);
        prop_assert!(report.errors + report.warnings <= report.lines);
    }
}
