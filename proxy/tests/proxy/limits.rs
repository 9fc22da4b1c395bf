//! How much endpoints are given at a time, and who waits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use evenkeel_api::{
    channel::{PoolDocument, SessionsReport},
    object::SessionAffinity,
};
use evenkeel_proxy::explain::{Question, explain};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::common::{
    activate, at,
    client::{self, Client, GET},
    endpoint::{Endpoint, OK, canned, endpoint},
    free_port, pool, proxy, report, serving_as, until, until_metric,
};

/// An endpoint that answers a request only when it is let.
struct Gated {
    endpoint: Endpoint,
    gate: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
}

impl Gated {
    async fn new() -> Self {
        let (gate, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (shut, highest, now) = (Arc::clone(&gate), Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
        let endpoint = endpoint(move |mut wire| {
            let (gate, most, now) = (Arc::clone(&shut), Arc::clone(&highest), Arc::clone(&now));
            async move {
                while wire.request().await.is_some() {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    gate.acquire().await.unwrap().forget();
                    now.fetch_sub(1, SeqCst);
                    wire.send(OK).await;
                }
            }
        });
        Self { endpoint: endpoint.await, gate, most }
    }

    /// Lets so many requests be answered.
    fn let_go(&self, requests: usize) {
        self.gate.add_permits(requests);
    }
}

fn limits(requests: u32, queue: Option<Value>) -> impl FnOnce(&mut PoolDocument) {
    let mut limits = json!({"perEndpoint": {"concurrentRequests": requests}});
    if let Some(queue) = queue {
        limits["queue"] = queue;
    }
    move |pool| pool.limits = Some(serde_json::from_value(limits).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_endpoint_is_passed_over() {
    let (busy, free) = (Gated::new().await, canned(OK).await);
    let (proxy, address) =
        serving_as(&[busy.endpoint.address, free.address], limits(1, Some(json!({})))).await;
    // On two threads, so that one of them has two turns at least.
    let ask = || tokio::spawn(async move { client::ask(address, GET).await.status() });
    let mut asked: Vec<_> = (0..4).map(|_| ask()).collect();
    until("one that is held", || busy.endpoint.record.count() == 1 && free.record.count() == 3).await;
    for _ in 0..10 {
        assert_eq!(client::ask(address, GET).await.status(), 200);
    }
    assert_eq!((busy.endpoint.record.count(), free.record.count()), (1, 13));
    assert_eq!(report(&proxy, "a").endpoints[&busy.endpoint.address.to_string()].requests, 1);
    busy.let_go(1);
    for asked in asked.drain(..) {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_endpoint_was_full_keeps_its_cookie() {
    let endpoints = [Gated::new().await, Gated::new().await];
    let addresses = [endpoints[0].endpoint.address, endpoints[1].endpoint.address];
    let (proxy, address) = serving_as(&addresses, |pool| {
        limits(1, None)(pool);
        pool.session_affinity = Some(SessionAffinity::default());
    })
    .await;
    let count = |of: &Gated| of.endpoint.record.count();
    let mut first = Client::connect(address).await;
    first.send(GET).await;
    until("it is at its endpoint", || endpoints.iter().map(count).sum::<usize>() == 1).await;
    let [one, two] = &endpoints;
    let (home, other) = if count(one) == 1 { (one, two) } else { (two, one) };
    home.let_go(1);
    let told = first.response(false).await;
    let cookie = told.field("set-cookie")[0].split(';').next().unwrap();
    let again = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");

    first.send(&again).await;
    until("it is back there", || count(home) == 2).await;
    let mut second = Client::connect(address).await;
    second.send(&again).await;
    until("the other, for want of room", || count(other) == 1).await;
    // There is room again before the other answers.
    home.let_go(1);
    assert!(first.response(false).await.field("set-cookie").is_empty());
    let home_address = home.endpoint.address.to_string();
    until("room", || report(&proxy, "a").endpoints[&home_address].in_flight == 0).await;
    other.let_go(1);
    let passed_over = second.response(false).await;
    assert_eq!((passed_over.status(), passed_over.field("set-cookie")), (200, vec![]));
    let expect = SessionsReport { begun: 1, kept: 1, moved: 0, passed_over: 1 };
    assert_eq!(report(&proxy, "a").sessions, Some(expect));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_who_would_wait() {
    let question = Question::parse("pool=shop/checkout").unwrap();
    for (queue, expect) in [
        (None, "503 endpoints_full: "),
        (Some(json!({"size": 1, "timeout": "7s"})), "it waits for one, for 7s at most, beside 0 others"),
    ] {
        let gated = Gated::new().await;
        let (proxy, address) = serving_as(&[gated.endpoint.address], limits(1, queue)).await;
        assert_eq!(explain(&proxy, &question).unwrap().otherwise, None);
        let mut client = Client::connect(address).await;
        client.send(GET).await;
        until("it is full", || gated.endpoint.record.count() == 1).await;
        let told = explain(&proxy, &question).unwrap();
        assert!(told.otherwise.as_ref().is_some_and(|told| told.starts_with(expect)), "{told:?}");
        gated.let_go(1);
        assert_eq!(client.response(false).await.status(), 200);
    }
    let (proxy, _) = serving_as(&[], |_| ()).await;
    let told = explain(&proxy, &question).unwrap().otherwise.unwrap();
    assert!(told.starts_with("503 no_endpoint: "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_and_the_first_is_first() {
    let gated = Gated::new().await;
    let (proxy, address) = serving_as(&[gated.endpoint.address], limits(1, Some(json!({})))).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        let mut client = Client::connect(address).await;
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        match number {
            0 => until("the first at its endpoint", || gated.endpoint.record.count() == 1).await,
            _ => until("the next in the queue", || report(&proxy, "a").queued == number).await,
        }
        clients.push(client);
    }
    let pool = "pool_namespace=\"shop\",pool=\"checkout\"";
    until_metric(&proxy, &format!("evenkeel_queued_requests{{{pool}}} 4")).await;
    for mut client in clients {
        gated.let_go(1);
        assert_eq!(client.response(false).await.status(), 200);
    }
    let paths: Vec<_> = gated.endpoint.record.requests().iter().map(|sent| sent[4..6].to_owned()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(gated.most.load(SeqCst), 1);
    until_metric(&proxy, &format!("evenkeel_queued_requests{{{pool}}} 0")).await;
    until_metric(&proxy, &format!("evenkeel_queue_requests_total{{{pool},result=\"served\"}} 4")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_refused_with_its_reason() {
    let gated = Gated::new().await;
    for (queue, reason) in [
        (None, "endpoints_full"),
        (Some(json!({"size": 1, "timeout": "1m"})), "queue_full"),
        (Some(json!({"size": 1, "timeout": "20ms"})), "queue_timeout"),
    ] {
        let (proxy, address) = serving_as(&[gated.endpoint.address], limits(1, queue)).await;
        let mut held = Client::connect(address).await;
        held.send(GET).await;
        until("it is at its endpoint", || report(&proxy, "a").endpoints.values().any(|of| of.in_flight == 1))
            .await;
        let mut waiting = Client::connect(address).await;
        if reason == "queue_full" {
            waiting.send(GET).await;
            until("one waits", || report(&proxy, "a").queued == 1).await;
        }
        let refused = client::ask(address, GET).await;
        assert_eq!((refused.status(), refused.reason()), (503, reason), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_the_queue() {
    let gated = Gated::new().await;
    let (proxy, address) =
        serving_as(&[gated.endpoint.address], limits(1, Some(json!({"timeout": "1m"})))).await;
    let mut held = Client::connect(address).await;
    held.send(GET).await;
    until("it is at its endpoint", || gated.endpoint.record.count() == 1).await;
    let (mut first, mut second) = (Client::connect(address).await, Client::connect(address).await);
    first.send(GET).await;
    until("one waits", || report(&proxy, "a").queued == 1).await;
    second.send(GET).await;
    until("two wait", || report(&proxy, "a").queued == 2).await;
    drop(first);
    until("it has left", || report(&proxy, "a").queued == 1).await;
    gated.let_go(2);
    assert_eq!(held.response(false).await.status(), 200);
    assert_eq!(second.response(false).await.status(), 200);
    assert_eq!(gated.endpoint.record.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_takes_an_endpoint_that_comes_meanwhile() {
    let (gated, new) = (Gated::new().await, canned(OK).await);
    let (proxy, port) = (proxy(), free_port());
    let mut version = pool(port, &[gated.endpoint.address]);
    limits(1, Some(json!({"timeout": "1m"})))(&mut version);
    activate(&proxy, &[("a", &version)]).await;
    let mut held = Client::connect(at(port)).await;
    held.send(GET).await;
    until("it is at its endpoint", || gated.endpoint.record.count() == 1).await;
    let mut waiting = Client::connect(at(port)).await;
    waiting.send(GET).await;
    until("one waits", || report(&proxy, "a").queued == 1).await;
    version.backends = pool(port, &[gated.endpoint.address, new.address]).backends;
    activate(&proxy, &[("a", &version)]).await;
    assert_eq!(waiting.response(false).await.status(), 200);
    assert_eq!((gated.endpoint.record.count(), new.record.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_endpoint_has_more_than_it_may_and_nobody_is_forgotten() {
    let endpoints = [Gated::new().await, Gated::new().await];
    let addresses = [endpoints[0].endpoint.address, endpoints[1].endpoint.address];
    // Three for two proxies: two for each of them.
    let (proxy, address) = serving_as(&addresses, |pool| {
        limits(3, Some(json!({"size": 1000, "timeout": "1m"})))(pool);
        pool.proxies = 2;
    })
    .await;
    endpoints.iter().for_each(|endpoint| endpoint.let_go(1_000));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..50 {
                assert_eq!(client.ask(GET).await.status(), 200);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(endpoints.iter().all(|endpoint| endpoint.most.load(SeqCst) <= 2));
    assert_eq!(report(&proxy, "a").queued, 0);
}
