//! `--exact`: the build that made the original, made again from its commit.
//!
//! With the system's `git` and `cargo`. What was built is kept in `.work/exact/<commit>`, so it is built once.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use archive::{Archive, Repository, Run, ToolFacts};

use crate::console::Console;

/// Runs this very command line, without `--exact`, by the build of the originals.
pub fn rerun(archive: &Archive, source: Option<&Path>, originals: &[&Run], console: &Console) -> Result<ExitCode> {
    let first = originals.first().context("there is nothing to repeat")?;
    let tool = &first.tool;
    if let Some(other) = originals.iter().find(|run| run.tool.git_commit != tool.git_commit) {
        bail!(
            "{} and {} were made by different builds: repeat them one by one",
            first.benchmark_id,
            other.benchmark_id
        );
    }
    let commit = commit_of(first)?;
    let source = match source {
        Some(folder) => folder.to_owned(),
        None => Repository::around(archive.folder())
            .map(|repository| repository.root)
            .context("the archive is in no git repository: name a clone of the project with `--source`")?,
    };
    let program = build(&source, &archive.work_folder()?, commit, tool, console)?;
    let status = Command::new(&program).args(arguments(std::env::args_os().skip(1))).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// The commit of a build that can be made again.
fn commit_of(run: &Run) -> Result<&str> {
    let id = run.benchmark_id;
    let Some(commit) = run.tool.git_commit.as_deref() else {
        bail!(
            "{id} does not say which commit its build was made from (a debug build, or one outside git): build that \
             version, and run `rerun` with it"
        )
    };
    if let Some(changes) = run.tool.changes_sha256.as_deref() {
        bail!(
            "{id} was made by a build of commit {commit} with changes that no commit holds (sha256 {changes}): apply \
             them, build it, and run `rerun` with that"
        );
    }
    Ok(commit)
}

fn build(source: &Path, work: &Path, commit: &str, tool: &ToolFacts, console: &Console) -> Result<PathBuf> {
    let place = std::path::absolute(work)?.join("exact");
    let program = place.join(commit).join("runner");
    if !program.is_file() {
        let has = |object: &str| {
            Command::new("git")
                .arg("-C")
                .arg(source)
                .args(["cat-file", "-e", object])
                .output()
                .map(|out| out.status.success())
        };
        ensure!(
            has(&format!("{commit}^{{commit}}")).context("cannot start `git`")?,
            "{} does not hold commit {commit}: fetch it, or name another clone with `--source`",
            source.display()
        );
        ensure!(
            has(&format!("{commit}:runner/Cargo.toml"))?,
            "commit {commit} of {} is not one of this project: name its clone with `--source`",
            source.display()
        );
        console.say(&format!("building commit {commit}"));
        let own = place.join(commit);
        fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
        // All commits are built in one folder, so that what they depend on is built once: one after the other.
        let lock = File::create(place.join("lock"))?;
        lock.lock().with_context(|| format!("cannot lock {}", place.display()))?;
        let tree = place.join("tree");
        if program.is_file() {
            return told(program, tool, console);
        }
        // Of an attempt that was cut off.
        let _ = git(source, &["worktree", "remove", "--force"], &tree);
        git(source, &["worktree", "add", "--force", "--detach"], &tree)?;
        let built = git(&tree, &["checkout", "--quiet", "--detach", commit], Path::new(""))
            .and_then(|()| compile(&tree, &place, tool));
        let _ = git(source, &["worktree", "remove", "--force"], &tree);
        let built = built?;
        // Whole or not at all.
        let part = own.join("runner.part");
        fs::copy(&built, &part).with_context(|| format!("cannot copy {}", built.display()))?;
        fs::rename(&part, &program)?;
    }
    told(program, tool, console)
}

/// The program, after a word on whether it is the original's.
fn told(program: PathBuf, tool: &ToolFacts, console: &Console) -> Result<PathBuf> {
    let digest = archive::sha256_hex(&fs::read(&program)?);
    match tool.binary_sha256.as_deref() == Some(digest.as_str()) {
        true => console.say("the build is the original's, byte for byte"),
        false => console.warn(
            "the build is of the same commit and not the same bytes: another compiler, or another folder to build in",
        ),
    }
    Ok(program)
}

fn compile(tree: &Path, place: &Path, tool: &ToolFacts) -> Result<PathBuf> {
    let profile = tool.profile.as_deref().unwrap_or("release");
    let target = place.join("target");
    let status = Command::new("cargo")
        .args(["build", "--locked", "--package", "runner", "--profile", profile])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("cannot start `cargo`: install Rust (https://rustup.rs), or run without `--exact`")?;
    ensure!(status.success(), "the commit cannot be built here: see above");
    Ok(target.join(profile).join("runner"))
}

fn git(folder: &Path, args: &[&str], last: &Path) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args);
    if last != Path::new("") {
        command.arg(last);
    }
    let output = command.output().context("cannot start `git`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {} failed: {}", args.join(" "), said.trim());
    Ok(())
}

/// The command line without what asks for this.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut given = given.peekable();
    while let Some(argument) = given.next() {
        let text = argument.to_string_lossy();
        if text == "--source" {
            given.next();
        } else if text != "--exact" && !text.starts_with("--source=") {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_line_without_exact() {
        for (given, kept) in [
            ("rerun -007 --exact --strict", "rerun -007 --strict"),
            ("--results x rerun --source /y --exact -007", "--results x rerun -007"),
            ("rerun --source=/y -007 --exact", "rerun -007"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(arguments(words(given).into_iter()), words(kept), "{given}");
        }
    }
}
