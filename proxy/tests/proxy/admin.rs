//! Probes and metrics over their port.

use std::{net::SocketAddr, sync::Arc};

use evenkeel_proxy::{Proxy, admin};

use crate::common::{
    client::{self, Response},
    endpoint::{OK, canned},
    report, serving, until,
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
