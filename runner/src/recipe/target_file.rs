//! `campaigns/targets/NAME.yaml`: a cluster, as people describe it. Nothing is asked of the cluster here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{check::check, document, finding::Findings, schema};

/// A Slurm cluster behind SSH, and what jobs on it ask for unless the recipe says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SlurmTarget {
    pub kind: Kind,
    /// The cluster's login node: a host of your SSH configuration, or a name.
    #[schemars(length(min = 1))]
    pub host: String,
    /// SSH configuration in place of your own; `~/` is your home.
    #[schemars(length(min = 1))]
    pub ssh_config: Option<String>,
    /// What speaks SSH: this program itself, or the `ssh` of this machine, which also knows one-time codes, certificates and
    /// `ProxyCommand`.
    pub transport: Transport,
    /// Folder that all nodes see, for programs, images and running benchmarks; counts from the home there.
    #[schemars(length(min = 1))]
    pub folder: String,
    #[schemars(length(min = 1))]
    pub account: Option<String>,
    #[schemars(length(min = 1))]
    pub qos: Option<String>,
    /// Partition of jobs without GPUs.
    #[schemars(length(min = 1))]
    pub partition: Option<String>,
    /// Partition of jobs with GPUs.
    #[schemars(length(min = 1))]
    pub gpu_partition: Option<String>,
    #[schemars(length(min = 1))]
    pub reservation: Option<String>,
    /// Limit of jobs whose recipe gives none.
    #[schemars(extend("format" = "slurm-time"))]
    pub time_limit: String,
    /// Ask for whole nodes, so that no other job, not even the own client, shares one with the service.
    pub exclusive: bool,
    /// Slurm's `--hint`.
    pub hint: Option<Hint>,
    /// CPUs of a node that the load generator may use, when the recipe gives no `client.cpus_per_task`.
    #[schemars(range(min = 1))]
    pub client_cpus: u32,
    /// Environment modules that every job loads.
    pub modules: Vec<String>,
    /// What runs a service's image; without it, services are programs of the nodes.
    pub container: Option<Container>,
    /// Folders that every container sees beside the run folder, `host:container[:ro]`.
    #[schemars(extend("items" = { "type": "string", "format": "volume" }))]
    pub volumes: Vec<String>,
    /// A `runner` that runs on the cluster, in place of this one; counts from where you are.
    #[schemars(length(min = 1))]
    pub agent: Option<String>,
    /// Between two signs of life on a connection that says nothing; three without an answer, and it is made anew.
    #[schemars(range(min = 1, max = 3600), extend("format" = "duration"))]
    pub keepalive: f64,
    /// Between two questions to Slurm, whatever the number of jobs.
    #[schemars(range(min = 1), extend("format" = "duration"))]
    pub poll: f64,
    /// Jobs that one command keeps in the queue.
    #[schemars(range(min = 2))]
    pub max_jobs: u32,
    /// How long a ready service waits for its client's job to start.
    #[schemars(range(min = 1), extend("format" = "duration"))]
    pub client_patience: f64,
    /// How long the one job does without a sign of life from the other.
    #[schemars(range(min = 5), extend("format" = "duration"))]
    pub silence: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Slurm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    #[default]
    Native,
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    Nomultithread,
    Multithread,
    ComputeBound,
    MemoryBound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    Apptainer,
    Singularity,
    /// Rootless, with the storage of the node.
    Podman,
}

impl Container {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apptainer => "apptainer",
            Self::Singularity => "singularity",
            Self::Podman => "podman",
        }
    }
}

impl Hint {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nomultithread => "nomultithread",
            Self::Multithread => "multithread",
            Self::ComputeBound => "compute_bound",
            Self::MemoryBound => "memory_bound",
        }
    }
}

impl Default for SlurmTarget {
    fn default() -> Self {
        Self {
            kind: Kind::Slurm,
            host: String::new(),
            ssh_config: None,
            transport: Transport::default(),
            folder: "runner".to_owned(),
            account: None,
            qos: None,
            partition: None,
            gpu_partition: None,
            reservation: None,
            time_limit: "01:00:00".to_owned(),
            exclusive: true,
            hint: None,
            client_cpus: 8,
            modules: Vec::new(),
            container: None,
            volumes: Vec::new(),
            agent: None,
            keepalive: 15.0,
            poll: 30.0,
            max_jobs: 20,
            client_patience: 300.0,
            silence: 120.0,
        }
    }
}

/// Where the target of that name is described: beside the campaign, or below the folder one is in.
pub fn locate(name: &str, campaign_folder: &Path) -> Result<PathBuf> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("`{name}` is no name of a target: expected the name of a file in campaigns/targets, without `.yaml`");
    }
    let file = format!("{name}.yaml");
    let above = std::path::absolute(campaign_folder).unwrap_or_default();
    let folders = std::iter::once(campaign_folder.join("targets"))
        .chain(above.ancestors().map(|folder| folder.join("campaigns/targets")))
        .chain([PathBuf::from("campaigns/targets")]);
    match folders.map(|folder| folder.join(&file)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!(
            "target `{name}` is not described: there is no {file} in {} or in campaigns/targets; `--target local` runs here",
            campaign_folder.join("targets").display()
        ),
    }
}

/// Reads a target's description. Errs with everything that is wrong in it, each with its place.
pub fn read(path: &Path) -> Result<SlurmTarget> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&path.display().to_string(), text)
}

fn parse(name: &str, text: String) -> Result<SlurmTarget> {
    let mut findings = Findings::default();
    let source = findings.add_source(name, text, false);
    let tree = document::parse(&mut findings, source, 0);
    let schema = schema::target();
    let value = tree.as_ref().and_then(|tree| check(&mut findings, &schema, &schema, tree, ""));
    if findings.has_errors() {
        bail!("{name} cannot be used:\n{}", findings.render_all().trim_end());
    }
    let target: SlurmTarget = serde_json::from_value(value.unwrap_or_default())
        .with_context(|| format!("{name} cannot be read as a target"))?;
    if target.host.is_empty() {
        bail!("{name}: there is no `host`: give the cluster's name in your SSH configuration");
    }
    if target.host.starts_with('-') || target.host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        bail!("{name}: `host` is no host's name: {:?}", target.host);
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_what_it_is_or_what_is_wrong_with_it() {
        let target =
            parse("t.yaml", "host: here\npoll: 1m\nmodules: [a]\ncontainer: apptainer\n".into()).expect("fine");
        assert_eq!((target.poll, target.container), (60.0, Some(Container::Apptainer)));
        assert_eq!(target.time_limit, SlurmTarget::default().time_limit);
        for (text, expect) in [
            ("", "cannot"),
            ("poll: 10s\n", "there is no `host`"),
            ("host: here\npol: 10s\n", "did you mean `poll`"),
            ("host: here\ntime_limit: soon\n", "expected a Slurm time"),
            ("host: here\nkind: pbs\n", "`slurm`"),
            ("host: here\ntransport: telnet\n", "`system`"),
            ("host: -oProxyCommand=x\n", "no host's name"),
            ("host: 'a b'\n", "no host's name"),
            ("host: here\nmax_jobs: 1\n", "2"),
        ] {
            let error = format!("{:#}", parse("t.yaml", text.into()).expect_err(text));
            assert!(error.contains(expect), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_targets_of_this_project_are_fine() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../campaigns/targets");
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("there are targets") {
            read(&entry.expect("readable").path()).expect("fine");
            count += 1;
        }
        assert!(count > 0);
    }
}
