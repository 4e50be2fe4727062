//! `runner run FILE…`: recipes and campaigns become sealed benchmarks.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use archive::{Archive, SigningKey};
use clap::Args;

use super::{
    Global, OverrideArgs,
    place::{self, Place},
    table,
};
use crate::{
    benchmark::{self, Driven, Options},
    console::Console,
    interrupt::Interrupt,
    plan::Plan,
};

#[derive(Debug, Args)]
pub struct Run {
    /// Recipe or campaign files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    keeping: Keeping,
}

/// What happens to the results.
#[derive(Clone, Debug, Args)]
pub struct Keeping {
    #[command(flatten)]
    pub place: Place,
    /// Seal results without committing them to git.
    #[arg(long, conflicts_with = "push")]
    pub no_commit: bool,
    /// Keep the run folders, under RESULTS/.work/kept.
    #[arg(long)]
    pub keep: bool,
    /// The most that a benchmark may have in git: the largest of its request records and logs stay outside, under RESULTS/.raw.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    pub raw_limit: u64,
    /// Once all benchmarks together have this much in git, request records and logs of new ones stay outside.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub archive_budget: u64,
    /// Sign manifests and commits with this SSH key: a private key's file, or a public key's whose other half an agent has.
    #[arg(long, value_name = "KEY", conflicts_with = "anonymous")]
    pub sign: Option<PathBuf>,
    /// Archive no names of people, accounts and hosts. Not with `--sign`: a signature tells whose it is.
    #[arg(long)]
    pub anonymous: bool,
    /// On a cluster: leave once everything is submitted; `runner resume` collects.
    #[arg(long, conflicts_with = "push")]
    pub detach: bool,
    /// Seconds between two questions to a cluster, in place of the target's `poll`.
    #[arg(long, value_name = "SECONDS", value_parser = super::poll_seconds)]
    pub poll: Option<f64>,
    /// On a cluster: begin benchmarks anew whose jobs ended so, up to three times: `preempted,node_fail,…`.
    #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = benchmark::retried_end)]
    pub retry: Vec<String>,
    /// Exit with 1 when a benchmark is invalid or client-bound.
    #[arg(long)]
    pub strict: bool,
}

impl Keeping {
    /// Errs when the key cannot sign.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            commit: !self.no_commit,
            keep: self.keep,
            raw_limit_bytes: self.raw_limit,
            budget_bytes: Some(self.archive_budget),
            poll_s: self.poll,
            detach: self.detach,
            retry: self.retry.clone(),
            sign: self.sign.as_deref().map(SigningKey::tested).transpose()?,
            anonymous: self.anonymous,
        })
    }
}

impl Run {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        // Every file is checked before anything of any file is started.
        let mut plans: Vec<Plan> =
            self.files.iter().map(|file| super::plan::planned(file, &self.overrides)).collect::<Result<_>>()?;
        for (plan, file) in plans.iter_mut().zip(&self.files) {
            plan.campaign.source = benchmark::source_of(file, &global.results);
        }
        execute_plans(&plans, &self.keeping, global)
    }
}

/// Runs the plans one after the other and prints what came of them.
pub fn execute_plans(plans: &[Plan], keeping: &Keeping, global: &Global) -> Result<ExitCode> {
    run_plans(plans, keeping, global).map(|(_, code)| code)
}

/// The same, with what came of them.
pub fn run_plans(plans: &[Plan], keeping: &Keeping, global: &Global) -> Result<(Driven, ExitCode)> {
    let options = keeping.options()?;
    let archive = Archive::new(&global.results);
    let mut console = Console::new(global.quiet);
    let destination = keeping.place.prepare(global, keeping.anonymous, &console)?;
    super::finish_leftovers(&archive, &console);
    let interrupt = Interrupt::listen()?;
    let mut driven = Driven::default();
    for plan in plans {
        for note in &plan.notes {
            console.say(&format!("note: {note}"));
        }
        driven.add(benchmark::execute(plan, super::this_machine(), &archive, &options, &mut console, &interrupt)?);
        if interrupt.is_raised() {
            break;
        }
    }
    if let Some(destination) = &destination {
        match interrupt.is_raised() {
            true => console.warn("not pushed, because of the interrupt: `runner archive publish` does it"),
            // Told after what was measured.
            false => match place::push(&archive, destination, options.sign.as_ref(), &console) {
                Ok(renamed) => driven.rename(&renamed),
                Err(err) => driven.errors.push(format!("{err:#}")),
            },
        }
    }
    if driven.errors.is_empty() || !driven.done.is_empty() {
        table::print_benchmarks(&driven.done, plans, global)?;
    }
    let mut reserved = false;
    for benchmark in &driven.done {
        for finding in benchmark.summary.iter().flat_map(|summary| summary.reservations()) {
            reserved = true;
            console.warn(&format!("{}: {}", benchmark.id, finding.message));
        }
    }
    if !driven.errors.is_empty() {
        bail!(driven.errors.join("\n"));
    }
    let code = exit_code(&driven, keeping.strict && reserved, interrupt.is_raised());
    Ok((driven, code))
}

fn exit_code(driven: &Driven, reserved: bool, interrupted: bool) -> ExitCode {
    if interrupted {
        ExitCode::from(2)
    } else if reserved {
        ExitCode::from(1)
    } else if driven.is_fine() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// `16MiB`, `100k`, `1GB`, `4096`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "kb" => 1000,
        "m" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        _ => return Err("expected a size such as 512KiB, 16MiB or 1GB".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| "expected a size such as 512KiB, 16MiB or 1GB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_begun_is_no_success() {
        let of = |not_begun| exit_code(&Driven { not_begun, ..Driven::default() }, false, false);
        assert_eq!((of(0), of(1)), (ExitCode::SUCCESS, ExitCode::from(1)));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("4096", 4096), ("16MiB", 16 << 20), ("100k", 102_400), ("1GB", 1_000_000_000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "12 parsecs", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
