//! Session affinity by a cookie whose value names an endpoint: a digest of pool and endpoint, so that it tells nothing
//! to the client, every proxy understands it, and no push changes it.

use std::collections::HashMap;

use evenkeel_api::object::AffinityCookie;
use evenkeel_balance::EndpointId;
use http::{
    HeaderMap, HeaderValue,
    header::{InvalidHeaderValue, SET_COOKIE},
};
use sha2::{Digest as _, Sha256};

use super::key;

/// Bytes of a digest that make a cookie's value, in hexadecimal.
const BYTES: usize = 12;

/// A pool's sessions.
#[derive(Debug)]
pub(crate) struct Affinity {
    cookie: AffinityCookie,
    /// Endpoints by the cookie's value.
    endpoints: HashMap<Vec<u8>, EndpointId>,
    /// What follows the value.
    attributes: String,
    pool: String,
}

/// The session of a request, by its cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It brings none.
    New,
    /// Its endpoint is of the pool no more.
    Gone,
    At(EndpointId),
}

impl Session {
    pub(crate) fn endpoint(&self) -> Option<&EndpointId> {
        match self {
            Self::New | Self::Gone => None,
            Self::At(endpoint) => Some(endpoint),
        }
    }
}

/// How a request's session goes on, as of the pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// The client brings none: it begins here.
    Begun,
    /// Its endpoint was picked.
    Kept,
    /// Its endpoint is gone, or takes no requests, or failed at this one: it is here from now on.
    Moved,
    /// Its endpoint was only full: this request goes elsewhere, and the session stays.
    PassedOver,
}

impl Affinity {
    /// The sessions of a pool with these endpoints. O(n).
    pub(crate) fn new(
        cookie: &AffinityCookie,
        pool: &str,
        endpoints: impl Iterator<Item = EndpointId>,
    ) -> Self {
        let endpoints = endpoints.map(|id| (value(pool, id.as_str()).into_bytes(), id)).collect();
        let mut attributes = format!("; Path={}; HttpOnly", cookie.path);
        if let Some(ttl) = cookie.ttl {
            attributes.push_str(&format!("; Max-Age={}", std::time::Duration::from(ttl).as_secs()));
        }
        if let Some(same_site) = cookie.same_site {
            attributes.push_str(&format!("; SameSite={}", same_site.as_str()));
        }
        if cookie.secure {
            attributes.push_str("; Secure");
        }
        Self { cookie: cookie.clone(), endpoints, attributes, pool: pool.to_owned() }
    }

    /// The session of a request with these fields. Of several, the first whose endpoint there is: a cookie with another
    /// path, from before the pool's was changed, would stand before the present one for good.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Session {
        let mut values = key::cookies(headers, &self.cookie.name).peekable();
        if values.peek().is_none() {
            return Session::New;
        }
        values
            .find_map(|value| self.endpoints.get(value))
            .map_or(Session::Gone, |endpoint| Session::At(endpoint.clone()))
    }

    /// Tells the client that its session is at `endpoint` now.
    ///
    /// # Errors
    /// If the configured attributes make no header, which the schema excludes.
    pub(crate) fn begin(
        &self,
        endpoint: &EndpointId,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeaderValue> {
        let value = value(&self.pool, endpoint.as_str());
        let cookie = HeaderValue::try_from(format!("{}={value}{}", self.cookie.name, self.attributes))?;
        headers.append(SET_COOKIE, cookie);
        Ok(())
    }
}

fn value(pool: &str, endpoint: &str) -> String {
    let digest = Sha256::new().chain_update(pool).chain_update([0]).chain_update(endpoint).finalize();
    digest[..BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    fn affinity(cookie: &str, endpoints: &[&str]) -> Affinity {
        let cookie = serde_json::from_str(cookie).unwrap();
        Affinity::new(&cookie, "uid", endpoints.iter().map(|id| EndpointId::from(*id)))
    }

    #[test]
    fn a_cookie_leads_back_to_its_endpoint() {
        let first = affinity(r#"{"ttl": "1h", "sameSite": "Lax", "secure": true}"#, &["a", "b"]);
        let mut headers = HeaderMap::new();
        first.begin(&"b".into(), &mut headers).unwrap();
        let set = headers[SET_COOKIE].to_str().unwrap().to_owned();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; Max-Age=3600; SameSite=Lax; Secure");

        let mut request = HeaderMap::new();
        request.insert(COOKIE, HeaderValue::try_from(format!("x=1; {pair}")).unwrap());
        let other_proxy = affinity("{}", &["c", "b"]);
        assert_eq!(other_proxy.session(&request), Session::At("b".into()));
        assert_eq!(affinity("{}", &["a"]).session(&request), Session::Gone);
        assert_eq!(other_proxy.session(&HeaderMap::new()), Session::New);
        let older = format!("{}={}; {pair}", pair.split_once('=').unwrap().0, value("uid", "gone"));
        request.insert(COOKIE, HeaderValue::try_from(older).unwrap());
        assert_eq!(other_proxy.session(&request), Session::At("b".into()));
    }
}
