//! Pushes: who gets which port and name, what stays, and that no request notices.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use evenkeel_api::{channel::PoolDocument, object::AlgorithmType};
use evenkeel_proxy::SharedPort;

use crate::common::{
    activate, at,
    client::{self, Client, GET},
    endpoint::{OK, canned, endpoint},
    free_port, metrics, pool, proxy, proxy_with, report, serving, until, until_metric,
};

#[tokio::test(flavor = "multi_thread")]
async fn pushes_under_load_lose_nothing() {
    let endpoints = [canned(OK).await, canned(OK).await, canned(OK).await, canned(OK).await];
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let (proxy, address) = serving(&addresses).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|number| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
                while !stop.load(Relaxed) {
                    let response = client.ask(if number % 2 == 0 { GET } else { post }).await;
                    assert_eq!((response.status(), response.body.as_str()), (200, "ok"), "{response:?}");
                    answered.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let algorithms = [
        AlgorithmType::RoundRobin,
        AlgorithmType::SourceIPHash,
        AlgorithmType::LeastRequest,
        AlgorithmType::Prequal,
        AlgorithmType::Adaptive,
    ];
    for generation in 2..200 {
        let first = usize::try_from(generation).unwrap() % 3;
        let mut next = pool(address.port(), &addresses[first..=first + 1]);
        next.generation = generation;
        next.algorithm.type_ = algorithms[usize::try_from(generation).unwrap() % algorithms.len()];
        assert_eq!(activate(&proxy, &[("a", &next)]).await, BTreeMap::new());
        assert_eq!(report(&proxy, "a").generation, generation);
        tokio::task::yield_now().await;
    }
    stop.store(true, Relaxed);
    for client in load {
        client.await.unwrap();
    }
    let sent: usize = endpoints.iter().map(|endpoint| endpoint.record.count()).sum();
    assert_eq!(sent, answered.load(Relaxed));
    until("the accounts", || report(&proxy, "a").requests == sent as u64).await;
    let report = report(&proxy, "a");
    assert!(
        report.endpoints.values().all(|endpoint| (endpoint.in_flight, endpoint.failures) == (0, 0)),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_counts_for_the_very_next_request() {
    let (one, two) = (canned(OK).await, canned(OK).await);
    let proxy = proxy();
    let port = free_port();
    activate(&proxy, &[("a", &pool(port, &[one.address]))]).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(at(port)).await;
        client.ask(GET).await;
        clients.push(client);
    }
    let before = one.record.count();
    activate(&proxy, &[("a", &pool(port, &[two.address]))]).await;
    for client in &mut clients {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!((one.record.count(), two.record.count()), (before, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_stays_with_the_identity() {
    let endpoint = canned(OK).await;
    let proxy = proxy();
    let port = free_port();
    let mut first = pool(port, &[endpoint.address]);
    activate(&proxy, &[("a", &first)]).await;
    for _ in 0..3 {
        client::ask(at(port), GET).await;
    }
    first.generation = 2;
    first.algorithm.type_ = AlgorithmType::Random;
    activate(&proxy, &[("a", &first)]).await;
    let id = endpoint.address.to_string();
    assert_eq!(report(&proxy, "a").endpoints[&id].requests, 3);
    until("the accounts", || report(&proxy, "a").requests == 3).await;
    // What has left is told of no more, and comes back as it was; with its pool it is forgotten.
    activate(&proxy, &[("a", &pool(port, &[]))]).await;
    assert!(!metrics(&proxy).await.contains(&format!("endpoint=\"{id}\"")));
    activate(&proxy, &[("a", &first)]).await;
    assert_eq!(report(&proxy, "a").endpoints[&id].requests, 3);
    activate(&proxy, &[]).await;
    assert!(!metrics(&proxy).await.contains("pool=\"checkout\""));
    activate(&proxy, &[("a", &first)]).await;
    assert_eq!(report(&proxy, "a").endpoints[&id].requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_leaves_nothing_behind() {
    let endpoint = endpoint(|mut wire| async move {
        let request = wire.request().await.unwrap_or_default();
        if request.starts_with("GET /body ") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    for path in ["/head", "/body"] {
        let mut client = Client::connect(address).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        until("the request", || endpoint.record.requests().iter().any(|sent| sent.contains(path))).await;
        assert_eq!(report(&proxy, "a").endpoints.values().next().unwrap().in_flight, 1);
        if path == "/body" {
            client.head().await.unwrap();
        }
        drop(client);
        until("the end", || report(&proxy, "a").endpoints.values().next().unwrap().in_flight == 0).await;
    }
    for line in [
        "evenkeel_requests_total{pool_namespace=\"shop\",pool=\"checkout\",code=\"cancelled\"} 1",
        "evenkeel_requests_total{pool_namespace=\"shop\",pool=\"checkout\",code=\"200\"} 1",
        "evenkeel_active_requests{pool_namespace=\"shop\",pool=\"checkout\"} 0",
        "evenkeel_endpoint_connections 0",
    ] {
        until_metric(&proxy, line).await;
    }
    assert_eq!(report(&proxy, "a").endpoints.values().next().unwrap().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_program_has_is_named() {
    let endpoint = canned(OK).await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = (taken.local_addr().unwrap().port(), taken);
    let proxy = proxy();
    let (good, other) = (free_port(), free_port());
    let other = pool(other, &[endpoint.address]);
    activate(&proxy, &[("a", &pool(good, &[endpoint.address])), ("b", &other)]).await;

    let mut bad = pool(taken.0, &[]);
    bad.generation = 2;
    let mut changed = other.clone();
    changed.generation = 2;
    let rejected = activate(&proxy, &[("a", &bad), ("b", &changed)]).await;
    assert_eq!(rejected.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(rejected["a"][0].field, "listeners.web.port");
    assert!(rejected["a"][0].message.contains("another program has it"), "{rejected:?}");
    // The rejected one keeps its old version, the other has its new one.
    assert_eq!((report(&proxy, "a").generation, report(&proxy, "b").generation), (1, 2));
    assert_eq!(client::ask(at(good), GET).await.status(), 200);

    drop(taken.1);
    assert_eq!(activate(&proxy, &[("a", &bad), ("b", &changed)]).await, BTreeMap::new());
    assert_eq!(report(&proxy, "a").generation, 2);
    assert!(tokio::net::TcpStream::connect(at(good)).await.is_err(), "the old port is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pools_do_not_share_a_port() {
    let endpoint = canned(OK).await;
    let proxy = proxy();
    let port = free_port();
    let one = pool(port, &[endpoint.address]);
    let rejected = activate(&proxy, &[("a", &one), ("b", &one)]).await;
    assert_eq!(rejected.keys().collect::<Vec<_>>(), ["b"]);
    assert!(rejected["b"][0].message.contains("taken by pool shop/checkout"), "{rejected:?}");
    assert!(!proxy.plane().active().contains_key("b"));
    // The first goes, the second takes over without a gap for the port.
    assert_eq!(activate(&proxy, &[("b", &one)]).await, BTreeMap::new());
    assert_eq!(client::ask(at(port), GET).await.status(), 200);
}

fn named(hostnames: &[&str], endpoint: SocketAddr) -> PoolDocument {
    let mut pool = pool(free_port(), &[endpoint]);
    let listener = pool.listeners.get_mut("web").unwrap();
    listener.hostnames = hostnames.iter().map(|&hostname| hostname.to_owned()).collect();
    pool
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn host_names_select_on_the_shared_port() {
    let (one, two) = (canned(OK).await, canned(OK).await);
    let shared = free_port();
    let proxy = proxy_with(SharedPort::Always(shared));
    let mut client = Client::connect(at(shared)).await;
    let response = client.ask(get("shop.test")).await;
    assert_eq!((response.status(), response.reason()), (404, "unknown_host"));

    let exact = named(&["shop.test"], one.address);
    let wild = named(&["*.test"], two.address);
    activate(&proxy, &[("a", &exact), ("b", &wild)]).await;
    for host in ["shop.test", "SHOP.test:8080", "shop.test."] {
        assert_eq!(client.ask(get(host)).await.status(), 200, "{host}");
    }
    assert_eq!(client.ask("GET http://shop.test/ HTTP/1.1\r\nHost: other.org\r\n\r\n").await.status(), 200);
    assert_eq!(one.record.count(), 4);
    assert_eq!(client.ask(get("a.b.test")).await.status(), 200);
    assert_eq!(two.record.count(), 1);
    assert_eq!(client.ask(get("other.org")).await.reason(), "unknown_host");
    assert_eq!(client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.reason(), "unknown_host");
    let own = at(exact.listeners["web"].port);
    assert_eq!(client::ask(own, get("anything")).await.status(), 200, "an own port takes any host");
    let labels = "pool_namespace=\"\",pool=\"\",reason=\"unknown_host\",code=\"404\"";
    until_metric(&proxy, &format!("evenkeel_responses_total{{{labels}}} 3")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_has_one_owner_and_an_heir() {
    let (one, two) = (canned(OK).await, canned(OK).await);
    let shared = free_port();
    let proxy = proxy_with(SharedPort::Always(shared));
    let (first, second) = (named(&["shop.test"], one.address), named(&["shop.test"], two.address));
    let rejected = activate(&proxy, &[("a", &first), ("b", &second)]).await;
    assert_eq!(rejected["b"][0].field, "listeners.web.hostnames");
    assert_eq!(client::ask(at(shared), get("shop.test")).await.status(), 200);
    assert_eq!((one.record.count(), two.record.count()), (1, 0));
    assert_eq!(activate(&proxy, &[("b", &second)]).await, BTreeMap::new());
    assert_eq!(client::ask(at(shared), get("shop.test")).await.status(), 200);
    assert_eq!((one.record.count(), two.record.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_port_may_wait_for_a_name() {
    let endpoint = canned(OK).await;
    let shared = free_port();
    let proxy = proxy_with(SharedPort::WhenNamed(shared));
    assert!(tokio::net::TcpStream::connect(at(shared)).await.is_err());
    // Until then it is a port like any other.
    activate(&proxy, &[("a", &pool(shared, &[endpoint.address]))]).await;
    assert_eq!(client::ask(at(shared), get("any")).await.status(), 200);
    let pool = named(&["shop.test"], endpoint.address);
    let rejected = activate(&proxy, &[("a", &crate::common::pool(shared, &[])), ("b", &pool)]).await;
    assert_eq!(rejected["b"][0].field, "listeners.web.hostnames");
    assert_eq!(activate(&proxy, &[("b", &pool)]).await, BTreeMap::new());
    assert_eq!(client::ask(at(shared), get("shop.test")).await.status(), 200);
    assert_eq!(client::ask(at(shared), get("any")).await.reason(), "unknown_host");
    activate(&proxy, &[]).await;
    assert!(tokio::net::TcpStream::connect(at(shared)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_goes_lets_requests_end() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let endpoint = endpoint(move |mut wire| {
        let mut wait = wait.clone();
        async move {
            wire.request().await;
            wait.wait_for(|go| *go).await.unwrap();
            wire.send(OK).await;
        }
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let mut busy = Client::connect(address).await;
    busy.send(GET).await;
    let mut idle = Client::connect(address).await;
    until("the request", || endpoint.record.count() == 1).await;
    activate(&proxy, &[]).await;
    assert!(idle.is_closed().await);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    go.send(true).unwrap();
    let response = busy.response(false).await;
    assert_eq!((response.status(), response.field("connection")), (200, vec!["close"]), "{response:?}");
    assert!(busy.is_closed().await);
}
