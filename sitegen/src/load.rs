//! Archive → memory: of every benchmark what pages about many show, in little space; of a few, everything.
//!
//! Reads only. Samples, logs, histograms and texts of recipes are read when a page of the benchmark or of its execution is
//! made; request records, unless they are large, for what the summary does not have.

pub mod records;

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use self::records::Records;
use crate::{index::Index, repository::Repository};
use analysis::{
    compare::repetition::Repetition,
    logs::{LogReader, LogReport},
};
use anyhow::{Context, Result};
use archive::{Archive, Benchmark, BenchmarkId, ResourceSample, Run, Summary, Timeline};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a page shows of a log at most: its end.
const LOG_LIMIT: usize = 48 << 10;

/// Everything the site is made from.
pub struct Contents {
    /// Oldest first.
    pub benchmarks: Vec<Loaded>,
    /// sha256 over the ids and digests of all benchmarks.
    pub digest: String,
    /// The commit that the benchmarks date from, when git has them all.
    pub commit: Option<String>,
    /// Where its repository is in the web, when somebody said so.
    pub repository: Option<Repository>,
}

/// One benchmark of the archive. In [`Contents`] without what pages of single benchmarks and executions alone show:
/// [`load_whole`] reads that.
#[derive(Serialize, Deserialize)]
pub struct Loaded {
    pub id: BenchmarkId,
    /// sha256 of its manifest.
    pub digest: String,
    pub run: Run,
    pub summary: Option<Summary>,
    /// Its figures with their own uncertainty, as comparisons take them.
    pub figures: Option<Repetition>,
    /// In [`Contents`] no more of them than tell what was sampled.
    pub resources: Vec<ResourceSample>,
    /// What all lines of its logs say.
    #[serde(skip)]
    pub log_report: LogReport,
    /// Size of the request records; `None` when there are none.
    pub requests_bytes: Option<u64>,
    /// The request records are kept outside git.
    pub requests_external: bool,
    /// Nothing is left out. Whether limits are kept, and what limits, can be told of such a one only.
    #[serde(skip)]
    pub is_whole: bool,
}

/// What only its own page shows of a benchmark.
pub struct Own {
    pub logs: Vec<Log>,
    /// What small request records tell beside the summary.
    pub records: Option<Records>,
}

/// The end of a log file.
pub struct Log {
    pub name: String,
    pub text: String,
    /// Bytes before `text` that are left out.
    pub left_out: u64,
}

/// Reads the whole archive in `results`, with all cores; what `index` has of it, from there.
pub fn load(results: &Path, index: &Index) -> Result<Contents> {
    let ids = Archive::new(results).ids()?;
    let in_short = |id: &BenchmarkId| {
        let manifest = results.join(id.to_string()).join("manifest.json");
        index.benchmark(&manifest, *id, || Ok(read(results, *id, false)?.in_short()))
    };
    let benchmarks = ids.par_iter().map(in_short).collect::<Result<_>>()?;
    contents(results, &ids, benchmarks)
}

/// One benchmark with everything.
pub fn load_whole(results: &Path, id: BenchmarkId) -> Result<Loaded> {
    read(results, id, true)
}

/// Some benchmarks, each with everything.
pub fn load_some(results: &Path, ids: &[BenchmarkId]) -> Result<Contents> {
    let benchmarks = ids.par_iter().map(|id| load_whole(results, *id)).collect::<Result<_>>()?;
    contents(results, ids, benchmarks)
}

fn read(results: &Path, id: BenchmarkId, with_logs: bool) -> Result<Loaded> {
    let benchmark = Archive::new(results).open(id)?;
    load_benchmark(&benchmark, with_logs).with_context(|| unreadable(&id))
}

fn contents(results: &Path, ids: &[BenchmarkId], benchmarks: Vec<Loaded>) -> Result<Contents> {
    let mut digest = Sha256::new();
    for benchmark in &benchmarks {
        digest.update(format!("{} {}\n", benchmark.id, benchmark.digest));
    }
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Contents { benchmarks, digest, commit: archive::commit_of(results, ids), repository: None })
}

/// What the page of `loaded`, which is from the same archive, shows beside it.
pub fn load_own(results: &Path, loaded: &Loaded) -> Result<Own> {
    let benchmark = Archive::new(results).open(loaded.id)?;
    let log = |name: &str| -> Result<Option<Log>> {
        let Some(path) = benchmark.path_of(&format!("logs/{name}")) else { return Ok(None) };
        read_log(name, &path).map(Some).with_context(|| format!("cannot read {}", path.display()))
    };
    let read = || -> Result<Own> {
        let logs = benchmark.logs().into_iter().filter_map(|name| log(name).transpose()).collect::<Result<_>>()?;
        let records = match &loaded.summary {
            Some(summary) => records::read(&benchmark, summary)?,
            None => None,
        };
        Ok(Own { logs, records })
    };
    read().with_context(|| unreadable(&loaded.id))
}

impl Loaded {
    /// Without what only pages about it show.
    fn in_short(mut self) -> Self {
        self.run.recipe.text = String::new();
        self.run.recipe.recipe_text = None;
        self.run.events = Vec::new();
        if let Some(summary) = &mut self.summary {
            let samples = [
                &mut summary.service_time_s,
                &mut summary.send_lag_s,
                &mut summary.ttfb_s,
                &mut summary.ttft_s,
                &mut summary.ttft_first_chunk_s,
                &mut summary.tpot_s,
                &mut summary.itl_s,
            ];
            let samples = samples.into_iter().flatten().chain([&mut summary.latency_s]);
            samples.for_each(|sample| sample.histogram = None);
            summary.timeline = Timeline::default();
            summary.operations.clear();
            summary.steps_s.clear();
            summary.server_s.clear();
            summary.error_summary.clear();
            summary.gates = Vec::new();
        }
        self.resources = crate::pages::monitoring::telling(&self.resources);
        self.is_whole = false;
        self
    }
}

fn unreadable(id: &BenchmarkId) -> String {
    format!("cannot read {id}: `runner verify {id}` tells what is wrong")
}

fn load_benchmark(benchmark: &Benchmark, with_logs: bool) -> Result<Loaded> {
    let requests = benchmark.manifest.files.get("requests.jsonl.zst");
    let resources = match benchmark.resources()? {
        Some(reader) => reader.collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let run = benchmark.run()?;
    let log_report = match with_logs {
        true => read_issues(benchmark, run.started_at.unwrap_or(run.created_at))?,
        false => LogReport::default(),
    };
    let summary = benchmark.summary()?;
    Ok(Loaded {
        id: benchmark.id,
        digest: benchmark.digest()?,
        run,
        figures: summary.as_ref().map(|summary| Repetition::whole(benchmark.id, summary)),
        summary,
        resources,
        log_report,
        requests_bytes: requests.map(|entry| entry.size_bytes),
        requests_external: requests.is_some_and(|entry| entry.external),
        is_whole: true,
    })
}

fn read_issues(benchmark: &Benchmark, near: archive::Timestamp) -> Result<LogReport> {
    let mut reader = LogReader::new(near);
    for name in benchmark.logs() {
        let Some(mut lines) = benchmark.log_lines(name)? else { continue };
        reader.begin(name.strip_suffix(".zst").unwrap_or(name));
        while let Some(line) = lines.next_line()? {
            reader.line(line);
        }
    }
    Ok(reader.finish())
}

/// The end of a log, whatever its length, in bounded memory.
fn read_log(name: &str, path: &Path) -> Result<Log> {
    let file = BufReader::new(File::open(path)?);
    let (name, mut reader): (&str, Box<dyn Read>) = match name.strip_suffix(".zst") {
        Some(name) => (name, Box::new(zstd::Decoder::with_buffer(file)?)),
        None => (name, Box::new(file)),
    };
    let mut end = Vec::new();
    let mut left_out = 0;
    let mut chunk = vec![0; LOG_LIMIT];
    loop {
        let read = reader.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        end.extend_from_slice(&chunk[..read]);
        let excess = end.len().saturating_sub(LOG_LIMIT);
        end.drain(..excess);
        left_out += excess as u64;
    }
    if left_out > 0 {
        // Begins with a whole line.
        let first = end.iter().position(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        end.drain(..first);
        left_out += first as u64;
    }
    Ok(Log { name: name.to_owned(), text: String::from_utf8_lossy(&end).into_owned(), left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let text: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        let plain = folder.path().join("service.log");
        std::fs::write(&plain, &text).expect("written");
        let packed = folder.path().join("service.log.zst");
        std::fs::write(&packed, zstd::encode_all(text.as_bytes(), 3).expect("packed")).expect("written");
        for (name, path) in [("service.log", &plain), ("service.log.zst", &packed)] {
            let log = read_log(name, path).expect("read");
            assert_eq!(log.name, "service.log");
            assert!(log.text.starts_with("line ") && log.text.ends_with("line 9999\n"), "{}", &log.text[..20]);
            assert_eq!(log.left_out as usize + log.text.len(), text.len());
            assert!(log.text.len() <= LOG_LIMIT);
        }
    }
}
