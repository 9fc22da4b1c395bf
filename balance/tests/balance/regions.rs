//! Levels of locality beyond the zone: each gives to the next what it cannot take.

use evenkeel_balance::{Algorithm, Endpoint, Locality, Place, PoolSpec};

use crate::common::{Pool, S, backend, endpoint};

fn at(name: &str, zone: &str, healthy: bool) -> Endpoint {
    let region = zone.get(..1).map(Into::into);
    Endpoint { zone: Some(zone.into()), region, healthy, ..endpoint(name, 1) }
}

fn spec(locality: Locality, endpoints: Vec<Endpoint>) -> PoolSpec {
    let backends = vec![backend("b", 1, endpoints)];
    PoolSpec { locality: Some(locality), ..PoolSpec::new(Algorithm::Random, backends) }
}

/// Who takes requests.
fn names(pool: &mut Pool) -> Vec<String> {
    pool.counts(1000).into_keys().collect()
}

#[test]
fn a_region_comes_first_where_no_zone_is_to_be_gone_by() {
    let here = || Locality { zone: None, region: Some(Place::new("a")) };
    let all = |healthy| vec![at("one", "a1", healthy), at("two", "a2", healthy), at("far", "b1", true)];
    let mut pool = Pool::of(spec(here(), all(true)));
    assert_eq!(names(&mut pool), ["one", "two"]);
    pool.set(spec(here(), all(false)));
    assert_eq!(names(&mut pool), ["far"]);
}

#[test]
fn where_regions_are_not_known_all_others_are_alike() {
    let nowhere = |name: &str, zone: &str| Endpoint { region: None, ..at(name, zone, true) };
    let zone = Locality { zone: Some(Place::new("a1")), region: None };
    let endpoints = vec![at("near", "a1", false), nowhere("one", "a2"), nowhere("other", "b1")];
    let mut pool = Pool::of(spec(zone, endpoints));
    assert_eq!(names(&mut pool), ["one", "other"]);
}

#[test]
fn each_level_gives_away_what_is_too_much_for_it() {
    let place = |name: &str| Some(Place { capacity: Some(2.0), ..Place::new(name) });
    let here = Locality { zone: place("a1"), region: place("a") };
    let endpoints = vec![at("near", "a1", true), at("region", "a2", true), at("far", "b1", true)];
    let mut pool = Pool::of(spec(here, endpoints));
    pool.tick(S);
    assert_eq!(names(&mut pool), ["near"]);
    // Far more than four requests fill both levels.
    let guards = pool.guards(100);
    for _ in 0..5 {
        pool.tick(S);
    }
    assert_eq!(names(&mut pool), ["near", "region"], "the region has had nothing yet");
    let more = pool.guards(100);
    for _ in 0..20 {
        pool.tick(S);
    }
    let busy = pool.counts(1000);
    assert!(busy["far"] > busy["near"] + busy["region"], "{busy:?}");
    drop((guards, more));
    for _ in 0..60 {
        pool.tick(S);
    }
    assert_eq!(names(&mut pool), ["near"]);
}
