//! Two ends on loopback: who is let in, who is refused, and what a change of files does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use evenkeel_tls::{
    Client, ClientError, Files, Identity, Role, authority::Authority, bind, read_body, serve,
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{io::AsyncReadExt, net::TcpStream};

const INSTALL: &str = "evenkeel-system";
const LIMIT: usize = 1 << 10;

fn authority() -> Authority {
    Authority::generate(INSTALL, SystemTime::now()).unwrap()
}

fn issue(authority: &Authority, role: &Role, bundle: &str) -> Files {
    authority.issue(role, INSTALL, bundle, SystemTime::now()).unwrap()
}

fn identity(authority: &Authority, role: &Role) -> Arc<Identity> {
    Arc::new(Identity::new(issue(authority, role, authority.certificate()), INSTALL).unwrap())
}

fn proxy() -> Role {
    Role::Proxy { class: "default".to_owned() }
}

/// A server that lets controllers in, and says how many bytes they sent.
fn server(identity: Arc<Identity>) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let handler = |request: Request<hyper::body::Incoming>, role| async move {
        let (status, text) = match (role, read_body(request.into_body(), LIMIT).await) {
            (Some(Role::Controller), Ok(body)) => (StatusCode::OK, body.len().to_string()),
            (Some(Role::Controller), Err(error)) => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            _ => (StatusCode::FORBIDDEN, String::new()),
        };
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        answer
    };
    tokio::spawn(serve(listener, identity, handler, std::future::pending()));
    address
}

async fn put(client: &Client, body: &'static [u8]) -> Result<(StatusCode, Bytes), ClientError> {
    let request = Request::put("/").body(Bytes::from_static(body)).unwrap();
    let (parts, body) = client.send(request, LIMIT).await?.into_parts();
    Ok((parts.status, body))
}

fn client(identity: &Arc<Identity>, address: SocketAddr) -> Client {
    Client::new(identity.clone(), proxy(), address)
}

#[tokio::test]
async fn a_controller_is_let_in_and_its_connection_is_kept() {
    let authority = authority();
    let address = server(identity(&authority, &proxy()));
    let client = client(&identity(&authority, &Role::Controller), address);
    for body in [&b""[..], b"12345"] {
        let (status, length) = put(&client, body).await.unwrap();
        assert_eq!((status, length), (StatusCode::OK, Bytes::from(body.len().to_string())));
    }
    assert_eq!(put(&client, &[0; LIMIT + 1]).await.unwrap().0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(put(&client, b"1").await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn another_role_of_ours_gets_an_answer() {
    let authority = authority();
    let address = server(identity(&authority, &proxy()));
    let client = client(&identity(&authority, &proxy()), address);
    assert_eq!(put(&client, b"").await.unwrap().0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_foreign_authority_fails_both_ways() {
    let (ours, theirs) = (authority(), authority());
    let address = server(identity(&ours, &proxy()));

    let foreign = identity(&theirs, &Role::Controller);
    let error = put(&client(&foreign, address), b"").await.unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error}");

    // One that trusts us, and whom we do not.
    let files = issue(&theirs, &Role::Controller, theirs.certificate());
    let both = [theirs.certificate(), ours.certificate()].concat().into_bytes();
    let knows_us = Identity::new(Files { authorities: both, ..files }, INSTALL).unwrap();
    let error = put(&client(&Arc::new(knows_us), address), b"").await.unwrap_err();
    assert!(matches!(error, ClientError::Http(..) | ClientError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn without_a_certificate_the_handshake_fails() {
    let authority = authority();
    let address = server(identity(&authority, &proxy()));
    let mut roots = rustls::RootCertStore::empty();
    let pem = authority.certificate().as_bytes().to_vec();
    let parsed = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    roots.add(parsed).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = proxy().dns_name(INSTALL).try_into().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    // In TLS 1.3 the client hears of it with its first read.
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_of_another_role_is_refused() {
    let authority = authority();
    let address = server(identity(&authority, &Role::Controller));
    let error = put(&client(&identity(&authority, &Role::Controller), address), b"").await.unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error}");

    let other = Role::Proxy { class: "edge".to_owned() };
    let address = server(identity(&authority, &other));
    let error = put(&client(&identity(&authority, &Role::Controller), address), b"").await.unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error}");
}

fn write(dir: &Path, version: &str, files: &Files) {
    let versioned = dir.join(version);
    fs::create_dir(&versioned).unwrap();
    fs::write(versioned.join("tls.crt"), &files.certificate).unwrap();
    fs::write(versioned.join("tls.key"), &files.key).unwrap();
    fs::write(versioned.join("ca.crt"), &files.authorities).unwrap();
    swap(dir, version);
}

/// As the kubelet does: a link made aside and renamed over the old one.
fn swap(dir: &Path, version: &str) {
    std::os::unix::fs::symlink(version, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

fn mount(dir: &Path, files: &Files) {
    write(dir, "v1", files);
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), dir.join(name)).unwrap();
    }
}

#[tokio::test]
async fn an_authority_is_replaced_without_a_restart() {
    let (old, new) = (authority(), authority());
    let bundle = [old.certificate(), new.certificate()].concat();
    let dir = tempfile::tempdir().unwrap();
    mount(dir.path(), &issue(&old, &proxy(), old.certificate()));
    let served = Arc::new(Identity::load(dir.path(), INSTALL).unwrap());
    let address = server(served.clone());
    let of = |authority, bundle: &str| {
        let files = issue(authority, &Role::Controller, bundle);
        client(&Arc::new(Identity::new(files, INSTALL).unwrap()), address)
    };
    let (by_old, by_new) = (of(&old, &bundle), of(&new, &bundle));
    put(&by_old, b"").await.unwrap();
    put(&by_new, b"").await.unwrap_err();

    // Both in the bundle: both are let in, the connection that was open goes on.
    write(dir.path(), "v2", &issue(&old, &proxy(), &bundle));
    assert!(served.reload().unwrap());
    assert!(!served.reload().unwrap());
    put(&by_new, b"").await.unwrap();
    put(&by_old, b"").await.unwrap();

    // The old one leaves it.
    write(dir.path(), "v3", &issue(&new, &proxy(), new.certificate()));
    assert!(served.reload().unwrap());
    put(&of(&old, &bundle), b"").await.unwrap_err();
    put(&of(&new, &bundle), b"").await.unwrap();
}

#[tokio::test]
async fn a_bad_set_of_files_changes_nothing() {
    let authority = authority();
    let good = issue(&authority, &proxy(), authority.certificate());
    let dir = tempfile::tempdir().unwrap();
    mount(dir.path(), &good);
    let served = Arc::new(Identity::load(dir.path(), INSTALL).unwrap());
    let address = server(served.clone());
    let client = client(&identity(&authority, &Role::Controller), address);

    let other = issue(&authority, &proxy(), authority.certificate());
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let bad = [
        Files { certificate: half(&good.certificate), ..good.clone() },
        Files { key: half(&good.key), ..good.clone() },
        Files { key: other.key, ..good.clone() },
        Files { authorities: Vec::new(), ..good.clone() },
        issue(&authority, &proxy(), self::authority().certificate()),
    ];
    for (at, files) in bad.iter().enumerate() {
        write(dir.path(), &format!("bad{at}"), files);
        served.reload().unwrap_err();
        put(&client, b"").await.unwrap();
    }
    fs::remove_file(dir.path().join("..data")).unwrap();
    served.reload().unwrap_err();
    put(&client, b"").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_are_followed() {
    let authority = authority();
    let dir = tempfile::tempdir().unwrap();
    mount(dir.path(), &issue(&authority, &proxy(), authority.certificate()));
    let served = Arc::new(Identity::load(dir.path(), INSTALL).unwrap());
    let before = served.client_config();
    let followed = served.clone();
    tokio::spawn(async move { followed.follow().await });
    write(dir.path(), "v2", &issue(&authority, &proxy(), authority.certificate()));
    while Arc::ptr_eq(&before, &served.client_config()) {
        tokio::time::advance(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_open() {
    let authority = authority();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, go) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let handler = {
        let (asked, go) = (asked.clone(), go.clone());
        move |_request, _role| {
            let (asked, go) = (asked.clone(), go.clone());
            async move {
                asked.notify_one();
                go.notified().await;
                Response::new(Full::from("done"))
            }
        }
    };
    let serving = tokio::spawn(serve(listener, identity(&authority, &proxy()), handler, async {
        drop(stopped.await);
    }));
    let client = client(&identity(&authority, &Role::Controller), address);
    let answer = tokio::spawn(async move { put(&client, b"").await });
    asked.notified().await;
    stop.send(()).unwrap();
    go.notify_one();
    assert_eq!(answer.await.unwrap().unwrap().1, "done");
    serving.await.unwrap();
}
