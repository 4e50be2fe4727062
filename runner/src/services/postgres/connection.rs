//! One connection to a PostgreSQL server: logging in, and one statement at a time with its answer.
//!
//! No TLS. Errors are texts that begin with the SQLSTATE when the server gave one; nothing is tried twice.

use std::time::Instant;

use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    DEFAULT_DATABASE, DEFAULT_USER,
    wire::{self, Inbox},
};
use crate::load::Endpoint;

/// Who logs in, and where.
#[derive(Clone, Debug)]
pub struct Login {
    pub endpoint: Endpoint,
    pub user: String,
    pub password: Option<String>,
    pub database: String,
    /// The schema that unqualified names are looked up in, and the name of this application; the server's choice when
    /// `None`.
    pub schema: Option<String>,
    /// `default_transaction_isolation`; the server's choice when `None`.
    pub isolation: Option<&'static str>,
}

impl Login {
    /// From the client's settings, else the service's.
    pub fn from_settings(endpoint: &Endpoint, client: &Value, service: &Value) -> Self {
        let setting = |name: &str| {
            let text = |settings: &Value| settings.get(name).and_then(Value::as_str).map(str::to_owned);
            text(client).or_else(|| text(service))
        };
        Self {
            endpoint: endpoint.clone(),
            user: setting("user").unwrap_or_else(|| DEFAULT_USER.to_owned()),
            password: setting("password"),
            database: setting("db_name").unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
            schema: None,
            isolation: None,
        }
    }
}

/// What the server says when a statement is done.
#[derive(Debug, Default)]
pub struct Reply {
    /// The command and its number of rows: `UPDATE 1`.
    pub tag: Vec<u8>,
    /// SQLSTATE and message.
    pub error: Option<String>,
    /// Inside a transaction block, failed or not.
    pub in_transaction: bool,
    /// When the read returned that brought the end of the answer.
    pub end: Option<Instant>,
}

pub struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    /// What is to be sent next; written and cleared by [`Connection::exchange`].
    pub out: Vec<u8>,
    /// The answer to what was sent last.
    pub reply: Reply,
    /// What the server says its version is.
    pub version: String,
    read_at: Instant,
}

impl Connection {
    pub async fn open(login: &Login) -> Result<Self, String> {
        let endpoint = &login.endpoint;
        let stream =
            TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        let mut connection = Self {
            stream,
            inbox: Inbox::default(),
            out: Vec::new(),
            reply: Reply::default(),
            version: String::new(),
            read_at: Instant::now(),
        };
        connection.log_in(login).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), String> {
        let mut parameters = vec![
            ("user", login.user.as_str()),
            ("database", &login.database),
            ("application_name", login.schema.as_deref().unwrap_or("runner")),
            ("client_encoding", "UTF8"),
        ];
        parameters.extend(login.schema.as_deref().map(|schema| ("search_path", schema)));
        parameters.extend(login.isolation.map(|level| ("default_transaction_isolation", level)));
        wire::startup(&mut self.out, &parameters);
        let password = || login.password.as_deref().ok_or("the server asks for a password, and there is none");
        let mut scram = None;
        loop {
            self.write().await?;
            let (tag, body) = loop {
                let (tag, body) = self.message().await?;
                match tag {
                    b'R' => break (tag, body),
                    b'E' => return Err(wire::error_text(&body)),
                    b'N' | b'v' => {}
                    _ => return Err(unexpected(tag)),
                }
            };
            let Some((&kind, data)) = body.split_first_chunk::<4>() else { return Err(unexpected(tag)) };
            match u32::from_be_bytes(kind) {
                0 => break,
                3 => wire::password(&mut self.out, password()?),
                5 => {
                    let salt = data.try_into().map_err(|_| unexpected(tag))?;
                    let hash = md5_hash(login.user.as_bytes(), password()?.as_bytes(), salt);
                    wire::password(&mut self.out, &hash);
                }
                10 => {
                    if !data.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                        return Err("the server knows no way to log in that this client knows".into());
                    }
                    let begun = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                    wire::sasl_initial(&mut self.out, SCRAM_SHA_256, begun.message());
                    scram = Some(begun);
                }
                11 => {
                    let scram = scram.as_mut().ok_or_else(|| unexpected(tag))?;
                    scram.update(data).map_err(|err| format!("wrong answer: {err}"))?;
                    wire::sasl(&mut self.out, scram.message());
                }
                // Who passes this knows the password too.
                12 => scram
                    .as_mut()
                    .ok_or_else(|| unexpected(tag))?
                    .finish(data)
                    .map_err(|err| format!("wrong answer: {err}"))?,
                other => return Err(format!("the server asks for a way to log in ({other}) that is not known here")),
            }
        }
        self.answer(|_| {}).await?;
        match self.reply.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// One message that is not read in a hurry.
    async fn message(&mut self) -> Result<(u8, Vec<u8>), String> {
        loop {
            if let Some((tag, body)) = self.inbox.next()? {
                return Ok((tag, body.to_vec()));
            }
            self.read().await?;
        }
    }

    async fn write(&mut self) -> Result<(), String> {
        let written = self.stream.write_all(&self.out).await;
        self.out.clear();
        written.map_err(|err| format!("connection lost while sending: {err}"))
    }

    async fn read(&mut self) -> Result<(), String> {
        self.inbox.bytes.reserve(4 << 10);
        let result = self.stream.read_buf(&mut self.inbox.bytes).await;
        self.read_at = Instant::now();
        match result {
            Ok(0) => Err("connection closed before the answer".into()),
            Ok(_) => Ok(()),
            Err(err) => Err(format!("connection lost before the answer: {err}")),
        }
    }

    /// Sends `out` and takes in the answer: rows as they come, the rest into `reply`. An error of the server's is
    /// in `reply`; one that is returned has ended the connection.
    #[inline]
    pub async fn exchange(&mut self, on_row: impl FnMut(&[u8])) -> Result<(), String> {
        self.write().await?;
        self.answer(on_row).await
    }

    async fn answer(&mut self, mut on_row: impl FnMut(&[u8])) -> Result<(), String> {
        self.reply.tag.clear();
        self.reply.error = None;
        loop {
            while let Some((tag, body)) = self.inbox.next()? {
                match tag {
                    b'D' => on_row(body),
                    b'C' => {
                        self.reply.tag.clear();
                        self.reply.tag.extend_from_slice(body.strip_suffix(b"\0").unwrap_or(body));
                    }
                    b'E' => _ = self.reply.error.get_or_insert_with(|| wire::error_text(body)),
                    b'Z' => {
                        self.reply.in_transaction = body != b"I";
                        self.reply.end = Some(self.read_at);
                        return Ok(());
                    }
                    b'S' if body.starts_with(b"server_version\0") => {
                        let value = body.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                        self.version = String::from_utf8_lossy(value).into_owned();
                    }
                    // Parse, bind and close done; descriptions; key data; notices; notifications; settings.
                    b'1' | b'2' | b'3' | b't' | b'T' | b'n' | b'K' | b'N' | b'A' | b'S' | b'I' | b's' => {}
                    _ => return Err(unexpected(tag)),
                }
            }
            if let Err(lost) = self.read().await {
                // The server's last words say more.
                return Err(self.reply.error.take().unwrap_or(lost));
            }
        }
    }

    /// Runs statements in words; the error is the server's or the connection's.
    pub async fn run(&mut self, sql: &str) -> Result<(), String> {
        self.ask(sql).await.map(drop)
    }

    /// Runs statements in words, and returns the columns of the last row.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<Option<String>>, String> {
        let mut last = Ok(Vec::new());
        wire::query(&mut self.out, sql);
        self.exchange(|row| {
            last = wire::columns(row).and_then(|columns| {
                let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                columns.map(|value| value.map(text)).collect()
            });
        })
        .await?;
        match self.reply.error.take() {
            Some(error) => Err(error),
            None => last,
        }
    }

    /// Prepares a statement whose first parameters are so many integers.
    pub async fn prepare(&mut self, name: &str, sql: &str, integers: u16) -> Result<(), String> {
        wire::parse(&mut self.out, name, sql, integers);
        wire::sync(&mut self.out);
        self.exchange(|_| {}).await?;
        match self.reply.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether something came that belongs to no question.
    pub fn has_surplus(&self) -> bool {
        !self.inbox.is_empty()
    }
}

impl Drop for Connection {
    /// Says goodbye, so that the server has nothing to complain of. Nobody waits for it.
    fn drop(&mut self) {
        let mut goodbye = Vec::new();
        wire::terminate(&mut goodbye);
        let _ = self.stream.try_write(&goodbye);
    }
}

fn unexpected(tag: u8) -> String {
    format!("wrong answer: an unexpected message `{}`", tag.escape_ascii())
}
