//! Probes and metrics over their port.

use std::{net::SocketAddr, sync::Arc};

use evenkeel_proxy::{Proxy, admin, explain::Explanation};
use serde_json::json;

use crate::common::{
    client::{self, Response},
    endpoint::{OK, canned},
    report, serving, serving_as, until,
};

async fn probed(proxy: Proxy) -> (Arc<Proxy>, SocketAddr) {
    let proxy = Arc::new(proxy);
    let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin::serve(Arc::clone(&proxy), listener));
    (proxy, address)
}

async fn get(address: SocketAddr, path: &str) -> Response {
    client::ask(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_how_it_is() {
    let (proxy, _) = serving(&[]).await;
    let (proxy, address) = probed(proxy).await;
    assert_eq!(get(address, "/livez").await.status(), 200);
    let response = get(address, "/readyz").await;
    assert_eq!(response.status(), 503);
    assert!(response.body.starts_with("no snapshot yet"), "{response:?}");
    proxy.readiness().set_configured();
    assert_eq!(get(address, "/readyz").await.status(), 200);
    assert_eq!(get(address, "/other").await.status(), 404);
    let response =
        client::ask(address, "POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((response.status(), response.field("allow")), (405, vec!["GET, HEAD"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown() {
    let endpoint = canned(OK).await;
    let (proxy, clients) = serving(&[endpoint.address]).await;
    let (proxy, address) = probed(proxy).await;
    client::ask(clients, client::GET).await;
    until("the account", || report(&proxy, "a").requests == 1).await;
    let response = get(address, "/metrics").await;
    assert!(response.field("content-type")[0].starts_with("text/plain; version=0.0.4"), "{response:?}");
    let (pool, id) = ("pool_namespace=\"shop\",pool=\"checkout\"", endpoint.address);
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("evenkeel_requests_total{{{pool},code=\"200\"}} 1"),
        format!("evenkeel_request_duration_seconds_bucket{{{pool},le=\"0.0005\"}} "),
        format!("evenkeel_request_duration_seconds_bucket{{{pool},le=\"120\"}} 1"),
        format!("evenkeel_request_duration_seconds_count{{{pool}}} 1"),
        format!("evenkeel_endpoint_duration_seconds_count{{{pool},endpoint=\"{id}\"}} 1"),
        format!("evenkeel_active_requests{{{pool}}} 0"),
        format!("evenkeel_endpoint_up{{{pool},endpoint=\"{id}\"}} 1"),
        format!("evenkeel_endpoint_weight{{{pool},endpoint=\"{id}\"}} 1"),
        format!("evenkeel_endpoint_effective_weight{{{pool},endpoint=\"{id}\"}} 1"),
        format!("evenkeel_endpoint_response_time_seconds{{{pool},endpoint=\"{id}\"}} 0.0"),
        format!("evenkeel_pool_algorithm_info{{{pool},algorithm=\"RoundRobin\"}} 1"),
        format!("evenkeel_backend_panic{{{pool},backend=\"all\"}} 0"),
        format!("evenkeel_endpoint_requests_total{{{pool},endpoint=\"{id}\"}} 1"),
        format!("evenkeel_build_info{{component=\"proxy\",version=\"{version}\"}} 1"),
        "evenkeel_connections_total 1".to_owned(),
        "process_resident_memory_bytes ".to_owned(),
        "# TYPE evenkeel_request_duration_seconds histogram".to_owned(),
    ] {
        assert!(
            response.body.lines().any(|found| found.starts_with(&line)),
            "{line} is not in {}",
            response.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_beyond_the_cap_have_no_series_of_their_own() {
    let endpoints: Vec<SocketAddr> =
        (1..=1_100).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let (proxy, _) = serving(&endpoints).await;
    let count = |text: &str| text.lines().filter(|line| line.starts_with("evenkeel_endpoint_up{")).count();
    assert_eq!(count(&crate::common::metrics(&proxy).await), 1_000);
    // Those that go make room.
    let rest = crate::common::pool(crate::common::free_port(), &endpoints[1_050..]);
    crate::common::activate(&proxy, &[]).await;
    crate::common::activate(&proxy, &[("a", &rest)]).await;
    assert_eq!(count(&crate::common::metrics(&proxy).await), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pick_is_explained_and_nothing_is_counted() {
    let endpoints = [canned(OK).await, canned(OK).await, canned(OK).await];
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let (proxy, clients) = serving_as(&addresses, |pool| {
        let keys = json!([{"type": "Header", "name": "x-user"}]);
        let of = json!({"type": "ConsistentHash", "consistentHash": {"keys": keys}});
        pool.algorithm = serde_json::from_value(of).unwrap();
        pool.allow_algorithm_override =
            Some(serde_json::from_value(json!({"allowed": ["LeastRequest"]})).unwrap());
    })
    .await;
    let proxy = Arc::new(proxy);
    let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin::serve_explanations(Arc::clone(&proxy), listener));
    let explained = async |query: &str| {
        let response = get(address, &format!("/explain?pool=shop/checkout{query}")).await;
        assert_eq!((response.status(), response.field("content-type")), (200, vec!["application/json"]));
        serde_json::from_str::<Explanation>(&response.body).unwrap()
    };
    for user in ["ann", "bob", "eve", "joe"] {
        let told = explained(&format!("&header=x-user:{user}")).await;
        assert_eq!((told.algorithm.as_str(), told.key.as_deref()), ("ConsistentHash", Some(user)));
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n");
        let before = report(&proxy, "a");
        client::ask(clients, request).await;
        let after = report(&proxy, "a");
        let took = after.endpoints.iter().find(|(id, of)| of.requests > before.endpoints[*id].requests);
        assert_eq!(took.map(|(id, _)| id), told.picked.as_ref(), "{told:?}");
    }
    let told = explained("").await;
    assert_eq!(told.fallbacks, ["the request has no key: a draw by weight"]);
    let told = explained("&algo=LeastRequest").await;
    assert_eq!(told.algorithm, "LeastRequest");
    assert!(
        told.candidates.iter().all(|of| of.score.as_ref().is_some_and(|score| score.value == 1.0)),
        "{told:?}"
    );
    assert_eq!(told.candidates.iter().filter(|of| of.fate == "Picked").count(), 1);
    assert_eq!(told.candidates.iter().filter(|of| of.why == "another one scored better").count(), 2);
    assert_eq!(report(&proxy, "a").endpoints.values().map(|of| of.requests).sum::<u64>(), 4);

    for (path, status, expect) in [
        ("/explain?pool=shop/other", 404, "this proxy has no pool shop/other"),
        ("/explain", 400, "name a pool"),
        ("/explain?pool=shop/checkout&algo=Prequal", 400, "such a request is refused: algorithm_not_allowed"),
        ("/metrics", 404, "there is /explain"),
    ] {
        let response = get(address, path).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(response.body.starts_with(expect), "{path}: {response:?}");
    }
}
