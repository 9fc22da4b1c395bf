//! The channel on the network: bodies are read under limits, and only of those who may send them.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_api::channel::MAX_SNAPSHOT_BYTES;
use evenkeel_tls::{BodyError, Identity, Role, read_body};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{Activate, Control, answer::AnswerError, limits::MAX_BODIES};

/// Serves the channel on `listener` until `shutdown` completes.
pub async fn serve<A: Activate>(
    control: Arc<Control<A>>,
    listener: TcpListener,
    identity: Arc<Identity>,
    shutdown: impl Future<Output = ()>,
) {
    let bodies = Arc::new(Semaphore::new(MAX_BODIES));
    let handler = move |request, peer: Option<Role>| {
        let (control, bodies) = (control.clone(), bodies.clone());
        async move { answer(&control, &bodies, request, peer.as_ref()).await.map(Full::new) }
    };
    evenkeel_tls::serve(listener, identity, handler, shutdown).await;
}

async fn answer<A: Activate>(
    control: &Arc<Control<A>>,
    bodies: &Semaphore,
    request: Request<Incoming>,
    peer: Option<&Role>,
) -> Response<Bytes> {
    let (request, body) = request.into_parts();
    if let Some(answer) = control.refuse_unread(&request, peer) {
        return answer;
    }
    // A heartbeat never waits for a push.
    let permit = if request.method.is_safe() { None } else { bodies.acquire().await.ok() };
    let answer = match read_body(body, MAX_SNAPSHOT_BYTES).await {
        Ok(body) => control.answer(&request, body, peer).await,
        Err(BodyError::TooLarge(_)) => control.finish(&request.method, Err(AnswerError::TooLarge)),
        Err(BodyError::Broken(_) | BodyError::TimedOut) => {
            control.finish(&request.method, Err(AnswerError::Broken))
        }
    };
    drop(permit);
    answer
}
