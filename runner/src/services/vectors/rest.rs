//! A connection to a database that speaks JSON over HTTP, within the load and beside it.

use std::time::Instant;

use serde_json::Value;

use crate::{
    load::{Endpoint, PATIENCE, within},
    services::http::Http,
};

/// Longest body of an answer that is read.
const LONGEST_ANSWER: usize = 64 << 20;
/// Characters of a server's message that are kept.
const MESSAGE: usize = 200;

/// A connection that speaks JSON.
pub struct Rest {
    http: Http,
    host: String,
    headers: String,
    request: Vec<u8>,
    /// The body of the last answer.
    pub answer: Vec<u8>,
}

impl Rest {
    /// `headers` are whole lines.
    pub async fn connect(endpoint: &Endpoint, headers: &str) -> Result<Self, String> {
        Ok(Self {
            http: Http::connect(endpoint).await?,
            host: endpoint.to_string(),
            headers: headers.to_owned(),
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// [`Http::revive`].
    pub async fn revive(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        self.http.revive(endpoint).await
    }

    /// Makes the request ready; `target` is method and path.
    pub fn write(&mut self, target: &str, body: &[u8]) {
        let (host, headers, length) = (&self.host, &self.headers, body.len());
        let head = format!(
            "{target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
    }

    /// Sends what is ready and reads the answer: status, whether the connection ends, and when the last byte came.
    pub async fn exchange(&mut self) -> Result<(u16, bool, Instant), String> {
        self.answer.clear();
        self.http.send(&self.request).await?;
        let head = self.http.head().await?;
        loop {
            let arrived = self.http.body(&mut self.answer).await?;
            if arrived.done {
                return Ok((head.status, head.close, arrived.at));
            }
            if self.answer.len() > LONGEST_ANSWER {
                return Err(format!("wrong answer: more than {LONGEST_ANSWER} bytes"));
            }
        }
    }

    /// A request outside the load: the body of an answer with a successful status.
    pub async fn ask(&mut self, target: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        match self.answer_to(target, body).await? {
            200..=299 => Ok(std::mem::take(&mut self.answer)),
            status => Err(format!("{target}: status {status}: {}", message(&self.answer))),
        }
    }

    /// Removes what may be there or not.
    pub async fn delete(&mut self, path: &str) -> Result<(), String> {
        match self.answer_to(&format!("DELETE {path}"), b"").await? {
            200..=299 | 404 => Ok(()),
            status => Err(format!("DELETE {path}: status {status}: {}", message(&self.answer))),
        }
    }

    /// The status; the body is in `answer`.
    async fn answer_to(&mut self, target: &str, body: &[u8]) -> Result<u16, String> {
        self.write(target, body);
        let (status, ..) = within(PATIENCE, target, self.exchange()).await?;
        Ok(status)
    }

    /// [`Rest::ask`], with JSON both ways.
    pub async fn json(&mut self, target: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.ask(target, &body).await?;
        serde_json::from_slice(&answer).map_err(|err| format!("{target}: an answer that is no JSON: {err}"))
    }
}

/// What a server says of an error, in one short line.
pub fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            let places = ["/status/error", "/message", "/detail", "/error"];
            let said = places.iter().find_map(|place| value.pointer(place)?.as_str().map(str::to_owned));
            said.unwrap_or_else(|| value.to_string())
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}
