//! An SSH client within this program: it needs nothing of this machine but `ssh -G`, which says what the user's configuration
//! means.
//!
//! It knows keys, locked or not, agents, `ProxyJump` and known hosts. It does not know one-time codes, passwords,
//! certificates and `ProxyCommand`: [`super::system`] does.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use async_ssh2_tokio::{
    Error,
    client::{AuthMethod, Client, ServerCheckMethod},
};
use futures_util::future::LocalBoxFuture;
use russh::{AlgorithmKind, ChannelMsg, Preferred, Sig, cipher, client::Config};
use tokio::time::timeout;

use self::{identity::Identities, known::KnownKey};
use super::{
    CONNECT, Host, SILENCE,
    settings::{self, Settings},
    transport::{Answer, Stream, Transport, Trouble},
};
use crate::target::slurm::script::quoted;

mod identity;
mod known;

/// How long the host may take to open a channel, and to begin what is asked for on it.
const OPEN: Duration = Duration::from_secs(60);
/// Bytes that the host may send ahead on one channel.
const WINDOW_BYTES: u32 = 8 << 20;
/// In the order in which they are wished for: processors encrypt AES themselves.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
const OTHER_TRANSPORT: &str = "set `transport: system` in the target";

#[derive(Debug)]
pub struct Native {
    host: Host,
    /// The hosts on the way, the login node last.
    route: Vec<Settings>,
    identities: Identities,
    /// A connection to each of the route, each through the one before it.
    clients: Vec<Client>,
}

impl Native {
    pub fn new(host: Host) -> Self {
        Self { host, route: Vec::new(), identities: Identities::default(), clients: Vec::new() }
    }

    async fn reach(&mut self) -> Result<(), Trouble> {
        if self.clients.len() == self.route.len() && self.clients.last().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        self.clients.clear();
        if self.route.is_empty() {
            self.route = self.find_route()?;
        }
        for hop in &self.route {
            let client = enter(&self.host, hop, self.clients.last(), &mut self.identities).await?;
            self.clients.push(client);
        }
        tracing::info!("connected to {}", self.host.name);
        Ok(())
    }

    fn find_route(&self) -> Result<Vec<Settings>, Trouble> {
        let config = self.host.config.as_deref();
        let last = settings::ask(&self.host.name, config, &[])?;
        let mut route = Vec::new();
        for written in last.proxy_jump.iter().flat_map(|jumps| jumps.split(',')) {
            let (host, with) = settings::jump(written);
            let hop = settings::ask(&host, config, &with)?;
            if hop.proxy_jump.is_some() && !route.is_empty() {
                let said =
                    format!("the way to {} goes through {host}, which has a `ProxyJump` of its own", self.host.name);
                return Err(Trouble::hopeless(said, OTHER_TRANSPORT));
            }
            if let Some(before) = &hop.proxy_jump {
                // A first host that is itself behind others.
                for written in before.split(',') {
                    let (host, with) = settings::jump(written);
                    route.push(settings::ask(&host, config, &with)?);
                }
            }
            route.push(hop);
        }
        route.push(last);
        if let Some(hop) = route.iter().find(|hop| hop.proxy_command.is_some()) {
            let said = format!("{} is reached by a `ProxyCommand`, which the native transport does not know", hop.host);
            return Err(Trouble::hopeless(said, OTHER_TRANSPORT));
        }
        Ok(route)
    }

    fn client(&self) -> Result<&Client, Trouble> {
        self.clients.last().ok_or_else(|| Trouble::Lost("there is no connection".to_owned()))
    }

    async fn answer(&self, script: &str, input: &[u8]) -> Result<Answer, Trouble> {
        // Whatever login shell there is.
        let command = format!("exec /bin/sh -c {}", quoted(script)?);
        execute(self.client()?, &command, input).await
    }

    async fn subsystem(&self) -> Result<Box<dyn Stream>, Trouble> {
        let mut channel = in_time(self.client()?.get_channel()).await?;
        in_time(channel.request_subsystem(true, "sftp")).await?;
        loop {
            match timeout(OPEN, channel.wait()).await {
                Ok(Some(ChannelMsg::Success)) => return Ok(Box::new(channel.into_stream())),
                Ok(Some(ChannelMsg::Failure)) => {
                    return Err(Trouble::hopeless("the host has no SFTP server", super::NO_SFTP));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(Trouble::Lost("the connection was closed".to_owned())),
                Err(_) => return Err(slow()),
            }
        }
    }
}

impl Transport for Native {
    fn connect(&mut self) -> LocalBoxFuture<'_, Result<(), Trouble>> {
        Box::pin(self.reach())
    }

    fn run<'a>(&'a self, script: &'a str, input: &'a [u8]) -> LocalBoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(self.answer(script, input))
    }

    fn sftp(&self) -> LocalBoxFuture<'_, Result<Box<dyn Stream>, Trouble>> {
        Box::pin(self.subsystem())
    }
}

/// Why an attempt to log in failed.
enum Refusal {
    /// The host showed another key than the one that was expected, or has none of its kind.
    HostKey,
    /// The host did not take the user's key.
    Key,
    Other(Trouble),
}

/// Connects to a host and logs in: with the host's keys that are known, and the user's keys in the order in which SSH tries them.
async fn enter(
    host: &Host,
    hop: &Settings,
    via: Option<&Client>,
    identities: &mut Identities,
) -> Result<Client, Trouble> {
    let mut known = known::keys(hop)?.into_iter();
    let unknown = || Trouble::hopeless(format!("no key of {} is known", hop.host), super::UNKNOWN_KEY);
    let mut expected = known.next().ok_or_else(unknown)?;
    let addresses = addresses(hop, via).await?;
    let mut ways = identities.ways(hop).await?.into_iter();
    let mut way = ways.next();
    while let Some(identity) = &way {
        let Some(method) = identities.method(identity)? else {
            way = ways.next();
            continue;
        };
        match timeout(CONNECT, attempt(host, hop, via, &addresses, method, &expected)).await {
            Ok(Ok(client)) => {
                identities.took(hop, identity);
                return Ok(client);
            }
            Ok(Err(Refusal::Key)) => way = ways.next(),
            Ok(Err(Refusal::HostKey)) => {
                let changed = || {
                    Trouble::hopeless(format!("{} shows a key that is not the known one", hop.host), super::CHANGED_KEY)
                };
                expected = known.next().ok_or_else(changed)?;
            }
            Ok(Err(Refusal::Other(trouble))) => return Err(trouble),
            Err(_) => return Err(Trouble::Lost(format!("no connection within {} s", CONNECT.as_secs()))),
        }
    }
    let said = match identities.are_locked() {
        true => "a key is locked, and nobody can be asked for its passphrase: add it to your agent with `ssh-add`",
        false => "no key was taken",
    };
    Err(Trouble::hopeless(format!("{}@{}: {said}", hop.user, hop.host), super::NO_KEY_TAKEN))
}

async fn attempt(
    host: &Host,
    hop: &Settings,
    via: Option<&Client>,
    addresses: &[SocketAddr],
    method: AuthMethod,
    expected: &KnownKey,
) -> Result<Client, Refusal> {
    let config = Config {
        window_size: WINDOW_BYTES,
        keepalive_interval: Some(host.keepalive.max(Duration::from_secs(1))),
        keepalive_max: 3,
        nodelay: true,
        preferred: Preferred {
            cipher: Cow::Borrowed(&CIPHERS),
            key: Cow::Owned(expected.algorithms.clone()),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    };
    let check = ServerCheckMethod::PublicKey(expected.base64.clone());
    let client = match via {
        Some(via) => Client::connect_via_with_config(via, addresses, &hop.user, method, check, config).await,
        None => Client::connect_with_config(addresses, &hop.user, method, check, config).await,
    };
    client.map_err(refusal)
}

fn refusal(err: Error) -> Refusal {
    match err {
        Error::ServerCheckFailed | Error::SshError(russh::Error::UnknownKey) => Refusal::HostKey,
        Error::SshError(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. }) => Refusal::HostKey,
        Error::SshError(err @ (russh::Error::NoCommonAlgo { .. } | russh::Error::Version)) => {
            Refusal::Other(Trouble::hopeless(err.to_string(), OTHER_TRANSPORT))
        }
        Error::KeyAuthFailed
        | Error::KeyInvalid(_)
        | Error::AgentAuthError(_)
        | Error::AgentConnectionFailed
        | Error::AgentRequestIdentitiesFailed
        | Error::AgentNoIdentities
        | Error::AgentAuthenticationFailed => Refusal::Key,
        // Its own words hide the reason.
        Error::IoError(err) => Refusal::Other(Trouble::Lost(err.to_string())),
        Error::SshError(err) => Refusal::Other(Trouble::Lost(err.to_string())),
        err => Refusal::Other(Trouble::Lost(err.to_string())),
    }
}

/// The host's addresses; behind another host, as that one knows them.
async fn addresses(hop: &Settings, via: Option<&Client>) -> Result<Vec<SocketAddr>, Trouble> {
    if let Ok(address) = hop.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, hop.port)]);
    }
    if let Some(via) = via {
        let answer = execute(via, &format!("getent ahosts {}", quoted(&hop.host)?), b"").await?;
        let text = answer.text();
        let mut found: Vec<IpAddr> =
            text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        found.dedup();
        if found.is_empty() {
            let said = format!("the host on the way does not know {}", hop.host);
            return Err(Trouble::hopeless(said, OTHER_TRANSPORT));
        }
        return Ok(found.into_iter().map(|address| SocketAddr::new(address, hop.port)).collect());
    }
    match tokio::net::lookup_host((hop.host.as_str(), hop.port)).await {
        Ok(found) => Ok(found.collect()),
        // The name may be right all the same.
        Err(err) if err.to_string().contains("Temporary failure") => Err(Trouble::Lost(err.to_string())),
        Err(err) => Err(Trouble::hopeless(format!("{}: {err}", hop.host), super::UNRESOLVED)),
    }
}

/// Runs a command. Tells an exit status, a signal and a lost connection apart.
async fn execute(client: &Client, command: &str, input: &[u8]) -> Result<Answer, Trouble> {
    let channel = in_time(client.get_channel()).await?;
    let (mut heard, said) = channel.split();
    in_time(said.exec(true, command)).await?;
    let feed = async {
        // A command need not read all of it.
        if !input.is_empty() && said.data(input).await.is_err() {
            return;
        }
        said.eof().await.ok();
    };
    let listen = async {
        let mut answer = Answer { code: 0, stdout: Vec::new(), stderr: String::new() };
        let (mut ended, mut errors) = (false, Vec::new());
        loop {
            match timeout(SILENCE, heard.wait()).await.map_err(|_| super::silent())? {
                Some(ChannelMsg::Data { data }) => answer.stdout.extend_from_slice(&data),
                Some(ChannelMsg::ExtendedData { data, .. }) => errors.extend_from_slice(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    (ended, answer.code) = (true, exit_status.try_into().unwrap_or(254));
                }
                Some(ChannelMsg::ExitSignal { signal_name, error_message, .. }) => {
                    (ended, answer.code) = (true, 128 + number(&signal_name));
                    errors
                        .extend_from_slice(format!("\nended by the signal {signal_name:?} {error_message}").as_bytes());
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Trouble::hopeless(
                        "the host runs no commands for you",
                        "ask the site for a login that may",
                    ));
                }
                Some(ChannelMsg::Close) | None if ended => break,
                Some(ChannelMsg::Close) | None => {
                    return Err(Trouble::Lost("the connection was closed before the command ended".to_owned()));
                }
                Some(_) => {}
            }
        }
        answer.stderr = String::from_utf8_lossy(&errors).into_owned();
        Ok(answer)
    };
    tokio::pin!(feed, listen);
    tokio::select! {
        biased;
        answer = &mut listen => answer,
        () = &mut feed => listen.await,
    }
}

fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 0,
    }
}

async fn in_time<T, E: std::fmt::Display>(work: impl Future<Output = Result<T, E>>) -> Result<T, Trouble> {
    match timeout(OPEN, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(err)) => Err(Trouble::Lost(err.to_string())),
        Err(_) => Err(slow()),
    }
}

fn slow() -> Trouble {
    Trouble::Lost(format!("no answer within {} s", OPEN.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        let io = |text: &str| Error::SshError(russh::Error::IO(std::io::Error::other(text.to_owned())));
        assert!(matches!(refusal(io("connection refused")), Refusal::Other(Trouble::Lost(_))));
        assert!(matches!(refusal(Error::SshError(russh::Error::UnknownKey)), Refusal::HostKey));
        assert!(matches!(refusal(Error::KeyAuthFailed), Refusal::Key));
        let algorithm = |kind| Error::SshError(russh::Error::NoCommonAlgo { kind, ours: vec![], theirs: vec![] });
        assert!(matches!(refusal(algorithm(AlgorithmKind::Key)), Refusal::HostKey));
        assert!(matches!(refusal(algorithm(AlgorithmKind::Cipher)), Refusal::Other(Trouble::Hopeless { .. })));
    }
}
