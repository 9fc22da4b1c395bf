//! What becomes of a message's fields on the way through (RFC 9110, 7.6; RFC 9112, 3.2).

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, MAX_FORWARDS, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE, VIA,
    },
    request,
    uri::PathAndQuery,
};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::error::RequestError;
use crate::limits;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Fields that `Connection` names, beside those that never pass: to be kept from trailers too.
pub(crate) type Named = SmallVec<[HeaderName; 2]>;

/// The host of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// As the endpoint is to be told; empty if the client told none.
    pub(crate) value: HeaderValue,
    /// How many bytes of it are the host, without the port.
    len: usize,
}

impl Host {
    /// Without a port.
    pub(crate) fn name(&self) -> &str {
        self.value.to_str().ok().and_then(|value| value.get(..self.len)).unwrap_or("")
    }

    /// The host of a request: that of its target if it has one, else that of its only Host field.
    pub(crate) fn of(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Self, RequestError> {
        let mut fields = headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(RequestError::HostAmbiguous);
        }
        let value = match (uri.authority(), field) {
            // RFC 9113, 8.3.1: they must not differ.
            (Some(authority), Some(field))
                if version == Version::HTTP_2 && !same(authority.as_str(), field) =>
            {
                return Err(RequestError::HostAmbiguous);
            }
            (Some(authority), field) => {
                // The target goes before the field, but the field must be one.
                field.map(|field| host_len(field).ok_or(RequestError::HostInvalid)).transpose()?;
                HeaderValue::from_str(authority.as_str()).map_err(|_not_visible| RequestError::HostInvalid)?
            }
            (None, Some(field)) => field.clone(),
            (None, None) if version < Version::HTTP_11 => HeaderValue::from_static(""),
            (None, None) => return Err(RequestError::HostMissing),
        };
        let len = host_len(&value).ok_or(RequestError::HostInvalid)?;
        Ok(Self { value, len })
    }
}

fn same(authority: &str, field: &HeaderValue) -> bool {
    authority.as_bytes().eq_ignore_ascii_case(field.as_bytes())
}

/// How many bytes of `host[:port]` are the host; `None` if it is something else (RFC 3986, 3.2.2).
fn host_len(value: &HeaderValue) -> Option<usize> {
    let bytes = value.as_bytes();
    let len = if bytes.first() == Some(&b'[') {
        let end = bytes.iter().position(|byte| *byte == b']')?;
        let inner = std::str::from_utf8(&bytes[1..end]).ok()?;
        inner.parse::<std::net::Ipv6Addr>().ok()?;
        end + 1
    } else {
        let len = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
        bytes[..len].iter().all(fits).then_some(len)?
    };
    let port = &bytes[len..];
    let fits = port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit));
    (fits && (len > 0 || port.is_empty())).then_some(len)
}

/// How a request is known to have come through a pool of this process before.
#[derive(Debug)]
pub(crate) struct Passage {
    name: String,
    /// For HTTP/1.0, 1.1 and 2.
    via: [HeaderValue; 3],
}

impl Passage {
    /// `instance` tells processes apart, `pool` the pools of a process: through two of them a request may well go.
    pub(crate) fn new(instance: u32, pool: u32) -> Self {
        let name = format!("evenkeel-{instance:08x}-{pool:08x}");
        let value = |version: &str| {
            // Digits, letters and hyphens always make a value.
            HeaderValue::try_from(format!("{version} {name}"))
                .unwrap_or_else(|_not_visible| HeaderValue::from_static("1.1 evenkeel"))
        };
        Self { via: [value("1.0"), value("1.1"), value("2")], name }
    }

    fn via(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.via[0],
            Version::HTTP_2 => &self.via[2],
            _ => &self.via[1],
        }
    }

    /// Whether a request has been here before, or has come too far.
    pub(crate) fn leads_back(&self, headers: &HeaderMap) -> bool {
        let mut hops = 0;
        for entry in
            headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        {
            hops += 1;
            let received_by = entry.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).nth(1);
            if hops > limits::HOPS || received_by == Some(self.name.as_bytes()) {
                return true;
            }
        }
        false
    }
}

/// Where a request ends by Max-Forwards (RFC 9110, 7.6.2).
pub(crate) enum Reach {
    /// It goes on.
    On,
    /// It ends here.
    Here,
}

/// Whether the fields of a request over HTTP/2 are more than is taken.
pub(crate) fn is_too_large(fields: &HeaderMap) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    fields.len() > limits::HTTP2_FIELDS || fields.iter().map(size).sum::<usize>() > limits::HTTP2_HEAD_BYTES
}

/// Counts Max-Forwards down, where it applies.
pub(crate) fn reach(method: &Method, headers: &mut HeaderMap) -> Reach {
    if !matches!(*method, Method::TRACE | Method::OPTIONS) {
        return Reach::On;
    }
    let Some(value) = headers.get_mut(MAX_FORWARDS) else { return Reach::On };
    match value.to_str().ok().and_then(|value| value.parse::<u32>().ok()) {
        Some(0) => Reach::Here,
        Some(left) => {
            *value = HeaderValue::from(left - 1);
            Reach::On
        }
        None => Reach::On,
    }
}

/// What a request's fields depend on beside themselves.
pub(crate) struct Journey<'a> {
    pub(crate) peer: SocketAddr,
    /// Peers whose forwarding fields are believed.
    pub(crate) trusted: &'a [IpNet],
    pub(crate) host: Host,
    pub(crate) passage: &'a Passage,
}

/// Makes a request that has come in one that goes out over HTTP/1.1, and returns what its trailers may not hold.
pub(crate) fn outgoing(head: &mut request::Parts, journey: Journey<'_>) -> Named {
    let headers = &mut head.headers;
    let trailers = has_token(headers, &TE, "trailers");
    let named = strip(headers);
    strip_underscores(headers);
    if trailers {
        // TE is for the next hop alone, and so Connection must name it (RFC 9110, 10.1.4).
        headers.insert(TE, TRAILERS);
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // hyper answers it, once the body is asked for.
    if has_token(headers, &EXPECT, "100-continue") {
        headers.remove(EXPECT);
    }
    let trusted = journey.trusted.iter().any(|network| network.contains(&journey.peer.ip()));
    forwarded(headers, journey.peer.ip(), &journey.host.value, trusted);
    headers.append(VIA, journey.passage.via(head.version).clone());
    headers.insert(HOST, journey.host.value);
    head.version = Version::HTTP_11;
    head.uri = Uri::from(head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    named
}

/// Makes an endpoint's response the client's, and returns what its trailers may not hold.
pub(crate) fn incoming(headers: &mut HeaderMap, passage: &Passage) -> Named {
    let named = strip(headers);
    headers.append(VIA, passage.via(Version::HTTP_11).clone());
    named
}

/// Leaves trailers without what may not be there.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap, named: &Named) {
    strip(trailers);
    for name in named.iter().chain([&CONTENT_LENGTH, &HOST, &TRAILER]) {
        trailers.remove(name);
    }
    strip_underscores(trailers);
}

/// Removes what is for one hop only, and returns what `Connection` named beside that.
fn strip(headers: &mut HeaderMap) -> Named {
    let mut named = Named::new();
    for value in headers.get_all(CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        named.extend(tokens.filter_map(|token| HeaderName::from_bytes(token).ok()));
    }
    named.retain(|name| *name != "close");
    for name in
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].iter().chain(&named)
    {
        headers.remove(name);
    }
    named
}

/// Some endpoints take `x_forwarded_for` for `X-Forwarded-For`.
fn strip_underscores(headers: &mut HeaderMap) {
    let with: SmallVec<[HeaderName; 1]> =
        headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in with {
        headers.remove(name);
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens =
        headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.any(|found| {
        let name = found.split(|byte| *byte == b';').next().unwrap_or(found);
        name.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

/// Tells the endpoint who asked. What a peer that is not trusted says of that is dropped; to what one that is says, our
/// word is added, but for protocol and host, which the first proxy knows best.
fn forwarded(headers: &mut HeaderMap, peer: IpAddr, host: &HeaderValue, trusted: bool) {
    if !trusted {
        for name in [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, FORWARDED] {
            headers.remove(name);
        }
    }
    let mut element = match peer {
        IpAddr::V4(address) => format!("for={address};proto=http"),
        IpAddr::V6(address) => format!("for=\"[{address}]\";proto=http"),
    };
    if let Ok(host) = host.to_str()
        && !host.is_empty()
    {
        // A write to a string cannot fail.
        _ = write!(element, ";host=\"{host}\"");
        if !headers.contains_key(FORWARDED_HOST)
            && let Ok(value) = HeaderValue::from_str(host)
        {
            headers.insert(FORWARDED_HOST, value);
        }
    }
    append(headers, FORWARDED, &element);
    append(headers, FORWARDED_FOR, &peer.to_string());
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
}

/// Adds to the list that a field holds, in one line.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
