//! Checks of a built site: links lead somewhere, anchors exist, assets are what their names say, nothing is loaded
//! from elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use crate::{
    html::{Tag, tags},
    theme::files_below,
    write::{VersionEntry, digest_of},
};

pub struct Report {
    pub pages: usize,
    pub links: usize,
    /// One line each, sorted.
    pub findings: Vec<String>,
    /// Bytes of each version, the latest first.
    pub sizes: Vec<(String, u64)>,
    /// Of everything, assets included.
    pub bytes: u64,
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
    let read = |(name, path): (&String, &std::path::PathBuf)| {
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
    for entry in &versions {
        let folder = root.join(&entry.version);
        let Some(digest) = &entry.files_digest else { continue };
        if digest_of(&folder)? != *digest {
            findings.push(format!(
                "{}: is not as it was published; `sitegen rebuild {}` makes it again",
                entry.version, entry.version
            ));
        }
    }
    let size = |name: &str| -> Result<u64> {
        let prefix = format!("{name}/");
        let own = files.iter().filter(|(path, _)| path.starts_with(&prefix));
        own.map(|(_, path)| Ok(fs::metadata(path)?.len())).sum()
    };
    let mut sizes = Vec::new();
    for entry in &versions {
        sizes.push((entry.version.clone(), size(&entry.version)?));
    }
    let bytes = files.values().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
    if bytes > MOST_BYTES {
        findings.push(format!(
            "{} in all: more than the 1 GB of common static hosting{}",
            megabytes(bytes),
            prune(&sizes, bytes)
        ));
    }
    findings.sort();
    let links = pages.values().map(|page| page.links.len()).sum();
    Ok(Report { pages: pages.len(), links, findings, sizes, bytes })
}

/// What to remove so that the rest fits: the oldest versions, never the latest.
fn prune(sizes: &[(String, u64)], bytes: u64) -> String {
    let mut left = bytes;
    let mut names = Vec::new();
    for (name, size) in sizes.iter().skip(1).rev() {
        if left <= MOST_BYTES {
            break;
        }
        left -= size;
        names.push(name.as_str());
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
    files: &BTreeMap<String, std::path::PathBuf>,
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

/// The target of a relative link, from the root of the site; `None` when it leads above it.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
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
