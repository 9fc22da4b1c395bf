//! `ProxyClass`: a fleet of proxies, and the operator's word on what the pools that it serves may do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ServiceType;

/// What the pools of a fleet of proxies may do. Everything that is not allowed here is refused.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ProxyClass",
    plural = "proxyclasses",
    shortname = "pc",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "A fleet of proxies, and what the pools that it serves may do.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ProxyClassSpec {
    /// Namespaces whose pools this class serves. An empty selector selects all.
    #[serde(default)]
    pub namespace_selector: LabelSelector,

    /// Which namespaces may claim which host names on the fleet's shared ports. Without an entry, none may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub hostnames: Vec<HostnameGrant>,

    /// Types that the Service of a pool may have.
    #[serde(default = "cluster_ip")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub service_types: Vec<ServiceType>,

    /// Annotations that a pool may set on its Service: exact keys, or a prefix that ends in `/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"),
        inner(length(min = 1, max = 317), regex(pattern = r"^[-A-Za-z0-9_./]+(/\*)?$")))]
    pub allowed_annotations: Vec<String>,

    /// CIDRs within which pools may name static addresses. Without an entry, none may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(max = 49)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .message("staticAddresses must be CIDRs, such as 10.1.0.0/16"))]
    pub static_addresses: Vec<String>,

    /// CIDRs of peers whose X-Forwarded-For, -Proto, -Host and Forwarded are believed; others' are replaced.
    /// SourceIPHash and keys by SourceIP go by the client that such a peer names in
    /// X-Forwarded-For.
    #[serde(default, rename = "trustedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(max = 49)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .message("trustedCIDRs must be CIDRs, such as 10.1.0.0/16"))]
    pub trusted_cidrs: Vec<String>,
}

fn cluster_ip() -> Vec<ServiceType> {
    vec![ServiceType::ClusterIP]
}

/// Host names that some namespaces may claim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HostnameGrant {
    /// The namespaces. An empty selector selects all.
    #[serde(default)]
    pub namespace_selector: LabelSelector,

    /// Exact names; `*.` and a domain for every name below it, wildcards included; `*` for all.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253),
        regex(pattern = r"^(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$")))]
    pub hostnames: Vec<String>,
}

impl ProxyClassSpec {
    /// The class that the leader makes if there is no `default`: every namespace, any host name by age, Services of
    /// type ClusterIP, no annotations, no static addresses, nobody's forwarding headers believed.
    #[must_use]
    pub fn permissive_default() -> Self {
        Self {
            hostnames: vec![HostnameGrant {
                namespace_selector: LabelSelector::default(),
                hostnames: vec!["*".to_owned()],
            }],
            service_types: cluster_ip(),
            ..Self::default()
        }
    }
}
