//! Result folders of the Python system that this one replaces: `run.json`, `requests.jsonl`, `summary.json`, `logs/`.
//!
//! Its records have start times of whole seconds and no warm-up; a finding says so. The figures are computed anew, by
//! this system's definitions; its own files are kept among the logs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    str::FromStr,
};

use analysis::{Arrival, Facts};
use anyhow::{Context, Result, bail};
use archive::{
    Archive, BenchmarkId, Failure, Finding, Request, RequestReader, RequestWriter, Run, SCHEMA, SealOptions, Severity,
    Stage, Status, Timestamp, seal,
};
use serde_json::{Value, json};

use super::{Imported, Unpacked, take};
use crate::benchmark::LogNames;

/// Whether the folder looks like one.
pub fn is_one(folder: &Path) -> bool {
    run_of(folder).is_ok_and(|run| run.get("schema").is_none() && run.get("benchmark_id").is_some())
}

fn run_of(folder: &Path) -> Result<Value> {
    let path = folder.join("run.json");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

pub fn import(archive: &Archive, folder: &Path) -> Result<Imported> {
    let old = run_of(folder)?;
    let was = text(&old, "/benchmark_id").and_then(|id| BenchmarkId::from_str(&id).ok());
    let source = digest(folder)?;
    for id in archive.ids()? {
        let run = archive.open(id).and_then(|benchmark| benchmark.run());
        if run.is_ok_and(|run| run.other.get("imported").and_then(|facts| facts["sha256"].as_str()) == Some(&source)) {
            return Ok(Imported::Present(id));
        }
    }
    let id = match was.map(|id| Ok::<_, anyhow::Error>(take(archive, id)?.then_some(id))).transpose()?.flatten() {
        Some(id) => id,
        None => archive.allocate()?,
    };
    let aside = Unpacked::new(archive)?;
    let staged = aside.0.join(id.to_string());
    fs::create_dir_all(staged.join("logs"))?;

    let (requests, first) = records(folder)?;
    let mut writer = RequestWriter::create(&staged.join("requests.jsonl.zst"))?;
    requests.iter().try_for_each(|request| writer.write(request))?;
    writer.finish()?;
    let last = requests.iter().map(Request::end).fold(0.0, f64::max);
    let mut run = run(&old, id, first, last, !requests.is_empty())?;
    run.other.insert(
        "imported".into(),
        json!({ "from": "results folder", "benchmark_id": text(&old, "/benchmark_id"), "sha256": source }),
    );
    let facts = Facts {
        service_type: run.service.kind.clone(),
        started_at: run.started_at,
        window_s: [0.0, last],
        arrival: Arrival::Closed,
        timed_clients: None,
        most_in_flight: None,
        slo: BTreeMap::new(),
        generator: None,
        clocks: None,
        service_restarts: None,
        calibration: None,
        repeats_prompts: false,
        status: run.status,
    };
    let mut summary = analysis::summarise(&facts, || RequestReader::open(&staged.join("requests.jsonl.zst")))?;
    let message = "imported from another system: starts are known to the second, so throughput and timeline are coarse; no \
                   warm-up is left out, and nothing says how exact its latencies are";
    summary.findings.push(Finding { severity: Severity::Warning, code: "imported".into(), message: message.into() });
    summary.findings.sort_by_key(|finding| finding.severity);
    fs::write(staged.join("summary.json"), format!("{:#}\n", serde_json::to_value(&summary)?))?;
    fs::write(staged.join("run.json"), format!("{:#}\n", serde_json::to_value(&run)?))?;
    zstd::Encoder::new(File::create(staged.join("resources.jsonl.zst"))?, 3)?.finish()?;
    keep_originals(folder, &staged.join("logs"))?;
    seal(archive.folder(), id, &staged, &SealOptions::default())?;
    Ok(match was {
        Some(was) if was != id => Imported::Renamed { id, was },
        _ => Imported::New(id),
    })
}

/// One digest of all files that are imported.
fn digest(folder: &Path) -> Result<String> {
    let mut all = String::new();
    for path in archive::files_below(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        all += &format!("{} {name}\n", archive::sha256_hex(&fs::read(&path)?));
    }
    Ok(archive::sha256_hex(all.as_bytes()))
}

/// The records of every client, by their ends, and the time of the first start.
fn records(folder: &Path) -> Result<(Vec<Request>, Option<Timestamp>)> {
    let mut rows: Vec<(u32, i64, Value)> = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("requests") && name.ends_with(".jsonl")
    });
    files.sort();
    for (client, path) in files.iter().enumerate() {
        let lines =
            BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?).lines();
        for (number, line) in lines.enumerate() {
            let place = || format!("{}, line {}", path.display(), number + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            let row: Value = serde_json::from_str(&line).with_context(place)?;
            // The line that only says when it began is no record.
            if ["request_id", "operation_type", "operation"].iter().all(|name| row.get(*name).is_none()) {
                continue;
            }
            let start = row.get("timestamp_start").and_then(time);
            let Some(start) = start else { bail!("{}: it has no `timestamp_start`", place()) };
            rows.push((client as u32, start, row));
        }
    }
    let first = rows.iter().map(|(_, start, _)| *start).min();
    let mut requests: Vec<Request> = rows
        .into_iter()
        .enumerate()
        .map(|(number, (client, start, row))| {
            let string = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
            let count = |name: &str| row.get(name).and_then(Value::as_u64);
            let success = row.get("success").and_then(Value::as_bool).unwrap_or(false);
            let operation = string("operation_type").or_else(|| string("operation")).or_else(|| string("service_type"));
            Request {
                request_id: number as u64,
                client,
                operation: operation.unwrap_or_else(|| "request".to_owned()),
                start_s: (start - first.unwrap_or(start)) as f64 / 1e6,
                latency_s: row.get("latency_s").and_then(Value::as_f64).unwrap_or(0.0).max(0.0),
                success,
                error: (!success).then(|| string("error").unwrap_or_else(|| "failed".to_owned())),
                http_status: count("http_status").and_then(|status| u16::try_from(status).ok()),
                input_tokens: count("input_tokens"),
                output_tokens: count("output_tokens"),
                ..Request::default()
            }
        })
        .collect();
    requests.sort_by(|a, b| a.end().total_cmp(&b.end()));
    Ok((requests, first.and_then(Timestamp::from_unix_us)))
}

/// Microseconds since 1970 of a time in seconds, or written out.
fn time(value: &Value) -> Option<i64> {
    if let Some(seconds) = value.as_f64() {
        return Some((seconds * 1e6) as i64);
    }
    let text = value.as_str()?;
    let written = || {
        // Without a zone it is taken for UTC, which its cluster's clocks may not be.
        let zoned = text.ends_with('Z') || text.rfind(['+', '-']).is_some_and(|at| at > 10);
        let text = if zoned { text.to_owned() } else { format!("{text}Z") };
        text.parse::<Timestamp>().ok().map(Timestamp::unix_us)
    };
    text.parse::<f64>().ok().map(|seconds| (seconds * 1e6) as i64).or_else(written)
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn run(old: &Value, id: BenchmarkId, first: Option<Timestamp>, last_s: f64, is_measured: bool) -> Result<Run> {
    let created = old.get("created_at").and_then(time).and_then(Timestamp::from_unix_us).or(first);
    let created = created.context("run.json has no `created_at`")?;
    let mut resolved = old.get("recipe").cloned().unwrap_or_default();
    if let Some(fields) = resolved.as_object_mut() {
        fields.remove("raw_data");
    }
    let clients = old.get("clients").and_then(Value::as_array).map_or(1, |clients| clients.len().max(1));
    let kind =
        text(old, "/service/type").or_else(|| text(&resolved, "/service/type")).unwrap_or_else(|| "command".to_owned());
    let name = text(old, "/service/name").unwrap_or_else(|| kind.clone());
    let client = text(&resolved, "/client/type").unwrap_or_else(|| "command".to_owned());
    let image = text(old, "/service/image").map(|image| json!({ "reference": image, "digest": null }));
    let command = text(old, "/service/command").map(|command| vec![command]).unwrap_or_default();
    let failure = Failure { stage: Stage::Loading, reason: "it holds no request records".to_owned() };
    // By its JSON form: what is unknown is absent.
    let value = json!({
        "schema": SCHEMA,
        "benchmark_id": id,
        "status": if is_measured { Status::Completed } else { Status::Failed },
        "failure": (!is_measured).then_some(failure),
        "created_at": created,
        "started_at": first,
        "ended_at": first.unwrap_or(created).plus_seconds(last_s),
        "campaign": {
            "name": format!("imported-{name}"),
            "execution": format!("imported-{}", text(old, "/benchmark_id").unwrap_or_else(|| id.to_string())),
            "point": 0, "points": 1, "repetition": 1, "repetitions": 1, "swept": {},
        },
        "target": { "name": text(old, "/target").unwrap_or_else(|| "unknown".to_owned()), "kind": "slurm" },
        "tool": {
            "name": "imported",
            "version": text(old, "/environment/framework_version").unwrap_or_else(|| "unknown".to_owned()),
            "binary_sha256": null,
        },
        "git_commit": text(old, "/git_commit"),
        "recipe_hash": text(old, "/recipe_hash").unwrap_or_default(),
        "recipe": {
            "file": "run.json",
            "text": format!("{:#}\n", old.get("recipe").unwrap_or(&Value::Null)),
            "resolved": resolved,
        },
        "service": {
            "name": name, "type": kind, "version": null, "image": image, "command": command, "program_sha256": null,
            "started_as": "slurm", "hostname": text(old, "/service/hostname"),
            "port": old.pointer("/service/port").and_then(Value::as_u64), "ready_after_s": null, "exit": null,
        },
        "client": {
            "name": text(old, "/clients/0/name").unwrap_or_else(|| "client".to_owned()), "type": client,
            "num_clients": clients, "threads": 1, "load": {}, "sequence_digest": null,
        },
        "nodes": [],
        "seeds": { "campaign": 0, "benchmark": 0 },
        "events": [],
    });
    serde_json::from_value(value).context("run.json cannot be understood")
}

/// Its own files, as they are, under names that every file system can hold.
fn keep_originals(folder: &Path, logs: &Path) -> Result<()> {
    let mut taken = LogNames::default();
    for path in archive::files_below(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        // The records are all in ours.
        if name.starts_with('.') || name.ends_with(".jsonl") {
            continue;
        }
        let name = name.strip_prefix("logs/").map_or_else(|| format!("imported/{name}"), str::to_owned);
        // A reader takes what ends in `.zst` for compressed.
        let name = if name.to_lowercase().ends_with(".zst") { name + ".bin" } else { name };
        let place = logs.join(taken.name(&name));
        fs::create_dir_all(place.parent().unwrap_or(logs))?;
        fs::copy(&path, &place).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}
