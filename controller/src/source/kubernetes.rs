//! Watches a cluster. One watch for each kind, none shared, each with a back-off of its own.
//!
//! Both the endpoints of pools and the proxies come from one watch of EndpointSlices, so that they never contradict
//! each other. Of nodes and namespaces only the metadata is asked for: a slice tells the zone of an endpoint, but not
//! its region.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

pub use super::proxies::{CONFIG_PORT, CONFIG_PORT_NAME};
use super::reduce::{Classes, Each, Namespaces, Nodes, Pods, Pools, Reduce, Services, Slices};
use crate::{event::Event, metrics::SourceMetrics};

/// Seconds after which the API server ends a watch, which is then resumed. A connection that died in silence is noticed
/// five seconds later, and not before: kube has no keep-alive on it.
const WATCH_SECONDS: u32 = 60;

/// Tells `events` of the world until nobody takes them any more. `namespace` is where the controller and the proxies
/// are.
///
/// [`Event::Synced`] comes after the events of every watch's first full list.
pub async fn run(client: Client, namespace: String, events: mpsc::Sender<Event>, metrics: SourceMetrics) {
    let source = Source { client, events, metrics, unlisted: AtomicUsize::new(WATCHES) };
    // Whichever ends first has found the receiver gone.
    tokio::select! {
        () = source.watch("balancerpools", Each::<Pools>::default()) => {}
        () = source.watch("proxyclasses", Each::<Classes>::default()) => {}
        () = source.watch("services", Each::<Services>::default()) => {}
        () = source.watch("namespaces", Each::<Namespaces>::default()) => {}
        () = source.watch("pods", Pods::default()) => {}
        () = source.watch("nodes", Nodes::default()) => {}
        () = source.watch("endpointslices", Slices::new(namespace)) => {}
    }
}

/// How many watches [`run`] starts.
const WATCHES: usize = 7;

struct Source {
    client: Client,
    events: mpsc::Sender<Event>,
    metrics: SourceMetrics,
    /// Watches that have not had their first full list.
    unlisted: AtomicUsize,
}

impl Source {
    async fn watch<R>(&self, kind: &'static str, mut reducer: R)
    where
        R: Reduce,
        R::Object: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
    {
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let stream = watcher(Api::<R::Object>::all(self.client.clone()), config).default_backoff();
        pin_mut!(stream);
        let mut is_listed = false;
        while let Some(watched) = stream.next().await {
            let watched = match watched {
                Ok(watched) => watched,
                Err(error) => {
                    self.metrics.failed(kind);
                    tracing::warn!(kind, error = %hint(&error), "watch failed, trying again");
                    continue;
                }
            };
            let is_first_list = matches!(watched, watcher::Event::InitDone) && !is_listed;
            for event in reducer.reduce(watched) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
            if is_first_list {
                is_listed = true;
                if self.listed(kind).await.is_err() {
                    return;
                }
            }
        }
    }

    /// A watch has had its first full list, and told it.
    async fn listed(&self, kind: &'static str) -> Result<(), mpsc::error::SendError<Event>> {
        tracing::info!(kind, "listed");
        if self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.events.send(Event::Synced).await?;
        }
        Ok(())
    }
}

/// An error of a watch, and what the operator can do about it.
fn hint(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => match status.code {
            403 => format!("{}; does the service account have the chart's ClusterRole?", status.message),
            404 => format!("{}; are the CRDs installed?", status.message),
            _ => status.message.clone(),
        },
        _ => error.to_string(),
    }
}
