//! The part of Redis' protocol (RESP2) that a load needs: writing commands, reading simple answers.
//!
//! Answers are read as they arrive and never collected: a value is handed on piece by piece. Arrays are not
//! read; no command that is sent here answers with one.

/// Longest status or error line.
const LONGEST_LINE: usize = 4096;

/// Appends a command: an array of bulk strings.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    number(out, b'*', parts.len());
    for part in parts {
        bulk(out, part);
    }
}

/// Appends a bulk string.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a type byte, a number and the end of the line.
pub fn number(out: &mut Vec<u8>, kind: u8, mut value: usize) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[begin..]);
    out.extend_from_slice(b"\r\n");
}

/// A piece of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole `+…` answer.
    Status(&'a [u8]),
    /// A whole `-…` answer.
    Error(&'a [u8]),
    /// A whole `:…` answer.
    Integer(&'a [u8]),
    /// A whole `$-1` answer: there is no such value.
    Nil,
    /// Some bytes of a value of `length` bytes, from `offset` on. The answer is whole only with `ValueEnd`.
    Value { length: usize, offset: usize, bytes: &'a [u8] },
    /// The value was of that length, and all of it has been handed on.
    ValueEnd { length: usize },
}

/// Reads a stream of answers, however it is cut.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Line,
    Value {
        length: usize,
        offset: usize,
    },
    /// The line end behind a value; so many bytes of it have been read.
    End {
        length: usize,
        read: usize,
    },
}

impl Reader {
    /// Hands every piece in `input` to `take`, in order. What is not whole yet is kept for the next call. An error
    /// means that the stream is none of this protocol.
    pub fn feed(&mut self, mut input: &[u8], mut take: impl FnMut(Piece<'_>)) -> Result<(), String> {
        while !input.is_empty() {
            match self.state {
                State::Line => {
                    let end = input.iter().position(|byte| *byte == b'\n');
                    let (head, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
                    input = rest;
                    if self.line.len() + head.len() > LONGEST_LINE {
                        return Err("a line without end".into());
                    }
                    if end.is_none() {
                        self.line.extend_from_slice(head);
                    } else if self.line.is_empty() {
                        self.state = read_line(head, &mut take)?;
                    } else {
                        self.line.extend_from_slice(head);
                        self.state = read_line(&self.line, &mut take)?;
                        self.line.clear();
                    }
                }
                State::Value { length, offset } => {
                    let (bytes, rest) = input.split_at(input.len().min(length - offset));
                    input = rest;
                    take(Piece::Value { length, offset, bytes });
                    let offset = offset + bytes.len();
                    self.state =
                        if offset == length { State::End { length, read: 0 } } else { State::Value { length, offset } };
                }
                State::End { length, read } => {
                    if input[0] != b"\r\n"[read] {
                        return Err("a value longer than announced".into());
                    }
                    input = &input[1..];
                    self.state = State::End { length, read: 1 };
                    if read == 1 {
                        take(Piece::ValueEnd { length });
                        self.state = State::Line;
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_line(line: &[u8], take: &mut impl FnMut(Piece<'_>)) -> Result<State, String> {
    let Some((kind, text)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
        return Err(unexpected(line));
    };
    match kind {
        b'+' => take(Piece::Status(text)),
        b'-' => take(Piece::Error(text)),
        b':' => take(Piece::Integer(text)),
        b'$' if text == b"-1" => take(Piece::Nil),
        b'$' => {
            let length = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            return match length {
                Some(0) => Ok(State::End { length: 0, read: 0 }),
                Some(length) => Ok(State::Value { length, offset: 0 }),
                None => Err(unexpected(line)),
            };
        }
        _ => return Err(unexpected(line)),
    }
    Ok(State::Line)
}

fn unexpected(line: &[u8]) -> String {
    let shown = line[..line.len().min(60)].escape_ascii();
    format!("not an answer of Redis: `{shown}`")
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The pieces as text, values put together again.
    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, String> {
        let (mut reader, mut seen, mut value) = (Reader::default(), Vec::new(), Vec::new());
        for part in parts {
            reader.feed(part, |piece| match piece {
                Piece::Value { length, offset, bytes } => {
                    assert_eq!(offset, value.len());
                    assert!(offset + bytes.len() <= length);
                    value.extend_from_slice(bytes);
                }
                Piece::ValueEnd { length } => {
                    assert_eq!(length, value.len());
                    seen.push(format!("value {}", std::mem::take(&mut value).escape_ascii()));
                }
                other => seen.push(format!("{other:?}")),
            })?;
        }
        Ok(seen)
    }

    const STREAM: &[u8] = b"+OK\r\n$5\r\na\r\nb\n\r\n:12\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n+\r\n";

    #[test]
    fn a_stream_is_read() {
        let expect = [
            "Status([79, 75])",
            r"value a\r\nb\n",
            "Integer([49, 50])",
            "Nil",
            "value ",
            "Error([69, 82, 82, 32, 110, 111])",
            "Status([])",
        ];
        assert_eq!(read([STREAM]), Ok(expect.map(String::from).to_vec()));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cuts in vec(0..STREAM.len(), 0..10)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            prop_assert_eq!(read(cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]])), read([STREAM]));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..60)) {
            let _ = read([&bytes[..]]);
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        for (stream, reason) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "not an answer of Redis: `HTTP/1.1 400 Bad Request\\r\\n`"),
            (b"*1\r\n", "not an answer of Redis: `*1\\r\\n`"),
            (b"$x\r\n", "not an answer of Redis: `$x\\r\\n`"),
            (b"$1\r\nab\r\n", "a value longer than announced"),
            (&[b'+'; 5000], "a line without end"),
        ] {
            assert_eq!(read([stream]), Err(reason.to_owned()));
        }
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"key", b"twelve bytes"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\ntwelve bytes\r\n");
    }
}
