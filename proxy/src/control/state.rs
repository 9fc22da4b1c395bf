//! The state of this proxy, and the one place that changes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use evenkeel_api::channel::{ReceivedSnapshot, SnapshotDocument, SnapshotPatch};
use tokio::sync::{Mutex, watch};

use super::{Activate, Candidate, ControlMetrics, Origin, Received, Refusal, Source, Step};

/// The config channel's end at a proxy. Works on whole requests, so that it needs neither sockets nor TLS: see
/// [`Control::answer`]. For the network there is [`super::serve`].
pub struct Control<A> {
    plane: A,
    state: watch::Sender<Arc<Received>>,
    /// Held while a push is carried out; readers do not wait for it.
    push: Mutex<()>,
    contact: Contact,
    metrics: ControlMetrics,
}

impl<A: Activate> Control<A> {
    /// A proxy that has received nothing; leaders before epoch `fence` stay out.
    pub fn new(plane: A, fence: u64, metrics: ControlMetrics) -> Arc<Self> {
        let state = watch::Sender::new(Arc::new(Received::nothing(fence)));
        let contact = Contact(metrics.contact());
        Arc::new(Self { plane, state, push: Mutex::new(()), contact, metrics })
    }

    /// What was received last.
    #[must_use]
    pub fn received(&self) -> Arc<Received> {
        self.state.borrow().clone()
    }

    /// Follows what is received.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Received>> {
        self.state.subscribe()
    }

    /// True once a snapshot has been acknowledged, or the last good one activated: the proxy may be sent traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.borrow().source() != Source::Nothing
    }

    /// Completes once [`Control::is_ready`].
    pub async fn ready(&self) {
        // The sender is ours: it cannot be gone.
        drop(self.state.subscribe().wait_for(|state| state.source() != Source::Nothing).await);
    }

    /// The data plane.
    #[must_use]
    pub const fn plane(&self) -> &A {
        &self.plane
    }

    pub(super) const fn metrics(&self) -> &ControlMetrics {
        &self.metrics
    }

    pub(super) const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Takes a whole state, pushed or pulled.
    ///
    /// # Errors
    /// If it is out of order or its hash is wrong.
    pub async fn put(&self, document: SnapshotDocument) -> Result<Arc<Received>, Refusal> {
        let _one_at_a_time = self.push.lock().await;
        let step = self.received().put(document)?;
        Ok(self.take(step).await)
    }

    pub(super) async fn patch(&self, base: &str, patch: &SnapshotPatch) -> Result<Arc<Received>, Refusal> {
        let _one_at_a_time = self.push.lock().await;
        let step = self.received().patch(base, patch)?;
        Ok(self.take(step).await)
    }

    /// Takes the last good state, unless there is something already; false if so.
    ///
    /// # Errors
    /// If its hash is wrong.
    pub async fn restore(&self, snapshot: &ReceivedSnapshot) -> Result<bool, Refusal> {
        let _one_at_a_time = self.push.lock().await;
        if self.is_ready() {
            return Ok(false);
        }
        let candidate = self.received().restore(snapshot)?;
        self.carry_out(candidate).await;
        Ok(true)
    }

    /// Tries pools once more that the request path has refused: the port may be free by now.
    pub(super) async fn retry_refused(&self) {
        let _one_at_a_time = self.push.lock().await;
        let received = self.received();
        if received.may_improve() {
            self.carry_out(received.again()).await;
        }
    }

    async fn take(&self, step: Step) -> Arc<Received> {
        let received = match step {
            Step::Same => self.received(),
            Step::Next(candidate) => self.carry_out(candidate).await,
        };
        self.contact.now();
        received
    }

    async fn carry_out(&self, candidate: Candidate) -> Arc<Received> {
        let origin = if candidate.source() == Source::Disk { Origin::Disk } else { Origin::Controller };
        let refused = self.plane.activate(candidate.desired(), origin).await;
        let received = Arc::new(candidate.settle(refused));
        self.metrics.received(&received);
        let (epoch, revision) = received.position();
        let (hash, rejected) = (received.hash(), received.rejected_pools());
        tracing::debug!(epoch, revision, hash, rejected, source = ?received.source(), "took a snapshot");
        self.state.send_replace(received.clone());
        received
    }
}

/// When a controller last confirmed what is here, in seconds since 1970; 0 if never. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact(pub(super) Arc<AtomicU64>);

impl Contact {
    pub(super) fn now(&self) {
        self.set(SystemTime::now());
    }

    pub(super) fn set(&self, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0.store(since.as_secs(), Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}
