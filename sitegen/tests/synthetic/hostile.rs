//! The made-up archive with an attack in place of every text that a person, a service or a machine chose.

use std::path::Path;

use serde_json::{Map, Value};

use crate::synthetic::{made, write_benchmark};

/// Ends attributes, elements, scripts, comments and template expressions; one for each way out.
const ATTACKS: [&str; 6] = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "\"'><img src=x onerror=alert(3)>",
    "javascript:alert(4)",
    "{{ 7 * 7 }}{% raw %}<!--<svg onload=alert(5)>",
    "@tooltip</textarea></title><b onclick=alert(6)>",
];

/// Fields whose values the format restricts, so that another value is refused when the archive is read.
const TYPED: [&str; 15] = [
    "status",
    "stage",
    "time",
    "created_at",
    "started_at",
    "ended_at",
    "benchmark_id",
    "rerun_of",
    "severity",
    "outcome",
    "test_start_time",
    "test_end_time",
    "hdr_v2_base64",
    "code",
    "metric",
];

/// Objects whose keys are texts too.
const KEYED: [&str; 3] = ["swept", "operations", "error_summary"];

pub fn write(results: &Path) {
    for made in made().iter().filter(|made| made.id.sequence() >= 22) {
        write_benchmark(results, made, |run, summary| {
            let mut count = 0;
            let mut attacked = serde_json::to_value(&*run).expect("serialised");
            attack(&mut attacked, "", &mut count);
            // The campaign stays one campaign, and its execution one execution.
            attacked["campaign"]["name"] = ATTACKS[0].into();
            attacked["campaign"]["execution"] = format!("{}{}", ATTACKS[2], made.execution.0).into();
            *run = serde_json::from_value(attacked).expect("still a run");
            if let Some(summary) = summary {
                let mut attacked = serde_json::to_value(&*summary).expect("serialised");
                attack(&mut attacked, "", &mut count);
                *summary = serde_json::from_value(attacked).expect("still a summary");
            }
        });
    }
}

fn attack(value: &mut Value, field: &str, count: &mut usize) {
    match value {
        Value::String(text) if !TYPED.contains(&field) => {
            *count += 1;
            *text = format!("{}{text}", ATTACKS[*count % ATTACKS.len()]);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| attack(item, field, count)),
        Value::Object(fields) => {
            if KEYED.contains(&field) {
                let keyed: Map<String, Value> = std::mem::take(fields)
                    .into_iter()
                    .enumerate()
                    // The load stays an axis of numbers, so that there is a sweep to draw.
                    .map(|(i, (key, value))| match key.starts_with("benchmarks.") {
                        true => (key, value),
                        false => (format!("{}{key}", ATTACKS[i % ATTACKS.len()]), value),
                    })
                    .collect();
                *fields = keyed;
            }
            fields.iter_mut().for_each(|(key, value)| attack(value, key, count));
        }
        _ => {}
    }
}
