//! An RO-Crate 1.1 of one benchmark: a zip with all its files and `ro-crate-metadata.json`, which says what they are.
//!
//! Format: <https://w3id.org/ro/crate/1.1>. Nothing is fetched and nobody is named: who publishes it adds authors.

use std::{
    fs::File,
    io::{self, Seek, Write},
};

use anyhow::{Context, Result, bail};
use archive::Benchmark;
use serde_json::{Value, json};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const METADATA: &str = "ro-crate-metadata.json";

/// `license`: an address, if one is known.
pub fn write(benchmark: &Benchmark, license: Option<&str>, to: impl Write + Seek) -> Result<()> {
    let mut out = ZipWriter::new(to);
    // Records are compressed already.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(false);
    out.start_file(METADATA, options)?;
    out.write_all(format!("{:#}\n", metadata(benchmark, license)?).as_bytes())?;
    for (name, path) in files(benchmark)? {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let large = file.metadata()?.len() > u64::from(u32::MAX / 2);
        out.start_file(&name, options.large_file(large))?;
        io::copy(&mut io::BufReader::new(file), &mut out).with_context(|| format!("cannot write {name}"))?;
    }
    out.finish()?;
    Ok(())
}

/// All files of the benchmark by their names in its folder, those kept outside git too.
fn files(benchmark: &Benchmark) -> Result<Vec<(String, std::path::PathBuf)>> {
    let mut files = vec![("manifest.json".to_owned(), benchmark.folder.join("manifest.json"))];
    for name in benchmark.manifest.files.keys() {
        match benchmark.path_of(name) {
            Some(path) => files.push((name.clone(), path)),
            None => bail!("{name} of {} is not on this machine: `runner archive fetch` brings it", benchmark.id),
        }
    }
    Ok(files)
}

fn metadata(benchmark: &Benchmark, license: Option<&str>) -> Result<Value> {
    let run = benchmark.run()?;
    let id = run.benchmark_id;
    let title = run.campaign.title.clone().unwrap_or_else(|| run.campaign.name.clone());
    let version = run.service.version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
    let described = format!(
        "Benchmark {id} of the service {}{version} under the load {} with {} clients: recipe, environment, figures, and one \
         record for every request. Campaign {}, execution {}, repetition {} of {}.",
        run.service.kind,
        run.client.kind,
        run.client.num_clients,
        run.campaign.name,
        run.campaign.execution,
        run.campaign.repetition,
        run.campaign.repetitions
    );
    let mut parts = Vec::new();
    let mut entities = Vec::new();
    for (name, path) in files(benchmark)? {
        let (description, format) = what_it_is(&name);
        let mut entity = json!({
            "@id": address(&name),
            "@type": "File",
            "name": name,
            "description": description,
            "encodingFormat": format,
            "contentSize": std::fs::metadata(&path)?.len().to_string(),
        });
        if let Some(entry) = benchmark.manifest.files.get(&name) {
            entity["sha256"] = json!(entry.sha256);
        }
        parts.push(json!({ "@id": address(&name) }));
        entities.push(entity);
    }
    let (license_id, license_entity) = match license {
        Some(address) => (address, json!({ "@id": address, "@type": "CreativeWork", "name": address })),
        None => (
            "#license",
            json!({
                "@id": "#license",
                "@type": "CreativeWork",
                "name": "No licence is stated",
                "description": "Who made this crate did not state under which licence it may be used.",
            }),
        ),
    };
    let mut graph = vec![
        json!({
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": { "@id": "./" },
            "conformsTo": { "@id": "https://w3id.org/ro/crate/1.1" },
        }),
        json!({
            "@id": "./",
            "@type": "Dataset",
            "identifier": id.to_string(),
            "name": format!("{id}: {title}"),
            "description": described,
            "datePublished": run.ended_at.to_string(),
            "license": { "@id": license_id },
            "version": benchmark.digest()?,
            "hasPart": parts,
            "mentions": [{ "@id": "#benchmark" }],
        }),
        license_entity,
        json!({
            "@id": "#benchmark",
            "@type": "CreateAction",
            "name": format!("Benchmark {id}"),
            "description": "One execution of the recipe.",
            "startTime": run.started_at.unwrap_or(run.created_at).to_string(),
            "endTime": run.ended_at.to_string(),
            "instrument": { "@id": "#runner" },
            "object": [{ "@id": "#service" }],
            "result": [{ "@id": "summary.json" }, { "@id": "run.json" }],
            "actionStatus": { "@id": match run.status {
                archive::Status::Completed => "http://schema.org/CompletedActionStatus",
                archive::Status::Failed | archive::Status::Cancelled => "http://schema.org/FailedActionStatus",
            }},
        }),
        software("#runner", &run.tool.name, Some(&run.tool.version)),
        software("#service", &run.service.kind, run.service.version.as_deref()),
    ];
    graph.extend(entities);
    Ok(json!({ "@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph }))
}

/// A file's path as a relative address, as the format wants its `@id`: what no address may hold is percent-encoded.
fn address(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn software(id: &str, name: &str, version: Option<&str>) -> Value {
    let mut entity = json!({ "@id": id, "@type": "SoftwareApplication", "name": name });
    if let Some(version) = version {
        entity["softwareVersion"] = json!(version);
    }
    entity
}

/// A file in words, and its media type.
fn what_it_is(name: &str) -> (&'static str, &'static str) {
    let format = match name.rsplit('.').next() {
        Some("json") => "application/json",
        Some("zst") => "application/zstd",
        _ => "text/plain",
    };
    let description = match name {
        "run.json" => "What was run, where, with what, and how it ended",
        "summary.json" => "Figures, histograms and a timeline of one second, computed from the request records",
        "requests.jsonl.zst" => "One record for every request, as JSON lines",
        "resources.jsonl.zst" => "Samples of nodes and processes, once a second, as JSON lines",
        "manifest.json" => "Size and sha256 of every other file of the benchmark",
        _ => "Log",
    };
    (description, format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_addresses() {
        for (name, expected) in [
            ("logs/service.log", "logs/service.log"),
            ("logs/a b#1?.log", "logs/a%20b%231%3F.log"),
            ("logs/caf\u{e9}%20:x", "logs/caf%C3%A9%2520%3Ax"),
        ] {
            assert_eq!(address(name), expected);
        }
    }
}
