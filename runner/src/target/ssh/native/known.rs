//! The keys by which a host is known. `ssh-keygen -F` finds them, since names can be hashed or patterns there.

use std::process::{Command, Stdio};

use anyhow::Context;
use russh::keys::{Algorithm, HashAlg, parse_public_key_base64};

use crate::target::ssh::{settings::Settings, transport::Trouble};

/// A key of a host, and the signatures that it can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    pub algorithms: Vec<Algorithm>,
    pub base64: String,
}

/// What is known of the host, the kind of key that hosts prefer first.
pub fn keys(host: &Settings) -> Result<Vec<KnownKey>, Trouble> {
    let names = match (&host.key_alias, host.port) {
        (Some(alias), _) => vec![alias.clone()],
        (None, 22) => vec![host.host.clone()],
        // As SSH does: a host that is known without its port is known.
        (None, port) => vec![format!("[{}]:{port}", host.host), host.host.clone()],
    };
    for name in names {
        let mut text = String::new();
        for file in host.known_hosts.iter().filter_map(|file| host.path(file)).filter(|file| file.exists()) {
            let mut program = Command::new("ssh-keygen");
            let output = program.arg("-F").arg(&name).arg("-f").arg(&file).stdin(Stdio::null()).output();
            let output = output.context("cannot start `ssh-keygen`: install OpenSSH's client")?;
            text.push_str(&String::from_utf8_lossy(&output.stdout));
            text.push('\n');
        }
        let found = parse(&text);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Reads lines of known hosts. Keys that sign other keys are left out, and so is what was revoked.
fn parse(text: &str) -> Vec<KnownKey> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let lines: Vec<Vec<&str>> = lines.filter(|words| words.len() >= 3 && !words[0].starts_with('#')).collect();
    let revoked = |key: &str| lines.iter().any(|words| words[0] == "@revoked" && words.get(3) == Some(&key));
    let mut keys: Vec<KnownKey> = Vec::new();
    for words in lines.iter().filter(|words| !words[0].starts_with('@') && !revoked(words[2])) {
        let Ok(key) = parse_public_key_base64(words[2]) else { continue };
        let algorithms = match key.algorithm() {
            Algorithm::Rsa { .. } => {
                [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
            }
            other => vec![other],
        };
        let known = KnownKey { algorithms, base64: words[2].to_owned() };
        if !keys.contains(&known) {
            keys.push(known);
        }
    }
    keys.sort_by_key(|key| match key.algorithms.first() {
        Some(Algorithm::Ed25519) => 0,
        Some(Algorithm::Ecdsa { .. }) => 1,
        _ => 2,
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    #[test]
    fn only_keys_of_hosts_count() {
        let text = format!(
            "# Host h found: line 1\nh ssh-ed25519 {ED25519} somebody\n|1|x=|y= ssh-ed25519 {OTHER}\n\
             @cert-authority * ssh-ed25519 {OTHER}\nh ssh-ed25519 {ED25519}\nh ssh-ed25519 nonsense\nh\n"
        );
        let keys: Vec<String> = parse(&text).into_iter().map(|key| key.base64).collect();
        assert_eq!(keys, [ED25519, OTHER]);
        assert_eq!(parse(&format!("{text}@revoked h ssh-ed25519 {ED25519}\n")).len(), 1);
        assert_eq!(parse("\n"), []);
    }
}
