//! The task of one proxy.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use evenkeel_api::channel::PoolsReport;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    CallError, Permit, PublishMetrics, Transport, call,
    limits::{COALESCE, HEARTBEAT, PAUSES},
};
use crate::published::{ProxyEvent, ProxyId, Published};

/// What a task shares with the others.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) permit: watch::Receiver<Option<Arc<dyn Permit>>>,
    pub(super) events: mpsc::Sender<(ProxyId, ProxyEvent)>,
    pub(super) metrics: PublishMetrics,
}

/// Keeps one proxy at the newest version of its class.
pub(super) struct Session {
    id: ProxyId,
    transport: Box<dyn Transport>,
    versions: watch::Receiver<Option<Arc<Published>>>,
    context: Context,
    /// What the proxy has said that it has, and has not contradicted since: what a patch may build on.
    acknowledged: Option<Arc<Published>>,
    heartbeat: Interval,
    /// When there first was a newer version than the proxy has; `None` while there is none.
    behind_since: Option<Instant>,
    not_before: Instant,
    pause: Duration,
}

/// The receiver of events, or the sender of versions, is gone: there is nothing left to do.
struct Ended;

impl Session {
    pub(super) fn new(
        id: ProxyId,
        transport: Box<dyn Transport>,
        versions: watch::Receiver<Option<Arc<Published>>>,
        context: Context,
    ) -> Self {
        // Not in step with the other proxies.
        let start = Instant::now() + HEARTBEAT.mul_f64(rand::random_range(0.5..=1.0));
        let mut heartbeat = interval_at(start, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pause, _) = PAUSES;
        let not_before = Instant::now();
        let behind_since = None;
        Self {
            id,
            transport,
            versions,
            context,
            acknowledged: None,
            heartbeat,
            behind_since,
            not_before,
            pause,
        }
    }

    pub(super) async fn run(mut self) {
        while let ControlFlow::Continue(()) = self.turn().await {}
    }

    /// Waits for whatever is next and does it: one request at most.
    async fn turn(&mut self) -> ControlFlow<()> {
        let wanted = self.wanted();
        let due = wanted.as_ref().is_some_and(|wanted| !self.has(wanted));
        if due {
            self.behind_since.get_or_insert_with(Instant::now);
        }
        let done = tokio::select! {
            biased;
            changed = self.versions.changed() => changed.map_err(|_gone| Ended),
            changed = self.context.permit.changed() => changed.map_err(|_gone| Ended),
            () = sleep_until(self.not_before), if due => self.push().await,
            _ = self.heartbeat.tick(), if wanted.is_some() => self.beat().await,
        };
        if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// The newest version, if it may be sent. A follower's is for pulls.
    fn wanted(&self) -> Option<Arc<Published>> {
        let permitted = self.context.permit.borrow().as_ref().is_some_and(|permit| permit.holds());
        let newest = self.versions.borrow().clone();
        newest.filter(|version| permitted && version.epoch > 0)
    }

    fn has(&self, wanted: &Published) -> bool {
        self.acknowledged.as_ref().is_some_and(|acknowledged| {
            (acknowledged.epoch, acknowledged.revision, &acknowledged.hash)
                == (wanted.epoch, wanted.revision, &wanted.hash)
        })
    }

    async fn push(&mut self) -> Result<(), Ended> {
        // Once more: time has passed since it was due.
        let Some(wanted) = self.wanted() else { return Ok(()) };
        self.not_before = Instant::now() + COALESCE;
        let base = self.acknowledged.take().filter(|base| base.epoch == wanted.epoch);
        let timer = self.context.metrics.started();
        let answer = call::push(self.transport.as_ref(), base.as_deref(), &wanted).await;
        timer.observe_duration();
        let result = result_of(&answer);
        self.context.metrics.ended(result);
        match answer {
            Ok(acknowledged) => {
                tracing::debug!(
                    proxy = self.id,
                    epoch = wanted.epoch,
                    revision = wanted.revision,
                    result,
                    "pushed"
                );
                (self.pause, _) = PAUSES;
                let generations = wanted.pools.iter().map(|(uid, pool)| (uid.clone(), pool.generation));
                let event = ProxyEvent::Acknowledged {
                    epoch: wanted.epoch,
                    revision: wanted.revision,
                    generations: generations.collect(),
                    rejected: acknowledged.rejected,
                };
                self.acknowledged = Some(wanted);
                if let Some(since) = self.behind_since.take() {
                    self.context.metrics.propagated(since.elapsed());
                }
                self.tell(event).await
            }
            Err(CallError::UnknownBase) if base.is_some() => {
                self.not_before = Instant::now();
                Ok(())
            }
            Err(error) => {
                self.back_off();
                self.tell_failure(&error).await
            }
        }
    }

    async fn beat(&mut self) -> Result<(), Ended> {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        match call::pools(self.transport.as_ref()).await {
            Ok(report) => {
                // The same epoch at another process: the Lease was made anew.
                let is_later = (report.epoch, report.revision) > (wanted.epoch, wanted.revision);
                let superseded = is_later.then_some(report.epoch);
                self.compare(&report);
                self.tell(ProxyEvent::Reported(Box::new(report))).await?;
                let Some(epoch) = superseded else { return Ok(()) };
                self.back_off();
                self.tell(ProxyEvent::Superseded { epoch }).await
            }
            Err(error) => self.tell_failure(&error).await,
        }
    }

    /// A proxy that has something else than it acknowledged was restarted, or somebody else pushed: it gets the whole.
    fn compare(&mut self, report: &PoolsReport) {
        let same = self.acknowledged.as_ref().is_none_or(|acknowledged| {
            (acknowledged.epoch, acknowledged.revision, &acknowledged.hash)
                == (report.epoch, report.revision, &report.hash)
        });
        if !same {
            let PoolsReport { epoch, revision, .. } = report;
            tracing::info!(
                proxy = self.id,
                epoch,
                revision,
                "the proxy has another version than it acknowledged"
            );
            self.acknowledged = None;
        }
        if self.acknowledged.is_none() {
            // It answers, so what failed before may work.
            self.not_before = self.not_before.min(Instant::now() + COALESCE);
        }
    }

    fn back_off(&mut self) {
        let (_, longest) = PAUSES;
        self.not_before = Instant::now() + self.pause.mul_f64(rand::random_range(0.5..=1.0));
        self.pause = (self.pause * 2).min(longest);
    }

    async fn tell_failure(&self, error: &CallError) -> Result<(), Ended> {
        tracing::debug!(proxy = self.id, %error, "a request to a proxy failed");
        self.tell(match error {
            CallError::Stale { epoch, .. } => ProxyEvent::Superseded { epoch: *epoch },
            error => ProxyEvent::Failed { message: error.to_string() },
        })
        .await
    }

    async fn tell(&self, event: ProxyEvent) -> Result<(), Ended> {
        self.context.events.send((self.id.clone(), event)).await.map_err(|_gone| Ended)
    }
}

fn result_of(answer: &Result<evenkeel_api::channel::Acknowledgement, CallError>) -> &'static str {
    match answer {
        Ok(acknowledged) if acknowledged.rejected.is_empty() => "acknowledged",
        Ok(_) => "rejected",
        Err(CallError::Stale { .. }) => "superseded",
        Err(CallError::UnknownBase) => "unknown_base",
        Err(_) => "failed",
    }
}
