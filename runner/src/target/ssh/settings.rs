//! What `ssh -G HOST` says: the connection as SSH itself understands the user's configuration.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::system::MISSING;

/// The settings that people are told of, and that the native transport goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Hosts on the way, separated by commas.
    pub proxy_jump: Option<String>,
    pub proxy_command: Option<String>,
    /// In the order in which they are tried.
    pub keys: Vec<String>,
    /// No other keys than those, though the agent may hold more.
    pub only_these_keys: bool,
    /// `none`, `SSH_AUTH_SOCK`, or the path of a socket.
    pub agent: Option<String>,
    pub certificates: Vec<String>,
    /// Files of known hosts, the user's first.
    pub known_hosts: Vec<String>,
    /// The name under which the host's key is known.
    pub key_alias: Option<String>,
}

/// The SSH program with the configuration that holds.
pub fn program(config: Option<&Path>) -> Command {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    command
}

/// Asks the SSH program what it makes of a host; asks nobody else. `with` are options of the command line.
pub fn ask(host: &str, config: Option<&Path>, with: &[String]) -> Result<Settings> {
    let output = program(config).arg("-G").args(with).args(["--", host]).stdin(Stdio::null()).output();
    let output = output.context(MISSING)?;
    parse(&String::from_utf8_lossy(&output.stdout)).with_context(|| {
        format!("ssh cannot make sense of its configuration: {}", String::from_utf8_lossy(&output.stderr).trim())
    })
}

/// Reads the lines of `ssh -G`. `None` when there is no host among them.
pub fn parse(text: &str) -> Option<Settings> {
    let mut settings = Settings { port: 22, ..Settings::default() };
    let mut system_wide = Vec::new();
    let words = |value: &str| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(' ') else { continue };
        let value = value.trim();
        let given = || (value != "none").then(|| value.to_owned());
        match key.to_ascii_lowercase().as_str() {
            "hostname" => settings.host = value.to_owned(),
            "port" => settings.port = value.parse().ok()?,
            "user" => settings.user = value.to_owned(),
            "proxyjump" => settings.proxy_jump = given(),
            "proxycommand" => settings.proxy_command = given(),
            "identityfile" => settings.keys.extend(given()),
            "identitiesonly" => settings.only_these_keys = value == "yes",
            "identityagent" => settings.agent = Some(value.to_owned()),
            "certificatefile" => settings.certificates.extend(given()),
            "userknownhostsfile" => settings.known_hosts = words(value),
            "globalknownhostsfile" => system_wide = words(value),
            "hostkeyalias" => settings.key_alias = given(),
            _ => {}
        }
    }
    settings.known_hosts.extend(system_wide);
    (!settings.host.is_empty()).then_some(settings)
}

impl Settings {
    /// A path as SSH means it: `~` is the user's home, and `%d %h %p %r %u %%` stand for home, host, port, user there, user
    /// here and a percent sign. `None` for what is not known here.
    pub fn path(&self, written: &str) -> Option<PathBuf> {
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
        let home = me.dir.to_str()?;
        let written = match written.strip_prefix("~/") {
            Some(below) => format!("{}/{below}", home.replace('%', "%%")),
            None => written.to_owned(),
        };
        let mut path = String::new();
        let mut letters = written.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' => match letters.next()? {
                    '%' => path.push('%'),
                    'd' => path.push_str(home),
                    'h' => path.push_str(&self.host),
                    'p' => path.push_str(&self.port.to_string()),
                    'r' => path.push_str(&self.user),
                    'u' => path.push_str(&me.name),
                    _ => return None,
                },
                other => path.push(other),
            }
        }
        Some(PathBuf::from(path))
    }
}

/// A host on the way as `ProxyJump` writes it, `[ssh://][user@]host[:port]`: the host, and options for what stands beside it.
pub fn jump(written: &str) -> (String, Vec<String>) {
    let written = written.trim().trim_start_matches("ssh://").trim_end_matches('/');
    let (user, rest) = match written.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, written),
    };
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        // More than one colon: an address of IPv6 without a port.
        None if rest.matches(':').count() == 1 => {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        }
        None => (rest, None),
    };
    let mut with = Vec::new();
    for (option, value) in [("-l", user), ("-p", port)] {
        with.extend(value.into_iter().flat_map(|value| [option.to_owned(), value.to_owned()]));
    }
    (host.to_owned(), with)
}

/// Whether an SSH configuration has a section for the host by its very name.
pub fn describes(text: &str, host: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
        words.next().is_some_and(|key| key.eq_ignore_ascii_case("host"))
            && words.any(|word| word.trim_matches('"') == host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_its_hosts() {
        for (text, expected) in [
            ("Host meluxina\n  Port 8822\n", true),
            ("  host = other \"meluxina\"\n", true),
            ("Host mel*\nHost *\n", false),
            ("# Host meluxina\nHostName meluxina\n", false),
            ("", false),
        ] {
            assert_eq!(describes(text, "meluxina"), expected, "{text}");
        }
    }

    #[test]
    fn what_ssh_says_is_read() {
        let text = "host meluxina\nuser u100000\nhostname login.lxp.lu\nport 8822\nproxyjump none\nidentitiesonly yes\n\
                    identityfile ~/.ssh/a key\nidentityfile ~/.ssh/b\nglobalknownhostsfile /c\nuserknownhostsfile /a /b\n\
                    ciphers x,y\nhostkeyalias mel\n\n";
        let settings = parse(text).expect("settings");
        assert_eq!((settings.host.as_str(), settings.port, settings.user.as_str()), ("login.lxp.lu", 8822, "u100000"));
        assert_eq!((&settings.proxy_jump, settings.keys.len(), settings.only_these_keys), (&None, 2, true));
        assert_eq!(settings.known_hosts, ["/a", "/b", "/c"]);
        assert_eq!(settings.key_alias.as_deref(), Some("mel"));
        assert_eq!(parse("host x\nproxyjump a,b\nhostname y\n").expect("settings").proxy_jump.as_deref(), Some("a,b"));
        assert_eq!(parse("user nobody\n"), None);
        assert_eq!(parse("hostname x\nport many\n"), None);
    }

    #[test]
    fn paths_are_what_ssh_means() {
        let settings = Settings { host: "h".into(), port: 7, user: "u".into(), ..Settings::default() };
        assert_eq!(settings.path("/k/%h-%p-%r%%"), Some(PathBuf::from("/k/h-7-u%")));
        assert!(settings.path("~/.ssh/x").expect("a path").is_absolute());
        assert_eq!(settings.path("/k/%i"), None);
    }

    #[test]
    fn hosts_on_the_way_are_taken_apart() {
        let none: [&str; 0] = [];
        for (written, host, with) in [
            ("jump", "jump", &none[..]),
            ("me@jump:2222", "jump", &["-l", "me", "-p", "2222"]),
            ("ssh://a@b@jump/", "jump", &["-l", "a@b"]),
            ("[::1]:22", "::1", &["-p", "22"]),
            ("::1", "::1", &none[..]),
        ] {
            let found = jump(written);
            assert_eq!(
                (found.0.as_str(), found.1.iter().map(String::as_str).collect::<Vec<_>>()),
                (host, with.to_vec())
            );
        }
    }
}
