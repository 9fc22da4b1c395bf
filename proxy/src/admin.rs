//! The ports of probes and metrics, and of explanations: plain, read-only, bounded. The latter is for this machine, or
//! pod, alone.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time,
};

use crate::{
    connection::contain,
    explain::{self, ExplainError, Explanation, Question},
    limits, listener, metrics,
    proxy::Proxy,
};

/// What a port says.
type Answer = fn(&Proxy, &Method, &Uri) -> Response<Full<Bytes>>;

/// An address that only this machine reaches.
///
/// # Errors
/// If it is none.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("not a loopback address, such as 127.0.0.1:9091".to_owned())
    }
}

/// Binds the port; see [`listener::bind`].
///
/// # Errors
/// As of the system.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(listener::bind(address)?)
}

/// Answers probes and scrapes until it is dropped.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener) {
    listen(proxy, listener, |proxy, method, uri| answer(proxy, method, uri.path())).await;
}

/// Explains until it is dropped.
pub async fn serve_explanations(proxy: Arc<Proxy>, listener: TcpListener) {
    listen(proxy, listener, explained).await;
}

async fn listen(proxy: Arc<Proxy>, listener: TcpListener, answer: Answer) {
    let room = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let proxy = Arc::clone(&proxy);
                tokio::spawn(contain(async move {
                    let _place = place;
                    connection(&proxy, stream, answer).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept probes");
                time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(proxy: &Proxy, stream: TcpStream, answer: Answer) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(proxy, request.method(), request.uri()))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits::KEEP_ALIVE).max_buf_size(limits::HEAD_BYTES);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a probe's connection ended early");
    }
}

/// The answer of the proxy for a path, for whoever serves it.
#[must_use]
pub fn answer(proxy: &Proxy, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if let Some(refusal) = only_get(method) {
        return refusal;
    }
    match path {
        "/livez" => said(proxy.live()),
        "/readyz" => said(proxy.readiness().check()),
        "/metrics" => match metrics::text(&proxy.gather()) {
            Ok(figures) => {
                let mut response = text(StatusCode::OK, figures);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::TEXT));
                response
            }
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be shown: {error}"))
            }
        },
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics".to_owned()),
    }
}

/// The answer on the port of explanations.
fn explained(proxy: &Proxy, method: &Method, uri: &Uri) -> Response<Full<Bytes>> {
    if let Some(refusal) = only_get(method) {
        return refusal;
    }
    if uri.path() != "/explain" {
        return text(StatusCode::NOT_FOUND, "there is /explain?pool=NAMESPACE/NAME".to_owned());
    }
    let explanation = Question::parse(uri.query().unwrap_or_default())
        .and_then(|question| explain::explain(proxy, &question));
    match explanation {
        Ok(explanation) => json(&explanation),
        Err(error @ ExplainError::NoPool(_)) => text(StatusCode::NOT_FOUND, error.to_string()),
        Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn json(explanation: &Explanation) -> Response<Full<Bytes>> {
    // Our own types have no part that JSON cannot hold.
    let mut response = Response::new(Full::new(serde_json::to_vec(explanation).unwrap_or_default().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn only_get(method: &Method) -> Option<Response<Full<Bytes>>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this port is for GET".to_owned());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

fn said(result: Result<(), impl std::fmt::Display>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => text(StatusCode::OK, "ok".to_owned()),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn text(status: StatusCode, mut text: String) -> Response<Full<Bytes>> {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
