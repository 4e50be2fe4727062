//! What `ssh -G HOST` says: the connection as SSH itself understands the user's configuration. Pure.

/// The settings that people are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub proxy_jump: Option<String>,
    /// In the order in which they are tried.
    pub keys: Vec<String>,
    pub known_hosts: Vec<String>,
}

/// Reads the lines of `ssh -G`. `None` when there is no host among them.
pub fn parse(text: &str) -> Option<Settings> {
    let mut settings = Settings { port: 22, ..Settings::default() };
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(' ') else { continue };
        let value = value.trim();
        match key.to_ascii_lowercase().as_str() {
            "hostname" => settings.host = value.to_owned(),
            "port" => settings.port = value.parse().ok()?,
            "user" => settings.user = value.to_owned(),
            "proxyjump" if value != "none" => settings.proxy_jump = Some(value.to_owned()),
            "identityfile" => settings.keys.push(value.to_owned()),
            "userknownhostsfile" => settings.known_hosts = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
    (!settings.host.is_empty()).then_some(settings)
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
        let text = "host meluxina\nuser u100000\nhostname login.lxp.lu\nport 8822\nproxyjump none\n\
                    identityfile ~/.ssh/a key\nidentityfile ~/.ssh/b\nuserknownhostsfile /a /b\nciphers x,y\n\n";
        let settings = parse(text).expect("settings");
        assert_eq!((settings.host.as_str(), settings.port, settings.user.as_str()), ("login.lxp.lu", 8822, "u100000"));
        assert_eq!((settings.proxy_jump, settings.keys.len(), settings.known_hosts.len()), (None, 2, 2));
        assert_eq!(settings.keys[0], "~/.ssh/a key");
        assert_eq!(parse("hostname x\nport many\n"), None);
        assert_eq!(parse(""), None);
    }
}
