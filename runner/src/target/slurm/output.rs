//! What Slurm's commands print → values. Pure. Made for 22.05 to 23.11, whose text formats are the same; their JSON is not.
//!
//! Times are asked for as seconds since 1970 (`SLURM_TIME_FORMAT=%s`): what Slurm prints otherwise has no zone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{End, Phase};

/// For `squeue --format`.
pub const QUEUE_FORMAT: &str = "%i|%T|%V|%S|%e|%P|%q|%a|%N|%j|%r";
/// For `sacct --format`.
pub const ACCOUNTING_FORMAT: &str = "JobIDRaw,State,Submit,Start,Partition,QOS,Account,NodeList,JobName,ExitCode,End";

/// A job as one of Slurm's commands describes it. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: String,
    pub name: String,
    /// Slurm's word, in capitals.
    pub state: String,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_unix_s: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_s: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_s: Option<i64>,
    pub partition: String,
    pub qos: String,
    pub account: String,
    /// In Slurm's notation, `mel[0001-0002]`.
    pub nodes: String,
    /// `code:signal`, as sacct has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exit_code: String,
}

impl JobRecord {
    /// A state that nobody knows yet is taken for one in which the job lives, until Slurm forgets the job.
    pub fn phase(&self) -> Phase {
        Phase::of(&self.state).unwrap_or(Phase::Running)
    }

    /// What `newer` says, and what this says of the rest: the accounts of a job that has just ended may lack some of it.
    pub fn with(&self, newer: &Self) -> Self {
        let text = |new: &String, old: &String| if new.is_empty() { old.clone() } else { new.clone() };
        Self {
            id: newer.id.clone(),
            name: text(&newer.name, &self.name),
            state: newer.state.clone(),
            reason: newer.reason.clone(),
            submitted_unix_s: newer.submitted_unix_s.or(self.submitted_unix_s),
            started_unix_s: newer.started_unix_s.or(self.started_unix_s),
            ended_unix_s: newer.ended_unix_s.or(self.ended_unix_s.filter(|_| newer.phase().is_over())),
            partition: text(&newer.partition, &self.partition),
            qos: text(&newer.qos, &self.qos),
            account: text(&newer.account, &self.account),
            nodes: text(&newer.nodes, &self.nodes),
            exit_code: text(&newer.exit_code, &self.exit_code),
        }
    }

    /// What was wrong with its end, for people.
    pub fn complaint(&self) -> Option<String> {
        let Phase::Over(end) = self.phase() else { return None };
        let words = end.in_words()?;
        let on = if self.nodes.is_empty() { String::new() } else { format!(" on {}", self.nodes) };
        let code = match self.exit_code.as_str() {
            "" | "0:0" => String::new(),
            code if end == End::Failed => format!(", exit code {code}"),
            _ => String::new(),
        };
        Some(format!("job {} {words}{on} (Slurm: {}{code})", self.id, self.state))
    }
}

/// The number in the answer of `sbatch --parsable`: `123`, or `123;cluster`.
pub fn submitted(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let id = line.split(';').next()?.trim();
    (!id.is_empty() && id.len() <= 12 && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| id.to_owned())
}

/// The jobs of `squeue --noheader --format=`[`QUEUE_FORMAT`]. Lines that are none are left out.
pub fn queue(text: &str) -> Vec<JobRecord> {
    let jobs = text.lines().filter_map(|line| {
        // The reason is last: nobody promises that there is no bar in it.
        let fields: Vec<&str> = line.splitn(11, '|').collect();
        let [id, state, submitted, started, ended, partition, qos, account, nodes, name, reason] = fields[..] else {
            return None;
        };
        let phase = Phase::of(state)?;
        let reason = if reason == "None" { String::new() } else { reason.to_owned() };
        Some(JobRecord {
            id: identifier(id)?,
            name: name.to_owned(),
            state: state.to_owned(),
            reason,
            submitted_unix_s: submitted.parse().ok(),
            // Of a job that waits, a guess.
            started_unix_s: started.parse().ok().filter(|_| phase != Phase::Waiting),
            // Of a job that goes on, its time limit.
            ended_unix_s: ended.parse().ok().filter(|_| phase.is_over()),
            partition: known(partition),
            qos: known(qos),
            account: known(account),
            nodes: known(nodes),
            exit_code: String::new(),
        })
    });
    jobs.collect()
}

/// The jobs of `sacct --allocations --noheader --parsable2 --format=`[`ACCOUNTING_FORMAT`], by number. Of a job that was
/// requeued the last run counts.
pub fn accounting(text: &str) -> BTreeMap<String, JobRecord> {
    let jobs = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        let [id, state, submitted, started, partition, qos, account, nodes, name, exit_code, ended] = fields[..] else {
            return None;
        };
        // A step: `12.batch`, `12.0`.
        if id.contains('.') || state.is_empty() {
            return None;
        }
        let id = identifier(id)?;
        let record = JobRecord {
            id: id.clone(),
            name: name.to_owned(),
            state: state.to_owned(),
            reason: String::new(),
            submitted_unix_s: submitted.parse().ok(),
            started_unix_s: started.parse().ok(),
            ended_unix_s: ended.parse().ok(),
            partition: known(partition),
            qos: known(qos),
            account: known(account),
            nodes: known(nodes),
            exit_code: exit_code.to_owned(),
        };
        Some((id, record))
    });
    jobs.collect()
}

/// Whether `sacct` says that this cluster keeps no accounts, or is not there at all.
pub fn has_no_accounts(said: &str) -> bool {
    said.lines().any(|line| {
        line.contains("accounting storage is disabled") || line.contains("sacct") && line.contains("not found")
    })
}

/// The records of `scontrol --oneliner show …`: one a line, `Key=value` fields whose values may have blanks in them.
pub fn records(text: &str) -> Vec<BTreeMap<String, String>> {
    let is_key = |word: &str| {
        word.split_once('=').is_some_and(|(key, _)| {
            key.starts_with(|c: char| c.is_ascii_alphabetic())
                && key.chars().all(|c| c.is_ascii_alphanumeric() || "_:/.".contains(c))
        })
    };
    let record = |line: &str| {
        let mut fields: Vec<(String, String)> = Vec::new();
        for word in line.split(' ') {
            match (word.split_once('=').filter(|_| is_key(word)), fields.last_mut()) {
                (Some((key, value)), _) => fields.push((key.to_owned(), value.to_owned())),
                (None, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(word);
                }
                (None, None) => {}
            }
        }
        fields.into_iter().map(|(key, value)| (key, value.trim_end().to_owned())).collect::<BTreeMap<_, _>>()
    };
    text.lines().map(record).filter(|record| !record.is_empty()).collect()
}

/// A job's number: also of an array's task (`12_3`) or of a part of a heterogeneous job (`12+1`).
fn identifier(text: &str) -> Option<String> {
    let text = text.trim();
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    let allowed = |byte: u8| byte.is_ascii_digit() || b"_+[]-,%".contains(&byte);
    (first && text.bytes().all(allowed)).then(|| text.to_owned())
}

/// Without the words by which Slurm says that there is nothing.
fn known(text: &str) -> String {
    match text.trim() {
        "" | "(null)" | "None assigned" | "None" | "N/A" | "n/a" | "Unknown" => String::new(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_submission_has_a_number_or_none() {
        for (text, expect) in [
            ("123\n", Some("123")),
            ("123;meluxina\n", Some("123")),
            ("sbatch: lua: your job goes to cpu\n77\n", Some("77")),
            ("", None),
            ("Submitted batch job 12", None),
            ("sbatch: error: Batch job submission failed: Invalid qos specification", None),
        ] {
            assert_eq!(submitted(text).as_deref(), expect, "{text:?}");
        }
    }

    #[test]
    fn a_queue_is_read() {
        let text = "\
41|RUNNING|1700000000|1700000010|1700003610|cpu|default|p200000|mel0001|e-0001.serve|None
42|PENDING|1700000000|1700000400|N/A|cpu|default|p200000||e-0001.load|(ReqNodeNotAvail, Reserved|for maintenance)
50_[1-3%2]|PENDING|1700000000|N/A|N/A|cpu|(null)|p200000||array|Priority
51+1|COMPLETED|1700000000|1700000001|1700000009|gpu|default|p200000|mel[2001-2002]|het|None
slurm_load_jobs error: Invalid job id specified
";
        let jobs = queue(text);
        assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["41", "42", "50_[1-3%2]", "51+1"]);
        assert_eq!(jobs[0].started_unix_s, Some(1_700_000_010));
        assert_eq!((jobs[0].reason.as_str(), jobs[1].started_unix_s), ("", None));
        assert_eq!((jobs[0].ended_unix_s, jobs[3].ended_unix_s), (None, Some(1_700_000_009)));
        assert_eq!(jobs[1].reason, "(ReqNodeNotAvail, Reserved|for maintenance)");
        assert_eq!((jobs[2].qos.as_str(), jobs[3].nodes.as_str()), ("", "mel[2001-2002]"));
        assert_eq!(jobs[3].complaint(), None);
    }

    #[test]
    fn the_account_of_a_job_is_read() {
        let text = "\
41|CANCELLED by 1001|1700000000|1700000010|cpu|default|p200000|mel0001|e-0001.serve|0:0|1700000020
41.batch|CANCELLED|1700000000|1700000010||||mel0001|batch|0:15|1700000020
42|CANCELLED|1700000000|Unknown|cpu|default|p200000|None assigned|e-0001.load|0:0|1700000020
43|NODE_FAIL|1700000000|1700000001|cpu|default|p200000|mel0002|x|1:0|1700000005
43|COMPLETED|1700000100|1700000110|cpu|default|p200000|mel0003|x|0:0|1700000120
44|OUT_OF_MEMORY|1700000100|1700000110|cpu|default|p200000|mel0003|x|0:125|1700000120
45|FAILED|1700000100|1700000110|cpu|default|p200000|mel0003|x|7:0|1700000120
";
        let jobs = accounting(text);
        assert_eq!(jobs.len(), 5);
        assert_eq!(jobs["41"].complaint().expect("one"), "job 41 was cancelled on mel0001 (Slurm: CANCELLED by 1001)");
        assert_eq!((jobs["42"].started_unix_s, jobs["42"].nodes.as_str()), (None, ""));
        assert_eq!(jobs["43"].complaint(), None);
        assert!(jobs["44"].complaint().expect("one").contains("more memory"));
        assert!(jobs["45"].complaint().expect("one").contains("exit code 7:0"));
    }

    /// As the text formats of 23.11 differ from those of 22.05: a reason may have more words, `sacct` tells of jobs that were
    /// requeued with a state of their own, and partitions have fields that were not there.
    #[test]
    fn newer_output_is_read() {
        let text = "\
2241|PENDING|1700000000|N/A|N/A|gpu|default|p200000||e-0001.serve|AssocGrpBillingMinutes
2242|PENDING|1700000000|N/A|N/A|gpu|short-preempt|p200000||e-0002.serve|(Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions)
2243|COMPLETING|1700000000|1700000010|1700000400|gpu|default|p200000|mel[2001,2003-2004]|e-0003.serve|None
2244|REQUEUED|1700000000|1700000010|1700000400|gpu|default|p200000|mel2001|e-0004.serve|BeginTime
2245|POWER_UP_NODE|1700000000|N/A|N/A|cpu|default|p200000||e-0005.serve|None
2246|STAGE_OUT|1700000000|1700000010|N/A|cpu|default|p200000|mel0001|e-0006.serve|None
";
        let jobs = queue(text);
        let phases: Vec<Phase> = jobs.iter().map(JobRecord::phase).collect();
        use Phase::{Running, Waiting};
        assert_eq!(phases, [Waiting, Waiting, Running, Waiting, Waiting, Running]);
        assert!(jobs[1].reason.contains("higher priority") && jobs[2].nodes == "mel[2001,2003-2004]");
        let accounts = accounting(
            "2244|REQUEUED|1700000000|1700000010|gpu|default|p200000|mel2001|e-0004.serve|0:0|1700000400\n\
             2244|PREEMPTED|1700000000|1700000500|gpu|default|p200000|mel2002|e-0004.serve|0:15|1700000600\n\
             2247|DEADLINE|1700000000|None|cpu|default|p200000|None assigned|e-0007.load|0:0|1700000600\n\
             2248+0|COMPLETED|1700000000|1700000010|cpu|default|p200000|mel0001|e-0008.load|0:0|1700000400\n\
             2249.extern|COMPLETED|1700000000|1700000010||||mel0001|extern|0:0|1700000400\n",
        );
        assert_eq!(accounts.keys().collect::<Vec<_>>(), ["2244", "2247", "2248+0"]);
        assert_eq!(accounts["2244"].state, "PREEMPTED");
        assert_eq!((accounts["2247"].started_unix_s, accounts["2247"].complaint().is_some()), (None, true));
        let partition = "PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A \
            DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED \
            MaxTime=2-00:00:00 MinNodes=1 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED Nodes=mel[2001-2200] \
            PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=EXCLUSIVE PreemptMode=REQUEUE State=UP \
            TotalCPUs=25600 TotalNodes=200 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED \
            TRES=cpu=25600,mem=98000G,node=200,billing=25600,gres/gpu=800 TRESBillingWeights=CPU=0,GRES/gpu=1";
        let records = records(partition);
        assert_eq!((records[0]["State"].as_str(), records[0]["TotalNodes"].as_str()), ("UP", "200"));
        assert_eq!(records[0]["TRES"], "cpu=25600,mem=98000G,node=200,billing=25600,gres/gpu=800");
        assert_eq!(submitted("2250;meluxina\n").as_deref(), Some("2250"));
    }

    #[test]
    fn accounts_are_absent_or_only_silent() {
        for (said, absent) in [
            ("Slurm accounting storage is disabled\n", true),
            ("sh: 9: sacct: not found", true),
            ("sh: sacct: command not found", true),
            (
                "sacct: error: slurm_persist_conn_open: Something happened with the receiving/processing of the persistent connection init message",
                false,
            ),
            ("sacct: error: Problem talking to the database: Connection refused", false),
            ("", false),
        ] {
            assert_eq!(has_no_accounts(said), absent, "{said}");
        }
    }

    #[test]
    fn records_keep_values_with_blanks() {
        let text = "PartitionName=cpu AllowAccounts=ALL MaxTime=2-00:00:00 State=UP Nodes=mel[0001-0003]\n\
                    JobId=7 Comment=a b = c UserId=bench(1001) TRES=cpu=1,mem=4G\n\n";
        let records = records(text);
        assert_eq!(records[0]["MaxTime"], "2-00:00:00");
        assert_eq!((records[1]["Comment"].as_str(), records[1]["TRES"].as_str()), ("a b = c", "cpu=1,mem=4G"));
    }

    proptest! {
        /// Whatever comes: no panic, and no job that is not there.
        #[test]
        fn any_text_is_read(text in "(\\PC|[|\n0-9 ]){0,200}") {
            for job in queue(&text) {
                prop_assert!(text.contains(&job.id));
            }
            for (id, job) in accounting(&text) {
                prop_assert!(text.contains(&id) && job.id == id);
            }
            let _ = (records(&text), submitted(&text));
        }

        /// What squeue prints for a job is what is read of it.
        #[test]
        fn a_job_comes_back(id in 1_u32..99_999_999, submitted in 0_i64..4_000_000_000, name in "[a-z0-9._-]{1,40}", nodes in "mel[0-9]{4}") {
            let line = format!("{id}|RUNNING|{submitted}|{submitted}|N/A|cpu|q|a|{nodes}|{name}|None\n");
            let jobs = queue(&line);
            prop_assert_eq!(jobs.len(), 1);
            prop_assert_eq!(&jobs[0].id, &id.to_string());
            prop_assert_eq!((&jobs[0].name, &jobs[0].nodes, jobs[0].started_unix_s), (&name, &nodes, Some(submitted)));
        }
    }
}
