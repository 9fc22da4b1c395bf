//! From a request of the channel to its answer: who may ask, what can be read, and the one map from refusals to
//! statuses.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_api::channel::{
    ErrorCode, ErrorReport, MAX_SNAPSHOT_BYTES, MERGE_PATCH, POOLS_PATH, SNAPSHOT_PATH, SnapshotDocument,
    SnapshotPatch,
};
use evenkeel_tls::Role;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, IF_MATCH},
    request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Activate, Control, Received, Refusal};

const JSON: &str = "application/json";

enum Operation {
    Snapshot,
    Pools,
    Put,
    Patch { base: String },
}

/// An answer other than 200.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(
        "the certificate is of this install and does not name a controller; only a controller's may use this channel"
    )]
    NotController,
    #[error("no such path; there are {SNAPSHOT_PATH} and {POOLS_PATH}")]
    NoPath,
    #[error("no such method here; there are {0}")]
    NoMethod(&'static str),
    #[error("content-type must be {0}")]
    WrongType(&'static str),
    #[error("a patch needs If-Match, with the hash of the state that it changes in quotes")]
    NoBase,
    #[error("the body is larger than {MAX_SNAPSHOT_BYTES} bytes")]
    TooLarge,
    #[error("the body broke off or was too slow")]
    Broken,
    #[error("not what is expected: {0}")]
    NotJson(serde_json::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl<A: Activate> Control<A> {
    /// Answers a request of the channel as the network would have it answered. Carries a push out to its end even if
    /// the caller drops the answer.
    pub async fn answer(
        self: &Arc<Self>,
        request: &Parts,
        body: Bytes,
        peer: Option<&Role>,
    ) -> Response<Bytes> {
        let answer = match operation(request, peer) {
            Ok(operation) => self.carry_operation_out(operation, body).await,
            Err(error) => Err(error),
        };
        self.finish(&request.method, answer)
    }

    /// The answer to a request whose body need not be read to be refused.
    pub(super) fn refuse_unread(&self, request: &Parts, peer: Option<&Role>) -> Option<Response<Bytes>> {
        operation(request, peer).err().map(|error| self.finish(&request.method, Err(error)))
    }

    /// Counts and renders.
    pub(super) fn finish(&self, method: &Method, answer: Result<Bytes, AnswerError>) -> Response<Bytes> {
        let answer = answer.map_or_else(|error| refusal(&error), |body| json(StatusCode::OK, body));
        if [Method::PUT, Method::PATCH].contains(method) {
            self.metrics().answered(answer.status());
        }
        answer
    }

    async fn carry_operation_out(
        self: &Arc<Self>,
        operation: Operation,
        body: Bytes,
    ) -> Result<Bytes, AnswerError> {
        if body.len() > MAX_SNAPSHOT_BYTES {
            return Err(AnswerError::TooLarge);
        }
        match operation {
            Operation::Snapshot => Ok(render(&self.received().snapshot())),
            Operation::Pools => {
                self.contact().now();
                Ok(render(&self.received().report(self.plane().report())))
            }
            Operation::Put => {
                let document: SnapshotDocument = parse(&body)?;
                drop(body);
                self.to_the_end(|control| async move { control.put(document).await }).await
            }
            Operation::Patch { base } => {
                let patch: SnapshotPatch = parse(&body)?;
                drop(body);
                self.to_the_end(|control| async move { control.patch(&base, &patch).await }).await
            }
        }
    }

    /// A peer that hangs up must not leave a push half done.
    async fn to_the_end<F>(self: &Arc<Self>, push: impl FnOnce(Arc<Self>) -> F) -> Result<Bytes, AnswerError>
    where
        F: Future<Output = Result<Arc<Received>, Refusal>> + Send + 'static,
    {
        let received = match tokio::spawn(push(self.clone())).await {
            Ok(received) => received?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_the_runtime_ends) => return Err(AnswerError::Broken),
            },
        };
        Ok(render(&received.acknowledgement()))
    }
}

fn operation(request: &Parts, peer: Option<&Role>) -> Result<Operation, AnswerError> {
    if peer != Some(&Role::Controller) {
        return Err(AnswerError::NotController);
    }
    match (request.uri.path(), &request.method) {
        (SNAPSHOT_PATH, &Method::GET) => Ok(Operation::Snapshot),
        (SNAPSHOT_PATH, &Method::PUT) => {
            expect_type(request, JSON)?;
            Ok(Operation::Put)
        }
        (SNAPSHOT_PATH, &Method::PATCH) => {
            expect_type(request, MERGE_PATCH)?;
            Ok(Operation::Patch { base: base(request)? })
        }
        (SNAPSHOT_PATH, _) => Err(AnswerError::NoMethod("GET, PUT, PATCH")),
        (POOLS_PATH, &Method::GET) => Ok(Operation::Pools),
        (POOLS_PATH, _) => Err(AnswerError::NoMethod("GET")),
        _ => Err(AnswerError::NoPath),
    }
}

fn expect_type(request: &Parts, expected: &'static str) -> Result<(), AnswerError> {
    let given = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(AnswerError::WrongType(expected)) }
}

/// What If-Match holds, without its quotes; something else than a hash is a base that nobody has.
fn base(request: &Parts) -> Result<String, AnswerError> {
    let value = request.headers.get(IF_MATCH).ok_or(AnswerError::NoBase)?;
    let value = value.to_str().unwrap_or_default().trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Ok(quoted.unwrap_or_default().to_owned())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(body).map_err(AnswerError::NotJson)
}

/// Our own types have no part that JSON cannot hold.
fn render(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    answer
}

fn refusal(error: &AnswerError) -> Response<Bytes> {
    let (status, code) = match error {
        AnswerError::NotController => (StatusCode::FORBIDDEN, ErrorCode::NotController),
        AnswerError::NoPath => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
        AnswerError::NoMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
        AnswerError::WrongType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Unsupported),
        AnswerError::NoBase => (StatusCode::PRECONDITION_REQUIRED, ErrorCode::Unsupported),
        AnswerError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge),
        AnswerError::Broken
        | AnswerError::NotJson(_)
        | AnswerError::Refused(Refusal::WrongHash { .. } | Refusal::NotCanonical { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::Unreadable)
        }
        AnswerError::Refused(Refusal::Stale { .. }) => (StatusCode::CONFLICT, ErrorCode::Stale),
        AnswerError::Refused(Refusal::UnknownBase(_) | Refusal::Diverged { .. }) => {
            (StatusCode::PRECONDITION_FAILED, ErrorCode::UnknownBase)
        }
    };
    let order = match error {
        AnswerError::Refused(Refusal::Stale { epoch, revision }) => Some((*epoch, *revision)),
        _ => None,
    };
    let report = ErrorReport {
        code,
        message: error.to_string(),
        epoch: order.map(|(epoch, _)| epoch),
        revision: order.map(|(_, revision)| revision),
    };
    tracing::debug!(
        status = status.as_u16(),
        message = report.message,
        "refused a request of the config channel"
    );
    let mut answer = json(status, render(&report));
    if let AnswerError::NoMethod(methods) = error {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    }
    answer
}
