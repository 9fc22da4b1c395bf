//! The canonical form of a pool's document (RFC 8785), and the hashes that both sides compare.

use std::{fmt, sync::Arc};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A SHA-256, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pool's document in canonical form, with its hash: what is compared, stored and patched. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolText {
    text: Arc<str>,
    digest: Digest,
}

impl PoolText {
    /// The canonical form of `document`, which need not be one that anybody understands.
    ///
    /// # Errors
    /// If a number is not one that RFC 8785 can write, such as an integer above 2^53.
    pub fn new(document: &Value) -> Result<Self, serde_json::Error> {
        let text = serde_json_canonicalizer::to_string(document)?;
        let digest = Digest(Sha256::digest(text.as_bytes()).into());
        Ok(Self { text: text.into(), digest })
    }

    /// SHA-256 of the canonical form.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// SHA-256 in hexadecimal over a line `UID hash\n` for each pool, in byte order of the UIDs: what `sha256sum` gives for
/// such a file. `pools` must come in that order, as a `BTreeMap` does.
pub fn snapshot_hash<'a>(pools: impl IntoIterator<Item = (&'a str, Digest)>) -> String {
    let mut hasher = Sha256::new();
    for (uid, digest) in pools {
        hasher.update(format!("{uid} {digest}\n"));
    }
    Digest(hasher.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_fields_does_not_matter() {
        let one = PoolText::new(&json!({"a": 1, "b": [true, null]})).unwrap();
        let two = PoolText::new(&serde_json::from_str(r#"{"b":[true,null],"a":1.0}"#).unwrap()).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.as_str(), r#"{"a":1,"b":[true,null]}"#);
    }

    #[test]
    fn hash_is_what_sha256sum_gives() {
        // printf '{}' | sha256sum; printf 'u1 %s\n' "$(printf '{}' | sha256sum | cut -d' ' -f1)" | sha256sum
        let text = PoolText::new(&json!({})).unwrap();
        assert_eq!(
            text.digest().to_string(),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(snapshot_hash([("u1", text.digest())]), HASH_OF_ONE_EMPTY_POOL);
    }

    const HASH_OF_ONE_EMPTY_POOL: &str = "578287b53b2c42186c275c92b0cfe57b08f954f93dbeb9f2da4633eccef69d60";
}
