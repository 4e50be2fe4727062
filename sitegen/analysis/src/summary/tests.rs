//! The summary against counting and sorting by hand.

use std::collections::BTreeMap;

use archive::{Request, Severity, Status};
use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::serialization::Deserializer;
use proptest::prelude::*;

use super::*;

fn facts(arrival: Arrival, window_s: [f64; 2]) -> Facts {
    Facts {
        service_type: "redis".into(),
        started_at: Timestamp::from_unix_us(1_772_366_400_000_000),
        window_s,
        arrival,
        timed_clients: None,
        most_in_flight: None,
        slo: BTreeMap::new(),
        calibration: None,
        clocks: None,
        service_restarts: None,
        generator: None,
        repeats_prompts: false,
        status: Status::Completed,
    }
}

fn summary_of(facts: &Facts, requests: &[Request]) -> Summary {
    summarise(facts, || Ok::<_, RecordError>(requests.iter().cloned().map(Ok))).expect("sound records")
}

fn success(start_s: f64, latency_s: f64) -> Request {
    Request { operation: "GET".into(), start_s, latency_s, success: true, ..Request::default() }
}

/// numpy's default: linear interpolation at rank (n − 1)·q.
fn naive_percentile(sorted: &[u64], permille: u64) -> f64 {
    let scaled = (sorted.len() as u64 - 1) * permille;
    let (low, high) = (sorted[(scaled / 1000) as usize] as f64, sorted[scaled.div_ceil(1000) as usize] as f64);
    (low + (high - low) * (scaled % 1000) as f64 / 1000.0) / 1e9
}

fn assert_close(value: Option<f64>, expected: f64) {
    let value = value.expect("defined");
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{value} is not {expected}");
}

fn assert_exact(latencies_ns: &[u64]) {
    let requests: Vec<_> = latencies_ns.iter().map(|ns| success(0.0, *ns as f64 / 1e9)).collect();
    let figures = summary_of(&facts(Arrival::Closed, [0.0, 1.0]), &requests).latency_s.figures;
    let mut sorted = latencies_ns.to_vec();
    sorted.sort_unstable();
    let count = sorted.len() as f64;
    let mean = sorted.iter().map(|ns| *ns as f64).sum::<f64>() / count;
    let squares = sorted.iter().map(|ns| (*ns as f64 - mean).powi(2)).sum::<f64>();
    assert_eq!(figures.count, sorted.len() as u64);
    assert_close(figures.avg, mean / 1e9);
    assert!((figures.std.expect("defined") - (squares / (count - 1.0).max(1.0)).sqrt() / 1e9).abs() < 1e-9);
    for (value, permille) in
        [(figures.p50, 500), (figures.p90, 900), (figures.p95, 950), (figures.p99, 990), (figures.p999, 999)]
    {
        assert_close(value, naive_percentile(&sorted, permille));
    }
    assert_close(figures.min, sorted[0] as f64 / 1e9);
    assert_close(figures.max, sorted[sorted.len() - 1] as f64 / 1e9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn percentiles_are_those_of_a_sorted_list(
        latencies in proptest::collection::vec(
            prop_oneof![0_u64..50, 1_000..2_000_u64, 1_000_000..1_100_000_u64, 0..2_000_000_000_000_u64], 1..400),
    ) {
        assert_exact(&latencies);
    }
}

#[test]
fn many_nearly_equal_long_times_take_a_third_reading_and_are_exact() {
    // All in one bucket of the histogram, which is wider than one search holds.
    let latencies: Vec<u64> = (0..80_000_u64).map(|i| 30_000_000_000 + (i * 7_919) % 9_999_991).collect();
    assert_exact(&latencies);
}

#[test]
fn equal_values_cost_nothing_and_come_back() {
    assert_exact(&vec![123_456_789; 100_000]);
    assert_exact(&[0]);
}

#[test]
fn failures_and_warm_up_are_in_no_latency() {
    let mut requests: Vec<_> = (0..40).map(|i| success(f64::from(i) * 0.1, 0.01)).collect();
    requests[0].warmup = true;
    requests[0].latency_s = 9.0;
    for failed in [3, 5, 7] {
        requests[failed].success = false;
        requests[failed].latency_s = 5.0;
        requests[failed].error = Some(if failed == 3 { "refused" } else { "timeout" }.into());
    }
    let summary = summary_of(&facts(Arrival::Closed, [0.1, 4.1]), &requests);
    assert_eq!((summary.total_requests, summary.successful_requests, summary.failed_requests), (39, 36, 3));
    assert_eq!(summary.warmup_requests, 1);
    assert_close(summary.requests_per_second, 9.0);
    assert_close(summary.success_rate, 36.0 / 39.0 * 100.0);
    assert_close(summary.latency_s.figures.max, 0.01);
    assert_eq!(summary.error_summary, BTreeMap::from([("refused".into(), 1), ("timeout".into(), 2)]));
    assert_eq!(summary.service_time_s, None);
    assert_eq!(summary.test_start_time.expect("known").to_string(), "2026-03-01T12:00:00.100000Z");
    assert_eq!(summary.timeline.completed.iter().sum::<u64>(), 40);
    let failures = summary.findings.iter().find(|finding| finding.code == "failures").expect("above 1 %");
    assert_eq!(failures.severity, Severity::Warning);
    assert_eq!(failures.message, "3 of 39 requests failed (7.69 %); most often (2): timeout");
}

#[test]
fn an_operation_is_measured_over_its_own_time() {
    let mut requests = Vec::new();
    for i in 0..100 {
        let (operation, start) = if i < 50 { ("SET", f64::from(i) * 0.02) } else { ("GET", 1.0 + f64::from(i) * 0.06) };
        requests.push(Request { operation: operation.into(), ..success(start, 0.02) });
    }
    let summary = summary_of(&facts(Arrival::Closed, [0.0, 10.0]), &requests);
    assert_close(summary.requests_per_second, 10.0);
    assert_close(summary.operations["SET"].throughput, 50.0 / 1.0);
    assert_close(summary.operations["GET"].throughput, 50.0 / (49.0 * 0.06 + 0.02));
    assert_close(summary.operations["SET"].driven_s, 1.0);
    let alone = summary_of(&facts(Arrival::Closed, [0.0, 10.0]), &requests[..50]);
    assert_eq!(alone.operations["SET"].driven_s, Some(10.0));
    assert_eq!(alone.operations["SET"].throughput, alone.requests_per_second);
}

#[test]
fn bytes_and_vectors_are_told_over_the_time_of_their_operation() {
    // Two seconds of uploads, then eight of searches; the last upload fails.
    let mut requests = Vec::new();
    for i in 0..20 {
        let upload = Request { vectors: 64, bytes_sent: 1000, bytes_received: 10, ..success(f64::from(i) * 0.1, 0.1) };
        requests.push(Request { operation: "upload".into(), success: i < 19, ..upload });
    }
    for i in 0..80 {
        let search = Request { bytes_sent: 100, bytes_received: 300, ..success(2.0 + f64::from(i) * 0.1, 0.1) };
        requests.push(Request { operation: "search".into(), ..search });
    }
    let summary = summary_of(&facts(Arrival::Closed, [0.0, 10.0]), &requests);
    let (upload, search) = (&summary.operations["upload"], &summary.operations["search"]);
    assert_close(upload.driven_s, 2.0);
    assert_close(upload.vectors_per_second, 19.0 * 64.0 / 2.0);
    assert_close(upload.bytes_sent_per_second, 9500.0);
    assert_close(search.driven_s, 8.0);
    assert_close(search.bytes_received_per_second, 3000.0);
    assert_eq!(search.vectors_per_second, None);
    // Over the whole window these are less: it is not the time in which they were driven.
    assert_close(summary.bytes_received_per_second, (19.0 * 10.0 + 80.0 * 300.0) / 10.0);
}

#[test]
fn prompts_of_another_length_than_was_asked_for_are_remarked() {
    for (had, expect) in [(32, false), (34, false), (45, true), (20, true)] {
        let request = |i: i32| Request {
            input_tokens: Some(had),
            asked_input_tokens: Some(32),
            ..success(f64::from(i) * 0.005, 0.004)
        };
        let requests: Vec<_> = (0..2000).map(request).collect();
        let summary = summary_of(&facts(Arrival::Closed, [0.0, 10.0]), &requests);
        assert_eq!(summary.avg_asked_input_tokens, Some([32.0, had as f64]));
        let found = summary.findings.iter().find(|finding| finding.code == "prompt_length");
        assert_eq!(found.is_some(), expect, "{had}");
    }
}

#[test]
fn open_loop_tells_response_from_service_time() {
    let requests: Vec<_> = (0..100)
        .map(|i| {
            let intended = f64::from(i) * 0.1;
            Request { intended_s: Some(intended), ..success(intended + 0.004, 0.02) }
        })
        .collect();
    let facts = facts(Arrival::Open { requested_rate: 10.0 }, [0.0, 10.0]);
    let summary = summary_of(&facts, &requests);
    assert_close(summary.latency_s.figures.p50, 0.02);
    assert_close(summary.service_time_s.as_ref().expect("open loop").figures.p50, 0.016);
    assert_close(summary.send_lag_s.as_ref().expect("open loop").figures.p99, 0.004);
    assert_eq!(summary.requested_rate, Some(10.0));
    let codes: Vec<_> = summary.findings.iter().map(|finding| (finding.code.as_str(), finding.severity)).collect();
    assert_eq!(codes, [("send_lag", Severity::Warning), ("samples", Severity::Note)]);
}

#[test]
fn a_missed_rate_is_named() {
    for (stretch, expected) in [(1.0, None), (1.05, Some(Severity::Warning)), (1.5, Some(Severity::Invalid))] {
        let requests: Vec<_> = (0..2000)
            .map(|i| {
                let intended = f64::from(i) * 0.01;
                // Slower sending, with the answers far slower still, so that only the rate is at fault.
                Request { intended_s: Some(intended), ..success(intended * stretch, 500.0) }
            })
            .collect();
        let facts = facts(Arrival::Open { requested_rate: 100.0 }, [0.0, 20.0]);
        let summary = summary_of(&facts, &requests);
        let rate = summary.findings.iter().find(|finding| finding.code == "rate");
        assert_eq!(rate.map(|finding| finding.severity), expected, "{stretch}");
    }
}

#[test]
fn limits_goodput_and_tokens() {
    let requests: Vec<_> = (0..200)
        .map(|i| Request {
            ttft_s: Some(if i % 10 == 0 { 0.4 } else { 0.1 }),
            output_tokens: Some(11),
            input_tokens: Some(50),
            chunk_gaps_us: vec![90_000; 10],
            bytes_received: 100,
            ..success(f64::from(i) * 0.05, 1.1)
        })
        .collect();
    let slo = [("ttft_p95_s", 0.2), ("latency_p99_s", 2.0), ("success_rate", 99.0), ("tpot_p75_s", 0.1)];
    let facts =
        Facts { slo: slo.map(|(name, limit)| (name.to_owned(), limit)).into(), ..facts(Arrival::Closed, [0.0, 10.0]) };
    let summary = summary_of(&facts, &requests);
    let met: Vec<_> = summary.slo.iter().map(|outcome| (outcome.metric.as_str(), outcome.met)).collect();
    let expected = [
        ("latency_p99_s", Some(true)),
        ("success_rate", Some(true)),
        ("tpot_p75_s", Some(true)),
        ("ttft_p95_s", Some(false)),
    ];
    assert_eq!(met, expected);
    let goodput = summary.goodput.expect("defined");
    assert_eq!((goodput.good_requests, goodput.ratio), (180, Some(0.9)));
    assert_close(goodput.requests_per_second, 18.0);
    assert_close(summary.tokens_per_second, 220.0);
    assert_close(summary.avg_input_tokens, 50.0);
    assert_close(summary.bytes_received_per_second, 2000.0);
    assert_close(summary.itl_s.expect("gaps").figures.p99, 0.09);
    assert_close(summary.tpot_s.expect("tokens").figures.p50, 0.1);
    assert_eq!(summary.timeline.output_tokens.iter().sum::<u64>(), 2200);

    // A limit on what was not measured defines neither an outcome nor a goodput.
    let bare: Vec<_> = (0..20).map(|i| success(f64::from(i), 0.1)).collect();
    let summary = summary_of(&facts, &bare);
    assert_eq!(summary.slo[3].met, None);
    assert_eq!(summary.goodput, None);
}

#[test]
fn the_stored_histogram_is_the_sample() {
    let requests: Vec<_> = (1..=1000).map(|i| success(0.0, f64::from(i) / 1e3)).collect();
    let histogram = summary_of(&facts(Arrival::Closed, [0.0, 2.0]), &requests).latency_s.histogram.expect("values");
    assert_eq!(histogram.unit_s, 1e-9);
    let bytes = BASE64_STANDARD.decode(&histogram.hdr_v2_base64).expect("base64");
    let read: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("V2");
    assert_eq!(read.len(), 1000);
    assert!((read.value_at_quantile(0.5) as f64 / 5e8 - 1.0).abs() < 1e-3);
}

#[test]
fn nothing_measured_is_null_and_invalid() {
    let summary = summary_of(&facts(Arrival::Closed, [0.0, 0.0]), &[]);
    assert_eq!((summary.total_requests, summary.success_rate, summary.requests_per_second), (0, None, None));
    assert_eq!((summary.latency_s.figures.p50, summary.latency_s.histogram.is_none()), (None, true));
    assert!(!summary.is_valid());

    let failed = Request { success: false, error: Some("refused".into()), ..success(0.0, 0.1) };
    let summary = summary_of(&facts(Arrival::Closed, [0.0, 1.0]), &[failed]);
    assert_eq!((summary.success_rate, summary.requests_per_second), (Some(0.0), Some(0.0)));
    assert_eq!(summary.findings[0].message, "all 1 requests failed");
}

#[test]
fn the_generator_and_the_status_are_judged() {
    let requests: Vec<_> = (0..2000).map(|i| success(f64::from(i) * 0.005, 0.01)).collect();
    let generator = Generator { cpu_s: 19.0, wait_s: 0.0, threads: 2, longest_stall_s: 0.25 };
    let judged = Facts { generator: Some(generator), status: Status::Failed, ..facts(Arrival::Closed, [0.0, 10.0]) };
    let messages: Vec<_> = summary_of(&judged, &requests).findings.into_iter().map(|finding| finding.message).collect();
    assert_eq!(
        messages,
        [
            "the benchmark failed before its load was complete",
            "client-bound: the load generator used 95.0 % of its 2 threads, so that it may have set the limit and not the \
         service",
            "an event loop of the load generator stood still for up to 250 ms, beside a p99 of 10.0 ms",
        ]
    );
    assert!(summary_of(&facts(Arrival::Closed, [0.0, 10.0]), &requests).findings.is_empty());
    let found = |judged: Facts| summary_of(&judged, &requests).findings.into_iter().next();
    for (cpu_s, wait_s, expect) in [
        (9.0, 0.0, None),
        (4.0, 5.5, Some("used 40.0 % of its one thread, and waited 55.0 % of the time for a core")),
        (0.0, 8.9, None),
    ] {
        let generator = Some(Generator { cpu_s, wait_s, threads: 1, longest_stall_s: 0.0 });
        let finding = found(Facts { generator, ..facts(Arrival::Closed, [0.0, 10.0]) });
        assert_eq!(finding.is_some(), expect.is_some(), "{finding:?}");
        assert!(finding.is_none_or(|finding| finding.message.contains(expect.unwrap_or_default())));
    }
}

#[test]
fn several_clocks_and_a_service_begun_anew_are_judged() {
    let requests: Vec<_> = (0..2000).map(|i| success(f64::from(i) * 0.005, 0.01)).collect();
    let judged = |judged: Facts, code: &str| {
        let summary = summary_of(&judged, &requests);
        let gate = summary.gates.iter().find(|gate| gate.code == code).expect("listed").clone();
        (gate.outcome, summary.findings.into_iter().find(|finding| finding.code == code).map(|found| found.severity))
    };
    use archive::GateOutcome::{Failed, NotApplicable, Passed};
    let closed = || facts(Arrival::Closed, [0.0, 10.0]);
    assert_eq!(judged(closed(), "clock_offset"), (NotApplicable, None));
    // Half an hour of difference is corrected for; what counts is how well it is known.
    for (error_s, expect) in [
        (1e-4, (Passed, None)),
        (0.05, (Passed, None)),
        (0.2, (Failed, Some(Severity::Warning))),
        (1.5, (Failed, Some(Severity::Invalid))),
    ] {
        let clock = |error_s| NodeClock { offset_s: -1800.0, error_s };
        let clocks = Some(vec![clock(1e-5), clock(error_s)]);
        assert_eq!(judged(Facts { clocks, ..closed() }, "clock_offset"), expect, "{error_s}");
    }
    for (service_restarts, expect) in
        [(None, (NotApplicable, None)), (Some(0), (Passed, None)), (Some(2), (Failed, Some(Severity::Invalid)))]
    {
        assert_eq!(judged(Facts { service_restarts, ..closed() }, "restarted"), expect);
    }
}

#[test]
fn a_prompt_cache_that_nobody_asked_for_is_remarked() {
    let requests = |cached: u64| -> Vec<_> {
        let request =
            |i| Request { input_tokens: Some(200), cached_tokens: Some(cached), ..success(f64::from(i), 0.1) };
        (0..2000).map(request).collect()
    };
    for (cached, repeats_prompts, expect) in
        [(16, false, false), (21, false, true), (150, true, false), (0, false, false)]
    {
        let facts = Facts { repeats_prompts, ..facts(Arrival::Closed, [0.0, 2000.0]) };
        let summary = summary_of(&facts, &requests(cached));
        let found = summary.findings.iter().find(|finding| finding.code == "prompt_cache");
        assert_eq!(found.is_some(), expect, "{cached}");
        assert!(found.is_none_or(|finding| finding.severity == Severity::Warning));
        let gate = summary.gates.iter().find(|gate| gate.code == "prompt_cache").expect("listed");
        let outcome = match (repeats_prompts, expect) {
            (true, _) => archive::GateOutcome::NotApplicable,
            (_, true) => archive::GateOutcome::Failed,
            (_, false) => archive::GateOutcome::Passed,
        };
        assert_eq!(gate.outcome, outcome, "{cached}: {}", gate.detail);
    }
}

#[test]
fn support_ends_where_ten_values_are_left() {
    for (count, unsupported) in [
        (19, &["p50", "p90", "p95", "p99", "p99.9"][..]),
        (20, &["p90", "p95", "p99", "p99.9"]),
        (999, &["p99", "p99.9"]),
        (1000, &["p99.9"]),
        (10_000, &[]),
    ] {
        let requests = vec![success(0.0, 0.1); count];
        let figures = summary_of(&facts(Arrival::Closed, [0.0, 1.0]), &requests).latency_s.figures;
        assert_eq!(figures.unsupported, unsupported, "{count}");
    }
}

#[test]
fn impossible_records_and_limits_are_refused() {
    let closed = facts(Arrival::Closed, [0.0, 1.0]);
    let refused = |facts: &Facts, request: Request| {
        let records = [request];
        summarise(facts, || Ok::<_, RecordError>(records.iter().cloned().map(Ok))).expect_err("refused").to_string()
    };
    for request in [success(0.0, -0.1), success(f64::NAN, 0.1), success(0.0, 1e9)] {
        let message = refused(&closed, request);
        assert!(message.starts_with("request 0 of client 0 has an impossible"), "{message}");
    }
    let slo = BTreeMap::from([("p99".to_owned(), 1.0)]);
    assert!(refused(&Facts { slo, ..closed.clone() }, success(0.0, 0.1)).starts_with("`p99` is no limit"));

    // The first reading sees a value that the second does not.
    let reading = std::cell::Cell::new(0);
    let changing = || {
        reading.set(reading.get() + 1);
        Ok::<_, RecordError>(std::iter::once(Ok(success(0.0, f64::from(reading.get())))))
    };
    assert_eq!(summarise(&closed, changing).expect_err("changed"), RecordError::Changed);
}

#[test]
fn clients_that_begin_together_without_a_warm_up_are_remarked() {
    let request = |client: u32, start_s: f64, warmup: bool| Request {
        client,
        start_s,
        latency_s: 6.0,
        success: true,
        warmup,
        operation: "GET".into(),
        ..Request::default()
    };
    // 64 clients, 6 s a request, 10 s: two requests of each start in the window, though 1.67 have time in it.
    let cold: Vec<_> = (0..64).flat_map(|client| [request(client, 0.0, false), request(client, 6.0, false)]).collect();
    let timed = Facts { timed_clients: Some(64), ..facts(Arrival::Closed, [0.0, 10.0]) };
    let codes = |facts: &Facts, requests: &[Request]| -> Vec<String> {
        summary_of(facts, requests).findings.into_iter().map(|finding| finding.code).collect()
    };
    assert!(codes(&timed, &cold).contains(&"cold_start".to_owned()));
    let warm: Vec<_> = cold.iter().cloned().chain([request(0, 0.0, true)]).collect();
    assert!(!codes(&timed, &warm).contains(&"cold_start".to_owned()));
    assert!(!codes(&facts(Arrival::Closed, [0.0, 10.0]), &cold).contains(&"cold_start".to_owned()));
}

#[test]
fn a_service_past_its_capacity_is_told_from_a_slow_generator() {
    // 100 requests a second are offered to four slots of 0.1 s, with four requests in flight: 40 a second are answered.
    let requests: Vec<_> = (0..800)
        .map(|i| {
            let (intended, start) = (f64::from(i) * 0.01, f64::from(i / 4) * 0.1);
            Request { intended_s: Some(intended), ..success(start, start - intended + 0.1) }
        })
        .collect();
    let requests: Vec<_> = requests.into_iter().map(|one| Request { output_tokens: Some(3), ..one }).collect();
    let slo = [("requests_per_second", 80.0), ("tokens_per_second", 240.0), ("latency_p99_s", 100.0)];
    let open = |most_in_flight, cpu_s| Facts {
        most_in_flight,
        generator: Some(Generator { cpu_s, wait_s: 0.0, threads: 1, longest_stall_s: 0.0 }),
        slo: slo.map(|(metric, limit)| (metric.to_owned(), limit)).into(),
        ..facts(Arrival::Open { requested_rate: 100.0 }, [0.0, 8.0])
    };
    for (most_in_flight, cpu_s, expected) in [
        (Some(4), 1.0, [("saturated", Severity::Warning)].as_slice()),
        // Twice as many could have been in flight: the generator did not send them.
        (Some(8), 1.0, &[("send_lag", Severity::Invalid), ("rate", Severity::Invalid)]),
        (None, 1.0, &[("send_lag", Severity::Invalid), ("rate", Severity::Invalid)]),
        (Some(4), 7.9, &[("send_lag", Severity::Invalid), ("rate", Severity::Invalid)]),
    ] {
        let summary = summary_of(&open(most_in_flight, cpu_s), &requests);
        let codes: Vec<_> = summary.findings.iter().map(|finding| (finding.code.as_str(), finding.severity)).collect();
        for one in expected {
            assert!(codes.contains(one), "{most_in_flight:?}, {cpu_s}: {:?}", summary.findings);
        }
        let invalid = codes.iter().any(|(_, severity)| *severity == Severity::Invalid);
        assert_eq!(invalid, expected[0].0 != "saturated", "{codes:?}");
        let gate = |code: &str| summary.gates.iter().find(|gate| gate.code == code).map(|gate| gate.outcome);
        let is_saturated = expected[0].0 == "saturated";
        let outcome = if is_saturated { archive::GateOutcome::Failed } else { archive::GateOutcome::Passed };
        assert_eq!(gate("saturated"), Some(outcome), "{:?}", summary.gates);
        assert_eq!(gate("cold_start"), Some(archive::GateOutcome::NotApplicable));
        // The answers of the window, and not all the requests of the window that were answered until 20 s.
        assert!((summary.answered_per_second.expect("open loop") - 40.0).abs() < 1.0);
        assert!((summary.requests_per_second.expect("a window") - 100.0).abs() < 1.0);
        if is_saturated {
            let outcome = |metric: &str| summary.slo.iter().find(|outcome| outcome.metric == metric).expect("asked");
            for (metric, found) in [("requests_per_second", 40.0), ("tokens_per_second", 120.0)] {
                assert!((outcome(metric).value.expect("measured") / found - 1.0).abs() < 0.03, "{metric}");
                assert_eq!(outcome(metric).met, Some(false), "{metric}");
            }
            let rates =
                [summary.goodput.and_then(|goodput| goodput.requests_per_second), summary.operations["GET"].throughput];
            assert!(rates.iter().all(|rate| (rate.expect("a window") - 40.0).abs() < 1.0), "{rates:?}");
        }
    }
}

#[test]
fn what_was_never_sent_is_no_failure_of_a_saturated_service() {
    let mut requests: Vec<_> = (0..800)
        .map(|i| {
            let (intended, start) = (f64::from(i) * 0.01, f64::from(i / 4) * 0.1);
            Request { intended_s: Some(intended), ..success(start, start - intended + 0.1) }
        })
        .collect();
    requests.extend((0..40).map(|i| Request {
        success: false,
        error: Some("not sent".into()),
        intended_s: Some(f64::from(i) * 0.2),
        ..success(f64::from(i) * 0.2, 0.0)
    }));
    let facts = Facts {
        most_in_flight: Some(4),
        generator: Some(Generator { cpu_s: 1.0, wait_s: 0.0, threads: 1, longest_stall_s: 0.0 }),
        ..facts(Arrival::Open { requested_rate: 100.0 }, [0.0, 8.0])
    };
    let gates = summary_of(&facts, &requests).gates;
    let failures = gates.iter().find(|gate| gate.code == "failures").expect("listed");
    assert_eq!(failures.detail, "0 of 800 requests failed; 40 more were never sent");
}
