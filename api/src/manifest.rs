//! Reads manifests from YAML as an API server would take them: the CRD's defaults, bounds and CEL rules, unknown fields
//! refused, and each complaint with its line.
//!
//! The CRD is the only source of rules, so that a folder of files and a cluster refuse the same manifests; but for
//! Services, which only a cluster has.

mod tree;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tree::Tree;

use crate::{
    labels::GROUP,
    object::{BalancerPool, ProxyClass},
    schema::{CLASS, ObjectSchema, POOL, SchemaError, Segment},
};

/// An object that a file may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// A pool; its namespace is `default` if the file names none.
    Pool(Box<BalancerPool>),
    /// A class.
    Class(Box<ProxyClass>),
}

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// Line of the file, from 1.
    pub line: u64,
    /// Path of the field, empty if the YAML itself is broken.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads all the documents of a file.
///
/// # Errors
/// Everything that is wrong with any of them, in the order of the lines.
pub fn parse(text: &str) -> Result<Vec<Manifest>, Vec<ManifestError>> {
    let documents = serde_saphyr::from_multiple::<Tree>(text).map_err(|error| vec![syntax(&error)])?;
    let mut manifests = Vec::new();
    let mut errors = Vec::new();
    for document in documents {
        match manifest(&document) {
            Ok(manifest) => manifests.push(manifest),
            Err(found) => errors.extend(found),
        }
    }
    errors.sort_by_key(|error| error.line);
    if errors.is_empty() { Ok(manifests) } else { Err(errors) }
}

fn syntax(error: &serde_saphyr::Error) -> ManifestError {
    let text = error.without_snippet().to_string();
    // Without advice for those who call the parser.
    let text = text
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "; it may be there once")
        .replace("rejected by the configured policy", "is no number that a field may have");
    ManifestError {
        line: error.location().map_or(1, |location| location.line()),
        field: String::new(),
        message: text.lines().next().unwrap_or_default().to_owned(),
    }
}

fn manifest(document: &Tree) -> Result<Manifest, Vec<ManifestError>> {
    let value = document.to_value();
    let expected = format!("{GROUP}/v1alpha1");
    if value["apiVersion"] != expected.as_str() {
        return Err(vec![error_at(document, &[Segment::key("apiVersion")], format!("expected {expected}"))]);
    }
    match value["kind"].as_str() {
        Some("BalancerPool") => {
            let backends = value["spec"]["backends"].as_array().into_iter().flatten().enumerate();
            let with_service = backends.filter(|(_, backend)| !backend["service"].is_null());
            // Before the rules, of which some are about Services.
            let errors: Vec<_> = with_service.map(|(index, _)| no_service(document, index)).collect();
            if !errors.is_empty() {
                return Err(errors);
            }
            let mut pool: BalancerPool = object(document, &value, &POOL)?;
            pool.metadata.namespace.get_or_insert_with(|| "default".to_owned());
            Ok(Manifest::Pool(Box::new(pool)))
        }
        Some("ProxyClass") => Ok(Manifest::Class(Box::new(object(document, &value, &CLASS)?))),
        _ => Err(vec![error_at(
            document,
            &[Segment::key("kind")],
            "expected BalancerPool or ProxyClass".to_owned(),
        )]),
    }
}

fn no_service(document: &Tree, backend: usize) -> ManifestError {
    let path =
        [Segment::key("spec"), Segment::key("backends"), Segment::Index(backend), Segment::key("service")];
    error_at(document, &path, "a file has no cluster whose Services it could name; name addresses".to_owned())
}

fn object<T: DeserializeOwned>(
    document: &Tree,
    value: &Value,
    schema: &ObjectSchema,
) -> Result<T, Vec<ManifestError>> {
    let at = |error: SchemaError| error_at(document, &error.path, error.message);
    schema.read(value).map_err(|errors| errors.into_iter().map(at).collect())
}

fn error_at(document: &Tree, path: &[Segment], message: String) -> ManifestError {
    ManifestError { line: document.line(path), field: Segment::join(path), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
apiVersion: evenkeel.dev/v1alpha1
kind: BalancerPool
metadata:
  name: shop
spec:
  listeners:
  - {name: web, port: 8000, protocol: HTTP}
  backends:
  - addresses:
    - {address: 127.0.0.1, port: 9001}
";

    fn check(text: &str, expect: &[&str]) {
        let found: Vec<_> = match parse(text) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.starts_with(expect), "{found:?} does not start with {expect:?}");
        }
    }

    #[test]
    fn takes_defaults_from_the_crd() {
        let manifests = parse(MANIFEST).unwrap();
        let [Manifest::Pool(pool)] = manifests.as_slice() else { panic!("{manifests:?}") };
        assert_eq!(pool.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(pool.spec.proxy_class, "default");
        assert_eq!(pool.spec.backends[0].weight, 1);
        assert_eq!(pool.spec.timeouts.request, crate::Duration::from_secs(15));
    }

    #[test]
    fn what_is_null_is_left_out() {
        let null = format!("{MANIFEST}  algorithm: null\n  locality:\n  timeouts: {{connect: null}}\n");
        assert_eq!(parse(&null).unwrap(), parse(MANIFEST).unwrap());
        check(&format!("{MANIFEST}  algoritm: null\n"), &["line 11: spec.algoritm: unknown field"]);
        check(
            &MANIFEST.replace("port: 9001", "port: null"),
            &["line 10: spec.backends[0].addresses[0]: \"port\""],
        );
    }

    #[test]
    fn takes_several_documents_and_empty_ones() {
        let class =
            "apiVersion: evenkeel.dev/v1alpha1\nkind: ProxyClass\nmetadata: {name: default}\nspec: {}\n";
        assert_eq!(parse(&format!("{MANIFEST}---\n{class}")).unwrap().len(), 2);
        assert_eq!(parse("# nothing here\n").unwrap().len(), 0);
    }

    #[test]
    fn names_the_line_and_the_field() {
        check(
            &MANIFEST.replace("port: 8000", "port: 0"),
            &["line 7: spec.listeners[0].port: 0 is less than the minimum"],
        );
        check(
            &MANIFEST.replace("port: 9001", "prot: 9001"),
            &[
                "line 10: spec.backends[0].addresses[0].prot: unknown field",
                "line 10: spec.backends[0].addresses[0]: \"port\" is a required property",
            ],
        );
        check(
            &MANIFEST.replace("127.0.0.1", "nowhere"),
            &["line 10: spec.backends[0].addresses[0].address: address must be an IPv4 or IPv6 address"],
        );
        check(
            &MANIFEST.replace("name: shop", "name: Shop"),
            &["line 1: metadata.name must be a DNS-1035 label"],
        );
        check(
            &format!("{MANIFEST}  algorithm: {{type: Best}}\n"),
            &[
                "line 11: spec.algorithm.type: \"Best\" is none of \"RoundRobin\", \"WeightedRoundRobin\", \"Random\", \
               \"PowerOfTwoChoices\", \"LeastRequest\", \"LeastResponseTime\", \"SourceIPHash\", \"ConsistentHash\", \"Prequal\"",
            ],
        );
        check(
            &format!("{MANIFEST}  timeouts: {{connect: 1.5s}}\n"),
            &["line 11: spec.timeouts.connect: \"1.5s\" is no duration such as 30s, 500ms or 1h30m"],
        );
        check(
            &MANIFEST.replace("metadata:\n  name: shop\n", ""),
            &["line 1: \"metadata\" is a required property"],
        );
        check(&MANIFEST.replace("v1alpha1", "v1"), &["line 1: apiVersion: expected evenkeel.dev/v1alpha1"]);
        check("a: [\n", &["line "]);
        check("a: 1\nb: 2\na: 3\n", &["line 3: duplicate mapping key: a; it may be there once"]);
        check("a: .nan\n", &["line 1: non-finite float `.nan` is no number that a field may have"]);
        check("just text", &["line 1: apiVersion: expected"]);
    }

    #[test]
    fn files_have_no_services() {
        let addresses = "addresses:\n    - {address: 127.0.0.1, port: 9001}";
        for port in ["80", "http"] {
            check(
                &MANIFEST.replace(addresses, &format!("service: {{name: checkout, port: {port}}}")),
                &["line 9: spec.backends[0].service: a file has no cluster whose Services it could name"],
            );
        }
    }

    #[test]
    fn runs_the_rules_of_the_crd() {
        check(
            &format!("{MANIFEST}  algorithm: {{type: Random, leastRequest: {{}}}}\n"),
            &["line 11: spec.algorithm.leastRequest: leastRequest needs type LeastRequest"],
        );
        check(
            &format!("{MANIFEST}  timeouts: {{connect: 0ms}}\n"),
            &["line 11: spec.timeouts.connect: connect must be from 1ms to 1m"],
        );
        check(
            &MANIFEST
                .replace("protocol: HTTP}", "protocol: HTTP}\n  - {name: b, port: 8000, protocol: HTTP}"),
            &["line 7: spec.listeners: two listeners have the same port"],
        );
        check(
            &MANIFEST
                .replace("protocol: HTTP}", "protocol: HTTP}\n  - {name: web, port: 8001, protocol: HTTP}"),
            &["line 8: spec.listeners[1]: duplicate value: {\"name\":\"web\"}"],
        );
        check(
            &MANIFEST.replace("protocol: HTTP}", "protocol: HTTP, hostnames: [a.b, c.d, a.b]}"),
            &["line 7: spec.listeners[0].hostnames[2]: duplicate value: \"a.b\""],
        );
        check(
            &MANIFEST
                .replace("port: 9001}", "port: 9001}\n    - {address: 127.0.0.1, port: 9001, weight: 5}"),
            &[
                "line 11: spec.backends[0].addresses[1]: duplicate value: {\"address\":\"127.0.0.1\",\"port\":9001}",
            ],
        );
        let nameless = "protocol: HTTP}\n  - {port: 8001, protocol: HTTP}\n  - {port: 8002, protocol: HTTP}";
        check(
            &MANIFEST.replace("protocol: HTTP}", nameless),
            &[
                "line 8: spec.listeners[1]: \"name\" is a required property",
                "line 9: spec.listeners[2]: \"name\" is a required property",
            ],
        );
        let class = "apiVersion: evenkeel.dev/v1alpha1\nkind: ProxyClass\nmetadata: {name: default}\n";
        check(
            &format!("{class}spec: {{trustedCIDRs: [10.0.0.0/8, 10.0.0.0/8]}}\n"),
            &["line 4: spec.trustedCIDRs[1]: duplicate value: \"10.0.0.0/8\""],
        );
    }
}
