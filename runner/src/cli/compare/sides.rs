//! Which benchmarks a side of a comparison is: ids, a campaign or one of its executions, and all repetitions of a point.
//!
//! Reads `run.json` of the whole archive, summaries only where they are asked for.

use std::collections::BTreeSet;

use analysis::compare::{
    metric::Thresholds,
    past::{Executions, Past, Point, points},
    repetition::Repetition,
};
use anyhow::{Context, Result, bail};
use archive::{Archive, BenchmarkId, Run, Severity, Summary};

/// The runs of the archive, oldest first.
pub struct Runs<'a> {
    archive: &'a Archive,
    runs: Vec<Run>,
}

/// What a side stands for.
pub struct Side<'r> {
    /// In words, for people.
    pub label: String,
    /// In the order of the sweep.
    pub points: Vec<Point<'r>>,
}

impl<'a> Runs<'a> {
    pub fn read(archive: &'a Archive) -> Result<Self> {
        let read = |id| archive.open(id)?.run();
        Ok(Self { archive, runs: archive.ids()?.into_iter().map(read).collect::<Result<_>>()? })
    }

    /// What the archive tells beside the two sides.
    pub fn past(&self) -> Past<'_> {
        Past::new(&self.runs)
    }

    pub fn all(&self) -> &[Run] {
        &self.runs
    }

    /// Both sides. An id stands for all repetitions of its point in the same execution unless `only`, or unless the
    /// other side is another repetition of the same.
    pub fn sides(&self, base: &str, candidate: &str, only: bool) -> Result<[Side<'_>; 2]> {
        let expanded = [self.side(base, only)?, self.side(candidate, only)?];
        let ids = |side: &Side<'_>| -> BTreeSet<BenchmarkId> {
            side.points.iter().flat_map(|point| &point.runs).map(|run| run.benchmark_id).collect()
        };
        let shared = |sides: &[Side<'_>; 2]| ids(&sides[0]).intersection(&ids(&sides[1])).next().copied();
        let Some(in_both) = shared(&expanded) else { return Ok(expanded) };
        let alone = [self.side(base, true)?, self.side(candidate, true)?];
        match shared(&alone) {
            None => Ok(alone),
            Some(_) => bail!("{in_both} is on both sides: name two different executions, or different benchmarks"),
        }
    }

    /// Everything that `text` names: ids, a campaign, an execution.
    pub fn side(&self, text: &str, only: bool) -> Result<Side<'_>> {
        let find = |id: BenchmarkId| {
            self.runs.iter().find(|run| run.benchmark_id == id).with_context(|| format!("{id} cannot be read"))
        };
        if text.contains(',') {
            let ids = text.split(',').map(|id| self.archive.find(id.trim())).collect::<Result<BTreeSet<_>>>()?;
            let runs = ids.iter().copied().map(find).collect::<Result<Vec<_>>>()?;
            return Ok(Side { label: format!("{} benchmarks", runs.len()), points: points(runs) });
        }
        if let Some(execution) = self.execution(text)? {
            let runs: Vec<_> = self.runs.iter().filter(|run| run.campaign.execution == execution).collect();
            let label = format!("{}, execution {execution}, {} benchmarks", runs[0].campaign.name, runs.len());
            return Ok(Side { label, points: points(runs) });
        }
        let run = find(self.archive.find(text)?)?;
        let id = run.benchmark_id;
        if only {
            return Ok(Side { label: format!("{id} alone"), points: points(vec![run]) });
        }
        let same_point = |other: &&Run| {
            other.campaign.execution == run.campaign.execution && other.campaign.point == run.campaign.point
        };
        let runs: Vec<_> = self.runs.iter().filter(same_point).collect();
        let label = match runs.len() {
            1 => format!("{id}, the only repetition of its point"),
            count => format!("{id} and the other repetitions of its point, {count} in all"),
        };
        Ok(Side { label, points: points(runs) })
    }

    /// `NAME` is the newest execution of a campaign, `NAME~1` the one before it; an execution's own name, or a unique end
    /// of it, is itself.
    fn execution(&self, text: &str) -> Result<Option<String>> {
        let (name, back) = match text.split_once('~') {
            Some((name, back)) => {
                let back = back.parse::<usize>();
                (name, back.with_context(|| format!("`{text}`: after `~` goes how many executions to go back"))?)
            }
            None => (text, 0),
        };
        let of_campaign = self.executions(|run| run.campaign.name == name);
        if !of_campaign.is_empty() {
            let count = of_campaign.len();
            return match of_campaign.into_iter().rev().nth(back) {
                Some(execution) => Ok(Some(execution)),
                None => bail!("`{text}`: the archive has {count} executions of `{name}`"),
            };
        }
        if text.contains('~') {
            bail!("no campaign `{name}` in {}; `runner list` shows what there is", self.archive.folder().display());
        }
        let fitting = self.executions(|run| text.len() >= 6 && run.campaign.execution.ends_with(text));
        match fitting.as_slice() {
            [one] => Ok(Some(one.clone())),
            _ => Ok(None),
        }
    }

    /// Executions with a run that fits, by their first benchmark, oldest first.
    fn executions(&self, fits: impl Fn(&Run) -> bool) -> Vec<String> {
        let mut executions: Vec<String> = Vec::new();
        for run in self.runs.iter().filter(|run| fits(run)) {
            if !executions.contains(&run.campaign.execution) {
                executions.push(run.campaign.execution.clone());
            }
        }
        executions
    }

    /// The figures of each benchmark that completed and is valid; the others in words.
    pub fn repetitions(&self, runs: &[&Run], thresholds: &Thresholds) -> Result<(Vec<Repetition>, Vec<String>)> {
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for run in runs {
            let id = run.benchmark_id;
            let summary = self.archive.open(id)?.summary()?;
            let complaint = match (&run.failure, &summary) {
                (Some(failure), _) => Some(format!("{id} did not complete: {} ({})", failure.reason, failure.stage)),
                (None, None) => Some(format!("{id} has no figures")),
                (None, Some(summary)) if !summary.is_valid() => {
                    let finding = summary.findings.first().map(|finding| finding.message.as_str());
                    Some(format!("{id} is invalid: {}", finding.unwrap_or_default()))
                }
                _ => None,
            };
            match (complaint, summary) {
                (None, Some(summary)) => usable.push(Repetition::new(id, &summary, thresholds)),
                (complaint, _) => unusable.extend(complaint),
            }
        }
        Ok((usable, unusable))
    }

    /// The benchmarks whose figures may be the load generator's, in words.
    pub fn client_bound(&self, runs: &[&Run]) -> Result<Vec<String>> {
        let mut remarks = Vec::new();
        for run in runs {
            let summary = self.archive.open(run.benchmark_id)?.summary()?;
            let reservations = summary.iter().flat_map(Summary::reservations);
            let warnings = reservations.filter(|finding| finding.severity == Severity::Warning);
            remarks.extend(warnings.map(|finding| format!("{}: {}", run.benchmark_id, finding.message)));
        }
        Ok(remarks)
    }

    /// For every point of a side: a run of it, and all executions of its configuration.
    pub fn histories(&self, text: &str) -> Result<Vec<(&Run, Executions<'_>)>> {
        let side = self.side(text, false)?;
        let history = |point: &Point<'_>| {
            // The side's own reference would not outlive it.
            let first = point.runs[0].benchmark_id;
            let run = self.runs.iter().find(|run| run.benchmark_id == first)?;
            Some((run, self.past().all(run)))
        };
        Ok(side.points.iter().filter_map(history).collect())
    }
}
