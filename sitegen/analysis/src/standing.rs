//! Whether the figures of a benchmark may be used as a measurement of its service.

use archive::{Run, Severity, Status, Summary};

#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    Valid,
    /// Measured, but not a measurement of the service: why.
    Invalid(String),
    /// The service failed: at which stage and why.
    Failed(String),
    Cancelled(String),
}

/// The standing of one benchmark.
pub fn standing(run: &Run, summary: Option<&Summary>) -> Standing {
    let failure = || match &run.failure {
        Some(failure) => format!("at stage {}: {}", failure.stage, failure.reason),
        None => "no reason recorded".to_owned(),
    };
    match (run.status, summary) {
        (Status::Failed, _) => Standing::Failed(failure()),
        (Status::Cancelled, _) => Standing::Cancelled(failure()),
        (Status::Completed, None) => Standing::Invalid("nothing was measured".to_owned()),
        (Status::Completed, Some(summary)) => {
            match summary.findings.iter().find(|finding| finding.severity == Severity::Invalid) {
                Some(finding) => Standing::Invalid(finding.message.clone()),
                None => Standing::Valid,
            }
        }
    }
}

impl Standing {
    /// One word for a table.
    pub fn word(&self) -> &'static str {
        match self {
            Standing::Valid => "valid",
            Standing::Invalid(_) => "invalid",
            Standing::Failed(_) => "failed",
            Standing::Cancelled(_) => "cancelled",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Standing::Valid => None,
            Standing::Invalid(reason) | Standing::Failed(reason) | Standing::Cancelled(reason) => Some(reason),
        }
    }
}
