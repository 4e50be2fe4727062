//! Committing sealed benchmarks: one commit that adds exactly one folder, and where git might change line ends, the
//! `.gitattributes` that keeps it from that.
//!
//! The commit is built from HEAD's tree in memory. The user's working tree is not touched; of the index only
//! the entries of the new folder are added (as `git commit --only` does), so that `git status` reads the
//! same before and after. Hooks are not run. No network. What a killed process of ours
//! left locked is unlocked.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use git2::{AttrCheckFlags, AttrValue, ErrorCode, ObjectType, Oid, RepositoryState, Signature};

use crate::{BenchmarkId, SigningKey, seal::files_below};

mod index;

pub(crate) use index::{IndexUpdate, entry};

/// How long another git process may hold the index or the branch before this gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("{0} is in no git repository: the result is sealed but not committed")]
    NoRepository(PathBuf),
    #[error(
        "the repository is in the middle of a {0}: finish or abort it, the result is committed by the next `runner` command"
    )]
    Busy(&'static str),
    #[error("{0} is ignored by git (a .gitignore rule): nothing was committed")]
    Ignored(PathBuf),
    #[error("cannot commit {id}: {source}")]
    Git { id: BenchmarkId, source: git2::Error },
    #[error(
        "cannot commit {id} yet: {source}; when no git command runs in this repository, a killed one left that file: remove it"
    )]
    Locked { id: BenchmarkId, source: git2::Error },
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What may differ from one commit to the next.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Signs the commit, as `git commit -S` does where `gpg.format` is `ssh`.
    pub sign: Option<SigningKey>,
    /// Leave out who commits.
    pub anonymous: bool,
}

/// A commit that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The full hash of the commit.
    pub commit: String,
}

/// The state of the repository around a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// Hash of HEAD; `None` before the first commit.
    pub head: Option<String>,
    pub root: PathBuf,
}

impl Repository {
    /// The repository that `folder` lies in, if it lies in one.
    pub fn around(folder: &Path) -> Option<Self> {
        let repository = git2::Repository::discover(folder).ok()?;
        let head = repository.head().ok().and_then(|head| head.target()).map(|id| id.to_string());
        Some(Self { head, root: repository.workdir()?.to_owned() })
    }
}

/// Commits the sealed folder of `id` on top of HEAD. Does nothing when HEAD holds exactly this folder already.
///
/// `message` is the whole commit message.
pub fn commit(results: &Path, id: BenchmarkId, message: &str) -> Result<Option<Committed>, CommitError> {
    commit_with(results, id, message, &CommitOptions::default())
}

/// [`commit`] with other options.
pub fn commit_with(
    results: &Path,
    id: BenchmarkId,
    message: &str,
    options: &CommitOptions,
) -> Result<Option<Committed>, CommitError> {
    commit_within(PATIENCE, results, id, message, options)
}

fn commit_within(
    patience: Duration,
    results: &Path,
    id: BenchmarkId,
    message: &str,
    options: &CommitOptions,
) -> Result<Option<Committed>, CommitError> {
    let results = results.canonicalize().map_err(|source| CommitError::Io { path: results.to_owned(), source })?;
    let git = |source| CommitError::Git { id, source };
    let repository = git2::Repository::discover(&results).map_err(|err| match err.code() {
        ErrorCode::NotFound => CommitError::NoRepository(results.clone()),
        // There is one, which cannot be used: it is somebody else's, or of a format that libgit2 does not know.
        _ => git(err),
    })?;
    let root = repository.workdir().ok_or_else(|| CommitError::NoRepository(results.clone()))?;
    let root = root.canonicalize().map_err(|source| CommitError::Io { path: root.to_owned(), source })?;
    let folder = results.join(id.to_string());
    let relative = folder.strip_prefix(&root).map_err(|_| CommitError::NoRepository(results.clone()))?.to_owned();
    if let Some(work) = under_way(&repository) {
        return Err(CommitError::Busy(work));
    }
    if repository.is_path_ignored(&relative).map_err(git)? {
        return Err(CommitError::Ignored(folder));
    }

    let mut entries = Vec::new();
    for path in files_below(&folder).map_err(|source| CommitError::Io { path: folder.clone(), source })? {
        let blob = exact_blob(&repository, &path)
            .map_err(git)?
            .map_err(|source| CommitError::Io { path: path.clone(), source })?;
        let name = path.strip_prefix(&root).unwrap_or(&path);
        entries.push((slashed(name), blob));
    }

    entries.extend(attributes(&repository, &results, &root, &relative).map_err(git)?);
    let deadline = Instant::now() + patience;
    // Before HEAD moves: an index that lacks what HEAD holds makes the user's next commit remove it.
    let index = IndexUpdate::begin(&repository, deadline).map_err(git)?;
    index.add(&root, &entries).map_err(git)?;
    loop {
        match add_on_head(&repository, &entries, message, options) {
            Ok(commit) => {
                // Also without a new commit: the one who made it may have died before this.
                index.finish().map_err(git)?;
                return Ok(commit.map(|commit| Committed { commit: commit.to_string() }));
            }
            // Someone else moved the branch or holds its lock: build on the new HEAD.
            Err(err) if Instant::now() < deadline && is_contention(&err) => thread::sleep(Duration::from_millis(50)),
            Err(err) if err.code() == ErrorCode::Locked => return Err(CommitError::Locked { id, source: err }),
            Err(err) => return Err(git(err)),
        }
    }
}

/// What a person has begun in the repository and not ended.
pub(crate) fn under_way(repository: &git2::Repository) -> Option<&'static str> {
    match repository.state() {
        RepositoryState::Clean => None,
        RepositoryState::Merge => Some("merge"),
        RepositoryState::CherryPick | RepositoryState::CherryPickSequence => Some("cherry-pick"),
        RepositoryState::Revert | RepositoryState::RevertSequence => Some("revert"),
        RepositoryState::Bisect => Some("bisect"),
        RepositoryState::ApplyMailbox => Some("`git am`"),
        _ => Some("rebase"),
    }
}

/// The file's bytes as they are sealed: no filter of `.gitattributes`, no change of line ends.
fn exact_blob(repository: &git2::Repository, path: &Path) -> Result<io::Result<Oid>, git2::Error> {
    let mut writer = repository.blob_writer(None)?;
    match File::open(path).and_then(|mut file| io::copy(&mut file, &mut writer)) {
        Ok(_) => writer.commit().map(Ok),
        Err(err) => Ok(Err(err)),
    }
}

/// What keeps git from ever changing a sealed byte, for everybody who clones: the rule of the archive's `.gitattributes`.
pub(crate) const ATTRIBUTES: (&str, &str) = (".gitattributes", "* -text\n");

/// The archive's `.gitattributes`, made when neither it nor any other rule does what it is for.
fn attributes(
    repository: &git2::Repository,
    results: &Path,
    root: &Path,
    benchmark: &Path,
) -> Result<Option<(String, Oid)>, git2::Error> {
    let (name, rule) = ATTRIBUTES;
    let path = results.join(name);
    let relative = path.strip_prefix(root).unwrap_or(&path);
    let ours = Oid::hash_object(ObjectType::Blob, rule.as_bytes())?;
    let head = repository.head().ok().and_then(|head| head.peel_to_tree().ok());
    let committed = head.and_then(|tree| tree.get_path(relative).ok()).map(|entry| entry.id());
    let here = fs::read(&path).ok();
    match (committed, &here) {
        // The one who committed it may have died before the index had it.
        (Some(committed), Some(text)) if committed == ours && text == rule.as_bytes() => {}
        (Some(_), _) => return Ok(None),
        // Ours, of an attempt that was cut off.
        (None, Some(text)) if text == rule.as_bytes() || text.is_empty() => {}
        (None, Some(_)) => return Ok(None),
        (None, None) => {
            let known = repository.get_attr(&benchmark.join("run.json"), "text", AttrCheckFlags::FILE_THEN_INDEX)?;
            if AttrValue::from_string(known) == AttrValue::False {
                return Ok(None);
            }
        }
    }
    let failed = |err| git2::Error::from_str(&format!("cannot write {}: {err}", path.display()));
    if here.as_deref() != Some(rule.as_bytes()) {
        fs::write(&path, rule).map_err(failed)?;
    }
    Ok(Some((slashed(relative), repository.blob(rule.as_bytes())?)))
}

fn is_contention(err: &git2::Error) -> bool {
    matches!(err.code(), ErrorCode::Locked | ErrorCode::Modified | ErrorCode::Exists)
}

/// One commit with `entries` added to HEAD's tree; `None` when they are all there already.
fn add_on_head(
    repository: &git2::Repository,
    entries: &[(String, Oid)],
    message: &str,
    options: &CommitOptions,
) -> Result<Option<Oid>, git2::Error> {
    let parent = match repository.head() {
        Ok(head) => Some(head.peel_to_commit()?),
        Err(err) if err.code() == ErrorCode::UnbornBranch => None,
        Err(err) => return Err(err),
    };
    // An in-memory index, not the user's: it only turns a tree and some paths into a tree.
    let mut index = git2::Index::new()?;
    if let Some(parent) = &parent {
        index.read_tree(&parent.tree()?)?;
    }
    for (name, blob) in entries {
        index.add(&entry(name, *blob, None))?;
    }
    let tree = repository.find_tree(index.write_tree_to(repository)?)?;
    if parent.as_ref().is_some_and(|parent| parent.tree_id() == tree.id()) {
        return Ok(None);
    }
    let author = author(repository, options.anonymous)?;
    let parents: Vec<_> = parent.iter().collect();
    let content = repository.commit_create_buffer(&author, &author, message, &tree, &parents)?;
    let commit = match &options.sign {
        Some(key) => signed(repository, content.as_str()?, key)?,
        None => unsigned(repository, content.as_str()?)?,
    };
    move_head(repository, commit, parent.as_ref().map(git2::Commit::id), message)?;
    Ok(Some(commit))
}

/// Who commits: as git is configured, or nobody.
pub(crate) fn author(repository: &git2::Repository, anonymous: bool) -> Result<Signature<'static>, git2::Error> {
    let nobody = || Signature::now("runner", "runner@localhost");
    match anonymous {
        true => nobody(),
        false => repository.signature().or_else(|_| nobody()),
    }
}

/// Makes a commit of `content`; no reference is moved. By the object store: libgit2's own call says that all is well when the
/// object could not be written.
pub(crate) fn unsigned(repository: &git2::Repository, content: &str) -> Result<Oid, git2::Error> {
    repository.odb()?.write(ObjectType::Commit, content.as_bytes())
}

/// Makes a commit of `content`, with a signature; no reference is moved.
pub(crate) fn signed(repository: &git2::Repository, content: &str, key: &SigningKey) -> Result<Oid, git2::Error> {
    let signature = key.sign_commit(content.as_bytes()).map_err(|err| git2::Error::from_str(&err.to_string()))?;
    repository.commit_signed(content, signature.trim_end(), Some("gpgsig"))
}

/// Moves the branch that HEAD is on, or HEAD itself, unless it no longer points to `from`.
pub(crate) fn move_head(
    repository: &git2::Repository,
    to: Oid,
    from: Option<Oid>,
    message: &str,
) -> Result<(), git2::Error> {
    let head = repository.find_reference("HEAD")?;
    let name = head.symbolic_target()?.unwrap_or("HEAD").to_owned();
    let log = format!("commit: {}", message.lines().next().unwrap_or_default());
    match from {
        Some(from) => repository.reference_matching(&name, to, true, from, &log).map(drop),
        None => repository.reference(&name, to, false, &log).map(drop),
    }
}

/// A relative path as git writes it.
pub(crate) fn slashed(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(root: &Path, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn repository(folder: &Path) {
        git(folder, &["init", "-q", "-b", "main"]);
        git(folder, &["config", "user.name", "Tester"]);
        git(folder, &["config", "user.email", "tester@localhost"]);
    }

    fn benchmark(root: &Path, id: BenchmarkId) {
        let folder = root.join("results").join(id.to_string());
        fs::create_dir_all(folder.join("logs")).expect("created");
        fs::write(folder.join("run.json"), format!("{{\"id\": \"{id}\"}}")).expect("written");
        fs::write(folder.join("logs/service.log"), "started").expect("written");
    }

    #[test]
    fn adds_one_folder_and_leaves_everything_else_as_it_was() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        repository(root);
        for name in ["kept", "changed", "staged"] {
            fs::write(root.join(name), "one\n").expect("written");
        }
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", "start"]);
        fs::write(root.join("changed"), "two\n").expect("written");
        fs::write(root.join("staged"), "two\n").expect("written");
        git(root, &["add", "staged"]);
        fs::write(root.join("new"), "untracked\n").expect("written");
        let before = (git(root, &["status", "--porcelain"]), git(root, &["diff", "--cached"]), git(root, &["diff"]));

        let id = BenchmarkId::new(20260301, 1);
        benchmark(root, id);
        let committed = commit(&root.join("results"), id, "Archive it\n").expect("committed").expect("new");

        let after = (git(root, &["status", "--porcelain"]), git(root, &["diff", "--cached"]), git(root, &["diff"]));
        assert_eq!(before, after);
        assert_eq!(git(root, &["rev-parse", "HEAD"]).trim(), committed.commit);
        assert_eq!(git(root, &["log", "--format=%an %s"]), "Tester Archive it\nTester start\n");
        let names = git(root, &["show", "--name-status", "--format=", "HEAD"]);
        assert_eq!(
            names,
            "A\tresults/.gitattributes\nA\tresults/BM-20260301-001/logs/service.log\nA\tresults/BM-20260301-001/run.json\n"
        );
        assert_eq!(git(root, &["fsck", "--strict"]), "");
        // A committer that died before it updated the index is finished by the next.
        git(root, &["rm", "-q", "-r", "--cached", "results"]);
        assert_eq!(commit(&root.join("results"), id, "again").expect("nothing to commit"), None);
        assert_eq!(git(root, &["status", "--porcelain"]), before.0);
    }

    #[test]
    fn two_committers_lose_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        repository(root);
        git(root, &["commit", "-q", "--allow-empty", "-m", "start"]);
        thread::scope(|scope| {
            for sequence in 1..=8 {
                scope.spawn(move || {
                    let id = BenchmarkId::new(20260301, sequence);
                    benchmark(root, id);
                    commit(&root.join("results"), id, &format!("{id}\n")).expect("committed");
                });
            }
        });
        assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "9");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
    }

    #[test]
    fn head_waits_for_the_index() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        repository(root);
        git(root, &["commit", "-q", "--allow-empty", "-m", "start"]);
        let id = BenchmarkId::new(20260301, 1);
        benchmark(root, id);
        let lock = root.join(".git/index.lock");
        fs::write(&lock, []).expect("written");
        let options = CommitOptions::default();
        let refused = commit_within(Duration::ZERO, &root.join("results"), id, "x", &options);
        let refused = refused.expect_err("locked").to_string();
        assert!(refused.contains("index.lock is there") && refused.contains("(rm "), "{refused}");
        assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "1");
        assert!(lock.exists(), "it is somebody else's");
        fs::remove_file(&lock).expect("removed");
        commit(&root.join("results"), id, "x").expect("committed").expect("new");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
    }

    #[test]
    fn the_bytes_that_were_sealed_are_committed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        repository(root);
        fs::write(root.join(".gitattributes"), "* text=auto\n").expect("written");
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", "start"]);
        let id = BenchmarkId::new(20260301, 1);
        benchmark(root, id);
        let log = "results/BM-20260301-001/logs/service.log";
        fs::write(root.join(log), "10 %\r\n20 %\r\n").expect("written");
        commit(&root.join("results"), id, "exact").expect("committed");
        assert_eq!(git(root, &["cat-file", "blob", &format!("HEAD:{log}")]), "10 %\r\n20 %\r\n");
        // Also when git looks at the file again.
        fs::write(root.join(log), "10 %\r\n20 %\r\n").expect("written");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
    }

    #[test]
    fn a_rule_against_changed_line_ends_is_added_once_and_only_where_there_is_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        repository(root);
        let results = root.join("results");
        let id = |sequence| BenchmarkId::new(20260301, sequence);
        let committed = |sequence: u32| {
            benchmark(root, id(sequence));
            commit(&results, id(sequence), "x").expect("committed").expect("new");
            let names = git(root, &["show", "--name-only", "--format=", "HEAD"]);
            assert_eq!(git(root, &["status", "--porcelain"]), "");
            names.lines().any(|name| name == "results/.gitattributes")
        };
        assert_eq!([committed(1), committed(2)], [true, false]);
        assert_eq!(git(root, &["check-attr", "text", "results/x"]), "results/x: text: unset\n");
        // Whoever takes it away gets it again, with a rule of their own they do not.
        git(root, &["rm", "-q", "results/.gitattributes"]);
        git(root, &["commit", "-q", "-m", "away"]);
        fs::write(results.join(".gitattributes"), "").expect("an attempt that was cut off");
        assert!(committed(3));
        git(root, &["rm", "-q", "results/.gitattributes"]);
        fs::write(root.join(".gitattributes"), "* text=auto\nresults/** -text\n").expect("written");
        git(root, &["add", ".gitattributes"]);
        git(root, &["commit", "-q", "-m", "their own"]);
        assert!(!committed(4));
    }

    #[test]
    fn says_why_it_cannot() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let id = BenchmarkId::new(20260301, 1);
        benchmark(root, id);
        let results = root.join("results");
        assert!(matches!(commit(&results, id, "x"), Err(CommitError::NoRepository(_))));
        repository(root);
        let config = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tunheardOf = true\n";
        fs::write(root.join(".git/config"), config).expect("written");
        assert!(matches!(commit(&results, id, "x"), Err(CommitError::Git { .. })), "it is a repository");
        fs::remove_dir_all(root.join(".git")).expect("removed");
        repository(root);
        fs::write(root.join(".gitignore"), "results/\n").expect("written");
        assert!(matches!(commit(&results, id, "x"), Err(CommitError::Ignored(_))));
        fs::remove_file(root.join(".gitignore")).expect("removed");
        commit(&results, id, "first").expect("an unborn branch is fine");
        assert_eq!(git(root, &["rev-list", "--count", "HEAD"]).trim(), "1");
    }
}
