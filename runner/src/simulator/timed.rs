//! The simulator's timed endpoint, and the workload that asks it: a ground truth for clients that do not stream.
//!
//! A question is eight bytes: how long the server shall take, in nanoseconds, little-endian. The answer is sixteen:
//! when the question was read and when the answer was written, in nanoseconds since the Unix epoch. What the client
//! measures beyond the difference is its own error, and the network's.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use crate::load::{
    Client, Connection, Endpoint, Exchange, Outcome, Place, Timer, Workload, content_mix,
    truth::{Tape, Truth, unix_ns},
};

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
async fn answer(mut stream: TcpStream, timer: Timer) -> std::io::Result<()> {
    let mut question = [0; 8];
    loop {
        stream.read_exact(&mut question).await?;
        let (begun, received) = (Instant::now(), unix_ns());
        let wanted = Duration::from_nanos(u64::from_le_bytes(question));
        if !wanted.is_zero() {
            timer.sleep_until(begun + wanted).await;
        }
        let mut answer = [0; 16];
        answer[..8].copy_from_slice(&received.to_le_bytes());
        answer[8..].copy_from_slice(&unix_ns().to_le_bytes());
        stream.write_all(&answer).await?;
    }
}

/// Questions that all take the same time.
#[derive(Clone)]
pub struct TimedLoad {
    pub endpoint: Endpoint,
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

    async fn connect(&self, _client: u32) -> Result<TimedClient, String> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await;
        let stream = stream.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        Ok(TimedClient { stream, question: self.service_ns.to_le_bytes(), tape: self.truth.tape() })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct TimedClient {
    stream: TcpStream,
    question: [u8; 8],
    tape: Tape,
}

impl Client for TimedClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        for exchange in batch {
            exchange.content = Some(content_mix(&self.question, 0));
            let start = *exchange.start.insert(Instant::now());
            match self.ask().await {
                Ok((end, served_ns)) => {
                    exchange.end = Some(end);
                    exchange.outcome = Outcome::Ok;
                    if !exchange.place.warmup {
                        self.tape.answer(end.saturating_duration_since(start).as_nanos() as u64, served_ns);
                    }
                }
                Err(err) => {
                    exchange.fail(Instant::now(), err.to_string());
                    return Connection::Broken;
                }
            }
        }
        Connection::Reusable
    }
}

impl TimedClient {
    /// When the answer was read, and how long the server had it.
    async fn ask(&mut self) -> std::io::Result<(Instant, u64)> {
        self.stream.write_all(&self.question).await?;
        let (mut answer, mut filled) = ([0; 16], 0);
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut answer[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(err) if err.kind() == ErrorKind::WouldBlock => continue,
                Err(err) => return Err(err),
            }
            if filled == answer.len() {
                let end = Instant::now();
                let stamp = |at: usize| answer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                return Ok((end, stamp(8).saturating_sub(stamp(0))));
            }
        }
    }
}
