//! Endpoints nearby come first.

use evenkeel_balance::{Algorithm, Endpoint, Locality, PoolSpec};

use crate::common::{Pool, S, backend, endpoint};

#[test]
fn the_own_zone_first_and_what_it_cannot_take_elsewhere() {
    let at = |name: &str, zone: &str, healthy| Endpoint {
        zone: Some(zone.into()),
        region: Some(zone[..1].into()),
        healthy,
        ..endpoint(name, 1)
    };
    let locality = Some(Locality {
        zone: Some("a1".into()),
        region: Some("a".into()),
        capacity: Some(2.0),
        ..Locality::default()
    });
    let spec = |healthy| PoolSpec {
        locality: locality.clone(),
        ..PoolSpec::new(
            Algorithm::Random,
            vec![backend(
                "b",
                1,
                vec![
                    at("near", "a1", true),
                    at("near2", "a1", healthy),
                    at("region", "a2", true),
                    at("far", "b1", true),
                ],
            )],
        )
    };
    let mut pool = Pool::of(spec(true));
    assert_eq!(pool.counts(1000).keys().collect::<Vec<_>>(), ["near", "near2"]);
    pool.set(spec(false));
    let counts = pool.counts(1000);
    assert_eq!((counts["near"], counts["region"], counts.get("far")), (700, 300, None));
    pool.set(spec(true));
    pool.tick(S);
    let guards = pool.guards(8);
    for _ in 0..10 {
        pool.tick(S);
    }
    assert!(pool.counts(1000)["region"] > 500, "four in flight where two are enough");
    drop(guards);
    for _ in 0..30 {
        pool.tick(S);
    }
    assert!(!pool.counts(1000).contains_key("region"));
}
