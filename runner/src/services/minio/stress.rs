//! The `minio_stress` workload: PUT, GET, LIST and DELETE of objects, every answer checked.
//!
//! A key is `<token>/<kind><owner>-<number>`: a token of this run, `s` for phased, `p` for pooled, `n` for new and `w`
//! for warm-up objects, the owner in five and the number in ten hexadecimal digits. Owners are connections in closed
//! loop; in open loop every object belongs to owner 0.
//!
//! Of a mix, GET and LIST go to pooled objects, which are there before the load. PUT writes one of 64 new objects, and
//! DELETE removes one that was put and is still there: which, a walk through the requests of the same block of 64
//! tells, so it is a function of the place. Where there is none, the request is a PUT.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Error, Result, ensure};
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use serde::Deserialize;

use super::{
    MinioSettings, MinioStressSettings, Operation,
    objects::Contents,
    signed::{self, Signer},
};
use crate::{
    load::{
        Arrival, Client, Connection, Draw, Endpoint, Exchange, LoadJob, Outcome, Place, Workload, content_mix, mix,
    },
    services::{
        http::{Head, Http},
        vectors::token,
    },
};

const OPERATIONS: &[&str] = &["PUT", "GET", "LIST", "DELETE"];
const DRAW_OPERATION: u64 = 0x6f62_6a65;

/// Requests of one block, and new objects of one owner.
const BLOCK: u64 = 64;
/// Warm-up objects of one owner in front of phases.
const WARMUP_OBJECTS: u64 = 16;
/// Keys of one page of a listing.
const PAGE: u64 = 1000;
/// Longest body of an answer that is no object.
const LONGEST_ANSWER: usize = 16 << 20;
const MOST_OWNERS: u32 = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// So many requests in each of these phases.
    Phases { objects: u64, phases: Vec<Operation> },
    /// Each request is drawn: upper ends of the parts of PUT, GET, LIST and DELETE in 0–1. So many pooled objects.
    Mix { ends: [f64; 4], objects: u64 },
}

/// An object without the run's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Object {
    kind: u8,
    owner: u32,
    number: u64,
}

impl Object {
    fn name(self) -> String {
        format!("{}-{:010x}", Self::prefix(self.kind, self.owner), self.number)
    }

    /// What the names of all objects of that kind and owner begin with.
    fn prefix(kind: u8, owner: u32) -> String {
        format!("{}{owner:05x}", char::from(kind))
    }

    /// A number that no other object has.
    fn identity(self) -> u64 {
        mix(u64::from(self.kind) << 56 ^ u64::from(self.owner) << 32 ^ mix(self.number))
    }
}

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Put(Object),
    Get(Object),
    Delete(Object),
    /// The first page of this owner's objects, of which there are so many.
    List {
        kind: u8,
        owner: u32,
        objects: u64,
    },
}

impl Request {
    fn operation(self) -> Operation {
        match self {
            Self::Put(_) => Operation::Put,
            Self::Get(_) => Operation::Get,
            Self::List { .. } => Operation::List,
            Self::Delete(_) => Operation::Delete,
        }
    }
}

#[derive(Clone)]
pub struct ObjectLoad {
    endpoint: Endpoint,
    seed: u64,
    mode: Mode,
    owners: u32,
    contents: Contents,
    signer: Signer,
    create_bucket: bool,
    /// What every key begins with.
    folder: String,
    /// Multipart uploads that were begun and, as far as is known, not completed: key and upload id.
    unfinished: Arc<Mutex<Vec<(String, String)>>>,
}

/// What no single setting can tell.
pub fn check(settings: &MinioStressSettings) -> Result<()> {
    let connections = u64::from(settings.concurrent_requests.max(1));
    ensure!(
        settings.num_objects.is_multiple_of(connections),
        "{connections} connections cannot share the {} of `num_objects` evenly: make it a multiple of {connections}",
        settings.num_objects
    );
    let phases = &settings.phases;
    ensure!(phases.first() == Some(&Operation::Put), "the first of `phases` must be `put`: it makes the objects");
    let early = phases.iter().position(|phase| *phase == Operation::Delete).filter(|at| at + 1 < phases.len());
    ensure!(early.is_none(), "`delete` must be the last of `phases`: nothing is left after it");
    if let Some(part) = settings.multipart_part_size_bytes {
        let parts = settings.object_size_bytes.div_ceil(part);
        ensure!(parts <= 10_000, "an object has at most 10000 parts, not {parts}: make the parts larger");
    }
    if let Some(mix) = &settings.operation_mix {
        shares(mix)?;
    }
    Ok(())
}

/// Upper ends of the parts of PUT, GET, LIST and DELETE.
fn shares(mix: &str) -> Result<[f64; 4]> {
    let shares: Vec<f64> = mix.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let total: f64 = shares.iter().sum();
    ensure!(
        shares.len() <= 4 && total > 0.0 && shares.iter().all(|share| *share >= 0.0),
        "operation_mix must be the shares of PUT, GET, LIST and DELETE, such as `50:50`, not `{mix}`"
    );
    ensure!(
        shares.get(3).is_none_or(|delete| *delete <= shares[0]),
        "operation_mix: more DELETEs than PUTs would find nothing to delete in `{mix}`"
    );
    let mut sum = 0.0;
    Ok(std::array::from_fn(|place| {
        sum += shares.get(place).unwrap_or(&0.0);
        sum / total
    }))
}

impl ObjectLoad {
    pub fn new(job: &LoadJob, settings: &MinioStressSettings) -> Result<Self> {
        check(settings)?;
        let spec = &job.spec;
        let closed = matches!(spec.arrival, Arrival::Closed { .. });
        let owners = if closed { spec.clients } else { 1 };
        ensure!(owners <= MOST_OWNERS, "minio_stress can tell {MOST_OWNERS} connections apart, not {owners}");
        let share = settings.num_objects / u64::from(settings.concurrent_requests.max(1));
        let pooled = share * u64::from(spec.clients / owners);
        let mode = match (&settings.operation_mix, spec.stop.duration_s) {
            (Some(mix), _) => Mode::Mix { ends: shares(mix)?, objects: pooled },
            (None, None) if closed => Mode::Phases { objects: share, phases: settings.phases.clone() },
            // A schedule does not wait for the phase before, and time would cut the phases anywhere.
            (None, _) => Mode::Mix { ends: shares("50:50")?, objects: pooled },
        };
        let service = MinioSettings::deserialize(&job.service_settings)?;
        let token = token();
        let bucket =
            if settings.create_bucket { format!("{}-{token}", settings.bucket) } else { settings.bucket.clone() };
        Ok(Self {
            endpoint: job.endpoint.clone(),
            seed: spec.seed,
            mode,
            owners,
            contents: Contents::new(spec.seed, settings.object_size_bytes, settings.multipart_part_size_bytes),
            signer: Signer::new(&job.endpoint, &service, &bucket).map_err(Error::msg)?,
            create_bucket: settings.create_bucket,
            folder: format!("{token}/"),
            unfinished: Arc::default(),
        })
    }

    /// What a request is: a function of the seed and its place.
    fn plan(&self, place: Place) -> Request {
        let Place { sequence: owner, index, warmup } = place;
        match &self.mode {
            Mode::Phases { .. } if warmup => {
                let object = Object { kind: b'w', owner, number: index / 2 % WARMUP_OBJECTS };
                if index.is_multiple_of(2) { Request::Put(object) } else { Request::Get(object) }
            }
            Mode::Phases { objects, phases } => {
                let object = Object { kind: b's', owner, number: index % objects };
                match phases[(index / objects) as usize % phases.len()] {
                    Operation::Put => Request::Put(object),
                    Operation::Get => Request::Get(object),
                    Operation::Delete => Request::Delete(object),
                    Operation::List => Request::List { kind: b's', owner, objects: *objects },
                }
            }
            Mode::Mix { ends, objects } => self.drawn(place, ends, *objects),
        }
    }

    fn drawn(&self, place: Place, ends: &[f64; 4], objects: u64) -> Request {
        let Place { sequence: owner, index, warmup } = place;
        let draw = |index: u64| {
            let mut draw = Draw::new(&[self.seed, DRAW_OPERATION, u64::from(owner), index, u64::from(warmup)]);
            let part = draw.uniform();
            (ends.iter().position(|end| part < *end).unwrap_or(0), draw)
        };
        let kind = if warmup { b'w' } else { b'n' };
        let new = |index: u64| Object { kind, owner, number: index % BLOCK };
        let (operation, mut own) = draw(index);
        match operation {
            1 => Request::Get(Object { kind: b'p', owner, number: own.below(objects) }),
            2 => Request::List { kind: b'p', owner, objects },
            0 => Request::Put(new(index)),
            _ => {
                let mut there: Vec<u64> = Vec::new();
                for before in index - index % BLOCK..index {
                    match draw(before).0 {
                        0 => there.push(before),
                        3 if there.pop().is_none() => there.push(before),
                        _ => {}
                    }
                }
                there.pop().map_or(Request::Put(new(index)), |put| Request::Delete(new(put)))
            }
        }
    }

    fn key(&self, object: Object) -> String {
        format!("{}{}", self.folder, object.name())
    }

    async fn ask(&self, target: &str, headers: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        match signed::ask_with(&self.endpoint, &self.signer, target, headers, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => Err(format!("status {status}: {}", signed::message(&answer))),
        }
    }

    async fn remove_objects(&self) -> Result<(), String> {
        let unfinished = std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, upload) in unfinished {
            // One that was completed after all, or never begun, is not there.
            let _ = self.ask(&self.signer.abort_multipart(&key, &upload), "", b"").await;
        }
        loop {
            let page = self.ask(&self.signer.list(&self.folder, None), "", b"").await?;
            let page = ListObjectsV2::parse_response(&page).map_err(|err| format!("a listing that is none: {err}"))?;
            if page.contents.is_empty() {
                return Ok(());
            }
            let keys = page.contents.into_iter().map(|object| object.key).collect();
            let (target, headers, body) = self.signer.delete_all(keys);
            let answer = self.ask(&target, &headers, body.as_bytes()).await?;
            if let Some(code) = signed::between(&answer, "<Code>", "</Code>") {
                return Err(format!("objects cannot be deleted: {code}"));
            }
        }
    }
}

impl Workload for ObjectLoad {
    type Client = ObjectClient;

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn operation(&self, place: Place) -> u8 {
        self.plan(place).operation() as u8
    }

    /// Creates the bucket and writes the pooled objects.
    async fn prepare(&mut self) -> Result<(), String> {
        if self.create_bucket {
            self.ask(&self.signer.create_bucket(), "", b"").await?;
        }
        let Mode::Mix { objects, .. } = self.mode else { return Ok(()) };
        let mut client = self.connect(0).await?;
        for owner in 0..self.owners {
            for number in 0..objects {
                let object = Object { kind: b'p', owner, number };
                let mut exchange = Exchange::default();
                let connection = client.ask(&mut exchange, Request::Put(object)).await?;
                if let Outcome::Failed(reason) = exchange.outcome {
                    return Err(reason.into_owned());
                }
                if connection == Connection::Broken {
                    client = self.connect(0).await?;
                }
            }
        }
        Ok(())
    }

    async fn connect(&self, _client: u32) -> Result<ObjectClient, String> {
        let http = Http::connect(&self.endpoint).await?;
        Ok(ObjectClient { load: self.clone(), http, answer: Vec::new() })
    }

    async fn clean_up(&self) -> Result<(), String> {
        self.remove_objects().await?;
        if self.create_bucket {
            self.ask(&self.signer.delete_bucket(), "", b"").await?;
        }
        Ok(())
    }
}

pub struct ObjectClient {
    load: ObjectLoad,
    http: Http,
    answer: Vec<u8>,
}

/// The end of one HTTP answer.
struct Answered {
    status: u16,
    close: bool,
    etag: Option<String>,
    at: Instant,
}

impl Client for ObjectClient {
    async fn send(&mut self, batch: &mut [Exchange]) -> Connection {
        let mut connection = Connection::Reusable;
        for exchange in batch {
            let request = self.load.plan(exchange.place);
            connection = match self.ask(exchange, request).await {
                Ok(connection) => connection,
                Err(reason) => {
                    exchange.fail(Instant::now(), reason);
                    return Connection::Broken;
                }
            };
        }
        connection
    }
}

impl ObjectClient {
    async fn ask(&mut self, exchange: &mut Exchange, request: Request) -> Result<Connection, String> {
        if !self.http.is_idle() {
            // Closed by the server between two requests. Nothing was sent, so this is no retry.
            self.http = Http::connect(&self.load.endpoint).await.map_err(|err| format!("cannot connect: {err}"))?;
        }
        let load = self.load.clone();
        let operation = request.operation() as u64;
        match request {
            Request::Put(object) => {
                let end = load.contents.end_of(object.identity());
                let content = content_mix(object.name().as_bytes(), operation ^ load.contents.size() as u64);
                exchange.content = Some(content_mix(&end, content));
                exchange.bytes_sent = load.contents.size() as u64;
                if load.contents.part_size.is_some() {
                    return self.put_parts(exchange, &load, object, &end).await;
                }
                let etag = load.contents.etag(&end);
                let head = signed::head(&load.signer, &load.signer.put(&load.key(object)), "", load.contents.size());
                exchange.start = Some(Instant::now());
                let answered = self.call(&[&head, &load.contents.shared, &end]).await?;
                Ok(self.finish(exchange, &answered, |answered| right_etag(answered, &etag)))
            }
            Request::Get(object) => {
                exchange.content = Some(content_mix(object.name().as_bytes(), operation));
                let end = load.contents.end_of(object.identity());
                let head = signed::head(&load.signer, &load.signer.get(&load.key(object)), "", 0);
                self.get(exchange, &load.contents, &end, &head).await
            }
            Request::Delete(object) => {
                exchange.content = Some(content_mix(object.name().as_bytes(), operation));
                let head = signed::head(&load.signer, &load.signer.delete(&load.key(object)), "", 0);
                exchange.start = Some(Instant::now());
                let answered = self.call(&[&head]).await?;
                Ok(self.finish(exchange, &answered, |_| Ok(())))
            }
            Request::List { kind, owner, objects } => {
                let prefix = Object::prefix(kind, owner);
                exchange.content = Some(content_mix(prefix.as_bytes(), operation));
                let prefix = format!("{}{prefix}-", load.folder);
                let head = signed::head(&load.signer, &load.signer.list(&prefix, None), "", 0);
                exchange.start = Some(Instant::now());
                let answered = self.call(&[&head]).await?;
                exchange.bytes_received = self.answer.len() as u64;
                let listed = if (200..300).contains(&answered.status) {
                    check_listing(&self.answer, &load, kind, owner, objects)
                } else {
                    Ok(())
                };
                Ok(self.finish(exchange, &answered, |_| listed))
            }
        }
    }

    /// Sets the outcome of an exchange whose last answer has come.
    fn finish(
        &self,
        exchange: &mut Exchange,
        answered: &Answered,
        judge: impl FnOnce(&Answered) -> Result<(), String>,
    ) -> Connection {
        exchange.http_status = Some(answered.status);
        exchange.end = Some(answered.at);
        let verdict = match answered.status {
            200..=299 => judge(answered),
            status => Err(format!("status {status}: {}", signed::message(&self.answer))),
        };
        exchange.outcome = verdict.map_or_else(|reason| Outcome::Failed(reason.into()), |()| Outcome::Ok);
        if answered.close { Connection::Broken } else { Connection::Reusable }
    }

    /// Sends the pieces and reads the head of the answer with its ETag.
    async fn send_pieces(&mut self, pieces: &[&[u8]]) -> Result<(Head, Option<String>), String> {
        let mut sent = Ok(());
        // A head and a short body in one packet.
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= 64 << 10 {
            sent = self.http.send(&pieces.concat()).await;
        } else {
            for piece in pieces {
                if sent.is_ok() {
                    sent = self.http.send(piece).await;
                }
            }
        }
        let mut etag = None;
        let head = self.http.head_with(|name, value| {
            if name.eq_ignore_ascii_case("etag") {
                etag = Some(String::from_utf8_lossy(value).trim().trim_matches('"').to_owned());
            }
        });
        match (sent, head.await) {
            (Ok(()), head) => Ok((head?, etag)),
            // A store that refuses a body may answer and close before it has read it.
            (Err(_), Ok(head)) => Ok((Head { close: true, ..head }, etag)),
            (Err(reason), Err(_)) => Err(reason),
        }
    }

    /// One request and its whole answer, whose body goes to `answer`.
    async fn call(&mut self, pieces: &[&[u8]]) -> Result<Answered, String> {
        let (head, etag) = self.send_pieces(pieces).await?;
        self.answer.clear();
        loop {
            let arrived = self.http.body(&mut self.answer).await?;
            if arrived.done {
                return Ok(Answered { status: head.status, close: head.close, etag, at: arrived.at });
            }
            if self.answer.len() > LONGEST_ANSWER {
                return Err(format!("wrong answer: more than {LONGEST_ANSWER} bytes"));
            }
        }
    }

    async fn get(
        &mut self,
        exchange: &mut Exchange,
        contents: &Contents,
        end: &[u8],
        head: &[u8],
    ) -> Result<Connection, String> {
        exchange.start = Some(Instant::now());
        let (head, etag) = self.send_pieces(&[head]).await?;
        let (mut offset, mut right) = (0, true);
        let is_object = head.status == 200;
        self.answer.clear();
        loop {
            let arrived = self.http.body(&mut self.answer).await?;
            if !self.answer.is_empty() {
                exchange.first_byte.get_or_insert(arrived.at);
            }
            if is_object {
                right = right && contents.matches(end, offset, &self.answer);
                offset += self.answer.len();
                exchange.bytes_received = offset as u64;
                self.answer.clear();
            }
            if arrived.done {
                let answered = Answered { status: head.status, close: head.close, etag, at: arrived.at };
                let verdict = match (is_object, right && offset <= contents.size(), offset == contents.size()) {
                    (false, ..) => Err("wrong answer: a success that is no object".into()),
                    (_, false, _) => Err("wrong answer: another content than was put".into()),
                    (_, _, false) => Err("wrong answer: an object of another length".into()),
                    _ => Ok(()),
                };
                return Ok(self.finish(exchange, &answered, |_| verdict));
            }
            if self.answer.len() > LONGEST_ANSWER {
                return Err(format!("wrong answer: more than {LONGEST_ANSWER} bytes"));
            }
        }
    }

    /// Between the parts of one request: connects anew when the store has closed the connection after its answer.
    async fn reopen(&mut self, closed: bool) -> Result<(), String> {
        if closed {
            self.http = Http::connect(&self.load.endpoint).await.map_err(|err| format!("cannot connect: {err}"))?;
        }
        Ok(())
    }

    /// An object in parts, one after the other; the time of the request is that of all of it.
    async fn put_parts(
        &mut self,
        exchange: &mut Exchange,
        load: &ObjectLoad,
        object: Object,
        end: &[u8],
    ) -> Result<Connection, String> {
        let key = load.key(object);
        let whole = load.contents.etag(end);
        let parts: Vec<([&[u8]; 2], String)> = load.contents.parts(end).collect();
        let head = signed::head(&load.signer, &load.signer.create_multipart(&key), "", 0);
        exchange.start = Some(Instant::now());
        let created = self.call(&[&head]).await?;
        if !(200..300).contains(&created.status) {
            return Ok(self.finish(exchange, &created, |_| Ok(())));
        }
        let upload = CreateMultipartUpload::parse_response(&self.answer)
            .map_err(|err| format!("wrong answer: not that of a begun upload: {err}"))?;
        let upload = upload.upload_id().to_owned();
        let begun = (key.clone(), upload.clone());
        self.reopen(created.close).await?;
        load.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(begun.clone());
        let mut etags = Vec::with_capacity(parts.len());
        for (number, (pieces, etag)) in (1..).zip(parts) {
            let target = load.signer.upload_part(&key, number, &upload);
            let head = signed::head(&load.signer, &target, "", pieces.iter().map(|piece| piece.len()).sum());
            let part = self.call(&[&head, pieces[0], pieces[1]]).await?;
            let verdict = right_etag(&part, &etag);
            if !(200..300).contains(&part.status) || verdict.is_err() {
                return Ok(self.finish(exchange, &part, |_| verdict));
            }
            etags.push(part.etag.unwrap_or(etag));
            self.reopen(part.close).await?;
        }
        let (target, body) = load.signer.complete_multipart(&key, &upload, &etags);
        let head = signed::head(&load.signer, &target, "", body.len());
        let completed = self.call(&[&head, body.as_bytes()]).await?;
        // S3 may answer 200 and say only then that it failed.
        let found = signed::between(&self.answer, "<ETag>", "</ETag>");
        let verdict = match found.map(|etag| etag.replace("&quot;", "").replace("&#34;", "").replace('"', "")) {
            None => Err(format!("wrong answer: {}", signed::message(&self.answer))),
            Some(etag) => right_etag(&Answered { etag: Some(etag), ..completed }, &whole),
        };
        let connection = self.finish(exchange, &completed, |_| verdict);
        if exchange.outcome == Outcome::Ok {
            load.unfinished.lock().unwrap_or_else(PoisonError::into_inner).retain(|upload| *upload != begun);
        }
        Ok(connection)
    }
}

/// Whether the ETag is the MD5 that S3 defines. A store that encrypts gives something else of another form.
fn right_etag(answered: &Answered, expect: &str) -> Result<(), String> {
    let Some(etag) = &answered.etag else { return Err("wrong answer: no ETag".into()) };
    let is_md5 = |etag: &str| {
        let (md5, parts) = etag.split_once('-').unwrap_or((etag, ""));
        md5.len() == 32
            && md5.bytes().all(|digit| digit.is_ascii_hexdigit())
            && parts.bytes().all(|c| c.is_ascii_digit())
    };
    match etag.eq_ignore_ascii_case(expect) || !is_md5(etag) {
        true => Ok(()),
        false => Err("wrong answer: the ETag of another content".into()),
    }
}

fn check_listing(body: &[u8], load: &ObjectLoad, kind: u8, owner: u32, objects: u64) -> Result<(), String> {
    let page = ListObjectsV2::parse_response(body).map_err(|err| format!("wrong answer: no listing: {err}"))?;
    if page.contents.len() as u64 != objects.min(PAGE) {
        return Err("wrong answer: a listing of another number of objects".into());
    }
    for (number, listed) in page.contents.iter().enumerate() {
        if listed.key != load.key(Object { kind, owner, number: number as u64 }) {
            return Err("wrong answer: a listing of other objects".into());
        }
        if listed.size != load.contents.size() as u64 {
            return Err("wrong answer: a listing with another length".into());
        }
    }
    Ok(())
}
