//! Limits, which the proxies of a class share.

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
