//! An independent watcher of one EndpointSlice: a thread and a connection of its own, so that no load delays it.

use std::{pin::pin, thread, time::Instant};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{runtime, sync::mpsc};

/// Receipts that nobody has looked at yet, at most.
const QUEUE: usize = 64;

/// The watcher was told of a version of the slice.
#[derive(Debug)]
pub(super) struct Receipt {
    /// Its resourceVersion.
    pub(super) version: String,
    /// When.
    pub(super) at: Instant,
}

/// Watches until nobody asks any more. The first receipt is of the version that is there.
///
/// # Errors
/// If there can be no thread.
pub(super) fn start(
    namespace: &'static str,
    name: &'static str,
) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Receipt>>> {
    let (sender, receipts) = mpsc::channel(QUEUE);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("watcher".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Err(error) = watch(namespace, name, &sender).await {
                _ = sender.send(Err(error)).await; // who asked may have gone
            }
        });
    })?;
    Ok(receipts)
}

async fn watch(
    namespace: &str,
    name: &str,
    receipts: &mpsc::Sender<anyhow::Result<Receipt>>,
) -> anyhow::Result<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(Client::try_default().await?, namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(slices, only));
    while let Some(event) = events.try_next().await.context("the watch failed")? {
        let at = Instant::now();
        let (Event::Apply(slice) | Event::InitApply(slice)) = event else { continue };
        let version = slice.resource_version().context("a slice without a version")?;
        if receipts.send(Ok(Receipt { version, at })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
