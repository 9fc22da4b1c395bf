//! Listening sockets, and shutting one for a while without losing its port.

use std::future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// Time between two attempts to open a door whose port another process took.
const REOPEN: Duration = Duration::from_millis(200);

/// Listens on `addr`. The unspecified IPv6 address takes IPv4 too, and falls back to that of IPv4 where
/// there is no IPv6.
///
/// # Errors
/// As of the system: port taken, address not of this machine, not permitted.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let unspecified = addr.is_ipv6() && addr.ip().is_unspecified();
    match reserve(addr).and_then(listen) {
        Err(error)
            if unspecified
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            tracing::info!(%error, "no IPv6, listening on IPv4 alone");
            reserve(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port())).and_then(listen)
        }
        result => result,
    }
}

/// A listener that can refuse connections.
#[derive(Debug)]
pub(crate) struct Door {
    addr: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// Told to refuse. The socket is bound and does not listen, so that nobody else takes the port.
    Shut(Option<Socket>),
    /// Told to open, but the port was taken.
    Stuck,
}

impl Door {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { addr: listener.local_addr()?, state: State::Open(listener) })
    }

    /// Does nothing where it is shut already.
    pub(crate) fn shut(&mut self) {
        if matches!(self.state, State::Shut(_)) {
            return;
        }
        // The listener goes first: two sockets cannot be bound while one listens.
        self.state = State::Shut(None);
        match reserve(self.addr) {
            Ok(socket) => self.state = State::Shut(Some(socket)),
            Err(error) => tracing::warn!(%error, "the port is not kept while connections are refused"),
        }
    }

    /// Does nothing where it is open already.
    pub(crate) fn open(&mut self) {
        let reserved = match &mut self.state {
            State::Open(_) => return,
            State::Shut(reserved) => reserved.take(),
            State::Stuck => None,
        };
        match reserved.map_or_else(|| reserve(self.addr), Ok).and_then(listen) {
            Ok(listener) => self.state = State::Open(listener),
            Err(error) => {
                tracing::warn!(%error, "cannot listen again, does another process hold the port?");
                self.state = State::Stuck;
            }
        }
    }

    /// The next connection; never one while shut. An error means to call [`Self::open`] again.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.state {
            State::Open(listener) => listener.accept().await,
            State::Shut(_) => future::pending().await,
            State::Stuck => {
                time::sleep(REOPEN).await;
                Err(io::ErrorKind::AddrInUse.into())
            }
        }
    }
}

/// Binds, without listening yet.
fn reserve(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shut_door_keeps_its_port_and_opens_again() {
        let mut door = Door::new(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        door.shut();
        door.shut();
        let refused = TcpStream::connect(door.addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        door.open();
        let (client, accepted) = tokio::join!(TcpStream::connect(door.addr), door.accept());
        assert_eq!(client.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }

    #[tokio::test]
    async fn the_unspecified_address_takes_ipv4() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.local_addr().unwrap().port());
        TcpStream::connect(addr).await.unwrap();
    }
}
