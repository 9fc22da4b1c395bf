//! An object of ours as it is stored, of which not even the spec may be readable.
//!
//! kube's `DeserializeGuard` keeps nothing but the metadata of an object that it cannot read; here the status survives
//! a bad spec, so that conditions keep their transition times, and the error names the field.

use std::{borrow::Cow, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// An object of kind `K`, its spec and status not yet parsed.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Stored<K> {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K> Stored<K> {
    /// The spec, or the path of the field that cannot be read and why.
    pub(crate) fn spec<S: DeserializeOwned>(&self) -> Result<S, String> {
        // A `null` is what an object without a spec has; an empty one tells which field is missing.
        let spec =
            if self.spec.is_null() { Value::Object(serde_json::Map::new()) } else { self.spec.clone() };
        serde_path_to_error::deserialize(spec).map_err(|error| match error.path().to_string().as_str() {
            "." => format!("spec: {}", error.inner()),
            path => format!("spec.{path}: {}", error.inner()),
        })
    }

    /// The status; `None` if there is none that can be read.
    pub(crate) fn status<S: DeserializeOwned>(&self) -> Option<S> {
        S::deserialize(&self.status).ok()
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
