//! What differs between the benchmarks of two sides, and whether that leaves anything to compare.

use std::collections::{BTreeMap, BTreeSet};

use archive::{GpuFacts, NodeFacts, Run};
use serde::Serialize;
use serde_json::Value;

/// One fact with other values on the one side than on the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub what: String,
    pub base: String,
    pub candidate: String,
    /// Whether it makes the figures incomparable: another service, load or machine. What remains is what a comparison is
    /// made for: another version, another setting.
    pub bars: bool,
}

/// All differences, those that bar first. Each side has at least one run.
pub fn differences(base: &[&Run], candidate: &[&Run]) -> Vec<Difference> {
    let sides = [base, candidate].map(|side| {
        let mut facts: BTreeMap<(bool, String), BTreeSet<String>> = BTreeMap::new();
        for run in side {
            for (bars, what, value) in facts_of(run) {
                facts.entry((!bars, what)).or_default().insert(value);
            }
        }
        facts
    });
    let keys: BTreeSet<_> = sides.iter().flat_map(BTreeMap::keys).collect();
    let text = |values: Option<&BTreeSet<String>>| match values {
        Some(values) => values.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => "–".to_owned(),
    };
    let different = |key: &&(bool, String)| sides[0].get(*key) != sides[1].get(*key);
    keys.iter()
        .copied()
        .filter(different)
        .map(|key| Difference {
            what: key.1.clone(),
            base: text(sides[0].get(key)),
            candidate: text(sides[1].get(key)),
            bars: !key.0,
        })
        .collect()
}

/// Facts that do not bar a comparison and tell one thing from another all the same.
const SAME_THING: [&str; 4] = ["service.version", "service.image", "service.program", "service.model_digest"];
/// What facts about data begin with.
const DATA: &str = "data";

/// What two executions must have in common to be two executions of the same thing, under the same conditions.
pub fn configuration(run: &Run) -> String {
    let kept = |(bars, what, value): (bool, String, String)| {
        let same_thing = bars || SAME_THING.contains(&what.as_str()) || what.starts_with(DATA);
        same_thing.then(|| format!("{what}={value}"))
    };
    let mut facts: Vec<_> = facts_of(run).into_iter().filter_map(kept).collect();
    facts.sort();
    facts.push(run.recipe_hash.clone());
    facts.join("\n")
}

/// What bars a comparison where it differs: benchmarks with the same conditions differ in versions and settings only.
pub fn conditions(run: &Run) -> String {
    let kept = |(bars, what, value): (bool, String, String)| bars.then(|| format!("{what}={value}"));
    let mut facts: Vec<_> = facts_of(run).into_iter().filter_map(kept).collect();
    facts.sort();
    facts.join("\n")
}

/// All facts that differences are looked for in: what it is, its value, and whether a difference bars.
pub fn facts(run: &Run) -> Vec<(String, String, bool)> {
    facts_of(run).into_iter().map(|(bars, what, value)| (what, value, bars)).collect()
}

/// The machines' part of it.
pub fn machines(run: &Run) -> String {
    let of_machine = |(bars, what, value): (bool, String, String)| {
        (bars && (what.starts_with("node") || what.starts_with("target"))).then(|| format!("{what}={value}"))
    };
    let mut facts: Vec<_> = facts_of(run).into_iter().filter_map(of_machine).collect();
    facts.sort();
    facts.join("\n")
}

/// (whether a difference bars, what it is, its value)
fn facts_of(run: &Run) -> Vec<(bool, String, String)> {
    let mut facts = vec![
        (true, "service.type".to_owned(), run.service.kind.clone()),
        (true, "client.type".to_owned(), run.client.kind.clone()),
        (true, "target.kind".to_owned(), run.target.kind.clone()),
        (false, "tool.version".to_owned(), run.tool.version.clone()),
    ];
    let mut optional = |bars: bool, what: &str, value: Option<String>| {
        facts.extend(value.map(|value| (bars, what.to_owned(), value)));
    };
    let service = &run.service;
    optional(false, "service.version", service.version.clone());
    let image = service.image.as_ref();
    optional(false, "service.image", image.map(|image| image.digest.clone().unwrap_or(image.reference.clone())));
    let short = |digest: &String| digest.chars().take(12).collect::<String>();
    optional(false, "service.program", service.program_sha256.as_ref().map(short));
    optional(false, "tool.program", run.tool.binary_sha256.as_ref().map(short));
    optional(false, "service.model_digest", service.model_digest.as_ref().map(short));
    // What the service writes to is different every time.
    for data in run.data.iter().filter(|data| !data.writable) {
        let listed = || format!("{} files, {} bytes", data.files, data.size_bytes);
        let value = data.content_sha256.as_ref().map(short).or_else(|| data.unknown.is_none().then(listed));
        optional(false, &format!("{DATA}[{}]", data.path), value);
    }
    for node in &run.nodes {
        node_facts(node, &mut optional);
    }
    for (path, value) in leaves(&run.recipe.resolved) {
        // Requests that differ are another load; of the window's length and the like the figures are rates and shares.
        let load = ["client.settings.", "client.command", "benchmarks.num_clients", "benchmarks.load."];
        let told = ["service.type", "client.type", "service.image", "benchmarks.slo", "benchmarks.metrics"];
        let pace = ["client.settings.warmup_delay", "client.settings.num_requests", "client.settings.threads"];
        if told.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let bars = load.iter().any(|start| path.starts_with(start)) && !pace.contains(&path.as_str());
        facts.push((bars, path, value));
    }
    facts
}

fn node_facts(node: &NodeFacts, add: &mut impl FnMut(bool, &str, Option<String>)) {
    let roles = node.roles.join("+");
    let mut fact = |bars: bool, name: &str, value: Option<String>| add(bars, &format!("node[{roles}].{name}"), value);
    fact(false, "hostname", Some(node.hostname.clone()));
    fact(true, "cpu_model", node.cpu_model.clone());
    fact(true, "cpus", node.cpus.map(|cpus| cpus.to_string()));
    // The kernel keeps a little for itself, another amount at every start.
    let gigabytes = |bytes: u64| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30));
    fact(true, "memory", node.memory_total_bytes.map(gigabytes));
    let named = |name: &GpuFacts| match name.memory_total_bytes {
        Some(bytes) => format!("{}, {}", name.name, gigabytes(bytes)),
        None => name.name.clone(),
    };
    fact(true, "gpus", counted(node.gpus.iter().map(named)));
    let each = |text: fn(&GpuFacts) -> Option<String>| {
        let different: BTreeSet<String> = node.gpus.iter().filter_map(text).collect();
        (!different.is_empty()).then(|| different.into_iter().collect::<Vec<_>>().join(", "))
    };
    fact(false, "gpu_driver", each(|gpu| gpu.driver.clone()));
    fact(false, "gpu_power_limit", each(|gpu| gpu.power_limit_w.map(|watts| format!("{watts:.0} W"))));
    fact(false, "smt", node.smt.map(|on| if on { "on" } else { "off" }.to_owned()));
    fact(false, "virtualization", node.virtualization.clone());
    fact(false, "kernel", node.kernel.clone());
    fact(false, "os", node.os.clone());
    fact(false, "cpu_governor", node.cpu_governor.clone());
}

/// Equal ones once with their number: `2 × H200`. `None` of none.
fn counted(all: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    let texts: Vec<String> = counts.into_iter().map(|(one, count)| format!("{count} × {one}")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Dotted path → value of every leaf; empty sections have none.
pub(crate) fn leaves(value: &Value) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) => {
                for (key, below) in fields {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&path, below, out);
                }
            }
            Value::Array(items) if items.is_empty() => {}
            Value::String(text) => out.push((path.to_owned(), text.clone())),
            Value::Null => {}
            other => out.push((path.to_owned(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    walk("", value, &mut out);
    out
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
            "target": {"name": "local", "kind": "local"},
            "tool": {"name": "runner", "version": "1", "binary_sha256": "aa"}, "git_commit": null, "recipe_hash": "h",
            "recipe": {"file": "f", "text": "", "resolved": {
                "service": {"type": "redis", "image": "redis:7", "settings": {"threads": 1}},
                "client": {"type": "redis_stress", "settings": {"payload_bytes": 64, "num_requests": 100}},
                "benchmarks": {"num_clients": 4, "duration": "10s", "load": {"model": "closed"}},
                "configuration": {"nodes": 1}}},
            "service": {"name": "s", "type": "redis", "version": "7.0", "image": {"reference": "redis:7", "digest": "d1"},
                "command": ["a"], "program_sha256": "bb", "started_as": "child", "hostname": "h", "port": 1,
                "ready_after_s": 0.1, "exit": null},
            "client": {"name": "c", "type": "redis_stress", "num_clients": 4, "threads": 1, "load": {},
                "sequence_digest": null},
            "nodes": [{"hostname": "one", "roles": ["service", "client"], "kernel": "6.1", "cpu_model": "EPYC",
                "cpus": 8, "memory_total_bytes": 17_179_869_184_u64, "cpu_governor": "performance",
                "gpus": [{"index": 0, "name": "H200", "driver": "570", "memory_total_bytes": 150_323_855_360_u64,
                    "power_limit_w": 700.0}]}],
            "seeds": {"campaign": 1, "benchmark": 2}, "events": []
        });
        change(&mut value);
        serde_json::from_value(value).expect("a run")
    }

    /// Each change by itself: what it is called, both values, and whether it bars.
    #[test]
    fn what_differs_is_listed_and_other_loads_and_machines_bar() {
        let gpu = json!({"index": 1, "name": "H200", "driver": "570", "memory_total_bytes": 150_323_855_360_u64,
            "power_limit_w": 700.0});
        let resolved = |path: &str| format!("/recipe/resolved/{path}");
        for (pointer, value, expected) in [
            ("/service/type".to_owned(), json!("valkey"), "! service.type redis valkey"),
            ("/client/type".to_owned(), json!("redis_smoke"), "! client.type redis_stress redis_smoke"),
            ("/target/kind".to_owned(), json!("slurm"), "! target.kind local slurm"),
            (resolved("benchmarks/num_clients"), json!(8), "! benchmarks.num_clients 4 8"),
            (resolved("benchmarks/load/model"), json!("poisson"), "! benchmarks.load.model closed poisson"),
            (resolved("client/settings/payload_bytes"), json!(128), "! client.settings.payload_bytes 64 128"),
            ("/nodes/0/cpu_model".to_owned(), json!("Xeon"), "! node[service+client].cpu_model EPYC Xeon"),
            ("/nodes/0/cpus".to_owned(), json!(4), "! node[service+client].cpus 8 4"),
            (
                "/nodes/0/memory_total_bytes".to_owned(),
                json!(34_359_738_368_u64),
                "! node[service+client].memory 16 GiB 32 GiB",
            ),
            (
                "/nodes/0/gpus/0/name".to_owned(),
                json!("A100"),
                "! node[service+client].gpus 1 × H200, 140 GiB 1 × A100, 140 GiB",
            ),
            (
                "/nodes/0/gpus".to_owned(),
                json!([gpu.clone(), gpu]),
                "! node[service+client].gpus 1 × H200, 140 GiB 2 × H200, 140 GiB",
            ),
            ("/nodes/0/gpus/0/driver".to_owned(), json!("580"), "node[service+client].gpu_driver 570 580"),
            (
                "/nodes/0/gpus/0/power_limit_w".to_owned(),
                json!(350.0),
                "node[service+client].gpu_power_limit 700 W 350 W",
            ),
            ("/service/version".to_owned(), json!("7.2"), "service.version 7.0 7.2"),
            ("/service/image/digest".to_owned(), json!("d2"), "service.image d1 d2"),
            ("/service/program_sha256".to_owned(), json!("cc"), "service.program bb cc"),
            ("/tool/binary_sha256".to_owned(), json!("dd"), "tool.program aa dd"),
            (resolved("service/settings/threads"), json!(2), "service.settings.threads 1 2"),
            (resolved("benchmarks/duration"), json!("20s"), "benchmarks.duration 10s 20s"),
            (resolved("client/settings/num_requests"), json!(200), "client.settings.num_requests 100 200"),
            (resolved("configuration/nodes"), json!(2), "configuration.nodes 1 2"),
            ("/nodes/0/hostname".to_owned(), json!("two"), "node[service+client].hostname one two"),
            ("/nodes/0/kernel".to_owned(), json!("6.6"), "node[service+client].kernel 6.1 6.6"),
            (
                "/nodes/0/cpu_governor".to_owned(),
                json!("powersave"),
                "node[service+client].cpu_governor performance powersave",
            ),
            // What differs every time is no difference.
            ("/service/port".to_owned(), json!(2), ""),
            ("/service/ready_after_s".to_owned(), json!(3.0), ""),
            ("/nodes/0/memory_total_bytes".to_owned(), json!(17_179_000_000_u64), ""),
        ] {
            let base = run(|_| {});
            let candidate = run(|run| *run.pointer_mut(&pointer).expect("a field") = value);
            let found: Vec<String> = differences(&[&base], &[&candidate])
                .iter()
                .map(|one| {
                    let mark = if one.bars { "! " } else { "" };
                    format!("{mark}{} {} {}", one.what, one.base, one.candidate)
                })
                .collect();
            assert_eq!(found.join("; "), expected, "{pointer}");
        }
    }

    #[test]
    fn several_runs_of_a_side_show_all_their_values_and_what_bars_comes_first() {
        let base = run(|_| {});
        let other = run(|run| run["service"]["version"] = json!("7.2"));
        let candidate = run(|run| run["nodes"][0]["gpus"] = json!([]));
        let found = differences(&[&base, &other], &[&candidate]);
        assert_eq!((found[0].what.as_str(), found[0].candidate.as_str()), ("node[service+client].gpus", "–"));
        assert!(found[0].bars && found.iter().skip(1).all(|one| !one.bars), "{found:?}");
        let version = found.iter().find(|one| one.what == "service.version").expect("listed");
        assert_eq!((version.base.as_str(), version.candidate.as_str()), ("7.0, 7.2", "7.0"));
    }
}
