//! Where the pages of a built site are.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file that a version shows at a path, its own or an object's; files beside a page are found by the page.
pub fn place(site: &Path, version: &str, path: &str) -> PathBuf {
    find(site, version, path).unwrap_or_else(|| panic!("{version} has no {path}"))
}

pub fn find(site: &Path, version: &str, path: &str) -> Option<PathBuf> {
    let own = site.join(version).join(path);
    if own.is_file() {
        return Some(own);
    }
    let data = |path: PathBuf| -> serde_json::Value {
        let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let (_, data) = text.trim_end().strip_suffix(");").and_then(|text| text.split_once('(')).expect("a call");
        serde_json::from_str(data).expect("data")
    };
    let of_version = data(site.join(version).join("data/pages.js"));
    let lists = of_version["places"].as_array().expect("lists").iter();
    let entries: Vec<serde_json::Value> = lists
        .flat_map(|name| {
            data(site.join("assets").join(name.as_str().expect("a name"))).as_array().expect("a list").clone()
        })
        .collect();
    let known = |path: &str| {
        let entry = entries.iter().find(|entry| entry[0] == path)?;
        Some(site.join(entry[1].as_str().expect("a path")))
    };
    let mut folder = path;
    known(path).or_else(|| {
        loop {
            folder = folder.rsplit_once('/')?.0;
            if let Some(page) = known(&format!("{folder}/index.html")) {
                let file = page.parent()?.join(&path[folder.len() + 1..]);
                return file.is_file().then_some(file);
            }
        }
    })
}
