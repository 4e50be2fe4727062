//! `--anonymous`: no names of people, accounts and hosts in what is archived.
//!
//! Replaces names that are known: hosts of the run, who runs it, accounts of the jobs. A name that only a log knows stays.
//! What is sealed is as repeatable as before, but for a cluster's account, which a rerun has to be given.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use archive::Run;
use serde_json::Value;

use crate::plan::canonical;

/// Words of the format and of every machine, which name nobody.
const NOBODYS: [&str; 14] = [
    "localhost",
    "local",
    "root",
    "nobody",
    "runner",
    "service",
    "client",
    "slurm",
    "simulator",
    "user",
    "account",
    "host",
    "node",
    "home",
];

/// A longer line is masked in pieces of this size.
const LONGEST_LINE: usize = 1 << 20;

/// Names, each with what stands in its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// All names that the run and this process know.
    pub fn of(run: &Run) -> Self {
        let mut names = Self::default();
        let mut hosts: Vec<String> = run.nodes.iter().map(|node| node.hostname.clone()).collect();
        hosts.extend(run.service.hostname.clone());
        hosts.extend(run.events.iter().filter_map(|event| event.node.clone()));
        hosts.push(crate::node::hostname());
        let target = &run.target.other;
        let of_target = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        let (user, host) = of_target("host").rsplit_once('@').unwrap_or(("", of_target("host")));
        hosts.extend([host.to_owned(), of_target("login").to_owned()]);
        let mut accounts = BTreeSet::new();
        for job in target.get("jobs").and_then(Value::as_object).into_iter().flat_map(|jobs| jobs.values()) {
            let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            hosts.push(text("nodes"));
            accounts.insert(text("account"));
        }
        for section in ["service", "client"] {
            let account = run.recipe.resolved.pointer(&format!("/{section}/account")).and_then(Value::as_str);
            accounts.insert(account.unwrap_or_default().to_owned());
        }
        // Of `node1.cluster.example` also `node1`.
        for host in hosts {
            let is_address = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
            if !is_address {
                names.add(
                    "host",
                    host.split('.').next().filter(|_| host.parse::<std::net::IpAddr>().is_err()).unwrap_or(&host),
                );
                names.add("host", &host);
            }
        }
        let home = std::env::var("HOME").unwrap_or_default();
        let own = [std::env::var("USER").unwrap_or_default(), std::env::var("LOGNAME").unwrap_or_default()];
        let home = home.rsplit('/').next().unwrap_or_default();
        own.iter().map(String::as_str).chain([home, user]).for_each(|name| names.add("user", name));
        accounts.iter().for_each(|name| names.add("account", name));
        names
    }

    fn add(&mut self, kind: &str, name: &str) {
        let is_name = name.chars().any(char::is_alphabetic) || name.contains(['.', ':']);
        if name.len() < 2 || !is_name || NOBODYS.contains(&name) || self.0.contains_key(name) {
            return;
        }
        let number = self.0.values().filter(|known| known.starts_with(kind)).count() + 1;
        self.0.insert(name.to_owned(), format!("{kind}-{number}"));
    }

    /// Replaces every name, where it is a word of its own.
    pub fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        // The longest first: one name may begin with another.
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, instead) in names {
            if masked.contains(name.as_str()) {
                masked = replace_word(&masked, name, instead);
            }
        }
        masked
    }

    fn mask_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.mask(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.mask_value(value)),
            _ => {}
        }
    }

    /// Replaces every name in `run.json`, and its recipe digest by that of the recipe as it is archived.
    pub fn mask_run(&self, run: &mut Run) -> serde_json::Result<()> {
        let mut value = serde_json::to_value(&*run)?;
        self.mask_value(&mut value);
        *run = serde_json::from_value(value)?;
        run.recipe_hash = archive::sha256_hex(canonical(&run.recipe.resolved).as_bytes());
        run.other.insert("anonymous".into(), true.into());
        Ok(())
    }

    /// Replaces every name in what is written through it. [`Write::flush`] at the end, or a last line is lost.
    pub fn writer<W: Write>(&self, to: W) -> NamesWriter<'_, W> {
        NamesWriter { names: self, to, line: Vec::new() }
    }
}

fn replace_word(text: &str, name: &str, instead: &str) -> String {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find(name) {
        let (head, tail) = rest.split_at(at);
        let after = &tail[name.len()..];
        let stands_alone = !is_word(head.chars().last().or(before)) && !is_word(after.chars().next());
        out.push_str(head);
        out.push_str(if stands_alone { instead } else { name });
        before = name.chars().last();
        rest = after;
    }
    out.push_str(rest);
    out
}

/// See [`Names::writer`].
pub struct NamesWriter<'a, W> {
    names: &'a Names,
    to: W,
    line: Vec<u8>,
}

impl<W: Write> NamesWriter<'_, W> {
    fn write_line(&mut self) -> io::Result<()> {
        if self.names.0.is_empty() {
            self.to.write_all(&self.line)?;
        } else {
            // What is no UTF-8 stays as it is, and parts words.
            for chunk in self.line.utf8_chunks() {
                self.to.write_all(self.names.mask(chunk.valid()).as_bytes())?;
                self.to.write_all(chunk.invalid())?;
            }
        }
        self.line.clear();
        Ok(())
    }

    /// The writer beneath, after everything was written to it.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_line()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for NamesWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        let mut names = Names::default();
        pairs.iter().for_each(|(kind, name)| names.add(kind, name));
        names
    }

    #[test]
    fn names_are_replaced_where_they_are_words() {
        let names = names(&[
            ("host", "vm"),
            ("host", "vm.example.org"),
            ("user", "alice"),
            ("user", "root"),
            ("host", "node1"),
        ]);
        for (text, expected) in [
            ("on vm, at vm.example.org:80", "on host-1, at host-2:80"),
            ("/home/alice/x alice@node1", "/home/user-1/x user-1@host-3"),
            ("node12 malice vms _vm", "node12 malice vms _vm"),
            ("root /root", "root /root"),
            ("vmvm vm", "vmvm host-1"),
        ] {
            assert_eq!(names.mask(text), expected);
        }
    }

    #[test]
    fn lines_are_masked_however_they_are_written() {
        let names = names(&[("host", "node1")]);
        let text = "started on node1\nnode1 ended\nno line feed: node1";
        for size in 1..text.len() {
            let mut writer = names.writer(Vec::new());
            text.as_bytes().chunks(size).for_each(|chunk| writer.write_all(chunk).expect("written"));
            let written = writer.finish().expect("written");
            assert_eq!(String::from_utf8(written).expect("text"), text.replace("node1", "host-1"));
        }
    }

    #[test]
    fn lines_that_are_no_text_are_masked_too() {
        let names = names(&[("host", "node1"), ("user", "alice")]);
        for (line, expected) in [
            (&b"caf\xe9 on node1 by alice\n"[..], &b"caf\xe9 on host-1 by user-1\n"[..]),
            (b"\xffnode1\xfe alice\xc3", b"\xffhost-1\xfe user-1\xc3"),
            (b"\xff\xfe\n", b"\xff\xfe\n"),
        ] {
            let mut writer = names.writer(Vec::new());
            writer.write_all(line).expect("written");
            assert_eq!(writer.finish().expect("written"), expected);
        }
    }
}
