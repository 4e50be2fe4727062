//! Files over SFTP, to and fro. What the other side has already of a file is taken for its beginning, so a transfer that broke
//! off goes on at its offset. Nothing here proves that it was the beginning: whoever asks compares digests.
//!
//! Memory does not grow with the files: some MB of requests are under way, and the rest waits.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use russh_sftp::{
    client::{Config, SftpSession, error::Error},
    protocol::{FileAttributes, OpenFlags, StatusCode},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    time::timeout,
};

use super::transport::{Stream, Trouble};

/// A file there: its path below the folder in question, and how many bytes of it are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    pub path: String,
    pub bytes: u64,
}

/// A file here, the path it gets there, and its mode there.
#[derive(Clone, Debug)]
pub struct Going {
    pub here: PathBuf,
    pub there: String,
    pub mode: u32,
}

/// How long an answer of the SFTP server may take: a slow line has some MB before it.
const ANSWER: Duration = Duration::from_secs(120);
/// Files under way at once, so that many small ones do not wait for an answer each.
const AT_ONCE: usize = 8;
/// What is smaller is fetched from its beginning: it may have been rewritten, and to find that out costs more.
const SMALL_BYTES: u64 = 1 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// Why a file was not copied.
enum Failure {
    /// The connection ended; other files fail too.
    Lost(String),
    /// The server there refuses it, and what it says.
    There(String),
    Here(io::Error),
}

/// Brings the files of `coming` that are not in `came` yet. In `came`, each has the digest of what is here, or none when the
/// server refused it. `moved` counts bytes.
pub async fn download(
    stream: Box<dyn Stream>,
    there: &str,
    coming: &[Coming],
    folder: &Path,
    came: &mut BTreeMap<String, Option<String>>,
    moved: &Cell<u64>,
) -> Result<(), Trouble> {
    let session = session(stream).await?;
    let left: Vec<&Coming> = coming.iter().filter(|file| !came.contains_key(&file.path)).collect();
    let session = &session;
    let one = async |file: &Coming| {
        let (from, to) = (format!("{there}/{}", file.path), folder.join(&file.path));
        (file.path.clone(), receive(session, &from, file.bytes, &to, moved).await)
    };
    let mut copies = stream::iter(left).map(one).buffer_unordered(AT_ONCE);
    while let Some((path, result)) = copies.next().await {
        match result {
            Ok(digest) => drop(came.insert(path, Some(digest))),
            Err(Failure::There(said)) => {
                tracing::info!("{path} cannot be fetched: {said}");
                came.insert(path, None);
            }
            Err(Failure::Lost(said)) => return Err(Trouble::Lost(said)),
            Err(Failure::Here(err)) if is_full(&err) => {
                let folder = folder.display();
                return Err(anyhow!(
                    "there is no room left for the results in {folder}: make some, then `runner resume`"
                )
                .into());
            }
            Err(Failure::Here(err)) => return Err(anyhow!("cannot write {path} in {}: {err}", folder.display()).into()),
        }
    }
    Ok(())
}

/// Copies the files behind the first `gone` ones there, in their order.
pub async fn upload(
    stream: Box<dyn Stream>,
    going: &[Going],
    gone: &mut usize,
    moved: &Cell<u64>,
) -> Result<(), Trouble> {
    let session = session(stream).await?;
    while let Some(file) = going.get(*gone) {
        match send(&session, file, moved).await {
            Ok(()) => *gone += 1,
            Err(Failure::Lost(said)) => return Err(Trouble::Lost(said)),
            Err(Failure::There(said)) => {
                let text =
                    format!("cannot write {} on the cluster: {said}; is its disk or your quota full?", file.there);
                return Err(anyhow!(text).into());
            }
            Err(Failure::Here(err)) => return Err(anyhow!("cannot read {}: {err}", file.here.display()).into()),
        }
    }
    Ok(())
}

async fn session(stream: Box<dyn Stream>) -> Result<SftpSession, Trouble> {
    let config =
        Config { request_timeout_secs: ANSWER.as_secs(), max_write_packet_len: 128 << 10, ..Config::default() };
    let session = timeout(ANSWER, SftpSession::new_with_config(stream, config)).await;
    match session {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(err)) => Err(Trouble::NoFiles(format!("the host's SFTP server does not begin: {err}"))),
        Err(_) => Err(Trouble::Lost("the host's SFTP server does not answer".to_owned())),
    }
}

/// Fetches what is lacking of `bytes` bytes; returns the digest of all of them.
async fn receive(
    session: &SftpSession,
    from: &str,
    bytes: u64,
    to: &Path,
    moved: &Cell<u64>,
) -> Result<String, Failure> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(to)?;
    let mut have = file.metadata()?.len();
    if have > bytes || bytes < SMALL_BYTES {
        have = 0;
        file.set_len(0)?;
    }
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(usize::MAX).max(1))];
    // It may have become shorter in the meantime: then it ends sooner, and its digest tells.
    let mut known = 0;
    while known < have {
        let count = file.read(&mut chunk)?;
        hash.update(&chunk[..count]);
        known += count as u64;
        have = if count == 0 { known } else { have };
    }
    if have < bytes {
        if have > 0 {
            tracing::info!("{from} goes on at byte {have} of {bytes}");
        }
        file.seek(SeekFrom::Start(have))?;
        let mut remote = session.open(from).await?;
        remote.seek(SeekFrom::Start(have)).await.map_err(remote_error)?;
        let mut left = bytes - have;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            let count = remote.read(&mut chunk[..most]).await.map_err(remote_error)?;
            if count == 0 {
                break;
            }
            file.write_all(&chunk[..count])?;
            hash.update(&chunk[..count]);
            left -= count as u64;
            moved.set(moved.get() + count as u64);
        }
        remote.shutdown().await.map_err(remote_error)?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Copies what is lacking there.
async fn send(session: &SftpSession, going: &Going, moved: &Cell<u64>) -> Result<(), Failure> {
    let mut file = File::open(&going.here)?;
    let bytes = file.metadata()?.len();
    let have = match session.metadata(&going.there).await {
        Ok(known) => known.size,
        Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => None,
        Err(err) => return Err(err.into()),
    };
    if have == Some(bytes) {
        return Ok(());
    }
    let (from, anew) = match have {
        Some(have) if have < bytes => (have, OpenFlags::empty()),
        _ => (0, OpenFlags::TRUNCATE),
    };
    if from > 0 {
        tracing::info!("{} goes on at byte {from} of {bytes}", going.there);
    }
    let attributes = FileAttributes { permissions: Some(going.mode), ..FileAttributes::empty() };
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | anew;
    let mut remote = session.open_with_flags_and_attributes(&going.there, flags, attributes).await?;
    remote.seek(SeekFrom::Start(from)).await.map_err(remote_error)?;
    file.seek(SeekFrom::Start(from))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        remote.write_all(&chunk[..count]).await.map_err(remote_error)?;
        moved.set(moved.get() + count as u64);
    }
    remote.shutdown().await.map_err(remote_error)
}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        Self::Here(err)
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        match err {
            Error::Status(status) if status.status_code == StatusCode::NoConnection => Self::Lost(status.error_message),
            Error::Status(status) if status.status_code == StatusCode::ConnectionLost => {
                Self::Lost(status.error_message)
            }
            Error::Status(_) | Error::Limited(_) => Self::There(err.to_string()),
            _ => Self::Lost(format!("the transfer broke off: {err}")),
        }
    }
}

/// The failure behind an error of a remote file: the crate's own error, or the bare words of a server that refuses.
fn remote_error(err: io::Error) -> Failure {
    let inner = err.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(own) => own.clone().into(),
        None => Failure::There(err.to_string()),
    }
}

fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
