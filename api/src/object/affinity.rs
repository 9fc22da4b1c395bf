//! Keeps a client's requests at one endpoint.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// A client whose first request went to an endpoint is sent there again, even if the endpoint drains or terminates; if
/// it is gone or unhealthy, the algorithm picks another, and the client is told so.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// The cookie by which a client is known again. Its value is opaque and names the endpoint, so that every proxy
    /// understands it and no push changes it.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.sameSite) || self.sameSite != 'None' || self.secure")
        .message("sameSite None needs secure: browsers refuse it else").field_path(".sameSite"))]
    #[x_kube(validation = Rule::new("!has(self.ttl) || duration(self.ttl) >= duration('1s')")
        .message("ttl must be 1s or more").field_path(".ttl"))]
    pub cookie: AffinityCookie,
}

/// The cookie that a proxy sets.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AffinityCookie {
    /// Name (a token of RFC 6265).
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,

    /// Time for which the client keeps it; without it, until the browser is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,

    /// Path below which the client sends it.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^/[!-:<-~]*$"))]
    pub path: String,

    /// Whether the client sends it with requests that come from other sites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,

    /// Whether the client sends it over TLS alone.
    pub secure: bool,
}

impl Default for AffinityCookie {
    fn default() -> Self {
        let (name, path) = ("evenkeel-affinity".to_owned(), "/".to_owned());
        Self { name, ttl: None, path, same_site: None, secure: false }
    }
}

/// When a client sends a cookie (RFC 6265bis).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only with requests of the same site.
    Strict,
    /// With links from other sites too.
    Lax,
    /// Always; needs `secure`.
    None,
}

impl SameSite {
    /// The word in the cookie.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}
