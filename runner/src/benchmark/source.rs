//! Where the file that is run stands in git: which commit holds it, and what is changed there.
//!
//! Asks the system's git and changes nothing, not even git's own notes. Outside git, or without git, nothing is known.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::plan::Source;

/// What `git diff` writes whatever its user has configured.
const DIFF: [&str; 12] = [
    "diff",
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--unified=3",
    "--diff-algorithm=myers",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "HEAD",
];

/// The state of the repository around `file`, without what lies in `results`.
pub fn source_of(file: &Path, results: &Path) -> Source {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let text = |args: &[&str]| Some(String::from_utf8(git(folder, args)?).ok()?.trim().to_owned());
    let Some(commit) = text(&["rev-parse", "--verify", "--quiet", "HEAD"]) else { return Source::default() };
    let root = text(&["rev-parse", "--show-toplevel"]).unwrap_or_default();
    let absolute = std::path::absolute(results).unwrap_or_default();
    // A results folder may not be there yet.
    let results = absolute.canonicalize().unwrap_or(absolute);
    let mut args = DIFF.to_vec();
    let excluded = results.strip_prefix(&root).ok().map(|below| format!(":(top,exclude,literal){}", below.display()));
    args.extend(["--", ":(top)"]);
    args.extend(excluded.as_deref());
    let changes = git(folder, &args).filter(|changes| !changes.is_empty());
    Source { git_commit: Some(commit), changes_sha256: changes.map(|changes| archive::sha256_hex(&changes)) }
}

fn git(folder: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args).env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_commit_and_what_is_changed_since() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let git = |args: &[&str]| {
            let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
            assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        fs::create_dir_all(root.join("campaigns")).expect("created");
        fs::create_dir_all(root.join("results")).expect("created");
        let (file, results) = (root.join("campaigns/a.yaml"), root.join("results"));
        fs::write(&file, "one\n").expect("written");
        assert_eq!(source_of(&file, &results), Source::default(), "outside git");
        git(&["init", "-q", "-b", "main"]);
        assert_eq!(source_of(&file, &results), Source::default(), "before the first commit");
        fs::write(root.join("results/x"), "1\n").expect("written");
        git(&["add", "."]);
        git(&["-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-q", "-m", "x"]);
        // However somebody likes to see differences.
        git(&["config", "diff.noprefix", "true"]);
        git(&["config", "color.ui", "always"]);
        let clean = Source { git_commit: Some(git(&["rev-parse", "HEAD"])), changes_sha256: None };
        assert_eq!(source_of(&file, &results), clean);
        fs::write(root.join("results/x"), "2\n").expect("written");
        fs::write(root.join("new"), "untracked\n").expect("written");
        assert_eq!(source_of(&file, &results), clean, "the archive is no change of the recipe");
        fs::write(&file, "two\n").expect("written");
        let changed = source_of(&file, &results);
        assert_eq!(changed.git_commit, clean.git_commit);
        let by_hand = "git -C \"$0\" -c diff.noprefix=false diff --no-color --binary --full-index HEAD -- ':(top)' \
                       ':(top,exclude)results' | sha256sum";
        let output = Command::new("sh").args(["-c", by_hand]).arg(root).output().expect("it runs");
        let by_hand = String::from_utf8(output.stdout).expect("text");
        assert_eq!(changed.changes_sha256.as_deref(), by_hand.split(' ').next());
        assert_eq!(source_of(&file, &root.join("elsewhere/not/there")).git_commit, clean.git_commit);
    }
}
