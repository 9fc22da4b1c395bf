//! 6. Two controllers: a leader that hangs is replaced and does no harm when it wakes, the Lease may go, and a cold leader
//!    knows the world before it speaks.

use std::{cell::RefCell, time::Duration};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt as _, api::DeleteParams};

use super::probes::{self, Of};
use crate::{
    cluster::{Cluster, SYSTEM, is_ready},
    leader::{LEASE, leader, lease},
    load::{Load, Plan},
    pools::Shop,
    proxies::{Channel, Figures},
    wait,
};

/// Answers of a proxy to pushes, and the label of those that came too late.
const ANSWERS: &str = "evenkeel_config_answers_total";
const CONFLICT: &str = "\"409\"";
const SOON: Duration = Duration::from_secs(60);
/// How long the old leader is watched after it woke.
const WATCHED: Duration = Duration::from_secs(6);
/// How many pools there are while the leader is cold.
const POOLS: usize = 5;

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "leaders", 3).await?;
    for number in 0..POOLS {
        shop.pool(&format!("web{number}"), "algorithm: {type: RoundRobin}").await?;
    }
    for number in 0..POOLS {
        shop.ready(&format!("web{number}")).await?;
    }
    let load = Load::start(Plan::to(shop.address("web0").await?));
    probes::make_patient(cluster, Of::Controllers).await?;
    let epochs = one_after_the_other(cluster, &shop).await;
    probes::restore(cluster).await?;
    let epochs = epochs?;
    let counts = load.stop().await?;
    counts.none_failed()?;
    shop.close().await?;
    Ok(vec![counts.line(), format!("epochs {epochs:?}")])
}

/// The three parts; gives the epochs in their order.
async fn one_after_the_other(cluster: &Cluster, shop: &Shop) -> anyhow::Result<[u64; 4]> {
    let (old, new) = a_hanging_leader(cluster, shop).await.context("the hanging leader")?;
    let again = the_lease_deleted(cluster, shop).await.context("the Lease deleted")?;
    ensure!(again > new, "epoch {again} after the Lease was deleted, {new} before");
    let cold = a_cold_leader(cluster, shop).await.context("a cold leader")?;
    Ok([old, new, again, cold])
}

async fn a_hanging_leader(cluster: &Cluster, shop: &Shop) -> anyhow::Result<(u64, u64)> {
    let (old, epoch) = wait::until("a leader", SOON, || leader(cluster)).await?;
    let name = old.name_any();
    cluster.signal(&name, "STOP", "controller").await?;
    let taken = replaced(cluster, shop, &name, epoch).await;
    cluster.signal(&name, "CONT", "controller").await?;
    let new = taken?;
    the_old_leader_is_silent(cluster, shop, &old, new).await?;

    let channel = Channel::open(cluster).await?;
    for proxy in cluster.pods_of("proxy").await? {
        let before = channel.snapshot(&proxy).await?;
        let (status, said) = channel.push_nothing(&proxy, epoch).await?;
        ensure!(status == 409, "a push of epoch {epoch} got {status}: {said}");
        ensure!(said.contains(&new.to_string()), "409 does not tell epoch {new}: {said}");
        let refused = Figures::of(&proxy).await?.sum(ANSWERS, &[CONFLICT]);
        ensure!(refused > 0.5, "{} counted no refused push", proxy.name_any());
        let after = channel.snapshot(&proxy).await?;
        ensure!(after.pools.len() == before.pools.len(), "the refused push changed the pools");
    }
    Ok((epoch, new))
}

/// Waits for another leader, and for an edit that it brings to the proxies.
async fn replaced(cluster: &Cluster, shop: &Shop, old: &str, epoch: u64) -> anyhow::Result<u64> {
    let new = wait::until("another leader", SOON, || async {
        let (pod, found) = leader(cluster).await?;
        ensure!(pod.name_any() != old && found > epoch, "{} leads in epoch {found}", pod.name_any());
        Ok(found)
    })
    .await?;
    shop.pool("web1", "algorithm: {type: Random}").await?;
    shop.ready("web1").await?;
    revision(shop, new).await?;
    Ok(new)
}

async fn revision(shop: &Shop, epoch: u64) -> anyhow::Result<()> {
    let (_, status) = shop.status("web1").await?;
    let revision = status.revision.unwrap_or_default();
    ensure!(revision.starts_with(&format!("{epoch}.")), "revision {revision}, in epoch {epoch}");
    Ok(())
}

/// A leader that woke pushes nothing, writes no status, and knows that it leads no more.
async fn the_old_leader_is_silent(
    cluster: &Cluster,
    shop: &Shop,
    old: &Pod,
    epoch: u64,
) -> anyhow::Result<()> {
    let proxies = cluster.pods_of("proxy").await?;
    // An edit that both see: the new one carries it out, the old one must not.
    shop.pool("web1", "algorithm: {type: RoundRobin}").await?;
    wait::until("the old leader to answer", SOON, || Figures::of(old)).await?;
    let wrote = |figures: &Figures| figures.sum("evenkeel_controller_writes_total", &[]);
    let pushed = |figures: &Figures| figures.sum("evenkeel_config_push_total", &[]);
    let first = Figures::of(old).await?;
    ensure!(wrote(&first) > 0.5 && pushed(&first) > 0.5, "the old leader counted nothing while it led");
    wait::throughout(WATCHED, || async {
        let now = Figures::of(old).await?;
        ensure!(now.sum("evenkeel_controller_leader", &[]) < 0.5, "the old leader says that it leads");
        ensure!(wrote(&now) <= wrote(&first), "the old leader wrote: {} of {}", wrote(&now), wrote(&first));
        ensure!(
            pushed(&now) <= pushed(&first),
            "the old leader pushed: {} of {}",
            pushed(&now),
            pushed(&first)
        );
        revision(shop, epoch).await?;
        for proxy in &proxies {
            let figures = Figures::of(proxy).await?;
            let (found, refused) =
                (figures.sum("evenkeel_config_epoch", &[]), figures.sum(ANSWERS, &[CONFLICT]));
            ensure!(format!("{found:.0}") == epoch.to_string(), "{} has epoch {found}", proxy.name_any());
            ensure!(refused < 0.5, "{} refused {refused} pushes", proxy.name_any());
        }
        Ok(())
    })
    .await?;
    shop.ready("web1").await?;
    let restarted = crate::cluster::restarts(&cluster.pods(SYSTEM).get(&old.name_any()).await?)
        > crate::cluster::restarts(old);
    ensure!(!restarted, "the old leader was restarted, which this test is not about");
    Ok(())
}

/// Service goes on, and the next edit is carried out in a higher epoch.
async fn the_lease_deleted(cluster: &Cluster, shop: &Shop) -> anyhow::Result<u64> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM);
    let before = lease(cluster).await?.uid();
    leases.delete(LEASE, &DeleteParams::default()).await?;
    let epoch = wait::until("a new Lease", SOON, || async {
        ensure!(lease(cluster).await?.uid() != before, "it is the old one");
        Ok(leader(cluster).await?.1)
    })
    .await?;
    shop.pool("web1", "algorithm: {type: Random}").await?;
    shop.ready("web1").await?;
    // A replica that made the Lease without knowing the epoch learns it from the proxies and raises its own.
    Ok(leader(cluster).await?.1.max(epoch))
}

/// Both controllers go at once: at no moment has a proxy fewer pools.
async fn a_cold_leader(cluster: &Cluster, shop: &Shop) -> anyhow::Result<u64> {
    let channel = Channel::open(cluster).await?;
    let proxies = cluster.pods_of("proxy").await?;
    let all = channel.snapshot(proxies.first().context("no proxy")?).await?.pools.len();
    ensure!(all >= POOLS, "{all} pools before");
    let (_, before) = leader(cluster).await?;
    let old = cluster.pods_of("controller").await?;
    for pod in &old {
        let at_once = DeleteParams::default().grace_period(0);
        cluster.pods(SYSTEM).delete(&pod.name_any(), &at_once).await?;
    }
    let keeps_all = || async {
        for proxy in &proxies {
            let found = channel.snapshot(proxy).await?.pools.len();
            ensure!(found >= all, "{} has {found} pools of {all}", proxy.name_any());
        }
        Ok(())
    };
    shop.pool("web1", "algorithm: {type: LeastRequest}").await?;
    let is_led = || async {
        let (pod, epoch) = leader(cluster).await?;
        ensure!(epoch > before && is_ready(&pod), "epoch {epoch}");
        ensure!(shop.is_programmed("web1").await?, "web1 is not programmed yet");
        Ok(epoch)
    };
    // The two looks are one, so that none of the moments between is missed.
    let fewer = RefCell::new(None);
    let epoch = wait::until("a cold leader", SOON, || {
        let (keeps_all, is_led) = (keeps_all(), is_led());
        let fewer = &fewer;
        async move {
            if let Err(error) = keeps_all.await {
                fewer.borrow_mut().get_or_insert(error);
            }
            is_led.await
        }
    })
    .await;
    fewer.into_inner().map_or(Ok(()), Err)?;
    let epoch = epoch?;
    wait::throughout(WATCHED, keeps_all).await?;
    Ok(epoch)
}
