//! `runner plan`: what would run, in which order, by which commands, for how long. Runs and submits nothing.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use analysis::slo;
use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{Global, OverrideArgs, check::counted, print, this_machine};
use crate::{
    load::{Arrival, LoadSpec, Quantity, Step},
    plan::{self, Plan as Planned, Point, scripts},
    recipe::formats::format_duration,
};

/// Benchmarks whose order is printed for people; `--json` has all.
const SHOWN_ORDER: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Recipes or campaigns.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl Plan {
    /// Prints every file's plan; with `--json` one object a line. Errs when a file is not fine.
    pub fn execute(&self, global: &Global) -> Result<ExitCode> {
        for (number, file) in self.files.iter().enumerate() {
            let planned = planned(file, &self.overrides)?;
            if global.json {
                print(&format!("{}\n", as_json(&planned)))?;
            } else {
                if number > 0 {
                    print("\n")?;
                }
                print(&for_people(&planned))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The plan of a file that must be fine and name a target. Otherwise the findings go to stderr.
pub fn planned(file: &std::path::Path, overrides: &OverrideArgs) -> Result<Planned> {
    or_report(plan::make(file, &overrides.to_overrides(), this_machine(), true)?, &file.display().to_string())
}

/// The plan, or an error after the findings were printed to stderr.
pub fn or_report(outcome: plan::Outcome, name: &str) -> Result<Planned> {
    let Some(planned) = outcome.plan else {
        eprint!("{}", outcome.findings.render_all());
        bail!("{name} cannot be run: see above");
    };
    Ok(planned)
}

/// The whole plan, with its commands and without the values of secrets.
fn as_json(planned: &Planned) -> Value {
    let campaign = &planned.campaign;
    json!({
        "campaign": {
            "name": campaign.name,
            "title": campaign.title,
            "target": campaign.target,
            "seed": campaign.seed,
            "repetitions": campaign.repetitions,
            "file": campaign.file,
            "overrides": campaign.overrides,
        },
        "points": planned.points.iter().map(|point| json!({
            "swept": point.swept,
            "resolved": point.resolved,
            "recipe_hash": point.recipe_hash,
            "load": point.load,
            "slo": point.slo,
            "default_slo": default_limits(point).map(BTreeMap::from_iter),
            "estimated_s": point.estimated_s,
        })).collect::<Vec<_>>(),
        "benchmarks": planned.benchmarks.iter().map(|benchmark| json!({
            "point": benchmark.point,
            "repetition": benchmark.repetition,
            "seed": benchmark.seed,
        })).collect::<Vec<_>>(),
        "deployments": planned.deployments,
        "search": planned.search.as_ref().map(|search| json!({ "path": search.path, "searches": search.searches })),
        "estimated_s": estimated(planned).0,
        "scripts": scripts::scripts(planned).into_iter().map(|script| json!({
            "points": script.points,
            "commands": script.commands,
        })).collect::<Vec<_>>(),
        "secrets": planned.secrets.keys().collect::<Vec<_>>(),
        "notes": planned.notes,
    })
}

/// Seconds of all benchmarks together, or `None` when one ends by count; and the seconds that are known.
fn estimated(planned: &Planned) -> (Option<f64>, f64) {
    let each = || planned.benchmarks.iter().map(|benchmark| planned.points[benchmark.point].estimated_s);
    (each().sum(), each().flatten().sum())
}

fn for_people(planned: &Planned) -> String {
    let campaign = &planned.campaign;
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<12} {text}\n"));
    line("campaign", campaign.name.clone());
    if let Some(title) = &campaign.title {
        line("title", title.clone());
    }
    line("target", campaign.target.clone());
    let deployments = planned.deployments.len();
    let starts = if deployments == 1 { "1 deployment".into() } else { format!("{deployments} deployments") };
    match &planned.search {
        Some(search) => {
            line("benchmarks", format!("at most {}; only the first steps stand below", search.most_benchmarks()))
        }
        None => line("benchmarks", format!("{}, {starts}", counted(planned.points.len(), planned.benchmarks.len()))),
    }
    line(
        "time",
        match estimated(planned) {
            _ if planned.search.is_some() => "unknown: what is measured decides how many benchmarks follow".into(),
            (Some(seconds), _) => {
                format!("about {}, without starting and stopping services", format_duration(seconds.ceil()))
            }
            (None, 0.0) => "unknown: the load ends by count".into(),
            (None, known) => {
                format!("unknown: some load ends by count; the rest takes about {}", format_duration(known.ceil()))
            }
        },
    );
    line("seed", campaign.seed.to_string());
    for (place, text) in limits(&planned.points).into_iter().enumerate() {
        line(if place == 0 { "limits" } else { "" }, text);
    }
    if !planned.secrets.is_empty() {
        let names: Vec<&str> = planned.secrets.keys().map(String::as_str).collect();
        line("secrets", format!("{} (from the environment, not stored)", names.join(" ")));
    }
    for note in &planned.notes {
        line("note", note.clone());
    }
    out.push_str(&format!("\n{}\n", points_table(&planned.points)));
    let mut order = String::new();
    let mut repetition = None;
    for benchmark in planned.benchmarks.iter().take(SHOWN_ORDER) {
        let separator = if repetition.is_some_and(|last| last != benchmark.repetition) { " |" } else { "" };
        repetition = Some(benchmark.repetition);
        order.push_str(&format!("{separator} {}", benchmark.point + 1));
    }
    let rest = planned.benchmarks.len().saturating_sub(SHOWN_ORDER);
    let rest = if rest > 0 { format!(" … and {rest} more") } else { String::new() };
    out.push_str(&format!("\norder (points){order}{rest}\n"));
    for script in scripts::scripts(planned) {
        let points: Vec<String> = script.points.iter().map(|point| (point + 1).to_string()).collect();
        let whose = if script.points.len() == planned.points.len() { "all".into() } else { points.join(" ") };
        out.push_str(&format!("\n# points: {whose}\n{}\n", script.commands.join("\n")));
    }
    out
}

/// What a point without limits of its own is held to by summaries and reports.
fn default_limits(point: &Point) -> Option<Vec<(&'static str, f64)>> {
    let default = slo::default_slo(point.recipe.service.kind.as_deref()?).filter(|_| point.slo.is_empty())?;
    Some(default.limits.to_vec())
}

/// The limits in words, one line for each that differs, with its points.
fn limits(points: &[Point]) -> Vec<String> {
    let notation = |limits: &mut dyn Iterator<Item = (&str, f64)>| -> String {
        limits.map(|(metric, limit)| slo::in_notation(metric, limit)).collect::<Vec<_>>().join(", ")
    };
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for (number, point) in points.iter().enumerate() {
        let text = match (point.slo.is_empty(), default_limits(point)) {
            (false, _) => notation(&mut point.slo.iter().map(|(metric, limit)| (metric.as_str(), *limit))),
            (true, Some(default)) => format!(
                "none given; summaries and reports use the default of {}: {}",
                point.recipe.service.kind.as_deref().unwrap_or_default(),
                notation(&mut default.into_iter())
            ),
            (true, None) => "none given, and the service has no default".to_owned(),
        };
        match lines.iter_mut().find(|(known, _)| *known == text) {
            Some((_, numbers)) => numbers.push((number + 1).to_string()),
            None => lines.push((text, vec![(number + 1).to_string()])),
        }
    }
    let several = lines.len() > 1;
    let line = |(text, numbers): (String, Vec<String>)| match several {
        true => format!("{text} (points {})", numbers.join(" ")),
        false => text,
    };
    lines.into_iter().map(line).collect()
}

fn points_table(points: &[Point]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let axes: Vec<&String> = points.first().map(|point| point.swept.keys().collect()).unwrap_or_default();
    let mut header = vec!["point".to_owned()];
    header.extend(axes.iter().map(|axis| (*axis).clone()));
    header.extend(["service", "client", "load", "ends after", "time"].map(str::to_owned));
    table.set_header(header);
    for (number, point) in points.iter().enumerate() {
        let kind = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "command".into());
        let mut row = vec![(number + 1).to_string()];
        row.extend(axes.iter().map(|axis| point.swept.get(*axis).map(shown).unwrap_or_default()));
        row.push(kind(&point.recipe.service.kind));
        row.push(kind(&point.recipe.client.kind));
        row.push(load(&point.load));
        row.push(ends(&point.load));
        row.push(point.estimated_s.map_or("unknown".into(), format_duration));
        table.add_row(row);
    }
    table
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn load(spec: &LoadSpec) -> String {
    let clients = if spec.clients == 1 { "1 client".into() } else { format!("{} clients", spec.clients) };
    let unit = if spec.arrival.is_closed() { "" } else { "/s" };
    let steps: Vec<String> = spec.steps.iter().map(|of| step(of, unit)).collect();
    let steps = |one: String| if steps.is_empty() { one } else { steps.join(", ") };
    match &spec.arrival {
        Arrival::Closed { .. } if spec.steps.is_empty() => format!("closed, {clients}"),
        Arrival::Closed { .. } => format!("closed, {} connections", steps(String::new())),
        Arrival::Constant { rate } => format!("constant, {}, at most {clients}", steps(format!("{rate}/s"))),
        Arrival::Poisson { rate } => format!("poisson, {}, at most {clients}", steps(format!("{rate}/s"))),
        Arrival::Gamma { rate, shape } => {
            format!("gamma of shape {shape}, {}, at most {clients}", steps(format!("{rate}/s")))
        }
        Arrival::Trace { requests, rate, .. } => {
            format!("trace of {requests}, {rate:.3}/s on average, at most {clients}")
        }
    }
}

/// `100/s for 10s`, `100–500/s for 20s`.
fn step(step: &Step, unit: &str) -> String {
    let level = if step.from == step.to { step.from.to_string() } else { format!("{}–{}", step.from, step.to) };
    format!("{level}{unit} for {}", format_duration(step.duration_s))
}

fn ends(spec: &LoadSpec) -> String {
    let requests = spec.stop.requests.map(|requests| {
        let counted = if requests == 1 { "1 request".to_owned() } else { format!("{requests} requests") };
        match spec.arrival {
            Arrival::Closed { .. } => format!("{counted} a client"),
            _ => counted,
        }
    });
    let window = spec.stop.duration_s.map(format_duration);
    let precision = spec.precision.as_ref().map(|wanted| {
        let quantity = if wanted.quantity == Quantity::Ttft { "TTFT" } else { "latency" };
        let percent = |share: f64| (share * 1e6).round() / 1e4;
        format!("{quantity} p{} known to {} %", percent(wanted.share), percent(wanted.width))
    });
    [precision, window, requests].into_iter().flatten().collect::<Vec<_>>().join(" or ")
}
