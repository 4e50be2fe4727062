//! Where the archive's repository is in the web: links to commits and to files that the site does not hold.
//!
//! GitHub, GitLab and what looks like them have the same paths for both. Nobody is asked whether the addresses answer.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Stands in `versions.json`, so that a version can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// Without a slash at its end: `https://github.com/me/benchmarks`.
    pub url: String,
    /// The archive's folder within it.
    pub folder: String,
}

impl Repository {
    /// `results` is the archive as it was named: a path below the repository's root, where it is relative.
    pub fn new(url: String, results: &Path) -> Self {
        let parts = results.components().filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let parts: Vec<&str> = parts.collect();
        let folder = match results.is_absolute() {
            true => parts.last().copied().unwrap_or_default().to_owned(),
            false => parts.join("/"),
        };
        Self { url, folder }
    }

    /// `None` for what is no commit: an archive may say anything.
    pub fn commit(&self, commit: &str) -> Option<String> {
        is_commit(commit).then(|| format!("{}/commit/{commit}", self.url))
    }

    /// The folder of the archive as it is now, for downloads: nothing sealed is ever changed, so a page that all versions
    /// share can lead there.
    pub fn raw(&self) -> String {
        format!("{}/raw/HEAD/{}", self.url, self.folder)
    }
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_of_commits_only() {
        let url = || "https://example.org/me/it".to_owned();
        let repository = Repository::new(url(), Path::new("./data/results"));
        assert_eq!(repository.commit("0123abcd").as_deref(), Some("https://example.org/me/it/commit/0123abcd"));
        assert_eq!(repository.raw(), "https://example.org/me/it/raw/HEAD/data/results");
        for text in ["", "../../x", "javascript:alert(1)", "0123ab\"", "main"] {
            assert_eq!(repository.commit(text), None, "{text}");
        }
        assert_eq!(Repository::new(url(), Path::new("/home/me/it/results")).folder, "results");
    }
}
