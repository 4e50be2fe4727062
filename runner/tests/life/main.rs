//! The life of benchmarks, by the real program: from a recipe to a commit, and through every kind of end.
//!
//! Needs `redis-server` (Debian package redis-server) and `git`; [`limits`] also root, `redis-cli`, `ip` and `tc`.

mod compared;
mod endings;
mod interrupted;
mod killed;
mod limits;
mod project;
mod trust;
mod whole;
