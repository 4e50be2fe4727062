//! Archived steps → what the search decides by, so that whoever reads the archive comes to the same next step.

use std::collections::BTreeMap;

use archive::{Severity, Status};

use super::{Goal, Measured, Says, Search, Step, next_step};
use crate::saturation::Archived;

/// Share of the response time from which the load generator's own error slows the requests of a closed loop.
const OWN_ERROR: f64 = 0.1;

/// What a step of a search measured; `None` for one that was ended early by a person, which decides nothing.
pub fn measured(archived: &Archived<'_>, search: &Search) -> Option<Measured> {
    let Archived { load, run, summary } = *archived;
    let findings = || summary.iter().flat_map(|summary| &summary.findings);
    let slowed = || {
        let own = summary?.calibration.as_ref()?.latency_s?.p50;
        Some(own > OWN_ERROR * summary?.latency_s.figures.p50?)
    };
    let of_client = findings().find(|finding| match finding.code.as_str() {
        "client_cpu" => true,
        // Errors of percentiles say little of the throughput.
        "calibration" => search.goal == Goal::Slo || slowed() == Some(true),
        _ => false,
    });
    let invalid = findings().find(|finding| finding.severity == Severity::Invalid);
    let says = match (run.status, &run.failure, of_client, invalid) {
        (Status::Cancelled, ..) => return None,
        (Status::Failed, Some(failure), ..) => Says::Failure(failure.reason.clone()),
        (Status::Failed, ..) => Says::Failure("it failed".to_owned()),
        (_, _, Some(finding), _) => Says::Nothing(finding.message.clone()),
        (_, _, _, Some(finding)) if finding.code == "failures" => Says::Failure(finding.message.clone()),
        (_, _, _, Some(finding)) => Says::Nothing(finding.message.clone()),
        _ => figures(archived, search),
    };
    let begun =
        run.events.iter().find(|event| event.event == "point_begun" && event.benchmark_id == Some(run.benchmark_id));
    Some(Measured {
        load,
        says,
        requests: summary.map_or(0, |summary| summary.total_requests + summary.warmup_requests),
        time_s: begun.map_or(0.0, |event| run.ended_at.seconds_since(event.time).max(0.0)),
    })
}

fn figures(archived: &Archived<'_>, search: &Search) -> Says {
    let Some(observation) = archived.observation() else { return Says::Nothing("it has no figures".to_owned()) };
    let figure = |(metric, limit): (&String, &f64)| Some((metric.clone(), archived.against(metric, *limit)??));
    let metrics: BTreeMap<String, f64> = search.slo.iter().filter_map(figure).collect();
    Says::Figures { throughput: observation.throughput, metrics }
}

/// What archived benchmarks of one search come to: what is looked for, and the next step or the end. `None` where their
/// load was listed, where they are of several executions, or where a newer version searched for what is not known here.
pub fn searched(benchmarks: &[Archived<'_>]) -> Option<(Search, Step)> {
    let first = &benchmarks.first()?.run.campaign;
    if benchmarks.iter().any(|one| one.run.campaign.execution != first.execution) {
        return None;
    }
    let wanted = &first.search.as_ref()?.wanted;
    let search: Search = serde_json::from_value(wanted.clone().into()).ok()?;
    let step =
        |one: &Archived<'_>| one.run.campaign.search.as_ref().map(|facts| (facts.step, one.run.campaign.repetition));
    let mut steps: Vec<&Archived<'_>> = benchmarks.iter().filter(|one| step(one).is_some()).collect();
    steps.sort_by_key(|one| step(one));
    let history: Vec<Measured> = steps.into_iter().filter_map(|one| measured(one, &search)).collect();
    let next = next_step(&search, &history);
    Some((search, next))
}
