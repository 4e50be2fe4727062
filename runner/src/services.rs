//! The service types and client types. This list is the only place to touch for a new one.
//!
//! A service type knows how to start, and how to tell that it is ready; a client type knows how to send one
//! request. Neither knows a target.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use analysis::slo::Detail;
use anyhow::{Context, Result};
use schemars::Schema;
use serde_json::Value;

use crate::load::{Endpoint, LoadJob};

mod command;
pub mod content;
mod exposition;
#[cfg(test)]
pub mod fixtures;
mod http;
mod llm;
#[cfg(test)]
mod load_models;
#[cfg(test)]
mod settings;
pub mod token;
mod vectors;

pub use simulator::{Decode, SimulatorSettings};

/// What is said of a setting that asks for TLS.
const NO_TLS: &str = "TLS is not spoken; let a proxy that ends it listen beside the runner, and give its plain \
                      `host:port` as `service.endpoint`";

/// A module for each service type, and the list of them.
macro_rules! services {
    ($($module:ident::$service:ident,)*) => {
        $(mod $module;)*

        /// Every service type, by name.
        pub static SERVICES: &[&dyn ServiceType] = &[$(&$module::$service),*];
    };
}

// A new service type is a line here and a file beside the others.
services! {
    chroma::Chroma,
    minio::Minio,
    nginx::Nginx,
    ollama::Ollama,
    postgres::Postgres,
    qdrant::Qdrant,
    redis::Redis,
    simulator::Simulator,
    vllm::Vllm,
}

/// The service of a recipe that gives a `command` and no `type`, and the client of one that does the same.
pub static RAW_SERVICE: &dyn ServiceType = &command::RawService;
pub static RAW_CLIENT: &dyn ClientType = &command::RawClient;

/// A kind of service that can be put under load.
pub trait ServiceType: Sync {
    /// The value of `service.type`.
    fn name(&self) -> &'static str;
    /// Image reference with a version, used when the recipe names none.
    fn default_image(&self) -> Option<&'static str>;
    /// Used when the recipe asks for none and the target has no free port to offer.
    fn default_port(&self) -> Option<u16>;
    /// JSON Schema of `service.settings`.
    fn settings_schema(&self) -> Schema;
    /// Settings that are secrets. One that nobody gives is drawn anew for every start.
    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[]
    }
    /// Settings that may be the path of what it serves, such as a model's folder.
    fn data_settings(&self) -> &'static [&'static str] {
        &[]
    }
    /// The client types that can drive it.
    fn clients(&self) -> &'static [&'static dyn ClientType];
    /// How it is started. Pure: nothing is started here.
    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch>;
    /// Asks the service by its own protocol whether it is ready. Bounded in time by the caller.
    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe>;
    /// Has a service of ours get what a probe found missing, such as a model from a hub; says in `progress` how far it is.
    /// Ended from outside when the time for getting ready is over.
    fn fetch<'a>(
        &'a self,
        _endpoint: &'a Endpoint,
        _settings: &'a Value,
        _progress: &'a mut dyn FnMut(String),
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("nothing is known that could get it".to_owned()) })
    }
    /// The digest of the model that it serves, by its own account, where its name may come to mean another.
    fn model_digest<'a>(&'a self, _endpoint: &'a Endpoint, _settings: &'a Value) -> BoxFuture<'a, Option<String>> {
        Box::pin(async { None })
    }
    /// What it says of itself while it is under load, asked once a second, by the names of `docs/metrics.md`;
    /// empty when it says nothing. An answer that takes longer than a second is not waited for.
    fn figures<'a>(&'a self, _endpoint: &'a Endpoint) -> BoxFuture<'a, BTreeMap<String, f64>> {
        Box::pin(async { BTreeMap::new() })
    }
}

/// A kind of load.
pub trait ClientType: Sync {
    /// The value of `client.type`.
    fn name(&self) -> &'static str;
    /// JSON Schema of `client.settings`.
    fn settings_schema(&self) -> Schema;
    /// Settings that name a file which the clients read.
    fn file_settings(&self) -> &'static [FileSetting] {
        &[]
    }
    /// Whether requests have the input lengths that a trace recorded, with these settings; else why not, and the cure.
    fn recorded_lengths(&self, _settings: &Value) -> Result<(), String> {
        Err(format!("`{}` sends no prompts: leave the column out", self.name()))
    }
    /// What the settings say about the load as a whole.
    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults>;
    /// The `operation_mix` where the recipe gives none and phases cannot be: in open loop, or when time ends the load.
    fn default_mix(&self) -> &'static str {
        "50:50"
    }
    /// What it tells apart within an answer, beside its duration: only on that can there be limits.
    fn details(&self) -> &'static [Detail] {
        &[]
    }
    /// Whether several nodes may drive its load together. Then each has some of the clients, the first alone prepares the
    /// service, and all call their data by the token of [`LoadJob::share`](crate::load::LoadJob).
    fn on_several_nodes(&self) -> bool {
        false
    }
    /// How the load generator is calibrated before this type's load.
    fn calibrated(&self) -> Calibrated {
        Calibrated::Timed
    }
    /// Drives the load to its end. Blocks; starts its own threads.
    fn run(&self, job: &LoadJob, control: &crate::load::Control) -> Result<crate::load::LoadReport>;
}

/// What a client type's error is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibrated {
    /// The driver, against the simulator's timed endpoint.
    Timed,
    /// The type itself, against the simulator with send stamps; it fills [`crate::load::truth`]'s tape in, and its settings
    /// `model` and `max_tokens` are what the simulator is asked.
    Streaming,
    Never,
}

/// The part of the load that the reference's settings carry.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadDefaults {
    /// Measured requests of each client, when `benchmarks` gives neither requests nor duration.
    pub requests_per_client: u64,
    /// Requests each client keeps in flight, each on its own connection.
    pub concurrency_per_client: u32,
    /// Commands in one batch.
    pub pipeline: u32,
    /// Quiet seconds between readiness and the first request.
    pub warmup_delay_s: f64,
    /// Event loops; `None`: the target's default.
    pub threads: Option<u32>,
}

/// A setting of a service that is a secret.
#[derive(Clone, Copy, Debug)]
pub struct SecretSetting {
    /// Its key in `service.settings`.
    pub setting: &'static str,
    /// The environment variable in which the service's own programs look for it. `${NAME}` of it stands for a drawn
    /// value in plan, settings and archive, and a `service.command` finds the value in this variable.
    pub variable: &'static str,
}

/// A setting of a client that names a file. It is read and checked when the load is planned, and reaches the clients by its
/// digest, so that they read what was checked.
#[derive(Clone, Copy, Debug)]
pub struct FileSetting {
    /// Its key in `client.settings`; the path counts from the folder of the file that is run.
    pub setting: &'static str,
    /// The setting that holds the file's sha256.
    pub digest: &'static str,
    /// Whether a text can be read, by all the settings; else what is wrong, with the line.
    pub check: fn(&str, &Value) -> Result<(), String>,
}

/// What a service type is told when it is to start.
#[derive(Clone, Debug)]
pub struct LaunchRequest<'a> {
    /// The resolved `service.settings`; `${NAME}` stands for a secret, in the launch too.
    pub settings: &'a Value,
    /// Address to listen on.
    pub host: &'a str,
    pub port: u16,
    /// An empty folder of its own, removed afterwards.
    pub scratch: &'a Path,
    /// The recipe's `service.command`, if any: it wins over the type's own.
    pub command: Option<&'a str>,
}

/// A program to start: as a child process or in a container, it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// A name looked up on PATH and in `folders`, or a path.
    pub program: String,
    /// Where the type's default image has the program, if not on its PATH.
    pub program_in_image: Option<&'static str>,
    pub args: Vec<String>,
    /// Where distributions keep the program beside PATH. One `*` in a path stands for a version; the newest wins.
    pub folders: &'static [&'static str],
    pub env: BTreeMap<String, String>,
    /// Files to write before the start, by path. `${NAME}` stands for a secret; only the service can read them.
    pub files: Vec<(PathBuf, String)>,
    /// Folders to make, and files with [`content`](content::Content) of so many bytes to write, before the start.
    pub static_files: Vec<(PathBuf, u64)>,
    /// What runs to its end before the program starts, from the same place.
    pub before: Vec<Step>,
    /// The program refuses to run as root: started by root, it gets another account.
    pub refuses_root: bool,
}

/// A program that prepares the start of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub program: String,
    pub args: Vec<String>,
    /// What it reads from standard input.
    pub input: String,
}

impl Launch {
    /// A command of the recipe's own.
    pub fn shell(command: &str) -> Self {
        Self { program: "sh".into(), args: vec!["-c".into(), command.into()], ..Self::default() }
    }
}

/// What a readiness probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Serving; with the version it reports of itself.
    Ready { version: Option<String> },
    /// Not yet, and why.
    NotYet(String),
    /// It answers, and lacks this, which [`ServiceType::fetch`] can get.
    Missing(String),
    /// Something answers that will never be the service that was asked for.
    Wrong(String),
}

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The service type that a plan names: one of the list, or the raw command.
pub fn of_recipe(kind: &str) -> Result<&'static dyn ServiceType> {
    if kind == RAW_SERVICE.name() {
        return Ok(RAW_SERVICE);
    }
    service_type(kind).with_context(|| format!("this build knows no service type `{kind}`"))
}

/// The client type that a plan names: one of the list, or the raw command.
pub fn client_of_recipe(kind: &str) -> Result<&'static dyn ClientType> {
    if kind == RAW_CLIENT.name() {
        return Ok(RAW_CLIENT);
    }
    client_type(kind).with_context(|| format!("this build knows no client type `{kind}`"))
}

/// The service type of that name.
pub fn service_type(name: &str) -> Option<&'static dyn ServiceType> {
    SERVICES.iter().copied().find(|service| service.name() == name)
}

/// The client type of that name, whichever service it belongs to.
pub fn client_type(name: &str) -> Option<&'static dyn ClientType> {
    SERVICES.iter().flat_map(|service| service.clients()).copied().find(|client| client.name() == name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_type_has_its_campaign_and_its_docs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let docs = fs::read_to_string(root.join("docs/recipes.md")).expect("written");
        let campaigns: Vec<String> = fs::read_dir(root.join("campaigns"))
            .expect("there are campaigns")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .map(|path| fs::read_to_string(path).expect("readable"))
            .collect();
        let mut names = BTreeSet::new();
        for service in SERVICES {
            let name = service.name();
            assert!(names.insert(name), "two services are called {name}");
            assert!(docs.contains(&format!("`{name}`")), "docs/recipes.md says nothing of `{name}`");
            let line = format!("type: {name}\n");
            assert!(campaigns.iter().any(|text| text.contains(&line)), "no campaign uses `{name}`");
            assert!(!service.clients().is_empty(), "nothing can load `{name}`");
            let image = service.default_image();
            assert!(image.is_none_or(|image| image.contains(':') && !image.ends_with(":latest")), "{image:?}");
            for client in service.clients() {
                assert!(docs.contains(&format!("`{}`", client.name())), "docs/recipes.md says nothing of its clients");
            }
        }
    }
}
