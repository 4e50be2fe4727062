//! Digests of files that a benchmark rests on and that are not archived: volumes, models, data sets.
//!
//! Contents are read up to 1 GiB; of more only names, sizes and times. Nothing but regular files is opened, so that neither a
//! pipe nor a device can block or be emptied; more than 10,000 files are no data set but somebody's disk, and are left.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use archive::DataFacts;
use serde_json::Value;

use super::{ServicePlan, container::digest};
use crate::services::ServiceType;

/// How much is looked at.
#[derive(Clone, Copy)]
struct Limits {
    content_bytes: u64,
    files: usize,
}

const LIMITS: Limits = Limits { content_bytes: 1 << 30, files: 10_000 };

/// Trees of the kernel's, where reading has effects.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Something to look at; with no digest yet.
fn wanted(role: &str, named_by: &str, path: &str, writable: bool) -> DataFacts {
    DataFacts {
        path: path.to_owned(),
        role: role.to_owned(),
        named_by: named_by.to_owned(),
        writable,
        ..DataFacts::default()
    }
}

/// What the service rests on, as far as the recipe tells. Volumes are bound into containers only; what settings name is
/// here where the service was started by us.
pub fn of_service(plan: &ServicePlan, kind: &dyn ServiceType, started_as: &str) -> Vec<DataFacts> {
    let mut found: Vec<DataFacts> = plan.data.iter().map(|path| wanted("service", "data", path, false)).collect();
    if started_as == "external" {
        return found;
    }
    for volume in plan.volumes.iter().filter(|_| started_as != "child") {
        let mut parts = volume.split(':');
        let host = parts.next().unwrap_or_default();
        let read_only = parts.nth(1).is_some_and(|options| options.split(',').any(|option| option == "ro"));
        // What is no path is a volume that the container engine keeps.
        if host.starts_with('/') {
            found.push(wanted("service", "volumes", host, !read_only));
        }
    }
    for setting in kind.data_settings() {
        let path = plan.settings.get(setting).and_then(Value::as_str).unwrap_or_default();
        // A model's name on a hub is no path, and a path may be one of the image.
        if path.starts_with('/') && Path::new(path).exists() {
            found.push(wanted("service", &format!("settings.{setting}"), path, false));
        }
    }
    found
}

/// What the clients rest on.
pub fn of_client(paths: &[String]) -> Vec<DataFacts> {
    paths.iter().map(|path| wanted("client", "data", path, false)).collect()
}

/// Looks at all of it. What cannot be read says why, and is no reason to measure nothing.
pub fn look(wanted: Vec<DataFacts>) -> Vec<DataFacts> {
    let look = |mut facts: DataFacts| {
        if let Err(err) = fill(&mut facts, LIMITS) {
            facts.unknown = Some(format!("{err:#}"));
        }
        facts
    };
    wanted.into_iter().map(look).collect()
}

/// [`look`] on a thread of its own: whoever waits can go on to other things, and end.
pub async fn looked(wanted: Vec<DataFacts>) -> Vec<DataFacts> {
    if wanted.is_empty() {
        return wanted;
    }
    let unread = wanted.clone();
    let (send, receive) = tokio::sync::oneshot::channel();
    // A thread, not a task: a runtime waits for its tasks' reads.
    std::thread::spawn(move || send.send(look(wanted)));
    receive.await.unwrap_or_else(|_| {
        let unknown = |facts| DataFacts { unknown: Some("the thread that reads it panicked".into()), ..facts };
        unread.into_iter().map(unknown).collect()
    })
}

fn fill(facts: &mut DataFacts, limits: Limits) -> Result<()> {
    let path = fs::canonicalize(&facts.path)?;
    if KERNELS.iter().any(|tree| path.starts_with(tree)) {
        bail!("it is the kernel's");
    }
    let files = files(&path, limits.files)?;
    facts.files = files.len() as u64;
    facts.size_bytes = files.iter().map(|file| file.size_bytes).sum();
    if facts.size_bytes > limits.content_bytes {
        facts.listing_sha256 = Some(listing(&files));
        return Ok(());
    }
    facts.content_sha256 = Some(match path.is_dir() {
        true => content(&path, &files)?,
        false => digest(&path)?.1,
    });
    Ok(())
}

/// A regular file, or a link to one, by its path from the root of what is looked at.
struct Found {
    name: OsString,
    size_bytes: u64,
    changed: Duration,
}

/// All below `root`, in the order of their names' bytes. Links to folders are not followed: they may lead in circles.
fn files(root: &Path, most: usize) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut add = |path: &Path, name: &Path| -> Result<()> {
        let facts = fs::metadata(path)?;
        if facts.is_file() {
            let changed = Duration::new(facts.mtime().max(0) as u64, facts.mtime_nsec() as u32);
            found.push(Found { name: name.into(), size_bytes: facts.len(), changed });
        }
        if found.len() > most {
            bail!("more than {most} files");
        }
        Ok(())
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    match root.is_dir() {
        true => folders.push(PathBuf::new()),
        false => add(root, Path::new(""))?,
    }
    let mut entries = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            entries += 1;
            if entries > 4 * most {
                bail!("more than {} files, folders and links", 4 * most);
            }
            let name = folder.join(entry.file_name());
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(name),
                // One that leads nowhere is no file.
                kind if kind.is_symlink() && !entry.path().exists() => {}
                _ => add(&entry.path(), &name)?,
            }
        }
    }
    found.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    Ok(found)
}

fn content(root: &Path, files: &[Found]) -> io::Result<String> {
    let mut lines = Vec::new();
    for file in files {
        let (_, sha256) = digest(&root.join(&file.name))?;
        line(&mut lines, &format!("{sha256}  "), file.name.as_bytes());
    }
    Ok(archive::sha256_hex(&lines))
}

fn listing(files: &[Found]) -> String {
    let mut lines = Vec::new();
    for file in files {
        let facts = format!("{} {}.{:09} ", file.size_bytes, file.changed.as_secs(), file.changed.subsec_nanos());
        line(&mut lines, &facts, file.name.as_bytes());
    }
    archive::sha256_hex(&lines)
}

/// As `sha256sum` writes it: a name with a line break or a backslash has them escaped, and a backslash before the line.
fn line(lines: &mut Vec<u8>, facts: &str, name: &[u8]) {
    if name.iter().any(|byte| b"\\\n\r".contains(byte)) {
        lines.push(b'\\');
    }
    lines.extend_from_slice(facts.as_bytes());
    for byte in name {
        match byte {
            b'\\' => lines.extend_from_slice(b"\\\\"),
            b'\n' => lines.extend_from_slice(b"\\n"),
            b'\r' => lines.extend_from_slice(b"\\r"),
            other => lines.push(*other),
        }
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    fn looked_at(path: &Path, limits: Limits) -> DataFacts {
        let mut facts = wanted("service", "data", path.to_str().expect("text"), false);
        if let Err(err) = fill(&mut facts, limits) {
            facts.unknown = Some(err.to_string());
        }
        facts
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["a/b", "a-b", "blobs"] {
            fs::create_dir_all(root.join(name)).expect("created");
        }
        for (name, text) in [("a/b/weights", "1"), ("a-b/x", "2"), ("a/z\\y\nx", "3"), ("blobs/0", "4"), ("é", "")] {
            fs::write(root.join(name), text).expect("written");
        }
        symlink("../blobs/0", root.join("a/model")).expect("linked");
        symlink("..", root.join("a/circle")).expect("linked");
        symlink("nowhere", root.join("a/broken")).expect("linked");
        assert!(Command::new("mkfifo").arg(root.join("a/pipe")).status().expect("it runs").success());
        folder
    }

    #[test]
    fn a_shell_comes_to_the_same_digest() {
        let folder = folder();
        let facts = looked_at(folder.path(), LIMITS);
        let by_shell = Command::new("sh")
            .args(["-c", "find . -xtype f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let by_shell = String::from_utf8(by_shell.stdout).expect("text");
        assert_eq!(facts.content_sha256.as_deref(), by_shell.split(' ').next());
        assert_eq!((facts.files, facts.size_bytes, facts.unknown, facts.listing_sha256), (6, 5, None, None));
        let file = folder.path().join("a-b/x");
        assert_eq!(looked_at(&file, LIMITS).content_sha256, Some(archive::sha256_hex(b"2")));
    }

    #[test]
    fn what_a_recipe_names_is_looked_at_where_it_is() {
        let folder = folder();
        let model = folder.path().to_str().expect("text");
        let plan = |model: &str| -> ServicePlan {
            serde_json::from_value(serde_json::json!({
                "name": "", "kind": "vllm", "settings": { "model": model }, "env": {}, "pre_run_commands": [],
                "volumes": ["/a:/b:ro", "/c:/d", "kept:/e", "/f"], "data": ["/g"], "ready_timeout_s": 1.0,
            }))
            .expect("a plan")
        };
        let kind = crate::services::of_recipe("vllm").expect("known");
        let named = |model: &str, started_as: &str| {
            let found = of_service(&plan(model), kind, started_as);
            found.into_iter().map(|data| (data.named_by, data.path, data.writable)).collect::<Vec<_>>()
        };
        let fact = |by: &str, path: &str, writable| (by.to_owned(), path.to_owned(), writable);
        let data = fact("data", "/g", false);
        let volumes = [fact("volumes", "/a", false), fact("volumes", "/c", true), fact("volumes", "/f", true)];
        let setting = fact("settings.model", model, false);
        let in_a_container = [vec![data.clone()], volumes.to_vec(), vec![setting.clone()]].concat();
        assert_eq!(named(model, "apptainer"), in_a_container);
        assert_eq!(named(model, "child"), [data.clone(), setting]);
        for (model, started_as) in [("facebook/opt-125m", "child"), (model, "external")] {
            assert_eq!(named(model, started_as), std::slice::from_ref(&data), "{model} {started_as}");
        }
    }

    #[test]
    fn any_change_is_another_digest_and_a_copy_is_not() {
        let folder = folder();
        let root = folder.path();
        let digest = || looked_at(root, LIMITS).content_sha256.expect("read");
        let before = digest();
        let copy = tempfile::tempdir().expect("a folder");
        let copied = Command::new("cp").arg("-dR").arg(root.join(".")).arg(copy.path()).status();
        assert!(copied.expect("it runs").success());
        assert_eq!(looked_at(copy.path(), LIMITS).content_sha256.as_ref(), Some(&before));
        let mut seen = vec![before];
        let changes: [&dyn Fn() -> io::Result<()>; 4] = [
            &|| fs::write(root.join("blobs/0"), "5"),
            &|| fs::rename(root.join("a-b/x"), root.join("a-b/y")),
            &|| fs::write(root.join("a/new"), ""),
            &|| fs::remove_file(root.join("a/model")),
        ];
        for change in changes {
            change().expect("changed");
            let now = digest();
            assert!(!seen.contains(&now));
            seen.push(now);
        }
    }

    #[test]
    fn what_is_too_large_is_listed_and_what_cannot_be_read_says_why() {
        let folder = folder();
        let small = Limits { content_bytes: 3, files: 10 };
        let listed = looked_at(folder.path(), small);
        assert!(listed.content_sha256.is_none() && listed.listing_sha256.is_some(), "{listed:?}");
        assert_eq!(looked_at(folder.path(), small), listed);
        fs::write(folder.path().join("a-b/x"), "9").expect("written");
        assert_ne!(looked_at(folder.path(), small).listing_sha256, listed.listing_sha256, "the time is another");
        let many = |files| looked_at(folder.path(), Limits { files, ..LIMITS }).unknown.unwrap_or_default();
        assert_eq!((many(5).as_str(), many(6).as_str()), ("more than 5 files", ""));
        assert_eq!(many(2), "more than 8 files, folders and links");
        assert_eq!(looked_at(Path::new("/proc/self"), LIMITS).unknown.as_deref(), Some("it is the kernel's"));
        assert!(looked_at(Path::new("/not/there"), LIMITS).unknown.is_some_and(|why| why.contains("No such file")));
    }
}
