//! What differs between the benchmarks of two sides, and whether that leaves anything to compare.

use std::collections::{BTreeMap, BTreeSet};

use archive::{NodeFacts, Run};
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
    fact(false, "kernel", node.kernel.clone());
    fact(false, "os", node.os.clone());
    fact(false, "cpu_governor", node.cpu_governor.clone());
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
