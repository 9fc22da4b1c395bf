//! What the API server takes, what it adds, and what it refuses with which words.

use evenkeel_api::object::{BalancerPool, ProxyClass};
use evenkeel_apiserver_tests::{Server, shared};
use http::Request;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::fixture::pool;

/// Creates an object as kubectl does: with unknown fields refused.
async fn create(server: &Server, path: &str, object: &Value) -> Result<Value, String> {
    let url = format!("/apis/evenkeel.dev/v1alpha1/{path}?fieldValidation=Strict");
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .unwrap();
    server.client().request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        error => panic!("{error}"),
    })
}

struct Refusals {
    server: std::sync::Arc<Server>,
    path: String,
    object: Value,
    problems: Vec<String>,
}

impl Refusals {
    /// Changes one thing, and expects a refusal that contains these words.
    async fn check(&mut self, pointer: &str, value: Value, expect: &[&str]) {
        let mut object = self.object.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            fields => fields[key] = value,
        }
        match create(&self.server, &self.path, &object).await {
            Ok(_) => self.problems.push(format!("{pointer}: accepted")),
            Err(message) => {
                let missing: Vec<_> = expect.iter().filter(|word| !message.contains(**word)).collect();
                if !missing.is_empty() {
                    self.problems.push(format!("{pointer}: {missing:?} is not in: {message}"));
                }
            }
        }
    }

    fn end(self) {
        assert!(self.problems.is_empty(), "{:#?}", self.problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_pool_gets_its_defaults() {
    let server = require!(shared());
    let namespace = server.namespace().await;
    let path = format!("namespaces/{namespace}/balancerpools");
    let spec = create(&server, &path, &pool("checkout")).await.unwrap()["spec"].clone();
    assert_eq!(spec["proxyClass"], "default");
    assert_eq!(spec["algorithm"], json!({"type": "LeastRequest"}));
    assert_eq!(spec["backends"][0]["weight"], 1);
    assert_eq!(spec["service"], json!({"type": "ClusterIP"}));
    assert_eq!(spec["timeouts"]["request"], "15s");
    assert!(spec.get("healthCheck").is_none());
    // What the API server fills in is what our own types fill in.
    let api: Api<BalancerPool> = Api::namespaced(server.client(), &namespace);
    let stored = api.get("checkout").await.unwrap();
    let parsed: BalancerPool = serde_json::from_value(pool("checkout")).unwrap();
    assert_eq!(stored.spec, parsed.spec);
}

#[tokio::test(flavor = "multi_thread")]
async fn sibling_and_nested_defaults() {
    let server = require!(shared());
    let path = format!("namespaces/{}/balancerpools", server.namespace().await);
    let mut object = pool("checkout");
    object["spec"]["algorithm"] = json!({"type": "PowerOfTwoChoices", "powerOfTwoChoices": {}});
    object["spec"]["healthCheck"] = json!({"active": {"type": "HTTP", "http": {}}});
    object["spec"]["allowAlgorithmOverride"] = json!({
        "allowed": ["Random", "ConsistentHash", "Auto"], "consistentHash": {"keys": [{"type": "Path"}]},
    });
    object["spec"]["retries"] = json!({});
    object["spec"]["locality"] = json!({"zone": {}, "region": {}});
    object["spec"]["loadReports"] = json!({});
    object["spec"]["limits"] = json!({"perEndpoint": {"concurrentRequests": 8}, "queue": {}});
    let spec = create(&server, &path, &object).await.unwrap()["spec"].clone();
    assert_eq!(spec["algorithm"]["powerOfTwoChoices"]["choices"], 2);
    let active = &spec["healthCheck"]["active"];
    assert_eq!((&active["interval"], &active["timeout"]), (&json!("5s"), &json!("1s")));
    assert_eq!((&active["healthyThreshold"], &active["unhealthyThreshold"]), (&json!(2), &json!(3)));
    assert_eq!(active["http"]["path"], "/");
    let nearby = json!({"spillAtPercent": 80, "overprovisioningPercent": 140});
    assert_eq!(spec["locality"], json!({"zone": nearby, "region": nearby}));
    assert_eq!(spec["loadReports"], json!({"keepHeader": false}));
    let hash = &spec["allowAlgorithmOverride"]["consistentHash"];
    assert_eq!((&hash["table"]["type"], &hash["hashFunction"]), (&json!("Ring"), &json!("XXHash64")));
    let retries = &spec["retries"];
    assert_eq!((&retries["attempts"], &retries["on"]), (&json!(1), &json!(["NotSent", "Closed"])));
    assert_eq!(retries["budget"], json!({"percent": 20, "interval": "10s"}));
    assert_eq!(retries["minRetryRate"], json!({"count": 10, "interval": "1s"}));
    assert_eq!(spec["limits"]["queue"], json!({"size": 1000, "timeout": "1s"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_pool_is_refused_with_the_path_of_the_field() {
    let server = require!(shared());
    let path = format!("namespaces/{}/balancerpools", server.namespace().await);
    let mut object = pool("checkout");
    object["spec"]["healthCheck"] = json!({"active": {"type": "HTTP", "http": {}}});
    let mut bad = Refusals { server, path, object, problems: Vec::new() };
    numbers(&mut bad).await;
    names(&mut bad).await;
    rules(&mut bad).await;
    algorithms(&mut bad).await;
    behaviour(&mut bad).await;
    unknown(&mut bad).await;
    bad.end();
}

async fn numbers(bad: &mut Refusals) {
    bad.check("/spec/listeners/0/port", json!(0), &["spec.listeners[0].port"]).await;
    bad.check("/spec/listeners/0/port", json!(65536), &["spec.listeners[0].port"]).await;
    bad.check("/spec/listeners/0/port", json!("80"), &["spec.listeners[0].port"]).await;
    bad.check("/spec/backends/0/weight", json!(-1), &["spec.backends[0].weight"]).await;
    bad.check("/spec/backends/0/weight", json!(1_000_001), &["spec.backends[0].weight"]).await;
    bad.check("/spec/backends/0/service/port", json!(0), &["spec.backends[0].service.port", "1 to 65535"])
        .await;
    let static_address =
        |weight: i64| json!({"addresses": [{"address": "192.0.2.1", "port": 80, "weight": weight}]});
    bad.check("/spec/backends/0", static_address(1001), &["spec.backends[0].addresses[0].weight"]).await;
    for choices in [1, 11] {
        let algorithm = json!({"type": "PowerOfTwoChoices", "powerOfTwoChoices": {"choices": choices}});
        bad.check("/spec/algorithm", algorithm, &["spec.algorithm.powerOfTwoChoices.choices"]).await;
    }
    bad.check(
        "/spec/healthCheck/active/healthyThreshold",
        json!(0),
        &["spec.healthCheck.active.healthyThreshold"],
    )
    .await;
    bad.check(
        "/spec/healthCheck/active/interval",
        json!("1ms"),
        &["spec.healthCheck.active.interval", "100ms to 1h"],
    )
    .await;
    bad.check(
        "/spec/healthCheck/active/timeout",
        json!("6s"),
        &["spec.healthCheck.active.timeout", "longer than interval"],
    )
    .await;
    bad.check("/spec/timeouts", json!({"connect": "0ms"}), &["spec.timeouts.connect"]).await;
    bad.check("/spec/timeouts", json!({"request": "soon"}), &["spec.timeouts.request"]).await;
    bad.check("/spec/listeners", json!([]), &["spec.listeners"]).await;
    bad.check("/spec/backends", json!([]), &["spec.backends"]).await;
}

async fn names(bad: &mut Refusals) {
    for name in ["1shop", "a".repeat(61).as_str()] {
        bad.check("/metadata/name", json!(name), &["metadata.name", "at most 60 characters"]).await;
    }
    bad.check("/metadata/name", json!("Shop"), &["metadata.name"]).await;
    bad.check("/spec/listeners/0/name", json!("Web"), &["spec.listeners[0].name"]).await;
    bad.check("/spec/listeners/0/name", json!("a-name-that-is-too-long"), &["spec.listeners[0].name"]).await;
    bad.check("/spec/listeners/0/hostnames", json!(["*.*.example.com"]), &["spec.listeners[0].hostnames[0]"])
        .await;
    bad.check("/spec/backends/0/service/name", json!("Checkout"), &["spec.backends[0].service.name"]).await;
    bad.check("/spec/proxyClass", json!("Default"), &["spec.proxyClass"]).await;
    bad.check("/spec/algorithm", json!({"type": "Best"}), &["spec.algorithm.type", "LeastRequest"]).await;
    bad.check("/spec/listeners/0/protocol", json!("HTTP3"), &["spec.listeners[0].protocol"]).await;
    let nowhere = json!({"addresses": [{"address": "nowhere", "port": 80}]});
    bad.check("/spec/backends/0", nowhere, &["spec.backends[0].addresses[0].address", "IPv4 or IPv6"]).await;
}

async fn rules(bad: &mut Refusals) {
    let siblings = json!({"type": "Random", "leastRequest": {"choices": 3}});
    bad.check("/spec/algorithm", siblings, &["spec.algorithm.leastRequest", "needs type LeastRequest"]).await;
    let both = json!({"type": "LeastRequest", "leastRequest": {}, "powerOfTwoChoices": {}});
    bad.check("/spec/algorithm", both, &["spec.algorithm.powerOfTwoChoices", "needs type PowerOfTwoChoices"])
        .await;
    let two =
        json!({"service": {"name": "a", "port": 80}, "addresses": [{"address": "192.0.2.1", "port": 80}]});
    bad.check("/spec/backends/0", two, &["spec.backends[0]", "either service or addresses"]).await;
    bad.check("/spec/backends/0", json!({"weight": 1}), &["spec.backends[0]", "either service or addresses"])
        .await;
    let same_port = json!([
        {"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 80, "protocol": "HTTP"},
    ]);
    bad.check("/spec/listeners", same_port, &["spec.listeners", "same port"]).await;
    let same_name = json!([
        {"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "a", "port": 81, "protocol": "HTTP"},
    ]);
    bad.check("/spec/listeners", same_name, &["spec.listeners[1]", "Duplicate"]).await;
    bad.check(
        "/spec/service",
        json!({"loadBalancerClass": "x"}),
        &["spec.service", "needs type LoadBalancer"],
    )
    .await;
    bad.check(
        "/spec/service",
        json!({"externalTrafficPolicy": "Local"}),
        &["spec.service", "externalTrafficPolicy"],
    )
    .await;
    let tcp = json!({"type": "TCP", "http": {"path": "/"}});
    bad.check("/spec/healthCheck/active", tcp, &["spec.healthCheck.active.http", "needs type HTTP"]).await;
    bad.check("/spec/locality", json!({}), &["spec.locality", "zone, region, or both"]).await;
    let keyless = json!({"allowed": ["Random", "ConsistentHash"]});
    bad.check(
        "/spec/allowAlgorithmOverride",
        keyless,
        &["spec.allowAlgorithmOverride.consistentHash", "with its keys"],
    )
    .await;
    let slow = json!({"perEndpoint": {"concurrentRequests": 1}, "queue": {"timeout": "2m"}});
    bad.check("/spec/limits", slow, &["spec.limits.queue.timeout", "1ms to 1m"]).await;
    bad.check("/spec/limits", json!({"perEndpoint": {"concurrentRequests": 0}}), &["concurrentRequests"])
        .await;
    bad.check("/spec/retries", json!({"codes": [200]}), &["spec.retries.codes[0]"]).await;
    let often = json!({"minRetryRate": {"interval": "1ms"}});
    bad.check("/spec/retries", often, &["spec.retries.minRetryRate.interval", "100ms to 1h"]).await;
    let unasked = json!({"type": "Prequal", "prequal": {"signals": "Probes"}});
    bad.check("/spec/algorithm", unasked, &["spec.algorithm.prequal.probe", "needs probe"]).await;
}

async fn algorithms(bad: &mut Refusals) {
    let hash = |parameters: Value| json!({"type": "ConsistentHash", "consistentHash": parameters});
    let path = "spec.algorithm.consistentHash";
    bad.check("/spec/algorithm", json!({"type": "ConsistentHash"}), &[path, "needs consistentHash"]).await;
    bad.check("/spec/algorithm", hash(json!({"keys": []})), &["spec.algorithm.consistentHash.keys"]).await;
    for (key, words) in [
        (json!({"type": "Header"}), "need"),
        (json!({"type": "Path", "name": "x"}), "no other has"),
        (json!({"type": "Header", "name": "x:y"}), "letters, digits"),
        (json!({"type": "Query", "name": "a=b"}), "without & = # ?"),
        (json!({"type": "Query", "name": "<id>"}), "without & = # ?"),
    ] {
        let field = "spec.algorithm.consistentHash.keys[0].name";
        bad.check("/spec/algorithm", hash(json!({"keys": [key]})), &[field, words]).await;
    }
    let keys = json!([{"type": "Path"}]);
    let load = hash(json!({"keys": keys, "maximumLoadPercent": 100}));
    bad.check("/spec/algorithm", load, &["spec.algorithm.consistentHash.maximumLoadPercent"]).await;
    let table = hash(json!({"keys": keys, "table": {"type": "Ring", "maglev": {}}}));
    bad.check("/spec/algorithm", table, &["spec.algorithm.consistentHash.table.maglev", "needs type Maglev"])
        .await;
    let response_time = json!({"type": "LeastResponseTime", "leastResponseTime": {"decay": "2h"}});
    bad.check("/spec/algorithm", response_time, &["spec.algorithm.leastResponseTime.decay"]).await;
    let auto = json!({"type": "Auto", "auto": {"allowed": ["RoundRobin", "Auto"]}});
    bad.check("/spec/algorithm", auto, &["spec.algorithm.auto.allowed"]).await;
    let twice = json!({"type": "Adaptive", "adaptive": {"signals": ["CPU", "CPU"]}});
    bad.check("/spec/algorithm", twice, &["spec.algorithm.adaptive.signals[1]", "Duplicate value: \"CPU\""])
        .await;
}

async fn behaviour(bad: &mut Refusals) {
    bad.check("/spec/slowStart", json!({"window": "1ms"}), &["spec.slowStart.window"]).await;
    let cookie = json!({"cookie": {"sameSite": "None"}});
    bad.check("/spec/sessionAffinity", cookie, &["spec.sessionAffinity.cookie.sameSite", "secure"]).await;
    let passive = json!({"passive": {"baseEjectionTime": "10m", "maxEjectionTime": "5m"}});
    bad.check(
        "/spec/healthCheck",
        passive,
        &["spec.healthCheck.passive.baseEjectionTime", "longer than maxEjectionTime"],
    )
    .await;
    let http = |parameters: Value| json!({"active": {"type": "HTTP", "http": parameters}});
    let probe = |path| json!({"type": "Prequal", "prequal": {"signals": "Probes", "probe": {"path": path}}});
    let page = |path| json!({"type": "Adaptive", "adaptive": {"prometheus": {"path": path}}});
    for path in ["health", "/a b", "/a#b", "/<id>"] {
        let field = "spec.healthCheck.active.http.path";
        bad.check("/spec/healthCheck", http(json!({"path": path})), &[field]).await;
        bad.check("/spec/algorithm", probe(path), &["spec.algorithm.prequal.probe.path"]).await;
        bad.check("/spec/algorithm", page(path), &["spec.algorithm.adaptive.prometheus.path"]).await;
    }
    let field = "spec.healthCheck.active.http.expectedStatuses";
    for range in ["2xx", "600", "299-200"] {
        bad.check("/spec/healthCheck", http(json!({"expectedStatuses": [range]})), &[field]).await;
    }
}

async fn unknown(bad: &mut Refusals) {
    bad.check("/spec/algorithms", json!({}), &["unknown field \"spec.algorithms\""]).await;
    let service = json!({"name": "checkout", "port": "http", "prot": 1});
    bad.check("/spec/backends/0/service", service, &["unknown field \"spec.backends[0].service.prot\""])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes() {
    let server = require!(shared());
    let object = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ProxyClass", "metadata": {"name": "edge"}, "spec": {},
    });
    let created = create(&server, "proxyclasses", &object).await.unwrap();
    assert_eq!(created["spec"]["serviceTypes"], json!(["ClusterIP"]));
    let parsed: ProxyClass = serde_json::from_value(object.clone()).unwrap();
    let api: Api<ProxyClass> = Api::all(server.client());
    assert_eq!(api.get("edge").await.unwrap().spec, parsed.spec);
    api.delete("edge", &DeleteParams::default()).await.unwrap();

    let mut bad = Refusals { server, path: "proxyclasses".to_owned(), object, problems: Vec::new() };
    bad.check("/metadata/name", json!("a".repeat(41)), &["metadata.name", "at most 40 characters"]).await;
    bad.check("/spec/staticAddresses", json!(["10.0.0.0/33"]), &["spec.staticAddresses", "CIDRs"]).await;
    bad.check("/spec/trustedCIDRs", json!(["10.0.0.0"]), &["spec.trustedCIDRs", "CIDRs"]).await;
    bad.check("/spec/serviceTypes", json!(["ExternalName"]), &["spec.serviceTypes[0]"]).await;
    bad.check("/spec/hostnames", json!([{"hostnames": ["a b"]}]), &["spec.hostnames[0].hostnames[0]"]).await;
    bad.check("/spec/allowedAnnotations", json!(["*"]), &["spec.allowedAnnotations[0]"]).await;
    bad.check("/spec/namespaces", json!([]), &["unknown field \"spec.namespaces\""]).await;
    bad.end();
}
