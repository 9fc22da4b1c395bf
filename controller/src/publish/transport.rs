//! How requests reach a proxy: over mutual TLS, or, where both are one process, by a call.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_tls::{Client, ClientError, Identity, Role};
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};

use super::limits::MAX_ANSWER_BYTES;
use crate::published::Proxy;

/// A way to one proxy.
pub trait Transport: Send + Sync {
    /// Sends a request, whose target is a path, and completes with the whole answer. Has no time-out of its own; may be
    /// dropped half-way.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Finds the way to a proxy. Cheap: a connection is made when it is needed.
pub trait Dial: Send + Sync {
    /// The way to `proxy`.
    fn dial(&self, proxy: &Proxy) -> Box<dyn Transport>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// From the network.
    #[error(transparent)]
    Network(#[from] ClientError),
    /// The proxy of this process is gone.
    #[error("the proxy has ended")]
    Gone,
}

/// HTTP over mutual TLS to the pod's address, where the role of the proxy's class is expected.
#[derive(Clone, Debug)]
pub struct MutualTls(Arc<Identity>);

impl MutualTls {
    /// As `identity`, which should be a controller's.
    #[must_use]
    pub const fn new(identity: Arc<Identity>) -> Self {
        Self(identity)
    }
}

impl Dial for MutualTls {
    fn dial(&self, proxy: &Proxy) -> Box<dyn Transport> {
        let expected = Role::Proxy { class: proxy.class.clone() };
        Box::new(Connection(Client::new(self.0.clone(), expected, proxy.address)))
    }
}

struct Connection(Client);

impl Transport for Connection {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move { Ok(self.0.send(request, MAX_ANSWER_BYTES).await?) }.boxed()
    }
}
