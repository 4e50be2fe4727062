//! Server-sent events: the data of each event, from a stream that may be cut anywhere.
//!
//! By the WHATWG's parsing rules, of which only `data` matters here; comments, ids, names and retry times are
//! passed over.

use crate::services::llm::stream::Framing;

/// Longest data of one event.
const LONGEST: usize = 16 << 20;

/// Reads a stream of events.
#[derive(Debug, Default)]
pub struct Reader {
    /// The line begun.
    line: Vec<u8>,
    /// The data lines of the event begun.
    data: Option<Vec<u8>>,
    /// The last byte was `\r`: a `\n` now belongs to it.
    after_return: bool,
}

impl Framing for Reader {
    /// A piece is the data of an event.
    fn feed(&mut self, mut input: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), String> {
        while let Some(first) = input.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                input = &input[1..];
                continue;
            }
            let end = input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.line.extend_from_slice(&input[..end.unwrap_or(input.len())]);
            if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > LONGEST {
                return Err("wrong answer: an event without end".into());
            }
            let Some(end) = end else { break };
            self.after_return = input[end] == b'\r';
            input = &input[end + 1..];
            if self.line.is_empty() {
                self.finish(&mut take);
                continue;
            }
            if let Some(data) = data_of(&self.line) {
                match &mut self.data {
                    None => self.data = Some(data.to_vec()),
                    Some(all) => {
                        all.push(b'\n');
                        all.extend_from_slice(data);
                    }
                }
            }
            self.line.clear();
        }
        Ok(())
    }

    /// Hands on the event whose lines are whole though no empty line ended it: some servers leave the last out.
    fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if let Some(data) = self.data.take() {
            take(&data);
        }
    }
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut reader, mut events) = (Reader::default(), Vec::new());
        for part in parts {
            let text = |data: &[u8]| events.push(String::from_utf8_lossy(data).into_owned());
            reader.feed(part, text).expect("short lines");
        }
        events
    }

    const STREAM: &[u8] = ": hello\n\ndata: one\n\ndata:two\r\n\r\nevent: x\rid: 7\rdata: thr\u{e9}\rdata: ee\r\r\n\
        data\n\n\ndata: [DONE]\n\ndata: half"
        .as_bytes();

    #[test]
    fn a_stream_is_read() {
        assert_eq!(read([STREAM]), ["one", "two", "thr\u{e9}\nee", "", "[DONE]"]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cuts in vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            prop_assert_eq!(read(cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]])), read([STREAM]));
        }

        #[test]
        fn any_events_are_read_back(
            events in vec("[^\r\n]{0,40}", 0..10), ends in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            size in 1usize..50,
        ) {
            let stream: String = events.iter().map(|data| format!("data: {data}{ends}: ping{ends}{ends}")).collect();
            prop_assert_eq!(read(stream.as_bytes().chunks(size)), events);
        }
    }

    #[test]
    fn the_last_event_needs_whole_lines_only() {
        for (stream, expect) in [("data: a\n", Some("a")), ("data: a", None), ("data: a\ndata: b", Some("a"))] {
            let mut reader = Reader::default();
            reader.feed(stream.as_bytes(), |_| panic!("no event yet")).expect("short");
            let mut last = None;
            reader.finish(|data| last = Some(String::from_utf8_lossy(data).into_owned()));
            assert_eq!(last.as_deref(), expect);
        }
    }
}
