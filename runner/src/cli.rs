//! The command line: one file a command, its arguments and what it does together.
//!
//! Exit codes: 0 done, 1 done and the answer is bad, 2 could not do it.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use ::archive::Archive;
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::{
    agent::AgentCommand,
    benchmark,
    console::{self, Console},
    plan::Machine,
    recipe::campaign::Overrides,
};

mod alias;
mod analyze;
mod archive;
mod check;
mod compare;
mod diff;
mod doctor;
mod export;
mod import;
mod list;
mod list_recipes;
mod logs;
mod metrics;
mod place;
mod plan;
mod plot;
mod quickstart;
mod report;
mod rerun;
mod resume;
mod run;
mod schema;
mod summary;
mod sweep_report;
mod table;
mod verify;

/// Executes benchmark campaigns against AI services and records immutable results.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The archive.
    #[arg(long, global = true, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// A git repository for results alone, which is made if need be; the archive is DIR/results.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "results")]
    pub repo: Option<PathBuf>,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what is wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run recipes and campaigns; archive what comes of them.
    Run(run::Run),
    /// Validate recipes and campaigns; run nothing.
    Check(check::Check),
    /// Show what would run; run nothing.
    Plan(plan::Plan),
    /// Print the JSON Schema of recipes and campaigns, for editors.
    Schema,
    /// List the recipes and campaigns in a folder.
    ListRecipes(list_recipes::ListRecipes),
    /// Run the first campaign, which needs no other software, and build its site.
    Quickstart(quickstart::Quickstart),
    #[command(visible_alias = "watch")]
    Resume(resume::Resume),
    Stop(resume::Stop),
    Doctor(doctor::Doctor),
    Collect(resume::Collect),
    /// List the benchmarks of the archive, newest first.
    List(list::List),
    Logs(logs::Logs),
    Summary(summary::Summary),
    /// Tell whether a candidate got slower than its base; exit code 1 when it did.
    Compare(compare::Compare),
    Diff(diff::Diff),
    /// Show what limited a benchmark, what it used, and what its logs say.
    Metrics(metrics::Metrics),
    Report(report::Report),
    /// Say what a sweep says: knees, peak, limits, and the load to run at.
    SweepReport(sweep_report::SweepReport),
    Rerun(rerun::Rerun),
    /// Tell whether the archive is what was sealed; exit code 1 when it is not.
    Verify(verify::Verify),
    Archive(archive::ArchiveCommand),
    Export(export::Export),
    Import(import::Import),
    /// Compute knees, USL fits, comparisons and other statistics of your own data.
    Analyze(analyze::Analyze),
    #[command(subcommand, hide = true)]
    Agent(AgentCommand),
}

impl Cli {
    /// Reads the command line of this process; ends it when there is something wrong with it.
    pub fn read() -> Self {
        let mut cli = Self::parse_from(alias::resolve(std::env::args_os()));
        if let Some(repo) = &cli.global.repo {
            cli.global.results = repo.join("results");
        }
        cli
    }

    /// Runs the command. An error is something that could not be done.
    pub fn execute(self) -> Result<ExitCode> {
        self.start_logging();
        match self.command {
            Command::Check(check) => check.execute(&self.global),
            Command::Plan(plan) => plan.execute(&self.global),
            Command::Schema => schema::execute(),
            Command::ListRecipes(list) => list.execute(&self.global),
            Command::Run(run) => run.execute(&self.global),
            Command::Quickstart(quickstart) => quickstart.execute(&self.global),
            Command::Resume(resume) => resume.execute(&self.global),
            Command::Doctor(doctor) => doctor.execute(&self.global),
            Command::Stop(stop) => stop.execute(&self.global),
            Command::Collect(collect) => collect.execute(&self.global),
            Command::List(list) => list.execute(&self.global),
            Command::Logs(logs) => logs.execute(&self.global),
            Command::Summary(summary) => summary.execute(&self.global),
            Command::Compare(compare) => compare.execute(&self.global),
            Command::Diff(diff) => diff.execute(&self.global),
            Command::Metrics(metrics) => metrics.execute(&self.global),
            Command::Report(report) => report.execute(&self.global),
            Command::SweepReport(report) => report.execute(&self.global),
            Command::Rerun(rerun) => rerun.execute(&self.global),
            Command::Verify(verify) => verify.execute(&self.global),
            Command::Archive(command) => command.execute(&self.global),
            Command::Export(export) => export.execute(&self.global),
            Command::Import(import) => import.execute(&self.global),
            Command::Analyze(analyze) => analyze.execute(),
            Command::Agent(agent) => agent.execute().map(|()| ExitCode::SUCCESS),
        }
    }

    /// Remarks of the program's own go to stderr; those of an agent end up in its log in the run folder.
    fn start_logging(&self) {
        let level = match (&self.command, self.global.verbose) {
            (Command::Agent(_), 0) | (_, 1) => LevelFilter::INFO,
            (_, 0) => LevelFilter::WARN,
            _ => LevelFilter::DEBUG,
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            // They would be told on the stderr that cannot be written to.
            .log_internal_errors(false)
            .init();
    }
}

/// What the command line changes in a recipe or campaign.
#[derive(Debug, Args)]
pub struct OverrideArgs {
    /// Where to run: `local`, or the name of a target.
    #[arg(long)]
    target: Option<String>,
    /// Sweep the number of clients over these values.
    #[arg(long, value_name = "N,N,…")]
    clients: Option<String>,
    /// Change a field of the recipe, or of the campaign; the value is YAML. May be given often.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Run every point so often.
    #[arg(long, value_name = "N")]
    repetitions: Option<String>,
    /// Draw requests and order from this seed.
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Limits in place of those of campaign and recipes, such as `p99=50ms, success_rate>=99`; stored with the result.
    #[arg(long, value_name = "LIMITS")]
    slo: Vec<String>,
}

impl OverrideArgs {
    pub fn to_overrides(&self) -> Overrides {
        let Self { target, clients, set, repetitions, seed, slo } = self;
        Overrides {
            target: target.clone(),
            clients: clients.clone(),
            set: set.clone(),
            repetitions: repetitions.clone(),
            seed: seed.clone(),
            slo: (!slo.is_empty()).then(|| slo.join(" ")),
        }
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no error. Control characters in texts of services and
/// people do not reach the terminal.
pub fn print(text: &str) -> Result<()> {
    let text: String = text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// The same for people: long lines are broken between words where stdout is a terminal.
pub fn show(text: &str) -> Result<()> {
    match table::new_table().width() {
        Some(width) if width >= 40 => print(&console::folded(text, usize::from(width))),
        _ => print(text),
    }
}

/// This machine and its environment.
pub fn this_machine() -> Machine<'static> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    Machine { cores, environment: &|name| std::env::var(name).ok() }
}

/// Seconds between two questions; at least one.
fn poll_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 1 to 86400".to_owned()),
    }
}

/// Finishes what a runner that died began, before anything else is done with the archive. Tells what was done,
/// and what could not be: that is for `resume` to fail with, not for those who want to read or to measure.
fn finish_leftovers(archive: &Archive, console: &Console) -> benchmark::Recovered {
    let recovered = benchmark::recover(archive);
    for done in &recovered.benchmarks {
        let outcome = console::outcome(done.run.status, done.run.failure.as_ref(), done.summary.as_ref());
        console.warn(&format!("recovered {}: {outcome}", done.id));
    }
    for remark in &recovered.remarks {
        console.warn(&format!("recovery: {remark}"));
    }
    if recovered.on_clusters > 0 {
        let one = recovered.on_clusters == 1;
        let whose = if one {
            "1 deployment on a cluster has".to_owned()
        } else {
            format!("{} deployments on clusters have", recovered.on_clusters)
        };
        console.say(&format!("{whose} no command watching: `runner resume` goes on with it"));
    }
    for err in &recovered.errors {
        console.warn(&format!("recovery: {err:#}"));
    }
    recovered
}
