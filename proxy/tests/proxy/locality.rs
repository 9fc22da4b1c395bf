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
