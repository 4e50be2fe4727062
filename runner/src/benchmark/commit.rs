//! Committing what is sealed, by whoever comes to it: a note tells which benchmarks are still to be committed.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};
use archive::{ALLOWED, Archive, BenchmarkId, CommitError, CommitOptions, Leak, Run, SigningKey};
use serde::{Deserialize, Serialize};

use super::collect::{Done, status_word};
use crate::agent::Layout;

/// How a benchmark is to be committed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Commission {
    pub sign: Option<SigningKey>,
    pub anonymous: bool,
}

/// Leaves a note that survives this process: the benchmark is to be committed, if it is.
pub fn mark_uncommitted(work: &Path, id: BenchmarkId, wanted: Option<&Commission>) -> Result<()> {
    if let Some(commission) = wanted {
        let folder = work.join("uncommitted");
        fs::create_dir_all(&folder)?;
        // Whole or not at all: a note cut off would forget the key.
        let part = work.join(format!("uncommitted-{id}.part"));
        fs::write(&part, serde_json::to_vec(commission)?)?;
        fs::rename(part, folder.join(id.to_string()))?;
    }
    Ok(())
}

/// Commits a sealed benchmark if it is to be committed.
pub fn commit(archive: &Archive, id: BenchmarkId) -> Result<Done> {
    let benchmark = archive.open(id)?;
    let run = benchmark.run()?;
    let summary = benchmark.summary()?;
    let mut done = Done { id, summary, commit: None, not_committed: None, run };
    let note = archive.work_folder()?.join("uncommitted").join(id.to_string());
    let Ok(commission) = fs::read(&note) else { return Ok(done) };
    // Of an older build it is empty.
    let Commission { sign, anonymous } = serde_json::from_slice(&commission).unwrap_or_default();
    // Whatever is in git once is there for good.
    let leaks = archive.leaks(&benchmark)?;
    if !leaks.is_empty() {
        done.not_committed = Some(withheld(archive, id, &leaks));
        return Ok(done);
    }
    let message = message(&done.run, &benchmark.digest()?);
    match archive::commit_with(archive.folder(), id, &message, &CommitOptions { sign, anonymous }) {
        Ok(committed) => {
            done.commit = committed.map(|committed| committed.commit);
            tracing::info!("committed {id} as {}", done.commit.as_deref().unwrap_or("part of HEAD already"));
            remove_note(&note)?;
        }
        // Neither is going to change by trying again.
        Err(err @ (CommitError::NoRepository(_) | CommitError::Ignored(_))) => {
            done.not_committed = Some(err.to_string());
            remove_note(&note)?;
        }
        // The result is safe in its place; the next command tries again.
        Err(err) => done.not_committed = Some(err.to_string()),
    }
    Ok(done)
}

/// Whether a sealed benchmark waits to be committed: what looks like a secret keeps it out of git, or git was not to be had.
pub fn is_withheld(archive: &Archive, id: BenchmarkId) -> Result<bool> {
    Ok(archive.work_folder()?.join("uncommitted").join(id.to_string()).exists())
}

/// Commits a benchmark that was put into the archive from elsewhere, if `wanted`.
pub fn commit_imported(archive: &Archive, id: BenchmarkId, wanted: bool) -> Result<Done> {
    mark_uncommitted(&archive.work_folder()?, id, wanted.then(Commission::default).as_ref())?;
    commit(archive, id)
}

/// Commits what an earlier command sealed and could not commit. What stands in a run folder is its owner's to commit.
pub fn commit_pending(archive: &Archive) -> Result<Vec<Done>> {
    let work = archive.work_folder()?;
    let in_a_run_folder = |id: BenchmarkId| {
        let runs = fs::read_dir(work.join("run")).into_iter().flatten().flatten();
        runs.map(|run| Layout::new(run.path())).any(|layout| layout.point(id).exists())
    };
    let mut done = Vec::new();
    for entry in fs::read_dir(work.join("uncommitted")).into_iter().flatten() {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<BenchmarkId>().ok()) else { continue };
        if in_a_run_folder(id) {
            continue;
        }
        if archive.folder().join(id.to_string()).exists() {
            done.push(commit(archive, id)?);
        } else {
            remove_note(&entry.path())?;
        }
    }
    Ok(done)
}

/// Whether one of these is to be committed and could not be.
pub fn is_pending(archive: &Archive, done: &[Done]) -> Result<bool> {
    let notes = archive.work_folder()?.join("uncommitted");
    Ok(done.iter().any(|done| done.not_committed.is_some() && notes.join(done.id.to_string()).exists()))
}

/// Why a benchmark that holds what looks like a secret stays out of git, and what to do.
fn withheld(archive: &Archive, id: BenchmarkId, leaks: &[Leak]) -> String {
    let folder = archive.folder();
    let found: Vec<String> = leaks.iter().map(ToString::to_string).collect();
    format!(
        "it holds what looks like a secret: {}. If it is one: remove {}, which no commit holds, and give it as `${{NAME}}` in \
         the recipe. If it is none: add its digest as a line to {}, and the next `runner` command commits it",
        found.join("; "),
        folder.join(id.to_string()).display(),
        folder.join(ALLOWED).display()
    )
}

/// Another command may have removed it.
fn remove_note(note: &Path) -> Result<()> {
    match fs::remove_file(note) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove {}", note.display()))
        }
        _ => Ok(()),
    }
}

fn message(run: &Run, digest: &str) -> String {
    let campaign = &run.campaign;
    let swept: Vec<_> = campaign.swept.iter().map(|(path, value)| format!("{path}={value}")).collect();
    let mut subject = format!("Archive {}: {}", run.benchmark_id, campaign.name);
    for part in swept {
        subject.push_str(&format!(", {part}"));
    }
    let status = match &run.failure {
        Some(failure) => format!("{} at {}", status_word(run.status), failure.stage),
        None => status_word(run.status).to_owned(),
    };
    format!(
        "{subject}\n\nBenchmark: {}\nCampaign: {} {}\nRepetition: {} of {}\nStatus: {status}\nDigest: sha256:{digest}\n",
        run.benchmark_id, campaign.name, campaign.execution, campaign.repetition, campaign.repetitions,
    )
}
