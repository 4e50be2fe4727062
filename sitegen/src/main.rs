//! `sitegen`: turns the archive into a versioned static site. Parses, runs, prints the error, chooses the exit code.

mod api;
mod charts;
mod check;
mod cli;
mod feeds;
mod html;
mod index;
mod load;
mod make;
mod model;
mod objects;
mod pages;
mod places;
mod plot;
mod relink;
mod render;
mod report;
mod repository;
mod text;
mod theme;
mod units;
mod write;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(code) => code,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::from(2)
        }
    }
}
