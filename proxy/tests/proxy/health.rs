//! Active checks: what they send, what they find, and that it outlives pushes.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use evenkeel_api::{
    Duration,
    channel::{EndpointReport, Health, HealthState, PoolDocument},
    object::{ActiveHealthCheck, ActiveHealthCheckType, HealthCheck, HttpHealthCheck, PassiveHealthCheck},
};
use evenkeel_demo::{Behaviour, Health as Said, Running};
use evenkeel_proxy::{Origin, Proxy};
use std::net::SocketAddr;

use crate::common::{
    activate, at,
    client::{self, Client, GET, fields},
    endpoint::{OK, canned, endpoint, refusing},
    free_port, pool, pools, proxy, report, serving_as, until, until_async, until_metric,
};

fn http_check(path: &str) -> ActiveHealthCheck {
    let http = HttpHealthCheck { path: path.to_owned(), expected_statuses: vec!["200-299".to_owned()] };
    ActiveHealthCheck { type_: ActiveHealthCheckType::Http, http: Some(http), ..tcp_check() }
}

fn tcp_check() -> ActiveHealthCheck {
    ActiveHealthCheck {
        type_: ActiveHealthCheckType::Tcp,
        http: None,
        port: None,
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(200),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
    }
}

/// Without panic: an endpoint that is unhealthy takes nothing, even if there is no other.
fn by(active: ActiveHealthCheck) -> Option<HealthCheck> {
    Some(HealthCheck { active: Some(active), panic_threshold: 0, ..HealthCheck::default() })
}

fn active(pool: &mut PoolDocument) -> &mut ActiveHealthCheck {
    pool.health_check.as_mut().unwrap().active.as_mut().unwrap()
}

fn of(proxy: &Proxy, endpoint: SocketAddr) -> EndpointReport {
    report(proxy, "a").endpoints.remove(&endpoint.to_string()).unwrap()
}

async fn until_health(proxy: &Proxy, endpoint: SocketAddr, health: Health) {
    until(&format!("{health:?}"), || of(proxy, endpoint).health == health).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_its_check_leaves_and_returns() {
    let good = canned(OK).await;
    let demo = Running::start("two".parse().unwrap(), Behaviour::default()).await.unwrap();
    let check = |pool: &mut PoolDocument| pool.health_check = by(http_check("/health"));
    let (proxy, address) = serving_as(&[good.address, demo.addr()], check).await;
    assert_eq!(of(&proxy, demo.addr()).health, Health::Healthy, "what a controller pushes starts healthy");

    demo.endpoint().set(Behaviour { health: Said::Hanging, ..Behaviour::default() });
    until_health(&proxy, demo.addr(), Health::Unhealthy).await;
    assert_eq!(of(&proxy, demo.addr()).unhealthy_reason.as_deref(), Some("no answer within 200 ms"));
    let up = |up| {
        format!(
            "evenkeel_endpoint_up{{pool_namespace=\"shop\",pool=\"checkout\",endpoint=\"{}\"}} {up}",
            demo.addr()
        )
    };
    until_metric(&proxy, &up(0)).await;
    let before = of(&proxy, demo.addr()).requests;
    let mut client = Client::connect(address).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert_eq!(of(&proxy, demo.addr()).requests, before);

    demo.endpoint().set(Behaviour::default());
    until_health(&proxy, demo.addr(), Health::Healthy).await;
    assert_eq!(of(&proxy, demo.addr()).unhealthy_reason, None);
    let history: Vec<_> = of(&proxy, demo.addr()).history.into_iter().map(|it| (it.to, it.reason)).collect();
    let reason = Some("no answer within 200 ms".to_owned());
    assert_eq!(history, [(HealthState::Healthy, None), (HealthState::Unhealthy, reason)]);
    until_metric(&proxy, &up(1)).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert!(of(&proxy, demo.addr()).requests > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_who_it_is_and_closes() {
    let endpoint = canned("HTTP/1.1 204 No Content\r\n\r\n").await;
    let check = |pool: &mut PoolDocument| pool.health_check = by(http_check("/health?full=1"));
    let (_proxy, _) = serving_as(&[endpoint.address], check).await;
    until("a check", || endpoint.record.count() > 0).await;
    let sent = endpoint.record.requests().remove(0);
    assert!(sent.starts_with("GET /health?full=1 HTTP/1.1\r\n"), "{sent}");
    assert_eq!(fields(&sent, "host"), [endpoint.address.to_string()]);
    assert_eq!(fields(&sent, "user-agent"), ["evenkeel-health-check"]);
    assert_eq!(fields(&sent, "connection"), ["close"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_status_and_a_closed_port_are_failures() {
    let wrong = canned("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
    let (_held, refused) = refusing();
    let check = |pool: &mut PoolDocument| pool.health_check = by(http_check("/"));
    let (proxy, address) = serving_as(&[wrong.address, refused], check).await;
    until_health(&proxy, wrong.address, Health::Unhealthy).await;
    until_health(&proxy, refused, Health::Unhealthy).await;
    assert_eq!(
        of(&proxy, wrong.address).unhealthy_reason.as_deref(),
        Some("answered 500 Internal Server Error")
    );
    assert!(
        of(&proxy, refused).unhealthy_reason.unwrap().starts_with("no connection: "),
        "{:?}",
        of(&proxy, refused)
    );
    let response = client::ask(address, GET).await;
    assert_eq!((response.status(), response.reason()), (503, "no_endpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_may_have_a_port_of_its_own() {
    let endpoint = canned(OK).await;
    let (_held, refused) = refusing();
    let check = |pool: &mut PoolDocument| {
        pool.health_check = by(ActiveHealthCheck { port: Some(refused.port()), ..tcp_check() });
    };
    let (proxy, _) = serving_as(&[endpoint.address], check).await;
    until_health(&proxy, endpoint.address, Health::Unhealthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_outlives_pushes_and_a_changed_check_counts_at_once() {
    let endpoint = canned("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = proxy();
    let mut checked = pool(free_port(), &[endpoint.address]);
    checked.health_check = by(http_check("/"));
    activate(&proxy, &[("a", &checked)]).await;
    until_health(&proxy, endpoint.address, Health::Unhealthy).await;

    checked.generation = 2;
    active(&mut checked).interval = Duration::from_secs(3600);
    activate(&proxy, &[("a", &checked)]).await;
    assert_eq!(of(&proxy, endpoint.address).health, Health::Unhealthy);

    // The next check is at once, not in an hour.
    active(&mut checked).healthy_threshold = 1;
    active(&mut checked).http.as_mut().unwrap().expected_statuses = vec!["200-404".to_owned()];
    activate(&proxy, &[("a", &checked)]).await;
    until_health(&proxy, endpoint.address, Health::Healthy).await;

    checked.health_check = by(ActiveHealthCheck { unhealthy_threshold: 1, ..http_check("/") });
    activate(&proxy, &[("a", &checked)]).await;
    until_health(&proxy, endpoint.address, Health::Unhealthy).await;
    checked.health_check = None;
    activate(&proxy, &[("a", &checked)]).await;
    assert_eq!(of(&proxy, endpoint.address).health, Health::Healthy, "without a check it counts as healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_from_disk_serve_after_one_check() {
    let open = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&open);
    let checked = endpoint(move |mut wire| {
        let open = Arc::clone(&seen);
        async move {
            while wire.request().await.is_some() {
                let answer =
                    if open.load(Relaxed) { OK } else { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" };
                wire.send(answer).await;
            }
        }
    })
    .await;
    let plain = canned(OK).await;
    let proxy = proxy();
    let (first, second) = (free_port(), free_port());
    let mut one = pool(first, &[checked.address]);
    one.health_check = by(ActiveHealthCheck { healthy_threshold: 100, ..http_check("/") });
    let two = pool(second, &[plain.address]);
    let rejected = proxy.plane().activate(pools(&[("a", &one), ("b", &two)]), Origin::Disk).await;
    assert!(rejected.is_empty());
    assert_eq!(client::ask(at(first), GET).await.reason(), "no_endpoint");
    // One without a check of its own is asked to open a connection.
    until("the other pool", || report(&proxy, "b").endpoints.values().all(|e| e.health == Health::Healthy))
        .await;
    assert_eq!(client::ask(at(second), GET).await.status(), 200);

    open.store(true, Relaxed);
    until_health(&proxy, checked.address, Health::Healthy).await;
    assert_eq!(client::ask(at(first), GET).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_vouches_for_endpoints_from_disk() {
    let (_held, refused) = refusing();
    let proxy = proxy();
    let unchecked = pool(free_port(), &[refused]);
    proxy.plane().activate(pools(&[("a", &unchecked)]), Origin::Disk).await;
    assert_eq!(of(&proxy, refused).health, Health::Unhealthy);
    activate(&proxy, &[("a", &unchecked)]).await;
    assert_eq!(of(&proxy, refused).health, Health::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_passes_ends_an_ejection() {
    let good = canned(OK).await;
    // It answers its checks, and nothing else.
    let bad = endpoint(|mut wire| async move {
        while let Some(request) = wire.request().await {
            let check = request.starts_with("GET /health ");
            wire.send(if check { OK } else { "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n" }).await;
        }
    })
    .await;
    let interval = Duration::from_millis(200);
    let mut check = by(ActiveHealthCheck { interval, ..http_check("/health") });
    let never_by_time = Duration::from_secs(600);
    check.as_mut().unwrap().passive = Some(PassiveHealthCheck {
        consecutive_5xx: 3,
        base_ejection_time: never_by_time,
        max_ejection_time: never_by_time,
        ..PassiveHealthCheck::default()
    });
    let (proxy, address) =
        serving_as(&[good.address, bad.address], |pool| pool.health_check = check.clone()).await;
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let before = of(&proxy, bad.address).failures;
        until_async("its ejection", async || {
            client.ask(GET).await;
            of(&proxy, bad.address).is_ejected()
        })
        .await;
        assert!(of(&proxy, bad.address).failures >= before + 3);
        let latest = of(&proxy, bad.address).history.remove(0);
        assert_eq!((latest.to, latest.reason.as_deref()), (HealthState::Ejected, Some("Consecutive5xx")));
        until("its return, by a check: its time has not come", || !of(&proxy, bad.address).is_ejected())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_and_comes_back_is_as_it_was() {
    let good = canned(OK).await;
    let bad = canned("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n").await;
    let (_held, refused) = refusing();
    let long = Duration::from_secs(600);
    let passive = PassiveHealthCheck {
        consecutive_5xx: 3,
        base_ejection_time: long,
        max_ejection_time: long,
        ..PassiveHealthCheck::default()
    };
    let checks = [by(tcp_check()), Some(HealthCheck { passive: Some(passive), ..HealthCheck::default() })];
    for (check, other) in checks.into_iter().zip([refused, bad.address]) {
        let port = free_port();
        let of = |endpoints: &[SocketAddr]| {
            let mut pool = pool(port, endpoints);
            pool.health_check = check.clone();
            pool
        };
        let (both, one) = (of(&[good.address, other]), of(&[good.address]));
        let proxy = proxy();
        activate(&proxy, &[("a", &both)]).await;
        let mut client = Client::connect(at(port)).await;
        let found = || self::of(&proxy, other);
        let is_out = || found().health == Health::Unhealthy || found().is_ejected();
        until_async("it is out", async || {
            client.ask(GET).await;
            is_out()
        })
        .await;
        let before = found();
        activate(&proxy, &[("a", &one)]).await;
        assert_eq!(report(&proxy, "a").endpoints.len(), 1);
        activate(&proxy, &[("a", &both)]).await;
        assert!(is_out());
        let counts = |of: EndpointReport| (of.requests, of.failures, of.history.len());
        assert_eq!(counts(found()), counts(before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_did_lately_is_told() {
    let demo = Running::start("one".parse().unwrap(), Behaviour::default()).await.unwrap();
    let broken = canned("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n").await;
    let (_held, refused) = refusing();
    let (proxy, address) = serving_as(&[demo.addr(), broken.address, refused], |_| {}).await;
    assert_eq!(of(&proxy, demo.addr()).recent, None);
    let mut client = Client::connect(address).await;
    for _ in 0..60 {
        client.ask(GET).await;
    }
    let recent = |endpoint| of(&proxy, endpoint).recent.unwrap();
    let (good, bad, none) = (recent(demo.addr()), recent(broken.address), recent(refused));
    assert!(good.requests >= 20 && good.failures == 0 && good.success_rate == 1.0, "{good:?}");
    let times = good.response_time.unwrap();
    assert!(0.0 < times.p50_ms && times.p50_ms <= times.p95_ms && times.p95_ms <= times.p99_ms, "{times:?}");
    assert!(
        bad.failures == bad.requests && bad.success_rate == 0.0 && bad.response_time.is_some(),
        "{bad:?}"
    );
    assert!(none.failures == none.requests && none.requests > 0 && none.response_time.is_none(), "{none:?}");
}
