//! The clients against a real PostgreSQL, and against servers that misbehave.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{pgbench::Pgbench, smoke::PostgresSmoke, stress::PostgresStress, *};
use crate::{
    load::{Arrival, Control, LoadSpec, Stop, Warmup},
    services::fixtures::{
        Driven, Fault, StartedService, drive, drive_service, faulty, free_port, local, probe as ask_probe, spec,
    },
};

const PASSWORD: &str = "pä ss'word";

fn server(settings: Value) -> StartedService {
    let mut all = json!({ "password": PASSWORD, "tuning": { "fsync": false }, "max_connections": 40 });
    all.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    StartedService::start("postgres", all)
}

fn load(client: &dyn ClientType, server: &StartedService, spec: LoadSpec, settings: Value) -> Result<Driven> {
    load_until(client, server, spec, settings, &Control::default())
}

fn load_until(
    client: &dyn ClientType,
    server: &StartedService,
    spec: LoadSpec,
    settings: Value,
    control: &Control,
) -> Result<Driven> {
    drive_service(client, (server.endpoint.clone(), server.settings.clone()), spec, settings, control)
}

/// A load that somebody must end.
fn endless(clients: u32) -> LoadSpec {
    LoadSpec { stop: Stop { requests: None, duration_s: Some(600.0) }, clients, ..spec(1) }
}

/// The columns of the last row.
fn ask(server: &StartedService, sql: &str) -> Vec<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(async {
            let login = Login::from_settings(&server.endpoint, &Value::Null, &server.settings);
            Connection::open(&login).await?.ask(sql).await
        })
        .expect("answered")
}

/// The schema of the one run there is, once its load has inserted into one of these tables: that is under way.
fn schema_of_run(server: &StartedService) -> String {
    loop {
        let found = ask(
            server,
            "SELECT max(schemaname) FROM pg_stat_user_tables WHERE schemaname LIKE 'runner_%' AND \
             (relname = 'pgbench_history' AND n_tup_ins > 0 OR relname = 'stress_test' AND n_tup_ins > 9)",
        );
        if let [Some(schema)] = &found[..] {
            return schema.clone();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn leaves_nothing_behind(server: &StartedService) {
    let left = ask(server, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'runner_%'");
    assert_eq!(left, [Some("0".to_owned())]);
}

#[test]
fn every_script_and_protocol_keeps_the_books_and_leaves_nothing_behind() {
    let server = server(json!({}));
    let mut digests = BTreeSet::new();
    for (threads, protocol) in [(1, "prepared"), (2, "extended"), (4, "simple")] {
        for (script, received) in [("tpcb-like", 4), ("simple-update", 4), ("select-only", 4)] {
            let warmup = Warmup { duration_s: 0.0, requests: 3 };
            let spec = LoadSpec { clients: 4, threads, warmup, ..spec(25) };
            let driven = load(&Pgbench, &server, spec, json!({ "script": script, "protocol": protocol }));
            let driven = driven.expect(script);
            assert_eq!((driven.errors(), driven.report.wrong_data.clone()), (vec![""; 0], None), "{script} {protocol}");
            assert_eq!(driven.requests.len(), 4 * 28);
            assert!(driven.requests.iter().all(|request| request.operation == script));
            if protocol != "simple" {
                assert!(driven.requests.iter().all(|request| request.bytes_received == received));
            }
            // The statements of a transaction take all of its time.
            for request in driven.requests.iter().filter(|_| script != "select-only") {
                assert_eq!(request.steps_s.len(), if script == "tpcb-like" { 7 } else { 5 });
                assert!((request.steps_s.values().sum::<f64>() - request.latency_s).abs() < 1e-8);
            }
            digests.insert((script, driven.report.sequence_digest.expect("a digest")));
            leaves_nothing_behind(&server);
        }
    }
    assert_eq!(digests.len(), 3, "one sequence a script, whatever the threads and the protocol");
}

#[test]
fn runs_side_by_side_do_not_meet() {
    let server = server(json!({}));
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let run = || load(&Pgbench, &server, LoadSpec { clients: 3, ..spec(40) }, json!({})).expect("driven");
        let stress = || load(&PostgresStress, &server, spec(60), json!({ "num_inserts": 4, "num_selects": 2 }));
        let runs = [scope.spawn(run), scope.spawn(run), scope.spawn(move || stress().expect("driven"))];
        runs.map(|run| run.join().expect("ended")).into_iter().collect()
    });
    for driven in &wrong {
        assert_eq!((driven.errors(), &driven.report.wrong_data), (vec![""; 0], &None));
    }
    leaves_nothing_behind(&server);
}

#[test]
fn stress_inserts_and_then_selects() {
    let server = server(json!({}));
    let mut digests = BTreeSet::new();
    for threads in [1, 2, 4] {
        let spec = LoadSpec { clients: 4, threads, ..spec(60) };
        let settings = json!({ "num_inserts": 40, "num_selects": 20 });
        let driven = load(&PostgresStress, &server, spec, settings).expect("driven");
        assert_eq!((driven.errors(), driven.report.wrong_data.clone()), (vec![""; 0], None));
        let count = |name: &str| driven.requests.iter().filter(|request| request.operation == name).count();
        let operations = ["point_insert", "point_lookup", "range_scan", "like_scan", "aggregation"];
        assert_eq!(operations.map(count), [160, 20, 20, 20, 20]);
        digests.insert(driven.report.sequence_digest.expect("a digest"));
        leaves_nothing_behind(&server);
    }
    assert_eq!(digests.len(), 1);
    // A mix by time, in both loops.
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 200.0 }] {
        let stop = Stop { requests: None, duration_s: Some(1.0) };
        let spec = LoadSpec { arrival, clients: 4, stop, warmup: Warmup { duration_s: 0.2, requests: 0 }, ..spec(1) };
        let settings = json!({ "operation_mix": "20:80", "num_inserts": 500 });
        let driven = load(&PostgresStress, &server, spec, settings).expect("driven");
        assert_eq!((driven.errors(), driven.report.wrong_data.clone()), (vec![""; 0], None));
        assert!(driven.requests.len() > 50, "{}", driven.requests.len());
        leaves_nothing_behind(&server);
    }
}

#[test]
fn data_that_changed_behind_the_load_are_found() {
    let server = server(json!({}));
    for (client, settings, sql, expect) in [
        (
            &Pgbench as &dyn ClientType,
            json!({}),
            "UPDATE SCHEMA.pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = 1",
            "the balances differ",
        ),
        (
            &PostgresStress,
            json!({ "num_inserts": 9 }),
            "UPDATE SCHEMA.stress_test SET payload = '' WHERE id = 1",
            "as they were written",
        ),
    ] {
        let control = Control::default();
        let driven = std::thread::scope(|scope| {
            let load = scope.spawn(|| load_until(client, &server, endless(1), settings, &control));
            let schema = schema_of_run(&server);
            ask(&server, &sql.replace("SCHEMA", &schema));
            control.stop();
            load.join().expect("ended").expect("driven")
        });
        let wrong = driven.report.wrong_data.expect("found");
        assert!(wrong.contains(expect), "{wrong}");
        leaves_nothing_behind(&server);
    }
}

#[test]
fn conflicts_are_failures_by_their_sqlstate() {
    let server = server(json!({}));
    let spec = LoadSpec { clients: 8, threads: 2, ..spec(50) };
    let driven = load(&Pgbench, &server, spec, json!({ "isolation": "repeatable-read" })).expect("driven");
    // All change the one branch.
    assert_eq!(driven.errors().into_iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(driven.errors()[0], "40001: could not serialize access due to concurrent update");
    let (ok, failed): (Vec<_>, Vec<_>) = driven.requests.iter().partition(|request| request.success);
    assert!(!ok.is_empty() && !failed.is_empty() && ok.len() + failed.len() == 400, "no retry");
    assert_eq!(driven.report.wrong_data, None, "what failed is not in the books");
}

#[test]
fn smoke_asks_what_it_is_told() {
    let server = server(json!({ "auth": "md5", "db_name": "other" }));
    let driven = load(&PostgresSmoke, &server, spec(2), json!({ "query": "SELECT version();" })).expect("driven");
    assert_eq!((driven.errors(), driven.requests.len()), (vec![""; 0], 2));
    let driven = load(&PostgresSmoke, &server, spec(1), json!({ "query": "SELECT nothing" })).expect("driven");
    assert_eq!(driven.errors(), ["42703: column \"nothing\" does not exist"]);
    let tag = ask(&server, "SELECT current_database()");
    assert_eq!(tag, [Some("other".to_owned())]);
}

#[test]
fn who_may_not_come_in_is_told_why() {
    let server = server(json!({ "max_connections": 8 }));
    let with = |key: &str, value: &str| json!({ key: value });
    for (settings, expect) in [
        (with("password", "wrong"), "28P01: password authentication failed for user \"postgres\""),
        (with("user", "stranger"), "28P01: password authentication failed for user \"stranger\""),
        (with("db_name", "nowhere"), "3D000: database \"nowhere\" does not exist"),
    ] {
        let err = load(&Pgbench, &server, spec(1), settings.clone()).err().expect("refused");
        assert!(format!("{err:#}").ends_with(expect), "{err:#}");
        let mut service = server.settings.clone();
        service.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
        let Probe::Wrong(why) = ask_probe(&Postgres, &server.endpoint, &service) else { panic!("not refused") };
        assert!(why.ends_with(expect), "{why}");
    }
    let err = load(&Pgbench, &server, LoadSpec { clients: 20, ..spec(1) }, json!({})).err().expect("refused");
    let err = format!("{err:#}");
    assert!(err.contains("53300: ") && err.contains("client "), "{err}");
    leaves_nothing_behind(&server);
}

#[test]
fn a_server_that_dies_ends_the_load_and_keeps_the_records() {
    for arrival in [Arrival::Closed { think_time_s: 0.0 }, Arrival::Poisson { rate: 200.0 }] {
        let mut server = server(json!({}));
        let target = (server.endpoint.clone(), server.settings.clone());
        let stop = Stop { requests: None, duration_s: Some(600.0) };
        let spec = LoadSpec { arrival, stop, threads: 2, clients: 4, timeout_s: 1.0, ..spec(1) };
        let driven = std::thread::scope(|scope| {
            let load = scope.spawn(|| drive_service(&Pgbench, target, spec, json!({}), &Control::default()));
            while ask(&server, "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname = 'pgbench_history'")[0]
                .as_deref()
                .is_none_or(|count| count == "0")
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            server.kill();
            load.join().expect("ended").expect("driven")
        });
        let reason = driven.report.interruption.as_deref().expect("a reason");
        assert!(driven.report.interrupted && reason.contains("could not reach the service"), "{reason}");
        assert!(driven.requests.iter().any(|request| request.success));
        let errors: BTreeSet<_> = driven.errors().into_iter().collect();
        assert!(errors.iter().any(|error| error.starts_with("connection ") || error.starts_with("57P0")), "{errors:?}");
    }
}

#[test]
fn data_that_nobody_can_look_at_are_not_called_wrong() {
    let mut server = server(json!({}));
    let target = (server.endpoint.clone(), server.settings.clone());
    let control = Control::default();
    let driven = std::thread::scope(|scope| {
        let load = scope.spawn(|| drive_service(&Pgbench, target, endless(2), json!({}), &control));
        schema_of_run(&server);
        control.stop();
        server.kill();
        load.join().expect("ended").expect("driven")
    });
    assert_eq!((driven.report.interruption, driven.report.wrong_data), (None, None));
    assert!(
        driven.report.unchecked_data.is_some_and(|reason| reason.contains("connect") || reason.contains("refused"))
    );
    assert!(driven.report.left_behind.is_some_and(|left| left.starts_with("the schema runner_")));
}

#[test]
fn a_statement_that_nobody_waits_for_leaves_no_schema() {
    let server = server(json!({}));
    let control = Control::default();
    std::thread::scope(|scope| {
        // Many rows, so that it is stopped while they are made.
        let load = scope.spawn(|| load_until(&Pgbench, &server, endless(1), json!({ "scale": 1000 }), &control));
        let working =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'runner_%' AND state = 'active'";
        while ask(&server, working)[0].as_deref() == Some("0") {
            std::thread::sleep(Duration::from_millis(20));
        }
        control.stop();
        let err = load.join().expect("ended").err().expect("stopped");
        assert!(format!("{err:#}").contains("stopped before the load began"), "{err:#}");
        assert_eq!(ask(&server, working), [Some("0".to_owned())]);
    });
    leaves_nothing_behind(&server);
}

#[test]
fn a_backend_that_is_ended_is_a_failure_of_its_own_client() {
    let server = server(json!({}));
    let control = Control::default();
    let driven = std::thread::scope(|scope| {
        let load = scope.spawn(|| load_until(&Pgbench, &server, endless(3), json!({}), &control));
        let schema = schema_of_run(&server);
        // Held back by a lock, the client is certainly within a request.
        let ended = format!(
            "BEGIN; LOCK TABLE {schema}.pgbench_branches IN EXCLUSIVE MODE; SELECT pg_sleep(0.2); \
             SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE pgbench_branches%' LIMIT 1) AS one; COMMIT"
        );
        while ask(&server, &ended)[0].as_deref() != Some("1") {}
        // It connects anew, and goes on.
        std::thread::sleep(Duration::from_secs(1));
        control.stop();
        load.join().expect("ended").expect("driven")
    });
    let failed: Vec<_> = driven.requests.iter().filter(|request| !request.success).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error.as_deref(), Some("57P01: terminating connection due to administrator command"));
    let after = driven.requests.iter().filter(|r| r.client == failed[0].client && r.start_s > failed[0].end());
    assert!(after.count() > 0 && driven.report.interruption.is_none());
    assert_eq!(driven.report.wrong_data, None);
}

/// What a server says to one who logs in and asks: ready for each message.
fn says(answer: &[u8]) -> Fault {
    Fault::Answer(answer.to_vec())
}

#[test]
fn other_servers_are_told_from_postgresql() {
    let settings = json!({ "password": "x" });
    let port = free_port();
    for (endpoint, ready) in [
        (local(port), false),
        (faulty(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")), true),
        (faulty(Fault::AnswerAndClose(Vec::new())), false),
        // The database system is starting up.
        (faulty(says(b"E\0\0\0\x19SFATAL\0C57P03\0Mwait\0\0")), false),
    ] {
        match (ask_probe(&Postgres, &endpoint, &settings), ready) {
            (Probe::Wrong(why), true) => assert!(why.contains("not of PostgreSQL"), "{why}"),
            (Probe::NotYet(_), false) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    let err = drive(&PostgresSmoke, local(port), spec(1), json!({})).err().expect("refused");
    assert!(format!("{err:#}").contains("Connection refused"), "{err:#}");
}

#[test]
fn what_comes_after_the_login_may_be_anything() {
    const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    for (fault, expect) in [
        (says(b"Z\0\0\0\x05X"), None),
        (says(b"HTTP/1.1 200 OK\r\n\r\n"), Some("wrong answer: not of PostgreSQL: `HTTP/1.1 200 OK\\r\\n\\r\\n`")),
        (says(b"R\0\0\0\x08\0\0\0\0"), Some("wrong answer: an unexpected message `R`")),
        (Fault::AnswerAndClose(b"D\0\0\0\xff\0".to_vec()), Some("connection closed before the answer")),
        (
            Fault::AnswerAndReset(b"D\0\0\0\xff\0".to_vec()),
            Some("connection lost before the answer: Connection reset by peer (os error 104)"),
        ),
        (Fault::Drip([b"D\0\0\0\xff".as_slice(), &[0; 100]].concat()), Some("timeout")),
        (Fault::Stall, Some("timeout")),
    ] {
        let name = format!("{fault:?}");
        let decide = move |request: &[u8]| if request[0] == b'Q' { fault.clone() } else { says(LET_IN) };
        let endpoint = crate::services::fixtures::faulty_by(std::sync::Arc::new(decide));
        let spec = LoadSpec { timeout_s: 0.5, ..spec(2) };
        let driven = drive(&PostgresSmoke, endpoint, spec, json!({})).expect(&name);
        assert_eq!(driven.errors(), expect.into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(driven.requests.len(), 2);
        assert!(!driven.report.interrupted, "{name}");
    }
}

#[test]
fn preparing_ends_though_a_server_stops_answering() {
    const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    for (stalls_at, expect) in
        [("CREATE SCHEMA", "making the tables"), ("pg_tables", "listing the tables"), ("CHECKPOINT", "CHECKPOINT")]
    {
        let decide = move |request: &[u8]| match String::from_utf8_lossy(request) {
            text if text.contains(stalls_at) => Fault::Stall,
            _ if request[0] == b'Q' => says(b"C\0\0\0\x07OK\0Z\0\0\0\x05I"),
            _ => says(LET_IN),
        };
        let endpoint = crate::services::fixtures::faulty_by(std::sync::Arc::new(decide));
        let login = Login::from_settings(&endpoint, &Value::Null, &Value::Null);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // Long enough for the answers that come.
        let ended = runtime.block_on(async {
            let create = run_schema::create(&login, "SELECT", Duration::from_secs(2));
            tokio::time::timeout(Duration::from_secs(30), create).await
        });
        let reason = ended.expect("it ends by itself").expect_err("no answer came");
        assert!(reason.contains(expect), "{reason}");
    }
}

#[test]
fn settings_become_a_configuration() {
    let settings = json!({
        "password": "${PGPASSWORD}", "db_name": "other", "user": "me",
        "tuning": { "shared_buffers": "256MB", "synchronous_commit": false },
    });
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 7000, scratch: "/s".as_ref(), command: None };
    let launch = Postgres.launch(&request).expect("a launch");
    assert_eq!(
        launch.args.join(" "),
        "-D /s/data -c listen_addresses=127.0.0.1 -c port=7000 -c unix_socket_directories= -c \
         hba_file=/s/pg_hba.conf -c max_connections=500 -c shared_buffers=256MB -c synchronous_commit=off"
    );
    assert_eq!(launch.files[1].1, "${PGPASSWORD}\n", "filled in where it is written, and nowhere else");
    let all = format!("{:?} {:?}", launch.args, launch.before);
    assert!(!all.contains("PGPASSWORD") && launch.refuses_root, "{all}");
    assert_eq!(launch.before[1].input, "CREATE DATABASE \"other\"\n");
    assert_eq!(launch.files[0].1, "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n");
    let wide = LaunchRequest { host: "0.0.0.0", ..request.clone() };
    assert_eq!(Postgres.launch(&wide).expect("a launch").files[0].1, "host all all all scram-sha-256\n");
    let trusting = json!({ "auth": "trust" });
    let err = Postgres.launch(&LaunchRequest { settings: &trusting, ..wide }).expect_err("refused");
    assert!(err.to_string().contains("everybody"), "{err}");
    assert!(Postgres.launch(&LaunchRequest { settings: &trusting, ..request }).is_ok());
}
