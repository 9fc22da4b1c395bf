//! CPU and memory from the Prometheus pages of endpoints, for Adaptive.

use std::time::Instant;

use evenkeel_api::channel::PoolDocument;
use evenkeel_proxy::Proxy;
use serde_json::{Value, json};

use crate::common::{
    activate, at,
    client::{Client, GET},
    endpoint::{Endpoint, OK, endpoint},
    free_port, metrics, pool, proxy, report, serving_as, until, until_async,
};

/// Adaptive in steps of 100 ms, by CPU and memory alone.
fn adaptive(page: Value) -> impl Fn(&mut PoolDocument) {
    move |pool| {
        let of = json!({"signals": ["CPU", "Memory"], "interval": "100ms", "prometheus": page});
        pool.algorithm = serde_json::from_value(json!({"type": "Adaptive", "adaptive": of})).unwrap();
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An endpoint that answers requests, and to whoever asks for its page what `page` says.
async fn showing(page: impl Fn() -> String + Clone + Send + Sync + 'static) -> Endpoint {
    endpoint(move |mut wire| {
        let page = page.clone();
        async move {
            while let Some(request) = wire.request().await {
                if request.starts_with("GET / ") {
                    wire.send(OK).await;
                } else {
                    wire.send(page()).await;
                }
            }
        }
    })
    .await
}

/// An endpoint that uses so many cores and bytes.
async fn using(cores: f64, bytes: u32) -> Endpoint {
    let start = Instant::now();
    showing(move || {
        let seconds = 100.0 + cores * start.elapsed().as_secs_f64();
        answer(&format!(
            "# HELP of it\nprocess_cpu_seconds_total {seconds}\nprocess_resident_memory_bytes {bytes}\n"
        ))
    })
    .await
}

fn weight(proxy: &Proxy, endpoint: &Endpoint) -> f64 {
    report(proxy, "a").endpoints[&endpoint.address.to_string()].effective_weight
}

fn requests(endpoint: &Endpoint) -> usize {
    endpoint.record.requests().iter().filter(|sent| sent.starts_with("GET / ")).count()
}

fn pages(endpoint: &Endpoint) -> Vec<String> {
    let sent = endpoint.record.requests();
    sent.into_iter().filter(|sent| !sent.starts_with("GET / ")).collect()
}

fn counted(result: &str, count: usize) -> String {
    let labels = "pool_namespace=\"shop\",pool=\"checkout\"";
    format!("evenkeel_usage_pages_total{{{labels},result=\"{result}\"}} {count}")
}

/// Waits until a page was read with this result.
async fn until_read(proxy: &Proxy, result: &str) {
    let prefix = counted(result, 0).trim_end_matches('0').to_owned();
    until_async(&format!("a page that is {result}"), async || metrics(proxy).await.contains(&prefix)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_page_shows_much_cpu_gets_less() {
    let (busy, idle) = (using(4.0, 1000).await, using(0.5, 1000).await);
    let (proxy, address) =
        serving_as(&[busy.address, idle.address], adaptive(json!({"path": "/stats?a=b"}))).await;
    until("half the weight", || weight(&proxy, &busy) < 0.5 * weight(&proxy, &idle)).await;
    let before = (requests(&busy), requests(&idle));
    let mut client = Client::connect(address).await;
    for _ in 0..60 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    let (to_busy, to_idle) = (requests(&busy) - before.0, requests(&idle) - before.1);
    assert!(to_busy < to_idle && to_busy > 0, "{to_busy} to the busy one, {to_idle} to the other");
    let asked = &pages(&busy)[0];
    assert!(asked.starts_with("GET /stats?a=b HTTP/1.1\r\n"), "{asked}");
    for field in ["user-agent: evenkeel-metrics\r\n", "accept: text/plain;version=0.0.4\r\n"] {
        assert!(asked.contains(field), "{asked}");
    }
    let told = || report(&proxy, "a").endpoints[&busy.address.to_string()].usage.unwrap();
    until("about four cores", || told().cpu_cores.is_some_and(|cores| (2.0..8.0).contains(&cores))).await;
    assert_eq!(told().memory_bytes, Some(1000.0));
    until_read(&proxy, "read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_uses_more_memory_gets_less_too() {
    let (large, small) = (using(1.0, 9_000).await, using(1.0, 1_000).await);
    let (proxy, _) = serving_as(&[large.address, small.address], adaptive(json!({}))).await;
    until("its weight", || weight(&proxy, &large) < 0.8 * weight(&proxy, &small)).await;
    assert!(pages(&large)[0].starts_with("GET /metrics "));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_not_in_order_are_counted_and_move_nothing() {
    let cpu = "process_cpu_seconds_total 1\n";
    let memory = "process_resident_memory_bytes 3000\n";
    let large = format!("{cpu}{memory}{}", "# more\n".repeat(200_000));
    let odd = [
        ("missing", answer(memory)),
        ("invalid", answer(&format!("{memory}process_cpu_seconds_total NaN\n"))),
        ("invalid", answer(&format!("{cpu}{memory}{memory}"))),
        ("invalid", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("too_large", answer(&large)),
        ("late", String::new()),
        ("failed", "no HTTP\r\n\r\n".to_owned()),
    ];
    for (result, page) in odd {
        let odd = showing(move || page.clone()).await;
        let (large, small) = (using(1.0, 9_000).await, using(1.0, 1_000).await);
        let page = json!({"timeout": "200ms"});
        let addresses = [odd.address, large.address, small.address];
        let (proxy, address) = serving_as(&addresses, adaptive(page)).await;
        until_read(&proxy, result).await;
        until("weights that follow", || weight(&proxy, &large) < 0.8 * weight(&proxy, &small)).await;
        let (large, odd, small) = (weight(&proxy, &large), weight(&proxy, &odd), weight(&proxy, &small));
        assert!(large < odd && odd < small, "{result}: {large} {odd} {small}");
        let mut client = Client::connect(address).await;
        assert_eq!(client.ask(GET).await.status(), 200, "{result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_read_where_a_pool_says_so_and_only_then() {
    let (one, other) = (using(1.0, 1).await, using(1.0, 1).await);
    let (proxy, port) = (proxy(), free_port());
    let elsewhere = showing(|| answer("process_resident_memory_bytes 5\n")).await;
    let mut version = pool(port, &[one.address]);
    adaptive(json!({"port": elsewhere.address.port()}))(&mut version);
    activate(&proxy, &[("a", &version)]).await;
    until_read(&proxy, "missing").await;
    assert!(pages(&one).is_empty(), "it was to be asked at the other port");
    let told = report(&proxy, "a").endpoints[&one.address.to_string()].usage.unwrap();
    assert_eq!((told.memory_bytes, told.cpu_cores), (Some(5.0), None));

    let next = pool(port, &[one.address, other.address]);
    activate(&proxy, &[("a", &PoolDocument { generation: 2, ..next })]).await;
    assert_eq!(report(&proxy, "a").endpoints[&one.address.to_string()].usage, None);
    let read = pages(&elsewhere).len();
    // One that is under way may still come.
    let mut client = Client::connect(at(port)).await;
    for _ in 0..100 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert!(pages(&elsewhere).len() <= read + 1);
    assert!(pages(&other).is_empty());
}
