//! The HTTP load: the same request again and again, every answer's status and body checked.
//!
//! The body is compared with what is known of it: all of its bytes, its digest, or its length. With
//! `keep_alive` off each request has a connection of its own, whose making is part of its time.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use super::Method;
use crate::{
    load::{Client, Connection, Endpoint, Exchange, LoadJob, Outcome, Place, Workload, content_mix},
    services::{content::Content, http::Http},
};

/// Longest part of an error's body that is read, and that is shown.
const ERROR_BODY: usize = 64 << 10;
const SHOWN: usize = 200;

const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// What is asked, and what must come.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: Method,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body_size: u64,
    pub keep_alive: bool,
    pub status: u16,
    pub expected: Expected,
}

/// What is known of the body.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Every byte.
    Content(Content),
    Other {
        size: Option<u64>,
        sha256: Option<[u8; 32]>,
    },
}

impl Default for Question {
    fn default() -> Self {
        Self {
            method: Method::Get,
            path: "/".into(),
            headers: BTreeMap::new(),
            body_size: 0,
            keep_alive: true,
            status: 200,
            expected: Expected::Other { size: None, sha256: None },
        }
    }
}

impl Question {
    /// Refuses what would be no request, or another one than was meant.
    pub fn check(&self) -> Result<()> {
        for (name, value) in &self.headers {
            let own = ["host", "content-length", "connection", "transfer-encoding"];
            ensure!(
                !own.contains(&name.to_ascii_lowercase().as_str()),
                "the header `{name}` is the client's own: remove it"
            );
            ensure!(!value.bytes().any(|byte| byte < b' ' && byte != b'\t'), "the header `{name}` has a line break");
        }
        let sends = matches!(self.method, Method::Post | Method::Put);
        ensure!(self.body_size == 0 || sends, "`body_size_bytes` needs `method: POST` or `PUT`");
        if let (Method::Head, Expected::Other { size: Some(_), .. } | Expected::Other { sha256: Some(_), .. }) =
            (self.method, &self.expected)
        {
            anyhow::bail!("an answer to HEAD has no body: remove `size_bytes` and `sha256`");
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct HttpLoad {
    endpoint: Endpoint,
    question: Arc<Question>,
    request: Arc<[u8]>,
    /// Mix of the request.
    content: u64,
}

impl HttpLoad {
    pub fn new(job: &LoadJob, question: Question) -> Self {
        let Question { path, body_size, .. } = &question;
        let method = METHODS[question.method as usize];
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in &question.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !question.keep_alive {
            request.push_str("Connection: close\r\n");
        }
        if matches!(question.method, Method::Post | Method::Put) {
            request.push_str(&format!("Content-Length: {body_size}\r\n"));
        }
        // The endpoint is no part of the sequence: a free port is another one every time.
        let mut content = content_mix(request.as_bytes(), 0);
        let mut request = format!("{request}Host: {}\r\n\r\n", job.endpoint).into_bytes();
        let head = request.len();
        // Memory takes every byte.
        let _ = Content::new(*body_size).write(&mut request);
        content = content_mix(&request[head..], content);
        Self { endpoint: job.endpoint.clone(), question: Arc::new(question), request: request.into(), content }
    }
}

impl Workload for HttpLoad {
    type Client = HttpClient;

    fn operations(&self) -> &'static [&'static str] {
        let method = self.question.method as usize;
        &METHODS.as_slice()[method..=method]
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Also without `keep_alive`: whether the server can be reached at all is the driver's to know.
    async fn connect(&self, _client: u32) -> Result<HttpClient, String> {
        let http = Http::connect(&self.endpoint).await?;
        Ok(HttpClient { load: self.clone(), http: Some(http).filter(|_| self.question.keep_alive), body: Vec::new() })
    }

    async fn clean_up(&self) -> Result<(), String> {
        Ok(())
    }
}

pub struct HttpClient {
    load: HttpLoad,
    http: Option<Http>,
    body: Vec<u8>,
}

impl Client for HttpClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        let mut connection = Connection::Reusable;
        for exchange in batch {
            connection = self.ask(exchange).await;
            if connection == Connection::Broken {
                break;
            }
        }
        connection
    }
}

impl HttpClient {
    async fn ask(&mut self, exchange: &mut Exchange) -> Connection {
        exchange.content = Some(self.load.content);
        exchange.bytes_sent = self.load.question.body_size;
        let keep_alive = self.load.question.keep_alive;
        if !keep_alive {
            exchange.start = Some(Instant::now());
        }
        // A connection that the server closed between two requests: nothing was sent, so this is no retry.
        if !self.http.as_ref().is_some_and(Http::is_idle) {
            match Http::connect(&self.load.endpoint).await {
                Ok(http) => self.http = Some(http),
                Err(err) => {
                    exchange.content = None;
                    exchange.fail(Instant::now(), format!("cannot connect: {err}"));
                    return Connection::Broken;
                }
            }
        }
        let Some(http) = &mut self.http else { return Connection::Broken };
        if keep_alive {
            exchange.start = Some(Instant::now());
        }
        let connection = match answer(&self.load, http, &mut self.body, exchange).await {
            Ok(connection) => connection,
            Err(reason) => {
                exchange.fail(Instant::now(), reason);
                Connection::Broken
            }
        };
        if keep_alive {
            return connection;
        }
        self.http = None;
        // The next request connects by itself, unless this one gave reason to doubt the server.
        if exchange.outcome == Outcome::Ok { Connection::Reusable } else { Connection::Broken }
    }
}

/// Sends the request and takes in the answer.
async fn answer(
    load: &HttpLoad,
    http: &mut Http,
    body: &mut Vec<u8>,
    exchange: &mut Exchange,
) -> Result<Connection, String> {
    let question = &*load.question;
    http.send(&load.request).await?;
    let head = if question.method == Method::Head { http.head_only().await? } else { http.head().await? };
    exchange.http_status = Some(head.status);
    let after = if head.close { Connection::Broken } else { Connection::Reusable };
    if head.status != question.status {
        body.clear();
        loop {
            let arrived = http.body(body).await?;
            if arrived.done || body.len() > ERROR_BODY {
                let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().escape_debug().to_string();
                let text = if shown.is_empty() { "no words".to_owned() } else { shown };
                exchange.fail(arrived.at, format!("status {}: {text}", head.status));
                return Ok(if arrived.done { after } else { Connection::Broken });
            }
        }
    }
    let mut right = true;
    let mut digest = match &question.expected {
        Expected::Other { sha256: Some(_), .. } => Some(Sha256::new()),
        _ => None,
    };
    loop {
        body.clear();
        let arrived = http.body(body).await?;
        if !body.is_empty() {
            exchange.first_byte.get_or_insert(arrived.at);
        }
        if let Expected::Content(content) = &question.expected {
            right &= content.matches(exchange.bytes_received, body);
        }
        if let Some(digest) = &mut digest {
            digest.update(&body[..]);
        }
        exchange.bytes_received += body.len() as u64;
        if arrived.done {
            exchange.end = Some(arrived.at);
            exchange.outcome = verdict(&question.expected, exchange.bytes_received, right, digest);
            return Ok(after);
        }
    }
}

fn verdict(expected: &Expected, received: u64, right: bool, digest: Option<Sha256>) -> Outcome {
    let (size, sha256) = match expected {
        Expected::Content(content) => (Some(content.size()), None),
        Expected::Other { size, sha256 } => (*size, *sha256),
    };
    if let Some(size) = size.filter(|size| *size != received) {
        return Outcome::Failed(format!("wrong answer: a body of {received} bytes, not {size}").into());
    }
    let same = |digest: Sha256| sha256.is_none_or(|expect| digest.finalize()[..] == expect);
    match right && digest.is_none_or(same) {
        true => Outcome::Ok,
        false => Outcome::Failed("wrong answer: another body".into()),
    }
}
