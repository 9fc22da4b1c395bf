//! Objects for tests.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A pool as small as it can be.
pub(crate) fn pool(name: &str) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "BalancerPool", "metadata": {"name": name},
        "spec": {
            "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
            "backends": [{"service": {"name": "checkout", "port": "http"}}],
        },
    })
}

/// Creates an object.
pub(crate) async fn create<K>(client: &Client, namespace: &str, object: Value) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}
