//! Archived benchmarks → the observations of a sweep, the same for the command line and the site.

use std::collections::BTreeMap;

use archive::{Run, Severity, Status, Summary};

use super::{LimitCurve, Observation, Saturation, saturation};
use crate::slo;

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
    /// Cancelled or badly measured.
    Nothing,
}

impl Archived<'_> {
    fn says(&self) -> Says {
        let invalid = || {
            let findings = self.summary.iter().flat_map(|summary| &summary.findings);
            findings.filter(|finding| finding.severity == Severity::Invalid)
        };
        match (self.run.status, self.summary) {
            (Status::Failed, _) => Says::Failure,
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
                let archived = summary.slo.iter().find(|outcome| outcome.metric == metric).and_then(|one| one.value);
                let asked = BTreeMap::from([(metric.to_owned(), limit)]);
                archived.or_else(|| slo::check(&asked, summary).first()?.value).map(Some)
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
    saturation(&observations, &limit_curves(benchmarks, slo))
}
