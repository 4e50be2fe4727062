//! Texts that look like keys and tokens: what must not get into git, where nothing can be taken back.
//!
//! Knows no secret's value, only how such texts look; known values are masked before sealing. What looks like one and is
//! none is allowed by its digest, a line of `.allowed-secrets` in the archive's folder.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD};
use memchr::memmem::Finder;

use crate::{Archive, Benchmark, sha256_hex};

/// In the archive's folder: digests of texts that are no secrets, one a line; `#` begins a comment.
pub const ALLOWED: &str = ".allowed-secrets";

/// Hexadecimal digits of a digest there.
const DIGITS: usize = 16;

/// A longer line is looked at in pieces of this size.
const LONGEST_LINE: u64 = 1 << 20;

/// Findings that are told of one benchmark at most.
const MOST_TOLD: usize = 20;

/// A text that looks like a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Inside the benchmark's folder.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// What it looks like, in words.
    pub what: &'static str,
    /// Its beginning, and how long it is: enough to find it, not enough to use it.
    pub hint: String,
    /// What allows it in [`ALLOWED`].
    pub digest: String,
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}: {} ({}, digest {})", self.file, self.line, self.what, self.hint, self.digest)
    }
}

impl Archive {
    /// Reads every file of a benchmark; returns what looks like a secret and is not allowed, the first of each.
    pub fn leaks(&self, benchmark: &Benchmark) -> Result<Vec<Leak>> {
        let allowed = allowed(&self.folder().join(ALLOWED))?;
        let mut leaks: Vec<Leak> = Vec::new();
        for name in benchmark.manifest.files.keys() {
            let Some(path) = benchmark.path_of(name) else { continue };
            let context = || format!("cannot read {}", path.display());
            let file = File::open(&path).with_context(context)?;
            let mut reader: Box<dyn BufRead> = match name.ends_with(".zst") {
                true => Box::new(BufReader::with_capacity(1 << 17, zstd::Decoder::new(file)?)),
                false => Box::new(BufReader::with_capacity(1 << 17, file)),
            };
            each_line(&mut reader, |number, line| {
                for (what, text) in secrets_in(line) {
                    let digest: String = sha256_hex(text).chars().take(DIGITS).collect();
                    let known = allowed.contains(&digest) || leaks.iter().any(|leak| leak.digest == digest);
                    if !known && leaks.len() < MOST_TOLD {
                        leaks.push(Leak { file: name.clone(), line: number, what, hint: hint(text), digest });
                    }
                }
            })
            .with_context(context)?;
        }
        Ok(leaks)
    }
}

fn allowed(path: &Path) -> Result<BTreeSet<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(err) => return Err(err).with_context(|| format!("cannot read {}", path.display())),
    };
    let digests = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_ascii_lowercase());
    Ok(digests.filter(|digest| !digest.is_empty()).collect())
}

fn each_line(reader: &mut dyn BufRead, mut look: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let (mut line, mut number) = (Vec::new(), 1);
    loop {
        line.clear();
        if (&mut *reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        look(number, &line);
        number += u64::from(line.ends_with(b"\n"));
    }
}

fn hint(text: &[u8]) -> String {
    let shown: String =
        String::from_utf8_lossy(&text[..text.len().min(4)]).chars().filter(|c| !c.is_control()).collect();
    format!("`{shown}…`, {} letters", text.len())
}

/// How the text after a prefix goes on.
enum Rest {
    /// Exactly so many capital letters and digits.
    Capitals(usize),
    /// Exactly so many letters, digits, `_` and `-`, a letter and a digit among them.
    Exactly(usize),
    /// At least so many letters, digits, `_` and `-`, a letter and a digit among them.
    Word(usize),
    /// The same with `.`, `/`, `+`, `=` and `~`.
    Token(usize),
    /// `user:password` in base64.
    Basic,
    /// Up to the dashes that end a line of armour.
    Armour,
    /// `….eyJ….…`
    Jwt,
    /// `user:password@`
    Login,
    /// `…": "value"`, `…=value`
    Value,
}

/// What a secret begins with.
const BEGINNINGS: &[(&str, Rest, &str)] = &[
    ("AKIA", Rest::Capitals(16), "an AWS access key"),
    ("ASIA", Rest::Capitals(16), "an AWS access key"),
    ("ghp_", Rest::Word(30), "a GitHub token"),
    ("gho_", Rest::Word(30), "a GitHub token"),
    ("ghu_", Rest::Word(30), "a GitHub token"),
    ("ghs_", Rest::Word(30), "a GitHub token"),
    ("ghr_", Rest::Word(30), "a GitHub token"),
    ("github_pat_", Rest::Word(22), "a GitHub token"),
    ("glpat-", Rest::Word(20), "a GitLab token"),
    ("hf_", Rest::Word(30), "a Hugging Face token"),
    ("sk-", Rest::Word(20), "an API key"),
    ("xoxb-", Rest::Word(10), "a Slack token"),
    ("xoxp-", Rest::Word(10), "a Slack token"),
    ("AIza", Rest::Exactly(35), "a Google API key"),
    ("npm_", Rest::Word(36), "an npm token"),
    ("pypi-", Rest::Word(50), "a PyPI token"),
    ("dckr_pat_", Rest::Word(20), "a Docker token"),
    ("-----BEGIN ", Rest::Armour, "a private key"),
    ("eyJ", Rest::Jwt, "a JSON web token"),
    ("earer ", Rest::Token(12), "a bearer token"),
    ("EARER ", Rest::Token(12), "a bearer token"),
    ("asic ", Rest::Basic, "a user's password"),
    ("ASIC ", Rest::Basic, "a user's password"),
    ("://", Rest::Login, "a password in an address"),
    ("assword", Rest::Value, "a password"),
    ("ASSWORD", Rest::Value, "a password"),
    ("asswd", Rest::Value, "a password"),
    ("ASSWD", Rest::Value, "a password"),
    ("requirepass", Rest::Value, "a password"),
    ("ecret", Rest::Value, "a secret"),
    ("ECRET", Rest::Value, "a secret"),
    ("pi_key", Rest::Value, "an API key"),
    ("PI_KEY", Rest::Value, "an API key"),
    ("pi-key", Rest::Value, "an API key"),
    ("pikey", Rest::Value, "an API key"),
    ("cess_key", Rest::Value, "an access key"),
    ("CESS_KEY", Rest::Value, "an access key"),
    ("_token", Rest::Value, "a token"),
    ("-token", Rest::Value, "a token"),
    ("_TOKEN", Rest::Value, "a token"),
];

/// Everything in a line that looks like a secret, with what it looks like.
fn secrets_in(line: &[u8]) -> Vec<(&'static str, &[u8])> {
    static FINDERS: OnceLock<Vec<Finder<'static>>> = OnceLock::new();
    let finders = FINDERS.get_or_init(|| BEGINNINGS.iter().map(|(prefix, ..)| Finder::new(prefix)).collect());
    let mut found = Vec::new();
    for ((prefix, rest, what), finder) in BEGINNINGS.iter().zip(finders) {
        for at in finder.find_iter(line) {
            let after = at + prefix.len();
            let secret = match rest {
                Rest::Capitals(_) | Rest::Exactly(_) | Rest::Word(_) | Rest::Jwt if !begins_word(&line[..at]) => None,
                Rest::Exactly(count) => {
                    let length = run(&line[after..], is_word);
                    let is_one = length == *count && is_mixed(&line[after..after + length]);
                    is_one.then_some((at, after + length))
                }
                // In a path, names are made of words; a token is one.
                Rest::Word(least) if line[..at].ends_with(b"/") => {
                    let length = run(&line[after..], is_word);
                    let solid = line[after..after + length].split(|byte| !byte.is_ascii_alphanumeric());
                    let longest = solid.max_by_key(|part| part.len()).unwrap_or_default();
                    (longest.len() >= *least && is_mixed(longest)).then_some((at, after + length))
                }
                Rest::Basic => basic(line, after),
                Rest::Capitals(count) => {
                    let length = run(&line[after..], |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
                    let ends = line.get(after + length).is_none_or(|byte| !is_word(*byte));
                    (length == *count && ends).then_some((at, after + length))
                }
                Rest::Word(least) => {
                    let length = run(&line[after..], is_word);
                    (length >= *least && is_mixed(&line[after..after + length])).then_some((at, after + length))
                }
                Rest::Token(least) => {
                    let length = run(&line[after..], is_token);
                    (length >= *least && is_mixed(&line[after..after + length])).then_some((after, after + length))
                }
                Rest::Armour => {
                    let end = line[after..].iter().position(|byte| *byte == b'-').unwrap_or(0);
                    line[after..after + end].ends_with(b"PRIVATE KEY").then_some((at, after + end))
                }
                Rest::Jwt => jwt(line, after).map(|end| (at, end)),
                Rest::Login => login(line, after),
                Rest::Value => value(line, after),
            };
            found.extend(secret.map(|(from, to)| (*what, &line[from..to])));
        }
    }
    found
}

/// Whether what stands before a place ends there: at a letter, unless that is the end of an escape, as in `\\n`, `\\u000a` and
/// `%20`.
fn begins_word(before: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    let escape = matches!(before, [.., b'\\', letter] if b"nrtbf".contains(letter));
    let hex = |sign: &[u8], count: usize| {
        before.len() >= sign.len() + count && {
            let (head, digits) = before.split_at(before.len() - count);
            head.ends_with(sign) && is_hex(digits)
        }
    };
    before.last().is_none_or(|byte| !is_word(*byte)) || escape || hex(b"\\u", 4) || hex(b"%", 2)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_token(byte: u8) -> bool {
    is_word(byte) || b".+/=~".contains(&byte)
}

fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !is(*byte)).unwrap_or(bytes.len())
}

/// Words have letters and numbers have digits; keys have both.
fn is_mixed(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic)
}

/// The base64 after `Basic ` that is a user and a password.
fn basic(line: &[u8], after: usize) -> Option<(usize, usize)> {
    let length = run(&line[after..], |byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let text = &line[after..after + length];
    let digits = &text[..run(text, |byte| byte != b'=')];
    let plain = STANDARD_NO_PAD.decode(digits).ok()?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    let is_login = plain.iter().all(|byte| *byte >= b' ' && *byte != 0x7f) && std::str::from_utf8(&plain).is_ok();
    (is_login && colon + 1 < plain.len() && !is_placeholder(&plain[colon + 1..])).then_some((after, after + length))
}

fn jwt(line: &[u8], after: usize) -> Option<usize> {
    let head = run(&line[after..], is_word);
    let claims = after + head;
    if head < 10 || !line[claims..].starts_with(b".eyJ") {
        return None;
    }
    let length = run(&line[claims + 1..], is_word);
    let end = claims + 1 + length;
    (length >= 10 && line.get(end) == Some(&b'.')).then(|| end + 1 + run(&line[end + 1..], is_word))
}

/// The password of `://user:password@`.
fn login(line: &[u8], after: usize) -> Option<(usize, usize)> {
    let length = run(&line[after..], |byte| byte.is_ascii_graphic() && !b"/?#\"'<>\\`,".contains(&byte));
    let authority = &line[after..after + length];
    let end = authority.iter().rposition(|byte| *byte == b'@')?;
    let colon = authority[..end].iter().position(|byte| *byte == b':')?;
    let (from, to) = (after + colon + 1, after + end);
    (to > from && !is_placeholder(&line[from..to])).then_some((from, to))
}

/// What a name of a secret is set to: `…word": "value"`, `…WORD=value`, `--…word value`.
fn value(line: &[u8], after: usize) -> Option<(usize, usize)> {
    let rest = &line[after..];
    // The name may go on, as in `secret_access_key`.
    let mut at = run(rest, is_word);
    let between = run(&rest[at..], |byte| b" \t\"'\\:=>[(".contains(&byte));
    let separator = &rest[at..at + between];
    if !separator.iter().any(|byte| b":=".contains(byte)) {
        return None;
    }
    at += between;
    let length = run(&rest[at..], |byte| byte.is_ascii_graphic() && !b"\"'\\,;)}]<>`".contains(&byte));
    let text = &rest[at..at + length];
    let is_secret = length >= 8 && is_mixed(text) && !is_quantity(text) && !is_placeholder(text);
    is_secret.then_some((after + at, after + at + length))
}

/// `2.5e-5`, `12.345678ms`.
fn is_quantity(text: &[u8]) -> bool {
    const UNITS: [&str; 12] = ["ns", "us", "ms", "s", "min", "h", "%", "B", "KiB", "MiB", "GiB", "t/s"];
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    is_number(text) || UNITS.iter().any(|unit| text.strip_suffix(unit).is_some_and(is_number))
}

fn is_placeholder(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| b"$*{%<".contains(byte)) || text.iter().all(|byte| b"*xX.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BenchmarkId, SealOptions, seal};

    fn found(line: &str) -> Vec<String> {
        let told = secrets_in(line.as_bytes());
        told.into_iter().map(|(what, text)| format!("{what}: {}", String::from_utf8_lossy(text))).collect()
    }

    #[test]
    fn keys_and_tokens_are_seen() {
        // Put together here, so that no scanner of source code takes them for real.
        let letters = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
        for (line, text) in [
            (format!("id AKIA{} ok", "Q1W2E3R4T5Y6U7I8"), "AKIAQ1W2E3R4T5Y6U7I8".to_owned()),
            (format!("ghp_{letters}"), format!("ghp_{letters}")),
            (format!("export HF=hf_{letters}"), format!("hf_{letters}")),
            (format!("\"sk-{letters}\""), format!("sk-{letters}")),
            (format!("Authorization: Bearer {letters}"), letters.to_owned()),
            (format!("-----BEGIN {} PRIVATE KEY-----", "OPENSSH"), "-----BEGIN OPENSSH PRIVATE KEY".to_owned()),
            (format!("eyJ{letters}.eyJ{letters}.{letters}"), format!("eyJ{letters}.eyJ{letters}.{letters}")),
            ("postgresql://u:hunter2@h/db".to_owned(), "hunter2".to_owned()),
            ("\"POSTGRES_PASSWORD\": \"hunter2hunter2\"".to_owned(), "hunter2hunter2".to_owned()),
            ("{\\\"secret_access_key\\\": \\\"s3cretS3CRET\\\"}".to_owned(), "s3cretS3CRET".to_owned()),
            ("api_key=abc12345".to_owned(), "abc12345".to_owned()),
            (format!("GET /cache/hf_{letters}/model"), format!("hf_{letters}")),
            (format!("x+ghp_{letters}"), format!("ghp_{letters}")),
            (format!("\"said\": \"one\\nghp_{letters}\""), format!("ghp_{letters}")),
            (format!("\"said\": \"one\\u000aghp_{letters}\""), format!("ghp_{letters}")),
            (format!("?q=a%20ghp_{letters}"), format!("ghp_{letters}")),
            (format!("https://h/AIza{}?x", &letters[..35]), format!("AIza{}", &letters[..35])),
            ("authorization: Basic dTpodW50ZXIy".to_owned(), "dTpodW50ZXIy".to_owned()),
        ] {
            let told = found(&line);
            assert!(told.iter().any(|one| one.ends_with(&format!(": {text}"))), "{line}: {told:?}");
        }
    }

    #[test]
    fn what_benchmarks_say_is_no_secret() {
        for line in [
            "\"decode_per_token_s\": 0.00012345678",
            "max_tokens: 128, tokens_per_second: 1234567.8",
            "POSTGRES_PASSWORD: '${POSTGRES_PASSWORD}'",
            "--requirepass ${REDIS_PASSWORD} --port 6379",
            "\"recipe_hash\": \"ce723386b3f2994d4bb7bbec7c1e7f001fa0bfadf424888ddc655262a0764103\"",
            "password: None, api_key=null, secret: *********",
            "http://127.0.0.1:8000/v1 and http://user@host/",
            "disk-1234567890abcdefghijklmnop task-2023-a-b-c-d-e-f-g-h",
            "the password of the service",
            "time-to-first-token: 12.345678ms, next_token=0.00123s",
            "Bearer ${TOKEN}",
            "Basic authentication1 is refused",
            "Basic YWxsOm9rAAAA and Basic dTo= and Basic dTokUEFTUw==",
            "/scratch/hf_cache_of_the_cluster_2024_models_v2/x",
            "/opt/sk-learn-2024-a-b-c-d-e-f-g-h-i/bin",
        ] {
            assert_eq!(found(line), [""; 0], "{line}");
        }
        // Base64 of a histogram.
        let noise: String =
            (0..20_000_u32).map(|n| char::from(b'A' + (n.wrapping_mul(2_654_435_761) >> 20) as u8 % 26)).collect();
        assert_eq!(found(&noise), [""; 0]);
    }

    #[test]
    fn a_benchmark_is_searched_through_and_a_false_alarm_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let staged = folder.path().join(".work/staging");
        fs::create_dir_all(staged.join("logs")).expect("created");
        fs::write(staged.join("run.json"), "{}").expect("written");
        let log = format!("one\ntwo password=\"{}\"\n", "abc123def456");
        let packed = zstd::encode_all(log.as_bytes(), 3).expect("packed");
        fs::write(staged.join("logs/service.log.zst"), packed).expect("written");
        let id = BenchmarkId::new(20_260_301, 1);
        seal(folder.path(), id, &staged, &SealOptions::default()).expect("sealed");
        let archive = Archive::new(folder.path());
        let benchmark = archive.open(id).expect("opened");
        let leaks = archive.leaks(&benchmark).expect("searched");
        assert_eq!(leaks.len(), 1, "{leaks:?}");
        assert_eq!((leaks[0].file.as_str(), leaks[0].line), ("logs/service.log.zst", 2));
        let said = leaks[0].to_string();
        assert!(said.contains("a password") && !said.contains("abc123"), "{said}");
        fs::write(folder.path().join(ALLOWED), format!("# a test's\n{} # no secret\n", leaks[0].digest))
            .expect("written");
        assert_eq!(archive.leaks(&benchmark).expect("searched"), []);
    }
}
