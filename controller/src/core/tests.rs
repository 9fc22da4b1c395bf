//! The whole of the controller's judgement, in memory: events and answers in, versions and effects out.

mod endpoints;
mod limits;
mod status;
mod world;

use std::time::Duration;

use evenkeel_api::object::ProxyClassSpec;

use super::*;
use crate::event::PodFacts;
use world::{SPEC, World};

#[test]
fn a_pool_becomes_ready() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.check(
        "a",
        &[
            "Accepted=True,Accepted",
            "ResolvedRefs=True,ResolvedRefs",
            "Programmed=True,Programmed",
            "Ready=True,Ready",
        ],
    );
    let status = &world.statuses[&ObjectName::new("shop", "a")];
    assert_eq!(status.endpoints.as_ref().unwrap().summary, "2/2");
    assert_eq!(status.proxies.as_ref().unwrap().summary, "2/2");
    let address = status.address.as_ref().unwrap();
    assert_eq!(address.service, "pool-shop-a.evenkeel-system.svc.cluster.local");
    assert_eq!(address.alias, "a-lb.shop.svc.cluster.local");
    assert_eq!(world.document("a")["listeners"]["web"]["port"], 10_000);
    assert_eq!(world.services(), ["evenkeel-system/pool-shop-a", "shop/a-lb"]);
}

#[test]
fn nothing_happens_before_every_source_has_told_all() {
    let mode = Mode::Kubernetes { namespace: "n".to_owned(), cluster_domain: "c".to_owned() };
    let mut core = Core::new(mode);
    let now = Now { instant: Instant::now(), time: Timestamp::UNIX_EPOCH };
    core.lead(1, &[], now);
    assert_eq!(core.step(now), Step::default());
}

#[test]
fn a_follower_compiles_and_writes_nothing() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.core.follow();
    world.effects.clear();
    world.endpoints(&["10.0.0.7"]);
    let step = world.core.step(world.now);
    assert_eq!(step.effects, []);
    assert_eq!(step.versions["default"].epoch, 0);
    assert!(step.versions["default"].pools["uid-a"].text.as_str().contains("10.0.0.7"));
}

#[test]
fn the_service_waits_until_every_live_proxy_has_bound_the_port() {
    let mut world = World::new();
    world.deaf.insert("p2".to_owned());
    world.pool("a", 1, SPEC);
    world.settle();
    assert_eq!(world.services(), Vec::<String>::new());
    world.check("a", &["Programmed=False,Pending", "Ready=False,NotProgrammed"]);
    world.wait(Duration::from_secs(11));
    world.check("a", &["Programmed=False,PartiallyProgrammed"]);
    world.deaf.clear();
    world.settle();
    world.check("a", &["Programmed=True,Programmed"]);
}

#[test]
fn endpoints_change_without_lowering_programmed() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let before = world.version().revision;
    world.endpoints(&["10.0.0.3"]);
    world.effects.clear();
    let step = world.core.step(world.now);
    assert_eq!(step.versions["default"].revision, before + 1);
    let lowered = step.effects.iter().any(|effect| match effect {
        Effect::Status { status, .. } => status.conditions[2].status != "True",
        _ => false,
    });
    assert!(!lowered);
}

#[test]
fn a_missing_service_is_named() {
    let mut world = World::new();
    world.pool("a", 1, &SPEC.replace("\"app\"", "\"nowhere\""));
    world.pool("b", 1, &SPEC.replace("\"http\"", "\"grpc\""));
    world.pool("c", 1, SPEC);
    world.settle();
    world.check(
        "a",
        &["ResolvedRefs=False,BackendNotFound", "Ready=False,NotResolved", "Programmed=True,Programmed"],
    );
    world.check("b", &["ResolvedRefs=False,BackendNotFound"]);
    world.check("c", &["Ready=True,Ready"]);
}

#[test]
fn the_last_good_version_serves_on() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.pool("a", 2, r#"{"listeners": 7}"#);
    world.settle();
    world.check("a", &["Accepted=False,Invalid", "Programmed=False,Pending", "Ready=False,NotAccepted"]);
    assert_eq!(world.document("a")["generation"], 1);

    // What the class does not allow is not carried out either.
    let loud = SPEC.replacen('{', r#"{"service": {"type": "LoadBalancer"},"#, 1);
    world.pool("a", 3, &loud);
    world.settle();
    world.check("a", &["Accepted=False,NotAllowedByClass"]);
    assert_eq!(world.document("a")["generation"], 1);
}

#[test]
fn what_serves_follows_its_own_services_class_and_pods() {
    let slow = SPEC.replacen('{', r#"{"slowStart": {"window": "30s"},"#, 1);
    for refused in [r#"{"listeners": 7}"#, r#"{"proxyClass": "none", "listeners": [], "backends": []}"#] {
        let mut world = World::new();
        world.pool("a", 1, &slow);
        world.settle();
        world.pool("a", 2, refused);
        world.settle();
        let endpoints = |world: &World| {
            let document = world.document("a");
            assert_eq!(document["generation"], 1, "{refused}");
            document["backends"]["app:http"]["endpoints"].as_object().unwrap().clone()
        };
        let before = endpoints(&world);
        world.endpoints(&["10.0.0.7"]);
        world.settle();
        let after = endpoints(&world);
        assert!(after.len() == 1 && after != before, "{refused}: {after:?}");
        let facts = PodFacts { weight: None, ready_since: Some(6) };
        world.apply(Event::Pod("uid-10.0.0.7".to_owned(), facts));
        world.settle();
        let of_pod = &endpoints(&world)["uid-10.0.0.7:8080"];
        assert_eq!(of_pod["readySince"], "1970-01-01T00:00:06Z", "{refused}");
        let others = serde_json::from_str(r#"{"matchLabels": {"team": "other"}}"#).unwrap();
        world.class(ProxyClassSpec { namespace_selector: others, ..ProxyClassSpec::permissive_default() });
        world.settle();
        assert_eq!(world.services(), Vec::<String>::new(), "{refused}: the class forbids it");
    }
}

#[test]
fn a_new_leader_adopts_the_last_good_version() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let pools = world.version().pools.iter().map(|(uid, pool)| (uid.clone(), pool.text.to_value())).collect();
    let has = ReceivedSnapshot { pools, ..ReceivedSnapshot::default() };

    let mut other = World::new();
    other.pool("a", 2, "{}");
    other.core.step(other.now);
    other.core.lead(2, &[has], other.now);
    other.settle();
    assert_eq!(other.version().epoch, 2);
    assert_eq!(other.document("a")["generation"], 1);
}

#[test]
fn a_port_outlives_its_pool_for_a_minute() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.apply(Event::PoolDeleted(ObjectName::new("shop", "a")));
    world.settle();
    assert_eq!(world.services(), Vec::<String>::new());
    assert!(world.version().pools.contains_key("uid-a"));
    world.wait(Duration::from_secs(59));
    assert!(world.version().pools.contains_key("uid-a"));
    world.wait(Duration::from_secs(1));
    assert!(!world.version().pools.contains_key("uid-a"));
    world.pool("b", 1, SPEC);
    world.settle();
    assert_eq!(world.document("b")["listeners"]["web"]["port"], 10_001);
}

#[test]
fn a_pool_keeps_its_port_without_proxies() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    for proxy in ["p1", "p2"] {
        world.apply(Event::ProxyDeleted(proxy.to_owned()));
    }
    world.settle();
    world.check("a", &["Programmed=False,NoProxies"]);
    assert_eq!(world.services().len(), 2);
    world.proxy("p3", true);
    world.settle();
    world.check("a", &["Ready=True,Ready"]);
    assert_eq!(world.document("a")["listeners"]["web"]["port"], 10_000);
}

#[test]
fn the_older_pool_has_the_hostname() {
    let named = SPEC.replace("\"HTTP\"", r#""HTTP", "hostnames": ["x.example.com"]"#);
    let mut world = World::new();
    world.pool("b", 1, &named);
    world.settle();
    assert_eq!(world.document("b")["listeners"]["web"]["hostnames"][0], "x.example.com");
    world.pool("a", 1, &named); // made earlier
    world.settle();
    assert_eq!(world.document("a")["listeners"]["web"]["hostnames"][0], "x.example.com");
    assert!(world.document("b")["listeners"]["web"].get("hostnames").is_none());
    world.check("b", &["Accepted=True,Accepted", "Ready=True,Ready"]);
    let status = &world.statuses[&ObjectName::new("shop", "b")];
    assert_eq!(status.listeners[0].conditions[0].reason, "Conflicted");

    world.apply(Event::PoolDeleted(ObjectName::new("shop", "a")));
    world.settle();
    assert_eq!(world.document("b")["listeners"]["web"]["hostnames"][0], "x.example.com");
}

#[test]
fn a_third_claimant_hears_of_the_new_owner() {
    let named = SPEC.replace("\"HTTP\"", r#""HTTP", "hostnames": ["x.example.com"]"#);
    let mut world = World::new();
    for pool in ["a", "b", "c"] {
        world.pool(pool, 1, &named);
    }
    world.settle();
    let message = |world: &World| {
        let status = &world.statuses[&ObjectName::new("shop", "c")];
        status.listeners[0].conditions[0].message.clone()
    };
    assert!(message(&world).contains("shop/a"), "{}", message(&world));
    world.apply(Event::PoolDeleted(ObjectName::new("shop", "a")));
    world.settle();
    assert!(message(&world).contains("shop/b"), "{}", message(&world));
}

#[test]
fn a_pool_moves_to_another_class_only_when_that_one_has_bound_it() {
    let mut world = World::new();
    world.second_class("edge", "p3");
    world.pool("a", 1, SPEC);
    world.settle();
    world.deaf.insert("p3".to_owned());
    world.pool("a", 2, &SPEC.replacen('{', r#"{"proxyClass": "edge","#, 1));
    world.settle();
    assert_eq!(world.selected("a"), "default", "the same port number there is another port");
    world.check("a", &["Programmed=False,Pending"]);
    assert!(world.version().pools.contains_key("uid-a"), "clients still come this way");
    world.endpoints(&["10.0.0.9"]);
    world.settle();
    assert!(world.document("a").to_string().contains("10.0.0.9"), "and find the endpoints of today");

    // A new leader knows of it by the Service alone.
    world.core.lead(2, &[], world.now);
    world.settle();
    assert!(world.version().pools.contains_key("uid-a"));

    world.deaf.clear();
    world.settle();
    assert_eq!(world.selected("a"), "edge");
    world.check("a", &["Programmed=True,Programmed", "Ready=True,Ready"]);
    assert!(world.version().pools.contains_key("uid-a"), "for clients whose nodes have not heard");
    world.wait(crate::ports::UNBIND_AFTER);
    assert!(!world.version().pools.contains_key("uid-a"));
    assert!(world.versions["edge"].pools.contains_key("uid-a"));
}

#[test]
fn a_higher_epoch_at_a_proxy_is_passed_on() {
    let mut world = World::new();
    world.core.tell("p1", ProxyEvent::Superseded { epoch: 7 }, world.now);
    assert_eq!(world.core.step(world.now).raise_above, Some(7));
    assert_eq!(world.core.step(world.now).raise_above, None);
}

#[test]
fn a_class_deleted_by_mistake_takes_nothing_with_it() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let services = world.services();
    world.effects.clear();
    world.apply(Event::ClassDeleted("default".to_owned()));
    world.settle();
    assert!(world.effects.contains(&Effect::DefaultClass));
    assert_eq!(world.services(), services);
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::DeleteService { .. })));
    world.check("a", &["Ready=True,Ready"]);
}

#[test]
fn what_a_class_forbids_is_served_for_a_minute_more() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let others = serde_json::from_str(r#"{"matchLabels": {"team": "other"}}"#).unwrap();
    world.class(ProxyClassSpec { namespace_selector: others, ..ProxyClassSpec::permissive_default() });
    world.settle();
    world.check("a", &["Accepted=False,NotAllowedByClass", "Programmed=False,Pending"]);
    assert_eq!(world.services(), Vec::<String>::new());
    assert!(world.version().pools.contains_key("uid-a"));
    world.class(ProxyClassSpec::permissive_default());
    world.settle();
    world.check("a", &["Ready=True,Ready"]);
    assert_eq!(world.document("a")["listeners"]["web"]["port"], 10_000);
}

#[test]
fn a_new_leader_keeps_a_pool_whose_newest_version_is_refused() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let pools = world.version().pools.iter().map(|(uid, pool)| (uid.clone(), pool.text.to_value())).collect();
    let has = ReceivedSnapshot { pools, ..ReceivedSnapshot::default() };
    let mut other = World::new();
    other.pool("a", 2, &SPEC.replacen('{', r#"{"service": {"type": "LoadBalancer"},"#, 1));
    other.core.step(other.now);
    other.core.lead(2, &[has], other.now);
    other.settle();
    assert_eq!(other.document("a")["generation"], 1);
}

#[test]
fn a_follower_knows_the_ports_that_a_leader_allotted() {
    let mut world = World::new();
    world.core.follow();
    world.pool("a", 1, SPEC);
    world.settle();
    let name = ObjectName::new("shop", "a");
    let spec = serde_json::from_str(SPEC).unwrap();
    let ports = [("web".to_owned(), 10_003)].into();
    let desired = crate::services::desired(&name, "uid-a", &spec, "evenkeel-system", &ports);
    world.carry_out(Effect::Service(Box::new(desired)));
    let step = world.core.step(world.now);
    let document = step.versions["default"].pools["uid-a"].text.to_value();
    assert_eq!(document["listeners"]["web"]["port"], 10_003);
}
