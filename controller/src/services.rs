//! The Services that bring clients to a pool: one with a selector in the namespace of the proxies, so that its
//! membership does not depend on the controller, and an ExternalName alias in the pool's own namespace. Pure.

use std::collections::BTreeMap;

use evenkeel_api::{
    labels,
    object::{BalancerPoolSpec, ServiceTemplate},
};
use sha2::{Digest, Sha256};

use crate::{
    effect::{DesiredService, Effect},
    event::{ObjectName, Service},
};

/// Longest name of a Service (DNS-1035).
const MAX_NAME: usize = 63;

/// Name of the Service of a pool, from namespace and pool; shortened or, where two pools could share it, told apart by
/// a hash.
#[must_use]
pub fn service_name(pool: &ObjectName) -> String {
    let plain = format!("pool-{}-{}", pool.namespace, pool.name);
    if plain.len() <= MAX_NAME && !pool.namespace.contains('-') {
        return plain;
    }
    let hash = short_hash(&pool.to_string());
    let kept: String = plain.chars().take(MAX_NAME - 1 - hash.len()).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// Name of the alias of a pool.
#[must_use]
pub fn alias_name(pool: &ObjectName) -> ObjectName {
    ObjectName::new(&*pool.namespace, format!("{}-lb", pool.name))
}

/// Labels that mark what we make for a pool.
#[must_use]
pub fn mark(pool: &ObjectName, uid: &str, class: &str) -> BTreeMap<String, String> {
    [
        (labels::MANAGED_BY, labels::CONTROLLER),
        (labels::POOL_UID, uid),
        (labels::POOL, &pool.name),
        (labels::POOL_NAMESPACE, &pool.namespace),
        (labels::PROXY_CLASS, class),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// UID of the pool for which we made the Service; `None` if we did not make it.
#[must_use]
pub fn made_for(service: &Service) -> Option<&str> {
    let ours = service.labels.get(labels::MANAGED_BY).is_some_and(|by| by == labels::CONTROLLER);
    service.labels.get(labels::POOL_UID).filter(|_| ours).map(String::as_str)
}

/// The class whose proxies a Service of ours selects.
#[must_use]
pub fn class_of(service: &Service) -> Option<&str> {
    service.labels.get(labels::PROXY_CLASS).map(String::as_str)
}

/// The Service of a pool as it should be, with the listeners that have `ports`.
#[must_use]
pub fn desired(
    pool: &ObjectName,
    uid: &str,
    spec: &BalancerPoolSpec,
    namespace: &str,
    ports: &BTreeMap<String, u16>,
) -> DesiredService {
    let class = &spec.proxy_class;
    let listeners = spec.listeners.iter();
    DesiredService {
        name: ObjectName::new(namespace, service_name(pool)),
        labels: mark(pool, uid, class),
        selector: [(labels::PROXY_CLASS.to_owned(), class.clone())].into(),
        ports: listeners
            .filter_map(|listener| Some((listener.name.clone(), listener.port, *ports.get(&listener.name)?)))
            .collect(),
        template: spec.service.clone(),
    }
}

/// Whether the Service is as it should be, as far as we say anything about it. What others set beside that stays.
#[must_use]
pub fn is_as_desired(observed: &Service, desired: &DesiredService) -> bool {
    let template = &desired.template;
    let ports: Vec<_> = observed
        .ports
        .iter()
        .map(|port| (port.name.clone(), port.port, port.target_port.unwrap_or_default()))
        .collect();
    let set =
        |wanted: Option<&'static str>, is: &Option<String>| wanted.is_none_or(|w| is.as_deref() == Some(w));
    contains(&observed.labels, &desired.labels)
        && contains(&observed.annotations, &annotations(template))
        && observed.type_ == template.type_.as_str()
        && observed.selector == desired.selector
        && ports == desired.ports
        && set(template.external_traffic_policy.map(policy_word), &observed.external_traffic_policy)
        && set(template.ip_family_policy.map(family_word), &observed.ip_family_policy)
        && template
            .load_balancer_class
            .as_ref()
            .is_none_or(|class| observed.load_balancer_class.as_ref() == Some(class))
}

/// The Service's annotations: the pool's, and a fingerprint of all that the pool says. An API server keeps what is said
/// no more until it is told so; by the fingerprint we see that it has to be.
#[must_use]
pub fn annotations(template: &ServiceTemplate) -> BTreeMap<String, String> {
    let text = serde_json::to_string(template).unwrap_or_default();
    let mut annotations = template.annotations.clone();
    annotations.insert(labels::APPLIED.to_owned(), short_hash(&text));
    annotations
}

/// Ten hexadecimal digits.
fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// The effect that makes a pool's alias.
#[must_use]
pub fn alias(pool: &ObjectName, uid: &str, class: &str, external_name: String) -> Effect {
    Effect::Alias { name: alias_name(pool), labels: mark(pool, uid, class), external_name }
}

fn contains(all: &BTreeMap<String, String>, some: &BTreeMap<String, String>) -> bool {
    some.iter().all(|(key, value)| all.get(key) == Some(value))
}

/// Kubernetes' word.
#[must_use]
pub const fn policy_word(policy: evenkeel_api::object::ExternalTrafficPolicy) -> &'static str {
    match policy {
        evenkeel_api::object::ExternalTrafficPolicy::Cluster => "Cluster",
        evenkeel_api::object::ExternalTrafficPolicy::Local => "Local",
    }
}

/// Kubernetes' word.
#[must_use]
pub const fn family_word(policy: evenkeel_api::object::IpFamilyPolicy) -> &'static str {
    match policy {
        evenkeel_api::object::IpFamilyPolicy::SingleStack => "SingleStack",
        evenkeel_api::object::IpFamilyPolicy::PreferDualStack => "PreferDualStack",
        evenkeel_api::object::IpFamilyPolicy::RequireDualStack => "RequireDualStack",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pool_gives_up_makes_its_service_wrong() {
        let pool = ObjectName::new("shop", "web");
        let desired = |text: &str| {
            let text = format!(r#"{{"listeners": [], "backends": [], "service": {text}}}"#);
            desired(&pool, "u1", &serde_json::from_str(&text).unwrap(), "system", &BTreeMap::new())
        };
        let full = desired(r#"{"annotations": {"a": "1"}, "externalTrafficPolicy": "Local"}"#);
        let mut observed = Service {
            labels: full.labels.clone(),
            annotations: annotations(&full.template),
            type_: "ClusterIP".to_owned(),
            selector: full.selector.clone(),
            external_traffic_policy: Some("Local".to_owned()),
            ..Service::default()
        };
        observed.annotations.insert("someone/else".to_owned(), "stays".to_owned());
        assert!(is_as_desired(&observed, &full));
        assert!(!is_as_desired(&observed, &desired(r#"{"externalTrafficPolicy": "Local"}"#)));
        assert!(!is_as_desired(&observed, &desired(r#"{"annotations": {"a": "1"}}"#)));
        observed.selector.clear();
        assert!(!is_as_desired(&observed, &full), "no proxy would be selected");
    }

    #[test]
    fn names_are_short_and_tell_pools_apart() {
        assert_eq!(service_name(&ObjectName::new("shop", "checkout-api")), "pool-shop-checkout-api");
        let pools = [("a-b", "c"), ("a", "b-c"), ("0ns", "p")];
        let names: std::collections::BTreeSet<_> =
            pools.iter().map(|(namespace, name)| service_name(&ObjectName::new(*namespace, *name))).collect();
        assert_eq!(names.len(), pools.len());
        let (long, other) = ("n".repeat(63), "p".repeat(60));
        let name = service_name(&ObjectName::new(&*long, &*other));
        assert!(name.len() <= MAX_NAME, "{name}");
        assert_ne!(name, service_name(&ObjectName::new(&*long, &other[1..])));
    }
}
