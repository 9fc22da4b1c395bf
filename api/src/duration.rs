//! Durations as people write them: `5s`, `500ms`, `1m30s`.
//!
//! The format is Gateway API's (GEP-2257): one to four numbers of up to five digits, each with a unit of h, m, s or ms.
//! It is a subset of Go's, so that CEL's `duration()` reads the same strings.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a duration in an object must match.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A span of time, written as in GEP-2257, with a resolution of a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(time::Duration);

/// A string that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a duration: write numbers with the units h, m, s or ms, such as 5s or 1m30s")]
pub struct ParseDurationError(String);

impl Duration {
    /// A duration of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(time::Duration::from_millis(millis))
    }

    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(time::Duration::from_secs(secs))
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError(text.to_owned());
        let mut rest = text;
        let mut millis = 0;
        for _ in 0..4 {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=5).contains(&digits) {
                return Err(error());
            }
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, after) = after.split_at(letters);
            let factor = match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(error()),
            };
            millis += number.parse::<u64>().ok().ok_or_else(error)? * factor;
            rest = after;
            if rest.is_empty() {
                return Ok(Self::from_millis(millis));
            }
        }
        Err(error())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": 32})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_in_canonical_form() {
        for (text, canonical) in [
            ("5s", "5s"),
            ("90s", "1m30s"),
            ("1h0m", "1h"),
            ("1500ms", "1s500ms"),
            ("0s", "0s"),
            ("1h2m3s4ms", "1h2m3s4ms"),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn refuses_what_gep_2257_refuses() {
        for text in ["", "5", "s", "1.5s", "-1s", "1us", "100000s", "1s 2s", "1s2s3s4s5s", "1S", "１s"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }
}
