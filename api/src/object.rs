//! The objects of group evenkeel.dev, version v1alpha1. `xtask generate` writes their CRDs to crds/.
//!
//! A field exists only when it works. Rules that a schema cannot say are CEL rules beside the field; nothing is checked
//! anywhere else, so that kubectl and a folder of files refuse the same manifests with the same words.

#![expect(unreachable_pub, reason = "the schema derive copies each type into a function of its own")]

mod class;
mod pool;
mod status;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use class::{HostnameGrant, ProxyClass, ProxyClassSpec};
pub use pool::{
    ActiveHealthCheck, ActiveHealthCheckType, Algorithm, AlgorithmType, Backend, BalancerPool,
    BalancerPoolSpec, ExternalTrafficPolicy, HealthCheck, HttpHealthCheck, IpFamilyPolicy, LeastRequest,
    Listener, PowerOfTwoChoices, Protocol, ServiceReference, ServiceTemplate, ServiceType, StaticAddress,
    Timeouts,
};
pub use status::{
    Address, BalancerPoolStatus, EndpointCounts, ListenerStatus, ProxyCounts, condition, reason,
};

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
