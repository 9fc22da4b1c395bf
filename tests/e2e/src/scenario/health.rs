//! 4. An endpoint that hangs its health check leaves the rotation, and returns.

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;

use crate::{
    cluster::Cluster,
    load::{Load, Plan},
    pools::{Shop, behave},
};

const CHECKED: &str = "algorithm: {type: RoundRobin}, healthCheck: {active: {type: HTTP, http: {path: /health}, \
                       interval: 500ms, timeout: 250ms, healthyThreshold: 2, unhealthyThreshold: 2}}";
/// Answers of the others in which one that is out of rotation has none.
const ENOUGH: u64 = 400;

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "health", 3).await?;
    shop.pool("web", CHECKED).await?;
    shop.ready("web").await?;
    shop.endpoints("web", "3/3").await?;
    let load = Load::start(Plan::to(shop.address("web").await?));
    let pods = shop.pods().await?;
    let sick = pods.first().context("no pod")?;

    behave(sick, r#"{"health": "hanging"}"#).await?;
    shop.endpoints("web", "2/3").await?;
    let (before, name) = (load.counts(), sick.name_any());
    let counts = load.answers(&before, ENOUGH).await?;
    ensure!(!counts.contains_key(&name), "{name} hangs its health check and still answers: {counts:?}");

    behave(sick, r#"{"health": "ok"}"#).await?;
    shop.endpoints("web", "3/3").await?;
    let before = load.counts();
    let counts = load.answers(&before, ENOUGH).await?;
    ensure!(counts.contains_key(&name), "{name} is healthy again and gets nothing: {counts:?}");
    let counts = load.stop().await?;
    counts.none_failed()?;
    shop.close().await?;
    Ok(vec![counts.line()])
}
