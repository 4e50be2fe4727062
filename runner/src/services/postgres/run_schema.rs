//! The schema of one run: its tables are in no other's way, and all gone with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::connection::{Connection, Login};
use crate::{
    load::{PATIENCE, within},
    services::token::token,
};

/// Prefix of the schemas; whoever finds one that no run uses may drop it.
const PREFIX: &str = "runner_";

/// A name that no other run has.
pub fn name() -> String {
    format!("{PREFIX}{}", token())
}

/// The last row's columns of one question over a connection of its own, within `limit`; `what` names it.
pub async fn ask(login: &Login, limit: Duration, what: &str, sql: &str) -> Result<Vec<Option<String>>, String> {
    within(limit, what, async { Connection::open(login).await?.ask(sql).await }).await
}

/// Makes the schema and what `sql` says is in it, all or nothing; then brings the statistics up to date and the
/// disk to rest, so that the load does not pay for it. Each of these within `limit`.
pub async fn create(login: &Login, sql: &str, limit: Duration) -> Result<(), String> {
    let schema = login.schema.as_deref().unwrap_or_default();
    let mut connection = within(PATIENCE, "logging in", Connection::open(login)).await?;
    let make = format!("BEGIN; CREATE SCHEMA {schema}; {sql}; COMMIT");
    within(limit, "making the tables", connection.run(&make)).await?;
    let tables = format!(
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE schemaname = '{schema}'"
    );
    let tables = within(limit, "listing the tables", connection.ask(&tables)).await?;
    if let Some(Some(tables)) = tables.into_iter().next() {
        within(limit, "VACUUM ANALYZE", connection.run(&format!("VACUUM ANALYZE {tables}"))).await?;
    }
    match within(limit, "CHECKPOINT", connection.run("CHECKPOINT")).await {
        // Only some roles may; the load is right without.
        Err(err) if err.starts_with("42501") => Ok(()),
        result => result,
    }
}

/// Removes the schema and all in it. Statements of the run that still work on their own, as nobody waits for them any
/// more, are ended before: one of them might be about to make the schema.
pub async fn drop(login: &Login) -> Result<(), String> {
    let schema = login.schema.as_deref().unwrap_or_default();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = '{schema}' AND state = 'active' AND pid <> pg_backend_pid()"
    );
    let ended = async {
        while ask(login, PATIENCE, "looking for statements", &end).await? != [Some("0".to_owned())] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ask(login, PATIENCE, "DROP SCHEMA", &format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await
    };
    match within(2 * PATIENCE, "ending statements", ended).await {
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("the schema {schema}: {reason}")),
    }
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
