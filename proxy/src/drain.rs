//! The way to the end, in which no request is lost: accept for a while yet, as others may not know; then close the
//! listeners, answer what comes over open connections and tell each client that it was the last; leave when all have
//! gone, or in time.

use std::time::Duration;

use tokio::time;

use crate::proxy::Proxy;

/// How long each part lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// New connections are accepted for so long; `/readyz` stays as it is.
    pub accept: Duration,
    /// Then open ones have so long to end.
    pub grace: Duration,
}

impl Proxy {
    /// Drains; when it returns, nothing is left to serve, or no time.
    pub async fn drain(&self, drain: Drain) {
        tracing::info!(accept_seconds = drain.accept.as_secs_f64(), "draining: accepting for a while yet");
        time::sleep(drain.accept).await;
        self.readiness().set_closed();
        self.plane().stop_accepting().await;
        let shared = self.shared();
        shared.draining.cancel();
        shared.connections.close();
        let open = shared.connections.len();
        tracing::info!(open, grace_seconds = drain.grace.as_secs_f64(), "draining: listeners are closed");
        match time::timeout(drain.grace, shared.connections.wait()).await {
            Ok(()) => tracing::info!("drained: all connections have ended"),
            Err(_elapsed) => {
                let open = shared.connections.len();
                tracing::warn!(open, "drained: the grace is over, open connections are cut");
            }
        }
    }
}
