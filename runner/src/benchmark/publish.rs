//! Sending an archive's branch to another repository, by the system's git: push, and where others were faster, fetch, put
//! what is here on top, and push again.
//!
//! Whatever happens, what is committed here stays committed here.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use archive::{Archive, BenchmarkId, SigningKey, replay};

use super::{existing_parent, under_way};

/// So often others may be faster.
const ATTEMPTS: u32 = 30;
/// So often a push may fail although nobody was faster: two that push at one moment may both be refused.
const UNEXPLAINED: u32 = 3;

/// Where the branch of an archive goes.
#[derive(Clone, Debug)]
pub struct Destination {
    root: PathBuf,
    remote: String,
    branch: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Benchmarks that have another id now, because another clone had given theirs: from and to.
    pub renamed: Vec<(BenchmarkId, BenchmarkId)>,
}

impl Destination {
    /// Errs when there is no such remote, or no branch to push.
    pub fn of(results: &Path, remote: &str) -> Result<Self> {
        let folder = existing_parent(&std::path::absolute(results)?).to_owned();
        let root = git(&folder, &["rev-parse", "--show-toplevel"])?
            .with_context(|| format!("{} is in no git repository, so nothing can be pushed", results.display()))?;
        let root = PathBuf::from(root);
        let branch = git(&root, &["symbolic-ref", "--quiet", "--short", "HEAD"])?
            .ok()
            .context("HEAD is on no branch, so there is nothing to push to: check a branch out")?;
        ensure!(
            !remote.starts_with('-') && git(&root, &["remote", "get-url", remote])?.is_ok(),
            "there is no remote `{remote}`: `git -C {} remote add {remote} URL`, or name another with `--remote`",
            root.display()
        );
        Ok(Self { root, remote: remote.to_owned(), branch })
    }

    /// `origin/main`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.remote, self.branch)
    }
}

/// Pushes the branch. What is signed and must be changed for that is signed anew with `sign`.
pub fn publish(archive: &Archive, to: &Destination, sign: Option<&SigningKey>) -> Result<Published> {
    let Destination { root, remote, branch } = to;
    let mut published = Published::default();
    let theirs = format!("refs/remotes/{remote}/{branch}");
    let push = format!("refs/heads/{branch}:refs/heads/{branch}");
    let fetch = format!("+refs/heads/{branch}:{theirs}");
    let mut unexplained = 0;
    for attempt in 0..ATTEMPTS {
        let Err(refused) = git(root, &["push", "--quiet", remote, &push])? else { return Ok(published) };
        // There may be no such branch there yet. What comes is put on disk, so a partial clone needs all of it.
        let fetched = git(root, &["fetch", "--quiet", "--no-tags", "--no-filter", remote, &fetch])?;
        let replayed = match &fetched {
            Ok(_) => replay(archive, &theirs, &measured(archive)?, sign)
                .with_context(|| format!("others pushed to {} before", to.name()))?,
            Err(_) => None,
        };
        match replayed {
            Some(replayed) => {
                follow(&mut published.renamed, replayed.renamed);
                unexplained = 0;
            }
            None => {
                unexplained += 1;
                if unexplained == UNEXPLAINED {
                    let mut said = format!("`git push {remote} {branch}` says: {}", refused.replace('\n', "; "));
                    if let Err(not_fetched) = fetched {
                        said += &format!("; `git fetch {remote} {branch}` says: {}", not_fetched.replace('\n', "; "));
                    }
                    bail!(said);
                }
            }
        }
        // Of several that were refused at one moment, each comes again at another.
        let spread = u64::from(std::process::id() % 7 + 1) * u64::from(attempt + 1);
        thread::sleep(Duration::from_millis(20 * spread.min(100)));
    }
    bail!("others pushed to {} faster, {ATTEMPTS} times", to.name())
}

/// Adds later renamings to earlier ones.
fn follow(all: &mut Vec<(BenchmarkId, BenchmarkId)>, later: Vec<(BenchmarkId, BenchmarkId)>) {
    for (from, to) in later {
        match all.iter_mut().find(|(_, now)| *now == from) {
            Some(earlier) => earlier.1 = to,
            None => all.push((from, to)),
        }
    }
}

/// Ids of benchmarks that are under way and not sealed.
fn measured(archive: &Archive) -> Result<BTreeSet<BenchmarkId>> {
    let ids = under_way(archive)?.into_iter().flat_map(|found| found.benchmarks);
    Ok(ids.filter(|id| !archive.folder().join(id.to_string()).exists()).collect())
}

/// Runs git, which asks nobody for a password: what it printed, or what it says is wrong.
fn git(folder: &Path, args: &[&str]) -> Result<Result<String, Said>> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    let output = command.output().context("cannot start `git`: install it")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(Said(without_passwords(&text(&output.stderr)))),
    })
}

/// What git says is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Said {
    fn replace(&self, from: char, to: &str) -> String {
        self.0.replace(from, to)
    }
}

/// A text with addresses that name nobody: `https://me:token@host/` becomes `https://…@host/`.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| letter == '/' || letter.is_whitespace()).unwrap_or(part.len());
        clean += "://";
        match part[..end].rfind('@') {
            Some(at) => clean.extend(["…", &part[at..]]),
            None => clean += part,
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_an_address_is_told() {
        for (said, told) in [
            ("fatal: cannot reach 'https://me:t0ken@host/x.git'", "fatal: cannot reach 'https://…@host/x.git'"),
            ("https://host/a@b and ssh://git@host:22/x", "https://host/a@b and ssh://…@host:22/x"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_passwords(said), told);
        }
    }

    #[test]
    fn an_id_is_followed_through_several_changes() {
        let id = |number| BenchmarkId::new(20_260_301, number);
        let mut all = vec![(id(1), id(4))];
        follow(&mut all, vec![(id(4), id(6)), (id(2), id(5))]);
        assert_eq!(all, [(id(1), id(6)), (id(2), id(5))]);
    }
}
