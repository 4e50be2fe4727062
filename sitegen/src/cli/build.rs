//! `sitegen build`: archive → `site/<version>`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    index::Index,
    load::{self, Contents},
    make::{Order, write_version},
    objects, pages,
    repository::Repository,
    theme::Theme,
    write::Outcome,
};

/// Builds a version of the site from the archive.
///
/// An archive that has not changed gives the same version, byte for byte. Prints the page to open.
#[derive(Debug, Args)]
pub struct Build {
    /// The archive to read.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// The folder of all versions.
    #[arg(long, value_name = "DIR", default_value = "site")]
    out: PathBuf,
    /// Templates, style sheet and script that take the place of the built-in ones of the same name.
    #[arg(long, value_name = "DIR")]
    theme: Option<PathBuf>,
    /// Name of the version; the date of the newest benchmark and the archive's commit when not given.
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Address at which the folder of all versions will be published; feeds, sitemap and link pictures are absolute then.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Web address of the repository that has the archive, as https://github.com/me/benchmarks: pages link to commits, and
    /// to the request records at the version's commit.
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
}

impl Build {
    pub fn execute(self) -> Result<ExitCode> {
        let index = Index::open(&self.out, objects::program()?)?;
        let mut contents = load::load(&self.results, &index)?;
        if let Some(url) = self.repository {
            contents.repository = Some(Repository::new(address(url)?, &self.results));
        }
        if contents.benchmarks.is_empty() {
            eprintln!("note: {} holds no benchmark", self.results.display());
        }
        let version = match self.version {
            Some(name) => checked(name)?,
            None => default_version(&contents),
        };
        let base_url = self.base_url.map(address).transpose()?;
        let theme = Theme::load(self.theme.as_deref())?;
        let outcome = write_version(
            &contents,
            Order {
                results: &self.results,
                index: &index,
                theme,
                version: &version,
                base_url: base_url.as_deref(),
                out: &self.out,
                replaces: false,
            },
        )?;
        index.keep()?;
        let words = match outcome {
            Outcome::Written => "written",
            Outcome::Unchanged => "unchanged",
        };
        eprintln!("{} {words}, from {}", version, pages::plural(contents.benchmarks.len(), "benchmark"));
        println!("{}", self.out.join(&version).join("index.html").display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Refuses a name that is no plain folder name, or that the site uses itself.
fn checked(name: String) -> Result<String> {
    let taken = ["latest", "assets", "sitemap.xml", objects::FOLDER];
    if crate::model::slug::slug(&name) != name || taken.contains(&name.as_str()) || name.contains(".js") {
        bail!(
            "`{name}` cannot name a version: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, \
             and not `latest`, `assets` or `o`"
        );
    }
    Ok(name)
}

/// An address without a slash at its end; refused when links cannot be made from it.
fn address(url: String) -> Result<String> {
    let plain = url.chars().all(|c| c.is_ascii_graphic() && !"\"'<>`\\{}|^?#".contains(c));
    let host = ["https://", "http://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    if !plain || host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        bail!("`{url}` cannot be the address of the site: expected one such as https://example.org/benchmarks");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The date of the newest benchmark, and the commit of the archive; its digest while not all of it is committed.
fn default_version(contents: &Contents) -> String {
    let Some(newest) = contents.benchmarks.iter().map(|benchmark| benchmark.run.ended_at).max() else {
        return "empty".to_owned();
    };
    let date = newest.to_human();
    let state = contents.commit.as_deref().unwrap_or(&contents.digest);
    format!("{}-{}", date.get(..10).unwrap_or_default(), state.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_begins_with_its_scheme() {
        let address = |url: &str| address(url.to_owned());
        assert_eq!(address("https://example.org/a/").expect("taken"), "https://example.org/a");
        assert_eq!(address("http://[::1]:8000").expect("taken"), "http://[::1]:8000");
        for url in ["", "example.org", "https://", "https:///a", "javascript:alert(1)", "https://a/?b", "https://a/\"b"]
        {
            assert!(address(url).is_err(), "{url}");
        }
    }

    #[test]
    fn version_names_are_folder_names() {
        for name in ["2026-03-01-1a2b3c4d", "v1.0", "test"] {
            assert!(checked(name.to_owned()).is_ok(), "{name}");
        }
        for name in ["", "latest", "assets", "o", "../x", "a/b", ".x", "versions.json", "index.html"] {
            assert!(checked(name.to_owned()).is_err(), "{name}");
        }
    }
}
