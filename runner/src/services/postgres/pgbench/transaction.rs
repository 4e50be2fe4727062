//! The pgbench workload: whole transactions, every answer checked, and the books at the end.

use std::time::Instant;

use super::{
    Isolation, PgbenchSettings, Protocol, ScriptName,
    script::{self, ACCOUNTS, Statement, TELLERS},
};
use crate::{
    load::{Client, Connection, Doubt, Draw, Exchange, Outcome, Place, Workload, mix, patience},
    services::postgres::{
        connection::{Connection as Session, Login},
        run_schema::{self, OwnWrites, Writes},
        wire,
    },
};

/// Streams of draws, apart from those of other clients.
const DRAW_VALUES: u64 = 1;

/// Rows that even a slow server writes or reads in a second, all at once.
const SLOW: u64 = 10_000;

#[derive(Clone)]
pub struct PgbenchLoad {
    login: Login,
    seed: u64,
    scale: u32,
    script: ScriptName,
    protocol: Protocol,
    statements: &'static [Statement],
    /// Names of the prepared statements.
    names: Vec<String>,
    /// Transactions that wrote.
    writes: Writes,
}

impl PgbenchLoad {
    pub fn new(seed: u64, login: Login, settings: &PgbenchSettings) -> Self {
        let isolation = match settings.isolation {
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        };
        let login = Login { schema: Some(run_schema::name()), isolation: Some(isolation), ..login };
        let statements = script::statements(settings.script);
        Self {
            login,
            seed,
            scale: settings.scale,
            script: settings.script,
            protocol: settings.protocol,
            statements,
            names: (0..statements.len()).map(|number| format!("s{number}")).collect(),
            writes: Writes::default(),
        }
    }

    /// What a transaction draws: a function of the seed and its place. By the numbers of [`script::Variable`].
    #[inline]
    fn values(&self, place: Place) -> [i32; 4] {
        let parts = [self.seed, DRAW_VALUES, u64::from(place.sequence), place.index, u64::from(place.warmup)];
        let mut draw = Draw::new(&parts);
        let scale = u64::from(self.scale);
        // From 1 on; scale is limited so that every number fits.
        let mut among = |count: u64| draw.below(count) as i32 + 1;
        [among(ACCOUNTS * scale), among(scale), among(TELLERS * scale), among(10_001) - 5001]
    }

    fn content(&self, values: &[i32; 4]) -> u64 {
        let [aid, bid, tid, delta] = values.map(|value| u64::from(value as u32));
        mix(mix(aid << 32 | bid) ^ mix(mix(tid << 32 | delta) ^ self.script as u64))
    }

    fn is_read_only(&self) -> bool {
        self.script == ScriptName::SelectOnly
    }
}

impl Workload for PgbenchLoad {
    type Client = PgbenchClient;

    fn operations(&self) -> &'static [&'static str] {
        match self.script {
            ScriptName::TpcbLike => &["tpcb-like"],
            ScriptName::SimpleUpdate => &["simple-update"],
            ScriptName::SelectOnly => &["select-only"],
        }
    }

    /// A transaction of one statement has nothing to tell apart.
    fn steps(&self) -> &'static [&'static str] {
        if self.is_read_only() { &[] } else { script::names(self.script) }
    }

    fn operation(&self, _place: Place) -> u8 {
        0
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let accounts = ACCOUNTS * u64::from(self.scale);
        run_schema::create(&self.login, &script::tables(self.scale), patience(accounts, SLOW)).await
    }

    async fn connect(&self, _client: u32) -> Result<PgbenchClient, String> {
        let mut session = Session::open(&self.login).await?;
        if self.protocol == Protocol::Prepared {
            for (statement, name) in self.statements.iter().zip(&self.names) {
                session.prepare(name, statement.sql, statement.parameters.len() as u16).await?;
            }
        }
        Ok(PgbenchClient { load: self.clone(), session, writes: self.writes.of_client() })
    }

    /// The books: all tables saw the same money, and the history as many transactions as were committed.
    async fn verify(&self) -> Result<(), Doubt> {
        let (least, most) = self.writes.range();
        let limit = patience(ACCOUNTS * u64::from(self.scale) + most, SLOW);
        let row = run_schema::ask(&self.login, limit, "reading the balances", script::BALANCES).await?;
        let numbers: Option<Vec<i64>> = row.iter().map(|value| value.as_deref()?.parse().ok()).collect();
        let Some(&[rows, history, accounts, tellers, branches]) = numbers.as_deref() else {
            return Err(Doubt::Wrong(format!("the balances cannot be read: {row:?}")));
        };
        let balanced = match self.script {
            ScriptName::TpcbLike => history == accounts && history == tellers && history == branches,
            ScriptName::SimpleUpdate => history == accounts && tellers == 0 && branches == 0,
            ScriptName::SelectOnly => [rows, history, accounts, tellers, branches] == [0; 5],
        };
        if !balanced {
            return Err(Doubt::Wrong(format!(
                "the balances differ: history {history}, accounts {accounts}, tellers {tellers}, branches {branches}"
            )));
        }
        if !(least..=most).contains(&(rows as u64)) {
            return Err(Doubt::Wrong(format!(
                "the history has {rows} transactions; {least} were committed, {most} asked for"
            )));
        }
        Ok(())
    }

    async fn clean_up(&self) -> Result<(), String> {
        run_schema::drop(&self.login).await
    }
}

pub struct PgbenchClient {
    load: PgbenchLoad,
    session: Session,
    writes: OwnWrites,
}

impl Client for PgbenchClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        for exchange in batch {
            if let Err(reason) = self.transaction(exchange).await {
                exchange.fail(Instant::now(), reason);
                return Connection::Broken;
            }
            if self.session.has_surplus() {
                return Connection::Broken;
            }
        }
        Connection::Reusable
    }
}

impl PgbenchClient {
    /// An error means that the connection is gone.
    async fn transaction(&mut self, exchange: &mut Exchange) -> Result<(), String> {
        let values = self.load.values(exchange.place);
        exchange.content = Some(self.load.content(&values));
        let statements = self.load.statements;
        for (number, statement) in statements.iter().enumerate() {
            self.write(number, statement, &values);
            exchange.bytes_sent += 4 * statement.parameters.len() as u64;
            if number == 0 {
                exchange.start = Some(Instant::now());
            }
            let commits = statement.tag == b"COMMIT";
            self.writes.uncertain += u64::from(commits);
            let (mut rows, mut value, mut received) = (0, None, 0);
            let binary = self.load.protocol != Protocol::Simple;
            self.session
                .exchange(|row| {
                    rows += 1;
                    value = integer(row, binary);
                    received += wire::payload(row);
                })
                .await?;
            self.writes.uncertain -= u64::from(commits);
            exchange.bytes_received += received;
            let reply = &mut self.session.reply;
            let failure = match reply.error.take() {
                Some(error) => Some(error),
                None if reply.tag != statement.tag => {
                    Some(format!("wrong answer: {} answered with `{}`", statement.name, reply.tag.escape_ascii()))
                }
                None => self.wrong_row(statement, rows, value),
            };
            self.writes.certain += u64::from(commits && failure.is_none());
            let before = exchange.end.or(exchange.start);
            exchange.end = self.session.reply.end;
            if let (Some(before), Some(end)) = (before, exchange.end)
                && statements.len() > 1
            {
                exchange.steps_ns.push(end.saturating_duration_since(before).as_nanos() as u64);
            }
            if let Some(failure) = failure {
                exchange.outcome = Outcome::Failed(failure.into());
                return self.roll_back().await;
            }
        }
        exchange.outcome = Outcome::Ok;
        Ok(())
    }

    fn write(&mut self, number: usize, statement: &Statement, values: &[i32; 4]) {
        let mut parameters = [0; 4];
        for (parameter, variable) in parameters.iter_mut().zip(statement.parameters) {
            *parameter = values[*variable as usize];
        }
        let parameters = &parameters[..statement.parameters.len()];
        let out = &mut self.session.out;
        match self.load.protocol {
            Protocol::Prepared => wire::bind(out, &self.load.names[number], parameters, true),
            Protocol::Extended => {
                wire::parse(out, "", statement.sql, parameters.len() as u16);
                wire::bind(out, "", parameters, true);
            }
            Protocol::Simple => return wire::query(out, &in_words(statement.sql, parameters)),
        }
        wire::execute_and_sync(out);
    }

    fn wrong_row(&self, statement: &Statement, rows: u64, value: Option<i32>) -> Option<String> {
        let expect = u64::from(statement.has_row);
        match value {
            _ if rows != expect => Some(format!("wrong answer: {} gave {rows} rows, not {expect}", statement.name)),
            None if statement.has_row => Some(format!("wrong answer: {} gave no number", statement.name)),
            // Nobody ever wrote another.
            Some(value) if self.load.is_read_only() && value != 0 => {
                Some(format!("wrong answer: a balance of {value}, not 0"))
            }
            _ => None,
        }
    }

    /// Ends a transaction that failed, in no request's time.
    async fn roll_back(&mut self) -> Result<(), String> {
        if self.session.reply.in_transaction { self.session.run("ROLLBACK").await } else { Ok(()) }
    }
}

/// The one integer of a row.
#[inline]
fn integer(row: &[u8], binary: bool) -> Option<i32> {
    let mut columns = wire::columns(row).ok()?;
    let value = columns.next()?.ok()??;
    if columns.next().is_some() {
        return None;
    }
    match binary {
        true => Some(i32::from_be_bytes(value.try_into().ok()?)),
        false => std::str::from_utf8(value).ok()?.parse().ok(),
    }
}

/// A statement with its values in it. The greatest number first: `$1` is also the beginning of `$10`.
fn in_words(sql: &str, parameters: &[i32]) -> String {
    let numbered = parameters.iter().enumerate().rev();
    numbered.fold(sql.to_owned(), |sql, (number, value)| sql.replace(&format!("${}", number + 1), &value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_scale(scale: u32) -> PgbenchLoad {
        let endpoint = crate::load::Endpoint { host: "127.0.0.1".into(), port: 1 };
        let login = Login::from_settings(&endpoint, &serde_json::Value::Null, &serde_json::Value::Null);
        PgbenchLoad::new(7, login, &PgbenchSettings { scale, ..PgbenchSettings::default() })
    }

    #[test]
    fn values_are_drawn_from_the_whole_of_their_ranges() {
        let load = of_scale(3);
        let (mut least, mut most) = ([i32::MAX; 4], [i32::MIN; 4]);
        for index in 0..1_000_000 {
            let values = load.values(Place { sequence: 0, index, warmup: false });
            for (place, value) in values.into_iter().enumerate() {
                least[place] = least[place].min(value);
                most[place] = most[place].max(value);
            }
        }
        assert_eq!((least[1..].to_vec(), most[1..].to_vec()), (vec![1, 1, -5000], vec![3, 30, 5000]));
        // A million draws of 300,000: that the ends are missed has a chance of 7 %; some number near them is not.
        assert!((1..10).contains(&least[0]) && (299_990..=300_000).contains(&most[0]), "{least:?} {most:?}");
        let large = of_scale(21474);
        assert!((0..1000).all(|index| large.values(Place { sequence: 1, index, warmup: true })[0] > 0));
    }

    #[test]
    fn statements_in_words_have_their_values() {
        assert_eq!(in_words("a = a + $1 WHERE b = $2", &[-5, 12]), "a = a + -5 WHERE b = 12");
    }
}
