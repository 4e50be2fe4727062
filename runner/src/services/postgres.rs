//! PostgreSQL: the server, and the clients `postgres_smoke`, `postgres_stress` and `pgbench`.

use std::net::IpAddr;

use anyhow::{Result, bail};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, ClientType, Launch, LaunchRequest, Probe, SecretSetting, ServiceType, Step};
use crate::load::Endpoint;

mod connection;
mod pgbench;
mod run_schema;
mod smoke;
mod stress;
#[cfg(test)]
mod tests;
mod wire;

use connection::{Connection, Login};

pub const DEFAULT_DATABASE: &str = "benchmark";
pub const DEFAULT_USER: &str = "postgres";

/// Where Debian and builds from source keep the server's programs.
const FOLDERS: &[&str] = &["/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin"];

pub struct Postgres;

/// `service.settings` of `postgres`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-instead" = { "sslmode": super::NO_TLS }))]
pub struct PostgresSettings {
    /// Port to listen on; a free one is chosen when neither this nor `service.port` is given.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Database that is made at the start.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub db_name: String,
    /// The superuser.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub user: String,
    /// The superuser's password; a random one for every start when not given.
    pub password: Option<String>,
    /// How clients prove who they are; `trust`, which asks nothing, only for clients of the same machine.
    pub auth: Auth,
    /// Folder for the data, which must be empty or not there; one that is removed afterwards when not given.
    pub data_dir: Option<String>,
    /// Most connections at the same time.
    #[schemars(range(min = 1, max = 262143))]
    pub max_connections: u32,
    /// Settings of the server; its own defaults when not given.
    pub tuning: Tuning,
    /// Another name of `user`.
    #[serde(rename = "POSTGRES_USER")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub other_user: Option<String>,
    /// Another name of `password`.
    #[serde(rename = "POSTGRES_PASSWORD")]
    pub other_password: Option<String>,
    /// Another name of `db_name`.
    #[serde(rename = "POSTGRES_DB")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub other_db_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Auth {
    #[serde(rename = "scram-sha-256")]
    Scram,
    #[serde(rename = "md5")]
    Md5,
    #[serde(rename = "trust")]
    Trust,
}

/// Settings of `postgresql.conf`, in its notation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub shared_buffers: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub effective_cache_size: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub maintenance_work_mem: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub work_mem: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub wal_buffers: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(B|kB|MB|GB|TB)?$"))]
    pub max_wal_size: Option<String>,
    #[schemars(regex(pattern = r"^[0-9]+(us|ms|s|min|h|d)?$"))]
    pub checkpoint_timeout: Option<String>,
    /// Wait for the disk at every commit; off, the last commits may be lost in a crash.
    pub synchronous_commit: Option<bool>,
    /// Make the disk keep what was written; off, a crash may lose everything.
    pub fsync: Option<bool>,
}

impl Tuning {
    /// `name=value` of what is given.
    fn options(&self) -> Vec<String> {
        let on = |value: Option<bool>| value.map(|value| if value { "on" } else { "off" }.to_owned());
        let all = [
            ("shared_buffers", self.shared_buffers.clone()),
            ("effective_cache_size", self.effective_cache_size.clone()),
            ("maintenance_work_mem", self.maintenance_work_mem.clone()),
            ("work_mem", self.work_mem.clone()),
            ("wal_buffers", self.wal_buffers.clone()),
            ("max_wal_size", self.max_wal_size.clone()),
            ("checkpoint_timeout", self.checkpoint_timeout.clone()),
            ("synchronous_commit", on(self.synchronous_commit)),
            ("fsync", on(self.fsync)),
        ];
        all.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect()
    }
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            port: None,
            db_name: DEFAULT_DATABASE.into(),
            user: DEFAULT_USER.into(),
            password: None,
            auth: Auth::Scram,
            data_dir: None,
            max_connections: 500,
            tuning: Tuning::default(),
            other_user: None,
            other_password: None,
            other_db_name: None,
        }
    }
}

impl ServiceType for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn default_image(&self) -> Option<&'static str> {
        Some("postgres:16.6")
    }

    fn default_port(&self) -> Option<u16> {
        Some(5432)
    }

    fn settings_schema(&self) -> Schema {
        schema_for!(PostgresSettings)
    }

    fn clients(&self) -> &'static [&'static dyn ClientType] {
        &[&smoke::PostgresSmoke, &stress::PostgresStress, &pgbench::Pgbench]
    }

    fn secret_settings(&self) -> &'static [SecretSetting] {
        &[SecretSetting { setting: "password", variable: "POSTGRES_PASSWORD" }]
    }

    fn launch(&self, request: &LaunchRequest<'_>) -> Result<Launch> {
        if let Some(command) = request.command {
            return Ok(Launch::shell(command));
        }
        let settings = PostgresSettings::deserialize(request.settings)?;
        let in_scratch = |name: &str| request.scratch.join(name).display().to_string();
        let data = settings.data_dir.clone().unwrap_or_else(|| in_scratch("data"));
        let method = serde_json::to_value(settings.auth)?;
        let method = method.as_str().unwrap_or_default();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();

        let mut files = vec![(request.scratch.join("pg_hba.conf"), who_may_come(request.host, settings.auth, method)?)];
        // The same locale everywhere: sorting and comparing are part of what is measured.
        let mut initdb =
            words(&["-D", &data, "-U", &settings.user, "-A", method, "--encoding=UTF8", "--locale=C", "--no-sync"]);
        if settings.auth != Auth::Trust {
            let password = settings.password.as_deref().unwrap_or_default();
            files.push((request.scratch.join("password"), format!("{password}\n")));
            initdb.push(format!("--pwfile={}", in_scratch("password")));
        }
        let mut before = vec![Step { program: "initdb".into(), args: initdb, input: String::new() }];
        if settings.db_name != "postgres" {
            let args = words(&["--single", "-F", "-D", &data, "postgres"]);
            let input = format!("CREATE DATABASE \"{}\"\n", settings.db_name);
            before.push(Step { program: "postgres".into(), args, input });
        }

        let mut options = vec![
            format!("listen_addresses={}", request.host),
            format!("port={}", request.port),
            "unix_socket_directories=".to_owned(),
            format!("hba_file={}", in_scratch("pg_hba.conf")),
            format!("max_connections={}", settings.max_connections),
        ];
        options.extend(settings.tuning.options());
        let mut args = words(&["-D", &data]);
        args.extend(options.into_iter().flat_map(|option| ["-c".to_owned(), option]));
        Ok(Launch {
            program: "postgres".into(),
            args,
            folders: FOLDERS,
            files,
            before,
            refuses_root: true,
            ..Launch::default()
        })
    }

    fn probe<'a>(&'a self, endpoint: &'a Endpoint, settings: &'a Value) -> BoxFuture<'a, Probe> {
        Box::pin(probe(endpoint, settings))
    }
}

/// `pg_hba.conf`: on a loopback address only this machine, else everybody who has the password.
fn who_may_come(host: &str, auth: Auth, method: &str) -> Result<String> {
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
    if loopback {
        return Ok(format!("host all all 127.0.0.1/32 {method}\nhost all all ::1/128 {method}\n"));
    }
    if auth == Auth::Trust {
        bail!(
            "`auth: trust` would let everybody on the network in: leave it out, or run service and client on one machine"
        );
    }
    Ok(format!("host all all all {method}\n"))
}

/// Logs in as the clients do, and asks for one row.
async fn probe(endpoint: &Endpoint, settings: &Value) -> Probe {
    let login = Login::from_settings(endpoint, &Value::Null, settings);
    let mut connection = match Connection::open(&login).await {
        Ok(connection) => connection,
        Err(err) => return refused(endpoint, err),
    };
    match connection.ask("SELECT 1").await {
        Ok(row) if row == [Some("1".to_owned())] => {
            let version = connection.version.split(' ').next().map(str::to_owned);
            Probe::Ready { version: version.filter(|version| !version.is_empty()) }
        }
        Ok(row) => Probe::Wrong(format!("{endpoint} answered SELECT 1 with {row:?}")),
        Err(err) => refused(endpoint, err),
    }
}

/// Whether it makes sense to ask again.
fn refused(endpoint: &Endpoint, err: String) -> Probe {
    // Classes of SQLSTATE: 28 who are you, 3D no such database.
    if err.starts_with("28") || err.starts_with("3D") || err.starts_with("wrong answer") {
        return Probe::Wrong(format!("the PostgreSQL on {endpoint} lets nobody in: {err}"));
    }
    Probe::NotYet(err)
}
