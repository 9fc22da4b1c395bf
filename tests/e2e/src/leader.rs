//! Which controller leads, as the Lease tells.

use anyhow::Context as _;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt as _};

use crate::cluster::{Cluster, SYSTEM};

/// Name of the Lease.
pub const LEASE: &str = "evenkeel-controller";

/// The Lease.
///
/// # Errors
/// If there is none.
pub async fn lease(cluster: &Cluster) -> anyhow::Result<Lease> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM);
    Ok(leases.get(LEASE).await?)
}

/// Who leads, and in which epoch.
///
/// # Errors
/// If nobody does who lives.
pub async fn leader(cluster: &Cluster) -> anyhow::Result<(Pod, u64)> {
    let spec = lease(cluster).await?.spec.context("an empty Lease")?;
    let holder = spec.holder_identity.unwrap_or_default();
    let pods = cluster.pods_of("controller").await?;
    let pod = pods.into_iter().find(|pod| holder.starts_with(&format!("{}_", pod.name_any())));
    let epoch = u64::try_from(spec.lease_transitions.unwrap_or_default())?;
    Ok((pod.with_context(|| format!("{holder:?} leads, which is no controller that lives"))?, epoch))
}
