//! What depends on the other proxies of a class: limits, which they share, and zones.

use super::world::{SPEC, World};

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
    assert_eq!((&a["proxyZones"], &a["proxies"]), (&serde_json::json!({"p1": "z1"}), &2.into()));
    let endpoints = a["backends"]["app:http"]["endpoints"].as_object().unwrap();
    let zones: Vec<_> = endpoints.values().map(|endpoint| &endpoint["zone"]).collect();
    assert_eq!(zones, ["z1", "z2", "z1"]);
    let b = world.document("b");
    assert_eq!((b.get("proxyZones"), b.get("proxies")), (None, None));
    assert!(!b.to_string().contains("zone"), "{b}");
}
