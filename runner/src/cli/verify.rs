//! `runner verify [ID…]`: whether the archive is what was sealed: files, formats, figures, and git's history.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, bail};
use archive::{AllowedSigners, Archive, Asked, Audit, AuditError, BenchmarkId, Damage, OnDisk, Verified};
use clap::Args;
use serde_json::json;

use self::known::Known;
use super::Global;
use crate::units;

mod contents;
mod known;

#[derive(Debug, Args)]
pub struct Verify {
    /// Full ids, unique suffixes (`-007`) or `latest`, by space or comma; all benchmarks unless given.
    #[arg(allow_negative_numbers = true, value_delimiter = ',')]
    ids: Vec<String>,
    /// Compare files with manifests only: neither formats and figures, nor git's history.
    #[arg(long)]
    digests: bool,
    /// A commit that the archive must hold everything of: what CI gives for a change that is proposed.
    #[arg(long, value_name = "BASE", conflicts_with = "digests")]
    append_only: Option<String>,
    /// Want a signature of every manifest, and of the commit that brought it, by somebody whom this file names (the
    /// allowed signers of `ssh-keygen`).
    #[arg(long, value_name = "FILE", conflicts_with = "digests")]
    signers: Option<PathBuf>,
    /// Also find again what an earlier `verify` of this build found: figures, and the older part of history.
    #[arg(long)]
    anew: bool,
}

/// What was found, and how long each part took.
struct Found {
    of_files: Vec<Verified>,
    history: Option<Audit>,
    damages: Vec<Damage>,
    /// Benchmarks whose contents were known before.
    known: usize,
    seconds: Vec<(&'static str, f64)>,
}

impl Verify {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        // Of nothing at all, nothing would be damaged.
        if !archive.folder().is_dir() {
            bail!("there is no archive in {}: give its folder with `--results`", archive.folder().display());
        }
        let ids: Vec<BenchmarkId> = match self.ids.is_empty() {
            true => archive.ids()?,
            false => self.ids.iter().map(|text| archive.find(text)).collect::<Result<_>>()?,
        };
        let found = self.look(&archive, &ids)?;
        match global.json {
            true => super::print(&format!("{:#}\n", found.as_json(ids.len())))?,
            false => super::print(&found.as_text(ids.len(), self.digests))?,
        }
        Ok(ExitCode::from(u8::from(!found.damages.is_empty())))
    }

    fn look(&self, archive: &Archive, ids: &[BenchmarkId]) -> Result<Found> {
        let mut seconds = Vec::new();
        let mut since = Instant::now();
        let mut lap = |what: &'static str| {
            seconds.push((what, since.elapsed().as_secs_f64()));
            since = Instant::now();
        };
        let of_files = on_every_core(ids, |id| archive.verify(*id));
        let mut damages: Vec<Damage> = of_files.iter().flat_map(|one| one.damages.clone()).collect();
        lap("files");
        if self.digests {
            return Ok(Found { of_files, history: None, damages, known: 0, seconds });
        }

        let mut known = if self.anew { Known::nothing() } else { Known::read(archive) };
        // What is not as it was sealed needs not be read further.
        let (unread, read): (Vec<_>, Vec<_>) =
            ids.iter().zip(&of_files).filter(|(_, verified)| verified.damages.is_empty()).partition(|(_, verified)| {
                !verified.digest.as_ref().is_some_and(|digest| known.contents.contains(digest))
            });
        let of_contents = on_every_core(&unread, |(id, _)| contents::of_contents(archive, **id));
        for ((_, verified), damages) in unread.iter().zip(&of_contents) {
            // What is kept elsewhere was not looked at.
            if damages.is_empty() && verified.absent.is_empty() {
                known.contents.extend(verified.digest.clone());
            }
        }
        damages.extend(of_contents.into_iter().flatten());
        lap("contents");

        let on_disk: HashMap<BenchmarkId, OnDisk> =
            ids.iter().zip(&of_files).filter_map(|(id, verified)| Some((*id, verified.on_disk()?))).collect();
        let asked = Asked {
            base: self.append_only.as_deref(),
            only: (!self.ids.is_empty()).then_some(ids),
            read: Some(&on_disk),
            // Of signatures every commit is wanted.
            known: known.history.as_ref().filter(|_| self.signers.is_none()),
        };
        let history = match archive::audit(archive.folder(), &asked) {
            Ok(audit) => Some(audit),
            // Without a base nobody said that there is a history.
            Err(AuditError::NoRepository(_)) if self.append_only.is_none() => None,
            Err(err) => return Err(err.into()),
        };
        damages.extend(history.iter().flat_map(|audit| audit.damages.clone()));
        lap("history");
        damages.extend(self.signatures(archive, ids, history.as_ref())?);
        lap("signatures");

        let present: HashSet<&String> = of_files.iter().filter_map(|verified| verified.digest.as_ref()).collect();
        if self.ids.is_empty() {
            known.contents.retain(|digest| present.contains(digest));
        }
        if let Some(audited) = history.as_ref().and_then(|audit| audit.audited.clone()) {
            known.history = Some(audited);
        }
        known.write(archive);
        Ok(Found { known: read.len(), of_files, history, damages, seconds })
    }

    /// What is wrong with signatures: those that are there, or all that should be.
    fn signatures(&self, archive: &Archive, ids: &[BenchmarkId], history: Option<&Audit>) -> Result<Vec<Damage>> {
        let signers = self.signers.as_deref().map(AllowedSigners::open).transpose()?;
        let mut damages = Vec::new();
        for one in on_every_core(ids, |id| archive.verify_signature(*id, signers.as_ref())) {
            damages.extend(one?);
        }
        if let (Some(signers), Some(history)) = (&signers, history) {
            let parts: Vec<_> = history.brought.chunks(SIGNATURES_AT_ONCE).collect();
            for part in on_every_core(&parts, |part| archive.verify_commits(part, signers)) {
                damages.extend(part?);
            }
        }
        Ok(damages)
    }
}

/// Commits whose signatures are looked at by one thread in a row: opening the repository is not worth fewer.
const SIGNATURES_AT_ONCE: usize = 16;

impl Found {
    fn totals(&self) -> (u64, u64, usize) {
        let of_files = &self.of_files;
        let files = of_files.iter().map(|one| one.files).sum();
        (files, of_files.iter().map(|one| one.bytes).sum(), of_files.iter().map(|one| one.absent.len()).sum())
    }

    fn as_json(&self, benchmarks: usize) -> serde_json::Value {
        let (files, bytes, absent) = self.totals();
        json!({
            "benchmarks": benchmarks,
            "files": files,
            "bytes": bytes,
            "files_elsewhere": absent,
            "damages": self.damages,
            "known_benchmarks": self.known,
            "history": self.history.as_ref().map(|audit| json!({
                "commits": audit.commits,
                "known_commits": audit.known_commits,
                "is_shallow": audit.is_shallow,
                "unread_commits": audit.unread_commits,
                "uncommitted": audit.uncommitted,
            })),
            "seconds": self.seconds.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }

    fn as_text(&self, benchmarks: usize, digests: bool) -> String {
        let (files, bytes, absent) = self.totals();
        let mut text: String = self.damages.iter().map(|damage| format!("{damage}\n")).collect();
        let (benchmarks, files) = (count(benchmarks, "benchmark"), count(files as usize, "file"));
        text += &format!("{benchmarks} and {files} of {} ", units::bytes(bytes));
        text += if digests { "compared with their manifests" } else { "verified" };
        if absent > 0 {
            text += &format!("; {} kept outside git and not here", count(absent, "file"));
        }
        if self.known > 0 {
            text += &format!("; the contents of {} as found before", self.known);
        }
        text += &match (&self.history, digests) {
            (_, true) => String::new(),
            (Some(audit), _) => of_history(audit),
            (None, _) => "; in no git repository, so there is no history to verify".into(),
        };
        text + &match self.damages.len() {
            0 => ": all is as it was sealed\n".to_owned(),
            found => format!(": {}\n", count(found, "damage")),
        }
    }
}

fn of_history(audit: &Audit) -> String {
    let mut text = format!("; {} of history", count(audit.commits as usize, "commit"));
    if audit.known_commits > 0 {
        text += &format!(", {} of them as found before", audit.known_commits);
    }
    if audit.is_shallow {
        text += " (the clone is shallow: what was before is not known)";
    }
    if audit.unread_commits > 0 {
        let unread = count(audit.unread_commits as usize, "commit");
        text += &format!(
            " ({unread} more that this partial clone has no folders of: `git fetch --refetch --no-filter` gets them)"
        );
    }
    if !audit.uncommitted.is_empty() {
        text += &format!("; {} not committed", count(audit.uncommitted.len(), "benchmark"));
    }
    text
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Does it to all, one at a time on every core; what comes of each, in their order.
fn on_every_core<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<R>>> = all.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(all.len()) {
            scope.spawn(|| {
                while let Some((place, one)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, all.get(at)?)))
                {
                    let result = work(one);
                    *done[place].lock().unwrap_or_else(|poison| poison.into_inner()) = Some(result);
                }
            });
        }
    });
    done.into_iter().filter_map(|one| one.into_inner().unwrap_or_else(|poison| poison.into_inner())).collect()
}
