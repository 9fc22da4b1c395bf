//! Keeps the state: on disk for the next start, and under repair where the request path has refused a pool.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    Activate, Control, Received, Source,
    limits::{RETRY_REFUSED_EVERY, STAMP_EVERY, STORE_EVERY},
};
use crate::last_good::{LastGood, LastGoodError};

/// Keeps the state of `control` in `last_good`, for ever. Off the path of a push: an answer does not wait for a disk,
/// and changes that come faster than the disk are written once.
pub async fn keep<A: Activate>(control: Arc<Control<A>>, last_good: LastGood) {
    tokio::join!(store(&control, &last_good), stamp(&control, &last_good), retry(&control));
}

async fn store<A: Activate>(control: &Control<A>, last_good: &LastGood) {
    let mut states = control.follow();
    loop {
        let received = states.borrow_and_update().clone();
        if received.source() > Source::Disk {
            write(control, last_good, received).await;
            sleep(STORE_EVERY).await;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn write<A: Activate>(control: &Control<A>, last_good: &LastGood, received: Arc<Received>) {
    let (last_good, contact) = (last_good.clone(), control.contact().last());
    let written =
        spawn_blocking(move || last_good.store(&received.snapshot(), received.fence(), contact)).await;
    log(written);
}

async fn stamp<A: Activate>(control: &Control<A>, last_good: &LastGood) {
    let mut ticks = ticks(STAMP_EVERY);
    let mut stamped = SystemTime::UNIX_EPOCH;
    loop {
        ticks.tick().await;
        let (contact, received) = (control.contact().last(), control.received());
        if contact > stamped && received.source() > Source::Nothing {
            let last_good = last_good.clone();
            log(spawn_blocking(move || last_good.stamp(received.hash(), contact)).await);
            stamped = contact;
        }
    }
}

/// Tries pools again that the request path has refused, for ever.
pub async fn retry<A: Activate>(control: &Control<A>) {
    let mut ticks = ticks(RETRY_REFUSED_EVERY);
    loop {
        ticks.tick().await;
        control.retry_refused().await;
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn log(written: Result<Result<(), LastGoodError>, tokio::task::JoinError>) {
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "cannot keep the last good state; a restart needs a controller until this works");
    }
}
