//! One connection of `minio_stress`: sends a request, and compares the answer with what is known of it.

use std::{sync::PoisonError, time::Instant};

use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};

use super::{
    ledger::OwnWrites,
    objects::Contents,
    plan::{Object, Request},
    signed,
    stress::ObjectLoad,
};
use crate::{
    load::{Client, Connection, Exchange, Outcome, content_mix, one_by_one},
    services::http::{Head, Http},
};

/// Keys of one page of a listing.
const PAGE: u64 = 1000;
/// Longest body of an answer that is no object.
const LONGEST_ANSWER: usize = 16 << 20;

pub struct ObjectClient {
    load: ObjectLoad,
    http: Http,
    answer: Vec<u8>,
    writes: OwnWrites,
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
        one_by_one(batch, async |exchange| {
            let request = self.load.plan.request(exchange.place);
            self.writes.begin(request);
            let asked = self.ask(exchange, request).await;
            self.writes.end(exchange.outcome == Outcome::Ok);
            asked
        })
        .await
    }
}

impl ObjectClient {
    pub fn new(load: ObjectLoad, http: Http) -> Self {
        let writes = load.ledger.of_client();
        Self { load, http, answer: Vec::new(), writes }
    }

    pub async fn ask(&mut self, exchange: &mut Exchange, request: Request) -> Result<Connection, String> {
        self.http.revive(&self.load.endpoint).await?;
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
        load.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(begun.clone());
        self.reopen(created.close).await?;
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
