//! `runner`: executes benchmark campaigns and records immutable results.

use std::process::ExitCode;

mod agent;
mod benchmark;
mod cli;
mod console;
mod export;
mod import;
mod interrupt;
mod load;
mod node;
mod plan;
mod recipe;
mod services;
mod simulator;
mod target;
mod units;

fn main() -> ExitCode {
    match cli::Cli::read().execute() {
        Ok(code) => code,
        Err(err) => {
            console::tell(&format!("error: {err:#}"));
            ExitCode::from(2)
        }
    }
}
