//! From the logs of a run folder to those of the archive: without secrets, and under names that every file system can hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::anonymous::Names;
use crate::{
    agent::{Layout, Secrets},
    load,
};

/// Logs above this size are compressed.
const PLAIN_LOG_BYTES: u64 = 64 << 10;

/// Copies all logs that say anything, in bounded memory; of the clients, all files that they put into their folder. Links are
/// not followed.
pub fn copy(layout: &Layout, folder: &Path, secrets: &Secrets, names: &Names, out: &Path) -> Result<()> {
    let run = layout.folder();
    let mut sources = vec![
        ("load.log".to_owned(), run.join("load.log")),
        ("serve.log".to_owned(), run.join("serve.log")),
        ("service.log".to_owned(), layout.service_log()),
    ];
    for folder in std::iter::once(folder.to_owned()).chain(load::spool::part_folders(folder)?) {
        let clients = folder.join("logs");
        for path in archive::files_below(&clients)? {
            let name = path.strip_prefix(&clients).unwrap_or(&path).to_string_lossy().into_owned();
            sources.push((name, path));
        }
    }
    let mut taken = LogNames::default();
    for (name, source) in sources {
        // Also of an empty one: `load.log` is always the agent's.
        let name = taken.name(&name);
        let length = fs::metadata(&source).map_or(0, |file| file.len());
        if length == 0 {
            continue;
        }
        // A reader takes what ends in `.zst` for compressed.
        let compressed = length > PLAIN_LOG_BYTES || name.to_lowercase().ends_with(".zst");
        let target = out.join(if compressed { format!("{name}.zst") } else { name });
        fs::create_dir_all(target.parent().unwrap_or(out))?;
        let copy = || -> io::Result<()> {
            let (mut from, to) = (fs::File::open(&source)?, fs::File::create(&target)?);
            if compressed {
                let mut to = names.writer(zstd::Encoder::new(to, 9)?);
                secrets.mask(&mut from, &mut to)?;
                to.finish()?.finish()?;
                Ok(())
            } else {
                let mut to = names.writer(io::BufWriter::new(to));
                secrets.mask(&mut from, &mut to)?;
                to.finish()?.flush()
            }
        };
        copy().with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
    }
    Ok(())
}

/// Names that are given to logs, where letters of other case are the same to some file systems.
#[derive(Default)]
pub struct LogNames {
    /// In lower case.
    files: BTreeSet<String>,
    /// In lower case → as they are.
    folders: BTreeMap<String, String>,
}

impl LogNames {
    /// The name under which a file is archived: its own, if that can be.
    pub fn name(&mut self, wanted: &str) -> String {
        let wanted: Vec<String> = wanted.split('/').map(portable).collect();
        let wanted = wanted.join("/");
        let others = (2..).map(|number| format!("client-{number}/{wanted}"));
        let mut candidates = [wanted.clone(), format!("client/{wanted}")].into_iter().chain(others);
        // There are more candidates than names.
        let name = candidates.find(|name| self.is_free(name)).unwrap_or(wanted);
        self.files.insert(name.to_lowercase());
        for folder in folders_of(&name) {
            self.folders.insert(folder.to_lowercase(), folder.to_owned());
        }
        name
    }

    fn is_free(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        let fits = |folder: &str| {
            let lower = folder.to_lowercase();
            !self.files.contains(&lower) && self.folders.get(&lower).is_none_or(|known| known == folder)
        };
        !self.files.contains(&lower) && !self.folders.contains_key(&lower) && folders_of(name).all(fits)
    }
}

/// The folders that a relative path leads through.
fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// One part of a path, without what Windows refuses.
fn portable(part: &str) -> String {
    let plain = |c: char| if c.is_control() || "<>:\"\\|?*".contains(c) { '_' } else { c };
    let mut name: String = part.chars().map(plain).collect();
    if name.ends_with(['.', ' ']) {
        name.push('_');
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |kind: &str| stem.strip_prefix(kind).is_some_and(|rest| rest.len() == 1 && rest >= "0");
    if ["con", "prn", "aux", "nul"].contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_where_case_is_not() {
        let mut taken = LogNames::default();
        for (wanted, given) in [
            ("load.log", "load.log"),
            ("load.log", "client/load.log"),
            ("LOAD.log", "client-2/LOAD.log"),
            ("a/b", "a/b"),
            ("a/c", "a/c"),
            ("A", "client/A"),
            ("A/d", "client-2/A/d"),
            ("load.log/x", "client-3/load.log/x"),
            ("Client/y", "client/Client/y"),
        ] {
            assert_eq!(taken.name(wanted), given, "{wanted}");
        }
    }

    #[test]
    fn what_windows_refuses_is_replaced() {
        for (name, given) in [
            ("a:b", "a_b"),
            ("con", "_con"),
            ("Aux.log", "_Aux.log"),
            ("com1.txt", "_com1.txt"),
            ("com12", "com12"),
            ("console", "console"),
            ("a.", "a._"),
            ("a\nb", "a_b"),
            ("\\x", "_x"),
            ("é b", "é b"),
        ] {
            assert_eq!(portable(name), given, "{name}");
        }
    }
}
