//! The steps of the two workflows, run here as they stand in their files, but for the build of the programs.

#[path = "synthetic/archive.rs"]
mod synthetic;
#[path = "synthetic/place.rs"]
mod where_pages_are;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const REPOSITORY: &str = "https://example.org/me/benchmarks";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The commands of a workflow's steps, in their order.
fn commands(workflow: &str) -> Vec<String> {
    let text = fs::read_to_string(project().join(workflow)).expect("a workflow");
    let of_github = |line: &str| line.trim().strip_prefix("run: ").map(str::to_owned);
    let of_gitlab = |line: &str| line.strip_prefix("    - ").filter(|rest| rest.contains(' ')).map(str::to_owned);
    let found =
        text.lines().filter_map(|line| if workflow.contains("github") { of_github(line) } else { of_gitlab(line) });
    found.filter(|command| !command.starts_with("if:")).collect()
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"];
    let status = Command::new("git").arg("-C").arg(folder).args(identity).args(arguments).status().expect("git");
    assert!(status.success(), "git {arguments:?}");
}

fn runner() -> PathBuf {
    let sitegen = Path::new(assert_cmd::cargo::cargo_bin!("sitegen"));
    let runner = sitegen.with_file_name("runner");
    assert!(runner.exists(), "{}: `cargo build --workspace --bins` makes it", runner.display());
    runner
}

/// Everything below a folder, by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let bytes = fs::read(&path).expect("a file");
                    found.insert(path.strip_prefix(folder).expect("below").to_owned(), bytes);
                }
            }
        }
    }
    found
}

/// Runs the workflow in a fresh clone, with `first` before all programs; gives the folder that it deploys, and what was said.
fn deploy(workflow: &str, repository: &Path, clone: &Path, url: &str, first: &Path) -> (PathBuf, String) {
    let status = Command::new("git").args(["clone", "-q"]).args([repository, clone]).status().expect("git");
    assert!(status.success());
    let programs = clone.join("target/release");
    fs::create_dir_all(&programs).expect("created");
    std::os::unix::fs::symlink(runner(), programs.join("runner")).expect("linked");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin!("sitegen"), programs.join("sitegen")).expect("linked");
    let path = format!("{}:{}", first.display(), std::env::var("PATH").expect("a PATH"));
    let commands = commands(workflow);
    // What else there is looks at proposed changes, and deploys nothing.
    assert!(commands.len() >= 3 && !commands[3..].iter().any(|command| command.contains("deployable")), "{commands:?}");
    assert!(commands[1].starts_with("scripts/verify-archive.sh "), "{commands:?}");
    assert!(commands[0].starts_with("cargo build --release --locked"), "{commands:?}");
    let command = commands[2]
        .replace("https://${{ github.repository_owner }}.github.io/${{ github.event.repository.name }}", url)
        .replace("$CI_PAGES_URL", url);
    let output = Command::new("bash")
        .args(["-c", &command])
        .current_dir(clone)
        .env("PATH", path)
        .env("REPOSITORY", REPOSITORY)
        .output();
    let output = output.expect("bash");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command}: {said}");
    let text = fs::read_to_string(project().join(workflow)).expect("a workflow");
    let deployed = if workflow.contains("github") { "site" } else { "public" };
    assert!(text.contains(&format!("path: {deployed}")) || text.contains(&format!("- {deployed}")));
    (clone.join(deployed), said)
}

#[test]
fn each_deployment_holds_the_versions_before_it() {
    for workflow in [".github/workflows/site.yml", ".gitlab-ci.yml"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let repository = folder.path().join("repository");
        let results = repository.join("results");
        fs::create_dir_all(repository.join("scripts")).expect("created");
        fs::copy(project().join("scripts/deployable-site.sh"), repository.join("scripts/deployable-site.sh"))
            .expect("copied");
        fs::write(repository.join(".gitignore"), "/target\n/site\n/public\n").expect("written");
        git(folder.path(), &["init", "-q", "-b", "main", "repository"]);
        let made = synthetic::made();
        let mut last: Option<PathBuf> = None;
        let mut versions: Vec<String> = Vec::new();
        for (number, some) in made[..9].chunks(3).enumerate() {
            some.iter().for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
            git(&repository, &["add", "."]);
            git(&repository, &["commit", "-q", "-m", "more"]);
            // Where the deployment before this one lies: curl reads files too.
            let url = match &last {
                None => "http://127.0.0.1:9/nobody".to_owned(),
                Some(site) => format!("file://{}", site.display()),
            };
            let address = "https://example.org/benchmarks";
            let clone = folder.path().join(format!("clone-{number}"));
            // The address of the pages stays one; the list that lies there is read from this machine.
            let wrapper = folder.path().join("curl");
            fs::create_dir_all(&wrapper).expect("created");
            let script = format!(
                "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = {address}/versions.json ] || exit 9\nshift $(($# - 2))\nexec /usr/bin/curl --fail --silent --output \"$1\" {url}/versions.json\n"
            );
            fs::write(wrapper.join("curl"), script).expect("written");
            fs::set_permissions(wrapper.join("curl"), fs::Permissions::from_mode(0o755)).expect("set");
            let (site, said) = deploy(workflow, &repository, &clone, address, &wrapper);
            let list: Vec<Value> =
                serde_json::from_str(&fs::read_to_string(site.join("versions.json")).expect("a list")).expect("JSON");
            let names: Vec<String> =
                list.iter().map(|one| one["version"].as_str().expect("a name").to_owned()).collect();
            assert_eq!(names.len(), number + 1, "{workflow}: {said}");
            assert_eq!(names[1..], versions[..], "{workflow}: the newest stands first, the others stay");
            if let Some(before) = &last {
                for name in &versions {
                    assert!(files(&site.join(name)) == files(&before.join(name)), "{workflow}: {name} as it was");
                }
                assert_eq!(said.matches("put back, the same byte for byte").count(), number, "{said}");
            } else {
                assert!(said.contains("taken for the first"), "{said}");
            }
            let commit = list[0]["commit"].as_str().expect("a commit");
            let page = where_pages_are::place(&site, &names[0], &format!("benchmarks/{}/index.html", made[0].id));
            let page = fs::read_to_string(page).expect("a page");
            assert!(
                page.contains(&format!("href=\"{REPOSITORY}/raw/HEAD/results/{}/requests.jsonl.zst\"", made[0].id))
            );
            let page = fs::read_to_string(site.join(&names[0]).join("index.html")).expect("a page");
            assert!(page.contains(&format!("href=\"{REPOSITORY}/commit/{commit}\"")), "{page}");
            let sitemap = fs::read_to_string(site.join("sitemap.xml")).expect("a sitemap");
            assert!(sitemap.contains(&format!("<loc>{address}/")), "{sitemap}");
            assert!(!site.join(".cache").exists(), "what builds keep for themselves is not deployed");
            versions = names;
            last = Some(site);
        }
    }
}
