//! A client's connection: which protocol it speaks, within which times and limits, and how it ends.

mod activity;
mod socket;

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use futures::FutureExt as _;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time};

pub(crate) use activity::{Activity, InRequest};

use self::socket::{Opening, Socket};
use crate::{
    limits,
    listener::Listener,
    request::{self, body::ResponseBody},
    respond,
    worker::Worker,
};

/// What the requests of a connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: Arc<Listener>,
    /// The client; an IPv4 address within IPv6 as IPv4.
    pub(crate) peer: SocketAddr,
    pub(crate) activity: Arc<Activity>,
}

impl Connection {
    /// Whether the request under way is the last one.
    pub(crate) fn ends(&self) -> bool {
        self.worker.shared.draining.is_cancelled() || self.listener.close.is_cancelled()
    }
}

/// Runs a task so that a panic ends only that.
pub(crate) async fn contain(task: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        tracing::error!(
            panic = panic_text(&*panic),
            "a task panicked; its connection is lost, others are not"
        );
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Arc<Worker>, listener: Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // hyper has no limit of time before it knows the protocol.
    let opening = tokio::select! {
        biased;
        opening = time::timeout(limits::HEAD_TIMEOUT, socket::open(&stream)) => opening,
        () = listener.close.cancelled() => return,
    };
    let Ok(Ok(opening)) = opening else { return };
    let connection = Arc::new(Connection { worker, listener, peer, activity: Arc::new(Activity::default()) });
    match opening {
        Opening::Closed => {}
        Opening::Http1(read) => http1(&connection, Socket::new(stream, read, &connection.activity)).await,
        Opening::Http2(read) => http2(&connection, Socket::new(stream, read, &connection.activity)).await,
    }
}

async fn http1(connection: &Arc<Connection>, socket: Socket) {
    let mut builder = http1::Builder::new();
    // This is the time between two requests; the socket watches over that from a head's first byte.
    builder.timer(TokioTimer::new()).header_read_timeout(limits::KEEP_ALIVE).max_buf_size(limits::HEAD_BYTES);
    let service = service_fn(|request| answer(Arc::clone(connection), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket.with_head_timeout()), service));
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            result = serving.as_mut() => {
                if let Err(error) = result {
                    ended(connection, &error);
                }
                return;
            }
            // A drain does not come here: an idle client may be about to send, and is told with the next response.
            () = connection.listener.close.cancelled(), if !closing => {
                closing = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn http2(connection: &Arc<Connection>, socket: Socket) {
    let mut builder = http2::Builder::new(Contained);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::HTTP2_PING)
        .keep_alive_timeout(limits::HTTP2_PING)
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(limits::HTTP2_SEND_BUFFER)
        .max_header_list_size(limits::HTTP2_READ_BYTES);
    let service = service_fn(|request| answer(Arc::clone(connection), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            result = serving.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, peer = %connection.peer, "connection ended early");
                }
                return;
            }
            () = connection.listener.close.cancelled(), if !closing => closing = true,
            () = connection.worker.shared.draining.cancelled(), if !closing => closing = true,
            () = connection.activity.idle(), if !closing => closing = true,
            () = connection.activity.flooded(), if !closing => {
                closing = true;
                tracing::warn!(peer = %connection.peer, "client floods with resets, its connection is to end");
            }
        }
        // GOAWAY; streams that are open, or that come before the client has read it, are served.
        serving.as_mut().graceful_shutdown();
    }
}

async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(request::serve(connection, request).await)
}

/// A connection over HTTP/1 has ended early; hyper answers some malformed requests by itself.
fn ended(connection: &Connection, error: &hyper::Error) {
    if error.is_parse() {
        respond::answered_by_hyper(connection, error);
    } else {
        tracing::debug!(%error, peer = %connection.peer, "connection ended early");
    }
}

/// Runs hyper's tasks, one for each stream.
#[derive(Clone, Copy, Debug)]
struct Contained;

impl<F> hyper::rt::Executor<F> for Contained
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(contain(task));
        tokio::spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_task() {
        contain(async { panic!("as a test") }).await;
        Contained.execute(async { panic!("{}", "as a test") });
        tokio::task::yield_now().await;
    }
}
