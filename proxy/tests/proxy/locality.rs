//! Endpoints nearby come first.

use std::net::SocketAddr;

use evenkeel_api::channel::PoolDocument;
use serde_json::{Value, json};

use crate::common::{
    activate, at,
    client::{Client, GET},
    endpoint::{OK, canned, endpoint},
    free_port, pool, proxy, report, serving_as, until, until_async,
};

/// The pool's endpoints by zone, where this proxy is in zone a.
fn zones(of: Value, zones: Vec<(SocketAddr, &'static str)>) -> impl FnOnce(&mut PoolDocument) {
    move |pool| {
        pool.locality = Some(serde_json::from_value(json!({"zone": of})).unwrap());
        pool.proxy_zones =
            [("proxy-1", "a"), ("proxy-2", "b")].map(|(name, zone)| (name.into(), zone.into())).into();
        for (address, zone) in zones {
            let endpoints = &mut pool.backends.get_mut("all").unwrap().endpoints;
            endpoints.get_mut(&address.to_string()).unwrap().zone = Some(zone.to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_zone_takes_all_until_it_has_no_endpoint() {
    let (near, too, far) = (canned(OK).await, canned(OK).await, canned(OK).await);
    let (proxy, port) = (proxy(), free_port());
    let all = [near.address, too.address, far.address];
    let mut version = pool(port, &all);
    zones(json!({}), vec![(all[0], "a"), (all[1], "a"), (all[2], "b")])(&mut version);
    activate(&proxy, &[("a", &version)]).await;
    let mut client = Client::connect(at(port)).await;
    for _ in 0..20 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!((near.record.count() + too.record.count(), far.record.count()), (20, 0));
    assert!(near.record.count() > 0 && too.record.count() > 0);
    let told = report(&proxy, "a");
    assert_eq!(told.zone.as_deref(), Some("a"));
    assert_eq!(told.endpoints[&far.address.to_string()].zone.as_deref(), Some("b"));
    let endpoints = &mut version.backends.get_mut("all").unwrap().endpoints;
    endpoints.get_mut(&all[0].to_string()).unwrap().weight = 0;
    endpoints.get_mut(&all[1].to_string()).unwrap().weight = 0;
    activate(&proxy, &[("a", &version)]).await;
    for _ in 0..5 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!(far.record.count(), 5);
}

/// The same, by zone and region, where zones a and b are in one region.
fn regions(of: Value, zones_of: Vec<(SocketAddr, &'static str)>) -> impl FnOnce(&mut PoolDocument) {
    move |pool| {
        zones(json!({}), zones_of)(pool);
        pool.locality = Some(serde_json::from_value(of).unwrap());
        pool.zone_regions =
            [("a", "eu"), ("b", "eu"), ("c", "us")].map(|(zone, region)| (zone.into(), region.into())).into();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_zone_comes_the_region_and_then_all_others() {
    let (near, region, far) = (canned(OK).await, canned(OK).await, canned(OK).await);
    let (proxy, port) = (proxy(), free_port());
    let all = [near.address, region.address, far.address];
    let mut version = pool(port, &all);
    let zones = vec![(all[0], "a"), (all[1], "b"), (all[2], "c")];
    regions(json!({"zone": {}, "region": {}}), zones)(&mut version);
    let mut client: Option<Client> = None;
    let counts = || [&near, &region, &far].map(|endpoint| endpoint.record.count());
    for (gone, expect) in [(None, [6, 0, 0]), (Some(0), [6, 6, 0]), (Some(1), [6, 6, 6])] {
        if let Some(gone) = gone {
            let endpoints = &mut version.backends.get_mut("all").unwrap().endpoints;
            endpoints.get_mut(&SocketAddr::to_string(&all[gone])).unwrap().weight = 0;
        }
        activate(&proxy, &[("a", &version)]).await;
        let client = match &mut client {
            Some(client) => client,
            none => none.insert(Client::connect(at(port)).await),
        };
        for _ in 0..6 {
            assert_eq!(client.ask(GET).await.status(), 200);
        }
        assert_eq!(counts(), expect);
    }
    let told = report(&proxy, "a");
    assert_eq!((told.zone.as_deref(), told.region.as_deref()), (Some("a"), Some("eu")));
    assert_eq!(told.endpoints[&far.address.to_string()].region.as_deref(), Some("us"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_may_come_first_and_where_it_is_not_known_none_does() {
    let (one, other, far) = (canned(OK).await, canned(OK).await, canned(OK).await);
    let all = [one.address, other.address, far.address];
    let zones = || vec![(all[0], "a"), (all[1], "b"), (all[2], "c")];
    let ask = async |address| {
        let mut client = Client::connect(address).await;
        for _ in 0..12 {
            assert_eq!(client.ask(GET).await.status(), 200);
        }
    };
    let (_proxy, address) = serving_as(&all, regions(json!({"region": {}}), zones())).await;
    ask(address).await;
    assert_eq!((one.record.count(), other.record.count(), far.record.count()), (6, 6, 0));
    let (_proxy, address) = serving_as(&all, |pool| {
        regions(json!({"region": {}}), zones())(pool);
        pool.zone_regions.remove("a");
    })
    .await;
    ask(address).await;
    assert_eq!((one.record.count(), other.record.count(), far.record.count()), (10, 10, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_full_gives_some_of_its_traffic_away() {
    // The one nearby holds what it has.
    let near = endpoint(|mut wire| async move { while wire.request().await.is_some() {} }).await;
    let far = canned(OK).await;
    let (proxy, address) = serving_as(
        &[near.address, far.address],
        zones(json!({"requestsPerEndpoint": 1}), vec![(near.address, "a"), (far.address, "b")]),
    )
    .await;
    let mut held = Client::connect(address).await;
    held.send(GET).await;
    until("one that is held", || near.record.count() == 1).await;
    until_async("a request that goes far", async || {
        let before = near.record.count();
        let mut client = Client::connect(address).await;
        client.send(GET).await;
        until("its way", || far.record.count() > 0 || near.record.count() > before).await;
        far.record.count() > 0
    })
    .await;
    assert!(report(&proxy, "a").endpoints[&near.address.to_string()].in_flight > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_know_its_zone_knows_none() {
    let (near, far) = (canned(OK).await, canned(OK).await);
    let (_proxy, address) = serving_as(&[near.address, far.address], |pool| {
        zones(json!({}), vec![(near.address, "a"), (far.address, "b")])(pool);
        pool.proxy_zones.remove("proxy-1");
    })
    .await;
    let mut client = Client::connect(address).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert!(near.record.count() > 0 && far.record.count() > 0);
}
