//! Probes made so patient that kubelet leaves a stopped process alone for two minutes: what it makes of one must not
//! hide what Evenkeel makes of it.

use crate::cluster::{Cluster, SYSTEM};

use super::install::{CHART, VALUES};

/// Whose probes, as the chart calls them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Proxies,
    Controllers,
}

impl Of {
    /// Failures in a row rather than a period of a minute: so a pod that starts is ready as soon as ever.
    const fn patience(self) -> &'static str {
        match self {
            Self::Proxies => "classDefaults.probes.failureThreshold=30",
            Self::Controllers => "controller.probes.failureThreshold=30",
        }
    }
}

/// Rolls out patient probes, and with them the pods.
pub(crate) async fn make_patient(cluster: &Cluster, of: Of) -> anyhow::Result<()> {
    upgrade(cluster, &["--set", of.patience()]).await
}

/// Rolls out what was.
pub(crate) async fn restore(cluster: &Cluster) -> anyhow::Result<()> {
    upgrade(cluster, &[]).await
}

async fn upgrade(cluster: &Cluster, set: &[&str]) -> anyhow::Result<()> {
    let upgrade = ["upgrade", "evenkeel", CHART, "--namespace", SYSTEM, "--values", VALUES];
    cluster.helm(&[&upgrade[..], set, &["--wait", "--timeout", "180s"]].concat()).await.map(drop)
}
