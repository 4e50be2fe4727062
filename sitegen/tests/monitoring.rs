//! What the site offers to watch a run with, read by Prometheus itself: Debian's package `prometheus` has `promtool`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

fn promtool(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(arguments).output();
    let output = output.unwrap_or_else(|err| panic!("promtool: {err}: install the Debian package prometheus"));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn prometheus_takes_its_configuration() {
    let file = folder().join("prometheus.yml");
    let (good, said) = promtool(&["check", "config", &file.display().to_string()]);
    assert!(good, "{said}");
    let text = fs::read_to_string(&file).expect("text");
    let outside = text.matches("targets: [").count() - text.matches("targets: [\"127.0.0.1:").count();
    assert_eq!(outside, 0, "only this machine is asked");
}

/// Every query of every dashboard, parsed by Prometheus as the expression of a rule.
#[test]
fn prometheus_understands_every_query_of_the_dashboards() {
    let mut rules = String::from("groups:\n  - name: dashboards\n    rules:\n");
    let mut queries = 0;
    for entry in fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
        assert_eq!(dashboard["uid"], format!("benchmark-{name}"));
        assert_eq!(dashboard["timezone"], "utc", "{name}: as all times of the archive");
        let panels = dashboard["panels"].as_array().expect("panels");
        assert!(panels.len() >= 6, "{name}");
        let mut places = std::collections::BTreeSet::new();
        for panel in panels {
            let title = panel["title"].as_str().expect("a title");
            assert!(places.insert((panel["gridPos"]["x"].as_u64(), panel["gridPos"]["y"].as_u64())), "{name}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title}");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"]["uid"], "${source}", "{name}: {title}: the one that was chosen");
                let query = target["expr"].as_str().expect("a query");
                // JSON's strings are YAML's.
                let quoted = serde_json::to_string(query).expect("text");
                rules += &format!("      - record: dashboard:{name}:{queries}\n        expr: {quoted}\n");
                queries += 1;
            }
        }
    }
    assert!(queries >= 49, "{queries}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("rules.yml");
    fs::write(&file, &rules).expect("written");
    let file = file.display().to_string();
    let (good, said) = promtool(&["check", "rules", &file]);
    assert!(good && said.contains(&format!("{queries} rules found")), "{said}");
    // A query that is none is noticed.
    fs::write(&file, format!("{rules}      - record: broken\n        expr: \"rate(x[10s]\"\n")).expect("written");
    assert!(!promtool(&["check", "rules", &file]).0);
}
