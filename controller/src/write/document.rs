//! The objects as they are written. Pure.

use std::collections::BTreeMap;

use evenkeel_api::{
    labels::{self, CONTROLLER},
    object::{BalancerPool, BalancerPoolStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Resource;
use serde_json::{Map, Value, json};

use crate::{effect::DesiredService, event::ObjectName, services};

/// A status, to be applied.
pub(super) fn status(pool: &ObjectName, status: &BalancerPoolStatus) -> Value {
    json!({
        "apiVersion": BalancerPool::api_version(&()),
        "kind": BalancerPool::kind(&()),
        "metadata": {"namespace": pool.namespace, "name": pool.name},
        "status": status,
    })
}

/// The Service of a pool.
pub(super) fn service(desired: &DesiredService) -> Value {
    let template = &desired.template;
    let ports: Vec<_> = desired
        .ports
        .iter()
        .map(|(name, port, target)| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"}))
        .collect();
    let mut spec = json!({"type": template.type_, "selector": desired.selector, "ports": ports});
    let optional = [
        ("externalTrafficPolicy", json!(template.external_traffic_policy)),
        ("loadBalancerClass", json!(template.load_balancer_class)),
        ("ipFamilyPolicy", json!(template.ip_family_policy)),
    ];
    for (field, value) in optional {
        if !value.is_null() {
            spec[field] = value;
        }
    }
    let mut document = of_service(&desired.name, &desired.labels, spec);
    document["metadata"]["annotations"] = json!(services::annotations(template));
    document
}

/// The ExternalName Service beside a pool. The pool owns it, so that it goes with the pool even without a controller.
pub(super) fn alias(name: &ObjectName, labels: &BTreeMap<String, String>, external_name: &str) -> Value {
    let spec = json!({"type": "ExternalName", "externalName": external_name});
    let mut document = of_service(name, labels, spec);
    if let (Some(pool), Some(uid)) = (labels.get(labels::POOL), labels.get(labels::POOL_UID)) {
        document["metadata"]["ownerReferences"] = json!([{
            "apiVersion": BalancerPool::api_version(&()), "kind": BalancerPool::kind(&()),
            "name": pool, "uid": uid, "controller": true, "blockOwnerDeletion": true,
        }]);
    }
    document
}

fn of_service(name: &ObjectName, labels: &BTreeMap<String, String>, spec: Value) -> Value {
    let metadata = json!({"namespace": name.namespace, "name": name.name, "labels": labels});
    let mut document = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
    document["spec"] = spec;
    document
}

/// Makes a document apply to this very version of an object only.
pub(super) fn pin(document: &mut Value, uid: &str, version: &str) {
    document["metadata"]["uid"] = json!(uid);
    document["metadata"]["resourceVersion"] = json!(version);
}

/// Turns what we own since we created an object into what we own by applying; `None` if there is nothing to turn.
///
/// An object that is created belongs to its creator's *updates*, and applying later would never remove a port or an
/// annotation from it. (client-go calls this an upgrade of managed fields.)
pub(super) fn applied_fields(version: &str, entries: &[ManagedFieldsEntry]) -> Option<Value> {
    let is_ours = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(CONTROLLER)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    if !entries.iter().any(|entry| is_ours(entry, "Update")) {
        return None;
    }
    let is_applied = entries.iter().any(|entry| is_ours(entry, "Apply"));
    let mut turned = Vec::new();
    for entry in entries {
        let mut entry = entry.clone();
        if is_ours(&entry, "Update") {
            if is_applied {
                continue;
            }
            entry.operation = Some("Apply".to_owned());
        }
        turned.push(entry);
    }
    let metadata = Map::from_iter([
        ("resourceVersion".to_owned(), json!(version)),
        ("managedFields".to_owned(), json!(turned)),
    ]);
    Some(json!({"metadata": metadata}))
}

#[cfg(test)]
mod tests {
    use evenkeel_api::object::{ServiceTemplate, ServiceType};

    use super::*;

    fn labels() -> BTreeMap<String, String> {
        [(labels::MANAGED_BY, CONTROLLER), (labels::POOL, "checkout"), (labels::POOL_UID, "u1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_service_says_what_its_pool_says_and_nothing_else() {
        let desired = DesiredService {
            name: ObjectName::new("evenkeel-system", "shop-checkout"),
            labels: labels(),
            selector: BTreeMap::from([(labels::PROXY_CLASS.to_owned(), "default".to_owned())]),
            ports: vec![("web".to_owned(), 80, 10_000)],
            template: ServiceTemplate { type_: ServiceType::NodePort, ..ServiceTemplate::default() },
        };
        let spec = json!({
            "type": "NodePort",
            "selector": {"evenkeel.dev/proxy-class": "default"},
            "ports": [{"name": "web", "port": 80, "targetPort": 10_000, "protocol": "TCP"}],
        });
        let document = service(&desired);
        assert_eq!(document["spec"], spec);
        assert_eq!(document["metadata"]["annotations"].as_object().unwrap().len(), 1);
        assert_eq!(
            document["metadata"]["ownerReferences"],
            Value::Null,
            "an owner in another namespace is illegal"
        );
    }

    #[test]
    fn an_alias_goes_with_its_pool() {
        let document = alias(&ObjectName::new("shop", "checkout-lb"), &labels(), "x.evenkeel-system.svc");
        let owner = &document["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("BalancerPool"), &json!("u1")));
    }

    fn entry(manager: &str, operation: &str) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            ..ManagedFieldsEntry::default()
        }
    }

    fn check(entries: &[ManagedFieldsEntry], expect: Option<&[(&str, &str)]>) {
        let turned = applied_fields("7", entries).map(|patch| {
            let fields = patch["metadata"]["managedFields"].as_array().unwrap().clone();
            fields.into_iter().map(|f| (f["manager"].clone(), f["operation"].clone())).collect::<Vec<_>>()
        });
        let expect = expect.map(|list| list.iter().map(|(m, o)| (json!(m), json!(o))).collect::<Vec<_>>());
        assert_eq!(turned, expect);
    }

    #[test]
    fn what_was_created_is_turned_into_what_is_applied() {
        check(&[entry(CONTROLLER, "Apply"), entry("kubectl", "Update")], None);
        check(
            &[entry("kubectl", "Update"), entry(CONTROLLER, "Update")],
            Some(&[("kubectl", "Update"), (CONTROLLER, "Apply")]),
        );
        check(&[entry(CONTROLLER, "Apply"), entry(CONTROLLER, "Update")], Some(&[(CONTROLLER, "Apply")]));
    }
}
