//! `sitegen rebuild`: an old version again, byte for byte, from the archive at its commit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    index::Index,
    load,
    make::{Order, write_version},
    objects,
    pages::plural,
    theme::Theme,
    write::{Site, digest_of},
};

/// Builds a published version again from the archive at its commit, and tells whether it is the same byte for byte.
///
/// A version that was removed is put back; one that is there is only compared. Exit code 1 when the bytes differ: another
/// version of sitegen or another theme makes other pages.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Name of the version, as versions.json has it.
    version: String,
    /// The archive, in the git repository that has the version's commit.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// The folder of all versions.
    #[arg(long, value_name = "DIR", default_value = "site")]
    out: PathBuf,
    /// The theme that the version was built with, when it was not the built-in one.
    #[arg(long, value_name = "DIR")]
    theme: Option<PathBuf>,
}

impl Rebuild {
    pub fn execute(self) -> Result<ExitCode> {
        let mut site = Site::open(&self.out)?;
        let Some(entry) = site.entry(&self.version).cloned() else {
            bail!("{} has no version `{}`: versions.json lists them", self.out.display(), self.version);
        };
        let Some(commit) = entry.commit.clone() else {
            bail!("version `{}` was built before its benchmarks were committed: it names no commit", self.version);
        };
        // Beside the versions, so that moving it there is a rename.
        let work = self.out.join(format!(".rebuilt-{}-{}", self.version, std::process::id()));
        let _removed = Removed(&work);
        let results = work.join("results");
        checked_out(&self.results, &commit, &results)?;
        let index = Index::none()?;
        let mut contents = load::load(&results, &index)?;
        // The copy stands outside git.
        contents.commit = Some(commit.clone());
        contents.repository = entry.repository.clone();
        if contents.digest != entry.digest {
            bail!("the archive at {commit} has the digest {}, the version names {}", contents.digest, entry.digest);
        }
        let theme = Theme::load(self.theme.as_deref())?;
        let again = work.join("site");
        let base_url = entry.base_url.as_deref();
        let order = Order {
            results: &results,
            index: &index,
            theme,
            version: &self.version,
            base_url,
            out: &again,
            replaces: false,
        };
        write_version(&contents, order)?;
        let made = again.join(&self.version);
        let digest = digest_of(&made)?;
        let there = self.out.join(&self.version);
        let expected = match &entry.files_digest {
            Some(digest) => digest.clone(),
            None => digest_of(&there)?,
        };
        if digest != expected {
            let by = entry.built_by.as_deref().unwrap_or("an unknown version of sitegen");
            println!("{}: differs; it was published by {by}", self.version);
            return Ok(ExitCode::from(1));
        }
        let was_there = there.exists();
        if !was_there {
            fs::rename(&made, &there).with_context(|| format!("cannot create {}", there.display()))?;
        } else if digest_of(&there)? != expected {
            println!("{}: was edited after it was published; remove its folder to have it put back", self.version);
            return Ok(ExitCode::from(1));
        }
        // The version names what it shares with others, so that it is the same wherever it is there.
        let mut put_back = 0;
        for (name, from) in shared(&again)? {
            let to = self.out.join(&name);
            if !to.exists() {
                put_back += 1;
                fs::create_dir_all(to.parent().unwrap_or(&self.out))?;
                fs::rename(&from, &to).with_context(|| format!("cannot create {}", to.display()))?;
            } else if !is_as_published(&to)? {
                println!("{}: {name} was edited after it was published; remove it to have it put back", self.version);
                return Ok(ExitCode::from(1));
            }
        }
        site.write_lists()?;
        match (was_there, put_back) {
            (true, 0) => println!("{}: the same byte for byte", self.version),
            (true, count) => {
                println!("{}: the same byte for byte; {} put back", self.version, plural(count, "missing part"));
            }
            (false, _) => println!("{}: put back, the same byte for byte", self.version),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the versions of a site share: name from its root, and path.
fn shared(site: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut parts = Vec::new();
    for folder in [objects::FOLDER, "assets"] {
        for entry in fs::read_dir(site.join(folder))? {
            let entry = entry?;
            parts.push((format!("{folder}/{}", entry.file_name().to_string_lossy()), entry.path()));
        }
    }
    parts.sort();
    Ok(parts)
}

/// Whether an object or an asset is what its name says.
fn is_as_published(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return objects::is_as_named(path);
    }
    let digest = archive::sha256_hex(&fs::read(path)?);
    Ok(path.file_stem().is_some_and(|stem| *stem == *digest))
}

struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // Nothing of it is needed any more.
        _ = fs::remove_dir_all(self.0);
    }
}

/// Writes the archive as it was at a commit into a folder; the working tree and the index of the repository stay as
/// they are.
fn checked_out(results: &Path, commit: &str, to: &Path) -> Result<()> {
    let index = to.with_extension("index");
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let absolute = fs::canonicalize(to)?;
    let git = |args: &[&str]| -> Result<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(results)
            .args(args)
            .env(
                "GIT_INDEX_FILE",
                fs::canonicalize(to.parent().unwrap_or(to))?.join(index.file_name().unwrap_or_default()),
            )
            .output()
            .context("cannot start git")?;
        if !output.status.success() {
            bail!("git {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // The archive's folder within the repository, empty when it is the repository.
    let prefix = git(&["rev-parse", "--show-prefix"])?;
    let tree = format!("{commit}:{}", prefix.trim_end_matches('/'));
    git(&["read-tree", &tree]).with_context(|| format!("{} has no archive at {commit}", results.display()))?;
    let work_tree = format!("--work-tree={}", absolute.display());
    git(&[&work_tree, "checkout-index", "--all", "--force", &format!("--prefix={}/", absolute.display())])?;
    Ok(())
}
