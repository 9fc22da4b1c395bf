//! Load at a constant rate, whatever the answers, and a count of all that came of it.
//!
//! Every second request is a POST whose body must come back; every second pair goes over a connection of its own, the
//! others over kept ones in turn, so that none grows stale. A request that provably was not sent, because a kept
//! connection was closed meanwhile, goes over another one, as any client does; that is counted, and is no failure.

mod client;
pub(crate) mod counts;
pub(crate) mod pod;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{sync::watch, task::JoinSet, time};

use client::{Client, Shot};
use counts::{Cause, Counts, Failure};

use crate::wait;

/// Requests under way at most; the next one fails unsent. Reached only if nothing is answered for long.
const MAX_UNDER_WAY: usize = 4096;

/// How long the answers that are waited for may take.
const SOON: Duration = Duration::from_secs(20);

/// What to send.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where to.
    pub(crate) address: SocketAddr,
    /// Requests a second.
    pub(crate) rate: u32,
    /// Time for a request, its connection included.
    pub(crate) timeout: Duration,
}

impl Plan {
    /// A modest load, for a machine that runs the whole cluster beside it.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, rate: 200, timeout: Duration::from_secs(10) }
    }
}

/// Load under way. Dropping it ends it.
pub(crate) struct Load {
    start: Instant,
    counts: Arc<Mutex<Counts>>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Begins.
    pub(crate) fn start(plan: Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (start, counts) = (Instant::now(), Arc::new(Mutex::new(Counts::default())));
        let task = tokio::spawn(send(plan, start, Arc::clone(&counts), stopped));
        Self { start, counts, stop, task }
    }

    /// Time since the beginning, as failures tell it.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// What came of it so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so many good answers after `before`, and gives them by endpoint.
    pub(crate) async fn answers(
        &self,
        before: &Counts,
        enough: u64,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        wait::until("answers", SOON, || async {
            let counts = self.counts().since(before);
            ensure!(counts.values().sum::<u64>() >= enough, "{counts:?}");
            Ok(counts)
        })
        .await
    }

    /// Shares of endpoints, of so many good answers from now on.
    pub(crate) async fn shares(&self, enough: u64) -> anyhow::Result<BTreeMap<String, f64>> {
        let counts = self.answers(&self.counts(), enough).await?;
        let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let all = float(counts.values().sum());
        Ok(counts.into_iter().map(|(endpoint, count)| (endpoint, float(count) / all)).collect())
    }

    /// Ends it when every request is answered or has failed.
    pub(crate) async fn stop(self) -> anyhow::Result<Counts> {
        self.stop.send_replace(true);
        self.task.await?;
        Ok(self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn send(plan: Plan, start: Instant, counts: Arc<Mutex<Counts>>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = time::interval(Duration::from_secs(1) / plan.rate.max(1));
    let client = Arc::new(Client::new(plan));
    let mut under_way = JoinSet::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            _ = ticks.tick() => {}
        }
        while under_way.try_join_next().is_some() {}
        let shot = Shot::of(number);
        number += 1;
        let (client, counts) = (Arc::clone(&client), Arc::clone(&counts));
        let is_full = under_way.len() >= MAX_UNDER_WAY;
        under_way.spawn(async move {
            let started = start.elapsed();
            let result = if is_full { Err(Cause::Overload) } else { client.shoot(shot).await };
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.sent += 1;
            match result {
                Ok(answer) => counts.answered(answer),
                Err(cause) => counts.failed(Failure::new(started, start.elapsed(), shot.name(), cause)),
            }
        });
    }
    while under_way.join_next().await.is_some() {}
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.reopened = client.reopened();
}
