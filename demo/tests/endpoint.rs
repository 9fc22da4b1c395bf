//! The endpoint on loopback, in process and as the program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::Stdio;
use std::time::Duration;

use evenkeel_demo::{
    Behaviour, Concurrency, Connections, Endpoint, Health, Identity, Latency, Listeners, Running, Share, bind,
};
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

#[path = "common/client.rs"]
mod client;

use client::{Http1, fetch, http2, request, send};

const GRACE: Duration = Duration::from_secs(30);

async fn start(behaviour: Behaviour) -> Running {
    Running::start("one".parse().unwrap(), behaviour).await.unwrap()
}

/// One that takes requests but does not come to answer them.
fn stuck() -> Behaviour {
    Behaviour {
        latency: Latency::Constant { mean: Duration::from_secs(60) },
        concurrency: NonZeroU32::new(1).map(|limit| Concurrency { limit, queue: 16 }),
        ..Behaviour::default()
    }
}

/// Waits until `/metrics` has this line.
async fn until(endpoint: &Endpoint, line: &str) {
    while !endpoint.metrics_text().unwrap().lines().any(|found| found == line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_response_names_the_endpoint() {
    async fn check(addr: SocketAddr, method: Method, path: &str, status: u16) {
        let response = send(addr, method.clone(), path, "").await;
        assert_eq!(response.status.as_u16(), status, "{method} {path}");
        assert_eq!(response.header("x-evenkeel-demo"), "one", "{method} {path}");
        assert_eq!(response.body.is_empty(), method == Method::HEAD, "{method} {path}");
    }
    let running = start(Behaviour::default()).await;
    let addr = running.addr();
    for path in ["/", "/home", "/health", "/metrics", "/api/data", "/echo", "/admin/behaviour"] {
        check(addr, Method::GET, path, 200).await;
        check(addr, Method::HEAD, path, 200).await;
    }
    check(addr, Method::POST, "/", 200).await;
    check(addr, Method::GET, "/nowhere", 404).await;
    check(addr, Method::POST, "/health", 405).await;
    check(addr, Method::DELETE, "/admin/behaviour", 405).await;
}

#[tokio::test]
async fn echo_gives_back_the_request() {
    let running = start(Behaviour::default()).await;
    let mut echoed = request(Method::POST, "/echo?a=1", "hello");
    echoed.headers_mut().append("x-twice", "1".parse().unwrap());
    echoed.headers_mut().append("x-twice", "2".parse().unwrap());
    let echo = Http1::connect(running.addr()).await.send(echoed).await.unwrap().json();
    assert_eq!(echo["headers"]["x-twice"], json!(["1", "2"]));
    assert_eq!(echo["headers"]["host"], json!(["demo.test"]));
    let fields = ["endpoint", "version", "method", "path", "query", "body", "bodyBytes"];
    let found: Vec<_> = fields.iter().map(|field| echo[field].clone()).collect();
    assert_eq!(json!(found), json!(["one", "HTTP/1.1", "POST", "/echo", "a=1", "hello", 5]));
}

#[tokio::test]
async fn a_large_body_is_rejected() {
    let running = start(Behaviour::default()).await;
    let most = "x".repeat(1 << 20);
    let echo = send(running.addr(), Method::PUT, "/echo", &most).await.json();
    assert_eq!(echo["bodyBytes"], 1 << 20);
    let response = send(running.addr(), Method::PUT, "/echo", &(most + "x")).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn http2_is_spoken_without_tls() {
    let running = start(Behaviour::default()).await;
    let request = http::Request::builder().uri("http://demo.test/echo").body("hi".into()).unwrap();
    let response = http2(running.addr(), request).await;
    assert_eq!(response.header("x-evenkeel-demo"), "one");
    assert_eq!((&response.json()["version"], &response.json()["body"]), (&json!("HTTP/2.0"), &json!("hi")));
}

#[tokio::test]
async fn behaviour_is_changed_over_the_admin_path() {
    let running = start(Behaviour::default()).await;
    let (addr, path) = (running.addr(), "/admin/behaviour");
    let put = send(addr, Method::PUT, path, r#"{"errors": {"rate": 1, "status": 418}}"#).await;
    assert_eq!(put.json()["errors"], json!({"rate": 1.0, "status": 418, "fast": false}));
    assert_eq!(fetch(addr, "/api/data").await.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(fetch(addr, "/health").await.status, StatusCode::OK);
    send(addr, Method::PATCH, path, r#"{"health": "failing"}"#).await;
    assert_eq!(fetch(addr, "/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fetch(addr, path).await.json()["errors"]["status"], 418);
    send(addr, Method::PUT, path, "{}").await;
    assert_eq!(running.endpoint().behaviour(), Behaviour::default());
    assert_eq!(fetch(addr, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_behaviour_is_rejected_by_field() {
    async fn check(addr: SocketAddr, text: &str, status: u16, field: &str) {
        let response = send(addr, Method::PUT, "/admin/behaviour", text).await;
        assert_eq!(response.status.as_u16(), status, "{text}");
        assert_eq!(response.json()["field"].as_str().unwrap_or_default(), field, "{text}");
    }
    let running = start(Behaviour::default()).await;
    check(running.addr(), "{", 400, "").await;
    check(running.addr(), r#"{"errors": {"rate": 2}}"#, 422, "errors.rate").await;
    check(running.addr(), r#"{"connections": "reset"}"#, 422, "connections").await;
    check(running.addr(), &" ".repeat(65_537), 413, "").await;
    assert_eq!(running.endpoint().behaviour(), Behaviour::default());
}

#[tokio::test]
async fn a_hanging_health_check_is_answered_once_health_changes() {
    let running = start(Behaviour { health: Health::Hanging, ..Behaviour::default() }).await;
    let hanging = tokio::spawn(fetch(running.addr(), "/health"));
    until(running.endpoint(), "evenkeel_demo_requests_in_flight 1").await;
    assert_eq!(fetch(running.addr(), "/").await.status, StatusCode::OK);
    running.endpoint().set(Behaviour::default());
    assert_eq!(hanging.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn connections_are_refused_reset_and_taken_again() {
    async fn connections(admin: SocketAddr, mode: &str) {
        let body = json!({"connections": mode}).to_string();
        let response = send(admin, Method::PATCH, "/admin/behaviour", &body).await;
        assert_eq!(response.status, StatusCode::OK);
    }
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (addr, admin_addr) = (public.local_addr().unwrap(), admin.local_addr().unwrap());
    let identity = Identity { name: "one".parse().unwrap(), seed: None };
    let endpoint = Endpoint::new(identity, Behaviour::default()).unwrap();
    let _running = Running::on(Listeners { public, admin: Some(admin) }, endpoint).unwrap();

    let mut open = Http1::connect(addr).await;
    open.send(request(Method::GET, "/", "")).await.unwrap();
    connections(admin_addr, "refuse").await;
    open.closed().await;
    while TcpStream::connect(addr).await.is_ok() {}
    connections(admin_addr, "reset").await;
    // Refused until the door is open again.
    let mut stream = loop {
        if let Ok(stream) = TcpStream::connect(addr).await {
            break stream;
        }
    };
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    connections(admin_addr, "accept").await;
    assert_eq!(fetch(addr, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn shutting_down_answers_what_is_open() {
    let running = start(stuck()).await;
    let (addr, endpoint) = (running.addr(), running.endpoint().clone());
    let mut idle = Http1::connect(addr).await;
    idle.send(request(Method::GET, "/health", "")).await.unwrap();
    // One is worked on for a minute; the other waits, and is let in once there is no limit any more.
    let _held = tokio::spawn(fetch(addr, "/"));
    let waiting = tokio::spawn(fetch(addr, "/"));
    until(&endpoint, "evenkeel_demo_requests_in_flight 2").await;
    until(&endpoint, "evenkeel_demo_requests_queued 1").await;
    let ending = tokio::spawn(running.shut_down(GRACE));
    idle.closed().await;
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(!ending.is_finished());
    endpoint.set(Behaviour::default());
    let response = waiting.await.unwrap();
    assert_eq!((response.status, response.header("connection")), (StatusCode::OK, "close"));
    ending.abort();
}

#[tokio::test]
async fn shutting_down_cuts_what_is_open_after_the_grace() {
    let running = start(stuck()).await;
    let mut client = Http1::connect(running.addr()).await;
    let endpoint = running.endpoint().clone();
    let held = tokio::spawn(async move { client.send(request(Method::GET, "/", "")).await });
    until(&endpoint, "evenkeel_demo_requests_in_flight 1").await;
    running.shut_down(Duration::ZERO).await.unwrap();
    assert!(held.await.unwrap().is_err());
    until(&endpoint, "evenkeel_demo_requests_total{code=\"cancelled\",path=\"/\"} 1").await;
}

#[tokio::test]
async fn dropping_ends_everything() {
    let running = start(Behaviour::default()).await;
    let addr = running.addr();
    let mut client = Http1::connect(addr).await;
    client.send(request(Method::GET, "/", "")).await.unwrap();
    drop(running);
    client.closed().await;
    while TcpStream::connect(addr).await.is_ok() {}
}

#[tokio::test]
async fn in_process_behaviour_takes_effect() {
    let running = start(Behaviour::default()).await;
    running.endpoint().set(Behaviour { connections: Connections::Refuse, ..Behaviour::default() });
    while TcpStream::connect(running.addr()).await.is_ok() {}
}

/// Starts the program on an ephemeral port, which its log tells.
async fn program(flags: &[&str]) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel-demo"))
        .args(["--listen", "127.0.0.1:0", "--name", "two"])
        .args(flags)
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let addr = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(addr) = line.split_whitespace().find_map(|word| word.strip_prefix("addr=")) {
            break addr.parse().unwrap();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, addr)
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn the_program_finishes_on_sigterm() {
    let (mut child, addr) = program(&["--health", "hanging"]).await;
    assert_eq!(fetch(addr, "/").await.header("x-evenkeel-demo"), "two");
    let hanging = tokio::spawn(fetch(addr, "/health"));
    while !fetch(addr, "/metrics").await.text().contains("_requests_in_flight 2") {}
    signal(&child, Signal::TERM);
    let response = hanging.await.unwrap();
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header("connection"), "close");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_program_keeps_accepting_for_the_delay() {
    let (mut child, addr) = program(&["--shutdown-delay", "10m"]).await;
    signal(&child, Signal::TERM);
    for _ in 0..20 {
        assert_eq!(fetch(addr, "/").await.status, StatusCode::OK);
    }
    signal(&child, Signal::INT);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_program_rejects_bad_flags() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel-demo"))
        .args(["--listen", "127.0.0.1:0", "--error-rate", "2"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("errors.rate"));
}

#[tokio::test]
async fn a_response_reports_the_load_that_is_set() {
    let utilization = Share::new(0.25);
    let running = start(Behaviour { utilization, ..Behaviour::default() }).await;
    let response = send(running.addr(), Method::GET, "/", "").await;
    assert_eq!(response.header("endpoint-load-metrics"), "TEXT application_utilization=0.25");
    let response = send(running.addr(), Method::GET, "/health", "").await;
    assert_eq!(response.header("endpoint-load-metrics"), "", "it is of requests");
}
