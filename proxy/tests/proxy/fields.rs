//! What becomes of fields: hop-by-hop ones, Via, Max-Forwards, and who is said to have asked.

use crate::common::{
    client::{self, Client, GET, fields},
    endpoint::{OK, canned},
    serving, serving_as,
};

/// What the endpoint is sent for a request.
async fn forwarded(request: &str) -> String {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    assert_eq!(client::ask(address, request).await.status(), 200, "{request}");
    endpoint.record.only()
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_of_a_request_go() {
    let sent = forwarded(
        "GET /a?b=c HTTP/1.1\r\nHost: shop.test\r\nConnection: X-One, close\r\nConnection: keep-alive\r\nX-One: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: websocket\r\nX-Two: 2\r\n\r\n",
    )
    .await;
    assert!(sent.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{sent}");
    for gone in
        ["connection", "x-one", "keep-alive", "proxy-connection", "te", "upgrade", "transfer-encoding"]
    {
        assert_eq!(fields(&sent, gone), [""; 0], "{gone} in {sent}");
    }
    assert_eq!(fields(&sent, "x-two"), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn te_trailers_stays_and_is_for_the_next_hop() {
    let sent = forwarded("GET / HTTP/1.1\r\nHost: shop.test\r\nTE: gzip, trailers\r\n\r\n").await;
    assert_eq!((fields(&sent, "te"), fields(&sent, "connection")), (vec!["trailers"], vec!["te"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_of_a_response_go() {
    let endpoint = canned(
        "HTTP/1.1 200 OK\r\nConnection: x-one, keep-alive\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
         Upgrade: h2c\r\nX-Two: 2\r\nAllow: GET\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, GET).await;
    for gone in ["connection", "x-one", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(response.field(gone), [""; 0], "{gone} in {}", response.head);
    }
    assert_eq!(response.field("x-two"), ["2"]);
    assert_eq!((response.field("allow"), response.field("www-authenticate")), (vec!["GET"], vec!["Basic"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn path_query_and_end_to_end_fields_pass_untouched() {
    let sent = forwarded(
        "GET /a/../b//c%2Fd;x?q=%20+&r='%22 HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Basic eA==\r\nCookie: a=b\r\n\r\n",
    )
    .await;
    assert!(sent.starts_with("GET /a/../b//c%2Fd;x?q=%20+&r='%22 HTTP/1.1\r\n"), "{sent}");
    assert_eq!((fields(&sent, "authorization"), fields(&sent, "cookie")), (vec!["Basic eA=="], vec!["a=b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn via_is_added_on_both_ways_with_the_version_received() {
    let endpoint = canned("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nVia: 1.1 inner\r\n\r\nok").await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, "GET / HTTP/1.0\r\nHost: shop.test\r\nVia: 1.1 outer\r\n\r\n").await;
    let sent = endpoint.record.only();
    let via = fields(&sent, "via");
    assert_eq!(via[0], "1.1 outer");
    assert!(via[1].starts_with("1.0 evenkeel-"), "{via:?}");
    let via = response.field("via");
    assert_eq!(via[0], "1.1 inner");
    assert!(via[1].starts_with("1.1 evenkeel-"), "{via:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_at_its_second_turn() {
    // The pool's endpoint is the pool.
    let proxy = crate::common::proxy();
    let port = crate::common::free_port();
    let pool = crate::common::pool(port, &[crate::common::at(port)]);
    crate::common::activate(&proxy, &[("a", &pool)]).await;
    let response = client::ask(crate::common::at(port), GET).await;
    assert_eq!((response.status(), response.reason()), (508, "loop_detected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pools_in_a_row_are_no_loop() {
    let endpoint = canned(OK).await;
    let proxy = crate::common::proxy();
    let (outer, inner) = (crate::common::free_port(), crate::common::free_port());
    let pools = [
        ("a", &crate::common::pool(outer, &[crate::common::at(inner)])),
        ("b", &crate::common::pool(inner, &[endpoint.address])),
    ];
    crate::common::activate(&proxy, &pools).await;
    assert_eq!(client::ask(crate::common::at(outer), GET).await.status(), 200);
    assert_eq!(fields(&endpoint.record.only(), "via").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_forwards_is_counted_for_options_and_trace() {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    let ask =
        |method: &str, left: u32| format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
    let response = client.ask(ask("OPTIONS", 0)).await;
    assert_eq!((response.status(), response.field("allow").len()), (200, 1));
    let response = client.ask(ask("TRACE", 0)).await;
    assert_eq!((response.status(), response.reason()), (405, "trace_not_supported"));
    assert_eq!(endpoint.record.count(), 0);
    for (method, left) in [("OPTIONS", "0"), ("TRACE", "0"), ("GET", "1")] {
        client.ask(ask(method, 1)).await;
        let sent = endpoint.record.requests().pop().unwrap();
        assert_eq!(fields(&sent, "max-forwards"), [left], "{sent}");
    }
}

const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: shop.test:80\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
     X-Forwarded-Host: evil.test\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nx_other: 1\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_forwarding_fields_are_overwritten() {
    let sent = forwarded(CLAIMS).await;
    assert_eq!(fields(&sent, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(fields(&sent, "x-forwarded-proto"), ["http"]);
    assert_eq!(fields(&sent, "x-forwarded-host"), ["shop.test:80"]);
    assert_eq!(fields(&sent, "forwarded"), ["for=127.0.0.1;proto=http;host=\"shop.test:80\""]);
    assert_eq!((fields(&sent, "x_forwarded_for"), fields(&sent, "x_other")), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_peers_forwarding_fields_are_kept() {
    let endpoint = canned(OK).await;
    let trust = |pool: &mut evenkeel_api::channel::PoolDocument| {
        pool.trusted_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let (_proxy, address) = serving_as(&[endpoint.address], trust).await;
    client::ask(address, CLAIMS).await;
    let sent = endpoint.record.only();
    assert_eq!(fields(&sent, "x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(fields(&sent, "x-forwarded-proto"), ["https"]);
    assert_eq!(fields(&sent, "x-forwarded-host"), ["evil.test"]);
    assert_eq!(fields(&sent, "forwarded"), ["for=6.6.6.6, for=127.0.0.1;proto=http;host=\"shop.test:80\""]);
    assert_eq!(fields(&sent, "x_forwarded_for"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_is_that_of_an_absolute_target() {
    let sent = forwarded("GET http://other.test/x?y HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert!(sent.starts_with("GET /x?y HTTP/1.1\r\n"), "{sent}");
    assert_eq!(fields(&sent, "host"), ["other.test"]);
    let sent = forwarded("GET http://other.test HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert!(sent.starts_with("GET / HTTP/1.1\r\n"), "{sent}");
}
