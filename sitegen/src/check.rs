//! Checks of a built site: links lead somewhere, anchors exist, assets are what their names say, nothing is loaded
//! from elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use crate::{
    html::{Tag, tags},
    objects,
    places::Pages,
    relink::resolve,
    theme::files_below,
    write::{VersionEntry, digest_of},
};

pub struct Report {
    pub pages: usize,
    pub links: usize,
    /// One line each, sorted.
    pub findings: Vec<String>,
    /// Each version, the latest first.
    pub sizes: Vec<Size>,
    /// Objects that no version shows, and their bytes: they can be removed.
    pub unused: Vec<(String, u64)>,
    /// Of everything, assets included.
    pub bytes: u64,
}

/// How large a version is.
pub struct Size {
    pub version: String,
    /// Of its own files.
    pub own: u64,
    /// Of the objects that it shows, which others may show too.
    pub shared: u64,
    objects: BTreeSet<String>,
}

/// What GitHub and GitLab Pages host.
const MOST_BYTES: u64 = 1_000_000_000;

/// What one page holds that others may refer to, and what it refers to.
struct PageLinks {
    anchors: BTreeSet<String>,
    /// Attribute and target.
    links: Vec<(String, String)>,
}

pub fn check(root: &Path) -> Result<Report> {
    if !root.join("versions.json").exists() {
        bail!("{} holds no site: `sitegen build` makes one", root.display());
    }
    let mut files = files_below(root)?;
    // What builds keep for themselves is not published.
    files.retain(|name, _| !name.starts_with('.'));
    let read = |(name, path): (&String, &PathBuf)| {
        let html = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((name.clone(), page_links(&tags(&html))))
    };
    let pages: BTreeMap<String, PageLinks> =
        files.par_iter().filter(|(name, _)| name.ends_with(".html")).map(read).collect::<Result<_>>()?;

    let mut findings = Vec::new();
    for (name, page) in &pages {
        for (attribute, target) in &page.links {
            if let Some(problem) = problem_of(name, attribute, target, &files, &pages) {
                findings.push(format!("{name}: {attribute} `{target}`: {problem}"));
            }
        }
    }
    for (name, path) in files.iter().filter(|(name, _)| name.starts_with("assets/")) {
        let digest = archive::sha256_hex(&fs::read(path)?);
        if name.strip_prefix("assets/").and_then(|file| file.split('.').next()) != Some(digest.as_str()) {
            findings.push(format!("{name}: has the sha256 {digest}"));
        }
    }
    let mut versions: Vec<VersionEntry> = serde_json::from_slice(&fs::read(root.join("versions.json"))?)
        .context("versions.json is no list of versions")?;
    versions.retain(|entry| root.join(&entry.version).is_dir());
    let mut sizes = Vec::new();
    let size_of = object_sizes(&files)?;
    for entry in &versions {
        let name = &entry.version;
        let folder = root.join(name);
        if let Some(digest) = &entry.files_digest
            && digest_of(&folder)? != *digest
        {
            findings.push(format!("{name}: is not as it was published; `sitegen rebuild {name}` makes it again"));
        }
        let objects = match Pages::read(root, name).and_then(|pages| pages.places_in(root)) {
            Ok(places) => places.values().filter_map(|place| objects::folder_of(place)).map(str::to_owned).collect(),
            Err(err) => {
                findings.push(format!("{name}: cannot tell which objects it shows: {err:#}"));
                BTreeSet::new()
            }
        };
        for missing in objects.iter().filter(|object| !size_of.contains_key(*object)) {
            findings.push(format!(
                "{name}: {}/{missing} is missing; `sitegen rebuild {name}` makes it again",
                objects::FOLDER
            ));
        }
        let prefix = format!("{name}/");
        let own = files.iter().filter(|(path, _)| path.starts_with(&prefix));
        let own = own.map(|(_, path)| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
        let shared = objects.iter().filter_map(|object| size_of.get(object)).sum();
        sizes.push(Size { version: name.clone(), own, shared, objects });
    }
    let names: Vec<&String> = size_of.keys().collect();
    let edited =
        names.par_iter().map(|name| Ok((*name, objects::is_as_named(&root.join(objects::FOLDER).join(name))?)));
    for (name, _) in edited.collect::<Result<Vec<_>>>()?.into_iter().filter(|(_, is_as_named)| !is_as_named) {
        let shown: Vec<&str> =
            sizes.iter().filter(|size| size.objects.contains(name)).map(|size| size.version.as_str()).collect();
        let again = match shown.first() {
            Some(version) => {
                format!("shown by {}; remove it and `sitegen rebuild {version}` makes it again", shown.join(", "))
            }
            None => "no version shows it".to_owned(),
        };
        findings.push(format!("{}/{name}: is not as it was published; {again}", objects::FOLDER));
    }
    let is_unused = |name: &&String| !sizes.iter().any(|size| size.objects.contains(*name));
    let unused = size_of.iter().filter(|(name, _)| is_unused(name)).map(|(name, size)| (name.clone(), *size)).collect();
    let bytes = files.values().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
    if bytes > MOST_BYTES {
        findings.push(format!(
            "{} in all: more than the 1 GB of common static hosting{}",
            megabytes(bytes),
            prune(&sizes, &size_of, bytes)
        ));
    }
    findings.sort();
    let links = pages.values().map(|page| page.links.len()).sum();
    Ok(Report { pages: pages.len(), links, findings, sizes, unused, bytes })
}

/// Bytes of each object.
fn object_sizes(files: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for (place, path) in files {
        if let Some(object) = objects::folder_of(place) {
            *sizes.entry(object.to_owned()).or_insert(0) += fs::metadata(path)?.len();
        }
    }
    Ok(sizes)
}

/// What to remove so that the rest fits: what no version shows, then the oldest versions, never the latest.
fn prune(sizes: &[Size], size_of: &BTreeMap<String, u64>, bytes: u64) -> String {
    // How many versions show an object.
    let mut shown: BTreeMap<&String, usize> = BTreeMap::new();
    for object in sizes.iter().flat_map(|size| &size.objects) {
        *shown.entry(object).or_insert(0) += 1;
    }
    let unused: u64 = size_of.iter().filter(|(name, _)| !shown.contains_key(name)).map(|(_, size)| size).sum();
    let mut left = bytes - unused;
    let mut names = Vec::new();
    if unused > 0 {
        names.push("what no version shows".to_owned());
    }
    for size in sizes.iter().skip(1).rev() {
        if left <= MOST_BYTES {
            break;
        }
        left -= size.own;
        for object in &size.objects {
            if let Some(count) = shown.get_mut(object) {
                *count -= 1;
                if *count == 0 {
                    left -= size_of.get(object).copied().unwrap_or(0);
                }
            }
        }
        names.push(size.version.clone());
    }
    match (names.is_empty(), left <= MOST_BYTES) {
        (true, _) => "; the latest version alone is that large".to_owned(),
        (false, true) => format!("; without {} it fits (they can be rebuilt)", names.join(", ")),
        (false, false) => format!("; also without {} it is {}", names.join(", "), megabytes(left)),
    }
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn page_links(tags: &[Tag]) -> PageLinks {
    let anchors = tags.iter().filter_map(|tag| tag.attribute("id").map(str::to_owned)).collect();
    let mut links = Vec::new();
    for tag in tags {
        for attribute in ["href", "src", "data-src"] {
            if let Some(target) = tag.attribute(attribute) {
                links.push((attribute.to_owned(), target.to_owned()));
            }
        }
        if tag.name == "meta" && tag.attribute("http-equiv").is_some_and(|value| value.eq_ignore_ascii_case("refresh"))
        {
            let target = tag.attribute("content").and_then(|content| content.split_once("url="));
            links.extend(target.map(|(_, target)| ("refresh".to_owned(), target.to_owned())));
        }
    }
    PageLinks { anchors, links }
}

fn problem_of(
    page: &str,
    attribute: &str,
    target: &str,
    files: &BTreeMap<String, PathBuf>,
    pages: &BTreeMap<String, PageLinks>,
) -> Option<String> {
    // Where the browser keeps state; no element has such a name.
    let target = target.split_once("#?").map_or(target, |(path, _)| path);
    let has_scheme = target.split(['/', '#', '?']).next().is_some_and(|first| first.contains(':'));
    if has_scheme || target.starts_with("//") {
        let is_plain_link = attribute == "href" && (target.starts_with("https:") || target.starts_with("http:"));
        return (!is_plain_link).then(|| "leads out of the site".to_owned());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let resolved = match path {
        "" => page.to_owned(),
        path => match resolve(page, path) {
            Some(resolved) => resolved,
            None => return Some("leads out of the site".to_owned()),
        },
    };
    if !files.contains_key(&resolved) {
        return Some("there is no such file".to_owned());
    }
    let missing = !anchor.is_empty() && !pages.get(&resolved).is_some_and(|page| page.anchors.contains(anchor));
    missing.then(|| "there is no such anchor".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pages: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("versions.json"), "[]").expect("written");
        for (name, html) in pages {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, html).expect("written");
        }
        check(folder.path()).expect("checked").findings
    }

    #[test]
    fn finds_what_is_broken_and_nothing_else() {
        let good =
            r##"<a href="../b/index.html#there">b</a><a href="#here" id="here"><a href="https://example.org/">"##;
        assert_eq!(report(&[("a/index.html", good), ("b/index.html", r#"<p id="there">"#)]), Vec::<String>::new());
        for (html, problem) in [
            (r#"<a href="gone.html">"#, "there is no such file"),
            (r##"<a href="#gone">"##, "there is no such anchor"),
            (r#"<a href="../../etc/passwd">"#, "leads out of the site"),
            (r#"<script src="https://example.org/x.js"></script>"#, "leads out of the site"),
            (r#"<a href="javascript:alert(1)">"#, "leads out of the site"),
            (r#"<meta http-equiv="refresh" content="0; url=gone/index.html">"#, "there is no such file"),
        ] {
            let findings = report(&[("a/index.html", html)]);
            assert!(findings.len() == 1 && findings[0].ends_with(problem), "{html}: {findings:?}");
        }
        let findings = report(&[("assets/0123.js", "x")]);
        assert!(findings.len() == 1 && findings[0].contains("has the sha256"), "{findings:?}");
    }
}
