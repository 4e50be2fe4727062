//! The life of benchmarks, by the real program: from a recipe to a commit, and through every kind of end.
//!
//! Needs `git` and the servers whose Debian packages `scripts/test.sh` names; [`limits`] also root, `redis-cli`, `ip` and `tc`.

mod clones;
mod compared;
mod endings;
mod exact;
mod exchanged;
mod interrupted;
mod killed;
mod killed_publishing;
mod limits;
mod portable;
mod project;
mod provenance;
mod published;
mod races;
mod rerun;
mod searched;
mod secrets;
mod servers;
mod signed;
mod trust;
mod verified;
mod whole;
