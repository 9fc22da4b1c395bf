//! Another algorithm for one request.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{AlgorithmType, ConsistentHash};

/// A request may name the algorithm that picks its endpoint: in the header `x-evenkeel-algorithm`, which is not passed
/// on, or else in the query as `algo=`, which is. A name that is not allowed is answered 400, with those that are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.allowed.exists(t, t == 'ConsistentHash') || has(self.consistentHash)")
    .message("ConsistentHash needs consistentHash with its keys; the pool's own type may be named without being listed").field_path(".consistentHash"))]
#[x_kube(validation = Rule::new("!has(self.consistentHash) || self.allowed.exists(t, t == 'ConsistentHash')")
    .message("consistentHash needs ConsistentHash among allowed").field_path(".consistentHash"))]
pub struct AlgorithmOverride {
    /// What a request may name: ConsistentHash with the parameters beside this, each other with default parameters; the
    /// pool's own type, with its own parameters, always may be named. What Adaptive and Auto go by is followed from all
    /// of the pool's requests.
    #[schemars(length(min = 1, max = 12), extend("x-kubernetes-list-type" = "set"))]
    pub allowed: Vec<AlgorithmType>,

    /// Parameters of ConsistentHash for requests that name it; without effect where it is the pool's own type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
}
