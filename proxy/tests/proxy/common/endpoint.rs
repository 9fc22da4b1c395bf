//! An endpoint that records what it is sent and says what it is told, in bytes.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::client::fields;

/// What an endpoint has seen.
#[derive(Clone, Default)]
pub(crate) struct Record {
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Record {
    /// All requests so far, heads and bodies as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn only(&self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An endpoint; it ends with this.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) record: Record,
    task: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection at the endpoint.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    record: Record,
    buffer: Vec<u8>,
}

impl Wire {
    /// Reads a request with its body, and records it; `None` at the end.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        let body = if let Some(len) = fields(&head, "content-length").first() {
            self.exactly(len.parse().unwrap()).await?
        } else if fields(&head, "transfer-encoding") == ["chunked"] {
            self.chunked().await?
        } else {
            String::new()
        };
        let request = head + &body;
        self.record.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// Reads a head, and records it.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        self.record.requests.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// The chunks as they come, trailers included.
    async fn chunked(&mut self) -> Option<String> {
        let mut body = String::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            body += &line;
            if size == 0 {
                break;
            }
            body += &self.exactly(size + 2).await?;
        }
        loop {
            let line = self.until(b"\r\n").await?;
            body += &line;
            if line == "\r\n" {
                return Some(body);
            }
        }
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

    async fn exactly(&mut self, len: usize) -> Option<String> {
        while self.buffer.len() < len {
            self.more().await?;
        }
        Some(String::from_utf8(self.buffer.drain(..len).collect()).unwrap())
    }

    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.buffer).await.ok()? > 0).then_some(())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may have gone, which is for the test to find.
        _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Ends with RST.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// An endpoint that does with each connection what `serve` does.
pub(crate) async fn endpoint<F, Fut>(serve: F) -> Endpoint
where
    F: Fn(Wire) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    on(listener, serve)
}

/// The same on a listener of the test's.
pub(crate) fn on<F, Fut>(listener: TcpListener, serve: F) -> Endpoint
where
    F: Fn(Wire) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr().unwrap();
    let record = Record::default();
    let seen = record.clone();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            seen.connections.fetch_add(1, Ordering::Relaxed);
            open.spawn(serve(Wire { stream, record: seen.clone(), buffer: Vec::new() }));
        }
    });
    Endpoint { address, record, task }
}

/// One that answers requests of `/`, and leaves all others without an answer.
pub(crate) async fn answering_root_alone() -> Endpoint {
    endpoint(|mut wire| async move {
        while let Some(request) = wire.request().await {
            if request.starts_with("GET / ") {
                wire.send(OK).await;
            }
        }
    })
    .await
}

/// An endpoint that answers each request with these bytes.
pub(crate) async fn canned(response: &'static str) -> Endpoint {
    endpoint(move |mut wire| async move {
        while wire.request().await.is_some() {
            wire.send(response).await;
        }
    })
    .await
}

/// A plain response.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An address where nobody listens, and nobody will while the socket is held.
pub(crate) fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An address whose connections do not open, while the sockets are held: its queue is full.
pub(crate) async fn full() -> (Vec<socket2::Socket>, SocketAddr) {
    let (listening, address) = refusing();
    listening.listen(0).unwrap();
    let mut held = vec![listening];
    // The system lets in one or two more than it was told.
    for _ in 0..4 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // In progress is what it is to be.
        _ = socket.connect(&address.into());
        held.push(socket);
    }
    let opens = || async {
        tokio::time::timeout(std::time::Duration::from_millis(100), TcpStream::connect(address)).await.is_ok()
    };
    while opens().await {}
    (held, address)
}
