//! Which addresses are endpoints, and what pods say of theirs.

use evenkeel_api::labels;

use super::world::{SPEC, World};
use crate::event::{Event, ObjectName, PodFacts};

fn weight(pod: &str, weight: &str) -> Event {
    Event::Pod(pod.to_owned(), PodFacts { weight: Some(weight.to_owned()), ready_since: None })
}

#[test]
fn weights_come_from_pods() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.apply(weight("uid-10.0.0.1", "5"));
    world.apply(weight("uid-10.0.0.2", "lots"));
    world.settle();
    let endpoints = world.document("a")["backends"]["app:http"]["endpoints"].clone();
    assert_eq!(endpoints["uid-10.0.0.1:8080"]["weight"], 5);
    assert!(endpoints["uid-10.0.0.2:8080"].get("weight").is_none());
    let status = &world.statuses[&ObjectName::new("shop", "a")];
    assert!(status.conditions[1].message.contains(labels::WEIGHT), "{}", status.conditions[1].message);
}

#[test]
fn slow_start_knows_when_a_pod_became_ready() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    let ready = |at| Event::Pod("uid-10.0.0.1".to_owned(), PodFacts { weight: None, ready_since: Some(at) });
    world.apply(ready(5));
    world.settle();
    let revision = world.version().revision;
    let endpoint =
        |world: &World| world.document("a")["backends"]["app:http"]["endpoints"]["uid-10.0.0.1:8080"].clone();
    assert!(endpoint(&world).get("readySince").is_none(), "nobody asked");
    world.apply(ready(6));
    world.settle();
    assert_eq!(world.version().revision, revision);
    world.pool("a", 2, &SPEC.replacen('{', r#"{"slowStart": {},"#, 1));
    world.settle();
    assert_eq!(endpoint(&world)["readySince"], "1970-01-01T00:00:06Z");
    world.apply(ready(7));
    world.settle();
    assert_eq!(endpoint(&world)["readySince"], "1970-01-01T00:00:07Z");
}

#[test]
fn proxies_and_special_addresses_are_no_endpoints() {
    let mut world = World::new();
    world.slice("evenkeel-system", "evenkeel-controller", &["10.8.0.1"]);
    world.slice("evenkeel-system", "evenkeel-proxies-default", &["10.9.1.1"]); // another address than the one we dial
    world.endpoints(&["10.0.0.1", "10.9.0.1", "10.9.1.1", "10.8.0.1", "127.0.0.1", "169.254.1.1"]);
    world.pool("a", 1, SPEC);
    world.settle();
    let endpoints = world.document("a")["backends"]["app:http"]["endpoints"].clone();
    assert_eq!(endpoints.as_object().unwrap().len(), 1);
    world.check("a", &["ResolvedRefs=False,RefNotPermitted"]);
}
