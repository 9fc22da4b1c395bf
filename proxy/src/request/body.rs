//! Bodies on their way through. A response's body carries what ends with it: the accounting, the guard of the pick, and
//! the connection, which goes back once the endpoint has said all.

mod idle;
mod pipe;
mod upload;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

pub(crate) use self::upload::{Fault, Turn, Upload};
use self::{idle::Idle, pipe::Pipe};
use super::{
    account::Account,
    error::Cause,
    headers::{self, Named},
    load,
    queue::Place,
    sampling,
};
use crate::{
    clock,
    connection::InRequest,
    endpoint::{connect::Sender, connections::Connections},
    limits,
    metrics::EndpointMetrics,
};
use evenkeel_balance::{Outcome, Status, orca::LoadReport};

/// Nothing came for so long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} ms", .0.as_millis())]
struct Stalled(Duration);

/// A request's body, from the client to an endpoint.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Absent if the body is empty.
    stream: Option<RequestStream>,
}

#[derive(Debug)]
struct RequestStream {
    inner: Incoming,
    idle: Idle,
    /// How long the client may send nothing once the endpoint has begun to answer.
    stream_idle: Duration,
    upload: Arc<Upload>,
    named: Named,
}

impl RequestBody {
    /// `named`: what trailers may not hold; `stream_idle`: how long the client may send nothing, if less than
    /// [`limits::CLIENT_STALL`] or the endpoint has begun to answer.
    pub(crate) fn new(inner: Incoming, named: Named, stream_idle: Duration) -> Self {
        let stream = (!inner.is_end_stream()).then(|| RequestStream {
            inner,
            idle: Idle::new(stream_idle.min(limits::CLIENT_STALL)),
            stream_idle,
            upload: Arc::default(),
            named,
        });
        Self { stream }
    }

    pub(super) const fn empty() -> Self {
        Self { stream: None }
    }

    /// How the body gets on, if there is one.
    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        self.stream.as_ref().map(|stream| Arc::clone(&stream.upload))
    }

    /// Whether there is a body whose length is not known.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.inner.size_hint().exact().is_none())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let polled = Pin::new(&mut stream.inner).poll_frame(context);
        match polled {
            Poll::Pending => {
                stream.upload.waits();
                while stream.idle.poll_elapsed(context).is_ready() {
                    if stream.upload.is_answered() && stream.idle.extend(stream.stream_idle) {
                        continue;
                    }
                    let stalled = stream.idle.limit();
                    stream.upload.fail(Fault::Stalled(stalled));
                    return Poll::Ready(Some(Err(Stalled(stalled).into())));
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                stream.idle.moved();
                stream.upload.moved(stream.inner.is_end_stream() || frame.is_trailers());
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers, &stream.named);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                stream.upload.fail(Fault::Broken(error.to_string()));
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                stream.upload.moved(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or(SizeHint::with_exact(0), |stream| stream.inner.size_hint())
    }
}

/// What ends with a response.
#[derive(Debug)]
pub(crate) struct Ending {
    account: Account,
    under_way: InRequest,
}

impl Ending {
    pub(crate) const fn new(account: Account, under_way: InRequest) -> Self {
        Self { account, under_way }
    }

    /// The client gets a response with this status.
    pub(crate) const fn answered(&mut self, code: u16) {
        self.account.answered(code);
        self.under_way.answered();
    }
}

/// A response's body, to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Made by the proxy.
    Made { text: Option<Bytes>, _ending: Option<Ending> },
    /// An endpoint's, over HTTP/1.
    Forwarded(Box<Forwarded>),
    /// An endpoint's, over HTTP/2.
    Piped(Box<Pipe>),
}

impl ResponseBody {
    /// An endpoint's body. `idle`: how long a client over HTTP/2 may take nothing; over HTTP/1 the socket watches that.
    pub(crate) fn forwarded(body: Forwarded, version: Version, idle: Duration) -> Self {
        if version == Version::HTTP_2 && body.end == End::Open {
            Self::Piped(Box::new(Pipe::new(body, idle)))
        } else {
            Self::Forwarded(Box::new(body))
        }
    }
}

/// A response's body, from an endpoint.
#[derive(Debug)]
pub(crate) struct Forwarded {
    inner: Incoming,
    named: Named,
    exchange: Exchange,
    /// Taken when it goes back.
    sender: Option<Sender>,
    idle: Idle,
    end: End,
    ending: Ending,
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Reached,
    Broken,
}

/// The endpoint's side of a request.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) place: Place,
    pub(crate) connections: Arc<Connections>,
    pub(crate) status: StatusCode,
    /// From the sending of the request to the head of the response.
    pub(crate) latency: Duration,
    /// When the endpoint wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// What the endpoint reported of its load.
    pub(crate) load: Option<Box<LoadReport>>,
    /// Where its reports go beside that, if samples are made of them.
    pub(crate) sampled: Option<Arc<EndpointMetrics>>,
}

impl Exchange {
    /// Says how it ended.
    pub(super) fn ended(&mut self, status: Status) {
        let outcome = Outcome::new(status, clock::now(), self.latency);
        let (retry_after, load) = (self.retry_after, self.load.take());
        self.place.guard.set_outcome(Outcome { retry_after, load, ..outcome });
    }
}

impl Forwarded {
    /// `idle`: how long the endpoint may send nothing.
    pub(crate) fn new(
        inner: Incoming,
        named: Named,
        exchange: Exchange,
        sender: Sender,
        ending: Ending,
        idle: Duration,
    ) -> Self {
        let end = if inner.is_end_stream() { End::Reached } else { End::Open };
        Self { inner, named, exchange, sender: Some(sender), idle: Idle::new(idle), end, ending }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Pending if self.idle.poll_elapsed(context).is_ready() => {
                let error = Stalled(self.idle.limit());
                Poll::Ready(Some(Err(self.broken("stream_idle", error.into()))))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut frame))) => {
                self.idle.moved();
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.end = End::Reached;
                }
                if let Some(trailers) = frame.trailers_mut() {
                    self.trailed(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(self.broken("endpoint_closed", error.into()))))
            }
            Poll::Ready(None) => {
                self.end = End::Reached;
                Poll::Ready(None)
            }
        }
    }

    /// The endpoint has said its last: what is ours of that is taken out. A report at the end knows more than one in
    /// the head.
    fn trailed(&mut self, trailers: &mut HeaderMap) {
        let (pool, exchange) = (self.ending.account.pool(), &mut self.exchange);
        if let Some(report) = load::take(trailers, pool.keeps_reports, &pool.metrics) {
            if let Some(endpoint) = &exchange.sampled {
                sampling::learn(endpoint, &report);
            }
            exchange.load = Some(report);
        }
        headers::strip_trailers(trailers, &self.named);
    }

    /// The client takes no more of it.
    fn abandoned(&self) {
        self.ending.account.metrics().broken.add("client_stalled");
        tracing::info!(reason = "client_stalled", endpoint = %self.exchange.address, "a response broke off");
    }

    /// The client has a head already: all that is left is to end the connection, and to say so here.
    fn broken(&mut self, reason: &'static str, error: Cause) -> Cause {
        self.end = End::Broken;
        self.ending.account.metrics().broken.add(reason);
        tracing::warn!(reason, %error, endpoint = %self.exchange.address, "a response broke off");
        error
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let exchange = &mut self.exchange;
        let answered = Status::Answered(exchange.status.as_u16());
        match self.end {
            End::Reached => {
                exchange.ended(answered);
                if let Some(sender) = self.sender.take() {
                    exchange.connections.check_in(exchange.address, sender);
                }
            }
            End::Broken => {
                exchange.ended(Status::Failed);
                self.ending.account.pool().broke(exchange.address, exchange.status);
            }
            End::Open if exchange.status.is_server_error() => exchange.ended(answered),
            End::Open => {}
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match self.get_mut() {
            Self::Made { text, .. } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Forwarded(forwarded) => forwarded.poll(context),
            Self::Piped(pipe) => pipe.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Made { text, .. } => text.is_none(),
            Self::Forwarded(forwarded) => forwarded.inner.is_end_stream(),
            Self::Piped(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Made { text, .. } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Forwarded(forwarded) => forwarded.inner.size_hint(),
            Self::Piped(pipe) => pipe.size_hint(),
        }
    }
}
