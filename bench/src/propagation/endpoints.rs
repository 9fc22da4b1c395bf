//! All endpoints, as one server: whoever connects to an address of theirs is answered with that address.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Which of the two groups an endpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    A,
    B,
}

/// Addresses that are kept for benchmarks (RFC 2544, section C.2.2): `run.sh` makes all of the cluster's network out of
/// them local, with one route.
pub(super) fn addresses(group: Group, count: u8) -> Vec<Ipv4Addr> {
    let third = match group {
        Group::A => 0,
        Group::B => 1,
    };
    (1..=count).map(|last| Ipv4Addr::new(198, 18, third, last)).collect()
}

/// The group of the endpoint that gave an answer.
pub(super) fn group_of(answer: &[u8]) -> Option<Group> {
    let address: Ipv4Addr = std::str::from_utf8(answer).ok()?.parse().ok()?;
    match address.octets() {
        [198, 18, 0, _] => Some(Group::A),
        [198, 18, 1, _] => Some(Group::B),
        _ => None,
    }
}

/// Answers until nobody waits for it.
pub(super) async fn serve(listener: TcpListener) {
    loop {
        // What keeps one connection from being accepted is over soon, or shows as requests that fail.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    }
}

async fn connection(stream: TcpStream) {
    let Ok(IpAddr::V4(address)) = stream.local_addr().map(|address| address.ip()) else { return };
    _ = stream.set_nodelay(true); // else it is slower, and no more
    let name = Bytes::from(address.to_string());
    let service = service_fn(|_: Request<Incoming>| {
        let answer = Response::new(Full::new(name.clone()));
        async move { Ok::<_, Infallible>(answer) }
    });
    // A proxy closes what it no longer needs, in the middle of nothing.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_group() {
        for group in [Group::A, Group::B] {
            let addresses = addresses(group, 100);
            assert_eq!(addresses.len(), 100);
            assert!(addresses.iter().all(|address| group_of(address.to_string().as_bytes()) == Some(group)));
        }
        assert_eq!(group_of(b"10.0.0.1"), None);
        assert_eq!(group_of(b"no healthy endpoint"), None);
    }
}
