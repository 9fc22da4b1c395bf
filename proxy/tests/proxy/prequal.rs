//! Where Prequal's samples come from.

use std::time::Duration;

use evenkeel_api::channel::PoolDocument;
use evenkeel_proxy::{
    Proxy,
    explain::{Candidate, Question, explain},
};
use serde_json::{Value, json};

use crate::common::{
    client::{self, Client, GET},
    endpoint::{Endpoint, OK, answering_root_alone, canned, endpoint},
    metrics, serving_as, until_async,
};

fn prequal(of: Value) -> impl FnOnce(&mut PoolDocument) {
    move |pool| {
        pool.algorithm = serde_json::from_value(json!({"type": "Prequal", "prequal": of})).unwrap();
    }
}

fn told(in_flight: u32, latency_ms: u32) -> String {
    let load = format!("named_metrics.requests_in_flight={in_flight},named_metrics.latency_ms={latency_ms}");
    format!("endpoint-load-metrics: TEXT {load}\r\n")
}

/// An endpoint that tells its load with each response.
async fn telling(in_flight: u32, latency_ms: u32) -> Endpoint {
    let load = told(in_flight, latency_ms);
    canned(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{load}\r\n").leak()).await
}

/// The same at the end of each, which takes so long.
async fn telling_last(in_flight: u32, latency_ms: u32, takes: Duration) -> Endpoint {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = format!("{head}2\r\nok\r\n0\r\n{}\r\n", told(in_flight, latency_ms));
    endpoint(move |mut wire| {
        let answer = answer.clone();
        async move {
            while wire.request().await.is_some() {
                tokio::time::sleep(takes).await;
                wire.send(&answer).await;
            }
        }
    })
    .await
}

fn requests(endpoint: &Endpoint) -> usize {
    endpoint.record.requests().iter().filter(|sent| sent.starts_with("GET / ")).count()
}

/// Waits until most requests go to the endpoint that says that it is idle.
async fn until_preferred(address: std::net::SocketAddr, idle: &Endpoint, all: &[&Endpoint]) {
    let mut client = Client::connect(address).await;
    until_async("nearly all at the idle one", async || {
        let before = (requests(idle), all.iter().map(|each| requests(each)).sum::<usize>());
        for _ in 0..20 {
            assert_eq!(client.ask(GET).await.status(), 200);
        }
        let after = (requests(idle), all.iter().map(|each| requests(each)).sum::<usize>());
        assert_eq!(after.1 - before.1, 20);
        after.0 - before.0 >= 17
    })
    .await;
}

async fn until_probed(proxy: &Proxy, result: &str) {
    let line = format!("pool=\"checkout\",result=\"{result}\"}}");
    until_async(&format!("a probe that is {result}"), async || {
        let all = metrics(proxy).await;
        all.lines().any(|found| found.starts_with("evenkeel_load_probes_total{") && found.contains(&line))
    })
    .await;
}

/// Probes find the idle one of three endpoints.
async fn check_probes(algorithm: Value) {
    let (idle, busy, slow) = (telling(1, 1).await, telling(1, 90).await, telling(1, 50).await);
    let (proxy, address) = serving_as(&[idle.address, busy.address, slow.address], |pool| {
        pool.algorithm = serde_json::from_value(algorithm).unwrap();
    })
    .await;
    until_preferred(address, &idle, &[&idle, &busy, &slow]).await;
    until_probed(&proxy, "answered").await;
    let probes: Vec<_> =
        busy.record.requests().into_iter().filter(|sent| sent.starts_with("GET /load?full=1 ")).collect();
    assert!(
        probes.len() > 3 && probes.iter().all(|sent| sent.contains("user-agent: evenkeel-probe")),
        "{probes:?}"
    );
    assert!(busy.record.connections() < probes.len(), "connections are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_find_the_idle_endpoint() {
    let probed = json!({"signals": "Probes", "probe": {"path": "/load?full=1", "timeout": "1s"}});
    check_probes(json!({"type": "Prequal", "prequal": probed})).await;
    check_probes(json!({"type": "Auto", "auto": {"allowed": ["Prequal"]}, "prequal": probed})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_no_probe_takes_few_of_those_of_others() {
    let silent = answering_root_alone().await;
    let told = telling(1, 1).await;
    let probe = json!({"path": "/load"});
    let of = prequal(json!({"signals": "Probes", "probe": probe}));
    let (proxy, address) = serving_as(&[silent.address, told.address], of).await;
    let mut client = Client::connect(address).await;
    // By time alone it is asked 32 times a second at most.
    for _ in 0..1000 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    until_probed(&proxy, "skipped").await;
    let probes =
        |of: &Endpoint| of.record.requests().iter().filter(|sent| sent.starts_with("GET /load ")).count();
    assert!(probes(&silent) * 2 < probes(&told), "{} and {}", probes(&silent), probes(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_probe() {
    // It answers requests, but no probes.
    let silent = answering_root_alone().await;
    // It knows no such path.
    let other = endpoint(|mut wire| async move {
        while let Some(request) = wire.request().await {
            let known = request.starts_with("GET / ");
            wire.send(if known { OK } else { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" }).await;
        }
    })
    .await;
    let probe = json!({"path": "/load"});
    let (proxy, address) =
        serving_as(&[silent.address, other.address], prequal(json!({"signals": "Probes", "probe": probe})))
            .await;
    let mut client = Client::connect(address).await;
    for _ in 0..100 {
        assert_eq!(client.ask(GET).await.status(), 200);
    }
    assert!(requests(&silent) > 10 && requests(&other) > 10, "a draw, as long as nothing is known");
    until_probed(&proxy, "late").await;
    until_probed(&proxy, "invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_in_responses_find_the_idle_endpoint() {
    let (idle, busy, slow) = (telling(1, 1).await, telling(1, 90).await, telling(1, 50).await);
    let addresses = [idle.address, busy.address, slow.address];
    let of = || prequal(json!({"signals": "LoadReports", "maxAge": "1m"}));
    let (proxy, address) = serving_as(&addresses, of()).await;
    until_preferred(address, &idle, &[&idle, &busy, &slow]).await;
    let question = Question::parse("pool=shop/checkout").unwrap();
    let told = explain(&proxy, &question).unwrap();
    assert_eq!(told.fallbacks, Vec::<String>::new());
    let latency =
        |of: &Candidate| of.score.as_ref().filter(|score| score.kind == "Cold").map(|score| score.value);
    let picked = told.candidates.iter().find(|of| of.fate == "Picked").and_then(latency).unwrap();
    let others = told.candidates.iter().filter(|of| of.fate == "ScoredWorse").filter_map(latency);
    assert!(others.into_iter().all(|other| other > picked), "{told:?}");
    let header = "endpoint-load-metrics";
    assert!(client::ask(address, GET).await.field(header).is_empty());
    let (_proxy, address) = serving_as(&addresses, |pool| {
        of()(pool);
        pool.load_reports = Some(serde_json::from_value(json!({"keepHeader": true})).unwrap());
    })
    .await;
    assert!(client::ask(address, GET).await.field(header)[0].starts_with("TEXT named_metrics."));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_in_trailers_find_it_too() {
    // By what the proxy sees itself, it would be the last to be chosen.
    let idle = telling_last(1, 1, Duration::from_millis(2)).await;
    let (busy, slow) = (telling_last(1, 90, Duration::ZERO).await, telling_last(1, 50, Duration::ZERO).await);
    let of = prequal(json!({"signals": "LoadReports", "maxAge": "1m"}));
    let (_proxy, address) = serving_as(&[idle.address, busy.address, slow.address], of).await;
    let mut client = Client::connect(address).await;
    until_async("most at the idle one", async || {
        let before = requests(&idle);
        for _ in 0..40 {
            assert_eq!(client.ask(GET).await.status(), 200);
        }
        requests(&idle) - before > 20
    })
    .await;
}
