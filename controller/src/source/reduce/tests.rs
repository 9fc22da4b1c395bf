//! What a watch says, and what is told of it.

use serde_json::{Value, json};

use super::*;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn namespace(name: &str) -> PartialObjectMeta<Namespace> {
    from(json!({"metadata": {"name": name}}))
}

fn pod(uid: &str, weight: Option<&str>) -> SeenPod {
    let annotations = weight.map(|weight| json!({"evenkeel.dev/weight": weight}));
    from(json!({"metadata": {"name": uid, "namespace": "n", "uid": uid, "annotations": annotations}}))
}

fn ready_pod(uid: &str, status: &str) -> SeenPod {
    let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": "1970-01-01T00:00:09Z"});
    from(json!({
        "metadata": {"name": uid, "namespace": "n", "uid": uid},
        "spec": {"containers": []}, "status": {"phase": "Running", "conditions": [ready]},
    }))
}

fn node(name: &str, zone: Option<&str>, version: &str) -> PartialObjectMeta<Node> {
    let labels = zone.map(|zone| {
        json!({"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "eu", "other": version})
    });
    from(json!({"metadata": {"name": name, "resourceVersion": version, "labels": labels}}))
}

fn slice(namespace: &str, service: Option<&str>, pod: &str) -> EndpointSlice {
    let labels = service.map(|service| json!({"kubernetes.io/service-name": service}));
    from(json!({
        "metadata": {"namespace": namespace, "name": "slice-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "config", "port": 9443}],
        "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "uid": pod, "name": pod},
            "conditions": {"ready": true, "serving": false}}],
    }))
}

fn told(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            Event::Slice(name, _) => format!("slice {}", name.name),
            Event::SliceDeleted(name) => format!("slice {} gone", name.name),
            Event::Proxy(proxy) => format!("proxy {} of {} serving {}", proxy.id, proxy.class, proxy.serving),
            Event::ProxyDeleted(id) => format!("proxy {id} gone"),
            Event::Relisted(relist) => format!("{relist:?}"),
            Event::Namespace(name, _) => format!("namespace {name}"),
            Event::NamespaceDeleted(name) => format!("namespace {name} gone"),
            Event::Pod(uid, PodFacts { weight, ready_since }) => {
                format!(
                    "pod {uid} weight {} ready {}",
                    weight.as_deref().unwrap_or("none"),
                    ready_since.unwrap_or(0)
                )
            }
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_list_is_held_back_until_it_is_complete() {
    let mut reducer = Each::<Namespaces>::default();
    assert_eq!(reducer.reduce(Init), []);
    assert_eq!(reducer.reduce(InitApply(namespace("a"))), []);
    // The list broke off, and is begun anew.
    assert_eq!(reducer.reduce(Init), []);
    assert_eq!(reducer.reduce(InitApply(namespace("b"))), []);
    assert_eq!(told(&reducer.reduce(InitDone)), ["namespace b", "Namespaces([\"b\"])"]);
    assert_eq!(told(&reducer.reduce(Apply(namespace("c")))), ["namespace c"]);
    assert_eq!(told(&reducer.reduce(Delete(namespace("b")))), ["namespace b gone"]);
}

#[test]
fn a_pod_is_told_when_what_is_known_of_it_changes() {
    let mut reducer = Pods::default();
    reducer.reduce(Init);
    reducer.reduce(InitApply(pod("a", Some("5"))));
    reducer.reduce(InitApply(pod("b", None)));
    assert_eq!(told(&reducer.reduce(InitDone)), ["pod a weight 5 ready 0", "Pods([\"a\"])"]);
    assert_eq!(told(&reducer.reduce(Apply(pod("b", None)))), [""; 0]);
    assert_eq!(told(&reducer.reduce(Apply(pod("a", Some("5"))))), [""; 0], "nothing has changed");
    assert_eq!(told(&reducer.reduce(Apply(pod("b", Some("0"))))), ["pod b weight 0 ready 0"]);
    assert_eq!(told(&reducer.reduce(Apply(pod("a", None)))), ["pod a weight none ready 0"]);
    assert_eq!(told(&reducer.reduce(Delete(pod("b", Some("0"))))), ["pod b weight none ready 0"]);
    assert_eq!(told(&reducer.reduce(Delete(pod("a", None)))), [""; 0]);
    assert_eq!(told(&reducer.reduce(Apply(ready_pod("c", "True")))), ["pod c weight none ready 9"]);
    assert_eq!(told(&reducer.reduce(Apply(ready_pod("c", "True")))), [""; 0]);
    assert_eq!(told(&reducer.reduce(Apply(ready_pod("c", "False")))), ["pod c weight none ready 0"]);
}

#[test]
fn a_node_is_told_when_it_is_elsewhere() {
    let at = |zone: &str| format!("Node(\"a\", Some(NodePlace {{ zone: \"{zone}\", region: \"eu\" }}))");
    let mut reducer = Nodes::default();
    reducer.reduce(Init);
    reducer.reduce(InitApply(node("a", Some("eu-1"), "1")));
    reducer.reduce(InitApply(node("b", None, "1")));
    assert_eq!(told(&reducer.reduce(InitDone)), [at("eu-1"), "Nodes([\"a\"])".to_owned()]);
    assert_eq!(
        told(&reducer.reduce(Apply(node("a", Some("eu-1"), "2")))),
        [""; 0],
        "as its kubelet does all day"
    );
    assert_eq!(told(&reducer.reduce(Apply(node("a", Some("eu-2"), "3")))), [at("eu-2")]);
    assert_eq!(told(&reducer.reduce(Apply(node("a", Some(""), "4")))), ["Node(\"a\", None)"]);
    assert_eq!(told(&reducer.reduce(Delete(node("b", None, "5")))), [""; 0]);
}

#[test]
fn proxies_are_told_beside_their_slices() {
    let mut reducer = Slices::new("evenkeel-system".to_owned());
    let of_proxies = |pod| slice("evenkeel-system", Some("evenkeel-proxies-default"), pod);
    assert_eq!(
        told(&reducer.reduce(Apply(of_proxies("a")))),
        ["slice slice-1", "proxy a of default serving false"]
    );
    assert_eq!(
        told(&reducer.reduce(Apply(of_proxies("b")))),
        ["slice slice-1", "proxy a gone", "proxy b of default serving false"]
    );
    reducer.reduce(Init);
    reducer.reduce(InitApply(of_proxies("c")));
    assert_eq!(
        told(&reducer.reduce(InitDone)),
        [
            "slice slice-1",
            "Slices([ObjectName { namespace: \"evenkeel-system\", name: \"slice-1\" }])",
            "proxy c of default serving false",
            "Proxies([\"c\"])",
        ]
    );
    assert_eq!(told(&reducer.reduce(Delete(of_proxies("c")))), ["slice slice-1 gone", "proxy c gone"]);
}

#[test]
fn only_the_namespace_of_the_proxies_has_proxies() {
    let mut reducer = Slices::new("evenkeel-system".to_owned());
    let foreign = slice("shop", Some("evenkeel-proxies-default"), "a");
    assert_eq!(told(&reducer.reduce(Apply(foreign))), ["slice slice-1"]);
}

#[test]
fn a_slice_that_lost_its_service_is_gone() {
    let mut reducer = Slices::new("evenkeel-system".to_owned());
    reducer.reduce(Apply(slice("shop", Some("checkout"), "a")));
    assert_eq!(told(&reducer.reduce(Apply(slice("shop", None, "a")))), ["slice slice-1 gone"]);
}
