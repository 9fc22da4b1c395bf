//! Accepts peers of the own install, and tells the handler which role each has.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Identity, Role,
    limits::{
        BACKLOG, BODY_TIMEOUT, HANDSHAKE_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS, MAX_LOGGED_FAILURES,
        STOP_TIMEOUT,
    },
    peer_role,
};

/// Listens on `address`. `[::]` takes IPv4 too; where there is no IPv6 it means `0.0.0.0`.
///
/// # Errors
/// If the address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let unspecified = address.is_ipv6() && address.ip().is_unspecified();
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        Err(_no_ipv6) if unspecified => return bind((Ipv4Addr::UNSPECIFIED, address.port()).into()),
        socket => socket?,
    };
    if unspecified {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.bind(&address.into()) {
        // IPv6 compiled in and switched off: the socket is made, the address is not there.
        let absent = unspecified && error.kind() == io::ErrorKind::AddrNotAvailable;
        return if absent { bind((Ipv4Addr::UNSPECIFIED, address.port()).into()) } else { Err(error) };
    }
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke.
    #[error("the body broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// Too slow.
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    TimedOut,
}

/// Reads a body of at most `limit` bytes, and no more than that.
///
/// # Errors
/// If it is larger, breaks off or is too slow.
pub async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    use hyper::body::Body as _;
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    let read = async {
        let (mut body, mut whole) = (Limited::new(body, limit), BytesMut::new());
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                whole.extend_from_slice(data);
            }
        }
        Ok(whole.freeze())
    };
    match timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) => Err(into_body_error(error, limit)),
        Err(_elapsed) => Err(BodyError::TimedOut),
    }
}

fn into_body_error(error: Box<dyn std::error::Error + Send + Sync>, limit: usize) -> BodyError {
    if error.is::<LengthLimitError>() { BodyError::TooLarge(limit) } else { BodyError::Broken(error) }
}

/// Serves HTTP/1.1 until `shutdown` completes and open requests are answered, or a few seconds more. `handler` gets the
/// role of the peer, or `None` if its certificate is of our bundle and names none.
pub async fn serve<H, F>(
    listener: TcpListener,
    identity: Arc<Identity>,
    handler: H,
    shutdown: impl Future<Output = ()>,
) where
    H: Fn(Request<Incoming>, Option<Role>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let failures = Arc::new(Failures::default());
    let (stop, stopping) = watch::channel(());
    let accept = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (handler, identity) = (handler.clone(), identity.clone());
                    let connection = Connection { peer, permit, stopping: stopping.clone() };
                    tokio::spawn(connection.run(stream, identity, failures.clone(), handler));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors: the ones that are open must end first.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop((listener, stopping));
    stop.send_replace(());
    if timeout(STOP_TIMEOUT, stop.closed()).await.is_err() {
        tracing::warn!("connections of the config channel outlive their server");
    }
}

struct Connection {
    peer: SocketAddr,
    #[expect(dead_code, reason = "held for its drop")]
    permit: OwnedSemaphorePermit,
    stopping: watch::Receiver<()>,
}

impl Connection {
    async fn run<H, F>(
        mut self,
        stream: TcpStream,
        identity: Arc<Identity>,
        failures: Arc<Failures>,
        handler: H,
    ) where
        H: Fn(Request<Incoming>, Option<Role>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        drop(stream.set_nodelay(true));
        let accept = TlsAcceptor::from(identity.server_config()).accept(stream);
        let stream = match timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failures.log(self.peer.ip(), &error.to_string()),
            Err(_elapsed) => return failures.log(self.peer.ip(), "handshake timed out"),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let role = peer_role(certificates, identity.install());
        let service = service_fn(move |request| {
            let answer = handler(request, role.clone());
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %self.peer, "connection ended");
        }
    }
}

/// Failed handshakes that were logged: one line per peer and cause, not per attempt.
#[derive(Default)]
struct Failures(Mutex<HashSet<(IpAddr, String)>>);

impl Failures {
    fn log(&self, peer: IpAddr, cause: &str) {
        if self.is_new(peer, cause) {
            tracing::warn!(%peer, cause, "refused a connection to the config channel; not logged again for this peer");
        }
    }

    fn is_new(&self, peer: IpAddr, cause: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= MAX_LOGGED_FAILURES {
            logged.clear();
        }
        logged.insert((peer, cause.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_new_once_per_peer_and_cause() {
        let (failures, peer) = (Failures::default(), IpAddr::from([10, 0, 0, 1]));
        assert!(failures.is_new(peer, "no certificate"));
        assert!(!failures.is_new(peer, "no certificate"));
        assert!(failures.is_new(peer, "unknown authority"));
        assert!(failures.is_new(IpAddr::from([10, 0, 0, 2]), "no certificate"));
    }
}
