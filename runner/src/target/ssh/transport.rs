//! What a way to the login node has to offer: commands, and a byte stream to its SFTP server.
//!
//! Trying again is not its business: it says what kind of trouble there was, and [`super::Ssh`] decides.

use anyhow::{Result, bail};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a login node that can be made anew. At most two things are asked of it at once: a command, and the
/// transfer of files beside it.
pub trait Transport {
    /// Sees to it that there is a connection; costs nothing while there is one.
    fn connect(&mut self) -> LocalBoxFuture<'_, Result<(), Trouble>>;
    /// Runs a POSIX shell script to its end, with `input` as its standard input.
    fn run<'a>(&'a self, script: &'a str, input: &'a [u8]) -> LocalBoxFuture<'a, Result<Answer, Trouble>>;
    /// Starts the SFTP server there.
    fn sftp(&self) -> LocalBoxFuture<'_, Result<Box<dyn Stream>, Trouble>>;
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a command came to.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status; 128 and the number of the signal, where one ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The answer of a command that must not fail.
    pub fn ok(self, what: &str) -> Result<Self> {
        if self.code == 0 {
            return Ok(self);
        }
        let said = if self.stderr.trim().is_empty() { self.text() } else { self.stderr };
        bail!("{what}: {}", said.trim().lines().last().unwrap_or("no reason given"));
    }
}

/// Why something could not be done over a connection.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no connection, or no longer: to try again may help.
    #[error("{0}")]
    Lost(String),
    /// There is a connection, and no SFTP server begins on it: it may be lost already, or the host has none.
    #[error("{0}")]
    NoFiles(String),
    /// No patience mends it: what was said, and what to do about it.
    #[error("{said}: {cure}")]
    Hopeless { said: String, cure: String },
    /// It is this machine's.
    #[error("{0:#}")]
    Here(#[from] anyhow::Error),
}

impl Trouble {
    pub fn hopeless(said: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Hopeless { said: said.into(), cure: cure.into() }
    }
}
