//! The records of a spool, in bytes.
//!
//! A record is its length and then a tag and numbers, all numbers LEB128. Nothing refers to a later byte, so
//! what stands before a cut can be read. Times are nanoseconds from offset 0.

use crate::load::Recall;

/// Identifies a spool and its version; every spool begins with it.
pub const MAGIC: &[u8; 8] = b"spool-3\n";

/// Longest record that is believed: longer ones are a broken spool.
pub const LONGEST: usize = 1 << 26;

const REQUEST: u8 = 1;
const HEADER: u8 = 2;
const ERROR: u8 = 3;
const WINDOW: u8 = 4;

const SUCCESS: u64 = 1;
const WARMUP: u64 = 1 << 1;
const INTENDED: u64 = 1 << 2;
const HTTP: u64 = 1 << 3;
const STREAMED: u64 = 1 << 4;
const BY_CHUNK: u64 = 1 << 5;
const FIRST_BYTE: u64 = 1 << 6;
const RECALL: u64 = 1 << 7;
const STEPS: u64 = 1 << 8;
const SERVER: u64 = 1 << 9;
const VECTORS: u64 = 1 << 10;

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every record is a request, and none shall allocate a box")]
pub enum Record {
    Request(RequestRecord),
    /// The first record of a spool.
    Header {
        /// Wall clock at offset 0, in microseconds since the Unix epoch.
        started_at_us: u64,
        /// Of operations, behind them of steps, and behind these of the server's own times.
        names: Vec<String>,
    },
    /// The text of the next error number; they count from 1 in every spool.
    Error(String),
    /// Where the measurement window begins.
    Window {
        start_ns: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestRecord {
    pub warmup: bool,
    pub operation: u8,
    pub client: u32,
    pub index: u64,
    /// Open loop only.
    pub intended_ns: Option<u64>,
    pub start_ns: u64,
    pub end_ns: u64,
    /// 0: success; otherwise the number of the error text.
    pub error: u64,
    pub http_status: Option<u16>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// From `start_ns`.
    pub first_byte_ns: Option<u64>,
    pub recall: Option<Recall>,
    /// Uploaded ones; 0 where these are not what is asked for.
    pub vectors: u64,
    pub steps: Option<StepsRecord>,
    pub server: Option<ServerRecord>,
    pub streamed: Option<StreamedRecord>,
}

impl RequestRecord {
    /// End − intended (closed loop: − start), in nanoseconds.
    pub fn response_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.intended_ns.unwrap_or(self.start_ns))
    }
}

/// Times of the steps of a request, which follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepsRecord {
    /// Which of the names is the first's.
    pub first: u8,
    pub ns: Vec<u64>,
}

/// Times that the server reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerRecord {
    /// Which of the names is the first's.
    pub first: u8,
    pub ns: Vec<Option<u64>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamedRecord {
    /// From `start_ns`.
    pub first_chunk_ns: Option<u64>,
    pub first_ns: Option<u64>,
    pub gaps_us: Vec<u32>,
    pub input_tokens: Option<u64>,
    pub asked_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub tokens_by_chunk: bool,
}

#[inline]
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What all records have, as far as lists do not come: three single bytes and up to fourteen numbers.
const LONGEST_HEAD: usize = 3 + 14 * 10;

struct Head {
    bytes: [u8; LONGEST_HEAD],
    length: usize,
}

impl Head {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put(out, value.map_or(0, |value| value.saturating_add(1)));
}

/// Appends a record: what `body` writes, behind its length.
fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    // Nearly every record is shorter than 128 bytes, whose length takes one byte.
    out.push(0);
    body(out);
    let length = out.len() - begin - 1;
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out[begin] = short,
        _ => {
            let mut prefix = Vec::with_capacity(10);
            put(&mut prefix, length as u64);
            out.splice(begin..=begin, prefix);
        }
    }
}

impl RequestRecord {
    /// Appends the record.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        // Put together on the stack: it is done for every request.
        let mut head = Head { bytes: [0; LONGEST_HEAD], length: 0 };
        let by_chunk = self.streamed.as_ref().is_some_and(|streamed| streamed.tokens_by_chunk);
        let flags = flag(self.error == 0, SUCCESS)
            | flag(self.warmup, WARMUP)
            | flag(self.intended_ns.is_some(), INTENDED)
            | flag(self.http_status.is_some(), HTTP)
            | flag(self.streamed.is_some(), STREAMED)
            | flag(by_chunk, BY_CHUNK)
            | flag(self.first_byte_ns.is_some(), FIRST_BYTE)
            | flag(self.recall.is_some(), RECALL)
            | flag(self.steps.is_some(), STEPS)
            | flag(self.server.is_some(), SERVER)
            | flag(self.vectors > 0, VECTORS);
        head.push(REQUEST);
        head.put(flags);
        head.push(self.operation);
        head.put(u64::from(self.client));
        head.put(self.index);
        head.put(self.start_ns);
        head.put(self.end_ns.saturating_sub(self.start_ns));
        if let Some(intended) = self.intended_ns {
            head.put(self.start_ns.saturating_sub(intended));
        }
        if self.error != 0 {
            head.put(self.error);
        }
        if let Some(status) = self.http_status {
            head.put(u64::from(status));
        }
        head.put(self.bytes_sent);
        head.put(self.bytes_received);
        if let Some(first_byte) = self.first_byte_ns {
            head.put(first_byte);
        }
        if let Some(recall) = self.recall {
            head.put(u64::from(recall.found));
            head.put(u64::from(recall.of));
        }
        if self.vectors > 0 {
            head.put(self.vectors);
        }
        framed(out, |out| {
            out.extend_from_slice(&head.bytes[..head.length]);
            if let Some(steps) = &self.steps {
                out.push(steps.first);
                put(out, steps.ns.len() as u64);
                steps.ns.iter().for_each(|time| put(out, *time));
            }
            if let Some(server) = &self.server {
                out.push(server.first);
                put(out, server.ns.len() as u64);
                server.ns.iter().for_each(|time| put_option(out, *time));
            }
            if let Some(streamed) = &self.streamed {
                put_option(out, streamed.first_chunk_ns);
                put_option(out, streamed.first_ns);
                put_option(out, streamed.input_tokens);
                put_option(out, streamed.asked_tokens);
                put_option(out, streamed.cached_tokens);
                put_option(out, streamed.output_tokens);
                put(out, streamed.gaps_us.len() as u64);
                streamed.gaps_us.iter().for_each(|gap| put(out, u64::from(*gap)));
            }
        });
    }
}

pub fn write_header(out: &mut Vec<u8>, started_at_us: u64, names: [&[&str]; 3]) {
    framed(out, |out| {
        out.push(HEADER);
        put(out, started_at_us);
        for name in names.into_iter().flatten() {
            put(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
    });
}

pub fn write_error(out: &mut Vec<u8>, text: &str) {
    framed(out, |out| {
        out.push(ERROR);
        out.extend_from_slice(text.as_bytes());
    });
}

pub fn write_window(out: &mut Vec<u8>, start_ns: u64) {
    framed(out, |out| {
        out.push(WINDOW);
        put(out, start_ns);
    });
}

/// Bytes being read; every read is `None` past the end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn option(&mut self) -> Option<Option<u64>> {
        Some(self.number()?.checked_sub(1))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

/// The body of a record and what follows it; `None` when the record is not all there.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

/// Splits the first whole record off `bytes`. An error: what stands there is no record.
pub fn split(bytes: &[u8]) -> Result<Split<'_>, &'static str> {
    let mut rest = Bytes(bytes);
    let Some(length) = rest.number() else {
        return if bytes.len() > 10 { Err("a record's length is no number") } else { Ok(None) };
    };
    match usize::try_from(length) {
        Ok(0) => Err("an empty record"),
        Ok(length) if length <= LONGEST => Ok(rest.take(length).map(|body| (body, rest.0))),
        _ => Err("a record of impossible length"),
    }
}

/// How many bytes [`split`] lacks at least; 1 while the length itself is not all there.
pub fn missing(bytes: &[u8]) -> usize {
    let mut rest = Bytes(bytes);
    rest.number().map_or(1, |length| (length as usize).saturating_sub(rest.0.len()).max(1))
}

/// Reads the body of a record; `None` when it is none.
pub fn parse(body: &[u8]) -> Option<Record> {
    let mut bytes = Bytes(body);
    let record = match bytes.byte()? {
        REQUEST => Record::Request(parse_request(&mut bytes)?),
        HEADER => {
            let started_at_us = bytes.number()?;
            let mut names = Vec::new();
            while !bytes.0.is_empty() {
                let length = usize::try_from(bytes.number()?).ok()?;
                names.push(String::from_utf8(bytes.take(length)?.to_vec()).ok()?);
            }
            Record::Header { started_at_us, names }
        }
        ERROR => Record::Error(String::from_utf8_lossy(std::mem::take(&mut bytes.0)).into_owned()),
        WINDOW => Record::Window { start_ns: bytes.number()? },
        _ => return None,
    };
    bytes.0.is_empty().then_some(record)
}

#[inline]
fn parse_request(bytes: &mut Bytes<'_>) -> Option<RequestRecord> {
    let (flags, operation) = (bytes.number()?, bytes.byte()?);
    let (client, index, start_ns) = (u32::try_from(bytes.number()?).ok()?, bytes.number()?, bytes.number()?);
    let end_ns = start_ns.checked_add(bytes.number()?)?;
    let intended_ns = match flags & INTENDED {
        0 => None,
        _ => Some(start_ns.checked_sub(bytes.number()?)?),
    };
    let error = if flags & SUCCESS == 0 { bytes.number()? } else { 0 };
    let http_status = match flags & HTTP {
        0 => None,
        _ => Some(u16::try_from(bytes.number()?).ok()?),
    };
    let (bytes_sent, bytes_received) = (bytes.number()?, bytes.number()?);
    let first_byte_ns = match flags & FIRST_BYTE {
        0 => None,
        _ => Some(bytes.number()?),
    };
    let recall = match flags & RECALL {
        0 => None,
        _ => Some(Recall { found: u32::try_from(bytes.number()?).ok()?, of: u32::try_from(bytes.number()?).ok()? }),
    };
    let vectors = match flags & VECTORS {
        0 => 0,
        _ => bytes.number()?,
    };
    let steps = match flags & STEPS {
        0 => None,
        _ => {
            let (first, count) = (bytes.byte()?, bytes.number()?);
            Some(StepsRecord { first, ns: (0..count).map(|_| bytes.number()).collect::<Option<_>>()? })
        }
    };
    let server = match flags & SERVER {
        0 => None,
        _ => {
            let (first, count) = (bytes.byte()?, bytes.number()?);
            Some(ServerRecord { first, ns: (0..count).map(|_| bytes.option()).collect::<Option<_>>()? })
        }
    };
    let streamed = match flags & STREAMED {
        0 => None,
        _ => {
            let (first_chunk_ns, first_ns) = (bytes.option()?, bytes.option()?);
            let (input_tokens, asked_tokens) = (bytes.option()?, bytes.option()?);
            let (cached_tokens, output_tokens) = (bytes.option()?, bytes.option()?);
            let gaps = bytes.number()?;
            let gaps_us = (0..gaps).map(|_| u32::try_from(bytes.number()?).ok()).collect::<Option<_>>()?;
            let tokens_by_chunk = flags & BY_CHUNK != 0;
            Some(StreamedRecord {
                first_chunk_ns,
                first_ns,
                gaps_us,
                input_tokens,
                asked_tokens,
                cached_tokens,
                output_tokens,
                tokens_by_chunk,
            })
        }
    };
    Some(RequestRecord {
        warmup: flags & WARMUP != 0,
        operation,
        client,
        index,
        intended_ns,
        start_ns,
        end_ns,
        error,
        http_status,
        bytes_sent,
        bytes_received,
        first_byte_ns,
        recall,
        vectors,
        steps,
        server,
        streamed,
    })
}

#[cfg(test)]
pub mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn streamed() -> impl Strategy<Value = StreamedRecord> {
        let times = (option::of(0..u64::MAX - 1), option::of(0..1u64 << 40));
        let count = || option::of(0..u64::MAX - 1);
        let tokens = (option::of(0..1u64 << 50), option::of(0..1u64 << 20), any::<bool>(), count(), count());
        (times, vec(any::<u32>(), 0..200), tokens).prop_map(|(times, gaps_us, tokens)| StreamedRecord {
            first_chunk_ns: times.0,
            first_ns: times.1,
            gaps_us,
            input_tokens: tokens.0,
            asked_tokens: tokens.4,
            cached_tokens: tokens.3,
            output_tokens: tokens.1,
            tokens_by_chunk: tokens.2,
        })
    }

    pub fn request() -> impl Strategy<Value = RequestRecord> {
        let place = (any::<bool>(), any::<u8>(), any::<u32>(), any::<u64>());
        let times = (0..1u64 << 60, 0..1u64 << 60, option::of(0..=100u64));
        let rest = (0..3u64, option::of(any::<u16>()), any::<u64>(), any::<u64>(), option::of(streamed()));
        let steps = (any::<u8>(), vec(any::<u64>(), 0..20)).prop_map(|(first, ns)| StepsRecord { first, ns });
        let server =
            (any::<u8>(), vec(option::of(0..u64::MAX - 1), 0..8)).prop_map(|(first, ns)| ServerRecord { first, ns });
        let recall = option::of((any::<u32>(), any::<u32>()));
        let more = (option::of(any::<u64>()), recall, option::of(steps), option::of(server), any::<u64>());
        (place, times, rest, more).prop_map(|(place, (start_ns, took, late_percent), rest, more)| RequestRecord {
            warmup: place.0,
            operation: place.1,
            client: place.2,
            index: place.3,
            intended_ns: late_percent.map(|percent| start_ns / 100 * percent),
            start_ns,
            end_ns: start_ns + took,
            error: rest.0,
            http_status: rest.1,
            bytes_sent: rest.2,
            bytes_received: rest.3,
            first_byte_ns: more.0,
            recall: more.1.map(|(found, of)| Recall { found, of }),
            vectors: more.4,
            steps: more.2,
            server: more.3,
            streamed: rest.4,
        })
    }

    proptest! {
        #[test]
        fn requests_are_read_back_and_cuts_are_noticed(records in vec(request(), 1..20), cut in 0.0..1.0f64) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for record in &records {
                record.write(&mut bytes);
                ends.push(bytes.len());
            }
            let cut = (bytes.len() as f64 * cut) as usize;
            for limit in [bytes.len(), cut] {
                let whole = ends.iter().filter(|end| **end <= limit).count();
                let (mut rest, mut read) = (&bytes[..limit], Vec::new());
                while let Some((body, after)) = split(rest).expect("no broken record") {
                    read.push(parse(body).expect("a record"));
                    rest = after;
                }
                let expect: Vec<_> = records[..whole].iter().cloned().map(Record::Request).collect();
                prop_assert_eq!(read, expect);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..100)) {
            if let Ok(Some((body, _))) = split(&bytes) {
                let _ = parse(body);
            }
        }
    }

    #[test]
    fn definitions_are_read_back() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, 1_772_366_405_000_120, [&["SET", "GET"], &["a"], &["load"]]);
        write_error(&mut bytes, &"long ".repeat(100));
        write_window(&mut bytes, 5);
        let (mut rest, mut read) = (&bytes[..], Vec::new());
        while let Some((body, after)) = split(rest).expect("no broken record") {
            read.push(parse(body).expect("a record"));
            rest = after;
        }
        let header = Record::Header {
            started_at_us: 1_772_366_405_000_120,
            names: ["SET", "GET", "a", "load"].map(str::to_owned).to_vec(),
        };
        assert_eq!(read, [header, Record::Error("long ".repeat(100)), Record::Window { start_ns: 5 }]);
    }
}
