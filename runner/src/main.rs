//! `runner`: executes benchmark campaigns and records immutable results.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod load;
mod plan;
mod recipe;
mod services;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
