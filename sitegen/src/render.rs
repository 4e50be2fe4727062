//! Pages → bytes: templates, and the data of charts, in the page when small and in a script beside it when not.
//!
//! Everything from the archive passes through the templates' escaping; data in scripts cannot end the script.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tera::{Context, Tera};

use crate::{
    load::Contents,
    pages::{Page, Still},
    relink::Links,
    repository::Repository,
    text,
    theme::Theme,
};

/// What the options of a page's charts may take in it; the others are put into scripts of their own, loaded when the
/// chart is scrolled to.
const INLINE_LIMIT: usize = 50 << 10;

/// The theme's files that pages load: name in templates, file in the theme, extension.
const ASSETS: [(&str, &str, &str); 5] = [
    ("css", "site.css", "css"),
    ("js", "site.js", "js"),
    ("compare", "compare.js", "js"),
    ("run", "run.js", "js"),
    ("echarts", "vendor/echarts.min.js", "js"),
];

/// Renders the pages of one version.
pub struct Renderer {
    tera: Tera,
    site: Value,
    /// The same for pages that all versions share.
    shared: Value,
    /// sha256 of the theme, and of what pages know of where they will be.
    digest: String,
    /// File name within `assets/` → bytes.
    assets: BTreeMap<String, Vec<u8>>,
}

/// One file of a version: its path, and what it holds.
pub type File = (String, Vec<u8>);

impl Renderer {
    /// `base_url` is where the folder of all versions will be.
    pub fn new(theme: Theme, version: &str, base_url: Option<&str>, contents: &Contents) -> Result<Self> {
        let mut tera = Tera::new();
        // Every template is HTML, whatever it is called.
        tera.autoescape_on([""]);
        tera.set_escape_fn(text::write_escaped);
        tera.add_raw_templates(theme.templates()?).context("the theme's templates do not parse")?;
        let mut assets = BTreeMap::new();
        let mut names = serde_json::Map::new();
        for (key, file, extension) in ASSETS {
            let bytes = theme.file(file)?.to_vec();
            let name = format!("{}.{extension}", archive::sha256_hex(&bytes));
            names.insert(key.to_owned(), json!(name));
            assets.insert(name, bytes);
        }
        let short = |text: &str| text.get(..12).unwrap_or(text).to_owned();
        let address = |folder: &str| base_url.map(|url| format!("{url}/{folder}/")).unwrap_or_default();
        let shared = json!({
            "version": "",
            "raw": contents.repository.as_ref().map(Repository::raw),
            "address": address("latest"),
            "build": env!("CARGO_PKG_VERSION"),
            "assets": names,
        });
        let site = json!({
            "version": version,
            "address": address(version),
            "commit": contents.commit.as_deref().map(short),
            "digest": short(&contents.digest),
            "build": env!("CARGO_PKG_VERSION"),
            "assets": names,
            "commit_page": contents.repository.as_ref().zip(contents.commit.as_ref()).and_then(|(at, commit)| at.commit(commit)),
        });
        let digest =
            archive::sha256_hex(format!("{} {} {:?}", theme.digest(), address(""), contents.repository).as_bytes());
        Ok(Self { tera, site, shared, digest, assets })
    }

    pub fn assets(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.assets
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The page, and the scripts with data that it loads, by their paths within a version, with the links of `links`. A page
    /// that versions share names the digest of its `source` in place of a version.
    pub fn render(&self, page: &Page, links: Links<'_>, source: Option<&str>) -> Result<Vec<File>> {
        let script = |(path, text): &(String, String)| (path.clone(), links.data(text, &page.path).into_bytes());
        let mut files: Vec<File> = page.scripts.iter().map(script).collect();
        let mut context = page.context.clone();
        if let Some(charts) = context.get_mut("charts").and_then(Value::as_array_mut) {
            for (chart, of_page) in charts.iter_mut().zip(&page.stills) {
                let path = match of_page {
                    Still::At(path) => path.clone(),
                    Still::Drawn(svg) => {
                        let path = format!("data/{}.svg", key(page, chart["id"].as_str().unwrap_or_default()));
                        files.push((path.clone(), svg.clone().into_bytes()));
                        path
                    }
                    Still::None => continue,
                };
                chart["still"] = json!(format!("{}{path}", page.to_version()));
            }
        }
        if let Some(charts) = context.get_mut("charts").and_then(Value::as_array_mut) {
            let mut left = INLINE_LIMIT;
            for chart in charts {
                let option = script_json(&chart["option"].take());
                if option.len() <= left {
                    left -= option.len();
                    chart["inline"] = json!(option);
                    continue;
                }
                let key = key(page, chart["id"].as_str().unwrap_or_default());
                let path = format!("data/{key}.js");
                chart["src"] = json!(format!("{}{path}", page.to_version()));
                chart["key"] = json!(key);
                files.push((
                    path,
                    format!("siteChart({}, {});\n", script_json(&json!(key)), links.data(&option, &page.path))
                        .into_bytes(),
                ));
            }
        }
        let mut values = Context::from_serialize(&context).context("the page's context is no map")?;
        values.insert("site", if source.is_some() { &self.shared } else { &self.site });
        values.insert("made_from", &source.map(|digest| digest.get(..12).unwrap_or(digest)));
        values.insert("to_version", &page.to_version());
        values.insert("to_site", &format!("{}../", page.to_version()));
        values.insert("has_charts", &page.has_charts);
        values.insert("path", &page.path);
        let html = self.tera.render(page.template, &values).with_context(|| format!("cannot render {}", page.path))?;
        files.push((page.path.clone(), links.html(&html, &page.path).into_bytes()));
        Ok(files)
    }

    /// A page that leads to `target`, a relative path, at once.
    pub fn redirect(&self, target: &str) -> Result<Vec<u8>> {
        let mut values = Context::new();
        values.insert("target", target);
        Ok(self.tera.render("redirect.html", &values).context("cannot render a redirect")?.into_bytes())
    }
}

/// Name of a chart within the version.
fn key(page: &Page, chart: &str) -> String {
    format!("{}-{chart}", page.path.trim_end_matches("/index.html").replace('/', "-"))
}

pub use text::script_json;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_script() {
        let value = json!({ "name": "</script><script>alert(1)</script><!--" });
        let text = script_json(&value);
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("still JSON"), value);
    }
}
