//! The objects of group evenkeel.dev, version v1alpha1. `xtask generate` writes their CRDs to crds/.
//!
//! A field exists only when it works. Rules that a schema cannot say are CEL rules beside the field; nothing is checked
//! anywhere else, so that kubectl and a folder of files refuse the same manifests with the same words.

#![expect(unreachable_pub, reason = "the schema derive copies each type into a function of its own")]

mod affinity;
mod algorithm;
mod class;
mod health;
mod limits;
mod load_reports;
mod locality;
mod overriding;
mod pool;
mod retries;
mod slow_start;
mod status;
mod timeouts;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use affinity::{AffinityCookie, SameSite, SessionAffinity};
pub use algorithm::{
    Adaptive, AdaptiveSignal, Algorithm, AlgorithmType, Auto, ConsistentHash, HashFunction, HashKey,
    HashKeyType, HashTable, HashTableType, LeastRequest, LeastResponseTime, Maglev, PowerOfTwoChoices,
    Prequal, PrequalProbe, PrequalSignals, PrometheusPage, Ring, SourceIpHash, WeightedByLoad,
};
pub use class::{HostnameGrant, ProxyClass, ProxyClassSpec};
pub use health::{
    ActiveHealthCheck, ActiveHealthCheckType, FailurePercentage, HealthCheck, HttpHealthCheck,
    PassiveHealthCheck, SuccessRate,
};
pub use limits::{EndpointLimits, Limits, Queue};
pub use load_reports::LoadReports;
pub use locality::{Locality, Nearby};
pub use overriding::AlgorithmOverride;
pub use pool::{
    Backend, BalancerPool, BalancerPoolSpec, ExternalTrafficPolicy, IpFamilyPolicy, Listener, Protocol,
    ServiceReference, ServiceTemplate, ServiceType, StaticAddress,
};
pub use retries::{RequestRate, Retries, RetryBudget, RetryOn};
pub use slow_start::SlowStart;
pub use status::{
    Address, AlgorithmScore, AlgorithmStatus, BalancerPoolStatus, EndpointCounts, ListenerStatus,
    ProxyCounts, condition, reason,
};
pub use timeouts::Timeouts;

/// The CRD of `T`, without the formats that come from Rust's types and that no API server knows (it warns of each).
#[must_use]
pub fn crd<T: CustomResourceExt>() -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(T::crd()).unwrap_or_default();
    strip_formats(&mut crd["spec"]["versions"]);
    serde_json::from_value(crd).unwrap_or_else(|_| T::crd())
}

fn strip_formats(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(fields) => {
            let unknown =
                |format: &serde_json::Value| format.as_str().is_some_and(|text| text.starts_with("uint"));
            if fields.get("format").is_some_and(unknown) {
                fields.remove("format");
            }
            fields.values_mut().for_each(strip_formats);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip_formats),
        _ => {}
    }
}
