//! Requests that name another algorithm than their pool's.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::{Value, json};

use crate::common::{
    client::{self, Client, GET},
    endpoint::{Endpoint, canned},
    serving_as, until_async, until_metric,
};

/// Endpoints that say who they are.
async fn named(count: usize) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for number in 0..count {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-name: e{number}\r\n\r\n");
        endpoints.push(canned(answer.leak()).await);
    }
    endpoints
}

fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

async fn names(address: SocketAddr, requests: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for request in requests {
        names.push(client::ask(address, request).await.field("x-name").join(","));
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_another_algorithm_where_that_is_allowed() {
    let endpoints = named(3).await;
    let addresses = addresses(&endpoints);
    let keys = json!([{"type": "Header", "name": "x-user"}]);
    let of = json!({"type": "ConsistentHash", "consistentHash": {"keys": keys}});
    let allowed = json!({"allowed": ["RoundRobin", "Random"]});
    let (proxy, address) = serving_as(&addresses, |pool| {
        pool.algorithm = serde_json::from_value(of.clone()).unwrap();
        pool.allow_algorithm_override = serde_json::from_value(allowed).unwrap();
    })
    .await;
    let taken = async |field: &str, target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nx-user: ann\r\n{field}\r\n");
        let names = names(address, &vec![request; 12]).await;
        names.into_iter().collect::<BTreeSet<_>>().len()
    };
    assert_eq!(taken("", "/").await, 1, "the key's endpoint");
    assert_eq!(taken("x-evenkeel-algorithm: RoundRobin\r\n", "/").await, 3);
    assert_eq!(taken("", "/cart?a=1&algo=roundrobin").await, 3);
    assert_eq!(
        taken("x-evenkeel-algorithm: ConsistentHash\r\n", "/?algo=Random").await,
        1,
        "the header first"
    );
    let sent: Vec<_> = endpoints.iter().flat_map(|endpoint| endpoint.record.requests()).collect();
    assert!(!sent.iter().any(|request| request.contains("x-evenkeel")), "it is for us");
    assert_eq!(
        sent.iter().filter(|request| request.starts_with("GET /cart?a=1&algo=roundrobin ")).count(),
        12
    );

    for (field, target) in [("x-evenkeel-algorithm: Prequal\r\n", "/"), ("", "/?algo=nonsense")] {
        let refused = client::ask(address, format!("GET {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n")).await;
        assert_eq!((refused.status(), refused.reason()), (400, "algorithm_not_allowed"));
        assert!(refused.body.contains("allows RoundRobin, Random, ConsistentHash"), "{refused:?}");
    }
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",algorithm=\"RoundRobin\"";
    until_metric(&proxy, &format!("evenkeel_algorithm_overrides_total{{{labels}}} 24")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_no_request_names_an_algorithm() {
    let endpoints = named(2).await;
    let (_proxy, address) = serving_as(&addresses(&endpoints), |_| {}).await;
    let request = "GET /?algo=nonsense HTTP/1.1\r\nHost: a\r\nx-evenkeel-algorithm: nonsense\r\n\r\n";
    assert_eq!(client::ask(address, request).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_by_load_follow_reports_where_only_some_requests_go_by_them() {
    let of = |utilization: &str| {
        let report =
            format!("endpoint-load-metrics: TEXT cpu_utilization={utilization},rps_fractional=10\r\n");
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-name: {utilization}\r\n{report}\r\n")
    };
    let (idle, busy) = (canned(of("0.1").leak()).await, canned(of("0.9").leak()).await);
    let allowed = json!({"allowed": ["WeightedByLoad"]});
    let (_proxy, address) = serving_as(&[idle.address, busy.address], |pool| {
        pool.allow_algorithm_override = serde_json::from_value(allowed).unwrap();
    })
    .await;
    let request = "GET /?algo=WeightedByLoad HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let mut client = Client::connect(address).await;
    until_async("nine times as many", async || {
        let mut taken = 0;
        for _ in 0..20 {
            taken += usize::from(client.ask(&request).await.field("x-name") == ["0.1"]);
        }
        taken >= 17
    })
    .await;
}

/// A pool whose requests may name what `allowed` says.
async fn allowing(endpoints: &[SocketAddr], allowed: Value) -> (evenkeel_proxy::Proxy, SocketAddr) {
    serving_as(endpoints, |pool| pool.allow_algorithm_override = serde_json::from_value(allowed).unwrap())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_consistent_hashing_by_the_keys_that_are_given_for_it() {
    let endpoints = named(3).await;
    let hash = json!({"keys": [{"type": "Header", "name": "x-user"}], "table": {"type": "Rendezvous"}});
    let allowed = json!({"allowed": ["ConsistentHash"], "consistentHash": hash});
    let (_proxy, address) = allowing(&addresses(&endpoints), allowed).await;
    let request =
        |user: u32, field: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n{field}\r\n");
    let by_key = "x-evenkeel-algorithm: ConsistentHash\r\n";
    let mut homes = BTreeSet::new();
    for user in 0..12 {
        let taken: BTreeSet<_> = names(address, &vec![request(user, by_key); 4]).await.into_iter().collect();
        assert_eq!(taken.len(), 1, "user {user}: {taken:?}");
        homes.extend(taken);
    }
    assert_eq!(homes.len(), 3, "keys are spread");
    let others: BTreeSet<_> = names(address, &vec![request(0, ""); 6]).await.into_iter().collect();
    assert_eq!(others.len(), 3, "the pool goes round");
}

#[tokio::test(flavor = "multi_thread")]
async fn adaptive_follows_what_is_seen_of_all_requests_where_only_some_go_by_it() {
    // One of two fails, which the pool's own algorithm does not look at. Steps are five seconds apart.
    let answer = |status: &str, name: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nx-name: {name}\r\n\r\n").leak() as &str
    };
    let (good, bad) = (answer("200 OK", "good"), answer("500 Broken", "bad"));
    let (good, bad) = (canned(good).await, canned(bad).await);
    let (_proxy, address) =
        allowing(&[good.address, bad.address], json!({"allowed": ["Adaptive", "Auto", "SourceIPHash"]}))
            .await;
    let mut client = Client::connect(address).await;
    until_async("less for the one that fails", async || {
        for _ in 0..20 {
            _ = client.ask(GET).await;
        }
        let mut taken = 0;
        for _ in 0..40 {
            let request = "GET /?algo=Adaptive HTTP/1.1\r\nHost: a\r\n\r\n";
            taken += u32::from(client.ask(request).await.field("x-name") == ["bad"]);
        }
        taken <= 18
    })
    .await;
    // Auto stands for one of those that it may choose; which, the balancing core's tests show.
    let auto = client.ask("GET /?algo=Auto HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(["good", "bad"].contains(&auto.field("x-name").join(",").as_str()));
}
