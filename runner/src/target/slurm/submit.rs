//! Both jobs of a folder submitted once, however often that is tried, and found again where nobody knows whether they were.

use anyhow::{Result, bail};

use super::{
    JobRecord, Jobs, copy, output,
    refusal::{Refusal, TIMED_OUT},
    script::{Role, job_name, quoted},
};
use crate::target::{Gone, NotNow, Refused, ssh::Ssh};

/// For a shell: whether a controller that has just begun does not know all of its nodes yet, and refuses what it would take
/// a moment later.
pub const NODES_UNKNOWN: &str = "timeout 60 sinfo --noheader --format=%t 2>/dev/null | grep -q '^unk'";

/// For a shell: `find FILE NAME` leaves in FILE.job the number of a job that was submitted and whose number was not kept; ends
/// with 5 where Slurm cannot say. FILE.intent: a submission may have happened. FILE.job: the number of one that has.
const FIND: &str = "find() {\n\
      [ ! -s $1.job ] && [ -e $1.intent ] || return 0\n\
      id=$(timeout 60 squeue --noheader --states=all --user=\"$(id -un)\" --name=\"$2\" --format=%i) || exit 5\n\
      [ -n \"$id\" ] || id=$(timeout 60 sacct --allocations --noheader --parsable2 --starttime=now-30days --name=\"$2\" --format=JobIDRaw 2>/dev/null | tail -n 1)\n\
      if [ -n \"$id\" ]; then echo \"$id\" >$1.number; mv $1.number $1.job; fi\n\
    }";

/// The error for a job that `sbatch` did not take.
pub fn untaken(what: &str, code: i32, said: &str) -> anyhow::Error {
    let reason = said.trim().lines().last().unwrap_or("no answer");
    match Refusal::of(code, said) {
        Refusal::Lasting => Refused(format!("Slurm refuses {what}: {reason}")).into(),
        Refusal::Limit => NotNow { why: format!("Slurm takes no more jobs now: {reason}"), limit: true }.into(),
        Refusal::Again => NotNow { why: format!("Slurm did not take {what}: {reason}"), limit: false }.into(),
    }
}

/// Submits both jobs of a folder that is in place there; submits nothing twice.
pub fn submit(ssh: &mut Ssh, there: &str, name: &str) -> Result<Jobs> {
    let [service, client] = names(name)?;
    let script = format!(
        "{enter}\n\
         exec 9>submit.lock; flock -w 100 9 || exit 4\n\
         {FIND}\n\
         job() {{\n\
           find $1 \"$2\"; [ ! -s $1.job ] || return 0\n\
           : >$1.intent\n\
           timeout 90 sbatch --parsable $3 $1.sh >$1.number 2>$1.refused; code=$?\n\
           if [ $code -ne 0 ]; then\n\
             cat $1.refused >&2; [ $code -ne {TIMED_OUT} ] || exit 5; ! {NODES_UNKNOWN} || exit 5; return 6\n\
           fi\n\
           mv $1.number $1.job\n\
         }}\n\
         job serve {service} '' || exit 6\n\
         id=$(cut -d';' -f1 serve.job)\n\
         job load {client} \"--dependency=after:$id --kill-on-invalid-dep=yes\" || exit 6\n\
         cat serve.job load.job\n",
        enter = copy::enter(there)?,
    );
    let answer = ssh.run(&script, b"")?;
    match answer.code {
        0 => {}
        3 => return Err(Gone(there.to_owned()).into()),
        6 => {
            let err = untaken("the job", 1, &answer.stderr);
            if err.is::<Refused>() {
                // The service would wait for a client that never comes. What may be taken later leaves it in the queue.
                let script = format!("{}; {}", copy::enter(there)?, cancelled("serve"));
                ssh.run(&script, b"")?.ok("cannot cancel the service of a client that Slurm refuses")?;
            }
            return Err(err);
        }
        _ => return Err(untaken("the job", TIMED_OUT, &answer.stderr)),
    }
    let text = answer.text();
    match submitted(name, &text) {
        Some(jobs) => Ok(jobs),
        None => bail!("cannot make sense of sbatch's answer: {:?}", text.trim()),
    }
}

/// The jobs of a folder if both were submitted; submits nothing, and cancels one that was without the other.
pub fn find(ssh: &mut Ssh, there: &str, name: &str) -> Result<Option<Jobs>> {
    let [service, client] = names(name)?;
    let script = format!(
        "{enter}\n\
         exec 9>submit.lock; flock -w 100 9 || exit 4\n\
         {FIND}\n\
         find serve {service}; find load {client}\n\
         if [ -s serve.job ] && [ -s load.job ]; then cat serve.job load.job; exit 0; fi\n\
         {} && {} || exit 5\n",
        cancelled("serve"),
        cancelled("load"),
        enter = copy::enter(there)?,
    );
    let answer = ssh.run(&script, b"")?;
    match answer.code {
        3 => return Err(Gone(there.to_owned()).into()),
        5 => bail!("Slurm does not say whether the jobs of {name} were submitted: try again"),
        _ => {}
    }
    Ok(submitted(name, &answer.ok("cannot look for the jobs on the cluster")?.text()))
}

/// For a shell: cancels the job of a folder, if there is one, and forgets it.
fn cancelled(file: &str) -> String {
    format!(
        "{{ [ ! -s {file}.job ] || {{ timeout 60 scancel $(cut -d';' -f1 {file}.job) && rm -f {file}.job {file}.intent; }}; }}"
    )
}

/// The names of both jobs, as words for a shell.
fn names(deployment: &str) -> Result<[String; 2]> {
    let [service, client] = Role::BOTH.map(|role| quoted(&job_name(deployment, role)));
    Ok([service?, client?])
}

/// The jobs whose two numbers are in the answer.
fn submitted(name: &str, text: &str) -> Option<Jobs> {
    let ids: Vec<String> = text.lines().filter_map(output::submitted).collect();
    let [service, client] = ids.as_slice() else { return None };
    let record = |id: &String, role| JobRecord {
        id: id.clone(),
        name: job_name(name, role),
        state: "PENDING".to_owned(),
        ..JobRecord::default()
    };
    Some(Jobs { service: record(service, Role::Service), client: record(client, Role::Client), ..Jobs::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_refused_only_for_good() {
        assert!(untaken("the job", 1, "failed: Invalid qos specification").is::<Refused>());
        for (code, said, limit) in [(TIMED_OUT, "", false), (1, "AssocMaxSubmitJobLimit", true)] {
            let err = untaken("the job", code, said);
            assert_eq!(err.downcast_ref::<NotNow>().expect("not now").limit, limit);
        }
    }
}
