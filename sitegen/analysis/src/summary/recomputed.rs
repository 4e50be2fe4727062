//! Whether a stored summary is what its request records come to.
//!
//! Only figures are compared, and only those that are stored: a later build may compute more, and judge them by other
//! gates. What the load generator said of itself is not in the records.

use archive::{Run, Summary};
use serde_json::Value;

use super::{Arrival, Facts};

/// Relative difference of two floating-point figures that is rounding of another order of sums.
const ROUNDING: f64 = 1e-9;

/// Fields that judge, or rest on more than the records.
const NOT_FIGURES: [&str; 3] = ["gates", "findings", "calibration"];

/// Differences that are told at most.
const MOST_TOLD: usize = 10;

impl Facts {
    /// What the archive knows of a benchmark beside its records: enough for every figure, not for every gate.
    pub fn of_archived(run: &Run, stored: &Summary) -> Self {
        Self {
            service_type: stored.service_type.clone(),
            started_at: run.started_at,
            window_s: stored.window_s,
            arrival: stored.requested_rate.map_or(Arrival::Closed, |requested_rate| Arrival::Open { requested_rate }),
            timed_clients: None,
            most_in_flight: None,
            slo: run.campaign.slo.clone(),
            generator: None,
            calibration: None,
            clocks: None,
            service_restarts: None,
            repeats_prompts: repeats_prompts(&run.recipe.resolved["client"]["settings"]),
            status: run.status,
        }
    }
}

/// Whether the settings of a client make prompts begin alike.
pub fn repeats_prompts(settings: &Value) -> bool {
    ["prompt", "prompt_file", "shared_prefix_length"].iter().any(|key| !settings[*key].is_null())
}

/// The figures of `stored` that `computed` has otherwise, in words: the path, both values.
pub fn differences(stored: &Summary, computed: &Summary) -> Vec<String> {
    let of = |summary: &Summary| {
        let mut value = serde_json::to_value(summary).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.retain(|name, _| !NOT_FIGURES.contains(&name.as_str()) && !stored.other.contains_key(name));
        }
        value
    };
    let mut told = Vec::new();
    compare("", &of(stored), &of(computed), &mut told);
    let more = told.len().saturating_sub(MOST_TOLD);
    told.truncate(MOST_TOLD);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told
}

fn compare(path: &str, stored: &Value, computed: &Value, told: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (stored, computed) {
        (Value::Object(stored), Value::Object(computed)) => {
            for (name, value) in stored {
                compare(&below(name), value, computed.get(name).unwrap_or(&Value::Null), told);
            }
        }
        (Value::Array(stored), Value::Array(computed)) if stored.len() == computed.len() => {
            for (place, (stored, computed)) in stored.iter().zip(computed).enumerate() {
                compare(&format!("{path}[{place}]"), stored, computed, told);
            }
        }
        (stored, computed) if is_same(stored, computed) => {}
        (stored, computed) => told.push(format!("{path}: {} stored, {} computed", short(stored), short(computed))),
    }
}

fn is_same(stored: &Value, computed: &Value) -> bool {
    let numbers = stored.as_f64().zip(computed.as_f64()).filter(|_| stored.is_f64() || computed.is_f64());
    match numbers {
        Some((a, b)) => (a - b).abs() <= ROUNDING * a.abs().max(b.abs()),
        None => stored == computed,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 { text } else { format!("{}…", text.chars().take(40).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_repeat_where_a_setting_says_so() {
        for (settings, expect) in [
            (serde_json::json!({ "prompt_length": 32, "max_tokens": 8 }), false),
            (serde_json::json!({ "prompt": "Hello" }), true),
            (serde_json::json!({ "prompt_file": "a.jsonl" }), true),
            (serde_json::json!({ "shared_prefix_length": 100 }), true),
            (Value::Null, false),
        ] {
            assert_eq!(repeats_prompts(&settings), expect, "{settings}");
        }
    }

    #[test]
    fn a_changed_figure_is_named_and_judgements_are_not_compared() {
        let mut stored = Summary { schema: 1, total_requests: 10, ..Summary::default() };
        stored.latency_s.figures.p99 = Some(0.25);
        stored.timeline.completed = vec![4, 6];
        stored.other.insert("of_a_newer_build".into(), Value::from(7));
        let mut computed = stored.clone();
        computed.other.clear();
        computed.latency_s.figures.p99 = Some(0.25 * (1.0 + 1e-12));
        computed.answered_per_second = Some(5.0);
        computed.findings.push(archive::Finding {
            severity: archive::Severity::Note,
            code: "x".into(),
            message: "x".into(),
        });
        assert_eq!(differences(&stored, &computed), [""; 0]);
        computed.total_requests = 11;
        computed.latency_s.figures.p99 = Some(0.3);
        computed.timeline.completed = vec![4, 7];
        assert_eq!(
            differences(&stored, &computed),
            [
                "total_requests: 10 stored, 11 computed",
                "latency_s.p99: 0.25 stored, 0.3 computed",
                "timeline.completed[1]: 6 stored, 7 computed",
            ]
        );
    }
}
