//! A made-up archive with an attack in place of every text that a person, a service or a machine chose: its metadata,
//! figures, samples and logs.
//!
//! Every text that differs from benchmark to benchmark is each of the attacks in one benchmark or another; a text that
//! one campaign has throughout, such as its name, is eight of them after each other.

#[path = "payloads.rs"]
pub mod payloads;

use std::path::Path;

use archive::{BenchmarkId, DataFacts, ImageFacts, Run, Status};
use serde_json::{Map, Value, json};

use self::payloads::payloads;
use crate::synthetic::{Made, made, write_changed};

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
const KEYED: [&str; 8] =
    ["swept", "operations", "steps_s", "server_s", "error_summary", "service_figures", "resolved", "wanted"];

/// What one campaign has throughout: without it, two executions of it could not be compared.
const THROUGHOUT: [&str; 9] = [
    "/campaign/name",
    "/campaign/title",
    "/campaign/swept",
    "/target",
    "/service/kind",
    "/service/type",
    "/service/name",
    "/client",
    "/nodes",
];

pub const CAMPAIGNS: usize = 8;

/// Benchmarks of a campaign that is run twice.
const MEMBERS: usize = 12;

pub fn write(results: &Path) {
    write_some(results, CAMPAIGNS);
    let payloads = payloads();
    // Two series over four loads.
    for (place, made) in made().iter().filter(|made| made.id.sequence() > 42).enumerate() {
        write_one(results, made, &Attack { payloads: &payloads, campaign: CAMPAIGNS, number: place });
    }
}

/// The first campaigns only.
pub fn write_some(results: &Path, campaigns: usize) {
    let payloads = payloads();
    let template = made().remove(0);
    for campaign in 0..campaigns {
        for member in 0..MEMBERS {
            let (execution, rest) = (member / 6, member % 6);
            let (point, repetition) = (rest / 3, rest % 3);
            let number = campaign * MEMBERS + member;
            let status = match (campaign, member) {
                (0, 11) => Status::Failed,
                (1, 11) => Status::Cancelled,
                _ => Status::Completed,
            };
            let made = Made {
                id: BenchmarkId::new(20_260_301 + execution as u32, number as u32 + 1),
                execution: (1 + execution as u32, 0),
                point,
                points: 2,
                repetition: repetition as u32 + 1,
                clients: 2 + 6 * point as u32,
                other: Some(("client.settings.mode", json!("x"))),
                service_s: 0.1 * (1 + execution) as f64,
                devices: true,
                status,
                ..template.clone()
            };
            write_one(results, &made, &Attack { payloads: &payloads, campaign, number });
        }
    }
}

fn write_one(results: &Path, made: &Made, attack: &Attack<'_>) {
    write_changed(results, made, |parts| {
        fill(&mut parts.run);
        let mut run = serde_json::to_value(&parts.run).expect("serialised");
        attack.replace(&mut run, "", "");
        // An execution stays one.
        let execution = format!("{} {}", attack.joined(3), made.execution.0);
        run["campaign"]["execution"] = execution.into();
        parts.run = serde_json::from_value(run).expect("still a run");
        if let Some(summary) = &mut parts.summary {
            let mut value = serde_json::to_value(&*summary).expect("serialised");
            attack.replace(&mut value, "summary", "");
            *summary = serde_json::from_value(value).expect("still a summary");
        }
        for sample in &mut parts.resources {
            sample.busiest_thread = Some("io".into());
            sample.other.insert("more".into(), json!("x"));
            let mut value = serde_json::to_value(&*sample).expect("serialised");
            attack.replace(&mut value, "sample", "");
            *sample = serde_json::from_value(value).expect("still a sample");
        }
        parts.log = attack.payloads.iter().flat_map(|text| format!("ERROR {text}\n{text}\n").into_bytes()).collect();
        parts.log.extend([0xff, 0xfe, b'\n']);
    });
}

/// Gives every text that a run may have.
fn fill(run: &mut Run) {
    let some = || Some("x".to_owned());
    run.rerun_of = Some(run.benchmark_id);
    run.recipe.recipe_text = some();
    run.recipe.overrides = vec!["a=b".into(), "c=d".into()];
    (run.recipe.git_commit, run.recipe.changes_sha256) = (some(), some());
    (run.tool.git_commit, run.tool.changes_sha256, run.tool.profile) = (some(), some(), some());
    run.service.model_digest = some();
    run.service.image = Some(ImageFacts { reference: "x".into(), digest: some(), sif_sha256: some(), runtime: some() });
    let data = DataFacts { path: "x".into(), role: "x".into(), named_by: "x".into(), ..DataFacts::default() };
    run.data = vec![
        DataFacts { content_sha256: some(), ..data.clone() },
        DataFacts { listing_sha256: some(), ..data.clone() },
        DataFacts { unknown: some(), ..data },
    ];
    for node in &mut run.nodes {
        (node.os, node.cpu_governor, node.virtualization) = (some(), some(), some());
    }
    for other in [&mut run.other, &mut run.campaign.other, &mut run.service.other, &mut run.client.other] {
        other.insert("more".into(), json!({ "x": ["x"] }));
    }
}

struct Attack<'p> {
    payloads: &'p [String],
    campaign: usize,
    number: usize,
}

impl Attack<'_> {
    /// Eight attacks after each other, the same in all benchmarks of the campaign.
    fn joined(&self, place: usize) -> String {
        let count = self.payloads.len();
        let first = place + self.campaign * count.div_ceil(CAMPAIGNS);
        let all: Vec<&str> =
            (first..first + count.div_ceil(CAMPAIGNS)).map(|i| self.payloads[i % count].as_str()).collect();
        all.join(" ")
    }

    fn text(&self, path: &str) -> String {
        // Any number that is the same for the same path in all benchmarks.
        let place = path.bytes().fold(0_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 9_973);
        match THROUGHOUT.iter().any(|prefix| path.starts_with(prefix)) {
            true => self.joined(place),
            false => self.payloads[(place + self.number) % self.payloads.len()].clone(),
        }
    }

    fn replace(&self, value: &mut Value, path: &str, field: &str) {
        match value {
            Value::String(text) if !TYPED.contains(&field) && path != "sample/role" => *text = self.text(path),
            Value::Array(items) => {
                for (place, item) in items.iter_mut().enumerate() {
                    self.replace(item, &format!("{path}/{place}"), field);
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields.iter_mut() {
                    self.replace(item, &format!("{path}/{key}"), key);
                }
                if KEYED.contains(&field) {
                    // The load stays an axis of numbers, so that there is a sweep to draw.
                    let keyed: Map<String, Value> = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, value)| match key.starts_with("benchmarks.") {
                            true => (key, value),
                            false => (format!("{}{key}", self.text(&format!("{path}/{key}:"))), value),
                        })
                        .collect();
                    *fields = keyed;
                }
            }
            _ => {}
        }
    }
}
