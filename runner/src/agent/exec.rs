//! `runner agent exec PARENT PROGRAM ARGS…`: becomes the program, which the kernel kills when PARENT dies.
//!
//! The request to the kernel must be made by the process itself between fork and exec; doing it in a process
//! of our own keeps the crate free of unsafe code.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Result, bail};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

pub fn run(parent: i32, program: &str, args: &[String]) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above: then the signal never comes.
    if getppid() != Pid::from_raw(parent) {
        bail!("process {parent} is gone");
    }
    let error = Command::new(program).args(args).exec();
    bail!("cannot start {program}: {error}")
}
