//! `runner verify` on an archive that the runner made, and on what somebody did to it.

use std::{fs, os::unix::fs::PermissionsExt};

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

fn replace(path: &std::path::Path, from: &str, to: &str) {
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
