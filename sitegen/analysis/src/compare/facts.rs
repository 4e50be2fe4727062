//! Everything that archived benchmarks differ in, fact by fact: their recipes, and their environments.
//!
//! Nothing is judged here, and nothing left out but what differs every time: times, ports, process and job numbers.

use std::collections::{BTreeMap, BTreeSet};

use archive::Run;
use serde::Serialize;
use serde_json::Value;

use super::differences::leaves;

/// One fact with other values on the one side than on the other; `–` where a side does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactDifference {
    pub what: String,
    pub a: String,
    pub b: String,
}

/// What differs between two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FactDifferences {
    /// The resolved recipe and the seeds: what was asked for.
    pub recipe: Vec<FactDifference>,
    /// Software and machines: what it ran on.
    pub environment: Vec<FactDifference>,
}

type Facts = Vec<(String, String)>;

impl FactDifferences {
    /// Each side has at least one run; a fact with several values on a side shows them all.
    pub fn between(a: &[&Run], b: &[&Run]) -> Self {
        Self { recipe: differing(a, b, of_recipe), environment: differing(a, b, of_environment) }
    }
}

fn differing(a: &[&Run], b: &[&Run], facts_of: fn(&Run) -> Facts) -> Vec<FactDifference> {
    let sides = [a, b].map(|side| {
        let mut facts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (what, value) in side.iter().flat_map(|run| facts_of(run)) {
            facts.entry(what).or_default().insert(value);
        }
        facts
    });
    let text = |values: Option<&BTreeSet<String>>| match values {
        Some(values) => values.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => "–".to_owned(),
    };
    let names: BTreeSet<&String> = sides.iter().flat_map(BTreeMap::keys).collect();
    let different = names.into_iter().filter(|name| sides[0].get(*name) != sides[1].get(*name));
    different
        .map(|name| FactDifference { what: name.clone(), a: text(sides[0].get(name)), b: text(sides[1].get(name)) })
        .collect()
}

fn of_recipe(run: &Run) -> Facts {
    let mut facts = leaves(&run.recipe.resolved);
    facts.push(("seeds.campaign".to_owned(), run.seeds.campaign.to_string()));
    facts.push(("seeds.benchmark".to_owned(), run.seeds.benchmark.to_string()));
    facts
}

fn of_environment(run: &Run) -> Facts {
    let mut facts = Facts::new();
    let mut add = |prefix: &str, value: Value, left_out: &[&str]| {
        for (path, text) in leaves(&value) {
            let name = path.split(['.', '[']).next().unwrap_or(&path);
            if !left_out.contains(&name) {
                facts.push((format!("{prefix}.{path}"), text));
            }
        }
    };
    let json = |value: serde_json::Result<Value>| value.unwrap_or_default();
    add("tool", json(serde_json::to_value(&run.tool)), &[]);
    add("target", json(serde_json::to_value(&run.target)), &["jobs", "clock_offset_s"]);
    // Its name, type and command follow from the recipe; where it listened and how it ended, from chance.
    let of_chance = ["name", "type", "command", "hostname", "port", "ready_after_s", "exit"];
    add("service", json(serde_json::to_value(&run.service)), &of_chance);
    add("client", serde_json::json!({ "threads": run.client.threads }), &[]);
    for data in &run.data {
        let about = ["path", "role", "named_by", "writable"];
        add(&format!("data[{}]", data.path), json(serde_json::to_value(data)), &about);
    }
    for node in &run.nodes {
        let mut node_facts = json(serde_json::to_value(node));
        // The kernel keeps a little for itself, another amount at every start.
        if let Some(bytes) = node.memory_total_bytes {
            node_facts["memory_total_bytes"] = Value::from(format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30)));
        }
        add(&format!("node[{}]", node.roles.join("+")), node_facts, &["roles"]);
    }
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(change: impl FnOnce(&mut Value)) -> Run {
        let mut value = json!({
            "schema": 1, "benchmark_id": "BM-20260301-001", "status": "completed",
            "created_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:09Z",
            "campaign": {"name": "c", "execution": "e", "point": 0, "points": 1, "repetition": 1, "repetitions": 1,
                "swept": {}},
            "target": {"name": "local", "kind": "local", "jobs": {"service": {"id": 7}}},
            "tool": {"name": "runner", "version": "1", "binary_sha256": "aa"}, "git_commit": null, "recipe_hash": "h",
            "recipe": {"file": "f", "text": "", "resolved": {"benchmarks": {"num_clients": 4}}},
            "service": {"name": "s", "type": "redis", "version": "7.0", "image": null, "command": ["a", "1"],
                "program_sha256": "bb", "started_as": "child", "hostname": "h", "port": 1, "ready_after_s": 0.1,
                "exit": null},
            "client": {"name": "c", "type": "redis_stress", "num_clients": 4, "threads": 1, "load": {},
                "sequence_digest": null},
            "nodes": [{"hostname": "one", "roles": ["service", "client"], "kernel": "6.1",
                "memory_total_bytes": 17_179_869_184_u64}],
            "seeds": {"campaign": 1, "benchmark": 2}, "events": []
        });
        change(&mut value);
        serde_json::from_value(value).expect("a run")
    }

    #[test]
    fn facts_differ_and_chance_does_not() {
        let base = run(|_| {});
        let by_chance = run(|run| {
            run["service"]["port"] = json!(2);
            run["target"]["jobs"]["service"]["id"] = json!(8);
            run["target"]["clock_offset_s"] = json!(0.01);
            run["nodes"][0]["memory_total_bytes"] = json!(17_179_000_000_u64);
            run["created_at"] = json!("2026-03-02T12:00:00Z");
        });
        assert_eq!(FactDifferences::between(&[&base], &[&by_chance]), FactDifferences::default());
        let other = run(|run| {
            run["recipe"]["resolved"]["benchmarks"]["num_clients"] = json!(8);
            run["service"]["version"] = json!("7.2");
            run["nodes"][0]["kernel"] = json!("6.6");
            run["nodes"][0]["unheard_of"] = json!({"deep": 1});
            run["data"] = json!([{"path": "/m", "role": "service", "named_by": "data", "content_sha256": "cc"}]);
        });
        let found = FactDifferences::between(&[&base], &[&other]);
        let lines = |facts: &[FactDifference]| {
            facts.iter().map(|fact| format!("{} {} {}", fact.what, fact.a, fact.b)).collect::<Vec<_>>()
        };
        assert_eq!(lines(&found.recipe), ["benchmarks.num_clients 4 8"]);
        assert_eq!(
            lines(&found.environment),
            [
                "data[/m].content_sha256 – cc",
                "data[/m].files – 0",
                "data[/m].size_bytes – 0",
                "node[service+client].kernel 6.1 6.6",
                "node[service+client].unheard_of.deep – 1",
                "service.version 7.0 7.2"
            ]
        );
    }
}
