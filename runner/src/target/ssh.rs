//! Commands on the cluster's login node, through the SSH program of this machine.
//!
//! One connection serves all commands: a master process keeps it, and ends a minute after its last use. The
//! user's whole configuration holds (jumps, certificates, agents); host keys are always checked. A command that a
//! lost connection cut off is repeated, so every command given here must be one that may be repeated.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Unreachable, slurm::script::quoted};

mod settings;

pub use settings::Settings;

/// How long a connection may take to come up: the greeting of a busy login node can take minutes.
const CONNECT_S: u32 = 150;
/// How long the master waits for another command.
const PERSIST_S: u32 = 60;
/// An SSH configuration of the user's for clusters alone; holds for the hosts that it names.
const OWN_CONFIG: &str = ".melussh";
/// Exit status of SSH itself: the connection, not the command, failed.
const LOST: i32 = 255;

/// A login node.
#[derive(Debug)]
pub struct Ssh {
    host: String,
    config: Option<PathBuf>,
    /// Folder of the master's socket.
    sockets: PathBuf,
    /// How long lost connections are tried again.
    patience: Duration,
    /// Between two signs of life.
    keepalive: Duration,
    /// Commands sent so far, repetitions too.
    pub commands: u64,
}

/// What a command came to.
#[derive(Debug)]
pub struct Answer {
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

impl Ssh {
    /// Nothing is connected yet.
    pub fn new(host: &str, config: Option<&str>, patience: Duration, keepalive: Duration) -> Result<Self> {
        let config = config.map(|path| match path.strip_prefix("~/").zip(std::env::var_os("HOME")) {
            Some((below, home)) => Path::new(&home).join(below),
            None => PathBuf::from(path),
        });
        let config = config.or_else(|| {
            let own = Path::new(&std::env::var_os("HOME")?).join(OWN_CONFIG);
            settings::describes(&fs::read_to_string(&own).ok()?, host).then_some(own)
        });
        if let Some(config) = config.as_ref().filter(|config| !config.exists()) {
            bail!("the target's `ssh_config` is not there: {}", config.display());
        }
        Ok(Self { host: host.to_owned(), config, sockets: sockets()?, patience, keepalive, commands: 0 })
    }

    /// How long lost connections are tried again.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The connection as SSH understands the configuration; asks nobody.
    pub fn settings(&self) -> Result<Settings> {
        let output = self.program().arg("-G").args(["--", &self.host]).output().context(MISSING)?;
        settings::parse(&String::from_utf8_lossy(&output.stdout)).with_context(|| {
            format!("ssh cannot make sense of its configuration: {}", String::from_utf8_lossy(&output.stderr).trim())
        })
    }

    /// Runs a POSIX shell script on the login node with `input` as its standard input.
    pub fn run(&mut self, script: &str, input: &[u8]) -> Result<Answer> {
        let stdin = || {
            let mut file = tempfile_of(&self.sockets, input)?;
            std::io::Seek::rewind(&mut file)?;
            Ok(Stdio::from(file))
        };
        // A file, not a pipe: nothing waits for a reader that is gone.
        let input: Box<dyn Fn() -> Result<Stdio>> =
            if input.is_empty() { Box::new(|| Ok(Stdio::null())) } else { Box::new(stdin) };
        let begun = Instant::now();
        let mut pause = Duration::from_secs(1);
        loop {
            self.connect(begun)?;
            self.commands += 1;
            let child = self.command(script)?.stdin(input()?).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let output = child.context(MISSING)?.wait_with_output()?;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(code) if code != LOST => return Ok(Answer { code, stdout: output.stdout, stderr }),
                _ => self.wait_again(begun, &mut pause, &stderr)?,
            }
        }
    }

    /// Starts a script whose input, output or both are streams. Its status [`LOST`] means a lost connection.
    pub fn stream(&mut self, script: &str, stdin: Stdio, stdout: Stdio) -> Result<Child> {
        self.connect(Instant::now())?;
        self.commands += 1;
        self.command(script)?.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().context(MISSING)
    }

    /// Sees to it that there is a master; tries again until patience ends, except where trying cannot help.
    fn connect(&self, begun: Instant) -> Result<()> {
        let mut pause = Duration::from_secs(1);
        loop {
            let check = self.program().args(["-O", "check", "--", &self.host]).stdin(Stdio::null()).output();
            if check.context(MISSING)?.status.success() {
                return Ok(());
            }
            // The master lives on in the background: a pipe of ours would stay open as long.
            let said = tempfile_of(&self.sockets, b"")?;
            let mut command = self.program();
            command.args(["-M", "-N", "-f", "-o", &format!("ControlPersist={PERSIST_S}"), "--", &self.host]);
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?).status();
            if status.context(MISSING)?.success() {
                return Ok(());
            }
            let mut said = said;
            let mut text = String::new();
            std::io::Seek::rewind(&mut said)?;
            said.read_to_string(&mut text).ok();
            // Another command may have been quicker.
            if text.contains("ControlSocket") && text.contains("already exists") {
                return Ok(());
            }
            self.wait_again(begun, &mut pause, &text)?;
        }
    }

    fn wait_again(&self, begun: Instant, pause: &mut Duration, said: &str) -> Result<()> {
        if let Some(cure) = hopeless(said) {
            let text = format!("cannot connect to {}: {}: {cure}", self.host, last_line(said));
            return Err(Unreachable(text).into());
        }
        if begun.elapsed() + *pause > self.patience {
            let text = format!(
                "cannot reach {} since {} s: {}; nothing is lost: `runner resume` goes on",
                self.host,
                begun.elapsed().as_secs(),
                last_line(said)
            );
            return Err(Unreachable(text).into());
        }
        tracing::info!("the connection to {} is gone ({}): again in {} s", self.host, last_line(said), pause.as_secs());
        thread::sleep(*pause);
        *pause = (*pause * 2).min(Duration::from_secs(30));
        Ok(())
    }

    fn program(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        command.arg("-o").arg(format!("ControlPath={}/%C", self.sockets.display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"]);
        command.arg("-o").arg(format!("ServerAliveInterval={}", self.keepalive.as_secs().max(1)));
        command.args(["-o", "ServerAliveCountMax=3", "-o", "TCPKeepAlive=yes"]);
        command.args(["-o", &format!("ConnectTimeout={CONNECT_S}"), "-o", "ClearAllForwardings=yes"]);
        command.args(["-o", "RemoteCommand=none", "-o", "RequestTTY=no", "-o", "LogLevel=ERROR"]);
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            // Nobody could answer.
            command.args(["-o", "BatchMode=yes"]);
        }
        command
    }

    fn command(&self, script: &str) -> Result<Command> {
        // One line for whatever login shell there is; the status of SSH itself stays free.
        let script = format!("( {script}\n); status=$?; [ $status -ne {LOST} ] || status=254; exit $status");
        let mut command = self.program();
        command.args(["-o", "ControlMaster=no", "--", &self.host, &format!("exec /bin/sh -c {}", quoted(&script)?)]);
        Ok(command)
    }
}

const MISSING: &str = "cannot start `ssh`: install OpenSSH's client";

/// What to do about a failure that no patience mends; `None` where trying again may help.
fn hopeless(said: &str) -> Option<&'static str> {
    // The name may be right all the same.
    if said.contains("Temporary failure in name resolution") {
        return None;
    }
    [
        ("Host key verification failed", "connect once by hand with `ssh`, compare the key's fingerprint with the one the site publishes, and accept it"),
        ("HOST IDENTIFICATION HAS CHANGED", "the host shows another key than before: ask the site, then remove the old key with `ssh-keygen -R`"),
        ("No ED25519 host key is known", "connect once by hand with `ssh`, compare the key's fingerprint with the one the site publishes, and accept it"),
        ("Permission denied", "the host takes none of your keys: check `User` and `IdentityFile` of the host, or add the key to your agent"),
        ("Too many authentication failures", "your agent offers too many keys: set `IdentitiesOnly yes` and `IdentityFile` for the host"),
        ("Could not resolve hostname", "give the host a `HostName` in your SSH configuration"),
        ("Bad configuration option", "mend your SSH configuration"),
        ("Can't open user config file", "mend the target's `ssh_config`"),
    ]
    .into_iter()
    .find_map(|(text, cure)| said.contains(text).then_some(cure))
}

fn last_line(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the connection was closed")
}

/// A folder for sockets that only this user can enter. Short: a socket's path has at most 107 bytes.
fn sockets() -> Result<PathBuf> {
    let user = nix::unistd::geteuid();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir()) {
        Some(runtime) => runtime.join("runner-ssh"),
        None => PathBuf::from(format!("/tmp/runner-ssh-{user}")),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let facts = fs::symlink_metadata(&folder)?;
    if !facts.is_dir() || facts.uid() != user.as_raw() || facts.mode() & 0o077 != 0 {
        bail!("{} belongs to somebody else, or others can enter it: remove it", folder.display());
    }
    Ok(folder)
}

/// A file without a name that holds `bytes`.
fn tempfile_of(folder: &Path, bytes: &[u8]) -> Result<File> {
    let path = folder.join(format!("{}-{:?}", std::process::id(), thread::current().id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    file.write_all(bytes)?;
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
            "u@h: Permission denied (publickey).",
            "ssh: Could not resolve hostname x: Name",
        ] {
            assert!(hopeless(said).is_some(), "{said}");
        }
    }
}
