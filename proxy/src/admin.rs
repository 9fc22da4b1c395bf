//! The port of probes and metrics: plain, read-only, bounded.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
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

use crate::{connection::contain, limits, listener, metrics, proxy::Proxy};

/// Binds the port; see [`listener::bind`].
///
/// # Errors
/// As of the system.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(listener::bind(address)?)
}

/// Answers probes and scrapes until it is dropped.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let proxy = Arc::clone(&proxy);
                tokio::spawn(contain(async move {
                    let _place = place;
                    connection(&proxy, stream).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept probes");
                time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(proxy: &Proxy, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(proxy, request.method(), request.uri().path()))
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
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this port is for GET".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
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
