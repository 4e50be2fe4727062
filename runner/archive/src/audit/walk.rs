//! The walk over history: every commit against its parents, on every core.

use std::{collections::VecDeque, rc::Rc, thread};

use git2::{Commit, ErrorCode, Oid, Repository, Sort};

use super::{changed, contradiction, tree_at, trees};
use crate::{BenchmarkId, Damage};

/// What the commits say.
#[derive(Default)]
pub struct Walked {
    pub damages: Vec<Damage>,
    pub brought: Vec<(BenchmarkId, String)>,
    /// Commits that were looked at.
    pub commits: u64,
    /// Commits whose folders are not here.
    pub unread: u64,
}

/// Fewer commits are not worth a thread.
const LEAST: usize = 64;

/// Looks at every commit that `head` descends from, and `known` does not.
pub fn walk(repository: &Repository, relative: &str, head: Oid, known: Option<Oid>) -> Result<Walked, git2::Error> {
    let mut walk = repository.revwalk()?;
    // Neighbours have trees in common.
    walk.set_sorting(Sort::TOPOLOGICAL)?;
    walk.push(head)?;
    if let Some(known) = known {
        walk.hide(known)?;
    }
    let commits: Vec<Oid> = walk.collect::<Result<_, _>>()?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = commits.len().div_ceil(threads).max(LEAST);
    let parts: Vec<Result<Walked, git2::Error>> = thread::scope(|scope| {
        let path = repository.path();
        // Each with an object store of its own.
        let look = |part| move || look(&Repository::open(path)?, relative, part);
        let running: Vec<_> = commits.chunks(share).map(|part| scope.spawn(look(part))).collect();
        let died = || git2::Error::from_str("a thread that read the history died");
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).collect()
    });
    let mut all = Walked::default();
    for part in parts {
        let part = part?;
        all.damages.extend(part.damages);
        all.brought.extend(part.brought);
        all.commits += part.commits;
        all.unread += part.unread;
    }
    Ok(all)
}

fn look(repository: &Repository, relative: &str, commits: &[Oid]) -> Result<Walked, git2::Error> {
    let mut reader = Reader { repository, relative, kept: VecDeque::new() };
    let mut walked = Walked::default();
    for id in commits {
        let commit = repository.find_commit(*id)?;
        let Some(now) = known(reader.archive(&commit))? else {
            walked.unread += 1;
            continue;
        };
        // New against every parent.
        let mut new: Option<Vec<(BenchmarkId, Oid)>> = None;
        let by = format!("by commit {}", &commit.id().to_string()[..12]);
        for parent in commit.parent_ids() {
            // Of a shallow clone the parent is not here, and of a partial one not its folders: as if it ended here.
            let before = repository.find_commit(parent).and_then(|parent| reader.archive(&parent));
            let Some(before) = known(before)? else { continue };
            let mut own = Vec::new();
            if before.id != now.id {
                trees::compare(&before.bytes, &now.bytes, |old, new| {
                    let new_id = new.and_then(|entry| entry.oid());
                    match (old.and_then(|entry| Some((entry.benchmark()?, entry.oid()?))), new) {
                        (Some((id, folder)), _) => walked.damages.extend(changed(repository, id, folder, new_id, &by)),
                        (None, Some(entry)) => own.extend(entry.benchmark().zip(new_id)),
                        (None, None) => {}
                    }
                });
            }
            new = Some(match new {
                None => own,
                Some(earlier) => earlier.into_iter().filter(|one| own.contains(one)).collect(),
            });
        }
        walked.commits += 1;
        let new = match new {
            Some(new) => new,
            None if commit.parent_count() == 0 => {
                trees::entries(&now.bytes).filter_map(|entry| entry.benchmark().zip(entry.oid())).collect()
            }
            // At the edge of what is here everything looks new.
            None => Vec::new(),
        };
        for (id, folder) in new {
            walked.brought.push((id, commit.id().to_string()));
            walked.damages.extend(contradiction(repository, id, folder, &commit));
        }
    }
    Ok(walked)
}

/// What could be read; `None` for what a shallow or partial clone does not have.
fn known<T>(read: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match read {
        Err(err) if err.code() == ErrorCode::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The archive's tree of a commit, as it is stored; without an id where there is none.
#[derive(Default)]
struct Raw {
    id: Option<Oid>,
    bytes: Vec<u8>,
}

/// Reads the archive's tree of commits.
struct Reader<'a> {
    repository: &'a Repository,
    relative: &'a str,
    /// The newest last.
    kept: VecDeque<Rc<Raw>>,
}

/// Trees that are kept: a commit's parent is mostly the next to be read.
const KEPT: usize = 4;

impl Reader<'_> {
    fn archive(&mut self, commit: &Commit<'_>) -> Result<Rc<Raw>, git2::Error> {
        let Some(id) = tree_at(self.repository, commit, self.relative)? else { return Ok(Rc::default()) };
        if let Some(raw) = self.kept.iter().find(|raw| raw.id == Some(id)) {
            return Ok(raw.clone());
        }
        // Not a tree of libgit2's, which makes a value of every entry.
        let store = self.repository.odb()?;
        let object = store.read(id)?;
        let raw = Rc::new(Raw { id: Some(id), bytes: object.data().to_vec() });
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(raw.clone());
        Ok(raw)
    }
}
