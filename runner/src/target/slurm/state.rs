//! What a job's state means: whether it goes on, and in words what became of it. Pure.

/// Our own word, for a job that Slurm no longer knows.
pub const FORGOTTEN: &str = "FORGOTTEN";

/// What Slurm says about a job, as far as decisions need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In the queue; it has used nothing.
    Waiting,
    Running,
    /// It will never run again.
    Over(End),
}

/// How a job came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    /// By its own exit code, or it could not be started.
    Failed,
    /// By somebody's `scancel`.
    Cancelled,
    Timeout,
    OutOfMemory,
    /// The node, not the job, was at fault.
    NodeFailure,
    Preempted,
    /// Slurm no longer knows the job.
    Forgotten,
}

impl Phase {
    /// Of a state as squeue, sacct or scontrol write it: in any case, with a suffix (`CANCELLED by 1001`) or flags
    /// (`COMPLETING+`, `IDLE*`). `None` for a word that is no state of a job.
    pub fn of(state: &str) -> Option<Self> {
        let word: String = state.trim().chars().take_while(|c| c.is_ascii_alphabetic() || *c == '_').collect();
        Some(match word.to_ascii_uppercase().as_str() {
            "PENDING" | "PD" | "CONFIGURING" | "CF" | "REQUEUED" | "RQ" | "REQUEUE_FED" | "RF" | "REQUEUE_HOLD"
            | "RH" | "SPECIAL_EXIT" | "SE" | "RESV_DEL_HOLD" | "RD" | "POWER_UP_NODE" => Self::Waiting,
            // Completing: the end is certain, but the node is not free and its files are not written yet.
            "RUNNING" | "R" | "COMPLETING" | "CG" | "SUSPENDED" | "S" | "STOPPED" | "ST" | "SIGNALING" | "SI"
            | "STAGE_OUT" | "SO" | "RESIZING" | "RS" | "UPDATE_DB" => Self::Running,
            "COMPLETED" | "CD" => Self::Over(End::Completed),
            "FAILED" | "F" | "BOOT_FAIL" | "BF" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => Self::Over(End::Failed),
            "CANCELLED" | "CA" | "REVOKED" | "RV" => Self::Over(End::Cancelled),
            "TIMEOUT" | "TO" | "DEADLINE" | "DL" => Self::Over(End::Timeout),
            "OUT_OF_MEMORY" | "OOM" => Self::Over(End::OutOfMemory),
            "NODE_FAIL" | "NF" => Self::Over(End::NodeFailure),
            "PREEMPTED" | "PR" => Self::Over(End::Preempted),
            FORGOTTEN => Self::Over(End::Forgotten),
            _ => return None,
        })
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Over(_))
    }
}

impl End {
    /// What to tell of a benchmark whose job ended so; `None` when the end is in order.
    pub fn in_words(self) -> Option<&'static str> {
        Some(match self {
            Self::Completed => return None,
            Self::Failed => "failed",
            Self::Cancelled => "was cancelled",
            Self::Timeout => "reached its time limit",
            Self::OutOfMemory => "used more memory than it had asked for",
            Self::NodeFailure => "lost its node",
            Self::Preempted => "was preempted",
            Self::Forgotten => "is no longer known to Slurm",
        })
    }
}

/// Why a waiting job will never start, if its reason says so. Slurm's word, with what to do.
pub fn blocked_for_ever(reason: &str) -> Option<&'static str> {
    let word = reason.trim().trim_start_matches('(').trim_end_matches(')');
    let word = word.split([',', ' ']).next().unwrap_or_default();
    Some(match word {
        "PartitionNodeLimit" | "PartitionTimeLimit" => {
            "the partition allows neither so many nodes nor such a time limit: ask for less"
        }
        "BadConstraints" => "no node of the partition has what is asked for",
        "DependencyNeverSatisfied" => "the service's job ended before it began",
        "JobHeldAdmin" => "an administrator holds the job",
        "JobHeldUser" => "the job is held: `scontrol release` it, or stop the benchmark",
        "AccountNotAllowed" | "InvalidAccount" => "the account may not use the partition",
        "QOSNotAllowed" | "InvalidQOS" => "the QOS may not be used here",
        "ReqNodeNotAvail" | "PartitionDown" | "PartitionInactive" => return None,
        "AccountingPolicy" => return None,
        word if word.contains("MaxWallDurationPerJob") => "the time limit is above what is allowed: ask for less",
        word if (word.starts_with("QOSMax") || word.starts_with("AssocMax")) && word.ends_with("PerJobLimit") => {
            "the job asks for more than one job may have"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_tools_got_wrong() {
        use End::*;
        for (text, expect) in [
            ("PENDING", Some(Phase::Waiting)),
            ("CONFIGURING", Some(Phase::Waiting)),
            ("REQUEUED", Some(Phase::Waiting)),
            ("SPECIAL_EXIT", Some(Phase::Waiting)),
            ("RUNNING", Some(Phase::Running)),
            ("COMPLETING", Some(Phase::Running)),
            ("SUSPENDED", Some(Phase::Running)),
            ("COMPLETED", Some(Phase::Over(Completed))),
            ("FAILED", Some(Phase::Over(Failed))),
            ("BOOT_FAIL", Some(Phase::Over(Failed))),
            ("CANCELLED by 1001", Some(Phase::Over(Cancelled))),
            ("CANCELLED+", Some(Phase::Over(Cancelled))),
            ("REVOKED", Some(Phase::Over(Cancelled))),
            ("TIMEOUT", Some(Phase::Over(Timeout))),
            ("DEADLINE", Some(Phase::Over(Timeout))),
            ("OUT_OF_MEMORY", Some(Phase::Over(OutOfMemory))),
            ("OUT_OF_ME+", None),
            ("NODE_FAIL", Some(Phase::Over(NodeFailure))),
            ("PREEMPTED", Some(Phase::Over(Preempted))),
            (" completed ", Some(Phase::Over(Completed))),
            ("", None),
            ("slurm_load_jobs error: Invalid job id specified", None),
        ] {
            assert_eq!(Phase::of(text), expect, "{text}");
        }
    }

    #[test]
    fn a_reason_blocks_for_ever_or_passes() {
        for reason in [
            "PartitionTimeLimit",
            "(PartitionNodeLimit)",
            "BadConstraints",
            "QOSMaxWallDurationPerJobLimit",
            "AssocMaxNodePerJobLimit",
            "DependencyNeverSatisfied",
        ] {
            assert!(blocked_for_ever(reason).is_some(), "{reason}");
        }
        for reason in [
            "Priority",
            "Resources",
            "None",
            "Dependency",
            "QOSMaxJobsPerUserLimit",
            "ReqNodeNotAvail, May be reserved",
            "",
        ] {
            assert_eq!(blocked_for_ever(reason), None, "{reason}");
        }
    }
}
