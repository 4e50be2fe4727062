//! Archives of earlier builds: read as they stand, with every field that this build does not know.

use std::{fs, path::Path};

use archive::{Archive, Manifest, Run, Stage, Status, Summary};
use serde_json::{Value, json};

fn archive() -> Archive {
    Archive::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v1"))
}

#[test]
fn version_1_is_read_and_verifies() {
    let archive = archive();
    let ids = archive.ids().expect("readable");
    let digests: Vec<String> =
        ids.iter().map(|id| archive.open(*id).expect("opened").digest().expect("read")).collect();
    assert_eq!(
        digests,
        [
            "b2a9229adee3d7ea0961dfbcdbede26331d5d17a31f85eee4832648a30cab2ee",
            "acfe1d50ab7e9d864fe148de992e9216d3d3bf4c7c4e1c5e5fb1b104fd809f08",
            "6b08269115a1d6f6d2e662c37c491031fb0aa71608a348e0e88af9018857f4cd",
        ],
        "they are frozen: a new format gets samples of its own"
    );
    for id in &ids {
        let verified = archive.verify(*id);
        assert_eq!((verified.damages, verified.absent), (vec![], vec![]), "{id}");
        let benchmark = archive.open(*id).expect("opened");
        for log in benchmark.logs() {
            let mut lines = benchmark.log_lines(log).expect("opened").expect("there");
            while lines.next_line().expect("readable").is_some() {}
        }
        let samples = benchmark.resources().expect("opened").into_iter().flatten();
        assert!(samples.map(|sample| sample.expect("readable")).all(|sample| sample.offset_s.is_some()));
    }
    let of = |place: usize| archive.open(ids[place]).expect("opened");
    let count = |place: usize| of(place).requests().expect("opened").into_iter().flatten().count();
    let (failed, open, stream) = (of(0).run().expect("read"), of(1).run().expect("read"), of(2).run().expect("read"));
    assert_eq!((failed.status, failed.failure.map(|failure| failure.stage)), (Status::Failed, Some(Stage::Starting)));
    assert_eq!((count(0), open.campaign.slo.len(), open.campaign.thresholds.len()), (0, 2, 1));
    let requests: Vec<_> =
        of(1).requests().expect("opened").expect("there").map(|one| one.expect("readable")).collect();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.intended_s.is_some()));
    let summary = of(2).summary().expect("read").expect("there");
    assert_eq!((stream.client.num_clients, summary.total_requests, summary.warmup_requests), (2, 30, 4));
    assert!(summary.ttft_s.is_some() && summary.itl_s.is_some_and(|itl| itl.histogram.is_some()));
}

/// Puts a field that nobody knows into every object that keeps such fields.
fn with_unknown(mut value: Value, pointers: &[&str]) -> Value {
    for pointer in pointers {
        let object =
            value.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("no {pointer}"));
        object.insert("of_a_newer_build".into(), json!({ "deep": [1, null, "x"] }));
    }
    value
}

#[test]
fn unknown_fields_survive_a_round_trip() {
    let archive = archive();
    let id = archive.ids().expect("readable")[2];
    let folder = archive.folder().join(id.to_string());
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(name)).expect("read")).expect("JSON");
    let run = with_unknown(read("run.json"), &["", "/campaign", "/target", "/tool", "/service", "/client", "/nodes/0"]);
    let typed: Run = serde_json::from_value(run.clone()).expect("understood");
    assert_eq!(serde_json::to_value(&typed).expect("written"), run);
    let summary = with_unknown(read("summary.json"), &[""]);
    let typed: Summary = serde_json::from_value(summary.clone()).expect("understood");
    assert_eq!(serde_json::to_value(&typed).expect("written"), summary);
    // Where nothing is unknown, nothing is lost or added either.
    for id in archive.ids().expect("readable") {
        let folder = archive.folder().join(id.to_string());
        let read =
            |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(name)).expect("read")).expect("JSON");
        let run: Run = serde_json::from_value(read("run.json")).expect("understood");
        assert_eq!(serde_json::to_value(&run).expect("written"), read("run.json"), "{id}");
        let manifest: Manifest = serde_json::from_value(read("manifest.json")).expect("understood");
        assert_eq!(serde_json::to_value(&manifest).expect("written"), read("manifest.json"), "{id}");
    }
}

#[test]
fn a_newer_version_is_refused_with_both_numbers() {
    let old = archive();
    let id = old.ids().expect("readable")[2];
    for name in ["manifest.json", "run.json", "summary.json"] {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join(id.to_string());
        fs::create_dir(&place).expect("created");
        for file in ["manifest.json", "run.json", "summary.json"] {
            let text = fs::read_to_string(old.folder().join(id.to_string()).join(file)).expect("read");
            let text = if file == name { text.replacen("\"schema\": 1", "\"schema\": 2", 1) } else { text };
            fs::write(place.join(file), text).expect("written");
        }
        let newer = Archive::new(folder.path());
        let read = newer.open(id).and_then(|benchmark| benchmark.run().and_then(|_| benchmark.summary()).map(drop));
        let message = format!("{:#}", read.expect_err("newer"));
        assert!(message.contains(name) && message.contains("schema 2") && message.contains("up to 1"), "{message}");
    }
}
