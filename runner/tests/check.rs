//! Everything that can be written wrong, with the whole message that a person gets.
//!
//! One case is `tests/bad/NN-name.yaml` with the blessed `NN-name.out` beside it; a first line `# args: …` adds
//! options to the command line. `BLESS=1 cargo test -p runner --test check` writes the `.out` files anew: read
//! their difference before committing it. Nothing here may reach a target.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use serde_json::Value;

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(MANIFEST).join("tests/bad");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    cases
}

/// Options in the first line of a case.
fn options(case: &Path) -> Vec<String> {
    let text = fs::read(case).expect("a case");
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().and_then(|line| line.strip_prefix("# args: ")).unwrap_or_default();
    line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace("\"\"", "")).collect()
}

fn runner(folder: &Path, args: &[&str]) -> Output {
    Command::cargo_bin("runner")
        .expect("the binary")
        .current_dir(folder)
        .env_remove("PORT_NOT_SET")
        .env_remove("TOKEN_NOT_SET")
        .args(args)
        .output()
        .expect("it runs")
}

/// Runs a command on one case, in the folder of the cases.
fn on_case(command: &[&str], case: &Path) -> Output {
    let options = options(case);
    let name = case.file_name().and_then(|name| name.to_str()).expect("a name");
    let mut args = command.to_vec();
    args.push(name);
    args.extend(options.iter().map(String::as_str));
    runner(case.parent().expect("a folder"), &args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_bad_input_has_its_blessed_message() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut different = Vec::new();
    for case in &cases {
        let output = on_case(&["check"], case);
        let found = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{}: {found}{}", case.display(), text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{}", case.display());
        let blessed = case.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&blessed, &found).expect("blessing");
        } else if fs::read_to_string(&blessed).unwrap_or_default() != found {
            different.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(different.is_empty(), "differ from their .out files:\n\n{}", different.join("\n"));
}

#[test]
fn findings_as_json_have_a_place_and_a_message() {
    for case in cases() {
        let output = on_case(&["check", "--json"], &case);
        assert_eq!(output.status.code(), Some(1), "{}", case.display());
        let lines = text(&output.stdout);
        let findings: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
        assert!(findings.iter().any(|finding| finding["severity"] == "error"), "{}", case.display());
        let mut places = Vec::new();
        for finding in &findings {
            assert!(finding["file"].is_string() && finding["path"].is_string(), "{finding}");
            assert!(!finding["message"].as_str().expect("a message").is_empty(), "{finding}");
            let (line, column) = (finding["line"].as_u64(), finding["column"].as_u64());
            assert!(line >= Some(1) && column >= Some(1), "{finding}");
            places.push((finding["file"].clone().to_string(), line, column));
        }
        let files: BTreeSet<&String> = places.iter().map(|(file, ..)| file).collect();
        if files.len() == 1 {
            assert!(places.is_sorted(), "{}: not in the order of the text", case.display());
        }
    }
}

/// No plan is made of a bad input, so nothing can be started from one.
#[test]
fn no_bad_input_reaches_a_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let copied = |from: &Path, to: &Path| {
        fs::create_dir_all(to).expect("a folder");
        for file in fs::read_dir(from).expect("files").map(|entry| entry.expect("a file").path()) {
            if file.is_file() {
                fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
            }
        }
    };
    let bad = Path::new(MANIFEST).join("tests/bad");
    copied(&bad, folder.path());
    copied(&bad.join("recipes"), &folder.path().join("recipes"));
    let before = listing(folder.path());
    for case in cases() {
        let case = folder.path().join(case.file_name().expect("a name"));
        let output = on_case(&["plan", "--json"], &case);
        assert_eq!(output.status.code(), Some(2), "{}", case.display());
        assert_eq!(text(&output.stdout), "", "{}", case.display());
        let errors = text(&output.stderr);
        assert!(errors.lines().last().is_some_and(|line| line.starts_with("error: ")), "{errors}");
    }
    assert_eq!(listing(folder.path()), before, "something was written");
}

fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

fn fine_files() -> Vec<PathBuf> {
    let folders = [Path::new(MANIFEST).join("tests/fine"), Path::new(MANIFEST).join("../campaigns")];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("files"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn plan(file: &Path, more: &[&str]) -> Value {
    let output = Command::cargo_bin("runner")
        .expect("the binary")
        .env("CHECK_TEST_SECRET", "not to be seen")
        .env("CHECK_TEST_HOST", "127.0.0.1")
        .args(["plan", "--json"])
        .arg(file)
        .args(more)
        .output()
        .expect("it runs");
    let found = text(&output.stdout);
    assert!(output.status.success(), "{}: {}", file.display(), text(&output.stderr));
    assert!(!found.contains("not to be seen"), "{}", file.display());
    serde_json::from_str(&found).expect("JSON")
}

#[test]
fn every_file_that_we_ship_is_fine() {
    let files = fine_files();
    assert!(files.len() >= 6);
    for file in files {
        plan(&file, &[]);
    }
}

/// What is stored of a benchmark can be run again, and is then the same recipe.
#[test]
fn a_resolved_recipe_is_a_recipe_with_the_same_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    // What a recipe replays or asks is found beside it.
    for file in ["traces/chat.csv", "prompts/questions.jsonl"] {
        let copy = folder.path().join(file);
        fs::create_dir(copy.parent().expect("a folder")).expect("made");
        fs::copy(Path::new(MANIFEST).join("../campaigns").join(file), copy).expect("copied");
    }
    for file in fine_files() {
        for point in plan(&file, &[])["points"].as_array().expect("points") {
            let again = folder.path().join("again.yaml");
            fs::write(&again, point["resolved"].to_string()).expect("written");
            let planned = plan(&again, &[]);
            assert_eq!(planned["points"][0]["resolved"], point["resolved"], "{}", file.display());
            assert_eq!(planned["points"][0]["recipe_hash"], point["recipe_hash"], "{}", file.display());
            assert_eq!(planned["points"][0]["load"]["stop"], point["load"]["stop"], "{}", file.display());
        }
    }
}

#[test]
fn a_plan_is_the_same_every_time_and_follows_the_command_line() {
    let file = Path::new(MANIFEST).join("../campaigns/quickstart.yaml");
    let planned = plan(&file, &[]);
    assert_eq!(plan(&file, &[]), planned);
    assert_eq!(planned["benchmarks"].as_array().map(Vec::len), Some(21));
    assert_eq!(planned["deployments"].as_array().map(Vec::len), Some(21));
    // Seven points, three times, of 0.8 s and 2.5 s.
    assert!(planned["estimated_s"].as_f64().is_some_and(|seconds| (seconds - 21.0 * 3.3).abs() < 1e-6));

    let args = ["--clients", "3,5", "--repetitions", "2", "--seed", "7", "--set", "redeploy=false"];
    let changed = plan(&file, &[&args[..], &["--set", "client.settings.max_tokens=20"]].concat());
    let clients: Vec<&Value> =
        changed["points"].as_array().expect("points").iter().map(|point| &point["load"]["clients"]).collect();
    assert_eq!(clients, [3, 5]);
    assert_eq!(changed["points"][0]["swept"], serde_json::json!({ "benchmarks.num_clients": 3 }));
    assert_eq!(changed["points"][0]["resolved"]["client"]["settings"]["max_tokens"], 20);
    assert_eq!(changed["deployments"], serde_json::json!([[0, 1, 2, 3]]));
    assert_eq!(changed["campaign"]["seed"], 7);
    assert_ne!(changed["benchmarks"][0]["seed"], planned["benchmarks"][0]["seed"]);
    assert_eq!(
        changed["campaign"]["overrides"],
        serde_json::json!([
            "--clients 3,5",
            "--repetitions 2",
            "--seed 7",
            "--set redeploy=false",
            "--set client.settings.max_tokens=20"
        ])
    );
}

/// The pages of the documentation name every key there is.
#[test]
fn every_key_is_documented() {
    let page = fs::read_to_string(Path::new(MANIFEST).join("../docs/recipes.md")).expect("the page");
    let output = runner(Path::new(MANIFEST), &["schema"]);
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/recipes.md: {missing:?}");
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        Value::Object(object) => {
            for (key, below) in object {
                if key == "properties" {
                    keys.extend(below.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
                }
                collect_keys(below, keys);
            }
        }
        _ => {}
    }
}

#[test]
fn a_file_that_cannot_be_read_is_another_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in ["check", "plan"] {
        for file in ["missing.yaml", "."] {
            let output = runner(folder.path(), &[command, file]);
            assert_eq!(output.status.code(), Some(2));
            assert!(
                text(&output.stderr).starts_with(&format!("error: cannot read {file}: ")),
                "{}",
                text(&output.stderr)
            );
        }
    }
}

/// `scripts/cli-docs.sh` writes both files.
#[test]
fn the_documentation_has_every_command_and_the_schema_as_it_is() {
    let docs = Path::new(MANIFEST).join("../docs");
    let printed = |argument: &str| {
        let output = runner(Path::new(MANIFEST), &[argument]);
        String::from_utf8(output.stdout).expect("text")
    };
    let stored = fs::read_to_string(docs.join("schema.json")).expect("read");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert!(
        json(&stored) == json(&printed("schema")),
        "docs/schema.json is not what `runner schema` prints: run scripts/cli-docs.sh"
    );
    let cli = fs::read_to_string(docs.join("cli.md")).expect("read");
    let help = printed("--help");
    let commands =
        help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of commands");
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 10, "{help}");
    for name in names {
        assert!(cli.contains(&format!("### runner {name}\n")), "docs/cli.md lacks `{name}`: run scripts/cli-docs.sh");
    }
}
