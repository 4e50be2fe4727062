use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;
use crate::{SealOptions, seal};

/// An archive with one small benchmark, whose request file is in the raw store.
fn sealed() -> (tempfile::TempDir, Archive, BenchmarkId, PathBuf) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let id = BenchmarkId::new(20260301, 1);
    let staged = folder.path().join(".work/staging");
    fs::create_dir_all(staged.join("logs")).expect("created");
    for (name, text) in [
        ("run.json", "{\"schema\": 1}"),
        ("summary.json", "{\"schema\": 1, \"total_requests\": 3}"),
        ("logs/service.log", "started\n"),
        ("logs/client.log", "done\n"),
        ("requests.jsonl.zst", &"x".repeat(100)),
    ] {
        fs::write(staged.join(name), text).expect("written");
    }
    seal(folder.path(), id, &staged, &SealOptions { raw_limit_bytes: 99, ..SealOptions::default() }).expect("sealed");
    let place = folder.path().join(id.to_string());
    for path in crate::files_below(folder.path()).expect("files") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("writable");
    }
    let archive = Archive::new(folder.path());
    (folder, archive, id, place)
}

fn said(archive: &Archive, id: BenchmarkId) -> Vec<String> {
    archive.verify(id).damages.iter().map(ToString::to_string).collect()
}

#[test]
fn what_was_sealed_verifies() {
    let (_folder, archive, id, place) = sealed();
    let verified = archive.verify(id);
    assert_eq!((verified.damages, verified.files, verified.absent), (vec![], 6, vec![]));
    assert_eq!(verified.digest, archive.open(id).expect("opened").digest().ok());
    // An empty folder is nothing to git; a signature is the one file that nothing lists.
    fs::create_dir(place.join("empty")).expect("created");
    fs::write(place.join(SIGNATURE), "signed").expect("written");
    assert_eq!(said(&archive, id), [""; 0]);
}

#[test]
fn every_bit_of_every_file_counts() {
    let (folder, archive, id, _place) = sealed();
    let mut flipped = 0;
    for path in crate::files_below(folder.path()).expect("files") {
        let sealed = fs::read(&path).expect("read");
        if path.ends_with(".gitignore") {
            continue;
        }
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let file = if path.to_string_lossy().contains("/.raw/") { "requests.jsonl.zst" } else { &name };
        for place in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            fs::write(&path, bytes).expect("written");
            let damages = archive.verify(id).damages;
            flipped += 1;
            let about = |damage: &Damage| damage.file.as_ref().is_some_and(|of| of.ends_with(file));
            // A flip in the manifest shows there, or in the file whose entry it is in. An entry of the raw store names
            // no file of the folder: only git tells that it was another.
            let named = damages.iter().any(|damage| name == MANIFEST || about(damage))
                || name == MANIFEST
                    && String::from_utf8_lossy(&sealed[..place / 8]).contains("\"logs/service.log\"")
                    && !String::from_utf8_lossy(&sealed[..place / 8]).contains("\"run.json\"");
            assert!(named, "bit {place} of {name}: {damages:?}");
        }
        fs::write(&path, sealed).expect("written");
    }
    assert_eq!(said(&archive, id), [""; 0]);
    assert!(flipped > 7000, "{flipped}");
}

#[test]
fn says_what_became_of_a_file() {
    type Change = fn(&Path);
    let cases: [(Change, &[&str]); 9] = [
        (|place| fs::remove_file(place.join("run.json")).expect("removed"), &["/run.json: is missing (13 bytes"]),
        (|place| fs::write(place.join("new"), "x").expect("written"), &["/new: a file that was not sealed"]),
        (
            |place| fs::rename(place.join("run.json"), place.join("run2.json")).expect("renamed"),
            &["/run.json: is missing: its bytes are in run2.json now", "/run2.json: a file that was not sealed"],
        ),
        (
            |place| {
                let logs = place.join("logs");
                fs::rename(logs.join("client.log"), logs.join("x")).expect("renamed");
                fs::rename(logs.join("service.log"), logs.join("client.log")).expect("renamed");
                fs::rename(logs.join("x"), logs.join("service.log")).expect("renamed");
            },
            &[
                "/logs/client.log: holds the bytes sealed as logs/service.log",
                "/logs/service.log: holds the bytes sealed",
            ],
        ),
        (
            |place| fs::write(place.join("run.json"), "{}").expect("written"),
            &["/run.json: has 2 bytes, 13 were sealed"],
        ),
        (
            |place| {
                fs::remove_file(place.join("run.json")).expect("removed");
                std::os::unix::fs::symlink("summary.json", place.join("run.json")).expect("linked");
            },
            &["/run.json: is a link or a device, and a file was sealed"],
        ),
        (
            |place| fs::remove_file(place.join(MANIFEST)).expect("removed"),
            &["/manifest.json: is missing: nothing says"],
        ),
        (
            |place| {
                let text = fs::read_to_string(place.join(MANIFEST)).expect("read");
                fs::write(place.join(MANIFEST), text.replace("20260301-001", "20260301-002")).expect("written");
            },
            &["/manifest.json: is the manifest of BM-20260301-002"],
        ),
        (
            |place| {
                let text = fs::read_to_string(place.join(MANIFEST)).expect("read");
                fs::write(place.join(MANIFEST), text.replace("run.json", "../run.json")).expect("written");
            },
            &["/manifest.json: is not as a manifest is written"],
        ),
    ];
    for (change, expected) in cases {
        let (_folder, archive, id, place) = sealed();
        change(&place);
        let said = said(&archive, id);
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(&format!("{id}{expected}")), "{said} is not {expected}");
        }
    }
}

#[test]
fn a_folder_that_is_another_is_no_benchmark() {
    let (folder, archive, id, place) = sealed();
    let other = BenchmarkId::new(20260301, 2);
    std::os::unix::fs::symlink(&place, folder.path().join(other.to_string())).expect("linked");
    assert_eq!(said(&archive, other), [format!("{other}: its folder cannot be read: it is a link or a file")]);
    fs::remove_dir_all(&place).expect("removed");
    assert!(said(&archive, id)[0].contains("cannot be read"));
}

#[test]
fn a_raw_file_elsewhere_is_absent_and_no_damage() {
    let (folder, archive, id, _place) = sealed();
    fs::remove_dir_all(folder.path().join(".raw")).expect("removed");
    let verified = archive.verify(id);
    assert_eq!((verified.damages, verified.absent), (vec![], vec!["requests.jsonl.zst".to_owned()]));
}
