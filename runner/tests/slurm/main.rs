//! Campaigns on a real Slurm behind a real sshd: `testbed/testbed`, which needs root and the packages of `scripts/test.sh`.
//!
//! The first test brings the cluster up; it stays until `testbed down`, which `scripts/test.sh` does at its end.

mod campaign;
mod cluster;
mod endings;
mod killed;
#[path = "../life/project.rs"]
#[expect(dead_code, reason = "shared with the tests of this machine's target, which use more of it")]
mod project;
mod stopped;
