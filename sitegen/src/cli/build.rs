//! `sitegen build`: archive → `site/<version>`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::Args;
use rayon::prelude::*;

use crate::{
    api,
    cache::{Cache, Made},
    feeds,
    load::{self, Contents, Loaded},
    model::Model,
    pages::{self, Page},
    render::{File, Renderer},
    theme::Theme,
    write::{Outcome, Site, VersionEntry},
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
}

impl Build {
    pub fn execute(self) -> Result<ExitCode> {
        let contents = load::load(&self.results)?;
        if contents.benchmarks.is_empty() {
            eprintln!("note: {} holds no benchmark", self.results.display());
        }
        let version = match self.version {
            Some(name) => checked(name)?,
            None => default_version(&contents),
        };
        let base_url = self.base_url.map(address).transpose()?;
        let theme = Theme::load(self.theme.as_deref())?;
        let outcome = write_version(&contents, &self.results, theme, &version, base_url.as_deref(), &self.out)?;
        let words = match outcome {
            Outcome::Written => "written",
            Outcome::Unchanged => "unchanged",
        };
        eprintln!("{} {words}, from {}", version, pages::plural(contents.benchmarks.len(), "benchmark"));
        println!("{}", self.out.join(&version).join("index.html").display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes all pages of one version of the site and puts it in its place below `out`. `results` is where the contents are
/// from; `base_url` is where `out` will be published.
pub fn write_version(
    contents: &Contents,
    results: &Path,
    theme: Theme,
    version: &str,
    base_url: Option<&str>,
    out: &Path,
) -> Result<Outcome> {
    let address = base_url.map(|url| format!("{url}/{version}/")).unwrap_or_default();
    let model = Model::new(contents);
    let (docs, pictures) = pages::docs::pages();
    let mut pages = vec![
        pages::dashboard::page(&model),
        pages::campaigns::page(&model),
        pages::benchmarks::page(&model),
        pages::compare::page(&model),
        pages::regressions::page(&model),
        pages::services::page(&model),
        pages::reports::page(&model),
        pages::monitoring::page(&model),
        pages::run::page(),
    ];
    pages.extend(docs);
    pages.extend(pages::trends::pages(&model));
    pages.par_extend(model.diffs.par_iter().map(|diff| pages::diffs::page(&model, diff)));
    let campaigns: Vec<Vec<Page>> =
        model.campaigns.par_iter().map(|campaign| pages::campaign::pages(&model, campaign)).collect();
    pages.extend(campaigns.into_iter().flatten());

    let mut site = Site::open(out)?;
    let renderer = Renderer::new(theme, version, &address, contents)?;
    let staged = site.stage(version)?;
    pages.par_iter().try_for_each(|page| staged.write_all(renderer.render(page)?))?;
    let with_report = |(page, files): (Page, Vec<File>)| {
        staged.write_all(renderer.render(&page)?)?;
        staged.write_all(files)
    };
    let executions: Vec<_> = model.executions().collect();
    executions.par_iter().try_for_each(|(campaign, execution)| {
        staged.write_all(vec![api::of_execution(&model, campaign, execution)])?;
        with_report(pages::reports::of_execution(campaign, execution))
    })?;
    // One at a time in each thread: the pages of a large archive would not fit together.
    let cache = Cache::open(out)?;
    contents.benchmarks.par_iter().try_for_each(|benchmark| {
        let (pages, files) = of_benchmark(&model, results, benchmark, &cache)?;
        pages.iter().try_for_each(|page| staged.write_all(renderer.render(page)?))?;
        staged.write_all(files)
    })?;
    cache.prune()?;
    staged.write_all(api::files(&model, version))?;
    staged.write_all(pictures)?;
    staged.write_all(vec![pages::run::data(), ("card.png".to_owned(), feeds::card(&model)?)])?;
    staged.write_all(feeds::files(&model, version, &address, &staged.pages()))?;

    let entry = VersionEntry {
        version: version.to_owned(),
        title: format!(
            "{} of {} campaigns",
            pages::plural(contents.benchmarks.len(), "benchmark"),
            model.campaigns.len()
        ),
        date: contents.benchmarks.iter().map(|benchmark| benchmark.run.ended_at).max(),
        commit: contents.commit.clone(),
        digest: contents.digest.clone(),
        files_digest: Some(staged.digest()),
        built_by: Some(format!("sitegen {}", env!("CARGO_PKG_VERSION"))),
        base_url: base_url.map(str::to_owned),
        aliases: Vec::new(),
        removed: false,
    };
    site.publish(staged, entry, renderer.assets(), &renderer)
}

/// The pages and files of one benchmark, kept from an earlier build where nothing that they are made from has changed.
fn of_benchmark(
    model: &Model<'_>,
    results: &Path,
    benchmark: &Loaded,
    cache: &Cache,
) -> Result<(Vec<Page>, Vec<File>)> {
    // What of the rest of the archive stands on its page.
    let place = model.place_of(benchmark);
    let title = place.map_or("", |(campaign, _)| campaign.title());
    let campaign = place.map(|(campaign, execution)| pages::execution_path(campaign, execution));
    let key = cache.key(&[&benchmark.digest, title, campaign.as_deref().unwrap_or_default()]);
    if let Some(made) = cache.find(&key) {
        return Ok(made.into_files());
    }
    let (report, mut files) = pages::reports::of_benchmark(benchmark);
    let folder = report.path.trim_end_matches("index.html");
    let names = files.iter().filter_map(|(path, _)| path.strip_prefix(folder)).map(str::to_owned).collect();
    let page = pages::benchmark::page(model, benchmark, &load::load_own(results, benchmark)?, &names);
    files.extend(api::of_benchmark(results, benchmark)?);
    let pages = vec![page, report];
    match Made::new(pages, &files) {
        Some(made) => {
            cache.keep(&key, &made)?;
            Ok(made.into_files())
        }
        None => bail!("{}: a sealed JSON file is no text: `runner verify {}` tells more", benchmark.id, benchmark.id),
    }
}

/// Refuses a name that is no plain folder name, or that the site uses itself.
fn checked(name: String) -> Result<String> {
    if crate::model::slug::slug(&name) != name || ["latest", "assets"].contains(&name.as_str()) || name.contains(".js")
    {
        bail!(
            "`{name}` cannot name a version: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, \
             and not `latest` or `assets`"
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
        for name in ["", "latest", "assets", "../x", "a/b", ".x", "versions.json", "index.html"] {
            assert!(checked(name.to_owned()).is_err(), "{name}");
        }
    }
}
