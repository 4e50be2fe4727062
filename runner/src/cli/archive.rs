//! `runner archive …`: how large the archive is, and where what is too large for git lies.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
};

use anyhow::{Context, Result, bail};
use archive::{Archive, BenchmarkId, Garbage, Moved, Repository, SigningKey};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, export::Export, place};
use crate::{
    benchmark::{self, Destination},
    console::Console,
    units,
};

/// Show how large the archive is; keep what is too large for git in a folder that many share.
#[derive(Debug, Args)]
pub struct ArchiveCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the sizes: in git, beside it, and of what is elsewhere. Exit code 1 when a budget is exceeded.
    Stat {
        /// The most that the benchmarks' folders may have together.
        #[arg(long, value_name = "SIZE", value_parser = super::run::parse_size)]
        budget: Option<u64>,
        /// The most that one benchmark's folder may have.
        #[arg(long, value_name = "SIZE", value_parser = super::run::parse_size)]
        benchmark_budget: Option<u64>,
    },
    /// Remove what nothing needs: files outside git that no benchmark of any branch names.
    Gc {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        /// Also files outside git that this store holds too, after comparing every byte.
        #[arg(long, value_name = "DIR")]
        pushed: Option<PathBuf>,
        /// Also the run folders that `--keep` kept.
        #[arg(long)]
        kept: bool,
        /// Also have `git gc` pack the repository.
        #[arg(long)]
        pack: bool,
    },
    /// Copy what is kept outside git to a store.
    Push(Copied),
    /// Copy what is kept outside git, and is not here, from a store.
    Fetch(Copied),
    /// Push the branch that the archive is on with git, as `--push` does after a run; where others were faster, put what is new
    /// here on top of theirs.
    Publish {
        /// Where to push.
        #[arg(long, value_name = "NAME", default_value = "origin")]
        remote: String,
        /// Sign anew with this SSH key what was signed and gets another id.
        #[arg(long, value_name = "KEY")]
        sign: Option<PathBuf>,
    },
    /// Write a tar of one benchmark, with what it keeps outside git.
    Export {
        /// Full id, unique suffix (`-007`) or `latest`.
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Copied {
    /// Full ids, unique suffixes (`-007`) or `latest`, by space or comma; all benchmarks unless given.
    #[arg(allow_negative_numbers = true, value_delimiter = ',')]
    ids: Vec<String>,
    /// A folder that many share: on a cluster's file system, or a mounted bucket. Another archive's `.raw` will do.
    #[arg(long, value_name = "DIR", env = "RUNNER_STORE")]
    store: PathBuf,
}

impl ArchiveCommand {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        if !archive.folder().is_dir() {
            bail!("there is no archive in {}: give its folder with `--results`", archive.folder().display());
        }
        match self.command {
            Command::Stat { budget, benchmark_budget } => stat(&archive, budget, benchmark_budget, global),
            Command::Gc { dry_run, pushed, kept, pack } => {
                let console = Console::new(global.quiet);
                super::finish_leftovers(&archive, &console);
                gc(&archive, &Gc { dry_run, pushed, kept, pack }, global)
            }
            Command::Push(copied) => {
                let console = Console::new(global.quiet);
                super::finish_leftovers(&archive, &console);
                push(&archive, &copied, &console, global)
            }
            Command::Fetch(copied) => {
                let moved = archive.fetch(&copied.ids(&archive)?, &copied.store)?;
                copied.tell(&moved, "fetched", global)
            }
            Command::Publish { remote, sign } => publish(&archive, &remote, sign.as_deref(), global),
            Command::Export { id, out } => Export::as_tar(id, out).execute(global),
        }
    }
}

impl Copied {
    fn ids(&self, archive: &Archive) -> Result<Vec<BenchmarkId>> {
        match self.ids.is_empty() {
            true => archive.ids(),
            false => self.ids.iter().map(|text| archive.find(text)).collect(),
        }
    }

    /// What neither side has is a bad answer.
    fn tell(&self, moved: &Moved, word: &str, global: &Global) -> Result<ExitCode> {
        match global.json {
            true => super::print(&format!("{:#}\n", serde_json::to_value(moved)?))?,
            false => {
                let mut text = format!(
                    "{word} {} of {}; {} there already\n",
                    count(moved.files, "file"),
                    units::bytes(moved.bytes),
                    count(moved.present, "file")
                );
                for sha256 in &moved.missing {
                    text += &format!("missing on both sides: {sha256}\n");
                }
                super::print(&text)?;
            }
        }
        Ok(ExitCode::from(u8::from(!moved.missing.is_empty())))
    }
}

fn stat(archive: &Archive, budget: Option<u64>, benchmark_budget: Option<u64>, global: &Global) -> Result<ExitCode> {
    let stat = archive.stat()?;
    let mut exceeded = Vec::new();
    if let Some(budget) = budget.filter(|budget| stat.bytes > *budget) {
        exceeded.push(format!(
            "the benchmarks have {}, the budget is {}",
            units::bytes(stat.bytes),
            units::bytes(budget)
        ));
    }
    if let (Some(budget), Some((id, bytes))) = (benchmark_budget, stat.largest)
        && bytes > budget
    {
        exceeded.push(format!("{id} has {}, the budget of one is {}", units::bytes(bytes), units::bytes(budget)));
    }
    if global.json {
        let mut value = serde_json::to_value(&stat)?;
        value["exceeded"] = json!(exceeded);
        super::print(&format!("{value:#}\n"))?;
    } else {
        let mut text = format!("benchmarks   {}\n", units::grouped(stat.benchmarks as i64));
        text += &format!("in git       {} of {}", count(stat.files, "file"), units::bytes(stat.bytes));
        if let Some(each) = stat.bytes.checked_div(stat.benchmarks) {
            text += &format!(", {} a benchmark", units::bytes(each));
        }
        text += "\n";
        for (kind, bytes) in &stat.bytes_by_kind {
            text += &format!("             {} {kind}\n", units::bytes(*bytes));
        }
        if let Some((id, bytes)) = stat.largest {
            text += &format!("largest      {id}, {}\n", units::bytes(bytes));
        }
        text += &format!("beside git   {} of {} here", count(stat.raw_here, "file"), units::bytes(stat.raw_here_bytes));
        text += &format!(
            ", {} of {} elsewhere\n",
            count(stat.raw_elsewhere, "file"),
            units::bytes(stat.raw_elsewhere_bytes)
        );
        if let Some(bytes) = stat.git_bytes {
            text += &format!("repository   {} in git's object store\n", units::bytes(bytes));
        }
        exceeded.iter().for_each(|line| text += &format!("exceeded: {line}\n"));
        super::print(&text)?;
    }
    Ok(ExitCode::from(u8::from(!exceeded.is_empty())))
}

/// What is kept out of git is kept from those who share the store, too.
fn push(archive: &Archive, asked: &Copied, console: &Console, global: &Global) -> Result<ExitCode> {
    let (mut ids, mut withheld) = (Vec::new(), Vec::new());
    for id in asked.ids(archive)? {
        if benchmark::is_withheld(archive, id)? { withheld.push(id) } else { ids.push(id) }
    }
    let why = |id: &BenchmarkId| format!("{id} is not pushed: it was to be committed and is in no commit (see above)");
    if let Some(id) = withheld.first().filter(|_| !asked.ids.is_empty()) {
        bail!(why(id));
    }
    withheld.iter().for_each(|id| console.warn(&why(id)));
    let code = asked.tell(&archive.push(&ids, &asked.store)?, "pushed", global)?;
    Ok(if withheld.is_empty() { code } else { ExitCode::from(1) })
}

struct Gc {
    dry_run: bool,
    pushed: Option<PathBuf>,
    kept: bool,
    pack: bool,
}

fn gc(archive: &Archive, asked: &Gc, global: &Global) -> Result<ExitCode> {
    let mut garbage = archive.garbage()?;
    let mut add = |more: Garbage| {
        garbage.bytes += more.bytes;
        garbage.files.extend(more.files);
    };
    if let Some(store) = &asked.pushed {
        add(archive.pushed(store)?);
    }
    if asked.kept {
        for path in archive::files_below(&archive.work_folder()?.join("kept")).unwrap_or_default() {
            add(Garbage { bytes: fs::metadata(&path).map_or(0, |facts| facts.len()), files: vec![path] });
        }
    }
    if !asked.dry_run {
        for path in &garbage.files {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        if asked.kept {
            let _ = fs::remove_dir_all(archive.work_folder()?.join("kept"));
        }
    }
    let mut packed = None;
    if asked.pack && !asked.dry_run {
        let repository = Repository::around(archive.folder()).context("the archive is in no git repository")?;
        let before = archive.stat()?.git_bytes.unwrap_or_default();
        let status = Process::new("git").arg("-C").arg(&repository.root).args(["gc", "--quiet"]).status();
        let status = status.context("cannot start `git`")?;
        if !status.success() {
            bail!("`git gc` failed in {}", repository.root.display());
        }
        packed = Some((before, archive.stat()?.git_bytes.unwrap_or_default()));
    }
    if global.json {
        super::print(&format!(
            "{:#}\n",
            json!({ "removed": !asked.dry_run, "garbage": garbage, "git_bytes": packed })
        ))?;
    } else {
        let word = if asked.dry_run { "would remove" } else { "removed" };
        let mut text =
            format!("{word} {} of {}\n", count(garbage.files.len() as u64, "file"), units::bytes(garbage.bytes));
        if asked.dry_run {
            garbage.files.iter().for_each(|path| text += &format!("  {}\n", path.display()));
        }
        if let Some((before, after)) = packed {
            text += &format!("packed git's object store from {} to {}\n", units::bytes(before), units::bytes(after));
        }
        super::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn publish(archive: &Archive, remote: &str, sign: Option<&Path>, global: &Global) -> Result<ExitCode> {
    let console = Console::new(global.quiet);
    let destination = Destination::of(archive.folder(), remote)?;
    let sign = sign.map(SigningKey::tested).transpose()?;
    super::finish_leftovers(archive, &console);
    let renamed = place::push(archive, &destination, sign.as_ref(), &console)?;
    if global.json {
        let renamed: Vec<_> = renamed.iter().map(|(was, now)| json!({ "was": was, "now": now })).collect();
        super::print(&format!("{:#}\n", json!({ "pushed_to": destination.name(), "renamed": renamed })))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
