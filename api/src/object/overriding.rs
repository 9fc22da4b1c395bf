//! Another algorithm for one request.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::AlgorithmType;

/// A request may name the algorithm that picks its endpoint: in the header `x-evenkeel-algorithm`, which is not passed on, or else
/// in the query as `algo=`, which is. A name that is not allowed is answered 400, with those that are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AlgorithmOverride {
    /// What a request may name, each with default parameters; the pool's own type, with its own parameters, always may be named.
    #[schemars(length(min = 1, max = 9), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(t, !(t in ['Auto', 'Adaptive', 'ConsistentHash']))")
        .message("Auto, Adaptive and ConsistentHash can be named only where they are the pool's own type, and are then not listed"))]
    pub allowed: Vec<AlgorithmType>,
}
