//! Commands on the cluster's login node, and files to and from it.
//!
//! Two transports do the same: [`native`], a client within this program, and [`system`], the SSH program of this machine. Host
//! keys are always checked. What a lost connection cut off is done again, so every command given here must be one that
//! may be repeated; files go on where they stopped.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{runtime, sync::oneshot};

use super::Unreachable;
use crate::recipe::target_file::{SlurmTarget, Transport as Kind};

mod ask;
pub mod files;
mod native;
mod settings;
mod system;
mod transport;

pub use files::{Coming, Going};
pub use settings::Settings;
pub use transport::Answer;
use transport::{Transport, Trouble};

/// How long a connection may take to come up: the greeting of a busy login node can take minutes.
const CONNECT: Duration = Duration::from_secs(150);
/// How long a command may say nothing before its connection counts as lost.
const SILENCE: Duration = Duration::from_secs(1800);
/// So many times in a row a connection may carry no SFTP before the host counts as one without it.
const SFTP_ATTEMPTS: u32 = 3;
/// An SSH configuration of the user's for clusters alone; holds for the hosts that it names.
const OWN_CONFIG: &str = ".melussh";

const UNKNOWN_KEY: &str =
    "connect once by hand with `ssh`, compare the key's fingerprint with the one the site publishes, and accept it";
const CHANGED_KEY: &str =
    "the host shows another key than before: ask the site, then remove the old key with `ssh-keygen -R`";
const NO_KEY_TAKEN: &str =
    "the host takes none of your keys: check `User` and `IdentityFile` of the host, or add the key to your agent";
const TOO_MANY_KEYS: &str = "your agent offers too many keys: set `IdentitiesOnly yes` and `IdentityFile` for the host";
const NO_SFTP: &str = "files go by SFTP: ask the site for it";
const UNRESOLVED: &str = "give the host a `HostName` in your SSH configuration";

/// A login node, and how to speak to it.
#[derive(Clone, Debug)]
struct Host {
    /// As the SSH configuration knows it.
    name: String,
    config: Option<PathBuf>,
    /// Between two signs of life.
    keepalive: Duration,
    /// The usual time from one command to the next.
    pause: Duration,
}

/// A login node.
pub struct Ssh {
    host: Host,
    transport: Box<dyn Transport>,
    background: Background,
    /// How long lost connections are tried again.
    patience: Duration,
    /// Commands sent so far, repetitions and transfers of files too.
    pub commands: u64,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssh").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Ssh {
    /// Nothing is connected yet.
    pub fn new(site: &SlurmTarget, patience: Duration) -> Result<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let given = site.ssh_config.as_ref().map(|path| match (path.strip_prefix("~/"), &home) {
            (Some(below), Some(home)) => home.join(below),
            _ => PathBuf::from(path),
        });
        let config = given.or_else(|| {
            let own = home?.join(OWN_CONFIG);
            settings::describes(&fs::read_to_string(&own).ok()?, &site.host).then_some(own)
        });
        if let Some(config) = config.as_ref().filter(|config| !config.exists()) {
            bail!("the target's `ssh_config` is not there: {}", config.display());
        }
        let host = Host {
            name: site.host.clone(),
            config,
            keepalive: Duration::from_secs_f64(site.keepalive),
            pause: Duration::from_secs_f64(site.poll),
        };
        let transport: Box<dyn Transport> = match site.transport {
            Kind::Native => Box::new(native::Native::new(host.clone())),
            Kind::System => Box::new(system::System::new(host.clone())?),
        };
        Ok(Self { host, transport, background: Background::start()?, patience, commands: 0 })
    }

    /// How long lost connections are tried again.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The connection as SSH understands the configuration; asks nobody.
    pub fn settings(&self) -> Result<Settings> {
        settings::ask(&self.host.name, self.host.config.as_deref(), &[])
    }

    /// Runs a POSIX shell script on the login node with `input` as its standard input.
    pub fn run(&mut self, script: &str, input: &[u8]) -> Result<Answer> {
        self.persist(&Cell::new(0), async |transport| transport.run(script, input).await)
    }

    /// Brings files below the folder `there` into `folder` while `script` runs there. Returns the script's answer, and the
    /// sha256 of each file as it is here then; a file that could not be read there has none.
    pub fn fetch(
        &mut self,
        script: &str,
        there: &str,
        coming: &[Coming],
        folder: &Path,
    ) -> Result<(Answer, BTreeMap<String, String>)> {
        let moved = Cell::new(0);
        let mut answer = None;
        let mut came = BTreeMap::new();
        self.persist(&moved, async |transport| {
            let command = async {
                if answer.is_none() {
                    answer = Some(transport.run(script, b"").await?);
                }
                Ok(())
            };
            let transfer = async {
                if came.len() < coming.len() {
                    files::download(transport.sftp().await?, there, coming, folder, &mut came, &moved).await?;
                }
                Ok(())
            };
            tokio::try_join!(command, transfer).map(drop)
        })?;
        Ok((
            answer.context("the command has ended")?,
            came.into_iter().filter_map(|(path, digest)| Some((path, digest?))).collect(),
        ))
    }

    /// Copies files there, into folders that exist. What is there already of a file is taken for its beginning.
    pub fn put(&mut self, going: &[Going]) -> Result<()> {
        let moved = Cell::new(0);
        let mut gone = 0;
        self.persist(&moved, async |transport| files::upload(transport.sftp().await?, going, &mut gone, &moved).await)
    }

    /// Does it until it is done, patience ends, or trying again cannot help. Patience begins anew whenever bytes have `moved`.
    fn persist<T>(
        &mut self,
        moved: &Cell<u64>,
        mut work: impl AsyncFnMut(&dyn Transport) -> Result<T, Trouble>,
    ) -> Result<T> {
        let Self { host, transport, background, patience, commands } = self;
        let (mut begun, mut pause, mut before, mut without) = (Instant::now(), Duration::from_secs(1), 0, 0);
        loop {
            let attempt = async {
                transport.connect().await?;
                *commands += 1;
                match work(&**transport).await {
                    // Without SFTP is a host only whose connection carries something else.
                    Err(Trouble::NoFiles(said)) if transport.run("true", b"").await.is_err() => {
                        Err(Trouble::Lost(said))
                    }
                    done => done,
                }
            };
            let said = match background.handle.block_on(attempt) {
                Ok(done) => return Ok(done),
                Err(Trouble::Here(err)) => return Err(err),
                Err(Trouble::Hopeless { said, cure }) => {
                    return Err(Unreachable(format!("cannot connect to {}: {said}: {cure}", host.name)).into());
                }
                Err(Trouble::NoFiles(said)) => {
                    without += 1;
                    if without == SFTP_ATTEMPTS {
                        return Err(
                            Unreachable(format!("cannot copy files of {}: {said}: {NO_SFTP}", host.name)).into()
                        );
                    }
                    said
                }
                Err(Trouble::Lost(said)) => said,
            };
            if moved.get() > before {
                before = moved.get();
                (begun, pause, without) = (Instant::now(), Duration::from_secs(1), 0);
            }
            let since = begun.elapsed();
            if since + pause > *patience {
                let text = format!(
                    "cannot reach {} since {} s: {said}; nothing is lost: `runner resume` goes on",
                    host.name,
                    since.as_secs()
                );
                return Err(Unreachable(text).into());
            }
            tracing::info!("the connection to {} is gone ({said}): again in {} s", host.name, pause.as_secs());
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }
}

fn silent() -> Trouble {
    Trouble::Lost(format!("the command said nothing for {} min", SILENCE.as_secs() / 60))
}

/// A thread that drives connections, so that they answer signs of life while nobody here waits for them.
struct Background {
    handle: runtime::Handle,
    _end: oneshot::Sender<()>,
}

impl Background {
    fn start() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let drive = move || {
            runtime.block_on(async { ended.await.ok() });
        };
        thread::Builder::new().name("ssh".into()).spawn(drive).context("cannot start a thread")?;
        Ok(Self { handle, _end: end })
    }
}

/// A folder that only this user can enter. Short: a socket's path has at most 107 bytes.
fn private_folder() -> Result<PathBuf> {
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
