//! The classes of log lines, and how a line is told to belong to one.

use serde::Serialize;

/// How much a class matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSeverity {
    Error,
    Warning,
    Info,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogClass {
    OutOfMemory,
    CudaError,
    SlurmError,
    ModelLoadError,
    DbConnectionError,
    QueryError,
    #[serde(rename = "http_500")]
    Http500,
    /// Also 504: the server behind the one that answers did not.
    #[serde(rename = "http_502_503")]
    Http502503,
    Timeout,
    ConnectionRefused,
    ConnectionReset,
    MemoryWarning,
    #[serde(rename = "http_4xx")]
    Http4xx,
    GeneralError,
    GeneralWarning,
    Success,
}

impl LogClass {
    pub fn severity(self) -> LogSeverity {
        match self {
            Self::MemoryWarning | Self::Http4xx | Self::GeneralWarning => LogSeverity::Warning,
            Self::Success => LogSeverity::Info,
            _ => LogSeverity::Error,
        }
    }

    /// Whether it is one of the two classes that only rest on a word such as "error".
    pub fn is_general(self) -> bool {
        matches!(self, Self::GeneralError | Self::GeneralWarning)
    }

    /// For people: `out of memory`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out of memory",
            Self::CudaError => "GPU error",
            Self::SlurmError => "Slurm",
            Self::ModelLoadError => "model not loaded",
            Self::DbConnectionError => "database connection",
            Self::QueryError => "query failed",
            Self::Http500 => "HTTP 5xx",
            Self::Http502503 => "HTTP 502–504",
            Self::Timeout => "timeout",
            Self::ConnectionRefused => "connection refused",
            Self::ConnectionReset => "connection reset",
            Self::MemoryWarning => "memory warning",
            Self::Http4xx => "HTTP 4xx",
            Self::GeneralError => "other errors",
            Self::GeneralWarning => "other warnings",
            Self::Success => "success",
        }
    }
}

/// Phrases that say it all.
const PHRASES: &[(LogClass, &[&str])] = &[
    (
        LogClass::OutOfMemory,
        &[
            "out of memory",
            "outofmemory",
            "cannot allocate memory",
            "can't allocate memory",
            "memory allocation failed",
            "failed to allocate memory",
            "std::bad_alloc",
            "oom-kill",
            "oom killed",
            "oom killer invoked",
            "invoked oom",
            "exceeded memory limit",
            "exceeded job memory limit",
            "memoryerror",
            "oom command not allowed",
        ],
    ),
    (
        LogClass::CudaError,
        &[
            "cuda error",
            "cuda runtime error",
            "cuda driver error",
            "cudnn error",
            "cudnn_status_",
            "cublas_status_",
            "nccl error",
            "nccl failure",
            "ncclunhandledcudaerror",
            "ncclsystemerror",
            "ncclinternalerror",
            "gpu error",
            "nvrm: xid",
            "device-side assert",
            "no cuda-capable device",
            "cuda driver version is insufficient",
            "uncorrectable ecc",
        ],
    ),
    (
        LogClass::ModelLoadError,
        &[
            "failed to load model",
            "failed to load the model",
            "unable to load model",
            "could not load model",
            "error loading model",
            "error loading weights",
            "error loading checkpoint",
            "error loading tokenizer",
            "model not found",
            "is not a valid model identifier",
        ],
    ),
    (
        LogClass::DbConnectionError,
        &[
            "could not connect to server",
            "database connection failed",
            "database connection error",
            "database connection lost",
            "too many clients already",
            "remaining connection slots are reserved",
            "the database system is starting up",
            "the database system is shutting down",
            "the database system is in recovery mode",
            "password authentication failed",
        ],
    ),
    (
        LogClass::QueryError,
        &[
            "query failed",
            "sql error",
            "syntax error at",
            "sql syntax error",
            "duplicate key value violates",
            "deadlock detected",
            "canceling statement due to",
            "wrongtype operation",
            "err unknown command",
        ],
    ),
    (LogClass::Timeout, &["timed out", "deadline exceeded", "time-out reached", "due to statement timeout"]),
    (
        LogClass::ConnectionRefused,
        &["connection refused", "econnrefused", "could not connect", "failed to connect", "unable to connect"],
    ),
    (LogClass::ConnectionReset, &["connection reset", "econnreset", "broken pipe", "epipe"]),
    (
        LogClass::MemoryWarning,
        &[
            "low memory",
            "memory pressure",
            "high memory usage",
            "memory usage is high",
            "memory usage exceeds",
            "swapping",
        ],
    ),
    (LogClass::Http500, &["internal server error"]),
    (
        LogClass::Http502503,
        &["bad gateway", "service unavailable", "service temporarily unavailable", "gateway timeout"],
    ),
    (LogClass::Http4xx, &["bad request", "unauthorized", "forbidden", "too many requests"]),
    (LogClass::Success, &["ready to accept connections", "startup complete", "✓", "✔", "✅"]),
];

/// The classes of a line, each once; empty for a line that says nothing of the kind.
pub fn classify(line: &str) -> Vec<LogClass> {
    let lower = line.to_ascii_lowercase();
    let status = http_status(&lower);
    let mut classes = Vec::new();
    match status {
        // The record of an answer, whatever words its path and its agent are made of.
        Some(Status { code: 100..=399, of_access_log: true }) => return classes,
        Some(Status { code: 502..=504, .. }) => classes.push(LogClass::Http502503),
        Some(Status { code: 500..=599, .. }) => classes.push(LogClass::Http500),
        Some(Status { code: 400..=499, .. }) => classes.push(LogClass::Http4xx),
        _ => {}
    }
    if status.is_some_and(|status| status.of_access_log) {
        return classes;
    }
    for (class, phrases) in PHRASES {
        // A status that is written beats the words beside it.
        let of_http = matches!(class, LogClass::Http500 | LogClass::Http502503 | LogClass::Http4xx);
        if (!of_http || status.is_none()) && phrases.iter().any(|phrase| says(&lower, phrase)) {
            classes.push(*class);
        }
    }
    let mut also = |class: LogClass, found: bool| {
        if found && !classes.contains(&class) {
            classes.push(class);
        }
    };
    also(LogClass::OutOfMemory, oom(&lower));
    also(LogClass::Timeout, timeout(&lower));
    also(LogClass::QueryError, missing_relation(&lower));
    also(LogClass::DbConnectionError, lower.contains("connection to server") && lower.contains("failed"));
    also(LogClass::SlurmError, slurm(&lower));
    also(LogClass::GeneralError, GENERAL_ERRORS.iter().any(|word| occurs(&lower, word)) || glog_level(line, b"EF"));
    also(
        LogClass::GeneralWarning,
        ["warning", "warn", "warnings"].iter().any(|word| occurs(&lower, word)) || glog_level(line, b"W"),
    );
    let bad = classes.iter().any(|class| class.severity() != LogSeverity::Info);
    if !bad && !classes.contains(&LogClass::Success) && GOOD.iter().any(|word| occurs(&lower, word)) {
        classes.push(LogClass::Success);
    }
    if bad {
        classes.retain(|class| class.severity() != LogSeverity::Info);
    }
    classes
}

const GENERAL_ERRORS: &[&str] =
    &["error", "errors", "failed", "failure", "failures", "exception", "fatal", "panic", "panicked", "critical"];
const GOOD: &[&str] = &["success", "successful", "successfully", "completed", "ready", "started", "healthy"];

/// The phrase, not as a part of a longer word at its start, and not denied.
fn says(lower: &str, phrase: &str) -> bool {
    lower.match_indices(phrase).any(|(at, _)| {
        let starts = !phrase.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            || !lower[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric());
        starts && !denied(lower, at, at + phrase.len())
    })
}

/// The whole word, as something that happened: not denied, not a count of zero, not part of a name or a path.
fn occurs(lower: &str, word: &str) -> bool {
    lower.match_indices(word).any(|(at, _)| {
        let (before, after) = (&lower[..at], &lower[at + word.len()..]);
        let of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '/');
        let whole = !before.ends_with(of_name) && !after.starts_with(of_name) && !before.ends_with('-');
        // `error.log`, `error-rate`, `errors.py`
        let of_path = ['.', '-'].iter().any(|mark| {
            after
                .strip_prefix(*mark)
                .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_alphanumeric()))
        });
        // Java's and Python's exceptions come with a dot before or after: `java.lang.Exception`.
        let setting =
            ["level=", "level: ", "level ", "log-level ", "loglevel="].iter().any(|name| before.ends_with(name))
                && !after.trim_start().starts_with([':', ']', ' ', 'm'])
                && after.trim().is_empty();
        whole && !of_path && !setting && !denied(lower, at, at + word.len())
    })
}

/// `no errors`, `0 failed`, `without error`, `errors: 0`, `error=0.00 %`, `error rate 0`, `not ready`.
fn denied(lower: &str, start: usize, end: usize) -> bool {
    let word_before = lower[..start].trim_end_matches([' ', '(', '[']).rsplit([' ', '(', '[', ',', '=', ':']).next();
    let negations = [
        "no",
        "zero",
        "without",
        "not",
        "never",
        "non",
        "isn't",
        "un",
        "cause",
        "causes",
        "avoid",
        "avoids",
        "prevent",
        "prevents",
        "any",
        "possible",
        "potential",
        "if",
    ];
    if word_before.is_some_and(|word| negations.contains(&word) || is_zero(word)) {
        return true;
    }
    let mut after = lower[end..].trim_start_matches(['s', '"', '\'', ')']).trim_start();
    for name in ["rate", "count", "ratio", "total"] {
        after = after.strip_prefix(name).unwrap_or(after).trim_start_matches(['"', '\'']).trim_start();
    }
    let Some(value) = after.strip_prefix([':', '=']) else {
        // `error rate 0.0%`
        return is_zero(first_word(after)) && !after.is_empty();
    };
    let value = first_word(value.trim_start_matches(['>', ' ', '"', '\'']));
    is_zero(value) || matches!(value, "none" | "null" | "nil" | "false" | "no" | "off" | "<nil>")
}

fn first_word(text: &str) -> &str {
    text.split([' ', ',', ';', ')', ']', '}', '"', '\'', '%']).next().unwrap_or("").trim_end_matches('.')
}

fn is_zero(word: &str) -> bool {
    !word.is_empty() && word.contains('0') && word.chars().all(|letter| matches!(letter, '0' | '.'))
}

/// `OOM` as a word of its own.
fn oom(lower: &str) -> bool {
    (occurs(lower, "oom") && !lower.contains("oom protection") && !lower.contains("avoid oom"))
        || lower.contains("oom_kill event")
        || (lower.contains("killed process") && lower.contains("anon-rss"))
}

/// A timeout that happened: not the setting of one.
fn timeout(lower: &str) -> bool {
    ["timeout", "timeouts", "timeouterror", "readtimeout", "connecttimeout"].iter().any(|word| {
        lower.match_indices(word).any(|(at, _)| {
            let end = at + word.len();
            let (before, after) = (&lower[..at], &lower[end..]);
            let of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
            let whole = !before.ends_with(of_name) && !after.starts_with(of_name);
            let value = after.trim_start_matches(['=', ':', ' ', '"', '\'']);
            let setting = value.starts_with(|letter: char| letter.is_ascii_digit())
                || ["set to", "is set", "in seconds", "(seconds", "none", "value", "setting"]
                    .iter()
                    .any(|rest| value.starts_with(rest))
                || after.starts_with('=')
                || after.strip_prefix(" of ").is_some_and(|rest| {
                    rest.starts_with(|letter: char| letter.is_ascii_digit())
                        && !["exceeded", "reached", "expired"].iter().any(|word| rest.contains(word))
                });
            whole && !setting && !denied(lower, at, end)
        })
    })
}

/// PostgreSQL's `relation "x" does not exist`, and its kin.
fn missing_relation(lower: &str) -> bool {
    lower.contains("does not exist")
        && ["relation \"", "column \"", "table \"", "function ", "database \""].iter().any(|kind| lower.contains(kind))
}

fn slurm(lower: &str) -> bool {
    let daemon = ["slurmstepd: ", "slurmd: ", "slurmctld: ", "srun: ", "sbatch: ", "salloc: "]
        .iter()
        .any(|name| lower.contains(name));
    let trouble = ["error", "cancelled", "canceled", "exceeded", "***", "due to ", "killed", "terminated", "node fail"];
    let words = ["due to time limit", "due to preemption", "due to node fail", "due to node_fail"];
    daemon && trouble.iter().any(|word| lower.contains(word)) || words.iter().any(|words| lower.contains(words))
}

/// glog and klog: `E0301 12:00:05.123456`.
fn glog_level(line: &str, levels: &[u8]) -> bool {
    let bytes = line.as_bytes();
    bytes.len() > 8
        && levels.contains(&bytes[0])
        && bytes[1..5].iter().all(u8::is_ascii_digit)
        && bytes[5] == b' '
        && bytes[6..8].iter().all(u8::is_ascii_digit)
        && bytes[8] == b':'
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    /// The line is the record of one request.
    of_access_log: bool,
}

/// What stands directly before a status, apart from blanks, quotes, colons and equal signs.
const BEFORE_STATUS: &[&str] = &[
    "status",
    "status code",
    "status_code",
    "statuscode",
    "http_status",
    "http status",
    "http",
    "http error",
    "http code",
    "response code",
    "response_code",
    "responded with",
    "returned status",
    "http/1.1",
    "http/1.0",
    "http/2",
    "http/2.0",
];

/// Words that may follow a status which is no quantity.
const AFTER_STATUS: &[&str] = &[
    "after", "and", "at", "by", "during", "error", "for", "from", "in", "of", "on", "path", "received", "response",
    "returned", "retrying", "to", "url", "when", "while", "with",
];

/// What a status is followed by when it stands alone.
const REASONS: &[(u16, &str)] = &[
    (400, "bad request"),
    (401, "unauthorized"),
    (403, "forbidden"),
    (404, "not found"),
    (405, "method not allowed"),
    (408, "request timeout"),
    (413, "payload too large"),
    (413, "request entity too large"),
    (422, "unprocessable"),
    (429, "too many requests"),
    (500, "internal server error"),
    (501, "not implemented"),
    (502, "bad gateway"),
    (503, "service unavailable"),
    (503, "service temporarily unavailable"),
    (504, "gateway time"),
];

/// The HTTP status that a line (in small letters) reports.
fn http_status(lower: &str) -> Option<Status> {
    // `"GET /path HTTP/1.1" 503 197`: common and combined logs, uvicorn, many others.
    for (at, _) in lower.match_indices(" http/") {
        let rest = &lower[at + 6..];
        let version = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        if let Some(code) = version.strip_prefix("\" ").and_then(three_digits) {
            return Some(Status { code, of_access_log: true });
        }
    }
    // `[GIN] 2026/03/01 - 12:00:05 | 500 | 1.2ms | ::1 | POST "/api/generate"`, as of Ollama.
    if lower.contains("[gin]")
        && let Some(code) = lower.split('|').nth(1).and_then(|column| three_digits(column.trim()))
    {
        return Some(Status { code, of_access_log: true });
    }
    let bytes = lower.as_bytes();
    for start in 0..bytes.len() {
        let alone = start == 0 || !matches!(bytes[start - 1], b'0'..=b'9' | b'a'..=b'z' | b'.' | b'_' | b'-' | b'/');
        if !alone || !bytes[start].is_ascii_digit() || !lower.is_char_boundary(start) {
            continue;
        }
        let Some(code) = three_digits(&lower[start..]) else { continue };
        let rest = lower[start + 3..].trim_start_matches([' ', ':', '-', '"', '\'']);
        // Of what a status may be a quantity.
        let alone = !rest.starts_with(|letter: char| letter.is_ascii_alphabetic())
            || AFTER_STATUS.iter().any(|word| rest.split(|l: char| !l.is_ascii_alphabetic()).next() == Some(word));
        let named = REASONS.iter().any(|(status, reason)| *status == code && rest.starts_with(reason));
        let before = lower[..start].trim_end_matches([' ', ':', '=', '"', '\'', '(', '[']);
        let led = BEFORE_STATUS.iter().any(|lead| {
            before.strip_suffix(lead).is_some_and(|rest| !rest.ends_with(|l: char| l.is_ascii_alphanumeric()))
        });
        // What comes after the bare name of the protocol and a colon is a port.
        let port = before.ends_with("http") && lower[before.len()..start].contains([':', '=']);
        if named || led && alone && !port {
            return Some(Status { code, of_access_log: false });
        }
    }
    None
}

/// A number of exactly three digits that can be a status, and is no part of a longer number or a quantity.
fn three_digits(text: &str) -> Option<u16> {
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let longer = text[3..].starts_with(|letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '%'))
        || text[3..].strip_prefix(['.', ',']).is_some_and(|rest| rest.starts_with(|l: char| l.is_ascii_digit()));
    let code = digits.parse().ok()?;
    (!longer && (100..600).contains(&code)).then_some(code)
}
