//! The proxies: their metrics, and the config channel that they listen on.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use evenkeel_api::channel::{
    MAX_SNAPSHOT_BYTES, ReceivedSnapshot, SNAPSHOT_PATH, SnapshotDocument, snapshot_hash,
};
use evenkeel_tls::{Client, Files, Identity, Role};
use http::{Method, Request, Response, header::CONTENT_TYPE};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt as _};

use crate::{
    cluster::{Cluster, SYSTEM, address},
    fetch,
};

/// Port of probes and metrics, of proxies and controllers.
const ADMIN_PORT: u16 = 9090;
/// Port of the config channel.
const CHANNEL_PORT: u16 = 9443;
/// Where a controller's certificate is.
const CONTROLLER_SECRET: &str = "evenkeel-controller-tls";

/// Metrics of a pod as it shows them.
pub struct Figures(String);

impl Figures {
    /// Of a proxy or a controller.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn of(pod: &Pod) -> anyhow::Result<Self> {
        Ok(Self(fetch::text(SocketAddr::new(address(pod)?, ADMIN_PORT), "/metrics").await?))
    }

    /// The sum of all series of a metric whose labels contain all of `labels`; 0 if there is none.
    #[must_use]
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let series = self.0.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let (name, found) = name.split_once('{').unwrap_or((name, ""));
            let fits = name == metric && labels.iter().all(|label| found.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        series.sum()
    }
}

/// The sum of a metric over all proxies.
///
/// # Errors
/// If one does not answer.
pub async fn sum(cluster: &Cluster, metric: &str, labels: &[&str]) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for pod in cluster.pods_of("proxy").await? {
        sum += Figures::of(&pod).await?.sum(metric, labels);
    }
    Ok(sum)
}

/// A controller's certificate, taken from its Secret: what it lets do, anybody does who has it.
pub struct Channel {
    identity: Arc<Identity>,
}

impl Channel {
    /// With the certificate of the cluster's controllers.
    ///
    /// # Errors
    /// If its Secret is not there or not whole.
    pub async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM);
        let secret = secrets.get(CONTROLLER_SECRET).await?;
        let file = |name: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(name));
            data.map(|data| data.0.clone()).with_context(|| format!("{} has no {name}", secret.name_any()))
        };
        let files =
            Files { certificate: file("tls.crt")?, key: file("tls.key")?, authorities: file("ca.crt")? };
        Ok(Self { identity: Arc::new(Identity::new(files, SYSTEM)?) })
    }

    /// What a proxy has received.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn snapshot(&self, proxy: &Pod) -> anyhow::Result<ReceivedSnapshot> {
        let request = Request::builder().method(Method::GET).uri(SNAPSHOT_PATH).body(Bytes::new())?;
        let answer = self.send(proxy, request).await?;
        serde_json::from_slice(answer.body()).with_context(|| format!("{} answered", answer.status()))
    }

    /// Pushes no pools at all to a proxy, in the name of an epoch; gives the answer's status and body.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn push_nothing(&self, proxy: &Pod, epoch: u64) -> anyhow::Result<(u16, String)> {
        let document = SnapshotDocument {
            epoch,
            revision: 1_000_000,
            hash: snapshot_hash([]),
            pools: std::collections::BTreeMap::new(),
        };
        let body = Bytes::from(serde_json::to_vec(&document)?);
        let request = Request::builder().method(Method::PUT).uri(SNAPSHOT_PATH);
        let answer = self.send(proxy, request.header(CONTENT_TYPE, "application/json").body(body)?).await?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }

    async fn send(&self, proxy: &Pod, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let role = Role::Proxy { class: "default".to_owned() };
        let peer = SocketAddr::new(address(proxy)?, CHANNEL_PORT);
        Ok(Client::new(Arc::clone(&self.identity), role, peer).send(request, MAX_SNAPSHOT_BYTES).await?)
    }
}
