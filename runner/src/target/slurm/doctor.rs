//! Whether a cluster has all that a campaign needs: asked one by one, so that each want has its own cure.

use anyhow::Result;

use super::{
    Cluster, login,
    output::records,
    script::{self, Job, Role, quoted},
};
use crate::recipe::Resources;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub what: &'static str,
    /// `None`: fine, but worth knowing, or not to be seen from here.
    pub fine: Option<bool>,
    pub says: String,
}

/// A clock that is further off than this confuses whoever compares times.
const CLOCK_S: f64 = 2.0;
/// Less room than this is soon full.
const ROOM_BYTES: u64 = 5 << 30;

/// Looks at everything; stops where nothing further can be asked.
pub fn examine(cluster: &mut Cluster) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut say = |what, fine, says: String| checks.push(Check { what, fine, says });
    match cluster.ssh.settings() {
        Ok(settings) => {
            let jump = settings.proxy_jump.map(|jump| format!(" through {jump}")).unwrap_or_default();
            say("ssh", Some(true), format!("{}@{}:{}{jump}", settings.user, settings.host, settings.port));
        }
        Err(err) => say("ssh", Some(false), format!("{err:#}")),
    }
    let place = match cluster.place() {
        Ok(place) => place,
        Err(err) => {
            say("login", Some(false), format!("{err:#}"));
            return checks;
        }
    };
    say("login", Some(true), format!("{} on {}, {}", place.user, place.hostname, place.slurm));
    say("clock", Some(place.clock_offset_s.abs() < CLOCK_S), format!("{:+.3} s from here", place.clock_offset_s));
    let room = place.free_bytes.map(|bytes| format!(", {} GiB free", bytes >> 30)).unwrap_or_default();
    say("folder", place.free_bytes.map(|bytes| bytes > ROOM_BYTES), format!("{}{room}", place.folder));
    match partitions(cluster) {
        Ok(found) => found.into_iter().for_each(|(fine, says)| say("partition", Some(fine), says)),
        Err(err) => say("partition", Some(false), format!("{err:#}")),
    }
    match accounts(cluster) {
        Ok((fine, says)) => say("account", fine, says),
        Err(err) => say("account", None, format!("the accounts cannot be asked for: {err:#}")),
    }
    let program = match login::put_program(cluster, &place) {
        Ok(program) => program,
        Err(err) => {
            say("agent", Some(false), format!("{err:#}"));
            return checks;
        }
    };
    let glibc = place.glibc.as_deref().unwrap_or("another libc");
    match cluster
        .ssh
        .run(&format!("{} --version", quoted_or_empty(&program)), b"")
        .and_then(|answer| answer.ok("it does not run there"))
    {
        Ok(answer) => say("agent", Some(true), format!("{} runs there (glibc {glibc})", answer.text().trim())),
        Err(err) => say("agent", Some(false), format!("{err:#}")),
    }
    match submission(cluster, &place.folder, &program) {
        Ok(says) => say("job", Some(true), says),
        Err(err) => say("job", Some(false), format!("{err:#}")),
    }
    if cluster.site.container.is_some() {
        match container(cluster) {
            Ok((fine, says)) => say("container", fine, says),
            Err(err) => say("container", None, format!("cannot be asked for: {err:#}")),
        }
    }
    checks
}

fn quoted_or_empty(word: &str) -> String {
    quoted(word).unwrap_or_default()
}

/// Whether a login shell with the target's modules has what runs containers. Many sites have modules and containers on
/// compute nodes only, so its absence here is no want.
fn container(cluster: &mut Cluster) -> Result<(Option<bool>, String)> {
    let Some(container) = cluster.site.container else { return Ok((None, String::new())) };
    let program = container.program();
    let loads: Vec<String> = cluster
        .site
        .modules
        .iter()
        .map(|module| Ok(format!("module load {} && ", quoted(module)?)))
        .collect::<Result<_>>()?;
    let script = format!("{}timeout 60 {program} --version 2>/dev/null", loads.concat());
    let answer = cluster.ssh.run(&format!("timeout 120 bash -lc {}", quoted(&script)?), b"")?;
    let said = answer.text().lines().last().unwrap_or_default().trim().to_owned();
    Ok(match (answer.code, said.is_empty()) {
        (0, false) => (Some(true), said),
        _ => (
            None,
            format!(
                "{program} is not on the login node, with the modules {:?}: a job shows whether nodes have it",
                cluster.site.modules
            ),
        ),
    })
}

/// Of each partition that the target names: whether it is there and up.
fn partitions(cluster: &mut Cluster) -> Result<Vec<(bool, String)>> {
    let text = cluster.ssh.run("timeout 60 scontrol --oneliner show partition", b"")?.ok("scontrol")?.text();
    let known = records(&text);
    let field = |name: &str, key: &str| {
        let record = known.iter().find(|record| record.get("PartitionName").is_some_and(|own| own == name));
        record.map(|record| record.get(key).cloned().unwrap_or_default())
    };
    let wanted = [&cluster.site.partition, &cluster.site.gpu_partition];
    let check = |name: &String| match field(name, "State") {
        None => (false, format!("`{name}` is not there: the cluster has {}", names(&known))),
        Some(state) => {
            let (limit, nodes) =
                (field(name, "MaxTime").unwrap_or_default(), field(name, "TotalNodes").unwrap_or_default());
            (state == "UP", format!("`{name}` is {state}, {nodes} nodes, at most {limit}"))
        }
    };
    Ok(wanted.into_iter().flatten().map(check).collect())
}

fn names(known: &[std::collections::BTreeMap<String, String>]) -> String {
    let names: Vec<&str> = known.iter().filter_map(|record| record.get("PartitionName").map(String::as_str)).collect();
    names.join(", ")
}

/// Whether the user has the target's account, and the account its QOS.
fn accounts(cluster: &mut Cluster) -> Result<(Option<bool>, String)> {
    let script = "timeout 60 sacctmgr --noheader --parsable2 show associations user=\"$(id -un)\" format=Account,QOS";
    let text = cluster.ssh.run(script, b"")?.ok("sacctmgr")?.text();
    let known: Vec<(&str, Vec<&str>)> = text
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(account, qos)| (account, qos.split(',').collect()))
        .collect();
    let accounts: Vec<&str> = known.iter().map(|(account, _)| *account).collect();
    let site = &cluster.site;
    let Some(account) = &site.account else {
        return Ok((None, format!("the target names none; yours: {}", accounts.join(", "))));
    };
    let Some((_, qos)) = known.iter().find(|(own, _)| own == account) else {
        return Ok((Some(false), format!("`{account}` is not yours: {}", accounts.join(", "))));
    };
    Ok(match &site.qos {
        Some(wanted) if !qos.contains(&wanted.as_str()) => {
            (Some(false), format!("`{account}` has no QOS `{wanted}`: it has {}", qos.join(", ")))
        }
        _ => (Some(true), format!("`{account}` with QOS {}", qos.join(", "))),
    })
}

/// What Slurm says to a job with the target's defaults. Nothing is submitted.
fn submission(cluster: &mut Cluster, folder: &str, program: &str) -> Result<String> {
    let resources = Resources::default();
    let run = format!("{folder}/run/doctor");
    let job = Job {
        role: Role::Service,
        deployment: "doctor",
        resources: &resources,
        client_nodes: 1,
        site: &cluster.site,
        folder: &run,
        program,
    };
    let text = script::script(&job)?;
    let answer = cluster.ssh.run("timeout 60 sbatch --test-only 2>&1", text.as_bytes())?;
    let said = answer.text();
    let last = said.lines().last().unwrap_or_default().trim_start_matches("sbatch: ").to_owned();
    match answer.code {
        0 => Ok(last),
        _ => anyhow::bail!("{last}"),
    }
}
