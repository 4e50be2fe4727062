//! Where the nodes of a client job meet, and whose clock they go by: a socket of the service's agent.
//!
//! Files are too slow for a common start, and a node's clock cannot be asked through them. Lines of text, tab between
//! words: `hello SECRET NUMBER HOST`, then `clock`, `meet PLACE NOTICE_NS`, `stop LOAD REASON`, `bye`; back come `clock NS`,
//! `go PLACE NS`, `stop LOAD REASON` and, when a node has left without a word, `gone REASON`. Times are nanoseconds
//! since 1970 by the clock of the service's node. Nothing is sent while the load runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Layout, read_json, write_json};
use crate::load::{Control, Meeting, Moment};

/// Questions for the time, of which the one with the shortest way counts.
const CLOCK_QUESTIONS: usize = 32;
/// How long an answer to such a question, or a connection, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often somebody who waits looks whether it is still worth it.
const LOOK: Duration = Duration::from_millis(20);

/// `service/rendezvous.json`. The secret keeps strangers on the network out.
#[derive(Serialize, Deserialize)]
struct Place {
    host: String,
    port: u16,
    secret: String,
}

fn file(layout: &Layout) -> std::path::PathBuf {
    layout.service().join("rendezvous.json")
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What those who have come share.
#[derive(Default)]
struct Present {
    /// By number.
    lines: BTreeMap<u32, TcpStream>,
    /// Who has come to a place that not all have reached.
    places: BTreeMap<String, BTreeSet<u32>>,
    gone: Option<String>,
}

impl Present {
    fn tell(&mut self, but: Option<u32>, text: &str) {
        for (number, line) in &mut self.lines {
            if Some(*number) != but {
                // Whoever does not listen any more is noticed by its own thread.
                let _ = line.write_all(text.as_bytes());
            }
        }
    }
}

/// Opens the meeting of `nodes` client nodes at the address `host` of this one. It lasts as long as this process.
pub fn open(layout: &Layout, host: &str, nodes: u32, secret: String) -> Result<()> {
    let listener = TcpListener::bind((host, 0)).with_context(|| format!("cannot listen on {host}"))?;
    let place = Place { host: host.to_owned(), port: listener.local_addr()?.port(), secret };
    write_json(&file(layout), &place)?;
    let present = Arc::new(Mutex::new(Present::default()));
    thread::spawn(move || {
        for line in listener.incoming().flatten() {
            let (present, secret) = (present.clone(), place.secret.clone());
            thread::spawn(move || {
                // A line that breaks is told to the others; there is nobody else to tell.
                let _ = attend(line, &present, nodes, &secret);
            });
        }
    });
    Ok(())
}

/// Answers one node until it leaves.
fn attend(line: TcpStream, present: &Mutex<Present>, nodes: u32, secret: &str) -> Result<()> {
    line.set_nodelay(true)?;
    line.set_write_timeout(Some(PATIENCE))?;
    line.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(line.try_clone()?).lines();
    let hello = lines.next().context("it said nothing")??;
    let ["hello", told, number, host] = hello.split('\t').collect::<Vec<_>>()[..] else { bail!("no hello") };
    ensure!(told == secret, "a stranger");
    let number: u32 = number.parse()?;
    let host = host.to_owned();
    line.set_read_timeout(None)?;
    {
        let mut present = held(present);
        present.lines.insert(number, line.try_clone()?);
        if let Some(gone) = &present.gone {
            (&line).write_all(format!("gone\t{gone}\n").as_bytes())?;
        }
    }
    let mut said_bye = false;
    for text in lines {
        let Ok(text) = text else { break };
        match text.split('\t').collect::<Vec<_>>()[..] {
            // One at a time writes to a line, and its owner waits for the answer.
            ["clock"] => {
                let _alone = held(present);
                (&line).write_all(format!("clock\t{}\n", now_ns()).as_bytes())?;
            }
            ["meet", place, notice] => {
                let notice: i64 = notice.parse()?;
                let mut present = held(present);
                let come = present.places.entry(place.to_owned()).or_default();
                come.insert(number);
                if come.len() as u32 >= nodes {
                    present.places.remove(place);
                    present.tell(None, &format!("go\t{place}\t{}\n", now_ns() + notice));
                }
            }
            ["stop", load, reason] => held(present).tell(Some(number), &format!("stop\t{load}\t{host}: {reason}\n")),
            ["bye"] => {
                said_bye = true;
                break;
            }
            _ => break,
        }
    }
    let mut present = held(present);
    present.lines.remove(&number);
    if !said_bye {
        let reason = format!("the client's node {host} has left");
        present.tell(None, &format!("gone\t{reason}\n"));
        present.gone = Some(reason);
    }
    Ok(())
}

/// The clock of the service's node, as this node knows it.
#[derive(Clone, Copy, Debug)]
pub struct SharedClock {
    /// A moment by this node's clock that never goes back, and by the shared one.
    instant: Instant,
    shared_ns: i64,
    /// The shared clock − this node's clock.
    pub offset_s: f64,
    /// Half of the way there and back.
    pub error_s: f64,
}

impl SharedClock {
    fn instant_of(&self, shared_ns: i64) -> Instant {
        let ahead = shared_ns - self.shared_ns;
        let by = Duration::from_nanos(ahead.unsigned_abs());
        if ahead >= 0 { self.instant + by } else { self.instant.checked_sub(by).unwrap_or(self.instant) }
    }
}

/// A node's line to the others.
#[derive(Debug)]
pub struct Line {
    out: Mutex<TcpStream>,
    told: Mutex<mpsc::Receiver<Told>>,
    /// Why a load is to end, by its name.
    stopped: Arc<Mutex<BTreeMap<String, String>>>,
    gone: Arc<Mutex<Option<String>>>,
    clock: Mutex<Option<SharedClock>>,
    secret: String,
}

#[derive(Debug)]
enum Told {
    Clock(Instant, i64),
    Go(String, i64),
}

impl Line {
    /// Calls the service's agent, which is ready.
    pub fn call(layout: &Layout, number: u32, host: &str) -> Result<Self> {
        let place: Place = read_json(&file(layout))?;
        let name = format!("the service's node at {}:{}", place.host, place.port);
        let line = TcpStream::connect((place.host.as_str(), place.port));
        let mut line = line.with_context(|| format!("cannot reach {name}"))?;
        line.set_nodelay(true)?;
        line.set_write_timeout(Some(PATIENCE))?;
        line.write_all(format!("hello\t{}\t{number}\t{host}\n", place.secret).as_bytes())?;
        let (tell, told) = mpsc::channel();
        let (stopped, gone) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(Mutex::new(None)));
        let listening = (BufReader::new(line.try_clone()?), stopped.clone(), gone.clone());
        thread::spawn(move || listen(listening.0, &tell, &listening.1, &listening.2));
        Ok(Self {
            out: Mutex::new(line),
            told: Mutex::new(told),
            stopped,
            gone,
            clock: Mutex::new(None),
            secret: place.secret,
        })
    }

    fn say(&self, text: &str) -> Result<()> {
        held(&self.out).write_all(text.as_bytes()).context("the line to the service's node is broken")
    }

    /// Asks for the time of the service's node, and keeps what it finds.
    pub fn ask_clock(&self) -> Result<SharedClock> {
        let told = held(&self.told);
        let mut best: Option<(Duration, SharedClock)> = None;
        for _ in 0..CLOCK_QUESTIONS {
            let (asked, own_ns) = (Instant::now(), now_ns());
            self.say("clock\n")?;
            let deadline = asked + PATIENCE;
            let (heard, shared_ns) = loop {
                match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(Told::Clock(heard, shared_ns)) => break (heard, shared_ns),
                    Ok(Told::Go(..)) => {}
                    Err(_) => bail!("the service's node does not tell its time"),
                }
            };
            let way = heard.saturating_duration_since(asked);
            if best.as_ref().is_none_or(|(shortest, _)| way < *shortest) {
                let half = way / 2;
                let offset_ns = shared_ns - (own_ns + half.as_nanos() as i64);
                let clock = SharedClock {
                    instant: asked + half,
                    shared_ns,
                    offset_s: offset_ns as f64 / 1e9,
                    error_s: half.as_secs_f64(),
                };
                best = Some((way, clock));
            }
        }
        let (_, clock) = best.context("no question was asked")?;
        *held(&self.clock) = Some(clock);
        Ok(clock)
    }

    /// Why the load of that name is to end, if somebody said so.
    pub fn stopped(&self, load: &str) -> Option<String> {
        held(&self.stopped).get(load).cloned().or_else(|| self.gone())
    }

    /// Why nobody need wait for all others any more.
    pub fn gone(&self) -> Option<String> {
        held(&self.gone).clone()
    }

    /// Waits for all nodes, whatever became of their loads.
    pub fn gather(&self, place: &str) -> Result<()> {
        self.meet(place, Duration::ZERO, || self.gone()).map(drop)
    }

    fn meet(&self, place: &str, notice: Duration, given_up: impl Fn() -> Option<String>) -> Result<i64> {
        let told = held(&self.told);
        if let Some(reason) = given_up() {
            bail!(reason);
        }
        self.say(&format!("meet\t{place}\t{}\n", notice.as_nanos()))?;
        loop {
            match told.recv_timeout(LOOK) {
                Ok(Told::Go(reached, shared_ns)) if reached == place => return Ok(shared_ns),
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the line to the service's node is broken"),
            }
            if let Some(reason) = given_up() {
                bail!(reason);
            }
        }
    }

    /// Leaves in order.
    pub fn leave(&self) {
        let _ = self.say("bye\n");
        let _ = held(&self.out).shutdown(Shutdown::Both);
    }
}

fn listen(
    lines: BufReader<TcpStream>,
    tell: &mpsc::Sender<Told>,
    stopped: &Mutex<BTreeMap<String, String>>,
    gone: &Mutex<Option<String>>,
) {
    for text in lines.lines() {
        let Ok(text) = text else { break };
        let heard = Instant::now();
        match text.split('\t').collect::<Vec<_>>()[..] {
            ["clock", ns] => drop(ns.parse().map(|ns| tell.send(Told::Clock(heard, ns)))),
            ["go", place, ns] => drop(ns.parse().map(|ns| tell.send(Told::Go(place.to_owned(), ns)))),
            ["stop", load, reason] => {
                held(stopped).entry(load.to_owned()).or_insert_with(|| reason.to_owned());
            }
            ["gone", reason] => {
                held(gone).get_or_insert_with(|| reason.to_owned());
            }
            _ => {}
        }
    }
    held(gone).get_or_insert_with(|| "the line to the service's node is broken".to_owned());
}

/// One load's meetings on a line.
#[derive(Debug)]
pub struct LoadMeeting {
    pub line: Arc<Line>,
    /// Its name, which no other load has.
    pub load: String,
}

impl LoadMeeting {
    /// What tells this load's data in the service from all other's.
    pub fn token(&self, length: usize) -> String {
        archive::sha256_hex(format!("{} {}", self.line.secret, self.load).as_bytes())[..length].to_owned()
    }
}

impl Meeting for LoadMeeting {
    fn meet(&self, place: &str, notice: Duration, control: &Control) -> Result<Moment> {
        let given_up = || {
            let stopped = || control.is_stopped().then(|| "stopped before the load began".to_owned());
            self.line.stopped(&self.load).or_else(stopped)
        };
        let shared_ns = self.line.meet(&format!("{} {place}", self.load), notice, given_up)?;
        let Some(clock) = *held(&self.line.clock) else { bail!("the service's node was not asked for its time") };
        Ok(Moment { instant: clock.instant_of(shared_ns), shared_ns })
    }

    fn give_up(&self, reason: &str) {
        let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        held(&self.line.stopped).entry(self.load.clone()).or_insert_with(|| reason.clone());
        if let Err(err) = self.line.say(&format!("stop\t{}\t{reason}\n", self.load)) {
            tracing::info!("{err:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u32) -> (tempfile::TempDir, Vec<Arc<Line>>) {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        std::fs::create_dir_all(layout.service()).expect("made");
        open(&layout, "127.0.0.1", count, "secret".into()).expect("open");
        let call = |number| Arc::new(Line::call(&layout, number, &format!("node{number}")).expect("there"));
        (folder, (0..count).map(call).collect())
    }

    fn meeting(line: &Arc<Line>) -> LoadMeeting {
        LoadMeeting { line: line.clone(), load: "BM-1".into() }
    }

    #[test]
    fn all_go_on_at_the_same_moment() {
        let (_folder, lines) = lines(3);
        let notice = Duration::from_millis(100);
        let before = now_ns();
        let moments: Vec<Moment> = thread::scope(|scope| {
            let go = |line: &Arc<Line>| {
                let line = line.clone();
                scope.spawn(move || {
                    let clock = line.ask_clock().expect("told");
                    // One machine has one clock: what is off lies within what is said of it.
                    assert!(clock.offset_s.abs() <= clock.error_s + 1e-6, "{clock:?}");
                    meeting(&line).meet("start", notice, &Control::default()).expect("met")
                })
            };
            let threads: Vec<_> = lines.iter().map(go).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(moments.iter().all(|moment| moment.shared_ns == moments[0].shared_ns));
        assert!(moments[0].shared_ns >= before + notice.as_nanos() as i64);
        assert_eq!(meeting(&lines[0]).token(8), meeting(&lines[2]).token(8));
    }

    #[test]
    fn nobody_waits_for_one_that_failed_or_left() {
        let (_folder, mut lines) = lines(2);
        for line in &lines {
            line.ask_clock().expect("told");
        }
        meeting(&lines[1]).give_up("the disk\tis full");
        let err = meeting(&lines[0]).meet("driven", Duration::ZERO, &Control::default()).expect_err("it failed");
        assert_eq!(err.to_string(), "node1: the disk is full");
        // Of another load it says nothing, and all can still be gathered.
        let gathered = thread::scope(|scope| {
            let other = &lines[1];
            let waiting = scope.spawn(move || other.gather("measured"));
            lines[0].gather("measured").and(waiting.join().expect("no panic"))
        });
        gathered.expect("gathered");
        let left = lines.pop().expect("two");
        held(&left.out).shutdown(Shutdown::Both).expect("shut");
        let err = lines[0].gather("measured again").expect_err("it left");
        assert!(err.to_string().contains("node1 has left"), "{err}");
    }

    #[test]
    fn strangers_are_not_heard() {
        let (folder, lines) = lines(1);
        let place: Place = read_json(&file(&Layout::new(folder.path()))).expect("there");
        let mut stranger = TcpStream::connect((place.host.as_str(), place.port)).expect("connected");
        stranger.write_all(b"hello\tguess\t0\tx\nmeet\tplace\t0\n").expect("sent");
        let mut answer = String::new();
        assert_eq!(BufReader::new(stranger).read_line(&mut answer).unwrap_or(0), 0, "{answer}");
        assert!(lines[0].gone().is_none());
    }
}
