//! One request over HTTP, for admin pages, metrics and single looks at a pool.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Time for a request, its connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer, read to its end.
pub type Answer = Response<String>;

/// Asks for a page; `host` is what the Host header says.
///
/// # Errors
/// If there is no whole answer in time.
pub async fn page(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Answer> {
    send(address, Request::builder().method(Method::GET).uri(path).header(HOST, host).body(Full::default())?)
        .await
}

/// Asks for a page that must be there.
///
/// # Errors
/// If it is not.
pub async fn text(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = page(address, &address.to_string(), path).await?;
    ensure!(answer.status() == 200, "{address}{path}: {}", answer.status());
    Ok(answer.into_body())
}

/// Sends a change as JSON.
///
/// # Errors
/// If it is not taken.
pub async fn patch(address: SocketAddr, path: &str, json: &'static str) -> anyhow::Result<()> {
    let request = Request::builder().method(Method::PATCH).uri(path).header(HOST, address.to_string());
    let answer = send(address, request.body(Full::new(Bytes::from_static(json.as_bytes())))?).await?;
    ensure!(answer.status() == 200, "{address}{path}: {}: {}", answer.status(), answer.body());
    Ok(())
}

/// The value of a header, or nothing.
#[must_use]
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let exchange = async {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(PATIENCE, exchange).await.with_context(|| format!("no answer from {address} in time"))?
}
