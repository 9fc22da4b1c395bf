//! A client with one connection, so that a test sees what becomes of it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// A response read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header's text, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        Ok(Self { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

pub(crate) fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path).header("host", "demo.test");
    builder.body(Full::new(body.into())).unwrap()
}

pub(crate) struct Http1(http1::SendRequest<Full<Bytes>>);

impl Http1 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response, hyper::Error> {
        self.0.ready().await?;
        Response::read(self.0.send_request(request).await?).await
    }

    /// Waits until the endpoint has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while !self.0.is_closed() {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn http2(addr: SocketAddr, request: Request<Full<Bytes>>) -> Response {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Response::read(sender.send_request(request).await.unwrap()).await.unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn send(addr: SocketAddr, method: Method, path: &str, body: &str) -> Response {
    Http1::connect(addr).await.send(request(method, path, body.to_owned())).await.unwrap()
}

pub(crate) async fn fetch(addr: SocketAddr, path: &str) -> Response {
    send(addr, Method::GET, path, "").await
}
