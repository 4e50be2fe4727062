//! `rerun --exact`: the commit of the original's build is checked out, built and run. The project that is built here is a
//! small one; git, cargo and the archive are real.

use std::fs;

use archive::{BenchmarkId, SealOptions, seal};
use serde_json::{Value, json};

use crate::project::Project;

/// Seals a benchmark once more, under the next id, as made by another build.
fn resealed(project: &Project, tool: Value) -> BenchmarkId {
    let results = project.root().join("results");
    let id = project.archive().allocate().expect("an id");
    let (from, staged) = (results.join(project.ids()[0].to_string()), results.join(".work/made").join(id.to_string()));
    for path in archive::files_below(&from).expect("readable") {
        let place = staged.join(path.strip_prefix(&from).expect("below"));
        fs::create_dir_all(place.parent().expect("a folder")).expect("created");
        fs::write(place, fs::read(path).expect("read")).expect("written");
    }
    let mut run: Value = serde_json::from_slice(&fs::read(staged.join("run.json")).expect("read")).expect("JSON");
    run["benchmark_id"] = json!(id);
    run["tool"] = tool;
    fs::write(staged.join("run.json"), run.to_string()).expect("written");
    seal(&results, id, &staged, &SealOptions::default()).expect("sealed");
    id
}

#[test]
fn the_build_that_made_the_original_is_made_again() {
    let project = Project::new();
    fs::create_dir_all(project.root().join("runner/src")).expect("created");
    project.write("Cargo.toml", "[workspace]\nmembers = [\"runner\"]\nresolver = \"3\"\n");
    project.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"runner\"\nversion = \"0.0.1\"\n");
    project.write("runner/Cargo.toml", "[package]\nname = \"runner\"\nversion = \"0.0.1\"\nedition = \"2024\"\n");
    let says = |what: &str| {
        format!(
            "fn main() {{\n    let args: Vec<String> = std::env::args().skip(1).collect();\n    println!(\"{what} {{}}\", \
             args.join(\" \"));\n    std::process::exit(7);\n}}\n"
        )
    };
    project.write("runner/src/main.rs", &says("then"));
    project.write(".gitignore", "target/\n");
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "then"]);
    let then = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    project.write("runner/src/main.rs", &says("now"));
    project.write(
        "quick.yaml",
        "configuration: {target: local}\nservice: {command: 'exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    project.runner(&["run", "quick.yaml", "--no-commit"]).code(0);
    let tool = |fields: Value| {
        let mut tool = json!({ "name": "runner", "version": "0.0.1", "binary_sha256": "00", "profile": "release" });
        tool.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        tool
    };
    let id = resealed(&project, tool(json!({ "git_commit": then })));
    let first = project.runner(&["rerun", &id.to_string(), "--exact", "--strict"]);
    first.code(7);
    assert_eq!(first.stdout(), format!("then rerun {id} --strict\n"));
    assert!(first.stderr().contains("not the same bytes"), "{}", first.stderr());
    // Built once. What is being worked on was never touched.
    let again = project.runner(&["rerun", &id.to_string(), "--exact"]);
    assert!(!again.code(7).stderr().contains("Compiling"), "{}", again.stderr());
    assert!(fs::read_to_string(project.root().join("runner/src/main.rs")).expect("read").contains("now"));
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1);

    // Two commits at once do not get in each other's way.
    project.git(&["commit", "-q", "-am", "now"]);
    let now = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    fs::remove_dir_all(project.root().join("results/.work/exact").join(&then)).expect("removed");
    let ids = [id, resealed(&project, tool(json!({ "git_commit": now })))];
    let both = ids.map(|id| project.start(&["rerun", &id.to_string(), "--exact"]));
    for (build, says) in both.into_iter().zip(["then", "now"]) {
        let built = build.finish();
        assert!(built.code(7).stdout().starts_with(says), "{}", built.stdout());
    }

    for (fields, message) in [
        (json!({ "git_commit": then, "changes_sha256": "ab" }), "changes that no commit holds"),
        (json!({ "git_commit": "0123456789012345678901234567890123456789" }), "does not hold commit"),
        (json!({}), "does not say which commit"),
    ] {
        let id = resealed(&project, tool(fields));
        let refused = project.runner(&["rerun", &id.to_string(), "--exact"]);
        assert!(refused.code(2).stderr().contains(message), "{}", refused.stderr());
    }
}
