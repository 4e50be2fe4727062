//! Requests to an S3 store, signed by version 4 of AWS' signatures in the query of their URL.
//!
//! A signature covers method, path, query and host, not the body: that is what the ETag of the answer is compared for.

use std::time::Duration;

use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{
        AbortMultipartUpload, CompleteMultipartUpload, CreateBucket, CreateMultipartUpload, DeleteBucket, DeleteObject,
        DeleteObjects, GetObject, ListObjectsV2, ObjectIdentifier, PutObject, UploadPart,
    },
};

use super::MinioSettings;
use crate::{load::Endpoint, services::http::Http};

/// How long a signature holds.
const VALID: Duration = Duration::from_secs(3600);
/// Longest wait for one answer outside the load.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest body of an answer outside the load.
const LONGEST: usize = 16 << 20;
/// Characters of a server's message that are kept.
const MESSAGE: usize = 200;

/// Signs requests about one bucket. Every result is method and target of a request line.
#[derive(Clone, Debug)]
pub struct Signer {
    bucket: Bucket,
    credentials: Credentials,
    /// The value of `Host` that the signature covers.
    pub host: String,
}

impl Signer {
    pub fn new(endpoint: &Endpoint, settings: &MinioSettings, bucket: &str) -> Result<Self, String> {
        let (Some(user), Some(password)) = (&settings.root_user, &settings.root_password) else {
            return Err("its keys are not known: give `service.settings.root_user` and `root_password`".into());
        };
        let url = format!("http://{endpoint}").parse().map_err(|err| format!("{endpoint} is no address: {err}"))?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), settings.region.clone())
            .map_err(|err| format!("the bucket `{bucket}`: {err}"))?;
        let url = bucket.base_url();
        let name = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        Ok(Self { bucket, credentials: Credentials::new(user, password), host })
    }

    fn target<'a, A: S3Action<'a>>(&self, method: &str, action: &A) -> String {
        let url = action.sign(VALID);
        format!("{method} {}?{}", url.path(), url.query().unwrap_or_default())
    }

    pub fn put(&self, key: &str) -> String {
        self.target("PUT", &PutObject::new(&self.bucket, Some(&self.credentials), key))
    }

    pub fn get(&self, key: &str) -> String {
        self.target("GET", &GetObject::new(&self.bucket, Some(&self.credentials), key))
    }

    pub fn delete(&self, key: &str) -> String {
        self.target("DELETE", &DeleteObject::new(&self.bucket, Some(&self.credentials), key))
    }

    /// The first page of the keys with that prefix, or the page behind a key.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> String {
        let mut action = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
        action.with_prefix(prefix);
        if let Some(after) = after {
            action.with_start_after(after);
        }
        self.target("GET", &action)
    }

    pub fn create_multipart(&self, key: &str) -> String {
        self.target("POST", &CreateMultipartUpload::new(&self.bucket, Some(&self.credentials), key))
    }

    /// Parts count from 1.
    pub fn upload_part(&self, key: &str, number: u16, upload: &str) -> String {
        self.target("PUT", &UploadPart::new(&self.bucket, Some(&self.credentials), key, number, upload))
    }

    /// Target and body.
    pub fn complete_multipart(&self, key: &str, upload: &str, etags: &[String]) -> (String, String) {
        let etags = etags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(&self.bucket, Some(&self.credentials), key, upload, etags);
        (self.target("POST", &action), action.body())
    }

    pub fn abort_multipart(&self, key: &str, upload: &str) -> String {
        self.target("DELETE", &AbortMultipartUpload::new(&self.bucket, Some(&self.credentials), key, upload))
    }

    pub fn create_bucket(&self) -> String {
        self.target("PUT", &CreateBucket::new(&self.bucket, &self.credentials))
    }

    pub fn delete_bucket(&self) -> String {
        self.target("DELETE", &DeleteBucket::new(&self.bucket, &self.credentials))
    }

    /// Target, its header line and its body.
    pub fn delete_all(&self, keys: Vec<String>) -> (String, String, String) {
        let keys: Vec<ObjectIdentifier> = keys.into_iter().map(ObjectIdentifier::new).collect();
        let mut action = DeleteObjects::new(&self.bucket, Some(&self.credentials), keys.iter());
        action.set_quiet(true);
        let target = self.target("POST", &action);
        let (body, md5) = action.body_with_md5();
        (target, format!("Content-MD5: {md5}\r\n"), body)
    }
}

/// A request outside the load, over a connection of its own: status and body.
pub async fn ask(endpoint: &Endpoint, signer: &Signer, target: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
    ask_with(endpoint, signer, target, "", body).await
}

/// [`ask`] with header lines.
pub async fn ask_with(
    endpoint: &Endpoint,
    signer: &Signer,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Result<(u16, Vec<u8>), String> {
    let asking = async {
        let mut http = Http::connect(endpoint).await.map_err(|err| format!("cannot connect to {endpoint}: {err}"))?;
        http.send(&[&head(signer, target, headers, body.len()), body].concat()).await?;
        let (head, mut answer) = (http.head().await?, Vec::new());
        while !http.body(&mut answer).await?.done {
            if answer.len() > LONGEST {
                return Err(format!("wrong answer: more than {LONGEST} bytes"));
            }
        }
        Ok((head.status, answer))
    };
    tokio::time::timeout(PATIENCE, asking).await.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
}

/// A request up to its body.
pub fn head(signer: &Signer, target: &str, headers: &str, length: usize) -> Vec<u8> {
    let host = &signer.host;
    format!("{target} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n").into_bytes()
}

/// What a store says of an error, in one short line: its code and its message.
pub fn message(body: &[u8]) -> String {
    let text = match (between(body, "<Code>", "</Code>"), between(body, "<Message>", "</Message>")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}

/// The text between two others.
pub fn between(body: &[u8], before: &str, after: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let begin = text.find(before)? + before.len();
    let length = text[begin..].find(after)?;
    Some(text[begin..begin + length].to_owned())
}
