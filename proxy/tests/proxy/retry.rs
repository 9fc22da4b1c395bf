//! What is sent again, and what is not.

use evenkeel_api::channel::PoolDocument;
use serde_json::json;

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
    for _ in 0..8 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!(report(&proxy, "a").retries, 4, "a retry takes nobody's turn");
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

fn retries(of: serde_json::Value) -> impl FnOnce(&mut PoolDocument) {
    move |pool| pool.retries = Some(serde_json::from_value(of).unwrap())
}

const BROKEN: &str = "HTTP/1.1 503 Broken\r\nContent-Length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_tried_again_at_each_other_endpoint_once() {
    let (one, two, good) = (canned(BROKEN).await, canned(BROKEN).await, canned(OK).await);
    let addresses = [one.address, two.address, good.address];
    let (proxy, address) = serving_as(&addresses, retries(json!({"attempts": 5, "codes": [503]}))).await;
    let mut client = Client::connect(address).await;
    for round in 1..=3 {
        assert_eq!(client.ask(GET).await.status(), 200);
        assert_eq!(good.record.count(), round);
        assert!(one.record.count() <= round && two.record.count() <= round);
    }
    let report = report(&proxy, "a");
    let spent = u64::try_from(one.record.count() + two.record.count()).unwrap();
    assert_eq!(
        (report.retries, report.endpoints.values().map(|of| of.failures).sum::<u64>()),
        (spent, spent)
    );
    let pool = "pool_namespace=\"shop\",pool=\"checkout\"";
    until_metric(&proxy, &format!("evenkeel_retries_total{{{pool},reason=\"status\"}} {spent}")).await;
    until("the end of all", || {
        crate::common::report(&proxy, "a").endpoints.values().all(|endpoint| endpoint.in_flight == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_endpoint_the_last_answer_stands() {
    let (one, two) = (canned(BROKEN).await, canned(BROKEN).await);
    let (proxy, address) =
        serving_as(&[one.address, two.address], retries(json!({"attempts": 5, "codes": [503]}))).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (503, ""), "the endpoint's own");
    assert_eq!((one.record.count(), two.record.count(), report(&proxy, "a").retries), (1, 1, 1));
    let pool = "pool_namespace=\"shop\",pool=\"checkout\"";
    until_metric(&proxy, &format!("evenkeel_retried_requests_total{{{pool},result=\"failed\"}} 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_acted_on_is_sent_again_only_if_that_does_no_harm() {
    let closing = endpoint(|mut wire| async move {
        wire.request().await;
    })
    .await;
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving_as(&[closing.address, endpoint.address], retries(json!({}))).await;
    let mut client = Client::connect(address).await;
    let mut statuses = async |request: &str| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(client.ask(request).await.status());
        }
        statuses.sort_unstable();
        statuses
    };
    assert_eq!(statuses(GET).await, [200; 4]);
    assert_eq!(statuses("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").await, [200; 4]);
    // A retry takes a turn too; without one, every other request meets the one that closes.
    for sent in
        ["POST / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"]
    {
        assert_eq!(statuses(sent).await, [200, 200, 502, 502], "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_tried_again_where_the_pool_says_so() {
    let silent = endpoint(|mut wire| async move { while wire.request().await.is_some() {} }).await;
    let good = canned(OK).await;
    for (on, expect) in [(json!(["Timeout"]), vec![200, 200]), (json!(["Closed"]), vec![200, 504])] {
        let (_proxy, address) = serving_as(&[silent.address, good.address], |pool| {
            retries(json!({"on": on}))(pool);
            pool.timeouts.request = evenkeel_api::Duration::from_millis(50);
        })
        .await;
        let mut client = Client::connect(address).await;
        let mut statuses = [client.ask(GET).await.status(), client.ask(GET).await.status()];
        statuses.sort_unstable();
        assert_eq!(statuses, *expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_spent_ends_retries() {
    let (broken, good) = (canned(BROKEN).await, canned(OK).await);
    let of =
        json!({"codes": [503], "budget": {"percent": 0}, "minRetryRate": {"count": 3, "interval": "1h"}});
    let (proxy, address) = serving_as(&[broken.address, good.address], retries(of)).await;
    let mut client = Client::connect(address).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.ask(GET).await.status());
    }
    assert_eq!(report(&proxy, "a").retries, 3);
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!(refused > 0 && broken.record.count() == refused + 3, "{statuses:?}");
    let pool = "pool_namespace=\"shop\",pool=\"checkout\"";
    until_metric(&proxy, &format!("evenkeel_retries_refused_total{{{pool}}} {refused}")).await;
    until_metric(&proxy, &format!("evenkeel_retried_requests_total{{{pool},result=\"answered\"}} 3")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_may_have_no_retries_at_all() {
    let (_held, refused) = refusing();
    let good = canned(OK).await;
    let (proxy, address) = serving_as(&[refused, good.address], retries(json!({"attempts": 0}))).await;
    let mut client = Client::connect(address).await;
    let mut statuses = [client.ask(GET).await.status(), client.ask(GET).await.status()];
    statuses.sort_unstable();
    assert_eq!((statuses, report(&proxy, "a").retries), ([200, 502], 0));
}
