//! The SSH program of this machine: the user's whole configuration holds (jumps, certificates, agents, one-time codes).
//!
//! One connection serves everything: a master process keeps it, and ends some time after its last use. Where a key has to
//! be unlocked, the program asks, once for each connection.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read, Seek, Write},
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    task::{Context as Task, Poll},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    CONNECT, Host, SILENCE, ask, private_folder, settings,
    transport::{Answer, Stream, Transport, Trouble},
};
use crate::target::slurm::script::quoted;

/// How long a master waits for another command, at the least.
const PERSIST: Duration = Duration::from_secs(600);
/// Exit status of SSH itself: the connection, not the command, failed.
const LOST: i32 = 255;
pub const MISSING: &str = "cannot start `ssh`: install OpenSSH's client";

#[derive(Debug)]
pub struct System {
    host: Host,
    /// Folder of the master's socket.
    sockets: PathBuf,
}

impl System {
    pub fn new(host: Host) -> Result<Self> {
        Ok(Self { host, sockets: private_folder()? })
    }

    /// Sees to it that there is a master.
    async fn master(&self) -> Result<(), Trouble> {
        let mut check = self.program();
        check.args(["-O", "check", "--", &self.host.name]).stdin(Stdio::null());
        if check.output().await.context(MISSING)?.status.success() {
            return Ok(());
        }
        // The master lives on in the background: a pipe of ours would stay open as long.
        let mut said = nameless(&self.sockets, b"").context("cannot write in the folder of sockets")?;
        let persist = persist(self.host.pause).as_secs();
        let mut command = self.program();
        command.args(["-M", "-N", "-f", "-o", &format!("ControlPersist={persist}"), "--", &self.host.name]);
        let err = said.try_clone().context("no more files can be opened")?;
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).status().await;
        if status.context(MISSING)?.success() {
            return Ok(());
        }
        let mut text = String::new();
        said.rewind().and_then(|()| said.read_to_string(&mut text)).ok();
        // Another command may have been quicker.
        if text.contains("ControlSocket") && text.contains("already exists") {
            return Ok(());
        }
        Err(lost(&text))
    }

    fn program(&self) -> Command {
        let mut command = settings::program(self.host.config.as_deref());
        command.arg("-o").arg(format!("ControlPath={}/%C", self.sockets.display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"]);
        command.arg("-o").arg(format!("ServerAliveInterval={}", self.host.keepalive.as_secs().max(1)));
        command.args(["-o", "ServerAliveCountMax=3", "-o", "TCPKeepAlive=yes"]);
        command.arg("-o").arg(format!("ConnectTimeout={}", CONNECT.as_secs()));
        command.args(["-o", "ClearAllForwardings=yes"]);
        command.args(["-o", "RemoteCommand=none", "-o", "RequestTTY=no", "-o", "LogLevel=ERROR"]);
        if !io::stdin().is_terminal() && !ask::by_program() {
            // Nobody could answer.
            command.args(["-o", "BatchMode=yes"]);
        }
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }

    async fn answer(&self, script: &str, input: &[u8]) -> Result<Answer, Trouble> {
        // One line for whatever login shell there is; the status of SSH itself stays free.
        let script = format!("( {script}\n); status=$?; [ $status -ne {LOST} ] || status=254; exit $status");
        let mut command = self.program();
        command.args(["-o", "ControlMaster=no", "--", &self.host.name]);
        command.arg(format!("exec /bin/sh -c {}", quoted(&script)?));
        // A file, not a pipe: nothing waits for a reader that is gone.
        let stdin = match input {
            [] => Stdio::null(),
            _ => Stdio::from(nameless(&self.sockets, input).context("cannot write in the folder of sockets")?),
        };
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context(MISSING)?;
        let output = timeout(SILENCE, child.wait_with_output()).await;
        let output = output.map_err(|_| super::silent())?.context("cannot read what `ssh` says")?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(code) if code != LOST => Ok(Answer { code, stdout: output.stdout, stderr }),
            _ => Err(lost(&stderr)),
        }
    }

    fn subsystem(&self) -> Result<Box<dyn Stream>, Trouble> {
        let mut command = self.program();
        command.args(["-o", "ControlMaster=no", "-s", "--", &self.host.name, "sftp"]);
        // What it says of a lost connection is told by the next attempt to make one.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context(MISSING)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Trouble::Lost("`ssh` has no input or output".to_owned()));
        };
        Ok(Box::new(Piped { stdin, stdout, _child: child }))
    }
}

impl Transport for System {
    fn connect(&mut self) -> LocalBoxFuture<'_, Result<(), Trouble>> {
        Box::pin(self.master())
    }

    fn run<'a>(&'a self, script: &'a str, input: &'a [u8]) -> LocalBoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(self.answer(script, input))
    }

    fn sftp(&self) -> LocalBoxFuture<'_, Result<Box<dyn Stream>, Trouble>> {
        Box::pin(async { self.subsystem() })
    }
}

/// A process' input and output; it ends with this value.
struct Piped {
    stdin: ChildStdin,
    stdout: ChildStdout,
    _child: Child,
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(task, buffer)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(task)
    }
}

/// How long a master waits for another command, where the next one usually comes after `pause`: it must not end between two
/// questions to Slurm, since a new one may ask for a passphrase or a code.
fn persist(pause: Duration) -> Duration {
    PERSIST.max(pause * 3)
}

/// The trouble behind the last words of the program.
fn lost(said: &str) -> Trouble {
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the connection was closed");
    match hopeless(said) {
        Some(cure) => Trouble::hopeless(last, cure),
        None => Trouble::Lost(last.to_owned()),
    }
}

/// What to do about a failure that no patience mends; `None` where trying again may help.
fn hopeless(said: &str) -> Option<&'static str> {
    // The name may be right all the same.
    if said.contains("Temporary failure in name resolution") {
        return None;
    }
    [
        ("HOST IDENTIFICATION HAS CHANGED", super::CHANGED_KEY),
        ("Host key verification failed", super::UNKNOWN_KEY),
        ("host key is known for", super::UNKNOWN_KEY),
        ("Permission denied", super::NO_KEY_TAKEN),
        ("Too many authentication failures", super::TOO_MANY_KEYS),
        ("Could not resolve hostname", super::UNRESOLVED),
        ("Bad configuration option", "mend your SSH configuration"),
        ("Can't open user config file", "mend the target's `ssh_config`"),
    ]
    .into_iter()
    .find_map(|(text, cure)| said.contains(text).then_some(cure))
}

/// A file without a name that holds `bytes`, to be read from its beginning.
fn nameless(folder: &Path, bytes: &[u8]) -> io::Result<File> {
    let path = folder.join(format!("{}-{:?}", std::process::id(), thread::current().id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_can_mend_is_tried_again() {
        for said in [
            "ssh: connect to host a port 22: Connection refused",
            "kex_exchange_identification: read: reset",
            "",
            "Connection timed out",
            "ssh: Could not resolve hostname login.example: Temporary failure in name resolution",
        ] {
            assert_eq!(hopeless(said), None, "{said}");
        }
        for said in [
            "Host key verification failed.",
            "No ED25519 host key is known for h and you have requested strict checking.",
            "u@h: Permission denied (publickey).",
            "ssh: Could not resolve hostname x: Name",
        ] {
            assert!(hopeless(said).is_some(), "{said}");
        }
    }

    #[test]
    fn a_master_outlives_the_pause_between_commands() {
        for pause in [1, 60, 600, 3600].map(Duration::from_secs) {
            assert!(persist(pause) > pause * 2, "{pause:?}");
        }
    }

    #[test]
    fn a_changed_key_is_not_taken_for_an_unknown_one() {
        let said = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.";
        assert_eq!(hopeless(said), Some(super::super::CHANGED_KEY));
    }
}
