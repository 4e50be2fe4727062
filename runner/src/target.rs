//! Where a deployment runs. A target starts the agents on a run folder and moves files; it knows no service.

use std::{cell::RefCell, collections::BTreeMap, path::Path, rc::Rc, time::Duration};

use anyhow::{Context, Result, bail};
use archive::TargetFacts;
use serde::{Deserialize, Serialize};

use crate::{
    agent,
    recipe::{
        rules::LOCAL,
        target_file::{self, SlurmTarget},
    },
};

mod local;
pub mod slurm;
pub mod ssh;

/// What a target can do with a run folder. One value of it serves one deployment.
///
/// The steps come in this order. Each of those before `status` may be repeated by another process that does not know
/// whether it had happened.
pub trait Target {
    fn facts(&self) -> TargetFacts;
    /// Reaches it, or says why not.
    fn connect(&mut self) -> Result<()> {
        Ok(())
    }
    /// Whether what was launched goes on when this process ends.
    fn outlives_runner(&self) -> bool {
        false
    }
    /// Deployments that may be under way at the same time.
    fn at_once(&self) -> usize {
        1
    }
    /// Between two attempts to launch what it does not take now.
    fn again(&self) -> Duration {
        Duration::from_secs(30)
    }
    /// Asks whether the folder, which is complete, can be launched; errs with [`Refused`] when it never can,
    /// and with [`NotNow`] when it may be later.
    fn check(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }
    /// Brings the folder to where the agents will be.
    fn prepare(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }
    /// Starts both agents on the folder.
    fn launch(&mut self, folder: &Path) -> Result<()>;
    /// Whether a launch that may have been cut off had happened. Starts nothing, and ends what was launched in part.
    fn was_launched(&mut self, _folder: &Path) -> Result<bool> {
        Ok(true)
    }
    /// What the agents are doing, without waiting.
    fn status(&mut self) -> Result<AgentStatus>;
    /// Asks the load to end early, keeping what was measured; the service ends after it.
    fn cancel(&mut self) -> Result<()>;
    /// One for another deployment in the same place, which may be of another execution; `None` where there is none.
    fn another(&self) -> Option<Box<dyn Target>> {
        None
    }
    /// Takes over a folder that another process prepared.
    fn adopt(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }
    /// Brings what the agents wrote into the folder, once they have ended; errs with [`Gone`] when it is lost.
    fn fetch(&mut self) -> Result<()> {
        Ok(())
    }
    /// What was added to the logs since the places in `read`, by the log's name; of a new log at most the last `most` bytes.
    /// Takes up a deployment that another process may be watching; asks nothing of Slurm.
    fn logs(&mut self, _read: &mut BTreeMap<String, u64>, _most: u64) -> Result<Vec<(String, Vec<u8>)>> {
        bail!("the logs of this target are in its run folder")
    }
    /// Removes the secrets where the agents were; the rest stays.
    fn remove_secrets(&mut self) -> Result<()> {
        Ok(())
    }
    /// Removes what is left where the agents were, once all of it is archived.
    fn clean(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whether the agents still run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    /// Something is not running yet, and why.
    Waiting(String),
    Running,
    /// Both have ended, and how is still to be told.
    Settling,
    /// Both have ended; a remark if one of them did not end as it should.
    Ended {
        remark: Option<String>,
    },
}

/// A deployment that can never be launched as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A target that does not take the deployment now, but may later.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotNow {
    pub why: String,
    /// There are enough jobs already: to wait is in order, however long.
    pub limit: bool,
}

/// The target cannot be reached, however often it is tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// The run folder is no longer where the agents were; holds its path there.
#[derive(Debug, thiserror::Error)]
#[error("the run folder is gone from the cluster: {0}")]
pub struct Gone(pub String);

/// The targets of one command; what reaches a cluster is shared by all deployments on it.
#[derive(Debug, Default)]
pub struct Targets {
    clusters: BTreeMap<String, Rc<RefCell<slurm::Cluster>>>,
    /// Seconds between two questions to Slurm, in place of the target's own.
    poll_s: Option<f64>,
}

/// `target.json` of a run folder on a cluster: enough to go on with it from anywhere.
#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    site: SlurmTarget,
}

impl Targets {
    pub fn new(poll_s: Option<f64>) -> Self {
        Self { poll_s, ..Self::default() }
    }

    /// The target of that name, for one deployment; its description is looked for beside the campaign.
    pub fn of_name(&mut self, name: &str, campaign_folder: &Path) -> Result<Box<dyn Target>> {
        if name == LOCAL {
            return Ok(Box::new(local::Local::default()));
        }
        let site = target_file::read(&target_file::locate(name, campaign_folder)?)?;
        Ok(Box::new(slurm::Slurm::new(self.cluster(name, site)?)))
    }

    /// The target of a run folder that another process made; `None` for one of this machine.
    pub fn of_folder(&mut self, folder: &Path) -> Result<Option<Box<dyn Target>>> {
        if !is_on_cluster(folder) {
            return Ok(None);
        }
        let Described { name, site } = agent::read_json(&folder.join(DESCRIPTION))?;
        let mut target = slurm::Slurm::new(self.cluster(&name, site)?);
        target.adopt(folder)?;
        Ok(Some(Box::new(target)))
    }

    /// Leaves in the folder what [`Targets::of_folder`] needs.
    pub fn describe(&self, name: &str, folder: &Path) -> Result<()> {
        match self.clusters.get(name) {
            Some(cluster) => {
                let site = cluster.borrow().site.clone();
                agent::write_json(&folder.join(DESCRIPTION), &Described { name: name.to_owned(), site })
            }
            None => Ok(()),
        }
    }

    /// The cluster that a description names.
    pub fn cluster(&mut self, name: &str, mut site: SlurmTarget) -> Result<Rc<RefCell<slurm::Cluster>>> {
        if let Some(known) = self.clusters.get(name) {
            return Ok(Rc::clone(known));
        }
        site.poll = self.poll_s.unwrap_or(site.poll);
        let cluster = Rc::new(RefCell::new(slurm::Cluster::new(name, site)?));
        self.clusters.insert(name.to_owned(), Rc::clone(&cluster));
        Ok(cluster)
    }

    /// What was asked of clusters so far, for people.
    pub fn account(&self) -> Vec<String> {
        let used = self.clusters.iter().filter(|(_, cluster)| cluster.borrow().ssh.commands > 0);
        used.map(|(name, cluster)| {
            let cluster = cluster.borrow();
            format!(
                "{name}: {} commands over ssh, of them {} questions about jobs",
                cluster.ssh.commands, cluster.questions
            )
        })
        .collect()
    }
}

const DESCRIPTION: &str = "target.json";

/// Gives another run folder the target of this one.
pub fn copy_description(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from.join(DESCRIPTION), to.join(DESCRIPTION)).context("cannot copy the target's description")?;
    Ok(())
}

/// Whether the agents of the folder are jobs on a cluster.
pub fn is_on_cluster(folder: &Path) -> bool {
    folder.join(DESCRIPTION).exists()
}

/// The description of a cluster, for commands that are about the cluster itself.
pub fn site(name: &str) -> Result<SlurmTarget> {
    if name == LOCAL {
        bail!("`{LOCAL}` is this machine, no cluster");
    }
    let path = target_file::locate(name, Path::new("."))?;
    target_file::read(&path).with_context(|| format!("target `{name}`"))
}
