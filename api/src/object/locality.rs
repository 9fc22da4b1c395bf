//! Endpoints nearby come first.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which endpoints come first by where they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.zone) || has(self.region)").message("locality needs zone, region, or both"))]
pub struct Locality {
    /// Endpoints in the zone of the proxy come first. A proxy whose zone is not known, and a backend without endpoints
    /// there, know no zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Nearby>,

    /// Endpoints in the region of the proxy come first of those that `zone` leaves, or of all without it. The region of
    /// a zone is what the labels `topology.kubernetes.io/zone` and `topology.kubernetes.io/region` of nodes say; where
    /// that is not known, or nodes disagree, there are no regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Nearby>,
}

/// How much the endpoints of a place are given before others are. What they cannot take goes farther: because some of
/// them are out, or because they are too busy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Nearby {
    /// Mean utilization of the place's endpoints, in per cent, above which part of the traffic goes farther, more with
    /// each second. It is what endpoints reported in the last 30 s in the header `endpoint-load-metrics` (ORCA), or
    /// else by `requestsPerEndpoint`.
    #[serde(default = "default_spill_at")]
    #[schemars(range(min = 1, max = 100))]
    pub spill_at_percent: u8,

    /// Requests at a time, of all proxies of the class together, that fill an endpoint for each unit of its weight,
    /// where it has reported no utilization in the last 30 s. Without it such an endpoint is never too busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_endpoint: Option<u32>,

    /// How much more than their part the place's endpoints may take when some of them are out, in per cent: at 140,
    /// five of seven still take all.
    #[serde(default = "default_overprovisioning")]
    #[schemars(range(min = 100, max = 1000))]
    pub overprovisioning_percent: u16,
}

const fn default_spill_at() -> u8 {
    80
}

const fn default_overprovisioning() -> u16 {
    140
}
