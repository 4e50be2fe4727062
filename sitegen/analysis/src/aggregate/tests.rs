//! Against sorting by hand, whole and in parts.

use proptest::prelude::*;

use super::*;

fn of(text: &str) -> Aggregate {
    let mut aggregator = Aggregator::default();
    aggregator.scan(text.as_bytes()).expect("requests");
    aggregator.finish(&LE_EDGES_MS)
}

fn foreign(requests: &[(f64, f64, bool)]) -> String {
    let line = |(start, latency, ok): &(f64, f64, bool)| {
        format!("{{\"start_s\":{start:?},\"latency_ms\":{latency:?},\"ok\":{ok}}}\n")
    };
    requests.iter().map(line).collect()
}

#[test]
fn three_requests() {
    let figures = of(&foreign(&[(0.0, 10.0, true), (0.01, 1000.0, false), (0.02, 30.0, true)])).whole;
    assert_eq!((figures.count, figures.ok, figures.failures), (3, 2, 1));
    assert!((figures.duration_s - 1.01).abs() < 1e-12);
    let ok = figures.latency_ok_ms;
    assert_eq!((ok.mean, ok.p50, ok.min, ok.max), (Some(20.0), Some(20.0), Some(10.0), Some(30.0)));
    assert!(
        (ok.sd.expect("defined") - 200_f64.sqrt()).abs() < 1e-12 && (ok.p999.expect("defined") - 29.98).abs() < 1e-12
    );
    assert_eq!(ok.cumulative_le, [0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(figures.latency_all_ms.p50, Some(30.0));
}

#[test]
fn nothing_and_no_time() {
    let none = of("\n");
    assert_eq!((none.whole.count, none.whole.success_rate, none.whole.duration_s), (0, None, 0.0));
    assert_eq!((none.whole.throughput_ok_per_s, none.whole.latency_ok_ms.mean), (None, None));
    let instant = of(&foreign(&[(7.0, 0.0, true), (7.0, 0.0, true)])).whole;
    assert_eq!((instant.duration_s, instant.throughput_all_per_s), (0.0, None));
    assert_eq!((instant.latency_ok_ms.sd, instant.latency_ok_ms.p99), (Some(0.0), Some(0.0)));
    let failed = of(&foreign(&[(0.0, 5.0, false)])).whole;
    assert_eq!(
        (failed.success_rate, failed.throughput_ok_per_s, failed.latency_all_ms.sd),
        (Some(0.0), Some(0.0), None)
    );
}

#[test]
fn by_operation_client_and_phase() {
    let text = r#"
{"client":0,"operation":"SET","warmup":true,"start_s":0.0,"latency_s":9.0,"success":true}
{"client":0,"operation":"SET","start_s":10.0,"latency_s":0.5,"success":true,"output_tokens":7}
{"client":1,"operation":"GET","start_s":10.5,"latency_s":0.5,"success":true,"output_tokens":3}
{"client":1,"operation":"GET","start_s":11.0,"latency_s":1.0,"success":false,"error":"timeout"}
{"client":1,"operation":"GET","phase":"drain","start_s":12.0,"latency_s":3.0,"success":true}
"#;
    let figures = of(text.trim_start());
    assert_eq!((figures.whole.count, figures.whole.duration_s), (4, 5.0));
    assert_eq!(figures.tokens_per_second, Some(2.0));
    assert_eq!(figures.error_summary, BTreeMap::from([("timeout".to_owned(), 1)]));
    assert_eq!(figures.operations.keys().collect::<Vec<_>>(), ["GET", "SET"]);
    assert_eq!((figures.operations["GET"].count, figures.operations["SET"].latency_ok_ms.max), (3, Some(500.0)));
    assert_eq!(figures.phases.keys().collect::<Vec<_>>(), ["drain", "measured", "warmup"]);
    assert_eq!((figures.phases["warmup"].count, figures.phases["measured"].count), (1, 3));
    let second = ClientPart { count: 3, failures: 1, latency_mean_ms: Some(1750.0), latency_max_ms: Some(3000.0) };
    assert_eq!(figures.clients[&1], second);
}

#[test]
fn many_names_are_bounded() {
    let line = |i: usize| {
        format!("{{\"operation\":\"key{i}\",\"start_s\":0,\"latency_ms\":1,\"ok\":false,\"error\":\"id {i}\"}}\n")
    };
    let figures = of(&(0..3000).map(line).collect::<String>());
    assert_eq!(figures.whole.count, 3000);
    assert!(figures.operations.len() <= 1001 && figures.operations[OTHERS].count > 1900);
    assert_eq!(figures.error_summary.values().sum::<u64>(), 3000);
    assert!(figures.error_summary.len() <= 1001);
}

#[test]
fn many_nearly_equal_values_are_told_apart() {
    let requests: Vec<_> =
        (0..600_000_u64).map(|i| (0.0, 30_000.0 + (i * 7919 % 600_000) as f64 / 1e6, true)).collect();
    let figures = of(&foreign(&requests)).whole.latency_ok_ms;
    for (value, permille) in [(figures.p50, 500.0), (figures.p99, 990.0), (figures.p999, 999.0)] {
        let expected = 30_000.0 + 599_999.0 * permille / 1000.0 / 1e6;
        assert!((value.expect("defined") - expected).abs() < 1e-9, "{value:?} is not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn as_by_sorting_and_as_in_parts(
        requests in proptest::collection::vec(
            (0.0..100.0_f64, prop_oneof![0.0..1e5_f64, (0..30_u32).prop_map(f64::from)], any::<bool>()), 1..200),
        cut in 0_usize..200,
    ) {
        let whole = of(&foreign(&requests));
        let mut sorted: Vec<f64> = requests.iter().map(|(_, latency, _)| *latency).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = (sorted.len() - 1) as f64;
        let figures = &whole.whole.latency_all_ms;
        for (value, share) in [(figures.p50, 0.5), (figures.p90, 0.9), (figures.p95, 0.95), (figures.p999, 0.999)] {
            let place = last * share;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil().min(last) as usize]);
            let expected = low + (high - low) * place.fract();
            prop_assert!((value.expect("defined") - expected).abs() <= 1e-9 * expected.max(1e-3), "{share}");
        }
        for (edge, count) in LE_EDGES_MS.iter().zip(&figures.cumulative_le) {
            prop_assert_eq!(*count, sorted.iter().filter(|value| *value <= edge).count() as u64);
        }
        let (one, other) = requests.split_at(cut.min(requests.len()));
        let mut parts = [one, other].map(|part| {
            let mut aggregator = Aggregator::default();
            aggregator.scan(foreign(part).as_bytes()).map(|()| aggregator)
        });
        let other = std::mem::replace(&mut parts[1], Ok(Aggregator::default())).expect("requests");
        let [mut merged, _] = parts.map(|part| part.expect("requests"));
        merged.merge(other);
        let merged = merged.finish(&LE_EDGES_MS).whole;
        prop_assert_eq!(merged.latency_ok_ms.p99, whole.whole.latency_ok_ms.p99);
        prop_assert_eq!((merged.count, merged.ok, merged.duration_s), (whole.whole.count, whole.whole.ok, whole.whole.duration_s));
    }
}
