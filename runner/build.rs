//! Tells the program which commit it was built from, so that a benchmark can be repeated with the same build.
//!
//! Only in optimised builds: a debug build is not what is measured with, and would be compiled anew for every commit.

use std::{path::Path, process::Command};

use sha2::{Digest, Sha256};

/// What the program is made of, from the root of the repository.
const SOURCES: [&str; 4] = ["runner", "sitegen/analysis", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let profile = profile();
    println!("cargo:rustc-env=RUNNER_PROFILE={profile}");
    if profile == "debug" {
        return;
    }
    let Some(root) = git(&["rev-parse", "--show-toplevel"]) else { return };
    let root = Path::new(root.trim());
    // A copy of the sources inside somebody's repository is not of that repository's commits.
    if !root.join("runner/build.rs").is_file() {
        return;
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo:rerun-if-changed={}", path.trim());
        }
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return };
    println!("cargo:rustc-env=RUNNER_COMMIT={}", commit.trim());
    let at_root = |args: &[&str]| {
        let mut all = vec!["-C", root.to_str()?];
        all.extend(args);
        all.push("--");
        all.extend(SOURCES);
        git(&all)
    };
    let changes = at_root(&["diff", "HEAD", "--binary", "--no-ext-diff"]).unwrap_or_default();
    let added = at_root(&["ls-files", "--others", "--exclude-standard"]).unwrap_or_default();
    if changes.is_empty() && added.is_empty() {
        return;
    }
    let mut hasher = Sha256::new();
    hasher.update(changes);
    for name in added.lines() {
        hasher.update(name);
        hasher.update(std::fs::read(root.join(name)).unwrap_or_default());
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo:rustc-env=RUNNER_CHANGES={digest}");
}

/// `debug`, `release`, `dist`: cargo says it only by the folder that it builds in.
fn profile() -> String {
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let folder = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    folder.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
