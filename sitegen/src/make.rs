//! Archive → a version of the site: objects first, each kind with links to those before it; then what only this version
//! holds.

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;

use crate::{
    api, feeds,
    index::Index,
    load::{self, Contents, Loaded},
    model::{
        Campaign, Execution, Model,
        diff::Diff,
        sweep::Series,
        trend::{Trend, trends},
    },
    objects::{Bundle, Store},
    pages::{self, campaign_path, execution_path, plural},
    places,
    relink::{Links, Places},
    render::Renderer,
    report::folder_of,
    theme::Theme,
    write::{Outcome, Published, Site, VersionEntry},
};

/// What a version is made with.
pub struct Order<'a> {
    /// Where the contents are from.
    pub results: &'a Path,
    /// What earlier builds found there.
    pub index: &'a Index,
    pub theme: Theme,
    pub version: &'a str,
    /// Where `out` will be published.
    pub base_url: Option<&'a str>,
    /// The folder of all versions.
    pub out: &'a Path,
    /// A version of that name is put away, if there is one. For previews only.
    pub replaces: bool,
}

/// Makes what is not there yet of one version of the site, and puts it in its place.
pub fn write_version(contents: &Contents, order: Order<'_>) -> Result<Outcome> {
    let Order { results, index, theme, version, base_url, out, replaces } = order;
    let model = Model::new(contents);
    let mut site = Site::open(out)?;
    if !replaces {
        site.refuse_other(version, &contents.digest)?;
    }
    let renderer = Renderer::new(theme, version, base_url, contents)?;
    let places = make_objects(&model, results, index, out, &renderer)?;

    let staged = site.stage(version)?;
    let links = Links { places: &places, layout: None };
    let all_trends: Vec<Vec<Trend<'_>>> = model.campaigns.par_iter().map(trends).collect();
    type Make<'m> = Box<dyn Fn() -> pages::Page + Send + Sync + 'm>;
    let (model_, trends_) = (&model, &all_trends);
    let own: Vec<Make<'_>> = vec![
        Box::new(move || pages::dashboard::page(model_)),
        Box::new(move || pages::campaigns::page(model_)),
        Box::new(move || pages::benchmarks::page(model_)),
        Box::new(move || pages::compare::page(model_)),
        Box::new(move || pages::regressions::page(model_)),
        Box::new(move || pages::services::page(model_)),
        Box::new(move || pages::reports::page(model_)),
        Box::new(move || pages::monitoring::page(model_)),
        Box::new(move || pages::trends::list(model_, trends_)),
    ];
    // Each is written and dropped before its thread makes the next.
    own.par_iter().try_for_each(|make| staged.write_all(renderer.render(&make(), links, None)?))?;
    let address = base_url.map(|url| format!("{url}/{version}/")).unwrap_or_default();
    staged.write_all(api::files(&model, version, &places))?;
    staged.write_all(vec![("card.png".to_owned(), feeds::card(&model)?)])?;
    staged.write_all(pages::monitoring::files())?;
    staged.write_all(feeds::files(&model, version, &address, &places))?;
    let lists = places::lists(&places);
    let names = lists.iter().map(|(name, _)| name.clone()).collect();
    let of_version = places::Pages { pages: staged.pages(), places: names };
    staged.write_all(vec![(places::FILE.to_owned(), of_version.script()?)])?;

    let entry = VersionEntry {
        version: version.to_owned(),
        title: format!("{} of {} campaigns", plural(contents.benchmarks.len(), "benchmark"), model.campaigns.len()),
        date: contents.benchmarks.iter().map(|benchmark| benchmark.run.ended_at).max(),
        commit: contents.commit.clone(),
        digest: contents.digest.clone(),
        files_digest: Some(staged.digest()),
        built_by: Some(format!("sitegen {}", env!("CARGO_PKG_VERSION"))),
        base_url: base_url.map(str::to_owned),
        repository: contents.repository.clone(),
        aliases: Vec::new(),
        removed: false,
    };
    let pages = &of_version.pages;
    site.publish(staged, entry, &Published { places: &places, pages, lists, replaces }, &renderer)
}

/// All objects of the archive: where their pages are.
fn make_objects(model: &Model<'_>, results: &Path, index: &Index, out: &Path, renderer: &Renderer) -> Result<Places> {
    let store = Store::open(out, renderer)?;
    let executions: Vec<_> = model.executions().collect();
    // The fits of all sweeps, by all threads.
    executions.par_iter().try_for_each(|(_, execution)| fit(results, index, execution))?;
    let none = Places::new();
    let mut places = Places::new();
    let together = |made: Result<Vec<Places>>| made.map(|made| made.into_iter().flatten().collect::<Places>());

    let of_benchmark = |benchmark: &Loaded| {
        let facts = ["benchmark", &benchmark.digest];
        store.object(&facts, &none, || benchmark_bundle(results, benchmark))
    };
    places.extend(together(model.contents.benchmarks.par_iter().map(of_benchmark).collect())?);
    let before = places.clone();
    let of_execution = |(campaign, execution): &(&Campaign<'_>, &Execution<'_>)| {
        let base = model.diff_of(execution).map_or("", |diff| campaign.executions[diff.base].key());
        let mut facts = vec!["execution", base];
        facts.extend(execution.benchmarks.iter().map(|benchmark| benchmark.digest.as_str()));
        store.object(&facts, &before, || execution_bundle(model, results, campaign, execution))
    };
    places.extend(together(executions.par_iter().map(of_execution).collect())?);
    let before = places.clone();
    let place = |path: String| before.get(&path).map_or("", String::as_str);
    let of_diff = |diff: &Diff<'_>| {
        let campaign = &model.campaigns[diff.campaign];
        let [base, candidate] =
            [diff.base, diff.candidate].map(|at| place(execution_path(campaign, &campaign.executions[at])));
        let says = serde_json::to_string(&(&diff.comparison, &diff.differences, &diff.remarks))?;
        store.object(&["diff", base, candidate, &says], &before, || diff_bundle(model, results, diff))
    };
    places.extend(together(model.diffs.par_iter().map(of_diff).collect())?);
    let before = places.clone();
    let place = |path: String| before.get(&path).map_or("", String::as_str);
    let of_campaign = |campaign: &Campaign<'_>| {
        let source = digest_of(&of_all(campaign));
        let mut facts = vec!["campaign", &source];
        for execution in &campaign.executions {
            facts.push(place(execution_path(campaign, execution)));
            facts.push(place(pages::diffs::path(campaign, execution)));
        }
        store.object(&facts, &before, || campaign_bundle(model, results, campaign))
    };
    places.extend(together(model.campaigns.par_iter().map(of_campaign).collect())?);
    places.extend(store.object(&["docs"], &none, || {
        let (pages, files) = pages::docs::pages();
        let layout = identity(&["docs/", "metrics/", "cli/"]);
        Ok(Bundle { name: "docs".to_owned(), source: digest_of(&[]), layout, pages, files })
    })?);
    places.extend(store.object(&["run"], &none, || {
        let layout = identity(&["run/", "data/"]);
        let (pages, files) = (vec![pages::run::page()], vec![pages::run::data()]);
        Ok(Bundle { name: "run".to_owned(), source: digest_of(&[]), layout, pages, files })
    })?);
    store.keep()?;
    Ok(places)
}

fn identity(starts: &[&str]) -> Vec<(String, String)> {
    starts.iter().map(|start| ((*start).to_owned(), (*start).to_owned())).collect()
}

fn layout<const N: usize>(pairs: [(String, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(start, name)| (start, name.to_owned())).into()
}

/// sha256 over the digests of benchmarks.
fn digest_of(benchmarks: &[&Loaded]) -> String {
    let lines: String = benchmarks.iter().map(|benchmark| format!("{}\n", benchmark.digest)).collect();
    archive::sha256_hex(lines.as_bytes())
}

/// Benchmarks with everything that pages about them show. One after the other: threads that wait for others to read would
/// begin what needs memory too.
fn whole<'l>(results: &Path, benchmarks: impl IntoIterator<Item = &'l Loaded>) -> Result<Vec<Loaded>> {
    benchmarks.into_iter().map(|benchmark| load::load_whole(results, benchmark.id)).collect()
}

/// Finds what the sweep of an execution says. Whether limits are kept is told by whole samples, which are read for it.
fn fit(results: &Path, index: &Index, execution: &Execution<'_>) -> Result<()> {
    let mut facts = vec!["saturation"];
    facts.extend(execution.benchmarks.iter().map(|benchmark| benchmark.digest.as_str()));
    let asked = |series: &[Series<'_>]| series.par_iter().map(|series| series.saturation().clone()).collect::<Vec<_>>();
    let answers = index.answer(&facts, || {
        if execution.benchmarks.iter().all(|benchmark| benchmark.run.campaign.slo.is_empty()) {
            return Ok(asked(&execution.sweep.series));
        }
        let whole = whole(results, execution.benchmarks.iter().copied())?;
        Ok(asked(&execution.with(&whole).sweep.series))
    })?;
    execution.sweep.series.iter().zip(answers).for_each(|(series, answer)| series.set_saturation(answer));
    Ok(())
}

fn benchmark_bundle(results: &Path, benchmark: &Loaded) -> Result<Bundle> {
    let benchmark = &load::load_whole(results, benchmark.id)?;
    let id = benchmark.id.to_string();
    let (report, mut files) = pages::reports::of_benchmark(benchmark);
    let folder = report.path.trim_end_matches("index.html");
    let names = files.iter().filter_map(|(path, _)| path.strip_prefix(folder)).map(str::to_owned).collect();
    let page = pages::benchmark::page(benchmark, &load::load_own(results, benchmark)?, &names);
    files.extend(api::of_benchmark(results, benchmark)?);
    let layout = layout([
        (format!("benchmarks/{id}/"), ""),
        (format!("reports/{id}/index.html"), "report.html"),
        (format!("reports/{id}/"), ""),
        (format!("api/benchmarks/{id}/"), ""),
        (format!("data/compare/{id}.js"), "compare.js"),
        (format!("data/benchmarks-{id}-"), ""),
        (format!("data/rows/benchmarks-{id}-"), "rows-"),
        (format!("data/logs/{id}-"), "log-"),
    ]);
    Ok(Bundle { name: id, source: benchmark.digest.clone(), layout, pages: vec![page, report], files })
}

fn execution_bundle(
    model: &Model<'_>,
    results: &Path,
    campaign: &Campaign<'_>,
    execution: &Execution<'_>,
) -> Result<Bundle> {
    let whole = whole(results, execution.benchmarks.iter().copied())?;
    let execution = &execution.with(&whole);
    let (report, mut files) = pages::reports::of_execution(campaign, execution);
    let page = pages::campaign::execution_page(model, campaign, execution);
    files.push(api::of_execution(model, campaign, execution));
    let (name, key, folder) = (&campaign.slug, &execution.slug, folder_of(campaign.name, execution.key()));
    let layout = layout([
        (format!("campaigns/{name}/{key}/"), ""),
        (format!("reports/{folder}/index.html"), "report.html"),
        (format!("reports/{folder}/"), ""),
        (format!("data/compare/{}.js", api::execution_data_key(campaign, execution)), "compare.js"),
        (format!("data/campaigns-{name}-{key}-"), ""),
        (format!("data/rows/campaigns-{name}-{key}-"), "rows-"),
    ]);
    let name = format!("{name}.{key}");
    Ok(Bundle { name, source: digest_of(&execution.benchmarks), layout, pages: vec![page, report], files })
}

fn diff_bundle(model: &Model<'_>, results: &Path, diff: &Diff<'_>) -> Result<Bundle> {
    let shown = diff.points.iter().flat_map(|point| point.base.iter().chain(&point.candidate)).copied();
    let shown = whole(results, shown)?;
    let campaign = &model.campaigns[diff.campaign];
    let candidate = &campaign.executions[diff.candidate];
    let (name, key) = (&campaign.slug, &candidate.slug);
    let layout = layout([
        (format!("diffs/{name}/{key}/"), ""),
        (format!("data/diffs-{name}-{key}-"), ""),
        (format!("data/rows/diffs-{name}-{key}-"), "rows-"),
    ]);
    let both: Vec<&Loaded> = [diff.base, diff.candidate]
        .iter()
        .flat_map(|place| campaign.executions[*place].benchmarks.iter().copied())
        .collect();
    let pages = vec![pages::diffs::page(model, &diff.with(&shown))];
    Ok(Bundle { name: format!("{name}.{key}.diff"), source: digest_of(&both), layout, pages, files: Vec::new() })
}

fn of_all<'a>(campaign: &Campaign<'a>) -> Vec<&'a Loaded> {
    campaign.executions.iter().flat_map(|execution| execution.benchmarks.iter().copied()).collect()
}

/// The page of a campaign, which follows its newest execution, and its trends.
fn campaign_bundle(model: &Model<'_>, results: &Path, campaign: &Campaign<'_>) -> Result<Bundle> {
    let name = &campaign.slug;
    let newest = whole(results, campaign.newest().benchmarks.iter().copied())?;
    let mut pages = vec![pages::campaign::page(model, campaign, &campaign.newest().with(&newest))];
    pages.extend((campaign.executions.len() > 1).then(|| pages::trends::page(model, campaign, &trends(campaign))));
    let layout = layout([
        (campaign_path(campaign), "index.html"),
        (format!("data/campaigns-{name}-"), ""),
        (format!("data/rows/campaigns-{name}-"), "rows-"),
        (format!("trends/{name}/index.html"), "trend.html"),
        (format!("data/trends-{name}-"), "trend-"),
        (format!("data/rows/trends-{name}-"), "trend-rows-"),
        (format!("badges/{name}/"), "badge-"),
    ]);
    Ok(Bundle {
        name: format!("{name}.campaign"),
        source: digest_of(&of_all(campaign)),
        layout,
        pages,
        files: Vec::new(),
    })
}
