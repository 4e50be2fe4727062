//! Runners at once on one archive, and a disk that is full when a benchmark is sealed.

use std::{collections::BTreeSet, fs, process::Command};

use crate::project::Project;

const QUICK: &str = "\
name: NAME
repetitions: 2
recipe:
  configuration: {target: local}
  service: {command: 'exec sleep 1000'}
  client: {command: 'true'}
";

/// Rounds of two runners; `RUNNER_TEST_ROUNDS=100` for longer.
fn rounds() -> usize {
    std::env::var("RUNNER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn two_runners_at_once_lose_nothing() {
    let project = Project::new();
    for name in ["one", "two"] {
        project.write(&format!("{name}.yaml"), &QUICK.replace("NAME", name));
    }
    for _ in 0..rounds() {
        let both = ["one.yaml", "two.yaml"].map(|file| project.start(&["run", file]));
        both.into_iter().for_each(|running| _ = running.finish().code(0));
    }
    project.wait_for_silence();
    let ids = project.ids();
    assert_eq!(ids.len(), 4 * rounds());
    let executions: BTreeSet<String> = ids.iter().map(|id| project.run(*id).campaign.execution).collect();
    assert_eq!(executions.len(), 2 * rounds());
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), (1 + ids.len()).to_string());
    assert_eq!(project.git(&["fsck", "--strict", "--no-dangling"]), "");
    project.runner(&["verify"]).code(0);
    project.assert_in_order();
}

/// In a mount namespace of its own: a small file system, which the service fills as it ends, so that sealing finds it full.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs -o size=6m tmpfs "$1"
cd "$1"
git init -q -b main
git config user.name Tester
git config user.email tester@localhost
git commit -q --allow-empty -m start
cat >full.yaml <<'END'
configuration: {target: local}
service:
  command: "trap 'dd if=/dev/zero of=FOLDER/filler bs=4k count=10000 2>/dev/null; exit 0' TERM; while :; do sleep 0.05; done"
client: {command: 'true'}
END
sed -i "s#FOLDER#$1#" full.yaml
code=0; "$2" run full.yaml >out 2>err || code=$?
echo "run $code"
[ -e filler ] && echo filled
rm -f filler
code=0; "$2" resume >/dev/null 2>again || code=$?
echo "resume $code"
ls results | tr '\n' ' '; echo
code=0; "$2" verify >/dev/null || code=$?
echo "verify $code"
git fsck --strict --no-dangling
git status --porcelain -- results
git rev-list --count HEAD
cat err again >&2
"#;

#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("x"), "").expect("written");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_runner"))
        .output()
        .expect("unshare runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "this test needs root, to mount a small file system:\n{out}\n{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["run 2", "filled", "resume 0"], "{out}\n{err}");
    assert!(lines[3].starts_with("BM-"), "{out}\n{err}");
    assert_eq!(lines[4..], ["verify 0", "2"], "{out}\n{err}");
    assert!(err.contains("No space left"), "{err}");
}
