//! The two jobs of a deployment, and what Slurm's answers make of them. Pure: nothing is asked here.
//!
//! Every answer that leaves a job undecided is counted, so that no job is waited for without end, whatever the queue and
//! the accounts say or do not say.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    output::JobRecord,
    script::Role,
    state::{ENDED_ITSELF, FORGOTTEN, Phase, blocked_for_ever},
};
use crate::agent;

/// So many questions in a row must not know a job before it counts as forgotten.
pub const UNKNOWN_TIMES: u32 = 3;
/// The same of a job that has left the queue while the accounts say that it goes on, or say nothing: they may be late, or
/// away for a while.
pub const SILENT_TIMES: u32 = 20;
/// For how many questions, and how long, the accounts may be late with the end of a job that the queue says is over.
const LATE_TIMES: u32 = 2;
const LATE: Duration = Duration::from_secs(10);

/// `jobs.json`: the jobs of a deployment, as far as Slurm has spoken of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    pub service: JobRecord,
    pub client: JobRecord,
    /// Somebody asked for their end.
    #[serde(default)]
    pub stopped: bool,
    /// Why they were ended before their time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Slurm put one of them back into the queue after it had run, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeued: Option<String>,
    /// Job → how many questions in a row left it undecided; of all commands that asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undecided: BTreeMap<String, u32>,
}

/// What the accounts answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Accounts {
    Said(BTreeMap<String, JobRecord>),
    /// There are none on this cluster.
    Absent,
    /// They were not asked, or did not answer.
    Silent,
}

impl Accounts {
    fn of(&self, id: &str) -> Option<&JobRecord> {
        match self {
            Self::Said(jobs) => jobs.get(id),
            Self::Absent | Self::Silent => None,
        }
    }
}

impl Jobs {
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("jobs.json")
    }

    pub fn read(folder: &Path) -> Option<Self> {
        agent::read_json(&Self::path(folder)).ok()
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        agent::write_json(&Self::path(folder), self)
    }

    pub fn each(&mut self) -> [&mut JobRecord; 2] {
        [&mut self.service, &mut self.client]
    }

    fn both(&self) -> [(Role, &JobRecord); 2] {
        [(Role::Service, &self.service), (Role::Client, &self.client)]
    }

    /// The jobs of which Slurm has not said all yet.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        [&self.service, &self.client].into_iter().filter(|job| !job.is_told()).map(|job| job.id.as_str())
    }

    pub fn are_over(&self) -> bool {
        self.service.phase().is_over() && self.client.phase().is_over()
    }

    /// The jobs that should be ended now, because of each other or of what they wait for; notes why in `blocked`.
    pub fn now_ending(&mut self) -> Vec<String> {
        let requeued = self.requeued.as_ref();
        match (self.service.phase(), self.client.phase()) {
            // It must not be measured on top of what was. The other one notices its silence.
            (Phase::Waiting, _) if requeued == Some(&self.service.id) => return vec![self.service.id.clone()],
            (_, Phase::Waiting) if requeued == Some(&self.client.id) => return vec![self.client.id.clone()],
            // One without the other has nothing to do.
            (Phase::Over(_), Phase::Waiting) => return vec![self.client.id.clone()],
            (Phase::Waiting, Phase::Over(_)) => return vec![self.service.id.clone()],
            _ => {}
        }
        let in_vain = self
            .both()
            .into_iter()
            .filter(|(_, job)| job.phase() == Phase::Waiting)
            .find_map(|(role, job)| Some((role, job, blocked_for_ever(&job.reason)?)));
        match (in_vain, &self.blocked) {
            (Some((role, job, why)), None) => {
                let text = format!("the {}'s job {} would wait for ever ({}): {why}", role.name(), job.id, job.reason);
                self.blocked = Some(text);
                [&self.service, &self.client].map(|job| job.id.clone()).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// What was wrong with their end, unless it was asked for.
    pub fn remark(&self) -> Option<String> {
        if self.stopped {
            return None;
        }
        let complaint = |role: Role, job: &JobRecord| Some(format!("the {}'s {}", role.name(), job.complaint()?));
        let service = complaint(Role::Service, &self.service);
        // A client that never began only says that its service ended.
        let client =
            complaint(Role::Client, &self.client).filter(|_| service.is_none() || self.client.started_unix_s.is_some());
        let requeued = self.requeued.as_ref().map(|id| format!("Slurm put job {id} back into the queue"));
        let all: Vec<String> = self.blocked.clone().into_iter().chain(requeued).chain(service).chain(client).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl JobRecord {
    /// Whether nothing more is to be learnt of it: its end and its exit code are known, or nobody knows them.
    fn is_told(&self) -> bool {
        let by_accounts = self.ended_unix_s.is_some() && !self.exit_code.is_empty();
        self.phase().is_over() && (by_accounts || [FORGOTTEN, ENDED_ITSELF].contains(&self.state.as_str()))
    }
}

/// A deployment whose jobs are asked for.
#[derive(Debug)]
pub struct Followed {
    pub folder: PathBuf,
    pub jobs: Jobs,
    /// Slurm has been asked about them by this process.
    pub heard: bool,
    /// The jobs whose end was asked for since Slurm was asked last.
    ending: Vec<String>,
    /// Since when the queue has said that both are over, and how many questions that was ago.
    late: Option<(Instant, u32)>,
    has_accounts: bool,
}

impl Followed {
    pub fn new(folder: PathBuf, jobs: Jobs) -> Self {
        Self { folder, jobs, heard: false, ending: Vec::new(), late: None, has_accounts: true }
    }

    /// Takes one answer of Slurm's: the queue, and what the accounts say of what is no longer in it or is over. `last_words`
    /// are the moments (seconds since 1970) at which the agents, service and client, said that they end.
    pub fn hear(&mut self, queue: &BTreeMap<String, JobRecord>, accounts: &Accounts, last_words: [Option<i64>; 2]) {
        self.heard = true;
        self.ending.clear();
        let mut requeued = None;
        let mut undecided = std::mem::take(&mut self.jobs.undecided);
        for (job, last_words) in self.jobs.each().into_iter().zip(last_words) {
            if job.is_told() {
                continue;
            }
            if let Some(known) = queue.get(&job.id) {
                let again = job.phase() == Phase::Running && known.phase() == Phase::Waiting;
                *job = if again { known.clone() } else { job.with(known) };
                requeued = again.then(|| job.id.clone()).or(requeued);
                undecided.remove(&job.id);
            }
            match accounts.of(&job.id) {
                Some(known)
                    if known.phase().is_over() && queue.get(&job.id).is_none_or(|job| job.phase().is_over()) =>
                {
                    *job = job.with(known);
                    undecided.remove(&job.id);
                }
                _ if queue.contains_key(&job.id) || job.phase().is_over() => {}
                known => {
                    let times = undecided.entry(job.id.clone()).or_default();
                    *times += 1;
                    let absent = *accounts == Accounts::Absent;
                    let patience = match (known, accounts) {
                        (Some(_), _) | (None, Accounts::Silent) => SILENT_TIMES,
                        (None, _) => UNKNOWN_TIMES,
                    };
                    // It has left the queue, and its agent has said that it ends: it is over.
                    if let Some(ended) = last_words.filter(|_| absent || *times >= UNKNOWN_TIMES) {
                        job.state = ENDED_ITSELF.to_owned();
                        job.ended_unix_s = Some(ended);
                    } else if *times >= patience {
                        job.state = FORGOTTEN.to_owned();
                    }
                }
            }
        }
        undecided.retain(|id, _| {
            [&self.jobs.service, &self.jobs.client].iter().any(|job| job.id == *id && !job.phase().is_over())
        });
        self.jobs.undecided = undecided;
        self.jobs.requeued = requeued.or(self.jobs.requeued.take());
        if self.jobs.are_over() {
            let (since, times) = self.late.unwrap_or_else(|| (Instant::now(), 0));
            self.late = Some((since, times + 1));
        }
        self.has_accounts = *accounts != Accounts::Absent;
    }

    /// Whether both are over, and nothing more is to be learnt of them or was not for long enough.
    pub fn is_settled(&self) -> bool {
        let waited = self.late.is_some_and(|(since, times)| times > LATE_TIMES && since.elapsed() >= LATE);
        self.jobs.are_over() && (self.jobs.open().next().is_none() || !self.has_accounts || waited)
    }

    /// Those of `ids` whose end was not asked for yet since Slurm was asked last.
    pub fn newly_ended(&mut self, ids: Vec<String>) -> Vec<String> {
        let new: Vec<String> = ids.into_iter().filter(|id| !self.ending.contains(id)).collect();
        self.ending.extend(new.iter().cloned());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, state: &str, started: Option<i64>) -> JobRecord {
        JobRecord { id: id.into(), state: state.into(), started_unix_s: started, ..JobRecord::default() }
    }

    fn followed(service: JobRecord, client: JobRecord) -> Followed {
        Followed::new(PathBuf::new(), Jobs { service, client, ..Jobs::default() })
    }

    fn running() -> Followed {
        followed(job("1", "RUNNING", Some(1)), job("2", "RUNNING", Some(1)))
    }

    fn said(jobs: impl IntoIterator<Item = JobRecord>) -> Accounts {
        Accounts::Said(jobs.into_iter().map(|job| (job.id.clone(), job)).collect())
    }

    fn told(id: &str, state: &str) -> JobRecord {
        JobRecord { ended_unix_s: Some(9), exit_code: "0:0".into(), ..job(id, state, Some(1)) }
    }

    /// After how many answers, of which each is like the last, a job that has left the queue is over; and how.
    fn over_after(accounts: &Accounts, last_words: [Option<i64>; 2]) -> (u32, String) {
        let mut followed = running();
        for times in 1..=2 * SILENT_TIMES {
            followed.hear(&BTreeMap::new(), accounts, last_words);
            if followed.jobs.are_over() {
                assert!(followed.is_settled() && followed.jobs.undecided.is_empty());
                return (times, followed.jobs.service.state);
            }
        }
        panic!("it is never over: {accounts:?}");
    }

    #[test]
    fn no_job_that_has_left_the_queue_is_waited_for_without_end() {
        let none = [None, None];
        let both = [Some(7), Some(8)];
        let ghost = |state: &str| said([job("1", state, Some(1)), job("2", state, Some(1))]);
        for (accounts, last_words, expect) in [
            (said([told("1", "COMPLETED"), told("2", "COMPLETED")]), none, (1, "COMPLETED")),
            (said([]), none, (UNKNOWN_TIMES, FORGOTTEN)),
            (said([]), both, (UNKNOWN_TIMES, ENDED_ITSELF)),
            (ghost("RUNNING"), none, (SILENT_TIMES, FORGOTTEN)),
            (ghost("REQUEUED"), none, (SILENT_TIMES, FORGOTTEN)),
            (ghost("PENDING"), none, (SILENT_TIMES, FORGOTTEN)),
            (ghost("RUNNING"), both, (UNKNOWN_TIMES, ENDED_ITSELF)),
            (Accounts::Silent, none, (SILENT_TIMES, FORGOTTEN)),
            (Accounts::Silent, both, (UNKNOWN_TIMES, ENDED_ITSELF)),
            (Accounts::Absent, none, (UNKNOWN_TIMES, FORGOTTEN)),
            (Accounts::Absent, both, (1, ENDED_ITSELF)),
        ] {
            let expect = (expect.0, expect.1.to_owned());
            assert_eq!(over_after(&accounts, last_words), expect, "{accounts:?} {last_words:?}");
        }
    }

    #[test]
    fn undecided_answers_count_over_several_commands_and_in_a_row_only() {
        let mut first = running();
        first.hear(&BTreeMap::new(), &said([]), [None, None]);
        first.hear(&BTreeMap::new(), &said([]), [None, None]);
        let kept = serde_json::to_string(&first.jobs).expect("JSON");
        let mut second = Followed::new(PathBuf::new(), serde_json::from_str(&kept).expect("the same"));
        second.hear(&BTreeMap::new(), &said([]), [None, None]);
        assert!(second.jobs.are_over());
        let queue = BTreeMap::from([
            ("1".to_owned(), job("1", "RUNNING", Some(1))),
            ("2".to_owned(), job("2", "RUNNING", Some(1))),
        ]);
        for _ in 0..2 * UNKNOWN_TIMES {
            first.hear(&queue, &Accounts::Silent, [None, None]);
            first.hear(&BTreeMap::new(), &said([]), [None, None]);
        }
        assert!(!first.jobs.are_over());
    }

    #[test]
    fn the_end_that_the_accounts_tell_later_is_waited_for() {
        let over = || {
            BTreeMap::from([
                ("1".to_owned(), job("1", "COMPLETED", Some(1))),
                ("2".to_owned(), job("2", "COMPLETED", Some(1))),
            ])
        };
        let mut late = running();
        late.hear(&over(), &said([]), [None, None]);
        assert!(late.jobs.are_over() && !late.is_settled());
        late.hear(&over(), &said([told("1", "COMPLETED"), told("2", "TIMEOUT")]), [None, None]);
        assert!(late.is_settled());
        assert_eq!((late.jobs.client.state.as_str(), late.jobs.client.ended_unix_s), ("TIMEOUT", Some(9)));
        // They never do: the wait has an end.
        let mut never = running();
        for _ in 0..=LATE_TIMES {
            never.hear(&over(), &Accounts::Silent, [None, None]);
            assert!(!never.is_settled());
        }
        never.late = never.late.map(|(since, times)| (since.checked_sub(LATE).expect("long ago"), times));
        assert!(never.is_settled());
        let mut without = running();
        without.hear(&over(), &Accounts::Absent, [None, None]);
        assert!(without.is_settled());
    }

    #[test]
    fn the_queue_outweighs_accounts_of_an_earlier_run() {
        let mut followed = running();
        let queue = BTreeMap::from([
            ("1".to_owned(), job("1", "PENDING", None)),
            ("2".to_owned(), job("2", "RUNNING", Some(1))),
        ]);
        followed.hear(&queue, &said([told("1", "NODE_FAIL")]), [None, None]);
        assert_eq!((followed.jobs.service.phase(), followed.jobs.requeued.as_deref()), (Phase::Waiting, Some("1")));
        assert_eq!(followed.jobs.now_ending(), ["1"]);
    }

    #[test]
    fn what_has_nothing_to_wait_for_is_ended() {
        let ends = |service: JobRecord, client: JobRecord| {
            let mut jobs = Jobs { service, client, ..Jobs::default() };
            (jobs.now_ending(), jobs.blocked.is_some())
        };
        let (run, wait, over) =
            (|id| job(id, "RUNNING", Some(1)), |id| job(id, "PENDING", None), |id| job(id, "FAILED", Some(1)));
        assert_eq!(ends(run("1"), wait("2")), (vec![], false));
        assert_eq!(ends(over("1"), wait("2")), (vec!["2".to_owned()], false));
        assert_eq!(ends(wait("1"), over("2")), (vec!["1".to_owned()], false));
        assert_eq!(ends(over("1"), run("2")), (vec![], false));
        let blocked = JobRecord { reason: "QOSMaxGRESPerJob".into(), ..wait("1") };
        assert_eq!(ends(blocked, wait("2")), (vec!["1".to_owned(), "2".to_owned()], true));
    }

    #[test]
    fn what_is_told_of_jobs_is_what_caused_the_end() {
        let jobs = |service, client| Jobs { service, client, ..Jobs::default() };
        let fine = jobs(job("1", "COMPLETED", Some(1)), job("2", "COMPLETED", Some(1)));
        assert_eq!((fine.are_over(), fine.remark()), (true, None));
        let itself = jobs(job("1", ENDED_ITSELF, Some(1)), job("2", ENDED_ITSELF, Some(1)));
        assert_eq!((itself.are_over(), itself.remark()), (true, None));
        let lost = jobs(job("1", "NODE_FAIL", Some(1)), job("2", "CANCELLED", None));
        assert_eq!(lost.remark().expect("one"), "the service's job 1 lost its node (Slurm: NODE_FAIL)");
        let forgotten = jobs(job("1", "COMPLETED", Some(1)), job("2", "FORGOTTEN", None));
        assert!(forgotten.are_over() && forgotten.remark().expect("one").contains("no longer known"));
        let stopped = Jobs { stopped: true, ..lost };
        assert_eq!(stopped.remark(), None);
    }

    #[test]
    fn the_end_of_a_job_is_asked_for_once_a_question() {
        let mut followed = running();
        assert_eq!(followed.newly_ended(vec!["1".to_owned()]), ["1"]);
        assert_eq!(followed.newly_ended(vec!["1".to_owned(), "2".to_owned()]), ["2"]);
        assert!(followed.newly_ended(vec!["1".to_owned()]).is_empty());
    }
}
