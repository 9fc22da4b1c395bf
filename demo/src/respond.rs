//! Responses: the one place where failures become statuses, and where every response gets the name.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use crate::behaviour::{Share, document::DocumentError};
use crate::endpoint::Fault;
use crate::name::Name;

/// The header by which clients count shares.
const NAME: HeaderName = HeaderName::from_static("x-evenkeel-demo");

/// The header by which a balancer learns how busy the endpoint is.
const LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// A response held in memory.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Why a request was not answered as it asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no such path; there are /, /home, /health, /metrics, /api/data, /echo and /admin/behaviour")]
    NotFound,
    #[error("this path takes {allow}")]
    Method { allow: &'static str },
    #[error("the body is larger than {max_bytes} bytes")]
    BodyTooLarge { max_bytes: usize },
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body could not be read")]
    BodyBroken,
    #[error("{}", match .0 {
        Fault::Injected(_) => "told to fail, see /admin/behaviour",
        Fault::QueueFull => "too many requests wait, see concurrency in /admin/behaviour",
    })]
    Fault(Fault),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("metrics cannot be encoded: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the response cannot be encoded: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::Document(DocumentError::Syntax(_)) => StatusCode::BAD_REQUEST,
            Self::Fault(Fault::Injected(status)) => *status,
            Self::Fault(Fault::QueueFull) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Document(DocumentError::Field { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Metrics(_) | Self::Json(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Document(DocumentError::Field { field, .. }) => Some(field),
            _ => None,
        }
    }
}

/// Adds a report of load (Open Request Cost Aggregation, in its text form).
pub(crate) fn with_load(mut answer: Answer, utilization: Option<Share>) -> Answer {
    let report = |share: Share| format!("TEXT application_utilization={}", share.as_f64());
    if let Some(value) = utilization.and_then(|share| HeaderValue::try_from(report(share)).ok()) {
        answer.headers_mut().insert(LOAD, value);
    }
    answer
}

/// What the client sees of a result.
pub(crate) fn finish(name: &Name, result: Result<Answer, Failure>) -> Answer {
    let mut answer = result.unwrap_or_else(|failure| fail(name, &failure));
    answer.headers_mut().insert(NAME, name.header());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn fail(name: &Name, failure: &Failure) -> Answer {
    let mut body = json!({"endpoint": name.as_str(), "error": failure.to_string()});
    if let Some(field) = failure.field() {
        body["field"] = field.into();
    }
    let mut answer = of("application/json", body.to_string());
    *answer.status_mut() = failure.status();
    if let Failure::Method { allow } = failure {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    answer
}

/// A 200 with this body.
pub(crate) fn of(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A 200 with plain text.
pub(crate) fn text(body: impl Into<Bytes>) -> Answer {
    of("text/plain; charset=utf-8", body)
}

/// A 200 with JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Answer, Failure> {
    let mut body = serde_json::to_vec(value)?;
    body.push(b'\n');
    Ok(of("application/json", body))
}
