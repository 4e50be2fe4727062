//! What a job's state means: whether it goes on, and in words what became of it. Pure.

/// Our own word, for a job that Slurm no longer knows.
pub const FORGOTTEN: &str = "FORGOTTEN";
/// Our own word, for a job that has left the queue and whose agent said that it ends, while no accounts tell how it ended.
pub const ENDED_ITSELF: &str = "ENDED_ITSELF";

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
            "COMPLETED" | "CD" | ENDED_ITSELF => Self::Over(End::Completed),
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
///
/// Limits on one job never pass. Those on all jobs of a user, an account or a QOS (`…Grp…`, `…PerUser…`, `MaxJobs`) pass when
/// others end, and so does an account's budget of minutes, which other jobs set aside and give back.
pub fn blocked_for_ever(reason: &str) -> Option<&'static str> {
    let text = reason.trim().trim_start_matches('(').trim_end_matches(')');
    let word = text.split([',', ' ']).next().unwrap_or_default();
    Some(match word {
        "PartitionNodeLimit" | "PartitionTimeLimit" => {
            "the partition allows neither so many nodes nor such a time limit: ask for less"
        }
        "PartitionConfig" => "the partition cannot give what is asked for: ask for less, or for another partition",
        "BadConstraints" => "no node of the partition has what is asked for",
        "MaxMemPerLimit" => "the job asks for more memory than one job may have",
        "DependencyNeverSatisfied" => "the service's job ended before it began",
        "JobHeldAdmin" => "an administrator holds the job",
        "JobHeldUser" => "the job is held: `scontrol release` it, or stop the benchmark",
        "JobHoldMaxRequeue" | "RequeueExitHold" => "it was put back into the queue too often, and is held",
        "AccountNotAllowed" | "InvalidAccount" => "the account may not use the partition",
        "QOSNotAllowed" | "InvalidQOS" => "the QOS may not be used here",
        "ReservationDeleted" => "the reservation is no longer there",
        "RequiresReservation" | "ReqResv" => "the partition or QOS is for reservations only",
        "DeadLine" => "its deadline is over",
        word if word.contains("MaxWallDurationPerJob") => "the time limit is above what is allowed: ask for less",
        word if word.starts_with("QOSMin") => "the job asks for less than the QOS wants of each job",
        word if is_limit_of_one_job(word) => "the job asks for more than one job may have",
        _ if text.starts_with("launch failed requeued held") || text.starts_with("job requeued in held state") => {
            "it could not be started, and is held"
        }
        _ => return None,
    })
}

/// `QOSMaxCpuPerJobLimit`, `AssocMaxGRESPerJob`, `QOSMaxMemoryPerNode`, `AssocMaxNodeMinutesPerJob`.
fn is_limit_of_one_job(word: &str) -> bool {
    let of = word.strip_prefix("QOSMax").or_else(|| word.strip_prefix("AssocMax"));
    of.is_some_and(|of| ["PerJob", "PerJobLimit", "PerNode", "PerNodeLimit"].iter().any(|end| of.ends_with(end)))
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
            // As Slurm 22.05 and 23.11 have them, without `Limit`.
            "QOSMaxGRESPerJob",
            "QOSMaxMemoryPerJob",
            "QOSMaxCpuPerNode",
            "QOSMaxGRESPerNode",
            "QOSMaxMemoryPerNode",
            "AssocMaxGRESPerJob",
            "AssocMaxMemPerJob",
            "AssocMaxCpuMinutesPerJobLimit",
            "QOSMaxNodeMinutesPerJob",
            "QOSMaxBillingMinutesPerJob",
            "QOSMinGRES",
            "QOSMinCpuNotSatisfied",
            "MaxMemPerLimit",
            "PartitionConfig",
            "RequiresReservation",
            "ReservationDeleted",
            "(JobHoldMaxRequeue)",
            "launch failed requeued held",
        ] {
            assert!(blocked_for_ever(reason).is_some(), "{reason}");
        }
        for reason in [
            "Priority",
            "Resources",
            "None",
            "Dependency",
            "QOSMaxJobsPerUserLimit",
            "QOSMaxGRESPerUser",
            "QOSMaxCpuPerUserLimit",
            "MaxGRESPerAccount",
            "QOSGrpCPUMinutesLimit",
            "AssocGrpBillingMinutes",
            "AssocMaxJobsLimit",
            "AssocGrpNodeLimit",
            "PartitionDown",
            "BeginTime",
            "Licenses",
            "Cleaning",
            "ReqNodeNotAvail, May be reserved",
            "",
        ] {
            assert_eq!(blocked_for_ever(reason), None, "{reason}");
        }
    }
}
