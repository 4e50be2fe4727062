//! The run folder: where its files are, and what the plan in it says.
//!
//! The plan holds all that is needed to run *and to archive* the deployment, so that any later command can
//! finish what a killed runner began. No secret is in it: those stand in `secrets.env`, mode 0600.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use archive::{BenchmarkId, CampaignFacts, RecipeFacts, Seeds, SigningKey, TargetFacts, Timestamp, ToolFacts};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    load::{Arrival, Endpoint, LoadSpec, Trace},
    recipe::secrets,
    services::ClientType,
};

/// `plan.json`: one start of a service and the points it serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentPlan {
    pub service: ServicePlan,
    /// In order of execution.
    pub points: Vec<PointPlan>,
    /// Further points follow those that are here, once these have ended.
    #[serde(default)]
    pub open: bool,
    pub facts: SealFacts,
}

/// How to start the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServicePlan {
    pub name: String,
    /// A service type, or `command`.
    pub kind: String,
    pub settings: Value,
    pub command: Option<String>,
    pub image: Option<String>,
    /// Also where the program itself is installed: what is repeated ran in the image.
    #[serde(default)]
    pub only_in_image: bool,
    pub endpoint: Option<Endpoint>,
    pub port: Option<u16>,
    /// `${NAME}` stands for a secret.
    pub env: BTreeMap<String, String>,
    pub pre_run_commands: Vec<String>,
    /// Binds of a container, `host:container[:ro]`.
    pub volumes: Vec<String>,
    /// Paths whose digests are archived.
    #[serde(default)]
    pub data: Vec<String>,
    pub ready_timeout_s: f64,
    pub time_limit_s: Option<f64>,
}

/// One benchmark of the deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PointPlan {
    pub benchmark_id: BenchmarkId,
    pub client_name: String,
    /// A client type, or `command`.
    pub client_kind: String,
    pub settings: Value,
    pub command: Option<String>,
    pub env: BTreeMap<String, String>,
    /// Paths whose digests are archived.
    #[serde(default)]
    pub data: Vec<String>,
    pub load: LoadSpec,
    pub warmup_delay_s: f64,
    pub time_limit_s: Option<f64>,
    pub campaign: CampaignFacts,
    pub recipe: RecipeFacts,
    /// The archived benchmark that this one repeats.
    #[serde(default)]
    pub rerun_of: Option<BenchmarkId>,
    pub recipe_hash: String,
    pub seeds: Seeds,
    pub num_clients: u32,
    /// Length of the calibration before the load; 0 for none.
    #[serde(default)]
    pub calibration_s: f64,
    /// Folder of what was calibrated in the same execution, where the agents can reach it.
    #[serde(default)]
    pub calibration_cache: Option<PathBuf>,
}

/// What is the same in every `run.json` of the deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SealFacts {
    pub created_at: Timestamp,
    pub target: TargetFacts,
    pub tool: ToolFacts,
    pub git_commit: Option<String>,
    pub raw_limit_bytes: u64,
    /// Whether sealed benchmarks are committed to git.
    pub commit: bool,
    #[serde(default)]
    pub sign: Option<SigningKey>,
    #[serde(default)]
    pub anonymous: bool,
    /// Slurm's words for ends of jobs after which benchmarks are begun anew.
    #[serde(default)]
    pub retry: Vec<String>,
}

/// `service/state.json`: what became of the service's start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceState {
    pub endpoint: Option<Endpoint>,
    pub version: Option<String>,
    pub command: Vec<String>,
    pub program_sha256: Option<String>,
    /// `child`, `podman`, `external`.
    pub started_as: String,
    /// The image it runs from and its digest, when in a container.
    pub image: Option<archive::ImageFacts>,
    /// What it rests on.
    #[serde(default)]
    pub data: Vec<archive::DataFacts>,
    /// Of the model it serves, by its own account.
    #[serde(default)]
    pub model_digest: Option<String>,
    pub node: archive::NodeFacts,
    pub process: Option<super::ProcessHandle>,
    pub ready_after_s: Option<f64>,
}

/// Where the files of one run folder are.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Creates the folder with everything the agents need.
    pub fn create(&self, plan: &DeploymentPlan, secrets: &Secrets) -> Result<()> {
        for folder in [self.folder.join("service"), self.folder.join("events"), self.folder.join("points")] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        for point in &plan.points {
            fs::create_dir_all(self.point(point.benchmark_id).join("logs"))?;
        }
        secrets.write(&self.folder.join("secrets.env"))?;
        write_json(&self.plan_file(), plan)
    }

    /// Adds a point to a deployment that is open.
    pub fn add(&self, plan: &mut DeploymentPlan, point: PointPlan) -> Result<()> {
        fs::create_dir_all(self.point(point.benchmark_id).join("logs"))?;
        plan.points.push(point);
        write_json(&self.plan_file(), plan)
    }

    /// Ends a deployment that was open after the points it has.
    pub fn close(&self, plan: &mut DeploymentPlan) -> Result<()> {
        plan.open = false;
        write_json(&self.plan_file(), plan)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn plan_file(&self) -> PathBuf {
        self.folder.join("plan.json")
    }

    pub fn plan(&self) -> Result<DeploymentPlan> {
        read_json(&self.plan_file())
    }

    pub fn secrets(&self) -> Result<Secrets> {
        Secrets::read(&self.folder.join("secrets.env"))
    }

    pub fn remove_secrets(&self) {
        // Absent is as good as removed.
        let _ = fs::remove_file(self.folder.join("secrets.env"));
    }

    pub fn service(&self) -> PathBuf {
        self.folder.join("service")
    }

    pub fn service_log(&self) -> PathBuf {
        self.service().join("service.log")
    }

    /// Working folder of the service; removed when it has ended.
    pub fn scratch(&self) -> PathBuf {
        self.service().join("scratch")
    }

    pub fn service_state(&self) -> Option<ServiceState> {
        read_json(&self.service().join("state.json")).ok()
    }

    pub fn write_service_state(&self, state: &ServiceState) -> Result<()> {
        write_json(&self.service().join("state.json"), state)
    }

    /// Facts of the machines that the load ran on, the first node first.
    pub fn client_nodes(&self) -> Vec<archive::NodeFacts> {
        (0..).map_while(|number| read_json(&self.client_node_file(number)).ok()).collect()
    }

    pub fn write_client_node(&self, number: u32, facts: &archive::NodeFacts) -> Result<()> {
        write_json(&self.client_node_file(number), facts)
    }

    /// The program that drove the load, where it is not the one that planned it.
    pub fn load_tool(&self) -> Option<ToolFacts> {
        read_json(&self.folder.join("points/tool.json")).ok()
    }

    pub fn write_load_tool(&self, facts: &ToolFacts) -> Result<()> {
        write_json(&self.folder.join("points/tool.json"), facts)
    }

    fn client_node_file(&self, number: u32) -> PathBuf {
        self.folder.join("points").join(match number {
            0 => "node.json".to_owned(),
            _ => format!("node-{number}.json"),
        })
    }

    /// Copies what recipes refer to into another run folder.
    pub fn copy_inputs(&self, to: &Self) -> Result<()> {
        for name in ["traces", "inputs"] {
            let (from, to) = (self.folder.join(name), to.folder.join(name));
            for entry in fs::read_dir(&from).into_iter().flatten() {
                let entry = entry?;
                fs::create_dir_all(&to)?;
                fs::copy(entry.path(), to.join(entry.file_name()))
                    .with_context(|| format!("cannot copy {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    /// Puts the recorded arrivals where the load agent finds them.
    pub fn write_trace(&self, trace: &Trace) -> Result<()> {
        let path = self.trace_file(&trace.sha256, trace.extension());
        fs::create_dir_all(self.folder.join("traces"))
            .and_then(|()| fs::write(&path, &trace.text))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The recorded arrivals that a load replays, if it does.
    pub fn trace(&self, load: &LoadSpec) -> Result<Option<Arc<Trace>>> {
        let Arrival::Trace { sha256, .. } = &load.arrival else { return Ok(None) };
        let mut files = ["csv", "jsonl"].into_iter().map(|extension| self.trace_file(sha256, extension));
        let path = files.find(|path| path.exists()).context("the run folder does not hold the trace")?;
        let trace = Trace::read(&path)?;
        ensure!(trace.sha256 == *sha256, "the trace changed on its way: {}", path.display());
        Ok(Some(trace))
    }

    /// Puts a file that a client's setting names where the load agent finds it.
    pub fn write_input(&self, sha256: &str, text: &str) -> Result<()> {
        let path = self.input_file(sha256);
        fs::create_dir_all(self.folder.join("inputs"))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The texts of the files that settings of a client name, by the setting.
    pub fn input_files(&self, client: &dyn ClientType, settings: &Value) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for file in client.file_settings() {
            let Some(sha256) = settings.get(file.digest).and_then(Value::as_str) else { continue };
            let path = self.input_file(sha256);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(
                archive::sha256_hex(text.as_bytes()) == sha256,
                "`{}` changed on its way: {}",
                file.setting,
                path.display()
            );
            files.insert(file.setting.to_owned(), text);
        }
        Ok(files)
    }

    fn input_file(&self, sha256: &str) -> PathBuf {
        self.folder.join("inputs").join(sha256)
    }

    fn trace_file(&self, sha256: &str, extension: &str) -> PathBuf {
        self.folder.join("traces").join(format!("{sha256}.{extension}"))
    }

    pub fn point(&self, id: BenchmarkId) -> PathBuf {
        self.folder.join("points").join(id.to_string())
    }
}

/// Writes a file that a reader sees whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let unfinished = path.with_extension("json.part");
    let mut file = File::create(&unfinished).with_context(context)?;
    serde_json::to_writer_pretty(&mut file, value).with_context(context)?;
    file.sync_all().with_context(context)?;
    fs::rename(&unfinished, path).with_context(context)
}

pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot understand {}", path.display()))
}

/// Values taken from the environment by `${NAME}` in a recipe.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self(serde_json::from_slice(&bytes).context("secrets.env is damaged")?)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(err).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(&self.0)?)?;
        Ok(())
    }

    /// `text` with every `${NAME}` of a known secret replaced by its value.
    pub fn fill(&self, text: &str) -> String {
        secrets::fill(text, &self.0)
    }

    /// [`Secrets::fill`] on every string inside a JSON value.
    pub fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, value)| (name.clone(), self.fill_value(value))).collect())
            }
            other => other.clone(),
        }
    }

    /// The name of a secret that `text` would reveal, if any.
    pub fn named_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        secrets::names(text).into_iter().find(|name| self.0.contains_key(*name))
    }

    /// Copies bytes with every secret value replaced by its name, in bounded memory. Very short values are left:
    /// they would hide ordinary text and protect nothing.
    pub fn mask(&self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        let secrets = self.masked();
        let Some(longest) = secrets.first().map(|(_, value)| value.len()) else { return io::copy(from, to).map(drop) };
        let (mut kept, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = match from.read(&mut chunk) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            kept.extend_from_slice(&chunk[..count]);
            // A value that begins later may not be here to its end yet.
            let certain = if count == 0 { kept.len() } else { (kept.len() + 1).saturating_sub(longest) };
            let mut at = 0;
            while at < certain {
                let first = |value: &str| {
                    let end = kept.len().min(certain + value.len() - 1);
                    kept[at..end].windows(value.len()).position(|window| window == value.as_bytes())
                };
                let found = secrets.iter().filter_map(|(name, value)| Some((first(value)?, *name, value.as_str())));
                // Of those that begin in one place, the first is the longest.
                let Some((offset, name, value)) = found.min_by_key(|(offset, ..)| *offset) else {
                    to.write_all(&kept[at..certain])?;
                    at = certain;
                    break;
                };
                to.write_all(&kept[at..at + offset])?;
                write!(to, "${{{name}}}")?;
                at += offset + value.len();
            }
            kept.drain(..at);
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// [`Secrets::mask`] of a text that somebody wrote.
    pub fn mask_text(&self, text: &mut String) {
        if self.masked().iter().any(|(_, value)| text.contains(value.as_str())) {
            let mut masked = Vec::new();
            // Memory to memory cannot fail.
            if self.mask(&mut text.as_bytes(), &mut masked).is_ok() {
                *text = String::from_utf8_lossy(&masked).into_owned();
            }
        }
    }

    /// [`Secrets::mask`] on every string inside a JSON value; its keys and numbers stay.
    pub fn mask_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.mask_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.mask_value(value)),
            _ => {}
        }
    }

    /// Every value as it is and as it may be written: in JSON, in an address or form, in base64 of its own or among other
    /// bytes, as `user:password` is. The longest first: one may begin with another.
    fn masked(&self) -> Vec<(&str, String)> {
        let mut masked: Vec<(&str, String)> = Vec::new();
        for (name, value) in self.0.iter().filter(|(_, value)| value.len() >= 4) {
            let in_json = Value::from(value.as_str()).to_string();
            let address = in_address(value);
            let mut forms = vec![
                value.clone(),
                in_json.trim_matches('"').to_owned(),
                in_address_with(value, |byte| format!("%{byte:02x}")),
                address.replace("%20", "+"),
                address,
                BASE64_STANDARD.encode(value),
                BASE64_URL_SAFE.encode(value),
            ];
            forms.extend((0..3).flat_map(|before| within_base64(value, before)));
            for form in forms {
                if masked.iter().all(|(_, known)| *known != form) {
                    masked.push((name, form));
                }
            }
        }
        masked.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        masked
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

/// With `%XX` for everything but letters, digits and `-._~` (RFC 3986, section 2.3).
fn in_address(text: &str) -> String {
    in_address_with(text, |byte| format!("%{byte:02X}"))
}

fn in_address_with(text: &str, escaped: impl Fn(u8) -> String) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { escaped(byte) }).collect()
}

/// The digits of base64 that tell nothing but of `text`, with as many bytes before it as `before`, in both alphabets. Too few
/// of them stand in any noise.
fn within_base64(text: &str, before: usize) -> Vec<String> {
    const LEAST: usize = 8;
    let bytes = [&[0; 2][..before], text.as_bytes()].concat();
    let whole = (before * 4).div_ceil(3)..bytes.len() * 4 / 3;
    let of = |engine: &dyn Fn(&[u8]) -> String| engine(&bytes).get(whole.clone()).map(str::to_owned);
    let both = [of(&|bytes| BASE64_STANDARD.encode(bytes)), of(&|bytes| BASE64_URL_SAFE.encode(bytes))];
    both.into_iter().flatten().filter(|digits| digits.len() >= LEAST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_filled_in_and_masked_out() {
        let secrets = Secrets::new(BTreeMap::from([("TOKEN".to_owned(), "s3cret".to_owned())]));
        assert_eq!(secrets.fill("a ${TOKEN} b ${OTHER}"), "a s3cret b ${OTHER}");
        let mask = |secrets: &Secrets, text: &str| {
            let mut masked = text.to_owned();
            secrets.mask_text(&mut masked);
            masked
        };
        assert_eq!(mask(&secrets, "x s3crets3cret y"), "x ${TOKEN}${TOKEN} y");
        assert_eq!(secrets.named_in("--password=${TOKEN}"), Some("TOKEN"));
        assert_eq!(secrets.named_in("--password=${OTHER}"), None);
        let two = Secrets::new([("A", "abcd"), ("B", "abcd1234")].map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        assert_eq!(mask(&two, "abcd1234 abcd"), "${B} ${A}");
        let odd = Secrets::new([("ODD".to_owned(), "p\"a/ss".to_owned())].into());
        assert_eq!(mask(&odd, r#"p"a/ss, "p\"a/ss", p%22a%2Fss, cCJhL3Nz"#), r#"${ODD}, "${ODD}", ${ODD}, ${ODD}"#);
        assert_eq!(mask(&odd, "p%22a%2fss"), "${ODD}");
        let long = Secrets::new([("LONG".to_owned(), "h?nter2 >> ~~".to_owned())].into());
        assert_eq!(mask(&long, "h%3Fnter2+%3E%3E+~~"), "${LONG}");
        for login in ["u:h?nter2 >> ~~", "me:h?nter2 >> ~~", "you:h?nter2 >> ~~ and more"] {
            for text in [BASE64_STANDARD.encode(login), BASE64_URL_SAFE.encode(login)] {
                let masked = mask(&long, &text);
                let (before, after) = masked.split_once("${LONG}").unwrap_or_else(|| panic!("{text}: {masked}"));
                // Of the bytes at its ends, digits that tell of others too.
                assert!(text.starts_with(before) && text.ends_with(after), "{text}: {masked}");
                assert!(before.len() + after.len() + 16 <= text.len(), "{text}: {masked}");
            }
        }
        // Wherever the pieces end that are read.
        let text = "s3cret, s3cre; ".repeat(20_000);
        assert_eq!(mask(&secrets, &text), text.replace("s3cret", "${TOKEN}"));
        let mut value = serde_json::json!({"s3cret": ["x s3cret", 1]});
        secrets.mask_value(&mut value);
        assert_eq!(value, serde_json::json!({"s3cret": ["x ${TOKEN}", 1]}));
        let filled = secrets.fill_value(&serde_json::json!({"a": ["${TOKEN}", 1]}));
        assert_eq!(filled, serde_json::json!({"a": ["s3cret", 1]}));
    }
}
