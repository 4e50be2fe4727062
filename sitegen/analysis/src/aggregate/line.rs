//! One line of a request file, read in place.
//!
//! Flat objects with plain strings and numbers, which is what programs write, take the fast way; anything else goes
//! through `serde_json`. Both give the same, which a test holds them to. The last of several equal keys counts.

use std::borrow::Cow;

use serde_json::Value;

/// Characters of a bad line that are shown.
const SHOWN: usize = 120;

/// What aggregation wants of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line<'a> {
    pub start_s: f64,
    pub intended_s: Option<f64>,
    pub latency_ms: f64,
    pub ok: bool,
    pub warmup: bool,
    pub operation: Cow<'a, str>,
    pub phase: Option<Cow<'a, str>>,
    pub error: Option<Cow<'a, str>>,
    pub client: Option<u64>,
    pub output_tokens: Option<u64>,
}

/// A line that is no request.
#[derive(Clone, Debug, PartialEq)]
pub struct LineError {
    pub line: String,
    pub reason: String,
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the line `{}` is no request: {}", self.line, self.reason)
    }
}

impl std::error::Error for LineError {}

/// Fields as they come; which of them make a request is said in [`Fields::line`].
#[derive(Debug, Default)]
struct Fields<'a> {
    start_s: Option<f64>,
    intended_s: Option<f64>,
    latency_ms: Option<f64>,
    latency_s: Option<f64>,
    ok: Option<bool>,
    success: Option<bool>,
    warmup: Option<bool>,
    operation: Option<Cow<'a, str>>,
    phase: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    client: Option<u64>,
    output_tokens: Option<u64>,
}

impl<'a> Line<'a> {
    /// The first line of a block, `None` when it is empty, and what follows it. `keys` are those of the line before.
    pub fn first_of(block: &'a [u8], keys: &mut Keys) -> Result<(Option<Self>, &'a [u8]), LineError> {
        if let Some((fields, rest)) = fast(block, keys)
            && let Ok(line) = fields.line()
        {
            return Ok((Some(line), rest));
        }
        let end = block.iter().position(|byte| *byte == b'\n').unwrap_or(block.len());
        let (line, rest) = (&block[..end], block.get(end + 1..).unwrap_or_default());
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok((None, rest));
        }
        match slow(line) {
            Ok(line) => Ok((Some(line), rest)),
            Err(reason) => {
                let line: String = String::from_utf8_lossy(line).chars().take(SHOWN).collect();
                Err(LineError { line, reason })
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn line(self) -> Result<Line<'a>, String> {
        let missing = |name: &str| format!("it has no {name}");
        let line = Line {
            start_s: self.start_s.ok_or_else(|| missing("start_s"))?,
            intended_s: self.intended_s,
            latency_ms: self
                .latency_ms
                .or(self.latency_s.map(|seconds| seconds * 1000.0))
                .ok_or_else(|| missing("latency_ms or latency_s"))?,
            ok: self.ok.or(self.success).ok_or_else(|| missing("ok or success"))?,
            warmup: self.warmup.unwrap_or(false),
            operation: self.operation.unwrap_or_default(),
            phase: self.phase,
            error: self.error,
            client: self.client,
            output_tokens: self.output_tokens,
        };
        if line.latency_ms.is_nan() || line.latency_ms < 0.0 || line.latency_ms.is_infinite() {
            return Err(format!("its latency is {} ms", line.latency_ms));
        }
        let times = [Some(line.start_s), line.intended_s];
        if times.into_iter().flatten().any(|time| !time.is_finite()) {
            return Err("a time is too large".to_owned());
        }
        Ok(line)
    }
}

/// What a key of a line means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Start,
    Intended,
    LatencyMs,
    LatencyS,
    Ok,
    Success,
    Warmup,
    Operation,
    Phase,
    Error,
    Client,
    OutputTokens,
    Other,
}

impl Field {
    fn of(key: &[u8]) -> Self {
        match key {
            b"start_s" => Self::Start,
            b"intended_s" => Self::Intended,
            b"latency_ms" => Self::LatencyMs,
            b"latency_s" => Self::LatencyS,
            b"ok" => Self::Ok,
            b"success" => Self::Success,
            b"warmup" => Self::Warmup,
            b"operation" => Self::Operation,
            b"phase" => Self::Phase,
            b"error" => Self::Error,
            b"client" => Self::Client,
            b"output_tokens" => Self::OutputTokens,
            _ => Self::Other,
        }
    }
}

/// The keys of the line before, in their order. Most lines of a file have the same, and whether they have takes one
/// comparison a key.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

/// A key as it stands in the line, quotes and colon included.
#[derive(Debug)]
struct Key {
    /// In the lowest bytes; those of no key are zero in the mask.
    text: [u64; KEY_WORDS],
    mask: [u64; KEY_WORDS],
    length: usize,
    field: Field,
}

/// Keys of up to so many times eight characters are compared at once.
const KEY_WORDS: usize = 3;
/// Keys of a line that are remembered.
const MOST_KEYS: usize = 64;

impl Keys {
    fn remember(&mut self, nth: usize, text: &[u8], field: Field) {
        let mut bytes = [[0; 8]; KEY_WORDS];
        let mut mask = [[0; 8]; KEY_WORDS];
        let fits = text.len() <= 8 * KEY_WORDS;
        if fits {
            bytes.as_flattened_mut()[..text.len()].copy_from_slice(text);
            mask.as_flattened_mut()[..text.len()].fill(0xff);
        }
        // A place that nothing equals, where the key is too long.
        let text_of = if fits { bytes.map(u64::from_le_bytes) } else { [1; KEY_WORDS] };
        let key = Key { text: text_of, mask: mask.map(u64::from_le_bytes), length: text.len(), field };
        match self.0.get_mut(nth) {
            Some(known) => *known = key,
            None if nth < MOST_KEYS => self.0.push(key),
            None => {}
        }
    }
}

/// Reads a line of the usual form up to and with its end. `None` when it is of another form.
fn fast<'a>(bytes: &'a [u8], keys: &mut Keys) -> Option<(Fields<'a>, &'a [u8])> {
    let mut fields = Fields::default();
    let mut at = Cursor { bytes, place: 0 };
    at.expect(b'{')?;
    for nth in 0.. {
        let field = match keys.0.get(nth).and_then(|key| at.key(key)) {
            Some(field) => field,
            None => {
                let from = at.place;
                let field = Field::of(at.string()?);
                at.expect(b':')?;
                keys.remember(nth, &bytes[from..at.place], field);
                field
            }
        };
        at.space();
        match field {
            Field::Start => fields.start_s = at.number()?,
            Field::Intended => fields.intended_s = at.number()?,
            Field::LatencyMs => fields.latency_ms = at.number()?,
            Field::LatencyS => fields.latency_s = at.number()?,
            Field::Ok => fields.ok = at.truth()?,
            Field::Success => fields.success = at.truth()?,
            Field::Warmup => fields.warmup = at.truth()?,
            Field::Operation => fields.operation = at.text()?,
            Field::Phase => fields.phase = at.text()?,
            Field::Error => fields.error = at.text()?,
            Field::Client => fields.client = at.count()?,
            Field::OutputTokens => fields.output_tokens = at.count()?,
            Field::Other => at.skip()?,
        }
        match at.next()? {
            b',' => at.space(),
            b'}' => break,
            _ => return None,
        }
    }
    match at.peek() {
        None => Some((fields, &[])),
        Some(b'\n') => Some((fields, &bytes[at.place + 1..])),
        Some(_) => None,
    }
}

/// How many of eight characters, from the first on, are digits. Bytes are looked at all at once; what one that is no digit
/// carries over spoils only those behind it.
fn leading_digits(text: u64) -> usize {
    let above_zero = text.wrapping_sub(0x3030_3030_3030_3030);
    let below_nine = text.wrapping_add(0x4646_4646_4646_4646);
    ((above_zero | below_nine) & 0x8080_8080_8080_8080).trailing_zeros() as usize / 8
}

/// The number that the first `count` of eight characters are, 1 to 8 digits: by pairs, fours and eights at once.
fn number_of(text: u64, count: usize) -> u64 {
    // The others fall off, and zeros come in front.
    let digits = text.wrapping_sub(0x3030_3030_3030_3030) << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let fours = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let eights = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    fours.wrapping_add(eights) >> 32
}

/// How many of eight characters, from the first on, are neither a quote, a backslash nor a control character.
fn leading_plain(text: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = text.wrapping_sub(ONES * 0x20) & !text;
    let found = zero(text ^ (ONES * 0x22)) | zero(text ^ (ONES * 0x5c)) | control;
    (found & (ONES * 0x80)).trailing_zeros() as usize / 8
}

struct Cursor<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.place).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.place += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Passes over a byte if it is the next.
    fn pass(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.place += usize::from(is);
        is
    }

    fn space(&mut self) {
        self.pass(b' ');
    }

    fn literal(&mut self, word: &[u8]) -> bool {
        let is = self.bytes[self.place..].starts_with(word);
        self.place += if is { word.len() } else { 0 };
        is
    }

    /// The next eight characters, the first in the lowest byte.
    fn eight(&self) -> Option<u64> {
        self.bytes.get(self.place..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
    }

    /// Passes over a key if it is the next.
    #[inline]
    fn key(&mut self, key: &Key) -> Option<Field> {
        let next = self.bytes.get(self.place..)?.first_chunk::<{ 8 * KEY_WORDS }>()?;
        let (words, _) = next.as_chunks::<8>();
        let same = (0..KEY_WORDS).all(|word| u64::from_le_bytes(words[word]) & key.mask[word] == key.text[word]);
        self.place += if same { key.length } else { 0 };
        same.then_some(key.field)
    }

    /// A string without escapes or control characters; its bytes may not be UTF-8.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let begin = self.place;
        while let Some(plain) = self.eight().map(leading_plain) {
            self.place += plain;
            if plain < 8 {
                break;
            }
        }
        while !matches!(self.peek()?, b'"' | b'\\' | ..b' ') {
            self.place += 1;
        }
        let text = &self.bytes[begin..self.place];
        self.expect(b'"')?;
        Some(text)
    }

    fn text(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.literal(b"null") {
            return Some(None);
        }
        Some(Some(Cow::Borrowed(std::str::from_utf8(self.string()?).ok()?)))
    }

    fn truth(&mut self) -> Option<Option<bool>> {
        match () {
            () if self.literal(b"true") => Some(Some(true)),
            () if self.literal(b"false") => Some(Some(false)),
            () if self.literal(b"null") => Some(None),
            () => None,
        }
    }

    /// Adds digits to those of `mantissa`; how many. The first eight at once, as there are seldom many more.
    fn digits(&mut self, mantissa: &mut u64) -> usize {
        const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
        let from = self.place;
        if let Some(text) = self.eight() {
            let count = leading_digits(text);
            if count > 0 {
                *mantissa = mantissa.wrapping_mul(POWERS[count]).wrapping_add(number_of(text, count));
                self.place += count;
            }
            if count < 8 {
                return count;
            }
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.place += 1;
        }
        self.place - from
    }

    /// A number without exponent and of at most 15 digits, which a division gives to the last bit (Clinger 1990).
    fn number(&mut self) -> Option<Option<f64>> {
        if self.peek() == Some(b'n') && self.literal(b"null") {
            return Some(None);
        }
        let negative = self.pass(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let mut mantissa = 0;
        // What is below one begins so.
        let whole = if leading_zero { 1 } else { self.digits(&mut mantissa) };
        self.place += usize::from(leading_zero);
        if whole == 0 || leading_zero && self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut fraction = 0;
        if self.pass(b'.') {
            fraction = self.digits(&mut mantissa);
            if fraction == 0 {
                return None;
            }
        }
        if whole + fraction > 15 || matches!(self.peek(), Some(b'e' | b'E')) {
            return None;
        }
        const POWERS: [f64; 16] =
            [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
        let size = mantissa as f64 / POWERS[fraction];
        Some(Some(if negative { -size } else { size }))
    }

    /// Passes over a number without exponent, whatever it is.
    fn pass_number(&mut self) -> Option<()> {
        self.pass(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.pass_digits();
        if whole == 0 || leading_zero && whole > 1 || self.pass(b'.') && self.pass_digits() == 0 {
            return None;
        }
        (!matches!(self.peek(), Some(b'e' | b'E'))).then_some(())
    }

    fn pass_digits(&mut self) -> usize {
        let from = self.place;
        while let Some(count) = self.eight().map(leading_digits) {
            self.place += count;
            if count < 8 {
                return self.place - from;
            }
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.place += 1;
        }
        self.place - from
    }

    fn count(&mut self) -> Option<Option<u64>> {
        if self.literal(b"null") {
            return Some(None);
        }
        let leading_zero = self.peek() == Some(b'0');
        let mut count = 0;
        let digits = self.digits(&mut count);
        let whole = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        (whole && (1..=19).contains(&digits) && !(leading_zero && digits > 1)).then_some(Some(count))
    }

    /// Passes over a value that is not asked for.
    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().and_then(|text| std::str::from_utf8(text).ok()).map(|_| ()),
            b'-' | b'0'..=b'9' => self.pass_number(),
            b'[' => {
                self.place += 1;
                if self.literal(b"]") {
                    return Some(());
                }
                loop {
                    self.pass_number()?;
                    match self.next()? {
                        b',' => self.space(),
                        b']' => return Some(()),
                        _ => return None,
                    }
                }
            }
            _ => self.truth().map(|_| ()),
        }
    }
}

fn slow(line: &[u8]) -> Result<Line<'static>, String> {
    let value: Value = serde_json::from_slice(line).map_err(|err| err.to_string())?;
    let Value::Object(fields) = value else { return Err("it is no object".to_owned()) };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let wrong = |name: &str, what: &str| format!("its {name} is no {what}");
    let number = |name: &str| field(name).map(|v| v.as_f64().ok_or_else(|| wrong(name, "number"))).transpose();
    let truth = |name: &str| field(name).map(|v| v.as_bool().ok_or_else(|| wrong(name, "true or false"))).transpose();
    let count = |name: &str| field(name).map(|v| v.as_u64().ok_or_else(|| wrong(name, "count"))).transpose();
    let text = |name: &str| {
        field(name).map(|v| v.as_str().map(|t| Cow::Owned(t.to_owned())).ok_or_else(|| wrong(name, "text"))).transpose()
    };
    let fields = Fields {
        start_s: number("start_s")?,
        intended_s: number("intended_s")?,
        latency_ms: number("latency_ms")?,
        latency_s: number("latency_s")?,
        ok: truth("ok")?,
        success: truth("success")?,
        warmup: truth("warmup")?,
        operation: text("operation")?,
        phase: text("phase")?,
        error: text("error")?,
        client: count("client")?,
        output_tokens: count("output_tokens")?,
    };
    fields.line()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(text: &str) -> Result<Option<Line<'_>>, LineError> {
        Line::first_of(text.as_bytes(), &mut Keys::default()).map(|(line, _)| line)
    }

    #[test]
    fn both_formats_are_read() {
        let own = r#"{"request_id":7,"client":3,"operation":"GET","intended_s":0.5,"start_s":1.25,"latency_s":0.001,"success":false,"error":"time\"out","chunk_gaps_us":[1,2],"output_tokens":12}"#;
        let line = first(own).expect("a request").expect("a line");
        assert_eq!((line.client, line.operation.as_ref(), line.intended_s), (Some(3), "GET", Some(0.5)));
        assert_eq!((line.latency_ms, line.ok, line.error.as_deref()), (1.0, false, Some("time\"out")));
        let foreign = "{\"id\": 0, \"start_s\": 0.1, \"latency_ms\": 2.5e0, \"ok\": true}\nmore";
        let (line, rest) = Line::first_of(foreign.as_bytes(), &mut Keys::default()).expect("a request");
        assert_eq!((line.expect("a line").latency_ms, rest), (2.5, &b"more"[..]));
        assert_eq!(first("  \r\n"), Ok(None));
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (text, reason) in [
            ("{}", "it has no start_s"),
            ("[1]", "it is no object"),
            (r#"{"start_s":0,"ok":true}"#, "it has no latency_ms or latency_s"),
            (r#"{"start_s":0,"latency_ms":1}"#, "it has no ok or success"),
            (r#"{"start_s":0,"latency_ms":-1,"ok":true}"#, "its latency is -1 ms"),
            (r#"{"start_s":"0","latency_ms":1,"ok":true}"#, "its start_s is no number"),
            (r#"{"start_s":0,"latency_ms":1,"ok":1}"#, "its ok is no true or false"),
        ] {
            assert_eq!(first(text).expect_err("refused").reason, reason, "{text}");
        }
        assert!(first("{\"start_s\":0,").expect_err("refused").reason.contains("EOF"));
    }

    fn json_value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<f64>().prop_filter_map("JSON has no infinity", |v| v.is_finite().then(|| format!("{v:?}"))),
            (0_u64..100_000_000, 0_usize..9).prop_map(|(v, digits)| format!("{:.digits$}", v as f64 / 1000.0)),
            any::<i64>().prop_map(|v| v.to_string()),
            "[ -~µ]{0,6}".prop_map(|text| serde_json::to_string(&text).expect("text")),
            "[0-9.eE+-]{1,6}",
            Just("true".to_owned()),
            Just("false".to_owned()),
            Just("null".to_owned()),
            Just("[1,2.5]".to_owned()),
            Just("[]".to_owned()),
            Just("{\"ok\":true}".to_owned()),
        ]
    }

    const KEYS: [&str; 14] = [
        "start_s",
        "intended_s",
        "latency_ms",
        "latency_s",
        "ok",
        "success",
        "warmup",
        "operation",
        "phase",
        "error",
        "client",
        "output_tokens",
        "other",
        "k\\u0065y",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_fast_way_reads_what_serde_json_reads(
            fields in proptest::collection::vec((0..KEYS.len(), json_value()), 0..6),
            space in prop_oneof![Just(""), Just(" "), Just("  ")],
            sound in any::<bool>(),
        ) {
            let mut parts: Vec<String> = if sound {
                vec!["\"start_s\":1.5".into(), "\"latency_ms\":2.25".into(), "\"ok\":true".into()]
            } else {
                Vec::new()
            };
            parts.extend(fields.iter().map(|(key, value)| format!("\"{}\":{space}{value}", KEYS[*key])));
            let text = format!("{{{}}}", parts.join(&format!(",{space}")));
            prop_assert_eq!(first(&text).ok().flatten(), slow(text.as_bytes()).ok(), "{}", text);
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (mut rest, mut keys) = (&bytes[..], Keys::default());
            while !rest.is_empty() {
                let Ok((_, after)) = Line::first_of(rest, &mut keys) else { break };
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }

        /// Keys that were seen in a line before, in this order or another, longer and shorter ones.
        #[test]
        fn the_line_before_changes_nothing(
            lines in proptest::collection::vec(
                proptest::collection::vec(("(ok|success|client|clien|start_s|latency_s|[a-z]{20,23})", 0..200_u32), 0..5),
                1..6,
            ),
        ) {
            let lines: Vec<String> = lines.iter().map(|fields| {
                let fields: String = fields.iter().map(|(key, value)| match key.as_str() {
                    "ok" | "success" => format!(",\"{key}\":{}", value % 2 == 0),
                    _ => format!(",\"{key}\":{value}"),
                }).collect();
                format!("{{\"start_s\":1,\"latency_ms\":2,\"ok\":true{fields}}}\n")
            }).collect();
            let block = lines.concat().repeat(2);
            let (mut rest, mut keys) = (block.as_bytes(), Keys::default());
            for text in lines.iter().chain(&lines) {
                let (line, after) = Line::first_of(rest, &mut keys).expect("a line");
                prop_assert_eq!(line, slow(text.trim_end().as_bytes()).ok(), "{}", text);
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
