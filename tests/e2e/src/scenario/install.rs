//! Installs Evenkeel by its chart, with the images that are on the nodes.

use anyhow::Context as _;

use crate::cluster::{Cluster, SYSTEM};

/// The chart, in the checkout.
pub(super) const CHART: &str = "charts/evenkeel";
/// The tests' values for it.
pub(super) const VALUES: &str = "tests/e2e/values.yaml";

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<()> {
    let install = ["install", "evenkeel", CHART, "--namespace", SYSTEM, "--create-namespace"];
    let rest = ["--values", VALUES, "--wait", "--timeout", "120s"];
    cluster.helm(&[&install[..], &rest[..]].concat()).await.context("helm install")?;
    Ok(())
}
