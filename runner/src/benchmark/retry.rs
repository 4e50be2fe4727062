//! Benchmarks whose jobs a cluster ended through no fault of theirs are begun anew, under ids of their own.

use anyhow::Result;
use archive::{BenchmarkId, Run, Status};
use serde_json::json;

use super::{Driven, Opening, Session, Until, drive, drive::Deployment};
use crate::{
    console::Console,
    plan::Plan,
    target::slurm::state::{End, Phase},
};

/// How often a benchmark is begun anew.
pub const ATTEMPTS: u32 = 3;

/// Slurm's word for the end of a job, as people write it: `node_fail`.
pub fn retried_end(text: &str) -> Result<String, String> {
    match Phase::of(text) {
        Some(Phase::Over(end)) if end != End::Completed => Ok(text.trim().to_ascii_uppercase()),
        _ => Err("expected how jobs end, in Slurm's words: preempted, node_fail, timeout, out_of_memory, cancelled, failed, boot_fail".to_owned()),
    }
}

/// Whether a benchmark failed because one of its jobs ended so.
pub fn ended_so(run: &Run, ends: &[String]) -> bool {
    let state = |role: &str| run.target.other.get("jobs")?[role]["state"].as_str().and_then(Phase::of);
    let wanted: Vec<Phase> = ends.iter().filter_map(|end| Phase::of(end)).collect();
    run.status != Status::Completed
        && ["service", "client"].into_iter().filter_map(state).any(|end| wanted.contains(&end))
}

/// Begins anew what failed for such an end, until it does not or this was tried often enough.
pub fn again(
    plan: &Plan,
    session: &Session<'_>,
    mut driven: Driven,
    create: &mut dyn FnMut(Opening<'_>) -> Result<Deployment>,
    console: &mut Console,
) -> Result<Driven> {
    let mut number = plan.deployments.len();
    for attempt in 1..=ATTEMPTS {
        let failed: Vec<(usize, BenchmarkId)> = driven
            .done
            .iter()
            .filter(|done| !driven.retried.contains(&done.id) && ended_so(&done.run, &session.options.retry))
            .filter_map(|done| {
                let of = |run: &Run| (run.campaign.point, run.campaign.repetition);
                let same = |planned: &super::PlannedBenchmark| (planned.point, planned.repetition) == of(&done.run);
                Some((plan.benchmarks.iter().position(same)?, done.id))
            })
            .collect();
        if failed.is_empty() || session.interrupt.is_raised() {
            break;
        }
        console.say(&format!("attempt {} at {} benchmarks whose jobs were ended", attempt + 1, failed.len()));
        let mut deployments = Vec::new();
        for members in &plan.deployments {
            let members: Vec<_> = failed.iter().filter(|(member, _)| members.contains(member)).collect();
            if members.is_empty() {
                continue;
            }
            number += 1;
            let points = members.iter().map(|(member, before)| {
                let mut point = session.point(plan, &plan.benchmarks[*member])?;
                point.campaign.other.insert("retry_of".into(), json!(before));
                Ok(point)
            });
            let opening = Opening {
                points: points.collect::<Result<_>>()?,
                needs: members.iter().map(|(member, _)| &plan.points[plan.benchmarks[*member].point]).collect(),
                open: false,
                number,
            };
            deployments.push(create(opening));
        }
        driven.retried.extend(failed.iter().map(|(_, id)| *id));
        let (archive, keep) = (session.archive, session.options.keep);
        let more = drive(deployments.into_iter(), Until::Archived, None, archive, keep, console, session.interrupt)?;
        driven.add(more);
    }
    Ok(driven)
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
}
