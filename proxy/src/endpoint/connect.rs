//! A new connection to an endpoint.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::{net::TcpStream, task::AbortHandle, time};

use crate::{connection::contain, limits, metrics::Metrics, request::body::RequestBody};

/// The sending side of a connection to an endpoint. Dropping it closes the connection, whatever is under way: hyper
/// would first send all that it holds, for which an endpoint that takes nothing lets it wait for ever.
#[derive(Debug)]
pub(crate) struct Sender {
    requests: http1::SendRequest<RequestBody>,
    connection: AbortHandle,
}

impl Sender {
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Whether the exchange before is over, on both ways.
    pub(crate) fn is_ready(&self) -> bool {
        self.requests.is_ready()
    }

    /// Sends a request; an error holds it if nothing of it was sent.
    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        self.requests.try_send_request(request)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    Failed(io::Error),
    Timeout,
}

/// Connects to an endpoint.
pub(crate) async fn dial(
    address: SocketAddr,
    timeout: Duration,
    metrics: &Metrics,
) -> Result<Sender, DialError> {
    let connecting = time::timeout(timeout, TcpStream::connect(address));
    let stream = match connecting.await {
        Ok(connected) => connected.map_err(DialError::Failed)?,
        Err(_elapsed) => return Err(DialError::Timeout),
    };
    stream.set_nodelay(true).map_err(DialError::Failed)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::RESPONSE_BUFFER);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (requests, connection) = handshake.map_err(|error| DialError::Failed(io::Error::other(error)))?;
    let open = Open::new(&metrics.endpoint_connections);
    let serving = tokio::spawn(contain(async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(%error, %address, "connection to an endpoint ended early");
        }
    }));
    Ok(Sender { requests, connection: serving.abort_handle() })
}

/// Counts a connection while it is open.
struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
