//! Answers proxies that boot: GET /v1/snapshot, on every replica.
//!
//! The certificate says which class is asked for. A follower's version has epoch 0, so that it never outranks a
//! leader's; before every watch has had its first full list there is no version, and the answer is 503.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_api::channel::{ErrorCode, ErrorReport, SNAPSHOT_PATH};
use evenkeel_tls::{Identity, Role};
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::Full;
use tokio::net::TcpListener;

use crate::publish::{Versions, body};

/// Serves pulls on `listener` until `shutdown` completes.
pub async fn serve(
    listener: TcpListener,
    identity: Arc<Identity>,
    versions: Versions,
    shutdown: impl Future<Output = ()>,
) {
    let handler = move |request: http::Request<_>, peer: Option<Role>| {
        let answer = answer(&versions, &request.into_parts().0, peer.as_ref());
        async move { answer.map(Full::new) }
    };
    evenkeel_tls::serve(listener, identity, handler, shutdown).await;
}

/// Answers a request.
#[must_use]
pub fn answer(versions: &Versions, request: &Parts, peer: Option<&Role>) -> Response<Bytes> {
    let Some(Role::Proxy { class }) = peer else {
        let message = "the certificate does not name a proxy; a snapshot is for proxies of its class";
        return error(StatusCode::FORBIDDEN, ErrorCode::NotProxy, message);
    };
    if request.uri.path() != SNAPSHOT_PATH {
        return error(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "there is /v1/snapshot");
    }
    if request.method != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, "there is GET");
    }
    match versions.newest(class) {
        Some(version) => json(StatusCode::OK, body::whole(&version)),
        None => {
            let message = "this controller has not seen everything yet; ask again, or another one";
            error(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::NotSynced, message)
        }
    }
}

fn error(status: StatusCode, code: ErrorCode, message: &str) -> Response<Bytes> {
    let report = ErrorReport { code, message: message.to_owned(), epoch: None, revision: None };
    json(status, serde_json::to_vec(&report).unwrap_or_default().into())
}

fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::Request;

    use super::*;
    use crate::published::Published;

    fn check(method: Method, path: &str, peer: Option<&Role>, expect: u16) -> Response<Bytes> {
        let versions = Versions::default();
        versions.publish("default", Arc::new(Published::new(0, 7, BTreeMap::new())));
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let answer = answer(&versions, &request.into_parts().0, peer);
        assert_eq!(answer.status(), expect, "{path} {peer:?}");
        answer
    }

    #[test]
    fn a_proxy_gets_its_class_and_nobody_else_anything() {
        let proxy = |class: &str| Role::Proxy { class: class.to_owned() };
        let default = proxy("default");
        let answer = check(Method::GET, SNAPSHOT_PATH, Some(&default), 200);
        let document: evenkeel_api::channel::SnapshotDocument =
            serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((document.epoch, document.revision), (0, 7));
        check(Method::GET, SNAPSHOT_PATH, Some(&proxy("edge")), 503);
        check(Method::GET, SNAPSHOT_PATH, Some(&Role::Controller), 403);
        check(Method::GET, SNAPSHOT_PATH, None, 403);
        check(Method::PUT, SNAPSHOT_PATH, Some(&default), 405);
        check(Method::GET, "/v1/pools", Some(&default), 404);
    }
}
