//! What tells one run's data in a service from everybody else's.

use std::{
    fs::File,
    io::Read,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::load::{LoadJob, mix};

/// Characters of a [`token`].
pub const LENGTH: usize = 8;

/// The token of a load: that of all its parts, when several nodes drive it.
pub fn token_of(job: &LoadJob) -> String {
    job.share.as_ref().map_or_else(token, |share| share.token.clone())
}

/// Digits and small letters of its own for this run, for names.
pub fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let unique = mix(now ^ mix(u64::from(std::process::id())));
    (0..LENGTH).map(|i| char::from(b"0123456789abcdefghijklmnopqrstuv"[(unique >> (5 * i)) as usize & 31])).collect()
}

/// 128 bits of the kernel's random numbers in hexadecimal.
pub fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
