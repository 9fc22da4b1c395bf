//! The way to the end.

use std::{
    ffi::OsString,
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use evenkeel_proxy::{Drain, NotReady};
use evenkeel_tls::{Role, authority::Authority};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::common::{
    PATIENCE, at,
    client::{self, Client, GET},
    endpoint::{OK, canned, endpoint},
    free_port, serving, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_the_way_to_the_end() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let endpoint = endpoint(move |mut wire| {
        let mut wait = wait.clone();
        async move {
            while let Some(request) = wire.request().await {
                if request.starts_with("GET /slow ") {
                    wait.wait_for(|go| *go).await.unwrap();
                }
                wire.send(OK).await;
            }
        }
    })
    .await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let proxy = Arc::new(proxy);
    proxy.readiness().set_configured();
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.ask(GET).await.field("connection"), [""; 0]);
    let mut busy = Client::connect(address).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("the request", || endpoint.record.count() == 2).await;

    let drain = Drain { accept: Duration::from_millis(300), grace: PATIENCE };
    let draining = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.drain(drain).await }
    });
    // For a while all is as before.
    assert_eq!(client::ask(address, GET).await.status(), 200);
    assert_eq!(proxy.readiness().check(), Ok(()));
    until("the listeners to close", || proxy.readiness().check() == Err(NotReady::Closed)).await;
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.unwrap();
    // An idle client's next request is served, and is its last.
    let response = idle.ask(GET).await;
    assert_eq!((response.status(), response.field("connection")), (200, vec!["close"]), "{response:?}");
    assert!(idle.is_closed().await);
    go.send(true).unwrap();
    let response = busy.response(false).await;
    assert_eq!((response.status(), response.field("connection")), (200, vec!["close"]), "{response:?}");
    timeout(PATIENCE, draining).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_told_by_goaway() {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    proxy.drain(Drain { accept: Duration::ZERO, grace: PATIENCE }).await;
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_ends() {
    let endpoint = canned(OK).await;
    let (proxy, address) = serving(&[endpoint.address]).await;
    let mut idle = Client::connect(address).await;
    idle.ask(GET).await;
    let drain = Drain { accept: Duration::ZERO, grace: Duration::from_millis(50) };
    timeout(PATIENCE, proxy.drain(drain)).await.unwrap();
    drop(proxy);
    assert!(idle.is_closed().await);
}

/// A folder with the certificates of a proxy.
fn certificates() -> TempDir {
    let folder = TempDir::new().unwrap();
    let authority = Authority::generate("evenkeel-system", SystemTime::now()).unwrap();
    let role = Role::Proxy { class: "default".to_owned() };
    let files =
        authority.issue(&role, "evenkeel-system", authority.certificate(), SystemTime::now()).unwrap();
    for (name, text) in
        [("tls.crt", files.certificate), ("tls.key", files.key), ("ca.crt", files.authorities)]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn flag(name: &str, folder: &TempDir) -> OsString {
    let mut flag = OsString::from(format!("--{name}-dir="));
    flag.push(folder.path());
    flag
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_drains_at_sigterm_and_exits_well() {
    let (shared, health) = (free_port(), free_port());
    let folder = certificates();
    let mut program = Command::new(env!("CARGO_BIN_EXE_evenkeel-proxy"))
        .args(["--threads=1", "--bind=127.0.0.1", "--drain-accept=100ms", "--drain-grace=5s"])
        .arg(format!("--shared-port={shared}"))
        .arg(format!("--health-bind=127.0.0.1:{health}"))
        .arg("--admin=127.0.0.1:0")
        .args(["--config-listen=127.0.0.1:0".into(), flag("tls", &folder), flag("state", &folder)])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.starts_with('{') && line.contains("\"message\":\"serving\""), "{line}");
    let response = client::ask(at(shared), GET).await;
    assert_eq!((response.status(), response.reason()), (404, "unknown_host"));
    let response = client::ask(at(health), "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(response.status(), 200);
    kill_process(Pid::from_raw(program.id().unwrap().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    let status = timeout(PATIENCE, program.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_one_line_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel-proxy"))
        .args(["--bind=127.0.0.1", "--health-bind=127.0.0.1:0", "--admin=127.0.0.1:0"])
        .arg(format!("--shared-port={}", taken.local_addr().unwrap().port()))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--shared-port"), "{said}");
}
