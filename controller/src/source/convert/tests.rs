//! Conversions, each by an example.

use std::net::IpAddr;

use evenkeel_api::object::{AlgorithmType, BalancerPoolStatus};
use serde_json::{Value, json};

use super::*;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pool_of(spec: &Value) -> Pool {
    pool(&from(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "BalancerPool",
        "metadata": {"namespace": "shop", "name": "checkout", "uid": "u1", "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": spec,
        "status": {"revision": "1.7"},
    })))
}

#[test]
fn reads_a_pool() {
    let pool = pool_of(&json!({
        "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
        "backends": [{"service": {"name": "checkout", "port": "http"}}],
    }));
    assert_eq!((pool.uid.as_str(), pool.generation, pool.created), ("u1", 3, 1_767_323_045));
    assert_eq!(pool.spec.unwrap().algorithm.type_, AlgorithmType::LeastRequest);
    let status = BalancerPoolStatus { revision: Some("1.7".to_owned()), ..BalancerPoolStatus::default() };
    assert_eq!(pool.status, Some(status));
}

#[test]
fn a_spec_that_cannot_be_read_names_the_field_and_keeps_the_status() {
    let check = |spec: Value, expect: &str| {
        let pool = pool_of(&spec);
        let error = pool.spec.unwrap_err();
        assert!(error.starts_with(expect), "{error:?} does not start with {expect:?}");
        assert!(pool.status.is_some());
    };
    let backends = json!([{"service": {"name": "checkout", "port": "http"}}]);
    check(
        json!({"listeners": [{"name": "web", "port": "80", "protocol": "HTTP"}], "backends": backends}),
        "spec.listeners[0].port: invalid type",
    );
    check(
        json!({"listeners": [], "backends": backends, "algorithm": {"type": "Best"}}),
        "spec.algorithm.type: unknown variant `Best`",
    );
    check(json!({"listeners": []}), "spec: missing field `backends`");
    check(Value::Null, "spec: missing field `listeners`");
}

#[test]
fn a_service_keeps_only_what_is_used() {
    let object = |labels: Value| {
        service(from(json!({
            "metadata": {"namespace": "n", "name": "s", "uid": "u2", "labels": labels, "annotations": {"a": "b"}},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"],
                "ports": [{"name": "web", "port": 80, "targetPort": 10000}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}},
        })))
    };
    let foreign = object(json!({"app": "x"}));
    assert_eq!(foreign.labels, BTreeMap::new());
    assert_eq!(foreign.annotations, BTreeMap::new());
    assert_eq!(foreign.ingress, ["192.0.2.1", "lb.example.com"]);
    let port = |name: &str, port, protocol: &str, target_port| ServicePort {
        name: name.to_owned(),
        port,
        protocol: protocol.to_owned(),
        target_port,
    };
    assert_eq!(foreign.ports, [port("web", 80, "TCP", Some(10000)), port("", 53, "UDP", None)]);
    let ours =
        object(json!({"app": "x", "evenkeel.dev/pool-uid": "u1", labels::MANAGED_BY: labels::CONTROLLER}));
    assert_eq!(ours.labels.len(), 2);
    assert_eq!(ours.annotations.len(), 1);
}

fn slice_of(address_type: &str, endpoint: &Value) -> Slice {
    slice(from(json!({
        "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": address_type,
        "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "any"}],
        "endpoints": [endpoint],
    })))
    .unwrap()
}

#[test]
fn conditions_that_are_not_told_have_a_meaning() {
    let check = |conditions: Value, expect: (bool, bool, bool)| {
        let slice = slice_of("IPv4", &json!({"addresses": ["10.0.0.1"], "conditions": conditions}));
        let endpoint = &slice.endpoints[0];
        assert_eq!((endpoint.ready, endpoint.serving, endpoint.terminating), expect, "{conditions}");
    };
    check(json!({}), (true, true, false));
    check(json!({"ready": false}), (false, false, false));
    check(json!({"ready": false, "serving": true, "terminating": true}), (false, true, true));
    check(json!({"ready": true, "serving": false}), (true, false, false));
}

#[test]
fn a_slice_keeps_ports_over_tcp_with_a_number() {
    let slice = slice_of("IPv4", &json!({"addresses": ["10.0.0.1"]}));
    assert_eq!(slice.service, "s");
    assert_eq!(slice.ports, BTreeMap::from([("http".to_owned(), 8080)]));
}

#[test]
fn an_endpoint_is_one_address_and_perhaps_a_pod() {
    let slice = slice_of(
        "IPv6",
        &json!({"addresses": ["fd00::1", "fd00::2"], "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "uid": "p1", "name": "s-0"}}),
    );
    let endpoint = &slice.endpoints[0];
    assert_eq!(endpoint.address, Some("fd00::1".parse::<IpAddr>().unwrap()));
    assert_eq!(endpoint.pod, Some(PodReference { uid: "p1".to_owned(), name: "s-0".to_owned() }));
    assert_eq!(endpoint.node.as_deref(), Some("node-1"));
    assert_eq!(slice_of("FQDN", &json!({"addresses": ["db.example.com"]})).endpoints[0].address, None);
}

#[test]
fn a_slice_of_no_service_does_not_count() {
    assert_eq!(slice(from(json!({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": []}))), None);
}
