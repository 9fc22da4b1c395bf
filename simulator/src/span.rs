//! Spans of time as scenarios write them: `250us`, `40ms`, `1.5s`, `2m`.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::number;

/// A span in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Span {
    /// The longest that a scenario may name, so that sums of several are within what time is counted in.
    const MOST: Self = Self(86_400_000_000_000);

    /// A span of so many seconds.
    #[must_use]
    pub fn seconds(seconds: f64) -> Self {
        Self(number::whole(seconds * 1e9))
    }

    /// Its seconds.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (count, unit) = text.split_at(end);
        let nanos = match unit {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            _ => return None,
        };
        let count: f64 = count.trim().parse().ok()?;
        (count.is_finite() && count >= 0.0).then(|| Self(number::whole(count * nanos)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span = Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no span of time, such as 250us, 40ms or 1.5s"))
        })?;
        if span > Self::MOST {
            let most = Self::MOST.as_seconds();
            return Err(D::Error::custom(format!(
                "{text:?} is longer than the longest span of time, {most}s"
            )));
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<u64>) {
        assert_eq!(Span::parse(text).map(|span| span.0), expect, "{text}");
    }

    #[test]
    fn spans_have_units() {
        check("250us", Some(250_000));
        check("1.5s", Some(1_500_000_000));
        check("2m", Some(120_000_000_000));
        check("3", None);
        check("-1s", None);
        check("5h", None);
    }
}
