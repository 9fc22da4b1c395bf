//! Load reports of endpoints (ORCA): in the head of a response or at its end, read and kept from clients.

use serde_json::json;

use crate::common::{
    client::{self, Client},
    endpoint::{Endpoint, canned},
    serving_as, until_async, until_metric,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n";

/// An endpoint that ends its responses with these trailers and one more.
async fn ending(trailers: &str) -> Endpoint {
    let names = "endpoint-load-metrics, endpoint-load-metrics-bin, x-end";
    let head = format!("HTTP/1.1 200 OK\r\nTrailer: {names}\r\nTransfer-Encoding: chunked\r\n\r\n");
    canned(format!("{head}2\r\nok\r\n0\r\n{trailers}x-end: 9\r\n\r\n").leak()).await
}

/// What becomes of trailers.
async fn check(trailers: &str, keep: bool, result: &str) {
    let endpoint = ending(trailers).await;
    let (proxy, address) = serving_as(&[endpoint.address], |pool| {
        pool.load_reports = Some(serde_json::from_value(json!({"keepHeader": keep})).unwrap());
    })
    .await;
    let response = client::ask(address, GET).await;
    let kept = if keep { trailers } else { "" };
    assert_eq!((response.body.as_str(), response.trailers), ("ok", format!("{kept}x-end: 9\r\n")));
    let pool = "pool_namespace=\"shop\",pool=\"checkout\"";
    until_metric(&proxy, &format!("evenkeel_load_reports_total{{{pool},result=\"{result}\"}} 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_in_trailers_is_kept_from_clients_unless_the_pool_says_so() {
    for (trailers, result) in [
        ("endpoint-load-metrics: TEXT cpu_utilization=0.5\r\n", "taken"),
        ("endpoint-load-metrics-bin: CQAAAAAAAOA/\r\n", "taken"),
        ("endpoint-load-metrics: TEXT cpu_utilization=NaN\r\n", "invalid"),
    ] {
        check(trailers, false, result).await;
        check(trailers, true, result).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_follow_reports_in_trailers() {
    let of = |utilization: &str| {
        format!("endpoint-load-metrics: TEXT cpu_utilization={utilization},rps_fractional=10\r\n")
    };
    let (idle, busy) = (ending(&of("0.1")).await, ending(&of("0.9")).await);
    let of = json!({"type": "WeightedByLoad", "weightedByLoad": {"blackout": "0s", "update": "100ms"}});
    let (_proxy, address) = serving_as(&[idle.address, busy.address], |pool| {
        pool.algorithm = serde_json::from_value(of).unwrap();
    })
    .await;
    let mut client = Client::connect(address).await;
    until_async("nine times as many", async || {
        let before = idle.record.count();
        for _ in 0..20 {
            client.ask(GET).await;
        }
        idle.record.count() - before >= 17
    })
    .await;
}
