//! Why a request was not answered by its endpoint. What a client sees of it is said in `respond.rs` alone.

use std::{error::Error, io, net::SocketAddr, time::Duration};

/// What lies below, whichever engine it comes from.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a request was not answered by its endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the request has no Host")]
    HostMissing,
    #[error("the request has more than one Host, or one that differs from its target")]
    HostAmbiguous,
    #[error("the Host is not a host, nor a host and a port")]
    HostInvalid,
    #[error("the request's target is longer than {max_bytes} bytes")]
    TargetTooLong { max_bytes: usize },
    #[error("the request's head has more than {max_fields} fields, or more than {max_bytes} bytes")]
    HeadTooLarge { max_fields: usize, max_bytes: usize },
    #[error("CONNECT is not supported")]
    Connect,
    #[error("TRACE is not answered by this proxy, and Max-Forwards lets it go no further")]
    TraceEnds,
    #[error("the request names an algorithm that its pool does not allow; it allows {}", .0.join(", "))]
    AlgorithmNotAllowed(Vec<&'static str>),
    #[error("no pool has this host name")]
    UnknownHost,
    #[error("the pool of this port is gone")]
    ListenerClosed,
    #[error("the request came through this pool before: its endpoints lead back to it")]
    Loop,
    #[error("the client sent nothing of the request's body for {} ms", .0.as_millis())]
    ClientStalled(Duration),
    #[error("the request's body ended early")]
    ClientBroken(#[source] Cause),
    #[error("the proxy's memory runs out")]
    Overloaded,
    #[error("no endpoint takes requests: none is there, ready and healthy")]
    NoEndpoint,
    #[error("every endpoint has as many requests as the pool's limits allow, and there is no queue")]
    EndpointsFull,
    #[error("every endpoint has as many requests as the pool's limits allow, and {size} wait already")]
    QueueFull { size: usize },
    #[error("no endpoint had room within {} ms", .0.as_millis())]
    QueueTimeout(Duration),
    #[error("no connection to endpoint {address}")]
    ConnectFailed { address: SocketAddr, source: io::Error },
    #[error("no connection to endpoint {address} within {} ms", after.as_millis())]
    ConnectTimeout { address: SocketAddr, after: Duration },
    #[error("the connection to endpoint {address} closed before the request was sent")]
    NotSent { address: SocketAddr, source: Cause },
    #[error("endpoint {address} closed the connection before its response")]
    EndpointClosed { address: SocketAddr, source: Cause },
    #[error("endpoint {address} gave no response within {} ms", after.as_millis())]
    EndpointTimeout { address: SocketAddr, after: Duration },
    #[error("endpoint {address} took nothing of the request's body for {} ms", after.as_millis())]
    EndpointStalled { address: SocketAddr, after: Duration },
    #[error("the response of endpoint {address} is not HTTP/1.1")]
    ResponseMalformed { address: SocketAddr, source: Cause },
    #[error("endpoint {address} switched protocols unasked")]
    UnexpectedUpgrade { address: SocketAddr },
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client's.
    Client,
    /// The endpoint's.
    Endpoint,
    /// The proxy's, or its configuration's.
    Proxy,
}

/// Whether a request may be sent again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would end the same way, or the client is at fault.
    Never,
    /// The endpoint may have acted on it.
    IfIdempotent,
    /// Nothing of it has been sent.
    Safe,
}

impl RequestError {
    pub(crate) const fn origin(&self) -> Origin {
        match self {
            Self::HostMissing
            | Self::HostAmbiguous
            | Self::HostInvalid
            | Self::TargetTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::Connect
            | Self::TraceEnds
            | Self::AlgorithmNotAllowed(_)
            | Self::UnknownHost
            | Self::ClientStalled(_)
            | Self::ClientBroken(_) => Origin::Client,
            Self::ListenerClosed
            | Self::Overloaded
            | Self::Loop
            | Self::NoEndpoint
            | Self::EndpointsFull
            | Self::QueueFull { .. }
            | Self::QueueTimeout(_) => Origin::Proxy,
            Self::ConnectFailed { .. }
            | Self::ConnectTimeout { .. }
            | Self::NotSent { .. }
            | Self::EndpointClosed { .. }
            | Self::EndpointTimeout { .. }
            | Self::EndpointStalled { .. }
            | Self::ResponseMalformed { .. }
            | Self::UnexpectedUpgrade { .. } => Origin::Endpoint,
        }
    }

    pub(crate) const fn retry(&self) -> Retry {
        match self {
            Self::ConnectFailed { .. } | Self::ConnectTimeout { .. } | Self::NotSent { .. } => Retry::Safe,
            Self::EndpointClosed { .. } | Self::EndpointTimeout { .. } => Retry::IfIdempotent,
            _ => Retry::Never,
        }
    }
}
