//! The account of a service that refuses to run as root, when the runner does.
//!
//! The service keeps its working folder, which is given to that account; nothing is moved to where the account
//! could reach it, since another file system would be another measurement.

use std::{
    fs,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Uid, User, geteuid};

/// The account with no rights of its own that every Unix has.
const NAME: &str = "nobody";

/// A user and its group, as `UID:GID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: Uid,
    pub group: Gid,
}

impl Account {
    /// The account to give up root for; `None` when this process is not root.
    pub fn in_place_of_root() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = User::from_name(NAME)?.with_context(|| format!("there is no user `{NAME}` on this machine"))?;
        Ok(Some(Self { user: user.uid, group: user.gid }))
    }

    /// Makes the account the owner of `folder` and all below it. Errs when the account cannot get there.
    pub fn take(self, folder: &Path) -> Result<()> {
        for above in folder.ancestors().skip(1) {
            let facts = fs::metadata(above).with_context(|| format!("cannot read {}", above.display()))?;
            if facts.mode() & 0o001 == 0 && facts.uid() != self.user.as_raw() {
                bail!(
                    "the service refuses to run as root, and as user `{NAME}` it cannot enter {}: give `--results` \
                     a folder that every user can enter, or start the runner as another user than root",
                    above.display()
                );
            }
        }
        self.own(folder).with_context(|| format!("cannot give {} to user `{NAME}`", folder.display()))
    }

    fn own(self, path: &Path) -> std::io::Result<()> {
        lchown(path, Some(self.user.as_raw()), Some(self.group.as_raw()))?;
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        let (user, group) = numbers.ok_or("expected UID:GID")?;
        Ok(Self { user: Uid::from_raw(user), group: Gid::from_raw(group) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_as_it_is_written() {
        let account = Account { user: Uid::from_raw(65534), group: Gid::from_raw(100) };
        assert_eq!(account.to_string(), "65534:100");
        assert_eq!("65534:100".parse(), Ok(account));
        for wrong in ["", "1", "1:", "a:1", "1:2:3"] {
            assert_eq!(wrong.parse::<Account>(), Err("expected UID:GID".to_owned()), "{wrong}");
        }
    }
}
