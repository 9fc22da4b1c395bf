//! What is waited for, and how long.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt as _, time::sleep};

use evenkeel_proxy::Proxy;

use crate::common::{
    client::{self, Client, GET},
    endpoint::{OK, answering_root_alone, canned, endpoint},
    report, serving_as, until, until_metric,
};

const SHORT: evenkeel_api::Duration = evenkeel_api::Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer() {
    let endpoint = endpoint(|mut wire| async move { while wire.request().await.is_some() {} }).await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.request = SHORT).await;
    for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"] {
        let response = client::ask(address, request).await;
        assert_eq!((response.status(), response.reason()), (504, "endpoint_timeout"), "{response:?}");
    }
    // What is late is not waited for, and its connection is not used again.
    until_metric(&proxy, "evenkeel_endpoint_connections 0").await;
    let report = report(&proxy, "a");
    assert_eq!((report.retries, report.endpoints.values().next().unwrap().failures), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_an_upload_is_not_the_endpoints() {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.request = SHORT).await;
    let mut client = Client::connect(address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    for byte in ["h", "e", "l", "l", "o"] {
        sleep(Duration::from(SHORT) / 2).await;
        client.send(byte).await;
    }
    assert_eq!(client.response(false).await.status(), 200);
    until("its answer is counted", || response_time(&proxy).is_some()).await;
    let took = response_time(&proxy).unwrap();
    assert!(took < Duration::from(SHORT).as_secs_f64() * 1e3, "{took} ms, of more than 375 ms in all");
}

fn response_time(proxy: &Proxy) -> Option<f64> {
    report(proxy, "a").endpoints.values().next().unwrap().response_time_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_in_vain_teaches_that_the_endpoint_is_slow() {
    let served = answering_root_alone().await;
    let (proxy, address) = serving_as(&[served.address], |_| {}).await;
    assert_eq!(client::ask(address, GET).await.status(), 200);
    until("its answer is counted", || response_time(&proxy).is_some()).await;
    let took = response_time(&proxy).unwrap();
    let mut impatient = Client::connect(address).await;
    impatient.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it is sent on", || served.record.count() == 2).await;
    let sent = Instant::now();
    until("it waits much longer than an answer took", || sent.elapsed().as_secs_f64() * 1e3 > 3.0 * took)
        .await;
    drop(impatient);
    until("what it waited is counted", || response_time(&proxy).is_some_and(|now| now > took)).await;
    assert_eq!(report(&proxy, "a").endpoints.values().next().unwrap().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_more() {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    let mut client = Client::connect(address).await;
    let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await;
    assert_eq!((response.status(), response.reason()), (408, "request_stalled"), "{response:?}");
    assert!(client.is_closed().await);
    until("the end", || report(&proxy, "a").endpoints.values().all(|endpoint| endpoint.in_flight == 0)).await;
    assert_eq!(
        report(&proxy, "a").endpoints.values().next().unwrap().failures,
        0,
        "it is not the endpoint's fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_no_more() {
    let endpoint = endpoint(|mut wire| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let (_proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    let client = Client::connect(address).await;
    let (mut reading, mut writing) = client.stream.into_split();
    let upload = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 1 << 30);
        writing.write_all(head.as_bytes()).await?;
        loop {
            writing.write_all(&[b'x'; 65_536]).await?;
        }
        #[expect(unreachable_code, reason = "says the type")]
        Ok::<_, std::io::Error>(())
    });
    let mut response = Vec::new();
    // The proxy may reset the connection after its response, as the upload goes on.
    _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut response).await;
    let response = String::from_utf8(response).unwrap();
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    assert!(response.contains("x-evenkeel-reason: endpoint_stalled"), "{response}");
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_goes_silent() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        std::future::pending::<()>().await;
    })
    .await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    let mut client = Client::connect(address).await;
    client.send(GET).await;
    client.head().await.unwrap();
    assert_eq!(client.rest().await, "half");
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"stream_idle\"";
    until_metric(&proxy, &format!("evenkeel_responses_broken_total{{{labels}}} 1")).await;
    until("the failure", || report(&proxy, "a").endpoints.values().next().unwrap().failures == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_more() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 30)).await;
        while wire.stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    })
    .await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    let mut client = Client::connect(address).await;
    client.send(GET).await;
    client.head().await.unwrap();
    until("the end", || {
        let report = report(&proxy, "a");
        report.requests == 1 && report.endpoints.values().all(|endpoint| endpoint.in_flight == 0)
    })
    .await;
    until_metric(&proxy, "evenkeel_connections 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stream_is_no_idle_one() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
        for byte in ["h", "e", "l", "l", "o"] {
            sleep(Duration::from(SHORT) / 2).await;
            wire.send(byte).await;
        }
    })
    .await;
    let (_proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    assert_eq!(client::ask(address, GET).await.body, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_http_2_that_takes_no_more() {
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 30)).await;
        while wire.stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    })
    .await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| pool.timeouts.stream_idle = SHORT).await;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = || http::Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request()).await.unwrap();
    // Its window is full, and it reads nothing; the endpoint is let go of.
    until("the end", || report(&proxy, "a").endpoints.values().all(|endpoint| endpoint.in_flight == 0)).await;
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"client_stalled\"";
    until_metric(&proxy, &format!("evenkeel_responses_broken_total{{{labels}}} 1")).await;
    assert!(response.into_body().collect().await.is_err(), "what is not whole does not look whole");
    // The connection serves on.
    assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
}
