//! Pools, the demo endpoints behind them, and what their status says.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use evenkeel_api::{
    labels,
    object::{BalancerPool, BalancerPoolStatus, condition},
};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::Endpoint};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use tokio::net::TcpStream;

use crate::{
    cluster::{Cluster, address},
    fetch, wait,
};

/// How long a pool may take to be what it should be.
const SOON: Duration = Duration::from_secs(60);
/// Port of the endpoints.
pub(crate) const ENDPOINT_PORT: u16 = 8080;
/// Name of the Deployment and the Service of endpoints in each namespace.
pub(crate) const APP: &str = "app";

/// A namespace of its own, with demo endpoints.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

impl Shop {
    /// Makes the namespace, and starts the endpoints.
    pub(crate) async fn open(cluster: &Cluster, namespace: &str, replicas: u32) -> anyhow::Result<Self> {
        let shop = Self { cluster: cluster.clone(), namespace: namespace.to_owned() };
        cluster.apply(&shop.manifest(replicas)).await?;
        cluster.rolled_out(namespace, APP).await?;
        Ok(shop)
    }

    /// Removes all of it.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.cluster.remove_namespace(&self.namespace).await
    }

    fn manifest(&self, replicas: u32) -> String {
        let (namespace, version) = (&self.namespace, env!("CARGO_PKG_VERSION"));
        format!(
            r#"
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {APP}, namespace: {namespace}}}
spec:
  selector: {{app: {APP}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {APP}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {APP}}}}}
  template:
    metadata: {{labels: {{app: {APP}}}}}
    spec:
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{matchLabels: {{app: {APP}}}}}}}
      containers:
      - name: demo
        image: evenkeel.local/demo:{version}
        imagePullPolicy: IfNotPresent
        args: [--shutdown-delay=3s]
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"#
        )
    }

    /// Applies a pool over the endpoints; `spec` is YAML in flow style, `algorithm: {type: Random}, ...`.
    pub(crate) async fn pool(&self, name: &str, spec: &str) -> anyhow::Result<()> {
        self.pool_of(name, APP, "[{name: web, port: 80, protocol: HTTP}]", spec).await
    }

    /// Applies a pool over the endpoints of any Service, with any listeners.
    pub(crate) async fn pool_of(
        &self,
        name: &str,
        service: &str,
        listeners: &str,
        spec: &str,
    ) -> anyhow::Result<()> {
        let namespace = &self.namespace;
        let manifest = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: BalancerPool\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{listeners: {listeners}, backends: [{{service: {{name: {service}, port: http}}}}], {spec}}}\n"
        );
        self.cluster.apply(&manifest).await
    }

    fn pools(&self) -> Api<BalancerPool> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    pub(crate) async fn delete_pool(&self, name: &str) -> anyhow::Result<()> {
        self.pools().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn status(&self, name: &str) -> anyhow::Result<(i64, BalancerPoolStatus)> {
        let pool = self.pools().get(name).await?;
        let generation = pool.metadata.generation.unwrap_or_default();
        Ok((generation, pool.status.context("no status yet")?))
    }

    /// Checks a condition of the newest generation, as `Type=Status,Reason`.
    pub(crate) async fn check(&self, name: &str, expect: &str) -> anyhow::Result<()> {
        let (generation, status) = self.status(name).await?;
        let found: Vec<_> = status
            .conditions
            .iter()
            .filter(|condition| condition.observed_generation == Some(generation))
            .map(|condition| format!("{}={},{}", condition.type_, condition.status, condition.reason))
            .collect();
        ensure!(
            found.iter().any(|found| found == expect),
            "{name}: {found:?} of generation {generation}, not {expect}"
        );
        Ok(())
    }

    /// Waits for a condition of the newest generation.
    pub(crate) async fn says(&self, name: &str, expect: &str) -> anyhow::Result<()> {
        wait::until(expect, SOON, || self.check(name, expect)).await
    }

    /// Waits until a pool carries traffic in its newest generation.
    pub(crate) async fn ready(&self, name: &str) -> anyhow::Result<()> {
        self.says(name, "Programmed=True,Programmed").await?;
        self.says(name, "Ready=True,Ready").await
    }

    /// Waits for the summary of endpoints, `healthy/all`.
    pub(crate) async fn endpoints(&self, name: &str, expect: &str) -> anyhow::Result<()> {
        wait::until(&format!("endpoints {expect}"), SOON, || async {
            let (_, status) = self.status(name).await?;
            let found = status.endpoints.map(|counts| counts.summary).unwrap_or_default();
            ensure!(found == expect, "{name} says {found}");
            Ok(())
        })
        .await
    }

    /// Whether every live proxy says that it uses the newest generation.
    pub(crate) async fn is_programmed(&self, name: &str) -> anyhow::Result<bool> {
        let (generation, status) = self.status(name).await?;
        let programmed = status.conditions.iter().find(|one| one.type_ == condition::PROGRAMMED);
        Ok(programmed.is_some_and(|one| one.status == "True" && one.observed_generation == Some(generation)))
    }

    /// Name of the Service through which clients come.
    pub(crate) async fn service(&self, name: &str) -> anyhow::Result<String> {
        let (_, status) = self.status(name).await?;
        let address = status.address.context("no address yet")?.service;
        Ok(address.split('.').next().unwrap_or_default().to_owned())
    }

    /// ClusterIP and port of that Service, once this network reaches it: each node's kube-proxy takes a moment to know
    /// of a new Service, and until then the node has no route to it.
    pub(crate) async fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let service = self.service(name).await?;
        let spec =
            self.cluster.services(crate::cluster::SYSTEM).get(&service).await?.spec.context("no spec")?;
        let port = spec.ports.iter().flatten().next().context("no port")?.port;
        let address = format!("{}:{port}", spec.cluster_ip.context("no ClusterIP")?).parse()?;
        wait::until(&format!("a way to {address}"), SOON, || async move {
            TcpStream::connect(address).await?;
            Ok(())
        })
        .await?;
        Ok(address)
    }

    /// Pods of the endpoints that do not terminate.
    pub(crate) async fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let pods = self.cluster.pods(&self.namespace).list(&ListParams::default().labels("app=app")).await?;
        Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    pub(crate) async fn pod_names(&self) -> anyhow::Result<BTreeSet<String>> {
        Ok(self.pods().await?.iter().map(|pod| pod.name_any()).collect())
    }

    pub(crate) async fn scale(&self, replicas: u32) -> anyhow::Result<()> {
        let args = format!("-n {} scale deployment/{APP} --replicas={replicas}", self.namespace);
        self.cluster.kubectl(&args).await?;
        self.cluster.rolled_out(&self.namespace, APP).await
    }

    /// Endpoints that Kubernetes itself keeps of the Service of a pool: those of the proxies.
    pub(crate) async fn proxies_behind(&self, name: &str) -> anyhow::Result<Vec<Endpoint>> {
        let service = self.service(name).await?;
        endpoints_of(&self.cluster, crate::cluster::SYSTEM, &service).await
    }
}

/// Has a demo endpoint behave otherwise: fields of its `/admin/behaviour`.
pub(crate) async fn behave(pod: &Pod, behaviour: &'static str) -> anyhow::Result<()> {
    fetch::patch(SocketAddr::new(address(pod)?, ENDPOINT_PORT), "/admin/behaviour", behaviour).await
}

/// The endpoints of a Service as Kubernetes keeps them.
pub(crate) async fn endpoints_of(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
) -> anyhow::Result<Vec<Endpoint>> {
    let selector = format!("{}={service}", labels::SERVICE_NAME);
    let slices = cluster.slices(namespace).list(&ListParams::default().labels(&selector)).await?;
    if slices.items.is_empty() {
        bail!("{service} has no EndpointSlice");
    }
    Ok(slices.items.into_iter().flat_map(|slice| slice.endpoints).collect())
}

/// Whether Kubernetes sends traffic to an endpoint for being ready.
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// Name of the pod of an endpoint.
pub(crate) fn pod_of(endpoint: &Endpoint) -> &str {
    endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()).unwrap_or_default()
}
