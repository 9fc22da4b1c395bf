//! What `/readyz` says, as told by the config channel and by the drain.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether this proxy is to get traffic. Starts as no.
#[derive(Debug, Default)]
pub struct Readiness {
    configured: AtomicBool,
    closed: AtomicBool,
}

/// Why a proxy is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Neither a snapshot nor the last good one.
    #[error("no snapshot yet: neither a controller has pushed one nor is there a last good one")]
    Unconfigured,
    /// The listeners are closed.
    #[error("terminating: the listeners are closed")]
    Closed,
}

impl Readiness {
    /// To be called once a snapshot is in use: the first one acknowledged, or the last good one.
    pub fn set_configured(&self) {
        self.configured.store(true, Relaxed);
    }

    /// To be called when the listeners close for good.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Whether this proxy is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self) -> Result<(), NotReady> {
        if self.closed.load(Relaxed) {
            return Err(NotReady::Closed);
        }
        self.configured.load(Relaxed).then_some(()).ok_or(NotReady::Unconfigured)
    }
}
