//! What is left out of memory is on no page that it was left out for.

#[path = "../../tests/synthetic/archive.rs"]
mod synthetic;

use std::{collections::BTreeMap, fs, path::Path};

use archive::Archive;

use super::{Order, write_version};
use crate::{
    index::Index,
    load::{self, Contents},
    theme::{Theme, files_below},
};

/// Every file of a site with one version of these contents, by its path.
fn site_of(contents: &Contents, results: &Path, out: &Path) -> BTreeMap<String, Vec<u8>> {
    let theme = Theme::load(None).expect("the theme");
    let index = Index::none().expect("empty");
    let order = Order { results, index: &index, theme, version: "v", base_url: None, out, replaces: false };
    write_version(contents, order).expect("written");
    let files = files_below(out).expect("listed").into_iter().filter(|(name, _)| !name.starts_with(".cache/"));
    files.map(|(name, path)| (name, fs::read(path).expect("read"))).collect()
}

#[test]
fn pages_are_the_same_as_from_everything_at_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    // With limits, with devices, failed and cancelled; with a past.
    for made in synthetic::made().iter().filter(|made| made.repetition == 1 || made.clients == 32) {
        synthetic::write_benchmark(&results, made, |_, _| {});
    }
    for made in synthetic::history().iter().filter(|made| made.repetition < 3) {
        synthetic::write_benchmark(&results, made, |run, _| synthetic::versioned(made, run));
    }
    let short = load::load(&results, &Index::none().expect("empty")).expect("read");
    let whole = load::load_some(&results, &Archive::new(&results).ids().expect("ids")).expect("read");
    let latency = |contents: &Contents| contents.benchmarks[0].summary.as_ref().expect("a summary").latency_s.clone();
    assert!(latency(&short).histogram.is_none() && latency(&whole).histogram.is_some());

    let one = site_of(&short, &results, &folder.path().join("one"));
    let two = site_of(&whole, &results, &folder.path().join("two"));
    assert!(one.keys().eq(two.keys()));
    let different: Vec<_> = one.iter().filter(|(name, bytes)| two[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(different.is_empty(), "{different:?}");
}
