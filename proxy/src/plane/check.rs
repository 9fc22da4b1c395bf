//! What a pool's document must fulfil beyond its types, so that nothing later can fail on it.

use evenkeel_api::channel::{AlgorithmDocument, HealthCheckDocument, PoolDocument, Rejection};
use http::uri::PathAndQuery;

/// What is wrong with a document, each with the field and the way out; nothing if it can be carried out.
pub(super) fn check(document: &PoolDocument) -> Vec<Rejection> {
    let mut found = Vec::new();
    listeners(document, &mut found);
    backends(document, &mut found);
    match document.algorithm {
        AlgorithmDocument::PowerOfTwoChoices { choices } | AlgorithmDocument::LeastRequest { choices }
            if choices < 2 =>
        {
            found.push(rejection("algorithm.choices", "must be at least 2"));
        }
        _ => {}
    }
    if let Some(check) = &document.health_check {
        health_check(check, &mut found);
    }
    let timeouts = &document.timeouts;
    for (field, millis) in [
        ("timeouts.connectMs", timeouts.connect_ms),
        ("timeouts.requestMs", timeouts.request_ms),
        ("timeouts.streamIdleMs", timeouts.stream_idle_ms),
    ] {
        duration(field, millis, &mut found);
    }
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

fn health_check(check: &HealthCheckDocument, found: &mut Vec<Rejection>) {
    duration("healthCheck.intervalMs", check.interval_ms, found);
    duration("healthCheck.timeoutMs", check.timeout_ms, found);
    for (field, threshold) in [
        ("healthCheck.healthyThreshold", check.healthy_threshold),
        ("healthCheck.unhealthyThreshold", check.unhealthy_threshold),
    ] {
        if threshold == 0 {
            found.push(rejection(field, "must be at least 1"));
        }
    }
    if check.port == Some(0) {
        found.push(rejection("healthCheck.port", "must be from 1 to 65535"));
    }
    let Some(http) = &check.http else { return };
    if !http.path.starts_with('/') || PathAndQuery::try_from(http.path.as_str()).is_err() {
        found.push(rejection("healthCheck.http.path", format!("{:?} is not a path", http.path)));
    }
    if http.expected_statuses.is_empty() || http.expected_statuses.iter().any(|range| range.from > range.to) {
        let message = "must hold a range whose lowest status is not above its highest, or no check can pass";
        found.push(rejection("healthCheck.http.expectedStatuses", message));
    }
}

/// A year is as good as for ever, and can be added to any time without overflow.
const MAX_MILLIS: u64 = 366 * 24 * 3_600_000;

fn duration(field: &str, millis: u64, found: &mut Vec<Rejection>) {
    if !(1..=MAX_MILLIS).contains(&millis) {
        found.push(rejection(field, format!("must be from 1 to {MAX_MILLIS} milliseconds")));
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
        bad.timeouts.connect_ms = 0;
        bad.algorithm = AlgorithmDocument::LeastRequest { choices: 1 };
        let fields: Vec<_> = check(&bad).into_iter().map(|rejection| rejection.field).collect();
        let expect = [
            "listeners.web.port",
            "backends.all.endpoints.0.0.0.0:80.address",
            "algorithm.choices",
            "timeouts.connectMs",
        ];
        assert_eq!(fields, expect);
    }
}
