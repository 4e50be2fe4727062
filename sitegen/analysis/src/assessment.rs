//! What a benchmark comes to: can it be trusted, did it keep its limits, what stands out, what to do next.
//!
//! `runner summary`, the reports and the site say the same because they ask here. Nothing is judged by a fixed number that
//! fits one service and not another: a verdict comes from limits and validity alone.

use std::collections::BTreeMap;

use archive::{Distribution, Run, Severity, Summary};
use serde::Serialize;

use crate::{
    Interval, Standing, percentile_interval,
    slo::{self, LimitCheck, Verdict},
    standing,
};

/// A tail that is this many times the median is worth a remark.
const LONG_TAIL: f64 = 5.0;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// `valid`, `invalid`, `failed` or `cancelled`.
    pub standing: &'static str,
    pub standing_reason: Option<String>,
    pub verdict: Conclusion,
    pub slo_source: SloSource,
    pub slo: Vec<LimitCheck>,
    pub percentiles: Vec<FigureInterval>,
    /// Worst first.
    pub findings: Vec<Remark>,
    pub recommendations: Vec<String>,
}

impl Assessment {
    /// Whether whoever holds it to limits must not take it: one is violated, or nothing was measured that could keep them.
    pub fn is_bad(&self) -> bool {
        matches!(self.verdict.word, Word::Fail | Word::Invalid | Word::Cancelled)
    }
}

/// The one word that a benchmark gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Every limit is met.
    Pass,
    /// A limit is violated, or the service failed.
    Fail,
    /// No limit is violated, and of some it cannot be told whether they are met.
    CannotTell,
    /// The figures are no measurement of the service.
    Invalid,
    Cancelled,
    /// Measured, and held to nothing.
    NoLimits,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    pub word: Word,
    pub reason: String,
}

/// Where the limits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SloSource {
    /// Asked for when the summary or the report was made.
    Asked,
    /// The archived limits of the recipe or campaign.
    Recipe,
    /// The default of the service type.
    Default,
    None,
}

/// A percentile with its 95 % interval, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureInterval {
    /// `latency`, `ttft`, …
    pub quantity: &'static str,
    /// `p99`.
    pub figure: &'static str,
    pub value: f64,
    pub interval: Option<Interval>,
    /// Whether ten values lie beyond it.
    pub supported: bool,
    pub samples: u64,
}

/// What stands out; `kind` is `error`, `warning`, `info` or `success`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remark {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: String,
    pub description: String,
}

/// Assesses one benchmark. `asked` are limits in place of those of the recipe.
pub fn assess(run: &Run, summary: Option<&Summary>, asked: Option<&BTreeMap<String, f64>>) -> Assessment {
    let standing = standing(run, summary);
    let (slo_source, limits) = limits(run, asked);
    let slo = summary.map(|summary| slo::check(&limits, summary)).unwrap_or_default();
    let verdict = conclude(&standing, summary, slo_source, &slo);
    Assessment {
        standing: standing.word(),
        standing_reason: standing.reason().map(str::to_owned),
        findings: findings(&standing, summary),
        recommendations: recommendations(&standing, summary, &slo),
        percentiles: summary.map(percentiles).unwrap_or_default(),
        verdict,
        slo_source,
        slo,
    }
}

/// The limits that a benchmark is held to.
pub fn limits(run: &Run, asked: Option<&BTreeMap<String, f64>>) -> (SloSource, BTreeMap<String, f64>) {
    if let Some(asked) = asked {
        return (SloSource::Asked, asked.clone());
    }
    if !run.campaign.slo.is_empty() {
        return (SloSource::Recipe, run.campaign.slo.clone());
    }
    match slo::default_slo(&run.service.kind) {
        Some(default) => {
            let limits = default.limits.iter().map(|(metric, limit)| ((*metric).to_owned(), *limit));
            (SloSource::Default, limits.collect())
        }
        None => (SloSource::None, BTreeMap::new()),
    }
}

fn conclude(standing: &Standing, summary: Option<&Summary>, source: SloSource, slo: &[LimitCheck]) -> Conclusion {
    let conclusion = |word, reason: String| Conclusion { word, reason };
    let most_failed = summary.is_some_and(|summary| {
        summary.findings.iter().any(|finding| finding.severity == Severity::Invalid && finding.code == "failures")
            && summary.total_requests > 0
    });
    match standing {
        Standing::Failed(reason) => return conclusion(Word::Fail, format!("the service failed {reason}")),
        Standing::Cancelled(reason) => return conclusion(Word::Cancelled, format!("cancelled {reason}")),
        // A service that answers with failures was measured: it fails.
        Standing::Invalid(reason) if most_failed => return conclusion(Word::Fail, reason.clone()),
        Standing::Invalid(reason) => {
            return conclusion(Word::Invalid, format!("no measurement of the service: {reason}"));
        }
        Standing::Valid => {}
    }
    let of = |verdict: Verdict| -> Vec<&str> {
        slo.iter().filter(|check| check.verdict == verdict).map(|check| check.notation.as_str()).collect()
    };
    let by = if source == SloSource::Default { " (a default: none was given)" } else { "" };
    let (violated, unknown, met) = (of(Verdict::Violated), of(Verdict::CannotTell), of(Verdict::Met));
    if !violated.is_empty() {
        conclusion(Word::Fail, format!("violated: {}{by}", violated.join(", ")))
    } else if !unknown.is_empty() {
        conclusion(Word::CannotTell, format!("not enough data to tell: {}{by}", unknown.join(", ")))
    } else if !met.is_empty() {
        conclusion(Word::Pass, format!("met: {}{by}", met.join(", ")))
    } else {
        conclusion(Word::NoLimits, "no limit was given, and the service type has no default".to_owned())
    }
}

impl Word {
    /// As it stands in a headline.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::CannotTell => "CANNOT TELL",
            Self::Invalid => "INVALID",
            Self::Cancelled => "CANCELLED",
            Self::NoLimits => "NO LIMITS",
        }
    }
}

/// The percentiles of every sample with their intervals.
pub fn percentiles(summary: &Summary) -> Vec<FigureInterval> {
    let samples: [(&'static str, Option<&Distribution>); 7] = [
        ("latency", Some(&summary.latency_s)),
        ("service_time", summary.service_time_s.as_ref()),
        ("send_lag", summary.send_lag_s.as_ref()),
        ("ttft", summary.ttft_s.as_ref()),
        ("tpot", summary.tpot_s.as_ref()),
        ("itl", summary.itl_s.as_ref()),
        ("ttfb", summary.ttfb_s.as_ref()),
    ];
    let samples = samples.into_iter().filter_map(|(name, sample)| Some((name, sample?)));
    samples.flat_map(|(name, sample)| of_sample(name, sample)).collect()
}

fn of_sample(quantity: &'static str, sample: &Distribution) -> Vec<FigureInterval> {
    let figures = &sample.figures;
    let named = [
        ("p50", 500, figures.p50),
        ("p90", 900, figures.p90),
        ("p95", 950, figures.p95),
        ("p99", 990, figures.p99),
        ("p99.9", 999, figures.p999),
    ];
    let of = |(figure, permille, value): (&'static str, u32, Option<f64>)| {
        Some(FigureInterval {
            quantity,
            figure,
            value: value?,
            interval: sample.histogram.as_ref().and_then(|histogram| percentile_interval(histogram, permille)),
            supported: !figures.unsupported.iter().any(|unsupported| unsupported == figure),
            samples: figures.count,
        })
    };
    named.into_iter().filter_map(of).collect()
}

fn findings(standing: &Standing, summary: Option<&Summary>) -> Vec<Remark> {
    let remark = |kind, title: &str, description: String| Remark { kind, title: title.to_owned(), description };
    let mut remarks = Vec::new();
    if let Standing::Failed(reason) | Standing::Cancelled(reason) = standing {
        let title = if matches!(standing, Standing::Failed(_)) { "The benchmark failed" } else { "Cancelled" };
        remarks.push(remark("error", title, reason.clone()));
    }
    let Some(summary) = summary else {
        return remarks;
    };
    for finding in &summary.findings {
        let (kind, title) = match finding.severity {
            Severity::Invalid => ("error", "Not a valid measurement"),
            Severity::Warning => ("warning", "Reservation"),
            Severity::Note => ("info", "Note"),
        };
        remarks.push(remark(kind, title, finding.message.clone()));
    }
    let figures = &summary.latency_s.figures;
    if let (Some(p50), Some(p99)) = (figures.p50, figures.p99)
        && p50 > 0.0
        && p99 > LONG_TAIL * p50
        && !figures.unsupported.iter().any(|name| name == "p99")
    {
        let times = p99 / p50;
        let description = format!("one request in a hundred takes {times:.1} times as long as the median, or longer");
        remarks.push(remark("warning", "Long tail", description));
    }
    if summary.total_requests > 0 && summary.failed_requests == 0 {
        let description = format!("all {} requests succeeded", summary.total_requests);
        remarks.push(remark("success", "No failure", description));
    }
    let rank = |kind: &str| ["error", "warning", "info", "success"].iter().position(|known| *known == kind);
    remarks.sort_by_key(|remark| rank(remark.kind));
    remarks
}

fn recommendations(standing: &Standing, summary: Option<&Summary>, slo: &[LimitCheck]) -> Vec<String> {
    let mut advice = Vec::new();
    if let Standing::Failed(_) = standing {
        advice.push("Read the service's log: its end says why the service failed.".to_owned());
    }
    let Some(summary) = summary else { return advice };
    for finding in &summary.findings {
        let cure = match finding.code.as_str() {
            "failures" => match summary.error_summary.iter().max_by_key(|(_, count)| **count) {
                Some((text, count)) => {
                    format!("Find out why requests fail; the most frequent reason ({count} times): {}", shortened(text))
                }
                None => "Find out why requests fail.".to_owned(),
            },
            "send_lag" | "client_cpu" | "stall" => {
                "Give the load generator more threads or a node of its own, and measure again: here it limited itself."
                    .to_owned()
            }
            "rate" => "Ask for a lower rate, or give the load generator more clients and threads.".to_owned(),
            "cold_start" => "Give `benchmarks.warmup`, so that the window begins with the load under way.".to_owned(),
            "prompt_cache" => {
                "Restart the service between runs, or give another `--seed`, so that no prompt is known.".to_owned()
            }
            "samples" => "Measure longer: give a larger `benchmarks.duration` or more requests.".to_owned(),
            _ => continue,
        };
        if !advice.contains(&cure) {
            advice.push(cure);
        }
    }
    let notations = |verdict| -> Vec<&str> {
        slo.iter().filter(|check| check.verdict == verdict).map(|check| check.notation.as_str()).collect()
    };
    let (violated, unknown) = (notations(Verdict::Violated), notations(Verdict::CannotTell));
    if !violated.is_empty() && *standing == Standing::Valid {
        advice.push(format!(
            "This load breaks {}: sweep the load downwards (`--clients`) to find the largest that keeps it.",
            violated.join(", ")
        ));
    }
    if !unknown.is_empty() && *standing == Standing::Valid {
        let reasons: Vec<&str> = slo
            .iter()
            .filter(|check| check.verdict == Verdict::CannotTell)
            .map(|check| check.reason.as_str())
            .collect();
        advice.push(format!("Measure more to judge {}: {}.", unknown.join(", "), reasons.join("; ")));
    }
    advice
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
