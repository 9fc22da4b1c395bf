//! The rules of the CRDs: bounds, CEL and defaults, for whoever is not an API server. The CRD is their only source, so that
//! kubectl, a folder of files and the config channel refuse the same things with the same words.

mod structure;

use std::sync::LazyLock;

use jsonschema::paths::LocationSegment;
use kube::{
    CustomResourceExt,
    core::cel::{Validator, apply_defaults},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    channel::{PoolDocument, Rejection},
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

/// What is wrong with the members of a pool's document that have the form of its spec; nothing if it can be carried out.
/// Takes about a millisecond.
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

/// A pool's document as it is sent: without the fields that are at their default, so that a proxy one version older still
/// understands it.
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

    /// Reads paths such as `spec.listeners[0].port`. Keys that hold dots themselves come out wrong, and then only the line
    /// is that of what holds them.
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
        let bounds = jsonschema::validator_for(&schema).expect("a generated CRD is a JSON schema");
        Self { schema, bounds }
    }

    /// Reads an object as an API server would take it.
    pub(crate) fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Vec<SchemaError>> {
        let mut errors = structure::errors(&self.schema, value);
        let value = apply_defaults(&self.schema, value);
        errors.extend(self.bounds.iter_errors(&value).map(|error| SchemaError {
            path: error.instance_path().iter().map(segment).collect(),
            message: error.to_string(),
        }));
        if !errors.is_empty() {
            return Err(errors); // CEL rules may assume what the schema says
        }
        if let Err(found) = Validator::new().validate(&self.schema, &value, None) {
            let error = |error: kube::core::cel::ValidationError| SchemaError {
                path: Segment::parse(&error.field_path),
                message: error.message,
            };
            return Err(found.into_vec().into_iter().map(error).collect());
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = Segment::parse(&error.path().to_string());
            vec![SchemaError { path, message: error.into_inner().to_string() }]
        })
    }
}

fn segment(segment: LocationSegment<'_>) -> Segment {
    match segment {
        LocationSegment::Property(name) => Segment::key(&name),
        LocationSegment::Index(index) => Segment::Index(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(document: &Value, expect: &[&str]) {
        let found: Vec<_> =
            check(document).into_iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.starts_with(expect), "{found:?} does not start with {expect:?}");
        }
    }

    #[test]
    fn a_document_keeps_to_the_rules_of_the_spec() {
        rejected(&json!({"algorithm": {"type": "Prequal", "prequal": {"maxAge": "2s"}}}), &[]);
        rejected(
            &json!({"algorithm": {"type": "PowerOfTwoChoices", "powerOfTwoChoices": {"choices": 1}}}),
            &["algorithm.powerOfTwoChoices.choices: 1 is less than the minimum of 2"],
        );
        rejected(
            &json!({"algorithm": {"type": "Prequal", "prequal": {"maxAge": "2m"}}}),
            &["algorithm.prequal.maxAge: maxAge must be from 10ms to 1m"],
        );
        let prequal = |of| json!({"algorithm": {"type": "Prequal", "prequal": of}});
        rejected(&prequal(json!({"probesPerRequest": 0, "extraProbesPercent": 20, "maxSamples": 16})), &[]);
        rejected(
            &prequal(
                json!({"extraProbesPercent": 100, "maxSamples": 17, "reuseSurplusPercent": -1, "maxUses": 0}),
            ),
            &[
                "algorithm.prequal.extraProbesPercent: 100 is greater",
                "algorithm.prequal.maxSamples: 17 is greater",
                "algorithm.prequal.maxUses: 0 is less",
                "algorithm.prequal.reuseSurplusPercent: -1 is less",
            ],
        );
        for (probes, extra) in [(0, 0), (8, 1)] {
            rejected(
                &prequal(json!({"probesPerRequest": probes, "extraProbesPercent": extra})),
                &["algorithm.prequal.probesPerRequest: probesPerRequest and extraProbesPercent must make"],
            );
        }
        rejected(&prequal(json!({"signals": "Probes", "probe": {"path": "/load"}})), &[]);
        rejected(
            &prequal(json!({"signals": "Probes"})),
            &["algorithm.prequal.probe: signals Probes needs probe"],
        );
        rejected(
            &prequal(json!({"probe": {"path": "/"}})),
            &["algorithm.prequal.probe: probe needs signals"],
        );
        rejected(
            &prequal(json!({"signals": "Probes", "probe": {"path": "/", "timeout": "2s"}})),
            &["algorithm.prequal.probe.timeout: timeout must be from 1ms to 1s"],
        );
        rejected(
            &prequal(json!({"signals": "Probes", "probe": {"path": "/<id>"}})),
            &["algorithm.prequal.probe.path: \"/<id>\" does not match"],
        );
        rejected(&json!({"slowStart": {"widow": "2m"}}), &["slowStart.widow: unknown field"]);
        rejected(&json!({"algorithm": {"type": "ConsistentHash"}}), &["algorithm.consistentHash: "]);
        let both = json!({"type": "Ring", "maglev": {}});
        let hash = json!({"keys": [{"type": "Header"}, {"type": "Path"}], "table": both});
        rejected(
            &json!({"algorithm": {"type": "ConsistentHash", "consistentHash": hash}}),
            &["algorithm.consistentHash.keys[0].name: ", "algorithm.consistentHash.table.maglev: "],
        );
        let unseen = json!({"keys": [{"type": "Query", "name": "<id>"}]});
        rejected(
            &json!({"algorithm": {"type": "ConsistentHash", "consistentHash": unseen}}),
            &["algorithm.consistentHash.keys[0].name: name must be as it is written in the query"],
        );
        let none = json!({"cookie": {"sameSite": "None"}});
        rejected(
            &json!({"sessionAffinity": none}),
            &["sessionAffinity.cookie.sameSite: sameSite None needs"],
        );
        rejected(&json!({"retries": {"codes": [503], "budget": {"percent": 50}}}), &[]);
        rejected(
            &json!({"retries": {"attempts": 11, "codes": [200]}}),
            &["retries.attempts: 11 is greater", "retries.codes[0]: 200 is less"],
        );
        rejected(
            &json!({"retries": {"minRetryRate": {"interval": "10ms"}}}),
            &["retries.minRetryRate.interval: interval must be from 100ms to 1h"],
        );
        rejected(&json!({"locality": {"zone": {"requestsPerEndpoint": 8}}}), &[]);
        rejected(
            &json!({"locality": {"zone": {"spillAtPercent": 0}}}),
            &["locality.zone.spillAtPercent: 0 is less"],
        );
        rejected(&json!({"locality": {"region": {}}}), &[]);
        rejected(&json!({"locality": {}}), &["locality: locality needs zone, region, or both"]);
        let limits = |queue| json!({"limits": {"perEndpoint": {"concurrentRequests": 8}, "queue": queue}});
        rejected(&limits(json!({"size": 10})), &[]);
        rejected(
            &limits(json!({"timeout": "2m"})),
            &["limits.queue.timeout: timeout must be from 1ms to 1m"],
        );
        rejected(&json!({"limits": {}}), &["limits: \"perEndpoint\" is a required property"]);
    }

    #[test]
    fn nothing_is_twice_in_a_set() {
        rejected(
            &json!({"algorithm": {"type": "Adaptive", "adaptive": {"signals": ["CPU", "InFlight", "CPU", "CPU"]}}}),
            &[
                "algorithm.adaptive.signals[2]: duplicate value: \"CPU\"",
                "algorithm.adaptive.signals[3]: duplicate value: \"CPU\"",
            ],
        );
        rejected(
            &json!({"algorithm": {"type": "Auto", "auto": {"allowed": ["Prequal", "Random", "Random"]}}}),
            &["algorithm.auto.allowed[2]: duplicate value: \"Random\""],
        );
        rejected(
            &json!({"retries": {"codes": [503, 502, 503]}}),
            &["retries.codes[2]: duplicate value: 503"],
        );
        let key = json!({"type": "Path"});
        let hash = json!({"keys": [key, key]});
        rejected(&json!({"algorithm": {"type": "ConsistentHash", "consistentHash": hash}}), &[]);
    }

    #[test]
    fn what_auto_may_choose_has_parameters_beside_it() {
        let auto = json!({"type": "Auto", "auto": {"allowed": ["RoundRobin", "Auto"]}});
        rejected(&json!({"algorithm": auto}), &["algorithm.auto.allowed: Auto chooses"]);
        let auto = |of| json!({"algorithm": {"type": "Auto", "auto": of, "prequal": {"maxAge": "2s"}}});
        rejected(&auto(json!({})), &[]);
        rejected(&auto(json!({"allowed": ["RoundRobin", "Prequal"]})), &[]);
        rejected(
            &auto(json!({"allowed": ["RoundRobin"]})),
            &["algorithm.prequal: prequal needs type Prequal, or Auto that may choose it"],
        );
        rejected(
            &json!({"algorithm": {"type": "Auto", "adaptive": {}}}),
            &["algorithm.adaptive: adaptive needs type Adaptive, or Auto"],
        );
    }

    #[test]
    fn every_algorithm_may_be_named_with_what_it_needs() {
        let named = |of| json!({"allowAlgorithmOverride": of});
        let all = [
            "RoundRobin",
            "WeightedRoundRobin",
            "Random",
            "PowerOfTwoChoices",
            "LeastRequest",
            "LeastResponseTime",
            "SourceIPHash",
            "ConsistentHash",
            "Prequal",
            "WeightedByLoad",
            "Adaptive",
            "Auto",
        ];
        let hash = json!({"keys": [{"type": "Path"}]});
        rejected(&named(json!({"allowed": all, "consistentHash": hash})), &[]);
        rejected(
            &named(json!({"allowed": ["ConsistentHash"]})),
            &["allowAlgorithmOverride.consistentHash: ConsistentHash needs consistentHash with its keys"],
        );
        rejected(
            &named(json!({"allowed": ["Random"], "consistentHash": hash})),
            &["allowAlgorithmOverride.consistentHash: consistentHash needs ConsistentHash among allowed"],
        );
        let nameless = json!({"keys": [{"type": "Header"}]});
        rejected(
            &named(json!({"allowed": ["ConsistentHash"], "consistentHash": nameless})),
            &["allowAlgorithmOverride.consistentHash.keys[0].name: "],
        );
        rejected(
            &named(json!({"allowed": []})),
            &["allowAlgorithmOverride.allowed: [] has less than 1 item"],
        );
    }

    #[test]
    fn a_page_is_for_the_signals_that_it_shows() {
        let page = |of| json!({"algorithm": {"type": "Adaptive", "adaptive": of}});
        rejected(&page(json!({"prometheus": {"port": 9100, "cpuSeconds": "jvm:cpu_total"}})), &[]);
        rejected(
            &page(json!({"signals": ["InFlight"], "prometheus": {}})),
            &["algorithm.adaptive.prometheus: prometheus needs the signal CPU or Memory"],
        );
        rejected(
            &page(json!({"prometheus": {"timeout": "2m"}})),
            &["algorithm.adaptive.prometheus.timeout: timeout must be from 10ms to 1m"],
        );
        rejected(
            &page(json!({"prometheus": {"memoryBytes": "rss{a=\"b\"}"}})),
            &["algorithm.adaptive.prometheus.memoryBytes: \"rss{a"],
        );
    }

    #[test]
    fn defaults_are_left_out() {
        let document = |text: &str| {
            let text = format!(r#"{{"namespace": "shop", "name": "web", "generation": 1, {text}}}"#);
            serde_json::from_str::<PoolDocument>(&text).unwrap()
        };
        let whole = document(
            r#""algorithm": {"type": "Prequal", "prequal": {"maxAge": "1s", "probesPerRequest": 2}},
               "slowStart": {"window": "30s"}, "timeouts": {"connect": "1s", "request": "15s"}"#,
        );
        let value = sparse(&whole);
        assert_eq!(value["algorithm"], json!({"type": "Prequal", "prequal": {"probesPerRequest": 2}}));
        assert_eq!(value["slowStart"], json!({}));
        assert_eq!(value["timeouts"], json!({"connect": "1s"}));
        assert_eq!(serde_json::from_value::<PoolDocument>(value).unwrap(), whole);
    }
}
