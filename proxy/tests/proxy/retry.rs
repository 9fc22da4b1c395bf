//! What is sent again, and what is not.

use crate::common::{
    client::{self, Client, GET},
    endpoint::{OK, canned, endpoint, full, refusing},
    report, serving, serving_as, until, until_metric,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_goes_to_another_endpoint() {
    let (_held, refused) = refusing();
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[refused, endpoint.address]).await;
    let mut client = Client::connect(address).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
        assert_eq!(client.ask(post).await.status(), 200);
    }
    assert_eq!(endpoint.record.count(), 20);
    assert_eq!(endpoint.record.requests().iter().filter(|sent| sent.ends_with("hello")).count(), 10);
    let report = report(&proxy, "a");
    assert_eq!(report.retries, report.endpoints[&refused.to_string()].failures);
    assert!((1..=20).contains(&report.retries), "{report:?}");
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"connect_failed\"";
    until_metric(&proxy, &format!("evenkeel_retries_total{{{labels}}} {}", report.retries)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_open_goes_to_another_endpoint() {
    let (_held, silent) = full().await;
    let endpoint = canned(OK).await;
    let (proxy, address) = serving_as(&[silent, endpoint.address], |pool| {
        pool.timeouts.connect = evenkeel_api::Duration::from_millis(50)
    })
    .await;
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    // The retry takes a turn too, so the second request may meet the same one again.
    assert!((1..=2).contains(&report(&proxy, "a").retries));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_retry() {
    let (_one, one) = refusing();
    let (_two, two) = refusing();
    let (_three, three) = refusing();
    let (proxy, address) = serving(&[one, two, three]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (502, "connect_failed"), "{response:?}");
    let report = report(&proxy, "a");
    assert_eq!((report.retries, report.endpoints.values().map(|endpoint| endpoint.failures).sum()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_endpoint_the_first_error_stands() {
    let (_held, silent) = full().await;
    let (proxy, address) =
        serving_as(&[silent], |pool| pool.timeouts.connect = evenkeel_api::Duration::from_millis(50)).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (504, "connect_timeout"), "{response:?}");
    assert_eq!(report(&proxy, "a").retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_sent_is_not_sent_again() {
    let closing = endpoint(|mut wire| async move {
        wire.request().await;
    })
    .await;
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[closing.address, endpoint.address]).await;
    let mut client = Client::connect(address).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        statuses.push(client.ask(request).await.status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!((closing.record.count(), endpoint.record.count()), (2, 2));
    assert_eq!(report(&proxy, "a").retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_was_closed_is_made_anew() {
    // Each connection serves one request and then ends, without saying so before.
    let endpoint = endpoint(|mut wire| async move {
        wire.request().await;
        wire.send(OK).await;
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for round in 1..=20 {
        assert_eq!(client.ask(GET).await.status(), 200);
        until_metric(&proxy, "evenkeel_endpoint_connections 0").await;
        assert_eq!(endpoint.record.connections(), round);
    }
    assert_eq!(report(&proxy, "a").retries, 0);
    until("the end of all", || {
        report(&proxy, "a").endpoints.values().all(|endpoint| endpoint.in_flight == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_used_again_before_its_request_is_sent() {
    // It answers at once, and takes the body later.
    let endpoint = endpoint(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send(OK).await;
        }
    })
    .await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut slow = Client::connect(address).await;
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n").await;
    assert_eq!(slow.response(false).await.status(), 200);
    let mut client = Client::connect(address).await;
    for _ in 0..5 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert!(endpoint.record.connections() >= 2);
}
