//! Benchmarks whose series follow by hand.

use serde_json::json;

use super::*;

/// One benchmark: execution, point, swept values, resolved recipe; clients as the recipe says.
fn run(execution: &str, point: usize, swept: Value, resolved: Value) -> Run {
    let clients = resolved.pointer("/benchmarks/num_clients").and_then(Value::as_u64).unwrap_or(1);
    let rate = resolved.pointer("/benchmarks/load/rate");
    serde_json::from_value(json!({
        "schema": 1, "benchmark_id": "BM-20260301-001", "status": "completed",
        "created_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:01:00Z",
        "campaign": {"name": "c", "execution": execution, "point": point, "points": 9, "repetition": 1, "repetitions": 3, "swept": swept},
        "target": {"name": "local", "kind": "local"},
        "tool": {"name": "runner", "version": "0", "binary_sha256": null},
        "git_commit": null, "recipe_hash": "", "recipe": {"file": "f", "text": "", "resolved": resolved},
        "service": {"name": "redis", "type": "redis", "version": "7.0", "image": null, "command": [], "program_sha256": null,
            "started_as": "child", "hostname": null, "port": null, "ready_after_s": null, "exit": null},
        "client": {"name": "c", "type": "redis_stress", "num_clients": clients, "threads": 1,
            "load": if rate.is_some() { json!({"arrival": {"model": "constant", "rate": rate}}) } else { json!({}) },
            "sequence_digest": null},
        "nodes": [], "seeds": {"campaign": 1, "benchmark": 1}, "events": []
    }))
    .expect("a run")
}

fn clients(count: u32) -> Value {
    json!({"service": {"type": "redis", "settings": {"maxmemory": "1g"}}, "benchmarks": {"num_clients": count, "duration": 2}})
}

/// The loads of a series with the indices of their benchmarks.
type Loads = Vec<(f64, Vec<usize>)>;

/// Labels and loads.
fn found(runs: &[Run], along: Along<'_>) -> Vec<(String, Loads)> {
    let runs: Vec<&Run> = runs.iter().collect();
    let points = |one: Series| one.points.into_iter().map(|point| (point.load, point.members)).collect();
    series(&runs, along).into_iter().map(|one| (one.label.clone(), points(one))).collect()
}

#[test]
fn benchmarks_that_differ_in_an_unswept_load_are_points_and_no_repetitions() {
    // Two recipes of one point each, run apart; and two recipe files of one campaign.
    let apart = [run("e1", 0, json!({}), clients(4)), run("e2", 0, json!({}), clients(64))];
    let files = [
        run("e1", 0, json!({"recipe": "low.yaml"}), clients(4)),
        run("e1", 1, json!({"recipe": "high.yaml"}), clients(64)),
    ];
    // A swept load and one that is not are the same axis.
    let swept = [run("e1", 0, json!({"benchmarks.num_clients": 4}), clients(4)), run("e2", 0, json!({}), clients(64))];
    for runs in [apart, files, swept] {
        assert_eq!(found(&runs, Along::Load), [(String::new(), vec![(4.0, vec![0]), (64.0, vec![1])])]);
    }
    // A swept section that holds the load.
    let rate = |point: usize, rate: u32| {
        let load = json!({"model": "poisson", "rate": rate});
        run("e", point, json!({"benchmarks.load": load}), json!({"benchmarks": {"num_clients": 8, "load": load}}))
    };
    let rates = [rate(0, 100), rate(1, 200)];
    assert_eq!(found(&rates, Along::Load), [(String::new(), vec![(100.0, vec![0]), (200.0, vec![1])])]);
    let again = [run("e1", 0, json!({}), clients(4)), run("e2", 0, json!({}), clients(4))];
    assert_eq!(found(&again, Along::Load), [(String::new(), vec![(4.0, vec![0, 1])])]);
}

#[test]
fn another_configuration_is_another_series_with_a_name() {
    let mut bigger = clients(4);
    bigger["service"]["settings"]["maxmemory"] = json!("2g");
    let settings = [run("e1", 0, json!({}), clients(4)), run("e2", 0, json!({}), bigger)];
    let names: Vec<String> = found(&settings, Along::Load).into_iter().map(|one| one.0).collect();
    assert_eq!(names, ["maxmemory = 1g", "maxmemory = 2g"]);

    let mut newer = run("e2", 0, json!({}), clients(4));
    newer.service.version = Some("7.2".to_owned());
    let versions = [run("e1", 0, json!({}), clients(4)), newer];
    let names: Vec<String> = found(&versions, Along::Load).into_iter().map(|one| one.0).collect();
    assert_eq!(names, ["version = 7.0", "version = 7.2"]);

    let rates = json!({"benchmarks": {"num_clients": 4, "load": {"rate": 100}}});
    let kinds = [run("e1", 0, json!({}), json!({"benchmarks": {"num_clients": 4}})), run("e2", 0, json!({}), rates)];
    assert_eq!(found(&kinds, Along::Load).len(), 2, "clients and requests per second share no axis");

    let crossed: Vec<Run> = [(1, 4), (1, 64), (8, 4), (8, 64)]
        .into_iter()
        .enumerate()
        .map(|(point, (pipeline, count))| {
            let swept = json!({"client.settings.pipeline": pipeline, "benchmarks.num_clients": count});
            run("e", point, swept, clients(count))
        })
        .collect();
    let expected = [("pipeline = 1", [0, 1]), ("pipeline = 8", [2, 3])];
    let expected = expected.map(|(name, [low, high])| (name.to_owned(), vec![(4.0, vec![low]), (64.0, vec![high])]));
    assert_eq!(found(&crossed, Along::Load), expected);
}

#[test]
fn what_a_failed_benchmark_does_not_know_does_not_set_it_apart() {
    let mut failed = run("e", 1, json!({"benchmarks.num_clients": 64}), clients(64));
    failed.service.version = None;
    let runs = [run("e", 0, json!({"benchmarks.num_clients": 4}), clients(4)), failed];
    assert_eq!(found(&runs, Along::Load).len(), 1);
}

#[test]
fn measuring_longer_is_the_same_configuration_but_two_points_are_two() {
    let longer = |count: u32, seconds: u32| {
        let mut resolved = clients(count);
        resolved["benchmarks"]["duration"] = json!(seconds);
        resolved
    };
    let apart = [run("e1", 0, json!({}), longer(4, 2)), run("e2", 0, json!({}), longer(64, 9))];
    assert_eq!(found(&apart, Along::Load).len(), 1);
    // `combine: zip`: more clients, and longer.
    let zip = |point: usize, count: u32| {
        run(
            "e",
            point,
            json!({"benchmarks.num_clients": count, "benchmarks.duration": count * 2}),
            longer(count, count * 2),
        )
    };
    assert_eq!(found(&[zip(0, 1), zip(1, 2)], Along::Load).len(), 1);
    // Crossed: the same load twice.
    let cross =
        |point: usize, seconds: u32| run("e", point, json!({"benchmarks.duration": seconds}), longer(4, seconds));
    assert_eq!(found(&[cross(0, 2), cross(1, 9)], Along::Load).len(), 2);
    // The same written in two files.
    let file = |point: usize, name: &str| run("e", point, json!({"recipe": name}), clients(4));
    let names: Vec<String> =
        found(&[file(0, "a.yaml"), file(1, "b.yaml")], Along::Load).into_iter().map(|one| one.0).collect();
    assert_eq!(names, ["", "(2)"]);
}

#[test]
fn along_another_axis_what_follows_from_it_is_no_difference() {
    let model = |point: usize, name: &str| {
        let resolved = json!({"service": {"settings": {"model": name}}, "client": {"settings": {"model": name}}});
        run("e", point, json!({"service.settings.model": name}), resolved)
    };
    let found = found(&[model(0, "a"), model(1, "b"), model(0, "a")], Along::Swept("service.settings.model"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.iter().map(|point| point.1.clone()).collect::<Vec<_>>(), [vec![0, 2], vec![1]]);
}
