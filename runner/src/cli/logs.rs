//! `runner logs ID`: what a service and its clients say, of a benchmark in the archive or of one that still runs.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::Write,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use archive::{Archive, Benchmark, BenchmarkId};
use clap::Args;
use regex_lite::Regex;
use serde_json::json;

use super::{Global, print};
use crate::{agent::Layout, benchmark, interrupt::Interrupt, target::Targets};

/// Lines of each log that are shown when nobody says how many.
const TAIL: usize = 50;
/// Of a log that is followed, so much of what was there before is looked at.
const LOOK_BACK: u64 = 256 << 10;

/// Print what the service and the clients of a benchmark say, also while it runs.
#[derive(Debug, Args)]
pub struct Logs {
    /// Full id, unique suffix (`-007`) or `latest`.
    #[arg(allow_hyphen_values = true)]
    id: String,
    /// Go on until the benchmark has ended.
    #[arg(short, long)]
    follow: bool,
    /// Only so many last lines of each log; without --search, 50.
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Only lines that this regular expression is found in.
    #[arg(long, value_name = "REGEX")]
    search: Option<String>,
    /// Only logs whose names contain this.
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
    /// Write the logs, as text, into a folder of the benchmark's below this one.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["follow", "tail", "search"])]
    save: Option<std::path::PathBuf>,
    /// Seconds between two looks at a cluster.
    #[arg(long, value_name = "SECONDS", value_parser = super::poll_seconds, requires = "follow")]
    poll: Option<f64>,
}

/// Prints lines, with the name of their log where there are several.
struct Printer<'a> {
    search: Option<Regex>,
    json: bool,
    id: BenchmarkId,
    log: Option<&'a str>,
    /// The log that the last line was of.
    last: Option<String>,
    /// Lines of each log so far.
    counts: BTreeMap<String, usize>,
}

impl Logs {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let search =
            self.search.as_deref().map(Regex::new).transpose().context("`--search` is no regular expression")?;
        let running = benchmark::under_way(&archive)?;
        let wanted = |id: &BenchmarkId| {
            let text = id.to_string();
            text == self.id || self.id.starts_with('-') && text.ends_with(&self.id)
        };
        let found =
            running.iter().find_map(|one| Some((one.folder.clone(), *one.benchmarks.iter().find(|id| wanted(id))?)));
        match found {
            Some((folder, id)) => {
                if self.save.is_some() {
                    bail!("{id} still runs: its logs are whole once it has ended");
                }
                self.of_running(&folder, &mut self.printer(search, id, global))
            }
            None => {
                let id = archive.find(&self.id)?;
                let benchmark = archive.open(id)?;
                match &self.save {
                    Some(folder) => save(&benchmark, id, folder),
                    None => self.of_archived(&benchmark, &mut self.printer(search, id, global)),
                }
            }
        }
    }

    fn printer(&self, search: Option<Regex>, id: BenchmarkId, global: &Global) -> Printer<'_> {
        let log = self.log.as_deref();
        Printer { search, json: global.json, id, log, last: None, counts: BTreeMap::new() }
    }

    /// How many last lines to show of each log.
    fn tail(&self) -> usize {
        self.tail.unwrap_or(if self.search.is_some() { usize::MAX } else { TAIL })
    }

    fn of_archived(&self, benchmark: &Benchmark, printer: &mut Printer<'_>) -> Result<ExitCode> {
        for name in benchmark.logs() {
            if !printer.wants_log(name) {
                continue;
            }
            let Some(mut lines) = benchmark.log_lines(name)? else { continue };
            let (mut number, mut last) = (0, VecDeque::new());
            while let Some(line) = lines.next_line()? {
                number += 1;
                if printer.wants(line) {
                    last.push_back((number, line.to_owned()));
                    if last.len() > self.tail() {
                        last.pop_front();
                    }
                }
            }
            last.iter().try_for_each(|(number, line)| printer.print(name, *number, line))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn of_running(&self, folder: &Path, printer: &mut Printer<'_>) -> Result<ExitCode> {
        let mut targets = Targets::new(self.poll);
        let mut target = targets.of_folder(folder)?;
        let interrupt = Interrupt::listen()?;
        let secrets = Layout::new(folder).secrets()?;
        // Whoever numbers or searches lines needs all of them.
        let most = if self.search.is_some() || printer.json { i64::MAX as u64 } else { LOOK_BACK };
        let (mut read, mut unshown) = (BTreeMap::new(), BTreeMap::<String, Vec<u8>>::new());
        let mut tail = self.tail();
        loop {
            loop {
                let pieces = match &mut target {
                    Some(target) => target.logs(&mut read, most)?,
                    None => here(folder, &mut read)?,
                };
                if pieces.is_empty() {
                    break;
                }
                pieces.into_iter().for_each(|(name, bytes)| unshown.entry(name).or_default().extend(bytes));
            }
            let last = !self.follow || !folder.exists() || interrupt.is_raised();
            for (name, bytes) in &mut unshown {
                // The last line may still be written.
                let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let shown: Vec<u8> = bytes.drain(..if last { bytes.len() } else { end }).collect();
                let mut text = String::from_utf8_lossy(&shown).into_owned();
                secrets.mask_text(&mut text);
                printer.show(name, &text, tail)?;
            }
            if last {
                return Ok(ExitCode::SUCCESS);
            }
            tail = usize::MAX;
            let pause = target.as_ref().map_or(Duration::from_millis(200), |target| target.again());
            let until = Instant::now() + pause;
            while Instant::now() < until && folder.exists() && !interrupt.is_raised() {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Printer<'_> {
    fn wants_log(&self, name: &str) -> bool {
        self.log.is_none_or(|log| name.contains(log))
    }

    fn wants(&self, line: &str) -> bool {
        self.search.as_ref().is_none_or(|search| search.is_match(line))
    }

    /// Prints the last so many of the lines that were added to a log.
    fn show(&mut self, name: &str, text: &str, tail: usize) -> Result<()> {
        if !self.wants_log(name) {
            return Ok(());
        }
        let before = *self.counts.entry(name.to_owned()).or_default();
        let lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(at, line)| (before + at + 1, line)).collect();
        self.counts.insert(name.to_owned(), before + lines.len());
        let found: Vec<_> = lines.into_iter().filter(|(_, line)| self.wants(line)).collect();
        found[found.len().saturating_sub(tail)..].iter().try_for_each(|(number, line)| self.print(name, *number, line))
    }

    fn print(&mut self, name: &str, number: usize, line: &str) -> Result<()> {
        if self.json {
            let line = json!({"benchmark": self.id, "log": name, "line": number, "text": line});
            return print(&format!("{line}\n"));
        }
        if self.last.as_deref() != Some(name) {
            let gap = if self.last.is_some() { "\n" } else { "" };
            print(&format!("{gap}==> {name} <==\n"))?;
            self.last = Some(name.to_owned());
        }
        match self.search {
            Some(_) => print(&format!("{number}: {line}\n")),
            None => print(&format!("{line}\n")),
        }
    }
}

/// What was added to the logs of a run folder of this machine's.
fn here(folder: &Path, read: &mut BTreeMap<String, u64>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = vec![folder.join("serve.log"), folder.join("load.log"), folder.join("service/service.log")];
    for point in fs::read_dir(folder.join("points")).into_iter().flatten().flatten() {
        paths.extend(archive::files_below(&point.path().join("logs")).unwrap_or_default());
    }
    let mut pieces = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let from = read.insert(name.clone(), bytes.len() as u64).unwrap_or(0).min(bytes.len() as u64);
        if from < bytes.len() as u64 {
            pieces.push((name, bytes[from as usize..].to_vec()));
        }
    }
    Ok(pieces)
}

fn save(benchmark: &Benchmark, id: BenchmarkId, folder: &Path) -> Result<ExitCode> {
    let folder = folder.join(id.to_string());
    for name in benchmark.logs() {
        let Some(mut lines) = benchmark.log_lines(name)? else { continue };
        let path = folder.join(name.strip_suffix(".zst").unwrap_or(name));
        let context = || format!("cannot write {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(&folder)).with_context(context)?;
        let mut out = std::io::BufWriter::new(fs::File::create(&path).with_context(context)?);
        while let Some(line) = lines.next_line()? {
            writeln!(out, "{line}").with_context(context)?;
        }
        out.flush().with_context(context)?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
