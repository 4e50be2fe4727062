//! From the event loops to the disk: each loop fills buffers, one thread appends them to the spools.
//!
//! Between a loop and the writer go whole buffers, a few a second or one in some thousand requests; they come
//! back for reuse. Their number is bounded: when the disk does not keep up, the loops wait for it, which shows
//! as a stall of the loop.

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use analysis::precision::PrecisionRule;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{
    Exchange, Outcome, Precision, PrecisionFacts, Quantity,
    spool::{
        self,
        record::{self, MAGIC, Record, RequestRecord, ServerRecord, StepsRecord, StreamedRecord},
    },
};

/// A buffer is handed over when it holds this many bytes …
const BUFFER: usize = 64 << 10;
/// … or its first record is this old.
pub const OLDEST: Duration = Duration::from_millis(250);
/// Most buffers of one event loop: 16 MiB.
const BUFFERS: usize = 256;
/// Different error texts that one event loop keeps apart.
const ERRORS: usize = 1000;
/// Longest error text, in bytes.
const ERROR_BYTES: usize = 400;
/// From the moment at which enough is known to the end of the window, so that all loops have noticed.
const END_NOTICE: Duration = Duration::from_millis(20);
/// Buffers of which the times are shown, of one half of a second.
const BUFFERS_READ: u64 = 8;
/// Between two writings of the progress.
const PROGRESS: Duration = Duration::from_millis(500);

/// Where a load is, for whoever watches: the content of `progress.json`, rewritten twice a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// Since offset 0.
    pub elapsed_s: f64,
    /// Since the start of the measurement window.
    pub measured_s: f64,
    /// Requests recorded, failed ones and warm-up included.
    pub requests: u64,
    pub failures: u64,
    /// Requests recorded per second over about the last second.
    pub requests_per_second: f64,
    /// Response time of the successful ones among these.
    pub latency_p99_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Warmup,
    Loading,
    Ended,
}

impl Progress {
    /// The file in the folder of a point.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("progress.json")
    }

    /// Of the whole load, also where several nodes drive it. `None` while there is none.
    pub fn read(folder: &Path) -> Option<Self> {
        let read = |folder: &Path| serde_json::from_slice::<Self>(&std::fs::read(Self::path(folder)).ok()?).ok();
        let parts = spool::part_folders(folder).unwrap_or_default();
        read(folder).or_else(|| parts.iter().filter_map(|part| read(part)).reduce(Self::with))
    }

    /// Both together; the percentile is the higher one.
    fn with(self, other: Self) -> Self {
        Self {
            phase: if self.phase == other.phase { self.phase } else { Phase::Loading },
            elapsed_s: self.elapsed_s.max(other.elapsed_s),
            measured_s: self.measured_s.max(other.measured_s),
            requests: self.requests + other.requests,
            failures: self.failures + other.failures,
            requests_per_second: self.requests_per_second + other.requests_per_second,
            latency_p99_s: self.latency_p99_s.into_iter().chain(other.latency_p99_s).reduce(f64::max),
        }
    }
}

/// What the writer must know of the load, and the load of the writer.
#[derive(Debug)]
pub struct WriterState {
    /// Start of the measurement window in nanoseconds from offset 0; `u64::MAX` while it is not known.
    pub window_start_ns: Arc<AtomicU64>,
    /// Set when the load cannot go on; here, because the disk is full or worse.
    pub failed: Arc<AtomicBool>,
    /// When the load is to end for knowing enough.
    pub precision: Option<Precision>,
    /// Set when it is: the end of the window, in nanoseconds from offset 0.
    pub end_ns: Arc<AtomicU64>,
}

struct Buffer {
    thread: usize,
    bytes: Vec<u8>,
    counts: Counts,
}

/// Requests, failed ones among them.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    failures: u64,
}

/// The event loop's end.
pub struct Recorder {
    thread: usize,
    buffer: Vec<u8>,
    /// Of what is in the buffer.
    counts: Counts,
    opened: Instant,
    out: mpsc::Sender<Buffer>,
    back: mpsc::Receiver<Vec<u8>>,
    buffers: usize,
    errors: HashMap<String, u64>,
    /// Place of the first step's name behind those of the operations.
    first_step: u8,
    /// Place of the first server time's name behind these.
    first_server: u8,
    pub recorded: u64,
}

/// What the event loop knows of a request besides its exchange.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub client: u32,
    /// Open loop only.
    pub intended: Option<Instant>,
    /// When the driver gave the request to the client: the start of one that the client never stamped.
    pub given: Instant,
}

impl Recorder {
    /// Begins the spool; offset 0 was or will be at `started_at_us` microseconds since the Unix epoch.
    /// `names`: of operations, steps and server times.
    pub fn begin(&mut self, started_at_us: u64, names: [&[&str]; 3]) {
        self.buffer.extend_from_slice(MAGIC);
        record::write_header(&mut self.buffer, started_at_us, names);
        self.first_step = names[0].len() as u8;
        self.first_server = self.first_step + names[1].len() as u8;
        self.hand_over();
    }

    /// Notes where the measurement window begins.
    pub fn window(&mut self, start_ns: u64) {
        record::write_window(&mut self.buffer, start_ns);
    }

    /// Records a request that has its outcome. Returns its end, in nanoseconds from `origin`.
    pub fn push(&mut self, exchange: &mut Exchange, attempt: Attempt, origin: Instant) -> u64 {
        let ns = |time: Instant| time.saturating_duration_since(origin).as_nanos() as u64;
        let start = exchange.start.unwrap_or(attempt.given);
        let end = exchange.end.unwrap_or(start);
        let error = match &exchange.outcome {
            Outcome::Ok => 0,
            Outcome::Failed(reason) => self.error_number(reason),
            Outcome::Pending => self.error_number("no outcome"),
        };
        let streamed = exchange.streamed.as_mut().map(|streamed| {
            let since =
                |time: Option<Instant>| time.map(|time| time.saturating_duration_since(start).as_nanos() as u64);
            StreamedRecord {
                first_chunk_ns: since(streamed.first_chunk),
                first_ns: since(streamed.first),
                gaps_us: std::mem::take(&mut streamed.gaps_us),
                input_tokens: streamed.input_tokens,
                asked_tokens: streamed.asked_tokens,
                cached_tokens: streamed.cached_tokens,
                output_tokens: streamed.output_tokens,
                tokens_by_chunk: streamed.tokens_by_chunk,
            }
        });
        let record = RequestRecord {
            warmup: exchange.place.warmup,
            operation: exchange.operation,
            client: attempt.client,
            index: exchange.place.index,
            intended_ns: attempt.intended.map(ns),
            start_ns: ns(start),
            end_ns: ns(end),
            error,
            http_status: exchange.http_status,
            bytes_sent: exchange.bytes_sent,
            bytes_received: exchange.bytes_received,
            first_byte_ns: exchange.first_byte.map(|time| time.saturating_duration_since(start).as_nanos() as u64),
            recall: exchange.recall,
            vectors: exchange.vectors,
            steps: (!exchange.steps_ns.is_empty())
                .then(|| StepsRecord { first: self.first_step, ns: std::mem::take(&mut exchange.steps_ns) }),
            server: (!exchange.server_ns.is_empty())
                .then(|| ServerRecord { first: self.first_server, ns: std::mem::take(&mut exchange.server_ns) }),
            streamed,
        };
        if self.buffer.is_empty() {
            self.opened = end;
        }
        record.write(&mut self.buffer);
        // Lists go back to the exchange, for their allocations.
        if let Some(steps) = record.steps {
            exchange.steps_ns = steps.ns;
        }
        if let Some(server) = record.server {
            exchange.server_ns = server.ns;
        }
        if let (Some(streamed), Some(written)) = (&mut exchange.streamed, record.streamed) {
            streamed.gaps_us = written.gaps_us;
        }
        self.recorded += 1;
        self.counts.requests += 1;
        self.counts.failures += u64::from(error != 0);
        if self.buffer.len() >= BUFFER - 128 {
            self.hand_over();
        }
        record.end_ns
    }

    /// Hands over what is old enough, so that a kill loses little and the progress is fresh.
    pub fn flush_old(&mut self, now: Instant) {
        if !self.buffer.is_empty() && now.saturating_duration_since(self.opened) >= OLDEST {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let empty = match self.back.try_recv() {
            Ok(returned) => returned,
            Err(_) if self.buffers < BUFFERS => {
                self.buffers += 1;
                Vec::with_capacity(BUFFER)
            }
            // Only when the disk is some hundred buffers behind.
            Err(_) => self.back.recv().unwrap_or_default(),
        };
        let bytes = std::mem::replace(&mut self.buffer, empty);
        // The writer lives until the last recorder is gone.
        let _ = self.out.send(Buffer { thread: self.thread, bytes, counts: std::mem::take(&mut self.counts) });
    }

    fn error_number(&mut self, reason: &str) -> u64 {
        if let Some(number) = self.errors.get(reason) {
            return *number;
        }
        let reason = if self.errors.len() < ERRORS { cut(reason) } else { "another error" };
        if let Some(number) = self.errors.get(reason) {
            return *number;
        }
        let number = self.errors.len() as u64 + 1;
        record::write_error(&mut self.buffer, reason);
        self.errors.insert(reason.to_owned(), number);
        number
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.buffer.is_empty() {
            self.hand_over();
        }
    }
}

/// The first [`ERROR_BYTES`] bytes, cut between characters.
fn cut(text: &str) -> &str {
    let end = (0..=ERROR_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// The other end: the thread that writes.
pub struct Writer {
    folder: PathBuf,
    files: Vec<File>,
    input: mpsc::Receiver<Buffer>,
    back: Vec<mpsc::Sender<Vec<u8>>>,
    state: WriterState,
    live: Live,
    rule: Option<PrecisionRule>,
}

/// A writer and one recorder a thread. The spools exist afterwards, and none of an earlier load.
pub fn open(folder: &Path, threads: usize, state: WriterState) -> Result<(Writer, Vec<Recorder>)> {
    spool::remove(folder)?;
    let (out, input) = mpsc::channel();
    let (mut files, mut backs, mut recorders) = (Vec::new(), Vec::new(), Vec::new());
    for thread in 0..threads {
        let path = spool::path(folder, thread);
        files.push(File::create(&path).with_context(|| format!("cannot create {}", path.display()))?);
        let (back, returned) = mpsc::channel();
        backs.push(back);
        recorders.push(Recorder {
            thread,
            buffer: Vec::with_capacity(BUFFER),
            counts: Counts::default(),
            opened: Instant::now(),
            out: out.clone(),
            back: returned,
            buffers: 1,
            errors: HashMap::new(),
            first_step: 0,
            first_server: 0,
            recorded: 0,
        });
    }
    let live = Live::new()?;
    let rule = state.precision.as_ref().map(PrecisionRule::new).transpose()?;
    Ok((Writer { folder: folder.to_owned(), files, input, back: backs, state, live, rule }, recorders))
}

impl Writer {
    /// Writes until every recorder is gone. `origin` is offset 0. When writing fails the rest is thrown away and
    /// the first error returned at the end.
    pub fn run(mut self, origin: Instant) -> Result<Option<PrecisionFacts>> {
        let mut result = Ok(());
        let mut next_progress = Instant::now() + PROGRESS;
        loop {
            let wait = next_progress.saturating_duration_since(Instant::now());
            let buffer = match self.input.recv_timeout(wait) {
                Ok(buffer) => Some(buffer),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            if let Some(Buffer { thread, mut bytes, counts }) = buffer {
                if result.is_ok() {
                    // A rule wants every time, the display some.
                    if self.live.count(counts) || self.rule.is_some() {
                        self.take_in(&bytes, origin);
                    }
                    result = self.files[thread]
                        .write_all(&bytes)
                        .with_context(|| format!("cannot write {}", spool::path(&self.folder, thread).display()));
                    self.state.failed.fetch_or(result.is_err(), Ordering::Relaxed);
                }
                bytes.clear();
                let _ = self.back[thread].send(bytes);
            }
            if Instant::now() >= next_progress {
                next_progress += PROGRESS;
                let window_start_ns = self.state.window_start_ns.load(Ordering::Relaxed);
                let written = self.write_progress(origin, window_start_ns, false);
                if result.is_ok() {
                    result = written;
                }
            }
        }
        let window_start_ns = self.state.window_start_ns.load(Ordering::Relaxed);
        result.and(self.write_progress(origin, window_start_ns, true))?;
        let reached = self.state.end_ns.load(Ordering::Relaxed) != u64::MAX;
        Ok(self.rule.map(|rule| rule.facts(reached)))
    }

    fn take_in(&mut self, bytes: &[u8], origin: Instant) {
        let mut bytes = bytes.strip_prefix(MAGIC).unwrap_or(bytes);
        while let Ok(Some((body, rest))) = record::split(bytes) {
            bytes = rest;
            let Some(Record::Request(request)) = record::parse(body) else { continue };
            self.live.time(&request);
            let Some(rule) = &mut self.rule else { continue };
            if request.warmup || request.error != 0 || self.state.end_ns.load(Ordering::Relaxed) != u64::MAX {
                continue;
            }
            let value = match rule.quantity() {
                Quantity::Latency => Some(request.response_ns()),
                Quantity::Ttft => request.streamed.as_ref().and_then(|streamed| streamed.first_ns),
            };
            if value.is_some_and(|value| rule.add(value)) {
                let end = (Instant::now() + END_NOTICE).saturating_duration_since(origin);
                self.state.end_ns.store(end.as_nanos() as u64, Ordering::Relaxed);
            }
        }
    }

    fn write_progress(&mut self, origin: Instant, window_start_ns: u64, ended: bool) -> Result<()> {
        let elapsed_ns = Instant::now().saturating_duration_since(origin).as_nanos() as u64;
        let (requests_per_second, latency_p99_s) = self.live.turn();
        let progress = Progress {
            phase: match ended {
                true => Phase::Ended,
                false if elapsed_ns < window_start_ns => Phase::Warmup,
                false => Phase::Loading,
            },
            elapsed_s: elapsed_ns as f64 / 1e9,
            measured_s: elapsed_ns.saturating_sub(window_start_ns) as f64 / 1e9,
            requests: self.live.requests,
            failures: self.live.failures,
            requests_per_second,
            latency_p99_s,
        };
        let path = Progress::path(&self.folder);
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&progress)?)
            .and_then(|()| std::fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Live figures: everything so far, and the last second as two halves. The times are those of every so manieth buffer where
/// there are many: reading them all would take time from the load on the same core.
struct Live {
    requests: u64,
    failures: u64,
    halves: [Histogram<u64>; 2],
    /// Buffers of this half.
    buffers: u64,
    /// Of these, one in so many is read.
    stride: u64,
    counts: [u64; 2],
    since: [Instant; 2],
}

impl Live {
    fn new() -> Result<Self> {
        // From a microsecond to an hour, two digits: it is a display.
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2)?;
        let now = Instant::now();
        let halves = [histogram.clone(), histogram];
        Ok(Self { requests: 0, failures: 0, halves, buffers: 0, stride: 1, counts: [0; 2], since: [now; 2] })
    }

    /// Counts a buffer; whether its times are wanted.
    fn count(&mut self, counts: Counts) -> bool {
        self.requests += counts.requests;
        self.failures += counts.failures;
        self.counts[0] += counts.requests;
        self.buffers += 1;
        self.buffers.is_multiple_of(self.stride)
    }

    fn time(&mut self, request: &RequestRecord) {
        if request.error == 0 {
            self.halves[0].saturating_record(request.response_ns() / 1000);
        }
    }

    /// Requests per second and p99 over the last two halves; begins a new half.
    fn turn(&mut self) -> (f64, Option<f64>) {
        let [new, old] = &mut self.halves;
        // Of the same bounds, so adding cannot fail.
        let _ = old.add(&*new);
        let p99 = (!old.is_empty()).then(|| old.value_at_quantile(0.99) as f64 / 1e6);
        let seconds = self.since[1].elapsed().as_secs_f64();
        let rate = (self.counts[0] + self.counts[1]) as f64 / seconds.max(1e-3);
        old.reset();
        self.halves.swap(0, 1);
        self.counts = [0, self.counts[0]];
        self.stride = (self.buffers / BUFFERS_READ).max(1);
        self.buffers = 0;
        self.since = [Instant::now(), self.since[0]];
        (rate, p99)
    }
}

#[cfg(test)]
mod tests {
    use archive::RequestReader;

    use super::*;
    use crate::load::{Place, Streamed};

    fn state() -> WriterState {
        WriterState {
            window_start_ns: Arc::new(AtomicU64::new(0)),
            failed: Arc::default(),
            precision: None,
            end_ns: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    fn exchange(index: u64, outcome: Outcome, start: Instant) -> Exchange {
        let place = Place { sequence: 0, index, warmup: false };
        let end = Some(start + Duration::from_micros(index));
        Exchange { place, start: Some(start), end, outcome, ..Exchange::default() }
    }

    #[test]
    fn what_is_pushed_arrives_in_the_archive_with_its_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let (writer, recorders) = open(folder.path(), 2, state()).expect("opened");
        let origin = Instant::now();
        let count = 20_000u64;
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| writer.run(origin));
            for mut recorder in recorders {
                scope.spawn(move || {
                    recorder.begin(1_772_366_405_000_000, [&["GET"], &[], &[]]);
                    recorder.window(0);
                    for index in 0..count {
                        let outcome = match index % 100 {
                            0 => Outcome::Failed("timeout".into()),
                            1 => Outcome::Failed(format!("error {index}").into()),
                            _ => Outcome::Ok,
                        };
                        let mut exchange = exchange(index, outcome, origin);
                        let attempt = Attempt { client: 0, intended: None, given: origin };
                        assert_eq!(recorder.push(&mut exchange, attempt, origin), index * 1000);
                    }
                });
            }
            writing.join().expect("ended").expect("written");
        });
        let progress = Progress::read(folder.path()).expect("progress");
        assert_eq!((progress.phase, progress.requests, progress.failures), (Phase::Ended, 2 * count, 2 * count / 50));
        let out = folder.path().join("requests.jsonl.zst");
        spool::to_requests(folder.path(), &out).expect("merged");
        let lines: Vec<_> = RequestReader::open(&out).expect("opened").map(|line| line.expect("a line")).collect();
        assert_eq!(lines.len() as u64, 2 * count);
        assert!(lines.windows(2).all(|pair| pair[0].end() <= pair[1].end()));
        for line in lines {
            let expect = match line.request_id % 100 {
                0 => Some("timeout".to_owned()),
                1 => Some(format!("error {}", line.request_id)),
                _ => None,
            };
            assert_eq!(line.error, expect);
        }
    }

    #[test]
    fn spools_of_an_earlier_load_are_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("requests.jsonl.zst");
        for threads in [3, 1] {
            let (writer, recorders) = open(folder.path(), threads, state()).expect("opened");
            let origin = Instant::now();
            for mut recorder in recorders {
                recorder.begin(0, [&["GET"], &[], &[]]);
                let attempt = Attempt { client: 0, intended: None, given: origin };
                recorder.push(&mut exchange(0, Outcome::Ok, origin), attempt, origin);
            }
            writer.run(origin).expect("written");
            assert_eq!(spool::to_requests(folder.path(), &out).expect("merged").recorded, threads as u64);
        }
    }

    #[test]
    fn error_texts_are_bounded_in_number_and_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let (writer, mut recorders) = open(folder.path(), 1, state()).expect("opened");
        let mut recorder = recorders.pop().expect("one");
        let origin = Instant::now();
        let attempt = Attempt { client: 0, intended: None, given: origin };
        recorder.begin(0, [&["GET"], &[], &[]]);
        for index in 0..2000 {
            let reason = format!("{index} {}", "ü".repeat(1000));
            recorder.push(&mut exchange(index, Outcome::Failed(reason.into()), origin), attempt, origin);
        }
        assert_eq!(recorder.errors.len(), ERRORS + 1);
        assert!(recorder.errors.keys().all(|text| text.len() <= ERROR_BYTES));
        drop(recorder);
        writer.run(origin).expect("written");
    }

    #[test]
    fn the_list_of_gaps_is_lent_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_writer, mut recorders) = open(folder.path(), 1, state()).expect("opened");
        let origin = Instant::now();
        let mut exchange = exchange(0, Outcome::Ok, origin);
        exchange.streamed = Some(Streamed { gaps_us: vec![1, 2], ..Streamed::default() });
        recorders[0].push(&mut exchange, Attempt { client: 0, intended: None, given: origin }, origin);
        assert_eq!(exchange.streamed.expect("kept").gaps_us, [1, 2]);
    }
}
