//! 5. Without a controller: the proxies serve on, one that crashes comes back by itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::{
    cluster::{Cluster, SYSTEM, address, is_ready, restarts},
    load::{Load, Plan, counts::Counts},
    pools::{self, Shop},
    proxies::{self, Figures},
    wait,
};

/// How long there is no controller.
const ABSENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
/// After Kubernetes has changed an EndpointSlice, until every node's packets go by it.
const RULES: Duration = Duration::from_secs(1);

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "absence", 4).await?;
    let checked = "algorithm: {type: RoundRobin}, timeouts: {connect: 500ms}, healthCheck: {active: {type: TCP, interval: 1s}}";
    shop.pool("web", checked).await?;
    shop.ready("web").await?;
    shop.endpoints("web", "4/4").await?;

    let load = Load::start(Plan::to(shop.address("web").await?));
    for pod in cluster.pods_of("controller").await? {
        cluster.signal(&pod.name_any(), "KILL", "controller").await?;
    }
    let deployment = cluster.deployment_of("controller").await?;
    let (name, replicas) =
        (deployment.name_any(), deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1));
    let scale = |count: i32| format!("-n {SYSTEM} scale deployment/{name} --replicas={count}");
    cluster.kubectl(&scale(0)).await?;
    let start = Instant::now();
    let absence = without_controllers(cluster, &shop, load, start).await;
    cluster.kubectl(&scale(replicas)).await?;
    cluster.rolled_out(SYSTEM, &name).await?;
    let mut lines = absence?;

    shop.endpoints("web", "3/3").await.context("with controllers again")?;
    shop.ready("web").await?;
    shop.close().await?;
    lines.push(format!("no controller for {:.0} s", start.elapsed().as_secs_f64()));
    Ok(lines)
}

async fn without_controllers(
    cluster: &Cluster,
    shop: &Shop,
    load: Load,
    start: Instant,
) -> anyhow::Result<Vec<String>> {
    wait::until("no controller", SOON, || async {
        let left = cluster.pods_of("controller").await?.len();
        ensure!(left == 0, "{left} controllers are left");
        Ok(())
    })
    .await?;
    // The proxies are not told that this one goes: it refuses, and then its address is nobody's.
    let before = shop.pods().await?;
    shop.scale(3).await?;
    let left = shop.pod_names().await?;
    let gone = before.iter().find(|pod| !left.contains(&pod.name_any())).context("no endpoint went")?;
    let gone_address = address(gone)?.to_string();
    let (crash, crashed) = crash_a_proxy(cluster, shop, &load).await?;
    let left = ABSENCE.saturating_sub(start.elapsed());
    wait::throughout(left, || async {
        let left = cluster.pods_of("controller").await?.len();
        ensure!(left == 0, "a controller came back");
        Ok(())
    })
    .await?;
    let counts = load.stop().await?;
    judge(&counts, &gone_address, &crashed)?;
    let retries = proxies::sum(cluster, "evenkeel_retries_total", &["pool_namespace=\"absence\""]).await?;
    let at_gone = counts.failures.iter().filter(|failure| failure.cause.names(&gone_address)).count();
    let excused = format!(
        "{} failed on connections to the crashed proxy, {at_gone} at the endpoint that went; {retries} retries",
        counts.failures.len() - at_gone
    );
    Ok(vec![counts.line(), excused, crash])
}

/// When a proxy was killed, and when no more connections were sent to it.
struct Crashed {
    from: Duration,
    to: Duration,
}

/// Kills the process of a proxy; it comes back from its last good snapshot, and the Service does without it meanwhile.
async fn crash_a_proxy(cluster: &Cluster, shop: &Shop, load: &Load) -> anyhow::Result<(String, Crashed)> {
    let victim = cluster.pods_of("proxy").await?.into_iter().next().context("no proxy")?;
    let name = victim.name_any();
    let (from, killed) = (load.now(), Instant::now());
    cluster.signal(&name, "KILL", "proxy").await?;
    wait::until_every(Duration::from_millis(20), "the crashed proxy to leave the Service", SOON, || async {
        let found = shop.proxies_behind("web").await?;
        let is_in = found.iter().any(|endpoint| pools::pod_of(endpoint) == name && pools::is_ready(endpoint));
        ensure!(!is_in, "{name} is in the Service still");
        Ok(())
    })
    .await?;
    let (to, left) = (load.now() + RULES, killed.elapsed());
    let back = wait::until("the crashed proxy to be ready again", SOON, || async {
        let pod = cluster.pods(SYSTEM).get(&name).await?;
        ensure!(restarts(&pod) > restarts(&victim) && is_ready(&pod), "{name}: {} restarts", restarts(&pod));
        let found = shop.proxies_behind("web").await?;
        let is_in = found.iter().any(|endpoint| pools::pod_of(endpoint) == name && pools::is_ready(endpoint));
        ensure!(is_in, "{name} is not in the Service again");
        Ok(pod)
    })
    .await?;
    let returned = killed.elapsed();
    serves_from_disk(&back, load).await?;
    let line = format!(
        "a crashed proxy left its Service after {:.1} s and was ready again after {:.1} s",
        left.as_secs_f64(),
        returned.as_secs_f64()
    );
    Ok((line, Crashed { from, to }))
}

async fn serves_from_disk(proxy: &Pod, load: &Load) -> anyhow::Result<()> {
    let before = load.counts();
    wait::until("requests through the proxy that came back", SOON, || async {
        let figures = Figures::of(proxy).await?;
        ensure!(figures.sum("evenkeel_config_from_disk", &[]) > 0.0, "it says it does not serve from disk");
        let answered = figures.sum("evenkeel_requests_total", &["pool=\"web\"", "code=\"200\""]);
        ensure!(answered > 20.0, "{answered} requests");
        Ok(())
    })
    .await?;
    ensure!(load.counts().sent > before.sent, "the load stands still");
    Ok(())
}

/// Only the connections of the crashed proxy were lost, and only requests that had reached the endpoint that went.
fn judge(counts: &Counts, gone: &str, crashed: &Crashed) -> anyhow::Result<()> {
    counts.none_failed_but(|failure| {
        let by_crash = failure.cause.is_lost_connection()
            && failure.ended >= crashed.from
            && failure.started <= crashed.to;
        by_crash || failure.cause.names(gone)
    })
}
