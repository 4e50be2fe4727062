//! `runner verify` on an archive that the runner made, and on what somebody did to it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use archive::{Archive, Asked, BenchmarkId};

use crate::project::Project;

const SMALL: &str = "\
name: small
recipe:
  configuration: {target: local}
  service: {type: simulator, settings: {prefill_base_s: 1ms, decode_per_token_s: 0}}
  client: {type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}
  benchmarks: {num_requests: 4}
sweep:
  benchmarks.num_clients: [1, 2]
";

fn verify(project: &Project, args: &[&str], code: i32) -> serde_json::Value {
    let finished = project.runner(&[&["verify", "--json"], args].concat());
    finished.code(code);
    serde_json::from_str(&finished.stdout()).expect("JSON")
}

/// The kinds of damage found, with their files.
fn kinds(answer: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let damages = answer["damages"].as_array().expect("a list");
    damages.iter().map(|damage| (text(&damage["kind"]), text(&damage["file"]))).collect()
}

fn replace(path: &Path, from: &str, to: &str) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("writable");
    let text = fs::read_to_string(path).expect("read");
    assert!(text.contains(from), "{} lacks {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn the_archive_verifies_until_somebody_touches_it() {
    let project = Project::new();
    project.write("small.yaml", SMALL);
    project.runner(&["run", "small.yaml"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let sound = verify(&project, &[], 0);
    assert_eq!((&sound["benchmarks"], &sound["damages"]), (&2.into(), &serde_json::json!([])));
    assert_eq!((&sound["history"]["commits"], &sound["known_benchmarks"]), (&3.into(), &0.into()));
    // What bytes decide that did not change is not found again, unless it is asked for.
    let again = verify(&project, &[], 0);
    assert_eq!((&again["known_benchmarks"], &again["history"]["known_commits"]), (&2.into(), &3.into()));
    let anew = verify(&project, &["--anew"], 0);
    assert_eq!((&anew["known_benchmarks"], &anew["history"]["known_commits"]), (&0.into(), &0.into()));
    let text = project.runner(&["verify", "-001", "-002"]);
    text.code(0);
    assert!(text.stdout().contains("2 benchmarks") && text.stdout().contains("all is as it was sealed"));

    // A better figure, and a manifest that fits it: the requests, and the commit, say otherwise.
    let folder = project.root().join("results").join(id.to_string());
    let summary = folder.join("summary.json");
    replace(&summary, "\"successful_requests\": 4", "\"successful_requests\": 5");
    let changed = verify(&project, &["-001"], 1);
    assert_eq!(kinds(&changed), [("changed".to_owned(), "summary.json".to_owned())]);
    let sha256 = |file: &str| archive::sha256_hex(&fs::read(folder.join(file)).expect("read"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).expect("read")).expect("JSON");
    let sealed = manifest["files"]["summary.json"]["sha256"].as_str().expect("a digest");
    replace(&folder.join("manifest.json"), sealed, &sha256("summary.json"));
    let forged = kinds(&verify(&project, &["-001"], 1));
    assert_eq!(
        forged,
        [("summary", "summary.json"), ("history", "manifest.json"), ("history", "summary.json")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    assert_eq!(kinds(&verify(&project, &["--digests"], 0)), []);
    // Committed, it is in nobody's way but the history's.
    project.git(&["branch", "published"]);
    project.git(&["commit", "-q", "-a", "-m", "correct a figure"]);
    let committed = kinds(&verify(&project, &[], 1));
    assert!(committed.contains(&("history".to_owned(), "summary.json".to_owned())), "{committed:?}");
    assert!(!kinds(&verify(&project, &["--append-only", "published"], 1)).is_empty());
    verify(&project, &["-002", "--append-only", "published"], 0);
    project.runner(&["verify", "--append-only", "nowhere"]).code(2);
    project.runner(&["verify", "--results", "gone"]).code(2);
}

/// What `verify` finds wrong with a benchmark, by the file it is in: files first, then the history.
fn damaged(archive: &Archive, id: BenchmarkId) -> Vec<String> {
    let verified = archive.verify(id);
    let only = [id];
    let read: HashMap<_, _> = verified.on_disk().map(|on_disk| (id, on_disk)).into_iter().collect();
    let asked = Asked { only: Some(&only), read: Some(&read), ..Asked::default() };
    let history = archive::audit(archive.folder(), &asked).expect("audited");
    let all = verified.damages.into_iter().chain(history.damages);
    all.map(|damage| damage.file.unwrap_or_default()).collect()
}

/// Two benchmarks, measured, signed and committed, with files outside git; all of them may be written to.
fn signed() -> (Project, Archive, Vec<(String, PathBuf)>) {
    let project = Project::new();
    let key = project.root().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen runs").success());
    project.write("small.yaml", &SMALL.replace("num_requests: 4", "num_requests: 2, calibration: 0"));
    project.runner(&["run", "small.yaml", "--sign", key.to_str().expect("text"), "--raw-limit", "0"]).code(0);
    project.wait_for_silence();
    verify(&project, &[], 0);
    let archive = project.archive();
    let id = project.ids()[0];
    let place = project.root().join("results").join(id.to_string());
    let mut files: Vec<(String, PathBuf)> = archive::files_below(&place)
        .expect("readable")
        .into_iter()
        .map(|path| (path.strip_prefix(&place).expect("below").to_str().expect("text").to_owned(), path))
        .collect();
    let manifest = archive.open(id).expect("sealed").manifest;
    let outside = manifest.files.iter().filter(|(_, entry)| entry.external);
    files.extend(outside.map(|(name, entry)| (name.clone(), project.root().join("results/.raw").join(&entry.sha256))));
    for (_, path) in &files {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("writable");
    }
    for name in ["manifest.json", "manifest.json.sig", "run.json", "summary.json", "requests.jsonl.zst"] {
        assert!(files.iter().any(|(known, _)| known == name), "no {name}");
    }
    (project, archive, files)
}

/// One bit of every byte; every bit with `RUNNER_TEST_ROUNDS`, which takes eight times as long.
#[test]
fn a_flipped_bit_is_found_in_every_byte_of_every_file() {
    let (project, archive, files) = signed();
    let id = project.ids()[0];
    let all = std::env::var_os("RUNNER_TEST_ROUNDS").is_some();
    let mut flips = 0;
    for (name, path) in &files {
        let sealed = fs::read(path).expect("read");
        for place in 0..sealed.len() {
            for bit in if all { 0..8 } else { place as u32 % 8..place as u32 % 8 + 1 } {
                let mut bytes = sealed.clone();
                bytes[place] ^= 1 << bit;
                fs::write(path, bytes).expect("written");
                let named = |found: &[String]| found.contains(name);
                let found: Vec<String> =
                    archive.verify(id).damages.into_iter().filter_map(|damage| damage.file).collect();
                // A signature, and an entry of a file outside git, are known to history only.
                let found = if named(&found) { found } else { damaged(&archive, id) };
                assert!(named(&found), "bit {bit} of byte {place} of {name}: {found:?}");
                flips += 1;
            }
        }
        fs::write(path, sealed).expect("written");
    }
    assert!(flips > 10_000, "{flips}");
    assert_eq!(damaged(&archive, id), [""; 0]);
}

#[test]
fn each_file_that_is_deleted_added_renamed_or_swapped_is_named() {
    let (project, archive, files) = signed();
    let ids = project.ids();
    let place = |name: &str| project.root().join("results").join(ids[0].to_string()).join(name);
    let inside: Vec<&(String, PathBuf)> = files.iter().filter(|(name, path)| *path == place(name)).collect();
    let names = |expected: &[&str], found: &[String], what: &str| {
        let missing: Vec<_> = expected.iter().filter(|name| !found.iter().any(|known| known == *name)).collect();
        assert_eq!(missing, [&""; 0], "{what}: {found:?}");
    };
    for (name, path) in &inside {
        let aside = project.root().join("aside");
        fs::rename(path, &aside).expect("moved");
        names(&[name], &damaged(&archive, ids[0]), &format!("{name} deleted"));
        let other = format!("{name}.old");
        fs::rename(&aside, place(&other)).expect("moved");
        names(&[name, &other], &damaged(&archive, ids[0]), &format!("{name} renamed"));
        fs::copy(place(&other), path).expect("copied");
        names(&[&other], &damaged(&archive, ids[0]), &format!("{other} added"));
        fs::remove_file(place(&other)).expect("removed");
    }
    let swap = |one: &Path, two: &Path| {
        let (first, second) = (fs::read(one).expect("read"), fs::read(two).expect("read"));
        fs::write(one, second).expect("written");
        fs::write(two, first).expect("written");
    };
    for (at, (name, path)) in inside.iter().enumerate() {
        for (other, second) in &inside[at + 1..] {
            swap(path, second);
            names(&[name, other], &damaged(&archive, ids[0]), &format!("{name} and {other} swapped"));
            swap(path, second);
        }
        // With the same file of another benchmark.
        let second = project.root().join("results").join(ids[1].to_string()).join(name);
        fs::set_permissions(&second, fs::Permissions::from_mode(0o644)).expect("writable");
        // Of so short a benchmark there may be no samples.
        if fs::read(path).expect("read") == fs::read(&second).expect("read") {
            assert_eq!(name, "resources.jsonl.zst");
            continue;
        }
        swap(path, &second);
        for id in &ids {
            names(&[name], &damaged(&archive, *id), &format!("{name} swapped between benchmarks, in {id}"));
        }
        swap(path, &second);
    }
    // The files outside git.
    for (name, path) in files.iter().filter(|(name, path)| *path != place(name)) {
        let bytes = fs::read(path).expect("read");
        fs::write(path, [&bytes[..], b"x"].concat()).expect("written");
        names(&[name], &damaged(&archive, ids[0]), name);
        fs::write(path, bytes).expect("written");
    }
    for id in ids {
        assert_eq!(damaged(&archive, id), [""; 0]);
    }
}

#[test]
fn a_recipe_that_is_not_the_digests_is_found() {
    let project = Project::new();
    project.write("small.yaml", SMALL);
    project.runner(&["run", "small.yaml"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let folder = project.root().join("results").join(id.to_string());
    let sha256 = |file: &str| archive::sha256_hex(&fs::read(folder.join(file)).expect("read"));
    let (before, size) = (sha256("run.json"), fs::metadata(folder.join("run.json")).expect("there").len());
    replace(&folder.join("run.json"), "\"num_requests\": 4", "\"num_requests\": 5");
    assert_eq!(fs::metadata(folder.join("run.json")).expect("there").len(), size);
    replace(&folder.join("manifest.json"), &before, &sha256("run.json"));
    let found = verify(&project, &["-001"], 1);
    let said = found["damages"].to_string();
    assert!(said.contains("its resolved recipe has"), "{said}");
}

/// What continuous integration runs for a push, and for a change that is proposed.
#[test]
fn continuous_integration_refuses_what_touches_a_sealed_byte() {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/verify-archive.sh").canonicalize().expect("there");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, commands) in [
        (".github/workflows/site.yml", "scripts/verify-archive.sh \"${{ github.event.before }}\""),
        (".github/workflows/archive.yml", "scripts/verify-archive.sh \"${{ github.event.pull_request.base.sha }}\""),
        (".gitlab-ci.yml", "scripts/verify-archive.sh \"$CI_COMMIT_BEFORE_SHA\""),
        (".gitlab-ci.yml", "scripts/verify-archive.sh \"$CI_MERGE_REQUEST_DIFF_BASE_SHA\""),
        (".ci/run", "scripts/verify-archive.sh \"${CI_BASE:-}\""),
    ] {
        let text = fs::read_to_string(root.join(file)).expect("read");
        assert!(text.contains(commands), "{file} does not run {commands}");
    }
    let project = Project::new();
    project.write("small.yaml", SMALL);
    project.runner(&["run", "small.yaml"]).code(0);
    project.wait_for_silence();
    let bare = tempfile::tempdir().expect("a folder");
    let origin = bare.path().to_str().expect("text");
    project.git(&["init", "-q", "--bare", "-b", "main", origin]);
    project.git(&["-C", origin, "config", "uploadpack.allowAnySHA1InWant", "true"]);
    project.git(&["remote", "add", "origin", origin]);
    project.git(&["push", "-q", "origin", "main"]);
    let before = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let check = |project: &Project, base: &str, code: i32| {
        let finished =
            project.shell(&[("SCRIPT", script.to_str().expect("text")), ("BASE", base)], "\"$SCRIPT\" \"$BASE\"");
        finished.code(code);
    };
    for base in ["", "0000000000000000000000000000000000000000", &before] {
        check(&project, base, 0);
    }
    check(&project, "0123456789012345678901234567890123456789", 2);
    // History is replaced as a whole, and pushed by force: a clone of it looks sound, but for what was there before.
    project.git(&["checkout", "-q", "--orphan", "clean"]);
    project.git(&["rm", "-q", "-r", "-f", &format!("results/{}", project.ids()[0])]);
    project.git(&["commit", "-q", "-m", "start anew"]);
    project.git(&["push", "-q", "--force", "origin", "clean:main"]);
    let clone = Project::clone_of(bare.path());
    check(&clone, "", 0);
    check(&clone, &before, 1);
}
