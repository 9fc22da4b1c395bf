//! Bodies, trailers, versions, and sizes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::common::{
    client::{self, Client, GET, fields},
    endpoint::{OK, canned, endpoint},
    report, serving, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_known_length_pass() {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    client::ask(address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    let sent = endpoint.record.only();
    assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
    assert_eq!((fields(&sent, "content-length"), fields(&sent, "transfer-encoding")), (vec!["5"], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_pass_for_any_method() {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for method in ["POST", "GET", "DELETE"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n"
        );
        assert_eq!(client.ask(request).await.status(), 200);
        let sent = endpoint.record.requests().pop().unwrap();
        assert!(sent.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{sent}");
    }
    assert_eq!(endpoint.record.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_where_there_is_none() {
    let endpoint = canned("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let response = client.ask(GET).await;
        assert_eq!((response.status(), response.field("content-length")), (204, vec![]), "{response:?}");
        assert_eq!(response.field("transfer-encoding"), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_tells_the_length_and_sends_no_body() {
    for (response, len) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", vec!["12345"]),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", vec![]),
    ] {
        let endpoint = canned(response).await;
        let (_proxy, address) = serving(&[endpoint.address]).await;
        let mut client = Client::connect(address).await;
        for _ in 0..2 {
            let response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(
                (response.status(), response.field("content-length")),
                (200, len.clone()),
                "{response:?}"
            );
        }
        assert_eq!(endpoint.record.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_modified_has_no_body() {
    let endpoint = canned("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 100\r\n\r\n").await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let response = client.ask(GET).await;
        assert_eq!((response.status(), response.field("etag")), (304, vec!["\"x\""]), "{response:?}");
    }
}

const TRAILED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum, X-Hop\r\nConnection: X-Hop\r\n\
     Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Hop: 1\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn announced_trailers_pass_both_ways_as_trailers() {
    let endpoint = canned(
        "HTTP/1.1 200 OK\r\nTrailer: X-End, X-Hop\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
         X-End: 9\r\nX-Hop: 1\r\n\r\n",
    )
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, TRAILED).await;
    let sent = endpoint.record.only();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
    assert_eq!(fields(head, "x-sum"), [""; 0]);
    assert_eq!((response.body.as_str(), response.trailers.as_str()), ("ok", "x-end: 9\r\n"));
    assert_eq!(response.field("x-end"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_clients_are_served() {
    let endpoint = canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    // Without a Host, the body ended by the end of the connection.
    let response = client::ask(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((response.status(), response.body.as_str()), (200, "ok"), "{response:?}");
    assert_eq!(response.field("transfer-encoding"), [""; 0]);
    let sent = endpoint.record.only();
    assert!(sent.starts_with("GET / HTTP/1.1\r\n"), "{sent}");
    assert_eq!(fields(&sent, "host").len(), 1, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_over_http_1_0_is_understood() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    })
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for connections in 1..3 {
        let response = client.ask(GET).await;
        assert_eq!(
            (response.body.as_str(), response.field("transfer-encoding")),
            ("to the end", vec!["chunked"])
        );
        assert!(response.head.starts_with("HTTP/1.1 "), "{response:?}");
        assert_eq!(endpoint.record.connections(), connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn informational_responses_are_skipped_and_expectations_answered() {
    let endpoint = endpoint(|mut wire| async move {
        while wire.request().await.is_some() {
            wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
            wire.send(OK).await;
        }
    })
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.response(false).await.status(), 100);
    let response = client.ask("hi").await;
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(fields(&endpoint.record.only(), "expect"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_request_lines_work() {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let path = "x".repeat(20_000);
    let response = client::ask(address, format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(response.status(), 200, "{response:?}");
    assert!(endpoint.record.only().starts_with(&format!("GET /{path} HTTP/1.1\r\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_not_passed_on_and_none_is_taken() {
    let endpoint =
        canned("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let response = client::ask(address, ask).await;
    assert_eq!((response.status(), response.reason()), (502, "unexpected_upgrade"), "{response:?}");
    assert_eq!(fields(&endpoint.record.only(), "upgrade"), [""; 0]);
    until("the failure", || report(&proxy, "a").endpoints.values().next().unwrap().failures == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_passed_on_as_they_come() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
        // The rest comes only once the client has said that it has the first.
        wire.request().await;
    })
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    client.send(GET).await;
    client.head().await.unwrap();
    assert_eq!(client.line().await.unwrap(), "3\r\n");
    assert_eq!(client.line().await.unwrap(), "one\r\n");
    assert!(client.is_quiet(Duration::from_millis(20)).await);
}

async fn http2(
    address: std::net::SocketAddr,
) -> http2::SendRequest<http_body_util::combinators::BoxBody<Bytes, std::io::Error>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_with_prior_knowledge() {
    let endpoint = canned(
        "HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\nConnection: close, x-one\r\nX-One: 1\r\n\r\n\
         2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n",
    )
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut sender = http2(address).await;
    let frames = futures::stream::iter([Ok(http_body::Frame::data(Bytes::from_static(b"hello")))]);
    let request = http::Request::post(format!("http://{address}/a?b"))
        .header("te", "trailers")
        .body(StreamBody::new(frames).boxed())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("connection") && !response.headers().contains_key("x-one"));
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "ok");
    let sent = endpoint.record.only();
    assert!(sent.starts_with("POST /a?b HTTP/1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{sent}");
    assert_eq!(fields(&sent, "host"), [address.to_string()]);
    assert_eq!((fields(&sent, "te"), fields(&sent, "connection")), (vec!["trailers"], vec!["te"]));
    assert!(fields(&sent, "via")[0].starts_with("2 evenkeel-"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_over_http_2_have_their_reason() {
    let (proxy, address) = serving(&[]).await;
    let mut sender = http2(address).await;
    let body = || Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
    let request = || http::Request::get(format!("http://{address}/")).body(body()).unwrap();
    for _ in 0..2 {
        let response = sender.send_request(request()).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-evenkeel-reason"], "no_endpoint");
    }
    until("the accounts", || report(&proxy, "a").requests == 2).await;
    // h2 would answer these by itself, and say nothing.
    let mut large = request();
    large.headers_mut().insert("x-large", "x".repeat(20_000).parse().unwrap());
    let mut many = request();
    for _ in 0..101 {
        many.headers_mut().append("x-many", "x".parse().unwrap());
    }
    for request in [large, many] {
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-evenkeel-reason"]),
            (431, &"head_too_large".parse().unwrap())
        );
    }
}
