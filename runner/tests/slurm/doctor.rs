//! `runner doctor`: what a cluster has, and what each want of it is called.

use serde_json::Value;

use crate::{cluster::Cluster, project::Project};

/// Exit code, and what is said of each thing: whether it is fine, and the words.
fn examined(project: &Project, code: i32) -> Vec<(String, Option<bool>, String)> {
    let finished = project.runner(&["doctor", "testbed", "--json"]);
    finished.code(code);
    let said: Value = serde_json::from_str(&finished.stdout()).expect("JSON");
    assert_eq!(said["fine"], code == 0);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let checks = said["checks"].as_array().expect("checks");
    checks.iter().map(|check| (text(&check["what"]), check["fine"].as_bool(), text(&check["says"]))).collect()
}

#[test]
fn a_cluster_that_has_everything_is_fine() {
    let cluster = Cluster::shared();
    let project = cluster.project("container: apptainer\n");
    let checks = examined(&project, 0);
    let of = |what: &str| checks.iter().find(|check| check.0 == what).unwrap_or_else(|| panic!("{what}: {checks:?}"));
    for (what, says) in [
        ("ssh", "bench@127.0.0.1"),
        ("login", "bench on mellogin01, slurm"),
        ("clock", "s from here"),
        ("partition", "`cpu` is UP, 3 nodes"),
        ("account", "`p200000` with QOS"),
        ("agent", "glibc 2."),
        ("job", "Job "),
        ("container", "apptainer version"),
    ] {
        assert!(of(what).1 == Some(true) && of(what).2.contains(says), "{:?}", of(what));
    }
    // How much room there is, is this machine's matter.
    assert!(of("folder").2.contains("GiB free"), "{:?}", of("folder"));
    let words = project.runner(&["doctor", "testbed"]);
    assert!(words.code(0).stdout().lines().count() == checks.len(), "{}", words.stdout());
}

#[test]
fn every_want_has_its_own_words() {
    let cluster = Cluster::shared();
    for (line, what, says) in [
        ("account: nobody", "account", "`nobody` is not yours: p200000"),
        ("qos: urgently", "account", "has no QOS `urgently`"),
        ("partition: fpga", "partition", "`fpga` is not there: the cluster has cpu, gpu"),
        ("agent: no-such-runner", "agent", "cannot read the agents' program no-such-runner"),
        ("host: nowhere.invalid", "login", "nowhere.invalid"),
    ] {
        let project = cluster.project(&format!("{line}\n"));
        let finished = project.runner(&["doctor", "testbed", "--json"]);
        let said: Value = serde_json::from_str(&finished.stdout()).expect("JSON");
        let checks = said["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["what"] == what && check["fine"] != true);
        let found = found.unwrap_or_else(|| panic!("{line}: {said:#}"));
        assert!(
            found["fine"] == false && found["says"].as_str().is_some_and(|text| text.contains(says)),
            "{line}: {found}"
        );
        finished.code(1);
    }
}

#[test]
fn an_agent_for_a_newer_system_is_refused_and_one_is_uploaded_once() {
    let cluster = Cluster::shared();
    let project = cluster.project("agent: newer\n");
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_runner")).expect("readable");
    bytes.extend_from_slice(b"\0GLIBC_2.99\0");
    std::fs::write(project.root().join("newer"), &bytes).expect("written");
    let checks = examined(&project, 1);
    let agent = checks.iter().find(|check| check.0 == "agent").expect("a check");
    assert!(agent.2.contains("needs glibc 2.99") && agent.2.contains("build the agent for it"), "{agent:?}");
    let digest = archive::sha256_hex(&bytes);
    assert!(!cluster.home().join("runner/bin").join(&digest).exists());

    // Another digest than any that was uploaded before: only the first of two commands uploads it.
    let project = cluster.project("agent: own\n");
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_runner")).expect("readable");
    bytes.extend_from_slice(project.root().to_string_lossy().as_bytes());
    std::fs::write(project.root().join("own"), &bytes).expect("written");
    let uploads = || {
        let finished = project.runner(&["-v", "doctor", "testbed"]);
        finished.code(0).stderr().matches("uploading the agents' program").count()
    };
    assert_eq!((uploads(), uploads()), (1, 0));
    let there = cluster.home().join("runner/bin").join(archive::sha256_hex(&bytes)).join("runner");
    assert_eq!(std::fs::read(&there).expect("uploaded"), bytes);
    // A damaged one is no reason to run something else.
    std::fs::write(&there, b"#!/bin/sh\n").expect("written");
    assert_eq!(uploads(), 1);
    std::fs::remove_dir_all(there.parent().expect("a folder")).expect("removed");
}
