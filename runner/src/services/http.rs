//! An HTTP/1.1 client connection on which every read of the socket is stamped before anything is parsed.
//!
//! One request at a time over one keep-alive connection; no TLS, no redirects, no proxies, no compression. A
//! request is never sent twice.

use std::{io::ErrorKind, mem::MaybeUninit, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::load::Endpoint;

/// Longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;
/// Longest line of a chunked body's framing.
const LONGEST_LINE: usize = 8 << 10;
/// Longest body that [`get`] reads.
const LONGEST_BODY: usize = 4 << 20;

/// A connection.
pub struct Http {
    stream: TcpStream,
    /// Read and not yet consumed.
    input: Vec<u8>,
    /// When the last read brought something.
    read_at: Instant,
    body: Body,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// The connection ends with this answer.
    pub close: bool,
}

/// Some of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// When the read returned that brought it.
    pub at: Instant,
    /// The body is complete.
    pub done: bool,
}

impl Http {
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, String> {
        let stream =
            TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        Ok(Self { stream, input: Vec::with_capacity(16 << 10), read_at: Instant::now(), body: Body::Done })
    }

    /// Whether the connection can take a request: the server has not closed it while it was idle.
    pub fn is_idle(&self) -> bool {
        // Anything to read now, an end included, belongs to no request.
        let silent = matches!(self.stream.try_read(&mut [0]), Err(err) if err.kind() == ErrorKind::WouldBlock);
        silent && self.input.is_empty() && self.body == Body::Done
    }

    /// Connects anew when the server has closed the idle connection. Nothing was sent, so this is no retry.
    pub async fn revive(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        if !self.is_idle() {
            *self = Self::connect(endpoint).await.map_err(|err| format!("cannot connect: {err}"))?;
        }
        Ok(())
    }

    /// Writes a whole request.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream.write_all(request).await.map_err(|err| format!("connection lost while sending: {err}"))
    }

    /// Reads the head of the answer; informational answers (1xx) are passed over.
    pub async fn head(&mut self) -> Result<Head, String> {
        self.head_with(|_, _| {}).await
    }

    /// [`Http::head`] that shows every header, name and value as they came.
    pub async fn head_with(&mut self, header: impl FnMut(&str, &[u8])) -> Result<Head, String> {
        self.read_head(header, true).await
    }

    /// [`Http::head`] of the answer to a HEAD, which has no body whatever it says.
    pub async fn head_only(&mut self) -> Result<Head, String> {
        self.read_head(|_, _| {}, false).await
    }

    async fn read_head(&mut self, mut header: impl FnMut(&str, &[u8]), has_body: bool) -> Result<Head, String> {
        loop {
            if let Some((length, mut head, body)) = parse_head(&self.input, &mut header)? {
                self.input.drain(..length);
                if head.status >= 200 {
                    self.body = if has_body { body } else { Body::Done };
                    head.close &= has_body || body != Body::UntilClose;
                    return Ok(head);
                }
            } else if self.input.len() > LONGEST_HEAD {
                return Err("wrong answer: a head without end".into());
            } else if self.read().await? == 0 {
                return Err("connection closed before the answer".into());
            }
        }
    }

    /// Appends to `out` what has arrived of the body; waits until something has, or the body is complete.
    pub async fn body(&mut self, out: &mut Vec<u8>) -> Result<Arrived, String> {
        let before = out.len();
        loop {
            let consumed = self.body.decode(&self.input, out)?;
            self.input.drain(..consumed);
            let done = self.body == Body::Done;
            if done || out.len() > before {
                return Ok(Arrived { at: self.read_at, done });
            }
            if self.read().await? == 0 {
                if self.body != Body::UntilClose {
                    return Err("connection closed within the answer".into());
                }
                self.body = Body::Done;
            }
        }
    }

    async fn read(&mut self) -> Result<usize, String> {
        let result = self.stream.read_buf(&mut self.input).await;
        self.read_at = Instant::now();
        result.map_err(|err| format!("connection lost within the answer: {err}"))
    }
}

/// The whole answer to a GET: status and body.
pub async fn get(endpoint: &Endpoint, path: &str) -> Result<(u16, Vec<u8>), String> {
    get_with(endpoint, path, "").await
}

/// [`get`] with further header lines.
pub async fn get_with(endpoint: &Endpoint, path: &str, headers: &str) -> Result<(u16, Vec<u8>), String> {
    let mut http = Http::connect(endpoint).await.map_err(|err| format!("cannot connect to {endpoint}: {err}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {endpoint}\r\n{headers}Connection: close\r\n\r\n");
    http.send(request.as_bytes()).await?;
    let head = http.head().await?;
    let mut body = Vec::new();
    while !http.body(&mut body).await?.done {
        if body.len() > LONGEST_BODY {
            return Err(format!("wrong answer: more than {LONGEST_BODY} bytes to GET {path}"));
        }
    }
    Ok((head.status, body))
}

/// The head at the beginning of `input`: its length, what it says, and how its body is framed. `None`: not all
/// there yet.
fn parse_head(input: &[u8], show: &mut impl FnMut(&str, &[u8])) -> Result<Option<(usize, Head, Body)>, String> {
    let mut headers = [const { MaybeUninit::uninit() }; 128];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, &mut headers);
    let length = match parsed.map_err(|err| format!("wrong answer: not HTTP: {err}"))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let status = response.code.unwrap_or(0);
    let mut close = response.version == Some(0);
    let mut body = Body::UntilClose;
    for header in response.headers.iter() {
        show(header.name, header.value);
        let value = header.value.trim_ascii();
        let has = |token: &str| {
            value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        };
        if header.name.eq_ignore_ascii_case("content-length") {
            // Chunks win over a length (RFC 9112, 6.3).
            if !matches!(body, Body::Chunked(_)) {
                let left = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                let wrong = || format!("wrong answer: a body of `{}` bytes", value.escape_ascii());
                body = match left.ok_or_else(wrong)? {
                    0 => Body::Done,
                    left => Body::Length(left),
                };
            }
        } else if header.name.eq_ignore_ascii_case("connection") {
            close = has("close") || (close && !has("keep-alive"));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            if last.eq_ignore_ascii_case(b"chunked") {
                body = Body::Chunked(Chunked::Size { value: 0, digits: 0, extension: false, line: 0 });
            }
        }
    }
    if status < 200 || matches!(status, 204 | 304) {
        body = Body::Done;
    }
    close |= body == Body::UntilClose;
    Ok(Some((length, Head { status, close }, body)))
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Done,
    Length(u64),
    UntilClose,
    Chunked(Chunked),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunked {
    /// In the line with a chunk's size.
    Size {
        value: u64,
        digits: u8,
        extension: bool,
        line: usize,
    },
    Data {
        left: u64,
    },
    /// Behind the data: its line end.
    DataEnd,
    /// In a line behind the last chunk, of so many characters so far.
    Trailer {
        line: usize,
    },
}

impl Body {
    /// Moves what it can from `input` to `out`. Returns how much of `input` is done with.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = input;
        while !rest.is_empty() && *self != Self::Done {
            let mut take = |left: u64| {
                let (now, after) = rest.split_at(rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                out.extend_from_slice(now);
                rest = after;
                left - now.len() as u64
            };
            match self {
                Self::Done => {}
                Self::UntilClose => {
                    take(u64::MAX);
                }
                Self::Length(left) => {
                    *left = take(*left);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                }
                Self::Chunked(Chunked::Data { left }) => {
                    *left = take(*left);
                    if *left == 0 {
                        *self = Self::Chunked(Chunked::DataEnd);
                    }
                }
                Self::Chunked(state) => {
                    let next = state.framing(rest[0])?;
                    rest = &rest[1..];
                    *self = next.map_or(Self::Done, Self::Chunked);
                }
            }
        }
        Ok(input.len() - rest.len())
    }
}

impl Chunked {
    /// The state after one byte between data; `None` at the end of the body.
    fn framing(self, byte: u8) -> Result<Option<Self>, String> {
        let wrong = || format!("wrong answer: a broken chunk at `{}`", byte.escape_ascii());
        Ok(Some(match (self, byte) {
            (Self::Size { line, .. } | Self::Trailer { line }, _) if line > LONGEST_LINE => return Err(wrong()),
            (Self::Size { digits: 0, .. }, b'\n') => return Err(wrong()),
            (Self::Size { value: 0, .. }, b'\n') => Self::Trailer { line: 0 },
            (Self::Size { value, .. }, b'\n') => Self::Data { left: value },
            (Self::Size { value, digits, extension: false, line }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                Self::Size {
                    value: value * 16 + u64::from(digit),
                    digits: digits + 1,
                    extension: false,
                    line: line + 1,
                }
            }
            (Self::Size { value, digits, line, .. }, b';' | b' ' | b'\t' | b'\r') if digits > 0 => {
                Self::Size { value, digits, extension: true, line: line + 1 }
            }
            (Self::Size { value, digits, extension: true, line }, _) => {
                Self::Size { value, digits, extension: true, line: line + 1 }
            }
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { value: 0, digits: 0, extension: false, line: 0 },
            (Self::Trailer { line: 0 }, b'\n') => return Ok(None),
            (Self::Trailer { line }, b'\r') => Self::Trailer { line },
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line: 0 },
            (Self::Trailer { line }, _) => Self::Trailer { line: line + 1 },
            (Self::Size { .. } | Self::Data { .. } | Self::DataEnd, _) => return Err(wrong()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Body and what is left over, fed in the given pieces.
    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(u16, Vec<u8>, bool), String> {
        let (mut input, mut head, mut body, mut out) = (Vec::new(), None, Body::Done, Vec::new());
        for part in parts {
            input.extend_from_slice(part);
            if head.is_none()
                && let Some((length, found, framing)) = parse_head(&input, &mut |_, _| {})?
            {
                input.drain(..length);
                (head, body) = (Some(found), framing);
            }
            if head.is_some() {
                let consumed = body.decode(&input, &mut out)?;
                input.drain(..consumed);
            }
        }
        Ok((head.map_or(0, |head| head.status), out, body == Body::Done))
    }

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, 12345678\r\n0\r\nX-T: 1\r\n\r\n";

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cuts in vec(0..CHUNKED.len(), 0..10)) {
            let mut cuts = cuts;
            cuts.extend([0, CHUNKED.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|cut| &CHUNKED[cut[0]..cut[1]]);
            prop_assert_eq!(read(parts), Ok((200, b"hello, 12345678".to_vec(), true)));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..80)) {
            let stream = [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], &bytes].concat();
            let _ = read([&stream[..]]);
            let _ = read([&bytes[..]]);
        }
    }

    #[test]
    fn framings_are_told_apart() {
        for (stream, expect) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Ok((200, "abc", true))),
            ("HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nabc", Ok((500, "abc", false))),
            ("HTTP/1.1 204 No\r\n\r\n", Ok((204, "", true))),
            ("HTTP/1.0 200 OK\r\n\r\nabc", Ok((200, "abc", false))),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err("wrong answer: a body of `x` bytes")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", Err("wrong answer: a broken chunk at `z`")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
                Err("wrong answer: a broken chunk at `b`"),
            ),
            ("-ERR unknown command\r\n", Err("wrong answer: not HTTP: invalid HTTP version")),
        ] {
            let expect = expect.map(|(status, body, done)| (status, body.as_bytes().to_vec(), done));
            assert_eq!(read([stream.as_bytes()]), expect.map_err(String::from), "{stream}");
        }
    }

    #[test]
    fn connections_end_when_the_head_says_so() {
        for (head, close) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", true),
        ] {
            let parsed = parse_head(head.as_bytes(), &mut |_, _| {}).expect("a head").expect("whole");
            assert_eq!(parsed.1.close, close, "{head}");
        }
    }
}
