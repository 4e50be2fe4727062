//! `runner sweep-report IDS|CAMPAIGN`: knees, peak, limits and the recommended load of a sweep.

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use analysis::{
    Search, SearchEnd, Step,
    saturation::{Archived, Found, LOAD_AXES, LimitVerdict, Saturation, Verdict, of_archived},
    series::{Along, series as in_series},
    slo,
};
use anyhow::{Context, Result, bail};
use archive::{Archive, Run, Summary, Timestamp};
use clap::Args;
use serde_json::{Value, json};

use super::{Global, plot, table};
use crate::{console, units};

#[derive(Debug, Args)]
pub struct SweepReport {
    /// Benchmark ids, by space or comma (`latest`, `-007`, …), or the name of a campaign: its newest execution.
    #[arg(required = true, allow_negative_numbers = true, value_name = "ID|CAMPAIGN")]
    what: Vec<String>,
    /// Limits in place of the campaign's: `p99=50ms,success_rate>=99`. A bare number is a p99 in seconds.
    #[arg(long, value_name = "LIMITS")]
    slo: Option<String>,
}

/// One benchmark as read.
struct Loaded {
    run: Run,
    summary: Option<Summary>,
}

/// Benchmarks that differ in their load only.
struct Series<'a> {
    /// What the others have in other values: `model = opt-125m`; empty with one series.
    label: String,
    /// What its load counts.
    axis: &'static str,
    benchmarks: Vec<Archived<'a>>,
    saturation: Saturation,
    /// How the search for its load went, where it was searched.
    search: Option<(Search, Step)>,
}

impl SweepReport {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let slo = self.slo.as_deref().map(limits).transpose()?.unwrap_or_default();
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &console::Console::new(global.quiet));
        let loaded = self.load(&archive)?;
        let series = series(&loaded, &slo);
        if global.json {
            super::print(&format!("{:#}\n", as_json(&series)))?;
        } else {
            super::show(&for_people(&series))?;
        }
        let answered = series.iter().any(|one| one.saturation.recommendation.load.is_some());
        Ok(if answered { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// The benchmarks that are meant, ascending by id.
    fn load(&self, archive: &Archive) -> Result<Vec<Loaded>> {
        let open = |id| -> Result<Loaded> {
            let benchmark = archive.open(id)?;
            Ok(Loaded { run: benchmark.run()?, summary: benchmark.summary()? })
        };
        let words: Vec<&str> =
            self.what.iter().flat_map(|word| word.split([',', ' '])).filter(|word| !word.is_empty()).collect();
        if let [word] = words[..] {
            let mut newest: Option<(Timestamp, String)> = None;
            let mut members = Vec::new();
            for id in archive.ids()? {
                let run = archive.open(id)?.run()?;
                if run.campaign.name != word {
                    continue;
                }
                if newest.as_ref().is_none_or(|(time, _)| run.created_at >= *time) {
                    newest = Some((run.created_at, run.campaign.execution.clone()));
                }
                members.push((id, run.campaign.execution));
            }
            if let Some((_, execution)) = newest {
                return members.into_iter().filter(|(_, own)| *own == execution).map(|(id, _)| open(id)).collect();
            }
            // One id stands for its whole execution: a sweep of one point says nothing.
            let run =
                archive.open(archive.find(word).with_context(|| format!("no campaign is called `{word}`"))?)?.run()?;
            let mut all = Vec::new();
            for id in archive.ids()? {
                let benchmark = open(id)?;
                if benchmark.run.campaign.execution == run.campaign.execution {
                    all.push(benchmark);
                }
            }
            return Ok(all);
        }
        let mut ids = words.iter().map(|word| archive.find(word)).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        ids.dedup();
        if ids.len() < 2 {
            bail!("a sweep has two benchmarks or more: give their ids, or the name of a campaign");
        }
        ids.into_iter().map(open).collect()
    }
}

/// Limits as people write them; a bare number is a p99 in seconds.
fn limits(text: &str) -> Result<BTreeMap<String, f64>> {
    if let Ok(seconds) = text.trim().parse::<f64>()
        && seconds > 0.0
        && seconds.is_finite()
    {
        return Ok(BTreeMap::from([("latency_p99_s".to_owned(), seconds)]));
    }
    slo::parse(text).with_context(|| format!("--slo {text}"))
}

/// The benchmarks by their configuration, ascending by load.
fn series<'a>(loaded: &'a [Loaded], slo: &BTreeMap<String, f64>) -> Vec<Series<'a>> {
    let runs: Vec<&Run> = loaded.iter().map(|one| &one.run).collect();
    let one = |found: analysis::series::Series| {
        let archived = found.points.iter().flat_map(|point| {
            let at = |member: &usize| Archived {
                load: point.load,
                run: &loaded[*member].run,
                summary: loaded[*member].summary.as_ref(),
            };
            point.members.iter().map(at)
        });
        let mut benchmarks: Vec<Archived<'a>> = archived.collect();
        benchmarks.sort_by(|a, b| a.load.total_cmp(&b.load));
        let saturation = of_archived(&benchmarks, slo);
        let search = analysis::searched(&benchmarks);
        Series { label: found.label, axis: found.unit, benchmarks, saturation, search }
    };
    in_series(&runs, Along::Load).into_iter().map(one).collect()
}

fn row(benchmark: &Archived<'_>) -> Value {
    let summary = benchmark.summary;
    json!({
        "benchmark_id": benchmark.run.benchmark_id,
        "concurrency": benchmark.load,
        "throughput": summary.and_then(Summary::throughput),
        "latency_p99_s": summary.and_then(|summary| summary.latency_s.figures.p99),
        "success_rate": summary.and_then(|summary| summary.success_rate),
        "search_step": benchmark.run.campaign.search.as_ref().map(|search| search.step),
        "search_reason": benchmark.run.campaign.search.as_ref().map(|search| &search.reason),
        "used": benchmark.observation().is_some(),
    })
}

fn as_json(series: &[Series<'_>]) -> Value {
    json!({
        "generated_at": Timestamp::now(),
        "axis": series.first().map(|one| one.axis),
        "series": series.iter().map(|one| json!({
            "label": one.label,
            "axis": one.axis,
            "benchmark_ids": one.benchmarks.iter().map(|one| one.run.benchmark_id).collect::<Vec<_>>(),
            "analysis": one.saturation,
            "search": one.search.as_ref().map(|(search, step)| match step {
                Step::End { end, reason } => json!({ "wanted": search, "end": end, "reason": reason }),
                Step::Measure { load, reason } => json!({ "wanted": search, "next": load, "reason": reason }),
            }),
            "sweep_results": one.benchmarks.iter().map(row).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn for_people(series: &[Series<'_>]) -> String {
    let mut out = String::new();
    for one in series {
        let axis = one.axis;
        if !one.label.is_empty() {
            _ = writeln!(out, "── {}", one.label);
        }
        answers(&mut out, axis, &one.saturation);
        match &one.search {
            Some((_, Step::End { end: SearchEnd::Found, reason })) => _ = writeln!(out, "{:<22} {reason}", "search"),
            Some((_, Step::End { reason, .. })) => _ = writeln!(out, "{:<22} not found: {reason}", "search"),
            Some((_, Step::Measure { .. })) => {
                _ = writeln!(out, "{:<22} has not ended: `runner resume` goes on with it", "search");
            }
            None => {}
        }
        _ = writeln!(out, "\n{}\n", figures(axis, &one.benchmarks));
        let observations: Vec<_> = one.benchmarks.iter().filter_map(Archived::observation).collect();
        let points = |of: fn(&analysis::saturation::Observation) -> Option<f64>| -> Vec<(f64, f64)> {
            observations.iter().filter_map(|one| Some((one.load, of(one)?))).collect()
        };
        let knees = &one.saturation;
        out += &plot::scatter(
            "throughput, requests/s",
            axis,
            &points(|one| one.throughput),
            knees.throughput_saturation.load,
            units::figure,
        );
        out += &plot::scatter(
            "p99 latency",
            axis,
            &points(|one| one.latency_p99_s),
            knees.latency_knee.load,
            units::seconds,
        );
    }
    out
}

/// A load as it was swept: whole numbers whole.
fn load(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { units::grouped(value as i64) } else { units::figure(value) }
}

fn answers(out: &mut String, axis: &str, saturation: &Saturation) {
    let interval = |interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => format!(" [{}–{}]", load(low), load(high)),
        None => String::new(),
    };
    let mut line = |name: &str, text: String| _ = writeln!(out, "{name:<22} {text}");
    let range = |range: Option<[f64; 2]>, show: fn(f64) -> String| match range {
        Some([low, high]) => format!("{} to {}", show(low), show(high)),
        None => "–".to_owned(),
    };
    line("load", format!("{} {axis}", range(saturation.concurrency_range, load)));
    line("throughput", format!("{} requests/s", range(saturation.throughput_range, units::figure)));
    line("p99 latency", range(saturation.latency_p99_range_s, units::seconds));
    let found = |found: &Found| match (found.load, found.verdict) {
        (Some(at), _) => format!("{} {axis}{}: {}", load(at), interval(found.interval), found.reason),
        (None, Verdict::CannotTell) => format!("cannot tell: {}", found.reason),
        (None, _) => format!("none in the range swept: {}", found.reason),
    };
    line("latency knee", found(&saturation.latency_knee));
    line("throughput saturation", found(&saturation.throughput_saturation));
    if let Some(efficiency) = saturation.efficiency_at_saturation {
        let unit = if axis == LOAD_AXES[0].1 { "requests/s per client" } else { "answered per request offered" };
        line("efficiency there", format!("{} {unit}", units::figure(efficiency)));
    }
    if let Some(peak) = &saturation.peak {
        line(
            "peak",
            format!(
                "{}{} requests/s at {} {axis}; alike from {} to {}",
                units::figure(peak.throughput),
                interval(peak.interval),
                load(peak.load),
                load(peak.alike[0]),
                load(peak.alike[1])
            ),
        );
    }
    for limit in &saturation.slo_limits {
        let at = limit.load.map(load).unwrap_or_default();
        let headroom = limit
            .headroom_percent
            .zip(limit.kept_at)
            .map_or_else(String::new, |(percent, at)| format!("; headroom {percent:.0} % at {}", load(at)));
        let text = match limit.verdict {
            LimitVerdict::Never => limit.reason.clone(),
            LimitVerdict::UpTo => format!("{at} {axis}{}: {}{headroom}", interval(limit.interval), limit.reason),
            LimitVerdict::From | LimitVerdict::Between => {
                let from = limit.from.map(load).unwrap_or_default();
                format!("{from} to {at} {axis}: {}{headroom}", limit.reason)
            }
            LimitVerdict::Throughout => format!("{}{headroom}", limit.reason),
        };
        line("SLO limit", format!("{}: {text}", slo::in_notation(&limit.metric, limit.limit)));
    }
    if let Some(usl) = &saturation.usl {
        let error = |error: Option<f64>, show: fn(f64) -> String| {
            error.map_or_else(String::new, |error| format!(" ± {}", show(error)))
        };
        let peak = usl.n_max.zip(usl.x_max).map_or_else(String::new, |(n, x)| {
            let n = format!("{}{}", units::figure(n), error(usl.n_max_se, units::figure));
            format!(", peak {} requests/s at {n}", units::figure(x))
        });
        let text = match usl.supported {
            true => format!(
                "σ = {:.4}{}, κ = {:.6}{}{peak} (± standard error): {}",
                usl.sigma,
                error(usl.sigma_se, |error| format!("{error:.4}")),
                usl.kappa,
                error(usl.kappa_se, |error| format!("{error:.6}")),
                usl.reason
            ),
            false => format!("not supported by the data: {}", usl.reason),
        };
        line("USL", text);
    }
    let advice = &saturation.recommendation;
    let recommended = advice.load.map(|at| format!("{} {axis}{}: ", load(at), interval(advice.interval)));
    line("recommendation", format!("{}{}", recommended.unwrap_or_default(), advice.reason));
    line("methods", {
        let mut methods = vec![saturation.throughput_saturation.method];
        methods.extend(saturation.peak.as_ref().map(|peak| peak.method));
        methods.extend(saturation.slo_limits.first().map(|limit| limit.method));
        methods.extend(saturation.usl.as_ref().map(|usl| usl.method));
        methods.join("; ")
    });
}

fn figures(axis: &str, benchmarks: &[Archived<'_>]) -> comfy_table::Table {
    let mut rows = table::new_table();
    rows.set_header(["benchmark", axis, "req/s", "p99", "success", ""]);
    for benchmark in benchmarks {
        let summary = benchmark.summary;
        let figure = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), show);
        rows.add_row([
            benchmark.run.benchmark_id.to_string(),
            load(benchmark.load),
            figure(summary.and_then(Summary::throughput), units::figure),
            figure(summary.and_then(|summary| summary.latency_s.figures.p99), units::seconds),
            figure(summary.and_then(|summary| summary.success_rate), |rate| format!("{rate:.2} %")),
            if benchmark.observation().is_some() { String::new() } else { "not used".to_owned() },
        ]);
    }
    table::align_right(&mut rows, [1, 2, 3, 4]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_a_p99_in_seconds() {
        assert_eq!(limits("0.05").ok(), Some(BTreeMap::from([("latency_p99_s".to_owned(), 0.05)])));
        assert_eq!(limits("p99=50ms").ok(), limits("0.05").ok());
        assert!(limits("speed=3").is_err() && limits("-1").is_err());
    }
}
