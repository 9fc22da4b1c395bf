//! 2. An edit of the algorithm changes the shares and fails nothing; Programmed waits for every proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    cluster::{Cluster, SYSTEM},
    load::{Load, Plan},
    pools::Shop,
    wait,
};

use super::probes::{self, Of};

/// Answers over which shares are judged.
const ENOUGH: u64 = 300;

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "edit", 3).await?;
    shop.pool("web", "algorithm: {type: RoundRobin}").await?;
    shop.ready("web").await?;
    shop.endpoints("web", "3/3").await?;
    let load = Load::start(Plan::to(shop.address("web").await?));
    let even = load.shares(ENOUGH).await?;
    let is_even = |shares: &BTreeMap<String, f64>| {
        shares.len() == 3 && shares.values().all(|share| (0.25..0.42).contains(share))
    };
    ensure!(is_even(&even), "RoundRobin: {even:?}");

    shop.pool("web", "algorithm: {type: SourceIPHash}").await?;
    shop.ready("web").await?;
    let hashed = load.shares(ENOUGH).await?;
    ensure!(!is_even(&hashed), "SourceIPHash: the shares are even still: {hashed:?}");
    let edited = load.stop().await?;
    edited.none_failed().context("while the algorithm was edited")?;

    // That kubelet takes a stopped proxy for broken must not hide what the controller makes of it. The rollout that
    // this takes, and the one back, are under load too.
    let load = Load::start(Plan::to(shop.address("web").await?));
    let old = names(cluster).await?;
    probes::make_patient(cluster, Of::Proxies).await?;
    wait::until("the old proxies to end", Duration::from_secs(90), || async {
        let left = names(cluster).await?.intersection(&old).count();
        ensure!(left == 0, "{left} drain still");
        Ok(())
    })
    .await?;
    let rolled = load.stop().await?;
    rolled.none_failed().context("while the proxies were rolled out")?;
    // Nodes may give the load several addresses. Each has one endpoint, which old and new proxies agree on.
    rolled.one_endpoint_each().context("SourceIPHash")?;
    let told = a_stopped_proxy(cluster, &shop).await;
    probes::restore(cluster).await?;
    told?;
    shop.close().await?;
    Ok(vec![
        format!("edit: {}; shares {even:.2?}, then {hashed:.2?}", edited.line()),
        format!("rollout of the proxies: {}", rolled.line()),
    ])
}

/// All pods there are, draining ones included.
async fn names(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let pods = cluster.pods(SYSTEM).list(&ListParams::default()).await?;
    Ok(pods.iter().map(|pod| pod.name_any()).filter(|name| name.contains("proxy")).collect())
}

/// Programmed must not reach a generation that one proxy cannot have, and must once it can.
async fn a_stopped_proxy(cluster: &Cluster, shop: &Shop) -> anyhow::Result<()> {
    shop.ready("web").await?;
    let proxies = cluster.pods_of("proxy").await?;
    let victim = proxies.first().context("no proxy")?.name_any();
    cluster.signal(&victim, "STOP", "proxy").await?;
    let told = async {
        shop.pool("web", "algorithm: {type: Random}").await?;
        let never_programmed = || async {
            ensure!(!shop.is_programmed("web").await?, "Programmed although {victim} is stopped");
            Ok(())
        };
        wait::until("PartiallyProgrammed", Duration::from_secs(40), || async {
            never_programmed().await.map_err(|error| error.context("too early"))?;
            shop.check("web", "Programmed=False,PartiallyProgrammed").await
        })
        .await?;
        wait::throughout(Duration::from_secs(5), never_programmed).await
    }
    .await;
    cluster.signal(&victim, "CONT", "proxy").await?;
    told?;
    shop.ready("web").await
}
