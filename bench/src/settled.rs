//! Whether all proxies have what the controller has published last.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use evenkeel_e2e::{cluster::Cluster, leader::leader, proxies::Figures, wait};

/// How long it may take.
const SOON: Duration = Duration::from_secs(60);

/// Waits until every proxy has the revision that the leader has published, and gives it.
///
/// # Errors
/// If one has another after a minute.
pub(crate) async fn revision(cluster: &Cluster) -> anyhow::Result<u64> {
    wait::until("all proxies to have the newest revision", SOON, || async {
        let (leader, _) = leader(cluster).await?;
        let published = Figures::of(&leader).await?.sum("evenkeel_controller_config_revision", &[]);
        let proxies = cluster.pods_of("proxy").await?;
        ensure!(!proxies.is_empty(), "there are no proxies");
        for proxy in proxies {
            let has = Figures::of(&proxy).await?.sum("evenkeel_config_revision", &[]);
            ensure!((has - published).abs() < 0.5, "revision {published} is published, a proxy has {has}");
        }
        format!("{published:.0}").parse().context("not a revision")
    })
    .await
}
