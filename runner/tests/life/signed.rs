//! Signatures of manifests and commits by SSH keys, and what somebody else's, or nobody's, are told from.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use crate::project::Project;

const QUICK: &str =
    "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n";

fn key(project: &Project, name: &str, passphrase: &str) -> PathBuf {
    let path = project.root().join(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", name, "-N", passphrase, "-f"])
        .arg(&path)
        .status();
    assert!(status.expect("ssh-keygen runs").success());
    path
}

fn damages(project: &Project, args: &[&str], code: i32) -> Vec<String> {
    let finished = project.runner(&[&["verify", "--json"], args].concat());
    finished.code(code);
    let answer: serde_json::Value = serde_json::from_str(&finished.stdout()).expect("JSON");
    let damages = answer["damages"].as_array().expect("a list");
    let said = |damage: &serde_json::Value| {
        format!(
            "{} {} {}",
            damage["kind"],
            damage["file"].as_str().unwrap_or("-"),
            damage["detail"].as_str().unwrap_or_default()
        )
    };
    damages.iter().map(said).collect()
}

#[test]
fn who_may_sign_is_told_from_everybody_else() {
    let project = Project::new();
    let (own, other) = (key(&project, "own", ""), key(&project, "other", ""));
    let public = fs::read_to_string(own.with_extension("pub")).expect("a public key");
    project.write("signers", &format!("tester@localhost {public}"));
    project.write("quick.yaml", QUICK);
    let sign = |key: &PathBuf| key.display().to_string();
    project.runner(&["run", "quick.yaml", "--sign", &sign(&own)]).code(0);
    assert_eq!(damages(&project, &["--signers", "signers"], 0), [""; 0]);
    // git itself agrees.
    project.git(&["-c", "gpg.ssh.allowedSignersFile=signers", "verify-commit", "HEAD"]);
    assert_eq!(project.git(&["status", "--porcelain", "--", "results"]), "");
    assert_eq!(project.git(&["fsck", "--strict"]), "");

    project.runner(&["run", "quick.yaml"]).code(0);
    project.runner(&["run", "quick.yaml", "--sign", &sign(&other)]).code(0);
    let found = damages(&project, &["--signers", "signers"], 1);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("manifest.json is not signed"), "{found:#?}");
    assert!(found[1].contains("manifest.json.sig is signed by nobody who may sign"), "{found:#?}");
    assert!(found[2].contains("which brought it"), "{found:#?}");
    // Without a list of signers, one that is there has to be of this manifest.
    assert_eq!(damages(&project, &[], 0), [""; 0]);
    let of = |sequence: &str| {
        let id = project.ids().into_iter().find(|id| id.to_string().ends_with(sequence)).expect("sealed");
        project.root().join("results").join(id.to_string()).join("manifest.json.sig")
    };
    let (first, third) = (of("001"), of("003"));
    fs::set_permissions(&third, fs::Permissions::from_mode(0o644)).expect("writable");
    fs::copy(&first, &third).expect("copied");
    let swapped = damages(&project, &["-003"], 1);
    assert!(swapped.iter().any(|said| said.contains("no signature of this manifest")), "{swapped:#?}");
    assert!(swapped.iter().any(|said| said.contains("not the one that was committed")), "{swapped:#?}");
}

#[test]
fn a_key_that_cannot_sign_is_refused_before_anything_starts() {
    let project = Project::new();
    let locked = key(&project, "locked", "a passphrase");
    project.write("quick.yaml", QUICK);
    for (key, message) in
        [(locked.display().to_string(), "cannot sign with"), ("nowhere".to_owned(), "cannot read nowhere")]
    {
        let refused = project.runner(&["run", "quick.yaml", "--sign", &key]);
        assert!(refused.code(2).stderr().contains(message), "{}", refused.stderr());
    }
    assert_eq!(project.ids(), []);
}
