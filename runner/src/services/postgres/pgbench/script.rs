//! Tables and statements of pgbench's built-in scripts.

use super::ScriptName;

/// Rows for each unit of scale.
pub const TELLERS: u64 = 10;
pub const ACCOUNTS: u64 = 100_000;

/// What a transaction draws, in the order of pgbench's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    Aid,
    Bid,
    Tid,
    Delta,
}

#[derive(Debug)]
pub struct Statement {
    /// Name in the figures.
    pub name: &'static str,
    pub sql: &'static str,
    /// Values of `$1`, `$2`, …
    pub parameters: &'static [Variable],
    /// What the server says when it has done right.
    pub tag: &'static [u8],
    /// Answers with one row of one integer.
    pub has_row: bool,
}

use Variable::{Aid, Bid, Delta, Tid};

const fn statement(
    name: &'static str,
    sql: &'static str,
    parameters: &'static [Variable],
    tag: &'static [u8],
) -> Statement {
    Statement { name, sql, parameters, tag, has_row: false }
}

const BEGIN: Statement = statement("BEGIN", "BEGIN", &[], b"BEGIN");
const END: Statement = statement("END", "END", &[], b"COMMIT");
const SELECT: Statement = Statement {
    has_row: true,
    ..statement("SELECT accounts", "SELECT abalance FROM pgbench_accounts WHERE aid = $1", &[Aid], b"SELECT 1")
};
const UPDATE_ACCOUNTS: Statement = statement(
    "UPDATE accounts",
    "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
    &[Delta, Aid],
    b"UPDATE 1",
);
const INSERT: Statement = statement(
    "INSERT history",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
    &[Tid, Bid, Aid, Delta],
    b"INSERT 0 1",
);

static TPCB_LIKE: [Statement; 7] = [
    BEGIN,
    UPDATE_ACCOUNTS,
    SELECT,
    statement(
        "UPDATE tellers",
        "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
        &[Delta, Tid],
        b"UPDATE 1",
    ),
    statement(
        "UPDATE branches",
        "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
        &[Delta, Bid],
        b"UPDATE 1",
    ),
    INSERT,
    END,
];
static SIMPLE_UPDATE: [Statement; 5] = [BEGIN, UPDATE_ACCOUNTS, SELECT, INSERT, END];
static SELECT_ONLY: [Statement; 1] = [SELECT];

pub fn statements(script: ScriptName) -> &'static [Statement] {
    match script {
        ScriptName::TpcbLike => &TPCB_LIKE,
        ScriptName::SimpleUpdate => &SIMPLE_UPDATE,
        ScriptName::SelectOnly => &SELECT_ONLY,
    }
}

/// Names of a script's statements.
pub fn names(script: ScriptName) -> &'static [&'static str] {
    match script {
        ScriptName::TpcbLike => &[
            "BEGIN",
            "UPDATE accounts",
            "SELECT accounts",
            "UPDATE tellers",
            "UPDATE branches",
            "INSERT history",
            "END",
        ],
        ScriptName::SimpleUpdate => &["BEGIN", "UPDATE accounts", "SELECT accounts", "INSERT history", "END"],
        ScriptName::SelectOnly => &["SELECT accounts"],
    }
}

/// Makes and fills the tables, as `pgbench --initialize` does.
pub fn tables(scale: u32) -> String {
    let (scale, tellers, accounts) = (u64::from(scale), TELLERS * u64::from(scale), ACCOUNTS * u64::from(scale));
    format!(
        "CREATE TABLE pgbench_history(tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));\n\
         CREATE TABLE pgbench_tellers(tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor=100);\n\
         CREATE TABLE pgbench_accounts(aid int NOT NULL, bid int, abalance int, filler char(84)) WITH (fillfactor=100);\n\
         CREATE TABLE pgbench_branches(bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor=100);\n\
         INSERT INTO pgbench_branches (bid, bbalance) SELECT bid, 0 FROM generate_series(1, {scale}) AS bid;\n\
         INSERT INTO pgbench_tellers (tid, bid, tbalance)\n\
         SELECT tid, (tid - 1) / {TELLERS} + 1, 0 FROM generate_series(1, {tellers}) AS tid;\n\
         INSERT INTO pgbench_accounts (aid, bid, abalance, filler)\n\
         SELECT aid, (aid - 1) / {ACCOUNTS} + 1, 0, '' FROM generate_series(1, {accounts}) AS aid;\n\
         ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid);\n\
         ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid);\n\
         ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)"
    )
}

/// One row, of one moment: rows of the history, and the sums that transactions keep equal (TPC-B, 2.2.3, "consistency").
pub const BALANCES: &str = "SELECT (SELECT count(*) FROM pgbench_history), \
     (SELECT coalesce(sum(delta), 0) FROM pgbench_history), (SELECT sum(abalance) FROM pgbench_accounts), \
     (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_stand_under_their_names() {
        for script in [ScriptName::TpcbLike, ScriptName::SimpleUpdate, ScriptName::SelectOnly] {
            let found: Vec<_> = statements(script).iter().map(|statement| statement.name).collect();
            assert_eq!(found, names(script));
            for statement in statements(script) {
                assert_eq!(statement.sql.matches('$').count(), statement.parameters.len(), "{}", statement.sql);
            }
        }
    }
}
