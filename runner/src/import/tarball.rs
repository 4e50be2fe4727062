//! A tar of one benchmark: unpacked aside, verified, and only then put into the archive, byte for byte.
//!
//! Where its id is taken by another benchmark, it gets one of its own, and `run.json` says which it had.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Component, Path},
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};
use archive::{Archive, BenchmarkId, SealOptions, seal};
use serde_json::{Value, json};
use tar::EntryType;

use super::{Imported, Unpacked, take};
use crate::export::RAW;

pub fn import(archive: &Archive, tar: &Path) -> Result<Imported> {
    let aside = Unpacked::new(archive)?;
    let id = unpack(tar, &aside.0).with_context(|| format!("{} cannot be imported", tar.display()))?;
    let unpacked = Archive::new(&aside.0);
    let verified = unpacked.verify(id);
    if !verified.damages.is_empty() || !verified.absent.is_empty() {
        let found: Vec<String> = verified.damages.iter().map(ToString::to_string).collect();
        let absent = verified.absent.iter().map(|name| format!("{id}/{name}: is not in the tar"));
        bail!(
            "{} is not what was sealed: {}",
            tar.display(),
            found.into_iter().chain(absent).collect::<Vec<_>>().join("; ")
        );
    }
    let benchmark = unpacked.open(id)?;
    // Also what a reader makes of it: a newer format is refused with both numbers.
    benchmark.run()?;
    benchmark.summary()?;

    let place = archive.folder().join(id.to_string());
    if place.exists() && archive.open(id)?.digest()? == benchmark.digest()? {
        return Ok(Imported::Present(id));
    }
    if !take(archive, id)? {
        return rename(archive, &aside.0, id, &benchmark.digest()?);
    }
    for path in archive::files_below(&benchmark.folder)? {
        fs::set_permissions(&path, Permissions::from_mode(0o444))?;
        File::open(&path)?.sync_all()?;
    }
    take_raw(archive, &aside.0)?;
    fs::rename(&benchmark.folder, &place).with_context(|| format!("cannot create {}", place.display()))?;
    Ok(Imported::New(id))
}

/// Unpacks a tar into an empty folder; returns the benchmark that it holds.
fn unpack(tar: &Path, folder: &Path) -> Result<BenchmarkId> {
    let file = File::open(tar).context("it cannot be opened")?;
    let mut found = None;
    for entry in tar::Archive::new(BufReader::new(file)).entries().context("it is no tar")? {
        let mut entry = entry.context("it is no tar, or is cut off")?;
        let path = entry.path()?.into_owned();
        let shown = path.display().to_string().escape_debug().to_string();
        // Whoever made it: no links, no devices, nothing outside the folder.
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Directory => continue,
            other => bail!("it holds `{shown}`, which is no file ({other:?})"),
        }
        let parts: Vec<_> = path.components().collect();
        let plain = parts.len() >= 2 && parts.iter().all(|part| matches!(part, Component::Normal(_)));
        ensure!(plain, "it holds `{shown}`: expected BM-YYYYMMDD-NNN/… and {RAW}/…");
        let top = parts[0].as_os_str().to_string_lossy();
        if top != RAW {
            let id = BenchmarkId::from_str(&top).with_context(|| format!("it holds `{shown}`"))?;
            ensure!(*found.get_or_insert(id) == id, "it holds several benchmarks");
        }
        let place = folder.join(&path);
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        let mut out = File::create_new(&place).with_context(|| format!("it holds `{shown}` twice"))?;
        io::copy(&mut entry, &mut out)?;
    }
    found.context("it holds no benchmark")
}

fn take_raw(archive: &Archive, from: &Path) -> Result<()> {
    for entry in fs::read_dir(from.join(RAW)).into_iter().flatten() {
        let entry = entry?;
        let store = archive.folder().join(RAW);
        fs::create_dir_all(&store)?;
        archive::ignore_in_git(&store)?;
        fs::set_permissions(entry.path(), Permissions::from_mode(0o444))?;
        // A name is a digest, and was compared with its bytes.
        fs::rename(entry.path(), store.join(entry.file_name()))?;
    }
    Ok(())
}

/// Seals it anew under a free id. Everything but ids stays as it was.
fn rename(archive: &Archive, aside: &Path, was: BenchmarkId, digest: &str) -> Result<Imported> {
    let (old, unpacked) = (aside.join(was.to_string()), Archive::new(aside));
    // The same tar once before.
    for id in archive.ids()? {
        let run = archive.open(id).and_then(|benchmark| benchmark.run());
        if run.is_ok_and(|run| run.other.get("imported").and_then(|facts| facts["digest"].as_str()) == Some(digest)) {
            return Ok(Imported::Present(id));
        }
    }
    let id = archive.allocate()?;
    // Back into the folder: the seal decides anew what stays outside git.
    for (name, entry) in unpacked.open(was)?.manifest.files.into_iter().filter(|(_, entry)| entry.external) {
        fs::rename(aside.join(RAW).join(&entry.sha256), old.join(&name))?;
    }
    let mut run: Value = serde_json::from_slice(&fs::read(old.join("run.json"))?)?;
    let text = was.to_string();
    run["benchmark_id"] = json!(id);
    for event in run["events"].as_array_mut().into_iter().flatten() {
        if event["benchmark_id"] == text.as_str() {
            event["benchmark_id"] = json!(id);
        }
    }
    run["imported"] = json!({ "from": "tar", "benchmark_id": was, "digest": digest });
    fs::remove_file(old.join("run.json"))?;
    fs::write(old.join("run.json"), format!("{run:#}\n"))?;
    fs::remove_file(old.join("manifest.json"))?;
    seal(archive.folder(), id, &old, &SealOptions::default())?;
    Ok(Imported::Renamed { id, was })
}
