//! The workload of `postgres_stress`.
//!
//! Without a mix, each client inserts all its rows and then selects, the kinds in turn. A select of counts is
//! checked against the rows that this client knows to be there and those that anybody may have inserted; at the
//! end every row of the table is read back and compared with what was written.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, bail, ensure};

use super::{
    PostgresStressSettings,
    rows::{Counts, RANGE, RANGE_STARTS, Select, VALUES},
};
use crate::{
    load::{
        Arrival, Client, Connection, Doubt, Draw, Exchange, LoadJob, Outcome, Place, Workload, content_mix, patience,
    },
    services::postgres::{
        connection::{Connection as Session, Login},
        run_schema::{self, OwnWrites, Writes},
        wire,
    },
};

const OPERATIONS: [&str; 5] = ["point_insert", "point_lookup", "range_scan", "like_scan", "aggregation"];

/// Rows that even a slow server writes or reads in a second, all at once.
const SLOW: u64 = 10_000;

/// Rows that warm-up inserts begin behind this number.
const WARMUP_ROWS: u64 = 1_000_000_000;

const DRAW: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// So many inserts of each sequence, then selects.
    Phases { inserts: u64 },
    /// Each request is drawn: an insert with this share, else a select.
    Mix { insert_share: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Insert(u64),
    Select(Select),
}

impl Operation {
    fn number(self) -> u8 {
        match self {
            Self::Insert(_) => 0,
            Self::Select(Select::Lookup(_)) => 1,
            Self::Select(Select::Range(_)) => 2,
            Self::Select(Select::Like(_)) => 3,
            Self::Select(Select::Aggregation) => 4,
        }
    }
}

#[derive(Clone)]
pub struct StressLoad {
    login: Login,
    seed: u64,
    table: String,
    mode: Mode,
    /// Sequences of requests there are: clients in closed loop, one in open loop.
    owners: u64,
    /// Rows 1 to this are there before the load.
    preloaded: u64,
    /// Rows that are there before, by what selects count.
    least: Counts,
    /// What there can be at most; `None`: that cannot be told.
    most: Option<Arc<Counts>>,
    writes: Writes,
}

impl StressLoad {
    pub fn new(job: &LoadJob, login: Login, settings: &PostgresStressSettings) -> Result<Self> {
        let spec = &job.spec;
        let closed = matches!(spec.arrival, Arrival::Closed { .. });
        let owners = if closed { u64::from(spec.clients) } else { 1 };
        let connections = u64::from(settings.concurrent_requests.max(1));
        let for_each_client = settings.num_inserts.saturating_mul(u64::from(spec.clients) / connections);
        let mode = match (&settings.operation_mix, spec.stop.requests, spec.stop.duration_s) {
            (Some(mix), _, _) => Mode::Mix { insert_share: insert_share(mix)? },
            // In the open loop warm-up is the head of the one sequence, and would be its inserts.
            (None, Some(requests), None) if closed => {
                let share = settings.num_inserts as f64 / (settings.num_inserts + settings.num_selects) as f64;
                Mode::Phases { inserts: ((requests as f64 * share).round() as u64).clamp(1, requests) }
            }
            // Time would cut the phases anywhere.
            (None, _, _) => Mode::Mix { insert_share: 0.5 },
        };
        let preloaded = if matches!(mode, Mode::Mix { .. }) { for_each_client } else { 0 };
        ensure!(preloaded < WARMUP_ROWS, "{preloaded} rows before the load are more than {WARMUP_ROWS}");
        let warms = spec.warmup.requests > 0 || spec.warmup.duration_s > 0.0;
        let most = match mode {
            Mode::Phases { inserts } if !warms => Some(Arc::new(Counts::up_to(inserts * owners))),
            _ => None,
        };
        Ok(Self {
            login: Login { schema: Some(run_schema::name()), ..login },
            seed: spec.seed,
            table: settings.table_name.clone(),
            mode,
            owners,
            preloaded,
            least: Counts::up_to(preloaded),
            most,
            writes: Writes::default(),
        })
    }

    /// What a request is: a function of the seed and its place.
    fn plan(&self, place: Place) -> Operation {
        let row = |index: u64| {
            let number = self.preloaded + index * self.owners + u64::from(place.sequence) + 1;
            Operation::Insert(if place.warmup { number + WARMUP_ROWS } else { number })
        };
        match self.mode {
            // Warm-up has both, in turn.
            Mode::Phases { .. } if place.warmup => match place.index % 2 {
                0 => row(place.index / 2),
                _ => Operation::Select(Select::of(place.index / 2)),
            },
            Mode::Phases { inserts } if place.index < inserts => row(place.index),
            Mode::Phases { inserts } => Operation::Select(Select::of(place.index - inserts)),
            Mode::Mix { insert_share } => {
                let parts = [self.seed, DRAW, u64::from(place.sequence), place.index, u64::from(place.warmup)];
                let mut draw = Draw::new(&parts);
                if draw.uniform() < insert_share {
                    return row(place.index);
                }
                Operation::Select(match draw.below(4) {
                    0 => Select::Lookup(draw.below(VALUES)),
                    1 => Select::Range(draw.below(RANGE_STARTS)),
                    2 => Select::Like(draw.below(VALUES - 1) + 1),
                    _ => Select::Aggregation,
                })
            }
        }
    }

    fn statements(&self) -> [String; 5] {
        let table = &self.table;
        [
            format!("INSERT INTO {table} (data, value, payload) VALUES ($1, $2, $3)"),
            format!("SELECT count(*) FROM {table} WHERE value = $1"),
            format!("SELECT count(*) FROM {table} WHERE value BETWEEN $1 AND $2"),
            format!("SELECT count(*) FROM {table} WHERE payload LIKE $1"),
            format!("SELECT value, count(*) FROM {table} GROUP BY value ORDER BY count(*) DESC LIMIT 10"),
        ]
    }
}

fn insert_share(mix: &str) -> Result<f64> {
    let shares = mix
        .split_once(':')
        .and_then(|(insert, select)| Some((insert.parse::<f64>().ok()?, select.parse::<f64>().ok()?)));
    match shares {
        Some((insert, select)) if insert >= 0.0 && select >= 0.0 && insert + select > 0.0 => {
            Ok(insert / (insert + select))
        }
        _ => bail!(
            "operation_mix must be the shares of INSERT and SELECT, such as `20:80`, with one above zero, not `{mix}`"
        ),
    }
}

impl Workload for StressLoad {
    type Client = StressClient;

    fn operations(&self) -> &'static [&'static str] {
        &OPERATIONS
    }

    fn operation(&self, place: Place) -> u8 {
        self.plan(place).number()
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let table = &self.table;
        let sql = format!(
            "CREATE TABLE {table} (id serial PRIMARY KEY, data varchar(255), value integer, \
             ts timestamp DEFAULT now(), payload text); \
             INSERT INTO {table} (data, value, payload) \
             SELECT 'data_' || i, i % {VALUES}, 'payload_text_for_record_' || i FROM generate_series(1, {}) AS i; \
             CREATE INDEX ON {table} (value); CREATE INDEX ON {table} (ts)",
            self.preloaded
        );
        run_schema::create(&self.login, &sql, patience(self.preloaded, SLOW)).await
    }

    async fn connect(&self, _client: u32) -> Result<StressClient, String> {
        let mut session = Session::open(&self.login).await?;
        for (name, sql) in OPERATIONS.iter().zip(self.statements()) {
            session.prepare(name, &sql, 0).await?;
        }
        let known = self.least.clone();
        Ok(StressClient { load: self.clone(), session, known, writes: self.writes.of_client() })
    }

    /// Reads every row back.
    async fn verify(&self) -> Result<(), Doubt> {
        let (least, most) = self.writes.range();
        let [least, most] = [least, most].map(|inserted| inserted + self.preloaded);
        let sql = format!(
            "SELECT count(*), count(DISTINCT i), count(*) FILTER (WHERE data = 'data_' || i AND \
             value = i % {VALUES} AND payload = 'payload_text_for_record_' || i) FROM \
             (SELECT *, substring(data FROM '^data_([0-9]{{1,10}})$')::bigint AS i FROM {}) AS numbered",
            self.table
        );
        let row = run_schema::ask(&self.login, patience(most, SLOW), "reading the rows back", &sql).await?;
        let numbers: Option<Vec<u64>> = row.iter().map(|value| value.as_deref()?.parse().ok()).collect();
        let Some(&[rows, different, right]) = numbers.as_deref() else {
            return Err(Doubt::Wrong(format!("the rows cannot be counted: {row:?}")));
        };
        if different != rows || right != rows {
            return Err(Doubt::Wrong(format!(
                "of {rows} rows, {right} are as they were written and {different} different"
            )));
        }
        if !(least..=most).contains(&rows) {
            return Err(Doubt::Wrong(format!("there are {rows} rows; {least} were written, {most} asked for")));
        }
        Ok(())
    }

    async fn clean_up(&self) -> Result<(), String> {
        run_schema::drop(&self.login).await
    }
}

pub struct StressClient {
    load: StressLoad,
    session: Session,
    /// Rows that are certainly there.
    known: Counts,
    writes: OwnWrites,
}

impl Client for StressClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        for exchange in batch {
            if let Err(reason) = self.ask(exchange).await {
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

impl StressClient {
    /// An error means that the connection is gone.
    async fn ask(&mut self, exchange: &mut Exchange) -> Result<(), String> {
        let operation = self.load.plan(exchange.place);
        let parameters = match operation {
            Operation::Insert(row) => {
                vec![format!("data_{row}"), (row % VALUES).to_string(), format!("payload_text_for_record_{row}")]
            }
            Operation::Select(Select::Lookup(value)) => vec![value.to_string()],
            Operation::Select(Select::Range(start)) => vec![start.to_string(), (start + RANGE - 1).to_string()],
            Operation::Select(Select::Like(digits)) => vec![format!("%record\\_{digits}%")],
            Operation::Select(Select::Aggregation) => Vec::new(),
        };
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let name = OPERATIONS[usize::from(operation.number())];
        wire::bind_text(&mut self.session.out, name, &parameters);
        exchange.content = Some(content_mix(&self.session.out, 0));
        exchange.bytes_sent = parameters.iter().map(|parameter| parameter.len() as u64).sum();
        wire::execute_and_sync(&mut self.session.out);
        let inserts = u64::from(matches!(operation, Operation::Insert(_)));
        self.writes.uncertain += inserts;
        exchange.start = Some(Instant::now());
        let (mut received, mut rows) = (0, Vec::new());
        self.session
            .exchange(|row| {
                received += wire::payload(row);
                // No statement here gives more.
                if rows.len() <= 10 {
                    rows.push(integers(row));
                }
            })
            .await?;
        self.writes.uncertain -= inserts;
        exchange.bytes_received = received;
        exchange.end = self.session.reply.end;
        let failure = match (self.session.reply.error.take(), operation) {
            (Some(error), _) => Some(error),
            (None, Operation::Insert(_)) if self.session.reply.tag != b"INSERT 0 1" => {
                Some(format!("wrong answer: an insert answered with `{}`", self.session.reply.tag.escape_ascii()))
            }
            (None, Operation::Insert(row)) => {
                self.known.add(row);
                self.writes.certain += 1;
                None
            }
            (None, Operation::Select(select)) => wrong_rows(select, &rows, &self.known, self.load.most.as_deref()),
        };
        exchange.outcome = failure.map_or(Outcome::Ok, |failure| Outcome::Failed(failure.into()));
        Ok(())
    }
}

/// What is wrong with the rows of a select, if anything.
fn wrong_rows(select: Select, rows: &[Option<Vec<u64>>], least: &Counts, most: Option<&Counts>) -> Option<String> {
    let fits = |select: Select, count: u64| {
        least.found(select) <= count && most.is_none_or(|most| count <= most.found(select))
    };
    if select != Select::Aggregation {
        return match rows {
            [Some(columns)] if columns.len() == 1 => (!fits(select, columns[0])).then(|| {
                let most = most.map_or("any number".to_owned(), |most| most.found(select).to_string());
                let least = least.found(select);
                format!("wrong answer: a count that is not from {least} to {most}")
            }),
            _ => Some("wrong answer: not one row with one number".to_owned()),
        };
    }
    let pairs: Option<Vec<(u64, u64)>> = rows
        .iter()
        .map(|row| match row.as_deref()? {
            &[value, count] if value < VALUES => Some((value, count)),
            _ => None,
        })
        .collect();
    match pairs {
        None => Some("wrong answer: not rows of value and count".to_owned()),
        Some(pairs) if pairs.len() > 10 || !pairs.is_sorted_by(|one, next| one.1 >= next.1) => {
            Some("wrong answer: not the ten most frequent in order".to_owned())
        }
        Some(pairs) => {
            let wrong = pairs.iter().any(|(value, count)| !fits(Select::Lookup(*value), *count));
            wrong.then(|| "wrong answer: a value with another number of rows".to_owned())
        }
    }
}

/// The columns of a row, in words, as numbers.
fn integers(row: &[u8]) -> Option<Vec<u64>> {
    let columns = wire::columns(row).ok()?;
    columns.map(|value| std::str::from_utf8(value.ok()??).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_must_find_what_is_there() {
        let (least, most) = (Counts::up_to(2000), Counts::up_to(3000));
        let check = |select, rows: &[&[u64]]| {
            let rows: Vec<_> = rows.iter().map(|row| Some(row.to_vec())).collect();
            wrong_rows(select, &rows, &least, Some(&most))
        };
        for count in [2, 3] {
            assert_eq!(check(Select::Lookup(5), &[&[count]]), None);
        }
        let wrong = Some("wrong answer: a count that is not from 2 to 3".to_owned());
        assert_eq!((check(Select::Lookup(5), &[&[1]]), check(Select::Lookup(5), &[&[4]])), (wrong.clone(), wrong));
        assert_eq!(check(Select::Range(5), &[&[250]]), None);
        assert!(check(Select::Range(5), &[]).is_some() && check(Select::Like(9), &[&[1, 2]]).is_some());
        assert_eq!(check(Select::Aggregation, &[&[7, 3], &[1, 2]]), None);
        assert!(check(Select::Aggregation, &[&[7, 2], &[1, 3]]).is_some(), "order");
        assert!(
            check(Select::Aggregation, &[&[7, 4]]).is_some() && check(Select::Aggregation, &[&[1000, 2]]).is_some()
        );
        assert!(wrong_rows(Select::Lookup(1), &[None], &least, None).is_some());
    }

    #[test]
    fn shares_are_of_inserts_and_selects() {
        for (mix, share) in [("20:80", 0.2), ("1:0", 1.0), ("0:7", 0.0)] {
            assert_eq!(insert_share(mix).expect("shares"), share);
        }
        assert!(["0:0", "1", "a:b"].iter().all(|mix| insert_share(mix).is_err()));
    }
}
