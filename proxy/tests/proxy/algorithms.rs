//! What each algorithm does to real requests, beyond what the balancing core's own tests show.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use evenkeel_api::{
    channel::PoolDocument,
    object::{Algorithm, AlgorithmType, HealthCheck, PassiveHealthCheck, SessionAffinity, SlowStart},
};
use serde_json::json;

use crate::common::{
    PATIENCE, activate, at,
    client::{self, Client, GET, Response},
    endpoint::{Endpoint, OK, canned, endpoint},
    free_port, metrics, pool, proxy, report, serving_as, until, until_async, until_metric,
};

/// Endpoints that say who they are, and with what load.
async fn named(count: usize, more: &str) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for number in 0..count {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-name: e{number}\r\n{more}\r\n");
        endpoints.push(canned(answer.leak()).await);
    }
    endpoints
}

fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

fn field(response: &Response, name: &str) -> String {
    response.field(name).join(",")
}

async fn names(address: SocketAddr, requests: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for request in requests {
        let response = client::ask(address, request).await;
        names.push(field(&response, "x-name"));
    }
    names
}

fn gets(fields: impl Iterator<Item = String>) -> Vec<String> {
    fields.map(|field| format!("GET /cart HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")).collect()
}

fn algorithm(text: serde_json::Value) -> impl FnOnce(&mut PoolDocument) {
    move |pool| pool.algorithm = serde_json::from_value(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_endpoint_and_keys_are_spread() {
    for table in ["Ring", "Maglev", "Rendezvous"] {
        let keys = json!([{"type": "Header", "name": "x-user"}, {"type": "Path"}]);
        let of =
            json!({"type": "ConsistentHash", "consistentHash": {"keys": keys, "table": {"type": table}}});
        let endpoints = named(3, "").await;
        let (_proxy, address) = serving_as(&addresses(&endpoints), algorithm(of)).await;
        let users = || gets((0..24).map(|user| format!("x-user: user-{user}")));
        let first = names(address, &users()).await;
        assert_eq!(names(address, &users()).await, first, "{table}");
        let taken: BTreeSet<_> = first.iter().collect();
        assert_eq!(taken.len(), 3, "{table}: {first:?}");
        let without = names(address, &gets((0..6).map(|n| format!("x-other: {n}")))).await;
        assert!(without.iter().all(|name| *name == without[0]), "the path is the key then: {without:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_serves() {
    let endpoints = named(3, "").await;
    let types = [
        AlgorithmType::RoundRobin,
        AlgorithmType::WeightedRoundRobin,
        AlgorithmType::Random,
        AlgorithmType::PowerOfTwoChoices,
        AlgorithmType::LeastRequest,
        AlgorithmType::LeastResponseTime,
        AlgorithmType::SourceIPHash,
        AlgorithmType::Prequal,
        AlgorithmType::WeightedByLoad,
        AlgorithmType::Adaptive,
        AlgorithmType::Auto,
    ];
    for type_ in types {
        let of = Algorithm { type_, ..Algorithm::default() };
        let (proxy, address) = serving_as(&addresses(&endpoints), |pool| pool.algorithm = of).await;
        let expect = if type_ == AlgorithmType::SourceIPHash { 1 } else { 3 };
        let mut taken = BTreeMap::<_, u32>::new();
        let all = async {
            // As one asks after the other, those that go by speed may keep to the fastest for a while.
            while taken.len() < expect || taken.values().sum::<u32>() < 60 {
                for name in names(address, &gets((0..10).map(|n| format!("x-n: {n}")))).await {
                    *taken.entry(name).or_default() += 1;
                }
            }
        };
        assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "{type_:?}: {taken:?}");
        assert_eq!(taken.len(), expect, "{type_:?}: {taken:?}");
        let said = report(&proxy, "a").algorithm;
        let auto = type_ == AlgorithmType::Auto;
        assert!(auto || said == type_.as_str(), "{type_:?} is told as {said}");
        assert_eq!(report(&proxy, "a").auto.is_some(), auto);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_peer_are_told_apart_if_it_is_trusted() {
    let endpoints = named(3, "").await;
    let keys = json!({"keys": [{"type": "SourceIP"}]});
    for of in [json!({"type": "SourceIPHash"}), json!({"type": "ConsistentHash", "consistentHash": keys})] {
        for (trusted, expect) in [(vec!["127.0.0.0/8".parse().unwrap()], 3), (Vec::new(), 1)] {
            let (_proxy, address) = serving_as(&addresses(&endpoints), |pool| {
                pool.algorithm = serde_json::from_value(of.clone()).unwrap();
                pool.trusted_cidrs = trusted;
            })
            .await;
            let clients = (0..60).map(|n| format!("x-forwarded-for: 192.0.2.{n}"));
            let found: BTreeSet<_> = names(address, &gets(clients)).await.into_iter().collect();
            assert_eq!(found.len(), expect, "{of}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_plays_requests_again_and_leaves_turns_where_an_endpoint_is_slow() {
    let slow = endpoint(|mut wire| async move {
        while wire.request().await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            wire.send(OK).await;
        }
    })
    .await;
    let quick = named(2, "").await;
    let auto = json!({"allowed": ["RoundRobin", "LeastResponseTime"], "dwell": "1s"});
    let (proxy, address) = serving_as(
        &[slow.address, quick[0].address, quick[1].address],
        algorithm(json!({"type": "Auto", "auto": auto})),
    )
    .await;
    // On several connections, so that both threads have some.
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(address).await);
    }
    until_async("what was played speaks for the quick ones", async || {
        futures::future::join_all(clients.iter_mut().map(async |client| {
            for _ in 0..10 {
                assert_eq!(client.ask(GET).await.status(), 200);
            }
        }))
        .await;
        report(&proxy, "a").algorithm == "LeastResponseTime"
    })
    .await;
    let told = report(&proxy, "a").auto.expect("a choice");
    assert!(told.played >= 400, "{told:?}");
    assert!(told.reason.contains("played again: score 1.00 against"), "{told:?}");
    assert!(told.scores["LeastResponseTime"] < told.scores["RoundRobin"], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_starts_slowly() {
    let endpoints = named(3, "").await;
    let (proxy, port) = (proxy(), free_port());
    let window = evenkeel_api::Duration::from_secs(3);
    let pool_of = |generation: i64, count: usize| {
        let mut pool = pool(port, &addresses(&endpoints)[..count]);
        pool.generation = generation;
        pool.slow_start = Some(SlowStart { window, ..SlowStart::default() });
        pool
    };
    let weight =
        |index: usize| report(&proxy, "a").endpoints[&endpoints[index].address.to_string()].effective_weight;
    activate(&proxy, &[("a", &pool_of(1, 2))]).await;
    until("full weight of the first two", || weight(0) == 1.0 && weight(1) == 1.0).await;
    activate(&proxy, &[("a", &pool_of(2, 3))]).await;
    let first = weight(2);
    assert!(first > 0.0 && first < 1.0 && weight(0) == 1.0, "{first}, beside {}", weight(0));
    until("its full weight", || weight(2) == 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_start_counts_from_when_the_pod_was_ready() {
    let endpoints = named(3, "").await;
    let ids: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let (proxy, _) = serving_as(&addresses(&endpoints), |pool| {
        let window = evenkeel_api::Duration::from_secs(3600);
        pool.slow_start = Some(SlowStart { window, ..SlowStart::default() });
        let all = pool.backends.get_mut("all").unwrap();
        let half_an_hour_ago = SystemTime::now() - Duration::from_secs(1800);
        all.endpoints.get_mut(&ids[0]).unwrap().ready_since = Some(half_an_hour_ago.try_into().unwrap());
        all.endpoints.get_mut(&ids[1]).unwrap().ready_since =
            Some(SystemTime::UNIX_EPOCH.try_into().unwrap());
    })
    .await;
    let weight = |id: &String| report(&proxy, "a").endpoints[id].effective_weight;
    assert!((0.5..0.6).contains(&weight(&ids[0])), "{}", weight(&ids[0]));
    assert_eq!((weight(&ids[1]), weight(&ids[2])), (1.0, 1.0), "it has long been ready; nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_reports_are_read_and_kept_from_clients() {
    let load = "endpoint-load-metrics: TEXT cpu_utilization=0.5,rps_fractional=10\r\n";
    let endpoints = named(2, load).await;
    let of = json!({"type": "WeightedByLoad"});
    let (_proxy, address) = serving_as(&addresses(&endpoints), algorithm(of)).await;
    assert_eq!(field(&client::ask(address, GET).await, "endpoint-load-metrics"), "");
    let of = algorithm(json!({"type": "RoundRobin"}));
    let (_proxy, address) = serving_as(&addresses(&endpoints), of).await;
    assert_eq!(
        field(&client::ask(address, GET).await, "endpoint-load-metrics"),
        "",
        "whatever the algorithm"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_at_its_endpoint_and_moves_when_that_is_gone() {
    let endpoints = named(3, "").await;
    let (proxy, port) = (proxy(), free_port());
    let mut pool_of = pool(port, &addresses(&endpoints));
    pool_of.session_affinity = Some(SessionAffinity::default());
    activate(&proxy, &[("a", &pool_of)]).await;
    let first = client::ask(at(port), GET).await;
    let cookie = field(&first, "set-cookie");
    let pair = cookie.split(';').next().unwrap().to_owned();
    assert!(pair.starts_with("evenkeel-affinity="), "{cookie}");
    let home = field(&first, "x-name");
    let with = || gets((0..12).map(|_| format!("cookie: {pair}")));
    assert!(names(at(port), &with()).await.iter().all(|name| *name == home));
    assert_eq!(field(&client::ask(at(port), &with()[0]).await, "set-cookie"), "");

    let index: usize = home[1..].parse().unwrap();
    let mut left = addresses(&endpoints);
    left.remove(index);
    let mut next = pool(port, &left);
    (next.generation, next.session_affinity) = (2, Some(SessionAffinity::default()));
    activate(&proxy, &[("a", &next)]).await;
    let moved = client::ask(at(port), &with()[0]).await;
    assert_eq!(moved.status(), 200);
    assert_ne!(field(&moved, "set-cookie"), "", "it is told of its new endpoint");

    let labels = "pool_namespace=\"shop\",pool=\"checkout\",result";
    for (result, count) in [("begun", 1), ("kept", 13), ("moved", 1)] {
        until_metric(&proxy, &format!("evenkeel_session_requests_total{{{labels}=\"{result}\"}} {count}"))
            .await;
    }
    let told = serde_json::to_value(report(&proxy, "a")).unwrap();
    assert_eq!(told["sessions"], json!({"begun": 1, "kept": 13, "moved": 1, "passedOver": 0}));
    (next.generation, next.session_affinity) = (3, None);
    activate(&proxy, &[("a", &next)]).await;
    let told = serde_json::to_value(report(&proxy, "a")).unwrap();
    assert_eq!(told.get("sessions"), None, "older controllers read on");
}

/// Beginning of the series that say whether an endpoint takes requests.
const UP: &str = "evenkeel_endpoint_up{pool_namespace=\"shop\",pool=\"checkout\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_requests_is_not_up() {
    let endpoints = named(2, "").await;
    let (proxy, _) = serving_as(&addresses(&endpoints), |pool| {
        let all = pool.backends.get_mut("all").unwrap();
        let drained = endpoints[1].address.to_string();
        all.endpoints.get_mut(&drained).unwrap().weight = 0;
        // An endpoint that two backends have is shown once, where it takes requests.
        let mut idle = all.clone();
        idle.weight = 0;
        pool.backends.insert("idle".to_owned(), idle);
    })
    .await;
    let text = metrics(&proxy).await;
    for (endpoint, up) in [(&endpoints[0], 1), (&endpoints[1], 0)] {
        let line = format!("{UP},endpoint=\"{}\"}} ", endpoint.address);
        let found: Vec<_> = text.lines().filter_map(|found| found.strip_prefix(&line)).collect();
        assert_eq!(found, [up.to_string()]);
    }
    assert_eq!(report(&proxy, "a").endpoints[&endpoints[0].address.to_string()].backend, "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_taken_out_and_told() {
    let good = canned(OK).await;
    let bad = canned("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n").await;
    let passive = PassiveHealthCheck { consecutive_5xx: 3, ..PassiveHealthCheck::default() };
    let check = HealthCheck { passive: Some(passive), ..HealthCheck::default() };
    let (proxy, address) =
        serving_as(&[good.address, bad.address], |pool| pool.health_check = Some(check)).await;
    let id = bad.address.to_string();
    for _ in 0..8 {
        client::ask(address, GET).await;
    }
    until("its ejection", || report(&proxy, "a").endpoints[&id].is_ejected()).await;
    until_metric(&proxy, &format!("{UP},endpoint=\"{id}\"}} 0")).await;
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"Consecutive5xx\"";
    until_metric(&proxy, &format!("evenkeel_ejections_total{{{labels}}} 1")).await;
    let labels = format!("pool_namespace=\"shop\",pool=\"checkout\",endpoint=\"{id}\"");
    until_metric(&proxy, &format!("evenkeel_endpoint_ejected{{{labels},reason=\"Consecutive5xx\"}} 1")).await;
    until_metric(&proxy, &format!("evenkeel_endpoint_effective_weight{{{labels}}} 0")).await;
    let told = report(&proxy, "a").endpoints[&id].clone();
    assert_eq!(told.why_not().as_deref(), Some("ejected: Consecutive5xx"));
    assert!(told.effective_weight == 0.0, "{told:?}");
    for _ in 0..8 {
        assert_eq!(client::ask(address, GET).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_told_and_hides_no_ejection() {
    const BROKEN: &str = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n";
    let (good, bad, asked) = (canned(OK).await, canned(BROKEN).await, Arc::new(AtomicUsize::new(0)));
    let later = endpoint(move |mut wire| {
        let asked = Arc::clone(&asked);
        async move {
            while wire.request().await.is_some() {
                wire.send(if asked.fetch_add(1, Relaxed) < 8 { OK } else { BROKEN }).await;
            }
        }
    })
    .await;
    let passive = PassiveHealthCheck { max_ejection_percent: 100, ..PassiveHealthCheck::default() };
    let check = HealthCheck { passive: Some(passive), panic_threshold: 70, ..HealthCheck::default() };
    let addresses = [good.address, bad.address, later.address];
    let (proxy, address) = serving_as(&addresses, |pool| pool.health_check = Some(check)).await;
    let panics = |panics| {
        format!(
            "evenkeel_backend_panic{{pool_namespace=\"shop\",pool=\"checkout\",backend=\"all\"}} {panics}"
        )
    };
    until_metric(&proxy, &panics(0)).await;
    for _ in 0..18 {
        client::ask(address, GET).await;
    }
    until_metric(&proxy, &panics(1)).await;
    let told = report(&proxy, "a");
    assert_eq!(told.panicking, ["all"]);
    let told = &told.endpoints[&bad.address.to_string()];
    assert!(told.is_ejected() && told.effective_weight > 0.0, "{told:?}");
    let before = told.requests;
    for _ in 0..8 {
        client::ask(address, GET).await;
    }
    assert!(report(&proxy, "a").endpoints[&bad.address.to_string()].requests > before, "in spite of that");
    let labels = "pool_namespace=\"shop\",pool=\"checkout\",reason=\"Consecutive5xx\"";
    until_async("the second ejection, in the panic", async || {
        client::ask(address, GET).await;
        metrics(&proxy).await.contains(&format!("evenkeel_ejections_total{{{labels}}} 2"))
    })
    .await;
    assert!(report(&proxy, "a").endpoints[&later.address.to_string()].is_ejected());
}
