//! The tasks of all proxies.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use evenkeel_api::channel::ReceivedSnapshot;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    CallError, Dial, Permit, PublishMetrics, Versions, call,
    session::{Context, Session},
};
use crate::published::{Proxy, ProxyEvent, ProxyId};

/// Publishes to a set of proxies that changes. Dropping it ends all its tasks.
pub struct Publisher {
    dial: Arc<dyn Dial>,
    versions: Versions,
    permit: watch::Sender<Option<Arc<dyn Permit>>>,
    context: Context,
    tasks: HashMap<ProxyId, Task>,
}

struct Task {
    class: String,
    address: SocketAddr,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Publisher {
    /// Publishes nothing yet: there are no proxies, and no permit. `events` is bounded, and a task whose event does not
    /// fit waits.
    #[must_use]
    pub fn new(
        dial: Arc<dyn Dial>,
        versions: Versions,
        events: mpsc::Sender<(ProxyId, ProxyEvent)>,
        metrics: PublishMetrics,
    ) -> Self {
        let (permit, receiver) = watch::channel(None);
        let context = Context { permit: receiver, events, metrics };
        Self { dial, versions, permit, context, tasks: HashMap::new() }
    }

    /// Publishes while `permit` holds, or not at all.
    pub fn lead(&self, permit: Option<Arc<dyn Permit>>) {
        self.permit.send_replace(permit);
    }

    /// Publishes to exactly `proxies`. One that moved is a new one, since nothing is known of what it has.
    pub fn set_proxies(&mut self, proxies: &[Proxy]) {
        let ids: HashSet<_> = proxies.iter().map(|proxy| &proxy.id).collect();
        self.tasks.retain(|id, _| ids.contains(id));
        for proxy in proxies {
            let known = self.tasks.get(&proxy.id);
            if known.is_some_and(|task| task.address == proxy.address && task.class == proxy.class) {
                continue;
            }
            let versions = self.versions.follow(&proxy.class);
            let session =
                Session::new(proxy.id.clone(), self.dial.dial(proxy), versions, self.context.clone());
            let handle = tokio::spawn(session.run());
            let task = Task { class: proxy.class.clone(), address: proxy.address, handle };
            self.tasks.insert(proxy.id.clone(), task);
        }
    }

    /// What `proxy` has: from it a new leader takes over the last good versions of objects that it cannot read. Needs
    /// no permit, because it changes nothing.
    ///
    /// # Errors
    /// If the proxy does not answer, or not with a snapshot.
    pub fn fetch(
        &self,
        proxy: &Proxy,
    ) -> impl Future<Output = Result<ReceivedSnapshot, CallError>> + Send + 'static {
        let transport = self.dial.dial(proxy);
        async move { call::snapshot(transport.as_ref()).await }
    }
}
