//! Other people's settings and file systems: umasks, line ends, links, letters of other case.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use archive::BenchmarkId;

use crate::project::Project;

const QUICK: &str = "\
configuration: {target: local}
service: {command: 'printf \"10 %%\\r\\n20 %%\\n\"; exec sleep 1000'}
client: {command: 'true'}
";

fn log_of(project: &Project, id: BenchmarkId) -> Vec<u8> {
    let benchmark = project.archive().open(id).expect("sealed");
    fs::read(benchmark.path_of("logs/service.log").expect("there")).expect("readable")
}

#[test]
fn whatever_the_umask() {
    for umask in ["000", "077"] {
        let project = Project::new();
        project.write("quick.yaml", QUICK);
        let script = format!("umask {umask}; exec \"$RUNNER\" run quick.yaml --raw-limit 1");
        project.shell(&[], &script).code(0);
        project.shell(&[], &format!("umask {umask}; exec \"$RUNNER\" verify")).code(0);
        project.shell(&[], &format!("umask {umask}; exec \"$RUNNER\" rerun latest"));
        assert_eq!(project.ids().len(), 2);
        for id in project.ids() {
            for path in archive::files_below(&project.root().join("results").join(id.to_string())).expect("readable") {
                let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
                assert_eq!(mode, 0o444, "{}", path.display());
            }
        }
        let modes = project.git(&["ls-tree", "-r", "HEAD", "results"]);
        assert!(modes.lines().all(|line| line.starts_with("100644 blob ")), "{modes}");
        project.wait_for_silence();
        project.assert_in_order();
    }
}

#[test]
fn git_never_changes_a_sealed_byte() {
    let project = Project::new();
    let home = tempfile::tempdir().expect("a folder");
    let config = "[core]\n\tautocrlf = true\n[user]\n\tname = T\n\temail = t@localhost\n";
    fs::write(home.path().join(".gitconfig"), config).expect("written");
    let variables = [("HOME", home.path().to_str().expect("text"))];
    // The project itself wants other line ends as well.
    project.write(".gitattributes", "* text=auto eol=crlf\n");
    project.write("quick.yaml", QUICK);
    project.shell(&variables, "git add . && git commit -q -m start").code(0);
    let origin = tempfile::tempdir().expect("a folder");
    let origin = origin.path().join("origin.git").display().to_string();
    project
        .shell(&variables, &format!("git init -q --bare -b main {origin} && git remote add origin {origin}"))
        .code(0);
    project.shell(&variables, "exec \"$RUNNER\" run quick.yaml --push").code(0);
    let cloned = Project::new();
    cloned.shell(&variables, &format!("git clone -q {origin} copy")).code(0);
    cloned.shell(&variables, "cd copy && git status --porcelain && exec \"$RUNNER\" verify").code(0);
    // Both give the same id, and the one that comes second is put on top, with all of its bytes.
    cloned.shell(&variables, "cd copy && exec \"$RUNNER\" run quick.yaml").code(0);
    project.shell(&variables, "exec \"$RUNNER\" run quick.yaml --push").code(0);
    cloned.shell(&variables, "cd copy && exec \"$RUNNER\" archive publish").code(0);
    cloned.shell(&variables, "cd copy && exec \"$RUNNER\" verify --append-only origin/main").code(0);
    let status = cloned.shell(&variables, "cd copy && git status --porcelain");
    assert_eq!(status.stdout(), "");
    project.shell(&variables, "git pull -q origin main && exec \"$RUNNER\" verify").code(0);
    assert_eq!(project.ids().len(), 3);
    for id in project.ids() {
        assert_eq!(log_of(&project, id), b"10 %\r\n20 %\n", "{id}");
    }
}

#[test]
fn an_archive_behind_a_link() {
    let project = Project::new();
    let other = Project::new();
    fs::create_dir(other.root().join("kept")).expect("created");
    symlink(other.root().join("kept"), project.root().join("results")).expect("linked");
    project.write("quick.yaml", QUICK);
    project.runner(&["run", "quick.yaml"]).code(0);
    project.runner(&["rerun", "latest"]);
    project.runner(&["verify"]).code(0);
    assert_eq!(project.runner(&["list", "--json"]).code(0).stdout().lines().count(), 2);
    // Where the folder really is, there are the commits.
    assert_eq!(other.git(&["rev-list", "--count", "HEAD"]).trim(), "3");
    assert_eq!(other.git(&["status", "--porcelain"]), "");
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "1");
    // A link in place of a sealed folder is no benchmark.
    let id = project.ids()[0].to_string();
    let (place, away) = (project.root().join("results").join(&id), other.root().join("away"));
    fs::rename(&place, &away).expect("moved");
    symlink(&away, &place).expect("linked");
    let said = project.runner(&["verify"]);
    assert!(said.code(1).stdout().contains(&id), "{}", said.stdout());
}

#[test]
fn no_two_paths_are_one_where_case_is_not_told_apart() {
    let project = Project::new();
    project.write(
        "names.yaml",
        "configuration: {target: local}\nservice: {command: 'echo x; exec sleep 1000'}\nclient:\n  command: |\n    \
         cd \"$BENCHMARK_OUTPUT_DIR\"\n    mkdir -p A a\n    echo 1 >A/x; echo 2 >a/X; echo 3 >b; echo 4 >B; echo 5 >Service.log\n    \
         echo 6 >con.txt; echo 7 >'q:1?'; echo 8 >'end.'; ln -s /etc/hostname link; ln -s / everything\n    \
         head -c 100000 /dev/zero >big; echo 9 >BIG.ZST\n",
    );
    project.runner(&["run", "names.yaml"]).code(0);
    project.runner(&["rerun", "latest"]);
    project.runner(&["verify"]).code(0);
    project.wait_for_silence();
    let results = project.root().join("results");
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut parts = |path: &Path| {
        for part in path.ancestors().filter(|part| *part != Path::new("")) {
            let name = part.to_str().expect("text").to_owned();
            let known = seen.entry(name.to_lowercase()).or_insert_with(|| name.clone());
            assert_eq!(*known, name, "two names that differ in case alone");
            let last = part.file_name().and_then(|last| last.to_str()).expect("text");
            assert!(!last.contains(['<', '>', ':', '"', '\\', '|', '?', '*']) && !last.ends_with(['.', ' ']), "{name}");
            assert_ne!(last.split('.').next(), Some("con"), "{name}");
        }
    };
    for path in archive::files_below(&results).expect("readable") {
        parts(path.strip_prefix(&results).expect("below"));
    }
    // Each text is there once in each benchmark, and what links lead to is not.
    for id in project.ids() {
        let benchmark = project.archive().open(id).expect("sealed");
        let texts: BTreeSet<Vec<u8>> = benchmark
            .logs()
            .iter()
            .map(|name| {
                let bytes = fs::read(benchmark.path_of(&format!("logs/{name}")).expect("there")).expect("readable");
                if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).expect("compressed") } else { bytes }
            })
            .collect();
        for number in 1..=9 {
            assert!(texts.contains(format!("{number}\n").as_bytes()), "{number}: {:?}", benchmark.logs());
        }
        assert!(!benchmark.logs().iter().any(|name| name.contains("link") || name.contains("everything")));
    }
    project.assert_in_order();
}
