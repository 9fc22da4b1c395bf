//! Endpoints nearby come first.

use std::time::Duration;

use evenkeel_balance::{Algorithm, Endpoint, Locality, Place, PoolSpec, orca::LoadReport};

use crate::common::{Pool, S, backend, endpoint};

#[test]
fn the_own_zone_first_and_what_it_cannot_take_elsewhere() {
    let at = |name: &str, zone: &str, healthy| Endpoint {
        zone: Some(zone.into()),
        region: Some(zone[..1].into()),
        healthy,
        ..endpoint(name, 1)
    };
    let place = |name: &str| Some(Place { capacity: Some(2.0), ..Place::new(name) });
    let locality = Some(Locality { zone: place("a1"), region: place("a") });
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

/// Of 1000 requests, those that stay in the zone after looks a second apart at what its endpoint reports.
#[test]
fn a_level_gives_away_what_is_too_much_and_takes_it_back_when_it_is_calm() {
    let in_zone = |name: &str, zone: &str| Endpoint { zone: Some(zone.into()), ..endpoint(name, 1) };
    let locality = Some(Locality { zone: Some(Place::new("here")), region: None });
    let endpoints = vec![in_zone("near", "here"), in_zone("far", "there")];
    let spec = PoolSpec::new(Algorithm::Random, vec![backend("b", 1, endpoints)]);
    let mut pool = Pool::of(PoolSpec { locality, ..spec });
    pool.tick(Duration::ZERO);
    for (utilization, expect) in
        [(0.8, 1000), (1.6, 800), (1.0, 640), (0.9, 569), (0.73, 569), (0.8, 569), (0.71, 619), (0.1, 669)]
    {
        pool.reports("near", &LoadReport { cpu_utilization: Some(utilization), ..LoadReport::default() });
        pool.tick(S);
        let near = pool.counts(1000)["near"];
        assert!(near.abs_diff(expect) <= 1, "{utilization}: {near} and not {expect}");
    }
    for _ in 0..10 {
        pool.tick(S);
    }
    assert_eq!(pool.counts(1000)["near"], 1000);
}

#[test]
fn a_level_takes_what_its_healthy_part_can_and_the_last_what_is_left() {
    // Of so many in the zone, the region and elsewhere so many are healthy; of 1000 requests, those to each.
    for (all, healthy, expect) in [
        ([2, 2, 2], [2, 2, 2], [1000, 0, 0]),
        ([7, 2, 2], [5, 2, 2], [1000, 0, 0]),
        ([2, 2, 2], [1, 2, 2], [700, 300, 0]),
        ([2, 2, 2], [0, 2, 2], [0, 1000, 0]),
        ([4, 4, 4], [1, 1, 4], [350, 350, 300]),
        ([4, 4, 4], [1, 1, 0], [500, 500, 0]),
        ([0, 2, 2], [0, 1, 2], [0, 700, 300]),
        ([0, 0, 2], [0, 0, 1], [0, 0, 1000]),
    ] {
        let places = [(Some("a1"), Some("a")), (Some("a2"), Some("a")), (None, None)];
        let mut endpoints = Vec::new();
        for level in 0..3 {
            let (zone, region) = (places[level].0.map(Into::into), places[level].1.map(Into::into));
            endpoints.extend((0..all[level]).map(|number| Endpoint {
                zone: zone.clone(),
                region: region.clone(),
                healthy: number < healthy[level],
                ..endpoint(&format!("{level}-{number}"), 1)
            }));
        }
        let locality = Some(Locality { zone: Some(Place::new("a1")), region: Some(Place::new("a")) });
        let spec = PoolSpec::new(Algorithm::Random, vec![backend("b", 1, endpoints)]);
        let counts = Pool::of(PoolSpec { locality, ..spec }).counts(1000);
        let of = |level: usize| {
            let prefix = format!("{level}-");
            counts.iter().filter(|(id, _)| id.starts_with(&prefix)).map(|(_, count)| count).sum::<u32>()
        };
        assert_eq!([of(0), of(1), of(2)], expect, "{healthy:?} of {all:?}");
    }
}

#[test]
fn a_backend_keeps_its_share_though_its_levels_cannot_take_it() {
    let place = |key: &str, number: u32, healthy| Endpoint {
        zone: Some("here".into()),
        healthy,
        ..endpoint(&format!("{key}{number}"), 1)
    };
    let sick = (0..4).map(|number| place("b", number, number == 0)).collect();
    let well = (0..4).map(|number| place("c", number, true)).collect();
    let locality = Some(Locality { zone: Some(Place::new("here")), region: None });
    let spec = PoolSpec::new(Algorithm::Random, vec![backend("b", 1, sick), backend("c", 1, well)]);
    assert_eq!(Pool::of(PoolSpec { locality, ..spec }).counts(1000)["b0"], 500);
}
