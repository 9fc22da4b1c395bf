//! The first state of a proxy: a push, a pull, or what it had before.

use std::{sync::Arc, time::Duration};

use evenkeel_api::channel::SnapshotDocument;
use tokio::time::{sleep, timeout};

use super::{
    Activate, Control, Puller, Source,
    limits::{BOOT_PATIENCE, PULL_PAUSES},
    pull::PullError,
};
use crate::last_good::Kept;

/// Completes once `control` has a state of a controller: pulled by `puller`, unless a push is faster. If neither comes
/// within 5 s, `kept` serves meanwhile.
pub async fn boot<A: Activate>(control: Arc<Control<A>>, puller: Option<Puller>, kept: Option<Kept>) {
    let pulling = async {
        match &puller {
            Some(puller) => pull(&control, || puller.pull()).await,
            None => configured(&control).await,
        }
    };
    tokio::join!(pulling, restore(&control, kept));
}

async fn configured<A: Activate>(control: &Control<A>) {
    drop(control.follow().wait_for(|state| state.source() > Source::Disk).await);
}

async fn pull<A, F>(control: &Control<A>, ask: impl Fn() -> F)
where
    A: Activate,
    F: Future<Output = Result<SnapshotDocument, PullError>>,
{
    tokio::select! {
        () = configured(control) => {}
        () = pull_until_taken(control, ask) => {}
    }
}

async fn pull_until_taken<A, F>(control: &Control<A>, ask: impl Fn() -> F)
where
    A: Activate,
    F: Future<Output = Result<SnapshotDocument, PullError>>,
{
    let (mut pause, longest) = PULL_PAUSES;
    loop {
        match ask().await {
            Ok(document) => {
                let (epoch, revision) = (document.epoch, document.revision);
                match control.put(document).await {
                    Ok(_) => return tracing::info!(epoch, revision, "pulled a snapshot"),
                    Err(error) => tracing::warn!(%error, epoch, revision, "cannot use the snapshot pulled"),
                }
            }
            Err(error) => tracing::info!(%error, "no controller has a snapshot yet"),
        }
        sleep(jitter(pause)).await;
        pause = (pause * 2).min(longest);
    }
}

/// Half to all of it, so that a fleet does not ask in step.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

async fn restore<A: Activate>(control: &Control<A>, kept: Option<Kept>) {
    let Some(kept) = kept else { return };
    if timeout(BOOT_PATIENCE, control.ready()).await.is_ok() {
        return;
    }
    match control.restore(&kept.snapshot).await {
        Ok(true) => {
            control.contact().set(kept.contact);
            tracing::warn!(
                epoch = kept.snapshot.epoch,
                revision = kept.snapshot.revision,
                "no controller has answered, serving from the last good state"
            );
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "cannot use the last good state"),
    }
}

#[cfg(test)]
mod tests;
