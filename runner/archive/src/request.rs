//! One line of `requests.jsonl.zst`: what happened to one request.
//!
//! Lines stand in order of completion. Offsets are seconds from the benchmark's start on a monotonic
//! clock, with nanosecond resolution; what can be derived exactly is not stored twice.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One request, successful or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Place in the sequence of this client (closed loop) or of the whole benchmark (open loop), from 0.
    pub request_id: u64,
    /// The client that sent it, from 0.
    pub client: u32,
    /// What was asked for, in the service's words: `GET`, `SET`, `completion`.
    pub operation: String,
    /// Sent during warm-up, and so left out of every figure.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warmup: bool,
    /// When the schedule wanted it sent; absent in closed loop, where it equals `start_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_s: Option<f64>,
    /// Just before the first byte was written.
    pub start_s: f64,
    /// Response time: end − intended. In closed loop this is the service time, end − start.
    pub latency_s: f64,
    /// Whether a complete and right answer arrived in time.
    pub success: bool,
    /// Why not, when `success` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Payload bytes of the request.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_sent: u64,
    /// Payload bytes of the answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_received: u64,
    /// Time to the first byte of the answer's body, from `start_s`; where that is told apart from its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttfb_s: Option<f64>,
    /// Share of the true nearest neighbours that a search found, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Vectors that were uploaded, where these are what is asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vectors: u64,
    /// What a request of several round trips is made of, such as the statements of a transaction: name → its time.
    /// They follow each other without a gap.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps_s: BTreeMap<String, f64>,
    /// Time to the first chunk with content, from `start_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Time to the first chunk of any kind, from `start_s`: what some tools call TTFT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_first_chunk_s: Option<f64>,
    /// Gaps between consecutive content chunks, in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunk_gaps_us: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Input tokens that a drawn prompt was meant to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_input_tokens: Option<u64>,
    /// Input tokens that the server had in its prompt cache, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Content chunks, where these are not as many as the output tokens: several tokens came in one chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_chunks: Option<u64>,
    /// The server gave no usage: `output_tokens` is the number of content chunks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tokens_by_chunk: bool,
    /// Times that the server itself reports, by its own names: a part of what it did → seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_s: BTreeMap<String, f64>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Request {
    /// When the schedule wanted it sent, in seconds from the benchmark's start.
    pub fn intended(&self) -> f64 {
        self.intended_s.unwrap_or(self.start_s)
    }

    /// When the last byte was read, in seconds from the benchmark's start.
    pub fn end(&self) -> f64 {
        self.intended() + self.latency_s
    }

    /// end − start: what most tools call latency.
    pub fn service_time(&self) -> f64 {
        self.end() - self.start_s
    }

    /// start − intended: how late the load generator was.
    pub fn send_lag(&self) -> f64 {
        self.start_s - self.intended()
    }

    /// (E2E − TTFT) / (output tokens − 1), when there are at least two output tokens and not all of them came in one
    /// chunk: then nothing was seen of the time between them.
    pub fn tpot(&self) -> Option<f64> {
        let (ttft, tokens) = (self.ttft_s?, self.output_tokens?);
        (tokens > 1 && self.content_chunks != Some(1)).then(|| (self.service_time() - ttft) / (tokens - 1) as f64)
    }
}

/// Reads the lines of a `requests.jsonl.zst`, one at a time.
pub struct RequestReader {
    lines: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    line: Vec<u8>,
    number: u64,
    name: String,
}

impl RequestReader {
    /// Opens a zstd-compressed file of request lines.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let lines = BufReader::with_capacity(1 << 18, zstd::Decoder::new(file)?);
        Ok(Self { lines, line: Vec::new(), number: 0, name })
    }
}

impl Iterator for RequestReader {
    type Item = Result<Request>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        self.number += 1;
        match self.lines.read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => {
                Some(serde_json::from_slice(&self.line).with_context(|| format!("{}, line {}", self.name, self.number)))
            }
            Err(err) => Some(Err(err).with_context(|| format!("{}, line {}", self.name, self.number))),
        }
    }
}

/// Writes request lines, compressed as they come.
pub struct RequestWriter {
    out: BufWriter<zstd::Encoder<'static, File>>,
}

impl RequestWriter {
    /// Creates the file; level 3 keeps up with 200 MB/s on one core.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { out: BufWriter::with_capacity(1 << 17, zstd::Encoder::new(file, 3)?) })
    }

    pub fn write(&mut self, request: &Request) -> Result<()> {
        serde_json::to_writer(&mut self.out, request)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Ends the compressed stream and makes the file durable.
    pub fn finish(self) -> Result<()> {
        let file = self.out.into_inner().map_err(|err| err.into_error())?.finish()?;
        file.sync_all()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_times_are_exact() {
        let request =
            Request { intended_s: Some(1.0), start_s: 1.25, latency_s: 0.75, success: true, ..Request::default() };
        assert_eq!((request.end(), request.service_time(), request.send_lag()), (1.75, 0.5, 0.25));
        let closed = Request { start_s: 1.25, latency_s: 0.5, ..Request::default() };
        assert_eq!((closed.intended(), closed.end(), closed.send_lag()), (1.25, 1.75, 0.0));
    }

    #[test]
    fn tokens_that_came_all_at_once_have_no_time_between_them() {
        let request = Request { latency_s: 1.0, ttft_s: Some(0.4), output_tokens: Some(4), ..Request::default() };
        for (content_chunks, expect) in [(None, Some(0.2)), (Some(2), Some(0.2)), (Some(1), None)] {
            let tpot = Request { content_chunks, ..request.clone() }.tpot();
            assert_eq!(tpot.map(|time| (time * 1e9).round() / 1e9), expect, "{content_chunks:?}");
        }
        assert_eq!(Request { output_tokens: Some(1), ..request }.tpot(), None);
    }

    #[test]
    fn written_lines_are_read_back() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("requests.jsonl.zst");
        let requests: Vec<_> = (0..1000)
            .map(|id| Request {
                request_id: id,
                operation: "GET".into(),
                start_s: id as f64 / 1e9,
                latency_s: 123.456_789_012,
                success: id % 2 == 0,
                error: (id % 2 == 1).then(|| "timeout".to_owned()),
                ..Request::default()
            })
            .collect();
        let mut writer = RequestWriter::create(&path).expect("created");
        requests.iter().for_each(|request| writer.write(request).expect("written"));
        writer.finish().expect("finished");
        let read: Vec<_> = RequestReader::open(&path).expect("opened").collect::<Result<_>>().expect("read");
        assert_eq!(read, requests);
    }
}
