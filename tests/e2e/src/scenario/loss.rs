//! 8. All proxies are deleted at once; a node dies with a proxy and endpoints on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use crate::{
    cluster::{Cluster, SYSTEM, address, is_ready, node},
    fetch,
    load::{
        Load, Plan,
        counts::{Counts, Failure},
        pod::Shown,
    },
    pools::{self, APP, Shop},
    wait,
};

const SOON: Duration = Duration::from_secs(90);
/// After Kubernetes has changed an EndpointSlice, until every proxy and every node's packets go by it.
const RULES: Duration = Duration::from_secs(1);
/// How long the load goes on after the node's death was noticed.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Short, so that requests to what is dead end while the test lasts. An endpoint that is dead is found by its checks
/// too.
const SPEC: &str = "algorithm: {type: RoundRobin}, timeouts: {connect: 500ms, request: 3s}";

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "loss", 3).await?;
    shop.pool("web", SPEC).await?;
    shop.ready("web").await?;
    shop.endpoints("web", "3/3").await?;
    let proxies = all_proxies(cluster, &shop).await.context("all proxies deleted")?;
    let nodes = a_node(cluster, &shop).await.context("a node killed")?;
    shop.close().await?;
    Ok(vec![proxies, nodes])
}

/// First as an operator would, which nobody notices; then without any grace, which ends by itself.
async fn all_proxies(cluster: &Cluster, shop: &Shop) -> anyhow::Result<String> {
    let before = service(cluster, shop).await?;
    let load = Load::start(Plan::to(shop.address("web").await?));
    delete_proxies(cluster, shop, None).await?;
    let counts = load.stop().await?;
    counts.none_failed().context("with the grace that proxies have")?;

    delete_proxies(cluster, shop, Some(0)).await?;
    let address = shop.address("web").await?;
    wait::until("an answer", SOON, || fetch::text(address, "/")).await?;
    let load = Load::start(Plan::to(address));
    shop.ready("web").await?;
    wait::until("answers", SOON, || async {
        ensure!(load.counts().sent > 400, "too few");
        Ok(())
    })
    .await?;
    load.stop().await?.none_failed().context("when they were back")?;
    let after = service(cluster, shop).await?;
    let ports =
        |service: &Service| service.spec.as_ref().map(|spec| (spec.ports.clone(), spec.cluster_ip.clone()));
    ensure!(after.uid() == before.uid(), "the pool's Service was made anew");
    ensure!(
        ports(&after) == ports(&before),
        "the pool's port changed: {:?} to {:?}",
        ports(&before),
        ports(&after)
    );
    Ok(format!("all proxies deleted: {}", counts.line()))
}

async fn service(cluster: &Cluster, shop: &Shop) -> anyhow::Result<Service> {
    Ok(cluster.services(SYSTEM).get(&shop.service("web").await?).await?)
}

/// Deletes all proxies at once, and waits until as many others are ready and the Service has them alone.
async fn delete_proxies(cluster: &Cluster, shop: &Shop, grace: Option<u32>) -> anyhow::Result<()> {
    let old = cluster.pods_of("proxy").await?;
    let names: BTreeSet<_> = old.iter().map(|pod| pod.name_any()).collect();
    let how = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
    let pods = cluster.pods(SYSTEM);
    let deletions = names.iter().map(|name| {
        let (pods, how, name) = (pods.clone(), how.clone(), name.clone());
        tokio::spawn(async move { pods.delete(&name, &how).await.map(drop) })
    });
    for deletion in deletions.collect::<Vec<_>>() {
        deletion.await??;
    }
    wait::until("other proxies", SOON, || async {
        let behind = shop.proxies_behind("web").await?;
        let ready = behind.iter().filter(|one| pools::is_ready(one) && !names.contains(pools::pod_of(one)));
        ensure!(ready.count() == names.len(), "behind the Service: {behind:?}");
        let left = pods.list(&ListParams::default()).await?;
        let left = left.iter().filter(|pod| names.contains(&pod.name_any())).count();
        ensure!(left == 0, "{left} of the old ones are there still");
        Ok(())
    })
    .await
}

async fn a_node(cluster: &Cluster, shop: &Shop) -> anyhow::Result<String> {
    let proxies = cluster.pods_of("proxy").await?;
    let endpoints = shop.pods().await?;
    let controllers: BTreeSet<_> =
        cluster.pods_of("controller").await?.iter().map(|pod| node(pod).to_owned()).collect();
    // Best one without a controller, so that this is about the data path; scenario 5 and 6 are about controllers.
    let mut nodes: Vec<_> = proxies.iter().map(|pod| node(pod).to_owned()).collect();
    nodes.retain(|name| endpoints.iter().any(|pod| node(pod) == name));
    nodes.sort_by_key(|name| controllers.contains(name));
    let victim = nodes.first().context("no node has a proxy and an endpoint")?.clone();
    let safe = proxies.iter().map(node).find(|name| *name != victim).context("one node alone")?.to_owned();
    let dead = on(&endpoints, &victim)?;
    // A request that was never sent is tried once more: with one endpoint a node, that is always elsewhere.
    ensure!(dead.len() == 1, "the endpoints are not spread over the nodes: {} on {victim}", dead.len());
    let number = victim.rsplit('-').next().unwrap_or_default().to_owned();
    let client = Client::start(shop, &safe).await?;
    client.sent(400).await?;

    let killed = client.shown().await?.now;
    cluster.hack(&["kill", &number]).await?;
    let lost = watch_the_loss(cluster, shop, &client, &victim).await;
    cluster.hack(&["start", &number]).await?;
    let (noticed, counts) = lost?;
    judge(&counts, killed, noticed, &dead)?;
    back(cluster, shop, &victim).await?;
    Ok(format!(
        "{victim} killed: {}; noticed after {:.1} s, no failure since",
        counts.line(),
        (noticed - killed).as_secs_f64()
    ))
}

/// Waits until Kubernetes has noticed; tells when, and what came of the load up to a while later.
async fn watch_the_loss(
    cluster: &Cluster,
    shop: &Shop,
    client: &Client,
    victim: &str,
) -> anyhow::Result<(Duration, Counts)> {
    wait::until("Kubernetes to notice", SOON, || async {
        let behind = shop.proxies_behind("web").await?;
        let endpoints = pools::endpoints_of(cluster, &shop.namespace, APP).await?;
        let is_there = |one: &&_| on_node(one, victim) && pools::is_ready(one);
        let there = behind.iter().chain(&endpoints).filter(is_there).count();
        ensure!(there == 0, "{there} of {victim} count as ready");
        Ok(())
    })
    .await?;
    let noticed = client.shown().await?.now + RULES;
    wait::until("the load to go on", SOON, || async {
        ensure!(client.shown().await?.now > noticed + AFTERWARDS, "not yet");
        Ok(())
    })
    .await?;
    Ok((noticed, client.shown().await?.counts))
}

fn on_node(endpoint: &k8s_openapi::api::discovery::v1::Endpoint, name: &str) -> bool {
    endpoint.node_name.as_deref() == Some(name)
}

fn on(pods: &[Pod], name: &str) -> anyhow::Result<Vec<String>> {
    pods.iter().filter(|pod| node(pod) == name).map(|pod| Ok(address(pod)?.to_string())).collect()
}

/// Before Kubernetes has noticed, only requests that were on the node may be lost: those of its proxy, which is a lost
/// connection, and those that had been sent to its endpoints, which are named. A connection that did not open is
/// retried.
fn judge(counts: &Counts, killed: Duration, noticed: Duration, dead: &[String]) -> anyhow::Result<()> {
    let was_on_it = |failure: &Failure| {
        let is_sent = !failure.to_string().contains("connect_failed")
            && !failure.to_string().contains("connect_timeout");
        failure.cause.is_lost_connection()
            || is_sent && dead.iter().any(|address| failure.cause.names(address))
    };
    let judged = counts.none_failed_but(|failure| {
        failure.ended >= killed && failure.started <= noticed && was_on_it(failure)
    });
    judged.with_context(|| {
        let mut seconds = BTreeMap::<_, u64>::new();
        for failure in &counts.failures {
            *seconds.entry(failure.started.as_secs()).or_default() += 1;
        }
        let (killed, noticed) = (killed.as_secs_f64(), noticed.as_secs_f64());
        format!("killed at {killed:.1} s, noticed at {noticed:.1} s; all failures by second: {seconds:?}")
    })
}

async fn back(cluster: &Cluster, shop: &Shop, victim: &str) -> anyhow::Result<()> {
    cluster.kubectl(&format!("wait node/{victim} --for=condition=Ready --timeout=90s")).await?;
    wait::until("all proxies", SOON, || async {
        let proxies = cluster.pods_of("proxy").await?;
        ensure!(proxies.iter().all(is_ready), "not all are ready");
        Ok(())
    })
    .await?;
    shop.ready("web").await?;
    shop.endpoints("web", "3/3").await
}

/// The load in a pod, on a node that lives.
struct Client {
    at: SocketAddr,
}

impl Client {
    async fn start(shop: &Shop, node: &str) -> anyhow::Result<Self> {
        let (namespace, version, target) =
            (&shop.namespace, env!("CARGO_PKG_VERSION"), shop.address("web").await?);
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: client, namespace: {namespace}}}\nspec:\n  nodeName: {node}\n  \
             terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: client, image: evenkeel.local/e2e:{version}, \
             imagePullPolicy: IfNotPresent, args: [load, --target={target}, --timeout-ms=5000]}}\n"
        );
        shop.cluster.apply(&manifest).await?;
        let at = wait::until("the client to run", SOON, || async {
            let pod = shop.cluster.pods(namespace).get("client").await?;
            let at = SocketAddr::new(address(&pod)?, 8090);
            fetch::text(at, "/").await?;
            Ok(at)
        })
        .await?;
        Ok(Self { at })
    }

    async fn shown(&self) -> anyhow::Result<Shown> {
        Ok(serde_json::from_str(&fetch::text(self.at, "/").await?)?)
    }

    async fn sent(&self, count: u64) -> anyhow::Result<()> {
        wait::until("the load to begin", SOON, || async {
            let sent = self.shown().await?.counts.sent;
            ensure!(sent >= count, "{sent} requests");
            Ok(())
        })
        .await
    }
}
