//! The whole path: a pool that is put in carries requests.

use crate::common::{
    activate, at,
    client::{self, Client, GET},
    endpoint::{OK, canned},
    free_port, pool, proxy, report, serving, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_through_and_back() {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.body.as_str()), (200, "ok"), "{response:?}");
    assert!(endpoint.record.only().starts_with("GET / HTTP/1.1\r\n"), "{}", endpoint.record.only());
    until("the account", || report(&proxy, "a").requests == 1).await;
    let report = report(&proxy, "a");
    let endpoint = &report.endpoints[&endpoint.address.to_string()];
    assert_eq!((endpoint.requests, endpoint.in_flight, endpoint.failures), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_on_both_sides() {
    let endpoint = canned(OK).await;
    let (_proxy, address) = serving(&[endpoint.address]).await;
    let mut client = Client::connect(address).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!(endpoint.record.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_take_turns_and_a_pool_can_go() {
    let (one, two) = (canned(OK).await, canned(OK).await);
    let proxy = proxy();
    let port = free_port();
    activate(&proxy, &[("a", &pool(port, &[one.address, two.address]))]).await;
    let mut client = Client::connect(at(port)).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!((one.record.count(), two.record.count()), (5, 5));
    activate(&proxy, &[]).await;
    assert!(client.is_closed().await);
    assert!(tokio::net::TcpStream::connect(at(port)).await.is_err());
}
