//! What the event loops recorded, one file each, and its way into the archive.
//!
//! A spool that was cut off anywhere (the runner was killed, the disk ran full) is good up to the cut. Memory
//! does not grow with the number of records.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use archive::{Request, RequestWriter, Timestamp};

use record::{MAGIC, Record, RequestRecord};

pub(super) mod record;

/// What spools say of a load as a whole, also one whose runner died.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spooled {
    /// Wall clock at offset 0; absent when the load never began.
    pub started_at: Option<Timestamp>,
    /// Where the measurement window begins, in seconds from offset 0; absent when warm-up never ended.
    pub window_start_s: Option<f64>,
    /// When the last recorded request ended, in seconds from offset 0.
    pub last_end_s: Option<f64>,
    /// Requests, warm-up included.
    pub recorded: u64,
    /// A spool ends within a record.
    pub truncated: bool,
}

/// The path of the spool of event loop `thread` in the folder of a point.
pub fn path(folder: &Path, thread: usize) -> PathBuf {
    folder.join(format!("spool-{thread}.bin"))
}

/// Removes the spools, also those of parts, after their content is safe elsewhere.
pub fn remove(folder: &Path) -> Result<()> {
    for path in spools(folder)? {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The folder of part `number` in that of a point whose load several nodes drive.
pub fn part_folder(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{PART}{number}"))
}

const PART: &str = "node-";

/// The folders of all parts in that of a point; none when one node drives it.
pub fn part_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PART)) && path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Those of the folder and of the parts in it.
fn spools(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for folder in std::iter::once(folder.to_owned()).chain(part_folders(folder)?) {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with("spool-") && name.ends_with(".bin") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Writes the requests of all spools in `folder`, also those of parts, to `out` (a `requests.jsonl.zst`), merged by the time they
/// ended. Within one spool the order is that in which they were recorded: a pipelined batch is recorded at its end.
pub fn to_requests(folder: &Path, out: &Path) -> Result<Spooled> {
    let mut readers: Vec<SpoolReader> =
        spools(folder)?.iter().map(|path| SpoolReader::open(path)).collect::<Result<_>>()?;
    let mut writer = RequestWriter::create(out)?;
    let mut spooled = Spooled::default();
    let mut last_end_ns = None;
    let mut heads = BinaryHeap::new();
    for (place, reader) in readers.iter_mut().enumerate() {
        if reader.advance()? {
            heads.push(Reverse((reader.request.end_ns, place)));
        }
    }
    let mut line = Request::default();
    while let Some(Reverse((end_ns, place))) = heads.pop() {
        let reader = &mut readers[place];
        reader.fill(&mut line)?;
        writer.write(&line)?;
        spooled.recorded += 1;
        last_end_ns = last_end_ns.max(Some(end_ns));
        if reader.advance()? {
            heads.push(Reverse((reader.request.end_ns, place)));
        }
    }
    writer.finish()?;
    for reader in &readers {
        spooled.started_at = spooled.started_at.or(reader.started_at);
        spooled.truncated |= reader.truncated;
        spooled.window_start_s = spooled.window_start_s.or(reader.window_start_ns.map(seconds));
    }
    spooled.last_end_s = last_end_ns.map(seconds);
    Ok(spooled)
}

/// Reads one spool, keeping what its definitions say.
struct SpoolReader {
    file: BufReader<File>,
    name: String,
    body: Vec<u8>,
    /// The current request; what the last successful `advance` read.
    request: RequestRecord,
    /// Of operations, behind them of steps, and behind these of the server's own times.
    names: Vec<String>,
    errors: Vec<String>,
    started_at: Option<Timestamp>,
    window_start_ns: Option<u64>,
    truncated: bool,
}

impl SpoolReader {
    fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut file =
            BufReader::with_capacity(1 << 17, File::open(path).with_context(|| format!("cannot open {name}"))?);
        let mut magic = Vec::new();
        file.by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .with_context(|| format!("cannot read {name}"))?;
        ensure!(MAGIC.starts_with(&magic), "{name} is not a spool of this version of the runner");
        Ok(Self {
            file,
            name,
            body: Vec::new(),
            request: RequestRecord::default(),
            names: Vec::new(),
            errors: Vec::new(),
            started_at: None,
            window_start_ns: None,
            truncated: magic.len() < MAGIC.len(),
        })
    }

    /// Goes on to the next request; `false` at the end, be it a cut.
    fn advance(&mut self) -> Result<bool> {
        while self.next_body()? {
            let Some(record) = record::parse(&self.body) else { bail!("{}: a record that cannot be read", self.name) };
            match record {
                Record::Request(request) => {
                    self.request = request;
                    return Ok(true);
                }
                Record::Header { started_at_us, names } => {
                    self.started_at = i64::try_from(started_at_us).ok().and_then(Timestamp::from_unix_us);
                    self.names = names;
                }
                Record::Error(text) => self.errors.push(text),
                Record::Window { start_ns } => self.window_start_ns = Some(start_ns),
            }
        }
        Ok(false)
    }

    /// Reads the next record into `body`; `false` at the end of what is whole.
    fn next_body(&mut self) -> Result<bool> {
        let buffered = self.file.fill_buf().with_context(|| format!("cannot read {}", self.name))?;
        if buffered.is_empty() {
            return Ok(false);
        }
        // Most records lie wholly in the buffer.
        if let Some((body, rest)) = record::split(buffered).map_err(|err| anyhow::anyhow!("{}: {err}", self.name))? {
            self.body.clear();
            self.body.extend_from_slice(body);
            let consumed = buffered.len() - rest.len();
            self.file.consume(consumed);
            return Ok(true);
        }
        let mut record = Vec::new();
        loop {
            let before = record.len();
            // One byte at a time until the length is known, then the whole rest.
            let want = match record::split(&record).map_err(|err| anyhow::anyhow!("{}: {err}", self.name))? {
                Some((body, _)) => {
                    self.body.clear();
                    self.body.extend_from_slice(body);
                    return Ok(true);
                }
                None => record::missing(&record),
            };
            self.file
                .by_ref()
                .take(want as u64)
                .read_to_end(&mut record)
                .with_context(|| format!("cannot read {}", self.name))?;
            if record.len() == before {
                self.truncated = true;
                return Ok(false);
            }
        }
    }

    /// Puts the current request into the archive's form.
    fn fill(&self, line: &mut Request) -> Result<()> {
        let request = &self.request;
        line.request_id = request.index;
        line.client = request.client;
        line.operation.clear();
        match self.names.get(usize::from(request.operation)) {
            Some(operation) => line.operation.push_str(operation),
            None => bail!("{}: a request of an operation that is not defined", self.name),
        }
        line.warmup = request.warmup;
        line.intended_s = request.intended_ns.map(seconds);
        line.start_s = seconds(request.start_ns);
        line.latency_s = seconds(request.response_ns());
        line.success = request.error == 0;
        line.error = match usize::try_from(request.error)?.checked_sub(1) {
            None => None,
            Some(number) => match self.errors.get(number) {
                Some(text) => Some(text.clone()),
                None => bail!("{}: a request with an error that is not defined", self.name),
            },
        };
        line.http_status = request.http_status;
        line.bytes_sent = request.bytes_sent;
        line.bytes_received = request.bytes_received;
        line.ttfb_s = request.first_byte_ns.map(seconds);
        line.recall = request.recall.map(|recall| f64::from(recall.found) / f64::from(recall.of));
        line.vectors = request.vectors;
        line.steps_s.clear();
        if let Some(steps) = &request.steps {
            let names = self.names.get(usize::from(steps.first)..).unwrap_or_default();
            line.steps_s.extend(names.iter().cloned().zip(steps.ns.iter().copied().map(seconds)));
        }
        line.server_s.clear();
        if let Some(server) = &request.server {
            let names = self.names.get(usize::from(server.first)..).unwrap_or_default();
            let times = names.iter().cloned().zip(server.ns.iter().copied());
            line.server_s.extend(times.filter_map(|(name, time)| Some((name, seconds(time?)))));
        }
        line.chunk_gaps_us.clear();
        let streamed = request.streamed.as_ref();
        line.ttft_s = streamed.and_then(|streamed| streamed.first_ns).map(seconds);
        line.ttft_first_chunk_s = streamed.and_then(|streamed| streamed.first_chunk_ns).map(seconds);
        line.input_tokens = streamed.and_then(|streamed| streamed.input_tokens);
        line.asked_input_tokens = streamed.and_then(|streamed| streamed.asked_tokens);
        line.cached_tokens = streamed.and_then(|streamed| streamed.cached_tokens);
        line.output_tokens = streamed.and_then(|streamed| streamed.output_tokens);
        let chunks = streamed.map(|streamed| {
            let first = u64::from(streamed.first_ns.is_some());
            first + streamed.gaps_us.len() as u64
        });
        line.content_chunks = chunks.filter(|chunks| line.output_tokens.is_some_and(|tokens| tokens != *chunks));
        line.tokens_by_chunk = streamed.is_some_and(|streamed| streamed.tokens_by_chunk);
        if let Some(streamed) = streamed {
            line.chunk_gaps_us.extend_from_slice(&streamed.gaps_us);
        }
        Ok(())
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use archive::RequestReader;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn spool(requests: &[RequestRecord]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MAGIC.to_vec();
        let mut ends = Vec::new();
        record::write_header(&mut bytes, 1_772_366_405_000_000, [&["SET", "GET"], &["one", "two"], &["load", "eval"]]);
        record::write_error(&mut bytes, "timeout");
        record::write_window(&mut bytes, 2_000_000_000);
        record::write_error(&mut bytes, "connection lost");
        for request in requests {
            request.write(&mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn requests(count: usize) -> impl Strategy<Value = Vec<RequestRecord>> {
        vec(record::tests::request(), 0..count).prop_map(|mut requests| {
            requests.iter_mut().for_each(|request| request.operation %= 2);
            requests.sort_by_key(|request| request.end_ns);
            requests
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn spools_are_merged_in_order_and_a_cut_loses_only_what_follows(
            a in requests(30), b in requests(300), cut in 0.0..1.0f64,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let (bytes, ends) = spool(&b);
            let cut = (bytes.len() as f64 * cut) as usize;
            std::fs::write(path(folder.path(), 0), spool(&a).0).expect("written");
            std::fs::write(path(folder.path(), 1), &bytes[..cut]).expect("written");
            let out = folder.path().join("requests.jsonl.zst");
            let spooled = to_requests(folder.path(), &out).expect("merged");
            let lines: Vec<_> = RequestReader::open(&out).expect("opened").map(|line| line.expect("a line")).collect();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(lines.len(), a.len() + whole);
            prop_assert_eq!(spooled.recorded as usize, lines.len());
            prop_assert_eq!(spooled.window_start_s, Some(2.0));
            let mut expect: Vec<_> = a.iter().chain(&b[..whole]).collect();
            expect.sort_by_key(|request| request.end_ns);
            for (line, request) in lines.iter().zip(expect) {
                prop_assert_eq!(line.latency_s, seconds(request.response_ns()));
                prop_assert_eq!(line.success, line.error.is_none());
            }
            remove(folder.path()).expect("removed");
            prop_assert!(spools(folder.path()).expect("read").is_empty());
        }
    }

    #[test]
    fn every_field_arrives() {
        let folder = tempfile::tempdir().expect("a folder");
        let streamed = record::StreamedRecord {
            first_chunk_ns: Some(1_000_000),
            first_ns: Some(2_000_000),
            gaps_us: vec![5, 0, 7],
            input_tokens: Some(3),
            asked_tokens: Some(4),
            cached_tokens: Some(2),
            output_tokens: Some(9),
            tokens_by_chunk: true,
        };
        let request = RequestRecord {
            warmup: true,
            operation: 1,
            client: 9,
            index: 77,
            intended_ns: Some(500_000_000),
            start_ns: 1_250_000_000,
            end_ns: 2_000_000_001,
            error: 2,
            http_status: Some(503),
            bytes_sent: 10,
            bytes_received: 20,
            first_byte_ns: Some(3_000_000),
            recall: Some(crate::load::Recall { found: 9, of: 10 }),
            vectors: 64,
            steps: Some(record::StepsRecord { first: 2, ns: vec![1_000_000, 2_000_000] }),
            server: Some(record::ServerRecord { first: 4, ns: vec![None, Some(5_000_000)] }),
            streamed: Some(streamed),
        };
        std::fs::write(path(folder.path(), 0), spool(&[request]).0).expect("written");
        let out = folder.path().join("requests.jsonl.zst");
        let spooled = to_requests(folder.path(), &out).expect("merged");
        assert_eq!(spooled.started_at.map(|time| time.to_string()).as_deref(), Some("2026-03-01T12:00:05.000000Z"));
        assert_eq!((spooled.last_end_s, spooled.truncated), (Some(2.000000001), false));
        let line = RequestReader::open(&out).expect("opened").next().expect("one").expect("a line");
        let expect = Request {
            request_id: 77,
            client: 9,
            operation: "GET".into(),
            warmup: true,
            intended_s: Some(0.5),
            start_s: 1.25,
            latency_s: 1.500000001,
            success: false,
            error: Some("connection lost".into()),
            http_status: Some(503),
            bytes_sent: 10,
            bytes_received: 20,
            ttfb_s: Some(0.003),
            recall: Some(0.9),
            vectors: 64,
            steps_s: [("one".to_owned(), 0.001), ("two".to_owned(), 0.002)].into(),
            ttft_s: Some(0.002),
            ttft_first_chunk_s: Some(0.001),
            chunk_gaps_us: vec![5, 0, 7],
            input_tokens: Some(3),
            asked_input_tokens: Some(4),
            cached_tokens: Some(2),
            output_tokens: Some(9),
            content_chunks: Some(4),
            tokens_by_chunk: true,
            server_s: [("eval".to_owned(), 0.005)].into(),
        };
        assert_eq!(line, expect);
    }

    #[test]
    fn something_else_is_refused() {
        for (bytes, reason) in [(&b"spool-9\n"[..], "not a spool"), (b"spool-3\n\0\0", "an empty record")] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(path(folder.path(), 0), bytes).expect("written");
            let err = to_requests(folder.path(), &folder.path().join("out")).expect_err("refused");
            assert!(format!("{err:#}").contains(reason), "{err:#}");
        }
    }
}
