//! `runner agent exec PARENT PROGRAM ARGS…`: becomes the program, which the kernel kills when PARENT dies; with
//! `--account`, under another account.
//!
//! The requests to the kernel must be made by the process itself between fork and exec; doing it in a process
//! of our own keeps the crate free of unsafe code.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Result, bail};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid, setgid, setgroups, setuid},
};

use super::account::Account;

pub fn run(parent: i32, account: Option<Account>, program: &str, args: &[String]) -> Result<()> {
    if let Some(Account { user, group }) = account {
        setgroups(&[])?;
        setgid(group)?;
        setuid(user)?;
    }
    // A change of account clears it, so it comes after.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above: then the signal never comes.
    if getppid() != Pid::from_raw(parent) {
        bail!("process {parent} is gone");
    }
    let error = Command::new(program).args(args).exec();
    bail!("cannot start {program}: {error}")
}
