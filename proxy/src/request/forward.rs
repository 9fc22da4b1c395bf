//! One attempt: a request to one endpoint, over HTTP/1.1 by hyper, up to the head of the response.

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc};

use http::{HeaderValue, Request, Response, header::TRANSFER_ENCODING, request};
use hyper::body::Incoming;
use tokio::time::{self, Instant};

use super::{
    body::{Fault, RequestBody, Turn, Upload},
    error::RequestError,
};
use crate::{
    endpoint::{
        connect::{DialError, Sender},
        connections::Connections,
    },
    snapshot::Timeouts,
};

/// A request that can still be sent.
#[derive(Debug)]
pub(crate) struct Parcel(Request<RequestBody>);

impl Parcel {
    pub(crate) fn new(mut head: request::Parts, body: RequestBody) -> Self {
        if body.is_unbounded() {
            // hyper would take a GET to have no body.
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        head.extensions.clear();
        Self(Request::from_parts(head, body))
    }

    /// How its body gets on, if it has one.
    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        self.0.body().upload()
    }

    /// The same once more, if it may be sent twice: its method is idempotent, and it has no body.
    pub(crate) fn copy(&self) -> Option<Box<Self>> {
        if !self.0.method().is_idempotent() || self.upload().is_some() {
            return None;
        }
        let mut copy = Request::new(RequestBody::empty());
        copy.method_mut().clone_from(self.0.method());
        copy.uri_mut().clone_from(self.0.uri());
        copy.headers_mut().clone_from(self.0.headers());
        *copy.version_mut() = self.0.version();
        Some(Box::new(Self(copy)))
    }
}

/// An attempt that came to nothing.
pub(crate) struct Failed {
    pub(crate) error: RequestError,
    /// The request, if nothing of it was sent.
    pub(crate) parcel: Option<Box<Parcel>>,
}

/// What an endpoint answered, and over which connection.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: Sender,
    /// When the last part of the request's body went to it, if there is one.
    pub(crate) last_sent: Option<std::time::Instant>,
}

/// Sends a request to an endpoint. A connection that was idle and turns out to be closed before anything was sent over
/// it is no failure: a new one is made.
pub(crate) async fn send(
    connections: &Connections,
    address: SocketAddr,
    timeouts: Timeouts,
    mut parcel: Box<Parcel>,
) -> Result<Answer, Failed> {
    while let Some(sender) = connections.check_out(address).await {
        match over(sender, address, timeouts, parcel).await {
            Err(Failed { error: RequestError::NotSent { .. }, parcel: Some(unsent) }) => {
                tracing::debug!(%address, "an idle connection was closed");
                parcel = unsent;
            }
            result => return result,
        }
    }
    match connections.dial(address, timeouts.connect).await {
        Ok(sender) => over(sender, address, timeouts, parcel).await,
        Err(error) => {
            let error = match error {
                DialError::Failed(source) => RequestError::ConnectFailed { address, source },
                DialError::Timeout => RequestError::ConnectTimeout { address, after: timeouts.connect },
            };
            Err(Failed { error, parcel: Some(parcel) })
        }
    }
}

async fn over(
    mut sender: Sender,
    address: SocketAddr,
    timeouts: Timeouts,
    parcel: Box<Parcel>,
) -> Result<Answer, Failed> {
    let upload = parcel.upload();
    let sending = sender.send(parcel.0);
    let lost = |error| Failed { error, parcel: None };
    let result = match &upload {
        None => time::timeout(timeouts.request, sending)
            .await
            .map_err(|_elapsed| RequestError::EndpointTimeout { address, after: timeouts.request }),
        Some(upload) => watched(sending, upload, address, timeouts).await,
    };
    match result.map_err(lost)? {
        Ok(response) => {
            let last_sent = upload.map(|upload| {
                upload.answered();
                upload.last_moved().into_std()
            });
            Ok(Answer { response, sender, last_sent })
        }
        Err(mut unsent) => {
            let parcel = unsent.take_message().map(|request| Box::new(Parcel(request)));
            let error = classify(unsent.into_error(), address, parcel.is_some(), upload.as_ref());
            Err(Failed { error, parcel })
        }
    }
}

/// Waits for a response while the request's body is under way: the endpoint must go on to take it, and answer in time
/// once it has all. What the client must do is watched by the body.
async fn watched<T>(
    sending: impl Future<Output = T>,
    upload: &Upload,
    address: SocketAddr,
    timeouts: Timeouts,
) -> Result<T, RequestError> {
    let mut sending = pin!(sending);
    loop {
        let now = Instant::now();
        let (deadline, error) = match upload.turn() {
            Turn::Client => (now + timeouts.stream_idle, None),
            Turn::Taking(since) => {
                let error = RequestError::EndpointStalled { address, after: timeouts.stream_idle };
                (since + timeouts.stream_idle, Some(error))
            }
            Turn::Answering(since) => {
                let error = RequestError::EndpointTimeout { address, after: timeouts.request };
                (since + timeouts.request, Some(error))
            }
        };
        if let Some(error) = error.filter(|_| deadline <= now) {
            return Err(error);
        }
        tokio::select! {
            biased;
            result = &mut sending => return Ok(result),
            () = upload.ended() => {}
            () = time::sleep_until(deadline) => {}
        }
    }
}

fn classify(
    error: hyper::Error,
    address: SocketAddr,
    unsent: bool,
    upload: Option<&Arc<Upload>>,
) -> RequestError {
    match upload.and_then(|upload| upload.fault()) {
        Some(Fault::Stalled(after)) => RequestError::ClientStalled(after),
        Some(Fault::Broken(text)) => RequestError::ClientBroken(text.into()),
        None if unsent => RequestError::NotSent { address, source: error.into() },
        None if error.is_parse() => RequestError::ResponseMalformed { address, source: error.into() },
        None => RequestError::EndpointClosed { address, source: error.into() },
    }
}
