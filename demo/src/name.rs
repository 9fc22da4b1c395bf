//! The name by which clients tell endpoints apart.

use std::env;
use std::fmt;
use std::fs;
use std::str::FromStr;

use http::HeaderValue;

/// Longest name taken: that of a DNS name.
const MAX_LEN: usize = 253;

/// A name of letters, digits, `.`, `-` and `_`: safe in a header, a label and a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    text: String,
    header: HeaderValue,
}

/// Why a text is no [`Name`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a name is 1 to {MAX_LEN} letters, digits, dots, hyphens or underscores, not {0:?}")]
pub struct InvalidName(String);

impl Name {
    /// The name given by `$HOSTNAME` or else by the kernel; `demo` where neither gives a usable one.
    pub fn of_machine() -> Self {
        let variable = env::var("HOSTNAME").ok();
        let kernel = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
        variable
            .and_then(|text| text.parse().ok())
            .or_else(|| kernel().and_then(|text| text.trim().parse().ok()))
            .unwrap_or_else(|| Self { text: "demo".to_owned(), header: HeaderValue::from_static("demo") })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(text.chars().take(MAX_LEN).collect());
        let taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > MAX_LEN || !text.bytes().all(taken) {
            return Err(invalid());
        }
        let header = HeaderValue::from_str(text).map_err(|_invalid| invalid())?;
        Ok(Self { text: text.to_owned(), header })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, valid: bool) {
        assert_eq!(text.parse::<Name>().is_ok(), valid, "{text:?}");
    }

    #[test]
    fn names() {
        check("shop-7d9f-x2", true);
        check("a.b_c", true);
        check("", false);
        check("two words", false);
        check("<b>", false);
        check(&"a".repeat(253), true);
        check(&"a".repeat(254), false);
    }

    #[test]
    fn the_machine_always_has_a_name() {
        assert!(!Name::of_machine().as_str().is_empty());
    }
}
