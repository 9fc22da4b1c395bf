//! The JSON form of a [`Behaviour`].
//!
//! ```json
//! {"latency": {"distribution": "log-normal", "meanMs": 20, "sigma": 1},
//!  "errors": {"rate": 0.01, "status": 503, "fast": false},
//!  "concurrency": {"limit": 8, "queue": 1024},
//!  "cpuBurnMs": 0.5, "utilization": 0.7, "health": "ok", "connections": "accept"}
//! ```
//! What is left out is at its default. Numbers, not texts with a unit: their units are in the names.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Behaviour, Concurrency, Connections, Errors, Health, Latency, MAX_CPU_BURN, MAX_LATENCY, MAX_QUEUE, Share,
};

/// Largest sigma of a log-normal latency: beyond it the mean is made by samples nobody will see.
const MAX_SIGMA: f64 = 5.0;

/// Why a document is no [`Behaviour`].
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// One field is not as it must be.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field, such as `latency.meanMs`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl DocumentError {
    pub(crate) fn field(field: &str, problem: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), problem: problem.into() }
    }
}

/// The JSON form, not yet checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    /// See [`Behaviour::latency`].
    pub latency: LatencyDocument,
    /// See [`Behaviour::errors`].
    pub errors: ErrorsDocument,
    /// See [`Behaviour::concurrency`].
    pub concurrency: Option<ConcurrencyDocument>,
    /// See [`Behaviour::cpu_burn`].
    pub cpu_burn_ms: f64,
    /// See [`Behaviour::utilization`].
    pub utilization: Option<f64>,
    /// See [`Behaviour::health`].
    pub health: Health,
    /// See [`Behaviour::connections`].
    pub connections: Connections,
}

/// The JSON form of a [`Latency`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LatencyDocument {
    /// Which distribution.
    pub distribution: Distribution,
    /// Its mean.
    pub mean_ms: f64,
    /// Only of `log-normal`; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
}

/// The distributions of a [`Latency`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// See [`Latency::Constant`].
    #[default]
    Constant,
    /// See [`Latency::Exponential`].
    Exponential,
    /// See [`Latency::LogNormal`].
    LogNormal,
}

/// The JSON form of [`Errors`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ErrorsDocument {
    /// See [`Errors::rate`].
    pub rate: f64,
    /// See [`Errors::status`]; 400 to 599.
    pub status: u16,
    /// See [`Errors::fast`].
    pub fast: bool,
}

impl Default for ErrorsDocument {
    fn default() -> Self {
        let Errors { rate, status, fast } = Errors::default();
        Self { rate: rate.as_f64(), status: status.as_u16(), fast }
    }
}

/// The JSON form of a [`Concurrency`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyDocument {
    /// See [`Concurrency::limit`].
    pub limit: u32,
    /// See [`Concurrency::queue`]; 1024 unless given.
    #[serde(default = "default_queue")]
    pub queue: u32,
}

/// The queue where none is given.
pub(crate) fn default_queue() -> u32 {
    1024
}

impl Behaviour {
    /// Reads a whole behaviour from JSON.
    ///
    /// # Errors
    /// Where the text is not JSON, or a field is unknown, of the wrong type, or out of range.
    pub fn from_json(text: &[u8]) -> Result<Self, DocumentError> {
        parse(serde_json::from_slice(text).map_err(DocumentError::Syntax)?)
    }

    /// Reads a JSON object whose fields replace those of this behaviour, each as a whole: a `latency`
    /// that is given is all of the new latency.
    ///
    /// # Errors
    /// As of [`Self::from_json`].
    pub fn patched(&self, text: &[u8]) -> Result<Self, DocumentError> {
        let patch: Value = serde_json::from_slice(text).map_err(DocumentError::Syntax)?;
        let Value::Object(patch) = patch else {
            return Err(DocumentError::field(".", "must be an object"));
        };
        let mut fields: Map<String, Value> = match serde_json::to_value(Document::from(self)) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => Map::new(),
        };
        fields.extend(patch);
        parse(Value::Object(fields))
    }
}

fn parse(value: Value) -> Result<Behaviour, DocumentError> {
    // Serde would take an array for a struct, by the order of its fields.
    let Value::Object(fields) = &value else {
        return Err(DocumentError::field(".", "must be an object"));
    };
    if let Some((field, _)) = fields.iter().find(|(_, value)| value.is_array()) {
        return Err(DocumentError::field(field, "must not be an array"));
    }
    let document: Document = serde_path_to_error::deserialize(value).map_err(|error| {
        DocumentError::Field { field: error.path().to_string(), problem: error.inner().to_string() }
    })?;
    Behaviour::try_from(document)
}

impl TryFrom<Document> for Behaviour {
    type Error = DocumentError;

    fn try_from(document: Document) -> Result<Self, DocumentError> {
        Ok(Self {
            latency: latency(&document.latency)?,
            errors: errors(&document.errors)?,
            concurrency: document.concurrency.as_ref().map(concurrency).transpose()?,
            cpu_burn: milliseconds("cpuBurnMs", document.cpu_burn_ms, MAX_CPU_BURN)?,
            utilization: document.utilization.map(|value| share("utilization", value)).transpose()?,
            health: document.health,
            connections: document.connections,
        })
    }
}

fn latency(document: &LatencyDocument) -> Result<Latency, DocumentError> {
    let mean = milliseconds("latency.meanMs", document.mean_ms, MAX_LATENCY)?;
    match (document.distribution, document.sigma) {
        (Distribution::Constant, None) => Ok(Latency::Constant { mean }),
        (Distribution::Exponential, None) => Ok(Latency::Exponential { mean }),
        (Distribution::LogNormal, sigma) => {
            let sigma = sigma.unwrap_or(1.0);
            let valid = (0.0..=MAX_SIGMA).contains(&sigma);
            let problem = || DocumentError::field("latency.sigma", format!("must be from 0 to {MAX_SIGMA}"));
            valid.then_some(Latency::LogNormal { mean, sigma }).ok_or_else(problem)
        }
        (_, Some(_)) => Err(DocumentError::field("latency.sigma", "only a log-normal latency has one")),
    }
}

fn errors(document: &ErrorsDocument) -> Result<Errors, DocumentError> {
    let rate = share("errors.rate", document.rate)?;
    let status = StatusCode::from_u16(document.status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
        .ok_or_else(|| DocumentError::field("errors.status", "must be from 400 to 599"))?;
    Ok(Errors { rate, status, fast: document.fast })
}

fn concurrency(document: &ConcurrencyDocument) -> Result<Concurrency, DocumentError> {
    let limit = NonZeroU32::new(document.limit).ok_or_else(|| {
        DocumentError::field("concurrency.limit", "must be 1 or more; leave out concurrency for no limit")
    })?;
    if document.queue > MAX_QUEUE {
        return Err(DocumentError::field("concurrency.queue", format!("must be at most {MAX_QUEUE}")));
    }
    Ok(Concurrency { limit, queue: document.queue })
}

fn share(field: &str, value: f64) -> Result<Share, DocumentError> {
    Share::new(value).ok_or_else(|| DocumentError::field(field, "must be from 0 to 1"))
}

fn milliseconds(field: &str, value: f64, max: Duration) -> Result<Duration, DocumentError> {
    Duration::try_from_secs_f64(value / 1e3)
        .ok()
        .filter(|duration| *duration <= max)
        .ok_or_else(|| DocumentError::field(field, format!("must be from 0 to {}", max.as_millis())))
}

impl From<&Behaviour> for Document {
    fn from(behaviour: &Behaviour) -> Self {
        let (distribution, mean, sigma) = match behaviour.latency {
            Latency::Constant { mean } => (Distribution::Constant, mean, None),
            Latency::Exponential { mean } => (Distribution::Exponential, mean, None),
            Latency::LogNormal { mean, sigma } => (Distribution::LogNormal, mean, Some(sigma)),
        };
        let Errors { rate, status, fast } = behaviour.errors;
        Self {
            latency: LatencyDocument { distribution, mean_ms: as_milliseconds(mean), sigma },
            errors: ErrorsDocument { rate: rate.as_f64(), status: status.as_u16(), fast },
            concurrency: behaviour
                .concurrency
                .map(|Concurrency { limit, queue }| ConcurrencyDocument { limit: limit.get(), queue }),
            cpu_burn_ms: as_milliseconds(behaviour.cpu_burn),
            utilization: behaviour.utilization.map(Share::as_f64),
            health: behaviour.health,
            connections: behaviour.connections,
        }
    }
}

pub(crate) fn as_milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that `text` is rejected for `field`; an empty `field` stands for bad syntax.
    fn check(text: &str, field: &str) {
        match Behaviour::from_json(text.as_bytes()) {
            Ok(behaviour) => panic!("{text} gave {behaviour:?}"),
            Err(DocumentError::Syntax(_)) => assert_eq!("", field, "{text}"),
            Err(DocumentError::Field { field: found, .. }) => assert_eq!(found, field, "{text}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("{", "");
        check("[]", ".");
        check("3", ".");
        check(r#"{"latency": ["constant", 1]}"#, "latency");
        check(r#"{"latency": {"meanMs": -1}}"#, "latency.meanMs");
        check(r#"{"latency": {"meanMs": 60001}}"#, "latency.meanMs");
        check(r#"{"latency": {"meanMs": "20ms"}}"#, "latency.meanMs");
        check(r#"{"latency": {"distribution": "uniform"}}"#, "latency.distribution");
        check(r#"{"latency": {"sigma": 1}}"#, "latency.sigma");
        check(r#"{"latency": {"distribution": "log-normal", "sigma": -1}}"#, "latency.sigma");
        check(r#"{"errors": {"rate": 1.1}}"#, "errors.rate");
        check(r#"{"errors": {"status": 200}}"#, "errors.status");
        check(r#"{"errors": {"status": 70000}}"#, "errors.status");
        check(r#"{"concurrency": {"limit": 0}}"#, "concurrency.limit");
        check(r#"{"concurrency": {"queue": 1}}"#, "concurrency");
        check(r#"{"concurrency": {"limit": 1, "queue": 65537}}"#, "concurrency.queue");
        check(r#"{"cpuBurnMs": 10001}"#, "cpuBurnMs");
        check(r#"{"utilization": 1.5}"#, "utilization");
        check(r#"{"health": "sick"}"#, "health");
        check(r#"{"latncy": {}}"#, "latncy");
        check(r#"{"errors": {"ratio": 1}}"#, "errors.ratio");
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(Behaviour::from_json(b"{}").unwrap(), Behaviour::default());
    }

    #[test]
    fn a_document_survives_the_way_out_and_in() {
        let text = r#"{"latency":{"distribution":"log-normal","meanMs":20.5,"sigma":0.5},
            "errors":{"rate":0.25,"status":429,"fast":true},"concurrency":{"limit":8,"queue":0},
            "cpuBurnMs":1.5,"utilization":0.5,"health":"hanging","connections":"reset"}"#;
        let behaviour = Behaviour::from_json(text.as_bytes()).unwrap();
        let out = serde_json::to_vec(&Document::from(&behaviour)).unwrap();
        assert_eq!(Behaviour::from_json(&out).unwrap(), behaviour);
        assert_eq!(behaviour.cpu_burn, Duration::from_micros(1500));
        assert_eq!(behaviour.concurrency, NonZeroU32::new(8).map(|limit| Concurrency { limit, queue: 0 }));
    }

    #[test]
    fn a_patch_replaces_the_fields_it_gives() {
        let start =
            Behaviour::from_json(br#"{"latency":{"distribution":"log-normal","meanMs":5},"cpuBurnMs":1}"#)
                .unwrap();
        let patched = start.patched(br#"{"latency":{"meanMs":7},"health":"failing"}"#).unwrap();
        let mean = Duration::from_millis(7);
        assert_eq!(
            patched,
            Behaviour { latency: Latency::Constant { mean }, health: Health::Failing, ..start }
        );
        assert!(start.patched(b"[]").is_err());
    }
}
