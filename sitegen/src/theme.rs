//! Themes: templates, style sheet, scripts. The default one is part of the program; a folder can replace any file of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../themes/default"]
struct Default;

/// The files of a theme: path with `/` → bytes.
pub struct Theme {
    files: BTreeMap<String, Vec<u8>>,
}

impl Theme {
    /// The default theme, with the files of `folder` in place of those of the same name.
    pub fn load(folder: Option<&Path>) -> Result<Self> {
        let mut files: BTreeMap<String, Vec<u8>> = Default::iter()
            .filter_map(|name| Some((name.to_string(), Default::get(&name)?.data.into_owned())))
            .collect();
        if let Some(folder) = folder {
            if !folder.is_dir() {
                bail!("the theme {} is no folder", folder.display());
            }
            for (name, path) in files_below(folder)? {
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files.insert(name, bytes);
            }
        }
        Ok(Self { files })
    }

    pub fn file(&self, name: &str) -> Result<&[u8]> {
        self.files.get(name).map(Vec::as_slice).with_context(|| format!("the theme has no {name}"))
    }

    /// sha256 over names and contents.
    pub fn digest(&self) -> String {
        let lines = self.files.iter().map(|(name, bytes)| format!("{} {name}\n", archive::sha256_hex(bytes)));
        archive::sha256_hex(lines.collect::<String>().as_bytes())
    }

    /// Name within `templates/` and text of every template.
    pub fn templates(&self) -> Result<Vec<(&str, &str)>> {
        let templates = self.files.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("templates/")?, bytes)));
        templates
            .map(|(name, bytes)| {
                Ok((name, std::str::from_utf8(bytes).with_context(|| format!("template {name} is no text"))?))
            })
            .collect()
    }
}

/// Path with `/` relative to `folder`, and full path, of every file below it.
pub fn files_below(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((format!("{name}/"), entry.path()));
            } else if kind.is_file() {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendored_library_is_the_one_its_note_names() {
        let theme = Theme::load(None).expect("embedded");
        let note = String::from_utf8(theme.file("vendor/README.md").expect("present").to_vec()).expect("text");
        let digest = archive::sha256_hex(theme.file("vendor/echarts.min.js").expect("present"));
        assert!(note.contains(&digest), "{digest} is not in vendor/README.md");
        assert!(note.contains("5.6.0"));
        for licence in ["vendor/LICENSE", "vendor/NOTICE"] {
            theme.file(licence).expect("present");
        }
    }

    #[test]
    fn a_folder_replaces_single_files() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("site.css"), "body {}").expect("written");
        let theme = Theme::load(Some(folder.path())).expect("loaded");
        assert_eq!(theme.file("site.css").expect("present"), b"body {}");
        assert!(theme.templates().expect("text").iter().any(|(name, _)| *name == "base.html"));
        assert!(Theme::load(Some(Path::new("/nowhere"))).is_err());
    }
}
