//! Trees as git stores them: those of commits compared entry by entry, and that of a folder on disk.
//!
//! An archive's tree has an entry for every benchmark, and every commit has another one. So trees are compared as they are
//! stored, without a value made for each entry.

use std::{cmp::Ordering, collections::BTreeMap, fs, io, path::Path, str::FromStr};

use git2::{ObjectType, Oid};

use crate::{BenchmarkId, commit::slashed, seal::files_below};

/// Bytes of an object's id.
const ID: usize = 20;

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub is_folder: bool,
    pub name: &'a [u8],
    id: &'a [u8],
}

impl Entry<'_> {
    pub fn oid(&self) -> Option<Oid> {
        Oid::from_bytes(self.id).ok()
    }

    pub fn benchmark(&self) -> Option<BenchmarkId> {
        BenchmarkId::from_str(std::str::from_utf8(self.name).ok()?).ok()
    }

    /// The order of git: a folder's name as if it ended with `/`.
    fn cmp_name(&self, other: &Self) -> Ordering {
        let end = |entry: &Self| if entry.is_folder { b'/' } else { 0 };
        let common = self.name.len().min(other.name.len());
        let next = |entry: &Self| entry.name.get(common).copied().unwrap_or_else(|| end(entry));
        self.name[..common].cmp(&other.name[..common]).then_with(|| next(self).cmp(&next(other)))
    }
}

/// The entries of a tree, in its order. Ends early where the bytes are no tree.
pub fn entries(tree: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = tree;
    std::iter::from_fn(move || {
        let (entry, after) = split(rest)?;
        rest = after;
        Some(entry)
    })
}

/// The first entry, and what follows it.
fn split(tree: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let space = memchr::memchr(b' ', tree)?;
    let end = space + memchr::memchr(0, &tree[space..])?;
    let id = tree.get(end + 1..end + 1 + ID)?;
    let is_folder = matches!(&tree[..space], b"40000" | b"040000");
    Some((Entry { is_folder, name: &tree[space + 1..end], id }, &tree[end + 1 + ID..]))
}

/// Calls `take` with what differs between two trees: the entry before, the entry after.
pub fn compare<'a>(before: &'a [u8], after: &'a [u8], mut take: impl FnMut(Option<Entry<'a>>, Option<Entry<'a>>)) {
    let (mut old, mut new) = (before, after);
    loop {
        match (split(old), split(new)) {
            (Some((one, old_rest)), Some((two, new_rest))) => match one.cmp_name(&two) {
                Ordering::Equal => {
                    if one != two {
                        take(Some(one), Some(two));
                    }
                    (old, new) = (old_rest, new_rest);
                }
                Ordering::Less => {
                    take(Some(one), None);
                    old = old_rest;
                }
                Ordering::Greater => {
                    take(None, Some(two));
                    new = new_rest;
                }
            },
            (Some((one, rest)), None) => {
                take(Some(one), None);
                old = rest;
            }
            (None, Some((two, rest))) => {
                take(None, Some(two));
                new = rest;
            }
            (None, None) => return,
        }
    }
}

/// Files of a folder → the ids that git has for their bytes.
pub type Blobs = BTreeMap<String, Oid>;

/// The ids of everything in a folder on disk.
pub fn blobs_on_disk(folder: &Path) -> io::Result<Blobs> {
    let mut blobs = Blobs::new();
    for path in files_below(folder)? {
        let blob = Oid::hash_file(ObjectType::Blob, &path).map_err(io::Error::other)?;
        blobs.insert(slashed(path.strip_prefix(folder).unwrap_or(&path)), blob);
    }
    Ok(blobs)
}

/// The id that git has for a folder of these files, each of them a plain one.
pub fn tree_of(blobs: &Blobs) -> Option<Oid> {
    tree_below(&blobs.iter().map(|(name, blob)| (name.as_str(), *blob)).collect::<Vec<_>>())
}

fn tree_below(files: &[(&str, Oid)]) -> Option<Oid> {
    // In the order of git: `a.b`, `a/`, `a0`.
    let mut entries: Vec<(String, &str, Oid, bool)> = Vec::new();
    let mut rest = files;
    while let [(name, blob), ..] = rest {
        match name.split_once('/') {
            None => {
                entries.push(((*name).to_owned(), name, *blob, false));
                rest = &rest[1..];
            }
            Some((folder, _)) => {
                // Names are sorted, so those of one folder stand together.
                let prefix = format!("{folder}/");
                let count = rest.iter().take_while(|(name, _)| name.starts_with(&prefix)).count();
                let below: Vec<(&str, Oid)> =
                    rest[..count].iter().map(|(name, blob)| (&name[prefix.len()..], *blob)).collect();
                entries.push((prefix, folder, tree_below(&below)?, true));
                rest = &rest[count..];
            }
        }
    }
    entries.sort();
    let mut bytes = Vec::new();
    for (_, name, id, is_folder) in entries {
        bytes.extend_from_slice(if is_folder { b"40000 " } else { b"100644 " });
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    Oid::hash_object(ObjectType::Tree, &bytes).ok()
}

/// The id that git has for a file of these bytes.
pub fn blob_of(bytes: &[u8]) -> Option<Oid> {
    Oid::hash_object(ObjectType::Blob, bytes).ok()
}

/// The same for a file on disk.
pub fn blob_of_file(path: &Path) -> Option<Oid> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() => Oid::hash_file(ObjectType::Blob, path).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(root: &Path, args: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    #[test]
    fn a_folder_has_the_id_that_git_gives_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        git(root, &["init", "-q"]);
        let place = root.join("BM-20260301-001");
        // Names whose order in a tree is not that of their paths.
        for name in ["run.json", "logs/a", "logs/client/x", "logs.txt", "logs0", "logs-old", "a b", "z/é"] {
            let path = place.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, name).expect("written");
        }
        git(root, &["add", "."]);
        let tree = git(root, &["write-tree", "--prefix=BM-20260301-001/"]);
        let blobs = blobs_on_disk(&place).expect("readable");
        assert_eq!(tree_of(&blobs).map(|oid| oid.to_string()), Some(tree));
        assert_eq!(blobs.get("a b").copied(), blob_of(b"a b"));
        assert_eq!(blob_of_file(&place.join("a b")), blob_of(b"a b"));
    }

    #[test]
    fn differences_of_trees_are_those_that_were_made() {
        let tree = |entries: &[(&str, &str, u8)]| -> Vec<u8> {
            let of = |(mode, name, id): &(&str, &str, u8)| {
                [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[*id; 20]].concat()
            };
            entries.iter().flat_map(of).collect()
        };
        let told = |before: &[u8], after: &[u8]| {
            let mut all = Vec::new();
            compare(before, after, |one, two| {
                let name =
                    |entry: Option<Entry<'_>>| entry.map(|entry| String::from_utf8_lossy(entry.name).into_owned());
                all.push((name(one), name(two)));
            });
            all
        };
        let some = |name: &str| Some(name.to_owned());
        let before = tree(&[("100644", "a.b", 1), ("40000", "a", 2), ("100644", "b", 3)]);
        assert_eq!(told(&before, &before), []);
        let after = tree(&[("100644", "a.b", 1), ("40000", "a", 9), ("100644", "a0", 4), ("100644", "b", 3)]);
        assert_eq!(told(&before, &after), [(some("a"), some("a")), (None, some("a0"))]);
        assert_eq!(told(&after, &before), [(some("a"), some("a")), (some("a0"), None)]);
        // A folder in place of a file of the same name is another entry.
        let file = tree(&[("100644", "a", 2), ("100644", "a.b", 1), ("100644", "b", 3)]);
        assert_eq!(told(&before, &file), [(None, some("a")), (some("a"), None)]);
        assert_eq!(told(&[], &before).len(), 3);
        assert_eq!(entries(&before).count(), 3);
        assert_eq!(entries(b"no tree").count(), 0);
    }
}
