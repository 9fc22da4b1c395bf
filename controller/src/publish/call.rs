//! The operations of the channel, with their answers told apart.

use bytes::Bytes;
use evenkeel_api::channel::{
    Acknowledgement, ErrorReport, MERGE_PATCH, POOLS_PATH, PoolsReport, ReceivedSnapshot, SNAPSHOT_PATH,
};
use http::{
    Method, Request, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Transport, TransportError, body, limits::REQUEST_TIMEOUT};
use crate::published::Published;

/// Why a proxy did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// 409.
    #[error("the proxy has had a push of epoch {epoch}, revision {revision}, which is not older")]
    Stale {
        /// The proxy's epoch.
        epoch: u64,
        /// The proxy's revision.
        revision: u64,
    },
    /// 412.
    #[error("the proxy does not have what the patch is made for")]
    UnknownBase,
    /// Another status.
    #[error("the proxy answers {0}: {1}")]
    Status(StatusCode, String),
    /// An answer that is not of this protocol.
    #[error("the proxy's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No answer in time.
    #[error("no answer within {secs} s", secs = REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    /// Acknowledged something else.
    #[error("the proxy acknowledges hash {found}, not {sent}")]
    OtherHash {
        /// As sent.
        sent: String,
        /// As acknowledged.
        found: String,
    },
}

/// Pushes `version`: the change since `base`, or the whole.
pub(super) async fn push(
    transport: &dyn Transport,
    base: Option<&Published>,
    version: &Published,
) -> Result<Acknowledgement, CallError> {
    let request = match base {
        Some(base) => {
            let mut request = request(Method::PATCH, SNAPSHOT_PATH, MERGE_PATCH, body::change(base, version));
            if let Ok(base) = format!("\"{}\"", base.hash).try_into() {
                request.headers_mut().insert(IF_MATCH, base);
            }
            request
        }
        None => request(Method::PUT, SNAPSHOT_PATH, "application/json", body::whole(version)),
    };
    let acknowledged: Acknowledgement = call(transport, request).await?;
    if acknowledged.hash == version.hash {
        Ok(acknowledged)
    } else {
        Err(CallError::OtherHash { sent: version.hash.clone(), found: acknowledged.hash })
    }
}

/// The heartbeat.
pub(super) async fn pools(transport: &dyn Transport) -> Result<PoolsReport, CallError> {
    call(transport, request(Method::GET, POOLS_PATH, "application/json", Bytes::new())).await
}

/// What the proxy has received.
pub(super) async fn snapshot(transport: &dyn Transport) -> Result<ReceivedSnapshot, CallError> {
    call(transport, request(Method::GET, SNAPSHOT_PATH, "application/json", Bytes::new())).await
}

fn request(method: Method, path: &'static str, media_type: &'static str, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.uri_mut() = http::Uri::from_static(path);
    request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    *request.method_mut() = method;
    request
}

async fn call<T: DeserializeOwned>(
    transport: &dyn Transport,
    request: Request<Bytes>,
) -> Result<T, CallError> {
    let answer =
        timeout(REQUEST_TIMEOUT, transport.send(request)).await.map_err(|_elapsed| CallError::TimedOut)??;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(serde_json::from_slice(answer.body())?);
    }
    let report: Result<ErrorReport, _> = serde_json::from_slice(answer.body());
    Err(match (status, report) {
        (StatusCode::CONFLICT, Ok(ErrorReport { epoch: Some(epoch), revision, .. })) => {
            CallError::Stale { epoch, revision: revision.unwrap_or_default() }
        }
        (StatusCode::PRECONDITION_FAILED, _) => CallError::UnknownBase,
        (status, Ok(report)) => CallError::Status(status, report.message),
        (status, Err(_not_ours)) => CallError::Status(status, String::new()),
    })
}
