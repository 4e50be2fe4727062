//! The schema of one run: its tables are in no other's way, and all gone with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::connection::{Connection, Login};
use crate::load::mix;

/// Prefix of the schemas; whoever finds one that no run uses may drop it.
const PREFIX: &str = "runner_";

/// A name that no other run has.
pub fn name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    format!("{PREFIX}{:016x}", mix(now ^ mix(u64::from(std::process::id()))))
}

/// Makes the schema and what `sql` says is in it, all or nothing; then brings the statistics up to date and the
/// disk to rest, so that the load does not pay for it.
pub async fn create(login: &Login, sql: &str) -> Result<(), String> {
    let schema = login.schema.as_deref().unwrap_or_default();
    let mut connection = Connection::open(login).await?;
    connection.run(&format!("BEGIN; CREATE SCHEMA {schema}; {sql}; COMMIT")).await?;
    let tables = format!(
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE schemaname = '{schema}'"
    );
    if let Some(Some(tables)) = connection.ask(&tables).await?.into_iter().next() {
        connection.run(&format!("VACUUM ANALYZE {tables}")).await?;
    }
    match connection.run("CHECKPOINT").await {
        // Only some roles may; the load is right without.
        Err(err) if err.starts_with("42501") => Ok(()),
        result => result,
    }
}

/// Removes the schema and all in it.
pub async fn drop(login: &Login) -> Result<(), String> {
    let schema = login.schema.as_deref().unwrap_or_default();
    Connection::open(login).await?.run(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await
}

/// What the clients know of their writes, added up by all when they go.
#[derive(Clone, Debug, Default)]
pub struct Writes(Arc<[AtomicU64; 2]>);

/// The writes of one client.
#[derive(Debug)]
pub struct OwnWrites {
    all: Writes,
    /// The server said that it is written.
    pub certain: u64,
    /// It was asked for, and no answer came.
    pub uncertain: u64,
}

impl Writes {
    pub fn of_client(&self) -> OwnWrites {
        OwnWrites { all: self.clone(), certain: 0, uncertain: 0 }
    }

    /// How many there must be at least, and can be at most.
    pub fn range(&self) -> (u64, u64) {
        let [certain, uncertain] = [0, 1].map(|place| self.0[place].load(Ordering::Relaxed));
        (certain, certain + uncertain)
    }
}

impl Drop for OwnWrites {
    fn drop(&mut self) {
        self.all.0[0].fetch_add(self.certain, Ordering::Relaxed);
        self.all.0[1].fetch_add(self.uncertain, Ordering::Relaxed);
    }
}
