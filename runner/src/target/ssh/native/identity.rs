//! The user's keys, in the order in which SSH tries them: those of the configuration that the agent holds, others of the
//! agent, files without a lock, files with one. A passphrase is asked for once; the unlocked key stays in this process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use async_ssh2_tokio::client::AuthMethod;
use russh::keys::{
    PrivateKey, PublicKey, agent::client::AgentClient, decode_secret_key, load_public_key, parse_public_key_base64,
    ssh_key::LineEnding,
};

use crate::target::ssh::{ask, private_folder, settings::Settings, transport::Trouble};

/// How often a wrong passphrase may be typed.
const ATTEMPTS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A key of the agent's; holds a file with its public half.
    Held(PathBuf),
    /// Whatever else the agent has.
    Agent,
    /// A file with a private key, as it is.
    Open(PathBuf),
    /// A file with a private key that a passphrase locks.
    Locked(PathBuf),
}

#[derive(Default)]
pub struct Identities {
    unlocked: BTreeMap<PathBuf, String>,
    /// Those that nobody could unlock.
    given_up: BTreeSet<PathBuf>,
    /// What each host took last, by user and host.
    taken: BTreeMap<(String, String), Identity>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Identities {
    /// What to try, in this order.
    pub async fn ways(&self, host: &Settings) -> Result<Vec<Identity>, Trouble> {
        let held = agent(host).await?;
        let (mut of_agent, mut open, mut locked, mut matched) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for path in host.keys.iter().filter_map(|written| host.path(written)) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let beside = PathBuf::from(format!("{}.pub", path.display()));
            let public = load_public_key(&beside).ok().or_else(|| public_half(&text));
            if let Some(public) =
                public.as_ref().filter(|public| held.iter().any(|key| key.key_data() == public.key_data()))
            {
                matched += 1;
                of_agent.push(Identity::Held(public_file(public)?));
            } else if text.is_empty() || parse_text(&text).is_some() {
                // Not there, or the public half of a key that the agent does not hold.
            } else if decode_secret_key(&text, None).is_ok() {
                open.push(Identity::Open(path));
            } else {
                locked.push(Identity::Locked(path));
            }
        }
        if !host.only_these_keys && held.len() > matched {
            of_agent.push(Identity::Agent);
        }
        let mut ways = [of_agent, open, locked].concat();
        if let Some(taken) = self.taken.get(&(host.user.clone(), host.host.clone()))
            && let Some(at) = ways.iter().position(|way| way == taken)
        {
            ways[..=at].rotate_right(1);
        }
        Ok(ways)
    }

    /// How to log in with it; `None` when it stays locked. May ask for a passphrase.
    pub fn method(&mut self, identity: &Identity) -> Result<Option<AuthMethod>, Trouble> {
        Ok(match identity {
            Identity::Held(public) => Some(AuthMethod::with_public_key_file(public)),
            Identity::Agent => Some(AuthMethod::with_agent()),
            Identity::Open(path) => Some(AuthMethod::with_key_file(path, None)),
            Identity::Locked(path) => self.unlock(path)?.map(|key| AuthMethod::with_key(key, None)),
        })
    }

    fn unlock(&mut self, path: &Path) -> Result<Option<&str>, Trouble> {
        if !self.unlocked.contains_key(path) && !self.given_up.contains(path) {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            match unlocked(&text, path) {
                Some(key) => drop(self.unlocked.insert(path.to_owned(), key)),
                None => drop(self.given_up.insert(path.to_owned())),
            }
        }
        Ok(self.unlocked.get(path).map(String::as_str))
    }

    /// Whether a key could not be tried because nobody unlocked it.
    pub fn are_locked(&self) -> bool {
        !self.given_up.is_empty()
    }

    pub fn took(&mut self, host: &Settings, identity: &Identity) {
        self.taken.insert((host.user.clone(), host.host.clone()), identity.clone());
    }
}

/// The public keys that the agent holds; none where there is no agent.
async fn agent(host: &Settings) -> Result<Vec<PublicKey>, Trouble> {
    let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
    let other = match host.agent.as_deref() {
        Some("none") => return Ok(Vec::new()),
        None | Some("SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK") => None,
        Some(path) => host.path(path).filter(|path| Some(path.as_os_str()) != socket.as_deref()),
    };
    if let Some(path) = other {
        let said = format!("the agent of {} is not the one of SSH_AUTH_SOCK", host.host);
        let cure = format!("set SSH_AUTH_SOCK to {}, or `transport: system` in the target", path.display());
        return Err(Trouble::hopeless(said, cure));
    }
    if socket.is_none() {
        return Ok(Vec::new());
    }
    let Ok(mut agent) = AgentClient::connect_env().await else { return Ok(Vec::new()) };
    let held = agent.request_identities().await.unwrap_or_default();
    Ok(held.iter().map(|identity| identity.public_key().into_owned()).collect())
}

/// The public half of a file's key. It is not locked in OpenSSH's own format; other locked formats have none to be read.
fn public_half(text: &str) -> Option<PublicKey> {
    let private = || PrivateKey::from_openssh(text).ok().map(|key| key.public_key().clone());
    parse_text(text).or_else(private).or_else(|| decode_secret_key(text, None).ok().map(|key| key.public_key().clone()))
}

/// A public key as it stands in a file, `ssh-ed25519 AAAA… comment`.
fn parse_text(text: &str) -> Option<PublicKey> {
    let mut words = text.split_whitespace();
    let kind = words.next()?;
    if !kind.starts_with("ssh-") && !kind.starts_with("ecdsa-") {
        return None;
    }
    parse_public_key_base64(words.next()?).ok()
}

/// A file with the public key, for what reads it from one.
fn public_file(key: &PublicKey) -> Result<PathBuf, Trouble> {
    let line = key.to_openssh().context("a public key cannot be written")?;
    let path = private_folder()?.join(format!("{}.pub", &archive::sha256_hex(line.as_bytes())[..16]));
    // Others may be reading it.
    let own = path.with_extension(std::process::id().to_string());
    fs::write(&own, line).and_then(|()| fs::rename(&own, &path)).context("cannot write a public key")?;
    Ok(path)
}

/// The key without its lock, as text.
fn unlocked(text: &str, path: &Path) -> Option<String> {
    for _ in 0..ATTEMPTS {
        let passphrase = ask::passphrase(&format!("Enter passphrase for key '{}': ", path.display()))?;
        match decode_secret_key(text, Some(&passphrase)) {
            Ok(key) => return key.to_openssh(LineEnding::LF).ok().map(|text| text.to_string()),
            Err(err) => tracing::warn!("{} stays locked: {err}", path.display()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_took_is_tried_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let mut paths = Vec::new();
        for (name, passphrase) in [("locked", "a secret"), ("first", ""), ("second", "")] {
            let path = folder.path().join(name);
            let mut keygen = std::process::Command::new("ssh-keygen");
            let made = keygen.args(["-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-f"]).arg(&path).status();
            assert!(made.expect("ssh-keygen runs").success());
            paths.push(path);
        }
        let [locked, first, second] = paths.clone().try_into().expect("three");
        let host = Settings {
            host: "h".into(),
            user: "u".into(),
            agent: Some("none".into()),
            keys: paths.iter().map(|path| path.display().to_string()).chain(["/no/such/key".into()]).collect(),
            ..Settings::default()
        };
        let mut identities = Identities::default();
        let usual = [Identity::Open(first), Identity::Open(second.clone()), Identity::Locked(locked)];
        assert_eq!(runtime.block_on(identities.ways(&host)).expect("ways"), usual);
        identities.took(&host, &Identity::Open(second));
        let [first, second, locked] = usual;
        assert_eq!(runtime.block_on(identities.ways(&host)).expect("ways"), [second, first, locked]);
    }
}
