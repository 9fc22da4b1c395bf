//! The key of a request that is hashed, and where it is read from.

use std::net::IpAddr;

use evenkeel_api::object::{HashKey, HashKeyType};
use http::{HeaderMap, header::COOKIE, request};
use smallvec::SmallVec;

use super::headers::Host;

/// A key's bytes. Most are short.
pub(crate) type KeyBytes = SmallVec<[u8; 64]>;

/// The first of `keys` that the request has.
pub(crate) fn hash_key(
    keys: &[HashKey],
    head: &request::Parts,
    host: &Host,
    client: IpAddr,
) -> Option<KeyBytes> {
    keys.iter().find_map(|key| {
        let name = key.name.as_deref().unwrap_or_default();
        let found: &[u8] = match key.type_ {
            HashKeyType::Header => head.headers.get(name)?.as_bytes(),
            HashKeyType::Cookie => cookie(&head.headers, name)?,
            HashKeyType::Query => query(head.uri.query()?, name)?.as_bytes(),
            HashKeyType::Path => head.uri.path().as_bytes(),
            HashKeyType::Host => {
                let name = host.name().bytes().map(|byte| byte.to_ascii_lowercase());
                return Some(name.collect::<KeyBytes>()).filter(|name| !name.is_empty());
            }
            HashKeyType::SourceIP => return Some(address(client)),
        };
        (!found.is_empty()).then(|| KeyBytes::from_slice(found))
    })
}

/// An IPv4 address within IPv6 is the same client.
fn address(client: IpAddr) -> KeyBytes {
    match client.to_canonical() {
        IpAddr::V4(address) => KeyBytes::from_slice(&address.octets()),
        IpAddr::V6(address) => KeyBytes::from_slice(&address.octets()),
    }
}

/// The value of a cookie; of several, the first.
fn cookie<'a>(headers: &'a HeaderMap, name: &'a str) -> Option<&'a [u8]> {
    cookies(headers, name).next()
}

/// The values of all cookies with this name (RFC 6265, 5.4), that of the longest path first.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter_map(move |pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

pub(super) fn query<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::*;

    fn check(keys: &str, expect: Option<&[u8]>) {
        let keys: Vec<HashKey> = serde_json::from_str(keys).unwrap();
        let request = Request::get("/cart?a=&item=7&item=8")
            .header("host", "shop.example.com:80")
            .header("x-user", "alice")
            .header("cookie", "a=1; session=s1")
            .header("cookie", "sid=x; session=s2");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let host = Host::of(&head.uri, Version::HTTP_11, &head.headers).unwrap();
        let found = hash_key(&keys, &head, &host, "::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(found.as_deref(), expect);
    }

    #[test]
    fn the_first_that_a_request_has() {
        check(r#"[{"type": "Header", "name": "X-User"}]"#, Some(b"alice"));
        check(r#"[{"type": "Header", "name": "x-none"}, {"type": "Path"}]"#, Some(b"/cart"));
        check(r#"[{"type": "Cookie", "name": "session"}]"#, Some(b"s1"));
        check(r#"[{"type": "Cookie", "name": "sess"}]"#, None);
        check(r#"[{"type": "Query", "name": "item"}]"#, Some(b"7"));
        check(r#"[{"type": "Query", "name": "a"}, {"type": "Host"}]"#, Some(b"shop.example.com"));
        check(r#"[{"type": "SourceIP"}]"#, Some(&[192, 0, 2, 1]));
    }
}
