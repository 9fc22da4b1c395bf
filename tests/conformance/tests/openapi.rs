//! Every operation and status of the OpenAPI document, against the handler that serves the channel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use evenkeel_api::channel::{MAX_SNAPSHOT_BYTES, MERGE_PATCH, POOLS_PATH, PoolsReport, SNAPSHOT_PATH};
use evenkeel_conformance::{Plane, control, pool, proxy, snapshot};
use evenkeel_proxy::control::Control;
use evenkeel_tls::Role;
use http::{Request, header};
use serde_json::{Value, json};

const JSON: &str = "application/json";

struct Conformance {
    document: Value,
    control: Arc<Control<Plane>>,
    reached: BTreeSet<(String, String, String)>,
}

/// A request that the document allows, unless said otherwise.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    path: &'static str,
    media_type: &'static str,
    base: Option<String>,
    body: Bytes,
    peer: Option<Role>,
    /// False if the request is meant to break the document.
    valid: bool,
}

fn get(path: &'static str) -> Ask {
    let peer = Some(Role::Controller);
    Ask { method: "GET", path, media_type: JSON, base: None, body: Bytes::new(), peer, valid: true }
}

fn put(body: &impl serde_like::Render) -> Ask {
    Ask { method: "PUT", body: body.render(), ..get(SNAPSHOT_PATH) }
}

fn patch(base: &str, body: &Value) -> Ask {
    let base = Some(format!("\"{base}\""));
    Ask { method: "PATCH", media_type: MERGE_PATCH, base, ..put(body) }
}

mod serde_like {
    use super::{Bytes, Value};

    /// What can be a body.
    pub(crate) trait Render {
        fn render(&self) -> Bytes;
    }

    impl Render for Value {
        fn render(&self) -> Bytes {
            serde_json::to_vec(self).unwrap().into()
        }
    }

    impl Render for evenkeel_api::channel::SnapshotDocument {
        fn render(&self) -> Bytes {
            serde_json::to_vec(self).unwrap().into()
        }
    }
}

impl Conformance {
    fn new() -> Self {
        Self { document: evenkeel_api::openapi::document(), control: control(), reached: BTreeSet::new() }
    }

    fn is_valid(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&root).unwrap();
        validator.validate(value).map_err(|error| format!("{error} at {}: {value}", error.instance_path()))
    }

    fn operation(&self, ask: &Ask) -> Value {
        self.document["paths"][ask.path][ask.method.to_lowercase()].clone()
    }

    /// Whether the request is as the document says.
    fn request_fits(&self, ask: &Ask) -> bool {
        let operation = self.operation(ask);
        let headers = operation["parameters"].as_array().cloned().unwrap_or_default();
        let base = ask.base.clone().map_or(Value::Null, Value::from);
        let headers_fit = headers.iter().all(|header| {
            assert_eq!(header["name"], "If-Match");
            self.is_valid(&header["schema"], &base).is_ok()
        });
        let Some(content) = operation["requestBody"]["content"].as_object() else { return headers_fit };
        let Some(media) = content.get(ask.media_type) else { return false };
        let body = serde_json::from_slice(&ask.body);
        headers_fit && body.is_ok_and(|body| self.is_valid(&media["schema"], &body).is_ok())
    }

    async fn check(&mut self, ask: Ask, expect: u16) -> Value {
        assert_eq!(self.request_fits(&ask), ask.valid, "{} {} for {expect}", ask.method, ask.path);
        let mut request =
            Request::builder().method(ask.method).uri(ask.path).header(header::CONTENT_TYPE, ask.media_type);
        if let Some(base) = &ask.base {
            request = request.header(header::IF_MATCH, base);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let answer = self.control.answer(&parts, ask.body.clone(), ask.peer.as_ref()).await;
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(answer.status(), expect, "{} {}: {body}", ask.method, ask.path);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], JSON);
        let schema = &self.operation(&ask)["responses"][expect.to_string()]["content"][JSON]["schema"];
        assert!(schema.is_object(), "{} {} {expect} is not documented", ask.method, ask.path);
        self.is_valid(schema, &body).unwrap();
        self.reached.insert((ask.path.to_owned(), ask.method.to_lowercase(), expect.to_string()));
        body
    }

    fn documented(&self) -> BTreeSet<(String, String, String)> {
        let mut documented = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    documented.insert((path.clone(), method.clone(), status.clone()));
                }
            }
        }
        documented
    }
}

#[tokio::test]
async fn the_handler_does_what_the_document_says() {
    let mut it = Conformance::new();
    reads(&mut it).await;
    puts(&mut it).await;
    patches(&mut it).await;
    reads(&mut it).await;
    assert_eq!(it.reached, it.documented());
}

async fn reads(it: &mut Conformance) {
    for path in [SNAPSHOT_PATH, POOLS_PATH] {
        it.check(get(path), 200).await;
        it.check(Ask { peer: Some(proxy()), ..get(path) }, 403).await;
        it.check(Ask { peer: None, ..get(path) }, 403).await;
    }
}

async fn puts(it: &mut Conformance) {
    let (first, second) =
        (snapshot(2, 1, &[("a", pool(1))]), snapshot(2, 2, &[("a", pool(2)), ("b", json!("bad"))]));
    it.check(Ask { peer: None, ..put(&first) }, 403).await;
    it.check(put(&first), 200).await;
    let body = it.check(put(&second), 200).await;
    assert_eq!(body["rejected"]["b"][0]["field"], ".");
    let body = it.check(put(&first), 409).await;
    assert_eq!((&body["epoch"], &body["revision"]), (&json!(2), &json!(2)));
    let large = Bytes::from(vec![b' '; MAX_SNAPSHOT_BYTES + 1]);
    it.check(Ask { body: large, valid: false, ..put(&first) }, 413).await;
    it.check(Ask { media_type: "text/plain", valid: false, ..put(&first) }, 415).await;
    let body = it.check(Ask { body: "{\n nonsense".into(), valid: false, ..put(&first) }, 422).await;
    assert!(body["message"].as_str().unwrap().contains("line 2 column 2"), "{body}");
    let unknown = json!({"epoch": 3, "revision": 1, "hash": "", "pools": {}, "new": 1});
    it.check(Ask { valid: false, ..put(&unknown) }, 422).await;
    it.check(put(&evenkeel_api::channel::SnapshotDocument { revision: 3, ..first }), 200).await;
    it.check(put(&json!({"epoch": 3, "revision": 1, "hash": "0", "pools": {}})), 422).await;
}

async fn patches(it: &mut Conformance) {
    let before = it.control.received().hash().to_owned();
    let after = snapshot(2, 4, &[("c", pool(1))]);
    let change = json!({"epoch": 2, "revision": 4, "hash": after.hash, "pools": {"a": null, "c": pool(1)}});
    let ask = patch(&before, &change);
    it.check(Ask { peer: Some(proxy()), ..ask.clone() }, 403).await;
    it.check(Ask { media_type: JSON, valid: false, ..ask.clone() }, 415).await;
    it.check(Ask { base: None, valid: false, ..ask.clone() }, 428).await;
    it.check(patch(&"0".repeat(64), &change), 412).await;
    it.check(Ask { base: Some("*".to_owned()), valid: false, ..ask.clone() }, 412).await;
    it.check(Ask { body: "{".into(), valid: false, ..ask.clone() }, 422).await;
    it.check(ask.clone(), 200).await;
    it.check(ask.clone(), 200).await;
    it.check(patch(&after.hash, &json!({"epoch": 1, "revision": 9, "hash": "", "pools": {}})), 409).await;
    it.check(patch(&after.hash, &json!({"epoch": 2, "revision": 5, "hash": "0", "pools": {}})), 412).await;
    let large = Bytes::from(vec![b' '; MAX_SNAPSHOT_BYTES + 1]);
    it.check(Ask { body: large, valid: false, ..ask }, 413).await;
}

/// The data plane of these tests has no endpoints; here is one of which everything is told.
#[test]
fn a_full_report_is_as_the_document_says() {
    let recent = json!({"seconds": 60, "requests": 3, "failures": 1, "successRate": 0.5,
        "responseTime": {"p50Ms": 1.0, "p95Ms": 2.0, "p99Ms": 3.5}});
    let endpoint = json!({
        "address": "10.0.0.1:80", "backend": "all", "pod": "web-1", "zone": "a", "region": "r", "weight": 1, "effectiveWeight": 0.5, "draining": true,
        "health": "unhealthy", "unhealthyReason": "timed out",
        "ejection": {"secondsAgo": 1, "secondsLeft": 2, "reason": "Consecutive5xx"}, "responseTimeMs": 1.5, "recent": recent,
        "usage": {"secondsAgo": 1, "cpuCores": 0.5, "memoryBytes": 1e6},
        "history": [{"secondsAgo": 1, "to": "Ejected", "reason": "Consecutive5xx"}], "inFlight": 1, "requests": 3, "failures": 1,
    });
    let pool = json!({
        "namespace": "shop", "name": "web", "generation": 1, "requests": 3, "retries": 1, "queued": 2, "algorithm": "Auto",
        "auto": {"secondsAgo": 1, "reason": "why", "spread": 0.1, "reporting": 1.0, "scores": {"Random": 1.0}, "played": 500},
        "zone": "a", "region": "r", "panicking": ["all"], "endpoints": {"10.0.0.1:80": endpoint},
    });
    let report = json!({"epoch": 1, "revision": 1, "hash": "", "pools": {"a": pool}});
    let parsed: PoolsReport = serde_json::from_value(report.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed).unwrap(), report);
    let it = Conformance::new();
    let schema = json!({"$ref": "#/components/schemas/PoolsReport"});
    it.is_valid(&schema, &report).unwrap();
    let mut wrong = report;
    wrong["pools"]["a"]["endpoints"]["10.0.0.1:80"]["recent"]["successRate"] = json!("all");
    it.is_valid(&schema, &wrong).unwrap_err();
}
