//! Which replica leads, and under which epoch: by a Lease, as client-go does it, with fencing on top.
//!
//! The epoch is the Lease's count of transitions, raised by the same compare-and-swap that sets the holder, so that no
//! two leaderships have the same. It orders pushes at the proxies; the [`Fence`] stops a leader that has lost the API
//! server, five seconds before another can take over, by the monotonic clock alone.
//!
//! A Lease that is deleted is made anew by the leader, under a higher epoch. Where there is none, nobody can tell
//! whether there was a leader, so any other replica waits until one must have stopped. To spare the first start that
//! wait, the chart lays down a Lease that nobody holds. A replica that never saw the deleted one learns of a higher
//! epoch from the proxies ([`Elector::raise_above`]).

mod decide;
mod fence;
mod lease;

use std::time::Duration;

use decide::{Decision, Known};
pub use fence::Fence;
use k8s_openapi::api::coordination::v1::Lease;
pub use lease::{LeaseApi, LeaseError, Leases};
use prometheus::IntGauge;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

/// How long a Lease lasts that is not renewed, from when another replica last saw it change.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a leader pushes and writes after the start of its last renewal that succeeded.
pub const HOLD: Duration = Duration::from_secs(10);
/// Time between two renewals, and between two looks of a follower.
pub const RENEW: Duration = Duration::from_secs(2);
/// Time until the next attempt, when one has failed.
const RETRY: Duration = Duration::from_millis(500);
/// Time that a request to the API server may take.
const REQUEST: Duration = Duration::from_secs(3);

/// Whether this replica leads.
#[derive(Clone, Debug)]
pub enum Leadership {
    /// Another one does, or none.
    Follower,
    /// This one does.
    Leader {
        /// Unique to this leadership, and higher than those of all before it.
        epoch: u64,
        /// Holds as long as it may push and write.
        fence: Fence,
    },
}

impl Leadership {
    /// The epoch, as long as the leadership holds.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Self::Leader { epoch, fence } if fence.holds() => Some(*epoch),
            _ => None,
        }
    }
}

/// The rest of the program's view of the election.
#[derive(Clone, Debug)]
pub struct Elector {
    leadership: watch::Receiver<Leadership>,
    told: watch::Sender<u64>,
}

impl Elector {
    /// Tells of each change.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// A proxy has had a push of this epoch that was not ours: a leader takes a higher one, if the Lease says that it
    /// still leads.
    pub fn raise_above(&self, epoch: u64) {
        if epoch > decide::MAX_EPOCH {
            tracing::error!(epoch, "a proxy tells of an epoch that no Lease can have, ignored");
            return;
        }
        self.told.send_if_modified(|told| {
            let is_new = epoch > *told;
            *told = epoch.max(*told);
            is_new
        });
    }
}

/// A name for this process that no other has, not even the same pod's next one.
#[must_use]
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", rand::random::<u64>())
}

/// Takes part in the election; [`Election::run`] does the work.
#[derive(Debug)]
pub struct Election<L> {
    leases: L,
    known: Known,
    /// The leadership, while it holds.
    led: Option<(u64, Fence)>,
    leadership: watch::Sender<Leadership>,
    told: watch::Receiver<u64>,
    gauge: IntGauge,
}

impl<L: Leases> Election<L> {
    /// An election over the Lease of `leases`, in which `identity` stands. `gauge` is 1 while it leads.
    #[must_use]
    pub fn new(leases: L, identity: String, gauge: IntGauge) -> (Elector, Self) {
        let (leadership, receiver) = watch::channel(Leadership::Follower);
        let (told, told_receiver) = watch::channel(0);
        let known = Known::new(identity, Instant::now());
        let election = Self { leases, known, led: None, leadership, told: told_receiver, gauge };
        (Elector { leadership: receiver, told }, election)
    }

    /// Stands until `stop` completes, then hands the Lease over. Nothing may be pushed or written after `stop`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut due = Instant::now();
        let mut is_told = true;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                told = self.told.changed(), if is_told => is_told = told.is_ok(),
                () = sleep_until(due) => {}
            }
            self.known.raise_above(*self.told.borrow_and_update());
            due = self.step().await;
        }
        self.release().await;
    }

    /// Does what is due, and tells when the next step is.
    async fn step(&mut self) -> Instant {
        let start = Instant::now();
        let result = match self.led.clone() {
            Some((epoch, fence)) if fence.holds() => self.renew(epoch, &fence, start).await,
            _ => {
                self.follow("not renewed in time");
                self.stand(start).await
            }
        };
        match result {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, is_leader = self.led.is_some(), "the Lease cannot be reached or written, trying again");
                let retry = Instant::now() + RETRY;
                self.led.as_ref().map_or(retry, |(_, fence)| retry.min(fence.deadline()))
            }
        }
    }

    /// As a leader.
    async fn renew(&mut self, epoch: u64, fence: &Fence, start: Instant) -> Result<Instant, LeaseError> {
        let limit = fence.deadline().min(start + REQUEST);
        let wanted = self.known.epoch_to_hold(epoch);
        let written = within(limit, self.leases.replace(self.known.claim(wanted))).await;
        match written {
            Ok(lease) => {
                self.known.saw(Some(lease), Instant::now());
                if wanted != epoch {
                    self.lead(wanted, start);
                } else if !fence.extend(start + HOLD) {
                    self.follow("the renewal took too long");
                    return Ok(Instant::now());
                }
                Ok(start + RENEW)
            }
            // An API server says either of a Lease that was deleted.
            Err(LeaseError::Conflict | LeaseError::Missing) => {
                self.look(limit).await?;
                if self.known.is_missing() {
                    tracing::warn!(epoch, "the Lease was deleted, making it anew");
                    return self.create(self.known.next_epoch(), start, limit).await;
                }
                if self.known.holds(epoch) {
                    return Ok(Instant::now()); // somebody wrote a label, or our own renewal was slow to tell
                }
                self.follow("another replica took the Lease");
                Ok(Instant::now())
            }
            Err(error) => Err(error),
        }
    }

    /// As a follower.
    async fn stand(&mut self, start: Instant) -> Result<Instant, LeaseError> {
        let limit = start + REQUEST;
        self.look(limit).await?;
        let now = Instant::now();
        match self.known.decide(now) {
            Decision::Wait(until) => Ok(until.min(now + RENEW)),
            Decision::Create { epoch } => self.create(epoch, now, now + REQUEST).await,
            Decision::Take { epoch } => {
                let written = within(now + REQUEST, self.leases.replace(self.known.claim(epoch))).await;
                match written {
                    Ok(lease) => {
                        self.known.saw(Some(lease), Instant::now());
                        self.lead(epoch, now);
                        Ok(now + RENEW)
                    }
                    Err(LeaseError::Conflict | LeaseError::Missing) => Ok(Instant::now() + RETRY),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Makes a Lease, as its holder.
    async fn create(&mut self, epoch: u64, start: Instant, limit: Instant) -> Result<Instant, LeaseError> {
        match within(limit, self.leases.create(self.known.new_lease(epoch))).await {
            Ok(lease) => {
                self.known.saw(Some(lease), Instant::now());
                self.lead(epoch, start);
                Ok(start + RENEW)
            }
            Err(LeaseError::Conflict) => {
                self.follow("another replica made the Lease");
                Ok(Instant::now())
            }
            Err(error) => Err(error),
        }
    }

    async fn look(&mut self, limit: Instant) -> Result<(), LeaseError> {
        let lease = within(limit, self.leases.read()).await?;
        self.known.saw(lease, Instant::now());
        Ok(())
    }

    fn lead(&mut self, epoch: u64, start: Instant) {
        if let Some((_, fence)) = self.led.take() {
            fence.revoke();
        }
        let fence = Fence::until(start + HOLD);
        tracing::info!(epoch, "leading");
        self.gauge.set(1);
        self.led = Some((epoch, fence.clone()));
        self.leadership.send_replace(Leadership::Leader { epoch, fence });
    }

    fn follow(&mut self, reason: &'static str) {
        if let Some((epoch, fence)) = self.led.take() {
            fence.revoke();
            tracing::info!(epoch, reason, "no longer leading");
            self.gauge.set(0);
            self.leadership.send_replace(Leadership::Follower);
        }
    }

    async fn release(&mut self) {
        let Some((epoch, _)) = self.led.clone() else { return };
        self.follow("stopping");
        let freed = self.known.freed();
        match within(Instant::now() + REQUEST, self.leases.replace(freed)).await {
            Ok(_) => tracing::info!(epoch, "handed the Lease over"),
            Err(error) => tracing::warn!(%error, "cannot hand the Lease over, it will expire"),
        }
    }
}

/// Bounds a request. When the time is up, nobody knows whether it was carried out.
async fn within<T>(
    limit: Instant,
    request: impl Future<Output = Result<T, LeaseError>>,
) -> Result<T, LeaseError> {
    timeout_at(limit, request).await.unwrap_or(Err(LeaseError::TimedOut))
}

/// Whose a Lease is, for logs and tests.
#[must_use]
pub fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests;
