//! Archived benchmarks → the observations of a sweep, the same for the command line and the site.

use std::collections::BTreeMap;

use archive::{Run, Severity, Status, Summary};

use super::{LimitCurve, Observation, Saturation, saturation};
use crate::{knee::number, slo};

/// Swept paths that are a load, and what each counts: more of it asks more of the service.
pub const LOAD_AXES: [(&str, &str); 2] =
    [("benchmarks.num_clients", "clients"), ("benchmarks.load.rate", "requests/s offered")];

/// One benchmark at its load.
#[derive(Clone, Copy, Debug)]
pub struct Archived<'a> {
    pub load: f64,
    pub run: &'a Run,
    pub summary: Option<&'a Summary>,
}

/// What a benchmark can say of its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Figures,
    /// The service itself failed: no limit holds.
    Failure,
    /// Cancelled, badly measured, or a figure of the load generator at its own limit.
    Nothing,
}

impl Archived<'_> {
    /// The load generator was at its own limit: its figures are no service's.
    fn is_client_bound(&self) -> bool {
        self.summary.is_some_and(|summary| summary.findings.iter().any(|finding| finding.code == "client_cpu"))
    }

    fn says(&self) -> Says {
        let invalid = || {
            let findings = self.summary.iter().flat_map(|summary| &summary.findings);
            findings.filter(|finding| finding.severity == Severity::Invalid)
        };
        match (self.run.status, self.summary) {
            (Status::Failed, _) => Says::Failure,
            _ if self.is_client_bound() => Says::Nothing,
            (Status::Cancelled, _) | (Status::Completed, None) => Says::Nothing,
            (Status::Completed, Some(_)) if invalid().next().is_none() => Says::Figures,
            _ if invalid().any(|finding| finding.code == "failures") => Says::Failure,
            _ => Says::Nothing,
        }
    }

    /// Its figures; `None` when they must not be used.
    pub fn observation(&self) -> Option<Observation> {
        let summary = self.summary.filter(|_| self.says() == Says::Figures)?;
        Some(Observation {
            load: self.load,
            throughput: summary.throughput(),
            latency_p99_s: summary.latency_s.figures.p99,
            success_rate: summary.success_rate,
        })
    }

    /// The figure that a limit is put on: `Some(None)` where the service failed, `None` where nothing can be said.
    pub(crate) fn against(&self, metric: &str, limit: f64) -> Option<Option<f64>> {
        match self.says() {
            Says::Failure => Some(None),
            Says::Nothing => None,
            Says::Figures => {
                let summary = self.summary?;
                let asked = BTreeMap::from([(metric.to_owned(), limit)]);
                slo::check(&asked, summary).first()?.value.map(Some)
            }
        }
    }
}

/// The load of a benchmark and what it counts: the swept load, else the offered rate, else the clients.
pub fn load_of(run: &Run) -> (f64, &'static str) {
    let swept = |(path, name): &(&str, &'static str)| Some((run.campaign.swept.get(*path)?.as_f64()?, *name));
    let offered = || Some((run.client.load.get("arrival")?.get("rate")?.as_f64()?, LOAD_AXES[1].1));
    LOAD_AXES
        .iter()
        .find_map(swept)
        .or_else(offered)
        .unwrap_or_else(|| (f64::from(run.client.num_clients), LOAD_AXES[0].1))
}

/// The limits of the campaign's SLO over all its benchmarks; `slo` in its place where it is not empty.
pub fn limit_curves(benchmarks: &[Archived<'_>], slo: &BTreeMap<String, f64>) -> Vec<LimitCurve> {
    let mut limits = slo.clone();
    if limits.is_empty() {
        limits.extend(benchmarks.iter().flat_map(|one| one.run.campaign.slo.clone()));
    }
    let curve = |(metric, limit): (String, f64)| LimitCurve {
        at_most: slo::is_at_most(&metric),
        points: benchmarks.iter().filter_map(|one| Some((one.load, one.against(&metric, limit)?))).collect(),
        metric,
        limit,
    };
    limits.into_iter().map(curve).collect()
}

/// What archived benchmarks of one sweep say; `slo` wins over the campaign's.
pub fn of_archived(benchmarks: &[Archived<'_>], slo: &BTreeMap<String, f64>) -> Saturation {
    let observations: Vec<Observation> = benchmarks.iter().filter_map(Archived::observation).collect();
    let mut answer = saturation(&observations, &limit_curves(benchmarks, slo));
    // The law is about parallel work; an offered rate is none.
    if benchmarks.iter().any(|one| load_of(one.run).1 != LOAD_AXES[0].1) {
        answer.usl = None;
    }
    let bound: Vec<f64> = benchmarks.iter().filter(|one| one.is_client_bound()).map(|one| one.load).collect();
    if let Some(least) = bound.iter().copied().reduce(f64::min) {
        let of = benchmarks.iter().filter(|one| one.load >= least).count();
        let remark = format!(
            "; left out: {} of the {of} benchmarks from {} on, where the load generator was at its own limit",
            bound.len(),
            number(least)
        );
        let Saturation { latency_knee, throughput_saturation, recommendation, .. } = &mut answer;
        for reason in [&mut latency_knee.reason, &mut throughput_saturation.reason, &mut recommendation.reason] {
            reason.push_str(&remark);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use archive::Finding;
    use serde_json::json;

    use super::*;

    fn run(swept: serde_json::Value) -> Run {
        serde_json::from_value(json!({
            "schema": 1, "benchmark_id": "BM-20260301-001", "status": "completed",
            "created_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:01:00Z",
            "campaign": {"name": "c", "execution": "e", "point": 0, "points": 1, "repetition": 1, "repetitions": 1,
                "swept": swept},
            "target": {"name": "local", "kind": "local"},
            "tool": {"name": "runner", "version": "0", "binary_sha256": null},
            "git_commit": null, "recipe_hash": "", "recipe": {"file": "f", "text": "", "resolved": {}},
            "service": {"name": "s", "type": "redis", "version": null, "image": null, "command": [],
                "program_sha256": null, "started_as": "child", "hostname": null, "port": null, "ready_after_s": null,
                "exit": null},
            "client": {"name": "c", "type": "t", "num_clients": 1, "threads": 1, "load": {}, "sequence_digest": null},
            "nodes": [], "seeds": {"campaign": 1, "benchmark": 1}, "events": []
        }))
        .expect("a run")
    }

    /// Throughput that follows the load up to 8, measured at 1 to 64 with the `findings` from 16 on.
    fn swept(axis: &str, findings: &[Finding]) -> Saturation {
        let loads = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0f64];
        let made = loads.map(|load| {
            let rate = 100.0 * load.min(8.0);
            let findings = if load >= 16.0 { findings.to_vec() } else { Vec::new() };
            let summary = Summary { requests_per_second: Some(rate), findings, ..Summary::default() };
            (load, run(json!({ axis: load })), summary)
        });
        let archived: Vec<_> =
            made.iter().map(|(load, run, summary)| Archived { load: *load, run, summary: Some(summary) }).collect();
        of_archived(&archived, &BTreeMap::new())
    }

    #[test]
    fn the_load_generators_own_limit_is_no_knee_of_the_service() {
        let [clients, rate] = LOAD_AXES.map(|(path, _)| path);
        let knee = swept(clients, &[]);
        assert!((knee.throughput_saturation.load.expect("a knee") - 8.0).abs() < 1.0, "{knee:?}");
        assert!(knee.usl.is_some() && swept(rate, &[]).usl.is_none());
        let own = Finding { severity: Severity::Warning, code: "client_cpu".to_owned(), message: String::new() };
        let answer = swept(clients, &[own]).throughput_saturation;
        assert_eq!(answer.load, None);
        assert!(answer.reason.contains("left out: 3 of the 3 benchmarks from 16 on"), "{answer:?}");
    }
}
