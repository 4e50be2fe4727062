//! `runner compare BASE CANDIDATE`: did it get slower? By evidence, and by threshold.

use std::{collections::BTreeSet, process::ExitCode};

use analysis::compare::{
    Comparison, Pair, Verdict,
    differences::{Difference, differences},
    history::{History, history},
    metric::{Metric, Thresholds},
    past::{Past, Point},
    repetition::Repetition,
};
use anyhow::{Result, anyhow, bail};
use archive::{Archive, Run};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::sides::{Runs, Side};
use super::Global;
use crate::console::{self, Console};

pub mod show;
pub mod sides;

#[derive(Debug, Args)]
pub struct Compare {
    /// What it was: an id (with all repetitions of its point), ids with commas, a campaign (`NAME`: its newest execution,
    /// `NAME~1`: the one before), or an execution.
    #[arg(allow_hyphen_values = true, required_unless_present = "history")]
    base: Option<String>,
    /// What it is now.
    #[arg(allow_hyphen_values = true, required_unless_present = "history")]
    candidate: Option<String>,
    /// Instead of two sides: every execution of one configuration (of an id, or of every point of a campaign), and where its
    /// figures changed. Exit code 1 when the newest change of one is for the worse.
    #[arg(long, value_name = "CAMPAIGN or ID", conflicts_with_all = ["base", "candidate", "gate", "only", "force"])]
    history: Option<String>,
    /// How much worse a figure may become: `p99=5` (percent), `success_rate=0.5` (points), `errors=0` (requests). May be
    /// given often; figures without a threshold are not compared.
    #[arg(long, value_name = "METRIC=NUMBER", value_parser = threshold)]
    threshold: Vec<(String, f64)>,
    /// What fails.
    #[arg(long, value_name = "RULE", default_value = "evidence")]
    gate: Gate,
    /// Take an id for that benchmark alone, without the other repetitions of its point.
    #[arg(long)]
    only: bool,
    /// Compare what cannot be compared, and leave out benchmarks that failed or are invalid.
    #[arg(long)]
    force: bool,
}

/// What sets the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Gate {
    /// A regression beyond chance; of what was not repeated, so that chance is not known, a figure beyond its threshold.
    Evidence,
    /// A figure beyond its threshold, noise or not.
    Threshold,
    /// A regression beyond chance, or a figure that cannot be told.
    Strict,
}

/// `metric=number`; the metric's range is checked once all are known.
pub fn threshold(text: &str) -> Result<(String, f64), String> {
    let expected = "expected METRIC=NUMBER, for example `p99=5`";
    let (name, number) = text.split_once('=').ok_or_else(|| expected.to_owned())?;
    let number = number.trim_end_matches('%').parse::<f64>().map_err(|_| expected.to_owned())?;
    Thresholds::default().set(name, number)?;
    Ok((name.to_owned(), number))
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    base: &'a str,
    candidate: &'a str,
    gate: Gate,
    passed: bool,
    thresholds: &'a Thresholds,
    differences: &'a [Difference],
    /// Benchmarks that were left out, and points that only one side has.
    remarks: &'a [String],
    /// One a point of `comparison`: its swept values and its load.
    swept: Vec<&'a serde_json::Map<String, serde_json::Value>>,
    comparison: &'a Comparison,
}

impl Compare {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        super::finish_leftovers(&archive, &Console::new(global.quiet));
        let runs = Runs::read(&archive)?;
        let (base, candidate) = match (&self.history, &self.base, &self.candidate) {
            (Some(text), ..) => return self.history(&runs, text, global),
            (None, Some(base), Some(candidate)) => (base, candidate),
            _ => bail!("name two sides, or give --history"),
        };
        let [base, candidate] = runs.sides(base, candidate, self.only)?;
        let thresholds = self.thresholds(candidate.points[0].runs[0])?;
        let mut remarks = Vec::new();
        let matched = matched(&base, &candidate, &mut remarks)?;

        let past = runs.past();
        let differences = all_differences(&matched);
        let barred: Vec<_> = differences.iter().filter(|difference| difference.bars).collect();
        let mut pairs = Vec::new();
        let mut kept = Vec::new();
        let mut unusable = Vec::new();
        for (base_point, candidate_point) in &matched {
            let pair = self.pair((&runs, &past), base_point, candidate_point, &thresholds, &mut unusable)?;
            if pair.base.is_empty() || pair.candidate.is_empty() {
                remarks.push(format!("{}: no usable benchmark on one side", console::label(&base_point.swept)));
                continue;
            }
            for point in [base_point, candidate_point] {
                remarks.extend(runs.client_bound(&point.runs)?);
            }
            kept.push(&base_point.swept);
            pairs.push(pair);
        }
        if !self.force && (!barred.is_empty() || !unusable.is_empty()) {
            let mut reasons: Vec<String> = barred.iter().map(|difference| show::difference(difference)).collect();
            reasons.extend(unusable);
            bail!("these cannot be compared; --force does it nevertheless:\n  {}", reasons.join("\n  "));
        }
        remarks.extend(unusable.into_iter().map(|reason| format!("left out: {reason}")));
        if pairs.is_empty() {
            bail!("nothing is left to compare: {}", remarks.join("; "));
        }

        let recipes: BTreeSet<&str> = matched
            .iter()
            .flat_map(|(base, candidate)| base.runs.iter().chain(&candidate.runs))
            .map(|run| run.recipe_hash.as_str())
            .collect();
        let mut neighbours = Vec::new();
        for point in past.neighbours(matched[0].0.runs[0], &recipes, matched[0].1.runs[0]) {
            neighbours.push(runs.repetitions(&point, &thresholds)?.0);
        }
        let comparison = analysis::compare::compare(&pairs, &neighbours, &thresholds);
        let passed = match self.gate {
            Gate::Evidence => comparison.verdict != Verdict::Regressed && !beyond_without_noise(&comparison),
            Gate::Threshold => comparison.within_thresholds,
            Gate::Strict => !matches!(comparison.verdict, Verdict::Regressed | Verdict::CannotTell),
        };
        let answer = Answer {
            schema: archive::SCHEMA,
            base: &base.label,
            candidate: &candidate.label,
            gate: self.gate,
            passed,
            thresholds: &thresholds,
            differences: &differences,
            remarks: &remarks,
            swept: kept,
            comparison: &comparison,
        };
        match global.json {
            true => super::print(&format!("{:#}\n", serde_json::to_value(&answer)?))?,
            false => super::show(&show::text(&answer))?,
        }
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// The defaults, what the candidate's campaign says, and what the command line says.
    fn thresholds(&self, candidate: &Run) -> Result<Thresholds> {
        let mut thresholds = Thresholds::default();
        let own = candidate.campaign.thresholds.iter().map(|(name, number)| (name, *number));
        let given = self.threshold.iter().map(|(name, number)| (name, *number));
        for (name, number) in own.chain(given) {
            thresholds.set(name, number).map_err(|message| anyhow!(message))?;
        }
        Ok(thresholds)
    }

    /// The levels that the figures of one configuration had.
    fn history(&self, runs: &Runs<'_>, text: &str, global: &Global) -> Result<ExitCode> {
        let (mut histories, mut remarks) = (Vec::new(), Vec::new());
        for (run, executions) in runs.histories(text)? {
            let thresholds = self.thresholds(run)?;
            let mut names = Vec::new();
            let mut repetitions = Vec::new();
            for (execution, of_execution) in executions {
                let (usable, _) = runs.repetitions(&of_execution, &thresholds)?;
                if !usable.is_empty() {
                    names.push(execution);
                    repetitions.push(usable);
                }
            }
            for (metric, threshold) in thresholds.iter().filter(|(metric, _)| !metric.is_proportion()) {
                let values: Vec<Option<f64>> =
                    repetitions.iter().map(|execution| geometric_mean(execution, metric)).collect();
                let missing = values.iter().filter(|value| value.is_none()).count();
                if (1..values.len()).contains(&missing) {
                    remarks.push(format!(
                        "{}: {} is left out: {missing} of {} executions do not have it in every repetition",
                        console::label(&run.campaign.swept),
                        metric.name(),
                        values.len()
                    ));
                }
                let values: Option<Vec<f64>> = values.into_iter().collect();
                if let Some(history) = values.and_then(|values| history(metric, threshold, &values)) {
                    histories.push(PointHistory { swept: &run.campaign.swept, executions: names.clone(), history });
                }
            }
        }
        if histories.is_empty() {
            bail!("`{text}` has no completed and valid benchmark with figures");
        }
        match global.json {
            true => super::print(&format!(
                "{:#}\n",
                serde_json::json!({"schema": archive::SCHEMA, "histories": histories, "remarks": remarks})
            ))?,
            false => super::print(&show::histories(&histories, &remarks))?,
        }
        let regressed = histories.iter().any(|one| one.history.regressed());
        Ok(if regressed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn pair(
        &self,
        (runs, past): (&Runs<'_>, &Past<'_>),
        base: &Point<'_>,
        candidate: &Point<'_>,
        thresholds: &Thresholds,
        unusable: &mut Vec<String>,
    ) -> Result<Pair> {
        let mut usable = |side: &[&Run]| {
            let (usable, complaints) = runs.repetitions(side, thresholds)?;
            unusable.extend(complaints);
            anyhow::Ok(usable)
        };
        let (base_repetitions, candidate_repetitions) = (usable(&base.runs)?, usable(&candidate.runs)?);
        let all = base.runs.iter().chain(&candidate.runs);
        let except: Vec<_> = all.map(|run| run.campaign.execution.clone()).collect();
        let mut history = Vec::new();
        for (_, execution) in past.earlier(base.runs[0], &except, candidate.runs[0]) {
            history.push(runs.repetitions(&execution, thresholds)?.0);
        }
        history.retain(|execution| !execution.is_empty());
        Ok(Pair { base: base_repetitions, candidate: candidate_repetitions, history })
    }
}

/// Whether a figure of which no noise is known, for want of repetitions, is beyond its threshold.
fn beyond_without_noise(comparison: &Comparison) -> bool {
    let mut figures = comparison.points.iter().flat_map(|point| &point.metrics);
    figures.any(|figure| figure.verdict == Verdict::CannotTell && figure.p_value.is_none() && !figure.within_threshold)
}

/// One figure at one point through all executions.
#[derive(Serialize)]
struct PointHistory<'a> {
    swept: &'a serde_json::Map<String, serde_json::Value>,
    /// Their names, oldest first: the places that levels speak of.
    executions: Vec<String>,
    history: History,
}

/// `None` unless every repetition has a positive value.
fn geometric_mean(execution: &[Repetition], metric: Metric) -> Option<f64> {
    let logs = execution.iter().map(|one| one.figures.get(&metric).map(|figure| figure.value.ln()));
    let sum: f64 = logs.sum::<Option<f64>>()?;
    Some((sum / execution.len() as f64).exp()).filter(|mean| mean.is_finite() && *mean > 0.0)
}

type Matched<'r> = (Point<'r>, Point<'r>);

/// The points of both sides with equal swept values and load; single points are each other's whatever they are.
fn matched<'r>(base: &Side<'r>, candidate: &Side<'r>, remarks: &mut Vec<String>) -> Result<Vec<Matched<'r>>> {
    if let ([one], [other]) = (base.points.as_slice(), candidate.points.as_slice()) {
        return Ok(vec![(one.clone(), other.clone())]);
    }
    for side in [base, candidate] {
        for (index, point) in side.points.iter().enumerate() {
            if side.points[..index].iter().any(|other| other.swept == point.swept) {
                bail!(
                    "{}: {} stands for several configurations: compare them one by one, by their ids",
                    side.label,
                    console::label(&point.swept)
                );
            }
        }
    }
    let mut matched = Vec::new();
    for point in &base.points {
        match candidate.points.iter().find(|other| other.swept == point.swept) {
            Some(other) => matched.push((point.clone(), other.clone())),
            None => remarks.push(format!("only the base has {}", console::label(&point.swept))),
        }
    }
    for point in &candidate.points {
        if !base.points.iter().any(|other| other.swept == point.swept) {
            remarks.push(format!("only the candidate has {}", console::label(&point.swept)));
        }
    }
    if matched.is_empty() {
        bail!("the sides have no point in common: {}", remarks.join("; "));
    }
    Ok(matched)
}

/// Over all points, each once.
fn all_differences(matched: &[Matched<'_>]) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    for (base, candidate) in matched {
        for difference in differences(&base.runs, &candidate.runs) {
            if !all.contains(&difference) {
                all.push(difference);
            }
        }
    }
    all.sort_by_key(|difference| !difference.bars);
    all
}
