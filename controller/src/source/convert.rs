//! Kubernetes' objects, reduced to what is used. Pure; nothing here keeps an object.

use std::collections::BTreeMap;

use evenkeel_api::{
    labels::{self, POOL_UID, SERVICE_NAME, WEIGHT},
    object::{BalancerPool, ProxyClass},
};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod as KubernetesPod, PodCondition, Service as KubernetesService},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::{Resource, core::PartialObjectMeta};
use serde::Deserialize;

use super::stored::Stored;
use crate::event::{
    ClassSeen, NodePlace, ObjectName, PodFacts, PodReference, Pool, Service, ServicePort, Slice,
    SliceEndpoint,
};

/// Prefix of labels and annotations of ours.
const OWN_PREFIX: &str = "evenkeel.dev/";

/// Namespace and name; `None` for what no API server sends.
pub(crate) fn object_name(meta: &ObjectMeta) -> Option<ObjectName> {
    Some(ObjectName::new(meta.namespace.clone()?, meta.name.clone()?))
}

/// Whether labels say that we made the object for a pool.
pub(crate) fn is_marked(labels: &BTreeMap<String, String>) -> bool {
    labels.get(labels::MANAGED_BY).is_some_and(|by| by == labels::CONTROLLER) && labels.contains_key(POOL_UID)
}

pub(crate) fn pool(object: &Stored<BalancerPool>) -> Pool {
    let meta = &object.metadata;
    Pool {
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        spec: object.spec(),
        status: object.status(),
    }
}

pub(crate) fn class(object: &Stored<ProxyClass>) -> ClassSeen {
    ClassSeen { spec: object.spec() }
}

pub(crate) fn namespace_labels(object: PartialObjectMeta<Namespace>) -> BTreeMap<String, String> {
    object.metadata.labels.unwrap_or_default()
}

/// Where a node says that it is: both, or nothing.
pub(crate) fn node_place(object: PartialObjectMeta<Node>) -> Option<NodePlace> {
    let mut labels = object.metadata.labels?;
    let mut taken = |label: &str| labels.remove(label).filter(|value| !value.is_empty());
    Some(NodePlace { zone: taken(labels::ZONE)?, region: taken(labels::REGION)? })
}

/// A pod, of which only what is used is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = KubernetesPod)]
pub(crate) struct SeenPod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: SeenPodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SeenPodStatus {
    #[serde(default)]
    conditions: Vec<PodCondition>,
}

/// UID of a pod, and what is known of it.
pub(crate) fn pod(object: SeenPod) -> Option<(String, PodFacts)> {
    let weight = object.metadata.annotations.and_then(|mut annotations| annotations.remove(WEIGHT));
    let ready = object.status.conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let since = ready.filter(|ready| ready.status == "True").and_then(|ready| ready.last_transition_time);
    Some((object.metadata.uid?, PodFacts { weight, ready_since: since.map(|time| time.0.as_second()) }))
}

pub(crate) fn service(object: KubernetesService) -> Service {
    let mut labels = object.metadata.labels.unwrap_or_default();
    labels.retain(|key, _| key.starts_with(OWN_PREFIX) || key == labels::MANAGED_BY);
    let is_ours = is_marked(&labels);
    let annotations = object.metadata.annotations.filter(|_| is_ours);
    let spec = object.spec.unwrap_or_default();
    let ingress = object.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    Service {
        uid: object.metadata.uid.unwrap_or_default(),
        labels,
        annotations: annotations.unwrap_or_default(),
        type_: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        selector: spec.selector.filter(|_| is_ours).unwrap_or_default(),
        ports: spec.ports.unwrap_or_default().into_iter().filter_map(service_port).collect(),
        ip_families: spec.ip_families.unwrap_or_default(),
        external_name: spec.external_name,
        external_traffic_policy: spec.external_traffic_policy,
        load_balancer_class: spec.load_balancer_class,
        ip_family_policy: spec.ip_family_policy,
        ingress: ingress
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| entry.ip.or(entry.hostname))
            .collect(),
    }
}

fn service_port(port: k8s_openapi::api::core::v1::ServicePort) -> Option<ServicePort> {
    let target_port = match port.target_port {
        Some(IntOrString::Int(number)) => u16::try_from(number).ok(),
        Some(IntOrString::String(_)) | None => None,
    };
    Some(ServicePort {
        name: port.name.unwrap_or_default(),
        port: u16::try_from(port.port).ok()?,
        protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
        target_port,
    })
}

/// A slice; `None` where it belongs to no Service.
pub(crate) fn slice(object: EndpointSlice) -> Option<Slice> {
    let service = object.metadata.labels?.remove(SERVICE_NAME)?;
    let is_ip = object.address_type != "FQDN";
    Some(Slice {
        service,
        address_type: object.address_type,
        ports: object.ports.unwrap_or_default().into_iter().filter_map(slice_port).collect(),
        endpoints: object.endpoints.into_iter().map(|endpoint| slice_endpoint(endpoint, is_ip)).collect(),
    })
}

fn slice_port(port: EndpointPort) -> Option<(String, u16)> {
    if port.protocol.is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port?).ok()?;
    Some((port.name.unwrap_or_default(), number))
}

fn slice_endpoint(endpoint: Endpoint, is_ip: bool) -> SliceEndpoint {
    let conditions = endpoint.conditions.unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let pod = endpoint
        .target_ref
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .and_then(|target| Some(PodReference { uid: target.uid?, name: target.name.unwrap_or_default() }));
    SliceEndpoint {
        // Kubernetes itself writes one address each, and kube-proxy looks at no other.
        address: endpoint.addresses.first().filter(|_| is_ip).and_then(|address| address.parse().ok()),
        pod,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node: endpoint.node_name,
        zone: endpoint.zone,
    }
}

#[cfg(test)]
mod tests;
