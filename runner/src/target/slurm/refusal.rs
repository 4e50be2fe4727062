//! What an `sbatch` that did not take a job means: never, not so many at once, or ask again. Pure.

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is refused for what it asks for: always.
    Lasting,
    /// The user has as many jobs as allowed.
    Limit,
    /// Nobody answered, or in words that are not known here.
    Again,
}

/// The status of `timeout` when the command took too long.
pub const TIMED_OUT: i32 = 124;

/// Words of a Slurm that could not be asked.
const UNREACHED: [&str; 9] = [
    "unable to contact",
    "unable to connect",
    "timed out",
    "temporar",
    "socket",
    "communication",
    "zero bytes",
    "credential",
    "authentication",
];
/// Words by which a job's own wishes are refused.
const LASTING: [&str; 14] = [
    "perjoblimit",
    "perjob",
    "invalid",
    "not permitted",
    "permission denied",
    "access/permission",
    "configuration is not available",
    "can not be satisfied",
    "cannot be satisfied",
    "than permitted",
    "unrecognized option",
    "not valid",
    "dependency problem",
    "must specify",
];

impl Refusal {
    /// Of the exit status of `sbatch`, with or without `--test-only`, and all that it said.
    pub fn of(code: i32, said: &str) -> Self {
        let said = said.to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if code == TIMED_OUT || any(&UNREACHED) {
            Self::Again
        } else if any(&["submitjob", "submit job limit"]) {
            Self::Limit
        } else if any(&LASTING) {
            Self::Lasting
        } else if any(&["job violates accounting/qos policy"]) {
            // Without a word on which of them, it may be the number of jobs.
            Self::Limit
        } else {
            Self::Again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_so_is_refused() {
        use Refusal::{Again, Lasting, Limit};
        let policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        for (code, said, expected) in [
            (1, "sbatch: error: Batch job submission failed: Invalid qos specification", Lasting),
            (1, "allocation failure: Invalid account or account/partition combination specified", Lasting),
            (1, "allocation failure: Requested node configuration is not available", Lasting),
            (1, "allocation failure: User's group not permitted to use this partition", Lasting),
            (1, "sbatch: unrecognized option '--hind'", Lasting),
            (1, &format!("sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: x: {policy}"), Lasting),
            (1, &format!("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: x: {policy}"), Limit),
            (1, &format!("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: x: {policy}"), Limit),
            (1, &format!("allocation failure: {policy}"), Limit),
            (124, "", Again),
            (124, "sbatch: error: Invalid", Again),
            (1, "allocation failure: Unable to contact slurm controller (connect failure)", Again),
            (1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Again),
            (1, "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", Again),
            (1, "sbatch: error: Munge encode failed: Invalid credential format", Again),
            (1, "a word from a plugin", Again),
            (127, "sh: sbatch: not found", Again),
            (0, "", Again),
        ] {
            assert_eq!(Refusal::of(code, said), expected, "{code} {said}");
        }
    }
}
