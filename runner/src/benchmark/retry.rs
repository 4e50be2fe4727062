//! Benchmarks whose jobs a cluster ended through no fault of theirs are begun anew, under ids of their own.

use anyhow::{Context, Result};
use archive::{Archive, BenchmarkId, Run, Status, Timestamp};
use serde_json::json;

use super::{Done, Journal, RunFolder, State};
use crate::{
    agent::{self, DeploymentPlan, Layout, PointPlan, SealFacts},
    target::copy_description,
};

/// How often a benchmark is begun anew.
pub const ATTEMPTS: u32 = 3;

/// The ends after which a benchmark may be begun anew, in Slurm's words.
const ENDS: [&str; 8] =
    ["preempted", "node_fail", "timeout", "out_of_memory", "cancelled", "failed", "boot_fail", "deadline"];

/// Slurm's word for the end of a job, as people write it: `node_fail`.
pub fn retried_end(text: &str) -> Result<String, String> {
    let word = text.trim().to_ascii_lowercase();
    match ENDS.contains(&word.as_str()) {
        true => Ok(word.to_ascii_uppercase()),
        false => Err(format!("expected how jobs end, in Slurm's words: {}", ENDS.join(", "))),
    }
}

/// Whether a benchmark failed because one of its jobs ended so.
pub fn ended_so(run: &Run, ends: &[String]) -> bool {
    let jobs = run.target.other.get("jobs");
    let state = |role: &str| jobs?.get(role)?.get("state")?.as_str();
    // `CANCELLED by 1001`
    let word = |state: &str| state.split([' ', '+']).next().unwrap_or_default().to_ascii_uppercase();
    run.status != Status::Completed
        && ["service", "client"].into_iter().filter_map(state).any(|state| ends.contains(&word(state)))
}

/// In a run folder whose failed benchmarks are begun anew: the name of the folder of the next attempt.
const NEXT: &str = "next_attempt.json";

/// What is tried again.
#[derive(Default)]
pub struct Attempt {
    /// Benchmarks of which a later one counts.
    pub ended: Vec<BenchmarkId>,
    /// Where it was begun now, and not by another process before.
    pub begun: Option<(RunFolder, DeploymentPlan)>,
}

/// Makes the run folder of the next attempt at what failed for an end that the campaign retries. The folder that is left still has its secrets, and may be taken up again by another process after any step:
/// an attempt is made once.
pub fn next_attempt(archive: &Archive, layout: &Layout, plan: &DeploymentPlan, done: &[Done]) -> Result<Attempt> {
    let ended: Vec<BenchmarkId> =
        done.iter().filter(|done| ended_so(&done.run, &plan.facts.retry)).map(|done| done.id).collect();
    let name = layout.folder().file_name().and_then(|name| name.to_str()).context("a run folder has a name")?;
    let Some(name) = following(name).filter(|_| !ended.is_empty()) else { return Ok(Attempt::default()) };
    let marker = layout.folder().join(NEXT);
    if marker.exists() || archive.work_folder()?.join("run").join(&name).join("journal.jsonl").exists() {
        return Ok(Attempt { ended, begun: None });
    }
    let points = plan.points.iter().filter(|point| ended.contains(&point.benchmark_id)).map(|point| {
        let mut again = PointPlan { benchmark_id: archive.allocate()?, ..point.clone() };
        again.campaign.other.insert("retry_of".into(), json!(point.benchmark_id));
        Ok(again)
    });
    let facts = SealFacts { created_at: Timestamp::now(), ..plan.facts.clone() };
    let next = DeploymentPlan { points: points.collect::<Result<_>>()?, open: false, facts, ..plan.clone() };
    let run = RunFolder::create(archive, &name)?;
    run.layout.create(&next, &layout.secrets()?)?;
    layout.copy_inputs(&run.layout)?;
    copy_description(layout.folder(), run.layout.folder())?;
    // From here on it is begun, whoever goes on with it.
    Journal::open(run.layout.folder())?.write(State::Planned)?;
    agent::write_json(&marker, &name)?;
    Ok(Attempt { ended, begun: Some((run, next)) })
}

/// The name of the folder of the attempt after that in `name`, if there may be one: `…-0001`, `…-0001r1`.
fn following(name: &str) -> Option<String> {
    let (first, attempt) =
        match name.rsplit_once('r').and_then(|(first, number)| Some((first, number.parse::<u32>().ok()?))) {
            Some(again) => again,
            None => (name, 0),
        };
    (attempt < ATTEMPTS).then(|| format!("{first}r{}", attempt + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_that_are_no_success_are_retried() {
        assert_eq!(retried_end("node_fail").as_deref(), Ok("NODE_FAIL"));
        for text in ["completed", "running", "sometimes", ""] {
            assert!(retried_end(text).is_err(), "{text}");
        }
    }

    #[test]
    fn attempts_have_names_of_their_own_and_an_end() {
        let first = "20260301T120000-abcdef-0001";
        let mut name = first.to_owned();
        for attempt in 1..=ATTEMPTS {
            name = following(&name).expect("another");
            assert_eq!(name, format!("{first}r{attempt}"));
        }
        assert_eq!(following(&name), None);
    }

    #[test]
    fn an_end_is_meant_by_its_own_word() {
        let text = include_str!("../../archive/tests/v1/BM-20261123-001/run.json");
        let mut run: Run = serde_json::from_str(text).expect("a run");
        run.status = Status::Failed;
        for (state, end, so) in [
            ("FAILED", "BOOT_FAIL", false),
            ("BOOT_FAIL", "BOOT_FAIL", true),
            ("DEADLINE", "TIMEOUT", false),
            ("CANCELLED by 1001", "CANCELLED", true),
            ("COMPLETED", "FAILED", false),
        ] {
            run.target
                .other
                .insert("jobs".into(), json!({"service": {"state": state}, "client": {"state": "COMPLETED"}}));
            assert_eq!(ended_so(&run, &[end.to_owned()]), so, "{state} {end}");
        }
    }
}
