//! `/echo`: the request as it arrived, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::request::Parts;
use serde::Serialize;

use crate::name::Name;

/// What `/echo` gives back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Echo<'a> {
    endpoint: &'a str,
    peer: SocketAddr,
    version: String,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// Values in their order, per name in lower case. Bytes that are not UTF-8 are replaced.
    headers: BTreeMap<&'a str, Vec<String>>,
    /// As text; bytes that are not UTF-8 are replaced.
    body: String,
    /// Length as it arrived.
    body_bytes: usize,
}

pub(super) fn of<'a>(name: &'a Name, peer: SocketAddr, head: &'a Parts, body: &[u8]) -> Echo<'a> {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    Echo {
        endpoint: name.as_str(),
        peer,
        version: format!("{:?}", head.version),
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
        body_bytes: body.len(),
    }
}
