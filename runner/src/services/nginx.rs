//! nginx: the server with static files of known content, and the HTTP clients `nginx_healthcheck` and `http_stress`.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, ClientType, Launch, LaunchRequest, LoadDefaults, Probe, ServiceType, http};
use crate::load::{self, Control, Endpoint, LoadJob, LoadReport};

mod load_http;
#[cfg(test)]
mod tests;

use load_http::{Expected, HttpLoad, Question};

/// Sizes of the static files when the recipe gives none.
const FILE_SIZES: [u64; 4] = [0, 1024, 65_536, 1_048_576];

pub struct Nginx;

/// `service.settings` of `nginx`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NginxSettings {
    /// Port to listen on; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Sizes in bytes of the files it serves: `/1024.bin` has 1024 bytes of known content.
    #[schemars(extend("items" = { "type": "integer", "minimum": 0, "maximum": 4294967296_u64 }))]
    pub file_sizes: Vec<u64>,
    /// Worker processes; one a core when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub worker_processes: Option<u32>,
    /// Connections of each worker.
    #[schemars(range(min = 16, max = 1000000))]
    pub worker_connections: u32,
    /// Requests after which nginx closes a connection.
    #[schemars(range(min = 1, max = 4294967295_u64))]
    pub keepalive_requests: u64,
    /// Write a line a request to the service's log.
    pub access_log: bool,
}

impl Default for NginxSettings {
    fn default() -> Self {
        Self {
            port: None,
            file_sizes: FILE_SIZES.to_vec(),
            worker_processes: None,
            worker_connections: 4096,
            keepalive_requests: 1000,
            access_log: false,
        }
    }
}

impl ServiceType for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("nginx:1.26.2")
    }

    fn default_port(&self) -> Option<u16> {
        Some(8080)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(NginxSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&Healthcheck, &HttpStress]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = NginxSettings::deserialize(request.settings)?;
        let configuration = request.scratch.join("nginx.conf");
        let root = request.scratch.join("files");
        let scratch = request.scratch.display().to_string();
        ensure!(!scratch.contains('$'), "nginx takes the `$` in {scratch} for a variable: use another folder");
        let args = ["-e", "stderr", "-p", &scratch, "-c", &configuration.display().to_string()];
        let args = args.map(str::to_owned).to_vec();
        let mut static_files: Vec<_> =
            settings.file_sizes.iter().map(|size| (root.join(format!("{size}.bin")), *size)).collect();
        static_files.sort();
        static_files.dedup();
        let configuration = (configuration, configuration_text(request, &settings, &quoted(&root)));
        Ok(Launch {
            program: "nginx".into(),
            args,
            folders: &["/usr/sbin", "/usr/local/sbin"],
            files: vec![configuration],
            static_files,
            ..Launch::default()
        })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, _settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint))
    }
}

/// A path as a word of nginx' configuration.
fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Pid and temporary files stay in the scratch folder. Started by root, the workers stay root too: the folder may
/// lie where no other user can enter.
fn configuration_text(request: &LaunchRequest<'_>, settings: &NginxSettings, root: &str) -> String {
    let scratch = |name: &str| quoted(&request.scratch.join(name));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {};\n", scratch(kind)))
        .concat();
    let host = match request.host.contains(':') {
        true => format!("[{}]", request.host),
        false => request.host.to_owned(),
    };
    let workers = settings.worker_processes.map_or("auto".to_owned(), |workers| workers.to_string());
    let log = if settings.access_log { "/dev/stdout" } else { "off" };
    format!(
        "daemon off;\nuser root root;\npid {};\nerror_log stderr;\nworker_processes {workers};\n\
         events {{ worker_connections {}; }}\n\
         http {{\n{temporary}  access_log {log};\n  default_type \
         application/octet-stream;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests {};\n  server {{\n    \
         listen {host}:{} backlog=4096;\n    root {root};\n    \
         location = / {{ return 200 \"nginx $nginx_version\\n\"; }}\n  }}\n}}\n",
        scratch("nginx.pid"),
        settings.worker_connections,
        settings.keepalive_requests,
        request.port,
    )
}

/// Any answer but a server's failure will do: an endpoint of somebody else's need not have a page at `/`.
async fn probe(endpoint: &Endpoint) -> Probe {
    match http::get(endpoint, "/").await {
        Ok((status @ 500.., _)) => Probe::NotYet(format!("GET /: status {status}")),
        Ok((_, body)) => {
            let text = String::from_utf8_lossy(&body);
            let version = text.strip_prefix("nginx ").map(|version| version.trim().to_owned());
            Probe::Ready { version: version.filter(|version| version.len() < 32) }
        }
        Err(err) if err.starts_with("wrong answer") => Probe::Wrong(format!("{endpoint} speaks no HTTP: {err}")),
        Err(err) => Probe::NotYet(err),
    }
}

struct Healthcheck;

/// `client.settings` of `nginx_healthcheck`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthcheckSettings {
    /// What to GET; it must answer with status 200.
    #[schemars(regex(pattern = r"^/[!-~]*$"))]
    pub path: String,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
}

impl Default for HealthcheckSettings {
    fn default() -> Self {
        Self { path: "/".into(), num_requests: 1, warmup_delay: 0.0 }
    }
}

impl ClientType for Healthcheck {
    fn name(&self) -> &'static str {
        "nginx_healthcheck"
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(HealthcheckSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = HealthcheckSettings::deserialize(settings)?;
        Ok(LoadDefaults {
            requests_per_client: settings.num_requests,
            concurrency_per_client: 1,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: Some(1),
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let settings = HealthcheckSettings::deserialize(&job.settings)?;
        let question = Question { path: settings.path, ..Question::default() };
        load::drive(HttpLoad::new(job, question), job, control)
    }
}

/// The bytes of a sha256 in hexadecimal.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

struct HttpStress;

/// `client.settings` of `http_stress`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpStressSettings {
    /// What to ask for; `/<size_bytes>.bin`, a file of nginx' own, when not given.
    #[schemars(regex(pattern = r"^/[!-~]*$"))]
    pub path: Option<String>,
    /// Length of the body that must come; without `path` and `size_bytes`, 1024.
    #[schemars(range(min = 0, max = 4294967296_u64))]
    pub size_bytes: Option<u64>,
    /// Digest of the body that must come, for a `path` of which only that is known.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    pub method: Method,
    /// Bytes sent with each request.
    #[schemars(range(min = 0, max = 1073741824))]
    pub body_size_bytes: u64,
    /// One connection for all requests of a client; otherwise each has its own, and connecting is part of its time.
    pub keep_alive: bool,
    /// Further headers.
    #[schemars(extend("propertyNames" = { "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }))]
    pub headers: BTreeMap<String, String>,
    /// The status that a right answer has.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Requests of each client.
    #[schemars(range(min = 1))]
    pub num_requests: u64,
    /// Another name of `num_requests`.
    #[schemars(range(min = 1))]
    pub transactions: Option<u64>,
    /// Quiet seconds between readiness and the first request.
    #[schemars(range(min = 0), extend("format" = "duration"))]
    pub warmup_delay: f64,
    /// Connections of each client, each with one request in flight.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrent_requests: u32,
    /// Event loops of the load generator; one fewer than the cores (at least one) when not given.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
}

impl Default for HttpStressSettings {
    fn default() -> Self {
        Self {
            path: None,
            size_bytes: None,
            sha256: None,
            method: Method::Get,
            body_size_bytes: 0,
            keep_alive: true,
            headers: BTreeMap::new(),
            status: 200,
            num_requests: 10_000,
            transactions: None,
            warmup_delay: 0.0,
            concurrent_requests: 1,
            threads: None,
        }
    }
}

impl HttpStressSettings {
    /// Refuses what would be no request, another one than was meant, or compared with nothing.
    fn checked(&self) -> Result<Question> {
        ensure!(
            self.sha256.is_none() || self.path.is_some() || self.method != Method::Get,
            "`sha256` is for a `path`: a file of nginx' own is compared byte for byte; remove it, or give the `path`"
        );
        let question = self.question();
        question.check()?;
        Ok(question)
    }

    fn question(&self) -> Question {
        let known = match self.path {
            None => Some(self.size_bytes.unwrap_or(1024)),
            Some(_) => None,
        };
        let path = self.path.clone().unwrap_or_else(|| format!("/{}.bin", known.unwrap_or_default()));
        let expected = match (known, self.method) {
            (Some(size), Method::Get) => Expected::Content(super::content::Content::new(size)),
            _ => Expected::Other { size: self.size_bytes, sha256: self.sha256.as_deref().and_then(digest) },
        };
        Question {
            method: self.method,
            path,
            headers: self.headers.clone(),
            body_size: self.body_size_bytes,
            keep_alive: self.keep_alive,
            status: self.status,
            expected,
        }
    }
}

impl ClientType for HttpStress {
    fn details(&self) -> &'static [analysis::slo::Detail] {
        &[analysis::slo::Detail::FirstByte]
    }

    fn name(&self) -> &'static str {
        "http_stress"
    }

    fn on_several_nodes(&self) -> bool {
        true
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(HttpStressSettings)
    }

    fn load_defaults(&self, settings: &Value) -> Result<LoadDefaults> {
        let settings = HttpStressSettings::deserialize(settings)?;
        settings.checked()?;
        Ok(LoadDefaults {
            requests_per_client: settings.transactions.unwrap_or(settings.num_requests),
            concurrency_per_client: settings.concurrent_requests,
            pipeline: 1,
            warmup_delay_s: settings.warmup_delay,
            threads: settings.threads,
        })
    }

    fn run(&self, job: &LoadJob, control: &Control) -> Result<LoadReport> {
        let question = HttpStressSettings::deserialize(&job.settings)?.checked()?;
        load::drive(HttpLoad::new(job, question), job, control)
    }
}
