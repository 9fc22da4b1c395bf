//! 3. Endpoints are rolled, and scaled from 3 to 10 to 2, under constant load: the client sees none of it.

use anyhow::Context as _;

use crate::{
    cluster::Cluster,
    load::{Load, Plan},
    pools::{APP, Shop},
    proxies,
};

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "churn", 3).await?;
    shop.pool("web", "algorithm: {type: LeastRequest}").await?;
    shop.ready("web").await?;
    let load = Load::start(Plan { rate: 300, ..Plan::to(shop.address("web").await?) });

    cluster.kubectl(&format!("-n churn rollout restart deployment/{APP}")).await?;
    cluster.rolled_out("churn", APP).await?;
    shop.endpoints("web", "3/3").await.context("after the rolling update")?;
    shop.scale(10).await?;
    shop.endpoints("web", "10/10").await.context("after scaling up")?;
    let before = load.counts();
    shop.scale(2).await?;
    shop.endpoints("web", "2/2").await.context("after scaling down")?;

    let counts = load.stop().await?;
    counts.none_failed()?;
    let retries = proxies::sum(cluster, "evenkeel_retries_total", &["pool_namespace=\"churn\""]).await?;
    let while_down = counts.since(&before).len();
    shop.close().await?;
    Ok(vec![format!("{}; {while_down} of them while scaling down; {retries} retries", counts.line())])
}
