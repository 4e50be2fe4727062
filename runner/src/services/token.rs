//! What tells one run's data in a service from everybody else's.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::load::mix;

/// Characters of a [`token`].
pub const LENGTH: usize = 8;

/// Digits and small letters of its own for this run, for names.
pub fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let unique = mix(now ^ mix(u64::from(std::process::id())));
    (0..LENGTH).map(|i| char::from(b"0123456789abcdefghijklmnopqrstuv"[(unique >> (5 * i)) as usize & 31])).collect()
}
