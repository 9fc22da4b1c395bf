//! From listeners to connections, and the way to the end: listeners close, open requests are answered.

use std::convert::Infallible;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time;

use crate::behaviour::Connections;
use crate::door::Door;
use crate::endpoint::Endpoint;
use crate::request;
use crate::stream::Stream;

/// Open connections per listener; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 16_384;
/// Requests at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 256;
/// Time to the next request's head, and so for a connection to be idle: longer than a client keeps one,
/// so that it is mostly the client that closes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the endpoint is reached.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// Serves the same paths, but is never refused or reset. Without it, `/admin/behaviour` does not
    /// take a change of `connections`.
    pub admin: Option<TcpListener>,
}

/// Serves until `shutdown` completes, then closes the listeners and answers what is open, with
/// `Connection: close` or GOAWAY, for at most the time that `shutdown` gave. Dropping the future ends
/// all at once.
///
/// # Errors
/// Where a listener has no address.
pub async fn serve(
    listeners: Listeners,
    endpoint: Endpoint,
    shutdown: impl Future<Output = Duration>,
) -> io::Result<()> {
    let drain = watch::Sender::new(false);
    let admin_apart = listeners.admin.is_some();
    let context =
        |steady| Context { endpoint: endpoint.clone(), admin_apart, drain: drain.subscribe(), steady };
    let public = accept(Door::new(listeners.public)?, context(false));
    let admin = listeners.admin.map(Door::new).transpose()?;
    let admin = async {
        if let Some(door) = admin {
            accept(door, context(true)).await;
        }
    };
    let all = async { tokio::join!(public, admin) };
    let end = async {
        let grace = shutdown.await;
        tracing::info!(grace_seconds = grace.as_secs_f64(), "closing listeners, answering what is open");
        drain.send_replace(true);
        time::sleep(grace).await;
    };
    tokio::select! {
        ((), ()) = all => tracing::info!("all requests are answered"),
        () = end => tracing::warn!("grace is over, open requests are cut"),
    }
    Ok(())
}

/// What a connection knows of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) endpoint: Endpoint,
    /// Whether there is a listener for the admin path alone.
    pub(crate) admin_apart: bool,
    drain: watch::Receiver<bool>,
    /// Not subject to [`Behaviour::connections`](crate::Behaviour::connections).
    steady: bool,
}

impl Context {
    /// Completes when no more requests are taken.
    pub(crate) async fn drained(&self) {
        // An error is the end of the server, which cancels its connections.
        drop(self.drain.clone().wait_for(|drain| *drain).await);
    }

    /// Whether [`Self::drained`] would complete at once.
    pub(crate) fn draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Completes when connections are to be reset.
    async fn cut(&self) {
        if self.steady {
            return future::pending().await;
        }
        let mut changes = self.endpoint.changes();
        drop(changes.wait_for(|setting| setting.behaviour.connections != Connections::Accept).await);
    }

    fn connections(&self) -> Connections {
        if self.steady { Connections::Accept } else { self.endpoint.behaviour().connections }
    }
}

async fn accept(mut door: Door, context: Context) {
    let mut open = JoinSet::new();
    let mut changes = context.endpoint.changes();
    loop {
        changes.mark_unchanged();
        match context.connections() {
            Connections::Refuse => door.shut(),
            Connections::Accept | Connections::Reset => door.open(),
        }
        tokio::select! {
            biased;
            () = context.drained() => break,
            _ = changes.changed() => {}
            Some(ended) = open.join_next() => note(ended),
            accepted = door.accept(), if open.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    open.spawn(connection(stream, peer, context.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(door);
    while let Some(ended) = open.join_next().await {
        note(ended);
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection panicked");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, context: Context) {
    let _open = context.endpoint.metrics().connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let (stream, reset) = Stream::new(stream);
    // The server below has no limit of time for the first bytes, by which it tells the protocol.
    let ready = tokio::select! {
        biased;
        () = context.cut() => {
            reset.pull();
            false
        }
        ready = time::timeout(HEAD_TIMEOUT, stream.readable()) => matches!(ready, Ok(Ok(()))),
        () = context.drained() => false,
    };
    if !ready {
        return;
    }
    let service = service_fn(|request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(request::answer(&context, peer, request).await) }
    });
    let builder = protocols();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            () = context.cut() => return reset.pull(),
            // Ahead of the drain, so that a request that has arrived is taken.
            result = serving.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended early");
                }
                return;
            }
            () = context.drained(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    builder
}
