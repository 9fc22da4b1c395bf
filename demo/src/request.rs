//! A request's way from its path to its response.

mod echo;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};
use tokio::time;

use crate::behaviour::document::{Document, DocumentError};
use crate::behaviour::{Behaviour, Connections, Health};
use crate::metrics;
use crate::respond::{self, Answer, Failure};
use crate::server::Context;

/// Largest body taken: what `/echo` gives back is held in memory.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest behaviour document.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;
/// Time in which a body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The paths there are. They are also the label set of the metrics, and so bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Root,
    Home,
    Data,
    Echo,
    Health,
    Metrics,
    Admin,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        [Self::Root, Self::Home, Self::Data, Self::Echo, Self::Health, Self::Metrics, Self::Admin]
            .into_iter()
            .find(|route| route.path() == path)
            .unwrap_or(Self::Unknown)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Home => "/home",
            Self::Data => "/api/data",
            Self::Echo => "/echo",
            Self::Health => "/health",
            Self::Metrics => "/metrics",
            Self::Admin => "/admin/behaviour",
            Self::Unknown => "other",
        }
    }
}

/// Answers a request, whatever comes.
pub(crate) async fn answer(context: &Context, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    let route = Route::of(request.uri().path());
    let guard = context.endpoint.metrics().request(route.path());
    let (head, version) = (request.method() == Method::HEAD, request.version());
    tracing::debug!(method = %request.method(), path = route.path(), "request");
    let result = dispatch(context, route, peer, request).await;
    let mut answer = respond::finish(context.endpoint.name(), result);
    // Said here too, as a request may be answered before its connection has learned of the drain.
    if context.draining() && version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    guard.answered(answer.status());
    if head { without_body(answer) } else { answer }
}

async fn dispatch(
    context: &Context,
    route: Route,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let endpoint = &context.endpoint;
    let (head, body) = request.into_parts();
    match route {
        Route::Unknown => Err(Failure::NotFound),
        Route::Health => {
            read_only(&head.method)?;
            Ok(health(context).await)
        }
        Route::Metrics => {
            read_only(&head.method)?;
            Ok(respond::of(metrics::TEXT, endpoint.metrics_text()?))
        }
        Route::Admin => admin(context, &head.method, body).await,
        Route::Root | Route::Home | Route::Data | Route::Echo => {
            let body = read(body, MAX_BODY_BYTES).await?;
            endpoint.work().await?;
            let answer = match route {
                Route::Echo => respond::json(&echo::of(endpoint.name(), peer, &head, &body))?,
                Route::Data => respond::json(&data(context))?,
                Route::Home => respond::of("text/html; charset=utf-8", home(context)),
                _ => respond::text(format!("evenkeel demo endpoint {}\n", endpoint.name())),
            };
            Ok(respond::with_load(answer, endpoint.behaviour().utilization))
        }
    }
}

fn read_only(method: &Method) -> Result<(), Failure> {
    let allowed = matches!(*method, Method::GET | Method::HEAD);
    allowed.then_some(()).ok_or(Failure::Method { allow: "GET, HEAD" })
}

async fn health(context: &Context) -> Answer {
    let mut changes = context.endpoint.changes();
    let awake = async {
        // An error is the end of the endpoint, which cancels this request.
        drop(changes.wait_for(|setting| setting.behaviour.health != Health::Hanging).await);
    };
    tokio::select! {
        () = awake => {}
        () = context.drained() => {}
    }
    if context.endpoint.behaviour().health == Health::Ok {
        return respond::text("ok\n");
    }
    let mut answer = respond::text("failing\n");
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

async fn admin(context: &Context, method: &Method, body: Incoming) -> Result<Answer, Failure> {
    let endpoint = &context.endpoint;
    let behaviour = match *method {
        Method::GET | Method::HEAD => endpoint.behaviour(),
        Method::PUT | Method::PATCH => {
            let text = read(body, MAX_DOCUMENT_BYTES).await?;
            endpoint.update(|behaviour| {
                let changed = match *method {
                    Method::PATCH => behaviour.patched(&text)?,
                    _ => Behaviour::from_json(&text)?,
                };
                context.reachable(changed)
            })?
        }
        _ => return Err(Failure::Method { allow: "GET, HEAD, PUT, PATCH" }),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        tracing::info!(?behaviour, "behaviour changed");
    }
    respond::json(&Document::from(&behaviour))
}

impl Context {
    /// Rejects a behaviour that could not be changed any more.
    fn reachable(&self, behaviour: Behaviour) -> Result<Behaviour, DocumentError> {
        if behaviour.connections != Connections::Accept && !self.admin_apart {
            let problem = "would cut off this path too; start with --admin-listen to change it elsewhere";
            return Err(DocumentError::field("connections", problem));
        }
        Ok(behaviour)
    }
}

fn data(context: &Context) -> Value {
    let items: Vec<Value> = (1..=10).map(|id| json!({"id": id, "name": format!("item {id}")})).collect();
    json!({"endpoint": context.endpoint.name().as_str(), "items": items})
}

fn home(context: &Context) -> String {
    let name = context.endpoint.name();
    let uptime_seconds = context.endpoint.metrics().uptime_seconds();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title></head>\n\
         <body><h1>{name}</h1><p>A demo endpoint of Evenkeel, up for {uptime_seconds:.0} s.</p>\n\
         <p><a href=\"/api/data\">data</a> <a href=\"/echo\">echo</a> <a href=\"/health\">health</a> \
         <a href=\"/metrics\">metrics</a> <a href=\"/admin/behaviour\">behaviour</a></p></body></html>\n"
    )
}

/// The whole body, in bounded memory and time.
async fn read(body: Incoming, max_bytes: usize) -> Result<Bytes, Failure> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match time::timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect()).await {
        Err(_) => Err(Failure::BodyTimeout),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::BodyTooLarge { max_bytes }),
        Ok(Err(_)) => Err(Failure::BodyBroken),
    }
}

/// The response to HEAD: the length, but not the body.
fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Answer::from_parts(head, Full::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        assert_eq!(Route::of("/"), Route::Root);
        assert_eq!(Route::of("/echo"), Route::Echo);
        assert_eq!(Route::of("/echo/"), Route::Unknown);
        assert_eq!(Route::of("other"), Route::Unknown);
    }
}
