//! Benchmark ids: `BM-YYYYMMDD-NNN`, UTC date and a sequence number of at least three digits.
//!
//! Ids are given out by `Archive::allocate`, atomically for every runner on the same results folder.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The id of one benchmark, for example `BM-20260301-007`. Ordered by date, then sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BenchmarkId {
    date: u32,
    sequence: u32,
}

/// Why a text is not a benchmark id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a benchmark id: expected BM-YYYYMMDD-NNN, for example BM-20260301-007")]
pub struct IdError(String);

impl BenchmarkId {
    /// The id with the given UTC date (`YYYYMMDD` as a number) and sequence number.
    pub fn new(date: u32, sequence: u32) -> Self {
        Self { date, sequence }
    }

    /// The UTC date, as the number `YYYYMMDD`.
    pub fn date(self) -> u32 {
        self.date
    }

    /// The place within the day, from 1.
    pub fn sequence(self) -> u32 {
        self.sequence
    }
}

impl fmt::Display for BenchmarkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("BM-{:08}-{:03}", self.date, self.sequence))
    }
}

impl FromStr for BenchmarkId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError(text.to_owned());
        let (date, sequence) = text.strip_prefix("BM-").and_then(|rest| rest.split_once('-')).ok_or_else(error)?;
        let digits = |part: &str, least: usize, most: usize| {
            (least..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        // A longer sequence number has no leading zero, so that every id has one spelling.
        if !digits(date, 8, 8) || !digits(sequence, 3, 9) || (sequence.len() > 3 && sequence.starts_with('0')) {
            return Err(error());
        }
        Ok(Self { date: date.parse().map_err(|_| error())?, sequence: sequence.parse().map_err(|_| error())? })
    }
}

impl JsonSchema for BenchmarkId {
    fn schema_name() -> Cow<'static, str> {
        "BenchmarkId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^BM-[0-9]{8}-([0-9]{3}|[1-9][0-9]{3,8})$" })
    }
}

impl Serialize for BenchmarkId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BenchmarkId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_every_id() {
        for text in ["BM-20260301-007", "BM-20260301-999", "BM-20260301-1000"] {
            assert_eq!(text.parse::<BenchmarkId>().expect(text).to_string(), text);
        }
        for text in
            ["", "BM-2026031-007", "BM-20260301-07", "BM-20260301-0007", "bm-20260301-007", "BM-20260301-7a1", "../etc"]
        {
            assert!(text.parse::<BenchmarkId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ordered_by_date_then_sequence() {
        let id = |text: &str| text.parse::<BenchmarkId>().expect("valid");
        assert!(id("BM-20260301-999") < id("BM-20260301-1000"));
        assert!(id("BM-20260301-1000") < id("BM-20260302-001"));
    }
}
