use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use evenkeel_tls::authority::LEAF_LIFE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::Value;

use super::*;

const INSTALL: &str = "evenkeel-system";

/// Secrets by name, with resource versions; what an API server does with them, as far as it is used.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<String, Value>>>);

impl Store {
    fn certificates(&self) -> Certificates {
        let store = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let store = store.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let name = parts.uri.path().rsplit('/').next().unwrap().to_owned();
                let (status, answer) = store.answer(&parts.method, &name, &body);
                let answer = Full::from(answer.to_string());
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        Certificates::new(Client::new(service, INSTALL), INSTALL)
    }

    fn answer(&self, method: &Method, name: &str, body: &Value) -> (StatusCode, Value) {
        let mut secrets = self.0.lock().unwrap();
        let fail = |code: StatusCode, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason}))
        };
        match (method, secrets.get_mut(name)) {
            (&Method::GET, Some(found)) => (StatusCode::OK, found.clone()),
            (&Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if secrets.contains_key(&name) {
                    return fail(StatusCode::CONFLICT, "AlreadyExists");
                }
                let mut made = body.clone();
                made["metadata"]["resourceVersion"] = json!("1");
                secrets.insert(name, made.clone());
                (StatusCode::CREATED, made)
            }
            (&Method::PATCH, Some(found)) => {
                let version = found["metadata"]["resourceVersion"].clone();
                if body["metadata"]["resourceVersion"] != version {
                    return fail(StatusCode::CONFLICT, "Conflict");
                }
                found["data"] = body["data"].clone();
                let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
                found["metadata"]["resourceVersion"] = json!(next.to_string());
                (StatusCode::OK, found.clone())
            }
            _ => fail(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    fn state(&self) -> BTreeMap<String, Value> {
        self.0.lock().unwrap().clone()
    }

    fn files(&self, role: &Role) -> Files {
        let name = secret_name(role);
        files(&name, &serde_json::from_value(self.state()[&name].clone()).unwrap()).unwrap()
    }
}

fn classes() -> BTreeSet<String> {
    BTreeSet::from(["default".to_owned(), "edge".to_owned()])
}

fn proxy(class: &str) -> Role {
    Role::Proxy { class: class.to_owned() }
}

#[tokio::test]
async fn what_is_missing_is_made_once() {
    let (store, now) = (Store::default(), SystemTime::now());
    let own = store.certificates().ensure(&classes(), now).await.unwrap();
    assert_eq!(Identity::new(own.clone(), INSTALL).unwrap().role(), Role::Controller);
    for class in ["default", "edge"] {
        let identity = Identity::new(store.files(&proxy(class)), INSTALL).unwrap();
        assert_eq!(identity.role(), proxy(class));
    }
    let before = store.state();
    assert_eq!(before.len(), 4);
    assert_eq!(store.certificates().ensure(&classes(), now).await.unwrap(), own);
    assert_eq!(store.state(), before);
    // Nobody but the authority's own Secret has its key.
    let key = before[AUTHORITY_SECRET]["data"]["tls.key"].clone();
    assert!(before.iter().all(|(name, it)| name == AUTHORITY_SECRET || it["data"]["tls.key"] != key));
}

#[tokio::test]
async fn replicas_that_start_together_agree() {
    let (store, now) = (Store::default(), SystemTime::now());
    let (one, two) = (store.certificates(), store.certificates());
    let (classes, others) = (classes(), classes());
    let (one, two) = tokio::join!(one.ensure(&classes, now), two.ensure(&others, now));
    assert_eq!(one.unwrap(), two.unwrap());
}

#[tokio::test]
async fn what_is_due_is_renewed_by_the_same_authority() {
    let (store, now) = (Store::default(), SystemTime::now());
    let certificates = store.certificates();
    let first = certificates.ensure(&classes(), now).await.unwrap();
    assert_eq!(certificates.ensure(&classes(), now + LEAF_LIFE / 2).await.unwrap(), first);
    let second = certificates.ensure(&classes(), now + LEAF_LIFE * 3 / 4).await.unwrap();
    assert_ne!(second.certificate, first.certificate);
    assert_eq!(second.authorities, first.authorities);
    assert_eq!(store.state()[&secret_name(&proxy("edge"))]["metadata"]["resourceVersion"], "2");
}

#[tokio::test]
async fn a_bundle_that_grew_reaches_every_role() {
    let (store, now) = (Store::default(), SystemTime::now());
    let certificates = store.certificates();
    let first = certificates.ensure(&classes(), now).await.unwrap();
    let more = Authority::generate(INSTALL, now).unwrap();
    let bundle = [String::from_utf8(first.authorities).unwrap(), more.certificate().to_owned()].concat();
    let encoded = serde_json::to_value(ByteString(bundle.clone().into_bytes())).unwrap();
    store.0.lock().unwrap().get_mut(AUTHORITY_SECRET).unwrap()["data"][BUNDLE] = encoded;
    certificates.ensure(&classes(), now).await.unwrap();
    for role in [Role::Controller, proxy("default"), proxy("edge")] {
        let files = store.files(&role);
        assert_eq!(files.authorities, bundle.as_bytes());
        Identity::new(files, INSTALL).unwrap();
    }
}

#[tokio::test]
async fn what_is_not_ours_is_read_and_never_written() {
    let (store, now) = (Store::default(), SystemTime::now());
    let theirs = Authority::generate(INSTALL, now).unwrap();
    let issued = theirs.issue(&Role::Controller, INSTALL, theirs.certificate(), now).unwrap();
    let name = secret_name(&Role::Controller);
    let mut foreign = secret(&name, issued.clone());
    foreign.metadata.labels = None;
    store.0.lock().unwrap().insert(name, serde_json::to_value(foreign).unwrap());
    let before = store.state();
    let own = store.certificates().ensure(&classes(), now + LEAF_LIFE).await.unwrap();
    assert_eq!(own, issued);
    assert_eq!(store.state(), before);
}

#[tokio::test]
async fn a_half_secret_of_ours_is_made_whole() {
    let (store, now) = (Store::default(), SystemTime::now());
    let certificates = store.certificates();
    certificates.ensure(&classes(), now).await.unwrap();
    let name = secret_name(&proxy("edge"));
    store.0.lock().unwrap().get_mut(&name).unwrap()["data"] = json!({"tls.crt": "bm9uc2Vuc2U="});
    certificates.ensure(&classes(), now).await.unwrap();
    Identity::new(store.files(&proxy("edge")), INSTALL).unwrap();
}
