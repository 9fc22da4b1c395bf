//! 1. A pool over a Deployment of three: traffic reaches all three, and the status and the columns say so.

use anyhow::ensure;

use crate::{
    cluster::Cluster,
    load::{Load, Plan},
    pools::Shop,
    wait,
};
use std::time::Duration;

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "traffic", 3).await?;
    shop.pool("web", "algorithm: {type: RoundRobin}").await?;
    cluster.kubectl("-n traffic wait bp/web --for=condition=Ready --timeout=60s").await?;
    shop.endpoints("web", "3/3").await?;

    let load = Load::start(Plan::to(shop.address("web").await?));
    let pods = shop.pod_names().await?;
    wait::until("answers of all three", Duration::from_secs(20), || async {
        let counts = load.counts();
        let answered =
            pods.iter().filter(|pod| counts.by_endpoint.get(*pod).is_some_and(|count| *count >= 100));
        ensure!(answered.count() == pods.len(), "{:?}", counts.by_endpoint);
        Ok(())
    })
    .await?;
    let counts = load.stop().await?;
    counts.none_failed()?;

    let columns = cluster.kubectl("-n traffic get bp").await?;
    let proxies = cluster.pods_of("proxy").await?.len();
    let expect_row = format!("web RoundRobin 3/3 {proxies}/{proxies} True True True");
    let mut lines = columns.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let head = lines.next().unwrap_or_default();
    ensure!(head == "NAME ALGORITHM ENDPOINTS PROXIES ACCEPTED PROGRAMMED READY AGE", "columns: {head}");
    ensure!(lines.any(|row| row.starts_with(&expect_row)), "no row {expect_row} in\n{columns}");
    shop.close().await?;
    Ok(vec![counts.line()])
}
