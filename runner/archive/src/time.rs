//! A wall-clock time as the archive writes it: UTC, RFC 3339, microseconds.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A wall-clock time with microsecond precision, always UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The time now, cut to whole microseconds.
    pub fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self(jiff::Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
    }

    /// The time `microseconds` after the Unix epoch.
    pub fn from_unix_us(microseconds: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(microseconds).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    pub fn unix_us(self) -> i64 {
        self.0.as_microsecond()
    }

    /// Seconds from `earlier` to this time; negative when this time is the earlier one.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.unix_us() - earlier.unix_us()) as f64 / 1e6
    }

    /// This time moved by `seconds`.
    pub fn plus_seconds(self, seconds: f64) -> Self {
        Self::from_unix_us(self.unix_us().saturating_add((seconds * 1e6).round() as i64)).unwrap_or(self)
    }

    /// The UTC date as `YYYYMMDD`.
    pub fn date_digits(self) -> String {
        self.0.strftime("%Y%m%d").to_string()
    }

    /// The time as people read it: `2026-03-01 12:00:05 UTC`.
    pub fn to_human(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|err| D::Error::custom(format!("not an RFC 3339 time: `{text}`: {err}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_microseconds_and_reads_them_back() {
        let time = Timestamp::from_unix_us(1_772_366_405_000_120).expect("in range");
        assert_eq!(time.to_string(), "2026-03-01T12:00:05.000120Z");
        assert_eq!(time.to_string().parse::<Timestamp>().expect("parses"), time);
        assert_eq!(time.date_digits(), "20260301");
        assert!((time.plus_seconds(1.5).seconds_since(time) - 1.5).abs() < 1e-9);
    }
}
