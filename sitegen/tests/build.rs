//! `sitegen build` and `check` as a person runs them: what is written, what is kept, what is refused.

#[path = "synthetic/archive.rs"]
mod synthetic;
#[path = "synthetic/place.rs"]
mod where_pages_are;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use assert_cmd::{assert::Assert, cargo::cargo_bin_cmd};
use where_pages_are::{find, place};

fn sitegen(folder: &Path, args: &[&str]) -> Assert {
    cargo_bin_cmd!("sitegen").current_dir(folder).args(args).assert()
}

fn write_all(results: &Path) {
    synthetic::made().iter().for_each(|made| synthetic::write_benchmark(results, made, |_, _| {}));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Relative path → bytes of every file below a folder.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                // What builds keep for themselves is no part of the site.
                true if path.ends_with(".cache") => {}
                true => folders.push(path),
                false => {
                    let bytes = fs::read(&path).expect("read");
                    files.insert(path.strip_prefix(folder).expect("below").to_owned(), bytes);
                }
            }
        }
    }
    files
}

fn git(root: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_shallow_or_partial_clone_gives_the_same_site() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let origin = root.join("origin");
    write_all(&origin.join("results"));
    git(root, &["init", "-q", "-b", "main", "origin"]);
    for (name, value) in [("user.name", "T"), ("user.email", "t@localhost"), ("uploadpack.allowFilter", "true")] {
        git(&origin, &["config", name, value]);
    }
    fs::write(origin.join("README"), "a project\n").expect("written");
    git(&origin, &["add", "README"]);
    git(&origin, &["commit", "-q", "-m", "start"]);
    git(&origin, &["add", "results"]);
    git(&origin, &["commit", "-q", "-m", "results"]);
    sitegen(&origin, &["build", "--out", "../of-origin"]).success();
    let url = format!("file://{}", origin.display());
    for (name, how) in [("shallow", "--depth=1"), ("partial", "--filter=blob:none"), ("treeless", "--filter=tree:0")] {
        git(root, &["clone", "-q", how, &url, name]);
        let out = format!("../of-{name}");
        sitegen(&root.join(name), &["build", "--out", &out]).success();
        assert!(tree(&root.join("of-origin")) == tree(&root.join(format!("of-{name}"))), "{name}");
    }
}

#[test]
fn the_same_archive_gives_the_same_bytes_and_is_not_written_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    write_all(&root.join("results"));
    let out = text(&sitegen(root, &["build", "--out", "one"]).success().get_output().stdout);
    let version = out.trim().strip_prefix("one/").and_then(|rest| rest.strip_suffix("/index.html")).expect(&out);
    assert!(version.starts_with("2026-03-03-"), "{version}");

    // One thread and another folder: neither the order of work nor the place shows.
    let alone = cargo_bin_cmd!("sitegen")
        .current_dir(root)
        .args(["build", "--out", "two"])
        .env("RAYON_NUM_THREADS", "1")
        .assert();
    alone.success();
    let (one, two) = (tree(&root.join("one")), tree(&root.join("two")));
    assert!(one.keys().eq(two.keys()));
    let different: Vec<_> = one.iter().filter(|(path, bytes)| two[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(different.is_empty(), "{different:?}");

    let page = root.join("one").join(version).join("index.html");
    let before = fs::metadata(&page).expect("written").modified().expect("a time");
    let again = sitegen(root, &["build", "--out", "one"]).success();
    assert!(text(&again.get_output().stderr).contains("unchanged"));
    assert_eq!(fs::metadata(&page).expect("kept").modified().expect("a time"), before);
    assert!(tree(&root.join("one")) == one, "nothing is left behind");

    // Without what the first build kept, everything is made anew, and the same.
    assert!(root.join("one/.cache").is_dir());
    fs::remove_dir_all(root.join("one/.cache")).expect("removed");
    sitegen(root, &["build", "--out", "one"]).success();
    assert!(tree(&root.join("one")) == one);

    let report = sitegen(root, &["check", "--out", "one"]).success();
    assert!(text(&report.get_output().stderr).contains("0 findings"));
}

#[test]
fn a_version_is_never_changed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let results = root.join("results");
    let made = synthetic::made();
    synthetic::write_benchmark(&results, &made[0], |_, _| {});
    sitegen(root, &["build", "--version", "v1", "--base-url", "https://example.org/b"]).success();
    let before = tree(&root.join("site"));

    synthetic::write_benchmark(&results, &made[1], |_, _| {});
    let refused = sitegen(root, &["build", "--version", "v1"]).code(2);
    let message = text(&refused.get_output().stderr);
    assert!(message.contains("site/v1 exists with other content") && message.contains("--version"), "{message}");
    assert!(tree(&root.join("site")) == before, "a refused build leaves nothing");

    sitegen(root, &["build", "--version", "v2"]).success();
    let after = tree(&root.join("site"));
    assert!(before.iter().filter(|(path, _)| path.starts_with("v1")).all(|(path, bytes)| after[path] == *bytes));
    let versions: serde_json::Value = serde_json::from_slice(&after[Path::new("versions.json")]).expect("JSON");
    assert_eq!(versions[0]["version"], "v2");
    assert_eq!(versions[0]["aliases"], serde_json::json!(["latest"]));
    assert_eq!((&versions[1]["version"], &versions[1]["aliases"]), (&"v1".into(), &serde_json::json!([])));
    let index = text(&after[Path::new("index.html")]);
    assert!(index.contains("url=v2&#x2F;index.html") || index.contains("url=v2/index.html"), "{index}");
    assert!(after.contains_key(Path::new("latest/benchmarks/BM-20260301-002/index.html")));
    sitegen(root, &["check"]).success();
    sitegen(root, &["build", "--version", "../v3"]).code(2);
}

#[test]
fn the_version_is_named_after_the_commit_when_git_has_everything() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let made = synthetic::made();
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["config", "user.name", "Tester"]);
    git(root, &["config", "user.email", "tester@localhost"]);
    synthetic::write_benchmark(&root.join("results"), &made[0], |_, _| {});
    git(root, &["add", "results/BM-20260301-001"]);
    git(root, &["commit", "-q", "-m", "one"]);
    let commit = git(root, &["rev-parse", "HEAD"]);
    let named = |expected: &str| {
        let out = text(&sitegen(root, &["build"]).success().get_output().stdout);
        assert_eq!(out.trim(), format!("site/2026-03-01-{expected}/index.html"));
    };
    named(&commit[..8]);
    synthetic::write_benchmark(&root.join("results"), &made[1], |_, _| {});
    let out = text(&sitegen(root, &["build"]).success().get_output().stdout);
    assert!(!out.contains(&commit[..8]), "not all of it is in {commit}: {out}");
}

#[test]
fn an_empty_archive_says_what_to_do() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let out = text(&sitegen(folder.path(), &["build"]).success().get_output().stdout);
    assert_eq!(out.trim(), "site/empty/index.html");
    let page = fs::read_to_string(folder.path().join("site/empty/index.html")).expect("written");
    assert!(page.contains("runner quickstart") && page.contains("The archive is empty"));
    sitegen(folder.path(), &["check"]).success();
}

#[test]
fn the_page_of_a_campaign_says_what_is_true() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    write_all(&root.join("results"));
    sitegen(root, &["build", "--version", "v"]).success();
    let page = fs::read_to_string(place(&root.join("site"), "v", "campaigns/quickstart/index.html")).expect("written");
    // 8 slots of 50 ms: the knee is at 8 clients and the ceiling at 160 requests/s, less some slow ones.
    let knee = page.split("Knee at ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a knee");
    let knee: f64 = knee.parse().expect("a number");
    assert!((7.0..9.0).contains(&knee), "{knee}");
    for name in ["BM-20260302-041", "BM-20260302-042", "the service ended with exit code 137"] {
        assert!(page.contains(name), "{name}");
    }
    let failed =
        fs::read_to_string(place(&root.join("site"), "v", "benchmarks/BM-20260302-042/index.html")).expect("written");
    assert!(failed.contains("Failed at stage loading") && failed.contains("nothing was measured"));
    let earlier =
        fs::read_to_string(place(&root.join("site"), "v", "campaigns/quickstart/2026-03-01T0900-ab12/index.html"));
    assert!(earlier.expect("earlier executions have pages").contains("BM-20260301-001"));
}

#[test]
fn the_limits_of_a_campaign_stand_wherever_its_answer_does() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    for made in synthetic::made().iter().take(7) {
        synthetic::write_benchmark(&root.join("results"), made, |_, _| {});
    }
    sitegen(root, &["build", "--version", "v"]).success();
    let read = |path: &str| fs::read_to_string(place(&root.join("site"), "v", path)).expect("written");
    // 8 slots of 50 ms, the first token after three tenths of it: both limits are reached beyond 8 clients.
    for path in ["campaigns/quickstart/index.html", "campaigns/index.html", "index.html", "reports/index.html"] {
        let page = read(path);
        for limit in ["SLO p99 latency ≤ 300 ms holds to ", "SLO p95 TTFT ≤ 50.0 ms holds to "] {
            let load = page.split(limit).nth(1).and_then(|rest| rest.split(' ').next());
            let load: f64 = load.unwrap_or_else(|| panic!("{path}: no {limit}")).parse().expect("a number");
            assert!((8.0..64.0).contains(&load), "{path}: {limit}{load}");
        }
    }
}

#[test]
fn adding_benchmarks_one_by_one_comes_to_the_same_site() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let made = synthetic::made();
    // Two loads with limits, run twice: a sweep grows, gets a second execution, a comparison and a trend.
    let added = [0, 3, 1, 21, 24];
    for (place, number) in added.into_iter().enumerate() {
        synthetic::write_benchmark(&root.join("results"), &made[number], |_, _| {});
        sitegen(root, &["build", "--version", &format!("v{place}")]).success();
    }
    sitegen(root, &["build", "--version", "v4", "--out", "cold"]).success();
    let (grown, cold) = (tree(&root.join("site")), tree(&root.join("cold")));
    for (path, bytes) in cold.iter().filter(|(path, _)| path.starts_with("v4") || path.starts_with("o")) {
        assert!(grown.get(path) == Some(bytes), "{}", path.display());
    }
    assert_eq!(
        grown.keys().filter(|path| path.starts_with("v4")).count(),
        cold.keys().filter(|path| path.starts_with("v4")).count()
    );

    // Without the index, the same; and with it, what was sealed before is not read again.
    let build = ["build", "--version", "v4"];
    fs::remove_file(root.join("site/.cache/index.zst")).expect("removed");
    sitegen(root, &build).success();
    assert!(tree(&root.join("site")) == grown);
    let sealed = root.join("results").join(made[0].id.to_string()).join("run.json");
    let before = fs::read(&sealed).expect("read");
    fs::remove_file(&sealed).expect("removed");
    fs::write(&sealed, "{").expect("written");
    sitegen(root, &build).success();
    assert!(tree(&root.join("site")) == grown);
    fs::remove_file(root.join("site/.cache/index.zst")).expect("removed");
    let message = text(&sitegen(root, &build).code(2).get_output().stderr);
    assert!(message.contains(&made[0].id.to_string()), "{message}");
    fs::remove_file(&sealed).expect("removed");
    fs::write(&sealed, before).expect("written");

    // Sealed anew, it is read anew.
    fs::remove_dir_all(sealed.parent().expect("a folder")).expect("removed");
    sitegen(root, &["build", "--version", "without"]).success();
    synthetic::write_benchmark(&root.join("results"), &made[0], |run, _| run.service.kind = "another".to_owned());
    sitegen(root, &["build", "--version", "anew"]).success();
    let page = fs::read_to_string(place(&root.join("site"), "anew", "benchmarks/index.html")).expect("written");
    assert!(page.contains("<td>another</td>"), "{page}");
}

#[test]
fn points_are_not_mixed_because_they_look_alike() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    // Two recipes in one campaign, the same sweep: the second service is ten times slower.
    for (made, slow) in synthetic::made().iter().take(14).zip([false; 7].into_iter().chain([true; 7])) {
        let made = synthetic::Made {
            service_s: if slow { 0.5 } else { 0.05 },
            repetition: 1,
            point: made.point + if slow { 7 } else { 0 },
            ..made.clone()
        };
        synthetic::write_benchmark(&root.join("results"), &made, |_, _| {});
    }
    sitegen(root, &["build", "--version", "v"]).success();
    let page = fs::read_to_string(place(&root.join("site"), "v", "campaigns/quickstart/index.html")).expect("written");
    let peaks: Vec<f64> = page
        .split("peak ")
        .skip(1)
        .take(2)
        .map(|rest| rest.split(' ').next().expect("a number").parse().expect("a number"))
        .collect();
    assert!((140.0..165.0).contains(&peaks[0]) && (13.0..17.0).contains(&peaks[1]), "{peaks:?}");
}

#[test]
fn the_page_of_a_benchmark_on_a_cluster_has_its_jobs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let made = synthetic::made();
    synthetic::write_benchmark(&root.join("results"), &made[0], |run, _| {
        let service = serde_json::json!({"id": "4711", "name": "x.serve", "state": "OUT_OF_MEMORY", "exit_code": "0:125",
            "nodes": "mel[0001-0002]", "partition": "<cpu>", "qos": "short", "account": "p200000",
            "submitted_unix_s": 1_770_000_000, "started_unix_s": 1_770_000_042, "ended_unix_s": 1_770_000_142});
        // One that never began.
        let client = serde_json::json!({"id": "4712", "state": "CANCELLED by 1001", "submitted_unix_s": 1_770_000_000});
        run.target.kind = "slurm".to_owned();
        run.target
            .other
            .insert("jobs".to_owned(), serde_json::json!({"service": service, "client": client, "stopped": false}));
    });
    synthetic::write_benchmark(&root.join("results"), &made[1], |_, _| {});
    sitegen(root, &["build", "--version", "v"]).success();
    sitegen(root, &["check"]).success();
    let page = |id| {
        let path = format!("benchmarks/{id}/index.html");
        fs::read_to_string(place(&root.join("site"), "v", &path)).expect("a page")
    };
    let page_of_job = page(made[0].id);
    for text in [
        "4711",
        "OUT_OF_MEMORY",
        "0:125",
        "mel[0001-0002]",
        "&lt;cpu&gt;",
        "p200000",
        ">42<",
        ">100<",
        "4712",
        "CANCELLED by 1001",
    ] {
        assert!(page_of_job.contains(text), "{text} is not on the page");
    }
    assert!(!page(made[1].id).contains("job of the"));
}

#[test]
fn a_broken_link_is_found() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    synthetic::write_benchmark(&root.join("results"), &synthetic::made()[0], |_, _| {});
    sitegen(root, &["build", "--version", "v"]).success();
    fs::remove_file(place(&root.join("site"), "v", "benchmarks/BM-20260301-001/index.html")).expect("removed");
    let report = sitegen(root, &["check"]).code(1);
    assert!(text(&report.get_output().stdout).contains("/index.html`: there is no such file"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    synthetic::write_benchmark(&root.join("results"), &synthetic::made()[0], |_, _| {});
    let manifest = root.join("results/BM-20260301-001/manifest.json");
    fs::remove_file(&manifest).expect("removed");
    let message = text(&sitegen(root, &["build"]).code(2).get_output().stderr);
    assert!(message.contains("BM-20260301-001/manifest.json"), "{message}");
    let message = text(&sitegen(root, &["check", "--out", "nowhere"]).code(2).get_output().stderr);
    assert!(message.contains("sitegen build"), "{message}");
}

#[test]
fn every_campaign_and_benchmark_has_a_report() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    write_all(&root.join("results"));
    sitegen(root, &["build", "--version", "v"]).success();
    sitegen(root, &["check"]).success();
    let read = |path: &str| {
        let file = place(&root.join("site"), "v", path);
        fs::read_to_string(file).unwrap_or_else(|err| panic!("{path}: {err}"))
    };
    let list = read("reports/index.html");
    let ids: Vec<String> = synthetic::made().iter().map(|made| made.id.to_string()).collect();
    for id in &ids {
        assert!(list.contains(&format!("href=\"../../o/{id}.")), "{id} is not in the list");
        assert!(read(&format!("benchmarks/{id}/index.html")).contains("href=\"report.html\""));
    }
    let page = read(&format!("reports/{}/index.html", ids[0]));
    // The page is the text: its summary first, its figures, its data beside it.
    for part in
        ["<h2>Summary</h2>", "What was measured", "src=\"plots/latency_ecdf.svg\"", "href=\"report.md\" download"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let markdown = read(&format!("reports/{}/report.md", ids[0]));
    assert!(markdown.contains("](plots/latency_ecdf.svg)") && !markdown.contains(".png"), "{markdown}");
    let json: serde_json::Value =
        serde_json::from_str(&read(&format!("reports/{}/report.json", ids[0]))).expect("JSON");
    for plot in json["plots"].as_array().expect("a list") {
        let file = plot["file"].as_str().expect("a name");
        assert!(read(&format!("reports/{}/{file}", ids[0])).starts_with("<svg "), "{file}");
    }
    // Executions: that of the campaign's page, and the earlier one.
    let campaigns = ["campaigns/quickstart/index.html", "campaigns/02_pipeline/index.html"].map(&read);
    assert!(campaigns.iter().all(|page| page.contains("/report.html\"")));
    assert_eq!(list.matches("<td>campaign</td>").count(), 3, "three executions");
}

/// Names of the objects of a site.
fn objects(site: &Path) -> Vec<String> {
    let entries = fs::read_dir(site.join("o")).expect("objects");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn one_more_benchmark_writes_what_tells_of_it_and_versions_share_the_rest() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let results = root.join("results");
    let made = synthetic::made();
    write_history(&results);
    made.iter().take(41).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    sitegen(root, &["build", "--version", "before"]).success();
    let site = root.join("site");
    let before = objects(&site);
    let old: BTreeMap<_, _> = tree(&site).into_iter().filter(|(path, _)| path.starts_with("o")).collect();
    let written = |name: &String| fs::metadata(site.join("o").join(name)).expect("there").modified().expect("a time");
    let times: Vec<_> = before.iter().map(written).collect();

    synthetic::write_benchmark(&results, &made[41], |_, _| {});
    sitegen(root, &["build", "--version", "after"]).success();
    let new: Vec<String> = objects(&site).into_iter().filter(|name| !before.contains(name)).collect();
    let kinds: BTreeSet<&str> = new.iter().map(|name| name.rsplit_once('.').expect("a digest").0).collect();
    let execution = "quickstart.2026-03-02T0930-ab12";
    assert_eq!(new.len(), 4, "{new:?}");
    assert_eq!(
        kinds,
        BTreeSet::from(["BM-20260302-042", execution, &format!("{execution}.diff"), "quickstart.campaign"]),
        "its page, its execution's, that one's diff and the campaign's"
    );
    assert!(before.iter().map(written).eq(times), "what was there is not written again");
    let now = tree(&site);
    assert!(old.iter().all(|(path, bytes)| now[path] == *bytes));

    // As if all had been there from the beginning.
    sitegen(root, &["build", "--version", "after", "--out", "cold"]).success();
    let cold = tree(&root.join("cold"));
    let own = |path: &&PathBuf| path.starts_with("after") || path.starts_with("o") || path.starts_with("assets");
    for path in cold.keys().filter(own) {
        assert!(now.get(path) == cold.get(path), "{}", path.display());
    }
    assert!(now.keys().filter(|path| path.starts_with("after")).all(|path| cold.contains_key(path)));
    assert!(cold.keys().filter(|path| path.starts_with("latest")).all(|path| now[path] == cold[path]));

    // What only the removed version showed is named, and nothing else.
    fs::remove_dir_all(site.join("before")).expect("removed");
    let report = sitegen(root, &["check"]).success();
    let says = text(&report.get_output().stderr);
    let unused: Vec<&str> = says.lines().filter_map(|line| line.trim().strip_prefix("o/")).collect();
    assert_eq!(unused.len(), 3, "{says}");
    assert!(unused.iter().all(|line| line.starts_with("quickstart.")), "{says}");
}

#[test]
fn an_edited_object_is_noticed_and_put_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["config", "user.name", "Tester"]);
    git(root, &["config", "user.email", "tester@localhost"]);
    let made = synthetic::made();
    made.iter().take(7).for_each(|made| synthetic::write_benchmark(&root.join("results"), made, |_, _| {}));
    git(root, &["add", "results"]);
    git(root, &["commit", "-q", "-m", "seven"]);
    sitegen(root, &["build", "--version", "v1"]).success();
    sitegen(root, &["build", "--version", "v2"]).success();
    let before = tree(&root.join("site"));
    let page = place(&root.join("site"), "v1", "benchmarks/BM-20260301-001/index.html");
    let object = page.parent().expect("a folder").to_owned();
    let name = format!("o/{}", object.file_name().expect("a name").to_string_lossy());
    fs::write(&page, fs::read_to_string(&page).expect("read").replacen("Valid", "Perfect", 1)).expect("written");
    let says = text(&sitegen(root, &["check"]).code(1).get_output().stdout);
    assert!(says.contains(&format!("{name}: is not as it was published; shown by v2, v1")), "{says}");
    let says = text(&sitegen(root, &["rebuild", "v1"]).code(1).get_output().stdout);
    assert!(says.contains(&format!("{name} was edited")), "{says}");
    fs::remove_dir_all(&object).expect("removed");
    let says = text(&sitegen(root, &["check"]).code(1).get_output().stdout);
    assert!(says.contains(&format!("v1: {name} is missing")), "{says}");
    let says = text(&sitegen(root, &["rebuild", "v1"]).success().get_output().stdout);
    assert!(says.contains("1 missing part put back"), "{says}");
    sitegen(root, &["check"]).success();
    assert!(tree(&root.join("site")) == before);
    assert!(find(&root.join("site"), "v1", "benchmarks/BM-20260303-099/index.html").is_none());
}

fn write_history(results: &Path) {
    for made in synthetic::history() {
        synthetic::write_benchmark(results, &made, |run, _| synthetic::versioned(&made, run));
    }
}

#[test]
fn a_regression_is_told_where_it_began_and_what_changed_with_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    write_history(&root.join("results"));
    sitegen(root, &["build", "--version", "v"]).success();
    sitegen(root, &["check"]).success();
    let read = |path: &str| {
        let file = place(&root.join("site"), "v", path);
        fs::read_to_string(file).unwrap_or_else(|err| panic!("{path}: {err}"))
    };
    // 35 % slower by construction, from the sixth execution on.
    let diff = read("diffs/03_history/2026-03-09T0900-ab12/index.html");
    assert!(diff.contains("▼ regressed") && diff.contains("7.0.15") && diff.contains("7.2.0"), "{diff}");
    let before = read("diffs/03_history/2026-03-08T0900-ab12/index.html");
    assert!(!before.contains("▼ regressed"), "{before}");
    let api: serde_json::Value = serde_json::from_str(&read("api/regressions.json")).expect("JSON");
    let changes = api["changes"].as_array().expect("a list");
    assert!(!changes.is_empty());
    for change in changes {
        assert_eq!(
            (&change["candidate"], &change["state"]),
            (&"2026-03-09T0900-ab12".into(), &"open".into()),
            "{change}"
        );
        let by = change["comparison"]["change"].as_f64().expect("a number");
        let expected = if by > 0.0 { 35.0 } else { 100.0 / 1.35 - 100.0 };
        assert!((by - expected).abs() < 8.0, "{change}");
    }
    let trend = read("trends/03_history/index.html");
    assert!(trend.contains("permutation segmentation") && trend.contains("Changes of level"), "{trend}");
    // The list, the feeds and the badge say the same.
    assert!(read("regressions/index.html").contains("open of"));
    let feed: serde_json::Value = serde_json::from_str(&read("feed.json")).expect("JSON");
    assert_eq!(feed["items"].as_array().map(Vec::len), Some(changes.len()));
    assert_eq!(read("feed.xml").matches("<entry>").count(), changes.len());
    assert!(read("badges/03_history.svg").contains("aria-label=\"03_history: "));
    // Told where it will be, every link of the feeds and the sitemap leads there, to a page of the version.
    sitegen(root, &["build", "--version", "w", "--base-url", "https://example.org/bench/"]).success();
    sitegen(root, &["check"]).success();
    let read = |path: &str| fs::read_to_string(place(&root.join("site"), "w", path)).expect("written");
    let feed: serde_json::Value = serde_json::from_str(&read("feed.json")).expect("JSON");
    let items = feed["items"].as_array().expect("a list").iter().map(|item| &item["url"]);
    let urls = items.chain([&feed["home_page_url"], &feed["feed_url"]]);
    let mut urls: Vec<String> = urls.map(|url| url.as_str().expect("a URL").to_owned()).collect();
    let atom = read("feed.xml");
    urls.extend(atom.split(" href=\"").skip(1).map(|rest| rest.split('"').next().expect("a URL").to_owned()));
    let sitemap = fs::read_to_string(root.join("site/sitemap.xml")).expect("written");
    urls.extend(sitemap.split("<loc>").skip(1).map(|rest| rest.split('<').next().expect("a URL").to_owned()));
    assert!(urls.len() > 2 * changes.len() + 50, "{}", urls.len());
    for url in &urls {
        let path = url.strip_prefix("https://example.org/bench/").unwrap_or_else(|| panic!("{url}"));
        assert!(root.join("site").join(path).is_file(), "{url}");
    }
    assert!(read("regressions/index.html").contains("content=\"https://example.org/bench/w/card.png\""));
    sitegen(root, &["build", "--base-url", "example.org"]).code(2);
    let dashboard = read("index.html");
    assert!(dashboard.contains("Nothing regressed"), "the newest execution is as slow as the one before: {dashboard}");
    // runner compare says the same of the same two.
    let said = changes.iter().map(|change| change["comparison"]["metric"].as_str().expect("a name"));
    assert!(
        said.clone().any(|metric| metric == "requests_per_second")
            && said.clone().any(|metric| metric == "latency_p99_s")
    );
}

#[test]
fn what_was_not_measured_again_is_not_compared() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    for made in synthetic::history().iter().take(12) {
        synthetic::write_benchmark(&root.join("results"), made, |run, _| {
            // Another machine on the second day.
            if made.execution.0 == 5 {
                run.nodes[0].cpu_model = Some("Another CPU".into());
            }
        });
    }
    sitegen(root, &["build", "--version", "v"]).success();
    let page = place(&root.join("site"), "v", "diffs/03_history/2026-03-05T0900-ab12/index.html");
    let page = fs::read_to_string(page).expect("written");
    assert!(page.contains("Not comparable") && page.contains("Another CPU") && !page.contains("regressed"), "{page}");

    // Back on the first machine: against the execution there, past the one elsewhere.
    for made in synthetic::history().iter().skip(12).take(6) {
        synthetic::write_benchmark(&root.join("results"), made, |_, _| {});
    }
    sitegen(root, &["build", "--version", "w"]).success();
    let page = fs::read_to_string(place(&root.join("site"), "w", "diffs/03_history/2026-03-06T0900-ab12/index.html"))
        .expect("written");
    assert!(page.contains("runner compare 2026-03-04T0900-ab12 2026-03-06T0900-ab12"), "{page}");
    assert!(!page.contains("Not comparable"), "{page}");
}

#[test]
fn an_old_version_is_rebuilt_from_git_and_an_edited_one_is_noticed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let made = synthetic::made();
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["config", "user.name", "Tester"]);
    git(root, &["config", "user.email", "tester@localhost"]);
    made.iter().take(7).for_each(|made| synthetic::write_benchmark(&root.join("results"), made, |_, _| {}));
    git(root, &["add", "results"]);
    git(root, &["commit", "-q", "-m", "seven"]);
    sitegen(root, &["build", "--version", "v1"]).success();
    let before = tree(&root.join("site/v1"));
    made.iter().skip(7).take(7).for_each(|made| synthetic::write_benchmark(&root.join("results"), made, |_, _| {}));
    git(root, &["add", "results"]);
    git(root, &["commit", "-q", "-m", "fourteen"]);
    let status = git(root, &["status", "--porcelain"]);

    let same = sitegen(root, &["rebuild", "v1"]).success();
    assert!(text(&same.get_output().stdout).contains("the same byte for byte"));
    fs::remove_dir_all(root.join("site/v1")).expect("removed");
    let back = sitegen(root, &["rebuild", "v1"]).success();
    assert!(text(&back.get_output().stdout).contains("put back"));
    assert!(tree(&root.join("site/v1")) == before);

    // Removed, and another one built: it stays on the list that rebuilds go by, and leaves the one that pages offer.
    fs::remove_dir_all(root.join("site/v1")).expect("removed");
    sitegen(root, &["build", "--version", "v2"]).success();
    let listed = |name: &str| fs::read_to_string(root.join("site").join(name)).expect("written").contains("\"v1\"");
    assert!(listed("versions.json") && !listed("versions.js"));
    sitegen(root, &["check"]).success();
    sitegen(root, &["rebuild", "v1"]).success();
    assert!(tree(&root.join("site/v1")) == before && listed("versions.js"));
    assert_eq!(git(root, &["status", "--porcelain"]), status, "the repository is as it was");

    sitegen(root, &["check"]).success();
    let page = root.join("site/v1/index.html");
    let edited = fs::read_to_string(&page).expect("read").replacen("valid", "perfect", 1);
    fs::write(&page, edited).expect("written");
    let report = sitegen(root, &["check"]).code(1);
    assert!(text(&report.get_output().stdout).contains("v1: is not as it was published"));
    let refused = sitegen(root, &["rebuild", "v1"]).code(1);
    assert!(text(&refused.get_output().stdout).contains("was edited"));
    sitegen(root, &["rebuild", "v9"]).code(2);
}

#[test]
fn the_steps_of_a_search_stand_with_their_reasons() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    for (step, made) in synthetic::made().iter().take(4).enumerate() {
        synthetic::write_benchmark(&root.join("results"), made, |run, _| {
            let wanted = serde_json::json!({ "goal": "knee", "min": 1.0, "max": 64.0, "whole": true, "precision": 0.05,
                "step_repetitions": 1, "most_steps": 12 });
            run.campaign.search = Some(archive::SearchFacts {
                path: "benchmarks.num_clients".into(),
                step: step + 1,
                reason: format!("reason number {}", step + 1),
                method: "a method, version 1".into(),
                wanted: wanted.as_object().expect("an object").clone(),
                other: Default::default(),
            });
        });
    }
    sitegen(root, &["build", "--version", "v"]).success();
    let page = fs::read_to_string(place(&root.join("site"), "v", "campaigns/quickstart/index.html")).expect("written");
    let places: Vec<_> = (1..=4).map(|step| page.find(&format!("reason number {step}")).expect("its reason")).collect();
    assert!(places.is_sorted() && page.contains("It has not ended: next would be"), "{page}");
}
