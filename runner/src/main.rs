//! `runner`: executes benchmark campaigns and records immutable results.

mod load;
mod plan;
mod recipe;
mod services;
mod simulator;

fn main() {}
