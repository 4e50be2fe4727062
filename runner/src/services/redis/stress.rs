//! The `redis_stress` workload: SETs and GETs over own sockets, every answer checked.
//!
//! A key is `<token><kind><owner><number>`, padded to its length with `x`: an eight-character token of this
//! run, `p` for pooled, `s` for phased and `w` for warm-up keys, the owner in five and the number in ten
//! hexadecimal digits. A value begins with 16 random bytes of its own and goes on as a part of a random body that all
//! share, from a place of its own; its key (without the token) and the seed say which, so every GET can be verified
//! byte for byte, whoever wrote the value and when, for the price of a comparison. Owners are clients in closed loop;
//! in open loop every key belongs to owner 0.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    KeyDistribution, RedisStressSettings,
    resp::{self, Piece},
};
use crate::load::{
    Arrival, Client, Connection, Draw, Endpoint, Exchange, LoadJob, Outcome, PATIENCE, Place, Workload, Zipf,
    content_mix, within,
};
use crate::services::token::token_of;

/// As in YCSB.
const DEFAULT_ZIPF_EXPONENT: f64 = 0.99;

const SET: u8 = 0;
const GET: u8 = 1;
const OPERATIONS: &[&str] = &["SET", "GET"];

/// Bytes of a key before its padding, the token in front included.
const KEY: usize = 24;
/// Of these, without the token.
const OWN_KEY: usize = 16;

/// Bytes of a value's own.
const HEAD: usize = 16;
/// Places in the body at which the rest of a value may begin.
const PLACES: u64 = 1 << 16;

/// Streams of draws, apart from each other.
const DRAW_OPERATION: u64 = 1;
const DRAW_VALUE: u64 = 2;
const DRAW_BODY: u64 = 3;

/// Commands in one batch while preloading and cleaning up.
const BULK: u64 = 500;
/// Bytes in one batch while preloading, at most about.
const BULK_BYTES: usize = 4 << 20;

/// Least and most bytes read at once.
const INPUT: [usize; 2] = [4 << 10, 64 << 10];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// So many SETs of new keys, then so many GETs of the same.
    Phases { keys: u64 },
    /// Each request is drawn: a GET with this share, else a SET; of one of so many keys.
    Mix { get_share: f64, keys: u64, zipf: Option<Zipf> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Pooled = b'p',
    Phased = b's',
    Warmup = b'w',
}

/// A key without its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    kind: Kind,
    owner: u32,
    number: u64,
}

#[derive(Clone)]
pub struct RedisLoad {
    endpoint: Endpoint,
    password: Option<String>,
    seed: u64,
    mode: Mode,
    /// Sequences of requests there are: clients in closed loop, one in open loop.
    owners: u32,
    warmup_keys: u64,
    value_size: usize,
    pipeline: usize,
    token: String,
    /// What every command consists of besides key and value.
    frame: Arc<Frame>,
    /// What values are made of, from their heads on.
    body: Arc<[u8]>,
    /// The stream that the draws of values begin with.
    values: Draw,
    /// Phased and warm-up keys that each owner may have written: numbers below these.
    written: Arc<Vec<[AtomicU64; 2]>>,
}

impl RedisLoad {
    pub fn new(job: &LoadJob, settings: &RedisStressSettings) -> Result<Self> {
        let spec = &job.spec;
        let closed = matches!(spec.arrival, Arrival::Closed { .. });
        let owners = if closed { spec.clients } else { 1 };
        if spec.clients > 1 << 20 {
            bail!("redis_stress can tell 1048576 clients apart, not {}", spec.clients);
        }
        // In open loop all clients share the keys that they would have had for themselves.
        let pooled = settings.num_keys.saturating_mul(u64::from(spec.clients / owners));
        let zipf = (settings.key_distribution == KeyDistribution::Zipf)
            .then(|| Zipf::new(pooled, settings.zipf_exponent.unwrap_or(DEFAULT_ZIPF_EXPONENT)));
        let mode = match (&settings.operation_mix, spec.stop.requests, spec.stop.duration_s) {
            (Some(mix), _, _) => Mode::Mix { get_share: get_share(mix)?, keys: pooled, zipf },
            // Each phase is half of the requests; the odd one is a SET.
            (None, Some(requests), None) if closed && spec.precision.is_none() => {
                Mode::Phases { keys: requests.div_ceil(2) }
            }
            // GETs of a schedule would not wait for the SETs before them, and time would cut the phases anywhere.
            (None, _, _) => Mode::Mix { get_share: 0.5, keys: pooled, zipf },
        };
        let (key_size, value_size) = (settings.key_size_bytes as usize, settings.value_size_bytes as usize);
        let token = token_of(job);
        Ok(Self {
            endpoint: job.endpoint.clone(),
            password: super::password_of(&job.service_settings).map(str::to_owned),
            seed: spec.seed,
            mode,
            owners,
            warmup_keys: settings.num_keys,
            value_size,
            pipeline: spec.pipeline as usize,
            frame: Arc::new(Frame::new(&token, key_size, value_size)),
            body: body(spec.seed, value_size),
            values: Draw::new(&[spec.seed, DRAW_VALUE]),
            token,
            written: Arc::new((0..owners).map(|_| <[AtomicU64; 2]>::default()).collect()),
        })
    }

    /// What a request is: a function of the seed and its place.
    #[inline]
    fn plan(&self, place: Place) -> (u8, Key) {
        let owner = place.sequence;
        match self.mode {
            Mode::Mix { get_share, keys, zipf } => {
                let parts = [self.seed, DRAW_OPERATION, u64::from(owner), place.index, u64::from(place.warmup)];
                let mut draw = Draw::new(&parts);
                let operation = if draw.uniform() < get_share { GET } else { SET };
                let number = match zipf {
                    None => draw.below(keys),
                    Some(zipf) => zipf.draw(&mut draw),
                };
                (operation, Key { kind: Kind::Pooled, owner, number })
            }
            Mode::Phases { .. } if place.warmup => {
                let number = place.index / 2 % self.warmup_keys;
                (if place.index.is_multiple_of(2) { SET } else { GET }, Key { kind: Kind::Warmup, owner, number })
            }
            Mode::Phases { keys } => {
                let index = place.index;
                let (operation, number) = if index < keys { (SET, index) } else { (GET, index - keys) };
                (operation, Key { kind: Kind::Phased, owner, number })
            }
        }
    }

    /// The key whole.
    fn key_bytes(&self, key: Key) -> Vec<u8> {
        [self.token.as_bytes(), &key.own(), &self.frame.padding].concat()
    }

    fn value(&self, key: Key) -> Value<'_> {
        let mut draw = self.values.with(key.identity());
        let mut head = [0; HEAD];
        for word in head.as_chunks_mut().0 {
            *word = draw.next_u64().to_le_bytes();
        }
        let (head_size, place) = (HEAD.min(self.value_size), draw.below(PLACES) as usize);
        Value { head, head_size, rest: &self.body[place..place + self.value_size - head_size] }
    }

    /// Appends the command of a request. Returns the mix of its content, the run's token left out: of a value, its head.
    #[inline]
    fn write_command(&self, operation: u8, key: Key, out: &mut Vec<u8>) -> u64 {
        let frame = &*self.frame;
        let own = key.own();
        let content = content_mix(&own, u64::from(operation));
        if operation != SET {
            out.extend_from_slice(&frame.get);
            out.extend_from_slice(&own);
            out.extend_from_slice(&frame.padding);
            out.extend_from_slice(b"\r\n");
            return content;
        }
        let value = self.value(key);
        out.extend_from_slice(&frame.set);
        out.extend_from_slice(&own);
        out.extend_from_slice(&frame.set_value);
        out.extend_from_slice(&value.head[..value.head_size]);
        out.extend_from_slice(value.rest);
        out.extend_from_slice(b"\r\n");
        content_mix(&value.head, content ^ self.value_size as u64)
    }

    /// Sends `commands` in batches over one connection and awaits every answer.
    async fn bulk(
        &self,
        commands: impl Iterator<Item = impl FnOnce(&mut Vec<u8>)>,
        expect: &str,
    ) -> Result<(), String> {
        let mut stream = within(PATIENCE, "connecting", self.open()).await?;
        let mut commands = commands.peekable();
        let (mut out, mut input, mut reader) = (Vec::new(), vec![0; 1 << 16], resp::Reader::default());
        while commands.peek().is_some() {
            out.clear();
            let mut waiting = 0u64;
            while waiting < BULK && out.len() < BULK_BYTES {
                let Some(command) = commands.next() else { break };
                command(&mut out);
                waiting += 1;
            }
            let lost = |err| format!("connection lost: {err}");
            within(PATIENCE, "sending", async { stream.write_all(&out).await.map_err(lost) }).await?;
            while waiting > 0 {
                let read = async { stream.read(&mut input).await.map_err(lost) };
                let count = within(PATIENCE, "commands in bulk", read).await?;
                if count == 0 {
                    return Err("connection closed by the server".into());
                }
                let mut wrong = None;
                reader.feed(&input[..count], |piece| {
                    waiting = waiting.saturating_sub(1);
                    match piece {
                        Piece::Status(text) if text == expect.as_bytes() => {}
                        Piece::Integer(_) if expect.is_empty() => {}
                        Piece::Error(text) => wrong = Some(String::from_utf8_lossy(text).into_owned()),
                        other => wrong = Some(format!("unexpected answer {other:?}")),
                    }
                })?;
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
            }
        }
        Ok(())
    }
}

fn get_share(mix: &str) -> Result<f64> {
    let shares = mix.split_once(':').and_then(|(get, set)| Some((get.parse::<f64>().ok()?, set.parse::<f64>().ok()?)));
    match shares {
        Some((get, set)) if get >= 0.0 && set >= 0.0 && get + set > 0.0 => Ok(get / (get + set)),
        _ => {
            bail!("operation_mix must be the shares of GET and SET, such as `80:20`, with one above zero, not `{mix}`")
        }
    }
}

impl RedisLoad {
    /// A connection that may be used.
    async fn open(&self) -> Result<TcpStream, String> {
        let address = (self.endpoint.host.as_str(), self.endpoint.port);
        let mut stream = TcpStream::connect(address).await.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        super::log_in(&mut stream, self.password.as_deref()).await?;
        Ok(stream)
    }
}

impl Workload for RedisLoad {
    type Client = RedisClient;

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn operation(&self, place: Place) -> u8 {
        match self.mode {
            // Nothing to draw, and asked for every request.
            Mode::Mix { get_share, .. } if get_share <= 0.0 => SET,
            Mode::Mix { get_share, .. } if get_share >= 1.0 => GET,
            _ => self.plan(place).0,
        }
    }

    /// Writes the pooled keys.
    async fn prepare(&mut self) -> Result<(), String> {
        let Mode::Mix { keys, .. } = self.mode else { return Ok(()) };
        let all =
            (0..self.owners).flat_map(|owner| (0..keys).map(move |number| Key { kind: Kind::Pooled, owner, number }));
        let load = &*self;
        let commands = all.map(|key| {
            move |out: &mut Vec<u8>| {
                load.write_command(SET, key, out);
            }
        });
        self.bulk(commands, "OK").await
    }

    async fn connect(&self, _client: u32) -> Result<RedisClient, String> {
        let answers = self.pipeline.saturating_mul(self.value_size + 32);
        Ok(RedisClient {
            stream: self.open().await?,
            load: self.clone(),
            out: Vec::new(),
            input: vec![0; answers.clamp(INPUT[0], INPUT[1])],
            reader: resp::Reader::default(),
            keys: Vec::new(),
            written: Written { all: self.written.clone(), owner: 0, counts: [0; 2] },
        })
    }

    /// Deletes every key that may have been written.
    async fn clean_up(&self) -> Result<(), String> {
        let pooled = if let Mode::Mix { keys, .. } = self.mode { keys } else { 0 };
        let all = self.written.iter().enumerate().flat_map(|(owner, written)| {
            let [phased, warmup] = [&written[0], &written[1]].map(|count| count.load(Ordering::Relaxed));
            [(Kind::Pooled, pooled), (Kind::Phased, phased), (Kind::Warmup, warmup)]
                .into_iter()
                .flat_map(move |(kind, count)| (0..count).map(move |number| Key { kind, owner: owner as u32, number }))
        });
        let commands = all.map(|key| move |out: &mut Vec<u8>| resp::command(out, &[b"UNLINK", &self.key_bytes(key)]));
        let token = &self.token;
        self.bulk(commands, "").await.map_err(|reason| format!("keys that begin with `{token}`: {reason}"))
    }
}

/// Commands up to the key's own part, and what follows it.
#[derive(Debug)]
struct Frame {
    get: Vec<u8>,
    set: Vec<u8>,
    padding: Vec<u8>,
    /// After a key: its padding, and what announces the value.
    set_value: Vec<u8>,
}

impl Frame {
    fn new(token: &str, key_size: usize, value_size: usize) -> Self {
        let command = |head: &[u8]| {
            let mut out = head.to_vec();
            resp::number(&mut out, b'$', key_size);
            out.extend_from_slice(token.as_bytes());
            out
        };
        let padding = vec![b'x'; key_size - KEY];
        let mut set_value = [padding.as_slice(), b"\r\n"].concat();
        resp::number(&mut set_value, b'$', value_size);
        Self { get: command(b"*2\r\n$3\r\nGET\r\n"), set: command(b"*3\r\n$3\r\nSET\r\n"), padding, set_value }
    }
}

impl Key {
    /// Tells it from every other.
    #[inline]
    fn identity(self) -> u64 {
        u64::from(self.kind as u8) << 60 ^ u64::from(self.owner) << 40 ^ self.number
    }

    /// Its bytes without token and padding.
    #[inline]
    fn own(self) -> [u8; OWN_KEY] {
        let mut own = [self.kind as u8; OWN_KEY];
        let digits = u64::from(self.owner) << 40 | self.number;
        for (place, digit) in own[1..].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(digits >> (56 - 4 * place)) as usize & 15];
        }
        own
    }
}

/// Random bytes, enough for a value from every place.
fn body(seed: u64, value_size: usize) -> Arc<[u8]> {
    let mut draw = Draw::new(&[seed, DRAW_BODY]);
    let words = (PLACES as usize + value_size).div_ceil(8);
    std::iter::repeat_with(|| draw.next_u64().to_le_bytes()).take(words).flatten().collect()
}

/// The bytes of a value.
#[derive(Clone, Copy, Debug)]
struct Value<'a> {
    head: [u8; HEAD],
    /// Of these, so many: a value may be shorter.
    head_size: usize,
    rest: &'a [u8],
}

impl Value<'_> {
    /// Whether `bytes`, which end within the value, stand in it from `offset` on.
    fn matches(&self, offset: usize, bytes: &[u8]) -> bool {
        let head = &self.head[offset.min(self.head_size)..self.head_size];
        let (first, rest) = bytes.split_at(bytes.len().min(head.len()));
        let begin = offset.max(self.head_size) - self.head_size;
        *first == head[..first.len()] && *rest == self.rest[begin..][..rest.len()]
    }
}

pub struct RedisClient {
    stream: TcpStream,
    load: RedisLoad,
    out: Vec<u8>,
    input: Vec<u8>,
    reader: resp::Reader,
    /// The keys of the batch.
    keys: Vec<Key>,
    written: Written,
}

impl Client for RedisClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        self.out.clear();
        self.keys.clear();
        for exchange in batch.iter_mut() {
            let (operation, key) = self.load.plan(exchange.place);
            exchange.content = Some(self.load.write_command(operation, key, &mut self.out));
            if operation == SET {
                exchange.bytes_sent = self.load.value_size as u64;
                self.written.note(key);
            }
            self.keys.push(key);
        }
        let start = Some(Instant::now());
        batch.iter_mut().for_each(|exchange| exchange.start = start);
        if let Err(err) = self.stream.write_all(&self.out).await {
            return broken(batch, format!("connection lost while sending: {err}"));
        }
        let mut answered = 0;
        while answered < batch.len() {
            let count = match self.stream.read(&mut self.input).await {
                Ok(0) => return broken(batch, "connection closed before the answer".into()),
                Ok(count) => count,
                Err(err) => return broken(batch, format!("connection lost before the answer: {err}")),
            };
            let now = Instant::now();
            let (load, keys) = (&self.load, &self.keys);
            let mut surplus = false;
            let read = self.reader.feed(&self.input[..count], |piece| match batch.get_mut(answered) {
                Some(exchange) => answered += usize::from(take_in(load, keys[answered], exchange, piece, now)),
                None => surplus = true,
            });
            if let Err(reason) = read {
                return broken(batch, format!("wrong answer: {reason}"));
            }
            if surplus {
                // Answers to nothing: which of them belong to which request is not known any more.
                return Connection::Broken;
            }
        }
        Connection::Reusable
    }
}

/// What one client may have written, noted for all when it goes.
struct Written {
    all: Arc<Vec<[AtomicU64; 2]>>,
    owner: u32,
    counts: [u64; 2],
}

impl Written {
    #[inline]
    fn note(&mut self, key: Key) {
        let place = match key.kind {
            Kind::Pooled => return,
            Kind::Phased => 0,
            Kind::Warmup => 1,
        };
        self.owner = key.owner;
        self.counts[place] = self.counts[place].max(key.number + 1);
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for (all, own) in self.all[self.owner as usize].iter().zip(self.counts) {
            all.fetch_max(own, Ordering::Relaxed);
        }
    }
}

/// Takes in a piece of an answer; `true` when the answer is whole.
#[inline]
fn take_in(load: &RedisLoad, key: Key, exchange: &mut Exchange, piece: Piece<'_>, now: Instant) -> bool {
    let failed = |reason: String| Outcome::Failed(reason.into());
    let outcome = match piece {
        Piece::Value { length, offset, bytes } => {
            exchange.bytes_received += bytes.len() as u64;
            if exchange.outcome == Outcome::Pending {
                if exchange.operation != GET {
                    exchange.outcome = Outcome::Failed("wrong answer: a value to a SET".into());
                } else if length != load.value_size {
                    exchange.outcome = Outcome::Failed("wrong answer: a value of another length".into());
                } else if !load.value(key).matches(offset, bytes) {
                    exchange.outcome = Outcome::Failed("wrong answer: another value than was written".into());
                }
            }
            return false;
        }
        // A value of no bytes has no piece before.
        Piece::ValueEnd { length } if length == load.value_size && exchange.operation == GET => Outcome::Ok,
        Piece::ValueEnd { .. } => Outcome::Failed("wrong answer: a value of another length".into()),
        Piece::Status(b"OK") if exchange.operation == SET => Outcome::Ok,
        Piece::Nil if exchange.operation == GET => Outcome::Failed("wrong answer: no value".into()),
        Piece::Error(text) => failed(String::from_utf8_lossy(text).into_owned()),
        Piece::Status(text) | Piece::Integer(text) => {
            failed(format!("wrong answer: `{}`", String::from_utf8_lossy(text).escape_debug()))
        }
        Piece::Nil => Outcome::Failed("wrong answer: nothing to a SET".into()),
    };
    if exchange.outcome == Outcome::Pending {
        exchange.outcome = outcome;
    }
    exchange.end = Some(now);
    true
}

fn broken(batch: &mut [Exchange], reason: String) -> Connection {
    let now = Instant::now();
    batch.iter_mut().for_each(|exchange| exchange.fail(now, reason.clone()));
    Connection::Broken
}
