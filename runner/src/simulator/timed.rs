//! The simulator's timed endpoint, and the workload that asks it: a ground truth for clients that do not stream.
//!
//! A question is eight bytes: how long the server shall take, in nanoseconds, little-endian. The answer is sixteen:
//! when the question was read and when the answer was written, in nanoseconds since the Unix epoch. What the client
//! measures beyond the difference is its own error, and the network's. Questions of one batch are answered one after the
//! other, and the server has each of them from the moment it read the first.

use std::{
    io::{ErrorKind, Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use crate::load::{
    Client, Connection, Draw, Endpoint, Exchange, Outcome, Place, Timer, Workload, content_mix,
    truth::{Tape, Truth, unix_ns},
};

/// Longest wait for an answer to the plain connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until the process ends.
pub fn serve(host: &str, port: u16) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener =
            TcpListener::bind((host, port)).await.with_context(|| format!("cannot listen on {host}:{port}"))?;
        serve_on(listener).await
    }))
}

/// Serves the connections of `listener`; inside a `LocalSet`.
pub async fn serve_on(listener: TcpListener) -> Result<()> {
    let timer = Timer::start(false).context("cannot make a timer")?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(answer(stream, timer.clone()));
    }
}

/// Until the client goes away.
async fn answer(stream: TcpStream, timer: Timer) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let (mut read, mut answers) = (BufReader::new(read), Vec::new());
    let mut question = [0; 8];
    loop {
        read.read_exact(&mut question).await?;
        let (begun, received) = (Instant::now(), unix_ns());
        let wanted = Duration::from_nanos(u64::from_le_bytes(question));
        if !wanted.is_zero() {
            timer.sleep_until(begun + wanted).await;
        }
        answers.extend_from_slice(&received.to_le_bytes());
        answers.extend_from_slice(&unix_ns().to_le_bytes());
        // What takes no time is answered together with what came with it, as servers do.
        if !wanted.is_zero() || read.buffer().len() < question.len() {
            write.write_all(&answers).await?;
            answers.clear();
        }
    }
}

/// Asks with one blocking connection, for `length_s`, what takes `pace_s` to answer; returns what was measured beyond what
/// the server had each question, in nanoseconds: what the machine takes without a load generator.
pub fn ask_plainly(endpoint: &Endpoint, pace_s: f64, length_s: f64) -> std::io::Result<Vec<u64>> {
    let mut stream = std::net::TcpStream::connect((endpoint.host.as_str(), endpoint.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let question = ((pace_s * 1e9) as u64).to_le_bytes();
    let (begun, length) = (Instant::now(), Duration::from_secs_f64(length_s));
    let mut beyond = Vec::new();
    let mut answer = [0; 16];
    while begun.elapsed() < length {
        let start = Instant::now();
        stream.write_all(&question)?;
        stream.read_exact(&mut answer)?;
        let measured = start.elapsed().as_nanos() as u64;
        beyond.push(measured.saturating_sub(served_ns(&answer, stamp(&answer, 0))));
    }
    Ok(beyond)
}

fn stamp(answer: &[u8], at: usize) -> u64 {
    answer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How long the server had a question that it received at a time.
fn served_ns(answer: &[u8], received_ns: u64) -> u64 {
    stamp(answer, 8).saturating_sub(received_ns)
}

/// Batches of questions that take the time of the first one, as the others take none.
#[derive(Clone)]
pub struct TimedLoad {
    pub endpoint: Endpoint,
    /// Mean time of a batch. Each is drawn between half and one and a half of it: clients that are all answered at the
    /// same moment ask again at the same moment, and would measure how long they wait for each other.
    pub service_ns: u64,
    pub truth: Arc<Truth>,
}

impl Workload for TimedLoad {
    type Client = TimedClient;

    fn operations(&self) -> &'static [&'static str] {
        &["timed"]
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn connect(&self, client: u32) -> Result<TimedClient, String> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await;
        let stream = stream.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        Ok(TimedClient {
            stream,
            service_ns: self.service_ns as f64,
            draw: Draw::new(&[u64::from(client)]),
            batch: Vec::new(),
            answers: Vec::new(),
            tape: self.truth.tape(),
        })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct TimedClient {
    stream: TcpStream,
    service_ns: f64,
    draw: Draw,
    /// The questions of one batch, and what has come of its answers.
    batch: Vec<u8>,
    answers: Vec<u8>,
    tape: Tape,
}

impl Client for TimedClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        let question = ((self.service_ns * (0.5 + self.draw.uniform())) as u64).to_le_bytes();
        let start = Instant::now();
        for exchange in &mut *batch {
            exchange.content = Some(content_mix(&question, 0));
            exchange.start = Some(start);
        }
        match self.ask(question, batch).await {
            Ok(()) => Connection::Reusable,
            Err(err) => {
                let now = Instant::now();
                batch.iter_mut().for_each(|exchange| exchange.fail(now, err.to_string()));
                Connection::Broken
            }
        }
    }
}

impl TimedClient {
    async fn ask(&mut self, question: [u8; 8], batch: &mut [Exchange]) -> std::io::Result<()> {
        self.batch.clear();
        self.batch.extend_from_slice(&question);
        self.batch.resize(question.len() * batch.len(), 0);
        self.stream.write_all(&self.batch).await?;
        self.answers.clear();
        let mut received_ns = None;
        let mut waiting = batch.iter_mut();
        let mut at = 0;
        while waiting.len() > 0 {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.answers) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => continue,
                Err(err) => return Err(err),
            }
            let end = Instant::now();
            while let Some((stamps, exchange)) = self.answers[at..].first_chunk::<16>().zip(waiting.as_slice().first())
            {
                let received_ns = *received_ns.get_or_insert(stamp(stamps, 0));
                if let (false, Some(start)) = (exchange.place.warmup, exchange.start) {
                    let measured = end.saturating_duration_since(start).as_nanos() as u64;
                    self.tape.answer(measured, served_ns(stamps, received_ns));
                }
                if let Some(exchange) = waiting.next() {
                    exchange.end = Some(end);
                    exchange.outcome = Outcome::Ok;
                }
                at += stamps.len();
            }
        }
        Ok(())
    }
}
