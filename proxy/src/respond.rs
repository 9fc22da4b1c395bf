//! The only map from errors to responses. Each names its reason: in a header, in a line of the log, and in a metric.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE},
};

use crate::{
    connection::Connection,
    request::{
        Asked,
        body::{Ending, ResponseBody},
        error::{Origin, RequestError},
    },
    snapshot::Pool,
};

/// Why the proxy made the response.
pub const REASON: HeaderName = HeaderName::from_static("x-evenkeel-reason");
/// What is passed on; CONNECT is not.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What a client sees of an error.
const fn describe(error: &RequestError) -> (StatusCode, &'static str) {
    match error {
        RequestError::HostMissing => (StatusCode::BAD_REQUEST, "host_missing"),
        RequestError::HostAmbiguous => (StatusCode::BAD_REQUEST, "host_ambiguous"),
        RequestError::HostInvalid => (StatusCode::BAD_REQUEST, "host_invalid"),
        RequestError::TargetTooLong { .. } => (StatusCode::URI_TOO_LONG, "target_too_long"),
        RequestError::HeadTooLarge { .. } => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"),
        RequestError::Connect => (StatusCode::METHOD_NOT_ALLOWED, "connect_not_supported"),
        RequestError::TraceEnds => (StatusCode::METHOD_NOT_ALLOWED, "trace_not_supported"),
        RequestError::AlgorithmNotAllowed(_) => (StatusCode::BAD_REQUEST, "algorithm_not_allowed"),
        RequestError::UnknownHost => (StatusCode::NOT_FOUND, "unknown_host"),
        RequestError::ListenerClosed => (StatusCode::SERVICE_UNAVAILABLE, "listener_closed"),
        RequestError::Loop => (StatusCode::LOOP_DETECTED, "loop_detected"),
        RequestError::ClientStalled(_) => (StatusCode::REQUEST_TIMEOUT, "request_stalled"),
        RequestError::ClientBroken(_) => (StatusCode::BAD_REQUEST, "request_broken"),
        RequestError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        RequestError::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "no_endpoint"),
        RequestError::EndpointsFull => (StatusCode::SERVICE_UNAVAILABLE, "endpoints_full"),
        RequestError::QueueFull { .. } => (StatusCode::SERVICE_UNAVAILABLE, "queue_full"),
        RequestError::QueueTimeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "queue_timeout"),
        RequestError::ConnectFailed { .. } => (StatusCode::BAD_GATEWAY, "connect_failed"),
        RequestError::ConnectTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "connect_timeout"),
        RequestError::NotSent { .. } => (StatusCode::BAD_GATEWAY, "connection_closed"),
        RequestError::EndpointClosed { .. } => (StatusCode::BAD_GATEWAY, "endpoint_closed"),
        RequestError::EndpointTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "endpoint_timeout"),
        RequestError::EndpointStalled { .. } => (StatusCode::GATEWAY_TIMEOUT, "endpoint_stalled"),
        RequestError::ResponseMalformed { .. } => (StatusCode::BAD_GATEWAY, "response_malformed"),
        RequestError::UnexpectedUpgrade { .. } => (StatusCode::BAD_GATEWAY, "unexpected_upgrade"),
    }
}

/// The word for an error, in headers, logs and metrics.
pub(crate) const fn reason(error: &RequestError) -> &'static str {
    describe(error).1
}

/// Refuses a request. `pool` is absent if it belongs to none.
pub(crate) fn refuse(
    connection: &Connection,
    pool: Option<&Arc<Pool>>,
    asked: &Asked,
    error: &RequestError,
    mut ending: Option<Ending>,
) -> Response<ResponseBody> {
    let (status, reason) = describe(error);
    connection.worker.shared.metrics.made(pool.map(|pool| &*pool.metrics), reason, status.as_u16());
    log(connection, pool, asked, error, status, reason);
    if let Some(ending) = &mut ending {
        ending.answered(status.as_u16());
    }
    let text = Some(Bytes::from(format!("{} {reason}: {error}\n", status.as_u16())));
    let mut response = Response::new(ResponseBody::Made { text, _ending: ending });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(reason));
    headers.insert(CONTENT_TYPE, PLAIN);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, METHODS);
    }
    response
}

fn log(
    connection: &Connection,
    pool: Option<&Arc<Pool>>,
    asked: &Asked,
    error: &RequestError,
    status: StatusCode,
    reason: &'static str,
) {
    let pool = pool.map(|pool| format!("{}/{}", pool.document.namespace, pool.document.name));
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let (status, peer, entrance) = (status.as_u16(), connection.peer, connection.listener.entrance);
    let (method, path, origin) = (&asked.method, asked.path(), error.origin());
    if origin == Origin::Client {
        tracing::info!(reason, status, %error, ?origin, cause, pool, %peer, ?entrance, %method, path, "request refused");
    } else {
        tracing::warn!(reason, status, %error, ?origin, cause, pool, %peer, ?entrance, %method, path, "request failed");
    }
}

/// Answers OPTIONS that is to go no further.
pub(crate) fn options(mut ending: Ending) -> Response<ResponseBody> {
    ending.answered(StatusCode::OK.as_u16());
    let mut response = Response::new(ResponseBody::Made { text: None, _ending: Some(ending) });
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

/// Tells a client over HTTP/1 that this was the last request of its connection.
pub(crate) fn close(response: &mut Response<ResponseBody>) {
    response.headers_mut().insert(CONNECTION, CLOSE);
}

/// hyper has answered a malformed request by itself, without a reason in its header: here are the log and the metric.
pub(crate) fn answered_by_hyper(connection: &Connection, error: &hyper::Error) {
    let (status, reason) = if error.is_parse_too_large() {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
    } else {
        (StatusCode::BAD_REQUEST, "request_malformed")
    };
    let shared = &connection.worker.shared;
    let snapshot = shared.snapshot.load();
    let pool = snapshot.routes.find(connection.listener.entrance, "");
    shared.metrics.made(pool.map(|pool| &*pool.metrics), reason, status.as_u16());
    if let Some(pool) = pool {
        pool.metrics.answered(status.as_u16());
    }
    let (status, peer, entrance) = (status.as_u16(), connection.peer, connection.listener.entrance);
    tracing::info!(reason, status, %error, %peer, ?entrance, "request refused");
}
