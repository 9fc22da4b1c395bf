//! What depends on the other proxies of a class: limits, which they share, and where they are.

use serde_json::json;

use super::world::{SPEC, World};
use crate::event::{Event, NodePlace, ObjectName};

#[test]
fn proxies_share_the_limits_of_a_pool() {
    let mut world = World::new();
    let with_limits = SPEC.replacen('{', r#"{"limits": {"perEndpoint": {"concurrentRequests": 8}},"#, 1);
    world.pool("a", 1, &with_limits);
    world.pool("b", 1, SPEC);
    world.settle();
    assert_eq!(world.document("a")["proxies"], 2);
    assert_eq!(world.document("b").get("proxies"), None);
    world.proxy("p3", true);
    world.settle();
    assert_eq!(world.document("a")["proxies"], 3);
    world.proxy("p1", false);
    world.proxy("p2", false);
    world.settle();
    assert_eq!(world.document("a").get("proxies"), None, "1 is the default");
    world.check("a", &["Programmed=True,Programmed"]);
}

#[test]
fn zones_are_told_where_a_pool_goes_by_them() {
    let mut world = World::new();
    let with_zones = SPEC.replacen('{', r#"{"locality": {"zone": {}},"#, 1);
    world.pool("a", 1, &with_zones);
    world.pool("b", 1, SPEC);
    world.zones = ["z1", "z2"].map(str::to_owned).into();
    world.endpoints(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    world.proxy("p1", true);
    world.settle();
    let a = world.document("a");
    // p2 was seen before there were zones.
    assert_eq!((&a["proxyZones"], &a["proxies"]), (&json!({"p1": "z1"}), &2.into()));
    let endpoints = a["backends"]["app:http"]["endpoints"].as_object().unwrap();
    let zones: Vec<_> = endpoints.values().map(|endpoint| &endpoint["zone"]).collect();
    assert_eq!(zones, ["z1", "z2", "z1"]);
    let b = world.document("b");
    assert_eq!((b.get("proxyZones"), b.get("proxies")), (None, None));
    assert!(!b.to_string().contains("zone"), "{b}");
}

fn node(world: &mut World, name: &str, place: Option<(&str, &str)>) {
    let place = place.map(|(zone, region)| NodePlace { zone: zone.to_owned(), region: region.to_owned() });
    world.apply(Event::Node(name.to_owned(), place));
    world.settle();
}

#[test]
fn regions_are_told_of_the_zones_of_a_pool_that_goes_by_them() {
    let mut world = World::new();
    world.zones = ["z1", "z2"].map(str::to_owned).into();
    world.endpoints(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    world.proxy("p1", true);
    node(&mut world, "n1", Some(("z1", "eu")));
    let with = |locality: &str| SPEC.replacen('{', &format!(r#"{{"locality": {locality},"#), 1);
    world.pool("a", 1, &with(r#"{"zone": {}, "region": {}}"#));
    world.pool("b", 1, &with(r#"{"zone": {}}"#));
    world.settle();
    assert_eq!(world.document("a")["zoneRegions"], json!({"z1": "eu"}));
    assert_eq!(world.document("a")["locality"], json!({"zone": {}, "region": {}}));
    assert_eq!(world.document("b").get("zoneRegions"), None);

    // What says nothing new of the pool's zones makes no version.
    let revision = world.version().revision;
    node(&mut world, "n2", Some(("z1", "eu")));
    node(&mut world, "n3", Some(("z9", "us")));
    node(&mut world, "n1", None);
    assert_eq!(world.version().revision, revision);
    node(&mut world, "n4", Some(("z2", "eu")));
    assert_eq!(world.version().revision, revision + 1);
    assert_eq!(world.document("a")["zoneRegions"], json!({"z1": "eu", "z2": "eu"}));
    node(&mut world, "n3", Some(("z1", "us")));
    assert_eq!(world.document("a")["zoneRegions"], json!({"z2": "eu"}), "nodes disagree");
    world.apply(Event::Relisted(crate::event::Relist::Nodes(vec!["n2".to_owned()])));
    world.settle();
    assert_eq!(world.document("a")["zoneRegions"], json!({"z1": "eu"}));
    world.check("a", &["Programmed=True,Programmed"]);

    // A version that is refused does not go by regions; the one that serves does.
    world.pool("a", 2, &SPEC.replacen('{', r#"{"proxyClass": "none","#, 1));
    world.settle();
    node(&mut world, "n4", Some(("z2", "eu")));
    world.check("a", &["Accepted=False,ProxyClassNotFound"]);
    assert_eq!(world.document("a")["zoneRegions"], json!({"z1": "eu", "z2": "eu"}));
}

#[test]
fn places_that_are_not_known_are_told() {
    let mut world = World::new();
    let locality = r#"{"locality": {"zone": {}, "region": {}},"#;
    world.pool("a", 1, &SPEC.replacen('{', locality, 1));
    world.pool("b", 1, SPEC);
    world.settle();
    let told = |world: &World, pool: &str| {
        world.check(pool, &["ResolvedRefs=True,ResolvedRefs", "Ready=True,Ready"]);
        let conditions = &world.statuses[&ObjectName::new("shop", pool)].conditions;
        conditions.iter().find(|condition| condition.type_ == "ResolvedRefs").unwrap().message.clone()
    };
    let check = |world: &World, expect: &[&str]| {
        let message = told(world, "a");
        let parts: Vec<_> = message.strip_prefix("locality: ").unwrap_or_default().split("; ").collect();
        let alike = parts.len() == expect.len() && parts.iter().zip(expect).all(|(a, b)| a.starts_with(b));
        assert!(alike, "{message}");
    };
    let no_endpoint = "no zone is known of 2 of 2 endpoints";
    check(&world, &["no zone is known of 2 of 2 proxies", no_endpoint]);
    assert_eq!(told(&world, "b"), "every reference is resolved");

    world.zones = vec!["z1".to_owned()];
    world.proxy("p1", true);
    world.settle();
    check(&world, &["no zone is known of 1 of 2 proxies", no_endpoint, "no region is known of zone z1 "]);
    world.proxy("p2", true);
    world.zones = vec!["z1".to_owned(), "z2".to_owned()];
    world.endpoints(&["10.0.0.1", "10.0.0.2"]);
    world.settle();
    check(&world, &["no region is known of zone z1, z2 "]);
    node(&mut world, "n1", Some(("z1", "eu")));
    check(&world, &["no region is known of zone z2 "]);
    node(&mut world, "n2", Some(("z2", "eu")));
    assert_eq!(told(&world, "a"), "every reference is resolved");
    node(&mut world, "n3", Some(("z1", "us")));
    check(&world, &["no region is known of zone z1 "]);
}

#[test]
fn a_pool_may_go_by_regions_alone() {
    let mut world = World::new();
    world.zones = vec!["z1".to_owned()];
    world.endpoints(&["10.0.0.1"]);
    world.proxy("p1", true);
    node(&mut world, "n1", Some(("z1", "eu")));
    world.pool("a", 1, &SPEC.replacen('{', r#"{"locality": {"region": {"spillAtPercent": 70}},"#, 1));
    world.settle();
    let a = world.document("a");
    assert_eq!((&a["proxyZones"], &a["zoneRegions"]), (&json!({"p1": "z1"}), &json!({"z1": "eu"})));
}
