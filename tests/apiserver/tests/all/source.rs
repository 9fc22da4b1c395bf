//! What the source tells of a real cluster.

use evenkeel_api::object::{BalancerPool, crd};
use evenkeel_apiserver_tests::{Server, shared, wait};
use evenkeel_controller::{
    event::{Event, NodePlace, ObjectName, PodFacts, Pool, Relist},
    metrics::Metrics,
    source::{EVENT_QUEUE, kubernetes},
};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::fixture::{create, pool};

/// A source at work, and what it tells.
struct Running {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(client: Client, namespace: &str) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let metrics = Metrics::new().unwrap().source;
        let task = tokio::spawn(kubernetes::run(client, namespace.to_owned(), sender, metrics));
        Self { events, task }
    }

    async fn until(&mut self, what: &str, fits: impl FnMut(&Event) -> bool) -> Vec<Event> {
        wait::receive(what, &mut self.events, fits).await
    }

    /// The next event on this pool.
    async fn pool(&mut self, name: &ObjectName) -> Option<Pool> {
        let events = self.until("an event on the pool", |event| match event {
            Event::Pool(found, _) | Event::PoolDeleted(found) => found == name,
            _ => false,
        });
        match events.await.pop() {
            Some(Event::Pool(_, pool)) => Some(*pool),
            _ => None,
        }
    }
}

fn slice(service: &str, pod: &str, serving: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "config", "port": 9443, "protocol": "TCP"}],
        "endpoints": [{
            "addresses": ["10.1.0.1"], "nodeName": "node-1",
            "conditions": {"ready": true, "serving": serving, "terminating": false},
            "targetRef": {"kind": "Pod", "uid": pod, "name": pod},
        }],
    })
}

fn weighted_pod(weight: &str) -> Value {
    json!({
        "metadata": {"name": "checkout-0", "annotations": {"evenkeel.dev/weight": weight}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_lists_come_before_synced_and_changes_after() {
    let server = require!(shared());
    let namespace = server.namespace().await;
    let client = server.client();
    create::<BalancerPool>(&client, &namespace, pool("checkout")).await;
    let service =
        json!({"metadata": {"name": "checkout"}, "spec": {"ports": [{"name": "http", "port": 80}]}});
    create::<Service>(&client, &namespace, service).await;
    create::<EndpointSlice>(&client, &namespace, slice("checkout", "p1", true)).await;
    create::<EndpointSlice>(&client, &namespace, slice("evenkeel-proxies-default", "x1", false)).await;
    let pod = create::<Pod>(&client, &namespace, weighted_pod("7")).await;
    let name = format!("node-of-{namespace}");
    let labels = json!({"topology.kubernetes.io/zone": "eu-1", "topology.kubernetes.io/region": "eu"});
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &node).await.unwrap();
    let uid = pod.metadata.uid.unwrap();

    let mut source = Running::start(client.clone(), &namespace);
    let first = source.until("the first lists", |event| *event == Event::Synced).await;
    let checkout = ObjectName::new(&namespace, "checkout");
    let has = |fits: &dyn Fn(&Event) -> bool| assert!(first.iter().any(fits), "{first:#?}");
    has(&|event| matches!(event, Event::Pool(name, pool) if *name == checkout && pool.spec.is_ok()));
    has(
        &|event| matches!(event, Event::Service(name, service) if *name == checkout && service.ports[0].port == 80),
    );
    has(
        &|event| matches!(event, Event::Slice(name, slice) if name.namespace == namespace && slice.service == "checkout"),
    );
    has(
        &|event| matches!(event, Event::Proxy(proxy) if proxy.id == "x1" && !proxy.serving && proxy.class == "default"),
    );
    has(&|event| matches!(event, Event::Namespace(name, _) if *name == namespace));
    has(
        &|event| matches!(event, Event::Pod(pod, facts) if *pod == uid && facts.weight.as_deref() == Some("7")),
    );
    let place = NodePlace { zone: "eu-1".to_owned(), region: "eu".to_owned() };
    has(&|event| *event == Event::Node(name.clone(), Some(place.clone())));
    let relists = first.iter().filter(|event| matches!(event, Event::Relisted(_))).count();
    assert_eq!(relists, 8, "one of each kind");

    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let none = json!({"metadata": {"annotations": {"evenkeel.dev/weight": null}}});
    pods.patch("checkout-0", &PatchParams::default(), &Patch::Merge(none)).await.unwrap();
    let nothing = Event::Pod(uid.clone(), PodFacts::default());
    source.until("no weight", |event| *event == nothing).await;
    let ready = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"},
    ]}});
    pods.patch_status("checkout-0", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    let since = PodFacts { weight: None, ready_since: Some(1_767_225_610) };
    source.until("its readiness", |event| *event == Event::Pod(uid.clone(), since.clone())).await;

    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    slices.delete("evenkeel-proxies-default-1", &DeleteParams::default()).await.unwrap();
    source.until("the end of the proxy", |event| *event == Event::ProxyDeleted("x1".to_owned())).await;
    source.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_an_object_come_in_order() {
    let server = require!(shared());
    let namespace = server.namespace().await;
    let client = server.client();
    let mut source = Running::start(client.clone(), &namespace);
    let name = ObjectName::new(&namespace, "checkout");
    let pools: Api<BalancerPool> = Api::namespaced(client.clone(), &namespace);
    create::<BalancerPool>(&client, &namespace, pool("checkout")).await;
    for weight in 2..20 {
        let patch = json!([{"op": "replace", "path": "/spec/backends/0/weight", "value": weight}]);
        let request = http::Request::patch(format!("{}/checkout", pools.resource_url()))
            .header("content-type", "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .unwrap();
        client.request::<Value>(request).await.unwrap();
    }
    pools.delete("checkout", &DeleteParams::default()).await.unwrap();
    let mut weights = Vec::new();
    while let Some(pool) = source.pool(&name).await {
        weights.push((pool.generation, pool.spec.unwrap().backends[0].weight));
    }
    assert!(weights.is_sorted(), "{weights:?}");
    assert_eq!(weights.last(), Some(&(19, 19)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_does_not_hide_the_others() {
    let server = require!(Server::start());
    let namespace = server.namespace().await;
    let client = server.client();
    // As a newer version of the CRD would take it.
    let mut lax = crd::<BalancerPool>();
    let schema = lax.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
    let spec = schema.properties.as_mut().unwrap().get_mut("spec").unwrap();
    let algorithm = spec.properties.as_mut().unwrap().get_mut("algorithm").unwrap();
    algorithm.properties.as_mut().unwrap().get_mut("type").unwrap().enum_ = None;
    server.install(&lax).await.unwrap();
    let strange = wait::until("the newer CRD", async || {
        let mut strange = pool("strange");
        strange["spec"]["algorithm"] = json!({"type": "Best"});
        try_create(&client, &namespace, &strange).await
    })
    .await;
    server.install(&crd::<BalancerPool>()).await.unwrap();
    create::<BalancerPool>(&client, &namespace, pool("usual")).await;

    let mut source = Running::start(client.clone(), &namespace);
    let events = source.until("the first lists", |event| *event == Event::Synced).await;
    let pool = |wanted: &str| {
        let name = ObjectName::new(&namespace, wanted);
        let found = events.iter().find_map(|event| match event {
            Event::Pool(found, pool) if *found == name => Some(pool),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {wanted} in {events:#?}"))
    };
    assert!(pool("usual").spec.is_ok());
    let error = pool("strange").spec.clone().unwrap_err();
    assert!(error.starts_with("spec.algorithm.type: unknown variant `Best`"), "{error}");
    assert_eq!(Some(&pool("strange").uid), strange.metadata.uid.as_ref());
}

/// Creates a pool that our own types cannot read.
async fn try_create(client: &Client, namespace: &str, object: &Value) -> Option<DynamicObject> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<BalancerPool>(&()));
    let object = serde_json::from_value(object.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relist_tells_what_is_gone() {
    let mut server = require!(Server::start());
    let namespace = server.namespace().await;
    let client = server.client();
    for name in ["kept", "lost"] {
        create::<BalancerPool>(&client, &namespace, pool(name)).await;
    }
    let mut source = Running::start(client.clone(), &namespace);
    source.until("the first lists", |event| *event == Event::Synced).await;

    // While nobody watches, a pool goes, and so does the history that would tell of it.
    server.stop();
    let key = format!("/registry/evenkeel.dev/balancerpools/{namespace}/lost");
    let deleted = server.etcd("/v3/kv/deleterange", &json!({"key": base64(&key)})).await;
    assert_eq!(deleted["deleted"], "1", "{deleted}");
    let revision = deleted["header"]["revision"].clone();
    server.etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await;
    server.resume().await;

    let events =
        source.until("the new list", |event| matches!(event, Event::Relisted(Relist::Pools(_)))).await;
    let kept = ObjectName::new(&namespace, "kept");
    assert_eq!(events.last(), Some(&Event::Relisted(Relist::Pools(vec![kept.clone()]))));
    assert!(events.iter().any(|event| matches!(event, Event::Pool(name, _) if *name == kept)), "{events:#?}");
    assert!(
        !events.iter().any(|event| matches!(event, Event::PoolDeleted(_) | Event::Synced)),
        "{events:#?}"
    );
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits =
            group.iter().fold(0usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            encoded.push(if place > group.len() { '=' } else { digit.into() });
        }
    }
    encoded
}

#[test]
fn base64_as_etcd_wants_it() {
    for (text, expect) in [("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")] {
        assert_eq!(base64(text), expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_namespace_come() {
    let server = require!(shared());
    let namespace = server.namespace().await;
    let mut source = Running::start(server.client(), &namespace);
    source.until("the first lists", |event| *event == Event::Synced).await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let patch = json!({"metadata": {"labels": {"team": "shop"}}});
    namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let is_labelled = |event: &Event| {
        matches!(event, Event::Namespace(name, labels)
            if *name == namespace && labels.get("team").is_some_and(|team| team == "shop"))
    };
    source.until("the label", is_labelled).await;
}
