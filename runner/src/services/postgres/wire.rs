//! PostgreSQL's wire protocol, version 3: the messages that a load sends, and the stream of those it reads.
//!
//! No socket here. Numbers are big endian; a message is a tag, its length without the tag, and its body.

/// Longest message that is believed.
const LONGEST: usize = 256 << 20;

/// Type OID of a 32-bit integer.
const INT4: u32 = 23;

/// Appends a message: what `body` writes, behind tag and length.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    framed(out, body);
}

fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - begin) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The first message: who is there, and which settings the session has.
pub fn startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    framed(out, |out| {
        out.extend_from_slice(&196_608_u32.to_be_bytes());
        for (name, value) in parameters {
            text(out, name);
            text(out, value);
        }
        out.push(0);
    });
}

/// A password, or its hash.
pub fn password(out: &mut Vec<u8>, password: &str) {
    message(out, b'p', |out| text(out, password));
}

/// The first message of SASL.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    message(out, b'p', |out| {
        text(out, mechanism);
        out.extend_from_slice(&(data.len() as u32).to_be_bytes());
        out.extend_from_slice(data);
    });
}

pub fn sasl(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'p', |out| out.extend_from_slice(data));
}

/// A statement in words, of the simple protocol.
pub fn query(out: &mut Vec<u8>, sql: &str) {
    message(out, b'Q', |out| text(out, sql));
}

/// Prepares a statement under a name; the empty name lasts until the next. The first `integers` parameters are
/// 32-bit integers, the types of the others the server finds by itself.
pub fn parse(out: &mut Vec<u8>, name: &str, sql: &str, integers: u16) {
    message(out, b'P', |out| {
        text(out, name);
        text(out, sql);
        out.extend_from_slice(&integers.to_be_bytes());
        for _ in 0..integers {
            out.extend_from_slice(&INT4.to_be_bytes());
        }
    });
}

/// Binds the parameters of a prepared statement, in binary; the answer's columns come in binary too when `binary`.
#[inline]
pub fn bind(out: &mut Vec<u8>, name: &str, parameters: &[i32], binary: bool) {
    message(out, b'B', |out| {
        // The unnamed portal.
        out.push(0);
        text(out, name);
        // All parameters are binary.
        out.extend_from_slice(&[0, 1, 0, 1]);
        out.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            out.extend_from_slice(&[0, 0, 0, 4]);
            out.extend_from_slice(&parameter.to_be_bytes());
        }
        out.extend_from_slice(&[0, 1, 0, u8::from(binary)]);
    });
}

/// Binds parameters in words.
pub fn bind_text(out: &mut Vec<u8>, name: &str, parameters: &[&str]) {
    message(out, b'B', |out| {
        out.push(0);
        text(out, name);
        // No formats given: all text, both ways.
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            out.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
            out.extend_from_slice(parameter.as_bytes());
        }
        out.extend_from_slice(&[0, 0]);
    });
}

/// Runs what is bound, to its end, and then says when all is done.
#[inline]
pub fn execute_and_sync(out: &mut Vec<u8>) {
    // Execute: the unnamed portal, no limit of rows. Sync.
    out.extend_from_slice(&[b'E', 0, 0, 0, 9, 0, 0, 0, 0, 0, b'S', 0, 0, 0, 4]);
}

pub fn sync(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'S', 0, 0, 0, 4]);
}

/// Says goodbye.
pub fn terminate(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'X', 0, 0, 0, 4]);
}

/// What has been read and not yet taken.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Reads are appended here.
    pub bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// The next whole message: its tag and body. `None`: not all there yet; more may be appended to `bytes`.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u8, &[u8])>, String> {
        let rest = &self.bytes[self.taken..];
        let Some((&[tag, a, b, c, d], body)) = rest.split_first_chunk::<5>() else {
            self.forget_taken();
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=LONGEST).contains(&length) || !tag.is_ascii_alphanumeric() {
            return Err(format!("wrong answer: not of PostgreSQL: `{}`", rest[..rest.len().min(60)].escape_ascii()));
        }
        if body.len() < length - 4 {
            self.forget_taken();
            return Ok(None);
        }
        let begin = self.taken + 5;
        self.taken = begin + length - 4;
        Ok(Some((tag, &self.bytes[begin..self.taken])))
    }

    /// Whether every byte has been taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
    }
}

/// The columns of a row; `None` is NULL.
pub fn columns(body: &[u8]) -> Result<Columns<'_>, String> {
    let (count, rest) = body.split_first_chunk::<2>().ok_or("wrong answer: a row that is cut")?;
    Ok(Columns { left: u16::from_be_bytes(*count), rest })
}

#[derive(Clone, Debug)]
pub struct Columns<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for Columns<'a> {
    type Item = Result<Option<&'a [u8]>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let cut = || "wrong answer: a row that is cut".to_owned();
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else { return Some(Err(cut())) };
        self.rest = rest;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Some(Ok(None)) };
        match rest.split_at_checked(length) {
            Some((value, rest)) => {
                self.rest = rest;
                Some(Ok(Some(value)))
            }
            None => Some(Err(cut())),
        }
    }
}

/// Payload bytes of a row: its values without their lengths.
pub fn payload(body: &[u8]) -> u64 {
    columns(body).into_iter().flatten().map_while(Result::ok).flatten().map(|value| value.len() as u64).sum()
}

/// An error in words, SQLSTATE first: `40P01: deadlock detected`.
pub fn error_text(body: &[u8]) -> String {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        fields.filter_map(|field| field.split_first()).find(|(first, _)| **first == kind)
    };
    let text = |kind: u8| field(kind).map(|(_, text)| String::from_utf8_lossy(text).into_owned());
    format!("{}: {}", text(b'C').unwrap_or_default(), text(b'M').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Every message as text.
    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, String> {
        let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
        for part in parts {
            inbox.bytes.extend_from_slice(part);
            while let Some((tag, body)) = inbox.next()? {
                seen.push(format!("{}{}", tag as char, body.escape_ascii()));
            }
        }
        Ok(seen)
    }

    const STREAM: &[u8] = b"2\0\0\0\x04D\0\0\0\x0e\0\x01\0\0\0\x04\0\0\0\x07C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    #[test]
    fn a_stream_is_read() {
        let expect = ["2", r"D\x00\x01\x00\x00\x00\x04\x00\x00\x00\x07", r"CSELECT 1\x00", "ZI"];
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
            let _ = columns(&bytes).map(|columns| columns.count());
            let _ = (payload(&bytes), error_text(&bytes));
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        let http = read([&b"HTTP/1.1 400 Bad Request\r\n"[..]]);
        assert_eq!(http, Err("wrong answer: not of PostgreSQL: `HTTP/1.1 400 Bad Request\\r\\n`".to_owned()));
        assert!(read([&b"Z\0\0\0\x03"[..]]).is_err());
    }

    #[test]
    fn rows_and_errors_are_taken_apart() {
        let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let values: Result<Vec<_>, _> = columns(row).expect("columns").collect();
        assert_eq!(values, Ok(vec![Some(&b"ab"[..]), None, Some(&b""[..])]));
        assert_eq!(payload(row), 2);
        assert!(columns(&row[..6]).expect("columns").any(|column| column.is_err()));
        assert_eq!(error_text(b"SERROR\0VERROR\0C40P01\0Mdeadlock detected\0\0"), "40P01: deadlock detected");
    }

    #[test]
    fn messages_are_written_to_the_byte() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        assert_eq!(written(&|out| query(out, "a")), b"Q\0\0\0\x06a\0");
        assert_eq!(written(&|out| parse(out, "s", "b", 1)), b"P\0\0\0\x0es\0b\0\0\x01\0\0\0\x17");
        let bound = b"B\0\0\0\x19\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\xff\xff\xff\xff\0\x01\0\x01";
        assert_eq!(written(&|out| bind(out, "s", &[-1], true)), bound);
    }
}
