//! What the proxy answers by itself: the status, the reason, and the metric.

use evenkeel_proxy::{Proxy, ProxyConfig, SharedPort};
use tokio::net::TcpStream;

use crate::common::{
    activate, at,
    client::{self, Client, GET},
    config,
    endpoint::{OK, canned, endpoint},
    free_port, metrics, pool, report, serving, until, until_async, until_metric,
};

/// A request's refusal: its status and reason, the metric, and that no endpoint saw anything.
async fn check(request: &str, status: u16, reason: &str) {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, request).await;
    assert_eq!((response.status(), response.reason()), (status, reason), "{request}: {response:?}");
    assert!(response.body.starts_with(&format!("{status} {reason}: ")), "{response:?}");
    assert_eq!(endpoint.record.count(), 0);
    let made = metrics(&proxy).await;
    let line = made.lines().find(|line| line.starts_with("evenkeel_responses_total{")).unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")) && line.ends_with(" 1"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nobody_new_is_let_in() {
    let endpoint = canned(OK).await;
    let proxy = Proxy::start(ProxyConfig { memory_limit: Some(1), ..config(SharedPort::None) }).unwrap();
    let port = free_port();
    activate(&proxy, &[("a", &pool(port, &[endpoint.address]))]).await;
    let line = "evenkeel_connections_refused_total{reason=\"memory\"}";
    until_async("a refusal", || async {
        drop(TcpStream::connect(at(port)).await);
        metrics(&proxy).await.lines().any(|found| found.starts_with(line))
    })
    .await;
    let mut client = Client::connect(at(port)).await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_none() {
    check("GET / HTTP/1.1\r\n\r\n", 400, "host_missing").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_ambiguous").await;
    check("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host_invalid").await;
    check("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host_invalid").await;
    check("GET http://a/ HTTP/1.1\r\nHost: @\r\n\r\n", 400, "host_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done() {
    check("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "connect_not_supported").await;
    let target = "x".repeat(40_000);
    check(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "target_too_long").await;
}

/// What hyper answers by itself is counted too.
async fn check_malformed(request: &str, status: u16, reason: &str) {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    client.send(request).await;
    assert_eq!(client.response(false).await.status(), status, "{request:?}");
    assert!(client.is_closed().await);
    assert_eq!(endpoint.record.count(), 0);
    let labels = format!("pool_namespace=\"shop\",pool=\"checkout\",reason=\"{reason}\",code=\"{status}\"");
    until_metric(&proxy, &format!("evenkeel_responses_total{{{labels}}} 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads() {
    for bad in [
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "G@T / HTTP/1.1 x\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        check_malformed(bad, 400, "request_malformed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large() {
    let field = "x".repeat(70_000);
    check_malformed(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {field}\r\n\r\n"), 431, "head_too_large").await;
    let fields = "X: 1\r\n".repeat(101);
    check_malformed(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431, "head_too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_endpoint() {
    let (proxy, address) = serving(&[]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (503, "no_endpoint"));
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((response.status(), response.reason()), (503, "no_endpoint"));
    }
    until("the accounts", || report(&proxy, "a").requests == 3).await;
}

/// An endpoint's failure: the status and reason, and that it is counted as the endpoint's.
async fn check_endpoint(reply: &'static str, status: u16, reason: &str) {
    let endpoint = endpoint(move |mut wire| async move {
        wire.request().await;
        wire.send(reply).await;
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (status, reason), "{reply:?}: {response:?}");
    until("the failure", || report(&proxy, "a").endpoints.values().next().unwrap().failures == 1).await;
    assert_eq!(report(&proxy, "a").retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_make_no_sense() {
    check_endpoint("", 502, "endpoint_closed").await;
    check_endpoint("HTTP/1.1 200 OK\r\nContent-Le", 502, "endpoint_closed").await;
    check_endpoint("hello\r\n\r\n", 502, "response_malformed").await;
    check_endpoint("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 502, "response_malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_response() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.reset();
    })
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (502, "endpoint_closed"));
    assert_eq!(endpoint.record.count(), 1, "it was sent, so it is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_ends_the_connection() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    client.send(GET).await;
    let head = client.head().await.unwrap();
    assert!(head.contains("content-length: 10"), "{head}");
    assert_eq!(client.rest().await, "half");
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"endpoint_closed\"";
    until_metric(&proxy, &format!("evenkeel_responses_broken_total{{{labels}}} 1")).await;
    until("the failure", || report(&proxy, "a").endpoints.values().next().unwrap().failures == 1).await;
    let lately = || report(&proxy, "a").endpoints.into_values().next().unwrap().recent.unwrap();
    until("the same of what it did lately", || lately().failures == 1).await;
    assert_eq!((lately().requests, lately().success_rate), (1, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_500_and_above_are_failures_and_pass() {
    let endpoint =
        canned("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy").await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.body.as_str(), response.reason()), (503, "busy", ""));
    assert_eq!(response.field("retry-after"), ["1"]);
    until("the failure", || report(&proxy, "a").endpoints.values().next().unwrap().failures == 1).await;
}
