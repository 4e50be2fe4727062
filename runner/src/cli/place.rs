//! Where results are committed, and where to they are pushed: `--repo`, `--branch`, `--push`.

use anyhow::{Context, Result};
use archive::{Archive, BenchmarkId, SigningKey, begin_repository, check_out_branch};
use clap::Args;

use super::Global;
use crate::{
    benchmark::{Destination, publish},
    console::Console,
};

#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Commit to this branch, which is checked out in the results folder alone; the branch you are on stays as it is.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Push the branch afterwards; where others were faster, put what is new here on top of theirs.
    #[arg(long)]
    push: bool,
    /// Where to push.
    #[arg(long, value_name = "NAME", default_value = "origin")]
    remote: String,
}

impl Place {
    /// Makes the repository and the checkout that were asked for; returns where to push.
    pub fn prepare(&self, global: &Global, anonymous: bool, console: &Console) -> Result<Option<Destination>> {
        if let Some(repo) = &global.repo
            && begin_repository(repo, anonymous)?
        {
            console.say(&format!("began a git repository in {}", repo.display()));
        }
        if let Some(branch) = &self.branch
            && check_out_branch(&global.results, branch, &self.remote, anonymous)?
        {
            console.say(&format!("branch {branch} is checked out in {}", global.results.display()));
        }
        self.push.then(|| Destination::of(&global.results, &self.remote)).transpose()
    }
}

/// Pushes, and tells what came of it; returns the benchmarks that have another id now.
pub fn push(
    archive: &Archive,
    to: &Destination,
    sign: Option<&SigningKey>,
    console: &Console,
) -> Result<Vec<(BenchmarkId, BenchmarkId)>> {
    let published = publish(archive, to, sign).with_context(|| {
        format!("nothing is lost, but {} was not brought up to date: `runner archive publish` tries again", to.name())
    })?;
    for (was, now) in &published.renamed {
        console.warn(&format!("{was} is {now} now: another benchmark of that id had been pushed"));
    }
    console.say(&format!("pushed to {}", to.name()));
    Ok(published.renamed)
}
