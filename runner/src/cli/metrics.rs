//! `runner metrics ID`: what limited a benchmark, what its processes used, the sampled series, and its logs' issues.

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use analysis::{
    SeriesUnit, accounting,
    bottleneck::{Attribution, LoadPoint, Observation, attribute, attribute_sweep, sweep_of},
    logs::{LogReader, LogReport, LogSeverity},
    resource_series,
    saturation::{Archived, of_archived},
};
use anyhow::Result;
use archive::{Archive, Benchmark, ResourceSample, Run, Summary};
use clap::Args;

use super::{Global, table};
use crate::{console, units};

/// Width of a plot in the terminal.
const PLOT_WIDTH: usize = 40;

#[derive(Debug, Args)]
pub struct Metrics {
    /// Full id, unique suffix (`-007`) or `latest`.
    #[arg(allow_hyphen_values = true)]
    id: String,
}

/// A benchmark with everything that attribution looks at.
struct Loaded {
    run: Run,
    summary: Option<Summary>,
    resources: Vec<ResourceSample>,
}

impl Loaded {
    fn read(benchmark: &Benchmark) -> Result<Self> {
        let resources = benchmark.resources()?.map(|reader| reader.collect::<Result<_>>()).transpose()?;
        Ok(Self { run: benchmark.run()?, summary: benchmark.summary()?, resources: resources.unwrap_or_default() })
    }

    fn observation(&self) -> Observation<'_> {
        Observation { run: &self.run, summary: self.summary.as_ref(), resources: &self.resources }
    }
}

impl Metrics {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let benchmark = archive.open(archive.find(&self.id)?)?;
        let loaded = Loaded::read(&benchmark)?;
        let alone = attribute(&loaded.observation());
        let swept = of_sweep(&archive, &loaded)?;
        let window = loaded.summary.as_ref().map_or([0.0, f64::INFINITY], |summary| summary.window_s);
        let series = resource_series(&loaded.resources, window);
        let used = accounting(&loaded.resources);
        let logs = read_logs(&benchmark, &loaded.run)?;
        if global.json {
            let gpus = loaded.resources.iter().rev().find(|sample| !sample.gpus.is_empty()).map(|sample| &sample.gpus);
            let value = serde_json::json!({
                "benchmark_id": loaded.run.benchmark_id,
                "bottleneck": alone,
                "bottleneck_over_sweep": swept,
                "accounting": used,
                "gpus": gpus,
                "series": series,
                "logs": logs,
            });
            super::print(&format!("{value:#}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        // Writing to a String cannot fail.
        let mut out = String::new();
        let run = &loaded.run;
        _ = writeln!(out, "{} · {} · {}", run.benchmark_id, run.campaign.name, console::label(&run.campaign.swept));
        bottleneck(&mut out, "bottleneck", &alone);
        if let Some(swept) = &swept {
            bottleneck(&mut out, "over the sweep", swept);
        }
        if used.is_empty() {
            _ = writeln!(out, "\nno process was sampled");
        } else {
            let mut rows = table::new_table();
            rows.set_header(["used by", "node", "elapsed", "CPU time", "most memory", "OOM kills"]);
            for used in &used {
                rows.add_row([
                    used.of.to_owned(),
                    used.node.clone(),
                    units::seconds(used.elapsed_s),
                    units::seconds(used.cpu_s),
                    used.max_rss_bytes.map_or_else(|| "–".to_owned(), units::bytes),
                    used.oom_kills.map_or_else(|| "–".to_owned(), |kills| kills.to_string()),
                ]);
            }
            table::align_right(&mut rows, 2..6);
            _ = writeln!(out, "\n{}", table::fitted(rows));
        }
        if !series.is_empty() {
            let mut rows = table::new_table();
            rows.set_header(["", "series", "mean", "max", "course"]);
            let mut before = "";
            for series in &series {
                let value =
                    |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| figure(value, series.unit));
                rows.add_row([
                    // Said once.
                    if before == series.of { String::new() } else { series.of.to_owned() },
                    series.name.clone(),
                    value(series.mean),
                    value(series.max),
                    course(&series.points, series.unit),
                ]);
                before = series.of;
            }
            table::align_right(&mut rows, 2..4);
            _ = writeln!(out, "\n{}", table::fitted(rows));
            _ = writeln!(out, "mean and max over the measurement window; the course over all samples");
        }
        log_issues(&mut out, &logs);
        super::show(&out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What limits the sweep over the load that the benchmark belongs to, if it belongs to one.
fn of_sweep(archive: &Archive, loaded: &Loaded) -> Result<Option<Attribution>> {
    if loaded.run.campaign.points < 2 {
        return Ok(None);
    }
    let mut others = Vec::new();
    for id in archive.ids()? {
        let benchmark = archive.open(id)?;
        if benchmark.run()?.campaign.execution == loaded.run.campaign.execution {
            others.push(Loaded::read(&benchmark)?);
        }
    }
    let observations: Vec<Observation<'_>> = others.iter().map(Loaded::observation).collect();
    Ok(sweep_of(&loaded.run, &observations).map(|points| attribute_sweep(&points, saturation_of(&points))))
}

/// The load at which throughput stops following it, where there is one.
fn saturation_of(points: &[LoadPoint<'_>]) -> Option<f64> {
    let archived = points.iter().flat_map(|point| {
        let members = point.repetitions.iter();
        members.map(|one| Archived { load: point.load, run: one.run, summary: one.summary })
    });
    of_archived(&archived.collect::<Vec<_>>(), &BTreeMap::new()).throughput_saturation.load
}

/// What limited one benchmark, for the summary.
pub fn attribution(benchmark: &Benchmark) -> Result<Attribution> {
    Ok(attribute(&Loaded::read(benchmark)?.observation()))
}

/// What all the logs of a benchmark say.
pub fn read_logs(benchmark: &Benchmark, run: &Run) -> Result<LogReport> {
    let mut reader = LogReader::new(run.started_at.unwrap_or(run.created_at));
    for name in benchmark.logs() {
        let Some(mut lines) = benchmark.log_lines(name)? else { continue };
        reader.begin(name.strip_suffix(".zst").unwrap_or(name));
        while let Some(line) = lines.next_line()? {
            reader.line(line);
        }
    }
    Ok(reader.finish())
}

fn bottleneck(out: &mut String, title: &str, answer: &Attribution) {
    _ = writeln!(out, "\n{title}: {} (confidence {})", answer.class.name(), answer.confidence.name());
    _ = writeln!(out, "  {}", answer.summary);
    for evidence in answer.evidence.iter().take(4) {
        let load = evidence.load.map(|load| format!("at load {}: ", units::figure(load))).unwrap_or_default();
        _ = writeln!(out, "  + {load}{}", evidence.says);
    }
    for rejected in &answer.rejected {
        _ = writeln!(out, "  − {}: {}", rejected.class.name(), rejected.reason);
    }
    for advice in &answer.recommendations {
        _ = writeln!(out, "  → {advice}");
    }
}

/// The classes of lines that are errors or warnings, with their counts.
pub fn log_issues(out: &mut String, logs: &LogReport) {
    let issues: Vec<_> = logs.issues.iter().filter(|issue| issue.severity != LogSeverity::Info).take(10).collect();
    if issues.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "\nlogs: {} lines, {} with a known error, {} with a known warning",
        units::grouped(logs.lines as i64),
        units::grouped(logs.errors as i64),
        units::grouped(logs.warnings as i64)
    );
    for issue in issues {
        let times = match (&issue.first, &issue.last) {
            (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
            (Some(first), _) => format!(", {first}"),
            _ => String::new(),
        };
        _ = writeln!(out, "  {} × {}{times}", units::grouped(issue.count as i64), issue.class.name());
        if let Some(sample) = issue.samples.first() {
            _ = writeln!(out, "    {}:{}: {}", sample.file, sample.line, sample.text);
        }
    }
}

fn figure(value: f64, unit: SeriesUnit) -> String {
    match unit {
        SeriesUnit::Percent | SeriesUnit::PercentOfCore => format!("{value:.1} %"),
        SeriesUnit::Bytes => units::bytes(value.max(0.0) as u64),
        SeriesUnit::BytesPerSecond => format!("{}/s", units::bytes(value.max(0.0) as u64)),
        SeriesUnit::PerSecond => format!("{}/s", units::figure(value)),
        SeriesUnit::Count => units::figure(value),
        SeriesUnit::Watts => format!("{} W", units::figure(value)),
        SeriesUnit::Megahertz => format!("{} MHz", units::figure(value)),
        SeriesUnit::Celsius => format!("{} °C", units::figure(value)),
    }
}

/// A plot of one line: a block a sample, or the mean of several. Shares are drawn against the whole, other figures
/// against their largest value.
fn course(points: &[(f64, f64)], unit: SeriesUnit) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let full = if unit == SeriesUnit::Percent { 100.0 } else { most };
    let width = points.len().div_ceil(PLOT_WIDTH).max(1);
    points
        .chunks(width)
        .map(|chunk| {
            let mean = chunk.iter().map(|point| point.1).sum::<f64>() / chunk.len() as f64;
            let place = if full > 0.0 { (mean / full * 8.0).ceil() as usize } else { 0 };
            BLOCKS[place.clamp(1, 8) - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_of_one_line() {
        let points = |values: &[f64]| values.iter().map(|value| (0.0, *value)).collect::<Vec<_>>();
        assert_eq!(course(&points(&[0.0, 50.0, 100.0]), SeriesUnit::Percent), "▁▄█");
        assert_eq!(course(&points(&[1.0, 2.0]), SeriesUnit::Bytes), "▄█");
        assert_eq!(course(&points(&[0.0]), SeriesUnit::Count), "▁");
        assert_eq!(course(&points(&[1.0; 1000]), SeriesUnit::Count).chars().count(), PLOT_WIDTH);
        assert_eq!(course(&[], SeriesUnit::Count), "");
    }
}
