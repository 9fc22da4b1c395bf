//! A client that says bytes and hears bytes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response over HTTP/1, its body decoded.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) trailers: String,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The values of a field.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        fields(&self.head, name)
    }

    pub(crate) fn reason(&self) -> &str {
        self.field("x-evenkeel-reason").first().copied().unwrap_or("")
    }
}

/// The values of a field in a head.
pub(crate) fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request and reads its response.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request).await;
        let head = std::str::from_utf8(request.as_ref()).is_ok_and(|request| request.starts_with("HEAD "));
        self.response(head).await
    }

    /// `None` at the end.
    async fn more(&mut self) -> Option<()> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("in time");
        (read.unwrap_or(0) > 0).then_some(())
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(found) = self.buffer.windows(end.len()).position(|window| window == end) {
                let taken: Vec<_> = self.buffer.drain(..found + end.len()).collect();
                return Some(String::from_utf8(taken).unwrap());
            }
            self.more().await?;
        }
    }

    pub(crate) async fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n").await
    }

    pub(crate) async fn line(&mut self) -> Option<String> {
        self.until(b"\r\n").await
    }

    /// All that comes until the proxy closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await.is_some() {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    async fn exactly(&mut self, len: usize) -> String {
        while self.buffer.len() < len {
            self.more().await.expect("the whole body");
        }
        String::from_utf8(self.buffer.drain(..len).collect()).unwrap()
    }

    /// Reads a response; to HEAD, without a body.
    pub(crate) async fn response(&mut self, to_head: bool) -> Response {
        let head = self.head().await.expect("a response");
        let mut response = Response { head, body: String::new(), trailers: String::new() };
        let bodiless = to_head || matches!(response.status(), 100..200 | 204 | 304);
        if bodiless {
            return response;
        }
        if let Some(len) = response.field("content-length").first() {
            let len = len.parse().unwrap();
            response.body = self.exactly(len).await;
        } else if response.field("transfer-encoding") == ["chunked"] {
            loop {
                let size = self.until(b"\r\n").await.expect("a chunk");
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                response.body += &self.exactly(size).await;
                self.exactly(2).await;
            }
            loop {
                let line = self.until(b"\r\n").await.expect("the end");
                if line == "\r\n" {
                    break;
                }
                response.trailers += &line;
            }
        } else {
            response.body = self.rest().await;
        }
        response
    }

    /// Whether the proxy closes the connection, and says nothing more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.more().await.is_none()
    }

    /// Whether nothing comes for a moment, and the connection stays open.
    pub(crate) async fn is_quiet(&mut self, pause: Duration) -> bool {
        self.buffer.is_empty() && timeout(pause, self.stream.read_buf(&mut self.buffer)).await.is_err()
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    Client::connect(address).await.ask(request).await
}

/// A GET of `/` for the host `shop.test`.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
