//! What a pool's document must fulfil beyond its types and the rules that it shares with the pool's spec, so that
//! nothing later can fail on it.

use evenkeel_api::channel::{PoolDocument, Rejection};

/// What is wrong with a document, each with the field and the way out; nothing if it can be carried out.
pub(super) fn check(document: &PoolDocument) -> Vec<Rejection> {
    let mut found = Vec::new();
    listeners(document, &mut found);
    backends(document, &mut found);
    found
}

fn listeners(document: &PoolDocument, found: &mut Vec<Rejection>) {
    let mut ports = std::collections::BTreeMap::new();
    for (name, listener) in &document.listeners {
        let field = format!("listeners.{name}.port");
        if listener.port == 0 {
            found.push(rejection(&field, "must be from 1 to 65535"));
        } else if let Some(other) = ports.insert(listener.port, name) {
            found.push(rejection(&field, format!("listener {other} has the same port: give each its own")));
        }
        for hostname in &listener.hostnames {
            let plain = hostname.strip_prefix("*.").unwrap_or(hostname);
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            if plain.is_empty() || plain.len() > 253 || !plain.bytes().all(fits) {
                let message = format!("{hostname:?} is not a host name, nor `*.` and a domain");
                found.push(rejection(format!("listeners.{name}.hostnames"), message));
            }
        }
    }
}

fn backends(document: &PoolDocument, found: &mut Vec<Rejection>) {
    let sum: u64 = document.backends.values().map(|backend| u64::from(backend.weight)).sum();
    if sum > u64::from(u32::MAX) {
        found.push(rejection("backends", "the weights sum to more than 4294967295: scale them down"));
    }
    for (key, backend) in &document.backends {
        let sum: u64 = backend.endpoints.values().map(|endpoint| u64::from(endpoint.weight)).sum();
        if sum > u64::from(u32::MAX) {
            let field = format!("backends.{key}.endpoints");
            found.push(rejection(field, "the weights sum to more than 4294967295: scale them down"));
        }
        for (id, endpoint) in &backend.endpoints {
            if endpoint.address.port() == 0 || endpoint.address.ip().is_unspecified() {
                let field = format!("backends.{key}.endpoints.{id}.address");
                found.push(rejection(field, format!("nobody can listen at {}", endpoint.address)));
            }
        }
    }
}

pub(super) fn rejection(field: impl Into<String>, message: impl Into<String>) -> Rejection {
    Rejection { field: field.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    #[test]
    fn a_good_document_passes() {
        assert_eq!(check(&document(10_000, &["127.0.0.1:80"])), []);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut bad = document(0, &["0.0.0.0:80"]);
        bad.backends.get_mut("all").unwrap().weight = u32::MAX;
        let more = bad.backends["all"].clone();
        bad.backends.insert("more".to_owned(), more);
        let fields: Vec<_> = check(&bad).into_iter().map(|rejection| rejection.field).collect();
        let expect = [
            "listeners.web.port",
            "backends",
            "backends.all.endpoints.0.0.0.0:80.address",
            "backends.more.endpoints.0.0.0.0:80.address",
        ];
        assert_eq!(fields, expect);
    }
}
