//! Campaigns on a real Slurm behind a real sshd: `testbed/testbed`, which needs root and the packages of `scripts/test.sh`.
//!
//! The first test brings the cluster up; it stays until `testbed down`, which `scripts/test.sh` does at its end.

mod cluster;
#[path = "campaign.rs"]
mod on_slurm_campaign;
#[path = "containers.rs"]
mod on_slurm_containers;
#[path = "doctor.rs"]
mod on_slurm_doctor;
#[path = "endings.rs"]
mod on_slurm_endings;
#[path = "faults.rs"]
mod on_slurm_faults;
#[path = "hostile.rs"]
mod on_slurm_hostile;
#[path = "killed.rs"]
mod on_slurm_killed;
#[path = "nodes.rs"]
mod on_slurm_nodes;
#[path = "stopped.rs"]
mod on_slurm_stopped;
#[path = "transports.rs"]
mod on_slurm_transports;
#[path = "../life/project.rs"]
#[expect(dead_code, reason = "shared with the tests of this machine's target, which use more of it")]
mod project;
