//! `runner verify [ID…]`: whether the archive is what was sealed: files, formats, figures, and git's history.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, bail};
use archive::{AllowedSigners, Archive, Audit, AuditError, BenchmarkId, Damage, DamageKind, RequestReader, Verified};
use clap::Args;

use super::Global;
use crate::units;

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
        let of_files = files(&archive, &ids, !self.digests);
        let history = match self.digests {
            true => None,
            false => {
                let only = (!self.ids.is_empty()).then_some(ids.as_slice());
                match archive::audit(archive.folder(), self.append_only.as_deref(), only) {
                    Ok(audit) => Some(audit),
                    // Without a base nobody said that there is a history.
                    Err(AuditError::NoRepository(_)) if self.append_only.is_none() => None,
                    Err(err) => return Err(err.into()),
                }
            }
        };

        let signatures = match self.digests {
            true => Vec::new(),
            false => self.signatures(&archive, &ids, history.as_ref())?,
        };
        let mut damages: Vec<&Damage> = of_files.iter().flat_map(|one| &one.damages).collect();
        damages.extend(history.iter().flat_map(|audit| &audit.damages));
        damages.extend(&signatures);
        let files: u64 = of_files.iter().map(|one| one.files).sum();
        let bytes: u64 = of_files.iter().map(|one| one.bytes).sum();
        let absent: usize = of_files.iter().map(|one| one.absent.len()).sum();
        if global.json {
            let value = serde_json::json!({
                "benchmarks": ids.len(),
                "files": files,
                "bytes": bytes,
                "files_elsewhere": absent,
                "damages": damages,
                "history": history.as_ref().map(|audit| serde_json::json!({
                    "commits": audit.commits,
                    "is_shallow": audit.is_shallow,
                    "unread_commits": audit.unread_commits,
                    "uncommitted": audit.uncommitted,
                })),
            });
            super::print(&format!("{value:#}\n"))?;
        } else {
            let mut text: String = damages.iter().map(|damage| format!("{damage}\n")).collect();
            text += &format!(
                "{} and {} of {} ",
                count(ids.len(), "benchmark"),
                count(files as usize, "file"),
                units::bytes(bytes)
            );
            text += if self.digests { "compared with their manifests" } else { "verified" };
            if absent > 0 {
                text += &format!("; {} kept outside git and not here", count(absent, "file"));
            }
            text += &match (&history, self.digests) {
                (_, true) => String::new(),
                (Some(audit), _) => of_history(audit),
                (None, _) => "; in no git repository, so there is no history to verify".into(),
            };
            text += &match damages.len() {
                0 => ": all is as it was sealed\n".to_owned(),
                found => format!(": {}\n", count(found, "damage")),
            };
            super::print(&text)?;
        }
        Ok(ExitCode::from(u8::from(!damages.is_empty())))
    }
}

impl Verify {
    /// What is wrong with signatures: those that are there, or all that should be.
    fn signatures(&self, archive: &Archive, ids: &[BenchmarkId], history: Option<&Audit>) -> Result<Vec<Damage>> {
        let signers = self.signers.as_deref().map(AllowedSigners::open).transpose()?;
        let mut damages = Vec::new();
        for id in ids {
            damages.extend(archive.verify_signature(*id, signers.as_ref())?);
        }
        if let (Some(signers), Some(history)) = (&signers, history) {
            damages.extend(archive.verify_commits(&history.brought, signers)?);
        }
        Ok(damages)
    }
}

fn of_history(audit: &Audit) -> String {
    let mut text = format!("; {} of history", count(audit.commits as usize, "commit"));
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

/// Verifies the files of all, a benchmark at a time on every core.
fn files(archive: &Archive, ids: &[BenchmarkId], contents: bool) -> Vec<Verified> {
    let next = AtomicUsize::new(0);
    let all: Vec<Mutex<Verified>> = ids.iter().map(|_| Mutex::default()).collect();
    let work = || {
        while let Some((place, id)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, ids.get(at)?)))
        {
            let mut verified = archive.verify(*id);
            // What is not as it was sealed needs not be read further.
            if contents && verified.damages.is_empty() {
                verified.damages = of_contents(archive, *id);
            }
            *all[place].lock().unwrap_or_else(|poison| poison.into_inner()) = verified;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(ids.len()) {
            scope.spawn(work);
        }
    });
    all.into_iter().map(|one| one.into_inner().unwrap_or_else(|poison| poison.into_inner())).collect()
}

/// Reads everything that the format defines, and computes the summary anew.
fn of_contents(archive: &Archive, id: BenchmarkId) -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut damage = |file: &str, kind, detail: String| {
        damages.push(Damage { benchmark_id: id, file: Some(file.to_owned()), kind, detail });
    };
    let benchmark = match archive.open(id) {
        Ok(benchmark) => benchmark,
        Err(err) => {
            damage("manifest.json", DamageKind::Format, format!("{err:#}"));
            return damages;
        }
    };
    let run = benchmark.run().map_err(|err| damage("run.json", DamageKind::Format, format!("{err:#}"))).ok();
    if let Some(run) = run.as_ref().filter(|run| run.benchmark_id != id) {
        damage("run.json", DamageKind::Format, format!("says that it is {}", run.benchmark_id));
    }
    let summary = benchmark.summary().map_err(|err| damage("summary.json", DamageKind::Format, format!("{err:#}")));
    if let Err(err) =
        benchmark.resources().and_then(|samples| samples.into_iter().flatten().try_for_each(|one| one.map(drop)))
    {
        damage("resources.jsonl.zst", DamageKind::Format, format!("{err:#}"));
    }
    for name in benchmark.logs() {
        let read = benchmark.log_lines(name).and_then(|lines| {
            let Some(mut lines) = lines else { return Ok(()) };
            while lines.next_line()?.is_some() {}
            Ok(())
        });
        if let Err(err) = read {
            damage(&format!("logs/{name}"), DamageKind::Format, format!("{err:#}"));
        }
    }
    let requests = benchmark.path_of("requests.jsonl.zst");
    if let (Some(run), Ok(Some(stored)), Some(requests)) = (run, summary, requests) {
        let facts = analysis::Facts::of_archived(&run, &stored);
        match analysis::summarise(&facts, || RequestReader::open(&requests)) {
            Ok(computed) => {
                for difference in analysis::differences(&stored, &computed) {
                    damage("summary.json", DamageKind::Summary, difference);
                }
            }
            Err(err) => damage("requests.jsonl.zst", DamageKind::Format, format!("{err:#}")),
        }
    }
    damages
}
