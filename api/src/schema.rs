//! The rules of the CRDs: bounds, CEL and defaults, for whoever is not an API server. The CRD is their only source, so
//! that kubectl, a folder of files and the config channel refuse the same things with the same words.

mod structure;

use std::sync::LazyLock;

use jsonschema::{error::ValidationErrorKind, paths::LocationSegment};
use kube::{
    CustomResourceExt,
    core::cel::{Validator, apply_defaults},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    channel::{PoolDocument, Rejection},
    duration,
    object::{BalancerPool, ProxyClass, crd},
};

/// Members of a pool's document that have the form of its spec.
const SHARED: [&str; 10] = [
    "algorithm",
    "allowAlgorithmOverride",
    "healthCheck",
    "slowStart",
    "locality",
    "loadReports",
    "sessionAffinity",
    "timeouts",
    "retries",
    "limits",
];

/// The members of a pool's document that have the form of its spec.
#[must_use]
pub fn shared(document: &Value) -> Value {
    let members = SHARED.iter().filter_map(|name| Some(((*name).to_owned(), document.get(name)?.clone())));
    Value::Object(members.collect())
}

/// What is wrong with the members of a pool's document that have the form of its spec; nothing if it can be carried
/// out. Takes about a millisecond.
#[must_use]
pub fn check(document: &Value) -> Vec<Rejection> {
    let mut spec = json!({
        "listeners": [{"name": "any", "port": 80, "protocol": "HTTP"}],
        "backends": [{"addresses": [{"address": "192.0.2.1", "port": 80}]}],
    });
    for name in SHARED {
        if let Some(member) = document.get(name) {
            spec[name] = member.clone();
        }
    }
    let pool = json!({"metadata": {"name": "any"}, "spec": spec});
    let rejection = |error: SchemaError| Rejection {
        field: Segment::join(error.path.strip_prefix(&[Segment::key("spec")]).unwrap_or(&error.path)),
        message: error.message,
    };
    match POOL.read::<BalancerPool>(&pool) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(rejection).collect(),
    }
}

/// A pool's document as it is sent: without the fields that are at their default, so that a proxy one version older
/// still understands it.
///
/// # Panics
/// Never: the documents are made of what JSON knows.
#[must_use]
pub fn sparse(document: &PoolDocument) -> Value {
    let mut value = serde_json::to_value(document).expect("a document is JSON");
    let spec = &POOL.schema["properties"]["spec"]["properties"];
    for name in SHARED {
        if let Some(member) = value.get_mut(name) {
            strip_defaults(&spec[name], member);
        }
    }
    value
}

fn strip_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = &schema["properties"];
            fields.retain(|name, value| {
                let schema = &properties[name];
                strip_defaults(schema, value);
                // An object that is there says something by being there.
                value.is_object() || schema.get("default") != Some(value)
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip_defaults(&schema["items"], item)),
        _ => {}
    }
}

/// The schema of one kind of object.
pub(crate) struct ObjectSchema {
    schema: Value,
    bounds: jsonschema::Validator,
}

/// What is wrong with an object, and where.
pub(crate) struct SchemaError {
    pub(crate) path: Vec<Segment>,
    pub(crate) message: String,
}

pub(crate) static POOL: LazyLock<ObjectSchema> = LazyLock::new(ObjectSchema::of::<BalancerPool>);
pub(crate) static CLASS: LazyLock<ObjectSchema> = LazyLock::new(ObjectSchema::of::<ProxyClass>);

/// A step of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl Segment {
    pub(crate) fn key(name: &str) -> Self {
        Self::Key(name.to_owned())
    }

    /// Reads paths such as `spec.listeners[0].port`. Keys that hold dots themselves come out wrong, and then only the
    /// line is that of what holds them.
    pub(crate) fn parse(path: &str) -> Vec<Self> {
        path.split(['.', '[']).filter(|part| !part.is_empty() && *part != "?").map(Self::parse_one).collect()
    }

    fn parse_one(part: &str) -> Self {
        match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Self::Index(index),
            None => Self::key(part),
        }
    }

    pub(crate) fn join(path: &[Self]) -> String {
        let mut text = String::new();
        for segment in path {
            match segment {
                Self::Key(key) if text.is_empty() => text.push_str(key),
                Self::Key(key) => text.extend([".", key]),
                Self::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

impl ObjectSchema {
    fn of<T: CustomResourceExt>() -> Self {
        let crd = crd::<T>();
        let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
        let mut schema = serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema.as_ref()))
            .unwrap_or_default();
        // The API server knows these by itself, and a CRD must not say more of them.
        schema["properties"]["apiVersion"] = json!({"type": "string"});
        schema["properties"]["kind"] = json!({"type": "string"});
        schema["properties"]["metadata"] = json!({
            "type": "object", "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "namespace": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        });
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(json!("metadata"));
        }
        let bounds = jsonschema::validator_for(&schema).expect("a generated CRD is a JSON schema");
        Self { schema, bounds }
    }

    /// Reads an object as an API server would take it.
    pub(crate) fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Vec<SchemaError>> {
        let mut errors = structure::errors(&self.schema, value);
        let value = apply_defaults(&self.schema, &without_nulls(value));
        errors.extend(self.bounds.iter_errors(&value).map(|error| SchemaError {
            path: error.instance_path().iter().map(segment).collect(),
            message: message(&error),
        }));
        if !errors.is_empty() {
            return Err(errors); // CEL rules may assume what the schema says
        }
        let broken = Validator::new().validate(&self.schema, &value, None).err();
        let broken = broken.into_iter().flat_map(|found| found.into_vec());
        let broken = broken
            .map(|error| SchemaError { path: Segment::parse(&error.field_path), message: error.message });
        let broken: Vec<_> = broken.collect();
        if !broken.is_empty() {
            return Err(broken);
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = Segment::parse(&error.path().to_string());
            vec![SchemaError { path, message: error.into_inner().to_string() }]
        })
    }
}

/// As an API server has it: a field that is null is left out, and gets its default.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !value.is_null());
            given.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// In the words of the library but where they withhold what may be written.
fn message(error: &jsonschema::ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().into_iter().flatten().map(Value::to_string);
            format!("{} is none of {}", error.instance(), options.collect::<Vec<_>>().join(", "))
        }
        ValidationErrorKind::Pattern { pattern } if pattern == duration::PATTERN => format!(
            "{} is no duration such as 30s, 500ms or 1h30m: whole numbers of at most five digits, with h, m, s or ms",
            error.instance()
        ),
        _ => error.to_string(),
    }
}

fn segment(segment: LocationSegment<'_>) -> Segment {
    match segment {
        LocationSegment::Property(name) => Segment::key(&name),
        LocationSegment::Index(index) => Segment::Index(index),
    }
}

#[cfg(test)]
mod tests;
