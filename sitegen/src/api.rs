//! The same as the pages for programs: `api/*.json`, and what the browser's lists and comparisons read.
//!
//! `docs/site.md` documents every file. Fields are only ever added.

use std::{fs, path::Path};

use analysis::percentile_curve;
use anyhow::{Context, Result};
use archive::{Archive, Distribution, Summary};
use serde_json::{Map, Value, json};

use crate::{
    load::Loaded,
    model::{
        Campaign, Execution, Model,
        diff::{State, metric_in_words},
        metric::{Metric, Percentile, Timed},
    },
    pages::{benchmarks, diffs, execution_path},
    relink::Places,
    render::{File, script_json},
    text,
};

const SCHEMA: u32 = 2;

/// Points of a percentile curve in a comparison's data.
const CURVE_POINTS: usize = 48;

/// The files about the whole version.
pub fn files(model: &Model<'_>, version: &str, places: &Places) -> Vec<File> {
    let contents = model.contents;
    let json_file = |path: &str, value: Value| (path.to_owned(), format!("{}\n", text::json(&value)).into_bytes());
    let rows: Vec<Value> = contents.benchmarks.iter().rev().map(|benchmark| row(model, benchmark, places)).collect();
    let executions = model.campaigns.iter().flat_map(|campaign| {
        campaign.executions.iter().map(move |execution| {
            json!([
                execution.key(),
                campaign.title(),
                benchmarks::minute(execution.ended()),
                execution.benchmarks.len(),
                execution_data_key(campaign, execution)
            ])
        })
    });
    let executions: Vec<Value> = executions.collect();
    let list = json!({
        "columns": ["id", "campaign", "service", "point", "repetition", "standing", "throughput", "p50_s", "p99_s",
                    "ended_at", "campaign_page", "page"],
        "rows": rows,
        "executions": executions,
        // The unit of latencies in the list of the pages.
        "units_per_second": benchmarks::time_unit(&contents.benchmarks.iter().collect::<Vec<_>>()).per_second,
    });
    vec![
        json_file("api/index.json", index(model, version)),
        json_file("api/benchmarks.json", json!({ "schema": SCHEMA, "columns": list["columns"], "rows": list["rows"] })),
        json_file(
            "api/campaigns.json",
            json!({ "schema": SCHEMA, "campaigns": model.campaigns.iter().map(|one| campaign(one, places)).collect::<Vec<_>>() }),
        ),
        json_file("api/regressions.json", regressions(model, places)),
        ("data/benchmarks.js".to_owned(), format!("siteBenchmarks({});\n", script_json(&list)).into_bytes()),
    ]
}

fn index(model: &Model<'_>, version: &str) -> Value {
    let contents = model.contents;
    json!({
        "schema": SCHEMA,
        "version": version,
        "archive_commit": contents.commit,
        "archive_digest": contents.digest,
        "benchmarks": contents.benchmarks.len(),
        "campaigns": model.campaigns.len(),
        "files": {
            "api/benchmarks.json": "every benchmark in a row: columns, rows",
            "api/campaigns.json": "every campaign with its executions and what each series says",
            "api/regressions.json": "regressions and improvements, with interval, threshold and state",
            "run.json beside the page of a benchmark": "metadata and provenance, the sealed bytes",
            "summary.json beside it": "figures, the sealed bytes; absent when nothing was measured",
            "timeline.csv beside it": "figures by the second",
        },
    })
}

fn figure(benchmark: &Loaded, metric: Metric) -> Option<f64> {
    metric.of(benchmark.summary.as_ref()?)
}

fn row(model: &Model<'_>, benchmark: &Loaded, places: &Places) -> Value {
    let run = &benchmark.run;
    let execution = model.place_of(benchmark).map(|(campaign, execution)| execution_path(campaign, execution));
    let place = |path: String| places.get(&path).cloned();
    json!([
        benchmark.id.to_string(),
        run.campaign.name,
        run.service.kind,
        benchmarks::point(benchmark),
        run.campaign.repetition,
        benchmark.standing().word(),
        figure(benchmark, Metric::Throughput),
        figure(benchmark, Metric::Time(Timed::Latency, Percentile::P50)),
        figure(benchmark, Metric::Time(Timed::Latency, Percentile::P99)),
        benchmarks::minute(run.ended_at),
        execution.and_then(place),
        place(format!("benchmarks/{}/index.html", benchmark.id)),
    ])
}

fn campaign(campaign: &Campaign<'_>, places: &Places) -> Value {
    let executions = campaign.executions.iter().map(|execution| {
        let series = execution.sweep.series.iter().map(|series| {
            let saturation = execution.sweep.is_load().then(|| series.saturation());
            json!({ "label": series.label, "saturation": saturation })
        });
        json!({
            "execution": execution.key(),
            "page": places.get(&execution_path(campaign, execution)),
            "ended_at": execution.ended(),
            "benchmarks": execution.benchmarks.iter().map(|benchmark| benchmark.id.to_string()).collect::<Vec<_>>(),
            "valid": execution.count_of("valid"),
            "axis": execution.sweep.axis.as_ref().map(|axis| &axis.path),
            "series": series.collect::<Vec<_>>(),
        })
    });
    json!({
        "name": campaign.name,
        "title": campaign.title(),
        "executions": executions.collect::<Vec<_>>(),
    })
}

fn regressions(model: &Model<'_>, places: &Places) -> Value {
    let changes = model.changes();
    let entries = changes.iter().map(|change| {
        let campaign = &model.campaigns[change.diff.campaign];
        let [base, candidate] = [change.diff.base, change.diff.candidate].map(|place| &campaign.executions[place]);
        let state = match change.state {
            State::Stands if change.is_regression() => "open",
            State::Stands => "stands",
            State::Reversed(_) => "reversed",
        };
        json!({
            "campaign": campaign.name,
            "base": base.key(),
            "candidate": candidate.key(),
            "since": candidate.ended(),
            "point": change.label,
            "state": state,
            "page": places.get(&diffs::path(campaign, candidate)),
            "comparison": change.metric,
        })
    });
    json!({ "schema": SCHEMA, "changes": entries.collect::<Vec<_>>() })
}

/// The sealed files of a benchmark that are downloads, and what a comparison in the browser reads.
pub fn of_benchmark(results: &Path, benchmark: &Loaded) -> Result<Vec<File>> {
    let id = benchmark.id;
    let sealed = Archive::new(results).open(id)?;
    let mut files = Vec::new();
    for name in ["run.json", "summary.json"] {
        let Some(path) = sealed.path_of(name).filter(|path| path.exists()) else { continue };
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((format!("api/benchmarks/{id}/{name}"), bytes));
    }
    if let Some(summary) = &benchmark.summary {
        files.push((format!("api/benchmarks/{id}/timeline.csv"), timeline_csv(summary).into_bytes()));
    }
    files.push(data_script(&id.to_string(), &benchmark_data(benchmark)));
    Ok(files)
}

fn data_script(key: &str, value: &Value) -> File {
    let text = format!("siteCompare({}, {});\n", script_json(&json!(key)), script_json(value));
    (format!("data/compare/{key}.js"), text.into_bytes())
}

fn timeline_csv(summary: &Summary) -> String {
    let timeline = &summary.timeline;
    let mut out = String::from("start_s,completed,failed,latency_p50_s,latency_p99_s\n");
    let optional = |value: Option<Option<f64>>| value.flatten().map(|value| value.to_string()).unwrap_or_default();
    for (i, start) in timeline.start_s.iter().enumerate() {
        let count = |values: &[u64]| values.get(i).copied().unwrap_or_default();
        let p50 = optional(timeline.latency_p50_s.get(i).copied());
        let p99 = optional(timeline.latency_p99_s.get(i).copied());
        out += &format!("{start},{},{},{p50},{p99}\n", count(&timeline.completed), count(&timeline.failed));
    }
    out
}

/// Facts that differences are looked for in, figures, and the curve of the latency's percentiles.
fn benchmark_data(benchmark: &Loaded) -> Value {
    let run = &benchmark.run;
    let standing = benchmark.standing();
    json!({
        "kind": "benchmark",
        "id": benchmark.id.to_string(),
        "title": format!("{} {}", run.service.kind, benchmarks::point(benchmark)),
        "campaign": run.campaign.name,
        "execution": run.campaign.execution,
        "point": benchmarks::point(benchmark),
        "repetition": run.campaign.repetition,
        "ended": benchmarks::minute(run.ended_at),
        "standing": standing.word(),
        "reason": standing.reason(),
        "page": format!("benchmarks/{}/index.html", benchmark.id),
        "facts": facts(benchmark),
        "figures": benchmark.summary.as_ref().map(figures),
        "curve": benchmark.summary.as_ref().and_then(|summary| curve(&summary.latency_s)),
    })
}

fn facts(benchmark: &Loaded) -> Map<String, Value> {
    let mut facts: Map<String, Value> = Map::new();
    for (what, value, bars) in analysis::compare::differences::facts(&benchmark.run) {
        match facts.get_mut(&what) {
            // Several nodes of one role.
            Some(known) if known[0] != value => {
                known[0] = format!("{}, {value}", known[0].as_str().unwrap_or_default()).into()
            }
            Some(_) => {}
            None => _ = facts.insert(what, json!([value, bars])),
        }
    }
    facts
}

/// Name, unit, value, whether more is worse, whether the sample supports it.
fn figures(summary: &Summary) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |name: &str, unit: &str, value: Option<f64>, more_is_worse: bool, supported: bool| {
        if let Some(value) = value {
            all.push(json!([name, unit, value, more_is_worse, supported]));
        }
    };
    add("throughput", "/s", summary.throughput(), false, true);
    add("output tokens", "/s", summary.tokens_per_second, false, true);
    add("goodput", "/s", summary.goodput.as_ref().and_then(|goodput| goodput.requests_per_second), false, true);
    add("success rate", "%", summary.success_rate, false, true);
    let samples = [
        ("latency", Some(&summary.latency_s)),
        ("TTFT", summary.ttft_s.as_ref()),
        ("TPOT", summary.tpot_s.as_ref()),
        ("ITL", summary.itl_s.as_ref()),
    ];
    for (name, sample) in samples {
        let Some(figures) = sample.map(|sample| &sample.figures) else { continue };
        let values = [
            ("mean", figures.avg),
            ("p50", figures.p50),
            ("p95", figures.p95),
            ("p99", figures.p99),
            ("p99.9", figures.p999),
        ];
        for (percentile, value) in values {
            let supported = !figures.unsupported.iter().any(|unsupported| unsupported == percentile);
            add(&format!("{percentile} {name}"), "s", value, true, supported);
        }
    }
    add("failed requests", "", Some(summary.failed_requests as f64), true, true);
    all
}

fn curve(distribution: &Distribution) -> Option<Vec<[f64; 2]>> {
    let curve = percentile_curve(distribution.histogram.as_ref()?)?;
    let step = curve.len().div_ceil(CURVE_POINTS).max(1);
    let last = curve.len() - 1;
    let kept = curve.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
    Some(kept.map(|(_, point)| [point.one_in, point.seconds]).collect())
}

/// Name of an execution's data for comparisons.
pub fn execution_data_key(campaign: &Campaign<'_>, execution: &Execution<'_>) -> String {
    format!("{}--{}", campaign.slug, execution.slug)
}

/// What a comparison of whole executions in the browser reads.
pub fn of_execution(model: &Model<'_>, campaign: &Campaign<'_>, execution: &Execution<'_>) -> File {
    let diff = model.diff_of(execution);
    let metrics = [
        ("throughput", "/s", false, Metric::Throughput),
        ("p50 latency", "s", true, Metric::Time(Timed::Latency, Percentile::P50)),
        ("p99 latency", "s", true, Metric::Time(Timed::Latency, Percentile::P99)),
        ("p99 TTFT", "s", true, Metric::Time(Timed::Ttft, Percentile::P99)),
        ("output tokens", "/s", false, Metric::TokensPerSecond),
    ];
    let points = execution.sweep.series.iter().flat_map(|series| {
        series.points.iter().map(move |point| {
            let figures = metrics.iter().filter_map(|(name, unit, more_is_worse, metric)| {
                let values = point.values(*metric);
                (!values.is_empty()).then(|| json!([name, unit, values, more_is_worse]))
            });
            let label = point.repetitions.first().map(|benchmark| benchmarks::point(benchmark)).unwrap_or_default();
            json!({ "label": if label.is_empty() { "the only point".to_owned() } else { label }, "figures": figures.collect::<Vec<_>>() })
        })
    });
    let key = execution_data_key(campaign, execution);
    let value = json!({
        "kind": "execution",
        "id": execution.key(),
        "title": execution.title(),
        "campaign": campaign.name,
        "ended": benchmarks::minute(execution.ended()),
        "standing": format!("{} of {} valid", execution.count_of("valid"), execution.benchmarks.len()),
        "page": execution_path(campaign, execution),
        // Where the verdict against the one before stands.
        "diff": diff.map(|diff| json!({ "base": campaign.executions[diff.base].key(), "page": diffs::path(campaign, execution) })),
        "facts": facts(execution.first()),
        "points": points.collect::<Vec<_>>(),
    });
    data_script(&key, &value)
}

/// A change in one sentence, for feeds: `p99 latency +14 % [+9, +20] at num_clients = 8`.
pub fn sentence(change: &crate::model::diff::Change<'_, '_>) -> String {
    let figure = metric_in_words(change.metric.metric);
    format!("{figure} {} at {}", crate::model::diff::change_in_words(change.metric), change.label)
}
