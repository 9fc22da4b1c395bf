//! Ports: bound by all threads or by none, accepted from by each, and closed without losing a client.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{connection, limits, request::route::Entrance, worker::Worker};

/// What the connections of a port share.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) entrance: Entrance,
    /// The port is to be closed: idle connections end at once, others after their request.
    pub(crate) close: CancellationToken,
    /// No more connections are accepted.
    stop: CancellationToken,
    connections: AtomicUsize,
}

/// A port that is bound by all threads.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Arc<Listener>,
    /// One for each thread, until it is opened.
    sockets: Vec<std::net::TcpListener>,
    accepting: Vec<JoinHandle<()>>,
}

impl Door {
    /// Binds a port for `workers` threads. Clients can connect from now on, and are accepted once it is opened.
    ///
    /// # Errors
    /// As of the system: port taken, address not of this machine, not permitted.
    pub(crate) fn bind(entrance: Entrance, address: SocketAddr, workers: usize) -> io::Result<Self> {
        let sockets = bind_shared(address, workers)?;
        let listener = Listener {
            entrance,
            close: CancellationToken::new(),
            stop: CancellationToken::new(),
            connections: AtomicUsize::new(0),
        };
        Ok(Self { listener: Arc::new(listener), sockets, accepting: Vec::new() })
    }

    /// Lets each worker accept. Does nothing where it is open already.
    pub(crate) fn open(&mut self, workers: &[Arc<Worker>]) {
        for (worker, socket) in workers.iter().zip(self.sockets.drain(..)) {
            let accepting = accept(Arc::clone(worker), Arc::clone(&self.listener), socket);
            self.accepting.push(worker.spawn(accepting));
        }
    }

    /// Accepts no more, and lets go of the port before it returns. Connections go on.
    pub(crate) async fn stop(&mut self) {
        self.sockets.clear();
        self.listener.stop.cancel();
        for accepting in self.accepting.drain(..) {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "accepting ended early");
            }
        }
    }

    /// Stops, and lets connections end: idle ones at once, others after their request.
    pub(crate) async fn close(&mut self) {
        self.stop().await;
        self.listener.close.cancel();
    }
}

/// Binds and listens on `address` alone. The unspecified IPv6 address takes IPv4 too, and falls back to that of IPv4
/// where there is no IPv6.
///
/// # Errors
/// As of the system: port taken, address not of this machine, not permitted.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    with_fallback(address, |address| listen(reserve(address, false)?))
}

fn bind_shared(address: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::TcpListener>> {
    with_fallback(address, |address| {
        // Without SO_REUSEPORT, or another process that has set it too would share the port unnoticed.
        drop(listen(reserve(address, false)?)?);
        (0..sockets).map(|_| listen(reserve(address, true)?)).collect()
    })
}

fn with_fallback<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let unspecified = address.is_ipv6() && address.ip().is_unspecified();
    match bind(address) {
        Err(error)
            if unspecified
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
        }
        result => result,
    }
}

fn reserve(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<std::net::TcpListener> {
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

async fn accept(worker: Arc<Worker>, listener: Arc<Listener>, socket: std::net::TcpListener) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, entrance = ?listener.entrance, "cannot listen"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = listener.stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, &listener, stream, peer),
            // A client that has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, entrance = ?listener.entrance, "cannot accept");
                time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    // Those that the kernel has let in already would be reset with the socket.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            admit(&worker, &listener, stream, peer);
        }
    }
}

/// Serves a connection, if there is room.
fn admit(worker: &Arc<Worker>, listener: &Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
    let shared = &worker.shared;
    let refused = |reason: &str| shared.metrics.connections_refused_total.with_label_values(&[reason]).inc();
    if shared.overload.refuses_connections() {
        return refused("memory");
    }
    if shared.connections.len() >= limits::CONNECTIONS {
        return refused("process");
    }
    if listener.connections.load(Relaxed) >= limits::CONNECTIONS_PER_LISTENER {
        return refused("listener");
    }
    shared.metrics.connections_total.inc();
    let open = Open::new(worker, listener);
    let serving = connection::serve(Arc::clone(worker), Arc::clone(listener), stream, peer);
    tokio::spawn(shared.connections.track_future(async move {
        let _open = open;
        connection::contain(serving).await;
    }));
}

/// A connection, as counted.
struct Open {
    worker: Arc<Worker>,
    listener: Arc<Listener>,
}

impl Open {
    fn new(worker: &Arc<Worker>, listener: &Arc<Listener>) -> Self {
        listener.connections.fetch_add(1, Relaxed);
        worker.shared.metrics.connections.inc();
        Self { worker: Arc::clone(worker), listener: Arc::clone(listener) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.connections.fetch_sub(1, Relaxed);
        self.worker.shared.metrics.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(socket: &std::net::TcpListener) -> u16 {
        socket.local_addr().unwrap().port()
    }

    #[test]
    fn the_unspecified_address_takes_ipv4() {
        let socket = bind("[::]:0".parse().unwrap()).unwrap();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&socket))).unwrap();
    }

    #[test]
    fn a_port_that_another_shares_is_refused() {
        let free = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let other = bind_shared(address, 2).unwrap();
        assert_eq!(other.len(), 2);
        assert_eq!(bind_shared(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
